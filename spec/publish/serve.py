"""Show the built site on loopback as a web server does: compressed, and never stale.

Use: `python -m spec.publish.serve build/site 8000`. Python's own server compresses
nothing, lets browsers show what an older build had, and answers a dead address with a
page of its own; the figures that readers see would not be those of this site.
"""

from __future__ import annotations

import gzip
import http.server
import sys
from functools import lru_cache, partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

HOST = "127.0.0.1"
COMPRESSED = {".css", ".html", ".js", ".json", ".mjs", ".py", ".svg", ".txt", ".xml"}
TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".ipynb": "application/json",
    ".py": "text/plain",
    ".wasm": "application/wasm",
}


KNOWN = {**http.server.SimpleHTTPRequestHandler.extensions_map, **TYPES}


@lru_cache(maxsize=512)
def _gzipped(path: Path, changed: int) -> bytes:
    return gzip.compress(path.read_bytes(), 6, mtime=0)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Answers with the files of a folder."""

    protocol_version = "HTTP/1.1"
    extensions_map = KNOWN

    def send_head(self) -> BytesIO | BinaryIO | None:
        """The file that was asked for, compressed where that is worth it."""
        path = Path(self.translate_path(self.path))
        if self.path.partition("?")[0].endswith("/"):
            path /= "index.html"
        if path.suffix not in COMPRESSED or not path.is_file() or not self._unpacks():
            return super().send_head()
        return self._compressed(path, HTTPStatus.OK)

    def _unpacks(self) -> bool:
        return "gzip" in self.headers.get("Accept-Encoding", "")

    def _compressed(self, path: Path, status: HTTPStatus) -> BytesIO:
        content = _gzipped(path, path.stat().st_mtime_ns)
        self.send_response(status)
        self.send_header("Content-Type", f"{self.guess_type(path)}; charset=utf-8")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return BytesIO(content)

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Tell of a dead address with the site's own page."""
        page = Path(self.directory, "404.html")
        if code != HTTPStatus.NOT_FOUND or not page.is_file() or not self._unpacks():
            return super().send_error(code, message, explain)
        content = self._compressed(page, HTTPStatus.NOT_FOUND)
        if self.command != "HEAD":
            self.copyfile(content, self.wfile)

    def end_headers(self) -> None:
        """No browser may take an older build for this one."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: one page asks for a dozen files."""


class Server(http.server.ThreadingHTTPServer):
    """A browser that leaves in the middle of an answer is no error."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of everything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main(folder: str, port: str) -> None:
    """Serve a folder until Ctrl-C.

    Args:
        folder: a built site.
        port: on loopback.
    """
    handler = partial(Handler, directory=folder)
    with Server((HOST, int(port)), handler) as server:
        print(f"The site: http://{HOST}:{port}/ (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main(*sys.argv[1:])
