"""Lines over the past: what is still told of a frame that lies so many frames back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from causalcnn_book.drawing import as_array, time_locator
from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import Picture, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["curves_over_lag"]

STYLES = ("-", "--", ":", "-.")


def curves_over_lag(
    lines: Mapping[str, ArrayLike],
    *,
    lags: ArrayLike | None = None,
    half_widths: Mapping[str, ArrayLike] | None = None,
    edges: Mapping[str, int] | None = None,
    colors: Mapping[str, str] | None = None,
    y_label: str,
    x_label: str = "frames back from the present one",
    y_max: float | None = None,
    alt: str,
    caption: str = "",
    height: int = 300,
) -> Picture:
    """Draw values over how far back a frame lies: the present at the right, the past to the left of it.

    Args:
        lines: name → values ``(n,)``.
        lags: how many frames back each value lies, ``(n,)``; default: 0, 1, ….
        half_widths: name → half of the interval of each value, ``(n,)``, drawn as a band.
        edges: ``"top"``, ``"bottom"`` → how many frames a code of that level reads; drawn in the level's colour.
        colors: name → a name of the palette; default: five of them in turn.
        y_label: the name of the y axis, with its unit.
        x_label: the name of the x axis, with its unit.
        y_max: the top of the y axis, which begins at 0; default: enough for the values.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: a colour or a level that the palette does not have.
        ValueError: ``alt`` is empty, or arrays of a line have different lengths.

    Example:
        >>> from causalcnn_book.what_codes_remember import curves_over_lag
        >>> curves_over_lag({"codes": [0.1, 0.3, 0.8]}, edges={"top": 2}, y_label="error", alt="An error that rises.")
        <Picture: An error that rises.>
    """
    rest = ("past", "speaker_b", "speaker_a", "skipped", "present")
    data = {name: as_array(values).ravel() for name, values in lines.items()}

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        for i, (name, values) in enumerate(data.items()):
            color = LIGHT[(colors or {}).get(name, rest[i % len(rest)])]
            at = -(np.arange(len(values)) if lags is None else as_array(lags).ravel()[: len(values)])
            if name in (half_widths or {}):
                half = np.nan_to_num(as_array((half_widths or {})[name]).ravel())
                axes.fill_between(at, values - half, values + half, color=color, alpha=0.18, linewidth=0)
            axes.plot(at, values, STYLES[i % len(STYLES)], color=color, label=name, marker=".", markersize=7)
        for row, (level, frames) in enumerate((edges or {}).items()):
            axes.axvline(0.5 - frames, color=LIGHT[level], linewidth=1.4)
            axes.text(
                0.35 - frames, 1.02 + 0.065 * row, f"edge of {level}", transform=axes.get_xaxis_transform(),
                color=LIGHT[level], fontsize=12, ha="center",
            )  # fmt: skip
        last = -max(len(values) - 1 for values in data.values()) if lags is None else -float(as_array(lags).max())
        axes.set(xlabel=x_label, xlim=(last - 0.5, 0.5 if lags is None else 0.5 - float(as_array(lags).min())))
        axes.set_ylim(0, y_max)
        axes.xaxis.set_major_locator(time_locator(width))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}".replace("-", "−"))
        axes.grid(axis="y", linewidth=0.8)
        note: dict[str, Any] = {"fontweight": "normal", "color": LIGHT["muted"], "pad": 8 + 17 * len(edges or {})}
        axes.set_title(y_label, **note)
        legend = {"handlelength": 1.8, "labelcolor": "linecolor", "borderpad": 0.1}
        if width <= 400 or len(data) > 1:
            axes.legend(loc="lower left", frameon=True, facecolor=LIGHT["paper"], edgecolor="none", **legend)

    return show(draw, alt=alt, caption=caption, height=height)
