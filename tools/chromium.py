"""Where the browser tests find Chromium, their npm packages and the pages. Standard library only."""

from __future__ import annotations

import shutil
from pathlib import Path

import build_book
import html_checks
import javascript

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]  # fmt: skip
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), ""
)
WIDTHS = (1280, 360)
THEMES = ("light", "dark")


def pages() -> list[str]:
    """Return the built pages, relative to the root of the site; none when the book is not built."""
    found = html_checks.site_pages(build_book.HTML)
    return [p.relative_to(build_book.HTML).as_posix() for p in found if p.parent != build_book.HTML]


def node_modules() -> Path | None:
    """Return the folder with axe-core and Lighthouse, where tools/javascript.py installed them."""
    folder = javascript.NODE / "node_modules"
    return folder if folder.is_dir() else None
