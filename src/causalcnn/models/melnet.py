"""A small MelNet: recurrent layers along time, along the frequencies of earlier frames, and up the present frame.

The *time stack*, which the paper calls time-delayed, reads earlier frames only, because its input comes one frame late.
In each of its layers one GRU runs over the frequencies of a frame in both directions, then another one along time, with
the same weights for all bands. Beside it the *central* GRU reads whole frames. The *frequency stack*, which the paper
calls frequency-delayed, runs up the frequencies of the present frame, whose values come one band late; it is
conditioned on what the time stack and the central GRU found.
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
from causalcnn.models.autoregressive import (
    HEAD_SCALE,
    AutoregressiveConfig,
    SpectrogramModel,
    init_head,
    ordered_field,
)
from causalcnn.models.sample_loop import BandLoop
from causalcnn.models.sampling import IncrementalSampler, Sampler
from causalcnn.nn.base import State

__all__ = ["MelNet", "MelNetConfig"]


@dataclass(frozen=True)
class MelNetConfig(AutoregressiveConfig):
    """The settings of a :class:`MelNet`, beside those of :class:`AutoregressiveConfig`.

    With the defaults the model has 520,000 parameters.

    Attributes:
        output: the name of the distribution of a value; a mixture of Gaussians, as in the paper.
        channels: the numbers at each cell (time, frequency), in both stacks. By default 64 instead of the paper's
            several hundred, so that a CPU can train the model.
        layers: the layers of each of the two stacks. One is enough to read all that came before; the default is 2.
        central: the size of the state of the GRU that reads whole frames. It is larger than ``channels``, because it
            has to hold a whole frame.

    Example:
        >>> from causalcnn.models import MelNetConfig
        >>> MelNetConfig.tiny().with_(mels=40).central
        128
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
        """A size for a chapter on a CPU: one layer, and 105,000 parameters."""
        return cls(channels=24, layers=1, central=128)


class TimeLayer(nn.Module):
    """A layer of the time stack: ``h + mix(both ways along frequency)``, then ``h + mix(along time)``.

    In the paper the directions run side by side. Here one follows the other, so that a single layer already reads all
    that came before.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.along_frequency = nn.GRU(channels, channels, batch_first=True, bidirectional=True)
        self.along_time = nn.GRU(channels, channels, batch_first=True)
        self.mix_frequency = nn.Linear(2 * channels, channels)
        self.mix_time = nn.Linear(channels, channels)

    def forward(self, h: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run the layer on the next frames.

        Args:
            h: the frames, ``(batch, time, mels, channels)``.
            state: the state of the GRU along time, ``(batch, channels, 1, mels)``. It is laid out like one frame of the
                library's 2D inputs, with the batch first, because ``reset_rows`` needs it so.

        Returns:
            The output, ``(batch, time, mels, channels)``, and the new state, ``(batch, channels, 1, mels)``.
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

    Both inputs and the output are ``(batch · time, mels, channels)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(channels, channels, batch_first=True)  # up the frequencies of a frame
        self.mix = nn.Linear(channels, channels)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        return h + self.mix(self.rnn(h + condition)[0])


class MelNet(SpectrogramModel):
    """A small MelNet: recurrent layers read all earlier frames, then the present one from low to high frequency.

    What is as in the paper: a spectrogram is predicted value by value, frame after frame and from low to high
    frequency; a time-delayed stack, a central stack and a frequency-delayed stack of recurrent layers share the work;
    each value has a mixture of Gaussians.

    What is different here, and why:

    - There is one tier. The paper generates from coarse to fine in several tiers, and those after the first read
      the whole coarse spectrogram, future included. So they could not run live.
    - There is no text or speaker to condition on. The model is here to be compared with the others.
    - The recurrent layers are GRUs of a few dozen cells, so that a CPU can train them.
    - In a layer of the time stack the directions follow each other instead of running side by side, so that a single
      layer already reads all that came before.
    - An embedding tells both stacks which band a value belongs to, because all bands share their weights.
    - The mixture is put on a grid of 256 bins, where its bits can be compared with those of other distributions.

    Args:
        config: the settings; ``MelNetConfig.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        config: the settings that the model was built with.
        time_layers: the layers of the time stack.
        frequency_layers: the layers of the frequency stack, as many.

    Shape:
        ``(batch, 1, time, mels)`` from −1 to 1 → the parameters of the output distribution,
        ``(batch, distribution.size, time, mels)``. Between them the time stack and the central GRU give each layer of
        the frequency stack its condition, ``(batch, time, mels, channels)``.

    Raises:
        ValueError: ``config.output`` names no distribution.

    Source:
        Vasquez and Lewis, MelNet, arXiv 1906.01083, §4.

    Example:
        >>> import torch
        >>> from causalcnn.models import MelNet, MelNetConfig
        >>> model = MelNet(MelNetConfig(mels=8, channels=4, layers=1, central=4))
        >>> tuple(model(torch.zeros(1, 1, 5, 8)).shape)  # 12 parameters for each value
        (1, 12, 5, 8)
        >>> [model.field.reads((900, 4), cell) for cell in ((900, 3), (900, 4), (0, 7))]
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
        """The cells that a value reads, which are all of the earlier frames and the lower frequencies of its own."""
        return ordered_field(None, self.config.mels)

    @override
    def initial_time_state(self, x: Tensor) -> State:
        c = self.config
        layers = tuple(x.new_zeros(len(x), c.channels, 1, c.mels) for _ in range(c.layers))
        return layers, x.new_zeros(len(x), c.central)

    def time_stack(self, earlier: Tensor, state: State) -> tuple[list[Tensor], State]:
        """Run the time stack and the central GRU: they give the condition of each layer of the frequency stack.

        Args:
            earlier: the frame before each of the frames to predict, from −1 to 1, ``(batch, 1, time, mels)``.
            state: the states of the layers, and that of the central GRU.

        Returns:
            The conditions, one for each layer, ``(batch, time, mels, channels)``; and the new states.
        """
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
        """Run the frequency stack on all frames at once: frames are rows of a batch, and its GRUs run over frequency.

        Args:
            x: the true values of the frames, from −1 to 1, ``(batch, 1, time, mels)``.
            condition: what :meth:`time_stack` gave, one for each layer, ``(batch, time, mels, channels)``.

        Returns:
            The parameters of the output distribution, ``(batch, distribution.size, time, mels)``.
        """
        batch, _, time, mels = x.shape
        below = F.pad(x, (1, -1)).reshape(batch * time, mels, 1)  # the value below each
        h = self.frequency_input(below) + self.band_embedding[1]  # (batch · time, mels, channels)
        for layer, c in zip(self.frequency_layers, condition, strict=True):
            h = layer(h, c.flatten(0, 1))
        return (HEAD_SCALE * self.head(h)).view(batch, time, mels, self.distribution.size).permute(0, 3, 1, 2)

    def _fast_sampler(self, batch_size: int) -> Sampler:
        return MelNetSampler(self, batch_size)


class MelNetSampler(IncrementalSampler):
    """Runs the frequency stack value by value: each GRU keeps its state from band to band."""

    model: MelNet

    @override
    def _make_loop(self) -> BandLoop:
        model, channels = self.model, self.model.config.channels

        def linear(layer: nn.Linear, x: Symbol) -> Symbol:
            return x.builder.matrix(x, layer.weight.numpy().T, layer.bias.numpy())

        def parameters(below: Symbol, beside: Symbol) -> Symbol:
            embedding, *conditions = beside.split(channels, dim=1)
            h = linear(model.frequency_input, below) + embedding
            for layer, condition in zip(model.frequency_layers, conditions, strict=True):
                h = h + linear(layer.mix, below.builder.gru_cell(h + condition, layer.rnn.all_weights[0]))
            return linear(model.head, h) * HEAD_SCALE

        return BandLoop(
            model.distribution, self._input_table(), self.rows, parameters, (1 + len(model.frequency_layers)) * channels
        )

    @override
    def _beside(self, condition: list[Tensor]) -> Tensor:
        embedding = self.model.band_embedding[1].T.expand(self.rows, -1, -1)
        return torch.cat([embedding, *(c[:, 0].transpose(1, 2) for c in condition)], dim=1)

    @override
    def begin_frame(self, condition: list[Tensor]) -> None:
        self._conditions = [c[:, 0].transpose(0, 1) for c in condition]  # (mels, rows, channels)
        self._states = [c.new_zeros(self.rows, self.model.config.channels) for c in condition]

    @override
    def next_value(self, f: int, below: Tensor) -> Tensor:
        model = self.model
        h = model.frequency_input(below) + model.band_embedding[1, f]  # (rows, channels)
        for i, layer in enumerate(model.frequency_layers):
            weights = layer.rnn.all_weights[0]
            self._states[i] = torch.gru_cell(h + self._conditions[i][f], self._states[i], *weights)
            h = h + layer.mix(self._states[i])
        return HEAD_SCALE * model.head(h)
