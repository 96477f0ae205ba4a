"""The Free Spoken Digit Dataset, read from its archive as it is."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import numpy as np

from causalcnn._extras import require
from causalcnn.speech.downloads import SOURCES, download
from causalcnn.speech.front_end import RATE_HZ
from causalcnn.speech.utterance import Utterance

__all__ = ["SpokenDigits"]

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)\.wav")


class SpokenDigits(Iterable[Utterance]):
    """3,000 spoken digits by six speakers, 22 minutes, read one after the other from the archive, never unpacked.

    They were recorded with 8,000 samples a second. Like every recording they are brought to 16,000 by soxr's
    high quality resampler, and so have nothing above 4,000 Hz: score them on ``bands_below(4000)``. The text of
    an utterance is its digit, the speaker comes from the file's name.

    Args:
        progress: show how far a download is.

    Raises:
        NoNetworkError: the archive is not on this machine and cannot be downloaded.

    Source: Z. Jackson and others, Free Spoken Digit Dataset 1.0.10, CC BY-SA 4.0.
    """

    NAME = "free-spoken-digits"

    def __init__(self, *, progress: bool = True) -> None:
        self.source = SOURCES[self.NAME].credit
        self._archive = download(self.NAME, progress=progress, unpack=False)

    def identity(self) -> str:
        """The name under which its features are cached: the checksum of its archive is in it."""
        return f"{self.NAME} {SOURCES[self.NAME].checksum}"

    def __iter__(self) -> Iterator[Utterance]:
        return (utterance for _, utterance in self.named())

    def named(self) -> Iterator[tuple[str, Utterance]]:
        """Every digit with its file's name, ``"7_theo_12.wav"``, in the order of the archive."""
        soundfile, soxr = require("soundfile", extra="speech"), require("soxr", extra="speech")
        with tarfile.open(self._archive, "r:*") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                known = _NAME.fullmatch(name.name)
                file = archive.extractfile(member)
                if known is None or file is None or name.parent.name != "recordings":
                    continue
                samples, rate_hz = soundfile.read(io.BytesIO(file.read()), dtype="float32", always_2d=True)
                mono = soxr.resample(samples.mean(axis=1), rate_hz, RATE_HZ, quality="HQ").astype(np.float32)
                yield name.name, Utterance(mono, text=known["digit"], speaker=known["speaker"], source=self.source)
