"""Long convolutions by way of the spectrum: ``irfft(rfft(x, n) · rfft(k, n), n)``, as state-space models compute them.

Every number of a spectrum reads the whole of the axis. Yet a product of two spectra is the spectrum of a *circular
convolution*, and where the zeros behind the signal are as many as the filter has taps, its outputs read no more than
those taps. So the table keeps, beside the dependencies of a spectrum, the signal that it is the transform of, and the
inverse transform uses it. Products, sums, gains that are the same at all frequencies and the mixing of channels update
that signal; any other operation drops it, and then the inverse transform reads everything, as it may.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from causalcnn.causality.periods import true_runs
from causalcnn.causality.tracing.rules import Call, rule, union
from causalcnn.causality.tracing.table import DependencyTable, Signal, any_over

__all__ = ["propagate_signals", "signals_of"]


def signals_of(call: Call) -> dict[str, Signal]:
    """Return the signal of each argument that is a spectrum. To be called before a result is written in place."""
    found = {name: call.table.signal(value) for name, value in call.arguments.items() if isinstance(value, Tensor)}
    return {name: signal for name, signal in found.items() if signal is not None}


def propagate_signals(call: Call, name: str, signals: dict[str, Signal]) -> None:
    """Note the signal of the result of an operation on spectra, where there is one. To be called after its rule."""
    mine, other = signals.get("self"), signals.get("other")
    result: Signal | None = None
    if name == "mul" and mine is not None and other is not None:
        result = _convolved(mine, other, call.table)
    elif name in ("add", "sub") and mine is not None and other is not None and not isinstance(call["alpha"], complex):
        result = _joined(mine, other, torch.logical_or)
    elif name in ("mul", "div") and mine is not None and "other" in call.arguments:
        result = _scaled(mine, call, "other")
    elif name == "mul" and other is not None:
        result = _scaled(other, call, "self")
    elif name in ("clone", "_to_copy", "neg") and call.outs[0].is_complex():
        result = mine
    elif name == "sum" and mine is not None and call.get("dim"):
        result = _summed(mine, [d % call["self"].dim() for d in call["dim"]], bool(call["keepdim"]))
    elif name == "bmm" and mine is not None and "mat2" in signals:
        result = _mixed(mine, signals["mat2"], call.table)
    if result is not None:
        call.table.set_signal(call.outs[0], result)


def _pair(a: Signal, b: Signal) -> tuple[Signal, Signal] | None:
    """Give both as many axes, new ones in front; None where they lie on other axes or have other lengths."""
    if (a.axis, a.length) != (b.axis, b.length):
        return None
    axes = max(a.present.dim(), b.present.dim())

    def aligned(signal: Signal) -> Signal:
        lead, dep = (1,) * (axes - signal.present.dim()), signal.dep
        dep = None if dep is None else dep.reshape(dep.shape[0], *lead, *dep.shape[1:])
        return signal._replace(dep=dep, present=signal.present.reshape(*lead, *signal.present.shape))

    return aligned(a), aligned(b)


def _joined(a: Signal, b: Signal, present: Callable[[Tensor, Tensor], Tensor]) -> Signal | None:
    """Unite, place by place, what both depend on."""
    if (pair := _pair(a, b)) is None:
        return None
    where = present(*(s.present for s in pair))
    deps = [s.dep.expand(s.dep.shape[0], *where.shape) for s in pair if s.dep is not None]
    return a._replace(dep=union(*deps), present=where)


def _scaled(signal: Signal, call: Call, by: str) -> Signal | None:
    """Multiply by a number that is the same at all frequencies; it may differ from line to line, and be computed.

    A complex number turns the phases: then the result, back in real numbers, reads everything, as a Hilbert transform
    does, and there is no signal.
    """
    gain = call.operand(by)
    same = gain.value.dim() < -signal.axis or gain.value.shape[signal.axis] == 1
    if not same or gain.value.is_complex():
        return None
    return _joined(signal, Signal(gain.dep, ~gain.zero, signal.axis, signal.length), torch.logical_and)


def _summed(signal: Signal, dims: list[int], keepdim: bool) -> Signal | None:
    """Sum over some axes; None where the axis of the transform is among them."""
    axes = signal.present.dim()
    if axes + signal.axis in dims:
        return None
    dep = None if signal.dep is None else any_over(signal.dep, [d + 1 for d in dims], keepdim=keepdim)
    gone = 0 if keepdim else sum(d > axes + signal.axis for d in dims)
    return signal._replace(dep=dep, present=any_over(signal.present, dims, keepdim=keepdim), axis=signal.axis + gone)


def _convolved(a: Signal, b: Signal, table: DependencyTable) -> Signal | None:
    """Multiply two spectra: a circular convolution of their signals."""
    if (pair := _pair(a, b)) is None:
        return None
    parts = [_dependencies_of_filtered(s, by, table) for s, by in (pair, pair[::-1]) if s.dep is not None]
    a, b = pair
    present = _spread(a.present.movedim(a.axis, -1)[None], b.present.movedim(a.axis, -1))[0].movedim(-1, a.axis)
    return a._replace(dep=union(*parts), present=present)


def _mixed(a: Signal, b: Signal, table: DependencyTable) -> Signal | None:
    """Multiply matrices at each frequency: filters from every channel to every channel."""
    if (a.axis, b.axis) != (-3, -3):
        return None
    out, padding = None, table.padding
    for i in range(a.present.shape[-1]):
        part = _convolved(_line(a, -1, i), _line(b, -2, i), table)
        if part is None:
            return None
        if out is None:
            padding = table.padding  # of one channel only: the others lie beside it
        out = part if out is None else _joined(out, part, torch.logical_or)
    table.padding = padding
    return out


def _line(signal: Signal, axis: int, place: int) -> Signal:
    """Take one channel of a signal and keep the axis."""
    dep = None if signal.dep is None else signal.dep.narrow(axis, place, 1)
    return signal._replace(dep=dep, present=signal.present.narrow(axis, place, 1))


def _dependencies_of_filtered(signal: Signal, by: Signal, table: DependencyTable) -> Tensor:
    """Return what the convolution by the places that are present in ``by`` reads.

    What comes around the circle from the zeros behind the end stands for the zeros in front of the start, and so its
    marks change sides. They are left out where the filter is just as long as the signal: such a filter was made for
    this length, would be longer for a longer signal, and has no end of its own.
    """
    assert signal.dep is not None
    rows, taps = signal.dep.movedim(signal.axis, -1), by.present.movedim(signal.axis, -1)
    cells = _spread(rows[: table.cells], taps)
    low, high, side = rows[table.cells :]
    own, long = _extent(signal), _extent(by)
    if own == long:
        high = torch.zeros_like(high)
    elif high.any():
        table.count_padding([table.LOW], long - 1, own)
    twice = torch.cat([torch.stack([high, low, side]), rows[table.cells :]], -1)
    marks = _spread(twice, torch.cat([taps, torch.zeros_like(taps)], -1))[..., signal.length :]
    return torch.cat([cells, marks]).movedim(-1, signal.axis)


def _spread(rows: Tensor, taps: Tensor) -> Tensor:
    """Move ``(rows, *shape, length)`` around the circle by each of the ``(*shape, length)`` taps, and unite them."""
    shape = torch.broadcast_shapes(rows.shape[1:], taps.shape)
    out = torch.zeros(rows.shape[0], *shape, dtype=torch.bool)
    kinds, which = torch.unique(taps.reshape(-1, taps.shape[-1]), dim=0, return_inverse=True)
    for i, kind in enumerate(kinds):
        joined = torch.zeros_like(rows)
        for start, stop in true_runs(kind.tolist()):
            if stop > start:
                joined |= _window(rows, stop - start).roll(start, -1)
        out |= joined & (which == i).reshape(*taps.shape[:-1], 1)
    return out


def _window(rows: Tensor, taps: int) -> Tensor:
    """Unite each place with the ``taps − 1`` places before it, around the circle, by doubling."""
    out, done = rows, 1
    while done < taps:
        step = min(done, taps - done)
        out, done = out | out.roll(step, -1), done + step
    return out


def _extent(signal: Signal) -> int:
    """Count the places, from the first on, up to the last that may be other than zero."""
    places = signal.present.movedim(signal.axis, 0).reshape(signal.length, -1).any(1).nonzero()
    return int(places.max()) + 1 if len(places) else 0


# ---------------------------------------------------------------------- transforms
def _everything(call: Call, dims: list[int]) -> None:
    """Let each result read the whole of the axes."""
    dep = call.operand("self").dep
    if dep is not None and dims:
        dep = any_over(dep, [d % (dep.dim() - 1) + 1 for d in dims], keepdim=True)
    call.put(None if dep is None else dep.expand(dep.shape[0], *call.outs[0].shape))


def _signal(call: Call, axis: int) -> Signal:
    x = call.operand("self")
    return Signal(x.dep, ~x.zero, axis % x.value.dim() - x.value.dim(), x.value.shape[axis])


@rule("_fft_r2c", "_fft_c2c")
def fft(call: Call) -> None:
    """Each frequency of ``rfft`` and ``fft`` reads the whole axis; the signal is kept for the way back."""
    dims: list[int] = list(call["dim"])
    if "forward" in call.arguments and not call["forward"]:
        _inverse(call, dims, call["self"].shape)
        return
    _everything(call, dims)
    if len(dims) == 1:
        signal, table = _signal(call, dims[0]), call.table
        table.set_signal(call.outs[0], signal)
        # Zeros behind the end are no padding around time: a convolution that reads them counts its own.
        own = max(1, _extent(signal))
        if signal.dep is not None and signal.dep.select(signal.axis, -1)[table.HIGH].any():
            table.count_padding([table.HIGH], own - signal.length, own)


@rule("_fft_c2r")
def irfft(call: Call) -> None:
    """Go from a spectrum back to real numbers."""
    _inverse(call, list(call["dim"]), call.outs[0].shape)


def _inverse(call: Call, dims: list[int], shape: Any) -> None:
    signal = call.table.signal(call["self"])
    axis = dims[0] % len(shape) - len(shape) if len(dims) == 1 else 0
    if signal is None or (axis, shape[axis]) != (signal.axis, signal.length):
        _everything(call, dims)
        return
    call.put(signal.dep)
