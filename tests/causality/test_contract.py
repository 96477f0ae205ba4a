"""check_contract passes what keeps the contract, and names what breaks it: one planted fault for each check."""

import copy

import pytest
import torch
from torch import nn

from causalcnn import (
    CausalConv1d,
    CausalModule,
    ContractError,
    Convention,
    Field,
    Stream,
    check_contract,
    measure_field,
)
from causalcnn.causality import gradient_probe, impulse_probe, prefix_probe

X = torch.randn(2, 2, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Sound(CausalConv1d):
    def __init__(self, **options):
        super().__init__(2, 2, 3, dilation=2, dtype=torch.float64, **options)

    # The plain forward and the plain stream, so that they share the planted faults.
    forward = CausalModule.forward

    def stream(self, state=None):
        return Stream(self, state)


class LeaksOneFrame(Sound):
    def step(self, x, state):
        y, state = super().step(x, state)
        return y + nn.functional.pad(x[:, :, 1:], (0, 1)), state


class LeaksAndSaysSo(LeaksOneFrame):
    @property
    def field(self):
        return Field.conv(3, dilation=2) | Field.window([0, 1])


class ForgetsHistory(Sound):
    def step(self, x, state):
        return super().step(x, torch.zeros_like(state))


class WritesIntoState(Sound):
    def step(self, x, state):
        y, new = super().step(x, state)
        state.zero_()
        return y, new


class KeepsInside(Sound):
    calls = 0

    def step(self, x, state):
        y, state = super().step(x, state)
        self.calls += 1
        return y + 1e-6 * (self.calls > 2), state


class DeclaresTooMuch(Sound):
    @property
    def field(self):
        return Field.conv(5)


class DeclaresTooLittle(Sound):
    @property
    def field(self):
        return Field.conv(2, dilation=2)


class MixesRows(Sound):
    def step(self, x, state):
        y, state = super().step(x, state)
        return y + 0.1 * y.mean(0, keepdim=True), state


class CutsGradients(Sound):
    def step(self, x, state):
        return super().step(x, state.detach())


class WrongStream(Sound):
    def stream(self, state=None):
        twin = Sound()
        with torch.no_grad():
            twin.weight.copy_(self.weight * 1.01)
        return twin.stream(state)


class CountsInEval(Sound):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def __deepcopy__(self, memo):  # a module that shares its buffers with its copies
        twin = CountsInEval()
        twin.load_state_dict(self.state_dict())
        twin.seen = self.seen
        return twin

    def step(self, x, state):
        self.seen += 1
        return super().step(x, state)


class DeclaresStrictReadsItsBlock(CausalConv1d):
    convention = Convention.STRICT

    def __init__(self):
        super().__init__(2, 2, 3, stride=2, convention="block", dtype=torch.float64)


class StartsFromWhatItSees(Sound):
    def initial_state(self, x):
        return super().initial_state(x) + x.shape[2]


def test_a_sound_layer_passes_and_the_report_says_what_was_seen():
    layer = Sound()
    before = copy.deepcopy(layer.state_dict())
    report = check_contract(layer, X)
    assert "24 outputs, as sets" in str(report)
    assert report.largest_difference < 1e-12
    assert len(report.checks) == 9
    assert all(torch.equal(layer.state_dict()[k], v) for k, v in before.items())
    assert layer.training


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (LeaksOneFrame, "frame 1 on moves output 0 by .*, which must read earlier frames only: a leak"),
        (LeaksAndSaysSo, "looks 1 frames ahead, but the strict convention at stride 1 allows 0"),
        (ForgetsHistory, "the whole sequence and the pieces"),
        (WritesIntoState, "wrote into the state"),
        (KeepsInside, "replayed"),
        (DeclaresTooMuch, "unread"),
        (DeclaresTooLittle, "undeclared"),
        (MixesRows, "row 1 before and after a change of row 0"),
        (CutsGradients, "gradients"),
        (WrongStream, "the stream"),
        (DeclaresStrictReadsItsBlock, "looks 1 frames ahead, but the strict convention at stride 2 allows 0"),
        (StartsFromWhatItSees, r"initial_state\(\) depends on the frames"),
        (CountsInEval, "eval\\(\\) use changed 'seen'"),
    ],
)
def test_each_planted_fault_is_named(fault, words):
    with pytest.raises(ContractError, match=words):
        check_contract(fault(), X)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(1, 2, 24), "batch ≥ 2"),
        (torch.zeros(2, 24), "batch ≥ 2"),
        (torch.zeros(2, 2, 24, dtype=torch.long), "dtype"),
    ],
)
def test_an_example_that_cannot_show_it_is_refused(x, words):
    with pytest.raises(ValueError, match=words):
        check_contract(Sound(), x)


def test_chunks_must_add_up():
    with pytest.raises(ValueError, match="add up to 3"):
        check_contract(Sound(), X, chunkings=[[1, 2]])


class TestProbes:
    layer = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1, dtype=torch.float64))
    x = torch.randn(1, 1, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def test_all_three_see_a_centred_convolution(self):
        assert impulse_probe(self.layer, self.x, 4).nonzero().flatten().tolist() == [3, 4, 5]
        assert gradient_probe(self.layer, self.x, 4).nonzero().flatten().tolist() == [3, 4, 5]
        assert prefix_probe(self.layer, self.x, 5).nonzero().flatten().tolist() == [4]

    def test_none_of_them_accuses_a_causal_one(self):
        layer = CausalConv1d(1, 1, 3, dtype=torch.float64)
        assert impulse_probe(layer, self.x, 4).nonzero().min() == 4
        assert gradient_probe(layer, self.x, 4).nonzero().max() == 4
        assert prefix_probe(layer, self.x, 5).max() < 1e-15

    def test_what_a_gradient_misses(self):
        def rounded(x):
            return self.layer(x).round()

        assert gradient_probe(rounded, self.x, 4).sum() == 0
        assert impulse_probe(rounded, self.x, 4, size=100.0)[3] > 0

    @pytest.mark.parametrize("probe", [impulse_probe, gradient_probe])
    def test_frames_outside_are_refused(self, probe):
        with pytest.raises(ValueError, match="frames 0 to 8"):
            probe(self.layer, self.x, 9)

    def test_a_prefix_has_frames(self):
        with pytest.raises(ValueError, match="1 to 9"):
            prefix_probe(self.layer, self.x, 0)


def test_measured_fields_show_zero_weights_too():
    layer = CausalConv1d(1, 1, 3)
    nn.init.zeros_(layer.weight)
    assert measure_field(layer, torch.zeros(1, 1, 6))[(5,)] == {3, 4, 5}


# ------------------------------------------------------------------- layers that read the past alone, or look ahead
class Shifted(CausalModule):
    """The frame of some frames ago, and a field of the same or another delay."""

    def __init__(self, delay, declared):
        super().__init__()
        self.delay, self.declared = delay, declared

    @property
    def field(self):
        return Field.window([-self.declared])

    def initial_state(self, x):
        return x.new_zeros(*x.shape[:2], self.delay)

    def step(self, x, state):
        frames = torch.cat([state, x], 2)
        return frames[:, :, : x.shape[2]], frames[:, :, x.shape[2] :].clone()


@pytest.mark.parametrize("delay", [1, 2, 7])
def test_a_layer_that_reads_the_past_alone_keeps_the_contract(delay):
    report = check_contract(Shifted(delay, delay), torch.randn(2, 3, 14, dtype=torch.float64))
    assert report.field.lookahead == -delay


@pytest.mark.parametrize("delay", [1, 2, 7])
def test_one_frame_less_of_delay_than_declared_is_a_leak(delay):
    """The output of the present frame is settled before that frame is there; a network that reads it is found."""
    with pytest.raises(ContractError, match=r"a changed future from frame 1 on moves .*: a leak"):
        check_contract(Shifted(delay - 1, delay), torch.randn(2, 3, 14, dtype=torch.float64))


class Ahead(CausalModule):
    """Gives each frame when ``frames`` more have come, and so has fewer outputs than inputs."""

    def __init__(self, frames, declared):
        super().__init__()
        self.frames, self.declared = frames, declared

    @property
    def field(self):
        return Field.window([self.declared])

    def initial_state(self, x):
        return torch.full((len(x),), self.frames)

    def step(self, x, state):
        dropped = min(int(state[0]), x.shape[2])
        return x[:, :, dropped:], state - dropped


def test_a_look_ahead_is_accepted_where_it_is_asked_for_and_as_it_is_declared():
    x = torch.randn(2, 3, 12, dtype=torch.float64)
    report = check_contract(Ahead(2, 2), x, lookahead=2)
    assert "a row can be reset at a block boundary, the others go on" not in report.checks
    for wrong, asked, words in (
        (Ahead(2, 2), 0, "looks 2 frames ahead, but the strict convention at stride 1 allows 0"),
        (Ahead(2, 2), 1, "looks 2 frames ahead"),
        (Ahead(1, 2), 2, r"output \(0,\) reads \{1\}, its field says \{2\}"),
        (Ahead(3, 2), 3, "a changed future from frame 4 on moves output [01] by"),
    ):
        with pytest.raises(ContractError, match=words):
            check_contract(wrong, x, lookahead=asked)
