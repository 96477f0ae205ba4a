"""A table of models as a picture: what each pays for a value, on several sets of speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import Picture, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CALLED", "bits_of_models"]

COLOURS = ("past", "top", "bottom", "present")
MARKS = ("o", "s", "D", "^")
CALLED = {
    "histogram": "a histogram for each band",
    "copy": "the last frame again",
    "no glimpse": "last frame out of sight",
    "categorical-4": "softmax, 16 bins",
    "categorical-6": "softmax, 64 bins",
    "categorical-8": "softmax, 256 bins",
    "gaussian": "one Gaussian",
    "gaussians": "4 Gaussians",
    "logistics": "4 logistics",
    "own samples": "a quarter own samples",
    "2d": "2D encoder",
    "dilation 3": "dilation 3",
    "stacks": "two stacks",
    "pixelcnn": "PixelCNN",
    "melnet": "MelNet",
}
"""What the rows of ``causalcnn experiment likelihood`` are called on a page."""


def bits_of_models(
    rows: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    sets: Mapping[str, str],
    alt: str,
    caption: str = "",
) -> Picture:
    """Draw a line for each model, the dearest above: one mark for each set of speech, the mean over the seeds.

    Args:
        rows: model (a name of ``CALLED``, or any) → set → the bits of a value, one for each seed.
        sets: what to show, in this order: set → what it is called. Models are sorted by the first one.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: a model lacks one of the sets.
        ValueError: ``alt`` is empty.

    Example:
        >>> from causalcnn_book.likelihood import bits_of_models
        >>> rows = {"copy": {"test": [6.0, 6.2]}, "logistics": {"test": [4.6, 4.8]}}
        >>> bits_of_models(rows, sets={"test": "unheard speakers"}, alt="The copy is dearer.")
        <Picture: The copy is dearer.>
    """
    mean = {name: {key: sum(bits[key]) / len(bits[key]) for key in sets} for name, bits in rows.items()}
    first = next(iter(sets))
    order = sorted(mean, key=lambda name: mean[name][first])

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        for (key, called), color, mark in zip(sets.items(), COLOURS, MARKS, strict=False):
            axes.plot(
                [mean[name][key] for name in order],
                range(len(order)),
                mark,
                color=LIGHT[color],
                markersize=6,
                label=called,
            )
        axes.set_yticks(range(len(order)), [CALLED.get(name, name) for name in order])
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set(xlabel="bits a value")
        axes.grid(axis="x", linewidth=0.8)
        axes.legend(loc="upper left" if width > 400 else "lower right", labelcolor="linecolor", handletextpad=0.2)

    return show(draw, alt=alt, caption=caption, height=70 + 26 * len(order))
