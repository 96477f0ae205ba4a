"""Models that predict sound value by value: earlier frames first, then this frame from low to high frequency.

The joint probability of all values is the product of the conditional probabilities of each value, given those before
it. This holds for any order of the values. Here they are ordered by time, and inside a frame by frequency. So all that
a model has to compute is the distribution of one value, given the values of all earlier frames and those of the lower
frequencies of its own frame.

:class:`AutoregressiveModel` is what all such models have in common. :class:`SpectrogramModel` is one of spectrograms,
whose values are bins of mel bands; a :class:`CodePrior` is one of codes.
"""

from __future__ import annotations

import abc
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.models.config import ModelConfig
from causalcnn.models.distributions import OutputDistribution, bits_per_dimension, get_distribution
from causalcnn.models.sampling import Sampler
from causalcnn.nn.base import CausalModule, State
from causalcnn.nn.hooks import has_forward_hooks

if TYPE_CHECKING:
    from causalcnn.speech import Batch, UniformBins

__all__ = ["AutoregressiveConfig", "AutoregressiveModel", "SpectrogramModel", "init_head", "ordered_field"]

HEAD_SCALE = 8.0
"""The factor between the output of a model's last layer and the parameters of the distribution. The scales of a mixture
begin broad and must shrink far, and a step of Adam is no longer where the gradient is larger: eight times the output of
the last layer gets there in fewer steps."""

Condition = Any
"""What the time stack gives to the frequency stack for each frame. Each model has its own form of it."""


def init_head(head: nn.Linear | nn.Conv1d, distribution: OutputDistribution) -> None:
    """Scale a last layer so that ``HEAD_SCALE`` times its output begins near the distribution's initial bias."""
    with torch.no_grad():
        head.weight.mul_(0.2 / HEAD_SCALE)  # 0.2 keeps the first outputs near the bias
        head.bias.copy_(distribution.initial_bias() / HEAD_SCALE)  # type: ignore[union-attr]


@dataclass(frozen=True)
class AutoregressiveConfig(ModelConfig):
    """The settings that all autoregressive models of spectrograms have in common.

    Attributes:
        output: the name of the distribution of a value, see :func:`causalcnn.models.get_distribution`. The default, a
            mixture of four logistic distributions, takes 12 parameters a value where a softmax takes 256, and knows
            that neighboring bins are alike.
        mels: the number of bands of a frame; 80, as the front end makes them.
        low_db: the lower end of the range of the 256 bins, in dB. By default the range is 90 dB wide, which is what a
            recording of 16 bits can hold, and fits the embedded voices. :meth:`causalcnn.speech.UniformBins.fitted`
            finds the range of a corpus.
        high_db: the upper end of the range, in dB.
        scheduled_sampling: how many of the values that are read in training are the model's own samples, as a share
            from 0 to below 1. By default it is 0, which is called teacher forcing: all are true values, and the loss
            is the likelihood of the data.

    Raises:
        ValueError: a setting out of its range.

    Source:
        For ``scheduled_sampling``, with all samples drawn in parallel: Duckworth et al., arXiv 1906.04331.

    Example:
        >>> from causalcnn.models import AutoregressiveConfig
        >>> AutoregressiveConfig().with_(mels=40, output="categorical-8")
        AutoregressiveConfig(output='categorical-8', mels=40, low_db=-70.0, high_db=20.0, scheduled_sampling=0.0)
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


class AutoregressiveModel(CausalModule):
    """Base class of the models that predict the values of frames one by one, with two stacks of layers.

    The *time stack* reads earlier frames only, because its input comes one frame late. The *frequency stack* runs
    through the values of the present frame, from low to high frequency, and reads lower ones only, because its input
    comes one value late. It is conditioned on what the time stack found. Nothing else makes a model causal in both
    axes.

    As a layer, a model reads the true values of all frames (teacher forcing) and computes the parameters of the
    distribution of each: those at ``(t, f)`` depend on the frames before ``t``, and in frame ``t`` on the frequencies
    below ``f``. For generation there is :meth:`generate`, or a :meth:`sampler`, which draws frame by frame.

    The values of a frame stand in its *cells*: the bands of a spectrogram, or the places of codes. A value is one of
    ``num_bins`` *bins*, an integer; and :meth:`to_input` turns it into what the network reads, one number or several.

    A subclass defines :attr:`cells`, :meth:`to_input`, :attr:`field`, :meth:`initial_time_state`, :meth:`time_stack`
    and :meth:`frequency_stack`, and a faster :class:`Sampler` where it can.

    Args:
        config: the settings, a frozen dataclass.
        distribution: the output distribution of a value.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of the model's config.
        MAKES_INPUT: where the bins that a user gives come from, for the messages of errors.
        config: the settings that the model was built with.
        distribution: as given.
        input_channels: how many numbers the network reads of a value.

    Shape:
        ``(batch, input_channels, time, cells)`` → the parameters of the output distribution,
        ``(batch, distribution.size, time, cells)``.

    Example:
        >>> from causalcnn.models import PixelCNN, PixelCNNConfig
        >>> model = PixelCNN(PixelCNNConfig(mels=8, channels=4)).eval()
        >>> bins = model.generate(frames=3, seed=1)
        >>> model.cells, tuple(bins.shape), tuple(model.log_prob(bins).shape), tuple(model.to_input(bins).shape)
        (8, (1, 3, 8), (1, 3, 8), (1, 1, 3, 8))
    """

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    MAKES_INPUT: ClassVar[str]
    config: Any
    distribution: OutputDistribution
    input_channels: int = 1

    def __init__(self, config: Any, distribution: OutputDistribution) -> None:
        super().__init__()
        self.config = config
        self.distribution = distribution

    @property
    @abc.abstractmethod
    def cells(self) -> int:
        """The number of values of a frame."""

    @abc.abstractmethod
    def to_input(self, bins: Tensor) -> Tensor:
        """Turn values into what the network reads.

        Args:
            bins: integers from 0 to ``distribution.num_bins − 1``, ``(batch, time, cells)``.

        Returns:
            Numbers, ``(batch, input_channels, time, cells)``, with the device and dtype of the model's weights.
        """

    # ------------------------------------------------------------------------------------------ the two stacks
    @abc.abstractmethod
    def initial_time_state(self, x: Tensor) -> State:
        """Make the state of the time stack before any frame.

        Args:
            x: a piece of the input, ``(batch, input_channels, time, cells)``, perhaps without frames.

        Returns:
            The state of the time stack alone; each model has its own form of it.
        """

    @abc.abstractmethod
    def time_stack(self, earlier: Tensor, state: State) -> tuple[Condition, State]:
        """Continue the time stack by at least one frame.

        Args:
            earlier: the frame before each of the frames to predict, ``(batch, input_channels, time, cells)``.
            state: the state of the time stack.

        Returns:
            What the frequency stack is conditioned on in each frame, in the model's own form; and the new state.
        """

    @abc.abstractmethod
    def frequency_stack(self, x: Tensor, condition: Condition) -> Tensor:
        """Compute the parameters of all values of some frames, given what the time stack found.

        Args:
            x: the true values of these frames, ``(batch, input_channels, time, cells)``. Each value reads only those
                below it.
            condition: what :meth:`time_stack` gave for these frames.

        Returns:
            The parameters of the output distribution, ``(batch, distribution.size, time, cells)``.
        """

    def initial_state(self, x: Tensor) -> State:
        """Make the state before any frame.

        Args:
            x: a piece of the input, ``(batch, input_channels, time, cells)``, perhaps without frames.

        Returns:
            The frame before the first one, which is zeros, ``(batch, input_channels, 1, cells)``, and the state of
            the time stack.

        Raises:
            ValueError: an input of another shape or dtype.
        """
        self._check(x)
        return x.new_zeros(len(x), self.input_channels, 1, self.cells), self.initial_time_state(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the parameters of the values of the next frames, given their true values (teacher forcing).

        Args:
            x: the true values of the next frames, ``(batch, input_channels, time, cells)``; perhaps of no frame.
            state: the state after the frames before, as :meth:`initial_state` or ``step`` returned it. It is not
                changed.

        Returns:
            The parameters of the output distribution, ``(batch, distribution.size, time, cells)``, and the new state.

        Raises:
            ValueError: an input of another shape or dtype.
        """
        self._check(x)
        if not x.shape[2]:
            return x.new_zeros(len(x), self.distribution.size, 0, self.cells), state
        previous, time_state = state
        frames = torch.cat([previous, x], dim=2)
        condition, time_state = self.time_stack(frames[:, :, :-1], time_state)
        return self.frequency_stack(x, condition), (frames[:, :, -1:].clone(), time_state)

    def _check(self, x: Tensor) -> None:
        channels, cells = self.input_channels, self.cells
        if x.dim() != 4 or x.shape[1] != channels or x.shape[3] != cells or not x.is_floating_point():
            raise ValueError(
                f"the input is {x.dtype} of shape {tuple(x.shape)}; this model reads "
                f"(batch, {channels}, time, {cells}). model.to_input(bins) makes it of bins; {self.MAKES_INPUT}"
            )

    # ------------------------------------------------------------------------------------------------ the loss
    def log_prob(self, bins: Tensor) -> Tensor:
        """Compute the log-probability of each value, given those before it.

        Args:
            bins: int64 from 0 to ``distribution.num_bins − 1``, ``(batch, time, cells)``.

        Returns:
            The log-probabilities in nats, float32, ``(batch, time, cells)``. Their sum is the log-probability of the
            whole.

        Raises:
            ValueError: bins of another shape or dtype, or outside of their range.
        """
        return self._log_prob(bins, self.to_input(bins))

    def _log_prob(self, bins: Tensor, x: Tensor) -> Tensor:
        return self.distribution.log_prob(self(x).movedim(1, -1), bins)

    # ---------------------------------------------------------------------------------------------- generation
    def sampler(self, rows: int = 1, *, reference: bool = False) -> Sampler:
        """Start a running generation, in which frames are read and drawn one after the other.

        Args:
            rows: how many recordings are drawn side by side.
            reference: whether to draw in the slow, obvious way that the fast ones are tested against.

        Returns:
            The sampler; that of a model that has a faster way, unless ``reference`` is true or a part of the model has
            forward hooks, which only the reference runs. Both draw the same bins.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: a weight is not finite.
        """
        plain = reference or any(map(has_forward_hooks, self.modules()))
        return Sampler(self, rows) if plain else self._fast_sampler(rows)

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
        """Draw frames freely: each value is drawn given all that was drawn before it.

        Args:
            frames: how many frames to draw.
            rows: how many recordings are drawn side by side.
            prompt: the frames that come before, as bins, ``(rows, time, cells)``. By default there are none.
            seed: the seed of the draws. The same seed gives the same bins on the same machine.
            temperature: above 0. At 1 the model draws as it has learned; below 1 it prefers likelier bins.
            reference: whether to draw in the slow, obvious way that the fast ones are tested against.

        Returns:
            The bins, int64, ``(rows, frames, cells)``, without the prompt.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: fewer than 0 frames or 1 row, a prompt of another shape or with other values, a temperature
                that is not above 0, or a weight that is not finite.
        """
        if frames < 0 or rows < 1:
            raise ValueError(f"{frames} frames of {rows} rows; at least 0 frames of 1 row can be drawn")
        sampler = self.sampler(rows, reference=reference)
        if prompt is not None:
            sampler.read(prompt)
        generator = torch.Generator().manual_seed(seed)
        drawn = [sampler.draw(sampler.uniform(generator), temperature) for _ in range(frames)]
        device = next(self.parameters()).device
        return torch.stack(drawn, 1) if drawn else torch.zeros(rows, 0, self.cells, dtype=torch.int64).to(device)

    def extra_repr(self) -> str:
        """Show the settings when the model is printed."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self.config).items())


class SpectrogramModel(AutoregressiveModel):
    """Base class of the models that predict a spectrogram value by value.

    Spectrograms have three forms: log-mel in dB, ``(batch, mels, time)``, as the front end makes them; bins, integers
    from 0 to 255, ``(batch, time, mels)``; and what the network reads, numbers from −1 to 1,
    ``(batch, 1, time, mels)``. :meth:`to_bins`, :meth:`to_decibels` and :meth:`to_input` lead from one to another.

    Args:
        config: the settings.

    Attributes:
        Config: the class of the model's config.
        MAKES_INPUT: where bins come from, for the messages of errors.
        config: the settings that the model was built with.

    Shape:
        ``(batch, 1, time, mels)`` from −1 to 1 → the parameters of the output distribution,
        ``(batch, distribution.size, time, mels)``.

    Raises:
        ValueError: ``config.output`` names no distribution.

    Example:
        >>> from causalcnn.models import PixelCNN, PixelCNNConfig
        >>> model = PixelCNN(PixelCNNConfig(mels=8, channels=4)).eval()
        >>> bins = model.generate(frames=3, seed=1)
        >>> tuple(bins.shape), tuple(model.to_decibels(bins).shape)
        ((1, 3, 8), (1, 8, 3))
    """

    Config: ClassVar[type[AutoregressiveConfig]]
    MAKES_INPUT: ClassVar[str] = "model.to_bins(features) makes bins of log-mel in dB"
    config: AutoregressiveConfig

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__(config, get_distribution(config.output))

    @property
    @override
    def cells(self) -> int:
        return self.config.mels

    # ------------------------------------------------------------------------ from decibels to numbers and back
    @property
    def uniform_bins(self) -> UniformBins:
        """The 256 equal bins from ``config.low_db`` to ``config.high_db`` that a value in dB falls into."""
        from causalcnn.speech import UniformBins

        return UniformBins(self.config.low_db, self.config.high_db)

    def to_bins(self, features: Tensor) -> Tensor:
        """Turn log-mel spectrograms into bins.

        Args:
            features: log-mel in dB, ``(batch, mels, time)``. What lies outside of the range falls into the first or
                the last bin.

        Returns:
            The bins, int64 from 0 to 255, ``(batch, time, mels)``.

        Raises:
            ValueError: NaN, which is in no bin, or features that are no floating-point numbers.
        """
        return self.uniform_bins.encode(features).transpose(1, 2)

    def to_decibels(self, bins: Tensor) -> Tensor:
        """Turn bins into log-mel spectrograms: each bin stands for its centre.

        Args:
            bins: integers from 0 to 255, ``(batch, time, mels)``.

        Returns:
            Log-mel in dB, float32, ``(batch, mels, time)``.

        Raises:
            ValueError: bins that are no integers from 0 to 255.
        """
        return self.uniform_bins.decode(bins).transpose(1, 2)

    def to_input(self, bins: Tensor) -> Tensor:
        """Turn bins into what the network reads.

        Args:
            bins: integers from 0 to 255, ``(batch, time, mels)``.

        Returns:
            Numbers from −1 to 1, ``(batch, 1, time, mels)``, with the device and dtype of the model's weights.
        """
        weight = next(self.parameters())
        return self.distribution.to_input(bins).unsqueeze(1).to(device=weight.device, dtype=weight.dtype)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the bits per dimension of the real frames: the mean of −log₂ of the probability of a value.

        While the model is in training and ``config.scheduled_sampling`` is above 0, some of the values that it reads
        are its own samples.

        Args:
            batch: pieces of log-mel in dB, with a mask of the real frames.

        Returns:
            The loss in bits per value, a scalar, and the metrics. There is one metric, ``bits``, a scalar, which is the
            same number without a gradient.

        Raises:
            ValueError: features of another number of bands, or NaN among them.
        """
        bins = self.to_bins(batch.features)
        x = self.to_input(bins)
        if self.training and self.config.scheduled_sampling:
            x = self._with_own_samples(bins, x)
        bits = bits_per_dimension(self._log_prob(bins, x), batch.mask)
        return bits, {"bits": bits.detach()}

    @torch.no_grad()
    def _with_own_samples(self, bins: Tensor, x: Tensor) -> Tensor:
        """Replace a share of the input's values by the model's own, each drawn given the true values before it.

        Args:
            bins: the true values as bins, ``(batch, time, mels)``.
            x: the input made of them, ``(batch, 1, time, mels)``.

        Returns:
            The new input, ``(batch, 1, time, mels)``.
        """
        parameters = self(x).movedim(1, -1)  # (batch, time, mels, distribution.size)
        uniform = torch.rand(*bins.shape, self.distribution.num_uniforms, device=bins.device, dtype=torch.float32)
        own = self.to_input(self.distribution.sample(parameters, uniform))  # (batch, 1, time, mels)
        return torch.where(torch.rand_like(x) < self.config.scheduled_sampling, own, x)


def ordered_field(past: frozenset[int] | None, mels: int) -> Field:
    """Make the field in which value ``(t, f)`` reads the whole of some earlier frames, and the lower ones of its own.

    Args:
        past: which frames, relative to ``t``, all negative; None for every frame before it.
        mels: the number of bands of a frame.

    Returns:
        The field over time and frequency, with one phase for each band.
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
