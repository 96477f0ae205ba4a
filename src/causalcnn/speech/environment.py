"""What the environment says: where recordings are looked for, where the cache is, whether the network may be used."""

from __future__ import annotations

import os
from pathlib import Path

from causalcnn._extras import require

CACHE_VARIABLE = "CAUSALCNN_CACHE"
"""The environment variable that names the writable cache folder."""
DATA_VARIABLE = "CAUSALCNN_DATA"
"""The environment variable that names a read-only folder of recordings to look in first."""
OFFLINE_VARIABLE = "CAUSALCNN_OFFLINE"
"""Set to 1, it keeps causalcnn off the network."""


def cache_folder() -> Path:
    """Give the folder of ``CAUSALCNN_CACHE``, or the user's cache folder. It is made only when something is written."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(require("pooch", extra="speech").os_cache("causalcnn"))


def data_folder() -> Path | None:
    """Give the folder of ``CAUSALCNN_DATA``, or None where it is not set.

    Returns:
        The folder, which is never written to.

    Raises:
        FileNotFoundError: it names a folder that is not there; a typing error must not look like a missing recording.
    """
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{DATA_VARIABLE} names {str(folder)!r}, which is no folder; correct or unset it")
    return folder


def offline() -> bool:
    """Say whether the user forbids the network."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() not in ("", "0", "false", "no")
