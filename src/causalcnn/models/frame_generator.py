"""The frame generator of the note of 2019: a causal CNN over past frames starts an RNN that writes the next frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.models.autoregressive import (
    HEAD_SCALE,
    AutoregressiveConfig,
    SpectrogramModel,
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
    """The settings of a :class:`FrameGenerator`, beside those of :class:`AutoregressiveConfig`.

    With the defaults the model reads 13 earlier frames (130 ms) and has 528,000 parameters.

    Attributes:
        encoder: ``"1d"`` for convolutions over time, in which the bands are channels, or ``"2d"`` for convolutions
            over time and frequency. With as many parameters both predict equally well, so the simpler one is the
            default.
        channels: the channels of the encoder's hidden layers. This and ``hidden`` set the size of the model.
        kernel_size: the taps of the encoder's convolutions over time, each a frame; 3, as in the note.
        blocks: the residual blocks of the encoder, with two convolutions over time each.
        dilations: the frames between the taps, one stack of layers for each number. The outputs of several stacks are
            added; the 2D encoder has one. A frame is 10 ms, so that without dilation an encoder already reads more
            than 100 ms; neither a dilation of 3 nor a second stack predicted better.
        hidden: the size of the GRU's state.
        embedding_size: the size of the embedding that tells the GRU which band it is writing; 16 numbers, few beside
            its state, tell 80 bands apart.
        context_bands: how many bands of the previous frame the GRU reads directly, around the one that it is writing;
            odd, or 0 for none. By default 3. With 0 all of the past has to pass through the initial state, as in the
            note, and a value costs about three quarters of a bit more.

    Example:
        >>> from causalcnn.models import FrameGenerator, FrameGeneratorConfig
        >>> reading_further = FrameGeneratorConfig(channels=8, hidden=8, dilations=(3,))
        >>> FrameGenerator(reading_further).field.axis("time").past
        37
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
        """A size for a chapter on a CPU, with 100,000 parameters. It reads as many frames as the default."""
        return cls(channels=64, hidden=64)

    @classmethod
    def base(cls) -> FrameGeneratorConfig:
        """The default settings, a size for a GPU or for patience. The benchmarks measure how fast this one draws."""
        return cls()


class FrameGenerator(SpectrogramModel):
    """A causal CNN over the past frames starts a GRU, which writes the next frame from low to high frequency.

    The encoder is the time stack: causal convolutions over the earlier frames, whose last output becomes the initial
    state of the GRU. The GRU is the frequency stack. At each band it reads the value below, an embedding of the band,
    and, with ``context_bands``, the bands of the previous frame around this one. A linear layer makes the parameters
    of the distribution from what the GRU read and from its state.

    This is the model that the note of 2019 proposes, with one addition: the GRU also sees the previous frame directly,
    because otherwise all of the past has to pass through one vector. The note left open how a value is predicted; here
    each has a distribution on a grid of 256 bins, so that its price in bits can be compared between models.

    A frame is drawn by a loop over its values that numba compiles, which on a CPU is about ten times as fast as the
    same loop in torch. It is compiled when the first frame is drawn, which takes some seconds once.

    Args:
        config: the settings; ``FrameGeneratorConfig.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        config: the settings that the model was built with.

    Shape:
        ``(batch, 1, time, mels)`` from −1 to 1 → the parameters of the output distribution,
        ``(batch, distribution.size, time, mels)``. Between them the encoder gives the GRU of each frame its initial
        state, ``(batch, time, hidden)``.

    Raises:
        ValueError: ``config.output`` names no distribution.

    Source:
        The note of 2019 of which this library is the continuation. The order of the values is that of MelNet (Vasquez
        and Lewis, arXiv 1906.01083, §3).

    Example:
        >>> import torch
        >>> from causalcnn.models import FrameGenerator, FrameGeneratorConfig
        >>> model, x = FrameGenerator(FrameGeneratorConfig(mels=8, channels=4, hidden=4)), torch.zeros(1, 1, 5, 8)
        >>> tuple(model(x).shape), tuple(model.stream()(x[:, :, :1]).shape)
        ((1, 12, 5, 8), (1, 12, 1, 8))
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
        """The cells that a value reads, which are some earlier frames and the lower frequencies of its own."""
        times = self.encoder.field.axis("time").inputs_of(0)
        return ordered_field(frozenset(t - 1 for t in times), self.config.mels)

    @override
    def initial_time_state(self, x: Tensor) -> State:
        return self.encoder.initial_state(self._to_encoder(x))

    def time_stack(self, earlier: Tensor, state: State) -> tuple[tuple[Tensor, Tensor], State]:
        """Run the encoder: it gives what the GRU begins each frame with.

        Args:
            earlier: the frame before each of the frames to predict, from −1 to 1, ``(batch, 1, time, mels)``.
            state: the state of the encoder.

        Returns:
            The condition and the new state of the encoder. The condition has two parts, the initial state of the GRU
            for each frame, ``(batch, time, hidden)``, and the frame before it, ``(batch, 1, time, mels)``.
        """
        encoded, state = self.encoder.step(self._to_encoder(earlier), state)
        return (self.rnn_state(encoded), earlier), state

    def frequency_stack(self, x: Tensor, condition: tuple[Tensor, Tensor]) -> Tensor:
        """Run the GRU along the frequencies of all frames at once: frames are rows of its batch.

        Args:
            x: the true values of the frames, from −1 to 1, ``(batch, 1, time, mels)``.
            condition: what :meth:`time_stack` gave: initial states, ``(batch, time, hidden)``, and previous frames,
                ``(batch, 1, time, mels)``.

        Returns:
            The parameters of the output distribution, ``(batch, distribution.size, time, mels)``.
        """
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
        """Turn the encoder's output into initial states of the GRU.

        Args:
            encoded: what the encoder gave, ``(batch, channels, time)`` in 1D and
                ``(batch, channels, time, frequency)`` in 2D.

        Returns:
            The initial state for each frame, ``(batch, time, hidden)``.
        """
        return self.to_rnn_state(encoded.transpose(1, 2))

    def context(self, earlier: Tensor) -> Tensor:
        """Cut out the previous frame around each band, with zeros beyond the ends of the frame.

        Args:
            earlier: the previous frame of each frame, from −1 to 1, ``(batch, 1, time, mels)``.

        Returns:
            The values around each band, ``(batch · time, mels, context_bands)``.
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
