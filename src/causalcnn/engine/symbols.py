"""What functions of torch do to symbols: those that a plan has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from causalcnn.engine.lowering import CannotCompile, Symbol

__all__ = ["knows"]

LARGEST = sys.float_info.max
"""Stands for no bound: a plan is JSON, which has no infinity."""


def knows(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say what these functions of torch do to symbols; a decorator."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        Symbol._functions.update(dict.fromkeys(functions, function))
        return function

    return register


def _pointwise(function: str, *functions: Any) -> None:
    """Functions without parameters."""

    def apply(x: Symbol, inplace: bool = False) -> Symbol:
        return _unless(inplace, x).builder.pointwise(function, x)

    Symbol._functions.update(dict.fromkeys(functions, apply))


def _unless(inplace: bool, x: Symbol) -> Symbol:
    """The symbol, unless what is done to it is done in place."""
    return x._in_place() if inplace else x


_pointwise("relu", torch.relu, F.relu, Tensor.relu)
_pointwise("tanh", torch.tanh, F.tanh, Tensor.tanh)
_pointwise("sigmoid", torch.sigmoid, F.sigmoid, Tensor.sigmoid)
_pointwise("silu", F.silu)
_pointwise("mish", F.mish)
_pointwise("exp", torch.exp, Tensor.exp)
_pointwise("log", torch.log, Tensor.log)
_pointwise("sqrt", torch.sqrt, Tensor.sqrt)
_pointwise("square", torch.square, Tensor.square)
_pointwise("abs", torch.abs, Tensor.abs)
_pointwise("reciprocal", torch.reciprocal, Tensor.reciprocal)


@knows(F.leaky_relu)
def _leaky_relu(x: Symbol, negative_slope: float = 0.01, inplace: bool = False) -> Symbol:
    return _unless(inplace, x).builder.pointwise("leaky_relu", x, negative_slope)


@knows(F.elu)
def _elu(x: Symbol, alpha: float = 1.0, inplace: bool = False) -> Symbol:
    return _unless(inplace, x).builder.pointwise("elu", x, alpha)


@knows(F.gelu)
def _gelu(x: Symbol, approximate: str = "none") -> Symbol:
    if approximate == "none":
        return x.builder.pointwise("gelu", x)
    inner = (x * x * x * 0.044715 + x) * (2 / torch.pi) ** 0.5
    return torch.tanh(inner) * x * 0.5 + x * 0.5


@knows(F.softplus)
def _softplus(x: Symbol, beta: float = 1.0, threshold: float = 20.0) -> Symbol:
    return x.builder.pointwise("softplus", x, beta, threshold)


@knows(torch.clamp, Tensor.clamp, torch.clip, Tensor.clip)
def _clamp(x: Symbol, min: float | None = None, max: float | None = None) -> Symbol:
    low, high = (-LARGEST if min is None else min), (LARGEST if max is None else max)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        raise CannotCompile("it clamps by a tensor")
    if low != low or high != high:
        raise CannotCompile("it clamps by NaN")
    return x.builder.pointwise("clamp", x, low, high)


@knows(torch.clamp_min, Tensor.clamp_min)
def _clamp_min(x: Symbol, min: float) -> Symbol:
    return _clamp(x, min=min)


@knows(torch.clamp_max, Tensor.clamp_max)
def _clamp_max(x: Symbol, max: float) -> Symbol:
    return _clamp(x, max=max)


@knows(F.hardtanh)
def _hardtanh(x: Symbol, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Symbol:
    return _clamp(_unless(inplace, x), min_val, max_val)


@knows(F.dropout)
def _dropout(x: Symbol, p: float = 0.5, training: bool = True, inplace: bool = False) -> Symbol:
    if training and p > 0:
        raise CannotCompile("it is in training mode, where it drops values at random; call eval() before")
    return x


@knows(torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
def _add(x: Any, y: Any, *, alpha: float = 1) -> Symbol:
    return _first(x, y) + (_second(x, y) if alpha == 1 else y * alpha)


@knows(torch.mul, Tensor.mul, torch.multiply, Tensor.__mul__, Tensor.__rmul__)
def _mul(x: Any, y: Any) -> Symbol:
    return _first(x, y) * _second(x, y)


@knows(torch.sub, Tensor.sub, torch.subtract)
def _sub(x: Any, y: Any, *, alpha: float = 1) -> Symbol:
    y = y if alpha == 1 else y * alpha
    return x - y if isinstance(x, Symbol) else -y + x


@knows(Tensor.__rsub__, torch.rsub)
def _rsub(x: Any, y: Any) -> Symbol:
    return _sub(y, x)


@knows(torch.div, Tensor.div, torch.divide, torch.true_divide)
def _div(x: Any, y: Any) -> Symbol:
    return x / y if isinstance(x, Symbol) else _rdiv(y, x)


@knows(Tensor.__rtruediv__, Tensor.__rdiv__)
def _rdiv(x: Symbol, y: Any) -> Symbol:
    return x.builder.pointwise("reciprocal", x) * y


@knows(torch.neg, Tensor.neg)
def _neg(x: Symbol) -> Symbol:
    return -x


def _first(x: Any, y: Any) -> Any:
    return x if isinstance(x, Symbol) else y


def _second(x: Any, y: Any) -> Any:
    return y if isinstance(x, Symbol) else x


@knows(torch.cat, torch.concat)
def _cat(tensors: Sequence[Any], dim: int = 0) -> Symbol:
    symbols = [one for one in tensors if isinstance(one, Symbol)]
    if dim not in (1, 1 - symbols[0].dim()) or len(symbols) < len(tensors):
        raise CannotCompile("it concatenates along another axis than the channels, or with a tensor that is no input")
    return symbols[0].builder.concat(symbols)


class _Stacked:
    """Symbols along a new first axis, of which only the sum can be taken."""

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self.symbols = symbols

    def sum(self, dim: int) -> Symbol:
        if dim != 0:
            raise CannotCompile("it sums stacked values along another axis than the one that they are stacked on")
        total, *others = self.symbols
        for other in others:
            total = total + other
        return total


@knows(torch.stack)
def _stack(tensors: Sequence[Symbol], dim: int = 0) -> _Stacked:
    if dim != 0:
        raise CannotCompile("it stacks along another axis than the first")
    return _Stacked(tensors)


@knows(torch.chunk, Tensor.chunk)
def _chunk(x: Symbol, chunks: int, dim: int = 0) -> tuple[Symbol, ...]:
    return _split(x, -(-x.operand.channels // chunks), dim)


@knows(torch.split, Tensor.split)
def _split(x: Symbol, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Symbol, ...]:
    if dim not in (1, 1 - x.dim()):
        raise CannotCompile("it splits along another axis than the channels")
    total, sizes = x.operand.channels, split_size_or_sections
    if isinstance(sizes, int):
        sizes = [min(sizes, total - start) for start in range(0, total, sizes)]
    if sum(sizes) != total:
        raise ValueError(f"{total} channels cannot be split into {list(sizes)}")
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return tuple(x[:, end - size : end] for size, end in zip(sizes, ends, strict=True))


@knows(Tensor.detach, Tensor.contiguous, Tensor.clone)
def _same(x: Symbol, **_: Any) -> Symbol:
    return x


@knows(Tensor.to)
def _to(x: Symbol, like: Any) -> Symbol:
    dtype = like.dtype if isinstance(like, Tensor | Symbol) else like
    if dtype != x.dtype:
        raise CannotCompile(f"it changes the dtype to {dtype}; a plan computes in one")
    return x
