"""What the pictures are drawn with: data as arrays, heat maps, spans of time and their labels on matplotlib's axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book.palette import LIGHT, alarm

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Kind", "as_array", "as_matrix", "draw_heatmap", "draw_spans", "draw_wave", "label_frames", "label_time",
           "time_locator"]  # fmt: skip

Kind = Literal["energy", "signed", "nonzero"]
"""``"energy"``: 0 is darkest. ``"signed"``: 0 is neutral. ``"nonzero"``: all but 0 count as 1."""


def as_array(x: ArrayLike) -> NDArray[np.float64]:
    """Convert numbers to float64; a tensor comes without its gradient, on the CPU.

    Args:
        x: numbers of any shape.

    Returns:
        The same numbers, of the shape of ``x``.
    """
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    return np.asarray(x, dtype=np.float64)


def as_matrix(x: ArrayLike) -> NDArray[np.float64]:
    """Convert a picture over time to float64; a batch of one item is taken apart.

    Args:
        x: ``(features, time)``, or the same behind axes of length 1.

    Returns:
        ``(features, time)``.

    Raises:
        ValueError: there is more than one item, or fewer than two axes.
    """
    matrix = as_array(x)
    while matrix.ndim > 2 and matrix.shape[0] == 1:
        matrix = matrix[0]
    if matrix.ndim != 2:
        raise ValueError(f"the picture has the shape {matrix.shape}; give (features, time), one item of a batch")
    return matrix


def draw_heatmap(
    axes: Axes,
    picture: NDArray[np.float64],
    kind: Kind,
    steps: int,
    now: float | None,
    leaks: bool = False,
    scale: float | None = None,
) -> None:
    """Draw one picture over time.

    Args:
        axes: where to draw.
        picture: ``(features, time)``; a shorter one is stretched to ``steps``.
        kind: see :data:`Kind`.
        steps: frames of the time axis.
        now: a frame to mark with the thin line.
        leaks: whether what lies before ``now`` is drawn in the alarm colour.
        scale: the value of the strongest colour; default: the picture's largest.
    """
    values = (picture != 0).astype(float) if kind == "nonzero" else picture
    largest = scale or max(float(np.abs(values).max(initial=0)), 1e-30)
    extent = (-0.5, steps - 0.5, 0, picture.shape[0])
    if kind == "signed":
        axes.imshow(
            values, "causalcnn_signed", origin="lower", aspect="auto", extent=extent, vmin=-largest, vmax=largest
        )
    elif kind == "nonzero" or values.min(initial=0) >= 0:
        lifted = np.where(values > 0, 0.12 + 0.88 * values / largest, 0)  # what is not zero can be seen
        axes.imshow(lifted, origin="lower", aspect="auto", extent=extent, vmin=0, vmax=1)
    else:
        axes.imshow(values, origin="lower", aspect="auto", extent=extent)
    if leaks and now is not None:
        times = (np.arange(picture.shape[1]) + 0.5) * steps / picture.shape[1] - 0.5
        early = (times < now - 1e-9)[None] & (picture != 0)
        ramp = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in alarm()])
        red = np.concatenate([ramp[np.rint(np.abs(values) / largest * 255).astype(int)], early[..., None]], axis=2)
        axes.imshow(red, origin="lower", aspect="auto", extent=extent)
    if now is not None:
        axes.axvline(now - 0.5, color="#72f2b2", linewidth=1.6)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_spans(
    axes: Axes,
    spans: Sequence[Any],
    rate_hz: int,
    y: float,
    size: float,
    end_ms: float,
    width: int,
    *,
    lines: bool = False,
) -> None:
    """Write labels above an axis, each over its own piece of time; one that has no room is left out.

    Args:
        axes: axes whose x axis counts milliseconds.
        spans: pieces of time with ``label``, ``start`` and ``end`` (in samples); ``"SIL"`` is not written.
        rate_hz: samples a second (Hz).
        y: where the labels stand, in heights of the axes.
        size: the size of the type, in points.
        end_ms: where the time axis ends, in ms.
        width: the picture's width in CSS pixels.
        lines: whether a thin line marks each start.
    """
    pixels = (width - 60) / end_ms
    for span in spans:
        start, end = (1000 * getattr(span, edge) / rate_hz for edge in ("start", "end"))
        if lines:
            axes.axvline(start, color="#ffffff", alpha=0.35, linewidth=0.7)
        text = "" if span.label == "SIL" else str(span.label)
        if len(text) * size * 0.66 <= (end - start) * pixels:
            axes.text((start + end) / 2, y, text, transform=axes.get_xaxis_transform(), fontsize=size, ha="center")


def draw_wave(axes: Axes, sound: NDArray[np.float64], rate_hz: int, width: int) -> None:
    """Draw a sound's envelope, the smallest and the largest of each pixel's samples: what the eye sees, in few points.

    Args:
        axes: to draw on.
        sound: samples in −1 … 1, ``(samples,)``.
        rate_hz: samples a second (Hz).
        width: of the picture, in CSS pixels.
    """
    per_pixel = max(1, len(sound) // width)
    blocks = sound[: len(sound) // per_pixel * per_pixel].reshape(-1, per_pixel)
    at = (np.arange(len(blocks)) + 0.5) * per_pixel * 1000 / rate_hz
    if per_pixel == 1:
        axes.plot(at, sound, color=LIGHT["past"], linewidth=1)
    else:
        axes.fill_between(at, blocks.min(1), blocks.max(1), color=LIGHT["past"], linewidth=0.4)
    limit = max(float(np.abs(sound).max(initial=0)), 1e-3) * 1.1
    axes.set(xlim=(0, 1000 * len(sound) / rate_hz), ylim=(-limit, limit), yticks=[0], ylabel="pressure")
    axes.spines["bottom"].set_visible(False)


def label_time(axes: Axes, unit: str, width: int) -> None:
    """Name the time axis, with as many marks as there is room for.

    Args:
        axes: axes whose x axis is time.
        unit: what is written below it.
        width: the picture's width in CSS pixels.
    """
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(time_locator(width))


def label_frames(axes: Axes, rate_hz: float | None, width: int) -> None:
    """Label a time axis in frames, and where their rate is known in milliseconds too.

    Args:
        axes: axes whose x axis counts frames.
        rate_hz: frames a second (Hz), or None.
        width: the picture's width in CSS pixels.
    """
    axes.xaxis.set_major_locator(time_locator(width))
    axes.set_xlabel("time in frames")
    if rate_hz is not None:
        axes.xaxis.set_major_formatter(lambda t, _: f"{t:.0f}\n{1000 * t / rate_hz:.0f} ms")


def time_locator(width: int) -> Any:
    """Choose whole numbers for the marks of a time axis, few on a phone.

    Args:
        width: the picture's width in CSS pixels.

    Returns:
        A locator of matplotlib.
    """
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6 if width > 400 else 3, integer=True, steps=[1, 2, 5, 10])
