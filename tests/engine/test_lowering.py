"""What can be lowered is lowered by itself; what cannot be is named, with the reason."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from causalcnn import CausalConv1d, CausalModule, Composite, Field, Stateless, VectorQuantizer
from causalcnn.engine import Builder, CannotCompile, Register, lower, lowers
from causalcnn.nn import CausalSequential, FrameNorm, Pointwise, Residual
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
        (Unknown(), r"an Unknown, cannot be compiled: it has no lowering; register one"),
        (CausalSequential(CausalConv1d(2, 2, 1), CausalConv1d(2, 2, 1).double()), r"1, a CausalConv1d, .*float64"),
        (CausalConv1d(2, 2, 1, device="meta"), r"on meta"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_lowered_is_named(module, message):
    with pytest.raises(CannotCompile, match=message):
        lower(module, X)


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
