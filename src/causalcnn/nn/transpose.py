"""Transposed convolutions over time: more frames out than in, and still never the future."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.nn.base import CausalModule
from causalcnn.nn.conv import Pair, _pair

__all__ = ["CausalConvTranspose1d", "CausalConvTranspose2d"]


class _CausalTranspose(CausalModule):
    """What the two share: everything along time. ``weight`` is (in, out, kernel…), as torch has it."""

    def _build(self, channels: Pair, kernel: tuple[int, ...], stride: tuple[int, ...], bias: bool) -> None:
        named: dict[str, tuple[int, ...]] = {"in_channels": channels[:1], "out_channels": channels[1:]}
        for name, values in (named | {"kernel_size": kernel, "stride": stride}).items():
            for value in values:
                if not isinstance(value, int) or value < 1:
                    raise ValueError(f"{name} is {value!r}; it must be an integer of at least 1")
        self.in_channels, self.out_channels = channels
        self._kernel, self._stride = kernel, stride
        self._history = -(-kernel[0] // stride[0]) - 1
        self.weight = nn.Parameter(torch.empty(*channels, *kernel))
        self.bias = nn.Parameter(torch.empty(channels[1])) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within 1/√fan-in, where an output meets ``kernel / stride`` taps of each channel."""
        taps = self.weight[:, 0].numel()
        for step in self._stride:
            taps = max(1, taps // step)
        nn.init.uniform_(self.weight, -(taps**-0.5), taps**-0.5)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -(taps**-0.5), taps**-0.5)

    def initial_state(self, x: Tensor) -> Tensor:
        """Zeros ``(batch, in_channels, ⌈kernel_size/stride⌉ − 1[, frequency])``."""
        self._check(x)
        return x.new_zeros(*x.shape[:2], self._history, *x.shape[3:])

    def _time_field(self) -> Field:
        return Field.transposed(self._kernel[0], stride=self._stride[0])

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence. The same as a step from the initial state: zeros in front of it would add nothing."""
        self._check(x)
        return self._completed(x, 0)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Each input frame completes ``stride`` output frames; see :meth:`CausalModule.step`."""
        self._check(x)
        if state.shape != (*x.shape[:2], self._history, *x.shape[3:]):
            wanted = (*x.shape[:2], self._history, *x.shape[3:])
            raise ValueError(f"state has shape {tuple(state.shape)}; for this input it must be {wanted}")
        frames = torch.cat([state, x], dim=2)
        return self._completed(frames, self._history), frames[:, :, x.shape[2] :].clone()

    def _check(self, x: Tensor) -> None:
        axes = len(self._kernel) + 2
        if x.dim() != axes or x.shape[1] != self.in_channels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this layer takes {axes} axes and {self.in_channels} channels"
            )

    def _completed(self, frames: Tensor, known: int) -> Tensor:
        """The outputs that ``frames`` complete, of which the first ``known`` were there before."""
        new = (frames.shape[2] - known) * self._stride[0]
        if new == 0:
            return frames.new_zeros(frames.shape[0], self.out_channels, 0, *self._frequencies_out(frames.shape[3:]))
        first = known * self._stride[0]
        y = self._spread(frames)[:, :, first : first + new]
        if y.shape[2] < new:  # kernel < stride: the last phases have no tap, only the bias
            fill = y.new_zeros(*y.shape[:2], new - y.shape[2], *y.shape[3:])
            if self.bias is not None:
                fill = fill + self.bias.view(-1, *(1,) * (y.dim() - 2))
            y = torch.cat([y, fill], dim=2)
        return y

    def _spread(self, frames: Tensor) -> Tensor:
        raise NotImplementedError

    def _frequencies_out(self, frequency: tuple[int, ...]) -> tuple[int, ...]:
        return ()


class CausalConvTranspose1d(_CausalTranspose):
    """Transposed convolution over time, trimmed on the right, so that it never reads the future.

    Output ``t`` reads the inputs ``⌈(t−kernel_size+1)/stride⌉ … ⌊t/stride⌋``: the window depends on the phase
    ``t mod stride``. With ``kernel_size < stride`` some phases hold the bias only; unless ``kernel_size`` is a
    multiple of ``stride``, phases meet unequal numbers of taps (a checkerboard).

    Args:
        in_channels, out_channels: features of a frame. kernel_size: taps, ≥ 1. stride: output frames per input
            frame, ≥ 1. bias: whether a constant is added.
    Shape: ``(batch, in_channels, time)`` → ``(batch, out_channels, time · stride)``
    Raises: ValueError: a size below 1, an input or state of another shape.
    Source: the transpose of WaveNet's causal convolution, arXiv 1609.03499, §2.1.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self._build((in_channels, out_channels), (kernel_size,), (stride,), bias)

    @property
    def field(self) -> Field:
        """Which input frames an output frame reads, for every phase."""
        return self._time_field()

    def _spread(self, frames: Tensor) -> Tensor:
        return F.conv_transpose1d(frames, self.weight, self.bias, self._stride)


class CausalConvTranspose2d(_CausalTranspose):
    """Transposed convolution over (time, frequency): causal along time, free along frequency.

    Args:
        kernel_size, stride: an int for both axes, or ``(time, frequency)``.
        frequency_padding: cells trimmed from both ends of the frequency axis, as ``padding`` in torch.
        Others as for :class:`CausalConvTranspose1d`.
    Shape:
        ``(batch, in_channels, time, frequency)`` → ``(batch, out_channels, time · stride, frequency')`` with
        ``frequency' = (frequency − 1) · stride − 2 · frequency_padding + kernel``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        stride: int | Pair = 1,
        frequency_padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if frequency_padding < 0:
            raise ValueError(f"frequency_padding is {frequency_padding}; it must not be negative")
        self.frequency_padding = frequency_padding
        self._build((in_channels, out_channels), _pair("kernel_size", kernel_size), _pair("stride", stride), bias)

    @property
    def field(self) -> Field:
        """Which input cells an output cell reads, for every phase of time and frequency."""
        frequency = Field.transposed(
            self._kernel[1], stride=self._stride[1], trim=self.frequency_padding, axis="frequency"
        )
        return Field.product(self._time_field(), frequency)

    def _spread(self, frames: Tensor) -> Tensor:
        return F.conv_transpose2d(frames, self.weight, self.bias, self._stride, (0, self.frequency_padding))

    def _frequencies_out(self, frequency: tuple[int, ...]) -> tuple[int, ...]:
        return ((frequency[0] - 1) * self._stride[1] - 2 * self.frequency_padding + self._kernel[1],)
