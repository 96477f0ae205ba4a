"""Labels over a spectrogram: what was said, and what a network named."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from causalcnn_book.drawing import as_matrix, label_frames
from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import Picture, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["labels_over_time"]


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
    """Draw a spectrogram, below it a strip of true labels and one of the labels that a network named.

    Where the two differ, the second strip is hatched in the colour of skipped inputs.

    Args:
        log_mel: ``(mels, frames)``; a batch of one is taken apart.
        truth: one label a frame.
        named: one label a frame, as a network named it.
        rate_hz: frames a second (Hz).
        quiet: the label that is not written.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty, ``log_mel`` has another shape, or a strip another length than the spectrogram.
    """
    picture = as_matrix(log_mel)
    if not len(truth) == len(named) == picture.shape[1]:
        raise ValueError(f"there are {picture.shape[1]} frames, {len(truth)} true labels and {len(named)} named ones")

    def draw(figure: Figure, width: int) -> None:
        top, said, heard = figure.subplots(3, 1, sharex=True, height_ratios=(4, 1, 1))
        extent = (-0.5, picture.shape[1] - 0.5, 0, picture.shape[0])
        top.imshow(picture, origin="lower", aspect="auto", extent=extent)
        top.set(ylabel="mel band", yticks=[])
        _strip(said, truth, [True] * len(truth), quiet, width, "said")
        _strip(heard, named, [a == b for a, b in zip(truth, named, strict=True)], quiet, width, "named")
        label_frames(heard, rate_hz, width)
        figure.align_ylabels()

    return show(draw, alt=alt, caption=caption, height=height)


def _strip(axes: Axes, labels: Sequence[str], right: Sequence[bool], quiet: str, width: int, name: str) -> None:
    start, pixels = 0, (width - 60) / len(labels)
    for (label, is_right), run in groupby(zip(labels, right, strict=True)):
        length = len(list(run))
        color, hatched = (LIGHT["past"], None) if is_right else (LIGHT["skipped"], "////")
        if label != quiet or not is_right:
            bar: Any = axes.barh(
                0, length, left=start - 0.5, height=1, facecolor="none" if hatched else color, hatch=hatched
            )
            bar[0].set(edgecolor=color if hatched else LIGHT["paper"], linewidth=0.8)
        if label != quiet and len(label) * 9 <= length * pixels:
            ink = LIGHT["skipped"] if hatched else LIGHT["paper"]
            text = axes.text(start + length / 2 - 0.5, 0, label, color=ink, fontsize=11, ha="center", va="center")
            if hatched:
                text.set_bbox({"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1})
        start += length
    axes.set(yticks=[], ylabel=name, ylim=(-0.6, 0.6))
    for spine in axes.spines.values():
        spine.set_visible(False)
