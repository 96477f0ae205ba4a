"""`make lint` checks the JavaScript where it can, and says so where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

import javascript


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with one script and one style sheet, on a machine without Node."""
    (tmp_path / "book" / "assets").mkdir(parents=True)
    (tmp_path / "book" / "assets" / "page.js").write_text("const x = 1;\n", "utf8")
    (tmp_path / "book" / "assets" / "page.css").write_text("p { top: 0 }\n", "utf8")
    monkeypatch.setattr(javascript, "ROOT", tmp_path)
    monkeypatch.setattr(javascript.shutil, "which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    return tmp_path


def test_without_node_it_says_that_nothing_was_checked(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert javascript.main() == 0
    assert "was not checked" in capsys.readouterr().out


@pytest.mark.usefixtures("tree")
def test_in_ci_a_missing_node_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert javascript.main() == 1


@pytest.mark.parametrize("name", ["page.js", "page.css"])
def test_a_long_line_is_an_error_wherever_it_is(tree: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "book" / "assets" / name).write_text("/* short */\n/* " + "x" * 115 + " */\n", "utf8")
    assert javascript.main() == 1
    assert f"book/assets/{name}:2: 121 characters; 120 are allowed" in capsys.readouterr().out
