"""What layers do differently while ``torch.export`` traces them, when the number of frames is a symbol.

A symbol cannot be asked whether it is zero without deciding it for ever. So a layer has no branch there for a piece
that completes nothing. Where such pieces must be traced, too, one window of zeros is put in front, and what comes of it
is dropped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["is_exporting", "over_windows", "pad_if_none", "short_pieces", "untraced"]

_FRAMES: ContextVar[int | torch.SymInt | None] = ContextVar("frames", default=None)
T = TypeVar("T")


def is_exporting() -> bool:
    """Whether ``torch.export`` is tracing; torch 2.6 cannot say so, and there nothing is exported."""
    return getattr(torch.compiler, "is_exporting", bool)()


@contextlib.contextmanager
def short_pieces(frames: int | torch.SymInt) -> Iterator[None]:
    """Trace layers here so that a piece may complete nothing.

    Elsewhere every layer gives at least one frame, as the layers of torch do.

    Args:
        frames: how many frames the piece has, at least 1.
    """
    token = _FRAMES.set(frames)
    try:
        yield
    finally:
        _FRAMES.reset(token)


def untraced(function: Callable[[], T]) -> T:
    """Call a function that makes constants: a tracer sees what it returns, and not how it was made."""
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes():
        return function()


def over_windows(frames: Tensor, window: int, stride: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function that gives one output for each complete window, also where there may be none.

    Args:
        frames: history and piece, ``(batch, channels, frames, …)``; at least ``window − stride`` frames.
        window: frames under a window.
        stride: frames from one window to the next.
        function: as a convolution; its output has one frame for each window that lies wholly in its input.

    Returns:
        The outputs, ``(batch, out_channels, windows, …)``.
    """
    padded, missing = pad_if_none(frames, (frames.shape[2] - (window - stride)) // stride, stride)
    return function(padded) if padded is frames else function(padded)[:, :, missing:]


def pad_if_none(frames: Tensor, count: int | torch.SymInt, size: int) -> tuple[Tensor, int | torch.SymInt]:
    """Put ``size`` frames of zeros in front where ``count`` is 0 and :func:`short_pieces` are traced.

    Args:
        frames: any frames, ``(batch, channels, frames, …)``.
        count: how many outputs they have, perhaps a symbol.
        size: how many frames one output needs.

    Returns:
        The frames, ``(batch, channels, frames, …)``; and how many outputs are to be dropped for it: the number 0 where
        it is known that there is an output, else a symbol that is 0 or 1.
    """
    given = _FRAMES.get()
    if given is None or _is_at_least_one(count, given):
        return frames, 0
    missing = torch.sym_max(count, 1) - count
    return F.pad(frames, (0, 0) * (frames.dim() - 3) + (missing * size, 0)), missing


def _is_at_least_one(count: int | torch.SymInt, frames: int | torch.SymInt) -> bool:
    """Whether that is so for any piece, and any number of frames that wait in a state.

    The tracer's own ranges cannot be asked: after a reshape they may say that no size is 1.
    """
    if isinstance(count, int):
        return count >= 1
    from torch.utils._sympy.numbers import int_oo
    from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

    pieces = frames.node.expr.free_symbols if isinstance(frames, torch.SymInt) else set()
    expression = count.node.expr
    ranges = {symbol: ValueRanges(1 if symbol in pieces else 0, int_oo) for symbol in expression.free_symbols}
    return bool(bound_sympy(expression, ranges).lower >= 1)
