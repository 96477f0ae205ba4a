"""What the stack explorer shows is what torch computes and what the encoders declare, for its grid of controls."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from causalcnn.nn import Encoder, MultiStackEncoder, ResidualStack
from causalcnn_book.residual_blocks import StackExplorer

PAIRS = list(itertools.product(range(2, 8), range(1, 5)))
COMBINE = ("add", "concat", "every_layer")


def _state(figure, v8):
    return {key: getattr(figure, key) for key in v8("figure.traits")}


def _builder(pairs, **more):
    places = {f"kernel_{i}": k for i, (k, _) in enumerate(pairs, 1)} | {
        f"dilation_{i}": d for i, (_, d) in enumerate(pairs, 1)
    }
    return StackExplorer(stacks=len(pairs), **places, **more)


def _paths_by_torch(network, size):
    """The gradient of one output of a network of one channel with all weights one and open activations, by age."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Identity())
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1.0)
    x = torch.zeros(1, 1, size + 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.double()(x)[0, 0, size + 1], x)
    ages = gradient[0, 0].flip(0)[1:]  # the frame after the chosen one is the future: nothing may come from there
    assert gradient[0, 0, -1] == 0
    assert ages[size:].count_nonzero() == 0
    return [int(n) for n in ages[:size].tolist()]


def _declared(field, parameters):
    return {
        "past": int(field.past), "size": int(field.size), "num_inputs": int(field.num_inputs), "holes": field.holes,
        "parameters": parameters,
    }  # fmt: skip


SHORT = "(({past, size, num_inputs, holes, parameters}) => ({past, size, num_inputs, holes, parameters}))(readState(s))"


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("ends", [True, False])
def test_one_stack_equals_torch_and_its_field(engine, residual, ends):
    v8 = engine("stack_explorer")
    for (kernel, dilation), second, blocks in itertools.product(PAIRS, (0, 1, 2, 3, 4), (0, 1, 5)):
        figure = _builder([(kernel, dilation)], second=second, blocks=blocks, residual=residual, ends=ends, channels=1)
        s = _state(figure, v8)
        shown = v8("readState(s)", s=s)
        assert shown["together"] == _paths_by_torch(figure.network(), shown["size"]), s
        parameters = sum(p.numel() for p in figure.network().parameters())
        if kernel**blocks < 2000:
            assert v8(SHORT, s=s) == _declared(figure.field, parameters), s


@pytest.mark.parametrize("combine", COMBINE)
def test_every_two_stacks_equal_torch_and_their_field(engine, combine):
    v8 = engine("stack_explorer")
    alone = {pair: v8("readState(s).together", s=_state(_builder([pair], channels=3), v8)) for pair in PAIRS}
    for pairs in itertools.product(PAIRS, PAIRS):
        figure = _builder(pairs, combine=combine, channels=3)
        s = _state(figure, v8)
        shown = v8("readState(s)", s=s)
        assert shown["together"] == _paths_by_torch(figure.network(1), shown["size"]), s
        assert shown["each"] == [alone[pair] for pair in pairs], s
        assert [i for i, paths in enumerate(shown["together"]) if paths] == sorted(
            -i for i in figure.field.inputs_of(0)
        ), s
        assert shown["parameters"] == sum(p.numel() for p in figure.network().parameters()), s


@pytest.mark.parametrize("combine", COMBINE)
def test_the_stacks_are_those_of_the_multi_stack_encoder(engine, combine):
    v8 = engine("stack_explorer")
    kernels = [(2,), (3,), (7,), (3, 5), (2, 7), (4, 6)]
    dilations = [(1,), (4,), (1, 3), (2, 3), (1, 4)]
    for sizes, spread, blocks in itertools.product(kernels, dilations, (0, 1, 2)):
        encoder = MultiStackEncoder(4, 4, 4, kernel_sizes=sizes, dilations=spread, blocks=blocks, combine=combine)
        figure = _builder(list(encoder.stacks), blocks=blocks, combine=combine, channels=4)
        assert figure.field == encoder.field.with_rate(100)
        parameters = sum(p.numel() for p in encoder.parameters())
        assert v8(SHORT, s=_state(figure, v8)) == _declared(encoder.field, parameters), encoder.stacks


def test_one_stack_is_the_encoder_and_without_its_ends_the_residual_stack():
    for kernel, dilation, blocks in itertools.product((2, 3, 5), (1, 3), (1, 2)):
        figure = _builder([(kernel, dilation)], blocks=blocks)
        assert figure.field == Encoder(2, 2, 2, kernel_size=kernel, dilation=dilation, blocks=blocks).field.with_rate(
            100
        )
    stack = ResidualStack(2, 3, blocks=5, dilations=(3, 2))
    assert _builder([(3, 3)], second=2, blocks=5, ends=False).field == stack.field.with_rate(100)


def test_four_stacks_at_their_largest_are_counted_exactly(engine):
    v8 = engine("stack_explorer")
    figure = _builder([(7, 4), (7, 3), (6, 4), (7, 1)], blocks=5, combine="every_layer", channels=64)
    shown = v8("readState(s)", s=_state(figure, v8))
    assert shown["paths"] == sum(shown["together"]) < 2**53  # so torch's float64 counts them exactly, too
    assert shown["together"] == _paths_by_torch(figure.network(1), shown["size"])


def test_a_setting_from_an_address_is_brought_inside_its_limits(engine):
    v8 = engine("stack_explorer")
    wild = _state(StackExplorer(), v8) | {"stacks": 99, "kernel_1": 1, "combine": "x", "rate_hz": 0, "at": 1e12}
    s = v8("figure.settled(s, 700)", s=wild)
    assert (s["stacks"], s["kernel_1"], s["combine"], s["rate_hz"]) == (4, 2, "add", 100)
    assert s["at"] == v8("stackWindow(s, 700)", s=s)[1]


def test_places_are_kept_for_the_sliders_that_are_there():
    places = [StackExplorer(stacks=n).static().count("cc-place-slider") for n in (1, 2, 4)]
    assert places == [3, 5, 9]


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="controls names"):
        StackExplorer(controls=("kernel",))
