"""What an audit takes and judges: any inputs, every output, and what goes wrong in a network or in a rule."""

from __future__ import annotations

import random
import threading
import time
from collections import namedtuple
from dataclasses import dataclass
from types import MethodType, SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn import CausalConv1d, Field, audit, receptive_field
from causalcnn.causality import CannotTrace, Verdict, trace
from causalcnn.causality.leak_case_layers import Apply
from causalcnn.causality.tracing.dispatch import RuleFault
from causalcnn.causality.tracing.rules import RULES
from tests.fuzz import examples

CAUSAL, LOOKS_AHEAD, UNKNOWN = Verdict.CAUSAL, Verdict.LOOKS_AHEAD, Verdict.UNKNOWN


class Call(nn.Module):
    """A network that is a function of its inputs, with a gate that is closed, and parts of any kind."""

    def __init__(self, function, **parts) -> None:
        super().__init__()
        self.function, self.gate = function, nn.Parameter(torch.zeros(1))
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args, **kwargs):
        return self.function(self, *args, **kwargs)


# ------------------------------------------------------------------------------------------------------- outputs
Pair = namedtuple("Pair", ["first", "second"])


@dataclass
class Result:
    first: Tensor
    second: Tensor


CONTAINERS = {
    "tuple": lambda a, b: (a, b),
    "list": lambda a, b: [a, [b]],
    "dict": lambda a, b: {"a": a, "b": {"c": b}},
    "named tuple": Pair,
    "dataclass": Result,
    "object": lambda a, b: SimpleNamespace(a=a, b=b, loss=a.mean()),
}
SIGNALS = {
    "past": (0, lambda s, x: x.cumsum(2)),
    "one ahead": (1, lambda s, x: F.pad(x, (0, 1))[..., 1:]),
    "everything": (torch.inf, lambda s, x: x + s.gate * x.flip(2)),
    "one ahead, (batch, time)": (1, lambda s, x: F.pad(x, (0, 1))[:, 0, 1:]),
    "past, (batch, time, channels)": (0, lambda s, x: x.mT.cumsum(1)),
    "past, whole numbers": (0, lambda s, x: (x.cumsum(2) > 0).long()),
    "past, half the rate": (0, lambda s, x: x[..., ::2]),
    "past, complex": (0, lambda s, x: torch.complex(x, x.cumsum(2))),
}


@settings(max_examples=examples(5))
@given(
    st.sampled_from(sorted(CONTAINERS)),
    st.lists(st.sampled_from(sorted(SIGNALS)), min_size=2, max_size=2),
)
def test_every_output_is_judged_and_named(container, names):
    (far, one), (further, other) = (SIGNALS[name] for name in names)
    net = Call(lambda s, x: CONTAINERS[container](one(s, x), other(s, x)))
    report = audit(net, (1, 2, 40))
    assert list(report.outputs.values()) == [far, further], str(report)
    assert report.verdict is (LOOKS_AHEAD if far or further else CAUSAL)
    assert all(name in str(report) for name in report.outputs)


def test_what_carries_no_time_is_said_and_not_judged():
    report = audit(Call(lambda s, x: (x.cumsum(2), x.mean(2))), (1, 2, 40))
    assert report.passed
    assert list(report.outputs) == ["output[0]"]
    assert "output[1], (1, 2): it carries no time" in str(report)
    rnn = Call(lambda s, x: s.rnn(x), rnn=nn.GRU(3, 4, batch_first=True))
    assert audit(rnn, (1, 40, 3), time_axis=1).passed


def test_the_axis_of_time_may_be_another_in_the_output():
    net = Call(lambda s, x: s.conv(x).mT, conv=CausalConv1d(3, 5, 3))
    report = audit(net, (1, 3, 40))
    assert (report.passed, report.receptive_field) == (True, Field.conv(3))
    assert receptive_field(net, (1, 3, 40)) == Field.conv(3)
    square = Call(lambda s, x: x.unsqueeze(2).expand(-1, -1, x.shape[2], -1) * 2)  # only its last axis is time
    assert audit(square, (1, 2, 40)).verdict is LOOKS_AHEAD
    assert audit(square, (1, 2, 40), output_time_axis=3).passed
    both = Call(lambda s, x: {"a": x, "b": x.flip(2)})
    assert audit(both, (1, 2, 40), output_time_axis={"output['b']": None}).passed


# -------------------------------------------------------------------------------------------------------- inputs
def tokens(rows: int = 1, vocabulary: int = 20) -> Tensor:
    return torch.randint(vocabulary, (rows, 40), generator=torch.Generator().manual_seed(0))


def test_a_waveform_without_channels_needs_no_wrapper():
    causal = Call(lambda s, x: F.pad(x, (2, 0)).unfold(1, 3, 1).sum(2))
    report = audit(causal, (1, 40))
    assert (report.passed, report.receptive_field) == (True, Field.conv(3))
    assert audit(Call(lambda s, x: x + s.gate * x.flip(1)), (2, 40)).verdict is LOOKS_AHEAD
    assert receptive_field(causal, (1, 40)) == Field.conv(3)


@pytest.mark.parametrize("example", [tokens(), tokens(3), torch.zeros(1, 40, dtype=torch.long)])
def test_tokens_stay_tokens(example):
    def net(ahead: int) -> nn.Module:
        def run(s, x):
            assert x.dtype == torch.long
            y = s.embed(x)
            return F.pad(y, (0, 0, 2 - ahead, ahead)).unfold(1, 3, 1).sum(3)

        return Call(run, embed=nn.Embedding(20, 4))

    assert audit(net(0), example).passed
    report = audit(net(2), example)
    assert (report.verdict, report.lookahead, report.observed) == (LOOKS_AHEAD, 2, 2)


@pytest.mark.parametrize("as_dict", [False, True])
def test_several_inputs_are_judged_together(as_dict):
    x, c = torch.randn(2, 3, 40), torch.randn(2, 5, 40)
    style, count = torch.randn(2, 3, 1), 2
    example = {"x": x, "c": c, "style": style, "count": count} if as_dict else (x, c, style, count)

    def run(second):
        return Call(lambda s, x, c, style, count: s.conv(x) * style * count + second(s, c), conv=CausalConv1d(3, 1, 3))

    past = run(lambda s, c: c.cumsum(2).mean(1, keepdim=True))
    ahead = run(lambda s, c: s.gate * c.flip(2).mean(1, keepdim=True))
    assert audit(past, example).passed
    assert audit(ahead, example).verdict is LOOKS_AHEAD
    axes = {"x": 2, "c": -1} if as_dict else (2, -1, None, None)
    assert audit(ahead, example, time_axis=axes).verdict is LOOKS_AHEAD


def test_inputs_may_have_their_time_on_different_axes():
    net = Call(lambda s, x, words: x + s.embed(words).mT.cumsum(2), embed=nn.Embedding(20, 3))
    assert audit(net, (torch.randn(1, 3, 40), tokens())).passed
    leak = Call(lambda s, x, words: x + s.gate * s.embed(words).mT.flip(2), embed=nn.Embedding(20, 3))
    assert audit(leak, (torch.randn(1, 3, 40), tokens())).verdict is LOOKS_AHEAD


@pytest.mark.parametrize("axes", [(2,), (2, 1, 2), {"x": 2}, (None, None), (2, 5)])
def test_axes_that_fit_no_input_are_refused(axes):
    with pytest.raises(ValueError, match=r"axis|axes"):
        audit(Call(lambda s, x, y: x + y), (torch.randn(1, 3, 40), torch.randn(1, 3, 40)), time_axis=axes)


def test_the_submodules_keep_their_names():
    net = Call(lambda s, x, c: {"y": s.parts(x), "c": c}, parts=nn.Sequential(nn.Tanh(), nn.Conv1d(1, 1, 3, padding=1)))
    report = audit(net, (torch.randn(1, 1, 40), torch.randn(1, 1, 40)))
    assert (report.culprit, report.outputs) == ("parts.1", {"output['y']": 1, "output['c']": 0})


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_recurrent_layer_in_both_directions_is_named_whatever_its_axes(batch_first):
    rnn = nn.LSTM(2, 3, batch_first=batch_first, bidirectional=True)
    there, back = ((0, 2, 1), (0, 2, 1)) if batch_first else ((2, 0, 1), (1, 2, 0))
    report = audit(Call(lambda s, x: s.rnn(x.permute(there))[0].permute(back), rnn=rnn), (1, 2, 40))
    assert (report.culprit, "both directions" in report.kind) == ("rnn", True)


def test_a_mirror_is_blamed_only_where_it_is_the_cause():
    class Padded(nn.Module):
        def __init__(self, left: int, right: int) -> None:
            super().__init__()
            self.pad, self.conv = (left, right), nn.Conv1d(1, 1, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(F.pad(x, self.pad, mode="reflect"))

    assert "mirrors the future" in audit(Padded(4, 0), (1, 1, 40)).kind
    assert "lies ahead" in audit(Padded(2, 2), (1, 1, 40)).kind


# ------------------------------------------------------------------------------------------------ what goes wrong
@pytest.mark.parametrize("error", [ValueError, KeyError, RecursionError, NotImplementedError, OSError, SystemExit])
def test_no_error_of_a_network_leaves_an_audit(error):
    def at_length(s, x):
        if x.shape[2] != 40:
            raise error("only 40\nand more")
        return x

    def always(s, x):
        raise error("no")

    def second(s, x):
        s.calls = getattr(s, "calls", 0) + 1
        if s.calls > 1:
            raise error("again")
        return x

    report = audit(Call(always), (1, 2, 40))
    assert (report.verdict, f"{error.__name__}: " in report.problem) == (UNKNOWN, True)
    assert "\n" not in report.problem
    assert error.__name__ in report.evidence[-1].result
    assert audit(Call(at_length), (1, 2, 40)).verdict is not LOOKS_AHEAD
    assert audit(Call(second), (1, 2, 40)).keeps_state or error is SystemExit


def test_a_network_that_cannot_be_copied_is_unknown():
    net = Call(lambda s, x: x, lock=threading.Lock())
    assert "TypeError: cannot pickle" in audit(net, (1, 2, 40)).problem


def test_a_rule_that_fails_is_unknown_and_a_fault_in_tests(monkeypatch):
    def broken(call) -> None:
        raise KeyError("dims")

    monkeypatch.setitem(RULES, "flip", broken)
    with pytest.raises(RuleFault, match="flip"):
        audit(Apply(lambda x: x.flip(2).flip(2)), (1, 2, 40))
    monkeypatch.delenv("CAUSALCNN_RULES_RAISE")
    report = audit(Apply(lambda x: x.flip(2).flip(2)), (1, 2, 40))
    assert report.verdict is UNKNOWN
    assert "its rule fails (KeyError: 'dims')" in report.problem


def test_a_refusal_that_the_network_catches_is_a_refusal():
    def run(s, x):
        try:
            return x.flip(2) if float(x.sum()) < 1e9 else x
        except RuntimeError:
            return x

    with pytest.raises(CannotTrace, match="_local_scalar_dense"):
        trace(Call(run), torch.zeros(1, 2, 8))
    assert audit(Call(run), (1, 2, 40)).verdict is LOOKS_AHEAD  # these weights show it


def higher_order(s, x):
    return torch.cond(x.sum() > 0, lambda a: a + 1, lambda a: a - 1, (x,))


@pytest.mark.slow  # it loads the compiler
@pytest.mark.filterwarnings("ignore")
def test_an_operator_of_higher_order_is_unknown():
    assert audit(Call(higher_order), (1, 2, 40)).verdict is UNKNOWN


def test_what_does_not_run_in_float64_is_judged_in_its_own_dtype():
    class Picky(nn.Module):
        def __init__(self, ahead: int) -> None:
            super().__init__()
            self.conv, self.ahead = nn.Conv1d(2, 2, 3), ahead

        def forward(self, x: Tensor) -> Tensor:
            if x.dtype != torch.float32:
                raise NotImplementedError("float32 only")
            return self.conv(F.pad(x, (2 - self.ahead, self.ahead)))

    report = audit(Picky(0), (1, 2, 40))
    assert report.passed
    assert "NotImplementedError: float32 only" in report.evidence[0].result
    assert audit(Picky(1), (1, 2, 40)).lookahead == 1


class Listed(nn.Module):
    """Numbers leave torch inside TorchScript, and come back behind a closed gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        numbers: list[list[list[float]]] = x.flip(2).float().tolist()
        return x + self.gate * torch.tensor(numbers)


@torch.jit.script
def listed(x: Tensor) -> Tensor:
    numbers: list[list[list[float]]] = x.flip(2).float().tolist()
    return torch.tensor(numbers)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_unknown_for_it_can_read_what_no_operation_shows():
    for net in (nn.Sequential(torch.jit.script(Listed())), Call(lambda s, x: x + s.gate * listed(x))):
        assert audit(net, (1, 2, 40)).verdict is UNKNOWN


def test_complex_parameters_stay_complex():
    net = Call(lambda s, x: (x * s.w).imag.cumsum(2), w=nn.Parameter(torch.complex(torch.ones(2, 1), torch.ones(2, 1))))
    assert audit(net, (1, 2, 40)).passed
    gate = Call(lambda s, x: x + (s.w.imag != 0) * x.flip(2), w=nn.Parameter(torch.full((2, 1), 1j)))
    assert audit(gate, (1, 2, 40)).observed > 0


def test_a_probe_out_of_the_networks_range_is_no_finding():
    embed = nn.Embedding(5, 4)
    net = Call(lambda s, x: s.embed(x[:, 0].abs().round().long()).mT, embed=embed)
    example = (torch.arange(40) % 5).reshape(1, 1, 40).double()
    report = audit(net, example)
    assert report.passed
    assert "IndexError" in str(report)
    ahead = Call(lambda s, x: s.embed(x[:, 0].abs().round().long()).mT.roll(-1, 2), embed=embed)
    assert audit(ahead, example).observed > 0


def test_an_overflow_of_our_own_is_said_and_is_no_leak():
    def run(s, x):
        weights = torch.exp(9 * x.mean(1, keepdim=True)) * torch.ones(x.shape[2], x.shape[2]).tril()
        return (weights * x[:, :1]).sum(2, keepdim=True).mT / weights.sum(2).unsqueeze(1)

    report = audit(Call(run), (1, 2, 40))
    assert report.passed, str(report)
    assert "overflow" in str(report)


# --------------------------------------------------------------------------------------------- nondeterminism, threads
class Counter(nn.Module):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Counter.calls += 1
        return x * Counter.calls


@pytest.mark.parametrize(
    "net",
    [
        Call(lambda s, x: x * random.random()),
        Call(lambda s, x: x * np.random.rand()),
        Call(lambda s, x: x.flip(2) if random.random() < 0.001 else x),
        Counter(),
        Call(lambda s, x: x * time.perf_counter_ns()),
        Call(lambda s, x: x + np.random.default_rng().normal()),
    ],
)
def test_nondeterminism_is_called_that(net):
    state, torch_state = random.getstate(), torch.get_rng_state()
    report = audit(net, (1, 2, 40))
    assert report.verdict is UNKNOWN, str(report)
    assert "nondeterministic" in report.problem
    assert not report.keeps_state
    assert random.getstate() == state
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_a_leak_is_found_in_spite_of_nondeterminism():
    assert audit(Call(lambda s, x: x.flip(2) * random.random()), (1, 2, 40)).verdict is LOOKS_AHEAD


def in_a_new_thread(s, x):
    y = torch.zeros_like(x)
    worker = threading.Thread(target=lambda: y.copy_(x.flip(2)))
    worker.start()
    worker.join()
    return x + s.gate * y


def in_a_waiting_thread(s, x):
    s.inbox().put((s.buffer, x))
    s.inbox().join()
    return x + s.gate * s.buffer


def test_what_another_thread_computes_is_unknown():
    import queue

    work: queue.Queue = queue.Queue()

    def serve() -> None:
        while True:
            buffer, x = work.get()
            with torch.no_grad():
                buffer.set_(x.flip(2).contiguous()) if buffer.shape != x.shape else buffer.copy_(x.flip(2))
            work.task_done()

    threading.Thread(target=serve, daemon=True).start()
    report = audit(Call(in_a_new_thread), (1, 2, 40))
    assert (report.verdict, "Thread.start" in report.problem) == (UNKNOWN, True)
    waiting = Call(in_a_waiting_thread, inbox=lambda: work, buffer=torch.zeros(1, 2, 40))
    with pytest.raises(CannotTrace, match="unseen"):
        trace(waiting, torch.zeros(1, 2, 40))
    assert audit(waiting, (1, 2, 40)).verdict is not CAUSAL


# --------------------------------------------------------------------------------------------------------- time
def test_an_audit_ends_in_time():
    def slow(s, x):
        for _ in range(100_000):
            x = x + 1
        return x

    begin = time.monotonic()
    report = audit(Call(slow), (1, 2, 40), timeout_s=0.5)
    assert time.monotonic() - begin < 20
    assert (report.verdict, report.problem) == (UNKNOWN, "not finished within 0.5 s")
    assert audit(CausalConv1d(1, 1, 3), (1, 1, 40), timeout_s=600).passed


# --------------------------------------------------------------------------------------------- fields that are declared
class Reversed(CausalConv1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(2)).flip(2)


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(2)).flip(2)


def turned(conv: CausalConv1d, x: Tensor) -> Tensor:
    return CausalConv1d.forward(conv, x.flip(2)).flip(2)


class Mixed(Turned, CausalConv1d):
    pass


class Renamed(CausalConv1d):
    """It computes what its base does."""

    def extra_repr(self) -> str:
        return "mine"


def test_a_field_is_believed_only_where_what_declared_it_runs():
    plain = Field.conv(3)
    ahead = receptive_field(nn.Conv1d(1, 1, 3))
    for net in (Reversed(1, 1, 3), Mixed(1, 1, 3), nn.Sequential(Reversed(1, 1, 3))):
        assert receptive_field(net) == ahead
    hooked, replaced = CausalConv1d(1, 1, 3), CausalConv1d(1, 1, 3)
    hooked.register_forward_pre_hook(lambda part, inputs: inputs[0].flip(2))
    hooked.register_forward_hook(lambda part, inputs, output: output.flip(2))
    replaced.forward = MethodType(turned, replaced)  # type: ignore[method-assign]
    assert receptive_field(hooked) == receptive_field(replaced) == ahead
    assert receptive_field(Renamed(1, 1, 3)) == receptive_field(CausalConv1d(1, 1, 3)) == plain


def test_the_channels_of_an_example_are_those_of_the_first_convolution_inside():
    net = Call(lambda s, x: s.conv(F.pad(s.act(x), (2, 0))), act=nn.ReLU(), conv=nn.Conv1d(7, 2, 3))
    assert receptive_field(net) == Field.conv(3)
