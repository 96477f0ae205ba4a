"""Files that are cut, altered, joined or foreign: the right samples, or an error that names the file."""

import random
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from causalcnn.speech import UnreadableRecording, read_recording
from tests.fuzz import examples
from tests.speech.test_containers import KINDS, SOUND, written

HEADER_BYTES = 256
"""What is altered behind it are samples, which no container but FLAC and Ogg has a checksum of."""
FILES = {kind: written(*kind, SOUND[:8_000]) for kind in KINDS}
STARTS = [
    b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff", b"caff", b".snd", b"NIST_1A\n   1024\n", b"fLaC", b"OggS", b"ID3", b"",
    b"\xff\xfb\x90\x44", b"\0\0\0\x20ftyp", b"\x1a\x45\xdf\xa3", b"\xff\xf1", b"#!AMR\n", b"PK\x03\x04",
]  # fmt: skip


def read(data, path):
    """The samples, or None where they are refused; whatever else is raised is a fault."""
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples = read_recording(path).samples
    except UnreadableRecording as refused:
        message = str(refused)
        assert message.startswith(f"{str(path)!r} cannot be used: ")
        assert len(message) > len(str(path)) + 30
        return None
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) >= 160
    assert np.isfinite(samples).all()
    return samples


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "a file"


@pytest.fixture(scope="module")
def whole(path):
    return {kind: read(data, path) for kind, data in FILES.items()}


@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32), bits=st.integers(1, 8))
@options(max_examples=examples(150), deadline=None)
def test_altered_samples_take_nothing_else_with_them(path, whole, kind, seed, bits):
    draw, data = random.Random(seed), bytearray(FILES[kind])
    for _ in range(bits):
        data[draw.randrange(HEADER_BYTES, len(data))] ^= 1 << draw.randrange(8)
    samples = read(data, path)
    if samples is not None:
        missing = len(whole[kind]) - len(samples)
        assert missing <= 0 or (kind[0] == "MP3" and missing <= 1152)  # of which it warns


@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32), count=st.integers(1, 8))
@options(max_examples=examples(150), deadline=None)
def test_an_altered_header_is_believed_or_refused(path, kind, seed, count):
    draw, data = random.Random(seed), bytearray(FILES[kind])
    for _ in range(count):
        data[draw.randrange(HEADER_BYTES)] = draw.randrange(256)
    read(data, path)


@given(kind=st.sampled_from(KINDS), share=st.floats(0, 1, exclude_max=True), junk=st.binary(max_size=40))
@options(max_examples=examples(100), deadline=None)
def test_what_is_cut_off_or_torn_is_missed(path, whole, kind, share, junk):
    data = FILES[kind]
    length = int(share * len(data))
    for torn in (data[:length], data[:length] + junk[: len(data) - length - 1], data[: length // 2] + data[length:]):
        samples = read(torn, path)
        if samples is not None and torn == data[:length]:
            assert len(samples) == len(whole[kind])


@given(start=st.sampled_from(STARTS), junk=st.binary(max_size=3_000), zeros=st.integers(0, 3_000))
@options(max_examples=examples(100), deadline=None)
def test_what_is_no_recording_is_refused(path, start, junk, zeros):
    samples = read(start + junk + bytes(zeros), path)
    assert samples is None or start == b"\xff\xfb\x90\x44"  # whose first frame may be whole


def test_no_error_is_lost_in_a_callback(path, capfd):
    """cffi prints an exception that is raised there, and libsndfile goes on as if the file ended."""
    draw = random.Random(0)
    for data in FILES.values():
        altered = bytearray(data)
        for _ in range(20):
            altered[draw.randrange(HEADER_BYTES)] = draw.randrange(256)
        read(altered, path)
    assert "Traceback" not in capfd.readouterr().err
