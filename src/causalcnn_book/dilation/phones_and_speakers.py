"""Is dilation still worth it at 20 to 100 frames a second? Causal stacks of equal size, dilated in three ways.

    causalcnn experiment dilation --out book/measurements/dilation.json

Six layers of kernel 3 with the same number of weights read 13, 25 or 127 frames, by their dilations alone. Two
tasks on embedded speech ask for different amounts of past: which phone is this frame in (a phone is short), and
who speaks (every further frame is evidence). Both are scored on frames in which somebody speaks, on sentences that
were not trained on. Synthetic speech is easier than real speech: compare rows, not absolute numbers.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.nn import CausalConv1d, CausalSequential, Residual
from causalcnn.speech import PHONES, EmbeddedSpeech, LogMel
from causalcnn.training import minimize
from causalcnn_book.experiment import Experiment, Results, option

__all__ = ["SETTINGS", "TASKS", "Dilation", "Recordings", "accuracy", "load", "num_classes", "stack", "train"]

SETTINGS: dict[str, tuple[int, ...]] = {
    "dilation 1": (1,) * 6,
    "dilation 2": (2,) * 6,
    "doubling": (1, 2, 4, 8, 16, 32),
}
"""What differs between the networks, the dilation of each of the six layers."""
TASKS = ("phone", "speaker")
ROWS = {
    f"{task}, {rate_hz} Hz, {setting}": (task, rate_hz, setting)
    for rate_hz in (100, 20)
    for task in TASKS
    for setting in SETTINGS
}
"""Task, frames a second and setting of every row."""


@dataclass(frozen=True)
class Recordings:
    """What all speakers said, one long recording each, as frames.

    Attributes:
        features: for each speaker ``(80, frames)``, standardised by fixed numbers near the mean and the spread of
            speech.
        phone: for each speaker the phone of every frame, ``(frames,)``, a place in ``PHONES``; −1 where nobody speaks.
        speaker: for each speaker their own number at every frame, ``(frames,)``; −1 where nobody speaks.
        rate_hz: frames a second (Hz).
    """

    features: tuple[Tensor, ...]
    phone: tuple[Tensor, ...]
    speaker: tuple[Tensor, ...]
    rate_hz: int

    def targets(self, task: str) -> tuple[Tensor, ...]:
        """Give the classes of a task.

        Args:
            task: ``"phone"`` or ``"speaker"``.

        Returns:
            For each speaker the class of every frame, ``(frames,)``; −1 where nobody speaks.

        Raises:
            ValueError: another task.
        """
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; it is one of {', '.join(TASKS)}")
        return self.phone if task == "phone" else self.speaker


@functools.cache
def load(seconds: float, seed: int, *, rate_hz: int = 100, speakers: int = 16) -> Recordings:
    """Make embedded speech and its frames; another seed says other sentences with the same voices.

    The result is kept: the same arguments give the same object.

    Args:
        seconds: seconds of speech, all speakers together.
        seed: draws the sentences.
        rate_hz: frames a second (Hz), 100 or a divisor of it: neighbouring frames are then averaged, and a label is
            that of the last.
        speakers: how many voices.

    Returns:
        The recordings, with their labels.

    Raises:
        ValueError: ``rate_hz`` does not divide 100, or a number that :class:`causalcnn.speech.EmbeddedSpeech` refuses.
        ImportError: the extra ``speech`` is not installed.

    Example:
        >>> from causalcnn_book.dilation import load
        >>> recordings = load(6.0, seed=0, speakers=2)
        >>> len(recordings.features), recordings.features[0].shape[0], recordings.rate_hz
        (2, 80, 100)
    """
    if 100 % rate_hz:
        raise ValueError(f"rate_hz is {rate_hz}; it must divide the front end's 100 frames a second")
    front_end, pool = LogMel(), 100 // rate_hz
    corpus = EmbeddedSpeech("train", speakers=speakers, seconds=seconds, seed=seed)
    pieces: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in corpus.speaker_names}
    index = {phone: i for i, phone in enumerate(PHONES)}
    for utterance in corpus:
        features = front_end(utterance.tensor())[0].clamp(min=-60)
        frames = features.shape[1] // pool
        features = features[:, : frames * pool].reshape(80, frames, pool).mean(2)
        labels = [index[p] if p != "SIL" else -1 for p in utterance.phone_labels()][pool - 1 :: pool][:frames]
        pieces[utterance.speaker].append((features, torch.tensor(labels)))
    features = [torch.cat([f for f, _ in own], 1) for own in pieces.values() if own]
    phone = tuple(torch.cat([p for _, p in own]) for own in pieces.values() if own)
    speaker = tuple(torch.where(p >= 0, number, -1) for number, p in enumerate(phone))
    # Fixed numbers for every corpus, near the mean and the spread of log-mel speech: nothing is fitted to the test.
    return Recordings(tuple((f + 30) / 20 for f in features), phone, speaker, rate_hz)


def stack(dilations: Sequence[int], classes: int, *, channels: int = 32, seed: int = 0) -> CausalSequential:
    """Build a network: mel bands to channels, residual layers of kernel 3, and a layer that names the class.

    Args:
        dilations: the dilation of each residual layer, from the input up.
        classes: how many there are.
        channels: features of the residual layers.
        seed: draws the weights.

    Returns:
        The network, ``(batch, 80, time)`` → scores ``(batch, classes, time)``.
    """
    torch.manual_seed(seed)
    layers = [Residual(nn.ReLU(), CausalConv1d(channels, channels, 3, dilation=dilation)) for dilation in dilations]
    return CausalSequential(CausalConv1d(80, channels, 1), *layers, nn.ReLU(), CausalConv1d(channels, classes, 1))


def num_classes(task: str, data: Recordings) -> int:
    """Count the classes of a task.

    Args:
        task: ``"phone"`` or ``"speaker"``.
        data: the speech whose speakers are counted.

    Returns:
        How many there are.
    """
    return len(PHONES) if task == "phone" else len(data.features)


def _batches(data: Recordings, task: str, seconds: float, rows: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    targets, length = data.targets(task), round(seconds * data.rate_hz)
    weights = torch.tensor([float(max(0, t.shape[0] - length)) for t in targets])
    if not weights.any():
        raise ValueError(f"no speaker has {seconds} s of speech; load more, or train on shorter pieces")
    while True:
        who = torch.multinomial(weights, rows, replacement=True, generator=generator).tolist()
        starts = [int(torch.randint(targets[i].shape[0] - length, (), generator=generator)) for i in who]
        pairs = list(zip(who, starts, strict=True))
        yield (
            torch.stack([data.features[i][:, a : a + length] for i, a in pairs]),
            torch.stack([targets[i][a : a + length] for i, a in pairs]),
        )


def train(
    data: Recordings, task: str, dilations: Sequence[int], *, steps: int, seed: int = 0, rows: int = 16
) -> tuple[CausalSequential, list[float]]:
    """Train one stack with Adam on random pieces of four seconds; their frames in silence count for nothing.

    Args:
        data: the speech that pieces are drawn from.
        task: ``"phone"`` or ``"speaker"``.
        dilations: the dilation of each layer of the stack, from the input up.
        steps: training steps.
        seed: draws the weights and the pieces.
        rows: pieces in a training step.

    Returns:
        The network in eval mode, and its loss at each step, in nats a frame.

    Raises:
        ValueError: no speaker has four seconds of speech, or another task.
    """
    network = stack(dilations, num_classes(task, data), seed=seed)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = _batches(data, task, 4.0, rows, seed)

    def loss(step: int) -> Tensor:
        x, target = next(batches)
        return nn.functional.cross_entropy(network(x), target, ignore_index=-1)

    losses = minimize(loss, optimizer, steps, scheduler=scheduler)
    return network.eval(), losses


@torch.no_grad()
def accuracy(network: nn.Module, data: Recordings, task: str) -> float:
    """Score a network on frames with speech.

    Args:
        network: ``(batch, 80, time)`` → scores ``(batch, classes, time)``, in eval mode.
        data: the speech that it is scored on.
        task: ``"phone"`` or ``"speaker"``.

    Returns:
        The share of the frames whose class is named right, 0 … 1.

    Raises:
        ValueError: another task.
    """
    right = total = 0
    for features, target in zip(data.features, data.targets(task), strict=True):
        spoken = target >= 0
        named = network(features[None])[0].argmax(0)
        right += int((named == target)[spoken].sum())
        total += int(spoken.sum())
    return right / total


@dataclass
class Dilation(Experiment):
    """Is dilation still worth it at 20 to 100 frames a second? Causal stacks of equal size, dilated in three ways.

    Rows are all of two tasks (which phone, which speaker) × two rates (100 and 20 Hz) × three ways to dilate six
    layers. Each is trained with three seeds, 36 networks of 200 steps in all, and the spread is the largest minus the
    smallest of the seeds. How long it takes is not on record.

    Attributes:
        name: the command's name.
        spread: that over the seeds, in percentage points.
        rows: task, rate and setting.
        seeds: each draws weights and pieces anew.
        steps: training steps of each network.
        seconds: seconds of speech to train on; a quarter as much is held out.

    Example:
        >>> from causalcnn_book.dilation.phones_and_speakers import SETTINGS, Dilation, stack
        >>> len(Dilation.rows), Dilation.rows[2]
        (12, 'phone, 100 Hz, doubling')
        >>> {setting: int(stack(dilations, classes=40).field.size) for setting, dilations in SETTINGS.items()}
        {'dilation 1': 13, 'dilation 2': 25, 'doubling': 127}
    """

    name = "dilation"
    spread = "largest minus smallest of the seeds, in percentage points"
    rows = tuple(ROWS)
    seeds = (0, 1, 2)

    steps: int = option(200, "of training, each network")
    seconds: float = option(480.0, "of speech to train on")

    def recordings(self, rate_hz: int) -> tuple[Recordings, Recordings]:
        """Make what is trained on, and what is held out: other sentences by the same voices.

        Args:
            rate_hz: frames a second (Hz).

        Returns:
            The two sets.
        """
        return load(self.seconds, seed=0, rate_hz=rate_hz), load(self.seconds / 4, seed=1, rate_hz=rate_hz)

    @override
    def measure(self, row: str, seed: int) -> float:
        """Train one network, and score it on what is held out.

        Args:
            row: task, rate and setting.
            seed: draws the weights and the pieces.

        Returns:
            The percentage of held-out frames with speech whose class it names.
        """
        task, rate_hz, setting = ROWS[row]
        data, held_out = self.recordings(rate_hz)
        network, _ = train(data, task, SETTINGS[setting], steps=self.steps, seed=seed)
        return round(100 * accuracy(network, held_out, task), 2)

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write one line for each task, rate and setting.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            ``corpus``, what the ``score`` is, and ``rows``, each with its field in ``frames`` and ``milliseconds``, its
            ``parameters``, the mean ``percent``, their ``spread`` and ``each`` of them.
        """
        return {
            "corpus": "EmbeddedSpeech, 16 voices; other sentences by the same voices are held out",
            "score": "percent of frames with speech whose class is named right",
            "rows": [self._row(row, list(found.values())) for row, found in results.items()],
        }

    def _row(self, row: str, each: list[float]) -> dict[str, Any]:
        task, rate_hz, setting = ROWS[row]
        network = stack(SETTINGS[setting], num_classes(task, self.recordings(rate_hz)[0]))
        size = int(network.field.size)
        return {
            "task": task,
            "rate_hz": rate_hz,
            "setting": setting,
            "frames": size,
            "milliseconds": round(1000 * size / rate_hz),
            "parameters": sum(p.numel() for p in network.parameters()),
            "percent": round(statistics.mean(each), 2),
            "spread": round(max(each) - min(each), 2),
            "each": each,
        }
