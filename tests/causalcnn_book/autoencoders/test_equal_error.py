"""The same error in several ways, as sounds and as an experiment."""

import numpy as np
import pytest
import torch

pytest.importorskip("librosa")

from causalcnn.models import CausalVQVAE2, VQVAE2Config
from causalcnn.speech import SampleCorpus, synthesize
from causalcnn_book.autoencoders import KINDS, error_db, versions
from causalcnn_book.autoencoders.equal_error import AS_IT_IS, EqualError, clips, log_mel


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def voice():
    return synthesize("Somebody says something, and nobody hears it.", speaker=1_203).samples[: 2 * 16_000]


def level_db(sound):
    return 10 * np.log10(np.square(sound, dtype=np.float64).mean())


def test_the_versions_are_sounds_of_the_level_of_the_recording(voice):
    """Checked by numbers: length, level, full scale, and where the energy lies."""
    sounds = versions(voice, 4.0, kinds=tuple(KINDS))
    assert list(sounds) == [AS_IT_IS, *KINDS]
    wanted = log_mel(voice)
    for name, sound in sounds.items():
        assert sound.shape == voice.shape
        assert 0.01 < np.abs(sound).max() < 1, "neither silent nor clipped"
        assert error_db(wanted, log_mel(sound)) < 10, "it is still the spectrogram that was asked for"
        if name != "quieter":
            assert level_db(sound) == pytest.approx(level_db(sounds[AS_IT_IS]), abs=0.01)
    assert level_db(sounds[AS_IT_IS]) == pytest.approx(level_db(voice), abs=1)
    assert level_db(sounds["quieter"]) - level_db(sounds[AS_IT_IS]) == pytest.approx(-4.1, abs=0.3)
    hum = [np.abs(np.fft.rfft(sounds[name]))[1:1_000].argmax() for name in (AS_IT_IS, "quieter")]
    assert hum[0] == hum[1], "quieter is the same sound"


def test_clips_are_pieces_of_two_to_four_seconds():
    sounds = [np.zeros(int(seconds * 16_000), np.int16) for seconds in (1.9, 2.505, 9, 5)]
    lengths = [len(x) / 16_000 for x in clips(SampleCorpus(sounds, ["a"] * 4))]
    assert lengths == [2.5, 4, 4, 4]


def test_the_table_has_medians_and_quartiles_of_equal_errors(voice, monkeypatch, tmp_path):
    pytest.importorskip("pystoi")
    whole = np.round(voice * 32_767).astype(np.int16)
    monkeypatch.setattr(EqualError, "sets", {"few": SampleCorpus([whole, whole[::-1]], ["a", "b"])})
    monkeypatch.setattr(EqualError, "codec", (CausalVQVAE2(VQVAE2Config.tiny()).eval(), 0.0))
    rows = [AS_IT_IS, "codec", "formants", "quieter"]
    table = EqualError().run(tmp_path / "equal-error.json", rows=rows)
    assert table["sets"] == {"few": {"clips": 2, "speakers": 2}}
    found = {row: table["rows"][row]["few"] for row in rows}
    assert found[AS_IT_IS]["own"]["error_db"]["median"] == found[AS_IT_IS]["own"]["masked_db"]["median"] == 0
    assert found["codec"]["own"]["error_db"]["median"] > 5, "it is not trained"
    for row in ("formants", "quieter"):
        assert [found[row][error]["error_db"]["quartiles"] for error in ("2.0", "6.0")] == [[2, 2], [6, 6]]
        assert found[row]["2.0"]["masked_db"]["median"] <= 2
    assert found["quieter"]["6.0"]["stoi"]["median"] == pytest.approx(
        found[AS_IT_IS]["own"]["stoi"]["median"], abs=0.02
    )
    assert found["formants"]["6.0"]["stoi"]["median"] < found["quieter"]["6.0"]["stoi"]["median"] - 0.05
