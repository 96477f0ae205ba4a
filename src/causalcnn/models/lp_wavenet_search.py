"""Several draws of an LP-WaveNet side by side; those that fit the frames best go on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from causalcnn._checks import at_least
from causalcnn.models.lp_wavenet_sampler import LPWaveNetSampler
from causalcnn.models.vocoder import HOP_SAMPLES, MELS
from causalcnn.nn.base import Engine, without_gradients

__all__ = ["LPWaveNetSearch"]


class LPWaveNetSearch:
    """A running vocoder that draws several sounds side by side, and goes on with those that fit the frames best.

    What is drawn is a likely sound, but by chance one is closer to the frames than another, and as the frames are
    there, it can be measured which. After each hop the log-mel frame that ends with it is computed of every draw, and
    compared with the wanted one, as fourth roots of powers. The better half of the draws goes on, each twice. A hop is
    given ``patience`` hops after it was drawn, from the draw that is best until then; the draws that have another sound
    there end.

    It is a particle filter whose weights are all or nothing; nothing is learned for it. It is for a single sound.

    Args:
        model: an :class:`LPWaveNet` in eval mode. Its weights must not change while it speaks.
        candidates: how many sounds are drawn side by side, at least 1.
        patience: hops of 10 ms between draw and decision, 0 or more. They add to the latency.
        engine: what draws the samples, ``"torch"`` or ``"compiled"``; see :meth:`CausalModule.stream`.

    Attributes:
        lookahead_frames: how many frames after its own a hop waits for, those of the model and ``patience``.

    Raises:
        RuntimeError: the model is in training mode.
        ValueError: fewer than one candidate, a patience below 0, a weight that is not finite, or no such engine.

    Source:
        Gordon, Salmond and Smith, Novel approach to nonlinear/non-Gaussian Bayesian state estimation, 1993,
        doi 10.1049/ip-f-2.1993.0015.

    Example:
        >>> import torch
        >>> from causalcnn.models import LPWaveNet, LPWaveNetConfig
        >>> search = LPWaveNet(LPWaveNetConfig.tiny()).eval().search(candidates=4, patience=1)
        >>> frame, generator = torch.full((1, 80, 1), -60.0), torch.Generator().manual_seed(0)
        >>> [search.draw(frame, generator).shape[1] for _ in range(4)]
        [0, 0, 160, 160]
    """

    lookahead_frames: int

    @without_gradients
    def __init__(self, model: Any, candidates: int = 4, patience: int = 1, engine: Engine = "torch") -> None:
        self.candidates, self.patience = at_least("candidates", candidates), at_least("patience", patience, 0)
        self.lookahead_frames = model.config.lookahead_frames + patience
        self._sampler = LPWaveNetSampler(model, candidates, engine)
        self._front_end = model.condition.front_end
        like = model.network.input.weight
        self._heard = self._front_end.initial_state(like.new_zeros(candidates, 0))
        self._frames = like.new_zeros(1, MELS, 0)  # those of hops that are not drawn yet
        self._undecided = like.new_zeros(candidates, 0, HOP_SAMPLES)
        self._misses = like.new_zeros(candidates, patience + 1)

    @without_gradients
    def draw(self, frames: Tensor, generator: torch.Generator, *, temperature: float = 1.0) -> Tensor:
        """Draw the samples of the hops that can be decided now.

        Args:
            frames: the next frames of log-mel in dB, any number of them, also none, ``(1, 80, frames)``.
            generator: as for :meth:`LPWaveNetSampler.draw`.
            temperature: as for :meth:`LPWaveNetSampler.draw`.

        Returns:
            The samples in −1 … 1, ``(1, samples)``; 160 for each frame, apart from the first ``lookahead_frames``.

        Raises:
            ValueError: frames of another shape, or a temperature that is below 0 or not finite.
        """
        if frames.dim() != 3 or frames.shape[:2] != (1, MELS):
            raise ValueError(f"the frames have shape {tuple(frames.shape)}; they must be (1, {MELS}, frames)")
        given = [self._frames.new_zeros(0)]
        for frame in frames.to(self._frames).split(1, dim=2):
            self._frames = torch.cat([self._frames, frame], dim=2)
            drawn = self._sampler.draw(frame.expand(self.candidates, -1, -1), generator, temperature=temperature)
            if drawn.shape[1]:
                given += self._decide(drawn)
        return torch.cat(given).unsqueeze(0)

    def _decide(self, drawn: Tensor) -> list[Tensor]:
        """What is given now that a hop is drawn, ``(candidates, 160)``; the best draws go on."""
        found, self._heard = self._front_end.step(drawn, self._heard)
        wanted, self._frames = self._frames[:, :, 0], self._frames[:, :, 1:]
        miss = (_loudness(found[:, :, 0]) - _loudness(wanted)).square().sum(1) / _loudness(wanted).square().sum()
        self._misses = torch.cat([self._misses[:, 1:], miss.unsqueeze(1)], dim=1)
        self._undecided = torch.cat([self._undecided, drawn.unsqueeze(1)], dim=1)
        total, given = self._misses.sum(1), []
        if self._undecided.shape[1] > self.patience:
            oldest = self._undecided[:, 0]
            given = [oldest[total.argmin()].clone()]
            total = total.masked_fill((oldest != given[0]).any(1), torch.inf)
            self._undecided = self._undecided[:, 1:]
        order = total.argsort(stable=True)[: (self.candidates + 1) // 2]
        rows = order[total[order] < torch.inf].repeat(self.candidates)[: self.candidates]
        self._sampler.choose(rows)
        self._heard, self._undecided, self._misses = (x[rows] for x in (self._heard, self._undecided, self._misses))
        return given


def _loudness(decibels: Tensor) -> Tensor:
    return 10 ** (decibels / 40)
