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
    """The loudest value of each frame, a bang in it, and the bin of each value, with the bang and without it.

    The reader moves a bang of 5 frames through a recording, turns its loudness, and chooses what decides about the
    range of the 256 bins: the whole recording, a fixed range, or one that runs along. Bins that the bang moves before
    it has been heard have the alarm colour.

    :meth:`read` gives how many bins ``before`` the bang move, by how many places the one that moves ``furthest``, and
    how many ``after`` it. Tests compare them with :class:`causalcnn.speech.MinMaxBins`,
    :class:`causalcnn.speech.UniformBins` and :class:`causalcnn.speech.RunningBins`.

    Attributes:
        name: the figure's name in the page's address.
        way: what decides about the range: ``"recording"`` (minimum and maximum of it all), ``"fixed"`` or
            ``"running"``.
        bang_db: how loud the bang is, in dB, 0 … 60.
        at: its first frame, from 5.
        values: one value a frame, in dB.
        low_db: where the fixed range begins, with which the running one starts, in dB.
        high_db: where the range ends, in dB.
        rise_db: by how many dB the running range rises a frame, see :class:`causalcnn.speech.RunningBins`.
        fall_db_per_second: by how many dB a second it falls.
        controls: controls on display, any of ``way, bang_db, at``; default: all.
        readouts: numbers on display, any of ``before, distance, after``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> import torch
        >>> from causalcnn.speech import MinMaxBins
        >>> from causalcnn_book.discrete_spectrograms import RangeExplorer
        >>> figure = RangeExplorer(way="recording", at=80, bang_db=40)
        >>> quiet = torch.tensor(figure.values)[None, None]
        >>> loud = quiet.clone()
        >>> loud[:, :, 80:85] = 40
        >>> bins = MinMaxBins(8)
        >>> figure.read()["before"], int((bins.encode(quiet)[0] != bins.encode(loud)[0])[:, :, :80].sum())
        (78, 78)
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
