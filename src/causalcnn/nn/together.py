"""What several processes must agree on: sums over all of their vectors, and vectors picked from all of them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["added_up", "as_first_has_it", "how_many", "picked"]

GOLDEN = 663_608_942
"""The golden ratio's 0.618…, in units of 2⁻³⁰."""


def processes() -> int:
    """How many work together: 1 where ``torch.distributed`` has not been started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def added_up(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor, summed over all processes, in one message; they must have one dtype."""
    if processes() == 1:
        return tensors
    packed = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(packed)
    parts = packed.split([tensor.numel() for tensor in tensors])
    return tuple(part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))


def as_first_has_it(tensor: Tensor) -> Tensor:
    """The tensor of the first process, on all of them."""
    if processes() > 1:
        tensor = tensor.contiguous()
        dist.broadcast(tensor, 0)
    return tensor


def how_many(x: Tensor, real: Tensor | None) -> Tensor:
    """Real vectors in ``(batch, dim, length)`` on this process, int64; ``real`` as for :func:`picked`."""
    return torch.tensor(x.shape[0] * x.shape[2], device=x.device) if real is None else real.sum()


def picked(x: Tensor, real: Tensor | None, number: int, turn: Tensor, dtype: torch.dtype) -> Tensor:
    """Real vectors spread evenly over those of all processes, ``(number, dim)``, the same on all of them.

    Vector k is the real one at ``turn`` + the fraction k·0.618… (modulo 1) of the way through: the multiples of the
    golden ratio lie evenly however many are taken, need no random state, and do not follow a frequency axis. Few
    vectors are taken several times.

    Args:
        x: ``(batch, dim, length)``. real: ``(batch, length)`` bool, or None for all. turn: int64 scalar ≥ 0.
    """
    batch, dim, length = x.shape
    world, rank = processes(), dist.get_rank() if processes() > 1 else 0
    mine = torch.zeros(world, dtype=torch.int64, device=x.device)
    mine[rank] = how_many(x, real)
    (each,) = added_up(mine)
    total = each.sum()
    way = (torch.arange(number, device=x.device) * GOLDEN).remainder(2**30)
    numbers = (turn + (way * total).div(2**30, rounding_mode="floor")).remainder(total.clamp_min(1))
    own = numbers - each[:rank].sum()
    here = (own >= 0) & (own < each[rank])
    words = torch.zeros(number, dim, dtype=dtype, device=x.device)
    if batch * length:
        own = own.clamp(0, batch * length - 1)
        if real is not None:  # number i among the real ones: where their running count reaches i + 1
            own = torch.searchsorted(real.reshape(-1).cumsum(0), own + 1).clamp_max(batch * length - 1)
        row, place = own.div(length, rounding_mode="floor"), own.remainder(length)
        words = torch.where(here[:, None], x[row, :, place].to(dtype), words)
    return added_up(words)[0]
