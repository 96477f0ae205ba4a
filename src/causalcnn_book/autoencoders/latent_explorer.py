"""The latent figure: a map of all that two numbers can say, to walk in, by eye and by ear."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from causalcnn_book.explorer import Explorer, traitlets

if TYPE_CHECKING:
    from causalcnn.speech import Utterance
    from causalcnn_book.autoencoders.frame_vae import FrameVAE
    from causalcnn_book.autoencoders.latent_map import LatentMap

__all__ = ["LatentExplorer"]

CONTROLS = {"sound": "buttons", "x": "slider", "y": "slider", "source": "choice", "pitch": "slider"}
READOUTS = ("around", "loudest", "voiced")
LOWEST_DB, FINE, EDGE = -100, 40, 3


class LatentExplorer(Explorer):
    """A map of all that two numbers can say, to walk in: what frame each place stands for, and how it sounds.

    Points are frames of speech, colored by the class of their phone; a line is the path of a sentence, which comes back
    as the spectrogram beside. The reader moves a point, by dragging, with arrow keys, sliders, or along the sentence
    (Page Up and Page Down), sees the frame that it stands for, and hears it: the page filters pulses or noise as the
    frame's linear prediction says. Made by :meth:`of` from a trained :class:`~causalcnn_book.autoencoders.FrameVAE`;
    without one it shows a drawn map.

    :meth:`read` gives the ``spectrum`` at the point in dB, its ``level_db`` and ``loudest_hz``; the ``weights`` and the
    ``size`` of the excitation of the filter; the share of the training frames around that are ``voiced``, and the class
    of most of the points ``around``. Tests compare them, and what is heard, with :attr:`latent_map`.

    Args:
        **state: traits by their names, as for :class:`~causalcnn_book.Explorer`.

    Attributes:
        name: the figure's name in the page's address.
        x: the first number, −3 … 3.
        y: the second one, −3 … 3.
        step: the frame of the sentence at which the point was last, from 0.
        pitch: pulses a second, 80 … 300 Hz.
        source: what is filtered: ``"voice"`` (pulses), ``"whisper"`` (noise), or ``"around"``: pulses where most of the
            training frames around are voiced.
        spectra: the frames of a grid of places, in half dB above −100, as base64.
        filters: their filters: 16 reflection coefficients and the error in dB, 16 bits each, as base64.
        voiced: the share that is voiced around each, as base64.
        points: frames of speech, both numbers and the class, as base64.
        path: both numbers of each frame of a sentence, as base64.
        controls: controls on display, any of ``sound, x, y, source, pitch``; default: all.
        readouts: numbers on display, any of ``around, loudest, voiced``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn_book.autoencoders import LatentExplorer
        >>> figure = LatentExplorer(x=1.5, y=-0.5)
        >>> bool(abs(figure.read()["spectrum"] - figure.latent_map.spectrum(1.5, -0.5)).max() < 1e-9)
        True
    """

    _module: ClassVar[str] = "autoencoders/latent_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("latent").tag(sync=True)
    x = traitlets.Float(0.0, min=-EDGE, max=EDGE).tag(sync=True)
    y = traitlets.Float(0.0, min=-EDGE, max=EDGE).tag(sync=True)
    step = traitlets.Int(0, min=0).tag(sync=True)
    pitch = traitlets.Int(120, min=80, max=300).tag(sync=True)
    source = traitlets.Enum(("around", "voice", "whisper"), "around").tag(sync=True)
    spectra = traitlets.Unicode("").tag(sync=True)
    filters = traitlets.Unicode("").tag(sync=True)
    voiced = traitlets.Unicode("").tag(sync=True)
    points = traitlets.Unicode("").tag(sync=True)
    path = traitlets.Unicode("").tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["x", "y", "step", "pitch", "source"]).tag(sync=True)
    alt = traitlets.Unicode(
        "A square map of two numbers with points for frames of speech, in one color for each class of phones, a line "
        "that is the path of a sentence, and a larger point that can be moved. Beside it the spectrum that the point "
        "stands for, and the spectrogram of the sentence as its path tells it."
    ).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        if "spectra" not in state:
            from causalcnn_book.autoencoders.latent_map import LatentMap

            state = self._carried(LatentMap.drawn()) | state
        super().__init__(**state)

    @classmethod
    def of(cls, vae: FrameVAE, speech: Sequence[Utterance], sentence: Utterance, **state: Any) -> LatentExplorer:
        """Make the figure of a trained VAE.

        Args:
            vae: a trained VAE.
            speech: what it was trained on, with phones.
            sentence: whose path is shown and heard, better of a voice that was not trained on.
            **state: traits of the figure, which come before those that are computed; by default the point stands where
                the sentence is loudest.

        Returns:
            The figure. It adds about 180 kB to a page: 70 of data, 24 of script, and its still pictures.

        Raises:
            ValueError: there are no frames.
        """
        from causalcnn_book.autoencoders.latent_map import LatentMap

        computed = cls._carried(LatentMap.of(vae, speech, sentence))
        return cls(**computed | state)

    @classmethod
    def _carried(cls, found: LatentMap) -> dict[str, Any]:
        """The traits of a figure that carries a map."""
        step = int(np.argmax([found.spectrum(*place).max() for place in found.path]))
        fine = _fine(found.path)
        filters = np.concatenate([32768 * found.reflections, 100 * found.error_db[..., None]], axis=2)
        points = np.concatenate([_fine(found.points[:, :2]), found.points[:, 2:]], axis=1)
        return {
            "x": _number(fine[step, 0]),
            "y": _number(fine[step, 1]),
            "step": step,
            "spectra": _base64(np.clip(2 * (found.spectra - LOWEST_DB), 0, 255).round(), np.uint8),
            "filters": _base64(np.clip(filters.round(), -32767, 32767), "<i2"),
            "voiced": _base64((255 * found.voiced).round(), np.uint8),
            "points": _base64(points, np.uint8),
            "path": _base64(fine, np.uint8),
        }

    @property
    def latent_map(self) -> LatentMap:
        """The map that the figure carries, rounded as it is there."""
        from causalcnn_book.autoencoders.latent_map import LatentMap

        n = LatentMap.PLACES
        filters = np.frombuffer(base64.b64decode(self.filters), "<i2").reshape(n, n, -1).astype(np.float64)
        points = _bytes(self.points).reshape(-1, 3)
        return LatentMap(
            _bytes(self.spectra).reshape(n, n, -1) / 2 + LOWEST_DB,
            filters[..., :-1] / 32768,
            filters[..., -1] / 100,
            _bytes(self.voiced).reshape(n, n) / 255,
            np.concatenate([_number(points[:, :2]), points[:, 2:]], axis=1),
            _number(_bytes(self.path)).reshape(-1, 2),
        )


def _fine(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers on the map as the steps in which the figure counts them."""
    return (FINE * (numbers + EDGE)).round()


def _number(fine: Any) -> Any:
    return (fine - EDGE * FINE) / FINE


def _base64(values: NDArray[np.float64], kind: Any) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def _bytes(text: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), np.uint8).astype(np.float64)
