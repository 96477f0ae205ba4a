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

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from causalcnn.engine import CompiledStream, open_stream
from causalcnn.field import Field
from causalcnn.models.config import ModelConfig
from causalcnn.nn.base import Engine, State
from causalcnn.nn.blocks import ResidualBlock2d
from causalcnn.nn.compose import CausalSequential, Composite, CompositeStream, Run
from causalcnn.nn.conv import CausalConv2d
from causalcnn.nn.quantize import Quantized, QuantizerStream, VectorQuantizer
from causalcnn.nn.transpose import CausalConvTranspose2d

if TYPE_CHECKING:
    from causalcnn.speech import Batch

__all__ = ["VQVAE2", "CausalVQVAE2", "Codes", "VQVAE2Config"]


Quantizers = tuple[VectorQuantizer | QuantizerStream, VectorQuantizer | QuantizerStream]
"""What looks up the top and the bottom codes."""


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
class VQVAE2Config(ModelConfig):
    """The settings of :class:`CausalVQVAE2` and :class:`VQVAE2`.

    Where nothing else is said, the defaults of the network are the paper's. With them the model has 941,000
    parameters; ``tiny()`` has 319,000.

    Attributes:
        channels: the channels of the hidden layers, even, because the outermost layers have half of them.
        residual_channels: the channels inside a residual block; 32, as in the example of a VQ-VAE that the authors
            published with their library sonnet.
        residual_blocks: the residual blocks in each of four stacks: the two encoders, the hint and the decoder.
        kernel_size: the taps over time and over frequency of all convolutions that are not strided, odd, so that the
            kernel has a center in frequency.
        code_dim: the numbers in a codeword.
        num_codes: the codewords in each of the two codebooks; with 512, a code has 9 bits.
        commitment: the weight of the commitment loss.
        decay: the decay of the codebooks' moving averages; 0.99 remembers about 100 batches. A training of a few
            dozen steps needs less, such as 0.9.
        mels: the bands of a frame, a multiple of 8, because a top code stands for 8 of them; 80, as the front end
            makes them.
        floor_db: the lowest level in dB; values below it count as this much. Nobody hears what lies below −70 dB.
        mean_db: the level in dB that is subtracted before the first layer. This and ``spread_db`` are about the mean
            and the standard deviation of speech over the floor, so that the network reads numbers from about −2 to 2.
        spread_db: the levels in dB that are divided by it before the first layer, more than 0.

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
        self._check_integers(*sizes)
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
        """The number of top codes of a frame, one for 8 bands."""
        return self.mels // 8

    @property
    def bottom_cells(self) -> int:
        """The number of bottom codes of a frame, one for 4 bands."""
        return self.mels // 4

    @classmethod
    def tiny(cls) -> VQVAE2Config:
        """A size for a chapter on a CPU: half as many channels as the default, and one block a stack."""
        return cls(channels=64, residual_channels=32, residual_blocks=1)

    @classmethod
    def base(cls) -> VQVAE2Config:
        """The default settings, with 128 channels and two blocks a stack as in the paper."""
        return cls()


def _halve(in_channels: int, out_channels: int) -> CausalConv2d:
    """A layer that halves the number of frequency cells. It reads no other frame, so it stands in both models."""
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
    """The ``run`` of :meth:`Composite.compose` for a whole recording."""
    return part(x)


class VQVAE2(nn.Module):
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

    # The causal model has other layers here, and is otherwise the same. Parts typed Any are plain modules of torch in
    # this model; in the causal one they are CausalModules, as Run asks.
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
        """A layer that doubles the number of frequency cells and reads no other frame."""
        return nn.ConvTranspose2d(in_channels, out_channels, (1, 4), stride=(1, 2), padding=(0, 1))

    # ------------------------------------------------------------------------------------ how the parts work together
    def _run_encoders(self, x: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Check and normalize ``x`` and run both encoders: they give the bottom's features and the top's vectors."""
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

    def _encode(self, x: Tensor, run: Run, quantizers: Quantizers | None = None) -> Codes:
        """The codes; they never move a codebook, also in training. A stream has faster quantizers."""
        # Wired as in reconstruct(), but only the indices are wanted, and encode() of a quantizer moves no codebook.
        quantize_top, quantize_bottom = quantizers or (self.quantize_top, self.quantize_bottom)
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
        features, vectors = self._run_encoders(x, _whole)
        top = self.quantize_top.quantize(vectors, mask)
        bottom = self.quantize_bottom.quantize(self._add_hint(features, top.values, _whole), mask)
        return self._decode(top.values, bottom.values, _whole), top, bottom

    @torch.no_grad()  # codes are integers and have no gradient; decode() keeps the gradients of the decoder's weights
    def encode(self, x: Tensor) -> Codes:
        """Compute the codes of a spectrogram. This moves no codebook, also in training, and has no gradient.

        Args:
            x: log-mel in dB, ``(batch, 1, time, mels)``.

        Returns:
            The codes, ``mels/8`` top and ``mels/4`` bottom ones for each frame.

        Raises:
            ValueError: an input of another shape or dtype.
        """
        return self._encode(x, _whole)

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
        return self._decode(*self._codewords(codes, only), _whole)

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
        """The rate of the codes in bits per second, at 100 frames a second and without entropy coding."""
        codes = self.config.top_cells + self.config.bottom_cells
        return 100 * codes * torch.log2(torch.tensor(float(self.config.num_codes))).item()

    def extra_repr(self) -> str:
        """Show the settings when the model is printed."""
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

    def _codewords(
        self, codes: Codes, only: Literal["top", "bottom"] | None = None, quantizers: Quantizers | None = None
    ) -> tuple[Tensor, Tensor]:
        """The codewords of top and bottom codes, ``(batch, code_dim, time, mels/8)`` and ``(…, mels/4)``."""
        if only not in (None, "top", "bottom"):
            raise ValueError(f"only is {only!r}; it must be 'top', 'bottom' or None")
        self._check_codes(codes)
        dtype = next(self.parameters()).dtype  # codebooks stay in float32 where the rest is in half precision
        quantize_top, quantize_bottom = quantizers or (self.quantize_top, self.quantize_bottom)
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


class CausalVQVAE2(VQVAE2, Composite):
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

    @torch.no_grad()
    def encode_step(self, x: Tensor, state: State) -> tuple[Codes, State]:
        """Compute the codes of the next frames: what a sender runs. It moves no codebook and has no gradient.

        Args:
            x: the next frames, log-mel in dB, ``(batch, 1, time, mels)``.
            state: the sender's state, as :meth:`initial_state` or ``encode_step`` returned it. It is not changed.

        Returns:
            The codes of these frames, and the new state.

        Raises:
            ValueError: an input of another shape or dtype, or a state without one of the parts.
        """
        new = dict(state)
        return self._encode(x, self.run_into(new)), new

    def decode_step(self, codes: Codes, state: State) -> tuple[Tensor, State]:
        """Compute the next frames from their codes: what a receiver runs, with a state of its own.

        Args:
            codes: the codes of the next frames.
            state: the receiver's state, as :meth:`initial_state` or ``decode_step`` returned it. It is not changed.

        Returns:
            The frames in dB, ``(batch, 1, time, mels)``, and the new state.

        Raises:
            ValueError: codes of another shape or dtype, or, on a CPU, codes that the codebook does not have; a state
                without one of the parts.
        """
        new = dict(state)
        return self._decode(*self._codewords(codes), self.run_into(new)), new

    def stream(self, state: State | None = None, *, engine: Engine = "torch") -> VQVAE2Stream | CompiledVQVAE2Stream:
        """Begin a stream: the fast form of :meth:`step`, :meth:`encode_step` and :meth:`decode_step`, for inference.

        Args:
            state: the state to go on from, as :attr:`Stream.state` or :meth:`step` returned it. By default the stream
                begins with the initial state.
            engine: what runs the stream, ``"torch"`` or ``"compiled"``; see :meth:`CausalModule.stream`.

        Returns:
            The stream. Call it to reconstruct, or use its ``encode`` on one side and ``decode`` on the other.

        Raises:
            ValueError: ``state`` is no state of this model, or there is no such engine.
        """
        return super().stream(state, engine=engine)  # type: ignore[return-value]

    def _decode_symbols(self, top: Any, bottom: Any, run: Run) -> Any:
        """What a plan does with codes ``(batch, 1, time, cells)``."""
        return self._decode(self.quantize_top.decode(top), self.quantize_bottom.decode(bottom), run)

    def _torch_stream(self, state: State | None) -> VQVAE2Stream:
        return VQVAE2Stream(self, state)

    def _compiled_stream(self, state: State | None) -> VQVAE2Stream | CompiledVQVAE2Stream:
        return open_stream(self, state, CompiledVQVAE2Stream)


class VQVAE2Stream(CompositeStream):
    """A running :class:`CausalVQVAE2`. :meth:`CausalVQVAE2.stream` makes one.

    Call it with the next frames to reconstruct them. A sender calls :meth:`encode` and a receiver, with a stream of its
    own, :meth:`decode`. No codebook moves, also in training.

    Attributes:
        module: the model.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, VQVAE2Config
        >>> model = CausalVQVAE2(VQVAE2Config(channels=8, residual_blocks=1, code_dim=4, num_codes=16)).eval()
        >>> sender, receiver = model.stream(), model.stream()
        >>> tuple(receiver.decode(sender.encode(torch.full((1, 1, 1, 80), -30.0))).shape)
        (1, 1, 1, 80)
    """

    module: CausalVQVAE2

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """Compute the codes of the next frames.

        Args:
            x: the next frames, log-mel in dB, ``(batch, 1, time, mels)``.

        Returns:
            The codes of these frames.

        Raises:
            ValueError: an input of another shape or dtype, or of another batch size than the pieces before.
        """
        self._check_piece(x)
        return self.module._encode(x, self.run, self._quantizers())

    @torch.no_grad()
    def decode(self, codes: Codes) -> Tensor:
        """Compute the next frames from their codes.

        Args:
            codes: the codes of the next frames.

        Returns:
            The frames in dB, ``(batch, 1, time, mels)``.

        Raises:
            ValueError: codes of another shape or dtype, or of another batch size than the pieces before; on a CPU,
                codes that the codebook does not have.
        """
        codes, model = Codes(*codes), self.module
        # A stream makes its state from its first piece of input. A receiver has none, only codes: an empty spectrogram
        # tells it the batch, the dtype and the device.
        model._check_codes(codes)
        like = next(model.parameters())
        self._check_piece(like.new_empty(codes.top.shape[0], 1, 0, model.config.mels))
        return model._decode(*model._codewords(codes, quantizers=self._quantizers()), self.run)

    def _quantizers(self) -> Quantizers:
        return self._streams["quantize_top"], self._streams["quantize_bottom"]  # type: ignore[return-value]


class CompiledVQVAE2Stream(CompiledStream):
    """A running :class:`CausalVQVAE2`, compiled; ``model.stream(engine="compiled")`` makes one.

    It does what :class:`VQVAE2Stream` does. Each of the three ways to use it has a plan of its own; where one of them
    has moved a part of the state on, the others go on from there.

    Attributes:
        module: the model.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, VQVAE2Config
        >>> model = CausalVQVAE2(VQVAE2Config(channels=8, residual_blocks=1, code_dim=4, num_codes=16)).eval()
        >>> sender, receiver = model.stream(engine="compiled"), model.stream(engine="compiled")
        >>> tuple(receiver.decode(sender.encode(torch.full((1, 1, 1, 80), -30.0))).shape)
        (1, 1, 1, 80)
    """

    module: CausalVQVAE2

    def encode(self, x: Tensor) -> Codes:
        """Compute the codes of the next frames.

        Args:
            x: the next frames, log-mel in dB, ``(batch, 1, time, mels)``.

        Returns:
            The codes of these frames.

        Raises:
            ValueError: an input of another shape or dtype, or of another batch size than the pieces before.
        """
        with self._lock:
            self._check_piece(x)
            top, bottom = self._use("encode", self.module._encode, x)(x)
        return Codes(top.squeeze(1), bottom.squeeze(1))

    def decode(self, codes: Codes) -> Tensor:
        """Compute the next frames from their codes.

        Args:
            codes: the codes of the next frames.

        Returns:
            The frames in dB, ``(batch, 1, time, mels)``.

        Raises:
            ValueError: codes of another shape or dtype, or of another batch size than the pieces before; codes that
                the codebook does not have.
        """
        self.module._check_codes(codes)
        top, bottom = (one.unsqueeze(1) for one in codes)
        with self._lock:
            if self._like is None or len(top) != len(self._like):  # as VQVAE2Stream.decode
                like = next(self.module.parameters())
                self._check_piece(like.new_empty(len(top), 1, 0, self.module.config.mels))
            return self._use("decode", self.module._decode_symbols, top, bottom)(top, bottom)[0]
