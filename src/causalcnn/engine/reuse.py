"""What was made for one stream of a module serves the next, as long as the module is what it was."""

from __future__ import annotations

import dataclasses
import enum
import operator
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import BuiltinFunctionType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from causalcnn.engine.machine import Machine
from causalcnn.engine.plan import Plan
from causalcnn.nn.base import State

__all__ = ["Made", "describe", "made_of"]

AT_ONCE = 4
"""Machines, and initial states, that are kept of a module: for its ways to be run, and the sizes of pieces that it was
given last."""

_VALUES = frozenset(
    (type(None), bool, int, str, bytes, complex, type, torch.dtype, torch.device, torch.Size, BuiltinFunctionType)
)

_HOLDERS = frozenset((dict, OrderedDict, set))


@dataclass(eq=False)
class Made:
    """What was made of a module, and what the module was.

    Attributes:
        description: all of the module except for its numbers.
        numbers: the bytes of its tensors.
        states: initial states.
        machines: machines that are never run; each stream gets a copy.
    """

    description: Any
    numbers: list[bytearray]
    states: OrderedDict[Any, State] = field(default_factory=OrderedDict)
    machines: OrderedDict[Any, Machine] = field(default_factory=OrderedDict)

    def state(self, x: Tensor, make: Callable[[], State]) -> State:
        """Make the initial state, or take over that of another stream; nobody may write into it.

        Args:
            x: the first piece, ``(rows, channels, frames[, cells])``; any number of frames.
            make: makes the state.

        Returns:
            The state.
        """
        key = (type(x), x.dtype, x.device, x.shape[:2], x.shape[3:])
        state = self.states.get(key)
        return _keep(self.states, key, make() if state is None else state)

    def machine(self, key: Any, rows: int, make: Callable[[], Plan], state: State) -> Machine:
        """Make a machine that goes on from a state, or copy one.

        Args:
            key: what the plan depends on beside the module: how it is run, and on which pieces.
            rows: the batch size.
            make: lowers the module.
            state: the state of the module, which nobody writes into.

        Returns:
            The machine, for this caller alone.

        Raises:
            CannotCompile: as ``make`` does.
            ValueError: as ``make`` does, or the state does not fit.
        """
        machine = self.machines.get(key) or Machine(make(), rows)
        if machine.start is not state:
            machine = machine.another()  # from that one another thread may be copying
            machine.begin(state)
        return _keep(self.machines, key, machine).another()


_made: WeakKeyDictionary[nn.Module, Made] = WeakKeyDictionary()


def made_of(module: nn.Module) -> Made:
    """Find what was made of a module, if the module is still what it was.

    Nothing is believed to be unchanged: what the module holds is compared, every weight byte by byte, which takes a
    small part of the time that lowering takes. So it does not matter in which way a weight was changed. Only classes
    are taken to be what they are.

    Args:
        module: the module.

    Returns:
        What was made of it; nothing, if it has changed or cannot be compared.
    """
    described = None if torch.is_autocast_enabled("cpu") else describe(module)
    if described is None:
        return Made(None, [])
    description, tensors = described
    try:
        numbers = list(map(_numbers, tensors))
    except (RuntimeError, TypeError):  # a sparse tensor, or one without numbers
        return Made(None, [])
    made = _made.get(module)
    if made is None or made.description != description or not all(map(operator.eq, made.numbers, numbers)):
        # Copied before anything is made, for a weight may change meanwhile.
        _made[module] = made = Made(description, list(map(bytearray, numbers)))
    return made


def _numbers(tensor: Tensor) -> memoryview:
    """The numbers of a tensor, as they lie in memory: to compare bytes is three times as fast as to compare tensors."""
    try:
        return np.ascontiguousarray(tensor.detach().numpy()).data
    except (RuntimeError, TypeError):  # bfloat16, or another device
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        return plain.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> Any:
    """Put a value last, and forget the first where there are too many."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > AT_ONCE:
        kept.popitem(last=False)
    return value


def describe(module: nn.Module) -> tuple[Any, list[Tensor]] | None:
    """Say all that a module is made of.

    Args:
        module: the module.

    Returns:
        A value that is equal for an equal module, and the tensors, whose numbers it leaves out; or None where a part is
        nothing that can be compared, such as a hook or a function of the user's.

    Example:
        >>> import torch
        >>> from causalcnn.engine.reuse import describe
        >>> layer = torch.nn.Conv1d(1, 1, 2)
        >>> description, tensors = describe(layer)
        >>> len(tensors), description == describe(layer)[0], description == describe(layer.eval())[0]
        (2, True, False)
        >>> hook = layer.register_forward_hook(lambda *_: None)
        >>> describe(layer) is None
        True
    """
    tensors: list[Tensor] = []
    try:
        return _described(module, tensors, {}), tensors
    except (_Incomparable, RecursionError):
        return None


class _Incomparable(Exception):
    """Whether it is the same cannot be known."""


def _described(value: Any, tensors: list[Tensor], seen: dict[int, int]) -> Any:
    kind = type(value)
    if kind in _VALUES:
        return kind, value
    if kind is float:
        return repr(value)  # which tells −0 from 0
    if isinstance(value, nn.Module):
        if id(value) in seen:
            return seen[id(value)]
        seen[id(value)] = len(seen)
        value = vars(value)
    elif kind in (Tensor, nn.Parameter, nn.Buffer):
        tensors.append(value)
        return value.shape, value.dtype, value.device
    elif kind is set and all(type(one) is str for one in value):
        return frozenset(value)
    elif kind in (list, tuple):
        kinds = tuple(map(type, value))
        if _VALUES.issuperset(kinds):
            return kind, kinds, tuple(value)
        return kind, tuple([_described(one, tensors, seen) for one in value])
    elif dataclasses.is_dataclass(value) and hasattr(value, "__dict__"):
        value = vars(value)
    elif isinstance(value, enum.Enum):
        return value
    elif kind not in (dict, OrderedDict):
        raise _Incomparable
    parts: list[Any] = [kind]
    for name, one in value.items():
        if type(one) in _VALUES:  # as below, without a call
            parts.append((name, type(one), one))
        elif type(one) not in _HOLDERS or one:  # a module has twelve holders, most of them empty
            parts.append((name, _described(one, tensors, seen)))
    return parts
