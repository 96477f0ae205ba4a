"""What do bins cost? Error in dB for 1 to 8 bits and three ranges, the bits that are needed, and the leak's size.

    causalcnn experiment discretization --out book/measurements/discretization.json

The fixed range, and how crowded the top bin of the running one may be, are learned from the embedded training
speakers; everything is measured on others. Errors are the root mean square over the frames that speak (those within
40 dB of the loudest of their recording), and values below the lower end of the fixed range count as that end, which
moves with a recording's gain. Nothing here was used to choose anything; the pace of the running range was chosen on
the embedded validation speakers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models import CausalVQVAE2, load_model
from causalcnn.speech import (
    EVALUATION_MAX_HZ,
    EmbeddedSpeech,
    FeatureCorpus,
    MinMaxBins,
    RunningBins,
    UniformBins,
    bands_below,
    evaluation_sets,
    speech_mask,
    to_1d,
    to_2d,
)
from causalcnn_book.experiment import Experiment, Results, option

__all__ = ["Discretization", "against_codes", "coders", "entropies", "error_db", "frames_cut_off", "moved_by_a_bang"]

Coder = Callable[[Tensor], Tensor]
BITS = range(1, 9)
GAINS_DB = (-40, -30, -20, -10, 0, 10, 20, 30, 40)
JUMPS_DB = (10, 20, 40)


def coders(corpus: FeatureCorpus, bits: int) -> dict[str, Coder]:
    """Make the three ranges, each as a function from features ``(1, 80, time)`` to what comes back of them.

    Args:
        corpus: the speech that the fixed and the running range are learned from.
        bits: there are ``2**bits`` bins.

    Returns:
        ``"fixed"``, ``"running"`` and ``"minmax"`` → the function; both sides in dB.
    """
    running = RunningBins.fitted(corpus, bits)
    return {
        "fixed": functools.partial(_there_and_back, running.bins),
        "running": running,
        "minmax": MinMaxBins(bits),
    }


@torch.no_grad()
def error_db(coder: Coder, corpus: FeatureCorpus, floor_db: float, *, gain_db: float = 0.0, bands: int = 80) -> float:
    """Measure the root mean squared error over the frames that speak.

    Args:
        coder: one of :func:`coders`.
        corpus: the speech that is coded.
        floor_db: values below it, after the gain, count as this much, in dB.
        gain_db: added to the recordings first, in dB; the floor moves with them.
        bands: how many of the lowest mel bands count.

    Returns:
        The error in dB.
    """
    squared, values, floor = 0.0, 0, floor_db + gain_db
    for clip in range(len(corpus)):
        x = corpus[clip].float()[None] + gain_db
        difference = (coder(x).clamp(min=floor) - x.clamp(min=floor))[0, :bands, speech_mask(x)[0]].double()
        squared, values = squared + float(difference.square().sum()), values + difference.numel()
    return math.sqrt(squared / values)


def entropies(bins: UniformBins, corpus: FeatureCorpus, others: dict[str, FeatureCorpus]) -> dict[str, Any]:
    """Count bits a value: what a coder that knows how often each bin occurs in each band would send.

    Args:
        bins: how values become bin indices.
        corpus: the speech in which the frequencies are counted.
        others: sets that are then sent with these frequencies, each bin counted once more than it occurred.

    Returns:
        Bits a value, of ``corpus`` with ``"one histogram"`` and with a ``"histogram of each band"``; of each of the
        others ``"sent with these"``, and ``"with their own"``.
    """

    def counted(of: FeatureCorpus) -> Tensor:
        counts = torch.zeros(80, bins.num_bins, dtype=torch.float64)
        for clip in range(len(of)):
            indices = bins.encode(of[clip])
            counts.scatter_add_(1, indices, torch.ones_like(indices, dtype=torch.float64))
        return counts

    counts = counted(corpus)
    share = counts / counts.sum(1, keepdim=True)
    all_bands = counts.sum(0) / counts.sum()
    code = -((counts + 1) / (counts + 1).sum(1, keepdim=True)).log2()
    sent, own = {}, {}
    for name, of in others.items():
        found, bands = counted(of), bands_below(EVALUATION_MAX_HZ[name])
        sent[name] = round(float((found * code)[:bands].sum() / found[:bands].sum()), 3)
        theirs = found[:bands] / found[:bands].sum(1, keepdim=True)
        own[name] = round(float(torch.special.entr(theirs).sum(1).mean() / math.log(2)), 3)
    return {
        "one histogram": round(float(torch.special.entr(all_bands).sum() / math.log(2)), 3),
        "histogram of each band": round(float(torch.special.entr(share).sum(1).mean() / math.log(2)), 3),
        "sent with these": sent,
        "with their own": own,
    }


@torch.no_grad()
def moved_by_a_bang(corpus: FeatureCorpus, bits: int = 8, *, above_db: float = 20.0, frames: int = 5) -> dict[str, Any]:
    """Put a bang into the last frames of each recording: how many bins before it become others, under each range?

    Args:
        corpus: the speech whose clips get a bang.
        bits: there are ``2**bits`` bins.
        above_db: how loud it is, in dB beyond the loudest value of its clip.
        frames: how long it is.

    Returns:
        ``"minmax"``, ``"fixed"`` and ``"running"`` → ``share_moved``, of the values before the bang, and
        ``mean_distance``, in bins.
    """
    running = RunningBins.fitted(corpus, bits)
    coders: dict[str, Callable[[Tensor], Tensor]] = {
        "minmax": lambda x: MinMaxBins(bits).encode(x)[0],
        "fixed": running.bins.encode,
        "running": running.encode,
    }
    found = {}
    for name, encode in coders.items():
        moved, distance, values = 0, 0.0, 0
        for clip in range(len(corpus)):
            quiet = corpus[clip].float()[None]
            loud = quiet.clone()
            loud[:, :, -frames:] = quiet.max() + above_db
            difference = (encode(quiet) - encode(loud))[:, :, :-frames].abs()
            moved, values = moved + int((difference > 0).sum()), values + difference.numel()
            distance += float(difference.sum())
        found[name] = {"share_moved": round(moved / values, 4), "mean_distance": round(distance / values, 3)}
    return found


def against_codes(model: CausalVQVAE2, corpus: FeatureCorpus, bins: UniformBins, bands: int = 80) -> dict[str, float]:
    """Compare the error of a codec's codes with that of bins, in the same frames and above the codec's floor.

    Args:
        model: the codec, in eval mode.
        corpus: the speech that is coded.
        bins: the rivals; they are coarsened to 3, 4 and 5 bits.
        bands: how many of the lowest mel bands count.

    Returns:
        ``"codes"`` and ``"3 bits"`` … ``"5 bits"`` → the root mean squared error in dB.
    """
    coders_: dict[str, Coder] = {"codes": lambda x: to_1d(model(to_2d(x)))}
    for bits in (3, 4, 5):
        coarse = bins.coarser(bits)
        coders_[f"{bits} bits"] = functools.partial(_there_and_back, coarse)
    floor = model.config.floor_db
    return {name: round(error_db(coder, corpus, floor, bands=bands), 3) for name, coder in coders_.items()}


def _there_and_back(bins: UniformBins, x: Tensor) -> Tensor:
    return bins.decode(bins.encode(x))


def frames_cut_off(running: RunningBins, jump_db: float) -> int:
    """Count for how many frames a sound is cut off that begins above the range.

    Args:
        running: the range that follows it.
        jump_db: how far above the range it begins, in dB.

    Returns:
        How many frames come back wrong by more than half a bin.
    """
    x = torch.full((1, 80, 200), float(running.bins.high_db + jump_db))
    return int(((running(x) - x).abs() > running.bins.step_db / 2 + 1e-3)[0, 0].sum())


@dataclass
class Discretization(Experiment):
    """What do bins cost? Error in dB for 1 to 8 bits and three ranges, the bits that are needed, the leak's size.

    Rows are the parts of the table: errors at 1 … 8 bits; at 8 bits and gains from −40 to 40 dB; bits a value; what a
    bang moves; and bins beside a codec's codes, all for every set of speech that is on this machine. There is one seed
    and no spread: nothing is drawn, and one range is learned once. No network is trained. How long it takes is not on
    record.

    Attributes:
        name: the command's name.
        spread: why there is none.
        rows: the parts of the table.
        seconds: seconds of each set that is measured.
        training_seconds: seconds of the speech that the range is learned on.
        model: the checkpoint of the codec to compare with.

    Example:
        >>> from causalcnn.speech import RunningBins, UniformBins
        >>> from causalcnn_book.discrete_spectrograms.discretization import Discretization, frames_cut_off
        >>> Discretization.rows
        ('rms_error_db', 'rms_error_db_at_gain', 'bits_a_value', 'bang', 'against_codes')
        >>> frames_cut_off(RunningBins(UniformBins(-73.4, 16.6)), 20)  # it rises by 6 dB a frame
        4
    """

    name = "discretization"
    spread = "none: nothing here is drawn, and one range is learned once"
    rows = ("rms_error_db", "rms_error_db_at_gain", "bits_a_value", "bang", "against_codes")

    seconds: float = option(120.0, "of each set that is measured")
    training_seconds: float = option(1_200.0, "of speech that the range is learned on")
    model: Path = option(Path("book/checkpoints/vqvae2-tiny"), "codec to compare with")

    @cached_property
    def source(self) -> EmbeddedSpeech:
        """What ranges and frequencies are learned from."""
        return EmbeddedSpeech("train", speakers=60, seconds=self.training_seconds)

    @cached_property
    def train(self) -> FeatureCorpus:
        """Its features."""
        return FeatureCorpus.of(self.source)

    @cached_property
    def sets(self) -> dict[str, FeatureCorpus]:
        """What is measured, by name."""
        return evaluation_sets(self.seconds)

    @cached_property
    def codec(self) -> tuple[CausalVQVAE2, dict[str, Any]]:
        """A codec to compare with, and its card."""
        model, card = load_model(self.model)
        return model.eval(), card

    @override
    def settings(self, row: str, seed: int) -> dict[str, Any]:
        return super().settings(row, seed) | {"sha256": self.codec[1]["sha256"]}

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Measure one part of the table.

        Args:
            row: the part's name.
            seed: without a meaning here.

        Returns:
            Errors in dB, set → range → one for each number of bits, or for each gain; for each number of bits what
            :func:`entropies` gives; for each set what :func:`moved_by_a_bang` or :func:`against_codes` gives.
        """
        bins = UniformBins.fitted(self.train)
        if row == "rms_error_db":
            return self._errors(bins.low_db)
        if row == "rms_error_db_at_gain":
            return self._errors_at_gain(bins.low_db)
        if row == "bits_a_value":
            return {str(bits): entropies(bins.coarser(bits), self.train, self.sets) for bits in BITS}
        if row == "bang":
            return {name: moved_by_a_bang(corpus) for name, corpus in self.sets.items()}
        return {
            name: against_codes(self.codec[0], corpus, bins, bands_below(EVALUATION_MAX_HZ[name]))
            for name, corpus in self.sets.items()
        }

    def _errors(self, low_db: float) -> dict[str, dict[str, list[float]]]:
        errors: dict[str, dict[str, list[float]]] = {name: {} for name in self.sets}
        for bits in BITS:
            for way, coder in coders(self.train, bits).items():
                for name, corpus in self.sets.items():
                    error = error_db(coder, corpus, low_db, bands=bands_below(EVALUATION_MAX_HZ[name]))
                    errors[name].setdefault(way, []).append(round(error, 3))
        return errors

    def _errors_at_gain(self, low_db: float) -> dict[str, dict[str, list[float]]]:
        parts = {name: self.sets[name].subset(60.0) for name in ("embedded", "prompts") if name in self.sets}
        return {
            name: {
                way: [round(error_db(coder, part, low_db, gain_db=gain), 3) for gain in GAINS_DB]
                for way, coder in coders(self.train, 8).items()
            }
            for name, part in parts.items()
        }

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write what was learned, and every part.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The sets, the codec, the fixed ``range`` and the ``running`` one, the axes ``bits`` and ``gains_db``, and
            the parts by their names.
        """
        bins, running = UniformBins.fitted(self.train), RunningBins.fitted(self.train)
        model, card = self.codec
        return {
            "learned_on": repr(self.source),
            "sets": {name: {"clips": len(of), "seconds": round(of.seconds)} for name, of in self.sets.items()},
            "codec": {"sha256": card["sha256"], "bits_per_second": model.bits_per_second},
            "range": {"low_db": bins.low_db, "high_db": bins.high_db, "step_db": round(bins.step_db, 4)},
            "running": {
                "top_bin_limit": [RunningBins.fitted(self.train, bits).top_bin_limit for bits in BITS],
                "rise_db": running.rise_db,
                "fall_db_per_second": running.fall_db_per_second,
                "frames_cut_off": {str(jump): frames_cut_off(running, jump) for jump in JUMPS_DB},
            },
            "bits": list(BITS),
            "gains_db": list(GAINS_DB),
            **{row: found[0] for row, found in results.items()},
        }
