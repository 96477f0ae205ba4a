"""Test cases for an audit: networks with one planted leak each, which it must find and name, and causal ones.

Every case can be built alone and inside a deep network of causal layers (:func:`embed_in_network`). A case is one
entry of ``LEAK_CASES`` or ``CAUSAL_CASES``; the layers that it is made of are in
:mod:`causalcnn.causality.leak_case_layers`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn.causality.leak_case_layers import (
    CHANNELS,
    Apply,
    Attention,
    CallAfterCall,
    ChoppedConv,
    Codebook,
    Gated,
    MaskedConv,
    OverChannels,
    PaddedConv,
    Recurrent,
    RowAfterRow,
    Spectrum,
    SqueezeExcite,
    Transposed,
    WaveNetBlock,
    dead,
    zeroed,
)
from causalcnn.causality.report import Verdict
from causalcnn.nn import CausalConv1d

__all__ = ["CAUSAL_CASES", "LEAK_CASES", "LeakCase", "cpc_encoder", "embed_in_network"]


@dataclass(frozen=True)
class LeakCase:
    """One network and what an audit must say about it.

    Attributes:
        name: what leaks, or why it does not.
        make: makes the network; use :meth:`build`.
        lookahead: input frames beyond the convention; infinite for all of the recording, 0 for a causal network.
        culprit: qualified name of the first leaking submodule, when it stands alone; None where none is to be named.
        frames: output frame to input frames ahead, for a leak of which only some outputs are part; else None.
        hidden: whether the leak does not show with these weights.
        rows: whether a row of the batch reads another.
        state: whether state is kept between calls.
        training: whether it is judged in training mode.
        channels: of the input.
        convention: by which it is judged, ``"strict"`` or ``"block"``.

    Example:
        >>> from causalcnn import audit
        >>> from causalcnn.causality import LEAK_CASES
        >>> case = next(case for case in LEAK_CASES if case.name == "closed gate")
        >>> report = audit(case.build(), case.example())
        >>> report.lookahead == case.lookahead, report.culprit == case.culprit
        (True, True)
        >>> report.observed  # the gate hides it from every measurement
        0
    """

    name: str
    make: Callable[[], nn.Module]
    lookahead: float = 0
    culprit: str | None = None
    frames: dict[int, int] | None = None
    hidden: bool = False
    rows: bool = False
    state: bool = False
    training: bool = False
    channels: int = CHANNELS
    convention: str = "strict"

    @property
    def verdict(self) -> Verdict:
        """What the audit must say."""
        return Verdict.LOOKS_AHEAD if self.lookahead else Verdict.CAUSAL

    def build(self) -> nn.Module:
        """Build the network, always from the same seed, in the mode in which it is judged."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make().train(self.training)

    def example(self, frames: int = 48) -> Tensor:
        """Make a seeded input of two rows.

        Args:
            frames: of the input, or samples where the network takes these.

        Returns:
            Noise, ``(2, channels, frames)``.
        """
        generator = torch.Generator().manual_seed(2)
        return torch.randn(2, self.channels, frames, generator=generator)


def embed_in_network(case: LeakCase) -> nn.Module:
    """Put the network of a case between causal layers, so that an audit must find the leak among many innocent layers.

    Args:
        case: the network and what an audit must say about it.

    Returns:
        A network of the parts ``before`` (three WaveNet blocks), ``middle`` (the case) and ``after`` (three more
        blocks). A front end that takes samples has nothing before it.

    Example:
        >>> from causalcnn import receptive_field
        >>> from causalcnn.causality import LEAK_CASES, embed_in_network
        >>> case = next(case for case in LEAK_CASES if case.name == "max-pooling")
        >>> network = embed_in_network(case)
        >>> [name for name, _ in network.named_children()]
        ['before', 'middle', 'after']
        >>> receptive_field(network, case.example()).lookahead == case.lookahead
        True
    """
    fault = case.build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if case.channels == CHANNELS:
            parts["before"] = nn.Sequential(*(WaveNetBlock(2**i) for i in range(3))).eval()
        parts["middle"] = fault
        parts["after"] = nn.Sequential(*(WaveNetBlock(2**i) for i in range(3)), OverChannels()).eval()
    whole = nn.Sequential(parts)
    whole.training = fault.training
    return whole


def cpc_encoder(channels: int = 1) -> nn.Sequential:
    """Build the five convolutions of CPC and of VAP, ``(batch, 1, samples)``: hop 160, and 152 samples beyond it."""
    sizes = ((10, 5, 3), (8, 4, 2), (4, 2, 1), (4, 2, 1), (4, 2, 1))
    ins = (1, *(channels for _ in sizes[1:]))
    return nn.Sequential(*(nn.Conv1d(i, channels, k, s, p) for i, (k, s, p) in zip(ins, sizes, strict=True)))


def _conv(kernel_size: int = 3, padding: int = 1) -> nn.Conv1d:
    return nn.Conv1d(CHANNELS, CHANNELS, kernel_size, padding=padding)


def _layer_norm_over_time(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[2:])


def _min_max(x: Tensor) -> Tensor:
    low, high = x.amin(2, keepdim=True), x.amax(2, keepdim=True)
    return (x - low) / (high - low)


def _ramp_to_the_end(x: Tensor) -> Tensor:
    return x * torch.linspace(0, 1, x.shape[2], dtype=x.dtype)


EVERYTHING = math.inf
LEAK_CASES: tuple[LeakCase, ...] = (
    LeakCase("pad off by one", lambda: PaddedConv(3, 1, 1), 1, "conv"),
    LeakCase("dilation forgotten in the padding", lambda: PaddedConv(3, 2, 2, dilation=2), 2, "conv"),
    LeakCase("symmetric padding", lambda: _conv(5, 2), 2, ""),
    LeakCase("reflect padding", lambda: PaddedConv(7, 6, mode="reflect"), 6, "", {0: 6, 1: 4, 2: 2}),
    LeakCase("circular padding", lambda: PaddedConv(3, 2, mode="circular"), EVERYTHING, ""),
    LeakCase("batch norm in training", lambda: nn.BatchNorm1d(CHANNELS), EVERYTHING, "", rows=True, training=True),
    LeakCase("group norm over time", lambda: nn.GroupNorm(2, CHANNELS), EVERYTHING, ""),
    LeakCase("instance norm over time", lambda: nn.InstanceNorm1d(CHANNELS), EVERYTHING, ""),
    LeakCase("layer norm over time", lambda: Apply(_layer_norm_over_time), EVERYTHING, ""),
    LeakCase("min-max over the recording", lambda: Apply(_min_max), EVERYTHING, ""),
    LeakCase("GRU in both directions", lambda: Recurrent(both=True), EVERYTHING, "rnn"),
    LeakCase("LSTM in both directions", lambda: Recurrent(nn.LSTM, both=True), EVERYTHING, "rnn"),
    LeakCase("centred STFT", lambda: Spectrum(center=True), 4, "", channels=1, convention="block"),
    LeakCase("attention without a mask", lambda: Attention(None), EVERYTHING, ""),
    LeakCase("attention mask off by one", lambda: Attention(1), 1, ""),
    LeakCase("transposed convolution trimmed on the left", lambda: Transposed(trim_left=True), 1, ""),
    LeakCase("argmin after a leak", lambda: nn.Sequential(_conv(), Codebook()), 1, "0"),
    LeakCase("closed gate", lambda: Gated(_conv()), 1, "branch", hidden=True),
    LeakCase("zero-initialised convolution", lambda: zeroed(_conv()), 1, "", hidden=True),
    LeakCase("max-pooling", lambda: nn.MaxPool1d(3, 1, 1), 1, ""),
    LeakCase("dead ReLUs", lambda: nn.Sequential(dead(_conv(7, 3)), nn.ReLU()), 3, "0", hidden=True),
    LeakCase("masked convolution, off by one", lambda: MaskedConv(leak=1), 1, ""),
    LeakCase("squeeze and excite over time", lambda: SqueezeExcite(causal=False), EVERYTHING, ""),
    LeakCase("time counted from the end", lambda: Apply(_ramp_to_the_end), EVERYTHING, None),
    LeakCase("state kept across rows", RowAfterRow, rows=True),
    LeakCase("state kept across calls", CallAfterCall, state=True),
    LeakCase("CPC encoder", lambda: cpc_encoder(CHANNELS), 152, "0", channels=1, convention="block"),
)
"""Networks that look ahead, mix rows or keep state. An audit must find each, with its look-ahead and the name of the
submodule, alone and inside a network."""


def _residual() -> nn.Module:
    return Gated(nn.Sequential(PaddedConv(3, 6, dilation=3), nn.ReLU(), PaddedConv(3, 4, dilation=2)), 1.0)


def _dropout() -> nn.Module:
    return nn.Sequential(PaddedConv(3, 2), nn.Dropout(0.5), PaddedConv(3, 2))


def _weight_normed() -> nn.Module:
    layer = PaddedConv(3, 2)
    nn.utils.parametrizations.weight_norm(layer.conv)
    return layer


CAUSAL_CASES: tuple[LeakCase, ...] = (
    LeakCase("dilated stack", lambda: nn.Sequential(*(PaddedConv(3, 2 * d, dilation=d) for d in (1, 2, 4)))),
    LeakCase("padded on both sides, then chopped", lambda: nn.Sequential(ChoppedConv(3), ChoppedConv(3, 2))),
    LeakCase("residual block", _residual),
    LeakCase("gated WaveNet", lambda: nn.Sequential(*(WaveNetBlock(2**i) for i in range(4)))),
    LeakCase("strided, strict", lambda: CausalConv1d(CHANNELS, CHANNELS, 4, stride=2)),
    LeakCase(
        "strided, block",
        lambda: CausalConv1d(CHANNELS, CHANNELS, 4, stride=2, convention="block"),
        convention="block",
    ),
    LeakCase("causal attention", Attention),
    LeakCase("causal attention, masked by −1e9", lambda: Attention(blocked=-1e9)),
    LeakCase("GRU", Recurrent),
    LeakCase("LSTM", lambda: Recurrent(nn.LSTM)),
    LeakCase("layer norm over channels", lambda: nn.Sequential(PaddedConv(3, 2), OverChannels())),
    LeakCase("batch norm in eval", lambda: nn.Sequential(PaddedConv(3, 2), nn.BatchNorm1d(CHANNELS))),
    LeakCase("transposed convolution trimmed on the right", lambda: Transposed(trim_left=False)),
    LeakCase("argmin after a causal layer", lambda: nn.Sequential(PaddedConv(3, 2), Codebook())),
    LeakCase("dropout in eval", _dropout),
    LeakCase("dropout in training", _dropout, training=True),
    LeakCase("weight norm", _weight_normed),
    LeakCase("depthwise", lambda: CausalConv1d(CHANNELS, CHANNELS, 5, dilation=2, groups=CHANNELS)),
    LeakCase("masked convolution", MaskedConv),
    LeakCase("squeeze and excite over the past", lambda: SqueezeExcite(causal=True)),
    LeakCase("max-pooling of the past", lambda: Apply(lambda x: F.max_pool1d(F.pad(x, (2, 0)), 3, 1))),
    LeakCase("causal STFT", lambda: Spectrum(center=False), channels=1, convention="block"),
)
"""Causal networks that resemble leaking ones. An audit must call each of them causal, not unknown."""
