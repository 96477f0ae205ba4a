"""``receptive_field``: the field of any torch module, declared where it is ours, traced where it is not.

A trace (:mod:`causalcnn.causality.tracing`) gives the exact sets on one length of input;
:mod:`causalcnn.causality.field_fitting` makes a :class:`causalcnn.Field` of them where they repeat. Here longer and
longer inputs are tried, until the field of one length explains the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from causalcnn.causality.adapter import TimeAxis, inner_network, one_signal
from causalcnn.causality.declarations import declared_field
from causalcnn.causality.field_fitting import NoPeriodicField, fit_field, is_consistent
from causalcnn.causality.inputs import broken_rate, in_one_line, stride_from_lengths, with_frames
from causalcnn.causality.periods import preview
from causalcnn.causality.tracing import CannotTrace, Trace, trace
from causalcnn.causality.trials import lengths_to_try, unproven_end
from causalcnn.field import Field

__all__ = ["Attempt", "growing_traces", "receptive_field"]

START_FRAMES = 32
MAX_FRAMES = 4096


def receptive_field(
    module: nn.Module,
    example: Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    axis: str | None = None,
    time_axis: TimeAxis = None,
    output_time_axis: int | Mapping[str, int | None] | None = None,
    max_frames: int = MAX_FRAMES,
) -> Field:
    """Say which inputs each output of a network reads, for any weights: right, or an error.

    The field of a module that declares one (a :class:`causalcnn.CausalModule`) is taken as it is, unless what runs is
    not what declared it: a subclass with a ``forward`` of its own, a method replaced on the object, a hook. Any other
    module is run, and the dependencies are followed through every operation; where the result repeats itself along
    time, it is a :class:`causalcnn.Field`, confirmed on a longer input. Weights do not count, so a kernel that was
    initialised with zeros is read. The pattern is looked for within ``max_frames``: what a module does at one
    particular frame beyond that stays unseen.

    Args:
        module: any module over time; it runs as it is, in training mode or not (batch normalisation reads all frames
            in training, one in ``eval()``). Of several outputs, the first one that carries time is taken.
        example: an input, ``(batch, channels, time[, frequency])``, or its shape; or other inputs, as for
            :func:`causalcnn.audit`. Its number of frames is a start only: more are tried as needed. May be left out
            for a module that declares its field, and for one whose first convolution is a ``Conv1d`` that gets the
            input's channels.
        axis: ``"time"`` or ``"frequency"`` for the projection of a joint field on one of them.
        time_axis: where time is in the input, as for :func:`causalcnn.audit`.
        output_time_axis: where time is in the output; by default the axis that grows with the input.
        max_frames: the longest input to try, in frames.

    Returns:
        The set of inputs that each output reads, as a value: with its past, look-ahead, stride and holes.

    Raises:
        CannotTrace: an operation cannot be followed: unknown, or a decision that depends on data.
        NoPeriodicField: outputs read no repeating set of inputs (reflect padding, say), or not within ``max_frames``.
            :func:`causalcnn.measure_field` shows what each output reads all the same.
        ValueError: no example is given and its shape cannot be guessed, or there is no such axis.

    Example:
        >>> from torch import nn
        >>> from causalcnn import receptive_field
        >>> print(receptive_field(nn.Conv1d(1, 8, 5, stride=2), (1, 1, 50)))
        reads 5 frames: 0 frames of past; looks 4 frames ahead; one output every 2 input frames

        A field is a set, and a set may have holes:

        >>> dilated = nn.Sequential(nn.Conv1d(1, 4, 3, dilation=3), nn.Conv1d(4, 1, 3, dilation=3))
        >>> field = receptive_field(dilated, (1, 1, 50))
        >>> field.size, field.holes, sorted(field.inputs_of(0))
        (13, 8, [0, 3, 6, 9, 12])
    """
    declared = declared_field(module)
    if declared is not None:
        if axis and declared == Field.identity():  # of a layer that knows of no axes: the same along each
            return Field.identity()
        return declared.axis(axis) if axis else declared
    network, x = one_signal(module, _shape(module) if example is None else example, time_axis, output_time_axis)
    try:
        found = _search(network, x[:1], 2, max_frames)
    except CannotTrace as error:
        raise CannotTrace(f"{error}. What these weights read is shown by causalcnn.measure_field and audit.") from None
    return found.axis(axis) if axis else found


def _shape(module: nn.Module) -> Sequence[int]:
    """Return the shape of an input of one row; guessed from the first convolution where that is a ``Conv1d``."""
    first = next((part for part in module.modules() if isinstance(part, _ConvNd)), None)
    if not isinstance(first, nn.Conv1d):
        raise ValueError(
            f"{type(module).__name__} declares no field and its input cannot be guessed: pass an example, or its "
            "shape: receptive_field(module, (1, channels, frames))"
        )
    return (1, first.in_channels, START_FRAMES)


# ---------------------------------------------------------------------- longer and longer inputs
@dataclass(frozen=True)
class Attempt:
    """One step of a search over longer and longer inputs.

    Attributes:
        frames: the number of frames that was tried.
        seen: what the network read of them; None where it failed.
        field: the field that fits this trace, if one does.
        confirmed: whether all lengths that were tried show this field.
        problem: why there is no trace, or no field; may be empty.
    """

    frames: int
    seen: Trace | None
    field: Field | None
    confirmed: bool = False
    problem: str = ""


def growing_traces(
    module: nn.Module, x: Tensor, time_axis: int, *, start: int, max_frames: int, min_outputs: int = 0
) -> Iterator[Attempt]:
    """Trace a network on longer and longer inputs, until the field of one explains the next, and all that might not.

    Args:
        module: as for :func:`receptive_field`.
        x: an input; it is repeated, or cut, to each number of frames.
        time_axis: where time is, counted from the front.
        start: the number of frames to begin with.
        max_frames: the largest number of frames to try.
        min_outputs: outputs for which more frames than ``max_frames`` are tried, up to 4,096.

    Yields:
        Every attempt. The last one is confirmed, unless ``max_frames`` was too few.

    Raises:
        CannotTrace: an operation cannot be followed.
    """
    own, frames, field = x.shape[time_axis], start, None
    traces: dict[int, Trace] = {}
    failed: set[int] = set()

    def look(frames: int) -> Attempt:
        try:
            traces[frames] = trace(module, with_frames(x, frames, time_axis), time_axis=time_axis)
        except CannotTrace:
            raise
        except Exception as error:
            failed.add(frames)
            return Attempt(frames, None, field, problem=f"on {frames} frames the network fails: {in_one_line(error)}")
        return Attempt(frames, traces[frames], field)

    while frames <= max_frames:
        attempt = look(frames)
        if (seen := attempt.seen) is None:
            yield attempt
        else:
            if min_outputs:
                wanted = math.ceil(min_outputs * stride_from_lengths(*seen.frames))
                if broken_rate({n: each.frames[1] for n, each in traces.items()}):
                    wanted = MAX_FRAMES  # resampling by a fraction repeats itself late
                max_frames = max(max_frames, min(wanted, MAX_FRAMES))
            if field is not None and is_consistent(field, seen):
                yield attempt
                longer = yield from _tried(look, traces, failed, field, own, max_frames)
                if longer is None:
                    return
                seen, max_frames = longer, min(max_frames, 6 * longer.frames[0])  # it may need only a little more
            problem = ""
            try:
                field = fit_field(seen)
            except NoPeriodicField as error:
                field, problem = None, str(error)
            frames = seen.frames[0]
            yield Attempt(frames, seen, field, problem=problem)
        following = frames * 3 // 2 if field is not None else frames * 2
        if frames in failed and traces and frames > max(traces):  # too long for it
            following, max_frames = (frames + max(traces)) // 2, frames - 1
            following = following if following > max(traces) + 4 else max_frames + 1
        frames = max_frames if field is not None and frames < max_frames < following else following
    if min_outputs and traces:  # nothing repeats; a leak at one length is a leak all the same
        for n in lengths_to_try(traces, field or Field.identity(), own, max(traces)):
            if n not in traces and n not in failed:
                yield look(n)


def _tried(
    look: Callable[[int], Attempt],
    traces: dict[int, Trace],
    failed: set[int],
    field: Field,
    own: int,
    max_frames: int,
) -> Generator[Attempt, None, Trace | None]:
    """Try a field on lengths that might refute it; return the trace of a longer input on which it does not hold."""
    fitted = max(traces)
    while True:
        new = (n for n in lengths_to_try(traces, field, own, max_frames) if n not in traces and n not in failed)
        if (frames := next(new, None)) is None:
            break
        attempt = look(frames)
        if attempt.seen is None:
            continue
        if frames > fitted and not is_consistent(field, attempt.seen):
            return attempt.seen
        yield attempt
    problem = next((p for seen in traces.values() if (p := _beyond(field, seen))), "") or unproven_end(traces, field)
    yield Attempt(fitted, traces[fitted], None if problem else field, confirmed=not problem, problem=problem)
    return None


def _beyond(field: Field, seen: Trace) -> str:
    """Say what one trace read that does not belong to the field of the others; empty where it all does."""
    sets = seen.cells() if seen.joint else enumerate(seen.sets())
    within = (range(seen.shape[1]), range(seen.shape[2])) if seen.joint else range(seen.shape[1])
    for u, found in sets:
        if other := found - field.inputs_of(u, within=within):
            return (
                f"what it reads depends on how long the input is. On {seen.frames[0]} frames output {u} reads "
                f"{preview(other)}, which is not in the field of other lengths: {field}"
            )
    return ""


def _search(module: nn.Module, x: Tensor, time_axis: int, max_frames: int) -> Field:
    """Return the field that two lengths confirm and that no other one contradicts."""
    network, problem = type(inner_network(module)).__name__, "no input was long enough"
    start = min(max(START_FRAMES, x.shape[time_axis] // 4), max_frames)
    for attempt in growing_traces(module, x, time_axis, start=start, max_frames=max_frames):
        if attempt.field is not None and attempt.confirmed:
            return attempt.field
        problem = attempt.problem or problem
    raise NoPeriodicField(
        f"{network}: {problem}. Tried up to {max_frames} frames. What each output reads is shown by "
        "causalcnn.measure_field(module, example); audit(module, example) says whether it looks ahead."
    )
