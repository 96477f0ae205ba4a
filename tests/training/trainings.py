"""Trainings in processes of their own, to be killed, starved of disk, or run side by side.

    python -m tests.training.trainings CHECKPOINT STEPS [slow] [spoil]

Prints the losses and a digest of the weights as JSON, one line.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from causalcnn.training import History, train
from tests.training.toy import Batch, Toy, batches


def digest(model: torch.nn.Module) -> str:
    """Equal where all weights and buffers are, to the last bit."""
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(name.encode() + value.cpu().numpy().tobytes())
    return found.hexdigest()


def slowly(step: int, rank: int, world_size: int) -> Batch:
    """Leaves the time to be killed in."""
    time.sleep(0.005)
    return batches(step, rank, world_size)


def training(path: Path | None, steps: int, **given: Any) -> tuple[Toy, History]:
    """The training that all tests of this folder interrupt, each in its way."""
    torch.set_num_threads(1)
    model = Toy()
    wanted: dict[str, Any] = {"learning_rate": 0.02, "checkpoint_every": "7 steps", "device": "cpu", "progress": False}
    make = given.pop("batches", batches)
    return model, train(model, make, f"{steps} steps", checkpoint=path, **{**wanted, **given})


def main(path: str, steps: str, *words: str) -> None:
    """One training, resumed where there is something to resume."""
    make = slowly if "slow" in words else batches
    model, history = training(Path(path), int(steps), resume=True, batches=make)
    print(json.dumps({"loss": history.loss, "frames": history.frames, "digest": digest(model)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
