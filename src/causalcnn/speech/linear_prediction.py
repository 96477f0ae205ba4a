"""What a log-mel frame says of the next sample: linear prediction, and the period of a voice.

A frame holds no phases, but its spectrum has an autocorrelation, and this is all that linear prediction needs: how a
sample follows from the few before it, and how large the error will be. What remains is the *excitation*, noise or the
pulses of a voice. Its own autocorrelation tells how long ago there was a pulse like the next one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from causalcnn.speech.front_end import N_FFT, RATE_HZ
from causalcnn.speech.online_inversion import frame_magnitudes

__all__ = ["FrameFit", "fit_to_frames", "normal_equations"]

NOISE = 1e-4
"""White noise that is added to what weights are fitted to, relative to its power: without it they overfit."""
SILENCE = 1e-5
"""Errors are not expected to be smaller: a third of a 16-bit step."""
WINDOW_POWER = 240
"""The sum of the squares of the front end's window."""
SHORTEST_PERIOD, LONGEST_PERIOD = 32, 320
"""In samples: 500 Hz and 50 Hz."""
RESOLVED_HZ = 1_500.0
"""Above, the bands of a frame are wider than the distance between the harmonics of a voice: they say no period."""
SHARPNESS = 20.0
"""What an autocorrelation is multiplied by before the softmax. Of embedded voices the taps then predict 1.26 dB of the
excitation; with 10 it is 1.22 dB, and 1.09 dB without the limit of 1,500 Hz."""


class FrameFit(NamedTuple):
    """What :func:`fit_to_frames` finds.

    Attributes:
        weights: of the samples 1 … order before, ``(batch, frames, order)``.
        error: the mean square of the excitation that is expected, ``(batch, frames)``.
        power: the mean square of the samples, ``(batch, frames)``.
        excitation: the autocorrelation of the excitation below 1,500 Hz at lags of 0 … 320 samples, relative to lag 0,
            ``(batch, frames, 321)``.

    Example:
        >>> import torch
        >>> from causalcnn.speech import LogMel, fit_to_frames, synthesize
        >>> fit = fit_to_frames(LogMel()(synthesize("Aha.").tensor().double()))
        >>> fit.weights.shape[2], tuple(fit.period_taps()[0].shape[2:])
        (16, (289,))
    """

    weights: Tensor
    error: Tensor
    power: Tensor
    excitation: Tensor

    def period_taps(self) -> tuple[Tensor, Tensor]:
        """Weigh the lags at which the excitation is alike, from 32 to 320 samples.

        Returns:
            The weights, which sum to 1, ``(batch, frames, 289)``; and how alike it is at the best lag, about 0 for
            noise and up to 1 for a voice, ``(batch, frames)``.
        """
        alike = self.excitation[..., SHORTEST_PERIOD:]
        return torch.softmax(SHARPNESS * alike, dim=-1), alike.amax(dim=-1)


def fit_to_frames(frames: Tensor, *, order: int = 16, noise: float = NOISE) -> FrameFit:
    """Fit linear prediction to every frame, through the autocorrelation that belongs to its spectrum.

    Args:
        frames: log-mel in dB, ``(batch, 80, frames)``.
        order: how many samples a prediction is a weighted sum of, 1 to 320.
        noise: white noise that is added before, relative to the power.

    Returns:
        The fit, in float64.

    Source:
        John Makhoul, Linear prediction: A tutorial review, 1975, doi 10.1109/PROC.1975.9792; from a spectrum in bands:
        Valin and Skoglund, LPCNet, arXiv 1810.11846, §2.3.
    """
    power = frame_magnitudes(frames.transpose(1, 2)).double().square()
    autocorrelation = torch.fft.irfft(power)
    weights, error = normal_equations(autocorrelation[..., : order + 1], noise)
    whitening = torch.fft.rfft(F.pad(-weights, (1, 0), value=1.0), n=N_FFT).abs().square()
    resolved = 1 / (1 + (torch.fft.rfftfreq(N_FFT, 1 / RATE_HZ, dtype=power.dtype) / RESOLVED_HZ) ** 8)
    excitation = torch.fft.irfft(power * whitening * resolved)[..., : LONGEST_PERIOD + 1]
    return FrameFit(
        weights,
        error / WINDOW_POWER,
        autocorrelation[..., 0] / WINDOW_POWER,
        excitation / excitation[..., :1].clamp(min=SILENCE**2),
    )


def normal_equations(autocorrelation: Tensor, noise: float = NOISE) -> tuple[Tensor, Tensor]:
    """Solve for the weights that predict best.

    Args:
        autocorrelation: of lags 0 … order, ``(…, order + 1)``.
        noise: white noise that is added, relative to lag 0.

    Returns:
        The weights of the samples 1 … order before, ``(…, order)``, and the squared error that they leave, ``(…)``.
    """
    lag = torch.arange(autocorrelation.shape[-1] - 1, device=autocorrelation.device)
    r = autocorrelation.clone()
    r[..., 0] = r[..., 0] * (1 + noise) + SILENCE**2
    weights = torch.linalg.solve(r[..., (lag[:, None] - lag).abs()], r[..., 1:])
    return weights, (r[..., 0] - (weights * r[..., 1:]).sum(-1)).clamp(min=0)
