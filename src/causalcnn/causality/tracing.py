"""Run a network once and follow, operation by operation, which input cells each output depends on.

Weights do not count: a parameter is an unknown number, so a kernel that happens to be zero is still read. Constants
do: a mask of zeros, an attention mask of −∞. A buffer counts as a constant unless it is all zeros.

Nothing is guessed. An operation without a rule, a decision that depends on data or on weights, numbers that leave
torch: each raises :class:`CannotTrace`, naming the operation and the submodule.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from causalcnn.causality import rules_linear, rules_shape  # noqa: F401  (they register their rules)
from causalcnn.causality.dependence import KNOWN, UNKNOWN, Ledger
from causalcnn.causality.rules import RULES, Call, Untraceable, elementwise

__all__ = ["CannotTrace", "Trace", "Visit", "trace"]

DECIDES = set(
    "_local_scalar_dense nonzero nonzero_static masked_select masked_scatter unique_dim _unique2 unique_consecutive "
    "equal is_nonzero allclose isclose_all bincount histc repeat_interleave _assert_async".split()
)
"""Operations whose shape or Python value comes from the numbers."""

METADATA = set("transpose_ t_ squeeze_ unsqueeze_ detach_ swapaxes_ swapdims_ as_strided_".split())
"""Written in place, but only into the strides, through which the ledger looks anyway."""

UNDEFINED = set("empty empty_like new_empty empty_strided new_empty_strided empty_permuted".split())
ESCAPES = {
    "Tensor.numpy", "Tensor.tolist", "Tensor.__array__", "Tensor.__dlpack__", "Tensor.data_ptr", "Tensor.storage",
    "Tensor.untyped_storage", "Tensor._typed_storage", "Tensor.__deepcopy__", "Tensor.__reduce_ex__",
}  # fmt: skip


class CannotTrace(RuntimeError):
    """The dependencies of this network cannot be followed; the message names the operation and the submodule."""


@dataclass(frozen=True)
class Visit:
    """One call of a submodule: its qualified name, its type, and how far its input and output look ahead.

    ``first``, ``last``: for each index along the time axis of the output, the first and the last input frame that
    it depends on (−1 where none); None where the output has no time axis of its own.
    """

    name: str
    kind: str
    operations: tuple[str, ...]
    first: tuple[int, ...] | None
    last: tuple[int, ...] | None


@dataclass(frozen=True)
class Trace:
    """What one run of a network read: exact sets for the frames of the example.

    ``reads`` is ``(time', frequency', cells)``, and the marks are ``(time', frequency')``: whether an output was
    computed from padding before the start (``low``), behind the end (``high``), or beside the frequencies (``side``).
    """

    reads: Tensor
    low: Tensor
    high: Tensor
    side: Tensor
    shape: tuple[int, int, int]
    joint: bool
    visits: tuple[Visit, ...] = field(default=(), repr=False)
    rows_mix: bool = False

    @property
    def frames(self) -> tuple[int, int]:
        """Frames of the input and of the output."""
        return self.shape[1], self.reads.shape[0]

    def inputs_of(self, output: int | tuple[int, int]) -> frozenset:
        """The input frames (or cells) that an output depends on, within the example."""
        t, f = output if isinstance(output, tuple) else (output, None)
        row = self.reads[t].any(0) if f is None else self.reads[t, f]
        cells = row.nonzero().flatten().tolist()
        wide = self.shape[2]
        if f is None or not self.joint:
            return frozenset(cell // wide for cell in cells)
        return frozenset((cell // wide, cell % wide) for cell in cells)

    def last_frames(self) -> list[int | None]:
        """For each output frame the last input frame that it depends on, or None."""
        times = self.reads.any(1).unflatten(1, (self.shape[1], self.shape[2])).any(2)
        return [max(row.nonzero().flatten().tolist(), default=None) for row in times]


class _Guard(TorchFunctionMode):
    """Numbers that leave torch can no longer be followed."""

    def __init__(self, tracer: _Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = resolve_name(func) or getattr(func, "__qualname__", "")
        short = ".".join(name.split(".")[-2:])
        if short in ESCAPES and args and isinstance(args[0], Tensor):
            with _disable_current_modes():
                known = self.tracer.ledger.knows(args[0])
                if known and not bool((self.tracer.ledger.kind(args[0]) == KNOWN).all()):
                    self.tracer.refuse(short, "its numbers leave torch")
        if name.endswith("one_hot") and len(args) + len(kwargs) > 1:
            index, classes = args[0], args[1] if len(args) > 1 else kwargs["num_classes"]
            return (index.unsqueeze(-1) == torch.arange(classes)).long()  # without torch's look at the numbers
        return func(*args, **kwargs)


class _Tracer(TorchDispatchMode):
    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.stack: list[tuple[str, str, list[str]]] = [("", "network", [])]
        self.count = 0

    def refuse(self, operation: str, why: str) -> None:
        name, kind, _ = self.stack[-1]
        where = f"{name or 'the network itself'} ({kind})"
        raise CannotTrace(
            f"cannot follow {operation} in {where}: {why}. What these weights read can still be measured: "
            "causalcnn.measure_field(module, example), or audit(module, example)."
        )

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        name = schema.name.partition("::")[2]
        inputs = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        for tensor in inputs:
            self._origin(tensor, name)
        for _, _, operations in self.stack:
            operations.append(name)
        deps = [self.ledger.dep(tensor) is not None for tensor in inputs]
        if name in DECIDES and not all(bool((self.ledger.kind(t) == KNOWN).all()) for t in inputs):
            why = "a decision or a shape depends on the data" if any(deps) else "a decision depends on the weights"
            self.refuse(f"aten.{name}", why)
        bound = _bind(schema, args, kwargs)
        self.ledger.before = {
            id(bound[a.name]): bound[a.name].clone()
            for a in schema.arguments
            if a.alias_info is not None and a.alias_info.is_write and isinstance(bound.get(a.name), Tensor)
        }
        result = func(*args, **kwargs)
        outs = [o for o in pytree.tree_leaves(result) if isinstance(o, Tensor)]
        if not outs:
            return result
        views = not self.ledger.before or name in METADATA
        if views and all(self.ledger.knows(o) for o in outs):
            return result  # a view: the ledger looks through it
        call = Call(self.ledger, func, bound, outs)
        try:
            self._apply(call, name, inputs, any(deps))
        except Untraceable as problem:
            self.refuse(f"aten.{name}", str(problem))
        self.ledger.before = {}
        self.count += 1
        if self.count % 32 == 0:
            self.ledger.sweep()
        return result

    def _origin(self, tensor: Tensor, name: str) -> None:
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            self.refuse(f"aten.{name}", f"a {tensor.layout} tensor on {tensor.device.type}; move the network to the CPU")
        if not self.ledger.knows(tensor):
            if not name.startswith("lift"):
                self.refuse(f"aten.{name}", "a tensor of unknown origin (made outside of torch, or by a global)")
            self.ledger.adopt(tensor, KNOWN)

    def _apply(self, call: Call, name: str, inputs: list[Tensor], depends: bool) -> None:
        written = [a for a in call.func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        base = name if name in RULES or not name.endswith("_") else name[:-1]
        if base in RULES:
            if depends or base not in _PLAIN_WITHOUT_INPUT:
                RULES[base](call)
                return
        elif torch.Tag.pointwise in call.func.tags:
            elementwise(call)
            return
        elif depends and not _is_template(name):
            raise Untraceable("there is no rule for this operation")
        kinds = [self.ledger.kind(t) for t in inputs]
        random = torch.Tag.nondeterministic_seeded in call.func.tags
        known = (_is_template(name) or all(bool((k == KNOWN).all()) for k in kinds)) and not random and name not in UNDEFINED
        if written and name not in ("arange", "resize_"):
            known = False
        for i in range(len(call.outs)):
            call.put(None, KNOWN if known else UNKNOWN, i)


_PLAIN_WITHOUT_INPUT = set(RULES) - set(
    "clone _to_copy copy_ copy contiguous mul div add sub where masked_fill fill zero fill_ zero_ bitwise_and "
    "logical_and cat stack constant_pad_nd softmax _softmax _safe_softmax tril triu flip roll repeat index_select "
    "bernoulli_ uniform_ normal_ exponential_ random_ rand_like randn_like randint_like native_dropout".split()
)
"""Rules that say nothing of use where no operand depends on the input."""


def _is_template(name: str) -> bool:
    """``zeros_like`` and its kin read the shape of their argument only."""
    return name.startswith("new_") or name.endswith("_like")


def _bind(schema: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Arguments by name, with the defaults of the schema."""
    bound: dict[str, Any] = {}
    for i, argument in enumerate(schema.arguments):
        if i < len(args) and not argument.kwarg_only:
            bound[argument.name] = args[i]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """No fused kernels and no other threads' settings: every step shows as an operation of its own."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        mkldnn = torch.backends.mkldnn.enabled
        torch._C._set_mkldnn_enabled(False)
        try:
            with sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            torch._C._set_mkldnn_enabled(mkldnn)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _own_tensors(value: Any, depth: int = 3) -> Iterator[Tensor]:
    """Tensors that a module keeps as plain attributes, also inside of lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, dict):
        for each in value.values():
            yield from _own_tensors(each, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for each in value:
            yield from _own_tensors(each, depth - 1)


def _enter_constants(ledger: Ledger, module: nn.Module) -> None:
    for parameter in module.parameters():
        ledger.adopt(parameter, UNKNOWN)
    for part in module.modules():
        for value in vars(part).values():
            for tensor in _own_tensors(value):
                if not ledger.knows(tensor):
                    blank = tensor.is_floating_point() and not bool(tensor.any())
                    ledger.adopt(tensor, UNKNOWN if blank or tensor.requires_grad else KNOWN)


def _spans(ledger: Ledger, tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """First and last input frame for each index along the time axis of a tensor; None where it has none."""
    dep = ledger.dep(tensor) if ledger.knows(tensor) else None
    if dep is None or tensor.dim() < 2:
        return None
    grid = dep[: ledger.cells].unflatten(0, ledger.shape).any(2).any(0)  # (times, *shape)
    best = None
    for axis in range(1, tensor.dim()):
        others = [d for d in range(1, grid.dim()) if d != axis + 1]
        times = grid.any(others) if others else grid  # (times, length)
        count = times.shape[0]
        some = times.any(0)
        first = torch.where(some, times.to(torch.uint8).argmax(0), torch.tensor(-1))
        last = torch.where(some, count - 1 - times.flip(0).to(torch.uint8).argmax(0), torch.tensor(-1))
        variety = len({(int(a), int(b)) for a, b in zip(first, last, strict=True)})
        if best is None or variety > best[0]:
            best = (variety, tuple(first.tolist()), tuple(last.tolist()), axis)
    if best is None:
        return None
    if best[0] == 1:  # nothing moves along any axis: time is where it always is, if it is there at all
        return None if tensor.dim() < 3 else (best[1], best[2])
    return best[1], best[2]


def trace(
    module: nn.Module,
    example: Tensor,
    *,
    time_axis: int = 2,
    rows: bool = False,
    visits: bool = False,
    edit: Callable[[int, str, Tensor, Ledger], None] | None = None,
) -> Trace:
    """Run a module once and return the exact sets that its outputs depend on.

    Args:
        module: any module whose first output has time on ``time_axis``. It runs as a copy, in the mode it is in.
        example: an input; small is good, 30 to 100 frames. Only its shape and dtype count.
        time_axis: where time is, in the input and in the output; frequency, if any, is axis 3.
        rows: whether to keep the rows of the batch apart, to see whether one reads another.
        visits: whether to note what every submodule returned; ``edit`` may rewrite the ledger at each.

    Raises:
        CannotTrace: an operation cannot be followed, or the output has no time axis.
    """
    twin = copy.deepcopy(module).to("cpu")
    batch = example.shape[0] if rows else 1
    frequencies = example.shape[3] if example.dim() > 3 and time_axis == 2 else 1
    x = example[:batch].detach().to("cpu").clone()
    ledger = Ledger(batch, x.shape[time_axis], frequencies)
    _enter_constants(ledger, twin)
    ledger.adopt_input(x, time_axis)
    tracer = _Tracer(ledger)
    noted: list[Visit] = []
    handles = _watch(twin, tracer, noted, edit) if visits else _name(twin, tracer)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), plain_kernels(), _Guard(tracer), tracer:
            y = twin(x)
    finally:
        for handle in handles:
            handle.remove()
    y = next((leaf for leaf in pytree.tree_leaves(y) if isinstance(leaf, Tensor)), None)
    if y is None or y.dim() <= time_axis:
        shape = None if y is None else tuple(y.shape)
        raise CannotTrace(f"the network returns {shape}: there is no time on axis {time_axis}, so no output frames")
    return _result(ledger, y, x, time_axis, tuple(noted), rows)


def _result(ledger: Ledger, y: Tensor, x: Tensor, time_axis: int, visits: tuple[Visit, ...], rows: bool) -> Trace:
    dep = ledger.dep(y) if ledger.knows(y) else None
    if dep is None:
        dep = torch.zeros(ledger.width, *y.shape, dtype=torch.bool)
    mix = False
    batch, times, frequencies = ledger.shape
    if rows and batch > 1:
        by_row = dep[: ledger.cells].unflatten(0, ledger.shape).flatten(1, 2).any(1)  # (rows, *shape)
        by_row = by_row.flatten(2).any(2)  # (rows read, rows written)
        mix = bool((by_row & ~torch.eye(batch, dtype=torch.bool)).any())
    joint = x.dim() > 3 and y.dim() > 3 and time_axis == 2
    keep = (time_axis + 1, 4) if joint else (time_axis + 1,)
    gone = [d for d in range(1, dep.dim()) if d not in keep]
    dep = dep.any(gone) if gone else dep
    dep = dep.unsqueeze(-1) if not joint else dep  # (width, time', frequency')
    cells = dep[: ledger.cells].unflatten(0, (batch, times * frequencies)).any(0)
    marks = [dep[m] for m in (ledger.LOW, ledger.HIGH, ledger.SIDE)]
    return Trace(cells.permute(1, 2, 0).contiguous(), *marks, (1, times, frequencies), joint, visits, mix)


def _name(module: nn.Module, tracer: _Tracer) -> list[Any]:
    return _watch(module, tracer, None, None)


def _watch(
    module: nn.Module, tracer: _Tracer, noted: list[Visit] | None, edit: Callable[[int, str, Tensor, Ledger], None] | None
) -> list[Any]:
    """Hooks that keep the path of running submodules, and note what each returns."""
    handles = []
    calls = [0]
    for name, part in module.named_modules():

        def enter(_: nn.Module, __: Any, name: str = name, part: nn.Module = part) -> None:
            tracer.stack.append((name, type(part).__name__, []))

        def leave(_: nn.Module, __: Any, output: Any, name: str = name, part: nn.Module = part) -> None:
            _, kind, operations = tracer.stack.pop()
            if noted is None:
                return
            first = next((leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)), None)
            with _disable_current_modes():
                spans = None if first is None else _spans(tracer.ledger, first)
                if edit is not None and first is not None:
                    edit(calls[0], name, first, tracer.ledger)
            noted.append(Visit(name, kind, tuple(operations), *(spans or (None, None))))
            calls[0] += 1

        handles.append(part.register_forward_pre_hook(enter))
        handles.append(part.register_forward_hook(leave))
    return handles


def ratio(trace_: Trace) -> Fraction:
    """Input frames per output frame, guessed from the lengths alone."""
    frames, outs = trace_.frames
    if outs >= frames:
        return Fraction(1, max(1, round(outs / frames)))
    return Fraction(max(1, round(frames / max(1, outs))))
