"""JupyterLite: its settings, and chapters as notebooks that it can show and run."""

from __future__ import annotations

import json
import posixpath
import re
import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

from spec import rules
from spec.publish import chapters

LISTING = "all.json"
ICONS = ("favicon-busy-1.ico", "favicon-notebook.ico")
"""What the tab of a notebook shows; without jupyter-server they are missing."""
STORED = "2026-01-01T00:00:00Z"
"""The date of all files in listings, which say the same whenever they are made."""

_ICON = '<link rel="icon" href="./favicon.ico">'
_CALLOUT = re.compile(r"^> \[!(\w+)\][ ]*(.*)$", re.M)
_HEADING = re.compile(r"^(#+ .*?)\s*\{[^}\n]*\}\s*$", re.M)
_COMMENT = re.compile(r"^<!--.*?-->\n?", re.M | re.S)
_ATTRIBUTES = re.compile(r"(?<=\))\{[^}\n]*\}")
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_WELCOME = """\
> Python runs in your browser: *Run*, then *Run All Cells*, begins. What you change is
> gone when you close the tab; *File*, *Download* keeps it. The chapter with its rule
> cards is [on the site]({url})."""
_ENTER = """\
# What the cells define is what the rest of the specification uses.
from spec.publish.live import enter

enter("{module}")"""

CHECK = """\
# Change a cell above and run it; then run this one.
from spec.publish.trial import check

check(("A", "fork; write 1"), ("A", "gup ro pin; put; write 2"))"""
"""The last cell of a chapter, for who has changed it; it is none of the chapter's."""


def config(packages: Sequence[str]) -> dict[str, Any]:
    """The settings that JupyterLite reads when it starts.

    Args:
        packages: what the kernel loads before a cell runs.
    """
    kernel = {
        "disablePyPIFallback": True,
        "pyodideUrl": "./static/pyodide/pyodide.mjs",
        "loadPyodideOptions": {
            "lockFileURL": "./static/pyodide/pyodide-lock.json",
            "packages": list(packages),
        },
    }
    settings = {
        "appName": "anon-exclusive",
        "contentsAllJsonFile": LISTING,
        # An edited copy in the browser would hide each later release of a notebook.
        "enableMemoryStorage": True,
        "contentsStorageDrivers": ["memoryStorageDriver"],
        "settingsStorageDrivers": ["memoryStorageDriver"],
        "workspacesStorageDrivers": ["memoryStorageDriver"],
        "litePluginSettings": {"@jupyterlite/pyodide-kernel-extension:kernel": kernel},
    }
    return {"jupyter-lite-schema-version": 0, "jupyter-config-data": settings}


def build_config(output: Path, extension: Path) -> dict[str, Any]:
    """The settings of `jupyter lite build`.

    Args:
        output: the folder that it fills.
        extension: the kernel; what else is installed here has no business there.
    """
    return {
        "LiteBuildConfig": {
            "apps": ["notebooks"],
            "federated_extensions": [str(extension)],
            "ignore_sys_prefix": ["federated_extensions"],
            "no_sourcemaps": True,
            "no_unused_shared_packages": True,
            "output_dir": str(output),
        }
    }


def plain(markdown: str, uri: str, site_url: str) -> str:
    """Markdown that Jupyter shows, from the Markdown of the chapter `uri`.

    >>> plain("### AE-FORK-2 {#AE-FORK-2}", "spec/fork.py", "https://s.example/")
    '### AE-FORK-2'
    >>> plain("[a](bit.py#x) [b](../glossary.md)", "spec/fork.py", "https://s.example/")
    '[a](bit.ipynb#x) [b](https://s.example/glossary/)'
    """

    def linked(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        if target.endswith(".py"):
            return f"{target.removesuffix('.py')}.ipynb{anchor}"
        path = posixpath.normpath(posixpath.join(posixpath.dirname(uri), target))
        page = path.removesuffix(".md").removesuffix("index").rstrip("/")
        return f"{site_url}{page}/{anchor}" if page else f"{site_url}{anchor}"

    text = _COMMENT.sub("", _ATTRIBUTES.sub("", _HEADING.sub(r"\1", markdown)))
    text = _CALLOUT.sub(lambda m: f"> **{m[2] or m[1].title()}**  ", text)
    return _LINK.sub(linked, text)


@cache
def can_be_checked(module: str) -> bool:
    """Whether `CHECK` runs what the chapter defines: not in worlds of their own."""
    return all(
        rule.world == "mm" for rule in rules.load().values() if rule.module == module
    )


def notebook(path: Path, site_url: str) -> Any:
    """The chapter at `path` as a notebook for JupyterLite, none of its cells run."""
    made = chapters.read(path)
    uri = path.relative_to(chapters.ROOT).as_posix()
    for cell in made.cells:
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source, uri, site_url)
    url = f"{site_url}{uri.removesuffix('.py')}/"
    welcome = [nbformat.v4.new_markdown_cell(_WELCOME.format(url=url), id="welcome")]
    if module := chapters.module_name(path):
        entering = _ENTER.format(module=module)
        welcome.append(nbformat.v4.new_code_cell(entering, id="enter"))
        if can_be_checked(module):
            made.cells.append(nbformat.v4.new_code_cell(CHECK, id="check"))
    made.cells[1:1] = welcome
    # Any other kernel's name, and the reader would first be asked to choose one.
    made.metadata["kernelspec"] = {
        "name": "python",
        "display_name": "Python (Pyodide)",
        "language": "python",
    }
    return made


def _entry(path: str, kind: str, size: int | None) -> dict[str, Any]:
    """What a listing of Jupyter's contents service says of a file or folder."""
    return {
        "name": posixpath.basename(path),
        "path": path,
        "type": kind,
        "format": None,
        "content": None,
        "mimetype": None,
        "size": size,
        "created": STORED,
        "last_modified": STORED,
        "writable": True,
    }


def _list(folder: Path, path: str, entries: list[dict[str, Any]]) -> None:
    """Write the listing of a folder, which a static site cannot make when asked."""
    target = folder / "api" / "contents" / path / LISTING
    target.parent.mkdir(parents=True, exist_ok=True)
    listing = {**_entry(path, "directory", None), "format": "json", "content": entries}
    target.write_text(json.dumps(listing), encoding="utf-8")


def add_icons(folder: Path) -> None:
    """Give the JupyterLite in `folder` the icons that it asks for."""
    icons = folder / "static" / "favicons"
    icons.mkdir()
    for name in ICONS:
        shutil.copy(folder / "icon-120x120.png", icons / name)
    page = folder / "notebooks" / "index.html"
    # Its script names the icon, but too late: the browser has asked the host's root.
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</head>", f"{_ICON}</head>", 1), encoding="utf-8")


def add_notebooks(folder: Path, paths: Iterable[Path], site_url: str) -> None:
    """Put chapters into the JupyterLite in `folder`, with listings of them.

    JupyterLite would list them itself with jupyter-server, but that makes every import
    of nbformat take seconds.

    Args:
        folder: where JupyterLite has been built.
        paths: of the percent files.
        site_url: where the site will be, with a slash at its end.
    """
    listed: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        uri = path.relative_to(chapters.ROOT).with_suffix(".ipynb")
        target = folder / "files" / uri
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook(path, site_url), target)
        entry = _entry(uri.as_posix(), "notebook", target.stat().st_size)
        listed.setdefault(uri.parent.as_posix(), []).append(entry)
    for name, entries in listed.items():
        _list(folder, name, entries)
    _list(folder, "", [_entry(name, "directory", None) for name in listed])
