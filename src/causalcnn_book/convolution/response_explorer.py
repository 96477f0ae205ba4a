"""The response explorer: an impulse through all-ones convolutions, or the gradient of one output step."""

from __future__ import annotations

from typing import ClassVar

from causalcnn_book.convolution.all_ones import AllOnes
from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["ResponseExplorer"]

CONTROLS = dict.fromkeys(("view", "convention", "dims", "impulse"), "choice")
CONTROLS |= dict.fromkeys(("layers", "kernel_size", "dilation", "stride", "step"), "slider")
CONTROLS |= {"nonzero": "switch", "play": "buttons"}
READOUTS = ("reached", "leaked", "largest")


class ResponseExplorer(Explorer):
    """An impulse goes into a stack of all-ones convolutions: what comes out, and when?

    The reader sees the impulse, and below it what comes out of a regular and of a causal stack. What comes out before
    the impulse went in has the alarm colour. The gradient view asks the other way round: on which inputs does one
    output step depend?

    :meth:`read` gives for each convention on display how many columns are ``reached``, how many of these ``leaked``,
    and the ``largest`` value, which counts the paths that lead there. Tests compare them, and the pictures, with
    :meth:`stack`, which torch runs.

    Attributes:
        name: the figure's name in the page's address.
        dims: 1 convolves over time and sums the features, 2 convolves over time and frequency.
        convention: ``"regular"``, ``"strict"`` (causal), ``"block"``, or ``"both"``: regular above causal.
        conventions: which of them the reader can choose.
        impulse: what goes in: a ``"frame"`` (one in all features) or a ``"cell"`` (one in the middle feature).
        layers: how many, 1 … 6.
        kernel_size: taps of every layer, 1 … 7.
        dilation: frames between the taps of every layer, 1 … 4.
        stride: frames from one output of a layer to the next, 1 … 3.
        nonzero: whether every value but 0 is drawn as 1.
        view: ``"response"`` or ``"gradient"``.
        step: the frame of the impulse, or of the output that is asked; from 0.
        steps: frames of the input, 1 … 200.
        features: rows of the input, 1 … 80.
        rate_hz: frames a second (Hz), above 0.
        controls: controls on display, any of ``view, convention, dims, impulse, layers, kernel_size, dilation, stride,
            step, nonzero, play``; default: all.
        readouts: numbers on display, any of ``reached, leaked, largest``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn_book.convolution import ResponseExplorer
        >>> figure = ResponseExplorer(convention="regular", layers=2)
        >>> figure.read()
        {'regular': {'reached': 5, 'leaked': 2, 'largest': 675}}
        >>> response = figure.stack("regular").response(figure.step)
        >>> int((response > 0).any(0).sum()), int(response.max())
        (5, 675)
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
        """Build the stack of all-ones convolutions in the present state, as torch runs it.

        Args:
            convention: ``"regular"``, ``"strict"`` or ``"block"``, whichever is on display.

        Returns:
            The stack.

        Raises:
            ValueError: another convention.
        """
        shape = (self.layers, self.kernel_size, self.dilation, self.stride, self.features, self.steps)
        return AllOnes(self.dims, convention, *shape)  # type: ignore[arg-type]
