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

    Example:
        >>> from causalcnn.speech import Span
        >>> vowel = Span("AH", 1_600, 3_200)
        >>> (vowel.end - vowel.start) / 16_000        # seconds
        0.1
    """

    label: str
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Utterance:
    """One piece of speech, mono, with what is known about it.

    Attributes:
        samples: float32 in −1 … 1, ``(samples,)``.
        rate_hz: the rate in Hz; every loader of causalcnn gives 16,000 samples a second.
        text: what is said, ``""`` where unknown.
        phones: ARPABET phones and ``SIL``, in order, without gaps; empty where unknown.
        words: words without the silence between them, in order; empty where unknown.
        speaker: a name that is the same for the same voice, ``""`` where unknown.
        source: where it comes from, with its licence: what a page says when it plays it.

    Raises:
        ValueError: the samples are no floating point numbers, such as 16-bit integers, or not mono.

    Example:
        >>> import numpy as np
        >>> from causalcnn.speech import LogMel, Utterance
        >>> silence = Utterance(np.zeros(16_000, np.float32))
        >>> silence.seconds, LogMel()(silence.tensor()).shape
        (1.0, torch.Size([1, 80, 100]))
    """

    samples: Samples
    rate_hz: int = RATE_HZ
    text: str = ""
    phones: tuple[Span, ...] = ()
    words: tuple[Span, ...] = ()
    speaker: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        dtype, shape = getattr(self.samples, "dtype", None), np.shape(self.samples)
        if not (isinstance(dtype, np.dtype) and dtype.kind == "f"):
            raise ValueError(
                f"the samples are {dtype or type(self.samples).__name__}; an utterance has a float32 array in −1 … 1: "
                "for 16-bit integers, samples.astype(np.float32) / 32768"
            )
        if len(shape) != 1:
            raise ValueError(f"the samples have the shape {shape}; an utterance is mono, (samples,): take the mean")

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        said = f" {self.text!r}" if self.text else ""
        return f"<Utterance {self.seconds:.2f} s at {self.rate_hz} Hz by {self.speaker or 'unknown'}:{said}>"

    @property
    def seconds(self) -> float:
        """The duration, in seconds."""
        return len(self.samples) / self.rate_hz

    def tensor(self) -> Any:
        """Copy the samples into a float32 tensor ``(1, samples)``, ready for :class:`~causalcnn.speech.LogMel`."""
        import torch

        return torch.from_numpy(np.array(self.samples, dtype=np.float32))[None]

    def excerpt(self, start_seconds: float, end_seconds: float) -> Utterance:
        """Cut out a part; labels are shifted and clipped, and the text is that of the words that remain.

        Args:
            start_seconds: where it begins, in seconds; before the recording counts as its beginning.
            end_seconds: where it ends, in seconds; after the recording counts as its end.

        Returns:
            The part. Where no words are known, it keeps the whole text.

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
        """Give one phone for every frame of the front end: the one at the centre of the frame's window.

        Args:
            alignment: of the front end, ``"causal"`` or ``"centered"``.

        Returns:
            One ARPABET phone or ``"SIL"`` for each frame of 10 ms; ``"SIL"`` throughout where no phones are known.

        Raises:
            ValueError: ``alignment`` has another value.
        """
        return frame_labels(self.phones, len(self.samples), alignment, rate_hz=self.rate_hz, outside="SIL")

    def voice_activity(self, alignment: Alignment = "causal") -> NDArray[np.bool_]:
        """Say for every frame of the front end whether somebody speaks at the centre of its window.

        Args:
            alignment: of the front end, ``"causal"`` or ``"centered"``.

        Returns:
            True where somebody speaks, bool ``(frames,)``.

        Raises:
            ValueError: no phones are known; ``alignment`` has another value.
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
    """Give the label at the centre of every frame's window.

    Args:
        spans: labelled samples, which must not overlap.
        samples: length of the recording, in samples at ``rate_hz``.
        alignment: of the front end, ``"causal"`` or ``"centered"``.
        rate_hz: the rate of ``spans`` and ``samples``, in Hz.
        outside: the label where no span is, also before the recording begins.

    Returns:
        One label for each frame of 10 ms; at 16,000 Hz there are ``num_frames(samples, alignment)``.

    Raises:
        ValueError: ``alignment`` has another value.

    Example:
        >>> from causalcnn.speech import Span, frame_labels
        >>> frame_labels([Span("AH", 0, 480)], samples=800, outside="SIL")
        ['SIL', 'AH', 'AH', 'AH', 'SIL']
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
