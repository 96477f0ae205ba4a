"""Fill the repository's address into a copy of the book, so that its launch links and set-up cells work.

    python tools/publish.py --repository https://github.com/OWNER/NAME --branch launch --out DIRECTORY

In git there is no address. The publishing job runs this, builds the book from the copy, and pushes the copy to the
branch that Colab and Binder open: there, the set-up cell of every chapter installs the library from that very branch.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

import chapter
import setup_cell

ROOT = Path(__file__).resolve().parent.parent
NEVER_COPIED = (
    ".git",
    ".venv",
    "_build",
    "node_modules",
    "__pycache__",
    "dist",
    ".*_cache",
    ".hypothesis",
    "*.egg-info",
)
EXTRAS = "speech,train,figures"


def requirement(repository: str, branch: str) -> str:
    """Return what pip installs in Colab and Binder: the library, from the branch that the notebook came from."""
    return f"causalcnn[{EXTRAS}] @ git+{repository}@{branch}"


def check(repository: str, branch: str) -> str:
    """Return the repository's address in its plain form.

    Raises:
        ValueError: an address that Colab cannot open, or a branch name that a link cannot carry.
    """
    plain = re.sub(r"(\.git)?/*$", "", repository.strip())
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", plain):
        raise ValueError(f"repository {repository!r} must be https://github.com/OWNER/NAME: Colab opens no other")
    if not re.fullmatch(r"[\w][\w.-]*", branch):
        raise ValueError(f"branch {branch!r} must be letters, digits, dots, hyphens: it stands inside links")
    return plain


def files_read(notebook: dict[str, Any]) -> list[str]:
    """Return the measurements and models that a notebook's code names; a model is its weights and its card."""
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    named = sorted(set(re.findall(r"""["']((?:measurements|checkpoints)/[\w.-]+)["']""", code)))
    return [
        file for name in named for file in ([name] if Path(name).suffix else [f"{name}.safetensors", f"{name}.json"])
    ]


def fill_notebook(notebook: dict[str, Any], pip_requirement: str, files_at: str = "") -> bool:
    """Put the published set-up cell into a notebook; say whether it had one."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and cell.get("id") == setup_cell.SETUP_ID:
            if "".join(cell["source"]) != setup_cell.IN_GIT:
                raise ValueError("the set-up cell is not the one of tools/setup_cell.py; publish from a clean tree")
            text = setup_cell.published(pip_requirement, files_read(notebook), files_at)
            cell["source"] = text.splitlines(keepends=True)
            return True
    return False


def fill_config(config: dict[str, Any], repository: str, branch: str) -> dict[str, Any]:
    """Return the configuration with the address in launch links, buttons and the source link."""
    config = json.loads(json.dumps(config))
    config["repository"] = {"url": repository, "branch": branch, "path_to_book": ""}
    config["html"]["use_repository_button"] = True
    config["sphinx"]["config"] |= {"book_repository": repository, "book_branch": branch}
    return config


def publish(root: Path, out: Path, repository: str, branch: str, pip_requirement: str = "") -> list[Path]:
    """Copy the tree and fill the address in; return the notebooks that got a set-up cell.

    Args:
        root: the repository.
        out: where the copy goes; it must be empty or missing.
        repository: ``https://github.com/OWNER/NAME``.
        branch: the branch that the copy will be pushed to, and that Colab and Binder open.
        pip_requirement: what the set-up cell installs, if not the library from that branch.
    """
    repository = check(repository, branch)
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; name a new folder")
    shutil.copytree(root, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NEVER_COPIED))
    config = yaml.safe_load((root / "_config.yml").read_text("utf8"))
    text = yaml.safe_dump(fill_config(config, repository, branch), sort_keys=False, allow_unicode=True)
    (out / "_config.yml").write_text(text, "utf8")
    files_at = f"{repository}/raw/{branch}/book/"
    filled = []
    for path in sorted((out / "book").glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf8"))
        if fill_notebook(notebook, pip_requirement or requirement(repository, branch), files_at):
            chapter.write(notebook, path)
            filled.append(path)
    return filled


def main() -> None:
    """Fill the address in."""
    parser = argparse.ArgumentParser(description="Fill the repository's address into a copy of the book.")
    parser.add_argument("--repository", required=True, help="https://github.com/OWNER/NAME")
    parser.add_argument("--branch", default="launch", help="the branch that Colab and Binder open")
    parser.add_argument("--out", required=True, type=Path, help="where the copy goes")
    parser.add_argument("--requirement", default="", help="what the set-up cell installs, if not that branch")
    arguments = parser.parse_args()
    filled = publish(ROOT, arguments.out, arguments.repository, arguments.branch, arguments.requirement)
    print(f"{len(filled)} notebooks of {arguments.out} install the library from {arguments.repository}")


if __name__ == "__main__":
    main()
