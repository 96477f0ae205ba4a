"""What linear probes read and predict: codewords, vectors, windows, a transform code; and the frames around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causalcnn.models import CausalVQVAE2
from causalcnn.speech import FeatureCorpus, speech_mask
from causalcnn_book.what_codes_remember.linear_probe import Moments, TransformCode

__all__ = [
    "Clips",
    "PerLevelPCA",
    "Representation",
    "build_inputs",
    "field_frames",
    "gather",
    "probe_rows",
    "vectors",
    "window",
]

MAX_BACK, MAX_AHEAD = 20, 5
"""Frames back and ahead that are predicted, at most."""
DIRECTIONS = 24
"""Principal directions of a level's 64 numbers that readers of codewords read; all codewords stay apart in them."""
_ROWS = 4096

Representation = Callable[[Tensor], Tensor]
"""What a probe reads: a clip ``(time, 80)`` in dB → one row a frame, ``(time, d)``."""


@dataclass(frozen=True, eq=False)
class Clips:
    """Log-mel clips, and at which of their frames a probe reads.

    Its length is the number of these frames.

    Attributes:
        features: one ``(time, 80)`` a clip, dB, at the floor of the model.
        positions: one ``(frames,)`` a clip: the present frames t. They speak, and all of t − 20 … t + 5 is in the clip.

    Example:
        >>> from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
        >>> from causalcnn_book.what_codes_remember import Clips
        >>> clips = Clips.of(FeatureCorpus.of(EmbeddedSpeech("test", speakers=1, seconds=2)), floor_db=-70.0)
        >>> clips.features[0].shape[1], int(clips.positions[0].min()) >= 20
        (80, True)
    """

    features: list[Tensor]
    positions: list[Tensor]

    @classmethod
    def of(cls, corpus: FeatureCorpus, floor_db: float) -> Clips:
        """Take all clips of a corpus.

        Args:
            corpus: its clips are taken.
            floor_db: values below it count as this much, in dB.

        Returns:
            The clips.
        """
        features, positions = [], []
        for i in range(len(corpus)):
            counts = speech_mask(corpus[i])
            counts[:MAX_BACK] = False
            counts[max(0, len(counts) - MAX_AHEAD) :] = False
            features.append(corpus[i].T.clamp(min=floor_db).contiguous())
            positions.append(counts.nonzero().flatten())
        return cls(features, positions)

    def shuffled(self, seed: int, frames: int = 300) -> Clips:
        """Put the frames at all positions in random order, so that no frame has to do with another one.

        Args:
            seed: draws the order.
            frames: the length of the clips that they are cut into; a last one of fewer than 26 is left out.

        Returns:
            The new clips.
        """
        pool = torch.cat([x[at] for x, at in zip(self.features, self.positions, strict=True)])
        pool = pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))]
        clips = [clip.contiguous() for clip in pool.split(frames) if len(clip) > MAX_BACK + MAX_AHEAD]
        return Clips(clips, [torch.arange(MAX_BACK, len(clip) - MAX_AHEAD) for clip in clips])

    def __len__(self) -> int:
        return sum(len(at) for at in self.positions)


# ------------------------------------------------------------------------------------ what a probe reads
@torch.no_grad()
def vectors(model: CausalVQVAE2, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the codewords of a clip, and its vectors before they are rounded to codewords.

    Args:
        model: a model in eval mode.
        clip: ``(time, 80)`` in dB.

    Returns:
        Both ``(time, 30, code_dim)``, the top's ten first.
    """
    before: list[Tensor] = []  # what leaves the part before each quantizer
    hooks = [
        part.register_forward_hook(lambda _, __, output: before.append(output))
        for part in (model.encoder_top, model.project_bottom)
    ]
    codes = model.encode(clip[None, None])
    for hook in hooks:
        hook.remove()
    decoded = model.quantize_top.decode(codes.top), model.quantize_bottom.decode(codes.bottom)
    codewords, unrounded = (torch.cat([v[0].permute(1, 2, 0) for v in pair], 1) for pair in (decoded, before))
    return codewords, unrounded


class PerLevelPCA:
    """The principal directions of the vectors of top and bottom, and the vectors seen along them.

    Its attribute ``lost`` is the share of the variance that is left out, of top and bottom.

    Args:
        some: vectors to find them from, ``(frames, cells, code_dim)``.
        top: how many of the cells are the top's.
        directions: kept of each level.

    Example:
        >>> import torch
        >>> from causalcnn_book.what_codes_remember.probe_inputs import PerLevelPCA
        >>> some = torch.randn(50, 6, 4, generator=torch.Generator().manual_seed(0))
        >>> PerLevelPCA(some, top=2, directions=3)(some).shape
        torch.Size([50, 18])
    """

    def __init__(self, some: Tensor, top: int, directions: int = DIRECTIONS) -> None:
        self.top, self.means, self.bases, self.lost = top, [], [], []
        for cells in (some[:, :top], some[:, top:]):
            flat = cells.flatten(0, 1).double()
            values, basis = torch.linalg.eigh((flat - flat.mean(0)).T @ (flat - flat.mean(0)))
            self.means.append(flat.mean(0).float())
            self.bases.append(basis[:, -directions:].flip(1).float())
            self.lost.append(float(values[: -self.bases[-1].shape[1]].clamp(min=0).sum() / values.sum()))

    def __call__(self, vectors: Tensor) -> Tensor:
        """See vectors along the directions of their level.

        Args:
            vectors: ``(time, cells, code_dim)``.

        Returns:
            ``(time, cells · directions)``, the top's numbers first.
        """
        parts = (vectors[:, : self.top], vectors[:, self.top :])
        scores = [(part - mean) @ basis for part, mean, basis in zip(parts, self.means, self.bases, strict=True)]
        return torch.cat(scores, 1).flatten(1)


def window(clip: Tensor, frames: int) -> Tensor:
    """Put the latest rows of each frame side by side; before the first one there are zeros.

    Args:
        clip: ``(time, d)``.
        frames: how many rows, the present one included.

    Returns:
        ``(time, frames · d)``, the oldest row first.

    Example:
        >>> import torch
        >>> from causalcnn_book.what_codes_remember import window
        >>> window(torch.tensor([[1.0], [2.0], [3.0]]), 2).tolist()
        [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    padded = torch.cat([clip.new_zeros(frames - 1, clip.shape[1]), clip])
    return padded.unfold(0, frames, 1).transpose(1, 2).flatten(1)


def field_frames(model: CausalVQVAE2) -> tuple[int, int]:
    """Count how many frames a top code and a bottom code read.

    Args:
        model: the model that makes the codes.

    Returns:
        The frames of a top code, and those of a bottom code.
    """
    return int(model.top_field.axis("time").size), int(model.bottom_field.axis("time").size)


def bits(model: CausalVQVAE2) -> int:
    """Count the bits of the codes of one frame.

    Args:
        model: the model that makes the codes.

    Returns:
        Of all codes together.
    """
    return (model.config.top_cells + model.config.bottom_cells) * math.ceil(math.log2(model.config.num_codes))


def build_inputs(model: CausalVQVAE2, fresh: CausalVQVAE2 | None, train: Clips) -> dict[str, Representation]:
    """Make what is compared, by name.

    ``codes`` and ``before``: codewords and unrounded vectors of ``model``; ``untrained``: the codewords of ``fresh``;
    ``frame``: the present frame alone; ``window``: all frames that a bottom code reads; ``fixed``: these as a
    transform code of as many bits as the codes. What must be fitted is fitted to ``train``.

    Args:
        model: the trained model, in eval mode.
        fresh: the same architecture untrained, in eval mode; None leaves it out.
        train: the speech that representations are fitted to.

    Returns:
        Name → a function from a clip ``(time, 80)`` in dB to one row a frame, ``(time, d)``.
    """
    reach, top = field_frames(model)[1], model.config.top_cells
    fixed = TransformCode(torch.cat([x for x, _ in probe_rows([window(x, reach) for x in train.features], train, ())]),
                          bits=bits(model))  # fmt: skip
    found: dict[str, Representation] = {
        "frame": lambda x: x,
        "window": lambda x: window(x, reach),
        "fixed": lambda x: fixed(window(x, reach)),
    }
    some = train.features[: max(1, len(train.features) // 4)]
    for name, network in (("codes", model), ("untrained", fresh)):
        if network is not None:
            found[name] = _codewords_of(network, some, top)
    found["before"] = lambda x: vectors(model, x)[1].flatten(1)  # all of it: the past may lie in small directions
    return found


def _codewords_of(network: CausalVQVAE2, some: list[Tensor], top: int) -> Representation:
    pca = PerLevelPCA(torch.cat([vectors(network, x)[0] for x in some]), top)

    def codewords(clip: Tensor) -> Tensor:
        return pca(vectors(network, clip)[0])

    codewords.pca = pca  # type: ignore[attr-defined]
    return codewords


# ------------------------------------------------------------------------------------ rows for a probe
def probe_rows(inputs: Sequence[Tensor], clips: Clips, back: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Collect what is read and what is predicted, some thousand rows at a time.

    Args:
        inputs: one ``(time, d)`` a clip.
        clips: as many clips.
        back: which frames are predicted, counted back from the present one.

    Yields:
        What is read, ``(rows, d)``, and what is predicted, ``(rows, len(back) · 80)``.
    """
    kept: list[tuple[Tensor, Tensor]] = []
    for rows, clip, at in zip(inputs, clips.features, clips.positions, strict=True):
        targets = clip[at[:, None] - torch.tensor(back, dtype=torch.long)].flatten(1)
        kept.append((rows[at], targets))
        if sum(len(x) for x, _ in kept) >= _ROWS:
            yield torch.cat([x for x, _ in kept]), torch.cat([y for _, y in kept])
            kept = []
    if kept:
        yield torch.cat([x for x, _ in kept]), torch.cat([y for _, y in kept])


def gather(inputs: Sequence[Tensor], clips: Clips, back: Sequence[int]) -> Moments:
    """Gather the moments of what is read and what is predicted.

    Args:
        inputs: one ``(time, d)`` a clip.
        clips: as many clips.
        back: which frames are predicted, counted back from the present one.

    Returns:
        The moments of all rows.

    Raises:
        ValueError: no frame of these clips can be predicted.
    """
    moments: Moments | None = None
    for x, y in probe_rows(inputs, clips, back):
        moments = moments or Moments(x.mean(0), y.mean(0))
        moments.add(x, y)
    if moments is None or not moments.count:
        raise ValueError("no frame of these clips can be predicted: they are all shorter than 26 frames, or silent")
    return moments
