"""Frames as bytes: half a decibel each, what the figures carry and the experiments keep."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book.autoencoders.distortions import FLOOR_DB

__all__ = ["as_bins", "from_bins", "rounded"]

BANDS, BIN_DB, MOST_BINS = 80, 0.5, 254


def rounded(frames: ArrayLike) -> NDArray[np.float64]:
    """Round frames to half dB, −70 … 57.

    Args:
        frames: log-mel in dB, ``(80, frames)``.

    Returns:
        What a figure carries of them, ``(80, frames)``.
    """
    bins = np.round((np.asarray(frames, np.float64) - FLOOR_DB) / BIN_DB)
    return FLOOR_DB + BIN_DB * np.clip(bins, 0, MOST_BINS)


def as_bins(frames: ArrayLike) -> str:
    """Write frames as text, a byte for each band: half dB above −70, frame by frame from the lowest band, as base64.

    Args:
        frames: log-mel in dB, ``(80, frames)``.

    Returns:
        The text, 107 characters a frame.

    Raises:
        ValueError: another shape.

    Example:
        >>> import numpy as np
        >>> from causalcnn_book.autoencoders import as_bins, from_bins
        >>> frames = np.linspace(-90, 20, 160).reshape(80, 2)
        >>> float(np.abs(from_bins(as_bins(frames)) - np.maximum(frames, -70)).max()) <= 0.25
        True
    """
    values = np.asarray(frames, np.float64)
    if values.ndim != 2 or len(values) != BANDS:
        raise ValueError(f"the frames have the shape {values.shape}; it must be (80, frames)")
    return base64.b64encode(((rounded(values) - FLOOR_DB) / BIN_DB).astype(np.uint8).T.tobytes()).decode("ascii")


def from_bins(text: str) -> NDArray[np.float64]:
    """Read frames that :func:`as_bins` wrote.

    Args:
        text: the text.

    Returns:
        Log-mel in dB, ``(80, frames)``.

    Raises:
        ValueError: it is no text of whole frames.
    """
    found = np.frombuffer(base64.b64decode(text, validate=True), np.uint8).astype(np.float64)
    return FLOOR_DB + BIN_DB * found.reshape(-1, BANDS).T
