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
    """A stack of convolutions over time: which inputs an output reads, and which outputs an input reaches.

    The reader chooses an output and sees it joined by lines to every input that it reads, layer by layer; or an input,
    and every output that it reaches. Sliders change the stack. What would be read of the future has the alarm colour.

    :meth:`read` gives ``rows``, for the input and then for each layer the places that the present output reads, in
    frames of that layer's input from the present one on; and what follows from the first of them, all in input frames:
    ``past``, ``lookahead``, ``size``, ``num_inputs`` (how many are read) and ``holes`` (skipped); ``stride``, the
    frames from one output to the next; and the number of ``parameters``. Tests compare them with :attr:`field` and with
    the impulse response of the same stack in torch.

    Attributes:
        name: the figure's name in the page's address.
        kernel_size: taps of each layer, 1 … 7.
        dilation: frames between the taps of the first layer, 1 … 4.
        doubling: whether each further layer doubles the dilation.
        layers: how many, 1 … 6.
        stride: frames from one output of a layer to the next, in each layer, 1 … 3.
        convention: ``"strict"`` (causal), ``"block"`` or ``"regular"``. Regular pads both sides; where the
            number of zeros is odd, the spare one goes to the right, as in torch's ``padding="same"``.
        conventions: which of them the reader can choose.
        rate_hz: input frames a second (Hz), for the milliseconds; above 0.
        channels: features of every layer, for the number of parameters; at least 1.
        pick: what is chosen: an ``"output"`` or an ``"input"``.
        at: its index in frames; 0 is the present one.
        controls: controls on display, any of ``kernel_size, dilation, layers, stride, rate_hz, convention, doubling,
            play``; default: all.
        readouts: numbers on display, any of ``size, num_inputs, holes, lookahead, stride, parameters``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn_book.causality import ConeExplorer
        >>> figure = ConeExplorer(kernel_size=3, layers=4, doubling=True)
        >>> figure.read()["size"], int(figure.field.size)
        (31, 31)
        >>> ConeExplorer(kernel_size=5, convention="regular").read()["lookahead"]
        6
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
        """Compute the field of one layer, in the present state.

        Args:
            layer: which one; 0 is the layer that reads the input.

        Returns:
            The field, in frames of what the layer reads.
        """
        dilation = self.dilation * (2**layer if self.doubling else 1)
        reach = (self.kernel_size - 1) * dilation
        left = {"strict": reach, "block": reach - (self.stride - 1), "regular": reach // 2}[self.convention]
        return Field.conv(self.kernel_size, dilation=dilation, stride=self.stride, padding=left)

    @property
    def field(self) -> Field:
        """The field of the whole stack, in the present state, in input frames."""
        total = Field.identity()
        for layer in range(self.layers):
            total = total.then(self.layer_field(layer))
        return total.with_rate(self.rate_hz)

    @property
    def parameters(self) -> int:
        """Weights and biases of the stack, at ``channels`` channels throughout."""
        return self.layers * (self.channels**2 * self.kernel_size + self.channels)
