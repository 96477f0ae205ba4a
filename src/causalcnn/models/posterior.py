"""The Gaussians between encoder and decoder of a VAE, and what a trained model says with them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from causalcnn.models.autoencoder import OneLevelAutoencoder
from causalcnn.models.spectrogram_autoencoder import spectrogram
from causalcnn.speech import FRAMES_PER_SECOND

if TYPE_CHECKING:
    from causalcnn.speech import Batch

__all__ = ["LatentUse", "Posterior"]


class Posterior(NamedTuple):
    """What an encoder says of each number of the latent: a Gaussian, independent of the others given the input.

    Attributes:
        mean: the means, ``(batch, code_dim, time, cells)``.
        log_std: the natural logarithms of the standard deviations, ``(batch, code_dim, time, cells)``.

    Example:
        >>> import torch
        >>> from causalcnn.models import Posterior
        >>> Posterior(torch.tensor([2.0]), torch.tensor([0.0])).kl()  # half of the squared distance
        tensor([2.])
    """

    mean: Tensor
    log_std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Draw from the posterior by moving and scaling noise, so that there are gradients to both parameters.

        Args:
            noise: standard normal numbers, ``(…, batch, code_dim, time, cells)``.

        Returns:
            The draws, of the shape of ``noise``.

        Source:
            Kingma and Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114, §2.4.
        """
        return self.mean + self.log_std.exp() * noise

    def kl(self) -> Tensor:
        """Compute the Kullback–Leibler divergence of each number from a standard normal one, in nats.

        Returns:
            At least 0 each, ``(batch, code_dim, time, cells)``.

        Source:
            Kingma and Welling, arXiv 1312.6114, appendix B.
        """
        # exp(2s) − 1 − 2s is near 0 where the posterior is the prior: expm1 keeps its digits.
        return 0.5 * (self.mean.square() + torch.expm1(2 * self.log_std) - 2 * self.log_std)


@dataclass(frozen=True, eq=False)
class LatentUse:
    """What a VAE says with each number of its latent, over some speech: which have fallen silent, and what others cost.

    A number has collapsed where its posterior is the prior whatever the input: it costs nothing and says nothing.

    Attributes:
        kl: the mean divergence of each number from the prior in nats a frame, ``(code_dim, cells)``.
        variance: the variance of each number's mean over the frames, ``(code_dim, cells)``.
        frames: how many frames were looked at.
        THRESHOLD: the variance of the mean from which on a number says something.

    Source:
        Burda, Grosse and Salakhutdinov, arXiv 1509.00519, appendix C, for the active numbers.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVAE, LatentUse, VAEConfig
        >>> from causalcnn.speech import Batch
        >>> model = CausalVAE(VAEConfig(channels=8, residual_blocks=1)).eval()
        >>> batch = Batch(torch.randn(1, 80, 9) * 20, torch.ones(1, 9, dtype=torch.bool), torch.zeros(1))
        >>> use = LatentUse.of(model, [batch])
        >>> use.kl.shape, use.active.dtype, use.frames
        (torch.Size([4, 20]), torch.bool, 9)
    """

    kl: Tensor
    variance: Tensor
    frames: int

    THRESHOLD: ClassVar[float] = 0.01

    @classmethod
    @torch.no_grad()
    def of(cls, model: OneLevelAutoencoder, batches: Iterable[Batch]) -> LatentUse:
        """Measure a model.

        Args:
            model: a model whose ``encode`` gives a :class:`Posterior`.
            batches: pieces of log-mel in dB, with masks of the real frames.

        Returns:
            The means over all real frames.

        Raises:
            ValueError: there is no real frame, or features have another number of bands.
        """
        shape = (model.config.code_dim, model.cells)
        kl, total, squares = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
        frames = 0
        for batch in batches:
            x, mask = spectrogram(batch)
            posterior = model.encode(x)
            real = mask.to(x.device)
            for sums, values in ((kl, posterior.kl()), (total, posterior.mean), (squares, posterior.mean.square())):
                sums += (values.double() * real[:, None, :, None]).sum((0, 2)).cpu()
            frames += int(mask.sum())
        if not frames:
            raise ValueError("there is no real frame to measure")
        mean = total / frames
        return cls(kl / frames, (squares / frames - mean.square()).clamp(min=0), frames)

    @property
    def active(self) -> Tensor:
        """Which numbers say something, their means varying by more than ``THRESHOLD``: bool, ``(code_dim, cells)``."""
        return self.variance > self.THRESHOLD

    @property
    def bits_per_second(self) -> float:
        """The divergence as a rate in bits per second, which codes of draws come near to, in long messages."""
        return float(self.kl.sum()) * FRAMES_PER_SECOND / math.log(2)
