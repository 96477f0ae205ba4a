"""Measured fields of networks that hide what they read: gates that saturate, one module in two places."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn import CausalConv1d, CausalModule, Field, check_contract, measure_field


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
