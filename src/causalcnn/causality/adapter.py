"""One signal in, one signal out: networks with other inputs and outputs are brought into that form.

Everything that judges a network wants a module from ``(batch, channels, time[, frequency])`` to the same. An
:class:`Adapter` is such a module around any network: it takes the inputs that carry time apart again, passes the
others on as they are, and joins those outputs that carry time. What it does itself are views, casts and joins, which
a trace follows; the submodules of the network keep their names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from causalcnn.causality.copies import deepcopy_module
from causalcnn.causality.inputs import make_example, positive_axis, with_frames

__all__ = ["Adapter", "Output", "adapt", "groups", "inner_network", "one_signal", "run_outputs"]

TimeAxis = int | None | Sequence[int | None] | Mapping[str, int | None]
"""Where time is: one axis; or for several inputs one each, None for what carries no time."""


def inner_network(module: nn.Module) -> nn.Module:
    """Return the user's network, which an adapter may have been put around: its submodules have the known names."""
    return module.network if isinstance(module, Adapter) else module


# ------------------------------------------------------------------------------------------------- what goes in
@dataclass(frozen=True)
class _Piece:
    """One tensor among the arguments that carries time.

    Attributes:
        leaf: its place among the leaves of the arguments.
        sizes: its shape without batch and time.
        axis: where its time is.
        dtype: its own.
        low: the least number that it may hold; None where it is in floating point.
        count: how many whole numbers it may hold.
    """

    leaf: int
    sizes: tuple[int, ...]
    axis: int
    dtype: torch.dtype
    low: int | None = None
    count: int = 1

    @property
    def channels(self) -> int:
        return math.prod(self.sizes)


def adapt(module: nn.Module, example: Any, time_axis: TimeAxis = None) -> tuple[Adapter, Tensor]:
    """Bring a network and an example of its inputs into the form of one signal.

    Args:
        module: the network.
        example: a tensor; a tuple or list of arguments; a dict of keyword arguments; or the shape of one tensor.
        time_axis: where time is.

    Returns:
        The network as a module of one signal, and the example as that signal, ``(batch, channels, time[, frequency])``.

    Raises:
        ValueError: the example holds no tensor with batch and time.
    """
    if isinstance(example, Sequence) and example and all(isinstance(n, int) for n in example):
        example = make_example(module, example, noise=True)
    if isinstance(example, Mapping):
        arguments: tuple[tuple, dict] = ((), dict(example))
    else:
        arguments = (tuple(example) if isinstance(example, (tuple, list)) else (example,)), {}
    leaves, spec = pytree.tree_flatten(arguments)
    axes = _axes(arguments, leaves, time_axis)
    signal = next(iter(axes))
    frames, rows = leaves[signal].shape[axes[signal]], leaves[signal].shape[0]
    pieces = [_piece(module, i, leaves[i], axis) for i, axis in axes.items()]
    floating = [leaves[piece.leaf].dtype for piece in pieces if piece.low is None]
    dtype = torch.float64 if len(floating) < len(pieces) else floating[0]
    plain = len(leaves) == 1 and pieces[0].low is None and leaves[0].dim() >= 3 and pieces[0].axis == 2
    parts = [
        leaves[p.leaf].detach().movedim(p.axis, -1).reshape(rows, p.channels, frames).to(leaves[signal].device, dtype)
        for p in pieces
    ]
    x = leaves[0].detach() if plain else torch.cat(parts, 1)
    for piece in pieces:
        leaves[piece.leaf] = None
    return Adapter(module, leaves, spec, pieces, rows, plain), x


def _axes(arguments: tuple[tuple, dict], leaves: list[Any], time_axis: TimeAxis) -> dict[int, int]:
    """Find which leaves carry time, and on which axis; the first one is the signal that the others go along with."""
    if not isinstance(time_axis, (int, type(None))):
        asked = _asked(arguments, time_axis)
        found = {
            i: positive_axis(leaf, axis)
            for i, (leaf, axis) in enumerate(zip(leaves, asked, strict=True))
            if isinstance(leaf, Tensor) and axis is not None
        }
        if len({(leaves[i].shape[0], leaves[i].shape[axis]) for i, axis in found.items()}) != 1:
            raise ValueError(f"time_axis is {time_axis}; the inputs that it names need the same rows and frames")
        return found
    tensors = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.dim() >= 2}
    if not tensors:
        raise ValueError("the example holds no tensor (batch, time) or (batch, channels, time[, frequency])")
    signal, first = next(iter(tensors.items()))
    axis = positive_axis(first, min(2, first.dim() - 1) if time_axis is None else time_axis)
    found = {signal: axis}
    for i, leaf in tensors.items():
        fitting = [a for a in range(1, leaf.dim()) if leaf.shape[a] == first.shape[axis]]
        if i == signal or leaf.shape[0] != first.shape[0] or leaf.is_complex() or not fitting:
            continue
        if axis in fitting or len(fitting) == 1:
            found[i] = axis if axis in fitting else fitting[0]
    return found


def _asked(arguments: tuple[tuple, dict], time_axis: Sequence | Mapping) -> list[int | None]:
    """Return the axis that was asked for, for each leaf of the arguments."""
    args, kwargs = arguments
    each: list[Any] = list(args or kwargs.values())
    if isinstance(time_axis, Mapping):
        unknown = set(time_axis) - set(kwargs)
        axes = [time_axis.get(name) for name in kwargs]
        if unknown or not kwargs:
            raise ValueError(f"time_axis names {sorted(unknown)}; the inputs of the example are {sorted(kwargs)}")
    else:
        axes = list(time_axis)
        if kwargs or len(axes) != len(args):
            raise ValueError(f"time_axis is {time_axis}; it needs one axis, or None, for each of {len(args)} inputs")
    return [axis for value, axis in zip(each, axes, strict=True) for _ in pytree.tree_leaves(value)]


def _piece(module: nn.Module, leaf: int, value: Tensor, axis: int) -> _Piece:
    sizes = tuple(n for a, n in enumerate(value.shape) if a not in (0, axis))
    if value.is_complex():
        raise ValueError(f"the example is {value.dtype}; an input that carries time needs real or whole numbers")
    if value.is_floating_point():
        return _Piece(leaf, sizes, axis, value.dtype)
    low, high = (int(value.min()), int(value.max())) if value.numel() else (0, 0)
    vocabularies = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    if low == high and vocabularies:
        low, high = 0, min(vocabularies) - 1  # an example of one word only; others are as good
    return _Piece(leaf, sizes, axis, value.dtype, low, high - low + 1)


class Adapter(nn.Module):
    """A network as a module of one signal, ``(batch, channels, time[, frequency])``.

    Whole numbers stay whole: any number of the signal becomes one of those that the example shows to be allowed. What
    carries no time is a condition: in floating point it may be anything, like a weight; else it is a constant.

    Args:
        network: the network.
        leaves: the leaves of its arguments, those that carry time left out.
        spec: how leaves become arguments.
        pieces: what carries time.
        rows: of the example.
        plain: whether the signal is the only argument, and goes in as it is.
    """

    def __init__(
        self, network: nn.Module, leaves: list[Any], spec: Any, pieces: list[_Piece], rows: int, plain: bool
    ) -> None:
        super().__init__()
        self.network, self.training = network, network.training
        self.spec = lambda: spec  # a copy of this module does not copy what a function holds
        self.pieces, self.rows, self.plain = tuple(pieces), rows, plain
        self.exact = False  # whether pieces in floating point keep the dtype of the signal
        self.outputs: tuple[Output, ...] = ()
        self.leaves = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.conditions = {i: f"condition_{i}" for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
        for i, name in self.conditions.items():
            value = leaves[i].detach().clone()
            if value.is_floating_point() or value.is_complex():
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def giving(self, outputs: Sequence[Output]) -> nn.Module:
        """Return a module that gives these outputs, joined along the channels; the network itself where it does so."""
        only = outputs[0]
        if self.plain and len(outputs) == 1 and only.name == "output" and only.axis == 2 and only.plain:
            return self.network
        leaves = [getattr(self, self.conditions[i]) if i in self.conditions else v for i, v in enumerate(self.leaves)]
        other = Adapter(self.network, leaves, self.spec(), list(self.pieces), self.rows, self.plain)
        other.exact, other.outputs = self.exact, tuple(outputs)
        return other

    def forward(self, x: Tensor) -> Any:
        """Run the network on the inputs that this signal stands for."""
        args, kwargs = pytree.tree_unflatten(self._filled(x), self.spec())
        y = self.network(*args, **kwargs)
        if not self.outputs:
            return y
        found = dict(named_tensors(y))
        joint = x.dim() > 3
        parts = [_in_form(found[output.name], output.axis, joint) for output in self.outputs]
        if len(parts) == 1:
            return parts[0] if parts[0].is_floating_point() else parts[0].to(x.dtype)
        return torch.cat([part.to(x.dtype) for part in parts], 1)

    def _filled(self, x: Tensor) -> list[Any]:
        """Return the leaves of the arguments for this signal."""
        leaves = list(self.leaves)
        for i, name in self.conditions.items():
            value = getattr(self, name)
            if value.dim() and value.shape[0] == self.rows != x.shape[0]:  # a condition of each row
                value = value.repeat(-(-x.shape[0] // self.rows), *(1,) * (value.dim() - 1))[: x.shape[0]]
            leaves[i] = value
        if self.plain:
            return [x]
        for piece, part in zip(self.pieces, x.split([piece.channels for piece in self.pieces], 1), strict=True):
            value = part.reshape(x.shape[0], *piece.sizes, x.shape[2])
            if piece.low is not None:
                value = (value.round() - piece.low).remainder(piece.count) + piece.low
            if piece.low is not None or not self.exact:
                value = value.to(piece.dtype)
            leaves[piece.leaf] = value.movedim(-1, piece.axis)
        return leaves


# ------------------------------------------------------------------------------------------------ what comes out
@dataclass(frozen=True)
class Output:
    """One tensor that a network returns.

    Attributes:
        name: where it is in what the network returns, such as ``output[1]`` or ``output['mel']``.
        shape: its shape on the example.
        axis: where its time is; None where it carries none.
        plain: whether it is in floating point and has the axes of a signal.
        rows: its rows, once it is in the form of a signal.
        beside: its axes beside (batch, channels, time) in that form.
    """

    name: str
    shape: tuple[int, ...]
    axis: int | None = None
    plain: bool = False
    rows: int = 1
    beside: tuple[int, ...] = ()

    @property
    def frames(self) -> int:
        """Its number of frames; 0 where it carries no time."""
        return 0 if self.axis is None else self.shape[self.axis]


def named_tensors(value: Any, name: str = "output", depth: int = 8) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor in what a network returned, with its place: also in dicts, lists, dataclasses and objects."""
    if isinstance(value, Tensor):
        yield name, value
        return
    if not depth or isinstance(value, (str, bytes, nn.Module, type)) or callable(value):
        return
    inner: Iterator[tuple[str, Any]]
    if isinstance(value, Mapping):
        inner = ((f"{name}[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        inner = ((f"{name}.{field}", part) for field, part in zip(value._fields, value, strict=True))
    elif isinstance(value, (list, tuple)):
        inner = ((f"{name}[{i}]", part) for i, part in enumerate(value))
    elif dataclasses.is_dataclass(value):
        inner = ((f"{name}.{f.name}", getattr(value, f.name, None)) for f in dataclasses.fields(value))
    else:
        inner = ((f"{name}.{key}", part) for key, part in getattr(value, "__dict__", {}).items())
    for path, part in inner:
        yield from named_tensors(part, path, depth - 1)


def _in_form(y: Tensor, axis: int | None, joint: bool) -> Tensor:
    """Bring an output into the form ``(batch, channels, time[, …])``.

    Args:
        y: the output.
        axis: where its time is.
        joint: whether the input has an axis of frequency; then what is moved to axis 3 would be taken for one.

    Returns:
        The same numbers, with time on axis 2.
    """
    assert axis is not None
    if y.is_complex():
        y = torch.view_as_real(y)
    elif axis == 2 and y.dim() >= 3:
        return y
    y = y.movedim(axis, -1)
    if axis == 0 and y.dim() <= 2:
        y = y.unsqueeze(0)  # it has no rows
    if y.dim() == 2:
        return y.unsqueeze(1)
    return y.flatten(1, -2) if joint or y.dim() == 3 else y.movedim(-1, 2)


def find_outputs(
    here: Any, there: Any, frames: int, axis: int, asked: TimeAxis = None, *, joint: bool = False
) -> list[Output]:
    """Find the tensors that a network returns, and where each has its time: on the axis that grows with the input.

    Args:
        here: what it returned for the example.
        there: what it returned for another number of frames; None where it takes no other.
        frames: of the example.
        axis: where the time of the input is, which is taken where nothing else tells.
        asked: where time is said to be, for all outputs or by name.
        joint: whether the input has an axis of frequency.

    Returns:
        Every tensor, those without time included.
    """
    other = None if there is None else {name: tuple(y.shape) for name, y in named_tensors(there)}
    found = []
    for name, y in named_tensors(here):
        shape, known = tuple(y.shape), None if other is None else other.get(name, ())
        where: int | None
        if isinstance(asked, Mapping) and name in asked:
            where = asked[name]
        elif isinstance(asked, int):
            where = asked
        elif known is None:
            same = [a for a, n in enumerate(shape) if n == frames]
            where = axis if axis < len(shape) and (axis in same or not same) else (same[0] if same else None)
        else:
            moved = [a for a, n in enumerate(shape) if len(known) == len(shape) and n != known[a]]
            where = axis if axis in moved else (moved[0] if moved else None)
        if where is not None and not -len(shape) <= where < len(shape):
            where = None
        if where is None or known == shape:  # it does not grow with the input
            found.append(Output(name, shape))
            continue
        where %= len(shape)
        form = _in_form(torch.empty(shape, dtype=y.dtype, device="meta"), where, joint)
        plain = y.is_floating_point() and y.dim() >= 3
        found.append(Output(name, shape, where, plain, form.shape[0], tuple(form.shape[3:])))
    return found


def run_outputs(run: Callable[[Tensor], Any], adapted: Adapter, x: Tensor, asked: TimeAxis = None) -> list[Output]:
    """Find what a network returns, and where time is, by running it on another number of frames, too.

    Args:
        run: what runs ``adapted`` on a signal.
        adapted: the network.
        x: the example, ``(batch, channels, time[, frequency])``.
        asked: where time is said to be, for all outputs or by name.

    Returns:
        Every tensor that it returns, those without time included.
    """
    frames, there = x.shape[2], None
    here = run(x)
    for other in (2 * frames, frames // 2, 3 * frames // 2, frames - 1):
        with contextlib.suppress(Exception):
            there = run(with_frames(x, other, 2))
            break
    return find_outputs(here, there, frames, adapted.pieces[0].axis, asked, joint=x.dim() > 3)


def one_signal(
    module: nn.Module, example: Any, time_axis: TimeAxis = None, output_time_axis: TimeAxis = None
) -> tuple[nn.Module, Tensor]:
    """Bring a network into the form of one signal, from its inputs to the first output that carries time.

    Args:
        module: the network.
        example: as for :func:`adapt`.
        time_axis: where time is in the inputs.
        output_time_axis: where time is in the outputs.

    Returns:
        The network in that form, and one row of the example, ``(1, channels, time[, frequency])``, on the CPU.
    """
    adapted, x = adapt(module, example, time_axis)
    x = x[:1].to("cpu")
    with contextlib.suppress(Exception), torch.no_grad(), torch.random.fork_rng(devices=[]):
        copy = deepcopy_module(adapted).to("cpu")
        outputs = [output for output in run_outputs(copy, adapted, x, output_time_axis) if output.axis is not None]
        return (adapted.giving(outputs[:1]) if outputs else adapted), x
    return adapted, x


def groups(outputs: Sequence[Output]) -> list[list[Output]]:
    """Return the outputs that carry time, those together that can be judged as one signal."""
    found: dict[tuple, list[Output]] = {}
    for output in outputs:
        if output.axis is not None:
            found.setdefault((output.frames, output.rows, output.beside), []).append(output)
    return list(found.values())
