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
        u = shown[2]
        if frame[0]:
            assert 0 <= u < len(frame[0])
            assert v8("gradient(s, s.convention, u)", s=s, u=u) == stack.gradient(u).tolist(), (s, u)


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


STATES = [
    {},
    {"layers": 3, "convention": "regular", "view": "gradient", "dims": 2, "impulse": "cell"},
    {"layers": 2, "stride": 2, "convention": "strict", "dims": 2, "impulse": "cell", "step": 11},
    {"layers": 6, "stride": 3, "convention": "block", "view": "gradient"},
    {"layers": 6, "kernel_size": 7, "dilation": 4, "nonzero": True, "step": 0},
    {"layers": 1, "kernel_size": 1, "stride": 3, "step": 40},
    {"layers": 2, "kernel_size": 4, "stride": 2, "convention": "block", "steps": 20, "features": 8, "step": 9},
]


@pytest.mark.parametrize("width", [700, 330])
@pytest.mark.parametrize("state", STATES, ids=str)
def test_the_static_picture_is_what_the_module_draws_first(engine, state, width):
    v8, figure = engine("response_explorer"), ResponseExplorer(**state)
    s = {key: getattr(figure, key) for key in v8("SETTINGS")}
    drawn = v8("drawPicture(s, w, 'one')", s=s, w=width)
    picture, height = figure.picture(width, "one")
    assert picture == drawn["picture"]
    assert height == drawn["height"]
    assert figure.sentence() == v8("sentence(s)", s=s)
    numbers = v8("readouts(s).map((c) => [c.key.split('-')[0], c.label, c.text, c.note ?? ''])", s=s)
    assert [tuple(row) for row in numbers] == figure.readout_rows()


def test_a_causal_stack_never_leaks_and_a_regular_one_does():
    for layers, kernel, dilation in itertools.product((1, 2, 5), (2, 3, 5), (1, 3)):
        shape = {"layers": layers, "kernel_size": kernel, "dilation": dilation, "steps": 80, "step": 40}
        (causal,) = ResponseExplorer(convention="strict", **shape).panels()
        (regular,) = ResponseExplorer(convention="regular", **shape).panels()
        assert causal.leaked == 0
        assert (regular.leaked > 0) == ((kernel - 1) * dilation - (kernel - 1) * dilation // 2 > 0)
        assert causal.reached == regular.reached or layers * (kernel - 1) * dilation > 39


def test_a_setting_from_an_address_is_brought_inside_its_limits(engine):
    wild = _state(7, "??", 1e9, -1, 3.6, None, step=1e9, view="x", impulse=3)
    s = engine("response_explorer")("settled(s)", s=wild)
    assert (s["dims"], s["layers"], s["kernel_size"], s["dilation"], s["stride"], s["step"]) == (2, 6, 1, 4, 1, 40)
    assert (s["convention"], s["view"], s["impulse"]) == ("both", "response", "frame")
