"""The leak figure tells the truth: its JavaScript, its static picture and torch agree on what an impulse moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

pytest.importorskip("anywidget")

from causalcnn_book.leaks.leak_explorer import CASES, FRAMES, LAYERS, LeakExplorer

KEYS = ("at", "hunt", "case", "probe", "reveal", *(key for key, _, _ in LAYERS))
FAULTS = list(itertools.product((False, True), repeat=len(LAYERS)))


def state(figure: LeakExplorer) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in KEYS}


def planted(faults: tuple[bool, ...], **more: Any) -> LeakExplorer:
    return LeakExplorer(**{key: fault for (key, _, _), fault in zip(LAYERS, faults, strict=True)}, **more)


def layers(faults: tuple[bool, ...]) -> list[Callable[[Tensor], Tensor]]:
    """The six layers in torch, with positive weights so that nothing cancels."""
    generator = torch.Generator().manual_seed(0)

    def conv(size: int, left: int, right: int = 0, dilation: int = 1, mode: str = "constant") -> Any:
        weight = torch.rand(1, 1, size, dtype=torch.float64, generator=generator) + 0.5
        return lambda x: F.conv1d(F.pad(x, (left, right), mode=mode), weight, dilation=dilation)

    def attend(x: Tensor) -> Tensor:
        seen = torch.ones(FRAMES, FRAMES, dtype=torch.float64).tril(1 if faults[5] else 0)
        return (seen / seen.sum(1, keepdim=True) @ x.transpose(1, 2)).transpose(1, 2)

    return [
        conv(5, 2, 2) if faults[0] else conv(5, 4),
        conv(3, 1, 1) if faults[1] else conv(3, 2),
        conv(3, 2, 4, dilation=3) if faults[2] else conv(3, 6, dilation=3),
        conv(5, 4, mode="reflect" if faults[3] else "constant"),
        (lambda x: x + x.mean(2, keepdim=True)) if faults[4] else (lambda x: x * 2),
        attend,
    ]


@pytest.mark.parametrize("faults", FAULTS)
def test_torch_moves_the_same_frames(faults: tuple[bool, ...]) -> None:
    figure, x = planted(faults), torch.eye(FRAMES, dtype=torch.float64)[:, None]
    found = [x[:, 0] != 0]
    for layer in layers(faults):
        x = layer(x)
        found.append(x[:, 0] != 0)
    for at in range(FRAMES):
        figure.at = at
        assert figure.moved() == [row[at].nonzero().flatten().tolist() for row in found]


def test_javascript_moves_the_same_frames(engine: Any) -> None:
    script = engine("leak_explorer")
    for faults in FAULTS:
        figure = planted(faults)
        states = []
        for figure.at in range(FRAMES):
            states.append((state(figure), figure.moved()))
        assert script("states.map(moved)", states=[s for s, _ in states]) == [rows for _, rows in states]


def test_the_static_picture_and_the_words_are_the_live_ones(engine: Any) -> None:
    script = engine("leak_explorer")
    hunts = [
        LeakExplorer(hunt=True, case=case, probe=probe, reveal=reveal, at=at)
        for case, probe, reveal, at in itertools.product(range(1, len(CASES) + 1), (1, 4, 6), (False, True), (2, 20))
    ]
    for figure in [planted(faults, at=at) for faults in FAULTS for at in (2, 14)] + hunts:
        for width in (700, 330):
            assert script("drawPicture(s, width, 'x')", s=state(figure), width=width) == figure.picture(width, "x")[0]
        assert script("sentence(s)", s=state(figure)) == figure.sentence()
        live = [(s["key"], s["label"], s["text"], s["note"]) for s in script("readouts(s)", s=state(figure))]
        assert live == figure.readout_rows()


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    assert engine("leak_explorer")("settled({at: 99, case: 0, probe: 'x'})") == {"at": 23, "case": 1, "probe": 1}


def test_a_clean_network_never_moves_the_past_and_every_fault_does_somewhere() -> None:
    for i in range(-1, len(LAYERS)):
        figure = planted(tuple(j == i for j in range(len(LAYERS))))
        leaks = False
        for figure.at in range(FRAMES):
            leaks |= any(t < figure.at for t in figure.moved()[-1])
        assert leaks == (i >= 0)
