"""A chapter runs again when it, its data or the library changed, and only then; a failing cell fails the build."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import build_book
import chapter


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository with one chapter that needs nothing."""
    for name in ("_config.yml", "requirements.txt"):
        shutil.copyfile(build_book.ROOT / name, tmp_path / name)
    for folder in ("tools", "src/causalcnn", "src/causalcnn_book", "book/claims"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copyfile(build_book.ROOT / "tools" / "executed_conftest.py", tmp_path / "tools" / "executed_conftest.py")
    (tmp_path / "src/causalcnn/x.py").write_text("y = 1\n", "utf8")
    (tmp_path / "src/causalcnn/x.js").write_text("let y = 1\n", "utf8")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/a\n", "utf8")
    write(tmp_path, "x = 1 + 1\nassert x == 2")
    monkeypatch.setattr(build_book, "ROOT", tmp_path)
    monkeypatch.setattr(build_book, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(build_book, "EXECUTED", tmp_path / "_build" / "executed")
    monkeypatch.setattr(build_book.notebooks, "__defaults__", None)
    monkeypatch.setattr(build_book.pages, "__defaults__", (tmp_path / "_toc.yml",))
    return tmp_path


def write(tree: Path, code: str) -> None:
    chapter.write(chapter.pack(f"%%%% markdown\n# A\n\n%%%% code\n{code}\n"), tree / "book" / "a.ipynb")


def pending(tree: Path) -> bool:
    key = build_book.chapter_key("book/a.ipynb", build_book.library_key())
    return build_book.last_good_run("book/a.ipynb")[0] != key


def test_a_chapter_runs_again_only_when_something_changed(tree: Path) -> None:
    assert pending(tree)
    assert build_book.execute() == 0
    executed: dict[str, Any] = json.loads((tree / "_build/executed/book/a.ipynb").read_text("utf8"))
    assert executed["cells"][1]["execution_count"] == 1
    assert "outputs" in executed["cells"][1]
    assert json.loads((tree / "book/a.ipynb").read_text("utf8"))["cells"][1]["execution_count"] is None
    assert not pending(tree)
    assert 0 < build_book.last_good_run("book/a.ipynb")[1] < 60
    (tree / "book" / "claims" / "a.toml").write_text("", "utf8")
    assert not pending(tree)
    for name in ("src/causalcnn/x.js", "src/causalcnn/x.py", "requirements.txt", "book/a.ipynb"):
        text = (tree / name).read_text("utf8")
        (tree / name).write_text(text + "\n", "utf8")
        assert pending(tree), name
        (tree / name).write_text(text, "utf8")
        assert not pending(tree), name


def test_a_failing_cell_fails_the_run_and_is_run_again(tree: Path) -> None:
    write(tree, "assert 1 == 2")
    assert build_book.execute() != 0
    assert pending(tree)


def test_a_warning_fails_the_next_build_too(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sphinx forgets the warnings of pages that it does not read again, so a failed build leaves it nothing to skip."""
    read = tree / "_build" / ".doctrees" / "book"
    statuses = iter([1, 0, 0])

    def jupyter_book(*_: Any, **__: Any) -> subprocess.CompletedProcess[bytes]:
        kept.append(read.exists())
        read.mkdir(parents=True, exist_ok=True)
        return subprocess.CompletedProcess([], next(statuses))

    kept: list[bool] = []
    monkeypatch.setattr(build_book.subprocess, "run", jupyter_book)
    assert [build_book.build() for _ in range(3)] == [1, 0, 0]
    assert kept == [False, False, True]


def test_a_page_that_is_missing_is_named(tree: Path) -> None:
    (tree / "_toc.yml").write_text("format: jb-book\nroot: book/b\n", "utf8")
    with pytest.raises(SystemExit, match="book/b"):
        build_book.pages()


def test_an_old_python_is_told_so(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bootstrap\n"
        "bootstrap.OLDEST = (9, 9); bootstrap.VENV = sys.argv[2]; bootstrap.STAMP = sys.argv[2] + '/stamp'\n"
        "bootstrap.ensure()"
    )
    tools = Path(bootstrap_folder())
    result = subprocess.run(
        [sys.executable, "-c", code, str(tools), str(tmp_path / "venv")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "needs Python 9.9 or newer" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_python_without_venv_is_told_so(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bootstrap\n"
        "real = bootstrap.answers\n"
        "bootstrap.answers = lambda command, code: 'ensurepip' not in code and real(command, code)\n"
        "bootstrap.VENV = sys.argv[2]; bootstrap.STAMP = sys.argv[2] + '/stamp'; bootstrap.ensure()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(bootstrap_folder()), str(tmp_path / "venv")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "venv" in result.stderr
    assert "apt install" in result.stderr
    assert "Traceback" not in result.stderr


def bootstrap_folder() -> Path:
    import bootstrap

    return Path(bootstrap.__file__).parent
