"""Figures of the book: interactive explorers, matplotlib pictures that follow the page's theme, one palette.

Interactive figures need the extra ``figures`` (anywidget); so do the matplotlib pictures. The palette needs
nothing. Everything is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import palette

if TYPE_CHECKING:
    from .cone import ConeExplorer
    from .figure import Figure

_HOMES = {
    "ConeExplorer": "cone",
    "Figure": "figure",
}

__all__ = ["ConeExplorer", "Figure", "palette"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
