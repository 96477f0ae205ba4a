"""The response explorer: an impulse through all-ones convolutions, or the gradient of one output step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from causalcnn_book.convolution.all_ones import AllOnes
from causalcnn_book.explorer import Explorer, count, plural, tidy, time_axis, traitlets
from causalcnn_book.palette import alarm, energy

__all__ = ["ResponseExplorer"]

LEFT, MARGIN, HEAD, PANEL, TITLE, FOOT = 58, 10, 34, 105, 24, 48
KINDS = {"strict": "causal", "block": "block-causal", "regular": "regular"}
CONTROLS = dict.fromkeys(("view", "convention", "dims", "impulse"), "choice")
CONTROLS |= dict.fromkeys(("layers", "kernel_size", "dilation", "stride", "step"), "slider")
CONTROLS |= {"nonzero": "switch", "play": "buttons"}
READOUTS = ("reached", "leaked", "largest")


class ResponseExplorer(Explorer):
    """An impulse goes into a stack of all-ones convolutions: what comes out, and when?

    What comes out before the impulse went in has the alarm colour. The gradient view asks the other way
    round: on which inputs does one output step depend?

    Args:
        dims: 1 convolves over time and sums the features, 2 convolves over time and frequency.
        convention: ``"regular"``, ``"strict"`` (causal), ``"block"``, or ``"both"``: regular above causal.
        conventions: which of them the reader can choose.
        impulse: ``"frame"``: one in all features; ``"cell"``: in the middle one.
        layers: 1 … 6.
        kernel_size: 1 … 7.
        dilation: 1 … 4.
        stride: 1 … 3; of every layer, along time.
        nonzero: draw every value but 0 as 1.
        view: ``"response"`` or ``"gradient"``.
        step: the frame of the impulse, or of the output that is asked.
        steps: frames of the input.
        features: rows of the input.
        rate_hz: frames a second.
        controls: which controls to show, any of ``view, convention, dims, impulse, layers, kernel_size,
            dilation, stride, step, nonzero, play``; default: all.
        readouts: which numbers to show, any of ``reached, leaked, largest``; default: all.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Example:
        >>> figure = ResponseExplorer(convention="regular", layers=2)
        >>> [panel.leaked for panel in figure.panels()]
        [2]
    """

    _module: ClassVar[str] = "convolution/response_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("response").tag(sync=True)
    dims = traitlets.Int(1, min=1, max=2).tag(sync=True)
    convention = traitlets.Enum(("regular", "strict", "block", "both"), "both").tag(sync=True)
    conventions = traitlets.List(traitlets.Unicode(), ["regular", "strict", "both"]).tag(sync=True)
    impulse = traitlets.Enum(("frame", "cell"), "frame").tag(sync=True)
    layers = traitlets.Int(2, min=1, max=6).tag(sync=True)
    kernel_size = traitlets.Int(3, min=1, max=7).tag(sync=True)
    dilation = traitlets.Int(1, min=1, max=4).tag(sync=True)
    stride = traitlets.Int(1, min=1, max=3).tag(sync=True)
    nonzero = traitlets.Bool(False).tag(sync=True)
    view = traitlets.Enum(("response", "gradient"), "response").tag(sync=True)
    step = traitlets.Int(20, min=0).tag(sync=True)
    steps = traitlets.Int(41, min=1, max=200).tag(sync=True)
    features = traitlets.Int(15, min=1, max=80).tag(sync=True)
    rate_hz = traitlets.Float(100.0, min=1e-3).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)[:-1]).tag(sync=True)
    alt = traitlets.Unicode(
        "Pictures of features over time, below each other: an impulse that goes in, and what comes out of "
        "regular and of causal convolutions. What comes out before the impulse has the alarm colour."
    ).tag(sync=True)

    def stack(self, convention: str) -> AllOnes:
        """The stack of all-ones convolutions in the present state, as torch runs it."""
        shape = (self.layers, self.kernel_size, self.dilation, self.stride, self.features, self.steps)
        return AllOnes(self.dims, convention, *shape)  # type: ignore[arg-type]

    def panels(self) -> list[Panel]:
        """What is on display for each convention: values, and how much of it leaks."""
        conventions = ["regular", "strict"] if self.convention == "both" else [self.convention]
        return [self._panel(convention) for convention in conventions]

    def _panel(self, convention: str) -> Panel:
        stack = self.stack(convention)
        step = min(self.step, self.steps - 1)
        out = stack.response(step, "frame" if self.impulse == "frame" else "cell").tolist()
        outputs, total = len(out[0]), stack.stride**stack.layers
        if self.view == "response":
            return Panel(convention, out, [stack.frame_of(u) for u in range(outputs)], total, step, -1)
        chosen = max(0, min(outputs - 1, (step - stack.frame_of(0)) // total))
        none = [[0.0] * self.steps] * self.features
        values = stack.gradient(chosen).tolist() if outputs else none
        return Panel(convention, values, list(range(self.steps)), 1, stack.frame_of(chosen), 1)

    # ------------------------------------------------------- the static picture, as response_explorer.js draws it
    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        dx = (width - LEFT - MARGIN) / self.steps
        right, forward, shown = LEFT + self.steps * dx, self.view == "response", self.panels()
        now = shown[0].now
        if forward:
            some = range(self.features) if self.impulse == "frame" else [self.features // 2]
            source = Panel("", [[float(f in some)] for f in range(self.features)], [now], 1, now, 0)
            titles = ["in: one frame" if self.impulse == "frame" else "in: one cell"]
        else:
            source = Panel("", [[1.0]] * self.features, [now], self.stride**self.layers, now, 0)
            titles = ["out: the chosen step"]
        ahead = "out, " if forward else "its gradient at the input, " if width >= 560 else "gradient, "
        others = [ahead + KINDS[panel.convention] for panel in shown]
        stack = [source, *shown] if forward else [*shown, source]
        titles = titles + others if forward else others + titles
        line = LEFT + (now if forward else now + 1) * dx
        edge = min(max(line, LEFT), right)
        closed = (LEFT, edge - LEFT) if forward else (edge, right - edge)
        out = (
            f'<defs><pattern id="{unique}h" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path class="cc-hatch cc-night" d="M0 0V7"/></pattern></defs>'
        )
        for n, (panel, title) in enumerate(zip(stack, titles, strict=True)):
            top = HEAD + n * (PANEL + TITLE) + TITLE - 6
            out += f'<text class="cc-title" x="{LEFT}" y="{top - 6}">{title}</text>'
            hatched = ""
            if panel is not source:
                wide = width >= 560
                leaked = plural(panel.leaked, "output" if forward else "input") if wide else str(panel.leaked)
                leaked = f"{leaked} {'too early' if forward else 'of the future' if wide else 'leak'}"
                said = leaked if panel.leaked else "no leak"
                kind = "cc-said-leak" if panel.leaked else "cc-quiet"
                out += f'<text class="{kind}" x="{tidy(right)}" y="{top - 6}" text-anchor="end">{said}</text>'
                hatched = (
                    f'<rect fill="url(#{unique}h)" x="{tidy(closed[0])}" y="{top}" width="{tidy(closed[1])}" '
                    f'height="{PANEL}"/>'
                )
            night = energy(33)[0]
            out += f'<rect fill="{night}" x="{LEFT}" y="{top}" width="{tidy(right - LEFT)}" height="{PANEL}"/>'
            out += f'{hatched}<g shape-rendering="crispEdges">{self._cells(panel, dx, top)}</g>'
            out += f'<text class="cc-quiet" x="{LEFT - 8}" y="{top + 12}" text-anchor="end">{self.features}</text>'
            out += f'<text class="cc-quiet" x="{LEFT - 8}" y="{top + PANEL}" text-anchor="end">1</text>'
            out += f'<path class="cc-now cc-bright" d="M{tidy(line)} {top}v{PANEL}"/>'
        middle = tidy(min(max(LEFT + (now + 0.5) * dx, LEFT + 14), right - 14))
        out += f'<text class="cc-here" x="{middle}" y="20" text-anchor="middle">now</text>'
        place: dict[str, Any] = {"x": lambda t: LEFT + (t + 0.5) * dx, "dx": dx, "right": right, "left": LEFT}
        bottom = HEAD + len(stack) * (PANEL + TITLE) - 2
        out += time_axis(0, self.steps - 1, now=now, y=bottom, rate_hz=self.rate_hz, **place)
        return out, HEAD + len(stack) * (PANEL + TITLE) + FOOT

    def _cells(self, panel: Panel, dx: float, top: int) -> str:
        paths: dict[str, str] = {}
        high, limit = PANEL / self.features, LEFT + self.steps * dx
        for t, time in enumerate(panel.times):
            early = panel.early(time)
            start, end = LEFT + time * dx, min(limit, LEFT + (time + panel.hold) * dx)
            f = 0
            while f < self.features and start < limit:
                v, last = panel.values[f][t], f + 1
                while last < self.features and panel.values[last][t] == v:
                    last += 1
                if v:
                    share = 1 if self.nonzero else v / panel.largest
                    level = math.floor((share if early else 0.12 + 0.88 * share) * 32 + 0.5)
                    colour = (alarm(33) if early else energy(33))[level]
                    y = (tidy(top + PANEL - last * high), tidy(top + PANEL - f * high))
                    box = f"M{tidy(start)} {y[0]}H{tidy(end)}V{y[1]}H{tidy(start)}z"
                    paths[colour] = paths.get(colour, "") + box
                f = last
        return "".join(f'<path fill="{colour}" d="{d}"/>' for colour, d in paths.items())

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        forward = self.view == "response"
        when = "before it happened" if forward else "from the future"
        said = []
        for panel in self.panels():
            name = KINDS[panel.convention].capitalize()
            if not panel.reached:
                said.append(f"{name}: nothing comes out")
                continue
            one = "s" if panel.reached == 1 else ""
            what = f"{plural(panel.reached, 'output step')} know{one} of it"
            if not forward:
                what = f"{plural(panel.reached, 'input frame')} reach{'es' if one else ''} it"
            said.append(f"{name}: {what}, {f'{count(panel.leaked)} of them' if panel.leaked else 'none'} {when}")
        start = "An impulse goes in at now. " if forward else "One output step is asked what it depends on. "
        return start + ". ".join(said) + "."

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        forward, rows = self.view == "response", []
        for panel in self.panels():
            name = KINDS[panel.convention]
            early = "too early" if forward else "from the future"
            rows.append(("reached", f"{name}: reached", plural(panel.reached, "output" if forward else "input"), ""))
            rows.append(("leaked", f"{name}: {early}", count(panel.leaked), ""))
            rows.append(("largest", f"{name}: largest value", count(int(panel.largest)), ""))
        return rows


@dataclass(frozen=True)
class Panel:
    """One heat map: values over features and time, and which of them come too early.

    Attributes:
        convention: of the stack.
        values: features × columns.
        times: the frame at which each column is known.
        hold: frames that it lasts.
        now: the frame of the impulse, or of the output that is asked.
        forbidden: −1 where columns before now are leaks, 1 where those after now are, 0 for neither.
    """

    convention: str
    values: list[list[float]]
    times: list[int]
    hold: int
    now: int
    forbidden: int

    def early(self, time: int) -> bool:
        """Whether energy at ``time`` is a leak of the future."""
        return (time - self.now) * self.forbidden > 0

    def _touched(self) -> list[int]:
        return [time for t, time in enumerate(self.times) if any(row[t] for row in self.values)]

    @property
    def reached(self) -> int:
        """Columns that are not all zero."""
        return len(self._touched())

    @property
    def leaked(self) -> int:
        """Columns among them that know the future."""
        return sum(self.early(time) for time in self._touched())

    @property
    def largest(self) -> float:
        """The largest value."""
        return max((v for row in self.values for v in row), default=0.0)
