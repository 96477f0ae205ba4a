"""Recordings from files: read as they are, brought to 16 kHz mono, or refused with a reason."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from causalcnn._extras import require
from causalcnn.speech.decoding import HIGHEST_RATE_HZ, Recording, Sound, UnreadableRecording, opened, refusal
from causalcnn.speech.front_end import HOP_SAMPLES, RATE_HZ
from causalcnn.speech.utterance import Samples, Utterance

__all__ = ["AudioFolder", "UnreadableRecording", "read_blocks", "read_recording"]

SUFFIXES = (
    ".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64", ".sph", ".m4a", ".aac", ".webm",
)  # fmt: skip
"""The kinds of files that a :class:`AudioFolder` looks for."""

LOWEST_RATE_HZ = 8_000
"""Telephone rate: below it, what is left of speech is not worth a spectrogram up to 8 kHz."""

FULL_SCALE_LIMIT = 4.0
"""Floating point files may overshoot 1 a little; beyond this they hold integers that nobody scaled."""

SLACK_BYTES = 1 << 20
"""By how much more than it needs an array grows while blocks are joined."""

T = TypeVar("T")


def read_recording(recording: Recording, *, channel: int | None = None) -> Utterance:
    """Read a recording as 16 kHz mono float32 in −1 … 1.

    Integers are divided by their full scale. Several channels are averaged, or one is taken, see ``channel``.
    Another rate is brought to 16,000 Hz by soxr's high quality resampler; a lower rate is warned about, because
    nothing above half of it is in the recording. Nothing is normalised. Only the samples that are returned are held in
    memory; :func:`read_blocks` does not hold even these.

    A file that says its length, and is shorter, is refused; so is an Ogg file without its last page. An MP3 or AAC file
    without such a header does not tell whether it is whole.

    Args:
        recording: a path, the bytes of a file, or a file object open for reading bytes, which is read from its
            beginning. WAV (also RF64 and Wave64), FLAC, Ogg (Vorbis, Opus), MP3, AIFF, AU, CAF and NIST files are read
            by libsndfile, M4A, AAC, WebM, WMA and AMR by ``ffmpeg`` where it is installed.
        channel: take this channel, counted from 0, instead of the mean.

    Returns:
        An utterance without labels; its source is the name of the file, ``""`` for bytes.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableRecording: (a ``ValueError``) the file is empty, cut off, corrupt or no audio at all; it is slower
            than 8,000 Hz or shorter than one hop of 10 ms; it holds NaN, infinity, or integers saved as floating point;
            its channels cancel each other, or it lacks the channel that was asked for.
        OSError: the file cannot be opened.
        TypeError: a file object that gives text.
        ImportError: the extra ``speech`` is not installed.

    Example:
        >>> import io
        >>> import numpy as np, soundfile
        >>> from causalcnn.speech import read_recording
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 44_100), 44_100, format="FLAC")
        >>> read_recording(file).seconds, len(read_recording(file.getvalue()))
        (1.0, 16000)
    """
    samples = joined(read_blocks(recording, seconds=1.0, channel=channel))
    name = recording if isinstance(recording, (str, Path)) else getattr(recording, "name", None)
    return Utterance(samples, source=Path(name).name if isinstance(name, (str, Path)) else "")


def read_blocks(recording: Recording, *, seconds: float = 10.0, channel: int | None = None) -> Iterator[Samples]:
    """Read a recording block by block, as :func:`read_recording` would, whatever its length, in the memory of a block.

    That a file is damaged or too short, or that its channels cancel, may be found only when its blocks have been read;
    what has been made of them is then to be thrown away.

    Args:
        recording: as for :func:`read_recording`.
        seconds: the duration of a block, about; the last one is shorter.
        channel: take this channel, counted from 0, instead of the mean.

    Yields:
        The next samples, 16 kHz mono float32 in −1 … 1, ``(samples,)``.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableRecording: as for :func:`read_recording`.
        ValueError: ``seconds`` is not positive.
        OSError: the file cannot be opened.
        TypeError: a file object that gives text.
        ImportError: the extra ``speech`` is not installed.

    Example:
        >>> import io
        >>> import numpy as np, soundfile
        >>> from causalcnn.speech import read_blocks
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 40_000), 16_000, format="WAV")
        >>> [len(block) for block in read_blocks(file, seconds=1.0)]
        [16000, 16000, 8000]
    """
    if not seconds > 0:
        raise ValueError(f"seconds is {seconds}; a block lasts more than 0")
    with opened(recording, seconds) as sound:
        _check(sound, channel)
        convert = _to_16_khz(sound)
        mono_energy = energy = 0.0
        read = total = 0
        for block in sound.blocks:
            _check_values(sound, block, read)
            read += len(block)
            mono = block.mean(axis=1) if channel is None else block[:, channel]
            mono_energy += float(np.vdot(mono, mono))
            energy += float(np.vdot(block, block)) / sound.channels
            samples = convert(mono.astype(np.float32), False)
            del block, mono  # before the next one is read
            total += len(samples)
            if len(samples):
                yield samples
        rest = convert(np.zeros(0, np.float32), True)
        total += len(rest)
        if len(rest):
            yield rest
        if sound.channels > 1 and channel is None and mono_energy < 1e-3 * energy:
            raise UnreadableRecording(
                refusal(
                    sound.name,
                    f"its {sound.channels} channels cancel each other (one is the other turned over), so their mean is "
                    "nearly silent. Choose one: read_recording(path, channel=0)",
                )
            )
        if total < HOP_SAMPLES:
            raise UnreadableRecording(
                refusal(
                    sound.name,
                    f"it lasts {total} samples at 16 kHz; one frame needs {HOP_SAMPLES} (10 ms). Pad it with zeros",
                )
            )


def joined(blocks: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Join blocks, at least one, along their first axis while they come, without holding them twice."""
    blocks = iter(blocks)
    whole = np.array(next(blocks))
    filled, slack = len(whole), -(-SLACK_BYTES * len(whole) // max(1, whole.nbytes))
    for block in blocks:
        end = filled + len(block)
        if end > len(whole):
            whole.resize((end + slack, *whole.shape[1:]), refcheck=False)
        whole[filled:end] = block
        filled = end
        del block
    whole.resize((filled, *whole.shape[1:]), refcheck=False)
    return whole


class AudioFolder(Sequence[Utterance]):
    """A folder of recordings, subfolders included, as a corpus.

    The files are found when it is made, and read one by one when they are asked for: ``corpus[i]`` gives one, and
    raises for an unusable file whatever ``on_bad`` says. Links to files and folders are followed; each folder is read
    once, even where several links lead to it. Hidden files and folders, whose names begin with a dot, are left out.

    Args:
        path: the folder. WAV, FLAC, Ogg, Opus, MP3, AIFF, AU, CAF, Wave64, NIST (``.sph``), M4A, AAC and WebM files are
            taken, in the order of their names.
        on_bad: what happens with a file that cannot be used: ``"raise"`` stops with its name and the reason; ``"skip"``
            warns with the same words and leaves it out of the iteration.

    Raises:
        FileNotFoundError: there is no such folder, or no recording in it.
        OSError: a subfolder cannot be read, and ``on_bad`` is ``"raise"``.
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
        self.files = sorted(self._found())
        """The recordings that were found, in the order of their names."""
        if not self.files:
            raise FileNotFoundError(f"there is no recording ({', '.join(SUFFIXES)}) in {str(self.path)!r}")

    def _found(self) -> Iterator[Path]:
        """The recordings: first those of real folders, then those behind links."""
        folders, links, seen = [self.path], list[Path](), set[Path]()
        while folders or links:
            folder = folders.pop() if folders else links.pop(0)
            where = folder.resolve()
            if where in seen:
                continue
            seen.add(where)
            try:
                inside = [(path, path.is_dir()) for path in sorted(folder.iterdir()) if path.name[0] != "."]
            except OSError as error:
                if self.on_bad == "raise":
                    raise
                warnings.warn(f"left out: {error}", stacklevel=4)
                continue
            for path, is_folder in inside:
                if is_folder:
                    (links if path.is_symlink() else folders).append(path)
                elif path.suffix.lower() in SUFFIXES:  # also a link to a file that is gone: reading it says so
                    yield path

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
            OSError: a file cannot be opened or has been removed, and ``on_bad`` is ``"raise"``.
            ImportError: the extra ``speech`` is not installed.
        """
        for name, samples in self.each(joined):
            yield name, Utterance(samples, source=Path(name).name)

    def each(self, make: Callable[[Iterator[Samples]], T]) -> Iterator[tuple[str, T]]:
        """Make something of the blocks of every recording, so that a long one is never held whole.

        Args:
            make: a function of the blocks of one recording, of one second each, as :func:`read_blocks` yields them.

        Yields:
            The file's path within the folder, and what ``make`` returned for it.

        Raises:
            UnreadableRecording: a file cannot be used, and ``on_bad`` is ``"raise"``.
            OSError: a file cannot be opened or has been removed, and ``on_bad`` is ``"raise"``.
            ImportError: the extra ``speech`` is not installed.
        """
        for file in self.files:
            try:
                made = make(read_blocks(file, seconds=1.0))
            except (UnreadableRecording, OSError) as error:
                if self.on_bad == "raise":
                    raise
                warnings.warn(f"left out: {error}", stacklevel=3)
                continue
            yield file.relative_to(self.path).as_posix(), made

    def identity(self) -> str:
        """Give the name that its features are cached under; it changes with the size or the date of a file.

        Returns:
            A text with the path of the folder and a digest of the names, sizes and dates of its files.

        Raises:
            OSError: a file has been removed since the folder was searched, and ``on_bad`` is ``"raise"``.
        """
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(os.fsencode(file.relative_to(self.path)))
            try:
                stat = file.stat()
                digest.update(f" {stat.st_size} {stat.st_mtime_ns}\n".encode())
            except OSError:
                if self.on_bad == "raise":
                    raise
                digest.update(b" gone\n")
        return f"folder {self.path.name} {self.path.resolve()} {self.on_bad} {digest.hexdigest()}"


def _check(sound: Sound, channel: int | None) -> None:
    if not LOWEST_RATE_HZ <= sound.rate_hz <= HIGHEST_RATE_HZ:
        raise UnreadableRecording(
            refusal(
                sound.name,
                f"it has {sound.rate_hz} samples a second; speech needs at least {LOWEST_RATE_HZ}, and more than "
                f"{HIGHEST_RATE_HZ} are no sound",
            )
        )
    if channel is not None and not 0 <= channel < sound.channels:
        raise UnreadableRecording(
            refusal(sound.name, f"channel {channel} was asked for; it has {sound.channels}, counted from 0")
        )


def _check_values(sound: Sound, block: NDArray[np.float64], start: int) -> None:
    peak = max(float(block.max()), -float(block.min()))
    if not np.isfinite(peak):
        first = (start + int(np.argmax(~np.isfinite(block).all(axis=1)))) / sound.rate_hz
        raise UnreadableRecording(
            refusal(
                sound.name,
                f"some values are NaN or infinite, the first at {first:.3f} s; write it again from the original",
            )
        )
    if peak > FULL_SCALE_LIMIT:
        raise UnreadableRecording(
            refusal(
                sound.name,
                f"its values reach {peak:.6g}, and full scale is 1: integers saved as floating point? "
                "Divide them by 32768 and write the file again",
            )
        )


def _to_16_khz(sound: Sound) -> Callable[[NDArray[np.float32], bool], NDArray[np.float32]]:
    """A function that converts the next samples; the second argument says that they are the last."""
    if sound.rate_hz == RATE_HZ:
        return lambda samples, last: samples
    if sound.rate_hz < RATE_HZ:
        warnings.warn(
            f"{Path(sound.name).name} has {sound.rate_hz} samples a second: after conversion to {RATE_HZ} there is "
            f"nothing above {sound.rate_hz // 2} Hz in it, and the upper mel bands stay near the floor",
            stacklevel=4,
        )
    soxr = require("soxr", extra="speech")
    return soxr.ResampleStream(sound.rate_hz, RATE_HZ, 1, dtype="float32", quality="HQ").resample_chunk
