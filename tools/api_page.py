"""The API reference, written from the docstrings of every public name.

Docstrings are Google style. They are turned into MyST here, leniently, because a docstring is read in editors
and notebooks first: a table of raised errors must not depend on the escaping rules of a markup language.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIBRARY = tuple(f"causalcnn{part}" for part in ("", ".nn", ".causality", ".models", ".training", ".speech"))
BOOK = importlib.import_module("causalcnn_book")
CHAPTERS = tuple(f"{BOOK.__name__}.{m.name}" for m in pkgutil.iter_modules(BOOK.__path__) if m.ispkg)
PACKAGES = (*LIBRARY, BOOK.__name__, *CHAPTERS)
SECTION = re.compile(r"^([A-Z][A-Za-z ]{2,24}):\s*(.*)$")
ENTRY = re.compile(r"^(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*)(?:\s\(([^)]*)\))?:\s+(.*)$")
"""A name, or several with commas between them, and what they are; a sentence with a colon in it is none."""


def public_names(package: str) -> list[str]:
    """Return the public names of a package, as its ``__all__`` lists them, without its subpackages."""
    module = importlib.import_module(package)
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    return [name for name in names if name != "__version__" and not inspect.ismodule(getattr(module, name))]


def homes() -> dict[str, list[tuple[str, Any]]]:
    """Return each package's public objects; what the library offers at its top, too, stands where it is at home."""
    pages = {
        package: [(name, getattr(importlib.import_module(package), name)) for name in public_names(package)]
        for package in PACKAGES
    }
    below = {name for package in LIBRARY[1:] for name, _ in pages[package]}
    pages[LIBRARY[0]] = [(name, value) for name, value in pages[LIBRARY[0]] if name not in below]
    return pages


def sources() -> Iterator[Path]:
    """Yield the files of both packages, on which the page depends."""
    for package in (LIBRARY[0], BOOK.__name__):
        folder = Path(str(importlib.import_module(package).__file__)).parent
        yield from sorted((*folder.rglob("*.py"), *folder.rglob("*.pyi")))


def _without_roles(text: str) -> str:
    """Turn ``:class:`name``` into the name as code, and the title of ``:meth:`title <place>``` likewise."""
    return re.sub(r":[a-z:]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`", r"``\1``", text)


def _inline(text: str) -> str:
    """Turn reStructuredText's inline marks into Markdown's, and keep everything else literal."""
    parts = re.split(r"(``.+?``|`[^`]+`)", text)
    plain = [
        re.sub(r"([*_$<>\[\]{}|\\])", r"\\\1", p) if i % 2 == 0 else f"`{p.strip('`')}`" for i, p in enumerate(parts)
    ]
    return "".join(plain)


def _entries(lines: list[str]) -> Iterator[str]:
    """Yield a section's entries (``name: what it is``, continued by deeper lines) as list items."""
    entry: list[str] = []
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    for line in [*lines, ""]:
        deeper = line.startswith(" " * (indent + 1))
        if entry and not deeper:
            # Short entries may share a line: a sentence begins with a capital, a name does not.
            for text in re.split(r"(?<=\.) (?=[a-z_]\w*(?:, \w+)*: )", " ".join(part.strip() for part in entry)):
                match = ENTRY.match(text)
                if match:
                    kind = f" ({_inline(match.group(2))})" if match.group(2) else ""
                    yield f"- `{match.group(1)}`{kind}: {_inline(match.group(3))}"
                else:
                    yield f"- {_inline(text)}"
            entry = []
        if line.strip():
            entry.append(line)


def docstring(value: Any) -> str:
    """Return an object's docstring as MyST."""
    text = _without_roles(inspect.getdoc(value) or "")
    out: list[str] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        match = SECTION.match(line)
        block: list[str] = []
        if match:
            at += 1
            while at < len(lines) and (not lines[at].strip() or lines[at].startswith(" ")):
                block.append(lines[at])
                at += 1
            out.append(f"**{match.group(1)}.** {_inline(match.group(2))}".rstrip() + "\n")
            if match.group(1).startswith("Example"):
                code = inspect.cleandoc("\n".join(block))
                out.append(f"```python\n{code}\n```\n")
            else:
                out += [*_entries(block), ""]
        elif line.startswith((" ", ">>>")):
            while at < len(lines) and (not lines[at].strip() or lines[at].startswith((" ", ">>>"))):
                block.append(lines[at])
                at += 1
            code = inspect.cleandoc("\n".join(block)).strip()
            out.append(f"\n```text\n{code}\n```\n" if code else "")
        else:
            out.append(_inline(line))
            at += 1
    return "\n".join(out).strip()


def signature(name: str, value: Any) -> str:
    """Return ``name(parameters)`` without the annotations' module paths; the plain name where there is none."""
    try:
        sign = inspect.signature(value)
    except (TypeError, ValueError):
        return name
    if inspect.isclass(value) and value.__init__ is object.__init__:
        return name
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in sign.parameters.values() if p.name != "self"]
    shown = str(sign.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return name + re.sub(r"<[\w.]*?(\w+)(?:: [^>]*)?(?: at 0x[0-9a-f]+)?>", r"\1", shown)


def _members(value: type) -> Iterator[tuple[str, str, Any]]:
    """Yield (directive, signature, object) for a class's own documented public members."""
    for name, member in vars(value).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) and inspect.getdoc(member):
            yield "py:property", name, member
        elif isinstance(member, classmethod | staticmethod):
            function = member.__func__
            bare = re.sub(r"\(cls(?:, )?", "(", signature(name, function))
            yield "py:method", bare, function
        elif isinstance(member, types.FunctionType) and member.__doc__:
            yield "py:method", signature(name, member), member


def _block(directive: str, sign: str, body: str, fence: str) -> str:
    return f"{fence}{{{directive}}} {sign}\n\n{body}\n{fence}\n"


def entry(package: str, name: str, value: Any) -> str:
    """Return the reference of one public object."""
    full = f"{package}.{name}"
    if inspect.isclass(value):
        members = "\n".join(_block(d, s, docstring(m), "`" * 5) for d, s, m in _members(value))
        return _block("py:class", signature(full, value), f"{docstring(value)}\n\n{members}", "`" * 7)
    if callable(value):
        return _block("py:function", signature(full, value), docstring(value), "`" * 7)
    shown = repr(value) if len(repr(value)) < 60 else type(value).__name__
    return _block("py:data", full, f"`{shown}`", "`" * 7)


def markdown() -> str:
    """Return the whole reference as MyST."""
    out = []
    for package, objects in homes().items():
        if not objects:
            continue
        about = docstring(importlib.import_module(package)).replace("\n# ", "\n")
        out.append(f"## `{package}`\n\n{about}\n")
        out += [entry(package, name, value) for name, value in objects]
    return "\n".join(out)
