"""Two speakers who talk with each other: turns, gaps, overlaps and back-channels, and who speaks when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalcnn.speech.front_end import FRAMES_PER_SECOND, RATE_HZ, Alignment
from causalcnn.speech.sentences import BACK_CHANNELS, random_sentence
from causalcnn.speech.speakers import SPLIT_SPEAKERS, Split
from causalcnn.speech.synthesis import SOURCE, synthesize
from causalcnn.speech.utterance import Samples, Span, frame_labels


@dataclass(frozen=True)
class Turn:
    """What one of two speakers says without a pause.

    Attributes:
        track: which of the two, 0 or 1.
        start: its first sample, at 16,000 Hz.
        end: the sample after its last one.
        text: what is said.
        back_channel: whether it is a listener's "yeah", which does not take the turn.

    Example:
        >>> from causalcnn.speech import RATE_HZ, Turn
        >>> turn = Turn(track=0, start=4_800, end=20_800, text="We are late.")
        >>> (turn.end - turn.start) / RATE_HZ        # seconds
        1.0
    """

    track: int
    start: int
    end: int
    text: str
    back_channel: bool = False


@dataclass(frozen=True, eq=False)
class Conversation:
    """Two speakers on two tracks, and who speaks when. :func:`~causalcnn.speech.conversation` makes one.

    Attributes:
        samples: float32 in −1 … 1, ``(2, samples)``, one speaker a row, as two microphones without crosstalk would
            record them.
        speech: for each track the spans, in samples, in which its speaker is heard; pauses within a turn are left out.
        turns: what is said, in the order of the beginnings.
        speakers: the names of the two.
        rate_hz: the rate in Hz, 16,000 samples a second.
        source: where it comes from.

    Example:
        >>> from causalcnn.speech import conversation
        >>> talk = conversation(seed=1, seconds=4.0)
        >>> talk.samples.shape, talk.voice_activity().shape
        ((2, 64000), (2, 400))
        >>> [turn.track for turn in talk.turns]
        [0, 1]
    """

    samples: Samples
    speech: tuple[tuple[Span, ...], tuple[Span, ...]]
    turns: tuple[Turn, ...]
    speakers: tuple[str, str]
    rate_hz: int = RATE_HZ
    source: str = SOURCE

    @property
    def seconds(self) -> float:
        """The duration, in seconds."""
        return self.samples.shape[1] / self.rate_hz

    @property
    def mixed(self) -> Samples:
        """Both speakers on one microphone, float32 ``(samples,)``, as half the sum, so that it cannot clip."""
        return (self.samples.sum(axis=0) / 2).astype(np.float32)

    def voice_activity(self, alignment: Alignment = "causal") -> NDArray[np.bool_]:
        """Say who speaks at the centre of each frame's window, 100 times a second.

        Args:
            alignment: of the front end, ``"causal"`` or ``"centered"``.

        Returns:
            True where a speaker is heard, bool ``(2, frames)``, one speaker a row.

        Raises:
            ValueError: ``alignment`` has another value.
        """
        length = self.samples.shape[1]
        rows = [frame_labels(spans, length, alignment) for spans in self.speech]
        return np.array([[bool(label) for label in row] for row in rows])


def conversation(seed: int = 0, seconds: float = 30.0, *, split: Split = "train") -> Conversation:
    """Make a conversation between two embedded speakers of a split.

    Turns follow each other after 0.2 s on average and often overlap a little; in long turns the listener may say
    "yeah"; now and then the same speaker goes on after a pause. The sentences do not answer each other. Nothing is
    downloaded: espeak-ng makes the speech on the spot. The same arguments give the same conversation on one platform.

    Args:
        seed: draws speakers, sentences and timing; at least 0.
        seconds: its duration in seconds, kept to the sample.
        split: the speakers' split, ``"train"``, ``"validation"`` or ``"test"``.

    Returns:
        Two tracks of ``round(seconds · 16,000)`` samples, with their turns.

    Raises:
        ValueError: less than one frame (0.01 s); an unknown split; a negative seed.
        RuntimeError: espeak-ng refused a sentence, or its process died twice.
        ImportError: the extra ``speech`` is not installed.
    """
    if not seconds >= 1 / FRAMES_PER_SECOND:
        raise ValueError(f"seconds is {seconds}; a conversation needs at least one frame, 0.01")
    if split not in SPLIT_SPEAKERS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(map(repr, SPLIT_SPEAKERS))}")
    draw = np.random.default_rng([seed, SPLIT_SPEAKERS[split].start, 2])
    pair = [int(n) for n in draw.choice(np.array(SPLIT_SPEAKERS[split]), 2, replace=False)]
    length = round(seconds * RATE_HZ)
    tracks = np.zeros((2, length), np.float32)
    speech: tuple[list[Span], list[Span]] = ([], [])
    turns: list[Turn] = []
    names = ["", ""]

    def speak(track: int, text: str, start: int, gain: float = 1.0, back_channel: bool = False) -> int:
        utterance = synthesize(text, pair[track], seed=int(draw.integers(1, 2**31)))
        names[track] = utterance.speaker
        phones = [phone for phone in utterance.phones if phone.label != "SIL"]
        first, last = phones[0].start, phones[-1].end
        end = min(length, start + last - first)
        if start < end:
            tracks[track, start:end] += gain * utterance.samples[first : first + end - start]
            for phone in phones:
                begin, stop = start + phone.start - first, min(end, start + phone.end - first)
                if begin >= stop:
                    continue
                spans = speech[track]
                if spans and spans[-1].end >= begin:
                    spans[-1] = Span("speech", spans[-1].start, max(stop, spans[-1].end))
                else:
                    spans.append(Span("speech", begin, stop))
            turns.append(Turn(track, start, end, text, back_channel))
        return start + last - first

    # Where each track is free again: nobody speaks over themselves.
    free = [0, 0]
    now, track = round(0.3 * RATE_HZ), 0
    while now < length:
        start = max(now, free[track])
        end = free[track] = speak(track, random_sentence(draw), start)
        if end - start > 2 * RATE_HZ and draw.random() < 0.35:
            word = BACK_CHANNELS[int(draw.integers(len(BACK_CHANNELS)))]
            at = max(start + round(draw.uniform(0.4, 0.8) * (end - start)), free[1 - track])
            free[1 - track] = speak(1 - track, word, at, 0.7, True)
        if draw.random() < 0.75:
            track, gap = 1 - track, draw.normal(0.2, 0.35)
        else:
            gap = abs(draw.normal(0.5, 0.2))
        now = max(start + round(0.3 * (end - start)), end + round(gap * RATE_HZ))
    for other in (0, 1):
        names[other] = names[other] or f"s{pair[other]:04d}"
    ordered = tuple(sorted(turns, key=lambda turn: turn.start))
    return Conversation(tracks, (tuple(speech[0]), tuple(speech[1])), ordered, (names[0], names[1]))
