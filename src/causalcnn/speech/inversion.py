"""From log-mel features back to samples: librosa's Griffin–Lim, kept in time with the front end."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from causalcnn._extras import require
from causalcnn.speech.front_end import (
    FLOOR_DB,
    HOP_SAMPLES,
    MELS,
    N_FFT,
    WINDOW_SAMPLES,
    Alignment,
    first_sample,
)
from causalcnn.speech.online_inversion import frame_magnitudes

_MARGIN = 4
"""Frames put on either side: a window's worth, so that no edge of the recording lies under a window's edge."""


def griffin_lim(
    features: ArrayLike,
    alignment: Alignment = "causal",
    *,
    iterations: int = 32,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Find samples whose log-mel features come close to the given ones.

    A mel spectrogram keeps no phases and few frequencies: the bands are spread over the bins of the spectrum, quiet
    ones as exactly as loud ones, and the phases are found by iteration from a random start. The result can be
    understood, and sounds like speech in a tin. Its sample ``n`` belongs to sample ``n`` of the recording: the windows
    of the causal setting, which end with their hop, are put where they were. :class:`OnlineGriffinLim` does the same
    while the frames arrive.

    Args:
        features: log-mel in dB, ``(80, frames)`` or ``(1, 80, frames)``; a tensor or an array.
        alignment: of the front end that made them, ``"causal"`` or ``"centered"``.
        iterations: number of iterations; after 32 the ear hears no further difference.
        seed: of the random phases; the same seed gives the same samples.

    Returns:
        Samples at 16,000 Hz, float32 ``(samples,)``. There are ``frames · 160`` of them in the causal setting and
        ``(frames − 1) · 160`` in the centred one. They are not clipped and not normalised, so they may go beyond −1 …
        1.

    Raises:
        ValueError: features of another shape, without frames, or not finite; another alignment.
        ImportError: the extra ``speech`` is not installed.

    Source:
        Daniel W. Griffin and Jae S. Lim, Signal estimation from modified short-time Fourier transform, 1984, doi
        10.1109/TASSP.1984.1164317.

    Example:
        >>> import numpy as np
        >>> from causalcnn.speech import griffin_lim
        >>> griffin_lim(np.full((80, 20), -40.0), iterations=2).shape
        (3200,)
    """
    decibels = _checked(features)
    frames = decibels.shape[1]
    length = frames * HOP_SAMPLES if alignment == "causal" else (frames - 1) * HOP_SAMPLES
    # Before a recording there is silence. After it nothing is known: the last frame goes on.
    before = np.full((MELS, _MARGIN), FLOOR_DB)
    after = np.repeat(decibels[:, -1:], _MARGIN, axis=1)
    around = np.concatenate([before, decibels, after], axis=1).astype(np.float32)
    with torch.autocast("cpu", enabled=False):
        magnitude = frame_magnitudes(torch.from_numpy(around).T).T.numpy()
    librosa = require("librosa", extra="speech")
    samples = librosa.griffinlim(
        magnitude,
        n_iter=iterations,
        hop_length=HOP_SAMPLES,
        win_length=WINDOW_SAMPLES,
        n_fft=N_FFT,
        random_state=seed,
    )
    # librosa centres frame k on sample 160·k of its signal; ours is centred on the middle of its window.
    center_of_first = first_sample(0, alignment) + WINDOW_SAMPLES // 2
    start = _MARGIN * HOP_SAMPLES - center_of_first
    return samples[start : start + length].astype(np.float32)


def _checked(features: ArrayLike) -> NDArray[np.float64]:
    if hasattr(features, "detach"):
        features = features.detach().cpu().numpy()
    decibels = np.asarray(features, dtype=np.float64)
    if decibels.ndim == 3 and decibels.shape[0] == 1:
        decibels = decibels[0]
    if decibels.ndim != 2 or decibels.shape[0] != MELS or not decibels.shape[1]:
        raise ValueError(
            f"griffin_lim takes one recording of dB, ({MELS}, frames); these have the shape {decibels.shape}. "
            "From (batch, 1, time, 80): to_1d(features)[0]"
        )
    if not np.isfinite(decibels).all():
        raise ValueError(f"{int((~np.isfinite(decibels)).sum())} values of the features are NaN or infinite")
    return decibels
