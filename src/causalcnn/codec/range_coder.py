"""A range coder: numbers with known frequencies become about as many bits as they carry information.

A sender writes whole blocks, by constriction. A receiver decodes while the bytes arrive, which constriction's decoder
cannot do, so :class:`RangeDecoder` is ours: the same coder, a few lines of whole numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from causalcnn._extras import require
from causalcnn.codec.frequencies import PRECISION, TOTAL

__all__ = ["WORD_BYTES", "CorruptWords", "RangeDecoder", "range_encode"]

WORD_BYTES = 4
_WORD_BITS = 8 * WORD_BYTES
_STATE_BITS = 2 * _WORD_BITS


class CorruptWords(ValueError):
    """No sender writes such words."""


def range_encode(symbols: NDArray[np.integer], frequencies: NDArray[np.int64]) -> bytes:
    """Encode symbols.

    Args:
        symbols: from 0 to ``num_symbols − 1``, ``(n,)``.
        frequencies: of every possible symbol at each place, each at least 1; they sum to 2²⁴, ``(n, num_symbols)``.

    Returns:
        Words of 4 bytes, the highest byte first. They end when zeros may follow.

    Raises:
        ImportError: the extra ``codec`` is not installed.
    """
    stream = require("constriction", extra="codec").stream
    encoder = stream.queue.RangeEncoder()
    if len(symbols):
        # constriction adds 1 to each probability, scaled so that they then sum to 2^24: these need no scaling.
        family = stream.model.Categorical(perfect=False)
        encoder.encode(symbols.astype(np.int32), family, (frequencies - 1).astype(np.float64))
    return encoder.get_compressed().astype(">u4").tobytes()


class RangeDecoder:
    """Decode symbols from words, as soon as the words that a symbol needs are there.

    The decoder keeps a range of whole numbers below 2⁶⁴, which each symbol narrows to its share, and how far into it
    the words point. When the range has less than 32 bits, both move up by a word. So a symbol needs at most the two
    words that lie beyond the information of those before it, 8 bytes.

    Source:
        G. N. N. Martin, Range encoding: an algorithm for removing redundancy from a digitised message, 1979; written
        as constriction does, https://bamler-lab.github.io/constriction.
    """

    def __init__(self) -> None:
        self._words: deque[int] = deque()
        self._range = (1 << _STATE_BITS) - 1
        self._offset = 0  # of the number that the words spell, from the range's lower end
        self._missing = 2  # words to read before the next symbol
        self._ended = False

    def feed(self, words: Iterable[int], *, ended: bool = False) -> None:
        """Take the next words.

        Args:
            words: 32 bits each.
            ended: whether these are the last: zeros follow.
        """
        self._words.extend(words)
        self._ended = self._ended or ended

    @property
    def ready(self) -> bool:
        """Whether the next symbol can be decoded."""
        return self._ended or len(self._words) >= self._missing

    def decode(self, cumulative: NDArray[np.int64]) -> int:
        """Decode one symbol.

        Args:
            cumulative: the sums of the frequencies up to each symbol and with it, ``(num_symbols,)``.

        Returns:
            The symbol.

        Raises:
            CorruptWords: the words were not written with such frequencies.
        """
        for _ in range(self._missing):
            self._offset = (self._offset << _WORD_BITS) | (self._words.popleft() if self._words else 0)
        self._missing = 0
        step = self._range >> PRECISION
        quantile = self._offset // step
        if quantile >= TOTAL:
            raise CorruptWords("these words were not written with such frequencies")
        symbol = int(cumulative.searchsorted(quantile, side="right"))
        upper, lower = int(cumulative[symbol]), int(cumulative[symbol - 1]) if symbol else 0
        self._offset -= step * lower
        self._range = step * (upper - lower)
        if self._range < 1 << _WORD_BITS:
            self._range <<= _WORD_BITS
            self._missing = 1
        return symbol
