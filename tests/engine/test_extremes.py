"""Streams at the ends of the numbers: infinite and tiny ones, and a mode of torch that begins in the middle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from causalcnn import CausalConv1d, CausalConv2d
from causalcnn.engine import CannotCompile
from causalcnn.models import WaveNet, WaveNetConfig
from causalcnn.nn import CausalConvTranspose1d, CausalConvTranspose2d, CausalMaxPool1d, Pointwise
from tests.fuzz import examples


def kinds(y: Tensor) -> Tensor:
    """What is finite, +∞, −∞ and NaN."""
    return torch.where(y.isnan(), 2.0, torch.where(y.isinf(), y.sign(), 0.0))


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    place=st.tuples(st.integers(0, 5), st.integers(0, 4)),
    value=st.sampled_from([float("inf"), float("-inf"), float("nan")]),
    transposed=st.booleans(),
    two=st.booleans(),
    engine=st.sampled_from(["torch", "compiled"]),
)
@settings(max_examples=examples(60), deadline=None)
def test_what_is_not_finite_reaches_the_outputs_that_read_it_and_no_other(
    kernel, stride, dilation, place, value, transposed, two, engine
):
    torch.manual_seed(0)
    classes = (CausalConv1d, CausalConvTranspose1d), (CausalConv2d, CausalConvTranspose2d)
    kind = classes[two][transposed]
    sizes = {"kernel_size": kernel, "stride": stride, "dilation": dilation}
    layer = kind(2, 3, **({n: v if two else v[0] for n, v in sizes.items()}))
    x = torch.randn(1, 2, 6, 9 if two else 1)[..., slice(None) if two else 0]
    x[(0, 0, *place[: 1 + two])] = value
    stream = layer.stream(engine=engine)
    with torch.no_grad():
        whole = layer(x)
    streamed = torch.cat([stream(piece).clone() for piece in x.split(1, dim=2)], dim=2)
    assert torch.equal(kinds(streamed), kinds(whole))
    finite = whole.isfinite()
    torch.testing.assert_close(streamed[finite], whole[finite], rtol=1e-4, atol=1e-5)


FUNCTIONS = {"tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "silu": nn.SiLU()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_right_from_the_smallest_number_to_the_largest(name, dtype):
    info = torch.finfo(dtype)
    sizes = torch.logspace(-300, 2.95, 3000, dtype=torch.float64).to(dtype)
    x = torch.cat([-sizes.flip(0), sizes, torch.tensor([0.0, info.smallest_normal]).to(dtype)])
    layer = Pointwise(FUNCTIONS[name])
    streamed, whole = layer.stream(engine="compiled")(x[None, :, None]), layer(x.double()[None, :, None])
    # Relative to each number; what is no normal number has fewer digits.
    error = (streamed.double() - whole).abs() / (whole.abs() + info.smallest_normal)
    assert error.max() < (1e-5 if dtype == torch.float32 else 1e-12)


def test_autocast_that_begins_in_the_middle_is_refused_and_harms_nothing():
    layer, x = CausalConv1d(2, 2, 3), torch.randn(1, 2, 6)
    stream = layer.stream(engine="compiled")
    first = stream(x[:, :, :3])
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(CannotCompile, match="autocast"):
        stream(x[:, :, 3:])
    torch.testing.assert_close(torch.cat([first, stream(x[:, :, 3:])], 2), layer(x))


def test_a_loop_that_draws_refuses_autocast_too():
    sampler = WaveNet(WaveNetConfig(layers=2)).eval().sampler(engine="compiled")
    uniform = sampler.uniform(torch.Generator().manual_seed(0))
    sampler.draw(uniform)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(CannotCompile, match="autocast"):
        sampler.draw(uniform)
    sampler.draw(uniform)


def test_a_pool_of_infinite_values():
    layer, x = CausalMaxPool1d(2, 1), torch.tensor([[[1.0, float("inf"), -float("inf"), float("nan"), 2.0, 3.0]]])
    for engine in ("torch", "compiled"):
        stream = layer.stream(engine=engine)
        y = torch.cat([stream(piece) for piece in x.split(1, dim=2)], 2)
        torch.testing.assert_close(y, layer(x), equal_nan=True)
