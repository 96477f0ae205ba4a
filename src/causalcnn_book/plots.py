"""The static pictures of the book: each a function that takes data and gives a :class:`Picture`.

Time runs from left to right, with frames and milliseconds where it is speech; what is known is coloured,
what would be a leak of the future has the alarm colour; labels stand on the things they name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from causalcnn_book.drawing import (
    Kind,
    as_array,
    as_matrix,
    draw_heatmap,
    draw_spans,
    draw_wave,
    label_frames,
    label_time,
)
from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import Picture, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "codes",
    "confidence_intervals",
    "curves",
    "heatmap",
    "heatmaps",
    "voice_activity",
    "wave",
    "wave_and_mel",
]


# ------------------------------------------------------------------------------------------------ speech
def wave(samples: ArrayLike, *, rate_hz: int = 16_000, alt: str, caption: str = "", height: int = 150) -> Picture:
    """Draw a waveform over milliseconds: for each pixel the least and the greatest sample.

    Args:
        samples: ``(samples,)``; a batch of one is taken apart.
        rate_hz: samples a second (Hz).
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty.
    """
    sound = as_array(samples).ravel()

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        draw_wave(axes, sound, rate_hz, width)
        label_time(axes, "ms", width)

    return show(draw, alt=alt, caption=caption, height=height)


def wave_and_mel(
    samples: ArrayLike,
    log_mel: ArrayLike,
    *,
    phones: Iterable[Any] = (),
    words: Iterable[Any] = (),
    rate_hz: int = 16_000,
    hop_samples: int = 160,
    first_ms: float = 0.0,
    alt: str,
    caption: str = "",
    height: int = 400,
) -> Picture:
    """Draw a waveform, its log-mel spectrogram below on the same time axis, and the phones that were said.

    Args:
        samples: ``(samples,)``; a batch of one is taken apart.
        log_mel: ``(mels, frames)`` in dB; a batch of one is taken apart. 75 dB below the loudest is black.
        phones: spans with ``label``, ``start`` and ``end`` (in samples), written above the spectrogram.
        words: spans of the same kind, written above the waveform.
        rate_hz: samples a second (Hz).
        hop_samples: samples from one frame to the next.
        first_ms: where the first frame is drawn, in ms. 0 puts a causal frame where it is known; −15 puts it
            under the sound that it describes, the centre of its window.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty, or ``log_mel`` has another shape.
    """
    sound, picture = as_array(samples).ravel(), as_matrix(log_mel)
    phone_spans, word_spans = list(phones), list(words)
    end_ms = 1000 * len(sound) / rate_hz

    def draw(figure: Figure, width: int) -> None:
        top, middle = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.6))
        draw_wave(top, sound, rate_hz, width)
        top.tick_params(labelbottom=False)
        draw_spans(top, word_spans, rate_hz, 1.04, 13, end_ms, width)
        frame_ms = 1000 * hop_samples / rate_hz
        extent = (first_ms, first_ms + picture.shape[1] * frame_ms, 0, picture.shape[0])
        loudest = float(picture.max(initial=0))  # 75 dB below the loudest is as dark as silence
        middle.imshow(picture, origin="lower", aspect="auto", extent=extent, vmin=loudest - 75, vmax=loudest)
        middle.set(ylabel="mel band", xlim=(0, end_ms), yticks=[0, picture.shape[0] // 2, picture.shape[0]])
        draw_spans(middle, phone_spans, rate_hz, 1.02, 11, end_ms, width, lines=True)
        label_time(middle, "time in milliseconds, and in frames", width)
        middle.xaxis.set_major_formatter(lambda ms, _: f"{ms:.0f} ms\n{ms / frame_ms:.0f}")
        figure.align_ylabels()

    return show(draw, alt=alt, caption=caption, height=height)


def voice_activity(
    tracks: Mapping[str, ArrayLike], *, rate_hz: float = 100.0, alt: str, caption: str = "", height: int = 130
) -> Picture:
    """Draw who speaks when: bars over seconds, one row a speaker.

    Args:
        tracks: name → activity ``(time,)`` at ``rate_hz``, more than 0.5 (or true) where the speaker is heard; the two
            colours alternate.
        rate_hz: values a second (Hz).
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty.

    Example:
        >>> from causalcnn_book import voice_activity
        >>> voice_activity({"Ann": [1, 1, 0, 0], "Bob": [0, 1, 1, 0]}, rate_hz=2, alt="Ann speaks, then Bob, too.")
        <Picture: Ann speaks, then Bob, too.>
    """
    rows = {name: as_array(track).ravel() > 0.5 for name, track in tracks.items()}

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        for i, (name, active) in enumerate(rows.items()):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(int), [0]])))
            bars = [(a / rate_hz, (b - a) / rate_hz) for a, b in edges.reshape(-1, 2)]
            color = LIGHT[("speaker_a", "speaker_b")[i % 2]]
            axes.broken_barh(bars, (-i - 0.36, 0.72), facecolors=color)
            axes.text(-0.01, -i, name, color=color, transform=axes.get_yaxis_transform(), ha="right", va="center")
        axes.set(xlabel="seconds", yticks=[], xlim=(0, max(len(a) for a in rows.values()) / rate_hz))
        axes.spines["left"].set_visible(False)

    return show(draw, alt=alt, caption=caption, height=height)


# ---------------------------------------------------------------------------------------------- heat maps
def heatmap(
    matrix: ArrayLike,
    *,
    title: str = "",
    kind: Kind = "energy",
    now: float | None = None,
    leaks: bool = False,
    rate_hz: float | None = None,
    y_label: str = "feature",
    alt: str,
    caption: str = "",
    height: int = 200,
) -> Picture:
    """Draw one picture over time: :func:`heatmaps` with a single row.

    Args:
        matrix: ``(features, time)``; a batch of one is taken apart.
        title: what stands above the picture.
        kind: ``"energy"`` (0 is darkest), ``"signed"`` (0 is neutral), or ``"nonzero"``: all but 0 count as 1.
        now: a frame to mark with the thin line.
        leaks: whether what lies before ``now`` is drawn in the alarm colour.
        rate_hz: frames a second (Hz), to label milliseconds too.
        y_label: what the rows of the picture are.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty, or ``matrix`` has another shape.
    """
    row = {title: matrix}
    return heatmaps(
        row, kind=kind, now=now, leaks=leaks, rate_hz=rate_hz, y_label=y_label, alt=alt, caption=caption, height=height
    )


def heatmaps(
    rows: Mapping[str, ArrayLike],
    *,
    kind: Kind = "energy",
    now: float | None = None,
    leaks: bool = False,
    rate_hz: float | None = None,
    y_label: str = "feature",
    shared_scale: bool = False,
    alt: str,
    caption: str = "",
    height: int | None = None,
) -> Picture:
    """Draw pictures over the same time axis, below each other, each with its title.

    Args:
        rows: title → ``(features, time)``; a shorter one is stretched, as the output of a stride.
        kind: ``"energy"`` (0 is darkest), ``"signed"`` (0 is neutral), or ``"nonzero"``: all but 0 count as 1.
        now: a frame to mark with the thin line.
        leaks: whether what lies before ``now`` is drawn in the alarm colour.
        rate_hz: frames a second (Hz), to label milliseconds too.
        y_label: what the rows of each picture are.
        shared_scale: one colour scale for all, for comparing values.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels; default: enough for the rows.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty, or a picture has another shape.
    """
    pictures = {title: as_matrix(rows[title]) for title in rows}
    steps = max(p.shape[1] for p in pictures.values())
    scale = max((float(np.abs(p).max(initial=0)) for p in pictures.values()), default=1.0) if shared_scale else None

    def draw(figure: Figure, width: int) -> None:
        all_axes = figure.subplots(len(pictures), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, picture) in zip(all_axes, pictures.items(), strict=True):
            draw_heatmap(axes, picture, kind, steps, now, leaks, scale)
            axes.set(title=title, yticks=[])
        figure.supylabel(y_label, fontsize=13, color=LIGHT["muted"])
        label_frames(all_axes[-1], rate_hz, width)

    return show(draw, alt=alt, caption=caption, height=height or 46 + 120 * len(pictures))


# ------------------------------------------------------------------------------------------------ curves
def curves(
    lines: Mapping[str, ArrayLike],
    *,
    x: ArrayLike | None = None,
    x_label: str,
    y_label: str,
    log: bool = False,
    markers: bool = False,
    colors: Sequence[str] = ("past", "top", "bottom", "present", "speaker_b"),
    alt: str,
    caption: str = "",
    height: int = 280,
) -> Picture:
    """Draw lines with their names at their ends: growth of a receptive field, a loss.

    Args:
        lines: name → values ``(n,)``.
        x: the values' places, ``(n,)``; default: 0, 1, ….
        x_label: the name of the x axis, with its unit.
        y_label: the name of the y axis, with its unit.
        log: whether the y axis is logarithmic, base 10.
        markers: whether a dot stands at each value, for few values.
        colors: names of the palette, in the order of ``lines``.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: a colour is not in the palette.
        ValueError: ``alt`` is empty, or a line and ``x`` have other lengths.
    """
    data = {name: as_array(values).ravel() for name, values in lines.items()}

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        for i, (name, values) in enumerate(data.items()):
            color = LIGHT[colors[i % len(colors)]]
            at = np.arange(len(values)) if x is None else as_array(x).ravel()
            axes.plot(at, values, color=color, marker="o" if markers else None, markersize=6, clip_on=False)
            if width > 400:
                axes.annotate(
                    name,
                    (at[-1], values[-1]),
                    (9, 0),
                    textcoords="offset points",
                    color=color,
                    va="center",
                    annotation_clip=False,
                )
            else:
                axes.plot([], [], color=color, label=name)
        axes.set(xlabel=x_label)
        axes.set_title(y_label, fontweight="normal", color=LIGHT["muted"])
        axes.set_yscale("log" if log else "linear")
        axes.grid(axis="y", linewidth=0.8)
        if width <= 400:
            axes.legend(handlelength=1.2, labelcolor="linecolor", borderpad=0.1)

    return show(draw, alt=alt, caption=caption, height=height)


def codes(
    indices: ArrayLike,
    *,
    level: Literal["bottom", "top"],
    codebook: int,
    alt: str,
    caption: str = "",
    height: int = 160,
) -> Picture:
    """Draw discrete codes over time, in shades of the colour of their level; like codes need not look alike.

    Args:
        indices: ``(codes a frame, frames)``, whole numbers from 0.
        level: which codebook they are of: ``"bottom"`` or ``"top"``.
        codebook: how many codewords it has.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        IndexError: an index is not below ``codebook``.
        ValueError: ``alt`` is empty, or ``indices`` has another shape.
    """
    picture = as_matrix(indices)

    def draw(figure: Figure, width: int) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        axes = figure.subplots()
        shades = LinearSegmentedColormap.from_list(level, ["#ffffff", LIGHT[level], "#0c0c12"])
        order = np.random.default_rng(0).permutation(codebook)  # neighbouring codes need not be alike
        axes.imshow(order[picture.astype(int)], shades, origin="lower", aspect="auto", vmin=0, vmax=codebook)
        axes.set(yticks=[], ylabel=f"{level} codes")
        label_frames(axes, None, width)

    return show(draw, alt=alt, caption=caption, height=height)


def confidence_intervals(
    rows: Mapping[str, tuple[float, float]],
    *,
    x_label: str,
    points: Mapping[str, Iterable[float]] | None = None,
    colors: Mapping[str, str] | None = None,
    alt: str,
    caption: str = "",
    height: int | None = None,
) -> Picture:
    """Draw one line a row: the mean as a dot, its interval as a bar, the single runs as small dots.

    Args:
        rows: name → mean and half of its interval.
        x_label: what is measured, with its unit.
        points: name → the single values.
        colors: name → a name of the palette; default: ``"past"``.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels; default: enough for the rows.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: a colour is not in the palette.
        ValueError: ``alt`` is empty.

    Example:
        >>> from causalcnn_book import confidence_intervals
        >>> rows = {"causal": (4.5, 0.2), "not causal": (4.1, 0.3)}
        >>> confidence_intervals(rows, x_label="error (dB)", alt="Two errors that overlap.")
        <Picture: Two errors that overlap.>
    """

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        for i, (name, (mean, half)) in enumerate(rows.items()):
            color = LIGHT[(colors or {}).get(name, "past")]
            runs = as_array(list((points or {}).get(name, ())))
            axes.plot(runs, [-i] * len(runs), ".", color=color, alpha=0.45, markersize=7)
            axes.plot([mean - half, mean + half], [-i, -i], color=color, linewidth=3, solid_capstyle="butt")
            axes.plot([mean], [-i], "o", color=color, markersize=8)
            if width <= 400:
                axes.annotate(name, (0, -i + 0.34), xycoords=("axes fraction", "data"), color=color, fontsize=12)
        names = list(rows) if width > 400 else [""] * len(rows)
        axes.set_yticks([-i for i in range(len(rows))], names)
        axes.set(xlabel=x_label, ylim=(-len(rows) + 0.4, 0.8))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", linewidth=0.8)
        axes.spines["left"].set_visible(False)

    return show(draw, alt=alt, caption=caption, height=height or 70 + 40 * len(rows))
