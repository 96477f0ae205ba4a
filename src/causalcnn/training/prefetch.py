"""The next batches are made while the model works on this one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["Prefetched", "frames_of", "prefetched", "to_device"]


class Prefetched:
    """Batches in order of their steps, made ahead by a thread.

    What comes is a function of the step alone: how far ahead the thread was when a training was interrupted changes
    nothing.
    """

    def __init__(
        self, make: Callable[[int], Any], device: torch.device, first: int, thread: ThreadPoolExecutor, ahead: int
    ) -> None:
        self._make, self._device, self._thread = make, device, thread
        self._next = first
        self._ready: deque[Future[tuple[Any, int]]] = deque()
        self.waiting_seconds = 0.0
        for _ in range(ahead):
            self._ask()

    def take(self) -> tuple[Any, int]:
        """The next batch, on the device, and its number of real frames. What its making raised is raised here."""
        began = time.perf_counter()
        batch, frames = self._ready.popleft().result()
        self.waiting_seconds += time.perf_counter() - began
        self._ask()
        return batch, frames

    def _ask(self) -> None:
        self._ready.append(self._thread.submit(self._made, self._next))
        self._next += 1

    def _made(self, step: int) -> tuple[Any, int]:
        batch = self._make(step)
        return to_device(batch, self._device), frames_of(batch)


@contextmanager
def prefetched(
    make: Callable[[int], Any], device: torch.device, *, first: int = 0, ahead: int = 2
) -> Iterator[Prefetched]:
    """Batches from step ``first`` on, ``ahead`` of them made beforehand; the thread ends with the block.

    Args:
        make: step → batch; a pure function, called in order, in another thread.
        device: where the batches go.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        yield Prefetched(make, device, first, thread, ahead)
    finally:
        thread.shutdown(wait=True, cancel_futures=True)


def to_device(batch: Any, device: torch.device) -> Any:
    """``batch.to(device)``, or the same for every tensor of a nesting of tuples, lists and dicts."""
    if hasattr(batch, "to"):
        return batch.to(device)
    return pytree.tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, batch)


def frames_of(batch: Any) -> int:
    """Real frames: those that ``batch.mask`` counts; without a mask those of the first tensor, time being axis 2."""
    mask = getattr(batch, "mask", None)
    if isinstance(mask, Tensor):
        return int(mask.sum())
    leaves = [leaf for leaf in pytree.tree_leaves(batch) if isinstance(leaf, Tensor)]
    return leaves[0].shape[0] * leaves[0].shape[2] if leaves and leaves[0].dim() >= 3 else 0
