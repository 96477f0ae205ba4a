"""A fused plan has fewer operations, gives the same numbers, and keeps the same state."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn import CausalConv1d, Composite, Field
from causalcnn.engine import Builder, ReferenceRunner, Register, lower, lowering
from causalcnn.engine.fusion import fuse
from causalcnn.models import WaveNet, WaveNetConfig
from causalcnn.nn import CausalConvTranspose1d, CausalSequential, Residual
from tests.engine.networks import random_network
from tests.fuzz import examples


def plain(module, *inputs, monkeypatch):
    """The plan of a module before it is fused."""
    with monkeypatch.context() as patch:
        patch.setattr(lowering, "fuse", lambda plan: plan)
        return lower(module, *inputs)


def run(plan, x):
    """What a plan gives for ``(rows, channels, time[, frequency])``, in plain numpy."""
    runner = ReferenceRunner(plan, x.shape[0])
    frames = x.movedim(2, 0).movedim(2, -1)
    frames = frames[:, :, None] if x.dim() == 3 else frames
    given = [y for frame in frames.numpy() for y in runner.feed(frame)[0]]
    return np.stack(given) if given else np.zeros(0)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=examples(60))
def test_a_fused_plan_gives_the_same(seed):
    network, empty = random_network(seed, quantized=seed % 3 == 0)
    network, empty = network.double(), empty.double()
    with pytest.MonkeyPatch.context() as patch:
        before = plain(network, empty, monkeypatch=patch)
    after = fuse(before)
    x = torch.randn(*empty.shape[:2], 9, *empty.shape[3:], dtype=torch.float64)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-10, atol=1e-10)
    assert len(after.ops) <= len(before.ops)
    held = [[(path, plan.ops[number].settings["held"]) for path, number in plan.rings()] for plan in (before, after)]
    assert held[0] == held[1]


def test_a_block_of_wavenet_is_two_products():
    model = WaveNet(WaveNetConfig(layers=5, bias=True)).eval()
    kinds = Counter(op.kind for op in lower(model, torch.zeros(1, 256, 0)).ops)
    # The last block's skip, the head's two, the input; and the delay, and the scale of the output.
    assert kinds == {"linear": 2 * 5 + 3, "pool": 1, "pointwise": 1}


def test_layers_of_the_library_fuse(monkeypatch):
    x = torch.zeros(1, 4, 0)
    network = CausalSequential(Residual(torch.nn.ReLU(), CausalConv1d(4, 4, 3)), torch.nn.Tanh(), CausalConv1d(4, 2, 1))
    (first, second) = lower(network, x).ops
    assert first.settings["enter"] == {"kind": "pointwise", "function": "relu", "a": 0.0, "b": 0.0}
    assert first.settings["products"][0]["plus"] == 1
    assert second.settings["enter"]["function"] == "tanh"


def written(wiring, channels=4):
    """The fused plan of what a function of a builder and a symbol gives."""
    builder = Builder(1, torch.float64)
    y = wiring(builder, builder.input(Register(channels)))
    return builder.plan(y if isinstance(y, tuple) else (y,), {})


def matrix(builder, x, out=4, seed=0):
    return builder.matrix(x, np.random.default_rng(seed).normal(size=(x.operand.channels, out)))


CASES = {
    "a gate, either way round": (
        lambda b, x: matrix(b, torch.sigmoid(x[:, :2]) * torch.tanh(x[:, 2:])), ["linear"],
    ),
    "two tanhs are no gate": (
        lambda b, x: torch.tanh(x[:, :2]) * torch.tanh(x[:, 2:]), ["pointwise", "pointwise", "multiply"],
    ),
    "what two read is not taken into one": (
        lambda b, x: (lambda y: matrix(b, y) + y)(torch.relu(x)), ["pointwise", "linear"],
    ),
    "what the plan gives stays": (
        lambda b, x: (lambda y: (matrix(b, y), y))(torch.relu(x)), ["pointwise", "linear"],
    ),
    "of two products one takes the other": (
        lambda b, x: matrix(b, x, seed=1) + matrix(b, torch.relu(x)), ["linear", "linear"],
    ),
    "a part of a product is not all of it": (
        lambda b, x: matrix(b, x, 8)[:, 2:6] + x, ["linear", "add"],
    ),
    "to a part of a register": (
        lambda b, x: matrix(b, torch.relu(x[:, 1:3]) , 2) + x[:, 2:], ["linear"],
    ),
    "products of one frame are one, with what is added to them": (
        lambda b, x: (lambda y: torch.cat([x + matrix(b, y), matrix(b, y, 3), y.exp() + matrix(b, y)], 1))(
            torch.tanh(x)
        ),
        ["pointwise", "pointwise", "linear", "linear", "concat"],
    ),
    "what comes later is waited for": (
        lambda b, x: (lambda y: y + torch.exp(x))(matrix(b, x)), ["pointwise", "linear"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_fuses_and_what_does_not(name):
    wiring, kinds = CASES[name]
    before = written(wiring)
    after = fuse(before)
    assert sorted(op.kind for op in after.ops) == sorted(kinds)
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    runners = [ReferenceRunner(plan, 2) for plan in (before, after)]
    for frame in x.movedim(2, 0).numpy():
        for one, other in zip(*(runner.feed(frame[:, None]) for runner in runners), strict=True):
            np.testing.assert_allclose(np.stack(other), np.stack(one), rtol=1e-12, atol=1e-12)


class Upsampled(Composite):
    """Adds to the output of a transposed convolution with groups."""

    field = Field.identity()

    def __init__(self):
        super().__init__()
        self.up, self.other = (
            CausalConvTranspose1d(4, 6, 5, stride=3, groups=2),
            CausalConvTranspose1d(4, 6, 3, stride=3),
        )

    def compose(self, x, run):
        return run(self.up, x) + run(self.other, x)


@pytest.mark.parametrize("rows", [1, 5])
def test_frames_of_a_transposed_convolution_are_added_each_to_its_own(rows):
    pytest.importorskip("numba")
    model, x = Upsampled(), torch.randn(rows, 4, 7)
    assert [op.kind for op in lower(model, x).ops] == ["linear", "linear"]
    with torch.no_grad():
        expected = model.up(x) + model.other(x)
    torch.testing.assert_close(model.stream(engine="compiled")(x), expected, rtol=1e-5, atol=1e-5)


def test_a_register_that_is_fed_back_stays():
    builder = Builder(1, torch.float64)
    x = builder.input(Register(4))
    last, feed_back = builder.feedback(x, Register(4), 0.5)
    state = matrix(builder, last) + x
    feed_back(state)
    both = torch.cat([matrix(builder, state, seed=1), matrix(builder, state, seed=2)], 1)
    plan = builder.plan([both], {})
    fused = fuse(plan)
    assert sorted(op.kind for op in fused.ops) == ["concat", "feedback", "linear", "linear"]
    frames = np.random.default_rng(0).normal(size=(5, 1, 1, 4))
    one, other = ([runner.feed(x)[0][0] for x in frames] for runner in (ReferenceRunner(p, 1) for p in (plan, fused)))
    np.testing.assert_allclose(other, one, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gates_are_exact_to_rounding_at_any_size(dtype):
    pytest.importorskip("numba")
    numbers = torch.tensor(
        [0.0, 1e-30, 0.3, 1.0, 19.0, 21.0, 90.0, 800.0, 1e30, float("inf"), float("nan")], dtype=dtype
    )
    both = torch.cartesian_prod(torch.cat([numbers, -numbers]), torch.cat([numbers, -numbers])).T[None]

    class Gate(Composite):
        field = Field.identity()

        def compose(self, x, run):
            return torch.tanh(x[:, :1]) * torch.sigmoid(x[:, 1:])

    y = Gate().stream(engine="compiled")(both.contiguous())
    expected = torch.tanh(both[:, :1].double()) * torch.sigmoid(both[:, 1:].double())
    torch.testing.assert_close(
        y.double(), expected, rtol=0, atol=3e-7 if dtype == torch.float32 else 1e-15, equal_nan=True
    )
