"""How dependencies pass through operations that move elements, and through those that take an axis as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from causalcnn.causality.tracing.rules import Call, Untraceable, broadcast, listed, rule, union
from causalcnn.causality.tracing.rules_pointwise import elementwise
from causalcnn.causality.tracing.table import KNOWN, UNKNOWN, any_over

__all__: list[str] = []


# ---------------------------------------------------------------------- moving elements
def _moved(call: Call, name: str = "self", also: Sequence[str] = (), **fixed: Any) -> None:
    """Run the operation itself on zeros and ones, one row for each cell, to see what arrives where.

    For operations that only move, copy or add up elements. ``name`` is the argument whose elements move, ``also`` names
    other arguments whose elements are written; everything else must be constant. ``fixed`` replaces arguments under
    which a one would not arrive.
    """
    call.forbid(*(n for n in call.arguments if n != name and n not in also))
    operands = {n: call.operand(n) for n in (name, *also)}
    blank = {n: torch.zeros(o.value.shape, dtype=torch.float32) for n, o in operands.items()}
    shape = call.outs[0].shape

    def run(rows: dict[str, Tensor]) -> Tensor:
        copies = {n: row.to(torch.float32, copy=True) for n, row in rows.items()}  # some operations write in place
        result = call.func(**call.arguments | fixed | copies)
        return (result[0] if isinstance(result, (tuple, list)) else result) != 0

    deps = {n: o.dep for n, o in operands.items() if o.dep is not None}
    out = None
    if deps:
        out = torch.zeros(call.table.width, *shape, dtype=torch.bool)
        present = torch.stack([dep.flatten(1).any(1) for dep in deps.values()]).any(0)
        for i in present.nonzero().flatten().tolist():
            out[i] = run(blank | {n: dep[i] for n, dep in deps.items()})
    unknown = run({n: (~o.known).expand(o.value.shape) for n, o in operands.items()})
    call.put(out, torch.where(unknown, UNKNOWN, KNOWN).to(torch.uint8))


@rule("roll", "flip", "repeat", "tril", "triu", "im2col", "col2im", "pixel_shuffle", "pixel_unshuffle")
@rule(
    "diag_embed", "diagonal_backward", "slice_backward", "select_backward", "channel_shuffle", "native_channel_shuffle"
)
@rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "expand_copy", "slice_copy", "view_copy")
@rule("upsample_nearest1d", "upsample_nearest2d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d")
@rule("upsample_linear1d", "upsample_bilinear2d", "rot90", "unfold_copy", "as_strided_copy", "permute_copy")
def move(call: Call) -> None:
    """Elements change places; interpolation and adaptive averages add a few of them up."""
    _moved(call)


@rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max(call: Call) -> None:
    """A maximum reads the windows that the average reads; the indices that come with it read the same."""
    _moved(call)
    for i in range(1, len(call.outs)):
        call.put(call.table.dep(call.outs[0]), out=i)


@rule("unfold_backward")
def fold(call: Call) -> None:
    """Frames are added up where they overlap, as in the inverse STFT."""
    _moved(call, "grad_in")


@rule("constant_pad_nd")
def pad_constant(call: Call) -> None:
    """Put constants around: the new elements are marked, the others keep their dependencies."""
    x, shape = call.operand("self"), call.outs[0].shape
    pads = list(call["pad"])
    pairs = [(0, 0)] * (len(shape) - len(pads) // 2) + [(pads[i], pads[i + 1]) for i in range(len(pads) - 2, -1, -2)]
    dep = None if x.dep is None else call.table.pad(x.dep, pairs)
    kind = torch.nn.functional.pad(x.kind, pads, value=KNOWN)
    call.put(dep, kind)


@rule("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", "reflection_pad3d")
@rule("replication_pad3d")
def pad_with_input(call: Call) -> None:
    """Put copies of the input around: they depend on what they copy, and are marked as an edge."""
    _moved(call)
    source = call.operand("self").dep
    if source is None:
        return
    pads = list(call["padding"])
    dep = call.table.dep(call.outs[0])
    assert dep is not None
    dep = dep.clone()
    for i in range(0, len(pads), 2):
        dim = dep.dim() - 1 - i // 2
        low, high = call.table.edge_marks(source, dim)
        call.table.count_padding(low + high, max(pads[i], 0) + max(pads[i + 1], 0), source.shape[dim])
        if pads[i] > 0:
            dep.narrow(dim, 0, pads[i])[low] = True
        if pads[i + 1] > 0:
            dep.narrow(dim, dep.shape[dim] - pads[i + 1], pads[i + 1])[high] = True
    call.put(dep, call.table.kind(call.outs[0]))


@rule("cat")
def cat(call: Call) -> None:
    """Put tensors side by side; constants in front of the input or behind it are padding."""
    table, out = call.table, call.outs[0]
    parts = [t for t in call["tensors"] if t.numel() or t.dim() == out.dim()]
    dim = call.get("dim", 0) % out.dim()
    operands = [table.operand(t) for t in parts]
    if all(o.dep is None for o in operands):
        call.put(None, torch.cat([o.kind for o in operands], dim))
        return
    real = [i for i, o in enumerate(operands) if o.dep is not None]
    blank = [
        o.dep if o.dep is not None else torch.zeros(table.width, *o.value.shape, dtype=torch.bool) for o in operands
    ]
    low, high = table.edge_marks(torch.cat([blank[i] for i in real], dim + 1), dim + 1)
    along = sum(blank[i].shape[dim + 1] for i in real)
    for i, part in enumerate(blank):
        if operands[i].dep is None:
            table.count_padding(low + high, part.shape[dim + 1], along)
            part[low if i < real[0] else high if i > real[-1] else low + high] = True
    call.put(torch.cat(blank, dim + 1), torch.cat([o.kind for o in operands], dim))


@rule("stack")
def stack(call: Call) -> None:
    """Put tensors side by side along a new axis; each element keeps its dependencies."""
    dim = call.get("dim", 0) % call.outs[0].dim()
    operands = [call.table.operand(t) for t in call["tensors"]]
    kind = torch.stack([o.kind for o in operands], dim)
    if all(o.dep is None for o in operands):
        call.put(None, kind)
        return
    width = call.table.width
    deps = [o.dep if o.dep is not None else torch.zeros(width, *o.value.shape, dtype=torch.bool) for o in operands]
    call.put(torch.stack(deps, dim + 1), kind)


# ---------------------------------------------------------------------- picking by index
@rule("index_select", "gather")
def pick(call: Call) -> None:
    """A constant index reads what it picks; one that depends on data reads itself and all that it might point at."""
    index, source, dim = call.operand("index"), call.operand("self"), call["dim"]
    shape = call.outs[0].shape
    if index.dep is None and index.known.all():
        _moved(call)
        return
    dim = dim % max(1, source.value.dim())
    table = source.dep
    if table is not None:
        table = any_over(table, dim + 1, keepdim=True)
        if call.func._schema.name == "aten::gather":
            for axis, size in enumerate(shape):
                table = table if axis == dim else table.narrow(axis + 1, 0, size)
        table = table.expand(table.shape[0], *shape)
    picked = index.dep
    if picked is not None and call.func._schema.name == "aten::index_select":
        picked = picked.reshape(picked.shape[0], *(-1 if a == dim else 1 for a in range(len(shape))))
    call.put(union(table, None if picked is None else broadcast(picked, shape)))


@rule("embedding")
def embedding(call: Call) -> None:
    """A codeword depends on its index, and on the whole table where that is computed."""
    table, index = call.operand("weight"), call.operand("indices")
    shape = call.outs[0].shape
    dep = None if index.dep is None else index.dep.unsqueeze(-1).expand(index.dep.shape[0], *shape)
    if table.dep is not None:
        whole = table.dep.any(1)
        dep = union(dep, whole.reshape(whole.shape[0], *(1,) * (len(shape) - 1), -1).expand(whole.shape[0], *shape))
    call.put(dep)


@rule("index", "_unsafe_index", "take")
def index(call: Call) -> None:
    """Constant indices read what they pick; indices that depend on data read themselves and all they might point at."""
    indices = call.get("indices", call.get("index"))
    given = [i for i in listed(indices) if i is not None]
    operands = [call.table.operand(i) for i in given]
    if all(o.dep is None and o.known.all() for o in operands):
        _moved(call)
        return
    if any(i.dtype == torch.bool for i in given):
        raise Untraceable("a boolean index picks as many elements as the data say")
    places = [n for n, i in enumerate(indices) if i is not None] if isinstance(indices, (list, tuple)) else [0]
    picked = torch.broadcast_shapes(*(i.shape for i in given))
    shape = call.outs[0].shape
    start = places[0] if places == list(range(places[0], places[-1] + 1)) else 0
    deps = []
    for operand in operands:
        wide = broadcast(operand.dep, torch.Size(picked))
        if wide is not None:
            rest = (1,) * (len(shape) - start - len(picked))
            deps.append(wide.reshape(wide.shape[0], *(1,) * start, *picked, *rest).expand(wide.shape[0], *shape))
    source = call.operand("self").dep
    if source is not None:  # it may point at anything
        whole = source.flatten(1).any(1).view(-1, *(1,) * len(shape))
        deps.append(whole.expand(whole.shape[0], *shape))
    call.put(union(*deps))


@rule("index_put", "_index_put_impl", "scatter", "scatter_add", "index_add", "index_copy", "slice_scatter")
@rule("select_scatter", "diagonal_scatter", "index_fill")
def write(call: Call) -> None:
    """What is written at constant places goes exactly there; at places that the data choose, anywhere."""
    places = [n for n in ("indices", "index") if n in call.arguments]
    operands = [call.table.operand(t) for n in places for t in listed(call[n]) if isinstance(t, Tensor)]
    sources = [n for n in ("values", "src", "source", "value") if isinstance(call.get(n), Tensor)]
    if all(o.dep is None and o.known.all() for o in operands):
        # What is added, subtracted or multiplied is read: a sum of ones shows it, 1 − 1 and 0 · 1 would hide it.
        plain = {"value": 0, "alpha": 1, "reduce": "add"}
        _moved(call, "self", sources, **{n: v for n, v in plain.items() if n in call.arguments and n not in sources})
        return
    shape = call.outs[0].shape
    everything = [d for t in call.tensors() if (d := call.table.dep(t)) is not None]
    read = torch.stack([d.flatten(1).any(1) for d in everything]).any(0) if everything else None
    call.put(None if read is None else read.view(-1, *(1,) * len(shape)).expand(read.shape[0], *shape))


# ---------------------------------------------------------------------- taking an axis as a whole
def _axes(call: Call, tensor: Tensor) -> list[int]:
    value = next((call[n] for n in ("dim", "dims") if call.get(n) is not None), None)
    if value is None or (isinstance(value, (list, tuple)) and not value):
        return list(range(tensor.dim()))
    return sorted({d % max(1, tensor.dim()) for d in listed(value)})


@rule("sum", "mean", "amax", "amin", "max", "min", "prod", "any", "all", "argmax", "argmin", "var", "std")
@rule("var_mean", "std_mean", "logsumexp", "linalg_vector_norm", "norm", "median", "nanmedian", "nansum", "nanmean")
@rule("mode", "kthvalue", "aminmax", "count_nonzero", "trace")
def reduce(call: Call) -> None:
    """Every result, an argmax too, reads the whole of the axes that are reduced."""
    if isinstance(call.get("other"), Tensor):  # max(a, b)
        elementwise(call)
        return
    x = call.operand("self")
    kind = KNOWN if bool(x.known.all()) else UNKNOWN
    for i, out in enumerate(call.outs):
        dep = x.dep
        if dep is not None:
            for axis in reversed(_axes(call, x.value)):
                dep = any_over(dep, axis + 1, keepdim=True)
            dep = dep.reshape(dep.shape[0], *out.shape)
        call.put(dep, kind, i)


@rule("renorm")
def renorm(call: Call) -> None:
    """Slices along one axis are scaled by their own norms: an element reads all axes but that one."""
    x = call.operand("self")
    others = [axis + 1 for axis in range(x.value.dim()) if axis != call["dim"] % x.value.dim()]
    call.put(None if x.dep is None else any_over(x.dep, others, keepdim=True).expand_as(x.dep))


@rule("topk", "sort", "argsort", "cummax_all")
def sort(call: Call) -> None:
    """Every element of a sorted axis reads the whole of it."""
    x = call.operand("self")
    dep = None if x.dep is None else any_over(x.dep, call.get("dim", -1) % x.value.dim() + 1, keepdim=True)
    for i, out in enumerate(call.outs):
        call.put(None if dep is None else dep.expand(dep.shape[0], *out.shape), out=i)


@rule("softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax")
def softmax(call: Call) -> None:
    """Every element reads the whole axis; what a mask has pushed to −∞ is neither read nor passed on."""
    x, out = call.operand("self"), call.outs[0]
    axis = call["dim"] % x.value.dim()
    log = "log_softmax" in call.func._schema.name
    masked = x.masks() & ((out.exp() if log else out) == 0)
    # Under a mask of −∞ the logarithm is the constant −∞; under a finite mask it still holds the sum over all others.
    gone = masked & (out == -math.inf) if log else masked
    dep = x.dep
    if dep is not None:
        dep = ((dep & ~masked).any(axis + 1, keepdim=True) | dep) & ~gone
    call.put(dep, torch.where(gone | x.known.all(axis, keepdim=True), KNOWN, UNKNOWN).to(torch.uint8))


@rule("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
def cumulative(call: Call) -> None:
    """Each element reads everything up to its own place along one axis."""
    x = call.operand("self")
    dep = None if x.dep is None else x.dep.to(torch.uint8).cummax(call["dim"] % x.value.dim() + 1).values.bool()
    kind = KNOWN if bool(x.known.all()) else UNKNOWN
    for i in range(len(call.outs)):
        call.put(dep, kind, i)


# ---------------------------------------------------------------------- normalisation
@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_batch_norm_impl_index")
@rule("_native_batch_norm_legit_functional", "cudnn_batch_norm", "batch_norm")
def batch_norm(call: Call) -> None:
    """With statistics of the batch an element reads all of its channel; with stored ones it reads itself alone."""
    x = call.operand("input")
    stored = call.func._schema.name.endswith("no_training") or not call.get("training", True)
    over = [0, *range(2, x.value.dim())]
    _normalized(call, x.dep, [] if stored else over, trailing=x.value.dim() - 2)
    if x.dep is None or stored:
        return
    read = any_over(x.dep, [axis + 1 for axis in over])
    for name in ("running_mean", "running_var"):
        if (kept := call.get(name)) is not None:  # written, and not returned
            call.table.set(kept, union(read, call.table.dep(kept)), UNKNOWN)


@rule("native_layer_norm", "layer_norm", "_fused_rms_norm", "rms_norm")
def layer_norm(call: Call) -> None:
    """Every element reads the axes that are normalised together."""
    x = call.operand("input")
    first = x.value.dim() - len(call["normalized_shape"])
    _normalized(call, x.dep, list(range(first, x.value.dim())))


@rule("native_group_norm", "group_norm")
def group_norm(call: Call) -> None:
    """An element reads its group of channels, over all of time."""
    x = call.operand("input")
    groups = call.get("group", call.get("num_groups"))
    dep = x.dep
    if dep is not None:
        split = dep.unflatten(2, (groups, dep.shape[2] // groups))
        for axis in range(3, split.dim()):
            split = split.any(axis, keepdim=True)
        split = split.expand(*split.shape[:3], dep.shape[2] // groups, *dep.shape[3:])
        dep = split.flatten(2, 3)
    _normalized(call, dep, [], trailing=x.value.dim() - 2)


def _normalized(call: Call, dep: Tensor | None, axes: list[int], trailing: int = 0) -> None:
    """Unite over ``axes``. Scale, shift and statistics may be computed too; ``trailing`` axes lie behind theirs."""
    own = dep
    if dep is not None:
        for axis in axes:
            dep = any_over(dep, axis + 1, keepdim=True)
        assert own is not None
        dep = dep.expand_as(own)
    for name in ("weight", "bias", "running_mean", "running_var"):
        if call.get(name) is not None and (given := call.operand(name).dep) is not None:
            given = given.reshape(*given.shape, *(1,) * trailing)
            dep = union(dep, broadcast(given, call.outs[0].shape))
    call.put(dep)
    for i in range(1, len(call.outs)):  # the statistics: seldom used; they may depend on everything
        out = call.outs[i]
        whole = None if dep is None else dep.flatten(1).any(1).view(-1, *(1,) * out.dim())
        call.put(None if whole is None else whole.expand(whole.shape[0], *out.shape), out=i)
