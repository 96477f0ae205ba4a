"""A machine that was made for one stream of a module serves the next, as long as the module is what it was."""

from __future__ import annotations

import dataclasses
import enum
from collections import OrderedDict
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from causalcnn.engine.machine import Machine
from causalcnn.engine.plan import Plan

__all__ = ["describe", "machine_for"]

AT_ONCE = 4
"""Machines that are kept for a module: for its ways to be run, and the sizes of pieces that it was given last."""

_VALUES = frozenset(
    (type(None), bool, int, str, bytes, complex, type, torch.dtype, torch.device, torch.Size, BuiltinFunctionType)
)

_HOLDERS = frozenset((dict, OrderedDict, set))


class _Made(NamedTuple):
    """A machine, and what the module was when it was lowered."""

    description: Any
    tensors: list[Tensor]
    machine: Machine


_made: WeakKeyDictionary[nn.Module, dict[Any, _Made]] = WeakKeyDictionary()


def machine_for(module: nn.Module, key: Any, rows: int, make: Callable[[], Plan]) -> Machine:
    """Make a machine at its start, or take over what was made before for the same module.

    Nothing is believed to be unchanged: what the module holds is compared, every weight number by number, which takes a
    small part of the time that lowering takes. So it does not matter in which way a weight was changed. Only classes
    are taken to be what they were.

    Args:
        module: the module that is lowered.
        key: what else the plan depends on: how the module is run, and on which pieces.
        rows: the batch size.
        make: lowers the module.

    Returns:
        The machine, for this caller alone.

    Raises:
        CannotCompile: as ``make`` does.
        ValueError: as ``make`` does.
    """
    described = None if torch.is_autocast_enabled("cpu") else describe(module)
    if described is None:
        return Machine(make(), rows)
    description, tensors = described
    machines = _made.setdefault(module, {})
    made = machines.pop(key, None)
    if made is None or made.description != description or not all(map(torch.equal, made.tensors, tensors)):
        copies = [tensor.detach().clone() for tensor in tensors]  # before: a weight may change while it is lowered
        made = _Made(description, copies, Machine(make(), rows))
    machines[key] = made
    if len(machines) > AT_ONCE:
        del machines[next(iter(machines))]
    return made.machine.fresh()


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
