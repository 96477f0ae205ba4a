"""One style sheet for the whole book: what pages load, in their order, without the rules that no page can use.

The theme brings 590 KB of style sheets in ten files, and a browser paints nothing before it has them all. A rule
is dropped only when a class, an id or an element that its selector needs occurs in no built page and in no script
of the book; a custom property only when nothing reads it. Standard library only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

QUOTED = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
SKIP = re.compile(rf"/\*.*?\*/|{QUOTED}|url\(\s*(?:{QUOTED}|[^)\"']*)\s*\)", re.S)
IMPORT = re.compile(r"""@import\s+(?:url\()?["']?([^"')\s;]+)["']?\)?\s*;""")
URL = re.compile(r"""url\(\s*["']?(?!data:|https?:|#)([^"')]+)["']?\s*\)""")
STRING = re.compile(rf"{QUOTED}|`(?:\\\\.|[^`\\\\])*`", re.S)
WORD = re.compile(r"[A-Za-z_][\w-]*")
FACE = re.compile(r"@font-face\s*\{[^}]*\}")
NESTED = re.compile(r"@(media|supports|container|layer|scope)\b")
ALWAYS = {"html", "body", "dialog", "details", "summary", "input", "button", "kbd", "mark"}
"""Elements that scripts or browsers may bring."""


@dataclass
class Used:
    """The names that occur in the pages (and, for what scripts add, the words in the scripts' strings)."""

    names: set[str]
    tags: set[str]
    properties: set[str]


class _Names(HTMLParser):
    def __init__(self, used: Used) -> None:
        super().__init__(convert_charrefs=False)
        self.used = used

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.used.tags.add(tag)
        for name, value in attrs:
            if name in ("class", "id"):
                self.used.names.update((value or "").split())


def used(pages: Iterable[str], scripts: Iterable[str]) -> Used:
    """Collect what the pages and scripts of the book name."""
    found = Used(set(), set(ALWAYS), set())
    for page in pages:
        _Names(found).feed(page)
        found.properties.update(re.findall(r"var\(\s*(--[\w-]+)", page))
    for script in scripts:
        for text in STRING.findall(script):
            found.names.update(WORD.findall(text))
        found.properties.update(re.findall(r"--[\w-]+", script))
    return found


# ---------------------------------------------------------------------------------------------------- reading
def blocks(sheet: str) -> Iterator[tuple[str, str | None]]:
    """Yield the statements of a style sheet: prelude and body, or prelude and None for ``@charset …;``."""
    at = start = 0
    while at < len(sheet):
        skipped = SKIP.match(sheet, at)
        if skipped:
            at = skipped.end()
        elif sheet[at] == ";":
            yield sheet[start:at].strip(), None
            at = start = at + 1
        elif sheet[at] == "{":
            end = _closing(sheet, at)
            yield sheet[start:at].strip(), sheet[at + 1 : end]
            at = start = end + 1
        else:
            at += 1


def _closing(sheet: str, at: int) -> int:
    depth = 0
    while at < len(sheet):
        skipped = SKIP.match(sheet, at)
        if skipped:
            at = skipped.end()
            continue
        depth += {"{": 1, "}": -1}.get(sheet[at], 0)
        if depth == 0:
            return at
        at += 1
    raise ValueError("a style sheet ends inside a block")


def split(text: str, mark: str) -> list[str]:
    """Split at a mark that stands outside brackets and strings."""
    parts, depth, start, at = [], 0, 0, 0
    while at < len(text):
        skipped = SKIP.match(text, at)
        if skipped:
            at = skipped.end()
            continue
        character = text[at]
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        if character == mark and depth == 0:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def plain(sheet: str) -> str:
    """Return a sheet without comments and needless space."""
    sheet = SKIP.sub(lambda m: "" if m.group().startswith("/*") else m.group(), sheet)
    return re.sub(r"\s+", " ", sheet)


def rebased(sheet: str, source: Path, folder: Path) -> str:
    """Return a sheet whose addresses are right in another folder."""

    def moved(match: re.Match[str]) -> str:
        path, mark, rest = re.fullmatch(r"([^?#]*)([?#]?)(.*)", match.group(1)).groups()  # type: ignore[union-attr]
        return f'url("{Path(os.path.relpath(source.parent / path, folder)).as_posix()}{mark}{rest}")'

    return URL.sub(moved, sheet)


def joined(source: Path, folder: Path) -> str:
    """Return a sheet with all that it imports."""
    text = plain(source.read_text("utf8"))
    imported = "".join(joined(source.parent / name.split("?")[0], folder) for name in IMPORT.findall(text))
    return imported + rebased(IMPORT.sub("", text), source, folder)


# ---------------------------------------------------------------------------------------------------- keeping
def possible(selector: str, found: Used) -> bool:
    """Say whether anything in the book may match a selector."""
    if selector in ("from", "to") or selector[:1].isdigit():
        return True  # of an animation
    bare = re.sub(r"\[[^\]]*\]", "", selector)
    while re.search(r"\([^()]*\)", bare):  # what :not, :is, :where and :has hold is not needed, or is one of several
        bare = re.sub(r"\([^()]*\)", "", bare)
    names = re.findall(r"[.#]((?:\\.|[\w-])+)", bare)
    if any(re.sub(r"\\(.)", r"\1", name) not in found.names for name in names):
        return False
    tags = re.findall(r"(?:^|[\s>+~])([a-zA-Z][\w-]*)", bare)
    return all(tag.lower() in found.tags or tag in found.names for tag in tags)


def kept(sheet: str, found: Used) -> str:
    """Return a sheet with the rules that something in the book may match."""
    out = []
    for prelude, body in blocks(sheet):
        if body is None:
            if not prelude.startswith("@charset"):
                out.append(prelude + ";")
        elif NESTED.match(prelude):
            inner = kept(body, found)
            if inner:
                out.append(f"{prelude}{{{inner}}}")
        elif prelude.startswith("@"):
            out.append(f"{prelude}{{{body.strip()}}}")
        elif body.strip():
            selectors = [s for s in split(prelude, ",") if possible(s, found)]
            if selectors:
                out.append(f"{','.join(selectors)}{{{body.strip()}}}")
    return "".join(out)


def read(sheet: str, found: Used) -> str:
    """Return a sheet without custom properties, animations and fonts that nothing reads."""
    while True:
        smaller = _read_once(sheet, sheet, found)
        if smaller == sheet:
            return sheet
        sheet = smaller


def _read_once(part: str, whole: str, found: Used) -> str:
    wanted = set(re.findall(r"var\(\s*(--[\w-]+)", whole)) | found.properties
    out = []
    for prelude, body in blocks(part):
        if body is None:
            out.append(prelude + ";")
            continue
        if NESTED.match(prelude):
            inner = _read_once(body, whole, found)
        elif name := re.match(r"@(?:-webkit-)?keyframes\s+([\w-]+)", prelude):
            inner = body if len(re.findall(rf"(?<![\w-]){name.group(1)}(?![\w-])", whole)) > 1 else ""
        elif prelude == "@font-face":
            family = re.search(r"font-family:\s*([^;}]+)", body)
            inner = body if family and _bare(family.group(1)) in _bare(FACE.sub("", whole)) else ""
        else:
            parts = (item for item in split(body, ";") if not item.startswith("--") or _name(item) in wanted)
            inner = ";".join(re.sub(r"\s*:\s*", ":", item, count=1) for item in parts)
        if inner:
            out.append(f"{prelude}{{{inner}}}")
    return "".join(out)


def _bare(text: str) -> str:
    return text.replace("\\", "").replace('"', "").replace("'", "").strip()


def _name(declaration: str) -> str:
    return declaration.split(":", 1)[0].strip()


def sheet(sources: Iterable[Path], folder: Path, found: Used) -> str:
    """Return the one style sheet.

    Args:
        sources: the sheets, in the order in which they count.
        folder: where the one sheet will lie.
        found: what the pages and scripts name.
    """
    return read(kept("".join(joined(source, folder) for source in sources), found), found)
