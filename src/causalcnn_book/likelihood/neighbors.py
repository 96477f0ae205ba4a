"""How much a value's two nearest neighbours tell of it, and what three distributions make of what is left.

Counted on embedded speech of the training speakers, priced on speakers who were never heard: the value given nothing,
its band, the value of the frame before, that of the band below, or both. Where both are known to an eighth of the
range, distributions are fitted to each of the 64 histograms: a Gaussian (with a spread of its own, or one for all), a
mixture of four, and a histogram.

    causalcnn experiment neighbors --out book/measurements/neighbors.json
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn._files import write_json
from causalcnn.models import OutputDistribution, get_distribution
from causalcnn.models.distributions import LEVELS
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus, UniformBins

__all__ = ["contexts", "fitted", "main", "neighbours", "run"]

FINE, COARSE = 32, 8
"""Parts of the range in which a neighbour is told, for the first table and for the second."""
FAITH = 8.0
"""How many counts the distribution without the context is worth: a context seldom seen says little of its own."""
FITTED = ("gaussian", "gaussian-mixture-1", "gaussian-mixture-4", "logistic-mixture-4")
"""What is fitted to the contexts; the first has one spread for all of them."""


def neighbours(levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every value that has both neighbours, the value of the frame before it, and that of the band below it.

    Shape: ``(mels, time)`` → three times ``(mels − 1)·(time − 1)``
    """
    return levels[1:, 1:].flatten(), levels[1:, :-1].flatten(), levels[:-1, 1:].flatten()


def contexts(levels: Tensor, parts: int = COARSE) -> Tensor:
    """Histograms of levels, one for every part of the range before and, within it, below: ``(parts², 256)`` int64.

    Args:
        levels: 8-bit levels, ``(mels, time)``. parts: a power of two.
    """
    here, before, below = neighbours(levels)
    wide = 256 // parts
    context = (before // wide) * parts + below // wide
    return torch.bincount(context * LEVELS + here, minlength=parts**2 * LEVELS).view(-1, LEVELS)


def _smooth(counts: Tensor, prior: Tensor) -> Tensor:
    return (counts + FAITH * prior) / (counts.sum(1, keepdim=True) + FAITH)


def _given(levels: Tensor) -> dict[str, tuple[Tensor, int]]:
    """The context of every value and the number of contexts, by the name of what is told."""
    here, before, below = neighbours(levels)
    wide, eighth = 256 // FINE, 256 // COARSE
    return {
        "nothing": (torch.zeros_like(here), 1),
        "band": (torch.arange(levels.shape[0] - 1).repeat_interleave(levels.shape[1] - 1), levels.shape[0] - 1),
        "below": (below // wide, FINE),
        "before": (before // wide, FINE),
        "both": ((before // wide) * FINE + below // wide, FINE**2),
        "eighths": ((before // eighth) * COARSE + below // eighth, COARSE**2),
    }


def _tables(levels: Tensor) -> dict[str, Tensor]:
    here = neighbours(levels)[0]
    return {
        name: torch.bincount(context * LEVELS + here, minlength=size * LEVELS).view(-1, LEVELS).double()
        for name, (context, size) in _given(levels).items()
    }


def fitted(distribution: OutputDistribution, histograms: Tensor, shares: Tensor, *, steps: int = 600) -> Tensor:
    """The log-probabilities of a distribution fitted to each of some histograms, by gradient descent on its price.

    Args:
        distribution: its own parameters, if it has any, are learned too and shared by all histograms.
        histograms: of the 256 levels, ``(contexts, 256)``, each summing to one. shares: of the contexts.

    Shape: → ``(contexts, 256)``, in nats
    """
    each = distribution.initial_bias().repeat(len(histograms), 1).requires_grad_()
    every = torch.arange(LEVELS).expand(len(histograms), -1)
    optimiser = torch.optim.Adam([each, *distribution.parameters()], lr=0.05)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    weights = (histograms * (shares[:, None] + 1e-4)).float()
    for _ in range(steps):
        optimiser.zero_grad()
        (-(weights * distribution.log_prob(each[:, None].expand(-1, LEVELS, -1), every)).sum()).backward()
        optimiser.step()
        rate.step()
    with torch.no_grad():
        return distribution.log_prob(each[:, None].expand(-1, LEVELS, -1), every).double()


def run(train: FeatureCorpus, test: FeatureCorpus, *, steps: int = 600) -> dict[str, Any]:
    """Count on one corpus, price on the other.

    Args:
        steps: of gradient descent, for each distribution.

    Returns:
        ``bins``; ``given`` (bits by what is told) and ``distributions`` (bits by what was fitted), each with the mean
        over the speakers of ``test``, its interval and the values.

    Raises:
        ValueError: a speaker is in both corpora.
    """
    if shared := set(train.speaker_names) & set(test.speaker_names):
        raise ValueError(f"the speakers {sorted(shared)} are in both corpora; a test needs voices that are new")
    bins = UniformBins.fitted(train)
    tables = _tables(bins.encode(torch.cat(list(train), 1)))
    prior = (tables["nothing"][0] + 1) / (tables["nothing"].sum() + LEVELS)
    smooth = {name: _smooth(counts, prior) for name, counts in tables.items()}
    shares = tables["eighths"].sum(1) / tables["eighths"].sum()
    with torch.random.fork_rng(devices=[]):
        distributions = {
            name: fitted(get_distribution(name), smooth["eighths"], shares, steps=steps) for name in FITTED
        }
    distributions["histogram"] = smooth["eighths"].log()
    given: dict[str, list[float]] = {name: [] for name in tables}
    priced: dict[str, list[float]] = {name: [] for name in distributions}
    for speaker in test.speaker_names:
        levels = bins.encode(torch.cat(list(test.only(speaker)), 1))
        here, told = neighbours(levels)[0], _given(levels)
        for name, table in smooth.items():
            given[name].append(float(-table[told[name][0], here].log2().mean()))
        for name, logs in distributions.items():
            priced[name].append(float(-logs[told["eighths"][0], here].mean() / math.log(2)))
    return {
        "bins": {"low_db": bins.low_db, "high_db": bins.high_db, "step_db": bins.step_db},
        "given": {name: _over_speakers(bits) for name, bits in given.items()},
        "distributions": {name: _over_speakers(bits) for name, bits in priced.items()},
    }


def _over_speakers(values: Sequence[float]) -> dict[str, Any]:
    """Mean, half of its 95 % interval (normal), and the values."""
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    rounded = [round(value, 4) for value in values]
    return {"mean": round(statistics.mean(values), 4), "half_interval": round(half, 4), "by_speaker": rounded}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: measure and write."""
    parser = argparse.ArgumentParser(description="What a value's neighbours tell of it.")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = parser.parse_args(arguments)
    train, test = EmbeddedSpeech("train", speakers=40, seconds=480), EmbeddedSpeech("test", speakers=20, seconds=240)
    found = {
        "what": "bits for a value of embedded speech given its neighbours, on unheard speakers",
        "command": " ".join(["causalcnn experiment neighbors", *(arguments or sys.argv[1:])]),
        "device": f"CPU ({platform.machine()}), torch {torch.__version__}",
        "seeds": [0],
        "spread": "half of the 95 % interval of the mean over the 20 speakers",
        "train": repr(train),
        "test": repr(test),
        **run(FeatureCorpus.of(train), FeatureCorpus.of(test)),
    }
    write_json(given.out, found)
    for kind in ("given", "distributions"):
        print(kind, {name: row["mean"] for name, row in found[kind].items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
