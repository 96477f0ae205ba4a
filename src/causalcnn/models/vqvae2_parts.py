"""What the VQ-VAE-2 is built of: its sizes, and its eight parts, causal or centred on the present."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from causalcnn.nn.blocks import ResidualBlock2d
from causalcnn.nn.compose import CausalSequential
from causalcnn.nn.conv import CausalConv2d
from causalcnn.nn.quantise import VectorQuantizer
from causalcnn.nn.transpose import CausalConvTranspose2d

__all__ = ["CAUSAL", "CENTRED", "VQVAE2Config", "make_parts"]


@dataclass(frozen=True)
class VQVAE2Config:
    """The sizes of the model.

    Attributes:
        channels: of the hidden layers. residual_channels: inside a residual block.
        residual_blocks: of each of the two encoders and the two decoders.
        kernel_size: taps over time, odd (the non-causal twin centres them), and over frequency.
        code_dim: of a codeword. codes: in each of the two codebooks.
        commitment: weight of the commitment loss. decay: of the codebooks' running means.
        mels: bands of a frame, a multiple of 8.
        floor_db: values below it count as this much: nobody hears what lies there.
        mean_db, spread_db: subtracted, and divided by, before the first layer.
    """

    channels: int = 128
    residual_channels: int = 32
    residual_blocks: int = 2
    kernel_size: int = 3
    code_dim: int = 64
    codes: int = 512
    commitment: float = 0.25
    decay: float = 0.99
    mels: int = 80
    floor_db: float = -70.0
    mean_db: float = -35.0
    spread_db: float = 20.0

    def __post_init__(self) -> None:
        whole = ("channels", "residual_channels", "residual_blocks", "kernel_size", "code_dim", "codes", "mels")
        for name in whole:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be an integer of at least 1")
        if self.mels % 8:
            raise ValueError(f"mels is {self.mels}; it must be a multiple of 8, for the top level has mels / 8 cells")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; it must be odd, or the non-causal twin has no centre")
        if self.channels % 2:
            raise ValueError(
                f"channels is {self.channels}; it must be even, for the outermost layers have half of them"
            )
        if not self.spread_db > 0:
            raise ValueError(f"spread_db is {self.spread_db}; it must be more than 0")

    @classmethod
    def tiny(cls) -> VQVAE2Config:
        """For a chapter on a CPU."""
        return cls(channels=64, residual_channels=32, residual_blocks=1)

    @classmethod
    def base(cls) -> VQVAE2Config:
        """The widths of the paper: 128 channels, 32 in a residual block, two blocks a stack."""
        return cls()

    def with_(self, **changes: Any) -> VQVAE2Config:
        """A copy with some values changed."""
        return replace(self, **changes)


def _centred_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    *,
    stride: tuple[int, int] = (1, 1),
    frequency_padding: int | None = None,
) -> nn.Conv2d:
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    padding = (kernel[0] // 2, kernel[1] // 2 if frequency_padding is None else frequency_padding)
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding)


def _centred_up(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, int],
    *,
    stride: tuple[int, int],
    frequency_padding: int,
) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size, stride, (0, frequency_padding))


class _CentredBlock(nn.Module):
    """What :class:`ResidualBlock2d` is, with its window centred on the present."""

    def __init__(self, channels: int, kernel_size: int, *, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), _centred_conv(channels, hidden, kernel_size), nn.ReLU(), _centred_conv(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class _Kit(NamedTuple):
    """The layers that a model is built of. One text builds the causal model and its non-causal twin."""

    conv: Callable[..., nn.Module]
    up: Callable[..., nn.Module]
    block: Callable[..., nn.Module]
    chain: Callable[..., nn.Module]


CAUSAL = _Kit(CausalConv2d, CausalConvTranspose2d, ResidualBlock2d, CausalSequential)
CENTRED = _Kit(_centred_conv, _centred_up, _CentredBlock, nn.Sequential)

ENCODER_BOTTOM, ENCODER_TOP, QUANTISER_TOP, HINT, PROJECT_BOTTOM, QUANTISER_BOTTOM, UPSAMPLE, DECODER = range(8)
"""The parts, in the order in which they run."""
HALVE: dict[str, Any] = {"kernel_size": (1, 4), "stride": (1, 2), "frequency_padding": 1}
"""How the frequency axis is halved, or doubled: one frame at a time, so that only the 3-tap layers look back."""


def make_parts(config: VQVAE2Config, kit: _Kit) -> nn.ModuleList:
    """The eight parts, in the order in which they run."""
    wide, narrow, code = config.channels, config.channels // 2, config.code_dim

    def stack() -> list[nn.Module]:
        blocks = range(config.residual_blocks)
        return [kit.block(wide, config.kernel_size, hidden=config.residual_channels) for _ in blocks] + [nn.ReLU()]

    def quantiser() -> VectorQuantizer:
        return VectorQuantizer(config.codes, code, decay=config.decay)

    # fmt: off
    return nn.ModuleList([
        kit.chain(  # 80 → 20 bands
            kit.conv(1, narrow, **HALVE), nn.ReLU(), kit.conv(narrow, wide, **HALVE), nn.ReLU(),
            kit.conv(wide, wide, config.kernel_size), *stack(),
        ),
        kit.chain(  # 20 → 10
            kit.conv(wide, narrow, **HALVE), nn.ReLU(), kit.conv(narrow, wide, config.kernel_size), *stack(),
            kit.conv(wide, code, 1),
        ),
        quantiser(),
        kit.chain(kit.conv(code, wide, config.kernel_size), *stack(), kit.up(wide, code, **HALVE)),  # 10 → 20
        kit.chain(kit.conv(wide + code, code, 1)),
        quantiser(),
        kit.chain(kit.up(code, code, **HALVE)),  # 10 → 20
        kit.chain(  # 20 → 80
            kit.conv(2 * code, wide, config.kernel_size), *stack(),
            kit.up(wide, narrow, **HALVE), nn.ReLU(), kit.up(narrow, 1, **HALVE),
        ),
    ])
    # fmt: on
