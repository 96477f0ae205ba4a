"""What the container of a recording says of its own length, compared with the bytes that are there.

libsndfile reads what is left of a file that was cut off, and says nothing. Most containers say how long they are, so
they are asked first. A length is a promise only where it was known when the header was written: what writes into a pipe
puts a placeholder there.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = ["fault_of", "frame_before"]

PLACEHOLDERS = (0x7F00_0000, 0x7FFF_F000, 0x8000_0000, 0xFFFF_FFFF)
"""What sox (AIFF, WAV), arecord and ffmpeg write for a length that they do not know, each about: they add the size of
the header, or round to whole frames."""
ABOUT = 1 << 16
LAST_PAGE_BYTES = 1 << 17
"""An Ogg page has at most 65,307 bytes; the last one begins somewhere in the last 128 KB."""


class _Chunks(NamedTuple):
    """How the chunks of a container lie: where the first begins, its header, and what its size counts."""

    first: int
    header: str
    pad: int = 1
    counts_header: bool = False


_CHUNKED = {
    b"RIFF": _Chunks(12, "<4sI", pad=2),
    b"RIFX": _Chunks(12, ">4sI", pad=2),
    b"RF64": _Chunks(12, "<4sI", pad=2),
    b"BW64": _Chunks(12, "<4sI", pad=2),
    b"FORM": _Chunks(12, ">4sI", pad=2),
    b"caff": _Chunks(8, ">4sQ"),
    b"riff": _Chunks(40, "<16sQ", pad=8, counts_header=True),
}
_DATA = (b"data", b"SSND")


def fault_of(file: BinaryIO) -> str:
    """Say why a recording is not whole, by its container's own word.

    Args:
        file: the recording, open for reading bytes, seekable. Its position is moved.

    Returns:
        The reason, or ``""`` where the container is content or says nothing.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(4096)
    kind = head[:4]
    if kind in _CHUNKED:
        return _fault_of_chunks(file, kind, size)
    if kind in (b".snd", b"dns.") and len(head) >= 12:
        start, length = struct.unpack(">2I" if kind == b".snd" else "<2I", head[4:12])
        return "" if _is_placeholder(length) else _cut(start + length, size)
    if head.startswith(b"NIST_1A"):
        return _fault_of_sphere(head, size)
    if kind == b"OggS":
        return _fault_of_pages(file, size)
    if kind[:3] == b"ID3" or (kind[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        return _fault_of_mp3(file, head, size)
    return ""


def _cut(promised: int, size: int) -> str:
    return f"it is cut off: its header promises {promised} bytes, it has {size}" if promised > size else ""


def _is_placeholder(length: int) -> bool:
    return length > 1 << 62 or any(abs(length - known) <= ABOUT for known in PLACEHOLDERS)


# ------------------------------------------------------------------------- chunks: WAV, RF64, AIFF, CAF, Wave64
def _fault_of_chunks(file: BinaryIO, kind: bytes, size: int) -> str:
    file.seek(4)
    whole = struct.unpack(">I" if kind in (b"RIFX", b"FORM") else "<I", file.read(4).ljust(4, b"\0"))[0] + 8
    length64 = None
    for name, start, length in _chunks(file, _CHUNKED[kind], size):
        if name == b"ds64":
            file.seek(start + 8)
            length64 = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        if name not in _DATA:
            continue
        if length64 is not None and length == 0xFFFF_FFFF:
            length = length64
        if _is_placeholder(length):
            return ""
        if not length and size > start and whole <= start:
            return f"its header was never completed: it says that there are no samples, and {size - start} bytes follow"
        if fault := _cut(start + length, size):
            return fault
        end = min(whole, size)
        if kind not in (b"caff", b"riff") and not _goes_on(file, start + length, end, _CHUNKED[kind].header[0]):
            return (
                f"its header contradicts itself: the samples end at byte {start + length}, the file at {end}, and "
                "what lies between is no chunk"
            )
        return ""
    return ""


def _chunks(file: BinaryIO, chunks: _Chunks, size: int) -> Iterator[tuple[bytes, int, int]]:
    """The first four bytes of each chunk's name, where its content begins, and its length."""
    at, header = chunks.first, struct.calcsize(chunks.header)
    while at + header <= size:
        file.seek(at)
        name, length = struct.unpack(chunks.header, file.read(header))
        length -= header if chunks.counts_header else 0
        yield name[:4], at + header, length
        at += header + max(0, length)
        at += -at % chunks.pad


def _goes_on(file: BinaryIO, at: int, end: int, order: str) -> bool:
    """Whether nothing, zeros, or a chunk follows, here or one byte later: some writers forget the byte of padding."""
    file.seek(at)
    following = file.read(max(0, min(end - at, 9)))
    if len(following) < 9 or not any(following):
        return True
    found = (struct.unpack(f"{order}4sI", following[i : i + 8]) for i in (0, 1))
    return any(re.fullmatch(rb"[ -~]{4}", name) and length <= end - at - 8 for name, length in found)


# ------------------------------------------------------------------------------------------- other containers
def _fault_of_sphere(head: bytes, size: int) -> str:
    found = dict(re.findall(rb"(\w+) -\w+ (\d+)", head.partition(b"end_head")[0]))
    start = re.match(rb"NIST_1A\n\s*(\d+)", head)
    if start is None or not {b"sample_count", b"sample_n_bytes"} <= found.keys():
        return ""
    frames = int(found[b"sample_count"]) * int(found.get(b"channel_count", 1))
    return _cut(int(start[1]) + frames * int(found[b"sample_n_bytes"]), size)


def _fault_of_pages(file: BinaryIO, size: int) -> str:
    """Ogg says no length, but marks the last page of a stream."""
    file.seek(max(0, size - LAST_PAGE_BYTES))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    segments = page[26] if len(page) > 26 else 0
    length = 27 + segments + sum(page[27 : 27 + segments])
    if len(page) < length or len(page) < 27:
        return "it is cut off: it ends in the middle of an Ogg page"
    return "" if page[5] & 4 else "it is cut off: the page that ends its stream is missing"


# --------------------------------------------------------------------------------------------------------- MP3
BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320), (
    0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160,
)  # fmt: skip
SMALLEST_FRAME_BYTES = 24


def _fault_of_mp3(file: BinaryIO, head: bytes, size: int) -> str:
    """An encoder that can go back writes the number of bytes into the first frame; other MP3 files say no length."""
    start = _mp3_start(head)
    length = _mp3_length(file, start)
    return "" if length is None else _cut(start + length, size)


def _mp3_start(head: bytes) -> int:
    """Where the first frame is: behind a tag, if there is one."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _mp3_length(file: BinaryIO, start: int) -> int | None:
    """How many bytes there are from the first frame on, if it says so together with the number of frames."""
    file.seek(start)
    first = file.read(192)
    for where in (first.find(b"Xing"), first.find(b"Info")):
        if 0 <= where <= len(first) - 16:
            flags, _, length = struct.unpack(">3I", first[where + 4 : where + 16])
            return length if flags & 3 == 3 else None
    return None


def frame_before(file: BinaryIO) -> tuple[int, bytes] | None:
    """Make what an MP3 file lacks that does not say how long it is: libsndfile guesses, and reads no more than that.

    Args:
        file: a recording of any kind, seekable. Its position is moved.

    Returns:
        Where its first frame begins, and a silent frame to put before it, which says that there are more frames than
        there can be; None for files of other kinds, and for an MP3 that says its length.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    start = _mp3_start(head)
    if head[:4] == b"RIFF":
        found = {name: at for name, at, _ in _chunks(file, _CHUNKED[b"RIFF"], size)}
        file.seek(found.get(b"fmt ", size))
        if file.read(2) != b"\x55\x00" or b"data" not in found:
            return None
        start = found[b"data"]
    length = _mp3_length(file, start)
    if length is not None:
        file.seek(start + length)
        if not _is_layer_3(file.read(4)):  # else another file was appended
            return None if start == 0 or head[:3] == b"ID3" else (start, b"")
    file.seek(start)
    header = file.read(4)
    if not _is_layer_3(header):
        return None
    newest, mono = header[1] >> 3 & 3 == 3, header[3] >> 6 == 3
    rate = (44_100, 48_000, 32_000)[header[2] >> 2 & 3] >> (0, 1, 2)[(3, 2, 0).index(header[1] >> 3 & 3)]
    whole = (144 if newest else 72) * BITRATES[not newest][9] * 1000 // rate
    frame = bytes([0xFF, header[1] | 1, 0x90 | header[2] & 0x0C, header[3]])  # no checksum, 128 or 64 kbit/s
    frame += bytes((17 if mono else 32) if newest else (9 if mono else 17))
    frame += b"Xing" + struct.pack(">2I", 1, size // SMALLEST_FRAME_BYTES + 1)
    return start, frame.ljust(whole, b"\0")


def _is_layer_3(header: bytes) -> bool:
    """Whether these are the four bytes that begin a frame of an MP3."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return False
    return header[1] >> 3 & 3 != 1 and header[2] >> 4 not in (0, 15) and header[2] >> 2 & 3 != 3
