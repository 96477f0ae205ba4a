"""``trace``: run a network once and return which input cells each output depends on.

Weights do not count: a parameter is an unknown number, so a kernel that happens to be zero is still read. Constants
do: a mask of zeros, an attention mask of −∞. A buffer counts as a constant unless it is all zeros: then it may be a
state that is still to be filled.

Nothing is guessed. An operation without a rule, a decision that depends on data or on weights, numbers that leave
torch: each raises :class:`causalcnn.CannotTrace`, naming the operation and the submodule.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from causalcnn.causality.adapter import inner_network
from causalcnn.causality.copies import deepcopy_module
from causalcnn.causality.inputs import first_tensor, positive_axis
from causalcnn.causality.tracing.dispatch import CannotTrace, Guard, Tracer, plain_kernels
from causalcnn.causality.tracing.lengths import Landmarks
from causalcnn.causality.tracing.origins import tensors_before
from causalcnn.causality.tracing.table import KNOWN, UNKNOWN, DependencyTable, any_over
from causalcnn.causality.tracing.threads import no_other_threads, unseen_writes

__all__ = ["Trace", "Visit", "over_time", "time_axis_of", "trace"]

Edit = Callable[[int, str, Tensor, DependencyTable], None]


@dataclass(frozen=True)
class Visit:
    """One call of a submodule during a trace.

    Attributes:
        name: its qualified name.
        kind: the name of its class.
        operations: the operations that it ran itself, not those of its submodules.
        last_in: for each index along the time axis of what came in, the last input frame of the network that it
            depends on, −1 where it depends on none; None where there is no time axis.
        last_out: the same for what it returned.
    """

    name: str
    kind: str
    operations: tuple[str, ...]
    last_in: tuple[int, ...] | None
    last_out: tuple[int, ...] | None


@dataclass(frozen=True)
class Trace:
    """What one run of a network read: exact sets for the frames of the example.

    Outputs near an edge read less than others, because padding takes the place of inputs. ``low``, ``high`` and
    ``side`` mark these outputs, so that nobody takes their sets for the whole receptive field.

    Attributes:
        reads: whether an output depends on a cell of the input, ``(time', frequency', cells)``; the cell of frame
            ``t`` and frequency ``f`` is ``t * frequencies + f``.
        low: whether an output was computed from padding before the start of time, ``(time', frequency')``.
        high: the same for padding behind the end, ``(time', frequency')``.
        side: the same for padding beside the frequencies, ``(time', frequency')``.
        shape: 1 (the rows are joined), and the frames and frequencies of the input.
        joint: whether input and output have a frequency axis; else there is one frequency.
        visits: the calls of submodules, where they were asked for.
        rows_mix: whether a row of the batch reads another.
        short: whether a slice reached beyond the example, so that a longer one may show more.
        padding: frames of padding that the network puts around time, all in all.
        landmarks: the lengths at which the network may change what it does, as far as it showed them.
        work: the size of the trace, in entries of the table.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from causalcnn.causality import trace
        >>> seen = trace(nn.Conv1d(1, 1, 3, dilation=2), torch.zeros(1, 1, 6))
        >>> [sorted(read) for read in seen.sets()]
        [[0, 2, 4], [1, 3, 5]]
        >>> seen.last_frames()
        [4, 5]
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
    landmarks: Landmarks = field(default_factory=lambda: Landmarks(0), repr=False)
    work: int = 0

    @property
    def frames(self) -> tuple[int, int]:
        """Frames of the input and of the output."""
        return self.shape[1], self.reads.shape[0]

    def inputs_of(self, output: int | tuple[int, int]) -> frozenset:
        """Return the inputs that one output depends on, within the example.

        Args:
            output: the output frame, or ``(time, frequency)`` in a joint trace. A frame alone stands for all its
                frequencies.

        Returns:
            The input frames; the cells ``(time, frequency)`` where a cell of a joint trace is asked for.
        """
        t, f = output if isinstance(output, tuple) else (output, None)
        row = self.reads[t].any(0) if f is None else self.reads[t, f]
        cells = row.nonzero().flatten().tolist()
        wide = self.shape[2]
        if f is None or not self.joint:
            return frozenset(cell // wide for cell in cells)
        return frozenset((cell // wide, cell % wide) for cell in cells)

    def sets(self) -> list[frozenset[int]]:
        """Return for each output frame the input frames that it depends on."""
        return [self.inputs_of(u) for u in range(self.frames[1])]

    def cells(self) -> Iterator[tuple[tuple[int, int], frozenset]]:
        """Yield for each output cell of a joint trace the input cells that it depends on."""
        for t, f in itertools.product(range(self.reads.shape[0]), range(self.reads.shape[1])):
            yield (t, f), self.inputs_of((t, f))

    @property
    def times(self) -> Tensor:
        """Whether an output frame depends on an input frame, at any frequency: ``(time', time)``."""
        return self.reads.any(1).unflatten(1, (self.shape[1], self.shape[2])).any(2)

    def last_frames(self) -> list[int | None]:
        """Return for each output frame the last input frame that it depends on, or None where there is none."""
        return [max(row.nonzero().flatten().tolist(), default=None) for row in self.times]


def _enter_constants(table: DependencyTable, module: nn.Module) -> None:
    for tensor in tensors_before(module):
        if not table.knows(tensor) and tensor.layout is torch.strided:
            blank = tensor.is_floating_point() and not bool(tensor.any())
            is_unknown = blank or tensor.requires_grad or isinstance(tensor, nn.Parameter)
            table.register(tensor, UNKNOWN if is_unknown else KNOWN)


def _last_frames(table: DependencyTable, tensor: Tensor) -> tuple[int, ...] | None:
    """Return the last input frame for each index along the time axis of a tensor; None where it has no such axis."""
    dep = table.dep(tensor) if table.knows(tensor) else None
    if dep is None or not tensor.dim():
        return None
    grid = any_over(dep[: table.cells].unflatten(0, table.shape), [0, 2])  # (times, *shape)
    times = over_time(grid, time_axis_of(grid, tensor))
    frames = times.shape[0]
    last = frames - 1 - times.flip(0).to(torch.uint8).argmax(0)
    return tuple(torch.where(times.any(0), last, torch.tensor(-1)).tolist())


def over_time(grid: Tensor, axis: int) -> Tensor:
    """Join all axes but one: ``(times, *shape)`` becomes ``(times, length of axis)``."""
    others = [d for d in range(1, grid.dim()) if d != axis + 1]
    return any_over(grid, others) if others else grid


def time_axis_of(grid: Tensor, tensor: Tensor) -> int:
    """Find the axis along which the frames that are read vary most; where none does, one as long as time, or axis 2."""
    usual = min(2, tensor.dim() - 1)
    order = [usual, *(a for a in range(1, tensor.dim()) if a != usual), 0]  # axis 0 where it has no rows in front

    def rank(axis: int) -> tuple[int, bool]:
        return len(torch.unique(over_time(grid, axis).T, dim=0)), tensor.shape[axis] == grid.shape[0]

    return max(order, key=rank)


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
        module: any module whose first output has time on ``time_axis``, or on the one other axis that reads frame
            after frame: ``(batch, time, channels)`` is found. It runs as a copy, in the mode it is in.
        example: an input, ``(batch, channels, time[, frequency])``, or another with time on ``time_axis``; small is
            good, 30 to 100 frames. Only its shape, its dtype and its size count: noise of that size takes
            its place, so that equal numbers hide nothing, except where it holds whole numbers.
        time_axis: where time is, in the input and in the output; frequency, if any, is axis 3.
        rows: whether to keep the rows of the batch apart, to see whether one reads another.
        visits: whether to note every call of a submodule.
        edit: called after each of these calls, with its index, the name of the submodule, the first tensor that it
            returned, and the table, which it may rewrite. Calls are only noted, and edited, with ``visits``.

    Returns:
        What each output frame reads of this example, with marks where padding was read instead.

    Raises:
        CannotTrace: an operation cannot be followed, or the output has no time axis.
        ValueError: the example has no axis ``time_axis``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from causalcnn.causality import trace
        >>> seen = trace(nn.Conv1d(1, 1, 3, padding=1), torch.zeros(1, 1, 4))
        >>> [sorted(read) for read in seen.sets()], seen.low[:, 0].tolist()
        ([[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]], [True, False, False, False])
    """
    time_axis = positive_axis(example, time_axis)
    copy = deepcopy_module(module).to("cpu")
    batch = example.shape[0] if rows else 1
    frequencies = example.shape[3] if example.dim() > 3 and time_axis == 2 else 1
    x = _noise_like(example[:batch].detach().to("cpu"))
    table = DependencyTable(batch, x.shape[time_axis], frequencies)
    _enter_constants(table, copy)
    table.register_input(x, time_axis)
    tracer = Tracer(table)
    versions = {id(t): (t, t._version) for t in [x, *tensors_before(copy)] if not t.is_inference()}
    noted: list[Visit] = []
    handles = _watch(copy, tracer, noted if visits else None, edit)
    try:
        with (
            torch.no_grad(), torch.random.fork_rng(devices=[]), no_other_threads(tracer.refuse), plain_kernels(),
            Guard(tracer), tracer,
        ):  # fmt: skip
            y = copy(x)
    except Exception:
        if tracer.refused is not None:  # TorchScript makes another error of it
            raise tracer.refused from None
        raise
    finally:
        for handle in handles:
            handle.remove()
    if tracer.refused is not None:
        raise tracer.refused  # the network caught it, and went another way than it does without a trace
    if unseen_writes(versions, tracer.written):
        tracer.refuse("a write", "a tensor of the network was written unseen, by another thread perhaps")
    y = first_tensor(y)
    axis = None if y is None else _output_axis(table, y, time_axis)
    if y is None or axis is None:
        shape = None if y is None else tuple(y.shape)
        raise CannotTrace(f"the network returns {shape}: there is no time on axis {time_axis}, so no output frames")
    joint = x.dim() > 3 and y.dim() > 3 and time_axis == axis == 2
    return _result(table, y, axis, joint=joint, visits=tuple(noted), short=tracer.short)


def _noise_like(x: Tensor) -> Tensor:
    """Return seeded noise of the root mean square of ``x``; a copy where that holds whole numbers, such as tokens."""
    if not x.is_floating_point() or (bool((x == x.round()).all()) and x.unique().numel() > 2):
        return x.clone()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    size = x.double().square().mean().sqrt().item()
    return (noise * (size if 0 < size < math.inf else 1.0)).to(x.dtype)


def _rows_mix(dep: Tensor, table: DependencyTable) -> bool:
    """Say whether a row of the output depends on another row of the input; ``dep`` is ``(width, rows, *shape)``."""
    rows = table.shape[0]
    if rows == 1:
        return False
    by_row = any_over(dep[: table.cells].unflatten(0, table.shape), [1, 2])  # (rows, *shape)
    by_row = by_row.flatten(2).any(2)  # (rows read, rows written)
    return bool((by_row & ~torch.eye(rows, dtype=torch.bool)).any())


def _output_axis(table: DependencyTable, y: Tensor, time_axis: int) -> int | None:
    """Find the axis of time in an output: that of the input, unless only another one reads frame after frame."""
    dep = table.dep(y) if table.knows(y) else None
    usual = time_axis if time_axis < y.dim() else None
    if dep is None or y.dim() < 2:
        return usual
    grid = any_over(dep[: table.cells].unflatten(0, table.shape), [0, 2])

    def steps(axis: int) -> int:
        return len(torch.unique(over_time(grid, axis).T, dim=0))

    if usual is not None and steps(usual) > 1:
        return usual
    found = time_axis_of(grid, y)
    return found if steps(found) > 2 else usual


def _result(
    table: DependencyTable, y: Tensor, time_axis: int, *, joint: bool, visits: tuple[Visit, ...], short: bool
) -> Trace:
    dep = table.dep(y) if table.knows(y) else None
    if dep is None:
        dep = torch.zeros(table.width, *y.shape, dtype=torch.bool)
    rows_mix = _rows_mix(dep, table)
    batch, times, frequencies = table.shape
    keep = (time_axis + 1, 4) if joint else (time_axis + 1,)
    gone = [d for d in range(1, dep.dim()) if d not in keep]
    dep = any_over(dep, gone) if gone else dep
    dep = dep.unsqueeze(-1) if not joint else dep  # (width, time', frequency')
    cells = any_over(dep[: table.cells].unflatten(0, (batch, times * frequencies)), 0)
    return Trace(
        reads=cells.permute(1, 2, 0).contiguous(),
        low=dep[table.LOW],
        high=dep[table.HIGH],
        side=dep[table.SIDE],
        shape=(1, times, frequencies),
        joint=joint,
        visits=visits,
        rows_mix=rows_mix,
        short=short,
        padding=table.padding,
        landmarks=table.landmarks,
        work=table.work,
    )


def _watch(module: nn.Module, tracer: Tracer, noted: list[Visit] | None, edit: Edit | None) -> list[Any]:
    """Set hooks that keep the path of running submodules, and note what each returns."""
    handles: list[Any] = []
    entered: list[tuple[int, ...] | None] = []

    def look(value: Any) -> tuple[int, ...] | None:
        tensor = first_tensor(value)
        with tracer.suspended():
            return None if tensor is None else _last_frames(tracer.table, tensor)

    for name, part in inner_network(module).named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue  # it takes no hooks

        def enter(one: nn.Module, inputs: Any, name: str = name) -> None:
            tracer.stack.append((name, type(one).__name__, []))
            entered.append(look(inputs) if noted is not None else None)

        def leave(one: nn.Module, _: Any, output: Any, name: str = name) -> None:
            operations = tracer.stack.pop()[2]
            if noted is None:
                return
            noted.append(Visit(name, type(one).__name__, tuple(operations), entered.pop(), look(output)))
            first = first_tensor(output)
            if edit is not None and first is not None:
                with tracer.suspended():
                    edit(len(noted) - 1, name, first, tracer.table)

        handles.append(part.register_forward_pre_hook(enter))
        handles.append(part.register_forward_hook(leave))
    return handles
