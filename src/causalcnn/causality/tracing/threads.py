"""Work that a network hands to other threads or processes: PyTorch shows a trace the operations of one thread only."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch import Tensor

__all__ = ["no_other_threads", "unseen_writes"]

SCRIPTS = (torch._C.ScriptFunction, torch._C.ScriptMethod)
"""What runs TorchScript when it is called."""

HIDES = ("prim::tolist", "prim::fork", "prim::PythonOp")
"""Nodes of TorchScript by which numbers leave torch, or other threads are started, unseen."""

STARTS = (
    (threading.Thread, "start"),
    (BaseProcess, "start"),
    (ThreadPoolExecutor, "submit"),
    (ProcessPoolExecutor, "submit"),
)
"""What begins such work."""


@contextlib.contextmanager
def no_other_threads(refuse: Callable[[str, str], None]) -> Iterator[None]:
    """Call ``refuse`` where this thread, while the context is open, hands work to another one."""
    me = threading.get_ident()

    def guarded(owner: type, name: str, original: Callable) -> Callable:
        def begin(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == me:
                refuse(f"{owner.__name__}.{name}", "what another thread computes is not seen")
            return original(*args, **kwargs)

        return begin

    def read(original: Callable) -> Callable:
        def run(script: Any, *args: Any, **kwargs: Any) -> Any:
            graph = str(script.inlined_graph)
            for node in HIDES:
                if node in graph:
                    refuse(node, "TorchScript reads numbers there that no operation shows")
            return original(script, *args, **kwargs)

        return run

    originals = [(owner, name, getattr(owner, name)) for owner, name in STARTS]
    scripts = [(script, script.__call__) for script in SCRIPTS]
    try:
        for script, original in scripts:
            script.__call__ = read(original)  # type: ignore[method-assign]
        for owner, name, original in originals:
            setattr(owner, name, guarded(owner, name, original))
        yield
    finally:
        for script, original in scripts:
            script.__call__ = original  # type: ignore[method-assign]
        for owner, name, original in originals:
            setattr(owner, name, original)


def unseen_writes(versions: dict[int, tuple[Tensor, int]], written: set[int]) -> bool:
    """Say whether a tensor was written that no operation wrote: by a thread that was there before.

    Args:
        versions: tensors that lived before the run, by their ``id``, and their versions then.
        written: the storages that operations of the run wrote.

    Returns:
        Whether there is one.
    """
    return any(
        tensor._version != before and tensor.untyped_storage()._cdata not in written
        for tensor, before in versions.values()
    )
