"""The registry of rules: how the dependencies of an operation's results follow from those of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causalcnn.causality.tracing.table import UNKNOWN, DependencyTable, Operand

__all__ = ["RULES", "Call", "Untraceable", "broadcast", "drop", "listed", "rule", "union"]


class Untraceable(Exception):
    """An operation whose dependencies cannot be followed; the message says why."""


@dataclass
class Call:
    """One operation that has just run: its bound arguments, its results, and the table to write into."""

    table: DependencyTable
    func: torch._ops.OpOverload
    arguments: dict[str, Any]
    outs: list[Tensor]

    def __getitem__(self, name: str) -> Any:
        if name not in self.arguments:
            raise Untraceable(f"its rule looks for an argument {name!r}; this form has {', '.join(self.arguments)}")
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument that not every overload has."""
        return self.arguments.get(name, default)

    def operand(self, name: str) -> Operand:
        """What is known of a tensor argument, or of a number."""
        return self.table.operand(self[name])

    def put(self, dep: Tensor | None, kind: Tensor | int = UNKNOWN, out: int = 0) -> None:
        """Write what result ``out`` depends on."""
        self.table.set(self.outs[out], dep, kind)

    def tensors(self) -> list[Tensor]:
        """All tensor arguments, those in lists too."""
        return [t for value in self.arguments.values() for t in listed(value) if isinstance(t, Tensor)]

    def forbid(self, *names: str) -> None:
        """Refuse arguments that depend on the input where the rule takes them for constants."""
        for name in names:
            for value in listed(self.arguments.get(name)):
                if isinstance(value, Tensor) and self.table.dep(value) is not None:
                    raise Untraceable(f"its argument {name!r} depends on the input")


def listed(value: Any) -> list[Any]:
    """The elements of a list or tuple, or the one value."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


RULES: dict[str, Callable[[Call], None]] = {}


def rule(*names: str) -> Callable[[Callable[[Call], None]], Callable[[Call], None]]:
    """Register a rule for these ATen operations; in-place forms share it."""

    def register(function: Callable[[Call], None]) -> Callable[[Call], None]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def broadcast(dep: Tensor | None, shape: torch.Size) -> Tensor | None:
    """``(width, *small)`` → ``(width, *shape)``, aligned from the right as numbers are."""
    if dep is None:
        return None
    missing = len(shape) - (dep.dim() - 1)
    return dep.reshape(dep.shape[0], *(1,) * missing, *dep.shape[1:]).expand(dep.shape[0], *shape)


def union(*deps: Tensor | None) -> Tensor | None:
    """The union of what several operands depend on."""
    present = [dep for dep in deps if dep is not None]
    if not present:
        return None
    out = present[0].clone() if len(present) > 1 else present[0]
    for dep in present[1:]:
        out |= dep
    return out


def drop(dep: Tensor | None, dropped: Tensor, table: DependencyTable) -> Tensor | None:
    """Dependencies with those of ``dropped`` elements removed; marks of padding stay."""
    if dep is None:
        return None
    if not dropped.any():
        return dep
    out = dep & ~dropped
    out[table.cells :] = dep[table.cells :]
    return out
