"""One sentence through the models of the table of rate and distortion: what the figure of the rates shows and plays.

    causalcnn experiment rate-sentence --models runs --out book/measurements/rate-sentence.json

It takes the trained networks that ``causalcnn experiment rate-distortion --runs runs`` has left, of the first seed, and
the rates and errors of its table. The voice is one that no model has heard.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models import SpectrogramConfig, load_model
from causalcnn.speech import LogMel, synthesize
from causalcnn_book.autoencoders.coders import CodeCoder, Coder, ComponentCoder
from causalcnn_book.autoencoders.frame_bins import as_bins
from causalcnn_book.autoencoders.plots import rate_distortion_points
from causalcnn_book.autoencoders.pricing import PrincipalComponents
from causalcnn_book.autoencoders.rate_distortion import BETAS, NUM_CODES, STEPS_DB, coder_of
from causalcnn_book.autoencoders.task import Task
from causalcnn_book.experiment import Experiment, Results, option

__all__ = ["SENTENCE", "SHOWN", "SPEAKER", "RateSentence"]

SENTENCE, SPEAKER = "Nobody knows what I shall say.", 1203
SHOWN: dict[str, dict[str, str]] = {
    **{f"vae {beta:g}": {"rounded 1": f"β {beta:g}"} for beta in BETAS},
    **{f"vq {codes}": {"codes": f"{codes} codewords"} for codes in NUM_CODES},
    "vq 2 levels": {"codes": "2 × 512 codewords"},
    "autoencoder": {"step 1": "steps of 1 deviation", "step 4": "steps of 4 deviations"},
    "codec": {"codes": "the book's codec"},
    "pca": {"step 8 dB": "steps of 8 dB", "step 32 dB": "steps of 32 dB"},
}
"""Row of the table → label of a point → what the figure calls it."""


@dataclass
class RateSentence(Experiment):
    """What do models of several rates give back of one sentence?

    Rows are those of ``rate-distortion`` whose models are shown. There is one seed and no spread: a sentence is not
    averaged. Each takes some seconds on one core, the first one longer.

    Attributes:
        name: the command's name.
        spread: why there is none.
        rows: the models.
        prerequisite: what trains the models and writes their table.
        models: the folder of the trained networks.
        coder: the model of the codec.
        measured: the table of rates and errors.

    Example:
        >>> from causalcnn_book.autoencoders.rate_sentence import RateSentence
        >>> RateSentence.rows[:2], RateSentence.seeds
        (('vae 0.25', 'vae 1'), (0,))
    """

    name = "rate-sentence"
    spread = "none: one sentence is not averaged"
    rows = tuple(SHOWN)
    prerequisite = "causalcnn experiment rate-distortion --runs runs --out book/measurements/rate-distortion.json"

    models: Path = option(Path("runs"), "the folder of the trained networks")
    coder: Path = option(Path("book/checkpoints/vqvae2-tiny"), "the model of the codec")
    measured: Path = option(Path("book/measurements/rate-distortion.json"), "the table of rates and errors")

    @cached_property
    def task(self) -> Task:
        """The speech that steps and components are fitted to."""
        return Task.usual()

    @cached_property
    def sentence(self) -> Tensor:
        """The frames of the sentence in dB, ``(1, 80, frames)``."""
        return LogMel()(synthesize(SENTENCE, speaker=SPEAKER).tensor()).clamp(min=SpectrogramConfig.floor_db)

    @override
    @torch.no_grad()
    def measure(self, row: str, seed: int) -> dict[str, str]:
        """Send the sentence through a model at each of the settings that are shown.

        Args:
            row: one of :attr:`rows`.
            seed: that of the training.

        Returns:
            Label → frames, as :func:`~causalcnn_book.autoencoders.as_bins` writes them.
        """
        fitted = self.task.fitted
        if row == "pca":
            coder: Coder = ComponentCoder(
                PrincipalComponents(torch.cat([x[0].T[speaks] for x, speaks in fitted])), STEPS_DB
            )
        elif row == "codec":
            coder = CodeCoder(load_model(self.coder)[0])
        else:
            coder = coder_of(load_model(self.models / f"{row.replace(' ', '-')}-{seed}")[0], seed)
        points = [point for point in coder.points(fitted) if point.label in SHOWN[row]]
        return {point.label: as_bins(point.decoded(self.sentence)[0]) for point in points}

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """List the models with what was measured of them.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The ``sentence`` and its ``speaker``, its ``frames``, and ``models``, each as
            :meth:`~causalcnn_book.autoencoders.RateExplorer.of` takes it; rate and error are those on unheard embedded
            voices.
        """
        series = rate_distortion_points(json.loads(self.measured.read_text("utf8")), "embedded")
        known = {name: (family, rate, error) for family, found in series.items() for rate, error, name in found}
        models = []
        for row, found in results.items():
            for label, frames in found[0].items():
                family, rate, error = known[f"{row}, {label}"]
                models.append(
                    {"family": family, "label": SHOWN[row][label], "rate": rate, "error": error, "frames": frames}
                )
        return {"sentence": SENTENCE, "speaker": SPEAKER, "frames": as_bins(self.sentence[0]), "models": models}
