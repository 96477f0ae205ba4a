"""A sentence from 2, 4, … 256 bins, as sound: what the figure of the bins plays.

    causalcnn experiment discretization-sounds --out book/measurements/discretization-sounds.json

Its range is that of ``discretization.json`` beside it. The sounds are kept, so that the chapter need not make them.
None is normalised: all have the same gain. Beside them stands how far the spectrogram of each sound is from the
sentence's, which counts what the bins lose and what the inversion loses.
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
from typing_extensions import override

from causalcnn.speech import LogMel, UniformBins, griffin_lim, player, speech_mask, synthesize
from causalcnn.speech.playback import Player
from causalcnn_book.experiment import Experiment, Results, option

__all__ = ["GAIN", "SENTENCE", "SPEAKER", "DiscretizationSounds", "kept_sounds"]

SENTENCE, SPEAKER = "Eight bits are enough, and one is not.", 1203
GAIN = 0.8
"""Of all sounds, so that none of them clips."""
TITLES = ("80 bands, no bins", *(f"{2**bits} bins" for bits in range(1, 9)))


def kept_sounds(file: str | Path) -> tuple[Player, ...]:
    """Read nine sounds: of the values as they are, then of 1 to 8 bits.

    Args:
        file: what this command wrote, for example ``"measurements/discretization-sounds.json"``.

    Returns:
        A player for each.

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
    """A sentence from 2, 4, … 256 bins, as sound: what the figure of the bins plays.

    Rows are nine sounds: of the 80 bands as they are, then of 1 … 8 bits. There is one seed and no spread: sounds are
    not averaged. Each takes about a second on one core.

    Attributes:
        name: the command's name.
        spread: why there is none.
        rows: the sounds.
        ranges: the table of ``causalcnn experiment discretization``, whose range is used.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from causalcnn_book.discrete_spectrograms.discretization_sounds import DiscretizationSounds
        >>> DiscretizationSounds.rows[:2]
        ('80 bands, no bins', '2 bins')
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "discretization.json"
        ...     _ = file.write_text(json.dumps({"range": {"low_db": -70.0, "high_db": 20.0}}))
        ...     sound = {"mp3": "", "seconds": 2.0, "rms_error_db": 14.2}
        ...     DiscretizationSounds(ranges=file).table({"2 bins": {0: sound}})["rms_error_db"]
        [14.2]
    """

    name = "discretization-sounds"
    spread = "none: sounds are not averaged"
    rows = tuple(TITLES)

    ranges: Path = option(Path("book/measurements/discretization.json"), "the table whose range is used")

    @cached_property
    def bins(self) -> UniformBins:
        """The bins of 8 bits, over the range of that table."""
        found = json.loads(self.ranges.read_text("utf8"))["range"]
        return UniformBins(found["low_db"], found["high_db"])

    @override
    def settings(self, row: str, seed: int) -> dict[str, Any]:
        return {"low_db": self.bins.low_db, "high_db": self.bins.high_db}

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Make one sound.

        Args:
            row: the sound's name, which says from how many bins it is.
            seed: without a meaning here.

        Returns:
            ``mp3`` as base64, its length in ``seconds``, and ``rms_error_db``, how far its spectrogram is from the
            sentence's, in dB.
        """
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

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """List the sounds, from none to 8 bits.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The ``sentence`` and its ``speaker``, the ``range`` in dB, the ``gain``, the length of the sounds in
            ``seconds``; and lists of ``rms_error_db`` and ``mp3``.
        """
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
