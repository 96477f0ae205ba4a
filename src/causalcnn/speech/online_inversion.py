"""From log-mel frames to samples while the frames arrive: Griffin–Lim's iterations inside a window that moves on."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from causalcnn._checks import at_least
from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, without_gradients
from causalcnn.speech.front_end import (
    FLOOR_DB,
    FRAMES_PER_SECOND,
    HOP_SAMPLES,
    MELS,
    N_FFT,
    WINDOW_SAMPLES,
    mel_filterbank,
)

_HOPS = WINDOW_SAMPLES // HOP_SAMPLES
"""Hops under a window: 4."""
_HIGHEST_DB = 300.0
"""What is louder is taken for this: powers beyond it leave the range of float32."""
_SPREADING_STEPS = 15
"""Steps that spread the bands over the bins; they then agree with the bands to 0.05 dB on speech."""
_LEAST_OVERLAP = 0.05
"""No overlap of squared windows counts for less. A newest window ends in zeros, and a division by them is noise."""
_WHISPER = 1e-7
"""A pulse in the middle of every window, −140 dB, gives phases to what rises from digital silence."""

State = tuple[Tensor, Tensor, Tensor, Tensor]


class OnlineGriffinLim(CausalModule):
    """Turn log-mel frames of the causal front end into samples, 160 for each frame, while the frames arrive.

    Sample ``n`` of the result belongs to sample ``n`` of the recording. The samples of hop ``t``, which are
    ``160·t … 160·t + 159``, are given when frame ``t + lookahead`` is known, and depend on no frame after it. So ``n``
    frames give ``160·(n − lookahead)`` samples; for the last hops of a recording, append its last frame ``lookahead``
    times.

    Phases are a chaotic matter: features that differ by a rounding give, after half a second, other samples, which
    sound the same. Equal frames give equal samples, bit for bit.

    The bands of each frame are spread over the bins of the spectrum, as magnitudes that are not negative. A new frame
    gets its phases from the samples that the frames before it have made under its window. Then some iterations of
    Griffin and Lim follow, which change only the samples that have not been given yet. Nothing is drawn at random.

    A sample lies under the windows of the frames ``t … t + 3``. With ``lookahead=3`` it has met all of them; this is
    the delay of RTISI in the paper of 2005. With ``lookahead=3 + k`` it is that of RTISI-LA with ``k`` frames, 2007.
    One thing differs from both: the phases of a frame stay open until its last sample is given, not only until the next
    frame comes. This costs no delay and comes closer. Below 3, windows are missing: 2 is nearly as good, 1 is rougher
    and has soft clicks where hops begin, and 0 can hardly be understood, because the only window over a new hop fades
    out on it.

    Args:
        lookahead: hops of 10 ms that the samples of a hop wait for frames after their own, ≥ 0.
        iterations: iterations for each new frame, ≥ 1. More than 8 hardly help.

    Shape:
        ``(batch, 80, frames)`` in dB → ``(batch, 1, 160 · (frames − lookahead))`` samples at 16,000 Hz, not clipped and
        not normalised.

    Raises:
        ValueError: ``lookahead`` is below 0 or ``iterations`` below 1.

    Source:
        Gerald T. Beauregard, Xinglei Zhu and Lonce Wyse, An efficient algorithm for real-time spectrogram inversion,
        DAFx 2005; Xinglei Zhu, Gerald T. Beauregard and Lonce Wyse, Real-time signal estimation from modified
        short-time Fourier transform magnitude spectra, 2007, doi 10.1109/TASL.2007.899236.

    Example:
        >>> import torch
        >>> from causalcnn.speech import LogMel, OnlineGriffinLim, synthesize
        >>> features = LogMel()(synthesize("Live.").tensor())
        >>> stream = OnlineGriffinLim(lookahead=3).stream()
        >>> pieces = [stream(frame) for frame in features.split(1, dim=2)]
        >>> [piece.shape[2] for piece in pieces[:5]]
        [0, 0, 0, 160, 160]
        >>> torch.equal(torch.cat(pieces, dim=2), OnlineGriffinLim(lookahead=3)(features))
        True
    """

    def __init__(self, lookahead: int = 3, iterations: int = 8) -> None:
        super().__init__()
        self.lookahead = at_least("lookahead", lookahead, 0)
        self.iterations = at_least("iterations", iterations)

    _FROZEN = 0
    """Of the frames that touch open hops, how many of the oldest keep their phases: in the papers 3, here none. The
    benchmark compares."""

    @property
    def field(self) -> Field:
        """All frames of the past, because phases follow from phases, and ``lookahead`` frames ahead."""
        ahead = Field.all_past().then(Field.window([self.lookahead]))
        return ahead.then(Field.transposed(HOP_SAMPLES, stride=HOP_SAMPLES)).with_rate(FRAMES_PER_SECOND)

    def extra_repr(self) -> str:
        """Name the look-ahead and the iterations, for ``repr``."""
        return f"lookahead={self.lookahead}, iterations={self.iterations}"

    def initial_state(self, x: Tensor) -> State:
        """Give the state before the first frame: silence.

        Args:
            x: a piece of features, perhaps without frames, ``(batch, 80, time)``. Only its batch, dtype and device are
                read.

        Returns:
            Of each row the last 480 samples given, ``(batch, 480)``; the magnitudes and the windowed sounds of the
            frames whose phases are open, ``(batch, lookahead, 513)`` and ``(batch, lookahead, 640)``; and how many
            frames have come, counted up to the look-ahead, ``(batch,)`` int64.

        Raises:
            ValueError: features of another shape or dtype.
        """
        _check(x[:, :, :0] if x.dim() == 3 else x)
        rows = len(x)
        return (
            x.new_zeros(rows, WINDOW_SAMPLES - HOP_SAMPLES),
            x.new_zeros(rows, self.lookahead, N_FFT // 2 + 1),
            x.new_zeros(rows, self.lookahead, WINDOW_SAMPLES),
            torch.zeros(rows, dtype=torch.int64, device=x.device),
        )

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the samples that the next frames complete.

        However the frames are cut into pieces, the samples are the same bit for bit: frames are computed one by one.
        A row that was reset gives silence until it has read ``lookahead`` frames, because the other rows go on.

        Args:
            x: the next frames in dB, any number of them, also none, ``(batch, 80, time)``.
            state: as :meth:`initial_state` or an earlier step gave it. It is left as it was.

        Returns:
            The samples, ``(batch, 1, samples)``, and the new state.

        Raises:
            ValueError: features of another shape or dtype, NaN or infinite; a state with another
                number of rows or of another look-ahead.
        """
        _check(x)
        given, magnitudes, sounds, count = state
        if given.shape[0] != x.shape[0] or sounds.shape[1] != self.lookahead:
            raise ValueError(
                f"the state has {given.shape[0]} rows and a look-ahead of {sounds.shape[1]}, the features have "
                f"{x.shape[0]} rows and this layer {self.lookahead}: begin with initial_state(x)"
            )
        pieces = [x.new_zeros(len(x), 0)]
        before = max(count.tolist(), default=0)
        with torch.autocast(x.device.type, enabled=False):  # a phase in bfloat16 has 8 bits
            for t in range(x.shape[2]):
                magnitudes = torch.cat([magnitudes, frame_magnitudes(x[:, :, t])[:, None]], dim=1)
                samples, sounds = self._settle(given, magnitudes, sounds, count)
                if before + t >= self.lookahead:
                    pieces.append(samples)
                given = torch.cat([given[:, HOP_SAMPLES:], samples], dim=1)
                magnitudes, sounds = magnitudes[:, 1:], sounds[:, 1:]
                count = (count + 1).clamp(max=self.lookahead)
        return torch.cat(pieces, dim=1)[:, None], (given, magnitudes, sounds, count)

    def _settle(self, given: Tensor, magnitudes: Tensor, sounds: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Find the phases of the newest frame, improve those of all open ones, and give the oldest open hop.

        ``sounds`` are those of the open frames without the newest one: what windows, the inverse transforms of the
        frames, contain. Returns the 160 samples, and the sounds of all open frames.
        """
        window, whisper, weights, weights_before = _constants(self.lookahead, given.dtype, given.device)
        hop = torch.arange(self.lookahead + 1, device=given.device)
        begun = (hop >= self.lookahead - count[:, None])[:, :, None]  # before its first sample a recording is silent

        def signal(sounds: Tensor, weights: Tensor) -> Tensor:
            """The samples given and the mean of what the windows say of the open hops, ``(batch, 480 + open)``."""
            parts = (sounds * window).unflatten(2, (_HOPS, HOP_SAMPLES))
            total = sounds.new_zeros(len(sounds), self.lookahead + _HOPS, HOP_SAMPLES)
            for quarter in range(_HOPS):
                total[:, quarter : quarter + sounds.shape[1]] += parts[:, :, quarter]
            return torch.cat([given, (total[:, _HOPS - 1 :] * weights * begun).flatten(1)], dim=1)

        def with_phases_of(windows: Tensor, magnitudes: Tensor) -> Tensor:
            spectrum = torch.fft.rfft(windows * window, n=N_FFT) + whisper
            spectrum = magnitudes * spectrum / spectrum.abs().clamp(min=1e-15)
            return torch.fft.irfft(spectrum, n=N_FFT)[..., :WINDOW_SAMPLES]

        under_newest = signal(sounds, weights_before)[:, -WINDOW_SAMPLES:]
        sounds = torch.cat([sounds, with_phases_of(under_newest, magnitudes[:, -1])[:, None]], dim=1)
        for _ in range(self.iterations):
            windows = signal(sounds, weights).unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)[:, self._FROZEN :]
            improved = with_phases_of(windows, magnitudes[:, self._FROZEN :])
            sounds = torch.cat([sounds[:, : self._FROZEN], improved], dim=1)
        start = WINDOW_SAMPLES - HOP_SAMPLES
        return signal(sounds, weights)[:, start : start + HOP_SAMPLES], sounds


def frame_magnitudes(decibels: Tensor) -> Tensor:
    """Spread the mel bands of each frame over the bins of the spectrum, so that their filters give the bands again.

    The multiplicative steps of Richardson and Lucy, from a spectrum that is flat within each band. They keep what is
    positive positive, and look at ratios, so that quiet bands come out as well as loud ones, which least squares leaves
    aside. Each frame is computed alone.

    Args:
        decibels: log-mel in dB, ``(…, 80)``.

    Returns:
        Magnitudes of the bins 0 to 8,000 Hz of the front end's spectrum, ``(…, 513)``. −100 dB and less is silence.

    Source:
        William H. Richardson, Bayesian-based iterative method of image restoration, 1972, doi 10.1364/JOSA.62.000055.
    """
    filters, of_bin, of_band = _filters(decibels.dtype, decibels.device)
    power = torch.where(decibels > FLOOR_DB, 10 ** (decibels.clamp(max=_HIGHEST_DB) / 10), 0)
    spectrum = (power / of_band) @ filters / of_bin
    for _ in range(_SPREADING_STEPS):
        ratio = power / (spectrum @ filters.T).clamp(min=1e-15)
        spectrum = spectrum * (ratio @ filters) / of_bin
    return spectrum.clamp(min=1e-30).sqrt()  # the root of 0 has no derivative


def _check(x: Tensor) -> None:
    if x.dim() != 3 or x.shape[1] != MELS:
        raise ValueError(
            f"OnlineGriffinLim takes (batch, {MELS}, time) in dB; this has the shape {tuple(x.shape)}. "
            "From (batch, 1, time, 80): to_1d(features)"
        )
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"OnlineGriffinLim takes float32 or float64 features, not {x.dtype}: features.float()")
    wrong = ~x.isfinite()
    if wrong.any():
        row, band, frame = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"{int(wrong.sum())} values of the features are NaN or infinite; the first is {x[row, band, frame].item()} "
            f"in row {row}, band {band}, frame {frame} of this piece"
        )


@lru_cache(maxsize=8)
@without_gradients
def _filters(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The filterbank, the sum of the filters at each bin (1 where there is none), and the area of each filter."""
    filters = mel_filterbank()
    of_bin = filters.sum(0)
    both = of_bin.where(of_bin > 0, 1.0), filters.sum(1)
    return tuple(part.to(dtype).to(device) for part in (filters, *both))  # type: ignore[return-value]


@lru_cache(maxsize=32)
@without_gradients
def _constants(lookahead: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The window, the whisper's spectrum, and for each open hop 1 / the squared windows over it.

    The last with all of the open frames, and without the newest one.
    """
    window = torch.hann_window(WINDOW_SAMPLES, periodic=True, dtype=torch.float64)
    turn = -2 * torch.pi * torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * (WINDOW_SAMPLES // 2) / N_FFT
    whisper = torch.polar(torch.full_like(turn, _WHISPER), turn)
    quarters = window.square().unflatten(0, (_HOPS, HOP_SAMPLES))

    def weights(frames: int) -> Tensor:
        total = window.new_zeros(lookahead + _HOPS, HOP_SAMPLES)
        for frame in range(frames):
            total[frame : frame + _HOPS] += quarters
        return (1 / total[_HOPS - 1 :].clamp(min=_LEAST_OVERLAP)).to(dtype).to(device)

    complex_dtype = torch.complex64 if dtype == torch.float32 else torch.complex128
    return (
        window.to(dtype).to(device),
        whisper.to(complex_dtype).to(device),
        weights(lookahead + 1),
        weights(lookahead),
    )
