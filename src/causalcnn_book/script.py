"""The script of a figure: its module and what this imports, as the one small text that travels with the page."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from causalcnn_book import palette

__all__ = ["module", "rules"]

HERE = Path(__file__).parent

IMPORT = re.compile(r"^import\s+(\{[^}]*\})\s+from\s+\"(\.[^\"]+\.js)\";$", flags=re.M)
"""An import as the formatter writes it: names in braces, on one line or on several, of a file beside this one."""

STRING = r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
COMMENT = re.compile(STRING + r"|(?:^|\s+)// .*")
SPACES = re.compile(STRING + r"|\s*([=<>?:,;(){}&|*%])\s*")
"""A string; or a mark of JavaScript that needs no space on either side, with its spaces."""


def _files(path: Path, found: dict[Path, str]) -> dict[Path, str]:
    """The texts of a script and of all that it imports, each once, what is imported first."""
    if path not in found:
        text = path.read_text("utf-8")
        for names, other in IMPORT.findall(text):
            if re.search(r"\bas\b", names):
                raise ValueError(f"{path.name} imports a name under another: in one text with {other} it has one name")
            _files((path.parent / other).resolve(), found)
        found[path] = IMPORT.sub("", text)
    return found


def _tight(line: str) -> str:
    """A line without its comment and without the spaces that only readers need; one with a template keeps these."""
    if line.count("`") % 2:
        raise ValueError(f"a template ends in another line: {line!r}; a figure's script keeps each on one line")
    if "`" in line:
        return re.sub(r" // [^`]*$", "", line)
    line = COMMENT.sub(lambda found: found[1] or "", line)
    return SPACES.sub(lambda found: found[1] or found[2], line)


def _used(text: str) -> str:
    """A text without its declarations that nothing in it names: a figure carries what it needs of the shared files."""
    parts = re.split(r"^(?=(?:const|let|function|export) )", text, flags=re.M)
    for n in reversed(range(len(parts))):
        declared = re.match(r"(?:const|let|function) (\w+)", parts[n])
        if declared and not re.search(rf"\b{declared[1]}\b", "".join(parts[:n] + parts[n + 1 :])):
            return _used("".join(parts[:n] + parts[n + 1 :]))
    return text


@cache
def module(name: str) -> str:
    """Join the ES module of an explorer and what it imports, ``explorer.js`` for example, to one text.

    One text, because the page loads it from a Blob, where a relative import has nothing to be relative to.
    Comments, types and indentation are left out: the text travels with every figure.

    Args:
        name: the module's path below this package without its suffix, ``"causality/cone_explorer"`` for example.

    Returns:
        The text, without imports and without exports but the default one.

    Raises:
        FileNotFoundError: there is no such module.
        ValueError: what cannot be one text: an import that renames, or is not ``import { names } from "./file.js";``;
            a template that ends in another line.
    """
    text = "\n".join(_files((HERE / f"{name}.js").resolve(), {}).values())
    text = re.sub(r"/\*\*.*?\*/ ?", "", text, flags=re.S)  # documentation and types; a colour map's place has one star
    if wrong := re.search(r"^(?:import|export (?!default |const |function |\{[^}]*\};$)).*$", text, flags=re.M):
        raise ValueError(f'{name}.js has {wrong.group()!r}; write: import {{ names }} from "./file.js";')
    text = re.sub(r"^export (?:\{[^}]*\};$|(?!default))", "", text, flags=re.M)
    for placeholder, colors in (("ENERGY", palette.energy(33)), ("ALARM", palette.alarm(33))):
        text = text.replace(f"/*{placeholder}*/", json.dumps(colors)[1:-1])
    lines = _used("\n".join(_tight(line) for line in text.splitlines())).splitlines()
    return re.sub(r"(?<=[{(\[,])\n", "", "\n".join(line.strip() for line in lines if line.strip())) + "\n"


@cache
def rules() -> str:
    """Give the figures' own rules, as CSS: one a line, however many its file takes for it."""
    return (HERE / "explorer.css").read_text("utf-8").replace("\n  ", "")
