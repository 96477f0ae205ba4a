"""What happened during a training: plain numbers, one list each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["History"]


@dataclass
class History:
    """The course of a training, as plain numbers. :func:`train` returns it.

    Attributes:
        loss: the loss of each step, averaged over the processes.
        metrics: by name, what the loss reported beside itself in each step, averaged likewise. ``"gradient norm"``
            (before clipping) and ``"learning rate"`` are always among them.
        evaluations: what ``evaluate`` returned, each with the ``"step"`` after which it was called.
        seconds: seconds of training, without the time in which it was interrupted.
        waiting_seconds: of these, the seconds in which the model waited for data.
        frames: number of real (unmasked) frames that were read, over all processes; of a model of samples, samples.
        device: what the training ran on, in words.
        precision: ``"fp32"`` or ``"bf16"``.
        processes: number of processes that trained together.

    Example:
        >>> from causalcnn.training import History
        >>> history = History(loss=[4.0, 2.0, 1.0, 0.5])
        >>> history.steps, history.last(2), history.curve(points=2)
        (4, {'loss': 0.75}, [(2, 3.0), (4, 0.75)])
    """

    loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    evaluations: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    waiting_seconds: float = 0.0
    frames: int = 0
    device: str = ""
    precision: str = ""
    processes: int = 1

    @property
    def steps(self) -> int:
        """Number of steps that were made."""
        return len(self.loss)

    @property
    def waiting_fraction(self) -> float:
        """The fraction of the time in which the model waited for data. Above 0.1, reading holds the training up."""
        return self.waiting_seconds / self.seconds if self.seconds else 0.0

    @property
    def frames_per_second(self) -> float:
        """Number of real frames that were read in a second of training, over all processes."""
        return self.frames / self.seconds if self.seconds else 0.0

    def append(self, loss: float, metrics: Mapping[str, float]) -> None:
        """Add one step.

        Args:
            loss: the loss of the step.
            metrics: what it reported beside itself, by name. In steps that do not report a metric it is NaN.
        """
        for name in metrics:
            self.metrics.setdefault(name, [math.nan] * len(self.loss))
        self.loss.append(loss)
        for name, values in self.metrics.items():
            values.append(metrics.get(name, math.nan))

    def last(self, steps: int = 50) -> dict[str, float]:
        """Average the last steps.

        Args:
            steps: number of steps to average over.

        Returns:
            The mean of the loss and of each metric, by name.
        """
        curves = {"loss": self.loss, **self.metrics}
        return {name: sum(values[-steps:]) / len(values[-steps:]) for name, values in curves.items() if values}

    def curve(self, name: str = "loss", points: int = 100) -> list[tuple[int, float]]:
        """Thin out a curve, for a plot or a card.

        Args:
            name: ``"loss"``, or the name of a metric.
            points: the most points that the result may have.

        Returns:
            Pairs of a step and the mean since the pair before.

        Raises:
            KeyError: there is no such metric.
        """
        values = self.loss if name == "loss" else self.metrics[name]
        piece = max(1, math.ceil(len(values) / points))
        pieces = [(min(i + piece, len(values)), values[i : i + piece]) for i in range(0, len(values), piece)]
        return [(end, sum(part) / len(part)) for end, part in pieces]

    def summary(self) -> dict[str, Any]:
        """Make the table that the card of a model shows about its training.

        Returns:
            Steps, seconds, frames, speed and device, by name, as values for JSON.
        """
        return {
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "frames": self.frames,
            "frames_per_second": round(self.frames_per_second),
            "waiting_for_data": round(self.waiting_fraction, 3),
            "device": self.device,
            "precision": self.precision,
            "processes": self.processes,
        }
