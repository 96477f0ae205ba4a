"""A gated recurrent unit, by the words that the models use."""

from __future__ import annotations

from torch import nn

__all__ = ["Recurrent"]


class Recurrent(nn.GRU):
    """A GRU over axis 1 of ``(rows, steps, features)``, or over axis 0 of ``(steps, rows, features)``.

    Args:
        inputs, hidden: features that are read, and kept. both: run both ways. steps_first: the axes, as above.
    """

    def __init__(self, inputs: int, hidden: int, *, both: bool = False, steps_first: bool = False) -> None:
        super().__init__(inputs, hidden, batch_first=not steps_first, bidirectional=both)
