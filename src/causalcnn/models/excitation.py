"""What an LP-WaveNet computes once for each hop, and what it computes for each sample."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.models.autoregressive import HEAD_SCALE
from causalcnn.models.config import ModelConfig
from causalcnn.models.wavenet import NOTHING, through_blocks
from causalcnn.nn.compose import CausalSequential, Composite, Run
from causalcnn.nn.conv import CausalConv1d

__all__ = ["ExcitationNetwork", "HopFit", "LPWaveNetConfig", "next_sample", "of_the_past", "scale_of"]

NOISE = 1e-5
"""White noise that linear prediction expects, relative to the power; less than for prediction alone."""
SHORTEST_PERIOD, LONGEST_PERIOD, EARLY = 32, 320, 4
"""The excitation a period ago is read 4 samples early, so that a network of the past knows on which side of a pulse it
stands. A test compares the periods with those of ``causalcnn.speech.linear_prediction``."""
READ = 4
"""Numbers that the network reads beside each sample, see :func:`of_the_past`."""
LARGEST = 8.0
"""No larger number is read: where a sound begins before its frame, numbers of a size of about 1 may be thousands."""
SMALLEST = 1e-3
"""The smallest standard deviation of an excitation."""
LAGS = LONGEST_PERIOD - SHORTEST_PERIOD + 1
KEPT = LONGEST_PERIOD - EARLY
"""Excitations that are remembered."""


@dataclass(frozen=True)
class LPWaveNetConfig(ModelConfig):
    """The settings of an :class:`LPWaveNet`.

    Attributes:
        lookahead_frames: how many frames of 10 ms later than with its own hop the frame of a sample ends; see
            :class:`MelCondition`.
        order: samples that a prediction is a weighted sum of, from 2 to 320.
        frame_channels: the channels of the network of frames.
        kernel_size: the taps of the dilated convolutions.
        layers: the residual blocks, with dilations of 1, kernel_size, kernel_size², … samples.
        residual_channels: the channels of the path from block to block.
        gate_channels: the channels of the filter, and as many of the gate.
        skip_channels: the channels that each block adds to what the head reads.
        head_channels: the channels of the head's hidden layer.
        feedback_noise: the most noise that is added in training to the samples that are read, relative to the
            excitation. A network that has read flawless samples only would be surprised by its own.

    Raises:
        ValueError: a setting out of its range.

    Example:
        >>> from causalcnn.models import LPWaveNetConfig
        >>> LPWaveNetConfig(kernel_size=3, layers=4).dilations
        (1, 3, 9, 27)
    """

    lookahead_frames: int = 1
    order: int = 32
    frame_channels: int = 96
    kernel_size: int = 4
    layers: int = 4
    residual_channels: int = 64
    gate_channels: int = 64
    skip_channels: int = 64
    head_channels: int = 64
    feedback_noise: float = 0.1

    def __post_init__(self) -> None:
        sizes = ("residual_channels", "gate_channels", "skip_channels", "head_channels", "frame_channels")
        self._check_integers("kernel_size", "layers", *sizes)
        self._check_integers("order", least=2)
        self._check_integers("lookahead_frames", least=0)
        if self.order > LONGEST_PERIOD:
            raise ValueError(f"order is {self.order}; it is at most {LONGEST_PERIOD}")
        if not 0 <= self.feedback_noise < math.inf:
            raise ValueError(f"feedback_noise is {self.feedback_noise}; it must be 0 or more")

    @property
    def dilations(self) -> tuple[int, ...]:
        """The dilation of each residual block, in samples."""
        return tuple(self.kernel_size**i for i in range(self.layers))

    @classmethod
    def tiny(cls) -> Self:
        """A size for a test."""
        return cls(order=16, frame_channels=16, kernel_size=2, layers=3, residual_channels=8, gate_channels=8,
                   skip_channels=8, head_channels=8)  # fmt: skip

    @classmethod
    def base(cls) -> Self:
        """The shipped one."""
        return cls()


class HopFit(NamedTuple):
    """What linear prediction says of each hop, in the dtype of the frames.

    Attributes:
        weights: of the samples 1 … order before, ``(batch, hops, order)``.
        level: the root mean square of the samples, ``(batch, hops)``.
        error: that of the excitation, ``(batch, hops)``.
        taps: the weights of the excitations 32 … 320 samples before, ``(batch, hops, 289)``.
        alike: how alike they are at the best lag, ``(batch, hops)``.
    """

    weights: Tensor
    level: Tensor
    error: Tensor
    taps: Tensor
    alike: Tensor

    @classmethod
    def of(cls, frames: Tensor, order: int) -> HopFit:
        """Fit to frames, ``(batch, 80, hops)``."""
        from causalcnn.speech.linear_prediction import SILENCE, fit_to_frames

        fit = fit_to_frames(frames, order=order, noise=NOISE)
        level, error = (power.clamp(min=SILENCE**2).sqrt() for power in (fit.power, fit.error))
        return cls(*(each.to(frames) for each in (fit.weights, level, error, *fit.period_taps())))

    def packed(self) -> Tensor:
        """Put together what :func:`next_sample` reads: weights and taps, oldest first, level, and error.

        Returns:
            ``(batch, order + 289 + 2, hops)``.
        """
        of_lags = torch.cat([self.weights.flip(-1), self.taps.flip(-1)], dim=-1).movedim(1, 2)
        return torch.cat([of_lags, self.level.unsqueeze(1), self.error.unsqueeze(1)], dim=1)


def of_the_past(last: Any, prediction: Any, excitation: Any, periodic: Any, level: Any, error: Any) -> Any:
    """Put together what the network reads of the past: four numbers of a size of about 1.

    Args:
        last: the sample before, ``(batch, 1, …)``, as all others.
        prediction: what linear prediction says of the sample.
        excitation: the last error of prediction.
        periodic: those of a period ago.
        level: the root mean square of the samples.
        error: that of the excitation.

    Returns:
        ``(batch, 4, …)``.
    """
    read = torch.cat([last / level, prediction / level, excitation / error, periodic / error], dim=1)
    return read.clamp(-LARGEST, LARGEST)


def scale_of(raw: Any) -> Any:
    """Make the standard deviation of the excitation of the second number that the network gives, of any shape."""
    return F.softplus(raw) + SMALLEST


def next_sample(
    heard: Any, errors: Any, known: Any, noise: Any, network: Callable[[Any], Any], total: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """Draw a sample. Numbers, or symbols of a plan: both engines run this.

    Args:
        heard: the last ``order`` samples, oldest first, ``(batch, order)``.
        errors: the last 316 excitations, oldest first, ``(batch, 316)``.
        known: of its hop, :meth:`HopFit.packed`, then what the frames add to filters and gates, ``(batch, channels)``.
        noise: a number from a standard normal distribution, ``(batch, 1)``.
        network: :class:`ExcitationNetwork`.
        total: sums over the channels, and keeps their axis.

    Returns:
        The sample in −1 … 1, and its excitation, ``(batch, 1)`` each.
    """
    order = heard.shape[1]
    weights, taps = known[:, :order], known[:, order : order + LAGS]
    level, error = known[:, order + LAGS : order + LAGS + 1], known[:, order + LAGS + 1 : order + LAGS + 2]
    prediction = total(heard * weights)
    past = of_the_past(
        heard[:, order - 1 :], prediction, errors[:, KEPT - 1 :], total(errors[:, :LAGS] * taps), level, error
    )
    mean, raw = network(torch.cat([past, known[:, order + LAGS + 2 :]], dim=1)).chunk(2, dim=1)
    sample = (prediction + error * (mean + scale_of(raw) * noise)).clamp(-1, 1)
    return sample, sample - prediction


class Block(nn.Module):
    """The layers of a gated residual block, as in a WaveNet; what stands beside a sample comes ready for the gates."""

    def __init__(self, config: LPWaveNetConfig, dilation: int, *, last: bool) -> None:
        super().__init__()
        c = config
        self.dilated = CausalConv1d(c.residual_channels, 2 * c.gate_channels, c.kernel_size, dilation=dilation)
        self.skip = CausalConv1d(c.gate_channels, c.skip_channels, 1)
        self.residual = None if last else CausalConv1d(c.gate_channels, c.residual_channels, 1)


class ExcitationNetwork(Composite):
    """The part of an :class:`LPWaveNet` that runs for each sample.

    Args:
        config: the settings.

    Attributes:
        takes_frames: True; see :class:`~causalcnn.nn.Composite`.
        blocks: the residual blocks, in order.

    Shape:
        ``(batch, in_channels, time)``: four numbers of the past, then what each block adds to its filter and gate
        → of the excitation the mean, and what softplus makes the scale of, ``(batch, 2, time)``.
    """

    takes_frames = True
    blocks: Sequence[Block]

    def __init__(self, config: LPWaveNetConfig) -> None:
        super().__init__()
        c = config
        self.gates = 2 * c.gate_channels
        self.input = CausalConv1d(READ, c.residual_channels, 1)
        self.blocks = nn.ModuleList(  # type: ignore[assignment]
            Block(c, dilation, last=i + 1 == c.layers) for i, dilation in enumerate(c.dilations)
        )
        hidden, output = CausalConv1d(c.skip_channels, c.head_channels, 1), CausalConv1d(c.head_channels, 2, 1)
        with torch.no_grad():
            output.weight.mul_(0.2 / HEAD_SCALE)  # begins near a mean of 0 and a scale of 0.7
            nn.init.zeros_(output.bias)  # type: ignore[arg-type]
        self.head = CausalSequential(nn.ReLU(), hidden, nn.ReLU(), output)

    @property
    def in_channels(self) -> int:
        """How many channels the input has."""
        return READ + self.gates * len(self.blocks)

    @property
    def past_field(self) -> Field:
        """The times at which the numbers of the past are read."""
        return through_blocks(self._dilated_fields, Field.identity(), NOTHING)

    @property
    def beside_field(self) -> Field:
        """The times at which is read what stands beside the samples."""
        return through_blocks(self._dilated_fields, NOTHING, Field.identity())

    @property
    @override
    def field(self) -> Field:
        return self.past_field | self.beside_field

    @property
    def _dilated_fields(self) -> tuple[Field, ...]:
        return tuple(block.dilated.field for block in self.blocks)

    @override
    def compose(self, x: Tensor, run: Run) -> Tensor:
        h = run(self.input, x[:, :READ])
        beside = x[:, READ:].split(self.gates, dim=1)
        skips = []
        for block, own in zip(self.blocks, beside, strict=True):
            filter, gate = (run(block.dilated, h) + own).chunk(2, dim=1)
            z = torch.tanh(filter) * torch.sigmoid(gate)
            skips.append(run(block.skip, z))
            if block.residual is not None:
                h = h + run(block.residual, z)
        return HEAD_SCALE * run(self.head, functools.reduce(operator.add, skips))
