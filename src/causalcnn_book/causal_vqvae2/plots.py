"""Two pictures of the hierarchical VQ-VAE: how its parts are wired, and its codes over time under the phones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book.drawing import as_matrix, draw_spans, label_time
from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import NARROW, WIDE, Picture, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["speech_codes", "vqvae2_diagram"]

# Place along the flow, lane (0 bottom, 1 top), what it is, what it does to the frequency axis, colour.
PARTS = (
    (0, 0, "frame", "80 bands", "muted"),
    (1, 0, "encoder", "80 → 20", "past"),
    (2, 1, "encoder", "20 → 10", "past"),
    (3, 1, "codebook", "10 codes", "top"),
    (4, 1, "hint", "10 → 20", "past"),
    (4, 0, "join", "20", "past"),
    (5, 0, "codebook", "20 codes", "bottom"),
    (6, 1, "stretch", "10 → 20", "past"),
    (6, 0, "decoder", "20 → 80", "past"),
    (7, 0, "frame", "80 bands", "muted"),
)
WIRES = ((0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (4, 5), (5, 6), (6, 8), (7, 8), (8, 9))


def vqvae2_diagram(*, alt: str, caption: str = "") -> Picture:
    """Draw how the eight parts of a :class:`~causalcnn.models.CausalVQVAE2` are wired, as boxes and arrows.

    Args:
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty.
    """
    drawings = {
        width: show(_draw_wiring, alt=alt, height=height).drawings[width]
        for width, height in ((WIDE, 190), (NARROW, 520))
    }
    return Picture(drawings, alt, caption)


def _draw_wiring(figure: Figure, width: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    wide = width > 400
    axes = figure.subplots()
    places: list[tuple[float, float]] = [(u, 1.5 * lane) if wide else (1.7 * lane, -u) for u, lane, *_ in PARTS]
    half_w, half_h = (0.41, 0.42) if wide else (0.62, 0.31)

    def arrow(start: tuple[float, float], end: tuple[float, float], bend: str = "arc3") -> None:
        style: dict[str, Any] = {
            "arrowstyle": "-|>",
            "color": LIGHT["muted"],
            "linewidth": 1.3,
            "connectionstyle": bend,
        }
        axes.annotate("", end, start, arrowprops={**style, "shrinkA": 0, "shrinkB": 0})

    for i, j in WIRES:
        (a, b), (c, d) = places[i], places[j]
        flat = b == d if wide else a == c
        along = (half_w, 0) if wide else (0, -half_h)
        across = (0, half_h) if wide else (half_w, 0)
        up = 1 if (d > b if wide else c > a) else -1
        if flat:
            arrow((a + along[0], b + along[1]), (c - along[0], d - along[1]))
        elif (a == c) if wide else (b == d):
            arrow((a + up * across[0], b + up * across[1]), (c - up * across[0], d - up * across[1]))
        else:  # round a corner: first along the flow, then across
            bend = "angle,angleA=0,angleB=90,rad=4" if not wide else "angle,angleA=90,angleB=0,rad=4"
            arrow((a + up * across[0], b + up * across[1]), (c - along[0], d - along[1]), bend)
    _over(axes, places, wide, half_w, half_h)
    for (x, y), (_, _, name, size, color) in zip(places, PARTS, strict=True):
        filled = color in ("top", "bottom")
        axes.add_patch(
            FancyBboxPatch(
                (x - half_w, y - half_h),
                2 * half_w,
                2 * half_h,
                boxstyle="round,pad=0,rounding_size=0.08",
                mutation_aspect=1.0,
                facecolor=LIGHT[color] if filled else LIGHT["raised"],
                edgecolor=LIGHT[color],
                linewidth=1.4,
            )
        )
        ink = LIGHT["paper"] if filled else LIGHT["ink"]
        axes.text(x, y + half_h * 0.36, name, ha="center", va="center", fontsize=12, color=ink)
        axes.text(x, y - half_h * 0.4, size, ha="center", va="center", fontsize=11.5, color=ink)
    axes.set_axis_off()
    axes.set(xlim=(-0.5, 7.5) if wide else (-0.75, 2.85), ylim=(-0.5, 2.45) if wide else (-7.4, 0.4))


def _over(axes: Axes, places: list[tuple[float, float]], wide: bool, half_w: float, half_h: float) -> None:
    """The top codes also go to the decoder: a wire that passes the hint by."""
    (a, b), (c, d) = places[3], places[7]
    if wide:
        line, head = (
            [(a, b + half_h), (a, b + half_h + 0.3), (c, d + half_h + 0.3)],
            ((c, d + half_h + 0.3), (c, d + half_h)),
        )
    else:
        line = [(a + half_w, b), (a + half_w + 0.3, b), (c + half_w + 0.3, d)]
        head = ((c + half_w + 0.3, d), (c + half_w, d))
    axes.plot(*zip(*line, strict=True), color=LIGHT["muted"], linewidth=1.3)
    style: dict[str, Any] = {"arrowstyle": "-|>", "color": LIGHT["muted"], "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", head[1], head[0], arrowprops=style)


def speech_codes(
    log_mel: ArrayLike,
    top: ArrayLike,
    bottom: ArrayLike,
    *,
    phones: Iterable[Any] = (),
    codebooks: tuple[ArrayLike, ArrayLike],
    rate_hz: int = 16_000,
    hop_samples: int = 160,
    alt: str,
    caption: str = "",
    height: int = 460,
) -> Picture:
    """Draw a spectrogram under its phones, and below it the codes of top and bottom on the same time axis.

    Args:
        log_mel: ``(mels, frames)`` in dB; 75 dB below the loudest is black.
        top: codes, ``(frames, codes a frame)``.
        bottom: codes, ``(frames, codes a frame)``.
        phones: spans with ``label``, ``start`` and ``end`` in samples.
        codebooks: of top and bottom, ``(codes, dim)`` each: codes are shaded in the order of their codewords along the
            codebook's first principal component, so that like codewords look alike.
        rate_hz: samples a second (Hz).
        hop_samples: samples from one frame to the next.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        IndexError: a code that its codebook does not have.
        ValueError: ``alt`` is empty, an array has another shape, or codes another length than the spectrogram.
    """
    picture, spans = as_matrix(log_mel), list(phones)
    rows = {"top": as_matrix(top).T, "bottom": as_matrix(bottom).T}
    for name, codes in rows.items():
        if codes.shape[1] != picture.shape[1]:
            raise ValueError(f"there are {picture.shape[1]} frames, and {name} codes for {codes.shape[1]}")
    orders = {name: _order(as_matrix(codewords)) for name, codewords in zip(rows, codebooks, strict=True)}
    frame_ms = 1000 * hop_samples / rate_hz
    end_ms = picture.shape[1] * frame_ms

    def draw(figure: Figure, width: int) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        every = figure.subplots(3, 1, sharex=True, height_ratios=(2.2, 1, 2))
        loudest = float(picture.max(initial=0))
        extent = (0, end_ms, 0, picture.shape[0])
        every[0].imshow(picture, origin="lower", aspect="auto", extent=extent, vmin=loudest - 75, vmax=loudest)
        every[0].set(ylabel="mel band", yticks=[])
        draw_spans(every[0], spans, rate_hz, 1.03, 11, end_ms, width, lines=True)
        for axes, (name, codes) in zip(every[1:], rows.items(), strict=True):
            shades = LinearSegmentedColormap.from_list(name, ["#ffffff", LIGHT[name], "#0c0c12"])
            axes.imshow(
                orders[name][codes.astype(int)], shades, origin="lower", aspect="auto", vmin=0, vmax=len(orders[name]),
                extent=(0, end_ms, 0, len(codes)),
            )  # fmt: skip
            axes.set(yticks=[], ylabel=f"{len(codes)} {name}")
            for span in spans:
                axes.axvline(1000 * span.start / rate_hz, color="#ffffff", alpha=0.5, linewidth=0.7)
        every[0].set(xlim=(0, end_ms))
        label_time(every[2], "time in milliseconds, and in frames", width)
        every[2].xaxis.set_major_formatter(lambda ms, _: f"{ms:.0f} ms\n{ms / frame_ms:.0f}")
        figure.align_ylabels()

    return show(draw, alt=alt, caption=caption, height=height)


def _order(codewords: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each codeword its place along the first principal component."""
    centered = codewords - codewords.mean(0)
    along = centered @ np.linalg.svd(centered, full_matrices=False)[2][0]
    return np.argsort(np.argsort(along))
