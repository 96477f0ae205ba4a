"""Spectrograms in whole numbers: every value in dB becomes the index of a bin in a fixed range."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from causalcnn.speech.front_end import FLOOR_DB

__all__ = ["UniformBins"]

SPAN_DB = 90.0
"""The width of a corpus's range, down from its loudest values: what a recording of 16 bits can hold, and more than a
listener hears in a room. Digital silence lies below it, and so in the lowest bin."""

LOUDEST_SHARE = 0.9999
"""The share of a corpus's values that lie below the upper end of its range: a rare click is not what sets it."""

MOST_BITS = 16
"""With so many bits, bins are far finer than the precision of float32 features."""


@dataclass(frozen=True)
class UniformBins:
    """``2**bits`` equal bins over a range in dB that is known before a recording begins.

    Bin ``n`` holds the values from ``low_db + n·step_db`` up to the beginning of the next bin, and is decoded as its
    centre: a value in the range comes back within half a step. A value outside the range goes to the nearest bin, the
    first or the last; so do infinities (−∞ dB is no power at all). :meth:`fitted` finds the range of a training corpus.

    Fewer bits give the same indices, shifted: ``bins.coarser(b).encode(x) == bins.encode(x) >> (bins.bits - b)``.

    Attributes:
        low_db: the lower end of the range, in dB.
        high_db: the upper end of the range, in dB.
        bits: the logarithm to base 2 of the number of bins, 1 to 16.

    Raises:
        ValueError: a range that is empty or not finite; bits that are not a whole number from 1 to 16.

    Example:
        >>> import torch
        >>> from causalcnn.speech import UniformBins
        >>> bins = UniformBins(-70.0, 20.0, bits=8)
        >>> indices = bins.encode(torch.tensor([-100.0, -30.0, 19.9, 25.0]))
        >>> indices.tolist(), round(bins.step_db, 3)
        ([0, 113, 255, 255], 0.352)
        >>> [round(value, 2) for value in bins.decode(indices).tolist()]
        [-69.82, -30.1, 19.82, 19.82]
    """

    low_db: float
    high_db: float
    bits: int = 8

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if not (math.isfinite(self.low_db) and math.isfinite(self.high_db) and self.low_db < self.high_db):
            raise ValueError(
                f"the range is {self.low_db} to {self.high_db} dB; it must be finite and end above its beginning. "
                "A constant recording has no range of its own: give it the range of a corpus"
            )

    @classmethod
    def fitted(cls, corpus: Iterable[Tensor], bits: int = 8, *, span_db: float = SPAN_DB) -> UniformBins:
        """Find the range of a training corpus: 99.99 % of its values lie below the upper end.

        The upper end is rounded up to 0.1 dB; the lower end is never below digital silence, −100 dB. The order of the
        clips does not matter. They are read one at a time, so the corpus may be larger than memory.

        Args:
            corpus: a :class:`~causalcnn.speech.FeatureCorpus`, or any features in dB, each of any shape.
            bits: the logarithm to base 2 of the number of bins, 1 to 16.
            span_db: the width of the range, in dB.

        Returns:
            Bins from ``span_db`` below the upper end to the upper end.

        Raises:
            ValueError: a corpus without values; values that are not finite or not floating point; nothing but digital
                silence; a span that is not finite and positive; bits that are not a whole number from 1 to 16.
        """
        if not (math.isfinite(span_db) and span_db > 0):
            raise ValueError(f"span_db is {span_db}; a range needs more than 0 dB")
        per_db = 10  # a count for every tenth of a dB, so that one number holds for a corpus of any size
        counts: dict[int, int] = {}
        for clip, features in enumerate(corpus):
            check_features(features)
            if not torch.isfinite(features).all():
                raise ValueError(f"clip {clip} has values that are not finite; a range cannot be learned from them")
            tenths = torch.ceil(features.double() * per_db).long().flatten()
            for tenth, count in zip(*(found.tolist() for found in tenths.unique(return_counts=True)), strict=True):
                counts[tenth] = counts.get(tenth, 0) + count
        wanted, seen, high = LOUDEST_SHARE * sum(counts.values()), 0, FLOOR_DB
        for tenth in sorted(counts):
            seen, high = seen + counts[tenth], tenth / per_db
            if seen >= wanted:
                break
        if not high > FLOOR_DB:
            what = "has no values" if not counts else f"is nothing but digital silence, {FLOOR_DB:g} dB"
            raise ValueError(f"the corpus {what}; a range is learned from speech")
        return cls(max(FLOOR_DB, high - span_db), high, bits)

    @property
    def num_bins(self) -> int:
        """The number of bins, ``2**bits``."""
        return 2**self.bits

    @property
    def step_db(self) -> float:
        """The width of a bin, in dB."""
        return (self.high_db - self.low_db) / self.num_bins

    def coarser(self, bits: int) -> UniformBins:
        """Divide the same range into fewer bins, each made of ``2**(self.bits - bits)`` of these.

        Args:
            bits: the logarithm to base 2 of the new number of bins, 1 to ``self.bits``.

        Returns:
            The coarser bins.

        Raises:
            ValueError: more bits than these bins have; bits that are not a whole number of at least 1.
        """
        check_bits(bits)
        if bits > self.bits:
            raise ValueError(f"bits is {bits}; these bins have {self.bits}, and coarser ones have at most as many")
        return replace(self, bits=bits)

    def encode(self, features: Tensor) -> Tensor:
        """Turn values in dB into the indices of their bins.

        Args:
            features: values in dB, floating point, of any shape. They are computed in float32 at least.

        Returns:
            Indices from 0 to ``num_bins - 1``, int64 in the shape of ``features``.

        Raises:
            ValueError: NaN, which is in no bin; features that are not floating point.
        """
        check_features(features)
        if torch.isnan(features).any():
            raise ValueError(
                f"{int(torch.isnan(features).sum())} of {features.numel()} values are NaN, which is in no bin; mend "
                "the recording, or say what they count as: bins.encode(features.nan_to_num(bins.low_db))"
            )
        x = features if features.dtype == torch.float64 else features.float()
        # The share of the range first, then a power of two: exact, so that a coarser bin is a finer one, shifted.
        share = ((x - self.low_db) / (self.high_db - self.low_db)).clamp(0, 1)
        return (share * self.num_bins).long().clamp(max=self.num_bins - 1)

    def decode(self, indices: Tensor) -> Tensor:
        """Turn the indices of bins into the centres of the bins.

        Args:
            indices: whole numbers from 0 to ``num_bins - 1``, of any shape.

        Returns:
            Values in dB, float32 in the shape of ``indices``.

        Raises:
            ValueError: indices that are not whole numbers, below 0 or beyond the last bin.
        """
        check_indices(indices, self.num_bins)
        return (indices.float() + 0.5) * self.step_db + self.low_db


def check_bits(bits: int) -> None:
    """Raise a ValueError unless ``bits`` is a whole number from 1 to 16."""
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= MOST_BITS:
        raise ValueError(f"bits is {bits!r}; it must be a whole number from 1 to {MOST_BITS}")


def check_features(features: Tensor) -> None:
    """Raise a ValueError unless ``features`` is a floating point tensor."""
    if not isinstance(features, Tensor) or not features.is_floating_point():
        kind = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"the features are {kind}; they must be a floating point tensor in dB")


def check_indices(indices: Tensor, bins: int) -> None:
    """Raise a ValueError unless ``indices`` are whole numbers from 0 to ``bins - 1``."""
    if not isinstance(indices, Tensor) or indices.is_floating_point() or indices.dtype in (torch.bool, torch.complex64):
        kind = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
        raise ValueError(f"the indices are {kind}; they must be whole numbers, as encode() gives them")
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < bins:
        raise ValueError(
            f"the indices are from {int(indices.min())} to {int(indices.max())}; "
            f"with {bins} bins they are 0 to {bins - 1}"
        )
