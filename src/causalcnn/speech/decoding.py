"""Sound files, decoded block by block: by libsndfile, and by ffmpeg what libsndfile cannot read."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from causalcnn._extras import require
from causalcnn.speech.containers import fault_of, frame_before

__all__ = ["Recording", "Sound", "UnreadableRecording", "opened", "refusal"]

Recording = str | Path | bytes | BinaryIO
"""What can be read: a path, the bytes of a file, or a file object that is open for reading bytes."""

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3")
"""The containers of libsndfile whose length can be checked. It reads more, but what is cut off would not be seen."""

HIGHEST_RATE_HZ = 1_000_000
UNKNOWN_FRAMES = 1 << 40
"""What libsndfile gives for a FLAC file of unknown length is far more; this many frames last for years."""
MOST_VALUES = 1 << 23
"""A damaged header may speak of thousands of channels: a block is not larger than this."""


class UnreadableRecording(ValueError):
    """A file that is no usable recording; the message names the file, the rule and the way out."""


def refusal(name: str, reason: str) -> str:
    """The words that say why a recording cannot be used."""
    return f"{name!r} cannot be used: {reason}"


@dataclass(frozen=True)
class Sound:
    """A recording that is being read.

    Attributes:
        name: what it is called in messages.
        rate_hz: its rate in Hz.
        channels: how many it has.
        blocks: its samples, float64 ``(samples, channels)`` each.
    """

    name: str
    rate_hz: int
    channels: int
    blocks: Iterator[NDArray[np.float64]]


@contextmanager
def opened(recording: Recording, seconds: float) -> Iterator[Sound]:
    """Open a recording.

    Args:
        recording: a path, bytes or a file object. A file object is read from its beginning, and stays open.
        seconds: the longest duration of a block.

    Yields:
        The sound. That it is damaged may be found only while its blocks are read.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableRecording: it is empty, cut off, damaged or no audio.
        TypeError: a file object that gives text.
        OSError: the file cannot be opened.
        ImportError: the extra ``speech`` is not installed.
    """
    with ExitStack() as stack:
        file, name = stack.enter_context(_opened_file(recording))
        try:
            head, fault = file.read(12), fault_of(file)
            file.seek(0)
        except OSError as error:
            raise UnreadableRecording(refusal(name, f"it could not be read ({error})")) from error
        if not head:
            raise UnreadableRecording(refusal(name, "it is empty (0 bytes); record or copy it again"))
        if fault:
            raise UnreadableRecording(refusal(name, f"{fault}. Copy it again"))
        decoder = _ffmpeg if _is_for_ffmpeg(head) else _libsndfile
        yield stack.enter_context(decoder(file, name, seconds))


@contextmanager
def _opened_file(recording: Recording) -> Iterator[tuple[BinaryIO, str]]:
    """The recording as a seekable file, and its name."""
    if isinstance(recording, (bytes, bytearray, memoryview)):
        yield io.BytesIO(recording), f"<{len(recording)} bytes>"
    elif isinstance(recording, (str, Path)):
        path = Path(recording).expanduser()
        if path.is_dir():
            raise UnreadableRecording(
                refusal(str(path), "it is a folder; AudioFolder(path) reads all recordings in it")
            )
        if not path.exists():
            raise FileNotFoundError(f"there is no file {str(path)!r} (looked from {Path.cwd()})")
        with path.open("rb") as file:
            yield _seekable(file, str(path)), str(path)
    else:
        name = getattr(recording, "name", None)
        name = name if isinstance(name, str) else f"<{type(recording).__name__}>"
        if isinstance(recording, io.TextIOBase):
            raise TypeError(f"{name!r} gives text; open it for reading bytes, as by open(path, 'rb')")
        yield _seekable(recording, name), name


def _seekable(file: BinaryIO, name: str) -> BinaryIO:
    """The file, or all that a pipe gives, from its beginning."""
    try:
        if not file.seekable():
            return io.BytesIO(file.read())
        file.seek(0)
    except OSError as error:
        raise UnreadableRecording(refusal(name, f"it could not be read ({error})")) from error
    return file


# -------------------------------------------------------------------------------------------------- libsndfile
class _Readable:
    """A file as libsndfile's callbacks need it: reads are never short, and no error gets lost in one.

    Args:
        file: the file, seekable.
        start: where what is read begins in it.
        before: what is read first.
    """

    def __init__(self, file: BinaryIO, start: int, before: bytes) -> None:
        self._file, self._start, self._before = file, start, before
        self._size = file.seek(0, os.SEEK_END) - start + len(before)
        self._at = 0
        self.has_frame_before = bool(before)
        self.error: BaseException | None = None

    def readinto(self, buffer: Any) -> int:
        view, done = memoryview(buffer), 0
        try:
            if self._at < len(self._before):
                data = self._before[self._at : self._at + len(view)]
                view[: len(data)] = data
                done = len(data)
            self._file.seek(self._start + max(0, self._at + done - len(self._before)))
            while done < len(view) and (data := self._file.read(len(view) - done)):
                view[done : done + len(data)] = data
                done += len(data)
        except BaseException as error:  # Ctrl-C too: an exception in a callback would be printed and forgotten
            self.error = error
        self._at += done
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + (0, self._at, self._size)[whence]
        self._at = at if at >= 0 else self._at  # a damaged header leads before the file: then it does not move
        return self._at

    def tell(self) -> int:
        return self._at

    def check(self, name: str) -> None:
        """Raise what went wrong while libsndfile read."""
        if isinstance(self.error, Exception):
            raise UnreadableRecording(refusal(name, f"it could not be read ({self.error})")) from self.error
        if self.error is not None:
            raise self.error


@contextmanager
def _libsndfile(file: BinaryIO, name: str, seconds: float) -> Iterator[Sound]:
    soundfile = require("soundfile", extra="speech")
    readable = _Readable(file, *(frame_before(file) or (0, b"")))
    with _explained(soundfile, readable, name):
        sound = soundfile.SoundFile(readable)
    with sound:
        readable.check(name)
        if sound.format not in FORMATS:
            raise UnreadableRecording(
                refusal(
                    name, f"it is a {sound.format} file, which does not tell whether it is whole. Convert it to WAV"
                )
            )
        sound.seekable = lambda: False  # soundfile would seek after each block, which disturbs lossy decoders
        yield Sound(name, sound.samplerate, sound.channels, _blocks(soundfile, sound, readable, name, seconds))


def _blocks(
    soundfile: Any, sound: Any, readable: _Readable, name: str, seconds: float
) -> Iterator[NDArray[np.float64]]:
    """All samples, and at the end the proof that they were all."""
    longest = max(1, min(round(seconds * sound.samplerate), MOST_VALUES // sound.channels))
    total = 0
    while True:
        with _explained(soundfile, readable, name):
            block = sound.read(longest, dtype="float64", always_2d=True)
        readable.check(name)
        if not len(block):
            break
        total += len(block)
        yield block
        del block
    if not total:
        raise UnreadableRecording(refusal(name, "it holds no samples; record or copy it again"))
    is_mp3 = "MPEG" in sound.subtype
    is_guess = readable.has_frame_before or (is_mp3 and "LAYER_III" not in sound.subtype)
    if not is_guess and total < sound.frames < UNKNOWN_FRAMES:
        words = f"it is cut off or damaged: {total} of {sound.frames} samples could be read. Copy it again"
        if not is_mp3 or sound.frames - total > 1152:
            raise UnreadableRecording(refusal(name, words))
        warnings.warn(f"{name!r}: {words} if you can (some encoders count a frame too many)", stacklevel=4)


@contextmanager
def _explained(soundfile: Any, readable: _Readable, name: str) -> Iterator[None]:
    try:
        yield
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
        readable.check(name)
        reason = getattr(error, "error_string", str(error))
        raise UnreadableRecording(
            refusal(
                name, f"it is no audio file that libsndfile can read, or it is damaged ({reason}). Convert it to WAV"
            )
        ) from None


# ------------------------------------------------------------------------------------------------------ ffmpeg
def _is_for_ffmpeg(head: bytes) -> bool:
    """Whether a file begins as MP4 and M4A, WebM, AAC, WMA or AMR do. Only these: ffmpeg takes any text for a film."""
    begins = (b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75", b"#!AMR")
    is_aac = head[0] == 0xFF and len(head) > 1 and head[1] & 0xF6 == 0xF0
    return head[4:8] == b"ftyp" or head.startswith(begins) or is_aac


@contextmanager
def _ffmpeg(file: BinaryIO, name: str, seconds: float) -> Iterator[Sound]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise UnreadableRecording(
            refusal(
                name,
                "libsndfile cannot read M4A, AAC, WebM, WMA and AMR. Install ffmpeg, which is then used, or convert it",
            )
        )
    with ExitStack() as stack:
        path = getattr(file, "name", None)
        if not (isinstance(path, (str, bytes)) and os.path.isfile(path)):
            path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), "recording")
            with open(path, "wb") as copy:
                shutil.copyfileobj(file, copy)
        errors = stack.enter_context(tempfile.TemporaryFile())
        source = ["-protocol_whitelist", "file", "-i", f"file:{os.fsdecode(path)}"]
        process = stack.enter_context(
            subprocess.Popen(
                [program, "-nostdin", "-v", "error", *source, "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"],
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        head = process.stdout.read(24)
        if len(head) < 24:
            raise UnreadableRecording(refusal(name, f"ffmpeg cannot read it ({_last_words(process, errors)})"))
        start, _, _, rate_hz, channels = struct.unpack(">5I", head[4:])
        process.stdout.read(start - 24)
        yield Sound(name, rate_hz, channels, _from_ffmpeg(process, errors, name, rate_hz, channels, seconds))


def _from_ffmpeg(
    process: subprocess.Popen[bytes], errors: Any, name: str, rate_hz: int, channels: int, seconds: float
) -> Iterator[NDArray[np.float64]]:
    assert process.stdout is not None
    longest = max(1, min(round(seconds * rate_hz), MOST_VALUES // channels))
    total = 0
    while data := process.stdout.read(longest * channels * 4):
        block = np.frombuffer(data, ">f4", len(data) // (4 * channels) * channels).reshape(-1, channels)
        total += len(block)
        yield block.astype(np.float64)
    if reason := _last_words(process, errors):
        raise UnreadableRecording(refusal(name, f"it is cut off or damaged; ffmpeg says: {reason}. Copy it again"))
    if not total:
        raise UnreadableRecording(refusal(name, "it holds no samples; record or copy it again"))


def _last_words(process: subprocess.Popen[bytes], errors: Any) -> str:
    """What ffmpeg complained of, in one line; ``""`` where it was content."""
    code = process.wait()
    errors.seek(0)
    said = errors.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in said if line.strip()), f"it ended with {code}" if code else "")
