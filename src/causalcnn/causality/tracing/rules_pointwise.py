"""How dependencies pass through operations that act element by element."""

from __future__ import annotations

import torch
from torch import Tensor

from causalcnn.causality.tracing.rules import Call, Untraceable, broadcast, drop, listed, rule, sunk, union
from causalcnn.causality.tracing.table import KNOWN, MASKED, UNKNOWN, Operand, any_over

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
rule("native_dropout", "frexp", "floor_divide", "fake_quantize_per_tensor_affine_cachemask")(elementwise)
rule("_fake_quantize_per_tensor_affine_cachemask_tensor_qparams")(elementwise)


@rule("fake_quantize_per_channel_affine_cachemask")
def fake_quantize(call: Call) -> None:
    """Each number is rounded to the grid of its channel, which may be computed."""
    shape, axis = call.outs[0].shape, call["axis"]
    deps = [call.operand("self").dep]
    for name in ("scale", "zero_point"):
        if (dep := call.operand(name).dep) is not None:
            deps.append(broadcast(dep.unflatten(1, (-1, *(1,) * (len(shape) - axis - 1))), shape))
    for i in range(len(call.outs)):
        call.put(union(*deps), out=i)


@rule("mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "binary_cross_entropy", "nll_loss_forward")
def loss(call: Call) -> None:
    """A loss reads its arguments element by element, and all of them where it is reduced to one number."""
    deps = [d for t in call.tensors() if (d := call.table.dep(t)) is not None]
    for i, out in enumerate(call.outs):
        if call["reduction"] == 0 and "nll" not in call.func._schema.name:
            call.put(union(*(broadcast(dep, out.shape) for dep in deps)), out=i)
        else:
            wholes = (dep.flatten(1).any(1).view(-1, *(1,) * out.dim()) for dep in deps)
            call.put(union(*(whole.expand(whole.shape[0], *out.shape) for whole in wholes)), out=i)


@rule("bucketize", "searchsorted")
def bucketize(call: Call) -> None:
    """A place among boundaries reads its own number, and all boundaries of its row where these are computed."""
    shape = call.outs[0].shape
    deps = [broadcast(call.operand("self").dep, shape)]
    for name in ("boundaries", "sorted_sequence", "sorter"):
        if call.get(name) is not None and (dep := call.operand(name).dep) is not None:
            deps.append(broadcast(any_over(dep, -1, keepdim=True), shape))
    call.put(union(*deps))


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
    for mine, other in ((a, b), (b, a)):
        if mine.dep is not None and other.value.dim() >= 2:
            call.table.landmarks.window(other.zero)
    never = torch.zeros((), dtype=torch.bool)
    zero_b = never if divides else b.zero
    dep = union(
        drop(broadcast(a.dep, shape), zero_b.expand(shape), call.table),
        drop(broadcast(b.dep, shape), a.zero.expand(shape), call.table),
    )
    known = (a.known & b.known) | a.zero | zero_b
    # A score under a mask may be scaled; by how much the mask still weighs is seen where the softmax is taken.
    masked = (a.kind == MASKED) & b.positive
    masked = masked if divides else masked | (b.kind == MASKED) & a.positive
    kind = torch.where(known, KNOWN, torch.where(masked, MASKED, UNKNOWN)).to(torch.uint8)
    call.put(dep, kind.expand(shape))


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


@rule("exp", "sigmoid")
def vanish(call: Call) -> None:
    """Of a score that a mask pushed far enough down nothing is left."""
    x = call.operand("self")
    if x.blank or not bool((x.kind == MASKED).any()):
        elementwise(call)
        return
    gone = sunk(x) & (call.outs[0] == 0)
    dep = None if x.dep is None else x.dep & ~gone
    call.put(dep, torch.where(gone | x.known, KNOWN, UNKNOWN).to(torch.uint8))


@rule("maximum", "clamp", "clamp_min")
def at_least(call: Call) -> None:
    """A score under a mask stays there where the bound is as far down: ``maximum(scores, finfo.min)``."""
    x = call.operand("self")
    elementwise(call)
    name = next(n for n in ("other", "min") if n in call.arguments)
    if (x.kind == MASKED).any() and call[name] is not None and call.get("max") is None:
        low = ((x.kind == MASKED) & call.operand(name).masks()).expand(call.outs[0].shape)
        call.put(call.table.dep(call.outs[0]), torch.where(low, MASKED, call.table.kind(call.outs[0])))


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
        dep = union(*(broadcast(o.dep, shape) for o in (condition, yes, no)))
        both = torch.zeros((), dtype=torch.bool) if yes.blank or no.blank else yes.masks() & no.masks()
        call.put(dep, torch.where(both, MASKED, UNKNOWN).to(torch.uint8).expand(shape))


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


# ---------------------------------------------------------------------- random numbers
def _drawn(call: Call, *templates: str) -> None:
    """Random numbers read, element by element, what they are drawn by; ``templates`` only lend their shape."""
    shape = call.outs[0].shape
    by = [t for name, value in call.arguments.items() if name not in templates for t in listed(value)]
    call.put(union(*(broadcast(call.table.dep(t), shape) for t in by if isinstance(t, Tensor))))


@rule("bernoulli_", "uniform", "normal_", "exponential", "geometric", "cauchy", "log_normal", "random", "randint_like")
def overwrite(call: Call) -> None:
    """Random numbers in the place of others; a probability or an upper bound may be data, and is read."""
    _drawn(call, "self")


@rule("bernoulli", "normal", "poisson", "binomial", "_standard_gamma")
def draw(call: Call) -> None:
    """Random numbers by a probability, a mean or a rate that may be data."""
    _drawn(call, *(["self"] if call.func._overloadname in ("p", "Tensor") else []))


@rule("multinomial", "_sample_dirichlet")
def draw_from_row(call: Call) -> None:
    """Random indices, or shares, by the weights of a whole row."""
    dep = call.operand("self").dep
    call.put(None if dep is None else any_over(dep, -1, keepdim=True).expand(dep.shape[0], *call.outs[0].shape))
