"""What Markdown became, kept until anything changes that it depends on.

A chapter changes and 250 other pages do not; to render them anew takes a third of a
build. A page that MkDocs warned of is rendered each time, so that it warns each time.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "rendered"
SEEN = ("mkdocs.yml", "docs/includes/abbreviations.md", "requirements/dev.txt")
"""What each page depends on: settings, words that all explain, what renders."""
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

    def render(self, page: Page, config: MkDocsConfig, files: Files) -> None:
        """Do what `Page.render` does, or what it did for the same Markdown."""
        assert page.markdown is not None
        kept = self._path(page.file.src_uri, page.markdown)
        if kept.exists():
            self._take(page, kept)
            return
        with _Told() as told:
            Page.render(page, config, files)
        if not told.something and INCLUDES not in page.markdown:
            self._keep(page, kept)

    def _path(self, uri: str, markdown: str) -> Path:
        digest = self._shared.copy()
        digest.update(f"{uri}\0{markdown}".encode())
        return self._folder / f"{_stem(uri)}.{digest.hexdigest()[:24]}"

    def _take(self, page: Page, kept: Path) -> None:
        page.content, page.toc, title, page.present_anchor_ids, links = pickle.loads(
            kept.read_bytes()
        )
        page._title_from_render = title
        page.links_to_anchors = {
            file: found
            for uri, found in links.items()
            if (file := self._files.get_file_from_path(uri))
        }

    def _keep(self, page: Page, kept: Path) -> None:
        links = {f.src_uri: found for f, found in (page.links_to_anchors or {}).items()}
        title = page._title_from_render
        made = page.content, page.toc, title, page.present_anchor_ids, links
        for old in self._folder.glob(f"{_stem(page.file.src_uri)}.{'[0-9a-f]' * 24}"):
            old.unlink(missing_ok=True)
        part = kept.with_suffix(f"{kept.suffix}.part")
        part.write_bytes(pickle.dumps(made))
        part.replace(kept)


def _stem(uri: str) -> str:
    return uri.replace("/", ",")
