"""Predictors of samples without a network, which price the same 256 μ-law cells that a WaveNet prices.

The strongest is linear prediction, the engineers' model of speech for fifty years: the next sample is a weighted sum of
the last 16, with weights that are solved for again and again, from the samples that were heard or from the log-mel
frame beside them.
"""

from __future__ import annotations

import abc
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.models import LogisticMixture, MelCondition, bits_per_dimension
from causalcnn.speech import (
    HOP_SAMPLES,
    N_FFT,
    SampleBatch,
    SampleCorpus,
    fit_to_frames,
    mu_law_decode,
    mu_law_edges,
    mu_law_encode,
)
from causalcnn.speech.linear_prediction import SILENCE, normal_equations
from causalcnn.training import minimize

__all__ = ["CopySample", "LinearPrediction", "SampleHistogram", "SamplePredictor", "Uniform"]

ORDER = 16
"""Samples that a prediction is a weighted sum of, at 16,000 Hz."""
WINDOW_SAMPLES, REFIT_SAMPLES = 480, 40
"""Backward, the weights are solved for every 40 samples, from the 480 before."""
RECENT_SAMPLES = 32
"""The latest errors, which tell how large the next one will be."""
COMPONENTS = 3


def log_logistic_mass(low: Tensor, high: Tensor) -> Tensor:
    """The log of ``σ(high) − σ(low)``, also where both are far out and where they are near each other."""
    return F.logsigmoid(high) + F.logsigmoid(-low) + torch.log(-torch.expm1(low - high))


class SamplePredictor(nn.Module, abc.ABC):
    """A model of the next sample, which is fitted to a corpus and prices μ-law cells.

    A subclass defines :meth:`log_prob`, and :meth:`fit` where it is not fitted by gradient descent.

    Example:
        >>> import torch
        >>> from causalcnn_book.wavenet.linear_prediction import Uniform
        >>> round(float(-Uniform().log_prob(torch.zeros(1, 10)).mean() / torch.log(torch.tensor(2.0))), 6)
        8.0
    """

    @abc.abstractmethod
    def log_prob(self, samples: Tensor) -> Tensor:
        """Compute the log-probability of the cell of each sample, given the samples before it.

        Args:
            samples: in −1 … 1 at 16,000 Hz, ``(batch, time)``.

        Returns:
            In nats, ``(batch, known)``; ``known`` is the time, or the samples whose frame is complete.
        """

    def fit(
        self, corpus: SampleCorpus, *, steps: int = 300, rows: int = 8, samples: int = 3_200, seed: int = 0
    ) -> None:
        """Fit the parameters to a corpus.

        Args:
            corpus: the sounds to learn from.
            steps: steps of gradient descent.
            rows: pieces of sound in each step.
            samples: length of a piece, in samples.
            seed: draws the pieces.
        """
        optimizer = torch.optim.Adam(self.parameters(), lr=0.05)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

        def price(step: int) -> Tensor:
            return self._bits(corpus.batch(step, rows=rows, samples=samples, seed=seed))

        minimize(price, optimizer, steps, scheduler=scheduler)

    def _bits(self, batch: SampleBatch) -> Tensor:
        log_prob = self.log_prob(batch.samples)
        return bits_per_dimension(log_prob.unsqueeze(2), batch.mask[:, : log_prob.shape[1]])


class Uniform(SamplePredictor):
    """All 256 cells are alike: 8 bits.

    Example:
        >>> import torch
        >>> from causalcnn_book.wavenet.linear_prediction import Uniform
        >>> Uniform().log_prob(torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    @override
    def log_prob(self, samples: Tensor) -> Tensor:
        return torch.full(samples.shape, -math.log(256), dtype=torch.float64)

    @override
    def fit(self, corpus: SampleCorpus, *, steps: int = 0, rows: int = 0, samples: int = 0, seed: int = 0) -> None:
        pass


class SampleHistogram(SamplePredictor):
    """How frequent each cell is, whatever came before.

    Attributes:
        counts: how often each cell was seen, and once more, float64 ``(256,)``.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from causalcnn.speech import SampleCorpus
        >>> from causalcnn_book.wavenet.linear_prediction import SampleHistogram
        >>> model = SampleHistogram()
        >>> model.fit(SampleCorpus([np.zeros(768, np.int16)], ["nobody"]))
        >>> round(float(model.log_prob(torch.zeros(1, 1)).exp()), 4)  # 769 of 1,024
        0.751
    """

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.ones(256, dtype=torch.float64))

    @override
    def fit(self, corpus: SampleCorpus, *, steps: int = 0, rows: int = 0, samples: int = 0, seed: int = 0) -> None:
        """Count the cells of the whole corpus.

        Args:
            corpus: the sounds to count.
            steps: without a meaning here.
            rows: without a meaning here.
            samples: without a meaning here.
            seed: without a meaning here.
        """
        for sound in corpus:
            self.counts += torch.bincount(mu_law_encode(sound), minlength=256)

    @override
    def log_prob(self, samples: Tensor) -> Tensor:
        return (self.counts / self.counts.sum()).log()[mu_law_encode(samples)]


class CopySample(SamplePredictor):
    """The last sample again, give or take: a logistic bell around it in the compressed range, of one learned width.

    Attributes:
        spread: the parameter of the width, as :class:`~causalcnn.models.LogisticMixture` reads it, ``(1,)``.

    Example:
        >>> import torch
        >>> from causalcnn_book.wavenet.linear_prediction import CopySample
        >>> log_prob = CopySample().log_prob(torch.tensor([[0.5, 0.5, -0.5]]))
        >>> bool(log_prob[0, 1] > log_prob[0, 2])
        True
    """

    spread: nn.Parameter

    def __init__(self) -> None:
        super().__init__()
        self.distribution = LogisticMixture(1)
        self.spread = nn.Parameter(torch.tensor([-2.0]))

    @override
    def log_prob(self, samples: Tensor) -> Tensor:
        bins = mu_law_encode(samples)
        last = F.pad(self.distribution.to_input(bins), (1, -1))
        parameters = torch.stack([torch.zeros_like(last), last, self.spread.expand_as(last)], dim=-1)
        return self.distribution.log_prob(parameters, bins)


class LinearPrediction(SamplePredictor):
    """Linear prediction of order 16, with an error whose distribution is fitted.

    Backward, the weights of the last 16 samples are those that would have predicted the 480 samples before best; they
    are solved for every 40 samples, from samples that were heard, and nothing is sent. From the mel, they follow from
    the spectrum of the frame beside a sample, through its autocorrelation.

    The error is a mixture of three logistic distributions. Their scales are multiples of what is expected: a product of
    powers of the fit's own error and of the latest errors. The multiples, the powers and the weights of the mixture are
    learned, 8 numbers in all. The probability of a cell is the mass of the mixture between its edges. What is read of
    earlier samples are their cells, as in a WaveNet.

    Args:
        lookahead_frames: None for backward prediction; else from the mel, with the frame that ends with a sample's own
            hop (0), or so many frames later.

    Attributes:
        condition: gives the frame beside each sample; None for backward prediction.
        edges: those of :func:`causalcnn.speech.mu_law_edges`, ``(257,)``.

    Source:
        John Makhoul, Linear prediction: A tutorial review, 1975, doi 10.1109/PROC.1975.9792.

    Example:
        >>> import torch
        >>> from causalcnn_book.wavenet.linear_prediction import LinearPrediction
        >>> tone = 0.5 * torch.sin(torch.arange(1_600) / 3.0)[None]
        >>> prediction, _ = LinearPrediction().predict(tone)
        >>> bool((prediction - tone)[0, 600:].abs().max() < 0.03)
        True
    """

    condition: MelCondition | None
    edges: Tensor

    def __init__(self, lookahead_frames: int | None = None) -> None:
        super().__init__()
        self.condition = None if lookahead_frames is None else MelCondition(lookahead_frames)
        self.weights = nn.Parameter(torch.zeros(COMPONENTS, dtype=torch.float64))
        self.multiples = nn.Parameter(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64))
        self.powers = nn.Parameter(torch.tensor([0.5, 0.5], dtype=torch.float64))
        self.register_buffer("edges", mu_law_edges())

    @torch.no_grad()
    def predict(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Predict each sample from the cells of those before it.

        Args:
            samples: in −1 … 1 at 16,000 Hz, ``(batch, time)``.

        Returns:
            The predictions, ``(batch, known)`` float64; and the logarithms of the two errors that are expected, that of
            the fit and that of the latest predictions, ``(batch, known, 2)``.
        """
        heard = mu_law_decode(mu_law_encode(samples)).double()
        if self.condition is None:
            fit, block = fit_to_past(heard), REFIT_SAMPLES
        else:
            frames = self.condition.front_end(samples.double())[:, :, self.condition.lookahead_frames :]
            fit, block = fit_to_frames(frames)[:2], HOP_SAMPLES
        known = samples.shape[1] if self.condition is None else block * fit[1].shape[1]
        heard = heard[:, :known]
        weights, error = (each.repeat_interleave(block, dim=1)[:, :known] for each in fit)
        prediction = (F.pad(heard, (ORDER, -1)).unfold(1, ORDER, 1).flip(-1) * weights).sum(-1) if known else heard
        missed = F.pad((heard - prediction).square(), (RECENT_SAMPLES, -1))
        recent = missed.unfold(1, RECENT_SAMPLES, 1).mean(-1) if known else heard
        return prediction, torch.stack([error, recent], dim=-1).clamp(min=SILENCE**2).log() / 2

    @override
    def log_prob(self, samples: Tensor) -> Tensor:
        prediction, expected = self.predict(samples)
        bins = mu_law_encode(samples)[:, : prediction.shape[1]]
        scale = ((expected * self.powers).sum(-1, keepdim=True) + self.multiples).exp()  # (batch, known, components)
        low, high = ((self.edges[bins + side] - prediction).unsqueeze(-1) / scale for side in (0, 1))
        return torch.logsumexp(torch.log_softmax(self.weights, 0) + log_logistic_mass(low, high), dim=-1)


def fit_to_past(heard: Tensor) -> tuple[Tensor, Tensor]:
    """The weights for every 40 samples, fitted to the 480 before, of which the latest count most.

    Args:
        heard: samples ``(batch, time)`` float64.

    Returns:
        Weights and squared errors, ``(batch, blocks, 16)`` and ``(batch, blocks)``.
    """
    window = torch.hann_window(2 * WINDOW_SAMPLES, periodic=False, dtype=heard.dtype)[:WINDOW_SAMPLES]
    blocks = -(-heard.shape[1] // REFIT_SAMPLES)
    past = F.pad(heard, (WINDOW_SAMPLES, REFIT_SAMPLES)).unfold(1, WINDOW_SAMPLES, REFIT_SAMPLES)[:, :blocks] * window
    power = torch.fft.rfft(past, n=N_FFT).abs().square()
    weights, error = normal_equations(torch.fft.irfft(power)[..., : ORDER + 1])
    return weights, error / window.square().sum()
