"""What a built page must keep: no other host, a text for every picture, links that lead somewhere, 2 MB.

Standard library only; used by the Sphinx extension (page by page) and by the tests of the book.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

PAGE_BYTES = 2_000_000
# Elements whose address the browser fetches on its own, and the attribute that holds it.
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "audio": "src", "video": "src",
         "embed": "src", "track": "src", "object": "data", "image": "href", "use": "href"}  # fmt: skip
LINK_LOADS = {"stylesheet", "preload", "modulepreload", "icon", "shortcut", "manifest", "preconnect",
              "prefetch", "dns-prefetch", "apple-touch-icon"}  # fmt: skip
CSS_URL = re.compile(r"""(?:url\(|@import\s+)\s*["']?([^"')\s]+)""")


class Page(HTMLParser):
    """The facts of one page that the checks need."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.unnamed: list[str] = []
        self.undrawn: list[str] = []
        self.title = self.description = self.language = ""
        self._svg: list[dict[str, str]] = []
        self._in_title = self._in_style = False
        self._depth = 0  # of <div>s, inside an explorer's still picture
        self._drawn = False  # has it an <svg>
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what an element loads, links, names."""
        a = {name: value or "" for name, value in attrs}
        self.anchors.update(a[key] for key in ("id", "name") if key in a)
        if tag in LOADS and a.get(LOADS[tag]):
            self.loads.append(a[LOADS[tag]])
        if "srcset" in a:
            self.loads += [part.split()[0] for part in a["srcset"].split(",") if part.strip()]
        if tag == "link" and LINK_LOADS & set(a.get("rel", "").split()) and a.get("href"):
            self.loads.append(a["href"])
        if "style" in a:
            self.loads += CSS_URL.findall(a["style"])
        if tag == "a" and "href" in a:
            self.links.append(a["href"])
        if tag == "html":
            self.language = a.get("lang", "")
        if tag == "meta" and a.get("name") == "description":
            self.description = a.get("content", "")
        self._in_title, self._in_style = tag == "title" and not self._svg, tag == "style"
        hidden = a.get("aria-hidden") == "true" or a.get("role") in ("presentation", "none")
        named = bool(a.get("aria-label", "").strip() or a.get("aria-labelledby"))
        if tag == "img" and not hidden and not named and not a.get("alt", "").strip():
            self.unnamed.append(f'<img src="{a.get("src", "")[:60]}"> has no alt text')
        if tag == "audio" and not named and not a.get("title", "").strip():
            self.unnamed.append("<audio> has no label")
        if tag == "svg":
            if not self._svg and not hidden and not (named and a.get("role") == "img"):
                self.unnamed.append(f'<svg class="{a.get("class", "")}"> has no role="img" with an aria-label')
            self._svg.append(a)
            self._drawn = True
        if tag == "div" and self._depth:
            self._depth += 1
        elif tag == "div" and "cc-static" in a.get("class", "").split():
            self._depth, self._drawn = 1, False

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self._in_title = self._in_style = False
        if tag == "svg" and self._svg:
            self._svg.pop()
        if tag == "div" and self._depth:
            self._depth -= 1
            if not self._depth and not self._drawn:
                self.undrawn.append("an explorer without a still picture; mini-racer draws it, and must be installed")

    def handle_data(self, data: str) -> None:
        """Read the title, and what a style sheet in the page loads."""
        if self._in_title:
            self.title += data
        if self._in_style:
            self.loads += CSS_URL.findall(data)


def site_pages(root: Path) -> list[Path]:
    """Return the pages of a built book; what lies in ``_static`` are the theme's templates."""
    return [path for path in sorted(root.rglob("*.html")) if "_static" not in path.relative_to(root).parts]


def third_party(address: str) -> bool:
    """Say whether the browser would leave the book for this address."""
    parts = urlsplit(address.strip())
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ws", "wss")


def page_problems(text: str) -> Iterator[str]:
    """Yield what is wrong with one page, seen alone."""
    page = Page(text)
    if 'http-equiv="refresh"' in text.lower() and len(text) < 2000:
        return  # the redirect from the root to the front page
    for address in page.loads:
        if third_party(address):
            yield f"third-party request: {address[:120]}"
    yield from page.unnamed
    yield from page.undrawn
    if not page.title.strip():
        yield "no title"
    if not 20 <= len(page.description) <= 200:
        yield f"meta description of {len(page.description)} characters (20 to 200 wanted)"
    if not page.language:
        yield "no language"


def _inside(root: Path, page: Path, address: str) -> Path | None:
    """Return the file of the book that an address names, or None when it names none (data:, another host)."""
    path = urlsplit(address)
    if path.scheme or path.netloc or not path.path:
        return None
    file = (root / path.path.lstrip("/")) if path.path.startswith("/") else (page.parent / unquote(path.path))
    file = file.resolve()
    return file / "index.html" if file.is_dir() else file


def link_problems(root: Path) -> Iterator[str]:
    """Yield every link of the book that leads to no page, or to no anchor of its page."""
    root = root.resolve()
    pages = {path.resolve(): Page(path.read_text("utf8")) for path in site_pages(root)}
    for path, page in pages.items():
        for address in page.links:
            bare, anchor = urldefrag(address)
            if bare and _inside(root, path, bare) is None:
                continue
            target = _inside(root, path, bare) if bare else path
            if target is None:
                continue
            if not target.exists():
                yield f"{path.relative_to(root)}: link to {address}, which does not exist"
            elif anchor and "=" not in anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                yield f"{path.relative_to(root)}: link to {address}, where there is no such anchor"


def page_bytes(root: Path, path: Path) -> int:
    """Return the bytes of a page with all that it loads (uncompressed; what style sheets load, too)."""
    root, seen, total = root.resolve(), set[Path](), 0
    queue = [path.resolve()]
    while queue:
        file = queue.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        total += file.stat().st_size
        if file.suffix == ".html" and file == path.resolve():
            wanted = Page(file.read_text("utf8")).loads
        elif file.suffix == ".css":
            wanted = _first_sources(file.read_text("utf8", errors="replace"))
        else:
            wanted = []
        queue += [target for address in wanted if (target := _inside(root, file, address))]
    return total


def _first_sources(sheet: str) -> list[str]:
    """Return what a style sheet loads, of a font's alternatives only the first (woff2), as browsers do."""
    found = []
    for declaration in re.split(r"[;{}]", sheet):
        urls = CSS_URL.findall(declaration)
        found += urls[:1] if declaration.lstrip().startswith("src") else urls
    return found


def weight_problems(root: Path, limit: int = PAGE_BYTES) -> Iterator[str]:
    """Yield the pages that weigh more than they may."""
    for path in site_pages(root):
        size = page_bytes(root, path)
        if size > limit:
            yield f"{path.relative_to(root)} weighs {size:,} bytes with all it loads; {limit:,} are allowed"


def data_uri_bytes(text: str) -> int:
    """Return how many bytes of a page are inlined sound and pictures."""
    return sum(len(base64.b64decode(m + "==")) for m in re.findall(r"data:[\w/+.-]+;base64,([A-Za-z0-9+/]+)", text))


def site_problems(root: Path) -> list[str]:
    """Return everything that is wrong with a built book."""
    problems = [*link_problems(root), *weight_problems(root)]
    for path in site_pages(root):
        problems += [f"{path.relative_to(root)}: {what}" for what in page_problems(path.read_text("utf8"))]
    for sheet in sorted(root.rglob("*.css")):
        for address in CSS_URL.findall(sheet.read_text("utf8", errors="replace")):
            if third_party(address):
                problems.append(f"{sheet.relative_to(root)}: third-party request: {address[:120]}")
    return problems
