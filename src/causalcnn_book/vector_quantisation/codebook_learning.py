"""The arithmetic of the codebook explorer: lookup, running means, restart and cells on a plane, in plain Python.

The order of every sum is that of ``codebook_explorer.js``, so that both give the same numbers to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["POINTS", "Codebook", "count_wins", "ema_step", "initial_codewords", "nearest", "voronoi_cell"]

WIDTH, HEIGHT = 10, 7
"""Of the plane."""
BELOW, SMALLEST, ROUNDS = 0.1, 1e-20, 10
"""As in VectorQuantizer: the share of uniform usage below which a codeword restarts, the least count, k-means."""

DATA = """
257.536 92.496 628.506 854.118 836.411 125.462 794.405 551.584 583.253 404.246 625.259 288.484 849.271 829.385
160.532 799.413 881.94 504.221 860.506 566.562 531.556 205.475 520.256 558.591 809.534 227.525 801.397 493.190
176.484 228.551 215.480 826.331 760.360 904.125 203.492 239.512 129.509 230.533 598.518 499.563 805.392 886.99
368.138 557.583 538.252 603.564 535.331 156.499 885.369 489.277 146.499 518.260 819.387 233.580 877.472 811.336
236.478 445.202 564.580 528.630
"""
POINTS = tuple((int(x) / 100, int(y) / 100) for x, _, y in (point.partition(".") for point in DATA.split()))
Point = tuple[float, float]


@dataclass(frozen=True)
class Codebook:
    """A codebook as the quantiser keeps it.

    Attributes:
        count: how often each codeword is used, a running mean.
        sum: of the points that it won, one too.
        fresh: which codewords the last step restarted.
        restarts: how many since the start.
    """

    count: tuple[float, ...]
    sum: tuple[Point, ...]
    fresh: tuple[bool, ...]
    restarts: int = 0

    @property
    def codewords(self) -> list[Point]:
        """The codewords: sum over count."""
        return [(x / n, y / n) for (x, y), n in zip(self.sum, self.count, strict=True)]


def rows(text: str) -> list[tuple[int, int, int]]:
    """``"1.2.3_4.5.6"`` as rows of three whole numbers, or nothing where it is something else."""
    found = [row.split(".") for row in text.split("_")]
    good = all(len(row) == 3 and all(n.isdecimal() and int(n) <= 1_000_000 for n in row) for row in found)
    return [(int(a), int(b), int(c)) for a, b, c in found] if good else []


def added(values: Iterable[float]) -> float:
    """A plain sum from left to right, as JavaScript's; newer Pythons' ``sum`` is more exact."""
    total = 0.0
    for value in values:
        total += value
    return total


def square(a: Point, b: Point) -> float:
    return (a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1])


def nearest(point: Point, codewords: list[Point]) -> int:
    """The number of the nearest codeword; of equally near ones the first."""
    best, shortest = 0, math.inf
    for j, codeword in enumerate(codewords):
        far = (point[0] - codeword[0]) * (point[0] - codeword[0]) + (point[1] - codeword[1]) * (point[1] - codeword[1])
        if far < shortest:
            best, shortest = j, far
    return best


def count_wins(points: list[Point], codewords: list[Point]) -> tuple[list[int], list[Point]]:
    """Points won by each codeword, and their sums."""
    wins, sums = [0] * len(codewords), [(0.0, 0.0)] * len(codewords)
    for p in points:
        j = nearest(p, codewords)
        wins[j], sums[j] = wins[j] + 1, (sums[j][0] + p[0], sums[j][1] + p[1])
    return wins, sums


def _picked(j: int, turn: int, every: int) -> int:
    """The point for codeword ``j`` to start at: a walk by the golden ratio, begun at ``turn``."""
    return (turn + j * (every * 618_034 // 1_000_000)) % every


def initial_codewords(codes: int, start: str, points: list[Point]) -> tuple[list[Point], list[float]]:
    """Where the codewords begin, and their counts."""
    every, codewords = len(points), []
    for j in range(codes):
        crowded = ((12 + 26 * (j % 4) + 5 * (j >> 2)) / 100, (10 + 24 * (j >> 2) + 7 * (j % 4)) / 100)
        codewords.append(crowded if start == "corner" else points[_picked(j, 0, every)])
    count = [every / codes] * codes
    for _ in range(ROUNDS if start == "kmeans" else 0):
        wins, sums = count_wins(points, codewords)
        codewords = [(x / n, y / n) if n else old for (x, y), n, old in zip(sums, wins, codewords, strict=True)]
        count = [max(float(n), SMALLEST) for n in wins]
    return codewords, count


def ema_step(codebook: Codebook, points: list[Point], decay: int, restart: bool) -> Codebook:
    """One step: look up, then let count and sum run after what was won; last, restart what is hardly used."""
    wins, sums = count_wins(points, codebook.codewords)
    keep, every, after = decay / 100, len(points), []
    for n, now, count, old in zip(wins, sums, codebook.count, codebook.sum, strict=True):
        moves = count >= SMALLEST or n > 0
        pairs = ((count, n), (old[0], now[0]), (old[1], now[1]))
        after.append([keep * a + (1 - keep) * b if moves else a for a, b in pairs])
    share = added(row[0] for row in after) / len(wins)
    turn = sum(n * (j + 1) * 2654435761 for j, n in enumerate(wins)) % 2**31
    fresh = tuple(restart and row[0] < BELOW * share for row in after)
    for j, dead in enumerate(fresh):
        if dead:
            p = points[_picked(j, turn, every)]
            after[j] = [share, p[0] * share, p[1] * share]
    sums_ = tuple((row[1], row[2]) for row in after)
    return Codebook(tuple(row[0] for row in after), sums_, fresh, codebook.restarts + sum(fresh))


def voronoi_cell(i: int, codewords: list[Point]) -> list[Point]:
    """The cell of codeword ``i``: the plane, cut by the halfway line to every other codeword."""
    shape: list[Point] = [(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)]
    for j, other in enumerate(codewords):
        dx, dy = other[0] - codewords[i][0], other[1] - codewords[i][1]
        if j == i or (dx == 0 and dy == 0):
            continue
        mx, my = (other[0] + codewords[i][0]) / 2, (other[1] + codewords[i][1]) / 2
        beyond, cut = [(p[0] - mx) * dx + (p[1] - my) * dy for p in shape], []
        for k, p in enumerate(shape):
            n = (k + 1) % len(shape)
            q = shape[n]
            if beyond[k] <= 0:
                cut.append(p)
            if (beyond[k] <= 0) != (beyond[n] <= 0):
                at = beyond[k] / (beyond[k] - beyond[n])
                cut.append((p[0] + at * (q[0] - p[0]), p[1] + at * (q[1] - p[1])))
        shape = cut
    return shape
