"""Files: converted as documented, or refused with the name, the rule and the way out; never a wrong spectrogram."""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr
import torch

from causalcnn.speech import AudioFolder, FeatureCorpus, LogMel, UnreadableRecording, read_blocks, read_recording

SECOND = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000) * 0.5


@pytest.fixture
def write(tmp_path):
    def written(samples, rate_hz=16000, name="a.wav", subtype=None, format=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            path, samples, rate_hz, subtype=subtype or ("OPUS" if name.endswith("opus") else None), format=format
        )
        return path

    return written


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE"])
def test_integers_are_scaled(write, subtype):
    got = read_recording(write(SECOND, subtype=subtype))
    assert got.rate_hz == 16000
    assert got.samples.dtype == np.float32
    np.testing.assert_allclose(got.samples, SECOND, atol=0.01 if subtype == "PCM_U8" else 1e-4)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff", "au", "caf", "w64"])
def test_kinds_of_files(write, suffix):
    got = read_recording(write(SECOND, name=f"a.{suffix}", **({"format": "OGG"} if suffix == "opus" else {})))
    assert got.seconds == pytest.approx(1, abs=0.08)
    assert np.abs(got.samples[:8000]).max() == pytest.approx(0.5, abs=0.05)
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
        (np.r_[SECOND, np.nan], 16000, "NaN or infinite, the first at 1.000 s"),
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


def test_a_recording_gives_the_features_of_its_samples(write):
    got = read_recording(write(SECOND, subtype="FLOAT"))
    expected = LogMel()(torch.from_numpy(SECOND.astype(np.float32))[None])
    torch.testing.assert_close(LogMel()(got.tensor()), expected, atol=1e-4, rtol=0)


# --------------------------------------------------------------------- bytes, file objects, blocks, memory
def test_bytes_and_file_objects_are_read_as_their_file_would_be(write, tmp_path):
    path = write(SECOND, name="a.flac")
    expected = read_recording(path)
    data = path.read_bytes()
    at_its_end = io.BytesIO(data)
    at_its_end.seek(0, 2)
    with path.open("rb") as file, tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(path, "b.flac")
        for recording in (data, bytearray(data), memoryview(data), at_its_end, file, Trickle(data)):
            assert np.array_equal(read_recording(recording).samples, expected.samples)
            if not isinstance(recording, (bytes, bytearray, memoryview)):
                assert not recording.closed
        assert read_recording(file).source == "a.flac"
        assert read_recording(data).source == ""
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert np.array_equal(read_recording(archive.extractfile("b.flac")).samples, expected.samples)


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time and cannot be sought."""

    def __init__(self, data):
        self._rest = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._rest.readinto(memoryview(buffer)[:1000])


class Broken(io.BytesIO):
    """A file of a network share that goes away after some bytes."""

    def read(self, size=-1):
        if self.tell() > 10_000:
            raise OSError(5, "Input/output error")
        return super().read(size)


def test_what_goes_wrong_in_a_file_object_is_said_and_never_taken_for_its_end(write, capfd):
    data = write(SECOND).read_bytes()
    with pytest.raises(UnreadableRecording, match=r"<Broken>.*could not be read.*Input/output error"):
        read_recording(Broken(data))
    with pytest.raises(UnreadableRecording, match=r"<100 bytes>.*cut off"):
        read_recording(data[:100])
    with pytest.raises(TypeError, match="for reading bytes"):
        read_recording(io.StringIO("text"))
    assert "Traceback" not in capfd.readouterr().err  # of a callback


@pytest.mark.parametrize(
    ("format", "subtype", "rate_hz"),
    [
        ("WAV", "PCM_24", 16000), ("FLAC", "PCM_16", 44100), ("OGG", "VORBIS", 22050), ("OGG", "OPUS", 48000),
        ("MP3", "MPEG_LAYER_III", 44100),
    ],
)  # fmt: skip
def test_blocks_are_what_the_whole_would_be(format, subtype, rate_hz):
    noise = np.random.default_rng(0).normal(0, 0.1, (2 * rate_hz, 2)).clip(-0.9, 0.9)
    file = io.BytesIO()
    soundfile.write(file, noise, rate_hz, format=format, subtype=subtype)
    file.seek(0)
    whole = soundfile.read(file)[0].mean(1).astype(np.float32)
    if rate_hz != 16000:
        whole = soxr.resample(whole, rate_hz, 16000, quality="HQ")
    for seconds in (0.01, 0.37, 10):
        assert np.array_equal(np.concatenate(list(read_blocks(file, seconds=seconds))), whole)
    assert np.array_equal(read_recording(file).samples, whole)
    with pytest.raises(ValueError, match="seconds is 0"):
        next(read_blocks(file, seconds=0))


def test_reading_holds_what_it_returns_and_no_more_than_two_blocks(write, tmp_path):
    rate_hz = 48_000
    block_bytes = 10 * rate_hz * 2 * 8
    path = write(np.random.default_rng(0).normal(0, 0.1, (60 * rate_hz, 2)), rate_hz)
    read_recording(path)  # what is imported does not count
    tracemalloc.start()
    try:
        result = read_recording(path).samples.nbytes
        assert tracemalloc.get_traced_memory()[1] < result + 2 * block_bytes
        tracemalloc.reset_peak()
        features = FeatureCorpus.of(AudioFolder(tmp_path), cache=False)
        assert tracemalloc.get_traced_memory()[1] < features.frames * 80 * 4 + 2 * block_bytes
    finally:
        tracemalloc.stop()


# -------------------------------------------------------------------------------------------------- folders
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


def test_linked_folders_are_read_once_and_hidden_ones_not(write, tmp_path):
    root = tmp_path / "corpus"
    for name in ("corpus/ann/1.wav", "elsewhere/2.aiff", "corpus/.git/annex/3.wav", "corpus/.Trash/4.wav"):
        write(SECOND, name=name)
    (root / "bob").symlink_to(tmp_path / "elsewhere")
    (root / "ann" / "again").symlink_to(root)  # a loop
    (root / "latest").symlink_to("ann")  # of which the real name counts
    (root / "itself").symlink_to("itself")
    (root / "5.wav").symlink_to(root / ".git" / "annex" / "3.wav")  # as git-annex does
    (root / "6.wav").symlink_to("nowhere")
    folder = AudioFolder(root, on_bad="skip")
    assert [file.relative_to(root).as_posix() for file in folder.files] == ["5.wav", "6.wav", "ann/1.wav", "bob/2.aiff"]
    with pytest.warns(UserWarning, match=r"left out: there is no file .*6\.wav"):
        assert [name for name, _ in folder.named()] == ["5.wav", "ann/1.wav", "bob/2.aiff"]


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), FileNotFoundError(2, "gone"), OSError(5, "IO")]
)
def test_skip_leaves_out_whatever_one_file_does(write, tmp_path, monkeypatch, error):
    write(SECOND, name="a.wav")
    write(SECOND, name="b.wav")
    folder, opened = AudioFolder(tmp_path, on_bad="skip"), type(tmp_path).open

    def refuse(path, *rest, **more):
        if path.name == "b.wav":
            raise error
        return opened(path, *rest, **more)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    with pytest.warns(UserWarning, match="left out"):
        assert len(list(folder)) == 1
    with pytest.raises(type(error)):
        list(AudioFolder(tmp_path))


def test_a_file_that_vanishes_costs_itself_only(write, tmp_path):
    write(SECOND, name="a.wav")
    gone = write(SECOND, name="b.wav")
    folder = AudioFolder(tmp_path, on_bad="skip")
    gone.unlink()
    with pytest.warns(UserWarning, match=r"left out.*b\.wav"):
        assert len(FeatureCorpus.of(folder)) == 1


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are UTF-8 there")
def test_a_name_that_is_not_utf_8_is_a_name_like_any_other(write, tmp_path):
    data = write(SECOND, name="a.wav").read_bytes()
    name = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / name).write_bytes(data)
    (tmp_path / os.fsdecode(b"bad\xe9.wav")).write_bytes(b"no sound")
    with pytest.warns(UserWarning, match=r"left out: .*bad"):
        corpus = FeatureCorpus.of(AudioFolder(tmp_path, on_bad="skip"))
    assert [clip.name for clip in corpus.clips] == ["a.wav", name]
    assert [clip.name for clip in FeatureCorpus.of(AudioFolder(tmp_path, on_bad="skip")).clips] == ["a.wav", name]


# --------------------------------------------------------------------------------------------------- ffmpeg
STAND_IN = """#!{python}
import struct, sys
import numpy as np
path = sys.argv[sys.argv.index("-i") + 1].removeprefix("file:")
data = open(path, "rb").read()[12:]
if data.startswith(b"bad"):
    sys.exit("moov atom not found")
sys.stdout.buffer.write(struct.pack(">4s5I", b".snd", 24, 0xFFFFFFFF, 6, 16000, 2))
sys.stdout.buffer.write(np.frombuffer(data, "<f4").astype(">f4").tobytes())
if len(data) < 8 * 16000:
    sys.stderr.write("stream 0: partial file")
"""


def test_what_libsndfile_cannot_read_goes_through_ffmpeg(tmp_path, monkeypatch):
    """A stand-in that speaks as ffmpeg does; the real one is tried below, where there is one."""
    stereo = np.stack([SECOND, SECOND / 2], 1).astype("<f4").tobytes()
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + stereo)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UnreadableRecording, match=r"a\.m4a.*Install ffmpeg"):
        read_recording(path)
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    for recording in (path, path.read_bytes()):
        np.testing.assert_allclose(read_recording(recording).samples, SECOND * 0.75, atol=1e-6)
    assert len(AudioFolder(tmp_path)) == 1
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(UnreadableRecording, match=r"a\.m4a.*cut off or damaged; ffmpeg says: .*partial file"):
        read_recording(path)
    path.write_bytes(b"\0\0\0\x20ftypM4A bad")
    with pytest.raises(UnreadableRecording, match=r"ffmpeg cannot read it \(moov atom not found\)"):
        read_recording(path)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg here")
@pytest.mark.parametrize("suffix", ["m4a", "aac", "webm", "wma"])
def test_the_real_ffmpeg_reads_them_and_knows_what_is_cut_off(write, tmp_path, suffix):
    path = tmp_path / f"b.{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", write(SECOND, 48000), path], check=True)
    got = read_recording(path)
    assert got.seconds == pytest.approx(1 / 3, abs=0.1)
    assert np.abs(got.samples).max() == pytest.approx(0.5, abs=0.1)
    if suffix != "aac":  # which says no length
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(UnreadableRecording):
            read_recording(path)
