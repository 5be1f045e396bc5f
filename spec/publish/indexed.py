"""What pages add to the search index, kept until they change.

The theme takes each page apart anew for it, which is a tenth of a build.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "build" / "indexed.json"
PLUGIN = "material/search"
SEEN = "requirements/dev.txt"
"""What takes pages apart is pinned there."""


class Entries:
    """The entries of one build, in the place of the theme's own.

    Args:
        config: of the site.
        file: where they are kept.
    """

    def __init__(self, config: MkDocsConfig, file: Path = FILE) -> None:
        self._file = file
        self._index: Any = config.plugins[PLUGIN].search_index  # type: ignore[attr-defined]
        self._add = self._index.add_entry_from_context
        self._index.add_entry_from_context = self.add
        self._shared = hashlib.sha256((ROOT / SEEN).read_bytes())
        self._used: dict[str, list[Any]] = {}
        self._kept: dict[str, list[Any]] = {}
        if file.exists():
            self._kept = json.loads(file.read_text(encoding="utf-8"))

    def add(self, page: Page) -> None:
        """Add the entries of a page, taken apart only if it is not known."""
        key = self._key(page)
        if key in self._kept:
            self._index.entries += self._kept[key]
        else:
            known = len(self._index.entries)
            self._add(page)
            self._kept[key] = self._index.entries[known:]
        self._used[key] = self._kept[key]

    def _key(self, page: Page) -> str:
        digest = self._shared.copy()
        shown = {"tags": page.meta.get("tags"), "search": page.meta.get("search")}
        told = (page.url, str(page.meta.get("title", page.title)), shown, page.content)
        digest.update(json.dumps(told).encode())
        return digest.hexdigest()[:24]

    def keep(self) -> None:
        """Keep what was added, and nothing of pages that have changed or gone."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self._used), encoding="utf-8")
        part.replace(self._file)
