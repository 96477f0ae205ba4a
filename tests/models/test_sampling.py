"""What PixelCNN and MelNet must both do: draw fast what they draw slowly, row by row, piece by piece; and learn."""

import importlib.util

import pytest
import torch

from causalcnn.models import MelNet, MelNetConfig, PixelCNN, PixelCNNConfig
from tests.models.shared import batch_of, lively

BANDS = 5
MODELS = {
    "MelNet": (MelNet, MelNetConfig(channels=3, layers=2, central=4, mels=BANDS)),
    "PixelCNN": (
        PixelCNN,
        PixelCNNConfig(channels=4, hidden=3, mels=BANDS, first_time_kernel=(2, 3), first_frequency_kernel=2,
                       time_dilations=((2, 1),), frequency_dilations=(1,)),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(params=MODELS)
def made(request):
    """One of the models, by what is changed in its configuration."""
    kind, config = MODELS[request.param]
    return lambda **changes: kind(config.with_(**changes))


def prompt(rows=2, frames=3):
    return torch.randint(0, 256, (rows, frames, BANDS), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("output", ["logistic-mixture-4", "gaussian-mixture-4", "categorical-4", "categorical-8"])
def test_the_fast_draws_are_those_of_the_slow_way(made, output):
    model = lively(made(output=output)).double().eval()
    for known in (None, prompt(), prompt()[:, :0]):
        fast = model.generate(5, rows=2, prompt=known, seed=3)
        slow = model.generate(5, rows=2, prompt=known, seed=3, reference=True)
        assert torch.equal(fast, slow)
        in_torch, generator = type(model.sampler())(model, 2, compiled=False), torch.Generator().manual_seed(3)
        if known is not None:
            in_torch.read(known)
        assert torch.equal(torch.stack([in_torch.draw(in_torch.uniform(generator)) for _ in range(5)], 1), slow)
    assert not torch.equal(fast, model.generate(5, rows=2, prompt=prompt(), seed=4))


def test_a_frame_is_drawn_in_one_compiled_call_where_that_can_be(made, monkeypatch):
    pytest.importorskip("numba")
    model = made().eval()
    assert model.sampler()._loop is not None
    assert made().bfloat16().eval().sampler()._loop is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert model.sampler()._loop is None
    assert model.generate(1).shape == (1, 1, BANDS)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_in_single_precision_hardly_a_draw_differs(made, temperature):
    pytest.importorskip("numba")
    model = lively(made()).eval()
    ours, theirs = model.sampler(3), type(model.sampler())(model, 3, compiled=False)
    generator, differ = torch.Generator().manual_seed(0), 0
    for _ in range(40):
        uniform = ours.uniform(generator)
        bins = theirs.draw(uniform, temperature)
        differ += int((ours.draw(uniform, temperature) != bins).sum())
        ours.state = theirs.state  # both go on from the same past
    assert differ <= 3


def test_a_row_drawn_alone_is_the_row_drawn_beside_another(made):
    model = lively(made()).double().eval()
    both, alone = model.sampler(2), model.sampler(1)
    both.read(prompt())
    alone.read(prompt()[1:])
    uniform = both.uniform(torch.Generator().manual_seed(1))
    assert torch.equal(both.draw(uniform)[1:], alone.draw(uniform[1:]))


def test_what_is_read_piece_by_piece_leads_to_the_same_draws(made):
    model = lively(made()).double().eval()
    known = prompt(1, 7)
    whole, pieces = model.sampler(), model.sampler()
    whole.read(known)
    for piece in known.split([1, 0, 4, 2], dim=1):
        pieces.read(piece)
    uniform = whole.uniform(torch.Generator().manual_seed(1))
    assert torch.equal(whole.draw(uniform), pieces.draw(uniform))


def test_it_learns(made):
    model, batch = made(), batch_of(mels=BANDS)
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
