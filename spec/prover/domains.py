"""The values that a cell can have, where some others are known."""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import cache
from typing import Any

from spec.memory import ZERO_PAGE, HugePmd, Names, Pte
from spec.migration_entry import MigrationEntry
from spec.swap import SwapEntry

FLAG = (False, True)
LEFT_OUT: dict[str, tuple[Any, ...]] = {"asked_gup": (False,), "longterm": (False,)}
"""What the proof leaves out: ghost cells."""

CONTENTS = ("value", "expected")
"""Cells that hold contents: 0 is what a new page has, others are numbered as they come.
"""
WRITTEN = 1
"""The contents that a CPU or a device writes; they may be equal to any others."""

NOTICING = ("soft-dirty", "uffd-wp")
"""The traps of those who have to notice a write.

A PTE or an entry that is writable has none: that is a clause of the invariant.
"""
HINT = "numa"
"""The trap of a NUMA hint; a migration entry does not keep it."""
TRAPS = (*NOTICING, HINT)

VALUES: dict[str, tuple[Any, ...]] = LEFT_OUT | {
    "pincount": (0, 1),
    "anon_exclusive": FLAG,
    "locked": FLAG,
    "ksm": FLAG,
    "dirty": FLAG,
    "swapbacked": FLAG,
    "writeback": FLAG,
    "vma": (None, "r", "rw"),
    "mmap_lock": (-1, 0, 1),
    "ptl": FLAG,
    "write_protect_seq": (0, 1, 2),
    "hold": (None,),
    "target": (None,),
    "pin": FLAG,
    "write": FLAG,
    "protected": FLAG,
    "parent": (None,),
    "count": (0, 1, 2),
    "tracked": ("", *NOTICING),
}
"""``write_protect_seq``: 0 is what was read first, even; 1 odd; 2 even and changed."""

MOST_HOLDERS, MOST_MAPPINGS = 4, 2
"""Counts are tried up to here, which is beyond all that they are compared with."""


def fresh(seen: Set[str], names: Names) -> tuple[str, ...]:
    """The pages that were mentioned, and one that was not."""
    other = [page for page in names.pages if page not in seen]
    return (*(page for page in names.pages if page in seen), *other[:1])


def entry_values(
    seen: Set[str],
    names: Names,
    remembers: bool,
    traps: tuple[str, ...] = TRAPS,
) -> list[Any]:
    """What a page table entry can be.

    Args:
        seen: the names that were mentioned.
        names: what exists.
        remembers: whether entries remember the bit.
        traps: those that it can have.
    """
    return _entries(fresh(seen, names), names.slots, remembers, traps)


@cache
def _entries(
    pages: tuple[str, ...],
    slots: tuple[str, ...],
    remembers: bool,
    traps: tuple[str, ...],
) -> list[Any]:
    """The same, of these pages and slots."""
    kinds = ["readable", *["readable-exclusive"] * remembers]
    entries: list[Any] = [None, Pte(ZERO_PAGE, False)]
    for page in pages:
        entries += [Pte(page, True), MigrationEntry(page, "writable")]
        for trap in ("", *traps):
            entries.append(Pte(page, False, trap))
            if trap != HINT:
                entries += [MigrationEntry(page, kind, trap) for kind in kinds]
    for slot in slots:
        entries += [SwapEntry(slot), *[SwapEntry(slot, True)] * remembers]
    return entries


def values(
    key: str, known: Mapping[str, Any], seen: Set[str], names: Names
) -> list[Any]:
    """What any other cell can hold; a page that was not mentioned is a free one."""
    record, _, name = key.partition(".")
    name = name.partition("[")[0]
    if name == "refcount":
        least = holders(record, known)
        return [*range(least, MOST_HOLDERS + 1)] if record in seen else [0]
    if name == "mapcount":
        return [*range(mappings(record, known), MOST_MAPPINGS + 1)]
    if name == "state":
        return ["free", "live"] if record in names.refs else ["live"]
    if name == "pfn":
        return [ZERO_PAGE, *fresh(seen, names)]
    if name == "folio":
        return [None, *fresh(seen, names)]
    sets = {"swap": (None, *names.slots), "mm": names.mms, "va": names.vas}
    return list(sets[name] if name in sets else VALUES[name])


def contents(
    record: str, name: str, known: Mapping[str, Any], remembered: Set[int]
) -> list[int | None]:
    """What a cell with contents can hold: others than any that are known.

    They may be equal nevertheless; that they are is tried where pages are compared.

    Args:
        record, name: of the cell.
        known: cells that were read.
        remembered: contents that the operation knows where it stands.
    """
    pages = {k: v for k, v in known.items() if k.endswith(".value")}
    told = {v for k, v in known.items() if ".expected[" in k and v is not None}
    new = max([WRITTEN, *remembered, *told, *pages.values()]) + 1
    if name == "expected":
        return [None, new]
    equal = {v for k, v in pages.items() if k.startswith("p") and record[0] == "p"}
    return [*sorted(equal), new]


def mappings(page: str, known: Mapping[str, Any]) -> int:
    """How many PTEs are known to map a page."""
    return sum(isinstance(v, Pte) and v.pfn == page for v in known.values())


def holders(page: str, known: Mapping[str, Any]) -> int:
    """How many holders of a page are known."""
    held = (".hold", ".target", ".pfn", ".folio")
    others = [k for k, v in known.items() if v == page and k.endswith(held)]
    return mappings(page, known) + len(others)


def name_of(value: Any) -> Any:
    """The page or slot that an entry leads to, the head of a PMD's folio; any other
    value itself.

    >>> name_of(SwapEntry("s1"))
    's1'
    """
    if isinstance(value, Pte | MigrationEntry):
        return value.pfn
    if isinstance(value, HugePmd):
        return value.head()
    return value.slot if isinstance(value, SwapEntry) else value
