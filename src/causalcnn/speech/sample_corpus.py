"""A corpus as a network of samples reads it: sounds in memory, and batches that depend on nothing but their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalcnn._checks import at_least
from causalcnn.speech.feature_extraction import clip_speaker, named_utterances
from causalcnn.speech.front_end import RATE_HZ
from causalcnn.speech.pieces import draw_pieces
from causalcnn.speech.recordings import FULL_SCALE_LIMIT
from causalcnn.speech.synthesis import as_float, as_int16
from causalcnn.speech.utterance import Utterance

__all__ = ["SampleBatch", "SampleCorpus"]


@dataclass(frozen=True)
class SampleBatch:
    """Pieces of sounds, side by side.

    Attributes:
        samples: in −1 … 1 at 16,000 Hz, float32 ``(batch, time)``; padding is 0.
        mask: which samples are real and not padding, bool ``(batch, time)``.
        speaker: the index of each row's speaker in ``speaker_names`` of the corpus, int64 ``(batch,)``.

    Example:
        >>> import torch
        >>> from causalcnn.speech import SampleBatch
        >>> batch = SampleBatch(torch.zeros(4, 800), torch.ones(4, 800, dtype=torch.bool), torch.zeros(4).long())
        >>> len(batch)
        4
    """

    samples: Tensor
    mask: Tensor
    speaker: Tensor

    def __len__(self) -> int:
        return len(self.samples)

    def to(self, device: torch.device | str) -> SampleBatch:
        """Move the batch to a device.

        Args:
            device: such as ``"cuda"``. The copy does not wait where memory is pinned.

        Returns:
            The same batch on ``device``.
        """
        return SampleBatch(*(each.to(device, non_blocking=True) for each in (self.samples, self.mask, self.speaker)))


class SampleCorpus(Sequence[Tensor]):
    """The samples of a corpus, in memory as 16-bit numbers; an hour takes 115 MB.

    :meth:`of` makes one. ``corpus[i]`` gives the samples of an utterance, float32 ``(time,)``, and ``len(corpus)`` the
    number of utterances.

    Args:
        sounds: the samples of every utterance at 16,000 Hz, as 16-bit integers; :meth:`of` makes them.
        speakers: who speaks in each.

    Attributes:
        speakers: who speaks in each utterance.

    Raises:
        ValueError: there is no utterance, or not one speaker for each.

    Example:
        >>> import numpy as np
        >>> from causalcnn.speech import SampleCorpus, Utterance
        >>> noise = np.random.default_rng(0).uniform(-0.1, 0.1, 32_000).astype(np.float32)
        >>> corpus = SampleCorpus.of([Utterance(noise, speaker="anna"), Utterance(noise[:8_000])])
        >>> corpus.batch(step=0, rows=4, samples=800).samples.shape
        torch.Size([4, 800])
        >>> corpus.seconds, corpus.speaker_names
        (2.5, ('anna', 'unknown'))
    """

    speakers: tuple[str, ...]

    def __init__(self, sounds: Iterable[NDArray[np.int16]], speakers: Iterable[str]) -> None:
        self._sounds, self.speakers = tuple(sounds), tuple(speakers)
        if not self._sounds or len(self._sounds) != len(self.speakers):
            raise ValueError(
                f"there are {len(self._sounds)} utterances and {len(self.speakers)} speakers; a corpus needs at least "
                "one utterance, and a speaker for each"
            )

    @classmethod
    def of(cls, source: Iterable[Utterance], *, speaker_of: str | Callable[[str], str] | None = None) -> SampleCorpus:
        """Read the samples of ``EmbeddedSpeech(…)``, ``SpokenDigits()``, ``AudioFolder(…)`` or any utterances.

        Args:
            source: utterances with 16,000 samples a second.
            speaker_of: who speaks: one name for all utterances, or a function from an utterance's name to its speaker.
                Default: the speaker that the source knows, else the folder that a file is in, else ``"unknown"``.

        Returns:
            The corpus, its utterances in the order of the source. A sample a little beyond full scale is clipped.

        Raises:
            ValueError: no utterance; one with another rate, without a sample, or with a sample that is NaN or far
                outside −1 … 1. Errors of ``source``, such as a damaged file, are passed on.
        """
        sounds, speakers = [], []
        for name, utterance in named_utterances(source):
            sounds.append(_checked_int16(name, utterance))
            speakers.append(clip_speaker({"name": name, "speaker": utterance.speaker}, speaker_of))
        return cls(sounds, speakers)

    def __repr__(self) -> str:
        return f"<SampleCorpus: {len(self)} utterances, {self.seconds:.0f} s, {len(self.speaker_names)} speakers>"

    def __len__(self) -> int:
        return len(self._sounds)

    def __getitem__(self, which: int) -> Tensor:  # type: ignore[override]
        """Give the samples of one utterance.

        Args:
            which: its number; negative numbers count from the end.

        Returns:
            Its samples, ``(time,)`` float32.

        Raises:
            IndexError: there is no such utterance.
        """
        return torch.from_numpy(as_float(self._sounds[which]))

    @property
    def seconds(self) -> float:
        """The duration of all utterances together, in seconds."""
        return int(self._lengths.sum()) / RATE_HZ

    @cached_property
    def speaker_names(self) -> tuple[str, ...]:
        """The speakers, in alphabetical order; ``SampleBatch.speaker`` counts in it."""
        return tuple(sorted(set(self.speakers)))

    def select_speakers(self, speakers: Iterable[str]) -> SampleCorpus:
        """Take the utterances of some speakers.

        Args:
            speakers: names, or one name.

        Returns:
            A corpus of their utterances, in the same order, which shares the samples.

        Raises:
            ValueError: a speaker who is not in the corpus; no speaker.
        """
        wanted = {speakers} if isinstance(speakers, str) else set(speakers)
        unknown = sorted(wanted - set(self.speaker_names))
        if unknown or not wanted:
            raise ValueError(f"no speaker is called {unknown}; there are {', '.join(self.speaker_names)}")
        chosen = [i for i, speaker in enumerate(self.speakers) if speaker in wanted]
        return SampleCorpus((self._sounds[i] for i in chosen), (self.speakers[i] for i in chosen))

    def batch(
        self, step: int, *, rows: int, samples: int, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> SampleBatch:
        """Draw the batch of a training step: a pure function of its arguments, so that training can be resumed
        anywhere.

        An utterance is drawn with a probability proportional to its length, and the piece begins anywhere in it. Those
        shorter than ``samples`` are taken whole and padded at the end. The ``rows · world_size`` rows that belong to a
        step are shared among the processes: two processes train on what one would with twice the rows.

        Args:
            step: number of the step, from 0.
            rows: number of rows of this process, at least 1.
            samples: length of a row, in samples, at least 1.
            seed: another seed gives other draws; at least 0.
            rank: number of this process, from 0.
            world_size: number of processes, at least 1.

        Returns:
            ``rows`` pieces of utterances, with samples ``(rows, samples)``.

        Raises:
            ValueError: a number that is too small or not whole; a rank that is not below ``world_size``.
        """
        at_least("samples", samples)
        which, starts = draw_pieces(
            self._lengths, step, rows=rows, length=samples, seed=seed, rank=rank, world_size=world_size
        )
        batch = np.zeros((rows, samples), dtype=np.float32)
        mask = np.zeros((rows, samples), dtype=np.bool_)
        for row, (sound, first) in enumerate(zip(which, starts, strict=True)):
            piece = self._sounds[sound][first : first + samples]
            batch[row, : len(piece)] = as_float(piece)
            mask[row, : len(piece)] = True
        speaker = [self.speaker_names.index(self.speakers[sound]) for sound in which]
        return SampleBatch(torch.from_numpy(batch), torch.from_numpy(mask), torch.tensor(speaker))

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([len(sound) for sound in self._sounds], dtype=np.int64)


def _checked_int16(name: str, utterance: Utterance) -> NDArray[np.int16]:
    """The samples in 16 bits, or an error that says why this utterance cannot be used."""
    samples, rate_hz = utterance.samples, utterance.rate_hz
    if rate_hz != RATE_HZ:
        raise ValueError(f"utterance {name} has {rate_hz} samples a second; it must have {RATE_HZ}: resample it first")
    if not len(samples):
        raise ValueError(f"utterance {name} has no sample")
    if not np.abs(samples).max() <= FULL_SCALE_LIMIT:  # also where one is NaN
        raise ValueError(f"utterance {name} has samples that are NaN, or far outside −1 … 1; full scale is 1")
    return as_int16(samples)  # a resampler may overshoot full scale a little
