"""The leak figure: six layers over time, faults planted or hidden, and what an impulse of the future moves."""

from __future__ import annotations

from typing import Any, ClassVar

from causalcnn_book.explorer import Explorer, plural, tidy, traitlets

__all__ = ["CASES", "FRAMES", "LAYERS", "LeakExplorer"]

FRAMES, EDGE, TOP, ROW, HEIGHT = 24, 14, 40, 42, 372
LAYERS = (
    ("front_end", "front end", "centred window"),
    ("padding", "convolution", "padding off by one"),
    ("dilation", "dilated convolution", "dilation forgotten"),
    ("reflect", "convolution", "reflect padding"),
    ("norm", "normalisation", "statistics over all time"),
    ("mask", "attention", "mask off by one"),
)
"""From the input up: name of the switch, what the layer is, and what is wrong with it when the switch is on."""
CASES = ((2,), (5,), (0,), (3,), (1,), (4,), (), (1, 5))
"""The layers that are at fault in each case of the hunt, counted from 0."""
CONTROLS = {"case": "slider", "at": "slider", "probe": "slider"}
CONTROLS |= {key: "switch" for key, _, _ in LAYERS} | {"reveal": "switch"}
PLANT = ["at", *(key for key, _, _ in LAYERS)]
HUNT = ["case", "at", "probe", "reveal"]
READOUTS = ("moved", "ahead", "first")


class LeakExplorer(Explorer):
    """An impulse that is still to come, six layers above it, and every frame that moves before it.

    Args:
        at: the frame of the impulse, 0 … 23.
        front_end, padding, dilation, reflect, norm, mask: which of the six faults are there.
        hunt: whether the faults are hidden: one case of eight, seen through the output of one layer at a time.
        case: 1 … 8.
        probe: the layer whose output is seen, 1 … 6.
        reveal: whether everything is.
        controls: any of ``case, at, probe, front_end, padding, dilation, reflect, norm, mask, reveal``;
            default: those that plant faults, or those of the hunt.
        readouts: any of ``moved, ahead, first``; default: all.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Example:
        >>> figure = LeakExplorer(at=12, padding=True, mask=True)
        >>> figure.moved()[0], [t for t in figure.moved()[-1] if t < 12]
        ([12], [10, 11])
    """

    _module: ClassVar[str] = "leaks/leak_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("leaks").tag(sync=True)
    at = traitlets.Int(14, min=0, max=FRAMES - 1).tag(sync=True)
    front_end = traitlets.Bool(False).tag(sync=True)
    padding = traitlets.Bool(False).tag(sync=True)
    dilation = traitlets.Bool(False).tag(sync=True)
    reflect = traitlets.Bool(False).tag(sync=True)
    norm = traitlets.Bool(False).tag(sync=True)
    mask = traitlets.Bool(False).tag(sync=True)
    hunt = traitlets.Bool(False).tag(sync=True)
    case = traitlets.Int(1, min=1, max=len(CASES)).tag(sync=True)
    probe = traitlets.Int(6, min=1, max=6).tag(sync=True)
    reveal = traitlets.Bool(False).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), PLANT).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    alt = traitlets.Unicode(
        "Seven rows of dots over time, the input at the bottom and six layers above it. The impulse stands at the "
        "edge of the hatched future; dots that move before it are drawn in the colour of leaks."
    ).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        super().__init__(**({"controls": HUNT} if state.get("hunt") else {}) | state)

    def faults(self) -> list[bool]:
        """Which of the six layers are at fault, planted or hidden."""
        if self.hunt:
            return [i in CASES[self.case - 1] for i in range(len(LAYERS))]
        return [bool(getattr(self, key)) for key, _, _ in LAYERS]

    def moved(self) -> list[list[int]]:
        """For the input and each layer: the frames that the impulse moves."""
        rows = [[self.at]]
        for layer, wrong in enumerate(self.faults()):
            below = rows[-1]
            rows.append([t for t in range(FRAMES) if any(_readouts(layer, wrong, t, u) for u in below)])
        return rows

    def _early(self, row: list[int]) -> list[int]:
        return [t for t in row if t < self.at]

    # ----------------------------------------------------------- the static picture, as leak_explorer.js draws it
    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        dx, wrong, bottom = (width - 2 * EDGE) / FRAMES, self.faults(), TOP + 7 * ROW
        now, shown, dot = EDGE + self.at * dx, not self.hunt or self.reveal, min(11, dx * 0.72)
        out = (
            f'<defs><pattern id="{unique}h" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>'
            f'<rect class="cc-closed" fill="url(#{unique}h)" x="{tidy(now)}" y="{TOP - 12}" '
            f'width="{tidy(width - EDGE - now)}" height="{bottom - TOP + 12}"/>'
        )
        for i, row in enumerate(self.moved()):
            y, name = bottom - i * ROW - 12, LAYERS[i - 1][1] if i else "input"
            seen = not self.hunt or self.reveal or i in (0, self.probe)
            fault = f": {LAYERS[i - 1][2]}" if i and shown and wrong[i - 1] else ""
            kind, probed = "cc-said-leak" if fault else "cc-quiet", "" if seen else " (not probed)"
            out += f'<text class="{kind}" x="{EDGE}" y="{y - 14}">{name}{fault}{probed}</text>'
            dots = {"idle": "", "past": "", "leak": "", "present": ""}
            for t in range(FRAMES):
                hit = seen and t in row
                colour = "idle" if not hit else "present" if i == 0 else "leak" if t < self.at else "past"
                dots[colour] += f"M{tidy(EDGE + (t + 0.5) * dx)} {y}h.01"
            for colour, path in dots.items():
                if path:
                    thick = tidy(3 if colour == "idle" else dot)
                    out += f'<path class="cc-dot cc-{colour}" stroke-width="{thick}" d="{path}"/>'
        late, coming = self.at > 16, "the impulse is still to come" if width >= 560 else "still to come"
        return out + (
            f'<path class="cc-now" d="M{tidy(now)} {TOP - 12}V{bottom}"/>'
            f'<text class="cc-here" x="{tidy(now + (-8 if late else 8))}" y="20" '
            f'text-anchor="{"end" if late else "start"}">{coming}</text>'
            f'<text class="cc-quiet" x="{EDGE}" y="{bottom + 20}">'
            f"24 frames, {self.at} of them before the impulse</text>"
        ), HEIGHT

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        rows = self.moved()
        first = next((i for i, row in enumerate(rows) if self._early(row)), 0)
        if self.hunt and not self.reveal:
            n, name = len(self._early(rows[self.probe])), LAYERS[self.probe - 1][1]
            seen = f"{_many(n)} before the impulse." if n else "nothing moves before the impulse."
            return f"Case {self.case}, layer {self.probe} ({name}): {seen}"
        if first:
            n, (_, name, fault) = len(self._early(rows[-1])), LAYERS[first - 1]
            moves = _many(n) if n else "Nothing moves"
            return f"{moves} before the impulse in the output. It begins in layer {first}, the {name}: {fault}."
        if any(self.faults()):
            return "Nothing moves before this impulse, although a fault is there. Move the impulse."
        return "Nothing moves before the impulse: no layer reads the future."

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        rows = self.moved()
        top, first = self._early(rows[-1]), next((i for i, row in enumerate(rows) if self._early(row)), 0)
        shown, known = not self.hunt or self.reveal or self.probe == 6, not self.hunt or self.reveal
        ahead = self.at - top[0] if top else 0
        return [
            ("moved", "Output moves too early", plural(len(top), "frame") if shown else "?", ""),
            ("ahead", "By at most", plural(ahead, "frame") if shown else "?", ""),
            ("first", "First leaking layer", (str(first) if first else "none") if known else "?", ""),
        ]


def _many(n: int) -> str:
    return f"{plural(n, 'frame')} {'moves' if n == 1 else 'move'}"


def _readouts(layer: int, wrong: bool, t: int, u: int) -> bool:
    """Whether output ``t`` of a layer reads its input ``u``."""
    d = u - t
    if layer == 0:
        return abs(d) <= 2 if wrong else -4 <= d <= 0
    if layer == 1:
        return abs(d) <= 1 if wrong else -2 <= d <= 0
    if layer == 2:
        return d in ((-2, 1, 4) if wrong else (-6, -3, 0))
    if layer == 3:
        return -4 <= d <= 0 or (wrong and u > 0 and t + u <= 4)
    if layer == 4:
        return wrong or d == 0
    return d <= (1 if wrong else 0)
