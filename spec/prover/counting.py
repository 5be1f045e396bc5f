"""AE-INV-3 without a solver: a footprint changes a count as it changes the holders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from spec.hugepage import TransHugePmd
from spec.memory import HugePmd, Pte
from spec.prover.footprints import Command, Place, owner, split
from spec.prover.scopes import BASE, Scope
from spec.swap import SwapEntry

HOLDING = ("hold", "target", "pfn")
"""Cells that name a page and hold it."""
COUNTED = ("refcount", "mapcount", "entire_mapcount", "pincount", "count")
"""What is counted: holders, mappings and pins of a page, entries that name a slot."""


def counts(cells: Mapping[str, Any], scope: Scope = BASE) -> Counter[str]:
    """What the counts would be if there were no other holders than these cells.

    The pages of a large folio are held and pinned together, and mapped one by one or as
    a whole.

    >>> dict(counts({"A.pte[x]": Pte("p1", True), "cpu0.hold": "p1"}))
    {'p1.refcount': 2, 'p1.mapcount': 1}
    """
    found: Counter[str] = Counter()
    for key, value in cells.items():
        if value is None:
            continue
        if isinstance(value, int):  # most cells are flags and numbers: a pin counts
            if value and key.endswith(".pin"):
                record = owner(key)
                held = folio(cells.get(f"{record}.pfn"), cells, scope)
                found[f"{held}.pincount"] += 1
        elif isinstance(value, Pte):
            found[f"{folio(value.pfn, cells, scope)}.refcount"] += 1
            found[f"{value.pfn}.mapcount"] += 1
        elif isinstance(value, HugePmd):
            if value.head() is not None:
                found[f"{value.head()}.refcount"] += 1
                found[f"{value.head()}.entire_mapcount"] += 1
        elif isinstance(value, SwapEntry):
            found[f"{value.slot}.count"] += 1
        else:
            record, name, _ = split(key)
            if name in HOLDING:
                found[f"{folio(value, cells, scope)}.refcount"] += 1
            elif name == "swap":
                found[f"{record}.refcount"] += 1
    return found


def folio(page: Any, cells: Mapping[str, Any], scope: Scope) -> Any:
    """The head of a page; the page itself if no other head is known."""
    if page is None:
        return None
    heads = [cells[key] for p in scope.pair(page) if (key := f"{p}.head") in cells]
    return heads[0] if heads and heads[0] else page


def miscounted(command: Command, place: Place) -> Iterator[str]:
    """The counts that a footprint leaves wrong, if they were right before."""
    if command.raised:
        return
    before = {**UNUSED, **place.own, **command.reads}
    before |= {key: remembered(place, key) for key in unread(command, place)}
    after = {**before, **command.writes}
    if place.scope.has_folios:
        yield from _torn(before, after, place.scope)
    least, now = counts(before, place.scope), counts(after, place.scope)
    touched = {owner(key) for key in after}
    for key in sorted({*least, *now, *command.writes}):
        record, name, _ = split(key)
        if name not in COUNTED or record not in touched:
            continue
        was = before.get(key, least[key])  # a count that is not read does not change
        is_ = after.get(key, was)
        changed = now[key] - least[key]
        if is_ - was != changed and was >= least[key]:
            yield f"{key} changes by {is_ - was}, its holders by {changed}"


def _torn(
    before: Mapping[str, Any], after: Mapping[str, Any], scope: Scope
) -> Iterator[str]:
    """The folios that are cut apart though not all of their holders are known."""
    known = counts(before, scope)
    for key, head in before.items():
        if key.endswith(".head") and head is not None and after[key] is None:
            held = before.get(f"{head}.refcount")
            if held != known[f"{head}.refcount"]:
                yield f"{head} is cut apart, and has other holders"


def unread(command: Command, place: Place) -> list[str]:
    """The page table entries that a footprint writes and does not read."""
    found = {**place.own, **command.reads}
    return [
        key
        for key in command.writes
        if split(key)[1] in ("pte", "pmd") and key not in found
    ]


def overwritten(command: Command, place: Place) -> Iterator[tuple[str, Any]]:
    """The entries that are not read, and what they are counted as: to be proved.

    That a PTE is what the operation remembers is what its assertions are about.
    """
    for key in unread(command, place):
        entry = remembered(place, key)
        if not isinstance(entry, Pte) or place.scope.has_folios:
            yield key, entry


def contradictory(command: Command, place: Place) -> bool:
    """Whether a footprint finds a count that is less than the holders that it finds.

    Other PMDs that map a folio are among its holders.
    """
    found = {**place.own, **command.reads}
    if place.scope.has_folios:
        found |= {key: remembered(place, key) for key in unread(command, place)}
    least = counts(found, place.scope)
    for key, value in found.items():
        record, name, _ = split(key)
        if name == "entire_mapcount" and value > least[key]:
            least[f"{record}.refcount"] += value - least[key]
    return any(found.get(key, number) < number for key, number in least.items())


def remembered(place: Place, key: str) -> Pte | TransHugePmd | None:
    """The entry that an operation found under the lock that it holds, or cleared."""
    process, name, va = split(key)
    if name == "pmd":
        return _pmd(place) if place.own.get(f"{process}.ptl") else None
    collapsed = _collapsed(place, va)
    if collapsed is not None:
        return collapsed
    for _, _, variables in place.frames:
        for name in ("orig_pte", "pte"):
            value = variables.get(name)
            if isinstance(value, tuple) and not cleared(place):
                return Pte(*value[1:])
    return None


def _pmd(place: Place) -> TransHugePmd | None:
    """The PMD that is being split or was looked at."""
    for _, _, variables in place.frames:
        for name in ("pmd", "self"):
            kind, *parts = variables.get(name) or ("",)
            if kind == "TransHugePmd":
                return TransHugePmd(*parts)
    return None


def _collapsed(place: Place, va: str) -> Pte | None:
    """A PTE that collapse replaces: it maps one of the pages that were found."""
    for qualname, _, variables in place.frames:
        if qualname == "collapse_locked":
            _, page = variables["pages"][place.operation.names.vas.index(va)]
            return Pte(page, writable=False)
    return None


def cleared(place: Place) -> bool:
    """Whether the operation has cleared the PTE that it remembers."""
    return place.functions[-1] in ("try_to_unmap_one", "try_to_migrate_one")


UNUSED = {"cpu0.hold": None, "cpu0.target": None}
