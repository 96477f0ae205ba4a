"""The temperature figure tells the truth: its numbers are exact, its picture Python's, at every temperature."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")

from causalcnn.speech.playback import Player
from causalcnn_book.frame_generator.temperature_explorer import MELS, TemperatureExplorer, frame_statistics

KEYS = ("temperature", "temperatures", "levels", "prompt", "step_db")
TEMPERATURES = (0.25, 0.5, 0.7, 0.85, 1.0, 1.15)


def pieces(frames: int = 9, prompt: int = 4, seed: int = 0) -> tuple[torch.Tensor, dict[float, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(count: int) -> torch.Tensor:
        return torch.randint(0, 256, (count, MELS), generator=generator)

    return drawn(frames), {t: drawn(frames - prompt) for t in TEMPERATURES}


def made(**state: Any) -> TemperatureExplorer:
    said, written = pieces()
    return TemperatureExplorer.of(said, written, **{"prompt": 4, "step_db": 0.3515625} | state)


def test_javascript_draws_and_says_what_python_does(engine: Any) -> None:
    script, figure = engine("temperature_explorer"), made()
    for figure.temperature in (25, 50, 70, 85, 100, 115, 60, -3, 999):
        s = {key: getattr(figure, key) for key in KEYS}
        for width in (700, 330):
            assert script("drawPicture(s, width)", s=s, width=width) == figure.picture(width, "x")[0]
            assert script("HEIGHT") == figure.picture(width, "x")[1]
        assert script("sentence(s)", s=s) == figure.sentence()
        assert script("readState(s)", s=s) == figure.read()
        live = [(c["key"], c["label"], c["text"], c["note"]) for c in script("readouts(s)", s=s)]
        assert live == figure.readout_rows()


def test_its_numbers_are_those_of_torch() -> None:
    said, written = pieces()
    figure = made(temperature=70)
    for name, levels in (("written", written[0.7]), ("speech", said[4:])):
        x, before = levels.double() * 0.3515625, said[3:4].double() * 0.3515625
        steps = torch.diff(torch.cat([before, x]), dim=0)
        expected = {
            "step": steps.square().mean().sqrt(),
            "contrast": x.var(1, correction=0).mean().sqrt(),
            "level": x.mean(1).std(correction=0),
        }
        assert figure.read()[name] == pytest.approx({key: float(value) for key, value in expected.items()})


def test_frames_that_stand_still_have_no_step_and_no_moves() -> None:
    still = bytes(range(MELS)) * 3
    found = frame_statistics(still, still, 1.0)
    assert (found["step"], found["level"]) == (0, 0)
    assert found["contrast"] == pytest.approx(torch.arange(80.0).std(correction=0).item())


def test_the_nearest_temperature_is_shown() -> None:
    assert [made(temperature=t).place for t in (-5, 25, 37, 38, 60, 92, 93, 400)] == [0, 0, 0, 1, 1, 3, 4, 5]


def test_sounds_come_in_the_order_of_the_temperatures() -> None:
    assert made().controls == ["temperature"]
    figure = made(sounds=[Player(str(n), bytes([n]), 1.5) for n in range(6)])
    assert figure.controls == ["sound", "temperature"]
    assert [base64.b64decode(sound) for sound in figure.sounds] == [bytes([n]) for n in range(6)]


def test_what_does_not_fit_is_named() -> None:
    said, written = pieces()
    with pytest.raises(ValueError, match="there are 1 sounds and 6 temperatures"):
        made(sounds=[Player("a", b"", 1.0)])
    with pytest.raises(ValueError, match="5 frames of it given"):
        TemperatureExplorer.of(said, written, prompt=5, step_db=0.35)
