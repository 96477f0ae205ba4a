"""What the cone explorer says is what torch and causalcnn say, for every position of its sliders."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from causalcnn_book.causality import ConeExplorer

KERNELS, DILATIONS, LAYERS, STRIDES = range(1, 8), range(1, 5), range(1, 7), range(1, 4)
CONVENTIONS = ("strict", "block", "regular")


def _state(kernel_size, dilation, doubling, layers, stride, convention):
    keys = ("kernel_size", "dilation", "doubling", "layers", "stride", "convention")
    values = (kernel_size, dilation, doubling, layers, stride, convention)
    return dict(zip(keys, values, strict=True)) | {"channels": 64, "rate_hz": 100, "pick": "output", "at": 0}


def _zeros(s, layer):
    """Zeros before and after the input of one layer, as torch's functional.pad takes them."""
    reach = (s["kernel_size"] - 1) * s["dilation"] * (2**layer if s["doubling"] else 1)
    if s["convention"] == "regular":
        return reach // 2, reach - reach // 2
    return (reach, 0) if s["convention"] == "strict" else (reach - (s["stride"] - 1), 0)


def _read_by_torch(s):
    """The inputs of one output, from the gradient of a real stack of convolutions, far from the edges."""
    total = s["stride"] ** s["layers"]
    reach = 1
    for layer in reversed(range(s["layers"])):
        d = s["dilation"] * (2**layer if s["doubling"] else 1)
        reach = (reach - 1) * s["stride"] + (s["kernel_size"] - 1) * d + 1
    u = -(-reach // total) + 1
    x = torch.zeros(1, 1, (u + 2) * total + reach, dtype=torch.float64, requires_grad=True)
    y = x
    for layer in range(s["layers"]):
        y = functional.pad(y, _zeros(s, layer))
        d = s["dilation"] * (2**layer if s["doubling"] else 1)
        y = functional.conv1d(y, y.new_ones(1, 1, s["kernel_size"]), stride=s["stride"], dilation=d)
    (gradient,) = torch.autograd.grad(y[0, 0, u], x)
    return (gradient[0, 0].nonzero()[:, 0] - u * total).tolist()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("doubling", [False, True])
def test_every_position_of_the_sliders_equals_torch(engine, convention, doubling):
    v8 = engine("cone_explorer")
    for grid in itertools.product(KERNELS, DILATIONS, [doubling], LAYERS, STRIDES, [convention]):
        s = _state(*grid)
        read = _read_by_torch(s)
        field = v8(
            "(({rows, ...rest}) => ({...rest, sum: rows[0].reduce((a, b) => a + b, 0)}))(readState(s))",
            s=s,
        )
        assert (field["past"], field["lookahead"]) == (-read[0], read[-1]), s
        assert (field["size"], field["num_inputs"]) == (read[-1] - read[0] + 1, len(read)), s
        assert field["holes"] == field["size"] - field["num_inputs"], s
        assert field["sum"] == sum(read), s
        if len(read) < 3000:
            assert v8("readState(s).rows[0]", s=s) == read, s


def test_every_position_of_the_sliders_equals_the_declared_field(engine):
    v8 = engine("cone_explorer")
    for grid in itertools.product(KERNELS, DILATIONS, [False, True], LAYERS, (1, 2), CONVENTIONS):
        s = _state(*grid)
        if s["kernel_size"] ** s["layers"] > 800:
            continue  # sets of thousands of inputs: torch has checked them above
        cone = ConeExplorer(
            **{key: s[key] for key in ("kernel_size", "dilation", "doubling", "layers", "stride", "convention")}
        )
        field = v8("(({rows, ...rest}) => rest)(readState(s))", s=s)
        assert field == {
            "past": cone.field.past,
            "lookahead": cone.field.lookahead,
            "size": cone.field.size,
            "num_inputs": cone.field.num_inputs,
            "holes": cone.field.holes,
            "stride": cone.field.stride,
            "parameters": cone.parameters,
        }, s


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_input_reaches_exactly_the_outputs_that_read_it(engine, convention):
    v8 = engine("cone_explorer")
    for grid in itertools.product((1, 2, 3, 5), (1, 3), [False, True], (1, 2, 3), STRIDES, [convention]):
        s = _state(*grid)
        offsets = v8("readState(s).rows[0]", s=s)
        total = s["stride"] ** s["layers"]
        for i in range(-4, 5):
            reached = v8("walkUp(s, i).at(-1)", s=s, i=i)
            assert reached == sorted((i - offset) // total for offset in offsets if (i - offset) % total == 0), (s, i)


def test_parameters_are_those_of_torch(engine):
    s = _state(3, 2, True, 4, 1, "strict")
    net = torch.nn.Sequential(*(torch.nn.Conv1d(64, 64, 3) for _ in range(4)))
    assert engine("cone_explorer")("readState(s).parameters", s=s) == sum(p.numel() for p in net.parameters())


def test_a_setting_from_an_address_is_brought_inside_its_limits(engine):
    wild = _state(1e9, -3, True, 99, 2.4, "??") | {"rate_hz": None, "at": 1e12}
    s = engine("cone_explorer")("figure.settled(s)", s=wild)
    assert (s["kernel_size"], s["dilation"], s["layers"], s["stride"]) == (7, 1, 6, 2)
    assert (s["convention"], s["rate_hz"]) == ("strict", 100)


def test_a_wrong_argument_names_the_right_ones():
    with pytest.raises(TypeError, match=r"has no 'kernel'; it has .*kernel_size"):
        ConeExplorer(kernel=3)
    with pytest.raises(ValueError, match="'depth'; this figure has kernel_size"):
        ConeExplorer(controls=("depth",))
