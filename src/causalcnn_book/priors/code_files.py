"""How many bytes is a minute of speech, and what is still understood? Files of codes beside Opus and FLAC.

    causalcnn experiment code-files --out book/measurements/code-files.json --twin _build/integer-code-prior-float

All get the same sounds, at the level of the training speech, of speakers that no model has heard. The clips of a set
are one recording, so that heads and headers weigh as in a minute of speech; what is understood is measured clip by
clip. Rates are those of the files as they lie on the disk. The twin is the prior in floating point, trained by the
command of the prior's card, with ``--set rounded=false`` and another ``--out``.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from causalcnn._extras import require
from causalcnn.codec import CodeReader, SpeechCodec, pack_codes, unpack_codes
from causalcnn.models import Codes, IntegerCodePrior, load_model
from causalcnn.nn import CausalSequential
from causalcnn.speech import (
    HOP_SAMPLES,
    RATE_HZ,
    EmbeddedSpeech,
    FeatureCorpus,
    LogMel,
    OnlineGriffinLim,
    SampleCorpus,
    evaluation_sounds,
    to_2d,
)
from causalcnn_book.experiment import Experiment, Results, option

__all__ = ["CodeFiles"]

SETS = ("embedded", "prompts", "librispeech")
OPUS_KBPS = (6, 8, 12, 16)
SHORTEST_SECONDS = 2
"""Of a word alone the measure of what is understood says nothing."""
Sound = NDArray[np.float32]
T = TypeVar("T")


@dataclass
class CodeFiles(Experiment):
    """How many bytes is a minute of speech, and what is still understood? Files of codes beside Opus and FLAC.

    Rows are files of codes, Opus at its lowest rates, FLAC of 16 bits, and for comparison the sound that the phase
    method makes of frames from which no codes were made: files of codes cannot be understood better. Where ``opusenc``
    is not installed, its rows say so.

    Attributes:
        name: the command's name.
        spread: that over the clips.
        rows: what makes files.
        set_seconds: about how many seconds of each set are used.
        model: the model that makes codes.
        prior: its prior in integers.
        twin: the prior's twin in floating point, if there is one.

    Example:
        >>> from causalcnn_book.priors.code_files import CodeFiles
        >>> CodeFiles().rows[:2]
        ('codes', 'opus 6')
    """

    name = "code-files"
    spread = "median and quartiles over the clips of a set"
    rows = ("codes", *(f"opus {kbps}" for kbps in OPUS_KBPS), "flac", "frames")

    set_seconds: float = option(60.0, "of each set, in whole clips")
    model: Path = option(Path("book/checkpoints/vqvae2-tiny"), "the model that makes codes")
    prior: Path = option(Path("book/checkpoints/integer-code-prior"), "its prior in integers")
    twin: str = option("", "the path of the prior's twin in floating point, to compare with, if there is one")

    @cached_property
    def sets(self) -> dict[str, SampleCorpus]:
        """The sounds by set, at the level of the training speech."""
        level_db = FeatureCorpus.of(EmbeddedSpeech("train", speakers=40, seconds=3600)).level_db
        found = evaluation_sounds(self.set_seconds, level_db=level_db)
        return {name: corpus for name, corpus in found.items() if name in SETS}

    @cached_property
    def codec(self) -> SpeechCodec:
        """The model and its prior."""
        return SpeechCodec.load(self.model, self.prior)

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Write and read the files of one row.

        Args:
            row: one of :attr:`rows`.
            seed: not used, as nothing is drawn.

        Returns:
            Set → ``bytes`` of the file, ``seconds`` of sound and ``stoi`` of each clip; for files of codes more, see
            :meth:`table`. Where a program is missing, ``missing`` with its name.
        """
        kind, _, kbps = row.partition(" ")
        if kind == "opus" and not (shutil.which("opusenc") and shutil.which("opusdec")):
            return {"missing": "opusenc and opusdec (Debian: opus-tools)"}
        found: dict[str, Any] = {}
        for name, corpus in self.sets.items():
            clips = [clip[: len(clip) // HOP_SAMPLES * HOP_SAMPLES] for clip in corpus]
            whole = torch.cat(clips).numpy()
            size, sound, more = self._codes(whole) if kind == "codes" else (*_OTHERS[kind](whole, kbps), {})
            scored = _stoi(clips, sound)
            found[name] = {"bytes": size, "seconds": len(whole) / RATE_HZ, "stoi": scored, **more}
        return found

    def _codes(self, whole: Sound) -> tuple[int, Sound, dict[str, Any]]:
        """The bytes of a file of codes, the sound made of it, and where bits and seconds go."""
        codec, seconds = self.codec, len(whole) / RATE_HZ
        codes, encoding = _timed(lambda: codec.encode(whole))
        packed, packing = _timed(lambda: pack_codes(codes, codec.prior, model=codec.fingerprint, samples=len(whole)))
        file, unpacking = _timed(lambda: unpack_codes(packed.data, codec.prior, model=codec.fingerprint))
        _, reading = _timed(lambda: _read_live(codec, packed.data))
        sound, decoding = _timed(lambda: codec.sound_of(file))
        number = sum(level.numel() for level in codes)
        more = {
            "bits_per_code": packed.bits / number,
            "likelihood_bytes": packed.bits / 8,
            "bits_per_code_without_blocks": self._one_block(codes) / number,
            "cpu_seconds_of_a_second": {
                name: round(spent / seconds, 4)
                for name, spent in zip(
                    ("sound to codes", "codes to file", "file to codes", "arriving file to codes", "codes to sound"),
                    (encoding, packing, unpacking, reading, decoding),
                    strict=True,
                )
            },
            "codes_that_float64_changes": self._flips(whole, codes),
        }
        if self.twin:
            more["bits_per_code_of_twin"] = self._bits_of_twin(codes)
        return len(packed.data), sound, more

    def _one_block(self, codes: Codes) -> float:
        """The information in bits if the prior remembered across blocks."""
        joined = torch.cat(codes, dim=2)[0].numpy()
        bits, overlap = 0.0, 2
        for first in range(0, len(joined), 100):
            start = max(first - overlap, 0)  # it reads no further back
            piece = joined[start : first + 100]
            frequencies = np.take_along_axis(self.codec.prior.of_block(piece), piece[:, :, None], axis=2)
            bits -= float(np.log2(frequencies[first - start :] / 2**24).sum())
        return bits

    @torch.no_grad()
    def _flips(self, whole: Sound, codes: Codes) -> float:
        """The share of codes that are others in double precision: so many may differ on another machine."""
        model = load_model(self.model)[0].double().eval()
        features = LogMel()(torch.from_numpy(whole).double()[None])
        other = model.encode(to_2d(features))
        changed = sum(int((a != b).sum()) for a, b in zip(codes, other, strict=True))
        return changed / sum(level.numel() for level in codes)

    @torch.no_grad()
    def _bits_of_twin(self, codes: Codes) -> float:
        """Bits per code of the prior in floating point, in the same blocks."""
        twin: IntegerCodePrior = load_model(self.twin)[0]
        joined, bits = torch.cat(codes, dim=2), 0.0
        for block in joined.split(100, dim=1):
            shares = torch.log_softmax(twin(block) * (np.log(2) / 32), dim=3)
            bits -= float(shares.gather(3, block[..., None]).sum() / np.log(2))
        return bits / joined.numel()

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write rates, and what is understood.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The ``sets``; of each row and set ``kbit_per_second`` and ``stoi``; of files of codes also the bytes of the
            file and of the likelihood, bits per code of the prior, without blocks and of the twin, CPU seconds for a
            second of sound, and the share of codes that double precision changes.
        """
        rows: dict[str, Any] = {}
        for row, by_seed in results.items():
            found = next(iter(by_seed.values()))
            rows[row] = found if "missing" in found else {name: _of_set(each) for name, each in found.items()}
        sets = {
            name: {
                "clips": len(corpus),
                "seconds": round(sum(map(len, corpus)) / RATE_HZ, 1),
                "speakers": len(corpus.speaker_names),
            }
            for name, corpus in self.sets.items()
        }
        return {"sets": sets, "rows": rows}


def _of_set(found: dict[str, Any]) -> dict[str, Any]:
    low, middle, high = np.quantile(found["stoi"], (0.25, 0.5, 0.75)).round(4).tolist()
    rest = {key: _short(value) for key, value in found.items() if key not in ("stoi", "seconds")}
    rate = {} if found["bytes"] is None else {"kbit_per_second": _short(found["bytes"] * 8e-3 / found["seconds"])}
    return {**rate, "stoi": {"median": middle, "quartiles": [low, high]}, **rest}


def _short(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.process_time()
    return work(), time.process_time() - start


def _read_live(codec: SpeechCodec, data: bytes) -> None:
    """Decode a file that arrives in pieces of about a frame."""
    reader = CodeReader(codec.prior, model=codec.fingerprint)
    for first in range(0, len(data), 20):
        reader.feed(data[first : first + 20])


def _stoi(clips: list[Tensor], sound: Sound) -> list[float]:
    """How much is understood of each clip that is not too short."""
    stoi = require("pystoi", extra="dev").stoi
    found, at = [], 0
    for clip in clips:
        if len(clip) >= SHORTEST_SECONDS * RATE_HZ:
            found.append(round(float(stoi(clip.double().numpy(), sound[at : at + len(clip)], RATE_HZ)), 4))
        at += len(clip)
    return found


def _opus(whole: Sound, kbps: str) -> tuple[int, Sound]:
    soundfile = require("soundfile", extra="speech")
    with tempfile.TemporaryDirectory() as folder:
        sound, file, back = (Path(folder) / name for name in ("sound.wav", "sound.opus", "back.wav"))
        soundfile.write(sound, whole, RATE_HZ, subtype="PCM_16")
        subprocess.run(["opusenc", "--quiet", "--speech", "--bitrate", kbps, sound, file], check=True)
        subprocess.run(["opusdec", "--quiet", "--rate", str(RATE_HZ), file, back], check=True)
        return file.stat().st_size, _as_long(soundfile.read(back, dtype="float32")[0], whole)


def _flac(whole: Sound, _: str) -> tuple[int, Sound]:
    soundfile = require("soundfile", extra="speech")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sound.flac"
        soundfile.write(file, whole, RATE_HZ, subtype="PCM_16")
        return file.stat().st_size, _as_long(soundfile.read(file, dtype="float32")[0], whole)


@torch.no_grad()
def _frames(whole: Sound, _: str) -> tuple[None, Sound]:
    chain = CausalSequential(LogMel(), OnlineGriffinLim(3)).eval()
    longer = np.concatenate([whole, np.zeros(3 * HOP_SAMPLES, dtype=np.float32)])
    return None, _as_long(chain(torch.from_numpy(longer)[None, None])[0, 0].numpy(), whole)


def _as_long(sound: Sound, whole: Sound) -> Sound:
    return np.pad(sound[: len(whole)], (0, max(len(whole) - len(sound), 0)))


_OTHERS: dict[str, Callable[[Sound, str], tuple[int | None, Sound]]] = {"opus": _opus, "flac": _flac, "frames": _frames}
