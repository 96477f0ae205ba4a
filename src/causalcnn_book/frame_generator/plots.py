"""Two pictures of the frame generator: how it is wired, and what becomes of what it writes, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from causalcnn_book.drawing import as_array
from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import Picture, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["drift_curves", "frame_generator_diagram"]

STYLES = ("-", "--", ":", "-.")


def frame_generator_diagram(*, alt: str, caption: str = "", height: int = 330) -> Picture:
    """Draw how a :class:`~causalcnn.models.FrameGenerator` writes a frame: encoder, initial state, RNN up the bands.

    Args:
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty.
    """
    return show(_draw_wiring, alt=alt, caption=caption, height=height)


def _draw_wiring(figure: Figure, width: int) -> None:
    from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

    wide = width > 400
    axes = figure.subplots()
    columns, rows, high = (6 if wide else 4), 5, 1.15
    cell = 0.55
    last = columns * cell  # right edge of the past
    box, states, values = last + 0.9, last + (4.6 if wide else 3.5), last + (6.2 if wide else 4.8)
    box_wide, middle = (2.1 if wide else 1.7), rows * high / 2

    def arrow(start: tuple[float, float], end: tuple[float, float], **how: Any) -> None:
        style = {"arrowstyle": "-|>", "color": LIGHT["muted"], "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0} | how
        axes.annotate("", end, start, arrowprops=style)

    energy = np.random.default_rng(4).uniform(0.25, 0.95, (columns, rows))
    for c in range(columns):
        for r in range(rows):
            axes.add_patch(Rectangle((c * cell, r * high), cell * 0.9, high * 0.94, color=LIGHT["past"],
                                     alpha=float(energy[c, r]), linewidth=0))  # fmt: skip
    centers = [(r + 0.47) * high for r in range(rows)]
    axes.add_patch(
        FancyBboxPatch((box, middle - 0.62), box_wide, 1.24, boxstyle="round,pad=0,rounding_size=0.12",
                       facecolor=LIGHT["raised"], edgecolor=LIGHT["past"], linewidth=1.4)
    )  # fmt: skip
    axes.text(box + box_wide / 2, middle, "encoder", ha="center", va="center", fontsize=12, color=LIGHT["ink"])
    arrow((last + 0.02, middle), (box - 0.04, middle))
    radius = 0.36
    arrow((box + box_wide / 2, middle - 0.64), (states - radius - 0.03, centers[0]),
          connectionstyle="angle,angleA=0,angleB=90,rad=6")  # fmt: skip
    axes.text(box + box_wide / 2 + 0.12, centers[0] - 0.12, "initial state" if wide else "initial\nstate", ha="left",
              va="top", fontsize=12, color=LIGHT["muted"])  # fmt: skip
    for r, y in enumerate(centers):
        axes.add_patch(Circle((states, y), radius, facecolor=LIGHT["raised"], edgecolor=LIGHT["past"], linewidth=1.4))
        axes.add_patch(Rectangle((values, y - 0.36), 0.72, 0.72, facecolor=LIGHT["present"], linewidth=0))
        arrow((states + radius + 0.03, y), (values - 0.05, y))
        if r + 1 < rows:
            arrow((states, y + radius + 0.02), (states, centers[r + 1] - radius - 0.03))
            arrow((values + 0.05, y + 0.38), (states + radius * 0.75 + 0.02, centers[r + 1] - radius * 0.75 - 0.02))
    arrow((last + 0.02, centers[-1]), (states - radius - 0.04, centers[-1]), linestyle="--")
    axes.text(box + box_wide / 2, centers[-1] + 0.12, "glimpse", ha="center", va="bottom", fontsize=12,
              color=LIGHT["muted"])  # fmt: skip
    top = rows * high + 0.2
    for x, text, color in (
        (last / 2, "frames before", "past"), (states, "RNN", "past"), (values + 0.36, "frame", "present"),
    ):  # fmt: skip
        axes.text(x, top, text, ha="center", va="bottom", fontsize=12, color=LIGHT[color])
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set(xlim=(-0.15, values + 1.05), ylim=(-0.5, top + 0.5))


def drift_curves(
    lines: Mapping[str, ArrayLike],
    lags: Sequence[int],
    *,
    ranges: Mapping[str, ArrayLike] | None = None,
    colors: Sequence[str] = ("muted", "past", "present", "speaker_b"),
    y_label: str,
    alt: str,
    caption: str = "",
    height: int = 300,
) -> Picture:
    """Draw a measure over the frames after a prompt, on a logarithmic axis.

    Args:
        lines: name → one value for each lag, ``(lags,)``.
        lags: frames after the prompt, from 1.
        ranges: name → least and most ``(lags, 2)``, drawn as a band.
        colors: names of the palette, in the order of ``lines``.
        y_label: what is measured, with its unit.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: a colour is not in the palette.
        ValueError: ``alt`` is empty, or a line has another length than ``lags``.

    Example:
        >>> from causalcnn_book.frame_generator import drift_curves
        >>> lines, bands = {"free": [5.0, 4.0, 3.2]}, {"free": [[4.8, 5.2], [3.7, 4.3], [2.9, 3.5]]}
        >>> drift_curves(lines, (1, 10, 100), ranges=bands, y_label="contrast (dB)", alt="A contrast that falls.")
        <Picture: A contrast that falls.>
    """
    data = {name: as_array(values).ravel() for name, values in lines.items()}

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        for i, (name, values) in enumerate(data.items()):
            color = LIGHT[colors[i % len(colors)]]
            if name in (ranges or {}):
                low, high = as_array((ranges or {})[name]).T
                axes.fill_between(lags, low, high, color=color, alpha=0.2, linewidth=0)
            axes.plot(lags, values, STYLES[i % len(STYLES)], color=color, label=name, marker=".", markersize=8)
        axes.set(xscale="log", xlabel="frames after the prompt", xticks=list(lags))
        kept = lags if width > 400 else lags[::2]
        axes.set_xticks(list(kept), [str(lag) for lag in kept])
        axes.minorticks_off()
        axes.grid(axis="y", linewidth=0.8)
        axes.set_title(y_label, fontweight="normal", color=LIGHT["muted"])
        axes.legend(loc="best", frameon=True, facecolor=LIGHT["paper"], edgecolor="none", labelcolor="linecolor",
                    handlelength=1.8, borderpad=0.2)  # fmt: skip

    return show(draw, alt=alt, caption=caption, height=height)
