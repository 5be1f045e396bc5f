"""A step that does not keep the invariant, as the state before and the state after it.

The solver says that there is a state that satisfies the invariant, from which a step
leads to one that does not. Shown is a smallest one: there is no process, page or
reference, and nothing is the case, that could be left out. Counts are those of the
holders that are shown; a page in use has at least one.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spec.hugepage import TransHugePmd
from spec.largefolio import DetachedTable
from spec.memory import ZERO_PAGE, HugePmd, Machine, Names, Pte
from spec.migration_entry import MigrationEntry
from spec.prover.counting import COUNTED, counts
from spec.prover.footprints import OVER, Place, split
from spec.prover.positions import next_statement
from spec.prover.scopes import BASE, LARGE
from spec.prover.steps import SymbolicStep, contents_value
from spec.publish.traces import alive, described, in_use, machine_of
from spec.swap import SwapEntry

if TYPE_CHECKING:
    from spec.prover.assertions import Clause
    from spec.prover.finite import Small
    from spec.prover.solver import Prover

Facts = Mapping[tuple[str, tuple[str, ...]], Any]
World = Mapping[str, tuple[str, ...]]
SHOWN_TRAP = "uffd-wp"
CPUS = {"c": "CPU 0", "d": "CPU 1", "f": "CPU 2"}


@dataclass(frozen=True)
class Counterexample:
    """A smallest state from which a step does not keep the invariant.

    Attributes:
        clause: what is not kept, by name: a clause of the invariant, or the guarantee
            that the step itself breaks.
        says: the clause in words.
        of: the things of which it does not hold, by the clause's variables.
        functions: that the step passes through, innermost last.
        before, after: the cells of both states.
        stands: where the CPU stands before the step, and after it, in words.
        target: where it stands after it: function and statement, or nothing.
        others: what is known of other CPUs: the assertions at which they stand.
        contents: whether it is about contents, which are shown then.
    """

    clause: str
    says: str
    of: dict[str, str]
    functions: str
    before: dict[str, Any]
    after: dict[str, Any]
    stands: tuple[str, ...]
    target: tuple[str, ...]
    others: tuple[str, ...] = ()
    contents: bool = False

    @property
    def changed(self) -> set[str]:
        """The cells that the step changes."""
        return {key for key, new in self.after.items() if self.before[key] != new}

    @property
    def instance(self) -> str:
        """Of what the clause does not hold, in words."""
        things = {name: CPUS.get(thing, thing) for name, thing in self.of.items()}
        return ", ".join(f"{name} = {thing}" for name, thing in things.items())

    def text(self) -> Iterator[tuple[str, list[str]]]:
        """Both states in lines, each with its title; what is new has a star."""
        before, after = (self._lines(cells) for cells in (self.before, self.after))
        marked = [line if line in before else f"{line}  *" for line in after]
        for title, stands, lines in zip(
            ("before", "after"), self.stands, (before, marked), strict=True
        ):
            yield title, [*lines, *textwrap.wrap(stands, 64, subsequent_indent="  ")]

    def _lines(self, state: dict[str, Any]) -> list[str]:
        """A state, line by line."""
        return [*described(state), *(hold(state) if self.contents else ())]


def hold(state: Mapping[str, Any]) -> Iterator[str]:
    """What pages in use hold, and what a read has to give."""
    machine = machine_of(state)
    for page in machine.pages.values():
        if in_use(page):
            yield f"{page} holds {page.value}"
    for mm in alive(machine):
        for va in machine.names.vas:
            wanted = mm.expected[va]
            given = "what is not defined" if wanted is None else wanted
            yield f"a read of ({mm}, {va}) gives {given}"


def smallest(steps: Iterable[SymbolicStep]) -> SymbolicStep:
    """The step that finds least, and then writes least."""
    return min(steps, key=lambda step: (len(step.guard), len(step.writes)))


def example(
    step: SymbolicStep, places: list[Place], prover: Prover
) -> Counterexample | None:
    """The smallest counterexample to a step; none if it needs more than a handful."""
    for world, found, clause in _refuting(step, places, prover):
        model = found.minimised()
        if model is not None:
            target = None if step.target == OVER else places[step.target]
            before, after = (
                found.facts(model, state) for state in (found.before, found.after)
            )
            states = (before, after)
            used = tuple(v for v in world["v"] if _used(states, v))
            world = {**world, "v": used}
            return Counterexample(
                clause=clause.name if clause else step.raised[0],
                says=clause.says if clause else "",
                of=found.broken_of(model, clause) if clause else {},
                functions=" > ".join(step.shown.functions[1:]),
                before=cells(before, world),
                after=cells(after, world),
                stands=(stand(places[step.source], before), stand(target, after)),
                target=spot(target) if target else (),
                others=tuple(standing(before)),
                contents=step.contents,
            )
    return None


def refuted(step: SymbolicStep, places: list[Place], prover: Prover) -> str:
    """What a step breaks in the smallest world; empty if nothing is found."""
    for _, found, clause in _refuting(step, places, prover, 1):
        if clause is not None:
            return clause.name
        if found.possible():
            return step.raised[0]
    return ""


def _refuting(
    step: SymbolicStep, places: list[Place], prover: Prover, most: int = 0
) -> Iterator[tuple[World, Small, Clause | None]]:
    """Small worlds in which the step breaks a clause, or, if it raises, any.

    The first `most` worlds are tried, or all.
    """
    from spec.prover.finite import small, worlds

    target = None if step.target == OVER else places[step.target]
    for world in list(worlds(step, prover.scope))[: most or None]:
        found = small(prover, world)
        with found.step(step, places[step.source], target):
            clause = None if step.raised else found.clause()
            if step.raised or clause is not None:
                yield world, found, clause


def stand(place: Place | None, facts: Facts) -> str:
    """Where the CPU stands, and which locks it holds there."""
    locks = ", ".join(locks_of(facts))
    held = f", holds {locks}" if locks else ""
    if place is None:
        return f"CPU 0: the operation is over{held}"
    if not place.functions:
        return f"CPU 0: {place.operation.name} begins{held}"
    qualname, following = spot(place)
    where = f"before {following}" if following else "at its end"
    return f"CPU 0: in {qualname}(), {where}{held}"


def spot(place: Place) -> tuple[str, ...]:
    """The function in which a CPU stands, and the statement that comes next."""
    found = [(name, lasti) for name, lasti, _ in place.frames]
    return (found[0][0], next_statement(*found[0])) if found else ()


def locks_of(facts: Facts) -> Iterator[str]:
    """The locks that the CPU of the step holds."""
    for (name, of), value in facts.items():
        by = facts.get((f"{name}_by", of))
        if name == "write_locked" and value and by == "c":
            yield f"mmap_lock({of[0]}) for write"
        elif name == "read_locked" and value and of[0] == "c":
            yield f"mmap_lock({of[1]})"
        elif name == "ptl" and value and by == "c":
            yield f"PTL({of[0]})"
        elif name == "locked" and value and by == "c":
            yield f"folio lock of {of[0]}"


def standing(facts: Facts) -> Iterator[str]:
    """The assertions at which other CPUs stand."""
    for (name, of), value in facts.items():
        if name.startswith("at:") and value and of != ("c",):
            yield name.removeprefix("at:")


def cells(facts: Facts, world: World) -> dict[str, Any]:
    """The facts of a state as the cells of a machine."""
    cpus = {name: f"cpu{i}" for i, name in enumerate(world["c"])}
    names = Names(
        mms=world["m"],
        pages=world["p"],
        refs=world["r"],
        cpus=tuple(cpus.values()),
        vas=world["v"],
        slots=world.get("e", ()),
    )
    facts = defaultdict(bool, facts)  # what states of a kind do not have is false
    found: dict[str, Any] = dict(Machine(names).initial())
    for process in names.mms:
        found |= _process(facts, process, names, world["c"])
    for ref in names.refs:
        found |= _reference(facts, ref)
    for cpu, name in cpus.items():
        found |= _cpu(facts, cpu, name)
    for page in names.pages:
        found |= _page(facts, page)
    for slot in names.slots:
        folio = facts["folio", (slot,)] if facts["has_folio", (slot,)] else None
        found[f"{slot}.folio"] = folio
    return found | _counts(facts, found) | dict(_contents(facts, names))


def _contents(facts: Facts, names: Names) -> Iterator[tuple[str, Any]]:
    """What pages, slots and addresses hold, if the facts tell it."""
    for (name, of), value in facts.items():
        if name in ("value", "stored") and of[0] in (*names.pages, *names.slots):
            yield f"{of[0]}.value", contents_value(value)
        elif name in ("dirty", "swapbacked") and of[0] in names.pages:
            yield f"{of[0]}.{name}", value
        elif name == "expected" and of[1] in names.vas:
            wanted = None if facts["undefined", of] else contents_value(value)
            yield f"{of[0]}.expected[{of[1]}]", wanted


def _used(states: Iterable[Facts], address: str) -> bool:
    """Whether to show an address: something is mapped there, or a reference taken."""
    return address == "x" or any(address in set(_addresses(s)) for s in states)


def _addresses(facts: Facts) -> Iterator[Any]:
    for (name, of), value in facts.items():
        if name in ("mapped", "moving", "swapped") and value:
            yield of[1]
        elif name == "huge" and value:
            yield from ("x", "y")
        elif name in ("pending", "returned") and value:
            yield facts["taken_at", of]


def _process(
    facts: Facts, name: str, names: Names, cpus: tuple[str, ...]
) -> dict[str, Any]:
    entries = {va: _entry(facts, name, va) for va in names.vas}
    tracked = {va: _trap(facts, "tracked", name, va) for va in names.vas}
    born = "forking" if any(entries.values()) else "dead"
    state = "unborn" if facts["unborn", (name,)] else born
    readers = sum(facts["read_locked", (cpu, name)] for cpu in cpus)
    return {
        **{f"{name}.pte[{va}]": entry for va, entry in entries.items()},
        **{f"{name}.tracked[{va}]": trap for va, trap in tracked.items()},
        f"{name}.state": "live" if facts["live", (name,)] else state,
        f"{name}.pmd": _pmd(facts, name),
        f"{name}.ptl": facts["ptl", (name,)],
        f"{name}.mmap_lock": -1 if facts["write_locked", (name,)] else readers,
        f"{name}.write_protect_seq": int(facts["odd", (name,)]),
        f"{name}.asked_gup": facts["asked", (name,)],
    }


def _pmd(facts: Facts, process: str) -> HugePmd | None:
    of = (process,)
    if facts["huge", of]:
        writable, present = facts["huge_writable", of], not facts["invalid", of]
        return TransHugePmd(facts["huge_page", of], writable, present)
    return DetachedTable() if facts["detached", of] else None


def _entry(facts: Facts, process: str, address: str) -> Any:
    here = (process, address)
    page, writable = facts["page", here], facts["writable", here]
    trap = _trap(facts, "trapped", *here)
    if facts["mapped", here]:
        return Pte(page, writable, trap)
    if facts["moving", here]:
        shared = "readable-exclusive" if facts["marked", here] else "readable"
        return MigrationEntry(page, "writable" if writable else shared, trap)
    if facts["zero", here]:
        return Pte(ZERO_PAGE, False)
    if facts["swapped", here]:
        return SwapEntry(facts["slot", here], facts["marked", here])
    return None


def _trap(facts: Facts, field: str, process: str, address: str) -> str:
    """A trap, if a field says that there is one: one of those that it can be."""
    return SHOWN_TRAP if facts[field, (process, address)] else ""


def _reference(facts: Facts, name: str) -> dict[str, Any]:
    of = (name,)
    if not (facts["pending", of] or facts["returned", of]):
        return {}
    return {
        f"{name}.state": "live" if facts["returned", of] else "pending",
        f"{name}.pfn": facts["of", of] if facts["anonymous", of] else ZERO_PAGE,
        f"{name}.mm": facts["taken_for", of],
        f"{name}.va": facts["taken_at", of],
        f"{name}.pin": facts["pin", of],
        f"{name}.write": facts["may_write", of],
        f"{name}.protected": facts["protected", of],
    }


def _cpu(facts: Facts, cpu: str, name: str) -> dict[str, Any]:
    of = (cpu,)
    return {
        f"{name}.hold": facts["held", of] if facts["holds", of] else None,
        f"{name}.target": facts["target", of] if facts["prepares", of] else None,
    }


def _page(facts: Facts, name: str) -> dict[str, Any]:
    of = (name,)
    large = facts["large", of]
    return {
        f"{name}.head": facts["row", of] if large else None,
        f"{name}.anon_exclusive": facts["exclusive", of],
        f"{name}.locked": facts["locked", of],
        f"{name}.ksm": facts["ksm", of],
        f"{name}.writeback": facts["writeback", of],
        f"{name}.swap": facts["cached_in", of] if facts["cached", of] else None,
    }


def _counts(facts: Facts, found: Mapping[str, Any]) -> dict[str, int]:
    """What is counted: at least what is found, and one where a page is used."""
    scope = LARGE if any(name == "large" for name, _ in facts) else BASE
    least = counts(found, scope)
    made = {key: least[key] for key in found if split(key)[1] in COUNTED}
    for key, count in made.items():
        record, name, _ = split(key)
        if name == "refcount":
            made[key] = max(count, int(not facts["free", (record,)]))
    return made
