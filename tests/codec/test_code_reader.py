"""A file decoded while it arrives gives the codes of the whole file, each frame in time, whatever the pieces."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn.codec import CodeReader, DamagedCodeFile, ForeignCodeFile, pack_codes, unpack_codes
from causalcnn.codec.container import HEADER_BYTES
from tests.codec.small import (
    CONFIG,
    MODEL,
    assert_frames_come_in_time,
    joined_of,
    random_codes,
    recordings,
    small_prior,
)
from tests.fuzz import examples

pytest.importorskip("constriction")


@functools.cache
def recording(seed):
    """Four blocks, the last of them shorter, and their bytes."""
    codes = random_codes(330, seed)
    return codes, pack(codes)


def pack(codes):
    return pack_codes(codes, small_prior(), model=MODEL).data


def reader():
    return CodeReader(small_prior(), model=MODEL)


def cut(data, seed):
    places = np.sort(np.random.default_rng(seed).integers(0, len(data) + 1, 20)).tolist()
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)]


def as_array(frames):
    return np.array([frame.codes for frame in frames]).reshape(len(frames), CONFIG.cells)


@given(recordings, st.integers(0, 99))
def test_frames_come_as_they_were_written_whatever_the_pieces(codes, seed):
    live, data = reader(), pack(codes)
    frames = [frame for piece in cut(data, seed) for frame in live.feed(piece)]
    assert live.finish() == []
    assert [frame.number for frame in frames] == list(range(codes.top.shape[1]))
    assert (as_array(frames) == joined_of(codes)).all()
    assert live.damaged == []
    assert live.header.samples == 160 * len(frames)


@pytest.mark.parametrize("seed", range(3))
def test_a_frame_can_be_decoded_at_most_8_bytes_after_its_own(seed):
    codes = random_codes(250, seed)
    assert_frames_come_in_time(pack(codes), joined_of(codes), small_prior(), MODEL)


@settings(max_examples=examples(40))
@given(st.integers(0, 3), st.data())
def test_after_damage_it_goes_on_with_the_next_whole_block(seed, data):
    """What is given and not taken back is what is recovered of the whole file."""
    _, whole = recording(seed)
    start = data.draw(st.integers(HEADER_BYTES, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 150)))
    altered = whole[:start] + data.draw(st.binary(max_size=30)) + whole[stop:]
    try:
        recovered = unpack_codes(altered, small_prior(), model=MODEL)
    except DamagedCodeFile as error:
        recovered = error.recovered
    live = reader()
    frames = [frame for piece in cut(altered, seed) for frame in live.feed(piece)] + live.finish()
    taken_back = {number for first, after in live.damaged for number in range(first, after)}
    kept = {frame.number: frame.codes for frame in frames if frame.number not in taken_back}
    expected = {first + n: one for first, piece in recovered.pieces for n, one in enumerate(piece)}
    assert kept.keys() == expected.keys()
    assert all((kept[number] == expected[number]).all() for number in kept)


def test_a_file_that_ends_within_a_block_takes_its_frames_back():
    live = reader()
    frames = live.feed(pack(random_codes(150))[:-1])
    assert len(frames) == 150
    assert live.finish() == []
    assert live.damaged == [(100, 150)]


def test_foreign_bytes_are_refused_as_soon_as_they_come():
    with pytest.raises(ForeignCodeFile, match="begins with b'R'"):
        reader().feed(b"R")
    data = bytearray(pack(random_codes(3)))
    data[30] ^= 1
    with pytest.raises(ForeignCodeFile, match="header of this file of codes is damaged"):
        reader().feed(bytes(data))
    with pytest.raises(ForeignCodeFile, match="another model"):
        CodeReader(small_prior(), model=b"another.").feed(pack(random_codes(3)))


def test_the_reader_holds_no_more_than_a_block():
    codes = random_codes(3000)
    live, data = reader(), pack(codes)
    for n in range(0, len(data), 50):
        live.feed(data[n : n + 50])
        assert len(live._buffer) < 5000
    assert torch.equal(unpack_codes(data, small_prior(), model=MODEL).codes.top, codes.top)
