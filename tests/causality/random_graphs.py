"""Random networks from a seed, and an oracle for what they read that shares nothing with the tracer.

The oracle is the same graph made linear: activations gone, maxima turned into averages, gates and products into sums,
all weights positive, biases gone. Nothing can cancel then, and the support of its Jacobian is what the graph reads.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn import CausalConv1d, CausalConv2d

ACTIVATIONS = (torch.relu, torch.tanh, torch.sigmoid, F.gelu, F.elu, torch.abs, torch.floor, torch.sign)


class RandomGraph(nn.Module):
    """A stack of 2 to 5 random nodes over ``(batch, channels, time[, frequency])``; ``linear`` makes the oracle."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.dice = random.Random(seed)
        self.axes = 1 if self.dice.random() < 0.75 else 2
        self.channels = self.dice.choice((1, 2, 3))
        self.linear = False
        self.nodes = nn.ModuleList()
        self.plan: list[tuple] = []
        for _ in range(self.dice.randint(2, 5 if self.axes == 1 else 3)):
            self.plan.append(self._node())
        self.eval()
        torch.manual_seed(seed)
        for parameter in self.parameters():
            if self.dice.random() < 0.15:
                nn.init.zeros_(parameter)  # structure that these weights hide
        self.frequencies = self.dice.choice((3, 5, 6))

    def example(self, frames: int = 30) -> Tensor:
        extra = (self.frequencies,) if self.axes == 2 else ()
        return torch.zeros(1, self.channels, frames, *extra, dtype=torch.float64)

    # ------------------------------------------------------------------ drawing
    def _own(self, module: nn.Module) -> int:
        self.nodes.append(module)
        return len(self.nodes) - 1

    def _conv(self, *, same_length: bool) -> int:
        d, c = self.dice, self.channels
        k, dil = d.randint(1, 4), d.randint(1, 3)
        stride = 1 if same_length else d.choice((1, 1, 2, 3))
        groups = c if d.random() < 0.3 else 1
        if self.axes == 1:
            if same_length:
                return self._own(CausalConv1d(c, c, k, dilation=dil, groups=groups))
            if d.random() < 0.3:
                return self._own(
                    CausalConv1d(c, c, k, dilation=dil, stride=stride, convention=d.choice(("strict", "block")))
                )
            mode = "replicate" if d.random() < 0.15 else "zeros"
            return self._own(nn.Conv1d(c, c, k, stride, d.randint(0, 4), dil, groups, padding_mode=mode))
        kf = d.randint(1, 3)
        if same_length or d.random() < 0.5:
            return self._own(CausalConv2d(c, c, (k, kf), stride=(stride, 1), dilation=(dil, 1)))
        return self._own(nn.Conv2d(c, c, (k, kf), (stride, 1), (d.randint(0, 3), kf // 2), (dil, 1), groups))

    def _node(self) -> tuple:
        d = self.dice
        kind = d.choice(("conv", "conv", "residual", "gate", "pool", "transposed", "branches", "activation", "shuffle"))
        if kind == "conv":
            return kind, self._conv(same_length=False)
        if kind in ("residual", "gate"):
            return kind, self._conv(same_length=True), self._conv(same_length=True), d.choice(ACTIVATIONS)
        if kind == "branches":
            return (
                kind,
                self._conv(same_length=True),
                self._conv(same_length=True),
                d.choice(("add", "mul", "cat", "stack")),
            )
        if kind == "pool":
            k = d.randint(1, 4)
            return kind, d.choice(("max", "avg")), k, d.randint(1, 3), d.randint(0, k // 2)
        if kind == "transposed":
            k, s = d.randint(1, 4), d.randint(1, 3)
            cls = nn.ConvTranspose1d if self.axes == 1 else nn.ConvTranspose2d
            size = (k, s) if self.axes == 1 else ((k, 1), (s, 1))
            return kind, self._own(cls(self.channels, self.channels, *size)), d.randint(0, k - 1)
        if kind == "activation":
            return kind, d.choice(ACTIVATIONS)
        return kind, d.choice(("flip", "late", "early", "swap")), d.randint(0, 3)

    # ------------------------------------------------------------------ running
    def _bend(self, function, x: Tensor) -> Tensor:
        return x if self.linear else function(x)

    def forward(self, x: Tensor) -> Tensor:
        for node in self.plan:
            x = getattr(self, f"_run_{node[0]}")(x, *node[1:])
        return x

    def _run_conv(self, x, i):
        return self.nodes[i](x)

    def _run_residual(self, x, i, j, bend):
        return x + self.nodes[j](self._bend(bend, self.nodes[i](x)))

    def _run_gate(self, x, i, j, bend):
        a, b = self.nodes[i](x), self.nodes[j](x)
        return a + b if self.linear else bend(a) * torch.sigmoid(b)

    def _run_branches(self, x, i, j, how):
        a, b = self.nodes[i](x), self.nodes[j](x)
        if how == "cat":
            return torch.cat([a, b], 1)[:, 1 : 1 + self.channels]
        if how == "stack":
            return torch.stack([a, b], 0).sum(0)
        return a * b if how == "mul" and not self.linear else a + b

    def _run_pool(self, x, how, k, s, p):
        size = (k, s, p) if self.axes == 1 else ((k, 1), (s, 1), (p, 0))
        if how == "max" and not self.linear:
            return (F.max_pool1d if self.axes == 1 else F.max_pool2d)(x, *size)
        return (F.avg_pool1d if self.axes == 1 else F.avg_pool2d)(x, *size)

    def _run_transposed(self, x, i, trim):
        y = self.nodes[i](x)
        return y[:, :, trim:] if trim else y

    def _run_activation(self, x, bend):
        return self._bend(bend, x)

    def _run_shuffle(self, x, how, n):
        zeros = x.new_zeros(*x.shape[:2], n, *x.shape[3:])
        if how == "late":
            return torch.cat([zeros, x], 2)[:, :, : x.shape[2]]
        if how == "early":
            return torch.cat([x, zeros], 2)[:, :, n:]
        if how == "swap":
            return x.roll(1, 1)
        return x.flip(1)


def oracle(graph: RandomGraph, x: Tensor) -> dict[tuple[int, ...], frozenset]:
    """What each output reads within ``x``: the support of the Jacobian of the linear, positive graph."""
    opened = RandomGraph.__new__(RandomGraph)
    opened.__dict__ = graph.__dict__.copy()
    opened.linear = True
    kept = {name: p.detach().clone() for name, p in graph.named_parameters()}
    generator = torch.Generator().manual_seed(7)
    try:
        with torch.no_grad():
            for name, parameter in graph.named_parameters():
                draw = torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype) + 0.5
                parameter.copy_(torch.zeros_like(draw) if name.endswith("bias") else draw)
        jacobian = torch.autograd.functional.jacobian(lambda z: opened.forward(z).sum(1)[0], x)
    finally:
        with torch.no_grad():
            for name, parameter in graph.named_parameters():
                parameter.copy_(kept[name])
    outs = jacobian.dim() - x.dim()
    touched = jacobian.sum(outs + 1).squeeze(outs) != 0
    found = {}
    for place in torch.cartesian_prod(*(torch.arange(n) for n in touched.shape[:outs])).reshape(-1, outs).tolist():
        cells = touched[tuple(place)].nonzero().tolist()
        found[tuple(place)] = frozenset(c[0] if len(c) == 1 else tuple(c) for c in cells)
    return found
