"""A small MelNet: recurrent layers along time, along the frequencies of earlier frames, and up this frame.

The *time-delayed* stack reads earlier frames only, because its input comes one frame late: in each layer a GRU runs
over the frequencies of a frame in both directions, then another along time, for each frequency alike. Beside it the
*central* GRU reads whole frames. The *frequency-delayed* stack runs up the frequencies of the present frame, whose
values come one cell late, and is told at each cell what the other two found there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.models.autoregressive import HEAD_SCALE, AutoregressiveConfig, begin_broad, ordered_field
from causalcnn.models.recurrent import Recurrent
from causalcnn.models.two_stacks import Climb, Told, TwoStacks
from causalcnn.nn.base import State

__all__ = ["MelNet", "MelNetConfig"]


@dataclass(frozen=True)
class MelNetConfig(AutoregressiveConfig):
    """The sizes of a :class:`MelNet`; the paper's output is a mixture of Gaussians.

    Attributes:
        channels: of a cell, in both stacks. layers: of both stacks.
        central: size of the state of the GRU that reads whole frames.
        Others as for :class:`~causalcnn.models.AutoregressiveConfig`.
    """

    output: str = "gaussian-mixture-4"
    channels: int = 64
    layers: int = 2
    central: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_whole("channels", "layers", "central")

    @classmethod
    def tiny(cls) -> MelNetConfig:
        """For a chapter on a CPU: one layer."""
        return cls(channels=24, layers=1, central=128)


class TimeDelayedLayer(nn.Module):
    """``h + mix(both ways along frequency)``, then ``h + mix(along time)``, on ``(batch, time, mels, channels)``.

    One after the other and not side by side as in the paper, so that a single layer reads all that was before.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.along_frequency = Recurrent(channels, channels, both=True)
        self.along_time = Recurrent(channels, channels)
        self.mix_frequency = nn.Linear(2 * channels, channels)
        self.mix_time = nn.Linear(channels, channels)

    def forward(self, h: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """``state``: of the GRU along time, ``(batch, channels, 1, mels)``."""
        batch, time, mels, channels = h.shape
        found, _ = self.along_frequency(h.flatten(0, 1))
        h = h + self.mix_frequency(found).view_as(h)
        start = state.permute(2, 0, 3, 1).reshape(1, batch * mels, channels)
        kept, last = self.along_time(h.transpose(1, 2).reshape(batch * mels, time, channels), start)
        kept = kept.view(batch, mels, time, channels).transpose(1, 2)
        return h + self.mix_time(kept), last.view(batch, mels, 1, channels).permute(0, 3, 2, 1)


class FrequencyDelayedLayer(nn.Module):
    """``h + mix(GRU(h + what the time-delayed stack found))``, up the frequencies of a frame.

    Shape: ``(frames, mels, channels)``, unchanged; frames are rows here.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = Recurrent(channels, channels)
        self.mix = nn.Linear(channels, channels)

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        return h + self.mix(self.up(h + told)[0])


class MelNet(TwoStacks):
    """A small MelNet: all earlier frames, then this frame from low to high frequency, by recurrent layers.

    Args:
        config: the sizes; ``MelNetConfig.tiny()`` by default.

    Shape:
        ``(batch, 1, time, mels)`` from −1 to 1 → the parameters of the output distribution,
        ``(batch, distribution.size, time, mels)``.

    Source:
        Vasquez and Lewis, arXiv 1906.01083, §4: one tier, without conditioning, GRUs of a few dozen cells; the
        directions of a time-delayed layer follow each other, and a cell is told its frequency by an embedding.

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

    def __init__(self, config: MelNetConfig | None = None) -> None:
        super().__init__(config or MelNetConfig.tiny())
        c = self.config
        self.read_late = nn.Linear(1, c.channels)
        self.read_lower = nn.Linear(1, c.channels)
        # A cell is told its frequency at the bottom of each stack.
        self.where = nn.Parameter(torch.randn(2, c.mels, c.channels) * 0.1)
        self.delayed = nn.ModuleList(TimeDelayedLayer(c.channels) for _ in range(c.layers))
        self.central = Recurrent(c.mels, c.central)
        self.tell = nn.Linear(c.central, c.channels)
        self.upward = nn.ModuleList(FrequencyDelayedLayer(c.channels) for _ in range(c.layers))
        self.parameters_of = nn.Linear(c.channels, self.distribution.size)
        begin_broad(self.parameters_of, self.distribution)

    # ---------------------------------------------------------------------------------------------- the contract
    @property
    def field(self) -> Field:
        """Every frame before, all frequencies, and the lower frequencies of this one."""
        return ordered_field(None, self.config.mels)

    def _start(self, x: Tensor) -> State:
        c = self.config
        along_time = tuple(x.new_zeros(len(x), c.channels, 1, c.mels) for _ in range(c.layers))
        return along_time, x.new_zeros(len(x), c.central)

    def _told(self, late: Tensor, state: State) -> tuple[Told, State]:
        """The time-delayed stack and the central GRU; each layer is told ``(batch, time, mels, channels)``."""
        along_time, central = state
        seen, last = self.central(late[:, 0], central[None])
        whole = self.tell(seen)[:, :, None]
        h = self.read_late(late.movedim(1, -1)) + self.where[0]
        told, new = [], []
        for layer, kept in zip(self.delayed, along_time, strict=True):
            h, kept = layer(h, kept)
            told.append(h + whole)
            new.append(kept)
        return told, (tuple(new), last[0])

    def _up(self, x: Tensor, told: Told) -> Tensor:
        """The frequency-delayed stack: frames are rows of a batch."""
        batch, _, time, mels = x.shape
        lower = F.pad(x, (1, -1)).reshape(batch * time, mels, 1)
        h = self.read_lower(lower) + self.where[1]
        for layer, hint in zip(self._upward(), told, strict=True):
            h = layer(h, hint.flatten(0, 1))
        return (HEAD_SCALE * self.parameters_of(h)).view(batch, time, mels, self.distribution.size).permute(0, 3, 1, 2)

    def _upward(self) -> list[FrequencyDelayedLayer]:
        return list(self.upward)  # type: ignore[arg-type]

    def _climb(self, rows: int) -> Climb:
        return MelClimb(self, rows)


class MelClimb(Climb[MelNet]):
    """The frequency-delayed stack on one frame: each GRU keeps its state from cell to cell."""

    def begin(self, told: Told) -> None:
        self._told = [hint[:, 0].transpose(0, 1) for hint in told]
        blank = self.model.where.new_zeros(self.rows, self.model.config.channels)
        self._kept = [blank for _ in told]

    def at(self, f: int, below: Tensor) -> Tensor:
        model = self.model
        h = model.read_lower(below) + model.where[1, f]
        for i, layer in enumerate(model._upward()):
            self._kept[i] = torch.gru_cell(h + self._told[i][f], self._kept[i], *layer.up.all_weights[0])
            h = h + layer.mix(self._kept[i])
        return HEAD_SCALE * model.parameters_of(h)
