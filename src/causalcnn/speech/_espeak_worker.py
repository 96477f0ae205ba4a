"""The process in which espeak-ng runs. Started by ``_espeak.py`` as a script; needs the standard library only.

espeak-ng keeps its state in C globals, refuses data paths beyond 160 characters, and is GPL-3: a process of
its own, sitting *in* its data folder, answers all three.

    python -P _espeak_worker.py LIBRARY FOLDER

One request a line on standard input, as JSON. The answer on standard output: a line of JSON, then, if it
names a number of ``bytes``, so many bytes of 16-bit samples. The folder is removed at the end.
"""

from __future__ import annotations

import ctypes as C
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, BinaryIO

_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT = 2, 0x0001, 0x8000
_WORD, _END_LIST, _PHONEME = 1, 0, 7
_UTF8, _PAUSE_AT_END = 1, 0x1000
_RATE, _VOLUME = 1, 2


class _Id(C.Union):
    _fields_ = [("number", C.c_int), ("name", C.c_char_p), ("string", C.c_char * 8)]


class _Event(C.Structure):
    _fields_ = [
        ("type", C.c_int),
        ("unique_identifier", C.c_uint),
        ("text_position", C.c_int),
        ("length", C.c_int),
        ("audio_position", C.c_int),
        ("sample", C.c_int),
        ("user_data", C.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = C.CFUNCTYPE(C.c_int, C.POINTER(C.c_short), C.c_int, C.POINTER(_Event))


class Engine:
    """espeak-ng, in the present folder, which holds ``espeak-ng-data``."""

    def __init__(self, library: str) -> None:
        self.library = C.CDLL(library)
        self.library.espeak_SetVoiceByName.argtypes = [C.c_char_p]
        self.library.espeak_Synth.argtypes = [
            *(C.c_char_p, C.c_size_t, C.c_uint, C.c_int, C.c_uint, C.c_uint, C.POINTER(C.c_uint), C.c_void_p)
        ]
        self.rate_hz = int(self.library.espeak_Initialize(_SYNCHRONOUS, 0, b".", _PHONEME_EVENTS | _DONT_EXIT))
        if self.rate_hz <= 0:
            raise RuntimeError(f"espeak_Initialize answered {self.rate_hz} in {os.getcwd()}")
        self._callback = _CALLBACK(self._take)  # C holds the pointer, so Python must hold the object
        self.library.espeak_SetSynthCallback(self._callback)
        self._pieces: list[bytes] = []
        self._events: list[tuple[str, int, Any]] = []

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._pieces.append(C.string_at(samples, 2 * count))
        i = 0
        while events[i].type != _END_LIST:
            event = events[i]
            if event.type == _PHONEME:
                # Eight bytes, of which all may be used: then no zero ends them.
                raw = C.string_at(C.addressof(event.id), 8).split(b"\0", 1)[0]
                self._events.append(("phone", event.sample, raw.decode("utf8", "replace")))
            elif event.type == _WORD:
                self._events.append(("word", event.sample, event.text_position - 1))  # counts from 1
            i += 1
        return 0

    def say(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Answer one request: events and 16-bit samples."""
        voice = Path("espeak-ng-data", "voices", "!v", request["speaker"])
        if not voice.exists():
            voice.write_text(request["definition"], encoding="utf8")
        name = f"gmw/en-US+{request['speaker']}"
        if self.library.espeak_SetVoiceByName(name.encode()) != 0:
            raise RuntimeError(f"espeak-ng knows no voice {name}")
        self.library.espeak_SetParameter(_RATE, int(request["words_per_minute"]), 0)
        self.library.espeak_SetParameter(_VOLUME, int(request["volume"]), 0)
        if hasattr(self.library, "espeak_ng_SetRandSeed"):
            self.library.espeak_ng_SetRandSeed(C.c_long(1))
        self._pieces, self._events = [], []
        text = request["text"].encode("utf8") + b"\0"
        result = self.library.espeak_Synth(text, len(text), 0, 1, 0, _UTF8 | _PAUSE_AT_END, None, None)
        if result != 0:
            raise RuntimeError(f"espeak_Synth answered {result}")
        self.library.espeak_Synchronize()
        samples = b"".join(self._pieces)
        return {"rate_hz": self.rate_hz, "events": self._events, "bytes": len(samples)}, samples


def main(library: str, folder: str) -> None:
    """Answer requests until standard input ends, then remove the folder."""
    # The library may print; what it prints must not get between the answers.
    answers: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.chdir(folder)
    engine: Engine | None = None
    try:
        for line in sys.stdin.buffer:
            try:
                engine = engine or Engine(library)
                head, body = engine.say(json.loads(line))
            except Exception as error:
                head, body = {"error": f"{type(error).__name__}: {error}", "bytes": 0}, b""
            answers.write(json.dumps(head).encode() + b"\n" + body)
            answers.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        os.chdir(os.path.dirname(os.path.abspath(folder)))
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
