"""What each of several processes does in the tests: torchrun --nproc_per_node 2 -m tests.training.processes OUT RUN."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import torch

from causalcnn.training import Checkpoint, train
from tests.training.toy import Batch, Toy, ToyConfig, batches
from tests.training.trainings import digest

STEPS = 12


def main(out: str, run: str) -> None:
    """Train 12 steps and write down what this process came to; ``dies`` dies at the 9th, ``full`` has no disk."""
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    torch.manual_seed(rank)  # the processes begin apart: it must not matter
    model = Toy(ToyConfig(dropout=0.0))
    with torch.no_grad():
        model.narrow.weight += rank
        model.seen += 10 * rank

    def make(step: int, rank: int, world_size: int) -> Batch:
        if run == "dies" and step == 9:
            os._exit(3)
        return batches(step, rank, world_size)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if run == "full":
        Checkpoint.write = full  # type: ignore[method-assign]
    folder = Path(out)
    history = train(
        model,
        make,
        f"{STEPS} steps",
        learning_rate=0.02,
        device="cpu",
        checkpoint=folder / "run.safetensors",
        checkpoint_every="5 steps",
        resume=True,
        evaluate=lambda model: {"rank": rank},
        evaluations=2,
        progress=False,
    )
    found = {
        "loss": history.loss,
        "frames": history.frames,
        "processes": history.processes,
        "evaluations": history.evaluations,
        "digest": digest(model),
        "seen": int(model.seen),
    }
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
