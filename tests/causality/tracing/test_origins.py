"""What a network may use besides its input: tensors from before it ran, TorchScript, kernels of its own choice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from causalcnn import Field, receptive_field
from causalcnn.causality import CannotTrace, trace
from causalcnn.causality.leak_case_layers import Apply

FACTORS = torch.tensor([2.0, 3.0])


class Holder:
    """A plain object."""

    def __init__(self) -> None:
        self.factors = {"both": [FACTORS]}


HOLDER = Holder()


class Keeps(nn.Module):
    shared = FACTORS.clone()

    def __init__(self) -> None:
        super().__init__()
        self.holder = Holder()

    def forward(self, x: Tensor, factors: Tensor = FACTORS.clone()) -> Tensor:  # noqa: B008
        return x * (self.holder.factors["both"][0] * self.shared * factors)[:, None]


@torch.jit.script
def snake(x: Tensor) -> Tensor:
    return x + (x + 1e-9).reciprocal() * torch.sin(2.0 * x).pow(2)


@torch.jit.script
def turned(x: Tensor) -> Tensor:
    return x + 0.5 * torch.flip(x, [2])


def past_only() -> nn.Module:
    return nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(2, 2, 3))


def flash(x: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        q = x.mT[:, None].contiguous()
        return F.scaled_dot_product_attention(q, q, q, is_causal=True)[:, 0].mT


FOLLOWED = {
    "a global": (Apply(lambda x: x * FACTORS[:, None]), Field.identity()),
    "an object": (Apply(lambda x: x * HOLDER.factors["both"][0][:, None]), Field.identity()),
    "attributes, defaults": (Keeps(), Field.identity()),
    "a TorchScript function": (Apply(snake), Field.identity()),
    "a TorchScript module": (torch.jit.script(past_only()), Field.conv(3)),
    "one within": (nn.Sequential(torch.jit.script(past_only()), past_only()), Field.conv(5)),
    "a traced module": (torch.jit.trace(past_only(), torch.ones(1, 2, 9)), Field.conv(3)),
    "a kernel of its choice": (Apply(flash), Field.all_past()),
    "vmap": (Apply(lambda x: torch.vmap(lambda row: row.cumsum(-1))(x)), Field.all_past()),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_is_not_the_input_is_followed_too(name):
    module, field = FOLLOWED[name]
    assert receptive_field(module, (1, 2, 24)) == field


def test_torchscript_hides_nothing():
    assert trace(Apply(turned), torch.ones(1, 2, 8)).inputs_of(0) == {0, 7}


def test_a_tensor_from_elsewhere_is_still_refused():
    with pytest.raises(CannotTrace):
        trace(Apply(lambda x: x + torch.from_dlpack(x)), torch.ones(1, 2, 8))


def test_a_frequency_axis_of_length_one_is_no_time():
    narrow = nn.Sequential(nn.MaxPool2d((1, 2)), nn.ConstantPad2d((1, 1, 2, 0), 0.0), nn.Conv2d(2, 2, 3))
    assert receptive_field(narrow, (1, 2, 24, 2), axis="time") == Field.conv(3)
