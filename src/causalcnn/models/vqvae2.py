"""A hierarchical VQ-VAE over mel spectrograms that is causal in time: speech as 30 codes a frame, live.

Time is never strided: the code of a frame is there when the frame is. Frequency is: the bottom level has a cell
for 4 mel bands, the top level for 8. The top is computed first; decoded, it is a hint for the bottom, so a bottom
code reads what the top read *and* what that decoding reads of earlier tops: its field is the larger one.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.models.vqvae2_parts import (
    CAUSAL,
    CENTRED,
    DECODER,
    ENCODER_BOTTOM,
    ENCODER_TOP,
    HINT,
    PROJECT_BOTTOM,
    QUANTISER_BOTTOM,
    QUANTISER_TOP,
    UPSAMPLE,
    VQVAE2Config,
    make_parts,
)
from causalcnn.nn.base import CausalModule, State
from causalcnn.nn.compose import Composite, CompositeStream, Run
from causalcnn.nn.quantise import Quantized, VectorQuantizer

if TYPE_CHECKING:
    from causalcnn.speech import Batch

__all__ = ["VQVAE2", "CausalVQVAE2", "Codes", "VQVAE2Config"]


class Codes(NamedTuple):
    """What is sent: ``top`` (batch, time, mels/8) and ``bottom`` (batch, time, mels/4), int64."""

    top: Tensor
    bottom: Tensor


class _Wiring:
    """How the parts work together: one text for whole sequences, pieces and streams, causal or not."""

    name: ClassVar[str]
    Config: ClassVar[type] = VQVAE2Config
    config: VQVAE2Config
    parts: nn.ModuleList

    def _check(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] != 1 or x.shape[3] != self.config.mels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this model takes log-mel spectrograms in dB, "
                f"(batch, 1, time, {self.config.mels}). causalcnn.speech.to_2d makes one of (batch, mels, time)."
            )
        if not x.is_floating_point():
            raise ValueError(f"input has dtype {x.dtype}; a spectrogram in dB is floating point")

    def _normalise(self, x: Tensor) -> Tensor:
        return (x.clamp(min=self.config.floor_db) - self.config.mean_db) / self.config.spread_db

    def _encode(self, x: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """The codewords of top and bottom; their codes are seen by whoever runs the quantisers."""
        bottom = run(self._part(ENCODER_BOTTOM), self._normalise(x))
        top = run(self._part(QUANTISER_TOP), run(self._part(ENCODER_TOP), bottom))
        both = torch.cat([bottom, run(self._part(HINT), top)], dim=1)
        return top, run(self._part(QUANTISER_BOTTOM), run(self._part(PROJECT_BOTTOM), both))

    def _decode(self, top: Tensor, bottom: Tensor, run: Run) -> Tensor:
        y = run(self._part(DECODER), torch.cat([run(self._part(UPSAMPLE), top), bottom], dim=1))
        return y * self.config.spread_db + self.config.mean_db

    def compose(self, x: Tensor, run: Run) -> Tensor:
        """Through the codes and back, in dB."""
        self._check(x)
        return self._decode(*self._encode(x, run), run)

    def _part(self, i: int) -> CausalModule:
        return self.parts[i]  # type: ignore[return-value]

    def _quantiser(self, level: int) -> VectorQuantizer:
        return self.parts[level]  # type: ignore[return-value]

    def _codes(self, x: Tensor, run: Run) -> Codes:
        """Run the encoder by ``run`` and read the codes on the way: first the top's, then the bottom's."""
        self._check(x)
        seen: list[Tensor] = []

        def watch(part: CausalModule, piece: Tensor) -> Tensor:
            if not isinstance(part, VectorQuantizer):
                return run(part, piece)
            seen.append(part.encode(piece))
            return part.decode(seen[-1]).to(piece.dtype)

        self._encode(x, watch)
        return Codes(*seen)

    def _words(self, codes: Codes, only: Literal["top", "bottom"] | None = None) -> tuple[Tensor, Tensor]:
        top, bottom = codes
        if only not in (None, "top", "bottom"):
            raise ValueError(f"only is {only!r}; it must be 'top', 'bottom' or None")
        mels = self.config.mels
        if top.dim() != 3 or bottom.dim() != 3 or top.shape[:2] != bottom.shape[:2]:
            raise ValueError(
                f"the codes have shapes {tuple(top.shape)} and {tuple(bottom.shape)}; they must be "
                f"(batch, time, {mels // 8}) for the top and (batch, time, {mels // 4}) for the bottom"
            )
        if (top.shape[2], bottom.shape[2]) != (mels // 8, mels // 4):
            raise ValueError(
                f"a frame has {top.shape[2]} top and {bottom.shape[2]} bottom codes; "
                f"this model makes {mels // 8} and {mels // 4}"
            )
        kind = next(self.parts.parameters()).dtype  # codebooks stay in float32 where the rest is in half precision
        levels = ((QUANTISER_TOP, top), (QUANTISER_BOTTOM, bottom))
        words = [self._quantiser(i).decode(codes_).to(kind) for i, codes_ in levels]
        if only is not None:  # the other level says what it says on average
            silent = 1 if only == "top" else 0
            quantiser = self._quantiser((QUANTISER_TOP, QUANTISER_BOTTOM)[silent])
            share = quantiser.count / quantiser.count.sum()
            words[silent] = (share @ quantiser.codebook).to(words[silent])[:, None, None].expand_as(words[silent])
        return words[0], words[1]

    # ------------------------------------------------------------------------------------ for users
    @property
    def top_quantiser(self) -> VectorQuantizer:
        """The codebook of the top level."""
        return self._quantiser(QUANTISER_TOP)

    @property
    def bottom_quantiser(self) -> VectorQuantizer:
        """The codebook of the bottom level."""
        return self._quantiser(QUANTISER_BOTTOM)

    def forward(self, x: Tensor) -> Tensor:
        """Through the codes and back, in dB."""
        return self.reconstruct(x)[0]

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """The codes of a spectrogram ``(batch, 1, time, mels)`` in dB."""
        return self._codes(x, self._whole)

    def decode(self, codes: Codes, *, only: Literal["top", "bottom"] | None = None) -> Tensor:
        """The spectrogram in dB, ``(batch, 1, time, mels)``, that the codes stand for.

        Args:
            only: hear one level alone: in the place of the other stands its average codeword.
        Raises:
            ValueError: codes of another shape, or (on a CPU) that the codebook does not have.
        """
        return self._decode(*self._words(codes, only), self._whole)

    def _whole(self, part: CausalModule, piece: Tensor) -> Tensor:
        return part(piece)

    def reconstruct(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Quantized, Quantized]:
        """The reconstruction in dB, and what top and bottom quantiser found (in training they learn from it).

        Args:
            x: ``(batch, 1, time, mels)`` in dB. mask: ``(batch, time)``, true for real frames.
        """
        self._check(x)
        found: list[Quantized] = []

        def run(part: CausalModule, piece: Tensor) -> Tensor:
            if not isinstance(part, VectorQuantizer):
                return part(piece)
            found.append(part.quantise(piece, mask))
            return found[-1].values

        y = self.compose(x, run)
        top, bottom = found
        return y, top, bottom

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the real frames plus the commitment of both levels (VQ-VAE-2, eq. 2, codebooks by EMA).

        Returns:
            The loss, and detached metrics: ``error`` (mean squared error in units of ``spread_db``²),
            ``commitment``, and the perplexity of both codebooks on this batch.
        """
        x, mask = batch.features.transpose(1, 2).unsqueeze(1), batch.mask
        y, top, bottom = self.reconstruct(x, mask)
        squared = ((y - x.clamp(min=self.config.floor_db)) / self.config.spread_db).square().mean(dim=(1, 3))
        error = (squared * mask).sum() / mask.sum().clamp(min=1)
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
        """What sending all codes costs at 100 frames a second, without entropy coding."""
        cells = self.config.mels // 8 + self.config.mels // 4
        return 100 * cells * torch.log2(torch.tensor(float(self.config.codes))).item()

    def extra_repr(self) -> str:
        """The configuration."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self.config).items())


class CausalVQVAE2(_Wiring, Composite):
    """The causal VQ-VAE-2.

    Args:
        config: the sizes; ``VQVAE2Config.tiny()``, ``VQVAE2Config.base()``, or your own.

    Shape:
        log-mel spectrograms in dB ``(batch, 1, time, 80)`` → the same; between them 10 top and 20 bottom codes a frame.

    Raises:
        ValueError: an input or codes of another shape, a configuration that does not fit.

    Source:
        Razavi et al., VQ-VAE-2, arXiv 1906.00446, §3.1; made causal over time, strided over frequency only.

    Example:
        >>> model = CausalVQVAE2(VQVAE2Config.tiny()).eval()
        >>> codes = model.encode(torch.full((1, 1, 7, 80), -30.0))
        >>> tuple(codes.top.shape), tuple(codes.bottom.shape), tuple(model.decode(codes).shape)
        ((1, 7, 10), (1, 7, 20), (1, 1, 7, 80))
        >>> model.field.lookahead
        0
    """

    name = "vqvae2"
    in_channels = 1

    def __init__(self, config: VQVAE2Config | None = None) -> None:
        super().__init__()
        self.config = config or VQVAE2Config.tiny()
        self.parts = make_parts(self.config, CAUSAL)

    def _field(self, part: int) -> Field:
        layer = self.parts[part]
        assert isinstance(layer, CausalModule)
        return layer.field

    @property
    def top_field(self) -> Field:
        """What a top code reads: the two encoders in series."""
        return self._field(ENCODER_BOTTOM).then(self._field(ENCODER_TOP))

    @property
    def bottom_field(self) -> Field:
        """What a bottom code reads: its encoder, and through the hint all that the tops under the hint read."""
        return (self._field(ENCODER_BOTTOM) | self.top_field.then(self._field(HINT))).then(self._field(PROJECT_BOTTOM))

    @property
    def field(self) -> Field:
        """What a frame of the reconstruction reads: the decoder's window over both levels."""
        return (self.top_field.then(self._field(UPSAMPLE)) | self.bottom_field).then(self._field(DECODER))

    @torch.no_grad()
    def encode_step(self, x: Tensor, state: State) -> tuple[Codes, State]:
        """The codes of the next frames: what a sender runs. ``state`` is that of ``step``."""
        new = dict(state)
        return self._codes(x, self.run_into(new)), new

    def decode_step(self, codes: Codes, state: State) -> tuple[Tensor, State]:
        """The next frames of sound, in dB: what a receiver runs, with a state of its own."""
        new = dict(state)
        return self._decode(*self._words(codes), self.run_into(new)), new

    def stream(self, state: State | None = None) -> VQVAE2Stream:
        """The fast form of ``step``, ``encode_step`` and ``decode_step``."""
        return VQVAE2Stream(self, state)


class VQVAE2Stream(CompositeStream):
    """A running model: call it to reconstruct, or ``encode`` on one side and ``decode`` on the other."""

    module: CausalVQVAE2

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """The codes of the next frames."""
        self._check_piece(x)
        return self.module._codes(x, self.run)

    @torch.no_grad()
    def decode(self, codes: Codes) -> Tensor:
        """The next frames, in dB."""
        top, bottom = self.module._words(codes)
        self._check_piece(top.new_zeros(len(top), 1, 0, self.module.config.mels))
        return self.module._decode(top, bottom, self.run)


class VQVAE2(_Wiring, nn.Module):
    """The non-causal twin: the same sizes, every window centred on the present. For comparison only.

    Args and shape as for :class:`CausalVQVAE2`; it has no field of the past alone, no ``step`` and no stream.
    """

    name = "vqvae2-noncausal"

    def __init__(self, config: VQVAE2Config | None = None) -> None:
        super().__init__()
        self.config = config or VQVAE2Config.tiny()
        self.parts = make_parts(self.config, CENTRED)
