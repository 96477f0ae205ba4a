"""The leak figure tells the truth: its JavaScript and torch agree on what an impulse moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

pytest.importorskip("anywidget")

from causalcnn_book.leaks.leak_explorer import CASES, FAULTS, FRAMES, LeakExplorer

KEYS = ("at", "hunt", "case", "probe", "reveal", *FAULTS)
PLANTED = list(itertools.product((False, True), repeat=len(FAULTS)))


def state(figure: LeakExplorer) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in KEYS}


def planted(faults: tuple[bool, ...], **more: Any) -> LeakExplorer:
    return LeakExplorer(**dict(zip(FAULTS, faults, strict=True)), **more)


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


def moved_by_torch(faults: tuple[bool, ...]) -> list[list[list[int]]]:
    """For an impulse at each frame: the frames that it moves in the input and in the output of each layer."""
    x = torch.eye(FRAMES, dtype=torch.float64)[:, None]
    found = [x[:, 0] != 0]
    for layer in layers(faults):
        x = layer(x)
        found.append(x[:, 0] != 0)
    return [[row[at].nonzero().flatten().tolist() for row in found] for at in range(FRAMES)]


@pytest.mark.parametrize("faults", PLANTED)
def test_the_same_frames_move_as_in_torch(engine: Any, faults: tuple[bool, ...]) -> None:
    figure, states = planted(faults), []
    for figure.at in range(FRAMES):
        states.append(state(figure))
    assert engine("leak_explorer")("states.map(moved)", states=states) == moved_by_torch(faults)


@pytest.mark.parametrize("case", range(1, CASES + 1))
def test_hidden_faults_move_what_planted_ones_do(case: int) -> None:
    figure = LeakExplorer(hunt=True, case=case)
    expected = moved_by_torch(tuple(figure.read()["faults"]))
    for figure.at in range(FRAMES):
        assert figure.read()["moved"] == expected[figure.at]


def test_the_switches_and_the_cases_are_those_of_the_module(engine: Any) -> None:
    assert engine("leak_explorer")("[LAYERS.map(([key]) => key), CASES.length, FRAMES]") == [[*FAULTS], CASES, FRAMES]


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    assert engine("leak_explorer")("figure.settled({at: 99, case: 0, probe: 'x'})") == {"at": 23, "case": 1, "probe": 1}


def test_a_clean_network_never_moves_the_past_and_every_fault_does_somewhere() -> None:
    for i in range(-1, len(FAULTS)):
        figure = planted(tuple(j == i for j in range(len(FAULTS))))
        leaks = False
        for figure.at in range(FRAMES):
            leaks |= any(t < figure.at for t in figure.read()["moved"][-1])
        assert leaks == (i >= 0)
