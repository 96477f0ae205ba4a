"""A delay: frames come later, in every way of running it, and its field lies in the past."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from causalcnn import CausalConv1d, Field, audit, check_contract
from causalcnn.nn import CausalSequential, Delay


def example(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@given(st.integers(1, 9), st.integers(0, 12))
def test_frames_come_later_and_zeros_first(frames, time):
    x = example(2, 3, time)
    y = Delay(frames)(x)
    assert torch.equal(y, torch.cat([x.new_zeros(2, 3, frames), x], 2)[:, :, :time])


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_it_keeps_the_contract(frames):
    report = check_contract(Delay(frames).double(), example(2, 3, 12))
    assert report.field == Field.window([-frames])
    assert report.field.lookahead == -frames


def test_it_is_certified_and_composes():
    layers = CausalSequential(Delay(2), CausalConv1d(1, 1, 3, dilation=2))
    assert audit(layers, (1, 1, 24)).passed
    assert layers.field == Field.window([-6, -4, -2])
    check_contract(layers.double(), example(2, 1, 16))


def test_a_delay_that_declares_too_much_of_the_past_is_found():
    class Late(Delay):
        field = Field.window([-2])  # it gives what was one frame ago

    with pytest.raises(AssertionError, match="a changed future from frame 1 on moves output 2"):
        check_contract(Late(1).double(), example(2, 3, 12))


def test_a_state_goes_on():
    layer, x = Delay(3), example(1, 2, 10)
    stream = layer.stream()
    first = stream(x[:, :, :4])
    again = layer.stream(stream.state)
    assert torch.equal(torch.cat([first, again(x[:, :, 4:])], 2), layer(x))


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="frames is 0"):
        Delay(0)
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 4\); a delay takes \(batch, channels, time\)"):
        Delay(1)(torch.zeros(1, 2, 3, 4))
    stream = Delay(1).stream()
    stream(torch.zeros(1, 2, 1))
    with pytest.raises(ValueError, match=r"a frame has shape \(1, 3\); this stream takes \(1, 2\)"):
        stream(torch.zeros(1, 3, 1))
