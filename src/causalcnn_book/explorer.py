"""The base of every interactive figure: live in Jupyter, live on the static page, a true picture without JavaScript.

A figure is an `anywidget <https://anywidget.dev>`_: its traits are the sliders, one ES module draws. In
Jupyter it is synchronised both ways, so a chapter may observe a slider and run torch on it. In the built
book ``figure-host.js`` mounts the same module from the widget state in the page, without a kernel and
without a request, over the static picture that this class writes for first paint, print and readers
without JavaScript.
"""

from __future__ import annotations

import html
import itertools
import json
import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from causalcnn._extras import require
from causalcnn_book import palette

if TYPE_CHECKING:
    import anywidget
    import traitlets
else:
    anywidget = require("anywidget", extra="figures")
    traitlets = require("traitlets", extra="figures")

__all__ = ["Explorer", "module", "style_sheet"]

HERE = Path(__file__).parent
VIEW = "application/vnd.jupyter.widget-view+json"
WIDE, NARROW = 700, 330
"""Widths in pixels for which the static picture is drawn: a page's text column, a phone."""

_serial = itertools.count(1)


@cache
def module(name: str) -> str:
    """The ES module of an explorer: ``<name>.js`` and what it imports, ``explorer.js`` for example, as one text.

    One text, because the page loads it from a Blob, where a relative import has nothing to be relative to.
    Comments and indentation are left out: the text travels with every figure.

    Args:
        name: the module's path below this package without its suffix, ``"causality/cone_explorer"`` for example.
    """
    path = HERE / f"{name}.js"
    own = path.read_text("utf-8")
    imported = re.findall(r'^import .*? from "(\.\S+\.js)";$', own, flags=re.M)
    parts = [*((path.parent / part).read_text("utf-8") for part in imported), own]
    text = re.sub(r"^import .*?;$", "", "\n".join(parts), flags=re.M)
    text = re.sub(r"^export (?!default)", "", text, flags=re.M)
    for name, colours in (("ENERGY", palette.energy(33)), ("ALARM", palette.alarm(33))):
        text = text.replace(f"/*{name}*/", json.dumps(colours)[1:-1])
    text = re.sub(r"^\s*/\*\*.*?\*/\s*$", "", text, flags=re.M | re.S)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("// ")) + "\n"


@cache
def style_sheet() -> str:
    """The palette and the figures' own rules, as CSS."""
    return palette.css() + (HERE / "explorer.css").read_text("utf-8")


class Explorer(anywidget.AnyWidget):
    """An interactive figure. Subclasses name their module and draw the static picture.

    Args:
        name: what the figure is called in the page's address: ``#cone:kernel_size=3,layers=4``.
        caption: one sentence below the figure.
        alt: what the figure shows, for readers who do not see it; each figure has a default.
        controls: names of the controls on display, of those that the figure has; the others keep their value.
        readouts: names of the numbers on display.

    Every other trait is a keyword too, and is the figure's first state.
    """

    _module: ClassVar[str]
    _css = style_sheet()
    _controls: ClassVar[dict[str, str]] = {}  # name of each control → what it looks like, to keep its place
    _readouts: ClassVar[tuple[str, ...]] = ()  # names of the numbers that the figure reads off

    name = traitlets.Unicode("figure").tag(sync=True)
    caption = traitlets.Unicode("").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    controls = traitlets.List(traitlets.Unicode()).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "_module" in vars(cls):
            cls._esm = module(cls._module)
        super().__init_subclass__(**kwargs)

    def __init__(self, **state: Any) -> None:
        unknown = sorted(set(state) - set(self.trait_names()))
        if unknown:
            own = sorted({*Explorer.class_own_traits(), *self.class_own_traits()} - {"url_keys"})
            raise TypeError(f"{type(self).__name__} has no {unknown[0]!r}; it has {', '.join(own)}")
        for key, known in (("controls", self._controls), ("readouts", self._readouts)):
            wrong = sorted(set(state.get(key, ())) - set(known))
            if wrong:
                raise ValueError(f"{key} names {wrong[0]!r}; this figure has {', '.join(known)}")
        super().__init__(**{key: list(v) if isinstance(v, tuple) else v for key, v in state.items()})

    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """The SVG (its inside) of the present state at ``width`` pixels, and its height.

        Args:
            width: pixels; 700 is a page's column of text, 330 a phone.
            unique: a prefix for the ids inside, different for each picture on a page.
        """
        raise NotImplementedError

    def sentence(self) -> str:
        """The sentence below the picture."""
        raise NotImplementedError

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """What the figure reads off: name, label, value, note."""
        raise NotImplementedError

    def static(self) -> str:
        """The figure as it first appears, without controls, as HTML: for print and readers without JavaScript."""
        drawings = []
        for kind, width in (("wide", WIDE), ("narrow", NARROW)):
            inside, height = self.picture(width, f"ccs{next(_serial)}")
            drawings.append(
                f'<svg class="cc-{kind}" viewBox="0 0 {width} {height}" style="height:{height}px" role="img" '
                f'aria-label="{html.escape(self.alt)}">{inside}</svg>'
            )
        rows = "".join(
            f"<div><dt>{html.escape(label)}</dt><dd>{html.escape(text)}<small>{html.escape(note)}</small></dd></div>"
            for key, label, text, note in self.readout_rows()
            if key in self.readouts
        )
        kinds = (kind for name, kind in self._controls.items() if name in self.controls)
        places = "".join(f'<div class="cc-place cc-place-{kind}"></div>' for kind in kinds)
        caption = f'<p class="cc-caption">{html.escape(self.caption)}</p>' if self.caption else ""
        return (
            f'<div class="cc-fig"><div class="cc-stage">{"".join(drawings)}</div>'
            f'<p class="cc-says">{html.escape(self.sentence())}</p><dl class="cc-stats">{rows}</dl>'
            f'<div class="cc-controls">{places}</div>{caption}</div>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget's view for Jupyter, and as HTML the same view over its static picture, for the page."""
        bundle: Any = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        if VIEW not in (data or {}):
            return bundle
        data["text/html"] = (
            f'<div class="cc-host"><style>{style_sheet()}</style>'
            f'<script type="{VIEW}">{json.dumps(data[VIEW])}</script>'
            f'<div class="cc-static">{self.static()}</div></div>'
        )
        data["text/plain"] = f"{type(self).__name__}: {self.sentence()}"
        return data, metadata


# --- numbers as the modules write them, so that a picture from Python and one from JavaScript are the same text


def tidy(x: float) -> str:
    """One decimal at most, rounded as JavaScript rounds."""
    value = math.floor(x * 10 + 0.5) / 10
    return str(int(value)) if value == int(value) else repr(value)


def count(n: int) -> str:
    """A whole number with thousands separators and a real minus sign."""
    return f"{n:,}".replace("-", "−")


def plural(n: int, word: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{count(n)} {word}{'' if n == 1 else 's'}"


def duration(frames: float, rate_hz: float) -> str:
    """Frames as milliseconds, or seconds from ten on."""
    milliseconds = frames * 1000 / rate_hz
    value, unit = (milliseconds / 1000, "s") if abs(milliseconds) >= 10000 else (milliseconds, "ms")
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    text = str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))  # as JavaScript's toFixed
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{'0' if text in ('-0', '') else text} {unit}".replace("-", "−")


def nice_step(unit: float, min_gap: float) -> int:
    """The smallest of 1, 2, 5, 10, … steps whose marks lie ``min_gap`` apart."""
    power = 1
    while True:
        for m in (1, 2, 5):
            if m * power * unit >= min_gap:
                return m * power
        power *= 10


def time_axis(
    first: int,
    last: int,
    *,
    x: Callable[[float], float],
    dx: float,
    now: int,
    right: float,
    left: float,
    y: float,
    rate_hz: float,
) -> str:
    """Marks and labels of time relative to ``now``: frames, and below them their duration."""
    step = nice_step(dx, 66)
    out = f'<text class="cc-quiet" x="{left - 8}" y="{y + 18}" text-anchor="end">frames</text>'
    for k in range(math.ceil((first - now) / step), math.floor((last - now) / step) + 1):
        at = x(now + k * step)
        t = tidy(at)
        if at > right - 26 or at < left + 16:
            continue
        out += f'<path class="cc-tick" d="M{t} {y}v5"/>'
        out += f'<text class="cc-digits" x="{t}" y="{y + 18}" text-anchor="middle">{count(k * step)}</text>'
        spoken = duration(k * step, rate_hz)
        out += f'<text class="cc-digits cc-quiet" x="{t}" y="{y + 35}" text-anchor="middle">{spoken}</text>'
    return out
