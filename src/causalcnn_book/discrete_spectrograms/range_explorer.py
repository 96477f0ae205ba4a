"""The ranges figure: a bang, and what it does to the bins before and after it under three kinds of range."""

from __future__ import annotations

import math
from typing import ClassVar

from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["RangeExplorer"]

LENGTH, MOST_DB = 5, 60
WAYS = ("recording", "fixed", "running")
CONTROLS = {"way": "choice", "bang_db": "slider", "at": "slider"}
READOUTS = ("before", "distance", "after")
PLAIN = tuple(-40.0 + round(25 * math.sin(t / 9) * math.exp(-((t - 60) ** 2) / 3000), 1) for t in range(120))


class RangeExplorer(Explorer):
    """The loudest value of each frame, a bang in it, the range of its 256 bins, and the bin of each, before and after.

    Args:
        way: whose range: ``"recording"`` (minimum and maximum of it all), ``"fixed"`` or ``"running"``.
        bang_db: how loud the bang is, in dB, 0 … 60; it lasts 5 frames.
        at: its first frame, from 5.
        values: one value a frame, in dB.
        low_db: where the fixed range begins, with which the running one starts.
        high_db: where it ends.
        rise_db: of the running range, see :class:`causalcnn.speech.RunningBins`.
        fall_db_per_second: of the running range, too.
        controls: any of ``way, bang_db, at``; default: all.
        readouts: any of ``before, distance, after``.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.
    """

    _module: ClassVar[str] = "discrete_spectrograms/range_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("ranges").tag(sync=True)
    way = traitlets.Enum(WAYS, "recording").tag(sync=True)
    bang_db = traitlets.Int(40, min=0, max=MOST_DB).tag(sync=True)
    at = traitlets.Int(80, min=LENGTH).tag(sync=True)
    values = traitlets.List(traitlets.Float(), list(PLAIN)).tag(sync=True)
    low_db = traitlets.Float(-70.0).tag(sync=True)
    high_db = traitlets.Float(20.0).tag(sync=True)
    rise_db = traitlets.Float(6.0).tag(sync=True)
    fall_db_per_second = traitlets.Float(5.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    alt = traitlets.Unicode(
        "Above, a curve of decibels over time with a bang in it, and the range of the bins as a shaded strip. Below, "
        "the bins from 0 to 255: where the range is the whole recording's, those before the bang move down."
    ).tag(sync=True)
