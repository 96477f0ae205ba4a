"""A step and a stream honour the hooks of torch as a call does: on layers, parts and models, whatever the hooks are."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from causalcnn import CausalConv1d, CausalModule, Field, Stateless, VectorQuantizer
from causalcnn.nn import (
    CausalAvgPool1d,
    CausalConvTranspose1d,
    CausalMaxPool1d,
    CausalSequential,
    Delay,
    FrameNorm,
    Parallel,
    Pointwise,
    Residual,
    ResidualVectorQuantizer,
)
from tests.fuzz import examples


class StepsOnly(CausalModule):
    """Its forward is that of the base, which steps."""

    field = Field.conv(kernel_size=2)  # type: ignore[assignment]

    def initial_state(self, x):
        return x.new_zeros(*x.shape[:2], 1)

    def step(self, x, state):
        frames = torch.cat([state, x], 2)
        return frames[:, :, 1:] - frames[:, :, :-1], frames[:, :, -1:].clone()


class StepsAbove(StepsOnly):
    """Its step calls that of its base, and its forward its own step."""

    def step(self, x, state):
        y, state = super().step(x, state)
        return 3 * y, state

    def forward(self, x):
        return self.step(x, self.initial_state(x))[0]


class CallsItself(Stateless):
    """Its step calls the module."""

    def forward(self, x):
        return 5 * x

    def step(self, x, state):
        return self(x), state


class OwnWeight(CausalModule):
    """A convolution of somebody else, who knows nothing of hooks."""

    field = Field.conv(kernel_size=3)  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 3))

    def initial_state(self, x):
        return x.new_zeros(*x.shape[:2], 2)

    def step(self, x, state):
        frames = torch.cat([state, x], 2)
        y = nn.functional.conv1d(frames, self.weight) if x.shape[2] else x
        return y, frames[:, :, frames.shape[2] - 2 :].clone()


MODULES = {
    "conv": lambda: CausalConv1d(4, 4, 3, dilation=2),
    "groups": lambda: CausalConv1d(4, 4, 3, groups=2),
    "transposed": lambda: CausalConvTranspose1d(4, 4, 3),
    "max": lambda: CausalMaxPool1d(3, 1),
    "mean": lambda: CausalAvgPool1d(3, 1),
    "norm": lambda: FrameNorm(4),
    "pointwise": lambda: Pointwise(nn.Tanh()),
    "delay": lambda: Delay(2),
    "quantizer": lambda: VectorQuantizer(5, 4),
    "residual quantizer": lambda: ResidualVectorQuantizer(2, 5, 4),
    "steps only": StepsOnly,
    "steps above": StepsAbove,
    "calls itself": CallsItself,
    "own weight": OwnWeight,
    "sequential": lambda: CausalSequential(nn.ReLU(), CausalConv1d(4, 4, 2), nn.ReLU(), FrameNorm(4)),
    "residual": lambda: Residual(nn.ReLU(), CausalConv1d(4, 4, 2)),
    "parallel": lambda: Parallel(CausalConv1d(4, 4, 2), nn.Tanh()),
}

HOOKS = {
    "forward": lambda m: m.register_forward_hook(lambda module, given, y: 2 * y + given[0].mean(1, keepdim=True)),
    "forward that knows its module": lambda m: m.register_forward_hook(lambda module, given, y: (module is m) * 2 * y),
    "forward with kwargs": lambda m: m.register_forward_hook(lambda _, given, kw, y: 3 * y, with_kwargs=True),
    "forward always": lambda m: m.register_forward_hook(lambda _, given, y: 4 * y, always_call=True),
    "before": lambda m: m.register_forward_pre_hook(lambda _, given: given[0] + 1),
    "before, a tuple": lambda m: m.register_forward_pre_hook(lambda _, given: (2 * given[0],)),
    "before with kwargs": lambda m: m.register_forward_pre_hook(lambda _, a, kw: ((a[0] - 1,), kw), with_kwargs=True),
}


def in_pieces(module: CausalModule, x: Tensor, cuts: list[int]) -> tuple[Tensor, Tensor]:
    """What steps and a stream give for x in pieces."""
    stream, state, steps, streamed = module.stream(), module.initial_state(x), [], []
    for piece in x.split(cuts, dim=2):
        y, state = module.step(piece, state)
        steps.append(y)
        streamed.append(stream(piece).clone())
    return torch.cat(steps, 2), torch.cat(streamed, 2)


@pytest.mark.parametrize("name", MODULES)
@given(
    hooks=st.lists(st.sampled_from(sorted(HOOKS)), min_size=1, max_size=3),
    place=st.integers(0, 20),
    cuts=st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
@settings(max_examples=examples(8), deadline=None)
def test_hooks_run_once_around_a_step_and_a_stream(name, hooks, place, cuts):
    torch.manual_seed(0)
    module = MODULES[name]().double().eval()
    parts = [part for part in module.modules() if not isinstance(part, nn.ModuleList)]
    for hook in hooks:
        HOOKS[hook](parts[place % len(parts)])
    x = torch.randn(2, 4, sum(cuts), dtype=torch.float64)
    for y in in_pieces(module, x, cuts):
        torch.testing.assert_close(y, module(x), rtol=1e-11, atol=1e-11)


def test_a_hook_counts_the_pieces_and_sees_no_piece_of_its_own_making():
    network, seen = CausalSequential(CausalConv1d(4, 4, 2), Residual(CausalConv1d(4, 4, 2))).eval(), []
    for part in network.modules():
        if isinstance(part, CausalModule):
            part.register_forward_hook(lambda _, given, y: seen.append(tuple(given[0].shape)))
    in_pieces(network, torch.randn(1, 4, 6), [1, 5])
    assert len(seen) == 2 * 2 * 4  # two pieces by step and by stream, through four layers
    assert set(seen) == {(1, 4, 1), (1, 4, 5)}


def test_a_hook_may_stop_a_step_and_the_next_goes_on():
    layer, x = CausalConv1d(4, 4, 3), torch.randn(1, 4, 5)
    handle = layer.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(KeyError("stop")))
    with pytest.raises(KeyError):
        layer.step(x, layer.initial_state(x))
    handle.remove()
    layer.register_forward_hook(lambda _, given, y: 2 * y)
    assert torch.equal(layer.step(x, layer.initial_state(x))[0], layer(x))


def test_backward_hooks_run_around_a_step():
    layer, x, seen = CausalConv1d(4, 4, 3), torch.randn(1, 4, 5, requires_grad=True), []
    layer.register_full_backward_hook(lambda module, grad_in, grad_out: seen.append((module, grad_out[0].sum())))
    layer.step(x, layer.initial_state(x))[0].sum().backward()
    assert seen == [(layer, torch.tensor(20.0))]


@pytest.mark.filterwarnings("ignore:.*weight_norm", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "norm", [nn.utils.weight_norm, nn.utils.spectral_norm, lambda m: prune.random_unstructured(m, "weight", 0.5)]
)
def test_the_weight_of_somebody_elses_layer_is_renewed(norm):
    layer, x = norm(OwnWeight()).eval(), torch.randn(1, 4, 9)
    layer(x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(1.5).add_(0.1)
    for y in in_pieces(layer, x, [4, 5]):
        torch.testing.assert_close(y, copy.deepcopy(layer)(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))])
def test_a_stream_with_hooks_can_be_copied(copied):
    layer, x = CausalSequential(CausalConv1d(4, 4, 3)), torch.randn(1, 4, 9)
    layer.parts[0].register_forward_hook(_double)
    stream = layer.stream()
    stream(x[:, :, :4])
    other = copied(stream)
    assert torch.equal(other(x[:, :, 4:]), stream(x[:, :, 4:]))
    assert torch.equal(other(x), stream(x))


def _double(module: nn.Module, given: tuple[Tensor], y: Tensor) -> Tensor:
    return 2 * y
