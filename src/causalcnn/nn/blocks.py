"""Residual blocks, encoders, and several encoders side by side: the networks of the note of 2019."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.compose import CausalSequential, Composite, Parallel, Residual, Run
from causalcnn.nn.conv import CausalConv1d, CausalConv2d, Pair

__all__ = ["Encoder", "MultiStackEncoder", "ResidualBlock1d", "ResidualBlock2d", "ResidualStack"]


class ResidualBlock1d(Residual):
    """Two causal convolutions around a skip: ``x + conv(relu(conv(relu(x))))``.

    Args:
        channels: features of a frame, in and out.
        kernel_size: taps of both convolutions.
        dilations: of the first and of the second.
        hidden: features between them; default: ``channels``.

    Shape: ``(batch, channels, time)``, unchanged.

    Source: He et al., arXiv 1512.03385, in the order of arXiv 1603.05027, made causal.
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, *, dilations: Pair = (1, 1), hidden: int | None = None
    ) -> None:
        hidden = channels if hidden is None else hidden
        super().__init__(
            nn.ReLU(),
            CausalConv1d(channels, hidden, kernel_size, dilation=dilations[0]),
            nn.ReLU(),
            CausalConv1d(hidden, channels, kernel_size, dilation=dilations[1]),
        )


class ResidualBlock2d(Residual):
    """The same over (time, frequency): causal along time, centred along frequency.

    Args:
        channels: features of a cell, in and out.
        kernel_size: of the first convolution, ``(time, frequency)``; the second is 1 × 1, as in VQ-VAE-2.
        dilation: of the first convolution, ``(time, frequency)``.
        hidden: features between the two; default: ``channels``.

    Shape: ``(batch, channels, time, frequency)``, unchanged.

    Source: Razavi et al., VQ-VAE-2, arXiv 1906.00446, appendix, made causal.
    """

    def __init__(
        self, channels: int, kernel_size: int | Pair = 3, *, dilation: int | Pair = 1, hidden: int | None = None
    ) -> None:
        hidden = channels if hidden is None else hidden
        super().__init__(
            nn.ReLU(),
            CausalConv2d(channels, hidden, kernel_size, dilation=dilation),
            nn.ReLU(),
            CausalConv2d(hidden, channels, 1),
        )


class ResidualStack(CausalSequential):
    """Residual blocks one after the other.

    Args:
        channels: features of a frame, in and out.
        kernel_size: taps of all convolutions.
        blocks: how many, ≥ 1.
        dilations: of the first and of the second convolution of each block.
        hidden: features between these two; default: ``channels``.

    Shape: ``(batch, channels, time)``, unchanged.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        *,
        blocks: int = 2,
        dilations: Pair = (1, 1),
        hidden: int | None = None,
    ) -> None:
        at_least("blocks", blocks)
        super().__init__(
            *(ResidualBlock1d(channels, kernel_size, dilations=dilations, hidden=hidden) for _ in range(blocks))
        )


class Encoder(CausalSequential):
    """Pre-layer, residual blocks, output layer: one stack, one kernel size, one dilation.

    Args:
        in_channels: features of an input frame.
        channels: features inside.
        out_channels: features of an output frame.
        kernel_size: taps of every convolution.
        dilation: of every convolution.
        blocks: residual blocks of two convolutions each.

    Shape: ``(batch, in_channels, time)`` → ``(batch, out_channels, time)``
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        dilation: int = 1,
        blocks: int = 1,
    ) -> None:
        super().__init__(
            CausalConv1d(in_channels, channels, kernel_size, dilation=dilation),
            *(ResidualBlock1d(channels, kernel_size, dilations=(dilation, dilation)) for _ in range(blocks)),
            CausalConv1d(channels, out_channels, kernel_size, dilation=dilation),
        )
        self.out_channels = out_channels


class MultiStackEncoder(Composite):
    """Several encoders side by side, one for each pair of kernel size and dilation.

    Args:
        in_channels: features of an input frame.
        channels: features inside a stack.
        out_channels: features of an output frame.
        kernel_sizes: with ``dilations``: there is a stack for each pair of a kernel size and a dilation.
        dilations: see ``kernel_sizes``.
        blocks: residual blocks in each stack.
        combine: ``"add"`` sums the stacks' outputs; ``"concat"`` puts them side by side and mixes them with a
            1 × 1 convolution; ``"every_layer"`` sums after each layer, so that every layer of a stack reads
            what all stacks found.

    Shape: ``(batch, in_channels, time)`` → ``(batch, out_channels, time)``
    """

    takes_frames = True

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        *,
        kernel_sizes: Sequence[int] = (3,),
        dilations: Sequence[int] = (1, 3),
        blocks: int = 1,
        combine: Literal["add", "concat", "every_layer"] = "add",
    ) -> None:
        super().__init__()
        if combine not in ("add", "concat", "every_layer"):
            raise ValueError(f"combine is {combine!r}; it must be 'add', 'concat' or 'every_layer'")
        self.in_channels, self.out_channels, self.combine = in_channels, out_channels, combine
        self.stacks = tuple(itertools.product(kernel_sizes, dilations))
        if not self.stacks:
            raise ValueError("kernel_sizes and dilations must not be empty")
        width = len(self.stacks)
        encoders = [
            Encoder(in_channels, channels, out_channels, kernel_size=k, dilation=d, blocks=blocks)
            for k, d in self.stacks
        ]
        if combine == "every_layer":
            layers = [Parallel(*(encoder.parts[i] for encoder in encoders)) for i in range(blocks + 2)]
            self.network: Composite = CausalSequential(*layers)
        elif combine == "concat":
            mix = CausalConv1d(width * out_channels, out_channels, 1)
            self.network = CausalSequential(Parallel(*encoders, combine="concat"), mix)
        else:
            self.network = Parallel(*encoders)

    @property
    def field(self) -> Field:
        """The union of what the stacks read."""
        return self.network.field

    def compose(self, x: Tensor, run: Run) -> Tensor:
        """The stacks side by side, then what mixes them."""
        return run(self.network, x)
