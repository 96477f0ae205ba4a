"""Whatever the container: whole files are read, also those of unknown length; what is cut off is refused."""

import io
import struct
import warnings

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given
from hypothesis import settings as options
from hypothesis import strategies as st

from causalcnn.speech import UnreadableRecording, read_recording
from causalcnn.speech.decoding import FORMATS
from tests.fuzz import examples

SOUND = np.random.default_rng(0).normal(0, 0.1, 24_000).clip(-0.9, 0.9)
LOSSLESS = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_16", "ALAC_24")


def written(format, subtype, sound=SOUND, rate_hz=None):
    file = io.BytesIO()
    rate_hz = rate_hz or (48_000 if subtype == "OPUS" else 16_000)
    soundfile.write(file, sound, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


def is_writable(format, subtype):
    try:
        return bool(written(format, subtype, SOUND[:2000]))
    except soundfile.LibsndfileError:
        return False


KINDS = [
    (format, subtype)
    for format in FORMATS
    for subtype in soundfile.available_subtypes(format)
    if is_writable(format, subtype) and not subtype.startswith("G723")  # libsndfile cannot read what it wrote
]


def read(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_recording(data).samples


@pytest.mark.parametrize(("format", "subtype"), KINDS)
def test_a_whole_file_is_read_and_half_of_it_refused(format, subtype):
    data = written(format, subtype)
    samples = read(data)
    if subtype in LOSSLESS:
        np.testing.assert_allclose(samples, SOUND, atol=0.01 if subtype.endswith("8") else 1e-4)
    elif subtype != "OPUS":  # codecs that work in blocks fill the last one
        assert len(SOUND) <= len(samples) < len(SOUND) + 2000
    with pytest.raises(UnreadableRecording, match=r"^'<\d+ bytes>' cannot be used: "):
        read(data[: len(data) // 2])


@given(kind=st.sampled_from(KINDS), share=st.floats(0, 1, exclude_max=True))
@options(max_examples=examples(40), deadline=None)
def test_wherever_a_file_is_cut_it_is_refused_or_nothing_is_missing(kind, share):
    data = written(*kind)
    whole, length = read(data), int(share * len(data))
    try:
        part = read(data[:length])
    except UnreadableRecording:
        return
    assert len(part) == len(whole)  # what was cut off were no samples


def wav_with(riff, data, sound=SOUND):
    whole = bytearray(written("WAV", "PCM_16", sound))
    at = whole.index(b"data")
    whole[4:8], whole[at + 4 : at + 8] = struct.pack("<I", riff), struct.pack("<I", data)
    return bytes(whole)


@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0x7FFF_F024, 0x7FFF_F000),  # sox
        (0x7FFF_F022, 0x7FFF_EFFE),  # sox, frames of 6 bytes
        (0x8000_0024, 0x8000_0000),  # arecord
        (0x7FFF_FFFF, 0x7FFF_FFDB),
        (0xFFFF_FFFF, 0xFFFF_FFFF),  # ffmpeg
        (0xFFFF_FFFF, 0xFFFF_FFDB),
        (48_037, 48_000),  # the byte of padding counted, and not written
        (48_036 + 1000, 48_000),  # a chunk at the end was lost: no sample was
        (36, 48_000),
    ],
)
def test_a_length_that_was_not_known_is_no_promise(riff, data):
    np.testing.assert_allclose(read(wav_with(riff, data)), SOUND, atol=1e-4)


def test_other_containers_of_unknown_length_are_read():
    au = bytearray(written("AU", "PCM_16"))
    au[8:12] = b"\xff" * 4
    np.testing.assert_allclose(read(au), SOUND, atol=1e-4)
    flac = bytearray(written("FLAC", "PCM_16"))
    flac[21] &= 0xF0  # the 36 bits of the number of samples, and the checksum of all samples
    flac[22:42] = bytes(20)
    np.testing.assert_allclose(read(flac), SOUND, atol=1e-4)
    aiff = bytearray(written("AIFF", "PCM_16"))
    at = aiff.index(b"SSND")
    aiff[at + 4 : at + 8] = struct.pack(">I", 0x7F00_0008)  # sox
    aiff[4:8] = struct.pack(">I", 0x7F00_0036)
    np.testing.assert_allclose(read(aiff), SOUND, atol=1e-4)


@given(promised=st.integers(2, 0x7E00_0000), kept=st.integers(1_000, 48_000))
@options(max_examples=examples(40), deadline=None)
def test_what_a_header_promises_must_be_there(promised, kept):
    assume(promised > kept)
    with pytest.raises(UnreadableRecording, match="cut off"):
        read(wav_with(promised + 36, promised)[: 44 + kept])


def test_a_header_that_says_less_than_there_is_contradicts_itself():
    with pytest.raises(UnreadableRecording, match=r"header contradicts itself"):
        read(wav_with(48_036, 20_000))
    with pytest.raises(UnreadableRecording, match=r"never completed.* 48000 bytes follow"):
        read(wav_with(0, 0))


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("more", [b"LIST" + struct.pack("<I", 4) + b"INFO", b"\0" * 64, b"TAG" + b"\0" * 125])
def test_what_follows_the_samples_is_of_no_account(more, padded, odd):
    data = bytearray(written("WAV", "PCM_U8", SOUND[: 24_000 - odd])[: 44 + 24_000 - odd])
    data += b"\0" * (odd and padded) + more
    if not more.startswith(b"TAG"):  # which players hang behind everything
        data[4:8] = struct.pack("<I", len(data) - 8)
    assert len(read(data)) == 24_000 - odd


# --------------------------------------------------------------------------------------------------------- MP3
MP3 = written("MP3", "MPEG_LAYER_III")
BARE = MP3[MP3.index(MP3[:2], 100) :]
"""Without the first frame, which says how many there are."""


def in_wav(mp3):
    wave = struct.pack("<4sI4s4sIHHIIHHH", b"RIFF", 50 + len(mp3), b"WAVE", b"fmt ", 30, 0x55, 1, 16000, 4000, 1, 0, 12)
    return wave + struct.pack("<HIHHH", 1, 2, 144, 1, 1393) + struct.pack("<4sI", b"data", len(mp3)) + mp3


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.filterwarnings("ignore:.*samples a second")
def test_an_mp3_that_says_no_length_is_read_to_its_end(rate_hz, channels):
    """Its bit rate varies, so that what libsndfile guesses of its beginning is far off; a tag changes nothing."""
    loud_at_the_end = SOUND * np.linspace(0, 1, len(SOUND)) ** 4
    mp3 = written("MP3", "MPEG_LAYER_III", np.stack([loud_at_the_end] * channels, 1), rate_hz)
    bare = mp3[mp3.index(mp3[:2], 100) :]
    expected = len(SOUND) * 16_000 // rate_hz
    tag = b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)
    for file in (bare, tag + bare, in_wav(bare)):
        samples = read_recording(file).samples
        assert expected <= len(samples) <= expected + 4 * 1152 * 16_000 // rate_hz
    for file in (mp3, tag + mp3):
        assert len(read_recording(file).samples) == pytest.approx(expected, abs=1)


def test_mp3_files_that_were_joined_are_read_to_their_end():
    assert len(read(MP3 + MP3)) == pytest.approx(2 * len(SOUND), abs=6 * 576)


def test_an_mp3_in_a_wav_is_what_it_is_outside():
    assert len(read(in_wav(MP3))) == len(read(MP3)) == len(SOUND)
    with pytest.raises(UnreadableRecording, match="cut off"):
        read(in_wav(MP3)[:-1])


def test_a_container_that_cannot_be_checked_is_refused():
    with pytest.raises(UnreadableRecording, match=r"PVF file, which does not tell whether it is whole.*WAV"):
        read(written("PVF", "PCM_16"))
