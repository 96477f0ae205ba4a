"""The generation explorer: what a WaveNet computes for one sample, and what it must keep from the ones before."""

from __future__ import annotations

from typing import ClassVar

from causalcnn.field import Field
from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["GenerationExplorer"]

CONTROLS = {"way": "choice", "layers": "slider", "cycles": "slider", "sample": "slider", "play": "buttons"}
READOUTS = ("size", "kept", "recomputed", "memory", "total_kept", "total_recomputed")


class GenerationExplorer(Explorer):
    """A WaveNet that draws one sample after the other: the nodes that it computes, and those that it keeps.

    The reader lets it generate and compares two ways: to compute every node anew for each sample, as a convolution over
    the receptive field does, or to compute one node a layer and keep, of each layer's input, the last ones.

    :meth:`read` gives, for each of the two ways, the nodes ``computed`` for the chosen sample and their ``total`` from
    sample 1 on; ``memory``, the nodes to keep; and ``size``, the receptive field in samples. Tests compare them with
    the fields of the layers and with the state of a :class:`~causalcnn.models.WaveNet`.

    Attributes:
        name: the figure's name in the page's address.
        layers: gated layers of one cycle, 1 … 5; their dilations are 1, 2, 4, …
        cycles: how many times the dilations run through, 1 … 2.
        way: whether earlier nodes are ``"kept"`` or ``"recomputed"``.
        sample: the sample that is drawn, 1 … 96; sample 0 was given.
        controls: controls on display, any of ``way, layers, cycles, sample, play``; default: all.
        readouts: numbers on display, any of ``size, kept, recomputed, memory, total_kept, total_recomputed``; default:
            all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn_book.wavenet import GenerationExplorer
        >>> figure = GenerationExplorer(layers=4, sample=40)
        >>> figure.read()["computed"], figure.read()["memory"]
        ({'kept': 4, 'recomputed': 15}, 15)
        >>> int(figure.field.size), figure.read()["size"]
        (16, 16)
    """

    _module: ClassVar[str] = "wavenet/generation_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("generation").tag(sync=True)
    layers = traitlets.Int(4, min=1, max=5).tag(sync=True)
    cycles = traitlets.Int(1, min=1, max=2).tag(sync=True)
    way = traitlets.Enum(("kept", "recomputed"), "recomputed").tag(sync=True)
    sample = traitlets.Int(20, min=1, max=96).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)[:-1]).tag(sync=True)
    alt = traitlets.Unicode(
        "Rows of dots, one row a layer, time from left to right. Lit dots are computed for the next sample; shaded "
        "ones are kept from before. From the last column a line leads to the new sample, and back to the input."
    ).tag(sync=True)

    @property
    def dilations(self) -> tuple[int, ...]:
        """The dilation of each layer, in samples."""
        return tuple(2**i for _ in range(self.cycles) for i in range(self.layers))

    @property
    def field(self) -> Field:
        """Which samples the last layer reads, up to the present one."""
        total = Field.identity()
        for dilation in self.dilations:
            total = total.then(Field.conv(2, dilation=dilation))
        return total.with_rate(16000)
