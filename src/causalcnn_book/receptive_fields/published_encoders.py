"""The fields of well-known encoders, computed from their kernels and strides: a table for the docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import nn

from causalcnn.causality import receptive_field
from causalcnn.field import Field
from causalcnn.nn import CausalConv1d

__all__ = ["ReferenceEncoder", "reference_encoders"]


@dataclass(frozen=True)
class ReferenceEncoder:
    """One row of the table: an encoder that people use, and its field.

    Attributes:
        name: its name, as in its paper.
        field: which inputs an output reads; knows its input's rate.
        source: where its sizes are given.

    Example:
        >>> from causalcnn import Field
        >>> from causalcnn_book.receptive_fields import ReferenceEncoder
        >>> layer = ReferenceEncoder("one layer", Field.conv(3, padding=1).with_rate(100), "here")
        >>> layer.row()["field (ms)"], layer.beyond_its_hop
        (30.0, 1.0)
    """

    name: str
    field: Field
    source: str

    @property
    def rate_hz(self) -> float:
        """The rate of the input in Hz, that is in samples or frames a second."""
        assert self.field.rate_hz is not None
        return self.field.rate_hz

    @property
    def beyond_its_hop(self) -> float:
        """Inputs read beyond the block that an output stands for; 0 or less is block-causal."""
        hop = max(self.field.stride, Fraction(1))
        return float(self.field.lookahead - (hop - 1))

    def row(self) -> dict[str, float | str]:
        """Give name, input rate, field and hop in inputs and in ms, look-ahead beyond the hop in inputs and in ms."""
        to_ms = 1000 / self.rate_hz
        return {
            "encoder": self.name,
            "input rate (Hz)": self.rate_hz,
            "field (inputs)": float(self.field.size),
            "field (ms)": float(self.field.size) * to_ms,
            "touched (inputs)": float(self.field.num_inputs),
            "hop (inputs)": float(self.field.stride),
            "hop (ms)": float(self.field.stride) * to_ms,
            "ahead of its hop (inputs)": self.beyond_its_hop,
            "ahead of its hop (ms)": self.beyond_its_hop * to_ms,
        }


def _plain(sizes: Sequence[tuple[int, int, int]]) -> Field:
    """(kernel, stride, padding) of ordinary convolutions, one channel wide: the field does not depend on the width."""
    return receptive_field(nn.Sequential(*(nn.Conv1d(1, 1, k, s, p) for k, s, p in sizes)), (1, 1, 64))


def _causal(layers: Sequence[tuple[int, int, int]], convention: str = "strict") -> Field:
    """(kernel, stride, dilation) of our convolutions in series."""
    whole = Field.identity()
    for kernel, stride, dilation in layers:
        layer = CausalConv1d(1, 1, kernel, stride=stride, dilation=dilation, convention=convention)
        whole = whole.then(layer.field)
    return whole


def reference_encoders() -> list[ReferenceEncoder]:
    """List the fields of encoders that people use, each computed from its kernels, strides and dilations.

    Every plain one is traced; layers of this library are asked. ``row()`` gives numbers for a table.
    """
    wavenet = [(2, 1, 2**i) for _ in range(4) for i in range(10)]
    tcn = [(3, 1, 2**i) for i in range(8) for _ in range(2)]
    residual = [(3, 1, d) for _ in range(5) for d in (3, 2)]
    wav2vec = [(10, 5, 0), (8, 4, 0), (4, 2, 0), (4, 2, 0), (4, 2, 0)]
    wav2vec2 = [(10, 5, 0), *[(3, 2, 0)] * 4, *[(2, 2, 0)] * 2]
    cpc = [(10, 5, 3), (8, 4, 2), (4, 2, 1), (4, 2, 1), (4, 2, 1)]
    encodec: list[tuple[int, int, int]] = [(7, 1, 1)]
    for ratio in (2, 4, 5, 8):  # a residual unit, then a strided convolution of twice the ratio
        encodec += [(3, 1, 1), (2 * ratio, ratio, 1)]
    encodec.append((7, 1, 1))
    front = Field.window(range(-320, 320), 160)  # centred: window 640, hop 160
    causal_front = Field.window(range(160 - 640, 160), 160)
    return [
        ReferenceEncoder(
            "causalcnn, five residual blocks (kernel 3, dilations 3 and 2)",
            _causal(residual).with_rate(100),
            "this library",
        ),
        ReferenceEncoder("WaveNet, four stacks of ten", _causal(wavenet).with_rate(16_000), "arXiv 1609.03499"),
        ReferenceEncoder("TCN, eight levels, kernel 3", _causal(tcn).with_rate(100), "arXiv 1803.01271"),
        ReferenceEncoder("wav2vec", _plain(wav2vec).with_rate(16_000), "arXiv 1904.05862"),
        ReferenceEncoder("wav2vec 2.0", _plain(wav2vec2).with_rate(16_000), "arXiv 2006.11477"),
        ReferenceEncoder("CPC", _plain(cpc).with_rate(16_000), "arXiv 1807.03748"),
        ReferenceEncoder(
            "EnCodec, 24 kHz, convolutions only", _causal(encodec, "block").with_rate(24_000), "arXiv 2210.13438"
        ),
        ReferenceEncoder(
            "centred mel + five residual blocks", front.then(_causal(residual)).with_rate(16_000), "librosa's default"
        ),
        ReferenceEncoder(
            "causal mel + five residual blocks", causal_front.then(_causal(residual)).with_rate(16_000), "this library"
        ),
    ]
