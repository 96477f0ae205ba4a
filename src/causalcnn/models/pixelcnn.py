"""PixelCNN over a spectrogram: convolutions predict each value from earlier frames and the lower bands of its frame.

There are two stacks, so that nothing that may be read is out of reach (one stack of masked kernels has a blind spot).
The *time stack*, which is called vertical in the paper, convolves over (time, frequency) and reads earlier frames
only, because its input comes one frame late. The *frequency stack*, the horizontal one, convolves along the
frequencies of one frame, from low to high, and reads lower ones only, because its input comes one value late; each of
its blocks is conditioned on what the time stack found at the same cell. Causal along frequency means: lower bands
only. The layer is the one that is causal over time, run along frequency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.models.autoregressive import HEAD_SCALE, AutoregressiveConfig, AutoregressiveModel, init_head
from causalcnn.models.sampling import IncrementalSampler, Sampler
from causalcnn.nn.base import State
from causalcnn.nn.blocks import ResidualBlock2d
from causalcnn.nn.conv import CausalConv1d, CausalConv2d

__all__ = ["PixelCNN", "PixelCNNConfig"]


@dataclass(frozen=True)
class PixelCNNConfig(AutoregressiveConfig):
    """The sizes of a :class:`PixelCNN`; others as for :class:`~causalcnn.models.AutoregressiveConfig`.

    Attributes:
        channels: of both stacks.
        hidden: channels inside a block of the time stack.
        first_time_kernel: (earlier frames, frequencies) that the first layer of the time stack reads.
        first_frequency_kernel: lower values that the first layer of the frequency stack reads.
        time_dilations: (time, frequency) of each block of the time stack; its kernels are 2 × 3.
        frequency_dilations: of the blocks of the frequency stack, as many; its kernels have 3 taps.
    """

    channels: int = 64
    hidden: int = 64
    first_time_kernel: tuple[int, int] = (4, 7)
    first_frequency_kernel: int = 9
    time_dilations: tuple[tuple[int, int], ...] = ((2, 1), (4, 2), (8, 4), (16, 1))
    frequency_dilations: tuple[int, ...] = (1, 9, 27, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_integers("channels", "hidden", "first_frequency_kernel")
        # A card is JSON, which has lists where this has tuples.
        object.__setattr__(self, "first_time_kernel", tuple(self.first_time_kernel))
        object.__setattr__(self, "time_dilations", tuple(tuple(pair) for pair in self.time_dilations))
        object.__setattr__(self, "frequency_dilations", tuple(self.frequency_dilations))
        if len(self.time_dilations) != len(self.frequency_dilations) or not self.time_dilations:
            raise ValueError(
                f"there are {len(self.time_dilations)} time and {len(self.frequency_dilations)} frequency dilations; "
                "the two stacks have the same number of blocks, at least 1"
            )

    @classmethod
    def tiny(cls) -> PixelCNNConfig:
        """For a chapter on a CPU: 18 earlier frames (180 ms), all lower frequencies."""
        return cls(channels=32, hidden=16, time_dilations=((2, 1), (4, 2), (8, 4)), frequency_dilations=(1, 9, 27))


class FrequencyBlock(nn.Module):
    """A block of the frequency stack: ``h + mix(relu(conv(relu(h)) + condition))``.

    Shape:
        ``(batch · time, channels, mels)`` twice → the same
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = CausalConv1d(channels, channels, 3, dilation=dilation)  # causal along frequency
        self.mix = CausalConv1d(channels, channels, 1)
        self.relu = nn.ReLU()  # a module, so that those who measure a field can open it

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        return h + self.mix(self.relu(self.conv(self.relu(h)) + condition))


class PixelCNN(AutoregressiveModel):
    """A PixelCNN without blind spot: earlier frames at once, this frame from low to high frequency.

    Args:
        config: the sizes; ``PixelCNNConfig.tiny()`` by default.

    Shape:
        ``(batch, 1, time, mels)`` from −1 to 1 → the parameters of the output distribution,
        ``(batch, distribution.size, time, mels)``.

    Source:
        van den Oord et al., arXiv 1601.06759, and its two stacks, arXiv 1606.05328, §2.2; on a spectrogram, with
        dilated residual ReLU blocks where the second paper has gated units, and with an embedding of the band, because
        bands are not alike.

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
    time_blocks: Sequence[ResidualBlock2d]
    frequency_blocks: Sequence[FrequencyBlock]

    def __init__(self, config: PixelCNNConfig | None = None) -> None:
        super().__init__(config or PixelCNNConfig.tiny())
        c = self.config
        self.time_input = CausalConv2d(1, c.channels, c.first_time_kernel)
        self.frequency_input = CausalConv1d(1, c.channels, c.first_frequency_kernel)
        self.time_blocks = nn.ModuleList(  # type: ignore[assignment]
            ResidualBlock2d(c.channels, (2, 3), dilation=dilation, hidden=c.hidden) for dilation in c.time_dilations
        )
        self.frequency_blocks = nn.ModuleList(  # type: ignore[assignment]
            FrequencyBlock(c.channels, dilation) for dilation in c.frequency_dilations
        )
        self.conditions = nn.ModuleList(CausalConv2d(c.channels, c.channels, 1) for _ in c.time_dilations)
        # Added at the input of the time stack, at that of the frequency stack, and to each condition.
        self.band_embedding = nn.Parameter(torch.zeros(2 + len(c.time_dilations), c.channels, 1, c.mels))
        hidden, output = nn.Conv1d(c.channels, c.channels, 1), nn.Conv1d(c.channels, self.distribution.size, 1)
        init_head(output, self.distribution)
        self.head = nn.Sequential(nn.ReLU(), hidden, nn.ReLU(), output)

    @property
    def field(self) -> Field:
        """The cells that a value reads, ``(time, frequency)``: the two stacks, composed from their layers."""
        one_frame_late = Field.product(Field.window([-1]), Field.identity(axis="frequency"))
        time = one_frame_late.then(self.time_input.field)
        frequency = _along_frequency(Field.window([-1]).then(self.frequency_input.field))
        for time_block, frequency_block in zip(self.time_blocks, self.frequency_blocks, strict=True):
            time = time.then(time_block.field)
            frequency = frequency.then(_along_frequency(frequency_block.conv.field)) | time | frequency
        return frequency

    def initial_time_state(self, x: Tensor) -> State:
        """The states of the input layer and of the blocks of the time stack."""
        h = x.new_zeros(len(x), self.config.channels, 0, self.config.mels)
        return self.time_input.initial_state(x), *(block.initial_state(h) for block in self.time_blocks)

    def time_stack(self, earlier: Tensor, state: State) -> tuple[list[Tensor], State]:
        """The condition of each block of the frequency stack, ``(batch, channels, time, mels)``."""
        h, input_state = self.time_input.step(earlier, state[0])
        h = h + self.band_embedding[0]
        conditions, new_state = [], [input_state]
        for i, (block, condition) in enumerate(zip(self.time_blocks, self.conditions, strict=True)):
            h, block_state = block.step(h, state[i + 1])
            conditions.append(condition(h) + self.band_embedding[2 + i])
            new_state.append(block_state)
        return conditions, tuple(new_state)

    def frequency_stack(self, x: Tensor, condition: list[Tensor]) -> Tensor:
        """Frames are rows of a batch, frequency is the axis of the convolutions."""
        batch, _, time, mels = x.shape
        below = F.pad(_frames_as_rows(x), (1, -1))  # (batch · time, 1, mels): the value below each
        h = self.frequency_input(below) + self.band_embedding[1, :, 0]
        for block, c in zip(self.frequency_blocks, condition, strict=True):
            h = block(h, _frames_as_rows(c))  # (batch · time, channels, mels)
        y = HEAD_SCALE * self.head(h)  # (batch · time, distribution.size, mels)
        return y.view(batch, time, self.distribution.size, mels).transpose(1, 2)

    def _fast_sampler(self, batch_size: int) -> Sampler:
        return PixelCNNSampler(self, batch_size)


class PixelCNNSampler(IncrementalSampler):
    """The frequency stack value by value: what its convolutions read is kept, and each of them is one product."""

    model: PixelCNN

    def __init__(self, model: PixelCNN, rows: int) -> None:
        super().__init__(model, rows)
        mels = model.config.mels
        self._input = _ValueByValue(model.frequency_input, rows, mels)
        self._blocks = [(_ValueByValue(b.conv, rows, mels), _matrix(b.mix)) for b in model.frequency_blocks]
        self._head = [_matrix(layer) for layer in model.head if isinstance(layer, nn.Conv1d)]
        self._embedding = model.band_embedding[1, :, 0].detach().T.contiguous()  # (mels, channels)

    def begin_frame(self, condition: list[Tensor]) -> None:
        """Lay the condition of this frame out by bands."""
        self._conditions = [c[:, :, 0].permute(2, 0, 1).contiguous() for c in condition]  # (mels, rows, channels)

    def next_value(self, f: int, below: Tensor) -> Tensor:
        """The parameters of value ``f``, ``(rows, distribution.size)``."""
        h = self._input(f, below) + self._embedding[f]
        for (conv, (mix, bias)), condition in zip(self._blocks, self._conditions, strict=True):
            h = h + torch.addmm(bias, torch.relu_(conv(f, torch.relu(h)) + condition[f]), mix)
        for matrix, bias in self._head:
            h = torch.addmm(bias, torch.relu(h), matrix)
        return HEAD_SCALE * h


class _ValueByValue:
    """A causal convolution run along the bands of a frame, from low to high, one value at a time.

    The inputs of the frame are kept. Below the lowest band they are zeros, which are never overwritten.
    """

    def __init__(self, layer: CausalConv1d, batch_size: int, mels: int) -> None:
        self._dilation = layer.dilation[0]
        self._reach = (layer.kernel_size[0] - 1) * self._dilation
        self._inputs = layer.weight.new_zeros(batch_size, self._reach + mels, layer.in_channels)
        self._matrix, self._bias = _matrix(layer)

    def __call__(self, f: int, x: Tensor) -> Tensor:
        """Band ``f``: ``(batch_size, in_channels)`` → ``(batch_size, out_channels)``."""
        self._inputs[:, self._reach + f] = x
        window = self._inputs[:, f : f + self._reach + 1 : self._dilation]
        return torch.addmm(self._bias, window.flatten(1), self._matrix)


def _matrix(layer: CausalConv1d | nn.Conv1d) -> tuple[Tensor, Tensor]:
    """The weight as ``(kernel_size · in_channels, out_channels)``, lowest bands first, and the bias."""
    assert layer.bias is not None
    weight = layer.weight.detach()
    return weight.permute(2, 1, 0).reshape(-1, weight.shape[0]).contiguous(), layer.bias.detach()


def _frames_as_rows(x: Tensor) -> Tensor:
    """``(batch, channels, time, mels)`` → ``(batch · time, channels, mels)``."""
    return x.transpose(1, 2).flatten(0, 1)


def _along_frequency(field: Field) -> Field:
    """The field of a layer that runs along the frequencies of a frame: this frame, and those frequencies."""
    return Field.product(Field.identity(), Field.window(field.inputs_of(0), axis="frequency"))
