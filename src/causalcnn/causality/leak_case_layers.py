"""Small layers with one planted fault each, and small causal ones: the parts of the networks in ``leak_cases``.

All map ``(batch, CHANNELS, time)`` to the same, unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 4


class PaddedConv(nn.Module):
    """A convolution after explicit padding ``(before, after)``: right where ``before`` is the reach and ``after`` 0."""

    def __init__(
        self, kernel_size: int, before: int, after: int = 0, *, dilation: int = 1, mode: str = "constant"
    ) -> None:
        super().__init__()
        self.pads, self.mode = (before, after), mode
        self.conv = nn.Conv1d(CHANNELS, CHANNELS, kernel_size, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Pad, then convolve."""
        return self.conv(F.pad(x, self.pads, mode=self.mode))


class ChoppedConv(nn.Module):
    """Padded on both sides, then chopped at the end: causal, as in the first TCN."""

    def __init__(self, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.reach = (kernel_size - 1) * dilation
        self.conv = nn.Conv1d(CHANNELS, CHANNELS, kernel_size, padding=self.reach, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, then chop."""
        return self.conv(x)[:, :, : x.shape[2]]


class MaskedConv(nn.Conv1d):
    """A symmetric kernel under a mask: the taps after the centre are multiplied by zero, up to ``leak`` of them."""

    def __init__(self, kernel_size: int = 5, leak: int = 0) -> None:
        super().__init__(CHANNELS, CHANNELS, kernel_size, padding=kernel_size // 2)
        mask = torch.ones(1, 1, kernel_size)
        mask[:, :, kernel_size // 2 + 1 + leak :] = 0
        self.register_buffer("mask", mask)
        self.mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the masked kernel."""
        return F.conv1d(x, self.weight * self.mask, self.bias, padding=self.padding)


class Recurrent(nn.Module):
    """A GRU or LSTM over time."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM] = nn.GRU, *, both: bool = False) -> None:
        super().__init__()
        self.rnn = cell(CHANNELS, CHANNELS // 2 if both else CHANNELS, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor) -> Tensor:
        """Time to axis 1 and back."""
        return self.rnn(x.transpose(1, 2))[0].transpose(1, 2)


class Attention(nn.Module):
    """One head of self-attention; ``ahead`` is the diagonal of its mask (0 is causal), None for no mask."""

    def __init__(self, ahead: int | None = 0, *, blocked: float = -torch.inf) -> None:
        super().__init__()
        self.ahead, self.blocked = ahead, blocked
        self.qkv = nn.Linear(CHANNELS, 3 * CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Scores, mask, softmax, values."""
        q, k, v = self.qkv(x.transpose(1, 2)).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) * CHANNELS**-0.5
        if self.ahead is not None:
            seen = torch.ones(x.shape[2], x.shape[2], dtype=torch.bool, device=x.device).tril(self.ahead)
            scores = scores.masked_fill(~seen, self.blocked)
        return (scores.softmax(-1) @ v).transpose(1, 2)


class Transposed(nn.Module):
    """Upsampling by a transposed convolution, brought back by every other frame; trimmed on the right, or wrongly."""

    def __init__(self, *, trim_left: bool, stride: int = 2) -> None:
        super().__init__()
        self.stride, self.trim_left = stride, trim_left
        self.conv = nn.ConvTranspose1d(CHANNELS, CHANNELS, 2 * stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Twice the rate: ``(batch, channels, stride·time)``."""
        y = self.conv(x)
        return y[:, :, self.stride :] if self.trim_left else y[:, :, : -self.stride]


class Spectrum(nn.Module):
    """Magnitudes of an STFT, ``(batch, 1, samples)`` → ``(batch, CHANNELS, frames)``; hop 4, window 16."""

    def __init__(self, *, center: bool) -> None:
        super().__init__()
        self.center = center
        self.register_buffer("window", torch.hann_window(16))
        self.window: Tensor
        self.mix = nn.Conv1d(9, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Centred, or padded so that a frame ends with its own hop."""
        samples = x[:, 0] if self.center else F.pad(x[:, 0], (12, 0))
        spectrum = torch.stft(samples, 16, 4, window=self.window, center=self.center, return_complex=True)
        return self.mix(spectrum.abs())


class Codebook(nn.Module):
    """The nearest of eight codewords: its gradient is zero and it swallows NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codewords", torch.randn(8, CHANNELS, generator=torch.Generator().manual_seed(1)))
        self.codewords: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Look up."""
        vectors = x.transpose(1, 2)
        nearest = torch.cdist(vectors, self.codewords.expand(x.shape[0], -1, -1)).argmin(-1)
        return F.embedding(nearest, self.codewords).transpose(1, 2)


class Gated(nn.Module):
    """``x + gate·branch(x)`` with a learnt gate that starts at zero: closed, whatever the branch does."""

    def __init__(self, branch: nn.Module, gate: float = 0.0) -> None:
        super().__init__()
        self.branch, self.gate = branch, nn.Parameter(torch.tensor(gate))

    def forward(self, x: Tensor) -> Tensor:
        """Add the gated branch."""
        return x + self.gate * self.branch(x)


class SqueezeExcite(nn.Module):
    """Channels weighed by their mean over time; ``causal`` takes the mean over the past only."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.causal, self.excite = causal, nn.Conv1d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze, excite, weigh."""
        if self.causal:
            mean = x.cumsum(2) / torch.arange(1, x.shape[2] + 1, device=x.device, dtype=x.dtype)
        else:
            mean = x.mean(2, keepdim=True)
        return x * torch.sigmoid(self.excite(mean))


class RowAfterRow(nn.Module):
    """A GRU whose state is carried from the end of one row of the batch into the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(CHANNELS, CHANNELS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """All rows as one long sequence."""
        line = x.transpose(1, 2).reshape(1, -1, CHANNELS)
        return self.rnn(line)[0].reshape(x.shape[0], x.shape[2], CHANNELS).transpose(1, 2)


class CallAfterCall(nn.Module):
    """A GRU that keeps its last state for the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(CHANNELS, CHANNELS, batch_first=True)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Continue from where the last call ended."""
        state = None if self.state is None or self.state.shape[1] != x.shape[0] else self.state.detach()
        y, self.state = self.rnn(x.transpose(1, 2), state)
        return y.transpose(1, 2)


class Apply(nn.Module):
    """A plain function over ``(batch, channels, time)`` as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)


class OverChannels(nn.Module):
    """A layer normalisation over the channels of each frame: safe over time."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each frame by itself."""
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class WaveNetBlock(nn.Module):
    """Gated, dilated, residual."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.filter = PaddedConv(2, dilation, dilation=dilation)
        self.gate = PaddedConv(2, dilation, dilation=dilation)
        self.out = nn.Conv1d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``x + out(tanh(filter)·σ(gate))``."""
        return x + self.out(torch.tanh(self.filter(x)) * torch.sigmoid(self.gate(x)))


def dead(layer: nn.Conv1d) -> nn.Conv1d:
    """Bias so far down that a ReLU behind it never opens."""
    assert layer.bias is not None
    nn.init.constant_(layer.bias, -1e3)
    return layer


def zeroed(layer: nn.Conv1d) -> nn.Conv1d:
    """All weights zero, as some residual branches start."""
    nn.init.zeros_(layer.weight)
    return layer
