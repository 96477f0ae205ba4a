"""Invented speakers: voices drawn from a few parameters, the same for the same number everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Split = Literal["train", "validation", "test"]

SPLIT_SPEAKERS: dict[Split, range] = {
    "train": range(0, 1000),
    "validation": range(1000, 1200),
    "test": range(1200, 1400),
}
"""The numbers of the speakers of each split; no speaker is in two of them."""


@dataclass(frozen=True)
class Speaker:
    """A voice: length of the vocal tract, pitch, colour and pace.

    Attributes:
        name: ``"s0007"`` for number 7.
        female: whether pitch and vocal tract were drawn from a female range.
        pitch_hz: its lowest pitch, in Hz.
        words_per_minute: its usual pace, in words a minute.
        definition: the text of espeak-ng's voice file for it.

    Example:
        >>> from causalcnn.speech.speakers import get_speaker
        >>> speaker = get_speaker(7)
        >>> speaker.name, speaker.female, 165 <= speaker.pitch_hz <= 235
        ('s0007', True, True)
    """

    name: str
    female: bool
    pitch_hz: float
    words_per_minute: float
    definition: str


def get_speaker(number: int) -> Speaker:
    """Give the speaker with this number. Even numbers have a lower, odd numbers a higher voice.

    Flutter and roughness stay 0: their counters in espeak-ng are never reset, so that a voice that used them
    would depend on what was said before.

    Args:
        number: 0 … 9999.

    Returns:
        The speaker; the same number gives the same voice everywhere.

    Raises:
        ValueError: another number.
    """
    if not 0 <= number < 10_000:
        raise ValueError(f"there is no speaker {number}; numbers go from 0 to 9999")
    draw = np.random.default_rng([20191227, number])
    female = number % 2 == 1
    tract = draw.normal(1.13, 0.035) if female else draw.normal(0.985, 0.04)
    pitch = draw.uniform(165, 235) if female else draw.uniform(78, 135)
    top = pitch * draw.uniform(1.18, 1.65)
    frequency = 100 * tract * draw.normal(1, 0.03, 9)
    strength = 100 * draw.uniform(0.75, 1.1, 9)
    width = 100 * draw.uniform(0.85, 1.45, 9)
    tone = (draw.uniform(150, 200), draw.uniform(110, 165), draw.uniform(80, 140))
    name = f"s{number:04d}"
    lines = [
        "language variant",
        f"name {name}",
        f"gender {'female' if female else 'male'}",
        f"pitch {pitch:.0f} {top:.0f}",
        "flutter 0",
        "roughness 0",
        f"voicing {draw.uniform(80, 120):.0f}",
        f"consonants {draw.uniform(70, 130):.0f} {draw.uniform(70, 130):.0f}",
        f"tone 600 {tone[0]:.0f} 1200 {tone[1]:.0f} 2000 {tone[2]:.0f}",
        "breath " + " ".join(f"{max(0.0, breath):.0f}" for breath in draw.normal(1.5, 1.5, 8)),
        *(f"formant {k} {frequency[k]:.0f} {strength[k]:.0f} {width[k]:.0f}" for k in range(9)),
    ]
    return Speaker(name, female, round(float(pitch), 1), float(draw.normal(172, 14)), "\n".join(lines) + "\n")
