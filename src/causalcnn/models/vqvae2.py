"""A hierarchical VQ-VAE over mel spectrograms: speech as 30 codes a frame, live where it is causal.

::

    frame ─ encoder_bottom ─┬──────────────────────────────────── project_bottom ─ quantize_bottom ─┬─ decoder ─ frame
                            └─ encoder_top ─ quantize_top ─┬─ hint ──────┘                          │
                                                           └─ upsample_top ─────────────────────────┘

Time is never strided, so the causal model gives the codes of a frame as soon as the frame is there. Frequency is
strided: a bottom code stands for 4 mel bands, a top code for 8.

The top codes are computed first. A bottom code depends on the features of its own encoder and, through ``hint``, on
neighbouring top codes; never on other bottom codes. What those top codes read, it reads too: its field is the larger.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.base import State
from causalcnn.nn.blocks import ResidualBlock2d
from causalcnn.nn.compose import CausalSequential, Composite, CompositeStream, Run
from causalcnn.nn.conv import CausalConv2d
from causalcnn.nn.quantize import Quantized, VectorQuantizer
from causalcnn.nn.transpose import CausalConvTranspose2d

if TYPE_CHECKING:
    from causalcnn.speech import Batch

__all__ = ["VQVAE2", "CausalVQVAE2", "Codes", "VQVAE2Config"]


class Codes(NamedTuple):
    """What is sent, int64: the indices of codewords.

    Attributes:
        top: ``(batch, time, mels/8)``.
        bottom: ``(batch, time, mels/4)``.
    """

    top: Tensor
    bottom: Tensor


@dataclass(frozen=True)
class VQVAE2Config:
    """The sizes of the model.

    Attributes:
        channels: of the hidden layers, even.
        residual_channels: inside a residual block.
        residual_blocks: of each of the two encoders, of the hint and of the decoder.
        kernel_size: taps over time and over frequency, odd.
        code_dim: numbers in a codeword.
        num_codes: codewords in each of the two codebooks.
        commitment: weight of the commitment loss.
        decay: of the codebooks' moving averages.
        mels: bands of a frame, a multiple of 8.
        floor_db: values below it count as this much: nobody hears what lies there.
        mean_db: subtracted before the first layer.
        spread_db: divided by before the first layer.

    Raises:
        ValueError: a size that cannot be.
    """

    channels: int = 128
    residual_channels: int = 32
    residual_blocks: int = 2
    kernel_size: int = 3
    code_dim: int = 64
    num_codes: int = 512
    commitment: float = 0.25
    decay: float = 0.99
    mels: int = 80
    floor_db: float = -70.0
    mean_db: float = -35.0
    spread_db: float = 20.0

    def __post_init__(self) -> None:
        sizes = ("channels", "residual_channels", "residual_blocks", "kernel_size", "code_dim", "num_codes", "mels")
        for name in sizes:
            at_least(name, getattr(self, name))
        if self.mels % 8:
            raise ValueError(f"mels is {self.mels}; it must be a multiple of 8, for a top code stands for 8 bands")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; it must be odd, so that it has a center")
        if self.channels % 2:
            raise ValueError(
                f"channels is {self.channels}; it must be even, for the outermost layers have half of them"
            )
        if not self.spread_db > 0:
            raise ValueError(f"spread_db is {self.spread_db}; it must be more than 0")

    @property
    def top_cells(self) -> int:
        """Top codes of a frame."""
        return self.mels // 8

    @property
    def bottom_cells(self) -> int:
        """Bottom codes of a frame."""
        return self.mels // 4

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


def _halve(in_channels: int, out_channels: int) -> CausalConv2d:
    """Half as many frequency cells. It reads one frame for one frame, so it stands in both models."""
    return CausalConv2d(in_channels, out_channels, (1, 4), stride=(1, 2), frequency_padding=1)


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


def _whole(part: nn.Module, x: Tensor) -> Tensor:
    """The ``run`` of a whole recording; see :meth:`Composite.compose` for that of the next frames."""
    return part(x)


class VQVAE2(nn.Module):
    """The VQ-VAE-2 on whole recordings, with windows centered on the present, which look ahead.

    It is there for comparison; :class:`CausalVQVAE2` is the same network, built of causal layers.

    Args:
        config: the sizes; ``VQVAE2Config.tiny()``, ``VQVAE2Config.base()``, or your own.

    Shape:
        log-mel spectrograms in dB ``(batch, 1, time, mels)`` → the same; between them ``mels/8`` top and ``mels/4``
        bottom codes a frame.

    Raises:
        ValueError: an input or codes of another shape, a configuration that does not fit.

    Source:
        Razavi et al., VQ-VAE-2, arXiv 1906.00446, §3.1; strided over frequency only.
    """

    name: ClassVar[str] = "vqvae2-noncausal"
    Config: ClassVar[type] = VQVAE2Config

    # The causal model has other layers here, and is else the same. Parts typed Any are plain modules of torch in this
    # model; in the causal one they are CausalModules, as Run asks.
    _conv: ClassVar[type[nn.Module]] = _CenteredConv2d
    _block: ClassVar[type[nn.Module]] = _CenteredBlock
    _sequential: ClassVar[type[Any]] = nn.Sequential

    quantize_top: VectorQuantizer
    quantize_bottom: VectorQuantizer

    def __init__(self, config: VQVAE2Config | None = None) -> None:
        super().__init__()
        self.config = c = config or VQVAE2Config.tiny()
        wide, narrow, code_dim = c.channels, c.channels // 2, c.code_dim

        def conv(in_channels: int, out_channels: int) -> nn.Module:
            return self._conv(in_channels, out_channels, c.kernel_size)

        def stack() -> list[nn.Module]:
            blocks = [self._block(wide, c.kernel_size, hidden=c.residual_channels) for _ in range(c.residual_blocks)]
            return [*blocks, nn.ReLU()]

        # A 1 × 1 convolution reads one frame, so causal and centered are the same: CausalConv2d serves both models.
        self.encoder_bottom = self._sequential(  # mels → mels/4 cells
            _halve(1, narrow), nn.ReLU(), _halve(narrow, wide), nn.ReLU(), conv(wide, wide), *stack()
        )
        self.encoder_top = self._sequential(  # mels/4 → mels/8
            _halve(wide, narrow), nn.ReLU(), conv(narrow, wide), *stack(), CausalConv2d(wide, code_dim, 1)
        )
        self.quantize_top = VectorQuantizer(c.num_codes, code_dim, decay=c.decay)
        self.hint = self._sequential(conv(code_dim, wide), *stack(), self._double(wide, code_dim))  # mels/8 → mels/4
        self.project_bottom = CausalConv2d(wide + code_dim, code_dim, 1)
        self.quantize_bottom = VectorQuantizer(c.num_codes, code_dim, decay=c.decay)
        self.upsample_top = self._double(code_dim, code_dim)  # mels/8 → mels/4
        self.decoder = self._sequential(  # mels/4 → mels
            conv(2 * code_dim, wide), *stack(), self._double(wide, narrow), nn.ReLU(), self._double(narrow, 1)
        )

    def _double(self, in_channels: int, out_channels: int) -> Any:
        """Twice as many frequency cells, one frame for one frame."""
        return nn.ConvTranspose2d(in_channels, out_channels, (1, 4), stride=(1, 2), padding=(0, 1))

    # ------------------------------------------------------------------------------------ how the parts work together
    def _run_encoders(self, x: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Check and normalize ``x`` and run both encoders: the bottom's features, and the vectors of the top codes."""
        self._check(x)
        x = (x.clamp(min=self.config.floor_db) - self.config.mean_db) / self.config.spread_db
        features = run(self.encoder_bottom, x)  # (batch, channels, time, mels/4)
        return features, run(self.encoder_top, features)  # (batch, code_dim, time, mels/8)

    def _add_hint(self, features: Tensor, top: Tensor, run: Run) -> Tensor:
        """The vectors of the bottom codes, from the bottom encoder's features and the codewords of the top."""
        hint = run(self.hint, top)  # (batch, code_dim, time, mels/4)
        return run(self.project_bottom, torch.cat([features, hint], dim=1))  # (batch, code_dim, time, mels/4)

    def _decode(self, top: Tensor, bottom: Tensor, run: Run) -> Tensor:
        """The spectrogram in dB that the codewords of top and bottom stand for."""
        top = run(self.upsample_top, top)  # (batch, code_dim, time, mels/4)
        y = run(self.decoder, torch.cat([top, bottom], dim=1))  # (batch, 1, time, mels)
        return y * self.config.spread_db + self.config.mean_db

    def _encode(self, x: Tensor, run: Run) -> Codes:
        """The codes; they never move a codebook, also in training."""
        # Wired as in reconstruct(), but what counts here are indices, and encode() never moves a codebook.
        features, vectors = self._run_encoders(x, run)
        top = self.quantize_top.encode(vectors)  # (batch, time, mels/8)
        codewords = self.quantize_top.decode(top).to(vectors.dtype)  # (batch, code_dim, time, mels/8)
        bottom = self.quantize_bottom.encode(self._add_hint(features, codewords, run))  # (batch, time, mels/4)
        return Codes(top, bottom)

    # -------------------------------------------------------------------------------------------------- for users
    def forward(self, x: Tensor) -> Tensor:
        """Through the codes and back, in dB."""
        return self.reconstruct(x)[0]

    def reconstruct(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Quantized, Quantized]:
        """The reconstruction in dB, and what the top and the bottom quantizer found; in training they learn from it.

        Args:
            x: ``(batch, 1, time, mels)`` in dB.
            mask: ``(batch, time)``, true for real frames.
        """
        # quantize(), because a loss needs the commitment, and because padded frames must not move a codebook.
        features, vectors = self._run_encoders(x, _whole)
        top = self.quantize_top.quantize(vectors, mask)
        bottom = self.quantize_bottom.quantize(self._add_hint(features, top.values, _whole), mask)
        return self._decode(top.values, bottom.values, _whole), top, bottom

    @torch.no_grad()  # codes are integers and have no gradient; decode() keeps the gradients of the decoder's weights
    def encode(self, x: Tensor) -> Codes:
        """The codes of a spectrogram ``(batch, 1, time, mels)`` in dB."""
        return self._encode(x, _whole)

    def decode(self, codes: Codes, *, only: Literal["top", "bottom"] | None = None) -> Tensor:
        """The spectrogram in dB, ``(batch, 1, time, mels)``, that the codes stand for.

        Args:
            codes: of as many frames from top and bottom.
            only: ``"top"`` or ``"bottom"``: hear these codes alone; each of the others is replaced by the mean of its
                codebook, weighted by how often each codeword is used.

        Raises:
            ValueError: codes of another shape, or (on a CPU) that the codebook does not have.
        """
        return self._decode(*self._codewords(codes, only), _whole)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the real frames plus the commitment of top and bottom (VQ-VAE-2, eq. 2, codebooks by EMA).

        Returns:
            The loss, and detached metrics: ``error`` (mean squared error in units of ``spread_db``²),
            ``commitment``, and the perplexity of both codebooks on this batch.
        """
        x = batch.features.transpose(1, 2).unsqueeze(1)  # (batch, mels, time) → (batch, 1, time, mels)
        mask = batch.mask  # (batch, time)
        y, top, bottom = self.reconstruct(x, mask)
        wrong = (y - x.clamp(min=self.config.floor_db)) / self.config.spread_db
        squared = wrong.square().mean(dim=(1, 3))  # (batch, time)
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
        codes = self.config.top_cells + self.config.bottom_cells
        return 100 * codes * torch.log2(torch.tensor(float(self.config.num_codes))).item()

    def extra_repr(self) -> str:
        """The configuration."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self.config).items())

    # ----------------------------------------------------------------------------------------------------- inside
    def _check(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] != 1 or x.shape[3] != self.config.mels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this model takes log-mel spectrograms in dB, "
                f"(batch, 1, time, {self.config.mels}). causalcnn.speech.to_2d makes one of (batch, mels, time)."
            )
        if not x.is_floating_point():
            raise ValueError(f"input has dtype {x.dtype}; a spectrogram in dB is floating point")

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

    def _codewords(self, codes: Codes, only: Literal["top", "bottom"] | None = None) -> tuple[Tensor, Tensor]:
        """The codewords of top and bottom codes, ``(batch, code_dim, time, mels/8)`` and ``(…, mels/4)``."""
        if only not in (None, "top", "bottom"):
            raise ValueError(f"only is {only!r}; it must be 'top', 'bottom' or None")
        self._check_codes(codes)
        dtype = next(self.parameters()).dtype  # codebooks stay in float32 where the rest is in half precision
        top = self.quantize_top.decode(codes.top).to(dtype)
        bottom = self.quantize_bottom.decode(codes.bottom).to(dtype)
        if only == "top":
            bottom = _mean_of_codebook(self.quantize_bottom, bottom)
        elif only == "bottom":
            top = _mean_of_codebook(self.quantize_top, top)
        return top, bottom


def _mean_of_codebook(quantizer: VectorQuantizer, like: Tensor) -> Tensor:
    """The mean of the codewords, each weighted by its usage, at every cell; shape and dtype are those of ``like``."""
    share = quantizer.count / quantizer.count.sum()
    return (share @ quantizer.codebook).to(like)[:, None, None].expand_as(like)


class CausalVQVAE2(VQVAE2, Composite):
    """The causal VQ-VAE-2: the same network of causal layers, so that it also runs live, a frame at a time.

    ``step`` and ``initial_state`` come from :class:`Composite`, which makes them of :meth:`compose`, as does a stream.

    State: a dict, the name of each part → that part's state. ``step`` returns a new dict and leaves the old one as it
    was.

    Args:
        config: the sizes; ``VQVAE2Config.tiny()``, ``VQVAE2Config.base()``, or your own.

    Shape:
        log-mel spectrograms in dB ``(batch, 1, time, mels)`` → the same; between them ``mels/8`` top and ``mels/4``
        bottom codes a frame.

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

    _conv = CausalConv2d
    _block = ResidualBlock2d
    _sequential = CausalSequential

    encoder_bottom: CausalSequential
    encoder_top: CausalSequential
    hint: CausalSequential
    project_bottom: CausalConv2d
    upsample_top: CausalConvTranspose2d
    decoder: CausalSequential

    def _double(self, in_channels: int, out_channels: int) -> CausalConvTranspose2d:
        return CausalConvTranspose2d(in_channels, out_channels, (1, 4), stride=(1, 2), frequency_padding=1)

    # ---------------------------------------------------------------------------------------------- what it reads
    @property
    def top_field(self) -> Field:
        """What a top code reads: the two encoders in series."""
        return self.encoder_bottom.field.then(self.encoder_top.field)

    @property
    def bottom_field(self) -> Field:
        """What a bottom code reads: its encoder, and through the hint all that the top codes under the hint read."""
        features, hint = self.encoder_bottom.field, self.top_field.then(self.hint.field)
        return (features | hint).then(self.project_bottom.field)

    @property
    def field(self) -> Field:
        """What a frame of the reconstruction reads: all that the top and bottom codes under the decoder read."""
        top = self.top_field.then(self.upsample_top.field)
        return (top | self.bottom_field).then(self.decoder.field)

    # ----------------------------------------------------------------------------------------------- piece by piece
    def compose(self, x: Tensor, run: Run) -> Tensor:
        """Through the codes and back, in dB: how :meth:`step` and a stream treat the next frames.

        In ``train()`` ``step`` moves the codebooks, without a mask; a stream never does.
        """
        # Wired as in reconstruct(), but run() decides how the quantizers go on, as for every other part.
        features, vectors = self._run_encoders(x, run)
        top = run(self.quantize_top, vectors)
        bottom = run(self.quantize_bottom, self._add_hint(features, top, run))
        return self._decode(top, bottom, run)

    @torch.no_grad()
    def encode_step(self, x: Tensor, state: State) -> tuple[Codes, State]:
        """The codes of the next frames: what a sender runs. ``state`` is that of ``step``."""
        new = dict(state)
        return self._encode(x, self.run_into(new)), new

    def decode_step(self, codes: Codes, state: State) -> tuple[Tensor, State]:
        """The next frames in dB: what a receiver runs, with a state of its own."""
        new = dict(state)
        return self._decode(*self._codewords(codes), self.run_into(new)), new

    def stream(self, state: State | None = None) -> VQVAE2Stream:
        """The fast form of ``step``, ``encode_step`` and ``decode_step``."""
        return VQVAE2Stream(self, state)


class VQVAE2Stream(CompositeStream):
    """A running model: call it to reconstruct, or ``encode`` on one side and ``decode`` on the other."""

    module: CausalVQVAE2

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """The codes of the next frames ``(batch, 1, time, mels)``."""
        self._check_piece(x)
        return self.module._encode(x, self.run)

    @torch.no_grad()
    def decode(self, codes: Codes) -> Tensor:
        """The next frames, in dB."""
        codewords = self.module._codewords(codes)
        # A stream makes its state from its first piece of input. A receiver has none, only codes: an empty spectrogram
        # tells it the batch, the dtype and the device.
        self._check_piece(codewords[0].new_empty(codes.top.shape[0], 1, 0, self.module.config.mels))
        return self.module._decode(*codewords, self.run)
