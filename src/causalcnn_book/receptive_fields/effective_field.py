"""How much of its receptive field does a network use? The gradient by lag, before and after training on speech.

    causalcnn experiment effective-field --out book/measurements/effective-field.json

One stack of six causal layers reads 127 frames. It is trained to name the phone of a frame, or the speaker, and its
gradient on held-out speech is averaged by how long ago the input was. Source: Luo et al., arXiv 1701.04128, for the
idea of an effective receptive field; there it is measured on random images, here on speech and over the past alone.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.nn import CausalSequential
from causalcnn_book.dilation.phones_and_speakers import SETTINGS, TASKS, Recordings, load, num_classes, stack, train
from causalcnn_book.experiment import Experiment, Results, by_seed, option

__all__ = ["DILATIONS", "ROWS", "EffectiveField", "effective_size", "gradient_by_lag", "load", "network", "train"]

DILATIONS = SETTINGS["doubling"]
ROWS = 4
"""Pieces of four seconds in a training step: few, so that a chapter can train while its reader waits."""


def network(task: str, data: Recordings, *, seed: int = 0) -> CausalSequential:
    """Build the untrained network that :func:`train` trains, given the same seed.

    Args:
        task: ``"phone"`` or ``"speaker"``.
        data: the speech whose classes are named.
        seed: draws the weights.

    Returns:
        The network in eval mode, ``(batch, 80, time)`` → scores ``(batch, classes, time)``.
    """
    return stack(DILATIONS, num_classes(task, data), seed=seed).eval()


def gradient_by_lag(module: nn.Module, data: Recordings, *, rows: int = 64, lags: int = 140, seed: int = 0) -> Tensor:
    """Measure the share of the gradient that falls on the input of ``lag`` frames ago, averaged over speech.

    One output frame in each of ``rows`` random pieces of speech is pushed in a random direction; the length of the
    gradient over the mel bands of each input frame is averaged and made to sum to 1. Averages are needed: a ReLU
    that is closed on one piece hides inputs that are read on another.

    Args:
        module: ``(batch, 80, time)`` → ``(batch, classes, time)``.
        data: the speech that pieces are drawn from; every recording is longer than ``lags``.
        rows: how many pieces.
        lags: frames of each piece.
        seed: draws pieces and directions.

    Returns:
        ``(lags,)``, from lag 0, the present frame, on.

    Raises:
        RuntimeError: a recording is not longer than ``lags`` frames.
    """
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for _ in range(rows):
        who = int(torch.randint(len(data.features), (), generator=generator))
        recording = data.features[who]
        start = int(torch.randint(recording.shape[1] - lags, (), generator=generator))
        pieces.append(recording[:, start : start + lags])
    x = torch.stack(pieces).requires_grad_()
    last = module(x)[:, :, -1]
    push = torch.randn(last.shape, generator=generator)
    (gradient,) = torch.autograd.grad((last * push).sum(), x)
    by_frame = gradient.norm(dim=1).mean(0).flip(0)
    return by_frame / by_frame.sum()


def effective_size(shares: Tensor, held: float = 0.95) -> int:
    """Count how many of the latest frames hold a share of the influence.

    Args:
        shares: the share of each lag, ``(lags,)``, lag 0 first.
        held: the share, above 0 and at most 1.

    Returns:
        How many frames.

    Raises:
        ValueError: ``held`` is not such a share.

    Example:
        >>> import torch
        >>> from causalcnn_book.receptive_fields.effective_field import effective_size
        >>> effective_size(torch.tensor([0.5, 0.3, 0.2]), held=0.8)
        2
    """
    if not 0 < held <= 1:
        raise ValueError(f"held is {held}; a share lies above 0 and is at most 1")
    return int((shares.double().cumsum(0) < held * shares.double().sum() - 1e-9).sum()) + 1


@dataclass
class EffectiveField(Experiment):
    """How much of its receptive field does a network use? The gradient by lag, before and after training on speech.

    Rows are two tasks, to name the phone of a frame or its speaker. One network is trained on each with three seeds,
    six networks of 80 steps in all; each seed's value stands beside the mean. How long it takes is not on record.

    Source:
        Luo et al., Understanding the effective receptive field in deep convolutional neural networks, 2017,
        arXiv 1701.04128.

    Attributes:
        name: the command's name.
        spread: each seed's value.
        rows: the tasks.
        seeds: each draws weights and pieces anew.
        steps: training steps of each network.
        seconds: seconds of speech to train on; a third as much is held out.

    Example:
        >>> from causalcnn_book.receptive_fields.effective_field import DILATIONS, EffectiveField
        >>> EffectiveField.rows, DILATIONS
        (('phone', 'speaker'), (1, 2, 4, 8, 16, 32))
    """

    name = "effective-field"
    spread = "each seed's value stands beside the mean"
    rows = TASKS
    seeds = (0, 1, 2)

    steps: int = option(80, "of training, each network")
    seconds: float = option(60.0, "of speech to train on")

    @property
    def recordings(self) -> tuple[Recordings, Recordings]:
        """What is trained on, and what is held out: other sentences by the same voices."""
        return load(self.seconds, seed=0), load(self.seconds / 3, seed=1)

    @override
    def measure(self, row: str, seed: int) -> dict[str, int]:
        """Count the frames that hold 95 and 50 % of the influence on held-out speech, before and after training.

        Args:
            row: the task.
            seed: draws the weights and the pieces.

        Returns:
            ``before_95``, ``before_50``, ``after_95`` and ``after_50``, in frames of 10 ms.
        """
        data, held_out = self.recordings
        shares = {
            "before": gradient_by_lag(network(row, data, seed=seed), held_out),
            "after": gradient_by_lag(train(data, row, DILATIONS, steps=self.steps, seed=seed, rows=ROWS)[0], held_out),
        }
        return {
            f"{when}_{percent}": effective_size(share, percent / 100)
            for when, share in shares.items()
            for percent in (95, 50)
        }

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write for each task the declared size of the field, the means over the seeds, and each.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The ``unit``, and ``tasks``, each with ``declared`` and the numbers of :meth:`measure`, in frames.
        """
        tasks: dict[str, Any] = {}
        for task, found in results.items():
            tasks[task] = {"declared": int(network(task, self.recordings[0]).field.size)}
            for key in next(iter(found.values())):
                each = by_seed(found, key)
                tasks[task] |= {key: round(statistics.mean(each)), f"{key}_each": each}
        return {
            "unit": "latest frames of 10 ms that hold 95 or 50 % of the gradient on held-out speech",
            "tasks": tasks,
        }
