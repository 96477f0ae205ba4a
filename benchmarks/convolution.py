"""A stack of ten dilated causal convolutions: the whole sequence, and one frame at a time.

Everything is timed in one process, the competitors in turn, and reported as the median time and as its ratio
to ours. 64 channels, kernel 3, dilations 1, 2, 4, 8, 16, twice; 16,000 steps for the whole sequence.

    python benchmarks/convolution.py [--rounds 15] [--out book/measurements/convolution-speed.json]

Competitors: pad on the left, then convolve; pad both sides, convolve, chop; the PyPI package pytorch-tcn; and
the floor, the ten matrix products alone, which no convolution of this size can beat by much.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn._files import check_writable, write_json
from causalcnn.nn import CausalConv1d, CausalSequential

CHANNELS, KERNEL, DILATIONS, STEPS = 64, 3, (1, 2, 4, 8, 16) * 2, 16_000


class PadThenConvolve(nn.Conv1d):
    """The plain way."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return super().forward(F.pad(x, ((self.kernel_size[0] - 1) * self.dilation[0], 0)))


class PadBothThenChop(nn.Conv1d):
    """The other plain way: let the convolution pad, drop the end."""

    def __init__(self, *arguments: int, dilation: int) -> None:
        super().__init__(*arguments, dilation=dilation, padding=2 * dilation)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return super().forward(x)[:, :, : -self.padding[0]]  # type: ignore[operator]


def stacks() -> dict[str, nn.Module]:
    """The same network, with the same weights, in each way."""
    from pytorch_tcn.conv import TemporalConv1d

    ours = CausalSequential(*(CausalConv1d(CHANNELS, CHANNELS, KERNEL, dilation=d) for d in DILATIONS))
    made: dict[str, nn.Module] = {"causalcnn": ours}
    for name, kind in (("pad, then convolve", PadThenConvolve), ("pad both, chop", PadBothThenChop)):
        made[name] = nn.Sequential(*(kind(CHANNELS, CHANNELS, KERNEL, dilation=d) for d in DILATIONS))
    made["pytorch-tcn"] = nn.Sequential(
        *(TemporalConv1d(CHANNELS, CHANNELS, KERNEL, dilation=d, causal=True, buffer=None) for d in DILATIONS)
    )
    for stack in made.values():
        for layer, source in zip(stack.parts if stack is ours else stack, ours.parts, strict=True):
            layer.weight.data.copy_(source.weight.data)
            layer.bias.data.copy_(source.bias.data)
    return made


def in_turn(run: dict[str, Callable[[], object]], rounds: int, inner: int = 1) -> dict[str, float]:
    """Median seconds of each, in turns of a random order.

    So a drift of the machine, and what the one before leaves in caches and allocator, meets all alike.
    """
    times: dict[str, list[float]] = {name: [] for name in run}
    for call in run.values():
        call()
    turn = list(run.items())
    for _ in range(rounds):
        random.shuffle(turn)
        for name, call in turn:
            start = time.perf_counter()
            for _ in range(inner):
                call()
            times[name].append((time.perf_counter() - start) / inner)
    return {name: statistics.median(t) for name, t in times.items()}


def whole(rounds: int, backward: bool) -> dict[str, float]:
    """Forward, or forward and backward, over the whole sequence."""
    x = torch.randn(1, CHANNELS, STEPS)
    made = stacks()
    reference = made["causalcnn"](x)
    for name, stack in made.items():
        torch.testing.assert_close(stack(x), reference, rtol=1e-4, atol=1e-4, msg=name)
    weights = [torch.randn(CHANNELS, CHANNELS * KERNEL) for _ in DILATIONS]
    columns = torch.randn(CHANNELS * KERNEL, STEPS)

    def run(stack: nn.Module) -> Callable[[], object]:
        def call() -> None:
            if backward:
                stack(x).sum().backward()
            else:
                with torch.no_grad():
                    stack(x)

        return call

    def floor() -> None:
        for weight in weights:
            y = weight @ columns
            if backward:  # the gradients of the input and of the weight
                weight.T @ y
                y @ columns.T

    return in_turn({name: run(stack) for name, stack in made.items()} | {"floor": floor}, rounds)


def streaming(rounds: int) -> dict[str, float]:
    """One frame at a time."""
    made = stacks()
    ours, peer, plain = (made[name].eval() for name in ("causalcnn", "pytorch-tcn", "pad, then convolve"))
    window = torch.randn(1, CHANNELS, ours.field.size)
    frame = torch.randn(1, CHANNELS, 1)
    stream = ours.stream()
    buffers = [torch.zeros(1, CHANNELS, 2 * d) for d in DILATIONS]
    for layer, buffer in zip(peer, buffers, strict=True):
        layer.buffer = buffer

    @torch.no_grad()
    def tcn() -> None:
        y = frame
        for layer in peer:
            y = layer(y, inference=True)

    @torch.no_grad()
    def recompute() -> None:
        plain(window)

    return in_turn(
        {"causalcnn": lambda: stream(frame), "pytorch-tcn": tcn, "recompute the window": recompute}, rounds, inner=40
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.out:
        check_writable(arguments.out)
    tables: dict[str, dict[str, float]] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        random.seed(0)
        tables[f"forward, {threads} threads"] = whole(arguments.rounds, backward=False)
        tables[f"forward and backward, {threads} threads"] = whole(arguments.rounds, backward=True)
        tables[f"one frame, {threads} threads"] = streaming(arguments.rounds)
    for title, table in tables.items():
        print(f"\n{title}")
        for name, seconds in table.items():
            print(f"  {name:22} {seconds * 1000:9.3f} ms   {seconds / table['causalcnn']:6.2f} × ours")
    if arguments.out:
        result = {
            "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}",
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "seeds": [0],
            "spread": f"median of {arguments.rounds}, in turn",
            "command": "python benchmarks/convolution.py",
            "milliseconds": {t: {n: round(s * 1000, 4) for n, s in table.items()} for t, table in tables.items()},
        }
        write_json(arguments.out, result)


if __name__ == "__main__":
    main()
