"""Files that are whole or not there: how causalcnn writes, and how it reads tensors back."""

from __future__ import annotations

import errno
import glob
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn._extras import require

__all__ = ["CheckpointError", "atomic_write", "check_writable", "pack_tensors", "read_tensors", "write_json"]


NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LITTER_SECONDS = 24 * 3600


class CheckpointError(ValueError):
    """A file cannot be used as a checkpoint or as a model; the message names it, why, and the way out."""


@contextmanager
def atomic_write(path: str | Path, *, sole_writer: bool = False) -> Iterator[Path]:
    """Write a file that appears complete or not at all, also when the machine stops in between.

    The block writes to the temporary file that it is given, in the folder of ``path``. When the block ends, that file
    takes the place of ``path``. When it fails or is interrupted, the temporary file is removed, and what was at
    ``path`` is still there.

    Args:
        path: the file to write; its folder is made if it is missing.
        sole_writer: whether no other process writes this file. The temporary file then always has the same name, so
            that one left by a killed process is overwritten; otherwise its name is never used twice.

    Yields:
        The temporary file, empty, with the permissions of any new file.

    Raises:
        OSError: the folder cannot be written, which is found before the block; or the disk is full.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from causalcnn._files import atomic_write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "table.txt") as part:
        ...         _ = part.write_text("whole")
        ...     (Path(folder) / "table.txt").read_text()
        'whole'
    """
    path = Path(path)
    part = _new_part(path, "" if sole_writer else f".{uuid.uuid4().hex[:12]}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise OSError(error.errno, _explanation(path, error, "free some space")) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Find out before the work, not after it, whether its result can be written.

    Args:
        path: the file that will be written; its folder is made if it is missing. The file itself is not touched.

    Raises:
        IsADirectoryError: ``path`` is a folder.
        OSError: its folder cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"cannot write {str(path)!r}: it is a folder; name a file in it")
    _new_part(path, f".{uuid.uuid4().hex[:12]}").unlink()


def write_json(path: str | Path, table: Mapping[str, Any]) -> None:
    """Write a table as JSON that can be read and compared line by line; the file appears whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", "utf8", newline="\n")


def _new_part(path: Path, name: str) -> Path:
    part = path.with_name(f"{path.name}{name}.part")
    with suppress(OSError):  # what a process left that was killed; a living one writes more often than once a day
        for old in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
            if time.time() - old.stat().st_mtime > LITTER_SECONDS:
                old.unlink()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.open("wb").close()
    except OSError as error:
        raise OSError(error.errno, _explanation(path, error, "choose a folder that can be written")) from error
    return part


def _explanation(path: Path, error: OSError, way_out: str) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot write {str(path)!r}: {reason}; {way_out}"


# ------------------------------------------------------------------------------------------------ tensors
def pack_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of a safetensors file. Tensors that share memory, such as tied weights, are copied."""
    save = require("safetensors.torch", extra="train").save
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    return save(copies, dict(metadata))


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file.

    Args:
        path: the file.

    Returns:
        Its tensors by name, each of any shape, and its metadata.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is cut off, damaged, or no safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r} (looked from {Path.cwd()})")
    safetensors = require("safetensors", extra="train")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{str(path)!r} ({path.stat().st_size} bytes) is no safetensors file, or is damaged or cut off ({error}); "
            "copy it again, or remove it and train anew"
        ) from None
