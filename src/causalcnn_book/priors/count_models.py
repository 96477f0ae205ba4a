"""What a code costs without a network: how often it came, alone and after its neighbors, counted on training codes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from causalcnn.models import Codes

__all__ = ["CONTEXTS", "CountModel", "Neighbor"]

Neighbor = Literal["previous", "below", "above", "cell"]
"""What a context may hold beside a code: the code of the same cell one frame before, that of the cell below in the same
frame, the top code above a bottom code, and which cell it is."""

CONTEXTS: dict[str, dict[str, tuple[Neighbor, ...]]] = {
    "unigram": {"top": ("cell",), "bottom": ("cell",)},
    "one neighbor": {"top": ("previous", "cell"), "bottom": ("previous", "cell")},
    "two neighbors": {"top": ("previous", "below", "cell"), "bottom": ("previous", "below", "cell")},
    "neighbor and top": {"top": ("previous", "cell"), "bottom": ("previous", "above", "cell")},
}
"""The rows of count models: for each level what a code is counted after, the most telling first."""

STRENGTHS = tuple(2.0**power for power in range(-4, 13))
"""How many sightings the shorter context is worth: what is tried of it."""
HELD_OUT = 10
"""Every tenth clip chooses the strengths; then all are counted."""


@dataclass(frozen=True)
class _Counts:
    """How often each code came after each context.

    Attributes:
        pairs: sorted keys ``context · num_codes + code`` of what was seen.
        times: how often.
        contexts: sorted keys of the contexts.
        totals: how often each was seen.
    """

    pairs: NDArray[np.int64]
    times: NDArray[np.int64]
    contexts: NDArray[np.int64]
    totals: NDArray[np.int64]

    @classmethod
    def of(cls, context: NDArray[np.int64], code: NDArray[np.int64], num_codes: int) -> _Counts:
        pairs, times = np.unique(context * num_codes + code, return_counts=True)
        contexts, totals = np.unique(context, return_counts=True)
        return cls(pairs, times, contexts, totals)

    def smoothed(
        self,
        context: NDArray[np.int64],
        code: NDArray[np.int64],
        num_codes: int,
        shorter: NDArray[np.float64],
        strength: float,
    ) -> NDArray[np.float64]:
        """The probability of each code, the shorter context's counting as ``strength`` sightings."""
        seen = _look_up(self.pairs, self.times, context * num_codes + code)
        total = _look_up(self.contexts, self.totals, context)
        return (seen + strength * shorter) / (total + strength)


def _look_up(keys: NDArray[np.int64], values: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


class CountModel:
    """A table of counts for each level, smoothed by those of shorter contexts.

    The probability of a code c after a context is (n(context, c) + s · p(c after the shorter context)) / (n(context) +
    s): the shorter context is worth s sightings. The shortest of all is nothing, after which all codes are equally
    likely. Each s is the best of a list of powers of 2 for a tenth of the training clips, given the counts of the
    others; then all clips are counted.

    Args:
        num_codes: how many codes there are on each level.
        contexts: for each level, ``"top"`` and ``"bottom"``, what a code is counted after, the most telling first;
            contexts grow by one of them at a time. By default nothing: all codes are equally likely.

    Attributes:
        num_codes: as given.
        contexts: as given.
        strengths: for each level the s of each context, the shortest first, once the model is fitted.

    Source:
        MacKay and Peto, A hierarchical Dirichlet language model, 1995; the strengths are searched, not inferred.

    Example:
        >>> import torch
        >>> from causalcnn.models import Codes
        >>> from causalcnn_book.priors.count_models import CONTEXTS, CountModel
        >>> always = Codes(torch.ones(1, 50, 2, dtype=torch.int64), torch.ones(1, 50, 4, dtype=torch.int64))
        >>> model = CountModel(8, CONTEXTS["one neighbor"])
        >>> model.fit([always] * 20)
        >>> top, bottom = model.bits(always)
        >>> tuple(bottom.shape), bool(bottom.max() < 0.1)
        ((50, 4), True)
    """

    num_codes: int
    contexts: dict[str, tuple[Neighbor, ...]]
    strengths: dict[str, list[float]]

    def __init__(self, num_codes: int, contexts: dict[str, tuple[Neighbor, ...]] | None = None) -> None:
        self.num_codes = num_codes
        self.contexts = contexts or {"top": (), "bottom": ()}
        self.strengths = {}
        self._counts: dict[str, list[_Counts]] = {}

    def fit(self, corpus: Sequence[Codes]) -> None:
        """Count the codes of a corpus.

        Args:
            corpus: the codes of clips, ``(1, frames, cells)``.
        """
        for level, neighbors in self.contexts.items():
            clips = [self._tokens(level, codes) for codes in corpus]
            kept = _joined(clip for i, clip in enumerate(clips) if i % HELD_OUT or len(clips) < HELD_OUT)
            tried = _joined(clips[::HELD_OUT])
            shorter: NDArray[np.float64] = np.full(len(tried[1]), 1 / self.num_codes)
            self.strengths[level], self._counts[level] = [], []
            whole = _joined(clips)
            for order in range(0, len(neighbors) + 1) if neighbors else ():
                counts = _Counts.of(kept[0][order], kept[1], self.num_codes)
                ways = [counts.smoothed(tried[0][order], tried[1], self.num_codes, shorter, s) for s in STRENGTHS]
                best = int(np.argmax([np.log(way).sum() for way in ways]))
                shorter = ways[best]
                self.strengths[level].append(STRENGTHS[best])
                self._counts[level].append(_Counts.of(whole[0][order], whole[1], self.num_codes))

    def bits(self, codes: Codes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Price the codes of a clip.

        Args:
            codes: top ``(1, frames, top_cells)`` and bottom ``(1, frames, bottom_cells)``.

        Returns:
            The bits of each top code ``(frames, top_cells)`` and of each bottom code ``(frames, bottom_cells)``.
        """
        found = []
        for level in ("top", "bottom"):
            contexts, code = self._tokens(level, codes)
            p: NDArray[np.float64] = np.full(len(code), 1 / self.num_codes)
            strengths = self.strengths.get(level, [])
            for context, counts, strength in zip(contexts, self._counts.get(level, []), strengths, strict=False):
                p = counts.smoothed(context, code, self.num_codes, p, strength)
            found.append((-np.log(p) / math.log(2)).reshape(getattr(codes, level).shape[1:]))
        return found[0], found[1]

    def _tokens(self, level: str, codes: Codes) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
        """The key of each context of each code, the shortest context first, and the codes, in one row."""
        own = getattr(codes, level)[0].numpy()
        neighbors = {
            "previous": np.pad(own[:-1], ((1, 0), (0, 0)), constant_values=self.num_codes),
            "below": np.pad(own[:, :-1], ((0, 0), (1, 0)), constant_values=self.num_codes),
            "cell": np.broadcast_to(np.arange(own.shape[1]), own.shape),
            "above": np.repeat(codes.top[0].numpy(), own.shape[1] // codes.top.shape[2], axis=1),
        }
        keys = [np.zeros(own.size, dtype=np.int64)]
        for name in self.contexts[level]:
            keys.append(keys[-1] * (self.num_codes + 1) + neighbors[name].reshape(-1))
        return keys, own.reshape(-1).astype(np.int64)


def _joined(
    clips: Iterable[tuple[list[NDArray[np.int64]], NDArray[np.int64]]],
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    contexts, codes = zip(*clips, strict=True)
    return [np.concatenate(orders) for orders in zip(*contexts, strict=True)], np.concatenate(codes)
