"""The map of a latent says what the decoder says, and each of its filters is stable and as loud as its frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

pytest.importorskip("librosa")

from causalcnn.speech import Utterance, fit_to_frames, synthesize
from causalcnn_book.autoencoders import FrameVAE, LatentMap
from causalcnn_book.autoencoders.frame_vae import labeled_frames
from causalcnn_book.autoencoders.latent_map import reflections, weights_of

EDGE = LatentMap.EDGE
numbers = st.floats(-EDGE, EDGE, allow_subnormal=False)


@pytest.fixture(scope="module")
def speech() -> list[Utterance]:
    return [synthesize("She sells fresh fish by the cold sea shore.", speaker=speaker) for speaker in (1, 2, 8)]


@pytest.fixture(scope="module")
def vae(speech: list[Utterance]) -> FrameVAE:
    return FrameVAE.trained(speech, steps=150)


@pytest.fixture(scope="module")
def found(vae: FrameVAE, speech: list[Utterance]) -> LatentMap:
    return LatentMap.of(vae, speech, speech[0], points=200)


def test_training_lowers_the_bound_on_the_evidence_and_its_seed_gives_its_weights(speech: list[Utterance]) -> None:
    frames, _ = labeled_frames(speech)
    noise = torch.randn(len(frames), 2, generator=torch.Generator().manual_seed(1))
    losses = [FrameVAE.trained(speech, steps=steps).loss(frames, noise).item() for steps in (1, 40)]
    assert losses[1] < losses[0] - 5
    first, again, other = (FrameVAE.trained(speech, steps=2, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["decoder.0.weight"], other["decoder.0.weight"])


def test_the_loss_is_the_squared_error_and_the_divergence(vae: FrameVAE) -> None:
    frames = torch.linspace(-90, 0, 240).reshape(3, 80)
    posterior = vae.encode(frames)
    wrong = vae.decode(posterior.mean) - frames.clamp(min=-70)
    expected = wrong.square().sum(1) / (2 * vae.noise_db**2) + posterior.kl().sum(1)
    torch.testing.assert_close(vae.loss(frames, torch.zeros(3, 2)), expected.mean())


def test_without_frames_there_is_nothing_to_train_on() -> None:
    with pytest.raises(ValueError, match="no frames"):
        FrameVAE.trained([Utterance(np.zeros(100, np.float32))])
    with pytest.raises(ValueError, match="width is 0"):
        FrameVAE(width=0)


def test_on_the_grid_the_map_is_the_decoder_and_the_fit(vae: FrameVAE, found: LatentMap) -> None:
    for x, y in ((-3, -3), (0, 0), (0.6, -2.1), (3, 3)):
        with torch.no_grad():
            frame = vae.decode(torch.tensor([[x, y]], dtype=torch.float32)).double()
        np.testing.assert_allclose(found.spectrum(x, y), frame[0], atol=1e-3)
        fit = fit_to_frames(frame.T[None])
        weights, size, _ = found.filter(x, y)
        np.testing.assert_allclose(weights, fit.weights[0, 0], atol=2e-3)
        assert size**2 == pytest.approx(float(fit.error[0, 0]), rel=1e-3)


def test_between_the_grid_the_map_stays_near_the_decoder(vae: FrameVAE, found: LatentMap) -> None:
    places = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 2 * EDGE - EDGE
    with torch.no_grad():
        gaps = vae.decode(places).numpy() - np.array([found.spectrum(*place) for place in places.tolist()])
    assert np.sqrt(np.square(gaps).mean()) < 0.5


@given(numbers, numbers)
def test_every_filter_on_the_map_is_stable(found: LatentMap, x: float, y: float) -> None:
    weights, size, _ = found.filter(x, y)
    assert np.abs(np.roots(np.r_[1, -weights])).max() < 1
    assert 0 < size < 1


@given(st.lists(st.floats(-0.999, 0.999), min_size=1, max_size=16))
def test_weights_and_reflection_coefficients_say_the_same(inside: list[float]) -> None:
    weights = weights_of(np.array(inside))
    assert np.abs(np.roots(np.r_[1, -weights])).max() < 1
    if np.abs(inside).max() < 0.9:
        np.testing.assert_allclose(reflections(weights), inside, atol=1e-5)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12), st.sampled_from((80, 120, 300)))
def test_no_walk_clips_however_wild(found: LatentMap, places: list[tuple[float, float]], pitch_hz: int) -> None:
    for source in ("around", "voice", "whisper"):
        sound = found.sound(np.repeat(places, 4, axis=0), pitch_hz=pitch_hz, source=source)  # type: ignore[arg-type]
        assert np.abs(sound).max() < 1


@pytest.mark.parametrize("source", ["voice", "whisper"])
def test_a_place_is_as_loud_as_its_frame_says(found: LatentMap, source: str) -> None:
    for x, y in ((0, 0), (1.5, -1.5), (-1.5, 1.5), (-3, -3)):
        sound = found.sound([(x, y)] * 80, pitch_hz=120, source=source)[1_600:]  # type: ignore[arg-type]
        weights, size, _ = found.filter(x, y)
        response = lfilter([1.0], np.r_[1.0, -weights], np.eye(1, 2_000)[0])
        power = size**2 * np.square(response).sum()
        assert 10 * np.log10(np.square(sound).mean() / power) == pytest.approx(0, abs=2.5)


def test_pulses_come_at_the_pitch(found: LatentMap) -> None:
    sound = found.sound([(0, 0)] * 40, pitch_hz=100, source="voice")
    np.testing.assert_allclose(sound[3200:3360], sound[3360:3520], atol=1e-6)


def test_nothing_of_the_sentence_lies_beyond_the_edge(found: LatentMap, speech: list[Utterance]) -> None:
    assert len(found.path) == len(speech[0].phone_labels())
    assert np.abs(found.path).max() <= EDGE
    assert ((found.voiced >= 0) & (found.voiced <= 1)).all()
    assert found.points.shape == (200, 3)
