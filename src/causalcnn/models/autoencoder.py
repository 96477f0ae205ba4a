"""Autoencoders of log-mel spectrograms with one level: an encoder, a bottleneck, and a decoder.

::

    frame ─ encoder ─ project ─ bottleneck ─ decoder ─ frame
             mels/4 cells      what is sent

Encoder and decoder are those of the VQ-VAE-2's bottom level. Only the bottleneck differs: numbers as they are in
:class:`CausalAutoencoder`, a Gaussian in :class:`~causalcnn.models.CausalVAE`, the nearest codeword in
:class:`~causalcnn.models.CausalVQVAE`.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.models.latent_model import LatentModel, Parts
from causalcnn.models.spectrogram_autoencoder import (
    SpectrogramAutoencoder,
    SpectrogramConfig,
    check_shape,
    spectrogram,
    whole,
)
from causalcnn.nn.compose import CausalSequential, Run
from causalcnn.nn.conv import CausalConv2d

if TYPE_CHECKING:
    from causalcnn.speech import Batch

__all__ = ["AutoencoderConfig", "CausalAutoencoder", "OneLevelAutoencoder"]


class OneLevelAutoencoder(SpectrogramAutoencoder, LatentModel):
    """Base class of the autoencoders with one level: all but the bottleneck.

    Args:
        config: the settings.

    Attributes:
        config: as given.
        encoder: mels → ``mels/4`` cells of features.
        project: features → the vectors of the bottleneck.
        decoder: what passes the bottleneck → the spectrogram.
        numbers_per_dim: the numbers of a vector before the bottleneck for each of ``code_dim``.

    Shape:
        log-mel spectrograms in dB, ``(batch, 1, time, mels)`` → the same.
    """

    config: SpectrogramConfig
    encoder: CausalSequential
    project: CausalConv2d
    decoder: CausalSequential

    numbers_per_dim: ClassVar[int] = 1

    def __init__(self, config: SpectrogramConfig) -> None:
        super().__init__(config)
        self.encoder = self._encoder()
        self.project = CausalConv2d(config.channels, self.numbers_per_dim * config.code_dim, 1)
        self.decoder = self._decoder(config.code_dim)

    # -------------------------------------------------------------------------------------------- what it reads
    @property
    def latent_field(self) -> Field:
        """What a cell of the latent reads."""
        return self.encoder.field.then(self.project.field)

    @property
    @override
    def field(self) -> Field:
        return self.latent_field.then(self.decoder.field)

    # --------------------------------------------------------------------------------------------- piece by piece
    @abc.abstractmethod
    def _bottleneck(self, vectors: Tensor, run: Run) -> Tensor:
        """What the decoder reads of the vectors, ``(batch, code_dim, time, cells)``."""

    @override
    def compose(self, x: Tensor, run: Run) -> Tensor:
        return self._decode(self._bottleneck(self._vectors(x, run), run), run)

    def _vectors(self, x: Tensor, run: Run) -> Tensor:
        """What the bottleneck reads, ``(batch, numbers_per_dim · code_dim, time, cells)``."""
        return run(self.project, run(self.encoder, self._normalize(x)))

    def _decode(self, z: Tensor, run: Run) -> Tensor:
        return self._to_db(run(self.decoder, z))

    # ------------------------------------------------------------------------------------- one number for each dim
    @override
    def _decode_latent(self, latent: Any, run: Run, parts: Parts | None = None) -> Tensor:
        return self._decode(latent, run)

    @override
    def _decode_symbols(self, *latent: Any) -> Any:
        return self._decode(*latent)

    @override
    def _check_latent(self, latent: Any) -> Any:
        check_shape(latent, ("batch", self.config.code_dim, "time", self.cells), "latents")
        return latent

    # --------------------------------------------------------------------------------------------------- for users
    @property
    def cells(self) -> int:
        """The number of cells of a frame, one for 4 bands."""
        return self.config.mels // 4

    def encode(self, x: Tensor) -> Any:
        """Compute the latent of a spectrogram: what is sent.

        Args:
            x: log-mel in dB, ``(batch, 1, time, mels)``.

        Returns:
            The latent, with as many frames.

        Raises:
            ValueError: an input of another shape or dtype.
        """
        return self._encode(x, whole)

    def decode(self, latent: Any) -> Tensor:
        """Compute the spectrogram that a latent stands for.

        Args:
            latent: the latent.

        Returns:
            The spectrogram in dB, ``(batch, 1, time, mels)``.

        Raises:
            ValueError: a latent of another shape, or, on a CPU, codes that the codebook does not have.
        """
        return self._decode_latent(self._check_latent(latent), whole)


@dataclass(frozen=True)
class AutoencoderConfig(SpectrogramConfig):
    """The settings of :class:`CausalAutoencoder`; the others are those of :class:`SpectrogramConfig`.

    Attributes:
        code_dim: the numbers in a cell. With 4, as many as it has bands, a frame of 80 bands becomes 80 numbers.

    Raises:
        ValueError: a setting out of its range.

    Example:
        >>> from causalcnn.models import AutoencoderConfig
        >>> AutoencoderConfig.tiny().with_(code_dim=2).channels
        64
    """

    code_dim: int = 4


class CausalAutoencoder(OneLevelAutoencoder):
    """An autoencoder over log-mel: each frame becomes numbers, and these become the frame again.

    Nothing but their number, ``code_dim`` in each of ``mels/4`` cells, limits what the numbers may say. They are
    real numbers, so they have no rate in bits until they are rounded.

    Args:
        config: the settings; ``AutoencoderConfig.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        config: as given.

    Shape:
        log-mel spectrograms in dB, ``(batch, 1, time, mels)`` → the same; the latent between them is
        ``(batch, code_dim, time, mels/4)``.

    Source:
        Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006,
        doi 10.1126/science.1127647; encoder and decoder as in Razavi et al., VQ-VAE-2, arXiv 1906.00446.

    Example:
        >>> import torch
        >>> from causalcnn.models import AutoencoderConfig, CausalAutoencoder
        >>> model = CausalAutoencoder(AutoencoderConfig(channels=8, residual_blocks=1)).eval()
        >>> z = model.encode(torch.full((1, 1, 7, 80), -30.0))
        >>> tuple(z.shape), tuple(model.decode(z).shape), model.field.lookahead
        ((1, 4, 7, 20), (1, 1, 7, 80), 0)
    """

    name: ClassVar[str] = "autoencoder"
    Config: ClassVar[type] = AutoencoderConfig

    config: AutoencoderConfig

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        super().__init__(config or AutoencoderConfig.tiny())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss: the squared error of the real frames.

        Args:
            batch: pieces of log-mel in dB, with a mask of the real frames.

        Returns:
            The loss, a scalar, and the metrics without gradients, each a scalar. There is one, ``error``, the mean
            squared error, where 1 is the square of ``spread_db``.

        Raises:
            ValueError: features of another number of bands.
        """
        x, mask = spectrogram(batch)
        error = self._squared_error(self(x), x, mask)
        return error, {"error": error.detach()}

    @override
    def _bottleneck(self, vectors: Tensor, run: Run) -> Tensor:
        return vectors

    @override
    def _encode(self, x: Tensor, run: Run, parts: Parts | None = None) -> Tensor:
        return self._vectors(x, run)

    @override
    def _from_plan(self, found: Sequence[Tensor]) -> Tensor:
        return found[0]
