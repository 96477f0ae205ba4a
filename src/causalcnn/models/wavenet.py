"""WaveNet: a causal network predicts each sample of a sound from the samples before it.

The probability of a whole sound is the product of the probabilities of its samples, each given those before it. So one
network that gives the distribution of the next sample is a model of sound. It learns from the true samples, all at
once, and speaks sample by sample: it draws one, reads it, and draws the next.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.engine import compiled_or_none
from causalcnn.field import Field
from causalcnn.models.autoregressive import HEAD_SCALE, init_head
from causalcnn.models.config import ModelConfig
from causalcnn.models.distributions import NUM_BINS, Categorical, bits_per_dimension, get_distribution
from causalcnn.models.sample_loop import SampleLoop
from causalcnn.models.sampling import check_can_draw, draw_uniform
from causalcnn.nn.base import Engine, State, without_gradients
from causalcnn.nn.compose import CausalSequential, Composite, CompositeStream, Run
from causalcnn.nn.conv import CausalConv1d
from causalcnn.nn.delay import Delay

if TYPE_CHECKING:
    from causalcnn.speech import SampleBatch

__all__ = ["WaveNet", "WaveNetConfig", "WaveNetSampler"]


@dataclass(frozen=True)
class WaveNetConfig(ModelConfig):
    """The settings of a :class:`WaveNet`.

    With the defaults a sample reads 1,024 earlier ones (64 ms).

    Attributes:
        output: the distribution of a sample over its 256 bins, see :func:`causalcnn.models.get_distribution`.
        one_hot: what the network reads of an earlier sample. True: which of the bins it was in, one channel for each
            bin. False: one number, the center of its bin in the compressed range from −1 to 1.
        kernel_size: the taps of the dilated convolutions.
        layers: the residual blocks of one cycle, with dilations of 1, 2, 4, … 2^(layers−1) samples.
        cycles: how many times the dilations run from 1 to the largest.
        residual_channels: the channels of the path from block to block.
        gate_channels: the channels of the filter, and as many of the gate.
        skip_channels: the channels that each block adds to what the head reads.
        head_channels: the channels of the head's hidden layer.
        condition_channels: how many numbers beside each sample are read, too: features of the speech (local
            conditioning), a vector that tells the speaker (global conditioning), or both. By default there are none.
        bias: whether the convolutions of input and blocks add a constant. Those of the head do in any case.

    Raises:
        ValueError: a setting out of its range, or ``output`` names no distribution.

    Example:
        >>> from causalcnn.models import WaveNetConfig
        >>> WaveNetConfig(layers=4, cycles=2).dilations
        (1, 2, 4, 8, 1, 2, 4, 8)
    """

    output: str = "categorical-8"
    one_hot: bool = True
    kernel_size: int = 2
    layers: int = 10
    cycles: int = 1
    residual_channels: int = 32
    gate_channels: int = 32
    skip_channels: int = 256
    head_channels: int = 256
    condition_channels: int = 0
    bias: bool = False

    def __post_init__(self) -> None:
        sizes = ("residual_channels", "gate_channels", "skip_channels", "head_channels")
        self._check_integers("kernel_size", "layers", "cycles", *sizes)
        self._check_integers("condition_channels", least=0)
        get_distribution(self.output)

    @property
    def dilations(self) -> tuple[int, ...]:
        """The dilation of each residual block, in samples."""
        return tuple(2**i for _ in range(self.cycles) for i in range(self.layers))

    @classmethod
    def tiny(cls) -> Self:
        """A size for a chapter on a CPU: 256 earlier samples (16 ms), a mixture of logistics, 63,000 parameters."""
        return cls(output="logistic-mixture-4", one_hot=False, layers=8, skip_channels=64, head_channels=64, bias=True)

    @classmethod
    def base(cls) -> Self:
        """Four cycles of ten blocks: 4,093 earlier samples (256 ms), 671,000 parameters."""
        return cls(cycles=4)


class GatedResidualBlock(nn.Module):
    """The layers of one block: ``z = tanh(filter) · σ(gate)`` goes to the head and, added to ``h``, to the next block.

    ``dilated`` computes filter and gate together from ``h``, and ``condition`` adds to both. Nothing reads a residual
    after the last block, so it has none.

    Source:
        van den Oord et al., arXiv 1609.03499, §2.3 to §2.5 and figure 4.
    """

    def __init__(self, config: WaveNetConfig, dilation: int, *, last: bool) -> None:
        super().__init__()
        c, gates = config, 2 * config.gate_channels
        self.dilated = CausalConv1d(c.residual_channels, gates, c.kernel_size, dilation=dilation, bias=c.bias)
        self.condition = CausalConv1d(c.condition_channels, gates, 1, bias=False) if c.condition_channels else None
        self.skip = CausalConv1d(c.gate_channels, c.skip_channels, 1, bias=c.bias)
        self.residual = None if last else CausalConv1d(c.gate_channels, c.residual_channels, 1, bias=c.bias)


class WaveNet(Composite):
    """WaveNet: the distribution of every sample, given the samples before it and, where there is one, a condition.

    As a layer it reads the true samples (teacher forcing). The channels of its input are first those of the samples,
    then those of the condition at the same times; :meth:`to_input` makes it. A delay of one sample lies before the
    first layer. So what stands at time ``t`` is predicted from the samples before ``t``, and from the condition up to
    ``t``, that at ``t`` included.

    What is different from the paper, and why:

    - The last block has no residual, because nothing would read it.
    - The 256 bins are equal parts of the compressed range, so that every output distribution lies on the same grid,
      and their bits can be compared.

    Args:
        config: the settings; ``WaveNetConfig()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        config: the settings that the model was built with.
        residual_blocks: the blocks, in order.
        takes_frames: True; see :class:`~causalcnn.nn.Composite`.

    Shape:
        ``(batch, in_channels, time)`` → the parameters of the output distribution,
        ``(batch, distribution.size, time)``.

    Source:
        van den Oord et al., WaveNet: A Generative Model for Raw Audio, arXiv 1609.03499.

    Example:
        >>> import torch
        >>> from causalcnn.models import WaveNet, WaveNetConfig
        >>> model = WaveNet(WaveNetConfig(layers=4, cycles=2)).eval()
        >>> model.field.past, model.field.lookahead  # it reads the 31 samples before the one that it predicts
        (31, -1)
        >>> bins = model.to_bins(torch.zeros(1, 100))
        >>> tuple(model.log_prob(bins).shape), tuple(model.generate(50, prompt=bins).shape)
        ((1, 100), (1, 50))
    """

    name: ClassVar[str] = "wavenet"
    Config: ClassVar[type[WaveNetConfig]] = WaveNetConfig
    config: WaveNetConfig
    residual_blocks: Sequence[GatedResidualBlock]
    takes_frames = True

    def __init__(self, config: WaveNetConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or WaveNetConfig()
        self.distribution = get_distribution(c.output)
        self.delay = Delay(1)
        self.input = CausalConv1d(self.sample_channels, c.residual_channels, 1, bias=c.bias)
        with torch.no_grad():  # of one-hot channels one is on: its weights must be as large as those of a single one
            self.input.weight.mul_(self.sample_channels**0.5)
        self.residual_blocks = nn.ModuleList(  # type: ignore[assignment]
            GatedResidualBlock(c, dilation, last=i + 1 == len(c.dilations)) for i, dilation in enumerate(c.dilations)
        )
        hidden = CausalConv1d(c.skip_channels, c.head_channels, 1)
        output = CausalConv1d(c.head_channels, self.distribution.size, 1)
        init_head(output, self.distribution)
        self.head = CausalSequential(nn.ReLU(), hidden, nn.ReLU(), output)

    @property
    def sample_channels(self) -> int:
        """How many channels of the input tell a sample: one for each bin that can be told apart, or a single one."""
        if not self.config.one_hot:
            return 1
        return self.distribution.size if isinstance(self.distribution, Categorical) else NUM_BINS

    @property
    def in_channels(self) -> int:
        """How many channels the input has: those of the samples, then those of the condition."""
        return self.sample_channels + self.config.condition_channels

    # --------------------------------------------------------------------------------------------- what it reads
    @property
    def sample_field(self) -> Field:
        """The samples that are read: those from ``t − 1`` back to ``t − 1 − cycles·(kernel_size−1)·(2^layers−1)``."""
        return through_blocks(self._dilated_fields, self.delay.field.then(self.input.field), NOTHING)

    @property
    def condition_field(self) -> Field:
        """The times at which the condition is read: ``t`` by every block, earlier ones by what later blocks read."""
        beside = Field.identity() if self.config.condition_channels else NOTHING
        return through_blocks(self._dilated_fields, NOTHING, beside)

    @property
    @override
    def field(self) -> Field:
        return self.sample_field | self.condition_field

    @property
    def _dilated_fields(self) -> tuple[Field, ...]:
        return tuple(block.dilated.field for block in self.residual_blocks)

    # ----------------------------------------------------------------------------------------------- the network
    @override
    def compose(self, x: Tensor, run: Run) -> Tensor:
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this WaveNet takes (batch, {self.in_channels}, time): "
                f"{self.sample_channels} channels of samples and {self.config.condition_channels} of a condition, as "
                "model.to_input(bins, condition) makes them"
            )
        earlier = run(self.delay, x[:, : self.sample_channels])
        return self.predict(earlier, x[:, self.sample_channels :], run)

    def predict(self, earlier: Tensor, condition: Tensor, run: Run) -> Tensor:
        """Compute the distribution of samples from what stands before them.

        Args:
            earlier: the sample before each of those to predict, ``(batch, sample_channels, time)``; or before a single
                one, ``(batch, sample_channels)``.
            condition: beside those to predict, ``(batch, condition_channels, time)`` or
                ``(batch, condition_channels)``.
            run: runs a part, as for :meth:`compose`.

        Returns:
            The parameters of the output distribution, ``(batch, distribution.size, time)`` or
            ``(batch, distribution.size)``.
        """
        h = run(self.input, earlier)
        skips = []
        for block in self.residual_blocks:
            gates = run(block.dilated, h)
            if block.condition is not None:
                gates = gates + run(block.condition, condition)
            filter, gate = gates.chunk(2, dim=1)
            z = torch.tanh(filter) * torch.sigmoid(gate)
            skips.append(run(block.skip, z))
            if block.residual is not None:
                h = h + run(block.residual, z)
        return HEAD_SCALE * run(self.head, functools.reduce(operator.add, skips))

    @override
    def _torch_stream(self, state: State | None) -> WaveNetStream:
        return WaveNetStream(self, state)

    # ------------------------------------------------------------------------------ from samples to what is read
    def to_bins(self, samples: Tensor) -> Tensor:
        """Turn samples into bins by μ-law, see :func:`causalcnn.speech.mu_law_encode`.

        Args:
            samples: from −1 to 1, ``(batch, time)``.

        Returns:
            The bins, int64 from 0 to 255, ``(batch, time)``.

        Raises:
            ValueError: a sample is NaN or outside −1 … 1.
        """
        from causalcnn.speech import mu_law_encode

        return mu_law_encode(samples)

    def to_samples(self, bins: Tensor) -> Tensor:
        """Turn bins into samples: each bin stands for its center in the compressed range.

        Args:
            bins: integers from 0 to 255, ``(batch, time)``.

        Returns:
            The samples, float32 from −1 to 1, ``(batch, time)``.

        Raises:
            ValueError: bins that are no integers from 0 to 255.
        """
        from causalcnn.speech import mu_law_decode

        return mu_law_decode(bins)

    def to_input(self, bins: Tensor, condition: Tensor | None = None) -> Tensor:
        """Make what the network reads.

        Args:
            bins: integers from 0 to 255, ``(batch, time)``.
            condition: what stands beside each sample, ``(batch, condition_channels, time)``. A condition with a time of
                1 holds for all samples, such as a speaker's vector.

        Returns:
            Samples and condition, ``(batch, in_channels, time)``, with the device and dtype of the model's weights.

        Raises:
            ValueError: bins of another shape or dtype, or outside of 0 to 255; a condition of another shape, or one
                that is missing.
        """
        x = self.samples_to_input(bins)
        return torch.cat([x, self._expanded(condition, len(x), x.shape[2])], dim=1)

    def samples_to_input(self, bins: Tensor) -> Tensor:
        """Make what the network reads of the samples alone.

        Args:
            bins: integers from 0 to 255, ``(batch, time)``.

        Returns:
            One-hot vectors, or the centers of the bins, ``(batch, sample_channels, time)``, with the device and dtype
            of the model's weights.

        Raises:
            ValueError: bins of another shape or dtype, or outside of 0 to 255.
        """
        if bins.dim() != 2 or bins.dtype != torch.int64:
            raise ValueError(
                f"the bins are {bins.dtype} of shape {tuple(bins.shape)}; they must be int64 (batch, time)"
            )
        if bins.numel() and not 0 <= int(bins.min()) <= int(bins.max()) < NUM_BINS:
            raise ValueError(
                f"the bins reach from {int(bins.min())} to {int(bins.max())}; they are 0 to {NUM_BINS - 1}: "
                "model.to_bins(samples)"
            )
        weight = self.input.weight
        if not self.config.one_hot:
            return self.distribution.to_input(bins).unsqueeze(1).to(weight)
        levels = bins * self.sample_channels // NUM_BINS  # a categorical of fewer bits tells fewer of them apart
        return nn.functional.one_hot(levels, self.sample_channels).movedim(-1, 1).to(weight)

    def _expanded(self, condition: Tensor | None, rows: int, time: int) -> Tensor:
        """The condition with a time of its own for each sample, or an error that says what it must be."""
        channels, weight = self.config.condition_channels, self.input.weight
        given = weight.new_zeros(rows, 0, 1) if condition is None else condition.to(weight)
        if tuple(given.shape) not in ((rows, channels, time), (rows, channels, 1)):
            got = "there is no condition" if condition is None else f"the condition has shape {tuple(given.shape)}"
            raise ValueError(
                f"{got}; for this model and these samples it must be ({rows}, {channels}, {time}), or with a time of 1"
                if channels
                else f"{got}; this model has none: WaveNetConfig(condition_channels=…)"
            )
        return given.expand(-1, -1, time)

    # -------------------------------------------------------------------------------------------------- the loss
    def log_prob(self, bins: Tensor, condition: Tensor | None = None) -> Tensor:
        """Compute the log-probability of each sample, given those before it.

        Args:
            bins: int64 from 0 to 255, ``(batch, time)``.
            condition: as for :meth:`to_input`, ``(batch, condition_channels, time)``.

        Returns:
            The log-probabilities in nats, float32, ``(batch, time)``. Their sum is that of the whole sound.

        Raises:
            ValueError: bins or a condition that :meth:`to_input` refuses.
        """
        parameters = self(self.to_input(bins, condition)).movedim(1, -1)
        return self.distribution.log_prob(parameters, bins.to(parameters.device))

    def loss(self, batch: SampleBatch, condition: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the bits per sample: the mean of −log₂ of the probability of a real sample.

        Args:
            batch: pieces of sounds, with a mask of the real samples.
            condition: as for :meth:`to_input`, ``(batch, condition_channels, time)``.

        Returns:
            The loss in bits per sample, a scalar, and the metrics. There is one metric, ``bits``, a scalar, which is
            the same number without a gradient.

        Raises:
            ValueError: a sample is NaN or outside −1 … 1, or a condition that :meth:`to_input` refuses.
        """
        bits = bits_per_dimension(self.log_prob(self.to_bins(batch.samples), condition).unsqueeze(2), batch.mask)
        return bits, {"bits": bits.detach()}

    # ------------------------------------------------------------------------------------------------ generation
    def sampler(self, rows: int = 1, *, engine: Engine = "torch") -> WaveNetSampler:
        """Start a running generation, in which samples are read and drawn one after the other.

        Args:
            rows: how many sounds are drawn side by side.
            engine: what draws, ``"torch"`` or ``"compiled"``; see :meth:`CausalModule.stream`. Both draw the same, up
                to rounding.

        Returns:
            The sampler.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: a weight is not finite, or there is no such engine.
        """
        return WaveNetSampler(self, rows, engine)

    @torch.no_grad()
    def generate(
        self,
        samples: int,
        *,
        rows: int = 1,
        prompt: Tensor | None = None,
        condition: Tensor | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        engine: Engine = "torch",
    ) -> Tensor:
        """Draw a sound: each sample is drawn given all that was drawn before it.

        Args:
            samples: how many samples to draw.
            rows: how many sounds are drawn side by side.
            prompt: the samples that come before, as bins, ``(rows, time)``. By default there are none.
            condition: beside the prompt and the samples to draw, ``(rows, condition_channels, time + samples)``; or
                with a time of 1, for one that does not change.
            seed: the seed of the draws. The same seed gives the same bins on the same machine.
            temperature: above 0. At 1 the model draws as it has learned; below 1 it prefers likelier bins.
            engine: what draws, as for :meth:`sampler`.

        Returns:
            The bins, int64 from 0 to 255, ``(rows, samples)``, without the prompt. ``to_samples`` makes sound of them.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: fewer than 0 samples or 1 row, a prompt or a condition that :meth:`to_input` refuses, a
                temperature that is not above 0, a weight that is not finite, or an engine that there is not.
        """
        if samples < 0 or rows < 1:
            raise ValueError(f"{samples} samples of {rows} rows; at least 0 samples of 1 row can be drawn")
        sampler = self.sampler(rows, engine=engine)
        start = 0 if prompt is None else prompt.shape[-1]
        whole = self._expanded(condition, rows, start + samples)
        if prompt is not None:
            sampler.read(prompt, whole[:, :, :start])
        generator = torch.Generator().manual_seed(seed)
        # Many numbers at once are those that would come one after the other.
        numbers = draw_uniform(samples, rows, self.distribution.num_uniforms, generator=generator).transpose(0, 1)
        return sampler.draw_all(numbers, whole[:, :, start:], temperature)

    def extra_repr(self) -> str:
        """Show the settings when the model is printed."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self.config).items())


NOTHING = Field.window([])
"""The field of what reads nothing."""


@functools.lru_cache(maxsize=64)
def through_blocks(dilated: tuple[Field, ...], h: Field, beside: Field) -> Field:
    """What the head reads of an input that comes to the first block by ``h``, and to each block by ``beside``."""
    read = NOTHING
    for field in dilated:
        z = h.then(field) | beside
        read, h = read | z, h | z
    return read


class WaveNetStream(CompositeStream):
    """The streams of all parts. They can also be given the last sample before the next one is known."""

    module: WaveNet

    def predict(self, earlier: Tensor, condition: Tensor) -> Tensor:
        """:meth:`WaveNet.predict` for a single sample, without the delay, which is the caller's to keep."""
        frames = self._frames
        return self.module.predict(earlier, condition, lambda part, frame: frames[part](frame))


class WaveNetSampler:
    """A running generation, which reads the samples that are known and draws the next ones.

    First :meth:`read`, then :meth:`draw`. What a sample costs does not depend on how many came before: each dilated
    convolution keeps its last ``dilation·(kernel_size−1)`` inputs, and nothing is computed twice.

    Args:
        model: a :class:`WaveNet` in eval mode. Its weights must not change while it generates.
        rows: how many sounds are drawn side by side.
        engine: what draws, as for :meth:`WaveNet.sampler`.

    Raises:
        RuntimeError: the model is in training mode.
        ValueError: a weight is not finite, or there is no such engine.

    Source:
        Le Paine et al., Fast Wavenet Generation Algorithm, arXiv 1611.09482.

    Example:
        >>> import torch
        >>> from causalcnn.models import WaveNet, WaveNetConfig
        >>> sampler = WaveNet(WaveNetConfig(layers=3)).eval().sampler()
        >>> sampler.read(torch.tensor([[128, 130]]))
        >>> tuple(sampler.draw(sampler.uniform(torch.Generator().manual_seed(0))).shape)
        (1,)
    """

    @without_gradients
    def __init__(self, model: WaveNet, rows: int, engine: Engine = "torch") -> None:
        check_can_draw(model, [model])
        self.model, self.rows = model, rows
        self._state: State = model.initial_state(model.input.weight.new_zeros(rows, model.in_channels, 0))
        self._stream: WaveNetStream | None = None  # runs while samples are drawn; it does not read the last of them
        self._last: Tensor = self._state["delay"][:, :, 0]
        self._last_bins = torch.full((rows,), NUM_BINS)  # no bin: before the first sample there was silence
        self._loop = compiled_or_none(engine, functools.partial(SampleLoop, model, rows))
        self._loop_runs = False

    def uniform(self, generator: torch.Generator) -> Tensor:
        """Make the random numbers that one sample takes.

        Args:
            generator: where they come from; it is left further on. It must be one of the CPU.

        Returns:
            Numbers strictly between 0 and 1, float64, ``(rows, distribution.num_uniforms)``.
        """
        return draw_uniform(self.rows, self.model.distribution.num_uniforms, generator=generator)

    @without_gradients
    def read(self, bins: Tensor, condition: Tensor | None = None) -> None:
        """Read samples that are known, after those that were read or drawn before.

        Args:
            bins: int64 from 0 to 255, ``(rows, time)``; ``time`` may be 0.
            condition: beside them, ``(rows, condition_channels, time)``; or with a time of 1, for one that does not
                change.

        Raises:
            ValueError: another number of rows, or bins or a condition that :meth:`WaveNet.to_input` refuses.
        """
        if bins.dim() != 2 or len(bins) != self.rows:
            raise ValueError(f"the prompt has shape {tuple(bins.shape)}; it must be ({self.rows}, time)")
        x = self.model.to_input(bins, condition)
        if self._stream is not None:
            self._state, self._stream = {**self._stream._save(), "delay": self._last[:, :, None]}, None
        elif self._loop is not None and self._loop_runs:
            self._state, self._loop_runs = self._loop.save(self._state), False
            if (self._last_bins < NUM_BINS).all():  # otherwise nothing was drawn yet
                self._state["delay"] = self.model.samples_to_input(self._last_bins[:, None])
        _, self._state = self.model.step(x, self._state)
        self._last = self._state["delay"][:, :, 0]
        self._last_bins = bins[:, -1].cpu() if bins.shape[1] else self._last_bins

    @without_gradients
    def draw_all(self, uniform: Tensor, condition: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw the next samples; a further call goes on after them.

        Args:
            uniform: the random numbers, as :meth:`uniform` makes them, ``(rows, samples, distribution.num_uniforms)``.
            condition: beside the samples to draw, ``(rows, condition_channels, samples)``; or with a time of 1, for one
                that does not change.
            temperature: above 0. At 1 the model draws as it has learned; below 1 it prefers likelier bins.

        Returns:
            The bins, int64 from 0 to 255, ``(rows, samples)``.

        Raises:
            ValueError: random numbers or a condition of another shape, or a temperature that is not above 0.
        """
        samples = uniform.shape[1]
        beside = self.model._expanded(condition, self.rows, samples)
        if self._loop is None:
            drawn = [self.draw(uniform[:, t], beside[:, :, t], temperature) for t in range(samples)]
            return torch.stack(drawn, dim=1) if drawn else torch.zeros(self.rows, 0, dtype=torch.int64)
        if not self._loop_runs:
            self._loop.load(self._state, self._last_bins)
            self._loop_runs = True
        bins = self._loop.draw(uniform, beside, temperature)
        if samples:
            self._last_bins = bins[:, -1]
        return bins

    @without_gradients
    def draw(self, uniform: Tensor, condition: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw the next sample; a further call goes on after it.

        The sample is a function of what was read and drawn before, and of the arguments.

        Args:
            uniform: the random numbers, as :meth:`uniform` makes them, ``(rows, distribution.num_uniforms)``.
            condition: beside the sample to draw, ``(rows, condition_channels)``.
            temperature: above 0. At 1 the model draws as it has learned; below 1 it prefers likelier bins.

        Returns:
            The bins, int64 from 0 to 255, ``(rows,)``.

        Raises:
            ValueError: random numbers or a condition of another shape, or a temperature that is not above 0.
        """
        model = self.model
        beside = model._expanded(None if condition is None else condition.unsqueeze(-1), self.rows, 1)[:, :, 0]
        if self._loop is not None:
            return self.draw_all(uniform.unsqueeze(1), beside.unsqueeze(2), temperature)[:, 0]
        if self._stream is None:
            self._stream = model._torch_stream(self._state)
        parameters = self._stream.predict(self._last, beside)
        bins = model.distribution.sample(parameters, uniform.to(parameters.device), temperature)
        self._last = model.samples_to_input(bins[:, None])[:, :, 0]
        return bins
