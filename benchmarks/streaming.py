"""One frame at a time: the streams of torch beside the same network as a list of torch's operations, written by hand.

Everything runs on one thread in one process, in turns, and is measured in the time of the process. A ratio is that of
two in the same round; reported are the median and the quartiles of the ratios.

    python benchmarks/streaming.py [--rounds 15] [--out book/measurements/streaming-speed.json]

Written by hand are the VQ-VAE-2, ``tiny`` and ``base`` (memory for everything is there, frames lie channels last in
rings, a convolution is one product for each tap along frequency), and the stack of ten dilated convolutions of
``benchmarks/convolution.py`` (a ring and one product a layer). Beside them: the first 100 frames of a stream that has
just been made, without and with the time to make it, against 100 frames of one that has been running.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from convolution import CHANNELS, DILATIONS, KERNEL
from torch import Tensor, nn

from causalcnn._files import check_writable, write_json
from causalcnn.models import CausalVQVAE2, VQVAE2Config
from causalcnn.nn import (
    CausalConv1d,
    CausalConv2d,
    CausalConvTranspose2d,
    CausalSequential,
    ResidualBlock2d,
    VectorQuantizer,
)

FRAMES = 100
Frame = Callable[[Tensor], Tensor]


class ByHand:
    """The VQ-VAE-2 for one row: a list of operations for each of the places of its rings, in memory that is there."""

    def __init__(self, model: CausalVQVAE2) -> None:
        self.config, self.slots = model.config, model.config.kernel_size
        self.operations: list[list[Callable[[], object]]] = [[] for _ in range(self.slots)]
        self.frame = 0
        self.input = torch.zeros(self.config.mels, 1)
        features = self.run(model.encoder_bottom, self.input)
        top = self.look_up(model.quantize_top, self.run(model.encoder_top, features))
        beside = self.beside(features, self.run(model.hint, top))
        bottom = self.look_up(model.quantize_bottom, self.convolve(model.project_bottom, beside))
        self.output = self.run(model.decoder, self.beside(self.double(model.upsample_top, top), bottom))

    def __call__(self, x: Tensor) -> Tensor:
        """The next frame, ``(1, 1, 1, mels)``."""
        c = self.config
        self.input[:, 0] = (x[0, 0, 0].clamp(min=c.floor_db) - c.mean_db) / c.spread_db
        for operation in self.operations[self.frame % self.slots]:
            operation()
        self.frame += 1
        return self.output.view(1, 1, 1, -1) * c.spread_db + c.mean_db

    def always(self, function: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Do this in every frame."""
        for operations in self.operations:
            operations.append(functools.partial(function, *arguments, **options))

    def run(self, layers: CausalSequential, x: Tensor) -> Tensor:
        """Layers in series; a ReLU is done where the next layer writes its input."""
        relu = False
        for layer in layers.parts:
            if isinstance(layer, ResidualBlock2d):
                x, relu = self.rectified(x) if relu else x, False
                _, first, _, second = layer.body.parts
                self.convolve(second, self.convolve(first, x, relu=True), relu=True, onto=x)
            elif isinstance(layer, CausalConv2d):
                x, relu = self.convolve(layer, x, relu), False
            elif isinstance(layer, CausalConvTranspose2d):
                x, relu = self.double(layer, x, relu), False
            else:
                relu = True
        return self.rectified(x) if relu else x

    def rectified(self, x: Tensor) -> Tensor:
        """A ReLU that somebody else reads, too."""
        out = torch.zeros_like(x)
        self.always(torch.clamp_min, x, 0, out=out)
        return out

    @staticmethod
    def write(x: Tensor, place: Tensor, relu: bool) -> Callable[[], object]:
        """The operation that writes ``x``."""
        return functools.partial(torch.clamp_min, x, 0, out=place) if relu else functools.partial(place.copy_, x)

    def convolve(self, layer: CausalConv2d, x: Tensor, relu: bool = False, onto: Tensor | None = None) -> Tensor:
        """A product for each tap along frequency; the taps along time lie side by side."""
        (taps, cells), channels, step = layer.kernel_size, layer.in_channels, layer.stride[1]
        slots, (below, above) = 2 * taps if taps > 1 else 1, layer.frequency_padding
        ring = torch.zeros(below + len(x) + above, slots, channels)
        inside, count = ring[below : below + len(x)], (len(ring) - cells) // step + 1
        out = torch.zeros(count, layer.out_channels) if onto is None else onto
        weight, bias = layer.weight.permute(3, 2, 1, 0).flatten(1, 2).contiguous(), layer.bias.clone()
        for place, operations in enumerate(self.operations):
            slot = place % taps
            operations.append(self.write(x, inside[:, slot], relu))
            if taps > 1:
                operations.append(functools.partial(inside[:, slot + taps].copy_, inside[:, slot]))
            if onto is not None:
                operations.append(functools.partial(onto.add_, bias))
            if taps == 1:
                rows = ring.as_strided((count, cells * channels), (step * channels, 1))
                products = [(rows, weight.flatten(0, 1))]
            else:
                window = ring[:, slot + 1 : slot + 1 + taps]
                shape, strides = (count, taps * channels), (step * ring.stride(0), 1)
                products = [
                    (window.as_strided(shape, strides, window[cell].storage_offset()), weight[cell])
                    for cell in range(cells)
                ]
            for rows, matrix in products:
                if onto is None and rows is products[0][0]:
                    operations.append(functools.partial(torch.addmm, bias, rows, matrix, out=out))
                else:
                    operations.append(functools.partial(out.addmm_, rows, matrix))
        return out

    def double(self, layer: CausalConvTranspose2d, x: Tensor, relu: bool = False) -> Tensor:
        """Twice as many cells: both that come of a cell are one row of a product with it and its neighbors."""
        assert (layer.kernel_size, layer.stride, layer.frequency_padding) == ((1, 4), (1, 2), 1)
        channels, out_channels = layer.in_channels, layer.out_channels
        padded, matrix = torch.zeros(len(x) + 2, channels), torch.zeros(3, channels, 2, out_channels)
        for neighbor, half, tap in ((0, 0, 3), (1, 0, 1), (1, 1, 2), (2, 1, 0)):
            matrix[neighbor, :, half] = layer.weight[:, :, 0, tap]
        out = torch.zeros(len(x), 2 * out_channels)
        rows = padded.as_strided((len(x), 3 * channels), (channels, 1))
        for operations in self.operations:
            operations.append(self.write(x, padded[1:-1], relu))
        self.always(torch.addmm, layer.bias.repeat(2), rows, matrix.flatten(0, 1).flatten(1), out=out)
        return out.view(-1, out_channels)

    def look_up(self, quantizer: VectorQuantizer, x: Tensor) -> Tensor:
        """The codewords."""
        book = quantizer.codebook
        scores, out = torch.zeros(len(x), len(book)), torch.zeros(len(x), book.shape[1])
        codes = torch.zeros(len(x), dtype=torch.int64)
        self.always(torch.addmm, book.square().sum(1) / 2, x, -book.T.contiguous(), out=scores)
        self.always(torch.argmin, scores, 1, out=codes)
        self.always(torch.index_select, book, 0, codes, out=out)
        return out

    def beside(self, a: Tensor, b: Tensor) -> Tensor:
        """The channels of both."""
        out = torch.zeros(len(a), a.shape[1] + b.shape[1])
        self.always(out[:, : a.shape[1]].copy_, a)
        self.always(out[:, a.shape[1] :].copy_, b)
        return out


def stack_by_hand(stack: CausalSequential) -> Frame:
    """Ten layers: a ring of frames for each phase, written twice, and one product."""
    layers = []
    for layer in stack.parts:
        spread, channels = layer.dilation[0], layer.in_channels
        rings = torch.zeros(spread, 2 * KERNEL, channels)
        places = [
            (ring[slot::KERNEL][:2], ring[slot + 1 : slot + 1 + KERNEL].view(1, -1))
            for slot in range(KERNEL)
            for ring in rings
        ]
        matrix = layer.weight.permute(2, 1, 0).reshape(-1, layer.out_channels).contiguous()
        layers.append((places, matrix, layer.bias.clone(), torch.zeros(1, layer.out_channels)))
    count = 0

    def frame(x: Tensor) -> Tensor:
        nonlocal count
        y = x[:, :, 0]
        for places, matrix, bias, out in layers:
            target, window = places[count % len(places)]
            target.copy_(y)
            y = torch.addmm(bias, window, matrix, out=out)
        count += 1
        return y[:, :, None].clone()

    return frame


def model(preset: str) -> CausalVQVAE2:
    """Random weights, codebooks from a batch of noise of the level of speech."""
    torch.manual_seed(0)
    made = CausalVQVAE2(getattr(VQVAE2Config, preset)()).train()
    made.reconstruct(torch.randn(4, 1, 64, 80) * 20 - 35)
    return made.eval()


def in_turn(run: dict[str, Callable[[], Callable[[], object]]], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds a frame of each, when it is prepared, round by round, in turns of a random order."""
    times: dict[str, list[float]] = {name: [] for name in run}
    for prepare in [*run.values()] * 2:
        prepare()()
    for _ in range(rounds):
        for name, prepare in random.sample(list(run.items()), len(run)):
            call = prepare()
            start = time.process_time()
            call()
            times[name].append((time.process_time() - start) * 1000 / FRAMES)
    return times


def compared(name: str, network: CausalSequential | CausalVQVAE2, by_hand: Frame, x: Tensor, rounds: int) -> Any:
    """Milliseconds a frame of each, and the ratios that this file is about."""
    frames = x.split(1, dim=2)
    warm = network.stream()
    want, got = (torch.cat([run(frame) for frame in frames], 2) for run in (by_hand, warm))
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)

    def all_frames(run: Frame) -> Callable[[], object]:
        return lambda: [run(frame) for frame in frames]

    times = in_turn(
        {
            "stream": lambda: all_frames(warm),
            "by hand": lambda: all_frames(by_hand),
            "fresh stream": lambda: all_frames(network.stream(network.initial_state(frames[0]))),
            "fresh stream, made": lambda: lambda: all_frames(network.stream())(),
        },
        rounds,
    )

    def ratio(a: str, b: str) -> dict[str, float]:
        ratios = [mine / theirs for mine, theirs in zip(times[a], times[b], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        return {"median": round(median, 3), "low": round(low, 3), "high": round(high, 3)}

    row = {
        "milliseconds": {each: round(statistics.median(spent), 4) for each, spent in times.items()},
        "stream / by hand": ratio("stream", "by hand"),
        "fresh / warm": ratio("fresh stream", "stream"),
        "fresh, made / warm": ratio("fresh stream, made", "stream"),
    }
    print(f"{name:24} {row['milliseconds']}")
    for title, each in list(row.items())[1:]:
        print(f"    {title:18} {each['median']:6.2f}   ({each['low']:.2f} to {each['high']:.2f})", flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.out:
        check_writable(asked.out)
    torch.set_num_threads(1)
    random.seed(0)
    table = {}
    with torch.no_grad():
        for preset in ("tiny", "base"):
            network = model(preset)
            x = torch.randn(1, 1, FRAMES, 80).cumsum(2).clamp(-2, 2) * 10 - 35
            table[f"VQ-VAE-2 {preset}"] = compared(f"VQ-VAE-2 {preset}", network, ByHand(network), x, asked.rounds)
        layers: list[nn.Module] = [CausalConv1d(CHANNELS, CHANNELS, KERNEL, dilation=d) for d in DILATIONS]
        stack = CausalSequential(*layers)
        x = torch.randn(1, CHANNELS, FRAMES)
        table["ten layers"] = compared("ten layers", stack, stack_by_hand(stack), x, 3 * asked.rounds)
    if asked.out:
        result = {
            "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}, one thread",
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "seeds": [0],
            "spread": f"median and quartiles of {asked.rounds} rounds of {FRAMES} frames, in turn, time of the process",
            "command": "python benchmarks/streaming.py",
            "table": table,
        }
        write_json(asked.out, result)


if __name__ == "__main__":
    main()
