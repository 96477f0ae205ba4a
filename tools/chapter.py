"""Write chapters as plain text: a new skeleton, a notebook unpacked to text, text packed to a notebook.

    python tools/chapter.py new NAME "Title"
    python tools/chapter.py unpack book/NAME.ipynb NAME.txt
    python tools/chapter.py pack NAME.txt book/NAME.ipynb

See CONTRIBUTING.md, 'How to write a chapter'.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import setup_cell
from causalcnn._files import atomic_write

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(r"^%%%% (markdown|code)(?: (\{.*\}))?\s*$")
SOLUTION: dict[str, Any] = {"tags": ["solution", "hide-cell"], "mystnb": {"code_prompt_show": "Solution"}}


def pack(text: str) -> dict[str, Any]:
    """Return the notebook that a chapter's text form describes.

    Raises:
        ValueError: text before the first cell, metadata that is no JSON object, an id twice or malformed.
    """
    cells: list[dict[str, Any]] = []
    source: list[str] = []

    def close() -> None:
        if cells:
            cells[-1]["source"] = "\n".join(source).strip("\n").splitlines(keepends=True)
        elif "".join(source).strip():
            raise ValueError(f"text before the first '%%%%' line: {source[0]!r}")
        source.clear()

    for number, line in enumerate(text.splitlines(), start=1):
        match = MARK.match(line)
        if not match:
            if line.startswith("%%%%"):
                raise ValueError(f"line {number}: {line!r} is not '%%%% markdown' or '%%%% code', with JSON after it")
            source.append(line)
            continue
        close()
        metadata = json.loads(match.group(2) or "{}")
        identity = metadata.pop("id", f"{match.group(1)}-{len(cells) + 1}")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", identity) or identity in {c["id"] for c in cells}:
            raise ValueError(f"line {number}: the id {identity!r} is malformed, or used twice")
        cell: dict[str, Any] = {"cell_type": match.group(1), "id": identity, "metadata": metadata, "source": []}
        if match.group(1) == "code":
            cell.update(execution_count=None, outputs=[])
        cells.append(cell)
    close()
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def unpack(notebook: dict[str, Any]) -> str:
    """Return the text form of a notebook; ``pack`` gives the notebook back, without outputs."""
    out = []
    for cell in notebook["cells"]:
        metadata = {"id": cell["id"], **{k: v for k, v in cell["metadata"].items() if k in ("tags", "mystnb")}}
        out.append(f"%%%% {cell['cell_type']} {json.dumps(metadata, ensure_ascii=False)}\n{''.join(cell['source'])}\n")
    return "\n".join(out)


def write(notebook: dict[str, Any], path: Path) -> None:
    """Write a notebook as git holds it: one space of indent, keys in nbformat's order, whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf8")


def skeleton(title: str) -> str:
    """Return the text form of a chapter that has every part and says nothing yet."""
    solution = json.dumps(SOLUTION)[1:]
    exercises = "\n\n".join(
        f'%%%% markdown {{"id": "exercise-{n}"}}\n### Exercise {n}: a twist\n\nChange one thing.\n\n'
        f'%%%% code {{"id": "solution-{n}", {solution}\nfield = causalcnn.Field.conv(3)\nassert field.lookahead == 0'
        for n in (1, 2, 3)
    )
    return f"""%%%% markdown {{"id": "opening"}}
# {title}

What the reader finds in this chapter, in one or two plain sentences (see CONTRIBUTING).

:::{{admonition}} Before you start
:class: opening

**You will be able to** …

**You need** …

**Reading time** 1 minute. **Run time** 5 seconds on two CPU cores.
:::

%%%% code {{"id": "setup", "tags": ["remove-cell"]}}
{setup_cell.IN_GIT}

%%%% code {{"id": "imports"}}
import causalcnn
from causalcnn_book.causality import ConeExplorer

%%%% markdown {{"id": "predict-1"}}
:::{{admonition}} Predict
:class: predict

A question.
:::

%%%% code {{"id": "cone"}}
ConeExplorer()

%%%% markdown {{"id": "predict-2"}}
:::{{admonition}} Predict
:class: predict

A second question.
:::

%%%% code {{"id": "run-2"}}
causalcnn.Field.conv(3).size

%%%% markdown {{"id": "predict-3"}}
:::{{admonition}} Predict
:class: predict

A third question.
:::

%%%% code {{"id": "run-3"}}
causalcnn.Field.conv(3, dilation=2).size

%%%% markdown {{"id": "exercises"}}
## Exercises

{exercises}

%%%% markdown {{"id": "closing"}}
## Summary

- First line.
- Second line.
- Third line.
- Fourth line.
- Fifth line.

## References

- {{cite:t}}`oord2016wavenet`, arXiv:1609.03499: what it says.

## Next

What comes next: the [notation](notation.md) that every chapter shares.
"""


def main(arguments: list[str]) -> None:
    """Run one of the three commands."""
    match arguments:
        case ["new", name, title]:
            path = ROOT / "book" / f"{name}.ipynb"
            if path.exists():
                raise SystemExit(f"{path} exists; choose another name")
            write(pack(skeleton(title)), path)
        case ["unpack", notebook, text]:
            Path(text).write_text(unpack(json.loads(Path(notebook).read_text("utf8"))), "utf8")
        case ["pack", text, notebook]:
            write(pack(Path(text).read_text("utf8")), Path(notebook))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
