"""How well does the causal VQ-VAE-2 say what it heard? Unseen speakers and real recordings, beside four baselines.

    causalcnn experiment reconstruction --out book/measurements/reconstruction.json

Every number is a share of the variance: the squared error of a spectrogram in dB, divided by that of the set's own
mean frame, so that 1 is what saying the mean all the time would cost. Frames in silence (40 dB below the loudest
of their recording) do not count, values below the model's floor count as the floor, and digits that were recorded
at 8 kHz are scored below 4 kHz. Recordings are scored at the level at which they were recorded. Nothing here was
used to choose anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models import VQVAE2, CausalVQVAE2, load_model
from causalcnn.speech import EVALUATION_MAX_HZ, EmbeddedSpeech, FeatureCorpus, bands_below, evaluation_sets, speech_mask
from causalcnn_book.experiment import Experiment, Results, option

__all__ = ["Reconstruction", "Score", "score", "variance"]

Model = CausalVQVAE2 | VQVAE2
ModelT = TypeVar("ModelT", CausalVQVAE2, VQVAE2)
SHIPPED = {"causal": "vqvae2-tiny", "non-causal": "vqvae2-noncausal-tiny"}


@dataclass(frozen=True)
class Score:
    """What one model makes of one set.

    Attributes:
        error: squared error as a share of the variance.
        frames: how many frames counted.
        usage: share of the codewords that occur, (top, bottom).
        perplexity: the perplexity of the codes, (top, bottom).
        entropy_bits: the empirical entropy of one code in bits, (top, bottom).
    """

    error: float
    frames: int
    usage: tuple[float, float]
    perplexity: tuple[float, float]
    entropy_bits: tuple[float, float]


def _clips(corpus: FeatureCorpus, floor_db: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Every clip at the floor, ``(80, time)``, and which of its frames count."""
    for clip in range(len(corpus)):
        features = corpus[clip].float()
        yield features.clamp(min=floor_db), speech_mask(features)


def variance(corpus: FeatureCorpus, bands: int, floor_db: float) -> tuple[float, int]:
    """Measure how far the frames that count lie from their own mean frame.

    Args:
        corpus: its clips are taken.
        bands: how many of the lowest mel bands count.
        floor_db: values below it count as this much, in dB.

    Returns:
        The mean square of the distance in dB², and how many frames count.
    """
    frames = torch.cat([x[:bands, counts] for x, counts in _clips(corpus, floor_db)], dim=1).double()
    return float((frames - frames.mean(1, keepdim=True)).square().mean()), frames.shape[1]


@torch.no_grad()
def score(model: Model, corpus: FeatureCorpus, *, bands: int = 80) -> Score:
    """Reconstruct every clip of a corpus, whole, and count the error and the codes.

    Args:
        model: a model in eval mode.
        corpus: the speech to score on.
        bands: how many of the lowest mel bands count.

    Returns:
        The error and the use of both codebooks.

    Raises:
        ValueError: the model is in training mode, in which it would learn from the test.
    """
    if model.training:
        raise ValueError("the model is in training mode and would learn from the test; call model.eval() first")
    squared, frames = 0.0, 0
    counts = [torch.zeros(model.config.num_codes, dtype=torch.float64) for _ in range(2)]
    for x, real in _clips(corpus, model.config.floor_db):
        y, *levels = model.reconstruct(x.T[None, None])
        difference = (y[0, 0].T - x)[:bands, real].double()
        squared += float(difference.square().mean(0).sum())
        frames += int(real.sum())
        for count, level in zip(counts, levels, strict=True):
            indices = level.indices[0, real].flatten()
            count += torch.bincount(indices, minlength=model.config.num_codes)
    whole, _ = variance(corpus, bands, model.config.floor_db)
    shares = [count / count.sum() for count in counts]
    nats = [float(-(p * p.clamp(min=1e-12).log()).sum()) for p in shares]
    return Score(
        error=squared / frames / whole,
        frames=frames,
        usage=(float((counts[0] > 0).double().mean()), float((counts[1] > 0).double().mean())),
        perplexity=(math.exp(nats[0]), math.exp(nats[1])),
        entropy_bits=(nats[0] / math.log(2), nats[1] / math.log(2)),
    )


def untrained(model: ModelT, corpus: FeatureCorpus, *, seed: int = 0) -> ModelT:
    """Make the same architecture with fresh weights; its codebooks have met speech, so that only training is missing.

    Args:
        model: the model that it is like.
        corpus: the speech that the codebooks meet, in 20 batches.
        seed: draws the weights and the batches.

    Returns:
        Another model of the same class, in eval mode.
    """
    torch.manual_seed(seed)
    fresh = type(model)(model.config)
    with torch.no_grad():
        for step in range(20):
            fresh.loss(corpus.batch(step, rows=8, frames=128, seed=seed))
    return fresh.eval()


@dataclass
class Reconstruction(Experiment):
    """How well does the causal VQ-VAE-2 say what it heard? Unseen speakers and real recordings, beside baselines.

    Rows are models: the set's own mean frame, the shipped causal and non-causal model, and the causal one untrained.
    Each is scored on every set of speech that is on this machine, embedded and real. There is one seed and no spread:
    the two models were trained once. Nothing is trained here, but 20 batches for the untrained model's codebooks. How
    long it takes is not on record.

    Attributes:
        name: the command's name.
        spread: how many speakers the sets have.
        rows: the models.
        checkpoints: the folder that holds the two shipped models.
        seconds: seconds of embedded test speech.

    Example:
        >>> from causalcnn_book.causal_vqvae2.reconstruction import Reconstruction
        >>> Reconstruction.rows, Reconstruction.seeds
        (('mean frame', 'causal', 'non-causal', 'untrained'), (0,))
    """

    name = "reconstruction"
    spread = "one seed; the sets have 20, 1, 3 and 6 speakers"
    rows = ("mean frame", "causal", "non-causal", "untrained")

    checkpoints: Path = option(Path("book/checkpoints"), "the folder that holds the two models")
    seconds: float = option(300.0, "of embedded test speech")

    @cached_property
    def trained(self) -> dict[str, tuple[Any, dict[str, Any]]]:
        """The two shipped models, each with its card."""
        return {row: load_model(self.checkpoints / name) for row, name in SHIPPED.items()}

    @cached_property
    def sets(self) -> dict[str, FeatureCorpus]:
        """What is scored on, by name."""
        return evaluation_sets(seconds=self.seconds)

    @override
    def settings(self, row: str, seed: int) -> dict[str, Any]:
        sums = {f"sha256 of {row}": card["sha256"] for row, (_, card) in self.trained.items()}
        return super().settings(row, seed) | sums

    @override
    def measure(self, row: str, seed: int) -> dict[str, dict[str, Any]]:
        """Score one model on every set.

        Args:
            row: the model's name.
            seed: without a meaning here.

        Returns:
            For each set its name, speakers, frames and bands; the model; ``error`` as a share of the variance,
            ``rmse_db`` in dB, and, but for the mean frame, usage, perplexity and entropy in bits of the codes of top
            and bottom.
        """
        causal = self.trained["causal"][0]
        if row == "untrained":
            model = untrained(causal, FeatureCorpus.of(EmbeddedSpeech("train", speakers=8, seconds=120)))
        else:
            model = self.trained.get(row, self.trained["causal"])[0].eval()
        found: dict[str, dict[str, Any]] = {}
        for name, corpus in self.sets.items():
            bands = bands_below(EVALUATION_MAX_HZ[name])
            whole, frames = variance(corpus, bands, causal.config.floor_db)
            found[name] = {"set": name, "speakers": len(corpus.speaker_names), "frames": frames, "bands": bands}
            found[name] |= {"model": row}
            if row == "mean frame":
                found[name] |= {"error": 1.0, "rmse_db": round(math.sqrt(whole), 2)}
                continue
            scored = score(model, corpus, bands=bands)
            found[name] |= {
                "error": round(scored.error, 4),
                "rmse_db": round(math.sqrt(scored.error * whole), 2),
                "usage_top": round(scored.usage[0], 3),
                "usage_bottom": round(scored.usage[1], 3),
                "perplexity_top": round(scored.perplexity[0], 1),
                "perplexity_bottom": round(scored.perplexity[1], 1),
                "entropy_bits_top": round(scored.entropy_bits[0], 2),
                "entropy_bits_bottom": round(scored.entropy_bits[1], 2),
            }
        return found

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Arrange every set × every model.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            What the ``score`` is, the number of ``parameters``, how the two models were ``trained``, and ``rows``, set
            by set.
        """
        models = [found[0] for found in results.values()]
        return {
            "score": "squared error of the speaking frames as a share of the variance about the set's own mean frame",
            "parameters": sum(p.numel() for p in self.trained["causal"][0].parameters()),
            "trained": {
                row: {key: card[key] for key in ("command", "corpus", "seed", "training", "sha256") if key in card}
                for row, (_, card) in self.trained.items()
            },
            "rows": [found[name] for name in models[0] for found in models],
        }
