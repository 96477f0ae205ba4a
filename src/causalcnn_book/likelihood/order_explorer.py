"""The order explorer: in which order a spectrogram's values are predicted, and what each of them may read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, ClassVar

from causalcnn_book.explorer import Explorer, count, plural, tidy, traitlets

__all__ = ["OrderExplorer"]

FRAMES, BANDS, GUTTER, TOP, FOOT = 13, 8, 30, 8, 44
CELLS = FRAMES * BANDS
ENOUGH = 16
"""Layers after which nothing new is reached on so small a plane: what is still missing then is a blind spot."""
CONTROLS = {"order": "choice", "network": "choice", "layers": "slider", "kernel": "choice", "play": "buttons"}
READOUTS = ("number", "seen", "future", "blind")
STYLES = {
    "closed": "fill:var(--cc-paper)",
    "beyond": "fill:var(--cc-raised)",
    "blind": "fill:var(--cc-skipped)",
    "seen": "fill:var(--cc-past)",
    "leak": "fill:var(--cc-leak)",
    "self": "fill:var(--cc-present)",
}

Tap = tuple[int, int]


def _shuffled() -> list[int]:
    cells = sorted(range(CELLS), key=lambda cell: ((cell * 7919 + 13) ** 2 % 10007, cell))
    place = [0] * CELLS
    for number, cell in enumerate(cells):
        place[cell] = number
    return place


_SHUFFLED = _shuffled()


def rank(order: str, t: int, f: int) -> int:
    """The number of a value in an order; frames, bands and numbers are counted from 0."""
    if order == "band":
        return f * FRAMES + t
    if order == "tiers":
        return (t // 2 if t % 2 == 0 else (FRAMES + 1) // 2 + t // 2) * BANDS + f
    return _SHUFFLED[t * BANDS + f] if order == "shuffled" else t * BANDS + f


def _reached(cells: Iterable[int], taps: list[Tap]) -> set[int]:
    """Every cell from which one of ``cells`` reads, through taps (frames back, bands up)."""
    found = set()
    for cell in cells:
        t, f = divmod(cell, BANDS)
        found |= {(t - back) * BANDS + f + up for back, up in taps if 0 <= t - back < FRAMES and 0 <= f + up < BANDS}
    return found


def _taps(kernel: int, past: bool, low: int, high: int) -> list[Tap]:
    """Taps of a kernel: those of earlier frames, and those of the present frame from ``low`` to ``high`` bands."""
    half = (kernel - 1) // 2
    earlier = [(back, up) for back in range(1, kernel) for up in range(-half, half + 1)] if past else []
    return earlier + [(0, up) for up in range(low, high + 1)]


@cache
def _masked_stack(cell: int, layers: int, kernel: int) -> frozenset[int]:
    """Causal convolutions masked in the present frame: strictly lower bands at first, then lower or equal ones."""
    half, cells = (kernel - 1) // 2, {cell}
    for _ in range(layers - 1):
        cells = _reached(cells, _taps(kernel, True, -half, 0))
    return frozenset(_reached(cells, _taps(kernel, True, -half, -1)))


@cache
def _two_stacks(cell: int, layers: int, kernel: int) -> frozenset[int]:
    """One stack over the frames before, and one along the present frame, each layer of which reads the first."""
    half = (kernel - 1) // 2
    along, before = {cell}, set[int]()
    for layer in range(layers, 0, -1):
        before = _reached(before | along, _taps(kernel, True, -half, half))
        along = _reached(along, _taps(kernel, False, -half, -1 if layer == 1 else 0))
    return frozenset(along | _reached(before, [(1, 0)]))  # the first is fed with the frame before


class OrderExplorer(Explorer):
    """A spectrogram of 13 frames and 8 bands, numbered in the order of prediction: what may a value read, what does it?

    Args:
        order: ``"frame"`` by frame and from low to high, ``"band"`` by band through all of time, ``"tiers"`` (every
            other frame first), or ``"shuffled"``.
        network: in the order ``"frame"``: ``"all"`` (whatever may be read), ``"masked"`` (one stack of masked causal
            convolutions), ``"two"`` (one stack over earlier frames, one along the present one).
        layers: of the network, 1 … 6.
        kernel: 3 or 5, in time (all of it past) and in frequency.
        frame: of the value that reads, counted from 1.
        band: of the value that reads, counted from 1.
        controls: any of ``order, network, layers, kernel, play``; default: all.
        readouts: any of ``number, seen, future, blind``; default: all.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Example:
        >>> len(OrderExplorer(order="band", frame=7, band=4).read()["future"])
        18
    """

    _module: ClassVar[str] = "likelihood/order_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("orders").tag(sync=True)
    order = traitlets.Enum(("frame", "band", "tiers", "shuffled"), "frame").tag(sync=True)
    network = traitlets.Enum(("all", "masked", "two"), "all").tag(sync=True)
    layers = traitlets.Int(2, min=1, max=6).tag(sync=True)
    kernel = traitlets.Enum((3, 5), 3).tag(sync=True)
    frame = traitlets.Int(7, min=1, max=FRAMES).tag(sync=True)
    band = traitlets.Int(4, min=1, max=BANDS).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["order", "network", "layers", "kernel", "frame", "band"]).tag(
        sync=True
    )
    alt = traitlets.Unicode(
        "A plane of thirteen frames and eight bands, each value with its number in the order of prediction. One value "
        "is chosen; those that it reads are filled, those of the future among them in the colour of alarm, and those "
        "that it may not read are hatched."
    ).tag(sync=True)

    def read(self) -> dict[str, Any]:
        """What the chosen value may read and does read.

        Returns:
            ``cell`` and ``number`` of the value, and the cells ``allowed``, ``seen``, ``blind`` (allowed, and out of
            reach for any number of layers), ``future`` (seen, of later frames). A cell is frame·8 + band, from 0.
        """
        t, f = self.frame - 1, self.band - 1
        cell, number = t * BANDS + f, rank(self.order, t, f)
        allowed = [c for c in range(CELLS) if rank(self.order, *divmod(c, BANDS)) < number]
        walk = {"masked": _masked_stack, "two": _two_stacks}.get(self._network)
        seen = sorted(walk(cell, self.layers, self.kernel)) if walk else allowed
        ever = walk(cell, ENOUGH, self.kernel) if walk else frozenset(allowed)
        return {
            "cell": cell, "number": number, "allowed": allowed, "seen": seen,
            "blind": [c for c in allowed if c not in ever], "future": [c for c in seen if c // BANDS > t],
        }  # fmt: skip

    @property
    def _network(self) -> str:
        return self.network if self.order == "frame" else "all"

    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        f, kind = self.read(), ["closed"] * CELLS
        for name, cells in (("beyond", "allowed"), ("blind", "blind"), ("seen", "seen"), ("leak", "future")):
            for c in f[cells]:
                kind[c] = name
        kind[f["cell"]] = "self"
        size = min(46, (width - GUTTER - 6) // FRAMES)
        bottom, right, line = TOP + BANDS * size, GUTTER + FRAMES * size, GUTTER + self.frame * size
        paths, numbers = dict.fromkeys(STYLES, ""), ""
        for c in range(CELLS):
            t, band = divmod(c, BANDS)
            x, y, k = GUTTER + t * size, bottom - (band + 1) * size, kind[c]
            paths[k] += f"M{x + 1} {y + 1}h{size - 2}v{size - 2}h{2 - size}z"
            number = rank(self.order, t, band) + 1
            ink = "muted" if k in ("closed", "beyond") else "paper"
            numbers += (
                f'<text class="cc-digits" x="{tidy(x + size / 2)}" y="{tidy(y + size / 2 + 4)}" text-anchor="middle" '
                f'style="font-size:{12 if size > 29 else 8 if number > 99 else 10}px;fill:var(--cc-{ink})">'
                f"{number}</text>"
            )
        out = (
            f'<defs><pattern id="{unique}h" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform='
            '"rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>'
        )
        for k, style in STYLES.items():
            if paths[k]:
                out += f'<path style="{style};stroke:var(--cc-grid)" d="{paths[k]}"/>'
        if paths["closed"]:
            out += f'<path fill="url(#{unique}h)" d="{paths["closed"]}"/>'
        out += numbers
        if line < right:
            out += f'<path class="cc-now" d="M{line} {TOP - 4}V{bottom + 4}"/>'
        for band in range(BANDS):
            up = tidy(bottom - (band + 0.5) * size + 4)
            out += f'<text class="cc-digits cc-quiet" x="{GUTTER - 8}" y="{up}" text-anchor="end">{band + 1}</text>'
        for t in range(FRAMES):
            at = tidy(GUTTER + (t + 0.5) * size)
            out += f'<text class="cc-digits cc-quiet" x="{at}" y="{bottom + 18}" text-anchor="middle">{t + 1}</text>'
        out += f'<text class="cc-quiet" x="{right}" y="{bottom + 37}" text-anchor="end">frame (time)</text>'
        out += f'<text class="cc-quiet" x="{GUTTER - 18}" y="{bottom + 37}">band (frequency) upwards</text>'
        return out, bottom + FOOT

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        f, who = self.read(), f"Frame {self.frame}, band {self.band}"
        may = len(f["allowed"])
        if self._network == "all":
            first = "is the first: it may read nothing"
            if may:
                first = f"may read {'the one value' if may == 1 else f'the {may} values'} before it"
            ahead, end = len(f["future"]), "None of them lies in the future."
            if ahead:
                verb, it = ("lies", "it") if ahead == 1 else ("lie", "them")
                end = f"{ahead} of them {verb} in the future: nobody can have heard {it} yet."
            return f"{who} is number {f['number'] + 1} and {first}. {end}"
        hidden = len(f["blind"])
        far = may - len(f["seen"]) - hidden
        rest = f" {hidden} {_is(hidden)} in a blind spot, out of reach for any number of layers." if hidden else ""
        rest += f" {far} {_is(far)} too far away." if far else ""
        verb = "reads" if self.layers == 1 else "read"
        return (
            f"{who} may read {plural(may, 'value')}; {plural(self.layers, 'layer')} {verb} "
            f"{len(f['seen'])} of them.{rest}"
        )

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        f = self.read()
        return [
            ("number", "Its number", f"{f['number'] + 1} of {CELLS}", ""),
            ("seen", "Values that it reads", count(len(f["seen"])), f"of {len(f['allowed'])} allowed"),
            ("future", "From the future", count(len(f["future"])), ""),
            ("blind", "Blind spot", count(len(f["blind"])), ""),
        ]


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
