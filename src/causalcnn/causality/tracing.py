"""Run a network once and follow, operation by operation, which input cells each output depends on.

Weights do not count: a parameter is an unknown number, so a kernel that happens to be zero is still read. Constants
do: a mask of zeros, an attention mask of −∞. A buffer counts as a constant unless it is all zeros.

Nothing is guessed. An operation without a rule, a decision that depends on data or on weights, numbers that leave
torch: each raises :class:`CannotTrace`, naming the operation and the submodule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from causalcnn.causality.copies import copied
from causalcnn.causality.dependence import KNOWN, UNKNOWN, Ledger, union
from causalcnn.causality.dispatch import CannotTrace, Guard, Tracer, plain_kernels

__all__ = ["CannotTrace", "Trace", "Visit", "counted_axis", "trace"]

Edit = Callable[[int, str, Tensor, Ledger], None]


@dataclass(frozen=True)
class Visit:
    """One call of a submodule: its qualified name, its type, the operations that it ran itself, how far it reads.

    ``came``, ``last``: for each index along the time axis of what came in, and of what it returned, the last input
    frame of the network that it depends on (−1 where none); None where there is no time axis.
    """

    name: str
    kind: str
    operations: tuple[str, ...]
    came: tuple[int, ...] | None
    last: tuple[int, ...] | None


@dataclass(frozen=True)
class Trace:
    """What one run of a network read: exact sets for the frames of the example.

    ``reads`` is ``(time', frequency', cells)``, and the marks are ``(time', frequency')``: whether an output was
    computed from padding before the start (``low``), behind the end (``high``), or beside the frequencies (``side``).
    ``rows_mix``: whether a row of the batch reads another. ``short``: a slice reached beyond the example, so that a
    longer one may show more. ``padding``: frames of padding that the network puts around time, all in all.
    """

    reads: Tensor
    low: Tensor
    high: Tensor
    side: Tensor
    shape: tuple[int, int, int]
    joint: bool
    visits: tuple[Visit, ...] = field(default=(), repr=False)
    rows_mix: bool = False
    short: bool = False
    padding: int = 0

    @property
    def frames(self) -> tuple[int, int]:
        """Frames of the input and of the output."""
        return self.shape[1], self.reads.shape[0]

    def inputs_of(self, output: int | tuple[int, int]) -> frozenset:
        """The input frames (or cells) that an output depends on, within the example."""
        t, f = output if isinstance(output, tuple) else (output, None)
        row = self.reads[t].any(0) if f is None else self.reads[t, f]
        cells = row.nonzero().flatten().tolist()
        wide = self.shape[2]
        if f is None or not self.joint:
            return frozenset(cell // wide for cell in cells)
        return frozenset((cell // wide, cell % wide) for cell in cells)

    def last_frames(self) -> list[int | None]:
        """For each output frame the last input frame that it depends on, or None."""
        times = self.reads.any(1).unflatten(1, (self.shape[1], self.shape[2])).any(2)
        return [max(row.nonzero().flatten().tolist(), default=None) for row in times]


def _own_tensors(value: Any, depth: int = 3) -> Iterator[Tensor]:
    """Tensors that a module keeps as plain attributes, also inside of lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, dict):
        for each in value.values():
            yield from _own_tensors(each, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for each in value:
            yield from _own_tensors(each, depth - 1)


def _enter_constants(ledger: Ledger, module: nn.Module) -> None:
    for parameter in module.parameters():
        ledger.adopt(parameter, UNKNOWN)
    for part in module.modules():
        for value in vars(part).values():
            for tensor in _own_tensors(value):
                if not ledger.knows(tensor):
                    blank = tensor.is_floating_point() and not bool(tensor.any())
                    ledger.adopt(tensor, UNKNOWN if blank or tensor.requires_grad else KNOWN)


def _last_frames(ledger: Ledger, tensor: Tensor) -> tuple[int, ...] | None:
    """The last input frame for each index along the time axis of a tensor; None where it has none."""
    dep = ledger.dep(tensor) if ledger.knows(tensor) else None
    if dep is None or tensor.dim() < 2:
        return None
    grid = union(dep[: ledger.cells].unflatten(0, ledger.shape), [0, 2])  # (times, *shape)
    times = over_time(grid, time_axis_of(grid, tensor))
    frames = times.shape[0]
    last = frames - 1 - times.flip(0).to(torch.uint8).argmax(0)
    return tuple(torch.where(times.any(0), last, torch.tensor(-1)).tolist())


def over_time(grid: Tensor, axis: int) -> Tensor:
    """``(times, *shape)`` → ``(times, length of axis)``."""
    others = [d for d in range(1, grid.dim()) if d != axis + 1]
    return union(grid, others) if others else grid


def time_axis_of(grid: Tensor, tensor: Tensor) -> int:
    """The axis along which the frames that are read vary most; axis 2 where none does."""
    best = (1, min(2, tensor.dim() - 1))
    for axis in range(1, tensor.dim()):
        variety = len(torch.unique(over_time(grid, axis).T, dim=0))
        best = max(best, (variety, axis), key=lambda pair: pair[0])
    return best[1]


def counted_axis(x: Tensor, time_axis: int) -> int:
    """The axis of time counted from the front: −1 is the last one."""
    axis = time_axis + x.dim() if time_axis < 0 else time_axis
    if not 0 < axis < x.dim():
        raise ValueError(
            f"time_axis is {time_axis}; in an example of shape {tuple(x.shape)} time is on one of the axes 1 to "
            f"{x.dim() - 1}, or counted from the end −1 to {1 - x.dim()}"
        )
    return axis


def trace(
    module: nn.Module,
    example: Tensor,
    *,
    time_axis: int = 2,
    rows: bool = False,
    visits: bool = False,
    edit: Edit | None = None,
) -> Trace:
    """Run a module once and return the exact sets that its outputs depend on.

    Args:
        module: any module whose first output has time on ``time_axis``. It runs as a copy, in the mode it is in.
        example: an input; small is good, 30 to 100 frames. Only its shape and dtype count.
        time_axis: where time is, in the input and in the output; frequency, if any, is axis 3.
        rows: whether to keep the rows of the batch apart, to see whether one reads another.
        visits: whether to note what every submodule returned; ``edit`` may rewrite the ledger at each.

    Raises:
        CannotTrace: an operation cannot be followed, or the output has no time axis.
    """
    time_axis = counted_axis(example, time_axis)
    twin = copied(module).to("cpu")
    batch = example.shape[0] if rows else 1
    frequencies = example.shape[3] if example.dim() > 3 and time_axis == 2 else 1
    x = example[:batch].detach().to("cpu").clone()
    ledger = Ledger(batch, x.shape[time_axis], frequencies)
    _enter_constants(ledger, twin)
    ledger.adopt_input(x, time_axis)
    tracer = Tracer(ledger)
    noted: list[Visit] = []
    handles = _watch(twin, tracer, noted if visits else None, edit)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), plain_kernels(), Guard(tracer), tracer:
            y = twin(x)
    finally:
        for handle in handles:
            handle.remove()
    y = _first_tensor(y)
    if y is None or y.dim() <= time_axis:
        shape = None if y is None else tuple(y.shape)
        raise CannotTrace(f"the network returns {shape}: there is no time on axis {time_axis}, so no output frames")
    return _result(ledger, y, x, time_axis, tuple(noted), rows, tracer.short)


def _result(
    ledger: Ledger, y: Tensor, x: Tensor, time_axis: int, visits: tuple[Visit, ...], rows: bool, short: bool
) -> Trace:
    dep = ledger.dep(y) if ledger.knows(y) else None
    if dep is None:
        dep = torch.zeros(ledger.width, *y.shape, dtype=torch.bool)
    mix = False
    batch, times, frequencies = ledger.shape
    if rows and batch > 1:
        by_row = union(dep[: ledger.cells].unflatten(0, ledger.shape), [1, 2])  # (rows, *shape)
        by_row = by_row.flatten(2).any(2)  # (rows read, rows written)
        mix = bool((by_row & ~torch.eye(batch, dtype=torch.bool)).any())
    joint = x.dim() > 3 and y.dim() > 3 and time_axis == 2
    keep = (time_axis + 1, 4) if joint else (time_axis + 1,)
    gone = [d for d in range(1, dep.dim()) if d not in keep]
    dep = union(dep, gone) if gone else dep
    dep = dep.unsqueeze(-1) if not joint else dep  # (width, time', frequency')
    cells = union(dep[: ledger.cells].unflatten(0, (batch, times * frequencies)), 0)
    low, high, side = (dep[m] for m in (ledger.LOW, ledger.HIGH, ledger.SIDE))
    return Trace(
        cells.permute(1, 2, 0).contiguous(),
        low,
        high,
        side,
        (1, times, frequencies),
        joint,
        visits,
        mix,
        short,
        ledger.padding,
    )


def _first_tensor(value: Any) -> Tensor | None:
    return next((leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)), None)


def _watch(module: nn.Module, tracer: Tracer, noted: list[Visit] | None, edit: Edit | None) -> list[Any]:
    """Hooks that keep the path of running submodules, and note what each returns."""
    handles: list[Any] = []
    calls = [0]
    came: list[tuple[int, ...] | None] = []

    def look(value: Any) -> tuple[int, ...] | None:
        tensor = _first_tensor(value)
        with tracer.unseen():
            return None if tensor is None else _last_frames(tracer.ledger, tensor)

    for name, part in module.named_modules():

        def enter(one: nn.Module, inputs: Any, name: str = name) -> None:
            tracer.stack.append((name, type(one).__name__, []))
            came.append(look(inputs) if noted is not None else None)

        def leave(one: nn.Module, _: Any, output: Any, name: str = name) -> None:
            operations = tracer.stack.pop()[2]
            if noted is None:
                return
            entered = came.pop()
            noted.append(Visit(name, type(one).__name__, tuple(operations), entered, look(output)))
            first = _first_tensor(output)
            if edit is not None and first is not None:
                with tracer.unseen():
                    edit(calls[0], name, first, tracer.ledger)
            calls[0] += 1

        handles.append(part.register_forward_pre_hook(enter))
        handles.append(part.register_forward_hook(leave))
    return handles
