"""Gradient checkpointing repeats a forward within the backward: a codebook moves once, and the gradients are exact."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from causalcnn import VectorQuantizer
from causalcnn.nn import CausalConv1d, CausalSequential, ResidualVectorQuantizer

QUANTIZERS = {
    "plain": lambda: VectorQuantizer(8, 4, decay=0.5),
    "random": lambda: VectorQuantizer(8, 4, decay=0.5, init="random"),
    "residual": lambda: ResidualVectorQuantizer(3, 8, 4, decay=0.5),
}


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return CausalSequential(CausalConv1d(4, 4, 2), QUANTIZERS[kind](), CausalConv1d(4, 4, 2)).double().train()


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("kind", QUANTIZERS)
def test_a_training_is_the_same_with_and_without(kind, reentrant):
    plain, saving = network(kind), network(kind)
    for step in range(4):
        x = torch.randn(2, 4, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(step)).requires_grad_()
        for run in (plain, lambda z: checkpoint(saving, z, use_reentrant=reentrant)):
            for twice in (x, 2 * x):  # two forwards before a backward
                run(twice).square().mean().backward(retain_graph=True)
            (run(x).square().mean() + run(-x).square().mean()).backward()
        for mine, its in zip(plain.parameters(), saving.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, its.grad, rtol=1e-12, atol=1e-12)
        for name, value in plain.state_dict().items():
            assert torch.equal(value, saving.state_dict()[name]), name


def test_the_commitment_and_a_mask_are_repeated_too():
    quantizer, x = VectorQuantizer(8, 4, decay=0.5).train(), torch.randn(2, 4, 30, requires_grad=True)
    mask = torch.arange(30).expand(2, 30) < torch.tensor([[30], [12]])
    other = copy.deepcopy(quantizer)
    grads = []
    for one, run in ((quantizer, lambda f: f(x)), (other, lambda f: checkpoint(f, x, use_reentrant=False))):
        one.quantize(x + 1, mask)
        run(lambda z, one=one: one.quantize(z, mask).commitment).backward()
        grads.append(x.grad.clone())
        x.grad = None
    assert torch.equal(*grads)
    assert torch.equal(quantizer.sum, other.sum)


def test_what_is_too_long_ago_is_said():
    quantizer, x = VectorQuantizer(8, 4).train(), torch.randn(2, 4, 30, requires_grad=True)
    y = checkpoint(lambda z: quantizer(z).square(), x, use_reentrant=False)
    for _ in range(5):
        quantizer(torch.randn(2, 4, 30))
    before = quantizer.sum.clone()
    with pytest.raises(RuntimeError, match="gradient checkpointing"):
        y.sum().backward()
    assert torch.equal(quantizer.sum, before)
