"""``receptive_field``: the field of any torch module, declared where it is ours, traced where it is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from causalcnn.causality.patterns import (
    agrees,
    end_of_run,
    endless_repetition,
    field_from_block,
    moved,
    repetition,
    some_of,
    unbroken_runs,
)
from causalcnn.causality.tracing import CannotTrace, Trace, counted_axis, trace
from causalcnn.field import Field

__all__ = ["CannotFit", "fit_field", "receptive_field"]

FRAMES = 32
MOST_FRAMES = 4096
Sets = list[frozenset[int] | None]


class CannotFit(ValueError):
    """What was traced is no field: it does not repeat along time, or the example is too short to see it do so."""


def receptive_field(
    module: nn.Module,
    example: Tensor | Sequence[int] | None = None,
    *,
    axis: str | None = None,
    time_axis: int = 2,
    most_frames: int = MOST_FRAMES,
) -> Field:
    """Which inputs each output of a network reads, for any weights: right, or an error.

    A module that declares its field (a :class:`causalcnn.CausalModule`) is asked. Any other is run once on an input of
    zeros and ones, and the dependencies are followed through every operation; where the result repeats itself along
    time, it is a :class:`Field`, confirmed on a longer input. Weights do not count, so a kernel that was
    initialised with zeros is read. The pattern is looked for within ``most_frames``: what a module does at one
    particular frame beyond that stays unseen.

    Args:
        module: any module from ``(batch, channels, time[, frequency])`` to the same; it runs as it is, in
            training mode or not (batch normalisation reads all frames in training, one in ``eval()``).
        example: an input, or its shape. Its number of frames is a start only: more are tried as needed. May be left
            out for a module that declares its field, and for one whose first layer is a ``Conv1d``.
        axis: ``"time"`` or ``"frequency"`` for the projection of a joint field on one of them.
        time_axis: where time is, in the input and in the output; −1 is the last axis of the input.
        most_frames: the longest input to try.

    Raises:
        CannotTrace: an operation cannot be followed: unknown, or a decision that depends on data.
        CannotFit: outputs read no repeating set of inputs (reflect padding, say). ``causalcnn.measure_field`` shows
            what each output reads all the same.

    Example:
        >>> print(receptive_field(nn.Conv1d(1, 8, 5, stride=2), (1, 1, 50)))
        reads 5 frames: 0 frames of past; looks 4 frames ahead; one output every 2 input frames
    """
    declared = getattr(module, "field", None)
    if isinstance(declared, Field):
        return declared.axis(axis) if axis else declared
    x = _example(module, example)
    found = _search(module, x, counted_axis(x, time_axis), most_frames)
    return found.axis(axis) if axis else found


def _example(module: nn.Module, example: Tensor | Sequence[int] | None) -> Tensor:
    if isinstance(example, Tensor):
        return example[:1].detach()
    parameter = next(module.parameters(), None)
    dtype = parameter.dtype if parameter is not None and parameter.is_floating_point() else torch.get_default_dtype()
    if example is None:
        first = next((part for part in module.modules() if not list(part.children())), None)
        if not isinstance(first, nn.Conv1d):
            raise ValueError(
                f"{type(module).__name__} declares no field and its input cannot be guessed: pass an example, or its "
                "shape: receptive_field(module, (1, channels, frames))"
            )
        example = (1, first.in_channels, FRAMES)
    return torch.ones(1, *tuple(example)[1:], dtype=dtype)


def with_frames(x: Tensor, frames: int, time_axis: int) -> Tensor:
    """An input of the same kind with another number of frames."""
    repeats = [1] * x.dim()
    repeats[time_axis] = -(-frames // x.shape[time_axis])
    return x.repeat(repeats).narrow(time_axis, 0, frames)


def _search(module: nn.Module, x: Tensor, time_axis: int, most: int) -> Field:
    """Longer and longer inputs, until the sets repeat and a longer input agrees."""
    frames, problem = min(max(FRAMES, x.shape[time_axis] // 4), most), "no input was long enough"
    candidate: Field | None = None
    tried: list[Trace] = []
    while frames <= most:
        try:
            seen = trace(module, with_frames(x, frames, time_axis), time_axis=time_axis)
        except CannotTrace:
            raise
        except (RuntimeError, ValueError, IndexError, AssertionError) as error:
            problem = f"on {frames} frames the network fails: {error}"
        else:
            if candidate is not None and explains(candidate, seen):
                for earlier in tried:
                    _require_within(candidate, earlier, type(module).__name__)
                return candidate
            tried.append(seen)
            try:
                candidate = fit_field(seen)
            except CannotFit as error:
                candidate, problem = None, str(error)
        frames = frames * 3 // 2 if candidate is not None else frames * 2
    raise CannotFit(
        f"{type(module).__name__}: {problem}. Tried up to {most} frames. What each output reads is shown by "
        "causalcnn.measure_field(module, example); audit(module, example) says whether it looks ahead."
    )


def _require_within(field: Field, seen: Trace, network: str) -> None:
    """What was read on a shorter input must belong to the field too: else it depends on the length."""
    if seen.joint:
        return  # a joint field is fitted anew at each length, and the last two agree
    for u, found in enumerate(_sets(seen, None)):
        if other := found - field.inputs_of(u, within=range(seen.frames[0])):
            raise CannotFit(
                f"{network}: what it reads depends on how long the input is. On {seen.frames[0]} frames output {u} "
                f"reads {some_of(other)}, which is not in the field of longer inputs: {field}"
            )


# ---------------------------------------------------------------------- from sets to a field
def fit_field(seen: Trace) -> Field:
    """The field whose sets are those of a trace, away from the edges exactly, at the edges at least.

    Raises:
        CannotFit: there is none, or the example is too short to tell.
    """
    wide = seen.reads.shape[1]
    if seen.short:
        raise CannotFit(f"a slice reaches beyond the {seen.frames[0]} frames of the example")
    if not seen.joint:
        return _fit_time(seen, list(_sets(seen, None)), seen.low[:, 0], seen.high[:, 0])
    return _fit_joint(seen, wide)


def _sets(seen: Trace, frequency: int | None) -> Iterator[frozenset]:
    for u in range(seen.reads.shape[0]):
        yield seen.inputs_of(u if frequency is None else (u, frequency))


def _fit_time(seen: Trace, sets: list[frozenset], low: Tensor, high: Tensor) -> Field:
    times = seen.frames[0]
    if not any(sets):
        raise CannotFit("no output depends on the input, or every one that does lies beyond the example")
    inner = [not (a or b) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    start, stop = unbroken_runs(inner)[0]
    trim = (stop - start) // 4
    if (pattern := repetition(sets[start + trim : stop - trim])) is not None:
        period, advance = pattern
        field = field_from_block(sets, start + trim, period, advance)
        if agrees(field, sets, times, start + trim, stop - trim):
            return field
    endless = _fit_endless(seen, sets, low.tolist(), high.tolist())
    if endless is None:
        raise CannotFit(
            f"on {times} frames the {len(sets)} outputs read no repeating set of inputs (for example output 0 reads "
            f"{some_of(sets[0])}, output {len(sets) // 2} reads {some_of(sets[len(sets) // 2])})"
        )
    return endless


def _fit_endless(seen: Trace, sets: Sequence[frozenset], low: list[bool], high: list[bool]) -> Field | None:
    """All the past, all the future, or everything, each with whatever else is read.

    A kernel that is longer than the example reads all of it too. Its outputs carry marks of padding, but only as far
    from the edge as there is padding in the whole network: beyond that, a mark has come a way that has no end.
    """
    times, outs = seen.frames[0], len(sets)
    away = math.ceil(seen.padding * outs / times)
    whole = frozenset(range(times))
    if all(found == whole for found in sets):
        return Field.everything() if outs >= 4 and (2 * away < outs or not any(low + high)) else None
    for run, hidden, seen_marks in (("history", high, low), ("future", low, high)):
        clear = outs // 4 if not any(seen_marks[outs // 4 : outs - outs // 4]) else max(outs // 4, away)
        middle = range(clear, outs - outs // 4) if run == "history" else range(outs // 4, outs - clear)
        # Taps beyond the example on the other side would show as padding there, away from that edge.
        if len(middle) < 6 or any(hidden[u] for u in middle):
            continue
        ends, rests = [], []
        for u in middle:
            end = end_of_run(sets[u], times, run)
            ends.append(end)
            rests.append(frozenset(t for t in sets[u] if (t > end if run == "history" else t < end)))
        found = endless_repetition(middle, ends, rests, run)
        if found is not None and agrees(found, sets, times, middle.start, middle.stop):
            return found
    return None


# ---------------------------------------------------------------------- time and frequency
def _fit_joint(seen: Trace, wide: int) -> Field:
    """Along frequency: a repeating pattern where one shows inside, else each frequency with a set of its own."""
    times, extent = seen.frames[0], seen.shape[2]
    inner = ~(seen.low | seen.high)
    steady = inner.any(1)
    start, stop = unbroken_runs(steady.tolist())[0]
    trim = (stop - start) // 4
    rows = [[seen.inputs_of((u, f)) for f in range(wide)] for u in range(seen.reads.shape[0])]
    if not any(any(row) for row in rows):
        raise CannotFit("no output depends on the input")
    joined = [frozenset((t, f * extent + g) for f, cells in enumerate(row) for t, g in cells) for row in rows]
    pattern = repetition(joined[start + trim : stop - trim])
    if pattern is None:
        return _joint_endless(seen, rows, times, extent)
    period, advance = pattern
    block = []
    for phase in range(period):
        u = start + trim + (phase - start - trim) % period
        block.append([moved(cells, -(u // period) * advance) for cells in rows[u]])
    for field in _frequency_forms(block, period, advance, seen, wide, extent):
        if _joint_agrees(field, rows, times, extent, range(start + trim, stop - trim)):
            return field
    raise CannotFit(f"on {times} frames and {extent} frequencies the outputs read no repeating set of cells")


def _frequency_forms(
    block: list[list[frozenset]], period: int, advance: int, seen: Trace, wide: int, extent: int
) -> Iterator[Field]:
    middle = seen.reads.shape[0] // 2
    clear = [not bool(side) for side in seen.side[max(0, middle - 1) : middle + 2].any(0)]
    start, stop = unbroken_runs(clear)[0]
    for repeat in range(1, (stop - start) // 2 + 1):
        if (shift := _frequency_shift(block, start, stop, repeat)) is None:
            continue
        cells = []
        for row in block:
            for phase in range(repeat):
                f = start + (phase - start) % repeat
                back = f // repeat * shift
                cells.append(frozenset((t, g - back) for t, g in row[f]))
        yield Field(("time", "frequency"), (period, repeat), (advance, shift), tuple(cells))
    flat = tuple(cells for row in block for cells in row)
    yield Field(("time", "frequency"), (period, wide), (advance, 0), flat)


def _frequency_shift(block: list[list[frozenset]], start: int, stop: int, repeat: int) -> int | None:
    """By how many input cells the sets move when the output moves on by ``repeat``; None where they do not."""
    here = next(((row[start], row[start + repeat]) for row in block if row[start] and row[start + repeat]), None)
    if here is None or start + repeat >= stop:
        return None
    shift = min(g for _, g in here[1]) - min(g for _, g in here[0])
    for row in block:
        for f in range(start, stop - repeat):
            if row[f + repeat] != frozenset((t, g + shift) for t, g in row[f]):
                return None
    return shift if shift > 0 else None


def _joint_agrees(field: Field, rows: list[list[frozenset]], times: int, extent: int, steady: range) -> bool:
    clear_of_edges = 0
    for u, row in enumerate(rows):
        for f, found in enumerate(row):
            said = field.inputs_of((u, f))
            inside = frozenset(c for c in said if 0 <= c[0] < times and 0 <= c[1] < extent)
            if not found <= inside:
                return False
            if found != inside:
                if u in steady and (inside == said or field.advance[1] == 0):
                    return False
            elif u in steady:
                clear_of_edges += 1
    return clear_of_edges > 0


def _joint_endless(seen: Trace, rows: list[list[frozenset]], times: int, extent: int) -> Field:
    """Endless over time, and then over all frequencies: anything finer has no description as a Field."""
    flat = []
    for row in rows:
        kinds = {frozenset(cells) for cells in row}
        frames = {t for t, _ in row[0]}
        if len(kinds) != 1 or row[0] != frozenset((t, g) for t in frames for g in range(extent)):
            raise CannotFit("the sets of (time, frequency) cells do not repeat along time; ask for a longer example")
        flat.append(frozenset(frames))
    field = _fit_time(seen, flat, seen.low.any(1), seen.high.any(1))
    if math.isfinite(field.size):
        raise CannotFit("the sets of (time, frequency) cells do not repeat along time")
    return Field.product(field, Field.whole(extent))


def explains(field: Field, seen: Trace) -> bool:
    """Whether a field fitted elsewhere holds for this trace too."""
    times, outs = seen.frames
    if not seen.joint:
        sets = list(_sets(seen, None))
        marks = (seen.low[:, 0] | seen.high[:, 0]).tolist()
        endless = field.size == math.inf
        for u, found in enumerate(sets):
            said = field.inputs_of(u, within=range(times))
            steady = not marks[u] if not endless else outs // 4 <= u < outs - outs // 4
            if not found <= said or (steady and outs // 4 <= u < outs - outs // 4 and found != said):
                return False
        return True
    try:
        again = _fit_joint(seen, seen.reads.shape[1])
    except CannotFit:
        return False
    return again == field
