"""Transposed convolutions over time: more frames out than in, and still never the future."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose1d, conv_transpose2d
from torch.nn.modules.conv import _ConvNd
from typing_extensions import override

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, Stream
from causalcnn.nn.conv import Pair, as_pair, as_size, check_channels, refuse_padding
from causalcnn.nn.exporting import is_exporting, pad_if_none
from causalcnn.nn.streams import Product, RingStream, Taps

__all__ = ["CausalConvTranspose1d", "CausalConvTranspose2d"]


class _CausalTranspose(CausalModule, _ConvNd):
    """What the two share: everything along time. ``weight`` is (in, out / groups, kernel…), as torch has it."""

    @property
    def _history(self) -> int:
        """Earlier inputs that an output reads besides the present one."""
        return (self.kernel_size[0] - 1) * self.dilation[0] // self.stride[0]

    def reset_parameters(self) -> None:
        """Draw weights and bias anew, uniform within ±1/√fan-in.

        An output meets ``kernel_size / stride`` taps of each input channel of its group.
        """
        taps = self.weight[:, 0].numel() // self.groups
        for step in self.stride:
            taps = max(1, taps // step)
        nn.init.uniform_(self.weight, -(taps**-0.5), taps**-0.5)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -(taps**-0.5), taps**-0.5)

    @override
    def initial_state(self, x: Tensor) -> Tensor:
        self._check(x)
        return x.new_zeros(*x.shape[:2], self._history, *x.shape[3:])

    @override
    def _begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.initial_state(x), self._nothing(x)

    def _time_field(self) -> Field:
        return Field.transposed(self.kernel_size[0], stride=self.stride[0], dilation=self.dilation[0])

    @override
    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        return self._completed(x, 0)

    @override
    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        self._check(x)
        self._check_state(state, x)
        frames = torch.cat([state, x], dim=2)
        return self._completed(frames, self._history), frames[:, :, x.shape[2] :].clone()

    def _check(self, x: Tensor) -> None:
        axes = len(self.kernel_size) + 2
        if x.dim() != axes or x.shape[1] != self.in_channels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this layer takes {axes} axes and {self.in_channels} channels"
            )

    def _check_state(self, state: Tensor, x: Tensor) -> None:
        wanted = (*x.shape[:2], self._history, *x.shape[3:])
        if state.shape != wanted:
            raise ValueError(f"state has shape {tuple(state.shape)}; for this input it must be {wanted}")

    def _completed(self, frames: Tensor, known: int | torch.SymInt) -> Tensor:
        """The outputs that ``frames`` complete, of which the first ``known`` were there before."""
        if is_exporting():
            if known == 0:
                frames, known = pad_if_none(frames, frames.shape[2], 1)
        elif frames.shape[2] == known:
            return self._nothing(frames)
        y = self._all_phases(frames)
        return y[:, :, known * self.stride[0] : frames.shape[2] * self.stride[0]]

    def _all_phases(self, frames: Tensor) -> Tensor:
        """Every output that ``frames`` reach, and at least ``stride`` for each frame."""
        y = self._spread(frames)
        missing = self.stride[0] - 1 - (self.kernel_size[0] - 1) * self.dilation[0]
        if missing > 0:  # the window is shorter than the stride: the last phases have no tap, only the bias
            fill = y.new_zeros(*y.shape[:2], missing, *y.shape[3:])
            if self.bias is not None:
                fill = fill + self.bias.view(-1, *(1,) * (y.dim() - 2))
            y = torch.cat([y, fill], dim=2)
        return y

    def _spread(self, frames: Tensor) -> Tensor:
        function = conv_transpose1d if len(self.kernel_size) == 1 else conv_transpose2d
        return function(frames, self.weight, self.bias, self.stride, self.padding, 0, self.groups, self.dilation)  # type: ignore[arg-type]

    def _nothing(self, frames: Tensor) -> Tensor:
        return frames.new_zeros(frames.shape[0], self.out_channels, 0, *self._frequencies_out(frames.shape[3:]))

    def _frequencies_out(self, frequency: tuple[int, ...]) -> tuple[int, ...]:
        return ()

    @override
    def _torch_stream(self, state: Tensor | None) -> Stream:
        # A ring looks at each frame for what is not finite, if there are gaps, and a GPU would wait for that.
        fast = self.groups == 1 and (self.weight.device.type == "cpu" or not self._has_gaps())
        return RingStream(self, state) if fast else Stream(self, state)

    def _places(self, axis: int) -> list[tuple[int, int]]:
        """For each tap how many places back it reads in a window, and which of the outputs that this completes."""
        trim, step, spread = (*self.padding, 0)[axis], (*self.stride, 1)[axis], (*self.dilation, 1)[axis]
        taps = (*self.kernel_size, 1)[axis]
        return [divmod(tap * spread - trim, step) for tap in range(taps)]

    def _has_gaps(self) -> bool:
        """Whether some outputs read less than the window."""
        for axis in range(len(self.kernel_size)):
            backs = [back for back, _ in self._places(axis)]
            window = max(0, *backs) - min(0, *backs) + 1
            if self.kernel_size[axis] < window * self.stride[axis]:
                return True
        return False

    def _product(self, frequencies: int) -> Product:
        """What this layer does with a window, for its stream.

        Output ``o`` reads input ``i`` through tap ``j`` where ``o + trim = i·stride + j·spread``. So window ``u`` of a
        stream completes the outputs ``u·stride + phase``, and reads the input that many places back::

            back, phase = divmod(j·spread − trim, stride)
        """
        weight = self.weight.detach().unsqueeze(3).flatten(3)  # (in, out, taps, cells)
        strides, times, cells = (*self.stride, 1), self._places(0), self._places(1)
        below, above = (abs(limit(0, *(back for back, _ in cells))) for limit in (max, min))
        size = below + 1 + above
        matrix = weight.new_zeros(self._history + 1, size, self.in_channels, *strides[:2], self.out_channels)
        for tap, (back, phase) in enumerate(times):
            for cell, (behind, part) in enumerate(cells):
                matrix[self._history - back, below - behind, :, phase, part] = weight[:, :, tap, cell]
        (out,) = self._frequencies_out((frequencies,)) or (1,)
        windows = Taps(size, below=below, count=-(-out // strides[1]))
        return Product(Taps(self._history + 1), windows, matrix, self.bias, out, self._has_gaps())


class CausalConvTranspose1d(_CausalTranspose, nn.ConvTranspose1d):  # type: ignore[misc]  # no output_size
    """A 1D transposed convolution over time that never reads the future.

    It takes the place of :class:`torch.nn.ConvTranspose1d`, with the same weights. Each input frame completes
    ``stride`` output frames; what torch would add after the last of them is cut off.

    Output frame ``t`` reads each input ``i`` for which a tap ``j`` has ``stride·i + j·dilation = t``, so that its
    window depends on the phase ``t mod stride``. Unless ``kernel_size`` is a multiple of ``stride``, some phases meet
    more taps than others (a checkerboard pattern); where the kernel is shorter than the stride, some hold the bias
    only.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel in output frames, ≥ 1.
        stride: output frames per input frame, ≥ 1.
        padding: only 0; nothing is cut off at the start.
        output_padding: only 0; an input frame completes ``stride`` output frames, no more.
        groups: groups of channels that are convolved separately; it divides both numbers of channels.
        bias: whether a learned constant is added to each output channel.
        dilation: output frames from one tap of the kernel to the next, ≥ 1.
        padding_mode: only ``"zeros"``, as in torch.
        device: device of the weights, as in torch.
        dtype: dtype of the weights, as in torch.

    Shape:
        ``(batch, in_channels, time)`` → ``(batch, out_channels, time · stride)``

    Raises:
        ValueError: a size is below 1, ``groups`` does not divide the channels, or the padding is not as above.

    Source:
        The transpose of WaveNet's causal convolution, arXiv 1609.03499, §2.1.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalConvTranspose1d
        >>> layer = CausalConvTranspose1d(32, 16, kernel_size=4, stride=2)
        >>> layer(torch.randn(8, 32, 100)).shape
        torch.Size([8, 16, 200])
        >>> [sorted(layer.field.inputs_of(t)) for t in (10, 11)]
        [[4, 5], [4, 5]]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int = 1,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        in_channels, out_channels, groups = check_channels(in_channels, out_channels, groups)
        kernel_size, stride = as_size("kernel_size", kernel_size), as_size("stride", stride)
        dilation = as_size("dilation", dilation)
        refuse_padding(padding, padding_mode, 0)
        refuse_output_padding(output_padding)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, 0, 0, groups, bias, dilation, device=device, dtype=dtype
        )

    @property
    @override
    def field(self) -> Field:
        return self._time_field()


class CausalConvTranspose2d(_CausalTranspose, nn.ConvTranspose2d):  # type: ignore[misc]  # no output_size
    """A 2D transposed convolution over (time, frequency) that never reads the future.

    It takes the place of :class:`torch.nn.ConvTranspose2d`, with the same weights. Along time it works as
    :class:`CausalConvTranspose1d`; along frequency it is an ordinary transposed convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel in output cells, an int for both axes or ``(time, frequency)``, ≥ 1.
        stride: output cells per input cell, an int for both axes or ``(time, frequency)``, ≥ 1.
        padding: only 0; nothing is cut off at the start.
        output_padding: only 0; an input frame completes ``stride`` output frames, no more.
        groups: groups of channels that are convolved separately; it divides both numbers of channels.
        bias: whether a learned constant is added to each output channel.
        dilation: output cells from one tap of the kernel to the next, an int for both axes or ``(time, frequency)``,
            ≥ 1.
        padding_mode: only ``"zeros"``, as in torch.
        device: device of the weights, as in torch.
        dtype: dtype of the weights, as in torch.
        frequency_padding: cells that are cut off at each end of the frequency axis, ≥ 0, as ``padding`` in torch.

    Shape:
        ``(batch, in_channels, time, frequency)`` → ``(batch, out_channels, time · stride, out_frequency)``, with
        kernel, dilation and stride along frequency
        ``out_frequency = (frequency − 1) · stride − 2 · frequency_padding + (kernel − 1) · dilation + 1``.

    Raises:
        ValueError: a size is below 1 or no pair, ``groups`` does not divide the channels, the padding is not as
            above, or ``frequency_padding`` is negative.

    Source:
        Time as the transpose of WaveNet's causal convolution, arXiv 1609.03499, §2.1.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalConvTranspose2d
        >>> layer = CausalConvTranspose2d(32, 1, kernel_size=(2, 4), stride=(1, 2), frequency_padding=1)
        >>> layer(torch.randn(8, 32, 100, 40)).shape
        torch.Size([8, 1, 100, 80])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        frequency_padding: int = 0,
    ) -> None:
        kernel, step, spread = (
            as_pair(n, v) for n, v in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
        )
        in_channels, out_channels, groups = check_channels(in_channels, out_channels, groups)
        refuse_padding(padding, padding_mode, 0)
        refuse_output_padding(output_padding)
        trim = (0, at_least("frequency_padding", frequency_padding, 0))
        super().__init__(
            in_channels, out_channels, kernel, step, trim, 0, groups, bias, spread, device=device, dtype=dtype
        )
        self.frequency_padding = trim[1]

    @property
    @override
    def field(self) -> Field:
        frequency = Field.transposed(
            self.kernel_size[1],
            stride=self.stride[1],
            dilation=self.dilation[1],
            trim=self.frequency_padding,
            axis="frequency",
        )
        return Field.product(self._time_field(), frequency)

    def _frequencies_out(self, frequency: tuple[int, ...]) -> tuple[int, ...]:
        spread = (self.kernel_size[1] - 1) * self.dilation[1] + 1
        return ((frequency[0] - 1) * self.stride[1] - 2 * self.frequency_padding + spread,)


def refuse_output_padding(output_padding: int | Pair) -> None:
    """Refuse output frames that only a later input frame would complete (ValueError)."""
    if output_padding not in (0, (0,), (0, 0)):
        raise ValueError(
            f"output_padding is {output_padding!r}; an input frame completes stride output frames, no more. "
            "Leave output_padding at 0."
        )
