"""A hierarchical VQ-VAE over mel spectrograms: speech as 30 codes a frame, computed live if the model is causal.

::

    frame ─ encoder_bottom ─┬──────────────────────────────────── project_bottom ─ quantize_bottom ─┬─ decoder ─ frame
                            └─ encoder_top ─ quantize_top ─┬─ hint ──────┘                          │
                                                           └─ upsample_top ─────────────────────────┘

Time is never strided, so the causal model gives the codes of a frame as soon as the frame is there. Frequency is
strided: a bottom code stands for 4 mel bands, a top code for 8.

The top codes are computed first. A bottom code depends on the features of its own encoder and, through ``hint``, on
neighboring top codes, but not on other bottom codes. It reads all that those top codes read, so it reads further back
than a top code does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.models.latent_model import Parts
from causalcnn.models.spectrogram_autoencoder import (
    SpectrogramAutoencoder,
    bits_per_second,
    spectrogram,
    whole,
)
from causalcnn.models.vqvae import VQVAEConfig
from causalcnn.nn.compose import Run
from causalcnn.nn.conv import CausalConv2d
from causalcnn.nn.quantize import Quantized, VectorQuantizer

if TYPE_CHECKING:
    from causalcnn.speech import Batch

__all__ = ["VQVAE2", "Codes", "VQVAE2Config"]


class Codes(NamedTuple):
    """The codes of a spectrogram: the indices of codewords. This is what a sender sends and a receiver decodes.

    Attributes:
        top: the indices in the top codebook, int64, ``(batch, time, mels/8)``.
        bottom: the indices in the bottom codebook, int64, ``(batch, time, mels/4)``.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, Codes, VQVAE2Config
        >>> codes = Codes(top=torch.zeros(1, 3, 10, dtype=torch.int64), bottom=torch.zeros(1, 3, 20, dtype=torch.int64))
        >>> tuple(CausalVQVAE2(VQVAE2Config.tiny()).decode(codes).shape)
        (1, 1, 3, 80)
    """

    top: Tensor
    bottom: Tensor


@dataclass(frozen=True)
class VQVAE2Config(VQVAEConfig):
    """The settings of :class:`CausalVQVAE2` and :class:`VQVAE2`.

    They are those of :class:`VQVAEConfig`, for two codebooks of ``num_codes`` codewords each. ``mels`` is a multiple of
    8, because a top code stands for 8 bands, and there are four stacks of residual blocks: the two encoders, the hint
    and the decoder. Where nothing else is said, the defaults of the network are the paper's. With them the model has
    941,000 parameters; ``tiny()`` has 319,000.

    Attributes:
        bands_per_cell: the bands that a top code stands for.

    Raises:
        ValueError: a setting out of its range.

    Source:
        Razavi et al., VQ-VAE-2, arXiv 1906.00446, appendix A, for sizes; the decay is that of van den Oord et al.,
        VQ-VAE, arXiv 1711.00937, appendix A.1.

    Example:
        >>> from causalcnn.models import VQVAE2Config
        >>> config = VQVAE2Config.tiny().with_(mels=40)
        >>> config.top_cells, config.bottom_cells
        (5, 10)
    """

    bands_per_cell: ClassVar[int] = 8

    @property
    def top_cells(self) -> int:
        """The number of top codes of a frame, one for 8 bands."""
        return self.mels // 8

    @property
    def bottom_cells(self) -> int:
        """The number of bottom codes of a frame, one for 4 bands."""
        return self.mels // 4


class _CenteredConv2d(nn.Conv2d):
    """A convolution that reads as many frames after the present one as before it."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)


class _CenteredBlock(nn.Module):
    """A :class:`ResidualBlock2d` that reads as many frames after the present one as before it."""

    def __init__(self, channels: int, kernel_size: int, *, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), _CenteredConv2d(channels, hidden, kernel_size), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class VQVAE2(SpectrogramAutoencoder):
    """The VQ-VAE-2 for whole recordings, with windows that are centered on the present and so look ahead.

    It is there for comparison: :class:`CausalVQVAE2` is the same network, with as many weights, built of causal
    layers. Its docstring says what is as in the paper and what is not. In this one a convolution reads as many frames
    after the present one as before it: with ``VQVAE2Config.tiny()``, a frame of the reconstruction reads 8 frames back
    and 8 ahead, so that it comes 80 ms late.

    Args:
        config: the settings; ``VQVAE2Config.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        quantize_top: the quantizer of the top codes.
        quantize_bottom: the quantizer of the bottom codes.

    Shape:
        log-mel spectrograms in dB, ``(batch, 1, time, mels)`` → the same; between them ``mels/8`` top and ``mels/4``
        bottom codes a frame.

    Source:
        Razavi et al., VQ-VAE-2, arXiv 1906.00446, §3.1; strided over frequency only.

    Example:
        >>> import torch
        >>> from causalcnn.models import VQVAE2, VQVAE2Config
        >>> model = VQVAE2(VQVAE2Config(channels=8, residual_blocks=1, code_dim=4, num_codes=16)).eval()
        >>> codes = model.encode(torch.full((1, 1, 7, 80), -30.0))
        >>> tuple(codes.top.shape), tuple(codes.bottom.shape), tuple(model.decode(codes).shape)
        ((1, 7, 10), (1, 7, 20), (1, 1, 7, 80))
    """

    name: ClassVar[str] = "vqvae2-noncausal"
    Config: ClassVar[type] = VQVAE2Config

    # Parts typed Any are plain modules of torch in this model; in the causal one they are CausalModules, as Run asks.
    _conv: ClassVar[type[nn.Module]] = _CenteredConv2d
    _block: ClassVar[type[nn.Module]] = _CenteredBlock
    _sequential: ClassVar[type[Any]] = nn.Sequential

    quantize_top: VectorQuantizer
    quantize_bottom: VectorQuantizer

    def __init__(self, config: VQVAE2Config | None = None) -> None:
        super().__init__(config or VQVAE2Config.tiny())
        c = self.config
        wide, narrow, code_dim = c.channels, c.channels // 2, c.code_dim
        # A 1 × 1 convolution reads one frame, so causal and centered are the same: CausalConv2d serves both models.
        self.encoder_bottom = self._encoder()  # mels → mels/4 cells
        self.encoder_top = self._sequential(  # mels/4 → mels/8
            self._halve(wide, narrow),
            nn.ReLU(),
            self._mix(narrow, wide),
            *self._stack(),
            CausalConv2d(wide, code_dim, 1),
        )
        self.quantize_top = VectorQuantizer(c.num_codes, code_dim, decay=c.decay)
        self.hint = self._sequential(  # mels/8 → mels/4
            self._mix(code_dim, wide), *self._stack(), self._double(wide, code_dim)
        )
        self.project_bottom = CausalConv2d(wide + code_dim, code_dim, 1)
        self.quantize_bottom = VectorQuantizer(c.num_codes, code_dim, decay=c.decay)
        self.upsample_top = self._double(code_dim, code_dim)  # mels/8 → mels/4
        self.decoder = self._decoder(2 * code_dim)  # mels/4 → mels

    @override
    def _double(self, in_channels: int, out_channels: int) -> Any:
        return nn.ConvTranspose2d(in_channels, out_channels, (1, 4), stride=(1, 2), padding=(0, 1))

    # ------------------------------------------------------------------------------------ how the parts work together
    def _run_encoders(self, x: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Check and normalize ``x`` and run both encoders: they give the bottom's features and the top's vectors."""
        features = run(self.encoder_bottom, self._normalize(x))  # (batch, channels, time, mels/4)
        return features, run(self.encoder_top, features)  # (batch, code_dim, time, mels/8)

    def _add_hint(self, features: Tensor, top: Tensor, run: Run) -> Tensor:
        """The vectors of the bottom codes, from the bottom encoder's features and the codewords of the top."""
        hint = run(self.hint, top)  # (batch, code_dim, time, mels/4)
        return run(self.project_bottom, torch.cat([features, hint], dim=1))  # (batch, code_dim, time, mels/4)

    def _decode(self, top: Tensor, bottom: Tensor, run: Run) -> Tensor:
        """The spectrogram in dB that the codewords of top and bottom stand for."""
        top = run(self.upsample_top, top)  # (batch, code_dim, time, mels/4)
        return self._to_db(run(self.decoder, torch.cat([top, bottom], dim=1)))  # (batch, 1, time, mels)

    @torch.no_grad()  # codes are integers and have no gradient; decode() keeps the gradients of the decoder's weights
    def _encode(self, x: Tensor, run: Run, parts: Parts | None = None) -> Codes:
        """The codes; they never move a codebook, also in training. A stream has faster quantizers in ``parts``."""
        # Wired as in reconstruct(), but only the indices are wanted, and encode() of a quantizer moves no codebook.
        quantize_top, quantize_bottom = self._quantizers(parts)
        features, vectors = self._run_encoders(x, run)
        top = quantize_top.encode(vectors)  # (batch, time, mels/8)
        codewords = quantize_top.decode(top).to(vectors.dtype)  # (batch, code_dim, time, mels/8)
        bottom = quantize_bottom.encode(self._add_hint(features, codewords, run))  # (batch, time, mels/4)
        return Codes(top, bottom)

    # -------------------------------------------------------------------------------------------------- for users
    def forward(self, x: Tensor) -> Tensor:
        """Encode a spectrogram and decode it again. In training the codebooks learn from it.

        Args:
            x: log-mel in dB, ``(batch, 1, time, mels)``.

        Returns:
            The reconstruction in dB, ``(batch, 1, time, mels)``.

        Raises:
            ValueError: an input of another shape or dtype; in training on a CPU, one that is not finite.
        """
        return self.reconstruct(x)[0]

    def reconstruct(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Quantized, Quantized]:
        """Encode a spectrogram and decode it again, and say what the quantizers found. In training they learn from it.

        Args:
            x: log-mel in dB, ``(batch, 1, time, mels)``.
            mask: which frames are real and no padding, bool, ``(batch, time)``; by default all. Padded frames move no
                codebook and count in no metric.

        Returns:
            The reconstruction in dB, ``(batch, 1, time, mels)``; and what the top and the bottom quantizer found,
            codewords, indices and commitment among it.

        Raises:
            ValueError: an input of another shape or dtype, or a mask that does not fit; in training on a CPU, an input
                that is not finite.
        """
        # quantize(), because a loss needs the commitment, and because padded frames must not move a codebook.
        features, vectors = self._run_encoders(x, whole)
        top = self.quantize_top.quantize(vectors, mask)
        bottom = self.quantize_bottom.quantize(self._add_hint(features, top.values, whole), mask)
        return self._decode(top.values, bottom.values, whole), top, bottom

    def encode(self, x: Tensor) -> Codes:
        """Compute the codes of a spectrogram. This moves no codebook, also in training, and has no gradient.

        Args:
            x: log-mel in dB, ``(batch, 1, time, mels)``.

        Returns:
            The codes, ``mels/8`` top and ``mels/4`` bottom ones for each frame.

        Raises:
            ValueError: an input of another shape or dtype.
        """
        return self._encode(x, whole)

    def decode(self, codes: Codes, *, only: Literal["top", "bottom"] | None = None) -> Tensor:
        """Compute the spectrogram that the codes stand for.

        Args:
            codes: the codes, with as many frames from the top as from the bottom.
            only: ``"top"`` or ``"bottom"`` to decode these codes alone. In place of each of the others then stands the
                mean of its codebook, weighted by how often each codeword is used.

        Returns:
            The spectrogram in dB, ``(batch, 1, time, mels)``.

        Raises:
            ValueError: codes of another shape or dtype, or, on a CPU, codes that the codebook does not have; ``only``
                has another value.
        """
        return self._decode(*self._codewords(codes, only), whole)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss: the squared error of the real frames, plus the weighted commitment of top and bottom.

        The codebooks have no term in it; they learn by moving averages.

        Args:
            batch: pieces of log-mel in dB, with a mask of the real frames.

        Returns:
            The loss, a scalar, and the metrics without gradients, each a scalar. They are ``error``, the mean squared
            error in units of ``spread_db``²; ``commitment``, not weighted; ``perplexity_top`` and
            ``perplexity_bottom``, the number of codewords that would carry as much if all were used alike.

        Raises:
            ValueError: features of another number of bands; in training on a CPU, features that are not finite.

        Source:
            Razavi et al., VQ-VAE-2, arXiv 1906.00446, eq. 2, with the moving averages of van den Oord et al., VQ-VAE,
            arXiv 1711.00937, appendix A.1.
        """
        x, mask = spectrogram(batch)
        y, top, bottom = self.reconstruct(x, mask)
        error = self._squared_error(y, x, mask)
        commitment = top.commitment + bottom.commitment
        metrics = {
            "error": error.detach(),
            "commitment": commitment.detach(),
            "perplexity_top": top.perplexity,
            "perplexity_bottom": bottom.perplexity,
        }
        return error + self.config.commitment * commitment, metrics

    @property
    def bits_per_second(self) -> float:
        """The rate of the codes in bits per second, at 100 frames a second and without entropy coding."""
        return bits_per_second(self.config.num_codes, self.config.top_cells + self.config.bottom_cells)

    # ----------------------------------------------------------------------------------------------------- inside
    def _quantizers(self, parts: Parts | None = None) -> tuple[Any, Any]:
        """What looks up the top and the bottom codes: the quantizers, or a stream's."""
        if parts is None:
            return self.quantize_top, self.quantize_bottom
        return parts["quantize_top"], parts["quantize_bottom"]

    def _check_codes(self, codes: Codes) -> None:
        (top, bottom), c = codes, self.config
        if top.dim() != 3 or bottom.dim() != 3 or top.shape[:2] != bottom.shape[:2]:
            raise ValueError(
                f"the codes have shapes {tuple(top.shape)} and {tuple(bottom.shape)}; they must be "
                f"(batch, time, {c.top_cells}) for the top and (batch, time, {c.bottom_cells}) for the bottom"
            )
        if (top.shape[2], bottom.shape[2]) != (c.top_cells, c.bottom_cells):
            raise ValueError(
                f"a frame has {top.shape[2]} top and {bottom.shape[2]} bottom codes; "
                f"this model makes {c.top_cells} and {c.bottom_cells}"
            )

    def _codewords(
        self, codes: Codes, only: Literal["top", "bottom"] | None = None, parts: Parts | None = None
    ) -> tuple[Tensor, Tensor]:
        """The codewords of top and bottom codes, ``(batch, code_dim, time, mels/8)`` and ``(…, mels/4)``."""
        if only not in (None, "top", "bottom"):
            raise ValueError(f"only is {only!r}; it must be 'top', 'bottom' or None")
        self._check_codes(codes)
        dtype = next(self.parameters()).dtype  # codebooks stay in float32 where the rest is in half precision
        quantize_top, quantize_bottom = self._quantizers(parts)
        top, bottom = quantize_top.decode(codes.top).to(dtype), quantize_bottom.decode(codes.bottom).to(dtype)
        if only == "top":
            bottom = _mean_of_codebook(self.quantize_bottom, bottom)
        elif only == "bottom":
            top = _mean_of_codebook(self.quantize_top, top)
        return top, bottom


def _mean_of_codebook(quantizer: VectorQuantizer, like: Tensor) -> Tensor:
    """The mean of the codewords, weighted by their usage, at every cell; shape and dtype are those of ``like``."""
    share = quantizer.count / quantizer.count.sum()
    return (share @ quantizer.codebook).to(like)[:, None, None].expand_as(like)
