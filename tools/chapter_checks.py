"""What a chapter in git must have: its parts, short code, no outputs, a text for every picture, real references."""

from __future__ import annotations

import ast
import re
import statistics
from pathlib import Path
from typing import Any

import setup_cell

ROOT = Path(__file__).resolve().parent.parent
MEDIAN_LINES, MOST_LINES, MOST_SHARE = 6, 15, 0.9
WORDS_A_MINUTE = 180
Notebook = dict[str, Any]


def source(cell: dict[str, Any]) -> str:
    """Return a cell's text."""
    return "".join(cell["source"])


def tags(cell: dict[str, Any]) -> list[str]:
    """Return a cell's tags."""
    return list(cell["metadata"].get("tags", []))


def cells(notebook: Notebook, kind: str) -> list[dict[str, Any]]:
    """Return the cells of one kind."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def cleanliness(notebook: Notebook) -> list[str]:
    """No outputs, no counts, stable ids, the kernel python3, only the metadata that the book uses."""
    found = []
    for cell in cells(notebook, "code"):
        if cell.get("outputs") or cell.get("execution_count") is not None:
            found.append(f"cell {cell.get('id')!r} has outputs or a count; git holds chapters without them")
    for cell in notebook["cells"]:
        extra = set(cell["metadata"]) - {"tags", "mystnb"}
        if extra:
            found.append(f"cell {cell.get('id')!r} has the metadata {sorted(extra)}; only tags and mystnb are used")
        if re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f-]+)?", cell.get("id", "")) or not cell.get("id"):
            found.append(f"the id {cell.get('id')!r} is missing or random; give the cell a word for an id")
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        found.append("the kernelspec must be python3, which every environment has")
    extra = set(notebook["metadata"]) - {"kernelspec"}
    if extra:
        found.append(f"the notebook has the metadata {sorted(extra)}; only the kernelspec belongs in git")
    return found


def opening(notebook: Notebook) -> list[str]:
    """A title, a lede that serves as the description, the opening block, the set-up cell."""
    found = []
    first = source(notebook["cells"][0])
    lede = re.match(r"# .+\n\n((?:.+\n?)+)", first)
    words = " ".join(lede.group(1).split()) if lede else ""
    if not 50 <= len(words) <= 160:
        found.append(f"the lede after the title has {len(words)} characters; 50 to 160 make a good description")
    head = "\n".join(source(cell) for cell in notebook["cells"][:3] if cell["cell_type"] == "markdown")
    if ":class: opening" not in head:
        found.append("there is no opening block (an admonition with :class: opening)")
    for part in ("**You will be able to**", "**You need**"):
        if part not in head:
            found.append(f"the opening block lacks {part}")
    times = re.search(r"\*\*Reading time\*\* (\d+) minutes?\. +\*\*Run time\*\* (\d+) seconds? on two CPU cores", head)
    if not times:
        found.append("the opening block lacks '**Reading time** N minutes. **Run time** N seconds on two CPU cores.'")
    else:
        text = " ".join(source(cell) for cell in cells(notebook, "markdown"))
        lines = sum(len(source(cell).splitlines()) for cell in cells(notebook, "code"))
        honest = len(re.findall(r"\w+", text)) / WORDS_A_MINUTE + lines / 20
        if not honest / 2 <= int(times.group(1)) + 1 <= honest * 2 + 5:
            found.append(f"reading time {times.group(1)} minutes; {honest:.0f} are nearer the truth")
        if not 1 <= int(times.group(2)) <= 90:
            found.append(f"run time {times.group(2)} s; a chapter has 90 s")
    code = cells(notebook, "code")
    if not code or source(code[0]) != setup_cell.IN_GIT or code[0].get("id") != setup_cell.SETUP_ID:
        found.append("the first code cell is not the set-up cell of tools/setup_cell.py with the id 'setup'")
    elif "remove-cell" not in tags(code[0]):
        found.append("the set-up cell lacks the tag remove-cell")
    return found


def cell_lengths(notebook: Notebook) -> list[str]:
    """Code is short: median at most 6 lines, nine in ten at most 15."""
    lengths = sorted(len(source(cell).strip().splitlines()) for cell in cells(notebook, "code")[1:])
    if not lengths:
        return ["there is no code"]
    found = []
    if statistics.median(lengths) > MEDIAN_LINES:
        found.append(f"the median cell has {statistics.median(lengths):g} lines; {MEDIAN_LINES} are allowed")
    share = sum(length <= MOST_LINES for length in lengths) / len(lengths)
    if share < MOST_SHARE:
        found.append(f"{1 - share:.0%} of the cells are longer than {MOST_LINES} lines; one in ten may be")
    return found


def predictions(notebook: Notebook) -> list[str]:
    """At least three questions before experiments, each followed by code and then by words."""
    kinds = [(cell["cell_type"], ":class: predict" in source(cell)) for cell in notebook["cells"]]
    asked = sum(predict for _, predict in kinds)
    found = [] if asked >= 3 else [f"{asked} predict-then-run questions; at least three are wanted"]
    for at, (_, predict) in enumerate(kinds):
        if predict and ("code", False) not in kinds[at + 1 : at + 3]:
            found.append(f"cell {notebook['cells'][at]['id']!r} asks a question, and no code runs after it")
    return found


def exercises(notebook: Notebook) -> list[str]:
    """At least three exercises, each with a folded solution that is executed and ends in an assertion."""
    groups: list[list[dict[str, Any]]] = []
    found = []
    for cell in notebook["cells"]:
        heading = re.search(r"^### Exercise (\d+): \S", source(cell), re.M) if cell["cell_type"] == "markdown" else None
        if heading:
            groups.append([])
            if int(heading.group(1)) != len(groups):
                found.append(f"exercise {heading.group(1)} is the {len(groups)}th; number them in order")
        elif re.search(r"^## ", source(cell), re.M) and cell["cell_type"] == "markdown" and groups:
            break
        elif groups and cell["cell_type"] == "code" and "solution" in tags(cell):
            groups[-1].append(cell)
    if len(groups) < 3:
        found.append(f"{len(groups)} exercises ('### Exercise N: title'); at least three are wanted")
    for number, solution in enumerate(groups, start=1):
        if not solution:
            found.append(f"exercise {number} has no code cell with the tag 'solution'")
            continue
        for cell in solution:
            label = cell["metadata"].get("mystnb", {}).get("code_prompt_show")
            if "hide-cell" not in tags(cell) or label != "Solution":
                found.append(f"a solution of exercise {number} is not folded (hide-cell) under the label 'Solution'")
        body = ast.parse(re.sub(r"^\s*[%!].*$", "pass", source(solution[-1]), flags=re.M)).body
        if not body or not isinstance(body[-1], ast.Assert):
            found.append(f"the solution of exercise {number} does not end in an assertion")
    return found


def closing(notebook: Notebook, references: str) -> list[str]:
    """A summary in five lines, references with their numbers, and what comes next."""
    text = "\n\n".join(source(cell) for cell in cells(notebook, "markdown"))
    sections = dict(re.findall(r"^## (Summary|References|Next)\s*\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    found = [f"there is no section '## {name}'" for name in ("Summary", "References", "Next") if name not in sections]
    items = re.findall(r"^(?:[-*]|\d+\.) ", sections.get("Summary", ""), re.M)
    if len(items) != 5:
        found.append(f"the summary has {len(items)} lines (list items); five are wanted")
    entries = re.split(r"^- ", sections.get("References", ""), flags=re.M)[1:]
    if not entries:
        found.append("the references are no list")
    for entry in entries:
        found += _reference(entry, references)
    if "Next" in sections and not re.search(r"\]\(|\{doc\}", sections["Next"]):
        found.append("'## Next' links nowhere")
    return found


def leads_on(notebook: Notebook, following: str | None) -> list[str]:
    """What comes next leads to the chapter that does: ``following``, by the table of contents."""
    text = "\n\n".join(source(cell) for cell in cells(notebook, "markdown"))
    section = re.search(r"^## Next\s*\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    if following is None or section is None or f"]({following}.ipynb)" in section.group(1):
        return []
    return [f"'## Next' does not link to the next chapter, {following}.ipynb"]


def _reference(entry: str, references: str) -> list[str]:
    keys = [key.strip() for found in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", entry) for key in found.split(",")]
    if not keys:
        return [f"the reference {entry.strip()[:60]!r} cites nothing: use {{cite:t}}`key`"]
    found = []
    for key in keys:
        match = re.search(r"@\w+\{" + re.escape(key) + r",(.*?)\n\}", references, re.S)
        if not match:
            found.append(f"{key!r} is not in book/references.bib")
            continue
        number = re.search(r"(eprint|doi)\s*=\s*\{([^}]+)\}", match.group(1))
        printed = f"{'arXiv' if number.group(1) == 'eprint' else 'doi'}:{number.group(2)}" if number else ""
        if printed and printed.lower() not in entry.lower():
            found.append(f"the reference to {key!r} does not print its number {printed}")
    return found


def pictures(notebook: Notebook) -> list[str]:
    """Every picture of an executed chapter, and every picture in its text, has alt text."""
    found = []
    for cell in cells(notebook, "markdown"):
        found += [f"the picture {path!r} has no alt text" for path in re.findall(r"!\[\s*\]\(([^)]*)\)", source(cell))]
    for cell in cells(notebook, "code"):
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" not in data and any(kind.startswith("image/") for kind in data) and not alt.strip():
                found.append(f"the picture that cell {cell['id']!r} draws has no alt text (metadata mystnb.image.alt)")
    return found


def figures(notebook: Notebook) -> list[str]:
    """At least one explorer a chapter."""
    live = [cell for cell in cells(notebook, "code") if re.search(r"\b\w+Explorer(\.of)?\(", source(cell))]
    return [] if live else ["there is no interactive figure (…Explorer(…))"]


def terms(markdown: list[str], glossary: str) -> list[str]:
    """Every term that the text points to stands in the glossary."""
    known = {line.strip().lower() for line in glossary.splitlines() if line.strip()}
    used = re.findall(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`", "\n".join(markdown))
    return [f"the term {term!r} is not in the glossary" for term in used if " ".join(term.split()).lower() not in known]


def chapter_problems(notebook: Notebook, references: str, glossary: str) -> list[str]:
    """Return all that is wrong with the structure of one chapter as it stands in git."""
    markdown = [source(cell) for cell in cells(notebook, "markdown")]
    return [
        *cleanliness(notebook),
        *opening(notebook),
        *cell_lengths(notebook),
        *predictions(notebook),
        *exercises(notebook),
        *closing(notebook, references),
        *figures(notebook),
        *pictures(notebook),
        *terms(markdown, glossary),
    ]
