"""Tensors that were there before a network ran, and so cannot depend on its input.

Those of its submodules, those in plain objects, lists and dicts that these hold, and those in the globals, closures and
defaults of the functions that run. A tensor of any other origin is refused.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.jit import ScriptModule

__all__ = ["tensors_before"]

DEPTH = 4
"""How many objects, one within the other, are looked through."""


def tensors_before(module: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters of a module, and then every tensor that its forward can have at hand."""
    yield from module.parameters()
    seen: set[int] = set()
    for part in module.modules():
        yield from part.buffers(recurse=False)
        for value in () if isinstance(part, ScriptModule) else vars(part).values():
            yield from _within(value, DEPTH, seen)
        for kind in type(part).__mro__:
            if not kind.__module__.startswith("torch."):
                for value in list(vars(kind).values()):
                    yield from _within(value, DEPTH, seen)


def _within(value: Any, depth: int, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    if not depth or id(value) in seen or isinstance(value, (nn.Module, types.ModuleType, type, str, bytes, int, float)):
        return
    seen.add(id(value))
    if isinstance(value, dict):
        inside: list[Any] = list(value.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = list(value)
    elif isinstance(value, types.FunctionType):
        inside = list(_of_function(value))
    elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
        inside = [value.__func__, getattr(value, "__self__", None)]
    else:
        inside = list(getattr(value, "__dict__", {}).values())
    for each in inside:
        yield from _within(each, depth - 1, seen)


def _of_function(function: types.FunctionType) -> Iterator[Any]:
    """Yield what a function can name: its globals, as far as it names them, its closure and its defaults."""
    if (function.__module__ or "").startswith("torch."):
        return
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield function.__globals__[name]
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is not bound yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for constant in function.__code__.co_consts:  # functions within
        if isinstance(constant, types.CodeType):
            yield from (function.__globals__[name] for name in constant.co_names if name in function.__globals__)
