"""The codes that a VQ-VAE-2 makes of a corpus: what a prior over codes is trained and scored on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalcnn._checks import at_least
from causalcnn.models.vqvae2 import Codes
from causalcnn.models.vqvae2_causal import CausalVQVAE2
from causalcnn.speech import FRAMES_PER_SECOND, Clip, FeatureCorpus
from causalcnn.speech.disk_cache import Piece, cached, in_memory
from causalcnn.speech.environment import cache_folder
from causalcnn.speech.pieces import draw_pieces, longest_first

__all__ = ["CodeBatch", "CodeCorpus"]

_VERSION = 1
"""Raise it when the same weights make other codes of the same features: old caches are then left alone."""
_PIECE_FRAMES = 1_000
"""Frames encoded at a time, so that a recording of hours needs no more memory than one of 10 s."""


@dataclass(frozen=True)
class CodeBatch:
    """The codes of pieces of clips, side by side.

    Attributes:
        top: the top codes, int64 ``(batch, time, top_cells)``; padding is code 0.
        bottom: the bottom codes, int64 ``(batch, time, bottom_cells)``; padding is code 0.
        mask: which frames are real and not padding, bool ``(batch, time)``.
        speaker: the index of each row's speaker in ``speaker_names`` of the corpus, int64 ``(batch,)``.

    Example:
        >>> import torch
        >>> from causalcnn.models import CodeBatch
        >>> top, bottom = (torch.zeros(4, 64, cells, dtype=torch.int64) for cells in (10, 20))
        >>> batch = CodeBatch(top, bottom, torch.ones(4, 64, dtype=torch.bool), torch.zeros(4, dtype=torch.int64))
        >>> len(batch), batch.codes.bottom.shape
        (4, torch.Size([4, 64, 20]))
    """

    top: Tensor
    bottom: Tensor
    mask: Tensor
    speaker: Tensor

    def __len__(self) -> int:
        return len(self.top)

    @property
    def codes(self) -> Codes:
        """Top and bottom codes together, as :meth:`VQVAE2.decode` takes them."""
        return Codes(self.top, self.bottom)

    def to(self, device: torch.device | str) -> CodeBatch:
        """Move the batch to a device.

        Args:
            device: such as ``"cuda"``. The copy does not wait where memory is pinned.

        Returns:
            The same batch on ``device``.
        """
        tensors = (self.top, self.bottom, self.mask, self.speaker)
        return CodeBatch(*(tensor.to(device, non_blocking=True) for tensor in tensors))


class CodeCorpus(Sequence[Codes]):
    """The codes of a corpus: made once by a trained model, kept on disk, read when asked for.

    :meth:`of` makes one. ``corpus[i]`` gives the codes of a clip, top ``(1, frames, top_cells)`` and bottom
    ``(1, frames, bottom_cells)``, and ``len(corpus)`` the number of clips.

    Args:
        clips: name, speaker, length and level of every clip.
        codes: the codes of all clips one after the other, ``(frames, top_cells + bottom_cells)``; :meth:`of` makes
            them.
        top_cells: how many codes of a frame are top codes.
        num_codes: how many different codes there are on each level.

    Attributes:
        top_cells: as given.
        num_codes: as given.

    Raises:
        ValueError: no clips, or not as many frames as they have.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, CodeCorpus
        >>> from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
        >>> features = FeatureCorpus.of(EmbeddedSpeech("test", speakers=1, seconds=2))
        >>> corpus = CodeCorpus.of(CausalVQVAE2().eval(), features, cache=False)
        >>> corpus.batch(step=0, rows=4, frames=64).top.shape, corpus[0].bottom.shape[2]
        (torch.Size([4, 64, 10]), 20)
    """

    top_cells: int
    num_codes: int

    def __init__(self, clips: Iterable[Clip], codes: NDArray[np.integer], *, top_cells: int, num_codes: int) -> None:
        self.clips: tuple[Clip, ...] = tuple(clips)
        """Name, speaker, length and level of every clip, in their order."""
        self._codes = codes
        self.top_cells, self.num_codes = top_cells, num_codes
        if not self.clips or sum(clip.frames for clip in self.clips) != len(codes):
            raise ValueError(f"{len(self.clips)} clips and {len(codes)} frames of codes do not belong together")

    @classmethod
    def of(cls, model: CausalVQVAE2, features: FeatureCorpus, *, cache: bool = True) -> CodeCorpus:
        """Encode a corpus of features.

        ``tiny`` encodes an hour of speech in about a minute on one core; it takes 22 MB on disk. The cache is found
        again by the model's weights and config, by the features themselves and by a version; where it is damaged, it
        is made anew with a warning.

        Args:
            model: the trained model.
            features: the corpus; a level that it was brought to counts.
            cache: keep the codes in ``CAUSALCNN_CACHE`` (default: the user's cache folder); else in memory.

        Returns:
            The codes of its clips, in the same order.

        Raises:
            ValueError: the model reads another number of bands than the features have.
            OSError: the cache cannot be written. Nothing partial is left there.
        """
        config = model.config
        if cache:
            path = cache_folder() / "codes" / f"{_digest(model, features)}.cache"
            _, codes = cached(path, lambda: _encode(model, features), "codes")
        else:
            _, codes = in_memory(_encode(model, features))
        return cls(features.clips, codes, top_cells=config.top_cells, num_codes=config.num_codes)

    def __repr__(self) -> str:
        return f"<CodeCorpus: {len(self)} clips, {self.seconds:.0f} s, {len(self.speaker_names)} speakers>"

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def bottom_cells(self) -> int:
        """How many codes of a frame are bottom codes."""
        return self._codes.shape[1] - self.top_cells

    @property
    def seconds(self) -> float:
        """The duration of all clips together, in seconds."""
        return len(self._codes) / FRAMES_PER_SECOND

    @cached_property
    def speaker_names(self) -> tuple[str, ...]:
        """The speakers of these clips, in alphabetical order; ``CodeBatch.speaker`` counts in it."""
        return tuple(sorted({clip.speaker for clip in self.clips}))

    def __getitem__(self, which: int) -> Codes:  # type: ignore[override]
        """Read the codes of one clip.

        Args:
            which: number of the clip; negative numbers count from the end.

        Returns:
            The codes, int64, top ``(1, frames, top_cells)`` and bottom ``(1, frames, bottom_cells)``.

        Raises:
            IndexError: there is no such clip.
        """
        if not -len(self) <= which < len(self):
            raise IndexError(f"there is no clip {which}; this corpus has {len(self)}")
        which %= len(self)
        return self._batch([which], [0], self.clips[which].frames).codes

    def batch(
        self, step: int, *, rows: int, frames: int, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> CodeBatch:
        """Draw the batch of a training step: a pure function of its arguments, so that training can be resumed
        anywhere.

        The same arguments give the same pieces as :meth:`causalcnn.speech.FeatureCorpus.batch` does of the features.
        The codes of a piece were made with all that came before it in its clip.

        Args:
            step: number of the step, from 0.
            rows: number of rows of this process, at least 1.
            frames: length of a row, in frames of 10 ms, at least 1.
            seed: another seed gives other draws; at least 0.
            rank: number of this process, from 0.
            world_size: number of processes, at least 1.

        Returns:
            ``rows`` pieces of clips, with top codes ``(rows, frames, top_cells)``.

        Raises:
            ValueError: a number that is too small or not whole; a rank that is not below ``world_size``.
        """
        at_least("frames", frames)
        which, starts = draw_pieces(
            self._lengths, step, rows=rows, length=frames, seed=seed, rank=rank, world_size=world_size
        )
        return self._batch(which, starts, frames)

    def in_batches(self, rows: int) -> Iterator[CodeBatch]:
        """Go through all clips once, whole, each padded to the longest of its batch: for scoring.

        Args:
            rows: number of clips in a batch, at least 1; the last batch may have fewer.

        Yields:
            The batches, the longest clips first.

        Raises:
            ValueError: ``rows`` is not an integer of at least 1.
        """
        for which in longest_first(self._lengths, rows):
            yield self._batch(which, [0] * len(which), self.clips[which[0]].frames)

    def _batch(self, which: list[int], starts: list[int], frames: int) -> CodeBatch:
        codes = torch.zeros(len(which), frames, self._codes.shape[1], dtype=torch.int64)
        mask = torch.zeros(len(which), frames, dtype=torch.bool)
        for row, (clip, start) in enumerate(zip(which, starts, strict=True)):
            real = min(frames, self.clips[clip].frames - start)
            first = int(self._firsts[clip]) + start
            codes[row, :real] = torch.from_numpy(np.array(self._codes[first : first + real], dtype=np.int64))
            mask[row, :real] = True
        speaker = torch.tensor([self.speaker_names.index(self.clips[clip].speaker) for clip in which])
        top, bottom = codes.split([self.top_cells, self.bottom_cells], dim=2)
        return CodeBatch(top, bottom, mask, speaker)

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([clip.frames for clip in self.clips], dtype=np.int64)

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        return np.cumsum(self._lengths) - self._lengths


@torch.no_grad()
def _encode(model: CausalVQVAE2, features: FeatureCorpus) -> Iterator[Piece]:
    """The codes of clip after clip, ``(frames, top_cells + bottom_cells)``."""
    weight = next(model.parameters())
    for clip, whole in zip(features.clips, features, strict=True):
        x = whole.T[None, None].to(weight)  # (1, 1, frames, mels)
        state, pieces = model.initial_state(x), []
        for piece in x.split(_PIECE_FRAMES, dim=2):
            codes, state = model.encode_step(piece, state)
            pieces.append(torch.cat(codes, dim=2)[0])
        yield (
            {"name": clip.name},
            torch.cat(pieces).cpu().numpy().astype(np.min_scalar_type(model.config.num_codes - 1)),
        )


def _digest(model: CausalVQVAE2, features: FeatureCorpus) -> str:
    """A digest of all that the codes depend on."""
    digest = hashlib.sha256(json.dumps([_VERSION, model.name, asdict(model.config)]).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    for clip, frames in zip(features.clips, features, strict=True):
        digest.update(f"{clip.name} {clip.frames}".encode())
        digest.update(np.ascontiguousarray(frames.T.numpy()).tobytes())
    return digest.hexdigest()[:32]
