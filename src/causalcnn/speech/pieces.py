"""Which piece of which clip a row of a training step is: the same draw for frames, samples and codes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from causalcnn._checks import at_least

__all__ = ["draw_pieces", "longest_first"]


def draw_pieces(
    lengths: NDArray[np.int64], step: int, *, rows: int, length: int, seed: int, rank: int, world_size: int
) -> tuple[list[int], list[int]]:
    """Draw the pieces of a training step: a pure function of its arguments.

    Args:
        lengths: the length of every clip, in the unit of ``length``.
        step: number of the step, from 0.
        rows: number of pieces of this process, at least 1.
        length: length of a piece, at least 1. A clip that is shorter is taken from its beginning.
        seed: another seed gives other draws; at least 0.
        rank: number of this process, from 0.
        world_size: number of processes, at least 1; together they draw what one would with so many times the rows.

    Returns:
        The clip of each piece, drawn in proportion to its length, and where in it the piece begins.

    Raises:
        ValueError: a number that is too small or not whole; a rank that is not below ``world_size``.
    """
    for name, value in {"rows": rows, "length": length, "world_size": world_size}.items():
        at_least(name, value)
    for name, value in {"step": step, "seed": seed, "rank": rank}.items():
        at_least(name, value, 0)
    if rank >= world_size:
        raise ValueError(f"rank is {rank}; of {world_size} processes the ranks are 0 to {world_size - 1}")
    draw = np.random.default_rng([seed, step])
    ends = np.cumsum(lengths)
    which = np.searchsorted(ends, draw.integers(0, ends[-1], rows * world_size), side="right")
    start = draw.integers(0, np.maximum(lengths[which] - length, 0) + 1)
    mine = slice(rank * rows, (rank + 1) * rows)
    return which[mine].tolist(), start[mine].tolist()


def longest_first(lengths: NDArray[np.int64], rows: int) -> Iterator[list[int]]:
    """Go through all clips once, so many at a time: little is padded, and what does not fit into memory fails at once.

    Args:
        lengths: the length of every clip.
        rows: number of clips at a time, at least 1.

    Yields:
        The numbers of the clips; the last list may have fewer.

    Raises:
        ValueError: ``rows`` is not an integer of at least 1.
    """
    at_least("rows", rows)
    order = np.argsort(-lengths, kind="stable").tolist()
    for first in range(0, len(order), rows):
        yield order[first : first + rows]
