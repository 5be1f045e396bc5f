"""Footprints as steps of the proof: what is found, what is assigned, without counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from spec.hugepage import TransHugePmd
from spec.largefolio import DetachedTable
from spec.memory import ZERO_PAGE, Pte
from spec.migration_entry import MigrationEntry
from spec.prover.domains import LEFT_OUT, NOTICING, name_of
from spec.prover.folios import OTHER_ENTRY
from spec.prover.footprints import (
    ANY,
    ANY_REFERENCE,
    COPIED,
    Command,
    Known,
    Place,
    Unasked,
    owner,
    split,
)
from spec.prover.guards import names_of, together
from spec.prover.operations import DEVICE_WRITE
from spec.prover.scopes import Scope
from spec.prover.state import OF_CONTENTS
from spec.swap import SwapEntry

Atom = tuple[Any, ...]
"""A relation and what it relates; a fact about the state before a step."""

Write = tuple[str, tuple[Any, ...], Any]
"""A field, where, and its new value."""


@dataclass(frozen=True)
class Rep:
    """What a step does to each reference of a kind, or to each address.

    Attributes:
        over: the letters of the sorts of what there is many of.
        when: which of them; atoms.
        writes: what is assigned.
    """

    over: str
    when: frozenset[Atom]
    writes: tuple[Write, ...]


@dataclass(frozen=True)
class SymbolicStep:
    """An atomic step of an operation, for any number of everything.

    Attributes:
        source, target: places; -1: the operation is over.
        guard: what is found.
        writes: what is assigned.
        each: what is done to each reference or address in a certain situation.
        bound: the names that the operands of the target stand for.
        raised: a guarantee that the step breaks at once.
        function: of the kernel, in which it stands.
        shown: one footprint that it was made from.
        contents: it is one of the steps that the proof of contents looks at.
    """

    source: int
    target: int
    guard: frozenset[Atom]
    writes: frozenset[Write]
    each: tuple[Rep, ...]
    bound: tuple[str, ...]
    raised: tuple[str, ...]
    shown: Command
    contents: bool = False


UNTOLD = frozenset(
    {
        *LEFT_OUT,
        *("vma", "longterm", "parent"),
        *("refcount", "mapcount", "pincount", "write_protect_seq"),
    }
)
"""Cells that say nothing in the fields of the proof, or are said in another way."""


def told(name: str, place: Place) -> bool:
    """Whether a cell says something in the fields of the proof."""
    return name not in UNTOLD and name not in place.scope.fixed


def entry_atoms(m: str, v: str, entry: Any, remembers: bool) -> Iterator[Atom]:
    """What an entry of a page table is, as atoms."""
    here = (m, v)
    kinds = {"mapped": False, "moving": False, "swapped": False}
    if isinstance(entry, Pte) and entry.pfn != ZERO_PAGE:
        kinds["mapped"] = True
        yield ("is", "page", here, entry.pfn)
        yield ("is", "writable", here, entry.writable)
        yield ("is", "trapped", here, entry.trap in NOTICING)
    elif isinstance(entry, MigrationEntry):
        kinds["moving"] = True
        yield ("is", "page", here, entry.pfn)
        yield ("is", "writable", here, entry.kind == "writable")
        yield ("is", "trapped", here, entry.trap in NOTICING)
        marked = remembers and entry.kind != "readable"
        yield ("is", "marked", here, marked)
    elif isinstance(entry, SwapEntry):
        kinds["swapped"] = True
        yield ("is", "slot", here, entry.slot)
        yield ("is", "marked", here, entry.exclusive)
    else:
        yield ("is", "zero", here, entry is not None)
    for kind, value in kinds.items():
        yield ("is", kind, here, value)


def pmd_atoms(m: str, pmd: Any) -> Iterator[Atom]:
    """What the PMD of a process is, as atoms."""
    huge = isinstance(pmd, TransHugePmd)
    yield ("is", "huge", (m,), huge)
    yield ("is", "detached", (m,), isinstance(pmd, DetachedTable))
    if isinstance(pmd, TransHugePmd):
        yield ("is", "huge_page", (m,), pmd.pfn)
        yield ("is", "huge_writable", (m,), pmd.writable)
        yield ("is", "invalid", (m,), not pmd.present)


@cache
def cell_atoms(key: str, value: Any, remembers: bool) -> tuple[Atom, ...]:
    """What a cell with a value says, in the fields of the proof; found once."""
    return tuple(_cell_atoms(key, value, remembers))


def _cell_atoms(key: str, value: Any, remembers: bool) -> Iterator[Atom]:
    record, name, va = split(key)
    if name == "pte":
        yield from entry_atoms(record, va, value, remembers)
    elif name in ("ptl", "locked", "writeback"):
        yield ("is", name, (record,), bool(value))
    elif name in COPIED:
        yield ("is", name, (record,), flag(value))
    elif name == "tracked":
        yield ("is", "tracked", (record, va), value != "")
    elif name == "head":
        yield ("is", "large", (record,), value is not None)
    elif name == "entire_mapcount":
        yield ("is", "entire", (record,), value > 0)
    elif name == "pmd":
        yield from pmd_atoms(record, value)
    elif name == "anon_exclusive":
        yield ("is", "exclusive", (record,), bool(value))
    elif name == "swap":
        yield ("is", "cached", (record,), value is not None)
        if value is not None:
            yield ("is", "cached_in", (record,), value)
    elif name == "folio":
        yield ("is", "has_folio", (record,), value is not None)
        if value is not None:
            yield ("is", "folio", (record,), value)
    elif name == "hold" or name == "target":
        has, which = ("holds", "held") if name == "hold" else ("prepares", "target")
        yield ("is", has, ("c",), value is not None)
        if value is not None:
            yield ("is", which, ("c",), value)
    elif name == "state" and not record.startswith("r"):
        yield ("is", "live", (record,), value == "live")
        yield ("is", "unborn", (record,), value == "unborn")
    elif name == "state":
        yield ("is", "pending", (record,), value == "pending")
        yield ("is", "returned", (record,), value == "live")
    elif name == "pfn" and value is not None:
        yield ("is", "anonymous", (record,), value != ZERO_PAGE)
        if value != ZERO_PAGE:
            yield ("is", "of", (record,), value)
    elif name == "mm" and value is not None:
        yield ("is", "taken_for", (record,), value)
    elif name == "va" and value is not None:
        yield ("is", "taken_at", (record,), value)
    elif name in ("protected", "pin"):
        yield ("is", name, (record,), bool(value))
    elif name == "write":
        yield ("is", "may_write", (record,), bool(value))
    elif name == "value":
        field = "value" if record.startswith("p") else "stored"
        yield ("is", field, (record,), contents_name(value))
    elif name == "expected":
        yield ("is", "undefined", (record, va), value is None)
        if value is not None:
            yield ("is", "expected", (record, va), contents_name(value))


def flag(value: Any) -> Any:
    """A flag, or the field and the page that it was copied from."""
    if isinstance(value, Unasked):
        return ("copied", split(value.key)[1], split(value.key)[0])
    return bool(value)


def contents_name(value: int) -> str:
    """What contents are called.

    >>> contents_name(0)
    'd0'
    """
    return f"d{value}"


def contents_value(name: str) -> int:
    """What a cell holds that has contents of this name.

    >>> contents_value("d0")
    0
    """
    return int(name[1:])


def count_atoms(reads: dict[str, Any]) -> Iterator[Atom]:
    """What counts say about holders: only what the protocol tests them for."""
    for key, value in reads.items():
        record, name, _ = split(key)
        if name == "refcount":
            yield ("is", "free", (record,), value == 0)
            if value == 1:
                yield ("one holder", record)
            mapcount = reads.get(f"{record}.mapcount")
            if mapcount is not None and f"{record}.swap" in reads:
                cache = reads[f"{record}.swap"] is not None
                if value - mapcount - cache <= 1:
                    yield ("one temporary", record)
        elif name == "mapcount" and value == 0:
            yield ("not mapped", record)
        elif name == "mapcount" and value == 1:
            yield ("one mapping", record)
        elif name == "pincount" and value == 0:
            yield ("not pinned", record)
        elif name == "count" and value == 0:
            yield ("no entry", record)
        elif name == "count" and value == 1:
            yield ("one entry", record)


def folio_atoms(command: Command, place: Place) -> Iterator[Atom]:
    """The same where there are large folios: their parts are counted together."""
    reads, scope = {**place.own, **command.reads}, place.scope
    for key, value in command.reads.items():
        record, name, _ = split(key)
        if name == "entire_mapcount" and key in command.writes and value == 1:
            yield ("one PMD", record)
        elif name == "entire_mapcount" and key in command.writes and value > 1:
            yield ("another PMD", record, "A")
        elif name == "pincount" and value == 0:
            yield ("not pinned", record)
        elif name == "refcount" and not of_a_row_only(record, command, place):
            heads = [reads.get(f"{part}.head") for part in scope.pair(record)]
            parts = scope.pair(record) if any(heads) else (record,)
            if record == parts[0]:
                compared = key not in command.writes
                yield from _held(record, value, parts, reads, compared=compared)


def of_a_row_only(page: str, command: Command, place: Place) -> bool:
    """A page is looked at only because it shares a row with one that matters."""
    written = {f"{page}.refcount", f"{page}.head"} & command.writes.keys()
    if written or page in place.operands:
        return False
    others = {k: v for k, v in command.reads.items() if owner(k) != page}
    return page not in {*map(name_of, others.values()), *command.bound}


def _held(
    head: str, count: int, parts: tuple[str, ...], reads: Known, *, compared: bool
) -> Iterator[Atom]:
    """What the count of a folio says about its holders.

    Who compares it with the mappings does not change it in the same step.
    """
    yield ("is", "free", (head,), count == 0)
    if count == 1:
        yield ("one holder", head)
    mapcounts = [reads.get(f"{part}.mapcount") for part in parts]
    if compared and None not in mapcounts:
        whole = reads.get(f"{head}.entire_mapcount", 0)
        temporary = count - whole - sum(n for n in mapcounts if n is not None)
        if temporary <= 1:
            yield ("one temporary" if temporary else "no temporary", head)
    ptes = [reads[key] for key in ("A.pte[x]", "A.pte[y]") if key in reads]
    own = sum(isinstance(pte, Pte) and pte.pfn in parts for pte in ptes)
    if len(ptes) == 2 and 0 < count <= own:
        yield ("held by", head, "A")


def own_atoms(own: dict[str, Any]) -> Iterator[Atom]:
    """What an operation knows of the cells that nobody else changes."""
    for name, field in (("cpu0.hold", "holds"), ("cpu0.target", "prepares")):
        if name not in own:
            yield ("is", field, ("c",), False)
    if own.get("r1.state") == "pending":
        yield ("is", "by", ("r1",), "c")
    for key, value in own.items():
        record, name, _ = split(key)
        if name == "ptl":
            yield ("is", "ptl", (record,), True)
            yield ("is", "ptl_by", (record,), "c")
        elif name == "locked":
            yield ("is", "locked", (record,), True)
            yield ("is", "locked_by", (record,), "c")
        elif name == "mmap_lock" and value == -1:
            yield ("is", "write_locked", (record,), True)
            yield ("is", "write_locked_by", (record,), "c")
        elif name == "mmap_lock":
            yield ("is", "read_locked", ("c", record), True)
        elif name in ("hold", "target"):
            yield from cell_atoms(key, value, False)
        elif name == "write_protect_seq":
            yield ("is", "odd", (record,), True)
        elif record == "r1" and own["r1.state"] != "free":
            yield from cell_atoms(key, value, False)


def read_atoms(command: Command, place: Place, remembers: bool) -> Iterator[Atom]:
    """What the step finds."""
    yield from own_atoms(place.own)
    if place.scope.has_folios:
        yield from folio_atoms(command, place)
    else:
        yield from count_atoms(command.reads)
    for key, value in command.writes.items():
        if key.endswith(".refcount") and value == 0:
            for page in freed(split(key)[0], command, place):
                yield ("becomes free", page)
    near = {*place.operands, *command.bound}
    if not place.functions and "A" in near and "A" in place.operation.acting:
        yield ("is", "live", ("A",), True)
    if command.writes.get("r1.state", "free") != "free" and "r1.pfn" not in place.own:
        yield ("is", "pending", ("r1",), False)
        yield ("is", "returned", ("r1",), False)
    if place.operation.name == "put":
        yield ("is", "returned", ("r1",), True)
    if place.operation.name == "fork":
        yield (
            "is",
            "unborn",
            ("B",),
            not place.functions
            or (
                "B.state" in command.writes
                and command.writes.get("B.parent") is not None
            ),
        )
        for key in command.writes:
            record, name, va = split(key)
            if record == "B" and name == "pte":
                yield ("is", "touched", (record, va), False)
            if record == "B" and name == "pmd":
                for each in place.operation.names.vas:
                    yield ("is", "touched", (record, each), False)
    if (
        place.operation.name == "migrate"
        and command.writes.get("p1.locked") is False
        and "unmap_and_move" in place.functions
    ):
        yield ("no migration entry", "p1")
    if place.operation.name == "split folio":
        yield from ends_the_walk(command, place)
    for key, value in command.reads.items():
        record, name, va = split(key)
        if record in ANY or isinstance(value, Unasked):
            continue
        if key in place.own and name != "head":
            continue
        if value is OTHER_ENTRY:
            continue
        if name == "mmap_lock":
            if value == 0:
                yield ("not shared", record)
            yield ("is", "write_locked", (record,), value == -1)
        elif name == "write_protect_seq":
            yield ("is", "odd", (record,), value == 1)
            if "gup_fast" in place.functions:
                yield ("is", "raced", ("c",), value != 0)
        elif name == "pte" and record not in near and key not in command.writes:
            continue
        elif told(name, place):
            for atom in cell_atoms(key, value, remembers):
                if remembers or atom[1] != "marked":
                    yield atom


def freed(page: str, command: Command, place: Place) -> list[str]:
    """The pages that become free with one: all parts if it is a large folio."""
    return [
        part
        for part in place.scope.pair(page)
        if part == page or f"{part}.head" in command.writes
    ]


def ends_the_walk(command: Command, place: Place) -> Iterator[Atom]:
    """When the folio is unlocked its entries were all replaced (AE-ASM-7)."""
    for key, value in command.writes.items():
        record, name, _ = split(key)
        if name == "locked" and not value and "split_folio" in place.functions:
            for page in place.scope.pair(record):
                yield ("no migration entry", page)


def write_fields(command: Command, place: Place, remembers: bool) -> Iterator[Write]:
    """What the step assigns."""
    if place.location is not None and place.functions == ():
        yield ("raced", ("c",), False)
    for key, value in command.writes.items():
        record, name, va = split(key)
        if record in ANY:
            continue
        if name == "refcount":
            yield ("free", (record,), value == 0)
        elif name == "mmap_lock":
            before = command.reads.get(key, place.own.get(key, 0))
            if value == -1:
                yield ("write_locked", (record,), True)
                yield ("write_locked_by", (record,), "c")
            elif place.own.get(key) == -1 or before == -1:
                yield ("write_locked", (record,), False)
            else:
                shares = value > before - (place.own.get(key) == 1)
                yield ("read_locked", ("c", record), shares)
        elif name in ("ptl", "locked"):
            yield (name, (record,), bool(value))
            if value:
                yield (f"{name}_by", (record,), "c")
        elif name == "write_protect_seq":
            yield ("odd", (record,), value % 2 == 1)
            yield ("sequence count", (record,), None)
        elif name == "asked_gup":
            yield ("asked", (record,), True)
        elif told(name, place):
            for _, field, where, new in cell_atoms(key, value, remembers):
                yield (field, where, new)
            if name == "pte" and value is not None:
                yield ("touched", (record, va), True)
            if name == "pte" and name_of(value) != ZERO_PAGE:
                yield ("zero", (record, va), False)
            if name == "pmd" and isinstance(value, TransHugePmd):
                for each in place.operation.names.vas:
                    yield ("touched", (record, each), True)
            if name == "state" and record == "r1" and value == "pending":
                yield ("by", (record,), "c")
            if name == "value" and place.operation.name == DEVICE_WRITE:
                yield ("written_by", (record,), "r1")


@dataclass(frozen=True)
class Said:
    """What a footprint says in the fields of the proof.

    Attributes:
        command: the footprint.
        guard: what is found.
        writes: what is assigned.
    """

    command: Command
    guard: frozenset[Atom]
    writes: frozenset[Write]

    def of_owners(self) -> Said:
        """The same without what tells something only where contents matter."""
        return Said(
            self.command,
            frozenset(atom for atom in self.guard if not speaks(atom)),
            frozenset(write for write in self.writes if write[0] not in OF_CONTENTS),
        )


def symbolic(
    commands: list[Command], places: list[Place], remembers: bool
) -> list[SymbolicStep]:
    """The steps that footprints stand for: of owners, then the same with contents.

    What a footprint breaks at once is the business of the proof of owners.

    Args:
        commands: the footprints.
        places: where they begin and end.
        remembers: whether entries remember the bit.
    """
    scope = places[0].scope
    said = [
        Said(
            command,
            frozenset(
                atom
                for atom in read_atoms(command, places[command.source], remembers)
                if atom[0] != "is" or scope.has(atom[1])
            ),
            frozenset(
                write
                for write in write_fields(command, places[command.source], remembers)
                if scope.has(write[0])
            ),
        )
        for command in commands
    ]
    of_owners = [each.of_owners() for each in said]
    of_contents = [each for each in said if not each.command.raised]
    found = weakest(_steps(of_owners, remembers, scope, contents=False), places)
    if scope.has("value"):
        steps = _steps(of_contents, remembers, scope, contents=True)
        found += weakest(steps, places)
    return found


def _steps(
    said: list[Said], remembers: bool, scope: Scope, *, contents: bool
) -> list[SymbolicStep]:
    """The steps; footprints that say the same are one.

    What footprints do to things that stand for all others is put together: each of
    those is in one of the situations.
    """
    groups: dict[Any, list[Command]] = defaultdict(list)
    for each in said:
        command = each.command
        key = (
            command.source,
            command.target,
            each.guard,
            each.writes,
            command.bound,
            command.raised,
        )
        groups[key].append(command)
    return [
        SymbolicStep(
            source,
            target,
            guard,
            writes,
            tuple(_each(found, remembers, scope, contents=contents)),
            bound,
            raised,
            found[0],
            contents,
        )
        for (source, target, guard, writes, bound, raised), found in groups.items()
    ]


MAPPED = ("one mapping", "not mapped")


def speaks(atom: Atom) -> bool:
    """Whether an atom tells something only where contents matter.

    >>> speaks(("is", "dirty", ("p1",), True)), speaks(("one holder", "p1"))
    (True, False)
    """
    return atom[0] in MAPPED or (atom[0] == "is" and atom[1] in OF_CONTENTS)


def _each(
    commands: list[Command], remembers: bool, scope: Scope, *, contents: bool
) -> Iterator[Rep]:
    reps: dict[Rep, None] = {}
    for command in commands:
        found = {k: v for k, v in command.reads.items() if owner(k) in ANY}
        written = {k: v for k, v in command.writes.items() if owner(k) in ANY}
        changed = {k: v for k, v in written.items() if found.get(k, k) != v}
        when = {
            atom
            for key, value in found.items()
            if split(key)[1] not in ("state", *scope.fixed)
            for atom in cell_atoms(key, value, remembers)
            if scope.has(atom[1])
        }
        writes = tuple(
            (field, where, new)
            for key, value in changed.items()
            for _, field, where, new in cell_atoms(key, value, remembers)
            if (contents or field not in OF_CONTENTS) and scope.has(field)
        )
        if writes:
            over = "r" if writes[0][1] == (ANY_REFERENCE,) else "mv"
            reps[Rep(over, frozenset(when), writes)] = None
    yield from reps


def weakest(steps: list[SymbolicStep], places: list[Place]) -> list[SymbolicStep]:
    """Without the steps that do the same as another and demand more.

    Steps that do the same and between them find all that a cell can hold are one.
    """
    by_effect: dict[Any, list[SymbolicStep]] = defaultdict(list)
    for step in steps:
        key = (
            step.source,
            step.target,
            step.writes,
            step.each,
            step.bound,
            step.raised,
        )
        by_effect[key].append(step)
    kept = []
    for same in by_effect.values():
        one = same[0]
        each = tuple((rep.when, rep.writes) for rep in one.each)
        named = {*names_of((one.writes, one.bound, each))}
        named |= {*places[one.source].operands}
        alike = [
            replace(one, guard=guard, shown=shown)
            for guard, shown in together(
                {s.guard: s.shown for s in same}, named, places[0].scope
            )
        ]
        alike.sort(key=lambda step: len(step.guard))
        chosen: list[SymbolicStep] = []
        for step in alike:
            if not any(other.guard <= step.guard for other in chosen):
                chosen.append(step)
        kept += chosen
    return kept
