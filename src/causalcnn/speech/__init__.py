"""Speech: recordings and embedded speech, log-mel features and their bins, corpora for training, playback.

Samples are mono float32 in −1 … 1 with :data:`RATE_HZ` = 16,000 a second. Features are log-mel in dB,
``(batch, 80, time)``, with :data:`FRAMES_PER_SECOND` = 100 frames a second.

What to use for what:

- **Speech without a download**, made by espeak-ng with exact phones and words: :func:`synthesize` for a sentence,
  :class:`EmbeddedSpeech` for a corpus, :func:`conversation` for two speakers who talk with each other.
- **Recordings**: :func:`read_recording` for a file, :func:`read_blocks` for a long one, :class:`AudioFolder` for a
  folder. :func:`example_recording`,
  :class:`SpokenDigits` and :func:`download` get those in :data:`SOURCES`, each with its licence;
  :func:`recording_or_embedded` falls back to embedded speech where there is no network. All of these give an
  :class:`Utterance` or several: samples, rate, labels, speaker, source.
- **Features**: :class:`LogMel`, causal or centred. Back to samples: :class:`OnlineGriffinLim` while the frames arrive,
  :func:`griffin_lim` from a whole recording. What a frame says of the next sample: :func:`fit_to_frames`.
  :func:`frame_labels`, :func:`num_frames` and :func:`frame_center_seconds` say which label belongs to which frame.
- **A corpus to train and score on**: :class:`FeatureCorpus` keeps features on disk and gives batches;
  :func:`augment` changes batches as other microphones and rooms would; :func:`evaluation_sets` collects held-out
  speech.
- **The level**: :func:`speech_level_db` and :func:`speech_mask` measure whole clips; :class:`RunningLevel` is a gain
  that knows the past only.
- **Whole numbers instead of dB**: :class:`UniformBins` with a fixed range, :class:`RunningBins` with one that follows
  the speaker, and for comparison :class:`MinMaxBins`, which reads the future.
- **Samples instead of features**: :class:`SampleCorpus` keeps sounds and gives batches of them;
  :func:`mu_law_encode` and :func:`mu_law_decode` turn samples into 256 bins and back.
- **Listening on a page**: :func:`player`, and :func:`players` for sounds side by side.

Three environment variables say where data lie: ``CAUSALCNN_DATA``, a folder of recordings that is only read;
``CAUSALCNN_CACHE``, the folder for downloads and features (default: the user's cache folder); and
``CAUSALCNN_OFFLINE=1``, which forbids the network. What needs librosa, soundfile, soxr, pooch or espeak-ng imports it
when it is used, and names the extra ``speech`` where it is missing.

Example:
    >>> from causalcnn.speech import LogMel, synthesize
    >>> front_end = LogMel()
    >>> features = front_end(synthesize("Time runs from left to right.").tensor())
    >>> features.shape[1], front_end.field.size
    (80, 640)
"""

from __future__ import annotations

from causalcnn.speech.augmentation import NO_AUGMENTATION, Augmentation, augment
from causalcnn.speech.conversations import Conversation, Turn, conversation
from causalcnn.speech.digits import SpokenDigits
from causalcnn.speech.downloads import (
    SOURCES,
    NoNetworkError,
    Source,
    download,
    example_recording,
    recording_or_embedded,
)
from causalcnn.speech.embedded import EmbeddedSpeech
from causalcnn.speech.evaluation import EVALUATION_MAX_HZ, evaluation_sets, evaluation_sounds
from causalcnn.speech.feature_corpus import Batch, Clip, FeatureCorpus
from causalcnn.speech.front_end import (
    FLOOR_DB,
    FRAMES_PER_SECOND,
    HIGHEST_HZ,
    HOP_SAMPLES,
    LOWEST_HZ,
    MELS,
    N_FFT,
    RATE_HZ,
    WINDOW_SAMPLES,
    LogMel,
    bands_below,
    frame_center_seconds,
    mel_filterbank,
    num_frames,
    to_1d,
    to_2d,
)
from causalcnn.speech.inversion import griffin_lim
from causalcnn.speech.level import RunningLevel, frame_level_db, speech_level_db, speech_mask
from causalcnn.speech.linear_prediction import FrameFit, fit_to_frames
from causalcnn.speech.minmax_bins import MinMaxBins
from causalcnn.speech.mu_law import mu_law_decode, mu_law_edges, mu_law_encode
from causalcnn.speech.online_inversion import OnlineGriffinLim, frame_magnitudes
from causalcnn.speech.phones import PHONES, arpabet
from causalcnn.speech.playback import Player, Players, player, players
from causalcnn.speech.recordings import AudioFolder, UnreadableRecording, read_blocks, read_recording
from causalcnn.speech.running_bins import RunningBins
from causalcnn.speech.sample_corpus import SampleBatch, SampleCorpus
from causalcnn.speech.sentences import READ_SENTENCES, random_sentence
from causalcnn.speech.speakers import SPLIT_SPEAKERS, Speaker
from causalcnn.speech.synthesis import synthesize
from causalcnn.speech.uniform_bins import UniformBins
from causalcnn.speech.utterance import Span, Utterance, frame_labels

__all__ = [
    "EVALUATION_MAX_HZ",
    "FLOOR_DB",
    "FRAMES_PER_SECOND",
    "HIGHEST_HZ",
    "HOP_SAMPLES",
    "LOWEST_HZ",
    "MELS",
    "NO_AUGMENTATION",
    "N_FFT",
    "PHONES",
    "RATE_HZ",
    "READ_SENTENCES",
    "SOURCES",
    "SPLIT_SPEAKERS",
    "WINDOW_SAMPLES",
    "AudioFolder",
    "Augmentation",
    "Batch",
    "Clip",
    "Conversation",
    "EmbeddedSpeech",
    "FeatureCorpus",
    "FrameFit",
    "LogMel",
    "MinMaxBins",
    "NoNetworkError",
    "OnlineGriffinLim",
    "Player",
    "Players",
    "RunningBins",
    "RunningLevel",
    "SampleBatch",
    "SampleCorpus",
    "Source",
    "Span",
    "Speaker",
    "SpokenDigits",
    "Turn",
    "UniformBins",
    "UnreadableRecording",
    "Utterance",
    "arpabet",
    "augment",
    "bands_below",
    "conversation",
    "download",
    "evaluation_sets",
    "evaluation_sounds",
    "example_recording",
    "fit_to_frames",
    "frame_center_seconds",
    "frame_labels",
    "frame_level_db",
    "frame_magnitudes",
    "griffin_lim",
    "mel_filterbank",
    "mu_law_decode",
    "mu_law_edges",
    "mu_law_encode",
    "num_frames",
    "player",
    "players",
    "random_sentence",
    "read_blocks",
    "read_recording",
    "recording_or_embedded",
    "speech_level_db",
    "speech_mask",
    "synthesize",
    "to_1d",
    "to_2d",
]
