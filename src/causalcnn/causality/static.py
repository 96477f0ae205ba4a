"""The first question of an audit: what could any weights of this shape do, and which submodule lets them?

``analyze`` traces the network on longer and longer inputs and turns what is read into a look-ahead.
``first_leaking_module`` traces it again, each time with the future removed from the output of one submodule, to see
which of them is to blame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from fractions import Fraction

from torch import Tensor, nn

from causalcnn.causality.adapter import inner_network
from causalcnn.causality.field_inference import growing_traces
from causalcnn.causality.inputs import allowed_lookahead, broken_rate, in_one_line, stride_from_lengths
from causalcnn.causality.tracing import CannotTrace, Trace, Visit, trace
from causalcnn.causality.tracing.network import time_axis_of
from causalcnn.causality.tracing.table import DependencyTable, any_over
from causalcnn.field import Field
from causalcnn.nn.base import Convention

__all__ = ["StaticResult", "analyze", "first_leaking_module"]

START_FRAMES = 32
MIN_OUTPUTS = 24
"""Outputs that a trace should have: a strided network needs more frames."""


@dataclass(frozen=True)
class StaticResult:
    """What following the operations showed.

    Attributes:
        seen: the trace that counts; None where the network cannot be followed.
        stride: input frames per output frame.
        ahead: for each output frame of the trace that looks ahead, by how many input frames.
        lookahead: the most of it over any length of input, in input frames; infinite where it grows with the length.
        certain: whether the absence of a look-ahead can be trusted.
        field: what an output reads, where it repeats along time.
        problem: why nothing, or not everything, could be found.
        leaking_frames: a number of input frames on which the network looks ahead.
    """

    seen: Trace | None = None
    stride: Fraction = Fraction(1)
    ahead: Mapping[int, float] = dataclass_field(default_factory=dict)
    lookahead: float = 0
    certain: bool = False
    field: Field | None = None
    problem: str = ""
    leaking_frames: int = 0


def lookahead_per_output(seen: Trace, stride: Fraction, convention: Convention) -> dict[int, float]:
    """Return for each output frame that looks ahead by how many input frames it does."""
    allowed = allowed_lookahead(stride, convention)
    found: dict[int, float] = {}
    for u, last in enumerate(seen.last_frames()):
        if last is not None and last > u * stride + allowed:
            found[u] = math.ceil(last - u * stride - allowed)
    return found


def analyze(module: nn.Module, x: Tensor, convention: Convention, time_axis: int, max_frames: int) -> StaticResult:
    """Trace on longer and longer inputs until the pattern is clear."""
    start = min(x.shape[time_axis], START_FRAMES)
    traces: dict[int, Trace] = {}
    worst: dict[int, float] = {}  # look-ahead at each length at which there is one
    problem = ""
    try:
        for attempt in growing_traces(
            module, x, time_axis, start=start, max_frames=max_frames, min_outputs=MIN_OUTPUTS
        ):
            problem = attempt.problem or problem
            if attempt.seen is None:
                continue
            traces[attempt.frames] = attempt.seen
            stride = _stride(attempt.seen, attempt.field)
            leaks = lookahead_per_output(attempt.seen, stride, convention)
            if leaks:
                worst[attempt.frames] = max(leaks.values())
            if attempt.field is not None and attempt.confirmed:
                leaking_frames = min(worst, default=attempt.frames)
                found = StaticResult(attempt.seen, stride, leaks, 0, True, attempt.field, "", leaking_frames)
                return _confirmed(found, list(traces.values()), convention)
            if attempt.field is None and len(worst) >= 3 and len(set(list(worst.values())[-3:])) == 1:
                break  # it leaks equally far at three lengths, and nothing repeats: longer inputs add nothing
        if not traces:
            return _at_one_length(module, x, convention, time_axis, problem)
    except CannotTrace as error:
        return StaticResult(problem=str(error))
    if (rate := broken_rate({frames: seen.frames[1] for frames, seen in traces.items()})) is not None:
        return _at_a_broken_rate(traces, rate, convention, problem)
    shown = max(worst, default=max(traces))  # a leak at one length is a leak
    stride = stride_from_lengths(*traces[shown].frames)
    leaks = lookahead_per_output(traces[shown], stride, convention)
    *_, before, last = [0.0, 0.0, *(worst[frames] for frames in sorted(worst))]
    grows = len(worst) >= 2 and last > before
    return _without_field(traces[shown], stride, leaks, grows, problem, min(worst, default=0))


def _at_a_broken_rate(
    traces: dict[int, Trace], rate: tuple[Fraction, Fraction], convention: Convention, problem: str
) -> StaticResult:
    """Judge resampling by a fraction that no field tells: what every rate in the bounds finds, or nothing."""
    found = {frames: lookahead_per_output(seen, rate[1], convention) for frames, seen in traces.items()}
    shown = max((frames for frames, leaks in found.items() if leaks), default=max(traces))
    leaks = found[shown]
    certain = bool(leaks) or not any(lookahead_per_output(seen, rate[0], convention) for seen in traces.values())
    most = max(leaks.values(), default=0)
    return StaticResult(traces[shown], rate[1], leaks, most, certain, None, problem, shown)


def _stride(seen: Trace, field: Field | None) -> Fraction:
    moves = field is not None and field.lookahead != math.inf and field.stride > 0
    return field.stride if field is not None and moves else stride_from_lengths(*seen.frames)


def _confirmed(found: StaticResult, shorter: list[Trace], convention: Convention) -> StaticResult:
    """Return the look-ahead of a field; where it has none, that of a shorter input: a leak at one length is a leak."""
    assert found.field is not None
    beyond = found.field.lookahead - allowed_lookahead(found.stride, convention)
    if beyond > 0:
        return replace(found, lookahead=math.inf if beyond == math.inf else math.ceil(beyond))
    for seen in shorter:
        if leaks := lookahead_per_output(seen, found.stride, convention):
            most = max(leaks.values())
            return StaticResult(seen, found.stride, leaks, most, True, leaking_frames=seen.frames[0])
    return found


def _at_one_length(module: nn.Module, x: Tensor, convention: Convention, time_axis: int, problem: str) -> StaticResult:
    """Analyse a network that takes inputs of one length only: that of the example."""
    try:
        seen = trace(module, x, time_axis=time_axis)
    except Exception as error:
        return StaticResult(problem=in_one_line(error))
    stride = stride_from_lengths(*seen.frames)
    leaks = lookahead_per_output(seen, stride, convention)
    reads_everything = bool(leaks) and bool(seen.reads.all())
    return _without_field(seen, stride, leaks, reads_everything, problem, x.shape[time_axis])


def _without_field(
    seen: Trace, stride: Fraction, leaks: dict[int, float], endless: bool, problem: str, leaking_frames: int
) -> StaticResult:
    """Return what the longest trace shows, where no field repeats."""
    worst = math.inf if endless else max(leaks.values(), default=0)
    hidden = bool(seen.high.any()) or seen.short
    certain = bool(leaks) or not hidden
    return StaticResult(seen, stride, leaks, worst, certain, None, problem, leaking_frames or seen.frames[0])


# ---------------------------------------------------------------------- the first submodule that leaks
def first_leaking_module(
    module: nn.Module, x: Tensor, convention: Convention, time_axis: int, max_candidates: int = 24
) -> tuple[str, str] | None:
    """Find the first submodule that looks ahead by its own doing, and whose leak is still there further on.

    For each candidate the trace runs again, with everything ahead of its time removed from what its output reads. That
    must change what the network reads of the future or, where a later leak reads everything anyway, at least what a
    later submodule receives. A submodule that contains another candidate comes last.

    Args:
        module: the network.
        x: an input on which it looks ahead, ``(batch, channels, time[, frequency])``.
        convention: which inputs an output may read.
        time_axis: where time is, counted from the front.
        max_candidates: how many submodules to try; each costs one trace.

    Returns:
        Its qualified name ("" is the network itself) and what is wrong with it; None where nothing looks ahead.
    """
    seen = trace(module, x, time_axis=time_axis, visits=True)
    frames, stride = x.shape[time_axis], stride_from_lengths(*seen.frames)
    before = _count_future(seen, stride, convention)
    candidates = [i for i, visit in enumerate(seen.visits) if _starts_a_leak(visit, frames, convention)]
    candidates = candidates[:max_candidates]
    names = [seen.visits[i].name for i in candidates]
    enclosing = {i for i in candidates if any(_inside(name, seen.visits[i].name) for name in names)}
    noticed: int | None = None  # the first candidate that a later submodule would miss
    for i in sorted(candidates, key=lambda c: c in enclosing):
        if i in enclosing and noticed is not None:
            break

        def remove(call: int, _: str, tensor: Tensor, table: DependencyTable, i: int = i) -> None:
            if call == i:
                _remove_future(tensor, table, frames, convention)

        after = trace(module, x, time_axis=time_axis, visits=True, edit=remove)
        if _count_future(after, stride, convention) < before:
            return _named(module, seen.visits[i])
        later = range(i + 1, len(seen.visits))
        if noticed is None and any(after.visits[n].last_in != seen.visits[n].last_in for n in later):
            noticed = i
    if noticed is not None:
        return _named(module, seen.visits[noticed])
    return ("", "between its submodules") if before else None


def _looks_ahead(last: tuple[int, ...] | None, frames: int, convention: Convention) -> bool:
    if last is None:
        return False
    stride = stride_from_lengths(frames, len(last))
    allowed = allowed_lookahead(stride, convention)
    return any(t > i * stride + allowed for i, t in enumerate(last))


def _starts_a_leak(visit: Visit, frames: int, convention: Convention) -> bool:
    """Say whether its output looks ahead while its input does not: else the leak is in an earlier submodule."""
    return _looks_ahead(visit.last_out, frames, convention) and not _looks_ahead(visit.last_in, frames, convention)


def _inside(name: str, outer: str) -> bool:
    return name != outer and (not outer or name.startswith(outer + "."))


def _named(module: nn.Module, visit: Visit) -> tuple[str, str]:
    return visit.name, describe(inner_network(module).get_submodule(visit.name), visit)


def _count_future(seen: Trace, stride: Fraction, convention: Convention) -> int:
    """Count the (output frame, input frame) pairs that lie in the future."""
    allowed = allowed_lookahead(stride, convention)
    return sum(int(row[max(0, math.floor(u * stride) + allowed + 1) :].sum()) for u, row in enumerate(seen.times))


def _remove_future(tensor: Tensor, table: DependencyTable, frames: int, convention: Convention) -> None:
    """Take from the entries of ``tensor`` whatever they depend on ahead of their own time."""
    dep = table.dep(tensor)
    if dep is None:
        return
    grid = any_over(dep[: table.cells].unflatten(0, table.shape), [0, 2])
    axis = time_axis_of(grid, tensor)
    stride = stride_from_lengths(frames, tensor.shape[axis])
    allowed = allowed_lookahead(stride, convention)
    dep = dep.clone().transpose(axis + 1, 1)  # (width, time, …)
    cells = dep[: table.cells].unflatten(0, table.shape)  # (rows, times, frequencies, time, …)
    for i in range(tensor.shape[axis]):
        cells[:, max(0, math.floor(i * stride) + allowed + 1) :, :, i] = False
    table.set(tensor, dep.transpose(axis + 1, 1), table.kind(tensor))


def _reads_ahead_inside(last: tuple[int, ...]) -> bool:
    """Say whether the output in the middle reads ahead, too, and not only those at an edge."""
    stride = stride_from_lengths(max(last, default=0) + 1, len(last))
    middle = len(last) // 2
    return bool(last) and last[middle] > middle * stride + allowed_lookahead(stride, Convention.BLOCK)


def describe(part: nn.Module, visit: Visit) -> str:
    """Say what is wrong with a submodule, in words, from its type and the operations that it ran."""
    name, ran = type(part).__name__, set(visit.operations)
    if "BatchNorm" in name and part.training:
        return f"{name} in training mode: statistics of the batch run over all of time; eval() uses stored ones"
    if any(word in name for word in ("GroupNorm", "InstanceNorm", "LayerNorm")) or ran & {
        "native_group_norm",
        "native_layer_norm",
    }:
        return f"{name}: it normalises over time"
    if getattr(part, "bidirectional", False):
        return f"{name} in both directions: the second one reads the future"
    everywhere = visit.last_out is not None and _reads_ahead_inside(visit.last_out)
    if any(op.startswith("reflection_pad") for op in ran) or getattr(part, "padding_mode", "") == "reflect":
        if not everywhere:
            return f"{name}: reflect padding mirrors the future into the past"
        if "convolution" not in ran:
            return f"{name}: padding on both sides: the window behind it lies ahead"
    elif getattr(part, "padding_mode", "") == "circular":
        return f"{name}: circular padding joins the end to the start"
    if ran & {"_fft_r2c", "_fft_c2c"}:
        return f"{name}: a spectrum over a window that lies ahead"
    if ran & {"_softmax", "_safe_softmax", "softmax"} and ran & {"bmm", "mm"}:
        return f"{name}: attention whose mask lets the future in"
    if ran & {"mean", "amax", "amin", "max", "min", "var", "std", "var_mean"}:
        return f"{name}: a statistic over all of time"
    if "convolution" in ran:
        return f"{name}: a convolution whose window lies ahead; its padding does not fit"
    if any("pool" in op for op in ran):
        return f"{name}: a pool whose window lies ahead"
    return f"{name}: it moves frames back in time"
