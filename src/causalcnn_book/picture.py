"""matplotlib figures as pictures of the page: inline SVG whose colours and type follow the reader's theme.

A picture is drawn twice where its plot allows it, for a page's column of text and for a phone, so that its
labels are as large as the text on both. The colours of :data:`causalcnn_book.palette.LIGHT` become
custom properties (``var(--cc-past, …)``), which is all that a dark page needs.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from causalcnn._extras import require
from causalcnn_book import palette

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "new_figure", "show", "style"]

WIDE, NARROW = 700, 340
"""Widths in pixels: a page's column of text, a phone."""

FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif'
_serial = itertools.count(1)

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "causalcnn",
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": palette.LIGHT["future"],
    "axes.labelcolor": palette.LIGHT["muted"],
    "axes.titlecolor": palette.LIGHT["ink"],
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.labelsize": 13,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.unicode_minus": True,
    "grid.color": palette.LIGHT["grid"],
    "text.color": palette.LIGHT["ink"],
    "xtick.color": palette.LIGHT["future"],
    "ytick.color": palette.LIGHT["future"],
    "xtick.labelcolor": palette.LIGHT["muted"],
    "ytick.labelcolor": palette.LIGHT["muted"],
    "xtick.labelsize": 12.5,
    "ytick.labelsize": 12.5,
    "xtick.major.size": 4,
    "ytick.major.size": 4,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "image.cmap": "causalcnn_energy",
    "image.interpolation": "none",
    "hatch.linewidth": 1,
    "hatch.color": palette.LIGHT["future"],
}


@contextmanager
def style() -> Iterator[None]:
    """Set the book's style sheet for matplotlib, while the block runs.

    It knows the colour maps ``causalcnn_energy`` and ``causalcnn_signed``; colours come from
    :data:`causalcnn_book.palette.LIGHT`, for dark pages too.

    Yields:
        Nothing. Figures that are made inside the block have the style.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> import matplotlib
        >>> from causalcnn_book import style
        >>> with style():
        ...     matplotlib.rcParams["image.cmap"]
        'causalcnn_energy'
    """
    matplotlib = require("matplotlib", extra="figures")
    colors = require("matplotlib.colors", extra="figures")
    for name, table in (("energy", palette.energy()), ("signed", palette.diverging())):
        if f"causalcnn_{name}" not in matplotlib.colormaps:
            matplotlib.colormaps.register(colors.ListedColormap(table, name=f"causalcnn_{name}"))
    cycle = require("cycler", extra="figures").cycler(
        color=[palette.LIGHT[name] for name in ("past", "top", "bottom", "present", "speaker_b")]
    )
    with matplotlib.rc_context({**STYLE, "axes.prop_cycle": cycle}):
        yield


def new_figure(width: int = WIDE, height: int = 260) -> Figure:
    """Make an empty figure. Use it inside :func:`style`.

    Args:
        width: CSS pixels.
        height: CSS pixels.

    Returns:
        The figure, 72 dots an inch.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = require("matplotlib.figure", extra="figures").Figure
    return figure(figsize=(width / 72, height / 72), layout="constrained")


class Picture:
    """A drawn picture: what a cell ends with. Its HTML is inline SVG with a description.

    The arguments are its attributes, too. :func:`show` makes one from a matplotlib figure.

    Args:
        drawings: width in CSS pixels → SVG; one, or a wide one and one for a phone.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture, or ``""``.

    Raises:
        ValueError: ``alt`` is empty.

    Example:
        >>> from causalcnn_book import Picture
        >>> picture = Picture({700: '<svg viewBox="0 0 700 10"></svg>'}, alt="An empty strip.")
        >>> picture, "<svg" in picture._repr_html_()
        (<Picture: An empty strip.>, True)
    """

    def __init__(self, drawings: dict[int, str], alt: str, caption: str = "") -> None:
        if not alt.strip():
            raise ValueError("alt is empty; say in a sentence what the picture shows")
        self.drawings, self.alt, self.caption = drawings, alt, caption

    def _repr_html_(self) -> str:
        widths = sorted(self.drawings, reverse=True)
        kinds = [""] if len(widths) == 1 else ["cc-wide", "cc-narrow"]
        body = "".join(
            f'<div class="{kind}">{self.drawings[width]}</div>' for kind, width in zip(kinds, widths, strict=True)
        )
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure class="cc-picture"><style>{palette.css()}{CSS}</style>{body}{caption}</figure>'

    def __repr__(self) -> str:
        return f"<Picture: {self.alt}>"


CSS = (
    ".cc-picture{margin:1.4rem 0;color:var(--cc-ink)}.cc-picture svg{display:block;width:100%;height:auto}"
    ".cc-picture svg *{stroke-linejoin:round;stroke-linecap:butt}"  # else matplotlib says so for the whole page
    ".cc-picture figcaption{font-size:.88rem;color:var(--cc-muted);margin-top:.5rem}"
    ".cc-picture .cc-narrow{display:none}"
    "@media (max-width:600px){.cc-picture .cc-narrow{display:block}.cc-picture .cc-wide{display:none}}"
)


def show(drawing: Figure | Callable[[Figure, int], None], *, alt: str, caption: str = "", height: int = 260) -> Picture:
    """Turn a matplotlib figure into a picture of the page, which follows the reader's theme.

    Args:
        drawing: a finished figure, drawn once; or a function ``draw(figure, width)``, which is called
            for a page's column (700 CSS pixels) and for a phone (340), inside :func:`style`.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels, where ``drawing`` is a function.

    Returns:
        The picture, with two drawings where ``drawing`` is a function, else with one.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty.

    Example:
        >>> from causalcnn_book import show
        >>> def draw(figure, width):
        ...     _ = figure.subplots().plot([1, 3, 7, 15])
        >>> picture = show(draw, alt="A curve that doubles at each step.")
        >>> picture, list(picture.drawings)
        (<Picture: A curve that doubles at each step.>, [700, 340])
    """
    if not callable(drawing):
        width = round(drawing.get_size_inches()[0] * 72)
        plot = require("matplotlib", extra="figures")
        with plot.rc_context({key: STYLE[key] for key in ("svg.fonttype", "svg.hashsalt")}):
            picture = Picture({width: _svg(drawing, alt)}, alt, caption)
        require("matplotlib.pyplot", extra="figures").close(drawing)  # or the notebook shows it once more
        return picture
    drawings = {}
    for width in (WIDE, NARROW):
        with style():
            figure = new_figure(width, height)
            drawing(figure, width)
            drawings[width] = _svg(figure, alt)
    return Picture(drawings, alt, caption)


def _svg(figure: Figure, alt: str) -> str:
    """The figure as SVG text with themed colours and ids of its own."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # the same bytes tomorrow
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.S)
    unique = f"ccp{next(_serial)}-"
    text = re.sub(r'\bid="', f'id="{unique}', text)
    text = re.sub(r'url\(#|(href=")#', lambda m: f"{m.group(0)}{unique}", text)
    box = re.search(r'viewBox="([^"]*)"', text)
    described = f'<svg viewBox="{box.group(1) if box else ""}" role="img" aria-label="{html.escape(alt)}">'
    text = described + text[text.index(">") + 1 :]
    names = {value: name for name, value in reversed(palette.LIGHT.items()) if name != "accent"}
    names["#000000"] = "ink"

    def themed(match: re.Match[str]) -> str:
        name = names.get(match.group(0))
        return match.group(0) if name is None else f"var(--cc-{name.replace('_', '-')},{match.group(0)})"

    text = re.sub(r"(?<!href=\")(?<!url\()#[0-9a-f]{6}\b", themed, text)
    text = re.sub(r' d="([^"]*)"', lambda m: f' d="{_rounded(m.group(1))}"', text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONT.replace('"', "'"), text)
    text = re.sub(r'href="data:image/png;base64,([^"]*)"', _smaller, text)
    return re.sub(r"\n\s*", "\n", re.sub(r" xmlns:xlink=\"[^\"]*\"", "", text).replace("xlink:href", "href"))


def _rounded(path: str) -> str:
    """A path to a tenth of a pixel: a third of the bytes, and no difference to the eye."""
    short = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m.group()):.1f}".removesuffix(".0"), path)
    return re.sub(r"\s+", " ", short).strip()


def _smaller(match: re.Match[str]) -> str:
    """A PNG of at most 64 colours: a third of the bytes, and no difference to the eye."""
    image_module = require("PIL.Image", extra="figures")
    image = image_module.open(io.BytesIO(base64.b64decode(re.sub(r"\s", "", match.group(1)))))
    file = io.BytesIO()
    image.convert("RGBA").quantize(64, method=image_module.Quantize.FASTOCTREE).save(file, "PNG", optimize=True)
    return f'href="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"'
