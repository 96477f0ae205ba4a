"""Autoregressive models: a training step against the same network by hand, a drawn frame against computing all again.

By hand means what one writes without the library, with the very weights of the model, so that both say the same (it
is checked): ``F.pad`` and ``F.conv``, and for what runs along an axis a loop over a cell, or ``nn.GRU``. A training
step is forward and backward on 8 pieces of 64 frames (on a GPU 64 of 128). To compute all again is to run the whole
recording through the model for each of a frame's values, as one must without a state; it is timed on a few of
them. Everything in one process, in turns of a random order, as medians; CPU with one thread, CUDA unchanged.

    python benchmarks/autoregressive.py [--device cuda] [--rounds 7] [--out book/measurements/autoregressive-speed.json]
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn._files import check_writable, write_json
from causalcnn.models import (
    AutoregressiveModel,
    CodePrior,
    CodePriorConfig,
    FrameGenerator,
    FrameGeneratorConfig,
    MelNet,
    PixelCNN,
)
from causalcnn.models.autoregressive import HEAD_SCALE
from causalcnn.models.frame_sampling import FrameSampler
from causalcnn.nn import CausalConv1d, CausalConv2d

Say = Callable[[Tensor], Tensor]
AT = 500
"""The frame at which drawing is timed."""


# ------------------------------------------------------------------------------------- the same networks by hand
def conv(layer: Any, x: Tensor) -> Tensor:
    """A convolution that is padded before time, and on both sides of frequency."""
    before = (layer.kernel_size[0] - 1) * layer.dilation[0]
    if isinstance(layer, CausalConv1d):
        return F.conv1d(F.pad(x, (before, 0)), layer.weight, layer.bias, dilation=layer.dilation)
    assert isinstance(layer, CausalConv2d)
    x = F.pad(x, (*layer.frequency_padding, before, 0))
    return F.conv2d(x, layer.weight, layer.bias, stride=layer.stride, dilation=layer.dilation)


def residual(block: Any, x: Tensor) -> Tensor:
    """A residual block: its two convolutions and the skip."""
    _, first, _, second = block.body.parts
    return x + conv(second, F.relu(conv(first, F.relu(x))))


def late_by_a_frame(x: Tensor) -> Tensor:
    """The spectrogram, a frame of zeros before it."""
    return F.pad(x[:, :, :-1], (0, 0, 1, 0))


def cells(rnn: nn.GRU, x: Tensor, state: Tensor, way: int = 0) -> Tensor:
    """A GRU over axis 0, a loop over its cell; ``way`` 1 is the backward one."""
    weights, said = rnn.all_weights[way], []
    for step in reversed(x.unbind(0)) if way else x.unbind(0):
        state = torch.gru_cell(step, state, *weights)
        said.append(state)
    return torch.stack(said[::-1] if way else said)


def frame_generator(model: FrameGenerator, x: Tensor, by_cells: bool) -> Tensor:
    """The frame generator with its 1D encoder."""
    earlier = late_by_a_frame(x)
    first, *blocks, last = model.encoder.parts  # type: ignore[misc]
    h = conv(first, earlier[:, 0].transpose(1, 2))
    for block in blocks:
        h = residual(block, h)
    linear = model.to_rnn_state[2]
    state = torch.tanh(linear(F.relu(conv(last, h)).transpose(1, 2))).flatten(0, 1)
    mels, reach = x.shape[3], model.config.context_bands // 2
    below = F.pad(x[:, 0, :, :-1], (1, 0)).reshape(-1, mels, 1)
    context = F.pad(earlier.reshape(-1, mels), (reach, reach)).unfold(1, 2 * reach + 1, 1)
    read = torch.cat([below, context, model.band_embedding.expand(len(below), -1, -1)], 2).transpose(0, 1)
    h = cells(model.rnn, read, state) if by_cells else model.rnn(read, state[None])[0]
    y = HEAD_SCALE * model.head(torch.cat([h, read], 2))
    return y.view(mels, x.shape[0], x.shape[2], -1).permute(1, 3, 2, 0)


def pixelcnn(model: PixelCNN, x: Tensor, _: bool) -> Tensor:
    """The PixelCNN, its horizontal stack as convolutions over (time, frequency) that are 1 frame wide."""

    def along(layer: Any, h: Tensor) -> Tensor:
        before = (layer.kernel_size[0] - 1) * layer.dilation[0]
        dilation = (1, layer.dilation[0])
        return F.conv2d(F.pad(h, (before, 0)), layer.weight[:, :, None], layer.bias, dilation=dilation)

    v = conv(model.time_input, late_by_a_frame(x)) + model.band_embedding[0]
    h = along(model.frequency_input, F.pad(x[..., :-1], (1, 0))) + model.band_embedding[1]
    for i, (block, link, lower) in enumerate(
        zip(model.time_blocks, model.conditions, model.frequency_blocks, strict=True)
    ):
        v = residual(block, v)
        condition = conv(link, v) + model.band_embedding[2 + i]
        h = h + along(lower.mix, F.relu(along(lower.conv, F.relu(h)) + condition))
    _, hidden, _, last = cast(Any, model.head)
    h = F.relu(F.conv2d(F.relu(h), hidden.weight[:, :, None], hidden.bias))
    return HEAD_SCALE * F.conv2d(h, last.weight[:, :, None], last.bias)


def melnet(model: MelNet, x: Tensor, by_cells: bool) -> Tensor:
    """The MelNet of one layer or more; ``h`` is (batch, time, mels, channels)."""
    batch, _, time_, mels = x.shape

    def run(rnn: Any, h: Tensor) -> Tensor:
        """Over axis 1 of ``(rows, steps, features)``."""
        if not by_cells:
            return rnn(h)[0]
        h, zeros = h.transpose(0, 1), h.new_zeros(h.shape[0], rnn.hidden_size)
        ways = [cells(rnn, h, zeros, way) for way in range(2 if rnn.bidirectional else 1)]
        return torch.cat(ways, 2).transpose(0, 1)

    late = late_by_a_frame(x)[:, 0]
    central = model.mix_central(run(model.central, late))[:, :, None]
    h, conditions = model.time_input(late[..., None]) + model.band_embedding[0], []
    for one in model.time_layers:
        h = h + one.mix_frequency(run(one.along_frequency, h.flatten(0, 1))).view_as(h)
        found = one.mix_time(run(one.along_time, h.transpose(1, 2).flatten(0, 1)))
        h = h + found.view(batch, mels, time_, -1).transpose(1, 2)
        conditions.append(h + central)
    y = model.frequency_input(F.pad(x[:, 0, :, :-1], (1, 0))[..., None]) + model.band_embedding[1]
    for above, condition in zip(model.frequency_layers, conditions, strict=True):
        y = y + above.mix(run(above.rnn, (y + condition).flatten(0, 1))).view_as(y)
    return HEAD_SCALE * model.head(y).permute(0, 3, 1, 2)


BY_HAND: dict[str, Callable[[Any, Tensor, bool], Tensor]] = {
    "frame-generator": frame_generator,
    "pixelcnn": pixelcnn,
    "melnet": melnet,
}


# ------------------------------------------------------------------------------------------------------- timing
def medians(runs: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each, in turns of a random order, after one that is not counted.

    On a CPU these are seconds of this process, which is one thread: what else the machine does is not counted.
    """
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, once in random.sample(list(runs.items()), len(runs)):
            wait(device)
            start = clock()
            once()
            wait(device)
            if turn:
                times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def training(model: AutoregressiveModel, rounds: int, device: torch.device) -> dict[str, Any]:
    """Frames a second of a training step, and how many times those of the same network by hand, where there is one."""
    rows, frames = (64, 128) if device.type == "cuda" else (8, 64)
    generator = torch.Generator().manual_seed(0)
    bins = torch.randint(0, model.distribution.num_bins, (rows, frames, model.cells), generator=generator).to(device)
    if model.name not in BY_HAND:
        model.train()
        seconds = medians({"ours": lambda: model.log_prob(bins).mean().neg().backward()}, rounds, device)["ours"]
        return {"frames_per_second": {"ours": round(rows * frames / seconds)}}
    by_hand = BY_HAND[model.name]
    say: dict[str, Say] = {"ours": model, "by hand": lambda x: by_hand(model, x, False)}
    cell = "by hand, a loop over a cell"
    if model.name != "pixelcnn":
        say[cell] = lambda x: by_hand(model, x, True)
    x = model.to_input(bins[:2, :9])
    for other in say.values():
        torch.testing.assert_close(other(x), model(x), rtol=1e-3, atol=1e-3)

    def step(one: Say) -> None:
        model.zero_grad()
        model.distribution.log_prob(one(model.to_input(bins)).movedim(1, -1), bins).mean().neg().backward()

    model.train()
    found = medians({name: functools.partial(step, one) for name, one in say.items()}, rounds, device)
    result: dict[str, Any] = {
        "frames_per_second": {name: round(rows * frames / seconds) for name, seconds in found.items()},
        "times_as_fast_as_by_hand": round(found["by hand"] / found["ours"], 2),
    }
    if cell in found:
        result["times_as_fast_as_a_loop_over_a_cell"] = round(found[cell] / found["ours"], 2)
    return result


@torch.no_grad()
def drawing(model: AutoregressiveModel, rounds: int, device: torch.device) -> dict[str, Any]:
    """Frames a second that are drawn at the start and at frame 500, and against computing all again."""
    model.eval()
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randint(0, model.distribution.num_bins, (1, AT, model.cells), generator=generator)
    start, late = model.sampler(), model.sampler()
    late.read(prompt.to(device))
    uniform = [start.uniform(generator) for _ in range(64)]
    x = model.to_input(prompt.to(device))
    past = model.field.past
    window = x if past == float("inf") else x[:, :, -int(past) - 1 :]
    runs: dict[str, Callable[[], object]] = {
        "at the start": lambda: start.draw(uniform[0]),
        f"at frame {AT}": lambda: late.draw(uniform[1]),
        f"one value, all {AT} frames again": lambda: model(x),
        "one value, the frames of its field again": lambda: model(window),
    }
    if isinstance(model, FrameGenerator):
        plain = FrameSampler(model, 1)
        plain.read(prompt.to(device))
        runs["a plain loop in torch"] = lambda: plain.draw(uniform[2])
    found = medians(runs, rounds, device)
    frame, all_again = found[f"at frame {AT}"], model.cells * found[f"one value, all {AT} frames again"]
    result: dict[str, Any] = {
        "frames_per_second": {
            name: round(1 / seconds, 1) for name, seconds in found.items() if not name.startswith("one value")
        },
        "values": model.cells,
        f"times_as_fast_as_all_{AT}_frames_again": round(all_again / frame),
        "times_the_cost_at_the_start": round(frame / found["at the start"], 2),
    }
    if len(window[0, 0]) < AT:
        again = model.cells * found["one value, the frames of its field again"]
        result["times_as_fast_as_its_field_again"] = round(again / frame)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.out:
        check_writable(asked.out)
    device = torch.device(asked.device)
    random.seed(0)
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {os.cpu_count()} cores, {platform.machine()}, one thread",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "seeds": [0],
        "spread": f"median of {asked.rounds} in turn, in seconds "
        + ("of the device" if device.type == "cuda" else "of the process: other work beside it does not count"),
        "command": " ".join(["python benchmarks/autoregressive.py", *sys.argv[1:]]),
        "models": {},
    }
    print(result["device"])
    networks: dict[str, Callable[[], AutoregressiveModel]] = {
        "frame-generator, tiny": lambda: FrameGenerator(FrameGeneratorConfig.tiny()),
        "frame-generator, base": lambda: FrameGenerator(FrameGeneratorConfig.base()),
        "pixelcnn, tiny": PixelCNN,
        "melnet, tiny": MelNet,
        "code-prior, tiny": lambda: CodePrior(CodePriorConfig.tiny()),
        "code-prior, base": lambda: CodePrior(CodePriorConfig.base()),
    }
    for name, make in networks.items():
        torch.manual_seed(0)
        model = make().to(device)
        output = getattr(model.config, "output", f"categorical over {model.distribution.num_bins}")
        row: dict[str, Any] = {"output": output, "parameters": sum(p.numel() for p in model.parameters())}
        if isinstance(model, FrameGenerator):
            row["hidden"] = model.config.hidden
        row["training"] = training(model, asked.rounds, device)
        row["drawing"] = drawing(model, asked.rounds, device)
        result["models"][name] = row
        print(f"\n{name}, {row['parameters']:,} parameters, {row['output']}")
        for part in ("training", "drawing"):
            for key, value in row[part].items():
                print(f"  {part:9} {key:42} {value}", flush=True)
    if asked.out:
        write_json(asked.out, result)


if __name__ == "__main__":
    main()
