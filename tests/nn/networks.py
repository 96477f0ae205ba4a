"""Random networks over time, and over time and frequency, of all kinds of layers."""

from __future__ import annotations

import random

import torch
from torch import nn

from causalcnn.nn import (
    CausalAvgPool1d,
    CausalConv1d,
    CausalConv2d,
    CausalConvTranspose1d,
    CausalConvTranspose2d,
    CausalMaxPool1d,
    CausalModule,
    CausalSequential,
    FrameNorm,
    Parallel,
    Residual,
    ResidualBlock2d,
    VectorQuantizer,
)

CHANNELS = 4


def random_network(seed: int, *, over_frequency: bool = False, quantizer: bool = False) -> CausalModule:
    """One to four layers with random sizes, from ``CHANNELS`` to ``CHANNELS`` channels; perhaps a quantizer behind."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    layers = [(_layer_over_frequency if over_frequency else _layer)(draw) for _ in range(draw.randint(1, 4))]
    return CausalSequential(*layers, *([VectorQuantizer(8, CHANNELS)] if quantizer else [])).eval()


def _layer(draw: random.Random) -> nn.Module:
    convention = draw.choice(["strict", "block"])
    kernel, stride, dilation = draw.randint(1, 4), draw.choice([1, 1, 2, 3]), draw.choice([1, 1, 2, 3])

    def conv(step: int = 1) -> CausalConv1d:
        return CausalConv1d(CHANNELS, CHANNELS, draw.randint(1, 4), stride=step, dilation=dilation)

    return draw.choice(
        [
            lambda: CausalConv1d(
                CHANNELS,
                CHANNELS,
                kernel,
                stride=stride,
                dilation=dilation,
                groups=draw.choice([1, 2]),
                bias=draw.random() < 0.7,
                convention=convention,
            ),
            lambda: CausalConvTranspose1d(CHANNELS, CHANNELS, kernel, stride=stride, dilation=dilation),
            lambda: CausalMaxPool1d(kernel, stride, convention=convention),
            lambda: CausalAvgPool1d(kernel, stride, convention=convention),
            lambda: Residual(nn.GELU(), conv()),
            lambda: Parallel(conv(stride), conv(stride)),
            lambda: FrameNorm(CHANNELS),
            nn.Tanh,
        ]
    )()


def _layer_over_frequency(draw: random.Random) -> nn.Module:
    kernel, stride, dilation = (draw.randint(1, 4), 3), (draw.choice([1, 1, 2, 3]), 1), (draw.choice([1, 1, 2]), 1)
    return draw.choice(
        [
            lambda: CausalConv2d(
                CHANNELS,
                CHANNELS,
                kernel,
                stride=stride,
                dilation=dilation,
                frequency_padding="same",
                convention=draw.choice(["strict", "block"]),
            ),
            lambda: CausalConvTranspose2d(
                CHANNELS, CHANNELS, kernel, stride=stride, dilation=dilation, frequency_padding=1
            ),
            lambda: ResidualBlock2d(CHANNELS, dilation=dilation),
            lambda: FrameNorm(CHANNELS),
            nn.Tanh,
        ]
    )()
