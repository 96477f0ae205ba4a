"""The error figure: one spectrogram, damaged in several ways that are equally wrong, by eye and by ear."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book.autoencoders.distortions import FLOOR_DB, FOUR, KINDS, distorted, strength
from causalcnn_book.autoencoders.frame_bins import as_bins, rounded
from causalcnn_book.autoencoders.masking import masked_error_db
from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["ErrorExplorer"]

CONTROLS = {"sound": "sound", "kind": "choice", "error": "slider"}
READOUTS = ("error", "masked", "strength", "largest")
ERRORS = (1.0, 2.0, 4.0, 6.0)
MOST_FRAMES = 400


class ErrorExplorer(Explorer):
    """A spectrogram, damaged in several ways that are equally wrong: what it looks like, where the error is, its sound.

    The reader chooses the damage and the error, the root of the mean square over all cells, in dB. Made by :meth:`of`
    from a recording; without one it shows a drawn spectrogram, in silence.

    :meth:`read` gives the ``error_db``, counted by the figure over all cells; the ``largest_db`` of a cell; the
    ``strength`` of the damage in its own unit; and the ``masked_db``, what louder neighbors leave of the error. Tests
    compare them with :func:`~causalcnn_book.autoencoders.distorted` and
    :func:`~causalcnn_book.autoencoders.masked_error_db`.

    Args:
        **state: traits by their names, as for :class:`~causalcnn_book.Explorer`.

    Attributes:
        name: the figure's name in the page's address.
        kind: ``"none"``, or one of :data:`~causalcnn_book.autoencoders.KINDS` that the figure has.
        error: the error in dB, one of ``errors``.
        errors: the errors that can be chosen, in dB.
        cells: the spectrogram, frame by frame from the lowest band, in half dB above −70, as base64.
        strengths: for each kind of damage, for each of ``errors``, its strength.
        masked_db: the same for the masked error, in dB.
        sounds: the same for the sounds, each an MP3 as base64, and under ``"none"`` the undamaged one; none: no player.
        seconds: how long each of the sounds is, in seconds.
        controls: controls on display, any of ``sound, kind, error``; default: all.
        readouts: numbers on display, any of ``error, masked, strength, largest``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn_book.autoencoders import ErrorExplorer
        >>> figures = [ErrorExplorer(kind=kind, error=4.0).read() for kind in ("pauses", "formants", "higher")]
        >>> [round(figure["error_db"], 6) for figure in figures]
        [4.0, 4.0, 4.0]
    """

    _module: ClassVar[str] = "autoencoders/error_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("error").tag(sync=True)
    kind = traitlets.Enum(("none", *KINDS), "pauses").tag(sync=True)
    error = traitlets.Float(4.0).tag(sync=True)
    errors = traitlets.List(traitlets.Float(), list(ERRORS)).tag(sync=True)
    cells = traitlets.Unicode("").tag(sync=True)
    strengths = traitlets.Dict(default_value={}).tag(sync=True)
    masked_db = traitlets.Dict(default_value={}).tag(sync=True)
    sounds = traitlets.Dict(default_value={}).tag(sync=True)
    seconds = traitlets.Float(0.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["kind", "error"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Two pictures over time and frequency: a spectrogram that is damaged in the chosen way, and below it, brighter "
        "where it is larger, the error of each of its cells."
    ).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        if "cells" not in state:
            state = _measured(_drawn(), state.get("errors", ERRORS), FOUR) | state
        super().__init__(**state)

    @classmethod
    def of(
        cls,
        samples: ArrayLike,
        *,
        errors: Sequence[float] = ERRORS,
        kinds: Sequence[str] = FOUR,
        sounds: bool = True,
        **state: Any,
    ) -> ErrorExplorer:
        """Make the figure of a recording.

        Args:
            samples: at 16,000 Hz in −1 … 1, at most 4 s, ``(samples,)``.
            errors: the errors that can be chosen, in dB, from the smallest to the largest.
            kinds: the kinds of damage, of :data:`~causalcnn_book.autoencoders.KINDS`.
            sounds: whether it can be heard, which needs the extra ``speech``: a sound for each kind and error. All but
                ``"quieter"`` have the level of the undamaged one.
            **state: traits of the figure, which come before those that are computed.

        Returns:
            The figure, with a player where ``sounds`` are wanted.

        Raises:
            ValueError: a recording of another shape, too short or too long; a kind that there is not, or an error that
                it cannot make.
        """
        from causalcnn.speech import player
        from causalcnn_book.autoencoders.equal_error import level_of, log_mel, sound_of

        samples = np.asarray(samples, np.float64)
        if samples.ndim != 1 or not 10 <= len(samples) // 160 <= MOST_FRAMES:
            raise ValueError(
                f"the samples have the shape {samples.shape}; it must be one recording of 0.1 to 4 s, (samples,)"
            )
        frames = rounded(log_mel(samples))
        computed = _measured(frames, errors, kinds)
        if sounds:

            def mp3(sound: NDArray[np.float32]) -> str:
                return base64.b64encode(player(sound).mp3).decode("ascii")

            plain = sound_of(frames)
            heard = {
                kind: [mp3(sound_of(distorted(frames, kind, each), level_of(kind, plain))) for each in found]
                for kind, found in computed["strengths"].items()
            }
            computed |= {"sounds": {"none": [mp3(plain)], **heard}, "seconds": frames.shape[1] / 100}
        computed["controls"] = [name for name in CONTROLS if sounds or name != "sound"]
        return cls(**computed | state)


def _measured(frames: NDArray[np.float64], errors: Sequence[float], kinds: Sequence[str]) -> dict[str, Any]:
    """The traits of a figure of rounded frames, but for its sounds."""
    strengths = {kind: [strength(frames, kind, error) for error in errors] for kind in kinds}
    masked = {
        kind: [round(masked_error_db(frames, distorted(frames, kind, each)), 4) for each in found]
        for kind, found in strengths.items()
    }
    return {"cells": as_bins(frames), "strengths": strengths, "masked_db": masked, "errors": [float(e) for e in errors]}


def _drawn() -> NDArray[np.float64]:
    """Something like speech: two vowels that glide, on the harmonics of a voice, with a pause between them."""
    t, band = np.arange(90)[None] / 90, np.arange(80)[:, None]
    voiced = np.clip(np.minimum(np.minimum(t - 0.05, 0.97 - t), np.abs(t - 0.5) - 0.07) * 25, 0, 1)
    tracks = ((14, 9, 5), (44, -16, 6), (57, 5, 6))
    shape = sum(np.exp(-(((band - a - b * t * t) / w) ** 2)) for a, b, w in tracks)
    harmonics = 0.75 + 0.25 * np.cos(2 * math.pi * band / (5 + 0.6 * np.sin(5 * t)))
    return rounded(FLOOR_DB + 8 + 55 * voiced * shape * harmonics - 6 * np.cos(band / 6 + 9 * t) ** 2)
