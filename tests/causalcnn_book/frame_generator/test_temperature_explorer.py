"""The temperature figure tells the truth: its numbers are torch's, at every temperature."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn.speech.playback import Player
from causalcnn_book.frame_generator.temperature_explorer import MELS, TemperatureExplorer

TEMPERATURES = (0.25, 0.5, 0.7, 0.85, 1.0, 1.15)
NEAREST = {round(100 * t): t for t in TEMPERATURES} | {60: 0.5, -3: 0.25, 999: 1.15}
"""Temperatures asked for, in hundredths, and the one that is shown."""


def pieces(frames: int = 9, prompt: int = 4, seed: int = 0) -> tuple[torch.Tensor, dict[float, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(count: int) -> torch.Tensor:
        return torch.randint(0, 256, (count, MELS), generator=generator)

    return drawn(frames), {t: drawn(frames - prompt) for t in TEMPERATURES}


def made(**state: Any) -> TemperatureExplorer:
    said, written = pieces()
    return TemperatureExplorer.of(said, written, **{"prompt": 4, "step_db": 0.3515625} | state)


def test_its_numbers_are_those_of_torch() -> None:
    said, written = pieces()
    figure = made()
    for figure.temperature, shown in NEAREST.items():
        read, notes = figure.read(), figure.draw()["readouts"]
        assert read["temperature"] == shown
        for name, levels in (("written", written[shown]), ("speech", said[4:])):
            x, before = levels.double() * 0.3515625, said[3:4].double() * 0.3515625
            steps = torch.diff(torch.cat([before, x]), dim=0)
            expected = {
                "step": steps.square().mean().sqrt(),
                "contrast": x.var(1, correction=0).mean().sqrt(),
                "level": x.mean(1).std(correction=0),
            }
            assert read[name] == pytest.approx({key: float(value) for key, value in expected.items()})
            for row in notes:
                text = row["text"].removesuffix(" dB") if name == "written" else row["note"].removeprefix("speech ")
                assert float(text) == pytest.approx(float(expected[row["key"]]), abs=0.050001)


def test_figures_with_the_same_levels_do_not_share_their_numbers() -> None:
    one, two = made(), made(step_db=0.703125)
    assert two.read()["speech"]["step"] == pytest.approx(2 * one.read()["speech"]["step"])


def test_frames_that_stand_still_have_no_step_and_no_moves(engine: Any) -> None:
    still = list(range(MELS)) * 3
    found = engine("temperature_explorer")("frameStatistics(still, still, 1)", still=still)
    assert (found["step"], found["level"]) == (0, 0)
    assert found["contrast"] == pytest.approx(torch.arange(80.0).std(correction=0).item())


def test_the_nearest_temperature_is_shown() -> None:
    shown = [made(temperature=t).read()["temperature"] for t in (-5, 25, 37, 38, 60, 92, 93, 400)]
    assert shown == [TEMPERATURES[i] for i in (0, 0, 0, 1, 1, 3, 4, 5)]


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    for asked, shown in (("'x'", 100), ("-3", 25), ("1e9", 115), ("null", 25)):
        state = f"{{temperature: {asked}, temperatures: [25, 50, 70, 85, 100, 115]}}"
        assert engine("temperature_explorer")(f"figure.settled({state})")["temperature"] == shown


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
