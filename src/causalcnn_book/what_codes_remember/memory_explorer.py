"""The memory figure: a spectrogram, and what the codes of a frame still tell of the frames before it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar

from causalcnn_book.bitmap import colours, encode_bmp
from causalcnn_book.explorer import Explorer, count, duration, plural, tidy, traitlets

__all__ = ["MemoryExplorer"]

LEFT, MARGIN, HEAD, PANEL, TITLE, GAP, CURVE, FOOT = 58, 10, 30, 104, 26, 46, 150, 92
FURTHEST, NOW, RATE_HZ = 18, 45, 100
NAMES = {"codes": "trained codes", "untrained": "untrained codes", "fixed": "fixed code"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
CONTROLS = {"back": "slider", "source": "choice"}
READOUTS = ("error", "age", "read")


class MemoryExplorer(Explorer):
    """What was said; below it, column by column, what is told of it k frames later; and the error over k.

    It draws what ``causalcnn_book.what_codes_remember.memory`` measured.

    Args:
        table: what that wrote, for example ``"measurements/memory.json"``; ``memory-pictures.json`` lies beside it.
        back: how many frames later, 0 … 18.
        source: who tells: ``"codes"`` (trained), ``"untrained"``, or ``"fixed"``, a code made for remembering.
        frames: columns of the pictures.
        bands: rows of the pictures.
        truth: the picture of what was said, a letter for each cell.
        readings: source → its pictures, one for each ``back``.
        errors: source → the error for each ``back``, in thousandths of the variance.
        half_widths: source → half of the error's interval, in the same unit.
        top: frames that a top code reads.
        bottom: frames that a bottom code reads.
        controls: any of ``back, source``; default: both.
        readouts: any of ``error, age, read``; default: all.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Raises:
        FileNotFoundError: one of the two files is not there.
    """

    _module: ClassVar[str] = "what_codes_remember/memory_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("memory").tag(sync=True)
    back = traitlets.Int(5, min=0, max=FURTHEST).tag(sync=True)
    source = traitlets.Enum(tuple(NAMES), "codes").tag(sync=True)
    frames = traitlets.Int(60, min=1).tag(sync=True)
    bands = traitlets.Int(40, min=1).tag(sync=True)
    truth = traitlets.Unicode("A" * 2400).tag(sync=True)
    readings = traitlets.Dict(default_value={name: ["A" * 2400] * (FURTHEST + 1) for name in NAMES}).tag(sync=True)
    errors = traitlets.Dict(default_value={name: [1000] * (FURTHEST + 1) for name in NAMES}).tag(sync=True)
    half_widths = traitlets.Dict(default_value={name: [0] * (FURTHEST + 1) for name in NAMES}).tag(sync=True)
    top = traitlets.Int(9, min=1).tag(sync=True)
    bottom = traitlets.Int(13, min=1).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    alt = traitlets.Unicode(
        "Two spectrograms, the second blurred: what was said, and what the codes of a frame some frames later tell of "
        "it. Below, the error of a frame over how far back it lies; it rises from the present to the left."
    ).tag(sync=True)

    def __init__(self, table: str | Path | None = None, **state: Any) -> None:
        super().__init__(**({} if table is None else _measured(Path(table))) | state)

    def error(self) -> tuple[int, int]:
        """The error of the chosen frame and half of its interval, in thousandths of the variance."""
        return self.errors[self.source][self.back], self.half_widths[self.source][self.back]

    def read_by(self) -> str:
        """Which codes read the chosen frame: ``"top and bottom"``, ``"bottom only"`` or ``"none"``."""
        return "top and bottom" if self.back < self.top else "bottom only" if self.back < self.bottom else "none"

    # ----------------------------------------------------------- the static picture, as memory.js draws it
    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        right, wide = width - MARGIN, width >= 560
        first, second = HEAD + TITLE, HEAD + TITLE + PANEL + TITLE
        top = second + PANEL + GAP + TITLE
        out = (
            f'<defs><pattern id="{unique}h" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>'
        )
        return out + self._pictures(right, first, second, wide) + self._curve(right, top, wide, unique), (
            top + CURVE + FOOT
        )

    def _pictures(self, right: int, first: int, second: int, wide: bool) -> str:
        dx, k, reading = (right - LEFT) / 60, self.back, self.readings[self.source][self.back]
        when = f"{plural(k, 'frame')} later" if k else "of each frame"
        out = f'<text class="cc-title" x="{LEFT}" y="{first - 8}">what was said</text>'
        for text, y in ((self.truth, first), (reading, second)):
            out += (
                f'<image x="{LEFT}" y="{y}" width="{tidy(right - LEFT)}" height="{PANEL}" preserveAspectRatio="none" '
                f'style="image-rendering:pixelated" href="{letters_as_bitmap(text, self.frames, self.bands)}"/>'
            )
        for y in (first, second):
            out += f'<text class="cc-quiet" x="{LEFT - 8}" y="{_half(y)}" text-anchor="end">bands</text>'
        now, earlier = LEFT + (NOW + 0.5) * dx, LEFT + (NOW - k + 0.5) * dx
        out += (
            f'<text class="cc-here" x="{tidy(now)}" y="{HEAD - 8}" text-anchor="middle">now</text>'
            f'<path class="cc-now cc-bright" d="M{tidy(now)} {first}v{PANEL}"/>'
            f'<path class="cc-now" d="M{tidy(now)} {HEAD - 4}V{first}"/>'
            f'<path class="cc-now cc-bright" d="M{tidy(earlier - dx / 2)} {second}v{PANEL}h{tidy(dx)}v-{PANEL}z"/>'
            f'<path class="cc-now" d="M{tidy(now)} {first + PANEL}L{tidy(earlier)} {second}"/>'
            '<text class="cc-title" style="paint-order:stroke;stroke:var(--cc-paper);stroke-width:5px" '
            f'x="{LEFT}" y="{second - 8}">{"told by the " if wide else ""}{NAMES[self.source]} {when}</text>'
        )
        for t in range(0, self.frames, 10 if wide else 20):
            x = tidy(LEFT + t * dx)
            out += (
                f'<path class="cc-tick" d="M{x} {second + PANEL}v5"/>'
                f'<text class="cc-digits cc-quiet" x="{x}" y="{second + PANEL + 19}" text-anchor="middle">'
                f"{duration(t, RATE_HZ)}</text>"
            )
        return out

    def _curve(self, right: int, top: int, wide: bool, unique: str) -> str:
        step, (error, half) = (right - LEFT - 24) / FURTHEST, self.error()

        def at(k: float) -> float:
            return right - 12 - k * step

        def y(n: float) -> float:
            return top + CURVE * (1 - min(1100, n) / 1100)

        title = "error of a frame so far back, as a share of the variance" if wide else "error, share of the variance"
        out = (
            f'<text class="cc-title" x="{LEFT}" y="{top - 8}">{title}</text>'
            f'<rect class="cc-closed" fill="url(#{unique}h)" x="{LEFT}" y="{top}" '
            f'width="{tidy(at(self.bottom - 0.5) - LEFT)}" height="{CURVE}"/>'
        )
        for n in (0, 500, 1000):
            out += (
                f'<path class="cc-tick" style="stroke:var(--cc-grid)" d="M{LEFT} {tidy(y(n))}H{tidy(right)}"/>'
                f'<text class="cc-digits cc-quiet" x="{LEFT - 8}" y="{tidy(y(n) + 4)}" text-anchor="end">'
                f"{_thousandths(n)[:3]}</text>"
            )
        for name in [*(name for name in NAMES if name != self.source), self.source]:
            line = "L".join(f"{tidy(at(i))} {tidy(y(n))}" for i, n in enumerate(self.errors[name]))
            out += f'<path class="{"cc-span cc-past" if name == self.source else "cc-tick"}" d="M{line}"/>'
        x, low, high = tidy(at(self.back)), tidy(y(error + half)), tidy(y(max(0, error - half)))
        out += (
            f'<path class="cc-now" d="M{x} {top}v{CURVE}"/>'
            f'<path class="cc-span cc-past" style="stroke-width:5" d="M{x} {low}V{high}"/>'
            f'<path class="cc-dot cc-present" stroke-width="11" d="M{x} {tidy(y(error))}h.01"/>'
        )
        for row, (name, reach) in enumerate((("top", self.top), ("bottom", self.bottom))):
            level, said = top + CURVE + 12 + 16 * row, f"{name} codes read {reach} frames"
            out += (
                f'<path class="cc-span" style="stroke:var(--cc-{name});stroke-width:7" '
                f'd="M{tidy(at(reach - 0.5))} {level}H{tidy(at(-0.5))}"/>'
                f'<text style="fill:var(--cc-{name})" x="{tidy(at(reach - 0.5) - 7)}" y="{level + 4}" '
                f'text-anchor="end">{said if wide else f"{name} reads {reach}"}</text>'
            )
        each = 2 if wide else 6
        for i in range(0, FURTHEST + 1, each):
            out += f'<text class="cc-digits" x="{tidy(at(i))}" y="{top + CURVE + 60}" text-anchor="middle">'
            out += f"{count(-i)}</text>"
            if step * each >= 72 or i % 4 == 0:
                out += (
                    f'<text class="cc-digits cc-quiet" x="{tidy(at(i))}" y="{top + CURVE + 77}" text-anchor="middle">'
                    f"{duration(-i, RATE_HZ)}</text>"
                )
        return out + f'<text class="cc-quiet" x="{LEFT - 8}" y="{top + CURVE + 60}" text-anchor="end">frames</text>'

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        error, who = _thousandths(self.error()[0]), self.read_by()
        back = f"{plural(self.back, 'frame')} ({duration(self.back, RATE_HZ)}) back"
        tells = f"the frame {back}" if self.back else "the frame"
        if self.source == "fixed":
            inside = f"It is one of the {self.bottom} frames of the window."
            held = "It is outside the window: speech tells this much by itself." if who == "none" else inside
            return f"From the fixed code, {tells} is told with an error of {error}. {held}"
        reads = {
            "top and bottom": "Both levels read it.",
            "bottom only": "Only the bottom codes read it.",
            "none": "No code reads it: speech tells this much by itself.",
        }[who]
        return f"From the {NAMES[self.source]} of one frame, {tells} is told with an error of {error}. {reads}"

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        error, half = self.error()
        return [
            ("error", "Error", _thousandths(error), f"± {_thousandths(half)}"),
            ("age", "Looking back", duration(self.back, RATE_HZ), plural(self.back, "frame")),
            ("read", "Codes that read it", self.read_by(), ""),
        ]


def _measured(table: Path) -> dict[str, Any]:
    """The traits that a measured table and the pictures beside it give."""
    beside = table.with_name(f"{table.stem}-pictures.json")
    for file in (table, beside):
        if not file.is_file():
            raise FileNotFoundError(
                f"there is no {str(file)!r} (looked from {Path.cwd()}); causalcnn experiment memory writes both"
            )
    measured, drawn = (json.loads(file.read_text("utf8")) for file in (table, beside))
    start = measured["back"].index(0)
    lines = {
        key: {
            name: [round(1000 * (v or 0.0)) for v in measured["linear"][name][part][start : start + FURTHEST + 1]]
            for name in NAMES
        }
        for key, part in (("errors", "mean"), ("half_widths", "half_interval"))
    }
    pictures = {key: drawn[key] for key in ("frames", "bands", "truth")}
    return pictures | {"readings": drawn["readings"]} | lines | measured["field"]


def _half(y: int) -> str:
    return tidy(y + PANEL / 2 + 4)


def _thousandths(n: int) -> str:
    return f"{n // 1000}.{n % 1000:03}"


def letters_as_bitmap(text: str, frames: int, bands: int) -> str:
    """A picture written as letters, column by column from the low bands up, as the address of a bitmap."""
    table = colours()
    index = {letter: math.floor(i * (len(table) - 1) / 63 + 0.5) for i, letter in enumerate(LETTERS)}
    return encode_bmp(table, frames, bands, lambda band, t: index[text[t * bands + band]])
