"""A piece of speech with what is known about it: its speaker, and when which words and phones are spoken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalcnn.speech.front_end import RATE_HZ, Alignment, frame_center_seconds, num_frames

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Span:
    """A label on the samples ``start … end−1``.

    Attributes:
        label: a phone or a word, for example.
        start: its first sample.
        end: the sample after its last one.
    """

    label: str
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Utterance:
    """One piece of speech, mono.

    Attributes:
        samples: float32 in −1 … 1, ``(samples,)``.
        rate_hz: samples a second; every loader of causalcnn gives 16,000.
        text: what is said, ``""`` where unknown.
        phones: ARPABET phones and ``SIL``, in order, without gaps; empty where unknown.
        words: words without the silence between them; empty where unknown.
        speaker: a name that is the same for the same voice, ``""`` where unknown.
        source: where it comes from, with its licence: what a page says when it plays it.
    """

    samples: Samples
    rate_hz: int = RATE_HZ
    text: str = ""
    phones: tuple[Span, ...] = ()
    words: tuple[Span, ...] = ()
    speaker: str = ""
    source: str = ""

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        said = f" {self.text!r}" if self.text else ""
        return f"<Utterance {self.seconds:.2f} s at {self.rate_hz} Hz by {self.speaker or 'unknown'}:{said}>"

    @property
    def seconds(self) -> float:
        """Duration, in seconds."""
        return len(self.samples) / self.rate_hz

    def tensor(self) -> Any:
        """The samples as a float32 tensor ``(1, samples)``, ready for :class:`~causalcnn.speech.LogMel`."""
        import torch

        return torch.from_numpy(np.array(self.samples, dtype=np.float32))[None]

    def excerpt(self, start_seconds: float, end_seconds: float) -> Utterance:
        """A part of it; labels are shifted and clipped, the text is that of the words that remain.

        Args:
            start_seconds: where it begins; before the recording counts as its beginning.
            end_seconds: where it ends; after the recording counts as its end.

        Raises:
            ValueError: nothing of the recording is left.
        """
        start = max(0, round(start_seconds * self.rate_hz))
        end = min(len(self.samples), round(end_seconds * self.rate_hz))
        if not start < end:
            raise ValueError(
                f"from {start_seconds} s to {end_seconds} s nothing is left; the recording lasts {self.seconds:.3f} s"
            )
        words = _clip(self.words, start, end)
        text = " ".join(word.label for word in words) if self.words else self.text
        return replace(
            self, samples=self.samples[start:end], text=text, phones=_clip(self.phones, start, end), words=words
        )

    def phone_labels(self, alignment: Alignment = "causal") -> list[str]:
        """One phone for every frame of the front end: the one at the centre of the frame's window.

        Args:
            alignment: of the front end, ``"causal"`` or ``"centered"``.
        """
        return frame_labels(self.phones, len(self.samples), alignment, rate_hz=self.rate_hz, outside="SIL")

    def voice_activity(self, alignment: Alignment = "causal") -> NDArray[np.bool_]:
        """For every frame of the front end, whether somebody speaks at the centre of its window: ``(frames,)`` bool.

        Args:
            alignment: of the front end, ``"causal"`` or ``"centered"``.

        Raises:
            ValueError: no phones are known.
        """
        if not self.phones:
            raise ValueError("voice activity follows from the phones, and of this utterance no phones are known")
        return np.array([label != "SIL" for label in self.phone_labels(alignment)], dtype=bool)


def frame_labels(
    spans: Iterable[Span],
    samples: int,
    alignment: Alignment = "causal",
    *,
    rate_hz: int = RATE_HZ,
    outside: str = "",
) -> list[str]:
    """The label at the centre of every frame's window.

    Args:
        spans: labelled samples, in order, not overlapping.
        samples: length of the recording, in samples at ``rate_hz``.
        alignment: of the front end, ``"causal"`` or ``"centered"``.
        rate_hz: samples a second.
        outside: the label where no span is, also before the recording begins.

    Returns:
        One label for each of the ``num_frames(samples, alignment)`` frames.
    """
    ordered = sorted(spans, key=lambda span: span.start)
    starts = np.array([span.start for span in ordered], dtype=np.int64)
    labels = []
    for frame in range(num_frames(samples * RATE_HZ // rate_hz, alignment)):
        center = frame_center_seconds(frame, alignment) * rate_hz
        at = int(np.searchsorted(starts, center, side="right")) - 1
        labels.append(ordered[at].label if at >= 0 and center < ordered[at].end else outside)
    return labels


def _clip(spans: tuple[Span, ...], start: int, end: int) -> tuple[Span, ...]:
    return tuple(
        Span(span.label, max(span.start, start) - start, min(span.end, end) - start)
        for span in spans
        if span.start < end and span.end > start
    )
