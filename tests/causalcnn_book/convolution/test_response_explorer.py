"""What the response explorer shows is what torch computes, for every position of its controls."""

from __future__ import annotations

import itertools

import pytest
import torch

from causalcnn_book.convolution import AllOnes, ResponseExplorer

STEPS, FEATURES = 41, 15


def _state(dims, convention, layers, kernel_size, dilation, stride, **more):
    keys = ("dims", "convention", "layers", "kernel_size", "dilation", "stride")
    values = (dims, convention, layers, kernel_size, dilation, stride)
    state = dict(zip(keys, values, strict=True)) | {"steps": STEPS, "features": FEATURES, "rate_hz": 100}
    return state | {"impulse": "frame", "view": "response", "nonzero": False, "step": 20} | more


def _count(values, times, early):
    """What is read off a picture: columns that are not all zero, those of them that leak, the largest value."""
    touched = [time for time, column in zip(times, zip(*values, strict=True), strict=True) if any(column)]
    largest = max((v for row in values for v in row), default=0)
    return {"reached": len(touched), "leaked": sum(time in early for time in touched), "largest": largest}


@pytest.mark.parametrize("convention", ["strict", "block", "regular"])
@pytest.mark.parametrize("dims", [1, 2])
def test_every_position_of_the_controls_equals_torch(engine, dims, convention):
    """Both kinds of impulse at a moving step, and the gradient of one output step: exact in float64."""
    v8, moving = engine("response_explorer"), itertools.cycle([0, 7, 20, 33, 40])
    for grid in itertools.product(range(1, 7), range(1, 8), range(1, 5), range(1, 4)):
        stack, step = AllOnes(dims, convention, *grid), next(moving)
        s = _state(dims, convention, *grid, step=step)
        shown = v8(
            "[response(s, s.convention), response({...s, impulse: 'cell'}, s.convention), outputAt(s, s.convention)]",
            s=s,
        )
        pair = torch.stack([stack.impulse(step, "frame"), stack.impulse(step, "cell")])
        frame, cell = stack(pair).tolist()
        assert shown[0] == frame, s
        assert shown[1] == cell, s
        times = [stack.frame_of(u) for u in range(len(frame[0]))]
        reads = [_count(values, times, range(step)) for values in (frame, cell)]
        assert v8("['frame', 'cell'].map((impulse) => readState({...s, impulse})[s.convention])", s=s) == reads, s
        u, total = shown[2], grid[3] ** grid[0]
        if times:
            assert u == max(0, min(len(times) - 1, (step - times[0]) // total)), s
            gradient = stack.gradient(u).tolist()
            assert v8("gradient(s, s.convention, u)", s=s, u=u) == gradient, (s, u)
            asked = _count(gradient, range(STEPS), range(times[u] + 1, STEPS))
        else:
            asked = {"reached": 0, "leaked": 0, "largest": 0}
        assert v8("readState({...s, view: 'gradient'})[s.convention]", s=s) == asked, s


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_step_of_the_slider_equals_torch(engine, dims, stride):
    v8, stack = engine("response_explorer"), AllOnes(dims, "regular", 3, 4, 2, stride)
    inputs = torch.stack([stack.impulse(step, "cell") for step in range(STEPS)])
    outputs = stack(inputs).tolist()
    for step in range(STEPS):
        s = _state(dims, "regular", 3, 4, 2, stride, step=step, impulse="cell")
        assert v8("response(s, 'regular')", s=s) == outputs[step]
    for u in range(len(outputs[0][0])):
        s = _state(dims, "regular", 3, 4, 2, stride)
        assert v8("gradient(s, 'regular', u)", s=s, u=u) == stack.gradient(u).tolist()


@pytest.mark.parametrize("dims", [1, 2])
def test_the_stack_is_the_one_of_the_library(dims):
    """AllOnes, causal, is a stack of CausalConv1d or CausalConv2d whose weights are one."""
    from causalcnn import CausalConv1d, CausalConv2d

    for layers, kernel, dilation, stride, convention in itertools.product(
        (1, 3), (1, 3, 4), (1, 2), (1, 2), ("strict", "block")
    ):
        stack = AllOnes(dims, convention, layers, kernel, dilation, stride, features=5)
        x = stack.impulse(13)[None]
        for _ in range(layers):
            if dims == 1:
                layer = CausalConv1d(5, 5, kernel, dilation=dilation, stride=stride, bias=False, convention=convention)
            else:
                step = {"stride": (stride, 1), "dilation": (dilation, 1), "frequency_padding": "same"}
                layer = CausalConv2d(1, 1, (kernel, kernel), bias=False, convention=convention, **step)
            layer = layer.double()
            torch.nn.init.ones_(layer.weight)
            with torch.no_grad():
                x = layer(x) if dims == 1 else layer(x.transpose(1, 2)[:, None])[:, 0].transpose(1, 2)
        assert torch.equal(x[0], stack.response(13)), (layers, kernel, dilation, stride, convention)


def test_a_causal_stack_never_leaks_and_a_regular_one_does():
    for layers, kernel, dilation in itertools.product((1, 2, 5), (2, 3, 5), (1, 3)):
        shape = {"layers": layers, "kernel_size": kernel, "dilation": dilation, "steps": 80, "step": 40}
        shown = ResponseExplorer(convention="both", **shape).read()
        causal, regular = shown["strict"], shown["regular"]
        assert causal["leaked"] == 0
        assert (regular["leaked"] > 0) == ((kernel - 1) * dilation - (kernel - 1) * dilation // 2 > 0)
        assert causal["reached"] == regular["reached"] or layers * (kernel - 1) * dilation > 39


def test_a_setting_from_an_address_is_brought_inside_its_limits(engine):
    wild = _state(7, "??", 1e9, -1, 3.6, None, step=1e9, view="x", impulse=3)
    s = engine("response_explorer")("figure.settled(s)", s=wild)
    assert (s["dims"], s["layers"], s["kernel_size"], s["dilation"], s["stride"], s["step"]) == (2, 6, 1, 4, 1, 40)
    assert (s["convention"], s["view"], s["impulse"]) == ("both", "response", "frame")
