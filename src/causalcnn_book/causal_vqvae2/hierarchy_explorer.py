"""The hierarchy explorer: what one code of the causal VQ-VAE-2 reads, by itself and through the level above it."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book import palette
from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["HierarchyExplorer"]

MELS, FRAMES = 80, 84
LEVELS = ("top", "bottom", "output")
CONTROLS = {"level": "choice", "band": "slider", "frame": "slider", "blocks": "slider", "kernel": "choice"}
CONTROLS |= {"weights": "switch"}
READOUTS = ("past", "bands", "cells", "only", "ahead", "half")


class HierarchyExplorer(Explorer):
    """A spectrogram, and on it the values that one code of a :class:`~causalcnn.models.CausalVQVAE2` reads.

    The reader chooses a code by its frame and band, and the size of the model. A frame inside the patch shows what the
    code reads by itself; the rest it reads through the codes above it. A switch shows what trained weights do read.

    :meth:`read` gives what the code reads by itself (``direct``, None for a top code) and ``through`` the tops: frames
    ``back``, first and last of the ``bands``. ``tops`` and ``bottoms`` are the codes of the present frame on the way,
    first and last; ``past``, ``size`` (both in frames), ``bands`` and ``cells`` the extent of all together; ``only``
    the cells that only the tops reach. Tests compare them with the fields of the model and with its gradients.

    Args:
        mel: ``(80, frames)`` in dB, at most 100 frames; default: a drawn one.
        **state: traits by their names, as for :class:`~causalcnn_book.Explorer`.

    Attributes:
        name: the figure's name in the page's address.
        level: what reads: ``"top"``, ``"bottom"`` (a code) or ``"output"`` (a band of the reconstruction).
        band: 0 … 79; the code is the one that lies over it.
        frame: the frame of the code, counted from 0.
        blocks: residual blocks of each stack, 1 … 3.
        kernel: taps of every convolution, 3 or 5.
        weights: whether what the trained weights do read is shown, where ``influence`` says so.
        frames: columns of the spectrogram, 1 … 100; ``mel`` sets it.
        image: the spectrogram as the address of a PNG; ``mel`` sets it.
        influence: what :func:`~causalcnn_book.causal_vqvae2.influence` found.
        trained: blocks and kernel of the model that it was found on.
        controls: controls on display, any of ``level, band, frame, blocks, kernel, weights``; default: all.
        readouts: numbers on display, any of ``past, bands, cells, only, ahead, half``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Raises:
        TypeError: a keyword is not the name of a trait.
        ValueError: ``mel`` has another shape; ``controls`` or ``readouts`` names one that the figure does not have.

    Example:
        >>> from causalcnn.models import CausalVQVAE2, VQVAE2Config
        >>> from causalcnn_book.causal_vqvae2 import HierarchyExplorer
        >>> model = CausalVQVAE2(VQVAE2Config.tiny())
        >>> HierarchyExplorer(level="bottom").read()["past"], int(model.bottom_field.axis("time").past)
        (12, 12)
    """

    _module: ClassVar[str] = "causal_vqvae2/hierarchy_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("hierarchy").tag(sync=True)
    level = traitlets.Enum(LEVELS, "bottom").tag(sync=True)
    band = traitlets.Int(38, min=0, max=MELS - 1).tag(sync=True)
    frame = traitlets.Int(60, min=0, max=99).tag(sync=True)
    blocks = traitlets.Int(1, min=1, max=3).tag(sync=True)
    kernel = traitlets.Enum((3, 5), 3).tag(sync=True)
    weights = traitlets.Bool(False).tag(sync=True)
    frames = traitlets.Int(FRAMES, min=1, max=100).tag(sync=True)
    image = traitlets.Unicode("").tag(sync=True)
    influence = traitlets.Dict(default_value={}).tag(sync=True)
    trained = traitlets.List(traitlets.Int(), [1, 3]).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    alt = traitlets.Unicode(
        "A spectrogram over time, darkened but for the patch that the chosen code reads, which ends at the line of the "
        "present. Inside it a smaller frame is what the code reads by itself; the future is hatched. Beside it the "
        "codes of the frame as two columns."
    ).tag(sync=True)

    def __init__(self, mel: ArrayLike | None = None, **state: Any) -> None:
        if mel is not None or "image" not in state:
            picture = _drawn() if mel is None else _decibels(mel)
            state |= {"image": _png(picture), "frames": picture.shape[1]}
        state["frame"] = min(state.get("frame", 60), state["frames"] - 1)
        super().__init__(**state)


def _decibels(mel: ArrayLike) -> NDArray[np.float64]:
    if hasattr(mel, "detach"):
        mel = mel.detach().cpu().numpy()
    picture = np.asarray(mel, dtype=np.float64)
    if picture.ndim != 2 or picture.shape[0] != MELS or not 1 <= picture.shape[1] <= 100:
        raise ValueError(f"mel has the shape {picture.shape}; give (80, frames) in dB, with at most 100 frames")
    return picture


def _drawn() -> NDArray[np.float64]:
    """Something like speech: a hiss, then a vowel that glides into another one, on the harmonics of a voice."""
    t, band = np.arange(FRAMES)[None] / FRAMES, np.arange(MELS)[:, None]
    voiced = 1 / (1 + np.exp(-60 * (t - 0.24))) / (1 + np.exp(60 * (t - 0.9)))
    tracks = ((14, 9, 5), (44, -16, 5), (57, 3, 6))
    formants = sum(np.exp(-(((band - a - b * t * t) / w) ** 2)) for a, b, w in tracks)
    harmonics = 0.75 + 0.25 * np.cos(2 * math.pi * band / (5 + 0.6 * np.sin(5 * t)))
    hiss = np.exp(-(((band - 66) / 9) ** 2) - ((t - 0.14) / 0.07) ** 2)
    return -75 + 62 * np.clip(voiced * formants * harmonics + 0.8 * hiss, 0, 1) ** 0.7


def _png(picture: NDArray[np.float64]) -> str:
    """The spectrogram as a small PNG with the book's colours, high bands at the top, as an address."""
    colors = palette.energy(64)
    level = np.clip((picture - picture.max() + 75) / 75, 0, 1)
    rows = np.rint(level * 63).astype(np.uint8)[::-1]
    table = b"".join(bytes.fromhex(color[1:]) for color in colors)
    size = struct.pack(">IIBBBBB", picture.shape[1], MELS, 8, 3, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 9)
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", size), (b"PLTE", table), (b"IDAT", data), (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return "data:image/png;base64," + base64.b64encode(out).decode()
