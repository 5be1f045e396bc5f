"""Anchors against kernel source trees: is each function there, and what became of it?

No code of the kernel is kept, only digests of its functions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from spec.cells import SpecificationError
from spec.desk.anchors import anchored, obeyed_since, places, symbols
from spec.desk.functions import DIGITS, Function, functions
from spec.desk.symbols import anchors
from spec.history import parse
from spec.rules import Rule, load

RECORD = Path(__file__).resolve().parents[1] / "records" / "anchors.json"
"""Digests by release; `kernel-anchors record` writes it."""


@dataclass
class Tree:
    """The sources of a kernel, or those files of it that anchors name.

    Attributes:
        root: where they are.
        release: as ``6.12``.
    """

    root: Path
    release: str
    _files: dict[str, list[Function]] = field(default_factory=dict, repr=False)

    def functions(self, file: str) -> list[Function]:
        """The functions of a file; none if there is no such file.

        Raises:
            SpecificationError: the file cannot be read.
        """
        if file not in self._files:
            path = self.root / file
            try:
                source = path.read_bytes() if path.is_file() else b""
            except OSError as error:
                raise SpecificationError(
                    f"cannot read {str(path)!r} ({error.strerror}); give a tree that "
                    f"you may read"
                ) from None
            self._files[file] = functions(source)
        return self._files[file]

    def digest(self, place: str) -> str:
        """Of the function at ``file:function``, all its variants; empty if absent."""
        file, _, name = place.partition(":")
        found = [f.digest for f in self.functions(file) if f.name == name]
        if len(found) < 2:
            return "".join(found)
        return hashlib.sha256(" ".join(found).encode()).hexdigest()[:DIGITS]

    def where(self, symbol: str) -> list[str]:
        """The places that the history of the symbol names and the tree has."""
        wanted = anchors(symbol)
        for sure in (True, False):
            here = [
                anchor.place
                for anchor in wanted
                if (anchor.covers if sure else anchor.may_cover)(self.release)
                and self.digest(anchor.place)
            ]
            if here:
                return here
        return []


def open_tree(folder: Path, release: str = "") -> Tree:
    """The tree in a folder.

    Args:
        folder: has the kernel's Makefile, from which the release is read.
        release: the release, if there is no Makefile.

    Raises:
        SpecificationError: it is no kernel tree, or its release is not known.
    """
    if not (folder / "mm").is_dir():
        raise SpecificationError(
            f"{str(folder)!r} is no kernel source tree: it has no folder mm; give the "
            f"folder that has mm/memory.c"
        )
    found = release or _release(folder / "Makefile")
    parts = found.split(".")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise SpecificationError(
            f"the release of {str(folder)!r} is {found or 'not known'!r}; give two "
            f"numbers with --release, as in 6.12"
        )
    return Tree(folder, found)


def _release(makefile: Path) -> str:
    try:
        lines = makefile.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        said.setdefault(name.strip(), value.strip())
    return f"{said.get('VERSION', '')}.{said.get('PATCHLEVEL', '')}"


# -- one tree --------------------------------------------------------------------------


def expected(release: str) -> list[str]:
    """The symbols that a release has; others came later."""
    return [
        symbol
        for symbol in symbols()
        if any(anchor.may_cover(release) for anchor in anchors(symbol))
    ]


def missing(tree: Tree) -> dict[str, list[str]]:
    """Symbols that are nowhere where they should be, and where they are instead."""
    return {
        symbol: [place for place in places(symbol) if tree.digest(place)]
        for symbol in expected(tree.release)
        if not tree.where(symbol)
    }


def digests(tree: Tree) -> dict[str, str]:
    """The digest of each anchored function that the tree has, by place."""
    found = sorted({p for symbol in expected(tree.release) for p in tree.where(symbol)})
    return {place: tree.digest(place) for place in found}


@dataclass(frozen=True)
class Recorded:
    """What was read in a release.

    Attributes:
        package: of Debian, with its version.
        read: the day.
        functions: digest by place.
    """

    package: str
    read: str
    functions: dict[str, str]


@cache
def recorded() -> dict[str, Recorded]:
    """The records by release, oldest first."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    return {release: Recorded(**found[release]) for release in sorted(found, key=parse)}


def record(tree: Tree, package: str, day: str, path: Path = RECORD) -> None:
    """Put the digests of a tree into the record, in place of those of its release."""
    found: dict[str, Any] = {}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
    found[tree.release] = {"package": package, "read": day, "functions": digests(tree)}
    kept = {release: found[release] for release in sorted(found, key=parse)}
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    recorded.cache_clear()


def differences(tree: Tree) -> list[str]:
    """The places whose digest is not that of the record; none without a record."""
    known = recorded().get(tree.release)
    if known is None:
        return []
    now = digests(tree)
    both = sorted({*now, *known.functions})
    return [place for place in both if now.get(place) != known.functions.get(place)]


# -- two trees -------------------------------------------------------------------------


@dataclass(frozen=True)
class Fate:
    """What became of a symbol of a rule between two trees.

    Attributes:
        rule: the rule.
        what: ``moved``, ``moved and changed``, ``changed`` or ``vanished``.
        old, new: the places in each tree.
    """

    rule: Rule
    what: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    def __str__(self) -> str:
        old, new = _said(self.old), _said(self.new)
        if self.what == "changed":
            return old
        return old if not new else f"{old} -> {new}"


def _said(where: tuple[str, ...]) -> str:
    """Places with each file named once.

    >>> _said(("mm/a.c:f", "mm/a.c:g"))
    'mm/a.c: f, g'
    """
    by_file: dict[str, list[str]] = {}
    for place in where:
        file, _, name = place.partition(":")
        by_file.setdefault(file, []).append(name)
    return "; ".join(f"{file}: {', '.join(names)}" for file, names in by_file.items())


def fates(old: Tree, new: Tree) -> Iterator[Fate]:
    """What became of the symbols of each rule; unchanged ones are left out."""
    for rule in load().values():
        begun = obeyed_since(rule.id)
        if rule.withdrawn or (begun and parse(old.release) < parse(begun)):
            continue
        for symbol in _symbols_of(rule):
            was, now = tuple(old.where(symbol)), tuple(new.where(symbol))
            if was and (what := _what(old, new, was, now)):
                yield Fate(rule, what, was, now)


def _symbols_of(rule: Rule) -> list[str]:
    """The symbols that a rule names, or those of the steps that speak of it."""
    if rule.kernel:
        return list(rule.kernel)
    placed = {found.anchor.place for found in anchored(rule)}
    return [symbol for symbol in symbols() if placed.intersection(places(symbol))]


def _what(old: Tree, new: Tree, was: tuple[str, ...], now: tuple[str, ...]) -> str:
    if not now:
        return "vanished"
    same = [old.digest(place) for place in was] == [new.digest(place) for place in now]
    if was == now:
        return "" if same else "changed"
    return "moved" if same else "moved and changed"
