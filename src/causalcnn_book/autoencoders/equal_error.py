"""The same squared error, and utterly different sounds: what does a decibel of error cost the ear?

    causalcnn experiment equal-error --out book/measurements/equal-error.json

The error is that of the log-mel spectrogram in dB, the loss of the book's autoencoders, so that equal error is equal
loss. (A waveform's error says other things: half a millisecond of delay, which nobody hears, is as bad for it as noise
as loud as the speech.) Every sound is made by Griffin–Lim of its spectrogram, also the undamaged one; so what differs
between two of them is the damage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from typing_extensions import override

from causalcnn._extras import require
from causalcnn.models import CausalVQVAE2, load_model
from causalcnn.speech import (
    EVALUATION_MAX_HZ,
    HOP_SAMPLES,
    RATE_HZ,
    LogMel,
    SampleCorpus,
    evaluation_sounds,
    griffin_lim,
)
from causalcnn_book.autoencoders.distortions import FLOOR_DB, FOUR, KINDS, distorted, error_db, strength
from causalcnn_book.autoencoders.masking import masked_error_db
from causalcnn_book.experiment import Experiment, Results, option

__all__ = [
    "AS_IT_IS",
    "EqualError",
    "clips",
    "level_of",
    "log_mel",
    "quartiles",
    "sound_of",
    "stoi",
    "unheard",
    "versions",
]

AS_IT_IS, CODEC = "as it is", "codec"
LONGEST_SECONDS, SHORTEST_SECONDS = 4, 2
"""Longer clips are cut, shorter ones left out: of a word alone the measure of what is understood says nothing."""
SPEAKERS = 8
"""Embedded test speakers."""

Array = NDArray[np.float64]


def versions(
    samples: ArrayLike, error_db: float = 4.0, *, kinds: Sequence[str] = FOUR
) -> dict[str, NDArray[np.float32]]:
    """Make sounds that are equally far from a recording, in the loss of an autoencoder, and not to the ear.

    Args:
        samples: the recording at 16,000 Hz, ``(samples,)``.
        error_db: the error of each spectrogram, root of the mean square, in dB.
        kinds: kinds of damage, see :data:`~causalcnn_book.autoencoders.KINDS`.

    Returns:
        ``"as it is"``, the undamaged spectrogram as a sound, and each kind → its sound, ``(samples,)`` in −1 … 1; hops
        that are not whole are left out. All have the level of the undamaged one, so that louder is not taken for
        better or worse; only ``"quieter"`` is quieter.

    Raises:
        ValueError: another kind, or an error that it cannot make.
        ImportError: the extra ``speech`` is not installed.

    Example:
        >>> import numpy as np
        >>> from causalcnn_book.autoencoders import versions
        >>> noise = np.random.default_rng(0).normal(0, 0.1, 8_000)
        >>> {name: len(sound) for name, sound in versions(noise, kinds=["later"]).items()}
        {'as it is': 8000, 'later': 8000}
    """
    frames = log_mel(samples)
    plain = sound_of(frames)
    damaged = {kind: distorted(frames, kind, strength(frames, kind, error_db)) for kind in kinds}
    return {AS_IT_IS: plain} | {kind: sound_of(each, like=level_of(kind, plain)) for kind, each in damaged.items()}


def log_mel(samples: ArrayLike) -> Array:
    """Compute the spectrogram of a recording, as the book's autoencoders see it.

    Args:
        samples: the recording at 16,000 Hz, ``(samples,)``.

    Returns:
        Log-mel in dB, at least −70, ``(80, frames)``.
    """
    features = LogMel()(torch.as_tensor(np.asarray(samples, np.float64))[None])[0]
    return np.maximum(features.numpy(), FLOOR_DB)


def sound_of(frames: Array, like: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Make a sound of a spectrogram, by Griffin–Lim from a fixed start.

    Args:
        frames: log-mel in dB, ``(80, frames)``.
        like: a sound whose level it gets, ``(samples,)``; default: the level of the spectrogram.

    Returns:
        Samples in −1 … 1, ``(160 · frames,)``.
    """
    sound = griffin_lim(frames)
    if like is not None:
        sound *= math.sqrt(np.square(like).mean() / np.square(sound).mean())
    return np.clip(sound, -1, 1)


def level_of(kind: str, plain: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Say whose level the sound of a damage gets: that of the undamaged one, unless the level is the damage.

    Args:
        kind: the kind of damage.
        plain: the undamaged sound, ``(samples,)``.

    Returns:
        ``plain``, or None.
    """
    return None if kind == "quieter" else plain


def stoi(original: ArrayLike, found: ArrayLike) -> float:
    """Measure how much of a recording is understood in a sound.

    Args:
        original: the recording, ``(samples,)``.
        found: the sound, of as many samples, ``(samples,)``.

    Returns:
        From 0 to 1.

    Raises:
        ImportError: pystoi is missing; the extra ``dev`` brings it.

    Source:
        Taal et al., An algorithm for intelligibility prediction of time–frequency weighted noisy speech, 2011,
        doi 10.1109/TASL.2011.2114881.
    """
    return float(require("pystoi", extra="dev").stoi(np.asarray(original), np.asarray(found), RATE_HZ))


def clips(corpus: SampleCorpus) -> list[Tensor]:
    """Cut the sounds of a corpus into pieces of 2 to 4 s; what is shorter is left out.

    Args:
        corpus: the sounds.

    Returns:
        Samples of whole hops, each ``(samples,)``.
    """
    pieces = [piece for x in corpus for piece in x.split(LONGEST_SECONDS * RATE_HZ)]
    return [x[: len(x) // HOP_SAMPLES * HOP_SAMPLES] for x in pieces if len(x) >= SHORTEST_SECONDS * RATE_HZ]


def unheard(seconds: float, level_db: float) -> dict[str, SampleCorpus]:
    """Collect the voices that are damaged: embedded and real, none of them in the models' training.

    Args:
        seconds: about so many of each set.
        level_db: the level of the models' training speech, in dB.

    Returns:
        The sounds by set, without those that were recorded with 8,000 samples a second.
    """
    sets = evaluation_sounds(seconds, speakers=SPEAKERS, level_db=level_db)
    return {name: corpus for name, corpus in sets.items() if EVALUATION_MAX_HZ[name] >= RATE_HZ / 2 and clips(corpus)}


def quartiles(values: Sequence[float]) -> dict[str, Any]:
    """Sum up measurements.

    Args:
        values: one or more.

    Returns:
        Their ``median`` and ``quartiles``, the lower and the upper.
    """
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"median": round(float(middle), 4), "quartiles": [round(float(low), 4), round(float(high), 4)]}


@dataclass
class EqualError(Experiment):
    """How different do sounds become whose spectrograms are equally wrong?

    Rows are the kinds of damage, each at two errors; the undamaged spectrogram, which shows what the inversion costs;
    and the shipped VQ-VAE-2, at the error that it makes. It takes about three minutes, most of them for Griffin–Lim.

    Attributes:
        name: the command's name.
        spread: that over the clips.
        rows: the kinds of damage, and what they are compared with.
        model: the VQ-VAE-2.
        smaller_db: the smaller error.
        larger_db: the larger one.
        clip_seconds: about how many seconds of each set are used.

    Example:
        >>> from causalcnn_book.autoencoders.equal_error import EqualError
        >>> EqualError().errors_of("later"), EqualError().errors_of("codec")
        ((2.0, 6.0), (None,))
    """

    name = "equal-error"
    spread = "median and quartiles over the clips of a set"
    rows = (AS_IT_IS, CODEC, *KINDS)

    model: str = option("book/checkpoints/vqvae2-tiny", "the path of the trained VQ-VAE-2")
    smaller_db: float = option(2.0, "the smaller error, in dB")
    larger_db: float = option(6.0, "the larger error, in dB")
    clip_seconds: float = option(30.0, "of each set, in whole clips")

    @cached_property
    def _made(self) -> dict[bytes, NDArray[np.float32]]:
        return {}

    @cached_property
    def codec(self) -> tuple[CausalVQVAE2, float]:
        """The trained VQ-VAE-2, and the level of its training speech, in dB."""
        model, card = load_model(Path(self.model))
        return model, float(card["corpus"]["level_db"])

    @cached_property
    def sets(self) -> dict[str, SampleCorpus]:
        """The sounds by set, at the level of the training speech."""
        return unheard(self.clip_seconds, self.codec[1])

    def errors_of(self, row: str) -> tuple[float | None, ...]:
        """List the errors that are made of a row.

        Args:
            row: one of :attr:`rows`.

        Returns:
            Errors in dB; None where the row has its own.
        """
        return (self.smaller_db, self.larger_db) if row in KINDS else (None,)

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Damage all clips in one way, and measure what is left.

        Args:
            row: one of :attr:`rows`.
            seed: without a meaning here; the noise is a hash of the cells.

        Returns:
            Set → error wanted (``"own"`` for the row's own) → measure → a number for each clip: ``error_db``,
            ``masked_db``, ``stoi`` of the sound against the recording, ``level_db`` by which the damage alone makes it
            louder than the undamaged one, the ``peak`` of the sound as it is heard, and for kinds of damage their
            ``strength``.
        """
        found: dict[str, Any] = {}
        for name, corpus in self.sets.items():
            found[name] = {}
            for wanted in self.errors_of(row):
                of_clips = [self._clip(row, samples, wanted) for samples in clips(corpus)]
                found[name]["own" if wanted is None else str(wanted)] = {
                    key: [round(clip[key], 6) for clip in of_clips] for key in of_clips[0]
                }
        return found

    def _clip(self, row: str, samples: Tensor, wanted_db: float | None) -> dict[str, float]:
        frames, extra = log_mel(samples), {}
        damaged = frames
        if row == CODEC:
            damaged = np.maximum(self._coded(frames), FLOOR_DB)
        elif wanted_db is not None:
            extra["strength"] = strength(frames, row, wanted_db)
            damaged = distorted(frames, row, extra["strength"])
        plain = self._plain(frames)
        raw = plain if damaged is frames else griffin_lim(damaged)
        level_db = 10 * math.log10(np.square(raw).mean() / np.square(plain).mean())
        sound = raw if row == "quieter" else raw * 10 ** (-level_db / 20)
        return {
            "error_db": error_db(frames, damaged),
            "masked_db": masked_error_db(frames, damaged),
            "stoi": stoi(samples, np.clip(sound, -1, 1)),
            "level_db": level_db,
            "peak": float(np.abs(sound).max()),
            **extra,
        }

    def _plain(self, frames: Array) -> NDArray[np.float32]:
        """The undamaged sound, which is made once."""
        key = frames.tobytes()
        if key not in self._made:
            self._made[key] = griffin_lim(frames)
        return self._made[key]

    @torch.no_grad()
    def _coded(self, frames: Array) -> Array:
        x = torch.from_numpy(frames.T.copy()).float()[None, None]
        return self.codec[0](x)[0, 0].T.double().numpy()

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write medians and quartiles.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The ``sets``, the ``units`` of the strengths, and ``rows``: row → set → error → measure.
        """
        return {
            "error": "root of the mean squared error of log-mel, in dB, cells below −70 dB taken for −70 dB",
            "units": KINDS,
            "sets": {
                name: {"clips": len(clips(corpus)), "speakers": len(corpus.speaker_names)}
                for name, corpus in self.sets.items()
            },
            "rows": {
                row: {
                    name: {
                        error: {key: quartiles(values) for key, values in of.items()} for error, of in by_error.items()
                    }
                    for name, by_error in found[0].items()
                }
                for row, found in results.items()
            },
        }
