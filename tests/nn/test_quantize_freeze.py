"""A frozen codebook stands, whatever comes; all else is as in training."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from causalcnn import CausalConv1d, ResidualVectorQuantizer, VectorQuantizer, check_contract
from causalcnn.nn import CausalSequential

MAKERS = {
    "one stage": lambda **options: VectorQuantizer(8, 3, **options),
    "three stages": lambda **options: ResidualVectorQuantizer(3, 8, 3, **options),
}
both = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numbers(quantizer):
    """All that is stored, without the mark that it is frozen."""
    return {k: v.clone() for k, v in quantizer.state_dict().items() if not k.endswith("frozen")}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@both
@given(
    trained=st.integers(0, 2),
    init=st.sampled_from(["k-means", "random"]),
    threshold=st.sampled_from([0, 0.9]),
    time=st.integers(0, 9),
    masked=st.booleans(),
)
def test_codebook_and_statistics_stand_in_train_mode(make, trained, init, threshold, time, masked):
    """Neither a start, nor a restart, nor a moving average touches them, by whatever way the quantizer is called."""
    quantizer = make(init=init, dead_code_threshold=threshold, decay=0.5).train()
    for seed in range(trained):
        quantizer(noise(2, 3, 30, seed=seed))
    quantizer.freeze()
    before = numbers(quantizer)
    x = noise(2, 3, time, seed=9) * 10
    quantizer(x)
    quantizer.step(x, ())
    quantizer.quantize(x, torch.rand(2, time) < 0.5 if masked else None)
    quantizer.eval()(x)
    assert same(numbers(quantizer), before)
    assert quantizer.train().training


@both
def test_what_a_frozen_quantizer_finds_is_what_it_would_find_in_training(make):
    """Codes, codewords, commitment, and all gradients: freezing stops the codebook and nothing else."""
    learning = make().train()
    learning(noise(2, 3, 40))
    frozen = copy.deepcopy(learning).freeze()
    mask = torch.arange(20) < torch.tensor([20, 7])[:, None]
    results = []
    for quantizer in (learning, frozen):
        x = noise(2, 3, 20, seed=1).requires_grad_()
        found = quantizer.quantize(x, mask)
        ((found.values * noise(2, 3, 20, seed=2)).sum() + found.commitment).backward()
        results.append((found.values.detach(), found.indices, found.commitment.detach(), found.perplexity, x.grad))
    torch.testing.assert_close(*results, rtol=0, atol=0)
    assert results[0][4].any()


@both
def test_the_encoder_below_a_frozen_codebook_learns(make):
    """Others ask for eval(), and then the loss has no gradient (vector-quantize-pytorch #68)."""
    torch.manual_seed(0)
    encoder, quantizer = nn.Conv1d(2, 3, 1), make(init="random").freeze()
    x, before = noise(4, 2, 30), numbers(quantizer)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        losses.append(quantizer.quantize(encoder(x)).commitment)
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    assert same(numbers(quantizer), before)


@both
def test_it_goes_on_learning_where_it_was_frozen(make):
    batches = [noise(2, 3, 30, seed=seed) for seed in range(6)]
    unbroken, paused = make(decay=0.5), make(decay=0.5)
    paused.load_state_dict(unbroken.state_dict())
    for number, batch in enumerate(batches):
        unbroken(batch)
        paused(batch)
        if number == 2:
            paused.freeze()(noise(2, 3, 30, seed=99))
            paused.unfreeze()
    assert same(paused.state_dict(), unbroken.state_dict())


@both
def test_a_frozen_quantizer_is_saved_as_such(make):
    frozen, other = make(), make()
    frozen(noise(2, 3, 30))
    frozen.freeze()
    other.load_state_dict(frozen.state_dict())
    assert "frozen" in repr(other)
    before = numbers(frozen)
    other(noise(2, 3, 30, seed=1))
    assert same(numbers(other), before)
    assert same(copy.deepcopy(other).state_dict(), frozen.state_dict())


@both
def test_weights_from_a_training_do_not_unfreeze(make):
    """First frozen, then loaded: the order of most scripts. Files of before know nothing of freezing."""
    trained = make()
    trained(noise(2, 3, 30))
    assert not [name for name in trained.state_dict() if "frozen" in name]
    network = nn.ModuleDict({"quantizer": make().freeze()})
    network.load_state_dict({f"quantizer.{name}": value for name, value in trained.state_dict().items()})
    network["quantizer"](noise(2, 3, 30, seed=1))
    assert same(numbers(network["quantizer"]), numbers(trained))
    assert "frozen" not in repr(network["quantizer"].unfreeze())


def test_some_stages_can_be_frozen_and_the_others_learn():
    quantizer = ResidualVectorQuantizer(3, 8, 3)
    quantizer(noise(2, 3, 30))
    quantizer.quantizers[1].freeze()
    before = [numbers(stage) for stage in quantizer.quantizers]
    quantizer(noise(2, 3, 30, seed=1))
    stands = [same(numbers(stage), old) for stage, old in zip(quantizer.quantizers, before, strict=True)]
    assert stands == [False, True, False]


def test_a_codebook_of_ones_own():
    words = noise(8, 3)
    quantizer = VectorQuantizer(8, 3).freeze()
    quantizer.sum.copy_(words)
    quantizer.count.fill_(1)
    quantizer(noise(2, 3, 30))
    assert torch.equal(quantizer.codebook, words)


@both
def test_it_keeps_the_contract(make):
    network = CausalSequential(CausalConv1d(2, 3, 3), make(init="random").freeze(), CausalConv1d(3, 2, 2)).double()
    check_contract(network, torch.randn(2, 2, 20, dtype=torch.float64))  # in train mode, because nothing moves


def test_frozen_and_compiled():
    torch._dynamo.reset()
    quantizer = VectorQuantizer(8, 3)
    quantizer(noise(2, 3, 30))
    compiled = torch.compile(quantizer, backend="eager")
    compiled(noise(2, 3, 30, seed=1))
    before = numbers(quantizer.freeze())
    assert torch.equal(compiled(noise(2, 3, 30, seed=2)), quantizer(noise(2, 3, 30, seed=2)))
    assert same(numbers(quantizer), before)
    quantizer.unfreeze()
    compiled(noise(2, 3, 30, seed=2))
    assert not same(numbers(quantizer), before)
