"""Test cases for an audit: networks with one planted leak each, which it must find and name, and causal ones.

Every case can be built alone and inside a deep network of causal layers (:func:`embed_in_network`).
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
        build: makes the network, in the mode in which it is to be judged.
        lookahead: frames beyond the convention; infinite for all of the recording, 0 for a causal network.
        culprit: qualified name of the first leaking submodule, when it stands alone; None where none is to be named.
        frames: the outputs that look ahead, where only some do.
        hidden: whether the leak does not show with these weights.
        rows: whether a row of the batch reads another.
        state: whether state is kept between calls.
        channels: of the input.
        convention: by which it is judged.
    """

    name: str
    build: Callable[[], nn.Module]
    lookahead: float = 0
    culprit: str | None = None
    frames: dict[int, int] | None = None
    hidden: bool = False
    rows: bool = False
    state: bool = False
    channels: int = CHANNELS
    convention: str = "strict"

    @property
    def verdict(self) -> Verdict:
        """What the audit must say."""
        return Verdict.LOOKS_AHEAD if self.lookahead else Verdict.CAUSAL

    def example(self, frames: int = 48) -> Tensor:
        """A seeded input of two rows."""
        generator = torch.Generator().manual_seed(2)
        return torch.randn(2, self.channels, frames, generator=generator)


def _in_eval(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """In eval mode, from one seed, whatever the caller's generator."""

    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build().eval()

    return made


def _in_training(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """From one seed, in training mode."""

    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build().train()

    return made


def embed_in_network(case: LeakCase) -> nn.Module:
    """The network between causal layers: ``before`` (three WaveNet blocks), ``fault``, ``after`` (three more).

    A front end that takes samples has nothing before it.
    """
    fault = case.build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if case.channels == CHANNELS:
            parts["before"] = nn.Sequential(*(WaveNetBlock(2**i) for i in range(3))).eval()
        parts["fault"] = fault
        parts["after"] = nn.Sequential(*(WaveNetBlock(2**i) for i in range(3)), OverChannels()).eval()
    whole = nn.Sequential(parts)
    whole.training = fault.training
    return whole


def cpc_encoder(channels: int = 1) -> nn.Sequential:
    """The five convolutions of CPC and of VAP, ``(batch, 1, samples)``: hop 160, and 152 samples beyond it."""
    sizes = ((10, 5, 3), (8, 4, 2), (4, 2, 1), (4, 2, 1), (4, 2, 1))
    ins = (1, *(channels for _ in sizes[1:]))
    return nn.Sequential(*(nn.Conv1d(i, channels, k, s, p) for i, (k, s, p) in zip(ins, sizes, strict=True)))


def _conv(kernel_size: int = 3, padding: int = 1) -> nn.Conv1d:
    return nn.Conv1d(CHANNELS, CHANNELS, kernel_size, padding=padding)


def _over_time(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[2:])


def _min_max(x: Tensor) -> Tensor:
    low, high = x.amin(2, keepdim=True), x.amax(2, keepdim=True)
    return (x - low) / (high - low)


def _tells_time_from_the_end(x: Tensor) -> Tensor:
    return x * torch.linspace(0, 1, x.shape[2], dtype=x.dtype)


EVERYTHING = math.inf
LEAK_CASES: tuple[LeakCase, ...] = (
    LeakCase("pad off by one", _in_eval(lambda: PaddedConv(3, 1, 1)), 1, "conv"),
    LeakCase("dilation forgotten in the padding", _in_eval(lambda: PaddedConv(3, 2, 2, dilation=2)), 2, "conv"),
    LeakCase("symmetric padding", _in_eval(lambda: _conv(5, 2)), 2, ""),
    LeakCase("reflect padding", _in_eval(lambda: PaddedConv(7, 6, mode="reflect")), 6, "", {0: 6, 1: 4, 2: 2}),
    LeakCase("circular padding", _in_eval(lambda: PaddedConv(3, 2, mode="circular")), EVERYTHING, ""),
    LeakCase("batch norm in training", _in_training(lambda: nn.BatchNorm1d(CHANNELS)), EVERYTHING, "", rows=True),
    LeakCase("group norm over time", _in_eval(lambda: nn.GroupNorm(2, CHANNELS)), EVERYTHING, ""),
    LeakCase("instance norm over time", _in_eval(lambda: nn.InstanceNorm1d(CHANNELS)), EVERYTHING, ""),
    LeakCase("layer norm over time", _in_eval(lambda: Apply(_over_time)), EVERYTHING, ""),
    LeakCase("min-max over the recording", _in_eval(lambda: Apply(_min_max)), EVERYTHING, ""),
    LeakCase("GRU in both directions", _in_eval(lambda: Recurrent(both=True)), EVERYTHING, "rnn"),
    LeakCase("LSTM in both directions", _in_eval(lambda: Recurrent(nn.LSTM, both=True)), EVERYTHING, "rnn"),
    LeakCase("centred STFT", _in_eval(lambda: Spectrum(center=True)), 4, "", channels=1, convention="block"),
    LeakCase("attention without a mask", _in_eval(lambda: Attention(None)), EVERYTHING, ""),
    LeakCase("attention mask off by one", _in_eval(lambda: Attention(1)), 1, ""),
    LeakCase("transposed convolution trimmed on the left", _in_eval(lambda: Transposed(trim_left=True)), 1, ""),
    LeakCase("argmin after a leak", _in_eval(lambda: nn.Sequential(_conv(), Codebook())), 1, "0"),
    LeakCase("closed gate", _in_eval(lambda: Gated(_conv())), 1, "branch", hidden=True),
    LeakCase("zero-initialised convolution", _in_eval(lambda: zeroed(_conv())), 1, "", hidden=True),
    LeakCase("max-pooling", _in_eval(lambda: nn.MaxPool1d(3, 1, 1)), 1, ""),
    LeakCase("dead ReLUs", _in_eval(lambda: nn.Sequential(dead(_conv(7, 3)), nn.ReLU())), 3, "0", hidden=True),
    LeakCase("masked convolution, off by one", _in_eval(lambda: MaskedConv(leak=1)), 1, ""),
    LeakCase("squeeze and excite over time", _in_eval(lambda: SqueezeExcite(causal=False)), EVERYTHING, ""),
    LeakCase("time counted from the end", _in_eval(lambda: Apply(_tells_time_from_the_end)), EVERYTHING, None),
    LeakCase("state kept across rows", _in_eval(RowAfterRow), rows=True),
    LeakCase("state kept across calls", _in_eval(CallAfterCall), state=True),
    LeakCase("CPC encoder", _in_eval(lambda: cpc_encoder(CHANNELS)), 152, "0", channels=1, convention="block"),
)
"""An audit must find each, with its look-ahead and the name of the submodule, alone and inside of a network."""


def _residual() -> nn.Module:
    return Gated(nn.Sequential(PaddedConv(3, 6, dilation=3), nn.ReLU(), PaddedConv(3, 4, dilation=2)), 1.0)


def _dropped() -> nn.Module:
    return nn.Sequential(PaddedConv(3, 2), nn.Dropout(0.5), PaddedConv(3, 2))


def _weight_normed() -> nn.Module:
    layer = PaddedConv(3, 2)
    nn.utils.parametrizations.weight_norm(layer.conv)
    return layer


CAUSAL_CASES: tuple[LeakCase, ...] = (
    LeakCase("dilated stack", _in_eval(lambda: nn.Sequential(*(PaddedConv(3, 2 * d, dilation=d) for d in (1, 2, 4))))),
    LeakCase("padded on both sides, then chopped", _in_eval(lambda: nn.Sequential(ChoppedConv(3), ChoppedConv(3, 2)))),
    LeakCase("residual block", _in_eval(_residual)),
    LeakCase("gated WaveNet", _in_eval(lambda: nn.Sequential(*(WaveNetBlock(2**i) for i in range(4))))),
    LeakCase("strided, strict", _in_eval(lambda: CausalConv1d(CHANNELS, CHANNELS, 4, stride=2))),
    LeakCase(
        "strided, block",
        _in_eval(lambda: CausalConv1d(CHANNELS, CHANNELS, 4, stride=2, convention="block")),
        convention="block",
    ),
    LeakCase("causal attention", _in_eval(Attention)),
    LeakCase("causal attention, masked by −1e9", _in_eval(lambda: Attention(blocked=-1e9))),
    LeakCase("GRU", _in_eval(Recurrent)),
    LeakCase("LSTM", _in_eval(lambda: Recurrent(nn.LSTM))),
    LeakCase("layer norm over channels", _in_eval(lambda: nn.Sequential(PaddedConv(3, 2), OverChannels()))),
    LeakCase("batch norm in eval", _in_eval(lambda: nn.Sequential(PaddedConv(3, 2), nn.BatchNorm1d(CHANNELS)))),
    LeakCase("transposed convolution trimmed on the right", _in_eval(lambda: Transposed(trim_left=False))),
    LeakCase("argmin after a causal layer", _in_eval(lambda: nn.Sequential(PaddedConv(3, 2), Codebook()))),
    LeakCase("dropout in eval", _in_eval(_dropped)),
    LeakCase("dropout in training", _in_training(_dropped)),
    LeakCase("weight norm", _in_eval(_weight_normed)),
    LeakCase("depthwise", _in_eval(lambda: CausalConv1d(CHANNELS, CHANNELS, 5, dilation=2, groups=CHANNELS))),
    LeakCase("masked convolution", _in_eval(MaskedConv)),
    LeakCase("squeeze and excite over the past", _in_eval(lambda: SqueezeExcite(causal=True))),
    LeakCase("max-pooling of the past", _in_eval(lambda: Apply(lambda x: F.max_pool1d(F.pad(x, (2, 0)), 3, 1)))),
    LeakCase("causal STFT", _in_eval(lambda: Spectrum(center=False)), channels=1, convention="block"),
)
"""An audit must call each of these causal: neither leaking nor unknown."""
