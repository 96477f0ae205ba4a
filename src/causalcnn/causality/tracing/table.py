"""The dependency table of a trace: for every element of every tensor, the input cells that it depends on.

Dependencies are kept per *storage*, not per tensor, so that views, slices, transposes and writes in place need no
rules of their own: a tensor looks up its elements through its strides, as it does its numbers.

Besides the input cells there are three marks. ``LOW`` and ``HIGH`` say that an element was computed from padding
before the start or behind the end of time, ``SIDE`` the same for frequency: such outputs sit at an edge and show
less than the whole receptive field. Without the marks a tap that lies beyond the example would go unseen.

Of each element the table also keeps what is known of its number: ``UNKNOWN`` for what depends on the input or on a
weight, ``KNOWN`` for a constant, ``MASKED`` for a score that a finite mask (−1e9, say) pushed down. It is what lets a
masked kernel or a causal attention read only what its mask lets through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from causalcnn.causality.tracing.lengths import Landmarks

__all__ = ["KNOWN", "MASKED", "UNKNOWN", "DependencyTable", "Operand", "Signal", "any_over"]

UNKNOWN, KNOWN, MASKED = 0, 1, 2
"""What is known of a number: nothing; its value, because it is a constant; or that a mask pushed it far down."""

MASK_VALUE = -1e3
"""A constant at or below this, added before a softmax, may stand for −∞: many networks write −1e9, icefall −1000.

It counts as −∞ only where the softmax of the run is exactly 0 there: scores that are as large outweigh a mask.
"""


def any_over(dep: Tensor, dims: int | list[int], *, keepdim: bool = False) -> Tensor:
    """Return ``dep.any(dims)``, computed as a maximum over bytes: on a CPU torch does that 25 times faster."""
    if dep.numel() == 0:
        for dim in sorted([dims] if isinstance(dims, int) else [d % dep.dim() for d in dims], reverse=True):
            dep = dep.any(dim, keepdim=keepdim)
        return dep
    return dep.view(torch.uint8).amax(dims, keepdim=keepdim).view(torch.bool)


class Signal(NamedTuple):
    """The signal that a spectrum is the transform of.

    Attributes:
        dep: its dependencies ``(width, *shape)``; None where it depends on no input.
        present: ``(*shape)``, where it may be other than zero.
        axis: of the transform, counted from the end.
        length: of the signal on that axis.
    """

    dep: Tensor | None
    present: Tensor
    axis: int
    length: int


class _Lines(NamedTuple):
    """A signal as it is kept for a storage, ``(width, length, lines)``: each line was transformed by itself.

    Attributes:
        dep: its dependencies ``(width, length, lines)``; None where it depends on no input.
        present: where it may be other than zero, ``(length, lines)``.
        step: elements of the storage from one frequency to the next.
        bins: the number of frequencies.
    """

    dep: Tensor | None
    present: Tensor
    step: int
    bins: int


@dataclass
class _Record:
    """What is known of the elements of one storage.

    Attributes:
        storage: held, so that its address is not used again while the record lives.
        itemsize: bytes of an element.
        kind: UNKNOWN, KNOWN or MASKED for each element, ``(elements,)``.
        dep: their dependencies, ``(width, elements)``; None where there are none.
        signal: the signal of which the storage holds the spectrum, if it does.
    """

    storage: torch.UntypedStorage
    itemsize: int
    kind: Tensor
    dep: Tensor | None = None
    signal: _Lines | None = None


@dataclass(frozen=True)
class Operand:
    """What is known of one argument of an operation.

    Attributes:
        dep: its dependencies ``(width, *shape)``; None where it depends on no input.
        kind: what is known of each number, ``(*shape)``: UNKNOWN, KNOWN or MASKED.
        value: the argument itself, as it was before the operation. Only the numbers that are KNOWN may be used.
    """

    dep: Tensor | None
    kind: Tensor
    value: Tensor

    @property
    def blank(self) -> bool:
        """Whether nothing at all is known of any element."""
        return not bool(self.kind.any())

    @property
    def known(self) -> Tensor:
        """Where the value is a constant."""
        return self.kind == KNOWN

    @property
    def zero(self) -> Tensor:
        """Where the value is a constant zero: what is multiplied by it is not read."""
        return self.known & (self.value == 0)

    @property
    def positive(self) -> Tensor:
        """Where the value is a constant above zero."""
        return self.known & (self.value > 0) if not self.value.is_complex() else torch.zeros_like(self.known)

    @property
    def infinite(self) -> Tensor:
        """Where the value is a constant ±∞: what is added to it is not read."""
        if not (self.value.is_floating_point() or self.value.is_complex()):
            return torch.zeros_like(self.known)
        return self.known & torch.isinf(self.value)

    def masks(self, sign: int = 1) -> Tensor:
        """Say where the value, once added (or, with ``sign`` −1, subtracted), pushes a score below everything else."""
        if not self.value.is_floating_point():
            return self.kind == MASKED
        return (self.kind == MASKED) | (self.known & (sign * self.value <= MASK_VALUE))


def _apart(rows: Tensor, record: Tensor) -> Tensor:
    """Return rows that can be written into the record, also where an operation in place has left them a view of it."""
    return rows.clone() if rows.untyped_storage()._cdata == record.untyped_storage()._cdata else rows


def _fills(tensor: Tensor, record: _Record) -> bool:
    """Say whether each element of the storage is one of the tensor's, once: not where a view overlaps itself."""
    reach = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride != reach:
            return False
        reach *= size
    return reach == record.kind.numel() and tensor.element_size() == record.itemsize


def _place(tensor: Tensor, step: int, bins: int) -> tuple[int, list[int], int] | None:
    """Find where this view of a storage of spectra has its frequencies, and how it walks from line to line.

    Returns ``(axis, strides, offset)`` among the lines, or None where it is no view of whole lines.
    """
    block, axis, strides, start = step * bins, None, [], int(tensor.storage_offset())
    within = start % block  # of a block, before its second frequency
    for d, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == step and size == bins > 1 and axis is None:
            axis = d
            strides.append(0)
        elif size == 1 or stride == 0:
            strides.append(0)
        elif stride % block == 0:
            strides.append(stride // bins)
        else:
            within += (size - 1) * stride
            strides.append(stride)
    if axis is None or within >= step or tensor.is_conj() or tensor.is_neg():
        return None
    return axis, strides, start // block * step + start % block


def _along(rows: Tensor, tensor: Tensor, place: tuple[int, list[int], int]) -> Tensor:
    """View ``(width, length, lines)`` as ``(width, *shape)``, with places along the axis of the frequencies."""
    axis, strides, offset = place
    shape, steps = list(tensor.shape), list(strides)
    shape[axis], steps[axis] = rows.shape[1], rows.stride(1)
    return rows.as_strided((rows.shape[0], *shape), (rows.stride(0), *steps), offset)


class DependencyTable:
    """Dependencies of all tensors of one run on the cells ``(row, time, frequency)`` of its input.

    The dependencies of a tensor are booleans ``(width, *shape)``: along the first axis one for each cell, at index
    ``(row * times + time) * frequencies + frequency``, and then the marks at ``LOW``, ``HIGH`` and ``SIDE``. So
    ``width`` is the number of cells plus 3.

    Args:
        rows: rows of the batch of the input that are kept apart.
        times: frames of the input.
        frequencies: of the input; 1 where it has no such axis.
    """

    def __init__(self, rows: int, times: int, frequencies: int) -> None:
        self.shape = (rows, times, frequencies)
        self.cells = math.prod(self.shape)
        self.LOW, self.HIGH, self.SIDE = self.cells, self.cells + 1, self.cells + 2
        self.width = self.cells + 3
        self._records: dict[int, _Record] = {}
        self.padding = 0  # frames of padding that were put around time, all in all, in frames of the input
        self.landmarks = Landmarks(times)
        self.work = 0  # elements that were written so far
        self.before: dict[int, Tensor] = {}  # values of tensors that the running operation overwrites

    # ------------------------------------------------------------------ tensors
    def knows(self, tensor: Tensor) -> bool:
        """Say whether the storage of this tensor has been seen."""
        return tensor.untyped_storage()._cdata in self._records

    def register(self, tensor: Tensor, kind: int) -> None:
        """Enter a tensor that depends on no input."""
        self._record(tensor, kind)

    def register_input(self, tensor: Tensor, time_axis: int) -> None:
        """Enter the input: every element depends on its own cell."""
        record = self._record(tensor, UNKNOWN)
        index = torch.zeros(tensor.shape, dtype=torch.long)
        for axis, extent, weight in (
            (0, self.shape[0], self.shape[1] * self.shape[2]),
            (time_axis, self.shape[1], self.shape[2]),
            (3, self.shape[2], 1),
        ):
            if extent > 1 and axis < tensor.dim():
                view = [1] * tensor.dim()
                view[axis] = extent
                index = index + torch.arange(extent).view(view) * weight
        dep = torch.zeros(self.width, *tensor.shape, dtype=torch.bool)
        dep.scatter_(0, index.unsqueeze(0), torch.ones((), dtype=torch.bool).expand(1, *tensor.shape))
        record.dep = torch.zeros(self.width, record.kind.numel(), dtype=torch.bool)
        self._view(record.dep, record, tensor).copy_(dep.unsqueeze(-1))

    def _record(self, tensor: Tensor, kind: int) -> _Record:
        storage = tensor.untyped_storage()
        record = self._records.get(storage._cdata)
        if record is None:
            size = tensor.element_size()
            count = storage.nbytes() // size
            record = _Record(storage, size, torch.full((count,), kind, dtype=torch.uint8))
            self._records[storage._cdata] = record
        elif tensor.element_size() < record.itemsize:  # a complex tensor seen as pairs of reals
            ratio = record.itemsize // tensor.element_size()
            record.kind = record.kind.repeat_interleave(ratio)
            record.dep = None if record.dep is None else record.dep.repeat_interleave(ratio, dim=1)
            record.itemsize, record.signal = tensor.element_size(), None
        return record

    @staticmethod
    def _view(rows: Tensor, record: _Record, tensor: Tensor) -> Tensor:
        """View the entries of a tensor's elements through its strides, ``(*leading, *shape, parts)``."""
        ratio = tensor.element_size() // record.itemsize
        lead = rows.dim() - 1
        size = (*rows.shape[:lead], *tensor.shape, ratio)
        stride = (*rows.stride()[:lead], *(s * ratio for s in tensor.stride()), 1)
        return rows.as_strided(size, stride, tensor.storage_offset() * ratio)

    def dep(self, tensor: Tensor) -> Tensor | None:
        """Return which cells each element depends on, ``(width, *shape)``; None if nothing in its storage does."""
        record = self._record(tensor, UNKNOWN)
        if record.dep is None:
            return None
        view = self._view(record.dep, record, tensor)
        return view[..., 0] if view.shape[-1] == 1 else view.any(-1)

    def depends(self, tensor: Tensor) -> bool:
        """Say whether anything in the storage of this tensor depends on the input."""
        return self._record(tensor, UNKNOWN).dep is not None

    def kind(self, tensor: Tensor) -> Tensor:
        """Return what is known of each element, ``(*shape)``: UNKNOWN, KNOWN or MASKED."""
        record = self._record(tensor, UNKNOWN)
        view = self._view(record.kind, record, tensor)
        return view[..., 0] if view.shape[-1] == 1 else view.amin(-1)

    def operand(self, argument: Tensor | complex) -> Operand:
        """Return everything that is known of one argument; plain numbers are constants."""
        if isinstance(argument, Tensor):
            return Operand(self.dep(argument), self.kind(argument), self.before.get(id(argument), argument))
        value = torch.tensor(argument)
        return Operand(None, torch.full((), KNOWN, dtype=torch.uint8), value)

    def set(self, tensor: Tensor, dep: Tensor | None, kind: Tensor | int) -> None:
        """Write what the elements of an operation's result depend on, and what is known of them."""
        fresh = not self.knows(tensor)
        record = self._record(tensor, UNKNOWN)
        record.signal = None
        self.work += self.width * tensor.numel()
        kinds = kind if isinstance(kind, Tensor) else torch.full((), kind, dtype=torch.uint8)
        if dep is None or not any_over(dep, list(range(dep.dim()))):
            if record.dep is not None:
                self._view(record.dep, record, tensor).fill_(False)
        else:
            if record.dep is None:
                record.dep = torch.zeros(self.width, record.kind.numel(), dtype=torch.bool)
                if not fresh:
                    self._mark_padding(record, tensor)
            self._view(record.dep, record, tensor).copy_(_apart(dep, record.dep).unsqueeze(-1))
        kinds = _apart(kinds, record.kind)
        self._view(record.kind, record, tensor).copy_(kinds.unsqueeze(-1).expand(*tensor.shape, 1))

    # ------------------------------------------------------------------ spectra
    def set_signal(self, tensor: Tensor, signal: Signal) -> None:
        """Note the signal that this spectrum is the transform of, if it fills its storage, as a fresh result does."""
        record, bins = self._record(tensor, UNKNOWN), tensor.shape[signal.axis]
        step = tensor.stride(signal.axis)
        place = _place(tensor, step, bins) if tensor.is_complex() and _fills(tensor, record) else None
        if place is None:
            return
        shape = list(tensor.shape)
        shape[signal.axis] = signal.length

        def kept(rows: Tensor) -> Tensor:
            out = torch.zeros(rows.shape[0], signal.length, tensor.numel() // bins, dtype=torch.bool)
            _along(out, tensor, place).copy_(rows.expand(rows.shape[0], *shape))
            return out

        dep = None if signal.dep is None else kept(signal.dep)
        record.signal = _Lines(dep, kept(signal.present[None]), step, bins)

    def signal(self, tensor: Tensor) -> Signal | None:
        """Return the signal that this tensor, or the one that it is a view of, is the transform of; None if unknown."""
        record = self._records.get(tensor.untyped_storage()._cdata)
        if record is None or (kept := record.signal) is None or not tensor.is_complex():
            return None
        if (place := _place(tensor, kept.step, kept.bins)) is None:
            return None
        dep = None if kept.dep is None else _along(kept.dep, tensor, place)
        return Signal(dep, _along(kept.present, tensor, place)[0], place[0] - tensor.dim(), kept.present.shape[1])

    def _mark_padding(self, record: _Record, tensor: Tensor) -> None:
        """Make zeros into which something is written padding: as their side is not known, they get all marks."""
        assert record.dep is not None
        if tensor.element_size() != record.itemsize:
            return
        values = torch.empty(0, dtype=tensor.dtype).set_(record.storage, 0, (record.kind.numel(),), (1,))
        zeros = (record.kind == KNOWN) & (values == 0)
        record.dep[self.cells :, zeros] = True
        self.padding += self.shape[1] if zeros.any() else 0

    def collect(self) -> None:
        """Forget storages that nobody else holds any more."""
        for key, record in list(self._records.items()):
            if torch._C._storage_Use_Count(key) <= 1:
                del self._records[key], record

    # ------------------------------------------------------------------ axes and edges
    def edge_marks(self, dep: Tensor, dim: int) -> tuple[list[int], list[int]]:
        """Return the marks that padding along ``dim`` of ``(width, *shape)`` leaves, at its start and at its end.

        An axis is time where its middle elements depend on different frames, frequency where on different cells.
        """
        dim = dim % dep.dim()
        length = dep.shape[dim]
        others = [d for d in range(1, dep.dim()) if d != dim]
        seen = any_over(dep[: self.cells], others) if others else dep[: self.cells]
        if not seen.any():
            return [], []
        first, second = (length // 3, 2 * length // 3) if length > 2 else (0, length - 1)
        grid = seen.view(*self.shape, length)
        times, rows_and_cells = any_over(grid, [0, 2]), any_over(grid, [0, 1])
        alone = length == 1
        low, high = [], []
        alone_in_time = alone and not any(self._varies(dep, axis) for axis in others)
        if alone_in_time or (times[:, first] != times[:, second]).any():
            low.append(self.LOW)
            high.append(self.HIGH)
        if self.shape[2] > 1 and (alone or (rows_and_cells[:, first] != rows_and_cells[:, second]).any()):
            low.append(self.SIDE)
            high.append(self.SIDE)
        return low, high

    def _varies(self, dep: Tensor, axis: int) -> bool:
        """Say whether the elements along an axis depend on different frames."""
        others = [d for d in range(1, dep.dim()) if d != axis]
        seen = any_over(dep[: self.cells], others) if others else dep[: self.cells]
        times = any_over(seen.view(*self.shape, -1), [0, 2])
        return bool((times != times[:, :1]).any())

    def pad(self, dep: Tensor, pads: Sequence[tuple[int, int]]) -> Tensor:
        """Pad (or crop) the last axes of ``(width, …)`` and mark the padding; ``pads`` are in the order of the axes."""
        flat = [n for pair in reversed(list(pads)) for n in pair]
        if not any(flat):
            return dep
        marks = [self.edge_marks(dep, dep.dim() - len(pads) + i) for i in range(len(pads))]
        out = torch.nn.functional.pad(dep.to(torch.uint8), flat).bool()
        for i, ((low, high), (before, after)) in enumerate(zip(marks, pads, strict=True)):
            dim = out.dim() - len(pads) + i
            self.count_padding(low + high, max(before, 0) + max(after, 0), dep.shape[dim])
            if before > 0:
                out.narrow(dim, 0, before)[low] = True
            if after > 0:
                out.narrow(dim, out.shape[dim] - after, after)[high] = True
        return out

    def count_padding(self, marks: list[int], elements: int, length: int) -> None:
        """Note ``elements`` of padding around an axis of ``length`` that runs over the whole input."""
        if self.LOW in marks or self.HIGH in marks:
            self.padding += elements * math.ceil(self.shape[1] / max(1, length))

    def in_chunks(self, function: Callable[[Tensor], Tensor], dep: Tensor, max_elements: int = 1 << 23) -> Tensor:
        """Apply a linear map to rows of zeros and ones and see what is touched, in parts that fit into memory."""
        step = max(1, max_elements // max(1, dep[0].numel()))
        return torch.cat([function(part.float()) > 0.5 for part in dep.split(step)])
