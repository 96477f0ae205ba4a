"""All that a decoder of two numbers can say, as a map: the spectrum of each place, and a filter that sounds like it.

The map holds a grid of places. Between them spectra are interpolated, and so are filters, as reflection coefficients:
all of these lie between −1 and 1, so does each mean of them, and such a filter is stable. Means of the weights
themselves need not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from causalcnn.speech import HOP_SAMPLES, MELS, RATE_HZ, FrameFit, Utterance, fit_to_frames
from causalcnn_book.autoencoders.distortions import noise
from causalcnn_book.autoencoders.frame_vae import FrameVAE, labeled_frames
from causalcnn_book.vocoder.source_filter import filter_excitation, louder

__all__ = ["CLASSES", "SOURCES", "LatentMap", "Source"]

Array = NDArray[np.float64]
Source = Literal["around", "voice", "whisper"]

SOURCES = ("around", "voice", "whisper")
"""Pulses where most of the speech around is voiced, and noise elsewhere; pulses everywhere; noise everywhere."""
CLASSES: dict[str, tuple[str, ...]] = {
    "vowel": ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"),
    "sonorant": ("L", "M", "N", "NG", "R", "W", "Y"),
    "fricative": ("CH", "DH", "F", "HH", "JH", "S", "SH", "TH", "V", "Z", "ZH"),
    "stop": ("B", "D", "G", "K", "P", "T"),
    "silence": ("SIL",),
}
"""Class of phones → its phones."""
UNVOICED = frozenset(("CH", "F", "HH", "K", "P", "S", "SH", "SIL", "T", "TH"))
NEAR = 0.3
"""The standard deviation of the Gaussian by which frames around a place are weighed."""


@dataclass(frozen=True, eq=False)
class LatentMap:
    """The places from −3 to 3 of a latent of two numbers, what is decoded there, and where speech lies.

    Attributes:
        spectra: log-mel in dB, ``(21, 21, 80)``, first along the first number.
        reflections: reflection coefficients of the filter, each between −1 and 1, ``(21, 21, 16)``.
        error_db: the power of what the filter does not predict in dB, ``(21, 21)``.
        voiced: the share of the training frames around that are voiced, ``(21, 21)``.
        points: some training frames: both numbers and the place of the class in :data:`CLASSES`, ``(points, 3)``.
        path: both numbers of each frame of a sentence, ``(frames, 2)``.
        EDGE: the largest number on the map.
        PLACES: how many places of the grid lie side by side.

    Example:
        >>> from causalcnn_book.autoencoders import FrameVAE, LatentMap
        >>> from causalcnn.speech import synthesize
        >>> said = synthesize("Aha.")
        >>> found = LatentMap.of(FrameVAE.trained([said], steps=20), [said], said)
        >>> found.spectrum(0.5, -1).shape, found.sound([(0.5, -1)] * 10).shape
        ((80,), (1600,))
    """

    spectra: Array
    reflections: Array
    error_db: Array
    voiced: Array
    points: Array
    path: Array

    EDGE: ClassVar[float] = 3.0
    PLACES: ClassVar[int] = 21

    @classmethod
    @torch.no_grad()
    def of(
        cls, vae: FrameVAE, speech: Sequence[Utterance], sentence: Utterance, *, points: int = 500, seed: int = 0
    ) -> LatentMap:
        """Draw the map of a VAE.

        Args:
            vae: a trained VAE.
            speech: what it was trained on, with phones.
            sentence: whose path is kept.
            points: of how many training frames the places are kept, at least 1.
            seed: draws these frames.

        Returns:
            The map. What lies beyond its edge stands at the edge.

        Raises:
            ValueError: there are no frames.
        """
        along = torch.linspace(-cls.EDGE, cls.EDGE, cls.PLACES)
        places = torch.cartesian_prod(along, along)
        frames, phones = labeled_frames(speech)
        means = vae.encode(frames).mean.clamp(-cls.EDGE, cls.EDGE)
        weight = torch.exp(-0.5 * (torch.cdist(places, means) / NEAR) ** 2).double() + 1e-9
        is_voiced = torch.tensor([phone not in UNVOICED for phone in phones], dtype=torch.float64)
        class_of = {phone: n for n, phones in enumerate(CLASSES.values()) for phone in phones}
        classes = torch.tensor([class_of[phone] for phone in phones])
        kept = torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed))[:points]
        path = vae.encode(labeled_frames([sentence])[0]).mean.clamp(-cls.EDGE, cls.EDGE)
        return cls.of_spectra(
            vae.decode(places).double().reshape(cls.PLACES, cls.PLACES, MELS).numpy(),
            (weight @ is_voiced / weight.sum(1)).reshape(cls.PLACES, cls.PLACES).numpy(),
            torch.cat([means[kept], classes[kept, None].float()], 1).double().numpy(),
            path.double().numpy(),
        )

    @classmethod
    def of_spectra(cls, spectra: Array, voiced: Array, points: Array, path: Array) -> LatentMap:
        """Find the filters of spectra.

        Args:
            spectra: see :class:`LatentMap`, ``(21, 21, 80)``.
            voiced: see :class:`LatentMap`, ``(21, 21)``.
            points: see :class:`LatentMap`, ``(points, 3)``.
            path: see :class:`LatentMap`, ``(frames, 2)``.

        Returns:
            The map.
        """
        fit = fit_to_frames(torch.from_numpy(spectra.reshape(-1, MELS).T.copy())[None])
        square = spectra.shape[:2]
        inside = reflections(fit.weights[0].numpy()).reshape(*square, -1)
        return cls(spectra, inside, 10 * np.log10(fit.error[0].numpy()).reshape(square), voiced, points, path)

    @classmethod
    def drawn(cls) -> LatentMap:
        """Draw a map without a network: resonances that move with the first number, louder with the second.

        Returns:
            The map, with a circle for a sentence.
        """
        x, y = np.meshgrid(*[np.linspace(-cls.EDGE, cls.EDGE, cls.PLACES)] * 2, indexing="ij")
        band = np.arange(MELS)
        tracks = ((12 + 2 * x, 6), (40 - 5 * x, 5), (60 + x, 7))
        shape = sum(np.exp(-(((band - at[..., None]) / wide) ** 2)) for at, wide in tracks)
        spectra = -75 + 12 * (y[..., None] + cls.EDGE) * (0.3 + 0.5 * shape)
        turn = np.linspace(0, 2 * np.pi, 120)
        path = 1.5 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        points = np.concatenate([0.8 * path, (turn > np.pi)[:, None] * 4.0], axis=1)
        return cls.of_spectra(spectra, (y > -1).astype(np.float64), points, path)

    @cached_property
    def _grid(self) -> Array:
        parts = (self.spectra, self.reflections, self.error_db[..., None], self.voiced[..., None])
        return np.concatenate(parts, axis=2)

    def _at(self, x: float, y: float) -> Array:
        """All that stands on the grid, between its four places around."""
        last = self.PLACES - 1
        u, v = (np.clip((each + self.EDGE) / (2 * self.EDGE) * last, 0, last) for each in (x, y))
        i, j = (min(int(each), last - 1) for each in (u, v))
        low, high = ((1 - v + j) * self._grid[n, j] + (v - j) * self._grid[n, j + 1] for n in (i, i + 1))
        return (1 - u + i) * low + (u - i) * high

    def spectrum(self, x: float, y: float) -> Array:
        """Interpolate the decoded spectrum.

        Args:
            x: the first number.
            y: the second one.

        Returns:
            Log-mel in dB, ``(80,)``.
        """
        return self._at(x, y)[:MELS]

    def filter(self, x: float, y: float) -> tuple[Array, float, bool]:
        """Interpolate the filter.

        Args:
            x: the first number.
            y: the second one.

        Returns:
            The weights of the samples 1 … 16 before, ``(16,)``; the size of what is not predicted, the root of its
            mean square; and whether most of the speech around is voiced.
        """
        *inside, error_db, voiced = self._at(x, y)[MELS:]
        return weights_of(np.array(inside)), 10 ** (error_db / 20), bool(voiced >= 0.5)

    def sound(self, places: ArrayLike, *, pitch_hz: float = 120.0, source: Source = "around") -> NDArray[np.float32]:
        """Make the sound of a walk: each place is held for 10 ms.

        Args:
            places: both numbers of each, ``(places, 2)``.
            pitch_hz: how many pulses there are in a second (Hz).
            source: what goes into the filter, one of :data:`SOURCES`.

        Returns:
            Samples in −1 … 1, ``(160 · places,)``.

        Source:
            Atal and Hanauer, Speech analysis and synthesis by linear prediction of the speech wave, 1971,
            doi 10.1121/1.1912679.
        """
        found = [self.filter(*place) for place in np.asarray(places, np.float64)]
        weights, sizes = np.array([each[0] for each in found]), np.array([each[1] for each in found])
        excitation = noise(1, HOP_SAMPLES * len(found))[0]
        period, until = int(RATE_HZ / pitch_hz + 0.5), 0
        for hop, (each, _, voiced) in enumerate(found):
            if source == "whisper" or (source == "around" and not voiced):
                until = 0
                continue
            start, end = HOP_SAMPLES * hop, HOP_SAMPLES * (hop + 1)
            excitation[start:end] = 0
            excitation[start + until : end : period] = (period / louder(each, period)) ** 0.5
            until = (until - HOP_SAMPLES) % period
        fit = FrameFit(*(torch.from_numpy(part)[None] for part in (weights, sizes**2, sizes, sizes)))
        return filter_excitation(fit, excitation, lookahead=0).numpy()


def reflections(weights: Array) -> Array:
    """Compute the reflection coefficients of all-pole filters, by the Levinson recursion backwards.

    Args:
        weights: of the samples before, of stable filters, ``(…, order)``.

    Returns:
        Each between −1 and 1, ``(…, order)``.

    Source:
        Makhoul, Linear prediction: A tutorial review, 1975, doi 10.1109/PROC.1975.9792, §II.C.
    """
    found = np.empty_like(weights)
    for n in range(weights.shape[-1], 0, -1):
        found[..., n - 1] = k = weights[..., -1]
        rest = weights[..., :-1]
        weights = (rest + k[..., None] * rest[..., ::-1]) / (1 - k[..., None] ** 2)
    return found


def weights_of(found: Array) -> Array:
    """Compute the weights of an all-pole filter from its reflection coefficients, by the Levinson recursion.

    Args:
        found: the coefficients, ``(order,)``.

    Returns:
        The weights of the samples before, ``(order,)``.
    """
    weights = np.empty(0)
    for k in found:
        weights = np.append(weights - k * weights[::-1], k)
    return weights
