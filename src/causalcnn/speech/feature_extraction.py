"""From utterances to the entries and arrays of a feature corpus, and the name of the file that they are kept in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from causalcnn.speech import front_end
from causalcnn.speech.disk_cache import Entry, Piece
from causalcnn.speech.environment import cache_folder
from causalcnn.speech.front_end import FLOOR_DB, HOP_SAMPLES, MELS, LogMel
from causalcnn.speech.level import LOUD_BELOW_DB, speech_level_db, speech_mask
from causalcnn.speech.utterance import Utterance

_VERSION = 3
"""Raise it when the features of the same samples change: old caches are then left alone."""

_PIECE_FRAMES = 3_000
"""Frames computed at a time: the features of a recording of hours need no more memory than those of 30 s."""


def extract_features(source: Iterable[Utterance]) -> Iterator[Piece]:
    """Compute the features of clip after clip.

    Args:
        source: utterances; one with a method ``named`` names its clips, else they are numbered.

    Yields:
        The fields of a :class:`~causalcnn.speech.Clip`, and the frames of that clip in dB, ``(frames, 80)``.

    Raises:
        ValueError: no clip; a clip with NaN, with another rate than 16,000 Hz, or shorter than one hop of 10 ms.
    """
    empty = True
    for name, utterance in named_utterances(source):
        empty = False
        if utterance.rate_hz != front_end.RATE_HZ:
            raise ValueError(f"{name!r} has {utterance.rate_hz} samples a second; read_recording brings it to 16,000")
        if len(utterance) < HOP_SAMPLES:
            raise ValueError(f"{name!r} has {len(utterance)} samples; one frame needs {HOP_SAMPLES} (10 ms)")
        features = features_of(utterance)
        if not bool(torch.isfinite(features).all()):
            raise ValueError(f"{name!r} has NaN or infinite samples; write it again from the original")
        entry = {
            "name": name,
            "speaker": utterance.speaker,
            "frames": features.shape[1],
            "level_db": float(speech_level_db(features.double())),
            "loud_frames": int(speech_mask(features, below_db=LOUD_BELOW_DB).sum()),
        }
        yield entry, features.T.numpy()
    if empty:
        raise ValueError("the corpus has no clip: there is nothing to make features of")


@torch.no_grad()
def features_of(utterance: Utterance) -> Tensor:
    """Compute the features of the causal front end, piece by piece: ``(80, frames)`` float32 in dB."""
    layer = LogMel()
    samples = utterance.tensor()
    state, pieces = layer.initial_state(samples), []
    for piece in torch.split(samples, _PIECE_FRAMES * HOP_SAMPLES, dim=1):
        y, state = layer.step(piece, state)
        pieces.append(y)
    return torch.cat(pieces, dim=2)[0]


def named_utterances(source: Iterable[Utterance]) -> Iterator[tuple[str, Utterance]]:
    """Go through the utterances of a source with their names: those that it gives them, else their numbers."""
    if hasattr(source, "named"):
        yield from source.named()
    else:
        for number, utterance in enumerate(source):
            yield f"{number:06d}", utterance


def clip_speaker(entry: Entry, speaker_of: str | Callable[[str], str] | None) -> str:
    """Say who speaks in a clip, see :meth:`~causalcnn.speech.FeatureCorpus.of`."""
    if isinstance(speaker_of, str):
        return speaker_of
    if speaker_of is not None:
        return speaker_of(entry["name"])
    folder = entry["name"].rpartition("/")[0].rpartition("/")[2]
    return entry["speaker"] or folder or "unknown"


def cache_path(source: Iterable[Utterance]) -> Path:
    """Name the file for the features of a source: a readable beginning, and a digest of all that they depend on."""
    identity = source.identity() if hasattr(source, "identity") else _of_samples(source)
    settings: list[float] = [_VERSION, front_end.RATE_HZ, front_end.WINDOW_SAMPLES, front_end.N_FFT, HOP_SAMPLES, MELS]
    settings += [front_end.LOWEST_HZ, front_end.HIGHEST_HZ, FLOOR_DB]
    digest = hashlib.sha256(json.dumps([settings, identity]).encode()).hexdigest()[:16]
    label = re.sub(r"[^a-z0-9]+", "-", identity.lower())[:40].strip("-")
    return cache_folder() / "features" / f"{label}-{digest}.cache"


def _of_samples(source: Iterable[Utterance]) -> str:
    """Give an identity to utterances without a method ``identity``: a digest of their samples."""
    digest = hashlib.sha256()
    for name, utterance in named_utterances(source):
        digest.update(f"{name} {utterance.speaker} {utterance.rate_hz} {len(utterance)}\n".encode())
        digest.update(np.ascontiguousarray(utterance.samples, dtype="<f4").tobytes())
    return f"utterances {digest.hexdigest()}"
