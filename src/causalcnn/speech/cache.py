"""Where causalcnn keeps what it has made or downloaded, and how nothing half-written is ever found there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from causalcnn._extras import require

CACHE_VARIABLE = "CAUSALCNN_CACHE"
"""The environment variable that names the writable cache folder."""
DATA_VARIABLE = "CAUSALCNN_DATA"
"""The environment variable that names a read-only folder of recordings to look in first."""
OFFLINE_VARIABLE = "CAUSALCNN_OFFLINE"
"""Set to 1, it keeps causalcnn off the network."""


def cache_folder() -> Path:
    """``CAUSALCNN_CACHE``, or the user's cache folder. Not created before something is written."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(require("pooch", extra="speech").os_cache("causalcnn"))


def data_folder() -> Path | None:
    """``CAUSALCNN_DATA``, or None where it is not set.

    Raises:
        FileNotFoundError: it names a folder that is not there: a typing error should not look like a missing file.
    """
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{DATA_VARIABLE} names {str(folder)!r}, which is no folder; correct or unset it")
    return folder


def offline() -> bool:
    """Whether the user forbids the network."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() not in ("", "0", "false", "no")


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing so that it appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
