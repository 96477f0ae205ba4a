"""The causal VQ-VAE-2: the network of :class:`~causalcnn.models.VQVAE2` of layers that never look ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.models.latent_model import LatentModel, Parts
from causalcnn.models.spectrogram_autoencoder import SpectrogramAutoencoder
from causalcnn.models.vqvae2 import VQVAE2, Codes
from causalcnn.nn.blocks import ResidualBlock2d
from causalcnn.nn.compose import CausalSequential, Run
from causalcnn.nn.conv import CausalConv2d
from causalcnn.nn.transpose import CausalConvTranspose2d

__all__ = ["CausalVQVAE2"]


class CausalVQVAE2(VQVAE2, LatentModel):
    """The causal VQ-VAE-2: speech as codes on two levels that never look ahead, computed live, frame by frame.

    What is as in the paper: two levels of codes. The bottom encoder shrinks its input by 4 and the top encoder by 2
    more; the top codes are computed first, the bottom codes are conditioned on them, and the decoder reads both. The
    loss is the squared error plus the commitment, and the codebooks learn by moving averages.

    What is different here, and why:

    - Only frequency is strided, never time. If a code stood for 4 frames, it would have to wait for the last of them,
      30 ms. So a bottom code stands for 4 bands of one frame, a top code for 8.
    - All layers are causal over time: they read the present frame and earlier ones, with zeros before the first. So
      the model can run live. :class:`VQVAE2` is the same network with centered windows.
    - The input is log-mel in dB, normalized by a fixed mean and spread; statistics of a recording would look ahead.
    - A codebook starts by k-means, and a codeword that is hardly used starts again at a vector of the batch, so that
      the codebook does not collapse. See :class:`causalcnn.nn.VectorQuantizer`.
    - The paper's second stage, which learns to generate codes, is not part of the model.

    The default sizes give 10 top and 20 bottom codes of 9 bits a frame. At 100 frames a second that is 3,000 codes, or
    27,000 bits a second (:attr:`bits_per_second`). With ``VQVAE2Config.tiny()``, a top code reads 8 earlier frames, a
    bottom code 12 and a frame of the reconstruction 16; with ``base()`` they read 12, 18 and 24.

    The state of :meth:`step` is a dict from the name of each part to its state; it serves :meth:`encode_step` and
    :meth:`decode_step`, too.

    Args:
        config: the settings; ``VQVAE2Config.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        encoder_bottom: mels → ``mels/4`` cells of features.
        encoder_top: these features → the vectors of the top codes, ``mels/8`` cells.
        hint: the top codewords → ``mels/4`` cells that join the bottom's features.
        project_bottom: the features and the hint → the vectors of the bottom codes.
        upsample_top: the top codewords → ``mels/4`` cells, for the decoder.
        decoder: both → the spectrogram.

    Shape:
        log-mel spectrograms in dB, ``(batch, 1, time, mels)`` → the same. Through the model::

            encoder_bottom    (batch, channels, time, mels/4)
            encoder_top       (batch, code_dim, time, mels/8)
            quantize_top      (batch, code_dim, time, mels/8), with codes (batch, time, mels/8)
            hint              (batch, code_dim, time, mels/4)
            project_bottom    (batch, code_dim, time, mels/4)
            quantize_bottom   (batch, code_dim, time, mels/4), with codes (batch, time, mels/4)
            upsample_top      (batch, code_dim, time, mels/4)
            decoder           (batch, 1, time, mels)

    Source:
        Razavi et al., VQ-VAE-2, arXiv 1906.00446, §3.1.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, VQVAE2Config
        >>> model = CausalVQVAE2(VQVAE2Config(channels=8, residual_blocks=1)).eval()
        >>> x = torch.full((1, 1, 7, 80), -30.0)
        >>> codes = model.encode(x)
        >>> tuple(codes.top.shape), tuple(codes.bottom.shape), tuple(model.decode(codes).shape)
        ((1, 7, 10), (1, 7, 20), (1, 1, 7, 80))
        >>> sender, receiver = model.stream(), model.stream()
        >>> tuple(receiver.decode(sender.encode(x[:, :, :1])).shape)  # one frame, as soon as it is there
        (1, 1, 1, 80)
        >>> model.field.lookahead, model.bits_per_second
        (0, 27000.0)
    """

    name = "vqvae2"

    _conv = CausalConv2d
    _block = ResidualBlock2d
    _sequential = CausalSequential
    _double = SpectrogramAutoencoder._double

    encoder_bottom: CausalSequential
    encoder_top: CausalSequential
    hint: CausalSequential
    project_bottom: CausalConv2d
    upsample_top: CausalConvTranspose2d
    decoder: CausalSequential

    # ---------------------------------------------------------------------------------------------- what it reads
    @property
    def top_field(self) -> Field:
        """What a top code reads, through the two encoders in series."""
        return self.encoder_bottom.field.then(self.encoder_top.field)

    @property
    def bottom_field(self) -> Field:
        """What a bottom code reads, through its own encoder, and through the hint by way of several top codes."""
        features, hint = self.encoder_bottom.field, self.top_field.then(self.hint.field)
        return (features | hint).then(self.project_bottom.field)

    @property
    def field(self) -> Field:
        """What a frame of the reconstruction reads, through the decoder by way of several top and bottom codes."""
        top = self.top_field.then(self.upsample_top.field)
        return (top | self.bottom_field).then(self.decoder.field)

    # ----------------------------------------------------------------------------------------------- piece by piece
    def compose(self, x: Tensor, run: Run) -> Tensor:
        """Encode frames and decode them again: what :meth:`step` and a stream do with the next frames.

        In training ``step`` moves the codebooks, as if all frames were real; a stream never does.

        Args:
            x: the next frames, log-mel in dB, ``(batch, 1, time, mels)``.
            run: ``run(part, piece)`` gives the output of a part for its next piece.

        Returns:
            The reconstruction in dB, ``(batch, 1, time, mels)``.

        Raises:
            ValueError: an input of another shape or dtype, or a state without one of the parts.
        """
        # Wired as in reconstruct(), but run() runs the quantizers, too, as it does every other part.
        features, vectors = self._run_encoders(x, run)
        top = run(self.quantize_top, vectors)
        bottom = run(self.quantize_bottom, self._add_hint(features, top, run))
        return self._decode(top, bottom, run)

    @override
    def _decode_latent(self, latent: Codes, run: Run, parts: Parts | None = None) -> Tensor:
        return self._decode(*self._codewords(latent, parts=parts), run)

    @override
    def _check_latent(self, latent: Codes) -> Codes:
        codes = Codes(*latent)
        self._check_codes(codes)
        return codes

    @override
    def _decode_symbols(self, *latent: Any) -> Any:
        top, bottom, run = latent  # (batch, 1, time, cells)
        return self._decode(self.quantize_top.decode(top), self.quantize_bottom.decode(bottom), run)

    @override
    def _to_plan(self, latent: Codes) -> list[Tensor]:
        return [level.unsqueeze(1) for level in latent]

    @override
    def _from_plan(self, found: Sequence[Tensor]) -> Codes:
        return Codes(*(level.squeeze(1) for level in found))
