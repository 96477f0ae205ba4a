"""The memory figure: a spectrogram, and what the codes of a frame still tell of the frames before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["MemoryExplorer"]

FURTHEST = 18
SOURCES = ("codes", "untrained", "fixed")
CONTROLS = {"back": "slider", "source": "choice"}
READOUTS = ("error", "age", "read")


class MemoryExplorer(Explorer):
    """What was said; below it, column by column, what is told of it k frames later; and the error over k.

    The reader chooses how many frames later, and who tells: the trained codes, untrained ones, or a code that was made
    for remembering. It draws what ``causalcnn experiment memory`` measured; nothing is computed in the figure.

    :meth:`read` gives the ``error`` of the chosen frame and the ``half_width`` of its 95 % interval, both in
    thousandths of the variance, and ``read_by``: ``"top and bottom"``, ``"bottom only"`` or ``"none"``. Tests compare
    them with the measured table.

    Args:
        table: what the experiment wrote, for example ``"measurements/memory.json"``; ``memory-pictures.json`` lies
            beside it. Default: the traits alone, which draw empty pictures.
        **state: traits by their names, as for :class:`~causalcnn_book.Explorer`; they come before those of the table.

    Attributes:
        name: the figure's name in the page's address.
        back: how many frames later, 0 … 18.
        source: who tells: ``"codes"`` (trained), ``"untrained"``, or ``"fixed"``, a code made for remembering.
        frames: columns of the pictures, at least 1.
        bands: rows of the pictures, at least 1.
        truth: the picture of what was said, a letter for each cell.
        readings: source → its pictures, one for each ``back``.
        errors: source → the error for each ``back``, in thousandths of the variance.
        half_widths: source → half of the error's interval, in the same unit.
        top: frames that a top code reads, at least 1.
        bottom: frames that a bottom code reads, at least 1.
        controls: controls on display, any of ``back, source``; default: both.
        readouts: numbers on display, any of ``error, age, read``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Raises:
        FileNotFoundError: one of the two files is not there.
        TypeError: a keyword is not the name of a trait.
        ValueError: ``controls`` or ``readouts`` names one that the figure does not have.

    Example:
        >>> from causalcnn.models import CausalVQVAE2, VQVAE2Config
        >>> from causalcnn_book.what_codes_remember import MemoryExplorer
        >>> top_frames = int(CausalVQVAE2(VQVAE2Config.tiny()).top_field.axis("time").size)
        >>> [MemoryExplorer(back=back).read()["read_by"] for back in (top_frames - 1, top_frames)]
        ['top and bottom', 'bottom only']
    """

    _module: ClassVar[str] = "what_codes_remember/memory_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("memory").tag(sync=True)
    back = traitlets.Int(5, min=0, max=FURTHEST).tag(sync=True)
    source = traitlets.Enum(SOURCES, "codes").tag(sync=True)
    frames = traitlets.Int(60, min=1).tag(sync=True)
    bands = traitlets.Int(40, min=1).tag(sync=True)
    truth = traitlets.Unicode("A" * 2400).tag(sync=True)
    readings = traitlets.Dict(default_value={name: ["A" * 2400] * (FURTHEST + 1) for name in SOURCES}).tag(sync=True)
    errors = traitlets.Dict(default_value={name: [1000] * (FURTHEST + 1) for name in SOURCES}).tag(sync=True)
    half_widths = traitlets.Dict(default_value={name: [0] * (FURTHEST + 1) for name in SOURCES}).tag(sync=True)
    top = traitlets.Int(9, min=1).tag(sync=True)
    bottom = traitlets.Int(13, min=1).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    alt = traitlets.Unicode(
        "Two spectrograms, the second blurred: what was said, and what the codes of a frame some frames later tell of "
        "it. Below, the error of a frame over how far back it lies; it rises from the present to the left."
    ).tag(sync=True)

    def __init__(self, table: str | Path | None = None, **state: Any) -> None:
        super().__init__(**({} if table is None else _measured(Path(table))) | state)


def _measured(table: Path) -> dict[str, Any]:
    """The traits that a measured table and the pictures beside it give."""
    beside = table.with_name(f"{table.stem}-pictures.json")
    for file in (table, beside):
        if not file.is_file():
            raise FileNotFoundError(
                f"there is no {str(file)!r} (looked from {Path.cwd()}); causalcnn experiment memory writes both"
            )
    measured, drawn = (json.loads(file.read_text("utf8")) for file in (table, beside))
    start = measured["back"].index(0)
    lines = {
        key: {
            name: [round(1000 * (v or 0.0)) for v in measured["linear"][name][part][start : start + FURTHEST + 1]]
            for name in SOURCES
        }
        for key, part in (("errors", "mean"), ("half_widths", "half_interval"))
    }
    pictures = {key: drawn[key] for key in ("frames", "bands", "truth")}
    return pictures | {"readings": drawn["readings"]} | lines | measured["field"]
