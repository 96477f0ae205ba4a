"""WaveNet as a vocoder: from log-mel frames to the samples that they describe."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.models.distributions import bits_per_dimension
from causalcnn.models.wavenet import WaveNet, WaveNetConfig
from causalcnn.nn.base import CausalModule, Engine, State

if TYPE_CHECKING:
    from causalcnn.speech import LogMel, SampleBatch

__all__ = ["MelCondition", "Vocoder", "VocoderConfig"]

MELS, HOP_SAMPLES = 80, 160
"""Of the front end, which is imported when it is first used; a test compares them."""


class MelCondition(CausalModule):
    """The log-mel frame that stands beside each sample, at the rate of the samples.

    Frame ``h`` of the front end ends with hop ``h``, whose samples are ``160·h … 160·h + 159``. A sample of hop ``h``
    gets frame ``h + lookahead_frames``. So with 0 it gets the frame that ends with its own hop: a frame that ended
    before the sample would say nothing that the earlier samples do not say. All samples of a hop come together, as soon
    as their frame is complete (the block convention).

    Args:
        lookahead_frames: how many frames of 10 ms later than with its own hop the frame of a sample ends, ≥ 0.

    Attributes:
        lookahead_frames: as given, in frames.
        front_end: from samples to log-mel frames.

    Shape:
        ``(batch, 1, samples)`` in −1 … 1 at 16,000 Hz → ``(batch, 80, known)``, from −1 to 1 where the level is from
        −100 to 0 dB; ``known`` are the samples whose frame is complete, a multiple of 160.

    Raises:
        ValueError: ``lookahead_frames`` is below 0.

    Example:
        >>> import torch
        >>> from causalcnn.models import MelCondition
        >>> [MelCondition(frames)(torch.zeros(1, 1, 1000)).shape[2] for frames in (0, 1, 3)]
        [960, 800, 480]
        >>> [1000 * MelCondition(frames).field.latency() for frames in (0, 1)]  # ms
        [9.9375, 19.9375]
    """

    lookahead_frames: int
    front_end: LogMel

    def __init__(self, lookahead_frames: int = 0) -> None:
        super().__init__()
        from causalcnn.speech import LogMel

        self.lookahead_frames = at_least("lookahead_frames", lookahead_frames, 0)
        self.front_end = LogMel()

    @property
    @override
    def field(self) -> Field:
        return _samples_read(self.front_end.field, self.lookahead_frames, Field.identity(), Field.window([]))

    @override
    def initial_state(self, x: Tensor) -> State:
        left_to_drop = torch.full((len(x),), self.lookahead_frames, dtype=torch.int64, device=x.device)
        return self.front_end.initial_state(x), left_to_drop

    @override
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames, state = self.step_frames(x, state)
        return self.upsample(frames), state

    def step_frames(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the frames that the next samples complete and that stand beside samples.

        Args:
            x: the next samples, ``(batch, 1, time)``.
            state: as for :meth:`step`.

        Returns:
            Log-mel in dB, one frame for each hop, ``(batch, 80, hops)``, and the new state.
        """
        waiting, left_to_drop = state
        frames, waiting = self.front_end.step(x, waiting)
        dropped = min(int(left_to_drop[0]), frames.shape[2])  # the first frames of all are beside no sample
        return frames[:, :, dropped:], (waiting, left_to_drop - dropped)

    @override
    def reset_rows(self, state: State, rows: Tensor | list[int], x: Tensor) -> State:
        check_reset(self.lookahead_frames)
        return super().reset_rows(state, rows, x)

    def upsample(self, frames: Tensor) -> Tensor:
        """Repeat each frame for the 160 samples of a hop.

        Args:
            frames: log-mel in dB, ``(batch, 80, frames)``.

        Returns:
            The condition, ``(batch, 80, 160 · frames)``, from −1 to 1 where the level is from −100 to 0 dB.
        """
        return (frames / 50 + 1).repeat_interleave(HOP_SAMPLES, dim=2)


@dataclass(frozen=True)
class VocoderConfig(WaveNetConfig):
    """The settings of a :class:`Vocoder`, which are those of its WaveNet and one more.

    Attributes:
        condition_channels: 80, one for each mel band.
        lookahead_frames: how many frames of 10 ms later than with its own hop the frame of a sample ends; see
            :class:`MelCondition`.

    Raises:
        ValueError: a setting out of its range.

    Example:
        >>> from causalcnn.models import VocoderConfig
        >>> config = VocoderConfig.tiny().with_(lookahead_frames=2)
        >>> config.layers, config.condition_channels
        (8, 80)
    """

    condition_channels: int = MELS
    lookahead_frames: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_integers("lookahead_frames", least=0)
        if self.condition_channels != MELS:
            raise ValueError(
                f"condition_channels is {self.condition_channels}; a vocoder has {MELS}, one for each band"
            )


class Vocoder(CausalModule):
    """A :class:`WaveNet` whose condition is the log-mel of the very sound that it predicts.

    As a layer it reads true samples in two ways: as the earlier samples of WaveNet, and as the frames beside each
    sample. When it speaks (:meth:`generate`), the frames are given and the samples are its own. A sample can be drawn
    when the frame beside it is complete, which is up to ``160·(lookahead_frames + 1) − 1`` samples later; so far
    :attr:`field` looks ahead, and so long is the latency from microphone to sample.

    Args:
        config: the settings; ``VocoderConfig.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        config: the settings that the model was built with.
        wavenet: the network.
        condition: from samples to the frame beside each.

    Shape:
        ``(batch, 1, samples)`` in −1 … 1 at 16,000 Hz → the parameters of the output distribution,
        ``(batch, distribution.size, known)``; ``known`` are the samples whose frame is complete, a multiple of 160.

    Source:
        van den Oord et al., WaveNet, arXiv 1609.03499, §2.5; conditioned on mel frames: Shen et al., Natural TTS
        Synthesis by Conditioning WaveNet on Mel Spectrogram Predictions, arXiv 1712.05884, §2.3.

    Example:
        >>> import torch
        >>> from causalcnn.models import Vocoder, VocoderConfig
        >>> vocoder = Vocoder(VocoderConfig(layers=3, lookahead_frames=2))
        >>> tuple(vocoder(torch.zeros(1, 1, 800)).shape)
        (1, 256, 480)
        >>> vocoder.field.lookahead, 1000 * vocoder.field.latency()  # samples, ms
        (479, 29.9375)
    """

    name: ClassVar[str] = "vocoder"
    Config: ClassVar[type[VocoderConfig]] = VocoderConfig
    config: VocoderConfig
    wavenet: WaveNet
    condition: MelCondition

    def __init__(self, config: VocoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or VocoderConfig.tiny()
        self.wavenet = WaveNet(self.config)
        self.condition = MelCondition(self.config.lookahead_frames)

    @property
    @override
    def field(self) -> Field:
        frames, net = self.condition, self.wavenet
        return _samples_read(frames.front_end.field, frames.lookahead_frames, net.condition_field, net.sample_field)

    @override
    def initial_state(self, x: Tensor) -> State:
        return {
            "condition": self.condition.initial_state(x),
            "waiting": x.new_zeros(len(x), 1, 0),
            "wavenet": self.wavenet.initial_state(x.new_zeros(len(x), self.wavenet.in_channels, 0)),
        }

    @override
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        beside, condition = self.condition.step(x, state["condition"])
        samples = torch.cat([state["waiting"], x], dim=2)
        known = beside.shape[2]
        read = self.wavenet.to_input(self.wavenet.to_bins(samples[:, 0, :known]), beside)
        parameters, inner = self.wavenet.step(read, state["wavenet"])
        return parameters, {"condition": condition, "waiting": samples[:, :, known:].clone(), "wavenet": inner}

    @override
    def reset_rows(self, state: State, rows: Tensor | list[int], x: Tensor) -> State:
        check_reset(self.config.lookahead_frames)
        return super().reset_rows(state, rows, x)

    def log_prob(self, samples: Tensor) -> Tensor:
        """Compute the log-probability of each sample whose frame is complete, given those before it and the frames.

        Args:
            samples: in −1 … 1 at 16,000 Hz, ``(batch, samples)``.

        Returns:
            The log-probabilities in nats, float32, ``(batch, known)``.

        Raises:
            ValueError: a sample is NaN or outside −1 … 1.
        """
        beside = self.condition(samples[:, None])
        return self.wavenet.log_prob(self.wavenet.to_bins(samples[:, : beside.shape[2]]), beside)

    def loss(self, batch: SampleBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the bits per sample: the mean of −log₂ of the probability of a real sample whose frame is complete.

        Args:
            batch: pieces of sounds, with a mask of the real samples.

        Returns:
            The loss in bits per sample, a scalar, and the metrics. There is one metric, ``bits``, a scalar, which is
            the same number without a gradient.

        Raises:
            ValueError: a sample is NaN or outside −1 … 1, or the pieces are so short that no frame is complete.
        """
        log_prob = self.log_prob(batch.samples)
        known = log_prob.shape[1]
        if not known:
            shortest = HOP_SAMPLES * (self.config.lookahead_frames + 1)
            raise ValueError(f"the pieces have {batch.samples.shape[1]} samples; this vocoder needs {shortest} or more")
        bits = bits_per_dimension(log_prob.unsqueeze(2), batch.mask[:, :known])
        return bits, {"bits": bits.detach()}

    @torch.no_grad()
    def generate(self, frames: Tensor, *, seed: int = 0, temperature: float = 1.0, engine: Engine = "torch") -> Tensor:
        """Draw the sound that frames describe.

        Args:
            frames: log-mel in dB, ``(batch, 80, frames)``.
            seed: the seed of the draws. The same seed gives the same samples on the same machine.
            temperature: above 0. At 1 the model draws as it has learned; below 1 it prefers likelier samples.
            engine: what draws, as for :meth:`WaveNet.sampler`.

        Returns:
            Samples in −1 … 1, float32, ``(batch, 160 · (frames − lookahead_frames))``. Of the last frames, which only
            look ahead, there is no sound; where there are no others, there is none at all.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: frames of another shape, a temperature that is not above 0, a weight that is not finite, or an
                engine that there is not.
        """
        if frames.dim() != 3 or frames.shape[1] != MELS:
            raise ValueError(f"the frames have shape {tuple(frames.shape)}; they must be (batch, {MELS}, frames)")
        beside = self.condition.upsample(frames[:, :, self.config.lookahead_frames :])
        bins = self.wavenet.generate(
            beside.shape[2], rows=len(frames), condition=beside, seed=seed, temperature=temperature, engine=engine
        )
        return self.wavenet.to_samples(bins)


@functools.lru_cache(maxsize=16)
def _samples_read(front_end: Field, lookahead_frames: int, condition: Field, samples: Field) -> Field:
    """The samples that are read where ``condition`` are the conditions that are read, and ``samples`` the samples.

    The frames of all conditions are found before the samples of a frame: they are few, for a hop has one.
    """
    frame_of_sample = Field.transposed(HOP_SAMPLES, stride=HOP_SAMPLES)
    frames = front_end.then(Field.window([lookahead_frames]))
    return frames.then(frame_of_sample.then(condition)) | samples


def check_reset(lookahead_frames: int) -> None:
    if lookahead_frames:
        raise ValueError(
            f"rows cannot be reset with a look-ahead of {lookahead_frames} frames: the samples that still wait for a "
            "frame would get one of another beginning. Begin a new stream"
        )
