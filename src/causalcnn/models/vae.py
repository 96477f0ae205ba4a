"""A VAE over log-mel: each cell of 4 bands becomes a Gaussian, whose distance from the prior is the rate.

The decoder says each band with a Gaussian of the standard deviation σ = ``noise_db``. So the negative evidence lower
bound is, up to a constant, the squared error divided by 2σ² plus the KL divergence of the posterior from the prior,
and with a weight β for the divergence the minimum is the same as with σ²·β in place of σ² and no weight. Where rate is
traded for error at its best, another nat more in a dimension lowers the error by as much as it costs: there the squared
error of a band is about σ²·β, as the water level in reverse water-filling.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn._checks import at_least
from causalcnn.models.autoencoder import OneLevelAutoencoder
from causalcnn.models.latent_model import Parts
from causalcnn.models.posterior import Posterior
from causalcnn.models.spectrogram_autoencoder import SpectrogramConfig, spectrogram, whole
from causalcnn.nn.compose import Run
from causalcnn.speech import FRAMES_PER_SECOND

if TYPE_CHECKING:
    from causalcnn.speech import Batch

__all__ = ["CausalVAE", "VAEConfig"]


@dataclass(frozen=True)
class VAEConfig(SpectrogramConfig):
    """The settings of :class:`CausalVAE`; the others are those of :class:`SpectrogramConfig`.

    Attributes:
        code_dim: the numbers in a cell; those that are not worth their rate fall silent.
        noise_db: the standard deviation of the decoder's Gaussian in dB, more than 0. The loss is a bound on the
            likelihood of this Gaussian.
        beta: the weight of the divergence in the loss, at least 0. With 1 the loss is the evidence lower bound; with
            more, rate is saved at the price of error.
        free_bits: the bits per number of a frame that cost nothing, at least 0. It keeps numbers from falling silent.

    Raises:
        ValueError: a setting out of its range.

    Source:
        Higgins et al., beta-VAE, ICLR 2017, for ``beta``; Kingma et al., arXiv 1606.04934, appendix C.8, for
        ``free_bits``.

    Example:
        >>> from causalcnn.models import VAEConfig
        >>> VAEConfig.tiny().with_(beta=4.0).code_dim
        4
    """

    code_dim: int = 4
    noise_db: float = 2.0
    beta: float = 1.0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.noise_db > 0:
            raise ValueError(f"noise_db is {self.noise_db}; it must be more than 0")
        for name in ("beta", "free_bits"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0, and finite")


class CausalVAE(OneLevelAutoencoder):
    """The causal VAE: each cell of 4 bands becomes ``code_dim`` Gaussians, whose prior is the standard normal one.

    The encoder is that of :class:`CausalAutoencoder`, with two numbers in place of one: a mean and the logarithm of a
    standard deviation. :meth:`encode` gives both, as a :class:`Posterior`; :meth:`decode` takes numbers, such as the
    posterior's mean or a draw. Called, in pieces or as a stream, the model decodes the mean, in training too; only the
    loss draws noise.

    Args:
        config: the settings; ``VAEConfig.tiny()`` by default.

    Attributes:
        name: what the model is called in a card and in ``MODELS``.
        Config: the class of its config.
        numbers_per_dim: 2, the mean and the logarithm of the standard deviation.
        config: as given.

    Shape:
        log-mel spectrograms in dB, ``(batch, 1, time, mels)`` → the same; mean and log-deviation between them are
        ``(batch, code_dim, time, mels/4)`` each.

    Source:
        Kingma and Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114; encoder and decoder as in Razavi et al.,
        VQ-VAE-2, arXiv 1906.00446.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVAE, VAEConfig
        >>> model = CausalVAE(VAEConfig(channels=8, residual_blocks=1)).eval()
        >>> x = torch.full((1, 1, 7, 80), -30.0)
        >>> posterior = model.encode(x)
        >>> tuple(posterior.mean.shape), bool((posterior.kl() >= 0).all())
        ((1, 4, 7, 20), True)
        >>> torch.equal(model.decode(posterior.mean), model(x))
        True
    """

    name: ClassVar[str] = "vae"
    Config: ClassVar[type] = VAEConfig
    numbers_per_dim: ClassVar[int] = 2

    config: VAEConfig

    def __init__(self, config: VAEConfig | None = None) -> None:
        super().__init__(config or VAEConfig.tiny())

    # --------------------------------------------------------------------------------------------------- training
    def loss(self, batch: Batch, noise: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss: the squared error of the real frames, plus the weighted divergence.

        It is the negative evidence lower bound of a frame without its constant, multiplied by 2σ²/(Ms²), where σ is
        ``noise_db``, M is ``mels`` and s is ``spread_db``. So the error has the unit that it has in all autoencoders.

        Args:
            batch: pieces of log-mel in dB, with a mask of the real frames.
            noise: standard normal numbers for the draws from the posterior, ``(batch, code_dim, time, cells)``. By
                default they are drawn in training; in ``eval()`` the mean is decoded.

        Returns:
            The loss, a scalar, and the metrics without gradients, each a scalar. They are ``error``, the mean squared
            error in units of ``spread_db``²; ``kl``, the divergence of a frame in nats; ``bits_per_second``, the same
            as a rate.

        Raises:
            ValueError: features of another number of bands.

        Source:
            Kingma and Welling, arXiv 1312.6114, eq. 10.
        """
        c = self.config
        x, mask = spectrogram(batch)
        posterior = self._encode(x, whole)
        if noise is None and self.training:
            noise = torch.randn_like(posterior.mean)
        z = posterior.mean if noise is None else posterior.sample(noise)
        error = self._squared_error(self._decode(z, whole), x, mask)
        per_frame = (posterior.kl() * mask[:, None, :, None]).sum((0, 2)) / mask.sum().clamp(min=1)  # (code_dim, cells)
        counted = per_frame.clamp(min=c.free_bits * math.log(2)) if c.free_bits else per_frame
        weight = 2 * c.noise_db**2 / (c.mels * c.spread_db**2)
        kl = per_frame.detach().sum()
        metrics = {
            "error": error.detach(),
            "kl": kl,
            "bits_per_second": kl * (FRAMES_PER_SECOND / math.log(2)),
        }
        return error + weight * c.beta * counted.sum(), metrics

    # ----------------------------------------------------------------------------------------------------- bounds
    @torch.no_grad()
    def elbo(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Estimate the evidence lower bound of whole spectrograms.

        Args:
            x: log-mel in dB, ``(batch, 1, time, mels)``.
            mask: which frames are real, bool, ``(batch, time)``; by default all.
            samples: the draws from the posterior over which the error is averaged, ≥ 1; the divergence is exact.
            generator: draws the noise; by default torch's own.

        Returns:
            A lower bound on the logarithm of the density of the real frames, in nats, ``(batch,)``. The density is
            that of values in dB.

        Raises:
            ValueError: an input of another shape or dtype, or less than one sample.
        """
        at_least("samples", samples)
        posterior = self.encode(x)
        draws = self._draws(posterior, samples, generator)
        log_density = sum(self._log_density(x, z, mask) for _, z in draws) / samples
        return log_density - _per_row(posterior.kl(), mask)

    @torch.no_grad()
    def importance_weighted_bound(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        samples: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Estimate the importance-weighted bound of whole spectrograms, which is tighter than :meth:`elbo`.

        Args:
            x: log-mel in dB, ``(batch, 1, time, mels)``.
            mask: which frames are real, bool, ``(batch, time)``; by default all.
            samples: the draws from the posterior, ≥ 1; the more, the tighter.
            generator: draws the noise; by default torch's own.

        Returns:
            A lower bound on the logarithm of the density of the real frames, in nats, ``(batch,)``.

        Raises:
            ValueError: an input of another shape or dtype, or less than one sample.

        Source:
            Burda, Grosse and Salakhutdinov, arXiv 1509.00519, eq. 8.
        """
        return self.log_weights(x, mask, samples=samples, generator=generator).logsumexp(0) - math.log(samples)

    @torch.no_grad()
    def log_weights(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        samples: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw importance weights: the density of draw and spectrogram, divided by the posterior's density of the draw.

        The mean of their logarithms is an estimate of the evidence lower bound, the logarithm of their mean one of the
        importance-weighted bound.

        Args:
            x: log-mel in dB, ``(batch, 1, time, mels)``.
            mask: which frames are real, bool, ``(batch, time)``; by default all.
            samples: how many are drawn, ≥ 1.
            generator: draws the noise; by default torch's own.

        Returns:
            Their logarithms in nats, ``(samples, batch)``.

        Raises:
            ValueError: an input of another shape or dtype, or less than one sample.
        """
        at_least("samples", samples)
        posterior = self.encode(x)
        rows = []
        for noise, z in self._draws(posterior, samples, generator):
            prior_over_posterior = 0.5 * (noise.square() - z.square()) + posterior.log_std
            rows.append(self._log_density(x, z, mask) + _per_row(prior_over_posterior, mask))
        return torch.stack(rows)

    def _draws(
        self, posterior: Posterior, samples: int, generator: torch.Generator | None
    ) -> Iterable[tuple[Tensor, Tensor]]:
        """Noise, and the draws from the posterior that it makes."""
        like = posterior.mean
        for _ in range(samples):
            noise = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
            yield noise, posterior.sample(noise)

    def _log_density(self, x: Tensor, z: Tensor, mask: Tensor | None) -> Tensor:
        """The logarithm of the decoder's density of the real frames, ``(batch,)``."""
        wrong = (x.clamp(min=self.config.floor_db) - self.decode(z)) / self.config.noise_db
        constant = math.log(self.config.noise_db) + 0.5 * math.log(2 * math.pi)
        return _per_row(-0.5 * wrong.square() - constant, mask)

    # ----------------------------------------------------------------------------------------------------- inside
    @override
    def _bottleneck(self, vectors: Tensor, run: Run) -> Tensor:
        return vectors[:, : self.config.code_dim]

    @override
    def _encode(self, x: Tensor, run: Run, parts: Parts | None = None) -> Posterior:
        vectors, dim = self._vectors(x, run), self.config.code_dim
        return Posterior(vectors[:, :dim], vectors[:, dim:])

    @override
    def _from_plan(self, found: Sequence[Tensor]) -> Posterior:
        return Posterior(*found)


def _per_row(values: Tensor, mask: Tensor | None) -> Tensor:
    """The sum over the real frames of each row; ``(batch, channels, time, cells)`` → ``(batch,)``."""
    return values.sum((1, 2, 3)) if mask is None else (values.sum((1, 3)) * mask).sum(1)
