"""A plan laid out in memory, and run by the compiled loop of :mod:`causalcnn.engine.kernels`."""

from __future__ import annotations

import copy
import math
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from causalcnn.engine.check import check_plan
from causalcnn.engine.plan import Op, Operand, Plan, Register
from causalcnn.engine.reference import bound
from causalcnn.nn.base import State

__all__ = ["Machine", "part_of"]

Array = np.ndarray

_PAIRS = ("add", "subtract", "multiply", "divide", "gate")


class _Output(NamedTuple):
    """What one output of a plan gives: frames for each of the input, how many more at most, and their shape."""

    ratio: float
    excess: float
    shape: tuple[int, int, int]
    register: Register

    def room(self, length: int) -> int:
        """Numbers that a piece of so many frames may give, whatever came before it."""
        return (1 + int(self.ratio * length + self.excess)) * math.prod(self.shape)

    def tensor(self, ys: Array, place: int, count: int) -> Tensor:
        """So many frames as a tensor, ``(rows, channels, frames[, frequency])``."""
        rows, cells, channels = self.shape
        y = ys[place : place + count * math.prod(self.shape)]
        if self.register.frequency is None:
            y = y.reshape(count, rows, channels).transpose(1, 2, 0)
        else:
            y = y.reshape(count, rows, cells, channels).transpose(1, 3, 0, 2)
        tensor = torch.from_numpy(np.ascontiguousarray(y))
        return tensor.long() if self.register.integer else tensor


class Machine:
    """A running plan.

    Args:
        plan: the plan.
        rows: the batch size.

    Attributes:
        plan: as given.
        rows: as given.
        start: the state of the module that it began with, if :meth:`begin` was called.

    Raises:
        ImportError: numba is missing.
        RuntimeError: numba is told not to compile.
        ValueError: the plan does not hold together.
    """

    plan: Plan
    rows: int
    start: State

    def __init__(self, plan: Plan, rows: int) -> None:
        from numba.core import config

        from causalcnn.engine import kernels  # here, because numba is optional and takes a second to import

        check_plan(plan)
        self.plan, self.rows, self.start = plan, rows, None
        self._dtype: np.dtype[Any] = np.dtype(plan.dtype)
        self._k = kernels
        if config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise RuntimeError("NUMBA_DISABLE_JIT is set, so numba compiles nothing; unset it to compile a stream")
        self._run = kernels.compiled_for(self._dtype)
        self._lock = threading.Lock()
        self._length = self._room_for_outputs = -1
        # The inputs that are looked up, and how many rows the table has.
        lookups = [(self._source(op.inputs[0]), len(op.arrays["table"])) for op in plan.ops if op.kind == "lookup"]
        self._limits: list[tuple[Operand, int | None]]
        self._limits = [(source, rows) for source, rows in lookups if source.register < plan.inputs]
        looked_up = {source.register for source, _ in self._limits}
        self._limits += [
            (Operand(number, 0, register.channels), None)
            for number, register in enumerate(plan.registers[: plan.inputs])
            if register.integer and number not in looked_up
        ]
        self._lay_out()

    # ------------------------------------------------------------------------------------------------------ use
    def __call__(self, *pieces: Tensor) -> tuple[Tensor, ...]:
        """Feed a piece of each input, ``(rows, channels, time[, frequency])``, and return what comes of them."""
        length, xs = pieces[0].shape[2], [self._flat(piece) for piece in pieces]
        for (number, first, channels), limit in self._limits:
            self._check_indices(pieces[number][:, first : first + channels], limit)
        flat = xs[0]
        if len(xs) > 1 and length:
            flat = np.concatenate([x.reshape(length, -1) for x in xs], axis=1).reshape(-1)
        with self._lock:  # two threads in one memory would write where there is no room
            if length != self._length:  # pieces are mostly as long as the one before
                self._length, self._room_for_outputs = length, self._place_outputs(length)
            ys = np.empty(self._room_for_outputs, self._dtype)
            failed = self._run(*self._memory, flat, ys, length, self.plan.inputs, self._tick)
            ends = self._outputs[:, self._k.PLACE :].tolist()
        if failed >= 0:
            raise RuntimeError(f"the inputs of operation {failed} of the plan do not come at the same time")
        return tuple([output.tensor(ys, *end) for output, end in zip(self._given, ends, strict=True)])

    def _place_outputs(self, length: int) -> int:
        """Say where the outputs of a piece go, one after the other, and return how many numbers there may be."""
        rooms = [output.room(length) for output in self._given]
        self._outputs[:, self._k.PLACE] = np.cumsum([0, *rooms[:-1]])
        return sum(rooms)

    def _source(self, operand: Operand) -> Operand:
        """Where the numbers of an operand come from, before they were reshaped."""
        op = self.plan.ops[operand.register - self.plan.inputs] if operand.register >= self.plan.inputs else None
        return self._source(op.inputs[0]) if op is not None and op.kind == "reshape" else operand

    def _check_indices(self, indices: Tensor, limit: int | None) -> None:
        """Refuse what the loop would look up beyond its table, or round (ValueError)."""
        if indices.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"indices are {indices.dtype}; they must be int64 or int32, as encode() returns them")
        whole = 2 ** (np.finfo(self._dtype).nmant + 1)
        if limit is None and indices.numel() and not -whole <= int(indices.min()) <= int(indices.max()) <= whole:
            raise ValueError(f"this stream takes whole numbers between −{whole} and {whole}, and would round others")
        if limit is not None and indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < limit:
            raise ValueError(
                f"indices lie between {int(indices.min())} and {int(indices.max())}; this codebook has 0 to {limit - 1}"
            )

    def _flat(self, piece: Tensor) -> Array:
        """The numbers of a piece, frame after frame, each ``(rows, cells, channels)``."""
        x = piece.numpy()
        x = x.transpose(2, 0, 1) if x.ndim == 3 else x.transpose(2, 0, 3, 1)
        # Also a slice of every second frame is one for the loop, which is compiled for numbers next to each other.
        return np.ascontiguousarray(x.reshape(-1), self._dtype)

    def reset(self) -> None:
        """Begin anew."""
        self._arena[:] = 0
        self._cursors[:] = self._first_cursors
        self._start_feedback()

    def _start_feedback(self) -> None:
        for op in self.plan.ops:
            if op.kind == "feedback":
                self.register(op.settings["register"])[:] = op.settings["start"]

    def register(self, number: int) -> Array:
        """Show what a register holds after the last frame, ``(rows, cells, channels)``; it can be written, too."""
        shape = (self.rows, self.plan.registers[number].cells, self.plan.registers[number].channels)
        return self._arena[self._base[number] :][: math.prod(shape)].reshape(shape)

    def choose(self, rows: Tensor) -> None:
        """Let every row go on from where one of the rows is, ``(rows,)``: its own number, or another's."""
        of = rows.numpy()
        for number, op in enumerate(self.plan.ops):
            if op.remembers:
                ring = self._frames(number)
                ring[:] = ring[:, of]
            elif op.kind == "feedback":
                register = self.register(op.settings["register"])
                register[:] = register[of]

    def ring(self, number: int) -> Tensor:
        """Copy the frames that an operation holds, oldest first, as its layer's state."""
        register = self.plan.registers[self.plan.ops[number].inputs[0].register]
        slot, held = self._cursors[number]
        ring = self._frames(number)
        frames = ring[np.arange(slot - held, slot) % len(ring)]  # a copy, (frames, rows, cells, channels)
        state = torch.from_numpy(frames.astype(np.int64) if register.integer else frames).permute(1, 3, 0, 2)
        return (state[..., 0] if register.frequency is None else state).contiguous()

    def load_ring(self, number: int, state: Tensor) -> None:
        """Go on from the state of an operation's layer; ValueError where it does not fit."""
        op = self.plan.ops[number]
        register, channels = self.plan.registers[op.inputs[0].register], op.inputs[0].channels
        window, stride = op.settings["window"], op.settings["stride"]
        frequency = () if register.frequency is None else (register.frequency,)
        given, low, high = tuple(state.shape), window - stride, window - 1
        if (
            len(given) < 3
            or (*given[:2], *given[3:]) != (self.rows, channels, *frequency)
            or not low <= given[2] <= high
        ):
            wanted = (self.rows, channels, f"{low}…{high}" if low < high else high, *frequency)
            raise ValueError(f"state has shape {given}; for this input it must be ({', '.join(map(str, wanted))})")
        frames = state.detach().numpy().reshape(*given[:3], register.cells)
        self._frames(number)[: given[2]] = np.transpose(frames, (2, 0, 3, 1))
        self._cursors[number] = (given[2] % window, given[2])

    def begin(self, state: State) -> None:
        """Go on from the state of the whole module; ValueError where it does not fit."""
        for path, number in self.plan.rings():
            self.load_ring(number, part_of(state, path))
        self.start = state

    # ----------------------------------------------------------------------------------------------- the layout
    def _lay_out(self) -> None:
        """Give every number its place, and fill the tables."""
        k, plan, rows = self._k, self.plan, self.rows
        self._taken_numbers = self._weights_end = 0
        self._weight_parts: list[tuple[int, int, Array]] = []
        self._operand_rows: list[list[int]] = []
        self._product_rows: list[list[int]] = []
        self._tap_rows: list[list[int]] = []
        self._base: list[int] = []
        feeds_back = any(op.kind == "feedback" for op in plan.ops)
        self._tick = 1 if feeds_back else max([1, *(op.settings.get("stride", 1) for op in plan.ops)])
        self._caps = [self._tick] * plan.inputs
        self._ratio, excess = [1.0] * plan.inputs, [0.0] * plan.inputs
        for op in plan.ops:
            phases, stride = op.settings.get("phases", 1), op.settings.get("stride", 1)
            source = op.inputs[0].register
            self._caps.append(phases * (-(-self._caps[source] // stride)))
            self._ratio.append(self._ratio[source] * phases / stride)
            excess.append((excess[source] + stride - 1) / stride * phases)  # n frames fill (n + stride − 1) / stride
        for register, cap in zip(plan.registers, self._caps, strict=True):
            self._base.append(self._room(cap * self.rows * register.cells * register.channels))
        for number in range(plan.inputs):
            self._operand_rows.append(self._operand(Operand(number, 0, plan.registers[number].channels)))
        table, laid = [], []
        for number, op in enumerate(plan.ops):
            row = self._op(op)
            if row[k.KIND] <= k.POWER:
                laid.append(number)
            table.append(row)
        self._weights = _aligned(self._weights_end + 64, self._dtype)
        with np.errstate(over="ignore"):  # a number of the user's may be infinite in float32
            for start, pitch, rows_of in self._weight_parts:
                place = self._weights[start : start + len(rows_of) * pitch].reshape(len(rows_of), pitch)
                place[:, : rows_of.shape[1]] = rows_of
        self._first_cursors = np.zeros((max(1, len(table)), 2), np.int64)
        for number in laid:
            op = plan.ops[number]
            held = op.settings.get("held", 0)
            self._first_cursors[number] = (held % op.settings.get("window", 1), held)
        self._given = [
            _Output(self._ratio[n], excess[n], (rows, plan.registers[n].cells, channels), plan.registers[n])
            for n, _, channels in plan.outputs
        ]
        self._outputs = _table([[*self._operand(output), 0] for output in plan.outputs], k.PLACE + 2)
        self._tables = (
            _table(table, 26),
            _table(self._operand_rows, 6),
            _table(self._product_rows, 19),
            _table(self._tap_rows, 2),
        )
        self._most_taps = max([1, *(len(p["taps"]) for op in plan.ops for p in op.settings.get("products", ()))])
        self._arena, self._cursors = _aligned(self._taken_numbers, self._dtype), self._first_cursors.copy()
        self._take_memory()
        self._start_feedback()
        del self._operand_rows, self._product_rows, self._tap_rows, self._weight_parts

    def _take_memory(self) -> None:
        """Put together what the loop is given."""
        self._counts, self._places = np.zeros(len(self._base), np.int64), np.zeros(self._most_taps, np.int64)
        self._memory = (
            *self._tables, self._outputs, self._cursors, self._counts, self._places, self._arena, self._weights,
        )  # fmt: skip

    def another(self) -> Machine:
        """Another machine where this one stands, which shares what does not change."""
        other = copy.copy(self)
        other._lock, other._outputs, other._length = threading.Lock(), self._outputs.copy(), -1
        other._arena, other._cursors = _aligned(self._taken_numbers, self._dtype), self._cursors.copy()
        other._arena[:] = self._arena
        other._take_memory()
        return other

    def _frames(self, number: int) -> Array:
        """The slots of the ring of an operation, ``(window, rows, cells, channels)``; they can be written, too."""
        k, row = self._k, self._tables[0][number]
        window, frame, cells, width = (int(row[one]) for one in (k.WINDOW, k.RING_FRAME, k.CELLS, k.WIDTH))
        ring = self._arena[row[k.RING] : row[k.RING] + window * frame].reshape(window, self.rows, row[k.RING_ROW])
        inside = ring[:, :, row[k.INSET] : row[k.INSET] + cells * width]
        size = self._dtype.itemsize
        return np.lib.stride_tricks.as_strided(
            inside, (window, self.rows, cells, width), (*inside.strides[:2], width * size, size)
        )

    def _room(self, numbers: int) -> int:
        """Take room in the memory of numbers, from the start of a line of the cache on."""
        start = self._taken_numbers
        self._taken_numbers += -(-numbers // 16) * 16
        return start

    def _weight(self, numbers: Any, pitch: int = 0) -> int:
        """Take room for weights, and remember them; with a pitch, their last axis is filled up to it with zeros."""
        start, numbers = self._weights_end, np.asarray(numbers)
        rows = numbers.reshape(-1, numbers.shape[-1]) if pitch and numbers.size else numbers.reshape(1, -1)
        pitch = pitch or rows.shape[1]
        self._weight_parts.append((start, pitch, rows))
        self._weights_end += -(-max(1, len(rows) * pitch) // 16) * 16
        return start

    def _operand(self, operand: Operand, place: int = 0) -> list[int]:
        register = self.plan.registers[operand.register]
        step = register.channels
        frame = self.rows * register.cells * step
        return [operand.register, self._base[operand.register] + operand.first, frame, step, operand.channels, place]

    def _op(self, op: Op) -> list[int]:
        """The row of an operation, by the names of its columns."""
        k, s = self._k, op.settings
        x, out = op.inputs[0], self.plan.registers[op.output]
        source = self.plan.registers[x.register]
        row = [0] * 26
        register, base, frame, step, width, _ = self._operand(x)
        row[k.KIND] = k.KIND_CODES["pair" if op.kind in _PAIRS else op.kind]
        row[k.OUT], row[k.OUT_BASE], row[k.OUT_FRAME] = (
            op.output,
            self._base[op.output],
            self.rows * out.cells * out.channels,
        )
        row[k.IN], row[k.IN_BASE], row[k.IN_FRAME], row[k.IN_STEP] = register, base, frame, step
        row[k.ROWS], row[k.CELLS], row[k.WIDTH], row[k.STRIDE] = (
            self.rows,
            source.cells,
            width,
            s.get("stride", out.channels),
        )
        if op.kind in ("linear", "pool", "power"):
            below, above = s.get("below", 0), s.get("above", 0)
            row[k.WINDOW], row[k.STRIDE], row[k.PHASES] = s.get("window", 1), s.get("stride", 1), s.get("phases", 1)
            row[k.RING_ROW] = (below + source.cells + above) * width
            row[k.RING_FRAME] = self.rows * row[k.RING_ROW]
            row[k.INSET] = below * width
            row[k.RING] = self._room(row[k.WINDOW] * row[k.RING_FRAME])
            row[k.OTHER] = -1
        match op.kind:
            case "linear":
                row[k.FIRST] = len(self._product_rows)
                for number, product in enumerate(s["products"]):
                    self._product(op, number, product, row)
                row[k.END] = len(self._product_rows)
                if "enter" in s:
                    enter = s["enter"]
                    row[k.ENTER] = 1
                    if enter["kind"] in _PAIRS:
                        row[k.CODE], row[k.OTHER] = _PAIRS.index(enter["kind"]), len(self._operand_rows)
                        self._operand_rows.append(self._operand(op.inputs[1]))
                    else:
                        row[k.CODE], row[k.WEIGHTS] = self._function(enter)
            case "pool":
                row[k.FIRST] = len(self._tap_rows)
                self._tap_rows += [[delay, 0] for delay in s["delays"]]
                row[k.END] = len(self._tap_rows)
                row[k.CODE] = s["reduce"] == "max"
                row[k.WEIGHTS] = self._weight([1 / len(s["delays"])])
            case "power":
                turns = np.arange(s["points"] // 2) * (2 * np.pi / s["points"])
                row[k.POINTS], row[k.SCRATCH] = s["points"], self._room(2 * s["points"])
                row[k.WEIGHTS] = self._weight(np.concatenate([op.arrays["window"], np.cos(turns), np.sin(turns)]))
            case "pointwise":
                row[k.CODE], row[k.WEIGHTS] = self._function(s)
            case "concat" | "reshape" | "add" | "subtract" | "multiply" | "divide" | "gate":
                row[k.CODE] = _PAIRS.index(op.kind) if op.kind in _PAIRS else 0
                operands = op.inputs[1:] if op.kind in _PAIRS else op.inputs
                row[k.FIRST], place = len(self._operand_rows), 0
                for operand in operands:
                    self._operand_rows.append(self._operand(operand, place))
                    place += operand.channels
                row[k.END] = len(self._operand_rows)
                row[k.STRIDE] = place  # of a reshape: the cells of the input
            case "feedback":
                register = s["register"]
                row[k.FIRST] = len(self._operand_rows)
                self._operand_rows.append(self._operand(Operand(register, 0, self.plan.registers[register].channels)))
            case "choice":
                row[k.FIRST] = len(self._operand_rows)
                self._operand_rows.append(self._operand(op.inputs[1]))
                row[k.CODE], row[k.SCRATCH] = s["components"], self._room(width)
                row[k.WEIGHTS] = self._weight([s["bins"], s["min_scale"]] if s["components"] else [s["width"]])
            case "norm":
                row[k.WEIGHTS] = self._weight(np.concatenate([[s["eps"]], op.arrays["weight"], op.arrays["bias"]]))
            case "lookup":
                row[k.WEIGHTS], row[k.POINTS] = self._weight(op.arrays["table"]), len(op.arrays["table"])
        return row

    def _function(self, s: dict[str, Any]) -> tuple[int, int]:
        """The code of a pointwise function, and the place of its parameters."""
        parameters = [bound(number) if s["function"] == "clamp" else number for number in (s["a"], s["b"])]
        return self._k.FUNCTION_CODES[s["function"]], self._weight(parameters)

    def _product(self, op: Op, number: int, p: dict[str, Any], row: list[int]) -> None:
        """The row of a product, with its weights in columns of whole vectors, and the rows of its taps."""
        k, out = self._k, self.plan.registers[op.output]
        weight, bias = op.arrays[f"weight{number}"], op.arrays[f"bias{number}"]
        columns = weight.shape[2]
        pitch = -(-columns // 16) * 16
        width, ring_row, out_row = row[k.WIDTH], row[k.RING_ROW], out.cells * out.channels
        line = [0] * 19
        # The rows of the product are the cells of a frame; where a frame has one, they are the rows of the batch.
        if p["cells"] == 1:
            line[k.BLOCKS], line[k.HEIGHT], line[k.ROW_IN], line[k.ROW_OUT] = 1, self.rows, ring_row, out_row
        else:
            line[k.BLOCKS], line[k.HEIGHT], line[k.BLOCK_IN], line[k.BLOCK_OUT] = (
                self.rows,
                p["cells"],
                ring_row,
                out_row,
            )
            line[k.ROW_IN], line[k.ROW_OUT] = p["in_step"] * width, p["out_step"] * out.channels
        line[k.PHASE], line[k.TO] = p["phase"], p["out_cell"] * out.channels + p["out_channel"]
        line[k.COLUMNS], line[k.PITCH], line[k.DEPTH] = columns, pitch, weight.shape[1]
        line[k.MATRIX], line[k.BIAS] = (
            self._weight(weight, pitch),
            self._weight(bias, pitch),
        )
        line[k.TAP] = len(self._tap_rows)
        self._tap_rows += [[delay, cell * width + p["in_channel"]] for delay, cell in p["taps"]]
        line[k.LAST_TAP], line[k.PLUS] = len(self._tap_rows), -1
        if "plus" in p:
            more = self._operand(op.inputs[p["plus"]])
            step = more[k.STEP]
            line[k.PLUS], line[k.PLUS_FROM] = len(self._operand_rows), p["out_cell"] * step
            line[k.BLOCK_PLUS], line[k.ROW_PLUS] = out.cells * step, p["out_step"] * step
            if p["cells"] == 1:
                line[k.ROW_PLUS] = out.cells * step
            self._operand_rows.append(more)
        self._product_rows.append(line)


def part_of(state: State, path: tuple[str, ...]) -> Tensor:
    """The state of one part."""
    for name in path:
        if not isinstance(state, dict) or name not in state:
            raise ValueError(
                f"the state does not hold the part {'.'.join(path)}; take one of initial_state(x), step or a stream"
            )
        state = state[name]
    if not isinstance(state, Tensor):
        raise ValueError(f"the state of {'.'.join(path) or 'the module'} is a {type(state).__name__}, not a tensor")
    return state


def _table(rows: list[list[int]], columns: int) -> Array:
    return np.array(rows, np.int64).reshape(-1, columns) if rows else np.zeros((0, columns), np.int64)


def _aligned(numbers: int, dtype: np.dtype[Any]) -> Array:
    """Zeros that begin with a line of the cache."""
    room = np.zeros(numbers + 64, dtype)
    start = -room.ctypes.data % 64 // dtype.itemsize
    return room[start : start + numbers]
