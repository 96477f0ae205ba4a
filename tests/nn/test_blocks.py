"""Everything that is built of layers keeps the contract, too: transposes, pools, skips, branches, encoders."""

import copy
import io
import os
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from causalcnn import Field, check_contract
from causalcnn.nn import (
    CausalAvgPool1d,
    CausalConv1d,
    CausalConv2d,
    CausalConvTranspose1d,
    CausalConvTranspose2d,
    CausalMaxPool1d,
    CausalSequential,
    Encoder,
    FrameNorm,
    MultiStackEncoder,
    Parallel,
    Pointwise,
    Residual,
    ResidualBlock1d,
    ResidualBlock2d,
    ResidualStack,
)
from tests.fuzz import examples


def x1(channels=3, frames=24):
    return torch.randn(2, channels, frames, dtype=torch.float64)


@given(st.integers(1, 7), st.integers(1, 5), st.booleans())
def test_transposed_1d(kernel, stride, bias):
    layer = CausalConvTranspose1d(2, 3, kernel, stride=stride, bias=bias).double()
    x = x1(2, 9)
    check_contract(layer, x)
    y = layer(x)
    assert y.shape == (2, 3, 9 * stride)
    plain = F.conv_transpose1d(x, layer.weight, layer.bias, stride)[:, :, : 9 * stride]
    torch.testing.assert_close(y[:, :, : plain.shape[2]], plain, rtol=1e-12, atol=1e-12)


@given(st.tuples(st.integers(1, 4), st.integers(1, 5)), st.tuples(st.integers(1, 3), st.integers(1, 2)))
@settings(max_examples=examples(25))
def test_transposed_2d(kernel, stride):
    layer = CausalConvTranspose2d(1, 2, kernel, stride=stride).double()
    check_contract(layer, torch.randn(2, 1, 6, 5, dtype=torch.float64))


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(["strict", "block"]), st.booleans())
@settings(max_examples=examples(30))
def test_pools(kernel, stride, convention, largest):
    pool = (CausalMaxPool1d if largest else CausalAvgPool1d)(kernel, stride=stride, convention=convention)
    check_contract(pool, x1())


@pytest.mark.parametrize(
    "network",
    [
        FrameNorm(3),
        Pointwise(nn.ReLU()),
        ResidualBlock1d(3, dilations=(3, 2)),
        ResidualStack(3, blocks=5, dilations=(3, 2)),
        Encoder(3, 4, 2, dilation=3),
        MultiStackEncoder(3, 4, 2),
        MultiStackEncoder(3, 2, 2, kernel_sizes=(3, 5), combine="concat"),
        MultiStackEncoder(3, 2, 2, kernel_sizes=(3, 5), combine="every_layer"),
        CausalSequential(CausalConv1d(3, 4, 4, stride=2), ResidualBlock1d(4), CausalConvTranspose1d(4, 3, 4, stride=2)),
        CausalSequential(CausalConv1d(3, 4, 4, stride=4, convention="block"), CausalConvTranspose1d(4, 3, 4, stride=4)),
        Parallel(CausalConv1d(3, 2, 3, stride=2), CausalConv1d(3, 2, 5, stride=2), combine="concat"),
        Parallel(nn.Identity(), CausalConv1d(3, 3, 5)),
    ],
    ids=lambda network: type(network).__name__,
)  # fmt: skip
def test_networks_keep_the_contract(network):
    check_contract(network.double(), x1())


@pytest.mark.parametrize(
    "network",
    [
        ResidualBlock2d(2, dilation=(3, 1)),
        CausalSequential(
            CausalConv2d(2, 3, (3, 4), stride=(1, 2), frequency_padding=1), nn.ReLU(), ResidualBlock2d(3),
            CausalConvTranspose2d(3, 2, (1, 4), stride=(1, 2), frequency_padding=1),
        ),
        CausalSequential(FrameNorm(2)),
    ],
    ids=["block", "down and up", "norm"],
)  # fmt: skip
def test_networks_over_frequency_keep_the_contract(network):
    check_contract(network.double(), torch.randn(2, 2, 12, 8, dtype=torch.float64))


def test_a_composed_look_ahead_is_stated():
    field = CausalSequential(
        CausalConv1d(1, 1, 4, stride=4, convention="block"), CausalConvTranspose1d(1, 1, 4, stride=4)
    ).field
    assert [int(max(field.inputs_of(t)) - t) for t in range(4)] == [3, 2, 1, 0]
    assert field.lookahead == 3


def test_a_skip_adds_the_present():
    late = CausalConv1d(2, 2, 2, dilation=4)
    assert Residual(late).field == late.field | Field.identity()
    assert ResidualBlock1d(2, dilations=(3, 2)).field.size == 11
    with pytest.raises(ValueError, match="stride 2"):
        Residual(CausalConv1d(2, 2, 3, stride=2))


def test_the_encoders_of_the_note():
    """Kernel 3: the field's size and the inputs touched, for dilation 1, 3, and for stacks of them."""
    one, three = Encoder(1, 1, 1).field, Encoder(1, 1, 1, dilation=3).field
    assert (one.size, one.holes) == (9, 0)
    assert (three.size, three.num_inputs, three.holes) == (25, 9, 16)
    added = MultiStackEncoder(1, 1, 1).field
    assert added == one | three
    assert added.holes == 10
    assert MultiStackEncoder(1, 1, 1, combine="every_layer").field.holes == 2


def test_streams_of_branching_networks_save_and_resume():
    network = MultiStackEncoder(3, 4, 2, combine="every_layer").double()
    x = x1()
    stream = network.stream()
    first = [stream(piece) for piece in torch.split(x[:, :, :13], 1, dim=2)]
    file = io.BytesIO()
    torch.save(stream.state, file)
    file.seek(0)
    resumed = network.stream(state=torch.load(file, weights_only=True))
    y = torch.cat([*first, resumed(x[:, :, 13:])], dim=2)
    torch.testing.assert_close(y, network(x), rtol=1e-12, atol=1e-12)
    resumed.reset_rows([0])
    torch.testing.assert_close(resumed(x)[:1], network(x)[:1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))])
def test_a_copied_stream_goes_on_by_itself(copied):
    torch.manual_seed(0)
    network = CausalSequential(CausalConv1d(2, 3, 3, dilation=2), nn.ReLU(), Residual(CausalConv1d(3, 3, 2))).eval()
    x = torch.randn(1, 2, 14)
    stream = network.stream()
    for t in range(5):
        stream(x[:, :, t : t + 1])
    other = copied(stream)
    stream(torch.full((1, 2, 1), 9.0))  # what the one hears, the other does not
    heard = torch.cat([other(x[:, :, t : t + 1]) for t in range(5, 14)], 2)
    torch.testing.assert_close(heard, network(x)[:, :, 5:])


def test_a_whole_sequence_is_run_layer_by_layer(monkeypatch):
    """Not as a step from a state of zeros, which would be copied in front of every layer."""
    network = Encoder(2, 3, 4, blocks=2).eval()
    x = torch.randn(1, 2, 9)
    expected = network.step(x, network.initial_state(x))[0]
    for layer in network.modules():
        monkeypatch.setattr(layer, "step", None, raising=False)
    torch.testing.assert_close(network(x), expected)


def test_step_goes_through_export():
    network = Encoder(3, 4, 2, dilation=2).eval()
    state = network.initial_state(torch.zeros(1, 3, 0))

    class OneFrame(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x, state):
            return self.network.step(x, state)

    program = torch.export.export(OneFrame(), (torch.zeros(1, 3, 1), state))
    x = torch.randn(1, 3, 12)
    pieces = []
    for frame in torch.split(x, 1, dim=2):
        y, state = program.module()(frame, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 2), network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.BatchNorm1d(3), "in training it normalises with the mean over the whole recording"),
        (nn.GroupNorm(1, 3), "whole recording, future included"),
        (nn.InstanceNorm1d(3), "whole recording"),
        (nn.LayerNorm(3), "time is one of them"),
        (nn.Conv1d(3, 3, 3), "CausalConv1d"),
        (nn.MaxPool1d(2), "CausalMaxPool1d"),
        (nn.GRU(3, 3), "expects"),
        (nn.Flatten(), "not known to be"),
        (nn.ReLU(inplace=True), "writes into its input"),
    ],
)
def test_what_may_read_the_future_is_refused(module, words):
    with pytest.raises(TypeError, match=words):
        CausalSequential(module)


def down_and_up():
    """Its field has stride 1 and no look-ahead, but its outputs come two at a time."""
    return CausalSequential(CausalConv1d(1, 1, 3, stride=2), CausalConvTranspose1d(1, 1, 4, stride=2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MultiStackEncoder(1, 1, 1, combine="sum"), "'every_layer'"),
        (lambda: Parallel(CausalConv1d(1, 1, 1), CausalConv1d(1, 1, 2, stride=2)), "different times"),
        (lambda: Parallel(CausalConv1d(1, 1, 1), down_and_up()), "different times"),
        (lambda: Residual(down_and_up()), "once in 2 frames"),
        (lambda: Parallel(), "at least one branch"),
        (lambda: Parallel(nn.ReLU(), combine="max"), "'add' or 'concat'"),
        (lambda: ResidualStack(2, blocks=0), "blocks is 0"),
        (lambda: CausalConvTranspose1d(1, 1, 0), "kernel_size is 0"),
        (lambda: CausalMaxPool1d(0), "kernel_size is 0"),
        (lambda: FrameNorm(0), "channels is 0"),
        (lambda: CausalMaxPool1d(2)(torch.zeros(3, 4)), "batch, channels, time"),
        (lambda: CausalConvTranspose1d(1, 1, 2)(torch.zeros(1, 2, 3)), "1 channels"),
    ],
)
def test_errors_name_the_value_and_the_way_out(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def resident_bytes():
    with open("/proc/self/statm") as status:
        return int(status.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from /proc")
def test_a_million_frames_in_flat_memory():
    """One frame at a time, for 10⁶ frames: the same numbers as offline, and no memory that grows."""
    network = CausalSequential(CausalConv1d(2, 3, 3, dilation=4), nn.ReLU(), Residual(CausalConv1d(3, 3, 2))).double()
    x = torch.randn(1, 2, 1_000_000, dtype=torch.float64)
    with torch.no_grad():
        offline = network(x)
    stream, worst, early = network.stream(), 0.0, 0
    for t, frame in enumerate(x.split(1, dim=2)):
        y = stream(frame)
        if t % 997 == 0:
            worst = max(worst, (y[:, :, 0] - offline[:, :, t]).abs().max().item())
        if t == 200_000:
            early = resident_bytes()
    assert worst < 1e-12
    assert resident_bytes() - early < 8 * 2**20
