"""Check that every public item is documented in full, and say how many are: ``python tools/docstrings.py``.

pydoclint and ruff read the docstrings. What is here says which items are public (the names in ``__all__`` of the
packages, with the public methods and properties of classes and of their private bases) and asks more of them: where
there are parameters, one line is not enough, and what is raised is always said. An override may leave its docstring to
the method of ours that it overrides.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOPS = ("causalcnn", "causalcnn_book")
Place = tuple[Path, str]  # where an item is defined: its file, and its qualified name there
VIOLATION = re.compile(r"^(.*):(\d+): ((?!DOC101|DOC102|DOC601|DOC602)DOC\d+: .*)$", re.M)  # 103, 603 say these, too
ADVICE = re.compile(r" *\((?:Please read|Or could be) [^()]*\)\.?")


def packages() -> Iterator[ModuleType]:
    """Yield the packages, and the modules that these offer, whose ``__all__`` is the public interface."""
    for top in map(importlib.import_module, TOPS):
        yield top
        below = pkgutil.iter_modules(top.__path__, f"{top.__name__}.")
        public = (m.name for m in below if m.ispkg or m.name.rpartition(".")[2] in top.__all__)
        yield from map(importlib.import_module, public)


def is_ours(item: Any) -> bool:
    """Say whether a class or function comes from this distribution."""
    return str(item.__module__).split(".")[0] in TOPS


def function_of(member: Any) -> Any:
    """Return the function behind a property, a class method or a decorated function; other things as they are."""
    member = getattr(member, "func", None) or getattr(member, "fget", None) or getattr(member, "__func__", member)
    return inspect.unwrap(member) if callable(member) else member


def public_items() -> dict[Place, Any]:
    """Return every public class, function, method and property, as it stands in its module or class."""
    values = [getattr(package, name) for package in packages() for name in package.__all__]
    owners = {owner for value in values if isinstance(value, type) for owner in value.__mro__ if is_ours(owner)}
    values += [member for owner in owners for name, member in vars(owner).items() if not name.startswith("_")]
    found = {}
    for value in values:
        item = function_of(value)
        if isinstance(item, type | FunctionType) and is_ours(item):
            found[Path(inspect.getfile(item)).resolve(), item.__qualname__] = value
    return dict(sorted(found.items()))


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[range, str]]:
    """Yield the lines and the qualified name of a tree's classes and functions, outer ones first."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            first = min(part.lineno for part in (child, *child.decorator_list))
            yield range(first, (child.end_lineno or first) + 1), prefix + child.name
            inside = "" if isinstance(child, ast.ClassDef) else "<locals>."
            yield from definitions(child, f"{prefix}{child.name}.{inside}")
        else:
            yield from definitions(child, prefix)


def reports(files: Iterable[Path], strict: bool) -> set[tuple[Path, int, str]]:
    """Return what pydoclint and ruff find: file, line, text. A strict reading excepts no one-line docstrings."""
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=False)
    python, short = (sys.executable, "-m"), str(not strict).lower()
    pydoclint = [*python, "pydoclint.main", "--config", str(ROOT / "pyproject.toml")]
    pydoclint += [f"--skip-checking-short-docstrings={short}", "--show-filenames-in-every-violation-message=true"]
    ruff = [*python, "ruff", "check", "--isolated", "--preview", "--select=DOC501", "--output-format=json"]
    ruff += ["--config", f"lint.pydoclint.ignore-one-line-docstrings={short}"]
    done = run([*pydoclint, *map(str, files)])
    said = VIOLATION.findall(done.stderr)
    if done.returncode and not said:
        raise RuntimeError(f"pydoclint failed: {done.stderr}")
    raised = json.loads(run([*ruff, *map(str, files)]).stdout)
    found = {(Path(file), int(line), ADVICE.sub("", text)) for file, line, text in said}
    return found | {(Path(r["filename"]), r["location"]["row"], f"DOC501 {r['message']}") for r in raised}


def problems(files: Iterable[Path], public: dict[Place, Any]) -> dict[Place, list[str]]:
    """Return what is missing in the docstrings of files, by item."""
    known = {file: list(definitions(ast.parse(file.read_text("utf8")))) for file in files}
    always = reports(known, strict=False)
    found: dict[Place, list[str]] = defaultdict(list)
    for file, line, text in sorted(always | reports(known, strict=True)):
        name = next((name for lines, name in reversed(known[file]) if line in lines), "").removesuffix(".__init__")
        item = function_of(public.get((file, name)))
        many = item and (isinstance(item, type) or set(inspect.signature(item).parameters) - {"self", "cls"})
        if many or (item and "DOC501" in text) or (file, line, text) in always:
            found[file, name].append(f"{file}:{line}: {text}")
    for place, item in ((place, function_of(public[place])) for place in public if place[0] in known):
        owner = getattr(sys.modules[item.__module__], place[1].split(".")[0], object)
        above = [base for base in getattr(owner, "__mro__", ())[1:] if item.__name__ in vars(base)]
        if not item.__doc__ and not any(map(is_ours, above)):
            found[place].append(f"{place[0]}: {place[1]} has no docstring")
    return found


def main() -> int:
    """Check everything, print what is missing and the coverage; return 1 below 100 %."""
    public = public_items()
    found = problems([file for top in TOPS for file in sorted((ROOT / "src" / top).rglob("*.py"))], public)
    print(*(line for lines in found.values() for line in lines), sep="\n")
    full = sum(place not in found for place in public)
    print(f"{full} of {len(public)} public items are documented in full ({full / len(public):.1%}).")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
