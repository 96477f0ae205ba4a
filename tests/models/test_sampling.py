"""What PixelCNN and MelNet must both do: draw fast what they draw slowly, row by row, piece by piece; and learn."""

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
    assert not torch.equal(fast, model.generate(5, rows=2, prompt=prompt(), seed=4))


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
