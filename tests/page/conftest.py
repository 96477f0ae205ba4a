"""The built book in Debian's (or any) Chromium, every host but this computer blocked."""

from __future__ import annotations

import functools
import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import build_book
from chromium import CHROMIUM, FLAGS


class CompressingHandler(http.server.SimpleHTTPRequestHandler):
    """Sends text compressed and lets it be cached, as public hosts of static pages do: Lighthouse counts both."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            path /= "index.html"
        if not path.is_file():
            self.send_error(404)
            return
        body, kind = path.read_bytes(), self.guess_type(str(path))
        self.send_response(200)
        if any(word in kind for word in ("text", "javascript", "json", "svg", "xml")):
            body, kind = gzip.compress(body, 6), f"{kind}; charset=utf-8"
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "max-age=600" if "_static" in path.parts else "no-cache")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Serve the built book on this computer; give its address."""
    if not (build_book.HTML / "index.html").exists():
        pytest.skip("the book is not built; run `make book` first")
    handler = functools.partial(CompressingHandler, directory=str(build_book.HTML))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


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
