"""Ways to damage a spectrogram, each with a strength, and the strength that makes a wanted error."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLOOR_DB", "FOUR", "KINDS", "distorted", "error_db", "formants", "noise", "pauses", "strength"]

FLOOR_DB = -70.0
"""What is below is silence: to the models of the book, and so here."""
SHARE = 5
"""One cell in so many is a pause, and one a formant: noise of the same strength makes the same error in both."""
TOLERANCE = 1e-9
"""Of the wanted error, as a share of it."""
WIDEST = 4
"""Standard deviations after which a blur ends."""

Frames = NDArray[np.float64]
"""Log-mel in dB, ``(bands, frames)``."""


def error_db(original: Frames, found: Frames) -> float:
    """Measure the root of the mean squared error, the loss of the book's autoencoders but for its unit.

    Args:
        original: log-mel in dB, ``(80, frames)``.
        found: as many frames, ``(80, frames)``.

    Returns:
        The error in dB.
    """
    return math.sqrt(np.square(found - original).mean())


def noise(bands: int, frames: int) -> Frames:
    """Draw noise of mean 0 and variance 1 that is the same on every machine, and in a page: a hash of the cell.

    Args:
        bands: number of bands.
        frames: number of frames.

    Returns:
        Numbers equally likely between −√3 and √3, ``(bands, frames)``.

    Source:
        The finalizer of MurmurHash3, Austin Appleby, in the public domain.
    """
    n = (np.arange(frames, dtype=np.uint32)[None] * np.uint32(bands) + np.arange(bands, dtype=np.uint32)[:, None]) + 1
    n *= np.uint32(0x9E3779B1)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        n ^= n >> np.uint32(shift)
        n *= np.uint32(factor)
    return (2 * (n / 2**32) - 1) * math.sqrt(3)


def pauses(frames: Frames) -> NDArray[np.bool_]:
    """Find the quietest fifth of the frames, by the mean of their bands.

    Args:
        frames: log-mel in dB, ``(80, frames)``.

    Returns:
        True in every cell of these frames, ``(80, frames)``.
    """
    loudness = frames.sum(0)
    return np.broadcast_to(loudness <= np.sort(loudness)[math.ceil(len(loudness) / SHARE) - 1], frames.shape)


def formants(frames: Frames) -> NDArray[np.bool_]:
    """Find the loudest fifth of the cells.

    Args:
        frames: log-mel in dB, ``(80, frames)``.

    Returns:
        True in these cells, ``(80, frames)``.
    """
    return frames >= np.sort(frames, axis=None)[frames.size - math.ceil(frames.size / SHARE)]


def _moved(frames: Frames, by: float, axis: int) -> Frames:
    """Values from ``by`` places before, along an axis, between two by a straight line; the first one goes on."""
    size = frames.shape[axis]
    at = np.arange(size) - by
    low = np.floor(at)
    weight = np.expand_dims(at - low, 1 - axis)
    before, after = (frames.take(np.clip(low + i, 0, size - 1).astype(int), axis) for i in (0, 1))
    return (1 - weight) * before + weight * after


def _blurred(frames: Frames, width: float) -> Frames:
    """Averages over neighboring bands and frames, weighted by a Gaussian of this standard deviation in cells."""
    reach = math.ceil(WIDEST * width)
    weights = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / width))
    weights /= weights.sum()
    for axis in (0, 1):
        padded = np.pad(frames, [(reach, reach) if axis == each else (0, 0) for each in (0, 1)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=axis)
        frames = windows @ weights
    return frames


_WAYS: dict[str, tuple[Callable[[Frames, float], Frames], str]] = {
    "pauses": (lambda x, s: x + s * np.where(pauses(x), noise(*x.shape), 0), "dB"),
    "formants": (lambda x, s: x + s * np.where(formants(x), noise(*x.shape), 0), "dB"),
    "later": (lambda x, s: _moved(x, s, 1), "frames"),
    "higher": (lambda x, s: _moved(x, s, 0), "bands"),
    "everywhere": (lambda x, s: x + s * noise(*x.shape), "dB"),
    "blurred": (_blurred, "cells"),
    "quieter": (lambda x, s: x - s, "dB"),
}

KINDS: dict[str, str] = {kind: unit for kind, (_, unit) in _WAYS.items()}
"""The kinds of damage, each with the unit of its strength."""
FOUR = ("pauses", "formants", "later", "higher")
"""Four that sound as different as can be."""


def distorted(frames: Frames, kind: str, strength: float) -> Frames:
    """Damage a spectrogram.

    Args:
        frames: log-mel in dB, ``(80, frames)``; below −70 dB is silence.
        kind: one of :data:`KINDS`. Noise ``"everywhere"``, in the ``"pauses"`` (the quietest fifth of the frames) or in
            the ``"formants"`` (the loudest fifth of the cells); all ``"later"``, ``"higher"`` in frequency, or
            ``"quieter"``; ``"blurred"`` over time and frequency.
        strength: more than 0, in the unit of the kind: the noise's standard deviation in dB, frames, bands, dB, and for
            the blur its standard deviation in cells.

    Returns:
        The damaged one, ``(80, frames)``, at least −70 dB everywhere.

    Raises:
        ValueError: another kind.

    Example:
        >>> import numpy as np
        >>> from causalcnn_book.autoencoders import distorted
        >>> distorted(np.array([[0.0, -10.0, -20.0]]), "later", 0.5)
        array([[  0.,  -5., -15.]])
    """
    if kind not in _WAYS:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(_WAYS)}")
    return np.maximum(_WAYS[kind][0](np.maximum(frames, FLOOR_DB), strength), FLOOR_DB)


def strength(frames: Frames, kind: str, wanted_db: float) -> float:
    """Find how strong a damage must be to make an error, by bisection.

    Args:
        frames: log-mel in dB, ``(80, frames)``; below −70 dB is silence.
        kind: one of :data:`KINDS`.
        wanted_db: the error, see :func:`error_db`, in dB, more than 0.

    Returns:
        The smallest strength that was found, in the unit of the kind; its error is the wanted one to 9 digits.

    Raises:
        ValueError: another kind; an error that is not positive, or larger than this kind can make.

    Example:
        >>> import numpy as np
        >>> from causalcnn_book.autoencoders import strength
        >>> round(strength(np.zeros((80, 100)), "quieter", 3.0), 6)
        3.0
    """
    frames = np.maximum(frames, FLOOR_DB)
    most = float(max(frames.shape)) if KINDS.get(kind) != "dB" else 1_000.0

    def made(strength: float) -> float:
        return error_db(frames, distorted(frames, kind, strength))

    if not wanted_db > 0:
        raise ValueError(f"the wanted error is {wanted_db} dB; it must be more than 0")
    low = high = 0.01
    while made(high) < wanted_db:
        if high >= most:
            raise ValueError(f"{kind!r} makes an error of {made(high):.1f} dB here at most; {wanted_db} dB are wanted")
        low, high = high, min(1.2 * high, most)
    low = low if low < high else 0.0
    while abs(made(high) / wanted_db - 1) > TOLERANCE and high - low > 1e-15 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if made(middle) < wanted_db else (low, middle)
    return high
