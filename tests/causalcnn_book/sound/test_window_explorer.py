"""The window explorer tells the truth: its JavaScript, the field and the front end agree."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import torch

mini_racer = pytest.importorskip("py_mini_racer")
pytest.importorskip("anywidget")

from causalcnn.speech import LogMel  # noqa: E402
from causalcnn_book.explorer import module  # noqa: E402
from causalcnn_book.sound import WindowExplorer  # noqa: E402
from causalcnn_book.sound.window_explorer import HOPS, WINDOWS, envelope  # noqa: E402

SETTINGS = list(itertools.product(("causal", "centered"), WINDOWS, HOPS))
KEYS = ("frame", "convention", "window_samples", "hop_samples", "wave")


@pytest.fixture(scope="module")
def script() -> Any:
    engine = mini_racer.MiniRacer()
    engine.eval(module("sound/window_explorer").replace("export default", "var figure ="))
    return engine


def call(script: Any, function: str, figure: WindowExplorer, *more: object) -> Any:
    state = {key: getattr(figure, key) for key in KEYS}
    arguments = ",".join(json.dumps(argument) for argument in (state, *more))
    return json.loads(script.eval(f"JSON.stringify({function}({arguments}))"))


def by_the_field(figure: WindowExplorer) -> dict[str, Any]:
    inputs, due = figure.field.inputs_of(figure.frame), (figure.frame + 1) * figure.hop_samples
    first, last = min(inputs), max(inputs)
    ready, centre = max(due, last + 1), first + figure.window_samples // 2
    return {
        "first": first, "last": last, "due": due, "ready": ready, "centre": centre, "age": ready - centre,
        "lookahead": max(0, last + 1 - due), "rate": 16_000 // figure.hop_samples,
        "resolution": 2 * 16_000 / figure.window_samples,
    }  # fmt: skip


def test_every_state_reads_what_the_field_says(script: Any) -> None:
    states = 0
    for convention, window, hop in SETTINGS:
        figure = WindowExplorer(convention=convention, window_samples=window, hop_samples=hop, wave=[])
        last_frame = 160 * 16 // hop - 1  # on the stage are the frames of 160 ms
        for figure.frame in range(last_frame + 1):
            assert call(script, "readState", figure) == by_the_field(figure), figure
            states += 1
        assert call(script, "lastFrame", figure) == last_frame
    assert states == 2 * 6 * (32 + 16 + 8)


def test_an_address_that_asks_for_nonsense_gets_a_state_that_can_be_drawn(script: Any) -> None:
    wild = script.eval(
        'JSON.stringify(figure.settled({frame:99,convention:"x",window_samples:600,hop_samples:1,wave:[]}))'
    )
    expected = {"frame": 31, "convention": "causal", "window_samples": 640, "hop_samples": 80, "wave": []}
    assert json.loads(wild) == expected


@pytest.mark.parametrize("convention", ["causal", "centered"])
def test_it_shows_the_front_end_of_the_library(convention: Any) -> None:
    figure, front_end = WindowExplorer(convention=convention, frame=5), LogMel(convention, window="ones")
    assert figure.field == front_end.field
    torch.manual_seed(0)
    x = torch.rand(1, 3200, dtype=torch.float64).add(0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(front_end(x)[0, :, 5].sum(), x)
    touched = gradient[0].nonzero().flatten()
    assert (touched[0].item(), touched[-1].item()) == (figure.read()["first"], figure.read()["last"])


def test_the_envelope_keeps_the_extremes_of_each_millisecond() -> None:
    samples = [0.0] * 16 + [0.25, -0.5] * 8
    assert envelope(samples) == [[0.0, 0.0], [-1.0, 0.5]]


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="readouts names"):
        WindowExplorer(readouts=("nothing",))
    with pytest.raises(TypeError, match="WindowExplorer has no"):
        WindowExplorer(size=3)
