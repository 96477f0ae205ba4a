"""From one trace to a field: sets of inputs that repeat themselves along time (and frequency).

Near its edges a trace shows less than the field, because padding takes the place of inputs; the trace marks such
outputs. So a pattern is looked for where there are no marks (``_clear_of_edges``), and then compared with all sets:
exactly in that middle, as a subset elsewhere. Endless fields (a recurrent layer, attention) are told from kernels that
are longer than the example by where the marks are (``_fit_endless``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from causalcnn.causality.periods import (
    agrees,
    end_of_run,
    field_from_block,
    find_endless_period,
    find_period,
    preview,
    shifted,
    true_runs,
)
from causalcnn.causality.tracing import Trace
from causalcnn.field import Field

__all__ = ["NoPeriodicField", "fit_field", "is_consistent"]


class NoPeriodicField(ValueError):
    """What was traced is not a field: it does not repeat along time, or the example is too short to see it do so."""


def fit_field(seen: Trace) -> Field:
    """Find the field whose sets are those of a trace: exactly, except at the edges, where the trace may read less.

    Args:
        seen: the trace of one input.

    Returns:
        The field, over time, or over time and frequency where the trace is joint.

    Raises:
        NoPeriodicField: there is none, or the example is too short to tell.
    """
    if seen.short:
        raise NoPeriodicField(f"a slice reaches beyond the {seen.frames[0]} frames of the example")
    if not seen.joint:
        return _fit_time(seen, seen.sets(), seen.low[:, 0], seen.high[:, 0])
    return _fit_joint(seen)


def _clear_of_edges(inner: Tensor) -> tuple[int, int]:
    """Return the middle half of the longest run of outputs that were computed without padding, as (start, stop)."""
    start, stop = true_runs(inner.tolist())[0]
    trim = (stop - start) // 4
    return start + trim, stop - trim


def _fit_time(seen: Trace, sets: list[frozenset], low: Tensor, high: Tensor) -> Field:
    """Fit a window that repeats, else an endless run; ``low`` and ``high`` are the marks of padding of each output."""
    times = seen.frames[0]
    if not any(sets):
        raise NoPeriodicField("no output depends on the input, or every one that does lies beyond the example")
    start, stop = _clear_of_edges(~(low | high))
    # Where a mask hides the far past there is no padding: then the first outputs read less, and have no marks.
    for first in (start, (start + stop) // 2):
        if (pattern := find_period(sets[first:stop])) is not None:
            field = field_from_block(sets, first, *pattern)
            if agrees(field, sets, times, first, stop):
                return field
    endless = _fit_endless(seen, sets, low.tolist(), high.tolist())
    if endless is None:
        raise NoPeriodicField(
            f"on {times} frames the {len(sets)} outputs read no repeating set of inputs (for example output 0 reads "
            f"{preview(sets[0])}, output {len(sets) // 2} reads {preview(sets[len(sets) // 2])})"
        )
    return endless


def _fit_endless(seen: Trace, sets: Sequence[frozenset], low: list[bool], high: list[bool]) -> Field | None:
    """Fit all the past, all the future, or everything, each with whatever else is read.

    A kernel that is longer than the example reads all of it too. Its outputs carry marks of padding, but only as far
    from the edge as there is padding in the whole network: a mark further inside has come along an endless run.
    """
    times, outs = seen.frames[0], len(sets)
    padded = math.ceil(seen.padding * outs / times)  # outputs that padding can reach
    all_frames = frozenset(range(times))
    if all(found == all_frames for found in sets):
        return Field.everything() if outs >= 4 and (2 * padded < outs or not any(low + high)) else None
    quarter = outs // 4
    for run, own_marks, other_marks in (("history", low, high), ("future", high, low)):
        clear = max(quarter, padded) if any(own_marks[quarter : outs - quarter]) else quarter
        middle = range(clear, outs - quarter) if run == "history" else range(quarter, outs - clear)
        # Taps beyond the example on the other side would show as padding there, away from that edge.
        if len(middle) < 6 or any(other_marks[u] for u in middle):
            continue
        ends = [end_of_run(sets[u], times, run) for u in middle]
        rests = [
            frozenset(t for t in sets[u] if (t > end if run == "history" else t < end))
            for u, end in zip(middle, ends, strict=True)
        ]
        found = find_endless_period(middle, ends, rests, run)
        if found is not None and agrees(found, sets, times, middle.start, middle.stop):
            return found
    return None


# ---------------------------------------------------------------------- time and frequency
def _fit_joint(seen: Trace) -> Field:
    """Fit time and frequency: along frequency a repeating pattern where one shows inside, else one set a frequency."""
    times, extent, wide = seen.frames[0], seen.shape[2], seen.reads.shape[1]
    start, stop = _clear_of_edges((~(seen.low | seen.high)).any(1))
    rows = [[seen.inputs_of((u, f)) for f in range(wide)] for u in range(seen.reads.shape[0])]
    if not any(any(row) for row in rows):
        raise NoPeriodicField("no output depends on the input")
    joined = [frozenset((t, f * extent + g) for f, cells in enumerate(row) for t, g in cells) for row in rows]
    pattern = find_period(joined[start:stop])
    if pattern is None:
        return _joint_endless(seen, rows, times, extent)
    period, advance = pattern
    block = []
    for phase in range(period):
        u = start + (phase - start) % period
        block.append([shifted(cells, -(u // period) * advance) for cells in rows[u]])
    for field in _frequency_forms(block, period, advance, seen, wide, extent):
        if _joint_agrees(field, rows, times, extent, range(start, stop)):
            return field
    raise NoPeriodicField(f"on {times} frames and {extent} frequencies the outputs read no repeating set of cells")


def _frequency_forms(
    block: list[list[frozenset]], period: int, advance: int, seen: Trace, wide: int, extent: int
) -> Iterator[Field]:
    """Yield fields that hold for one period of rows: with a period along frequency, shortest first, then without."""
    middle = seen.reads.shape[0] // 2
    clear = [not bool(side) for side in seen.side[max(0, middle - 1) : middle + 2].any(0)]
    start, stop = true_runs(clear)[0]
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
    """Count the input cells by which the sets move when the output moves on by ``repeat``; None if they do not."""
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
    """Say whether every set is within the field's, and equal to it in the ``steady`` frames, away from edges."""
    clear_of_edges = 0
    for u, row in enumerate(rows):
        for f, found in enumerate(row):
            declared = field.inputs_of((u, f))
            inside = frozenset(c for c in declared if 0 <= c[0] < times and 0 <= c[1] < extent)
            if not found <= inside:
                return False
            if found != inside:
                if u in steady and (inside == declared or field.advance[1] == 0):
                    return False
            elif u in steady:
                clear_of_edges += 1
    return clear_of_edges > 0


def _joint_endless(seen: Trace, rows: list[list[frozenset]], times: int, extent: int) -> Field:
    """Fit a field that is endless over time and reads all frequencies; a :class:`Field` describes nothing finer."""
    flat = []
    for row in rows:
        kinds = {frozenset(cells) for cells in row}
        frames = {t for t, _ in row[0]}
        if len(kinds) != 1 or row[0] != frozenset((t, g) for t in frames for g in range(extent)):
            raise NoPeriodicField(
                "the sets of (time, frequency) cells do not repeat along time; ask for a longer example"
            )
        flat.append(frozenset(frames))
    field = _fit_time(seen, flat, seen.low.any(1), seen.high.any(1))
    if math.isfinite(field.size):
        raise NoPeriodicField("the sets of (time, frequency) cells do not repeat along time")
    return Field.product(field, Field.dense(extent))


def is_consistent(field: Field, seen: Trace) -> bool:
    """Say whether a field fitted elsewhere holds for this trace too."""
    if seen.joint:
        try:
            return _fit_joint(seen) == field
        except NoPeriodicField:
            return False
    times, outs = seen.frames
    marks = (seen.low[:, 0] | seen.high[:, 0]).tolist()
    middle = range(outs // 4, outs - outs // 4)
    if field.size == math.inf and field.lookahead < math.inf and not any(seen.high[middle.start :, 0]):
        middle = range(middle.start, outs)  # nothing hides there how far back an output reads
    for u, found in enumerate(seen.sets()):
        declared = field.inputs_of(u, within=range(times))
        exact = u in middle and (field.size == math.inf or not (marks[u] or len(declared) < len(field.inputs_of(u))))
        if not found <= declared or (exact and found != declared):
            return False
    return True
