"""Pooling and normalisation that are safe over time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, Convention, State, Stateless, Stream
from causalcnn.nn.exporting import is_exporting, over_windows
from causalcnn.nn.streams import PoolStream

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
    @override
    def field(self) -> Field:
        return Field.conv(self.kernel_size, stride=self.stride, padding=self.left_padding)

    @override
    def initial_state(self, x: Tensor) -> Tensor:
        self._check(x)
        return x.new_zeros(*x.shape[:2], self.left_padding + self._window - self.kernel_size)

    @override
    def _begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.initial_state(x), self._nothing(x)

    @override
    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        return self._outputs(F.pad(x, (self.left_padding + self._window - self.kernel_size, 0)))

    @override
    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        self._check(x)
        self._check_state(state, x)
        frames = torch.cat([state, x], dim=2)
        return self._outputs(frames), frames[:, :, self._count(frames) * self.stride :].clone()

    def _count(self, frames: Tensor) -> int:
        """How many windows lie within ``frames``, history included."""
        return (frames.shape[2] - (self._window - self.stride)) // self.stride

    def _outputs(self, frames: Tensor) -> Tensor:
        first = self._window - self.kernel_size
        if is_exporting():
            return over_windows(frames, self._window, self.stride, lambda some: self._pool(some[:, :, first:]))
        count = self._count(frames)
        return self._pool(frames[:, :, first:])[:, :, :count] if count else self._nothing(frames)

    @override
    def _torch_stream(self, state: State | None) -> Stream:
        return PoolStream(self, state) if self.stride <= self.kernel_size else Stream(self, state)

    def _check_state(self, state: Tensor, x: Tensor) -> None:
        low, high = self._window - self.stride, self._window - 1
        if is_exporting() and low < high:
            return  # how many frames wait is a symbol
        if state.shape[:2] != x.shape[:2] or not low <= state.shape[2] <= high:
            wanted = (*x.shape[:2], f"{low}…{high}" if low < high else high)
            raise ValueError(
                f"state has shape {tuple(state.shape)}; for this input it must be ({', '.join(map(str, wanted))})"
            )

    @staticmethod
    def _nothing(x: Tensor) -> Tensor:
        return x[:, :, :0]

    @staticmethod
    def _check(x: Tensor) -> None:
        if x.dim() != 3:
            raise ValueError(f"input has shape {tuple(x.shape)}; this layer takes (batch, channels, time)")

    def _pool(self, frames: Tensor) -> Tensor:
        raise NotImplementedError

    def _pool_window(self, window: Tensor) -> Tensor:
        """The output for one window, ``(batch, kernel_size, channels)``, for the stream."""
        raise NotImplementedError


class CausalMaxPool1d(_CausalPool):
    """The largest value of a window that never reads the future, for each channel separately.

    Output frame ``u`` reads ``kernel_size`` frames, the last of them as in :class:`CausalConv1d`. Frames before the
    first one count as zeros, not as −∞ as in :class:`torch.nn.MaxPool1d`.

    Args:
        kernel_size: frames in the window, ≥ 1.
        stride: input frames per output frame, ≥ 1; default ``kernel_size``.
        convention: ``"strict"`` or ``"block"``; see :class:`Convention`.

    Shape:
        ``(batch, channels, time)`` → ``(batch, channels, ceil(time / stride))``; with the convention ``"block"``,
        ``floor`` instead of ``ceil``.

    Raises:
        ValueError: a size is below 1, or the convention is unknown.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalMaxPool1d
        >>> CausalMaxPool1d(2, convention="block")(torch.tensor([[[1.0, 5.0, 2.0, 3.0]]]))
        tensor([[[5., 3.]]])
    """

    def _pool(self, frames: Tensor) -> Tensor:
        if is_exporting():  # torch traces max_pool1d for the example's length only
            return F.max_pool2d(frames.unsqueeze(2), (1, self.kernel_size), (1, self.stride)).squeeze(2)
        return F.max_pool1d(frames, self.kernel_size, self.stride)

    def _pool_window(self, window: Tensor) -> Tensor:
        return window.amax(1)


class CausalAvgPool1d(_CausalPool):
    """The mean of a window that never reads the future, for each channel separately.

    Output frame ``u`` reads ``kernel_size`` frames, the last of them as in :class:`CausalConv1d`. Frames before the
    first one count as zeros.

    Args:
        kernel_size: frames in the window, ≥ 1.
        stride: input frames per output frame, ≥ 1; default ``kernel_size``.
        convention: ``"strict"`` or ``"block"``; see :class:`Convention`.

    Shape:
        ``(batch, channels, time)`` → ``(batch, channels, ceil(time / stride))``; with the convention ``"block"``,
        ``floor`` instead of ``ceil``.

    Raises:
        ValueError: a size is below 1, or the convention is unknown.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalAvgPool1d
        >>> CausalAvgPool1d(2, stride=1)(torch.tensor([[[1.0, 5.0, 2.0, 3.0]]]))
        tensor([[[0.5000, 3.0000, 3.5000, 2.5000]]])
    """

    def _pool(self, frames: Tensor) -> Tensor:
        return F.avg_pool1d(frames, self.kernel_size, self.stride)

    def _pool_window(self, window: Tensor) -> Tensor:
        return window.mean(1)


class FrameNorm(Stateless):
    """Layer normalization over the channels of each frame, so that frames never mix.

    Each frame (with an axis of frequency, each cell) gets mean 0 and variance 1 over its channels; then each channel
    is multiplied by a learned weight, and a learned bias is added.

    Args:
        channels: channels of the input, ≥ 1.
        eps: added to the variance, so that a constant frame is not divided by 0.

    Attributes:
        takes_frames: True; see :class:`Stateless`.

    Shape:
        ``(batch, channels, time[, frequency])``, unchanged.

    Raises:
        ValueError: ``channels`` is below 1. From ``forward`` and ``step``: the input has other channels.

    Source:
        Ba, Kiros and Hinton, Layer Normalization, arXiv 1607.06450, with time left out of the statistics.

    Example:
        >>> import torch
        >>> from causalcnn.nn import FrameNorm
        >>> FrameNorm(2)(torch.tensor([[[3.0, 0.0], [1.0, 4.0]]])).detach().round()
        tensor([[[ 1., -1.],
                 [-1.,  1.]]])
    """

    takes_frames = True

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        channels = at_least("channels", channels)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    @override
    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < 2 or x.shape[1] != len(self.weight):  # a single channel would be spread over all
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this layer takes {len(self.weight)} channels on axis 1"
            )
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).square().mean(1, keepdim=True)
        shape = (-1, *(1,) * (x.dim() - 2))
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight.view(shape) + self.bias.view(shape)
