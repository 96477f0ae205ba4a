"""How much of its receptive field does a network use? The gradient by lag, before and after training on speech.

    causalcnn experiment effective-field book/measurements/effective-field.json

One stack of six causal layers reads 127 frames. It is trained to name the phone of a frame, or the speaker, and its
gradient on held-out speech is averaged by how long ago the input was. Source: Luo et al., arXiv 1701.04128, for the
idea of an effective receptive field; there it is measured on random images, here on speech and over the past alone.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from causalcnn._files import write_json
from causalcnn.speech import PHONES
from causalcnn_book.dilation.experiment import SETTINGS, TASKS, Recordings, load, stack, train

__all__ = ["DILATIONS", "ROWS", "effective_size", "influence", "load", "main", "measure", "network", "train"]

DILATIONS = SETTINGS["doubling"]
SEEDS = (0, 1, 2)
ROWS = 4
"""Pieces of four seconds in a training step: few, so that a chapter can train while its reader waits."""


def network(task: str, data: Recordings, *, seed: int = 0) -> nn.Module:
    """The untrained network whose trained twin :func:`train` makes from the same seed."""
    return stack(DILATIONS, len(PHONES) if task == "phone" else len(data.features), seed=seed).eval()


def influence(module: nn.Module, data: Recordings, *, rows: int = 64, lags: int = 140, seed: int = 0) -> Tensor:
    """The share of the gradient that falls on the input of ``lag`` frames ago, averaged over speech.

    One output frame in each of ``rows`` random pieces of speech is pushed in a random direction; the length of the
    gradient over the mel bands of each input frame is averaged and made to sum to 1. Averages are needed: a ReLU
    that is closed on one piece hides inputs that are read on another.

    Returns:
        ``(lags,)``, lag 0 first: the present frame.
    """
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for _ in range(rows):
        who = int(torch.randint(len(data.features), (), generator=generator))
        recording = data.features[who]
        start = int(torch.randint(recording.shape[1] - lags, (), generator=generator))
        pieces.append(recording[:, start : start + lags])
    x = torch.stack(pieces).requires_grad_()
    last = module(x)[:, :, -1]
    push = torch.randn(last.shape, generator=generator)
    (gradient,) = torch.autograd.grad((last * push).sum(), x)
    by_frame = gradient.norm(dim=1).mean(0).flip(0)
    return by_frame / by_frame.sum()


def effective_size(shares: Tensor, held: float = 0.95) -> int:
    """How many of the latest frames hold this share of the influence."""
    if not 0 < held <= 1:
        raise ValueError(f"held is {held}; a share lies above 0 and is at most 1")
    return int((shares.double().cumsum(0) < held * shares.double().sum() - 1e-9).sum()) + 1


def measure(*, steps: int, seconds: float) -> dict[str, Any]:
    """Each task over all seeds: how many frames hold 95 % of the influence, before and after training."""
    data, held_out = load(seconds, seed=0), load(seconds / 3, seed=1)
    table: dict[str, Any] = {}
    for task in TASKS:
        seen: dict[str, list[Tensor]] = {"before": [], "after": []}
        for seed in SEEDS:
            seen["before"].append(influence(network(task, data, seed=seed), held_out))
            trained, _ = train(data, task, DILATIONS, steps=steps, seed=seed, rows=ROWS)
            seen["after"].append(influence(trained, held_out))
        table[task] = {"declared": int(trained.field.size)}
        for when, shares in seen.items():
            for name, held in (("95", 0.95), ("50", 0.5)):
                each = [effective_size(share, held) for share in shares]
                table[task] |= {f"{when}_{name}": round(statistics.mean(each)), f"{when}_{name}_each": each}
        print(task, table[task], flush=True)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the table as JSON: whole, or not at all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("to", type=Path, help="the JSON file to write")
    parser.add_argument("--steps", type=int, default=80, help="of training, each network")
    parser.add_argument("--seconds", type=float, default=60, help="of speech to train on")
    asked = parser.parse_args(arguments)
    tasks = measure(steps=asked.steps, seconds=asked.seconds)
    sizes = f"--steps {asked.steps} --seconds {asked.seconds:g}"
    table = {
        "command": f"causalcnn experiment effective-field book/measurements/{asked.to.name} {sizes}",
        "device": f"CPU, {platform.machine()}, torch {torch.__version__.split('+')[0]}",
        "seeds": list(SEEDS),
        "spread": "each seed's value stands beside the mean",
        "unit": "latest frames of 10 ms that hold 95 or 50 % of the gradient on held-out speech",
        "tasks": tasks,
    }
    write_json(asked.to, table)


if __name__ == "__main__":
    main()
