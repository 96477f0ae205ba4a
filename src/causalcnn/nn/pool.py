"""Pooling and normalisation that are safe over time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, Convention, Stateless

__all__ = ["CausalAvgPool1d", "CausalMaxPool1d", "FrameNorm"]


class _CausalPool(CausalModule):
    """What the two poolings share: the window in time, placed as that of a convolution."""

    def __init__(self, kernel_size: int, stride: int | None = None, *, convention: str | Convention = "strict") -> None:
        super().__init__()
        self.kernel_size = at_least("kernel_size", kernel_size)
        self.stride = at_least("stride", kernel_size if stride is None else stride)
        self.left_padding = self.kernel_size - 1 - Convention.of(convention).lookahead(self.stride)
        self._window = max(self.kernel_size, self.stride)

    @property
    def field(self) -> Field:
        """The window: every frame of it, whichever of them a maximum takes."""
        return Field.conv(self.kernel_size, stride=self.stride, padding=self.left_padding)

    def initial_state(self, x: Tensor) -> Tensor:
        """Zeros ``(batch, channels, history)``."""
        self._check(x)
        return x.new_zeros(*x.shape[:2], self.left_padding + self._window - self.kernel_size)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Continue from ``state``; history is zeros, as for a convolution."""
        self._check(x)
        frames = torch.cat([state, x], dim=2)
        count = max(0, (frames.shape[2] - self._window) // self.stride + 1)
        first = self._window - self.kernel_size
        y = self._pool(frames[:, :, first:])[:, :, :count] if count else frames[:, :, :0]
        return y, frames[:, :, count * self.stride :].clone()

    @staticmethod
    def _check(x: Tensor) -> None:
        if x.dim() != 3:
            raise ValueError(f"input has shape {tuple(x.shape)}; this layer takes (batch, channels, time)")

    def _pool(self, frames: Tensor) -> Tensor:
        raise NotImplementedError


class CausalMaxPool1d(_CausalPool):
    """The largest of the last ``kernel_size`` frames, per channel. History counts as zeros.

    Args:
        kernel_size: frames in the window.
        stride: input frames per output; default: ``kernel_size``.
        convention: ``"strict"`` or ``"block"``; see :class:`Convention`.

    Shape: ``(batch, channels, time)`` → ``(batch, channels, ceil(time / stride))``, ``floor`` for ``"block"``
    """

    def _pool(self, frames: Tensor) -> Tensor:
        return F.max_pool1d(frames, self.kernel_size, self.stride)


class CausalAvgPool1d(_CausalPool):
    """The mean of the last ``kernel_size`` frames, per channel. History counts as zeros.

    Args and shape as for :class:`CausalMaxPool1d`.
    """

    def _pool(self, frames: Tensor) -> Tensor:
        return F.avg_pool1d(frames, self.kernel_size, self.stride)


class FrameNorm(Stateless):
    """Layer normalisation over the channels of one frame (of one cell): it never mixes frames.

    Args:
        channels: features of a frame.
        eps: added to the variance.

    Shape: ``(batch, channels, time[, frequency])``, unchanged.

    Source: Ba, Kiros and Hinton, arXiv 1607.06450, with time left out of the statistics.
    """

    takes_frames = True

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels is {channels}; it must be at least 1")
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The frames with mean 0 and variance 1 over their channels, then weighted and shifted."""
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).square().mean(1, keepdim=True)
        shape = (-1, *(1,) * (x.dim() - 2))
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight.view(shape) + self.bias.view(shape)
