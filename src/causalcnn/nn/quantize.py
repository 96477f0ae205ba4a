"""Vector quantisation: every vector becomes the nearest codeword of a codebook that learns by moving averages."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from causalcnn._checks import at_least
from causalcnn.nn.base import State, Stateless, StatelessStream, Stream
from causalcnn.nn.distributed import all_reduce, broadcast, count_vectors, sample_vectors
from causalcnn.nn.exporting import is_exporting
from causalcnn.nn.lookup import NearestCode, centre, half_norms, nearest_of_few, nearest_plain, smallest

__all__ = ["Quantized", "VectorQuantizer"]

ROUNDS = 10
"""Rounds of k-means at the start."""

FEW = 512
"""Up to so many vectors are looked up at once where nothing else is asked for; more in pieces."""

SMALLEST = 1e-20
"""A code that is never used stops fading here, so that its sum and its count keep their ratio for ever."""


REMEMBERED = 4
"""Of so many of the last forwards in training a quantizer knows the codebook, should a backward repeat them."""

_remembered: WeakKeyDictionary[VectorQuantizer, deque[tuple[Tensor, Tensor]]] = WeakKeyDictionary()
"""Of each of these forwards, some numbers of its input, and its codebook."""


def _some_numbers(x: Tensor) -> Tensor:
    """Enough of ``x`` to know it again."""
    flat = x.detach().reshape(-1)
    return flat[:: max(1, len(flat) // 64)].clone()


def _is_recomputing() -> bool:
    """Whether this is a forward within a backward: gradient checkpointing repeats what it did not keep."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def _eager(method: Callable[..., None]) -> Callable[..., None]:
    """``torch.compiler.disable``, asked for when something is compiled: merely to name it imports all of dynamo."""

    @functools.wraps(method)
    def run(*arguments: Any) -> None:
        (torch.compiler.disable(method) if torch.compiler.is_compiling() else method)(*arguments)

    return run


@dataclass(frozen=True, eq=False)
class Quantized:
    """What :meth:`VectorQuantizer.quantize` returns: codewords, their indices, and how far they are from the input.

    Attributes:
        values: the codewords, of the shape and dtype of the input, ``(batch, dim, time[, frequency])``. The gradient
            passes straight through them to the input. (To quantize what is left over, subtract ``values.detach()``;
            ``x − values`` has no gradient at all.)
        indices: the index of each codeword in the codebook, int64, ``(batch, time[, frequency])``.
        commitment: the commitment loss, a scalar: the mean of (x − codeword)² over all real vectors and their
            dimensions, without a weight; 0 where no vector is real. Its gradient reaches ``x`` only.
        codebook_size: number of codes in the codebook.
        mask: the mask as it was given, bool, ``(batch, time)``, True where a frame is real; None if all are.

    Example:
        >>> import torch
        >>> from causalcnn import VectorQuantizer
        >>> quantized = VectorQuantizer(num_codes=16, dim=4).quantize(torch.randn(2, 4, 50))
        >>> quantized.indices.shape, quantized.commitment.shape
        (torch.Size([2, 50]), torch.Size([]))
        >>> quantized.counts.sum()
        tensor(100)
    """

    values: Tensor
    indices: Tensor
    commitment: Tensor
    codebook_size: int
    mask: Tensor | None = None

    @functools.cached_property
    def counts(self) -> Tensor:
        """How often each code was chosen for a real vector on this process, int64, ``(codebook_size,)``."""
        real = self.indices.reshape(-1) if self.mask is None else self.indices[self.mask].reshape(-1)
        counts = torch.zeros(self.codebook_size, dtype=torch.int64, device=real.device)
        return counts.index_add_(0, real, torch.ones_like(real))

    @functools.cached_property
    def num_vectors(self) -> int:
        """How many real vectors there are. Of few vectors, :attr:`usage` and :attr:`perplexity` come out low."""
        return self.indices.numel() if self.mask is None else int(self.counts.sum())

    @functools.cached_property
    def usage(self) -> Tensor:
        """The share of the codes that were chosen at least once, from 0 to 1, a scalar."""
        return (self.counts > 0).float().mean()

    @functools.cached_property
    def perplexity(self) -> Tensor:
        """The exponential of the entropy of the codes, from 1 to their number, a scalar.

        That many codes, all used equally often, would carry as much information.
        """
        share = self.counts / self.counts.sum().clamp_min(1)
        return torch.special.entr(share).sum().exp()


class NotFinite(ValueError):
    """A vector is NaN, infinite, or too large to be squared."""


class VectorQuantizer(Stateless):
    """Replaces every vector by the nearest codeword of a codebook, which follows the vectors by moving averages.

    In ``train()`` each call moves the codebook, after the lookup; in ``eval()`` nothing changes it. The layer stores
    two moving averages, how often each code is used (``count``) and the sum of its vectors (``sum``); the codebook is
    their ratio. Several processes add up their statistics, so that all hold the same codebook.

    The first batch in training starts the codebook, by k-means. A code that is hardly used starts again at a vector of
    the batch. Which vector that is follows from the batch itself, not from a random state, so that a training that is
    resumed or compiled does the same (on a GPU up to rounding).

    :meth:`freeze` lets the codebook stand while the rest of a model is trained.

    Lookup, error and moving averages are computed in float32 at least, also under autocast and in a model of half
    precision. Codewords and gradients have the dtype of the input. There are first derivatives only.

    Args:
        num_codes: number of codewords in the codebook, ≥ 1.
        dim: size of a vector, which is the number of channels of the input, ≥ 1.
        decay: decay of the moving averages, at least 0 and below 1; 0.99 remembers about 100 batches.
        dead_code_threshold: a code starts again when it is used less often than this share of what it would be if all
            were used alike; at least 0 and below 1, 0 for never.
        init: ``"k-means"`` starts the codebook at the first batch; ``"random"`` at standard normal numbers, drawn when
            the layer is made.

    Attributes:
        count: how often each code was used, a moving average over the batches, ``(num_codes,)``.
        sum: the sum of the vectors of each code, a moving average over the batches, ``(num_codes, dim)``.
        started: whether a batch has started the codebook, a bool scalar.
        frozen: whether :meth:`freeze` lets the codebook stand.

    Shape:
        ``(batch, dim, time[, frequency])``, unchanged.

    Raises:
        ValueError: a size or a share is out of range, or ``init`` is unknown. From calls: the input has another
            shape; or, in training on a CPU, a real vector is not finite, and the codebook stays as it was. (On a GPU
            this check would wait for the device at every step. There such a batch leaves the codebook as it was, too,
            and its commitment is NaN.)

    Source:
        van den Oord, Vinyals and Kavukcuoglu, arXiv 1711.00937, appendix A.1 (moving averages); Kaiser et al.,
        arXiv 1803.03382; Défossez et al., Moshi, arXiv 2410.00037 (restart by the share of uniform usage).

    Example:
        >>> import torch
        >>> from causalcnn import VectorQuantizer
        >>> quantizer = VectorQuantizer(num_codes=16, dim=4).eval()
        >>> x = torch.randn(2, 4, 50)
        >>> codes = quantizer.encode(x)
        >>> codes.shape, torch.equal(quantizer.decode(codes), quantizer(x))
        (torch.Size([2, 50]), True)
    """

    count: Tensor
    sum: Tensor
    started: Tensor
    frozen: bool

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
        self.frozen = False

    # ------------------------------------------------------------------ as a layer
    def forward(self, x: Tensor) -> Tensor:
        """Replace each vector by its codeword. In training, the codebook then moves.

        Args:
            x: the vectors, ``(batch, dim, time[, frequency])``.

        Returns:
            The codewords, ``(batch, dim, time[, frequency])``.

        Raises:
            ValueError: ``x`` is no input of this layer; or, in training on a CPU, a vector is not finite.
        """
        return self.quantize(x).values if self._learns else self._codewords(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Replace each vector by its codeword, whatever came before. In training, the codebook then moves.

        Args:
            x: the vectors of the next frames, ``(batch, dim, time[, frequency])``.
            state: what :meth:`initial_state` or the previous ``step`` returned; there is nothing to remember.

        Returns:
            The codewords, ``(batch, dim, time[, frequency])``; and the new state.

        Raises:
            ValueError: ``x`` is no input of this layer; or, in training on a CPU, a vector is not finite.
        """
        # A piece without frames teaches nothing, and no other process need be asked.
        return (self(x) if is_exporting() or x.shape[2] else x), ()

    def _torch_stream(self, state: State | None) -> Stream:
        return QuantizerStream(self, state)  # it never moves the codebook, also not in training

    def _codewords(self, x: Tensor) -> Tensor:
        return self._look_up(x, None, error=False, statistics=False)[0].view(x.shape)

    # ------------------------------------------------------------------ use
    def freeze(self) -> Self:
        """Let the codebook stand from now on, also in ``train()``: no start, no moving averages, no restarts.

        All else is as in training. The gradient passes straight through the codewords, so that the encoder goes on
        learning; the commitment loss has its gradient and pulls the encoder towards codewords that no longer come to
        meet it. Leave it out of the loss if the encoder is to be free. Usage and perplexity are reported.

        The moving averages keep their values for :meth:`unfreeze`. A state dict of a frozen quantizer has an entry
        ``frozen``, and freezes what it is loaded into; a state dict without it changes nothing here, so that a
        quantizer that was frozen before its weights were loaded stays frozen. With several processes, freeze on all
        of them: those that learn wait for each other's statistics.

        A codebook of your own is set by ``quantizer.sum.copy_(codewords)`` and ``quantizer.count.fill_(1)``.

        Returns:
            The quantizer itself.

        Example:
            >>> import torch
            >>> from causalcnn import VectorQuantizer
            >>> quantizer = VectorQuantizer(num_codes=16, dim=4).freeze()
            >>> before = quantizer.codebook
            >>> quantizer.train().quantize(torch.randn(2, 4, 50)).commitment > 0
            tensor(True)
            >>> torch.equal(quantizer.codebook, before)
            True
        """
        self.frozen = True
        return self

    def unfreeze(self) -> Self:
        """Let the codebook learn again in ``train()``, from the averages that it was frozen with.

        A codebook that no batch has started is started by the next one, unless ``init`` is ``"random"``.

        Returns:
            The quantizer itself.
        """
        self.frozen = False
        return self

    @property
    def _learns(self) -> bool:
        return self.training and not self.frozen

    @property
    def codebook(self) -> Tensor:
        """The codewords, ``(num_codes, dim)``, each the mean of the vectors that its code was chosen for."""
        return self.sum / self.count.clamp_min(SMALLEST**1.5)[:, None]

    def quantize(self, x: Tensor, mask: Tensor | None = None) -> Quantized:
        """Find the codewords of ``x``, their indices and the commitment loss. In training, the codebook then moves.

        A frozen codebook never moves. Where gradient checkpointing repeats a forward, the codebook does not move again,
        and the codewords are those of the first time.

        Args:
            x: the vectors, ``(batch, dim, time[, frequency])``.
            mask: True where a frame is real, bool, ``(batch, time)``; by default all are. Padded frames get codewords
                too, but count neither in the loss nor in the codebook.

        Returns:
            Codewords, indices and commitment loss.

        Raises:
            ValueError: ``x`` or ``mask`` has another shape or dtype; or, in training on a CPU, a real vector is not
                finite, and the codebook stays as it was.
            RuntimeError: gradient checkpointing repeats a forward that is too long ago.
        """
        self._check(x)
        real = self._real(x, mask)
        repeats = self._learns and _is_recomputing()
        learns = self._learns and not repeats
        if learns and not self._known_to_have_started:
            self._start(x.detach().flatten(2), real)
        codebook = self._recall(x) if repeats else self.codebook.detach()
        values, indices, error, counts, sums = self._look_up(x, real, error=True, statistics=learns, codebook=codebook)
        vectors = indices.numel() if real is None else real.sum().clamp_min(1)
        commitment = error / (vectors * self.dim) if indices.numel() else error
        if learns:
            self._update(x.detach().flatten(2), real, counts, sums, error.detach())
            if not torch.compiler.is_compiling():
                kept = _remembered.setdefault(self, deque(maxlen=REMEMBERED))
                kept.append((_some_numbers(x), codebook))
        shape = (x.shape[0], *x.shape[2:])
        return Quantized(values.view(x.shape), indices.view(shape), commitment, self.num_codes, mask)

    def encode(self, x: Tensor) -> Tensor:
        """Find the indices of the codewords of ``x``. The codebook never moves.

        Args:
            x: the vectors, ``(batch, dim, time[, frequency])``.

        Returns:
            The index of each codeword in the codebook, int64, ``(batch, time[, frequency])``.

        Raises:
            ValueError: ``x`` has another shape, or is not of floating point.
        """
        if has_torch_function_unary(x):  # as torch's own functions say to what is no tensor
            return handle_torch_function(VectorQuantizer.encode, (x,), self, x)
        self._check(x)
        indices = self._look_up(x.detach(), None, error=False, statistics=False)[1]
        return indices.view(x.shape[0], *x.shape[2:])

    def decode(self, indices: Tensor) -> Tensor:
        """Look up the codewords with these indices.

        Args:
            indices: indices of codewords, as :meth:`encode` returns them, ``(batch, time[, frequency])``.

        Returns:
            The codewords, ``(batch, dim, time[, frequency])``.

        Raises:
            ValueError: the indices have another shape, are no integers, or (on a CPU) are not in the codebook.
        """
        if has_torch_function_unary(indices):
            return handle_torch_function(VectorQuantizer.decode, (indices,), self, indices)
        return self._select(indices, self.codebook).contiguous()

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

    def _select(self, indices: Tensor, codebook: Tensor) -> Tensor:
        """The codewords with these indices, channels last in memory."""
        if indices.dim() not in (2, 3):
            raise ValueError(
                f"indices have shape {tuple(indices.shape)}; a quantiser takes (batch, time) or "
                "(batch, time, frequency)"
            )
        if indices.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"indices are {indices.dtype}; they must be int64 or int32, as encode() returns them")
        try:
            codewords = codebook.index_select(0, indices.reshape(-1))
        except IndexError:
            raise ValueError(
                f"indices lie between {int(indices.min())} and {int(indices.max())}; "
                f"this codebook has 0 to {self.num_codes - 1}"
            ) from None
        return codewords.view(*indices.shape, self.dim).movedim(-1, 1)

    def _look_up(
        self, x: Tensor, real: Tensor | None, *, error: bool, statistics: bool, codebook: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        self._check(x)
        codebook = self.codebook.detach() if codebook is None else codebook
        if codebook.dtype != x.dtype:
            codebook = codebook.to(torch.promote_types(codebook.dtype, x.dtype))
        measured = error or statistics or (x.requires_grad and torch.is_grad_enabled())
        autocast = torch.is_autocast_enabled(x.device.type)
        # Even to leave an autocast that is off costs a quarter of a small lookup.
        with torch.autocast(x.device.type, enabled=False) if autocast else contextlib.nullcontext():
            if is_exporting():
                return nearest_plain(x.flatten(2), codebook)
            if not measured and x.numel() <= FEW * self.dim:
                return nearest_of_few(x.flatten(2), codebook)
            return NearestCode.apply(x.flatten(2), codebook, real, error, statistics)

    def _recall(self, x: Tensor) -> Tensor:
        """The codebook with which ``x`` was quantized before, for a backward that repeats it."""
        numbers = _some_numbers(x)
        for seen, codebook in reversed(_remembered.get(self, ())):
            if seen.shape == numbers.shape and torch.equal(seen, numbers):
                return codebook
        raise RuntimeError(
            "a backward pass repeats a forward of this quantizer in training, as gradient checkpointing does, and its "
            f"codebook has moved since then; it knows its last {REMEMBERED} codebooks only, and the input again if it "
            "is the same to the last bit. Leave the quantizer outside of what is checkpointed"
        )

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
        """Raise unless all was finite, on a CPU only: on a GPU the question would wait for the device."""
        if finite.device.type == "cpu" and not torch.compiler.is_compiling() and not finite:
            raise NotFinite(
                "the batch has vectors that are NaN, infinite or too large to be squared, so the codebook was left "
                "as it was; look for a learning rate that is too high, or for broken features (mask padded frames)"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> VectorQuantizer:
        """Move and cast, but never to half precision, where a moving average of weight 0.01 would stand still."""
        before = {name: getattr(self, name) for name in ("count", "sum")}
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = getattr(self, name)
            if torch.finfo(new.dtype).bits < 32:
                setattr(self, name, old.to(new.device, torch.promote_types(old.dtype, torch.float32)))
        return self

    # Not a buffer: a GPU would be asked for it at every step, and files of before would lack it.
    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.frozen:
            destination[f"{prefix}frozen"] = torch.tensor(True)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any, **options: Any) -> None:
        if state_dict.pop(f"{prefix}frozen", False):
            self.freeze()
        super()._load_from_state_dict(state_dict, prefix, *arguments, **options)
        self._known_to_have_started = False

    def extra_repr(self) -> str:
        """The arguments, as ``print`` shows them."""
        threshold = f"dead_code_threshold={self.dead_code_threshold}"
        frozen = ", frozen" if self.frozen else ""
        return f"num_codes={self.num_codes}, dim={self.dim}, decay={self.decay}, {threshold}{frozen}"


class QuantizerStream(StatelessStream):
    """Looks codewords up in the codebook of when it was made; it moves none, also in training.

    For a frame, codebook and norms are at hand, and nothing is computed that only a loss or a long piece would need.
    """

    module: VectorQuantizer

    def __init__(self, module: VectorQuantizer, state: State | None = None) -> None:
        super().__init__(module, state)
        self._load(())  # encode and decode wait for no piece

    def _load(self, state: State) -> None:
        self._codebook = self.module.codebook.detach()
        self._centre = centre(self._codebook)
        centred = self._codebook - self._centre
        self._half_norms, self._turned = half_norms(centred), -centred.T.contiguous()

    def _advance(self, x: Tensor) -> Tensor:
        batch, dim, *cells = x.shape
        codewords = self._codebook.index_select(0, self._indices(x)).view(batch, *cells, dim).movedim(-1, 1)
        return codewords if codewords.dtype == x.dtype else codewords.to(x.dtype)

    def _indices(self, x: Tensor) -> Tensor:
        """The indices of the codewords of all vectors, in one row."""
        module = self.module
        module._check(x)
        plain = x.dtype == self._codebook.dtype and not torch.is_autocast_enabled(x.device.type)
        if plain and x.numel() <= FEW * module.dim:
            vectors = x.movedim(1, -1).reshape(-1, module.dim) - self._centre
            return smallest(torch.addmm(self._half_norms, vectors, self._turned))
        return module._look_up(x, None, error=False, statistics=False, codebook=self._codebook)[1].view(-1)

    def encode(self, x: Tensor) -> Tensor:
        """Find the indices of the codewords of ``x``; see :meth:`VectorQuantizer.encode`."""
        return self._indices(x).view(x.shape[0], *x.shape[2:])

    def decode(self, indices: Tensor) -> Tensor:
        """Look up the codewords with these indices; see :meth:`VectorQuantizer.decode`."""
        return self.module._select(indices, self._codebook)
