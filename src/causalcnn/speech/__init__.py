"""Speech: corpora, the log-mel front end and its inversion, recordings, playback.

>>> from causalcnn.speech import LogMel, say
>>> front_end = LogMel()
>>> features = front_end(say("Time runs from left to right.").tensor())
>>> features.shape[1], front_end.field.size
(80, 640)

Embedded speech (``say``, ``EmbeddedSpeech``, ``conversation``) is made on the spot and downloads nothing;
``example``, ``download`` and ``Folder`` bring recordings. What needs librosa, soundfile, pooch or espeak-ng
imports it when it is used and names the extra ``speech`` where it is missing.
"""

from __future__ import annotations

from causalcnn.speech.bins import UniformBins
from causalcnn.speech.conversations import Conversation, Turn, conversation
from causalcnn.speech.digits import SpokenDigits
from causalcnn.speech.downloads import (
    SOURCES,
    NoNetworkError,
    Source,
    download,
    example,
    speech_or_embedded,
)
from causalcnn.speech.embedded import EmbeddedSpeech
from causalcnn.speech.evaluation import HIGHEST_HZ_OF, evaluation_sets
from causalcnn.speech.features import Batch, Clip, FeatureCorpus
from causalcnn.speech.front_end import (
    FRAMES_PER_SECOND,
    HOP_SAMPLES,
    MELS,
    RATE_HZ,
    WINDOW_SAMPLES,
    LogMel,
    bands_below,
    frame_centre_seconds,
    frames_of,
    mel_filterbank,
    to_1d,
    to_2d,
)
from causalcnn.speech.inversion import griffin_lim
from causalcnn.speech.level import RunningLevel, frame_level_db, speaking, speech_level_db
from causalcnn.speech.minmax_bins import MinMaxBins
from causalcnn.speech.phones import PHONES, arpabet
from causalcnn.speech.playback import Player, Players, player, players
from causalcnn.speech.recordings import Folder, UnreadableRecording, read_recording
from causalcnn.speech.running_bins import RunningBins
from causalcnn.speech.sentences import READ_SENTENCES, sentence
from causalcnn.speech.speakers import SPEAKERS_OF, Speaker
from causalcnn.speech.utterance import Span, Utterance, labels_of_frames
from causalcnn.speech.variation import NO_VARIATION, Variation, vary
from causalcnn.speech.voices import say

__all__ = [
    "FRAMES_PER_SECOND",
    "HIGHEST_HZ_OF",
    "HOP_SAMPLES",
    "MELS",
    "NO_VARIATION",
    "PHONES",
    "RATE_HZ",
    "READ_SENTENCES",
    "SOURCES",
    "SPEAKERS_OF",
    "WINDOW_SAMPLES",
    "Batch",
    "Clip",
    "Conversation",
    "EmbeddedSpeech",
    "FeatureCorpus",
    "Folder",
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
    "Variation",
    "arpabet",
    "bands_below",
    "conversation",
    "download",
    "evaluation_sets",
    "example",
    "frame_centre_seconds",
    "frame_level_db",
    "frames_of",
    "griffin_lim",
    "labels_of_frames",
    "mel_filterbank",
    "player",
    "players",
    "read_recording",
    "say",
    "sentence",
    "speaking",
    "speech_level_db",
    "speech_or_embedded",
    "to_1d",
    "to_2d",
    "vary",
]
