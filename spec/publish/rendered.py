"""What Markdown became, kept until anything changes that it depends on.

A chapter changes and 280 other pages do not; to render them anew takes a third of a
build. A page that MkDocs warned of is rendered each time, so that it warns each time.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "rendered"
SEEN = (
    *("mkdocs.yml", "docs/includes/abbreviations.md", "requirements/dev.txt"),
    "docs/hooks/chapter.md.j2",
)
"""What each page depends on: settings, words that all explain, what renders."""
Render = Callable[[MkDocsConfig, Files], None]
INCLUDES = "--8<--"
"""A page that takes text from other files is not kept."""


class _Told(logging.Handler):
    """Hears whether MkDocs warns of something."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.something = False

    def emit(self, record: logging.LogRecord) -> None:
        self.something = True

    def __enter__(self) -> _Told:
        logging.getLogger("mkdocs").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("mkdocs").removeHandler(self)


class Renderings:
    """The pages of one build.

    Args:
        config: of the site.
        files: all of them: links on a page lead to others.
        folder: where they are kept.
    """

    def __init__(
        self, config: MkDocsConfig, files: Files, folder: Path = FOLDER
    ) -> None:
        self._folder = folder
        self._files = files
        self._shared = hashlib.sha256(f"{sys.version} {config.site_url}".encode())
        for name in SEEN:
            self._shared.update((ROOT / name).read_bytes() + b"\0")
        for file in files:
            told = f"{file.src_uri}\0{file.dest_uri}\0{file.inclusion}\0"
            self._shared.update(told.encode())
        folder.mkdir(parents=True, exist_ok=True)

    def render(
        self, page: Page, make: Render, config: MkDocsConfig, files: Files
    ) -> None:
        """Do what `make` does for a page, or what it did for the same Markdown."""
        assert page.markdown is not None
        kept = self._path(page.file.src_uri, page.markdown)
        if kept.exists():
            self._take(page, kept)
            return
        with _Told() as told:
            make(config, files)
        if not told.something and INCLUDES not in page.markdown:
            self._keep(page, kept)

    def converted(self, page: Page, convert: Callable[[], Any]) -> Any:
        """What a notebook became as Markdown, or became before."""
        uri = f"{page.file.src_uri}.converted"
        kept = self._path(uri, page.file.content_string)
        if kept.exists():
            return pickle.loads(kept.read_bytes())
        made = convert()
        self._write(uri, kept, made)
        return made

    def _path(self, uri: str, markdown: str) -> Path:
        digest = self._shared.copy()
        digest.update(f"{uri}\0{markdown}".encode())
        return self._folder / f"{_stem(uri)}.{digest.hexdigest()[:24]}"

    def _take(self, page: Page, kept: Path) -> None:
        made = pickle.loads(kept.read_bytes())
        page.content, page.toc, title, given, page.present_anchor_ids, links = made
        page._title_from_render = title
        if given is not None:
            page.title = given
        page.links_to_anchors = {
            file: found
            for uri, found in links.items()
            if (file := self._files.get_file_from_path(uri))
        }

    def _keep(self, page: Page, kept: Path) -> None:
        links = {f.src_uri: found for f, found in (page.links_to_anchors or {}).items()}
        # what renders notebooks gives the page its title by itself
        titles = page._title_from_render, vars(page).get("title")
        made = page.content, page.toc, *titles, page.present_anchor_ids, links
        self._write(page.file.src_uri, kept, made)

    def _write(self, uri: str, kept: Path, made: Any) -> None:
        for old in self._folder.glob(f"{_stem(uri)}.{'[0-9a-f]' * 24}"):
            old.unlink(missing_ok=True)
        part = kept.with_suffix(f"{kept.suffix}.part")
        part.write_bytes(pickle.dumps(made))
        part.replace(kept)


def _stem(uri: str) -> str:
    return uri.replace("/", ",")
