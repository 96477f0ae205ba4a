"""What layers do while they are traced is what they always do, and the number of frames stays free."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from causalcnn import CausalModule
from causalcnn.nn import (
    CausalAvgPool1d,
    CausalConv1d,
    CausalConv2d,
    CausalConvTranspose1d,
    CausalMaxPool1d,
    CausalSequential,
)
from causalcnn.nn.exporting import short_pieces
from causalcnn.speech import LogMel, front_end
from tests.engine.networks import random_network
from tests.fuzz import examples


def in_pieces(module: CausalModule, pieces: tuple[Tensor, ...]) -> list[Any]:
    state, seen = module.initial_state(pieces[0]), []
    for piece in pieces:
        y, state = module.step(piece, state)
        seen += [y, *torch.utils._pytree.tree_leaves(state)]
    return seen


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    quantized=st.booleans(),
)
def test_the_form_that_is_traced_computes_the_same(seed: int, sizes: list[int], quantized: bool) -> None:
    """Without a tracer, in which numbers can be looked at: outputs and states of every piece, also of short ones."""
    network, empty = random_network(seed, quantized=quantized)
    x = torch.randn(2, empty.shape[1], sum(sizes), *empty.shape[3:], dtype=torch.float64)
    network, pieces = network.double(), x.split(sizes, dim=2)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        plain = in_pieces(network, pieces)
        patch.setattr(torch.compiler, "is_exporting", lambda: True)
        with short_pieces(1):
            traced = in_pieces(network, pieces)
    for ours, theirs in zip(traced, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_so_does_the_front_end() -> None:
    pieces = (0.1 * torch.randn(2, 1, 2000)).split([1, 158, 1, 500, 160, 1180], dim=2)
    with pytest.MonkeyPatch.context() as patch:
        plain = in_pieces(LogMel(), pieces)
        patch.setattr(torch.compiler, "is_exporting", lambda: True)
        with short_pieces(1):
            traced = in_pieces(LogMel(), pieces)
    for ours, theirs in zip(traced, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)  # dB


MODULES = {
    "strided": (CausalConv1d(4, 3, 3, stride=2), (1, 4, 11)),
    "block": (CausalConv1d(4, 3, 2, stride=5, convention="block"), (1, 4, 21)),
    "max pool": (CausalMaxPool1d(3, 2), (1, 4, 11)),
    "mean pool": (CausalAvgPool1d(2, 5, convention="block"), (1, 4, 21)),
    "transpose": (CausalConvTranspose1d(4, 3, 5, stride=2), (1, 4, 11)),
    "over frequency": (CausalConv2d(4, 3, 3, stride=2), (1, 4, 11, 8)),
    "deep": (
        CausalSequential(
            CausalConv1d(4, 4, 3, stride=2), nn.ReLU(), CausalMaxPool1d(3, 2), CausalConvTranspose1d(4, 3, 4, stride=4)
        ),
        (1, 4, 23),
    ),
    "front end": (LogMel(), (1, 1, 1000)),
    "centered front end": (LogMel("centered"), (1, 1, 1000)),
}


@pytest.mark.parametrize("name", MODULES)
def test_torch_export_leaves_the_number_of_frames_free(name: str) -> None:
    """With torch's own settings: any length that gives two frames, as for the layers of torch; not one parity only."""
    module, shape = MODULES[name]
    front_end._constants.cache_clear()  # what the tracer sees must not depend on what ran before
    program = torch.export.export(module.eval(), (torch.randn(shape),), dynamic_shapes=({2: torch.export.Dim.DYNAMIC},))
    shortest = 2 * int(module.field.advance[0])
    for frames in (*range(shortest, shortest + 9), 5 * shortest + 1):
        x = torch.randn(shape[0], shape[1], frames, *shape[3:])
        torch.testing.assert_close(program.module()(x), module(x), rtol=1e-4, atol=1e-3)
    assert module(torch.randn(shape)).device.type == "cpu"  # nothing of the tracer's has stayed behind
