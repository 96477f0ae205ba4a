"""Small pictures for the static drawings, byte for byte as ``bitmap.js`` makes them."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Sequence
from functools import cache

from causalcnn_book.palette import energy

__all__ = ["Colour", "colours", "encode_bmp"]

Colour = tuple[int, int, int]


def encode_bmp(table: Sequence[Colour], width: int, height: int, at: Callable[[int, int], int]) -> str:
    """A bitmap as an address: ``at(row, column)`` is the number of a colour, rows go from the bottom up."""
    wide, start = math.ceil(width / 4) * 4, 54 + 4 * len(table)
    head = b"BM" + struct.pack("<3I", start + wide * height, 0, start)
    head += struct.pack("<3I2H6I", 40, width, height, 1, 8, 0, wide * height, 2835, 2835, len(table), len(table))
    palette = b"".join(bytes((blue, green, red, 0)) for red, green, blue in table)
    rows = b"".join(bytes(at(row, i) if i < width else 0 for i in range(wide)) for row in range(height))
    return "data:image/bmp;base64," + base64.b64encode(head + palette + rows).decode("ascii")


@cache
def colours() -> tuple[Colour, ...]:
    """The energy map in the 33 colours that every figure carries."""
    return tuple((int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)) for c in energy(33))
