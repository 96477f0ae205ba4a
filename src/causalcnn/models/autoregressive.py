"""Models that predict a spectrogram value by value: earlier frames first, then this frame from low to high frequency.

The joint probability of all values is the product of the conditional probabilities of each value, given those before
it, whatever the order; here the order is that of time, and inside a frame that of frequency. So a model has to give
one thing only, the distribution of a value given the values before it: all earlier frames, and the lower frequencies
of its own frame.
"""

from __future__ import annotations

import abc
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.models.distributions import OutputDistribution, bits_per_dimension, get_distribution
from causalcnn.models.sampling import Sampler
from causalcnn.nn.base import CausalModule, State

if TYPE_CHECKING:
    from causalcnn.speech import Batch, UniformBins

__all__ = ["AutoregressiveConfig", "AutoregressiveModel", "init_head", "ordered_field"]

HEAD_SCALE = 8.0
"""What a model's head is multiplied with. The scales of a mixture must shrink far from where they start, and Adam's
step does not grow with the gradient: eight times the head's output gets there sooner."""

Condition = Any
"""What the time stack gives to the frequency stack, for each frame; each model has its own form."""


def init_head(head: nn.Linear | nn.Conv1d, distribution: OutputDistribution) -> None:
    """Make ``HEAD_SCALE`` times the output of a last layer begin near the distribution's initial bias."""
    with torch.no_grad():
        head.weight.mul_(0.2 / HEAD_SCALE)  # 0.2 keeps the first outputs near the bias
        head.bias.copy_(distribution.initial_bias() / HEAD_SCALE)  # type: ignore[union-attr]


@dataclass(frozen=True)
class AutoregressiveConfig:
    """What the configurations of all these models have in common.

    Attributes:
        output: the distribution of a value, see :func:`~causalcnn.models.get_distribution`.
        mels: bands of a frame.
        low_db: lower end of the range of the 256 bins, in dB. ``UniformBins.fitted(corpus)`` learns the range.
        high_db: upper end of the range, in dB.
        scheduled_sampling: in training, the share of the values read that are the model's own samples, all drawn in
            parallel (Duckworth et al., arXiv 1906.04331). The others are the true values; 0 is teacher forcing.

    Raises:
        ValueError: a number that cannot be.
    """

    output: str = "logistic-mixture-4"
    mels: int = 80
    low_db: float = -70.0
    high_db: float = 20.0
    scheduled_sampling: float = 0.0

    def __post_init__(self) -> None:
        self._check_integers("mels")
        if not self.low_db < self.high_db:
            raise ValueError(f"the range goes from {self.low_db} to {self.high_db} dB; the first must be the smaller")
        if not 0 <= self.scheduled_sampling < 1:
            raise ValueError(f"scheduled_sampling is {self.scheduled_sampling}; it is a share, at least 0 and below 1")

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)

    def _check_integers(self, *names: str, least: int = 1) -> None:
        for name in names:
            at_least(name, getattr(self, name), least)


class AutoregressiveModel(CausalModule):
    """The base of the models that predict a spectrogram value by value, made of two stacks of layers.

    The *time stack* reads earlier frames only: its input comes one frame late. The *frequency stack* runs through
    the values of the present frame, from low to high, and reads lower ones only: its input comes one value late. It
    is conditioned on what the time stack found. That is all that makes a model causal in both axes.

    A subclass gives :attr:`field`, :meth:`initial_time_state`, :meth:`time_stack` and :meth:`frequency_stack`, and a
    faster :class:`Sampler` where it can.

    As a layer it reads the true values (teacher forcing), as numbers from −1 to 1 ``(batch, 1, time, mels)``, and gives
    the parameters of the distribution of each, ``(batch, distribution.size, time, mels)``: those at ``(t, f)`` depend
    on frames before ``t``, and on the frequencies below ``f`` of frame ``t``. ``forward`` is a :meth:`step` from the
    initial state (``CausalModule.forward``).

    Spectrograms are bins, integers 0 … 255, in the shape ``(batch, time, mels)``.

    Args:
        config: the sizes.
    """

    name: ClassVar[str]
    Config: ClassVar[type[AutoregressiveConfig]]
    config: AutoregressiveConfig
    distribution: OutputDistribution

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__()
        self.config = config
        self.distribution = get_distribution(config.output)

    # ------------------------------------------------------------------------------------------ the two stacks
    @abc.abstractmethod
    def initial_time_state(self, x: Tensor) -> State:
        """The state of the time stack before any frame.

        Args:
            x: a piece of the input, ``(batch, 1, time, mels)``, perhaps without frames.
        """

    @abc.abstractmethod
    def time_stack(self, earlier: Tensor, state: State) -> tuple[Condition, State]:
        """Continue the time stack by at least one frame.

        Args:
            earlier: the frame before each of the frames to predict, ``(batch, 1, time, mels)``.
            state: of the time stack.

        Returns:
            What the frequency stack is conditioned on, and the new state.
        """

    @abc.abstractmethod
    def frequency_stack(self, x: Tensor, condition: Condition) -> Tensor:
        """The parameters of all values of the frames ``x``, given what the time stack found.

        Shape: ``(batch, 1, time, mels)`` → ``(batch, distribution.size, time, mels)``
        """

    def initial_state(self, x: Tensor) -> State:
        """The frame before the first one, zeros, and the state of the time stack."""
        self._check(x)
        return x.new_zeros(len(x), 1, 1, self.config.mels), self.initial_time_state(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The parameters of the values of the next frames, given their true values (teacher forcing).

        Args:
            x: the next frames, ``(batch, 1, time, mels)``, from −1 to 1; perhaps none.
            state: the frame before them, ``(batch, 1, 1, mels)``, and the state of the time stack.

        Returns:
            ``(batch, distribution.size, time, mels)``, and the new state.
        """
        self._check(x)
        if not x.shape[2]:
            return x.new_zeros(len(x), self.distribution.size, 0, self.config.mels), state
        previous, time_state = state
        frames = torch.cat([previous, x], dim=2)
        condition, time_state = self.time_stack(frames[:, :, :-1], time_state)
        return self.frequency_stack(x, condition), (frames[:, :, -1:].clone(), time_state)

    def _check(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] != 1 or x.shape[3] != self.config.mels or not x.is_floating_point():
            raise ValueError(
                f"the input is {x.dtype} of shape {tuple(x.shape)}; this model reads values from −1 to 1, "
                f"(batch, 1, time, {self.config.mels}). model.to_input(bins) makes them of bins, "
                "model.to_bins(features) makes bins of log-mel in dB"
            )

    # ------------------------------------------------------------------------ from decibels to numbers and back
    @property
    def uniform_bins(self) -> UniformBins:
        """The 256 bins of the data, in dB."""
        from causalcnn.speech import UniformBins

        return UniformBins(self.config.low_db, self.config.high_db)

    def to_bins(self, features: Tensor) -> Tensor:
        """Log-mel in dB ``(batch, mels, time)`` → bins ``(batch, time, mels)``."""
        return self.uniform_bins.encode(features).transpose(1, 2)

    def to_decibels(self, bins: Tensor) -> Tensor:
        """Bins ``(batch, time, mels)`` → log-mel in dB ``(batch, mels, time)``: the centres of their bins."""
        return self.uniform_bins.decode(bins).transpose(1, 2)

    def to_input(self, bins: Tensor) -> Tensor:
        """What the network reads of bins ``(batch, time, mels)``: ``(batch, 1, time, mels)``, from −1 to 1."""
        weight = next(self.parameters())
        return self.distribution.to_input(bins).unsqueeze(1).to(device=weight.device, dtype=weight.dtype)

    # ------------------------------------------------------------------------------------------------ the loss
    def log_prob(self, bins: Tensor) -> Tensor:
        """The log-probability (nats) of each value given those before it.

        Shape: ``(batch, time, mels)`` → the same
        """
        return self._log_prob(bins, self.to_input(bins))

    def _log_prob(self, bins: Tensor, x: Tensor) -> Tensor:
        return self.distribution.log_prob(self(x).movedim(1, -1), bins)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Bits per dimension of the real frames: the mean of −log₂ of the probability of each value.

        Returns:
            The loss, and the metric ``bits``. Only while training, and only where ``scheduled_sampling`` is above 0,
            some of the values read are the model's own.
        """
        bins = self.to_bins(batch.features)
        x = self.to_input(bins)
        if self.training and self.config.scheduled_sampling:
            x = self._with_own_samples(bins, x)
        bits = bits_per_dimension(self._log_prob(bins, x), batch.mask)
        return bits, {"bits": bits.detach()}

    @torch.no_grad()
    def _with_own_samples(self, bins: Tensor, x: Tensor) -> Tensor:
        """The input with a share of its values replaced by the model's own, each drawn given the true ones before it.

        Args:
            bins: ``(batch, time, mels)``.
            x: the input made of them, ``(batch, 1, time, mels)``.

        Returns:
            ``(batch, 1, time, mels)``.
        """
        parameters = self(x).movedim(1, -1)  # (batch, time, mels, distribution.size)
        uniform = torch.rand(*bins.shape, self.distribution.num_uniforms, device=bins.device, dtype=torch.float32)
        own = self.to_input(self.distribution.sample(parameters, uniform))  # (batch, 1, time, mels)
        return torch.where(torch.rand_like(x) < self.config.scheduled_sampling, own, x)

    # ---------------------------------------------------------------------------------------------- generation
    def sampler(self, rows: int = 1, *, reference: bool = False) -> Sampler:
        """A running generation.

        Args:
            rows: how many spectrograms, side by side.
            reference: draw in the slow, obvious way.
        """
        return Sampler(self, rows) if reference else self._fast_sampler(rows)

    def _fast_sampler(self, batch_size: int) -> Sampler:
        return Sampler(self, batch_size)

    @torch.no_grad()
    def generate(
        self,
        frames: int,
        *,
        rows: int = 1,
        prompt: Tensor | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        reference: bool = False,
    ) -> Tensor:
        """Go on freely, each value drawn given all that was drawn before.

        Args:
            frames: how many to draw.
            rows: how many spectrograms, side by side.
            prompt: bins ``(rows, time, mels)`` that were there before; default: nothing.
            seed: of the draws: the same seed gives the same samples on the same machine.
            temperature: below 1 the likelier is preferred; see
                :meth:`~causalcnn.models.OutputDistribution.sample`.
            reference: draw in the slow, obvious way.

        Returns:
            Bins ``(rows, frames, mels)``, without the prompt.

        Raises:
            ValueError: a number or a prompt that cannot be.
        """
        if frames < 0 or rows < 1:
            raise ValueError(f"{frames} frames of {rows} rows; at least 0 frames of 1 row can be drawn")
        sampler = self.sampler(rows, reference=reference)
        if prompt is not None:
            sampler.read(prompt)
        generator = torch.Generator().manual_seed(seed)
        drawn = [sampler.draw(sampler.uniform(generator), temperature) for _ in range(frames)]
        device = next(self.parameters()).device
        return torch.stack(drawn, 1) if drawn else torch.zeros(rows, 0, self.config.mels, dtype=torch.int64).to(device)

    def extra_repr(self) -> str:
        """The configuration."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self.config).items())


def ordered_field(past: frozenset[int] | None, mels: int) -> Field:
    """Value ``(t, f)`` reads all of some earlier frames, and the lower frequencies of its own.

    Args:
        past: the frames, relative to ``t``, all negative; None for every frame before it.
        mels: bands of a frame.
    """
    before = frozenset((t, f) for t in past or () for f in range(mels))
    cells = tuple(before | frozenset((0, lower) for lower in range(f)) for f in range(mels))
    history = (-1,) * mels if past is None else ()
    return Field(
        axes=("time", "frequency"),
        period=(1, mels),  # one phase per band
        advance=(1, 0),  # the next frame reads one frame further; the bands in `cells` are absolute
        cells=cells,
        past_end=history,
    )
