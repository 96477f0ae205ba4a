"""Distributions fitted to a histogram over 256 bins, as ``distribution_explorer.js`` fits them: all in bins."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["categorical_log", "gaussian_fit", "mixture_fit", "mixture_log", "price_bits"]

LEVELS, STEPS = 256, 80
LEAST = 0.25
"""The least variance of a component, in squared bins."""

Floats = NDArray[np.float64]
Fit = list[tuple[float, float, float]]
"""Weight, mean and deviation of every component; bin ``k`` reaches from ``k`` to ``k + 1``."""

CENTRES = np.arange(LEVELS) + 0.5
SERIES = (0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368)


def log_phi(x: ArrayLike) -> Floats:
    """The logarithm of the normal CDF, with the approximation of the explorer's JavaScript: a relative error of 1e-7.

    Source: Press et al., Numerical Recipes, §6.2.
    """
    value = np.asarray(x, dtype=np.float64)
    z = np.abs(value) / math.sqrt(2)
    t = 1 / (1 + 0.5 * z)
    series = np.zeros_like(z)
    for coefficient in SERIES:
        series = coefficient + t * series
    with np.errstate(divide="ignore"):  # at infinity the logarithm of nothing is meant
        tail = np.log(t) - z * z + (-1.26551223 + t * series) - math.log(2)
        return np.where(value > 0, np.log1p(-np.exp(tail)), tail)


def _log_mass(mean: float, deviation: float) -> Floats:
    """The logarithm of what a normal distribution puts on every bin; the first and the last reach to infinity."""
    edges = np.concatenate([[-np.inf], np.arange(1, LEVELS), [np.inf]])
    low, high = (edges[:-1] - mean) / deviation, (edges[1:] - mean) / deviation
    mirrored = low + high > 0
    low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    top = log_phi(high)
    return top + np.log1p(-np.exp(log_phi(low) - top))


def gaussian_fit(histogram: ArrayLike) -> Fit:
    """The Gaussian of most likelihood: the mean and the variance of what was counted.

    Args:
        histogram: 256 probabilities.
    """
    h = np.asarray(histogram, dtype=np.float64)
    mean = float((h * CENTRES).sum())
    return [(1.0, mean, math.sqrt(float((h * (CENTRES - mean) ** 2).sum()) + 1 / 12))]


def mixture_fit(histogram: ArrayLike, components: int, each: int = 1) -> Fit:
    """A mixture of Gaussians, by 80 rounds of expectation and maximisation from even shares of what was counted.

    Args:
        histogram: 256 probabilities.
        components: at least 1.
        each: bins of a bar; it counts as a point at its centre, with its own width added to the variance.

    Source: Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM algorithm, 1977.
    """
    h = np.asarray(histogram, dtype=np.float64)
    ((_, _, whole),) = gaussian_fit(h)
    x, p = CENTRES.reshape(-1, each).mean(1), h.reshape(-1, each).sum(1)
    starts = (np.arange(components) + 0.5) / components + 1e-9  # a hair more, so that no start is a tie
    mean = x[np.searchsorted(np.cumsum(p), starts, side="right").clip(0, len(x) - 1)]
    # Each wider than the last: two that began alike would stay alike.
    weight, deviation = np.full(components, 1 / components), whole * np.arange(1, components + 1) / components
    x, p = x[p > 0], p[p > 0]
    for _ in range(STEPS):
        logs = np.log(weight) - np.log(deviation) - ((x[:, None] - mean) / deviation) ** 2 / 2
        shares = np.exp(logs - logs.max(1, keepdims=True))
        parts = p[:, None] * shares / shares.sum(1, keepdims=True)
        weight, first, second = parts.sum(0), (parts * x[:, None]).sum(0), (parts * x[:, None] ** 2).sum(0)
        lost = weight < 1e-6  # it lost everything: it stays where it is
        weight = np.where(lost, 1e-6, weight)
        new = np.where(lost, mean, first / weight)
        spread = np.sqrt(np.maximum(LEAST, second / weight - new * new + each**2 / 12))
        mean, deviation = new, np.where(lost, deviation, spread)
    weight = weight / weight.sum()
    return list(zip(weight.tolist(), mean.tolist(), deviation.tolist(), strict=True))


def mixture_log(fit: Fit) -> Floats:
    """The log-probability of every bin under a mixture of Gaussians."""
    logs = np.stack([math.log(weight) + _log_mass(mean, deviation) for weight, mean, deviation in fit])
    most = logs.max(0)
    return most + np.log(np.exp(logs - most).sum(0))


def categorical_log(histogram: ArrayLike, bits: int) -> Floats:
    """The log-probability of every bin where each of ``2**bits`` coarse bins spreads its share; −∞ where none is."""
    each = 2 ** (8 - bits)
    shares = np.asarray(histogram, dtype=np.float64).reshape(-1, each).sum(1) / each
    with np.errstate(divide="ignore"):
        return np.repeat(np.log(shares), each)


def price_bits(histogram: ArrayLike, logs: ArrayLike) -> float:
    """What a distribution with these log-probabilities pays for a value of the histogram, in bits."""
    h, log = np.asarray(histogram, dtype=np.float64), np.asarray(logs, dtype=np.float64)
    return -float((h[h > 0] * log[h > 0]).sum()) / math.log(2)
