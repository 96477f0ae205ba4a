"""Linear prediction from frames: a resonance is found again, the weights are the best, a period is found in a voice."""

import numpy as np
import pytest
import torch
from scipy import linalg

from causalcnn.speech import LogMel, fit_to_frames
from causalcnn.speech.linear_prediction import LONGEST_PERIOD, NOISE, SHORTEST_PERIOD, SILENCE, normal_equations


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def resonance(samples, seed=0):
    """Noise through a resonance, ``(1, samples)``, and the noise."""
    noise = np.random.default_rng(seed).normal(0, 0.02, samples + 2)
    x = np.zeros(samples + 2)
    for t in range(2, samples + 2):
        x[t] = 1.7 * x[t - 1] - 0.9 * x[t - 2] + noise[t]
    return torch.from_numpy(x[None, 2:]), noise[2:]


def pulses(period, samples=8_000):
    """A voice: a pulse every so many samples, through a resonance."""
    x = np.zeros(samples + 2)
    for t in range(2, samples + 2):
        x[t] = 1.7 * x[t - 1] - 0.9 * x[t - 2] + 0.1 * (t % period == 0)
    return torch.from_numpy(x[None, 2:])


def test_the_normal_equations_give_the_least_error():
    x = resonance(3_000)[0][0].numpy()
    r = torch.tensor([np.dot(x[: len(x) - lag], x[lag:]) for lag in range(17)])
    weights, error = normal_equations(r)
    matrix = linalg.toeplitz(np.array([r[0] * (1 + NOISE) + SILENCE**2, *r[1:16]]))

    def left(w):
        return r[0] * (1 + NOISE) + SILENCE**2 - 2 * w @ r[1:].numpy() + w @ matrix @ w

    best = weights.numpy()
    assert float(error) == pytest.approx(float(left(best)), rel=1e-6)
    draw = np.random.default_rng(0)
    for _ in range(20):
        assert left(best + draw.normal(0, 0.01, 16)) > left(best)


@pytest.mark.parametrize("order", [2, 16, 32])
def test_weights_from_a_spectrum_are_those_of_its_sound(order):
    """A resonance is found again in the frames that it gives, and so are its level and that of what excites it."""
    x, noise = resonance(16_000)
    fit = fit_to_frames(LogMel()(x)[:, :, 10:], order=order)
    assert fit.weights.shape == (1, 90, order)
    poles = np.array([np.roots([1, *-w]) for w in fit.weights[0].numpy()])
    strongest = poles[np.arange(90), np.abs(poles).argmax(1)]
    wanted = np.roots([1, -1.7, 0.9])[0]
    assert np.median(np.abs(np.angle(strongest))) == pytest.approx(abs(np.angle(wanted)), abs=0.05)
    assert float(fit.power.mean()) == pytest.approx(float(x.square().mean()), rel=0.1)
    assert float(fit.error.median().sqrt()) == pytest.approx(noise.std(), rel=0.5)
    assert (np.abs(poles) < 1).all(), "what is predicted dies away"


@pytest.mark.parametrize("period", [50, 80, 123, 200])
def test_a_period_is_found_in_a_voice_and_none_in_noise(period):
    taps, alike = fit_to_frames(LogMel()(pulses(period))[:, :, 10:]).period_taps()
    assert taps.shape[2] == LONGEST_PERIOD - SHORTEST_PERIOD + 1
    torch.testing.assert_close(taps.sum(-1), torch.ones_like(alike))
    best = taps.argmax(-1) + SHORTEST_PERIOD
    off = (best / period).round() * period - best
    assert (off.abs() <= 2).double().mean() > 0.95, "a period, or two"
    of_noise = fit_to_frames(LogMel()(resonance(8_000)[0])[:, :, 10:]).period_taps()[1]
    assert float(alike.median()) > 0.25 > float(of_noise.median())


def test_silence_has_no_weights_and_no_period():
    fit = fit_to_frames(torch.full((1, 80, 2), -100.0))
    assert float(fit.weights.abs().max()) < 1e-6
    assert fit.error.max() < SILENCE**2
    torch.testing.assert_close(fit.period_taps()[0], torch.full((1, 2, 289), 1 / 289, dtype=torch.float64))


def test_each_frame_is_fitted_alone():
    frames = LogMel()(resonance(2_000)[0])
    whole, alone = fit_to_frames(frames), fit_to_frames(frames[:, :, 5:6])
    for one, other in zip(whole, alone, strict=True):
        torch.testing.assert_close(one[:, 5:6], other, rtol=1e-9, atol=1e-12)
