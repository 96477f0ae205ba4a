"""The static pictures of the book: each a function that takes data and gives a :class:`Picture`.

Time runs from left to right, with frames and milliseconds where it is speech; what is known is coloured,
what would be a leak of the future has the alarm colour; labels stand on the things they name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book.palette import LIGHT, alarm
from causalcnn_book.picture import Picture, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["codes", "curves", "heatmap", "heatmaps", "voice_activity", "wave", "wave_and_mel"]

Kind = Literal["energy", "signed", "nonzero"]


def _array(x: ArrayLike) -> NDArray[np.float64]:
    """Numbers as float64; a tensor comes without its gradient, on the CPU, without axes of length one."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    return np.asarray(x, dtype=np.float64)


def _matrix(x: ArrayLike) -> NDArray[np.float64]:
    matrix = _array(x)
    while matrix.ndim > 2 and matrix.shape[0] == 1:
        matrix = matrix[0]
    if matrix.ndim != 2:
        raise ValueError(f"the picture has the shape {matrix.shape}; give (features, time), one item of a batch")
    return matrix


# ------------------------------------------------------------------------------------------------ speech
def wave(samples: ArrayLike, *, rate_hz: int = 16_000, alt: str, caption: str = "", height: int = 150) -> Picture:
    """A waveform over milliseconds.

    Args:
        samples: ``(samples,)``.
        rate_hz: samples a second.
        alt, caption: see :func:`show`.
        height: CSS pixels.
    """
    sound = _array(samples).ravel()

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        _draw_wave(axes, sound, rate_hz, width)
        _label_time(axes, "ms", width)

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
    """A waveform, its log-mel spectrogram below on the same time axis, and the phones that were said.

    Args:
        samples: ``(samples,)``.
        log_mel: ``(mels, frames)`` in dB; a batch of one is taken apart.
        phones, words: spans with ``label``, ``start`` and ``end`` (in samples).
        rate_hz, hop_samples: of the samples and of the frames.
        first_ms: where the first frame is drawn. 0 puts a causal frame where it is known; −15 puts it
            under the sound that it describes, the centre of its window.
        alt, caption, height: see :func:`show`.
    """
    sound, picture = _array(samples).ravel(), _matrix(log_mel)
    spans, said = list(phones), list(words)
    end_ms = 1000 * len(sound) / rate_hz

    def draw(figure: Figure, width: int) -> None:
        top, middle = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.6))
        _draw_wave(top, sound, rate_hz, width)
        top.tick_params(labelbottom=False)
        _spans(top, said, rate_hz, 1.04, 13, end_ms, width)
        frame_ms = 1000 * hop_samples / rate_hz
        extent = (first_ms, first_ms + picture.shape[1] * frame_ms, 0, picture.shape[0])
        loudest = float(picture.max(initial=0))  # 75 dB below the loudest is as dark as silence
        middle.imshow(picture, origin="lower", aspect="auto", extent=extent, vmin=loudest - 75, vmax=loudest)
        middle.set(ylabel="mel band", xlim=(0, end_ms), yticks=[0, picture.shape[0] // 2, picture.shape[0]])
        _spans(middle, spans, rate_hz, 1.02, 11, end_ms, width, lines=True)
        _label_time(middle, "time in milliseconds, and in frames", width)
        middle.xaxis.set_major_formatter(lambda ms, _: f"{ms:.0f} ms\n{ms / frame_ms:.0f}")
        figure.align_ylabels()

    return show(draw, alt=alt, caption=caption, height=height)


def _draw_wave(axes: Axes, sound: NDArray[np.float64], rate_hz: int, width: int) -> None:
    """The envelope (least and most of each pixel's samples): what the eye sees, in few points."""
    each = max(1, len(sound) // width)
    blocks = sound[: len(sound) // each * each].reshape(-1, each)
    at = (np.arange(len(blocks)) + 0.5) * each * 1000 / rate_hz
    if each == 1:
        axes.plot(at, sound, color=LIGHT["past"], linewidth=1)
    else:
        axes.fill_between(at, blocks.min(1), blocks.max(1), color=LIGHT["past"], linewidth=0.4)
    most = max(float(np.abs(sound).max(initial=0)), 1e-3) * 1.1
    axes.set(xlim=(0, 1000 * len(sound) / rate_hz), ylim=(-most, most), yticks=[0], ylabel="pressure")
    axes.spines["bottom"].set_visible(False)


def _spans(
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
    """Labels above an axis, each over its own piece of time; one that has no room is left out."""
    pixels = (width - 60) / end_ms
    for span in spans:
        start, end = (1000 * getattr(span, edge) / rate_hz for edge in ("start", "end"))
        if lines:
            axes.axvline(start, color="#ffffff", alpha=0.35, linewidth=0.7)
        text = "" if span.label == "SIL" else str(span.label)
        if len(text) * size * 0.66 <= (end - start) * pixels:
            axes.text((start + end) / 2, y, text, transform=axes.get_xaxis_transform(), fontsize=size, ha="center")


def _label_time(axes: Axes, unit: str, width: int) -> None:
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(_locator(width))


def _locator(width: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6 if width > 400 else 3, integer=True, steps=[1, 2, 5, 10])


def voice_activity(
    tracks: Mapping[str, ArrayLike], *, rate_hz: float = 100.0, alt: str, caption: str = "", height: int = 130
) -> Picture:
    """Who speaks when: one bar chart line a speaker, over seconds.

    Args:
        tracks: name → activity at ``rate_hz``, true where the speaker is heard; two at most have colours.
        rate_hz: values a second.
        alt, caption, height: see :func:`show`.
    """
    rows = {name: _array(track).ravel() > 0.5 for name, track in tracks.items()}

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        for i, (name, active) in enumerate(rows.items()):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(int), [0]])))
            bars = [(a / rate_hz, (b - a) / rate_hz) for a, b in edges.reshape(-1, 2)]
            colour = LIGHT[("speaker_a", "speaker_b")[i % 2]]
            axes.broken_barh(bars, (-i - 0.36, 0.72), facecolors=colour)
            axes.text(-0.01, -i, name, color=colour, transform=axes.get_yaxis_transform(), ha="right", va="center")
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
    """One picture over time: :func:`heatmaps` with a single row."""
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
    """Pictures over the same time axis, below each other, each with its title.

    Args:
        rows: title → ``(features, time)``; a shorter one is stretched, as the output of a stride.
        kind: ``"energy"`` (0 is darkest), ``"signed"`` (0 is neutral), or ``"nonzero"``: all but 0 count as 1.
        now: a frame to mark with the thin line.
        leaks: whether what lies before ``now`` is drawn in the alarm colour.
        rate_hz: frames a second, to label milliseconds too.
        y_label: what the rows of each picture are.
        shared_scale: one colour scale for all, for comparing values.
        alt, caption: see :func:`show`.
        height: CSS pixels; default: enough for the rows.
    """
    pictures = {title: _matrix(rows[title]) for title in rows}
    steps = max(p.shape[1] for p in pictures.values())
    scale = max((float(np.abs(p).max(initial=0)) for p in pictures.values()), default=1.0) if shared_scale else None

    def draw(figure: Figure, width: int) -> None:
        all_axes = figure.subplots(len(pictures), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, picture) in zip(all_axes, pictures.items(), strict=True):
            _draw_heatmap(axes, picture, kind, steps, now, leaks, scale)
            axes.set(title=title, yticks=[])
        figure.supylabel(y_label, fontsize=13, color=LIGHT["muted"])
        _label_frames(all_axes[-1], rate_hz, width)

    return show(draw, alt=alt, caption=caption, height=height or 46 + 120 * len(pictures))


def _draw_heatmap(
    axes: Axes,
    picture: NDArray[np.float64],
    kind: Kind,
    steps: int,
    now: float | None,
    leaks: bool = False,
    scale: float | None = None,
) -> None:
    values = (picture != 0).astype(float) if kind == "nonzero" else picture
    most = scale or max(float(np.abs(values).max(initial=0)), 1e-30)
    extent = (-0.5, steps - 0.5, 0, picture.shape[0])
    if kind == "signed":
        axes.imshow(values, "causalcnn_signed", origin="lower", aspect="auto", extent=extent, vmin=-most, vmax=most)
    elif kind == "nonzero" or values.min(initial=0) >= 0:
        lifted = np.where(values > 0, 0.12 + 0.88 * values / most, 0)  # what is not zero can be seen
        axes.imshow(lifted, origin="lower", aspect="auto", extent=extent, vmin=0, vmax=1)
    else:
        axes.imshow(values, origin="lower", aspect="auto", extent=extent)
    if leaks and now is not None:
        times = (np.arange(picture.shape[1]) + 0.5) * steps / picture.shape[1] - 0.5
        early = (times < now - 1e-9)[None] & (picture != 0)
        ramp = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in alarm()])
        red = np.concatenate([ramp[np.rint(np.abs(values) / most * 255).astype(int)], early[..., None]], axis=2)
        axes.imshow(red, origin="lower", aspect="auto", extent=extent)
    if now is not None:
        axes.axvline(now - 0.5, color="#72f2b2", linewidth=1.6)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _label_frames(axes: Axes, rate_hz: float | None, width: int) -> None:
    axes.xaxis.set_major_locator(_locator(width))
    axes.set_xlabel("time in frames")
    if rate_hz is not None:
        axes.xaxis.set_major_formatter(lambda t, _: f"{t:.0f}\n{1000 * t / rate_hz:.0f} ms")


# ------------------------------------------------------------------------------------------------ curves
def curves(
    lines: Mapping[str, ArrayLike],
    *,
    x: ArrayLike | None = None,
    x_label: str,
    y_label: str,
    log: bool = False,
    markers: bool = False,
    colours: Sequence[str] = ("past", "top", "bottom", "present", "speaker_b"),
    alt: str,
    caption: str = "",
    height: int = 280,
) -> Picture:
    """Lines with their names at their ends: growth of a receptive field, a loss.

    Args:
        lines: name → values.
        x: the values' places; default 0, 1, ….
        x_label, y_label: of the axes, with units.
        log: logarithmic y axis, base 10.
        markers: a dot at each value, for few values.
        colours: names of the palette, in the order of ``lines``.
        alt, caption, height: see :func:`show`.
    """
    data = {name: _array(values).ravel() for name, values in lines.items()}

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        for i, (name, values) in enumerate(data.items()):
            colour = LIGHT[colours[i % len(colours)]]
            at = np.arange(len(values)) if x is None else _array(x).ravel()
            axes.plot(at, values, color=colour, marker="o" if markers else None, markersize=6, clip_on=False)
            if width > 400:
                axes.annotate(
                    name,
                    (at[-1], values[-1]),
                    (9, 0),
                    textcoords="offset points",
                    color=colour,
                    va="center",
                    annotation_clip=False,
                )
            else:
                axes.plot([], [], color=colour, label=name)
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
    """Discrete codes over time, ``(codes a frame, frames)``, in shades of the colour of their level."""
    picture = _matrix(indices)

    def draw(figure: Figure, width: int) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        axes = figure.subplots()
        shades = LinearSegmentedColormap.from_list(level, ["#ffffff", LIGHT[level], "#0c0c12"])
        order = np.random.default_rng(0).permutation(codebook)  # neighbouring codes need not be alike
        axes.imshow(order[picture.astype(int)], shades, origin="lower", aspect="auto", vmin=0, vmax=codebook)
        axes.set(yticks=[], ylabel=f"{level} codes")
        _label_frames(axes, None, width)

    return show(draw, alt=alt, caption=caption, height=height)
