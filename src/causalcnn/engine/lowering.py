"""From a module to a plan: the module is run once with symbols, and what happens to them is written down."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from causalcnn.engine.fusion import fuse
from causalcnn.engine.plan import Op, Operand, Plan, Register
from causalcnn.nn.base import CausalModule
from causalcnn.nn.compose import Composite
from causalcnn.nn.hooks import has_forward_hooks, renew_weight

__all__ = ["Builder", "CannotCompile", "Symbol", "as_array", "lower", "lowers"]


class CannotCompile(TypeError):
    """A module, or a part of one, has no place in a plan; the message names the part and says why.

    Attributes:
        part: the name of the part in the module, where it is known.

    Example:
        >>> from causalcnn.engine import CannotCompile
        >>> raise CannotCompile("encoder.3: Fourier has no lowering")
        Traceback (most recent call last):
        causalcnn.engine.lowering.CannotCompile: encoder.3: Fourier has no lowering
    """

    part: str | None = None


Stages = tuple[tuple[int, int, int], ...]
"""When the frames of a value come: for each layer on the way that is not at once, how many frames more than none it
begins with, how many it forgets at a time, and how many it gives for them."""


class _Frames:
    """Stands for the number of frames in the shape of a symbol; nothing but whether it is another one can be asked."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages

    def _refuse(self, *_: Any) -> NoReturn:
        raise CannotCompile("what it computes depends on the number of frames in a piece")

    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _refuse
    __neg__ = __abs__ = __int__ = __float__ = __index__ = __bool__ = _refuse

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, _Frames) and _together(self.stages, other.stages)) or self._refuse()

    def __hash__(self) -> int:
        return hash(self.stages)

    def __repr__(self) -> str:
        return "frames"


def _together(one: Stages, other: Stages) -> bool:
    """Whether two values have the same number of frames at any time."""
    if one == other:
        return True
    period = math.lcm(*(math.prod(stride for _, stride, _ in stages) for stages in (one, other)))
    if period > 10**6:
        return False  # perhaps, but who knows?
    ends = [np.arange(2 * period)] * 2
    for i, stages in enumerate((one, other)):
        for begins, stride, phases in stages:
            ends[i] = (ends[i] + begins) // stride * phases
    return np.array_equal(ends[0], ends[1])


class Symbol:
    """A tensor without numbers: what is done to it becomes operations of a plan.

    Its shape is ``(batch, channels, frames[, frequency])``. It can be added, multiplied and so on, sliced along the
    channels, and given to those functions of torch that :mod:`causalcnn.engine.symbols` lists.

    Args:
        builder: what writes the plan.
        operand: where the numbers will be.

    Attributes:
        builder: as given.
        operand: as given.

    Example:
        >>> import torch
        >>> from causalcnn.engine import Builder, Register
        >>> builder = Builder()
        >>> x = builder.input(Register(channels=4))
        >>> y = torch.relu(x[:, :2]) * 3
        >>> [op.settings["function"] for op in builder.ops], y.shape[1]
        (['relu', 'affine'], 2)
    """

    builder: Builder
    operand: Operand

    _functions: ClassVar[dict[Any, Callable[..., Any]]] = {}  # filled in symbols.py

    def __init__(self, builder: Builder, operand: Operand) -> None:
        self.builder, self.operand = builder, operand

    @property
    def register(self) -> Register:
        """What the numbers of a frame look like."""
        return self.builder.registers[self.operand.register]._replace(channels=self.operand.channels)

    @property
    def shape(self) -> tuple[Any, ...]:
        """The shape, ``(batch, channels, frames[, frequency])``; the number of frames is a symbol, too."""
        _, frequency, _ = self.register
        frames: Any = _Frames(self.builder.stages[self.operand.register])
        return (self.builder.rows, self.operand.channels, frames, *(() if frequency is None else (frequency,)))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the tensor would have."""
        return torch.int64 if self.register.integer else self.builder.dtype

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def requires_grad(self) -> bool:
        """False: a stream has no gradients."""
        return False

    def dim(self) -> int:
        """Count the axes."""
        return len(self.shape)

    def is_floating_point(self) -> bool:
        """Whether the numbers are no indices."""
        return not self.register.integer

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = cls._functions.get(function)
        if known is None:
            name = getattr(function, "__name__", str(function))
            raise CannotCompile(f"it calls {name}, which a plan does not have")
        return known(*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        """Find a method of tensors, such as ``clamp``."""
        if name == "_is_param":  # asks a module that is given a tensor to keep
            raise CannotCompile("it keeps what it computes in an attribute, which a plan cannot")
        function = self._functions.get(getattr(Tensor, name, None))
        if name.startswith("__") or function is None:
            what = "which a plan does not have" if hasattr(Tensor, name) else "which tensors do not have"
            raise (AttributeError if name.startswith("__") else CannotCompile)(f"it uses .{name}, {what}")
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def __getitem__(self, key: Any) -> Symbol:
        """Take some of the channels: ``x[:, a:b]``."""
        whole = slice(None)
        if not (isinstance(key, tuple) and 2 <= len(key) <= self.dim() and isinstance(key[1], slice)):
            raise CannotCompile("only x[:, a:b], some of the channels, can be taken out of a frame")
        start, stop, step = key[1].indices(self.operand.channels)
        if step != 1 or any(one != whole for one in (key[0], *key[2:])):
            raise CannotCompile("only x[:, a:b], some of the channels, can be taken out of a frame")
        register, first, _ = self.operand
        return Symbol(self.builder, Operand(register, first + start, max(0, stop - start)))

    def __add__(self, other: Any) -> Symbol:
        return self.builder.binary("add", self, other)

    def __sub__(self, other: Any) -> Symbol:
        return self.builder.binary("subtract", self, other)

    def __mul__(self, other: Any) -> Symbol:
        return self.builder.binary("multiply", self, other)

    def __truediv__(self, other: Any) -> Symbol:
        return self.builder.binary("divide", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return (-self) + other

    def __rtruediv__(self, other: Any) -> Symbol:
        return self.builder.pointwise("reciprocal", self) * other

    def __neg__(self) -> Symbol:
        return self.builder.pointwise("affine", self, -1.0, -0.0)

    __radd__, __rmul__ = __add__, __mul__

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """``isinstance(x, Tensor)`` holds, as it does when torch runs the module."""
        return Tensor

    def _in_place(self, *_: Any) -> NoReturn:
        raise CannotCompile("it computes in place; write x = x + 1 for x += 1, and leave inplace=True out")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __setitem__ = _in_place

    def _no_number(self, *_: Any) -> NoReturn:
        raise CannotCompile("what it computes depends on the values of a piece, by a comparison or an if")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __int__ = __float__ = __index__ = _no_number
    __hash__ = object.__hash__

    def _unknown(self, *_: Any) -> NoReturn:
        raise CannotCompile("it uses an operator which a plan does not have")

    __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = _unknown
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __invert__ = __len__ = __contains__ = _unknown

    def __abs__(self) -> Symbol:
        return self.builder.pointwise("abs", self)


Lowering = Callable[[Any, Symbol, "Builder"], Any]
"""How a layer becomes operations: it gets the layer, the symbol that it is given and the builder, and returns a
symbol."""

_LOWERINGS: dict[type, tuple[Lowering, tuple[str, ...]]] = {}


def lowers(layer: type, *also: str) -> Callable[[Lowering], Lowering]:
    """Say how a layer becomes operations of a plan; a decorator.

    Layers made of others need none: :meth:`Composite.compose`, and ``forward`` of a :class:`Stateless` layer, are run
    with symbols. A subclass is lowered as its base, unless it overrides ``step`` or ``initial_state``, or of a class
    that is not abstract any method that may compute: then it needs a lowering of its own.

    Args:
        layer: the class of the layer.
        *also: further methods that a subclass must not override if it is to be lowered as this class.

    Returns:
        A decorator for a function that gets the layer, a :class:`Symbol` and the :class:`Builder`, and returns the
        symbol of the output.

    Example:
        >>> import torch
        >>> from causalcnn.engine import lower, lowers
        >>> from causalcnn.nn import CausalConv1d, Stateless
        >>> class Halves(Stateless):
        ...     def forward(self, x):
        ...         return torch.fft.ifft(torch.fft.fft(x)).real / 2  # no plan has this
        >>> @lowers(Halves)
        ... def _(layer, x, builder):
        ...     return x / 2
        >>> [op.kind for op in lower(Halves(), torch.zeros(1, 2, 0)).ops]
        ['pointwise']
    """

    def register(function: Lowering) -> Lowering:
        _LOWERINGS[layer] = (function, ("step", "initial_state", "__call__", *also))
        return function

    return register


class Builder:
    """Writes a plan while a module is run with symbols.

    Args:
        rows: the batch size that symbols show.
        dtype: the dtype that symbols show, and that weights must have.

    Attributes:
        rows: as given.
        dtype: as given.
        registers: what frames look like.
        ops: the operations so far.
        stages: when the frames of each register come.

    Example:
        >>> from causalcnn.engine import Builder, Register
        >>> builder = Builder()
        >>> x = builder.input(Register(channels=2))
        >>> builder.emit("add", [x, x], Register(channels=2)).operand
        Operand(register=1, first=0, channels=2)
    """

    rows: int
    dtype: torch.dtype
    registers: list[Register]
    ops: list[Op]
    stages: list[Stages]

    def __init__(self, rows: int = 1, dtype: torch.dtype = torch.float32) -> None:
        self.rows, self.dtype = rows, dtype
        self.registers, self.ops, self.stages = [], [], []
        self._ring: int | None = None
        self._path: list[str] = []

    def input(self, register: Register) -> Symbol:
        """Add an input; all of them come before the operations.

        Args:
            register: what its frames look like.

        Returns:
            Its symbol.
        """
        self.registers.append(register)
        self.stages.append(())
        return self.whole(len(self.registers) - 1)

    def whole(self, register: int) -> Symbol:
        """Make a symbol of all channels of a register.

        Args:
            register: its number.

        Returns:
            The symbol.
        """
        return Symbol(self, Operand(register, 0, self.registers[register].channels))

    def emit(
        self,
        kind: str,
        inputs: Sequence[Symbol],
        output: Register,
        settings: dict[str, Any] | None = None,
        arrays: dict[str, np.ndarray] | None = None,
    ) -> Symbol:
        """Add an operation.

        Args:
            kind: what it does; see :class:`Plan`.
            inputs: what it reads.
            output: what the frames of its output look like.
            settings: its settings. With a ``window``, it keeps the state of the layer that is lowered.
            arrays: its weights, arrays by name.

        Returns:
            The symbol of its output.

        Raises:
            CannotCompile: the layer has two operations with a window; the inputs do not come at the same time, or
                are of another plan; or it would compute with indices.
        """
        if any(x.builder is not self for x in inputs):
            raise CannotCompile("it uses a value of an earlier call")
        before, *others = (self.stages[x.operand.register] for x in inputs)
        if not all(_together(before, other) for other in others):
            raise CannotCompile("it combines values that do not come at the same time")
        if kind in ("linear", "norm", "power") and inputs[0].register.integer:
            raise CannotCompile(f"it computes with {inputs[0].dtype} where it needs {self.dtype}")
        get = (settings or {}).get
        window, stride, phases = get("window", 1), get("stride", 1), get("phases", 1)
        begins = get("held", 0) - (window - stride)
        self.stages.append(before if (begins, stride, phases) == (0, 1, 1) else (*before, (begins, stride, phases)))
        self.registers.append(output)
        number = len(self.registers) - 1
        self.ops.append(Op(kind, tuple(x.operand for x in inputs), number, settings or {}, arrays or {}))
        if self.ops[-1].remembers:
            if self._ring is not None:
                raise CannotCompile("its lowering has two operations with a window; a layer has one state")
            self._ring = len(self.ops) - 1
        return self.whole(number)

    def pointwise(self, function: str, x: Symbol, a: float = 0.0, b: float = 0.0) -> Symbol:
        """Add a function of every number.

        Args:
            function: its name, one of :data:`causalcnn.engine.reference.FUNCTIONS`.
            x: the input.
            a: its first parameter.
            b: its second parameter.

        Returns:
            The symbol of its output.

        Raises:
            CannotCompile: the input holds indices, of which the function would make other numbers.
        """
        if x.register.integer and not (function == "affine" and float(a).is_integer() and float(b).is_integer()):
            raise CannotCompile(f"it computes {function} of {x.dtype}; in a plan, indices stay whole numbers")
        return self.emit("pointwise", [x], x.register, {"function": function, "a": float(a), "b": float(b)})

    def binary(self, kind: str, x: Symbol, y: Any) -> Symbol:
        """Add an operation of two inputs, or of one and a number.

        Args:
            kind: ``"add"``, ``"subtract"``, ``"multiply"`` or ``"divide"``.
            x: the first input.
            y: the second one, a symbol of the same shape, or a number.

        Returns:
            The symbol of its output.

        Raises:
            CannotCompile: ``y`` is something else.
        """
        if type(y) is not Symbol and isinstance(y, Tensor) and y.numel() == 1 and (y.dim() == 0 or y.dtype == x.dtype):
            y = y.item() if y.dim() <= x.dim() else y
        if isinstance(y, _Frames):
            y._refuse()
        if isinstance(y, numbers.Real):
            number = float(y)
            if kind == "divide":
                return self.pointwise("divide", x, number)
            # −0 added leaves the sign of a zero.
            a, b = (number, -0.0) if kind == "multiply" else (1.0, -number if kind == "subtract" else number)
            return self.pointwise("affine", x, a, b)
        if type(y) is not Symbol or y.register != x.register or (kind == "divide" and x.register.integer):
            shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise CannotCompile(f"it combines {x.shape} and {shape}; shapes must be equal, or one is a number")
        return self.emit(kind, [x, y], x.register)

    def concat(self, parts: Sequence[Symbol]) -> Symbol:
        """Put the channels of symbols one after the other.

        Args:
            parts: the symbols.

        Returns:
            The symbol of all their channels.

        Raises:
            CannotCompile: they differ in frequency, or in whether they are integers.
        """
        like = {x.register._replace(channels=0) for x in parts}
        if len(like) != 1:
            raise CannotCompile("it concatenates values of different shapes")
        return self.emit("concat", parts, like.pop()._replace(channels=sum(x.operand.channels for x in parts)))

    def matrix(self, x: Symbol, weight: np.ndarray, bias: np.ndarray | None = None) -> Symbol:
        """Multiply the channels of every cell by a matrix.

        Args:
            x: the input.
            weight: the matrix, ``(in_channels, out_channels)``.
            bias: what is added, ``(out_channels,)``; by default nothing.

        Returns:
            The symbol of its output.
        """
        product: dict[str, Any] = {"phase": 0, "cells": x.register.cells, "in_step": 1, "out_step": 1, "out_cell": 0}
        product |= {"in_channel": 0, "out_channel": 0, "taps": [[0, 0]]}
        arrays = {"weight0": weight[None], "bias0": np.zeros(weight.shape[1]) if bias is None else bias}
        arrays = {name: np.ascontiguousarray(array, self.numpy_dtype) for name, array in arrays.items()}
        settings = {"phases": 1, "below": 0, "above": 0, "products": [product]}
        return self.emit("linear", [x], x.register._replace(channels=weight.shape[1], integer=False), settings, arrays)

    def lookup(self, x: Symbol, table: Tensor) -> Symbol:
        """Look up a row of a table for every index.

        Args:
            x: the indices, one channel.
            table: the rows, ``(rows, channels)``.

        Returns:
            The symbol of the rows.
        """
        register = x.register._replace(channels=table.shape[1], integer=False)
        return self.emit("lookup", [x], register, {}, {"table": as_array(table, self)})

    def reshape(self, x: Symbol, register: Register) -> Symbol:
        """Let the numbers of a frame stand in other cells and channels.

        Args:
            x: the input.
            register: what the frames shall look like.

        Returns:
            The symbol of its output.

        Raises:
            CannotCompile: the frames would have more or fewer numbers.
        """
        if x.register.cells * x.operand.channels != register.cells * register.channels:
            raise CannotCompile(f"frames of {x.shape} do not fit into {register}")
        return self.emit("reshape", [x], register)

    def feedback(self, clock: Symbol, register: Register, start: float) -> tuple[Symbol, Callable[[Symbol], None]]:
        """Read what an operation that comes later gave for the frame before.

        Args:
            clock: an input; there is a frame for each of its frames.
            register: what the frames look like.
            start: every number of the first one.

        Returns:
            The symbol, and a function to be called with the symbol that is fed back, when it is there.
        """
        settings = {"register": -1, "start": float(start)}
        y = self.emit("feedback", [clock], register, settings)
        return y, lambda source: settings.update(register=source.operand.register)

    def gru_cell(self, x: Symbol, weights: Sequence[Tensor]) -> Symbol:
        """Run the cell of a GRU over the frames, from a state of zeros.

        Args:
            x: the input.
            weights: as torch has them, ``(3 · size, in_channels)``, ``(3 · size, size)``, and both biases,
                ``(3 · size,)``.

        Returns:
            The state after each frame.
        """
        of_input, of_state, bias_input, bias_state = (as_array(weight, self) for weight in weights)
        size = of_state.shape[1]
        earlier, feed_back = self.feedback(x, x.register._replace(channels=size), 0.0)
        read, kept = self.matrix(x, of_input.T, bias_input), self.matrix(earlier, of_state.T, bias_state)
        gates = self.pointwise("sigmoid", read[:, : 2 * size] + kept[:, : 2 * size])
        reset, update = gates.chunk(2, dim=1)
        new = self.pointwise("tanh", read[:, 2 * size :] + reset * kept[:, 2 * size :])
        state = new + update * (earlier - new)
        feed_back(state)
        return state

    @property
    def numpy_dtype(self) -> type[np.floating[Any]]:
        """The dtype of weights, in numpy."""
        return np.float32 if self.dtype == torch.float32 else np.float64

    def plan(self, outputs: Sequence[Symbol], state: Any) -> Plan:
        """Make the plan of what was written so far.

        Args:
            outputs: what it gives.
            state: the template of the state, see :class:`Plan`.

        Returns:
            The plan, with an operation for each that was added.
        """
        inputs, dtype = len(self.registers) - len(self.ops), str(self.dtype).removeprefix("torch.")
        return Plan(self.registers, inputs, self.ops, [x.operand for x in outputs], dtype, state)

    # ------------------------------------------------------------------------------------------ parts of a module
    def compose(self, module: Composite, wiring: Callable[..., Any], *symbols: Symbol) -> tuple[Any, dict[str, Any]]:
        """Run the wiring of a composite with symbols.

        Args:
            module: the composite, of which the parts are.
            wiring: as :meth:`Composite.compose`: it gets the symbols and ``run``.
            *symbols: its inputs.

        Returns:
            What the wiring returns, and the template of the state: a dict from part to its template.

        Raises:
            CannotCompile: there is no way; the message names the part.
            ValueError: the wiring runs a module that is no part, or one part twice.
        """
        state: dict[str, Any] = {}
        names = module._names()

        def run(part: CausalModule, piece: Any) -> Any:
            name, own = names.get(part), type(module).__name__
            if name is None:
                raise ValueError(f"{type(part).__name__} is no part of {own}; assign it to an attribute in __init__")
            if name in state:
                raise ValueError(f"{name} of {own} is run twice, and has one state; run CausalSequential(self.{name})")
            y, state[name] = self.lower(part, piece, name)
            return y

        return wiring(*symbols, run), state

    def lower(self, module: nn.Module, x: Any, name: str = "") -> tuple[Any, Any]:
        """Lower a module.

        Args:
            module: the causal module.
            x: its input, a symbol.
            name: its name in the composite around it.

        Returns:
            The symbol of its output, and the template of its state; see ``state`` of :class:`Plan`.

        Raises:
            CannotCompile: there is no way; the message names the part.
            ValueError: the input does not fit the module.
        """
        around, self._ring = self._ring, None
        self._path.append(name)
        try:
            lowered = self._rule(module)(module, x, self)
            ring: Any = [] if self._ring is None else self._ring
            return lowered if isinstance(lowered, tuple) else (lowered, ring)
        except CannotCompile as error:
            if error.part is None:
                part = ".".join(filter(None, self._path)) or "the module"
                told = CannotCompile(f"{part}, {_a(type(module).__name__)}, cannot be compiled: {error}")
                told.part = part
                raise told from None
            raise
        except ValueError:  # the input does not fit
            raise
        except Exception as error:  # of code that takes a symbol for a tensor
            part = ".".join(filter(None, self._path)) or "the module"
            told = CannotCompile(f"{part}, {_a(type(module).__name__)}, cannot be compiled: {error}")
            told.part = part
            raise told from error
        finally:
            self._ring = around
            self._path.pop()

    @staticmethod
    def _rule(module: nn.Module) -> Lowering:
        """Find the lowering of a module, unless it computes something else than the class that has one."""
        refuse_hooks(module)
        for base in type(module).__mro__:
            if base in _LOWERINGS:
                function, methods = _LOWERINGS[base]
                changed = [name for name in _own(base, methods) if name in vars(module)]
                changed += _changed(type(module), base, methods)  # type: ignore[arg-type]
                if changed:
                    raise CannotCompile(
                        f"it overrides {changed[0]} of {base.__name__}; register a lowering of its own with "
                        "causalcnn.engine.lowers"
                    )
                renew_weight(module)
                return function
        raise CannotCompile("it has no lowering; register one with causalcnn.engine.lowers")


@functools.cache
def _own(base: type, methods: tuple[str, ...]) -> tuple[str, ...]:
    """What a subclass of a class with a lowering must leave as it is."""
    return methods if inspect.isabstract(base) else (*methods, "forward", *_computing(base))


@functools.cache
def _changed(kind: type, base: type, methods: tuple[str, ...]) -> list[str]:
    """What a subclass does not leave as it is."""
    mine, theirs = (functools.partial(inspect.getattr_static, one) for one in (kind, base))
    return [name for name in _own(base, methods) if mine(name) is not theirs(name)]


def _computing(base: type) -> list[str]:
    """The methods and properties of a layer that may take part in what it computes."""
    harmless = ("field", "convention", "stream", "_torch_stream", "_compiled_stream", "reset_rows", "reset_parameters")
    return [
        name
        for name, value in inspect.getmembers_static(base)
        if not hasattr(nn.Module, name) and name not in harmless and not name.startswith("__")
        if isinstance(value, property | staticmethod | classmethod) or inspect.isroutine(value)
    ]


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'AEIOU' else 'a'} {word}"


def refuse_hooks(module: nn.Module) -> None:
    """Refuse hooks, which a plan cannot call, except those that make weights (CannotCompile)."""
    if has_forward_hooks(module):
        raise CannotCompile("it has a forward hook, which a plan cannot call")


def refuse_autocast() -> None:
    """Refuse to run under autocast (CannotCompile)."""
    if torch.is_autocast_enabled("cpu"):
        raise CannotCompile(
            "it runs under autocast, which a plan does not know; a compiled stream computes in one dtype"
        )


def as_array(tensor: Tensor, builder: Builder) -> np.ndarray:
    """Copy the numbers of a weight, and check that it is where and what the stream is."""
    if tensor.device.type != "cpu" or tensor.dtype != builder.dtype:
        raise CannotCompile(
            f"a weight is {tensor.dtype} on {tensor.device}, the input {builder.dtype} on the CPU; a compiled stream "
            "runs on the CPU, and weights and input must be of one dtype"
        )
    return np.array(tensor.detach().numpy(), order="C")


def lower(
    module: CausalModule,
    *examples: Tensor,
    wiring: Callable[..., Any] | None = None,
) -> Plan:
    """Make the plan of a module's stream.

    Args:
        module: the module. The plan keeps its weights of now.
        *examples: a piece of each input, perhaps without frames, ``(batch, channels, time[, frequency])``. Only the
            shape and dtype are used.
        wiring: what to lower instead of the whole module: a function that gets a symbol for each example and ``run``,
            as :meth:`Composite.compose`, and returns a symbol or several.

    Returns:
        The plan. It holds for any batch size.

    Raises:
        CannotCompile: a part of the module cannot be lowered; the message names it and says why.
        ValueError: an example is no input of the module.

    Example:
        >>> import torch
        >>> from causalcnn.engine import lower
        >>> from causalcnn.nn import CausalConv1d, CausalSequential
        >>> plan = lower(CausalSequential(CausalConv1d(4, 8, 3), torch.nn.ReLU()), torch.zeros(1, 4, 0))
        >>> [op.kind for op in plan.ops], plan.state
        (['linear', 'pointwise'], {'0': 0, '1': []})
    """
    for x in examples:
        if x.dim() not in (3, 4):
            raise ValueError(
                f"a piece has shape {tuple(x.shape)}; a compiled stream takes (batch, channels, time[, frequency])"
            )
        if not x.is_floating_point() and x.dtype not in (torch.int64, torch.int32):
            raise CannotCompile(f"the input is {x.dtype}; a compiled stream takes float32, float64, or int64 indices")
    refuse_autocast()
    real = [x.dtype for x in examples if x.is_floating_point()] or [p.dtype for p in module.parameters()][:1]
    dtype = real[0] if real else torch.float32
    if dtype not in (torch.float32, torch.float64) or any(x.device.type != "cpu" for x in examples):
        raise CannotCompile(
            f"the input is {dtype} on {examples[0].device}; a compiled stream takes float32 or float64 on the CPU"
        )
    builder = Builder(examples[0].shape[0], dtype)
    symbols = [
        builder.input(Register(x.shape[1], x.shape[3] if x.dim() == 4 else None, not x.is_floating_point()))
        for x in examples
    ]
    if wiring is None:
        outputs, state = builder.lower(module, symbols[0])
    else:
        outputs, state = builder.compose(module, wiring, *symbols)  # type: ignore[arg-type]
    found = outputs if isinstance(outputs, tuple) else (outputs,)
    kept = [*(x.operand for x in found), *(op.inputs[0] for op in builder.ops if op.remembers)]
    if any(x.dtype == torch.int32 for x in examples) and any(builder.registers[x.register].integer for x in kept):
        raise CannotCompile("the input is torch.int32, and so is what it gives or keeps; a plan knows torch.int64")
    return fuse(builder.plan(found, state))
