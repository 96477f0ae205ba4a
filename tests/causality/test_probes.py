"""Measured fields of networks that hide what they read: gates that saturate, one module in two places."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from causalcnn import CausalConv1d, CausalModule, Field, check_contract, measure_field
from causalcnn.causality import LINEAR_COPIES, positive_copy
from causalcnn.nn import CausalAvgPool1d


class Gated(CausalModule):
    """A gate written as a function, as most people write it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value, self.gate = (CausalConv1d(channels, channels, 2) for _ in range(2))

    @property
    def field(self) -> Field:
        return self.value.field | self.gate.field

    def initial_state(self, x):
        return self.value.initial_state(x), self.gate.initial_state(x)

    def step(self, x, state):
        (value, a), (gate, b) = self.value.step(x, state[0]), self.gate.step(x, state[1])
        return torch.tanh(value) * torch.sigmoid(gate), (a, b)


class GatedAndNormed(nn.Module):
    def __init__(self, norm, channels: int) -> None:
        super().__init__()
        self.value, self.gate = (norm(nn.Conv1d(channels, channels, 2)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 0))
        return torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x))


def test_a_gate_over_many_channels_does_not_saturate():
    assert measure_field(Gated(32), torch.zeros(1, 32, 6))[(4,)] == {3, 4}
    x = torch.randn(2, 32, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    check_contract(Gated(32).double(), x)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm], ids=["old", "new"])
def test_nor_does_one_whose_weights_are_normed(norm):
    net = GatedAndNormed(norm, 512)
    assert measure_field(net, torch.zeros(1, 512, 3))[(1,)] == {0, 1}
    assert "weight" not in dict(net.value.named_parameters())  # the copy alone was changed


def test_gradients_through_a_deep_network_stay_far_above_zero():
    deep = nn.Sequential(*(Gated(8) for _ in range(30)))
    twin = positive_copy(deep)
    x = torch.ones(1, 8, 31, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(twin(x)[:, :, -1].sum(), x)
    assert gradient.dtype == torch.float64
    assert gradient.abs().min() > 1e-100


@pytest.mark.parametrize("layer", [nn.ConvTranspose1d(256, 1, 1), nn.Conv1d(256, 1, 1), nn.Linear(8, 1)])
def test_what_a_weight_adds_up_stays_near_one(layer):
    twin = positive_copy(layer)
    x = torch.ones(1, 8 if isinstance(layer, nn.Linear) else 256, 8, dtype=torch.float64)
    assert 0.5 < twin(x).min() <= twin(x).max() < 3.1


def test_one_pool_in_two_places_is_opened_in_both():
    pool = nn.MaxPool1d(3, 1, 1)
    assert measure_field(nn.Sequential(pool, pool), torch.zeros(1, 1, 10))[(5,)] == {3, 4, 5, 6, 7}
    inner = nn.Sequential(pool, nn.ReLU())
    twin = positive_copy(nn.Sequential(inner, inner, pool))
    assert twin[0] is twin[1]
    assert twin[0][0] is twin[2]


def test_a_weight_in_two_places_is_drawn_once_and_stays_shared():
    first, second = nn.Conv1d(4, 4, 1), nn.Conv1d(4, 4, 1)
    second.weight = first.weight
    twin = positive_copy(nn.Sequential(first, second))
    assert twin[0].weight is twin[1].weight


RECURRENT = {
    "GRU": nn.GRU(2, 3),
    "GRU, rows first": nn.GRU(2, 3, batch_first=True),
    "GRU in both directions, without biases": nn.GRU(2, 3, bias=False, bidirectional=True),
    "LSTM of two layers": nn.LSTM(2, 3, num_layers=2),
    "LSTM in both directions, projected": nn.LSTM(2, 4, num_layers=2, bidirectional=True, proj_size=3),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_layer_without_gates_reads_what_it_reads_with_them(name):
    """Measured, not trusted: each output and each last state depends on the same steps and first states."""
    rnn = RECURRENT[name].double()
    drawn = torch.Generator().manual_seed(0)
    first = rnn(torch.zeros(6, 6, 2, dtype=torch.float64))[1]
    start = pytree.tree_map(lambda part: torch.randn(part.shape, generator=drawn, dtype=part.dtype), first)
    sources = [torch.randn(6, 6, 2, generator=drawn, dtype=torch.float64), *pytree.tree_leaves(start)]

    def supports(network):
        y, last = network(sources[0], pytree.tree_unflatten(sources[1:], pytree.tree_structure(start)))
        steps = y.unbind(1 if rnn.batch_first else 0)
        found = []
        for output in (*steps, *(state for part in pytree.tree_leaves(last) for state in part)):
            gradients = torch.autograd.grad(output.sum(), sources, retain_graph=True, allow_unused=True)
            found.append((output.shape, [gradient is not None and gradient != 0 for gradient in gradients]))
        return found

    for source in sources:
        source.requires_grad_()
    for (shape, with_gates), (same, without) in zip(supports(rnn), supports(positive_copy(rnn)), strict=True):
        assert shape == same
        assert all(
            torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(with_gates, without, strict=True)
        )


@pytest.mark.parametrize("name", RECURRENT)
def test_it_takes_packed_sequences_and_single_rows_too(name):
    rnn = positive_copy(RECURRENT[name])
    time = 1 if rnn.batch_first else 0
    x = torch.randn(6, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).transpose(0, time)
    y, state = rnn(x)
    single, of_single = rnn(x.squeeze(1 - time))
    packed, of_packed = rnn(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([6]), rnn.batch_first))
    assert torch.equal(y.squeeze(1 - time), single)
    assert torch.equal(y, nn.utils.rnn.pad_packed_sequence(packed, rnn.batch_first)[0])
    for a, b, c in zip(*map(pytree.tree_leaves, (state, of_single, of_packed)), strict=True):
        assert torch.equal(a.squeeze(1), b)
        assert torch.equal(a, c)


def test_the_field_of_a_gru_is_measured_as_it_is_declared():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(2, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            self.rnn.flatten_parameters()
            state = x.new_zeros(1, x.shape[0], self.rnn.hidden_size)
            return self.rnn(x.transpose(1, 2), state)[0].transpose(1, 2)

    measured = measure_field(Own(), torch.zeros(1, 2, 40))
    assert all(measured[(u,)] == Field.all_past().inputs_of(u, within=range(40)) for u in range(40))


def test_users_enter_their_own_classes(monkeypatch):
    class Loudest(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool1d(F.pad(x, (2, 0)), 3, 1)

    monkeypatch.setitem(LINEAR_COPIES, Loudest, lambda loudest: CausalAvgPool1d(3, stride=1))
    assert measure_field(nn.Sequential(Loudest()), torch.zeros(1, 1, 8))[(5,)] == {3, 4, 5}
