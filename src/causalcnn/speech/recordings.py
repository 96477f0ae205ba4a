"""Recordings from files: read as they are, brought to 16 kHz mono, or refused with a reason."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from causalcnn._extras import require
from causalcnn.speech.front_end import HOP_SAMPLES, RATE_HZ
from causalcnn.speech.utterance import Utterance

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
"""The kinds of files that a :class:`AudioFolder` looks for; :func:`read_recording` takes what libsndfile takes."""

LOWEST_RATE_HZ = 8_000
"""Telephone rate: below it, what is left of speech is not worth a spectrogram up to 8 kHz."""

FULL_SCALE_LIMIT = 4.0
"""Floating point files may overshoot 1 a little; beyond this they hold integers that nobody scaled."""


class UnreadableRecording(ValueError):
    """A file that is no usable recording; the message names the file, the rule and the way out."""


def read_recording(path: str | Path, *, channel: int | None = None) -> Utterance:
    """Read a recording as 16 kHz mono float32 in −1 … 1.

    Integers are divided by their full scale. Several channels are averaged, or one is taken, see ``channel``.
    Another rate is brought to 16,000 Hz by soxr's high quality resampler; a lower rate is warned about, because
    nothing above half of it is in the recording. Nothing is normalised.

    Args:
        path: a WAV, FLAC, Ogg or MP3 file, or what else libsndfile reads.
        channel: take this channel, counted from 0, instead of the mean.

    Returns:
        An utterance without labels; its source is the name of the file.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableRecording: (a ``ValueError``) the file is empty, cut off, corrupt or no audio at all; it is slower
            than 8,000 Hz or shorter than one hop of 10 ms; it holds NaN, infinity, or integers saved as floating point;
            its channels cancel each other, or it lacks the channel that was asked for.
        ImportError: the extra ``speech`` is not installed.
    """
    path = Path(path).expanduser()
    _check_file(path)
    soundfile = require("soundfile", extra="speech")
    samples, rate_hz = _read(soundfile, path)
    if rate_hz < LOWEST_RATE_HZ:
        raise UnreadableRecording(
            _refusal(path, f"it has {rate_hz} samples a second; speech needs at least {LOWEST_RATE_HZ}")
        )
    bad = int((~np.isfinite(samples)).sum())
    if bad:
        raise UnreadableRecording(
            _refusal(path, f"{bad} of its {samples.size} values are NaN or infinite; write it again from the original")
        )
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > FULL_SCALE_LIMIT:
        raise UnreadableRecording(
            _refusal(
                path,
                f"its values reach {peak:.6g}, and full scale is 1: integers saved as floating point? "
                "Divide them by 32768 and write the file again",
            )
        )
    mono = _one_channel(path, samples, channel)
    if rate_hz != RATE_HZ:
        mono = _to_16_khz(path, mono, rate_hz)
    if len(mono) < HOP_SAMPLES:
        raise UnreadableRecording(
            _refusal(
                path,
                f"it lasts {len(mono)} samples at 16 kHz; one frame needs {HOP_SAMPLES} (10 ms). Pad it with zeros",
            )
        )
    return Utterance(mono, source=path.name)


class AudioFolder(Sequence[Utterance]):
    """A folder of recordings, subfolders included, as a corpus.

    The files are found when it is made, and read one by one when they are asked for: ``corpus[i]`` gives one, and
    raises for an unusable file whatever ``on_bad`` says.

    Args:
        path: the folder. WAV, FLAC, Ogg and MP3 files are taken, in the order of their names; hidden ones are not.
        on_bad: what happens with a file that cannot be used: ``"raise"`` stops with its name and the reason; ``"skip"``
            warns with the same words and leaves it out of the iteration.

    Raises:
        FileNotFoundError: there is no such folder, or no recording in it.
        ValueError: ``on_bad`` has another value.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np, soundfile
        >>> from causalcnn.speech import AudioFolder
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(Path(folder, "noise.wav"), np.random.default_rng(0).normal(0, 0.1, 44_100), 44_100)
        ...     corpus = AudioFolder(folder)
        ...     len(corpus), corpus[0].seconds, corpus[0].rate_hz
        (1, 1.0, 16000)
    """

    def __init__(self, path: str | Path, *, on_bad: str = "raise") -> None:
        if on_bad not in ("raise", "skip"):
            raise ValueError(f"on_bad is {on_bad!r}; it must be 'raise' or 'skip'")
        self.path = Path(path).expanduser()
        """The folder."""
        self.on_bad = on_bad
        if not self.path.is_dir():
            raise FileNotFoundError(f"there is no folder {str(self.path)!r}")
        self.files = sorted(
            file
            for file in self.path.rglob("*")
            if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")
        )
        """The recordings that were found, in the order of their names."""
        if not self.files:
            raise FileNotFoundError(f"there is no recording ({', '.join(SUFFIXES)}) in {str(self.path)!r}")

    def __repr__(self) -> str:
        return f"AudioFolder({str(self.path)!r}): {len(self.files)} recordings"

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, which: int) -> Utterance: ...
    @overload
    def __getitem__(self, which: slice) -> list[Utterance]: ...
    def __getitem__(self, which: int | slice) -> Utterance | list[Utterance]:
        """Read one recording; an unusable one raises here whatever ``on_bad`` says."""
        if isinstance(which, slice):
            return [read_recording(file) for file in self.files[which]]
        return read_recording(self.files[which])

    def __iter__(self) -> Iterator[Utterance]:
        return (utterance for _, utterance in self.named())

    def named(self) -> Iterator[tuple[str, Utterance]]:
        """Read every recording with the name of its file.

        Yields:
            The file's path within the folder, ``"speaker/clip.flac"`` for example, and its utterance, 16,000 Hz mono.

        Raises:
            UnreadableRecording: a file cannot be used, and ``on_bad`` is ``"raise"``.
            FileNotFoundError: a file has been removed since the folder was searched.
            ImportError: the extra ``speech`` is not installed.
        """
        for file in self.files:
            try:
                utterance = read_recording(file)
            except UnreadableRecording as error:
                if self.on_bad == "raise":
                    raise
                warnings.warn(f"left out: {error}", stacklevel=3)
                continue
            yield file.relative_to(self.path).as_posix(), utterance

    def identity(self) -> str:
        """Give the name that its features are cached under; it changes with the size or the date of a file.

        Returns:
            A text with the path of the folder and a digest of the names, sizes and dates of its files.

        Raises:
            FileNotFoundError: a file has been removed since the folder was searched.
        """
        files = ((file.relative_to(self.path).as_posix(), file.stat()) for file in self.files)
        listed = "".join(f"{name} {stat.st_size} {stat.st_mtime_ns}\n" for name, stat in files)
        digest = hashlib.sha256(listed.encode()).hexdigest()
        return f"folder {self.path.name} {self.path.resolve()} {self.on_bad} {digest}"


def _refusal(path: Path, reason: str) -> str:
    return f"{str(path)!r} cannot be used: {reason}"


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UnreadableRecording(_refusal(path, "it is a folder; AudioFolder(path) reads all recordings in it"))
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r} (looked from {Path.cwd()})")
    size = path.stat().st_size
    if size == 0:
        raise UnreadableRecording(_refusal(path, "it is empty (0 bytes); record or copy it again"))
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == b"RIFF" and len(head) == 8:
        # libsndfile reads what is there of a WAV file that was cut off, and says nothing.
        promised = int.from_bytes(head[4:], "little") + 8
        if size < promised < 0xFFFF_FF00:
            raise UnreadableRecording(
                _refusal(path, f"it is cut off: its header promises {promised} bytes, it has {size}. Copy it again")
            )


def _read(soundfile: Any, path: Path) -> tuple[NDArray[np.float64], int]:
    """Read all samples, ``(samples, channels)``."""
    try:
        with soundfile.SoundFile(str(path)) as file:
            promised, rate_hz = file.frames, file.samplerate
            samples = file.read(dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise UnreadableRecording(
            _refusal(
                path, f"it is no audio file that libsndfile can read, or it is damaged ({error}). Convert it to WAV"
            )
        ) from None
    if not len(samples):
        raise UnreadableRecording(_refusal(path, "it holds no samples; record or copy it again"))
    if len(samples) < promised and path.suffix.lower() != ".mp3":  # an MP3's length is an estimate
        raise UnreadableRecording(
            _refusal(path, f"it is cut off: {len(samples)} of {promised} samples could be read. Copy it again")
        )
    return samples, int(rate_hz)


def _one_channel(path: Path, samples: NDArray[np.float64], channel: int | None) -> NDArray[np.float32]:
    channels = samples.shape[1]
    if channel is not None:
        if not 0 <= channel < channels:
            raise UnreadableRecording(
                _refusal(path, f"channel {channel} was asked for; it has {channels}, counted from 0")
            )
        return samples[:, channel].astype(np.float32)
    mono = samples.mean(axis=1)
    if channels > 1 and np.square(mono).sum() < 1e-3 * np.square(samples).mean(axis=1).sum():
        raise UnreadableRecording(
            _refusal(
                path,
                f"its {channels} channels cancel each other (one is the other turned over), so their mean is nearly "
                "silent. Choose one: read_recording(path, channel=0)",
            )
        )
    return mono.astype(np.float32)


def _to_16_khz(path: Path, mono: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    if rate_hz < RATE_HZ:
        warnings.warn(
            f"{path.name} has {rate_hz} samples a second: after conversion to {RATE_HZ} there is nothing above "
            f"{rate_hz // 2} Hz in it, and the upper mel bands stay near the floor",
            stacklevel=4,
        )
    soxr = require("soxr", extra="speech")
    return soxr.resample(mono, rate_hz, RATE_HZ, quality="HQ").astype(np.float32)
