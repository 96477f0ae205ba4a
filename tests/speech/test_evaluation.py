"""What a model is scored on: there without any recording, complete where the recordings are."""

import io
import tarfile

import numpy as np
import pytest
import soundfile
import torch

from causalcnn.speech import (
    EVALUATION_MAX_HZ,
    EmbeddedSpeech,
    FeatureCorpus,
    LogMel,
    SpokenDigits,
    bands_below,
    evaluation_sets,
    evaluation_sounds,
    mel_filterbank,
    speech_mask,
)


def test_without_recordings_the_embedded_test_speakers_remain_and_it_says_so(capsys):
    sets = evaluation_sets(6, speakers=2)
    assert list(sets) == ["embedded"]
    assert sets["embedded"].speaker_names == ("s1200", "s1201")
    said = capsys.readouterr().out
    assert "Scored without prompts, librispeech, digits" in said
    assert "CAUSALCNN_DATA" in said
    evaluation_sets(6, speakers=2, announce=False)
    assert capsys.readouterr().out == ""


def test_no_speaker_of_the_sets_is_in_training():
    train = EmbeddedSpeech("train", speakers=40, seconds=1)
    assert not set(train.speaker_names) & set(evaluation_sets(6, speakers=2)["embedded"].speaker_names)


def test_bands_below_hold_nothing_above():
    filters, hz = mel_filterbank(), torch.arange(513) * 16000 / 1024
    for limit in (500, 2000, 4000, 8000):
        bands = bands_below(limit)
        assert filters[:bands, hz > limit].sum() == 0
        assert bands == 80 or filters[bands, hz > limit - 1e-6].sum() > 0 or limit == 500
    assert bands_below(10) == 0


def test_digits_are_read_from_the_archive(monkeypatch, tmp_path):
    path = tmp_path / "digits.tar.gz"
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path))  # what is kept is named by the real archive's checksum
    with tarfile.open(path, "w:gz") as archive:
        for name in ("recordings/3_theo_1.wav", "recordings/7_ann_12.wav", "README.wav", "other/1_bob_1.wav"):
            data = io.BytesIO()
            soundfile.write(data, 0.1 * np.sin(np.arange(4000) / 3), 8000, format="WAV")
            member = tarfile.TarInfo(f"free-1.0/{name}")
            member.size = len(data.getvalue())
            archive.addfile(member, io.BytesIO(data.getvalue()))
    monkeypatch.setattr("causalcnn.speech.digits.download", lambda *_, **__: path)
    named = dict(SpokenDigits().named())
    assert list(named) == ["3_theo_1.wav", "7_ann_12.wav"]
    theo = named["3_theo_1.wav"]
    assert (theo.text, theo.speaker, theo.rate_hz, len(theo)) == ("3", "theo", 16000, 8000)
    power = np.abs(np.fft.rfft(theo.samples)) ** 2
    assert power[2100:].sum() < 1e-5 * power.sum()  # bins of 2 Hz: nothing above 4,200 Hz
    assert [spoken.text for spoken in SpokenDigits()] == ["3", "7"]
    assert FeatureCorpus.of(SpokenDigits()).speaker_names == ("ann", "theo")


def test_all_sets_of_real_speech(recordings):
    sets = evaluation_sets(20, speakers=2, level_db=-8.0)
    assert sets.keys() == EVALUATION_MAX_HZ.keys()
    assert sets["prompts"].speaker_names == ("prompts",)
    assert len(sets["librispeech"].speaker_names) == 3
    assert len(sets["digits"].speaker_names) == 6
    for name, corpus in sets.items():
        assert corpus.level_db == pytest.approx(-8, abs=1.5), name
        used = bands_below(EVALUATION_MAX_HZ[name])
        spoken = torch.cat([features[:, speech_mask(features)] for features in corpus], dim=1)
        assert spoken[:used].mean() > -50
        assert used == 80 or spoken[used + 1 :].mean() < -80


def test_the_sounds_are_those_of_the_sets():
    same_sounds(evaluation_sets(6, speakers=3, level_db=-12.0), evaluation_sounds(6, speakers=3, level_db=-12.0))


def test_the_sounds_of_real_speech_are_those_of_the_sets(recordings):
    same_sounds(
        evaluation_sets(10, speakers=2, level_db=-15.0, announce=False),
        evaluation_sounds(10, speakers=2, level_db=-15.0, announce=False),
    )


def same_sounds(sets, sounds):
    assert sounds.keys() == sets.keys()
    for name, corpus in sets.items():
        assert sounds[name].speaker_names == corpus.speaker_names
        assert len(sounds[name]) == len(corpus)
        for samples in sounds[name]:
            features = LogMel()(samples[None])[0]
            same_length = [other for other in corpus if other.shape == features.shape]
            # what is quiet differs by the rounding to 16 bits, and what is loud may be clipped
            gaps = [(features - other)[other > -40].abs().median() for other in same_length]
            assert min(gaps) < 0.05, name
