"""The second question of an audit: what do these weights do? Change the future and compare the past, bit by bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from causalcnn.causality.copies import copied
from causalcnn.causality.structure import allowance, rate_of
from causalcnn.nn.base import Convention

__all__ = ["Behaviour", "Runner", "change_the_future", "cut_in_pieces", "cut_short"]


ROUNDING = 1e-9
"""Relative size below which a change in float64 is rounding: structure moves numbers by far more."""


class _Coarsest(TorchDispatchMode):
    """Notes the step between neighbouring numbers of the coarsest type that a network computes in."""

    step = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in pytree.tree_leaves(result):
            if isinstance(made, Tensor) and (made.is_floating_point() or made.is_complex()):
                self.step = max(self.step, torch.finfo(made.dtype).eps)
        return result


@dataclass(frozen=True)
class Behaviour:
    """What one probe saw: how far ahead an output reacted, and by how much at most, relative to the largest output."""

    ahead: float
    change: float
    runs: int


class Runner:
    """Runs a network again and again as if for the first time: from a copy, with the same random numbers."""

    def __init__(self, module: nn.Module, time_axis: int) -> None:
        self.module, self.time_axis = module, time_axis

    @torch.no_grad()
    def __call__(self, x: Tensor, module: nn.Module | None = None, *, seed: int = 0) -> Tensor:
        """The first tensor that the network returns for ``x``, time moved to axis 2."""
        twin = copied(self.module) if module is None else module
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            y = twin(x.clone())
        first = next((leaf for leaf in pytree.tree_leaves(y) if isinstance(leaf, Tensor)), None)
        if first is None or first.dim() < 3 or first.dim() <= self.time_axis:
            returned = "no tensor" if first is None else f"a tensor of shape {tuple(first.shape)} first"
            raise ValueError(
                f"the network returns {returned}; an audit needs (batch, channels, time[, frequency]) there, with time "
                f"on axis {self.time_axis}: wrap the network in a module that returns that output alone"
            )
        return first.detach().movedim(self.time_axis, 2)

    def rounding(self, x: Tensor) -> float:
        """The relative size below which a change is rounding; larger where the network computes in less precision."""
        with _Coarsest() as coarsest:
            self(x)
        return ROUNDING if coarsest.step <= torch.finfo(torch.float64).eps else math.sqrt(coarsest.step)

    def draws(self, x: Tensor) -> bool:
        """Whether the network makes random numbers: another seed, other outputs."""
        return bool(_gaps(self(x, seed=1), self(x)).any())


def _changes(x: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Other futures: redrawn, turned around, and far out of range (one of them opens a gate or a ReLU)."""
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
    yield drawn
    yield x * -3 + drawn
    yield x + 100 * drawn


def _cuts(frames: int, stride: Fraction, allowed: int, reach: float) -> list[int]:
    """Places for a cut: at the start, where padding is; inside; behind a complete block; at the last frame read."""
    places = {1, 2, 3, 5, 8, frames // 4, frames // 2, 3 * frames // 4, frames - 1}
    places |= {int(u * stride) + allowed + 1 for u in (0, int(frames // 3 / stride), int(frames // 2 / stride))}
    if reach < frames:
        places |= {int(u * stride) + allowed + int(reach) for u in (0, int(frames // 3 / stride))}
    return sorted(cut for cut in places if 0 < cut < frames)


def _gaps(y: Tensor, whole: Tensor) -> Tensor:
    """The largest difference in each output frame; a NaN, or an infinity, on one side only counts as infinite."""
    same = torch.eq(y, whole) | (y.isnan() & whole.isnan())  # −∞ − −∞ is no number, yet nothing moved
    moved = torch.where(same, 0.0, y - whole).abs().nan_to_num(nan=math.inf, posinf=math.inf)
    return moved.transpose(0, 2).flatten(1).amax(1)


def change_the_future(
    run: Callable[[Tensor], Tensor],
    x: Tensor,
    convention: Convention,
    time_axis: int,
    stride: Fraction | None = None,
    reach: float = 1,
) -> Behaviour:
    """Change everything from one frame on; exact equality is demanded of every output that was complete before it.

    ``reach``: frames by which the structure looks ahead, where it is known; one cut is made right there.
    """
    whole = run(x)
    frames, outs = x.shape[time_axis], whole.shape[2]
    stride = rate_of(frames, outs) if stride is None else stride
    allowed = allowance(stride, convention)
    scale = whole.abs().nan_to_num(posinf=0.0).max().item() or 1.0
    generator = torch.Generator().manual_seed(0)
    ahead, change, runs = 0, 0.0, 0
    for cut in _cuts(frames, stride, allowed, reach):
        for other in _changes(x, generator):
            changed = x.clone()
            changed.narrow(time_axis, cut, frames - cut).copy_(other.narrow(time_axis, cut, frames - cut))
            gaps = _gaps(run(changed), whole)
            runs += 1
            for u in gaps.nonzero().flatten().tolist():
                if u * stride + allowed < cut:
                    ahead = max(ahead, math.ceil(cut - u * stride - allowed))
                    change = max(change, gaps[u].item() / scale)
    return Behaviour(ahead, change, runs)


def cut_short(
    run: Callable[[Tensor], Tensor],
    x: Tensor,
    convention: Convention,
    time_axis: int,
    stride: Fraction | None = None,
    rounding: float = ROUNDING,
) -> Behaviour:
    """Let the recording end early; the outputs that were complete by then should be the same, up to rounding."""
    whole = run(x)
    frames = x.shape[time_axis]
    stride = rate_of(frames, whole.shape[2]) if stride is None else stride
    allowed = allowance(stride, convention)
    scale = whole.abs().nan_to_num(posinf=0.0).max().item() or 1.0
    ahead, change, runs = 0, 0.0, 0
    for end in sorted({frames // 2, 2 * frames // 3, 3 * frames // 4 + 1, frames - 1}):
        try:
            y = run(x.narrow(time_axis, 0, end))
        except (RuntimeError, ValueError, IndexError, AssertionError):
            continue  # too short for this network
        runs += 1
        shared = min(y.shape[2], whole.shape[2])
        gaps = _gaps(y[:, :, :shared], whole[:, :, :shared]) / scale
        for u in range(shared):
            if u * stride + allowed < end and gaps[u] > 0:
                change = max(change, gaps[u].item())
                if gaps[u] > rounding:
                    ahead = max(ahead, math.ceil(end - u * stride - allowed))
    return Behaviour(ahead, change, runs)


@torch.no_grad()
def cut_in_pieces(module: nn.Module, x: Tensor) -> float | None:
    """The largest relative difference between a whole sequence and uneven pieces; None where there is no ``step``."""
    if not (callable(getattr(module, "step", None)) and callable(getattr(module, "initial_state", None))):
        return None
    try:
        state = module.initial_state(x)  # type: ignore[operator]
    except (TypeError, AttributeError, ValueError, NotImplementedError):
        return None  # of another meaning, or it says that it cannot be streamed, as the centred LogMel does
    try:
        whole = module(x)
        frames, start, pieces = x.shape[2], 0, []
        for size in (1, 3, 0, 2, frames):
            y, state = module.step(x[:, :, start : start + size], state)  # type: ignore[operator]
            pieces.append(y)
            start += size
            if start >= frames:
                break
        pieces.append(module.step(x[:, :, start:], state)[0])  # type: ignore[operator]
        joined = torch.cat(pieces, dim=2)
    except (TypeError, AttributeError):
        return None  # a step of another meaning
    if joined.shape != whole.shape:
        return math.inf
    return (joined - whole).abs().max().item() / (whole.abs().max().item() or 1.0) if whole.numel() else 0.0
