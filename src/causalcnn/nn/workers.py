"""Threads that share work on a CPU without waiting for each other.

An operation of torch that runs on two threads ends when the slower one does. Where other jobs want the same cores, one
of the two is often not running, and the other one waits: at every one of many small operations. Here each thread takes
a part of the work, does all of its operations alone, and then takes another part.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

__all__ = ["share", "threads_to_share"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def threads_to_share(device: torch.device) -> int:
    """How many threads :func:`share` would use: as many as torch, but 1 where somebody follows every operation."""
    if device.type != "cpu" or torch.compiler.is_compiling() or is_in_torch_dispatch_mode():
        return 1
    return torch.get_num_threads()


def share(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """Call a function for each item, without gradients; every call runs on one thread alone.

    Args:
        function: what to do for an item. It must not write where another call of it reads or writes.
        items: what it is called with.
        threads: how many threads; with 1, this thread does it all, as torch is set.

    Returns:
        The results in the order of the items, whoever was first.
    """
    if threads == 1:
        return [function(item) for item in items]
    inference = torch.is_inference_mode_enabled()

    def call(item: Item) -> Result:
        with torch.inference_mode(inference), torch.no_grad():  # each thread has its own modes
            return function(item)

    return list(_pool(threads).map(call, items))


@functools.lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """So many threads, in each of which an operation of torch runs on that thread alone."""
    pool = ThreadPoolExecutor(threads, "causalcnn", initializer=_alone)
    all_there = threading.Barrier(threads)
    list(pool.map(lambda _: all_there.wait(), range(threads)))
    torch.set_num_threads(threads)  # what a thread sets holds for itself and for threads that come later, not for us
    return pool


def _alone() -> None:
    """From now on, let operations in this thread run on this thread alone."""
    torch.get_num_threads()  # torch sets up a thread when it is first asked, and would undo what was set before
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # a process that is forked has the pool, but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
