"""Compiled streams, one frame or sample at a time, against streams of torch and what published code does; one thread.

- A stack of ten causal convolutions (64 channels, kernel 3, dilations 1 to 16, twice), against torch and pytorch-tcn.
- A frame through the VQ-VAE-2, from log-mel to log-mel, and from sound to codes.
- The first hundred frames of a fresh stream, against a hundred of a warm one.
- WaveNet: drawing, against the queue method (arXiv 1611.09482) with one module of torch a layer, as published PyTorch
  versions do; ``small`` has 10 layers, ``default`` 40. And the memory of a million samples.
- PixelCNN and MelNet: a drawn frame, its bands in one compiled call, and by torch.

Everything in one process, in process CPU time, in rounds in turn; a ratio is the median of the rounds' ratios. With
``--floor FOLDER`` hand-written C++ is measured in the same rounds: ``stack.cpp`` with a function ``step``, and
``wavenet.cpp`` with ``wavenet``.

    python benchmarks/compiled_stream.py [--rounds 9] [--floor FOLDER] [--out book/measurements/compiled-speed.json]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from causalcnn._files import check_writable, write_json
from causalcnn.models import CausalVQVAE2, CodeEncoder, MelNet, PixelCNN, VQVAE2Config, WaveNet, WaveNetConfig
from causalcnn.models.autoregressive import HEAD_SCALE
from causalcnn.nn import CausalConv1d, CausalModule, CausalSequential
from causalcnn.speech import LogMel

Ways = dict[str, tuple[Callable[[], object], int]]
"""For each way a call, and how many frames or samples it is of."""

SMALL = WaveNetConfig(skip_channels=32, head_channels=32)
DEFAULT = WaveNetConfig.base()
DILATIONS = (1, 2, 4, 8, 16) * 2
SAMPLES = 4000
"""Of WaveNet in one call: a quarter of a second at 16 kHz."""


def in_turn(ways: Ways, rounds: int, seconds: float = 0.05) -> dict[str, Any]:
    """Microseconds of process time each, and how many times ours (the first) the others take, with quartiles."""
    counts: dict[str, int] = {}
    for name, (call, _) in ways.items():
        call()
        start = time.process_time()
        call()
        counts[name] = max(1, int(seconds / max(1e-7, time.process_time() - start)))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (call, size) in ways.items():
            start = time.process_time()
            for _ in range(counts[name]):
                call()
            times[name].append((time.process_time() - start) / counts[name] / size)
    ours = times[next(iter(ways))]
    table = {}
    for name, values in times.items():
        ratios = [theirs / mine for theirs, mine in zip(values, ours, strict=True)]
        table[name] = {
            "microseconds": round(statistics.median(values) * 1e6, 2),
            "times_ours": round(statistics.median(ratios), 3),
            "quartiles": [round(q, 3) for q in np.percentile(ratios, (25, 75)).tolist()],
        }
    return table


def compiled_floor(folder: Path, name: str) -> ctypes.CDLL:
    """Compile C++ as its first line says."""
    library = Path(tempfile.mkdtemp()) / f"{name}.so"
    flags = ["-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC"]
    subprocess.run(["g++", *flags, str(folder / f"{name}.cpp"), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


# ---------------------------------------------------------------------------------------------------- the stack
def stack(floor: Path | None) -> Ways:
    """One frame through ten layers with ReLU."""
    from pytorch_tcn.conv import TemporalConv1d

    layers = [CausalConv1d(64, 64, 3, dilation=d) for d in DILATIONS]
    ours = CausalSequential(*(part for layer in layers for part in (layer, nn.ReLU()))).eval()
    frame = torch.randn(1, 64, 1)
    compiled, plain = ours.stream(engine="compiled"), ours.stream()
    torch.testing.assert_close(compiled(frame), plain(frame), rtol=1e-4, atol=1e-5)
    peers = [TemporalConv1d(64, 64, 3, dilation=d, causal=True, buffer=None) for d in DILATIONS]
    for peer, layer in zip(peers, layers, strict=True):
        peer.load_state_dict(layer.state_dict(), strict=False)
        peer.buffer = torch.zeros(1, 64, 2 * layer.dilation[0])

    @torch.no_grad()
    def tcn() -> None:
        y = frame
        for peer in peers:
            y = torch.relu(peer(y, inference=True))

    ways: Ways = {
        "compiled": (lambda: compiled(frame), 1),
        "torch": (lambda: plain(frame), 1),
        "pytorch-tcn": (tcn, 1),
    }
    if floor:
        step = compiled_floor(floor, "stack").step
        weights = np.concatenate([layer.weight.detach().permute(2, 1, 0).reshape(-1).numpy() for layer in layers])
        bias = np.concatenate([layer.bias.detach().numpy() for layer in layers])  # type: ignore[union-attr]
        dilations = np.array(DILATIONS, np.int32)
        offsets = np.cumsum([0, *(2 * d for d in DILATIONS)]).astype(np.int64)
        rings, x, y = (
            np.zeros(64 * int(offsets[-1]), np.float32),
            frame.numpy().reshape(64).copy(),
            np.zeros(64, np.float32),
        )
        at = [0]

        def hand_written() -> None:
            step(
                address(x), address(y), ctypes.c_long(at[0]), len(DILATIONS), address(weights), address(bias),
                address(dilations), address(offsets), address(rings),
            )  # fmt: skip
            at[0] += 1

        ways["C++"] = (hand_written, 1)
    return ways


# ------------------------------------------------------------------------------------------------- the VQ-VAE-2
def vqvae2(config: VQVAE2Config) -> CausalVQVAE2:
    """A model whose codebooks have met data."""
    model = CausalVQVAE2(config)
    model.train().reconstruct(torch.randn(4, 1, 64, 80) * 20 - 35)
    return model.eval()


def both_engines(module: CausalModule, piece: Tensor) -> Ways:
    """A piece, compiled and in torch."""
    compiled, plain = module.stream(engine="compiled"), module.stream()
    return {"compiled": (lambda: compiled(piece), 1), "torch": (lambda: plain(piece), 1)}


def fresh(module: CausalModule, piece: Tensor) -> Ways:
    """A hundred frames of a warm stream, and the first hundred of a fresh one."""
    warm = module.stream(engine="compiled")

    def hundred(stream: Any) -> None:
        for _ in range(100):
            stream(piece)

    return {
        "warm": (lambda: hundred(warm), 100),
        "fresh": (lambda: hundred(module.stream(engine="compiled")), 100),
    }


# ------------------------------------------------------------------------------------------------------ WaveNet
class QueueOfModules:
    """The queue method as published PyTorch versions have it: for each layer a queue, and a call of each module."""

    def __init__(self, model: WaveNet) -> None:
        c, blocks = model.config, model.residual_blocks
        self.start = model.input
        self.filters, self.gates, self.residuals, self.skips = ([] for _ in range(4))
        for block in blocks:
            for half, modules in zip(block.dilated.weight.chunk(2), (self.filters, self.gates), strict=True):
                modules.append(self.module(half))
            self.residuals.append(None if block.residual is None else self.module(block.residual.weight))
            self.skips.append(self.module(block.skip.weight))
        _, hidden, _, output = model.head.parts
        self.head = [self.module(layer.weight, layer.bias) for layer in (hidden, output)]  # type: ignore[arg-type]
        self.dilations = c.dilations
        self.queues = [torch.zeros(c.residual_channels, d) for d in self.dilations]
        self.size, self.at, self.last = model.sample_channels, 0, 128

    @staticmethod
    def module(weight: Tensor, bias: Tensor | None = None) -> nn.Conv1d:
        """A convolution with these weights."""
        out, channels, taps = weight.shape
        layer = nn.Conv1d(channels, out, taps, bias=bias is not None)
        layer.weight.data.copy_(weight.detach())
        if bias is not None and layer.bias is not None:
            layer.bias.data.copy_(bias.detach())
        return layer

    @torch.no_grad()
    def sample(self) -> None:
        """Draw one sample."""
        x = torch.zeros(1, self.size, 1)
        x[0, self.last] = 1
        h = self.start(x)
        total: Any = 0
        layers = zip(self.filters, self.gates, self.residuals, self.skips, self.queues, self.dilations, strict=True)
        for filter_, gate, residual, skip, queue, dilation in layers:
            place = self.at % dilation
            window = torch.stack([queue[:, place], h[0, :, 0]], dim=1)[None]
            queue[:, place] = h[0, :, 0]
            z = torch.tanh(filter_(window)) * torch.sigmoid(gate(window))
            total = total + skip(z)
            if residual is not None:
                h = residual(z) + h
        for layer in self.head:
            total = layer(torch.relu(total))
        self.last = int(torch.multinomial(torch.softmax(HEAD_SCALE * total[0, :, 0], dim=0), 1))
        self.at += 1


def wavenet(config: WaveNetConfig, floor: Path | None) -> Ways:
    """Samples, thousands in one call where that can be."""
    model = WaveNet(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    compiled, plain, queue = model.sampler(engine="compiled"), model.sampler(), QueueOfModules(model)
    uniform = torch.rand(1, SAMPLES, 1, dtype=torch.float64)
    one = uniform[:, 0]
    ways: Ways = {
        "compiled": (lambda: compiled.draw_all(uniform), SAMPLES),
        "torch": (lambda: plain.draw(one), 1),
        "queue of modules": (queue.sample, 1),
    }
    if floor:
        ways["C++"] = (wavenet_in_cpp(compiled_floor(floor, "wavenet").wavenet, model, uniform), SAMPLES)
    return ways


def wavenet_in_cpp(function: Any, model: WaveNet, uniform: Tensor) -> Callable[[], object]:
    """The hand-written loop with the model's weights; its last layer has a residual that nobody reads."""
    c, blocks = model.config, model.residual_blocks
    gated = [block.dilated.weight.detach().permute(2, 1, 0).reshape(-1) for block in blocks]
    ends = []
    for block in blocks:
        residual = (
            torch.zeros(c.residual_channels, c.gate_channels)
            if block.residual is None
            else block.residual.weight[:, :, 0]
        )
        ends.append(torch.cat([residual, block.skip.weight[:, :, 0]]).detach().T.reshape(-1))
    _, hidden, _, output = model.head.parts
    parts = [model.input.weight[:, :, 0].T, torch.cat(gated), torch.cat(ends)]
    for layer, scale in ((hidden, 1.0), (output, HEAD_SCALE)):
        parts += [scale * layer.weight[:, :, 0].T, scale * layer.bias]  # type: ignore[index,operator,union-attr]
    arrays = [part.detach().contiguous().numpy() for part in parts]
    dilations, offsets = np.array(c.dilations, np.int64), np.cumsum([0, *c.dilations]).astype(np.int64)
    codes, numbers, nothing = np.zeros(SAMPLES, np.int64), uniform.numpy().reshape(-1).copy(), np.zeros(1, np.float32)
    sizes = (len(blocks), c.residual_channels, c.gate_channels, c.skip_channels, c.head_channels)

    def draw() -> None:
        function(
            *map(address, (*arrays, dilations, offsets)), *sizes, ctypes.c_long(SAMPLES), address(codes), 0,
            address(numbers), address(nothing),
        )  # fmt: skip

    return draw


def bands(model: Any) -> Ways:
    """A frame of a model that draws value by value: its bands in one compiled call, and by torch."""
    compiled = model.eval().sampler()
    plain = type(compiled)(model, 1, compiled=False)
    uniform = compiled.uniform(torch.Generator().manual_seed(0))
    return {"compiled": (lambda: compiled.draw(uniform), 1), "torch": (lambda: plain.draw(uniform), 1)}


def memory(samples: int) -> dict[str, float]:
    """How much a process grows while it draws, in MB, after its first 50,000 samples."""
    sampler = WaveNet(SMALL).eval().sampler(engine="compiled")
    uniform = torch.rand(1, 50_000, 1, dtype=torch.float64)
    before = 0
    for done in range(0, samples, 50_000):
        sampler.draw_all(uniform)
        if not done:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"samples": samples, "megabytes": round(grown / 1024, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--floor", type=Path, help="a folder with stack.cpp and wavenet.cpp")
    parser.add_argument("--samples", type=int, default=1_000_000, help="drawn to see whether memory grows")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.out:
        check_writable(asked.out)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    frame, hop = torch.randn(1, 1, 1, 80) * 15 - 35, torch.randn(1, 1, 160) * 0.1
    tiny, base = vqvae2(VQVAE2Config.tiny()), vqvae2(VQVAE2Config.base())
    sound_to_codes = CausalSequential(LogMel(), CodeEncoder(tiny)).eval()
    works: dict[str, Callable[[], Ways]] = {
        "stack of 10 layers, a frame": lambda: stack(asked.floor),
        "VQ-VAE-2 tiny, a frame": lambda: both_engines(tiny, frame),
        "VQ-VAE-2 base, a frame": lambda: both_engines(base, frame),
        "sound to codes, a hop": lambda: both_engines(sound_to_codes, hop),
        "VQ-VAE-2 tiny, the first 100 frames": lambda: fresh(tiny, frame),
        "WaveNet small, a sample": lambda: wavenet(SMALL, asked.floor),
        "WaveNet default, a sample": lambda: wavenet(DEFAULT, asked.floor),
        "PixelCNN tiny, a frame": lambda: bands(PixelCNN()),
        "MelNet tiny, a frame": lambda: bands(MelNet()),
    }
    result: dict[str, Any] = {
        "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "seeds": [0],
        "spread": f"medians of {asked.rounds} rounds in turn, process CPU time; quartiles of the rounds' ratios",
        "command": " ".join(["python benchmarks/compiled_stream.py", *(f"--rounds {asked.rounds}",)]),
        "load": round(os.getloadavg()[0], 1),
        "works": {},
    }
    for title, make in works.items():
        result["works"][title] = table = in_turn(make(), asked.rounds)
        print(f"\n{title}")
        for name, row in table.items():
            print(
                f"  {name:18} {row['microseconds']:10.2f} µs   {row['times_ours']:8.2f} × {next(iter(table))}",
                flush=True,
            )
    result["memory"] = memory(asked.samples)
    print(f"\nmemory: {result['memory']}")
    if asked.out:
        write_json(asked.out, result)


if __name__ == "__main__":
    sys.exit(main())
