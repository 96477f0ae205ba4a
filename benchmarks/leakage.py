"""How much of the future leaks through rounding: a causal convolution on every backend switch of this machine.

The layers are causal by construction; what a changed future moves before it is the arithmetic of the kernel
that the backend chose (Winograd and FFT tiles mix neighbouring outputs). For each layer, dtype and switch the
table shows the largest change of a past output and the largest gradient on a future input, both relative to the
largest value, and how many codes flip behind a quantiser of 512 random codes.

    python benchmarks/leakage.py --device cuda --out book/measurements/leakage-cuda.json
    python benchmarks/leakage.py --device cpu  --out book/measurements/leakage-cpu.json
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn import CausalConv1d, CausalConv2d
from causalcnn._files import check_writable, write_json

# name, batch, channels, kernel, dilation, frames, mels (None: over time alone)
LAYERS: list[tuple[str, int, int, Any, Any, int, int | None]] = [
    ("1d k3", 16, 64, 3, 1, 200, None),
    ("1d k3, one row", 1, 64, 3, 1, 200, None),
    ("1d k3, dilation 4", 16, 64, 3, 4, 200, None),
    ("1d k9, long", 16, 64, 9, 1, 4000, None),
    ("1d k16", 16, 64, 16, 1, 1000, None),
    ("1d k33, long", 16, 64, 33, 1, 4000, None),
    ("2d 3x3", 16, 64, (3, 3), 1, 100, 80),
    ("2d 3x3, 256 channels", 8, 256, (3, 3), 1, 100, 20),
    ("2d 3x3, one row", 1, 64, (3, 3), 1, 100, 80),
    ("2d 3x3, dilation 3", 16, 64, (3, 3), (3, 1), 100, 80),
    ("2d 5x5", 16, 64, (5, 5), 1, 100, 80),
    ("2d 7x7", 8, 64, (7, 7), 1, 100, 80),
    ("2d 16x16", 8, 32, (16, 16), 1, 128, 80),
]
SEEDS = (0, 1, 2)
ON_CPU = {"1d k3", "1d k3, one row", "1d k3, dilation 4", "1d k16", "2d 3x3", "2d 5x5"}
CPU_FRAMES, CPU_MELS = 200, 20  # at most: a CPU has no need for more, nor time


@contextlib.contextmanager
def cuda_switches(tf32: bool, deterministic: bool, benchmark: bool) -> Iterator[None]:
    """The three switches of cuDNN that the note of 2019 and the threads name."""
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=benchmark, deterministic=deterministic, allow_tf32=tf32
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul


@contextlib.contextmanager
def cpu_switches(onednn: bool, nnpack: bool) -> Iterator[None]:
    """The two CPU libraries that may compute a float32 convolution."""
    with torch.backends.mkldnn.flags(enabled=onednn), torch.backends.nnpack.flags(enabled=nnpack):
        yield


def grid(device: str) -> list[tuple[torch.dtype, dict[str, bool]]]:
    """Every dtype with every setting of the switches that matter for it."""
    if device == "cpu":
        pairs = [{"onednn": a, "nnpack": b} for a, b in itertools.product([True, False], repeat=2)]
        return [(dtype, pair) for dtype in (torch.float32, torch.float64) for pair in pairs]
    rows = []
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        for tf32, deterministic, benchmark in itertools.product([True, False], repeat=3):
            if tf32 and dtype is not torch.float32:
                continue
            rows.append((dtype, {"tf32": tf32, "deterministic": deterministic, "benchmark": benchmark}))
    return rows


def measure(layer: torch.nn.Module, x: Tensor, cut: int) -> tuple[float, float, float]:
    """Relative change of the past, relative gradient on the future, share of flipped codes."""
    other = x.clone()
    other[:, :, cut:] = torch.randn_like(other[:, :, cut:])
    with torch.no_grad():
        a, b = layer(x)[:, :, :cut], layer(other)[:, :, :cut]
    moved = ((a - b).abs().max() / a.abs().max()).item()
    source = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(layer(source)[:, :, cut - 1].sum(), source)
    ahead = (gradient[:, :, cut:].abs().max() / gradient.abs().max()).item()
    codes = torch.randn(512, a.shape[1], device=x.device, generator=torch.Generator(x.device).manual_seed(0))
    codes = codes * a.float().std()

    def nearest(y: Tensor) -> Tensor:
        rows = y.float().movedim(1, -1).reshape(-1, y.shape[1])[:65536]
        return (codes.square().sum(1) - 2 * rows @ codes.T).argmin(1)

    flipped = (nearest(a) != nearest(b)).float().mean().item()
    return moved, ahead, flipped


def run(device: str) -> list[dict[str, Any]]:
    """The whole table, the worst of the seeds in each cell."""
    rows = []
    for name, batch, channels, kernel, dilation, frames, mels in LAYERS:
        if device == "cpu":
            if name not in ON_CPU:
                continue
            frames, mels = min(frames, CPU_FRAMES), mels and min(mels, CPU_MELS)
        for dtype, switches in grid(device):
            worst = (0.0, 0.0, 0.0)
            context = cpu_switches(**switches) if device == "cpu" else cuda_switches(**switches)
            error = None
            with context:
                for seed in SEEDS:
                    torch.manual_seed(seed)
                    try:
                        if mels is None:
                            layer: torch.nn.Module = CausalConv1d(channels, channels, kernel, dilation=dilation)
                            x = torch.randn(batch, channels, frames)
                        else:
                            layer = CausalConv2d(channels, channels, kernel, dilation=dilation)
                            x = torch.randn(batch, channels, frames, mels)
                        found = measure(layer.to(device, dtype), x.to(device, dtype), frames // 2)
                    except RuntimeError as problem:
                        error = str(problem).splitlines()[0]
                        break
                    worst = tuple(map(max, worst, found))  # type: ignore[assignment]
            row: dict[str, Any] = {"layer": name, "dtype": str(dtype).removeprefix("torch."), **switches}
            if error is None:
                row |= dict(
                    zip(
                        ("past_moves", "future_gradient", "codes_flip"), (float(f"{v:.3g}") for v in worst), strict=True
                    )
                )
            else:
                row["error"] = error
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, help="write the table there as JSON")
    arguments = parser.parse_args()
    if arguments.out:
        check_writable(arguments.out)
    rows = run(arguments.device)
    cuda = arguments.device == "cuda"
    name = torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()
    result = {
        "device": name,
        "layers": "fewer and smaller than on CUDA" if not cuda else "all",
        "versions": {
            "torch": torch.__version__,
            "cuda": torch.version.cuda if cuda else None,
            "cudnn": torch.backends.cudnn.version() if cuda else None,
            "python": platform.python_version(),
        },
        "seeds": list(SEEDS),
        "spread": "worst of the seeds",
        "command": f"python benchmarks/leakage.py --device {arguments.device}",
        "defaults": {
            "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
            "matmul_allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "nnpack_available": bool(getattr(torch.backends.nnpack, "is_available", lambda: False)()),
        },
        "rows": rows,
    }
    if arguments.out:
        write_json(arguments.out, result)
        print(f"wrote {arguments.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
