"""The second question of an audit: what do these weights do? Change the future and compare the past, bit by bit."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from causalcnn.causality.copies import deepcopy_module
from causalcnn.causality.inputs import allowed_lookahead, first_tensor, in_one_line, stride_from_lengths
from causalcnn.causality.limits import watched
from causalcnn.nn.base import Convention

__all__ = ["PerturbationResult", "Runner", "compare_chunks", "perturb_future", "seeded", "truncate"]

ROUNDING = 1e-9
"""Relative size below which a change in float64 is rounding: structure moves numbers by far more."""


class _Coarsest(TorchDispatchMode):
    """Note the step between neighbouring numbers of the coarsest dtype that a network computes in.

    Attributes:
        step: that step at 1; 0 before anything ran.
        supports_higher_order_operators: whether such operators are shown as well.
    """

    step = 0.0
    supports_higher_order_operators = True

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
        runs: how often the network ran with a changed input, and gave numbers that could be compared.
        remarks: what kept other runs from being compared, or part of them, in words.
    """

    ahead: float
    change: float
    runs: int
    remarks: tuple[str, ...] = field(default=())


def _of_numpy() -> tuple:
    """Return the state of NumPy's global generator, in a form that can be compared."""
    kind, keys, *rest = np.random.get_state()
    return kind, np.asarray(keys).tobytes(), *rest


@contextlib.contextmanager
def seeded(seed: int, devices: list[torch.device] | None = None) -> Iterator[Callable[[], bool]]:
    """Seed torch, Python and NumPy, and put their states back afterwards.

    Yields a function that says whether Python's or NumPy's numbers have been drawn since: no trace can follow these.
    """
    python, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices or []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        before = random.getstate(), _of_numpy()
        try:
            yield lambda: before != (random.getstate(), _of_numpy())
        finally:
            random.setstate(python)
            np.random.set_state(arrays)


class Runner:
    """Run a network again and again as if for the first time: from a copy, with the same random numbers."""

    def __init__(self, module: nn.Module, time_axis: int) -> None:
        self.module, self.time_axis = module, time_axis
        self.draws_outside_torch = False

    @torch.no_grad()
    def returned(self, x: Tensor, module: nn.Module | None = None, *, seed: int = 0) -> Any:
        """Return what the network returns for ``x``."""
        network = deepcopy_module(self.module) if module is None else module
        with seeded(seed, [x.device] if x.device.type == "cuda" else None) as has_drawn, watched():
            y = network(x.clone())
            self.draws_outside_torch |= has_drawn()
        return y

    def __call__(self, x: Tensor, module: nn.Module | None = None, *, seed: int = 0) -> Tensor:
        """Return the first tensor that the network returns for ``x``, time moved to axis 2."""
        first = first_tensor(self.returned(x, module, seed=seed))
        if first is None or first.dim() < 3 or first.dim() <= self.time_axis:
            returned = "no tensor" if first is None else f"a tensor of shape {tuple(first.shape)} first"
            raise ValueError(f"the network returns {returned}: it has no time on axis {self.time_axis}")
        return first.detach().movedim(self.time_axis, 2)

    def repeats(self, x: Tensor) -> bool:
        """Say whether two runs on the same input, as if for the first time, give the same, bit by bit."""
        one, two = self(x), self(x)
        return one.shape == two.shape and not bool(_gaps(one, two).any())

    def rounding(self, x: Tensor) -> float:
        """Return the relative size below which a change is rounding; larger where the network uses a coarser dtype."""
        with contextlib.suppress(Exception), _Coarsest() as coarsest:
            self(x)
        return ROUNDING if coarsest.step <= torch.finfo(torch.float64).eps else math.sqrt(coarsest.step)

    def is_stochastic(self, x: Tensor) -> bool:
        """Say whether the network draws random numbers: whether another seed gives other outputs."""
        one, two = self(x, seed=1), self(x)
        return one.shape != two.shape or bool(_gaps(one, two).any())


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
    finite = full.isfinite()
    scale = torch.where(finite, full, 0.0).abs().max().item() or 1.0
    generator = torch.Generator().manual_seed(0)
    ahead, change, runs, overflows, failures = 0, 0.0, 0, 0, []
    for cut in _cuts(frames, stride, allowed, reach):
        tame = [x.flip(time_axis)]  # nothing but what the example has: for networks that take no other numbers
        for other in _changes(x, generator):
            try:
                y = run(_changed(x, other, time_axis, cut))
            except Exception as error:
                failures.append(in_one_line(error))
                if not tame:
                    continue
                try:
                    y = run(_changed(x, tame.pop(), time_axis, cut))
                except Exception:
                    continue
            if y.shape != full.shape:
                failures.append(f"its output has {y.shape[2]} frames instead of {full.shape[2]}")
                continue
            both = finite & y.isfinite()
            overflows += bool((finite & ~both).any())
            before = [u for u in range(full.shape[2]) if u * stride + allowed < cut]
            runs += bool(both[:, :, before].any())
            gaps = _gaps(torch.where(both, y, 0.0), torch.where(both, full, 0.0))
            for u in gaps.nonzero().flatten().tolist():
                if u * stride + allowed < cut:
                    ahead = max(ahead, math.ceil(cut - u * stride - allowed))
                    change = max(change, gaps[u].item() / scale)
    remarks = [f"it fails on {len(failures)} of these inputs ({failures[0]})"] if failures else []
    if overflows:
        remarks.append(f"{overflows} of these inputs overflow: the outputs that are no numbers then were not compared")
    if not bool(finite.all()):
        remarks.append("on the example itself some outputs are no numbers; they were not compared")
    return PerturbationResult(ahead, change, runs, tuple(remarks))


def _changed(x: Tensor, other: Tensor, time_axis: int, cut: int) -> Tensor:
    """Return ``x`` up to frame ``cut``, and ``other`` from there on."""
    later = x.shape[time_axis] - cut
    return torch.cat([x.narrow(time_axis, 0, cut), other.narrow(time_axis, cut, later)], time_axis)


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
        except Exception:
            continue  # too short for this network
        runs += 1
        common = [slice(min(sizes)) for sizes in zip(y.shape, full.shape, strict=True)]  # attention maps grow twice
        shared = min(y.shape[2], full.shape[2])
        gaps = _gaps(y[tuple(common)], full[tuple(common)]) / scale
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
