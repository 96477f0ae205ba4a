"""What does not fit is said, and never spread over all: channels, cells, rows, and times that are not the same."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from causalcnn import CausalConv1d, CausalConv2d, check_contract
from causalcnn.nn import (
    CausalConvTranspose1d,
    CausalConvTranspose2d,
    CausalMaxPool1d,
    CausalSequential,
    Delay,
    FrameNorm,
    MultiStackEncoder,
    Parallel,
    Residual,
    ResidualBlock1d,
    VectorQuantizer,
)


@pytest.mark.parametrize("shape", [(2, 1, 5), (2, 4, 5), (8, 5), (2, 1, 5, 8), (8,), (2, 1)])
@pytest.mark.parametrize("run", [lambda m, x: m(x), lambda m, x: m.step(x, ()), lambda m, x: m.stream()(x)])
def test_a_norm_takes_its_channels_only(shape, run):
    with pytest.raises(ValueError, match=r"takes 8 channels on axis 1"):
        run(FrameNorm(8), torch.zeros(shape))


def test_a_compiled_norm_takes_its_channels_only():
    with pytest.raises(ValueError, match="takes 1 channels"):
        FrameNorm(1).stream(engine="compiled")(torch.zeros(1, 8, 1))


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (CausalConv1d(8, 1, 3), (2, 8, 5)),
        (CausalConv1d(1, 8, 3), (2, 1, 5)),
        (CausalConv1d(8, 4, 3), (2, 8, 5)),
        (CausalConv2d(1, 1, (3, 8), frequency_padding=0), (2, 1, 5, 8)),
        (CausalConv2d(1, 1, 3, stride=(1, 2)), (2, 1, 5, 8)),
    ],
)
@pytest.mark.parametrize("engine", ["whole", "torch", "compiled"])
def test_a_skip_needs_what_its_body_makes(body, shape, engine):
    network, x = Residual(body), torch.zeros(shape)
    with pytest.raises(ValueError, match="around a skip"):
        network(x) if engine == "whole" else network.stream(engine=engine)(x[:, :, :1])


def test_branches_that_speak_at_different_times_are_refused_when_they_do():
    late = CausalConv1d(2, 2, 4, stride=4, convention="block")
    early = CausalSequential(CausalConv1d(2, 2, 2, stride=2, convention="block"), CausalConv1d(2, 2, 2, stride=2))
    network = Parallel(early, late)
    with pytest.raises(ValueError, match="at different times"):
        network(torch.zeros(1, 2, 23))
    with pytest.raises(ValueError, match="at different times"):
        check_contract(network, torch.randn(2, 2, 24))


def test_branches_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=re.escape("make (2, 1, 5), (2, 8, 5)")):
        Parallel(CausalConv1d(8, 1, 3), CausalConv1d(8, 8, 3))(torch.zeros(2, 8, 5))


@pytest.mark.parametrize("rows", [[], torch.tensor([]), torch.tensor([], dtype=torch.bool), np.array([])])
def test_no_row_may_be_reset(rows):
    layer, x = CausalConv1d(4, 4, 3), torch.randn(2, 4, 5)
    state = layer.step(x, layer.initial_state(x))[1]
    if len(rows) or getattr(rows, "dtype", None) is not torch.bool:
        assert torch.equal(layer.reset_rows(state, rows, x), state)
    for engine in ("torch", "compiled"):
        stream = layer.stream(engine=engine)
        stream(x)
        stream.reset_rows([])
        assert torch.equal(stream.state, state)


@pytest.mark.parametrize("rows", [[2], [-3], [0.5], torch.ones(3, dtype=torch.bool)])
def test_a_row_that_is_not_there_is_said(rows):
    layer, x = CausalConv1d(4, 4, 3), torch.randn(2, 4, 5)
    with pytest.raises(ValueError, match="this state has 2"):
        layer.reset_rows(layer.initial_state(x), rows, x)


@pytest.mark.parametrize("as_integer", [int, np.int64, np.uint8, np.array, torch.tensor])
def test_whatever_is_an_integer_is_one(as_integer):
    """And it is kept as Python's, so that it prints, pickles and compiles as such."""
    one, two, three = map(as_integer, (1, 2, 3))
    layers = [
        CausalConv1d(two, two, three, stride=one, dilation=two, groups=two),
        CausalConv2d(two, two, three, stride=(one, two), dilation=one, frequency_padding=(one, two)),
        CausalConvTranspose1d(two, two, three, stride=two, dilation=one),
        CausalConvTranspose2d(two, two, (three, two), stride=two, frequency_padding=one),
        CausalMaxPool1d(three, one),
        Delay(two),
        FrameNorm(two),
        VectorQuantizer(three, two),
        ResidualBlock1d(two, three, dilations=(one, two), hidden=three),
    ]
    for layer in layers:
        for module in layer.modules():
            for name, value in vars(module).items():
                for number in value if isinstance(value, tuple) else (value,):
                    assert not isinstance(number, np.generic | np.ndarray), (type(module), name)


def test_dilations_may_come_from_numpy():
    assert [CausalConv1d(2, 2, 3, dilation=d).field.past for d in 2 ** np.arange(4)] == [2, 4, 8, 16]
    MultiStackEncoder(4, 4, 4, kernel_sizes=np.array([3, 5]), dilations=2 ** np.arange(2))


@pytest.mark.parametrize("value", [2.0, "3", None, np.float64(2), np.array([1, 2, 3]), (1, 2, 3), nn.ReLU()])
@pytest.mark.parametrize("make", [lambda v: CausalConv1d(2, 2, v), lambda v: CausalConv2d(2, 2, v), FrameNorm])
def test_what_is_no_integer_is_said(make, value):
    with pytest.raises(ValueError, match=r"(kernel_size|channels) is .*; it must be an integer"):
        make(value)
