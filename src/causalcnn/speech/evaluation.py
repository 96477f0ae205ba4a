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
