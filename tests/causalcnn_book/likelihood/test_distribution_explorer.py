"""The distribution explorer tells the truth: JavaScript and the library price the same data alike."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn.models import OutputDistribution, get_distribution
from causalcnn.models.distributions.mixtures import MIN_SCALE
from causalcnn_book.likelihood.distribution_explorer import BARS, DistributionExplorer

KEYS = ("shape", "bars", "components", "bits", "chosen", "before", "below", "contexts")
DICE = random.Random(0)
SHAPES = ("two", "one", "cut")
EDITED = [
    "0" * 32,
    "k" + "0" * 31,
    "0" * 31 + "1",
    "k" + "0" * 30 + "1",
    "k" * 32,
    *("".join(DICE.choice("0000123456789abcdefghijk") for _ in range(BARS)) for _ in range(12)),
]
GRID: list[dict[str, Any]] = [
    {"shape": shape, "components": components, "bits": bits}
    for shape, components, bits in itertools.product(SHAPES, range(1, 7), range(1, 9))
]
GRID += [{"bars": text, "components": n, "bits": b} for text in EDITED for n, b in ((1, 1), (2, 5), (4, 3), (6, 8))]
CONTEXTS = [[DICE.choice((0, 0, 1, 40, i)) for i in range(256)] for _ in range(63)] + [[0] * 256]
GRID += [{"contexts": CONTEXTS, "before": a, "below": b, "components": 4} for a in range(1, 9) for b in (a, 9 - a)]


def state(figure: DistributionExplorer) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in KEYS}


def exact(numbers: Any) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def raw(scale: float) -> float:
    return math.log(math.expm1(scale - MIN_SCALE))


def parameters(fit: list[tuple[float, float, float]]) -> torch.Tensor:
    """The fit as the parameters of the library's ``Gaussians``, whose grid reaches from −1 to 1."""
    weights, means, deviations = zip(*fit, strict=True)
    logits = [math.log(weight) for weight in weights]
    return torch.tensor([*logits, *(m / 128 - 1 for m in means), *(raw(d / 128) for d in deviations)])


def price(distribution: OutputDistribution, given: torch.Tensor, h: list[float]) -> float:
    log_prob = distribution.log_prob(given.expand(256, -1), torch.arange(256)).double()
    shares = torch.tensor(h, dtype=torch.float64)
    return float(-(shares * log_prob)[shares > 0].sum() / math.log(2))


def counted(script: Any, setting: dict[str, Any]) -> torch.Tensor:
    """The heights that a setting asks for."""
    if "contexts" in setting:
        return exact(setting["contexts"][(setting["before"] - 1) * 8 + setting["below"] - 1])
    text = setting["bars"] if "bars" in setting else script("DRAWN")[setting["shape"]]
    return exact([int(letter, 36) for letter in text])


def expectation_maximisation(h: np.ndarray, each: int, components: int, whole: float) -> np.ndarray:
    """80 rounds of EM in NumPy: weight, mean and deviation of every component. A bar is a point with a width."""
    x, p = (np.arange(256) + 0.5).reshape(-1, each).mean(1), h.reshape(-1, each).sum(1)
    starts = (np.arange(components) + 0.5) / components + 1e-9
    mean = x[np.searchsorted(np.cumsum(p), starts, side="right").clip(0, len(x) - 1)]
    weight, deviation = np.full(components, 1 / components), whole * np.arange(1, components + 1) / components
    x, p = x[p > 0, None], p[p > 0, None]
    for _ in range(80):
        logs = np.log(weight) - np.log(deviation) - ((x - mean) / deviation) ** 2 / 2
        shares = np.exp(logs - logs.max(1, keepdims=True))
        parts = p * shares / shares.sum(1, keepdims=True)
        won = parts.sum(0)
        lost, weight = won < 1e-6, won.clip(min=1e-6)  # what has lost everything stays where it is
        new = np.where(lost, mean, (parts * x).sum(0) / weight)
        variance = (parts * x**2).sum(0) / weight - new * new + each**2 / 12
        mean, deviation = new, np.where(lost, deviation, np.sqrt(variance.clip(min=0.25)))
    return np.stack([weight / weight.sum(), mean, deviation], 1)


def test_javascript_and_the_library_agree_over_the_whole_grid(engine: Any) -> None:
    script = engine("distribution_explorer")
    for setting in GRID:
        figure = DistributionExplorer(**setting)
        live = script(
            "(({h, gaussian, mixture, bits, empty}) => ({h, gaussian, mixture, bits, empty}))(readState(s))",
            s=state(figure),
        )
        heights, h, bits = counted(script, setting), exact(live["h"]), live["bits"]
        each, total = 256 // len(heights), heights.sum()
        assert live["empty"] == (not total)
        spread = heights.repeat_interleave(each) / each / total if total else torch.full_like(h, 1 / 256)
        torch.testing.assert_close(h, spread, rtol=1e-12, atol=0)
        centre = torch.arange(256).double() + 0.5
        mean = (spread * centre).sum()
        deviation = ((spread * (centre - mean).square()).sum() + 1 / 12).sqrt()
        torch.testing.assert_close(exact(live["gaussian"]), exact([[1, mean, deviation]]))
        mixture = exact(expectation_maximisation(spread.numpy(), each, figure.components, float(deviation)))
        torch.testing.assert_close(exact(live["mixture"]), mixture, rtol=1e-6, atol=1e-9)
        coarse = spread.view(2**figure.bits, -1).sum(1)
        assert float(torch.special.entr(spread).sum()) / math.log(2) == pytest.approx(bits["entropy"], abs=1e-6)
        assert float(torch.special.entr(coarse).sum()) / math.log(2) + 8 - figure.bits == pytest.approx(
            bits["categorical"], abs=1e-6
        )
        for name, given, size in (
            ("mixture", parameters(live["mixture"]), f"gaussian-mixture-{figure.components}"),
            ("gaussian", parameters(live["gaussian"]), "gaussian-mixture-1"),
            ("categorical", coarse.clamp(min=1e-30).log().float(), f"categorical-{figure.bits}"),
        ):
            assert price(get_distribution(size), given, live["h"]) == pytest.approx(bits[name], abs=1e-3), setting


def test_no_distribution_beats_the_entropy_and_more_freedom_costs_nothing() -> None:
    for shape in SHAPES:
        bits = [DistributionExplorer(shape=shape, bits=b).read()["bits"] for b in range(1, 9)]
        assert all(one["entropy"] <= min(one.values()) + 1e-9 for one in bits)
        fine = [one["categorical"] for one in bits]
        assert fine == sorted(fine, reverse=True)
        assert fine[4] == pytest.approx(bits[0]["entropy"])  # a bar is one of 32 bins


def test_the_gaussian_is_the_one_of_most_likelihood() -> None:
    """Its mean and variance minimise the price among Gaussians, but for what the grid rounds."""
    for shape in ("two", "one"):
        own = DistributionExplorer(shape=shape).read()
        best = own["bits"]["gaussian"]
        ((_, mean, deviation),) = own["gaussian"]
        for there, wide in itertools.product((-4, 0, 4), (0.93, 1, 1.07)):
            other = price(
                get_distribution("gaussian-mixture-1"), parameters([(1.0, mean + there, deviation * wide)]), own["h"]
            )
            assert other > best - 0.01


def test_the_mixture_is_no_worse_than_one_gaussian() -> None:
    for shape, components in itertools.product(SHAPES, range(2, 7)):
        bits = DistributionExplorer(shape=shape, components=components).read()["bits"]
        assert bits["mixture"] < bits["gaussian"]


def test_the_logarithm_of_phi(engine: Any) -> None:
    points = [-40.0, -12.5, -3.0, -0.7, 0.0, 0.3, 2.0, 5.0]
    known = torch.special.log_ndtr(exact(points)).tolist()
    assert engine("distribution_explorer")("points.map(logPhi)", points=points) == pytest.approx(
        known, rel=3e-7, abs=3e-7
    )


def test_a_drawn_bar_is_the_only_one_that_changes(engine: Any) -> None:
    script, figure = engine("distribution_explorer"), DistributionExplorer(shape="cut")
    text = script("redrawn(s, 5, 13.4)", s=state(figure))
    drawn = script("DRAWN")["cut"]
    assert text == drawn[:5] + "d" + drawn[6:]
    assert script("redrawn(s, 0, 99)", s=state(figure))[0] == "k"
    assert script("bars(s)", s=state(DistributionExplorer(bars=text)))[5] == 13


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    s = {
        "shape": "x",
        "bars": "zz",
        "components": 99,
        "bits": 0,
        "chosen": -1,
        "before": 9,
        "below": "q",
        "contexts": [],
    }
    wild = engine("distribution_explorer")("figure.settled(s)", s=s)
    expected = {"shape": "two", "components": 6, "bits": 1, "chosen": 0, "before": 8, "below": 1}
    assert {key: wild[key] for key in expected} == expected
    assert engine("distribution_explorer")("bars(figure.settled(s)).length", s=s) == BARS


def test_wrong_contexts_are_refused() -> None:
    with pytest.raises(ValueError, match="64 histograms of 256 counts"):
        DistributionExplorer(contexts=[[1] * 64])
