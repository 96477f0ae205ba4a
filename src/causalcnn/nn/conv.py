"""Convolutions over time that never read the future, over time alone and over time and frequency."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, Convention, renew_weight
from causalcnn.nn.streams import ConvStream, RingStream

__all__ = ["CausalConv1d", "CausalConv2d"]

Pair = tuple[int, int]


def check_sizes(in_channels: int, out_channels: int, groups: int, **sizes: int | tuple[int, ...]) -> None:
    """Refuse channels, groups and sizes below 1, and groups that do not divide the channels."""
    for name, value in {"in_channels": in_channels, "out_channels": out_channels, "groups": groups, **sizes}.items():
        for number in value if isinstance(value, tuple) else (value,):
            at_least(name, number)
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups is {groups}; it must divide in_channels {in_channels} and out_channels {out_channels}"
        )


def _one(size: int | tuple[int]) -> int:
    """A size along time, also in torch's form of it: ``(3,)``."""
    return size[0] if isinstance(size, tuple) and len(size) == 1 else size


def refuse_padding(padding: int | Pair | str, mode: str, reach: int) -> None:
    """Time is padded by the layer itself, and with zeros only: any other padding is a leak, or invents a past.

    Args:
        padding: as torch takes it.
        mode: as torch takes it.
        reach: frames that are padded on the left, ``(kernel_size−1)·dilation``.
    """
    if padding not in (0, (0,), (0, 0), "valid"):
        raise ValueError(
            f"padding is {padding!r}, which torch puts on both sides: the layer would read the future. It pads itself "
            "on the left, see left_padding; frequency is padded by frequency_padding. Leave padding at 0."
        )
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


class _CausalConv(CausalModule, _ConvNd):
    """What the two convolutions share: everything along time.

    Attributes:
        left_padding: zeros that stand before the first frame; below 0, that many of the first frames are read by
            no output. ``F.pad(x, (left_padding, 0))`` and torch's convolution give the same as this layer.
    """

    left_padding: int

    def _align(self, convention: str | Convention) -> None:
        """Place the window in time."""
        kernel, stride, dilation = self.kernel_size[0], self.stride[0], self.dilation[0]
        lookahead = Convention.of(convention).lookahead(stride)
        # The kernel spans `extent` frames. Where the stride is larger, frames before it are dropped, so
        # that a window of `window` frames always moves on by `stride` of the frames that it holds.
        self._extent = (kernel - 1) * dilation + 1
        self._window = max(self._extent, stride)
        self._history = self._window - 1 - lookahead
        self.left_padding = self._extent - 1 - lookahead

    def reset_parameters(self) -> None:
        """Draw weights and bias as ``torch.nn.Conv1d`` does: uniform within 1/√fan-in."""
        bound = self.weight[0].numel() ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def initial_state(self, x: Tensor) -> Tensor:
        """Zeros ``(batch, in_channels, history[, frequency])``."""
        self._check(x)
        return x.new_zeros(*x.shape[:2], self._history, *x.shape[3:])

    def _time_field(self) -> Field:
        return Field.conv(
            self.kernel_size[0], dilation=self.dilation[0], stride=self.stride[0], padding=self.left_padding
        )

    def _check_input(self, x: Tensor, axes: str) -> None:
        if x.dim() != axes.count(",") + 1 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this layer takes ({axes}) with {self.in_channels} channels"
            )

    def _check_state(self, state: Tensor, x: Tensor) -> None:
        frames, low, high = state.shape[2], self._window - self.stride[0], self._window - 1
        if state.shape[:2] != x.shape[:2] or state.shape[3:] != x.shape[3:] or not low <= frames <= high:
            wanted = (*x.shape[:2], f"{low}…{high}" if low < high else high, *x.shape[3:])
            raise ValueError(
                f"state has shape {tuple(state.shape)}; for this input it must be ({', '.join(map(str, wanted))}). "
                "Start from layer.initial_state(x) and pass on what step returns."
            )

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence. The same as a step from the initial state, without the state that nobody asked for."""
        self._check(x)
        return self._outputs(F.pad(x, (0, 0) * (x.dim() - 3) + (self._history, 0)))

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Continue with ``x`` from ``state``, the last frames of history; see :meth:`CausalModule.step`."""
        self._check(x)
        self._check_state(state, x)
        renew_weight(self)
        frames = torch.cat([state, x], dim=2)
        y = self._outputs(frames)
        # A copy, so that keeping a state does not keep the whole sequence that it is the end of.
        return y, frames[:, :, y.shape[2] * self.stride[0] :].clone()

    def _outputs(self, frames: Tensor) -> Tensor:
        """Every output whose window lies within ``frames``, history included."""
        count = max(0, (frames.shape[2] - self._window) // self.stride[0] + 1)
        if count == 0:
            return self._nothing(frames)
        first = self._window - self._extent
        return self._convolve(frames[:, :, first : self._window + (count - 1) * self.stride[0]])

    def _check(self, x: Tensor) -> None:
        raise NotImplementedError

    def _convolve(self, frames: Tensor) -> Tensor:
        return self._conv_forward(frames, self.weight, self.bias)

    def _nothing(self, frames: Tensor) -> Tensor:
        raise NotImplementedError

    def stream(self, state: Tensor | None = None) -> ConvStream | RingStream:
        """A :class:`Stream` that writes into its own buffer and copies nothing that grows with the window.

        It holds the weights as they are when it is made.
        """
        plain = len(self.kernel_size) == 1 and self.stride == (1,) and self.groups == 1
        return RingStream(self, state) if plain else ConvStream(self, state)

    def extra_repr(self) -> str:
        """The arguments, as in the constructor."""
        one = len(self.kernel_size) == 1
        show = [f"{self.in_channels}, {self.out_channels}"]
        for name in ("kernel_size", "stride", "dilation"):
            value = getattr(self, name)
            if name == "kernel_size" or set(value) != {1}:
                show.append(f"{name}={value[0] if one else value}")
        show += [f"convention={self.convention.value!r}"] if self.stride[0] > 1 else []
        show += [f"groups={self.groups}"] if self.groups > 1 else []
        return ", ".join(show + ([] if self.bias is not None else ["bias=False"]))


class CausalConv1d(_CausalConv, nn.Conv1d):
    """Convolution over time that never reads the future. It takes the place of :class:`torch.nn.Conv1d`.

    Output ``u`` reads inputs ``u·stride − (kernel_size−1)·dilation … u·stride`` (convention ``"strict"``),
    or the same window shifted to the end of its block, ``(u+1)·stride − 1`` (``"block"``).

    Args:
        in_channels: features of an input frame.
        out_channels: features of an output frame.
        kernel_size: taps, ≥ 1.
        stride: input frames per output frame, ≥ 1.
        padding: only 0, and there to say why: the layer pads on the left, by ``left_padding`` zeros.
        dilation: frames from one tap to the next, ≥ 1.
        groups: blocks of channels that do not mix.
        bias: whether a constant is added.
        padding_mode: only ``"zeros"``; there to say why the others are refused.
        device: of the weights.
        dtype: of the weights.
        convention: ``"strict"`` or ``"block"``; see :class:`Convention`.

    Shape:
        ``(batch, in_channels, time)`` → ``(batch, out_channels, ceil(time / stride))``, with ``floor`` for ``"block"``.

    Raises:
        ValueError: a size below 1, channels that ``groups`` does not divide, a padding that reads the future.

    Source:
        van den Oord et al., WaveNet, arXiv 1609.03499, §2.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        convention: str | Convention = "strict",
    ) -> None:
        kernel_size, stride, dilation = _one(kernel_size), _one(stride), _one(dilation)
        check_sizes(in_channels, out_channels, groups, kernel_size=kernel_size, stride=stride, dilation=dilation)
        refuse_padding(padding, padding_mode, (kernel_size - 1) * dilation)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias, device=device, dtype=dtype
        )
        self._align(convention)

    @property
    def field(self) -> Field:
        """Which input frames an output frame reads."""
        return self._time_field()

    def _check(self, x: Tensor) -> None:
        self._check_input(x, "batch, channels, time")

    def _nothing(self, frames: Tensor) -> Tensor:
        return frames.new_zeros(frames.shape[0], self.out_channels, 0)


class CausalConv2d(_CausalConv, nn.Conv2d):
    """Convolution over (time, frequency): causal along time, free along frequency.

    Along time as :class:`CausalConv1d`; along frequency an ordinary convolution, padded as you like,
    because all frequencies of a frame are known at once. It takes the place of :class:`torch.nn.Conv2d`.

    Args:
        in_channels: features of an input cell.
        out_channels: features of an output cell.
        kernel_size: taps, an int for both axes, or ``(time, frequency)``.
        stride: likewise, input cells per output cell.
        padding: only 0, and there to say why: time is padded on the left, by ``left_padding`` zeros.
        dilation: likewise, cells from one tap to the next.
        groups: blocks of channels that do not mix.
        bias: whether a constant is added.
        padding_mode: only ``"zeros"``; there to say why the others are refused.
        device: of the weights.
        dtype: of the weights.
        frequency_padding: zeros below and above: ``"same"`` keeps ``ceil(frequency / stride)`` cells; an int for
            both sides; or ``(below, above)``.
        convention: ``"strict"`` or ``"block"``, along time; see :class:`Convention`.

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
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        frequency_padding: Literal["same"] | int | Pair = "same",
        convention: str | Convention = "strict",
    ) -> None:
        kernel, step, spread = (
            as_pair(n, v) for n, v in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
        )
        check_sizes(in_channels, out_channels, groups, kernel_size=kernel, stride=step, dilation=spread)
        refuse_padding(padding, padding_mode, (kernel[0] - 1) * spread[0])
        if frequency_padding == "same":
            total = (kernel[1] - 1) * spread[1]
            below, above = total // 2, total - total // 2
        else:
            below, above = as_pair("frequency_padding", frequency_padding)
            if below < 0 or above < 0:
                raise ValueError(f"frequency_padding is {(below, above)}; it must not be negative")
        both = below if below == above else 0  # torch pads both sides alike, or not at all
        super().__init__(
            in_channels, out_channels, kernel, step, (0, both), spread, groups, bias, device=device, dtype=dtype
        )
        self.frequency_padding = (below, above)
        self._align(convention)

    @property
    def field(self) -> Field:
        """Which input cells ``(time, frequency)`` an output cell reads."""
        frequency = Field.conv(
            self.kernel_size[1],
            dilation=self.dilation[1],
            stride=self.stride[1],
            padding=self.frequency_padding[0],
            axis="frequency",
        )
        return Field.product(self._time_field(), frequency)

    def _frequencies_out(self, frequency: int) -> int:
        padded = frequency + sum(self.frequency_padding)
        extent = (self.kernel_size[1] - 1) * self.dilation[1] + 1
        if padded < extent:
            raise ValueError(
                f"the frequency axis has {frequency} cells, {padded} with padding; the kernel spans {extent}. "
                "Use a smaller kernel or dilation along frequency, or more frequency_padding."
            )
        return (padded - extent) // self.stride[1] + 1

    def _check(self, x: Tensor) -> None:
        self._check_input(x, "batch, channels, time, frequency")
        self._frequencies_out(x.shape[3])

    def _convolve(self, frames: Tensor) -> Tensor:
        below, above = self.frequency_padding
        return super()._convolve(frames if below == above else F.pad(frames, (below, above)))

    def _nothing(self, frames: Tensor) -> Tensor:
        return frames.new_zeros(frames.shape[0], self.out_channels, 0, self._frequencies_out(frames.shape[3]))


def as_pair(name: str, value: int | Pair) -> Pair:
    """An int for both axes, or a pair ``(time, frequency)``, as a pair."""
    if isinstance(value, int):
        return value, value
    if len(value) != 2:
        raise ValueError(f"{name} is {value!r}; it must be an int or a pair (time, frequency)")
    return tuple(value)  # type: ignore[return-value]
