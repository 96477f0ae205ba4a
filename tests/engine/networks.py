"""Random causal networks from a seed, of every layer that has a lowering."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

from causalcnn import CausalConv1d, CausalConv2d, CausalModule, Composite, Field, VectorQuantizer
from causalcnn.nn import (
    CausalAvgPool1d,
    CausalConvTranspose1d,
    CausalConvTranspose2d,
    CausalMaxPool1d,
    CausalSequential,
    Delay,
    FrameNorm,
    Parallel,
    Residual,
    ResidualBlock1d,
    ResidualBlock2d,
)

ACTIVATIONS = (
    nn.ReLU(), nn.LeakyReLU(0.2), nn.ELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Tanh(), nn.Sigmoid(),
    nn.Softplus(), nn.Hardtanh(), nn.Identity(), nn.Dropout(),
)  # fmt: skip


class Gated(Composite):
    """A gate, a skip and some arithmetic, in a compose of its own."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.both = CausalConv1d(channels, 2 * channels, 2, dilation=dilation)
        self.mix = CausalConv1d(2 * channels, channels, 1)

    @property
    def field(self) -> Field:
        return self.both.field | Field.identity()

    def compose(self, x, run):
        value, gate = run(self.both, x).chunk(2, dim=1)
        z = torch.tanh(value) * torch.sigmoid(gate)
        return (x - 0.5 * run(self.mix, torch.cat([z, 1 - gate.clamp(-1, 1)], dim=1))) / 2


def random_network(seed: int, *, quantized: bool) -> tuple[CausalModule, Tensor]:
    """Draw a network of 2 to 6 layers in eval mode, and an example without frames."""
    dice = random.Random(seed)
    torch.manual_seed(seed)
    channels, two = dice.choice((1, 3, 5, 17)), dice.random() < 0.4
    example = torch.zeros(dice.choice((1, 1, 2, 3)), channels, 0, *((dice.choice((6, 9)),) if two else ()))
    layers: list[nn.Module] = []
    for _ in range(dice.randint(2, 6)):
        made, channels = (_layer_2d if two else _layer_1d)(dice, channels)
        layers.append(made)
    if quantized:
        layers.append(VectorQuantizer(12, channels, init="random"))
    return CausalSequential(*layers).eval(), example


def _layer_1d(dice: random.Random, channels: int) -> tuple[nn.Module, int]:
    out = dice.choice((2, 4, 6, 20))
    k, d, s = dice.randint(1, 4), dice.randint(1, 3), dice.choice((1, 1, 2, 3))
    convention = dice.choice(("strict", "block"))
    match dice.choice(
        ("conv", "conv", "grouped", "transposed", "pool", "act", "norm", "residual", "gated", "parallel", "delay")
    ):
        case "conv":
            bias = dice.random() < 0.8
            return CausalConv1d(channels, out, k, stride=s, dilation=d, bias=bias, convention=convention), out
        case "grouped":
            return CausalConv1d(channels, 2 * channels, k, stride=s, dilation=d, groups=channels), 2 * channels
        case "transposed":
            return CausalConvTranspose1d(channels, out, k, stride=s, dilation=d, bias=dice.random() < 0.8), out
        case "pool":
            kind = dice.choice((CausalMaxPool1d, CausalAvgPool1d))
            return kind(k, s, convention=convention), channels
        case "act":
            return dice.choice(ACTIVATIONS), channels
        case "norm":
            norm = FrameNorm(channels)
            nn.init.normal_(norm.weight)
            return norm, channels
        case "residual":
            body = ResidualBlock1d(channels, k, dilations=(d, 1))
            return Residual(body, dice.choice(ACTIVATIONS)), channels
        case "delay":
            return Delay(k), channels
        case "gated":
            return Gated(channels, d), channels
    combine = dice.choice(("add", "concat"))
    branches = [CausalConv1d(channels, out, dice.randint(1, 3), stride=s, convention=convention) for _ in range(3)]
    return Parallel(*branches, combine=combine), out if combine == "add" else 3 * out


def _layer_2d(dice: random.Random, channels: int) -> tuple[nn.Module, int]:
    out = dice.choice((2, 4, 20))
    kernel, stride = (dice.randint(1, 3), dice.randint(1, 4)), (dice.choice((1, 1, 2)), dice.choice((1, 1, 2)))
    dilation = (dice.randint(1, 2), dice.randint(1, 2))
    match dice.choice(("conv", "conv", "grouped", "transposed", "act", "norm", "residual")):
        case "conv":
            padding = dice.choice(("same", "same", (3, 1)))
            convention = dice.choice(("strict", "block"))
            options = {"stride": stride, "dilation": dilation, "frequency_padding": padding, "convention": convention}
            return CausalConv2d(channels, out, kernel, **options), out
        case "grouped":
            return CausalConv2d(channels, 2 * channels, kernel, groups=channels), 2 * channels
        case "transposed":
            trim = dice.randint(0, 1)
            wide = (kernel[0], kernel[1] + 2 * trim)
            options = {"stride": stride, "dilation": dilation, "frequency_padding": trim, "bias": dice.random() < 0.8}
            return CausalConvTranspose2d(channels, out, wide, **options), out
        case "act":
            return dice.choice(ACTIVATIONS), channels
        case "norm":
            return FrameNorm(channels), channels
    return ResidualBlock2d(channels, kernel, hidden=out), channels
