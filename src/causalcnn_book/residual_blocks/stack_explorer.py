"""The stack explorer: what stacks of causal convolutions read together, and by how many paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

from causalcnn.field import Field
from causalcnn_book.explorer import Explorer, count, duration, plural, tidy, time_axis, traitlets

if TYPE_CHECKING:
    from causalcnn.nn import CausalModule

__all__ = ["Reading", "StackExplorer"]

GUTTER, EDGE, TOP, CELL, GAP, BARS = 68, 10, 44, 20, 12, 66
PLACES = (1, 2, 3, 4)
CONTROLS = {"stacks": "choice", "combine": "choice"}
CONTROLS |= {f"{what}_{i}": "slider" for i in PLACES for what in ("kernel", "dilation")}
CONTROLS |= {"second": "slider", "blocks": "slider", "residual": "switch"}
READOUTS = ("size", "num_inputs", "holes", "parameters", "paths", "present")


class StackExplorer(Explorer):
    """Stacks of pre-layer, residual blocks and output layer, side by side: which frames do they read together?

    Below the frames stands the gradient of the chosen output at each of them, for all-ones weights and open
    activations: the number of paths that lead there, exactly.

    Args:
        stacks: 1 … 4.
        kernel_1 … kernel_4: taps of every convolution of a stack, 2 … 7.
        dilation_1 … dilation_4: of every convolution of a stack, 1 … 4.
        second: dilation of the second convolution of every block, 1 … 4; 0: the stack's own.
        blocks: residual blocks of two convolutions in each stack, 0 … 5.
        combine: ``"add"``, ``"concat"`` or ``"every_layer"``, see :class:`causalcnn.nn.MultiStackEncoder`.
        residual: whether the blocks have their skip.
        ends: whether a stack has its pre-layer and its output layer.
        at: the chosen output; 0 is where the figure begins.
        rate_hz: frames a second.
        channels: of every layer, for the number of parameters.
        controls: any of ``stacks, combine, kernel_1, dilation_1, …, second, blocks, residual``; default: all
            but ``second``.
        readouts: any of ``size, num_inputs, holes, parameters, paths, present``; default: all.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Example:
        >>> two = StackExplorer(stacks=2, dilation_2=3)
        >>> two.field.size, two.field.holes
        (25, 10)
    """

    _module: ClassVar[str] = "residual_blocks/stack_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("stacks").tag(sync=True)
    stacks = traitlets.Int(2, min=1, max=4).tag(sync=True)
    kernel_1 = traitlets.Int(3, min=2, max=7).tag(sync=True)
    kernel_2 = traitlets.Int(3, min=2, max=7).tag(sync=True)
    kernel_3 = traitlets.Int(5, min=2, max=7).tag(sync=True)
    kernel_4 = traitlets.Int(5, min=2, max=7).tag(sync=True)
    dilation_1 = traitlets.Int(1, min=1, max=4).tag(sync=True)
    dilation_2 = traitlets.Int(3, min=1, max=4).tag(sync=True)
    dilation_3 = traitlets.Int(1, min=1, max=4).tag(sync=True)
    dilation_4 = traitlets.Int(3, min=1, max=4).tag(sync=True)
    second = traitlets.Int(0, min=0, max=4).tag(sync=True)
    blocks = traitlets.Int(1, min=0, max=5).tag(sync=True)
    combine = traitlets.Enum(("add", "concat", "every_layer"), "add").tag(sync=True)
    residual = traitlets.Bool(True).tag(sync=True)
    ends = traitlets.Bool(True).tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)
    rate_hz = traitlets.Float(100.0, min=1e-3).tag(sync=True)
    channels = traitlets.Int(64, min=1).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), [key for key in CONTROLS if key != "second"]).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), [*CONTROLS, "at"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Frames over time, one strip for each stack and one for all together: frames that the chosen output "
        "reads are filled, skipped ones crossed out, the future is hatched. Below, bars for the gradient."
    ).tag(sync=True)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Kernel size and dilation of each stack."""
        return [(getattr(self, f"kernel_{i}"), getattr(self, f"dilation_{i}")) for i in PLACES[: self.stacks]]

    def _levels(self, kernel: int, dilation: int) -> list[tuple[int, ...]]:
        """The dilations of the convolutions on each level of one stack: one, or the two of a block."""
        end = [(dilation,)] if self.ends else []
        return [*end, *[(dilation, self.second or dilation)] * self.blocks, *end]

    @property
    def field(self) -> Field:
        """The field of all stacks together, in the present state."""
        stacks = [
            [self._level_field(kernel, dilations) for dilations in self._levels(kernel, dilation)]
            for kernel, dilation in self.pairs
        ]
        if self.combine == "every_layer":
            stacks = [[reduce(Field.__or__, level) for level in zip(*stacks, strict=True)]]
        return reduce(Field.__or__, (reduce(Field.then, stack, Field.identity()) for stack in stacks)).with_rate(
            self.rate_hz
        )

    def _level_field(self, kernel: int, dilations: tuple[int, ...]) -> Field:
        body = reduce(Field.then, (Field.conv(kernel, dilation=dilation) for dilation in dilations))
        return body | Field.identity() if self.residual and len(dilations) == 2 else body

    def network(self, channels: int | None = None) -> CausalModule:
        """The stacks as a network of causalcnn, with ``channels`` features throughout (default: the figure's)."""
        from torch import nn

        from causalcnn.nn import CausalConv1d, CausalSequential, Parallel, Residual

        width = self.channels if channels is None else channels

        def level(kernel: int, dilations: tuple[int, ...]) -> CausalModule:
            convolutions = [CausalConv1d(width, width, kernel, dilation=dilation) for dilation in dilations]
            if len(convolutions) == 1:
                return convolutions[0]
            body = (nn.ReLU(), convolutions[0], nn.ReLU(), convolutions[1])
            return Residual(*body) if self.residual else CausalSequential(*body)

        stacks = [[level(k, dilations) for dilations in self._levels(k, d)] for k, d in self.pairs]
        if self.combine == "every_layer":
            return CausalSequential(*(Parallel(*parts) for parts in zip(*stacks, strict=True)))
        together = [CausalSequential(*parts) for parts in stacks]
        if self.combine == "add":
            return Parallel(*together)
        return CausalSequential(Parallel(*together, combine="concat"), CausalConv1d(width * len(stacks), width, 1))

    def read(self) -> Reading:
        """The paths, and what follows from them."""
        stacks = [[self._paths(k, dilations) for dilations in self._levels(k, d)] for k, d in self.pairs]
        each = [reduce(_product, stack, [1]) for stack in stacks]
        together = reduce(_sum, each)
        if self.combine == "every_layer":
            together = reduce(_product, (reduce(_sum, level) for level in zip(*stacks, strict=True)), [1])
        convolutions, c = (2 if self.ends else 0) + 2 * self.blocks, self.channels
        parameters = sum(convolutions * (c * c * kernel + c) for kernel, _ in self.pairs)
        parameters += self.stacks * c * c + c if self.combine == "concat" else 0
        return Reading(each, together, parameters)

    def _paths(self, kernel: int, dilations: tuple[int, ...]) -> list[int]:
        taps = [[int(age % d == 0) for age in range((kernel - 1) * d + 1)] for d in dilations]
        body = reduce(_product, taps)
        return _sum(body, [1]) if self.residual and len(dilations) == 2 else body

    # ----------------------------------------------------------- the static picture, as stack_explorer.js draws it
    def _window(self, width: int, size: int) -> tuple[int, int]:
        frames = min((width - GUTTER - EDGE) // 2, max(24, math.ceil(size * 1.18) + 2))
        after = math.ceil(frames * 0.12)
        return after + 1 - frames, after

    def static(self) -> str:
        """See :meth:`Explorer.static`; sliders of stacks that are not there take no place."""
        text, place = super().static(), '<div class="cc-place cc-place-slider"></div>'
        unseen = sum(f"{what}_{i}" in self.controls for i in PLACES[self.stacks :] for what in ("kernel", "dilation"))
        return text.replace(place, "", unseen)

    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        f = self.read()
        a, b = self._window(width, f.size)
        dx = (width - GUTTER - EDGE) / (b - a + 1)
        now, right = self.at, GUTTER + (b - a + 1) * dx
        half = (dx - (1.5 if dx >= 6 else 0.8 if dx >= 4 else 0)) / 2

        def x(t: float) -> float:
            return GUTTER + (t - a + 0.5) * dx

        line = min(right, x(now) + dx / 2)
        rows = [("reads", f.together)]
        if self.stacks > 1:
            rows = [*((f"stack {i + 1}", paths) for i, paths in enumerate(f.each)), ("together", f.together)]
        bottom = TOP + len(rows) * (CELL + GAP) + BARS
        out = (
            f'<defs><pattern id="{unique}h" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>'
            f'<rect class="cc-closed" fill="url(#{unique}h)" x="{tidy(line)}" y="{TOP - 8}" '
            f'width="{tidy(right - line)}" height="{bottom - TOP + 12}"/>'
        )
        for n, (name, paths) in enumerate(rows):
            out += _strip(name, paths, TOP + n * (CELL + GAP) + CELL // 2, now, (a, b), x, half)
        bars, here, largest = "", "", max(f.together)
        for t in range(a, min(now, b) + 1):
            paths_here = f.together[now - t] if now - t < f.size else 0
            if paths_here:
                bar = f"M{tidy(x(t))} {bottom}V{tidy(bottom - max(2, ((BARS - 6) * paths_here) / largest))}"
                here, bars = (bar, bars) if t == now else (here, bars + bar)
        for kind, path in (("past", bars), ("present", here)):
            if path:
                thick = f'style="stroke-linecap:butt" stroke-width="{tidy(2 * half)}"'
                out += f'<path class="cc-dot cc-{kind}" {thick} d="{path}"/>'
        middle = bottom - BARS // 2 + 6
        out += (
            f'<text class="cc-quiet" x="{GUTTER - 8}" y="{middle}" text-anchor="end">gradient</text>'
            f'<path class="cc-tick" d="M{GUTTER} {bottom}H{tidy(right)}"/>'
            f'<path class="cc-now" d="M{tidy(line)} {TOP - 8}V{bottom + 4}"/>'
            f'<text class="cc-here" x="{tidy(min(max(x(now), GUTTER + 14), right - 14))}" y="24" '
            'text-anchor="middle">now</text>'
        )
        if x(now) - GUTTER > (180 if width >= 560 else 60):
            said = "past: may be used" if width >= 560 else "past"
            out += f'<text class="cc-said-past" x="{GUTTER}" y="24">{said}</text>'
        place: dict[str, Any] = {"x": x, "dx": dx, "right": right, "left": GUTTER, "y": bottom}
        return out + time_axis(a, b, now=now, rate_hz=self.rate_hz, **place), bottom + 56

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        f = self.read()
        if f.size == 1:
            return "The chosen output reads the present frame and nothing else."
        skips = f"and skips {count(f.holes)} of them" if f.holes else "and skips none"
        return (
            f"The chosen output reads {count(f.num_inputs)} of the last {plural(f.size, 'frame')} "
            f"({duration(f.size, self.rate_hz)}) {skips}. Of {plural(f.paths, 'path')} through the network, "
            f"{count(f.present)} {'starts' if f.present == 1 else 'start'} in the present frame."
        )

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        f = self.read()
        return [
            ("size", "Receptive field", plural(f.size, "frame"), duration(f.size, self.rate_hz)),
            ("num_inputs", "Frames read", count(f.num_inputs), ""),
            ("holes", "Skipped", count(f.holes), ""),
            ("parameters", "Parameters", count(f.parameters), f"{self.channels} channels"),
            ("paths", "Paths", count(f.paths), ""),
            ("present", "From the present", count(f.present), f"1 in {count(math.floor(f.paths / f.present + 0.5))}"),
        ]


@dataclass(frozen=True)
class Reading:
    """The paths that lead to one output.

    Attributes:
        each: of each stack alone, by age: ``each[0][3]`` paths of the first stack start three frames ago.
        together: of all stacks together, by age: the gradient for all-ones weights and open activations.
        parameters: weights and biases.
    """

    each: list[list[int]]
    together: list[int]
    parameters: int

    @property
    def size(self) -> int:
        """Frames from the oldest that is read to the present."""
        return len(self.together)

    @property
    def num_inputs(self) -> int:
        """Frames that are read."""
        return sum(paths > 0 for paths in self.together)

    @property
    def holes(self) -> int:
        """Frames that are skipped."""
        return self.size - self.num_inputs

    @property
    def paths(self) -> int:
        """All paths."""
        return sum(self.together)

    @property
    def present(self) -> int:
        """Those that start in the present frame."""
        return self.together[0]


def _product(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """Paths through one layer and then the other: ages add."""
    out = [0] * (len(a) + len(b) - 1)
    for i, first in enumerate(a):
        if first:
            for j, then in enumerate(b):
                out[i + j] += first * then
    return out


def _sum(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """Paths through either."""
    return [first + second for first, second in zip_longest(a, b, fillvalue=0)]


def _strip(name: str, paths: Sequence[int], y: int, now: int, window: tuple[int, int], x: Any, half: float) -> str:
    """One row of frames: read, skipped, or out of reach."""
    part, q = {"idle": "", "past": "", "skip": ""}, min(4.5, half * 0.8)
    for t in range(window[0], window[1] + 1):
        age, line = now - t, f"M{tidy(x(t) - half)} {y}H{tidy(x(t) + half)}"
        if 0 <= age < len(paths) and paths[age]:
            part["past"] += line
        elif 0 < age < len(paths) and half >= 2:
            low, high = tidy(x(t) - q), tidy(x(t) + q)
            part["skip"] += f"M{low} {tidy(y - q)}L{high} {tidy(y + q)}M{low} {tidy(y + q)}L{high} {tidy(y - q)}"
        elif 0 < age < len(paths):
            part["skip"] += f"M{tidy(x(t))} {y - 2}V{y + 2}"
        elif age > 0:
            part["idle"] += line
    out = f'<text class="cc-quiet" x="{GUTTER - 8}" y="{y + 4}" text-anchor="end">{name}</text>'
    for kind, thick in (("idle", 4), ("past", CELL)):
        if part[kind]:
            style = f'style="stroke-linecap:butt" stroke-width="{thick}"'
            out += f'<path class="cc-dot cc-{kind}" {style} d="{part[kind]}"/>'
    if part["skip"]:
        out += f'<path class="cc-skip" d="{part["skip"]}"/>'
    if now - len(paths) + 1 < window[0]:
        out += f'<path class="cc-span cc-past" d="M{GUTTER - 1} {y - 5}l-5 5l5 5"/>'
    return out
