"""A corpus as a network reads it: log-mel frames on disk, and batches that depend on nothing but their number."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalcnn._checks import at_least
from causalcnn.speech import feature_extraction as extraction
from causalcnn.speech.disk_cache import cached, in_memory
from causalcnn.speech.front_end import FLOOR_DB, FRAMES_PER_SECOND, MELS
from causalcnn.speech.level import LOUD_BELOW_DB, SILENT_DB
from causalcnn.speech.pieces import draw_pieces, longest_first
from causalcnn.speech.utterance import Utterance

__all__ = ["Batch", "Clip", "FeatureCorpus"]


@dataclass(frozen=True)
class Batch:
    """Pieces of clips, side by side.

    Attributes:
        features: log-mel in dB, float32 ``(batch, 80, time)``; padding is −100 dB, digital silence. The bands
            of a frame lie side by side in memory, so that ``to_2d`` of it is contiguous.
        mask: which frames are real and not padding, bool ``(batch, time)``.
        speaker: the index of each row's speaker in ``speaker_names`` of the corpus, int64 ``(batch,)``.

    Example:
        >>> import torch
        >>> from causalcnn.speech import Batch
        >>> mask, speaker = torch.ones(4, 64, dtype=torch.bool), torch.zeros(4, dtype=torch.int64)
        >>> batch = Batch(torch.zeros(4, 80, 64), mask, speaker)
        >>> len(batch), batch.to("cpu").features.shape
        (4, torch.Size([4, 80, 64]))
    """

    features: Tensor
    mask: Tensor
    speaker: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def to(self, device: torch.device | str) -> Batch:
        """Move the batch to a device.

        Args:
            device: such as ``"cuda"``. The copy does not wait where memory is pinned.

        Returns:
            The same batch on ``device``.
        """
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in (self.features, self.mask, self.speaker)))


@dataclass(frozen=True)
class Clip:
    """One recording of a corpus.

    Attributes:
        name: unique within its source: a number, or a file within its folder.
        speaker: the speaker's name.
        frames: its length, in frames of 10 ms.
        level_db: its level in dB, see :func:`~causalcnn.speech.speech_level_db`.
        loud_frames: the number of frames that this level is the mean of; 0 for a silent clip, which has no frame above
            −70 dB.

    Example:
        >>> from causalcnn.speech import FRAMES_PER_SECOND, Clip
        >>> clip = Clip("anna/hello.wav", "anna", frames=250, level_db=-22.5, loud_frames=180)
        >>> clip.frames / FRAMES_PER_SECOND        # seconds
        2.5
    """

    name: str
    speaker: str
    frames: int
    level_db: float
    loud_frames: int


@dataclass(frozen=True)
class _ClipFrames:
    """Where the frames of a clip lie, from ``start`` in the array ``(frames, 80)``, and what is added to them."""

    array: NDArray[np.float32]
    start: int
    shift_db: float = 0.0


class FeatureCorpus(Sequence[Tensor]):
    """Log-mel features of a corpus: made once, kept on disk as one memory-mapped array, read when asked for.

    :meth:`of` makes one. ``corpus[i]`` gives all frames of a clip, ``(80, frames)`` float32 in dB, and ``len(corpus)``
    the number of clips. A corpus is a value: :meth:`select_speakers`, :meth:`subset`, :meth:`with_gain`,
    :meth:`at_level` and ``+`` give new ones that share the frames on disk.

    Args:
        clips: name, speaker, length and level of every clip.
        clip_frames: where the frames of every clip lie; :meth:`of` knows it.

    Raises:
        ValueError: no clips.

    Example:
        >>> import numpy as np
        >>> from causalcnn.speech import FeatureCorpus, Utterance
        >>> noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
        >>> corpus = FeatureCorpus.of([Utterance(noise, speaker="anna"), Utterance(noise[:8_000])], cache=False)
        >>> corpus.batch(step=0, rows=4, frames=64).features.shape
        torch.Size([4, 80, 64])
        >>> [clip.frames for clip in corpus.clips], corpus.speaker_names
        ([200, 50], ('anna', 'unknown'))
    """

    def __init__(self, clips: Iterable[Clip], clip_frames: Iterable[_ClipFrames]) -> None:
        self.clips: tuple[Clip, ...] = tuple(clips)
        """Name, speaker, length and level of every clip, in their order."""
        self._clip_frames = tuple(clip_frames)
        if not self.clips:
            raise ValueError("a corpus needs at least one clip")

    @classmethod
    def of(
        cls,
        source: Iterable[Utterance],
        *,
        speaker_of: str | Callable[[str], str] | None = None,
        cache: bool = True,
    ) -> FeatureCorpus:
        """Make the features of ``EmbeddedSpeech(…)``, ``SpokenDigits()``, ``AudioFolder(…)`` or any utterances.

        An hour of speech takes a few seconds on one core and 115 MB on disk. The cache is found again by what the
        source says of itself, by the settings of the front end and by a version; where it is damaged, it is made anew
        with a warning.

        Args:
            source: utterances with 16,000 samples a second.
            speaker_of: who speaks: one name for all clips, or a function from a clip's name to its speaker. Default:
                the speaker that the source knows, else the folder that a file is in, else ``"unknown"``.
            cache: keep the features in ``CAUSALCNN_CACHE`` (default: the user's cache folder); else in memory.

        Returns:
            The corpus, its clips in the order of the source.

        Raises:
            ValueError: no clip; a clip with NaN or infinity, with samples far outside −1 … 1, with another rate, or
                shorter than one hop of 10 ms.
                Errors of ``source``, such as a damaged file, are passed on.
            OSError: the cache cannot be written, because the disk is full for example. Nothing partial is left there.
            ImportError: the extra ``speech`` is not installed, and no ``CAUSALCNN_CACHE`` names a cache folder.
        """
        if iter(source) is source:  # a generator: it can be walked once, and is asked for its name first
            source = list(source)
        if cache:
            path = extraction.cache_path(source)
            entries, array = cached(path, lambda: extraction.extract_features(source), "features")
        else:
            entries, array = in_memory(extraction.extract_features(source))
        starts = np.cumsum([0] + [entry["frames"] for entry in entries]).tolist()
        clips = (replace(Clip(**entry), speaker=extraction.clip_speaker(entry, speaker_of)) for entry in entries)
        return cls(clips, (_ClipFrames(array, start) for start in starts[:-1]))

    # ------------------------------------------------------------------ what it is
    def __repr__(self) -> str:
        who = f"{len(self.speaker_names)} speakers" if len(self.speaker_names) > 1 else self.speaker_names[0]
        return f"<FeatureCorpus: {len(self)} clips, {self.seconds:.0f} s, {who}, {self.level_db:.1f} dB>"

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def frames(self) -> int:
        """The number of frames of all clips together."""
        return sum(clip.frames for clip in self.clips)

    @property
    def seconds(self) -> float:
        """The duration of all clips together, in seconds."""
        return self.frames / FRAMES_PER_SECOND

    @cached_property
    def speaker_names(self) -> tuple[str, ...]:
        """The speakers of these clips, in alphabetical order; ``Batch.speaker`` counts in it."""
        return tuple(sorted({clip.speaker for clip in self.clips}))

    @cached_property
    def level_db(self) -> float:
        """The mean level of the clips in dB, each weighted by its loud frames; −100 where all are silent.

        Silence weighs nothing: neither a clip without a frame above −70 dB, nor one that is more than 30 dB below the
        middle one, in which nobody speaks.
        """
        clips = sorted((clip for clip in self.clips if clip.loud_frames), key=lambda clip: clip.level_db)
        if not clips:
            return FLOOR_DB
        so_far = np.cumsum([clip.loud_frames for clip in clips])
        middle = clips[int(np.searchsorted(so_far, so_far[-1] / 2))].level_db
        spoken = [clip for clip in clips if clip.level_db >= middle - LOUD_BELOW_DB]
        return sum(clip.level_db * clip.loud_frames for clip in spoken) / sum(clip.loud_frames for clip in spoken)

    # ------------------------------------------------------------------ clips and batches
    def __getitem__(self, which: int) -> Tensor:  # type: ignore[override]
        """Read all frames of one clip.

        Args:
            which: number of the clip; negative numbers count from the end.

        Returns:
            Log-mel in dB, float32 ``(80, frames)``.

        Raises:
            IndexError: there is no such clip.
        """
        if not -len(self) <= which < len(self):
            raise IndexError(f"there is no clip {which}; this corpus has {len(self)}")
        return torch.from_numpy(self._read(which, 0, self.clips[which].frames)).T

    def batch(self, step: int, *, rows: int, frames: int, seed: int = 0, rank: int = 0, world_size: int = 1) -> Batch:
        """Draw the batch of a training step: a pure function of its arguments, so that training can be resumed
        anywhere.

        A clip is drawn with a probability proportional to its length, and begins anywhere in it. Clips shorter than
        ``frames`` are taken whole and padded at the end. The ``rows · world_size`` rows that belong to a step are
        shared among the processes: two processes train on what one would with twice the rows.

        Args:
            step: number of the step, from 0.
            rows: number of rows of this process, at least 1.
            frames: length of a row, in frames of 10 ms, at least 1.
            seed: another seed gives other draws; at least 0.
            rank: number of this process, from 0.
            world_size: number of processes, at least 1.

        Returns:
            ``rows`` pieces of clips, with features ``(rows, 80, frames)``.

        Raises:
            ValueError: a number that is too small or not whole; a rank that is not below ``world_size``.
        """
        at_least("frames", frames)
        which, start = draw_pieces(
            self._lengths, step, rows=rows, length=frames, seed=seed, rank=rank, world_size=world_size
        )
        return self._batch(which, start, frames)

    def in_batches(self, rows: int) -> Iterator[Batch]:
        """Go through all clips once, whole, each padded to the longest of its batch: for scoring.

        The longest come first, so that little is padded, and that what does not fit into memory fails at once.

        Args:
            rows: number of clips in a batch, at least 1; the last batch may have fewer.

        Yields:
            The batches, with features ``(rows, 80, time)``.

        Raises:
            ValueError: ``rows`` is not a whole number of at least 1.
        """
        for which in longest_first(self._lengths, rows):
            yield self._batch(which, [0] * len(which), self.clips[which[0]].frames)

    def _batch(self, which: list[int], starts: list[int], frames: int) -> Batch:
        features = np.full((len(which), frames, MELS), FLOOR_DB, dtype=np.float32)
        mask = np.zeros((len(which), frames), dtype=np.bool_)
        for row, (clip, start) in enumerate(zip(which, starts, strict=True)):
            real = min(frames, self.clips[clip].frames - start)
            features[row, :real] = self._read(clip, start, real)
            mask[row, :real] = True
        speaker = [self._speaker_number[self.clips[clip].speaker] for clip in which]
        return Batch(torch.from_numpy(features).transpose(1, 2), torch.from_numpy(mask), torch.tensor(speaker))

    def _read(self, which: int, start: int, frames: int) -> NDArray[np.float32]:
        """Read some frames of a clip, ``(frames, 80)``, as a copy."""
        stored = self._clip_frames[which]
        first = stored.start + start
        piece = np.array(stored.array[first : first + frames], dtype=np.float32)
        if stored.shift_db:
            np.maximum(piece + np.float32(stored.shift_db), np.float32(FLOOR_DB), out=piece)
        return piece

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([clip.frames for clip in self.clips], dtype=np.int64)

    @cached_property
    def _speaker_number(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.speaker_names)}

    # ------------------------------------------------------------------ other corpora from it
    def select_speakers(self, speakers: Iterable[str]) -> FeatureCorpus:
        """Take the clips of some speakers.

        Args:
            speakers: names, or one name.

        Returns:
            A corpus of their clips, in the same order.

        Raises:
            ValueError: a speaker who is not in the corpus; no speaker.
        """
        wanted = {speakers} if isinstance(speakers, str) else set(speakers)
        unknown = sorted(wanted - set(self.speaker_names))
        if unknown or not wanted:
            raise ValueError(f"no speaker is called {unknown}; there are {', '.join(self.speaker_names)}")
        return self._those(i for i, clip in enumerate(self.clips) if clip.speaker in wanted)

    def subset(self, seconds: float) -> FeatureCorpus:
        """Take a part of about so many seconds: whole clips, spread evenly, in proportion for each speaker and at least
        one.

        Args:
            seconds: its duration, in seconds.

        Returns:
            The part; the corpus itself where it is not longer than ``seconds``.

        Raises:
            ValueError: ``seconds`` is not positive.
        """
        if not seconds > 0:
            raise ValueError(f"seconds is {seconds}; a corpus needs more than 0")
        if seconds >= self.seconds:
            return self
        chosen: list[int] = []
        for speaker in self.speaker_names:
            own = [i for i, clip in enumerate(self.clips) if clip.speaker == speaker]
            count = max(1, round(len(own) * seconds / self.seconds))
            chosen += [own[i * len(own) // count] for i in range(count)]
        return self._those(sorted(chosen))

    def __add__(self, other: FeatureCorpus) -> FeatureCorpus:
        """Join the clips of two corpora."""
        return FeatureCorpus(self.clips + other.clips, self._clip_frames + other._clip_frames)

    def with_gain(self, db: float) -> FeatureCorpus:
        """Make the same recordings louder or quieter; nothing falls below the floor of −100 dB.

        Args:
            db: the gain in dB; negative makes them quieter.

        Returns:
            The corpus with the gain; the frames on disk stay as they are.

        Raises:
            ValueError: the gain is not finite.
        """
        if not np.isfinite(db):
            raise ValueError(f"the gain is {db} dB; it must be a finite number")
        clips = (replace(clip, level_db=clip.level_db + db) for clip in self.clips)
        return FeatureCorpus(clips, (replace(stored, shift_db=stored.shift_db + db) for stored in self._clip_frames))

    def at_level(self, level_db: float, *, per: Literal["corpus", "speaker"] = "corpus") -> FeatureCorpus:
        """Give the corpus the gain that brings its speech to a level, usually that of the training corpus.

        One gain for all clips, or one for each speaker, as if the microphone had been set: it is known before
        a clip begins. Where the level must be found while listening, see :class:`~causalcnn.speech.RunningLevel`.

        Args:
            level_db: the new :attr:`level_db`, in dB.
            per: ``"corpus"`` for one gain, or ``"speaker"`` for one gain each. The clips are then in the order of the
                speakers' names.

        Returns:
            The corpus at that level; the frames on disk stay as they are.

        Raises:
            ValueError: ``per`` has another value; the gain is not finite; all clips are silent.
        """
        if per not in ("corpus", "speaker"):
            raise ValueError(f"per is {per!r}; it must be 'corpus' or 'speaker'")
        if not any(clip.loud_frames for clip in self.clips):
            who = self.speaker_names[0] if len(self.speaker_names) == 1 else "this corpus"
            raise ValueError(f"all clips of {who} are silent (no frame is above {SILENT_DB:g} dB): there is no level")
        if per == "corpus":
            return self.with_gain(level_db - self.level_db)
        parts = [self.select_speakers(speaker).at_level(level_db) for speaker in self.speaker_names]
        return functools.reduce(operator.add, parts)

    def _those(self, which: Iterable[int]) -> FeatureCorpus:
        chosen = list(which)
        return FeatureCorpus((self.clips[i] for i in chosen), (self._clip_frames[i] for i in chosen))
