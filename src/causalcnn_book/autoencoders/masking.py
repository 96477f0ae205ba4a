"""A simple model of what covers what: the error of a spectrogram that loud neighbors do not cover."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from causalcnn.speech import N_FFT, RATE_HZ, mel_filterbank

__all__ = ["masked_error_db", "masking_threshold"]

BELOW_DB = 14.5
"""How far below the spread energy noise is covered: Johnston's number for a tone that covers noise, at 0 Bark."""
QUIET_DB = 60.0
"""How far below the loudest cell a recording is silent: played at 65 dB, near the threshold of hearing in a room."""


def masking_threshold(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute below which level nothing is heard, in each cell of a spectrogram.

    A simple model, of masking at the same time only: the energy of each band is spread over its neighbors on the Bark
    scale, by Schroeder's function; what lies 14.5 dB below that sum, or 60 dB below the loudest cell, is not heard.
    There is no masking from frame to frame, no difference between tones and noise, and a band is taken for a point.

    Args:
        frames: log-mel in dB, ``(80, frames)``.

    Returns:
        The threshold in dB, ``(80, frames)``.

    Source:
        Schroeder, Atal and Hall 1979, doi 10.1121/1.383662 (the spreading function); Johnston 1988, doi 10.1109/49.608
        (the distance); Traunmüller 1990, doi 10.1121/1.399849 (the Bark scale).
    """
    spread = 10 * np.log10(_spreading() @ 10 ** (frames / 10))
    return np.maximum(spread - BELOW_DB, frames.max() - QUIET_DB)


def masked_error_db(original: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Measure the error of a spectrogram that is not covered: both are raised to the original's threshold first.

    Args:
        original: log-mel in dB, ``(80, frames)``.
        found: as many frames, ``(80, frames)``.

    Returns:
        The root of the mean squared error in dB, never more than without masking.

    Example:
        >>> import numpy as np
        >>> from causalcnn_book.autoencoders import masked_error_db
        >>> quiet = np.full((80, 10), -90.0)
        >>> quiet[40] = 0.0
        >>> masked_error_db(quiet, np.where(quiet < 0, -80.0, 0.0))
        0.0
    """
    threshold = masking_threshold(original)
    gap = np.maximum(original, threshold) - np.maximum(found, threshold)
    return math.sqrt(np.square(gap).mean())


@functools.cache
def _spreading() -> NDArray[np.float64]:
    """How much of the energy of each band (columns) arrives in each (rows); a flat spectrum stays as it is."""
    filters = mel_filterbank().numpy()
    hertz = filters @ (np.arange(filters.shape[1]) * (RATE_HZ / N_FFT)) / filters.sum(1)  # the middle of each band
    bark = 26.81 * hertz / (1_960 + hertz) - 0.53
    up = bark[:, None] - bark + 0.474
    arrives: NDArray[np.float64] = 10 ** ((15.81 + 7.5 * up - 17.5 * np.sqrt(1 + up * up)) / 10)
    return arrives / arrives.sum(1, keepdims=True)
