"""The next stream of a module need not lower it again, and never speaks with weights or settings of before."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from causalcnn import CausalConv1d
from causalcnn.engine import CannotCompile, reuse, stream
from causalcnn.engine.reuse import describe
from causalcnn.models import CausalVQVAE2, VQVAE2Config
from causalcnn.nn import CausalSequential, FrameNorm, Pointwise, Residual
from causalcnn.speech import LogMel

pytest.importorskip("numba")

X = torch.randn(1, 2, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _same_weights():
    """With some weights a change is lost: two channels that are normalised keep nothing but their order."""
    torch.manual_seed(2)


def make():
    return CausalSequential(
        CausalConv1d(2, 4, 3), nn.LeakyReLU(0.1), CausalConv1d(4, 2, 2, dilation=2), FrameNorm(2)
    ).eval()


@pytest.fixture
def lowered(monkeypatch):
    """Every module that is lowered."""
    modules = []
    lower = stream.lower

    def noted(module, *more, **named):
        modules.append(module)
        return lower(module, *more, **named)

    monkeypatch.setattr(stream, "lower", noted)
    return modules


def test_a_second_stream_lowers_nothing_and_has_a_state_of_its_own(lowered):
    network = make()
    expected = network(X).detach()
    first, second = (network.stream(engine="compiled") for _ in range(2))
    pieces = [(first(x), second(x)) for x in X.split(1, dim=2)]
    for ys in zip(*pieces, strict=True):
        torch.testing.assert_close(torch.cat(ys, dim=2), expected, rtol=1e-4, atol=1e-4)
    assert len(lowered) == 1
    network.stream(engine="compiled")(X.repeat(3, 1, 1))
    network.double().stream(engine="compiled")(X.double())
    assert len(lowered) == 3


def in_place(network):
    with torch.no_grad():
        network.parts[0].weight.mul_(2)


def by_data(network):
    network.parts[0].weight.data[0, 0, 0] += 1


def by_numpy(network):
    network.parts[2].bias.detach().numpy()[1] = 3


def by_a_new_one(network):
    network.parts[2].weight = nn.Parameter(torch.randn(2, 4, 2))


def by_loading(network):
    network.load_state_dict(make().state_dict())


def by_a_setting(network):
    network.parts[3].eps = 10.0


def by_another_function(network):
    network.parts[1].function = nn.Tanh()


def by_a_number(network):
    network.parts[1].function.negative_slope = 0.7


def by_parametrizing(network):
    layer = network.parts[0]
    if not hasattr(layer, "parametrizations"):
        parametrizations.weight_norm(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(3)


@pytest.mark.parametrize(
    "change",
    [
        in_place,
        by_data,
        by_numpy,
        by_a_new_one,
        by_loading,
        by_a_setting,
        by_another_function,
        by_a_number,
        by_parametrizing,
    ],
    ids=lambda change: change.__name__,
)
def test_what_was_changed_is_noticed(change):
    network = make()
    before = network.stream(engine="compiled")(X)
    change(network)
    after = network.stream(engine="compiled")(X)
    torch.testing.assert_close(after, network(X).detach(), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(after, before, atol=1e-3)
    change(network)  # and once more
    torch.testing.assert_close(network.stream(engine="compiled")(X), network(X).detach(), rtol=1e-4, atol=1e-4)


def test_what_would_be_refused_is_refused_also_later():
    network = CausalSequential(CausalConv1d(2, 2, 1), nn.Dropout(0.5)).eval()
    network.stream(engine="compiled")(X)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(CannotCompile, match="autocast"):
        network.stream(engine="compiled")(X)
    with pytest.raises(CannotCompile, match="training mode"):
        network.train().stream(engine="compiled")(X)
    network.eval().parts[0].register_forward_hook(lambda *_: None)
    with pytest.raises(CannotCompile, match="forward hook"):
        network.stream(engine="compiled")(X)


class Scaled(nn.Module):
    """Calls a function of the user's, which may change."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_what_cannot_be_compared_is_lowered_again(lowered):
    factor = [2.0]
    layer = Pointwise(Scaled(lambda x: x * factor[0]))
    torch.testing.assert_close(layer.stream(engine="compiled")(X), X * 2)
    factor[0] = 3.0
    torch.testing.assert_close(layer.stream(engine="compiled")(X), X * 3)
    assert len(lowered) == 2
    assert describe(layer) is None


def test_models_of_the_library_can_be_compared():
    config = VQVAE2Config(channels=8, residual_blocks=1, code_dim=4, num_codes=16)
    for module in (CausalVQVAE2(config), CausalSequential(LogMel(), LogMel()), Residual(CausalConv1d(2, 2, 3))):
        described = describe(module)
        assert described is not None
        assert described[0] == describe(module)[0]
        assert {id(x) for x in described[1]} >= {id(x) for x in module.parameters()}


def test_a_module_that_holds_itself_can_be_compared():
    layer = CausalConv1d(2, 2, 1)
    object.__setattr__(layer, "self", layer)
    object.__setattr__(layer, "list", [layer])
    assert describe(layer)[0] == describe(layer)[0]


def test_of_a_module_little_is_kept_and_nothing_after_it():
    layer = CausalConv1d(2, 2, 3)
    for rows in range(1, 9):
        layer.stream(engine="compiled")(torch.zeros(rows, 2, 1))
    assert len(reuse._made[layer]) == reuse.AT_ONCE
    held, gone = [weakref.ref(made.machine) for made in reuse._made[layer].values()], weakref.ref(layer)
    del layer
    gc.collect()
    assert gone() is None
    assert all(machine() is None for machine in held)
