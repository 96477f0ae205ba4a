"""CONTRIBUTING shows a whole explorer in thirty lines, and it works."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn_book import script
from causalcnn_book.explorer import Explorer, traitlets

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf8")
RECIPE = TEXT[TEXT.index("**To add an explorer**") : TEXT.index("**To add an experiment**")]
SCRIPT, TRAITS = (re.search(rf"```{kind}\n(.*?)```", RECIPE, re.S)[1] for kind in ("js", "python"))  # type: ignore[index]


@pytest.fixture
def figure_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Explorer]:
    """The class of the recipe, beside its module."""
    shutil.copy(script.HERE / "explorer.js", tmp_path)
    (tmp_path / "delays").mkdir()
    (tmp_path / "delays" / "delay_explorer.js").write_text(SCRIPT, "utf8")
    monkeypatch.setattr(script, "HERE", tmp_path)
    names: dict[str, type[Explorer]] = {"Explorer": Explorer, "traitlets": traitlets}
    exec(TRAITS, names)
    return names["DelayExplorer"]


def test_it_has_at_most_thirty_lines() -> None:
    assert len(SCRIPT.splitlines()) + len(TRAITS.splitlines()) <= 30


def test_it_counts_says_and_draws(figure_class: type[Explorer]) -> None:
    figure = figure_class(delay=2)
    assert figure.read() == {"past": 2}
    assert figure.draw()["sentence"] == "The output reads the frame 2 frames (20 ms) ago."
    assert figure.static().count("<svg") == 2
    assert (figure.controls, figure.readouts) == (["delay"], ["past"])
    assert figure.get_state()["_esm"].count("const declaration=") == 1
