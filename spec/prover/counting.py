"""AE-INV-3 without a solver: a footprint changes a count as it changes the holders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from spec.memory import Pte
from spec.prover.assertions import frames
from spec.prover.footprints import Command, Place, owner
from spec.prover.steps import split
from spec.swap import SwapEntry

HOLDING = ("hold", "target", "pfn")
"""Cells that name a page and hold it."""


def held(values: Mapping[str, Any], page: str) -> int:
    """How many holders of a page these cells are."""
    total = 0
    for key, value in values.items():
        if isinstance(value, Pte):
            total += value.pfn == page
        elif value is not None:
            record, name, _ = split(key)
            total += (name in HOLDING and value == page) or (
                name == "swap" and record == page
            )
    return total


def mapped(values: Mapping[str, Any], page: str) -> int:
    """How many of these cells map a page."""
    return sum(isinstance(v, Pte) and v.pfn == page for v in values.values())


def pinned(values: Mapping[str, Any], page: str) -> int:
    """How many references among these cells pin a page."""
    return sum(
        bool(value) and values.get(f"{owner(key)}.pfn") == page
        for key, value in values.items()
        if key.endswith(".pin")
    )


def named(values: Mapping[str, Any], slot: str) -> int:
    """How many swap entries among these cells name a slot."""
    return sum(isinstance(v, SwapEntry) and v.slot == slot for v in values.values())


COUNTS = {"refcount": held, "mapcount": mapped, "pincount": pinned, "count": named}


def miscounted(command: Command, place: Place) -> Iterator[str]:
    """The counts that a footprint leaves wrong, if they were right before."""
    if command.raised:
        return
    before = {**UNUSED, **place.own, **command.reads}
    before |= dict.fromkeys(unread(command, place), remembered(place))
    after = {**before, **command.writes}
    for name, count in COUNTS.items():
        for record in _records(before, after, name):
            key = f"{record}.{name}"
            least = count(before, record)
            was = before.get(key, least)  # a count that is not read does not change
            is_ = after.get(key, was)
            changed = count(after, record) - least
            if is_ - was != changed and was >= least:
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
    return any(
        f"{record}.{name}" in found and found[f"{record}.{name}"] < count(found, record)
        for name, count in COUNTS.items()
        for record in _records(found, found, name)
    )


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


def _records(
    before: Mapping[str, Any], after: Mapping[str, Any], name: str
) -> set[str]:
    """The pages, or the slots, that cells belong to."""
    first = "s" if name == "count" else "p"
    keys = {*before, *after}
    return {owner(key) for key in keys if key.startswith(first)}
