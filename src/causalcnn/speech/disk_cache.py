"""What takes long to make, kept on disk: one file with an array and what is known of its pieces, whole or not there.

====================  ======================================================================
array                 the pieces one after the other, little-endian, in C order
index                 JSON: entries, dtype, shape and the array's CRC-32
the last 12 bytes     the length of the index (8 bytes) and its CRC-32 (4 bytes)
====================  ======================================================================

The index comes last, so that the pieces can be written while they are made: a corpus need not fit into memory.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalcnn._files import atomic_write
from causalcnn.speech.environment import CACHE_VARIABLE

Entry = dict[str, Any]
"""What is known of a piece: anything that JSON can hold."""
Piece = tuple[Entry, NDArray]
"""An entry and its rows of the array."""

_FOOTER = struct.Struct("<QI")
_DAMAGED = (ValueError, KeyError, TypeError)
_CHUNK_BYTES = 1 << 22


class CacheWriteError(OSError):
    """The cache cannot be written: a full disk, or a folder without permission. Nothing partial is left there."""


class CacheReadError(OSError):
    """The cache is there and cannot be read: it belongs to another user, for example. It is left as it is."""


class MappedArray(np.memmap):
    """An array of a cache file. Pickled, it is the name of its file: workers share the map, and no one copies it."""

    checksum: int = 0
    """The CRC-32 that the file's index has; what is opened again must have the same."""

    def __reduce__(self) -> Any:
        if not isinstance(self.base, mmap.mmap):  # a part of it is an array like any other
            return np.asarray(self).__reduce__()
        return _mapped_again, (str(self.filename), self.checksum)


def _mapped_again(path: str, checksum: int) -> NDArray:
    """Open the array of a pickle, without reading it."""
    try:
        index = _index(Path(path))
    except (OSError, *_DAMAGED) as error:
        raise CacheReadError(f"what was pickled reads {path!r}, which cannot be read any more ({error})") from error
    if index["crc32"] != checksum:
        raise CacheReadError(f"what was pickled reads {path!r}, which has been made anew since; make it anew, too")
    return _map(Path(path), index)


def cached(path: Path, make: Callable[[], Iterable[Piece]], what: str) -> tuple[list[Entry], NDArray]:
    """Give the entries and the array that a file holds; where it is not there, make it first.

    A damaged file is made anew, with a warning. Processes that make the same file at the same time do not disturb
    each other: each puts a whole file there, and one that is read stays readable when another takes its place.

    Args:
        path: the file.
        make: makes the pieces, at least one. They must agree in dtype and in all axes but the first. Its errors are
            passed on.
        what: what the pieces are, for messages; a plural, such as ``"features"``.

    Returns:
        The entries, and the pieces joined along their first axis, memory-mapped and so read when they are asked for.

    Raises:
        CacheReadError: the file is there, and the system does not let it be read.
        CacheWriteError: the file cannot be written; nothing partial is left.
    """
    try:
        return _read(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise CacheReadError(
            f"the {what} kept in {str(path)!r} cannot be read ({error.strerror or error}). Ask whoever made them to "
            f"let you read them (chmod a+r), or set {CACHE_VARIABLE} to a folder of your own"
        ) from error
    except _DAMAGED as error:
        warnings.warn(f"the {what} kept in {path} are damaged ({error}); making them anew", stacklevel=3)
    try:
        _write(path, make(), what)
    except CacheWriteError:
        with contextlib.suppress(OSError, *_DAMAGED):
            return _read(path)  # Windows replaces no file that is being read: another process has just made it
        raise
    return _read(path)


def in_memory(pieces: Iterable[Piece]) -> tuple[list[Entry], NDArray]:
    """Give what :func:`cached` gives, without a disk."""
    entries, arrays = zip(*pieces, strict=True)
    return list(entries), arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _read(path: Path) -> tuple[list[Entry], NDArray]:
    index = _index(path)
    array = _map(path, index)
    if _crc32(array) != index["crc32"]:
        raise ValueError("its array fails its checksum")
    return index["entries"], array


def _map(path: Path, index: Entry) -> NDArray:
    array = MappedArray(path, index["dtype"], mode="r", shape=tuple(index["shape"]))
    array.checksum = index["crc32"]
    return array


def _index(path: Path) -> Entry:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if end < _FOOTER.size:
            raise ValueError(f"it has {end} bytes")
        file.seek(end - _FOOTER.size)
        length, checksum = _FOOTER.unpack(file.read())
        file.seek(max(0, end - _FOOTER.size - length))
        text = file.read(min(length, end))
    if zlib.crc32(text) != checksum:
        raise ValueError("its index fails its checksum")
    return json.loads(text)


def _write(path: Path, pieces: Iterable[Piece], what: str) -> None:
    entries: list[Entry] = []
    rows, checksum = 0, 0
    with contextlib.ExitStack() as stack:
        with _explained(path, what):
            part = stack.enter_context(atomic_write(path))
        for entry, piece in pieces:  # outside of _explained: an OSError of the source is none of the cache
            data = np.ascontiguousarray(piece, piece.dtype.newbyteorder("<"))
            _append(part, data.data, what)
            entries.append(entry)
            rows, checksum = rows + len(data), zlib.crc32(data.data, checksum)
        index = {"entries": entries, "dtype": data.dtype.str, "shape": [rows, *data.shape[1:]], "crc32": checksum}
        text = json.dumps(index).encode()
        _append(part, text + _FOOTER.pack(len(text), zlib.crc32(text)), what)
        with _explained(path, what):
            stack.close()


def _append(part: Path, data: bytes | memoryview, what: str) -> None:
    with _explained(part, what), part.open("ab") as file:
        file.write(data)


def _crc32(array: NDArray) -> int:
    checksum = 0
    rows = max(1, _CHUNK_BYTES // (array.itemsize * math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        checksum = zlib.crc32(array[start : start + rows].tobytes(), checksum)
    return checksum


@contextlib.contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    """What goes wrong with the disk, in words that name the way out."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CacheWriteError(  # without the number of the error: atomic_write would explain it once more
            f"the {what} cannot be kept in {str(path.parent)!r} ({reason}); nothing partial was left. Free some space "
            f"(an hour of speech takes 115 MB), or set {CACHE_VARIABLE} to a folder that can be written",
        ) from error
