"""Stage 2 of a VQ-VAE-2: what a code costs, given all codes before it, and new codes that are drawn one by one.

Earlier frames come first, then the top codes of this frame, then its bottom codes, each from low to high frequency::

    earlier top codes ─────────────── top level ─────────────── top codes of this frame
                                                                         │
    earlier top and bottom codes ── bottom level ────────────── bottom codes of this frame

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.engine import Symbol
from causalcnn.field import Field
from causalcnn.models.autoregressive import HEAD_SCALE, AutoregressiveModel, init_head
from causalcnn.models.config import ModelConfig
from causalcnn.models.distributions import CodeCategorical, bits_per_dimension
from causalcnn.models.pixelcnn import FrequencyBlock, frames_as_rows
from causalcnn.models.sample_loop import BandLoop
from causalcnn.models.sampling import Sampler, can_compile, check_can_draw, state_after
from causalcnn.models.vqvae2 import Codes
from causalcnn.nn.base import State, without_gradients
from causalcnn.nn.blocks import ResidualBlock2d
from causalcnn.nn.conv import CausalConv1d, CausalConv2d
from causalcnn.nn.hooks import renew_weight

if TYPE_CHECKING:
    from causalcnn.models.code_corpus import CodeBatch
    from causalcnn.models.vqvae2_causal import CausalVQVAE2

__all__ = ["CodePrior", "CodePriorConfig"]


@dataclass(frozen=True)
class CodePriorConfig(ModelConfig):
    """The settings of a :class:`CodePrior`.

    Attributes:
        top_cells: the top codes of a frame; this, ``bottom_cells`` and ``num_codes`` are those of the VQ-VAE-2.
        bottom_cells: the bottom codes of a frame, a multiple of ``top_cells``.
        num_codes: how many codes there are on each level.
        embedding_size: the numbers that stand for a code where the network reads it.
        channels: the channels of both stacks. This and ``hidden`` set the size of the model.
        hidden: the channels inside a block of the time stack.
        first_time_kernel: how many earlier frames, and how many codes of each, the first layer of the time stack reads.
        first_frequency_kernel: how many lower codes the first layer of the frequency stack reads.
        time_dilations: the dilation over (time, frequency) of each block of the time stack, in frames and codes. Its
            kernels are 2 × 3, so that the default reads 2 + 2 + 4 + 8 = 16 earlier frames (160 ms).
        frequency_dilations: the dilation of each block of the frequency stack, in codes; as many numbers as in
            ``time_dilations``. Its kernels have 3 taps, so that the default reads all lower codes of a level.

    Raises:
        ValueError: a setting out of its range, or two stacks with different numbers of blocks.

    Example:
        >>> from causalcnn.models import CodePrior, CodePriorConfig
        >>> small = CodePriorConfig(channels=8, hidden=8, time_dilations=((1, 1),), frequency_dilations=(1,))
        >>> CodePrior(small).field.axis("time").past
        3
    """

    top_cells: int = 10
    bottom_cells: int = 20
    num_codes: int = 512
    embedding_size: int = 32
    channels: int = 128
    hidden: int = 64
    first_time_kernel: tuple[int, int] = (2, 5)
    first_frequency_kernel: int = 3
    time_dilations: tuple[tuple[int, int], ...] = ((2, 1), (4, 2), (8, 1))
    frequency_dilations: tuple[int, ...] = (1, 3, 9)

    def __post_init__(self) -> None:
        self._check_integers("top_cells", "bottom_cells", "num_codes", "embedding_size", "channels", "hidden")
        self._check_integers("first_frequency_kernel")
        if self.bottom_cells % self.top_cells:
            raise ValueError(
                f"bottom_cells is {self.bottom_cells}; it must be a multiple of top_cells, {self.top_cells}"
            )
        # A card is JSON, which has lists where this has tuples.
        object.__setattr__(self, "first_time_kernel", tuple(self.first_time_kernel))
        object.__setattr__(self, "time_dilations", tuple(tuple(pair) for pair in self.time_dilations))
        object.__setattr__(self, "frequency_dilations", tuple(self.frequency_dilations))
        if len(self.time_dilations) != len(self.frequency_dilations) or not self.time_dilations:
            raise ValueError(
                f"there are {len(self.time_dilations)} time and {len(self.frequency_dilations)} frequency dilations; "
                "the two stacks have the same number of blocks, at least 1"
            )

    @classmethod
    def tiny(cls) -> CodePriorConfig:
        """A size for a chapter on a CPU."""
        return cls(channels=48, hidden=24, embedding_size=16)

    @classmethod
    def base(cls) -> CodePriorConfig:
        """The default settings."""
        return cls()


class CodeLevel(nn.Module):
    """The two stacks of one level, as in a :class:`PixelCNN`; what they read are the vectors of codes.

    Args:
        config: the sizes.
        in_channels: the numbers that the time stack reads of each cell of an earlier frame.
        cells: the codes of a frame.

    Attributes:
        time_blocks: the blocks of the time stack.
        frequency_blocks: the blocks of the frequency stack, as many.
    """

    time_blocks: Sequence[ResidualBlock2d]
    frequency_blocks: Sequence[FrequencyBlock]

    def __init__(self, config: CodePriorConfig, in_channels: int, cells: int) -> None:
        super().__init__()
        c = config
        self.cells = cells
        self.time_input = CausalConv2d(in_channels, c.channels, c.first_time_kernel)
        self.frequency_input = CausalConv1d(c.embedding_size, c.channels, c.first_frequency_kernel)
        self.time_blocks = nn.ModuleList(  # type: ignore[assignment]
            ResidualBlock2d(c.channels, (2, 3), dilation=dilation, hidden=c.hidden) for dilation in c.time_dilations
        )
        self.frequency_blocks = nn.ModuleList(  # type: ignore[assignment]
            FrequencyBlock(c.channels, dilation) for dilation in c.frequency_dilations
        )
        self.conditions = nn.ModuleList(CausalConv2d(c.channels, c.channels, 1) for _ in c.time_dilations)
        self.cell_embedding = nn.Parameter(torch.zeros(2, c.channels, 1, cells))  # one for each stack
        self.hidden = nn.Linear(c.channels, c.channels)
        self.logits = nn.Linear(c.channels, c.num_codes)
        init_head(self.logits, CodeCategorical(c.num_codes))
        self.relu = nn.ReLU()  # a module, because a probe of the field replaces modules, not functions

    def initial_state(self, x: Tensor) -> State:
        """The state of the time stack before any frame; ``x`` is ``(batch, in_channels, time, cells)``."""
        h = x.new_zeros(len(x), self.time_input.out_channels, 0, self.cells)
        return self.time_input.initial_state(x), *(block.initial_state(h) for block in self.time_blocks)

    def time_stack(self, earlier: Tensor, state: State) -> tuple[list[Tensor], State]:
        """The condition of each block of the frequency stack, ``(batch, channels, time, cells)``; and the new state."""
        h, input_state = self.time_input.step(earlier, state[0])
        h = h + self.cell_embedding[0]
        conditions, new_state = [], [input_state]
        for block, condition, before in zip(self.time_blocks, self.conditions, state[1:], strict=True):
            h, block_state = block.step(h, before)
            conditions.append(condition(h))
            new_state.append(block_state)
        return conditions, tuple(new_state)

    def beside(self, tops: Tensor | None) -> Tensor:
        """What the frequency stack reads at a cell beside its code: which cell it is, and what of the top is there.

        Args:
            tops: made of the top codes, ``(batch · time, channels, cells)``; None on the top level.

        Returns:
            ``(batch · time or 1, channels, cells)``.
        """
        embedding = self.cell_embedding[1].transpose(0, 1)
        return embedding if tops is None else embedding + tops

    def frequency_stack(self, x: Tensor, condition: list[Tensor], tops: Tensor | None) -> Tensor:
        """Run the frequency stack on all frames at once.

        Args:
            x: the vectors of the true codes, ``(batch, embedding_size, time, cells)``.
            condition: what :meth:`time_stack` gave.
            tops: as for :meth:`beside`.

        Returns:
            The logits, which lie side by side in memory, ``(batch, time, cells, num_codes)``.
        """
        below = F.pad(frames_as_rows(x), (1, -1))  # (batch · time, embedding_size, cells): the code below each
        h = self.frequency_input(below) + self.beside(tops)
        for block, c in zip(self.frequency_blocks, condition, strict=True):
            h = block(h, frames_as_rows(c))  # (batch · time, channels, cells)
        h = self.relu(self.hidden(self.relu(h.transpose(1, 2))))
        renew_weight(self.logits)
        y = F.linear(h, HEAD_SCALE * self.logits.weight, HEAD_SCALE * self.logits.bias)
        return y.unflatten(0, (len(x), x.shape[2]))

    def reads(self) -> list[frozenset[tuple[str, int, int]]]:
        """What each cell of a frame reads: of the ``"earlier"`` frames, ``"below"`` in its own, and ``"beside"`` it.

        It is found by walking from layer to layer, because a cell beyond the ends of a frame is padding, which no layer
        goes on from.

        Returns:
            For each cell a set of (what, frames from the present one, cell).
        """

        def through(layer: CausalConv2d, sets: list[frozenset[Any]]) -> list[frozenset[Any]]:
            taps = layer.field.inputs_of((0, 0))
            return [
                frozenset((w, t + dt, g) for dt, df in taps if 0 <= f + df < self.cells for w, t, g in sets[f + df])
                for f in range(self.cells)
            ]

        def along(layer: CausalConv1d, sets: list[frozenset[Any]]) -> list[frozenset[Any]]:
            taps = [int(df) for df in layer.field.inputs_of(0)]
            return [frozenset().union(*(sets[f + df] for df in taps if f + df >= 0)) for f in range(self.cells)]

        def joined(*sets: list[frozenset[Any]]) -> list[frozenset[Any]]:
            return [frozenset().union(*parts) for parts in zip(*sets, strict=True)]

        below = [frozenset({("below", 0, f - 1)} if f else ()) for f in range(self.cells)]
        h = joined(along(self.frequency_input, below), [frozenset({("beside", 0, f)}) for f in range(self.cells)])
        time = through(self.time_input, [frozenset({("earlier", -1, f)}) for f in range(self.cells)])
        for time_block, block in zip(self.time_blocks, self.frequency_blocks, strict=True):
            time = joined(time, through(cast(Any, time_block.body)[1], time))
            h = joined(h, along(block.conv, h), time)
        return h


class CodePrior(AutoregressiveModel):
    """The probability of each code of a :class:`CausalVQVAE2`, given all codes before it: stage 2 of VQ-VAE-2.

    A top code reads earlier top codes, and lower top codes of its own frame. A bottom code reads earlier top and bottom
    codes, all top codes of its own frame, and the lower bottom codes of it. So :meth:`log_prob` is a file size: −log₂
    of the probability is what a code takes in a file that an entropy coder writes with this model. And new codes can
    be drawn, also bottom codes for top codes that are given (:meth:`generate_bottom`).

    What is as in the paper: one network for each level, autoregressive over the codes of its level, the lower one
    conditioned on the upper one. What is different here: the order is that of time, and within a frame from low to high
    frequency, so that the model is causal and can draw live; the networks are convolutions without attention.

    In the order of values, a frame has ``top_cells + bottom_cells`` cells, as a :class:`CodeEncoder` gives them:
    :meth:`join` and :meth:`split` lead from :class:`Codes` to this order and back.

    Args:
        config: the settings; ``CodePriorConfig.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of the model's config.
        MAKES_INPUT: where codes come from, for the messages of errors.
        config: the settings that the model was built with.
        input_channels: how many numbers stand for a code, ``config.embedding_size``.
        top: the stacks of the top level.
        bottom: the stacks of the bottom level.
        embeddings: the vectors of the top codes and of the bottom codes.

    Shape:
        the vectors of codes, ``(batch, embedding_size, time, cells)`` → the logits,
        ``(batch, num_codes, time, cells)``.

    Source:
        Razavi et al., VQ-VAE-2, arXiv 1906.00446, §3.2; the two stacks of a level are those of van den Oord et al.,
        Conditional Image Generation with PixelCNN Decoders, arXiv 1606.05328, §2.2, without gates.

    Example:
        >>> import math
        >>> from causalcnn.models import CodePrior, CodePriorConfig
        >>> prior = CodePrior(CodePriorConfig(channels=8, hidden=8)).eval()
        >>> codes = prior.split(prior.generate(frames=3, seed=1))
        >>> tuple(codes.top.shape), tuple(codes.bottom.shape)
        ((1, 3, 10), (1, 3, 20))
        >>> bits = -prior.log_prob(prior.join(codes)).detach() / math.log(2)
        >>> tuple(bits.shape), abs(float(bits.mean()) - 9) < 0.5  # untrained, so nearly log2(512) for each code
        ((1, 3, 30), True)
    """

    name: ClassVar[str] = "code-prior"
    Config: ClassVar[type[CodePriorConfig]] = CodePriorConfig
    MAKES_INPUT: ClassVar[str] = "prior.join(codes) makes them of the codes that model.encode(x) gives"
    config: CodePriorConfig
    input_channels: int
    top: CodeLevel
    bottom: CodeLevel
    embeddings: Sequence[nn.Embedding]

    def __init__(self, config: CodePriorConfig | None = None) -> None:
        c = config or CodePriorConfig.tiny()
        super().__init__(c, CodeCategorical(c.num_codes))
        self.input_channels = c.embedding_size
        self.embeddings = nn.ModuleList(  # type: ignore[assignment]
            nn.Embedding(c.num_codes, c.embedding_size) for _ in ("top", "bottom")
        )
        self.top = CodeLevel(c, c.embedding_size, c.top_cells)
        self.bottom = CodeLevel(c, 2 * c.embedding_size, c.bottom_cells)
        self.tops = nn.Sequential(  # from the vectors of the top codes to what stands beside the bottom codes
            nn.Conv1d(c.embedding_size, c.channels, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(c.channels, c.channels, self._ratio, stride=self._ratio),
        )

    @property
    @override
    def cells(self) -> int:
        return self.config.top_cells + self.config.bottom_cells

    @property
    def _ratio(self) -> int:
        return self.config.bottom_cells // self.config.top_cells

    @property
    def field(self) -> Field:
        """The cells that a code reads, ``(time, frequency)``: top codes are cells 0 to ``top_cells − 1``."""
        tops, ratio = self.config.top_cells, self._ratio
        cells = [frozenset((t, f) for what, t, f in read if what != "beside") for read in self.top.reads()]
        for read in self.bottom.reads():
            own = {(t, tops + f) for what, t, f in read if what != "beside"}
            above = {(t, f // ratio) for what, t, f in read if what == "earlier"}
            beside = {(0, f // ratio + df) for what, _, f in read if what == "beside" for df in (-1, 0, 1)}
            cells.append(frozenset(own | above | {(t, f) for t, f in beside if 0 <= f < tops}))
        return Field(("time", "frequency"), (1, self.cells), (1, 0), tuple(cells))

    # ------------------------------------------------------------------------------------------ codes and vectors
    def join(self, codes: Codes) -> Tensor:
        """Put the codes of a frame in the order in which they are predicted.

        Args:
            codes: top ``(batch, time, top_cells)`` and bottom ``(batch, time, bottom_cells)``.

        Returns:
            The top codes and, after them, the bottom codes, ``(batch, time, cells)``.
        """
        return torch.cat(codes, dim=2)

    def split(self, bins: Tensor) -> Codes:
        """Turn codes in the order of their prediction into top and bottom codes, as a decoder takes them.

        Args:
            bins: ``(batch, time, cells)``.

        Returns:
            The codes, top ``(batch, time, top_cells)`` and bottom ``(batch, time, bottom_cells)``.
        """
        return Codes(*self._split(bins, 2))

    def _split(self, x: Tensor, axis: int) -> tuple[Tensor, ...]:
        return x.split([self.config.top_cells, self.config.bottom_cells], dim=axis)

    def to_input(self, bins: Tensor) -> Tensor:
        """Turn codes into their vectors.

        Args:
            bins: integers from 0 to ``num_codes − 1``, ``(batch, time, cells)``.

        Returns:
            The vectors, ``(batch, embedding_size, time, cells)``, with the device and dtype of the model's weights.

        Raises:
            ValueError: on a CPU, codes that the codebooks do not have.
        """
        bins, most = bins.to(device=next(self.parameters()).device, dtype=torch.int64), self.config.num_codes - 1
        if bins.device.type == "cpu" and bins.numel():
            low, high = (int(value) for value in torch.aminmax(bins))
            if low < 0 or high > most:
                raise ValueError(f"the codes reach from {low} to {high}; they are 0 to {most}")
        parts = [table(own) for table, own in zip(self.embeddings, self._split(bins, 2), strict=True)]
        return torch.cat(parts, dim=2).permute(0, 3, 1, 2)

    @torch.no_grad()
    def start_from(self, coder: CausalVQVAE2) -> None:
        """Let the vectors of the codes begin as the codewords, along their principal directions.

        Codes whose codewords are alike are then alike from the first step on, which a prior would else have to find
        out for each of them. It is done before a training; the vectors are learned on.

        Args:
            coder: the model that makes the codes.

        Raises:
            ValueError: it has other numbers of codes or cells than the config says.
        """
        mine, its = (
            tuple(getattr(config, name) for name in ("top_cells", "bottom_cells", "num_codes"))
            for config in (self.config, coder.config)
        )
        if mine != its:
            raise ValueError(f"the coder has {its} top cells, bottom cells and codes; this prior has {mine}")
        for embedding, quantizer in zip(self.embeddings, (coder.quantize_top, coder.quantize_bottom), strict=True):
            words = quantizer.codebook.double()
            words = words - words.mean(0)
            _, _, directions = torch.linalg.svd(words, full_matrices=False)
            along = (words @ directions.T)[:, : self.config.embedding_size]
            spread = along.std()
            if spread > 0:
                embedding.weight[:, : along.shape[1]] = (along / spread).to(embedding.weight)

    # ------------------------------------------------------------------------------------------ the two levels
    @override
    def initial_time_state(self, x: Tensor) -> State:
        top, earlier = self._earlier(x)
        return self.top.initial_state(top), self.bottom.initial_state(earlier)

    def time_stack(self, earlier: Tensor, state: State) -> tuple[tuple[list[Tensor], list[Tensor]], State]:
        """Run the time stacks of both levels.

        Args:
            earlier: the frame before each of the frames to predict, as vectors,
                ``(batch, embedding_size, time, cells)``.
            state: the states of both levels.

        Returns:
            For each level one condition for each block, ``(batch, channels, time, its cells)``; and the new states.
        """
        top, both = self._earlier(earlier)
        top_condition, top_state = self.top.time_stack(top, state[0])
        bottom_condition, bottom_state = self.bottom.time_stack(both, state[1])
        return (top_condition, bottom_condition), (top_state, bottom_state)

    def _earlier(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the time stacks read: the top codes; the bottom codes, and beside each the top code above it."""
        top, bottom = self._split(x, 3)
        return top, torch.cat([bottom, top.repeat_interleave(self._ratio, dim=3)], dim=1)

    def frequency_stack(self, x: Tensor, condition: tuple[list[Tensor], list[Tensor]]) -> Tensor:
        """Compute the logits of all codes of some frames, given what the time stacks found.

        Args:
            x: the vectors of the true codes, ``(batch, embedding_size, time, cells)``.
            condition: what :meth:`time_stack` gave, for each level one for each block,
                ``(batch, channels, time, its cells)``.

        Returns:
            The logits, ``(batch, num_codes, time, cells)``.
        """
        return torch.cat(self._logits(x, condition), dim=2).permute(0, 3, 1, 2)

    def _logits(self, x: Tensor, condition: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        """The logits of both levels, ``(batch, time, its cells, num_codes)``."""
        top, bottom = self._split(x, 3)
        tops = self.tops(frames_as_rows(top))
        return (
            self.top.frequency_stack(top, condition[0], None),
            self.bottom.frequency_stack(bottom, condition[1], tops),
        )

    # ------------------------------------------------------------------------------------------------ the loss
    @override
    def log_prob(self, bins: Tensor) -> Tensor:
        x = self.to_input(bins)
        self._check(x)
        if not x.shape[2]:
            return x.new_zeros(bins.shape)
        # As step() does it, but the logits of both levels need not be put into one tensor, the largest of all.
        condition, _ = self.time_stack(F.pad(x, (0, 0, 1, -1)), self.initial_time_state(x))
        logits, codes = self._logits(x, condition), self._split(bins, 2)
        return torch.cat([self.distribution.log_prob(*pair) for pair in zip(logits, codes, strict=True)], dim=2)

    def loss(self, batch: CodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the bits per code of the real frames: the mean of −log₂ of the probability of a code.

        Args:
            batch: the codes of pieces of clips, with a mask of the real frames.

        Returns:
            The loss in bits per code, a scalar, and the metrics, scalars without gradients. They are ``bits``, which is
            the same number, ``bits_top`` and ``bits_bottom``, the mean of each level.

        Raises:
            ValueError: codes of another shape, or that the codebooks do not have.
        """
        nats = self.log_prob(self.join(batch.codes))
        bits = bits_per_dimension(nats, batch.mask)
        top, bottom = (bits_per_dimension(part.detach(), batch.mask) for part in self._split(nats, 2))
        return bits, {"bits": bits.detach(), "bits_top": top, "bits_bottom": bottom}

    # ---------------------------------------------------------------------------------------------- generation
    def sampler(self, rows: int = 1, *, reference: bool = False) -> Sampler:
        """Start a running generation, in which frames are read and drawn one after the other.

        Args:
            rows: how many recordings are drawn side by side.
            reference: whether to draw in the slow, obvious way that the fast one is tested against.

        Returns:
            The sampler. Both draw the same codes. Only the fast one takes top codes that are given.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: a weight is not finite.
        """
        return super().sampler(rows, reference=reference)

    def _fast_sampler(self, batch_size: int) -> CodePriorSampler:
        return CodePriorSampler(self, batch_size)

    @torch.no_grad()
    def generate_bottom(
        self, top: Tensor, *, prompt: Codes | None = None, seed: int = 0, temperature: float = 1.0
    ) -> Tensor:
        """Draw bottom codes for top codes that are given: what is left to the bottom?

        Args:
            top: the top codes, ``(rows, frames, top_cells)``.
            prompt: the codes of the frames before; by default there are none.
            seed: the seed of the draws. The same seed gives the same codes on the same machine.
            temperature: above 0. At 1 the model draws as it has learned; below 1 it prefers likelier codes.

        Returns:
            The bottom codes, int64, ``(rows, frames, bottom_cells)``.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: codes of another shape, or that the codebooks do not have; a temperature that is not above 0 and
                finite.
        """
        sampler = CodePriorSampler(self, len(top))
        if prompt is not None:
            sampler.read(self.join(prompt))
        generator = torch.Generator().manual_seed(seed)
        frames = [sampler.draw(sampler.uniform(generator), temperature, top=frame) for frame in top.unbind(1)]
        drawn = torch.stack(frames, 1) if frames else top.new_zeros(len(top), 0, self.cells)
        return self.split(drawn).bottom


class CodePriorSampler(Sampler):
    """Draws a frame with one run of the time stacks, and with one compiled call for the codes of each level.

    Without numba, or elsewhere than on a CPU, the frequency stack of a level is run once for each of its codes.
    """

    model: CodePrior

    @without_gradients
    def __init__(self, model: CodePrior, rows: int, *, compiled: bool = True) -> None:
        check_can_draw(model, model.modules())
        super().__init__(model, rows)
        self._loops: list[BandLoop] = []
        if compiled and can_compile(model):
            with torch.no_grad():
                self._loops = [self._loop(number) for number in (0, 1)]

    def _loop(self, number: int) -> BandLoop:
        model, level = self.model, self._levels[number]

        def linear(layer: nn.Linear, x: Symbol, scale: float = 1.0) -> Symbol:
            return x.builder.matrix(x, scale * layer.weight.numpy().T, scale * layer.bias.numpy())

        def logits(below: Symbol, beside: Symbol) -> Symbol:
            builder = below.builder
            own, *conditions = beside.split(model.config.channels, dim=1)
            h = builder.lower(level.frequency_input, below)[0] + own
            for block, condition in zip(level.frequency_blocks, conditions, strict=True):
                read = builder.lower(block.conv, builder.pointwise("relu", h))[0] + condition
                h = h + builder.lower(block.mix, builder.pointwise("relu", read))[0]
            h = builder.pointwise("relu", linear(level.hidden, builder.pointwise("relu", h)))
            return linear(level.logits, h, HEAD_SCALE)

        table = model.embeddings[number].weight.detach()
        channels = (1 + len(level.frequency_blocks)) * model.config.channels
        return BandLoop(model.distribution, table, self.rows, logits, channels)

    @property
    def _levels(self) -> tuple[CodeLevel, CodeLevel]:
        return self.model.top, self.model.bottom

    @without_gradients
    def draw(self, uniform: Tensor, temperature: float = 1.0, *, top: Tensor | None = None) -> Tensor:
        """Draw the next frame; a further call goes on after it.

        Args:
            uniform: the random numbers, as :meth:`uniform` makes them, ``(rows, cells, 1)``. Those of top codes that
                are given are not used.
            temperature: above 0. At 1 the model draws as it has learned; below 1 it prefers likelier codes.
            top: the top codes of the frame, ``(rows, top_cells)``, where only bottom codes shall be drawn.

        Returns:
            The codes, int64, ``(rows, cells)``.

        Raises:
            ValueError: a temperature that is not above 0 and finite, or top codes of another shape or range.
        """
        self.model.distribution._check_temperature(temperature)
        if top is not None:
            self._check_bins(top, (self.rows, self.model.config.top_cells), "what is given of the top")
        return self._draw(uniform, temperature, top)

    @override
    def _read(self, x: Tensor) -> None:
        self.state = state_after(self.model, self.state, x)

    def _draw(self, uniform: Tensor, temperature: float, top: Tensor | None = None) -> Tensor:
        model = self.model
        last, time_state = self.state
        (top_condition, bottom_condition), time_state = model.time_stack(last, time_state)
        for_top, for_bottom = model._split(uniform.to(last.device), 1)
        if top is None:
            top = self._draw_level(0, top_condition, None, for_top, temperature)
        top = top.to(last.device)
        tops = model.tops(model.embeddings[0](top).transpose(1, 2))
        bottom = self._draw_level(1, bottom_condition, tops, for_bottom, temperature)
        codes = torch.cat([top, bottom], dim=1)
        self.state = model.to_input(codes[:, None]), time_state
        return codes

    def _draw_level(
        self, number: int, condition: list[Tensor], tops: Tensor | None, uniform: Tensor, temperature: float
    ) -> Tensor:
        """The codes of one level, ``(rows, its cells)``."""
        level, model = self._levels[number], self.model
        if self._loops:
            beside = torch.cat([level.beside(tops).expand(self.rows, -1, -1), *(c[:, :, 0] for c in condition)], dim=1)
            return self._loops[number].draw(beside, uniform, temperature)
        codes = torch.zeros(self.rows, level.cells, dtype=torch.int64, device=uniform.device)
        for f in range(level.cells):
            x = model.embeddings[number](codes).transpose(1, 2).unsqueeze(2)  # (rows, embedding_size, 1, cells)
            logits = level.frequency_stack(x, condition, tops)[:, 0, f]
            codes[:, f] = model.distribution.sample(logits, uniform[:, f], temperature)
        return codes
