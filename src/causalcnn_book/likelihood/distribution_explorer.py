"""The distribution explorer: a histogram that is drawn, or counted in speech, and three distributions fitted to it."""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

from causalcnn_book.explorer import Explorer, tidy, traitlets
from causalcnn_book.likelihood import distribution_fits as fits

__all__ = ["DistributionExplorer"]

LEVELS, BARS, TALL, EDGE, HIGH, FOOT, CELLS = 256, 32, 20, 10, 190, 40, 8
DRAWN = {
    "two": "000000014aeeb6210000002bgkgb3100",
    "one": "0000000000000137dikihd7310000000",
    "cut": "kcb98765433221111000000000000000",
}
COLOURS = {"gaussian": "speaker-b", "mixture": "top", "categorical": "speaker-a"}
CONTROLS = {"shape": "choice", "before": "slider", "below": "slider", "components": "slider", "bits": "slider"}
READOUTS = ("entropy", "gaussian", "mixture", "categorical")
HAND = ["shape", "components", "bits"]


class DistributionExplorer(Explorer):
    """A distribution over 256 bins, and what three others make of it: one Gaussian, a mixture, a categorical one.

    The Gaussian and the categorical one are those of most likelihood; the mixture comes from 80 rounds of EM. Each
    is put on the grid of bins, and the price is what it pays for a value, in bits.

    Args:
        shape: what is drawn at first: ``"two"`` lumps, ``"one"``, or one ``"cut"`` off at the floor.
        bars: the heights of 32 bars as text, base 36 up to ``k`` (20), where a reader has drawn.
        components: of the mixture, 1 … 6.
        bits: of the categorical distribution, 1 … 8.
        chosen: the bar that the keys move, 0 … 31.
        contexts: 64 histograms of 256 counts, instead of what is drawn: for every eighth of the bins in which the
            value before lies, and for each of these every eighth in which the value below lies.
        before: the eighth of the value before, 1 … 8.
        below: the eighth of the value below, 1 … 8.
        controls: any of ``shape, before, below, components, bits``; default: those that act.
        readouts: any of ``entropy, gaussian, mixture, categorical``; default: all but the first, which is said.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Example:
        >>> {name: round(bits, 2) for name, bits in DistributionExplorer(components=2).read()["bits"].items()}
        {'gaussian': 7.92, 'mixture': 6.71, 'categorical': 6.66, 'entropy': 6.66}
    """

    _module: ClassVar[str] = "likelihood/distribution_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("distributions").tag(sync=True)
    shape = traitlets.Enum(tuple(DRAWN), "two").tag(sync=True)
    bars = traitlets.Unicode("").tag(sync=True)
    components = traitlets.Int(2, min=1, max=6).tag(sync=True)
    bits = traitlets.Int(5, min=1, max=8).tag(sync=True)
    chosen = traitlets.Int(9, min=0, max=BARS - 1).tag(sync=True)
    before = traitlets.Int(4, min=1, max=CELLS).tag(sync=True)
    below = traitlets.Int(4, min=1, max=CELLS).tag(sync=True)
    contexts = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), HAND).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS[1:])).tag(sync=True)
    url_keys = traitlets.List(
        traitlets.Unicode(), ["shape", "bars", "components", "bits", "chosen", "before", "below"]
    ).tag(sync=True)
    alt = traitlets.Unicode(
        "A histogram over the bins, and three curves over it: one Gaussian, whose mean is marked, a mixture of "
        "GaussianMixture, and the steps of a categorical distribution, each with its price in bits."
    ).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        contexts = state.get("contexts")
        if contexts and (len(contexts) != CELLS**2 or any(len(one) != LEVELS or min(one) < 0 for one in contexts)):
            raise ValueError(f"contexts must be {CELLS**2} histograms of {LEVELS} counts, none below 0")
        if contexts:
            state = {"controls": ["before", "below", "components", "bits"]} | state
        super().__init__(**state)

    def heights(self) -> list[int]:
        """Of the bars: counted, drawn by a reader, or those of the shape."""
        if self.contexts:
            return list(self.contexts[(self.before - 1) * CELLS + self.below - 1])
        text = self.bars if re.fullmatch("[0-9a-k]{32}", self.bars) else DRAWN[self.shape]
        return [int(letter, 36) for letter in text]

    def histogram(self) -> list[float]:
        """The probability of every bin: a bar spreads evenly; where there is nothing at all, all are alike."""
        heights = self.heights()
        each, total = LEVELS // len(heights), sum(heights)
        return [heights[k // each] / total / each if total else 1 / LEVELS for k in range(LEVELS)]

    def read(self) -> dict[str, Any]:
        """What the figure shows.

        Returns:
            ``h`` the histogram; ``gaussian`` and ``mixture``: weight, mean and deviation of every component, in
            levels; ``logs`` of every distribution and level; ``bits`` of each, and of the ``entropy``; ``empty``.
        """
        h = self.histogram()
        gaussian = fits.gaussian_fit(h)
        mixture = fits.mixture_fit(h, self.components, LEVELS // len(self.heights()))
        logs = {
            "gaussian": fits.mixture_log(gaussian),
            "mixture": fits.mixture_log(mixture),
            "categorical": fits.categorical_log(h, self.bits),
        }
        bits = {name: fits.price_bits(h, log) for name, log in logs.items()}
        bits["entropy"] = fits.price_bits(h, fits.categorical_log(h, 8))
        empty = not any(self.heights())
        return {"h": h, "gaussian": gaussian, "mixture": mixture, "logs": logs, "bits": bits, "empty": empty}

    # --------------------------------------------------------- the static picture, as distribution_explorer.js draws it
    def _names(self) -> dict[str, str]:
        mixture = "mixture of one" if self.components == 1 else f"mixture of {self.components}"
        return {"gaussian": "one Gaussian", "mixture": mixture, "categorical": f"{2**self.bits} bins"}

    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        f, beside = self.read(), width >= 560
        heights: list[int] = self.heights()
        top = 34 if beside else 70
        bottom, dx, each = top + HIGH, (width - 2 * EDGE) / LEVELS, LEVELS // len(heights)
        highest = max(f["h"]) * 1.1
        if not self.contexts and any(heights):
            highest = TALL * 1.05 / sum(heights) * (BARS / LEVELS)

        def x(level: float) -> str:
            return tidy(EDGE + level * dx)

        def y(p: float) -> str:
            return tidy(bottom - min(1.04, p / highest) * HIGH)

        data = "".join(
            f"M{x(k)} {bottom}V{y(f['h'][k])}H{x(k + each)}V{bottom}z" for k in range(0, LEVELS, each) if f["h"][k] > 0
        )
        out = f'<path style="fill:var(--cc-future);opacity:.42" d="{data}"/>'
        if not self.contexts:
            out += (
                f'<rect x="{x(self.chosen * each)}" y="{bottom}" width="{tidy(each * dx)}" height="5" '
                'style="fill:var(--cc-accent)"/>'
            )
        for name, logs in f["logs"].items():
            p = [math.exp(log) for log in logs]
            if name == "categorical":
                step = 2 ** (8 - self.bits)
                line = "".join(f"{'V' if k else f'M{x(0)} '}{y(p[k])}H{x(k + step)}" for k in range(0, LEVELS, step))
            else:
                line = "".join(f"{'L' if k else 'M'}{x(k + 0.5)} {y(p[k])}" for k in range(LEVELS))
            thick = "1.4" if name == "categorical" else "2.2"
            out += f'<path style="fill:none;stroke:var(--cc-{COLOURS[name]});stroke-width:{thick}" d="{line}"/>'
        out += (
            f'<path style="fill:none;stroke:var(--cc-{COLOURS["gaussian"]});stroke-width:1.4;stroke-dasharray:5 4" '
            f'd="M{x(f["gaussian"][0][1])} {top}V{bottom}"/>'
            f'<path class="cc-tick" d="M{EDGE} {bottom}H{tidy(width - EDGE)}"/>'
        )
        for level in range(0, LEVELS + 1, 64):
            anchor = "start" if level == 0 else "end" if level == LEVELS else "middle"
            out += (
                f'<text class="cc-digits cc-quiet" x="{x(level)}" y="{bottom + 20}" text-anchor="{anchor}">'
                f"{min(level, 255)}</text>"
            )
        out += f'<text class="cc-quiet" x="{tidy(width / 2)}" y="{bottom + 36}" text-anchor="middle">bin</text>'
        for i, (name, label) in enumerate(self._names().items()):
            left, up = (EDGE + i * (width - 2 * EDGE) / 3, 14) if beside else (EDGE, 14 + 20 * i)
            stroke = f"fill:none;stroke:var(--cc-{COLOURS[name]});stroke-width:3"
            out += (
                f'<path style="{stroke}" d="M{tidy(left)} {up - 4}h18"/>'
                f'<text class="cc-digits" x="{tidy(left + 25)}" y="{up}">{label}: {f["bits"][name]:.2f} bits</text>'
            )
        return out, bottom + FOOT

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        f = self.read()
        if f["empty"]:
            return "There is nothing here. All distributions say that all bins are alike, and pay 8 bits."
        mean, bits = f["gaussian"][0][1], f["bits"]
        none = ", where nothing lies" if f["h"][min(LEVELS - 1, math.floor(mean))] == 0 else ""
        return (
            f"No distribution can pay less than {bits['entropy']:.2f} bits. "
            f"The Gaussian pays {max(0, bits['gaussian'] - bits['entropy']):.2f} more. The mean is {mean:.0f}{none}."
        )

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        bits, names = self.read()["bits"], self._names()
        rows = [("entropy", "Entropy", f"{bits['entropy']:.2f} bits", "")]
        for name, label in names.items():
            more = f"{max(0, bits[name] - bits['entropy']):.2f} more"
            rows.append((name, label[0].upper() + label[1:], f"{bits[name]:.2f} bits", more))
        return rows
