"""What the autoencoders of log-mel spectrograms share: their settings, their layers, and the scale in dB.

All of them stride frequency only, never time, so that a model that is causal says of a frame what it has to say as
soon as the frame is there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from causalcnn.models.config import ModelConfig
from causalcnn.nn.blocks import ResidualBlock2d
from causalcnn.nn.compose import CausalSequential
from causalcnn.nn.conv import CausalConv2d
from causalcnn.nn.transpose import CausalConvTranspose2d

if TYPE_CHECKING:
    from causalcnn.speech import Batch

__all__ = [
    "SpectrogramAutoencoder",
    "SpectrogramConfig",
    "bits_per_second",
    "check_shape",
    "spectrogram",
    "whole",
]


@dataclass(frozen=True)
class SpectrogramConfig(ModelConfig):
    """The settings that all autoencoders of log-mel spectrograms have.

    Attributes:
        channels: the channels of the hidden layers, even, because the outermost layers have half of them.
        residual_channels: the channels inside a residual block; 32, as in the example of a VQ-VAE that the authors
            published with their library sonnet.
        residual_blocks: the residual blocks in each stack of encoder and decoder.
        kernel_size: the taps over time and over frequency of all convolutions that are not strided, odd, so that the
            kernel has a center in frequency.
        code_dim: the numbers in a cell of the bottleneck.
        mels: the bands of a frame; 80, as the front end makes them.
        floor_db: the lowest level in dB; values below it count as this much. Nobody hears what lies below −70 dB.
        mean_db: the level in dB that is subtracted before the first layer. This and ``spread_db`` are about the mean
            and the standard deviation of speech over the floor, so that the network reads numbers from about −2 to 2.
        spread_db: the levels in dB that are divided by it before the first layer, more than 0.
        bands_per_cell: the bands that the largest cell stands for; the number of bands is a multiple of it.

    Raises:
        ValueError: a setting out of its range.

    Example:
        >>> from causalcnn.models import AutoencoderConfig, VQVAEConfig
        >>> AutoencoderConfig.tiny().channels, VQVAEConfig.base().channels
        (64, 128)
    """

    channels: int = 128
    residual_channels: int = 32
    residual_blocks: int = 2
    kernel_size: int = 3
    code_dim: int = 64
    mels: int = 80
    floor_db: float = -70.0
    mean_db: float = -35.0
    spread_db: float = 20.0

    bands_per_cell: ClassVar[int] = 4

    def __post_init__(self) -> None:
        self._check_integers("channels", "residual_channels", "residual_blocks", "kernel_size", "code_dim", "mels")
        if self.mels % self.bands_per_cell:
            raise ValueError(
                f"mels is {self.mels}; it must be a multiple of {self.bands_per_cell}, for a cell stands for so many "
                "bands"
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; it must be odd, so that it has a center")
        if self.channels % 2:
            raise ValueError(
                f"channels is {self.channels}; it must be even, for the outermost layers have half of them"
            )
        if not self.spread_db > 0:
            raise ValueError(f"spread_db is {self.spread_db}; it must be more than 0")

    @classmethod
    def tiny(cls) -> Self:
        """A size for a chapter on a CPU: half as many channels as the default, and one block a stack."""
        return cls(channels=64, residual_channels=32, residual_blocks=1)

    @classmethod
    def base(cls) -> Self:
        """The default settings, with 128 channels and two blocks a stack as in the paper on VQ-VAE-2."""
        return cls()


def whole(part: nn.Module, x: Tensor) -> Tensor:
    """The ``run`` of :meth:`Composite.compose` for a whole recording."""
    return part(x)


class SpectrogramAutoencoder(nn.Module):
    """Base class: the layers that an encoder and a decoder are made of, and the scale of what goes in and comes out.

    A subclass makes encoder and decoder in ``__init__``, in the order in which their weights are drawn.

    Args:
        config: the settings.

    Attributes:
        config: as given.
    """

    config: Any

    # A model that is not causal has other layers here, and is otherwise the same.
    _conv: ClassVar[type[nn.Module]] = CausalConv2d
    _block: ClassVar[type[nn.Module]] = ResidualBlock2d
    _sequential: ClassVar[type[Any]] = CausalSequential

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    # ------------------------------------------------------------------------------------------------------- layers
    def _encoder(self) -> Any:
        """mels → ``mels/4`` cells of ``channels`` features."""
        wide, narrow = self.config.channels, self.config.channels // 2
        return self._sequential(
            self._halve(1, narrow),
            nn.ReLU(),
            self._halve(narrow, wide),
            nn.ReLU(),
            self._mix(wide, wide),
            *self._stack(),
        )

    def _decoder(self, in_channels: int) -> Any:
        """``mels/4`` cells → mels."""
        wide, narrow = self.config.channels, self.config.channels // 2
        return self._sequential(
            self._mix(in_channels, wide),
            *self._stack(),
            self._double(wide, narrow),
            nn.ReLU(),
            self._double(narrow, 1),
        )

    def _mix(self, in_channels: int, out_channels: int) -> nn.Module:
        """A convolution over time and frequency."""
        return self._conv(in_channels, out_channels, self.config.kernel_size)

    def _stack(self) -> list[nn.Module]:
        """Residual blocks, and a ReLU after the last."""
        c = self.config
        blocks = [self._block(c.channels, c.kernel_size, hidden=c.residual_channels) for _ in range(c.residual_blocks)]
        return [*blocks, nn.ReLU()]

    def _halve(self, in_channels: int, out_channels: int) -> CausalConv2d:
        """A layer that halves the number of frequency cells and reads no other frame."""
        return CausalConv2d(in_channels, out_channels, (1, 4), stride=(1, 2), frequency_padding=1)

    def _double(self, in_channels: int, out_channels: int) -> Any:
        """A layer that doubles the number of frequency cells and reads no other frame."""
        return CausalConvTranspose2d(in_channels, out_channels, (1, 4), stride=(1, 2), frequency_padding=1)

    # -------------------------------------------------------------------------------------------------------- scale
    def _normalize(self, x: Tensor) -> Tensor:
        """Check log-mel in dB, ``(batch, 1, time, mels)``, and bring it to about mean 0 and spread 1."""
        if x.dim() != 4 or x.shape[1] != 1 or x.shape[3] != self.config.mels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this model takes log-mel spectrograms in dB, "
                f"(batch, 1, time, {self.config.mels}). causalcnn.speech.to_2d makes one of (batch, mels, time)."
            )
        if not x.is_floating_point():
            raise ValueError(f"input has dtype {x.dtype}; a spectrogram in dB is floating point")
        return (x.clamp(min=self.config.floor_db) - self.config.mean_db) / self.config.spread_db

    def _to_db(self, y: Tensor) -> Tensor:
        return y * self.config.spread_db + self.config.mean_db

    def _squared_error(self, y: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """The mean over all real frames and their bands of the squared error, in units of ``spread_db``²."""
        wrong = (y - x.clamp(min=self.config.floor_db)) / self.config.spread_db
        squared = wrong.square().mean(dim=(1, 3))  # (batch, time)
        return (squared * mask).sum() / mask.sum().clamp(min=1)

    def extra_repr(self) -> str:
        """Show the settings when the model is printed."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self.config).items())


def spectrogram(batch: Batch) -> tuple[Tensor, Tensor]:
    """The features of a batch as a model takes them, ``(batch, 1, time, mels)``, and which frames are real."""
    return batch.features.transpose(1, 2).unsqueeze(1), batch.mask


def check_shape(x: Tensor, shape: tuple[int | str, ...], what: str) -> None:
    """Refuse a tensor of another shape, in which words stand for any number."""
    if x.dim() != len(shape) or any(n != m for n, m in zip(x.shape, shape, strict=True) if isinstance(m, int)):
        raise ValueError(f"{what} of shape {tuple(x.shape)}; they must be ({', '.join(map(str, shape))})")


def bits_per_second(num_codes: int, codes_per_frame: int) -> float:
    """The rate of codes in bits per second, at 100 frames a second and without entropy coding."""
    return 100 * codes_per_frame * torch.log2(torch.tensor(float(num_codes))).item()
