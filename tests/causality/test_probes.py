"""Measured fields of networks that hide what they read: gates that saturate, one module in two places."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn import CausalConv1d, CausalModule, Field, check_contract, measure_field
from causalcnn.causality import positive_copy


class Gated(CausalModule):
    """A gate written as a function, as most people write it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value, self.gate = (CausalConv1d(channels, channels, 2) for _ in range(2))

    @property
    def convention(self):
        return self.value.convention

    @property
    def field(self) -> Field:
        return self.value.field | self.gate.field

    def initial_state(self, batch, *frequency):
        return self.value.initial_state(batch), self.gate.initial_state(batch)

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
