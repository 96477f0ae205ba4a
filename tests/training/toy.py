"""A model, batches and a registry that are small enough to train a hundred times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    features: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> Batch:
        return replace(self, features=self.features.to(device), mask=self.mask.to(device))


@dataclass(frozen=True)
class ToyConfig:
    widths: tuple[int, ...] = (4, 3)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.dropout >= 1:
            raise ValueError(f"dropout is {self.dropout}; it must be below 1")


class Toy(nn.Module):
    """Predicts its input through a narrow layer; has dropout (random numbers) and a buffer that training changes."""

    name: ClassVar[str] = "toy"
    Config: ClassVar[type] = ToyConfig

    def __init__(self, config: ToyConfig | None = None) -> None:
        super().__init__()
        self.config = config or ToyConfig()
        wide, narrow = self.config.widths
        generator = torch.Generator().manual_seed(0)
        self.narrow, self.wide = nn.Conv1d(wide, narrow, 1), nn.Conv1d(narrow, wide, 1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 2
        self.dropout = nn.Dropout(self.config.dropout)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(self.dropout(self.narrow(x)))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        if self.training:
            self.seen += 1
        error = (self(batch.features) - batch.features).square().mean(1)
        loss = (error * batch.mask).sum() / batch.mask.sum()
        return loss, {"real": batch.mask.float().mean()}


MODELS = {"toy": Toy}


def batches(step: int, rank: int = 0, world_size: int = 1) -> Batch:
    """Rows of noise, a function of the step; two processes of 4 rows read what one of 8 would."""
    rows = 8 // world_size
    generator = torch.Generator().manual_seed(1000 + step)
    features = torch.randn(8, 4, 16, generator=generator)[rank * rows : (rank + 1) * rows]
    mask = torch.arange(16) < 12
    return Batch(features, mask.expand(rows, 16))
