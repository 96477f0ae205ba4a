"""How the layers of :mod:`causalcnn.nn` become operations of a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causalcnn.engine.lowering import Builder, CannotCompile, Symbol, as_array, lowers, refuse_hooks
from causalcnn.engine.plan import Register
from causalcnn.engine.symbols import knows
from causalcnn.nn.base import Stateless
from causalcnn.nn.compose import Composite, Pointwise
from causalcnn.nn.conv import CausalConv1d, CausalConv2d
from causalcnn.nn.delay import Delay
from causalcnn.nn.lookup import centre, half_norms
from causalcnn.nn.pool import CausalAvgPool1d, CausalMaxPool1d, FrameNorm
from causalcnn.nn.quantize import VectorQuantizer
from causalcnn.nn.residual_quantize import ResidualVectorQuantizer
from causalcnn.nn.transpose import CausalConvTranspose1d, CausalConvTranspose2d

__all__: list[str] = []


@lowers(Composite)
def _composite(layer: Composite, x: Symbol, builder: Builder) -> Any:
    return builder.compose(layer, layer.compose, x)


@lowers(Stateless)
def _stateless(layer: Stateless, x: Symbol, builder: Builder) -> Any:
    y = layer.forward(x)  # type: ignore[arg-type]
    if not isinstance(y, Symbol):
        raise CannotCompile(f"forward returned {type(y).__name__}")
    return y


@lowers(Pointwise, "forward")
def _pointwise(layer: Pointwise, x: Symbol, builder: Builder) -> Any:
    refuse_hooks(layer.function)
    return layer.function(x)


# ------------------------------------------------------------------------------------------------ convolutions
Taps = dict[tuple[int, int], np.ndarray]
"""A matrix ``(in, out)`` for each delay in frames and each cell from the first that is read."""


@lowers(CausalConv1d, "forward")
@lowers(CausalConv2d, "forward")
def _convolution(layer: Any, x: Symbol, builder: Builder) -> Symbol:
    layer._check(x)
    two = len(layer.kernel_size) == 2
    kernel, spread = layer.kernel_size, layer.dilation
    weight = as_array(layer.weight, builder).reshape(*layer.weight.shape[:3], -1)  # (out, in / groups, time, frequency)
    below, above = layer.frequency_padding if two else (0, 0)
    cells = layer._frequencies_out(x.register.cells) if two else 1
    product = {"phase": 0, "cells": cells, "in_step": layer.stride[1] if two else 1, "out_step": 1, "out_cell": 0}
    products = []
    for group, part in enumerate(np.split(weight, layer.groups)):
        taps: Taps = {
            ((kernel[0] - 1 - j) * spread[0], i * spread[1] if two else 0): part[:, :, j, i].T
            for j in range(weight.shape[2])
            for i in range(weight.shape[3])
        }
        products.append((product, group, taps))
    settings = {"window": layer._window, "stride": layer.stride[0], "held": layer._history}
    register = Register(layer.out_channels, cells if two else None)
    return _linear(layer, x, builder, register, settings | {"below": below, "above": above, "phases": 1}, products)


@lowers(CausalConvTranspose1d, "forward")
@lowers(CausalConvTranspose2d, "forward")
def _transposed(layer: Any, x: Symbol, builder: Builder) -> Symbol:
    layer._check(x)
    two = len(layer.kernel_size) == 2
    stride, step = layer.stride[0], layer.stride[1] if two else 1
    spread, wide = layer.dilation[0], layer.dilation[1] if two else 1
    trim = layer.frequency_padding if two else 0
    weight = as_array(layer.weight, builder).reshape(*layer.weight.shape[:3], -1)  # (in, out / groups, time, frequency)
    cells_in, cells = x.register.cells, layer._frequencies_out((x.register.cells,))[0] if two else 1
    if cells < 1:
        raise CannotCompile(f"of {cells_in} frequency cells it makes {cells}")
    products = []
    lowest = highest = 0
    # Output frame `phase` after input frame u is stride·u + phase; a tap j of input frame i meets it where
    # stride·i + j·spread is equal to it. Along frequency likewise.
    for phase in range(stride):
        for first in range(min(step, cells)):
            count = -(-(cells - first) // step)
            product = {"phase": phase, "cells": count, "in_step": 1, "out_step": step, "out_cell": first}
            for group, part in enumerate(np.split(weight, layer.groups)):
                taps: Taps = {}
                for j in range(weight.shape[2]):
                    for i in range(weight.shape[3]):
                        delay, cell = j * spread - phase, first + trim - i * wide
                        if delay >= 0 and delay % stride == 0 and cell % step == 0:
                            taps[delay // stride, cell // step] = part[:, :, j, i]
                            lowest = min(lowest, cell // step)
                            highest = max(highest, cell // step + count - cells_in)
                products.append((product, group, taps))
    shifted = [(p, g, {(d, c - lowest): w for (d, c), w in taps.items()}) for p, g, taps in products]
    settings = {"window": layer._history + 1, "stride": 1, "held": layer._history, "phases": stride}
    register = Register(layer.out_channels, cells if two else None)
    return _linear(layer, x, builder, register, settings | {"below": -lowest, "above": highest}, shifted)


def _linear(
    layer: Any, x: Symbol, builder: Builder, register: Register, settings: dict[str, Any], products: list[Any]
) -> Symbol:
    """Add the operation, with its products as data."""
    arrays, described = {}, []
    bias = np.zeros(layer.out_channels) if layer.bias is None else as_array(layer.bias, builder)
    width_in, width = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    for number, (product, group, taps) in enumerate(products):
        places, weight = _joined(taps, layer.groups == 1, (width_in, width))
        arrays[f"weight{number}"] = weight.astype(builder.numpy_dtype, copy=False)
        arrays[f"bias{number}"] = bias[group * width : (group + 1) * width].astype(builder.numpy_dtype, copy=False)
        channels = {"in_channel": group * width_in, "out_channel": group * width}
        described.append(product | channels | {"taps": [list(place) for place in places]})
    return builder.emit("linear", [x], register, settings | {"products": described}, arrays)


def _joined(taps: Taps, joinable: bool, size: tuple[int, int]) -> tuple[list[tuple[int, int]], np.ndarray]:
    """The taps with their weights, ``(taps, depth, out)``; those of neighboring cells as one, if all runs are alike."""
    places = sorted(taps)
    runs: list[list[tuple[int, int]]] = []
    for delay, cell in places:
        if runs and runs[-1][-1] == (delay, cell - 1):
            runs[-1].append((delay, cell))
        else:
            runs.append([(delay, cell)])
    if not joinable or len({len(run) for run in runs}) > 1:
        runs = [[place] for place in places]
    if not runs:  # no input is read: only the bias is left
        return [], np.zeros((0, *size))
    return [run[0] for run in runs], np.stack([np.concatenate([taps[place] for place in run]) for run in runs])


# ------------------------------------------------------------------------------------------------ other layers
@lowers(CausalMaxPool1d, "forward")
@lowers(CausalAvgPool1d, "forward")
def _pool(layer: CausalMaxPool1d | CausalAvgPool1d, x: Symbol, builder: Builder) -> Symbol:
    layer._check(x)  # type: ignore[arg-type]
    if x.register.integer:
        raise CannotCompile(f"it pools {x.dtype}, which torch does not")
    settings = {
        "window": layer._window,
        "stride": layer.stride,
        "held": layer.left_padding + layer._window - layer.kernel_size,
        "delays": list(range(layer.kernel_size)),
        "reduce": "max" if isinstance(layer, CausalMaxPool1d) else "mean",
    }
    return builder.emit("pool", [x], x.register, settings)


@lowers(Delay, "forward")
def _delay(layer: Delay, x: Symbol, builder: Builder) -> Symbol:
    if x.register.frequency is not None:
        raise ValueError(f"input has shape {x.shape}; a delay takes (batch, channels, time)")
    settings = {"window": layer.frames + 1, "stride": 1, "held": layer.frames, "delays": [layer.frames]}
    return builder.emit("pool", [x], x.register, settings | {"reduce": "max"})


@lowers(FrameNorm, "forward")
def _norm(layer: FrameNorm, x: Symbol, builder: Builder) -> Symbol:
    arrays = {name: as_array(getattr(layer, name), builder) for name in ("weight", "bias")}
    if len(arrays["weight"]) != x.operand.channels:
        raise ValueError(f"input has shape {x.shape}; this layer takes {len(arrays['weight'])} channels")
    return builder.emit("norm", [x], x.register, {"eps": layer.eps}, arrays)


@lowers(VectorQuantizer, "encode", "decode")
def _quantizer(layer: VectorQuantizer, x: Symbol, builder: Builder) -> Symbol:
    return _decode(layer, _encode(layer, x))


@lowers(ResidualVectorQuantizer, "encode", "decode")
def _residual_quantizer(layer: ResidualVectorQuantizer, x: Symbol, builder: Builder) -> Symbol:
    def stage(number: int) -> Callable[[Symbol], Symbol]:
        return lambda left: builder.lower(layer.quantizers[number], left, f"quantizers.{number}")[0]

    return layer._sum(x, [stage(number) for number in range(layer.num_stages)])  # type: ignore[arg-type, return-value, misc]


@knows(VectorQuantizer.encode)
def _encode(layer: VectorQuantizer, x: Symbol) -> Symbol:
    """The index of the codeword e with the largest x·e − ½|e|², which is the nearest; all from a centre."""
    layer._check(x)  # type: ignore[arg-type]
    codebook = torch.from_numpy(as_array(_codebook(layer, x.builder), x.builder))
    middle = centre(codebook)
    centred = codebook - middle
    if middle.any():
        x = x.builder.matrix(x, np.eye(len(middle)), -middle.numpy())
    scores = x.builder.matrix(x, centred.T.numpy(), -half_norms(centred).numpy())
    return x.builder.emit("argmax", [scores], x.register._replace(channels=1, integer=True))


@knows(VectorQuantizer.decode)
def _decode(layer: VectorQuantizer, codes: Symbol) -> Symbol:
    """The codewords with these indices."""
    if not codes.register.integer:
        raise ValueError(f"indices are {codes.dtype}; they must be int64 or int32, as encode() returns them")
    return codes.builder.lookup(codes, _codebook(layer, codes.builder))


def _codebook(layer: VectorQuantizer, builder: Builder) -> Tensor:
    codebook: Tensor = layer.codebook.detach()
    if torch.promote_types(codebook.dtype, builder.dtype) != builder.dtype:
        raise CannotCompile(f"its codebook is {codebook.dtype}, the input {builder.dtype}")
    return codebook.to(builder.dtype)
