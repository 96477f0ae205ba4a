"""What happened during a training: plain numbers, one list each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["History"]


@dataclass
class History:
    """The course of a training, light enough to keep.

    Attributes:
        loss: of every step, averaged over the processes.
        metrics: likewise, by name, what the loss reported beside itself; ``"gradient norm"`` (before clipping) and
            ``"learning rate"`` are always among them.
        evaluations: what ``evaluate`` returned, each with the ``"step"`` after which it was called.
        seconds: of training, interruptions left out.
        waiting_seconds: of these, how long the model waited for data.
        frames: real (unmasked) frames that were read, over all processes.
        device: what it ran on, in words.
        precision: ``"fp32"`` or ``"bf16"``.
        processes: how many trained together.
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
        """How many updates were made."""
        return len(self.loss)

    @property
    def waiting_fraction(self) -> float:
        """The fraction of the time in which the model waited for data: above 0.1, reading holds the training up."""
        return self.waiting_seconds / self.seconds if self.seconds else 0.0

    @property
    def frames_per_second(self) -> float:
        """Real frames read in a second of training."""
        return self.frames / self.seconds if self.seconds else 0.0

    def append(self, loss: float, metrics: Mapping[str, float]) -> None:
        """Add one step. A metric is NaN in the steps that did not report it."""
        for name in metrics:
            self.metrics.setdefault(name, [math.nan] * len(self.loss))
        self.loss.append(loss)
        for name, values in self.metrics.items():
            values.append(metrics.get(name, math.nan))

    def last(self, steps: int = 50) -> dict[str, float]:
        """Loss and metrics, averaged over the last steps."""
        curves = {"loss": self.loss, **self.metrics}
        return {name: sum(values[-steps:]) / len(values[-steps:]) for name, values in curves.items() if values}

    def curve(self, name: str = "loss", points: int = 100) -> list[tuple[int, float]]:
        """A curve thinned to at most ``points`` pairs (step, mean since the pair before), for a plot or a card."""
        values = self.loss if name == "loss" else self.metrics[name]
        piece = max(1, math.ceil(len(values) / points))
        pieces = [(min(i + piece, len(values)), values[i : i + piece]) for i in range(0, len(values), piece)]
        return [(end, sum(part) / len(part)) for end, part in pieces]

    def summary(self) -> dict[str, Any]:
        """What a card says about a training."""
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
