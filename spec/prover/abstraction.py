"""The numbers that the proof leaves out, on explored states (AE-ASM-6, AE-ASM-7).

The proof has no counts. Where an operation compares one, the proof asks who the holders
are: ``refcount == 1`` becomes "any two holders are one". On an explored state both can
be evaluated: the count is a cell, the holders are found by the words of the proof. They
must say the same in every state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from spec.bounds import find_bounds, program
from spec.checker.program import StateProperty, StepProperty, Verdict
from spec.clients import Section
from spec.decisions import Model
from spec.memory import Names
from spec.migration_entry import MigrationEntry
from spec.prover.concrete import Concrete, Explored, count
from spec.prover.holders import (
    ENTRIES,
    HOLDERS,
    MAPPINGS,
    PINS,
    READERS,
    TEMPORARY,
    Kind,
)
from spec.prover.proving import Attempt, written


@dataclass(frozen=True)
class Comparison:
    """A test of a count, and what the proof has in its place.

    Attributes:
        name: what the proof calls it.
        over: the letter of the sort of things that are counted.
        count: reads the count that the operations compare.
        most: the test is whether it is at most so much.
        kinds: the holders.
        exact: nothing else is counted, so that the test fails only if the predicate
            does; but for pages whose PTE is cleared for a moment, which may be counted
            as mapped there or not.
    """

    name: str
    over: str
    count: Callable[[Concrete, str], int]
    most: int
    kinds: tuple[Kind, ...]
    exact: bool = True

    def agrees(self, s: Concrete) -> bool:
        """Whether both say the same of everything in a state."""
        return all(self._agrees(s, thing) for thing in s.things(self.over))

    def _agrees(self, s: Concrete, thing: str) -> bool:
        small = self.count(s, thing) <= self.most
        few = count(s, self.kinds, thing) <= self.most
        if self.exact and not suspended(s, thing):
            return small == few
        return few or not small


def suspended(s: Concrete, p: str) -> bool:
    """Whether a PTE that maps the page is cleared for a moment, under its lock."""
    standing = [s.stand(c) for c in s.names.cpus]
    return any("cleared" in at.at and at.roles.get("at_page") == p for at in standing)


def _refcount(s: Concrete, p: str) -> int:
    found: int = s.cell(p, "refcount")
    return found


def _unexpected(s: Concrete, p: str) -> int:
    cached = s.cell(p, "swap") is not None
    found: int = _refcount(s, p) - s.cell(p, "mapcount") - cached
    return found


def _mappings(s: Concrete, p: str) -> int:
    found: int = s.cell(p, "mapcount")
    return found


def _entries(s: Concrete, e: str) -> int:
    found: int = s.cell(e, "count")
    return found


def _pins(s: Concrete, p: str) -> int:
    found: int = s.cell(p, "pincount")
    return found


def _readers(s: Concrete, m: str) -> int:
    found: int = s.cell(m, "mmap_lock")
    return found


COMPARISONS = (
    Comparison("no holder", "p", _refcount, 0, HOLDERS),
    Comparison("one holder", "p", _refcount, 1, HOLDERS),
    Comparison("one temporary", "p", _unexpected, 1, TEMPORARY),
    Comparison("not mapped", "p", _mappings, 0, MAPPINGS),
    Comparison("one mapping", "p", _mappings, 1, MAPPINGS),
    Comparison("not pinned", "p", _pins, 0, PINS),
    # whoever swaps in claims the slot: a count that is no entry
    Comparison("no entry", "e", _entries, 0, ENTRIES, exact=False),
    Comparison("one entry", "e", _entries, 1, ENTRIES, exact=False),
    Comparison("not shared", "m", _readers, 0, READERS),
)
"""All tests of counts that operations make, as `spec.prover.steps` translates them."""


# -- walks -----------------------------------------------------------------------------


def unlocked_pages_are_mapped_again(cells: Any, names: Names) -> bool:
    """No migration entry leads to a page that is not locked: the walk missed none."""
    return not any(
        isinstance(entry, MigrationEntry) and not cells.read(f"{entry.pfn}.locked")
        for m in names.mms
        for v in names.vas
        for entry in [cells.read(f"{m}.pte[{v}]")]
    )


def addresses_are_written_once(
    before: Any, after: Any, written: set[str], names: Names
) -> bool:
    """Fork writes to an address of the child only if it has not visited it yet.

    Nobody but fork writes to the child's page table without its lock.
    """
    return all(
        before.read(f"{m}.pte[{v}]") is None and before.read(f"{m}.vma[{v}]") is None
        for m in names.mms
        for v in names.vas
        if f"{m}.pte[{v}]" in written
        if before.read(f"{m}.state") == "forking" and not before.read(f"{m}.ptl")
    )


def addresses_are_all_visited(
    before: Any, after: Any, written: set[str], names: Names
) -> bool:
    """When the child begins to live, each address has the parent's protection."""
    return all(
        after.read(f"{m}.vma[{v}]") == after.read(f"{parent}.vma[{v}]")
        for m in names.mms
        if f"{m}.state" in written and after.read(f"{m}.state") == "live"
        for parent in [after.read(f"{m}.parent")]
        for v in names.vas
    )


# -- all of them -----------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """What evaluating the abstraction on explored states gave.

    Attributes:
        bounds, model: what was explored.
        states: how many.
        complete: these are all.
        disagrees: the comparisons and walks that do not agree, by name.
    """

    bounds: str
    model: str
    states: int
    complete: bool
    disagrees: tuple[str, ...]


def agreement(
    bounds: str, model: Model, comparisons: Iterable[Comparison] = COMPARISONS
) -> Agreement:
    """Evaluate counts and predicates on every state of named bounds.

    Args:
        bounds: their name.
        model: whose operations are explored.
        comparisons: what is compared.
    """
    compared = tuple(comparisons)
    found = [
        _explored(section, model, compared)
        for section in find_bounds(bounds).sections
        if isinstance(section, Section)
    ]
    broken = {v.property: None for verdict in found for v in verdict.violations}
    return Agreement(
        bounds=bounds,
        model=model.name,
        states=sum(verdict.states for verdict in found),
        complete=all(verdict.complete for verdict in found),
        disagrees=tuple(broken),
    )


def _explored(
    section: Section, model: Model, comparisons: tuple[Comparison, ...]
) -> Verdict:
    like = Attempt(model, only=["put"]).prover().before
    explored = Explored(section, program(section, model), written(), like)
    states = [explored.property(each.name, each.agrees) for each in comparisons]
    states.append(
        StateProperty(
            "migration entries are all replaced",
            lambda cells: unlocked_pages_are_mapped_again(cells, section.names),
        )
    )
    return explored.exploration(states, list(_walks(section.names))).run()


def _walks(names: Names) -> Iterator[StepProperty]:
    for name, holds in (
        ("fork writes to each address once", addresses_are_written_once),
        ("fork visits each address", addresses_are_all_visited),
    ):
        yield StepProperty(
            name,
            lambda before, after, written, holds=holds: holds(  # type: ignore[misc]
                before, after, written, names
            ),
        )
