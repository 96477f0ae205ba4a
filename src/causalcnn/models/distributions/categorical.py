"""A probability for every bin: the output distribution of PixelCNN and WaveNet."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from causalcnn.models.distributions.base import NUM_BINS, OutputDistribution, inverse_cdf_index

__all__ = ["Categorical"]


class Categorical(OutputDistribution):
    """One logit for each of ``2**bits`` bins: any shape of distribution is possible, and none is preferred.

    With fewer than 8 bits a coarse bin covers several bins of the grid and spreads its probability evenly over them:
    what was rounded away costs bits. The network reads the same coarse bins that it predicts.

    Temperature T divides the logits: every probability is raised to 1/T. As T goes to 0 the likeliest bin takes all.

    Args:
        bits: 1 to 8.

    Raises:
        ValueError: another number of bits.

    Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, §2.
    """

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        if not 1 <= bits <= 8:
            raise ValueError(f"bits is {bits}; it must be 1 to 8: the grid has 8 bits")
        self.bits, self.size = bits, 2**bits
        self.shift = 8 - bits
        self.num_uniforms = 2 if self.shift else 1

    def extra_repr(self) -> str:
        """How many bins."""
        return f"{self.size} bins"

    def log_prob(self, parameters: Tensor, bins: Tensor) -> Tensor:
        """The log-probability of bins, in nats: ``(…, size)`` and ``(…)`` → ``(…)``."""
        self._check(parameters, bins)
        logits, coarse = parameters.float(), bins >> self.shift
        if logits.dim() == 1 or logits.stride(-1) == 1:  # side by side: softmax is three times as fast
            nats = functional.cross_entropy(logits.reshape(-1, self.size), coarse.reshape(-1), reduction="none")
            nats = nats.view(bins.shape)
        else:  # as (N, bins, …), the axes in which a network's channels lie, so that nothing is copied
            nats = functional.cross_entropy(logits.movedim(-1, 1), coarse, reduction="none")
        return -nats - self.shift * math.log(2)

    def probabilities(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """The probability of every bin: ``(…, size)`` → ``(…, 256)``."""
        self._check(parameters)
        self._check_temperature(temperature)
        coarse = torch.softmax(parameters.float() / temperature, dim=-1)
        return coarse.repeat_interleave(2**self.shift, dim=-1) / 2**self.shift

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The bin by the first number; within a coarse bin, the bin of the grid by the second."""
        self._check(parameters)
        self._check_uniform(uniform)
        self._check_temperature(temperature)
        coarse = inverse_cdf_index(torch.softmax(parameters.float() / temperature, dim=-1), uniform[..., 0])
        if not self.shift:
            return coarse
        within = (uniform[..., 1] * 2**self.shift).long().clamp(0, 2**self.shift - 1)
        return (coarse << self.shift) + within

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected bin: ``(…, size)`` → ``(…)``."""
        self._check(parameters)
        width = 2**self.shift
        centers = torch.arange(self.size, device=parameters.device) * width + (width - 1) / 2
        return torch.softmax(parameters.float(), dim=-1) @ centers

    def to_input(self, bins: Tensor) -> Tensor:
        """The centre of the bin, coarse where the bins are: nothing is read that cannot be predicted."""
        return ((bins >> self.shift).to(torch.float32) + 0.5) * (2 / self.size) - 1

    def initial_bias(self) -> Tensor:
        """All bins alike: 8 bits per value."""
        return torch.zeros(self.size)


assert NUM_BINS == 2**8
