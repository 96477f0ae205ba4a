"""A VAE of single frames with two numbers between encoder and decoder: small enough to look at all that it can say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from causalcnn.models import Posterior, SpectrogramConfig
from causalcnn.speech import MELS, LogMel, Utterance
from causalcnn.training import minimize

__all__ = ["FrameVAE", "labeled_frames"]

FLOOR_DB, MEAN_DB, SPREAD_DB = SpectrogramConfig.floor_db, SpectrogramConfig.mean_db, SpectrogramConfig.spread_db
LEARNING_RATE = 0.01
MOST_FRAMES = 4_000
"""So many frames are trained on at once; an hour of speech has a hundred times as many, and says little more."""


class FrameVAE(nn.Module):
    """A VAE that sees one frame at a time, and says it in two numbers: a place on a map.

    Args:
        width: the numbers in each of the two hidden layers of encoder and decoder, at least 1.
        noise_db: the standard deviation of the decoder's Gaussian in dB, more than 0.

    Attributes:
        width: as given.
        noise_db: as given, in dB.
        encoder: a frame → means and log-deviations.
        decoder: two numbers → a frame.
        DIM: how many numbers the latent has.

    Raises:
        ValueError: a setting out of its range.

    Source:
        Kingma and Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114.

    Example:
        >>> import torch
        >>> from causalcnn_book.autoencoders import FrameVAE
        >>> vae = FrameVAE()
        >>> place = vae.encode(torch.full((5, 80), -40.0)).mean
        >>> tuple(place.shape), tuple(vae.decode(place).shape)
        ((5, 2), (5, 80))
    """

    width: int
    noise_db: float
    encoder: nn.Sequential
    decoder: nn.Sequential

    DIM: ClassVar[int] = 2

    def __init__(self, width: int = 48, noise_db: float = 8.0) -> None:
        super().__init__()
        if width < 1 or not noise_db > 0:
            raise ValueError(f"width is {width} and noise_db is {noise_db}; they must be at least 1, and more than 0")
        self.width, self.noise_db = width, noise_db
        self.encoder = _layers(MELS, width, 2 * self.DIM)
        self.decoder = _layers(self.DIM, width, MELS)

    def encode(self, frames: Tensor) -> Posterior:
        """Compute where on the map frames lie.

        Args:
            frames: log-mel in dB, ``(frames, 80)``; values below −70 count as −70.

        Returns:
            A Gaussian for each, mean and log-deviation ``(frames, 2)``.
        """
        return Posterior(*self.encoder((frames.clamp(min=FLOOR_DB) - MEAN_DB) / SPREAD_DB).chunk(2, 1))

    def decode(self, places: Tensor) -> Tensor:
        """Compute the frames of places on the map.

        Args:
            places: ``(frames, 2)``.

        Returns:
            Log-mel in dB, ``(frames, 80)``.
        """
        return self.decoder(places) * SPREAD_DB + MEAN_DB

    def loss(self, frames: Tensor, noise: Tensor) -> Tensor:
        """Compute the negative evidence lower bound without its constant.

        Args:
            frames: log-mel in dB, ``(frames, 80)``.
            noise: standard normal numbers, ``(frames, 2)``.

        Returns:
            The mean over the frames in nats, a scalar.

        Source:
            Kingma and Welling, arXiv 1312.6114, eq. 10.
        """
        posterior = self.encode(frames)
        wrong = self.decode(posterior.sample(noise)) - frames.clamp(min=FLOOR_DB)
        return (wrong.square().sum(1) / (2 * self.noise_db**2) + posterior.kl().sum(1)).mean()

    @classmethod
    def trained(
        cls, speech: Sequence[Utterance], *, steps: int = 600, seed: int = 0, width: int = 48, noise_db: float = 8.0
    ) -> FrameVAE:
        """Train the VAE on single frames of speech, all of them in each step; 600 steps take about ten seconds.

        Args:
            speech: at least one utterance; of longer speech 4,000 frames are drawn.
            steps: how often the weights are moved, at least 1.
            seed: of the weights, of the draws from the posterior, and of the frames.
            width: see :class:`FrameVAE`.
            noise_db: see :class:`FrameVAE`, in dB.

        Returns:
            The VAE, in eval mode. The same arguments give the same weights on one platform.

        Raises:
            ValueError: no frames to train on, or a setting out of its range.
        """
        frames, _ = labeled_frames(speech)
        draw = torch.Generator().manual_seed(seed)
        frames = frames[torch.randperm(len(frames), generator=draw)[:MOST_FRAMES]]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            vae = cls(width, noise_db)
        optimizer = torch.optim.Adam(vae.parameters(), LEARNING_RATE)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        minimize(
            lambda _: vae.loss(frames, torch.randn(len(frames), cls.DIM, generator=draw)),
            optimizer,
            steps,
            scheduler=falling,
        )
        return vae.eval()


def _layers(n: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, out))


def labeled_frames(speech: Sequence[Utterance]) -> tuple[Tensor, list[str]]:
    """Compute the frames of speech, and the phone in the middle of each.

    Args:
        speech: utterances, whose phones may be unknown.

    Returns:
        Log-mel in dB, ``(frames, 80)``, and one phone for each, ``"SIL"`` where none is known.

    Raises:
        ValueError: there are no frames.
    """
    front = LogMel()
    frames = [front(utterance.tensor())[0].T for utterance in speech]
    if not sum(map(len, frames)):
        raise ValueError("there are no frames; give speech of at least 10 ms")
    return torch.cat(frames).float(), [phone for utterance in speech for phone in utterance.phone_labels()]
