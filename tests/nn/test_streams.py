"""The fast streams of layers with a window in time are ``step``, whatever the layer, the pieces and the rows."""

import copy
import pickle

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from causalcnn import CausalConv1d, CausalConv2d
from causalcnn.nn import (
    CausalAvgPool1d,
    CausalConvTranspose1d,
    CausalConvTranspose2d,
    CausalMaxPool1d,
    CausalSequential,
    Residual,
)
from causalcnn.nn.streams import ConvStream, PoolStream, RingStream
from tests.fuzz import examples

CHANNELS, FREQUENCIES = 4, 7
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2}
conventions = st.sampled_from(["strict", "block"])


@st.composite
def layers(draw):
    """Any layer with a window in time."""

    def size(most):
        return draw(st.integers(1, most))

    def pair(first, second):
        return draw(st.tuples(st.integers(1, first), st.integers(1, second)))

    channels = CHANNELS, draw(st.sampled_from([2, 4]))
    shared = {"bias": draw(st.booleans()), "groups": draw(st.sampled_from([1, 1, 2]))}
    kind = draw(st.sampled_from(["conv1d", "conv2d", "transpose1d", "transpose2d", "pool"]))
    if kind == "conv1d":
        return CausalConv1d(
            *channels, size(5), stride=size(4), dilation=size(4), convention=draw(conventions), **shared
        )
    if kind == "conv2d":
        return CausalConv2d(
            *channels, pair(4, 4), stride=pair(3, 3), dilation=pair(3, 2), convention=draw(conventions),
            frequency_padding=draw(st.sampled_from(["same", 0, 2, (3, 0), (0, 1)])), **shared,
        )  # fmt: skip
    if kind == "transpose1d":
        return CausalConvTranspose1d(*channels, size(6), stride=size(4), dilation=size(3), **shared)
    if kind == "transpose2d":
        return CausalConvTranspose2d(
            *channels, pair(4, 5), stride=pair(3, 3), dilation=pair(2, 2), frequency_padding=draw(st.integers(0, 2)),
            **shared,
        )  # fmt: skip
    pool = draw(st.sampled_from([CausalMaxPool1d, CausalAvgPool1d]))
    return pool(size(5), stride=size(5), convention=draw(conventions))


@given(
    layer=layers(), rows=st.integers(1, 3), dtype=st.sampled_from([*TOLERANCES]), turned=st.booleans(),
    pieces=st.lists(st.sampled_from([0, 1, 1, 1, 1, 2, 3, 4, 5, 9]), min_size=1, max_size=14),
)  # fmt: skip
@settings(max_examples=examples(150))
def test_a_stream_is_step_after_every_piece_and_they_may_take_turns(layer, rows, dtype, turned, pieces):
    layer, tolerance = layer.to(dtype), TOLERANCES[dtype]
    frequency = (FREQUENCIES,) if isinstance(layer, CausalConv2d | CausalConvTranspose2d) else ()
    x = torch.randn(rows, CHANNELS, 0, *frequency, dtype=dtype)
    stream, state = layer.stream(), layer.initial_state(x)
    for number, frames in enumerate(pieces):
        x = torch.randn(rows, CHANNELS, frames, *frequency, dtype=dtype)
        if turned:  # channels last in memory
            x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        with torch.no_grad():
            y, state = layer.step(x, state)
        torch.testing.assert_close(stream(x), y, rtol=tolerance, atol=tolerance)
        assert torch.equal(stream.state, state)
        if number % 3 == 2:  # go on from what the other remembers
            stream, state = layer.stream(state), stream.state


@given(layer=layers(), before=st.integers(0, 5), after=st.integers(1, 9))
@settings(max_examples=examples(50))
def test_a_row_that_is_reset_begins_anew_in_a_stream_as_in_step(layer, before, after):
    layer = layer.double()
    frequency = (FREQUENCIES,) if isinstance(layer, CausalConv2d | CausalConvTranspose2d) else ()
    x = torch.randn(3, CHANNELS, before * layer.field.advance[0] + after, *frequency, dtype=torch.float64)
    head, tail = x.split([x.shape[2] - after, after], dim=2)
    stream = layer.stream()
    stream(head)
    stream.reset_rows([1])
    with torch.no_grad():
        want = layer.step(head, layer.initial_state(x))[1]
        want, _ = layer.step(tail, layer.reset_rows(want, [1], x))
        alone = layer(tail[1:2])
    got = torch.cat([stream(frame) for frame in tail.split(1, dim=2)], dim=2)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got[1:2], alone, rtol=1e-12, atol=1e-12)


@st.composite
def chains(draw, depth=2):
    """Layers in series at one number of channels, ReLUs and skips among them."""
    parts = []
    for kind in draw(st.lists(st.sampled_from("crisup" + "b" * (depth > 0)), min_size=1, max_size=5)):
        kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        if kind == "b":  # a body of a skip keeps the rate
            body = draw(chains(depth=0).filter(lambda chain: chain.field.advance[0] == chain.field.stride == 1))
            parts.append(Residual(body))
        else:
            parts.append({
                "c": lambda k=kernel, d=dilation: CausalConv1d(CHANNELS, CHANNELS, k, dilation=d),
                "s": lambda k=kernel: CausalConv1d(CHANNELS, CHANNELS, k + 1, stride=2),
                "u": lambda k=kernel: CausalConvTranspose1d(CHANNELS, CHANNELS, k, stride=2),
                "p": lambda k=kernel: CausalMaxPool1d(k, stride=1),
                "r": nn.ReLU,
                "i": nn.Identity,
            }[kind]())  # fmt: skip
    return CausalSequential(*parts)


@given(chain=chains(), rows=st.integers(1, 2), pieces=st.lists(st.sampled_from([0, 1, 1, 1, 2, 3, 6]), max_size=12))
@settings(max_examples=examples(100))
def test_a_chain_is_step_whatever_its_layers_share(chain, rows, pieces):
    # A ReLU is done inside the layer after it, and a layer may write over its last output where the next copies it.
    chain = chain.double()
    x = torch.randn(rows, CHANNELS, 0, dtype=torch.float64)
    stream, state, outputs, wanted = chain.stream(), chain.initial_state(x), [], []
    for number, frames in enumerate(pieces):
        x = torch.randn(rows, CHANNELS, frames, dtype=torch.float64)
        with torch.no_grad():
            y, state = chain.step(x, state)
        before = x.clone()
        outputs.append(stream(x))
        wanted.append(y)
        assert torch.equal(x, before)
        torch.testing.assert_close(stream.state, state, rtol=1e-12, atol=1e-12)
        if number == 4:
            stream = copy.deepcopy(stream)
        elif number == 7:
            stream = pickle.loads(pickle.dumps(stream))
    torch.testing.assert_close(outputs, wanted, rtol=1e-12, atol=1e-12)  # after all: none was written over


def test_a_hook_of_a_relu_is_called_in_a_stream():
    relu, seen = nn.ReLU(), []
    relu.register_forward_hook(lambda module, inputs, output: seen.append(output.numel()))
    stream = CausalSequential(relu, CausalConv1d(2, 2, 3)).stream()
    stream(torch.randn(1, 2, 1)), stream(torch.randn(1, 2, 3))
    assert seen == [2, 6]


def test_which_stream_a_layer_has():
    assert type(CausalConv2d(2, 2, (3, 4), stride=2).stream()) is RingStream
    assert type(CausalConvTranspose1d(2, 2, 4, stride=2).stream()) is RingStream
    assert type(CausalMaxPool1d(2).stream()) is PoolStream
    assert type(CausalConv1d(2, 2, 3, groups=2).stream()) is ConvStream
    assert type(CausalConv1d(2, 2, 3, stride=4).stream()) is ConvStream  # a window does not hold all that has to wait


def test_what_a_stream_gave_is_not_written_over():
    layer = CausalConv2d(2, 3, 3)
    stream, x = layer.stream(), torch.randn(1, 2, 6, 5)
    torch.testing.assert_close(torch.cat([stream(frame) for frame in x.split(1, dim=2)], 2), layer(x))


def test_a_copy_of_a_stream_goes_on_by_itself_over_frequency():
    layer = CausalConv2d(2, 3, 3).double()
    x = torch.randn(2, 2, 6, 5, dtype=torch.float64)
    for copied in (copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))):
        stream = layer.stream()
        stream(x[:, :, :1]), stream(x[:, :, 1:2])
        twin = copied(stream)
        stream(torch.ones_like(x[:, :, :1]))
        torch.testing.assert_close(twin(x[:, :, 2:3]), layer(x)[:, :, 2:3], rtol=1e-12, atol=1e-12)
