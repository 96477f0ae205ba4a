"""The small MelNet: the contract, all of the past, and what cannot be."""

import math

import pytest
import torch

from causalcnn import check_contract
from causalcnn.models.melnet import MelNet, MelNetConfig

SMALL = MelNetConfig(channels=3, layers=2, central=4, mels=5)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.mark.parametrize("layers", [1, 2])
def test_it_keeps_the_contract(layers):
    x = torch.rand(2, 1, 7, 5, dtype=torch.float64) * 2 - 1
    check_contract(MelNet(SMALL.with_(layers=layers)).double(), x)


def test_it_reads_all_the_past_and_what_is_below():
    field = MelNet(MelNetConfig.tiny()).field
    assert (field.past, field.lookahead) == (math.inf, 0)
    assert field.reads((5000, 0), (0, 79))
    assert field.reads((5000, 40), (5000, 39))
    assert not field.reads((5000, 40), (5000, 40))
    assert not field.reads((5000, 40), (5000, 41))


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match=r"layers is 0"):
        MelNetConfig(layers=0)
    with pytest.raises(ValueError, match=r"\(1, 1, 0, 7\).*\(batch, 1, time, 5\)"):
        MelNet(SMALL).initial_state(torch.zeros(1, 1, 0, 7))
