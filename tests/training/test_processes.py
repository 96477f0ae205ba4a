"""Several processes train what one would, hold the same weights, and resume together."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from causalcnn.training import Checkpoint, CheckpointError, train
from tests.training.processes import STEPS
from tests.training.toy import Toy, ToyConfig, batches

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed"),
]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def torchrun(processes: int = 2) -> list[str]:
    return ["torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(free_port())]


def launched(out: Path, run: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *torchrun(processes), "-m", "tests.training.processes", str(out), run]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def results(out: Path) -> list[dict[str, Any]]:
    return [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_two_processes_train_what_one_would_and_only_the_first_writes(tmp_path: Path) -> None:
    done = launched(tmp_path, "whole")
    assert done.returncode == 0, done.stderr
    first, second = results(tmp_path)
    assert first["digest"] == second["digest"]
    assert first["loss"] == second["loss"]
    assert first["processes"] == 2
    assert first["evaluations"] == [{"step": STEPS // 2, "rank": 0}, {"step": STEPS, "rank": 0}]
    assert first["frames"] == STEPS * 8 * 12
    assert first["seen"] == STEPS  # the buffers of the first process count, too
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rank0.json", "rank1.json", "run.safetensors"]
    alone = train(
        Toy(ToyConfig(dropout=0.0)), batches, f"{STEPS} steps", learning_rate=0.02, device="cpu", progress=False
    )
    assert first["loss"] == pytest.approx(alone.loss, rel=1e-5)


@pytest.mark.parametrize("processes", [2, 3])  # in whatever order two numbers are added up, the sum is the same
def test_killed_together_they_go_on_to_the_same_numbers(tmp_path: Path, processes: int) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    for folder in (unbroken, broken):
        folder.mkdir()
    assert launched(unbroken, "whole", processes).returncode == 0
    assert launched(broken, "dies", processes).returncode != 0
    assert Checkpoint.read(broken / "run.safetensors").facts["step"] == 5
    again = launched(broken, "whole", processes)
    assert again.returncode == 0, again.stderr
    assert results(broken) == results(unbroken)
    with pytest.raises(CheckpointError, match=f"processes: {processes} there, 1 now"):
        train(
            Toy(ToyConfig(dropout=0.0)), batches, f"{STEPS} steps", learning_rate=0.02, device="cpu", progress=False,
            checkpoint=broken / "run.safetensors", resume=True,
        )  # fmt: skip


def test_a_full_disk_stops_no_process(tmp_path: Path) -> None:
    """Only the first writes; the others must learn that it could not, or they wait for each other for ever."""
    done = launched(tmp_path, "full")
    assert done.returncode == 0, done.stderr
    assert "could not be written after step 5" in done.stderr
    assert "could not be written after step 10" in done.stderr
    first, second = results(tmp_path)
    assert first["digest"] == second["digest"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rank0.json", "rank1.json"]


def test_the_command_trains_a_model_with_codebooks_in_two_processes(tmp_path: Path) -> None:
    """On whatever device there is: the processes must join also where there is no GPU."""
    pytest.importorskip("espeakng_loader")
    words = shlex.split(
        "causalcnn train vqvae2 --set channels=8 --set residual_channels=4 --set num_codes=16 --budget '4 steps' "
        "--rows 4 --frames 32 --seconds-of-speech 20 --speakers 4 --out"
    )
    cards = []
    for name, start in (("two", [*torchrun(), "-m"]), ("one", [])):
        command = [sys.executable, "-m", *start, *words, str(tmp_path / name)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("use it") == 1, "only the first process speaks"
        cards.append(json.loads((tmp_path / f"{name}.json").read_text("utf8")))
    two, one = cards
    assert two["training"]["processes"] == 2
    assert two["training"]["frames"] == one["training"]["frames"]
    assert two["metrics"]["training"]["loss"] == pytest.approx(one["metrics"]["training"]["loss"], rel=1e-2)
