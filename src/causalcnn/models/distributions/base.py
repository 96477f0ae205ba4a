"""What every output distribution does, on a grid of 256 bins that all of them share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["NUM_BINS", "OutputDistribution", "bits_per_dimension"]

NUM_BINS = 256
"""The bins of the grid on which all distributions are compared: 8 bits."""


class OutputDistribution(nn.Module):
    """A distribution over the bin of one value, 0 … 255, given by ``size`` parameters that a network puts out.

    However it is built, its 256 probabilities sum to one, so the bits of any two distributions can be compared.
    Parameters are read in float32, whatever their dtype.

    Means and scales are in the unit in which a network reads bins (:meth:`to_input`): the grid reaches from −1 to 1
    and a bin is 1/128 wide.

    Attributes:
        size: number of parameters of one value.
        num_uniforms: uniform numbers in (0, 1) that one sample takes.
    """

    size: int
    num_uniforms: int

    def log_prob(self, parameters: Tensor, bins: Tensor) -> Tensor:
        """The log-probability of bins, in nats.

        Args:
            parameters: ``(…, size)``.
            bins: ``(…)`` int64, 0 to 255.

        Returns:
            ``(…)`` float32.

        Raises:
            ValueError: a shape, a dtype or a bin that cannot be.
        """
        raise NotImplementedError

    def probabilities(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """The probability of each of the 256 bins: slow and obvious, the reference of the other methods.

        Args:
            parameters: ``(…, size)``.
            temperature: above 0; 1: as learned.

        Returns:
            ``(…, 256)`` float32.
        """
        raise NotImplementedError

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Bins drawn with given uniform numbers: the same numbers, the same bins.

        Args:
            parameters: ``(…, size)``.
            uniform: ``(…, num_uniforms)``, in (0, 1).
            temperature: above 0; 1: as learned, below 1 likelier bins are preferred.

        Returns:
            ``(…)`` int64.
        """
        raise NotImplementedError

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected bin: a number between two bins.

        Shape: ``(…, size)`` → ``(…)`` float32
        """
        raise NotImplementedError

    def to_input(self, bins: Tensor) -> Tensor:
        """What a network reads of bins: the centre of the bin, between −1 and 1.

        Shape: ``(…)`` int64 → ``(…)`` float32
        """
        return (bins.to(torch.float32) + 0.5) * (2 / NUM_BINS) - 1

    def initial_bias(self) -> Tensor:
        """The bias of a network's last layer with which training begins: broad and symmetric, ``(size,)``."""
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
            raise ValueError(f"the bins are {bins.dtype}; they must be int64, 0 to {NUM_BINS - 1}")
        # A look at the values would make an accelerator wait, and cannot be compiled.
        if bins.device.type == "cpu" and not torch.compiler.is_compiling() and bins.numel():
            low, high = (int(value) for value in torch.aminmax(bins))
            if low < 0 or high >= NUM_BINS:
                raise ValueError(f"the bins reach from {low} to {high}; they must lie within 0 to {NUM_BINS - 1}")

    @staticmethod
    def _check_temperature(temperature: float) -> None:
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature is {temperature}; it must be a finite number above 0 (1: as learned)")

    def _check_uniform(self, uniform: Tensor) -> None:
        if uniform.shape[-1:] != (self.num_uniforms,):
            raise ValueError(
                f"the uniform numbers have shape {tuple(uniform.shape)}; "
                f"{type(self).__name__} takes {self.num_uniforms} for each value, in the last axis"
            )


def inverse_cdf_index(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The inverse CDF of N events at a uniform number: how many of the first N − 1 cumulative sums it reaches.

    Shape: ``(…, N)`` and ``(…)`` → ``(…)`` int64
    """
    return (probabilities.cumsum(-1)[..., :-1] <= uniform[..., None]).sum(-1)


def bits_per_dimension(log_prob: Tensor, mask: Tensor) -> Tensor:
    """The mean of −log₂ of the probability of a value, over real frames only.

    Args:
        log_prob: in nats, ``(batch, time, mels)``.
        mask: which frames are real, ``(batch, time)`` bool.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> bits_per_dimension(torch.full((1, 3, 2), -math.log(2)), torch.tensor([[True, True, False]]))
        tensor(1.)
    """
    if log_prob.dim() != 3 or mask.shape != log_prob.shape[:2]:
        raise ValueError(
            f"log_prob has shape {tuple(log_prob.shape)} and the mask {tuple(mask.shape)}; "
            "they must be (batch, time, mels) and (batch, time)"
        )
    # where, not times: whatever stands at padding, NaN included, must not count.
    nats = torch.where(mask[..., None], log_prob, 0).sum() / (mask.sum() * log_prob.shape[2])
    return -nats / math.log(2)
