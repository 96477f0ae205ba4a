"""Back to sound: the right length, the right place in time, the same features, the same result for a seed."""

import numpy as np
import pytest
import torch

from causalcnn.speech import LogMel, griffin_lim, synthesize, to_1d, to_2d


@pytest.fixture(scope="module")
def said():
    return synthesize("She opened every window.", speaker=2)


@pytest.mark.parametrize("alignment", ["causal", "centered"])
def test_sound_comes_back_in_its_place(said, alignment):
    front_end = LogMel(alignment)
    features = front_end(said.tensor())
    samples = griffin_lim(features, alignment, seed=3)
    assert samples.dtype == np.float32
    assert len(samples) == len(said) // 160 * 160
    again = front_end(torch.from_numpy(samples)[None])
    n = min(again.shape[2], features.shape[2]) - 8
    loud = features[0, :, 4:n] > -60  # of all bands, also those that are quieter than others at the same time

    def distance(lag):
        return (again[0, :, 4 + lag : n + lag] - features[0, :, 4:n]).abs()[loud].mean().item()

    assert distance(0) < 1
    assert min(distance(lag) for lag in (-2, -1, 1, 2)) > 2 * distance(0)
    assert np.array_equal(samples, griffin_lim(features, alignment, seed=3))
    assert not np.array_equal(samples, griffin_lim(features, alignment, seed=4))


def test_it_takes_what_a_network_gives(said):
    features = LogMel()(said.tensor())
    picture = to_2d(features).requires_grad_()
    assert np.array_equal(griffin_lim(to_1d(picture)[0], iterations=2), griffin_lim(features[0].numpy(), iterations=2))


def test_silence_stays_silent():
    assert np.abs(griffin_lim(np.full((80, 20), -100.0), iterations=2)).max() < 1e-6


def test_a_click_stays_where_it_is():
    samples = torch.zeros(1, 8000)
    samples[0, 4000:4040] = 0.9
    back = griffin_lim(LogMel()(samples))
    centre = (np.arange(len(back)) * back**2).sum() / (back**2).sum()
    assert centre == pytest.approx(4020, abs=120)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.zeros((2, 80, 10)), "one recording"),
        (np.zeros((10, 80)), "to_1d"),
        (np.zeros((80, 0)), "80, 0"),
        (np.full((80, 5), np.nan), "400 values"),
    ],
)
def test_other_features_are_refused(features, words):
    with pytest.raises(ValueError, match=words):
        griffin_lim(features)
