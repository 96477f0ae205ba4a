"""The picture of the WaveNet chapter: a sentence, and how far some gates are open in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from causalcnn_book.drawing import as_array, draw_wave, label_time
from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import Picture, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["wave_and_gates"]

STYLES = ("-", "--")


def wave_and_gates(
    samples: ArrayLike,
    gates: Mapping[str, ArrayLike],
    *,
    rate_hz: int = 16_000,
    mean_over: int = 160,
    colors: Sequence[str] = ("present", "speaker_b"),
    alt: str,
    caption: str = "",
    height: int = 280,
) -> Picture:
    """Draw a waveform and, below it on the same axis, how far gates are open.

    Args:
        samples: of the sound, ``(samples,)``.
        gates: name → from 0, closed, to 1, open, at each sample, ``(samples,)``.
        rate_hz: samples a second (Hz).
        mean_over: each point of a line is the mean over so many samples.
        colors: names of the palette, in the order of ``gates``.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: ``alt`` is empty, or a gate has another length than the sound.

    Example:
        >>> from causalcnn_book.wavenet import wave_and_gates
        >>> wave_and_gates([0.0, 0.5] * 800, {"one": [0.2] * 1600}, alt="A gate that is nearly closed.")
        <Picture: A gate that is nearly closed.>
    """
    sound = as_array(samples).ravel()
    lines = {name: as_array(gate).ravel() for name, gate in gates.items()}
    for name, line in lines.items():
        if len(line) != len(sound):
            raise ValueError(f"the gate {name!r} has {len(line)} values; the sound has {len(sound)} samples")

    def draw(figure: Figure, width: int) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
        draw_wave(top, sound, rate_hz, width)
        top.tick_params(bottom=False)
        for i, (name, line) in enumerate(lines.items()):
            means = line[: len(line) // mean_over * mean_over].reshape(-1, mean_over).mean(1)
            at = [(k + 0.5) * mean_over * 1000 / rate_hz for k in range(len(means))]
            bottom.plot(at, means, STYLES[i % len(STYLES)], color=LIGHT[colors[i % len(colors)]], label=name)
        bottom.set(ylim=(-0.03, 1.03), yticks=[0, 0.5, 1], ylabel="how far open")
        bottom.grid(axis="y", linewidth=0.8)
        bottom.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(lines), frameon=False,
                      labelcolor="linecolor", handlelength=2, borderpad=0.1)  # fmt: skip
        label_time(bottom, "ms", width)
        figure.align_ylabels()

    return show(draw, alt=alt, caption=caption, height=height)
