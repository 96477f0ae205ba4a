"""Which phone is it? What stacks of causal convolutions buy on a real task, at equal parameters.

Every network reads causal log-mel frames of embedded speech and names the phone at the centre of each frame's
window, for speakers whom it has never heard. The rows differ in one thing: how about the same number of
parameters is spread over the past. Nothing is chosen on the test speakers.

    causalcnn experiment phones --out book/measurements/phones.json
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from causalcnn._extras import require
from causalcnn._files import write_json
from causalcnn.field import Field
from causalcnn.nn import (
    CausalConv1d,
    CausalConv2d,
    CausalModule,
    CausalSequential,
    MultiStackEncoder,
    ResidualBlock2d,
)
from causalcnn.speech import MELS, PHONES, EmbeddedSpeech, LogMel, Utterance

__all__ = ["ROWS", "OverPicture", "PhoneData", "Row", "build", "fit", "run", "score", "widths"]

LEARNING_RATE = 1e-2
"""On the validation speakers, and with two rows, it was better than 4e-3; nothing else was tried."""
CROPS, CROP_FRAMES = 12, 160
IGNORED = -100
"""The label of a frame that is only padding; torch's losses leave it out."""


@dataclass(frozen=True)
class Row:
    """One line of the table: the wiring of a network. Its widths follow from the number of parameters.

    Attributes:
        says: the line's name in words.
        kernel_sizes, dilations: the stacks are all their pairs, see :class:`~causalcnn.nn.MultiStackEncoder`.
        combine: ``"add"``, ``"concat"`` or ``"every_layer"``.
        two_dimensional: whether to convolve over (time, frequency) instead of over time.
    """

    says: str
    kernel_sizes: tuple[int, ...] = (3,)
    dilations: tuple[int, ...] = (1,)
    combine: Literal["add", "concat", "every_layer"] = "add"
    two_dimensional: bool = False


ROWS: dict[str, Row] = {
    "one_frame": Row("no past: kernel 1", kernel_sizes=(1,)),
    "dilation_1": Row("one stack, dilation 1"),
    "dilation_3": Row("one stack, dilation 3", dilations=(3,)),
    "add": Row("two stacks, added", dilations=(1, 3)),
    "concat": Row("two stacks, concat", dilations=(1, 3), combine="concat"),
    "every_layer": Row("two stacks, added at every layer", dilations=(1, 3), combine="every_layer"),
    "four_stacks": Row("four stacks, added", kernel_sizes=(3, 5), dilations=(1, 3)),
    "two_dimensional": Row("one stack, dilation 1, in 2D", two_dimensional=True),
}
"""What is compared, by name."""


# ------------------------------------------------------------------------------------------------ networks
class OverPicture(CausalModule):
    """A 2D network among 1D layers: features become a picture, and its cells become features again.

    Args:
        inner: a causal network over ``(batch, 1, time, frequency)``. features: the cells of one frame.
    Shape: ``(batch, features, time)`` → ``(batch, channels · cells, time)``
    """

    def __init__(self, inner: CausalModule, features: int) -> None:
        super().__init__()
        self.inner, self.in_channels = inner, features

    @property
    def field(self) -> Field:
        """What the inner network reads, along time."""
        return self.inner.field.axis("time")

    def initial_state(self, x: Tensor) -> Any:
        """That of the inner network."""
        return self.inner.initial_state(x.transpose(1, 2)[:, None])

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See :meth:`CausalModule.step`."""
        y, state = self.inner.step(x.transpose(1, 2)[:, None], state)
        return y.transpose(2, 3).flatten(1, 2), state


def build(row: Row, channels: int, out_channels: int) -> CausalModule:
    """The network of one row: its encoder, then a linear layer on every frame.

    Args:
        row: the wiring. channels: features inside. out_channels: features of a frame that the linear layer reads.
    Shape: log-mel frames ``(batch, 80, time)`` → scores ``(batch, 40, time)``, one for each of ``PHONES``
    """
    if not row.two_dimensional:
        encoder: CausalModule = MultiStackEncoder(
            MELS,
            channels,
            out_channels,
            kernel_sizes=row.kernel_sizes,
            dilations=row.dilations,
            combine=row.combine,
        )
        return CausalSequential(encoder, nn.ReLU(), CausalConv1d(out_channels, len(PHONES), 1))
    # Two blocks, because the second convolution of a 2D block is 1 × 1: as many frames as one stack in 1D.
    kernel = (row.kernel_sizes[0], 3)
    inner = CausalSequential(
        CausalConv2d(1, channels, (kernel[0], 8), stride=(1, 4), dilation=(row.dilations[0], 1)),
        ResidualBlock2d(channels, kernel, dilation=(row.dilations[0], 1)),
        ResidualBlock2d(channels, kernel, dilation=(row.dilations[0], 1)),
        CausalConv2d(channels, out_channels, kernel, stride=(1, 2), dilation=(row.dilations[0], 1)),
    )
    cells = inner(torch.zeros(1, 1, 1, MELS)).shape[3]
    head = CausalConv1d(out_channels * cells, len(PHONES), 1)
    return CausalSequential(OverPicture(inner, MELS), nn.ReLU(), head)


def parameters_of(network: nn.Module) -> int:
    """How many numbers training sets."""
    return sum(parameter.numel() for parameter in network.parameters())


def widths(row: Row, parameters: int) -> tuple[int, int]:
    """``channels`` and ``out_channels`` with which a row has as nearly as possible so many parameters."""

    def off(channels: int, out_channels: int) -> int:
        return parameters_of(build(row, channels, out_channels)) - parameters

    with torch.random.fork_rng(devices=[]):
        channels = 2
        while off(channels + 1, channels + 1) <= 0:
            channels += 1
        near = ((c, o) for c in (channels, channels + 1) for o in range(max(2, c * 3 // 4), c * 5 // 4 + 2))
        return min(near, key=lambda pair: (abs(off(*pair)), abs(pair[0] - pair[1])))


# ---------------------------------------------------------------------------------------------------- data
@dataclass(frozen=True, eq=False)
class PhoneData:
    """Utterances as normalised log-mel frames with a phone for each.

    Attributes:
        features: one ``(80, time)`` an utterance. labels: one ``(time,)`` an utterance, places in ``PHONES``.
        mean, deviation: ``(80, 1)`` of the training frames, in dB; they normalise other utterances, too.
    """

    features: list[Tensor]
    labels: list[Tensor]
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, utterances: Iterable[Utterance], like: PhoneData | None = None) -> PhoneData:
        """The frames of ``utterances``, normalised by their own statistics, or by those of ``like``."""
        front_end, place = LogMel(), {phone: i for i, phone in enumerate(PHONES)}
        raw, labels = [], []
        for utterance in utterances:
            raw.append(front_end(utterance.tensor())[0])
            labels.append(torch.tensor([place[phone] for phone in utterance.phone_labels()]))
        if like is None:
            frames = torch.cat(raw, 1)
            mean, deviation = frames.mean(1, keepdim=True), frames.std(1, keepdim=True)
        else:
            mean, deviation = like.mean, like.deviation
        return cls([(x - mean) / deviation for x in raw], labels, mean, deviation)

    def __len__(self) -> int:
        return sum(len(labels) for labels in self.labels)

    def crops(self, number: int, frames: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """``number`` random pieces of ``frames`` frames; a shorter utterance is filled with ignored frames."""
        x, y = torch.zeros(number, MELS, frames), torch.full((number, frames), IGNORED)
        for i, which in enumerate(torch.randint(len(self.features), (number,), generator=draw).tolist()):
            features, labels = self.features[which], self.labels[which]
            start = int(torch.randint(max(1, len(labels) - frames + 1), (), generator=draw))
            piece = features[:, start : start + frames]
            x[i, :, : piece.shape[1]], y[i, : piece.shape[1]] = piece, labels[start : start + frames]
        return x, y


# ---------------------------------------------------------------------------------------- training, scoring
def fit(
    network: nn.Module,
    data: PhoneData,
    *,
    steps: int,
    seed: int = 0,
    crops: int = CROPS,
    frames: int = CROP_FRAMES,
    learning_rate: float = LEARNING_RATE,
    progress: bool = False,
) -> list[float]:
    """Train a network to name phones: Adam, a rate that rises and falls once, random pieces of speech.

    Args:
        network: ``(batch, 80, time)`` → ``(batch, 40, time)``; it is changed.
        steps: updates. crops, frames: pieces in a step, and their length. seed: draws the pieces.
        progress: whether to show a progress bar (the extra ``train``).

    Returns:
        The loss of every step, in bits a frame.
    """
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    losses = []
    network.train()
    for _ in _counted(steps) if progress else range(steps):
        x, y = data.crops(crops, frames, draw)
        loss = functional.cross_entropy(network(x), y, ignore_index=IGNORED)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
        losses.append(loss.item() / math.log(2))
    network.eval()
    return losses


def _counted(steps: int) -> Iterator[int]:
    """The steps behind a progress bar: in a notebook one line that stays, elsewhere tqdm's."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        yield from require("tqdm", extra="train").tqdm(range(steps), unit="step")
        return
    display = require("IPython.display", extra="figures").display
    start, due, handle = time.perf_counter(), 0.0, None
    for step in range(steps + 1):
        passed = time.perf_counter() - start
        if step == steps or passed >= due:
            full = round(24 * step / steps)
            line = f"{'█' * full}{'·' * (24 - full)} {step} of {steps} steps, {passed:.0f} s"
            if handle is None:
                handle = display({"text/plain": line}, raw=True, display_id=True)
            else:
                handle.update({"text/plain": line}, raw=True)
            due = passed + 0.3
        if step < steps:
            yield step


@torch.no_grad()
def score(network: nn.Module, data: PhoneData) -> tuple[float, float]:
    """The share of frames whose phone is named rightly, and the cross-entropy in bits a frame."""
    right, bits = 0.0, 0.0
    for x, y in zip(data.features, data.labels, strict=True):
        scores = network(x[None])[0]
        right += float((scores.argmax(0) == y).sum())
        bits += float(functional.cross_entropy(scores.T, y, reduction="sum")) / math.log(2)
    return right / len(data), bits / len(data)


# --------------------------------------------------------------------------------------------------- table
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}
"""Student's t for a two-sided interval of 95 %, by degrees of freedom."""


def summary(values: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """Mean, half of the 95 % interval of the mean (Student's t), and the values themselves."""
    half = T_95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    rounded = [round(value, digits) for value in values]
    return {
        "mean": round(statistics.mean(values), digits),
        "half_interval": None if half is None else round(half, digits),
        "by_seed": rounded,
    }


def run(
    names: Sequence[str] = tuple(ROWS),
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    parameters: int = 20_000,
    steps: int = 400,
    train: EmbeddedSpeech | None = None,
    test: EmbeddedSpeech | None = None,
    out: Path | None = None,
    say: bool = False,
) -> dict[str, Any]:
    """Train and score every row with every seed.

    Args:
        names: which of ``ROWS``. seeds: of the weights and of the pieces of speech. parameters: of every network.
        steps: updates of every network. train, test: corpora; their speakers must not meet.
        out: a JSON file, written anew after each row, so that a stop loses nothing. say: print the rows.

    Returns:
        The table: settings, and for each row its widths, parameters, field, accuracy, bits and seconds.
    """
    train = train or EmbeddedSpeech("train", speakers=40, seconds=480)
    test = test or EmbeddedSpeech("test", speakers=20, seconds=120)
    if shared := set(train.speaker_names) & set(test.speaker_names):
        raise ValueError(f"the speakers {sorted(shared)} are in both corpora; a test needs voices that are new")
    known = PhoneData.of(train)
    unheard = PhoneData.of(test, like=known)
    table: dict[str, Any] = {
        "what": "frame-wise phone classification of embedded speech, unheard speakers, no label delay",
        "command": "run() of causalcnn_book.encoders.phones",
        "device": f"CPU ({platform.machine()}), {torch.get_num_threads()} thread, torch {torch.__version__}",
        "seeds": list(seeds),
        "spread": "half of the 95 % interval of the mean over seeds, Student's t",
        "settings": {
            "parameters": parameters,
            "steps": steps,
            "crops": CROPS,
            "crop_frames": CROP_FRAMES,
            "learning_rate": LEARNING_RATE,
            "learning_rate_chosen": "on validation speakers, of 0.004 and 0.01, with two rows",
        },
        "train": {"corpus": repr(train), "frames": len(known)},
        "test": {"corpus": repr(test), "frames": len(unheard)},
        "most_frequent_phone": round(float(torch.bincount(torch.cat(unheard.labels)).max()) / len(unheard), 4),
        "rows": {},
    }
    for name in names:
        table["rows"][name] = _row(ROWS[name], known, unheard, seeds, parameters, steps)
        if say:
            line = table["rows"][name]
            print(f"{line['says']:36} {line['parameters']:6} {line['accuracy']} {line['seconds']}", flush=True)
        if out is not None:
            write_json(out, table)
    return table


def _row(
    row: Row, known: PhoneData, unheard: PhoneData, seeds: Sequence[int], parameters: int, steps: int
) -> dict[str, Any]:
    channels, out_channels = widths(row, parameters)
    results = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build(row, channels, out_channels)
        start = time.process_time()
        losses = fit(network, known, steps=steps, seed=seed)
        seconds = time.process_time() - start
        results.append((*score(network, unheard), seconds, statistics.mean(losses[-20:])))
    accuracy, bits, seconds_, train_bits = zip(*results, strict=True)
    reads = network.field
    return {
        "says": row.says,
        "channels": channels,
        "out_channels": out_channels,
        "parameters": parameters_of(network),
        "field": {"size": int(reads.size), "taps": int(reads.taps), "holes": int(reads.holes)},
        "accuracy": summary(accuracy),
        "bits": summary(bits),
        "train_bits": summary(train_bits),
        "seconds": summary(seconds_, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: measure the table and write it."""
    parser = argparse.ArgumentParser(description="Phone classification: what stacks of causal convolutions buy.")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--parameters", type=int, default=20_000, help="of every network")
    parser.add_argument("--steps", type=int, default=400, help="updates of every network")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = run(given.rows, seeds=given.seeds, parameters=given.parameters, steps=given.steps, out=given.out, say=True)
    table["command"] = " ".join(["causalcnn experiment phones", *(arguments or sys.argv[1:])])
    write_json(given.out, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
