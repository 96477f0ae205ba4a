"""What the drift of generated speech is measured with: prompts, frames drawn one ahead, a judge, a distance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from causalcnn.models import SpectrogramModel
from causalcnn.speech import FeatureCorpus, frame_level_db

__all__ = ["LinearJudge", "continuations", "distance_db", "frame_statistics", "one_frame_ahead"]

SILENT_BELOW_DB = 40.0


def continuations(
    corpus: FeatureCorpus, model: SpectrogramModel, *, per_speaker: int, prompt: int = 40, frames: int = 200
) -> tuple[Tensor, list[str]]:
    """Cut pieces of clips whose prompt ends within speech.

    Args:
        corpus: unseen speakers.
        model: the model that makes the bins.
        per_speaker: rows of each, from different clips.
        prompt: frames of the given beginning.
        frames: frames of the rest.

    Returns:
        Bins ``(rows, prompt + frames, mels)``, and who speaks each row.

    Raises:
        ValueError: a speaker has too few clips that are long enough.
    """
    rows, speakers = [], []
    for speaker in corpus.speaker_names:
        found = 0
        for clip, about in enumerate(corpus.clips):
            if about.speaker != speaker or about.frames < prompt + frames or found == per_speaker:
                continue
            features = corpus[clip]
            level = frame_level_db(features)[prompt : features.shape[1] - frames + 1]
            speaks = (level > about.level_db - 10).nonzero()
            if not len(speaks):
                continue
            start = int(speaks[0])
            rows.append(model.to_bins(features[None, :, start : start + prompt + frames])[0])
            speakers.append(speaker)
            found += 1
        if found < per_speaker:
            raise ValueError(f"{speaker} has {found} clips of {prompt + frames} frames; {per_speaker} are asked for")
    return torch.stack(rows), speakers


@torch.no_grad()
def one_frame_ahead(
    model: SpectrogramModel, bins: Tensor, first: int, *, seed: int = 0, temperature: float = 1.0
) -> Tensor:
    """Draw every frame from ``first`` on, given the true frames before it, and never given another drawn frame.

    Each frame gets a row of its own that has read as many true frames as the model's receptive field holds.

    Args:
        model: a model in eval mode, with a field that ends.
        bins: true ones, ``(time, mels)``.
        first: the first frame that is drawn; at least the field.
        seed: the same seed draws the same values.
        temperature: below 1 the likelier values are preferred.

    Returns:
        Bins ``(time − first, mels)``.

    Raises:
        ValueError: there are fewer true frames before the first than the model reads, or its field does not end.
    """
    past = model.field.axis("time").past
    if past is None or first < past:
        raise ValueError(f"first is {first}, and the model reads {past} frames; so many true ones must come before")
    rows = torch.stack([bins[t - int(past) : t] for t in range(first, len(bins))])
    return model.generate(1, rows=len(rows), prompt=rows, seed=seed, temperature=temperature)[:, 0]


@dataclass(frozen=True)
class LinearJudge:
    """Prices a frame by how far it lies from a linear function of the frames before it, with Gaussian errors.

    Attributes:
        weights: ``(frames · mels + 1, mels)``.
        whiten: what makes the errors of training speech white, ``(mels, mels)``.
        frames: how many earlier ones it reads.

    Example:
        >>> import torch
        >>> from causalcnn_book.frame_generator.drift_metrics import LinearJudge
        >>> speech = torch.arange(40)[:, None].expand(-1, 3)  # every frame is one bin above the last
        >>> judge = LinearJudge.fitted([speech], frames=2)
        >>> judge.bits(speech[None]).shape
        torch.Size([1, 38])
        >>> bool((judge.bits(speech.flip(0)[None]) > judge.bits(speech[None])).all())
        True
    """

    weights: Tensor
    whiten: Tensor
    frames: int

    @classmethod
    def fitted(cls, pieces: Iterable[Tensor], frames: int = 6) -> LinearJudge:
        """Fit a judge by least squares, one piece at a time.

        Args:
            pieces: bins, ``(time, mels)`` each.
            frames: how many earlier ones it reads.

        Returns:
            The judge.

        Raises:
            ValueError: no piece has more than ``frames`` frames.
        """
        sums: list[Tensor] = []
        count = 0
        for piece in pieces:
            x, y = _pairs(piece[None], frames)
            products = [x.T @ x, x.T @ y, y.T @ y]
            sums = [a + b for a, b in zip(sums, products, strict=True)] if sums else products
            count += len(x)
        if not count:
            raise ValueError(f"there are no frames with {frames} before them; a judge is fitted on speech")
        xx, xy, yy = (total / count for total in sums)
        weights = torch.linalg.solve(xx + 1e-3 * torch.eye(len(xx), dtype=xx.dtype), xy)
        errors = yy - xy.T @ weights - weights.T @ xy + weights.T @ xx @ weights
        errors += 1e-2 * torch.eye(len(errors), dtype=errors.dtype)
        return cls(weights, torch.linalg.inv(torch.linalg.cholesky(errors)), frames)

    def bits(self, bins: Tensor) -> Tensor:
        """Price frames, as a density.

        Args:
            bins: ``(rows, time, mels)``.

        Returns:
            Bits for a value, the mean of each frame, ``(rows, time − frames)``.
        """
        x, y = _pairs(bins, self.frames)
        white = (y - x @ self.weights) @ self.whiten.T
        nats = 0.5 * white.square().mean(1) + 0.5 * math.log(2 * math.pi) - self.whiten.diagonal().log().mean()
        return (nats / math.log(2)).view(len(bins), -1)


def _pairs(bins: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """What is read, and the frame that follows: ``(rows · (time − frames), …)`` each."""
    x = bins.double()
    windows = x.unfold(1, frames + 1, 1).flatten(0, 1)  # (rows · …, mels, frames + 1)
    ones = windows.new_ones(len(windows), 1)
    return torch.cat([windows[..., :-1].flatten(1), ones], 1), windows[..., -1]


def distance_db(one: Tensor, other: Tensor) -> float:
    """Measure how far two clouds of frames lie apart, as if both were Gaussian: the 2-Wasserstein distance.

    Args:
        one: ``(frames, mels)`` in dB.
        other: ``(frames, mels)`` in dB, of another number of frames, if you like.

    Returns:
        The distance in dB a band.

    Example:
        >>> import torch
        >>> from causalcnn_book.frame_generator.drift_metrics import distance_db
        >>> cloud = torch.randn(100, 80, generator=torch.Generator().manual_seed(0))
        >>> round(distance_db(cloud, cloud + 3), 2)
        3.0
    """
    a, b = one.double(), other.double()
    covariances = [torch.cov(x.T) for x in (a, b)]
    values, vectors = torch.linalg.eigh(covariances[0])
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp(min=0).sqrt().sum()
    spread = sum(c.diagonal().sum() for c in covariances) - 2 * cross
    return math.sqrt(float((a.mean(0) - b.mean(0)).square().sum() + spread.clamp(min=0)) / a.shape[1])


def frame_statistics(frames: Tensor, before: Tensor, level_db: float) -> dict[str, Tensor]:
    """Describe frames by four numbers each.

    Args:
        frames: log-mel frames ``(rows, time, mels)`` in dB.
        before: the frame before each, ``(rows, time, mels)`` in dB.
        level_db: the level of speech, in dB.

    Returns:
        ``(rows, time)`` for each of ``level_db``; ``silent``, 1 where the level is 40 dB below that of speech;
        ``contrast_db``, the standard deviation of the bands; ``step_db``, the root mean square of the change from the
        frame before.
    """
    level = frame_level_db(frames.transpose(1, 2))
    return {
        "level_db": level,
        "silent": (level < level_db - SILENT_BELOW_DB).float(),
        "contrast_db": frames.std(2),
        "step_db": (frames - before).square().mean(2).sqrt(),
    }
