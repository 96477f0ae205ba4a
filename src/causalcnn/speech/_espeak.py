"""The near side of the worker process: one engine a process, started when first needed, restarted once if it dies."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalcnn._extras import require
from causalcnn.speech.speakers import Speaker

ENGINE_VOLUME = 50
"""espeak-ng's volume: the loudest of the speakers comes to about 0.85 of full scale."""

_NEEDED = ("en_dict", "intonations", "phondata", "phondata-manifest", "phonindex", "phontab")


@dataclass(frozen=True)
class RawSpeech:
    """What the engine answers, at its own rate and with its own mnemonics.

    Attributes:
        samples: 16-bit integers at ``rate_hz``, ``(samples,)``.
        rate_hz: the engine's rate, in Hz.
        phones: ``(mnemonic, first sample)``.
        words: ``(position in the text, first sample)``.
    """

    samples: NDArray[np.int16]
    rate_hz: int
    phones: list[tuple[str, int]]
    words: list[tuple[int, int]]


class WorkerDied(RuntimeError):
    """The worker process ended, or said nothing for too long, in the middle of a request."""


class Worker:
    """One running worker process and its folder.

    Args:
        timeout_seconds: how long one answer may take before the process is ended, in seconds.

    Raises:
        ImportError: the extra ``speech`` is not installed.
        RuntimeError: there is no Python interpreter to start it with.
    """

    def __init__(self, timeout_seconds: float = 60.0) -> None:
        loader = require("espeakng_loader", extra="speech")
        if not sys.executable:
            raise RuntimeError(
                "sys.executable is empty, so no worker process can be started for espeak-ng; "
                "run causalcnn from an ordinary Python interpreter"
            )
        self.timeout_seconds = timeout_seconds
        self.folder = Path(tempfile.mkdtemp(prefix="causalcnn-"))
        _copy_data(Path(loader.get_data_path()), self.folder / "espeak-ng-data")
        script = Path(__file__).with_name("_espeak_worker.py")
        # -P keeps the script's folder off the worker's path; it imports nothing but the standard library.
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(loader.get_library_path()), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Send one request and wait for its answer.

        Args:
            request: the text, the speaker and the pace, see :func:`espeak_synthesize`.

        Returns:
            The head of the answer, with events and rate, and its 16-bit samples as bytes.

        Raises:
            WorkerDied: the process ended, or was ended because it took too long.
            RuntimeError: espeak-ng refused, with its reason.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        clock = threading.Timer(self.timeout_seconds, self.process.kill)
        clock.daemon = True
        clock.start()
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
            if not line.endswith(b"\n"):
                raise WorkerDied(f"espeak-ng's worker process ended (exit status {self.process.poll()})")
            head = json.loads(line)
            body = stdout.read(head["bytes"])
            if len(body) != head["bytes"]:
                raise WorkerDied("espeak-ng's worker process ended in the middle of an answer")
        except OSError as error:
            raise WorkerDied(f"espeak-ng's worker process is gone: {error}") from error
        finally:
            clock.cancel()
        if "error" in head:
            raise RuntimeError(f"espeak-ng could not say {request['text']!r}: {head['error']}")
        return head, body

    def close(self) -> None:
        """End the process and remove its folder."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # a dead process closes its end with a complaint
                    pipe.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


_lock = threading.Lock()
_worker: Worker | None = None
_owner: int = 0


def espeak_synthesize(text: str, speaker: Speaker, words_per_minute: float | None = None) -> RawSpeech:
    """Let espeak-ng say a text.

    The same text, speaker and pace give the same samples, in any order and in any process of one platform.

    Args:
        text: plain English.
        speaker: who says it.
        words_per_minute: the pace, in words a minute; default: the speaker's own.

    Returns:
        Samples, phones and words, as espeak-ng gives them.

    Raises:
        ValueError: a text without words.
        RuntimeError: espeak-ng refused the text, or its worker died twice in a row.
        ImportError: the extra ``speech`` is not installed.
    """
    if "\0" in text or not text.strip():
        raise ValueError(f"there is nothing to say in {text!r}; give a sentence of words")
    pace = speaker.words_per_minute if words_per_minute is None else words_per_minute
    request = {
        "text": text,
        "speaker": speaker.name,
        "definition": speaker.definition,
        "words_per_minute": round(pace),
        "volume": ENGINE_VOLUME,
    }
    head, body = _ask(request)
    samples = np.frombuffer(body, dtype="<i2").astype(np.int16)
    phones = [(label, sample) for kind, sample, label in head["events"] if kind == "phone"]
    words = [(place, sample) for kind, sample, place in head["events"] if kind == "word"]
    return RawSpeech(samples, head["rate_hz"], phones, words)


def _ask(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    global _worker, _owner
    with _lock:
        if _owner != os.getpid():  # a forked process must not share its parent's pipes
            _worker, _owner = None, os.getpid()
        for attempt in (1, 2):
            if _worker is None:
                _worker = Worker()
            try:
                return _worker.ask(request)
            except WorkerDied as error:
                _close()
                if attempt == 2:
                    raise RuntimeError(
                        f"{error}; it was restarted once and died again over {request['text']!r}. "
                        "Please report the sentence; other sentences still work"
                    ) from error
            except BaseException as error:
                # Interrupted between request and answer, the pipes are out of step: begin anew next time.
                if not isinstance(error, RuntimeError):
                    _close()
                raise
    raise AssertionError("unreachable")


def _close() -> None:
    global _worker
    if _worker is not None and _owner == os.getpid():
        _worker.close()
    _worker = None


def _copy_data(source: Path, target: Path) -> None:
    """Copy what English needs, 1.5 MB, with room for our own voices."""
    (target / "lang" / "gmw").mkdir(parents=True)
    (target / "voices" / "!v").mkdir(parents=True)
    for name in _NEEDED:
        shutil.copyfile(source / name, target / name)
    for path in (source / "lang" / "gmw").glob("en*"):
        shutil.copyfile(path, target / "lang" / "gmw" / path.name)


atexit.register(_close)
