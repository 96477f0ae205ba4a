"""How dependencies pass through operations that move elements, and through those that take an axis as a whole."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from causalcnn.causality.tracing.rules import Call, Untraceable, broadcast, listed, moved, rule, sunk, union
from causalcnn.causality.tracing.rules_pointwise import elementwise
from causalcnn.causality.tracing.table import KNOWN, UNKNOWN, any_over

__all__: list[str] = []


# ---------------------------------------------------------------------- moving elements
@rule("roll", "flip", "repeat", "tril", "triu", "im2col", "col2im", "pixel_shuffle", "pixel_unshuffle")
@rule("diag_embed", "channel_shuffle", "native_channel_shuffle")
@rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "expand_copy", "slice_copy", "view_copy")
@rule("upsample_nearest1d", "upsample_nearest2d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d")
@rule("upsample_linear1d", "upsample_bilinear2d", "rot90", "unfold_copy", "as_strided_copy", "permute_copy")
def move(call: Call) -> None:
    """Elements change places; interpolation and adaptive averages add a few of them up."""
    moved(call)


@rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max(call: Call) -> None:
    """A maximum reads the windows that the average reads; the indices that come with it read the same."""
    moved(call)
    for i in range(1, len(call.outs)):
        call.put(call.table.dep(call.outs[0]), out=i)


@rule("unfold_backward", "diagonal_backward", "slice_backward", "select_backward")
def unslice(call: Call) -> None:
    """What was sliced goes back to its place; frames are added up where they overlap, as in the inverse STFT."""
    moved(call, "grad_in" if "grad_in" in call.arguments else "grad_output")


@rule("_pack_padded_sequence")
def pack(call: Call) -> None:
    """Sequences of known lengths, frame by frame; so it is known how many of them still run."""
    if not call.operand("lengths").known.all():
        raise Untraceable("the lengths of the sequences are not known")
    moved(call, "input")
    call.put(None, KNOWN, out=1)


@rule("grid_sampler_2d", "grid_sampler_3d")
def grid_sample(call: Call) -> None:
    """Constant places read their neighbors; places that the data choose may be anywhere."""
    grid, source, shape = call.operand("grid"), call.operand("input"), call.outs[0].shape
    if grid.known.all():
        moved(call, "input")
        return
    whole = None if source.dep is None else any_over(source.dep, list(range(3, source.dep.dim())), keepdim=True)
    place = None if grid.dep is None else any_over(grid.dep, -1).unsqueeze(2)
    call.put(union(broadcast(whole, shape), broadcast(place, shape)))


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
    moved(call)
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


# ---------------------------------------------------------------------- taking an axis as a whole
def _axes(call: Call, tensor: Tensor) -> list[int]:
    value = next((call[n] for n in ("dim", "dims") if call.get(n) is not None), None)
    if value is None or (isinstance(value, (list, tuple)) and not value):
        return list(range(tensor.dim()))
    return sorted({d % max(1, tensor.dim()) for d in listed(value)})


PEAKS = {"amax", "max", "argmax", "logsumexp"}


@rule("sum", "mean", "amax", "amin", "max", "min", "prod", "any", "all", "argmax", "argmin", "var", "std")
@rule("var_mean", "std_mean", "logsumexp", "linalg_vector_norm", "norm", "median", "nanmedian", "nansum", "nanmean")
@rule("mode", "kthvalue", "aminmax", "count_nonzero", "trace")
def reduce(call: Call) -> None:
    """Every result, an argmax too, reads the whole of the axes that are reduced."""
    if isinstance(call.get("other"), Tensor):  # max(a, b)
        elementwise(call)
        return
    x = call.operand("self")
    kind, axes = KNOWN if bool(x.known.all()) else UNKNOWN, _axes(call, x.value)
    seen = x.dep
    if seen is not None and not x.blank and call.func._schema.name.removeprefix("aten::") in PEAKS:
        seen = seen & ~sunk(x, axes)  # the highest score is none of those under a mask
    for i, out in enumerate(call.outs):
        dep = seen
        if dep is not None:
            for axis in reversed(axes):
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
    masked = x.infinite & (x.value < 0) | sunk(x, axis)
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
