"""A sentence from 2, 4, … 256 bins, as sound: what the figure of the bins plays.

    causalcnn experiment discretization-sounds book/measurements/discretization-sounds.json

Its range is that of ``discretization.json`` beside it. Each sound takes five seconds on one core, most of it to spread
bands over frequencies, so the sounds are kept. None is normalised: all have the same gain. Beside them stands how far
the spectrogram of each sound is from the sentence's, which counts what the bins lose and what the inversion loses.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from causalcnn._files import write_json
from causalcnn.speech import LogMel, UniformBins, griffin_lim, player, speech_mask, synthesize
from causalcnn.speech.playback import Player

__all__ = ["GAIN", "SENTENCE", "SPEAKER", "kept_sounds", "main"]

SENTENCE, SPEAKER = "Eight bits are enough, and one is not.", 1203
GAIN = 0.8
"""Of all sounds, so that none of them clips."""


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
    titles = ["80 bands, no bins", *(f"{2**bits} bins" for bits in range(1, 9))]
    return tuple(
        Player(title, base64.b64decode(mp3), kept["seconds"]) for title, mp3 in zip(titles, kept["mp3"], strict=True)
    )


def _error_db(sound: Tensor, wanted: Tensor, floor_db: float) -> float:
    """How far the spectrogram of a sound is from the one that it was made of, in the frames that speak."""
    difference = LogMel()(sound[None])[0].clamp(min=floor_db) - wanted.clamp(min=floor_db)
    return float(difference[:, speech_mask(wanted)].double().square().mean().sqrt())


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the sounds, and write them as JSON: whole, or not at all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("to", type=Path, help="the JSON file to write")
    asked = parser.parse_args(arguments)
    found = json.loads((asked.to.parent / "discretization.json").read_text("utf8"))["range"]
    bins = UniformBins(found["low_db"], found["high_db"])
    features = LogMel()(synthesize(SENTENCE, speaker=SPEAKER).tensor())[0]
    coarse = [bins.coarser(bits) for bits in range(1, 9)]
    values = [features, *(one.decode(one.encode(features)) for one in coarse)]
    made = [griffin_lim(value) for value in values]
    sounds = [player(sound * GAIN) for sound in made]
    wrong = [_error_db(torch.from_numpy(sound), features, bins.low_db) for sound in made]
    table = {
        "command": f"causalcnn experiment discretization-sounds book/measurements/{asked.to.name}",
        "device": f"CPU, {platform.machine()}, torch {torch.__version__.split('+')[0]}",
        "seeds": [0],
        "spread": "none: sounds are not averaged",
        "sentence": SENTENCE,
        "speaker": SPEAKER,
        "range": [bins.low_db, bins.high_db],
        "gain": GAIN,
        "seconds": sounds[0].seconds,
        "rms_error_db": [round(error, 3) for error in wrong],
        "mp3": [base64.b64encode(sound.mp3).decode("ascii") for sound in sounds],
    }
    write_json(asked.to, table)


if __name__ == "__main__":
    main()
