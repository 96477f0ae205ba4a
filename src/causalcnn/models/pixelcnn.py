"""PixelCNN over a spectrogram: convolutions predict each value from earlier frames and the lower bands of its frame.

There are two stacks, because one stack of masked kernels has a blind spot: some values that it may read are out of its
reach, however deep it is. The *time stack*, which the paper calls vertical, convolves over (time, frequency) and reads
earlier frames only, because its input comes one frame late. The *frequency stack*, the paper's horizontal one,
convolves along the frequencies of one frame, from low to high, and reads lower ones only, because its input comes one
value late. Each of its blocks is conditioned on what the time stack found at the same cell. Its convolutions are the
layer that is causal over time, run along frequency instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.engine import Symbol
from causalcnn.field import Field
from causalcnn.models.autoregressive import HEAD_SCALE, AutoregressiveConfig, SpectrogramModel, init_head
from causalcnn.models.sample_loop import BandLoop
from causalcnn.models.sampling import IncrementalSampler, Sampler
from causalcnn.nn.base import State, without_gradients
from causalcnn.nn.blocks import ResidualBlock2d
from causalcnn.nn.conv import CausalConv1d, CausalConv2d

__all__ = ["PixelCNN", "PixelCNNConfig"]


@dataclass(frozen=True)
class PixelCNNConfig(AutoregressiveConfig):
    """The settings of a :class:`PixelCNN`, beside those of :class:`AutoregressiveConfig`.

    With the defaults a value reads 34 earlier frames (340 ms) and all lower frequencies of its own frame, and the
    model has 236,000 parameters. In both stacks no layer is dilated by more than what the layers before it already
    read without a hole, so that none of these frames and frequencies is skipped.

    Attributes:
        channels: the channels of both stacks. This and ``hidden`` set the size of the model.
        hidden: the channels inside a block of the time stack.
        first_time_kernel: how many earlier frames, and how many frequencies of each, the first layer of the time stack
            reads. By default 4 × 7; the paper's networks begin with a kernel of 7 × 7, of which a mask leaves the
            upper part.
        first_frequency_kernel: how many lower values the first layer of the frequency stack reads.
        time_dilations: the dilation over (time, frequency) of each block of the time stack, in frames and bands. Its
            kernels are 2 × 3, so the default adds 2 + 4 + 8 + 16 = 30 frames to the 4 of the first layer.
        frequency_dilations: the dilation of each block of the frequency stack, in bands; as many numbers as in
            ``time_dilations``. Its kernels have 3 taps, so the default reads 9 + 2 · (1 + 9 + 27 + 1) = 85 lower
            values, more than a frame of 80 bands has.

    Raises:
        ValueError: a setting out of its range, or two stacks with different numbers of blocks.

    Example:
        >>> from causalcnn.models import PixelCNN, PixelCNNConfig
        >>> smallest = PixelCNNConfig(mels=8, channels=4, time_dilations=((1, 1),), frequency_dilations=(1,))
        >>> PixelCNN(smallest).field.axis("time").past
        5
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
        """A size for a chapter on a CPU: it reads 18 earlier frames (180 ms) and has 42,000 parameters."""
        return cls(channels=32, hidden=16, time_dilations=((2, 1), (4, 2), (8, 4)), frequency_dilations=(1, 9, 27))


class FrequencyBlock(nn.Module):
    """A block of the frequency stack: ``h + mix(relu(conv(relu(h)) + condition))``.

    Both inputs and the output are ``(batch · time, channels, mels)``.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = CausalConv1d(channels, channels, 3, dilation=dilation)  # causal along frequency
        self.mix = CausalConv1d(channels, channels, 1)
        self.relu = nn.ReLU()  # a module, because a probe of the field replaces modules, not functions

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        return h + self.mix(self.relu(self.conv(self.relu(h)) + condition))


class PixelCNN(SpectrogramModel):
    """A PixelCNN without a blind spot: convolutions over earlier frames, and along this frame from low to high.

    What is as in the papers: each value of a picture is predicted from those before it in a fixed order; one stack of
    convolutions reads the rows before, another one the present row, and each block of the second is conditioned on the
    first.

    What is different here, and why:

    - The rows are the frames of a spectrogram, from early to late, and within a frame the order goes from low to high
      frequency. So the model is causal over time and can draw live.
    - Blocks are residual, with ReLU, and dilated: with few layers they reach 180 to 340 ms back. The second paper has
      gated units.
    - An embedding of the band is added in both stacks, because bands are not alike as the pixels of a picture are.
    - By default a value's distribution is a mixture of logistic distributions, as in PixelCNN++. The papers have a
      softmax over 256 values, which needs more data to learn that neighboring values are alike.

    Args:
        config: the settings; ``PixelCNNConfig.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        config: the settings that the model was built with.
        time_blocks: the blocks of the time stack.
        frequency_blocks: the blocks of the frequency stack, as many.

    Shape:
        ``(batch, 1, time, mels)`` from −1 to 1 → the parameters of the output distribution,
        ``(batch, distribution.size, time, mels)``. Between them the time stack gives each block of the frequency
        stack its condition, ``(batch, channels, time, mels)``.

    Raises:
        ValueError: ``config.output`` names no distribution.

    Source:
        van den Oord et al., Pixel Recurrent Neural Networks, arXiv 1601.06759; the two stacks: van den Oord et al.,
        Conditional Image Generation with PixelCNN Decoders, arXiv 1606.05328, §2.2.

    Example:
        >>> import torch
        >>> from causalcnn.models import PixelCNN, PixelCNNConfig
        >>> model = PixelCNN(PixelCNNConfig.tiny())
        >>> tuple(model(torch.zeros(1, 1, 5, 80)).shape)  # 12 parameters for each value
        (1, 12, 5, 80)
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
        """The cells that a value reads, ``(time, frequency)``, composed of the fields of all layers."""
        one_frame_late = Field.product(Field.window([-1]), Field.identity(axis="frequency"))
        time = one_frame_late.then(self.time_input.field)
        frequency = _along_frequency(Field.window([-1]).then(self.frequency_input.field))
        for time_block, frequency_block in zip(self.time_blocks, self.frequency_blocks, strict=True):
            time = time.then(time_block.field)
            frequency = frequency.then(_along_frequency(frequency_block.conv.field)) | time | frequency
        return frequency

    @override
    def initial_time_state(self, x: Tensor) -> State:
        h = x.new_zeros(len(x), self.config.channels, 0, self.config.mels)
        return self.time_input.initial_state(x), *(block.initial_state(h) for block in self.time_blocks)

    def time_stack(self, earlier: Tensor, state: State) -> tuple[list[Tensor], State]:
        """Run the time stack: it gives the condition of each block of the frequency stack.

        Args:
            earlier: the frame before each of the frames to predict, from −1 to 1, ``(batch, 1, time, mels)``.
            state: the states of the input layer and of the blocks.

        Returns:
            The conditions, one for each block, ``(batch, channels, time, mels)``; and the new states.
        """
        h, input_state = self.time_input.step(earlier, state[0])
        h = h + self.band_embedding[0]
        conditions, new_state = [], [input_state]
        for i, (block, condition) in enumerate(zip(self.time_blocks, self.conditions, strict=True)):
            h, block_state = block.step(h, state[i + 1])
            conditions.append(condition(h) + self.band_embedding[2 + i])
            new_state.append(block_state)
        return conditions, tuple(new_state)

    def frequency_stack(self, x: Tensor, condition: list[Tensor]) -> Tensor:
        """Run the frequency stack on all frames at once: frames are rows of a batch, and it convolves over frequency.

        Args:
            x: the true values of the frames, from −1 to 1, ``(batch, 1, time, mels)``.
            condition: what :meth:`time_stack` gave, one for each block, ``(batch, channels, time, mels)``.

        Returns:
            The parameters of the output distribution, ``(batch, distribution.size, time, mels)``.
        """
        batch, _, time, mels = x.shape
        below = F.pad(frames_as_rows(x), (1, -1))  # (batch · time, 1, mels): the value below each
        h = self.frequency_input(below) + self.band_embedding[1, :, 0]
        for block, c in zip(self.frequency_blocks, condition, strict=True):
            h = block(h, frames_as_rows(c))  # (batch · time, channels, mels)
        y = HEAD_SCALE * self.head(h)  # (batch · time, distribution.size, mels)
        return y.view(batch, time, self.distribution.size, mels).transpose(1, 2)

    def _fast_sampler(self, batch_size: int) -> Sampler:
        return PixelCNNSampler(self, batch_size)


class PixelCNNSampler(IncrementalSampler):
    """Runs the frequency stack value by value: it keeps what the convolutions read, and each of them is one product."""

    model: PixelCNN

    @without_gradients
    def __init__(self, model: PixelCNN, rows: int, *, compiled: bool = True) -> None:
        super().__init__(model, rows, compiled=compiled)
        mels = model.config.mels
        self._input = _ValueByValue(model.frequency_input, rows, mels)
        self._blocks = [(_ValueByValue(b.conv, rows, mels), _matrix(b.mix)) for b in model.frequency_blocks]
        self._head = [_matrix(layer) for layer in model.head if isinstance(layer, nn.Conv1d)]
        self._embedding = model.band_embedding[1, :, 0].detach().T.contiguous()  # (mels, channels)

    @override
    def _make_loop(self) -> BandLoop:
        model, channels = self.model, self.model.config.channels

        def parameters(below: Symbol, beside: Symbol) -> Symbol:
            builder = below.builder
            embedding, *conditions = beside.split(channels, dim=1)
            h = builder.lower(model.frequency_input, below)[0] + embedding
            for block, condition in zip(model.frequency_blocks, conditions, strict=True):
                read = builder.lower(block.conv, builder.pointwise("relu", h))[0] + condition
                h = h + builder.lower(block.mix, builder.pointwise("relu", read))[0]
            for matrix, bias in self._head:
                h = builder.matrix(builder.pointwise("relu", h), matrix.numpy(), bias.numpy())
            return h * HEAD_SCALE

        self._head = [_matrix(layer) for layer in model.head if isinstance(layer, nn.Conv1d)]
        return BandLoop(
            model.distribution, self._input_table(), self.rows, parameters, (1 + len(model.frequency_blocks)) * channels
        )

    @override
    def _beside(self, condition: list[Tensor]) -> Tensor:
        embedding = self.model.band_embedding[1, :, 0].expand(self.rows, -1, -1)
        return torch.cat([embedding, *(c[:, :, 0] for c in condition)], dim=1)

    @override
    def begin_frame(self, condition: list[Tensor]) -> None:
        self._conditions = [c[:, :, 0].permute(2, 0, 1).contiguous() for c in condition]  # (mels, rows, channels)

    @override
    def next_value(self, f: int, below: Tensor) -> Tensor:
        h = self._input(f, below) + self._embedding[f]
        for (conv, (mix, bias)), condition in zip(self._blocks, self._conditions, strict=True):
            h = h + torch.addmm(bias, torch.relu_(conv(f, torch.relu(h)) + condition[f]), mix)
        for matrix, bias in self._head:
            h = torch.addmm(bias, torch.relu(h), matrix)
        return HEAD_SCALE * h


class _ValueByValue:
    """A causal convolution that runs along the bands of a frame, from low to high, one value at a time.

    It keeps the inputs of the frame. Those below the lowest band are zeros, which are never overwritten.
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


def frames_as_rows(x: Tensor) -> Tensor:
    """``(batch, channels, time, mels)`` → ``(batch · time, channels, mels)``."""
    return x.transpose(1, 2).flatten(0, 1)


def _along_frequency(field: Field) -> Field:
    """The field over (time, frequency) of a layer that runs along the frequencies of each frame."""
    return Field.product(Field.identity(), Field.window(field.inputs_of(0), axis="frequency"))
