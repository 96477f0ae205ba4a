"""A prior over the codes of a VQ-VAE-2 that runs in integers from end to end, so that every machine gets the same.

::

    codes around ─ a row of a table each ─ sum ─ >> 1, clip ─ weights ─ >> 8, clip ─ weights ─ >> 7 ─ logits

Entropy coding takes probabilities that sender and receiver agree on to the last bit. Floating-point sums depend on
their order, which differs between processors, libraries and batch sizes; sums of integers do not. So weights are
whole numbers of 8 bits, activations are whole numbers from 0 to 255, and divisions are shifts.
:mod:`causalcnn.codec` computes with them; here they are learned: the rounding is done in training, too, and gradients
pass it straight through.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from causalcnn.field import Field
from causalcnn.models.code_corpus import CodeBatch
from causalcnn.models.config import ModelConfig

__all__ = ["CONTEXT_FRAMES", "HIGHEST", "IntegerCodePrior", "IntegerCodePriorConfig", "context_cells"]

CONTEXT_FRAMES = 2
"""How many frames before the present one are read."""
AROUND = ((1, 0), (2, 0), (1, -1), (1, 1), (0, -1), (0, -2), (0, -3), (1, -2), (1, 2), (2, -1), (2, 1))
"""Codes of the same level around a code, each so many frames before it and so many cells above it."""
LARGEST_WEIGHT, LARGEST_BIAS = 127, 32_767
"""Weights have 8 bits, biases 16."""
HIGHEST = 255
"""The highest activation."""
TABLE_SHIFT, HIDDEN_SHIFT, LOGIT_SHIFT = 1, 8, 7
"""By how many bits the sums of each layer are shifted to the right."""
LOGITS_PER_BIT = 32
"""A code whose logit is higher by so much is twice as likely."""


@dataclass(frozen=True)
class IntegerCodePriorConfig(ModelConfig):
    """The settings of :class:`IntegerCodePrior`.

    Attributes:
        top_cells: the top codes of a frame.
        bottom_cells: the bottom codes of a frame, twice as many.
        num_codes: the codewords of each codebook.
        channels: the activations of each of the two hidden layers.
        rounded: ``False`` makes the twin in floating point: the same network, but nothing is rounded or clipped to
            fewer bits. It shows what the integers cost, and no file can be written with it.

    Raises:
        ValueError: a setting out of its range.

    Example:
        >>> from causalcnn.models import IntegerCodePriorConfig
        >>> IntegerCodePriorConfig.tiny().cells
        30
    """

    top_cells: int = 10
    bottom_cells: int = 20
    num_codes: int = 512
    channels: int = 128
    rounded: bool = True

    def __post_init__(self) -> None:
        self._check_integers("top_cells", "bottom_cells", "num_codes", "channels")
        if self.bottom_cells != 2 * self.top_cells:
            raise ValueError(
                f"bottom_cells is {self.bottom_cells}; it must be twice top_cells, {2 * self.top_cells}, for a top "
                "code stands for the bands of two bottom codes"
            )

    @property
    def cells(self) -> int:
        """The codes of a frame, top and bottom."""
        return self.top_cells + self.bottom_cells

    @classmethod
    def tiny(cls) -> IntegerCodePriorConfig:
        """The size that ships, for the codes of ``VQVAE2Config.tiny()``."""
        return cls()


def context_cells(config: IntegerCodePriorConfig) -> tuple[list[list[int]], list[list[int]]]:
    """List which codes each code is predicted from: a fixed set of those that were coded before it.

    A frame is coded from its first top code, of the lowest band, to its last bottom code. Codes are counted in a row of
    the present frame, the frame before it, and the one before that; what lies outside the frame is the last number,
    which stands for no code.

    Args:
        config: how many cells there are.

    Returns:
        For every top cell and for every bottom cell the places of the codes that it reads, in a fixed order.
    """
    top, cells = config.top_cells, config.cells
    nothing = cells * (CONTEXT_FRAMES + 1)

    def at(back: int, cell: int, first: int, last: int) -> int:
        return back * cells + cell if first <= cell < last else nothing

    tops = [
        [at(back, cell + away, 0, top) for back, away in AROUND]
        + [at(1, top + 2 * cell + half, top, cells) for half in (0, 1)]
        for cell in range(top)
    ]
    bottoms = []
    for cell in range(top, cells):
        above = (cell - top) // 2  # the top cell of the same bands, and of its neighbors the one that is nearer
        nearer = above + (1 if (cell - top) % 2 else -1)
        bottoms.append(
            [at(back, cell + away, top, cells) for back, away in AROUND]
            + [at(back, one, 0, top) for back, one in ((0, above), (0, nearer), (1, above))]
        )
    return tops, bottoms


class IntegerCodePrior(nn.Module):
    """Predict each code from those around it that were coded before, by integers that are the same everywhere.

    A code is predicted from 13 or 14 others: of its own level those in up to two neighboring cells in the two frames
    before, and those of the three lower cells of its own frame; a top code also from the two bottom codes of its bands
    in the frame before, a bottom code from the top codes of its bands. Before the first frame there is nothing to
    read: a block of a file begins there, so that blocks can be decoded without each other.

    The parameters are kept in floating point while they are learned, in units of what they are rounded to.
    :meth:`rounded` gives the integers, which are what is kept on disk.

    Args:
        config: the settings; ``IntegerCodePriorConfig.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        levels: the networks of the top and of the bottom codes.

    Shape:
        codes, int64, ``(batch, time, cells)`` → logits in units of 1/32 bit, ``(batch, time, cells, num_codes)``.

    Source:
        Ballé, Johnston and Minnen, Integer networks for data compression with latent-variable models, ICLR 2019, for
        why and for the straight-through gradients; the network is ours.

    Example:
        >>> import torch
        >>> from causalcnn.models import IntegerCodePrior, IntegerCodePriorConfig
        >>> prior = IntegerCodePrior(IntegerCodePriorConfig(top_cells=2, bottom_cells=4, num_codes=8, channels=16))
        >>> logits = prior(torch.zeros(1, 5, 6, dtype=torch.int64))
        >>> tuple(logits.shape), bool((logits == logits.round()).all())
        ((1, 5, 6, 8), True)
    """

    name: ClassVar[str] = "integer-code-prior"
    Config: ClassVar[type] = IntegerCodePriorConfig

    levels: nn.ModuleList

    def __init__(self, config: IntegerCodePriorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or IntegerCodePriorConfig.tiny()
        self.levels = nn.ModuleList(_Level(config, context) for context in context_cells(config))

    @property
    def field(self) -> Field:
        """The two frames before, and those codes of the present frame that come first."""
        return Field.window(range(-CONTEXT_FRAMES, 1))

    def forward(self, codes: Tensor) -> Tensor:
        """Compute the logits of all codes of whole blocks.

        Args:
            codes: int64, ``(batch, time, cells)``, top before bottom; the first frame begins a block.

        Returns:
            Logits in units of 1/32 bit, whole numbers in float32, ``(batch, time, cells, num_codes)``.

        Raises:
            ValueError: codes of another shape or dtype.
        """
        c = self.config
        if codes.dim() != 3 or codes.shape[2] != c.cells or codes.dtype != torch.int64:
            raise ValueError(
                f"the codes are {codes.dtype} of shape {tuple(codes.shape)}; this prior takes int64 (batch, time, "
                f"{c.cells}), top before bottom"
            )
        before = functional.pad(codes, (0, 0, CONTEXT_FRAMES, 0), value=c.num_codes)  # no code
        time = codes.shape[1]
        around = [before[:, CONTEXT_FRAMES - back :][:, :time] for back in range(CONTEXT_FRAMES + 1)]
        row = functional.pad(torch.cat(around, dim=2), (0, 1), value=c.num_codes)  # (batch, time, 3 · cells + 1)
        return torch.cat([level(row) for level in self.levels], dim=2)

    def loss(self, batch: CodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the mean negative log-likelihood of the codes of the real frames.

        Args:
            batch: pieces of codes, each as if it began a block.

        Returns:
            The loss in nats per code, a scalar, and the metrics without gradients, each a scalar. They are ``bits`` per
            code, and ``bits_top`` and ``bits_bottom``.

        Raises:
            ValueError: codes of another number of cells.
        """
        codes = torch.cat(batch.codes, dim=2)
        logits = self(codes) * (math.log(2) / LOGITS_PER_BIT)
        nats = functional.cross_entropy(logits.flatten(0, 2), codes.flatten(), reduction="none").view(codes.shape)
        frames = (nats * batch.mask[..., None]).sum(dim=(0, 1)) / batch.mask.sum().clamp(min=1)  # (cells,)
        bits = frames.detach() / math.log(2)
        top = self.config.top_cells
        metrics = {"bits": bits.mean(), "bits_top": bits[:top].mean(), "bits_bottom": bits[top:].mean()}
        return frames.mean(), metrics

    def rounded(self) -> IntegerCodePrior:
        """Give the integers that this prior computes with.

        Returns:
            A prior with the same logits, whose parameters are int8 and int16; it cannot be trained further.

        Raises:
            ValueError: the prior is the twin in floating point.
        """
        if not self.config.rounded:
            raise ValueError("this prior computes in floating point (rounded=False); its numbers are no integers")
        twin = copy.deepcopy(self)
        for level in twin.levels:
            for name, value in list(level.named_parameters()):
                bias = name.startswith("bias")
                largest, dtype = (LARGEST_BIAS, torch.int16) if bias else (LARGEST_WEIGHT, torch.int8)
                whole = value.detach().round().clamp(-largest, largest).to(dtype)
                setattr(level, name, nn.Parameter(whole, requires_grad=False))
        return twin


class _Level(nn.Module):
    """The network of the top or of the bottom codes."""

    context: Tensor

    def __init__(self, config: IntegerCodePriorConfig, context: list[list[int]]) -> None:
        super().__init__()
        self.rounds = config.rounded
        places, channels, codes = len(context[0]), config.channels, config.num_codes
        self.register_buffer("context", torch.tensor(context), persistent=False)  # (cells, places)
        # Spreads for which activations are about 64 in size and logits are near 0 before training.
        self.table = nn.Parameter(torch.randn(places, codes + 1, channels) * (128 / math.sqrt(places)))
        self.bias_table = nn.Parameter(torch.zeros(len(context), channels))
        self.hidden = nn.Parameter(torch.randn(channels, channels) * (1.4 * 2**HIDDEN_SHIFT / math.sqrt(channels)))
        self.bias_hidden = nn.Parameter(torch.zeros(channels))
        self.out = nn.Parameter(torch.randn(codes, channels))
        self.bias_out = nn.Parameter(torch.zeros(len(context), codes))

    def forward(self, row: Tensor) -> Tensor:
        batch, time = row.shape[:2]
        places, size, channels = self.table.shape
        codes = row[:, :, self.context] + size * torch.arange(places, device=row.device)  # rows of one long table
        table = self._round(self.table).view(places * size, channels)
        x = functional.embedding_bag(codes.view(-1, places), table, mode="sum")
        x = x.view(batch, time, len(self.context), channels)
        x = self._clip(self._shift(x, TABLE_SHIFT) + self._round(self.bias_table, LARGEST_BIAS))
        x = self._shift(functional.linear(x, self._round(self.hidden)), HIDDEN_SHIFT)
        x = self._clip(x + self._round(self.bias_hidden, LARGEST_BIAS))
        x = self._shift(functional.linear(x, self._round(self.out)), LOGIT_SHIFT)
        return x + self._round(self.bias_out, LARGEST_BIAS)

    def _round(self, value: Tensor, largest: int = LARGEST_WEIGHT) -> Tensor:
        if not self.rounds or not value.is_floating_point():
            return value.float()
        value = value.clamp(-largest, largest)
        return value + (value.round() - value).detach()

    def _shift(self, value: Tensor, bits: int) -> Tensor:
        value = value / 2**bits
        return value + (value.floor() - value).detach() if self.rounds else value

    def _clip(self, value: Tensor) -> Tensor:
        return value.clamp(0, HIGHEST) if self.rounds else value.relu()
