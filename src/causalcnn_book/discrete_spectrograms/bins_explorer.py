"""The bins figure: a spectrogram as it is and in 2^b bins, one frame of it as 80 categories, and its sound."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from causalcnn_book.explorer import Explorer, traitlets

if TYPE_CHECKING:
    from torch import Tensor

    from causalcnn.speech import Player, UniformBins

__all__ = ["BinsExplorer"]

MELS, MOST_BITS = 80, 8
CONTROLS = {"sound": "sound", "bits": "slider", "frame": "slider"}
READOUTS = ("width", "error", "frame", "rate", "states")


class BinsExplorer(Explorer):
    """A spectrogram beside itself in 2, 4, … 256 bins, one of its frames as 80 categories, and how it sounds.

    The reader turns the bits of a value up and down, sees the spectrogram turn into a poster, chooses a frame, and
    hears the sentence from so many bins. Made by :meth:`of` from features and bins.

    :meth:`read` gives the number of ``bins``, their width ``step_db`` and the root mean squared ``error_db`` of what
    comes back, both in dB; the ``frame_bits`` of a frame and the ``rate`` in bits a second; and the ``states`` of a
    frame, as text. Tests compare them with :class:`causalcnn.speech.UniformBins`.

    Attributes:
        name: the figure's name in the page's address.
        bits: bits of a value, 1 … 8.
        frame: the frame that is drawn below, counted from 0.
        frames: how many there are, at least 1.
        indices: their bin indices of 8 bits, frame after frame from the low bands up, as base64.
        low_db: where the range of the bins begins, in dB.
        high_db: where the range ends, in dB.
        errors: for 1 … 8 bits, the root mean squared error in 1/100 dB.
        sounds: for 1 … 8 bits an MP3 as base64; none: no player.
        seconds: how long each of the sounds is, in seconds.
        controls: controls on display, any of ``sound, bits, frame``; default: all.
        readouts: numbers on display, any of ``width, error, frame, rate, states``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> import torch
        >>> from causalcnn.speech import UniformBins
        >>> from causalcnn_book.discrete_spectrograms import BinsExplorer
        >>> bins = UniformBins(-70.0, 20.0)
        >>> figure = BinsExplorer.of(torch.linspace(-70, 20, 80)[:, None].expand(80, 4), bins, bits=3)
        >>> figure.read()["step_db"], bins.coarser(3).step_db
        (11.25, 11.25)
    """

    _module: ClassVar[str] = "discrete_spectrograms/bins_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("bins").tag(sync=True)
    bits = traitlets.Int(3, min=1, max=MOST_BITS).tag(sync=True)
    frame = traitlets.Int(0, min=0).tag(sync=True)
    frames = traitlets.Int(4, min=1).tag(sync=True)
    indices = traitlets.Unicode(base64.b64encode(bytes(4 * MELS)).decode()).tag(sync=True)
    low_db = traitlets.Float(-70.0).tag(sync=True)
    high_db = traitlets.Float(20.0).tag(sync=True)
    errors = traitlets.List(traitlets.Int(), [0] * MOST_BITS).tag(sync=True)
    sounds = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    seconds = traitlets.Float(0.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["bits", "frame"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Two spectrograms, one as it is and one in few bins, like a poster. Below, one frame: a curve over the 80 "
        "bands, and for each band the bin that the curve is in, as a block."
    ).tag(sync=True)

    @classmethod
    def of(cls, features: Tensor, bins: UniformBins, sounds: Sequence[Player] = (), **state: Any) -> BinsExplorer:
        """Make the figure of a recording.

        Args:
            features: ``(80, frames)`` in dB.
            bins: bins of 8 bits.
            sounds: players for 1 … 8 bits, see :func:`causalcnn.speech.player`, or none.
            **state: traits of the figure, which come before those that are computed.

        Returns:
            The figure, without a player where there are no sounds.

        Raises:
            ValueError: bins or sounds that are not for 8 bits; features of another shape.
        """
        if bins.bits != MOST_BITS or len(sounds) not in (0, MOST_BITS):
            raise ValueError(f"bins have {bins.bits} bits, and there are {len(sounds)} sounds; both must be 8")
        if features.dim() != 2 or features.shape[0] != MELS:
            raise ValueError(f"the features have the shape {tuple(features.shape)}; it must be (80, frames)")
        errors = []
        for bits in range(1, MOST_BITS + 1):
            coarse = bins.coarser(bits)
            square = (coarse.decode(coarse.encode(features)) - features.clamp(bins.low_db, bins.high_db)).square()
            errors.append(round(100 * math.sqrt(float(square.double().mean()))))
        return cls(
            **{
                "frames": features.shape[1],
                "indices": base64.b64encode(bytes(bins.encode(features).T.flatten().tolist())).decode("ascii"),
                "low_db": bins.low_db,
                "high_db": bins.high_db,
                "errors": errors,
                "sounds": [base64.b64encode(sound.mp3).decode("ascii") for sound in sounds],
                "seconds": sounds[0].seconds if sounds else 0.0,
                "controls": [name for name in CONTROLS if sounds or name != "sound"],
            }
            | state
        )
