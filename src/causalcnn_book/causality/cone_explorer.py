"""The cone explorer: which inputs an output of a stack of convolutions reads, and what an input reaches."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from causalcnn.field import Field
from causalcnn_book.explorer import Explorer, count, duration, plural, tidy, time_axis, traitlets

__all__ = ["ConeExplorer"]

GUTTER, EDGE, TOP, BOTTOM, HEIGHT = 58, 10, 56, 236, 306
CONTROLS = dict.fromkeys(("kernel_size", "dilation", "layers", "stride", "rate_hz"), "slider")
CONTROLS |= {"convention": "choice", "doubling": "switch", "play": "buttons"}
READOUTS = ("size", "num_inputs", "holes", "lookahead", "stride", "parameters")


class ConeExplorer(Explorer):
    """A stack of convolutions over time: what an output reads, what an input reaches.

    Args:
        kernel_size: taps of each layer, 1 … 7.
        dilation: frames between the taps of the first layer, 1 … 4.
        doubling: whether each further layer doubles the dilation.
        layers: 1 … 6.
        stride: of each layer, 1 … 3.
        convention: ``"strict"`` (causal), ``"block"`` or ``"regular"``. Regular pads both sides; where the
            number of zeros is odd, the spare one goes to the right, as in torch's ``padding="same"``.
        conventions: which of them the reader can choose.
        rate_hz: input frames a second, for the milliseconds.
        channels: of every layer, for the number of parameters.
        pick: ``"output"`` or ``"input"``: what is chosen.
        at: its index; 0 is the present frame.
        controls: which controls to show, any of ``kernel_size, dilation, layers, stride, rate_hz,
            convention, doubling, play``; default: all.
        readouts: which numbers to show, any of ``size, num_inputs, holes, lookahead, stride, parameters``;
            default: all.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Example:
        >>> figure = ConeExplorer(kernel_size=3, layers=4, doubling=True, controls=("kernel_size", "layers"))
        >>> figure.field.size
        31
    """

    _module: ClassVar[str] = "causality/cone_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("cone").tag(sync=True)
    kernel_size = traitlets.Int(3, min=1, max=7).tag(sync=True)
    dilation = traitlets.Int(1, min=1, max=4).tag(sync=True)
    doubling = traitlets.Bool(False).tag(sync=True)
    layers = traitlets.Int(3, min=1, max=6).tag(sync=True)
    stride = traitlets.Int(1, min=1, max=3).tag(sync=True)
    convention = traitlets.Enum(("strict", "block", "regular"), "strict").tag(sync=True)
    conventions = traitlets.List(traitlets.Unicode(), ["strict", "regular"]).tag(sync=True)
    rate_hz = traitlets.Float(100.0, min=1e-3).tag(sync=True)
    channels = traitlets.Int(64, min=1).tag(sync=True)
    pick = traitlets.Enum(("output", "input"), "output").tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), [*list(CONTROLS)[:-1], "pick", "at"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Rows of dots, one row a layer, time from left to right. The chosen output is joined by lines to every "
        "input frame that it reads; inputs that it skips are crossed out; the future is hatched."
    ).tag(sync=True)

    def layer_field(self, layer: int) -> Field:
        """The field of one layer; 0 is the one that reads the input."""
        dilation = self.dilation * (2**layer if self.doubling else 1)
        reach = (self.kernel_size - 1) * dilation
        left = {"strict": reach, "block": reach - (self.stride - 1), "regular": reach // 2}[self.convention]
        return Field.conv(self.kernel_size, dilation=dilation, stride=self.stride, padding=left)

    @property
    def field(self) -> Field:
        """The field of the whole stack, in the present state."""
        total = Field.identity()
        for layer in range(self.layers):
            total = total.then(self.layer_field(layer))
        return total.with_rate(self.rate_hz)

    @property
    def parameters(self) -> int:
        """Weights and biases of the stack, at :attr:`channels` channels throughout."""
        return self.layers * (self.channels**2 * self.kernel_size + self.channels)

    # ------------------------------------------------------------- the static picture, as cone_explorer.js draws it
    def _time(self, layer: int, u: int) -> int:
        step = self.stride**layer
        return u * step + (step - 1 if self.convention == "block" else 0)

    def _lit(self) -> list[set[int]]:
        if self.pick == "input":
            rows = [{self.at}]
            for layer in range(self.layers):
                offsets = [cell[0] for cell in self.layer_field(layer).cells[0]]
                reached = {divmod(i - offset, self.stride) for i in rows[-1] for offset in offsets}
                rows.append({u for u, rest in reached if rest == 0})
            return rows
        rows = [{self.at}]
        for layer in reversed(range(self.layers)):
            below = self.layer_field(layer)
            rows.insert(0, set[int]().union(*(below.inputs_of(u) for u in rows[0])))
        return rows

    def _window(self, width: int) -> tuple[int, int]:
        max_frames = (width - GUTTER - EDGE) // 3
        frames = min(max(24, math.ceil(self.field.size * 1.6)), max_frames)
        after = math.floor((frames - 1) * 0.34 + 0.5)
        return after + 1 - frames, after

    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        draw = _Stage(self, width)
        return draw.background(unique) + draw.network(unique) + draw.labels(), HEIGHT

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        if self.pick == "input":
            outputs = self._lit()[-1]
            early = sum(self._time(self.layers, u) < self.at for u in outputs)
            if not outputs:
                return "No output reads the chosen input: the stride steps over it."
            knows = " None of them comes before it."
            if early:
                verb = "reads" if early == 1 else "read"
                knows = f" {plural(early, 'output')} before it {verb} it: a leak of the future."
            return f"The chosen input is read by {plural(len(outputs), 'output')}.{knows}"
        field, late = self.field, self._time(self.layers, 0)
        back, ahead = int(field.past) + late, int(field.lookahead) - late
        if field.num_inputs == 1 and back == 0 and ahead <= 0:
            return "The chosen output reads the present input and nothing else."
        reads = (
            f"The chosen output reads {plural(int(field.num_inputs), 'input')}, back to {plural(back, 'frame')} "
            f"({duration(back, self.rate_hz)}) ago"
        )
        if ahead > 0:
            return f"{reads} and {plural(ahead, 'frame')} ({duration(ahead, self.rate_hz)}) into the future: a leak."
        return f"{reads}, and none from the future."

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        field, rate = self.field, self.rate_hz
        size, ahead, stride = int(field.size), int(field.lookahead), int(field.stride)
        return [
            ("size", "Receptive field", plural(size, "frame"), duration(size, rate)),
            ("num_inputs", "Inputs touched", count(int(field.num_inputs)), ""),
            ("holes", "Skipped", count(field.holes), ""),
            ("lookahead", "Look-ahead", plural(ahead, "frame"), duration(ahead, rate)),
            ("stride", "One output every", plural(stride, "frame"), duration(stride, rate)),
            ("parameters", "Parameters", count(self.parameters), f"{self.channels} channels"),
        ]


class _Stage:
    """One drawing of a cone at a width: the twin of ``drawPicture`` in ``cone_explorer.js``."""

    def __init__(self, cone: ConeExplorer, width: int) -> None:
        self.cone, self.width = cone, width
        self.a, self.b = cone._window(width)
        self.dx = (width - GUTTER - EDGE) / (self.b - self.a + 1)
        self.radius = max(1.1, min(7, self.dx * 0.34))
        self.output = cone.pick == "output"
        self.now = cone._time(cone.layers, cone.at) if self.output else cone.at
        self.right = GUTTER + (self.b - self.a + 1) * self.dx

    def x(self, t: float) -> float:
        return GUTTER + (t - self.a + 0.5) * self.dx

    def y(self, layer: int) -> float:
        return BOTTOM - (layer * (BOTTOM - TOP)) / self.cone.layers

    def point(self, layer: int, u: int) -> str:
        return f"{tidy(self.x(self.cone._time(layer, u)))} {tidy(self.y(layer))}"

    def early(self, layer: int, u: int) -> bool:
        t = self.cone._time(layer, u)
        return t > self.now if self.output else t < self.now

    def background(self, unique: str) -> str:
        line = self.x(self.now) + (self.dx / 2 if self.output else -self.dx / 2)
        start, span = (line, max(0, self.right - line)) if self.output else (GUTTER, max(0, line - GUTTER))
        return (
            f'<defs><clipPath id="{unique}c"><rect x="{GUTTER}" y="0" width="{tidy(self.right - GUTTER)}" '
            f'height="{HEIGHT}"/></clipPath><pattern id="{unique}h" width="7" height="7" '
            'patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/>'
            f'</pattern></defs><rect class="cc-closed" fill="url(#{unique}h)" x="{tidy(start)}" y="{TOP - 22}" '
            f'width="{tidy(span)}" height="{BOTTOM - TOP + 38}"/>'
        )

    def network(self, unique: str) -> str:
        cone, a, b = self.cone, self.a, self.b
        rows = cone._lit()
        part = dict.fromkeys(("idle", "past", "leak", "wire", "pastWire", "leakWire", "skip"), "")
        every = cone.layers * cone.kernel_size * (b - a + 1) / cone.stride <= 1400
        for layer, row in enumerate(rows):
            step, late = cone.stride**layer, cone._time(layer, 0)
            offsets = sorted(cell[0] for cell in cone.layer_field(layer - 1).cells[0]) if layer else []
            for u in range(math.ceil((a - late) / step), math.floor((b - late) / step) + 1):
                on = u in row
                part[("leak" if self.early(layer, u) else "past") if on else "idle"] += f"M{self.point(layer, u)}h0"
                if not on and self.output and layer == 0 and min(row) < u < max(row):
                    part["skip"] += self._cross(u)
                for v in (u * cone.stride + offset for offset in offsets):
                    both = on and v in rows[layer - 1]
                    if not both and not (every and a <= cone._time(layer - 1, v) <= b):
                        continue
                    leaks = self.early(layer, u) or self.early(layer - 1, v)
                    kind = ("leakWire" if leaks else "pastWire") if both else "wire"
                    part[kind] += f"M{self.point(layer, u)}L{self.point(layer - 1, v)}"
        sizes = {"idle": max(0.9, self.radius * 0.5), "past": self.radius, "leak": self.radius}
        out = f'<g clip-path="url(#{unique}c)">'
        for name, kind in (("wire", "idle"), ("pastWire", "past"), ("leakWire", "leak")):
            out += f'<path class="cc-wire cc-{kind}" d="{part[name]}"/>' if part[name] else ""
        for name, size in sizes.items():
            path = f'<path class="cc-dot cc-{name}" stroke-width="{tidy(2 * size)}" d="{part[name]}"/>'
            out += path if part[name] else ""
        out += f'<path class="cc-skip" d="{part["skip"]}"/>' if part["skip"] else ""
        chosen = self.point(cone.layers if self.output else 0, cone.at)
        return (
            f'{out}</g><path class="cc-now" d="M{tidy(self.x(self.now))} {TOP - 22}V{BOTTOM + 16}"/>'
            f'<path class="cc-dot cc-present" stroke-width="{tidy(2 * self.radius + 3)}" d="M{chosen}h0"/>'
        )

    def _cross(self, u: int) -> str:
        q = max(1.6, min(4.5, self.radius * 0.8))
        w = tidy(2 * q)
        return f"M{tidy(self.x(u) - q)} {tidy(self.y(0) - q)}l{w} {w}m0 -{w}l-{w} {w}"

    def labels(self) -> str:
        wide, at = self.width >= 560, self.x(self.now)
        here = tidy(min(max(at, GUTTER + 14), self.right - 14))
        out = f'<text class="cc-here" x="{here}" y="24" text-anchor="middle">now</text>'
        before, after = ("past", "future") if self.output else ("before", "after")
        if wide and self.output:
            before, after = "past: may be used", "future: not allowed"
        elif wide:
            before, after = "before: cannot know it", "after: may remember it"
        left, right = ("said-past", "quiet") if self.output else ("quiet", "said-past")
        if at - GUTTER > (180 if wide else 60):
            out += f'<text class="cc-{left}" x="{GUTTER}" y="24">{before}</text>'
        if self.right - at > (180 if wide else 70):
            out += f'<text class="cc-{right}" x="{tidy(self.right)}" y="24" text-anchor="end">{after}</text>'
        for layer in range(self.cone.layers + 1):
            name = "input" if layer == 0 else "output" if layer == self.cone.layers else f"layer {layer}"
            y = tidy(self.y(layer) + 4)
            out += f'<text class="cc-quiet" x="{GUTTER - 8}" y="{y}" text-anchor="end">{name}</text>'
        return out + (self._span(at) if self.output else "") + self._axis()

    def _span(self, at: float) -> str:
        field, level = self.cone.field, BOTTOM + 24
        first = self.now - (self.cone._time(self.cone.layers, 0) + int(field.past))
        last = first + int(field.size) - 1
        start, stop = max(self.x(first) - self.dx / 2, GUTTER), min(self.x(last) + self.dx / 2, self.right)
        split = min(max(at + self.dx / 2, start), stop)

        def end(t: float, inside: bool) -> str:
            return f"M{tidy(t)} {level - 5}v10" if inside else ""

        path = f"M{tidy(start)} {level}H{tidy(split)}{end(start, first >= self.a)}{end(split, True)}"
        out = f'<path class="cc-span cc-past" d="{path}"/>'
        if last > self.now:
            path = f"M{tidy(split)} {level}H{tidy(stop)}{end(stop, last <= self.b)}"
            out += f'<path class="cc-span cc-leak" d="{path}"/>'
        if first < self.a:
            out += f'<path class="cc-span cc-past" d="M{GUTTER + 7} {level - 5}l-6 5l6 5"/>'
        return out

    def _axis(self) -> str:
        place: dict[str, Any] = {"x": self.x, "dx": self.dx, "right": self.right, "left": GUTTER, "y": BOTTOM + 30}
        return time_axis(self.a, self.b, now=self.now, rate_hz=self.cone.rate_hz, **place)
