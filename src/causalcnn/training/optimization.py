"""How weights are moved: the optimizer and its learning rate, and a bare loop for a small problem."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from causalcnn.training.progress import Progress

__all__ = ["OptimConfig", "lr_factor", "minimize"]


@dataclass(frozen=True)
class OptimConfig:
    """How :func:`causalcnn.training.train` moves the weights.

    Args:
        learning_rate: the highest of Adam's rates.
        warmup: the fraction of the budget in which the rate rises from 0; then it falls to 0 as half a cosine.
        weight_decay: of matrices and kernels, not of biases (AdamW).
        clip: the largest norm of a gradient; a longer one is shortened to it.
        seed: of everything random but the batches.

    Raises:
        ValueError: a value is out of its range.
    """

    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("learning_rate", self.learning_rate), ("clip", self.clip)):
            if not value > 0:
                raise ValueError(f"{name} is {value}; it must be above 0")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}; it is a fraction of the budget, at least 0 and below 1")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; it must be 0 or more")

    def optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW over the parameters; without weight decay it is Adam."""
        decayed = [p for p in parameters if p.dim() > 1]
        others = [p for p in parameters if p.dim() <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
        return torch.optim.AdamW(groups, self.learning_rate, weight_decay=self.weight_decay, fused=fused)


def lr_factor(fraction: float, warmup: float) -> float:
    """What the learning rate is multiplied by after this fraction of the budget: up a line, down half a cosine."""
    if fraction < warmup:
        return fraction / warmup
    return 0.5 * (1 + math.cos(math.pi * (fraction - warmup) / (1 - warmup)))


def minimize(
    loss: Callable[[int], Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    progress: bool = False,
) -> list[float]:
    """Take some steps of an optimizer: the bare loop, for a problem that needs no budget, checkpoint or second device.

    Args:
        loss: step → the loss, a tensor with one value; called once a step, from 0 on.
        optimizer: holds the parameters.
        steps: updates to make.
        scheduler: moves the learning rate after every step, if given.
        progress: show one line (the extra ``train``).

    Returns:
        The loss of every step.

    Example:
        >>> weight = torch.zeros(1, requires_grad=True)
        >>> losses = minimize(lambda step: (weight - 3).square().sum(), torch.optim.SGD([weight], 0.25), 20)
        >>> round(losses[0]), round(float(weight.detach()), 3)
        (9, 3.0)
    """
    losses: list[float] = []
    line = Progress(progress)
    try:
        for step in range(steps):
            value = loss(step)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            losses.append(value.item())
            done = step + 1
            line.update(done / steps, f"step {done} of {steps}, loss {losses[-1]:.4g}", last=done == steps)
    finally:
        line.close()
    return losses
