"""Any codes come back as they were; of a damaged file all that is whole does, and the error says what does not."""

import functools
import struct
import zlib
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn.codec import (
    DamagedCodeFile,
    ForeignCodeFile,
    Frequencies,
    container,
    pack_codes,
    read_codes,
    unpack_codes,
    write_codes,
)
from causalcnn.codec.container import HEADER_BYTES, find_blocks
from causalcnn.models import Codes
from tests.codec.small import MODEL, joined_of, random_codes, random_prior, recordings, small_prior
from tests.fuzz import examples

pytest.importorskip("constriction")
BLOCK = 100


@functools.cache
def recording(seed):
    """Four blocks, the last of them shorter, and their bytes."""
    codes = random_codes(330, seed)
    return codes, pack(codes)


def pack(codes, **how):
    return pack_codes(codes, small_prior(), model=MODEL, **how).data


def unpack(data):
    return unpack_codes(data, small_prior(), model=MODEL)


def blocks_of(data):
    """Where each block of a whole file begins and ends."""
    seed, at, found = zlib.crc32(MODEL + small_prior().fingerprint), HEADER_BYTES, []
    for block in find_blocks(data, HEADER_BYTES, seed):
        found.append((at, at + block.size))
        at += block.size
    assert at == len(data)
    return found


def assert_whole_blocks_are_there(recovered, codes, damaged):
    """Every block but the damaged ones is as it was written, and what is lost is named."""
    whole = joined_of(codes)
    read = np.full_like(whole, -1)
    for first, piece in recovered.pieces:
        read[first : first + len(piece)] = piece
    lost = np.zeros(len(whole), dtype=bool)
    for first, stop in recovered.lost:
        lost[first:stop] = True
    for number in range(-(-len(whole) // BLOCK)):
        part = slice(number * BLOCK, (number + 1) * BLOCK)
        if number in damaged:
            assert lost[part].all()
            assert (read[part] == -1).all()
        else:
            assert (read[part] == whole[part]).all()
            assert not lost[part].any()


# ------------------------------------------------------------------------------------------------------- round trips
@given(recordings, st.data())
def test_any_codes_come_back_with_the_length_of_their_sound(codes, data):
    frames = codes.top.shape[1]
    samples = data.draw(st.integers(160 * frames - 159, 160 * frames)) if frames else 0
    found = unpack(pack(codes, samples=samples))
    assert found.lost == ()
    assert (found.samples, found.rate_hz) == (samples, 16_000)
    if frames:
        assert torch.equal(found.codes.top, codes.top)
        assert torch.equal(found.codes.bottom, codes.bottom)
        assert len(found.pieces) == 1
    else:
        assert found.pieces == ()


def test_the_same_codes_give_the_same_bytes_and_the_bytes_are_written_down():
    """What was written once must be read for ever: these bytes may not change."""
    codes = random_codes(2)
    data = pack(codes)
    assert data == pack(codes)
    assert data[:5] == b"\x89CCN\x01"
    assert data[5:21] == MODEL + small_prior().fingerprint
    assert struct.unpack("<IQ", data[21:33]) == (16_000, 320)
    assert struct.unpack("<IBH", data[37:44]) == (0, 2, len(data) - 37 - 11)


def test_a_block_costs_11_bytes_and_the_last_words_beyond_the_information():
    codes = random_codes(1000)
    packed = pack_codes(codes, small_prior(), model=MODEL)
    blocks = 10
    assert packed.bits / 8 <= len(packed.data) - HEADER_BYTES - 11 * blocks <= packed.bits / 8 + 8 * blocks
    assert len(packed.data) <= 1.02 * packed.bits / 8 + 64 + 9 * blocks  # these blocks are of few bytes


def test_a_file_is_written_whole_and_read_back(tmp_path):
    codes, path = random_codes(123), tmp_path / "new" / "speech.ccn"
    packed = write_codes(path, codes, small_prior(), model=MODEL)
    assert path.read_bytes() == packed.data
    assert torch.equal(read_codes(path, small_prior(), model=MODEL).codes.bottom, codes.bottom)
    assert [one.name for one in path.parent.iterdir()] == ["speech.ccn"]


def test_codes_that_cannot_be_written_leave_the_file_that_was_there(tmp_path):
    path = tmp_path / "speech.ccn"
    path.write_bytes(b"before")
    good = random_codes(3)
    wrong = [
        (Codes(good.top, good.bottom + 11), {}, "an integer from 0 to 10"),
        (Codes(good.top.float(), good.bottom.float()), {}, "an integer from 0 to 10"),
        (Codes(good.top[:, :2], good.bottom), {}, r"have shapes \(1, 2, 2\) and \(1, 3, 4\)"),
        (Codes(good.bottom, good.top), {}, "have shapes"),
        (good, {"samples": 320}, "samples is 320, and there are 3 frames"),
    ]
    for codes, how, message in wrong:
        with pytest.raises(ValueError, match=message):
            write_codes(path, codes, small_prior(), model=MODEL, **how)
    with pytest.raises(ValueError, match="model has 2 bytes"):
        write_codes(path, good, small_prior(), model=b"ab")
    assert path.read_bytes() == b"before"


# ------------------------------------------------------------------------------------------------------------ damage
@settings(max_examples=examples(40))
@given(st.integers(0, 3), st.data())
def test_an_altered_byte_is_noticed_and_costs_its_block_only(seed, data):
    codes, whole = recording(seed)
    at, change = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    altered = bytearray(whole)
    altered[at] ^= change
    with pytest.raises(DamagedCodeFile, match="truncated or altered") as caught:
        unpack(bytes(altered))
    hit = {number for number, (start, stop) in enumerate(blocks_of(whole)) if start <= at < stop}
    assert_whole_blocks_are_there(caught.value.recovered, codes, hit)
    assert ("header is damaged" in str(caught.value)) == (at < HEADER_BYTES)


@settings(max_examples=examples(40))
@given(st.integers(0, 3), st.data())
def test_a_truncated_file_gives_the_blocks_before_its_end(seed, data):
    codes, whole = recording(seed)
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises((DamagedCodeFile, ForeignCodeFile)) as caught:
        unpack(whole[:end])
    if end == 0:
        assert "is empty" in str(caught.value)
    elif end < HEADER_BYTES:
        assert "header" in str(caught.value) or "no file of codes" in str(caught.value)
    else:
        lost = {number for number, (_, stop) in enumerate(blocks_of(whole)) if stop > end}
        assert_whole_blocks_are_there(caught.value.recovered, codes, lost)


@settings(max_examples=examples(40))
@given(st.integers(0, 3), st.data())
def test_bytes_that_are_lost_or_added_cost_the_blocks_that_they_are_in(seed, data):
    codes, whole = recording(seed)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 300)))
    added = data.draw(st.binary(max_size=50))
    altered = whole[:start] + added + whole[stop:]
    if altered == whole:
        return
    with pytest.raises(DamagedCodeFile) as caught:
        unpack(altered)
    hit = {number for number, (begin, end) in enumerate(blocks_of(whole)) if whole[begin:end] not in altered}
    assert_whole_blocks_are_there(caught.value.recovered, codes, hit)


def test_what_is_lost_is_said_in_seconds():
    whole = pack(random_codes(520))
    (start, stop), last = blocks_of(whole)[1], blocks_of(whole)[5]
    with pytest.raises(DamagedCodeFile, match=r"the seconds 1–2, 5–5\.2 are missing or damaged\. 4 blocks") as caught:
        unpack(whole[:start] + whole[stop : last[1] - 1])
    assert caught.value.recovered.lost == ((100, 200), (500, 520))
    assert [(first, len(piece)) for first, piece in caught.value.recovered.pieces] == [(0, 100), (200, 300)]


def test_two_files_in_one_and_blocks_in_another_order_are_noticed():
    one, other = pack(random_codes(150)), pack(random_codes(150, seed=1))
    with pytest.raises(DamagedCodeFile, match=f"nothing is lost, but {len(other)} bytes in it belong to no block"):
        unpack(one + other)
    (a, b), (c, d) = blocks_of(one)
    with pytest.raises(DamagedCodeFile, match="the seconds 0–1 are missing"):
        unpack(one[:a] + one[c:d] + one[a:b])


@given(st.lists(st.sampled_from([0, 1, 4, 100, 101, 255]), max_size=60).map(bytes), st.integers(7, 20))
def test_a_search_of_many_bytes_at_once_finds_the_places_that_one_by_one_does(data, at_once):
    with mock.patch.object(container, "SEARCHED_BYTES", at_once):
        found = list(container.places(data))
    assert found == [start for start in range(len(data)) if container.read_head(data, start)]


# ------------------------------------------------------------------------------------------------------ foreign files
def test_a_large_foreign_file_is_refused_without_long_search():
    """A place in a thousand looks like a block's, so that few checksums are computed."""
    data = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
    assert len(list(container.places(data))) < 3000
    with pytest.raises(ForeignCodeFile, match="no file of codes"):
        unpack(data)


@given(st.binary(max_size=3000))
def test_what_is_no_file_of_codes_is_refused(data):
    with pytest.raises((ForeignCodeFile, DamagedCodeFile)) as caught:
        unpack(data)
    assert isinstance(caught.value, ForeignCodeFile) or caught.value.recovered.pieces == ()


def test_files_of_other_models_priors_and_versions_are_refused_with_a_reason(tmp_path):
    data = pack(random_codes(5))
    with pytest.raises(ForeignCodeFile, match="written with another model, 61206d6f64656c2e"):
        unpack_codes(data, small_prior(), model=b"another.")
    with pytest.raises(ForeignCodeFile, match="written with another prior"):
        unpack_codes(data, Frequencies(random_prior(seed=1)), model=MODEL)
    newer = data[:4] + b"\x02" + data[5 : HEADER_BYTES - 4]
    with pytest.raises(ForeignCodeFile, match="of version 2"):
        unpack(newer + struct.pack("<I", zlib.crc32(newer)) + data[HEADER_BYTES:])
    path = tmp_path / "speech.ccn"
    path.write_bytes(b"RIFF....WAVE")
    with pytest.raises(ForeignCodeFile, match=r"speech\.ccn.*no file of codes: it begins with b'RIFF'"):
        read_codes(path, small_prior(), model=MODEL)
    path.write_bytes(data[:-1])
    with pytest.raises(DamagedCodeFile, match=r"speech\.ccn.*truncated") as caught:
        read_codes(path, small_prior(), model=MODEL)
    assert caught.value.recovered.lost == ((0, 5),)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_codes(tmp_path / "none.ccn", small_prior(), model=MODEL)


def test_a_header_that_claims_centuries_takes_no_memory():
    data = pack(random_codes(100))
    claims = data[:25] + struct.pack("<Q", 2**63)
    forged = claims + struct.pack("<I", zlib.crc32(claims)) + data[HEADER_BYTES:]
    with pytest.raises(DamagedCodeFile, match="missing or damaged") as caught:
        unpack(forged)
    assert len(caught.value.recovered.pieces) == 1
    assert caught.value.recovered.lost == ((100, 2**63 // 160 + 1),)


def test_a_block_whose_checksum_is_right_and_whose_words_are_not_is_lost():
    data = pack(random_codes(100))
    seed = zlib.crc32(MODEL + small_prior().fingerprint)
    forged = struct.pack("<IBH", 0, 100, 400) + b"\xff" * 400
    with pytest.raises(DamagedCodeFile) as caught:
        unpack(data[:HEADER_BYTES] + forged + struct.pack("<I", zlib.crc32(forged, seed)))
    assert caught.value.recovered.lost == ((0, 100),)
