"""Variations of training speech: pure, the same for any number of processes, nothing where every strength is 0."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn.speech import (
    NO_AUGMENTATION,
    Augmentation,
    Batch,
    FeatureCorpus,
    Utterance,
    augment,
    bands_below,
    speech_level_db,
    to_2d,
)
from tests.fuzz import examples

ALWAYS = Augmentation(noise_chance=1, low_pass_chance=1)


@pytest.fixture(scope="module")
def corpus():
    draw = np.random.default_rng(0)
    clips = [Utterance(draw.normal(0, 0.1, 160 * frames).astype(np.float32)) for frames in (40, 200, 300)]
    return FeatureCorpus.of(clips, cache=False)


@pytest.fixture(scope="module")
def batch(corpus):
    return corpus.batch(3, rows=8, frames=100)


@given(st.integers(0, 1000), st.integers(0, 3), st.integers(1, 4))
@settings(max_examples=examples(20))
def test_it_depends_on_its_arguments_only_for_any_number_of_processes(corpus, step, seed, world_size):
    draw = {"frames": 60, "seed": seed}
    whole = augment(corpus.batch(step, rows=2 * world_size, **draw), step=step, seed=seed, augmentation=ALWAYS)
    shares = [
        augment(
            corpus.batch(step, rows=2, rank=r, world_size=world_size, **draw),
            step=step,
            seed=seed,
            rank=r,
            augmentation=ALWAYS,
        )
        for r in range(world_size)
    ]
    torch.testing.assert_close(torch.cat([s.features for s in shares]), whole.features, rtol=0, atol=1e-4)


def test_steps_seeds_and_rows_differ(batch):
    first = augment(batch, step=1)
    assert torch.equal(augment(batch, step=1).features, first.features)
    assert not torch.equal(augment(batch, step=2).features, first.features)
    assert not torch.equal(augment(batch, step=1, seed=1).features, first.features)
    same = Batch(batch.features[:1].repeat(4, 1, 1), batch.mask[:1].repeat(4, 1), batch.speaker[:1].repeat(4))
    varied = augment(same, step=1, augmentation=ALWAYS).features
    assert all(not torch.equal(varied[i], varied[j]) for i in range(4) for j in range(i))


def test_nothing_happens_at_strength_0(batch):
    assert torch.equal(augment(batch, step=5, augmentation=NO_AUGMENTATION).features, batch.features)


@given(st.integers(0, 100))
@settings(max_examples=examples(10))
def test_shape_mask_padding_and_floor_stay(corpus, step):
    before = corpus.batch(step, rows=8, frames=100)
    kept = before.features.clone()
    after = augment(before, step=step, augmentation=replace(ALWAYS, gain_db=60))
    assert torch.equal(before.features, kept)  # what it is given stays
    assert after.features.shape == before.features.shape
    assert after.features.dtype == torch.float32
    assert to_2d(after.features).is_contiguous()
    assert torch.equal(after.mask, before.mask)
    assert torch.equal(after.speaker, before.speaker)
    assert after.features.min() >= -100
    padding = ~before.mask[:, None].expand_as(after.features)
    assert (after.features[padding] == -100).all()


def test_the_gain_is_one_number_for_a_row(batch):
    augmentation = replace(NO_AUGMENTATION, gain_db=10)
    moved = (augment(batch, step=0, augmentation=augmentation).features - batch.features).masked_fill(
        ~batch.mask[:, None], torch.nan
    )
    gains = moved.nanmedian(2).values
    assert gains.std(1).max() < 1e-3
    assert gains.abs().max() <= 10
    assert gains[:, 0].std() > 2


def test_the_equaliser_is_smooth_over_the_bands_and_the_same_for_all_frames(batch):
    augmentation = replace(NO_AUGMENTATION, tilt_db=12, curve_db=3)
    moved = augment(batch, step=0, augmentation=augmentation).features - batch.features
    full = batch.mask.all(1)
    assert moved[full].std(2).max() < 1e-4
    curve = moved[full][:, :, 0]
    assert curve.std(1).min() > 0.3
    assert curve.diff(dim=1).abs().max() < 2.5


def test_noise_fills_pauses_below_the_speech_and_leaves_speech_alone(batch):
    pause = batch.features.clone()
    pause[:, :, 10:20] = -100
    quiet = replace(batch, features=pause)
    augmentation = replace(NO_AUGMENTATION, noise_chance=1, noise_below_db=(40, 40))
    y = augment(quiet, step=0, augmentation=augmentation).features
    level = speech_level_db(pause, batch.mask)
    floor = y[:, :, 10:20].mean((1, 2)) - level
    assert floor.min() > -65
    assert floor.max() < -25
    speech = pause[:, :, :10] > level[:, None, None] - 10
    assert (y[:, :, :10] - pause[:, :, :10])[speech].abs().max() < 1
    assert y[:, :, 12].std() > 1  # it flickers


def test_a_low_pass_empties_the_bands_above_its_cut(batch):
    augmentation = replace(NO_AUGMENTATION, low_pass_chance=1, low_pass_hz=(4000, 4000))
    y = augment(batch, step=0, augmentation=augmentation).features
    cut = bands_below(4000)
    assert torch.equal(y[:, :cut], batch.features[:, :cut])
    assert (y[:, cut + 12 :] == -100).all()


def test_chances_are_shares_of_rows(corpus):
    augmentation = replace(NO_AUGMENTATION, low_pass_chance=0.25)
    rows = [
        augment(corpus.batch(i, rows=16, frames=8), step=i, augmentation=augmentation).features[:, 79, 0] == -100
        for i in range(60)
    ]
    assert torch.cat(rows).double().mean().item() == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize(
    ("strength", "message"),
    [
        ({"gain_db": -1}, "gain_db is -1; it must be 0 or more"),
        ({"noise_chance": 1.5}, "noise_chance is 1.5; a chance goes from 0 to 1"),
        ({"noise_below_db": (70, 30)}, "noise_below_db goes from 70 to 30"),
    ],
)
def test_strengths_that_cannot_be(strength, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**strength)
