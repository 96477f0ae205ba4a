"""Linear copies read what the networks read, and hide nothing of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from causalcnn import measure_field
from causalcnn.causality import LINEAR_COPIES, linearized_copy
from causalcnn.nn import CausalAvgPool1d
from tests.causality.test_probes import Gated


def test_gradients_through_a_deep_network_stay_far_above_zero():
    deep = nn.Sequential(*(Gated(8) for _ in range(30)))
    linear = linearized_copy(deep)
    x = torch.ones(1, 8, 31, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(linear(x)[:, :, -1].sum(), x)
    assert gradient.dtype == torch.float64
    assert gradient.abs().min() > 1e-100


@pytest.mark.parametrize("layer", [nn.ConvTranspose1d(256, 1, 1), nn.Conv1d(256, 1, 1), nn.Linear(8, 1)])
def test_what_a_weight_adds_up_stays_near_one(layer):
    linear = linearized_copy(layer)
    x = torch.ones(1, 8 if isinstance(layer, nn.Linear) else 256, 8, dtype=torch.float64)
    assert 0.5 < linear(x).min() <= linear(x).max() < 3.1


def test_one_pool_in_two_places_is_opened_in_both():
    pool = nn.MaxPool1d(3, 1, 1)
    assert measure_field(nn.Sequential(pool, pool), torch.zeros(1, 1, 10))[(5,)] == {3, 4, 5, 6, 7}
    inner = nn.Sequential(pool, nn.ReLU())
    linear = linearized_copy(nn.Sequential(inner, inner, pool))
    assert linear[0] is linear[1]
    assert linear[0][0] is linear[2]


def test_a_weight_in_two_places_is_drawn_once_and_stays_shared():
    first, second = nn.Conv1d(4, 4, 1), nn.Conv1d(4, 4, 1)
    second.weight = first.weight
    linear = linearized_copy(nn.Sequential(first, second))
    assert linear[0].weight is linear[1].weight


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
    for (shape, with_gates), (same, without) in zip(supports(rnn), supports(linearized_copy(rnn)), strict=True):
        assert shape == same
        assert all(
            torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(with_gates, without, strict=True)
        )


@pytest.mark.parametrize("name", RECURRENT)
def test_it_takes_packed_sequences_and_single_rows_too(name):
    rnn = linearized_copy(RECURRENT[name])
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


def test_users_enter_their_own_classes(monkeypatch):
    class Loudest(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool1d(F.pad(x, (2, 0)), 3, 1)

    monkeypatch.setitem(LINEAR_COPIES, Loudest, lambda loudest: CausalAvgPool1d(3, stride=1))
    assert measure_field(nn.Sequential(Loudest()), torch.zeros(1, 1, 8))[(5,)] == {3, 4, 5}


def test_a_subclass_with_a_forward_of_its_own_stays_as_it_is():
    class Late(nn.Identity):
        def forward(self, x: Tensor) -> Tensor:
            return F.pad(x, (2, 0))[:, :, :-2]

    assert measure_field(Late(), torch.zeros(1, 1, 8))[(5,)] == {3}
