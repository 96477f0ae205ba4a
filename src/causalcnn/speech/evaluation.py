"""What a model of speech is scored on: speakers that no training corpus has, embedded and real."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from causalcnn.speech.digits import SpokenDigits
from causalcnn.speech.downloads import example_recording, is_local
from causalcnn.speech.embedded import EmbeddedSpeech
from causalcnn.speech.environment import DATA_VARIABLE, data_folder
from causalcnn.speech.feature_corpus import FeatureCorpus
from causalcnn.speech.feature_extraction import named_utterances
from causalcnn.speech.recordings import AudioFolder
from causalcnn.speech.sample_corpus import SampleCorpus
from causalcnn.speech.utterance import Utterance

__all__ = ["EVALUATION_MAX_HZ", "evaluation_sets", "evaluation_sounds"]

PROMPTS = "prompts-en"
"""The folder of recorded prompts inside ``CAUSALCNN_DATA``."""
CLIPS = ("libri1", "libri2", "libri3")

EVALUATION_MAX_HZ: dict[str, float] = {"embedded": 8_000, "prompts": 8_000, "librispeech": 8_000, "digits": 4_000}
"""The frequency in Hz up to which each set has energy to score, see :func:`~causalcnn.speech.bands_below`."""


def evaluation_sets(
    seconds: float = 120.0, *, speakers: int = 20, level_db: float | None = None, announce: bool = True
) -> dict[str, FeatureCorpus]:
    """Collect sets of clips for scoring, by name; none of their speakers is in a training corpus.

    - ``"embedded"``: the embedded test speakers; always there.
    - ``"prompts"``: recorded English prompts of one professional speaker, from the folder ``prompts-en`` of
      ``CAUSALCNN_DATA``.
    - ``"librispeech"``: librosa's three clips from LibriSpeech, three readers, CC BY 4.0.
    - ``"digits"``: the Free Spoken Digit Dataset, six speakers, CC BY-SA 4.0. It was recorded with 8,000 samples a
      second: score it on ``bands_below(4000)``.

    Recordings are taken from ``CAUSALCNN_DATA`` or the cache; nothing is downloaded. The features of all sets are kept
    in the cache.

    Args:
        seconds: about so many seconds of each set, in whole clips taken evenly; a shorter set is given whole.
        speakers: number of embedded test speakers, 1 to 200.
        level_db: the level in dB that every real speaker is brought to by one gain, as one sets a microphone: usually
            ``level_db`` of the training corpus. The embedded speakers get one gain together. Default: as recorded.
        announce: print which sets are missing, and how they can be had.

    Returns:
        The corpora by name; only those that are on this machine.

    Raises:
        FileNotFoundError: ``CAUSALCNN_DATA`` names a folder that is not there.
        ValueError: a recording there is damaged; ``seconds`` is not positive; ``speakers`` is outside 1 … 200;
            ``level_db`` is not finite.
        OSError: the features cannot be kept, because the disk is full for example.
        ImportError: the extra ``speech`` is not installed.
    """
    return {name: chosen for name, _, _, chosen in _sets(seconds, speakers, level_db, announce)}


def evaluation_sounds(
    seconds: float = 120.0, *, speakers: int = 20, level_db: float | None = None, announce: bool = True
) -> dict[str, SampleCorpus]:
    """Collect the sounds of :func:`evaluation_sets`, for models of samples: the same clips, at the same level.

    What a gain brings beyond full scale is clipped.

    Args:
        seconds: about so many seconds of each set, in whole clips taken evenly; a shorter set is given whole.
        speakers: number of embedded test speakers, 1 to 200.
        level_db: as for :func:`evaluation_sets`, in dB. Default: as recorded.
        announce: print which sets are missing, and how they can be had.

    Returns:
        The corpora by name; only those that are on this machine. The clips of a set are in the order of its source.

    Raises:
        FileNotFoundError: ``CAUSALCNN_DATA`` names a folder that is not there.
        ValueError: a recording there is damaged; ``seconds`` is not positive; ``speakers`` is outside 1 … 200;
            ``level_db`` is not finite.
        OSError: the features, by which clips and levels are found, cannot be kept.
        ImportError: the extra ``speech`` is not installed.
    """
    sounds = {}
    for name, source, recorded, chosen in _sets(seconds, speakers, level_db, announce):
        before = {clip.name: clip.level_db for clip in recorded.clips}
        clips = {clip.name: clip for clip in chosen.clips}
        taken = [
            replace(
                utterance,
                samples=np.clip(utterance.samples * 10 ** ((clips[each].level_db - before[each]) / 20), -1, 1),
                speaker=clips[each].speaker,
            )
            for each, utterance in named_utterances(source)
            if each in clips
        ]
        sounds[name] = SampleCorpus.of(taken)
    return sounds


def _sets(
    seconds: float, speakers: int, level_db: float | None, announce: bool
) -> Iterator[tuple[str, Iterable[Utterance], FeatureCorpus, FeatureCorpus]]:
    """For each set its name, its source, its features as recorded, and those that are chosen, at their level."""
    embedded = EmbeddedSpeech("test", speakers=speakers, seconds=max(seconds, 3.0 * speakers))
    sources: dict[str, tuple[Iterable[Utterance], str | None]] = {"embedded": (embedded, None), **_recordings()}
    missing = [name for name in EVALUATION_MAX_HZ if name not in sources]
    if announce and missing:
        print(
            f"Scored without {', '.join(missing)}: these recordings are not on this machine. Set {DATA_VARIABLE} to "
            "a folder that has them, or get them by download('libri1'), … and download('free-spoken-digits')."
        )
    for name, (source, speaker_of) in sources.items():
        recorded = chosen = FeatureCorpus.of(source, speaker_of=speaker_of)
        if level_db is not None:
            chosen = recorded.at_level(level_db, per="corpus" if name == "embedded" else "speaker")
        yield name, source, recorded, chosen.subset(seconds)


def _recordings() -> dict[str, tuple[Iterable[Utterance], str | None]]:
    """The sources of real speech that are on this machine, each with who speaks, where the source does not know it."""
    sources: dict[str, tuple[Iterable[Utterance], str | None]] = {}
    folder = data_folder()
    if folder is not None and (folder / PROMPTS).is_dir():
        sources["prompts"] = (AudioFolder(folder / PROMPTS), "prompts")
    if all(is_local(clip) for clip in CLIPS):
        sources["librispeech"] = ([example_recording(clip) for clip in CLIPS], None)
    if is_local(SpokenDigits.NAME):
        sources["digits"] = (SpokenDigits(), None)
    return sources
