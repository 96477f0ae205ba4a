"""Intercept every operation of a running network: apply its rule to the dependency table, refuse what has none.

:class:`Tracer` is the dispatch mode. For one operation it

1. refuses a decision that depends on data or weights (``DECIDES``), tensors of unknown origin, and operators that are
   not PyTorch's own (``aten``): what they read is unknown, whatever their name;
2. runs the operation, so that its results exist;
3. returns at once if they are views, through which the table looks;
4. calls the rule: the one registered for the name; for a form in place (``relu_``) the one of the name without the
   underscore; else, for what torch tags as pointwise, the rule for elementwise operations.

An operation reads every tensor argument, unless its rule says less. Where no argument depends on the input, no rule is
needed: the results are constants if the arguments are (``KNOWN``), else unknown numbers. The rules of pointwise
operations and of those in ``CONSTANT_RULES`` run all the same, because masks and filters are made with them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from causalcnn.causality.limits import check_time
from causalcnn.causality.numerics import mkldnn
from causalcnn.causality.tracing import (  # noqa: F401  (they register their rules)
    rules_fft,
    rules_index,
    rules_linear,
    rules_shape,
)
from causalcnn.causality.tracing.rules import RULES, Call, Untraceable
from causalcnn.causality.tracing.rules_pointwise import elementwise
from causalcnn.causality.tracing.table import KNOWN, UNKNOWN, DependencyTable

__all__ = ["CannotTrace", "Guard", "RuleFault", "Tracer", "plain_kernels"]

DECIDES = {
    "_local_scalar_dense", "nonzero", "nonzero_static", "masked_select", "masked_scatter", "unique_dim", "_unique2",
    "unique_consecutive", "equal", "is_nonzero", "allclose", "bincount", "histc", "repeat_interleave", "_assert_async",
}  # fmt: skip
"""Operations whose shape or Python value comes from the numbers."""

METADATA = {"transpose_", "t_", "squeeze_", "unsqueeze_", "detach_", "swapaxes_", "swapdims_", "as_strided_"}
"""Operations in place that change only shape and strides, through which the table looks anyway."""

TEMPLATES = {
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_empty", "new_empty_strided",
    "new_full", "new_ones", "new_zeros",
}  # fmt: skip
"""Operations that read only the shape of their argument."""

UNDEFINED = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"}
"""Operations whose results are not initialised."""

WRITES_KNOWN = {"native_batch_norm", "_native_batch_norm_legit"}
"""Operations that write into arguments which they do not return; their rules record it."""

ESCAPES = {
    "Tensor.numpy", "Tensor.tolist", "Tensor.__array__", "Tensor.__dlpack__", "Tensor.data_ptr", "Tensor.storage",
    "Tensor.untyped_storage", "Tensor._typed_storage", "Tensor.__deepcopy__", "Tensor.__reduce_ex__",
}  # fmt: skip


COMPARES = {"lt", "le", "gt", "ge", "eq", "ne", "clamp", "clamp_min", "clamp_max", "tril", "triu"}
"""Operations whose numbers say, where they meet a constant, where a mask or an index changes."""

COUNTS = {"add", "sub", "rsub", "mul", "div", "floor_divide", "remainder", "fmod", "bitwise_and"}
"""Those of which the same is true where the constant is whole: a number of a frame."""


class CannotTrace(RuntimeError):
    """The dependencies of this network cannot be followed. The message names the operation and the submodule."""


class RuleFault(BaseException):
    """A rule failed, where ``CAUSALCNN_RULES_RAISE`` asks for it: in tests, so that nobody takes it for an answer."""


RAISES = "CAUSALCNN_RULES_RAISE"


class Guard(TorchFunctionMode):
    """Refuse functions by which numbers leave torch (``numpy()``, ``tolist()``): they could no longer be followed."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = resolve_name(func) or getattr(func, "__qualname__", "")
        short = ".".join(name.split(".")[-2:])
        if self.tracer.paused:
            return func(*args, **kwargs)
        if short in ESCAPES and args and isinstance(args[0], Tensor):
            with _disable_current_modes():
                known = self.tracer.table.knows(args[0])
                if known and not bool((self.tracer.table.kind(args[0]) == KNOWN).all()):
                    self.tracer.refuse(short, "its numbers leave torch")
        if short in ("shape.__get__", "Tensor.size"):
            size = func(*args, **kwargs)
            notes = self.tracer.table.landmarks
            return notes.sizes(size) if isinstance(size, torch.Size) else notes.size(size)
        if func is torch.nn.functional.scaled_dot_product_attention:
            with sdpa_kernel(SDPBackend.MATH):  # whatever the network asks for
                return func(*args, **kwargs)
        if name.endswith("one_hot") and len(args) + len(kwargs) > 1:
            index, classes = args[0], args[1] if len(args) > 1 else kwargs["num_classes"]
            return (index.unsqueeze(-1) == torch.arange(classes)).long()  # without torch's look at the numbers
        return func(*args, **kwargs)


class Tracer(TorchDispatchMode):
    """Record every ATen operation of a run in the table, and keep the path of the submodules that are running.

    ``stack`` holds that path, one entry ``(qualified name, class, operations)`` for each submodule; ``short`` says that
    a slice reached beyond the example.
    """

    supports_higher_order_operators = True  # so that they are refused by name

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else every operation passes torch._dynamo, whose import alone takes seconds

    def __init__(self, table: DependencyTable) -> None:
        super().__init__()
        self.table = table
        self.stack: list[tuple[str, str, list[str]]] = [("", "network", [])]
        self.count = 0
        self.short = False
        self.paused = False
        self.refused: CannotTrace | None = None  # also where the network caught it and went on
        self.written: set[int] = set()  # the storages that operations wrote

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Do not record the operations inside: they work on the table itself."""
        self.paused = True
        try:
            with _disable_current_modes():
                yield
        finally:
            self.paused = False

    def refuse(self, operation: str, why: str) -> None:
        """Raise :class:`CannotTrace`, naming the operation and the submodule that runs."""
        name, kind, _ = self.stack[-1]
        where = f"{name or 'the network itself'} ({kind})"
        self.refused = CannotTrace(f"cannot follow {operation} in {where}: {why}")
        raise self.refused

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        check_time()
        with torch._C.DisableTorchFunction():  # from TorchScript an operation comes with the guard still on
            return self._follow(func, args, kwargs or {})

    def _follow(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        if not isinstance(func, torch._ops.OpOverload):
            self.refuse(str(func), "an operator of higher order, which runs functions of its own")
        schema = func._schema
        namespace, _, name = schema.name.partition("::")
        name = name if namespace == "aten" else schema.name  # an operator of somebody else is none of ours
        inputs = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        for tensor in inputs:
            self._check_origin(tensor, name)
        self.stack[-1][2].append(name)
        deps = [self.table.depends(tensor) for tensor in inputs]
        depends = any(deps)
        self._check_decision(name, inputs, depends)
        bound = _bind(schema, args, kwargs)
        if name == "slice" and depends:
            length, ends = bound["self"].shape[bound["dim"]], (bound["start"] or 0, bound["end"] or 0)
            self.short |= ends[0] > length or min(ends) < -length
        elif name == "slice" and isinstance(bound["end"], int) and bound["end"] < bound["self"].shape[bound["dim"]]:
            self.table.landmarks.slice(bound["self"], bound["dim"] % bound["self"].dim())
        elif inputs and not depends and not inputs[0].is_complex():
            base, whole = name.rstrip("_"), not inputs[0].is_floating_point()
            if base in COMPARES or (base in COUNTS and whole):
                for value in bound.values():
                    self.table.landmarks.constant(value, inputs[0])
        written = {a.name: bound.get(a.name) for a in schema.arguments if _is_written(a)}
        self.table.before = {id(t): t.clone() for t in written.values() if isinstance(t, Tensor)}
        changed = inputs if name in WRITES_KNOWN else pytree.tree_leaves(list(written.values()))
        self.written |= {t.untyped_storage()._cdata for t in changed if isinstance(t, Tensor)}
        result = func(*args, **kwargs)
        outs = [o for o in pytree.tree_leaves(result) if isinstance(o, Tensor)]
        self._check_written(name, written, outs)
        is_view = not self.table.before or name in METADATA
        if not outs or (is_view and all(self.table.knows(o) for o in outs)):
            return result  # the table looks through views
        try:
            self._apply(Call(self.table, func, bound, outs), name, inputs, depends)
        except Untraceable as problem:
            self.refuse(_full_name(name), str(problem))
        except Exception as error:
            if os.environ.get(RAISES):
                raise RuleFault(f"the rule of {_full_name(name)} fails") from error
            self.refuse(_full_name(name), f"its rule fails ({type(error).__name__}: {error})")
        self.table.before = {}
        self.count += 1
        if self.count % 32 == 0:
            self.table.collect()
        return result

    def _check_decision(self, name: str, inputs: list[Tensor], depends: bool) -> None:
        if name in DECIDES and not all(bool((self.table.kind(t) == KNOWN).all()) for t in inputs):
            why = "a decision or a shape depends on the data" if depends else "a decision depends on the weights"
            self.refuse(_full_name(name), why)

    def _check_written(self, name: str, written: dict[str, Any], outs: list[Tensor]) -> None:
        if name in WRITES_KNOWN:
            return
        returned = {o.untyped_storage()._cdata for o in outs}
        for argument, value in written.items():
            for tensor in pytree.tree_leaves(value):
                if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in returned:
                    self.refuse(_full_name(name), f"it writes into its argument {argument!r} and does not return it")

    def _check_origin(self, tensor: Tensor, name: str) -> None:
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            self.refuse(
                _full_name(name), f"a {tensor.layout} tensor on {tensor.device.type}; move the network to the CPU"
            )
        if not self.table.knows(tensor):
            wrapped = tensor.dim() == 0 and not tensor.requires_grad  # a number in a TorchScript function
            if not (name.startswith("lift") or wrapped):
                self.refuse(_full_name(name), "a tensor of unknown origin (made outside of torch, or by a global)")
            self.table.register(tensor, KNOWN)

    def _apply(self, call: Call, name: str, inputs: list[Tensor], depends: bool) -> None:
        base = name if name in RULES or not name.endswith("_") else name[:-1]
        signals = rules_fft.signals_of(call) if any(t.is_complex() for t in inputs) else {}
        self._apply_rule(call, name, base, inputs, depends)
        if signals:
            rules_fft.propagate_signals(call, base, signals)

    def _apply_rule(self, call: Call, name: str, base: str, inputs: list[Tensor], depends: bool) -> None:
        """Apply the rule of this operation, or the elementwise one; none is needed if nothing depends on the input."""
        if base in RULES:
            if depends or base in CONSTANT_RULES:
                RULES[base](call)
                return
        elif torch.Tag.pointwise in call.func.tags and "::" not in name:
            elementwise(call)
            return
        elif depends and name not in TEMPLATES:
            foreign = "::" in name
            raise Untraceable("it is not an operator of PyTorch" if foreign else "there is no rule for this operation")
        is_random = torch.Tag.nondeterministic_seeded in call.func.tags
        writes = name not in ("arange", "resize_") and any(map(_is_written, call.func._schema.arguments))
        from_constants = name in TEMPLATES or all(bool((self.table.kind(t) == KNOWN).all()) for t in inputs)
        known = from_constants and not (is_random or writes or name in UNDEFINED or "::" in name)
        for i in range(len(call.outs)):
            call.put(None, KNOWN if known else UNKNOWN, i)


CONSTANT_RULES = {
    "clone", "_to_copy", "copy_", "copy", "contiguous", "mul", "div", "add", "sub", "where", "masked_fill", "fill",
    "zero", "fill_", "zero_", "bitwise_and", "logical_and", "cat", "stack", "constant_pad_nd", "softmax", "_softmax",
    "_safe_softmax", "log_softmax", "_log_softmax", "tril", "triu", "flip", "roll", "repeat", "index_select",
    "native_dropout", "_fft_r2c", "_fft_c2c",
}  # fmt: skip
"""Operations whose rule also runs where nothing depends on the input: masks and spectra of filters are made so."""


def _full_name(name: str) -> str:
    return name.replace("::", ".") if "::" in name else f"aten.{name}"


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _bind(schema: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Return the arguments by name, with the defaults of the schema."""
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
def not_compiled() -> Iterator[None]:
    """Run what ``torch.compile`` made as it was written: else what looks on would be compiled along."""
    if "torch._dynamo" not in sys.modules:  # then nothing is compiled, and its import takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """Switch fused kernels off, so that every step shows as an operation of its own."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with mkldnn(False), sdpa_kernel(SDPBackend.MATH), torch.jit.optimized_execution(False), not_compiled():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
