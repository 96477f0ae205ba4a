"""Small layers with one planted fault each, and small causal ones: the parts of the networks in ``leak_cases``.

All map ``(batch, CHANNELS, time)`` to the same shape, unless they say otherwise. Some of these networks leak, and say
where.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 4


class PaddedConv(nn.Module):
    """A convolution after explicit padding: causal where ``before`` is the reach of the kernel and ``after`` 0.

    Args:
        kernel_size: taps.
        before: frames of padding before the start.
        after: frames of padding behind the end.
        dilation: frames between taps.
        mode: of ``torch.nn.functional.pad``; ``"reflect"`` and ``"circular"`` read the future.

    Example:
        >>> from causalcnn import receptive_field
        >>> from causalcnn.causality.leak_case_layers import PaddedConv
        >>> [receptive_field(PaddedConv(3, *pads), (1, 4, 32)).lookahead for pads in ((2, 0), (1, 1))]
        [0, 1]
    """

    def __init__(
        self, kernel_size: int, before: int, after: int = 0, *, dilation: int = 1, mode: str = "constant"
    ) -> None:
        super().__init__()
        self.pads, self.mode = (before, after), mode
        self.conv = nn.Conv1d(CHANNELS, CHANNELS, kernel_size, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Pad, then convolve.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            The same shape, ``(batch, CHANNELS, time)``, where the padding adds up to the reach of the kernel.
        """
        return self.conv(F.pad(x, self.pads, mode=self.mode))


class ChoppedConv(nn.Module):
    """A convolution padded on both sides, then chopped at the end: causal, as in the first TCN.

    Args:
        kernel_size: taps.
        dilation: frames between taps.

    Source:
        Bai, Kolter and Koltun, An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
        Modeling, arXiv 1803.01271, and its code.
    """

    def __init__(self, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.reach = (kernel_size - 1) * dilation
        self.conv = nn.Conv1d(CHANNELS, CHANNELS, kernel_size, padding=self.reach, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, then chop.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        return self.conv(x)[:, :, : x.shape[2]]


class MaskedConv(nn.Conv1d):
    """A symmetric kernel under a mask: the taps after the centre are zeros, but for ``leak`` of them.

    Args:
        kernel_size: taps, an odd number.
        leak: taps after the centre that the mask forgets; 0 is causal.
    """

    def __init__(self, kernel_size: int = 5, leak: int = 0) -> None:
        super().__init__(CHANNELS, CHANNELS, kernel_size, padding=kernel_size // 2)
        mask = torch.ones(1, 1, kernel_size)
        mask[:, :, kernel_size // 2 + 1 + leak :] = 0
        self.register_buffer("mask", mask)
        self.mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the masked kernel.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        return F.conv1d(x, self.weight * self.mask, self.bias, padding=self.padding)


class Recurrent(nn.Module):
    """A GRU or LSTM over time.

    Args:
        cell: the class of the recurrent layer.
        both: whether a second one runs backward: it reads all of the future.
    """

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM] = nn.GRU, *, both: bool = False) -> None:
        super().__init__()
        self.rnn = cell(CHANNELS, CHANNELS // 2 if both else CHANNELS, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor) -> Tensor:
        """Move time to axis 1, run, and move it back.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        return self.rnn(x.transpose(1, 2))[0].transpose(1, 2)


class Attention(nn.Module):
    """One head of self-attention.

    Args:
        ahead: the diagonal of its mask: 0 is causal, 1 lets a frame see the next one; None for no mask.
        blocked: the score under the mask; a large negative number in place of −∞ is causal too.
    """

    def __init__(self, ahead: int | None = 0, *, blocked: float = -torch.inf) -> None:
        super().__init__()
        self.ahead, self.blocked = ahead, blocked
        self.qkv = nn.Linear(CHANNELS, 3 * CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Compute scores, mask them, and mix the values.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        q, k, v = self.qkv(x.transpose(1, 2)).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) * CHANNELS**-0.5
        if self.ahead is not None:
            seen = torch.ones(x.shape[2], x.shape[2], dtype=torch.bool, device=x.device).tril(self.ahead)
            scores = scores.masked_fill(~seen, self.blocked)
        return (scores.softmax(-1) @ v).transpose(1, 2)


class Transposed(nn.Module):
    """Upsampling by a transposed convolution, trimmed back to ``stride·time`` frames.

    Args:
        trim_left: trim on the left, which moves every frame ahead; on the right it is causal.
        stride: output frames per input frame.
    """

    def __init__(self, *, trim_left: bool, stride: int = 2) -> None:
        super().__init__()
        self.stride, self.trim_left = stride, trim_left
        self.conv = nn.ConvTranspose1d(CHANNELS, CHANNELS, 2 * stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output at ``stride`` times the rate, ``(batch, CHANNELS, stride·time)``.
        """
        y = self.conv(x)
        return y[:, :, self.stride :] if self.trim_left else y[:, :, : -self.stride]


class Spectrum(nn.Module):
    """Magnitudes of an STFT with a hop of 4 samples and a window of 16, mixed into ``CHANNELS`` channels.

    Args:
        center: centre the windows, so that half of each lies ahead; else a window ends with its own hop.
    """

    def __init__(self, *, center: bool) -> None:
        super().__init__()
        self.center = center
        self.register_buffer("window", torch.hann_window(16))
        self.window: Tensor
        self.mix = nn.Conv1d(9, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Transform, centred or padded on the left.

        Args:
            x: an input, ``(batch, 1, samples)``.

        Returns:
            The mixed magnitudes, ``(batch, CHANNELS, frames)``.
        """
        samples = x[:, 0] if self.center else F.pad(x[:, 0], (12, 0))
        spectrum = torch.stft(samples, 16, 4, window=self.window, center=self.center, return_complex=True)
        return self.mix(spectrum.abs())


class Codebook(nn.Module):
    """The nearest of eight codewords: it has no gradient, and it swallows NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codewords", torch.randn(8, CHANNELS, generator=torch.Generator().manual_seed(1)))
        self.codewords: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Look up the nearest codeword of each frame.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        vectors = x.transpose(1, 2)
        nearest = torch.cdist(vectors, self.codewords.expand(x.shape[0], -1, -1)).argmin(-1)
        return F.embedding(nearest, self.codewords).transpose(1, 2)


class Gated(nn.Module):
    """``x + gate·branch(x)`` with a learnt gate that starts at zero: closed, whatever the branch does.

    Args:
        branch: any module that keeps the shape of its input.
        gate: the factor at the start.
    """

    def __init__(self, branch: nn.Module, gate: float = 0.0) -> None:
        super().__init__()
        self.branch, self.gate = branch, nn.Parameter(torch.tensor(gate))

    def forward(self, x: Tensor) -> Tensor:
        """Add the gated branch.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        return x + self.gate * self.branch(x)


class SqueezeExcite(nn.Module):
    """Channels weighed by their mean over time.

    Args:
        causal: take the mean over the past of each frame; else over the whole recording.
    """

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.causal, self.excite = causal, nn.Conv1d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze, excite, weigh.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
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
        """Run over all rows as one long sequence.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        line = x.transpose(1, 2).reshape(1, -1, CHANNELS)
        return self.rnn(line)[0].reshape(x.shape[0], x.shape[2], CHANNELS).transpose(1, 2)


class CallAfterCall(nn.Module):
    """A GRU that keeps its last state for the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(CHANNELS, CHANNELS, batch_first=True)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Continue from where the last call ended.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        state = None if self.state is None or self.state.shape[1] != x.shape[0] else self.state.detach()
        y, self.state = self.rnn(x.transpose(1, 2), state)
        return y.transpose(1, 2)


class Apply(nn.Module):
    """A plain function as a module.

    Args:
        function: from ``(batch, channels, time)`` to the same kind of tensor.

    Example:
        >>> import torch
        >>> from causalcnn import audit
        >>> from causalcnn.causality.leak_case_layers import Apply
        >>> audit(Apply(lambda x: x.flip(2)), (1, 1, 40)).verdict.value
        'looks ahead'
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function.

        Args:
            x: an input, ``(batch, channels, time)``.

        Returns:
            What the function returns, for example ``(batch, channels, time)``.
        """
        return self.function(x)


class OverChannels(nn.Module):
    """A layer normalisation over the channels of each frame: it reads no other frame."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each frame by itself.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class WaveNetBlock(nn.Module):
    """A gated, dilated, residual block, causal.

    Args:
        dilation: frames between the two taps.

    Source:
        van den Oord et al., WaveNet, arXiv 1609.03499, §2.3 and §2.4.
    """

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.filter = PaddedConv(2, dilation, dilation=dilation)
        self.gate = PaddedConv(2, dilation, dilation=dilation)
        self.out = nn.Conv1d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``x + out(tanh(filter)·σ(gate))``.

        Args:
            x: an input, ``(batch, CHANNELS, time)``.

        Returns:
            An output of the same shape, ``(batch, CHANNELS, time)``.
        """
        return x + self.out(torch.tanh(self.filter(x)) * torch.sigmoid(self.gate(x)))


def dead(layer: nn.Conv1d) -> nn.Conv1d:
    """Set the bias so far down that a ReLU behind the layer never opens.

    Args:
        layer: a convolution with a bias; it is changed.

    Returns:
        The same layer.
    """
    assert layer.bias is not None
    nn.init.constant_(layer.bias, -1e3)
    return layer


def zeroed(layer: nn.Conv1d) -> nn.Conv1d:
    """Set all weights to zero, as some residual branches start.

    Args:
        layer: a convolution; it is changed.

    Returns:
        The same layer.
    """
    nn.init.zeros_(layer.weight)
    return layer
