"""What do bins cost? Error in dB for 1 to 8 bits and three ranges, the bits that are needed, and the leak's size.

    causalcnn experiment discretization book/measurements/discretization.json

The fixed range, and how crowded the top bin of the running one may be, are learned from the embedded training
speakers; everything is measured on others. Errors are the root mean square over the frames that speak (those within
40 dB of the loudest of their recording), and values below the lower end of the fixed range count as that end, which
moves with a recording's gain. Nothing here was used to choose anything; the pace of the running range was chosen on
the embedded validation speakers.
"""

from __future__ import annotations

import argparse
import functools
import math
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn._files import write_json
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

__all__ = ["against_codes", "bang", "catching_up", "entropies", "error_db", "main", "measure", "ways"]

Way = Callable[[Tensor], Tensor]
BITS = range(1, 9)
GAINS_DB = (-40, -30, -20, -10, 0, 10, 20, 30, 40)
JUMPS_DB = (10, 20, 40)


def ways(corpus: FeatureCorpus, bits: int) -> dict[str, Way]:
    """The three ranges, each as a function from features ``(1, 80, time)`` to what comes back of them.

    Args:
        corpus: what the fixed and the running range are learned from. bits: of the bins.
    """
    running = RunningBins.fitted(corpus, bits)
    return {
        "fixed": functools.partial(_there_and_back, running.bins),
        "running": running,
        "minmax": MinMaxBins(bits),
    }


@torch.no_grad()
def error_db(way: Way, corpus: FeatureCorpus, floor_db: float, *, gain_db: float = 0.0, bands: int = 80) -> float:
    """The root mean squared error in dB over the frames that speak.

    Args:
        way: one of :func:`ways`. floor_db: values below it, after the gain, count as this much.
        gain_db: added to the recordings first; the floor moves with them. bands: so many of the lowest count.
    """
    squared, values, floor = 0.0, 0, floor_db + gain_db
    for clip in range(len(corpus)):
        x = corpus[clip].float()[None] + gain_db
        difference = (way(x).clamp(min=floor) - x.clamp(min=floor))[0, :bands, speech_mask(x)[0]].double()
        squared, values = squared + float(difference.square().sum()), values + difference.numel()
    return math.sqrt(squared / values)


def entropies(bins: UniformBins, corpus: FeatureCorpus, others: dict[str, FeatureCorpus]) -> dict[str, Any]:
    """Bits a value: what a coder that knows how often each level occurs in each band would send.

    Args:
        bins: how values become levels. corpus: where the frequencies are counted.
        others: sets that are then sent with these frequencies, each level counted once more than it occurred.
    """

    def counted(of: FeatureCorpus) -> Tensor:
        counts = torch.zeros(80, bins.num_bins, dtype=torch.float64)
        for clip in range(len(of)):
            levels = bins.encode(of[clip])
            counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.float64))
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
def bang(corpus: FeatureCorpus, bits: int = 8, *, above_db: float = 20.0, frames: int = 5) -> dict[str, Any]:
    """A bang in the last frames of each recording: how many levels before it become others, under each range?

    Args:
        corpus: whose clips get a bang. bits: of the bins.
        above_db: how loud it is, beyond the loudest value of its clip. frames: how long it is.
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
    """The error in dB of a codec's codes, and of bins, in the same frames and above the codec's floor.

    Args:
        model: the codec, in eval mode. corpus: what is coded. bins: with 3, 4 and 5 bits they are the rivals.
        bands: so many of the lowest count.
    """
    floor, ways = model.config.floor_db, {"codes": lambda x: to_1d(model(to_2d(x)))}
    for bits in (3, 4, 5):
        coarse = bins.coarser(bits)
        ways[f"{bits} bits"] = functools.partial(_there_and_back, coarse)
    return {name: round(error_db(way, corpus, floor, bands=bands), 3) for name, way in ways.items()}


def _there_and_back(bins: UniformBins, x: Tensor) -> Tensor:
    return bins.decode(bins.encode(x))


def catching_up(running: RunningBins, jump_db: float) -> int:
    """For how many frames a sound is cut off that begins ``jump_db`` above the range."""
    x = torch.full((1, 80, 200), float(running.bins.high_db + jump_db))
    return int(((running(x) - x).abs() > running.bins.step_db / 2 + 1e-3)[0, 0].sum())


def measure(train: FeatureCorpus, sets: dict[str, FeatureCorpus], model: CausalVQVAE2 | None = None) -> dict[str, Any]:
    """Every number of the table.

    Args:
        train: what ranges and frequencies are learned from. sets: what is measured. model: a codec to compare with.
    """
    bins = UniformBins.fitted(train)
    errors: dict[str, dict[str, list[float]]] = {name: {} for name in sets}
    for bits in BITS:
        for way, coder in ways(train, bits).items():
            for name, corpus in sets.items():
                bands = bands_below(EVALUATION_MAX_HZ[name])
                errors[name].setdefault(way, []).append(round(error_db(coder, corpus, bins.low_db, bands=bands), 3))
    gains: dict[str, dict[str, list[float]]] = {}
    for name in ("embedded", "prompts"):
        if name in sets:
            part = sets[name].part(60.0)
            gains[name] = {
                way: [round(error_db(coder, part, bins.low_db, gain_db=g), 3) for g in GAINS_DB]
                for way, coder in ways(train, 8).items()
            }
    running = RunningBins.fitted(train)
    return {
        "range": {"low_db": bins.low_db, "high_db": bins.high_db, "step_db": round(bins.step_db, 4)},
        "running": {
            "top_bin_limit": [RunningBins.fitted(train, bits).top_bin_limit for bits in BITS],
            "rise_db": running.rise_db,
            "fall_db_per_second": running.fall_db_per_second,
            "frames_cut_off": {str(jump): catching_up(running, jump) for jump in JUMPS_DB},
        },
        "bits": list(BITS),
        "rms_error_db": errors,
        "gains_db": list(GAINS_DB),
        "rms_error_db_at_gain": gains,
        "bits_a_value": {str(b): entropies(bins.coarser(b), train, sets) for b in BITS},
        "bang": {name: bang(corpus) for name, corpus in sets.items()},
        "against_codes": {}
        if model is None
        else {name: against_codes(model, of, bins, bands_below(EVALUATION_MAX_HZ[name])) for name, of in sets.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the table as JSON: whole, or not at all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("to", type=Path, help="the JSON file to write")
    parser.add_argument("--seconds", type=float, default=120, help="of each set that is measured")
    parser.add_argument("--training-seconds", type=float, default=1_200, help="of speech that the range is learned on")
    parser.add_argument(
        "--model", type=Path, default=Path("book/checkpoints/vqvae2-tiny"), help="codec to compare with"
    )
    asked = parser.parse_args(arguments)
    model, card = load_model(asked.model)
    source = EmbeddedSpeech("train", speakers=60, seconds=asked.training_seconds)
    sets = evaluation_sets(asked.seconds)
    table = {
        "command": f"causalcnn experiment discretization book/measurements/{asked.to.name}",
        "device": f"CPU, {platform.machine()}, torch {torch.__version__.split('+')[0]}",
        "learned_on": repr(source),
        "sets": {name: {"clips": len(of), "seconds": round(of.seconds)} for name, of in sets.items()},
        "seeds": [source.seed],
        "spread": "none: nothing here is drawn, and one range is learned once",
        "codec": {"sha256": card["sha256"], "bits_per_second": model.bits_per_second},
        **measure(FeatureCorpus.of(source), sets, model.eval()),
    }
    write_json(asked.to, table)


if __name__ == "__main__":
    main()
