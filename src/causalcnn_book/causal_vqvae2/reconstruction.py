"""How well does the causal VQ-VAE-2 say what it heard? Unseen speakers and real recordings, beside four baselines.

    causalcnn experiment reconstruction book/measurements/reconstruction.json

Every number is a share of the variance: the squared error of a spectrogram in dB, divided by that of the set's own
mean frame, so that 1 is what saying the mean all the time would cost. Frames in silence (40 dB below the loudest
of their recording) do not count, values below the model's floor count as the floor, and digits that were recorded
at 8 kHz are scored below 4 kHz. Recordings are scored at the level at which they were recorded. Nothing here was
used to choose anything.
"""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn._files import write_json
from causalcnn.models import VQVAE2, CausalVQVAE2, load_model
from causalcnn.speech import EVALUATION_MAX_HZ, FeatureCorpus, bands_below, evaluation_sets, speech_mask

__all__ = ["Score", "main", "measure", "score", "variance"]

Model = CausalVQVAE2 | VQVAE2
CHECKPOINTS = Path("book/checkpoints")
SHIPPED = {"causal": "vqvae2-tiny", "non-causal": "vqvae2-noncausal-tiny"}


@dataclass(frozen=True)
class Score:
    """What one model makes of one set.

    Attributes:
        error: squared error as a share of the variance. frames: that counted.
        usage: share of the codewords that occur, (top, bottom). perplexity: of the codes, (top, bottom).
        entropy_bits: of the codes, an empirical mean for one code, (top, bottom).
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
    """Mean squared distance in dB² of the frames that count from their own mean frame, and how many they are."""
    frames = torch.cat([x[:bands, counts] for x, counts in _clips(corpus, floor_db)], dim=1).double()
    return float((frames - frames.mean(1, keepdim=True)).square().mean()), frames.shape[1]


@torch.no_grad()
def score(model: Model, corpus: FeatureCorpus, *, bands: int = 80) -> Score:
    """Reconstruct every clip of a corpus, whole.

    Args:
        model: in eval mode. corpus: what to score on. bands: only so many of the lowest mel bands count.
    """
    if model.training:
        raise ValueError("the model is in training mode and would learn from the test; call model.eval() first")
    squared, frames = 0.0, 0
    counts = [torch.zeros(model.config.codes, dtype=torch.float64) for _ in range(2)]
    for x, real in _clips(corpus, model.config.floor_db):
        y, *levels = model.reconstruct(x.T[None, None])
        difference = (y[0, 0].T - x)[:bands, real].double()
        squared += float(difference.square().mean(0).sum())
        frames += int(real.sum())
        for count, level in zip(counts, levels, strict=True):
            codes = level.codes[0, real].flatten()
            count += torch.bincount(codes, minlength=model.config.codes)
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


def untrained(model: Model, corpus: FeatureCorpus, *, seed: int = 0) -> Model:
    """The same architecture with fresh weights; its codebooks have met speech, so that only training is missing."""
    torch.manual_seed(seed)
    fresh = type(model)(model.config)
    with torch.no_grad():
        for step in range(20):
            fresh.loss(corpus.batch(step, rows=8, frames=128, seed=seed))
    return fresh.eval()


def measure(models: dict[str, Model], *, seconds: float = 300.0) -> list[dict[str, Any]]:
    """The rows of the table: every set × every model."""
    rows = []
    for name, corpus in evaluation_sets(seconds=seconds).items():
        bands = bands_below(EVALUATION_MAX_HZ[name])
        whole, frames = variance(corpus, bands, next(iter(models.values())).config.floor_db)
        common = {"set": name, "speakers": len(corpus.speaker_names), "frames": frames, "bands": bands}
        rows.append({**common, "model": "mean frame", "error": 1.0, "rmse_db": round(math.sqrt(whole), 2)})
        for label, model in models.items():
            found = score(model, corpus, bands=bands)
            rows.append({
                **common,
                "model": label,
                "error": round(found.error, 4),
                "rmse_db": round(math.sqrt(found.error * whole), 2),
                "usage_top": round(found.usage[0], 3),
                "usage_bottom": round(found.usage[1], 3),
                "perplexity_top": round(found.perplexity[0], 1),
                "perplexity_bottom": round(found.perplexity[1], 1),
                "entropy_bits_top": round(found.entropy_bits[0], 2),
                "entropy_bits_bottom": round(found.entropy_bits[1], 2),
            })  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the table as JSON: whole, or not at all."""
    from causalcnn.speech import EmbeddedSpeech

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("to", type=Path, help="the JSON file to write")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="the folder that holds the two models")
    parser.add_argument("--seconds", type=float, default=300, help="of embedded test speech")
    asked = parser.parse_args(arguments)
    models: dict[str, Any] = {}
    cards: dict[str, Any] = {}
    for label, name in SHIPPED.items():
        model, cards[label] = load_model(asked.checkpoints / name)
        models[label] = model.eval()
    seen = FeatureCorpus.of(EmbeddedSpeech("train", speakers=8, seconds=120))
    models["untrained"] = untrained(models["causal"], seen)
    table = {
        "command": f"causalcnn experiment reconstruction book/measurements/{asked.to.name}",
        "device": f"CPU, {platform.machine()}, torch {torch.__version__.split('+')[0]}",
        "score": "squared error of the speaking frames as a share of the variance about the set's own mean frame",
        "parameters": sum(p.numel() for p in models["causal"].parameters()),
        "trained": {
            label: {key: card[key] for key in ("command", "corpus", "seed", "training", "sha256") if key in card}
            for label, card in cards.items()
        },
        "spread": "one seed; the sets have 20, 1, 3 and 6 speakers",
        "rows": measure(models, seconds=asked.seconds),
    }
    write_json(asked.to, table)


if __name__ == "__main__":
    main()
