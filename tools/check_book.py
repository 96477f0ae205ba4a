"""Check chapters as they stand in git: structure and claims, in seconds, without building anything.

python tools/check_book.py            every page of the table of contents
python tools/check_book.py NAME …     these chapters, in the table of contents or not
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import build_book
import chapter_checks
import claims

ROOT = build_book.ROOT
BOOK = ROOT / "book"
# Pages that are written by the build, or are tables of symbols: nothing in them claims a number.
WITHOUT_CLAIMS = {"api", "bibliography"}
# Pages that are notebooks without being chapters: they need no exercises and no summary.
NOT_CHAPTERS = {"index", "errata", "glossary", "benchmarks"}


def read(name: str) -> Path:
    """Return the file of a page, notebook or Markdown."""
    for suffix in (".ipynb", ".md"):
        if (BOOK / f"{name}{suffix}").exists():
            return BOOK / f"{name}{suffix}"
    raise SystemExit(f"there is no book/{name}.ipynb and no book/{name}.md")


def problems(name: str) -> list[str]:
    """Return all that is wrong with one page."""
    path = read(name)
    text = path.read_text("utf8")
    glossary = (BOOK / "glossary.md").read_text("utf8") if (BOOK / "glossary.md").exists() else ""
    found: list[str] = []
    if path.suffix == ".ipynb":
        notebook = json.loads(text)
        markdown = [chapter_checks.source(cell) for cell in chapter_checks.cells(notebook, "markdown")]
        if name in NOT_CHAPTERS:
            found += chapter_checks.cleanliness(notebook) + chapter_checks.terms(markdown, glossary)
        else:
            references = (BOOK / "references.bib").read_text("utf8")
            found += chapter_checks.chapter_problems(notebook, references, glossary)
            found += chapter_checks.leads_on(notebook, following(name))
    else:
        markdown = [text]
        found += chapter_checks.terms(markdown, glossary)
    found = [f"{name}: {problem}" for problem in found]
    if name.split("/")[0] not in WITHOUT_CLAIMS:
        found += claims.problems(name, markdown, claims.read(BOOK / "claims" / f"{name}.toml"))
    return found


def following(name: str) -> str | None:
    """Return the chapter behind this one in the table of contents; none behind the last, or of a page outside."""
    order = [Path(page).stem for page in build_book.notebooks() if Path(page).stem not in NOT_CHAPTERS]
    return dict(itertools.pairwise(order)).get(name)


def names() -> list[str]:
    """Return the names of the pages in the table of contents, with their folder below ``book/``."""
    return [Path(page).relative_to("book").with_suffix("").as_posix() for page in build_book.pages()]


def main(chosen: list[str]) -> int:
    """Print what is wrong; return 1 when anything is."""
    found = [problem for name in chosen or names() for problem in problems(name)]
    for problem in found:
        print(problem)
    print(f"{len(found)} problems.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
