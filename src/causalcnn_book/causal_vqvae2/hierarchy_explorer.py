"""The hierarchy explorer: what one code of the causal VQ-VAE-2 reads, by itself and through the level above it."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book import palette
from causalcnn_book.explorer import Explorer, duration, plural, tidy, time_axis, traitlets

__all__ = ["HierarchyExplorer"]

GUTTER, TOP, BAND, MELS, CELLS, EDGE = 54, 34, 3, 80, 14, 12
FLOOR = TOP + MELS * BAND
HEIGHT, RATE_HZ, FRAMES = FLOOR + 48, 100, 84
BANDS = {"top": 8, "bottom": 4, "output": 1}
NAMES = {"top": "Top code", "bottom": "Bottom code", "output": "Output band"}
LIT = {"top": palette.DARK["top"], "bottom": palette.DARK["bottom"], "now": palette.DARK["present"]}
NIGHT = "#0b0d16"
"""On a spectrogram, which is dark on a light page too, the colours of a dark page are seen best."""
CONTROLS = {"level": "choice", "band": "slider", "frame": "slider", "blocks": "slider", "kernel": "choice"}
CONTROLS |= {"weights": "switch"}
READOUTS = ("past", "bands", "cells", "only", "ahead", "half")

Interval = tuple[int, int]


def _same(cells: Interval, half: int) -> Interval:
    return cells[0] - half, cells[1] + half


def _down(cells: Interval) -> Interval:
    return 2 * cells[0] - 1, 2 * cells[1] + 2


def _up(cells: Interval) -> Interval:
    return (cells[0] - 1) // 2, (cells[1] + 1) // 2


def _clip(cells: Interval, limit: int) -> Interval:
    return max(0, cells[0]), min(limit, cells[1])


class HierarchyExplorer(Explorer):
    """A spectrogram, and on it the values that one code of a :class:`~causalcnn.models.CausalVQVAE2` reads.

    Args:
        mel: ``(80, frames)`` in dB, at most 100 frames; default: a drawn one.
        level: what reads: ``"top"``, ``"bottom"`` (a code) or ``"output"`` (a band of the reconstruction).
        band: 0 … 79; the code is the one that lies over it.
        frame: of the code.
        blocks: residual blocks of each stack, 1 … 3.
        kernel: 3 or 5.
        weights: show what the trained weights do read, where ``influence`` says so.
        influence: what :func:`causalcnn_book.causal_vqvae2.levels.influence` found.
        trained: blocks and kernel of the model that it was found on.
        controls: any of ``level, band, frame, blocks, kernel, weights``; default: all.
        readouts: any of ``past, bands, cells, only, ahead, half``; default: all.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Example:
        >>> HierarchyExplorer(level="top").read()["past"], HierarchyExplorer(level="bottom").read()["past"]
        (8, 12)
    """

    _module: ClassVar[str] = "causal_vqvae2/hierarchy_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("hierarchy").tag(sync=True)
    level = traitlets.Enum(tuple(BANDS), "bottom").tag(sync=True)
    band = traitlets.Int(38, min=0, max=MELS - 1).tag(sync=True)
    frame = traitlets.Int(60, min=0, max=99).tag(sync=True)
    blocks = traitlets.Int(1, min=1, max=3).tag(sync=True)
    kernel = traitlets.Enum((3, 5), 3).tag(sync=True)
    weights = traitlets.Bool(False).tag(sync=True)
    frames = traitlets.Int(FRAMES, min=1, max=100).tag(sync=True)
    image = traitlets.Unicode("").tag(sync=True)
    influence = traitlets.Dict(default_value={}).tag(sync=True)
    trained = traitlets.List(traitlets.Int(), [1, 3]).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    alt = traitlets.Unicode(
        "A spectrogram over time, darkened but for the patch that the chosen code reads, which ends at the line of the "
        "present. Inside it a smaller frame is what the code reads by itself; the future is hatched. Beside it the "
        "codes of the frame as two columns."
    ).tag(sync=True)

    def __init__(self, mel: ArrayLike | None = None, **state: Any) -> None:
        if mel is not None or "image" not in state:
            picture = _drawn() if mel is None else _decibels(mel)
            state |= {"image": _png(picture), "frames": picture.shape[1]}
        state["frame"] = min(state.get("frame", 60), state["frames"] - 1)
        super().__init__(**state)

    @property
    def cell(self) -> int:
        """The code (or output band) that lies over the chosen band."""
        return self.band // BANDS[self.level]

    def read(self) -> dict[str, Any]:
        """What the code reads.

        Returns:
            ``direct`` and ``through`` (the tops): frames back, first and last band; ``direct`` is None for a top
            code. ``tops`` and ``bottoms``: the codes of the present frame on the way, first and last. ``past``,
            ``size``, ``bands``, ``cells``: extent of all together. ``only``: cells that only the tops reach.
        """
        c, half, once = self.cell, (self.kernel - 1) // 2 * (self.blocks + 1), (self.kernel - 1) * (self.blocks + 1)

        def bands(cells: Interval) -> Interval:
            return _down(_down(_same(cells, half)))

        bottoms = direct = None
        if self.level == "top":
            tops, back = (c, c), 2 * once
        elif self.level == "bottom":
            bottoms, tops, back = (c, c), _same(_up((c, c)), half), 3 * once
        else:
            bottoms, back = _same(_up(_up((c, c))), half), 4 * once
            tops = _same(_up(bottoms), half)
        through: dict[str, Any] = {"back": back, "bands": list(_clip(bands(_down(_same(tops, half))), MELS - 1))}
        if bottoms:
            by_itself = 2 * once if self.level == "output" else once
            direct = {"back": by_itself, "bands": list(_clip(bands(bottoms), MELS - 1))}
        cells = _area(through)
        return {
            "direct": direct, "through": through, "tops": list(_clip(tops, 9)),
            "bottoms": bottoms and list(_clip(bottoms, 19)), "past": back, "size": back + 1,
            "bands": through["bands"][1] - through["bands"][0] + 1, "cells": cells, "only": cells - _area(direct),
        }  # fmt: skip

    def found(self) -> dict[str, Any] | None:
        """What the trained weights look at, where that is known."""
        if [self.blocks, self.kernel] != list(self.trained) or self.level not in self.influence:
            return None
        return self.influence[self.level][self.cell]

    # --------------------------------------------------------- the static picture, as hierarchy_explorer.js draws it
    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        f, right = self.read(), width - (132 if width >= 560 else 92)
        dx = (right - GUTTER) / self.frames

        def x(t: float) -> float:
            return GUTTER + t * dx

        line, tall = x(self.frame + 1), MELS * BAND

        def box(r: dict[str, Any]) -> tuple[str, int, str, int]:
            start, (low, high) = max(0, self.frame - r["back"]), r["bands"]
            return tidy(x(start)), FLOOR - (high + 1) * BAND, tidy(line - x(start)), (high - low + 1) * BAND

        def rect(r: dict[str, Any], style: str) -> str:
            a, b, w, h = box(r)
            return f'<rect x="{a}" y="{b}" width="{w}" height="{h}" {style}/>'

        def hole(r: dict[str, Any]) -> str:
            a, b, w, h = box(r)
            start = max(0, self.frame - r["back"])
            return f"M{a} {b}h{w}v{h}h{tidy(x(start) - line)}z"

        after = f'x="{tidy(line)}" y="{TOP}" width="{tidy(right - line)}" height="{tall}"'
        out = (
            f'<defs><pattern id="{unique}h" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path d="M0 0V7" stroke="#b9bdc6" stroke-width="1.6" opacity=".5"/>'
            f'</pattern></defs><image href="{self.image}" x="{GUTTER}" y="{TOP}" width="{tidy(right - GUTTER)}" '
            f'height="{tall}" preserveAspectRatio="none" style="image-rendering:pixelated"/>'
            f'<path fill="{NIGHT}" fill-rule="evenodd" opacity=".62" '
            f'd="M{GUTTER} {TOP}H{tidy(line)}V{FLOOR}H{GUTTER}z{hole(f["through"])}"/>'
        )
        if f["direct"]:
            holes = hole(f["through"]) + hole(f["direct"])
            out += f'<path fill="{NIGHT}" fill-rule="evenodd" opacity=".34" d="{holes}"/>'
        if lit := self._lights(x, dx):
            out += rect(f["through"], f'fill="{NIGHT}"') + lit
        out += f'<rect fill="{NIGHT}" opacity=".8" {after}/><rect fill="url(#{unique}h)" {after}/>'
        out += rect(f["through"], f'fill="none" stroke="{LIT["top"]}" stroke-width="2"')
        if f["direct"]:
            out += rect(f["direct"], f'fill="none" stroke="{LIT["bottom"]}" stroke-width="2.5"')
        out += f'<path d="M{tidy(line)} {TOP - 4}V{FLOOR + 4}" stroke="{LIT["now"]}" stroke-width="2"/>'
        return out + self._columns(f, width, right) + self._labels(right, line, x, dx), HEIGHT

    def _lights(self, x: Any, dx: float) -> str:
        found = self.found() if self.weights else None
        if not found:
            return ""
        energy, table = palette.energy(33), found["table"]
        paths: dict[str, str] = {}
        for age in range(min(len(table) // MELS, self.frame + 1)):
            band = 0
            while band < MELS:
                level, run = table[age * MELS + band], 1
                while band + run < MELS and table[age * MELS + band + run] == level:
                    run += 1
                if level != "0":
                    piece = f"M{tidy(x(self.frame - age))} {FLOOR - (band + run) * BAND}h{tidy(dx)}v{run * BAND}"
                    paths[level] = paths.get(level, "") + f"{piece}h{tidy(-dx)}z"
                band += run
        return "".join(f'<path fill="{energy[5 + 3 * int(level)]}" d="{paths[level]}"/>' for level in sorted(paths))

    def _columns(self, f: dict[str, Any], width: int, right: int) -> str:
        out, step = "", 54 if width >= 560 else 38
        for i, (level, read) in enumerate((("top", f["tops"]), ("bottom", f["bottoms"]))):
            at, tall = right + EDGE + 10 + i * step, BANDS[level] * BAND
            part = {"off": "", "on": "", "one": ""}
            for c in range(MELS // BANDS[level]):
                one = self.level == level and c == self.cell
                kind = "one" if one else "on" if read and read[0] <= c <= read[1] else "off"
                part[kind] += f"M{at} {FLOOR - (c + 1) * tall + 1}h{CELLS}v{tall - 2}h{-CELLS}z"
            if part["off"]:
                out += f'<path fill="var(--cc-muted)" opacity=".25" d="{part["off"]}"/>'
            if part["on"]:
                out += f'<path fill="var(--cc-{level})" opacity=".6" d="{part["on"]}"/>'
            if part["one"]:
                out += f'<path fill="var(--cc-{level})" d="{part["one"]}"/>'
            out += (
                f'<text x="{at + CELLS // 2}" y="{TOP - 10}" text-anchor="middle" '
                f'style="fill:var(--cc-{level})">{level}</text>'
            )
        if self.level == "output":
            y = FLOOR - (self.cell + 0.5) * BAND
            out += f'<path fill="var(--cc-present)" d="M{right + 4} {tidy(y)}l10 -5v10z"/>'
        return out

    def _labels(self, right: int, line: float, x: Any, dx: float) -> str:
        here = min(max(line, GUTTER + 14), right - 14)
        out = f'<text class="cc-here" x="{tidy(here)}" y="{TOP - 10}" text-anchor="middle">now</text>'
        for text, y in (("8 kHz", TOP + 10), ("50 Hz", FLOOR)):
            out += f'<text class="cc-quiet" x="{GUTTER - 8}" y="{y}" text-anchor="end">{text}</text>'
        return out + time_axis(
            0, self.frames - 1, x=lambda t: x(t + 0.5), dx=dx, now=self.frame, right=right, left=GUTTER, y=FLOOR + 4,
            rate_hz=RATE_HZ,
        )  # fmt: skip

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        f = self.read()
        (low, high), zeros = f["through"]["bands"], max(0, f["past"] - self.frame)
        past = plural(f["past"], "frame")
        out = f"{NAMES[self.level]} {self.cell} reads the present and {past} before it, bands {low} to {high}"
        if own := f["direct"]:
            out += f"; by itself only {plural(own['back'], 'frame')} back, bands {own['bands'][0]} to {own['bands'][1]}"
            out += ". The rest comes through the tops"
        edge = f" The first {plural(zeros, 'frame')} of these came before the recording: zeros." if zeros else ""
        return f"{out}.{edge}"

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        f, known = self.read(), self.found()
        within = plural(known["within"], "frame") if known else "not measured"
        return [
            ("past", "Past", plural(f["past"], "frame"), duration(f["past"], RATE_HZ)),
            ("bands", "Bands", f"{f['bands']} of {MELS}", ""),
            ("cells", "Values that it can read", plural(f["cells"], "value"), ""),
            ("only", "Only through the tops", plural(f["only"], "value"), ""),
            ("ahead", "Look-ahead", "0 frames", "0 ms"),
            ("half", "Trained: 99 % within", within, duration(known["within"], RATE_HZ) if known else ""),
        ]


def _area(r: dict[str, Any] | None) -> int:
    return (r["back"] + 1) * (r["bands"][1] - r["bands"][0] + 1) if r else 0


def _decibels(mel: ArrayLike) -> NDArray[np.float64]:
    if hasattr(mel, "detach"):
        mel = mel.detach().cpu().numpy()
    picture = np.asarray(mel, dtype=np.float64)
    if picture.ndim != 2 or picture.shape[0] != MELS or not 1 <= picture.shape[1] <= 100:
        raise ValueError(f"mel has the shape {picture.shape}; give (80, frames) in dB, with at most 100 frames")
    return picture


def _drawn() -> NDArray[np.float64]:
    """Something like speech: a hiss, then a vowel that glides into another one, on the harmonics of a voice."""
    t, band = np.arange(FRAMES)[None] / FRAMES, np.arange(MELS)[:, None]
    voiced = 1 / (1 + np.exp(-60 * (t - 0.24))) / (1 + np.exp(60 * (t - 0.9)))
    tracks = ((14, 9, 5), (44, -16, 5), (57, 3, 6))
    formants = sum(np.exp(-(((band - a - b * t * t) / w) ** 2)) for a, b, w in tracks)
    harmonics = 0.75 + 0.25 * np.cos(2 * math.pi * band / (5 + 0.6 * np.sin(5 * t)))
    hiss = np.exp(-(((band - 66) / 9) ** 2) - ((t - 0.14) / 0.07) ** 2)
    return -75 + 62 * np.clip(voiced * formants * harmonics + 0.8 * hiss, 0, 1) ** 0.7


def _png(picture: NDArray[np.float64]) -> str:
    """The spectrogram as a small PNG with the book's colours, high bands at the top, as an address."""
    colours = palette.energy(64)
    level = np.clip((picture - picture.max() + 75) / 75, 0, 1)
    rows = np.rint(level * 63).astype(np.uint8)[::-1]
    table = b"".join(bytes.fromhex(colour[1:]) for colour in colours)
    size = struct.pack(">IIBBBBB", picture.shape[1], MELS, 8, 3, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 9)
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", size), (b"PLTE", table), (b"IDAT", data), (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return "data:image/png;base64," + base64.b64encode(out).decode()
