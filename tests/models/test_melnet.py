"""The small MelNet: the law, all of the past, fast draws that are those of the slow way, learning."""

import math

import pytest
import torch

from causalcnn import check_contract
from causalcnn.models.melnet import MelNet, MelNetConfig
from causalcnn.models.recurrent import Recurrent
from causalcnn.speech import Batch

SMALL = MelNetConfig(channels=3, layers=2, central=4, mels=5)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def lively(model, seed=0):
    """A model that says something else of every value, as after a training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.1)
    return model


@pytest.mark.parametrize("layers", [1, 2])
def test_it_keeps_the_law(layers):
    x = torch.rand(2, 1, 7, 5, dtype=torch.float64) * 2 - 1
    check_contract(MelNet(SMALL.with_(layers=layers)).double(), x)


def test_it_reads_all_the_past_and_what_is_below():
    field = MelNet(MelNetConfig.tiny()).field
    assert (field.past, field.lookahead) == (math.inf, 0)
    assert field.reads((5000, 0), (0, 79))
    assert field.reads((5000, 40), (5000, 39))
    assert not field.reads((5000, 40), (5000, 40))
    assert not field.reads((5000, 40), (5000, 41))


@pytest.mark.parametrize("law", ["gaussians-4", "categorical-8"])
def test_the_fast_draws_are_those_of_the_slow_way(law):
    model = lively(MelNet(SMALL.with_(law=law))).double().eval()
    prompt = torch.randint(0, 256, (2, 3, 5), generator=torch.Generator().manual_seed(0))
    for given in (None, prompt, prompt[:, :0]):
        fast = model.generate(5, rows=2, prompt=given, seed=3)
        slow = model.generate(5, rows=2, prompt=given, seed=3, reference=True)
        assert torch.equal(fast, slow)
    assert not torch.equal(fast, model.generate(5, rows=2, prompt=prompt, seed=4))


def test_a_row_drawn_alone_is_the_row_drawn_beside_another():
    model = lively(MelNet(SMALL)).double().eval()
    prompt = torch.randint(0, 256, (2, 3, 5), generator=torch.Generator().manual_seed(0))
    both, alone = model.sampler(2), model.sampler(1)
    both.read(prompt)
    alone.read(prompt[1:])
    uniform = both.uniform(torch.Generator().manual_seed(1))
    assert torch.equal(both.draw(uniform)[1:], alone.draw(uniform[1:]))


def test_it_learns():
    model = MelNet(SMALL)
    features = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0)) * 15 - 30
    batch = Batch(features, torch.ones(2, 12, dtype=torch.bool), torch.zeros(2, dtype=torch.int64))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    bits = []
    for _ in range(25):
        loss, metrics = model.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        bits.append(metrics["bits"].item())
    assert bits[-1] < bits[0] - 0.5
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("both", [False, True])
def test_the_linear_twin_reads_what_the_gru_reads(both):
    """Measured, not trusted: each output of the twin depends on the same steps as each output of the GRU."""
    rnn = Recurrent(2, 3, both=both).double()
    for network in (rnn, rnn.linear_twin()):
        x = torch.randn(1, 6, 2, dtype=torch.float64, requires_grad=True)
        y, last = network(x)
        assert y.shape == (1, 6, 6 if both else 3)
        if not both:
            assert torch.equal(last[0], y[:, -1])
        for step in range(6):
            (gradient,) = torch.autograd.grad(y[0, step].sum(), x, retain_graph=True)
            read = gradient[0].abs().sum(1).nonzero().flatten().tolist()
            assert read == list(range(6 if both else step + 1))


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match=r"layers is 0"):
        MelNetConfig(layers=0)
    with pytest.raises(ValueError, match=r"axis is \(7,\); this model takes \(5,\)"):
        MelNet(SMALL).initial_state(1, 7)
