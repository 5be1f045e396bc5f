"""What is seen of a state: processes, pages, references, locks, as drawn and in words.

Each record gives its own items, from its own cells, so that a look serves many states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from spec.checker.judgement import View
from spec.memory import Machine, Names
from spec.publish import drawings, traces
from spec.publish.footprints import Source


@dataclass(frozen=True)
class Item:
    """One thing of a state: a box of the drawing, with what there is to know of it.

    Attributes:
        kind: ``pte``, ``page``, ``ref`` as the columns of a drawing; ``lock`` or
            ``cell`` for what is not drawn.
        name: which one; the same in all states.
        target: the page that its arrow points to; empty if none.
        lines: what stands in its box.
        parts: all that is known of it; the explorer marks those that changed.
    """

    kind: str
    name: str
    target: str
    lines: tuple[str, ...]
    parts: tuple[str, ...]


def _parts(line: str) -> tuple[str, ...]:
    """What a line of text says of a thing, piece by piece."""
    return tuple(line.partition(": ")[2].split(", "))


def _process(name: str, machine: Machine) -> Iterator[Item]:
    mm = machine.mms[name]
    if mm not in traces.alive(machine):
        return
    boxes = drawings.entries(machine, mm, frozenset())
    for box, line in zip(boxes, traces.page_table(machine, mm), strict=True):
        name = line.partition(" = ")[0]
        va = name.rstrip(")").rpartition(", ")[2] if ", " in name else ""
        mapped = mm.vma[va or machine.names.vas[0]] or "none"
        parts = (line, *([] if mm.pmd is not None else [f"vma {mapped}"]))
        yield Item("pte", f"{mm} {va}".strip(), box.target or "", box.lines, parts)


def _locks(name: str, machine: Machine) -> Iterator[Item]:
    mm = machine.mms[name]
    if mm.state in ("live", "forking"):
        held = {-1: "held for writing", 0: "free"}
        readers = f"held by {mm.mmap_lock} readers"
        parts = (
            f"mmap_lock {held.get(mm.mmap_lock, readers)}",
            f"PTL {'held' if mm.ptl else 'free'}",
            f"write_protect_seq {mm.write_protect_seq}",
        )
        yield Item("lock", f"locks of {mm}", "", (), parts)


def _page(name: str, machine: Machine) -> Iterator[Item]:
    page = machine.pages[name]
    if traces.in_use(page):
        parts = (
            *_parts(traces.page_line(page)),
            f"contents {page.value}",
            f"folio lock {'held' if page.locked else 'free'}",
        )
        yield Item("page", page.name, "", drawings.page_lines(page), parts)


def _slot(name: str, machine: Machine) -> Iterator[Item]:
    slot = machine.slots[name]
    if traces.slot_in_use(slot):
        lines = (f"slot {slot} = {slot.value}", f"{slot.count} swap entries")
        yield Item("page", slot.name, "", lines, _parts(traces.slot_line(slot)))


def _reference(name: str, machine: Machine) -> Iterator[Item]:
    ref = machine.refs[name]
    if ref.state != "free":
        pending = [] if ref.state == "live" else ["pending"]
        lines = (f"{ref} of {ref.mm}", " ".join([traces.kind(ref), *pending]))
        page = str(ref.pfn)
        parts = (traces.kind(ref), f"of {page}", f"through {ref.mm}", *pending)
        yield Item("ref", ref.name, page, lines, parts)


def _cell(key: str, value: Any) -> Iterator[Item]:
    if said := traces.cells_of({key: value}):
        yield Item("cell", key, "", (), (said[0].partition(" = ")[2],))


Seen = Callable[[Source], tuple[Item, ...]]


def sources(state: Mapping[str, Any]) -> Iterator[Seen]:
    """For each record of a state, a function that gives its items."""
    if not traces.is_machine(state):
        yield from (_seen_cell(key) for key in state)
        return
    names = traces.machine_of(state).names
    for mm in names.mms:
        # a machine without the other processes: they would be looked at
        alone = replace(names, mms=(mm,))
        yield _seen_record(alone, partial(_process, mm))
        yield _seen_record(alone, partial(_locks, mm))
    for page in names.pages:
        yield _seen_record(names, partial(_page, page))
    for slot in names.slots:
        yield _seen_record(names, partial(_slot, slot))
    for ref in names.refs:
        yield _seen_record(names, partial(_reference, ref))


def _seen_cell(key: str) -> Seen:
    return lambda read: tuple(_cell(key, read(key)))


def _seen_record(names: Names, see: Callable[[Machine], Iterator[Item]]) -> Seen:
    return lambda read: tuple(see(Machine(names, cells=View(read, {}))))
