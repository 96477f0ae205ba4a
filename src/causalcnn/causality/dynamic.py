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

from causalcnn.causality.copies import deepcopy_module
from causalcnn.causality.inputs import allowed_lookahead, first_tensor, stride_from_lengths
from causalcnn.nn.base import Convention

__all__ = ["PerturbationResult", "Runner", "compare_chunks", "perturb_future", "truncate"]

ROUNDING = 1e-9
"""Relative size below which a change in float64 is rounding: structure moves numbers by far more."""


class _Coarsest(TorchDispatchMode):
    """Note the step between neighbouring numbers of the coarsest dtype that a network computes in.

    Attributes:
        step: that step at 1; 0 before anything ran.
    """

    step = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in pytree.tree_leaves(result):
            if isinstance(made, Tensor) and (made.is_floating_point() or made.is_complex()):
                self.step = max(self.step, torch.finfo(made.dtype).eps)
        return result


@dataclass(frozen=True)
class PerturbationResult:
    """What changed inputs did to the outputs before the change.

    Attributes:
        ahead: how many frames ahead of its own an output reacted, at most; 0 for none.
        change: the largest change of such an output, relative to the largest output.
        runs: how often the network ran with a changed input.
    """

    ahead: float
    change: float
    runs: int


class Runner:
    """Run a network again and again as if for the first time: from a copy, with the same random numbers."""

    def __init__(self, module: nn.Module, time_axis: int) -> None:
        self.module, self.time_axis = module, time_axis

    @torch.no_grad()
    def __call__(self, x: Tensor, module: nn.Module | None = None, *, seed: int = 0) -> Tensor:
        """Return the first tensor that the network returns for ``x``, time moved to axis 2."""
        network = deepcopy_module(self.module) if module is None else module
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            y = network(x.clone())
        first = first_tensor(y)
        if first is None or first.dim() < 3 or first.dim() <= self.time_axis:
            returned = "no tensor" if first is None else f"a tensor of shape {tuple(first.shape)} first"
            raise ValueError(
                f"the network returns {returned}; an audit needs (batch, channels, time[, frequency]) there, with time "
                f"on axis {self.time_axis}: wrap the network in a module that returns that output alone"
            )
        return first.detach().movedim(self.time_axis, 2)

    def rounding(self, x: Tensor) -> float:
        """Return the relative size below which a change is rounding; larger where the network uses a coarser dtype."""
        with _Coarsest() as coarsest:
            self(x)
        return ROUNDING if coarsest.step <= torch.finfo(torch.float64).eps else math.sqrt(coarsest.step)

    def is_stochastic(self, x: Tensor) -> bool:
        """Say whether the network draws random numbers: whether another seed gives other outputs."""
        return bool(_gaps(self(x, seed=1), self(x)).any())


def _changes(x: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield other futures: redrawn, turned around, and far out of range (one of them opens a gate or a ReLU)."""
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
    yield drawn
    yield x * -3 + drawn
    yield x + 100 * drawn


def _cuts(frames: int, stride: Fraction, allowed: int, reach: float) -> list[int]:
    """Return frames for a cut: at the start, where padding is; inside; after a block; at the last frame read."""
    places = {1, 2, 3, 5, 8, frames // 4, frames // 2, 3 * frames // 4, frames - 1}
    places |= {int(u * stride) + allowed + 1 for u in (0, int(frames // 3 / stride), int(frames // 2 / stride))}
    if reach < frames:
        places |= {int(u * stride) + allowed + int(reach) for u in (0, int(frames // 3 / stride))}
    return sorted(cut for cut in places if 0 < cut < frames)


def _gaps(y: Tensor, full: Tensor) -> Tensor:
    """Return the largest difference in each output frame; a NaN or infinity on one side only counts as infinite."""
    same = torch.eq(y, full) | (y.isnan() & full.isnan())  # −∞ − −∞ is no number, yet nothing moved
    moved = torch.where(same, 0.0, y - full).abs().nan_to_num(nan=math.inf, posinf=math.inf)
    return moved.transpose(0, 2).flatten(1).amax(1)


def perturb_future(
    run: Callable[[Tensor], Tensor],
    x: Tensor,
    convention: Convention,
    time_axis: int,
    stride: Fraction | None = None,
    reach: float = 1,
) -> PerturbationResult:
    """Change everything from one frame on: every output that was complete before it should be exactly the same.

    Args:
        run: the network, from ``x`` to ``(batch, channels', time', …)``.
        x: an input with time on ``time_axis``, ``(batch, channels, time[, frequency])``.
        convention: which inputs an output may read.
        time_axis: where time is in ``x``.
        stride: input frames per output frame; judged by the lengths where it is not given.
        reach: frames by which the structure looks ahead, where that is known: one cut is made right there.

    Returns:
        How far ahead an output reacted, and how much, over all cuts and changes.
    """
    full = run(x)
    frames = x.shape[time_axis]
    stride = stride_from_lengths(frames, full.shape[2]) if stride is None else stride
    allowed = allowed_lookahead(stride, convention)
    scale = full.abs().nan_to_num(posinf=0.0).max().item() or 1.0
    generator = torch.Generator().manual_seed(0)
    ahead, change, runs = 0, 0.0, 0
    for cut in _cuts(frames, stride, allowed, reach):
        for other in _changes(x, generator):
            changed = x.clone()
            changed.narrow(time_axis, cut, frames - cut).copy_(other.narrow(time_axis, cut, frames - cut))
            gaps = _gaps(run(changed), full)
            runs += 1
            for u in gaps.nonzero().flatten().tolist():
                if u * stride + allowed < cut:
                    ahead = max(ahead, math.ceil(cut - u * stride - allowed))
                    change = max(change, gaps[u].item() / scale)
    return PerturbationResult(ahead, change, runs)


def truncate(
    run: Callable[[Tensor], Tensor],
    x: Tensor,
    convention: Convention,
    time_axis: int,
    stride: Fraction | None = None,
    rounding: float = ROUNDING,
) -> PerturbationResult:
    """Let the recording end early: the outputs that were complete by then should be the same, up to ``rounding``.

    Args:
        run: the network, from ``x`` to ``(batch, channels', time', …)``.
        x: an input with time on ``time_axis``, ``(batch, channels, time[, frequency])``.
        convention: which inputs an output may read.
        time_axis: where time is in ``x``.
        stride: input frames per output frame; judged by the lengths where it is not given.
        rounding: the largest difference that counts as none, relative to the largest output.

    Returns:
        How far ahead of its own frame an output differed, and how much, over all ends. ``runs`` is 0 where every
        shorter input was too short for the network.
    """
    full = run(x)
    frames = x.shape[time_axis]
    stride = stride_from_lengths(frames, full.shape[2]) if stride is None else stride
    allowed = allowed_lookahead(stride, convention)
    scale = full.abs().nan_to_num(posinf=0.0).max().item() or 1.0
    ahead, change, runs = 0, 0.0, 0
    for end in sorted({frames // 2, 2 * frames // 3, 3 * frames // 4 + 1, frames - 1}):
        try:
            y = run(x.narrow(time_axis, 0, end))
        except (RuntimeError, ValueError, IndexError, AssertionError):
            continue  # too short for this network
        runs += 1
        shared = min(y.shape[2], full.shape[2])
        gaps = _gaps(y[:, :, :shared], full[:, :, :shared]) / scale
        for u in range(shared):
            if u * stride + allowed < end and gaps[u] > 0:
                change = max(change, gaps[u].item())
                if gaps[u] > rounding:
                    ahead = max(ahead, math.ceil(end - u * stride - allowed))
    return PerturbationResult(ahead, change, runs)


@torch.no_grad()
def compare_chunks(module: nn.Module, x: Tensor) -> float | None:
    """Return the largest relative difference between the whole and uneven pieces; None where there is no ``step``."""
    if not (callable(getattr(module, "step", None)) and callable(getattr(module, "initial_state", None))):
        return None
    try:
        state = module.initial_state(x)  # type: ignore[operator]
    except (TypeError, AttributeError, ValueError, NotImplementedError):
        return None  # it means something else, or says that it cannot be streamed, as the centred LogMel does
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
        return None  # its step means something else
    if joined.shape != whole.shape:
        return math.inf
    return (joined - whole).abs().max().item() / (whole.abs().max().item() or 1.0) if whole.numel() else 0.0
