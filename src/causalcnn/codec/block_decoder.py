"""The codes of blocks, cell by cell: for several blocks side by side, or for one while its bytes arrive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causalcnn.codec.container import Block
from causalcnn.codec.frequencies import Frequencies
from causalcnn.codec.range_coder import WORD_BYTES, CorruptWords, RangeDecoder, range_encode
from causalcnn.models.integer_code_prior import CONTEXT_FRAMES

__all__ = ["BlockDecoder", "decode_blocks", "encode_block", "words_of"]

ROWS = 64
"""Blocks that are decoded side by side; more would need more memory and are no faster."""


def encode_block(number: int, codes: NDArray[np.integer], prior: Frequencies) -> tuple[Block, float]:
    """Encode a second of codes.

    Args:
        number: of the block.
        codes: of its frames, ``(frames, cells)``.
        prior: how often each code is expected.

    Returns:
        The block, and the information of its codes in bits: what a perfect coder would need.
    """
    symbols = codes.ravel()
    frequencies = prior.of_block(codes).reshape(len(symbols), -1)
    bits = -np.log2(frequencies[np.arange(len(symbols)), symbols] / frequencies[:1].sum()).sum()
    return Block(number, len(codes), range_encode(symbols, frequencies)), float(bits)


def words_of(payload: bytes | bytearray) -> list[int]:
    """The words of a payload, and of a piece of one."""
    return np.frombuffer(payload, dtype=">u4", count=len(payload) // WORD_BYTES).tolist()


class BlockDecoder:
    """Decode blocks cell by cell; what the frequencies of a cell need has been decoded before.

    Args:
        prior: that of the sender.
        coders: the words of each block.
    """

    def __init__(self, prior: Frequencies, coders: Sequence[RangeDecoder]) -> None:
        self._prior, self._coders = prior, coders
        c = prior.config
        self._row = np.full((len(coders), (CONTEXT_FRAMES + 1) * c.cells + 1), c.num_codes)
        self._cell = 0
        self.corrupt = [False] * len(coders)
        """Which blocks have words that no sender writes; their codes mean nothing."""

    def next_cell(self) -> NDArray[np.int64] | None:
        """Decode one cell of every block.

        Returns:
            The codes of a frame, ``(blocks, cells)``, where that cell was its last, else ``None``.
        """
        cells = self._prior.config.cells
        cumulative = self._prior.of_cell(self._row, self._cell).cumsum(axis=1)
        for number, coder in enumerate(self._coders):
            try:
                self._row[number, self._cell] = 0 if self.corrupt[number] else coder.decode(cumulative[number])
            except CorruptWords:
                self.corrupt[number] = True
        self._cell += 1
        if self._cell < cells:
            return None
        frame = self._row[:, :cells].copy()
        self._row[:, cells:-1] = self._row[:, : CONTEXT_FRAMES * cells].copy()
        self._cell = 0
        return frame


def decode_blocks(blocks: Sequence[Block], prior: Frequencies) -> list[NDArray[np.int16] | None]:
    """Decode whole blocks side by side.

    Args:
        blocks: in any order.
        prior: that of the sender.

    Returns:
        The codes of each, int16, ``(frames, cells)``; ``None`` where the words are none that a sender writes.
    """
    found: list[NDArray[np.int16] | None] = [None] * len(blocks)
    for first in range(0, len(blocks), ROWS):
        some = blocks[first : first + ROWS]
        coders = [RangeDecoder() for _ in some]
        for coder, block in zip(coders, some, strict=True):
            coder.feed(words_of(block.payload), ended=True)
        decoder, frames = BlockDecoder(prior, coders), []
        for length in range(1, max(block.frames for block in some) + 1):
            frame = None
            while frame is None:
                frame = decoder.next_cell()
            frames.append(frame.astype(np.int16))
            for row, block in enumerate(some):
                if block.frames == length and not decoder.corrupt[row]:
                    found[first + row] = np.stack([frame[row] for frame in frames])
    return found
