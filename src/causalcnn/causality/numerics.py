"""Backend switches: which of them makes the future leak into the past by rounding, and which stops it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

__all__ = ["SWITCHES", "mkldnn", "removing_switch"]


@contextlib.contextmanager
def _setting(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def mkldnn(on: bool) -> Iterator[None]:
    """Switch oneDNN on or off, in this thread; afterwards it is as it was."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(on)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


@contextlib.contextmanager
def _cudnn(**flags: bool) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name, value in flags.items():
            stack.enter_context(_setting(torch.backends.cudnn, name, value))
        yield


SWITCHES: dict[str, dict[str, Callable[[], contextlib.AbstractContextManager]]] = {
    "cpu": {
        "torch.backends.nnpack.flags(enabled=False)": lambda: torch.backends.nnpack.flags(enabled=False),
        "torch.backends.mkldnn.enabled = True": lambda: mkldnn(True),
        "torch.backends.mkldnn.enabled = False": lambda: mkldnn(False),
    },
    "cuda": {
        "torch.backends.cudnn.allow_tf32 = False": lambda: _cudnn(allow_tf32=False),
        "torch.backends.cuda.matmul.allow_tf32 = False": lambda: _setting(
            torch.backends.cuda.matmul, "allow_tf32", False
        ),
        "torch.backends.cudnn.benchmark = False": lambda: _cudnn(benchmark=False),
        "torch.backends.cudnn.deterministic = True": lambda: _cudnn(deterministic=True),
        "torch.backends.cudnn.enabled = False": lambda: _cudnn(enabled=False),
    },
}
"""For each kind of device: single switches, mildest first."""

NEWER: dict[str, dict[str, Callable[[], contextlib.AbstractContextManager]]] = {
    "torch.backends.cudnn.allow_tf32 = False": {
        "torch.backends.cudnn.conv.fp32_precision = 'ieee'": lambda: _setting(
            torch.backends.cudnn.conv,  # type: ignore[attr-defined]
            "fp32_precision",
            "ieee",
        ),
        "torch.backends.cudnn.rnn.fp32_precision = 'ieee'": lambda: _setting(
            torch.backends.cudnn.rnn, "fp32_precision", "ieee"
        ),
    },
    "torch.backends.cuda.matmul.allow_tf32 = False": {
        "torch.backends.cuda.matmul.fp32_precision = 'ieee'": lambda: _setting(
            torch.backends.cuda.matmul, "fp32_precision", "ieee"
        ),
    },
}
"""Newer names of some switches: once these were used, torch refuses the older ones."""


def _usable(device: str) -> Iterator[tuple[str, Callable[[], contextlib.AbstractContextManager]]]:
    for name, context in SWITCHES.get(device, {}).items():
        try:
            with context():
                pass
        except RuntimeError:
            yield from NEWER.get(name, {}).items()
        else:
            yield name, context


def removing_switch(device: str, leak: Callable[[], float]) -> tuple[str | None, dict[str, float]]:
    """Find the first single switch under which ``leak()`` is exactly 0, and note what each one left."""
    left = {}
    for name, context in _usable(device):
        with context():
            left[name] = leak()
        if left[name] == 0:
            return name, left
    return None, left
