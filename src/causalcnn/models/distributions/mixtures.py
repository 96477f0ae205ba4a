"""Continuous distributions on the grid of bins: a bin's probability is the difference of the CDF at its two edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from causalcnn.models.distributions.base import NUM_BINS, OutputDistribution, at_least_single, inverse_cdf_index
from causalcnn.models.distributions.normal import log_normal_mass

__all__ = ["Gaussian", "GaussianMixture", "LogisticMixture"]

BIN_WIDTH = 2 / NUM_BINS
"""The width of a bin in the unit of means and scales. In this unit the grid reaches from −1 to 1."""

MIN_SCALE = 0.05 * BIN_WIDTH
"""The smallest scale of a component, a twentieth of a bin. All of its probability then already lies in one bin."""


class _Mixture(OutputDistribution):
    """A mixture of K components, put on the grid by their CDF: a bin has what lies between its two edges.

    The first and the last bin reach to infinity. The ``3·K`` parameters of a value are K logits of the weights, K
    means, and K numbers from which the scales are made: softplus of the number, plus a floor of a twentieth of a bin.
    Softplus is exponential where it is small and linear where it is large.
    """

    num_uniforms = 2

    def __init__(self, num_components: int = 4) -> None:
        super().__init__()
        if num_components < 1:
            raise ValueError(f"num_components is {num_components}; a mixture has at least 1")
        self.num_components, self.size = num_components, 3 * num_components

    def extra_repr(self) -> str:
        """Say how many components there are."""
        return f"{self.num_components} components"

    @staticmethod
    def icdf(uniform: Tensor) -> Tensor:
        """Compute the inverse CDF of the standard component, which has the mean 0 and the scale 1.

        Args:
            uniform: numbers in (0, 1), of any shape.

        Returns:
            The values of the standard component below which it has this probability, in the shape of ``uniform``.
        """
        raise NotImplementedError

    @staticmethod
    def _log_mass(middle: Tensor, width: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
        """The log of a standard component's mass in a bin; in an end bin, of all the mass below or above.

        Args:
            middle: the middle of the bin, in scales from the mean, ``(…, K)``.
            width: the width of the bin, in scales, ``(…, K)``.
            lowest: where the bin is the first one, bool, ``(…, 1)``.
            highest: where the bin is the last one, bool, ``(…, 1)``.

        Returns:
            In nats, ``(…, K)``.
        """
        raise NotImplementedError

    @staticmethod
    def _cdf(value: Tensor) -> Tensor:
        """The CDF of the standard component."""
        raise NotImplementedError

    @staticmethod
    def _tempered(scale: Tensor, temperature: float) -> Tensor:
        """The scale at a temperature, which changes a Gaussian otherwise than a logistic distribution."""
        raise NotImplementedError

    def components(self, parameters: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the weight, mean and scale of each component.

        A sampler needs nothing else: :meth:`sample` picks a component by the weights and the first uniform number,
        and takes the bin that holds ``mean + scale · icdf(second uniform number)``.

        Args:
            parameters: floating point, ``(…, size)``.
            temperature: above 0. At 1 the distribution is as learned; below 1 it is narrower.

        Returns:
            The logarithms of the weights in nats, the means, and the scales, each float32,
            ``(…, num_components)``. Means and scales are in the unit in which the grid reaches from −1 to 1.

        Raises:
            ValueError: parameters of another size or dtype, or a temperature that is not above 0 and finite.
        """
        self._check(parameters)
        self._check_temperature(temperature)
        return self._components(parameters.float(), temperature)

    def _components(self, parameters: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """The same, in the dtype of the parameters."""
        logits, mean, raw = parameters.chunk(3, dim=-1)
        scale = functional.softplus(raw) + MIN_SCALE
        return torch.log_softmax(logits / temperature, dim=-1), mean, self._tempered(scale, temperature)

    @override
    def log_prob(self, parameters: Tensor, bins: Tensor) -> Tensor:
        self._check(parameters, bins)
        return self._log_prob(self.components(parameters), bins)

    @override
    def probabilities(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        log_weight, mean, scale = (part[..., None, :] for part in self.components(parameters, temperature))
        every = torch.arange(NUM_BINS, device=parameters.device)
        return self._log_prob((log_weight, mean, scale), every).exp()

    def _log_prob(self, components: tuple[Tensor, Tensor, Tensor], bins: Tensor) -> Tensor:
        log_weight, mean, scale = components
        middle = (OutputDistribution.to_input(self, bins)[..., None] - mean) / scale
        lowest, highest = (bins == 0)[..., None], (bins == NUM_BINS - 1)[..., None]
        return torch.logsumexp(log_weight + self._log_mass(middle, BIN_WIDTH / scale, lowest, highest), dim=-1)

    @override
    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        self._check(parameters)
        self._check_uniform(uniform)
        self._check_temperature(temperature)
        log_weight, mean, scale = self._components(at_least_single(parameters), temperature)
        # The first number chooses a component, the second a value of it.
        which = inverse_cdf_index(log_weight.exp(), uniform[..., 0])[..., None]
        value = (mean.gather(-1, which) + scale.gather(-1, which) * self.icdf(uniform[..., 1:]))[..., 0]
        return _bin(value)

    @override
    def mean(self, parameters: Tensor) -> Tensor:
        log_weight, mean, scale = self.components(parameters)
        above = torch.zeros_like(mean)
        for edge in range(1, NUM_BINS):  # the expected bin is the sum, over the 255 edges, of the mass above
            above += self._cdf((mean - (edge * BIN_WIDTH - 1)) / scale)
        return (log_weight.exp() * above).sum(-1)

    @override
    def initial_bias(self) -> Tensor:
        # Equal weights, means side by side over the grid, and scales so broad that together they are nearly flat.
        count = self.num_components
        means = (2 * torch.arange(count) + 1) / count - 1
        return torch.cat([torch.zeros(count), means, torch.full((count,), _raw(0.5 / count))])


class LogisticMixture(_Mixture):
    """A mixture of logistic distributions, put on the grid.

    All of it has closed forms. The tails fall exponentially, more slowly than a Gaussian's, so a surprising value
    costs less. With the edges a < b of a bin, in units of the scale and relative to the mean, the log of its
    probability is ``log(σ(b) − σ(a)) = log σ(b) + log σ(−a) + log(1 − exp(a − b))``; the inverse CDF of the standard
    component is ``log(u / (1 − u))``. The first and the last bin reach to infinity.

    The ``3·K`` parameters of a value are K logits of the weights, K means, and K numbers whose softplus, plus a floor
    of a twentieth of a bin, is the scale. A sample takes two uniform numbers: the first chooses a component, the
    second a value of it. Temperature T divides the logits of the weights and multiplies the scales, which raises the
    density to the power 1/T in the tails; as T goes to 0 what is left is the mean of the heaviest component.

    Args:
        num_components: the number of components K, at least 1.

    Raises:
        ValueError: fewer than one component.

    Source:
        Salimans et al., PixelCNN++, arXiv 1701.05517, §2.1.

    Example:
        >>> import torch
        >>> from causalcnn.models import LogisticMixture
        >>> mixture = LogisticMixture(num_components=2)
        >>> parameters = torch.tensor([0.0, 0.0, -0.5, 0.5, -4.0, -4.0])  # weights, means −0.5 and 0.5, scales
        >>> mixture.sample(parameters.expand(2, -1), torch.tensor([[0.2, 0.5], [0.8, 0.5]]))
        tensor([ 64, 192])
    """

    @staticmethod
    @override
    def icdf(uniform: Tensor) -> Tensor:
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
    """A mixture of Gaussians, put on the grid. A scale is a standard deviation.

    A bin's probability is what the mixture has between its two edges; the first and the last bin reach to infinity.
    The paper has a density of continuous values instead, whose bits cannot be compared with those of a grid.

    The ``3·K`` parameters of a value are K logits of the weights, K means, and K numbers whose softplus, plus a floor
    of a twentieth of a bin, is the scale. A sample takes two uniform numbers: the first chooses a component, the
    second a value of it. Temperature T divides the logits of the weights and multiplies the scales by √T, which
    raises each component's density to the power 1/T; as T goes to 0 what is left is the mean of the heaviest component.

    Args:
        num_components: the number of components K, at least 1.

    Raises:
        ValueError: fewer than one component.

    Source:
        Vasquez and Lewis, MelNet, arXiv 1906.01083, §4.

    Example:
        >>> import torch
        >>> from causalcnn.models import GaussianMixture
        >>> mixture = GaussianMixture(num_components=2)
        >>> parameters = torch.tensor([0.0, 0.0, -0.5, 0.5, -4.0, -4.0])  # weights, means −0.5 and 0.5, scales
        >>> log_weights, means, scales = mixture.components(parameters)
        >>> means.tolist(), round(mixture.mean(parameters).item(), 1)
        ([-0.5, 0.5], 127.5)
    """

    @staticmethod
    @override
    def icdf(uniform: Tensor) -> Tensor:
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
    """Squared error as a likelihood: one Gaussian, whose mean the network gives and whose spread is one learned number.

    To maximise its likelihood is to minimise the squared error of the mean; the spread says what that error costs in
    bits. The spread is the same for all values. Its parameter is multiplied by ten, so that a step of the optimizer
    moves it ten times as far as a weight: it is a single number that starts far too broad.

    Attributes:
        num_uniforms: 1, for there is no component to choose.

    Example:
        >>> import torch
        >>> from causalcnn.models import Gaussian
        >>> gaussian = Gaussian()
        >>> gaussian.size, sum(p.numel() for p in gaussian.parameters())
        (1, 1)
        >>> gaussian.sample(torch.tensor([[0.0]]), torch.tensor([[0.5]]))  # the median lies in the middle of the grid
        tensor([128])
    """

    num_uniforms = 1

    def __init__(self) -> None:
        super().__init__(1)
        self.size = 1
        self.spread = nn.Parameter(torch.tensor(_raw(0.5) / _FASTER))

    def extra_repr(self) -> str:
        """Say what is learned."""
        return "a mean for each value, one spread"

    @override
    def _components(self, parameters: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        scale = functional.softplus(self.spread.to(parameters.dtype) * _FASTER) + MIN_SCALE
        return torch.zeros_like(parameters), parameters, self._tempered(scale, temperature).expand_as(parameters)

    @override
    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        self._check(parameters)
        self._check_uniform(uniform)
        self._check_temperature(temperature)
        _, mean, scale = self._components(at_least_single(parameters), temperature)
        return _bin((mean + scale * self.icdf(uniform))[..., 0])

    @override
    def initial_bias(self) -> Tensor:
        return torch.zeros(1)  # the middle of the grid


_FASTER = 10.0
"""The spread of a :class:`Gaussian` is made of its parameter times this."""


def _raw(scale: float) -> float:
    """The number whose softplus, plus the floor, gives ``scale``."""
    return math.log(math.expm1(scale - MIN_SCALE))


def _bin(value: Tensor) -> Tensor:
    """The bin that holds a value from −1 to 1; values outside fall into the end bins, which reach to infinity."""
    return ((value + 1) / BIN_WIDTH).floor().clamp(0, NUM_BINS - 1).long()
