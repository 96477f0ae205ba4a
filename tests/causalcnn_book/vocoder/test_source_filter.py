"""Speech from frames without a network: the filter is the recursion that it stands for; pulses come at the period."""

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")

from causalcnn.speech import FrameFit, LogMel, fit_to_frames, synthesize
from causalcnn_book.vocoder import filter_excitation, pulses_or_noise


@pytest.fixture(scope="module")
def fit() -> FrameFit:
    frames = LogMel()(synthesize("Somebody says something.", speaker=1_203).tensor().double())
    return fit_to_frames(frames)


@pytest.mark.parametrize("lookahead", [0, 1, 3])
def test_the_filter_is_the_recursion(fit: FrameFit, lookahead: int) -> None:
    hops = 12
    short = FrameFit(*(part[:, 20 : 20 + hops + lookahead] for part in fit))
    excitation = np.random.default_rng(0).standard_normal(160 * hops)
    said = [0.0] * 16
    for n, e in enumerate(excitation):
        frame = n // 160 + lookahead
        predicted = sum(float(w) * said[-k - 1] for k, w in enumerate(short.weights[0, frame]))
        said.append(predicted + float(short.error[0, frame].sqrt()) * e)
    found = filter_excitation(short, excitation, lookahead)
    assert np.abs(said).max() < 1, "nothing is clipped here"
    np.testing.assert_allclose(found.numpy(), said[16:], atol=1e-6)


def test_a_loud_sound_is_clipped_and_stays_within_one(fit: FrameFit) -> None:
    found = filter_excitation(fit, np.full(160 * fit.weights.shape[1], 100.0))
    assert found.abs().max() == 1


def test_pulses_stand_a_period_apart_and_noise_where_there_is_none() -> None:
    alike = torch.zeros(1, 6, 321, dtype=torch.float64)
    alike[0, :4, 100] = 0.9  # a voice of 160 Hz, then none
    ones = torch.ones(1, 6, dtype=torch.float64)
    noise = np.random.default_rng(0).standard_normal(160 * 6)
    mixed = pulses_or_noise(FrameFit(torch.zeros(1, 6, 16), ones, ones, alike), noise, lookahead=1)
    pulses = np.flatnonzero(mixed[:480])
    np.testing.assert_array_equal(pulses, np.arange(0, 480, 100))
    assert mixed[pulses] == pytest.approx(10), "with weights of 0 pulses are as loud as they are strong"
    np.testing.assert_array_equal(mixed[500:], noise[500:])  # the last period goes on over the end of the voice
    assert (mixed[:400] ** 2).mean() == pytest.approx(1)


def test_pulses_are_as_loud_as_noise_is(fit: FrameFit) -> None:
    _, alike = fit.period_taps()
    frame = int(alike[0].argmax())
    hops = 40
    still = FrameFit(*(part[:, frame : frame + 1].expand(-1, hops + 1, *part.shape[2:]) for part in fit))
    noise = np.random.default_rng(0).standard_normal(160 * hops)
    voice = filter_excitation(still, pulses_or_noise(still, noise))
    response = filter_excitation(still, np.eye(1, 160 * hops)[0])
    power_of_noise = response.square().sum()  # that of the size of the error, as the response is
    assert voice.square().mean().item() == pytest.approx(power_of_noise.item(), rel=0.05)
