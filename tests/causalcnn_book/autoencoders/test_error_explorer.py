"""The error figure tells the truth: it damages as the library does, and every error is as large as it says."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn_book.autoencoders import KINDS, ErrorExplorer, distorted, error_db, masked_error_db
from causalcnn_book.autoencoders.equal_error import log_mel
from causalcnn_book.autoencoders.error_explorer import ERRORS

T = np.arange(8_000) / 16_000
SPEECH = sum(np.sin(2 * np.pi * k * (150 * T + 100 * T**2)) / k for k in range(1, 20)) * 0.1
SPEECH *= np.repeat([1, 1e-4, 0.1, 0.7, 1e-3], 1_600)
SPEECH += np.random.default_rng(0).normal(0, 1e-4, len(T))


def frames_of(figure: ErrorExplorer) -> np.ndarray:
    cells = np.frombuffer(base64.b64decode(figure.cells), np.uint8)
    return cells.reshape(-1, 80).T / 2 - 70


@pytest.fixture(scope="module")
def figure() -> ErrorExplorer:
    return ErrorExplorer.of(SPEECH, kinds=tuple(KINDS), sounds=False)


@pytest.mark.parametrize("kind", KINDS)
def test_each_damage_is_the_one_of_python(engine: Any, figure: ErrorExplorer, kind: str) -> None:
    frames = frames_of(figure)
    for error, strength in zip(ERRORS, figure.strengths[kind], strict=True):
        state = {key: getattr(figure, key) for key in ("cells", "errors", "strengths", "masked_db")}
        found = engine("error_explorer")(
            "distorted(original(s), s.kind, strength)", s=state | {"kind": kind}, strength=strength
        )
        expected = distorted(frames, kind, strength)
        np.testing.assert_allclose(np.reshape(found, (-1, 80)).T, expected, rtol=0, atol=1e-9)
        read = ErrorExplorer(**state, kind=kind, error=error).read()
        assert read["error_db"] == pytest.approx(error, rel=1e-8)
        assert read["error_db"] == pytest.approx(error_db(frames, expected), rel=1e-9)
        assert read["largest_db"] == pytest.approx(np.abs(expected - frames).max(), abs=1e-9)
        assert read["masked_db"] == pytest.approx(masked_error_db(frames, expected), abs=1e-4)
        assert read["masked_db"] <= error + 1e-4
        assert read["strength"] == strength


def test_undamaged_there_is_no_error(figure: ErrorExplorer) -> None:
    figure = ErrorExplorer(kind="none")
    assert figure.read() == {"error_db": 0, "largest_db": 0, "strength": 0, "masked_db": 0}
    assert "Nothing is changed" in figure.draw()["sentence"]


def test_it_carries_the_spectrogram_of_the_recording(figure: ErrorExplorer) -> None:
    assert np.abs(frames_of(figure) - log_mel(SPEECH)).max() <= 0.25


def test_it_can_be_heard_in_every_setting() -> None:
    pytest.importorskip("soundfile")
    figure = ErrorExplorer.of(SPEECH, errors=(2.0, 5.0), kinds=("pauses", "later"))
    assert {kind: len(each) for kind, each in figure.sounds.items()} == {"none": 1, "pauses": 2, "later": 2}
    assert len({each for kind in figure.sounds.values() for each in kind}) == 5
    assert figure.controls == ["sound", "kind", "error"]
    assert figure.seconds == 0.5


@pytest.mark.parametrize("wrong", [np.zeros((2, 4_000)), np.zeros(100), np.zeros(100_000)])
def test_what_is_no_short_recording_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"0\.1 to 4 s"):
        ErrorExplorer.of(wrong, sounds=False)


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    given = "figure.settled({kind: 'so', error: 99, errors: [1, 2], strengths: {later: [0.1, 0.2]}})"
    found = engine("error_explorer")(given)
    assert (found["kind"], found["error"]) == ("none", 2)
    assert engine("error_explorer")("figure.settled({kind: 'pauses', error: 1, errors: [1], strengths: {}}).kind") == (
        "none"
    )
