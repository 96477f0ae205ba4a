"""Two pictures of results: labels over a spectrogram, and means with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import Picture, show
from causalcnn_book.plots import _array, _label_frames, _matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confidence_intervals", "labels_over_time"]


def labels_over_time(
    log_mel: ArrayLike,
    truth: Sequence[str],
    named: Sequence[str],
    *,
    rate_hz: float = 100.0,
    quiet: str = "SIL",
    alt: str,
    caption: str = "",
    height: int = 300,
) -> Picture:
    """A spectrogram, below it a strip of true labels and one of the labels that a network named.

    Where the two differ, the second strip is hatched in the colour of skipped inputs.

    Args:
        log_mel: ``(mels, frames)``. truth, named: one label a frame.
        rate_hz: frames a second. quiet: the label that is not written.
        alt, caption, height: see :func:`show`.

    Raises:
        ValueError: strips of another length than the spectrogram.
    """
    picture = _matrix(log_mel)
    if not len(truth) == len(named) == picture.shape[1]:
        raise ValueError(f"there are {picture.shape[1]} frames, {len(truth)} true labels and {len(named)} named ones")

    def draw(figure: Figure, width: int) -> None:
        top, said, heard = figure.subplots(3, 1, sharex=True, height_ratios=(4, 1, 1))
        extent = (-0.5, picture.shape[1] - 0.5, 0, picture.shape[0])
        top.imshow(picture, origin="lower", aspect="auto", extent=extent)
        top.set(ylabel="mel band", yticks=[])
        _strip(said, truth, [True] * len(truth), quiet, width, "said")
        _strip(heard, named, [a == b for a, b in zip(truth, named, strict=True)], quiet, width, "named")
        _label_frames(heard, rate_hz, width)
        figure.align_ylabels()

    return show(draw, alt=alt, caption=caption, height=height)


def _strip(axes: Axes, labels: Sequence[str], right: Sequence[bool], quiet: str, width: int, name: str) -> None:
    start, pixels = 0, (width - 60) / len(labels)
    for (label, is_right), run in groupby(zip(labels, right, strict=True)):
        length = len(list(run))
        colour, hatched = (LIGHT["past"], None) if is_right else (LIGHT["skipped"], "////")
        if label != quiet or not is_right:
            bar: Any = axes.barh(
                0, length, left=start - 0.5, height=1, facecolor="none" if hatched else colour, hatch=hatched
            )
            bar[0].set(edgecolor=colour if hatched else LIGHT["paper"], linewidth=0.8)
        if label != quiet and len(label) * 9 <= length * pixels:
            ink = LIGHT["skipped"] if hatched else LIGHT["paper"]
            text = axes.text(start + length / 2 - 0.5, 0, label, color=ink, fontsize=11, ha="center", va="center")
            if hatched:
                text.set_bbox({"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1})
        start += length
    axes.set(yticks=[], ylabel=name, ylim=(-0.6, 0.6))
    for spine in axes.spines.values():
        spine.set_visible(False)


def confidence_intervals(
    rows: Mapping[str, tuple[float, float]],
    *,
    x_label: str,
    points: Mapping[str, Iterable[float]] | None = None,
    colours: Mapping[str, str] | None = None,
    alt: str,
    caption: str = "",
    height: int | None = None,
) -> Picture:
    """One line a row: the mean as a dot, its interval as a bar, the single runs as small dots.

    Args:
        rows: name → mean and half of its interval.
        x_label: what is measured, with its unit.
        points: name → the single values.
        colours: name → a name of the palette; default: ``"past"``.
        alt, caption: see :func:`show`. height: CSS pixels; default: enough for the rows.
    """

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        for i, (name, (mean, half)) in enumerate(rows.items()):
            colour = LIGHT[(colours or {}).get(name, "past")]
            runs = _array(list((points or {}).get(name, ())))
            axes.plot(runs, [-i] * len(runs), ".", color=colour, alpha=0.45, markersize=7)
            axes.plot([mean - half, mean + half], [-i, -i], color=colour, linewidth=3, solid_capstyle="butt")
            axes.plot([mean], [-i], "o", color=colour, markersize=8)
            if width <= 400:
                axes.annotate(name, (0, -i + 0.34), xycoords=("axes fraction", "data"), color=colour, fontsize=12)
        names = list(rows) if width > 400 else [""] * len(rows)
        axes.set_yticks([-i for i in range(len(rows))], names)
        axes.set(xlabel=x_label, ylim=(-len(rows) + 0.4, 0.8))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", linewidth=0.8)
        axes.spines["left"].set_visible(False)

    return show(draw, alt=alt, caption=caption, height=height or 70 + 40 * len(rows))
