"""A small MelNet: recurrent layers along time, along the frequencies of earlier frames, and up this frame.

The *time stack* (time-delayed in the paper) reads earlier frames only, because its input comes one frame late: in
each layer a GRU runs over the frequencies of a frame in both directions, then another along time, its weights shared
across bands. Beside it the *central* GRU reads whole frames. The *frequency stack* (frequency-delayed) runs up the
frequencies of the present frame, whose values come one band late, and is conditioned on what the other two found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.models.autoregressive import (
    HEAD_SCALE,
    AutoregressiveConfig,
    AutoregressiveModel,
    init_head,
    ordered_field,
)
from causalcnn.models.sampling import IncrementalSampler, Sampler
from causalcnn.nn.base import State

__all__ = ["MelNet", "MelNetConfig"]


@dataclass(frozen=True)
class MelNetConfig(AutoregressiveConfig):
    """The sizes of a :class:`MelNet`; others as for :class:`~causalcnn.models.AutoregressiveConfig`.

    Attributes:
        output: the paper has a mixture of Gaussians.
        channels: of a cell, in both stacks.
        layers: of both stacks.
        central: size of the state of the GRU that reads whole frames.
    """

    output: str = "gaussian-mixture-4"
    channels: int = 64
    layers: int = 2
    central: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_integers("channels", "layers", "central")

    @classmethod
    def tiny(cls) -> MelNetConfig:
        """For a chapter on a CPU: one layer."""
        return cls(channels=24, layers=1, central=128)


class TimeLayer(nn.Module):
    """A layer of the time stack: ``h + mix(both ways along frequency)``, then ``h + mix(along time)``.

    One after the other and not side by side as in the paper, so that a single layer reads all that was before.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.along_frequency = nn.GRU(channels, channels, batch_first=True, bidirectional=True)
        self.along_time = nn.GRU(channels, channels, batch_first=True)
        self.mix_frequency = nn.Linear(2 * channels, channels)
        self.mix_time = nn.Linear(channels, channels)

    def forward(self, h: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One piece of the sequence.

        Args:
            h: ``(batch, time, mels, channels)``.
            state: of the GRU along time, ``(batch, channels, 1, mels)``: laid out like one frame of the library's 2D
                inputs, with the batch first, as ``reset_rows`` needs it.

        Returns:
            The same shapes.
        """
        batch, time, mels, channels = h.shape
        y, _ = self.along_frequency(h.flatten(0, 1))  # (batch · time, mels, 2 · channels)
        h = h + self.mix_frequency(y).view_as(h)
        sequences = h.transpose(1, 2).reshape(batch * mels, time, channels)  # one for each band; all share the weights
        # torch wants the state of a GRU as (1, sequences, channels).
        y, h_n = self.along_time(sequences, state.permute(2, 0, 3, 1).reshape(1, batch * mels, channels))
        h = h + self.mix_time(y.view(batch, mels, time, channels).transpose(1, 2))
        return h, h_n.view(batch, mels, 1, channels).permute(0, 3, 2, 1)


class FrequencyLayer(nn.Module):
    """A layer of the frequency stack: ``h + mix(GRU(h + condition))``.

    Shape:
        ``(batch · time, mels, channels)`` twice → the same
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(channels, channels, batch_first=True)  # up the frequencies of a frame
        self.mix = nn.Linear(channels, channels)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        return h + self.mix(self.rnn(h + condition)[0])


class MelNet(AutoregressiveModel):
    """A small MelNet: all earlier frames, then this frame from low to high frequency, by recurrent layers.

    Args:
        config: the sizes; ``MelNetConfig.tiny()`` by default.

    Shape:
        ``(batch, 1, time, mels)`` from −1 to 1 → the parameters of the output distribution,
        ``(batch, distribution.size, time, mels)``.

    Source:
        Vasquez and Lewis, arXiv 1906.01083, §4: one tier, without a text to speak, GRUs of a few dozen cells; the
        directions of a layer of the time stack follow each other, and the band is given as an embedding.

    Example:
        >>> model = MelNet(MelNetConfig.tiny())
        >>> tuple(model(torch.zeros(1, 1, 5, 80)).shape) == (1, model.distribution.size, 5, 80)
        True
        >>> [model.field.reads((900, 40), cell) for cell in ((900, 39), (900, 40), (0, 79))]
        [True, False, True]
    """

    name: ClassVar[str] = "melnet"
    Config = MelNetConfig
    config: MelNetConfig
    time_layers: Sequence[TimeLayer]
    frequency_layers: Sequence[FrequencyLayer]

    def __init__(self, config: MelNetConfig | None = None) -> None:
        super().__init__(config or MelNetConfig.tiny())
        c = self.config
        self.time_input = nn.Linear(1, c.channels)
        self.frequency_input = nn.Linear(1, c.channels)
        self.band_embedding = nn.Parameter(torch.randn(2, c.mels, c.channels) * 0.1)  # one for each stack
        self.time_layers = nn.ModuleList(  # type: ignore[assignment]
            TimeLayer(c.channels) for _ in range(c.layers)
        )
        self.central = nn.GRU(c.mels, c.central, batch_first=True)
        self.mix_central = nn.Linear(c.central, c.channels)
        self.frequency_layers = nn.ModuleList(  # type: ignore[assignment]
            FrequencyLayer(c.channels) for _ in range(c.layers)
        )
        self.head = nn.Linear(c.channels, self.distribution.size)
        init_head(self.head, self.distribution)

    @property
    def field(self) -> Field:
        """Every frame before, all frequencies, and the lower frequencies of this one."""
        return ordered_field(None, self.config.mels)

    def initial_time_state(self, x: Tensor) -> State:
        """Of the layers of the time stack, and of the central GRU."""
        c = self.config
        layers = tuple(x.new_zeros(len(x), c.channels, 1, c.mels) for _ in range(c.layers))
        return layers, x.new_zeros(len(x), c.central)

    def time_stack(self, earlier: Tensor, state: State) -> tuple[list[Tensor], State]:
        """The condition of each layer of the frequency stack, ``(batch, time, mels, channels)``."""
        layer_states, central_state = state
        y, h_n = self.central(earlier[:, 0], central_state[None])  # (batch, time, central)
        central = self.mix_central(y)[:, :, None]  # (batch, time, 1, channels)
        h = self.time_input(earlier.movedim(1, -1)) + self.band_embedding[0]  # (batch, time, mels, channels)
        conditions, new_states = [], []
        for layer, layer_state in zip(self.time_layers, layer_states, strict=True):
            h, new_state = layer(h, layer_state)
            conditions.append(h + central)
            new_states.append(new_state)
        return conditions, (tuple(new_states), h_n[0])

    def frequency_stack(self, x: Tensor, condition: list[Tensor]) -> Tensor:
        """Frames are rows of a batch, frequency is the axis of the GRUs."""
        batch, _, time, mels = x.shape
        below = F.pad(x, (1, -1)).reshape(batch * time, mels, 1)  # the value below each
        h = self.frequency_input(below) + self.band_embedding[1]  # (batch · time, mels, channels)
        for layer, c in zip(self.frequency_layers, condition, strict=True):
            h = layer(h, c.flatten(0, 1))
        return (HEAD_SCALE * self.head(h)).view(batch, time, mels, self.distribution.size).permute(0, 3, 1, 2)

    def _fast_sampler(self, batch_size: int) -> Sampler:
        return MelNetSampler(self, batch_size)


class MelNetSampler(IncrementalSampler):
    """The frequency stack value by value: each GRU keeps its state from band to band."""

    model: MelNet

    def begin_frame(self, condition: list[Tensor]) -> None:
        """Set the states of the GRUs to zero, and lay the condition of this frame out by bands."""
        self._conditions = [c[:, 0].transpose(0, 1) for c in condition]  # (mels, rows, channels)
        self._states = [c.new_zeros(self.rows, self.model.config.channels) for c in condition]

    def next_value(self, f: int, below: Tensor) -> Tensor:
        """The parameters of value ``f``, ``(rows, distribution.size)``."""
        model = self.model
        h = model.frequency_input(below) + model.band_embedding[1, f]  # (rows, channels)
        for i, layer in enumerate(model.frequency_layers):
            weights = layer.rnn.all_weights[0]
            self._states[i] = torch.gru_cell(h + self._conditions[i][f], self._states[i], *weights)
            h = h + layer.mix(self._states[i])
        return HEAD_SCALE * model.head(h)
