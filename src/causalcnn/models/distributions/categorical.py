"""A probability for every bin: the output distribution of PixelCNN and WaveNet."""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from causalcnn._checks import at_least
from causalcnn.models.distributions.base import NUM_BINS, OutputDistribution, at_least_single, inverse_cdf_index

__all__ = ["Categorical", "CodeCategorical"]


class Categorical(OutputDistribution):
    """One logit for each of ``2**bits`` bins: any shape of distribution is possible, and none is preferred.

    With fewer than 8 bits a coarse bin covers several bins of the grid and spreads its probability evenly over them:
    what was rounded away costs bits. The network reads the same coarse bins that it predicts.

    A sample takes one uniform number, which chooses the bin by the inverse CDF. With fewer than 8 bits it takes a
    second one, which chooses a bin of the grid within the coarse bin. Temperature T divides the logits, so that every
    probability is raised to the power 1/T; as T goes to 0 the likeliest bin takes all.

    Args:
        bits: the logarithm of the number of bins, 1 to 8.

    Raises:
        ValueError: another number of bits.

    Source:
        van den Oord et al., Pixel Recurrent Neural Networks, arXiv 1601.06759, §2. Fewer than 8 bits, and their
        price on the common grid, are ours.

    Example:
        >>> import math
        >>> import torch
        >>> from causalcnn.models import Categorical
        >>> alike = torch.zeros(16)  # 4 bits for the coarse bin, and 4 for the place within it
        >>> round(Categorical(bits=4).log_prob(alike, torch.tensor(200)).item() / -math.log(2), 3)
        8.0
    """

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        if not 1 <= bits <= 8:
            raise ValueError(f"bits is {bits}; it must be 1 to 8: the grid has 8 bits")
        self.bits, self.size = bits, 2**bits
        self.shift = 8 - bits
        self.num_uniforms = 2 if self.shift else 1

    def extra_repr(self) -> str:
        """Say how many bins there are."""
        return f"{self.size} bins"

    @override
    def log_prob(self, parameters: Tensor, bins: Tensor) -> Tensor:
        self._check(parameters, bins)
        logits, coarse = parameters.float(), bins >> self.shift
        if logits.dim() == 1 or logits.stride(-1) == 1:  # side by side: softmax is three times as fast
            nats = functional.cross_entropy(logits.reshape(-1, self.size), coarse.reshape(-1), reduction="none")
            nats = nats.view(bins.shape)
        else:  # as (N, bins, …), the axes in which a network's channels lie, so that nothing is copied
            nats = functional.cross_entropy(logits.movedim(-1, 1), coarse, reduction="none")
        return -nats - self.shift * math.log(2)

    @override
    def probabilities(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        self._check(parameters)
        self._check_temperature(temperature)
        coarse = torch.softmax(parameters.float() / temperature, dim=-1)
        return coarse.repeat_interleave(2**self.shift, dim=-1) / 2**self.shift

    @override
    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        self._check(parameters)
        self._check_uniform(uniform)
        self._check_temperature(temperature)
        shares = torch.softmax(at_least_single(parameters) / temperature, dim=-1)
        coarse = inverse_cdf_index(shares, uniform[..., 0])
        if not self.shift:
            return coarse
        within = (uniform[..., 1] * 2**self.shift).long().clamp(0, 2**self.shift - 1)
        return (coarse << self.shift) + within

    @override
    def mean(self, parameters: Tensor) -> Tensor:
        self._check(parameters)
        width = 2**self.shift
        centers = torch.arange(self.size, device=parameters.device) * width + (width - 1) / 2
        return torch.softmax(parameters.float(), dim=-1) @ centers

    def to_input(self, bins: Tensor) -> Tensor:
        """Turn bins into what a network reads: the centre of each coarse bin, between −1 and 1.

        Within a coarse bin nothing can be predicted, so nothing is read of it either.

        Args:
            bins: integers from 0 to 255, of any shape.

        Returns:
            The centres, float32, in the shape of ``bins``.
        """
        return ((bins >> self.shift).to(torch.float32) + 0.5) * (2 / self.size) - 1

    @override
    def initial_bias(self) -> Tensor:
        return torch.zeros(self.size)  # all bins alike: 8 bits per value


class CodeCategorical(Categorical):
    """One logit for each code of a codebook. Codes are names: none lies between two others.

    So there is no mean, and a network reads codes as vectors that it learns, not as numbers.

    Args:
        num_codes: the number of codes, at least 1.

    Raises:
        ValueError: another number of codes.

    Example:
        >>> import torch
        >>> from causalcnn.models import CodeCategorical
        >>> distribution = CodeCategorical(3)
        >>> distribution.sample(torch.tensor([0.0, 9.0, 0.0]), torch.tensor([0.5]))
        tensor(1)
    """

    def __init__(self, num_codes: int) -> None:
        super().__init__()
        self.size = self.num_bins = at_least("num_codes", num_codes)

    @override
    def extra_repr(self) -> str:
        return f"{self.size} codes"

    def mean(self, parameters: Tensor) -> NoReturn:
        """Refuse: codes have no mean.

        Args:
            parameters: of any shape.

        Raises:
            TypeError: always.
        """
        raise TypeError("codes have no order, so they have no mean")

    def to_input(self, bins: Tensor) -> NoReturn:
        """Refuse: a network reads codes as vectors of its own.

        Args:
            bins: of any shape.

        Raises:
            TypeError: always.
        """
        raise TypeError("codes have no order, so they are no numbers to read; a model has a vector for each")


assert NUM_BINS == 2**8
