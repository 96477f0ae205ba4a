"""What stands for a frame, and what is asked of it: codewords, vectors, windows and a code made for remembering."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causalcnn.models import CausalVQVAE2
from causalcnn.speech import FeatureCorpus, speech_mask
from causalcnn_book.what_codes_remember.linear_probe import Moments, TransformCode

__all__ = ["Clips", "Narrow", "Source", "Told", "field_frames", "gather", "rows_of", "tell", "vectors", "window"]

FURTHEST, AHEAD = 20, 5
"""Frames back and ahead that are asked for, at most."""
DIRECTIONS = 24
"""Principal directions of a level's 64 numbers that readers of codewords read; all codewords stay apart in them."""
_ROWS = 4096

Told = list[Tensor]
"""What stands for the frames of clips: one ``(time, d)`` a clip."""
Source = Callable[[Tensor], Tensor]
"""A clip ``(time, 80)`` in dB → one row a frame, ``(time, d)``."""


@dataclass(frozen=True, eq=False)
class Clips:
    """Log-mel clips, and which of their frames are asked.

    Attributes:
        features: one ``(time, 80)`` a clip, dB, at the floor of the model.
        asked: one ``(frames,)`` a clip: the present frames t. They speak, and all of t − 20 … t + 5 is in the clip.
    """

    features: list[Tensor]
    asked: list[Tensor]

    @classmethod
    def of(cls, corpus: FeatureCorpus, floor_db: float) -> Clips:
        """All clips of a corpus."""
        features, asked = [], []
        for i in range(len(corpus)):
            counts = speech_mask(corpus[i])
            counts[:FURTHEST] = False
            counts[max(0, len(counts) - AHEAD) :] = False
            features.append(corpus[i].T.clamp(min=floor_db).contiguous())
            asked.append(counts.nonzero().flatten())
        return cls(features, asked)

    def shuffled(self, seed: int, frames: int = 300) -> Clips:
        """All asked frames in random order, as clips of ``frames``: no frame knows anything of another one."""
        pool = torch.cat([x[at] for x, at in zip(self.features, self.asked, strict=True)])
        pool = pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))]
        clips = [clip.contiguous() for clip in pool.split(frames) if len(clip) > FURTHEST + AHEAD]
        return Clips(clips, [torch.arange(FURTHEST, len(clip) - AHEAD) for clip in clips])

    def __len__(self) -> int:
        return sum(len(at) for at in self.asked)


# --------------------------------------------------------------------------------- what stands for a frame
@torch.no_grad()
def vectors(model: CausalVQVAE2, clip: Tensor) -> tuple[Tensor, Tensor]:
    """What the encoder says of a clip: its codewords, and its vectors before they are rounded to codewords.

    Shape: ``(time, 80)`` in dB → two of ``(time, 30, code_dim)``, the top's ten first.
    """
    before: list[Tensor] = []  # what leaves the part before each quantizer
    hooks = [
        part.register_forward_hook(lambda _, __, output: before.append(output))
        for part in (model.encoder_top, model.project_bottom)
    ]
    codes = model.encode(clip[None, None])
    for hook in hooks:
        hook.remove()
    words = model.quantize_top.decode(codes.top), model.quantize_bottom.decode(codes.bottom)
    said, meant = (torch.cat([v[0].permute(1, 2, 0) for v in pair], 1) for pair in (words, before))
    return said, meant


class Narrow:
    """The principal directions of the vectors of top and bottom, and the vectors seen along them.

    Args:
        some: vectors to find them from, ``(frames, cells, code_dim)``. top: how many of the cells are the top's.
        directions: kept of each level.

    Attributes:
        lost: the share of the variance that is left out, of top and bottom.
    """

    def __init__(self, some: Tensor, top: int, directions: int = DIRECTIONS) -> None:
        self.top, self.means, self.bases, self.lost = top, [], [], []
        for cells in (some[:, :top], some[:, top:]):
            flat = cells.flatten(0, 1).double()
            values, basis = torch.linalg.eigh((flat - flat.mean(0)).T @ (flat - flat.mean(0)))
            self.means.append(flat.mean(0).float())
            self.bases.append(basis[:, -directions:].flip(1).float())
            self.lost.append(float(values[: -self.bases[-1].shape[1]].clamp(min=0).sum() / values.sum()))

    def __call__(self, said: Tensor) -> Tensor:
        """``(time, cells, code_dim)`` → ``(time, cells · directions)``, the top's numbers first."""
        parts = (said[:, : self.top], said[:, self.top :])
        seen = [(part - mean) @ basis for part, mean, basis in zip(parts, self.means, self.bases, strict=True)]
        return torch.cat(seen, 1).flatten(1)


def window(clip: Tensor, frames: int) -> Tensor:
    """The latest ``frames`` rows of each frame, side by side: ``(time, d)`` → ``(time, frames · d)``."""
    padded = torch.cat([clip.new_zeros(frames - 1, clip.shape[1]), clip])
    return padded.unfold(0, frames, 1).transpose(1, 2).flatten(1)


def field_frames(model: CausalVQVAE2) -> tuple[int, int]:
    """How many frames a top code and a bottom code read."""
    return int(model.top_field.axis("time").size), int(model.bottom_field.axis("time").size)


def bits(model: CausalVQVAE2) -> int:
    """Bits of the codes of one frame."""
    return (model.config.top_cells + model.config.bottom_cells) * math.ceil(math.log2(model.config.num_codes))


def tell(model: CausalVQVAE2, fresh: CausalVQVAE2 | None, train: Clips) -> dict[str, Source]:
    """What is compared, by name.

    ``codes`` and ``before``: codewords and unrounded vectors of ``model``; ``untrained``: the codewords of ``fresh``;
    ``frame``: the present frame alone; ``window``: all frames that a bottom code reads; ``fixed``: these as a
    transform code of as many bits as the codes. What must be fitted is fitted to ``train``.
    """
    reach, top = field_frames(model)[1], model.config.top_cells
    fixed = TransformCode(torch.cat([x for x, _ in rows_of([window(x, reach) for x in train.features], train, ())]),
                          bits=bits(model))  # fmt: skip
    found: dict[str, Source] = {
        "frame": lambda x: x,
        "window": lambda x: window(x, reach),
        "fixed": lambda x: fixed(window(x, reach)),
    }
    some = train.features[: max(1, len(train.features) // 4)]
    for name, network in (("codes", model), ("untrained", fresh)):
        if network is not None:
            found[name] = _told_by(network, some, top)
    found["before"] = lambda x: vectors(model, x)[1].flatten(1)  # all of it: the past may lie in small directions
    return found


def _told_by(network: CausalVQVAE2, some: list[Tensor], top: int) -> Source:
    narrow = Narrow(torch.cat([vectors(network, x)[0] for x in some]), top)

    def told(clip: Tensor) -> Tensor:
        return narrow(vectors(network, clip)[0])

    told.narrow = narrow  # type: ignore[attr-defined]
    return told


# ------------------------------------------------------------------------------------------- what is asked
def rows_of(told: Told, clips: Clips, back: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """What is read and what is asked, some thousand rows at a time: ``(rows, d)``, ``(rows, len(back) · 80)``."""
    kept: list[tuple[Tensor, Tensor]] = []
    for rows, clip, at in zip(told, clips.features, clips.asked, strict=True):
        asked = clip[at[:, None] - torch.tensor(back, dtype=torch.long)].flatten(1)
        kept.append((rows[at], asked))
        if sum(len(x) for x, _ in kept) >= _ROWS:
            yield torch.cat([x for x, _ in kept]), torch.cat([y for _, y in kept])
            kept = []
    if kept:
        yield torch.cat([x for x, _ in kept]), torch.cat([y for _, y in kept])


def gather(told: Told, clips: Clips, back: Sequence[int]) -> Moments:
    """The moments of what is read and what is asked."""
    moments: Moments | None = None
    for x, y in rows_of(told, clips, back):
        moments = moments or Moments(x.mean(0), y.mean(0))
        moments.add(x, y)
    if moments is None or not moments.count:
        raise ValueError("no frame of these clips is asked: they are all shorter than 26 frames, or silent")
    return moments
