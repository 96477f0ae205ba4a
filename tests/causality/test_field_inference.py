"""The field of any module, known beforehand: right on a thousand random graphs, or an error that says why not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn import CausalConv1d, CausalConv2d, Field
from causalcnn.causality import CannotTrace, NoPeriodicField, receptive_field, trace
from tests.causality.random_graphs import RandomGraph, oracle


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Fn(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Recurrent(nn.Module):
    def __init__(self, cell, **options) -> None:
        super().__init__()
        self.rnn = cell(2, 3, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.transpose(1, 2))[0].transpose(1, 2)


def agrees_with_the_oracle(seed: int) -> None:
    graph = RandomGraph(seed).double()
    x = graph.example()
    try:
        want = oracle(graph, x)
    except RuntimeError:
        return  # this graph leaves no frame of the example
    seen = trace(graph, x)
    got = {place: seen.inputs_of(place if len(place) > 1 else place[0]) for place in want}
    assert got == want, graph.plan
    try:
        field = receptive_field(graph, x, max_frames=512)
    except NoPeriodicField:
        modes = {getattr(node, "padding_mode", "zeros") for node in graph.nodes}
        assert "replicate" in modes, "only copies of an edge frame, read from further in, have no field"
        return
    edge = seen.low | seen.high | seen.side
    for place, found in want.items():
        said = field.inputs_of(place if len(place) > 1 else place[0])
        inside = {c for c in said if 0 <= (c if isinstance(c, int) else c[0]) < 30}
        if len(place) > 1:
            inside = {c for c in inside if 0 <= c[1] < graph.frequencies}
        assert found <= inside, (place, found, inside)
        if not edge[place if len(place) > 1 else (place[0], 0)] and inside == said and "replicate" not in str(graph):
            assert found == inside, (place, found, inside)


@pytest.mark.parametrize("tens", range(10))
def test_a_hundred_random_graphs_agree_exactly_with_the_oracle(tens):
    for seed in range(10 * tens, 10 * tens + 10):
        agrees_with_the_oracle(seed)


WITHOUT_FIELD = (1696, 2990, 4124, 4218, 4658, 4721)
"""Graphs whose traced reads are right, and for which no periodic field is found although no edge frame is copied."""
TOO_LARGE = (1415, 2265, 3779)
"""Graphs whose traced reads are right, and whose field holds a cell that an output far from the edges does not read."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "hundred", [*range(1, 10), *(pytest.param(hundred, marks=pytest.mark.release) for hundred in range(10, 50))]
)
def test_thousands_of_random_graphs_agree_exactly_with_the_oracle(hundred):
    for seed in range(100 * hundred, 100 * hundred + 100):
        if seed not in WITHOUT_FIELD + TOO_LARGE:
            agrees_with_the_oracle(seed)


@pytest.mark.slow
@pytest.mark.release
@pytest.mark.xfail(raises=AssertionError, strict=True, reason="refused, or larger than what is read; never smaller")
@pytest.mark.parametrize("seed", WITHOUT_FIELD + TOO_LARGE)
def test_random_graphs_that_do_not_agree_yet(seed):
    agrees_with_the_oracle(seed)


def test_the_oracle_can_disagree():
    graph = RandomGraph(3).double()
    want = oracle(graph, graph.example())
    other = oracle(RandomGraph(4).double(), RandomGraph(4).example())
    assert want != other


FIELDS = {
    "dilated": (nn.Conv1d(2, 3, 3, dilation=2, stride=2, padding=3), Field.conv(3, dilation=2, stride=2, padding=3)),
    "transposed": (nn.ConvTranspose1d(2, 3, 5, stride=3, padding=2), Field.transposed(5, stride=3, trim=2)),
    "transposed, kernel below stride": (nn.ConvTranspose1d(2, 3, 2, stride=3), Field.transposed(2, stride=3)),
    "replicate": (nn.Conv1d(2, 2, 3, padding=2, padding_mode="replicate"), Field.conv(3)),
    "far past": (Fn(lambda x: x + F.pad(x, (700, 0))[..., : x.shape[2]]), Field.window([0, -700])),
    "far past by slices": (Fn(lambda x: F.pad(x, (200, 0))[..., :-200] + x), Field.window([0, -200])),
    "far past by concatenation": (
        Fn(lambda x: x + torch.cat([torch.zeros(1, 2, 300), x], 2)[..., : x.shape[2]]),
        Field.window([0, -300]),
    ),
    "a kernel longer than the first inputs": (nn.Conv1d(2, 2, 101, padding=100), Field.conv(101)),
    "a symmetric kernel longer than those": (nn.Conv1d(1, 1, 101, padding=50), Field.conv(101, padding=50)),
    "GRU after a long kernel": (
        nn.Sequential(CausalConv1d(2, 2, 3, dilation=30), Recurrent(nn.GRU)),
        Field.conv(3, dilation=30).then(Field.all_past()),
    ),
    "cumulative sum": (Fn(lambda x: x.cumsum(2)), Field.all_past()),
    "GRU": (Recurrent(nn.GRU), Field.all_past()),
    "LSTM of two layers": (Recurrent(nn.LSTM, num_layers=2), Field.all_past()),
    "GRU in both directions": (Recurrent(nn.GRU, bidirectional=True), Field.everything()),
    "GRU after a stride": (
        nn.Sequential(nn.Conv1d(2, 2, 3, stride=2), Recurrent(nn.GRU)),
        Field.conv(3, stride=2, padding=0).then(Field.all_past()),
    ),
    "attention with a mask": (
        Fn(lambda x: F.scaled_dot_product_attention(x.mT, x.mT, x.mT, is_causal=True).mT),
        Field.all_past(),
    ),
    "attention without": (Fn(lambda x: F.scaled_dot_product_attention(x.mT, x.mT, x.mT).mT), Field.everything()),
    "batch norm in training": (nn.BatchNorm1d(2), Field.everything()),
    "batch norm in eval": (nn.BatchNorm1d(2).eval(), Field.identity()),
    "squeeze and excite": (Fn(lambda x: x * x.mean(2, keepdim=True).sigmoid()), Field.everything()),
    "argmin over channels": (Fn(lambda x: F.embedding(x.argmin(1), torch.eye(2)).mT), Field.identity()),
    "one hot codes": (Fn(lambda x: F.one_hot(x.argmin(1), 2).mT.float()), Field.identity()),
    "time before channels": (Fn(lambda x: F.pad(x, (2, 0))[:, :, :-2].transpose(1, 2)), Field.window([-2])),
    "one number for each frame": (Fn(lambda x: x.cumsum(2).mean(1)), Field.all_past()),
    "a closed gate": (Fn(lambda x: x + 0 * x.roll(0)), Field.identity()),
}


@pytest.mark.parametrize("name", FIELDS)
def test_ordinary_modules_have_the_field_that_theory_gives_them(name):
    module, field = FIELDS[name]
    channels = getattr(module, "in_channels", 2)
    assert receptive_field(module, (1, channels, 24)) == field


def test_joint_fields_over_time_and_frequency():
    class Plain(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    for layer in (
        CausalConv2d(1, 2, (3, 3), stride=(2, 2)),
        CausalConv2d(1, 2, (3, 3), dilation=(2, 1), frequency_padding=0),
    ):
        assert receptive_field(Plain(layer), (1, 1, 16, 15)) == layer.field
        assert receptive_field(Plain(layer), (1, 1, 16, 15), axis="time") == layer.field.axis("time")
    narrow = receptive_field(Plain(CausalConv2d(1, 1, (2, 3))), (1, 1, 16, 2))  # all edges: each frequency its own set
    assert narrow.inputs_of((5, 0)) == {(t, f) for t in (4, 5) for f in (0, 1)}
    across = receptive_field(Fn(lambda x: x.mean(3, keepdim=True) + x), (1, 1, 16, 4))
    assert across.inputs_of((9, 2)) == {(9, f) for f in range(4)}
    endless = receptive_field(Fn(lambda x: x.mean(3, keepdim=True).cumsum(2) + x), (1, 1, 16, 4))
    assert endless == Field.product(Field.all_past(), Field.dense(4))


def test_our_layers_are_asked_and_zero_weights_are_read():
    layer = CausalConv1d(1, 1, 3, dilation=4)
    assert receptive_field(layer) == layer.field
    plain = nn.Conv1d(1, 1, 3)
    nn.init.zeros_(plain.weight)
    assert receptive_field(plain) == Field.conv(3, padding=0)


def test_a_masked_kernel_is_not_read_where_it_is_masked():
    class Masked(nn.Conv1d):
        def __init__(self) -> None:
            super().__init__(1, 1, 5, padding=2)
            self.register_buffer("mask", torch.tensor([1.0, 1, 1, 0, 0]).view(1, 1, 5))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv1d(x, self.weight * self.mask, self.bias, padding=2)

    assert receptive_field(Masked(), (1, 1, 20)) == Field.window([-2, -1, 0])


def test_stft_sees_its_window_and_the_sets_of_wav2vec_are_the_known_ones():
    window = torch.hann_window(64)

    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("window", window)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stft(x[:, 0], 64, 16, window=self.window, return_complex=True, center=False).abs()

    field = receptive_field(Spectrum(), (1, 1, 300))
    assert (field.stride, field.size, field.past) == (16, 63, -1)  # a periodic Hann window starts with a zero
    sizes = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
    encoder = nn.Sequential(*(nn.Conv1d(1, 1, k, s) for k, s in sizes))
    field = receptive_field(encoder)
    assert (field.size, field.stride, field.holes) == (400, 320, 0)


REFUSED = {
    "a decision that depends on data": (Fn(lambda x: x if x.sum() > 0 else -x), "_local_scalar_dense"),
    "as many outputs as the data say": (Fn(lambda x: x[:, :, x[0, 0] > 0]), "as the data say"),
    "numbers that leave torch": (Fn(lambda x: torch.from_numpy(x.numpy().copy())), "numpy"),
    "an operation without a rule": (Fn(lambda x: torch.linalg.qr(x)[1]), "no rule"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(name):
    module, word = REFUSED[name]
    deep = nn.Sequential(nn.Conv1d(2, 2, 3), module)
    with pytest.raises(CannotTrace, match=word) as problem:
        receptive_field(deep, (1, 2, 20))
    assert "in 1 (Fn)" in str(problem.value)
    assert "measure_field" in str(problem.value)


@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_reads_that_do_not_repeat_are_refused(mode):
    with pytest.raises(NoPeriodicField, match="measure_field"):
        receptive_field(nn.Conv1d(1, 1, 3, padding=2, padding_mode=mode), max_frames=128)


def test_a_future_hidden_behind_a_recurrent_layer_is_not_overlooked():
    ahead = nn.Sequential(Fn(lambda x: x + F.pad(x, (0, 300))[..., 300:]), Recurrent(nn.GRU))
    with pytest.raises(NoPeriodicField):
        receptive_field(ahead, (1, 2, 24), max_frames=64)


def test_the_field_of_pytorch_tcn():
    tcn = pytest.importorskip("pytorch_tcn")
    net = tcn.TCN(2, [3, 3, 3], kernel_size=3, dilations=[1, 2, 4], causal=True)
    field = receptive_field(net, (1, 2, 40))
    assert (field.past, field.lookahead) == (2 * 2 * (1 + 2 + 4), 0)
    assert receptive_field(tcn.TCN(2, [3, 3], kernel_size=3, causal=False).eval(), (1, 2, 40)).lookahead > 0


def test_running_a_module_leaves_it_as_it_was():
    net = nn.Sequential(nn.Conv1d(1, 1, 3), nn.BatchNorm1d(1))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    assert math.isinf(receptive_field(net, (1, 1, 20)).size)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training
    assert not net[0]._forward_hooks


@pytest.mark.parametrize(
    ("net", "reads"),
    [
        (nn.MaxPool1d(3, 1, 1), {4, 5, 6}),
        (Fn(lambda x: x.index_add(2, torch.arange(11), x[:, :, 1:])), {5, 6}),
        (Fn(lambda x: torch.zeros_like(x).scatter_add(2, torch.arange(12).flip(0).expand(1, 2, 12), x)), {6}),
    ],
    ids=["max-pooling", "index_add", "scatter_add"],
)
def test_torchs_default_dtype_does_not_matter_to_a_trace(net, reads):
    torch.set_default_dtype(torch.float64)
    try:
        assert trace(net, torch.ones(1, 2, 12)).inputs_of(5) == reads
    finally:
        torch.set_default_dtype(torch.float32)
