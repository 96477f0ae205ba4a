"""The skeleton of a chapter passes every structural check; each check fails on a fault planted in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import build_book
import chapter
import chapter_checks
import check_book

BOOK = build_book.ROOT / "book"
REFERENCES = (BOOK / "references.bib").read_text("utf8")
GLOSSARY = "receptive field\n  The inputs that an output reads.\n"


@pytest.fixture
def skeleton() -> dict[str, Any]:
    return chapter.pack(chapter.skeleton("Trial"))


def problems(notebook: dict[str, Any]) -> list[str]:
    return chapter_checks.chapter_problems(notebook, REFERENCES, GLOSSARY)


def by_id(notebook: dict[str, Any], identity: str) -> dict[str, Any]:
    return next(cell for cell in notebook["cells"] if cell["id"] == identity)


def replace(identity: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def plant(notebook: dict[str, Any]) -> None:
        cell = by_id(notebook, identity)
        text = "".join(cell["source"])
        assert old in text
        cell["source"] = [text.replace(old, new)]

    return plant


def output(data: dict[str, str]) -> Callable[[dict[str, Any]], None]:
    def plant(notebook: dict[str, Any]) -> None:
        cell = by_id(notebook, "run-2")
        cell["outputs"] = [{"output_type": "display_data", "data": data, "metadata": {}}]

    return plant


def long_cells(notebook: dict[str, Any]) -> None:
    for cell in chapter_checks.cells(notebook, "code")[1:]:
        cell["source"] = ["x = 1\n" * 20 + "assert x"]


def unfolded(notebook: dict[str, Any]) -> None:
    by_id(notebook, "solution-2")["metadata"] = {"tags": ["solution"]}


def without_solution(notebook: dict[str, Any]) -> None:
    notebook["cells"].remove(by_id(notebook, "solution-3"))


def without_exercise(notebook: dict[str, Any]) -> None:
    notebook["cells"].remove(by_id(notebook, "solution-3"))
    notebook["cells"].remove(by_id(notebook, "exercise-3"))


def without_setup(notebook: dict[str, Any]) -> None:
    notebook["cells"].remove(by_id(notebook, "setup"))


FAULTS: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("has outputs", output({"text/plain": "3"})),
    ("has no alt text (metadata", output({"image/png": "AA"})),
    ("has no alt text", replace("closing", "First line", "![](x.png) line")),
    ("meta description", replace("opening", "What the reader finds in this chapter, in one or two plain", "Some")),
    ("no opening block", replace("opening", ":class: opening", ":class: note")),
    ("lacks **You need**", replace("opening", "**You need**", "You need")),
    ("lacks '**Reading time**", replace("opening", "**Run time** 5 seconds", "**Run time** short")),
    ("reading time", replace("opening", "1 minute.", "55 minutes.")),
    ("not the set-up cell", without_setup),
    ("the median cell", long_cells),
    ("longer than 15", long_cells),
    ("predict-then-run", replace("predict-1", ":class: predict", ":class: note")),
    ("at least three are wanted", without_exercise),
    ("no code cell with the tag", without_solution),
    ("not folded", unfolded),
    ("does not end in an assertion", replace("solution-1", "assert ", "print")),
    ("summary has 4", replace("closing", "- First line.\n", "")),
    ("no section '## Next'", replace("closing", "## Next", "## Later")),
    ("does not print its number arXiv:1609.03499", replace("closing", "arXiv:1609.03499", "arXiv")),
    ("is not in book/references.bib", replace("closing", "oord2016wavenet", "nobody1999")),
    ("links nowhere", replace("closing", "(notation.md)", "")),
    ("no interactive figure", replace("cone", "ConeExplorer()", "1 + 1")),
    ("not in the glossary", replace("closing", "First line", "{term}`unheard of`")),
]


def test_skeleton_has_every_part(skeleton: dict[str, Any]) -> None:
    skeleton_lede = "What the reader finds in this chapter, in one or two plain sentences"
    assert skeleton_lede in "".join(skeleton["cells"][0]["source"])
    assert [p for p in problems(skeleton) if "meta" not in p] == []


def test_text_form_and_back_is_the_same_notebook(skeleton: dict[str, Any], tmp_path: Path) -> None:
    assert chapter.pack(chapter.unpack(skeleton)) == skeleton
    chapter.write(skeleton, tmp_path / "x.ipynb")
    assert json.loads((tmp_path / "x.ipynb").read_text("utf8")) == skeleton
    with pytest.raises(ValueError, match="used twice"):
        chapter.pack('%%%% code {"id": "a"}\n%%%% code {"id": "a"}\n')
    with pytest.raises(ValueError, match="before the first"):
        chapter.pack("hello\n%%%% code\n")


@pytest.mark.parametrize(("message", "plant"), FAULTS, ids=[message for message, _ in FAULTS])
def test_planted_fault_is_found(
    skeleton: dict[str, Any], message: str, plant: Callable[[dict[str, Any]], None]
) -> None:
    faulty = copy.deepcopy(skeleton)
    plant(faulty)
    wanted = "good description" if message == "meta description" else message
    assert any(wanted in problem for problem in problems(faulty)), problems(faulty)


def test_what_comes_next_is_the_next_chapter(skeleton: dict[str, Any]) -> None:
    assert chapter_checks.leads_on(skeleton, None) == []
    assert "does not link to the next chapter, dilation.ipynb" in chapter_checks.leads_on(skeleton, "dilation")[0]
    replace("closing", "(notation.md)", "(dilation.ipynb)")(skeleton)
    assert chapter_checks.leads_on(skeleton, "dilation") == []
    assert check_book.following("causality") == "dilation"
    assert check_book.following("vocoder") is None


def test_pictures_of_the_executed_chapters_have_alt_text() -> None:
    found = []
    for name in build_book.notebooks():
        executed = build_book.EXECUTED / name
        if executed.exists():
            found += [f"{name}: {p}" for p in chapter_checks.pictures(json.loads(executed.read_text("utf8")))]
    assert found == []


def test_every_notebook_in_git_is_clean() -> None:
    for path in sorted(BOOK.glob("*.ipynb")):
        assert chapter_checks.cleanliness(json.loads(path.read_text("utf8"))) == [], path.name


def test_glossary_is_sorted_and_defines_each_term_once() -> None:
    path = BOOK / "glossary.md"
    if not path.exists():
        pytest.skip("there is no glossary yet")
    inside = path.read_text("utf8").split("{glossary}", 1)[1].split("```", 1)[0]
    terms = [line for line in inside.splitlines() if line and not line.startswith((" ", ":"))]
    assert len(terms) == len(set(terms))
    assert terms
