"""From samples to log-mel features: the numbers that the whole project shares, and the layer that computes them.

======================  =====================================================
rate                    16,000 samples a second, mono
window                  640 samples (40 ms), periodic Hann
n_fft                   1,024 (the window is padded with zeros)
hop                     160 samples, so 100 frames a second
mels                    80, Slaney's scale and area normalisation, 50 to 8,000 Hz
value                   ``10 * log10(max(power, 1e-10))`` dB
======================  =====================================================

Where the 640 windowed samples sit among the 1,024 points of the transform changes the phase of the spectrum
and not its power, so the causal setting simply pads at the end.
"""

from __future__ import annotations

import bisect
import math
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.engine import Builder, CompiledStream, Register, Symbol, lowers, open_stream
from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, Convention, Stream, without_gradients
from causalcnn.nn.exporting import is_exporting, over_windows, untraced

RATE_HZ = 16_000
"""Samples a second."""
WINDOW_SAMPLES = 640
"""Samples under one window, 40 ms."""
N_FFT = 1_024
"""Points of the Fourier transform."""
HOP_SAMPLES = 160
"""Samples from one frame to the next, 10 ms."""
FRAMES_PER_SECOND = RATE_HZ // HOP_SAMPLES
"""Frames a second, 100 of them."""
MELS = 80
"""The number of mel bands."""
LOWEST_HZ, HIGHEST_HZ = 50.0, 8_000.0
"""The lower edge of the lowest and the upper edge of the highest mel band, in Hz."""
FLOOR_DB = -100.0
"""What digital silence becomes, ``10 * log10(1e-10)`` dB."""

Alignment = Literal["causal", "centered"]
"""Where the window of a frame lies. A causal one ends with the frame's hop; a centred one has its centre where the hop
begins."""


def first_sample(frame: int, alignment: Alignment = "causal") -> int:
    """Give the first sample under the window of a frame.

    Causal: ``(frame + 1) * 160 - 640``. Centred: ``frame * 160 - 320``.

    Args:
        frame: number of the frame, from 0.
        alignment: ``"causal"`` or ``"centered"``.

    Returns:
        The number of the sample, at 16,000 Hz. It is negative where the window begins in the zeros before the
        recording.

    Raises:
        ValueError: ``alignment`` has another value.
    """
    return frame * HOP_SAMPLES - _zeros_before(alignment)


def frame_center_seconds(frame: int, alignment: Alignment = "causal") -> float:
    """Give the time of the centre of a frame's window, which is where a label for that frame is read off.

    Args:
        frame: number of the frame, from 0.
        alignment: of the front end, ``"causal"`` or ``"centered"``.

    Returns:
        The time in seconds from the beginning of the recording; negative for the first frames of the causal setting.

    Raises:
        ValueError: ``alignment`` has another value.

    Example:
        >>> from causalcnn.speech import frame_center_seconds
        >>> frame_center_seconds(10, "causal"), frame_center_seconds(10, "centered")
        (0.09, 0.1)
    """
    return (first_sample(frame, alignment) + WINDOW_SAMPLES // 2) / RATE_HZ


def num_frames(samples: int, alignment: Alignment = "causal") -> int:
    """Count the frames of a recording: ``floor(samples / 160)``, one more in the centred setting.

    Args:
        samples: length of the recording, in samples at 16,000 Hz.
        alignment: of the front end, ``"causal"`` or ``"centered"``.

    Returns:
        The number of frames, 100 for each second.

    Raises:
        ValueError: ``alignment`` has another value.

    Example:
        >>> from causalcnn.speech import num_frames
        >>> num_frames(16_000), num_frames(16_000, "centered")
        (100, 101)
    """
    _zeros_before(alignment)
    return samples // HOP_SAMPLES + (alignment == "centered")


def to_2d(features: Tensor) -> Tensor:
    """Turn features for 1D networks into features for 2D networks, as a view.

    Args:
        features: ``(batch, mels, time)``.

    Returns:
        The same values, ``(batch, 1, time, mels)``.

    Raises:
        ValueError: ``features`` does not have three axes.

    Example:
        >>> import torch
        >>> from causalcnn.speech import to_2d
        >>> to_2d(torch.zeros(2, 80, 100)).shape
        torch.Size([2, 1, 100, 80])
    """
    if features.dim() != 3:
        raise ValueError(f"to_2d takes (batch, mels, time); this has the shape {tuple(features.shape)}")
    return features.transpose(1, 2).unsqueeze(1)


def to_1d(picture: Tensor) -> Tensor:
    """Turn features for 2D networks into features for 1D networks, as a view.

    Args:
        picture: ``(batch, 1, time, mels)``.

    Returns:
        The same values, ``(batch, mels, time)``.

    Raises:
        ValueError: ``picture`` does not have four axes, or more than one channel.

    Example:
        >>> import torch
        >>> from causalcnn.speech import to_1d
        >>> to_1d(torch.zeros(2, 1, 100, 80)).shape
        torch.Size([2, 80, 100])
    """
    if picture.dim() != 4 or picture.shape[1] != 1:
        raise ValueError(f"to_1d takes (batch, 1, time, mels); this has the shape {tuple(picture.shape)}")
    return picture.squeeze(1).transpose(1, 2)


def mel_filterbank() -> Tensor:
    """Make the 80 triangular filters that sum the power spectrum into mel bands.

    They stand on Slaney's mel scale (linear below 1 kHz, logarithmic above), and every triangle is scaled to the same
    area. These are the numbers of ``librosa.filters.mel``, computed here so that the front end needs torch alone.

    Returns:
        One filter a row, over the bins 0 to 8,000 Hz of the spectrum, ``(80, 513)`` float64.

    Source:
        Malcolm Slaney, Auditory Toolbox, version 2, Interval Research Corporation, technical report 1998-010.
    """
    edges_hz = torch.tensor(_edges_hz(), dtype=torch.float64)
    bins_hz = torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * (RATE_HZ / N_FFT)
    low, center, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (bins_hz - low) / (center - low), (high - bins_hz) / (high - center)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles * (2 / (high - low))


def bands_below(hz: float) -> int:
    """Count the mel bands that lie wholly below a frequency.

    A recording made with ``2 * hz`` samples a second has energy in these bands only.

    Args:
        hz: the frequency, in Hz.

    Returns:
        The number of bands, 0 to 80, counted from the lowest.

    Example:
        >>> from causalcnn.speech import bands_below
        >>> bands_below(8000), bands_below(4000)
        (80, 61)
    """
    return max(0, bisect.bisect_right(_edges_hz(), hz + 1e-6) - 2)


class LogMel(CausalModule):
    """Turn samples into log-mel features: whole recordings, pieces of them, or a stream.

    In the causal setting frame ``t`` reads the samples ``(t+1)·160 − 640 … (t+1)·160 − 1``. A frame is known when its
    hop of 160 samples is complete, and reads nothing after it: the block convention of the layers. In the centred
    setting, which is librosa's, frame ``t`` reads the samples ``t·160 − 320 … t·160 + 319``, so 160 samples (10 ms)
    more than its own hop; there is one frame more, and only whole recordings can be computed.

    The causal setting puts 480 zeros before a recording; the centred setting puts 320 zeros before and 320 after it.
    A sample that is NaN or infinite is not refused: the frames that read it become NaN.

    Args:
        alignment: ``"causal"`` or ``"centered"``.
        window: ``"hann"``, or ``"ones"`` for measuring the field: a periodic Hann window begins with a zero, which
            hides the first of the 640 samples that the field declares.

    Shape:
        ``(batch, samples)``, or with the channel axis of a layer ``(batch, 1, samples)``, in −1 … 1 at 16,000 Hz
        → ``(batch, 80, frames)`` in dB, with ``frames = floor(samples / 160)``, one more in the centred setting.

    Raises:
        ValueError: ``alignment`` or ``window`` has another value.

    Example:
        >>> import torch
        >>> from causalcnn.speech import LogMel
        >>> front_end = LogMel()
        >>> stream = front_end.stream()
        >>> [stream(torch.zeros(1, n)).shape[-1] for n in (100, 100, 0, 500)]
        [0, 1, 0, 3]
        >>> front_end.field.lookahead, LogMel("centered").field.lookahead
        (159, 319)
    """

    def __init__(self, alignment: Alignment = "causal", *, window: Literal["hann", "ones"] = "hann") -> None:
        super().__init__()
        _zeros_before(alignment)
        if window not in ("hann", "ones"):
            raise ValueError(f"window is {window!r}; it must be 'hann' or 'ones'")
        self.alignment: Alignment = alignment
        self._window = window

    @property
    def field(self) -> Field:
        """The 640 samples that a frame reads, with one frame every 160. It knows the rate, so it prints in ms."""
        padding = _zeros_before(self.alignment)
        return Field.conv(WINDOW_SAMPLES, stride=HOP_SAMPLES, padding=padding).with_rate(RATE_HZ)

    @property
    def convention(self) -> Convention:
        """The block convention.

        Raises:
            ValueError: in the centred setting, which keeps neither the strict nor the block convention.
        """
        self._check_causal("keeps neither the strict nor the block convention")
        return super().convention

    def extra_repr(self) -> str:
        """Name the setting and what a frame reads, for ``repr``."""
        return f"{self.alignment}, {self.field}"

    def forward(self, samples: Tensor) -> Tensor:
        """Compute the features of whole recordings.

        Args:
            samples: float32 or float64 in −1 … 1 at 16,000 Hz, ``(batch, samples)`` or ``(batch, 1, samples)``.

        Returns:
            Log-mel features in dB, nowhere below −100 dB, ``(batch, 80, frames)``.

        Raises:
            ValueError: samples of another shape or another dtype.
        """
        _check_samples(samples)
        before = _zeros_before(self.alignment)
        after = before if self.alignment == "centered" else 0
        return self._features(nn.functional.pad(_rows(samples), (before, after)))

    def initial_state(self, x: Tensor) -> Tensor:
        """Give the state before the first sample: silence.

        Args:
            x: a piece of samples, perhaps an empty one, ``(batch, samples)`` or ``(batch, 1, samples)``. Only its
                batch, dtype and device are read.

        Returns:
            The 480 zeros that the first frame reads before the recording, ``(batch, 1, 480)``.

        Raises:
            ValueError: in the centred setting, which cannot be streamed.
        """
        self._check_causal("cannot give a frame when its hop ends, so it cannot be streamed")
        return x.new_zeros(len(x), 1, _zeros_before("causal"))

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the frames that the next samples complete.

        Args:
            x: the next samples at 16,000 Hz, any number of them, also none, ``(batch, samples)`` or
                ``(batch, 1, samples)``.
            state: the samples that later frames still read, as :meth:`initial_state` or an earlier step gave them,
                ``(batch, 1, 480 … 639)``. It is left as it was.

        Returns:
            The features in dB of the completed frames, perhaps none, ``(batch, 80, frames)``, and the new state,
            ``(batch, 1, 480 … 639)``.

        Raises:
            ValueError: samples of another shape or another dtype; a state with another number of rows; the centred
                setting, which cannot be streamed.
        """
        self._check_causal("cannot give a frame when its hop ends, so it cannot be streamed")
        _check_samples(x)
        if state.dim() != 3 or state.shape[0] != x.shape[0]:
            raise ValueError(
                f"the state has the shape {tuple(state.shape)} and the samples {tuple(x.shape)}: "
                "rows must agree; begin with initial_state(x)"
            )
        waiting = torch.cat([state[:, 0].to(x), _rows(x)], dim=1)
        used = (waiting.shape[1] - _zeros_before("causal")) // HOP_SAMPLES * HOP_SAMPLES
        return self._features(waiting), waiting[:, None, used:]

    def _compiled_stream(self, state: Tensor | None) -> Stream:
        return open_stream(self, state, _CompiledLogMel)

    def _features(self, padded: Tensor) -> Tensor:
        """Compute every full window of ``padded``, ``(batch, n)``, as ``(batch, 80, windows)``."""
        if is_exporting():
            return over_windows(padded[:, None], WINDOW_SAMPLES, HOP_SAMPLES, self._features_by_convolution)
        if padded.shape[1] < WINDOW_SAMPLES:
            return padded.new_zeros(padded.shape[0], MELS, 0)
        window, filters = _constants(self._window, padded.dtype, padded.device)
        with torch.autocast(padded.device.type, enabled=False):  # 100 dB do not fit into bfloat16
            windows = padded.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES) * window
            spectrum = torch.fft.rfft(windows, n=N_FFT)
            power = spectrum.real.square() + spectrum.imag.square()
            mel = power @ filters.T
            return (10 * torch.log10(mel.clamp(min=10 ** (FLOOR_DB / 10)))).transpose(1, 2)

    def _features_by_convolution(self, padded: Tensor) -> Tensor:
        """The same of ``(batch, 1, n)``, the transform as a convolution with 1,026 waves: any runtime has it."""
        waves, filters = untraced(lambda: _waves(self._window, padded.dtype, padded.device))
        real, imaginary = nn.functional.conv1d(padded, waves[:, None], stride=HOP_SAMPLES).chunk(2, dim=1)
        mel = filters @ (real.square() + imaginary.square())
        return 10 * torch.log10(mel.clamp(min=10 ** (FLOOR_DB / 10)))

    def _check_causal(self, consequence: str) -> None:
        if self.alignment != "causal":
            ahead = int(self.field.lookahead) - (HOP_SAMPLES - 1)
            raise ValueError(
                f"the centred front end reads {ahead} samples past its own hop and {consequence}; "
                "use LogMel('causal'), or give whole recordings to LogMel('centered')"
            )


class _CompiledLogMel(CompiledStream):
    """Takes samples with and without an axis of channels, as the layer does."""

    @override
    def __call__(self, x: Tensor) -> Tensor:
        _check_samples(x)
        return super().__call__(_rows(x).unsqueeze(1))


@lowers(LogMel, "forward")
def _lower(layer: LogMel, x: Symbol, builder: Builder) -> Symbol:
    """The power spectrum of the window, the sum of each band, and its level in dB."""
    layer._check_causal("cannot give a frame when its hop ends, so it cannot be streamed")
    if x.register != Register(channels=1):
        raise ValueError(f"input has shape {x.shape}; the front end takes (batch, 1, samples)")
    window, filters = (one.numpy() for one in _constants(layer._window, builder.dtype, torch.device("cpu")))
    settings = {"window": WINDOW_SAMPLES, "stride": HOP_SAMPLES, "held": _zeros_before("causal"), "points": N_FFT}
    power = builder.emit("power", [x], Register(N_FFT // 2 + 1), settings, {"window": window})
    mel = builder.matrix(power, filters.T).clamp(min=10 ** (FLOOR_DB / 10))
    return mel.log() * (10 / math.log(10))


@lru_cache(maxsize=16)
@without_gradients
def _constants(window: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Window and filterbank, derived in float64 once and rounded once."""
    if window == "hann":
        shape = torch.hann_window(WINDOW_SAMPLES, periodic=True, dtype=torch.float64)
    else:
        shape = torch.ones(WINDOW_SAMPLES, dtype=torch.float64)
    return shape.to(dtype).to(device), mel_filterbank().to(dtype).to(device)


def _waves(window: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The cosines and sines of the Fourier transform under the window, ``(1,026, 640)``, and the filterbank."""
    shape, filters = _constants(window, torch.float64, torch.device("cpu"))
    turns = torch.outer(torch.arange(N_FFT // 2 + 1), torch.arange(WINDOW_SAMPLES)) % N_FFT
    angles = turns * (2 * math.pi / N_FFT)
    waves = torch.cat([angles.cos(), angles.sin()]) * shape
    return waves.to(dtype).to(device), filters.to(dtype).to(device)


def _zeros_before(alignment: str) -> int:
    """Zeros put before a recording: what the first window reads in front of sample 0."""
    if alignment == "causal":
        return WINDOW_SAMPLES - HOP_SAMPLES
    if alignment == "centered":
        return WINDOW_SAMPLES // 2
    raise ValueError(f"alignment is {alignment!r}; it must be 'causal' or 'centered'")


def _rows(samples: Tensor) -> Tensor:
    """Without the channel axis, if there is one: ``(batch, samples)``."""
    return samples.squeeze(1) if samples.dim() == 3 else samples


def _check_samples(samples: Tensor) -> None:
    if samples.dim() not in (2, 3) or (samples.dim() == 3 and samples.shape[1] != 1):
        raise ValueError(
            f"the front end takes (batch, samples) or (batch, 1, samples); this has the shape "
            f"{tuple(samples.shape)}. One recording x: x[None]; a stereo recording: one row a channel, or their mean"
        )
    if samples.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"the front end takes float32 or float64 samples in −1 … 1, not {samples.dtype}; "
            "for 16-bit integers: samples.float() / 32768"
        )


@lru_cache(maxsize=1)
def _edges_hz() -> tuple[float, ...]:
    """The 82 corners of the triangles: band ``k`` begins at corner ``k``, peaks at ``k + 1`` and ends at ``k + 2``."""
    low, high = _hz_to_mel(LOWEST_HZ), _hz_to_mel(HIGHEST_HZ)
    edges_mel = torch.linspace(low, high, MELS + 2, dtype=torch.float64)
    return tuple(_mel_to_hz(mel) for mel in edges_mel.tolist())


def _hz_to_mel(hz: float) -> float:
    """Slaney's scale: 15 mels per 1,000 Hz up to 1 kHz, 27 mels for every factor of 6.4 above."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _mel_to_hz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)
