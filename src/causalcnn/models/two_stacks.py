"""What PixelCNN and MelNet share: a stack over earlier frames, and one that climbs the present frame and is told by it.

The input of the first comes one frame late, so that it reads earlier frames only; the input of the second comes one
cell late, so that it reads lower frequencies only. That is all that makes them causal in both axes.
"""

from __future__ import annotations

import abc
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from causalcnn.models.autoregressive import AutoregressiveModel, Sampler
from causalcnn.nn.base import State

__all__ = ["Climb", "ClimbingSampler", "TwoStacks"]

Told = list[Tensor]
"""What the stack over earlier frames says to each layer of the other one, at every cell."""


class TwoStacks(AutoregressiveModel):
    """A model of values made of two stacks. Its state is the last frame, which is read late, and that of the first."""

    @abc.abstractmethod
    def _start(self, x: Tensor) -> State:
        """The state of the stack over earlier frames before there is any, for pieces like ``x``."""

    @abc.abstractmethod
    def _told(self, late: Tensor, state: State) -> tuple[Told, State]:
        """Run the stack over earlier frames on ``late`` (batch, 1, time, mels), the input moved on by one frame."""

    @abc.abstractmethod
    def _up(self, x: Tensor, told: Told) -> Tensor:
        """Run the other stack on all frames of ``x`` at once, to (batch, distribution.size, time, mels)."""

    @abc.abstractmethod
    def _climb(self, rows: int) -> Climb:
        """The other stack on one frame, cell by cell."""

    def initial_state(self, x: Tensor) -> State:
        """A frame of zeros, and the state of the stack over earlier frames."""
        self._check(x)
        return x.new_zeros(len(x), 1, 1, self.config.mels), self._start(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The parameters of the values of the next frames, all of which are known; see :class:`AutoregressiveModel`."""
        self._check(x)
        if not x.shape[2]:
            return x.new_zeros(x.shape[0], self.distribution.size, 0, self.config.mels), state
        last, kept = state
        frames = torch.cat([last, x], dim=2)
        told, kept = self._told(frames[:, :, :-1], kept)
        return self._up(x, told), (frames[:, :, -1:].clone(), kept)

    def _fast_sampler(self, rows: int) -> Sampler[Any]:
        return ClimbingSampler(self, rows)


ModelT = TypeVar("ModelT", bound=TwoStacks)


class Climb(Generic[ModelT]):
    """The stack that climbs a frame, one cell at a time; it holds the weights as they are when it is made."""

    def __init__(self, model: ModelT, rows: int) -> None:
        self.model, self.rows = model, rows

    def begin(self, told: Told) -> None:
        """Start at the bottom of a frame, for which ``told`` holds one frame."""
        raise NotImplementedError

    def at(self, f: int, below: Tensor) -> Tensor:
        """The parameters of value ``f``, ``(rows, distribution.size)``, given the value below it, ``(rows, 1)``."""
        raise NotImplementedError


class ClimbingSampler(Sampler[TwoStacks]):
    """The earlier frames once for a frame, then cell by cell: what a frame costs does not depend on those before it."""

    def __init__(self, model: TwoStacks, rows: int) -> None:
        super().__init__(model, rows)
        self._climb = model._climb(rows)

    def _read(self, x: Tensor) -> None:
        if not x.shape[2]:
            return
        last, kept = self.state
        frames = torch.cat([last, x], dim=2)
        _, kept = self.model._told(frames[:, :, :-1], kept)
        self.state = frames[:, :, -1:].clone(), kept

    def _draw(self, uniform: Tensor, temperature: float) -> Tensor:
        model = self.model
        last, kept = self.state
        told, kept = model._told(last, kept)
        self._climb.begin(told)
        seen = torch.zeros_like(last)
        levels = torch.zeros(self.rows, model.config.mels, dtype=torch.int64, device=last.device)
        uniform = uniform.to(last.device)
        below = seen[:, 0, 0, :1]
        for f in range(model.config.mels):
            levels[:, f] = model.distribution.sample(self._climb.at(f, below), uniform[:, f], temperature)
            below = model.distribution.to_input(levels[:, f : f + 1]).to(last)
            seen[:, 0, 0, f] = below[:, 0]
        self.state = seen, kept
        return levels
