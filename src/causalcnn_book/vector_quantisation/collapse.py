"""A codebook for single mel frames: how it collapses, what repairs it, and how many bits its codes need.

One quantiser replaces each log-mel frame of embedded speech by one of a few frames. It learns from batches of frames of
the training speakers; its error, its use and its perplexity are those on speakers whom it has never seen.

    causalcnn experiment collapse --out book/measurements/collapse.json
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn._files import write_json
from causalcnn.nn import VectorQuantizer
from causalcnn.speech import MELS, EmbeddedSpeech, FeatureCorpus
from causalcnn_book.encoders.phones import summary

__all__ = ["FLOOR_DB", "PLAN", "VARIANTS", "frames_of_speech", "learn", "main", "run", "score"]

FLOOR_DB = -70.0
"""Nobody hears what lies below: it counts as this much, or silence would be most of the variance."""
FRAMES, STEPS, DECAY = 2_000, 100, 0.95
"""Frames of a batch, batches, and how much of its averages a codebook keeps in a step."""
PLAN = (
    ("kmeans_restart", 16),
    ("kmeans_restart", 64),
    *((name, 512) for name in ("random", "random_restart", "kmeans", "kmeans_restart")),
)
"""Variant and size of the codebook of every row of the table."""


def frames_of_speech(corpus: FeatureCorpus) -> Tensor:
    """All frames of a corpus, ``(1, 80, frames)``, nothing below ``FLOOR_DB``."""
    return torch.cat(list(corpus), 1)[None].clamp(min=FLOOR_DB)


def learn(quantiser: VectorQuantizer, x: Tensor, *, steps: int, seed: int = 0, frames: int = FRAMES) -> VectorQuantizer:
    """Let a quantiser follow ``steps`` random batches of the frames of ``x``; it comes back in ``eval()``.

    Args:
        x: ``(1, dim, time)``. frames: of a batch. seed: draws the batches.
    """
    draw = torch.Generator().manual_seed(seed)
    quantiser.train()
    with torch.no_grad():
        for _ in range(steps):
            quantiser.quantise(x[:, :, torch.randint(x.shape[2], (frames,), generator=draw)])
    return quantiser.eval()


@torch.no_grad()
def score(quantiser: VectorQuantizer, x: Tensor) -> dict[str, float]:
    """Error as a share of the variance, codewords in use, perplexity, entropy in bits, and how often a code stays."""
    found = quantiser.eval().quantise(x)
    variance = (x - x.mean(2, keepdim=True)).square().mean()
    return {
        "error": float(found.commitment / variance),
        "used": float(found.usage) * quantiser.codes,
        "perplexity": float(found.perplexity),
        "entropy_bits": float(found.perplexity.log2()),
        "same_as_before": float((found.codes[:, 1:] == found.codes[:, :-1]).float().mean()),
    }


VARIANTS: dict[str, tuple[str, Callable[[int], VectorQuantizer]]] = {
    "random": (
        "random start, no restart",
        lambda codes: VectorQuantizer(codes, MELS, decay=DECAY, start="random", restart_below=0),
    ),
    "random_restart": (
        "random start, restart",
        lambda codes: VectorQuantizer(codes, MELS, decay=DECAY, start="random"),
    ),
    "kmeans": ("k-means start, no restart", lambda codes: VectorQuantizer(codes, MELS, decay=DECAY, restart_below=0)),
    "kmeans_restart": ("k-means start, restart", lambda codes: VectorQuantizer(codes, MELS, decay=DECAY)),
}
"""What is compared, by name: what the page says, and how the quantiser is made."""


def run(
    *,
    plan: Sequence[tuple[str, int]] = PLAN,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    steps: int = STEPS,
    train: EmbeddedSpeech | None = None,
    test: EmbeddedSpeech | None = None,
    out: Path | None = None,
    say: bool = False,
) -> dict[str, Any]:
    """Train and score every row of the plan with each seed.

    Args:
        plan: name and size of every row. seeds: of the codebook and of the batches. steps: batches.
        train, test: corpora; their speakers must not meet.
        out: a JSON file, written anew after each row, so that a stop loses nothing. say: print the rows.
    """
    train = train or EmbeddedSpeech("train", speakers=40, seconds=480)
    test = test or EmbeddedSpeech("test", speakers=20, seconds=240)
    if shared := set(train.speaker_names) & set(test.speaker_names):
        raise ValueError(f"the speakers {sorted(shared)} are in both corpora; a test needs voices that are new")
    known, unheard = (frames_of_speech(FeatureCorpus.of(corpus)) for corpus in (train, test))
    mean, deviation = known.mean(), known.std()
    known, unheard = (known - mean) / deviation, (unheard - mean) / deviation  # the scale of a random start
    table: dict[str, Any] = {
        "what": "one codeword for each log-mel frame of embedded speech, scored on unheard speakers",
        "command": "run() of causalcnn_book.vector_quantisation.collapse",
        "device": f"CPU ({platform.machine()}), {torch.get_num_threads()} thread, torch {torch.__version__}",
        "seeds": list(seeds),
        "spread": "half of the 95 % interval of the mean over seeds, Student's t",
        "settings": {"frames": FRAMES, "steps": steps, "decay": DECAY, "floor_db": FLOOR_DB},
        "train": {"corpus": repr(train), "frames": known.shape[2]},
        "test": {"corpus": repr(test), "frames": unheard.shape[2]},
        "rows": {},
    }
    for name, size in plan:
        results = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                quantiser = VARIANTS[name][1](size)
            results.append(score(learn(quantiser, known, steps=steps, seed=seed), unheard))
        row = {key: summary([result[key] for result in results]) for key in results[0]}
        table["rows"][f"{name}_{size}"] = {"says": VARIANTS[name][0], "codes": size, **row}
        if say:
            print(f"{size:4} {VARIANTS[name][0]:28}", *(f"{key} {row[key]['mean']}" for key in row), flush=True)
        if out is not None:
            write_json(out, table)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: measure the table and write it."""
    parser = argparse.ArgumentParser(description="Collapse and repair of a codebook of mel frames.")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=STEPS, help="batches of every run")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = run(seeds=given.seeds, steps=given.steps, out=given.out, say=True)
    table["command"] = " ".join(["causalcnn experiment collapse", *(arguments or sys.argv[1:])])
    write_json(given.out, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
