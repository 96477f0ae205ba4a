"""Figures of the book: interactive explorers, pictures that follow the page's theme, one palette.

Interactive figures need the extra ``figures`` (anywidget); so do the matplotlib pictures. The palette needs
nothing. Everything is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import palette

if TYPE_CHECKING:
    from .bins import BinsExplorer
    from .codebook import CodebookExplorer
    from .cone import ConeExplorer
    from .figure import Figure
    from .frames import drift_lines, frame_wiring
    from .hierarchy import HierarchyExplorer
    from .labels import intervals, labels_over_time
    from .laws import LawExplorer
    from .leaks import LeakExplorer
    from .memory import MemoryExplorer
    from .orders import OrderExplorer
    from .picture import Picture, new_figure, show, style
    from .plots import codes, curves, heat, heats, response_grid, voice_activity, wave, wave_and_mel
    from .ranges import RangeExplorer
    from .remembering import lines_back
    from .response import ResponseExplorer
    from .responses import AllOnes
    from .stacks import StackExplorer
    from .temperature import TemperatureExplorer
    from .window import WindowExplorer

_HOMES = {
    "AllOnes": "responses",
    "BinsExplorer": "bins",
    "CodebookExplorer": "codebook",
    "ConeExplorer": "cone",
    "Figure": "figure",
    "HierarchyExplorer": "hierarchy",
    "LawExplorer": "laws",
    "LeakExplorer": "leaks",
    "MemoryExplorer": "memory",
    "OrderExplorer": "orders",
    "Picture": "picture",
    "RangeExplorer": "ranges",
    "ResponseExplorer": "response",
    "StackExplorer": "stacks",
    "TemperatureExplorer": "temperature",
    "WindowExplorer": "window",
    "codes": "plots",
    "curves": "plots",
    "drift_lines": "frames",
    "frame_wiring": "frames",
    "heat": "plots",
    "heats": "plots",
    "intervals": "labels",
    "labels_over_time": "labels",
    "lines_back": "remembering",
    "new_figure": "picture",
    "response_grid": "plots",
    "show": "picture",
    "style": "picture",
    "voice_activity": "plots",
    "wave": "plots",
    "wave_and_mel": "plots",
}

__all__ = [
    "AllOnes",
    "BinsExplorer",
    "CodebookExplorer",
    "ConeExplorer",
    "Figure",
    "HierarchyExplorer",
    "LawExplorer",
    "LeakExplorer",
    "MemoryExplorer",
    "OrderExplorer",
    "Picture",
    "RangeExplorer",
    "ResponseExplorer",
    "StackExplorer",
    "TemperatureExplorer",
    "WindowExplorer",
    "codes",
    "curves",
    "drift_lines",
    "frame_wiring",
    "heat",
    "heats",
    "intervals",
    "labels_over_time",
    "lines_back",
    "new_figure",
    "palette",
    "response_grid",
    "show",
    "style",
    "voice_activity",
    "wave",
    "wave_and_mel",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
