"""From the engine's answer to an :class:`Utterance`: 16 kHz, ARPABET, labels without gaps."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causalcnn._extras import require
from causalcnn.speech._espeak import RawSpeech, espeak_synthesize
from causalcnn.speech.front_end import RATE_HZ
from causalcnn.speech.phones import arpabet
from causalcnn.speech.speakers import Speaker, get_speaker
from causalcnn.speech.utterance import Span, Utterance

SOURCE = "synthesised by espeak-ng, a parametric voice of causalcnn"
"""The ``source`` of embedded speech."""


def synthesize(text: str, speaker: int = 0, seed: int = 0, *, words_per_minute: float | None = None) -> Utterance:
    """Let an embedded speaker say a text, and know when every phone and word is spoken.

    espeak-ng, which the extra ``speech`` installs, makes the speech on the spot; nothing is downloaded.

    Args:
        text: plain English.
        speaker: number of the speaker, 0 … 9999; even numbers have a lower, odd ones a higher voice.
        seed: 0 for the speaker's usual pace; any other seed draws a pace around it. At least 0.
        words_per_minute: the pace itself, in words a minute; ``seed`` then does nothing.

    Returns:
        An utterance, 16,000 Hz mono, with phones and words; the same arguments give the same samples on one platform.

    Raises:
        ValueError: a text without words; no speaker has this number; a negative seed; a sound that is not in the table
            of English phones.
        RuntimeError: espeak-ng refused the text, or its worker process died twice.
        ImportError: the extra ``speech`` is not installed.

    Example:
        >>> from causalcnn.speech import synthesize
        >>> said = synthesize("Time runs from left to right.", speaker=3)
        >>> said.words[0].label, said.rate_hz
        ('Time', 16000)
    """
    voice = get_speaker(speaker)
    if words_per_minute is None and seed != 0:
        words_per_minute = float(voice.words_per_minute + np.random.default_rng([seed, speaker]).normal(0, 10))
    return _synthesize_voice(text, voice, words_per_minute)


def _synthesize_voice(text: str, voice: Speaker, words_per_minute: float | None = None) -> Utterance:
    """Let ``voice`` say a text, at 16 kHz, in steps of 16 bits as a file would hold it."""
    raw = espeak_synthesize(text, voice, words_per_minute)
    samples = _to_rate(raw)
    scale = RATE_HZ / raw.rate_hz
    phones = _phones(raw.phones, scale, len(samples))
    return Utterance(
        samples=as_float(samples),
        text=text,
        phones=phones,
        words=_words(text, raw.words, scale, phones),
        speaker=voice.name,
        source=SOURCE,
    )


def as_int16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """Turn samples in −1 … 1 into 16-bit integers; what is beyond full scale is clipped."""
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)


def as_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Turn 16-bit integers into float32 in −1 … 1, exactly."""
    return samples.astype(np.float32) / np.float32(32768.0)


def _to_rate(raw: RawSpeech) -> NDArray[np.int16]:
    """Bring 22,050 Hz to 16,000 Hz by soxr's high quality; the length is rounded, the same for the same input."""
    if raw.rate_hz == RATE_HZ:
        return raw.samples
    soxr = require("soxr", extra="speech")
    return as_int16(soxr.resample(raw.samples.astype(np.float32) / 32768.0, raw.rate_hz, RATE_HZ, quality="HQ"))


def _phones(events: Sequence[tuple[str, int]], scale: float, length: int) -> tuple[Span, ...]:
    """Make phones from their beginnings: without gaps, from the first sample to the last, silences joined."""
    spans: list[Span] = []
    edges = [min(length, round(sample * scale)) for _, sample in events] + [length]
    if edges[0] > 0:
        spans.append(Span("SIL", 0, edges[0]))
    for (mnemonic, _), start, end in zip(events, edges[:-1], edges[1:], strict=True):
        if end <= start:
            continue
        phone = arpabet(mnemonic)
        if phone == "SIL" and spans and spans[-1].label == "SIL":
            spans[-1] = Span("SIL", spans[-1].start, end)
        else:
            spans.append(Span(phone, start, end))
    return tuple(spans)


def _words(text: str, events: Sequence[tuple[int, int]], scale: float, phones: Sequence[Span]) -> tuple[Span, ...]:
    """Find the samples of every word, with the silence around it left out.

    espeak-ng joins some short words to their neighbour ("most of", "can't") and may then report a place in
    the middle of a word: events within one word are joined, and a word without an event of its own goes
    with the one before it.
    """
    tokens = [(match.start(), match.group()) for match in re.finditer(r"\S+", text)]
    first: dict[int, int] = {}
    for place, sample in events:
        inside = [k for k, (start, token) in enumerate(tokens) if start <= place < start + len(token)]
        if inside:
            first.setdefault(inside[0], round(sample * scale))
    at = sorted(first)
    spans = []
    for position, k in enumerate(at):
        follower = at[position + 1] if position + 1 < len(at) else len(tokens)
        end = first[follower] if follower < len(tokens) else phones[-1].end
        spoken = [p for p in phones if p.label != "SIL" and p.start >= first[k] - 1 and p.start < end - 1]
        if spoken:
            label = " ".join(re.sub(r"^\W+|\W+$", "", token) for _, token in tokens[k:follower])
            spans.append(Span(label, spoken[0].start, spoken[-1].end))
    return tuple(spans)
