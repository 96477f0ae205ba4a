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
    """All frames of a corpus, ``(1, 80, frames)``, nothing below ``FLOOR_DB``."""
    return torch.cat(list(corpus), 1)[None].clamp(min=FLOOR_DB)


def learn(quantizer: VectorQuantizer, x: Tensor, *, steps: int, seed: int = 0, frames: int = FRAMES) -> VectorQuantizer:
    """Let a quantiser follow ``steps`` random batches of the frames of ``x``; it comes back in ``eval()``.

    Args:
        x: ``(1, dim, time)``.
        frames: of a batch.
        seed: draws the batches.
    """
    draw = torch.Generator().manual_seed(seed)
    quantizer.train()
    with torch.no_grad():
        for _ in range(steps):
            quantizer.quantize(x[:, :, torch.randint(x.shape[2], (frames,), generator=draw)])
    return quantizer.eval()


@torch.no_grad()
def score(quantizer: VectorQuantizer, x: Tensor) -> dict[str, float]:
    """Error as a share of the variance, codewords in use, perplexity, entropy in bits, and how often a code stays."""
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
    """Collapse and repair of a codebook of mel frames."""

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
        """The frames of both, on the scale of a random start."""
        refuse_shared(*self.corpora)
        train, test = (frames_of_speech(FeatureCorpus.of(corpus)) for corpus in self.corpora)
        mean, deviation = train.mean(), train.std()
        return (train - mean) / deviation, (test - mean) / deviation

    def measure(self, row: str, seed: int) -> dict[str, float]:
        """Let one codebook learn; its score on the test speakers."""
        variant, size = ROWS[row]
        train, test = self.frames
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            quantizer = VARIANTS[variant][1](size)
        return score(learn(quantizer, train, steps=self.steps, seed=seed), test)

    def table(self, results: Results) -> dict[str, Any]:
        """Settings, and for each row its scores."""
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
