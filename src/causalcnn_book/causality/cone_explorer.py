"""The cone explorer: which inputs an output of a stack of convolutions reads, and what an input reaches."""

from __future__ import annotations

from typing import ClassVar

from causalcnn.field import Field
from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["ConeExplorer"]

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
