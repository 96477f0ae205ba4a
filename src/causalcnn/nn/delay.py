"""A delay: behind it, a network knows the past alone, and predicts what comes next."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, Stream

__all__ = ["Delay"]


class Delay(CausalModule):
    """Give every frame some frames later, with zeros before the first.

    A network behind a delay of one frame reads only what comes before the present frame, so that it can be trained to
    predict it.

    Args:
        frames: how many frames later, ≥ 1.

    Attributes:
        frames: as given, in frames.

    Shape:
        ``(batch, channels, time)``, unchanged.

    Raises:
        ValueError: ``frames`` is below 1.

    Example:
        >>> import torch
        >>> from causalcnn.nn import Delay
        >>> Delay(2)(torch.tensor([[[1.0, 2.0, 3.0]]])).tolist(), Delay(2).field.lookahead
        ([[[0.0, 0.0, 1.0]]], -2)
    """

    frames: int

    def __init__(self, frames: int = 1) -> None:
        super().__init__()
        self.frames = at_least("frames", frames)

    @property
    @override
    def field(self) -> Field:
        return Field.window([-self.frames])

    @override
    def initial_state(self, x: Tensor) -> Tensor:
        if x.dim() != 3:
            raise ValueError(f"input has shape {tuple(x.shape)}; a delay takes (batch, channels, time)")
        return x.new_zeros(*x.shape[:2], self.frames)

    @override
    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.cat([state, x], dim=2)
        return frames[:, :, : x.shape[2]], frames[:, :, x.shape[2] :].clone()

    @override
    def _torch_stream(self, state: Tensor | None) -> Stream:
        return _DelayStream(self, state)

    def extra_repr(self) -> str:
        """How many frames."""
        return f"{self.frames}"


class _DelayStream(Stream[Delay]):
    """A frame in, the oldest out."""

    takes_frames = True

    def _load(self, state: Tensor) -> None:
        self._waiting = list(state.detach().clone().unbind(2))

    def _save(self) -> Any:
        return torch.stack(self._waiting, dim=2)

    def _advance(self, x: Tensor) -> Tensor:
        y, state = self.module.step(x, self._save())
        self._load(state)
        return y

    def _frame(self, x: Tensor) -> Tensor:
        if x.shape != self._waiting[0].shape:
            raise ValueError(f"a frame has shape {tuple(x.shape)}; this stream takes {tuple(self._waiting[0].shape)}")
        self._waiting.append(x.clone())
        return self._waiting.pop(0)
