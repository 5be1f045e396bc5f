"""Third-party notices: what the site ships that others wrote, and under which licence.

All is read from what is shipped: the metadata and licence files of wheels and of
installed distributions, and the lists that JupyterLite's builds leave. A part that
does not tell its name, version, licence, source and licence text ends the build.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import Message
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from typing import Any

import material

from spec.cells import SpecificationError
from spec.publish.tables import table

PAGE = "reference/notices.md"
FOLDER = "notices"
"""Where the licence texts are on the site."""
THEME = "mkdocs-material"
IN_THEME = {
    "clipboard": ("MIT", "https://github.com/zenorocha/clipboard.js"),
    "escape-html": ("MIT", "https://github.com/component/escape-html"),
    "focus-visible": ("W3C", "https://github.com/WICG/focus-visible"),
    "lunr": ("MIT", "https://github.com/olivernn/lunr.js"),
    "material-design-color": ("MIT", "https://github.com/mrmlnc/material-design-color"),
    "rxjs": ("Apache-2.0", "https://github.com/ReactiveX/rxjs"),
    "tslib": ("0BSD", "https://github.com/microsoft/tslib"),
}
"""The packages in the theme's files: licence, as npm has it, and source.

The theme does not tell. Its source maps name the packages; the two must agree.
"""
_W3C = """\
This software or document includes material copied from or derived from focus-visible,
https://github.com/WICG/focus-visible. Copyright W3C, under
https://www.w3.org/copyright/software-license-2015/."""
_SPOKEN_BY = {
    "MIT": ("executing", "Permission is hereby granted"),
    "BSD-3-Clause": ("comm", "Redistribution and use"),
    "Apache-2.0": ("asttokens", "Apache License"),
    "MPL-2.0": ("micropip", "Mozilla Public License Version 2.0"),
}
"""The wheel that has the text of a licence, for what comes without one."""

_LICENCE_FILE = re.compile(
    r"(?:^|/)(?:licen[cs]e|copying|notice|authors)[\w.-]*$", re.I
)
_COPYRIGHT = re.compile(r"^\W*(Copyright .*)$", re.M)
_PACKAGE_IN_MAP = re.compile(r"node_modules/((?:@[^/]+/)?[^/]+)/")
_NOTICE = re.compile(r"/\*!.*?\*/", re.S)
_SOURCE = ("source", "source code", "repository", "homepage")


@dataclass(frozen=True)
class Part:
    """Something that others wrote.

    Attributes:
        name: as its authors call it.
        version: the exact one.
        licence: as its metadata names it.
        source: an address of its source.
        text: its licence, with the notices of its authors.
    """

    name: str
    version: str
    licence: str
    source: str
    text: str

    def checked(self) -> Part:
        """The part; raises SpecificationError if it does not tell all."""
        for what, said in vars(self).items():
            if not said.strip():
                raise SpecificationError(
                    f"the third-party notices do not know the {what} of {self.name}"
                )
        return self

    @property
    def file(self) -> str:
        """Where its licence is, in the folder of licences.

        >>> Part("A_b c", "1", "MIT", "https://a.example/", "...").file
        'a-b-c.txt'
        """
        return f"{re.sub(r'[^a-z0-9.]+', '-', self.name.lower())}.txt"


@dataclass(frozen=True)
class Notices:
    """All that the site ships.

    Attributes:
        site: what each page loads.
        browser: Python in the browser.
        lite: JupyterLite.
        bundled: the npm packages that JupyterLite was built from.
    """

    site: Sequence[Part]
    browser: Sequence[Part]
    lite: Sequence[Part]
    bundled: Sequence[Part]


# -- Python's packages -----------------------------------------------------------------


def _licence_of(said: Message, text: str) -> str:
    """What a package's metadata says in one of three ways, or its licence first."""
    for field in ("License-Expression", "License"):
        if (found := str(said[field] or "")) and "\n" not in found:
            return found
    for classifier in said.get_all("Classifier") or []:
        if classifier.startswith("License :: OSI Approved :: "):
            return str(classifier.rpartition(" :: ")[2])
    return text.partition("\n")[0].strip()


def _source_of(said: Message) -> str:
    pairs = [entry.split(", ", 1) for entry in said.get_all("Project-URL") or []]
    named = {label.lower(): address for label, address in pairs}
    found = next((named[label] for label in _SOURCE if label in named), "")
    return found or str(said["Home-page"] or "")


def _part(said: Message, texts: Sequence[tuple[str, str]]) -> Part:
    licence = _licence_of(said, texts[0][1] if texts else "")
    return Part(
        said["Name"], said["Version"], licence, _source_of(said), _joined(texts)
    )


def _joined(texts: Iterable[tuple[str, str]]) -> str:
    """Several files as one text, each under its name."""
    return "\n\n".join(f"--- {name} ---\n\n{text.strip()}" for name, text in texts)


def wheel(path: Path) -> Part:
    """A wheel that a browser loads; other projects may be in it, with their licences.

    Where there is no licence file, its text has the lines on copyright in its modules.
    """
    with zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())

        def read(name: str) -> str:
            return archive.read(name).decode()

        about = next(name for name in names if name.endswith(".dist-info/METADATA"))
        licences = [n for n in names if _LICENCE_FILE.search(n) and n[-3:] != ".py"]
        found = _part(Parser().parsestr(read(about)), [(n, read(n)) for n in licences])
        if found.text:
            return found
        modules = [read(name) for name in names if name.endswith(".py")]
        lines = {line for code in modules for line in _COPYRIGHT.findall(code[:1000])}
        return replace(found, text="\n".join(sorted(lines)))


def installed(name: str) -> Part:
    """A distribution that is installed here."""
    found = metadata.distribution(name)
    texts = [
        (Path(file).name, file.read_text(encoding="utf-8"))
        for file in found.files or []
        if ".dist-info/" in str(file) and _LICENCE_FILE.search(str(file))
    ]
    return _part(Parser().parsestr(found.read_text("METADATA") or ""), texts)


# -- the rest --------------------------------------------------------------------------


def python(about: Mapping[str, Any], lock: Mapping[str, Any], mpl: str) -> list[Part]:
    """Pyodide, by its npm package, and the Python in it.

    Args:
        about: its package.json.
        lock: its lock file.
        mpl: the text of its licence, which its package lacks.
    """
    source = about["repository"]["url"].removeprefix("git+").removesuffix(".git")
    of_python = installed("typing-extensions").text  # has Python's own licence
    return [
        Part("Pyodide", about["version"], about["license"], source, mpl),
        Part(
            "CPython",
            lock["info"]["python"],
            "PSF-2.0",
            "https://github.com/python/cpython",
            of_python,
        ),
    ]


def in_theme(folder: Path) -> set[str]:
    """The npm packages that the theme's scripts and styles contain.

    Args:
        folder: the theme's assets.
    """
    maps = (path.read_text(encoding="utf-8") for path in folder.rglob("*.min.*.map"))
    sources = [source for text in maps for source in json.loads(text)["sources"]]
    return {found[1] for s in sources if (found := _PACKAGE_IN_MAP.search(s))}


def theme(standard: Mapping[str, str]) -> list[Part]:
    """The theme, its icons, and the packages in its files.

    Raises:
        SpecificationError: the theme contains other packages than `IN_THEME` has.
    """
    folder = Path(material.__path__[0], "templates")
    if (found := in_theme(folder / "assets")) != set(IN_THEME):
        raise SpecificationError(
            f"the theme contains {', '.join(sorted(found))}: spec/publish/notices.py "
            f"knows {', '.join(IN_THEME)}"
        )
    whole = installed(THEME)
    icons = Part(
        "Material Design Icons",
        f"in {THEME} {whole.version}",
        "Apache-2.0",
        "https://github.com/Templarian/MaterialDesign",
        (folder / ".icons" / "material" / "LICENSE").read_text(encoding="utf-8"),
    )
    kept = [
        notice
        for path in sorted((folder / "assets" / "javascripts").rglob("*.min.js"))
        for notice in _NOTICE.findall(path.read_text(encoding="utf-8"))
    ]
    texts = {**standard, "W3C": _W3C, "0BSD": "The 0BSD licence asks for no notice."}
    packages = [
        Part(
            name,
            f"in {THEME} {whole.version}",
            licence,
            source,
            "\n\n".join(
                [*(n for n in kept if name in n), f"{source}\n\n{texts[licence]}"]
            ),
        )
        for name, (licence, source) in IN_THEME.items()
    ]
    return [whole, icons, *packages]


def bundled(lists: Iterable[Path], standard: Mapping[str, str]) -> list[Part]:
    """The npm packages that JupyterLite's builds list.

    Args:
        lists: their third-party-licenses.json.
        standard: texts for packages that come without one.
    """
    found: dict[tuple[str, str], Part] = {}
    for path in lists:
        for entry in json.loads(path.read_text(encoding="utf-8"))["packages"]:
            name, version, licence = (
                entry[key] for key in ("name", "versionInfo", "licenseId")
            )
            source = f"https://www.npmjs.com/package/{name}/v/{version}"
            text = entry["extractedText"] or standard.get(licence, "")
            found[name, version] = Part(name, version, licence, source, text)
    return [found[key] for key in sorted(found)]


def _from(text: str, begin: str) -> str:
    """What stands in one of several files from some words on."""
    return text[text.index(begin) :].partition("\n\n--- ")[0]


def _with_permission(part: Part, standard: Mapping[str, str]) -> Part:
    """The part; if it has but its authors' copyright, with the licence it names."""
    if not part.licence.startswith("MIT") or _SPOKEN_BY["MIT"][1] in part.text:
        return part
    return replace(part, text=f"{part.text}\n\n{standard['MIT']}")


def collect(wheels: Iterable[Path], pyodide: Path, about: Path, lite: Path) -> Notices:
    """All that the site ships.

    Args:
        wheels: what the browser can load.
        pyodide: the folder of Pyodide.
        about: its package.json.
        lite: the folder of JupyterLite.

    Raises:
        SpecificationError: something does not tell all.
    """
    loaded = {part.name.lower(): part for part in map(wheel, wheels)}
    standard = {
        licence: _from(loaded[name].text, begin)
        for licence, (name, begin) in _SPOKEN_BY.items()
    }
    in_browser = [_with_permission(part, standard) for part in loaded.values()]
    lock = json.loads((pyodide / "pyodide-lock.json").read_bytes())
    its_python = python(json.loads(about.read_bytes()), lock, standard["MPL-2.0"])
    apps = [installed("jupyterlite-core"), installed("jupyterlite-pyodide-kernel")]
    lists = sorted(lite.rglob("third-party-licenses.json"))
    groups = (
        theme(standard),
        [*its_python, *in_browser],
        apps,
        bundled(lists, standard),
    )
    return Notices(*([part.checked() for part in group] for group in groups))


# -- the page --------------------------------------------------------------------------

_LISTED_TOGETHER = "jupyterlite-packages.txt"
_HEADER = ("Name", "Version", "Licence")


def _row(part: Part, file: str) -> tuple[str, ...]:
    licence = f"[{part.licence}](../{FOLDER}/{file})"
    return f"[{part.name}]({part.source})", part.version, licence


def page(notices: Notices) -> str:
    """The page that lists all of it."""
    groups = (
        ("Pages", "Every page loads the theme, with what its files contain.", "site"),
        (
            "Python in the browser",
            "*Run* and JupyterLite load these when a reader asks for them. Pyodide's "
            "binary contains C libraries, too, which its sources name.",
            "browser",
        ),
        ("JupyterLite", "It opens chapters as notebooks.", "lite"),
    )
    lines = [
        "# Third-party notices",
        "",
        "What this site ships that others wrote. Each name leads to the source, each "
        "licence to its text with the notices of the authors. The list is read from "
        "the shipped files when the site is built.",
    ]
    for title, said, name in groups:
        rows = [_row(part, part.file) for part in getattr(notices, name)]
        lines += ["", f"## {title}", "", said, "", table(_HEADER, rows, "ae-wrap")]
    rows = [_row(part, _LISTED_TOGETHER) for part in notices.bundled]
    lines += [
        "",
        f'??? note "The {len(rows)} npm packages that JupyterLite was built from"',
        "",
        *(f"    {line}" for line in table(_HEADER, rows, "ae-wrap").splitlines()),
        "",
    ]
    return "\n".join(lines)


def files(notices: Notices) -> dict[str, str]:
    """The licence texts: address on the site to content."""
    parts = [*notices.site, *notices.browser, *notices.lite]
    found = {f"{FOLDER}/{part.file}": f"{part.text}\n" for part in parts}
    by_text: dict[str, list[str]] = {}
    for part in notices.bundled:
        by_text.setdefault(part.text, []).append(f"{part.name} {part.version}")
    together = [f"{chr(10).join(names)}\n\n{text}" for text, names in by_text.items()]
    rule = f"\n\n{'-' * 72}\n\n"
    return {**found, f"{FOLDER}/{_LISTED_TOGETHER}": f"{rule.join(together)}\n"}
