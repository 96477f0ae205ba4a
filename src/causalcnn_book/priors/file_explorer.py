"""The figure of a file that grows: what a sentence costs by several models, frame by frame, while it plays."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["FileExplorer"]

CONTROLS = {"sound": "sound", "model": "slider", "frame": "slider", "play": "buttons"}
READOUTS = ("frame", "total", "code", "final", "rate", "file")
MOST_FRAMES = 3_000


class FileExplorer(Explorer):
    """A sentence as codes, and what they cost while it plays: by several models, and in the file that is written.

    The sound drives the figure, and the figure the sound. The first model is the yardstick, as 9 bits a code is. Made
    by :meth:`of` from the bits of each frame; without them, it shows made-up ones.

    :meth:`read` gives, after the present frame: ``models``, of each its ``bits`` so far and its ``final`` bits; of the
    chosen one ``frame_bits``, ``bits_per_code``, its ``share`` of the yardstick's, ``bytes``, and in the end
    ``final_bytes`` and ``kbit_per_second``; of the file the bytes ``written`` and its ``file_bytes``. Tests compare
    them with sums of numpy.

    Args:
        **state: traits by their names, as for :class:`~causalcnn_book.Explorer`.

    Attributes:
        name: the figure's name in the page's address.
        frame: the last frame that has come, from 0.
        model: whose cost of each frame is drawn, from 0 in the order of ``bits``; default: the last.
        bits: for each model the bits of each frame, the yardstick first.
        num_cells: codes of a frame.
        blocks: of each part of the file after how many frames it is written, and how many bytes it has; none: no file.
        cells: the spectrogram, frame by frame from the lowest band, 0 … 255, as base64; none: no picture.
        sound: an MP3 as base64; none: no player.
        title: what the sound is.
        seconds: how long the sound is, in seconds.
        controls: controls on display, any of ``sound, model, frame, play``; default: those that have something to do.
        readouts: numbers on display, any of ``frame, total, code, final, rate, file``; default: all that there are.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn_book.priors import FileExplorer
        >>> figure = FileExplorer.of({"9 bits a code": [270, 270, 270], "half": [135, 135, 135]}, frame=1)
        >>> figure.read()["bytes"], figure.read()["share"], figure.read()["final_bytes"]
        (34, 0.5, 51)
    """

    _module: ClassVar[str] = "priors/file_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("file").tag(sync=True)
    frame = traitlets.Int(0, min=0).tag(sync=True)
    model = traitlets.Int(0, min=0).tag(sync=True)
    bits = traitlets.Dict(default_value={}).tag(sync=True)
    num_cells = traitlets.Int(30, min=1).tag(sync=True)
    blocks = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    cells = traitlets.Unicode("").tag(sync=True)
    sound = traitlets.Unicode("").tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    seconds = traitlets.Float(0.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["frame", "model"]).tag(sync=True)
    alt = traitlets.Unicode(
        "A bar for each model, as long as the bytes that it has spent so far. Below, over time: these bytes as lines, "
        "and as bars the bits of each frame by the chosen model. A vertical line is where the sound is."
    ).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        if "bits" not in state:
            state = _drawn() | state
        bits = state["bits"]
        lengths = {len(each) for each in bits.values()}
        if not bits or len(lengths) != 1 or not 0 < max(lengths) <= MOST_FRAMES:
            raise ValueError(
                f"bits must be those of at least one model, of 1 to {MOST_FRAMES:,} frames, as many for each; they are "
                f"{ {name: len(each) for name, each in bits.items()} }"
            )
        usual = {
            "model": len(bits) - 1,
            "frame": 6 * max(lengths) // 10,
            "controls": ["sound", "model", "frame"] if state.get("sound") else ["model", "frame", "play"],
            "readouts": [key for key in READOUTS if key != "file" or state.get("blocks")],
        }
        super().__init__(**usual | state)

    @classmethod
    def of(
        cls,
        bits: Mapping[str, ArrayLike],
        *,
        num_cells: int = 30,
        file: bytes | None = None,
        samples: ArrayLike | None = None,
        title: str = "The sentence",
        **state: Any,
    ) -> FileExplorer:
        """Make the figure of what the codes of a recording cost.

        Args:
            bits: for each model what it pays, in bits, for each code, ``(frames, cells)``, or for each frame,
                ``(frames,)``. The first is the yardstick.
            num_cells: codes of a frame.
            file: the bytes of a ``.ccn`` file of these codes, as :func:`causalcnn.codec.pack_codes` makes them; it
                grows block by block.
            samples: what is heard, of as many frames, at 16,000 Hz in −1 … 1, ``(samples,)``; with a picture of it. It
                needs the extra ``speech``.
            title: what the sound is.
            **state: traits of the figure, which come before those that are computed.

        Returns:
            The figure, with a player where there are ``samples``.

        Raises:
            ValueError: bits of other shapes, not finite or below 0; a file that is not whole or of another length; a
                sound of another length.
            ImportError: the extra ``speech`` is not installed.
        """
        found: dict[str, list[float]] = {}
        for name, each in bits.items():
            values = np.asarray(each, np.float64)
            if values.ndim not in (1, 2) or not np.isfinite(values).all() or (values < 0).any():
                raise ValueError(
                    f"bits of {name!r} {values.shape} must be finite, not below 0, (frames,) or (frames, cells)"
                )
            found[name] = (values.sum(1) if values.ndim == 2 else values).round(2).tolist()
        computed: dict[str, Any] = {"bits": found, "num_cells": num_cells, "title": title}
        frames = len(next(iter(found.values()), []))
        if file is not None:
            computed["blocks"] = _blocks(file, frames)
        if samples is not None:
            computed |= _heard(np.asarray(samples, np.float64), frames)
        return cls(**computed | state)


def _blocks(file: bytes, frames: int) -> list[list[int]]:
    """After how many frames each part of a file is written, and its bytes; the header comes first."""
    from causalcnn.codec.container import HEADER_BYTES, Header, find_blocks

    header = Header.unpack(file)
    blocks = [] if header is None else list(find_blocks(file, HEADER_BYTES, header.seed))
    parts, after = [[0, HEADER_BYTES]], 0
    for block in blocks:
        after += block.frames
        parts.append([after, block.size])
    if after != frames or sum(size for _, size in parts) != len(file):
        raise ValueError(f"the file has {after} frames in whole blocks; it must be whole, and of {frames} frames")
    return parts


def _heard(samples: NDArray[np.float64], frames: int) -> dict[str, Any]:
    """The traits of a sound."""
    from causalcnn.speech import HOP_SAMPLES, player
    from causalcnn_book.autoencoders.distortions import FLOOR_DB
    from causalcnn_book.autoencoders.equal_error import log_mel

    if samples.ndim != 1 or frames not in (len(samples) // HOP_SAMPLES, -(-len(samples) // HOP_SAMPLES)):
        raise ValueError(
            f"samples have the shape {samples.shape}; {frames} frames are ({frames * HOP_SAMPLES},), or less"
        )
    picture = log_mel(np.pad(samples, (0, -len(samples) % HOP_SAMPLES)))[:, :frames]
    levels = np.round(255 * (picture - FLOOR_DB) / max(float(picture.max()) - FLOOR_DB, 1.0)).astype(np.uint8)
    return {
        "cells": base64.b64encode(np.ascontiguousarray(levels.T).tobytes()).decode("ascii"),
        "sound": base64.b64encode(player(samples.astype(np.float32)).mp3).decode("ascii"),
        "seconds": len(samples) / 16_000,
    }


def _drawn() -> dict[str, Any]:
    """Made-up prices: of sounds that begin every now and then, and are known the better the longer they last."""
    t = np.arange(250)
    since = np.minimum.reduce([np.where(t >= start, t - start, 999) for start in (0, 30, 75, 90, 140, 185, 230)])
    usual, neighbor, prior = 225 + 20 * np.sin(t / 9), 120 + 110 * np.exp(-since / 5), 95 + 120 * np.exp(-since / 4)
    models = {"9 bits a code": 270 + 0 * t, "unigram": usual, "one neighbor": neighbor, "prior": prior}
    sizes = [-(-int(prior[first : first + 100].sum()) // 8) + 15 for first in range(0, 250, 100)]
    return {
        "bits": {name: np.round(each, 2).tolist() for name, each in models.items()},
        "blocks": [[0, 37], *([min(100 * (i + 1), 250), size] for i, size in enumerate(sizes))],
    }
