"""The condition explorer: which mel frame stands beside a sample, and how late the sample must be for it."""

from __future__ import annotations

from typing import ClassVar

from causalcnn.field import Field
from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["ConditionExplorer"]

FIRST, LAST = 480, 959
"""The samples that can be chosen: three hops, whose frames lie on the stage with every look-ahead."""
CONTROLS = {"lookahead": "slider", "sample": "slider"}
READOUTS = ("frame", "lookahead", "latency", "declared", "middle", "after")


class ConditionExplorer(Explorer):
    """A sample that a vocoder draws, the mel frame beside it, and what the window of that frame has heard.

    The reader moves the sample and the look-ahead. The window of the frame is lit: the part of it before the sample
    tells of samples that were drawn before, the part after it of sound that the sample must wait for. With a
    look-ahead of 0 the frame ends with the sample's own hop, and since its Hann window fades out, it says hardly
    anything of what comes after the sample.

    :meth:`read` gives the ``hop`` of the sample and the number of its ``frame``; the ``first`` and the ``last`` sample
    under the window; the ``latency``, how many samples after the chosen one the last of them comes, and the latency
    that is ``declared``, the largest in a hop; the ``middle`` of the window in samples from the chosen one, negative
    before it; and the shares of the window's weight that lie ``before`` and ``after`` the sample. Tests compare them
    with :class:`~causalcnn.models.MelCondition` and with what :class:`causalcnn.speech.LogMel` makes of impulses.

    Attributes:
        name: the figure's name in the page's address.
        lookahead: how many frames of 10 ms later than with the sample's own hop its frame ends, 0 … 3.
        sample: the sample's number at 16,000 Hz, 480 … 959, so in the hops 3 … 5.
        controls: controls on display, any of ``lookahead, sample``; default: both.
        readouts: numbers on display, any of ``frame, lookahead, latency, declared, middle, after``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn_book.vocoder import ConditionExplorer
        >>> figure = ConditionExplorer(lookahead=2, sample=720)
        >>> figure.read()["frame"], figure.read()["latency"], round(figure.read()["after"], 3)
        (6, 399, 0.736)
        >>> int(figure.field.lookahead), figure.read()["declared"]
        (479, 479)
    """

    _module: ClassVar[str] = "vocoder/condition_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("condition").tag(sync=True)
    lookahead = traitlets.Int(0, min=0, max=3).tag(sync=True)
    sample = traitlets.Int(720, min=FIRST, max=LAST).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    alt = traitlets.Unicode(
        "A sound of 90 milliseconds with a chosen sample, and below it the windows of the frames as humps. The window "
        "of the frame beside the sample is filled, in one colour before the sample and in another after it. Below, "
        "lines lead from each frame to the hop whose samples it stands beside."
    ).tag(sync=True)

    @property
    def field(self) -> Field:
        """Which samples the condition of a sample reads."""
        from causalcnn.models import MelCondition

        return MelCondition(self.lookahead).field
