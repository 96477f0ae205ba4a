"""Speech: corpora, the log-mel front end and its inversion, recordings, playback.

>>> from causalcnn.speech import LogMel, synthesize
>>> front_end = LogMel()
>>> features = front_end(synthesize("Time runs from left to right.").tensor())
>>> features.shape[1], front_end.field.size
(80, 640)

Embedded speech (``synthesize``, ``EmbeddedSpeech``, ``conversation``) is made on the spot and downloads nothing;
``example_recording``, ``download`` and ``AudioFolder`` bring recordings. What needs librosa, soundfile, pooch or
espeak-ng imports it when it is used and names the extra ``speech`` where it is missing.
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
from causalcnn.speech.evaluation import EVALUATION_MAX_HZ, evaluation_sets
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
from causalcnn.speech.minmax_bins import MinMaxBins
from causalcnn.speech.phones import PHONES, arpabet
from causalcnn.speech.playback import Player, Players, player, players
from causalcnn.speech.recordings import AudioFolder, UnreadableRecording, read_recording
from causalcnn.speech.running_bins import RunningBins
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
    "LogMel",
    "MinMaxBins",
    "NoNetworkError",
    "Player",
    "Players",
    "RunningBins",
    "RunningLevel",
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
    "example_recording",
    "frame_center_seconds",
    "frame_labels",
    "frame_level_db",
    "griffin_lim",
    "mel_filterbank",
    "num_frames",
    "player",
    "players",
    "random_sentence",
    "read_recording",
    "recording_or_embedded",
    "speech_level_db",
    "speech_mask",
    "synthesize",
    "to_1d",
    "to_2d",
]
