"""The zoo: networks with one planted fault each, which an audit must find and name, and clean ones.

Every fault is there alone and inside a deep network of clean layers (:func:`deep`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn.causality.report import Verdict
from causalcnn.causality.zoo_layers import (
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
from causalcnn.nn import CausalConv1d

__all__ = ["CLEAN", "FAULTS", "Specimen", "cpc_encoder", "deep"]


@dataclass(frozen=True)
class Specimen:
    """One network of the zoo and what an audit must say about it.

    Attributes:
        name: the fault (or the clean idea). build: makes the network, in the mode in which it is to be judged.
        lookahead: frames beyond the convention; infinite for all of the recording, 0 for clean.
        culprit: qualified name of the first leaking submodule, when it stands alone; None where none is to be named.
        frames: the outputs that look ahead, where only some do.
        hidden: these weights do not show it. rows, state: rows mix, state is kept between calls.
        channels: of the input. convention: by which it is judged.
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


def _quiet(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """In eval mode, from one seed, whatever the caller's generator."""

    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build().eval()

    return made


def _seeded(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """From one seed, in training mode."""

    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build().train()

    return made


def deep(specimen: Specimen) -> nn.Module:
    """The specimen between clean layers: ``before`` (three WaveNet blocks), ``fault``, ``after`` (three more).

    A front end that takes samples has nothing before it.
    """
    fault = specimen.build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if specimen.channels == CHANNELS:
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
FAULTS: tuple[Specimen, ...] = (
    Specimen("pad off by one", _quiet(lambda: PaddedConv(3, 1, 1)), 1, "conv"),
    Specimen("dilation forgotten in the padding", _quiet(lambda: PaddedConv(3, 2, 2, dilation=2)), 2, "conv"),
    Specimen("symmetric padding", _quiet(lambda: _conv(5, 2)), 2, ""),
    Specimen("reflect padding", _quiet(lambda: PaddedConv(7, 6, mode="reflect")), 6, "", {0: 6, 1: 4, 2: 2}),
    Specimen("circular padding", _quiet(lambda: PaddedConv(3, 2, mode="circular")), EVERYTHING, ""),
    Specimen("batch norm in training", _seeded(lambda: nn.BatchNorm1d(CHANNELS)), EVERYTHING, "", rows=True),
    Specimen("group norm over time", _quiet(lambda: nn.GroupNorm(2, CHANNELS)), EVERYTHING, ""),
    Specimen("instance norm over time", _quiet(lambda: nn.InstanceNorm1d(CHANNELS)), EVERYTHING, ""),
    Specimen("layer norm over time", _quiet(lambda: Apply(_over_time)), EVERYTHING, ""),
    Specimen("min-max over the recording", _quiet(lambda: Apply(_min_max)), EVERYTHING, ""),
    Specimen("GRU in both directions", _quiet(lambda: Recurrent(both=True)), EVERYTHING, "rnn"),
    Specimen("LSTM in both directions", _quiet(lambda: Recurrent(nn.LSTM, both=True)), EVERYTHING, "rnn"),
    Specimen("centred STFT", _quiet(lambda: Spectrum(center=True)), 4, "", channels=1, convention="block"),
    Specimen("attention without a mask", _quiet(lambda: Attention(None)), EVERYTHING, ""),
    Specimen("attention mask off by one", _quiet(lambda: Attention(1)), 1, ""),
    Specimen("transposed convolution trimmed on the left", _quiet(lambda: Transposed(trim_left=True)), 1, ""),
    Specimen("argmin after a leak", _quiet(lambda: nn.Sequential(_conv(), Codebook())), 1, "0"),
    Specimen("closed gate", _quiet(lambda: Gated(_conv())), 1, "branch", hidden=True),
    Specimen("zero-initialised convolution", _quiet(lambda: zeroed(_conv())), 1, "", hidden=True),
    Specimen("max-pooling", _quiet(lambda: nn.MaxPool1d(3, 1, 1)), 1, ""),
    Specimen("dead ReLUs", _quiet(lambda: nn.Sequential(dead(_conv(7, 3)), nn.ReLU())), 3, "0", hidden=True),
    Specimen("masked convolution, off by one", _quiet(lambda: MaskedConv(leak=1)), 1, ""),
    Specimen("squeeze and excite over time", _quiet(lambda: SqueezeExcite(causal=False)), EVERYTHING, ""),
    Specimen("time counted from the end", _quiet(lambda: Apply(_tells_time_from_the_end)), EVERYTHING, None),
    Specimen("state kept across rows", _quiet(RowAfterRow), rows=True),
    Specimen("state kept across calls", _quiet(CallAfterCall), state=True),
    Specimen("CPC encoder", _quiet(lambda: cpc_encoder(CHANNELS)), 152, "0", channels=1, convention="block"),
)
"""Every one must be found: by its verdict, its look-ahead and the name of the submodule, alone and inside."""


def _residual() -> nn.Module:
    return Gated(nn.Sequential(PaddedConv(3, 6, dilation=3), nn.ReLU(), PaddedConv(3, 4, dilation=2)), 1.0)


def _dropped() -> nn.Module:
    return nn.Sequential(PaddedConv(3, 2), nn.Dropout(0.5), PaddedConv(3, 2))


def _weight_normed() -> nn.Module:
    layer = PaddedConv(3, 2)
    nn.utils.parametrizations.weight_norm(layer.conv)
    return layer


CLEAN: tuple[Specimen, ...] = (
    Specimen("dilated stack", _quiet(lambda: nn.Sequential(*(PaddedConv(3, 2 * d, dilation=d) for d in (1, 2, 4))))),
    Specimen("padded on both sides, then chopped", _quiet(lambda: nn.Sequential(ChoppedConv(3), ChoppedConv(3, 2)))),
    Specimen("residual block", _quiet(_residual)),
    Specimen("gated WaveNet", _quiet(lambda: nn.Sequential(*(WaveNetBlock(2**i) for i in range(4))))),
    Specimen("strided, strict", _quiet(lambda: CausalConv1d(CHANNELS, CHANNELS, 4, stride=2))),
    Specimen(
        "strided, block",
        _quiet(lambda: CausalConv1d(CHANNELS, CHANNELS, 4, stride=2, convention="block")),
        convention="block",
    ),
    Specimen("causal attention", _quiet(Attention)),
    Specimen("causal attention, masked by −1e9", _quiet(lambda: Attention(blocked=-1e9))),
    Specimen("GRU", _quiet(Recurrent)),
    Specimen("LSTM", _quiet(lambda: Recurrent(nn.LSTM))),
    Specimen("layer norm over channels", _quiet(lambda: nn.Sequential(PaddedConv(3, 2), OverChannels()))),
    Specimen("batch norm in eval", _quiet(lambda: nn.Sequential(PaddedConv(3, 2), nn.BatchNorm1d(CHANNELS)))),
    Specimen("transposed convolution trimmed on the right", _quiet(lambda: Transposed(trim_left=False))),
    Specimen("argmin after a causal layer", _quiet(lambda: nn.Sequential(PaddedConv(3, 2), Codebook()))),
    Specimen("dropout in eval", _quiet(_dropped)),
    Specimen("dropout in training", _seeded(_dropped)),
    Specimen("weight norm", _quiet(_weight_normed)),
    Specimen("depthwise", _quiet(lambda: CausalConv1d(CHANNELS, CHANNELS, 5, dilation=2, groups=CHANNELS))),
    Specimen("masked convolution", _quiet(MaskedConv)),
    Specimen("squeeze and excite over the past", _quiet(lambda: SqueezeExcite(causal=True))),
    Specimen("max-pooling of the past", _quiet(lambda: Apply(lambda x: F.max_pool1d(F.pad(x, (2, 0)), 3, 1)))),
    Specimen("causal STFT", _quiet(lambda: Spectrum(center=False)), channels=1, convention="block"),
)
"""On none of these may an audit raise an alarm, nor shrug."""
