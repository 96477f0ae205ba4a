"""From an :class:`~causalcnn.models.IntegerCodePrior` to the frequencies that a range coder takes, in integers only.

Products of matrices are computed in float64, which libraries do fastest. Whole numbers whose sums stay below 2⁵³ are
exact there in any order, with or without fused additions; that they do is checked when a prior is loaded.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalcnn.models import IntegerCodePrior, IntegerCodePriorConfig
from causalcnn.models.integer_code_prior import (
    CONTEXT_FRAMES,
    HIDDEN_SHIFT,
    HIGHEST,
    LOGIT_SHIFT,
    LOGITS_PER_BIT,
    TABLE_SHIFT,
)

__all__ = ["TOTAL", "Frequencies", "Product"]

PRECISION = 24
TOTAL = 1 << PRECISION
"""The frequencies of all codes sum to this."""
LARGEST_POWER = 1 << 20
"""What stands for 1 in the table of powers of two."""
EXACT_BELOW = 2**53
"""Whole numbers below are exact in float64, and so is their sum if it is below, too."""

Integers = NDArray[np.int64]
Product = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""The product of two matrices. Whatever computes it, the result must be the same, and a test takes several."""


def negative_powers() -> Integers:
    """Compute 2^(20 − n/32) for n = 0, 1, … until it is less than one half, rounded, with integers only.

    Returns:
        The powers, from 2^20 down to 0, ``(n,)``.
    """
    bits = 128
    step = 1 << (bits - 1)  # 1/2 with so many binary places; five square roots make it 2^(−1/32)
    for _ in range(LOGITS_PER_BIT.bit_length() - 1):
        step = math.isqrt(step << bits)
    powers: list[int] = []
    power = LARGEST_POWER << bits
    while not powers or powers[-1]:
        powers.append((power + (1 << (bits - 1))) >> bits)
        power = (power * step) >> bits
    return np.array(powers, dtype=np.int64)


@dataclass(frozen=True)
class _Layer:
    """The integers of one level, in float64, which holds them exactly."""

    context: Integers
    table: NDArray[np.float64]
    bias_table: NDArray[np.float64]
    hidden: NDArray[np.float64]
    bias_hidden: NDArray[np.float64]
    out: NDArray[np.float64]
    bias_out: NDArray[np.float64]


class Frequencies:
    """How often each code is expected, of 2²⁴ times: equal on every machine, for any batch, in any order of sums.

    Args:
        prior: the trained prior. Its integers are copied.
        product: computes the products of matrices; numpy by default.

    Attributes:
        config: the prior's.
        fingerprint: 8 bytes that tell this prior from others.

    Raises:
        ValueError: the prior is the twin in floating point, or its sums could reach 2⁵³, where float64 is not exact.

    Example:
        >>> import numpy as np
        >>> from causalcnn.codec import Frequencies
        >>> from causalcnn.models import IntegerCodePrior, IntegerCodePriorConfig
        >>> prior = IntegerCodePrior(IntegerCodePriorConfig(top_cells=2, bottom_cells=4, num_codes=8, channels=16))
        >>> found = Frequencies(prior).of_block(np.zeros((5, 6), dtype=np.int64))
        >>> found.shape, found.dtype, set(found.sum(2).ravel().tolist()) == {2**24}
        ((5, 6, 8), dtype('int64'), True)
    """

    config: IntegerCodePriorConfig
    fingerprint: bytes

    def __init__(self, prior: IntegerCodePrior, product: Product = np.matmul) -> None:
        self.config = prior.config
        self._product = product
        self._powers = negative_powers()
        whole, digest = prior.rounded(), hashlib.sha256(repr(prior.config).encode())
        self._layers = []
        for level in whole.levels:
            arrays: dict[str, Any] = {name: value.numpy() for name, value in level.named_parameters()}
            for name, array in sorted(arrays.items()):
                digest.update(f"{name} {array.shape}".encode() + array.astype("<i2").tobytes())
            exact = {name: array.astype(np.float64) for name, array in arrays.items()}
            self._layers.append(_Layer(context=level.context.numpy(), **exact))  # type: ignore[operator]
        self.fingerprint = digest.digest()[:8]
        self._check_bounds()

    def _check_bounds(self) -> None:
        """No sum of a product, of whatever activations, can leave the range in which float64 is exact."""
        for layer in self._layers:
            for name, weights in (("hidden", layer.hidden), ("out", layer.out)):
                bound = HIGHEST * int(np.abs(weights).sum(1).max())
                if bound >= EXACT_BELOW:
                    raise ValueError(f"sums of {name!r} could reach {bound}; above 2^53 float64 is not exact")

    def of_block(self, codes: NDArray[np.integer]) -> Integers:
        """Compute the frequencies of every code of a block, all at once: what a sender does.

        Args:
            codes: the codes of its frames, ``(frames, cells)``.

        Returns:
            The frequencies, each at least 1, int64, ``(frames, cells, num_codes)``.
        """
        c = self.config
        before = np.full((CONTEXT_FRAMES + len(codes), c.cells), c.num_codes)
        before[CONTEXT_FRAMES:] = codes
        nothing = np.full((len(codes), 1), c.num_codes)
        around = [before[CONTEXT_FRAMES - back :][: len(codes)] for back in range(CONTEXT_FRAMES + 1)]
        row = np.concatenate([*around, nothing], axis=1)
        levels = []
        for layer in self._layers:
            cells = np.arange(len(layer.context))
            contexts = row[:, layer.context].reshape(-1, layer.context.shape[1])
            found = self._of(layer, contexts, np.tile(cells, len(codes)))
            levels.append(found.reshape(len(codes), len(cells), c.num_codes))
        return np.concatenate(levels, axis=1)

    def of_cell(self, row: NDArray[np.integer], cell: int) -> Integers:
        """Compute the frequencies of one cell of several blocks, when the cells before it are known: what a receiver
        does.

        Args:
            row: for each block the codes of the present frame, the two before it, and ``num_codes`` as no code,
                ``(blocks, 3 · cells + 1)``. What comes after the cell is not read.
            cell: its number in the frame, top before bottom.

        Returns:
            The frequencies, int64, ``(blocks, num_codes)``.
        """
        level = int(cell >= self.config.top_cells)
        layer, number = self._layers[level], cell - level * self.config.top_cells
        return self._of(layer, row[:, layer.context[number]], np.full(len(row), number))

    def _of(self, layer: _Layer, contexts: NDArray[np.integer], cells: Integers) -> Integers:
        """The frequencies of codes with these contexts, ``(n, places)``, and cells of the level, ``(n,)``."""
        x = layer.table[np.arange(contexts.shape[1]), contexts].sum(axis=1)
        x = np.clip(_shift(x, TABLE_SHIFT) + layer.bias_table[cells], 0, HIGHEST)
        x = _shift(self._product(x, layer.hidden.T), HIDDEN_SHIFT) + layer.bias_hidden
        x = np.clip(x, 0, HIGHEST)
        logits = _shift(self._product(x, layer.out.T), LOGIT_SHIFT) + layer.bias_out[cells]
        below = (logits.max(axis=1, keepdims=True) - logits).astype(np.int64)
        powers = self._powers.take(below, mode="clip")  # what lies beyond the table is 0, as its end
        codes = powers.shape[1]
        frequencies = powers * (TOTAL - codes) // powers.sum(axis=1, keepdims=True) + 1  # none is impossible
        likeliest = below.argmin(axis=1)
        frequencies[np.arange(len(below)), likeliest] += TOTAL - frequencies.sum(axis=1)
        return frequencies


def _shift(x: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Whole numbers divided by a power of two and rounded down, as ``>>`` does: exact in float64."""
    return np.floor(x * 2.0**-bits)
