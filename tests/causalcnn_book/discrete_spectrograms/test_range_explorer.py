"""The ranges figure tells the truth: its bins are those of the library's three kinds of bins."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn.speech import MinMaxBins, RunningBins, UniformBins
from causalcnn_book.discrete_spectrograms.range_explorer import LENGTH, WAYS, RangeExplorer

BINS = UniformBins(-73.4, 16.6)


def curve(frames: int = 90, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    quiet = [round(draw.uniform(-60, -30) + (30 if 20 < t < 60 else 0), 1) for t in range(frames)]
    return [*quiet[:-20], *[-100.0] * 20]


def drawn(**more: Any) -> RangeExplorer:
    return RangeExplorer(values=curve(), low_db=BINS.low_db, high_db=BINS.high_db, **more)


def settled(engine: Any, figure: RangeExplorer) -> dict[str, Any]:
    """The state that the module draws."""
    script = engine("range_explorer")
    return script("figure.settled(s)", s={key: getattr(figure, key) for key in script("figure.traits")})


def heard(figure: RangeExplorer) -> list[float]:
    """The values with the bang in them."""
    return figure.values[: figure.at] + [float(figure.bang_db)] * LENGTH + figure.values[figure.at + LENGTH :]


def library(way: str, values: list[float]) -> list[int]:
    x = torch.tensor(values, dtype=torch.float64)[None, None]
    encode = {
        "recording": lambda x: MinMaxBins(8).encode(x)[0],
        "fixed": BINS.encode,
        "running": RunningBins(BINS).encode,
    }[way]
    return encode(x)[0, 0].tolist()


@pytest.mark.parametrize("way", WAYS)
def test_its_bins_are_the_librarys(engine: Any, way: str) -> None:
    script, figure = engine("range_explorer"), drawn(way=way)
    quiet = library(way, figure.values)
    for figure.bang_db in range(0, 61, 5):
        for figure.at in (5, 30, 55, 85):
            s, values = settled(engine, figure), heard(figure)
            expected = library(way, values)
            assert script("heard(s)", s=s) == values
            found = script("coded(s, heard(s))", s=s)
            assert found["indices"] == expected
            if way != "running":  # the running range has a test of its own
                low, high = (min(values), max(values)) if way == "recording" else (BINS.low_db, BINS.high_db)
                assert (found["low"], found["high"]) == ([low] * len(values), [high] * len(values))
            far = [abs(a - b) for a, b in zip(quiet, expected, strict=True)]
            before, after = far[: figure.at], far[figure.at + LENGTH :]
            moved = {"before": sum(map(bool, before)), "furthest": max(before), "after": sum(map(bool, after))}
            assert figure.read() == moved
            assert way == "recording" or moved["before"] == 0


def test_the_ranges_ends_are_where_the_running_bins_are(engine: Any) -> None:
    script, figure = engine("range_explorer"), drawn(way="running")
    for figure.bang_db, figure.at in ((60, 30), (60, 5), (20, 55), (0, 85)):
        found = script("coded(s, heard(s))", s=settled(engine, figure))
        running, x = RunningBins(BINS), torch.tensor(heard(figure), dtype=torch.float64)[None, None]
        state = running.initial_state(x)
        for t in range(x.shape[2]):
            assert found["low"][t] == pytest.approx(BINS.low_db + running.offset_db(state).item(), abs=1e-4)
            assert found["high"][t] - found["low"][t] == pytest.approx(BINS.high_db - BINS.low_db)
            _, state = running.encode_step(x[:, :, t : t + 1], state)


def test_only_the_recordings_own_range_is_alarming() -> None:
    for way in WAYS:
        figure = drawn(way=way, bang_db=60)
        assert figure.draw()["readouts"][0]["leak"] is (way == "recording")


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    got = engine("range_explorer")("figure.settled({way: 'x', bang_db: 999, at: -4, values: Array(50).fill(0)})")
    assert (got["way"], got["bang_db"], got["at"]) == ("recording", 60, LENGTH)
    figure = drawn(at=4000)
    assert settled(engine, figure)["at"] == 90 - LENGTH
    assert "NaN" not in figure.draw()["picture"]
