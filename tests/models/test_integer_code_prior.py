"""The prior in integers learns, is causal, computes with whole numbers in training too, and is kept as integers."""

import math

import pytest
import torch

from causalcnn.models import CodeBatch, IntegerCodePrior, IntegerCodePriorConfig, load_model, save_model
from causalcnn.models.integer_code_prior import context_cells

CONFIG = IntegerCodePriorConfig(top_cells=2, bottom_cells=4, num_codes=11, channels=16)


def random_codes(rows=2, frames=12, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(CONFIG.num_codes, (rows, frames, CONFIG.cells), generator=draw)


def batch_of(codes):
    mask = torch.ones(codes.shape[:2], dtype=torch.bool)
    return CodeBatch(codes[:, :, :2], codes[:, :, 2:], mask, torch.zeros(len(codes), dtype=torch.int64))


@pytest.mark.parametrize("config", [CONFIG, IntegerCodePriorConfig()])
def test_a_code_is_predicted_from_codes_that_come_before_it(config):
    cells = config.cells
    for first, level in zip((0, config.top_cells), context_cells(config), strict=True):
        assert len({len(places) for places in level}) == 1
        for number, places in enumerate(level):
            there = [place for place in places if place < 3 * cells]
            assert len(set(there)) == len(there)
            assert all(place >= cells or place < first + number for place in there)
            assert first + number + cells in there  # its own cell one frame before


def test_a_changed_code_moves_no_prediction_before_it_and_the_field_says_how_many_after_it():
    prior, codes = IntegerCodePrior(CONFIG), random_codes(1)
    before = prior(codes)
    for t, cell in [(0, 0), (3, 1), (5, 2), (7, 5)]:
        changed = codes.clone()
        changed[0, t, cell] = (changed[0, t, cell] + 1) % CONFIG.num_codes
        moved = (prior(changed) != before)[0].any(dim=2)
        assert not moved.flatten()[: t * CONFIG.cells + cell + 1].any()
        frames = moved.any(dim=1).nonzero().ravel()
        assert frames.max() <= t + prior.field.past
    assert (prior.field.past, prior.field.lookahead) == (2, 0)


def test_activations_and_logits_are_whole_numbers_of_the_promised_size():
    prior = IntegerCodePrior(CONFIG)
    with torch.no_grad():
        for level in prior.levels:
            level.out.normal_(0, 200)
    logits = prior(random_codes())
    assert torch.equal(logits, logits.round())
    whole = prior.rounded()
    assert torch.equal(whole(random_codes()), logits)
    for name, value in whole.named_parameters():
        assert value.dtype == (torch.int16 if "bias" in name else torch.int8)


def test_what_is_kept_is_integers_and_comes_back_as_the_same_prior(tmp_path):
    prior = IntegerCodePrior(CONFIG)
    path = save_model(tmp_path / "prior", prior.rounded())
    again, card = load_model(path)
    assert torch.equal(again(random_codes()), prior(random_codes()))
    assert card["config"]["num_codes"] == 11
    assert path.stat().st_size < 1.2 * sum(p.numel() for p in prior.parameters()) + 2000


@pytest.mark.parametrize("rounded", [True, False])
def test_it_learns_what_can_be_known(rounded):
    """Each code repeats that of the frame before plus one: only those of the first frame are news."""
    torch.manual_seed(0)
    prior = IntegerCodePrior(IntegerCodePriorConfig(2, 4, 11, 16, rounded=rounded))
    first = random_codes(16, 1)
    codes = (first + torch.arange(10)[None, :, None]) % CONFIG.num_codes
    before = prior.loss(batch_of(codes))[0].item()
    assert abs(before - math.log(CONFIG.num_codes)) < 0.3
    optimizer = torch.optim.Adam(prior.parameters(), lr=2.0)
    for _ in range(150):
        optimizer.zero_grad()
        loss, metrics = prior.loss(batch_of(codes))
        loss.backward()
        optimizer.step()
    assert metrics["bits"] < 1.0
    assert abs(metrics["bits"] - loss.detach() / math.log(2)) < 1e-5
    assert abs(2 * metrics["bits_top"] + 4 * metrics["bits_bottom"] - 6 * metrics["bits"]) < 1e-4


def test_padding_does_not_count():
    prior, codes = IntegerCodePrior(CONFIG), random_codes(1)
    short = batch_of(codes[:, :7])
    padded = batch_of(codes)
    padded.mask[:, 7:] = False
    assert torch.allclose(prior.loss(padded)[0], prior.loss(short)[0])


def test_what_is_no_input_and_no_config():
    prior = IntegerCodePrior(CONFIG)
    for wrong in (random_codes()[:, :, 1:], random_codes().float(), random_codes()[0]):
        with pytest.raises(ValueError, match=r"this prior takes int64 \(batch, time, 6\)"):
            prior(wrong)
    with pytest.raises(ValueError, match="bottom_cells is 10; it must be twice top_cells, 20"):
        IntegerCodePriorConfig(bottom_cells=10)
    with pytest.raises(ValueError, match="its numbers are no integers"):
        IntegerCodePrior(IntegerCodePriorConfig(2, 4, 11, 16, rounded=False)).rounded()
    assert prior(random_codes(3, 0)).shape == (3, 0, 6, 11)
