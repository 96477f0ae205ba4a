"""A vector quantiser at work: 64,000 vectors of size 64, a codebook of 512 words.

A training step is forward, backward and the moving averages; inference is the forward pass alone, without gradients.
Everything is timed in one process, the competitors in turn, and reported as the median time and as its ratio to ours.

    python benchmarks/quantizer.py [--rounds 15] [--out book/measurements/quantizer-speed.json]

Competitors: the PyPI package vector-quantize-pytorch with the same settings (moving averages of decay 0.99, straight
through, commitment of weight 1, no restart, which is on in ours), and the floor: in pieces of the best size one matrix
product with the norms folded in, the argmin and, in training, the addition of vectors to their words, nothing else.

Vectors come in two layouts: as rows (1, 64000, 64), the package's own; and as cells of a spectrogram (32, 64, 100, 20),
channels first, as a network hands them over, which the floor turns into rows first. Memory is the peak of a process of
its own, above what it holds before the call.

Then the same for few vectors, ours beside the floor, and ours as a stream, whose codebook stands. At last, with a busy
process on every core, ours with 2 threads beside ours with 1.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from convolution import in_turn
from torch import Tensor, nn

from causalcnn import VectorQuantizer
from causalcnn._files import check_writable, write_json

DIM, CODES, VECTORS = 64, 512, 64_000
CELLS = (32, DIM, 100, 20)
PIECES = (256, 512, 1024, 2048, 4096)
FEW = (20, 200, 500, 2000)
LAYOUTS = ("rows", "cells")


def package(layout: str, words: Tensor) -> nn.Module:
    """The PyPI package, with our settings and words."""
    from vector_quantize_pytorch import VectorQuantize

    peer = VectorQuantize(
        DIM, CODES, decay=0.99, commitment_weight=1.0, rotation_trick=False, accept_image_fmap=layout == "cells"
    )
    peer._codebook.embed.data.copy_(words)
    peer._codebook.embed_avg.data.copy_(words)
    return peer


def ours(layout: str, words: Tensor) -> VectorQuantizer:
    """Ours, as it comes."""
    quantizer = VectorQuantizer(CODES, DIM, init="random")
    quantizer.sum.copy_(words)
    return quantizer


def source(layout: str) -> Tensor:
    """The vectors."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(VECTORS, DIM, generator=generator)
    if layout == "rows":
        return x[None]
    return x.view(CELLS[0], CELLS[2], CELLS[3], DIM).permute(0, 3, 1, 2).contiguous()


def call(name: str, layout: str, training: bool) -> Callable[[], tuple[Tensor, Tensor]]:
    """One call of a competitor; returns the codewords and, in training, the gradient."""
    generator = torch.Generator().manual_seed(1)
    words, x = torch.randn(CODES, DIM, generator=generator), source(layout)
    if name == "causalcnn":
        quantizer = ours(layout, words).train(training)
        turned = layout == "rows"

        def forward(x: Tensor) -> tuple[Tensor, Tensor]:
            x = x.transpose(1, 2) if turned else x
            if not training:
                return quantizer(x), x
            found = quantizer.quantize(x)
            return found.values, found.commitment
    else:
        peer = package(layout, words).train(training)

        def forward(x: Tensor) -> tuple[Tensor, Tensor]:
            values, _, commitment = peer(x)
            return values, commitment.sum()

    def infer() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return forward(x)[0], x

    def train() -> tuple[Tensor, Tensor]:
        leaf = x.detach().requires_grad_()
        values, commitment = forward(leaf)
        (values.sum() + commitment).backward()
        return values.detach(), leaf.grad

    return train if training else infer


@torch.no_grad()
def floor(x: Tensor, piece: int, training: bool) -> Callable[[], object]:
    """What no lookup of this form can leave out, into memory that is there, of ``x`` as ``(batch, vectors, dim)``."""
    words = torch.randn(CODES, DIM)
    half_norms, turned = words.square().sum(1) / 2, words.T.contiguous()
    scores, room = torch.empty(piece, CODES), torch.empty(piece, DIM)
    count, total, ones = torch.zeros(CODES), torch.zeros(CODES, DIM), torch.ones(piece)

    @torch.no_grad()
    def run() -> None:
        for row in x:
            for part in row.split(piece):
                if not part.is_contiguous():
                    part = room[: len(part)].copy_(part)
                codes = torch.addmm(half_norms, part, turned, alpha=-1, out=scores[: len(part)]).argmin(1)
                if training:
                    total.index_add_(0, codes, part)
                    count.index_add_(0, codes, ones[: len(part)])

    return run


def best_floor(x: Tensor, training: bool) -> Callable[[], object]:
    """The floor in pieces of the best size."""
    x = x.flatten(2).transpose(1, 2) if x.shape[1] == DIM else x
    floors = {str(piece): floor(x, piece, training) for piece in PIECES}
    times = in_turn(floors, 5)
    return floors[min(times, key=lambda piece: times[piece])]


def few(rounds: int) -> dict[str, dict[str, float]]:
    """Ours over the floor for few vectors, channels first; in inference also as a stream."""
    table = {}
    for vectors in FEW:
        x = torch.randn(1, DIM, vectors)
        for mode in ("inference", "training"):
            quantizer = ours("cells", torch.randn(CODES, DIM)).train(mode == "training")
            run = {"ours": step(quantizer, x, mode == "training"), "floor": best_floor(x, mode == "training")}
            if mode == "inference":
                stream = quantizer.stream()
                run["stream"] = lambda stream=stream, x=x: stream(x)
            times = in_turn(run, rounds, inner=5)
            table[f"{vectors}, {mode}"] = {
                name: round(seconds / times["floor"], 2) for name, seconds in times.items() if name != "floor"
            }
    return table


def step(quantizer: VectorQuantizer, x: Tensor, training: bool) -> Callable[[], object]:
    """A training step, or an inference, of ours."""

    def train() -> None:
        found = quantizer.quantize(x.detach().requires_grad_())
        (found.values.sum() + found.commitment).backward()

    return train if training else torch.no_grad()(lambda: quantizer(x))


def beside_others(rounds: int) -> dict[str, dict[str, float]]:
    """The time of ours with 2 threads over that with 1, in turn, with a busy process on every core."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    table = {}
    try:
        for layout in LAYOUTS:
            for training in (True, False):
                run = call("causalcnn", layout, training)
                seconds: dict[int, list[float]] = {1: [], 2: []}
                for threads in (1, 2) * (rounds + 1):
                    torch.set_num_threads(threads)
                    start = time.perf_counter()
                    run()
                    seconds[threads].append(time.perf_counter() - start)
                ratios = [two / one for one, two in zip(seconds[1][1:], seconds[2][1:], strict=True)]
                low, median, high = statistics.quantiles(ratios, n=4)
                name = f"{layout}, {'training' if training else 'inference'}"
                table[name] = {"median": round(median, 2), "low": round(low, 2), "high": round(high, 2)}
    finally:
        for process in busy:
            process.kill()
    return table


def check() -> None:
    """Both quantise alike before either is timed."""
    for layout in LAYOUTS:
        for training in (False, True):
            (a, slope_a), (b, slope_b) = (call(name, layout, training)() for name in ("causalcnn", "package"))
            a = a.transpose(1, 2) if layout == "rows" else a
            different = (a - b).abs().amax(1 if layout == "cells" else 2) > 1e-4
            assert different.float().mean() < 1e-4, f"{int(different.sum())} vectors are quantised differently"
            if training:
                assert (slope_a - slope_b).abs().mean() < 1e-6


def megabytes(name: str, layout: str, training: bool) -> float:
    """The peak of one call above what was held before, MB; run in a process of its own (Linux, glibc)."""
    warm = call(name, layout, training)
    warm()  # what is loaded or allocated once
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed goes back to the system, so that it counts again
    status = Path("/proc/self/status")
    before = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    kept = warm()
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    del kept
    return (peak - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peak", nargs=3, metavar=("NAME", "LAYOUT", "MODE"), help="print the peak of one call, MB")
    arguments = parser.parse_args()
    if arguments.out:
        check_writable(arguments.out)
    if arguments.peak:
        torch.set_num_threads(1)
        print(megabytes(arguments.peak[0], arguments.peak[1], arguments.peak[2] == "training"))
        return
    check()
    tables: dict[str, dict[str, float]] = {}
    small: dict[str, dict[str, dict[str, float]]] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        random.seed(0)
        for training in (True, False):
            mode = "training" if training else "inference"
            run = {
                f"{name}, {layout}": call(name, layout, training)
                for layout in LAYOUTS
                for name in ("causalcnn", "package")
            }
            run |= {f"floor, {layout}": best_floor(source(layout), training) for layout in LAYOUTS}
            tables[f"{mode}, {threads} threads"] = in_turn(run, arguments.rounds)
        small[f"{threads} threads"] = few(arguments.rounds)
    loaded = beside_others(9)
    memory = {}
    for name in ("causalcnn", "package"):
        for mode in ("training", "inference"):
            command = [sys.executable, __file__, "--peak", name, "cells", mode]
            memory[f"{name}, {mode}"] = float(subprocess.run(command, check=True, capture_output=True).stdout)
    ratios = {}
    for title, table in tables.items():
        print(f"\n{title}")
        for name, seconds in table.items():
            print(f"  {name:18} {seconds * 1000:9.2f} ms   {seconds / table['causalcnn, cells']:6.2f} × ours on cells")
        ratios[title] = {
            "package / ours, rows": round(table["package, rows"] / table["causalcnn, rows"], 2),
            "package / ours, cells": round(table["package, cells"] / table["causalcnn, cells"], 2),
            "ours, rows / floor": round(table["causalcnn, rows"] / table["floor, rows"], 3),
            "ours, cells / floor": round(table["causalcnn, cells"] / table["floor, cells"], 3),
        }
        for name, ratio in ratios[title].items():
            print(f"  {name:24} {ratio:6.2f}")
    print("\npeak memory of one call, cells, above what was held before")
    for name, size in memory.items():
        print(f"  {name:22} {size:8.1f} MB")
    for threads, table in small.items():
        print(f"\nfew vectors, over the floor, {threads}")
        for name, row in table.items():
            print(f"  {name:18} {row}")
    print("\n2 threads over 1, with a busy process on every core")
    for name, row in loaded.items():
        print(f"  {name:18} {row['median']:6.2f}   ({row['low']:.2f} to {row['high']:.2f})")
    if arguments.out:
        result = {
            "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}",
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "sizes": {"vectors": VECTORS, "dim": DIM, "codes": CODES, "cells": CELLS},
            "seeds": [0],
            "spread": f"median of {arguments.rounds}, in turn",
            "command": "python benchmarks/quantizer.py",
            "milliseconds": {t: {n: round(s * 1000, 3) for n, s in table.items()} for t, table in tables.items()},
            "ratios": ratios,
            "few vectors, over the floor": small,
            "2 threads over 1, beside busy processes": loaded,
            "peak_megabytes": {name: round(size, 1) for name, size in memory.items()},
        }
        write_json(arguments.out, result)


if __name__ == "__main__":
    main()
