"""A VQ-VAE over log-mel with one level: the nearest codeword for each cell of 4 bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models.autoencoder import OneLevelAutoencoder
from causalcnn.models.latent_model import Parts
from causalcnn.models.spectrogram_autoencoder import (
    SpectrogramConfig,
    bits_per_second,
    check_shape,
    spectrogram,
    whole,
)
from causalcnn.nn.compose import Run
from causalcnn.nn.quantize import Quantized, VectorQuantizer

if TYPE_CHECKING:
    from causalcnn.speech import Batch

__all__ = ["CausalVQVAE", "VQVAEConfig"]


@dataclass(frozen=True)
class VQVAEConfig(SpectrogramConfig):
    """The settings of :class:`CausalVQVAE`; the others are those of :class:`SpectrogramConfig`.

    Attributes:
        num_codes: the codewords in a codebook; with 512, a code has 9 bits.
        commitment: the weight of the commitment loss.
        decay: the decay of the codebook's moving averages; 0.99 remembers about 100 batches. A training of a few
            dozen steps needs less, such as 0.9.

    Raises:
        ValueError: a setting out of its range.

    Source:
        van den Oord et al., VQ-VAE, arXiv 1711.00937, appendix A.1, for commitment and decay.

    Example:
        >>> from causalcnn.models import VQVAEConfig
        >>> VQVAEConfig.tiny().with_(num_codes=64).code_dim
        64
    """

    num_codes: int = 512
    commitment: float = 0.25
    decay: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_integers("num_codes")


class CausalVQVAE(OneLevelAutoencoder):
    """The causal VQ-VAE: each cell of 4 bands becomes the number of the nearest codeword, one codebook for all.

    With the default sizes a frame has 20 codes of 9 bits, 18,000 bits a second (:attr:`bits_per_second`). It is the
    bottom level of :class:`CausalVQVAE2` without the top. Frequency is strided, time is not, and all layers are causal,
    as there.

    Args:
        config: the settings; ``VQVAEConfig.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        config: as given.
        quantize: the quantizer.

    Shape:
        log-mel spectrograms in dB, ``(batch, 1, time, mels)`` → the same; the codes between them are
        ``(batch, time, mels/4)``.

    Source:
        van den Oord et al., VQ-VAE, arXiv 1711.00937; encoder and decoder as in Razavi et al., VQ-VAE-2,
        arXiv 1906.00446.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE, VQVAEConfig
        >>> model = CausalVQVAE(VQVAEConfig(channels=8, residual_blocks=1, num_codes=16)).eval()
        >>> codes = model.encode(torch.full((1, 1, 7, 80), -30.0))
        >>> tuple(codes.shape), tuple(model.decode(codes).shape), model.bits_per_second
        ((1, 7, 20), (1, 1, 7, 80), 8000.0)
    """

    name: ClassVar[str] = "vqvae"
    Config: ClassVar[type] = VQVAEConfig

    config: VQVAEConfig
    quantize: VectorQuantizer

    def __init__(self, config: VQVAEConfig | None = None) -> None:
        super().__init__(config or VQVAEConfig.tiny())
        c = self.config
        self.quantize = VectorQuantizer(c.num_codes, c.code_dim, decay=c.decay)

    def reconstruct(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Quantized]:
        """Encode a spectrogram and decode it again, and say what the quantizer found. In training it learns from it.

        Args:
            x: log-mel in dB, ``(batch, 1, time, mels)``.
            mask: which frames are real and no padding, bool, ``(batch, time)``; by default all. Padded frames do not
                move the codebook and count in no metric.

        Returns:
            The reconstruction in dB, ``(batch, 1, time, mels)``; and what the quantizer found.

        Raises:
            ValueError: an input of another shape or dtype, or a mask that does not fit; in training on a CPU, an input
                that is not finite.
        """
        found = self.quantize.quantize(self._vectors(x, whole), mask)
        return self._decode(found.values, whole), found

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss: the squared error of the real frames, plus the weighted commitment.

        The codebook has no term in it; it learns by moving averages.

        Args:
            batch: pieces of log-mel in dB, with a mask of the real frames.

        Returns:
            The loss, a scalar, and the metrics without gradients, each a scalar. They are ``error``, the mean squared
            error in units of ``spread_db``²; ``commitment``, not weighted; ``perplexity``, the number of codewords
            that would carry as much if all were used alike.

        Raises:
            ValueError: features of another number of bands; in training on a CPU, features that are not finite.

        Source:
            van den Oord et al., VQ-VAE, arXiv 1711.00937, eq. 3, with the moving averages of appendix A.1.
        """
        x, mask = spectrogram(batch)
        y, found = self.reconstruct(x, mask)
        error = self._squared_error(y, x, mask)
        metrics = {
            "error": error.detach(),
            "commitment": found.commitment.detach(),
            "perplexity": found.perplexity,
        }
        return error + self.config.commitment * found.commitment, metrics

    @property
    def bits_per_second(self) -> float:
        """The rate of the codes in bits per second, at 100 frames a second and without entropy coding."""
        return bits_per_second(self.config.num_codes, self.cells)

    # ---------------------------------------------------------------------------------------------------- inside
    @override
    def _bottleneck(self, vectors: Tensor, run: Run) -> Tensor:
        return run(self.quantize, vectors)

    @override
    @torch.no_grad()  # codes are integers and have no gradient
    def _encode(self, x: Tensor, run: Run, parts: Parts | None = None) -> Tensor:
        return self._quantizer(parts).encode(self._vectors(x, run))  # (batch, time, cells)

    @override
    def _decode_latent(self, latent: Tensor, run: Run, parts: Parts | None = None) -> Tensor:
        dtype = next(self.parameters()).dtype  # the codebook stays in float32 where the rest is in half precision
        return self._decode(self._quantizer(parts).decode(latent).to(dtype), run)

    def _quantizer(self, parts: Parts | None) -> Any:
        """What looks up the codes: the quantizer, or a stream's."""
        return self.quantize if parts is None else parts["quantize"]

    @override
    def _check_latent(self, latent: Tensor) -> Tensor:
        check_shape(latent, ("batch", "time", self.cells), "codes")
        return latent

    @override
    def _decode_symbols(self, *latent: Any) -> Any:
        codes, run = latent  # (batch, 1, time, cells)
        return self._decode(self.quantize.decode(codes), run)

    @override
    def _to_plan(self, latent: Tensor) -> list[Tensor]:
        return [latent.unsqueeze(1)]

    @override
    def _from_plan(self, found: Sequence[Tensor]) -> Tensor:
        return found[0].squeeze(1)
