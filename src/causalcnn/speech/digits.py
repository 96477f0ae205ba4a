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
    """3,000 spoken digits by six speakers, 22 minutes, read one after the other from their archive.

    The archive (15.6 MB) is looked for in ``CAUSALCNN_DATA`` and in the cache, else downloaded from GitHub into the
    cache. It is never unpacked. Its licence, CC BY-SA 4.0, asks that the authors are named and that what is made from
    the recordings is shared alike; each utterance carries the credit as its ``source``.

    The digits were recorded with 8,000 samples a second. Like every recording they are brought to 16,000 Hz by soxr's
    high quality resampler, and so have nothing above 4,000 Hz: score them on ``bands_below(4000)``. The text of an
    utterance is its digit; its speaker comes from the name of the file.

    Args:
        progress: show how far a download is.

    Attributes:
        NAME: the name of the archive in :data:`~causalcnn.speech.SOURCES`.

    Raises:
        NoNetworkError: the archive is not on this machine and cannot be downloaded.
        ValueError: the archive in ``CAUSALCNN_DATA`` fails its checksum.
        FileNotFoundError: ``CAUSALCNN_DATA`` names a folder that is not there.
        ImportError: the extra ``speech`` is not installed.

    Example:
        >>> from causalcnn.speech import SOURCES, SpokenDigits
        >>> SOURCES[SpokenDigits.NAME].credit
        'Free Spoken Digit Dataset 1.0.10, Z. Jackson and others, CC BY-SA 4.0'
        >>> name, utterance = next(SpokenDigits().named())        # doctest: +SKIP
        >>> name, utterance.text, utterance.speaker               # doctest: +SKIP
        ('0_george_0.wav', '0', 'george')

    Source:
        Zohar Jackson and others, Free Spoken Digit Dataset 1.0.10, https://github.com/Jakobovski/free-spoken-digit-dataset
    """

    NAME = "free-spoken-digits"

    def __init__(self, *, progress: bool = True) -> None:
        self.source = SOURCES[self.NAME].credit
        """Authors and licence, as every utterance has them."""
        self._archive = download(self.NAME, progress=progress, unpack=False)

    def identity(self) -> str:
        """Give the name that its features are cached under; the checksum of the archive is in it."""
        return f"{self.NAME} {SOURCES[self.NAME].checksum}"

    def __iter__(self) -> Iterator[Utterance]:
        return (utterance for _, utterance in self.named())

    def named(self) -> Iterator[tuple[str, Utterance]]:
        """Read every digit with the name of its file, in the order of the archive.

        Yields:
            The name, ``"7_theo_12.wav"`` for example, and the utterance, 16,000 Hz mono.

        Raises:
            ImportError: the extra ``speech`` is not installed.
        """
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
