"""Vector quantisation: every vector becomes the nearest codeword of a codebook that learns by moving averages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from causalcnn._checks import at_least
from causalcnn.nn.base import State, Stateless, StatelessStream, Stream
from causalcnn.nn.distributed import all_reduce, broadcast, count_vectors, sample_vectors
from causalcnn.nn.lookup import NearestCode

__all__ = ["Quantized", "VectorQuantizer"]

ROUNDS = 10
"""Rounds of k-means at the start."""

SMALLEST = 1e-20
"""A code that is never used stops fading here, so that its sum and its count keep their ratio for ever."""


def _eager(method: Callable[..., None]) -> Callable[..., None]:
    """``torch.compiler.disable``, asked for when something is compiled: merely to name it imports all of dynamo."""

    @functools.wraps(method)
    def run(*arguments: Any) -> None:
        (torch.compiler.disable(method) if torch.compiler.is_compiling() else method)(*arguments)

    return run


@dataclass(frozen=True, eq=False)
class Quantized:
    """What one call of a quantiser found.

    Attributes:
        values: the codewords, in the shape and dtype of the input; their gradient passes straight through to it.
            (To quantise what is left, subtract ``values.detach()``: x − values has no gradient at all.)
        indices: of the codewords in the codebook, int64 ``(batch, time)`` or ``(batch, time, frequency)``.
        commitment: scalar, the mean of (x − codeword)² over real vectors and dimensions, with a gradient for x
            only, unweighted; 0 where no vector is real.
        codebook_size: how many codes there are.
        mask: as given, ``(batch, time)``; indices of padded frames are counted nowhere.
    """

    values: Tensor
    indices: Tensor
    commitment: Tensor
    codebook_size: int
    mask: Tensor | None = None

    @functools.cached_property
    def counts(self) -> Tensor:
        """How often each code was chosen for a real vector, ``(codes,)`` int64, on this process."""
        real = self.indices.reshape(-1) if self.mask is None else self.indices[self.mask].reshape(-1)
        counts = torch.zeros(self.codebook_size, dtype=torch.int64, device=real.device)
        return counts.index_add_(0, real, torch.ones_like(real))

    @functools.cached_property
    def num_vectors(self) -> int:
        """On how many real vectors :attr:`usage` and :attr:`perplexity` were measured; fewer show fewer codes."""
        return self.indices.numel() if self.mask is None else int(self.counts.sum())

    @functools.cached_property
    def usage(self) -> Tensor:
        """The share of the codebook that was chosen at all, 0 to 1."""
        return (self.counts > 0).float().mean()

    @functools.cached_property
    def perplexity(self) -> Tensor:
        """exp of the entropy of the codes: how many would carry as much if all were used alike, 1 to their number."""
        share = self.counts / self.counts.sum().clamp_min(1)
        return torch.special.entr(share).sum().exp()


class NotFinite(ValueError):
    """A vector is NaN, infinite or too large to be squared."""


class VectorQuantizer(Stateless):
    """Replaces every vector by the nearest codeword. The codebook follows the vectors by moving averages.

    In ``train()`` every call moves the codebook, after the lookup; in ``eval()`` nothing changes it. Only how often
    each code is used (``count``) and the sum of its vectors (``sum``) are stored, both as moving averages; the
    codebook is their ratio. On several processes the statistics are added up, so that all hold the same codebook.

    The first batch in training starts the codebook, by k-means. A code that is used less than ``dead_code_threshold``
    times as often as if all were used alike starts again at a vector of the batch. Which vector follows from the
    batch itself, not from a random state: a training that is resumed, or compiled, does the same, on a GPU to within
    the rounding of its sums.

    The lookup, the error and the moving averages are computed in float32 at least, also under autocast and in a model
    of half precision; codewords and gradients have the type of the input, and can be differentiated once.

    Args:
        num_codes: codewords in the codebook.
        dim: size of a vector, the input's channels.
        decay: of the moving averages; 0.99 remembers about 100 batches.
        dead_code_threshold: share of uniform usage under which a code starts again; 0 for never.
        init: ``"k-means"``, or ``"random"``: as drawn at construction, standard normal.

    Shape: ``(batch, dim, time[, frequency])``, unchanged.
    Raises:
        ValueError: a size or share out of range; an input of another shape; in training on a CPU, a real vector
            that is not finite, with the codebook left as it was. (On a GPU that check would stop the device at every
            step: there such a batch also leaves the codebook as it was, and shows as a commitment of NaN.)
    Sources: van den Oord, Vinyals and Kavukcuoglu, arXiv 1711.00937, appendix A.1 (moving averages); Kaiser et al.,
        arXiv 1803.03382; Défossez et al., Moshi, arXiv 2410.00037 (restart by the share of uniform usage).
    """

    count: Tensor
    sum: Tensor
    started: Tensor

    def __init__(
        self,
        num_codes: int,
        dim: int,
        *,
        decay: float = 0.99,
        dead_code_threshold: float = 0.1,
        init: Literal["k-means", "random"] = "k-means",
    ) -> None:
        super().__init__()
        self.num_codes, self.dim = at_least("num_codes", num_codes), at_least("dim", dim)
        for name, share in (("decay", decay), ("dead_code_threshold", dead_code_threshold)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is {share!r}; it must be at least 0 and less than 1")
        if init not in ("k-means", "random"):
            raise ValueError(f"init is {init!r}; it must be 'k-means' or 'random'")
        self.decay, self.dead_code_threshold, self.init = decay, dead_code_threshold, init
        self.register_buffer("count", torch.ones(num_codes))
        self.register_buffer("sum", torch.randn(num_codes, dim))
        self.register_buffer("started", torch.tensor(False))
        self._known_to_have_started = False  # spares a GPU a look at `started` in every step

    # ------------------------------------------------------------------ as a layer
    def forward(self, x: Tensor) -> Tensor:
        """The codewords of ``x``."""
        return self.quantize(x).values if self.training else self._codewords(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The codewords of ``x``. A piece without frames teaches nothing, and no other process need be asked."""
        return (self(x) if x.shape[2] else x), ()

    def stream(self, state: State | None = None) -> Stream:
        """A stream that has nothing to remember and never moves the codebook, also in training."""
        return QuantizerStream(self, state)

    def _codewords(self, x: Tensor) -> Tensor:
        return self._look_up(x, None, error=False, statistics=False)[0].view(x.shape)

    # ------------------------------------------------------------------ use
    @property
    def codebook(self) -> Tensor:
        """The codewords ``(num_codes, dim)``, derived: the mean of the vectors that each code was chosen for."""
        return self.sum / self.count.clamp_min(SMALLEST**1.5)[:, None]

    def quantize(self, x: Tensor, mask: Tensor | None = None) -> Quantized:
        """The codewords of ``x``, their indices, and how far they are; in training the codebook then moves.

        Args:
            x: ``(batch, dim, time[, frequency])``.
            mask: ``(batch, time)`` bool, True where a frame is real. Padded frames get codewords, but count nowhere.
        """
        self._check(x)
        real = self._real(x, mask)
        if self.training and not self._known_to_have_started:
            self._start(x.detach().flatten(2), real)
        values, indices, error, counts, sums = self._look_up(x, real, error=True, statistics=self.training)
        vectors = indices.numel() if real is None else real.sum().clamp_min(1)
        commitment = error / (vectors * self.dim) if indices.numel() else error
        if self.training:
            self._update(x.detach().flatten(2), real, counts, sums, error.detach())
        shape = (x.shape[0], *x.shape[2:])
        return Quantized(values.view(x.shape), indices.view(shape), commitment, self.num_codes, mask)

    def encode(self, x: Tensor) -> Tensor:
        """The indices of the codewords of ``x``, int64 ``(batch, time[, frequency])``. Never moves the codebook."""
        self._check(x)
        indices = self._look_up(x.detach(), None, error=False, statistics=False)[1]
        return indices.view(x.shape[0], *x.shape[2:])

    def decode(self, indices: Tensor) -> Tensor:
        """The codewords with these indices: ``(batch, time[, frequency])`` → ``(batch, dim, time[, frequency])``.

        Raises:
            ValueError: indices that are no integers, of another shape, or (on a CPU) not in the codebook.
        """
        if indices.dim() not in (2, 3):
            raise ValueError(
                f"indices have shape {tuple(indices.shape)}; a quantiser takes (batch, time) or "
                "(batch, time, frequency)"
            )
        if indices.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"indices are {indices.dtype}; they must be int64 or int32, as encode() returns them")
        try:
            codewords = self.codebook.index_select(0, indices.reshape(-1))
        except IndexError:
            raise ValueError(
                f"indices lie between {int(indices.min())} and {int(indices.max())}; "
                f"this codebook has 0 to {self.num_codes - 1}"
            ) from None
        return codewords.view(*indices.shape, self.dim).movedim(-1, 1).contiguous()

    # ------------------------------------------------------------------ inside
    def _check(self, x: Tensor) -> None:
        if x.dim() not in (3, 4) or x.shape[1] != self.dim:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this quantiser takes (batch, {self.dim}, time) or "
                f"(batch, {self.dim}, time, frequency)"
            )
        if not x.is_floating_point():
            raise ValueError(f"input is {x.dtype}; a quantiser takes floating point, e.g. x.float()")

    def _real(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """The mask of all vectors, ``(batch, time × frequency)``."""
        if mask is None:
            return None
        expected = (x.shape[0], x.shape[2])
        if tuple(mask.shape) != expected or mask.dtype != torch.bool:
            raise ValueError(
                f"mask is {mask.dtype} {tuple(mask.shape)}; it must be bool (batch, time) {expected}, True = real"
            )
        return mask.view(*expected, *(1,) * (x.dim() - 3)).expand(x.shape[0], *x.shape[2:]).flatten(1)

    def _look_up(self, x: Tensor, real: Tensor | None, *, error: bool, statistics: bool) -> tuple[Tensor, ...]:
        self._check(x)
        codebook = self.codebook.detach()
        with torch.autocast(x.device.type, enabled=False):
            codebook = codebook.to(torch.promote_types(codebook.dtype, x.dtype))
            return NearestCode.apply(x.flatten(2), codebook, real, error, statistics)

    @torch.no_grad()
    def _update(self, x: Tensor, real: Tensor | None, counts: Tensor, sums: Tensor, error: Tensor) -> None:
        """Move count and sum towards those of this batch, then restart the codes that are hardly used."""
        counts, sums, error = all_reduce(*(each.to(self.sum.dtype) for each in (counts, sums, error)))
        finite = error.isfinite()
        self._refuse_unless(finite)
        vectors = counts.sum()
        moves = finite & (vectors > 0)
        stays = (self.count * self.decay < SMALLEST) & (counts == 0) | ~moves  # also at decay 0: it keeps its place
        weight = torch.full_like(self.count, 1 - self.decay).masked_fill(stays, 0)
        count = self.count.lerp(torch.where(moves, counts, self.count), weight)
        sum_ = self.sum.lerp(torch.where(moves, sums, self.sum), weight[:, None])
        if self.dead_code_threshold:
            share = count.sum() / self.num_codes
            dead = (count < self.dead_code_threshold * share) & moves
            # A number that differs from batch to batch and is the same on all processes, after a resume and when
            # compiled: a hash of the counts (Knuth's multiplier), instead of a random state to be kept.
            multipliers = torch.arange(1, self.num_codes + 1, device=counts.device) * 2654435761
            offset = (counts.long() * multipliers).sum().remainder(2**31)
            codewords = sample_vectors(x, real, self.num_codes, offset, sum_.dtype)
            sum_ = torch.where(dead[:, None], codewords * share, sum_)
            count = torch.where(dead, share, count)
        self.count.copy_(count)
        self.sum.copy_(sum_)

    @_eager
    @torch.no_grad()
    def _start(self, x: Tensor, real: Tensor | None) -> None:
        """Start the codebook at the first batch that has a real vector: k-means, or only the scale of the counts."""
        if self.started:
            self._known_to_have_started = True
            return
        inside = x if real is None else x.masked_fill(~real[:, None], 0)
        energy = inside.to(torch.promote_types(x.dtype, self.sum.dtype)).square().sum()
        broken, vectors = all_reduce((~energy.isfinite()).long(), count_vectors(x, real))
        self._refuse_unless(broken == 0)
        if not vectors or broken:
            return
        if self.init == "random":
            codewords, count = broadcast(self.codebook), torch.full_like(self.count, float(vectors) / self.num_codes)
        else:
            codewords, count = self._k_means(x, real)
        self.count.copy_(count)
        self.sum.copy_(codewords * count[:, None])
        self.started.fill_(True)
        self._known_to_have_started = True

    def _k_means(self, x: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Codewords and counts after some rounds of Lloyd's algorithm over the vectors of all processes."""
        first = torch.zeros((), dtype=torch.int64, device=x.device)
        codewords = sample_vectors(x, real, self.num_codes, first, self.sum.dtype)
        for _ in range(ROUNDS):
            with torch.autocast(x.device.type, enabled=False):
                codebook = codewords.to(torch.promote_types(codewords.dtype, x.dtype))
                statistics = NearestCode.apply(x, codebook, real, False, True)[3:]
                counts, sums = (each.to(codewords.dtype) for each in statistics)
            counts, sums = all_reduce(counts, sums)
            codewords = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], codewords)
        return codewords, counts.clamp_min(SMALLEST)

    @staticmethod
    def _refuse_unless(finite: Tensor) -> None:
        """On a CPU the question costs nothing; on a GPU it would wait for the device, so there nobody asks."""
        if finite.device.type == "cpu" and not torch.compiler.is_compiling() and not finite:
            raise NotFinite(
                "the batch has vectors that are NaN, infinite or too large to be squared, so the codebook was left "
                "as it was; look for a learning rate that is too high, or for broken features (mask padded frames)"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> VectorQuantizer:
        """Moves and casts, but never to half precision: a moving average of weight 0.01 would stand still there."""
        before = {name: getattr(self, name) for name in ("count", "sum")}
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = getattr(self, name)
            if torch.finfo(new.dtype).bits < 32:
                setattr(self, name, old.to(new.device, torch.promote_types(old.dtype, torch.float32)))
        return self

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._known_to_have_started = False

    def extra_repr(self) -> str:
        """The sizes, for print()."""
        threshold = f"dead_code_threshold={self.dead_code_threshold}"
        return f"num_codes={self.num_codes}, dim={self.dim}, decay={self.decay}, {threshold}"


class QuantizerStream(StatelessStream):
    """Looks codewords up; leaves the codebook alone, also in training."""

    module: VectorQuantizer

    def _advance(self, x: Tensor) -> Tensor:
        return self.module._codewords(x)
