"""The registry of rules: how the dependencies of an operation's results follow from those of its arguments.

A rule is a function of one :class:`Call`, registered under the names of its operations with :func:`rule`. This one,
a little simplified, says that each element reads everything up to its own place::

    @rule("cumsum", "cumprod")
    def cumulative(call):
        x = call.operand("self")
        axis = call["dim"] % x.value.dim() + 1  # axis 0 of the dependencies stands for the cells of the input
        call.put(x.dep.to(torch.uint8).cummax(axis).values.bool())

The package's documentation (:mod:`causalcnn.causality.tracing`) says step by step how to add one. Rules are
registered when their file is imported, so a new file must be imported in ``dispatch``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causalcnn.causality.tracing.table import KNOWN, MASKED, UNKNOWN, DependencyTable, Operand

__all__ = ["RULES", "Call", "Untraceable", "broadcast", "drop", "listed", "moved", "moved_dep", "rule", "sunk", "union"]


class Untraceable(Exception):
    """The dependencies of an operation cannot be followed; the message says why.

    A rule raises it, and the tracer turns it into :class:`causalcnn.CannotTrace` with the operation and the submodule.
    """


@dataclass
class Call:
    """One operation that has just run, as its rule sees it.

    A rule is called where at least one tensor argument depends on the input (for names in ``CONSTANT_RULES`` always).
    Any other argument may depend on nothing, and then ``operand(…).dep`` is None. ``call["dim"]`` is an argument by its
    name in the schema; where a form of the operation has none of that name, the operation is refused. The rule must
    :meth:`put` every result.

    What it puts is a boolean tensor ``(width, *shape of the result)``. The first axis stands for the cells of the
    network's input and, last, three marks of padding (see :class:`causalcnn.causality.tracing.table.DependencyTable`).
    A rule treats all of them alike: what reads ``a`` and ``b`` gets the union of both. It must not write into what an
    operand gave it, because that may be the table itself.

    Attributes:
        table: the dependencies of all tensors so far.
        func: the operation, with its overload.
        arguments: all arguments by the names of the schema, defaults filled in.
        outs: the tensors that the operation returned. Their numbers are those of one run: a rule may use them only
            where they are constants.
    """

    table: DependencyTable
    func: torch._ops.OpOverload
    arguments: dict[str, Any]
    outs: list[Tensor]

    def __getitem__(self, name: str) -> Any:
        if name not in self.arguments:
            raise Untraceable(f"its rule looks for an argument {name!r}; this form has {', '.join(self.arguments)}")
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument that not every overload has."""
        return self.arguments.get(name, default)

    def operand(self, name: str) -> Operand:
        """Return what is known of a tensor argument, or of a number."""
        return self.table.operand(self[name])

    def put(self, dep: Tensor | None, kind: Tensor | int = UNKNOWN, out: int = 0) -> None:
        """Write what result number ``out`` depends on, ``(width, *shape)`` or None, and what is known of its numbers.

        The default, UNKNOWN, is always safe: KNOWN is for constants, which a mask or an index can be made of.
        """
        self.table.set(self.outs[out], dep, kind)

    def tensors(self) -> list[Tensor]:
        """Return all tensor arguments, those in lists too."""
        return [t for value in self.arguments.values() for t in listed(value) if isinstance(t, Tensor)]

    def forbid(self, *names: str) -> None:
        """Refuse arguments that depend on the input where the rule takes them for constants."""
        for name in names:
            for value in listed(self.arguments.get(name)):
                if isinstance(value, Tensor) and self.table.dep(value) is not None:
                    raise Untraceable(f"its argument {name!r} depends on the input")


def listed(value: Any) -> list[Any]:
    """Return the elements of a list or tuple, or a list of the one value."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


RULES: dict[str, Callable[[Call], None]] = {}


def rule(*names: str) -> Callable[[Callable[[Call], None]], Callable[[Call], None]]:
    """Register a rule for these ATen operations; their forms in place share it."""

    def register(function: Callable[[Call], None]) -> Callable[[Call], None]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


VANISHES = {torch.float64: 746.0, torch.float32: 104.0, torch.float16: 18.0, torch.bfloat16: 104.0}
"""How far below 0 an exponential is exactly 0."""


def broadcast(dep: Tensor | None, shape: torch.Size) -> Tensor | None:
    """Expand ``(width, *small)`` to ``(width, *shape)``, aligned from the right as numbers are."""
    if dep is None:
        return None
    missing = len(shape) - (dep.dim() - 1)
    return dep.reshape(dep.shape[0], *(1,) * missing, *dep.shape[1:]).expand(dep.shape[0], *shape)


def union(*deps: Tensor | None) -> Tensor | None:
    """Return the union of what several operands depend on; None where none depends on anything."""
    present = [dep for dep in deps if dep is not None]
    if not present:
        return None
    out = present[0].clone() if len(present) > 1 else present[0]
    for dep in present[1:]:
        out |= dep
    return out


def sunk(scores: Operand, axes: int | list[int] | None = None) -> Tensor:
    """Say which scores a finite mask pushed so far below the others that nothing of them is left in a softmax.

    A mask of −1e4 hides scores around 1, not scores around 1e4. So it counts only where what it leaves lies below the
    highest score along ``axes`` by six times the largest of all scores that are not masked, and by enough for an
    exponential to be exactly 0. Without ``axes`` it must lie that far below 0.
    """
    masked, value = scores.masks(), scores.value
    if not value.is_floating_point() or not bool(masked.any()):
        return masked & False
    free = value[~masked & (value > value[masked].max())].abs()  # a choice by data may have masked some more
    margin = 6 * float(free.max()) if len(free) else 0.0
    top = value.new_zeros(()) if axes is None else value.masked_fill(masked, -torch.inf).amax(axes, keepdim=True)
    return masked & (value < top - max(margin, 1.1 * VANISHES[value.dtype]))


def drop(dep: Tensor | None, dropped: Tensor, table: DependencyTable) -> Tensor | None:
    """Remove the dependencies of the ``dropped`` elements; marks of padding stay."""
    if dep is None:
        return None
    if not dropped.any():
        return dep
    out = dep & ~dropped
    out[table.cells :] = dep[table.cells :]
    return out


def moved_dep(call: Call, deps: Mapping[str, Tensor | None], **fixed: Any) -> Tensor | None:
    """Run an operation on zeros and ones in the place of these arguments, one row for each cell, to see what arrives.

    Args:
        call: the operation. It may only move, copy or add up elements.
        deps: the dependencies of the arguments whose elements move, or None.
        **fixed: other arguments, under which no one is lost.

    Returns:
        What each element of the first result depends on; None where nothing does.
    """
    # Some operations want all their arguments in one dtype.
    others = [v for n, v in call.arguments.items() if n not in deps and isinstance(v, Tensor)]
    dtype = next((t.dtype for t in others if t.is_floating_point()), torch.float32)
    blank = {n: torch.zeros(call[n].shape, dtype=dtype) for n in deps}

    def run(rows: dict[str, Tensor]) -> Tensor:
        copies = {n: row.to(dtype, copy=True) for n, row in (blank | rows).items()}  # some write in place
        result = call.func(**call.arguments | fixed | copies)
        return (result[0] if isinstance(result, (tuple, list)) else result) != 0

    given = {n: dep for n, dep in deps.items() if dep is not None}
    if not given:
        return None
    rows = next(iter(given.values())).shape[0]
    out = torch.zeros(rows, *call.outs[0].shape, dtype=torch.bool)
    present = torch.stack([dep.flatten(1).any(1) for dep in given.values()]).any(0)
    for i in present.nonzero().flatten().tolist():
        out[i] = run({n: dep[i] for n, dep in given.items()})
    return out


def moved(call: Call, name: str = "self", also: Sequence[str] = (), **fixed: Any) -> None:
    """Write what arrives where, for operations that only move, copy or add up elements.

    ``name`` is the argument whose elements move, ``also`` names other arguments whose elements are written; everything
    else must be constant. ``fixed`` replaces arguments under which a one would not arrive.
    """
    call.forbid(*(n for n in call.arguments if n != name and n not in also))
    operands = {n: call.operand(n) for n in (name, *also)}
    kind = torch.full(call.outs[0].shape, KNOWN, dtype=torch.uint8)
    for what in (MASKED, UNKNOWN):  # where both arrive, nothing is known
        rows = {n: (o.kind == what).expand(o.value.shape)[None] for n, o in operands.items()}
        if any(bool(row.any()) for row in rows.values()) and (found := moved_dep(call, rows, **fixed)) is not None:
            kind[found[0]] = what
    call.put(moved_dep(call, {n: o.dep for n, o in operands.items()}, **fixed), kind)
