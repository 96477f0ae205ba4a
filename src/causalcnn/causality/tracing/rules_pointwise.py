"""How dependencies pass through operations that act element by element."""

from __future__ import annotations

import torch

from causalcnn.causality.tracing.rules import Call, Untraceable, broadcast, drop, rule, union
from causalcnn.causality.tracing.table import KNOWN, MASKED, UNKNOWN, Operand

__all__ = ["elementwise"]


def elementwise(call: Call) -> None:
    """Unite what the operands depend on, element by element; the result is known where all of them are."""
    operands = [call.table.operand(tensor) for tensor in call.tensors()]
    for i, out in enumerate(call.outs):
        dep = union(*(broadcast(o.dep, out.shape) for o in operands))
        if any(o.blank for o in operands):
            call.put(dep, UNKNOWN, i)
            continue
        known = torch.ones(out.shape, dtype=torch.bool)
        for operand in operands:
            known = known & operand.known
        call.put(dep, torch.where(known, KNOWN, UNKNOWN).to(torch.uint8), i)


rule("_prelu_kernel", "complex", "polar", "log_sigmoid_forward", "rrelu_with_noise")(elementwise)
rule("native_dropout", "frexp", "bucketize")(elementwise)


@rule("glu")
def glu(call: Call) -> None:
    """One half of an axis gates the other: an element reads both."""
    x = call.operand("self")
    if x.dep is None:
        call.put(None)
        return
    a, b = x.dep.chunk(2, call["dim"] % x.value.dim() + 1)
    call.put(a | b)


@rule("clone", "_to_copy", "copy_", "copy", "contiguous", "alias_copy", "lift_fresh_copy", "detach_copy", "positive")
def copy(call: Call) -> None:
    """A copy keeps everything that is known."""
    source = call.operand("src" if "src" in call.arguments else "self")
    shape = call.outs[0].shape
    call.put(broadcast(source.dep, shape), source.kind.expand(shape))


@rule("mul", "div", "bitwise_and", "logical_and")
def mul(call: Call) -> None:
    """What is multiplied by a constant zero is not read: masked kernels, closed attention."""
    a, b = call.operand("self"), call.operand("other")
    shape = call.outs[0].shape
    if a.blank and b.blank:  # the common case, made fast
        call.put(union(broadcast(a.dep, shape), broadcast(b.dep, shape)))
        return
    divides = call.func._schema.name.startswith("aten::div")
    never = torch.zeros((), dtype=torch.bool)
    zero_b = never if divides else b.zero
    dep = union(
        drop(broadcast(a.dep, shape), zero_b.expand(shape), call.table),
        drop(broadcast(b.dep, shape), a.zero.expand(shape), call.table),
    )
    known = (a.known & b.known) | a.zero | zero_b
    call.put(dep, torch.where(known.expand(shape), KNOWN, UNKNOWN).to(torch.uint8))


@rule("add", "sub")
def add(call: Call) -> None:
    """What is added to a constant −∞ is not read; what is added to a mask value is pushed down."""
    a, b = call.operand("self"), call.operand("other")
    shape = call.outs[0].shape
    sign = -1 if call.func._schema.name.startswith("aten::sub") else 1
    sign = -sign if isinstance(call.get("alpha", 1), (int, float)) and call.get("alpha", 1) < 0 else sign
    if a.blank and b.blank:  # the common case, made fast
        call.put(union(broadcast(a.dep, shape), broadcast(b.dep, shape)))
        return
    dep = union(
        drop(broadcast(a.dep, shape), b.infinite.expand(shape), call.table),
        drop(broadcast(b.dep, shape), a.infinite.expand(shape), call.table),
    )
    known = ((a.known & b.known) | a.infinite | b.infinite).expand(shape)
    masked = (a.masks() | b.masks(sign)).expand(shape)
    kind = torch.where(known, KNOWN, torch.where(masked, MASKED, UNKNOWN))
    call.put(dep, kind.to(torch.uint8))


def _choose(call: Call, condition: Operand, yes: Operand, no: Operand) -> None:
    """A choice by a constant reads the chosen side only; a choice by data reads both sides and the data."""
    shape = call.outs[0].shape
    if condition.dep is None and condition.known.all():
        picked = condition.value.bool().expand(shape)
        a, b = broadcast(yes.dep, shape), broadcast(no.dep, shape)
        none = torch.zeros((), dtype=torch.bool)
        dep = (
            None if a is None and b is None else torch.where(picked, none if a is None else a, none if b is None else b)
        )
        call.put(dep, torch.where(picked, yes.kind.expand(shape), no.kind.expand(shape)))
    else:
        call.put(union(*(broadcast(o.dep, shape) for o in (condition, yes, no))))


@rule("where")
def where(call: Call) -> None:
    """``where(condition, self, other)`` is a choice."""
    if "self" not in call.arguments:
        raise Untraceable("where(condition) returns as many indices as the data say")
    _choose(call, call.operand("condition"), call.operand("self"), call.operand("other"))


@rule("masked_fill")
def masked_fill(call: Call) -> None:
    """``masked_fill(self, mask, value)`` is a choice."""
    _choose(call, call.operand("mask"), call.operand("value"), call.operand("self"))


@rule("fill", "zero", "fill_", "zero_")
def fill(call: Call) -> None:
    """A tensor that is overwritten with one value depends on this value alone."""
    value = call.operand("value") if "value" in call.arguments else call.table.operand(0)
    shape = call.outs[0].shape
    call.put(broadcast(value.dep, shape), value.kind.expand(shape))


@rule("bernoulli_", "uniform_", "normal_", "exponential_", "random_", "rand_like", "randn_like", "randint_like")
def random(call: Call) -> None:
    """Random numbers read nothing, and nothing is known of them."""
    call.put(None)
