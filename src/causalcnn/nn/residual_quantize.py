"""Residual vector quantisation: each stage quantizes what the stages before it have left over."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn._checks import at_least
from causalcnn.nn.base import State, Stateless, StatelessStream, Stream
from causalcnn.nn.exporting import is_exporting
from causalcnn.nn.quantize import Quantized, QuantizerStream, VectorQuantizer

__all__ = ["ResidualQuantized", "ResidualVectorQuantizer"]


@dataclass(frozen=True, eq=False)
class ResidualQuantized:
    """What :meth:`ResidualVectorQuantizer.quantize` returns: sums of codewords, and what each stage found.

    Attributes:
        values: the sum of the codewords of all stages, of the shape and dtype of the input,
            ``(batch, dim, time[, frequency])``. The gradient passes straight through to the input, once.
        stages: what each stage found in what was left over for it. The ``values`` of a stage have a gradient of their
            own; to sum them is to count the gradient once for each stage, which :attr:`values` does not.

    Example:
        >>> import torch
        >>> from causalcnn import ResidualVectorQuantizer
        >>> quantized = ResidualVectorQuantizer(3, num_codes=16, dim=4).quantize(torch.randn(2, 4, 50))
        >>> quantized.indices.shape, quantized.perplexity.shape
        (torch.Size([2, 3, 50]), torch.Size([3]))
    """

    values: Tensor
    stages: tuple[Quantized, ...]

    @functools.cached_property
    def indices(self) -> Tensor:
        """The codes of all stages, int64, ``(batch, num_stages, time[, frequency])``."""
        return torch.stack([stage.indices for stage in self.stages], dim=1)

    @functools.cached_property
    def commitment(self) -> Tensor:
        """The commitment loss, a scalar: the mean of those of the stages, without a weight.

        Its gradient reaches the input through every stage. For other weights, add up those of :attr:`stages`.
        """
        return torch.stack([stage.commitment for stage in self.stages]).mean()

    @functools.cached_property
    def usage(self) -> Tensor:
        """The share of the codes that each stage chose at least once, from 0 to 1, ``(num_stages,)``."""
        return torch.stack([stage.usage for stage in self.stages])

    @functools.cached_property
    def perplexity(self) -> Tensor:
        """The exponential of the entropy of the codes of each stage, from 1 to their number, ``(num_stages,)``."""
        return torch.stack([stage.perplexity for stage in self.stages])


class ResidualVectorQuantizer(Stateless):
    """Replaces every vector by a sum of codewords: each stage quantizes what the stages before it have left over.

    ``num_stages`` codebooks of ``num_codes`` tell ``num_codes ** num_stages`` vectors apart. The first stages alone
    give a coarser vector, so that one model has several rates: :meth:`decode` takes the codes of any number of first
    stages.

    What is left over is the vector minus the *detached* codeword. Otherwise the straight-through gradient of the
    codeword would cancel that of the vector, and the commitment losses of all stages but the first would have no
    gradient. The gradient of the sum passes straight through once, not once for each stage.

    Each stage is a :class:`VectorQuantizer`: it learns, starts, restarts and freezes as that class says. The first
    batch starts all stages, each with what the one before it leaves over. All is computed in float32 at least.

    Args:
        num_stages: number of codebooks, ≥ 1.
        num_codes: number of codewords in each codebook, ≥ 1.
        dim: size of a vector, which is the number of channels of the input, ≥ 1.
        decay: decay of the moving averages, as for :class:`VectorQuantizer`.
        dead_code_threshold: when a code starts again, as for :class:`VectorQuantizer`.
        init: how a codebook starts, as for :class:`VectorQuantizer`.

    Attributes:
        quantizers: the stages, each a :class:`VectorQuantizer`.

    Shape:
        ``(batch, dim, time[, frequency])``, unchanged.

    Raises:
        ValueError: a size or a share is out of range, or ``init`` is unknown. From calls: as for
            :class:`VectorQuantizer`.

    Source:
        Zeghidour et al., SoundStream, arXiv 2107.03312, section III-C; Défossez et al., EnCodec, arXiv 2210.13438.

    Example:
        >>> import torch
        >>> from causalcnn import ResidualVectorQuantizer
        >>> quantizer = ResidualVectorQuantizer(num_stages=3, num_codes=16, dim=4)
        >>> x = torch.randn(2, 4, 50)
        >>> _ = quantizer.train()(x), quantizer.eval()
        >>> codes = quantizer.encode(x)
        >>> codes.shape, torch.equal(quantizer.decode(codes), quantizer(x))
        (torch.Size([2, 3, 50]), True)
        >>> errors = [(quantizer.decode(codes[:, :n]) - x).square().mean() for n in (1, 2, 3)]
        >>> bool(errors[0] > errors[1] > errors[2])
        True
    """

    quantizers: nn.ModuleList

    def __init__(
        self,
        num_stages: int,
        num_codes: int,
        dim: int,
        *,
        decay: float = 0.99,
        dead_code_threshold: float = 0.1,
        init: Literal["k-means", "random"] = "k-means",
    ) -> None:
        super().__init__()
        self.num_stages = at_least("num_stages", num_stages)
        self.num_codes, self.dim = num_codes, dim
        options = {"decay": decay, "dead_code_threshold": dead_code_threshold}
        self.quantizers = nn.ModuleList(
            VectorQuantizer(num_codes, dim, init=init, **options) for _ in range(self.num_stages)
        )

    # ------------------------------------------------------------------ as a layer
    def forward(self, x: Tensor) -> Tensor:
        """Replace each vector by the sum of its codewords. In training, the codebooks then move.

        Args:
            x: the vectors, ``(batch, dim, time[, frequency])``.

        Returns:
            The sums of codewords, ``(batch, dim, time[, frequency])``.

        Raises:
            ValueError: ``x`` is no input of this layer; or, in training on a CPU, a vector is not finite.
        """
        return self._sum(x, self._stages())

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Replace each vector by the sum of its codewords, whatever came before. In training, the codebooks then move.

        Args:
            x: the vectors of the next frames, ``(batch, dim, time[, frequency])``.
            state: what :meth:`initial_state` or the previous ``step`` returned; there is nothing to remember.

        Returns:
            The sums of codewords, ``(batch, dim, time[, frequency])``; and the new state.

        Raises:
            ValueError: ``x`` is no input of this layer; or, in training on a CPU, a vector is not finite.
        """
        return (self(x) if is_exporting() or x.shape[2] else x), ()

    @override
    def _torch_stream(self, state: State | None) -> Stream:
        return ResidualQuantizerStream(self, state)  # it never moves a codebook, also not in training

    # ------------------------------------------------------------------ use
    def freeze(self) -> Self:
        """Let all codebooks stand from now on; see :meth:`VectorQuantizer.freeze`.

        For some stages only, freeze those of :attr:`quantizers`.

        Returns:
            The quantizer itself.
        """
        for stage in self._stages():
            stage.freeze()
        return self

    def unfreeze(self) -> Self:
        """Let all codebooks learn again; see :meth:`VectorQuantizer.unfreeze`.

        Returns:
            The quantizer itself.
        """
        for stage in self._stages():
            stage.unfreeze()
        return self

    def quantize(self, x: Tensor, mask: Tensor | None = None) -> ResidualQuantized:
        """Find the codewords of ``x``, their indices and commitment losses. In training, the codebooks then move.

        Args:
            x: the vectors, ``(batch, dim, time[, frequency])``.
            mask: True where a frame is real, bool, ``(batch, time)``; by default all are. Padded frames get codewords
                too, but count neither in the losses nor in the codebooks.

        Returns:
            The sums of codewords, and what each stage found.

        Raises:
            ValueError: ``x`` or ``mask`` has another shape or dtype; or, in training on a CPU, a real vector is not
                finite, and the codebooks stay as they were.
        """
        stages: list[Quantized] = []

        def look_up(quantizer: VectorQuantizer, left: Tensor) -> Tensor:
            stages.append(quantizer.quantize(left, mask))
            return stages[-1].values

        values = self._sum(x, [functools.partial(look_up, quantizer) for quantizer in self._stages()])
        return ResidualQuantized(values, tuple(stages))

    def encode(self, x: Tensor) -> Tensor:
        """Find the indices of the codewords of ``x``. No codebook ever moves.

        Args:
            x: the vectors, ``(batch, dim, time[, frequency])``.

        Returns:
            The codes of all stages, int64, ``(batch, num_stages, time[, frequency])``.

        Raises:
            ValueError: ``x`` has another shape, or is not of floating point.
        """
        return self._encode(x, self._stages())

    def decode(self, indices: Tensor) -> Tensor:
        """Sum up the codewords with these indices.

        Args:
            indices: as :meth:`encode` returns them, or those of the first stages only, for a coarser sum:
                ``(batch, 1 … num_stages, time[, frequency])``.

        Returns:
            The sums of codewords, ``(batch, dim, time[, frequency])``.

        Raises:
            ValueError: the indices have another shape, are no integers, or (on a CPU) are not in a codebook.
        """
        return self._decode(indices, self._stages())

    # ------------------------------------------------------------------ inside
    def _stages(self) -> list[VectorQuantizer]:
        return list(self.quantizers)  # type: ignore[arg-type]

    def _sum(self, x: Tensor, stages: Iterable[Callable[[Tensor], Tensor]]) -> Tensor:
        """What the stages make of ``x``, summed, with one straight-through gradient."""
        left = self._wide(x)
        total: Tensor | None = None
        for stage in stages:
            codewords = stage(left)
            left = left - codewords.detach()
            total = codewords if total is None else total + codewords.detach()
        assert total is not None
        return total.to(x.dtype)

    def _encode(self, x: Tensor, stages: Iterable[VectorQuantizer | QuantizerStream]) -> Tensor:
        left, codes = self._wide(x.detach()), []
        for stage in stages:
            codes.append(stage.encode(left))
            left = left - stage.decode(codes[-1])
        return torch.stack(codes, dim=1)

    def _decode(self, indices: Tensor, stages: Iterable[VectorQuantizer | QuantizerStream]) -> Tensor:
        if indices.dim() not in (3, 4) or not 1 <= indices.shape[1] <= self.num_stages:
            raise ValueError(
                f"indices have shape {tuple(indices.shape)}; this quantizer takes (batch, stages, time) or "
                f"(batch, stages, time, frequency), with 1 to {self.num_stages} stages"
            )
        return functools.reduce(
            torch.add, [stage.decode(codes) for stage, codes in zip(stages, indices.unbind(1), strict=False)]
        )

    def _wide(self, x: Tensor) -> Tensor:
        """``x`` in float32 at least: in half precision, a late stage would quantize the rounding of the early ones."""
        first: VectorQuantizer = self.quantizers[0]  # type: ignore[assignment]
        first._check(x)
        return x.to(torch.promote_types(x.dtype, first.sum.dtype))

    def extra_repr(self) -> str:
        """The arguments, as ``print`` shows them."""
        return f"num_stages={self.num_stages}, num_codes={self.num_codes}, dim={self.dim}"


class ResidualQuantizerStream(StatelessStream):
    """Looks codewords up in the codebooks of when it was made; it moves none, also in training."""

    module: ResidualVectorQuantizer
    _streams: list[Any]

    def __init__(self, module: ResidualVectorQuantizer, state: State | None = None) -> None:
        super().__init__(module, state)
        self._load(())  # encode and decode wait for no piece

    def _load(self, state: State) -> None:
        self._streams = [stage.stream(()) for stage in self.module._stages()]

    def _advance(self, x: Tensor) -> Tensor:
        return self.module._sum(x, [stream._advance for stream in self._streams])

    def encode(self, x: Tensor) -> Tensor:
        """Find the indices of the codewords of ``x``; see :meth:`ResidualVectorQuantizer.encode`."""
        return self.module._encode(x, self._streams)

    def decode(self, indices: Tensor) -> Tensor:
        """Sum up the codewords with these indices; see :meth:`ResidualVectorQuantizer.decode`."""
        return self.module._decode(indices, self._streams)
