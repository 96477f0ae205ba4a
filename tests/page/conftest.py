"""The built book in Debian's (or any) Chromium, every host but this computer blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import build_book
import serve
from chromium import CHROMIUM, FLAGS


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Serve the built book."""
    if not (build_book.HTML / "index.html").exists():
        pytest.skip("the book is not built; run `make book` first")
    with serve.serving(build_book.HTML) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start Chromium once."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no Chromium on this computer (Debian: apt install chromium)")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(site: str, browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page of the book at a width and in a theme; keep its requests and its errors."""
    contexts = []

    def open_page(path: str, width: int = 1280, theme: str = "light", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=width < 600, **options)
        contexts.append(context)
        context.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
        page = context.new_page()
        page.requested, page.errors = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda m: page.errors.append(m.text) if m.type in ("error", "warning") else None)
        page.goto(site + path, wait_until="load")
        page.evaluate("document.fonts.ready.then(() => true)")
        page.mouse.move(width / 2, 400)  # a reader is there: from now on the page is laid out to its end
        page.wait_for_selector("html[data-settled]", state="attached", timeout=60_000)
        for host in page.query_selector_all(".cc-host"):
            host.scroll_into_view_if_needed()
            host.wait_for_selector("[data-ready]", timeout=10_000)
        page.evaluate("scrollTo(0, 0)")
        return page

    yield open_page
    for context in contexts:
        context.close()
