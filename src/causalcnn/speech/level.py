"""How loud speech is: the level of a frame and of a clip, which frames speak, and a level that follows causally."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from causalcnn.speech.front_end import FLOOR_DB

__all__ = ["BELOW_DB", "frame_level_db", "speaking", "speech_level_db"]

BELOW_DB = 40.0
"""A frame that is more than so far below the loudest is counted as silence."""


def frame_level_db(features: Tensor) -> Tensor:
    """The level of every frame: the mean power of its mel bands, in dB.

    The mean of the powers, not of the decibels: bands that a telephone has cut off then change it little.

    Shape: ``(…, 80, time)`` → ``(…, time)``
    """
    return 10 * torch.log10(torch.pow(10.0, features / 10).mean(-2).clamp(min=10 ** (FLOOR_DB / 10)))


def speaking(features: Tensor, mask: Tensor | None = None, *, below_db: float = BELOW_DB) -> Tensor:
    """Which frames are speech and not silence: those within ``below_db`` of the loudest frame of their clip.

    It looks at the whole clip, so it is for scoring only: nothing that must be causal may use it.

    Args:
        features: log-mel in dB. mask: which frames are real, ``(…, time)``; default: all.
        below_db: how far below the loudest a frame may be.

    Shape: ``(…, 80, time)`` → ``(…, time)`` bool

    Raises:
        ValueError: ``below_db`` is not positive.
    """
    if not below_db > 0:
        raise ValueError(f"below_db is {below_db}; it must be more than 0")
    level = frame_level_db(features)
    if mask is None:
        mask = torch.ones_like(level, dtype=torch.bool)
    if not level.shape[-1]:
        return mask
    loudest = level.masked_fill(~mask, -math.inf).amax(-1, keepdim=True)
    return mask & (level >= loudest - below_db)


def speech_level_db(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean level in dB of the frames that are :func:`speaking`; of a clip without frames it is NaN.

    Shape: ``(…, 80, time)`` → ``(…,)``
    """
    loud = speaking(features, mask)
    return (frame_level_db(features) * loud).sum(-1) / loud.sum(-1)
