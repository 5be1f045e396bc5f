"""AE-INV-3 without a solver: a footprint changes a count as it changes the holders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from spec.memory import Pte
from spec.prover.assertions import frames
from spec.prover.footprints import Command, Place, owner
from spec.prover.steps import split
from spec.swap import SwapEntry

HOLDING = ("hold", "target", "pfn")
"""Cells that name a page and hold it."""
COUNTED = ("refcount", "mapcount", "pincount", "count")
"""What is counted: holders, mappings and pins of a page, entries that name a slot."""


def counts(cells: Mapping[str, Any]) -> Counter[str]:
    """What the counts would be if there were no other holders than these cells.

    >>> dict(counts({"A.pte[x]": Pte("p1", True), "cpu0.hold": "p1"}))
    {'p1.refcount': 2, 'p1.mapcount': 1}
    """
    found: Counter[str] = Counter()
    for key, value in cells.items():
        if isinstance(value, Pte):
            found[f"{value.pfn}.refcount"] += 1
            found[f"{value.pfn}.mapcount"] += 1
        elif isinstance(value, SwapEntry):
            found[f"{value.slot}.count"] += 1
        elif value is not None:
            record, name, _ = split(key)
            if name in HOLDING:
                found[f"{value}.refcount"] += 1
            elif name == "swap":
                found[f"{record}.refcount"] += 1
            elif name == "pin" and value:
                found[f"{cells.get(f'{record}.pfn')}.pincount"] += 1
    return found


def miscounted(command: Command, place: Place) -> Iterator[str]:
    """The counts that a footprint leaves wrong, if they were right before."""
    if command.raised:
        return
    before = {**UNUSED, **place.own, **command.reads}
    before |= dict.fromkeys(unread(command, place), remembered(place))
    after = {**before, **command.writes}
    least, now = counts(before), counts(after)
    touched = {owner(key) for key in after}
    for key in {*least, *now, *command.writes}:
        record, name, _ = split(key)
        if name not in COUNTED or record not in touched:
            continue
        was = before.get(key, least[key])  # a count that is not read does not change
        is_ = after.get(key, was)
        changed = now[key] - least[key]
        if is_ - was != changed and was >= least[key]:
            yield f"{key} changes by {is_ - was}, its holders by {changed}"


def unread(command: Command, place: Place) -> list[str]:
    """The page table entries that a footprint writes and does not read."""
    found = {**place.own, **command.reads}
    return [key for key in command.writes if ".pte[" in key and key not in found]


def overwritten(command: Command, place: Place) -> list[str]:
    """The entries that are counted as if they were empty: that has to be proved."""
    return [] if remembered(place) else unread(command, place)


def contradictory(command: Command, place: Place) -> bool:
    """Whether a footprint finds a count that is less than the holders that it finds."""
    found = {**place.own, **command.reads}
    return any(found.get(key, least) < least for key, least in counts(found).items())


def remembered(place: Place) -> Pte | None:
    """The PTE that an operation found under the lock that it holds, or cleared."""
    for _, _, variables in frames(place):
        for name in ("orig_pte", "pte"):
            value = variables.get(name)
            if isinstance(value, tuple) and not cleared(place):
                return Pte(*value[1:])
    return None


def cleared(place: Place) -> bool:
    """Whether the operation has cleared the PTE that it remembers."""
    return place.functions[-1] in ("try_to_unmap_one", "try_to_migrate_one")


UNUSED = {"cpu0.hold": None, "cpu0.target": None}
