"""How much a value's two nearest neighbours tell about it, and what three distributions make of what is left.

Counted on embedded speech of the training speakers, priced on speakers who were never heard: the value given nothing,
its band, the value of the frame before, that of the band below, or both. Where both are known to an eighth of the
range, distributions are fitted to each of the 64 histograms: a Gaussian (with a spread of its own, or one for all), a
mixture of four, and a histogram.

    causalcnn experiment neighbors --out book/measurements/neighbors.json
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models import OutputDistribution, get_distribution
from causalcnn.models.distributions import NUM_BINS
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus, UniformBins
from causalcnn.training import minimize
from causalcnn_book.experiment import Experiment, Results, option, refuse_shared, summary

__all__ = ["Neighbors", "contexts", "fit_log_probs", "neighbor_values", "prices"]

FINE, COARSE = 32, 8
"""Parts of the range in which a neighbour is known, for the first table and for the second."""
PRIOR_COUNTS = 8.0
"""How many counts the distribution without the context is worth: a context seldom seen says little of its own."""
FITTED = ("gaussian", "gaussian-mixture-1", "gaussian-mixture-4", "logistic-mixture-4")
"""What is fitted to the contexts; the first has one spread for all of them."""


def neighbor_values(bins: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pick every value that has both neighbours, the value of the frame before it, and that of the band below it.

    Args:
        bins: ``(mels, time)``.

    Returns:
        The values, those before and those below, each ``((mels − 1) · (time − 1),)``.
    """
    return bins[1:, 1:].flatten(), bins[1:, :-1].flatten(), bins[:-1, 1:].flatten()


def contexts(bins: Tensor, parts: int = COARSE) -> Tensor:
    """Count histograms of bins, one for every part of the range before and, within it, below.

    Args:
        bins: 8-bit bins, ``(mels, time)``.
        parts: how many parts the range has, a power of two.

    Returns:
        ``(parts², 256)`` int64.

    Example:
        >>> import torch
        >>> from causalcnn_book.likelihood import contexts
        >>> counts = contexts(torch.full((80, 10), 200))  # all values are in the seventh eighth
        >>> counts.shape, int(counts[6 * 8 + 6, 200])
        (torch.Size([64, 256]), 711)
    """
    here, before, below = neighbor_values(bins)
    wide = 256 // parts
    context = (before // wide) * parts + below // wide
    return torch.bincount(context * NUM_BINS + here, minlength=parts**2 * NUM_BINS).view(-1, NUM_BINS)


def _smooth(counts: Tensor, prior: Tensor) -> Tensor:
    return (counts + PRIOR_COUNTS * prior) / (counts.sum(1, keepdim=True) + PRIOR_COUNTS)


def _named_contexts(bins: Tensor) -> dict[str, tuple[Tensor, int]]:
    """The context of every value and the number of contexts, by the name of what is known."""
    here, before, below = neighbor_values(bins)
    wide, eighth = 256 // FINE, 256 // COARSE
    return {
        "nothing": (torch.zeros_like(here), 1),
        "band": (torch.arange(bins.shape[0] - 1).repeat_interleave(bins.shape[1] - 1), bins.shape[0] - 1),
        "below": (below // wide, FINE),
        "before": (before // wide, FINE),
        "both": ((before // wide) * FINE + below // wide, FINE**2),
        "eighths": ((before // eighth) * COARSE + below // eighth, COARSE**2),
    }


def _tables(bins: Tensor) -> dict[str, Tensor]:
    here = neighbor_values(bins)[0]
    return {
        name: torch.bincount(context * NUM_BINS + here, minlength=size * NUM_BINS).view(-1, NUM_BINS).double()
        for name, (context, size) in _named_contexts(bins).items()
    }


def fit_log_probs(distribution: OutputDistribution, histograms: Tensor, shares: Tensor, *, steps: int = 600) -> Tensor:
    """Fit a distribution to each of some histograms, by gradient descent on its price.

    Args:
        distribution: its own parameters, if it has any, are learned too and shared by all histograms.
        histograms: shares of the 256 bins, ``(contexts, 256)``, each summing to one.
        shares: how frequent each context is, ``(contexts,)``.
        steps: steps of gradient descent.

    Returns:
        Log-probabilities ``(contexts, 256)``, in nats.
    """
    each = distribution.initial_bias().repeat(len(histograms), 1).requires_grad_()
    every = torch.arange(NUM_BINS).expand(len(histograms), -1)
    optimizer = torch.optim.Adam([each, *distribution.parameters()], lr=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    weights = (histograms * (shares[:, None] + 1e-4)).float()

    def price(step: int) -> Tensor:
        return -(weights * distribution.log_prob(each[:, None].expand(-1, NUM_BINS, -1), every)).sum()

    minimize(price, optimizer, steps, scheduler=scheduler)
    with torch.no_grad():
        return distribution.log_prob(each[:, None].expand(-1, NUM_BINS, -1), every).double()


@dataclass
class Neighbors(Experiment):
    """What a value's neighbors tell about it.

    There is one row and one seed: values of 40 speakers are counted, by themselves and beside the value before and the
    value below, and priced on 20 speakers who were never heard; these are the spread. Four distributions are fitted to
    the 64 histograms, 600 steps of gradient descent each; no network is trained. How long it takes is not on record.

    Attributes:
        name: the command's name.
        spread: half of the 95 % interval of the mean over the speakers.
        steps: steps of gradient descent, for each distribution.

    Example:
        >>> from causalcnn_book.likelihood.neighbors import Neighbors
        >>> table = Neighbors().table({"all": {0: {"given": {"nothing": 7.2, "both": 4.9}}}})
        >>> table["test"], table["given"]["nothing"]
        ("EmbeddedSpeech('test', speakers=20, seconds=240, seed=0)", 7.2)
    """

    name = "neighbors"
    spread = "half of the 95 % interval of the mean over the 20 speakers, Student's t"

    steps: int = option(600, "of gradient descent, each distribution")

    @cached_property
    def corpora(self) -> tuple[EmbeddedSpeech, EmbeddedSpeech]:
        """Speech to count on, and speech of other speakers to price."""
        return EmbeddedSpeech("train", speakers=40, seconds=480), EmbeddedSpeech("test", speakers=20, seconds=240)

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Count and price everything.

        Args:
            row: ``"all"``, the only one.
            seed: without a meaning here.

        Returns:
            What :func:`prices` gives.
        """
        return prices(*(FeatureCorpus.of(corpus) for corpus in self.corpora), steps=self.steps)

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write the prices, and what they were counted on.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            ``what``, ``train``, ``test``, and what :func:`prices` gives.
        """
        train, test = self.corpora
        return {
            "what": "bits for a value of embedded speech given its neighbours, on unheard speakers",
            "train": repr(train),
            "test": repr(test),
            **results["all"][0],
        }


def prices(train: FeatureCorpus, test: FeatureCorpus, *, steps: int = 600) -> dict[str, Any]:
    """Count on one corpus, price on the other.

    Args:
        train: what is counted, and what distributions are fitted to.
        test: what is priced; none of its speakers is in ``train``.
        steps: steps of gradient descent, for each distribution.

    Returns:
        ``bins``; ``given`` (bits a value by what is known) and ``distributions`` (bits a value by what was fitted),
        each with the mean over the speakers of ``test``, its interval and the values.

    Raises:
        ImportError: scipy is not installed.
        ValueError: a speaker is in both corpora.
    """
    refuse_shared(train, test)
    uniform_bins = UniformBins.fitted(train)
    tables = _tables(uniform_bins.encode(torch.cat(list(train), 1)))
    prior = (tables["nothing"][0] + 1) / (tables["nothing"].sum() + NUM_BINS)
    smooth = {name: _smooth(counts, prior) for name, counts in tables.items()}
    shares = tables["eighths"].sum(1) / tables["eighths"].sum()
    with torch.random.fork_rng(devices=[]):
        distributions = {
            name: fit_log_probs(get_distribution(name), smooth["eighths"], shares, steps=steps) for name in FITTED
        }
    distributions["histogram"] = smooth["eighths"].log()
    given: dict[str, list[float]] = {name: [] for name in tables}
    priced: dict[str, list[float]] = {name: [] for name in distributions}
    for speaker in test.speaker_names:
        bins = uniform_bins.encode(torch.cat(list(test.select_speakers(speaker)), 1))
        here, known = neighbor_values(bins)[0], _named_contexts(bins)
        for name, table in smooth.items():
            given[name].append(float(-table[known[name][0], here].log2().mean()))
        for name, logs in distributions.items():
            priced[name].append(float(-logs[known["eighths"][0], here].mean() / math.log(2)))
    return {
        "bins": {"low_db": uniform_bins.low_db, "high_db": uniform_bins.high_db, "step_db": uniform_bins.step_db},
        "given": {name: summary(bits, by="speaker") for name, bits in given.items()},
        "distributions": {name: summary(bits, by="speaker") for name, bits in priced.items()},
    }
