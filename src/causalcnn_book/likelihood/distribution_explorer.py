"""The distribution explorer: a histogram that is drawn, or counted in speech, and three distributions fitted to it."""

from __future__ import annotations

from typing import Any, ClassVar

from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["DistributionExplorer"]

LEVELS, BARS, CELLS = 256, 32, 8
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

    :meth:`read` gives the histogram ``h``; ``gaussian`` and ``mixture``: weight, mean and deviation of every component,
    in bins; ``logs``: the log-probability of every bin under each distribution, None where it is nothing; ``bits`` that
    each pays, and the ``entropy``; ``empty``: whether nothing is there.

    Example:
        >>> {name: round(bits, 2) for name, bits in DistributionExplorer(components=2).read()["bits"].items()}
        {'gaussian': 7.92, 'mixture': 6.71, 'categorical': 6.66, 'entropy': 6.66}
    """

    _module: ClassVar[str] = "likelihood/distribution_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("distributions").tag(sync=True)
    shape = traitlets.Enum(("two", "one", "cut"), "two").tag(sync=True)
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
        "Gaussians, and the steps of a categorical distribution, each with its price in bits."
    ).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        contexts = state.get("contexts")
        if contexts and (len(contexts) != CELLS**2 or any(len(one) != LEVELS or min(one) < 0 for one in contexts)):
            raise ValueError(f"contexts must be {CELLS**2} histograms of {LEVELS} counts, none below 0")
        if contexts:
            state = {"controls": ["before", "below", "components", "bits"]} | state
        super().__init__(**state)
