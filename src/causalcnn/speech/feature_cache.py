"""Features on disk: one memory-mapped array and its index, found complete or not at all."""

from __future__ import annotations

import io
import json
import os
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from causalcnn._files import atomic_write
from causalcnn.speech.cache import CACHE_VARIABLE

Entry = dict[str, Any]
Array = NDArray[np.float32]


def kept(path: Path, make: Callable[[], Iterable[tuple[Entry, Array]]]) -> tuple[list[Entry], Array]:
    """The entries and the array ``(frames, bands)`` that are kept as ``path.json``; made where they are not.

    The index is written last and names its array, whose name is never used twice: a process that builds the
    same corpus at the same time, or one that is killed, cannot leave an index beside a foreign array.

    Args:
        path: where, without suffix. make: gives entries and pieces ``(frames, bands)``, one after the other.

    Raises:
        OSError: it cannot be written (a full disk, a folder that cannot be written); nothing partial stays.
    """
    try:
        return _read(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(f"the cached features {path}.json are damaged ({error}); making them anew", stacklevel=4)
    array = path.with_name(f"{path.name}-{uuid.uuid4().hex[:12]}.npy")
    entries, checksum = _write_array(array, make())
    try:
        found = _read(path)  # another process was quicker: use what it made
    except (OSError, ValueError, KeyError, TypeError):
        damaged = _array_of(path)
        try:
            _write_index(path, array, entries, checksum)
        except BaseException:
            array.unlink()
            raise
        if damaged is not None:
            damaged.unlink(missing_ok=True)
        return _read(path)
    array.unlink()
    return found


def _write_array(path: Path, pieces: Iterable[tuple[Entry, Array]]) -> tuple[list[Entry], int]:
    entries: list[Entry] = []
    frames, bands, checksum = 0, 0, 0
    with ExitStack() as stack:
        with _explained(path):
            file = stack.enter_context(stack.enter_context(atomic_write(path)).open("wb"))
        for entry, piece in pieces:
            data = np.ascontiguousarray(piece, dtype="<f4")
            with _explained(path):
                if not entries:
                    bands = data.shape[1]
                    _write_head(file, 0, bands)
                file.write(data.tobytes())
            entries.append(entry)
            frames, checksum = frames + len(data), zlib.crc32(data.tobytes(), checksum)
        if not entries:
            raise ValueError("the corpus has no clip: there is nothing to make features of")
        with _explained(path):
            # numpy leaves room in the header for the number of rows to grow, so that it can be written again.
            start = _head_length(bands)
            file.seek(0)
            _write_head(file, frames, bands)
            if file.tell() != start:
                raise OSError("the header of the array changed its length")
            file.flush()
    return entries, checksum


def _write_head(file: BinaryIO, frames: int, bands: int) -> None:
    head = {"descr": "<f4", "fortran_order": False, "shape": (frames, bands)}
    np.lib.format.write_array_header_1_0(file, head)


def _head_length(bands: int) -> int:
    file = io.BytesIO()
    _write_head(file, 0, bands)
    return file.tell()


def _write_index(path: Path, array: Path, entries: list[Entry], checksum: int) -> None:
    lines = json.dumps(entries).encode()
    frames = sum(entry["frames"] for entry in entries)
    head = {"array": array.name, "frames": frames, "crc32": checksum, "index_crc32": zlib.crc32(lines)}
    target = path.with_name(path.name + ".json")
    with _explained(target), atomic_write(target) as part:
        part.write_bytes(json.dumps(head).encode() + b"\n" + lines)


def _read(path: Path) -> tuple[list[Entry], Array]:
    head_line, _, lines = path.with_name(path.name + ".json").read_bytes().partition(b"\n")
    head = json.loads(head_line)
    if zlib.crc32(lines) != head["index_crc32"]:
        raise ValueError("the index fails its checksum")
    try:
        array = np.load(path.with_name(head["array"]), mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{head['array']} is gone") from None
    except EOFError:
        raise ValueError(f"{head['array']} is empty") from None
    if len(array) != head["frames"] or _crc32(array) != head["crc32"]:
        raise ValueError("the features fail their checksum")
    return json.loads(lines), array


def _array_of(path: Path) -> Path | None:
    """The array that a damaged index names, if it still says so."""
    try:
        head = json.loads(path.with_name(path.name + ".json").read_bytes().partition(b"\n")[0])
        return path.with_name(Path(head["array"]).name)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _crc32(array: Array) -> int:
    checksum = 0
    for start in range(0, len(array), 1 << 14):
        checksum = zlib.crc32(array[start : start + (1 << 14)].tobytes(), checksum)
    return checksum


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What goes wrong with the disk, in words that name the way out."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(
            error.errno,
            f"the features cannot be kept in {str(path.parent)!r} ({reason}); nothing partial was left. Free some "
            f"space (an hour takes 115 MB), or set {CACHE_VARIABLE} to a folder that can be written",
        ) from error
