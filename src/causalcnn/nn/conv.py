"""Convolutions over time that never read the future: one law, over time alone and over time and frequency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, Convention, Stream
from causalcnn.nn.streams import ConvStream, RingStream

__all__ = ["CausalConv1d", "CausalConv2d"]

Pair = tuple[int, int]


def _refuse_padding(mode: str, reach: int) -> None:
    """Time may be padded with zeros only: any other padding is a leak, or invents a past that never was.

    Args:
        reach: frames that would have to be padded, ``(kernel_size−1)·dilation``.
    """
    if mode == "zeros":
        return
    if mode == "reflect" and reach:
        ahead = [reach - 2 * u for u in range((reach + 1) // 2)]
        shown = ", ".join(map(str, ahead[:6])) + (", …" if len(ahead) > 6 else "")
        why = f"it mirrors the future into the past: output frames 0, 1, … would read {shown} frames ahead"
    elif mode == "circular" and reach:
        why = f"it joins the end to the start: output frames 0 to {reach - 1} would read the last {reach} frames"
    else:
        why = "a stream starts from a history of zeros and could not reproduce it"
    raise ValueError(
        f"padding_mode is {mode!r}, but time is padded with zeros only: {why}. Leave padding_mode at 'zeros'."
    )


class _CausalConv(CausalModule):
    """What the two convolutions share: everything along time. ``weight`` is (out, in / groups, kernel…)."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    _convolve: Callable[..., Tensor]

    def _build(
        self,
        channels: Pair,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
        bias: bool,
        convention: str | Convention,
        padding_mode: str,
        factory: dict[str, Any],
    ) -> None:
        named: dict[str, tuple[int, ...]] = {
            "in_channels": (channels[0],),
            "out_channels": (channels[1],),
            "groups": (groups,),
        }
        named |= {"kernel_size": kernel, "stride": stride, "dilation": dilation}
        for name, values in named.items():
            for value in values:
                if not isinstance(value, int) or value < 1:
                    raise ValueError(f"{name} is {value!r}; it must be an integer of at least 1")
        if channels[0] % groups or channels[1] % groups:
            raise ValueError(
                f"groups is {groups}; it must divide in_channels {channels[0]} and out_channels {channels[1]}"
            )
        self.in_channels, self.out_channels, self.groups = *channels, groups
        self._kernel, self._stride, self._dilation = kernel, stride, dilation
        _refuse_padding(padding_mode, (kernel[0] - 1) * dilation[0])
        self._convention = Convention.of(convention)
        # The kernel spans `extent` frames. Where the stride is larger, frames before it are dropped, so
        # that a window of `window` frames always moves on by `stride` of the frames that it holds.
        self._extent = (kernel[0] - 1) * dilation[0] + 1
        self._window = max(self._extent, stride[0])
        self.weight = nn.Parameter(torch.empty(channels[1], channels[0] // groups, *kernel, **factory))
        self.bias = nn.Parameter(torch.empty(channels[1], **factory)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias as ``torch.nn.Conv1d`` does: uniform within 1/√fan-in."""
        bound = self.weight[0].numel() ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def _history(self) -> int:
        """Zero frames before the first input."""
        return self._window - 1 - self._convention.lookahead(self._stride[0])

    def initial_state(self, x: Tensor) -> Tensor:
        """Zeros ``(batch, in_channels, history[, frequency])``."""
        self._check(x)
        return x.new_zeros(*x.shape[:2], self._history(), *x.shape[3:])

    def _time_field(self) -> Field:
        padding = self._extent - 1 - self._convention.lookahead(self._stride[0])
        return Field.conv(self._kernel[0], dilation=self._dilation[0], stride=self._stride[0], padding=padding)

    def _check_input(self, x: Tensor, axes: str) -> None:
        if x.dim() != axes.count(",") + 1 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this layer takes ({axes}) with {self.in_channels} channels"
            )

    def _check_state(self, state: Tensor, x: Tensor) -> None:
        frames, low, high = state.shape[2], self._window - self._stride[0], self._window - 1
        if state.shape[:2] != x.shape[:2] or state.shape[3:] != x.shape[3:] or not low <= frames <= high:
            wanted = (*x.shape[:2], f"{low}…{high}" if low < high else high, *x.shape[3:])
            raise ValueError(
                f"state has shape {tuple(state.shape)}; for this input it must be ({', '.join(map(str, wanted))}). "
                "Start from layer.initial_state(x) and pass on what step returns."
            )

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence. The same as a step from the initial state, without the state that nobody asked for."""
        self._check(x)
        return self._outputs(F.pad(x, (0, 0) * (x.dim() - 3) + (self._history(), 0)))

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Continue with ``x`` from ``state``, the last frames of history; see :meth:`CausalModule.step`."""
        self._check(x)
        self._check_state(state, x)
        frames = torch.cat([state, x], dim=2)
        y = self._outputs(frames)
        # A copy, so that keeping a state does not keep the whole sequence that it is the end of.
        return y, frames[:, :, y.shape[2] * self._stride[0] :].clone()

    def _outputs(self, frames: Tensor) -> Tensor:
        """Every output whose window lies within ``frames``, history included."""
        count = max(0, (frames.shape[2] - self._window) // self._stride[0] + 1)
        if count == 0:
            return self._nothing(frames)
        first = self._window - self._extent
        frames = frames[:, :, first : self._window + (count - 1) * self._stride[0]]
        return self._convolve(frames, self.weight)

    def _check(self, x: Tensor) -> None:
        raise NotImplementedError

    def _nothing(self, frames: Tensor) -> Tensor:
        raise NotImplementedError

    def stream(self, state: Tensor | None = None) -> Stream:
        """A :class:`Stream` that writes into its own buffer and copies nothing that grows with the window.

        It holds the weights as they are when it is made.
        """
        plain = len(self._kernel) == 1 and self._stride == (1,) and self.groups == 1
        kind = RingStream if plain else ConvStream
        return kind(self, state)

    def extra_repr(self) -> str:
        """The arguments, as in the constructor."""
        one = len(self._kernel) == 1
        show = [f"{self.in_channels}, {self.out_channels}, kernel_size={self._kernel[0] if one else self._kernel}"]
        for name, value in (("stride", self._stride), ("dilation", self._dilation)):
            if any(v != 1 for v in value):
                show.append(f"{name}={value[0] if one else value}")
        if self._stride[0] > 1:
            show.append(f"convention={self._convention.value!r}")
        return ", ".join(
            show
            + ([f"groups={self.groups}"] if self.groups > 1 else [])
            + ([] if self.bias is not None else ["bias=False"])
        )


class CausalConv1d(_CausalConv):
    """Convolution over time that never reads the future.

    Output ``u`` reads inputs ``u·stride − (kernel_size−1)·dilation … u·stride`` (convention ``"strict"``),
    or the same window shifted to the end of its block, ``(u+1)·stride − 1`` (``"block"``).

    Args:
        in_channels, out_channels: features of a frame.
        kernel_size: taps, ≥ 1. stride: input frames per output frame, ≥ 1. dilation: frames between taps, ≥ 1.
        groups: blocks of channels that do not mix. bias: whether a constant is added.
        convention: ``"strict"`` or ``"block"``; see :class:`Convention`.
        padding_mode: only ``"zeros"``; there to say why the others are refused.
    Shape:
        ``(batch, in_channels, time)`` → ``(batch, out_channels, ceil(time / stride))``, with ``floor`` for ``"block"``.
    Raises:
        ValueError: a size below 1, channels that ``groups`` does not divide, a padding mode that reads the future.
    Source:
        van den Oord et al., WaveNet, arXiv 1609.03499, §2.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        convention: str | Convention = "strict",
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self._build(
            (in_channels, out_channels),
            (kernel_size,),
            (stride,),
            (dilation,),
            groups,
            bias,
            convention,
            padding_mode,
            factory,
        )

    @property
    def field(self) -> Field:
        """Which input frames an output frame reads."""
        return self._time_field()

    def _check(self, x: Tensor) -> None:
        self._check_input(x, "batch, channels, time")

    def _convolve(self, frames: Tensor, weight: Tensor) -> Tensor:
        return F.conv1d(frames, weight, self.bias, self._stride, 0, self._dilation, self.groups)

    def _nothing(self, frames: Tensor) -> Tensor:
        return frames.new_zeros(frames.shape[0], self.out_channels, 0)


class CausalConv2d(_CausalConv):
    """Convolution over (time, frequency): causal along time, free along frequency.

    Along time as :class:`CausalConv1d`; along frequency an ordinary convolution, padded as you like,
    because all frequencies of a frame are known at once.

    Args:
        kernel_size, stride, dilation: an int for both axes, or ``(time, frequency)``.
        frequency_padding: zeros below and above: ``"same"`` keeps ``ceil(frequency / stride)`` cells; an int for
            both sides; or ``(below, above)``.
        convention: ``"strict"`` or ``"block"``, along time.
        Others as for :class:`CausalConv1d`.
    Shape:
        ``(batch, in_channels, time, frequency)`` → ``(batch, out_channels, time', frequency')``: ``time'`` as for
        :class:`CausalConv1d`, ``frequency' = floor((frequency + below + above − (k−1)·d − 1) / stride) + 1``.
    Raises:
        ValueError: as :class:`CausalConv1d`; also a frequency axis that is shorter than the kernel.
    Source:
        time as in WaveNet, arXiv 1609.03499, §2.1; a spectrogram as an image with one causal axis as in the
        masked convolutions of PixelCNN, arXiv 1601.06759, §3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        stride: int | Pair = 1,
        dilation: int | Pair = 1,
        frequency_padding: Literal["same"] | int | Pair = "same",
        groups: int = 1,
        bias: bool = True,
        convention: str | Convention = "strict",
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        kernel, step, spread = (
            _pair(n, v) for n, v in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
        )
        factory = {"device": device, "dtype": dtype}
        self._build((in_channels, out_channels), kernel, step, spread, groups, bias, convention, padding_mode, factory)
        if frequency_padding == "same":
            total = (kernel[1] - 1) * spread[1]
            self.frequency_padding = (total // 2, total - total // 2)
        else:
            below, above = _pair("frequency_padding", frequency_padding)
            if below < 0 or above < 0:
                raise ValueError(f"frequency_padding is {(below, above)}; it must not be negative")
            self.frequency_padding = (below, above)

    @property
    def field(self) -> Field:
        """Which input cells ``(time, frequency)`` an output cell reads."""
        frequency = Field.conv(
            self._kernel[1],
            dilation=self._dilation[1],
            stride=self._stride[1],
            padding=self.frequency_padding[0],
            axis="frequency",
        )
        return Field.product(self._time_field(), frequency)

    def _frequencies_out(self, frequency: int) -> int:
        padded = frequency + sum(self.frequency_padding)
        extent = (self._kernel[1] - 1) * self._dilation[1] + 1
        if padded < extent:
            raise ValueError(
                f"the frequency axis has {frequency} cells, {padded} with padding; the kernel spans {extent}. "
                "Use a smaller kernel or dilation along frequency, or more frequency_padding."
            )
        return (padded - extent) // self._stride[1] + 1

    def _check(self, x: Tensor) -> None:
        self._check_input(x, "batch, channels, time, frequency")
        self._frequencies_out(x.shape[3])

    def _convolve(self, frames: Tensor, weight: Tensor) -> Tensor:
        below, above = self.frequency_padding
        if below != above:
            frames, below = F.pad(frames, (below, above)), 0
        return F.conv2d(frames, weight, self.bias, self._stride, (0, below), self._dilation, self.groups)

    def _nothing(self, frames: Tensor) -> Tensor:
        return frames.new_zeros(frames.shape[0], self.out_channels, 0, self._frequencies_out(frames.shape[3]))


def _pair(name: str, value: int | Pair) -> Pair:
    if isinstance(value, int):
        return value, value
    if len(value) != 2:
        raise ValueError(f"{name} is {value!r}; it must be an int or a pair (time, frequency)")
    return tuple(value)  # type: ignore[return-value]
