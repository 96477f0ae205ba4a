"""The frame generator of the note of 2019: a causal CNN over past frames starts an RNN that writes the next frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

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
from causalcnn.models.frame_sampling import CompiledFrameSampler, FrameSampler
from causalcnn.models.sampling import Sampler
from causalcnn.nn.base import CausalModule, State
from causalcnn.nn.blocks import Encoder, MultiStackEncoder, ResidualBlock2d
from causalcnn.nn.compose import CausalSequential
from causalcnn.nn.conv import CausalConv2d

__all__ = ["FrameGenerator", "FrameGeneratorConfig"]


@dataclass(frozen=True)
class FrameGeneratorConfig(AutoregressiveConfig):
    """The sizes of the model; others as for :class:`~causalcnn.models.AutoregressiveConfig`.

    Attributes:
        encoder: ``"1d"``: convolutions over time, the bands are channels; ``"2d"``: over time and frequency.
        channels: of the encoder's hidden layers.
        kernel_size: of the encoder, over time.
        blocks: residual blocks of the encoder.
        dilations: one stack of layers for each; several are added (1D only).
        hidden: size of the RNN's state.
        embedding_size: of the embedding of the band that the RNN is writing.
        context_bands: bands of the previous frame, around the one being written, that the RNN reads directly; odd,
            or 0: the past reaches the RNN only through its initial state, as in the note.
    """

    encoder: Literal["1d", "2d"] = "1d"
    channels: int = 128
    kernel_size: int = 3
    blocks: int = 2
    dilations: tuple[int, ...] = (1,)
    hidden: int = 256
    embedding_size: int = 16
    context_bands: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_integers("channels", "kernel_size", "blocks", "hidden", "embedding_size")
        self._check_integers("context_bands", least=0)
        # A card is JSON, which has lists where this has tuples.
        object.__setattr__(self, "dilations", tuple(self.dilations))
        if self.encoder not in ("1d", "2d"):
            raise ValueError(f"encoder is {self.encoder!r}; it must be '1d' or '2d'")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError(f"dilations are {self.dilations}; there must be at least one, each at least 1")
        if self.encoder == "2d" and len(self.dilations) > 1:
            raise ValueError(f"dilations are {self.dilations}; the 2D encoder has one stack, so one dilation")
        if self.context_bands and self.context_bands % 2 == 0:
            raise ValueError(f"context_bands is {self.context_bands}; it must be odd, as it is centred on a band, or 0")

    @classmethod
    def tiny(cls) -> FrameGeneratorConfig:
        """For a chapter on a CPU."""
        return cls(channels=64, hidden=64)

    @classmethod
    def base(cls) -> FrameGeneratorConfig:
        """For a GPU, or for patience; also the size whose speed is measured."""
        return cls()


class FrameGenerator(AutoregressiveModel):
    """Earlier frames → encoder → initial state of a GRU → the values of the next frame, from low to high frequency.

    The encoder is the time stack, the GRU the frequency stack. At each value the GRU reads the one below it, an
    embedding of the band, and, with ``context_bands``, the previous frame's bands around it; a linear layer makes the
    parameters of the distribution from what the GRU read and from its state.

    Args:
        config: the sizes; ``FrameGeneratorConfig.tiny()``, ``.base()``, or your own.

    Shape:
        ``(batch, 1, time, mels)`` from −1 to 1 → the parameters of the output distribution,
        ``(batch, distribution.size, time, mels)``.

    Source:
        the note of 2019; the order of the values is MelNet's (Vasquez and Lewis, arXiv 1906.01083, §3).

    Example:
        >>> model = FrameGenerator(FrameGeneratorConfig.tiny()).eval()
        >>> tuple(model.generate(frames=2, seed=1).shape)
        (1, 2, 80)
        >>> model.field.axis("time").past
        13
    """

    name: ClassVar[str] = "frame-generator"
    Config: ClassVar[type[AutoregressiveConfig]] = FrameGeneratorConfig
    config: FrameGeneratorConfig

    def __init__(self, config: FrameGeneratorConfig | None = None) -> None:
        super().__init__(config or FrameGeneratorConfig.tiny())
        c = self.config
        self.encoder = _encoder_1d(c) if c.encoder == "1d" else _encoder_2d(c)
        encoded = self.encoder(self._to_encoder(torch.zeros(1, 1, 0, c.mels))).shape
        encoded_size = encoded[1] * math.prod(encoded[3:])  # channels, and in 2D the cells of frequency that are left
        self.to_rnn_state = nn.Sequential(nn.ReLU(), nn.Flatten(2), nn.Linear(encoded_size, c.hidden), nn.Tanh())
        self.band_embedding = nn.Parameter(torch.randn(c.mels, c.embedding_size) * 0.3)
        input_size = 1 + c.context_bands + c.embedding_size
        self.rnn = nn.GRU(input_size, c.hidden)
        self.head = nn.Linear(c.hidden + input_size, self.distribution.size)
        init_head(self.head, self.distribution)

    @property
    def field(self) -> Field:
        """The frames that the encoder reads, one further back, and the lower frequencies of this one."""
        times = self.encoder.field.axis("time").inputs_of(0)
        return ordered_field(frozenset(t - 1 for t in times), self.config.mels)

    def initial_time_state(self, x: Tensor) -> State:
        """The encoder's."""
        return self.encoder.initial_state(self._to_encoder(x))

    def time_stack(self, earlier: Tensor, state: State) -> tuple[tuple[Tensor, Tensor], State]:
        """What the GRU begins each frame with: an initial state, and the previous frame.

        Shape: ``(batch, 1, time, mels)`` → ``(batch, time, hidden)`` and ``(batch, 1, time, mels)``
        """
        encoded, state = self.encoder.step(self._to_encoder(earlier), state)
        return (self.rnn_state(encoded), earlier), state

    def frequency_stack(self, x: Tensor, condition: tuple[Tensor, Tensor]) -> Tensor:
        """Frames are rows of a batch, frequency is the axis of the GRU."""
        initial_states, earlier = condition  # (batch, time, hidden), (batch, 1, time, mels)
        batch, _, time, mels = x.shape
        # The value below each, (mels, batch · time, 1), and the previous frame, (mels, batch · time, context_bands).
        below = F.pad(x[:, 0, :, :-1], (1, 0)).reshape(-1, mels).T.unsqueeze(2)
        context = [self.context(earlier).transpose(0, 1)] if self.config.context_bands else []
        embedding = self.band_embedding[:, None].expand(-1, batch * time, -1)  # (mels, batch · time, embedding_size)
        rnn_input = torch.cat([below, *context, embedding], 2)  # (mels, batch · time, input_size)
        h, _ = self.rnn(rnn_input, initial_states.reshape(1, batch * time, -1))  # (mels, batch · time, hidden)
        y = HEAD_SCALE * self.head(torch.cat([h, rnn_input], 2))  # (mels, batch · time, distribution.size)
        return y.view(mels, batch, time, -1).permute(1, 3, 2, 0)  # (batch, distribution.size, time, mels)

    def rnn_state(self, encoded: Tensor) -> Tensor:
        """What the encoder gives, ``(batch, channels, time[, frequency])`` → ``(batch, time, hidden)``."""
        return self.to_rnn_state(encoded.transpose(1, 2))

    def context(self, earlier: Tensor) -> Tensor:
        """The previous frame around each band, ``(batch, 1, time, mels)`` → ``(batch · time, mels, context_bands)``.

        Zeros stand beyond the ends of a frame.
        """
        reach = self.config.context_bands // 2
        return F.pad(earlier.reshape(-1, self.config.mels), (reach, reach)).unfold(1, self.config.context_bands, 1)

    def _to_encoder(self, x: Tensor) -> Tensor:
        """Values ``(batch, 1, time, mels)`` as the encoder takes them: in 1D the bands are channels."""
        return x[:, 0].transpose(1, 2) if self.config.encoder == "1d" else x

    def _fast_sampler(self, batch_size: int) -> Sampler:
        sampler = CompiledFrameSampler if CompiledFrameSampler.fits(self) else FrameSampler
        return sampler(self, batch_size)


def _encoder_1d(c: FrameGeneratorConfig) -> CausalModule:
    sizes = {"kernel_size": c.kernel_size, "blocks": c.blocks}
    if len(c.dilations) == 1:
        return Encoder(c.mels, c.channels, c.channels, dilation=c.dilations[0], **sizes)
    return MultiStackEncoder(
        c.mels, c.channels, c.channels, kernel_sizes=(c.kernel_size,), dilations=c.dilations, blocks=c.blocks
    )


def _encoder_2d(c: FrameGeneratorConfig) -> CausalModule:
    """As deep as the 1D encoder, and reading the same frames; frequency is halved three times."""
    dilation, wide = (c.dilations[0], 1), (c.kernel_size, 4)
    layers: list[nn.Module] = [CausalConv2d(1, c.channels, wide, stride=(1, 2), dilation=dilation)]
    for _ in range(2):
        layers += [nn.ReLU(), CausalConv2d(c.channels, c.channels, wide, stride=(1, 2), dilation=dilation)]
    # The 1D encoder has 2 · blocks + 2 convolutions over time, two of them in each block. Three stand here already, and
    # a 2D block has one (its second is 1 × 1), so 2 · blocks − 1 blocks are left.
    for _ in range(2 * c.blocks - 1):
        layers.append(ResidualBlock2d(c.channels, (c.kernel_size, 3), dilation=dilation))
    return CausalSequential(*layers)
