"""What every output distribution does, on a grid of 256 bins that all of them share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["NUM_BINS", "OutputDistribution", "bits_per_dimension"]

NUM_BINS = 256
"""The number of bins of the grid on which all distributions are compared. It is that of 8 bits."""


class OutputDistribution(nn.Module):
    """A distribution over the bin of one value, 0 … 255, given by ``size`` parameters that a network puts out.

    However a distribution is built, its 256 probabilities sum to one, so the bits per value of any two distributions
    can be compared. Only :class:`CodeCategorical`, whose classes are the codes of a codebook, has another number of
    them. Parameters are read in float32, whatever their dtype; to draw, in float64 where they come in it.

    Means and scales are in the unit in which a network reads bins (:meth:`to_input`): the grid reaches from −1 to 1
    and a bin is 1/128 wide.

    A subclass sets :attr:`size` and :attr:`num_uniforms` and defines :meth:`log_prob`, :meth:`probabilities`,
    :meth:`sample`, :meth:`mean` and :meth:`initial_bias`.

    Attributes:
        size: the number of parameters of one value.
        num_uniforms: the number of uniform numbers in (0, 1) that one sample takes.
        num_bins: the number of bins, 256.

    Example:
        >>> import torch
        >>> from causalcnn.models import get_distribution
        >>> distribution = get_distribution("gaussian-mixture-4")
        >>> parameters = distribution.initial_bias().expand(2, 5, -1)  # of 2 · 5 values
        >>> tuple(parameters.shape), tuple(distribution.probabilities(parameters).shape)
        ((2, 5, 12), (2, 5, 256))
    """

    size: int
    num_uniforms: int
    num_bins: int = NUM_BINS

    def log_prob(self, parameters: Tensor, bins: Tensor) -> Tensor:
        """Compute the log-probability of bins.

        Args:
            parameters: floating point, ``(…, size)``.
            bins: the bins that happened, int64 from 0 to 255, ``(…)``.

        Returns:
            The log-probabilities in nats, float32, ``(…)``.

        Raises:
            ValueError: parameters of another size or dtype, bins of another dtype, or, on a CPU, a bin that is not
                on the grid. On other devices the bins are not looked at, for the device would have to wait.
        """
        raise NotImplementedError

    def probabilities(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """Compute the probability of each of the 256 bins.

        This is slow and obvious: the reference that the other methods are tested against.

        Args:
            parameters: floating point, ``(…, size)``.
            temperature: above 0. At 1 the distribution is as learned; below 1 likelier bins are preferred.

        Returns:
            The probabilities, float32, ``(…, 256)``; those of one value sum to 1.

        Raises:
            ValueError: parameters of another size or dtype, or a temperature that is not above 0 and finite.
        """
        raise NotImplementedError

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Draw bins with given uniform numbers: the same numbers give the same bins.

        Args:
            parameters: floating point, ``(…, size)``.
            uniform: numbers in (0, 1), drawn uniformly, ``(…, num_uniforms)``.
            temperature: above 0. At 1 the distribution is as learned; below 1 likelier bins are preferred.

        Returns:
            The bins, int64 from 0 to 255, ``(…)``.

        Raises:
            ValueError: parameters of another size or dtype, another number of uniform numbers, or a temperature that
                is not above 0 and finite.
        """
        raise NotImplementedError

    def mean(self, parameters: Tensor) -> Tensor:
        """Compute the expected bin, a number that may lie between two bins.

        Args:
            parameters: floating point, ``(…, size)``.

        Returns:
            The expected bins, float32 from 0 to 255, ``(…)``.

        Raises:
            ValueError: parameters of another size or dtype.
        """
        raise NotImplementedError

    def to_input(self, bins: Tensor) -> Tensor:
        """Turn bins into what a network reads: the centre of each bin, between −1 and 1.

        Args:
            bins: integers from 0 to 255, of any shape.

        Returns:
            The centres, float32, in the shape of ``bins``.
        """
        return (bins.to(torch.float32) + 0.5) * (2 / NUM_BINS) - 1

    def initial_bias(self) -> Tensor:
        """Give the bias of a network's last layer with which training begins: a broad and symmetric distribution.

        Returns:
            The bias, float32, ``(size,)``.
        """
        raise NotImplementedError

    def _check(self, parameters: Tensor, bins: Tensor | None = None) -> None:
        if parameters.shape[-1:] != (self.size,) or not parameters.is_floating_point():
            raise ValueError(
                f"the parameters are {parameters.dtype} of shape {tuple(parameters.shape)}; "
                f"{type(self).__name__} takes {self.size} floating-point numbers for each value, in the last axis"
            )
        if bins is None:
            return
        if bins.dtype != torch.int64:
            raise ValueError(f"the bins are {bins.dtype}; they must be int64, 0 to {self.num_bins - 1}")
        # On an accelerator a look at the values would make the program wait for it, and it cannot be compiled.
        if bins.device.type == "cpu" and not torch.compiler.is_compiling() and bins.numel():
            low, high = (int(value) for value in torch.aminmax(bins))
            if low < 0 or high >= self.num_bins:
                raise ValueError(f"the bins reach from {low} to {high}; they must lie within 0 to {self.num_bins - 1}")

    @staticmethod
    def _check_temperature(temperature: float) -> None:
        # Below, logits divided by it are infinite in float32.
        if not (math.isfinite(temperature) and temperature >= 1e-30):
            raise ValueError(
                f"temperature is {temperature}; it must be a finite number above 0, at least 1e-30 (1: as learned)"
            )

    def _check_uniform(self, uniform: Tensor) -> None:
        if uniform.shape[-1:] != (self.num_uniforms,):
            raise ValueError(
                f"the uniform numbers have shape {tuple(uniform.shape)}; "
                f"{type(self).__name__} takes {self.num_uniforms} for each value, in the last axis"
            )


def at_least_single(parameters: Tensor) -> Tensor:
    """The parameters in float32, or in float64 if they are: then two machines that round otherwise draw the same."""
    return parameters if parameters.dtype == torch.float64 else parameters.float()


def inverse_cdf_index(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Choose one of N events by a uniform number: the index is how many of the first N − 1 cumulative sums it reaches.

    Args:
        probabilities: of the events, ``(…, N)``.
        uniform: numbers in (0, 1), ``(…)``.

    Returns:
        Indices from 0 to N − 1, int64, ``(…)``.
    """
    return (probabilities.cumsum(-1)[..., :-1] <= uniform[..., None]).sum(-1)


def bits_per_dimension(log_prob: Tensor, mask: Tensor) -> Tensor:
    """Average −log₂ of the probability of a value over all values of the real frames.

    Args:
        log_prob: log-probabilities in nats, ``(batch, time, mels)``. What stands at padding does not count, even NaN.
        mask: which frames are real and no padding, bool, ``(batch, time)``.

    Returns:
        The mean in bits per value, a scalar; NaN where no frame is real.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> import math
        >>> import torch
        >>> from causalcnn.models import bits_per_dimension
        >>> nats = torch.full((1, 3, 2), -math.log(2))  # each value had a chance of one half
        >>> bits_per_dimension(nats, mask=torch.tensor([[True, True, False]]))
        tensor(1.)
    """
    if log_prob.dim() != 3 or mask.shape != log_prob.shape[:2]:
        raise ValueError(
            f"log_prob has shape {tuple(log_prob.shape)} and the mask {tuple(mask.shape)}; "
            "they must be (batch, time, mels) and (batch, time)"
        )
    # torch.where and no product, because padding may hold NaN, and NaN times 0 is NaN.
    nats = torch.where(mask[..., None], log_prob, 0).sum() / (mask.sum() * log_prob.shape[2])
    return -nats / math.log(2)
