"""``receptive_field``: the field of any torch module, declared where it is ours, traced where it is not.

A trace (:mod:`causalcnn.causality.tracing`) gives the exact sets on one length of input;
:mod:`causalcnn.causality.field_fitting` makes a :class:`causalcnn.Field` of them where they repeat. Here longer and
longer inputs are tried, until the field of one length explains the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from causalcnn.causality.adapter import TimeAxis, inner_network, one_signal
from causalcnn.causality.declarations import declared_field
from causalcnn.causality.field_fitting import NoPeriodicField, fit_field, is_consistent
from causalcnn.causality.inputs import in_one_line, stride_from_lengths, with_frames
from causalcnn.causality.periods import preview
from causalcnn.causality.tracing import CannotTrace, Trace, trace
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
        confirmed: whether the trace before, which was shorter, showed the same field.
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
    """Trace a network on longer and longer inputs, until the field of one explains the next.

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
    frames, field = start, None
    while frames <= max_frames:
        try:
            seen = trace(module, with_frames(x, frames, time_axis), time_axis=time_axis)
        except CannotTrace:
            raise
        except Exception as error:
            yield Attempt(frames, None, field, problem=f"on {frames} frames the network fails: {in_one_line(error)}")
        else:
            if min_outputs:
                max_frames = max(
                    max_frames, min(math.ceil(min_outputs * stride_from_lengths(*seen.frames)), MAX_FRAMES)
                )
            if field is not None and is_consistent(field, seen):
                yield Attempt(frames, seen, field, confirmed=True)
                return
            problem = ""
            try:
                field = fit_field(seen)
            except NoPeriodicField as error:
                field, problem = None, str(error)
            yield Attempt(frames, seen, field, problem=problem)
        frames = frames * 3 // 2 if field is not None else frames * 2


def _search(module: nn.Module, x: Tensor, time_axis: int, max_frames: int) -> Field:
    """Return the field that two lengths confirm and that no shorter one contradicts."""
    network, problem = type(inner_network(module)).__name__, "no input was long enough"
    start = min(max(START_FRAMES, x.shape[time_axis] // 4), max_frames)
    shorter: list[Trace] = []
    for attempt in growing_traces(module, x, time_axis, start=start, max_frames=max_frames):
        if attempt.field is not None and attempt.confirmed:
            for seen in shorter:
                _require_within(attempt.field, seen, network)
            return attempt.field
        problem = attempt.problem or problem
        if attempt.seen is not None:
            shorter.append(attempt.seen)
    raise NoPeriodicField(
        f"{network}: {problem}. Tried up to {max_frames} frames. What each output reads is shown by "
        "causalcnn.measure_field(module, example); audit(module, example) says whether it looks ahead."
    )


def _require_within(field: Field, seen: Trace, network: str) -> None:
    """Require that what was read on a shorter input belongs to the field too: else it depends on the length."""
    if seen.joint:
        return  # a joint field is fitted anew at each length, and the last two agree
    for u, found in enumerate(seen.sets()):
        if other := found - field.inputs_of(u, within=range(seen.frames[0])):
            raise NoPeriodicField(
                f"{network}: what it reads depends on how long the input is. On {seen.frames[0]} frames output {u} "
                f"reads {preview(other)}, which is not in the field of longer inputs: {field}"
            )
