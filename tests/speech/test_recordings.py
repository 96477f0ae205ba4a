"""Files: converted as documented, or refused with the name, the rule and the way out; never a wrong spectrogram."""

import io
import re

import numpy as np
import pytest
import soundfile
import torch

from causalcnn.speech import AudioFolder, LogMel, UnreadableRecording, read_recording

SECOND = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000) * 0.5


@pytest.fixture
def write(tmp_path):
    def written(samples, rate_hz=16000, name="a.wav", subtype=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate_hz, subtype=subtype)
        return path

    return written


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE"])
def test_integers_are_scaled(write, subtype):
    got = read_recording(write(SECOND, subtype=subtype))
    assert got.rate_hz == 16000
    assert got.samples.dtype == np.float32
    np.testing.assert_allclose(got.samples, SECOND, atol=0.01 if subtype == "PCM_U8" else 1e-4)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_kinds_of_files(write, suffix):
    got = read_recording(write(SECOND, name=f"a.{suffix}"))
    assert got.seconds == pytest.approx(1, abs=0.08)
    assert np.abs(got.samples).max() == pytest.approx(0.5, abs=0.05)
    assert got.source == f"a.{suffix}"


def test_quiet_stays_quiet(write):
    got = read_recording(write(SECOND / 1000, subtype="FLOAT"))
    assert np.abs(got.samples).max() == pytest.approx(0.0005, rel=1e-3)


def test_stereo_becomes_the_mean_or_one_channel(write):
    other = np.cos(2 * np.pi * 700 * np.arange(16000) / 16000) * 0.25
    path = write(np.stack([SECOND, other], 1), subtype="FLOAT")
    np.testing.assert_allclose(read_recording(path).samples, (SECOND + other) / 2, atol=1e-6)
    np.testing.assert_allclose(read_recording(path, channel=1).samples, other, atol=1e-6)
    with pytest.raises(UnreadableRecording, match="channel 2 was asked for; it has 2"):
        read_recording(path, channel=2)


def test_channels_that_cancel_are_refused(write):
    path = write(np.stack([SECOND, -SECOND], 1), subtype="FLOAT")
    with pytest.raises(UnreadableRecording, match=r"cancel each other.*channel=0"):
        read_recording(path)
    np.testing.assert_allclose(read_recording(path, channel=0).samples, SECOND, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [22050, 44100, 48000, 96000])
def test_other_rates_are_converted(write, rate_hz):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz) * 0.5
    got = read_recording(write(tone, rate_hz, subtype="FLOAT"))
    assert len(got) == 16000
    np.testing.assert_allclose(got.samples[800:-800], SECOND[800:-800], atol=2e-3)


def test_8_khz_is_converted_with_a_warning_and_has_nothing_above_4_khz(write):
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    with pytest.warns(UserWarning, match="nothing above 4000 Hz"):
        got = read_recording(write(noise, 8000, subtype="FLOAT"))
    assert len(got) == 16000
    power = np.abs(np.fft.rfft(got.samples)) ** 2
    assert power[4300:].sum() < 1e-5 * power[:4000].sum()


@pytest.mark.parametrize(
    ("samples", "rate_hz", "words"),
    [
        (np.zeros(0), 16000, "holds no samples"),
        (np.zeros(1), 16000, "lasts 1 samples.*one frame needs 160"),
        (np.zeros(159), 16000, "one frame needs 160"),
        (np.r_[SECOND, np.nan], 16000, "1 of its 16001 values are NaN"),
        (np.r_[SECOND, -np.inf], 16000, "NaN or infinite"),
        (SECOND * 32768, 16000, "reach 16384.*Divide them by 32768"),
        (SECOND, 4000, "4000 samples a second.*at least 8000"),
    ],
)
def test_unusable_samples_are_refused(write, samples, rate_hz, words):
    with pytest.raises(UnreadableRecording, match=words) as error:
        read_recording(write(samples, rate_hz, subtype="FLOAT"))
    assert "a.wav" in str(error.value)


def test_missing_empty_text_and_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape("no.wav")):
        read_recording(tmp_path / "no.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("Dear diary, this is no sound.")
    (tmp_path / "text.mp3").write_text("Dear diary, this is no sound." * 50)
    (tmp_path / "noise.flac").write_bytes(b"fLaC" + bytes(range(256)) * 4)
    for name, words in (
        ("empty.wav", "0 bytes"),
        ("text.wav", "no audio file"),
        ("text.mp3", "no audio file|no samples"),
        ("noise.flac", "no audio file|damaged"),
        (".", "AudioFolder"),
    ):
        with pytest.raises(UnreadableRecording, match=words):
            read_recording(tmp_path / name)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_file_that_is_cut_off_is_refused_or_shorter_but_never_wrong(write, suffix):
    noise = np.random.default_rng(0).normal(0, 0.1, 48000)
    path = write(noise, name=f"a.{suffix}")
    whole = read_recording(path).samples
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if suffix != "ogg":
        with pytest.raises(UnreadableRecording, match=r"cut off|damaged"):
            read_recording(path)
    else:  # its pages carry no total; what is there is right
        part = read_recording(path).samples
        np.testing.assert_allclose(part[: len(part) - 2000], whole[: len(part) - 2000], atol=1e-5)


def test_a_streamed_wav_of_unknown_length_is_read(write):
    path = write(SECOND)
    data = bytearray(path.read_bytes())
    data[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(read_recording(path)) == 16000


def test_a_recording_gives_the_features_of_its_samples(write):
    got = read_recording(write(SECOND, subtype="FLOAT"))
    expected = LogMel()(torch.from_numpy(SECOND.astype(np.float32))[None])
    torch.testing.assert_close(LogMel()(got.tensor()), expected, atol=1e-4, rtol=0)


def test_a_folder_is_read_lazily_in_order(write, tmp_path):
    for name in ("b/2.flac", "a/1.wav", "c.ogg", "b/.hidden.wav"):
        write(SECOND, name=name)
    (tmp_path / "notes.txt").write_text("not a recording")
    folder = AudioFolder(tmp_path)
    assert [utterance.source for utterance in folder] == ["1.wav", "2.flac", "c.ogg"]
    assert len(folder) == 3
    assert folder[-1].source == "c.ogg"
    assert len(folder[:2]) == 2


def test_a_bad_file_in_a_folder_stops_or_is_named_and_left_out(write, tmp_path):
    write(SECOND, name="a.wav")
    (tmp_path / "b.wav").write_text("no sound")
    folder = AudioFolder(tmp_path)  # nothing is read yet
    with pytest.raises(UnreadableRecording, match=re.escape("b.wav")):
        list(folder)
    with pytest.warns(UserWarning, match=r"left out: .*b\.wav"):
        assert len(list(AudioFolder(tmp_path, on_bad="skip"))) == 1


def test_no_folder_and_no_recordings_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        AudioFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no recording"):
        AudioFolder(tmp_path)
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        AudioFolder(tmp_path, on_bad="ignore")


def test_a_big_endian_or_odd_file_is_what_libsndfile_says(tmp_path):
    path = tmp_path / "a.aiff"
    buffer = io.BytesIO()
    soundfile.write(buffer, SECOND, 16000, format="AIFF")
    path.write_bytes(buffer.getvalue())
    np.testing.assert_allclose(read_recording(path).samples, SECOND, atol=1e-4)
