"""Kinds of damage, and that equal errors are equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn_book.autoencoders import KINDS, distorted, error_db, masked_error_db, masking_threshold, strength
from causalcnn_book.autoencoders.distortions import FLOOR_DB, formants, noise, pauses
from tests.fuzz import examples


def spectrogram(frames=60, seed=0):
    """Smooth random bands and frames, with silence in the middle."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 25, (80, frames))
    for axis in (0, 1):
        values = (values + np.roll(values, 1, axis) + np.roll(values, 2, axis)) / np.sqrt(3)
    values[:, frames // 2 : frames // 2 + 5] = -90
    return values - 40


@given(st.sampled_from(sorted(KINDS)), st.floats(0.1, 6), st.integers(0, 99), st.integers(20, 80))
@settings(max_examples=examples(40))
def test_the_strength_that_is_found_makes_the_error_that_is_wanted(kind, wanted, seed, frames):
    x = spectrogram(frames, seed)
    found = distorted(x, kind, strength(x, kind, wanted))
    assert error_db(np.maximum(x, FLOOR_DB), found) == pytest.approx(wanted, rel=1e-8)
    assert found.min() >= FLOOR_DB
    assert found.shape == x.shape


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match=r"'later' makes an error of 0\.0 dB here at most"):
        strength(np.zeros((80, 30)), "later", 1.0)
    with pytest.raises(ValueError, match="kind is 'louder'"):
        strength(spectrogram(), "louder", 1.0)
    with pytest.raises(ValueError, match="it must be more than 0"):
        strength(spectrogram(), "later", 0.0)


def test_noise_is_a_hash_with_mean_0_and_variance_1():
    x = noise(80, 500)
    assert abs(x.mean()) < 0.01
    assert x.var() == pytest.approx(1, abs=0.01)
    assert np.abs(x).max() <= np.sqrt(3)
    assert np.array_equal(noise(80, 100), x[:, :100]), "a longer recording begins with the same noise"
    for one, other in ((x[:, 1:], x[:, :-1]), (x[1:], x[:-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_pauses_and_formants_are_a_fifth_each():
    x = spectrogram(100)
    for found, louder in ((pauses(x), False), (formants(x), True)):
        assert found.mean() == pytest.approx(0.2, abs=0.001)
        assert (x[found].mean() > x[~found].mean()) == louder
    assert pauses(x)[:, 50:55].all()
    x = np.maximum(x, FLOOR_DB)
    for kind, hit in (("pauses", pauses(x)), ("formants", formants(x))):
        changed = distorted(x, kind, 5.0) != x
        assert not changed[~hit].any()
        assert changed[hit].mean() > 0.5


def test_whole_shifts_move_frames_and_bands():
    x = np.maximum(spectrogram(), FLOOR_DB)
    assert np.array_equal(distorted(x, "later", 3.0)[:, 3:], x[:, :-3])
    assert np.array_equal(distorted(x, "later", 3.0)[:, :3], np.repeat(x[:, :1], 3, 1))
    assert np.array_equal(distorted(x, "higher", 2.0)[2:], x[:-2])
    half = distorted(x, "later", 0.5)
    np.testing.assert_allclose(half[:, 1:], (x[:, 1:] + x[:, :-1]) / 2)


def test_a_blur_keeps_what_is_flat_and_ends_what_is_not():
    assert np.allclose(distorted(np.full((80, 40), -30.0), "blurred", 2.0), -30)
    x = spectrogram()
    assert distorted(x, "blurred", 30.0).std() < np.maximum(x, FLOOR_DB).std() / 4


# ---------------------------------------------------------------------- masking
def test_a_tone_covers_its_neighbors_more_upwards_than_downwards():
    x = np.full((80, 3), -90.0)
    x[40] = 0.0
    threshold = masking_threshold(x)[:, 1]
    assert threshold[40] < 0, "it does not cover itself"
    assert threshold[43] > threshold[37], "spreading reaches further up"
    assert (np.diff(threshold[:40]) >= 0).all()
    assert (np.diff(threshold[41:]) <= 0).all()
    assert threshold.min() == -60


def test_a_flat_spectrum_lies_14_5_db_above_its_threshold():
    np.testing.assert_allclose(masking_threshold(np.full((80, 4), -20.0)), -34.5)


@given(st.integers(0, 99), st.floats(0.1, 20))
@settings(max_examples=examples(20))
def test_masking_never_makes_an_error_larger(seed, size):
    x = spectrogram(30, seed)
    y = x + size * noise(80, 30)
    assert masked_error_db(x, y) <= error_db(x, y)
    assert masked_error_db(x, x) == 0
    assert masked_error_db(x + 7, y + 7) == pytest.approx(masked_error_db(x, y)), "the level does not matter"


def test_what_lies_below_the_threshold_costs_nothing_and_what_lies_above_costs_all():
    x = spectrogram(30)
    threshold = masking_threshold(x)
    below = np.where(x < threshold - 3, x + 2, x)
    assert error_db(x, below) > 0.3
    assert masked_error_db(x, below) == 0
    above = np.where(x > threshold + 3, x + 2, x)
    assert masked_error_db(x, above) == pytest.approx(error_db(x, above))
