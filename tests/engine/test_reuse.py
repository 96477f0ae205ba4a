"""The next stream of a module need not lower it again, and never speaks with weights or settings of before."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune

from causalcnn import CausalConv1d, VectorQuantizer
from causalcnn.engine import CannotCompile, lowers, reuse, stream
from causalcnn.engine.reuse import describe
from causalcnn.models import CausalVQVAE2, VQVAE2Config
from causalcnn.nn import CausalSequential, Composite, FrameNorm, Pointwise, Residual
from causalcnn.speech import LogMel
from tests.fuzz import examples

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


def by_a_swap(network):
    weight = network.parts[0].weight.data  # which leaves every sum as it is
    weight[0], weight[1] = weight[1].clone(), weight[0].clone()


def by_its_storage(network):
    weight = network.parts[0].weight
    floats = torch.empty(0).set_(weight.untyped_storage(), 0, weight.shape)
    floats[3] *= -2


def by_other_data(network):
    network.parts[2].weight.data = torch.randn(2, 4, 2)


def by_training(network):
    network.parts[0].weight.grad = torch.ones(4, 2, 3)
    torch.optim.SGD([network.parts[0].weight], lr=0.3).step()
    network.parts[0].weight.grad = None


def by_pruning(network):
    if not prune.is_pruned(network):
        prune.l1_unstructured(network.parts[2], "weight", 0.3)
    else:
        network.parts[2].weight_mask.zero_()


def by_another_layer(network):
    setattr(network, "1", Pointwise(nn.Identity()))
    with torch.no_grad():
        network.parts[2].bias[0] += 1


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
        by_a_swap,
        by_its_storage,
        by_other_data,
        by_training,
        by_pruning,
        by_another_layer,
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


def test_a_change_by_a_view_that_somebody_kept_is_noticed():
    network = make()
    view = network.parts[0].weight.detach().numpy()
    for factor in (2, -1, -1):
        view *= factor
        torch.testing.assert_close(network.stream(engine="compiled")(X), network(X).detach(), rtol=1e-4, atol=1e-4)


def test_a_codebook_that_moved_is_noticed():
    layer = VectorQuantizer(8, 2, init="random", decay=0.5).eval()
    before = layer.stream(engine="compiled")(X)
    layer.train()(X * 3)
    after = layer.eval().stream(engine="compiled")(X)
    torch.testing.assert_close(after, layer.stream()(X))
    assert not torch.allclose(after, before, atol=1e-3)


CHANGES = (in_place, by_data, by_numpy, by_a_swap, by_a_setting)


@settings(max_examples=examples(20), deadline=None)
@given(st.data())
def test_streams_begun_resumed_and_reset_in_any_order_are_those_of_torch(data):
    network, pairs = make(), []
    for _ in range(data.draw(st.integers(3, 12))):
        action = data.draw(st.sampled_from(("begin", "resume", "reset", "run", "change")))
        pair = data.draw(st.sampled_from(pairs)) if pairs else None
        if action == "change":
            data.draw(st.sampled_from(CHANGES))(network)
            pairs = []  # a stream speaks with the weights that it began with, and one of torch with those of now
        elif action == "begin" or pair is None:
            pairs.append((network.stream(), network.stream(engine="compiled")))
        elif action == "resume":
            state = pair[0].state
            pairs.append((network.stream(state), network.stream(state, engine="compiled")))
        elif action == "reset":
            for one in pair:
                if one.state is not None and one._like is not None:
                    one.reset_rows([1])
        for plain, compiled in (*pairs[-1:], *([pair] if pair in pairs else [])):
            x = torch.randn(2, 2, data.draw(st.integers(0, 3)))
            torch.testing.assert_close(compiled(x), plain(x), rtol=1e-3, atol=1e-3)


class Led(Composite):
    """Begins after frames that it has learned."""

    def __init__(self):
        super().__init__()
        self.conv = CausalConv1d(2, 2, 3)
        self.start = nn.Parameter(torch.randn(2, 2))

    @property
    def field(self):
        return self.conv.field

    def compose(self, x, run):
        return run(self.conv, x)

    def initial_state(self, x):
        begun.append(x)
        return {"conv": self.start.detach().expand(x.shape[0], 2, 2)}


begun = []
lowers(Led)(lambda layer, x, builder: builder.compose(layer, layer.compose, x))


def test_the_state_before_the_first_frame_is_made_once_and_again_after_a_change():
    layer = Led().eval()
    begun.clear()

    def check(times):
        y = layer.stream(engine="compiled")(X)
        frames = torch.cat([layer.start.expand(1, 2, 2), X], dim=2)
        torch.testing.assert_close(y, nn.functional.conv1d(frames, layer.conv.weight, layer.conv.bias).detach())
        assert len(begun) == times

    check(1)
    check(1)
    layer.start.data += 1
    check(2)
    layer.stream(engine="compiled")(X.repeat(2, 1, 1))
    check(3)


@pytest.mark.parametrize("held", [torch.zeros(3, dtype=torch.bfloat16), torch.zeros(3, device="meta"),
                                  torch.zeros(3).to_sparse(), torch.zeros(3, dtype=torch.complex64).conj(),
                                  torch.zeros(2, 3).T, torch.tensor(1.0), torch.tensor(float("nan"))])  # fmt: skip
def test_a_module_may_hold_any_tensor(held):
    layer = CausalConv1d(2, 2, 1).eval()
    layer.register_buffer("held", held)
    for _ in range(2):
        torch.testing.assert_close(layer.stream(engine="compiled")(X), layer(X).detach())


def test_a_stream_that_began_in_inference_mode_can_be_saved_outside():
    network = make()
    for inside in (True, False):
        with torch.inference_mode(inside):
            stream = network.stream(engine="compiled")
            stream(X)
        assert not stream.state["0"].is_inference()


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
    made = reuse._made[layer]
    assert len(made.machines) == len(made.states) == reuse.AT_ONCE
    held, gone = [weakref.ref(machine) for machine in made.machines.values()], weakref.ref(layer)
    del layer, made
    gc.collect()
    assert gone() is None
    assert all(machine() is None for machine in held)
