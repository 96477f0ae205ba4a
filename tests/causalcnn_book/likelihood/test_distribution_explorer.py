"""The distribution explorer tells the truth: JavaScript, Python and the library price the same data alike."""

from __future__ import annotations

import itertools
import math
import random
import re
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")

from causalcnn.models import OutputDistribution, get_distribution
from causalcnn.models.distributions.mixtures import MIN_SCALE
from causalcnn_book.likelihood.distribution_explorer import BARS, DRAWN, DistributionExplorer
from causalcnn_book.likelihood.distribution_fits import gaussian_fit, log_phi

KEYS = ("shape", "bars", "components", "bits", "chosen", "before", "below", "contexts")
DICE = random.Random(0)
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
    for shape, components, bits in itertools.product(DRAWN, range(1, 7), range(1, 9))
]
GRID += [{"bars": text, "components": n, "bits": b} for text in EDITED for n, b in ((1, 1), (2, 5), (4, 3), (6, 8))]
CONTEXTS = [[DICE.choice((0, 0, 1, 40, i)) for i in range(256)] for _ in range(63)] + [[0] * 256]
GRID += [{"contexts": CONTEXTS, "before": a, "below": b, "components": 4} for a in range(1, 9) for b in (a, 9 - a)]


def state(figure: DistributionExplorer) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in KEYS}


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


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


def test_javascript_python_and_the_library_agree_over_the_whole_grid(engine: Any) -> None:
    script = engine("distribution_explorer")
    for setting in GRID:
        figure = DistributionExplorer(**setting)
        live, own = (
            script(
                "(({h, gaussian, mixture, bits, empty}) => ({h, gaussian, mixture, bits, empty}))(readState(s))",
                s=state(figure),
            ),
            figure.read(),
        )
        assert live["empty"] == own["empty"]
        for key in ("h", "gaussian", "mixture"):
            there, here = torch.tensor(live[key]).double(), torch.as_tensor(own[key]).double()
            torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-9)
        for name, bits in own["bits"].items():
            assert live["bits"][name] == pytest.approx(bits, abs=1e-6), (setting, name)
        gaussians = get_distribution(f"gaussian-mixture-{figure.components}")
        assert price(gaussians, parameters(own["mixture"]), own["h"]) == pytest.approx(own["bits"]["mixture"], abs=1e-3)
        assert price(get_distribution("gaussian-mixture-1"), parameters(own["gaussian"]), own["h"]) == pytest.approx(
            own["bits"]["gaussian"], abs=1e-3
        )
        coarse = torch.tensor(own["h"]).view(2**figure.bits, -1).sum(1).clamp(min=1e-30).log()
        assert price(get_distribution(f"categorical-{figure.bits}"), coarse, own["h"]) == pytest.approx(
            own["bits"]["categorical"], abs=1e-3
        )


def test_no_distribution_beats_the_entropy_and_more_freedom_costs_nothing() -> None:
    for shape in DRAWN:
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
        ((_, mean, deviation),) = gaussian_fit(own["h"])
        for there, wide in itertools.product((-4, 0, 4), (0.93, 1, 1.07)):
            other = price(
                get_distribution("gaussian-mixture-1"), parameters([(1.0, mean + there, deviation * wide)]), own["h"]
            )
            assert other > best - 0.01


def test_the_mixture_is_no_worse_than_one_gaussian() -> None:
    for shape, components in itertools.product(DRAWN, range(2, 7)):
        bits = DistributionExplorer(shape=shape, components=components).read()["bits"]
        assert bits["mixture"] < bits["gaussian"]


def test_the_logarithm_of_phi(engine: Any) -> None:
    points = [-40.0, -12.5, -3.0, -0.7, 0.0, 0.3, 2.0, 5.0]
    exact = torch.special.log_ndtr(torch.tensor(points, dtype=torch.float64)).tolist()
    assert [log_phi(x) for x in points] == pytest.approx(exact, rel=3e-7, abs=3e-7)
    assert engine("distribution_explorer")("points.map(logPhi)", points=points) == pytest.approx(
        exact, rel=3e-7, abs=3e-7
    )


@pytest.mark.parametrize("width", [700, 330])
def test_the_static_picture_and_the_words_are_the_live_ones(engine: Any, width: int) -> None:
    script = engine("distribution_explorer")
    for setting in GRID[:: 7 if width == 700 else 11]:
        figure = DistributionExplorer(**setting, chosen=3)
        picture, height = figure.picture(width, "x")
        live = script("drawPicture(s, width)", s=state(figure), width=width)
        assert re.sub(r"[\d.-]+", "#", live) == re.sub(r"[\d.-]+", "#", picture)
        # Logarithms of the two languages differ in the last digit, so a number may round to its neighbour.
        assert max(abs(a - b) for a, b in zip(numbers(live), numbers(picture), strict=True)) < 0.11
        assert script("layout(width).height", width=width) == height
        assert script("sentence(s)", s=state(figure)) == figure.sentence()
        live = [(row["key"], row["label"], row["text"], row["note"]) for row in script("readouts(s)", s=state(figure))]
        assert live == figure.readout_rows()


def test_a_drawn_bar_is_the_only_one_that_changes(engine: Any) -> None:
    script, figure = engine("distribution_explorer"), DistributionExplorer(shape="cut")
    text = script("redrawn(s, 5, 13.4)", s=state(figure))
    assert text == DRAWN["cut"][:5] + "d" + DRAWN["cut"][6:]
    assert script("redrawn(s, 0, 99)", s=state(figure))[0] == "k"
    assert DistributionExplorer(bars=text).heights()[5] == 13


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
    wild = engine("distribution_explorer")("settled(s)", s=s)
    expected = {"shape": "two", "components": 6, "bits": 1, "chosen": 0, "before": 8, "below": 1}
    assert {key: wild[key] for key in expected} == expected
    assert engine("distribution_explorer")("bars(settled(s)).length", s=s) == BARS


def test_wrong_contexts_are_refused() -> None:
    with pytest.raises(ValueError, match="64 histograms of 256 counts"):
        DistributionExplorer(contexts=[[1] * 64])
