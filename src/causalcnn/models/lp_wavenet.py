"""LP-WaveNet: a vocoder that leaves to linear prediction what linear prediction can do.

A log-mel frame says by itself how a sample follows from those before it, how large the error of this prediction will
be, and how long ago there was an error like the next one. A small WaveNet is left with the error, the *excitation*: it
is noise or the pulses of a voice, and its size is always about 1.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.models.distributions import bits_per_dimension
from causalcnn.models.distributions.normal import log_normal_mass
from causalcnn.models.excitation import (
    EARLY,
    KEPT,
    LAGS,
    LONGEST_PERIOD,
    SHORTEST_PERIOD,
    ExcitationNetwork,
    HopFit,
    LPWaveNetConfig,
    of_the_past,
    scale_of,
)
from causalcnn.models.lp_wavenet_sampler import LPWaveNetSampler
from causalcnn.models.lp_wavenet_search import LPWaveNetSearch
from causalcnn.models.vocoder import HOP_SAMPLES, MELS, MelCondition, check_reset
from causalcnn.nn.base import CausalModule, Engine, State
from causalcnn.nn.compose import CausalSequential
from causalcnn.nn.conv import CausalConv1d

if TYPE_CHECKING:
    from causalcnn.speech import SampleBatch

__all__ = ["LPWaveNet", "LPWaveNetConfig"]

CELL = 2**-15
"""The step of 16-bit samples."""


class LPWaveNet(CausalModule):
    """A WaveNet of the excitation that linear prediction leaves, with all that a frame says worked out beforehand.

    From the log-mel frame beside a sample follow the weights of linear prediction, the size of the error that it will
    make, and at which lags excitations are alike (:func:`causalcnn.speech.fit_to_frames`). The network reads four
    numbers for each sample: the sample before and the prediction, in units of the frame's level, and the excitation
    before and that a period ago, in units of the error. Another network reads the frames, once for each hop, and says
    what is added to all filters and gates. What comes out is a Gaussian for the excitation; shifted by the prediction
    and scaled by the error it is one for the sample.

    As a layer it reads true samples in two ways, as a :class:`Vocoder` does: as the past, and as the frames. When it
    speaks (:meth:`generate`), the frames are given and the past is its own. Samples are numbers, not bins: what is read
    is not rounded.

    The trained one in ``book/checkpoints`` is hoarse: its formants are right, its voices are too noisy. It is
    understood no better than pulses and noise through the same prediction. A phase method with as much look-ahead,
    :class:`causalcnn.speech.OnlineGriffinLim`, comes much closer to the original. The chapter on vocoders measures all
    three.

    Args:
        config: the settings; ``LPWaveNetConfig()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        config: the settings that the model was built with.
        condition: from samples to the frame beside each hop.
        frame_network: from frames to what is added to the filters and gates of each block.
        network: from the past, and what the frames add, to the distribution of the excitation.

    Shape:
        ``(batch, 1, samples)`` in −1 … 1 at 16,000 Hz → the mean and the standard deviation of each sample,
        ``(batch, 2, known)``; ``known`` are the samples whose frame is complete, a multiple of 160.

    Source:
        Hwang et al., LP-WaveNet: Linear Prediction-based WaveNet Speech Synthesis, arXiv 1811.11913; the prediction
        from the features, and noise in what is read: Valin and Skoglund, LPCNet, arXiv 1810.11846.

    Example:
        >>> import torch
        >>> from causalcnn.models import LPWaveNet, LPWaveNetConfig
        >>> vocoder = LPWaveNet(LPWaveNetConfig.tiny())
        >>> tuple(vocoder(torch.zeros(1, 1, 800)).shape)
        (1, 2, 640)
        >>> vocoder.field.lookahead, 1000 * vocoder.field.latency()  # samples, ms
        (319, 19.9375)
    """

    name: ClassVar[str] = "lp-wavenet"
    Config: ClassVar[type[LPWaveNetConfig]] = LPWaveNetConfig
    config: LPWaveNetConfig
    condition: MelCondition
    frame_network: CausalSequential
    network: ExcitationNetwork

    def __init__(self, config: LPWaveNetConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or LPWaveNetConfig()
        self.condition = MelCondition(c.lookahead_frames)
        self.network = ExcitationNetwork(c)
        self.frame_network = CausalSequential(
            CausalConv1d(MELS + 1, c.frame_channels, 3),
            nn.ReLU(),
            CausalConv1d(c.frame_channels, c.frame_channels, 3),
            nn.ReLU(),
            CausalConv1d(c.frame_channels, self.network.gates * c.layers, 1),
        )

    # --------------------------------------------------------------------------------------------- what it reads
    @property
    @override
    def field(self) -> Field:
        c, net = self.config, self.network
        return _samples_read(self.condition.front_end.field, c.lookahead_frames, self.frame_network.field, c.order,
                             net.past_field, net.beside_field)  # fmt: skip

    # ----------------------------------------------------------------------------------------------- the network
    @override
    def initial_state(self, x: Tensor) -> State:
        rows, c = len(x), self.config
        return {
            "condition": self.condition.initial_state(x),
            "waiting": x.new_zeros(rows, 1, 0),
            "samples": x.new_zeros(rows, c.order),
            "excitation": x.new_zeros(rows, KEPT),
            "frame_network": self.frame_network.initial_state(x.new_zeros(rows, MELS + 1, 0)),
            "network": self.network.initial_state(x.new_zeros(rows, self.network.in_channels, 0)),
        }

    @override
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames, condition = self.condition.step_frames(x, state["condition"])
        samples = torch.cat([state["waiting"], x], dim=2)
        known = HOP_SAMPLES * frames.shape[2]
        gaussians, state = self.predict(samples[:, 0, :known], frames, {**state, "condition": condition})
        return gaussians, {**state, "waiting": samples[:, :, known:].clone()}

    @override
    def reset_rows(self, state: State, rows: Tensor | list[int], x: Tensor) -> State:
        check_reset(self.config.lookahead_frames)
        return super().reset_rows(state, rows, x)

    def predict(self, heard: Tensor, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the distribution of the samples of whole hops.

        Args:
            heard: these samples, of which each is read by those after it, ``(batch, 160 · hops)``.
            frames: the log-mel frame beside each hop, in dB, ``(batch, 80, hops)``.
            state: as for :meth:`step`.

        Returns:
            The mean and the standard deviation of each sample, ``(batch, 2, 160 · hops)``, and the new state.
        """
        if not frames.shape[2]:
            return heard.new_zeros(len(heard), 2, 0), state
        fit, beside, frame_state = self.at_frames(frames, state["frame_network"])
        past, prediction, carried = self._past(heard, fit, state)
        parameters, inner = self.network.step(
            torch.cat([past, beside.repeat_interleave(HOP_SAMPLES, dim=2)], dim=1), state["network"]
        )
        error, (mean, raw) = per_sample(fit.error), parameters.unbind(dim=1)
        gaussians = torch.stack([prediction + error * mean, error * scale_of(raw)], dim=1)
        return gaussians, {**state, **carried, "frame_network": frame_state, "network": inner}

    def at_frames(self, frames: Tensor, state: State) -> tuple[HopFit, Tensor, State]:
        """Compute all that is computed once for each hop.

        Args:
            frames: log-mel in dB, ``(batch, 80, hops)``.
            state: of the network of frames.

        Returns:
            The fit; what is added to filters and gates, ``(batch, layers · 2 · gate_channels, hops)``; and the new
            state.
        """
        fit = HopFit.of(frames, self.config.order)
        read = torch.cat([frames / 50 + 1, fit.alike.unsqueeze(1)], dim=1)
        beside, state = self.frame_network.step(read, state)
        return fit, beside, state

    def _past(self, heard: Tensor, fit: HopFit, state: State) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What the network reads of the past ``(batch, 4, time)``, the predictions ``(batch, time)``, what is kept."""
        rows, hops, order = fit.weights.shape
        before = torch.cat([state["samples"], heard], dim=1)
        windows = before[:, :-1].unfold(1, order, 1).unflatten(1, (hops, HOP_SAMPLES))
        prediction = (windows @ fit.weights.flip(-1).unsqueeze(-1)).reshape(rows, -1)
        errors = torch.cat([state["excitation"], heard - prediction], dim=1)
        windows = errors.unfold(1, LAGS + HOP_SAMPLES - 1, HOP_SAMPLES)[:, :hops].unfold(2, LAGS, 1)
        periodic = (windows @ fit.taps.flip(-1).unsqueeze(-1)).reshape(rows, -1)
        last, excitation = before[:, order - 1 : -1], errors[:, KEPT - 1 : -1]
        of_hop = per_sample(fit.level), per_sample(fit.error)
        past = of_the_past(*(x.unsqueeze(1) for x in (last, prediction, excitation, periodic, *of_hop)))
        return past, prediction, {"samples": before[:, -order:].clone(), "excitation": errors[:, -KEPT:].clone()}

    # -------------------------------------------------------------------------------------------------- the loss
    def log_prob(self, samples: Tensor) -> Tensor:
        """Compute the log-probability of the μ-law cell of each sample whose frame is complete.

        The samples that are read are not rounded to cells, in contrast to those of a :class:`Vocoder`.

        Args:
            samples: in −1 … 1 at 16,000 Hz, ``(batch, samples)``.

        Returns:
            The log-probabilities in nats, ``(batch, known)``.

        Raises:
            ValueError: a sample is NaN or outside −1 … 1.
        """
        return self.cell_log_prob(self(samples.unsqueeze(1)), samples)

    def cell_log_prob(self, gaussians: Tensor, samples: Tensor) -> Tensor:
        """Compute what Gaussians have in the μ-law cells of samples.

        A cell has what its 16-bit samples have, each half a step to either side. So digital silence, which lies on the
        edge of two cells, is in one of them.

        Args:
            gaussians: as the layer gives them, ``(batch, 2, known)``.
            samples: in −1 … 1, of which the first ``known`` are priced, ``(batch, samples)``.

        Returns:
            The log-probabilities in nats, ``(batch, known)``.

        Raises:
            ValueError: a sample is NaN or outside −1 … 1.
        """
        from causalcnn.speech import mu_law_edges, mu_law_encode

        bins = mu_law_encode(samples)[:, : gaussians.shape[2]]
        edges = (((mu_law_edges() / CELL).ceil() - 0.5) * CELL).to(gaussians)
        return _log_mass(gaussians, edges[bins], edges[bins + 1])

    def loss(self, batch: SampleBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the bits per 16-bit sample: the mean of −log₂ of the probability of its cell.

        In training the samples that are read have noise, whose size is drawn for each row, from 0 to
        ``feedback_noise`` of the excitation that is expected.

        Args:
            batch: pieces of sounds, with a mask of the real samples.

        Returns:
            The loss in bits per sample, a scalar, and the metrics. There is one metric, ``bits``, a scalar, which is
            the same number without a gradient.

        Raises:
            ValueError: the pieces are so short that no frame is complete.
        """
        x = batch.samples.unsqueeze(1)
        state = self.initial_state(x)
        frames, _ = self.condition.step_frames(x, state["condition"])
        known = HOP_SAMPLES * frames.shape[2]
        if not known:
            shortest = HOP_SAMPLES * (self.config.lookahead_frames + 1)
            raise ValueError(f"the pieces have {x.shape[2]} samples; this vocoder needs {shortest} or more")
        samples = heard = batch.samples[:, :known]
        if self.training and self.config.feedback_noise:
            expected = HopFit.of(frames, self.config.order).error
            size = self.config.feedback_noise * torch.rand(len(x), 1, device=x.device)
            heard = samples + per_sample(expected) * size * torch.randn_like(samples)
        gaussians, _ = self.predict(heard, frames, state)
        log_prob = _log_mass(gaussians, samples - CELL / 2, samples + CELL / 2)
        bits = bits_per_dimension(log_prob.unsqueeze(2), batch.mask[:, :known])
        return bits, {"bits": bits.detach()}

    # ------------------------------------------------------------------------------------------------- speaking
    def sampler(self, rows: int = 1, *, engine: Engine = "torch") -> LPWaveNetSampler:
        """Start a running vocoder, which reads frames while they arrive and gives samples.

        Args:
            rows: how many sounds are made side by side.
            engine: what draws the samples, ``"torch"`` or ``"compiled"``; see :meth:`CausalModule.stream`.

        Returns:
            The sampler.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: a weight is not finite, or there is no such engine.
        """
        return LPWaveNetSampler(self, rows, engine)

    def search(self, candidates: int = 4, patience: int = 1, *, engine: Engine = "torch") -> LPWaveNetSearch:
        """Start a running vocoder that draws several sounds, and goes on with those that fit the frames best.

        Args:
            candidates: how many sounds are drawn side by side.
            patience: hops of 10 ms between draw and decision; they add to the latency.
            engine: what draws the samples, as for :meth:`sampler`.

        Returns:
            The search, which reads frames and gives samples as :meth:`sampler` does, for a single sound.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: fewer than one candidate, a patience below 0, a weight that is not finite, or no such engine.
        """
        return LPWaveNetSearch(self, candidates, patience, engine)

    def generate(self, frames: Tensor, *, seed: int = 0, temperature: float = 1.0, engine: Engine = "torch") -> Tensor:
        """Draw the sound that frames describe.

        Args:
            frames: log-mel in dB, ``(batch, 80, frames)``.
            seed: the seed of the draws. The same seed gives the same samples on the same machine.
            temperature: as for :meth:`LPWaveNetSampler.draw`.
            engine: what draws the samples, as for :meth:`sampler`.

        Returns:
            Samples in −1 … 1, ``(batch, 160 · (frames − lookahead_frames))``. Of the last frames, which only look
            ahead, there is no sound; where there are no others, there is none at all.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: frames of another shape, a temperature that is below 0, a weight that is not finite, or an
                engine that there is not.
        """
        sampler = self.sampler(len(frames), engine=engine)
        return sampler.draw(frames, torch.Generator().manual_seed(seed), temperature=temperature)


def per_sample(at_frames: Tensor) -> Tensor:
    """Numbers of hops ``(batch, hops)`` for each of their samples ``(batch, 160 · hops)``."""
    return at_frames.repeat_interleave(HOP_SAMPLES, dim=1)


def _log_mass(gaussians: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """What Gaussians ``(batch, 2, time)`` have between edges ``(batch, time)``, in nats."""
    mean, scale = gaussians.unbind(dim=1)
    open_below, open_above = low.isinf(), high.isinf()
    low, high = low.clamp(min=-1), high.clamp(max=1)
    return log_normal_mass(((low + high) / 2 - mean) / scale, (high - low) / scale, open_below, open_above)


@functools.lru_cache(maxsize=16)
def _samples_read(
    front_end: Field, lookahead_frames: int, frame_network: Field, order: int, past: Field, beside: Field
) -> Field:
    """The samples that are read.

    First the times at which samples and fits are read, then the frames of those times, then the samples of frames.
    """
    prediction = Field.window(range(-order, 0))
    period = Field.window(range(EARLY - LONGEST_PERIOD, EARLY - SHORTEST_PERIOD + 1))
    excitations = Field.window([-1]) | period
    samples = (prediction | excitations | prediction.then(excitations)).then(past) | prediction
    fits = (Field.identity() | excitations).then(past) | Field.identity()
    frame_of_sample = Field.transposed(HOP_SAMPLES, stride=HOP_SAMPLES)
    frames = front_end.then(Field.window([lookahead_frames]))
    hops = frame_of_sample.then(fits) | frame_network.then(frame_of_sample.then(beside))
    return frames.then(hops) | samples
