"""The cache on disk: pieces come back as they were, lazily; whatever fails leaves nothing; errors keep their origin."""

import errno
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from causalcnn.speech import disk_cache
from causalcnn.speech.disk_cache import CacheWriteError, cached, in_memory

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
