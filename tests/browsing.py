"""The built site in Debian's Chromium, with every other host closed."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spec.publish.serve import HOST, Handler, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SITE = Path(__file__).parents[1] / "build" / "site"
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
STRICT = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"


class StrictHandler(Handler):
    def end_headers(self) -> None:
        if self.path.endswith("run-worker.js"):
            # A worker has the policy that it is served with, not that of its page.
            self.send_header("Content-Security-Policy", STRICT)
        super().end_headers()


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    handler = functools.partial(StrictHandler, directory=SITE)
    with Server((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(chromium: Browser, url: str) -> Iterator[tuple[Page, list[str]]]:
    """A page of a new profile, and everything that goes wrong in it, as it happens."""
    context = chromium.new_context()
    context.set_default_timeout(10_000)
    page = context.new_page()
    troubles: list[str] = []
    context.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((url, "data:", "blob:"))
            else troubles.append(f"request to {request.url}")
        ),
    )
    page.on("pageerror", lambda error: troubles.append(f"page error: {error}"))
    page.on(
        "console",
        lambda message: (
            troubles.append(f"console: {message.text}")
            if message.type == "error"
            else None
        ),
    )
    yield page, troubles
    context.close()


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    """A page of a new profile; at its end nothing may have gone wrong in it."""
    with opened(chromium, url) as (page, troubles):
        yield page
    assert not troubles, troubles


@pytest.fixture(scope="session")
def _kept(chromium: Browser, url: str) -> Iterator[tuple[Page, list[str]]]:
    with opened(chromium, url) as kept:
        yield kept


@pytest.fixture
def kept_page(_kept: tuple[Page, list[str]]) -> Iterator[Page]:
    """One page for all tests that change nothing in its profile: a new one takes long.

    What goes wrong between two tests is told by the later one.
    """
    page, troubles = _kept
    yield page
    found = troubles.copy()
    troubles.clear()
    assert not found, found


def settle(page: Page) -> None:
    """Wait until a loaded page has nothing to do: none fetches anything after that.

    That no request is made for half a second would be the longest part of a test.
    """
    page.evaluate(
        """() => new Promise((resolve) =>
          requestAnimationFrame(() => requestIdleCallback(() => resolve())))"""
    )
