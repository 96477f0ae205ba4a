"""What several processes must agree on: sums over the vectors of all of them, and a sample of these vectors."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["all_reduce", "broadcast", "count_vectors", "sample_vectors"]

GOLDEN = 663_608_942
"""The golden ratio's 0.618…, in units of 2⁻³⁰."""


def world_size() -> int:
    """How many processes work together: 1 where ``torch.distributed`` has not been started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_reduce(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Sum each tensor over all processes, in one message. All tensors must have one dtype."""
    if world_size() == 1:
        return tensors
    packed = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(packed)
    parts = packed.split([tensor.numel() for tensor in tensors])
    return tuple(part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))


def broadcast(tensor: Tensor) -> Tensor:
    """The tensor of the first process, on all of them."""
    if world_size() > 1:
        tensor = tensor.contiguous()
        dist.broadcast(tensor, 0)
    return tensor


def count_vectors(x: Tensor, real: Tensor | None) -> Tensor:
    """Count the real vectors of this process, a scalar int64; arguments as for :func:`sample_vectors`."""
    return torch.tensor(x.shape[0] * x.shape[2], device=x.device) if real is None else real.sum()


def sample_vectors(x: Tensor, real: Tensor | None, count: int, offset: Tensor, dtype: torch.dtype) -> Tensor:
    """Take a sample of the real vectors of all processes, the same on each of them, without random numbers.

    With all real vectors in a row, vector k of the sample is number ``offset + k·0.618…·total``, modulo ``total``.
    The multiples of the golden ratio are spread evenly, however many are taken, and do not follow a frequency axis.
    Where there are few vectors, some are taken several times.

    Args:
        x: the vectors of this process, ``(batch, dim, length)``.
        real: True where a vector is real, bool, ``(batch, length)``; None if all are.
        count: number of vectors to take.
        offset: the number of the first one, an int64 scalar ≥ 0, the same on all processes.
        dtype: of the result.

    Returns:
        The sample, ``(count, dim)``; zeros where there are no real vectors at all.
    """
    batch, dim, length = x.shape
    rank = dist.get_rank() if world_size() > 1 else 0
    mine = torch.zeros(world_size(), dtype=torch.int64, device=x.device)
    mine[rank] = count_vectors(x, real)
    (per_process,) = all_reduce(mine)
    total = per_process.sum()
    # Fractions of the total in whole numbers, so that every machine takes the same vectors.
    fractions = (torch.arange(count, device=x.device) * GOLDEN).remainder(2**30)
    numbers = (offset + (fractions * total).div(2**30, rounding_mode="floor")).remainder(total.clamp_min(1))
    own = numbers - per_process[:rank].sum()
    here = (own >= 0) & (own < per_process[rank])
    sample = torch.zeros(count, dim, dtype=dtype, device=x.device)
    if batch * length:
        own = own.clamp(0, batch * length - 1)
        if real is not None:  # number i among the real ones: where their running count reaches i + 1
            own = torch.searchsorted(real.reshape(-1).cumsum(0), own + 1).clamp_max(batch * length - 1)
        row, position = own.div(length, rounding_mode="floor"), own.remainder(length)
        sample = torch.where(here[:, None], x[row, :, position].to(dtype), sample)
    return all_reduce(sample)[0]
