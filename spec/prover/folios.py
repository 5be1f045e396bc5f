"""The values that a cell can have where there are large folios.

What is left out here is what a clause of the invariant excludes: that a large folio is
large as a whole, that a PMD maps a large folio, that a page table is empty under a PMD,
and that each page of a large folio is mapped at its own address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from spec.hugepage import TransHugePmd
from spec.largefolio import DetachedTable
from spec.memory import ZERO_PAGE, HugePmd, Names, NonPresent, Pte
from spec.migration_entry import MigrationEntry
from spec.prover.domains import FLAG, name_of
from spec.prover.scopes import LARGE


@dataclass(frozen=True, slots=True)
class OtherEntry(NonPresent):
    """What a walk over all processes passes by."""


OTHER_ENTRY = OtherEntry()
KINDS = ("readable", "writable", "readable-exclusive")
"""Of migration entries; the last one remembers the bit."""
MOST = 3
"""Counts are tried up to here: two PTEs of a process, and one holder besides."""
Known = Mapping[str, Any]


def parts(seen: Set[str], names: Names) -> list[tuple[str, ...]]:
    """The rows of which a page was mentioned, and one of which none was."""
    rows = [row for row in LARGE.pairs if row[0] in names.pages]
    mentioned = [row for row in rows if seen & {*row}]
    return [*mentioned, *[row for row in rows if row not in mentioned][:1]]


def head_of(page: str, known: Known) -> tuple[str | None, ...]:
    """What is known of a page's head: none, the first of its row, or either.

    A folio is large as a whole.
    """
    first, second = LARGE.pair(page)
    found = [known[f"{p}.head"] for p in (first, second) if f"{p}.head" in known]
    if found:
        return (found[0],)
    if known.get(f"{first}.entire_mapcount") or mapped_whole(first, known):
        return (first,)
    if known.get(f"{first}.refcount") == 0 or known.get(f"{second}.refcount"):
        return (None,)
    if any(misplaced(key, value, page) for key, value in known.items()):
        return (None,)
    return (None, first)


def mapped_whole(first: str, known: Known) -> int:
    """How many PMDs are known to map the folio."""
    return sum(
        isinstance(value, TransHugePmd) and value.pfn == first
        for value in known.values()
    )


def misplaced(key: str, value: Any, page: str) -> bool:
    """Whether an entry leads to a page of a row where a large folio cannot be."""
    if not isinstance(value, Pte | MigrationEntry) or value.pfn == ZERO_PAGE:
        return False
    row = LARGE.pair(page)
    return value.pfn in row and not at_its_address(key, value.pfn)


def at_its_address(key: str, page: str) -> bool:
    """Whether a cell of a page table is the one for this part of a folio."""
    return key.endswith(("[x]", "[y]")[LARGE.pair(page).index(page)])


def values(
    key: str,
    known: Known,
    seen: Set[str],
    names: Names,
    walk: type | None = None,
    *,
    remembers: bool = False,
) -> list[Any] | None:
    """What a cell can hold, if it is one that large folios change.

    Args:
        key: the cell.
        known: cells that were read.
        seen: names that were mentioned.
        names: what exists.
        walk: what the operation looks for in the page tables of all processes.
        remembers: whether entries remember the bit.
    """
    kinds = KINDS if remembers else KINDS[:-1]
    record, _, name = key.partition(".")
    if name.startswith("pte") and walk is not None:
        every = _entries(key, known, seen, names, kinds)
        return [OTHER_ENTRY, *(each for each in every if _looked_for(each, walk, seen))]
    if name.startswith("pte"):
        return list(_entries(key, known, seen, names, kinds))
    if name == "pmd":
        return list(_pmds(record, known, seen, names))
    if name == "ptl" and half_changed(known.get(f"{record}.pmd")):
        return [True]
    if name == "head":
        if not seen & {*LARGE.pair(record)}:
            return [None]
        return list(head_of(record, known))
    if name == "entire_mapcount":
        least = mapped_whole(record, known)
        large = head_of(record, known) != (None,)
        return [*range(least, MOST)] if large else [0]
    if name == "refcount":
        return _refcounts(record, known, seen)
    if name == "mapcount":
        found = sum(isinstance(v, Pte) and v.pfn == record for v in known.values())
        return [*range(found, MOST)] if seen & {*LARGE.pair(record)} else [0]
    if name == "pfn":
        return [ZERO_PAGE, *(page for row in parts(seen, names) for page in row)]
    return None


def _entries(
    key: str, known: Known, seen: Set[str], names: Names, kinds: tuple[str, ...]
) -> Iterator[Any]:
    """A page table is empty under a PMD."""
    yield None
    if isinstance(known.get(f"{key.partition('.')[0]}.pmd"), TransHugePmd):
        return
    yield Pte(ZERO_PAGE, False)
    for page in (page for row in parts(seen, names) for page in row):
        if at_its_address(key, page) or None in head_of(page, known):
            yield from (Pte(page, writable) for writable in FLAG)
            yield from (MigrationEntry(page, kind) for kind in kinds)


def _looked_for(entry: Any, walk: type, seen: Set[str]) -> bool:
    """Whether a walk stops at an entry: at a PTE only if it maps its folio."""
    if not isinstance(entry, walk):
        return False
    return walk is MigrationEntry or bool(seen & {*LARGE.pair(name_of(entry))})


def half_changed(pmd: Any) -> bool:
    """Whether a PMD is one that whoever has the page table lock is changing."""
    invalid = isinstance(pmd, TransHugePmd) and not pmd.present
    return invalid or isinstance(pmd, DetachedTable)


def _pmds(m: str, known: Known, seen: Set[str], names: Names) -> Iterator[Any]:
    """A PMD changes under the page table lock: who has it finds none half changed."""
    yield None
    changing = f"{m}.ptl" not in known
    if changing:
        yield DetachedTable()
    if any(known.get(f"{m}.pte[{va}]") is not None for va in names.vas):
        return
    for first, *_ in parts(seen, names):
        if first in head_of(first, known):
            for writable in FLAG:
                yield TransHugePmd(first, writable)
                if changing:
                    yield TransHugePmd(first, writable, present=False)


def _refcounts(page: str, known: Known, seen: Set[str]) -> list[int]:
    row = LARGE.pair(page)
    if not seen & {*row}:
        return [0]
    heads = head_of(page, known)
    if page == row[1] and heads == (row[0],):
        return [0]
    if page not in seen and heads != (row[0],):
        # nothing is asked of a page that only shares a row but whether it is taken
        return [1]
    least = holders(page, known, whole=heads == (row[0],))
    return [*range(least, max(least + 1, MOST) + 1)]


def holders(page: str, known: Known, *, whole: bool) -> int:
    """How many holders are known: of a large folio those of any of its pages."""
    pages = LARGE.pair(page) if whole else (page,)
    held = (".hold", ".target", ".pfn")
    return sum(
        name_of(value) in pages
        for key, value in known.items()
        if isinstance(value, Pte | HugePmd) or key.endswith(held)
    )
