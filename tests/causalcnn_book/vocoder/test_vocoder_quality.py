"""The experiment of the vocoders: its measures, its rows, and what it writes."""

import numpy as np
import pytest
import torch

pytest.importorskip("pystoi")

from causalcnn.models import LPWaveNet, LPWaveNetConfig
from causalcnn.speech import LogMel, SampleCorpus, synthesize
from causalcnn_book.vocoder import vocoder_quality
from causalcnn_book.vocoder.vocoder_quality import ROWS, VocoderQuality, compare, noise_vocoder, vocoders


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def voice():
    samples = synthesize("Somebody says something, and nobody hears it.", speaker=1_203).samples
    return samples[: len(samples) // 160 * 160]


def test_a_sound_is_not_far_from_itself_and_noise_is_far(voice):
    x = voice.astype(np.float64)
    own = compare(x, x)
    assert own["stoi"] == pytest.approx(1)
    assert own["log_spectral_distance_db"] == own["spectral_convergence"] == own["level_db"] == 0
    half = compare(x, x / 2)
    assert half["level_db"] == pytest.approx(-6.02, abs=0.01)
    assert half["stoi"] == pytest.approx(1, abs=0.01)
    noise = compare(x, np.random.default_rng(0).normal(0, x.std(), len(x)))
    assert noise["stoi"] < 0.5
    assert noise["log_spectral_distance_db"] > 10


def test_noise_alone_has_the_expected_size_and_is_not_silence(voice):
    model = noise_vocoder(LPWaveNet(LPWaveNetConfig.tiny()))
    x = torch.from_numpy(voice)[None]
    frames, begin = LogMel()(x)[:, :, 1:], model.initial_state(x[:, None])
    gaussians, _ = model.predict(x[:, : 160 * frames.shape[2]], frames, begin)
    mean, scale = gaussians[0].detach()
    z = ((x[0, : len(mean)] - mean) / scale).numpy()
    assert 0.5 < np.sqrt((z**2).mean()) < 2, "errors are as large as the frames say"
    assert not torch.equal(model.generate(frames, seed=0), model.generate(frames, seed=1))


@pytest.mark.parametrize("row", ROWS)
def test_each_row_gives_the_samples_of_all_frames(row, voice):
    pytest.importorskip("numba")
    pytest.importorskip("librosa")
    frames = LogMel()(torch.from_numpy(voice[:4_800])[None])
    with torch.no_grad():
        sound = vocoders(LPWaveNet(LPWaveNetConfig.tiny()).eval(), 0.8)[row](frames, 0)
    assert sound.shape == (4_800,)
    assert sound.abs().max() <= 1


def test_the_table_has_medians_and_quartiles_of_clips(voice, monkeypatch, tmp_path):
    pytest.importorskip("numba")
    sounds = [np.round(part * 32_767).astype(np.int16) for part in (voice, voice[::-1], voice[:8_000])]
    monkeypatch.setattr(VocoderQuality, "sets", {"few": SampleCorpus(sounds, ["a", "b", "b"])})
    monkeypatch.setattr(VocoderQuality, "vocoder", LPWaveNet(LPWaveNetConfig.tiny()).eval())
    table = VocoderQuality().run(tmp_path / "vocoder.json", rows=["lp-wavenet", "online 1"], seeds=[0, 1])
    assert table["sets"]["few"]["clips"] == 2, "half a second is left out"
    network, online = (table["rows"][row] for row in ("lp-wavenet", "online 1"))
    assert network["lookahead_frames"] == online["lookahead_frames"] == 1
    assert set(network["few"]) == {"stoi", "log_spectral_distance_db", "spectral_convergence", "level_db", "peak"}
    low, high = online["few"]["stoi"]["quartiles"]
    assert low <= online["few"]["stoi"]["median"] <= high
    assert 2 < network["bits"]["few"] < 8
    assert "bits" not in online
    assert VocoderQuality.rows == vocoder_quality.ROWS
