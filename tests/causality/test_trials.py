"""Lengths that are chosen by what a network does with its own: no window, padding or branch is taken for a law."""

from __future__ import annotations

import math
import operator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn import Field, audit, receptive_field
from causalcnn.causality import NoPeriodicField, Verdict
from causalcnn.causality.leak_case_layers import Apply
from causalcnn.causality.tracing.lengths import Landmarks
from tests.fuzz import examples


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Gated(nn.Module):
    """What a closed gate lets through for no weights that it has now, and for others at once."""

    def __init__(self, plain, hidden) -> None:
        super().__init__()
        self.plain, self.hidden, self.gate = plain, hidden, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x) + self.gate * self.hidden(x)


def distances(frames: int) -> Tensor:
    places = torch.arange(frames)
    return places[:, None] - places


def attend(x: Tensor, hidden: Tensor) -> Tensor:
    return x @ (x.mT @ x).masked_fill(hidden, -math.inf).softmax(-1).mT


class Stored(nn.Module):
    """A mask of which a part is used."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.register_buffer("hidden", (distances(256) > window) | (distances(256) < 0))

    def forward(self, x: Tensor) -> Tensor:
        return attend(x, self.hidden[: x.shape[2], : x.shape[2]])


WINDOWS = {
    "compared": lambda n: Apply(lambda x: attend(x, (distances(x.shape[2]) > n) | (distances(x.shape[2]) < 0))),
    "two triangles": lambda n: Apply(
        lambda x: attend(x, torch.ones(x.shape[2], x.shape[2]).tril().triu(-n).logical_not())
    ),
    "stored": Stored,
}


@pytest.mark.parametrize("frames", [60, 75])
@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_that_is_longer_than_the_first_inputs_is_not_all_the_past(name, frames):
    assert receptive_field(WINDOWS[name](frames), (1, 2, 40)) == Field.conv(frames + 1)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_windows_one_after_the_other_are_as_long_as_all_of_them(layers):
    stack = nn.Sequential(*(WINDOWS["compared"](100) for _ in range(layers)))
    assert receptive_field(stack, (1, 2, 40)) == Field.conv(100 * layers + 1)


@pytest.mark.slow
def test_a_window_ahead_has_an_end_too():
    ahead = Apply(lambda x: attend(x, distances(x.shape[2]) < -100))
    assert audit(ahead, (1, 2, 40)).lookahead == 100


def test_what_goes_on_is_still_all_the_past():
    assert receptive_field(Apply(lambda x: attend(x, distances(x.shape[2]) < 0)), (1, 2, 40)) == Field.all_past()


@pytest.mark.parametrize("block", [60, 100])
def test_what_begins_behind_the_first_inputs_is_found(block):
    def peek(x: Tensor) -> Tensor:
        frames = x.shape[2]
        after = (torch.arange(frames) // block + 1) * block
        return x.cumsum(2) + torch.where(after < frames, x[..., after.clamp(max=frames - 1)], 0)

    assert audit(Apply(peek), (1, 2, 40)).verdict is Verdict.LOOKS_AHEAD


@pytest.mark.parametrize("multiple", [7, 12, 16, 64])
@pytest.mark.parametrize("frames", [32, 48])
def test_padding_to_a_multiple_is_seen(multiple, frames):
    def padded(x: Tensor) -> Tensor:
        more = -x.shape[2] % multiple
        y = F.pad(x, (min(more, x.shape[2] - 1), 0), mode="reflect")
        return y.cumsum(2)[..., y.shape[2] - x.shape[2] :]

    report = audit(Gated(lambda x: x, padded), (1, 2, frames))
    assert (report.verdict, report.receptive_field) == (Verdict.LOOKS_AHEAD, None)
    with pytest.raises(NoPeriodicField):
        receptive_field(Gated(lambda x: x, padded), (1, 2, frames), max_frames=128)


BRANCHES = {
    "short": lambda frames: frames < 45,
    "long": lambda frames: frames > 70,
    "one length": lambda frames: frames == 77,
    "a multiple": lambda frames: frames % 11 == 0,
    "a bit": lambda frames: frames & 8,
}


@pytest.mark.parametrize("plain", [lambda x: x, lambda x: x[:, :, torch.arange(x.shape[2]).float().sqrt().long()]])
@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_by_the_length_is_taken_both_ways(name, plain):
    def leak(x: Tensor) -> Tensor:
        return x.flip(2) if BRANCHES[name](x.shape[2]) else x

    assert audit(Gated(plain, leak), (1, 2, 48)).verdict is Verdict.LOOKS_AHEAD


WHOLE = [operator.add, operator.sub, operator.mul, operator.mod, operator.floordiv, operator.truediv]
TRUTH = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(4, 400), st.integers(-300, 300), st.sampled_from(WHOLE + TRUTH), st.booleans())
def test_a_length_that_notes_is_the_number_that_it_was(frames, other, operation, turned):
    length = Landmarks(400).size(frames)
    pair = (other, length) if turned else (length, other)
    plain = (other, frames) if turned else (frames, other)
    if plain[1] == 0 and operation in WHOLE[3:]:
        return
    assert operation(*pair) == operation(*plain)
    assert (hash(length), divmod(length, 7), -length, length >> 1) == (
        hash(frames),
        divmod(frames, 7),
        -frames,
        frames >> 1,
    )


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(32, 64), st.integers(40, 400), st.integers(-5, 5), st.sampled_from([1, 2, 3]))
def test_a_limit_is_noted_in_frames_of_the_input_whatever_was_done_to_the_length(frames, limit, shift, step):
    notes = Landmarks(frames)
    _ = notes.size(frames) * step + shift < limit * step + shift
    assert limit in notes.limits
    notes = Landmarks(frames)
    _ = limit - notes.size(frames) > 0
    assert notes.limits == {limit}


VIEWS = {
    "identity": nn.Identity,
    "nothing": nn.Sequential,
    "turned and turned back": lambda: Apply(lambda x: x.mT.mT),
    "a part of the channels": lambda: Apply(lambda x: x[:, :1]),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_network_of_views_writes_nothing_and_is_still_known(name):
    report = audit(VIEWS[name](), torch.randn(1, 2, 8))
    assert report.verdict is Verdict.CAUSAL, report
    assert report.passed, report
    field = receptive_field(VIEWS[name](), torch.randn(1, 2, 8))
    assert (field.past, field.lookahead) == (0, 0)
