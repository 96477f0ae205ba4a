"""A gated recurrent unit that can be measured: with a twin that has the same wiring and no gates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Recurrent"]


class Recurrent(nn.GRU):
    """A GRU over axis 1 of ``(rows, steps, features)``, or over axis 0 of ``(steps, rows, features)``.

    Args:
        inputs, hidden: features that are read, and kept. both: run both ways. steps_first: the axes, as above.
    """

    def __init__(self, inputs: int, hidden: int, *, both: bool = False, steps_first: bool = False) -> None:
        super().__init__(inputs, hidden, batch_first=not steps_first, bidirectional=both)

    def linear_twin(self) -> nn.Module:
        """The same wiring without gates, for those who measure a field: a gate that is shut hides what it keeps."""
        twin = _Linear(self.input_size, self.hidden_size, both=self.bidirectional, axis=1 if self.batch_first else 0)
        return twin.to(next(self.parameters()))


class _Linear(nn.Module):
    """``h' = w x + u h``, called as :class:`Recurrent` is."""

    def __init__(self, inputs: int, hidden: int, *, both: bool, axis: int) -> None:
        super().__init__()
        ways, self.axis = 2 if both else 1, axis
        self.w = nn.ModuleList(nn.Linear(inputs, hidden) for _ in range(ways))
        self.u = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(ways))

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outs, state = [], x
        for way, (w, u) in enumerate(zip(self.w, self.u, strict=True)):
            state = torch.zeros_like(w(x.select(self.axis, 0))) if h is None else h[way]
            written = []
            for step in (x.flip(self.axis) if way else x).unbind(self.axis):
                state = w(step) + u(state)
                written.append(state)
            out = torch.stack(written, self.axis)
            outs.append(out.flip(self.axis) if way else out)
        return torch.cat(outs, 2), state[None]
