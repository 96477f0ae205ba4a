"""How dependencies pass through operations that pick, or write, by index.

A constant index picks exactly what it names. One that depends on the data may point at any place of its axis, and at
no other: an element reads the index and the whole of that axis, while it stays what it is along the others.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from causalcnn.causality.tracing.rules import Call, Untraceable, broadcast, moved, moved_dep, rule, union
from causalcnn.causality.tracing.table import any_over

__all__: list[str] = []


# ---------------------------------------------------------------------- picking
@rule("index_select", "gather")
def pick(call: Call) -> None:
    """One index for each element, or for each slice of an axis."""
    index, source, dim = call.operand("index"), call.operand("self"), call["dim"]
    shape = call.outs[0].shape
    if index.known.all():
        moved(call)
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
    if table.dep is not None and index.known.all():
        dep = table.dep.index_select(1, index.value.flatten()).unflatten(1, index.value.shape)
    elif table.dep is not None:
        whole = table.dep.any(1)
        dep = union(dep, whole.reshape(whole.shape[0], *(1,) * (len(shape) - 1), -1).expand(whole.shape[0], *shape))
    call.put(dep)


@rule("take")
def take(call: Call) -> None:
    """Places in the flattened tensor; one that the data choose may be any."""
    index, source, shape = call.operand("index"), call.operand("self"), call.outs[0].shape
    if index.known.all():
        moved(call)
        return
    whole = None if source.dep is None else source.dep.flatten(1).any(1).view(-1, *(1,) * len(shape))
    call.put(union(index.dep, broadcast(whole, shape)))


class _Indices:
    """The indices of ``x[i, :, j]``: ``open`` are the axes whose index is not known, ``known`` the call without them.

    In the known call 0 takes the place of an open index, as if all were known.
    """

    def __init__(self, call: Call) -> None:
        given = [(axis, i) for axis, i in enumerate(call["indices"]) if i is not None]
        self.open = [axis for axis, i in given if not call.table.operand(i).known.all()]
        if any(call["indices"][axis].dtype in (torch.bool, torch.uint8) for axis in self.open):
            raise Untraceable("a boolean index picks as many elements as the data say")
        zeros = [torch.zeros_like(i) if axis in self.open else i for axis, i in enumerate(call["indices"])]
        self.known = replace(call, arguments=call.arguments | {"indices": zeros})
        axes = [axis for axis, _ in given]
        self.start = axes[0] if axes == list(range(axes[0], axes[-1] + 1)) else 0
        self.operands = [call.table.operand(call["indices"][axis]) for axis in self.open]

    def dep(self, shape: torch.Size) -> Tensor | None:
        """Return what the open indices depend on, in the ``shape`` of what they pick."""
        indices = [i for i in self.known["indices"] if i is not None]
        if any(i.dtype in (torch.bool, torch.uint8) for i in indices):
            raise Untraceable("a mask beside an index that depends on the data")
        places = torch.broadcast_shapes(*(i.shape for i in indices))
        behind = len(shape) - self.start - len(places)
        deps = []
        for operand in self.operands:
            if (dep := broadcast(operand.dep, places)) is not None:
                dep = dep.reshape(dep.shape[0], *(1,) * self.start, *places, *(1,) * behind)
                deps.append(dep.expand(dep.shape[0], *shape))
        return union(*deps)


@rule("index", "_unsafe_index")
def index(call: Call) -> None:
    """Pick by indices of some axes, which are broadcast together."""
    indices, source = _Indices(call), call.operand("self").dep
    if not indices.open:
        moved(call)
        return
    if source is not None:
        source = any_over(source, [axis + 1 for axis in indices.open], keepdim=True).expand_as(source)
    call.put(union(moved_dep(indices.known, {"self": source}), indices.dep(call.outs[0].shape)))


# ---------------------------------------------------------------------- writing
def _write_at_known(call: Call, *sources: str) -> None:
    # What is added, subtracted or multiplied is read: a sum of ones shows it, 1 − 1 and 0 · 1 would hide it.
    plain = {"value": 0, "alpha": 1, "reduce": "sum" if "include_self" in call.arguments else "add"}
    moved(call, "self", sources, **{n: v for n, v in plain.items() if n in call.arguments and n not in sources})


@rule("scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill")
@rule("slice_scatter", "select_scatter", "diagonal_scatter")
def write(call: Call) -> None:
    """Write along one axis."""
    sources = [n for n in ("src", "source", "value") if isinstance(call.get(n), Tensor)]
    if not isinstance(call.get("index"), Tensor) or call.operand("index").known.all():
        _write_at_known(call, *sources)
        return
    shape, index = call.outs[0].shape, call.operand("index")
    axis = call["dim"] % max(1, len(shape))
    elementwise = "scatter" in call.func._schema.name  # else one index for a whole slice
    deps = [call.operand("self").dep]
    for operand in (index, *(call.operand(name) for name in sources)):
        if (dep := operand.dep) is None:
            continue
        if operand.value.dim() < len(shape) or not shape:
            dep = dep.flatten(1).any(1).view(-1, *(1,) * len(shape))
        else:
            sizes = index.value.shape if elementwise else operand.value.shape
            for d, size in enumerate(sizes):  # scatter may use a part of its source, and write a part of itself
                dep = dep.narrow(d + 1, 0, size)
            dep = any_over(dep, axis + 1, keepdim=True)
            missing = [0 if d == axis else shape[d] - sizes[d] for d in range(len(shape))]
            dep = torch.nn.functional.pad(dep, [n for size in reversed(missing) for n in (0, size)])
        deps.append(broadcast(dep, shape))
    call.put(union(*deps))


@rule("index_put", "_index_put_impl", "_unsafe_index_put")
def index_put(call: Call) -> None:
    """Write by indices of some axes, or by one mask."""
    given = [i for i in call["indices"] if i is not None]
    if len(given) == 1 and given[0].dtype in (torch.bool, torch.uint8) and not call.table.operand(given[0]).known.all():
        _write_under_mask(call, call["indices"].index(given[0]))
        return
    indices, own, values = _Indices(call), call.operand("self").dep, call.operand("values").dep
    if not indices.open:
        _write_at_known(call, "values")
        return
    shape = torch.ops.aten.index.Tensor(torch.empty(call["self"].shape), indices.known["indices"]).shape
    written = union(broadcast(values, shape), indices.dep(shape))
    if written is not None:
        call = replace(indices.known, arguments=indices.known.arguments | {"values": torch.zeros(shape)})
        arrived = moved_dep(call, {"values": written, "self": None}, accumulate=True)
        assert arrived is not None
        own = union(own, any_over(arrived, [axis + 1 for axis in indices.open], keepdim=True).expand_as(arrived))
    call.put(own)


def _write_under_mask(call: Call, axis: int) -> None:
    """Each element keeps its number or takes the new one, as its own element of a mask says that is data."""
    mask, values, shape = call.table.operand(call["indices"][axis]), call.operand("values"), call.outs[0].shape
    behind = len(shape) - axis - mask.value.dim()
    marks = None if mask.dep is None else mask.dep.reshape(*mask.dep.shape, *(1,) * behind)
    written = values.dep
    if values.value.dim() > behind:  # it has an axis for what is chosen
        at = values.value.dim() - behind - 1
        if values.value.shape[at] != 1:
            raise Untraceable("a boolean index takes as many values as the data say")
        if written is not None:
            written = written.reshape(*written.shape[: at + 1], *(1,) * mask.value.dim(), *written.shape[at + 2 :])
    call.put(union(call.operand("self").dep, broadcast(marks, shape), broadcast(written, shape)))
