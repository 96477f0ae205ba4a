"""The codebook explorer: points on a plane, codewords with their cells, and the running means that move them."""

from __future__ import annotations

from typing import ClassVar

from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["CodebookExplorer"]

NUM_POINTS, LAST, MOST = 60, 100, 12
CONTROLS = {
    "steps": "slider",
    "codes": "slider",
    "decay": "slider",
    "start": "choice",
    "restart": "switch",
    "play": "buttons",
}
READOUTS = ("error", "used", "perplexity")


class CodebookExplorer(Explorer):
    """A codebook of two dimensions at work: drag codewords or points, let time run, watch codewords die and restart.

    The picture is a function of its setting: the same start, decay and data give the same codebook after so many steps.
    What is dragged makes the present codebook the start of a new run.

    :meth:`read` gives the ``points`` and their ``variance``; the ``codebooks`` of every step, each as ``count``,
    ``sum``, ``fresh`` (which codewords it restarted) and ``restarts`` (so far); and of the last one ``codewords``,
    ``wins`` (points of each), ``error`` (mean squared distance), ``used``, ``perplexity``, ``bits`` and ``restarts``.
    Tests compare every step with :class:`causalcnn.nn.VectorQuantizer`.

    Attributes:
        name: the figure's name in the page's address.
        codes: how many codewords there are, 2 … 12.
        decay: kept of count and sum in a step, 20 … 99 %.
        restart: whether codewords of hardly any use start again at a point.
        start: ``"corner"`` (all of them crowded there), ``"points"`` of the data, or ``"kmeans"`` from there.
        steps: how many steps the running means have made, 0 … 100, each over all points.
        chosen: the codeword, counted from 0, that the keys move; numbers after them are points.
        placed: codewords where a reader has put them, as text.
        moved: points where a reader has put them, as text.
        controls: controls on display, any of ``steps, codes, decay, start, restart, play``; default: all.
        readouts: numbers on display, any of ``error, used, perplexity``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> import torch
        >>> from causalcnn.nn import VectorQuantizer
        >>> from causalcnn_book.vector_quantisation import CodebookExplorer
        >>> found = CodebookExplorer(codes=8, steps=20).read()
        >>> points, codewords = torch.tensor(found["points"]), torch.tensor(found["codewords"])
        >>> quantizer = VectorQuantizer(8, 2).eval()
        >>> _ = quantizer.sum.copy_(codewords), quantizer.count.fill_(1), quantizer.started.fill_(True)
        >>> found["used"], len(quantizer.quantize(points.T[None]).indices.unique())
        (3, 3)
    """

    _module: ClassVar[str] = "vector_quantisation/codebook_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("codebook").tag(sync=True)
    codes = traitlets.Int(8, min=2, max=MOST).tag(sync=True)
    decay = traitlets.Int(80, min=20, max=99).tag(sync=True)
    restart = traitlets.Bool(False).tag(sync=True)
    start = traitlets.Enum(("corner", "points", "kmeans"), "corner").tag(sync=True)
    steps = traitlets.Int(20, min=0, max=LAST).tag(sync=True)
    chosen = traitlets.Int(0, min=0, max=MOST + NUM_POINTS - 1).tag(sync=True)
    placed = traitlets.Unicode("").tag(sync=True)
    moved = traitlets.Unicode("").tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(
        traitlets.Unicode(), ["codes", "decay", "restart", "start", "steps", "chosen", "placed", "moved"]
    ).tag(sync=True)
    alt = traitlets.Unicode(
        "Sixty points in five clusters on a plane, and numbered codewords among them. Lines divide the plane into "
        "the cells of the codewords; each point is joined to its codeword. Codewords that win no point "
        "are hollow. Bars show how many points each codeword wins."
    ).tag(sync=True)
