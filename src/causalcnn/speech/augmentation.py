"""Data augmentation: training speech as if by other microphones, in other rooms, at other distances."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from causalcnn.nn.base import without_gradients
from causalcnn.speech.feature_corpus import Batch
from causalcnn.speech.front_end import FLOOR_DB, HOP_SAMPLES, MELS, WINDOW_SAMPLES, LogMel, bands_below
from causalcnn.speech.level import speech_level_db

__all__ = ["Augmentation", "augment"]

_GRAIN_FRAMES = 2_000
_CURVES = 4
_NEPERS = math.log(10) / 10
"""dB times this is the natural logarithm of the power."""


@dataclass(frozen=True)
class Augmentation:
    """How strongly training speech is changed. Where a strength is 0, nothing of its kind happens.

    Attributes:
        gain_db: the gain is drawn from −gain_db … gain_db, in dB.
        tilt_db: the tilt of the equaliser, in dB from the lowest band to the highest, is drawn from −tilt_db … tilt_db.
        curve_db: standard deviation of the smooth curve that bends the equaliser as well, in dB.
        noise_chance: the share of rows that get a noise floor, 0 to 1.
        noise_below_db: how far the noise is below the speech: the least and the most, in dB.
        low_pass_chance: the share of rows that lose everything above a cut, as in a telephone, 0 to 1.
        low_pass_hz: where the cut is: the lowest and the highest, in Hz.

    Raises:
        ValueError: a strength that is negative or infinite; a chance outside 0 … 1; a range with its ends swapped.

    Example:
        >>> from causalcnn.speech import Augmentation
        >>> telephones = Augmentation(low_pass_chance=1.0, low_pass_hz=(3_400.0, 3_400.0))
        >>> telephones.gain_db, telephones.noise_chance
        (6.0, 0.7)
    """

    gain_db: float = 6.0
    tilt_db: float = 12.0
    curve_db: float = 3.0
    noise_chance: float = 0.7
    noise_below_db: tuple[float, float] = (30.0, 70.0)
    low_pass_chance: float = 0.15
    low_pass_hz: tuple[float, float] = (3_000.0, 7_500.0)

    def __post_init__(self) -> None:
        for name in ("gain_db", "tilt_db", "curve_db"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        for name in ("noise_chance", "low_pass_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a chance goes from 0 to 1")
        for name in ("noise_below_db", "low_pass_hz"):
            low, high = getattr(self, name)
            if not low <= high:
                raise ValueError(f"{name} goes from {low} to {high}; the first must not be the larger")


NO_AUGMENTATION = Augmentation(gain_db=0, tilt_db=0, curve_db=0, noise_chance=0, low_pass_chance=0)
"""The augmentation with every strength 0, with which :func:`augment` changes nothing."""


def augment(
    batch: Batch, *, step: int, seed: int = 0, rank: int = 0, augmentation: Augmentation | None = None
) -> Batch:
    """Change a batch into what other microphones in other rooms would have recorded; each row differs.

    In this order: a smooth equaliser over the bands, stationary noise with a smooth spectrum added as power, a
    low-pass, a gain. The result is a pure function of the arguments: row ``i`` of process ``rank`` is changed as row
    ``rank · rows + i`` of a single process would be. Noise needs the level of the whole row, so this is for training
    data, not for a stream.

    Args:
        batch: features in dB, ``(batch, 80, time)``, with their mask.
        step: number of the training step, as given to :meth:`~causalcnn.speech.FeatureCorpus.batch`, from 0.
        seed: another seed gives other draws; at least 0.
        rank: number of this process, from 0.
        augmentation: how strongly; default: the strengths that :class:`~causalcnn.speech.Augmentation` has by itself.

    Returns:
        A new batch with the same shapes, mask and padding; no value of it is below −100 dB.

    Raises:
        ValueError: ``step``, ``seed`` or ``rank`` is negative.

    Example:
        >>> import torch
        >>> from causalcnn.speech import NO_AUGMENTATION, Batch, augment
        >>> batch = Batch(torch.full((1, 80, 50), -30.0), torch.ones(1, 50, dtype=torch.bool), torch.tensor([0]))
        >>> bool((augment(batch, step=0, augmentation=NO_AUGMENTATION).features == batch.features).all())
        True
        >>> bool((augment(batch, step=0).features == augment(batch, step=1).features).all())
        False
    """
    augmentation = augmentation or Augmentation()
    draws = [
        _Draw(np.random.default_rng([seed, step, rank * len(batch) + row, 1]), augmentation)
        for row in range(len(batch))
    ]
    x = batch.features.transpose(1, 2)  # (batch, time, 80), as it lies in memory

    def tensor(values: list) -> Tensor:
        return torch.as_tensor(np.array(values), dtype=x.dtype, device=x.device)

    y = x + tensor([draw.equaliser for draw in draws])[:, None]
    noisy = [row for row, draw in enumerate(draws) if draw.noise is not None]
    if noisy:
        level = speech_level_db(y[noisy].transpose(1, 2), batch.mask[noisy])
        frames = torch.arange(x.shape[1])
        grain = torch.stack([_grain()[(frames + draws[row].grain_start) % _GRAIN_FRAMES] for row in noisy]).to(y)
        noise = tensor([draws[row].noise for row in noisy]) + level[:, None]
        y[noisy] = ((y[noisy] * _NEPERS).exp() + (noise * _NEPERS).exp()[:, None] * grain).log() / _NEPERS
    y = y + tensor([draw.gain - draw.loss for draw in draws])[:, None]
    y = torch.where(batch.mask[:, :, None], y.clamp(min=FLOOR_DB), x)
    return replace(batch, features=y.transpose(1, 2))


class _Draw:
    """What is drawn for one row. All is drawn, whatever the strengths: one of them does not change the others."""

    def __init__(self, draw: np.random.Generator, augmentation: Augmentation) -> None:
        self.gain = augmentation.gain_db * draw.uniform(-1, 1)
        self.equaliser = augmentation.tilt_db * draw.uniform(-1, 1) * _RAMP + augmentation.curve_db * _curve(draw)
        chances = draw.random(2)
        below = draw.uniform(*augmentation.noise_below_db)
        spectrum = draw.uniform(-30, 5) * _RAMP + 4 * _curve(draw)  # rooms rumble: noise falls towards high bands
        self.grain_start = int(draw.integers(_GRAIN_FRAMES))
        self.noise = spectrum - below if chances[0] < augmentation.noise_chance else None
        cut, steep = bands_below(draw.uniform(*augmentation.low_pass_hz)), draw.uniform(10, 40)
        beyond = np.clip(np.arange(MELS) - cut + 1, 0, None)
        self.loss = steep * beyond if chances[1] < augmentation.low_pass_chance else np.zeros(MELS)


_RAMP = np.linspace(-0.5, 0.5, MELS)
_WAVES = math.sqrt(2 / _CURVES) * np.cos(
    np.pi * np.arange(1, _CURVES + 1)[:, None] * (np.arange(MELS) + 0.5) / MELS
)  # the first cosines over the bands


def _curve(draw: np.random.Generator) -> np.ndarray:
    """A smooth curve over the bands, with mean 0 and a standard deviation of about 1."""
    return draw.normal(size=_CURVES) @ _WAVES


@lru_cache(maxsize=1)
@without_gradients
def _grain() -> Tensor:
    """Make a record of how white noise flickers in the bands of the front end: power over its mean, ``(2000, 80)``."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, _GRAIN_FRAMES * HOP_SAMPLES + WINDOW_SAMPLES, generator=generator, dtype=torch.float64)
    power = (LogMel()(noise * 0.1)[0, :, WINDOW_SAMPLES // HOP_SAMPLES :] * _NEPERS).exp().T
    return (power / power.mean(0)).float().contiguous()
