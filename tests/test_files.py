"""A written file is whole or not there, has the permissions of any other, and leaves nothing beside it."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from causalcnn._files import atomic_write, check_writable, write_json


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("sole_writer", [False, True])
def test_the_file_appears_when_the_block_ends(tmp_path: Path, sole_writer: bool) -> None:
    target = tmp_path / "new" / "table.bin"
    with atomic_write(target, sole_writer=sole_writer) as part:
        part.write_bytes(b"first")
        assert not target.exists()
        assert part.parent == target.parent
    with atomic_write(target, sole_writer=sole_writer) as part, part.open("w", encoding="utf8") as file:
        file.write("zweite Fassung")
        assert target.read_bytes() == b"first"
    assert target.read_text("utf8") == "zweite Fassung"
    assert names(target.parent) == ["table.bin"]


@pytest.mark.parametrize("problem", [ValueError("bad table"), KeyboardInterrupt(), SystemExit(1)])
def test_a_failure_or_an_interrupt_leaves_what_was_there(tmp_path: Path, problem: BaseException) -> None:
    target = tmp_path / "table.txt"
    target.write_text("old")

    def torn() -> None:
        with atomic_write(target) as part:
            part.write_text("half")
            raise problem

    with pytest.raises(type(problem)):
        torn()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["table.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_is_honored(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "shared.txt") as part:
            part.write_text("for the group")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "shared.txt").stat().st_mode) == mode


def test_two_writers_at_once_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "cache.bin"
    with atomic_write(target) as first, atomic_write(target) as second:
        first.write_bytes(b"1111")
        second.write_bytes(b"22")
    assert target.read_bytes() == b"1111"  # the outer block ends last
    assert names(tmp_path) == ["cache.bin"]


def test_a_sole_writer_overwrites_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "run.bin.part").write_bytes(b"torn" * 100)
    with atomic_write(tmp_path / "run.bin", sole_writer=True) as part:
        assert part.stat().st_size == 0
        part.write_bytes(b"whole")
    assert names(tmp_path) == ["run.bin"]


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    target = tmp_path / "table.txt"
    words = r"cannot write '.*table.txt': No space left on device; free some space"
    with pytest.raises(OSError, match=words) as stop, atomic_write(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert stop.value.errno == errno.ENOSPC
    assert names(tmp_path) == []


def test_an_error_that_is_not_the_disks_comes_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="recording 7 is gone"), atomic_write(tmp_path / "x"):
        raise FileNotFoundError("recording 7 is gone")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_found_out_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    target = tmp_path / "file" / "table.json"
    for begin in (lambda: check_writable(target), lambda: atomic_write(target).__enter__()):
        with pytest.raises(OSError, match=r"cannot write '.*table.json': .*; choose a folder that can be written"):
            begin()
    with pytest.raises(IsADirectoryError, match="it is a folder; name a file in it"):
        check_writable(tmp_path)


def test_checking_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.json"
    check_writable(target)
    assert names(target.parent) == []
    target.write_text("old")
    check_writable(target)
    assert target.read_text() == "old"
    assert names(target.parent) == ["table.json"]


def test_a_table_is_one_value_a_line(tmp_path: Path) -> None:
    write_json(tmp_path / "table.json", {"name": "Größe", "rows": [1, 2]})
    text = (tmp_path / "table.json").read_text("utf8")
    assert text.splitlines() == ["{", ' "name": "Größe",', ' "rows": [', "  1,", "  2", " ]", "}"]
    assert json.loads(text) == {"name": "Größe", "rows": [1, 2]}
