"""The next batches are made while the model works on this one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["Prefetcher"]

AHEAD = 2
"""How many batches are made beforehand."""


class Prefetcher:
    """Batches in the order of their steps, made ahead by a thread that ends with the ``with`` block.

    A batch is a function of its step alone, so that it changes nothing how far ahead the thread was when a training
    was interrupted.

    Args:
        make: a pure function from the number of a step to its batch, called in order, in another thread.
        device: where the batches go.
        first: number of the first step.

    Attributes:
        waiting_seconds: the seconds that :meth:`next` has waited for batches.
    """

    waiting_seconds: float

    def __init__(self, make: Callable[[int], Any], device: torch.device, first: int = 0) -> None:
        self._make, self._device, self._next_step = make, device, first
        self._ready: deque[Future[tuple[Any, int]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self.waiting_seconds = 0.0
        for _ in range(AHEAD):
            self._submit()

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def next(self) -> tuple[Any, int]:
        """The next batch, on the device, and its number of real frames. Errors of making it are raised here."""
        began = time.perf_counter()
        batch, frames = self._ready.popleft().result()
        self.waiting_seconds += time.perf_counter() - began
        self._submit()
        return batch, frames

    def _submit(self) -> None:
        self._ready.append(self._thread.submit(self._prepared, self._next_step))
        self._next_step += 1

    def _prepared(self, step: int) -> tuple[Any, int]:
        batch = self._make(step)
        return _to_device(batch, self._device), _count_frames(batch)


def _to_device(batch: Any, device: torch.device) -> Any:
    """``batch.to(device)``, or the same for every tensor of a nesting of tuples, lists and dicts."""
    if hasattr(batch, "to"):
        return batch.to(device)
    return pytree.tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, batch)


def _count_frames(batch: Any) -> int:
    """Real frames: those that ``batch.mask`` counts; without a mask those of the first tensor, time being axis 2."""
    mask = getattr(batch, "mask", None)
    if isinstance(mask, Tensor):
        return int(mask.sum())
    leaves = [leaf for leaf in pytree.tree_leaves(batch) if isinstance(leaf, Tensor)]
    return leaves[0].shape[0] * leaves[0].shape[2] if leaves and leaves[0].dim() >= 3 else 0
