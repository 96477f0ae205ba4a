"""A codebook for single mel frames: how it collapses, what repairs it, and how many bits its codes need.

One quantiser replaces each log-mel frame of embedded speech by one of a few frames. It learns from batches of frames of
the training speakers; its error, its use and its perplexity are those on speakers whom it has never seen.

    causalcnn experiment collapse --out book/measurements/collapse.json
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.nn import VectorQuantizer
from causalcnn.speech import MELS, EmbeddedSpeech, FeatureCorpus
from causalcnn_book.experiment import OVER_SEEDS, Experiment, Results, by_seed, option, refuse_shared, summary

__all__ = ["FLOOR_DB", "ROWS", "VARIANTS", "Collapse", "frames_of_speech", "learn", "score"]

FLOOR_DB = -70.0
"""Nobody hears what lies below: it counts as this much, or silence would be most of the variance."""
FRAMES, STEPS, DECAY = 2_000, 100, 0.95
"""Frames of a batch, batches, and how much of its averages a codebook keeps in a step."""
ROWS = {
    f"{variant}_{size}": (variant, size)
    for variant, size in (
        ("kmeans_restart", 16),
        ("kmeans_restart", 64),
        *((name, 512) for name in ("random", "random_restart", "kmeans", "kmeans_restart")),
    )
}
"""Variant and size of the codebook of every row of the table."""


def frames_of_speech(corpus: FeatureCorpus) -> Tensor:
    """Join all frames of a corpus, nothing below ``FLOOR_DB``.

    Args:
        corpus: its clips are taken.

    Returns:
        ``(1, 80, frames)`` in dB.

    Example:
        >>> from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
        >>> from causalcnn_book.vector_quantisation import frames_of_speech
        >>> frames = frames_of_speech(FeatureCorpus.of(EmbeddedSpeech("test", speakers=1, seconds=2)))
        >>> frames.shape[:2], float(frames.min())
        (torch.Size([1, 80]), -70.0)
    """
    return torch.cat(list(corpus), 1)[None].clamp(min=FLOOR_DB)


def learn(quantizer: VectorQuantizer, x: Tensor, *, steps: int, seed: int = 0, frames: int = FRAMES) -> VectorQuantizer:
    """Let a quantiser follow random batches of frames; it comes back in ``eval()``.

    Args:
        quantizer: it is changed.
        x: ``(1, dim, time)``.
        steps: batches.
        seed: draws the batches.
        frames: frames of a batch.

    Returns:
        The same quantiser.

    Example:
        >>> import torch
        >>> from causalcnn.nn import VectorQuantizer
        >>> from causalcnn_book.vector_quantisation import learn, score
        >>> x = torch.tensor([[[-1.0, 1.0, 1.0, 1.0]]])  # two values: two codewords say them
        >>> round(score(learn(VectorQuantizer(2, 1), x, steps=3, frames=100), x)["used"])
        2
    """
    draw = torch.Generator().manual_seed(seed)
    quantizer.train()
    with torch.no_grad():
        for _ in range(steps):
            quantizer.quantize(x[:, :, torch.randint(x.shape[2], (frames,), generator=draw)])
    return quantizer.eval()


@torch.no_grad()
def score(quantizer: VectorQuantizer, x: Tensor) -> dict[str, float]:
    """Score a quantiser.

    Args:
        quantizer: it is put in ``eval()``.
        x: ``(1, dim, time)``.

    Returns:
        ``error`` as a share of the variance, ``used`` (codewords that occur), ``perplexity`` of the codes, their
        entropy in bits (``entropy_bits``), and ``same_as_before``: the share of frames that have the code of the frame
        before.
    """
    found = quantizer.eval().quantize(x)
    variance = (x - x.mean(2, keepdim=True)).square().mean()
    return {
        "error": float(found.commitment / variance),
        "used": float(found.usage) * quantizer.num_codes,
        "perplexity": float(found.perplexity),
        "entropy_bits": float(found.perplexity.log2()),
        "same_as_before": float((found.indices[:, 1:] == found.indices[:, :-1]).float().mean()),
    }


VARIANTS: dict[str, tuple[str, Callable[[int], VectorQuantizer]]] = {
    "random": (
        "random start, no restart",
        lambda codes: VectorQuantizer(codes, MELS, decay=DECAY, init="random", dead_code_threshold=0),
    ),
    "random_restart": (
        "random start, restart",
        lambda codes: VectorQuantizer(codes, MELS, decay=DECAY, init="random"),
    ),
    "kmeans": (
        "k-means start, no restart",
        lambda codes: VectorQuantizer(codes, MELS, decay=DECAY, dead_code_threshold=0),
    ),
    "kmeans_restart": ("k-means start, restart", lambda codes: VectorQuantizer(codes, MELS, decay=DECAY)),
}
"""What is compared, by name: what the page says, and how the quantiser is made."""


@dataclass
class Collapse(Experiment):
    """Collapse and repair of a codebook of mel frames.

    Rows are four ways to start and repair a codebook of 512 codewords, and the best of them with 16 and with 64. Each
    learns from 100 batches of 2,000 frames of 40 speakers, and is scored on 20 others, with five seeds; the spread is
    that over the seeds. How long it takes is not on record.

    Attributes:
        name: the command's name.
        spread: half of the 95 % interval of the mean over seeds.
        rows: variant and size of the codebook.
        seeds: each draws the start and the batches anew.
        steps: batches that every codebook learns from.

    Example:
        >>> from causalcnn_book.vector_quantisation.collapse import ROWS, VARIANTS, Collapse
        >>> variant, size = ROWS[Collapse.rows[2]]
        >>> Collapse.rows[2], VARIANTS[variant][0], VARIANTS[variant][1](size).num_codes
        ('random_512', 'random start, no restart', 512)
    """

    name = "collapse"
    spread = OVER_SEEDS
    rows = tuple(ROWS)
    seeds = (0, 1, 2, 3, 4)

    steps: int = option(STEPS, "batches of every run")

    @cached_property
    def corpora(self) -> tuple[EmbeddedSpeech, EmbeddedSpeech]:
        """Speech to train on, and speech of other speakers to test on."""
        return EmbeddedSpeech("train", speakers=40, seconds=480), EmbeddedSpeech("test", speakers=20, seconds=240)

    @cached_property
    def frames(self) -> tuple[Tensor, Tensor]:
        """The frames of both corpora, ``(1, 80, frames)`` each, on the scale of a random start."""
        refuse_shared(*self.corpora)
        train, test = (frames_of_speech(FeatureCorpus.of(corpus)) for corpus in self.corpora)
        mean, deviation = train.mean(), train.std()
        return (train - mean) / deviation, (test - mean) / deviation

    @override
    def measure(self, row: str, seed: int) -> dict[str, float]:
        """Let one codebook learn, and score it on the test speakers.

        Args:
            row: one of :attr:`rows`.
            seed: draws the start and the batches.

        Returns:
            What :func:`score` gives.
        """
        variant, size = ROWS[row]
        train, test = self.frames
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            quantizer = VARIANTS[variant][1](size)
        return score(learn(quantizer, train, steps=self.steps, seed=seed), test)

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write the settings, and for each row its scores.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            ``what``, ``settings``, ``train`` and ``test`` (corpus and frames), and ``rows`` with everything by seed.
        """
        return {
            "what": "one codeword for each log-mel frame of embedded speech, scored on unheard speakers",
            "settings": {"frames": FRAMES, "steps": self.steps, "decay": DECAY, "floor_db": FLOOR_DB},
            **{
                kind: {"corpus": repr(corpus), "frames": frames.shape[2]}
                for kind, corpus, frames in zip(("train", "test"), self.corpora, self.frames, strict=True)
            },
            "rows": {row: self._row(row, results[row]) for row in results},
        }

    def _row(self, row: str, results: Mapping[int, Any]) -> dict[str, Any]:
        variant, size = ROWS[row]
        scores = {key: summary(by_seed(results, key)) for key in next(iter(results.values()))}
        return {"label": VARIANTS[variant][0], "codes": size, **scores}
