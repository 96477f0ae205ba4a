"""PixelCNN over a spectrogram: a value given earlier frames, and given what is below it in its own, by convolutions.

Two stacks, so that nothing that may be read is out of reach (one stack of masked kernels has a blind spot above
and beside a cell). The *vertical* stack convolves over (time, frequency) and reads earlier frames only, because its
input comes one frame late. The *horizontal* stack convolves along the frequencies of one frame, from low to high,
and reads lower ones only, because its input comes one cell late; each of its blocks is told what the vertical stack
found at the same cell. Causal along frequency is what causal along time is, so the same layer does both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.models.autoregressive import HEAD_SCALE, AutoregressiveConfig, begin_broad
from causalcnn.models.two_stacks import Climb, Told, TwoStacks
from causalcnn.nn.base import State
from causalcnn.nn.blocks import ResidualBlock2d
from causalcnn.nn.conv import CausalConv1d, CausalConv2d

__all__ = ["PixelCNN", "PixelCNNConfig"]


@dataclass(frozen=True)
class PixelCNNConfig(AutoregressiveConfig):
    """The sizes of a :class:`PixelCNN`.

    Attributes:
        channels: of both stacks.
        hidden: inside a block of the vertical stack.
        first_time_kernel: (earlier frames, frequencies) that the first vertical layer reads.
        first_frequency_kernel: lower cells that the first horizontal layer reads.
        time_dilations: of the blocks of the vertical stack, (time, frequency); its kernels are 2 × 3.
        frequency_dilations: of the blocks of the horizontal stack, as many; its kernels have 3 taps.
        Others as for :class:`~causalcnn.models.AutoregressiveConfig`.
    """

    channels: int = 64
    hidden: int = 64
    first_time_kernel: tuple[int, int] = (4, 7)
    first_frequency_kernel: int = 9
    time_dilations: tuple[tuple[int, int], ...] = ((2, 1), (4, 2), (8, 4), (16, 1))
    frequency_dilations: tuple[int, ...] = (1, 9, 27, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("channels", "hidden", "first_frequency_kernel")
        # A card is JSON, which has lists where this has tuples.
        object.__setattr__(self, "first_time_kernel", tuple(self.first_time_kernel))
        object.__setattr__(self, "time_dilations", tuple(tuple(pair) for pair in self.time_dilations))
        object.__setattr__(self, "frequency_dilations", tuple(self.frequency_dilations))
        if len(self.time_dilations) != len(self.frequency_dilations) or not self.time_dilations:
            raise ValueError(
                f"there are {len(self.time_dilations)} vertical and {len(self.frequency_dilations)} horizontal "
                "dilations; the two stacks have the same number of blocks, at least 1"
            )

    @classmethod
    def tiny(cls) -> PixelCNNConfig:
        """For a chapter on a CPU: 18 earlier frames (180 ms), all lower frequencies."""
        return cls(channels=32, hidden=16, time_dilations=((2, 1), (4, 2), (8, 4)), frequency_dilations=(1, 9, 27))


class LowerBlock(nn.Module):
    """A block along frequency: ``h + mix(relu(conv(relu(h)) + what the vertical stack says of this cell))``.

    Shape: ``(frames, channels, frequency)``, unchanged; frames are rows here.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = CausalConv1d(channels, channels, 3, dilation=dilation)
        self.mix = CausalConv1d(channels, channels, 1)
        self.before, self.between = nn.ReLU(), nn.ReLU()

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        return h + self.mix(self.between(self.conv(self.before(h)) + told))


class PixelCNN(TwoStacks):
    """A PixelCNN without blind spot: earlier frames at once, this frame from low to high frequency.

    Args:
        config: the sizes; ``PixelCNNConfig.tiny()`` by default.

    Shape:
        ``(batch, 1, time, mels)`` from −1 to 1 → the parameters of the output distribution,
        ``(batch, distribution.size, time, mels)``.

    Source:
        van den Oord et al., arXiv 1601.06759, and its two stacks, arXiv 1606.05328, §2.2; on a spectrogram, with
        residual blocks whose kernels are dilated, and an embedding of the frequency, for which 'everywhere alike'
        does not hold.

    Example:
        >>> model = PixelCNN(PixelCNNConfig.tiny())
        >>> tuple(model(torch.zeros(1, 1, 5, 80)).shape) == (1, model.distribution.size, 5, 80)
        True
        >>> [model.field.reads((9, 40), cell) for cell in ((9, 39), (9, 40), (8, 45))]
        [True, False, True]
    """

    name: ClassVar[str] = "pixelcnn"
    Config = PixelCNNConfig
    config: PixelCNNConfig

    def __init__(self, config: PixelCNNConfig | None = None) -> None:
        super().__init__(config or PixelCNNConfig.tiny())
        c = self.config
        self.first_time = CausalConv2d(1, c.channels, c.first_time_kernel)
        self.first_frequency = CausalConv1d(1, c.channels, c.first_frequency_kernel)
        self.vertical = nn.ModuleList(
            ResidualBlock2d(c.channels, (2, 3), dilation=dilation, hidden=c.hidden) for dilation in c.time_dilations
        )
        self.lower = nn.ModuleList(LowerBlock(c.channels, dilation) for dilation in c.frequency_dilations)
        self.links = nn.ModuleList(CausalConv2d(c.channels, c.channels, 1) for _ in c.time_dilations)
        # A cell is told its frequency at the bottom of each stack and at each link between them.
        self.where = nn.Parameter(torch.zeros(2 + len(c.time_dilations), c.channels, 1, c.mels))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(c.channels, c.channels, 1), nn.ReLU())
        self.parameters_of = nn.Conv1d(c.channels, self.distribution.size, 1)
        begin_broad(self.parameters_of, self.distribution)

    # ---------------------------------------------------------------------------------------------- the contract
    @property
    def field(self) -> Field:
        """The cells that a value reads, ``(time, frequency)``: the two stacks, composed from their layers."""
        one_frame_late = Field.product(Field.window([-1]), Field.identity(axis="frequency"))
        found = one_frame_late.then(self.first_time.field)
        lower = _along_frequency(Field.window([-1]).then(self.first_frequency.field))
        for (vertical, _), block in zip(self._vertical(), self._lower(), strict=True):
            found = found.then(vertical.field)
            lower = lower.then(_along_frequency(block.conv.field)) | found | lower
        return lower

    def _start(self, x: Tensor) -> State:
        wide = x.new_zeros(len(x), self.config.channels, 0, self.config.mels)
        return self.first_time.initial_state(x), *(block.initial_state(wide) for block, _ in self._vertical())

    def _vertical(self) -> list[tuple[ResidualBlock2d, CausalConv2d]]:
        return list(zip(self.vertical, self.links, strict=True))  # type: ignore[arg-type]

    def _lower(self) -> list[LowerBlock]:
        return list(self.lower)  # type: ignore[arg-type]

    def _told(self, late: Tensor, state: State) -> tuple[Told, State]:
        """The vertical stack; what it tells each horizontal block is ``(batch, channels, time, mels)``."""
        v, first = self.first_time.step(late, state[0])
        v = v + self.where[0]
        told, new = [], [first]
        for i, (block, link) in enumerate(self._vertical()):
            v, history = block.step(v, state[i + 1])
            told.append(link(v) + self.where[2 + i])
            new.append(history)
        return told, tuple(new)

    def _up(self, x: Tensor, told: Told) -> Tensor:
        """The horizontal stack: frames are rows of a batch, frequency is their time."""
        batch, _, time, mels = x.shape
        h = self.first_frequency(F.pad(_frames_as_rows(x), (1, -1))) + self.where[1, :, 0]
        for block, hint in zip(self._lower(), told, strict=True):
            h = block(h, _frames_as_rows(hint))
        y = HEAD_SCALE * self.parameters_of(self.last(h))
        return y.view(batch, time, self.distribution.size, mels).transpose(1, 2)

    def _climb(self, rows: int) -> Climb:
        return PixelClimb(self, rows)


class PixelClimb(Climb[PixelCNN]):
    """The horizontal stack on one frame: what its layers read is kept; a frame is short, so nothing is ever dropped."""

    def __init__(self, model: PixelCNN, rows: int) -> None:
        super().__init__(model, rows)
        mels = model.config.mels
        self._first = _Taps(model.first_frequency, rows, mels)
        self._blocks = [(_Taps(block.conv, rows, mels), _matrix(block.mix)) for block in model._lower()]
        self._last = _matrix(model.last[1])  # type: ignore[arg-type]
        self._parameters = _matrix(model.parameters_of)
        self._where = model.where[1, :, 0].detach().T.contiguous()

    def begin(self, told: Told) -> None:
        self._told = [hint[:, :, 0].permute(2, 0, 1).contiguous() for hint in told]

    def at(self, f: int, below: Tensor) -> Tensor:
        h = self._first(f, below) + self._where[f]
        for (conv, (mix, bias)), told in zip(self._blocks, self._told, strict=True):
            h = h + torch.addmm(bias, torch.relu_(conv(f, torch.relu(h)) + told[f]), mix)
        h = torch.addmm(self._last[1], torch.relu_(h), self._last[0])
        return HEAD_SCALE * torch.addmm(self._parameters[1], torch.relu_(h), self._parameters[0])


class _Taps:
    """A causal convolution along a frame, cell by cell. Zeros stand below the first cell and are never written."""

    def __init__(self, layer: CausalConv1d, rows: int, mels: int) -> None:
        kernel, dilation = layer.weight.shape[2], layer.dilation[0]
        self._reach, self._dilation = (kernel - 1) * dilation, dilation
        self._cells = layer.weight.new_zeros(rows, self._reach + mels, layer.in_channels)
        self._matrix, self._bias = _matrix(layer)

    def __call__(self, f: int, x: Tensor) -> Tensor:
        self._cells[:, self._reach + f] = x
        window = self._cells[:, f : f + self._reach + 1 : self._dilation]
        return torch.addmm(self._bias, window.flatten(1), self._matrix)


def _matrix(layer: CausalConv1d | nn.Conv1d) -> tuple[Tensor, Tensor]:
    """``(taps · in, out)``, older taps first, and the bias."""
    assert layer.bias is not None
    weight = layer.weight.detach()
    return weight.permute(2, 1, 0).reshape(-1, weight.shape[0]).contiguous(), layer.bias.detach()


def _frames_as_rows(x: Tensor) -> Tensor:
    """``(batch, channels, time, mels)`` → ``(batch · time, channels, mels)``."""
    return x.transpose(1, 2).flatten(0, 1)


def _along_frequency(field: Field) -> Field:
    """The field of a layer that took frequency for its time: this frame, and those frequencies."""
    offsets = field.inputs_of(0)
    return Field.product(Field.identity(), Field.window(offsets, axis="frequency"))
