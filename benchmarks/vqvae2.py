"""The causal VQ-VAE-2: a training step in every mode of the machine, against its non-causal twin, and frame by frame.

Everything is timed in one process, in turns of a random order, and reported as the median; the training step is
forward, backward and the codebooks' update on 8 pieces of 128 frames (on a GPU 64 of 256). Runs on a CPU with 1 and
2 threads, and on CUDA unchanged.

    python benchmarks/vqvae2.py [--device cuda] [--preset tiny] [--rounds 7] [--out book/measurements/vqvae2-speed.json]
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from causalcnn import audit
from causalcnn._files import check_writable, write_json
from causalcnn.models import VQVAE2, CausalVQVAE2, VQVAE2Config
from causalcnn.speech import Batch
from causalcnn.training.device import cpu_has_bf16

Step = Callable[[], object]


def batch_on(device: torch.device) -> Batch:
    """Noise of the level and the spread of speech: what a step costs does not depend on what is said."""
    rows, frames = (64, 256) if device.type == "cuda" else (8, 128)
    features = torch.randn(rows, 80, frames, generator=torch.Generator().manual_seed(0)) * 20 - 35
    batch = Batch(features, torch.ones(rows, frames, dtype=torch.bool), torch.zeros(rows, dtype=torch.int64))
    return batch.to(device)


class Loss(nn.Module):
    """The loss as a module, so that it can be compiled as a whole."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:  # noqa: D102
        return self.model.loss(batch)[0]  # type: ignore[operator]


def training_step(
    model: nn.Module, batch: Batch, *, bf16: bool = False, channels_last: bool = False, compiled: bool = False
) -> Step:
    """Forward, backward, codebooks; no optimiser, which costs all modes the same."""
    device = batch.features.device
    loss = Loss(copy.deepcopy(model).to(device).train())
    if channels_last:
        loss = loss.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run: Callable[[Batch], Tensor] = torch.compile(loss) if compiled else loss

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            value = run(batch)
        loss.zero_grad()
        value.backward()

    return step


def seconds_each(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every round of each, in turns of a random order."""
    times: dict[str, list[float]] = {name: [] for name in steps}

    def once(step: Step) -> float:
        _wait(device)
        start = time.perf_counter()
        step()
        _wait(device)
        return time.perf_counter() - start

    for step in steps.values():
        step()  # compile, allocate, fill the codebooks
        step()
    for _ in range(rounds):
        for name, step in random.sample(list(steps.items()), len(steps)):
            times[name].append(once(step))
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def grid(config: VQVAE2Config, device: torch.device, rounds: int, plain: bool = False) -> dict[str, Any]:
    """Training frames a second for every mode, its ratio to plain fp32, and on a GPU the peak of memory."""
    torch.manual_seed(0)
    causal, centered, batch = CausalVQVAE2(config), VQVAE2(config), batch_on(device)
    slow_bf16 = device.type == "cpu" and not cpu_has_bf16()
    # What being causal costs is a few percent, so the pair has more rounds, and nothing else between them.
    pair = {"fp32": training_step(causal, batch), "fp32, non-causal twin": training_step(centered, batch)}
    table = rows(pair, batch, 3 * rounds)
    if plain:
        return table
    steps = {"fp32": pair["fp32"], "fp32, channels_last": training_step(causal, batch, channels_last=True)}
    steps["fp32, compiled"] = training_step(causal, batch, compiled=True)
    if not slow_bf16:
        steps["bf16"] = training_step(causal, batch, bf16=True)
        steps["bf16, compiled"] = training_step(causal, batch, bf16=True, compiled=True)
    if device.type == "cuda":
        without = steps["fp32"]

        def tf32() -> None:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            without()
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        steps["tf32"] = tf32
    table = rows(steps, batch, rounds) | table
    if slow_bf16:  # emulated, it takes minutes for such a batch: one short piece, against fp32 on the same
        piece = Batch(batch.features[:1, :, :32], batch.mask[:1, :32], batch.speaker[:1])
        pair = {"fp32": training_step(causal, piece), "bf16": training_step(causal, piece, bf16=True)}
        table["bf16, emulated, on a piece of 32 frames"] = rows(pair, piece, 3)["bf16"]
    return table


def rows(steps: dict[str, Step], batch: Batch, rounds: int) -> dict[str, Any]:
    """The table of some ways to do a step on one batch; ``fp32`` is among them."""
    device, frames = batch.features.device, batch.mask.numel()
    times = seconds_each(steps, rounds, device)
    table: dict[str, Any] = {}
    for name, values in times.items():
        ratios = [mine / base for mine, base in zip(values, times["fp32"], strict=True)]  # of one round: drift cancels
        table[name] = {
            "frames_per_second": round(frames / statistics.median(values)),
            "times_fp32": round(statistics.median(ratios), 3),
            "quartiles": [round(q, 3) for q in statistics.quantiles(ratios, n=4)[::2]] if len(ratios) > 1 else [],
            "rounds": len(values),
        }
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            steps[name]()
            table[name]["peak_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20)
    return table


@torch.no_grad()
def live(config: VQVAE2Config, device: torch.device, frames: int = 200) -> dict[str, Any]:
    """Frame by frame: milliseconds for a frame, and how many codes differ from those of the whole recording."""
    torch.manual_seed(0)
    model = CausalVQVAE2(config).to(device)
    x = batch_on(device).features[:1].transpose(1, 2).unsqueeze(1)
    model.loss(batch_on(device))
    model.eval()
    x = x.repeat(1, 1, -(-frames // x.shape[2]), 1)[:, :, :frames]
    stream, times, pieces = model.stream(), [], []
    for t in range(frames):
        _wait(device)
        start = time.perf_counter()
        stream(x[:, :, t : t + 1])
        _wait(device)
        times.append(time.perf_counter() - start)
    stream = model.stream()
    pieces = [stream.encode(x[:, :, t : t + 1]) for t in range(frames)]
    whole = model.encode(x)
    flips = sum(
        int((torch.cat([getattr(p, level) for p in pieces], 1) != getattr(whole, level)).sum())
        for level in ("top", "bottom")
    )
    return {
        "milliseconds_a_frame": round(statistics.median(times) * 1000, 3),
        "frames": frames,
        "codes_that_differ": flips,
        "codes": whole.top.numel() + whole.bottom.numel(),
    }


def causality(config: VQVAE2Config, device: torch.device) -> dict[str, str]:
    """What the audit says of it: exactly, and numerically on the device at hand.

    On 16 bands, because it follows every cell, and convolutions do not know how many bands there are; 24 frames
    hold the whole field.
    """
    torch.manual_seed(0)
    model = CausalVQVAE2(config.with_(mels=16)).to(device).eval()
    example = torch.randn(2, 1, 24, 16, device=device) * 20 - 35
    return {
        "exact": audit(model, example, mode="exact").verdict.name.lower(),
        "numerical": audit(model, example, mode="numerical").verdict.name.lower(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--preset", choices=("tiny", "base"), default="tiny")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="on a CPU (default: 1 2)")
    parser.add_argument("--plain", action="store_true", help="fp32 beside its twin only, two minutes")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.out:
        check_writable(asked.out)
    device, config = torch.device(asked.device), getattr(VQVAE2Config, asked.preset)()
    random.seed(0)
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {os.cpu_count()} cores, {platform.machine()}",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "seeds": [0],
        "spread": f"medians and quartiles of the ratios of {asked.rounds} rounds, {3 * asked.rounds} for the pair of "
        "causal and non-causal, 3 where bf16 is emulated; the ratio is to fp32 in the same round",
        "command": " ".join(["python benchmarks/vqvae2.py", *sys.argv[1:]]),
        "parameters": sum(p.numel() for p in CausalVQVAE2(config).parameters()),
        "causality": causality(config, device),
        "training": {},
        "live": {},
    }
    print(f"{result['device']}: {result['causality']}")
    for threads in asked.threads if device.type == "cpu" else [1]:
        torch.set_num_threads(threads)
        title = f"{threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else "GPU"
        result["live"][title] = live(config, device)
        result["training"][title] = grid(config, device, asked.rounds, asked.plain)
        print(f"\n{title}: {result['live'][title]}")
        for name, row in result["training"][title].items():
            print(
                f"  {name:24} {row['frames_per_second']:9,} frames/s   {row['times_fp32']:7.3f} × the time of fp32",
                flush=True,
            )
        if asked.out:
            write_json(asked.out, result)


if __name__ == "__main__":
    main()
