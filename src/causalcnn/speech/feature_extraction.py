"""From utterances to the entries and arrays of a feature corpus, and the name of the file that they are kept in."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalcnn.speech import front_end
from causalcnn.speech.disk_cache import Entry, Piece
from causalcnn.speech.environment import cache_folder
from causalcnn.speech.front_end import FLOOR_DB, HOP_SAMPLES, MELS, LogMel
from causalcnn.speech.level import LOUD_BELOW_DB, SILENT_DB, frame_level_db, mean_level_db, within
from causalcnn.speech.recordings import FULL_SCALE_LIMIT, joined
from causalcnn.speech.utterance import Utterance

_VERSION = 4
"""Raise it when the features of the same samples change: old caches are then left alone."""

_PIECE_FRAMES = 250
"""Frames computed at a time: a transform of more needs more memory than the block of samples that it is made of."""


def extract_features(source: Iterable[Utterance]) -> Iterator[Piece]:
    """Compute the features of clip after clip; of a recording in a folder no more than a block is held beside them.

    Args:
        source: utterances; one with a method ``named`` names its clips, else they are numbered.

    Yields:
        The fields of a :class:`~causalcnn.speech.Clip`, and the frames of that clip in dB, ``(frames, 80)``.

    Raises:
        ValueError: no clip; a clip with NaN or infinity, with samples that are far outside −1 … 1, with another rate
            than 16,000 Hz, or shorter than one hop of 10 ms.
    """
    empty = True
    for name, speaker, (features, level) in _features_of_clips(source):
        empty = False
        if not bool(torch.isfinite(level).all()):
            raise ValueError(f"{name!r} has NaN or infinite samples; write it again from the original")
        entry = {
            "name": name,
            "speaker": speaker,
            "frames": len(features),
            "level_db": float(mean_level_db(level)),
            "loud_frames": int(within(LOUD_BELOW_DB, level).sum()) if bool((level > SILENT_DB).any()) else 0,
        }
        yield entry, features
    if empty:
        raise ValueError("the corpus has no clip: there is nothing to make features of")


def _features_of_clips(source: Iterable[Utterance]) -> Iterator[tuple[str, str, tuple[NDArray[np.float32], Tensor]]]:
    """The name and the speaker of each clip, and what :func:`features_of` makes of its samples."""
    if hasattr(source, "each"):
        for name, made in source.each(features_of):
            yield name, "", made
        return
    for name, utterance in named_utterances(source):
        if utterance.rate_hz != front_end.RATE_HZ:
            raise ValueError(f"{name!r} has {utterance.rate_hz} samples a second; read_recording brings it to 16,000")
        if len(utterance) < HOP_SAMPLES:
            raise ValueError(f"{name!r} has {len(utterance)} samples; one frame needs {HOP_SAMPLES} (10 ms)")
        peak = max(float(utterance.samples.max()), -float(utterance.samples.min()))
        if FULL_SCALE_LIMIT < peak < np.inf:
            raise ValueError(
                f"{name!r} has samples that reach {peak:.6g}, and full scale is 1; divide integers by 32768"
            )
        yield name, utterance.speaker, features_of([utterance.samples])


@torch.no_grad()
def features_of(blocks: Iterable[NDArray[np.floating]]) -> tuple[NDArray[np.float32], Tensor]:
    """Compute the features of the causal front end, piece by piece.

    Args:
        blocks: the samples, one block after the other, ``(samples,)``.

    Returns:
        The features in dB, ``(frames, 80)`` float32, and the level of each frame in dB, ``(frames,)`` float64.
    """
    layer, levels = LogMel(), []
    state = layer.initial_state(torch.zeros(1, 0))

    def pieces() -> Iterator[NDArray[np.float32]]:
        nonlocal state
        for block in blocks:
            samples = torch.from_numpy(np.array(block, dtype=np.float32))[None]
            for piece in torch.split(samples, _PIECE_FRAMES * HOP_SAMPLES, dim=1):
                y, state = layer.step(piece, state)
                levels.append(frame_level_db(y[0].double()))
                yield y[0].T.numpy()

    return joined(pieces()), torch.cat(levels)


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
        digest.update(os.fsencode(f"{name} {utterance.speaker} {utterance.rate_hz} {len(utterance)}\n"))
        digest.update(np.ascontiguousarray(utterance.samples, dtype="<f4").tobytes())
    return f"utterances {digest.hexdigest()}"
