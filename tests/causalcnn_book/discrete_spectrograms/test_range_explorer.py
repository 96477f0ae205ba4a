"""The ranges figure tells the truth: its bins are those of the library's three kinds of bins."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")

from causalcnn.speech import MinMaxBins, RunningBins, UniformBins
from causalcnn_book.discrete_spectrograms.range_explorer import KEYS, LENGTH, WAYS, RangeExplorer

BINS = UniformBins(-73.4, 16.6)


def curve(frames: int = 90, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    quiet = [round(draw.uniform(-60, -30) + (30 if 20 < t < 60 else 0), 1) for t in range(frames)]
    return [*quiet[:-20], *[-100.0] * 20]


def drawn(**more: Any) -> RangeExplorer:
    return RangeExplorer(values=curve(), low_db=BINS.low_db, high_db=BINS.high_db, **more)


def library(way: str, values: list[float]) -> list[int]:
    x = torch.tensor(values, dtype=torch.float64)[None, None]
    encode = {
        "recording": lambda x: MinMaxBins(8).encode(x)[0],
        "fixed": BINS.encode,
        "running": RunningBins(BINS).encode,
    }[way]
    return encode(x)[0, 0].tolist()


@pytest.mark.parametrize("way", WAYS)
def test_indices_in_both_languages_are_the_librarys(engine: Any, way: str) -> None:
    script, figure = engine("range_explorer"), drawn(way=way)
    for figure.bang_db in range(0, 61, 5):
        for figure.at in (5, 30, 55, 85):
            expected = library(way, figure.heard())
            indices, low, high = figure.coded(figure.heard())
            assert indices == expected
            s = {key: getattr(figure, key) for key in KEYS}
            assert script("coded(s, heard(s))", s=s) == {"indices": indices, "low": low, "high": high}
            assert script("moved(s)", s=s) == figure.moved()
            quiet = library(way, figure.values)
            before = sum(a != b for a, b in zip(quiet[: figure.at], expected[: figure.at], strict=True))
            assert figure.moved()["before"] == before
            assert way == "recording" or before == 0


@pytest.mark.parametrize("way", WAYS)
def test_javascript_draws_and_says_what_python_does(engine: Any, way: str) -> None:
    script, figure = engine("range_explorer"), drawn(way=way)
    for figure.bang_db in (0, 15, 40, 60):
        for figure.at in (5, 42, 85):
            s = {key: getattr(figure, key) for key in KEYS}
            for width in (700, 330):
                picture, height = figure.picture(width, "x")
                assert script("drawPicture(s, width, 'x')", s=s, width=width) == picture
                assert script("HEIGHT") == height
            assert script("sentence(s)", s=s) == figure.sentence()
            live = [(c["key"], c["label"], c["text"], c["note"]) for c in script("readouts(s)", s=s)]
            assert live == figure.readout_rows()


def test_the_ranges_ends_are_where_the_running_bins_are() -> None:
    figure = drawn(way="running", bang_db=60, at=30)
    _, low, high = figure.coded(figure.heard())
    running, x = RunningBins(BINS), torch.tensor(figure.heard(), dtype=torch.float64)[None, None]
    state = running.initial_state(x)
    for t in range(x.shape[2]):
        assert low[t] == pytest.approx(BINS.low_db + running.offset_db(state).item(), abs=1e-4)
        assert high[t] - low[t] == pytest.approx(BINS.high_db - BINS.low_db)
        _, state = running.encode_step(x[:, :, t : t + 1], state)


def test_only_the_recordings_own_range_is_alarming(engine: Any) -> None:
    for way in WAYS:
        figure = drawn(way=way, bang_db=60)
        s = {key: getattr(figure, key) for key in KEYS}
        assert engine("range_explorer")("readouts(s)[0].leak", s=s) is (way == "recording")


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    got = engine("range_explorer")("settled({way: 'x', bang_db: 999, at: -4, values: Array(50).fill(0)})")
    assert (got["way"], got["bang_db"], got["at"]) == ("recording", 60, LENGTH)
    figure = drawn(at=4000)
    assert figure.first == 90 - LENGTH
    figure.picture(700, "x")
