"""What a prior over codes writes when it reads what it wrote: its price, and what its frames are like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causalcnn.models import CausalVQVAE2, CodeCorpus, CodePrior, Codes
from causalcnn.speech import FeatureCorpus
from causalcnn_book.frame_generator.drift_metrics import distance_db, frame_statistics
from causalcnn_book.priors.count_models import CountModel

__all__ = ["LAGS", "PROMPT_FRAMES", "FreeRuns", "price"]

PROMPT_FRAMES = 60
LAGS = (10, 50, 100, 200)
"""The frames after the prompt that end the windows."""
TEMPERATURES = (0.5, 0.7, 0.85, 1.0)
_PIECE_FRAMES = 250


@torch.no_grad()
def price(model: CodePrior, codes: Codes) -> Tensor:
    """Price codes piece by piece, so that a long recording fits into memory.

    Args:
        model: a prior in eval mode.
        codes: top ``(batch, time, top_cells)`` and bottom ``(batch, time, bottom_cells)``.

    Returns:
        The bits of each code, float32, ``(batch, time, cells)``.
    """
    bins = model.join(codes)
    state, found = model.initial_state(model.to_input(bins[:, :0])), []
    for piece in bins.split(_PIECE_FRAMES, dim=1):
        logits, state = model.step(model.to_input(piece), state)
        found.append(model.distribution.log_prob(logits.movedim(1, -1), piece) / -math.log(2))
    return torch.cat(found, dim=1) if found else torch.zeros(bins.shape)


@dataclass(frozen=True)
class FreeRuns:
    """Beginnings of clips, and what is measured of their continuations.

    Attributes:
        coder: the model that decodes codes.
        true: the codes of the clips' first frames.
        other: log-mel of other frames of the same speakers, ``(frames, 80)`` in dB.
        level_db: the level of training speech, in dB.
        judge: prices codes, and knows no network.

    Example:
        >>> from causalcnn_book.priors.free_running import LAGS, PROMPT_FRAMES
        >>> PROMPT_FRAMES, LAGS[-1]  # so many frames are given, and so many are drawn
        (60, 200)
    """

    coder: CausalVQVAE2
    true: Codes
    other: Tensor
    level_db: float
    judge: CountModel

    @classmethod
    def of(cls, coder: CausalVQVAE2, features: FeatureCorpus, level_db: float, judge: CountModel) -> FreeRuns:
        """Take every second clip that is long enough, from its first frame on; the others are what it is compared with.

        Args:
            coder: the model that makes the codes.
            features: speakers that nothing was trained on.
            level_db: the level of training speech, in dB.
            judge: prices codes.

        Returns:
            The clips.

        Raises:
            ValueError: fewer than two clips are long enough.
        """
        frames = PROMPT_FRAMES + LAGS[-1]
        long = [i for i, clip in enumerate(features.clips) if clip.frames >= frames]
        if len(long) < 2:
            raise ValueError(f"{len(long)} clips have {frames} frames; two are needed, one to continue, one to compare")
        codes = CodeCorpus.of(coder, features)
        chosen = [codes[i] for i in long[::2]]
        true = Codes(*(torch.cat([c[level][:, :frames] for c in chosen]) for level in (0, 1)))
        other = torch.cat([features[i][:, PROMPT_FRAMES:frames].T for i in long[1::2]])
        return cls(coder, true, other.clamp(min=coder.config.floor_db), level_db, judge)

    @torch.no_grad()
    def measure(self, model: CodePrior, seed: int) -> dict[str, Any]:
        """Compare the true codes with what the model writes freely after the same beginnings.

        Args:
            model: a prior in eval mode.
            seed: the same seed draws the same codes.

        Returns:
            For ``"true"`` and ``"free"`` name → one number for each window: ``own_bits``, what the model charges for a
            code, reading the codes before it; ``judge_bits``, what the judge does; ``kept``, the share of codes that
            are those of the same cell one frame before; and of the decoded frames ``level_db``, ``silent``,
            ``contrast_db``, ``step_db`` and ``distance_db`` from other frames. Under ``"temperatures"`` the same of the
            last window, for each temperature; under ``"given_top"`` what :meth:`given_top` returns.
        """
        prompt = model.join(self.true)[:, :PROMPT_FRAMES]
        free = {}
        for temperature in TEMPERATURES:
            drawn = model.generate(LAGS[-1], rows=len(prompt), prompt=prompt, seed=seed, temperature=temperature)
            free[temperature] = self._by_window(model, model.split(torch.cat([prompt, drawn], dim=1)))
        last = {str(t): {name: values[-1] for name, values in found.items()} for t, found in free.items()}
        return {
            "true": self._by_window(model, self.true),
            "free": free[1.0],
            "temperatures": last,
            "given_top": self.given_top(model, seed),
        }

    @torch.no_grad()
    def given_top(self, model: CodePrior, seed: int) -> dict[str, float]:
        """Ask what is left to the bottom: draw bottom codes for true top codes.

        Args:
            model: a prior in eval mode.
            seed: the same seed draws the same codes.

        Returns:
            How far the decoded frames lie from those of the true codes, root mean square in dB: with bottom codes that
            are drawn (``drawn_db``), with the mean of the bottom's codebook (``top_alone_db``), and with the bottom
            codes of another clip (``foreign_db``).
        """
        prompt = Codes(*(level[:, :PROMPT_FRAMES] for level in self.true))
        top = self.true.top[:, PROMPT_FRAMES:]
        bottom = torch.cat([prompt.bottom, model.generate_bottom(top, prompt=prompt, seed=seed)], dim=1)
        ways = {
            "drawn_db": self.coder.decode(Codes(self.true.top, bottom)),
            "top_alone_db": self.coder.decode(self.true, only="top"),
            "foreign_db": self.coder.decode(Codes(self.true.top, self.true.bottom.roll(1, 0))),
        }
        target = self.coder.decode(self.true)
        return {
            name: round(float((y - target)[:, :, PROMPT_FRAMES:].square().mean().sqrt()), 3) for name, y in ways.items()
        }

    def _by_window(self, model: CodePrior, codes: Codes) -> dict[str, list[float]]:
        """What the frames after the prompt are like, window by window."""
        joined = model.join(codes)
        frames = self.coder.decode(codes)[:, 0].clamp(min=self.coder.config.floor_db)  # (rows, time, 80)
        rows = [Codes(*(level[i : i + 1] for level in codes)) for i in range(len(joined))]
        judged = torch.stack([torch.cat([torch.from_numpy(b) for b in self.judge.bits(row)], 1) for row in rows])
        values = {
            "own_bits": price(model, codes)[:, 1:],
            "judge_bits": judged[:, 1:],
            "kept": (joined[:, 1:] == joined[:, :-1]).float(),
            **{
                name: v[..., None] for name, v in frame_statistics(frames[:, 1:], frames[:, :-1], self.level_db).items()
            },
        }
        found: dict[str, list[float]] = {name: [] for name in (*values, "distance_db")}
        for start, end in zip((0, *LAGS[:-1]), LAGS, strict=True):
            window = slice(PROMPT_FRAMES + start - 1, PROMPT_FRAMES + end - 1)  # of pairs of frames
            for name, value in values.items():
                found[name].append(round(float(value[:, window].mean()), 4))
            found["distance_db"].append(round(distance_db(frames[:, 1:][:, window].flatten(0, 1), self.other), 4))
        return found
