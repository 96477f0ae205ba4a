"""The receptive field as a value: which inputs an output reads, as a set, known before anything runs.

A convolution, a strided or transposed layer, a residual branch, a front end: each maps an output index
to a *set* of input indices, and the map repeats itself, because the layer does the same thing all along
the axis. A :class:`Field` stores one period of that map. Fields compose in series (``a.then(b)``) and in
parallel (``a | b``), so that the field of a whole system follows from the fields of its parts.

The set holds for *any* weights: a weight that happens to be zero is still read.

Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill
2019, doi 10.23915/distill.00021, for sizes; index walking for the sets, the phases and the holes.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction

from causalcnn._checks import at_least

__all__ = ["Field"]

Cell = tuple[int, ...]
Index = int | tuple[int, ...]
Number = int | Fraction | float


def _plain(value: Fraction) -> int | Fraction:
    """An int where the fraction is one: ``3`` reads better than ``Fraction(3, 1)``."""
    return value.numerator if value.denominator == 1 else value


@dataclass(frozen=True)
class Field:
    """Which inputs each output reads, as a set. Make one with a class method, such as :meth:`conv`.

    The sets repeat themselves: with the phase ``q`` and any whole number ``n``, output ``u = q + n·period`` reads
    ``cells[q] + n·advance``. With several axes this holds for each of them, and an index is a tuple such as
    ``(time, frequency)``. A negative index means padding, because sets are not clipped at the edges of a recording.
    (At the very edge, where a layer inside a network sees its own padding, a network reads a subset of its field.)

    A recurrent layer reads all of its past. Its sets are endless, and :attr:`past_end` or :attr:`future_start` say
    where the endless part ends or begins.

    Attributes:
        axes: names of the axes, such as ``("time", "frequency")``.
        period: number of outputs after which the pattern repeats, for each axis.
        advance: number of inputs by which it has then moved on, for each axis; 0 where every output reads the same
            inputs.
        cells: the set of inputs of each phase, phases in row-major order.
        past_end: for each phase the frame up to which all inputs are read, that frame included, or None.
        future_start: for each phase the frame from which on all inputs are read, or None.
        rate_hz: rate of the input in Hz (frames or samples a second), or None where it is not known. Only printing
            and :meth:`latency` use it; equality does not look at it.

    Raises:
        ValueError: axes, period, advance and cells do not fit each other.

    Example:
        >>> from causalcnn import Field
        >>> two_layers = Field.conv(3, dilation=3).then(Field.conv(3, dilation=3))
        >>> two_layers.size, two_layers.num_inputs, sorted(two_layers.inputs_of(0))
        (13, 5, [-12, -9, -6, -3, 0])
    """

    axes: tuple[str, ...]
    period: Cell
    advance: Cell
    cells: tuple[frozenset[Cell], ...]
    past_end: tuple[int | None, ...] = ()
    future_start: tuple[int | None, ...] = ()
    rate_hz: float | None = field(default=None, compare=False)

    # ------------------------------------------------------------------ making one
    def __post_init__(self) -> None:
        phases = math.prod(self.period)
        blank: tuple[int | None, ...] = (None,) * phases
        object.__setattr__(self, "past_end", self.past_end or blank)
        object.__setattr__(self, "future_start", self.future_start or blank)
        if not len(self.cells) == len(self.past_end) == len(self.future_start) == phases:
            raise ValueError(f"{phases} phases need {phases} sets of cells, not {len(self.cells)}")
        if not len(self.axes) == len(self.period) == len(self.advance):
            raise ValueError(f"axes {self.axes}, period {self.period} and advance {self.advance} differ in length")
        self._merge_runs()
        for axis in range(len(self.axes)):
            self._shorten(axis)

    def _merge_runs(self) -> None:
        """Drop cells that an endless run already holds, so that equal sets are equal values."""
        merged = [
            _merge(*phase, grow=len(self.axes) == 1)
            for phase in zip(self.cells, self.past_end, self.future_start, strict=True)
        ]
        for name, values in zip(("cells", "past_end", "future_start"), zip(*merged, strict=True), strict=True):
            object.__setattr__(self, name, values)

    def _shorten(self, axis: int) -> None:
        """Store the shortest period: a strided layer undone by a transposed one may have none left."""
        period, advance = self.period[axis], self.advance[axis]
        for short in range(1, period):
            if period % short or advance * short % period:
                continue
            move = advance * short // period
            if all(self._patterns_agree(axis, q, short, move) for q in self.phases()):
                kept = [q for q in self.phases() if q[axis] < short]
                index = [self._phase_index(q) for q in kept]
                for name in ("cells", "past_end", "future_start"):
                    values = getattr(self, name)
                    object.__setattr__(self, name, tuple(values[i] for i in index))
                object.__setattr__(self, "period", (*self.period[:axis], short, *self.period[axis + 1 :]))
                object.__setattr__(self, "advance", (*self.advance[:axis], move, *self.advance[axis + 1 :]))
                return

    def _patterns_agree(self, axis: int, phase: Cell, short: int, move: int) -> bool:
        turns, rest = divmod(phase[axis], short)
        here, base = self._phase_index(phase), self._phase_index((*phase[:axis], rest, *phase[axis + 1 :]))
        shift = tuple(turns * move if i == axis else 0 for i in range(len(self.axes)))
        if self.cells[here] != _moved(self.cells[base], shift):
            return False
        return (
            all(_move(run[here], 0) == _move(run[base], shift[0]) for run in (self.past_end, self.future_start))
            or self._reads_everything(here) == self._reads_everything(base) is True
        )

    def _reads_everything(self, phase: int) -> bool:
        before, after = self.past_end[phase], self.future_start[phase]
        return before is not None and after is not None and before + 1 >= after

    @classmethod
    def window(cls, offsets: Iterable[int], stride: int = 1, *, axis: str = "time") -> Field:
        """Make the field in which output ``u`` reads the inputs ``u·stride + offset``.

        Args:
            offsets: where the inputs lie, in frames relative to ``u·stride``.
            stride: input frames per output frame, ≥ 0; at 0 every output reads the same inputs.
            axis: name of the axis.

        Returns:
            The field.

        Raises:
            ValueError: the stride is below 0.
            TypeError: an offset is no integer.
        """
        cells = frozenset((operator.index(offset),) for offset in offsets)
        return cls((axis,), (1,), (at_least("stride", stride, 0),), (cells,))

    @classmethod
    def identity(cls, *, axis: str = "time") -> Field:
        """Make the field in which output ``u`` reads input ``u`` and nothing else.

        It is the field of a layer that looks at each frame alone. It composes with fields over one axis and with
        those over two.

        Args:
            axis: name of the axis.

        Returns:
            The field.
        """
        return cls.window([0], axis=axis)

    @classmethod
    def conv(
        cls,
        kernel_size: int,
        *,
        dilation: int = 1,
        stride: int = 1,
        padding: int | None = None,
        axis: str = "time",
    ) -> Field:
        """Make the field of a convolution.

        Output ``u`` reads the inputs ``u·stride − padding + j·dilation`` for ``j = 0 … kernel_size−1``.

        Args:
            kernel_size: number of inputs that an output reads, ≥ 1.
            dilation: frames from one of them to the next, ≥ 1.
            stride: input frames per output frame, ≥ 1.
            padding: frames of zeros before the first input. By default ``(kernel_size−1)·dilation``, which makes the
                convolution strictly causal.
            axis: name of the axis.

        Returns:
            The field.

        Raises:
            ValueError: a size is below 1.
        """
        at_least("kernel_size", kernel_size), at_least("dilation", dilation), at_least("stride", stride)
        padding = (kernel_size - 1) * dilation if padding is None else padding
        return cls.window((j * dilation - padding for j in range(kernel_size)), stride, axis=axis)

    @classmethod
    def transposed(
        cls, kernel_size: int, *, stride: int = 1, dilation: int = 1, trim: int = 0, axis: str = "time"
    ) -> Field:
        """Make the field of a transposed convolution.

        Output ``t`` reads each input ``i`` for which a ``j`` of ``0 … kernel_size−1`` has
        ``stride·i + j·dilation − trim = t``. The set depends on the phase ``t mod stride``; where ``kernel_size`` is
        smaller than ``stride``, it is empty for some phases.

        Args:
            kernel_size: size of the kernel in output frames, ≥ 1.
            stride: output frames per input frame, ≥ 1.
            dilation: output frames from one tap of the kernel to the next, ≥ 1.
            trim: number of output frames that are cut off at the start.
            axis: name of the axis.

        Returns:
            The field.

        Raises:
            ValueError: a size is below 1.
        """
        at_least("kernel_size", kernel_size), at_least("dilation", dilation), at_least("stride", stride)
        reach = [j * dilation for j in range(kernel_size)]
        cells = (
            frozenset(((q + trim - r) // stride,) for r in reach if (q + trim - r) % stride == 0) for q in range(stride)
        )
        return cls((axis,), (stride,), (1,), tuple(cells))

    @classmethod
    def dense(cls, length: int, *, axis: str = "frequency") -> Field:
        """Make the field in which every output reads the inputs ``0 … length−1``, as where an axis serves as features.

        Args:
            length: number of inputs, ≥ 1.
            axis: name of the axis.

        Returns:
            The field.

        Raises:
            ValueError: the length is below 1.
        """
        return cls((axis,), (1,), (0,), (frozenset((i,) for i in range(at_least("length", length))),))

    @classmethod
    def all_past(cls) -> Field:
        """Make the field of a recurrent layer or of causal attention: output ``u`` reads every input up to ``u``.

        Returns:
            The field, which is endless.
        """
        return cls(("time",), (1,), (1,), (frozenset(),), (0,))

    @classmethod
    def everything(cls) -> Field:
        """Make the field of attention without a mask: every output reads every input, past and future.

        Returns:
            The field, which is endless.
        """
        return cls(("time",), (1,), (1,), (frozenset(),), (0,), (1,))

    @classmethod
    def product(cls, time: Field, frequency: Field) -> Field:
        """Join the fields of two independent axes, as of a 2D convolution.

        Args:
            time: what is read along time.
            frequency: what is read along frequency.

        Returns:
            The field over ``("time", "frequency")``, in which an output reads every pair of a frame that ``time``
            reads and a frequency that ``frequency`` reads.

        Raises:
            ValueError: one of the two has several axes already, or ``frequency`` is endless.
        """
        if len(time.axes) != 1 or len(frequency.axes) != 1:
            raise ValueError(f"product() takes two fields of one axis each, not {time.axes} and {frequency.axes}")
        if any(run is not None for run in frequency.past_end + frequency.future_start):
            raise ValueError("the frequency axis is finite; use Field.dense(length) for 'all of it'")
        cells, past_end, future_start = [], [], []
        for p, q in itertools.product(range(time.period[0]), range(frequency.period[0])):
            cells.append(frozenset(a + b for a in time.cells[p] for b in frequency.cells[q]))
            past_end.append(time.past_end[p])
            future_start.append(time.future_start[p])
        return cls(
            ("time", "frequency"),
            time.period + frequency.period,
            time.advance + frequency.advance,
            tuple(cells),
            tuple(past_end),
            tuple(future_start),
            time.rate_hz,
        )

    def with_rate(self, rate_hz: float) -> Field:
        """Say how many frames (or samples) a second the input has.

        Args:
            rate_hz: the rate of the input in Hz, above 0.

        Returns:
            The same field with this rate.

        Raises:
            ValueError: the rate is not above 0.
        """
        if not rate_hz > 0:
            raise ValueError(f"rate_hz is {rate_hz}; a rate must be above 0")
        return replace(self, rate_hz=rate_hz)

    # ------------------------------------------------------------------ asking it
    def phases(self) -> Iterator[Cell]:
        """List the phases of the pattern.

        Returns:
            The outputs of one period, each as a tuple with an index for each axis, in the order of ``cells``.
        """
        return itertools.product(*(range(p) for p in self.period))

    def _phase_index(self, phase: Cell) -> int:
        index = 0
        for q, p in zip(phase, self.period, strict=True):
            index = index * p + q
        return index

    def _locate(self, output: Index) -> tuple[int, Cell]:
        """The phase of an output and by how much its cells have moved."""
        index = output if isinstance(output, tuple) else (output,)
        if len(index) != len(self.axes):
            raise ValueError(f"output {output!r} has {len(index)} indices; this field has the axes {self.axes}")
        turns = [divmod(operator.index(u), p) for u, p in zip(index, self.period, strict=True)]
        move = tuple(n * a for (n, _), a in zip(turns, self.advance, strict=True))
        return self._phase_index(tuple(q for _, q in turns)), move

    def inputs_of(self, output: Index, *, within: range | tuple[range, range] | None = None) -> frozenset:
        """List the inputs that an output reads.

        Args:
            output: an output frame; for a field over two axes a pair ``(time, frequency)``.
            within: the frames to list, such as ``range(100)``; needed where the set is endless. For a field over two
                axes it may be a pair ``(frames, frequencies)``, and for an endless one it must be.

        Returns:
            The set of input frames, or of pairs ``(time, frequency)``. Without ``within`` it is not clipped; negative
            indices are padding.

        Raises:
            ValueError: the set is endless and ``within`` is missing, or ``output`` has not one index for each axis.

        Example:
            >>> from causalcnn import Field
            >>> sorted(Field.conv(3, dilation=4).inputs_of(10))
            [2, 6, 10]
        """
        phase, move = self._locate(output)
        if len(move) == 1:
            cells: set[Cell] = {(t + move[0],) for (t,) in self.cells[phase]}
        else:  # the fields of deep 2D networks have thousands of cells
            cells = {(t + move[0], f + move[1]) for t, f in self.cells[phase]}
        endless = self.past_end[phase] is not None or self.future_start[phase] is not None
        times, frequencies = within if isinstance(within, tuple) else (within, None)
        if endless and (times is None or (frequencies is None and len(self.axes) > 1)):
            raise ValueError(
                f"output {output} reads endlessly many inputs; ask .reads(output, input), or pass "
                "within=range(frames), for a joint field within=(range(frames), range(frequencies))"
            )
        if times is not None:
            cells = {cell for cell in cells if cell[0] in times}
            if frequencies is not None:
                cells = {cell for cell in cells if cell[1] in frequencies}
            if endless:
                asked = itertools.product(times) if frequencies is None else itertools.product(times, frequencies)
                cells |= {cell for cell in asked if self.reads(output, cell)}
        return frozenset(cell[0] for cell in cells) if len(self.axes) == 1 else frozenset(cells)

    def reads(self, output: Index, source: Index) -> bool:
        """Say whether an output reads an input; for endless fields too.

        Args:
            output: an output frame; for a field over two axes a pair ``(time, frequency)``.
            source: an input frame, or likewise a pair.

        Returns:
            Whether ``output`` reads ``source``.

        Raises:
            ValueError: ``output`` or ``source`` has not one index for each axis.
        """
        phase, move = self._locate(output)
        cell = source if isinstance(source, tuple) else (source,)
        cell = tuple(c - m for c, m in zip(cell, move, strict=True))
        before, after = self.past_end[phase], self.future_start[phase]
        if self._reads_everything(phase):
            return True
        return (
            cell in self.cells[phase]
            or (before is not None and cell[0] <= before)
            or (after is not None and cell[0] >= after)
        )

    @property
    def stride(self) -> Fraction:
        """Input frames per output frame along time, such as 2 for a stride of 2, and 1/2 for its transpose."""
        return Fraction(self.advance[0], self.period[0])

    def _extremes(self, pick: Callable, run: tuple[int | None, ...]) -> Iterator[Fraction | float]:
        for phase, cells, end in zip(self.phases(), self.cells, run, strict=True):
            if end is not None:
                yield math.inf if pick is max else -math.inf
            else:
                other = self.past_end if pick is max else self.future_start
                bound = other[self._phase_index(phase)]
                times = [cell[0] for cell in cells] + ([] if bound is None else [bound])
                if times:
                    yield pick(times) - phase[0] * self.stride

    @property
    def lookahead(self) -> Number:
        """How many frames beyond the present, ``u·stride``, an output ``u`` reads; the most over all phases.

        0 is causal; −1 means that only frames before the present are read; attention without a mask has infinity.
        """
        last = max(self._extremes(max, self.future_start), default=Fraction(0))
        return last if isinstance(last, float) else _plain(last)

    @property
    def past(self) -> Number:
        """How many frames before the present, ``u·stride``, an output ``u`` reads; the most over all phases.

        A recurrent layer has infinity.
        """
        first = min(self._extremes(min, self.past_end), default=Fraction(0))
        return -first if isinstance(first, float) else _plain(-first)

    def _spans(self) -> Iterator[tuple[float, int]]:
        """For each phase: cells of the bounding box, cells read."""
        for cells, before, after in zip(self.cells, self.past_end, self.future_start, strict=True):
            if before is not None or after is not None:
                yield math.inf, 0
            elif cells:
                yield math.prod(max(c) - min(c) + 1 for c in zip(*cells, strict=True)), len(cells)
            else:
                yield 0, 0

    @property
    def size(self) -> Number:
        """The span in frames, from the first frame that is read to the last; the largest over all phases."""
        if len(self.axes) > 1:
            return self.axis("time").size
        return max(span for span, _ in self._spans())

    @property
    def num_inputs(self) -> Number:
        """How many frames (over two axes, cells) an output reads; the most over all phases."""
        return max(math.inf if span == math.inf else read for span, read in self._spans())

    @property
    def holes(self) -> int:
        """How many frames inside its span an output skips; the most over all phases.

        Over two axes, these are the cells inside its bounding box.
        """
        return max(0 if span == math.inf else int(span) - read for span, read in self._spans())

    def latency(self, rate_hz: float | None = None) -> float:
        """Compute how long an output must wait for the frames that it reads ahead.

        Args:
            rate_hz: rate of the input in Hz; by default the field's own :attr:`rate_hz`.

        Returns:
            Seconds from the present frame to the last frame that an output reads; 0 where it never looks ahead.

        Raises:
            ValueError: the rate is neither given nor known.

        Example:
            >>> from causalcnn import Field
            >>> Field.window([-2, 0, 3]).latency(rate_hz=100)
            0.03
        """
        rate_hz = self.rate_hz if rate_hz is None else rate_hz
        if rate_hz is None:
            raise ValueError(
                "latency() needs the input's rate: latency(rate_hz=100), or field.with_rate(100).latency()"
            )
        return float(max(self.lookahead, 0)) / rate_hz

    def axis(self, name: str) -> Field:
        """Project the field on one axis.

        Args:
            name: ``"time"`` or ``"frequency"``.

        Returns:
            The field along this axis, with all that an output reads there, whatever its index on the other axis is.

        Raises:
            ValueError: the field has no such axis, or is endless, so that it reads all frequencies.
        """
        if name not in self.axes:
            raise ValueError(f"this field has the axes {self.axes}, not {name!r}")
        a = self.axes.index(name)
        cells: list[set[Cell]] = [set() for _ in range(self.period[a])]
        runs: list[list[list[int]]] = [[[] for _ in range(self.period[a])] for _ in range(2)]
        for phase, read, before, after in zip(self.phases(), self.cells, self.past_end, self.future_start, strict=True):
            cells[phase[a]] |= {(cell[a],) for cell in read}
            if before is not None:
                runs[0][phase[a]].append(before)
            if after is not None:
                runs[1][phase[a]].append(after)
        if name != "time" and any(runs[0] + runs[1]):
            raise ValueError("an endless field reads all frequencies; it has no finite projection on them")
        past_end = tuple(max(r, default=None) for r in runs[0])
        future_start = tuple(min(r, default=None) for r in runs[1])
        kept = tuple(frozenset(c) for c in cells)
        rate = self.rate_hz if a == 0 else None
        return Field((name,), (self.period[a],), (self.advance[a],), kept, past_end, future_start, rate)

    # ------------------------------------------------------------------ composing
    def then(self, after: Field) -> Field:
        """Compose two layers in series.

        Args:
            after: the field of the layer that reads the outputs of this one.

        Returns:
            The field of both together.

        Raises:
            ValueError: the axes do not fit, or the result is endless in a way that a field cannot hold.
            TypeError: ``after`` is no field.

        Example:
            >>> from causalcnn import Field
            >>> Field.conv(2, stride=2).then(Field.conv(3)).size
            6
        """
        self, after = self._with_same_axes(after)
        rate_hz = self.rate_hz
        if rate_hz is None and after.rate_hz is not None and self.stride:
            rate_hz = float(after.rate_hz * self.stride)
        turns = tuple(p // math.gcd(p, a) for p, a in zip(self.period, after.advance, strict=True))
        period = tuple(q * n for q, n in zip(after.period, turns, strict=True))
        advance = tuple(
            a * n // p * own for a, n, p, own in zip(after.advance, turns, self.period, self.advance, strict=True)
        )
        cells, past_end, future_start = [], [], []
        for q in itertools.product(*(range(p) for p in period)):
            phase, move = after._locate(q)
            middle = _moved(after.cells[phase], move)
            read, before, ahead = self._union(middle)
            for run, bound, sign in ((after.past_end, before, -1), (after.future_start, ahead, 1)):
                end = _move(run[phase], move[0])
                if end is None:
                    continue
                more, edge = self._run_of_outputs(end, sign)
                read |= more
                if sign < 0:
                    before = edge if bound is None else max(edge, bound)
                else:
                    ahead = edge if bound is None else min(edge, bound)
            cells.append(frozenset(read))
            past_end.append(before)
            future_start.append(ahead)
        return Field(self.axes, period, advance, tuple(cells), tuple(past_end), tuple(future_start), rate_hz)

    def _union(self, outputs: Iterable[Cell]) -> tuple[set[Cell], int | None, int | None]:
        """Everything that a set of this field's outputs reads."""
        read: set[Cell] = set()
        before: list[int] = []
        ahead: list[int] = []
        for output in outputs:
            phase, move = self._locate(output)
            read |= _moved(self.cells[phase], move)
            if (end := _move(self.past_end[phase], move[0])) is not None:
                before.append(end)
            if (end := _move(self.future_start[phase], move[0])) is not None:
                ahead.append(end)
        return read, max(before, default=None), min(ahead, default=None)

    def _run_of_outputs(self, end: int, sign: int) -> tuple[set[Cell], int]:
        """What outputs up to ``end`` (sign −1), or from it on (1), read: cells beyond an endless run, and its edge."""
        runs = any(run is not None for run in self.past_end + self.future_start)
        beyond, edge = (self._run_of_runs if runs else self._run_of_windows)(end, sign)
        if len(self.axes) > 1 and beyond:
            raise ValueError("an endless run over (time, frequency) whose end has holes has no description here")
        return beyond, edge

    def _run_of_runs(self, end: int, sign: int) -> tuple[set[Cell], int]:
        """:meth:`_run_of_outputs` where outputs read endless runs themselves."""
        # Runs move away from `end` with the outputs, so the outputs of the first period have the edge.
        near = itertools.product((end + sign * n for n in range(self.period[0])), *map(range, self.period[1:]))
        read, before, ahead = self._union(near)
        edge = before if sign < 0 else ahead
        if edge is None or (before is not None and ahead is not None):
            raise ValueError("an endless run of endless runs in both directions: use Field.everything()")
        # Their cells beyond the edge move, output by output, by whole advances, until they are inside of the run.
        beyond: set[Cell] = set()
        for cell in read:
            while (cell[0] - edge) * sign < 0 and cell not in beyond:
                beyond.add(cell)
                cell = (cell[0] + sign * self.advance[0], *cell[1:])
        return beyond, edge

    def _run_of_windows(self, end: int, sign: int) -> tuple[set[Cell], int]:
        """:meth:`_run_of_outputs` where outputs read finite windows."""
        flat = self.axis("time")
        step = flat.advance[0]
        times = {t for n in range(flat.period[0]) for t in flat.inputs_of(end + sign * n)}
        if step == 0 or not times:
            raise ValueError("an endless run needs a layer that moves along time; this one does not")
        # Outputs further on move these frames by whole steps: of each remainder, all from the nearest one on are read.
        nearest: dict[int, int] = {}
        for t in sorted(times, reverse=sign > 0):
            nearest[t % step] = t
        if len(nearest) < step:
            raise ValueError(
                f"an endless run through a stride of {self.stride} leaves out every so many frames; "
                "such a set has no finite description here. Put the recurrent layer before the stride."
            )
        # From `edge` on, away from `end`, every remainder is there.
        edge = (min if sign < 0 else max)(nearest.values()) - sign * (step - 1)
        beyond = {(t,) for first in nearest.values() for t in range(first, edge, sign * step)}
        return beyond, edge  # type: ignore[return-value]

    def __or__(self, other: Field) -> Field:
        """Join two parallel branches, whose outputs are added, multiplied or concatenated.

        Args:
            other: the field of the other branch.

        Returns:
            The union of what the two read.

        Raises:
            ValueError: the branches have different strides, or the axes do not fit. Along frequency, :meth:`dense` fits
                what has an output for each cell, such as a skip.
            TypeError: ``other`` is no field.
        """
        self, other = self._with_same_axes(other)
        self, other = self._as_many_outputs(other), other._as_many_outputs(self)
        for a, name in enumerate(self.axes):
            if self.advance[a] * other.period[a] != other.advance[a] * self.period[a]:
                mine, its = (Fraction(f.advance[a], f.period[a]) for f in (self, other))
                raise ValueError(
                    f"parallel branches must have the same stride; along {name} they have {mine} and {its}. "
                    "Bring them to one rate first (stride or transpose the other branch)."
                )
        period = tuple(math.lcm(p, q) for p, q in zip(self.period, other.period, strict=True))
        advance = tuple(a * p // q for a, p, q in zip(self.advance, period, self.period, strict=True))
        cells, past_end, future_start = [], [], []
        for q in itertools.product(*(range(p) for p in period)):
            parts = [one._union([q]) for one in (self, other)]
            cells.append(frozenset(parts[0][0] | parts[1][0]))
            past_end.append(max((p[1] for p in parts if p[1] is not None), default=None))
            future_start.append(min((p[2] for p in parts if p[2] is not None), default=None))
        rate = self.rate_hz if self.rate_hz is not None else other.rate_hz
        return Field(self.axes, period, advance, tuple(cells), tuple(past_end), tuple(future_start), rate)

    def _as_many_outputs(self, other: Field) -> Field:
        """The same field, if it can be, without a stride along frequency, where ``other`` is :meth:`dense` there.

        Every output of that one reads the same cells. A branch beside it that has an output for each cell can name its
        outputs one by one instead.
        """
        field = self
        for a, name in enumerate(self.axes):
            if name == "time" or other.advance[a] or not field.advance[a] or field.advance[a] != field.period[a]:
                continue
            length = math.lcm(other.period[a], 1 + max((cell[a] for cells in other.cells for cell in cells), default=0))
            period = (*field.period[:a], length, *field.period[a + 1 :])
            advance = (*field.advance[:a], 0, *field.advance[a + 1 :])
            parts = [field._union([q]) for q in itertools.product(*map(range, period))]
            cells, past_end, future_start = zip(*parts, strict=True)
            field = Field(
                field.axes, period, advance, tuple(map(frozenset, cells)), past_end, future_start, field.rate_hz
            )
        return field

    def over(self, axes: tuple[str, ...]) -> Field:
        """Give the same field over other axes, which only the identity has.

        Args:
            axes: names of the axes.

        Returns:
            The field over these axes.

        Raises:
            ValueError: the axes differ and the field is not the identity, so that nothing says what it reads along a
                new axis.
        """
        if axes == self.axes:
            return self
        if self != Field.identity() or axes != ("time", "frequency"):
            raise ValueError(
                f"fields over {self.axes} and {axes} do not compose; lift one with "
                "Field.product(time, frequency) or project with .axis('time')"
            )
        return Field.product(self, Field.identity(axis="frequency"))

    def _with_same_axes(self, other: Field) -> tuple[Field, Field]:
        if not isinstance(other, Field):
            raise TypeError(f"a Field composes with a Field, not with {type(other).__name__}")
        if self.axes == other.axes:
            return self, other
        return (self.over(other.axes), other) if self == Field.identity() else (self, other.over(self.axes))

    # ------------------------------------------------------------------ saying it
    def _frames(self, number: Number) -> str:
        text = f"{number} frame{'' if number == 1 else 's'}"
        return f"{text} ({float(number) * 1000 / self.rate_hz:.4g} ms)" if self.rate_hz else text

    def __str__(self) -> str:
        past = "all the past" if self.past == math.inf else f"{self._frames(self.past)} of past"
        if self.past < 0:
            past = "neither past nor present"
        if self.lookahead == math.inf:
            ahead = "all the future"
        elif self.lookahead > 0:
            ahead = f"looks {self._frames(self.lookahead)} ahead"
        else:
            ahead = "never looks ahead"
        if self.size == math.inf:
            return f"reads {past}; {ahead}"
        text = f"reads {self._frames(self.size)}: {past}; {ahead}"
        if self.holes:
            cells = "" if len(self.axes) == 1 else " cells"
            text += f"; touches {self.num_inputs}{cells}, skips {self.holes}"
        if self.stride != 1:
            text += f"; one output every {self.stride} input frames"
        return text


def _moved(cells: frozenset[Cell], move: Cell) -> Set[Cell]:
    """The cells, each further on by ``move``. A front end has a million of them to move, so that this is kept short."""
    if not any(move):
        return cells
    if len(move) == 1:
        by = move[0]
        return {(cell + by,) for (cell,) in cells}
    time, frequency = move
    return {(t + time, f + frequency) for t, f in cells}


def _move(end: int | None, by: int) -> int | None:
    return None if end is None else end + by


def _merge(
    cells: frozenset[Cell], past_end: int | None, future_start: int | None, *, grow: bool
) -> tuple[frozenset[Cell], int | None, int | None]:
    """The same set of one phase in its one spelling: no cell inside a run; with ``grow``, none next to its end."""
    if past_end is None and future_start is None:
        return cells, None, None
    if grow:
        times = {cell[0] for cell in cells}
        while past_end is not None and past_end + 1 in times:
            past_end += 1
        while future_start is not None and future_start - 1 in times:
            future_start -= 1
    if past_end is not None and future_start is not None and past_end + 1 >= future_start:
        past_end, future_start = 0, 1  # everything
    low = -math.inf if past_end is None else past_end
    high = math.inf if future_start is None else future_start
    return frozenset(cell for cell in cells if low < cell[0] < high), past_end, future_start
