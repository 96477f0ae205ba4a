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
    """How :func:`train` moves the weights.

    Attributes:
        learning_rate: the highest learning rate of Adam, above 0.
        warmup: the fraction of the budget in which the learning rate rises from 0, at least 0 and below 1; in the
            rest it falls back to 0 as half a cosine.
        weight_decay: weight decay of matrices and kernels, ≥ 0; biases have none (AdamW).
        clip: the largest norm of the gradient, above 0; a longer one is shortened to it.
        seed: seed of all that is random except the batches.

    Raises:
        ValueError: a value is out of its range.

    Source:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization (AdamW), arXiv 1711.05101; SGDR (the cosine),
        arXiv 1608.03983.

    Example:
        >>> from causalcnn.training import OptimConfig, lr_factor
        >>> optim = OptimConfig(learning_rate=0.002, warmup=0.1)
        >>> [round(optim.learning_rate * lr_factor(done, optim.warmup), 4) for done in (0, 0.05, 0.1, 0.55, 1)]
        [0.0, 0.001, 0.002, 0.001, 0.0]
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
        """Make the optimizer.

        Args:
            parameters: the parameters to move.

        Returns:
            AdamW over the parameters; without weight decay this is Adam.
        """
        decayed = [p for p in parameters if p.dim() > 1]
        others = [p for p in parameters if p.dim() <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
        return torch.optim.AdamW(groups, self.learning_rate, weight_decay=self.weight_decay, fused=fused)


def lr_factor(fraction: float, warmup: float) -> float:
    """Compute the factor of the learning rate, which rises along a line and then falls along half a cosine.

    Args:
        fraction: the fraction of the budget that is used, from 0 to 1.
        warmup: the fraction of the budget in which the learning rate rises, at least 0 and below 1.

    Returns:
        The factor, from 0 to 1.
    """
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
    """Take some steps of an optimizer.

    This is the bare loop, for a small problem that needs neither a budget nor checkpoints nor a second device; see
    :func:`train` for those.

    Args:
        loss: a function of the number of the step, from 0 on, that returns the loss, a scalar. It is called once in
            each step.
        optimizer: the optimizer, which holds the parameters.
        steps: number of steps to take.
        scheduler: moves the learning rate after each step, if given.
        progress: whether to show one line of progress.

    Returns:
        The loss of each step.

    Raises:
        ImportError: the progress line needs tqdm or IPython, and it is not installed.

    Example:
        >>> import torch
        >>> from causalcnn.training import minimize
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
