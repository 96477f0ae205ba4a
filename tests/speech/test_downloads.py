"""Named files: the data folder first, then the cache, then the network; every refusal is one clear message."""

import functools
import hashlib
import http.server
import io
import os
import socket
import sys
import tarfile
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from causalcnn.speech import (
    SOURCES,
    AudioFolder,
    NoNetworkError,
    download,
    downloads,
    example_recording,
    recording_or_embedded,
)


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "_unreachable_since", {})


@functools.cache  # an Ogg stream has a random serial number
def clip_bytes():
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.arange(16000) / 10) / 2, 16000, format="OGG")
    return buffer.getvalue()


@functools.cache
def archive_bytes():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("set/a.ogg", "set/deep/b.ogg"):
            info = tarfile.TarInfo(name)
            info.size = len(data := clip_bytes())
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def known(monkeypatch, name, data, url="https://example.invalid/"):
    """Let a known name stand for ``data``."""
    source = replace(
        SOURCES[name],
        url=url + SOURCES[name].file,
        checksum="sha256:" + hashlib.sha256(data).hexdigest(),
        size=len(data),
    )
    monkeypatch.setitem(SOURCES, name, source)
    return source


def test_the_table_is_whole():
    for name, source in SOURCES.items():
        kind, _, digits = source.checksum.partition(":")
        assert source.name == name
        assert len(digits) == {"sha256": 64, "md5": 32}[kind]
        assert source.url.startswith("https://")
        assert source.size > 0
        assert "CC BY" in source.credit or "public domain" in source.credit


def test_unknown_names_list_the_known_ones():
    with pytest.raises(KeyError, match=r"libri1.*librispeech-dev-clean"):
        download("timit")
    with pytest.raises(KeyError, match="libri1, libri2, libri3"):
        example_recording("ljspeech")


def test_without_a_network_the_error_names_file_url_and_variables():
    with pytest.raises(NoNetworkError) as caught:
        example_recording("libri1")
    message = str(caught.value)
    for word in ("5703-47212-0000.hq.ogg", "https://librosa.org/", "CAUSALCNN_DATA", "CAUSALCNN_CACHE", "0.1 MB"):
        assert word in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_unreachable_host_is_found_out_quickly_and_remembered(monkeypatch):
    monkeypatch.delenv("CAUSALCNN_OFFLINE")
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    asked = []

    def hang(*address, **_):
        asked.append(address)
        time.sleep(3)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setattr(downloads, "_unreachable", lambda url: UNREACHABLE(url, 0.2))
    begin = time.monotonic()
    for words in ("did not answer", "a moment ago"):
        with pytest.raises(NoNetworkError, match=words):
            example_recording("libri1")
    assert time.monotonic() - begin < 5
    assert len(asked) == 1


UNREACHABLE = downloads._unreachable


def test_a_chapter_falls_back_and_says_so(capsys):
    speech = recording_or_embedded("libri1", text="Hello there.", speaker=1)
    said = capsys.readouterr().out
    assert speech.speaker == "s0001"
    assert "cannot be downloaded" in said
    assert "synthesised by espeak-ng" in said
    assert "synthesised" in speech.source


def test_the_data_folder_comes_first_and_is_never_written(tmp_path, monkeypatch, capsys):
    source = known(monkeypatch, "libri1", clip_bytes())
    folder = tmp_path / "data"
    (folder / "librosa").mkdir(parents=True)
    (folder / source.data_path).write_bytes(clip_bytes())
    monkeypatch.setenv("CAUSALCNN_DATA", str(folder))
    assert download("libri1") == folder / source.data_path
    assert recording_or_embedded("libri1").source == source.credit
    assert "A real recording" in capsys.readouterr().out
    (folder / source.data_path).write_bytes(b"rotten")
    with pytest.raises(ValueError, match="fails its checksum"):
        download("libri1")


def test_a_mistyped_data_folder_is_an_error(monkeypatch):
    monkeypatch.setenv("CAUSALCNN_DATA", "/nowhere/at/all")
    with pytest.raises(FileNotFoundError, match="CAUSALCNN_DATA"):
        download("libri1")


def test_the_cache_comes_second_and_damage_is_noticed(tmp_path, monkeypatch):
    source = known(monkeypatch, "libri1", clip_bytes())
    kept = tmp_path / "cache" / source.file
    kept.parent.mkdir()
    kept.write_bytes(clip_bytes())
    assert download("libri1") == kept
    kept.write_bytes(b"rotten")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(NoNetworkError):
        download("libri1")


def test_an_archive_is_unpacked_once_and_whole(tmp_path, monkeypatch):
    source = known(monkeypatch, "free-spoken-digits", archive_bytes())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / source.file).write_bytes(archive_bytes())
    monkeypatch.setenv("CAUSALCNN_DATA", str(tmp_path / "data"))
    folder = download("free-spoken-digits")
    assert [file.name for file in AudioFolder(folder).files] == ["a.ogg", "b.ogg"]
    monkeypatch.delenv("CAUSALCNN_DATA")
    assert download("free-spoken-digits") == folder
    assert not list((tmp_path / "cache").glob("*.part"))


def test_an_archive_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    half = archive_bytes()[:300]
    source = known(monkeypatch, "free-spoken-digits", half)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / source.file).write_bytes(half)
    monkeypatch.setenv("CAUSALCNN_DATA", str(tmp_path / "data"))
    with pytest.raises((OSError, EOFError, tarfile.TarError)):
        download("free-spoken-digits")
    assert not list((tmp_path / "cache").iterdir())


@pytest.fixture
def server(monkeypatch):
    """A server on this machine that stands for the network."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = answers.get(self.path)
            self.send_response(404 if data is None else 200)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.delenv("CAUSALCNN_OFFLINE")
    monkeypatch.setattr(downloads, "_unreachable", lambda url: "")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield f"http://127.0.0.1:{running.server_port}/", answers
    running.shutdown()


def test_a_download_is_checked_and_kept(server, tmp_path, monkeypatch):
    url, answers = server
    source = known(monkeypatch, "libri1", clip_bytes(), url)
    answers["/" + source.file] = clip_bytes()
    assert example_recording("libri1").seconds == 1
    if os.name == "posix":  # for everybody whom the user lets read new files
        new = tmp_path / "new"
        new.touch()
        assert download("libri1").stat().st_mode == new.stat().st_mode
    answers.clear()
    assert download("libri1") == tmp_path / "cache" / source.file


def test_a_download_of_something_else_is_refused_and_not_kept(server, tmp_path, monkeypatch):
    url, answers = server
    source = known(monkeypatch, "libri1", clip_bytes(), url)
    answers["/" + source.file] = b"<html>Please log in to the hotel's network</html>"
    with pytest.raises(NoNetworkError, match="fails its checksum"):
        download("libri1")
    assert not (tmp_path / "cache" / source.file).exists()
    answers.clear()
    with pytest.raises(NoNetworkError, match="HTTPError"):
        download("libri1")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_file()]


@pytest.mark.parametrize("how", [KeyboardInterrupt, OSError("the cable")])
def test_a_download_that_is_interrupted_leaves_nothing_half(server, tmp_path, monkeypatch, how):
    url, _ = server
    known(monkeypatch, "libri1", clip_bytes(), url)

    def break_off(self, url, output_file, registry):
        with open(output_file, "wb") as file:
            file.write(clip_bytes()[:1000])
        raise how

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", break_off)
    with pytest.raises(KeyboardInterrupt if how is KeyboardInterrupt else NoNetworkError):
        download("libri1")
    assert list((tmp_path / "cache").iterdir()) == []


def test_unpacking_that_is_interrupted_leaves_nothing_half(tmp_path, monkeypatch):
    source = known(monkeypatch, "free-spoken-digits", archive_bytes())
    (tmp_path / "cache").mkdir()
    archive = tmp_path / "cache" / source.file
    archive.write_bytes(archive_bytes())
    extract = tarfile.TarFile.extractall

    def break_off(self, path, **more):
        extract(self, path, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(tarfile.TarFile, "extractall", break_off)
        with pytest.raises(KeyboardInterrupt):
            download("free-spoken-digits")
    assert list((tmp_path / "cache").iterdir()) == [archive]
    assert len(AudioFolder(download("free-spoken-digits"))) == 2


def test_a_cache_that_cannot_be_made_is_named(server, tmp_path, monkeypatch):
    url, answers = server
    source = known(monkeypatch, "libri1", clip_bytes(), url)
    answers["/" + source.file] = clip_bytes()
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.raises(NoNetworkError, match="Not a directory"):
        download("libri1")


def test_pooch_is_imported_only_when_needed():
    import subprocess

    code = (
        "import sys, causalcnn.speech; "
        "sys.exit(any(m in sys.modules for m in ('librosa', 'soundfile', 'pooch', 'matplotlib', 'soxr', 'numba')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
