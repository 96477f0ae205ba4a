"""The codebook explorer: points on a plane, codewords with their cells, and the running means that move them."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, ClassVar

from causalcnn_book.explorer import Explorer, plural, tidy, traitlets
from causalcnn_book.vector_quantisation.codebook_learning import (
    HEIGHT,
    POINTS,
    WIDTH,
    Codebook,
    Point,
    added,
    count_wins,
    ema_step,
    initial_codewords,
    nearest,
    rows,
    square,
    voronoi_cell,
)

__all__ = ["CodebookExplorer"]

EDGE, TOP, LAST, MOST = 10, 12, 100, 12
CONTROLS = {
    "steps": "slider",
    "codes": "slider",
    "decay": "slider",
    "start": "choice",
    "restart": "switch",
    "play": "buttons",
}
READOUTS = ("error", "used", "perplexity")


class CodebookExplorer(Explorer):
    """A codebook of two dimensions at work: drag codewords or points, let time run, watch codewords die and restart.

    The picture is a function of its setting: the same start, decay and data give the same codebook after so many steps.
    What is dragged makes the present codebook the start of a new run.

    Args:
        codes: codewords, 2 … 12.
        decay: kept of count and sum in a step, 20 … 99 %.
        restart: whether codewords of hardly any use start again at a point.
        start: ``"corner"`` (all of them crowded there), ``"points"`` of the data, or ``"kmeans"`` from there.
        steps: of the running means so far, 0 … 100, over all points each.
        chosen: what the keys move: a codeword, counted from 0, or after them a point.
        placed: codewords where a reader has put them, as text.
        moved: points where a reader has put them, as text.
        controls: any of ``steps, codes, decay, start, restart, play``; default: all.
        readouts: any of ``error, used, perplexity``; default: all.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Example:
        >>> figure = CodebookExplorer(codes=8, steps=20)
        >>> figure.read()["used"], CodebookExplorer(codes=8, steps=20, restart=True).read()["used"]
        (3, 8)
    """

    _module: ClassVar[str] = "vector_quantisation/codebook_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("codebook").tag(sync=True)
    codes = traitlets.Int(8, min=2, max=MOST).tag(sync=True)
    decay = traitlets.Int(80, min=20, max=99).tag(sync=True)
    restart = traitlets.Bool(False).tag(sync=True)
    start = traitlets.Enum(("corner", "points", "kmeans"), "corner").tag(sync=True)
    steps = traitlets.Int(20, min=0, max=LAST).tag(sync=True)
    chosen = traitlets.Int(0, min=0, max=MOST + len(POINTS) - 1).tag(sync=True)
    placed = traitlets.Unicode("").tag(sync=True)
    moved = traitlets.Unicode("").tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(
        traitlets.Unicode(), ["codes", "decay", "restart", "start", "steps", "chosen", "placed", "moved"]
    ).tag(sync=True)
    alt = traitlets.Unicode(
        "Sixty points in five clusters on a plane, and numbered codewords among them. Lines divide the plane into "
        "the cells of the codewords; each point is joined to its codeword. Codewords that win no point "
        "are hollow. Bars show how many points each codeword wins."
    ).tag(sync=True)

    # ------------------------------------------------------------ what is computed, as in codebook_explorer.js
    def points(self) -> list[Point]:
        """The data, with those that the reader has dragged away."""
        return _points(self.moved)

    def history(self) -> tuple[Codebook, ...]:
        """Every codebook from the start to the present step."""
        return _history(self.codes, self.decay, self.restart, self.start, self.steps, self.placed, self.moved)

    def read(self) -> dict[str, Any]:
        """All that the figure shows: ``codewords``, ``wins``, ``error``, ``variance``, ``used``, ``perplexity``, …"""
        points, codebooks = self.points(), self.history()
        codewords, every = codebooks[-1].codewords, len(points)
        wins, _ = count_wins(points, codewords)
        mean = (added(p[0] for p in points) / every, added(p[1] for p in points) / every)
        entropy = 0.0
        for n in wins:
            entropy = entropy - (n / every) * math.log(n / every) if n else entropy
        return {
            "points": points,
            "codebooks": codebooks,
            "codewords": codewords,
            "wins": wins,
            "error": added(square(p, codewords[nearest(p, codewords)]) for p in points) / every,
            "variance": added(square(p, mean) for p in points) / every,
            "used": sum(n > 0 for n in wins),
            "perplexity": math.exp(entropy),
            "bits": entropy / math.log(2),
            "restarts": codebooks[-1].restarts,
        }

    # ----------------------------------------------------------- the static picture, as codebook_explorer.js draws it
    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        f, beside, unit, bottom, height = self.read(), *_layout(width)
        codewords, wins, points, codebooks = f["codewords"], f["wins"], f["points"], f["codebooks"]

        def at(p: Point) -> str:
            return f"{tidy(EDGE + p[0] * unit)} {tidy(bottom - p[1] * unit)}"

        def spot(p: Point) -> str:
            return f'cx="{tidy(EDGE + p[0] * unit)}" cy="{tidy(bottom - p[1] * unit)}"'

        frame = f'width="{tidy(WIDTH * unit)}" height="{tidy(HEIGHT * unit)}"'
        out = f'<rect x="{EDGE}" y="{TOP}" {frame} style="fill:none;stroke:var(--cc-grid)"/>'
        shapes = [voronoi_cell(j, codewords) for j in range(self.codes)]
        cells = [f"M{'L'.join(map(at, shape))}Z" if shape else "" for shape in shapes]
        if self.chosen < self.codes:
            out += f'<path style="fill:var(--cc-raised);stroke:none" d="{cells[self.chosen]}"/>'
        out += f'<path style="fill:none;stroke:var(--cc-future)" d="{"".join(cells)}"/>'
        spokes = "".join(f"M{at(p)}L{at(codewords[nearest(p, codewords)])}" for p in points)
        dots, trails = "".join(f"M{at(p)}h.01" for p in points), ""
        paths = [codebook.codewords for codebook in codebooks]
        for j in range(self.codes):
            line = ""
            for t in range(max(0, self.steps - 40), self.steps + 1):
                line += f"{'L' if line and not codebooks[t].fresh[j] else 'M'}{at(paths[t][j])}"
            trails += line if "L" in line else ""
        out += f'<path style="fill:none;stroke:var(--cc-past);opacity:.38" d="{spokes}"/>'
        if trails:
            out += f'<path style="fill:none;stroke:var(--cc-bottom);stroke-width:2;opacity:.5" d="{trails}"/>'
        out += f'<path class="cc-dot cc-past" stroke-width="7" d="{dots}"/>'
        if self.chosen >= self.codes:
            held = spot(points[min(self.chosen - self.codes, len(points) - 1)])
            out += f'<circle {held} r="8" style="fill:none;stroke:var(--cc-past);stroke-width:2"/>'
        for j, codeword in enumerate(codewords):
            if codebooks[-1].fresh[j]:
                out += f'<circle {spot(codeword)} r="18" style="fill:none;stroke:var(--cc-present);stroke-width:2"/>'
            if j == self.chosen:
                out += f'<circle {spot(codeword)} r="13.5" style="fill:none;stroke:var(--cc-bottom);stroke-width:2"/>'
            out += _token(j, wins[j] > 0, tidy(EDGE + codeword[0] * unit), tidy(bottom - codeword[1] * unit))
        return out + _bars(wins, width, beside, unit, bottom), height

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        f = self.read()
        used, every = f["used"], len(f["points"])
        some = f"{used} of {self.codes} codewords {'carries' if used == 1 else 'carry'} all {every} points"
        state = some if used < self.codes else f"all {self.codes} codewords are in use"
        return f"Step {self.steps}: {state}. {self._chosen(f)}"

    def _chosen(self, f: dict[str, Any]) -> str:
        j = self.chosen
        if j < self.codes:
            x, y = f["codewords"][j]
            return f"Codeword {j + 1} at ({_fixed(x, 1)}, {_fixed(y, 1)}) wins {f['wins'][j]}."
        i = min(j - self.codes, len(f["points"]) - 1)
        (x, y), owner = f["points"][i], nearest(f["points"][i], f["codewords"]) + 1
        return f"Point {i + 1} at ({_fixed(x, 1)}, {_fixed(y, 1)}) goes to codeword {owner}."

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        f = self.read()
        of_variance = f"{_fixed(100 * f['error'] / f['variance'], 0)} % of the variance"
        bits = f"{_fixed(f['bits'], 2)} of {_fixed(math.log2(self.codes), 2)} bits"
        return [
            ("error", "Mean squared distance", _fixed(f["error"], 2), of_variance),
            ("used", "Codewords in use", f"{f['used']} of {self.codes}", plural(f["restarts"], "restart")),
            ("perplexity", "Perplexity", _fixed(f["perplexity"], 2), bits),
        ]


def _points(moved: str) -> list[Point]:
    points = list(POINTS)
    for i, x, y in rows(moved):
        if i < len(points):
            points[i] = (min(x / 1000, WIDTH), min(y / 1000, HEIGHT))
    return points


@lru_cache(maxsize=64)
def _history(
    codes: int, decay: int, restart: bool, start: str, steps: int, placed: str, moved: str
) -> tuple[Codebook, ...]:
    points, given = _points(moved), rows(placed)
    if len(given) == codes and all(n > 0 for _, _, n in given):
        codewords, count = [(x / 1000, y / 1000) for x, y, _ in given], [n / 1000 for _, _, n in given]
    else:
        codewords, count = initial_codewords(codes, start, points)
    sums = tuple((x * n, y * n) for (x, y), n in zip(codewords, count, strict=True))
    codebooks = [Codebook(tuple(count), sums, (False,) * codes)]
    for _ in range(steps):
        codebooks.append(ema_step(codebooks[-1], points, decay, restart))
    return tuple(codebooks)


# ------------------------------------------------------------------------------------------------- the drawing
def _fixed(value: float, digits: int) -> str:
    """As JavaScript's ``toFixed``."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def _layout(width: int) -> tuple[bool, float, float, int]:
    """Whether the bars stand beside the plane, pixels of one unit, the plane's lower edge, the picture's height."""
    beside = width >= 560
    unit = min(54, (width - 2 * EDGE - (170 if beside else 0)) / WIDTH)
    bottom = TOP + HEIGHT * unit
    return beside, unit, bottom, math.ceil(bottom + (14 if beside else 112))


def _token(j: int, alive: bool, x: str, y: str) -> str:
    """A codeword: its number on a disc, or on a ring where it wins nothing."""
    hollow = "fill:var(--cc-paper);stroke:var(--cc-skipped);stroke-dasharray:3 2.5;stroke-width:1.6"
    disc, ink = ("fill:var(--cc-bottom);stroke:var(--cc-paper)", "paper") if alive else (hollow, "ink")
    return (
        f'<circle cx="{x}" cy="{y}" r="10" style="{disc}"/><text class="cc-digits" x="{x}" y="{y}" dy="4" '
        f'text-anchor="middle" style="font-size:11.5px;fill:var(--cc-{ink})">{j + 1}</text>'
    )


def _bars(wins: list[int], width: int, beside: bool, unit: float, bottom: float) -> str:
    """How many points each codeword wins."""
    largest, codes, left, out, bar = max(wins), len(wins), tidy(EDGE + WIDTH * unit + 26), "", ""
    if beside:
        out += f'<text class="cc-quiet" x="{left}" y="{TOP + 11}">points won</text>'
    else:
        out += f'<text class="cc-quiet" x="{EDGE}" y="{tidy(bottom + 20)}">points won by each codeword</text>'
    for j, n in enumerate(wins):
        if beside:
            y, start = TOP + 36 + j * min(30, (bottom - TOP - 40) / codes), float(left) + 20
            long = (n / largest) * (width - EDGE - start - 30)
            out += _token(j, n > 0, left, tidy(y))
            bar += f"M{tidy(start)} {tidy(y)}h{tidy(long)}" if n else ""
            out += f'<text class="cc-digits" x="{tidy(start + long + 8)}" y="{tidy(y + 4)}">{n}</text>'
        else:
            x, y, tall = EDGE + ((j + 0.5) * (width - 2 * EDGE)) / codes, bottom + 86, (n / largest) * 34
            out += _token(j, n > 0, tidy(x), tidy(y + 12))
            bar += f"M{tidy(x)} {tidy(y - 2)}v{tidy(-tall)}" if n else ""
            out += f'<text class="cc-digits" x="{tidy(x)}" y="{tidy(y - tall - 8)}" text-anchor="middle">{n}</text>'
    return f'{out}<path style="fill:none;stroke:var(--cc-bottom);stroke-width:9" d="{bar}"/>'
