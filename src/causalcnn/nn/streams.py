"""The fast streams of layers with a window in time; their reference is ``step``, and tests compare the two."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causalcnn.nn.base import Stream
from causalcnn.nn.hooks import renew_weight

__all__ = ["ConvStream", "PoolStream", "Product", "RingStream", "Taps"]


@dataclass(frozen=True)
class Taps:
    """The windows of a layer along one axis: window ``u`` reads ``size`` places, ``spread`` apart, from ``u·step`` on.

    Along frequency there are ``count`` windows, and ``below`` cells of zeros stand before the first cell.
    """

    size: int
    spread: int = 1
    step: int = 1
    below: int = 0
    count: int = 1

    @property
    def extent(self) -> int:
        """Places from the first that a window reads to its last."""
        return (self.size - 1) * self.spread + 1

    @property
    def end(self) -> int:
        """Places that all windows span, zeros below included."""
        return (self.count - 1) * self.step + self.extent


@dataclass(frozen=True)
class Product:
    """What a layer does with the frames of one window, as a matrix product.

    ``weight`` is ``(taps, cells, in_channels, frames out, cells out, out_channels)``: what a window of time and
    frequency adds to the outputs that it completes, which are several in a transposed convolution. ``cells`` is the
    number of cells of an output frame. With ``gaps``, some outputs read only a part of the window: there are zeros in
    their weights, and what they do not read may be infinite.
    """

    time: Taps
    frequency: Taps
    weight: Tensor
    bias: Tensor | None
    cells: int = 1
    gaps: bool = False


class RingStream(Stream[Any]):
    """A frame of a convolution, transposed or not, is one copy into a ring and one matrix product.

    Frames lie channels last. Those that meet in a window are ``spread`` frames apart, so each of the ``spread`` phases
    has a ring of its own. It has a slot for each tap, and all but the last once more behind: a frame is written to both
    places, and so the last window is in one piece wherever the ring stands. Views into the rings are made once.
    Outputs are channels last, too, in memory; their shape is that of ``step``.
    """

    rectifies = False
    """Whether a ReLU stands before the layer: negative values become 0 on their way into the ring."""

    reuses = False
    """Whether a frame's outputs stand where those of the frame before stood: somebody reads them before that."""

    _copies_input = True

    FRAMES = 4
    """Up to so many frames are run one by one; more go through ``step``, which is then faster."""

    def _load(self, state: Tensor) -> None:
        layer, state = self.module, state.detach()
        layer._check(state)
        layer._check_state(state, state)
        self._plain = state.dim() == 3
        self._shape, cells = tuple(state.shape[:2]), 1 if self._plain else state.shape[3]
        self._one = (*state.shape[:2], 1, *state.shape[3:])  # a piece of one frame
        self._columns: tuple[Tensor, Tensor] | None = None
        self._output: tuple[Tensor, Tensor] | None = None
        self._prepare(state)
        time = self._time
        self._extent, self._step = time.extent, time.step
        self.takes_frames = self._plain and time.step == 1 and self._frames_out == 1
        padded = max(self._frequency.below + cells, self._frequency.end)
        self._rings = state.new_zeros(time.spread, state.shape[0], 2 * time.size - 1, padded, state.shape[1])
        self._places = time.spread * time.size
        self._views: dict[int, tuple[Tensor, Tensor]] = {}
        self._window = self._windows()
        self._restore(state)

    def _cells(self) -> Tensor:
        """The rings without the zeros around the frequencies, ``(spread, batch, slots, frequency, channels)``."""
        return self._rings.narrow(3, self._frequency.below, 1 if self._plain else self._one[3])

    def _prepare(self, state: Tensor) -> None:
        """Take from the layer, as it is now, what a window is and what becomes of it."""
        renew_weight(self.module)
        product: Product = self.module._product(1 if self._plain else state.shape[3])
        weight, bias = product.weight.detach(), product.bias
        self._time, self._frequency = product.time, product.frequency
        self._frames_out, phases, channels = weight.shape[3:]
        matrix = torch.empty_like(weight, memory_format=torch.contiguous_format).copy_(weight)
        self._matrix = matrix.view(weight.shape[:3].numel(), -1)
        rows = state.shape[0] * self._frequency.count
        self._bias = weight.new_zeros(rows, self._matrix.shape[1])
        if bias is not None:
            self._bias.view(-1, channels).copy_(bias)
        # A row of the product holds (frames, cells, channels) of a window, `phases` cells of the output each.
        self._form = (state.shape[0], self._frequency.count, self._frames_out, phases, channels)
        row, axes = self._frequency.count * phases * channels, state.dim()
        self._shape_out = (state.shape[0], channels, self._frames_out, product.cells)[:axes]
        self._strides_out = (row, 1, row, channels)[:axes]
        self._zeros = torch.zeros_like(self._bias).view(-1) if product.gaps else None

    def _restore(self, state: Tensor) -> None:
        """Write the history into the rings: a slot of all phases takes as many frames as there are phases."""
        self._count, spread, size = state.shape[2], self._time.spread, self._time.size
        whole = self._count - self._count % spread
        cells = self._cells()
        if not self._count:
            return
        for frames, slot in ((state[:, :, :whole], 0), (state[:, :, whole:], whole // spread)):
            if frames.shape[2]:
                phases = min(spread, frames.shape[2])
                slots = frames.shape[2] // phases
                frames = frames.reshape(*frames.shape[:2], slots, phases, cells.shape[3]).permute(3, 0, 2, 4, 1)
                cells[:phases, :, slot : slot + slots] = frames
                cells[:phases, :, size + slot : size + slot + slots] = frames

    def _save(self) -> Tensor:
        time = self._time
        return self._newest(time.extent - time.step + (self._count - time.extent) % time.step)

    def _newest(self, held: int) -> Tensor:
        """The last frames that were read."""
        time = self._time
        times = torch.arange(self._count - held, self._count, device=self._rings.device)
        slots = torch.div(times, time.spread, rounding_mode="floor") % time.size
        frames = self._cells()[times % time.spread, :, slots].permute(1, 3, 0, 2)
        frames = frames.clamp_min(0) if self.rectifies else frames
        return frames[..., 0] if self._plain else frames

    def _view(self, place: int) -> tuple[Tensor, Tensor]:
        """Where the frame at this place is written, and the window that it completes; for all places of its slot."""
        slot, size, rings = place // self._time.spread, self._time.size, self._rings
        phase, batch, step, cell, channel = rings.stride()
        # The last slot stands there once, the others twice.
        shape = (*rings.shape[:1], *self._shape) if self._plain else (*rings.shape[:1], *self._one)
        strides = (phase, batch, channel, phase, cell)[: len(shape)]
        if slot < size - 1:
            shape, strides = (shape[0], 2, *shape[1:]), (phase, size * step, *strides[1:])
        targets = rings.as_strided(shape, strides, slot * step + self._frequency.below * cell)
        windows = rings.as_strided(*self._window, (slot + 1) % size * step)
        if not self._views:
            self._make_room(windows[0])
        pairs = zip(targets.unbind(), windows.unbind(), strict=True)
        self._views.update(enumerate(pairs, slot * self._time.spread))
        return self._views[place]

    def _windows(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape and strides of the windows of all phases that begin at a slot."""
        rings, time, frequency = self._rings, self._time, self._frequency
        phase, batch, slot, cell, channel = rings.stride()
        rows = (rings.shape[1], batch), (frequency.count, frequency.step * cell)
        width = (time.size, slot), (frequency.size, frequency.spread * cell), (rings.shape[4], channel)
        if _side_by_side(rows) and _side_by_side(width):  # then they are the rows of the product as they lie there
            rows, width = (_as_one(rows),), (_as_one(width),)  # type: ignore[assignment]
        return tuple(zip((rings.shape[0], phase), *rows, *width, strict=True))  # type: ignore[return-value]

    def _make_room(self, window: Tensor) -> None:
        """Memory to compute in, and the form in which it is read: for windows as rows, and for outputs."""
        if window.dim() > 2:
            columns = window.new_empty(window.shape)
            self._columns = columns, columns.view(-1, self._matrix.shape[0])
        if self.reuses and self._frames_out == 1 and window.dtype == self._matrix.dtype:
            rows = torch.empty_like(self._bias)
            self._output = rows, rows.as_strided(self._shape_out, self._strides_out)

    def _write(self, x: Tensor) -> Tensor | None:
        """Take one frame, and give the window that it completes, if it does."""
        place = self._count % self._places
        target, window = self._views.get(place) or self._view(place)
        if not self.rectifies or self._columns is not None:
            target.copy_(x)
        elif target.dim() == x.dim():
            torch.clamp_min(x, 0, out=target)
        else:
            target.copy_(x).clamp_min_(0)
        self._count += 1
        return window if (self._count - self._extent) % self._step == 0 else None

    def _complete(self, window: Tensor) -> Tensor:
        """What a window completes, as rows ``(batch × frequency, …)``."""
        if self._columns is not None:
            columns, rows = self._columns
            if self.rectifies:
                torch.clamp_min(window, 0, out=columns)
            else:
                columns.copy_(window)
            window = rows
        if self._output is None:
            return torch.addmm(self._bias, window, self._matrix)
        return torch.addmm(self._bias, window, self._matrix, out=self._output[0])

    def _exact(self, rows: Tensor) -> Tensor | None:
        """The outputs of the whole-sequence path, where zeros in the weights have met what is not finite."""
        if self._zeros is None or rows.view(-1).dot(self._zeros) == 0:
            return None
        return self.module._completed(self._newest(self._time.extent), self._time.extent - 1)

    def _frame(self, x: Tensor) -> Tensor:
        if x.shape != self._shape:  # else copy_ would broadcast a single channel over all
            raise ValueError(f"a frame has shape {tuple(x.shape)}; this stream takes {self._shape}")
        rows = self._complete(self._write(x))  # type: ignore[arg-type]
        exact = self._exact(rows)
        return rows if exact is None else exact[:, :, 0]

    def _advance(self, x: Tensor) -> Tensor:
        if x.shape != self._one:
            return self._pieces(x)
        window = self._write(x[:, :, 0] if self._plain else x)
        if window is None:
            return self.module._nothing(x)
        rows = self._complete(window)
        exact = self._exact(rows)
        if exact is not None:
            return exact
        if self._output is not None:
            return self._output[1]
        if self._frames_out == 1:
            return rows.as_strided(self._shape_out, self._strides_out)
        y = rows.view(self._form).permute(0, 4, 2, 1, 3).flatten(3)
        return y[..., 0] if self._plain else y[..., : self._shape_out[3]]

    def _pieces(self, x: Tensor) -> Tensor:
        """Any other number of frames than one."""
        layer, frames = self.module, x.shape[2] if x.dim() > 2 else 0
        layer._check(x)
        if (*x.shape[:2], 1, *x.shape[3:]) != self._one:
            raise ValueError(f"the input has shape {tuple(x.shape)}; this stream takes {self._one}, any frames")
        if frames > self.FRAMES:
            y, state = layer.step(x.relu() if self.rectifies else x, self._save())
            self._restore(state)
            return y
        outputs = [self._advance(x[:, :, t : t + 1]).clone() for t in range(frames)]
        return torch.cat(outputs, dim=2) if outputs else layer._nothing(x)

    def _reuse_output(self) -> None:
        self.reuses = True

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which go on by themselves: views into the old memory stay behind."""
        return self.__dict__ | {"_views": {}, "_columns": None, "_output": None}


Axis = tuple[int, int]
"""Its size, and its stride in memory."""


def _side_by_side(axes: tuple[Axis, ...]) -> bool:
    """Whether neighboring axes lie in memory as one."""
    longer = [axis for axis in axes if axis[0] > 1]
    return all(outer == size * inner for (_, outer), (size, inner) in itertools.pairwise(longer))


def _as_one(axes: tuple[Axis, ...]) -> Axis:
    longer = [axis for axis in axes if axis[0] > 1]
    return math.prod(size for size, _ in axes), longer[-1][1] if longer else 1


class PoolStream(RingStream):
    """A frame of a pooling is one copy into a ring and the largest value, or the mean, over its slots."""

    def _prepare(self, state: Tensor) -> None:
        self._time, self._frequency = Taps(self.module.kernel_size, step=self.module.stride), Taps(1)
        self._zeros = None
        self._frames_out, self._slots = 1, (state.shape[0], self.module.kernel_size, state.shape[1])
        self._shape_out, self._strides_out = (*state.shape[:2], 1), (state.shape[1], 1, 1)

    def _make_room(self, window: Tensor) -> None:
        pass

    def _complete(self, window: Tensor) -> Tensor:
        return self.module._pool_window(window.view(self._slots))


class ConvStream(Stream[Any]):
    """The stream of any other convolution: one buffer, written in place, its window always contiguous.

    Frames are appended; when the buffer is full, the last window moves to its front, so that a frame is
    copied once in ``ROOM`` frames and memory never grows.
    """

    ROOM = 256

    def _load(self, state: Tensor) -> None:
        renew_weight(self.module)
        self._end = state.shape[2]
        self._start = 0
        self._buffer = state.new_empty(*state.shape[:2], self.module._window - 1 + self.ROOM, *state.shape[3:])
        self._buffer[:, :, : self._end] = state.detach()

    def _save(self) -> Tensor:
        return self._buffer[:, :, self._start : self._end]

    def _advance(self, x: Tensor) -> Tensor:
        layer = self.module
        layer._check(x)
        if (x.shape[0], *x.shape[3:]) != (self._buffer.shape[0], *self._buffer.shape[3:]):  # else it would broadcast
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this stream began with a batch of {self._buffer.shape[0]}"
                + (f" and {self._buffer.shape[3]} frequencies" if x.dim() == 4 else "")
            )
        if x.shape[2] > self.ROOM:  # a long piece is no stream: take the whole-sequence path once
            y, state = layer.step(x, self._save())
            self._load(state)
            return y
        if self._end + x.shape[2] > self._buffer.shape[2]:
            live = self._save().clone()  # source and target may overlap
            self._start, self._end = 0, live.shape[2]
            self._buffer[:, :, : self._end] = live
        self._buffer[:, :, self._end : self._end + x.shape[2]] = x
        self._end += x.shape[2]
        y = layer._outputs(self._save())
        self._start += y.shape[2] * layer.stride[0]
        return y
