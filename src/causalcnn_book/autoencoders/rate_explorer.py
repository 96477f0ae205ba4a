"""The rate figure: one sentence through models of several rates, by eye and by ear, and where they stand."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book.autoencoders.frame_bins import as_bins, from_bins
from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["RateExplorer"]

CONTROLS = {"sound": "sound", "family": "choice cc-across", "rate": "slider", "original": "switch"}
READOUTS = ("rate", "error", "sentence")
KEYS = ("family", "label", "rate", "error", "frames")


class RateExplorer(Explorer):
    """A sentence through models of several rates: what comes back, how it sounds, what it costs, and what error it has.

    The reader chooses a family of models and one of its rates, with a slider or in the plot. Made by :meth:`of` from
    what an experiment measured; without it it shows a drawn spectrogram through coarser and coarser bins, in silence.

    :meth:`read` gives the ``family``, the ``label``, the ``rate`` and the ``error_db`` of the chosen model as it was
    measured, and ``sentence_db``, the error of this sentence, which the figure counts over all cells.

    Args:
        **state: traits by their names, as for :class:`~causalcnn_book.Explorer`.

    Attributes:
        name: the figure's name in the page's address.
        family: one of the families of the ``models``.
        rate: the rate of the chosen model in bits a second; of others the nearest one is chosen.
        original: whether the sentence itself is shown and heard instead.
        models: the models, in each family the lowest rate first: ``family``, ``label``, ``rate`` in bits a second,
            ``error`` in dB, ``frames`` as :func:`~causalcnn_book.autoencoders.as_bins` writes them, and their sound
            ``mp3`` as base64, which may be empty.
        sentence: the frames of the sentence itself, in the same way.
        mp3: its sound, as base64; none: no player.
        seconds: how long each of the sounds is, in seconds.
        controls: controls on display, any of ``sound, family, rate, original``; default: all.
        readouts: numbers on display, any of ``rate, error, sentence``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn_book.autoencoders import RateExplorer
        >>> found = RateExplorer(rate=1000.0).read()
        >>> found["rate"], round(found["sentence_db"] - found["error_db"], 9)
        (8000, 0.0)
    """

    _module: ClassVar[str] = "autoencoders/rate_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("rate").tag(sync=True)
    family = traitlets.Unicode("").tag(sync=True)
    rate = traitlets.Float(2_000.0).tag(sync=True)
    original = traitlets.Bool(False).tag(sync=True)
    models = traitlets.List(traitlets.Dict(), minlen=1).tag(sync=True)
    sentence = traitlets.Unicode("").tag(sync=True)
    mp3 = traitlets.Unicode("").tag(sync=True)
    seconds = traitlets.Float(0.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["family", "rate", "original"]).tag(sync=True)
    alt = traitlets.Unicode(
        "The spectrogram of a sentence as the chosen model gives it back, and a plot of error against bits a second "
        "with a point for every model, joined in each family; the chosen one is larger."
    ).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        if "models" not in state:
            state = self._carried(*_drawn()) | {"controls": [name for name in CONTROLS if name != "sound"]} | state
        super().__init__(**state)

    @classmethod
    def of(
        cls, sentence: ArrayLike | str, models: Sequence[Mapping[str, Any]], *, sounds: bool = True, **state: Any
    ) -> RateExplorer:
        """Make the figure of what models give back of a sentence.

        Args:
            sentence: its frames: log-mel in dB, ``(80, frames)``, or as :func:`~causalcnn_book.autoencoders.as_bins`
                writes them.
            models: each with ``family``, ``label``, ``rate`` in bits a second, ``error`` in dB, and ``frames``, as the
                sentence's.
            sounds: whether it can be heard, which needs the extra ``speech``: Griffin–Lim makes a sound of each.
            **state: traits of the figure, which come before those that are computed.

        Returns:
            The figure. A second of the sentence weighs 17 kB for each model.

        Raises:
            ValueError: no models, one that lacks something or has no rate, or frames of another shape than those of
                the sentence.
        """
        computed = cls._carried(sentence, models)
        if sounds:
            frames = from_bins(computed["sentence"])
            computed |= {"mp3": _mp3(frames), "seconds": frames.shape[1] / 100}
            for model in computed["models"]:
                model["mp3"] = _mp3(from_bins(model["frames"]))
        computed["controls"] = [name for name in CONTROLS if sounds or name != "sound"]
        return cls(**computed | state)

    @classmethod
    def _carried(cls, sentence: ArrayLike | str, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The traits of a figure, but for its sounds."""
        whole = sentence if isinstance(sentence, str) else as_bins(sentence)
        carried = [_carried_model(model, len(whole)) for model in models]
        if not carried:
            raise ValueError("there are no models; give at least one")
        families = list(dict.fromkeys(model["family"] for model in carried))
        carried.sort(key=lambda model: (families.index(model["family"]), model["rate"]))
        return {"sentence": whole, "models": carried, "family": families[0]}


def _carried_model(model: Mapping[str, Any], characters: int) -> dict[str, Any]:
    missing = sorted(set(KEYS) - set(model))
    if missing:
        raise ValueError(f"a model has no {missing[0]!r}; each needs {', '.join(KEYS)}")
    carried = {key: model[key] for key in KEYS} | {"mp3": ""}
    if not isinstance(carried["frames"], str):
        carried["frames"] = as_bins(carried["frames"])
    if not carried["rate"] > 0:
        raise ValueError(f"{carried['family']}, {carried['label']} has the rate {carried['rate']}; it must be above 0")
    if len(carried["frames"]) != characters:
        raise ValueError(f"{carried['family']}, {carried['label']} has not as many frames as the sentence")
    return carried


def _mp3(frames: NDArray[np.float64]) -> str:
    from causalcnn.speech import player
    from causalcnn_book.autoencoders.equal_error import sound_of

    return base64.b64encode(player(sound_of(frames)).mp3).decode("ascii")


def _drawn() -> tuple[NDArray[np.float64], list[dict[str, Any]]]:
    """A spectrogram of two gliding resonances, in bins of equal width: what is rounded in all cells, or in some."""
    t, band = np.arange(100)[None] / 100, np.arange(80)[:, None]
    tracks = ((15, 10), (45, -18))
    sentence = -65 + 60 * np.sin(np.pi * t) * sum(np.exp(-(((band - a - b * t * t) / 7) ** 2)) for a, b in tracks)
    models = []
    for family, every in (("all bands", 1), ("every fourth", 4)):
        for bits in (1, 2, 3, 4):
            width = 64 / 2**bits
            frames = np.repeat(np.floor((sentence[::every] + 70) / width) * width - 70 + width / 2, every, axis=0)
            both = [from_bins(as_bins(each)) for each in (frames, sentence)]
            error = float(np.sqrt(np.square(both[0] - both[1]).mean()))
            models.append(
                {"family": family, "label": f"{bits} bit" + "s" * (bits > 1), "rate": 8_000 // every * bits,
                 "error": error, "frames": frames}
            )  # fmt: skip
    return sentence, models
