"""The order explorer: in which order a spectrogram's values are predicted, and what each of them may read."""

from __future__ import annotations

from typing import ClassVar

from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["OrderExplorer"]

FRAMES, BANDS = 13, 8
"""Frames and bands of the spectrogram that is numbered."""
CONTROLS = {"order": "choice", "network": "choice", "layers": "slider", "kernel": "choice", "play": "buttons"}
READOUTS = ("number", "seen", "future", "blind")


class OrderExplorer(Explorer):
    """A spectrogram of 13 frames and 8 bands, numbered in the order of prediction: what may a value read, what does it?

    The reader chooses a value and sees which values come before it in an order, which of these lie in the future, and
    what a stack of masked convolutions sees of them.

    :meth:`read` gives ``cell`` and ``number`` of the value (how many come before it), and the cells ``allowed``,
    ``seen``, ``blind`` (allowed, and out of reach for any number of layers) and ``future`` (seen, of later frames). A
    cell is frame · 8 + band, both counted from 0. Tests compare them with the gradients of such networks in torch, and
    the order by frame with the field of the models in ``causalcnn.models``.

    Attributes:
        name: the figure's name in the page's address.
        order: ``"frame"`` by frame and from low to high, ``"band"`` by band through all of time, ``"tiers"`` (every
            other frame first), or ``"shuffled"``.
        network: in the order ``"frame"``: ``"all"`` (whatever may be read), ``"masked"`` (one stack of masked causal
            convolutions), ``"two"`` (one stack over earlier frames, one along the present one).
        layers: how many the network has, 1 … 6.
        kernel: taps, 3 or 5, in time (all of it past) and in frequency.
        frame: the frame of the value that reads, 1 … 13.
        band: the band of the value that reads, 1 … 8.
        controls: controls on display, any of ``order, network, layers, kernel, play``; default: all.
        readouts: numbers on display, any of ``number, seen, future, blind``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn.models.autoregressive import ordered_field
        >>> from causalcnn_book.likelihood import BANDS, FRAMES, OrderExplorer
        >>> allowed = OrderExplorer(order="frame", frame=7, band=4).read()["allowed"]
        >>> reads = ordered_field(None, BANDS).inputs_of((6, 3), within=(range(FRAMES), range(BANDS)))
        >>> len(allowed), {divmod(cell, BANDS) for cell in allowed} == reads
        (51, True)
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
