"""Sets of input frames, one for each output: how they repeat themselves, and which field that is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from causalcnn.field import Field

__all__ = [
    "agrees",
    "end_of_run",
    "field_from_block",
    "find_endless_period",
    "find_period",
    "preview",
    "shifted",
    "true_runs",
]


def true_runs(flags: list[bool]) -> list[tuple[int, int]]:
    """Return the unbroken runs of True as (start, stop), the longest first."""
    edges = [-1, *(i for i, flag in enumerate(flags) if not flag), len(flags)]
    return sorted(((a + 1, b) for a, b in pairwise(edges)), key=lambda r: r[0] - r[1])


def find_period(sets: Sequence[frozenset]) -> tuple[int, int] | None:
    """Find the shortest (period, advance) by which these sets repeat at least twice over, if any."""
    for period in range(1, len(sets) // 3 + 1):
        first = next((i for i in range(len(sets) - period) if sets[i]), None)
        if first is None or not sets[first + period]:
            continue
        advance = _first_frame(sets[first + period]) - _first_frame(sets[first])
        if advance <= 0:
            continue
        if all(sets[i + period] == shifted(sets[i], advance) for i in range(len(sets) - period)):
            return period, advance
    return None


def _first_frame(cells: frozenset) -> int:
    """Return the first frame of a set of frames or of cells."""
    return min(cell[0] if isinstance(cell, tuple) else cell for cell in cells)


def shifted(cells: frozenset, by: int) -> frozenset:
    """Return the same set, later by so many frames."""
    return frozenset((c[0] + by, *c[1:]) if isinstance(c, tuple) else c + by for c in cells)


def field_from_block(sets: Sequence[frozenset], start: int, period: int, advance: int) -> Field:
    """Make a field of one period of sets that starts at output ``start``, written as phases 0 … period−1."""
    cells = []
    for phase in range(period):
        u = start + (phase - start) % period
        turns = u // period
        cells.append(frozenset((t - turns * advance,) for t in sets[u]))
    return Field(("time",), (period,), (advance,), tuple(cells))


def agrees(field: Field, sets: Sequence[frozenset], times: int, start: int, stop: int) -> bool:
    """Say whether the sets are the field's: exactly from ``start`` to ``stop``, elsewhere at least within it."""
    reads_less = []
    for u, found in enumerate(sets):
        declared = field.inputs_of(u, within=range(times))
        if not found <= declared:
            return False
        reads_less.append(found != declared)
    return not any(reads_less[start:stop])


def end_of_run(found: frozenset, times: int, run: str) -> int:
    """Return the last frame of an unbroken run from the start, or the first of one to the end."""
    if run == "history":
        return next((t for t in range(times) if t not in found), times) - 1
    return next((t for t in reversed(range(times)) if t not in found), -1) + 1


def find_endless_period(middle: range, ends: list[int], rests: list[frozenset], run: str) -> Field | None:
    """Find a field with an endless run whose ends and other frames repeat themselves, if there is one."""
    if run == "history" and min(ends) < 0:
        return None
    for period in range(1, len(ends) // 3 + 1):
        advance = ends[period] - ends[0]
        same = all(
            ends[i + period] == ends[i] + advance and rests[i + period] == shifted(rests[i], advance)
            for i in range(len(ends) - period)
        )
        if advance > 0 and same:
            break
    else:
        return None
    cells, edges = [], []
    for phase in range(period):
        i = (phase - middle.start) % period
        back = (middle.start + i) // period * advance
        cells.append(frozenset((t - back,) for t in rests[i]))
        edges.append(ends[i] - back)
    history, future = (tuple(edges), ()) if run == "history" else ((), tuple(edges))
    return Field(("time",), (period,), (advance,), tuple(cells), history, future)


def preview(indices: frozenset, max_shown: int = 8) -> str:
    """Write a set for an error message: its first few members."""
    shown = ", ".join(map(str, sorted(indices)[:max_shown]))
    return "{" + shown + (f", … {len(indices)} in all" if len(indices) > max_shown else "") + "}"
