"""The nearest codeword of every vector, in pieces that stay in the cache: no matrix of all distances, no one-hot."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from causalcnn.nn.workers import share, threads_to_share

__all__ = [
    "NearestCode",
    "centre",
    "half_norms",
    "nearest",
    "nearest_of_few",
    "nearest_plain",
    "nearest_reference",
    "smallest",
]

SCORES, SCORES_ELSEWHERE = 2**19, 2**25
"""Scores (vectors × codes) computed at once: on a CPU 2 MB, which the cache of a core holds; elsewhere enough to fill a
GPU."""

RUNS, WORTH_A_THREAD = 16, 256
"""Runs of pieces for each thread, so that one that gets on slowly has fewer; vectors, fewer of which need no thread."""


def nearest_reference(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Find the nearest codewords in the slow, obvious way, which :func:`nearest` must equal.

    Args:
        vectors: the vectors, ``(vectors, dim)``.
        codebook: the codewords, ``(codes, dim)``.

    Returns:
        The index of the nearest codeword of each vector, int64, ``(vectors,)``.
    """
    return (vectors[:, None] - codebook).square().sum(2).argmin(1)


def half_norms(codebook: Tensor) -> Tensor:
    """½|e|² of each codeword e, ``(codes,)``, of a codebook ``(codes, dim)``."""
    return codebook.square().sum(1) / 2


def centre(codebook: Tensor) -> Tensor:
    """A point near the codewords, ``(dim,)``, from which :func:`nearest` is exact: 0 where they lie around 0.

    Far from 0, ½|e|² and x·e are large, and little is left of the digits of their difference. The point is a multiple
    of a power of two, at least as large as the codewords are apart, so that to subtract it rounds nothing.
    """
    mean = codebook.mean(0)
    numbers = torch.finfo(codebook.dtype)
    apart = torch.maximum((codebook - mean).abs().amax(), mean.abs().amax() * numbers.eps).clamp_min(numbers.tiny)
    grid = torch.pow(2.0, apart.log2().ceil())  # torch.frexp is not there on every device
    return (mean / grid).round() * grid


def nearest(vectors: Tensor, codebook: Tensor, half_norms: Tensor, scores: Tensor | None = None) -> Tensor:
    """Find the nearest codeword of each vector with one matrix product.

    The codeword e with the smallest |x − e|² is the one with the smallest ½|e|² − x·e.

    Args:
        vectors: the vectors x, ``(vectors, dim)``, from the :func:`centre`.
        codebook: the codewords e, ``(codes, dim)``, from the centre.
        half_norms: ½|e|² of each codeword, ``(codes,)``.
        scores: memory to compute in, ``(vectors, codes)``, where the caller has it: new memory would cost more than
            the product.

    Returns:
        The index of the nearest codeword of each vector, int64, ``(vectors,)``; the first of equally near ones.
    """
    scores = torch.addmm(half_norms, vectors, codebook.T, alpha=-1, out=scores)
    return smallest(scores)


def smallest(scores: Tensor) -> Tensor:
    """The place of the smallest score of each row, the first of equal ones, of ``(vectors, codes)``."""
    few = len(scores) < 64 or scores.device.type != "cpu"
    groups = 1 if few else _groups(scores.shape[1])
    if groups == 1:
        return scores.argmin(1)
    # On a CPU torch finds a minimum at the speed of memory, but its place five times more slowly: so first the
    # minimum of each group, then the place of the best group, then the place inside it.
    grouped = scores.view(-1, groups, scores.shape[1] // groups)
    best = grouped.amin(2).argmin(1)
    inside = grouped.gather(1, best[:, None, None].expand(-1, 1, grouped.shape[2]))[:, 0].argmin(1)
    return best * grouped.shape[2] + inside


def nearest_of_few(x: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Codewords and indices of vectors that are too few to be cut into pieces.

    Args:
        x: the vectors, ``(batch, dim, length)``.
        codebook: the codewords, ``(codes, dim)``, of a dtype that holds that of ``x``.

    Returns:
        The codewords, ``(batch, dim, length)``, and their indices, int64, ``(batch, length)``.
    """
    batch, dim, length = x.shape
    vectors, middle = x.transpose(1, 2).reshape(-1, dim).to(codebook.dtype), centre(codebook)
    centred = codebook - middle
    index = nearest(vectors - middle, centred, half_norms(centred))
    words = codebook.index_select(0, index).to(x.dtype).view(batch, length, dim)
    return words.transpose(1, 2).contiguous(), index.view(batch, length)


def nearest_plain(x: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Codewords and indices in operations that any runtime has, without loops over pieces: for exporting.

    Args:
        x: the vectors, ``(batch, dim, length)``.
        codebook: the codewords, ``(codes, dim)``.

    Returns:
        The codewords, ``(batch, dim, length)``, and their indices, int64, ``(batch, length)``.
    """
    middle = codebook.mean(0)
    centred = codebook - middle
    scores = half_norms(centred) - (x.transpose(1, 2) - middle) @ centred.T
    indices = scores.argmin(2)
    return torch.nn.functional.embedding(indices, codebook).transpose(1, 2), indices


def _groups(codes: int) -> int:
    """How many equal groups of at least 32 codes to search in; 1 where the codebook has no such parts."""
    return next((groups for groups in (16, 8, 4) if codes % groups == 0 and codes // groups >= 32), 1)


Piece = tuple[slice, slice]
"""Rows of the batch, and vectors of a row."""


def _pieces(batch: int, length: int, max_vectors: int) -> Iterator[Piece]:
    """Cut ``batch × length`` vectors into pieces of about ``max_vectors``: several rows at once, or parts of a row."""
    if not batch or not length:
        return
    rows = max(1, max_vectors // length)
    parts = -(-length // max_vectors)
    size = -(-length // parts)
    for row in range(0, batch, rows):
        for start in range(0, length, size):
            yield slice(row, row + rows), slice(start, start + size)


def _runs(batch: int, length: int, width: int, threads: int, device: torch.device) -> list[list[Piece]]:
    """The pieces of all vectors, in runs that are each for one thread; ``width`` numbers are computed for a vector.

    For several threads there are more runs than threads, because some may get on more slowly than others.
    """
    max_vectors = max(1, (SCORES if device.type == "cpu" else SCORES_ELSEWHERE) // width)
    if threads > 1:
        max_vectors = min(max_vectors, max(WORTH_A_THREAD, -(-batch * length // threads)))
    pieces = list(_pieces(batch, length, max_vectors))
    size = max(1, len(pieces) if threads == 1 else -(-len(pieces) // (RUNS * threads)))
    return [pieces[start : start + size] for start in range(0, len(pieces), size)] or [[]]


class NearestCode(torch.autograd.Function):
    """The codewords of vectors ``(batch, dim, length)``; the gradient passes straight through to the vectors.

    Also returned are the indices, ``(batch, length)``; the squared error, summed over all real vectors, a scalar that
    can be differentiated by the vectors; and, where ``statistics`` is True, how many real vectors each code got,
    ``(codes,)``, and their sum, ``(codes, dim)``. On a CPU each thread looks up pieces of its own; what is added up is
    the same every time, but not quite the same with another number of threads.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, codebook: Tensor, real: Tensor | None, error: bool, statistics: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Look up the codewords, and measure what is asked for; see the class."""
        batch, dim, length = x.shape
        codes, dtype = codebook.shape[0], codebook.dtype
        values = x.new_empty(x.shape)
        indices = torch.empty(batch, length, dtype=torch.int64, device=x.device)
        threads = threads_to_share(x.device) if batch * length >= 2 * WORTH_A_THREAD else 1
        middle = centre(codebook)
        centred = codebook - middle
        (norms,) = share(half_norms, [centred], threads)
        runs = _runs(batch, length, max(codes, dim), threads, x.device)

        # Memory is taken once: fresh pages for every piece would cost more than the work.
        most = max([0, *(len(range(batch)[rows]) * len(range(length)[columns]) for rows, columns in runs[0])])
        rooms = [[codebook.new_empty(most, size) for size in (codes, dim, dim)] for _ in range(threads)]

        def look_up(run: Sequence[Piece]) -> tuple[Tensor, Tensor, list[Tensor]]:
            """Fill in the codewords and indices of a run of pieces; its counts, sums and squared errors."""
            # One place more than codes: padded vectors are counted there, and it is thrown away.
            places = codes + 1 if statistics else 1
            counts, sums, errors = codebook.new_zeros(places), codebook.new_zeros(places, dim), []
            room = rooms.pop()
            scores, all_vectors, all_codewords = room
            for rows, columns in run:
                part = x[rows, :, columns]
                shape = (part.shape[0], part.shape[2])
                vectors, codewords = all_vectors[: shape[0] * shape[1]], all_codewords[: shape[0] * shape[1]]
                vectors.view(*shape, dim).copy_(part.transpose(1, 2))
                vectors -= middle  # not with out=, which torch.compile gives the strides of what was transposed
                index = nearest(vectors, centred, norms, scores[: len(vectors)])
                torch.index_select(codebook, 0, index, out=codewords)
                indices[rows, columns] = index.view(shape)
                values[rows, :, columns] = codewords.view(*shape, dim).transpose(1, 2)
                padded = None if real is None else ~real[rows, columns].reshape(-1)
                if statistics:
                    place = index if padded is None else index.masked_fill(padded, codes)
                    counts.index_add_(0, place, torch.ones_like(place, dtype=dtype))
                    sums.index_add_(0, place, vectors)
                if error:
                    residual = codewords.sub_(middle).sub_(vectors).view(-1)
                    if padded is not None:
                        codewords.masked_fill_(padded[:, None], 0)
                    errors.append(residual.dot(residual))
            rooms.append(room)
            return counts, sums, errors

        found = share(look_up, runs, threads)
        all_counts, all_sums, all_errors = zip(*found, strict=True)
        counts, sums = share(functools.partial(functools.reduce, torch.add), (all_counts, all_sums), threads)
        if statistics:
            sums += counts[:, None] * middle
        errors = [codebook.new_zeros(()), *itertools.chain.from_iterable(all_errors)]
        ctx.save_for_backward(x, values, *(() if real is None else (real,)))
        ctx.mark_non_differentiable(indices, counts, sums)
        ctx.set_materialize_grads(False)
        return values, indices, torch.stack(errors).sum(), counts[:-1], sums[:-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None, None]:
        """Pass on the gradient of the codewords, and add 2(x − codeword) of the squared error for real vectors."""
        grad_values, _, grad_error, _, _ = gradients
        if grad_error is None:
            return grad_values, None, None, None, None
        x, values, *real = ctx.saved_tensors
        residual, scale = x - values, (2 * grad_error).to(x.dtype)
        if real:
            residual.masked_fill_(~real[0][:, None], 0)
        # One pass over memory for the product and the sum, into memory that is there.
        if grad_values is None:
            return residual.mul_(scale), None, None, None, None
        return torch.addcmul(grad_values, residual, scale, out=residual), None, None, None, None
