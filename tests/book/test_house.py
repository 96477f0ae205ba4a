"""The map of the house: a chapter's name finds its code, chapters import public names, arrows go one way."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.book import imports

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
CODE = ROOT / "src" / "causalcnn_book"
PAGES = [
    entry["file"]
    for part in yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))["parts"]
    for entry in part["chapters"]
]


def cells(page: str, kind: str) -> list[str]:
    """Return the sources of a page's cells of one kind; a page in Markdown has none."""
    path = ROOT / f"{page}.ipynb"
    if not path.exists():
        return []
    return [
        "".join(cell["source"]) for cell in json.loads(path.read_text("utf8"))["cells"] if cell["cell_type"] == kind
    ]


def is_chapter(page: str) -> bool:
    """A chapter says at its top what the reader will be able to do; the front page and the pages at the back do not."""
    return any(":class: opening" in text for text in cells(page, "markdown"))


CHAPTERS = [page for page in PAGES if is_chapter(page)]
IN_THE_MAKING: set[str] = set()
"""Folders of chapters that are not whole yet, so that their pages are not in the table of contents."""


# ------------------------------------------------------------------------------------- the folder of a chapter's code
def exists(name: str) -> bool:
    """Say whether a dotted name is a module or a public name of one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        package, _, last = name.rpartition(".")
        return last in public(importlib.import_module(package))
    return True


def test_every_chapter_has_a_folder_of_its_name_that_says_what_it_teaches() -> None:
    folders = set()
    for page in PAGES:
        name = page.removeprefix("book/")
        folder = CODE / name.replace("-", "_")
        if page not in CHAPTERS:
            assert not folder.exists(), f"{page} is no chapter, and there is {folder.relative_to(ROOT)}"
            print(f"{name:24} no chapter: no code of its own")
            continue
        assert (folder / "__init__.py").exists(), f"the code of {page} is not in {folder.relative_to(ROOT)}"
        folders.add(folder.name)
        about = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf8"))) or ""
        assert re.search(rf"\bThe {name} chapter\b", about), (
            f"{folder.name}/__init__.py does not name the chapter {name}"
        )
        taught = re.findall(r"``(causalcnn(?:\.\w+)+)``", about)
        assert taught, f"{folder.name}/__init__.py names nothing of the library"
        missing = [one for one in taught if not exists(one)]
        assert not missing, f"{folder.name}/__init__.py names {missing[0]}, which does not exist"
        files = sorted(
            path.name for path in folder.iterdir() if path.suffix in (".py", ".js") and path.stem != "__init__"
        )
        print(f"{name:24} {folder.relative_to(ROOT / 'src')}: {', '.join(files)}\n{'':25}teaches {', '.join(taught)}")
    kept = {path.parent.name for path in CODE.glob("*/__init__.py")}
    assert kept - IN_THE_MAKING == folders, f"folders of no chapter: {sorted(kept - folders)}"
    assert not IN_THE_MAKING & folders, "a chapter is whole: take it out of IN_THE_MAKING"


def test_an_explorer_is_two_files_of_one_name_in_a_chapters_folder() -> None:
    for script in sorted(CODE.rglob("*.js")):
        if script.parent == CODE:
            continue  # what explorers share
        assert script.stem.endswith("_explorer"), script
        text = script.with_suffix(".py").read_text("utf8")
        assert f'"{script.parent.name}/{script.stem}"' in text, f"{script.stem}.py does not name its module"
    for path in sorted(CODE.glob("*/*_explorer.py")):
        assert path.with_suffix(".js").exists(), path


# ----------------------------------------------------------------------------------------- chapters use public names
def public(module: ModuleType) -> set[str]:
    """Return what a package offers: its ``__all__``, and its subpackages."""
    folders = {m.name for m in pkgutil.iter_modules(getattr(module, "__path__", ())) if m.ispkg}
    return set(module.__all__) | {name for name in folders if not name.startswith("_")}


def trespasses(tree: ast.AST, roots: dict[str, str]) -> Iterator[str]:
    """Yield every name of ours that is imported or reached, and that its package does not offer.

    Args:
        tree: Python.
        roots: names of packages that stand ready, and which packages they are.
    """
    roots = dict(roots)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in ("causalcnn", "causalcnn_book"):
                    yield from _path("", alias.name.split("."))
                    shown = alias.asname or alias.name.split(".")[0]
                    roots[shown] = alias.name if alias.asname else shown
                else:
                    roots.pop(alias.asname or alias.name, None)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("causalcnn", "causalcnn_book"):
            for alias in node.names:
                yield from _path("", [*str(node.module).split("."), alias.name])
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                roots.pop(alias.asname or alias.name, None)  # torch's nn, for example
    for node in ast.walk(tree):
        names = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if names and isinstance(node, ast.Name) and node.id in roots:
            yield from _path(roots[node.id], names[::-1])


def _path(package: str, names: list[str]) -> Iterator[str]:
    """Yield the dotted name where its path leaves what packages offer."""
    if not package:
        package, names = names[0], names[1:]
    for name in names:
        module = importlib.import_module(package)
        if not hasattr(module, "__path__"):
            return  # a module that its package offers by name: what it holds is its own affair
        if name not in public(module):
            yield f"{package}.{name}"
            return
        if not isinstance(getattr(module, name, None), ModuleType):
            return
        package = f"{package}.{name}"


def python(source: str) -> ast.AST:
    """Parse a cell; lines of IPython's own are left out."""
    return ast.parse("\n".join("pass" if re.match(r"\s*[%!]", line) else line for line in source.splitlines()))


@pytest.mark.parametrize("page", [page for page in ["book/index", *PAGES] if cells(page, "code")])
def test_a_page_imports_public_names_only(page: str) -> None:
    found = [name for source in cells(page, "code") for name in trespasses(python(source), {})]
    assert not found, f"{page} uses {sorted(set(found))}, which no package offers"


@pytest.mark.parametrize("path", sorted((BOOK / "claims").glob("*.toml")), ids=lambda path: path.stem)
def test_a_page_of_claims_imports_public_names_only(path: Path) -> None:
    content = tomllib.loads(path.read_text("utf8"))
    lines = [content.get("setup", "")]
    for claim in content.get("claim", []):
        expressions = claim.get("is", [])
        lines += [expressions] if isinstance(expressions, str) else expressions
    ready = {"causalcnn": "causalcnn", "book": "causalcnn_book"} | {
        name: f"causalcnn.{name}" for name in ("nn", "causality", "speech")
    }
    found = set(trespasses(ast.parse("\n".join(lines)), ready))
    assert not found, f"{path.name} uses {sorted(found)}, which no package offers"


# ------------------------------------------------------------------------------------------------- arrows go one way
STOREYS = (
    {"causalcnn._checks", "causalcnn._extras"},
    {"causalcnn.field", "causalcnn._files"},
    {"causalcnn.nn"},
    {"causalcnn.engine"},
    {"causalcnn.causality", "causalcnn.speech", "causalcnn.export"},
    {"causalcnn"},  # the names that an engineer imports first
    {"causalcnn.models"},
    {"causalcnn.training", "causalcnn.codec"},
    {"causalcnn.cli_audit", "causalcnn.cli_train", "causalcnn.cli_codec"},
    {"causalcnn.cli"},
    {"causalcnn.__main__"},
    {"causalcnn_book"},
)
"""Who may import whom: a package what stands before it, and itself. Speech keeps the contract of layers, models take
its batches, and the command line finds the book's experiments by their entry points, not by an import."""


def storey(module: str) -> tuple[int, str]:
    """Return where a module lives."""
    parts = module.split(".")
    home = "causalcnn_book" if parts[0] == "causalcnn_book" else ".".join(parts[:2])
    found = [n for n, homes in enumerate(STOREYS) if home in homes]
    assert found, f"say in STOREYS what {home} may import"
    return found[0], home


def test_no_two_files_import_each_other() -> None:
    """At the top, in functions, and for types only."""
    assert imports.cycles(imports.graph()) == []


def test_arrows_go_one_way() -> None:
    wrong = []
    for module, targets in imports.graph().items():
        for target in sorted(targets):
            (here, home), (there, other) = storey(module), storey(target)
            if home != other and there >= here:
                wrong.append(f"{module} imports {target}")
    assert not wrong


def test_what_chapters_share_knows_no_chapter() -> None:
    chapters = {page.removeprefix("book/").replace("-", "_") for page in CHAPTERS} | IN_THE_MAKING
    wrong = [
        f"{module} imports {target}"
        for module, targets in imports.graph().items()
        if module.count(".") == 1 and module.startswith("causalcnn_book.") and module.split(".")[1] not in chapters
        for target in targets
        if target.startswith("causalcnn_book.") and target.split(".")[1] in chapters
    ]
    assert not wrong


def test_no_file_imports_what_another_keeps_to_itself() -> None:
    wrong = []
    for module, path in imports.files().items():
        for node in ast.walk(ast.parse(path.read_text("utf8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("causalcnn"):
                private = [
                    a.name for a in node.names if re.match("_[^_]", a.name) and not exists(f"{node.module}.{a.name}")
                ]
                wrong += [f"{module} imports {name} of {node.module}" for name in private]
    assert not wrong


def test_no_module_has_the_name_of_a_function_beside_it() -> None:
    wrong = []
    for module, path in imports.files().items():
        package, _, name = module.rpartition(".")
        functions = {node.name for node in ast.parse(path.read_text("utf8")).body if isinstance(node, ast.FunctionDef)}
        offered = getattr(importlib.import_module(package), name, None) if package else None
        if name in functions or not (offered is None or isinstance(offered, ModuleType)):
            wrong.append(module)
    assert not wrong
