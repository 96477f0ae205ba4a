"""The distribution explorer: a histogram that is drawn, or counted in speech, and three distributions fitted to it."""

from __future__ import annotations

from typing import Any, ClassVar

from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["DistributionExplorer"]

LEVELS, BARS, CELLS = 256, 32, 8
"""Bins of a value; bars over them that a reader can draw; parts of the range in which a neighbour is known."""
CONTROLS = {"shape": "choice", "before": "slider", "below": "slider", "components": "slider", "bits": "slider"}
READOUTS = ("entropy", "gaussian", "mixture", "categorical")
HAND = ["shape", "components", "bits"]


class DistributionExplorer(Explorer):
    """A distribution over 256 bins, and what three others make of it: one Gaussian, a mixture, a categorical one.

    The reader draws a histogram, or walks through histograms counted in speech, and sees what each of the three pays
    for a value, in bits. The Gaussian and the categorical one are those of most likelihood; the mixture comes from 80
    rounds of EM. Each is put on the grid of bins.

    :meth:`read` gives the histogram ``h``; ``gaussian`` and ``mixture``: weight, mean and deviation of every component,
    in bins; ``logs``: the log-probability of every bin under each distribution, in nats, None where it is nothing;
    ``bits`` that each pays for a value, and the ``entropy``; ``empty``: whether nothing is there. Tests compare them
    with the output distributions of ``causalcnn.models``.

    Args:
        **state: traits by their names, as for :class:`~causalcnn_book.Explorer`.

    Attributes:
        name: the figure's name in the page's address.
        shape: the histogram at first: ``"two"`` lumps, ``"one"``, or one ``"cut"`` off at the floor.
        bars: the heights of 32 bars as text, base 36 up to ``k`` (20), where a reader has drawn.
        components: how many the mixture has, 1 … 6.
        bits: the categorical distribution has ``2**bits`` bins, 1 … 8 bits.
        chosen: the bar that the keys move, 0 … 31.
        before: the eighth of the value before, 1 … 8.
        below: the eighth of the value below, 1 … 8.
        contexts: 64 histograms of 256 counts, instead of what is drawn: for every eighth of the bins in which the
            value before lies, and for each of these every eighth in which the value below lies.
        controls: controls on display, any of ``shape, before, below, components, bits``; default: those that act.
        readouts: numbers on display, any of ``entropy, gaussian, mixture, categorical``; default: all but the first,
            which the sentence says.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Raises:
        TypeError: a keyword is not the name of a trait.
        ValueError: ``contexts`` has another shape, or a count below 0; ``controls`` or ``readouts`` names one that the
            figure does not have.

    Example:
        >>> import math
        >>> import torch
        >>> from causalcnn_book.likelihood import DistributionExplorer
        >>> found = DistributionExplorer(components=2).read()
        >>> {name: round(bits, 2) for name, bits in found["bits"].items()}
        {'gaussian': 7.92, 'mixture': 6.71, 'categorical': 6.66, 'entropy': 6.66}
        >>> nats = torch.distributions.Categorical(torch.tensor(found["h"])).entropy()
        >>> round(float(nats) / math.log(2), 2)
        6.66
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
