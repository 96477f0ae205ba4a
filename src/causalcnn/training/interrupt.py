"""How a training ends before its budget does: somebody stops it, or its numbers do."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from causalcnn.training.history import History

__all__ = ["Interrupted", "NonFiniteLoss", "catch_signals"]


class Interrupted(KeyboardInterrupt):
    """The training was stopped from outside, between two steps; the message says how to go on.

    Args:
        message: how to go on.
        history: what happened until then.

    Attributes:
        history: what happened until then.
    """

    history: History

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


class NonFiniteLoss(ArithmeticError):
    """The loss, its gradient or a weight became NaN or infinite; the message names the step and the last checkpoint."""


@contextmanager
def catch_signals() -> Iterator[threading.Event]:
    """Let Ctrl-C, and the SIGTERM by which a cluster takes its machine back, only set an event inside the block.

    So the current step is finished; if it were torn, half of the weights would be newer than the others. A second
    Ctrl-C stops at once, but only if it comes more than a second later, because ``torchrun`` passes on a Ctrl-C that
    its processes have already got. Outside the main thread nothing can be caught, and nothing changes.

    Yields:
        The event that is set when a stop is requested.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed a second time.
    """
    stop_requested = threading.Event()
    first = 0.0

    def handle(number: int, frame: Any) -> None:
        nonlocal first
        if not stop_requested.is_set():
            stop_requested.set()
            first = time.monotonic()
            print("\nStopping after this step. Ctrl-C once more stops at once.", file=sys.stderr, flush=True)
        elif number == signal.SIGINT and time.monotonic() - first > 1:
            raise KeyboardInterrupt

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop_requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
