"""The ranges figure: a bang, and what it does to the bins before and after it under three kinds of range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from causalcnn_book.explorer import Explorer, count, duration, nice_step, plural, tidy, traitlets

__all__ = ["RangeExplorer"]

LEFT, MARGIN, HEAD, VALUES, GAP, BINS, FOOT = 58, 10, 44, 170, 44, 130, 30
RATE_HZ, LENGTH, GRID = 100, 5, 2**20
LEAST_DB, MOST_DB = -100, 60
KEYS = ("way", "bang_db", "at", "values", "low_db", "high_db", "rise_db", "fall_db_per_second")
WAYS = {"recording": "the whole recording's", "fixed": "fixed beforehand", "running": "running"}
CONTROLS = {"way": "choice", "bang_db": "slider", "at": "slider"}
READOUTS = ("before", "distance", "after")
PLAIN = tuple(-40.0 + round(25 * math.sin(t / 9) * math.exp(-((t - 60) ** 2) / 3000), 1) for t in range(120))


class RangeExplorer(Explorer):
    """The loudest value of each frame, a bang in it, the range of its 256 bins, and the bin of each, before and after.

    Args:
        way: whose range: ``"recording"`` (minimum and maximum of it all), ``"fixed"`` or ``"running"``.
        bang_db: how loud the bang is, in dB, 0 … 60; it lasts 5 frames.
        at: its first frame, from 5.
        values: one value a frame, in dB.
        low_db: where the fixed range begins, with which the running one starts.
        high_db: where it ends.
        rise_db: of the running range, see :class:`causalcnn.speech.RunningBins`.
        fall_db_per_second: of the running range, too.
        controls: any of ``way, bang_db, at``; default: all.
        readouts: any of ``before, distance, after``.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.
    """

    _module: ClassVar[str] = "discrete_spectrograms/range_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("ranges").tag(sync=True)
    way = traitlets.Enum(tuple(WAYS), "recording").tag(sync=True)
    bang_db = traitlets.Int(40, min=0, max=MOST_DB).tag(sync=True)
    at = traitlets.Int(80, min=LENGTH).tag(sync=True)
    values = traitlets.List(traitlets.Float(), list(PLAIN)).tag(sync=True)
    low_db = traitlets.Float(-70.0).tag(sync=True)
    high_db = traitlets.Float(20.0).tag(sync=True)
    rise_db = traitlets.Float(6.0).tag(sync=True)
    fall_db_per_second = traitlets.Float(5.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    alt = traitlets.Unicode(
        "Above, a curve of decibels over time with a bang in it, and the range of the bins as a shaded strip. Below, "
        "the bins from 0 to 255: where the range is the whole recording's, those before the bang move down."
    ).tag(sync=True)

    @property
    def first(self) -> int:
        """The first frame of the bang: inside the recording."""
        return max(LENGTH, min(self.at, len(self.values) - LENGTH))

    def heard(self) -> list[float]:
        """The values with the bang in them."""
        bang = [float(self.bang_db)] * LENGTH
        return self.values[: self.first] + bang + self.values[self.first + LENGTH :]

    def coded(self, values: Sequence[float]) -> tuple[list[int], list[float], list[float]]:
        """Bin indices of 8 bits, and for every frame the two ends of its range."""
        frames, low, high = len(values), self.low_db, self.high_db
        if self.way == "recording":
            low, high = min(values), max(values)
        span = high - low
        places = [math.floor((x - low) / (span or 1.0) * GRID) for x in values]
        offsets = self._moved(places) if self.way == "running" else [0] * frames
        indices = [max(0, min(255, (p - offset) // (GRID // 256))) for p, offset in zip(places, offsets, strict=True)]
        moved = [offset / GRID * span for offset in offsets]
        return indices, [low + by for by in moved], [high + by for by in moved]

    def _moved(self, places: Sequence[int]) -> list[int]:
        """The steps of a :class:`causalcnn.speech.RunningBins` that reads one value a frame."""
        span = self.high_db - self.low_db
        rise = max(1, math.floor(self.rise_db / span * GRID + 0.5))
        fall = math.floor(self.fall_db_per_second / RATE_HZ / span * GRID + 0.5)
        offset, out = 0, []
        for place in places:
            out.append(offset)
            if place - offset >= GRID - GRID // 256:
                offset = min(offset + rise, math.floor(100 / span * GRID + 0.5))
            elif place - offset >= GRID // 2:
                offset -= fall
        return out

    def moved(self) -> dict[str, int]:
        """How many bins before the bang moved and how far at most, and how many after it moved."""
        quiet, loud = self.coded(self.values)[0], self.coded(self.heard())[0]
        far = [abs(a - b) for a, b in zip(quiet, loud, strict=True)]
        before, after = far[: self.first], far[self.first + LENGTH :]
        return {
            "before": sum(d > 0 for d in before),
            "furthest": max(before, default=0),
            "after": sum(d > 0 for d in after),
        }

    # ----------------------------------------------------------- the static picture, as range_explorer.js draws it
    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        right, wide, first = width - MARGIN, width >= 560, self.first
        heard, frames = self.heard(), len(self.values)
        dx, second = (right - LEFT) / frames, HEAD + VALUES + GAP
        now = tidy(LEFT + first * dx)
        indices, low, high = self.coded(heard)
        quiet = self.coded(self.values)[0]

        def x(t: int) -> str:
            return tidy(LEFT + (t + 0.5) * dx)

        def y(db: float) -> str:
            return tidy(HEAD + VALUES * (1 - (max(LEAST_DB, min(MOST_DB, db)) - LEAST_DB) / (MOST_DB - LEAST_DB)))

        def bin_y(n: int) -> str:
            return tidy(second + BINS * (1 - n / 255))

        out = (
            f'<defs><pattern id="{unique}h" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>'
        )
        for top, tall in ((HEAD, VALUES), (second, BINS)):
            out += (
                f'<rect class="cc-closed" fill="url(#{unique}h)" x="{now}" y="{top}" '
                f'width="{tidy(right - LEFT - first * dx)}" height="{tall}"/>'
            )
        edge = [f"{x(t)} {y(high[t])}" for t in range(frames)] + [
            f"{x(t)} {y(low[t])}" for t in reversed(range(frames))
        ]
        out += (
            f'<path style="fill:var(--cc-past);opacity:.16" d="M{"L".join(edge)}z"/>'
            f'<path class="cc-wire cc-past" style="opacity:1" d="M{"L".join(edge[:frames])}"/>'
            f'<path class="cc-wire cc-past" style="opacity:1" d="M{"L".join(edge[frames:])}"/>'
            f'<path class="cc-skip" d="M{"L".join(f"{x(t)} {y(v)}" for t, v in enumerate(heard))}"/>'
            f'<path class="cc-wire cc-idle" style="opacity:.8" '
            f'd="M{"L".join(f"{x(t)} {bin_y(n)}" for t, n in enumerate(quiet))}"/>'
        )
        kinds = {"past": "", "leak": "", "idle": ""}
        for t, n in enumerate(indices):
            kind = "past" if t >= first or n == quiet[t] else "leak"
            kinds[kind] += f"M{x(t)} {bin_y(n)}h.01"
        dot = tidy(max(2.2, min(4.0, dx)))
        out += "".join(
            f'<path class="cc-dot cc-{kind}" stroke-width="{dot}" d="{path}"/>' for kind, path in kinds.items() if path
        )
        out += f'<path class="cc-now" d="M{now} {HEAD - 8}V{second + BINS}"/>'
        for db in (-80, -40, 0, 40):
            out += (
                f'<path class="cc-tick" d="M{LEFT - 5} {y(db)}h5"/>'
                f'<text class="cc-digits cc-quiet" x="{LEFT - 9}" y="{y(db)}" dy="4" text-anchor="end">'
                f"{count(db)}</text>"
            )
        for n in (0, 128, 255):
            out += (
                f'<path class="cc-tick" d="M{LEFT - 5} {bin_y(n)}h5"/>'
                f'<text class="cc-digits cc-quiet" x="{LEFT - 9}" y="{bin_y(n)}" dy="4" text-anchor="end">{n}</text>'
            )
        step = nice_step(dx, 60)
        for t in range(0, frames, step):
            mark = tidy(LEFT + t * dx)
            out += (
                f'<path class="cc-tick" d="M{mark} {second + BINS}v5"/>'
                f'<text class="cc-digits cc-quiet" x="{mark}" y="{second + BINS + 19}" text-anchor="middle">'
                f"{duration(t, RATE_HZ)}</text>"
            )
        title = "loudest band, and the range of the bins" if wide else "loudest band, and the range"
        return out + (
            f'<text class="cc-title" x="{LEFT}" y="16">{title}</text>'
            f'<text class="cc-quiet" x="{LEFT - 9}" y="16" text-anchor="end">dB</text>'
            f'<text class="cc-here" x="{now}" y="{HEAD - 12}" text-anchor="middle">now</text>'
            '<text class="cc-title" style="paint-order:stroke;stroke:var(--cc-paper);stroke-width:5px" '
            f'x="{LEFT}" y="{second - 12}">its bins{"; grey: without the bang" if wide else ""}</text>'
        ), second + BINS + FOOT

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        found, bang = self.moved(), f"{count(self.bang_db)} dB"
        who = {"recording": "The recording's own range", "fixed": "The fixed range", "running": "The running range"}
        if found["before"]:
            return (
                f"{who[self.way]} stretches to the bang of {bang}: {found['before']} of {self.first} bins before it "
                f"move, by up to {found['furthest']}. They read the future."
            )
        if self.way == "fixed":
            cut = self.bang_db > self.high_db
            return f"{who[self.way]} does not move: no bin before or after the bang does. " + (
                f"The bang itself is cut off at {count(math.floor(self.high_db + 0.5))} dB."
                if cut
                else "The bang fits into it."
            )
        if self.way == "running" and not found["after"]:
            return f"{who[self.way]} moves neither before nor after the bang of {bang}: it fits."
        if self.way == "running":
            others = plural(found["after"], "bin")
            return (
                f"{who[self.way]} moves after the bang of {bang}, not before. It changes {others} after it, and a "
                "decoder knows why."
            )
        return f"The bang of {bang} is not louder than the rest of the recording: no bin before it moves."

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        found = self.moved()
        return [
            ("before", "Moved before the bang", plural(found["before"], "bin"), f"of {self.first}"),
            ("distance", "By at most", plural(found["furthest"], "bin"), ""),
            ("after", "Moved after it", plural(found["after"], "bin"), ""),
        ]
