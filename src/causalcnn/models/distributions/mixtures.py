"""Continuous distributions on the grid of bins: a bin's probability is the difference of the CDF at its two edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from causalcnn.models.distributions.base import NUM_BINS, OutputDistribution, inverse_cdf_index
from causalcnn.models.distributions.normal import log_normal_mass

__all__ = ["Gaussian", "GaussianMixture", "LogisticMixture"]

BIN_WIDTH = 2 / NUM_BINS
"""The width of a bin in the unit of means and scales, in which the grid reaches from −1 to 1."""

MIN_SCALE = 0.05 * BIN_WIDTH
"""No scale is smaller: a twentieth of a bin already puts everything into one."""


class _Mixture(OutputDistribution):
    """K components, each put on the grid by its CDF; the first and the last bin reach to infinity.

    The ``3·K`` parameters of a value are K logits of the weights, K means, and K numbers whose softplus, plus a
    floor of a twentieth of a bin, is the scale: exponential where it is small, linear where it is large.
    """

    num_uniforms = 2

    def __init__(self, num_components: int = 4) -> None:
        super().__init__()
        if num_components < 1:
            raise ValueError(f"num_components is {num_components}; a mixture has at least 1")
        self.num_components, self.size = num_components, 3 * num_components

    def extra_repr(self) -> str:
        """How many components."""
        return f"{self.num_components} components"

    @staticmethod
    def icdf(uniform: Tensor) -> Tensor:
        """The inverse CDF of the standard component."""
        raise NotImplementedError

    @staticmethod
    def _log_mass(middle: Tensor, width: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
        """The log of a standard component's mass around ``middle``; in the end bins, of all that is below or above."""
        raise NotImplementedError

    @staticmethod
    def _cdf(value: Tensor) -> Tensor:
        """The CDF of the standard component."""
        raise NotImplementedError

    @staticmethod
    def _tempered(scale: Tensor, temperature: float) -> Tensor:
        """The scale at a temperature."""
        raise NotImplementedError

    def components(self, parameters: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and scales, each ``(…, num_components)``.

        All that a sampler needs: ``sample`` picks a component by its first uniform number and the weights, and
        takes the bin that holds ``mean + scale · icdf(second)``.
        """
        self._check(parameters)
        self._check_temperature(temperature)
        logits, mean, raw = parameters.float().chunk(3, dim=-1)
        scale = functional.softplus(raw) + MIN_SCALE
        return torch.log_softmax(logits / temperature, dim=-1), mean, self._tempered(scale, temperature)

    def log_prob(self, parameters: Tensor, bins: Tensor) -> Tensor:
        """The log-probability of bins, in nats: ``(…, size)`` and ``(…)`` → ``(…)``."""
        self._check(parameters, bins)
        return self._log_prob(self.components(parameters), bins)

    def probabilities(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """The probability of every bin: ``(…, size)`` → ``(…, 256)``."""
        log_weight, mean, scale = (part[..., None, :] for part in self.components(parameters, temperature))
        every = torch.arange(NUM_BINS, device=parameters.device)
        return self._log_prob((log_weight, mean, scale), every).exp()

    def _log_prob(self, components: tuple[Tensor, Tensor, Tensor], bins: Tensor) -> Tensor:
        log_weight, mean, scale = components
        middle = (OutputDistribution.to_input(self, bins)[..., None] - mean) / scale
        lowest, highest = (bins == 0)[..., None], (bins == NUM_BINS - 1)[..., None]
        return torch.logsumexp(log_weight + self._log_mass(middle, BIN_WIDTH / scale, lowest, highest), dim=-1)

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The component by the first number, a value of it by the second, and the bin that holds it."""
        self._check_uniform(uniform)
        log_weight, mean, scale = self.components(parameters, temperature)
        which = inverse_cdf_index(log_weight.exp(), uniform[..., 0])[..., None]
        value = (mean.gather(-1, which) + scale.gather(-1, which) * self.icdf(uniform[..., 1:]))[..., 0]
        return _bin(value)

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected bin: the sum, over the 255 edges, of the probability to lie above. ``(…, size)`` → ``(…)``."""
        log_weight, mean, scale = self.components(parameters)
        above = torch.zeros_like(mean)
        for edge in range(1, NUM_BINS):
            above += self._cdf((mean - (edge * BIN_WIDTH - 1)) / scale)
        return (log_weight.exp() * above).sum(-1)

    def initial_bias(self) -> Tensor:
        """Equal weights, means side by side over the grid, scales so broad that together they are nearly flat."""
        count = self.num_components
        means = (2 * torch.arange(count) + 1) / count - 1
        return torch.cat([torch.zeros(count), means, torch.full((count,), _raw(0.5 / count))])


class LogisticMixture(_Mixture):
    """A mixture of logistic distributions, put on the grid: closed forms throughout, tails that forgive a surprise.

    With edges a < b in units of the scale, ``log(σ(b) − σ(a)) = log σ(b) + log σ(−a) + log(1 − exp(a − b))``.

    Temperature T divides the logits of the weights and multiplies the scales, which is p^(1/T) in the tails. As T
    goes to 0 what is left is the mean of the heaviest component.

    Args:
        num_components: K, at least 1.

    Source: Salimans et al., PixelCNN++, 2017, §2.1.
    """

    @staticmethod
    def icdf(uniform: Tensor) -> Tensor:
        """``log(u / (1 − u))``."""
        return torch.log(uniform) - torch.log1p(-uniform)

    @staticmethod
    def _log_mass(middle: Tensor, width: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
        half = width / 2
        below = functional.logsigmoid(middle + half).masked_fill(highest, 0)
        above = functional.logsigmoid(half - middle).masked_fill(lowest, 0)
        between = torch.log(-torch.expm1(-width)).masked_fill(lowest | highest, 0)
        return below + above + between

    @staticmethod
    def _cdf(value: Tensor) -> Tensor:
        return torch.sigmoid(value)

    @staticmethod
    def _tempered(scale: Tensor, temperature: float) -> Tensor:
        return scale * temperature


class GaussianMixture(_Mixture):
    """A mixture of Gaussians, put on the grid; a scale is a standard deviation.

    Temperature T divides the logits of the weights and multiplies the scales by √T: each component becomes p^(1/T).
    As T goes to 0 what is left is the mean of the heaviest component.

    Args:
        num_components: K, at least 1.

    Source: Vasquez and Lewis, MelNet, 2019, §4 (of continuous values; here the bins are integrated).
    """

    @staticmethod
    def icdf(uniform: Tensor) -> Tensor:
        """The normal quantile."""
        return torch.special.ndtri(uniform)

    @staticmethod
    def _log_mass(middle: Tensor, width: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
        return log_normal_mass(middle, width, lowest, highest)

    @staticmethod
    def _cdf(value: Tensor) -> Tensor:
        return torch.special.ndtr(value)

    @staticmethod
    def _tempered(scale: Tensor, temperature: float) -> Tensor:
        return scale * math.sqrt(temperature)


class Gaussian(GaussianMixture):
    """One Gaussian whose mean the network gives and whose spread is one learned number: squared error as a likelihood.

    To maximise its likelihood is to minimise the squared error of the mean, and the spread is then what that
    error costs in bits. Its parameter moves ten times as far as a weight does: it stands alone and starts broad.
    """

    num_uniforms = 1

    def __init__(self) -> None:
        super().__init__(1)
        self.size = 1
        self.spread = nn.Parameter(torch.tensor(_raw(0.5) / _FASTER))

    def extra_repr(self) -> str:
        """What is learned."""
        return "a mean for each value, one spread"

    def components(self, parameters: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weight 0, the mean that the network gave, and the learned spread, each ``(…, 1)``."""
        self._check(parameters)
        self._check_temperature(temperature)
        mean = parameters.float()
        scale = functional.softplus(self.spread.float() * _FASTER) + MIN_SCALE
        return torch.zeros_like(mean), mean, self._tempered(scale, temperature).expand_as(mean)

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """A value of the Gaussian, and the bin that holds it."""
        self._check_uniform(uniform)
        _, mean, scale = self.components(parameters, temperature)
        return _bin((mean + scale * self.icdf(uniform))[..., 0])

    def initial_bias(self) -> Tensor:
        """The middle of the grid."""
        return torch.zeros(1)


_FASTER = 10.0


def _raw(scale: float) -> float:
    """The number whose softplus, plus the floor, is ``scale``."""
    return math.log(math.expm1(scale - MIN_SCALE))


def _bin(value: Tensor) -> Tensor:
    """The bin that holds a value, −1 … 1; what lies outside goes to the end bins, as their mass does."""
    return ((value + 1) / BIN_WIDTH).floor().clamp(0, NUM_BINS - 1).long()
