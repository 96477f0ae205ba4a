"""What the coders are trained, fitted and scored on: speech of voices that are apart from each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from causalcnn.models import SpectrogramConfig
from causalcnn.speech import (
    HOP_SAMPLES,
    RATE_HZ,
    EmbeddedSpeech,
    FeatureCorpus,
    evaluation_sets,
    evaluation_sounds,
    speech_mask,
)
from causalcnn_book.autoencoders.coders import Clip
from causalcnn_book.experiment import refuse_shared

__all__ = ["Task"]

SETS = ("embedded", "prompts", "librispeech")
HEARD, LONGEST_SECONDS, SHORTEST_SECONDS = 2, 4, 2
"""Clips of each set that are made sound of, and how much of them."""


@dataclass(frozen=True)
class Task:
    """What every row is trained, fitted and scored on.

    Attributes:
        corpus: speech to train on.
        fitted: clips of it, for the tables of prices.
        sets: clips of voices that were not trained on, by the name of their set.
        sounds: some of these clips as samples, by set, ``(time,)`` each.
        about: all in words.
    """

    corpus: FeatureCorpus
    fitted: Sequence[Clip]
    sets: Mapping[str, Sequence[Clip]]
    sounds: Mapping[str, Sequence[Tensor]]
    about: str

    @classmethod
    def usual(
        cls, *, speakers: int = 40, seconds: float = 3600.0, fitted_seconds: float = 600.0, scored_seconds: float = 60.0
    ) -> Task:
        """Make an hour of embedded speech to train on; unheard embedded voices and what real speech there is to score.

        Args:
            speakers: how many there are to train on.
            seconds: seconds of their speech.
            fitted_seconds: how many of these the tables of prices are fitted to.
            scored_seconds: about how many seconds of each set are scored.

        Returns:
            The task.

        Raises:
            ImportError: the extra ``speech`` is not installed.
        """
        source = EmbeddedSpeech("train", speakers=speakers, seconds=seconds)
        corpus = FeatureCorpus.of(source)
        sets = evaluation_sets(scored_seconds, level_db=corpus.level_db)
        sounds = evaluation_sounds(scored_seconds, level_db=corpus.level_db, announce=False)
        refuse_shared(corpus, sets["embedded"])
        return cls(
            corpus,
            clips_of(corpus.subset(fitted_seconds)),
            {name: clips_of(sets[name]) for name in SETS if name in sets},
            {name: heard(sounds[name]) for name in SETS if name in sounds},
            f"{source!r}, prices fitted to {fitted_seconds:g} s of it, scored on {scored_seconds:g} s of each set",
        )


def clips_of(corpus: FeatureCorpus) -> list[Clip]:
    """The frames of each clip at the models' floor, and which of them speak."""
    floor_db = SpectrogramConfig.floor_db
    return [(x.float().clamp(min=floor_db)[None].contiguous(), speech_mask(x.float())) for x in corpus]


def heard(sounds: Iterable[Tensor]) -> list[Tensor]:
    """The first clips that are long enough, each of whole hops and not too long."""
    long = [x for x in sounds if len(x) >= SHORTEST_SECONDS * RATE_HZ][:HEARD]
    return [x[: min(len(x), LONGEST_SECONDS * RATE_HZ) // HOP_SAMPLES * HOP_SAMPLES] for x in long]
