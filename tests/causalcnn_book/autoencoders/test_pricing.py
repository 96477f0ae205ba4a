"""Prices, rounding, principal components, the yardstick, and the hull."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn_book.autoencoders import (
    PrincipalComponents,
    SymbolPrices,
    UniformQuantizer,
    lower_hull,
    reverse_water_filling,
)
from tests.fuzz import examples


def draws(frames=200, n=3, seed=0):
    return torch.randn(frames, n, generator=torch.Generator().manual_seed(seed)) * torch.tensor([4.0, 1.0, 0.3])[:n]


@settings(max_examples=examples(25))
@given(step=st.floats(0.01, 10), seed=st.integers(0, 99))
def test_rounding_is_off_by_half_a_step_at_most_and_never_out_of_range(step, seed):
    x, steps = draws(seed=seed), torch.full((3,), step)
    quantizer = UniformQuantizer.fitted(x, steps)
    symbols = quantizer.encode(x)
    assert float((quantizer.decode(symbols) - x).abs().max()) <= step / 2 * (1 + 1e-4)
    far = quantizer.encode(100 * x)
    assert bool(((far >= quantizer.low) & (far <= quantizer.high)).all())


def test_a_step_is_above_zero():
    with pytest.raises(ValueError, match=r"0\.0; it must be more than 0"):
        UniformQuantizer.fitted(draws(), torch.tensor([1.0, 0.0, 1.0]))


def test_prices_are_those_of_a_code():
    """By Kraft's inequality: the probabilities of all symbols of a place add up to one."""
    symbols = (draws() * 2).round().long()
    low, high = symbols.amin(0) - 2, symbols.amax(0) + 1
    prices = SymbolPrices(symbols, low, high)
    for place in range(3):
        symbol = torch.arange(int(low[place]), int(high[place]) + 1)
        row = low.expand(len(symbol), -1).clone()
        row[:, place] = symbol
        others = prices.of(low[None]) - prices.bits[place, 0]
        assert float((2.0 ** -(prices.of(row) - others)).sum()) == pytest.approx(1)


def test_what_is_priced_by_its_own_table_costs_about_its_entropy_and_other_speech_costs_more():
    symbols, other = (draws(20_000, seed=seed).round().long() for seed in (0, 1))
    low, high = torch.minimum(symbols.amin(0), other.amin(0)), torch.maximum(symbols.amax(0), other.amax(0))
    entropy = sum(
        float(torch.special.entr(torch.unique(place, return_counts=True)[1].double() / len(place)).sum()) / math.log(2)
        for place in other.T
    )
    own, across = (float(SymbolPrices(one, low, high).of(other).mean()) for one in (other, symbols))
    assert own == pytest.approx(entropy, rel=1e-3)
    assert entropy < own < across < 1.01 * entropy
    with pytest.raises(ValueError, match="out of the range"):
        SymbolPrices(other, low, high).of(high[None] + 1)


def test_components_are_apart_and_fall():
    x = draws(500) @ torch.linalg.qr(draws(3))[0].T
    components = PrincipalComponents(x)
    numbers = components.numbers(x).double()
    covariance = numbers.T @ numbers / len(numbers)
    torch.testing.assert_close(covariance, torch.diag(components.variances), atol=1e-4, rtol=1e-4)
    assert components.variances.tolist() == sorted(components.variances.tolist(), reverse=True)
    torch.testing.assert_close(components.frames(components.numbers(x)), x, atol=1e-5, rtol=1e-5)


@settings(max_examples=examples(50))
@given(
    variances=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6),
    share=st.floats(0.01, 1.2),
)
def test_water_finds_its_level(variances, share):
    """The level by bisection, the plain way: the errors of all components add up to the distortion."""
    values = torch.tensor(variances, dtype=torch.float64)
    distortion = share * float(values.mean())
    low, high = 0.0, float(values.max())
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if float(values.clamp(max=level).mean()) < distortion else (low, level)
    expected = float(0.5 * (values / high).log2().clamp(min=0).sum())
    assert reverse_water_filling(values, distortion) == pytest.approx(expected, abs=1e-6)


def test_rounded_and_priced_components_of_gaussians_lie_a_quarter_of_a_bit_above_the_yardstick():
    """At high rate: log₂ of √(2πe/12), for each component."""
    x, steps = draws(50_000), torch.full((3,), 0.05)
    quantizer = UniformQuantizer.fitted(x, steps)
    symbols = quantizer.encode(x)
    bits = float(SymbolPrices(symbols, quantizer.low, quantizer.high).of(symbols).mean())
    distortion = float((quantizer.decode(symbols) - x).square().mean())
    gap = (bits - reverse_water_filling(torch.tensor([16.0, 1.0, 0.09]), distortion)) / 3
    assert gap == pytest.approx(0.5 * math.log2(2 * math.pi * math.e / 12), abs=0.02)


def test_a_distortion_is_above_zero():
    with pytest.raises(ValueError, match="distortion is 0"):
        reverse_water_filling(torch.ones(2), 0)
    assert reverse_water_filling(torch.ones(2), 1.5) == 0


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
def test_no_mixture_beats_the_hull_and_all_others_are_beaten(points):
    named = {str(i): (float(rate), float(error)) for i, (rate, error) in enumerate(points)}
    hull = [named[name] for name in lower_hull(named)]
    assert hull
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(hull))

    def best(rate):
        """The lowest squared error of a mixture of two points of the hull at this rate or less."""
        found = [e**2 for r, e in hull if r <= rate]
        for (r, e), (s, f) in pairwise(hull):
            if r <= rate <= s:
                found.append(e**2 + (f**2 - e**2) * (rate - r) / (s - r))
        return min(found, default=math.inf)

    for rate, error in named.values():
        assert best(rate) <= error**2 + 1e-9
    for i, (rate, error) in enumerate(hull):
        others = [hull[j] for j in (i - 1, i + 1) if 0 <= j < len(hull)]
        if len(others) == 2:
            (r, e), (s, f) = others
            assert error**2 < e**2 + (f**2 - e**2) * (rate - r) / (s - r)
