"""Residual blocks, encoders, and several encoders side by side: the networks of the note of 2019."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from typing_extensions import override

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.compose import CausalSequential, Composite, Parallel, Residual, Run
from causalcnn.nn.conv import CausalConv1d, CausalConv2d, Pair

__all__ = ["Encoder", "MultiStackEncoder", "ResidualBlock1d", "ResidualBlock2d", "ResidualStack"]


class ResidualBlock1d(Residual):
    """Two causal convolutions over time with a skip around them, ``x + conv(relu(conv(relu(x))))``.

    Args:
        channels: channels of the input and of the output.
        kernel_size: taps of both convolutions, ≥ 1.
        dilations: frames from one tap to the next, for the first convolution and for the second, ≥ 1.
        hidden: channels between the two convolutions; default ``channels``.

    Shape:
        ``(batch, channels, time)``, unchanged.

    Raises:
        ValueError: a size is below 1.

    Source:
        He et al., arXiv 1512.03385, in the order of arXiv 1603.05027, made causal.

    Example:
        >>> import torch
        >>> from causalcnn.nn import ResidualBlock1d
        >>> block = ResidualBlock1d(16, kernel_size=3, dilations=(1, 3))
        >>> block(torch.randn(8, 16, 100)).shape, block.field.past
        (torch.Size([8, 16, 100]), 8)
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
    """Two causal convolutions over (time, frequency) with a skip around them, ``x + conv(relu(conv(relu(x))))``.

    The convolutions are causal along time and centred along frequency. The second one is 1 × 1, as in VQ-VAE-2.

    Args:
        channels: channels of the input and of the output.
        kernel_size: size of the first kernel, an int for both axes or ``(time, frequency)``, ≥ 1.
        dilation: cells from one tap of the first kernel to the next, an int for both axes or ``(time, frequency)``,
            ≥ 1.
        hidden: channels between the two convolutions; default ``channels``.

    Shape:
        ``(batch, channels, time, frequency)``, unchanged.

    Raises:
        ValueError: a size is below 1 or no pair.

    Source:
        Razavi et al., VQ-VAE-2, arXiv 1906.00446, appendix, made causal.

    Example:
        >>> from causalcnn.nn import ResidualBlock2d
        >>> field = ResidualBlock2d(16, kernel_size=3).field
        >>> sorted(field.axis("time").inputs_of(0)), sorted(field.axis("frequency").inputs_of(0))
        ([-2, -1, 0], [-1, 0, 1])
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
    """Equal residual blocks one after the other; see :class:`ResidualBlock1d`.

    Args:
        channels: channels of the input and of the output.
        kernel_size: taps of every convolution, ≥ 1.
        blocks: number of residual blocks, ≥ 1.
        dilations: frames from one tap to the next, for the first convolution of each block and for the second, ≥ 1.
        hidden: channels between the two convolutions of a block; default ``channels``.

    Shape:
        ``(batch, channels, time)``, unchanged.

    Raises:
        ValueError: a size is below 1.

    Example:
        >>> from causalcnn.nn import ResidualStack
        >>> [ResidualStack(16, blocks=n).field.past for n in (1, 2, 3)]
        [4, 8, 12]
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
    """A convolution, residual blocks, and a last convolution, all with one kernel size and one dilation.

    Args:
        in_channels: channels of the input.
        channels: channels inside.
        out_channels: channels of the output.
        kernel_size: taps of every convolution, ≥ 1.
        dilation: frames from one tap of every kernel to the next, ≥ 1.
        blocks: number of residual blocks, each with two convolutions; see :class:`ResidualBlock1d`.

    Shape:
        ``(batch, in_channels, time)`` → ``(batch, out_channels, time)``

    Raises:
        ValueError: a size is below 1.

    Example:
        >>> import torch
        >>> from causalcnn.nn import Encoder
        >>> encoder = Encoder(80, 32, 16, kernel_size=3, dilation=3, blocks=1)
        >>> encoder(torch.randn(8, 80, 100)).shape, encoder.field.size, encoder.field.num_inputs
        (torch.Size([8, 16, 100]), 25, 9)
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
    """Several encoders side by side, one for each pair of a kernel size and a dilation.

    Args:
        in_channels: channels of the input.
        channels: channels inside each encoder.
        out_channels: channels of the output.
        kernel_sizes: kernel sizes, ≥ 1; each is paired with each of ``dilations``.
        dilations: dilations in frames, ≥ 1.
        blocks: number of residual blocks in each encoder.
        combine: ``"add"`` sums the outputs of the encoders; ``"concat"`` puts their channels one after the other
            and mixes them with a convolution of kernel size 1; ``"every_layer"`` sums after each layer, so that each
            layer reads what all encoders have found up to it.

    Attributes:
        takes_frames: True; see :class:`Composite`.

    Shape:
        ``(batch, in_channels, time)`` → ``(batch, out_channels, time)``

    Raises:
        ValueError: a size is below 1, there is no kernel size or no dilation, or ``combine`` is unknown.

    Example:
        >>> import torch
        >>> from causalcnn.nn import MultiStackEncoder
        >>> encoder = MultiStackEncoder(80, 32, 16, kernel_sizes=(3, 5), dilations=(1, 3))
        >>> encoder.stacks, encoder(torch.randn(8, 80, 100)).shape
        (((3, 1), (3, 3), (5, 1), (5, 3)), torch.Size([8, 16, 100]))
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
    @override
    def field(self) -> Field:
        return self.network.field

    @override
    def compose(self, x: Tensor, run: Run) -> Tensor:
        return run(self.network, x)
