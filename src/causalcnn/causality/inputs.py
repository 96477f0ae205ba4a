"""Inputs to run a network on, and how the frames of its outputs correspond to those of its inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from causalcnn.nn.base import Convention

__all__ = [
    "allowed_lookahead",
    "broken_rate",
    "first_tensor",
    "floating_parameter",
    "in_one_line",
    "make_example",
    "positive_axis",
    "stride_from_lengths",
    "with_frames",
]


def floating_parameter(module: nn.Module) -> nn.Parameter | None:
    """Return the first floating-point parameter: its device and dtype are taken for the module's."""
    return next((p for p in module.parameters() if p.is_floating_point()), None)


def make_example(module: nn.Module, shape: Sequence[int], *, noise: bool = False) -> Tensor:
    """Make an input of ones, or of seeded noise, on the device and in the dtype of the module."""
    x = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0)) if noise else torch.ones(tuple(shape))
    parameter = floating_parameter(module)
    return x if parameter is None else x.to(parameter.device, parameter.dtype)


def with_frames(x: Tensor, frames: int, time_axis: int) -> Tensor:
    """Make an input of the same kind with another number of frames: repeated, and cut."""
    repeats = [1] * x.dim()
    repeats[time_axis] = -(-frames // x.shape[time_axis])
    return x.repeat(repeats).narrow(time_axis, 0, frames)


def positive_axis(x: Tensor, time_axis: int) -> int:
    """Count the axis of time from the front: −1 is the last one.

    Args:
        x: an input of any shape.
        time_axis: an axis of it, which may be counted from the end.

    Returns:
        The same axis, at least 1.

    Raises:
        ValueError: ``x`` has no such axis, or it is that of the batch.
    """
    axis = time_axis + x.dim() if time_axis < 0 else time_axis
    if not 0 < axis < x.dim():
        raise ValueError(
            f"time_axis is {time_axis}; in an example of shape {tuple(x.shape)} time is on one of the axes 1 to "
            f"{x.dim() - 1}, or counted from the end −1 to {1 - x.dim()}"
        )
    return axis


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor of what a module takes or returns, None where there is none."""
    return next((leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)), None)


def stride_from_lengths(frames: int, outputs: int) -> Fraction:
    """Return the input frames per output frame, judged by the lengths alone."""
    if outputs >= frames:
        return Fraction(1, max(1, round(outputs / frames)))
    return Fraction(max(1, round(frames / max(1, outputs))))


def broken_rate(lengths: Mapping[int, int]) -> tuple[Fraction, Fraction] | None:
    """Bound the input frames per output frame by several lengths, where neither they nor their inverse can be whole.

    Args:
        lengths: numbers of output frames by those of the input.

    Returns:
        The least and the most that the rate may be; None where a whole number, or one over a whole number, may do.
    """
    shortest, longest = min(lengths), max(lengths)
    frames, outputs = longest - shortest, lengths[longest] - lengths[shortest]
    if outputs < 4:
        return None
    low, high = Fraction(frames, outputs + 1), Fraction(frames, outputs - 1)
    whole = math.floor(high) >= low or math.floor(1 / low) >= 1 / high
    return None if whole else (low, high)


def allowed_lookahead(stride: Fraction, convention: Convention) -> int:
    """Return how many frames beyond ``u·stride`` output ``u`` may read."""
    return convention.lookahead(int(stride)) if stride >= 1 else 0


def in_one_line(error: BaseException, most: int = 300) -> str:
    """Write an error for a report: its type, and the first line of its message."""
    lines = str(error).strip().splitlines() or [""]
    line = lines[0] if len(lines[0]) <= most else lines[0][:most] + "…"
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
