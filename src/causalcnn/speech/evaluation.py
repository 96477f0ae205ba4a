"""What a model of speech is scored on: speakers that no training corpus has, embedded and real."""

from __future__ import annotations

from causalcnn.speech.digits import SpokenDigits
from causalcnn.speech.downloads import example_recording, is_local
from causalcnn.speech.embedded import EmbeddedSpeech
from causalcnn.speech.environment import DATA_VARIABLE, data_folder
from causalcnn.speech.feature_corpus import FeatureCorpus
from causalcnn.speech.recordings import AudioFolder

__all__ = ["EVALUATION_MAX_HZ", "evaluation_sets"]

PROMPTS = "prompts-en"
"""The folder of recorded prompts inside ``CAUSALCNN_DATA``."""
CLIPS = ("libri1", "libri2", "libri3")

EVALUATION_MAX_HZ: dict[str, float] = {"embedded": 8_000, "prompts": 8_000, "librispeech": 8_000, "digits": 4_000}
"""Up to which frequency each set has energy to score, see :func:`~causalcnn.speech.bands_below`."""


def evaluation_sets(
    seconds: float = 120.0, *, speakers: int = 20, level_db: float | None = None, announce: bool = True
) -> dict[str, FeatureCorpus]:
    """Sets of clips for scoring, by name; none of their speakers is in a training corpus.

    ``"embedded"``: the embedded test speakers; always there. ``"prompts"``: recorded English prompts, one
    professional speaker. ``"librispeech"``: librosa's three clips, three readers. ``"digits"``: the Free
    Spoken Digit Dataset, six speakers, 8 kHz: score it on ``bands_below(4000)``. The recordings are taken from
    ``CAUSALCNN_DATA`` or the cache; nothing is downloaded.

    Args:
        seconds: about so much of each set, taken evenly.
        speakers: number of embedded test speakers.
        level_db: the level that every real speaker is brought to by one gain, as a microphone is set: the
            training corpus's ``level_db``. The embedded speakers get one gain together. Default: as recorded.
        announce: print which sets are missing, and how they can be had.

    Returns:
        The corpora by name; only those that are on this machine.

    Raises:
        FileNotFoundError: ``CAUSALCNN_DATA`` names no folder.
        ValueError: a recording there is damaged.
    """
    embedded = FeatureCorpus.of(EmbeddedSpeech("test", speakers=speakers, seconds=max(seconds, 3.0 * speakers)))
    sets = {"embedded": embedded if level_db is None else embedded.at_level(level_db)}
    for name, corpus in _recordings().items():
        sets[name] = corpus if level_db is None else corpus.at_level(level_db, per="speaker")
    missing = [name for name in EVALUATION_MAX_HZ if name not in sets]
    if announce and missing:
        print(
            f"Scored without {', '.join(missing)}: these recordings are not on this machine. Set {DATA_VARIABLE} to "
            "a folder that has them, or get them by download('libri1'), … and download('free-spoken-digits')."
        )
    return {name: corpus.subset(seconds) for name, corpus in sets.items()}


def _recordings() -> dict[str, FeatureCorpus]:
    """The sets of real speech that are on this machine."""
    sets = {}
    folder = data_folder()
    if folder is not None and (folder / PROMPTS).is_dir():
        sets["prompts"] = FeatureCorpus.of(AudioFolder(folder / PROMPTS), speaker_of="prompts")
    if all(is_local(clip) for clip in CLIPS):
        sets["librispeech"] = FeatureCorpus.of([example_recording(clip) for clip in CLIPS])
    if is_local(SpokenDigits.NAME):
        sets["digits"] = FeatureCorpus.of(SpokenDigits())
    return sets
