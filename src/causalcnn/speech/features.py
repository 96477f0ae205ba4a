"""A corpus as a network reads it: log-mel frames on disk, and batches that depend on nothing but their number."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalcnn.speech import front_end
from causalcnn.speech.cache import cache_folder
from causalcnn.speech.feature_cache import Array, Entry, kept
from causalcnn.speech.front_end import FLOOR_DB, FRAMES_PER_SECOND, HOP_SAMPLES, MELS, LogMel
from causalcnn.speech.level import speaking, speech_level_db
from causalcnn.speech.utterance import Utterance

__all__ = ["Batch", "Clip", "FeatureCorpus"]

_VERSION = 1
"""Raise it when the features of the same samples have changed: old caches are then left alone."""

_PIECE_FRAMES = 3_000
"""Frames computed at a time: a recording of hours needs no more memory than one of 30 s."""


@dataclass(frozen=True)
class Batch:
    """Pieces of clips, side by side.

    Attributes:
        features: log-mel in dB, ``(batch, 80, time)`` float32; padding is −100 dB, digital silence. The bands
            of a frame lie side by side in memory, so that ``to_2d`` of it is contiguous.
        mask: which frames are real and no padding, ``(batch, time)`` bool.
        speaker: the place of each row's speaker in ``speaker_names``, ``(batch,)`` int64.
    """

    features: Tensor
    mask: Tensor
    speaker: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on ``device``."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in (self.features, self.mask, self.speaker)))


@dataclass(frozen=True)
class Clip:
    """One recording of a corpus.

    Attributes:
        name: unique within its source: a number, or a file within its folder.
        speaker: who speaks. frames: how long, in frames of 10 ms.
        level_db: the mean level of its speaking frames. speaking_frames: how many these are.
    """

    name: str
    speaker: str
    frames: int
    level_db: float
    speaking_frames: int


@dataclass(frozen=True)
class _Place:
    """Where the frames of a clip are, and what is added to them."""

    array: Array
    start: int
    shift_db: float = 0.0


class FeatureCorpus(Sequence[Tensor]):
    """Log-mel features of a corpus: made once, kept on disk as one memory-mapped array, read when asked for.

    Built with :meth:`of`. A corpus is a value: :meth:`only`, :meth:`part`, :meth:`shifted`, :meth:`at_level` and
    ``+`` give new ones that share the frames on disk.

    Attributes:
        clips: name, speaker and length of every clip.

    Example:
        >>> corpus = FeatureCorpus.of(EmbeddedSpeech("train", speakers=2, seconds=4))    # doctest: +SKIP
        >>> corpus.batch(step=0, rows=4, frames=64).features.shape                       # doctest: +SKIP
        torch.Size([4, 80, 64])
    """

    def __init__(self, clips: Iterable[Clip], places: Iterable[_Place]) -> None:
        self.clips: tuple[Clip, ...] = tuple(clips)
        self._places = tuple(places)
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
        """The features of ``EmbeddedSpeech(…)``, ``SpokenDigits()``, ``Folder(…)`` or any utterances.

        An hour takes a few seconds on one core and 115 MB on disk. The cache is found again by what the
        source says of itself, by the settings of the front end and by a version; where it is damaged, it is made
        anew with a warning.

        Args:
            source: utterances with 16,000 samples a second.
            speaker_of: who speaks: one name for all clips, or a function of a clip's name. Default: what the
                source knows, else the folder that a file is in.
            cache: keep the features in ``CAUSALCNN_CACHE``; else in memory.

        Raises:
            ValueError: no clip; a clip with NaN, another rate, or shorter than one hop of 10 ms.
            OSError: the cache cannot be written: a full disk, for example. Nothing partial is left there.
        """
        if cache:
            entries, array = kept(_path(source), lambda: _made(source))
        else:
            made = list(_made(source))
            if not made:
                raise ValueError("the corpus has no clip: there is nothing to make features of")
            entries, array = [entry for entry, _ in made], np.concatenate([piece for _, piece in made])
        starts = np.cumsum([0] + [entry["frames"] for entry in entries]).tolist()
        clips = (replace(Clip(**entry), speaker=_speaker(entry, speaker_of)) for entry in entries)
        return cls(clips, (_Place(array, start) for start in starts[:-1]))

    # ------------------------------------------------------------------ what it is
    def __repr__(self) -> str:
        who = f"{len(self.speaker_names)} speakers" if len(self.speaker_names) > 1 else self.speaker_names[0]
        return f"<FeatureCorpus: {len(self)} clips, {self.seconds:.0f} s, {who}, {self.level_db:.1f} dB>"

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def frames(self) -> int:
        """Frames of all clips."""
        return sum(clip.frames for clip in self.clips)

    @property
    def seconds(self) -> float:
        """Duration of all clips."""
        return self.frames / FRAMES_PER_SECOND

    @cached_property
    def speaker_names(self) -> tuple[str, ...]:
        """The speakers of these clips, in alphabetical order; ``Batch.speaker`` counts in it."""
        return tuple(sorted({clip.speaker for clip in self.clips}))

    @cached_property
    def level_db(self) -> float:
        """The mean level of all frames that are no silence, see :func:`~causalcnn.speech.speech_level_db`."""
        total = sum(clip.level_db * clip.speaking_frames for clip in self.clips)
        return total / sum(clip.speaking_frames for clip in self.clips)

    # ------------------------------------------------------------------ clips and batches
    def __getitem__(self, which: int) -> Tensor:  # type: ignore[override]
        """All frames of one clip, ``(80, frames)`` float32 in dB."""
        if not -len(self) <= which < len(self):
            raise IndexError(f"there is no clip {which}; this corpus has {len(self)}")
        return torch.from_numpy(self._read(which, 0, self.clips[which].frames)).T

    def batch(self, step: int, *, rows: int, frames: int, seed: int = 0, rank: int = 0, world: int = 1) -> Batch:
        """The batch of a training step: a pure function of its arguments, so that training can be resumed anywhere.

        A clip is drawn with a probability proportional to its length, and begins anywhere in it. Clips
        shorter than ``frames`` are taken whole and padded at the end. Of the ``rows · world`` rows that belong to
        a step, process ``rank`` gets its share: two processes train on what one would with twice the rows.

        Args:
            step: number of the step. rows: rows of this process. frames: length of a row.
            seed: another seed, other draws. rank, world: number of this process, and of all.

        Raises:
            ValueError: a number that cannot be.
        """
        _check_whole(
            step=(step, 0), rows=(rows, 1), frames=(frames, 1), seed=(seed, 0), rank=(rank, 0), world=(world, 1)
        )
        if rank >= world:
            raise ValueError(f"rank is {rank}; of {world} processes the ranks are 0 to {world - 1}")
        draw = np.random.default_rng([seed, step])
        frame = draw.integers(0, self.frames, rows * world)
        which = np.searchsorted(self._ends, frame, side="right")
        room = np.maximum(self._lengths[which] - frames, 0)
        start = draw.integers(0, room + 1)
        mine = slice(rank * rows, (rank + 1) * rows)
        return self._batch(which[mine].tolist(), start[mine].tolist(), frames)

    def in_batches(self, rows: int) -> Iterator[Batch]:
        """Every clip once, whole, ``rows`` at a time, padded to the longest: for scoring.

        The longest come first, so that little is padded, and that what does not fit into memory fails at once.
        """
        _check_whole(rows=(rows, 1))
        order = np.argsort(-self._lengths, kind="stable").tolist()
        for first in range(0, len(order), rows):
            which = order[first : first + rows]
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

    def _read(self, which: int, start: int, frames: int) -> Array:
        """Some frames of a clip, ``(frames, 80)``, as a copy."""
        place = self._places[which]
        first = place.start + start
        piece = np.array(place.array[first : first + frames], dtype=np.float32)
        if place.shift_db:
            np.maximum(piece + np.float32(place.shift_db), np.float32(FLOOR_DB), out=piece)
        return piece

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([clip.frames for clip in self.clips], dtype=np.int64)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self._lengths)

    @cached_property
    def _speaker_number(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.speaker_names)}

    # ------------------------------------------------------------------ other corpora from it
    def only(self, speakers: Iterable[str]) -> FeatureCorpus:
        """The clips of these speakers.

        Raises:
            ValueError: a speaker who is not in the corpus.
        """
        wanted = {speakers} if isinstance(speakers, str) else set(speakers)
        unknown = sorted(wanted - set(self.speaker_names))
        if unknown or not wanted:
            raise ValueError(f"no speaker is called {unknown}; there are {', '.join(self.speaker_names)}")
        return self._those(i for i, clip in enumerate(self.clips) if clip.speaker in wanted)

    def part(self, seconds: float) -> FeatureCorpus:
        """About so many seconds of it: whole clips, taken evenly from the corpus; all of it where it is shorter."""
        if not seconds > 0:
            raise ValueError(f"seconds is {seconds}; a corpus needs more than 0")
        if seconds >= self.seconds:
            return self
        count = max(1, round(len(self) * seconds / self.seconds))
        return self._those(i * len(self) // count for i in range(count))

    def __add__(self, other: FeatureCorpus) -> FeatureCorpus:
        """The clips of both."""
        return FeatureCorpus(self.clips + other.clips, self._places + other._places)

    def shifted(self, db: float) -> FeatureCorpus:
        """The same recordings with ``db`` more gain; nothing falls below the floor of −100 dB."""
        if not np.isfinite(db):
            raise ValueError(f"the gain is {db} dB; it must be a finite number")
        clips = (replace(clip, level_db=clip.level_db + db) for clip in self.clips)
        return FeatureCorpus(clips, (replace(place, shift_db=place.shift_db + db) for place in self._places))

    def at_level(self, level_db: float) -> FeatureCorpus:
        """The corpus with the one gain that brings its speech to ``level_db``, usually that of the training corpus.

        One gain for all clips, as if the microphone had been set: it is known before a clip begins. Where the
        level must be found while listening, see :class:`~causalcnn.speech.RunningLevel`.
        """
        return self.shifted(level_db - self.level_db)

    def _those(self, which: Iterable[int]) -> FeatureCorpus:
        chosen = list(which)
        return FeatureCorpus((self.clips[i] for i in chosen), (self._places[i] for i in chosen))


# ---------------------------------------------------------------------- making them
def _made(source: Iterable[Utterance]) -> Iterator[tuple[Entry, Array]]:
    """Clip after clip: what is known of it, and its frames ``(frames, 80)``."""
    for name, utterance in _named(source):
        if utterance.rate_hz != front_end.RATE_HZ:
            raise ValueError(f"{name!r} has {utterance.rate_hz} samples a second; read_recording brings it to 16,000")
        if len(utterance) < HOP_SAMPLES:
            raise ValueError(f"{name!r} has {len(utterance)} samples; one frame needs {HOP_SAMPLES} (10 ms)")
        features = _features(utterance)
        if not bool(torch.isfinite(features).all()):
            raise ValueError(f"{name!r} has NaN or infinite samples; write it again from the original")
        entry = {
            "name": name,
            "speaker": utterance.speaker,
            "frames": features.shape[1],
            "level_db": float(speech_level_db(features.double())),
            "speaking_frames": int(speaking(features).sum()),
        }
        yield entry, features.T.numpy()


@torch.no_grad()
def _features(utterance: Utterance) -> Tensor:
    """The causal front end, piece by piece: ``(80, frames)``."""
    layer = LogMel()
    state, pieces = layer.initial_state(1), []
    for piece in torch.split(utterance.tensor(), _PIECE_FRAMES * HOP_SAMPLES, dim=1):
        y, state = layer.step(piece, state)
        pieces.append(y)
    return torch.cat(pieces, dim=2)[0]


def _named(source: Iterable[Utterance]) -> Iterator[tuple[str, Utterance]]:
    if hasattr(source, "named"):
        yield from source.named()
    else:
        for number, utterance in enumerate(source):
            yield f"{number:06d}", utterance


def _speaker(entry: Entry, speaker_of: str | Callable[[str], str] | None) -> str:
    if isinstance(speaker_of, str):
        return speaker_of
    if speaker_of is not None:
        return speaker_of(entry["name"])
    folder = entry["name"].rpartition("/")[0].rpartition("/")[2]
    return entry["speaker"] or folder or "unknown"


def _path(source: Iterable[Utterance]) -> Any:
    """Where the features of this source are kept: a readable beginning, and a digest of all that they depend on."""
    identity = source.identity() if hasattr(source, "identity") else _of_samples(source)
    settings: list[float] = [_VERSION, front_end.RATE_HZ, front_end.WINDOW_SAMPLES, front_end.N_FFT, HOP_SAMPLES, MELS]
    settings += [front_end.LOWEST_HZ, front_end.HIGHEST_HZ, FLOOR_DB]
    digest = hashlib.sha256(json.dumps([settings, identity]).encode()).hexdigest()[:16]
    label = re.sub(r"[^a-z0-9]+", "-", identity.lower())[:40].strip("-")
    return cache_folder() / "features" / f"{label}-{digest}"


def _of_samples(source: Iterable[Utterance]) -> str:
    """The identity of utterances that have no other: their samples."""
    digest = hashlib.sha256()
    for name, utterance in _named(source):
        digest.update(f"{name} {utterance.speaker} {utterance.rate_hz} {len(utterance)}\n".encode())
        digest.update(np.ascontiguousarray(utterance.samples, dtype="<f4").tobytes())
    return f"utterances {digest.hexdigest()}"


def _check_whole(**numbers: tuple[int, int]) -> None:
    for name, (value, least) in numbers.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}")
