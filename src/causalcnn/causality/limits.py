"""A limit of time for a question: looked at between operations, so that nothing is left half-done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from torch.overrides import TorchFunctionMode

__all__ = ["TimeUp", "check_time", "time_limit", "watched"]

_END: ContextVar[float | None] = ContextVar("_END", default=None)


class TimeUp(BaseException):
    """The time is up. No ``except Exception`` of a network keeps it."""


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Let :func:`check_time` raise :class:`TimeUp` once so many seconds have passed; None for no limit."""
    before = _END.set(None if seconds is None else time.monotonic() + seconds)
    try:
        yield
    finally:
        _END.reset(before)


def check_time() -> None:
    """Raise :class:`TimeUp` where the time is up."""
    end = _END.get()
    if end is not None and time.monotonic() > end:
        raise TimeUp


class _Watch(TorchFunctionMode):
    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        check_time()
        return func(*args, **(kwargs or {}))


def watched() -> contextlib.AbstractContextManager:
    """Look at the clock before every function of torch, where there is a limit."""
    check_time()
    return contextlib.nullcontext() if _END.get() is None else _Watch()
