"""How loud speech is: the level of a frame and of a clip, which frames are speech, and a causal automatic gain.

Levels are in dB relative to a power of 1 in a mel band of the front end, as the features themselves are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from causalcnn.field import Field
from causalcnn.nn.base import CausalModule
from causalcnn.speech.front_end import FLOOR_DB, FRAMES_PER_SECOND

__all__ = ["LOUD_BELOW_DB", "RunningLevel", "frame_level_db", "speech_level_db", "speech_mask"]

LOUD_BELOW_DB = 30.0
"""How far below the loudest frame a frame may be to count for a level, in dB. Pauses and room noise stay out of it."""

SILENT_DB = -70.0
"""A clip without a louder frame is silent, whatever its frames are relative to each other. The noise of one step of 16
bits has −78 dB."""

LOUDNESS_EXPONENT = 0.3
"""Loudness grows as the power to the 0.3 (Stevens): what is 10 dB up is twice as loud. Levels are means of it: a mean
of powers belongs to the single loudest knock, a mean of decibels to the noise between the words."""


def frame_level_db(features: Tensor) -> Tensor:
    """Measure the level of every frame: the mean power of its mel bands, in dB.

    It is the mean of the powers, not of the decibels, so that bands that a telephone has cut off change it little.

    Args:
        features: log-mel in dB, ``(…, 80, time)``.

    Returns:
        The levels in dB, not below −100 dB, ``(…, time)``.
    """
    return _db(_power(features))


def speech_mask(features: Tensor, mask: Tensor | None = None, *, below_db: float = 40.0) -> Tensor:
    """Mark the frames that are speech and not silence: those within ``below_db`` of the clip's loudest frame.

    It looks at the whole clip, so it is for scoring only: nothing that must be causal may use it.

    Args:
        features: log-mel in dB, ``(…, 80, time)``.
        mask: which frames are real and not padding, bool ``(…, time)``; default: all.
        below_db: how far below the loudest frame speech may be, in dB.

    Returns:
        True where a frame is speech, bool ``(…, time)``.

    Raises:
        ValueError: ``below_db`` is not positive.
    """
    if not below_db > 0:
        raise ValueError(f"below_db is {below_db}; it must be more than 0")
    return within(below_db, frame_level_db(features), mask)


def speech_level_db(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Measure the level of a clip: the mean loudness of the frames within 30 dB of the loudest, as a level in dB.

    Loudness is the power to the 0.3; its mean follows the words, where a mean of powers would follow the loudest knock
    and a mean of decibels the noise between the words.

    Args:
        features: log-mel in dB, ``(…, 80, time)``.
        mask: which frames are real and not padding, bool ``(…, time)``; default: all.

    Returns:
        The level of each clip in dB, ``(…,)``. A clip without frames has the level of digital silence, −100 dB.

    Source:
        The exponent 0.3 is from Stanley S. Stevens, The measurement of loudness, Journal of the Acoustical Society of
        America 27, 1955.
    """
    return mean_level_db(frame_level_db(features), mask)


def mean_level_db(level: Tensor, mask: Tensor | None = None) -> Tensor:
    """The level of a clip from those of its frames in dB, ``(…, time)`` → ``(…,)``."""
    loud = within(LOUD_BELOW_DB, level, mask)
    mean = (_loudness(level) * loud).sum(-1) / loud.sum(-1)
    return torch.where(loud.any(-1), _loudness_to_db(mean), FLOOR_DB)


def within(below_db: float, level: Tensor, mask: Tensor | None = None) -> Tensor:
    """The real frames whose level is at most ``below_db`` below the loudest, bool ``(…, time)``."""
    if mask is None:
        mask = torch.ones_like(level, dtype=torch.bool)
    if not level.shape[-1]:
        return mask
    loudest = level.masked_fill(~mask, -math.inf).amax(-1, keepdim=True)
    return mask & (level >= loudest - below_db)


class RunningLevel(CausalModule):
    """Bring speech to a level while it arrives: an automatic gain that knows the past only.

    Every frame gets the gain ``to_db − level`` in dB, the same for its 80 bands. The level is an exponential mean of
    the loudness of the loud frames, which are those within 30 dB of the recent peak and not below ``to_db − 50``. The
    recent peak falls by 2 dB a second. A pause does not move the level, so noise is not turned up in pauses.

    Before speech begins nothing is known, and the gain is 0 dB. It then grows with the evidence: after ``n`` loud
    frames the share ``n / (n + 5)`` of the correction is made, so one half after 50 ms and nine tenths after half a
    second. Speech that is more than 50 dB too quiet is taken for silence and left as it is.

    A frame with NaN or infinity stays what it is and changes no other. It is not refused, because an error would stop
    the whole sequence, including the frames before the broken one. A :class:`~causalcnn.speech.FeatureCorpus` refuses
    such recordings.

    Args:
        to_db: the level that speech is brought to, in dB; usually ``level_db`` of the training corpus.
        seconds: the time constant of the mean, in seconds of loud frames.

    Shape:
        ``(batch, 80, time)`` in dB → the same

    Raises:
        ValueError: ``to_db`` is not finite; ``seconds`` is not finite and positive.

    Example:
        >>> import torch
        >>> from causalcnn.speech import RunningLevel
        >>> speech = torch.full((1, 80, 500), -35.0)
        >>> [round(float(RunningLevel(-15.0)(speech)[0, 0, t])) for t in (0, 4, 499)]
        [-32, -25, -15]
    """

    def __init__(self, to_db: float, *, seconds: float = 3.0) -> None:
        super().__init__()
        if not math.isfinite(to_db):
            raise ValueError(f"to_db is {to_db}; it must be a level in dB, such as level_db of the training corpus")
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"seconds is {seconds}; the time constant must be finite and more than 0")
        self.to_db, self.seconds = to_db, seconds

    _PRIOR_FRAMES = 5.0
    """As many loud frames must come before the gain is half of what they ask for."""
    _QUIETEST_PEAK_DB = -20.0
    """The recent peak is never taken for lower than this, relative to ``to_db``."""
    _FALL_DB = 0.02
    """The recent peak falls 2 dB a second; else nothing would count as loud after one loud knock."""
    _BLOCK = 128
    """Frames that are computed at once, as one triangular product."""

    @property
    def field(self) -> Field:
        """All of the past."""
        return Field.all_past()

    def extra_repr(self) -> str:
        """Name the level and the time constant, for ``repr``."""
        return f"to {self.to_db:g} dB, {self.seconds:g} s"

    def initial_state(self, x: Tensor) -> Tensor:
        """Give the state before the first frame.

        Args:
            x: a piece of features, perhaps without frames, ``(batch, 80, time)``. Only its batch, dtype and device are
                read.

        Returns:
            The recent peak in dB, the sum of the loudnesses and the number of loud frames, ``(batch, 3)``.
        """
        state = x.new_zeros(len(x), 3)
        state[:, 0] = self.to_db + self._QUIETEST_PEAK_DB
        return state

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Bring the next frames to the level.

        Args:
            x: log-mel in dB, any number of frames, also none, ``(batch, 80, time)``.
            state: as :meth:`initial_state` or an earlier step gave it, ``(batch, 3)``. It is left as it was.

        Returns:
            The frames with their gains, the shape of ``x``, and the new state, ``(batch, 3)``.

        Raises:
            ValueError: features of another shape, or not floating point.
        """
        if x.dim() != 3 or not x.is_floating_point():
            raise ValueError(f"RunningLevel takes (batch, 80, time) in dB; this is {x.dtype} of shape {tuple(x.shape)}")
        pieces = []
        for piece in torch.split(x, self._BLOCK, dim=2):
            y, state = self._block(piece, state)
            pieces.append(y)
        return torch.cat(pieces, dim=2), state

    def _block(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        power = _power(x)
        level = _db(torch.where(torch.isfinite(power), power, 0))  # one broken frame must not deafen it for good
        peak = self._peaks(level, state[:, :1])
        loud = (level >= peak - LOUD_BELOW_DB).to(x.dtype)
        # An exponential mean that stands still in pauses: a frame's weight falls with the loud frames after it.
        loud_so_far = torch.cat([torch.zeros_like(loud[:, :1]), loud.cumsum(1)], dim=1)
        age = loud_so_far[:, 1:, None] - loud_so_far[:, None, :]
        # Column 0 stands for all before this piece; column i + 1 is its frame i. Only the past counts.
        fade = torch.exp(-age.clamp(min=0) / (self.seconds * FRAMES_PER_SECOND)).tril(1)
        total = (fade * torch.cat([state[:, 1:2], loud * _loudness(level)], dim=1)[:, None]).sum(2)
        count = (fade * torch.cat([state[:, 2:], loud], dim=1)[:, None]).sum(2)
        tiny = 1e-20
        correction = (
            (self.to_db - _loudness_to_db((total + tiny) / (count + tiny))) * count / (count + self._PRIOR_FRAMES)
        )
        state = torch.stack([peak, total, count], dim=2)[:, -1] if x.shape[2] else state
        return x + correction[:, None], state

    def _peaks(self, level: Tensor, before: Tensor) -> Tensor:
        """The recent peak at every frame, ``(batch, time)``: it falls slowly, and never below its lowest value."""
        ramp = self._FALL_DB * torch.arange(level.shape[1] + 1, device=level.device, dtype=level.dtype)
        peaks = (torch.cat([before, level], dim=1) + ramp).cummax(1).values - ramp
        return peaks[:, 1:].clamp(min=self.to_db + self._QUIETEST_PEAK_DB)


def _power(features: Tensor) -> Tensor:
    """The mean power of a frame's bands: ``(…, 80, time)`` → ``(…, time)``."""
    return (features * (math.log(10) / 10)).exp().mean(-2)


def _db(power: Tensor) -> Tensor:
    return 10 * torch.log10(power.clamp(min=10 ** (FLOOR_DB / 10)))


def _loudness(level: Tensor) -> Tensor:
    return (level * (LOUDNESS_EXPONENT * math.log(10) / 10)).exp()


def _loudness_to_db(loudness: Tensor) -> Tensor:
    """The level in dB that has this loudness."""
    return torch.log10(loudness) * (10 / LOUDNESS_EXPONENT)
