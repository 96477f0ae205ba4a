"""The colours of the book, defined once for CSS, JavaScript and matplotlib.

One colour means one thing everywhere: the past a network may use, the present, a leak of the future (the
only alarming colour), inputs that a dilation skips, bottom and top codes, two speakers. Each has a value
for light and one for dark pages. The values were chosen by a search for the largest distance between
colours as seen with normal, deuteranope and protanope eyes at a contrast that text can be read in; a test
keeps both promises.

Source: Okabe and Ito, "Color Universal Design", 2008, for the starting point; Ottosson, "A perceptual
color space for image processing", 2020, for OKLab; Machado, Oliveira and Fernandes, 2009, for the simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise

__all__ = ["DARK", "LIGHT", "NAMES", "alarm", "css", "diverging", "energy", "hatch"]

LIGHT: dict[str, str] = {
    "past": "#2159af",
    "present": "#1c7d5b",
    "future": "#777b83",
    "leak": "#a52a00",
    "skipped": "#4d4a46",
    "bottom": "#51248f",
    "top": "#8f6f0a",
    "speaker_a": "#2a7583",
    "speaker_b": "#74175a",
    "ink": "#1f2328",
    "muted": "#596069",
    "paper": "#fdfcf9",
    "raised": "#f2f0ea",
    "grid": "#d8d6cf",
    "accent": "#2159af",
}
"""Colours on a light page."""

DARK: dict[str, str] = {
    "past": "#62b4ff",
    "present": "#72f2b2",
    "future": "#7f848f",
    "leak": "#ff7a2b",
    "skipped": "#b6ae9b",
    "bottom": "#a478f9",
    "top": "#f2c36b",
    "speaker_a": "#86e6f5",
    "speaker_b": "#dd78c6",
    "ink": "#e8e6e1",
    "muted": "#a7adb6",
    "paper": "#15181d",
    "raised": "#20242b",
    "grid": "#383d45",
    "accent": "#62b4ff",
}
"""Colours on a dark page; the same names."""

NAMES: tuple[str, ...] = tuple(LIGHT)
"""What has a colour. ``future`` is always hatched as well: it is the grey of what may not be used."""


def css() -> str:
    """Write the palette as custom properties, ``--cc-past`` and so on, for light and dark pages.

    Dark is chosen by ``data-theme="dark"`` on the page (the book), by JupyterLab's, Colab's and VS Code's
    own marks, and by the reader's system where nothing else is said. Print is always light.
    """
    light = _declarations(LIGHT) + "color-scheme:light"
    dark = _declarations(DARK) + "color-scheme:dark"
    plain = ":root:not([data-theme]):not([theme])"
    lit = ":root,html[data-theme=light],[data-jp-theme-light=true]"
    unlit = "html[data-theme=dark],html[theme=dark],[data-jp-theme-light=false],body.vscode-dark"
    return (
        f":root{{{light}}}"
        f"@media (prefers-color-scheme:dark){{{plain}{{{dark}}}}}"
        f"{unlit}{{{dark}}}[data-jp-theme-light=true]{{{light}}}"
        f"@media print{{{lit},{unlit}{{{light}}}}}\n"
    )


def _declarations(colors: dict[str, str]) -> str:
    return "".join(f"--cc-{name.replace('_', '-')}:{value};" for name, value in colors.items())


def hatch(name: str) -> str:
    """Draw the pattern of what is not allowed, as an SVG definition.

    Args:
        name: the definition's id.

    Returns:
        The SVG element.
    """
    return (
        f'<pattern id="{name}" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<path d="M0 0V7" stroke="var(--cc-future,#777b83)" stroke-width="1.6" opacity=".38"/></pattern>'
    )


@cache
def energy(steps: int = 256) -> tuple[str, ...]:
    """Choose perceptually uniform colours from nothing (night blue) to most (pale).

    Neither red nor orange occurs, so that a leak stands out on top of it. The same on light and dark pages.

    Args:
        steps: how many colours, at least 1.

    Returns:
        ``#rrggbb`` for each step.

    Example:
        >>> from causalcnn_book import palette
        >>> palette.energy(3)
        ('#181729', '#0b9199', '#f4fdde')
    """
    return tuple(_even(_energy_at, steps))


@cache
def alarm(steps: int = 256) -> tuple[str, ...]:
    """Choose colours of energy where none may be: the alarm colour, on the night of :func:`energy`.

    Args:
        steps: how many colours, at least 1, from little to most.

    Returns:
        ``#rrggbb`` for each step.
    """
    return tuple(_even(lambda x: (0.42 + 0.31 * x, 0.11 + 0.075 * x, 44.0 + 4 * x), steps))


@cache
def diverging(steps: int = 257) -> tuple[str, ...]:
    """Choose colours of signed values: blue below zero, ochre above, the neutral grey at zero, in the middle.

    Args:
        steps: how many colours, an odd number.

    Returns:
        ``#rrggbb`` for each step, from the lowest value to the highest.

    Raises:
        ValueError: ``steps`` is even, so that zero would have no colour of its own.
    """
    if steps % 2 == 0:
        raise ValueError(f"steps is {steps}; zero needs a colour of its own in the middle: take an odd number")
    half = steps // 2 + 1
    below = _even(lambda x: (0.93 - 0.52 * x, 0.145 * math.sin(x * math.pi * 0.62), 258.0), half)
    above = _even(lambda x: (0.93 - 0.52 * x, 0.125 * math.sin(x * math.pi * 0.62), 72.0), half)
    return (*reversed(below), *above[1:])


def _energy_at(x: float) -> tuple[float, float, float]:
    """Compute lightness, chroma and hue of the energy map at ``x`` in 0 … 1."""
    return 0.215 + 0.765 * x, 0.035 + 0.085 * math.sin(math.pi * min(1.0, x * 0.98)) ** 0.9, 285.0 - 165.0 * x


def _even(at: Callable[[float], tuple[float, float, float]], steps: int) -> list[str]:
    """Sample a path through OKLab in ``steps`` of equal perceived difference."""
    fine = [_oklab(*at(i / 1024)) for i in range(1025)]
    walked = [0.0]
    for a, b in pairwise(fine):
        walked.append(walked[-1] + math.dist(a, b))
    colors, at_index = [], 0
    for step in range(steps):
        goal = walked[-1] * step / max(1, steps - 1)
        while at_index < 1024 and walked[at_index] < goal - 1e-12:
            at_index += 1
        colors.append(_hex(fine[at_index]))
    return colors


def _oklab(lightness: float, chroma: float, hue_degrees: float) -> tuple[float, float, float]:
    """A colour inside the sRGB gamut: chroma gives way where the screen has none."""
    angle = math.radians(hue_degrees)
    while True:
        lab = (lightness, chroma * math.cos(angle), chroma * math.sin(angle))
        if chroma < 1e-3 or all(-1e-4 <= c <= 1.0001 for c in _linear(lab)):
            return lab
        chroma *= 0.98


def _linear(lab: tuple[float, float, float]) -> tuple[float, float, float]:
    lightness, a, b = lab
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _hex(lab: tuple[float, float, float]) -> str:
    channels = []
    for c in _linear(lab):
        c = min(1.0, max(0.0, c))
        channels.append(round(255 * (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055)))
    return "#{:02x}{:02x}{:02x}".format(*channels)
