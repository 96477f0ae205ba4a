"""The causal convolutions keep the contract, over kernel × dilation × stride × convention × chunks."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from causalcnn import CausalConv1d, CausalConv2d, Convention, Field, check_contract

conventions = st.sampled_from(["strict", "block"])
chunks = st.lists(st.integers(0, 7), min_size=1, max_size=8)


def cuts(sizes, frames):
    """Any list of sizes, made to add up to ``frames``."""
    out, left = [], frames
    for size in sizes:
        out.append(min(size, left))
        left -= out[-1]
    return [*out, left]


@given(
    kernel=st.integers(1, 7), dilation=st.integers(1, 4), stride=st.integers(1, 9), convention=conventions,
    groups=st.sampled_from([1, 2]), bias=st.booleans(), sizes=chunks, double=st.booleans(),
)  # fmt: skip
def test_conv1d_keeps_the_contract(kernel, dilation, stride, convention, groups, bias, sizes, double):
    layer = CausalConv1d(
        2, 4, kernel, dilation=dilation, stride=stride, convention=convention, groups=groups, bias=bias
    ).to(torch.float64 if double else torch.float32)
    x = torch.randn(2, 2, 26, dtype=layer.weight.dtype)
    check_contract(layer, x, chunkings=[cuts(sizes, 26), [1] * 26])


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)), dilation=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 3)), convention=conventions, sizes=chunks,
    padding=st.sampled_from(["same", 0, 1, (2, 0)]),
)  # fmt: skip
def test_conv2d_keeps_the_contract(kernel, dilation, stride, convention, sizes, padding):
    layer = CausalConv2d(
        1, 2, kernel, dilation=dilation, stride=stride, convention=convention, frequency_padding=padding
    )
    check_contract(layer, torch.randn(2, 1, 15, 8), chunkings=[cuts(sizes, 15), [1] * 15])


@pytest.mark.slow
@pytest.mark.parametrize("convention", ["strict", "block"])
@pytest.mark.parametrize("stride", range(1, 6))
@pytest.mark.parametrize("dilation", range(1, 5))
@pytest.mark.parametrize("kernel", range(1, 8))
def test_conv1d_over_the_whole_grid(kernel, dilation, stride, convention):
    layer = CausalConv1d(2, 3, kernel, dilation=dilation, stride=stride, convention=convention, dtype=torch.float64)
    check_contract(layer, torch.randn(2, 2, 40, dtype=torch.float64))


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(0, 20))
def test_strict_is_left_padding_and_nothing_else(kernel, dilation, stride, frames):
    layer = CausalConv1d(2, 3, kernel, dilation=dilation, stride=stride, dtype=torch.float64)
    x = torch.randn(2, 2, frames, dtype=torch.float64)
    y = layer(x)
    assert y.shape == (2, 3, -(-frames // stride))
    if frames:
        plain = F.conv1d(F.pad(x, ((kernel - 1) * dilation, 0)), layer.weight, layer.bias, stride, 0, dilation)
        torch.testing.assert_close(y, plain, rtol=1e-12, atol=1e-12)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(0, 20))
def test_block_gives_one_output_for_each_complete_block(kernel, dilation, stride, frames):
    layer = CausalConv1d(1, 1, kernel, dilation=dilation, stride=stride, convention="block")
    assert layer(torch.randn(1, 1, frames)).shape[2] == frames // stride
    assert layer.field.lookahead == stride - 1
    assert layer.field.inputs_of(0) == {stride - 1 - j * dilation for j in range(kernel)}


def test_kernel_of_one_streams():
    layer = CausalConv1d(1, 1, 1)
    stream = layer.stream()
    x = torch.randn(1, 1, 5)
    torch.testing.assert_close(torch.cat([stream(x[:, :, t : t + 1]) for t in range(5)], 2), layer(x))
    assert stream.state.shape[2] == 0


@pytest.mark.parametrize("groups", [1, 3])  # a ring; a buffer
def test_a_stream_runs_forever_in_the_same_memory(groups):
    layer = CausalConv1d(3, 3, 3, dilation=4, stride=2, groups=groups).double()
    x = torch.randn(1, 3, 3000, dtype=torch.float64)
    stream = layer.stream(layer.initial_state(x))

    def held():
        return sum(value.nbytes for value in vars(stream).values() if isinstance(value, torch.Tensor))

    size = held()
    pieces = [stream(piece) for piece in torch.split(x, [7, 1, 2, 600] + [1] * 390 + [2000], dim=2)]
    torch.testing.assert_close(torch.cat(pieces, 2), layer(x), rtol=1e-12, atol=1e-12)
    assert held() == size


def test_a_ring_holds_the_weights_as_they_were_and_never_grows():
    layer = CausalConv1d(3, 2, 3, dilation=4).double()
    x = torch.randn(2, 3, 300, dtype=torch.float64)
    stream = layer.stream()
    y = torch.cat([stream(piece) for piece in torch.split(x, [1, 0, 3, 90, 2] + [1] * 204, dim=2)], 2)
    torch.testing.assert_close(y, layer(x), rtol=1e-12, atol=1e-12)
    assert len(stream._views) <= 3 * 4
    with pytest.raises(ValueError, match="this stream takes"):
        stream(torch.zeros(2, 1, 1, dtype=torch.float64))
    twin = copy.deepcopy(stream)
    frame = torch.randn(2, 3, 1, dtype=torch.float64)
    torch.testing.assert_close(twin(frame), stream(frame))
    with torch.no_grad():
        layer.weight.zero_()
    assert stream(frame).abs().max() > 0.01


def test_a_saved_state_does_not_hold_the_sequence():
    _, state = CausalConv1d(1, 1, 3).step(torch.randn(1, 1, 100_000), torch.zeros(1, 1, 2))
    assert state.untyped_storage().nbytes() == 2 * 4


def test_rows_reset_only_at_block_boundaries():
    layer = CausalConv1d(1, 1, 3, stride=2)
    x = torch.randn(2, 1, 3)
    _, state = layer.step(x, layer.initial_state(x))
    with pytest.raises(ValueError, match="block boundary"):
        layer.reset_rows(state, [0], x)
    stream = layer.stream()
    stream(torch.randn(2, 1, 4))
    stream.reset_rows([1])
    assert stream.state[1].abs().sum() == 0 < stream.state[0].abs().sum()


def test_padding_changes_no_real_frame():
    layer = CausalConv1d(2, 3, 5, dilation=2)
    short, longer = torch.randn(1, 2, 9), torch.randn(1, 2, 14)
    batch = torch.zeros(2, 2, 14)
    batch[0, :, :9], batch[1] = short[0], longer[0]
    torch.testing.assert_close(layer(batch)[:1, :, :9], layer(short))


def test_declared_before_any_data():
    layer = CausalConv1d(4, 4, 3, dilation=9)
    assert layer.field == Field.conv(3, dilation=9)
    assert layer.field.past == 18
    assert layer.convention is Convention.STRICT
    assert "dilation=9" in repr(layer)
    wide = CausalConv2d(1, 2, (3, 4), stride=(1, 2), frequency_padding=1)
    assert wide.field.axis("frequency").inputs_of(0) == {-1, 0, 1, 2}
    assert wide(torch.zeros(1, 1, 5, 80)).shape == (1, 2, 5, 40)


def _then(layer, *pieces):
    """One stream, given these pieces."""
    stream = layer.stream()
    return [stream(piece) for piece in pieces]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CausalConv1d(1, 1, 0), "kernel_size is 0"),
        (lambda: CausalConv1d(1, 1, 3, dilation=0), "dilation is 0"),
        (lambda: CausalConv1d(0, 1, 3), "in_channels is 0"),
        (lambda: CausalConv1d(3, 4, 3, groups=2), "groups is 2"),
        (lambda: CausalConv1d(1, 1, 3, convention="casual"), "'strict' or 'block'"),
        (lambda: CausalConv1d(1, 1, 7, padding_mode="reflect"), "would read 6, 4, 2 frames ahead"),
        (lambda: CausalConv1d(1, 1, 7, padding_mode="circular"), "the last 6 frames"),
        (lambda: CausalConv1d(1, 1, 7, padding_mode="replicate"), "history of zeros"),
        (
            lambda: CausalConv2d(1, 1, (3, 3), frequency_padding=-1),
            "frequency_padding is -1; it must be an integer of at least 0",
        ),
        (lambda: CausalConv2d(1, 1, (3, 3, 3)), "a pair"),
        (lambda: CausalConv1d(2, 1, 3)(torch.zeros(1, 3, 5)), "2 channels"),
        (lambda: CausalConv1d(2, 1, 3)(torch.zeros(3, 5)), "batch, channels, time"),
        (lambda: CausalConv1d(2, 1, 3).step(torch.zeros(1, 2, 5), torch.zeros(1, 2, 1)), "initial_state"),
        (lambda: CausalConv2d(1, 1, (3, 9), frequency_padding=0)(torch.zeros(1, 1, 4, 5)), "spans 9"),
        (lambda: CausalConv2d(1, 1, 3).initial_state(torch.zeros(1, 1, 0)), "batch, channels, time, frequency"),
        (lambda: CausalConv1d(1, 1, 3).initial_state(torch.zeros(1, 1, 0, 80)), "batch, channels, time"),
        (lambda: _then(CausalConv1d(1, 1, 3), torch.zeros(2, 1, 1), torch.zeros(1, 1, 1)), "2 rows"),
        (
            lambda: _then(CausalConv2d(1, 1, 3), torch.zeros(1, 1, 3, 8), torch.zeros(1, 1, 3, 1)),
            "1, 1, 8",
        ),
    ],
)
def test_errors_name_the_value_and_the_way_out(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_streams_refuse_gradients():
    with pytest.raises(RuntimeError, match="step"):
        CausalConv1d(1, 1, 3).stream()(torch.zeros(1, 1, 1, requires_grad=True))
