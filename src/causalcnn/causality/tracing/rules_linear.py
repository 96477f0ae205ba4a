"""How dependencies pass through convolutions, pools and products of matrices.

What they read does not depend on the numbers of a kernel. So the kernel is replaced by ones, with zeros only where it
is a constant zero, and the same operation on dependencies (zeros and ones) shows what is touched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from causalcnn.causality.tracing.rules import Call, broadcast, drop, rule, union
from causalcnn.causality.tracing.table import KNOWN, MASKED, UNKNOWN, DependencyTable, Operand, any_over

__all__: list[str] = []

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _per_axis(value: int | Sequence[int], axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def _slide(dep: Tensor, kernel: Tensor, groups: int, table: DependencyTable, **options: Any) -> Tensor:
    """Move a kernel of zeros and ones over ``(width, batch, channels, *space)`` to see what each output touches."""
    axes = kernel.dim() - 2
    transposed = options.pop("transposed", False)
    batch, channels = dep.shape[1:3]
    outs = kernel.shape[1] * groups if transposed else kernel.shape[0]
    whole = bool(kernel.all())
    if whole:  # every output of a group reads every channel of it: one channel a group is enough
        dep = any_over(dep.unflatten(2, (groups, channels // groups)), 3)
        kernel = kernel.new_ones(groups, 1, *kernel.shape[2:])
    move = (TRANSPOSED if transposed else CONV)[axes]

    def one(part: Tensor) -> Tensor:
        y = move(part.flatten(0, 1), kernel, None, groups=groups, **options)
        return y.unflatten(0, (part.shape[0], batch))

    out = table.in_chunks(one, dep)
    return out.repeat_interleave(outs // groups, dim=2) if whole else out


@rule("convolution", "_convolution", "mkldnn_convolution", "convolution_overrideable")
def convolution(call: Call) -> None:
    """Convolutions of every kind: strided, dilated, grouped, transposed. Taps on padding leave a mark."""
    x, w, table = call.operand("input"), call.operand("weight"), call.table
    axes = w.value.dim() - 2
    stride, padding, dilation = (_per_axis(call[name], axes) for name in ("stride", "padding", "dilation"))
    groups, space = call["groups"], call.outs[0].shape[2:]
    kernel = w.value.shape[2:]
    dep = None
    if x.dep is not None:
        nonzero = (~w.zero).float()
        if call.get("transposed", False):
            # Frames that do not exist lie on both sides: enough of them that every tap finds one.
            more = [math.ceil((k - 1) * d / s) + 1 for k, d, s in zip(kernel, dilation, stride, strict=True)]
            dep = table.pad(
                x.dep, [(m, m + p) for m, p in zip(more, _per_axis(call["output_padding"], axes), strict=True)]
            )
            dep = _slide(dep, nonzero, groups, table, transposed=True, stride=stride, dilation=dilation)
            for i, (m, s, p) in enumerate(zip(more, stride, padding, strict=True)):
                dep = dep.narrow(3 + i, m * s + p, space[i])
        else:
            dep = table.pad(x.dep, [(p, p) for p in padding])
            dep = _slide(dep, nonzero, groups, table, stride=stride, dilation=dilation)
    shape = call.outs[0].shape
    if w.dep is not None:  # a kernel that is itself computed from the input
        everything = w.dep.flatten(1).any(1).view(-1, *(1,) * len(shape)).expand(w.dep.shape[0], *shape)
        dep = union(dep, everything)
    if call.get("bias") is not None and (bias := call.operand("bias").dep) is not None:
        dep = union(dep, bias.view(bias.shape[0], 1, -1, *(1,) * axes).expand(bias.shape[0], *shape))
    call.put(dep)


@rule("max_pool1d", "max_pool2d", "max_pool3d", "max_pool1d_with_indices", "max_pool2d_with_indices")
@rule("max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d")
def pool(call: Call) -> None:
    """A pool reads its whole window, whichever element wins."""
    x, table = call.operand("self"), call.table
    assert x.dep is not None
    axes = int(call.func._schema.name.partition("pool")[2][0])
    kernel = _per_axis(call["kernel_size"], axes)
    stride = _per_axis(call.get("stride") or kernel, axes)
    padding = _per_axis(call.get("padding", 0), axes)
    dilation = _per_axis(call.get("dilation", 1), axes)
    space = call.outs[0].shape[-axes:]
    pads = []
    for k, s, p, d, n, length in zip(kernel, stride, padding, dilation, space, x.value.shape[-axes:], strict=True):
        pads.append((p, (n - 1) * s + (k - 1) * d + 1 - length - p))  # ceil_mode reads beyond; floor leaves a rest
    dep = table.pad(x.dep, pads)
    lead = dep.shape[1:-axes]
    flat = dep.reshape(dep.shape[0], math.prod(lead), 1, *dep.shape[-axes:])
    ones = torch.ones(1, 1, *kernel, dtype=torch.float32)  # as _slide wants it, whatever the default dtype is
    out = _slide(flat, ones, 1, table, stride=stride, dilation=dilation)
    out = out.reshape(dep.shape[0], *lead, *space)
    for i in range(len(call.outs)):
        call.put(out, out=i)


def _product(a: Operand, b: Operand, table: DependencyTable) -> Tensor | None:
    """Dependencies of ``a @ b``: a pair of elements is read unless one of them is a constant zero."""
    parts = []
    if a.dep is not None:
        if b.zero.any():
            table.landmarks.window(b.zero.mT)
            weight = (~b.zero).float()
            parts.append(table.in_chunks(lambda part: torch.matmul(part, weight), a.dep))
        else:
            parts.append(any_over(a.dep, -1, keepdim=True).expand(*a.dep.shape[:-1], b.value.shape[-1]))
    if b.dep is not None:
        if a.zero.any():
            table.landmarks.window(a.zero)
            left = (~a.zero).float()
            parts.append(table.in_chunks(lambda part: torch.matmul(left, part), b.dep))
        else:
            parts.append(
                any_over(b.dep, -2, keepdim=True).expand(*b.dep.shape[:-2], a.value.shape[-2], b.dep.shape[-1])
            )
    return union(*parts)


@rule("mm", "bmm")
def matmul(call: Call) -> None:
    """The product of two matrices, or of a batch of them."""
    a, b = call.operand("self"), call.operand("mat2")
    known = (a.known.all() & b.known.all()).expand(call.outs[0].shape)
    if a.zero.any() or b.zero.any():  # a constant 0 where each product has one, as between two triangular matrices
        known = known | (torch.matmul((~a.zero).float(), (~b.zero).float()) == 0)
    call.put(_product(a, b, call.table), torch.where(known, KNOWN, UNKNOWN).to(torch.uint8))


@rule("addmm", "baddbmm")
def addmm(call: Call) -> None:
    """``self + a @ b``; where ``self`` is a mask, the scores under it are dropped or pushed down, as in a sum."""
    names = ("mat1", "mat2") if "mat1" in call.arguments else ("batch1", "batch2")
    dep, base = _product(call.operand(names[0]), call.operand(names[1]), call.table), call.operand("self")
    shape, plain = call.outs[0].shape, call.get("beta", 1) == 1
    if base.blank or not plain:
        call.put(union(dep, broadcast(base.dep, shape)))
        return
    infinite, masked = base.infinite.expand(shape), base.masks().expand(shape)
    dep = union(drop(dep, infinite, call.table), broadcast(base.dep, shape))
    kind = torch.where(infinite, KNOWN, torch.where(masked, MASKED, UNKNOWN))
    call.put(dep, kind.to(torch.uint8))


@rule("mv", "addmv", "dot", "vdot")
def vectors(call: Call) -> None:
    """Products with a vector are products with a matrix of one column."""
    a = call.operand("mat" if "mat" in call.arguments else "self")
    b = call.operand(next((n for n in ("vec", "tensor") if n in call.arguments), "other"))
    dot = a.value.dim() == 1
    if dot:
        a = Operand(None if a.dep is None else a.dep.unsqueeze(1), a.kind[None], a.value[None])
    b = Operand(None if b.dep is None else b.dep.unsqueeze(-1), b.kind[:, None], b.value[:, None])
    dep = _product(a, b, call.table)
    dep = None if dep is None else dep.squeeze(-1).squeeze(1) if dot else dep.squeeze(-1)
    if "mat" in call.arguments and call.func._schema.name == "aten::addmv":
        dep = union(dep, broadcast(call.operand("self").dep, call.outs[0].shape))
    call.put(dep)


@rule("_linalg_det")
def det(call: Call) -> None:
    """Each result, and the factors that come with it, reads its whole matrix."""
    x = call.operand("A")
    whole = None if x.dep is None else any_over(x.dep, [-2, -1])
    for i, out in enumerate(call.outs):
        dep = None if whole is None else whole.reshape(*whole.shape, *(1,) * (out.dim() - whole.dim() + 1))
        call.put(None if dep is None else dep.expand(dep.shape[0], *out.shape), out=i)


@rule("_trilinear")
def trilinear(call: Call) -> None:
    """The sum over some axes of the product of three tensors, as in ``nn.Bilinear``."""
    operands = []
    for i in (1, 2, 3):
        given, axes = call.operand(f"i{i}"), sorted(call[f"expand{i}"])
        value, dep = given.value, given.dep
        for axis in axes:
            value, dep = value.unsqueeze(axis), None if dep is None else dep.unsqueeze(axis + 1)
        operands.append((value.shape, dep))
    shape = torch.broadcast_shapes(*(size for size, _ in operands))
    dep = union(*(broadcast(dep, shape) for _, dep in operands))
    over = [axis + 1 for axis in call["sumdim"]]
    call.put(dep if dep is None or not over else any_over(dep, over))


@rule("linalg_solve_triangular")
def solve_triangular(call: Call) -> None:
    """A row of the solution reads the rows that were solved before it: those above it, or below, and itself."""
    matrix, right, upper = call.operand("self").dep, call.operand("B").dep, call["upper"]
    if not call["left"]:  # X·A = B is Aᵀ·Xᵀ = Bᵀ
        matrix = None if matrix is None else matrix.mT
        right, upper = None if right is None else right.mT, not upper

    def up_to_row(dep: Tensor) -> Tensor:
        dep = dep.flip(-2) if upper else dep
        dep = dep.to(torch.uint8).cummax(-2).values.bool()
        return dep.flip(-2) if upper else dep

    if matrix is not None:
        half = torch.ones(matrix.shape[-2:], dtype=torch.bool)
        matrix = any_over(matrix & (half.triu() if upper else half.tril()), -1, keepdim=True)
    shape = call.outs[0].shape if call["left"] else call.outs[0].mT.shape
    dep = union(*(broadcast(None if d is None else up_to_row(d), shape) for d in (matrix, right)))
    call.put(dep if dep is None or call["left"] else dep.mT)


@rule("_cdist_forward", "_euclidean_dist", "cdist")
def cdist(call: Call) -> None:
    """The distance of each pair of points reads all features of both."""
    a, b = call.operand("x1"), call.operand("x2")
    left = None if a.dep is None else any_over(a.dep, -1).unsqueeze(-1)
    right = None if b.dep is None else any_over(b.dep, -1).unsqueeze(-2)
    call.put(union(broadcast(left, call.outs[0].shape), broadcast(right, call.outs[0].shape)))
