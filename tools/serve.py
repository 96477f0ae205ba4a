"""Serve the built book on this computer, compressed and cached as a web server would."""

from __future__ import annotations

import argparse
import contextlib
import functools
import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
TEXT = ("text", "javascript", "json", "svg", "xml")


class Handler(http.server.SimpleHTTPRequestHandler):
    """A file server that compresses text, as every public host of static pages does."""

    protocol_version = "HTTP/1.1"
    extensions_map = {  # noqa: RUF012  (the base class has it so)
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".woff2": "font/woff2",
        ".ipynb": "application/x-ipynb+json",
        ".mjs": "text/javascript",
    }

    def do_GET(self) -> None:
        """Send a file."""
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            path /= "index.html"
        if not path.is_file():
            self.send_error(404)
            return
        body, kind = path.read_bytes(), self.guess_type(str(path))
        self.send_response(200)
        textual = any(word in kind for word in TEXT)
        self.send_header("Content-Type", kind + ("; charset=utf-8" if textual else ""))
        self.send_header("Cache-Control", "max-age=600" if "_static" in path.parts else "no-cache")
        if textual:
            body = gzip.compress(body, 6)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


def server(root: Path = HTML, port: int = 0) -> http.server.ThreadingHTTPServer:
    """Return a server for a folder, bound to this computer only (port 0: any free one)."""
    handler = functools.partial(Handler, directory=str(root))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


@contextlib.contextmanager
def serving(root: Path = HTML) -> Iterator[str]:
    """Serve a folder in the background; give its address."""
    httpd = server(root)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}/"
    finally:
        httpd.shutdown()
        httpd.server_close()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the built book on this computer.")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    if not (HTML / "index.html").exists():
        raise SystemExit(f"There is no book at {HTML}; build it with: make book")
    try:
        httpd = server(port=arguments.port)
    except OSError as error:
        raise SystemExit(
            f"Port {arguments.port} is not free ({error}); try: python tools/serve.py --port 8001"
        ) from error
    print(f"The book is at http://127.0.0.1:{arguments.port}/  (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        httpd.serve_forever()


if __name__ == "__main__":
    main()
