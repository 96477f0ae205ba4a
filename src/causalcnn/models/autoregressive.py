"""Models that predict a spectrogram value by value: earlier frames first, then this frame from low to high frequency.

The joint distribution of all values is the product of each value given those before it, whatever the order; here
the order is that of time, and inside a frame that of frequency. So a model has to say one thing only, the
distribution of a value given the past, and it may read all frames before and the lower frequencies of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.models.distributions import LEVELS, OutputDistribution, bits_per_dimension, get_distribution
from causalcnn.nn.base import CausalModule, State

if TYPE_CHECKING:
    from causalcnn.speech import Batch, UniformBins

__all__ = ["AutoregressiveConfig", "AutoregressiveModel", "Sampler", "ordered_field"]

HEAD_SCALE = 8.0
"""What the last layer's output is multiplied with. A spread of half a level is far from where training begins, and
Adam moves a weight by its rate in a step, whatever the gradient: without it the spreads take hundreds of steps."""


def begin_broad(last: nn.Linear | nn.Conv1d, distribution: OutputDistribution) -> None:
    """Set a last layer so that ``HEAD_SCALE`` times its output begins as the distribution's initial bias, or nearly."""
    with torch.no_grad():
        last.weight.mul_(0.2 / HEAD_SCALE)
        last.bias.copy_(distribution.initial_bias() / HEAD_SCALE)  # type: ignore[union-attr]


@dataclass(frozen=True)
class AutoregressiveConfig:
    """What all models of values have in common.

    Attributes:
        output: the distribution of a value, see :func:`~causalcnn.models.get_distribution`.
        mels: bands of a frame.
        low_db, high_db: the range of the 256 levels. ``UniformBins.fitted(corpus)`` learns it.
        scheduled_sampling: in training, the share of the values read that are the model's own samples instead of the
            truth (scheduled sampling, in parallel: Duckworth et al., arXiv 1906.04331). 0 is teacher forcing.

    Raises:
        ValueError: a number that cannot be.
    """

    output: str = "logistic-mixture-4"
    mels: int = 80
    low_db: float = -70.0
    high_db: float = 20.0
    scheduled_sampling: float = 0.0

    def __post_init__(self) -> None:
        if self.mels < 1:
            raise ValueError(f"mels is {self.mels}; a frame has at least 1 band")
        if not self.low_db < self.high_db:
            raise ValueError(f"the range goes from {self.low_db} to {self.high_db} dB; the first must be the smaller")
        if not 0 <= self.scheduled_sampling < 1:
            raise ValueError(f"scheduled_sampling is {self.scheduled_sampling}; it is a share, at least 0 and below 1")

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)

    def _check_whole(self, *names: str, least: int = 1) -> None:
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; it must be an integer of at least {least}")


class AutoregressiveModel(CausalModule):
    """The base of the models that predict a spectrogram value by value.

    As a layer it reads the values that were there, as numbers from −1 to 1 ``(batch, 1, time, mels)``, and gives
    the parameters of the distribution of each, ``(batch, distribution.size, time, mels)``: those at ``(t, f)`` depend
    on frames before ``t``, and on the frequencies below ``f`` of frame ``t``. A subclass gives that, and a faster
    :class:`Sampler` where it can.

    Levels are integers 0 … 255 in the shape ``(batch, time, mels)``.
    """

    name: ClassVar[str]
    Config: ClassVar[type[AutoregressiveConfig]]
    config: AutoregressiveConfig
    distribution: OutputDistribution

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__()
        self.config = config
        self.distribution = get_distribution(config.output)

    # ------------------------------------------------------------------------ from decibels to numbers and back
    @property
    def bins(self) -> UniformBins:
        """The 256 levels of the data."""
        from causalcnn.speech import UniformBins

        return UniformBins(self.config.low_db, self.config.high_db)

    def levels(self, features: Tensor) -> Tensor:
        """Log-mel in dB ``(batch, mels, time)`` → levels ``(batch, time, mels)``."""
        return self.bins.encode(features).transpose(1, 2)

    def decibels(self, levels: Tensor) -> Tensor:
        """Levels ``(batch, time, mels)`` → log-mel in dB ``(batch, mels, time)``: the centres of their bins."""
        return self.bins.decode(levels).transpose(1, 2)

    def to_input(self, levels: Tensor) -> Tensor:
        """What the network reads of levels ``(batch, time, mels)``: ``(batch, 1, time, mels)``, from −1 to 1."""
        weight = next(self.parameters())
        return self.distribution.to_input(levels).unsqueeze(1).to(device=weight.device, dtype=weight.dtype)

    def _check(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] != 1 or x.shape[3] != self.config.mels or not x.is_floating_point():
            raise ValueError(
                f"the input is {x.dtype} of shape {tuple(x.shape)}; this model reads values from −1 to 1, "
                f"(batch, 1, time, {self.config.mels}). model.to_input(levels) makes them of levels, "
                "model.levels(features) makes levels of log-mel in dB"
            )

    # ------------------------------------------------------------------------------------------- how likely
    def log_prob(self, levels: Tensor) -> Tensor:
        """The log-probability (nats) of each value given those before it.

        Shape: ``(batch, time, mels)`` → the same
        """
        return self._log_prob(levels, self.to_input(levels))

    def _log_prob(self, levels: Tensor, x: Tensor) -> Tensor:
        return self.distribution.log_prob(self(x).movedim(1, -1), levels)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Bits per dimension of the real frames: the mean of −log₂ of the probability of each value.

        Returns:
            The loss, and the metric ``bits``. Only while training, and only where ``scheduled_sampling`` is above 0,
            some of the values read are the model's own.
        """
        levels = self.levels(batch.features)
        x = self.to_input(levels)
        if self.training and self.config.scheduled_sampling:
            x = self._partly_own(levels, x)
        bits = bits_per_dimension(self._log_prob(levels, x), batch.mask)
        return bits, {"bits": bits.detach()}

    @torch.no_grad()
    def _partly_own(self, levels: Tensor, x: Tensor) -> Tensor:
        parameters = self(x).movedim(1, -1)
        uniform = torch.rand(*levels.shape, self.distribution.num_uniforms, device=levels.device, dtype=torch.float32)
        own = self.to_input(self.distribution.sample(parameters, uniform))
        return torch.where(torch.rand_like(x) < self.config.scheduled_sampling, own, x)

    # --------------------------------------------------------------------------------------------- sampling
    def sampler(self, rows: int = 1, *, reference: bool = False) -> Sampler:
        """Draws one frame after the other; see :class:`Sampler`. ``reference``: the slow, obvious way."""
        return Sampler(self, rows) if reference else self._fast_sampler(rows)

    def _fast_sampler(self, rows: int) -> Sampler:
        return Sampler(self, rows)

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
            frames: how many to draw. rows: how many spectrograms, side by side.
            prompt: levels ``(rows, time, mels)`` that were there before; default: nothing.
            seed: of the draws: the same seed gives the same samples on the same machine.
            temperature: below 1 the likelier is preferred; see
                :meth:`~causalcnn.models.OutputDistribution.sample`.
            reference: draw in the slow, obvious way.

        Returns:
            Levels ``(rows, frames, mels)``, without the prompt.

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


ModelT = TypeVar("ModelT", bound=AutoregressiveModel)


class Sampler(Generic[ModelT]):
    """A running generation: :meth:`read` frames that are known, :meth:`draw` the next one.

    This one is the reference: it asks :meth:`step` for the whole frame before each of its values. Faster ones
    override :meth:`read` and :meth:`draw`; what they draw must be the same.
    """

    def __init__(self, model: ModelT, rows: int) -> None:
        if model.training:
            raise RuntimeError("the model is in training mode; call model.eval() before it generates")
        for name, weight in model.named_parameters():
            if not torch.isfinite(weight).all():
                raise ValueError(
                    f"{name} is not finite: this model can draw nothing; see the last checkpoint of its training"
                )
        self.model, self.rows = model, rows
        nothing = torch.zeros(rows, 0, model.config.mels, dtype=torch.int64)
        self.state: State = model.initial_state(model.to_input(nothing))

    def uniform(self, generator: torch.Generator) -> Tensor:
        """The random numbers of one frame: ``(rows, mels, distribution.num_uniforms)`` float64, strictly in (0, 1)."""
        shape = (self.rows, self.model.config.mels, self.model.distribution.num_uniforms)
        return torch.rand(*shape, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)

    @torch.no_grad()
    def read(self, levels: Tensor) -> None:
        """Frames that are known, ``(rows, time, mels)``."""
        wanted = (self.rows, self.model.config.mels)
        if levels.dim() != 3 or (levels.shape[0], levels.shape[2]) != wanted or levels.is_floating_point():
            raise ValueError(
                f"the prompt is {levels.dtype} of shape {tuple(levels.shape)}; it must be integers "
                f"({wanted[0]}, time, {wanted[1]}): model.levels(features)"
            )
        if levels.numel() and not 0 <= int(levels.min()) <= int(levels.max()) < LEVELS:
            raise ValueError(
                f"the prompt has levels from {int(levels.min())} to {int(levels.max())}; they are 0 to {LEVELS - 1}: "
                "model.levels(features)"
            )
        self._read(self.model.to_input(levels))

    @torch.no_grad()
    def draw(self, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The next frame: levels ``(rows, mels)``, a function of what was read and drawn, and of ``uniform``."""
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; it must be above 0")
        return self._draw(uniform, temperature)

    def _read(self, x: Tensor) -> None:
        _, self.state = self.model.step(x, self.state)

    def _draw(self, uniform: Tensor, temperature: float) -> Tensor:
        model = self.model
        levels = torch.zeros(self.rows, 1, model.config.mels, dtype=torch.int64, device=next(model.parameters()).device)
        for f in range(model.config.mels):  # values from f on are not read yet: whatever stands there
            parameters, _ = model.step(model.to_input(levels), self.state)
            levels[:, 0, f] = model.distribution.sample(
                parameters[:, :, 0, f], uniform[:, f].to(levels.device), temperature
            )
        self._read(model.to_input(levels))
        return levels[:, 0]


def ordered_field(past: frozenset[int] | None, mels: int) -> Field:
    """Value ``(t, f)`` reads all of some earlier frames, and the lower frequencies of its own.

    Args:
        past: the frames, relative to ``t``, all negative; None for every frame before it.
        mels: bands of a frame.
    """
    before = frozenset((t, f) for t in past or () for f in range(mels))
    cells = tuple(before | frozenset((0, lower) for lower in range(f)) for f in range(mels))
    history = (-1,) * mels if past is None else ()
    return Field(("time", "frequency"), (1, mels), (1, 0), cells, history)
