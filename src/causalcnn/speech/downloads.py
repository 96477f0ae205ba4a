"""Named recordings and corpora: from ``CAUSALCNN_DATA``, else from the cache, else from the network, checked."""

from __future__ import annotations

import importlib.util
import os
import socket
import tarfile
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from causalcnn._extras import require
from causalcnn.speech.environment import (
    CACHE_VARIABLE,
    DATA_VARIABLE,
    OFFLINE_VARIABLE,
    cache_folder,
    data_folder,
    offline,
)
from causalcnn.speech.recordings import read_recording
from causalcnn.speech.sentences import READ_SENTENCES
from causalcnn.speech.synthesis import synthesize
from causalcnn.speech.utterance import Utterance

_OPENSLR = "https://www.openslr.org/resources"
_LIBROSA = "https://librosa.org/data/audio"


@dataclass(frozen=True)
class Source:
    """A file that can be had by name.

    Attributes:
        name: what :func:`~causalcnn.speech.download` takes.
        url: where it is.
        checksum: ``"sha256:…"`` or ``"md5:…"``.
        size: its size in bytes.
        credit: who made it and under which licence; shown wherever it is played.
        data_path: where it lies inside ``CAUSALCNN_DATA``; it is looked for at the top of that folder, too.

    Example:
        >>> from causalcnn.speech import SOURCES
        >>> source = SOURCES["libri1"]
        >>> source.file, source.size, source.is_archive
        ('5703-47212-0000.hq.ogg', 74634, False)
        >>> source.credit
        'LibriSpeech, read by Garth Comira (LibriVox), CC BY 4.0'
    """

    name: str
    url: str
    checksum: str
    size: int
    credit: str
    data_path: str = ""

    @property
    def file(self) -> str:
        """The name of the file, without its folder."""
        return self.url.rsplit("/", 1)[1]

    @property
    def is_archive(self) -> bool:
        """Whether it is an archive, which is unpacked after the download."""
        return ".tar." in self.file


def _clip(name: str, file: str, size: int, sha256: str, who: str) -> Source:
    credit = f"LibriSpeech, {who} (LibriVox), CC BY 4.0"
    return Source(name, f"{_LIBROSA}/{file}.hq.ogg", f"sha256:{sha256}", size, credit, f"librosa/{file}.hq.ogg")


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        _clip(
            "libri1", "5703-47212-0000", 74_634,
            "f09254a0daf4b14b292868d46dc2e3c8e158d19fafff739ad4c3931e2ce7b1b0", "read by Garth Comira",
        ),
        _clip(
            "libri2", "3436-172162-0000", 77_768,
            "8e034529f2f171c7e5e772df6eccc2d169183c39605b45b351c2bfabddf14162", "read by Anders Lankford",
        ),
        _clip(
            "libri3", "198-209-0000", 69_112,
            "6a8d2c16e56dcb27b7f5fe5aa99bfd26b4722a6dabca1968eff951b456936514", "read by Heather Barnett",
        ),
        Source(
            "free-spoken-digits",
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
            "sha256:feb479fad3a37883c3d21ed7f982281c2dd1c18d5aefd7e8a5d50f58023392aa", 15_602_882,
            "Free Spoken Digit Dataset 1.0.10, Z. Jackson and others, CC BY-SA 4.0",
            "free-spoken-digit-dataset-1.0.10.tar.gz",
        ),
        Source(
            "mini-librispeech-dev-clean-2", f"{_OPENSLR}/31/dev-clean-2.tar.gz",
            "sha256:176ec501490eced2d6c1f89f4f0ddc7dfe799e649e5322f8ba49fe3ff50c8012", 126_046_265,
            "Mini LibriSpeech, V. Panayotov, D. Povey and others, CC BY 4.0",
        ),
        Source(
            "mini-librispeech-train-clean-5", f"{_OPENSLR}/31/train-clean-5.tar.gz",
            "md5:5df7d4e78065366204ca6845bb08f490", 332_954_390,
            "Mini LibriSpeech, V. Panayotov, D. Povey and others, CC BY 4.0",
        ),
        Source(
            "librispeech-dev-clean", f"{_OPENSLR}/12/dev-clean.tar.gz",
            "sha256:76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3", 337_926_286,
            "LibriSpeech, V. Panayotov, D. Povey and others, CC BY 4.0",
        ),
        Source(
            "librispeech-train-clean-100", f"{_OPENSLR}/12/train-clean-100.tar.gz",
            "sha256:d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2", 6_387_309_499,
            "LibriSpeech, V. Panayotov, D. Povey and others, CC BY 4.0",
        ),
        Source(
            "ljspeech", "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
            "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5", 2_748_572_632,
            "The LJ Speech Dataset 1.1, K. Ito and L. Johnson, public domain",
        ),
    )
}  # fmt: skip
"""Everything that can be had by name, with its size, checksum and licence."""

_unreachable_since: dict[str, float] = {}
"""When a host was found to be out of reach, by ``time.monotonic()``."""


class NoNetworkError(ConnectionError):
    """A file must be downloaded and cannot be; the message names the file, its URL and what to do."""


def download(name: str, *, progress: bool = True, unpack: bool = True) -> Path:
    """Get a named recording or corpus: found on this machine, or downloaded, checked and unpacked.

    It is looked for in ``CAUSALCNN_DATA`` (a folder that is only read), then in ``CAUSALCNN_CACHE`` (default: the
    user's cache folder). Else it is downloaded into the cache, unless ``CAUSALCNN_OFFLINE`` is 1. The checksum of a
    file is verified whenever it is used. A file or folder appears in the cache complete or not at all. The largest of
    the corpora has 6.4 GB, see ``size`` in :data:`~causalcnn.speech.SOURCES`; an unpacked archive needs its space once
    more.

    Args:
        name: a key of :data:`~causalcnn.speech.SOURCES`.
        progress: show how far a download of more than 1 MB is; that needs tqdm.
        unpack: unpack an archive; else give the archive itself.

    Returns:
        The path of the file. For an archive it is the folder in the cache that it was unpacked into, ready for
        :class:`~causalcnn.speech.AudioFolder`.

    Raises:
        KeyError: an unknown name; the message lists the known ones.
        NoNetworkError: it is not on this machine, and the network cannot be reached or gives something else, or the
            cache cannot be written.
        ValueError: the file in ``CAUSALCNN_DATA`` fails its checksum.
        FileNotFoundError: ``CAUSALCNN_DATA`` names a folder that is not there.
        OSError: an archive cannot be unpacked, because the disk is full for example.
        ImportError: the extra ``speech`` is not installed.
    """
    source = _source(name)
    unpacked = cache_folder() / source.name
    unpack = unpack and source.is_archive
    if unpack and unpacked.is_dir():
        return unpacked
    file = _find(source) or _fetch(source, progress)
    return _unpack(file, unpacked) if unpack else file


def is_local(name: str) -> bool:
    """Say whether a named recording or archive is on this machine, in ``CAUSALCNN_DATA`` or in the cache."""
    return _find(_source(name)) is not None


def example_recording(name: str = "libri1") -> Utterance:
    """Get one of librosa's three clips from LibriSpeech, about 15 s each, found or downloaded as by :func:`download`.

    LibriSpeech is under CC BY 4.0; the credit that this asks for is the ``source`` of the utterance.

    Args:
        name: ``"libri1"``, ``"libri2"`` or ``"libri3"``; each is a download of about 75 kB.

    Returns:
        The clip, 16,000 Hz mono, with its speaker and its source; no text, phones or words.

    Raises:
        KeyError: no clip has this name.
        NoNetworkError: it is not on this machine and cannot be downloaded; see :func:`recording_or_embedded`.
        ValueError: the file in ``CAUSALCNN_DATA`` fails its checksum.
        FileNotFoundError: ``CAUSALCNN_DATA`` names a folder that is not there.
        ImportError: the extra ``speech`` is not installed.
    """
    source = SOURCES.get(name)
    if source is None or source.is_archive:
        clips = ", ".join(known.name for known in SOURCES.values() if not known.is_archive)
        raise KeyError(f"no clip is called {name!r}; there are {clips}. A corpus: AudioFolder(download(name))")
    speaker = source.file.split("-")[0]
    return replace(read_recording(download(name)), speaker=f"librispeech-{speaker}", source=source.credit)


def recording_or_embedded(
    name: str = "libri1", *, text: str = READ_SENTENCES[0], speaker: int = 3, announce: bool = True
) -> Utterance:
    """Get a real clip where it can be had, else an embedded sentence, and print which of the two it is.

    Args:
        name: a clip, as for :func:`example_recording`.
        text: what the embedded speaker says where there is no clip.
        speaker: the number of that speaker, 0 … 9999.
        announce: print which of the two it is. The ``source`` of the utterance says so, too.

    Returns:
        The clip or the sentence, 16,000 Hz mono.

    Raises:
        KeyError: no clip has this name.
        ValueError: the file in ``CAUSALCNN_DATA`` fails its checksum; for embedded speech, a text without words or a
            speaker who is not there.
        FileNotFoundError: ``CAUSALCNN_DATA`` names a folder that is not there.
        RuntimeError: espeak-ng refused the text, or its process died twice.
        ImportError: the extra ``speech`` is not installed.
    """
    try:
        speech = example_recording(name)
        message = f"A real recording: {speech.source}."
    except NoNetworkError:
        speech = synthesize(text, speaker=speaker)
        message = (
            f"The recording {name!r} is not on this machine and cannot be downloaded, so this is speech "
            f"{speech.source}. Set {DATA_VARIABLE} to a folder that has {SOURCES[name].data_path}, or go online."
        )
    if announce:
        print(message)
    return speech


# ---------------------------------------------------------------------- finding and fetching
def _source(name: str) -> Source:
    if name not in SOURCES:
        raise KeyError(f"no source is called {name!r}; there are {', '.join(SOURCES)}")
    return SOURCES[name]


def _find(source: Source) -> Path | None:
    """Look for the file in the data folder and in the cache, and verify its checksum."""
    folder = data_folder()
    if folder is not None:
        for file in (folder / (source.data_path or source.file), folder / source.file):
            if file.is_file():
                if not _matches(file, source.checksum):
                    raise ValueError(
                        f"{str(file)!r} fails its checksum ({source.checksum}): it is damaged or another version. "
                        f"Replace or remove it; {DATA_VARIABLE} is never written to"
                    )
                return file
    file = cache_folder() / source.file
    if file.is_file():
        if _matches(file, source.checksum):
            return file
        warnings.warn(f"{str(file)!r} is damaged (it fails its checksum); it is fetched anew", stacklevel=4)
    return None


def _matches(file: Path, checksum: str) -> bool:
    algorithm, _, expected = checksum.partition(":")
    return require("pooch", extra="speech").file_hash(str(file), alg=algorithm) == expected


def _fetch(source: Source, progress: bool) -> Path:
    """Download the file into the cache, where it appears complete and checked, or not at all."""
    pooch = require("pooch", extra="speech")
    pooch.get_logger().setLevel("WARNING")
    registry = pooch.create(
        cache_folder(),
        base_url="",
        registry={known.file: known.checksum for known in SOURCES.values()},
        urls={known.file: known.url for known in SOURCES.values()},
    )
    show = progress and source.size > 1_000_000 and importlib.util.find_spec("tqdm") is not None
    get = pooch.HTTPDownloader(progressbar=show, timeout=20)

    def into_a_new_file(url: str, file: str, registry: object) -> None:
        os.unlink(file)  # pooch's temporary file is for this user only; a new one has the usual permissions
        get(url, file, registry)

    reason = f"{OFFLINE_VARIABLE} is set" if offline() else _unreachable(source.url)
    if not reason:
        try:
            return Path(registry.fetch(source.file, downloader=into_a_new_file))
        except ValueError:  # a log-in page of a hotel, for example
            reason = "what came from the network fails its checksum"
        except OSError as error:  # all of requests' errors are OSErrors
            reason = f"{type(error).__name__}: {error.strerror}" if error.strerror else type(error).__name__
    raise NoNetworkError(
        f"{source.file!r} ({source.name}, {source.size / 1e6:.1f} MB) is not on this machine and cannot be downloaded "
        f"({reason}). Either go online; or get it from {source.url} and put it into the folder that {CACHE_VARIABLE} "
        f"names (now {cache_folder()}); or set {DATA_VARIABLE} to a folder that has "
        f"{source.data_path or source.file!r}. Embedded speech (synthesize, EmbeddedSpeech) needs no download."
    )


def _unreachable(url: str, patience_seconds: float = 4.0) -> str:
    """Say why the host of a URL cannot be reached, ``""`` if it can: quickly, and remembered for a minute.

    A thread, because no timeout covers the look-up of a host's name, which can hang for a minute without a network.
    """
    if urllib.request.getproxies():
        return ""  # the proxy decides; requests has its own timeout
    host = urllib.parse.urlsplit(url).hostname or ""
    if time.monotonic() - _unreachable_since.get(host, float("-inf")) < 60:
        return f"{host} could not be reached a moment ago"
    outcome = [f"{host} did not answer in {patience_seconds:g} s"]

    def connect() -> None:
        try:
            socket.create_connection((host, 443), timeout=patience_seconds).close()
            outcome.append("")
        except OSError as error:
            outcome.append(f"{host} cannot be reached: {error}")

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(patience_seconds + 0.5)
    if outcome[-1]:
        _unreachable_since[host] = time.monotonic()
    return outcome[-1]


def _unpack(archive: Path, target: Path) -> Path:
    """Unpack into a folder that appears complete or not at all, which pooch's own unpacking does not promise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Python 3.11.0 to 3.11.3 have no filter; the checksum has vouched for the archive.
    safe: dict = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", suffix=".part", dir=target.parent) as part:
        whole = Path(part) / target.name
        whole.mkdir()
        with tarfile.open(archive) as tar:
            tar.extractall(whole, **safe)
        try:
            os.replace(whole, target)
        except OSError:
            if not target.is_dir():  # else another process was quicker
                raise
    return target
