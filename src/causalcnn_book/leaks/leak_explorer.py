"""The leak figure: six layers over time, faults planted or hidden, and what an impulse of the future moves."""

from __future__ import annotations

from typing import Any, ClassVar

from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["LeakExplorer"]

FRAMES, CASES = 24, 8
FAULTS = ("front_end", "padding", "dilation", "reflect", "norm", "mask")
"""From the input up: the switch of each layer's fault."""
CONTROLS = {"case": "slider", "at": "slider", "probe": "slider"}
CONTROLS |= dict.fromkeys((*FAULTS, "reveal"), "switch")
PLANT = ["at", *FAULTS]
HUNT = ["case", "at", "probe", "reveal"]
READOUTS = ("moved", "ahead", "first")


class LeakExplorer(Explorer):
    """An impulse that is still to come, six layers above it, and every frame that moves before it.

    The reader plants faults in the layers and sees what moves too early; or hunts for hidden ones, looking at the
    output of one layer at a time. From the input up, the layers and their faults are: a front end with a centred
    window, a convolution whose padding is off by one, a dilated one that forgets its dilation in the padding, one with
    reflect padding, a normalisation with statistics over all time, and an attention whose mask is off by one.

    :meth:`read` gives ``faults``: which of the six layers are at fault, planted or hidden; and ``moved``: for the input
    and each layer the frames that the impulse moves. Tests compare them with the same layers in torch.

    Args:
        **state: traits by their names, as for :class:`~causalcnn_book.Explorer`.

    Attributes:
        name: the figure's name in the page's address.
        at: the frame of the impulse, 0 … 23.
        front_end: whether the front end's window is centred.
        padding: whether the padding of the first convolution is off by one.
        dilation: whether the dilated convolution is padded as if it had none.
        reflect: whether a convolution pads by reflection.
        norm: whether the normalisation takes its statistics over all time.
        mask: whether the mask of the attention is off by one.
        hunt: whether the faults are hidden: one case of eight, seen through the output of one layer at a time.
        case: the number of the hunt's case, 1 … 8.
        probe: the layer whose output is seen in the hunt, 1 … 6.
        reveal: whether everything is seen in the hunt.
        controls: controls on display, any of ``case, at, probe, front_end, padding, dilation, reflect, norm, mask,
            reveal``; default: those that plant faults, or those of the hunt.
        readouts: numbers on display, any of ``moved, ahead, first``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Raises:
        TypeError: a keyword is not the name of a trait.
        ValueError: ``controls`` or ``readouts`` names one that the figure does not have.

    Example:
        >>> from torch import nn
        >>> from causalcnn import receptive_field
        >>> from causalcnn_book.leaks import LeakExplorer
        >>> moved = LeakExplorer(at=12, padding=True).read()["moved"]
        >>> 12 - min(moved[-1]), int(receptive_field(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 24)).lookahead)
        (1, 1)
    """

    _module: ClassVar[str] = "leaks/leak_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("leaks").tag(sync=True)
    at = traitlets.Int(14, min=0, max=FRAMES - 1).tag(sync=True)
    front_end = traitlets.Bool(False).tag(sync=True)
    padding = traitlets.Bool(False).tag(sync=True)
    dilation = traitlets.Bool(False).tag(sync=True)
    reflect = traitlets.Bool(False).tag(sync=True)
    norm = traitlets.Bool(False).tag(sync=True)
    mask = traitlets.Bool(False).tag(sync=True)
    hunt = traitlets.Bool(False).tag(sync=True)
    case = traitlets.Int(1, min=1, max=CASES).tag(sync=True)
    probe = traitlets.Int(6, min=1, max=6).tag(sync=True)
    reveal = traitlets.Bool(False).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), PLANT).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    alt = traitlets.Unicode(
        "Seven rows of dots over time, the input at the bottom and six layers above it. The impulse stands at the "
        "edge of the hatched future; dots that move before it are drawn in the colour of leaks."
    ).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        super().__init__(**({"controls": HUNT} if state.get("hunt") else {}) | state)
