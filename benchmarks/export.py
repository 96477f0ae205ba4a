"""One frame through the VQ-VAE-2 as an ONNX file in onnxruntime, against the stream of torch, on one thread.

From log-mel to log-mel, from log-mel to codes, and from sound (160 samples) to codes. Rounds in turn, process CPU time,
the median of the rounds' ratios.

    python benchmarks/export.py [--preset tiny] [--rounds 15] [--frames 100] [--out book/measurements/export-speed.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from causalcnn import export_onnx
from causalcnn._files import write_json
from causalcnn.models import CausalVQVAE2, CodeEncoder, VQVAE2Config
from causalcnn.nn import CausalModule, CausalSequential
from causalcnn.speech import LogMel


def ready(
    module: CausalModule, example: torch.Tensor, piece: int, folder: Path
) -> tuple[Callable[[], object], Callable[[], object]]:
    """A piece of so many frames or samples in onnxruntime, and one in torch's stream."""
    about = export_onnx(module, folder / "model.onnx", example=example)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    states = json.loads(about["states"])
    names = ["output", *(one["output"] for one in states)]
    feed = {one["input"]: np.zeros([1, *one["shape"][1:]], one["dtype"]) for one in states}
    feed["input"] = example[:1, :, :piece].numpy()
    stream = module.eval().stream()

    def in_onnx() -> None:
        _, *new = session.run(names, feed)
        feed.update(zip((one["input"] for one in states), new, strict=True))

    return in_onnx, lambda: stream(example[:1, :, :piece])


def measure(ways: dict[str, Callable[[], object]], rounds: int, frames: int) -> dict[str, list[float]]:
    """Milliseconds of process time a frame, for each round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):  # the first warms up
        for name, frame in ways.items():
            start = time.process_time()
            for _ in range(frames):
                frame()
            times[name].append(1000 * (time.process_time() - start) / frames)
    return {name: values[1:] for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", choices=("tiny", "base"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CausalVQVAE2(getattr(VQVAE2Config, options.preset)())
    frames = torch.randn(1, 80, 4) * 15 - 40
    table = {}
    for name, module, example, piece in (
        ("reconstruct", model, frames.transpose(1, 2)[:, None], 1),
        ("encode", CodeEncoder(model), frames, 1),
        ("sound to codes", CausalSequential(LogMel(), CodeEncoder(model)), torch.randn(1, 1, 800) / 10, 160),
    ):
        with tempfile.TemporaryDirectory() as folder:
            in_onnx, in_torch = ready(module, example, piece, Path(folder))
            ways = {"onnxruntime": in_onnx, "torch": in_torch}
            times = measure(ways, options.rounds, options.frames)
        ratios = [ours / theirs for ours, theirs in zip(times["onnxruntime"], times["torch"], strict=True)]
        table[name] = {
            "onnxruntime_over_torch_stream": round(statistics.median(ratios), 3),
            "ms_a_frame": {way: round(statistics.median(values), 3) for way, values in times.items()},
        }
        print(
            f"{name:15} onnxruntime / torch stream {table[name]['onnxruntime_over_torch_stream']}",
            table[name]["ms_a_frame"],
        )
    if options.out:
        about = {
            "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}",
            "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
            "seeds": [0],
            "spread": f"medians of {options.rounds} rounds of {options.frames} frames, in turn; ratios within a round",
            "command": f"python benchmarks/export.py --preset {options.preset} --out {options.out}",
        }
        write_json(options.out, {**about, "threads": 1, "works": table})


if __name__ == "__main__":
    main()
