"""The base of every interactive figure: live in Jupyter, live on the static page, a true picture without JavaScript.

A figure is an `anywidget <https://anywidget.dev>`_: its traits are the sliders, one ES module draws. In
Jupyter it is synchronised both ways, so a chapter may observe a slider and run torch on it. In the built
book ``figure-host.js`` mounts the same module from the widget state in the page, without a kernel and
without a request, over the static picture that this class writes for first paint, print and readers
without JavaScript.
"""

from __future__ import annotations

import atexit
import html
import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from causalcnn._extras import require
from causalcnn_book import palette
from causalcnn_book.script import module, rules

if TYPE_CHECKING:
    import anywidget
    import traitlets
else:
    anywidget = require("anywidget", extra="figures")
    traitlets = require("traitlets", extra="figures")

__all__ = ["Explorer", "module", "style_sheet"]

VIEW = "application/vnd.jupyter.widget-view+json"
WIDE, NARROW = 700, 330
"""Widths in pixels for which the static picture is drawn: a page's text column, a phone."""

_serial = itertools.count(1)


@cache
def _engine(name: str) -> Callable[[str], Any]:
    """Run a module in an embedded V8, where ``figure`` is what it exports: from an expression to its value."""
    make = require("py_mini_racer", extra="book").MiniRacer
    with ThreadPoolExecutor(1) as pool:  # where an event loop runs, an engine would live on it, and end with it
        v8 = pool.submit(make).result()
    atexit.register(v8.close)  # left to the interpreter's end, it once in a while waits there forever
    v8.eval(module(name).replace("export default", "var figure ="))
    return lambda expression: json.loads(v8.eval(f"JSON.stringify({expression})"))


@cache
def style_sheet() -> str:
    """Give the palette and the figures' own rules, as CSS."""
    return palette.css() + rules()


class Explorer(anywidget.AnyWidget):
    """An interactive figure: a subclass names its module and gives the traits.

    The reader moves its controls, in a notebook and on the static page alike, and the picture, the sentence below it
    and the numbers follow. What a figure draws, says and counts is written in JavaScript alone; :meth:`read` and
    :meth:`draw` run that very module in Python, so that its numbers can be compared with those of the library.

    The module ends in a declaration, ``explorer({…})``: the traits that are its state, its limits, numbers, picture,
    sentence, controls, and what keys and the pointer change (``types.d.ts`` describes each).

    Args:
        **state: the figure's first state: any trait by its name, those of the subclass and those listed here.

    Attributes:
        name: what the figure is called in the page's address: ``#cone:kernel_size=3,layers=4``.
        caption: one sentence below the figure.
        alt: what the figure shows, for readers who do not see it; each figure has a default.
        controls: names of the controls on display, of those that the figure has; the others keep their value.
            Default: all.
        readouts: names of the numbers on display, of those that the figure has; default: all.
        url_keys: names of the traits that the page's address keeps.

    Raises:
        TypeError: a keyword is not the name of a trait.
        ValueError: ``controls`` or ``readouts`` names one that the figure does not have.
        traitlets.TraitError: a value is of another type than its trait, or outside its limits.

    Example:
        >>> from causalcnn_book.causality import ConeExplorer
        >>> figure = ConeExplorer(kernel_size=5, layers=2, controls=("kernel_size", "layers"))
        >>> figure.read()["size"], figure.draw()["sentence"]
        (9, 'The chosen output reads 9 inputs, back to 8 frames (80 ms) ago, and none from the future.')
        >>> ConeExplorer(speed=2)
        Traceback (most recent call last):
        TypeError: ConeExplorer has no 'speed'; it has alt, at, caption, channels, ...
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

    @traitlets.default("controls")
    def _all_controls(self) -> list[str]:
        return list(self._controls)

    @traitlets.default("readouts")
    def _all_readouts(self) -> list[str]:
        return list(self._readouts)

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

    def _ask(self, call: str) -> Any:
        """What the module answers to ``call``, in which ``s`` is the present state."""
        engine = _engine(self._module)
        given = json.dumps({key: getattr(self, key) for key in engine("figure.traits")})
        return engine(f"((s) => figure.{call})({given})")

    def read(self) -> dict[str, Any]:
        """Count the numbers of the present state, as the module does.

        Returns:
            The numbers by name, which the subclass explains.

        Raises:
            ImportError: mini-racer, which runs the module, is not installed.
        """
        return self._ask("read(s)")

    def draw(self, width: int = WIDE, unique: str = "cc") -> dict[str, Any]:
        """Draw the present state, and say in words what it shows, as the module does.

        Args:
            width: pixels; 700 is a page's column of text, 330 a phone.
            unique: a prefix for the ids inside, different for each picture on a page.

        Returns:
            ``picture`` (the inside of an SVG), ``height`` (pixels), ``sentence``, ``readouts`` (each with ``key``,
            ``label``, ``text`` and perhaps ``note``).

        Raises:
            ImportError: mini-racer, which runs the module, is not installed.
        """
        return self._ask(f"view(s, {width}, {json.dumps(unique)})")

    def static(self) -> str:
        """Write the figure as it first appears, without controls, as HTML: for print and readers without JavaScript.

        Where mini-racer is not installed it is the alternative text alone.

        Returns:
            HTML with two pictures, for a page's column of text and for a phone, the sentence, the numbers on display
            and the caption.
        """
        try:
            views = {width: self.draw(width, f"ccs{next(_serial)}") for width in (WIDE, NARROW)}
        except ImportError:
            return f'<div class="cc-fig"><p class="cc-says">{html.escape(self.alt)}</p></div>'
        drawings = "".join(
            f'<svg class="cc-{"wide" if width == WIDE else "narrow"}" viewBox="0 0 {width} {view["height"]}" '
            f'style="height:{view["height"]}px" role="img" aria-label="{html.escape(self.alt)}">{view["picture"]}</svg>'
            for width, view in views.items()
        )
        rows = "".join(
            f"<div><dt>{html.escape(row['label'])}</dt>"
            f"<dd>{html.escape(row['text'])}<small>{html.escape(row.get('note', ''))}</small></dd></div>"
            for row in views[WIDE]["readouts"]
            if row["key"].split("-")[0] in self.readouts
        )
        kinds = (kind for name, kind in self._controls.items() if name in self.controls)
        places = "".join(f'<div class="cc-place cc-place-{kind}"></div>' for kind in kinds)
        caption = f'<p class="cc-caption">{html.escape(self.caption)}</p>' if self.caption else ""
        return (
            f'<div class="cc-fig"><div class="cc-stage">{drawings}</div>'
            f'<p class="cc-says">{html.escape(views[WIDE]["sentence"])}</p><dl class="cc-stats">{rows}</dl>'
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
        data["text/plain"] = f"{type(self).__name__}: {self.alt}"
        return data, metadata
