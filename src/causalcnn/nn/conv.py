"""Convolutions over time that never read the future, over time alone and over time and frequency."""

from __future__ import annotations

import operator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from typing_extensions import override

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, Convention
from causalcnn.nn.exporting import is_exporting, over_windows
from causalcnn.nn.streams import ConvStream, Product, RingStream, Taps

__all__ = ["CausalConv1d", "CausalConv2d"]

Pair = tuple[int, int]


def check_channels(in_channels: int, out_channels: int, groups: int) -> tuple[int, int, int]:
    """Refuse channels and groups below 1, and groups that do not divide the channels (ValueError); return them."""
    channels = at_least("in_channels", in_channels), at_least("out_channels", out_channels)
    if channels[0] % at_least("groups", groups) or channels[1] % groups:
        raise ValueError(
            f"groups is {groups}; it must divide in_channels {in_channels} and out_channels {out_channels}"
        )
    return *channels, int(groups)


def as_size(name: str, value: int | tuple[int]) -> int:
    """A size along time, ≥ 1, also in torch's form of it: ``(3,)``."""
    return at_least(name, value[0] if isinstance(value, tuple) and len(value) == 1 else value)


def refuse_padding(padding: int | Pair | str, mode: str, reach: int) -> None:
    """Refuse padding of time, which the layer pads itself, with zeros: any other is a leak or invents a past.

    Args:
        padding: as torch takes it.
        mode: as torch takes it.
        reach: frames that are padded on the left, ``(kernel_size−1)·dilation``.

    Raises:
        ValueError: ``padding`` is not 0, or ``mode`` not ``"zeros"``; the message names the frames that would leak.
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
        left_padding: frames of zeros that stand before the first frame; below 0, that many of the first frames are
            read by no output. ``F.pad(x, (left_padding, 0))`` and torch's convolution give the same as this layer.
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
        """Draw weights and bias anew, as torch does: uniform within ±1/√fan-in."""
        bound = self.weight[0].numel() ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @override
    def initial_state(self, x: Tensor) -> Tensor:
        self._check(x)
        return x.new_zeros(*x.shape[:2], self._history, *x.shape[3:])

    @override
    def _begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.initial_state(x), self._nothing(x)

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
        if is_exporting() and low < high:
            return  # how many frames wait is a symbol
        if state.shape[:2] != x.shape[:2] or state.shape[3:] != x.shape[3:] or not low <= frames <= high:
            wanted = (*x.shape[:2], f"{low}…{high}" if low < high else high, *x.shape[3:])
            raise ValueError(
                f"state has shape {tuple(state.shape)}; for this input it must be ({', '.join(map(str, wanted))}). "
                "Start from layer.initial_state(x) and pass on what step returns."
            )

    @override
    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        return self._outputs(F.pad(x, (0, 0) * (x.dim() - 3) + (self._history, 0)))

    @override
    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        self._check(x)
        self._check_state(state, x)
        frames = torch.cat([state, x], dim=2)
        y = self._outputs(frames)
        used = (frames.shape[2] - (self._window - self.stride[0])) // self.stride[0] * self.stride[0]
        # A copy, so that keeping a state does not keep the whole sequence that it is the end of.
        return y, frames[:, :, used:].clone()

    def _outputs(self, frames: Tensor) -> Tensor:
        """Every output whose window lies within ``frames``, history included."""
        if is_exporting():
            return over_windows(
                frames,
                self._window,
                self.stride[0],
                lambda some: self._convolve(some[:, :, self._window - self._extent :]),
            )
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

    @override
    def _torch_stream(self, state: Tensor | None) -> ConvStream | RingStream:
        # A ring has as many frames as a window spans: where the stride is larger, they have to wait somewhere else.
        plain = self.groups == 1 and self.stride[0] <= self._extent
        return RingStream(self, state) if plain else ConvStream(self, state)

    def _product(self, frequencies: int) -> Product:
        """What this layer does with a window, for its stream."""
        weight = self.weight.unsqueeze(3).flatten(3)  # (out, in, taps, cells), one cell without an axis of frequency
        cells = self._cells(frequencies)
        time = Taps(self.kernel_size[0], self.dilation[0], self.stride[0])
        return Product(time, cells, weight.permute(2, 3, 1, 0)[:, :, :, None, None], self.bias, cells.count)

    def _cells(self, frequencies: int) -> Taps:
        """The windows along frequency."""
        return Taps(1)

    def extra_repr(self) -> str:
        """The arguments, as ``print`` shows them."""
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
    """A 1D convolution over time that never reads the future.

    It takes the place of :class:`torch.nn.Conv1d`, with the same weights. Along time, output frame ``u`` reads
    ``kernel_size`` input frames, ``dilation`` frames apart, of which the last is ``u·stride``; with the convention
    ``"block"`` the last is ``(u+1)·stride − 1``, the end of its block. Frames before the first one count as zeros:
    the layer pads them itself, on the left, and its attribute ``left_padding`` says how many.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: how many input frames an output reads, ≥ 1.
        stride: input frames per output frame, ≥ 1.
        padding: only 0; it is there so that the error can say why others are refused.
        dilation: frames from one tap of the kernel to the next, ≥ 1.
        groups: groups of channels that are convolved separately; it divides both numbers of channels.
        bias: whether a learned constant is added to each output channel.
        padding_mode: only ``"zeros"``; it is there so that the error can say why others are refused.
        device: device of the weights, as in torch.
        dtype: dtype of the weights, as in torch.
        convention: ``"strict"`` or ``"block"``; see :class:`Convention`.

    Shape:
        ``(batch, in_channels, time)`` → ``(batch, out_channels, ceil(time / stride))``; with the convention
        ``"block"``, ``floor`` instead of ``ceil``.

    Raises:
        ValueError: a size is below 1, ``groups`` does not divide the channels, the convention is unknown, or the
            padding would read the future.

    Source:
        van den Oord et al., WaveNet, arXiv 1609.03499, §2.1.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalConv1d
        >>> layer = CausalConv1d(16, 32, kernel_size=3, dilation=2)
        >>> layer(torch.randn(8, 16, 100)).shape
        torch.Size([8, 32, 100])
        >>> sorted(layer.field.inputs_of(10)), layer.left_padding
        ([6, 8, 10], 4)
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
        in_channels, out_channels, groups = check_channels(in_channels, out_channels, groups)
        kernel_size, stride = as_size("kernel_size", kernel_size), as_size("stride", stride)
        dilation = as_size("dilation", dilation)
        refuse_padding(padding, padding_mode, (kernel_size - 1) * dilation)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias, device=device, dtype=dtype
        )
        self._align(convention)

    @property
    @override
    def field(self) -> Field:
        return self._time_field()

    def _check(self, x: Tensor) -> None:
        self._check_input(x, "batch, channels, time")

    def _nothing(self, frames: Tensor) -> Tensor:
        return frames.new_zeros(frames.shape[0], self.out_channels, 0)


class CausalConv2d(_CausalConv, nn.Conv2d):
    """A 2D convolution over (time, frequency) that never reads the future.

    It takes the place of :class:`torch.nn.Conv2d`, with the same weights. Along time it works as
    :class:`CausalConv1d`. Along frequency it is an ordinary convolution, padded as you like, because all frequencies
    of a frame are known at once.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel, an int for both axes or ``(time, frequency)``, ≥ 1.
        stride: input cells per output cell, an int for both axes or ``(time, frequency)``, ≥ 1.
        padding: only 0; it is there so that the error can say why others are refused.
        dilation: cells from one tap of the kernel to the next, an int for both axes or ``(time, frequency)``, ≥ 1.
        groups: groups of channels that are convolved separately; it divides both numbers of channels.
        bias: whether a learned constant is added to each output channel.
        padding_mode: only ``"zeros"``; it is there so that the error can say why others are refused.
        device: device of the weights, as in torch.
        dtype: dtype of the weights, as in torch.
        frequency_padding: cells of zeros below and above the frequency axis, ≥ 0, an int for both or
            ``(below, above)``; ``"same"`` pads so that ``ceil(frequency / stride)`` cells come out.
        convention: ``"strict"`` or ``"block"``, along time; see :class:`Convention`.

    Shape:
        ``(batch, in_channels, time, frequency)`` → ``(batch, out_channels, out_time, out_frequency)``, ``out_time``
        as for :class:`CausalConv1d`, and with kernel, dilation and stride along frequency
        ``out_frequency = floor((frequency + below + above − (kernel − 1) · dilation − 1) / stride) + 1``.

    Raises:
        ValueError: a size is below 1 or no pair, ``groups`` does not divide the channels, the convention is unknown,
            the padding would read the future, or ``frequency_padding`` is negative. From ``forward`` and ``step``:
            the padded frequency axis is shorter than the kernel.

    Source:
        Time as in WaveNet, arXiv 1609.03499, §2.1; a spectrogram as an image with one causal axis as in the masked
        convolutions of PixelCNN, arXiv 1601.06759, §3.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalConv2d
        >>> layer = CausalConv2d(1, 32, kernel_size=(3, 5), stride=(1, 2))
        >>> layer(torch.randn(8, 1, 100, 80)).shape
        torch.Size([8, 32, 100, 40])
        >>> layer.field.axis("time").lookahead, layer.field.axis("frequency").lookahead
        (0, 2)
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
        in_channels, out_channels, groups = check_channels(in_channels, out_channels, groups)
        refuse_padding(padding, padding_mode, (kernel[0] - 1) * spread[0])
        if frequency_padding == "same":
            total = (kernel[1] - 1) * spread[1]
            below, above = total // 2, total - total // 2
        else:
            below, above = as_pair("frequency_padding", frequency_padding, 0)
        both = below if below == above else 0  # torch pads both sides alike, or not at all
        super().__init__(
            in_channels, out_channels, kernel, step, (0, both), spread, groups, bias, device=device, dtype=dtype
        )
        self.frequency_padding = (below, above)
        self._align(convention)

    @property
    @override
    def field(self) -> Field:
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

    def _cells(self, frequencies: int) -> Taps:
        size, spread, step = self.kernel_size[1], self.dilation[1], self.stride[1]
        return Taps(size, spread, step, self.frequency_padding[0], self._frequencies_out(frequencies))

    def _check(self, x: Tensor) -> None:
        self._check_input(x, "batch, channels, time, frequency")
        self._frequencies_out(x.shape[3])

    def _convolve(self, frames: Tensor) -> Tensor:
        below, above = self.frequency_padding
        return super()._convolve(frames if below == above else F.pad(frames, (below, above)))

    def _nothing(self, frames: Tensor) -> Tensor:
        return frames.new_zeros(frames.shape[0], self.out_channels, 0, self._frequencies_out(frames.shape[3]))


def as_pair(name: str, value: int | Pair, minimum: int = 1) -> Pair:
    """An integer for both axes, or a pair ``(time, frequency)``, as a pair of at least ``minimum``."""
    try:
        operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    else:
        value = value, value  # type: ignore[assignment]
    try:
        first, second = value  # type: ignore[misc]
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}; it must be an integer or a pair (time, frequency)") from None
    return at_least(name, first, minimum), at_least(name, second, minimum)
