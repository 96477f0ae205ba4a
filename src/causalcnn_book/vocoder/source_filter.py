"""Speech from frames without a network: an excitation, and the sixteen weights of linear prediction that color it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from causalcnn.speech import HOP_SAMPLES, FrameFit

__all__ = ["filter_excitation", "pulses_or_noise"]

SHORTEST_PERIOD = 32
"""In samples; the first lag of :meth:`causalcnn.speech.FrameFit.period_taps`."""
VOICED = 0.5
"""How alike to itself a period ago an excitation is that counts as a voice."""
RESPONSE = 960
"""Samples, 60 ms, after which the response of the filter to a pulse has died away."""


def filter_excitation(fit: FrameFit, excitation: ArrayLike, lookahead: int = 1) -> Tensor:
    """Put an excitation through the linear prediction of frames: each sample is what is predicted and the excitation.

    Args:
        fit: what the frames of one sound say, ``batch`` 1; hop ``t`` has the weights of frame ``t + lookahead``.
        excitation: with a mean square of about 1, at least ``160 · (frames − lookahead)`` numbers; the frames' own size
            multiplies it.
        lookahead: how many frames of 10 ms later than with the hop itself its frame ends, ≥ 0.

    Returns:
        Samples from −1 to 1, ``(160 · (frames − lookahead),)``, float32.

    Source:
        Atal and Hanauer, Speech analysis and synthesis by linear prediction of the speech wave, 1971,
        doi 10.1121/1.1912679.

    Example:
        >>> import numpy as np
        >>> from causalcnn.speech import LogMel, fit_to_frames, synthesize
        >>> from causalcnn_book.vocoder import filter_excitation
        >>> frames = LogMel()(synthesize("Aha.").tensor().double())
        >>> whisper = filter_excitation(fit_to_frames(frames), np.random.default_rng(0).normal(size=16_000))
        >>> len(whisper) == 160 * (frames.shape[2] - 1)
        True
    """
    from scipy.signal import lfilter, lfiltic

    weights, sizes = fit.weights[0, lookahead:].numpy(), fit.error[0, lookahead:].sqrt().numpy()
    source, order = np.asarray(excitation, dtype=np.float64), weights.shape[1]
    said = np.zeros(order + HOP_SAMPLES * len(weights))
    for hop, (each, size) in enumerate(zip(weights, sizes, strict=True)):
        polynomial, start = np.r_[1.0, -each], order + HOP_SAMPLES * hop
        memory = lfiltic([1.0], polynomial, said[start - order : start][::-1])
        now = size * source[HOP_SAMPLES * hop : HOP_SAMPLES * (hop + 1)]
        said[start : start + HOP_SAMPLES] = lfilter([1.0], polynomial, now, zi=memory)[0]
    return torch.from_numpy(said[order:]).float().clamp(-1, 1)


def pulses_or_noise(fit: FrameFit, noise: NDArray[np.float64], lookahead: int = 1) -> NDArray[np.float64]:
    """Make the excitation of a voice: a pulse a period where the frames say that there is a period, noise elsewhere.

    Pulses that are as strong as noise come out louder, since harmonics lie on the resonances that were fitted to them.
    So they are made as strong as gives the power that noise would have.

    Args:
        fit: what the frames of one sound say, ``batch`` 1.
        noise: of mean square 1, at least ``160 · (frames − lookahead)`` numbers.
        lookahead: which frame stands beside a hop, as for :func:`filter_excitation`.

    Returns:
        The noise with pulses in it.

    Example:
        >>> import numpy as np
        >>> from causalcnn.speech import LogMel, fit_to_frames, synthesize
        >>> from causalcnn_book.vocoder import pulses_or_noise
        >>> frames = LogMel()(synthesize("Aha.").tensor().double())
        >>> source = pulses_or_noise(fit_to_frames(frames), np.random.default_rng(0).normal(size=16_000))
        >>> bool((source == 0).mean() > 0.1)
        True
    """
    taps, alike = (each[0] for each in fit.period_taps())
    period, voiced, weights = SHORTEST_PERIOD + taps.argmax(dim=1), alike > VOICED, fit.weights[0].numpy()
    mixed, sample = noise.copy(), 0
    while sample < HOP_SAMPLES * (len(period) - lookahead):
        frame = sample // HOP_SAMPLES + lookahead
        step = int(period[frame]) if voiced[frame] else 1
        if voiced[frame]:
            mixed[sample : sample + step] = 0.0
            mixed[sample] = (step / louder(weights[frame], step)) ** 0.5
        sample += step
    return mixed


def louder(weights: NDArray[np.float64], period: int) -> float:
    """How many times as much power pulses of mean square 1 have after the filter as noise has."""
    from scipy.signal import lfilter

    response = lfilter([1.0], np.r_[1.0, -weights], np.eye(1, RESPONSE // period * period)[0])
    wave = response.reshape(-1, period).sum(axis=0)
    return float((wave**2).sum() / (response**2).sum())
