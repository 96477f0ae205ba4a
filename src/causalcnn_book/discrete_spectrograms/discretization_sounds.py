"""A sentence from 2, 4, … 256 bins, as sound: what the figure of the bins plays.

    causalcnn experiment discretization-sounds --out book/measurements/discretization-sounds.json

Its range is that of ``discretization.json`` beside it. Each sound takes five seconds on one core, most of it to spread
bands over frequencies, so the sounds are kept. None is normalised: all have the same gain. Beside them stands how far
the spectrogram of each sound is from the sentence's, which counts what the bins lose and what the inversion loses.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn.speech import LogMel, UniformBins, griffin_lim, player, speech_mask, synthesize
from causalcnn.speech.playback import Player
from causalcnn_book.experiment import Experiment, Results, option

__all__ = ["GAIN", "SENTENCE", "SPEAKER", "DiscretizationSounds", "kept_sounds"]

SENTENCE, SPEAKER = "Eight bits are enough, and one is not.", 1203
GAIN = 0.8
"""Of all sounds, so that none of them clips."""
TITLES = ("80 bands, no bins", *(f"{2**bits} bins" for bits in range(1, 9)))


def kept_sounds(file: str | Path) -> tuple[Player, ...]:
    """Nine sounds: of the values as they are, then of 1 to 8 bits.

    Args:
        file: what this command wrote, for example ``"measurements/discretization-sounds.json"``.

    Raises:
        FileNotFoundError: it is not there.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {str(path)!r} (looked from {Path.cwd()}); "
            "causalcnn experiment discretization-sounds writes it"
        )
    kept = json.loads(path.read_text("utf8"))
    return tuple(
        Player(title, base64.b64decode(mp3), kept["seconds"]) for title, mp3 in zip(TITLES, kept["mp3"], strict=True)
    )


def _error_db(sound: Tensor, wanted: Tensor, floor_db: float) -> float:
    """How far the spectrogram of a sound is from the one that it was made of, in the frames that speak."""
    difference = LogMel()(sound[None])[0].clamp(min=floor_db) - wanted.clamp(min=floor_db)
    return float(difference[:, speech_mask(wanted)].double().square().mean().sqrt())


@dataclass
class DiscretizationSounds(Experiment):
    """A sentence from 2, 4, … 256 bins, as sound: what the figure of the bins plays."""

    name = "discretization-sounds"
    spread = "none: sounds are not averaged"
    rows = tuple(TITLES)

    ranges: Path = option(Path("book/measurements/discretization.json"), "the table whose range is used")

    @cached_property
    def bins(self) -> UniformBins:
        """Those of 8 bits."""
        found = json.loads(self.ranges.read_text("utf8"))["range"]
        return UniformBins(found["low_db"], found["high_db"])

    def settings(self, row: str, seed: int) -> dict[str, Any]:
        """The range, wherever it comes from."""
        return {"low_db": self.bins.low_db, "high_db": self.bins.high_db}

    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """One sound, its length, and how far its spectrogram is from the sentence's."""
        features = LogMel()(synthesize(SENTENCE, speaker=SPEAKER).tensor())[0]
        bits = TITLES.index(row)
        coarse = self.bins.coarser(bits) if bits else None
        sound = griffin_lim(coarse.decode(coarse.encode(features)) if coarse else features)
        played = player(sound * GAIN)
        return {
            "mp3": base64.b64encode(played.mp3).decode("ascii"),
            "seconds": played.seconds,
            "rms_error_db": round(_error_db(torch.from_numpy(sound), features, self.bins.low_db), 3),
        }

    def table(self, results: Results) -> dict[str, Any]:
        """The sounds, from none to 8 bits."""
        sounds = [found[0] for found in results.values()]
        return {
            "sentence": SENTENCE,
            "speaker": SPEAKER,
            "range": [self.bins.low_db, self.bins.high_db],
            "gain": GAIN,
            "seconds": sounds[0]["seconds"],
            "rms_error_db": [sound["rms_error_db"] for sound in sounds],
            "mp3": [sound["mp3"] for sound in sounds],
        }
