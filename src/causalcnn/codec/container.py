"""The bytes of a ``.ccn`` file: a header, and a block for every second, each with a checksum.

::

    header   "\\x89CCN"  version  hash of model  hash of prior  rate  samples  checksum      37 bytes
              4 bytes    1        8              8              4     8        4
    block    number  frames  bytes  words of the range coder  checksum                        11 bytes and the words
              4       1       2      as many bytes             4

Numbers are little-endian, words have their highest byte first. A block's checksum begins with the hashes of model and
prior, so a block says itself that it is whole and to what it belongs. After damage the next whole block is found by
looking for it at every byte: also where bytes were lost or added, and where the header is damaged.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["BLOCK_FRAMES", "HEADER_BYTES", "MAGIC", "VERSION", "Block", "Header", "find_blocks", "read_block"]

MAGIC, VERSION = b"\x89CCN", 1
"""The first byte is no text, so that a program that changes ends of lines is noticed."""
BLOCK_FRAMES = 100
"""Frames of a block, one second; the last block of a file may have fewer."""
FRAME_BYTES = 256
"""The words of a frame take no more; what claims more is no block."""
BLOCKS = 1 << 24
"""So many blocks a file has at most, half a year; a higher number is none. So hardly a place looks like a block's."""
SEARCHED_BYTES = 1 << 20
"""So much is searched at once."""

_HEADER = struct.Struct("<4sB8s8sIQ")
_HEAD = struct.Struct("<IBH")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CHECKSUM.size
HEAD_BYTES, CHECKSUM_BYTES = _HEAD.size, _CHECKSUM.size


@dataclass(frozen=True)
class Header:
    """What stands at the beginning of a file.

    Attributes:
        model: 8 bytes, the fingerprint of the model that made the codes.
        prior: 8 bytes, the fingerprint of the prior.
        rate_hz: samples a second of the sound.
        samples: how many samples the sound has.
        version: of the format.
    """

    model: bytes
    prior: bytes
    rate_hz: int
    samples: int
    version: int = VERSION

    def pack(self) -> bytes:
        """Write it as bytes."""
        data = _HEADER.pack(MAGIC, self.version, self.model, self.prior, self.rate_hz, self.samples)
        return data + _CHECKSUM.pack(zlib.crc32(data))

    @staticmethod
    def unpack(data: bytes) -> Header | None:
        """Read it from the beginning of a file; ``None`` where it is damaged or none."""
        if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
            return None
        magic_to_samples = data[: _HEADER.size]
        if _CHECKSUM.unpack_from(data, _HEADER.size)[0] != zlib.crc32(magic_to_samples):
            return None
        _, version, model, prior, rate_hz, samples = _HEADER.unpack(magic_to_samples)
        return Header(model, prior, rate_hz, samples, version)

    @property
    def seed(self) -> int:
        """With what the checksums of its blocks begin."""
        return zlib.crc32(self.model + self.prior)


@dataclass(frozen=True)
class Block:
    """One second of codes.

    Attributes:
        number: from 0; its first frame is ``100 · number``.
        frames: 1 to 100.
        payload: the words of the range coder.
    """

    number: int
    frames: int
    payload: bytes

    def pack(self, seed: int) -> bytes:
        """Write it as bytes, with a checksum that begins with ``seed``; a ValueError if there are too many."""
        if self.number >= BLOCKS:
            raise ValueError(f"a file has at most {BLOCKS} blocks of a second; cut the recording in two")
        if len(self.payload) > self.frames * FRAME_BYTES + 8:
            raise ValueError(f"a frame has at most {FRAME_BYTES} bytes; these {self.frames} have {len(self.payload)}")
        data = _HEAD.pack(self.number, self.frames, len(self.payload)) + self.payload
        return data + _CHECKSUM.pack(zlib.crc32(data, seed))

    @property
    def size(self) -> int:
        """Its bytes in a file."""
        return HEAD_BYTES + len(self.payload) + CHECKSUM_BYTES


def read_head(data: bytes | bytearray | memoryview, start: int) -> tuple[int, int, int] | None:
    """Read number, frames and payload bytes of a block at ``start``; ``None`` where no block can begin so."""
    if start + HEAD_BYTES > len(data):
        return None
    number, frames, size = _HEAD.unpack_from(data, start)
    sound = number < BLOCKS and 1 <= frames <= BLOCK_FRAMES and size <= frames * FRAME_BYTES + 8 and size % 4 == 0
    return (number, frames, size) if sound else None


def places(data: bytes) -> Iterator[int]:
    """Find where :func:`read_head` could read a head, in their order: the same rule for many bytes at once."""
    every = np.frombuffer(data, dtype=np.uint8)
    for first in range(0, len(every) - HEAD_BYTES + 1, SEARCHED_BYTES):
        piece = every[first : first + SEARCHED_BYTES + HEAD_BYTES - 1].astype(np.int32)
        highest, frames, low, high = (piece[n : len(piece) - HEAD_BYTES + 1 + n] for n in (3, 4, 5, 6))
        size = low + 256 * high
        sound = (highest == 0) & (frames >= 1) & (frames <= BLOCK_FRAMES) & (low % 4 == 0)
        yield from (first + np.flatnonzero(sound & (size <= frames * FRAME_BYTES + 8))).tolist()


def read_block(data: bytes | bytearray | memoryview, start: int, seed: int) -> Block | None:
    """Read the block that begins at ``start``, if a whole one does."""
    head = read_head(data, start)
    if head is None:
        return None
    number, frames, size = head
    end = start + HEAD_BYTES + size
    if end + CHECKSUM_BYTES > len(data):
        return None
    if _CHECKSUM.unpack_from(data, end)[0] != zlib.crc32(data[start:end], seed):
        return None
    return Block(number, frames, bytes(data[start + HEAD_BYTES : end]))


def find_blocks(data: bytes, start: int, seed: int) -> Iterator[Block]:
    """Find all whole blocks, also after damage; each has a higher number than those before it.

    Args:
        data: a file.
        start: where the first block should begin.
        seed: with what checksums begin.

    Yields:
        The blocks, in their order.
    """
    view, last = memoryview(data), -1
    for place in places(data):
        block = read_block(view, place, seed) if place >= start else None
        if block is not None and block.number > last:
            yield block
            start, last = place + block.size, block.number
