"""Which lengths of input to try, so that a pattern which held on some of them is not taken for a law.

A network may pad to a multiple of 16, look back no further than 100 frames, or do something else for short inputs. So
the lengths are chosen by what the network asked of its sizes (:class:`causalcnn.causality.tracing.lengths.Landmarks`):
on both sides of each limit, multiples and others of each divisor, past the numbers that its masks are made with; and
always the example's own, a prime, and an odd multiple of 8. A field without an end has to go on at four times the
length, and further than the windows of all masks reach together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from causalcnn.causality.tracing import Trace
from causalcnn.field import Field

__all__ = ["MOST_WORK", "lengths_to_try", "unproven_end", "work_at"]

MOST_WORK, EXTRA_WORK = 1 << 31, 1 << 28
"""Entries that all traces may write: where the network gives a reason for a length, and in any case.

Or three times those of the longest of them, where that is more.
"""


def lengths_to_try(traces: Mapping[int, Trace], field: Field, own: int, max_frames: int) -> Iterator[int]:
    """Yield numbers of frames that should be tried, too, most telling first; some may have been tried.

    Args:
        traces: what was seen so far, by the number of frames of the input.
        field: what fits the longest of them.
        own: the number of frames of the example.
        max_frames: the most frames to try.

    Yields:
        Numbers of frames that the network gives a reason for, and then others.
    """
    least, longest = min(traces), max(traces)
    endless = field.size == math.inf

    def affordable(frames: int, most: int) -> bool:
        spent = sum(seen.work for seen in traces.values())
        return least <= frames <= max_frames and spent + work_at(frames, traces) <= max(most, 3 * traces[longest].work)

    for frames in _with_reason(traces, endless):
        if affordable(frames, MOST_WORK):
            yield frames
    for frames in (own, _prime_from(least + 1), least // 16 * 16 + 8, _prime_from(4 * least) if endless else own):
        if affordable(frames, EXTRA_WORK):
            yield frames


def _with_reason(traces: Mapping[int, Trace], endless: bool) -> Iterator[int]:
    least, longest = min(traces), max(traces)
    notes = [seen.landmarks for seen in traces.values()]
    steady = set.intersection(*(note.constants for note in notes))  # others are made of the length itself
    for limit in sorted(set.union(*(note.limits for note in notes)))[:12]:
        yield from (limit, limit + 1, limit - 1)
    for divisor in sorted(set.union(*(note.divisors for note in notes)), reverse=True)[:4]:
        multiple = max(1, math.ceil(least / divisor)) * divisor
        yield from (multiple, multiple + 1, multiple + divisor - 1)
    for constant in sorted(steady)[:8]:
        if constant > least // 4:
            yield from (constant + 1, 2 * constant + 3)
    if endless and (reach := traces[longest].landmarks.reach):
        yield reach + max(8, reach // 4)


def work_at(frames: int, traces: Mapping[int, Trace]) -> float:
    """Estimate the size of a trace of so many frames from those that were made."""
    least, longest = min(traces), max(traces)
    if longest == least:
        power = 3.0
    else:
        few, many = (max(1, traces[n].work) for n in (least, longest))  # views alone write nothing
        power = math.log(many / few) / math.log(longest / least)
    return traces[longest].work * (frames / longest) ** max(1.0, power)


def unproven_end(traces: Mapping[int, Trace], field: Field) -> str:
    """Say why a field without an end is not proven to have none; empty where it is."""
    longest = max(traces)
    steady = set.intersection(*(seen.landmarks.constants for seen in traces.values()))
    beyond = max((c for c in steady if c >= longest), default=0)
    reach = traces[longest].landmarks.reach
    if field.size < math.inf or not (beyond or reach >= longest):
        return ""
    least = f"each output reads at least {longest} frames as far as they go; "
    if beyond:
        return least + f"a mask or an index is made with {beyond}, and so long an input was too large to try"
    return least + f"masks let through {reach} of the past together, and so long an input was too large to try"


def _prime_from(number: int) -> int:
    while any(number % factor == 0 for factor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number
