"""The cache on disk: pieces come back as they were, lazily; whatever fails leaves nothing; errors keep their origin."""

import errno
import os
import pickle
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from causalcnn.speech import FeatureCorpus, Utterance, disk_cache
from causalcnn.speech.disk_cache import CacheReadError, CacheWriteError, cached, in_memory

PIECES = [
    ({"name": "a", "level_db": -12.3}, np.arange(6, dtype=np.float32).reshape(2, 3)),
    ({"name": "b"}, np.ones((1, 3), np.float32)),
]


def never():
    raise AssertionError("this is on the disk already")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i2", ">i2", "<f8"])
@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 4)])
def test_pieces_come_back_as_they_were(tmp_path, dtype, shape):
    pieces = [({"n": n}, np.full((n, *shape[1:]), n, dtype)) for n in range(shape[0])]
    for make in (lambda: iter(pieces), never):
        entries, array = cached(tmp_path / "deep" / "x.cache", make, "numbers")
        assert entries == [{"n": n} for n in range(shape[0])]
        assert np.array_equal(array, np.concatenate([piece for _, piece in pieces]))
        assert array.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
    assert in_memory(pieces)[0] == entries
    assert np.array_equal(in_memory(pieces)[1], array)


def test_it_is_mapped_and_not_loaded(tmp_path):
    _, array = cached(tmp_path / "x.cache", lambda: PIECES, "numbers")
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such permissions on Windows")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_file_has_the_permissions_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        cached(tmp_path / "x.cache", lambda: PIECES, "numbers")
    finally:
        os.umask(before)
    assert (tmp_path / "x.cache").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOENT, "a recording is gone"), ValueError("bad")])
def test_a_source_that_fails_keeps_its_error_and_leaves_nothing(tmp_path, error):
    def failing():
        yield PIECES[0]
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)) as caught:
        cached(tmp_path / "x.cache", failing, "numbers")
    assert not isinstance(caught.value, CacheWriteError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_disk_that_fills_up_is_named_and_leaves_nothing(tmp_path, monkeypatch, at):
    """The first piece, the second, or the index does not fit."""
    opened, appended = Path.open, []

    def full(path, mode="r", *rest, **more):
        if mode == "ab":
            appended.append(path)
            if len(appended) == at:
                raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(CacheWriteError, match=r"the numbers cannot be kept in .*No space.*CAUSALCNN_CACHE") as caught:
        cached(tmp_path / "x.cache", lambda: PIECES, "numbers")
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_found_out_before_anything_is_made(tmp_path):
    (tmp_path / "file").write_text("no folder")
    started = []

    def make():
        started.append(True)
        yield from PIECES

    with pytest.raises(CacheWriteError, match="CAUSALCNN_CACHE"):
        cached(tmp_path / "file" / "x.cache", make, "numbers")
    assert not started


def test_what_another_process_made_meanwhile_is_used_where_it_cannot_be_replaced(tmp_path, monkeypatch):
    """Windows refuses to replace a file that is being read."""
    path = tmp_path / "x.cache"

    def make():
        with monkeypatch.context() as other:
            other.setattr(os, "replace", REPLACE)
            cached(path, lambda: PIECES, "numbers")
        return iter(PIECES)

    REPLACE = os.replace

    def refuse(*_):
        raise PermissionError(errno.EACCES, "it is being read")

    monkeypatch.setattr(os, "replace", refuse)
    entries, array = cached(path, make, "numbers")
    assert entries == [entry for entry, _ in PIECES]
    assert len(array) == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_keeps_what_it_reads_while_the_file_is_replaced(tmp_path):
    path = tmp_path / "x.cache"
    _, array = cached(path, lambda: PIECES, "numbers")
    if sys.platform != "win32":
        disk_cache._write(path, [({}, np.zeros((9, 3), np.float32))], "numbers")
    assert array[1].tolist() == [3, 4, 5]


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13, 40])
def test_what_is_too_short_is_damaged(tmp_path, length):
    path = tmp_path / "x.cache"
    cached(path, lambda: PIECES, "numbers")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(UserWarning, match=r"the numbers kept in .* are damaged .* making them anew"):
        cached(path, lambda: PIECES, "numbers")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached(path, never, "numbers")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_cannot_be_read_is_not_damaged_and_stays(tmp_path, monkeypatch, number):
    """The cache of another user: making it anew each time would cost hours, and replace what is theirs."""
    path = tmp_path / "x.cache"
    cached(path, lambda: PIECES, "numbers")
    whole, opened = path.read_bytes(), Path.open

    def refuse(file, mode="r", *rest, **more):
        if file == path and mode == "rb":
            raise OSError(number, os.strerror(number))
        return opened(file, mode, *rest, **more)

    with monkeypatch.context() as other:
        other.setattr(Path, "open", refuse)
        with pytest.raises(CacheReadError, match=r"x\.cache.*cannot be read .*CAUSALCNN_CACHE"):
            cached(path, never, "numbers")
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    path = tmp_path / "x.cache"
    old, new, other = (tmp_path / f"{name}.part" for name in ("x.cache.0123", "x.cache.4567", "y.cache.0123"))
    for file in (old, new, other):
        file.write_bytes(b"half")
    long_ago = time.time() - 3 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    cached(path, lambda: PIECES, "numbers")
    assert sorted(tmp_path.iterdir()) == [path, new, other]  # new: perhaps somebody writes it just now


def test_a_pickle_names_the_file_and_copies_nothing(tmp_path):
    path = tmp_path / "x.cache"
    _, array = cached(path, lambda: [({}, np.arange(300_000.0).reshape(-1, 3))], "numbers")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(array, protocol)
        assert len(data) < 1000
        again = pickle.loads(data)
        assert isinstance(again, np.memmap)
        assert np.array_equal(again, array)
        assert len(pickle.dumps(again, protocol)) < 1000
        part = pickle.loads(pickle.dumps(array[5:7], protocol))  # a part of it is a copy of that part
        assert type(part) is np.ndarray
        assert np.array_equal(part, array[5:7])
    data = pickle.dumps(array)
    disk_cache._write(path, [({}, np.zeros((9, 3)))], "numbers")
    with pytest.raises(CacheReadError, match="made anew since"):
        pickle.loads(data)
    path.unlink()
    with pytest.raises(CacheReadError, match=r"x\.cache.*cannot be read any more"):
        pickle.loads(data)


def test_a_corpus_is_shared_by_processes_that_are_spawned(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path))
    noise = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
    corpus = FeatureCorpus.of([Utterance(noise)] * 8)
    data = pickle.dumps(corpus.with_gain(3))
    assert len(data) < corpus.frames
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).batch(0, rows=4, frames=50).features.sum().item())"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert float(done.stdout) == corpus.with_gain(3).batch(0, rows=4, frames=50).features.sum().item()
