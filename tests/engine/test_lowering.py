"""What can be lowered is lowered by itself; what cannot be is named, with the reason."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from causalcnn import CausalConv1d, CausalModule, Composite, Field, Stateless, VectorQuantizer
from causalcnn.engine import Builder, CannotCompile, Plan, ReferenceRunner, Register, lower, lowers
from causalcnn.nn import CausalMaxPool1d, CausalSequential, Delay, FrameNorm, Pointwise, Residual
from tests.nn.test_composite import Loudness, MixesBands, Nested

X = torch.zeros(1, 2, 0)


def test_a_model_of_the_users_own_needs_no_lowering():
    pytest.importorskip("numba")
    model, x = Nested().double().eval(), torch.randn(2, 2, 14, dtype=torch.float64)
    stream = model.stream(engine="compiled")
    y = torch.cat([stream(piece) for piece in torch.split(x, [3, 1, 7, 3], dim=2)], dim=2)
    torch.testing.assert_close(y, model(x).detach(), rtol=1e-10, atol=1e-10)
    assert stream.state.keys() == {"first", "blocks.0", "blocks.1", "last"}


class Forks(nn.Module):
    """Calls functions in the ways of torch."""

    def forward(self, x):
        y = torch.add(F.leaky_relu(x, 0.3), x.abs(), alpha=2) - torch.sub(3, x.square()) * 0.1
        z = torch.clamp_min(y, -1).clamp(max=2) / (x.exp() + 1)
        a, b = torch.split(torch.cat([y, z], 1), [1, 3], dim=1)
        both = torch.stack([torch.cat([a, b], 1), torch.cat([b, a], 1)]).sum(0)
        return 1 / (2 + both.sigmoid()) - torch.neg(both)


def test_functions_of_torch_on_symbols_do_what_they_do_on_tensors():
    pytest.importorskip("numba")
    x = torch.randn(1, 2, 30, dtype=torch.float64)
    y = Pointwise(Forks()).stream(engine="compiled")(x)
    torch.testing.assert_close(y, Forks()(x), rtol=1e-12, atol=1e-12)


class ReadsTheLength(Stateless):
    def forward(self, x):
        return x * x.shape[2]


class Doing(Stateless):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        return self.what(x)


class KeepsIt(Stateless):
    def forward(self, x):
        self.kept = x * 2
        return self.kept


def changed_here():
    layer = CausalConv1d(2, 2, 1)
    layer.step = lambda x, state: (x, state)
    return layer


class Rates(Composite):
    """Two branches of different rates."""

    def __init__(self, field):
        super().__init__()
        self.own = field
        self.two, self.four = CausalConv1d(2, 2, 2, stride=2), CausalConv1d(2, 2, 4, stride=4)

    @property
    def field(self):
        return self.own

    def compose(self, x, run):
        return run(self.two, x) + run(self.four, x)


class ComparesRates(Rates):
    def compose(self, x, run):
        y = run(self.two, x)
        return y if y.shape == x.shape else y * 2


class LooksBack(CausalConv1d):
    def step(self, x, state):
        y, state = super().step(x, state)
        return y * 2, state


class Unknown(CausalModule):  # nothing but the contract
    field = Field.identity()

    def initial_state(self, x):
        return ()

    def step(self, x, state):
        return x, ()


class Broken(Composite):
    field = Field.identity()

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleList([CausalSequential(nn.ReLU(), Loudness())])

    def compose(self, x, run):
        return run(self.inner[0], x)


def hooked():
    layer = CausalConv1d(2, 2, 1)
    layer.register_forward_hook(lambda *_: None)
    return layer


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Broken(), r"inner\.0\.1, a Loudness, cannot be compiled: it uses \.mean, which a plan does not have"),
        (MixesBands(3), r"the module, a MixesBands, cannot be compiled: it calls linear"),
        (Residual(LooksBack(2, 2, 3)), r"body, a LooksBack, .*overrides step of CausalConv1d; register a lowering"),
        (CausalSequential(hooked()), r"0, a CausalConv1d, .*forward hook"),
        (CausalSequential(nn.Dropout()).train(), r"0, a Pointwise, .*training mode"),
        (ReadsTheLength(), r"number of frames"),
        (Doing(lambda x: F.leaky_relu(x * 2, inplace=True)), r"computes in place; write x = x \+ 1"),
        (Doing(lambda x: operator.iadd(x * 2, 1)), r"computes in place"),
        (Doing(lambda x: operator.setitem(x * 2, 0, 1)), r"computes in place"),
        (Doing(lambda x: x * (x == x)), r"values of a piece"),
        (Doing(lambda x: x if x else -x), r"values of a piece"),
        (Doing(lambda x: x**2), r"an operator which a plan does not have"),
        (Doing(lambda x: torch.stack([x, x]).mean(0)), r"has no attribute 'mean'"),
        (Doing(lambda x: x + torch.zeros(x.shape)), r"cannot be compiled: zeros"),
        (Doing(lambda x: x * torch.ones(1, 1, 1, 1)), r"shapes must be equal"),
        (Doing(lambda x: x * torch.ones(1).double()), r"shapes must be equal"),
        (KeepsIt(), r"keeps what it computes in an attribute"),
        (CausalSequential(changed_here()), r"0, a CausalConv1d, .*overrides step of CausalConv1d"),
        (Rates(Field.conv(4, stride=4)), r"do not come at the same time"),
        (ComparesRates(Field.conv(2, stride=2)), r"number of frames"),
        (Unknown(), r"an Unknown, cannot be compiled: it has no lowering; register one"),
        (CausalSequential(CausalConv1d(2, 2, 1), CausalConv1d(2, 2, 1).double()), r"1, a CausalConv1d, .*float64"),
        (CausalConv1d(2, 2, 1, device="meta"), r"on meta"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_lowered_is_named(module, message):
    with pytest.raises(CannotCompile, match=message):
        lower(module, X)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (CausalConv1d(2, 2, 2), "_convolve"), (CausalConv1d(2, 2, 2), "_conv_forward"), (CausalMaxPool1d(2), "_pool"),
        (FrameNorm(2), "forward"), (VectorQuantizer(4, 2, init="random"), "forward"),
        (VectorQuantizer(4, 2, init="random"), "codebook"), (CausalSequential(nn.ReLU()), "step"),
        (Pointwise(nn.ReLU()), "__call__"),
    ],
)  # fmt: skip
def test_a_subclass_that_may_compute_something_else_is_not_taken_for_its_base(layer, name):
    layer.__class__ = type("Changed", (type(layer),), {name: lambda *arguments: None})
    with pytest.raises(CannotCompile, match=f"Changed, cannot be compiled: it overrides {name} of"):
        lower(layer, X)


def test_a_subclass_that_computes_the_same_is():
    class Described(CausalConv1d):
        field = Field.conv(2)

        def extra_repr(self):
            return "described"

        def norm(self):
            return self.weight.norm()

    assert len(lower(Described(2, 2, 2), X).ops) == 1


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.complex64, torch.int32])
def test_indices_are_int64(dtype):
    with pytest.raises(CannotCompile, match=str(dtype)):
        lower(CausalSequential(nn.Identity()), X.to(dtype))


@pytest.mark.parametrize(
    "layer", [CausalConv1d(2, 2, 1), FrameNorm(2), CausalMaxPool1d(2), Pointwise(nn.Sigmoid()), Doing(lambda x: x / 2)]
)
def test_nothing_is_computed_with_indices(layer):
    with pytest.raises(CannotCompile, match=r"int64"):
        lower(layer, X.long())


def test_indices_stay_what_they_are():
    pytest.importorskip("numba")
    network, x = CausalSequential(Delay(1), Doing(lambda x: x * 2 + 1)), torch.randint(-9, 9, (1, 2, 5))
    stream = network.stream(engine="compiled")
    assert torch.equal(stream(x), network(x))
    assert torch.equal(stream.state["0"], x[:, :, 4:])
    with pytest.raises(ValueError, match="would round others"):
        stream(x + 2**40)


def test_values_that_come_at_the_same_time_are_combined_whatever_made_them():
    class Both(Rates):
        def compose(self, x, run):
            return run(self.four, x) + run(self.two, x)

    both = Both(Field.conv(4, stride=4))
    both.two = CausalSequential(CausalConv1d(2, 2, 2, stride=2), CausalConv1d(2, 2, 2, stride=2))
    assert [op.kind for op in lower(both, X).ops] == ["linear", "linear", "linear"]


def test_a_zero_keeps_its_sign():
    pytest.importorskip("numba")
    x = torch.tensor([[[0.0, -0.0]]])
    for what in (lambda x: 1 / -x, lambda x: 1 / (x * 2), lambda x: 1 / (x / 2)):
        assert torch.equal(Doing(what).stream(engine="compiled")(x), what(x))


def test_a_symbol_passes_for_a_tensor():
    layer = Doing(lambda x: x * 2 if isinstance(x, torch.Tensor) else x)
    assert len(lower(layer, X).ops) == 1


def test_autocast_is_refused():
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(CannotCompile, match="autocast"):
        lower(CausalConv1d(2, 2, 1), X)


def test_half_precision_is_refused():
    with pytest.raises(CannotCompile, match=r"torch\.bfloat16"):
        lower(CausalConv1d(2, 2, 1).bfloat16(), X.bfloat16())


def test_wiring_is_checked_as_by_torch():
    twice = Broken()
    twice.compose = lambda x, run: run(twice.inner[0], run(twice.inner[0], x))
    twice.inner[0] = CausalSequential(nn.ReLU())
    with pytest.raises(ValueError, match="run twice"):
        lower(twice, X)
    twice.compose = lambda x, run: run(CausalConv1d(2, 2, 1), x)
    with pytest.raises(ValueError, match="is no part of Broken"):
        lower(twice, X)


def test_a_lowering_of_the_users_own():
    class Reversed(Stateless):
        def forward(self, x):
            return x.flip(1)

    with pytest.raises(CannotCompile, match=r"\.flip"):
        lower(Reversed(), X)

    @lowers(Reversed)
    def _(layer, x, builder):
        return builder.concat([x[:, i : i + 1] for i in reversed(range(x.shape[1]))])

    pytest.importorskip("numba")
    x = torch.randn(2, 3, 4)
    assert torch.equal(Reversed().stream(engine="compiled")(x), x.flip(1))


def test_symbols_of_different_shapes_are_not_combined():
    builder = Builder()
    a, b = builder.input(Register(2)), builder.input(Register(3))
    for wrong in (lambda: a + b, lambda: a * torch.ones(2), lambda: torch.cat([a, b], 2), lambda: a[0], lambda: a.foo):
        with pytest.raises(CannotCompile):
            wrong()


def test_a_layer_has_one_memory():
    class Two(FrameNorm):
        pass

    @lowers(Two)
    def _(layer, x, builder):
        delayed = {"window": 2, "stride": 1, "held": 1, "delays": [1], "reduce": "max"}
        once = builder.emit("pool", [x], x.register, delayed)
        return builder.emit("pool", [once], x.register, delayed)

    with pytest.raises(CannotCompile, match="two operations with a window"):
        lower(Two(2), X)


def test_a_stream_never_moves_the_codebook():
    pytest.importorskip("numba")
    quantizer = VectorQuantizer(8, 2, init="random").train()
    x, before = torch.randn(1, 2, 9), quantizer.codebook.clone()
    y = quantizer.stream(engine="compiled")(x)
    assert torch.equal(quantizer.codebook, before)
    assert torch.equal(y, quantizer.decode(quantizer.encode(x)))


def test_a_plan_keeps_the_weights_of_now():
    network = CausalSequential(CausalConv1d(2, 2, 2), FrameNorm(2), VectorQuantizer(4, 2, init="random"))
    plan = lower(network, X)
    before = [array.copy() for op in plan.ops for array in op.arrays.values()]
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(7)
    after = [array for op in plan.ops for array in op.arrays.values()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_cell_of_a_gru_is_that_of_torch():
    rnn, x = nn.GRU(3, 5, batch_first=True).double(), torch.randn(2, 7, 3, dtype=torch.float64)
    builder = Builder(2, torch.float64)
    state = builder.gru_cell(builder.input(Register(3)), rnn.all_weights[0])
    runner = ReferenceRunner(Plan(builder.registers, 1, builder.ops, [state.operand], "float64", {}), 2)
    found = [runner.feed(x[:, t, None].numpy())[0][0][:, 0] for t in range(7)]
    torch.testing.assert_close(torch.from_numpy(np.stack(found, 1)), rnn(x)[0].detach(), rtol=1e-12, atol=1e-12)
