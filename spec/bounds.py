"""Named bounds: what is explored, and how far.

A bound consists of sections. Each section gives the client on every CPU a menu, and all
choices and interleavings are explored.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

from spec import ordering, tlb
from spec.cells import Cells, SpecificationError
from spec.checker.program import (
    DEFAULT,
    Options,
    Program,
    Progress,
    StateProperty,
    StepProperty,
    Verdict,
)
from spec.checker.sections import explore_all
from spec.clients import Section, client, initial_states, kind, section
from spec.codename import code_name
from spec.decisions import Model
from spec.guarantees import OBSERVABLE, count_rises_under_the_lock
from spec.memory import Machine, Names
from spec.models import MODELS, VARIANTS, governs
from spec.rules import Rule, Step, load
from spec.shapes import Shape


@dataclass(frozen=True)
class Bounds:
    """A named set of sections."""

    name: str
    sections: tuple[Section | Shape, ...]

    def meetings(self) -> set[tuple[str, str]]:
        """The unordered pairs of operations that can run at the same time."""
        return {
            pair
            for section in self.sections
            for i, mine in enumerate(section.menus)
            for theirs in section.menus[i + 1 :]
            for a in mine
            for b in theirs
            for pair in [(min(kind(a), kind(b)), max(kind(a), kind(b)))]
        }

    def describe(self) -> dict[str, str]:
        """What the bound contains, in words, for a table."""
        kinds = {kind(w) for s in self.sections for menu in s.menus for w in menu}
        pairs = set(combinations_with_replacement(sorted(kinds), 2))
        return {
            "processes": self._most("mms"),
            "CPUs": self._most("cpus"),
            "addresses of a process": self._most("vas"),
            "pages": self._most("pages"),
            "swap slots": self._most("slots"),
            "references": self._most("refs"),
            "operations of each CPU": "any number",
            "kinds of operations": ", ".join(sorted(kinds)),
            "pairs of operations that meet": (
                f"{len(self.meetings() & pairs)} of {len(pairs)}"
            ),
            "sections": str(len(self.sections)),
        }

    def _most(self, what: str) -> str:
        """How many of a thing exist: in the smallest and in the largest section."""
        counts = sorted({len(getattr(s.names, what)) for s in self.sections})
        return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def program(
    section: Section | Shape, model: Model, without: frozenset[str] = frozenset()
) -> Program:
    """What the checker explores: one client for each CPU, all rules, all guarantees.

    While a rule is ablated, all rules are only watched: what must then break is a
    guarantee that users can observe.
    """
    if isinstance(section, Shape):
        return section.program(model, without)
    rules = [r for r in load().values() if governs(r, model) and r.world == "mm"]
    judge = _Judge(section.names)
    return Program(
        initial=list(initial_states(section, model)),
        threads={
            cpu: partial(client, section, model, without, cpu)
            for cpu in section.names.cpus
        },
        states=[
            StateProperty(r.id, judge.state(r))
            for r in rules
            if r.over == "state" and (not without or r.id in OBSERVABLE)
        ],
        steps=[
            StepProperty(r.id, judge.step(r.holds), not without or r.id in OBSERVABLE)
            for r in rules
            if r.over == "step"
        ],
        witnesses={
            "count rises under the lock": judge.step(count_rises_under_the_lock),
            **{f"{r.id} taken": judge.step(r.taken) for r in rules if r.taken},
            **{f"{r.id} declined": judge.step(r.declined) for r in rules if r.declined},
        },
        interchangeable=interchangeable(section),
        name=code_name("section", repr(section), model.name, *sorted(without)),
    )


WALKERS = {"reclaim", "swapoff", "ksm", "unmerge", "migrate", "split", "collapse"}
"""Operations that go over processes in order, with steps of others in between."""


def interchangeable(section: Section) -> list[tuple[str, ...]]:
    """The processes, and the pages, if all that a section does treats them alike.

    A large folio is an aligned row of pages, so there pages are not alike.
    """
    words = " ".join([*section.starts, *(w for menu in section.menus for w in menu)])
    large = any(word in words for word in ("hugepage", "pmd", "collapse", "split"))
    alike = len({frozenset(names) for names in section.processes}) == 1
    every = set(section.names.mms) == set(section.processes[0])
    processes = alike and every and not WALKERS & set(words.replace(";", " ").split())
    groups = [section.names.mms] if processes else []
    return groups if large else [*groups, section.names.pages]


class _Judge:
    """Evaluates predicates of the specification on the checker's cells."""

    def __init__(self, names: Names) -> None:
        self.before = _Window()
        self.after = _Window()
        self.machine = Machine(names, None, self.before)
        self.the_step = Step(self.machine, Machine(names, None, self.after), set())

    def state(self, rule: Rule) -> Callable[[Cells], bool]:
        """`rule` as a predicate over cells."""

        def holds(cells: Cells) -> bool:
            self.before.show(cells)
            return rule.holds(self.machine)

        return holds

    def step(
        self, predicate: Callable[[Step], bool]
    ) -> Callable[[Cells, Cells, set[str]], bool]:
        """`predicate` over the cells before and after a step."""

        def holds(before: Cells, after: Cells, written: set[str]) -> bool:
            if self.the_step.written is not written:
                self.before.show(before)
                self.after.show(after)
                self.the_step.assign(written)
            return predicate(self.the_step)

        return holds


class _Window:
    """Cells that stand for others, so that a machine need not be made anew."""

    read: Callable[[str], Any]
    write: Callable[[str, Hashable], None]
    choose: Callable[[str, Any], Any]

    def show(self, cells: Cells) -> None:
        """Stand for these."""
        self.read, self.write, self.choose = cells.read, cells.write, cells.choose


SMALL = (
    section(("AB", "fork; munmap; write"), ("AB", "gup ro get fast; gup rw pin; put")),
    section(("A", "fork; mprotect r; write"), ("A", "gup rw pin; put; transient")),
)
CORE = (
    section(
        ("A", "gup ro pin; mprotect r; transient"),
        ("A", "gup rw get fast-only; mprotect rw; read"),
        ("A", "read; write; put; transient; munmap; exit"),
    ),
    section(
        ("A", "gup ro get fast-only; gup rw get fast"),
        ("A", "gup ro get fast; gup rw pin fast-only"),
        ("A", "gup rw pin; put"),
    ),
    section(
        ("A", "fork; munmap"), ("AB", "gup ro pin fast; put"), ("B", "write; transient")
    ),
    section(
        ("A", "fork; write"),
        ("A", "gup ro get fast-only; gup ro get; put"),
        ("B", "gup rw pin; munmap; exit"),
    ),
    section(
        ("A", "fork; exit; munmap"),
        ("AB", "munmap; read; exit; put"),
        ("AB", "gup ro get fast; transient; fork; put; read"),
    ),
    section(
        ("A", "fork; mprotect r"),
        ("A", "gup rw pin fast"),
        ("A", "write; transient; mprotect rw"),
    ),
    section(
        ("A", "fork; munmap; write"),
        ("AB", "gup rw pin fast; put; read"),
        ("AB", "write; fork"),
    ),
)
RECLAIM = (
    section(
        ("A", "write 1; write 2; read"), ("", "reclaim"), starts=("write",), slots=1
    ),
    section(
        ("A", "gup rw get; device write 1; put; madvise free; read"),
        ("", "reclaim"),
        starts=("write",),
        slots=1,
    ),
    section(
        ("A", "read"),
        ("A", "write 1; write 2"),
        ("", "reclaim"),
        starts=("write",),
        slots=1,
        processes=1,
    ),
    section(
        ("AB", "fork; write; exit"),
        ("", "reclaim; swapoff"),
        starts=("write",),
        slots=1,
        processes=2,
    ),
    section(
        ("A", "fork; munmap"),
        ("A", "gup ro pin fast; put"),
        ("", "reclaim"),
        starts=("write",),
        slots=1,
        processes=2,
    ),
    section(
        ("A", "write; madvise dontneed"),
        ("A", "gup rw get fast; put"),
        ("", "reclaim"),
        starts=("write",),
        slots=1,
        processes=1,
    ),
    section(
        ("A", "fork"),
        ("A", "gup rw get; gup rw pin; put; write"),
        ("", "reclaim"),
        starts=("write",),
        slots=1,
        processes=2,
    ),
)
MIGRATION = (
    section(
        (
            "A",
            "gup ro get fast; gup rw pin; gup ro pin fast; gup rw get fast-only; "
            "put; device write 2; write 1; read",
        ),
        ("A", "migrate; mprotect r; mprotect rw"),
        starts=("write 1",),
        processes=1,
    ),
    section(
        ("A", "fork"),
        ("A", "gup ro get fast; put; write"),
        ("A", "migrate"),
        starts=("write",),
        processes=2,
        pages=7,
    ),
    section(
        ("A", "fork; write"),
        ("A", "gup rw get; gup ro pin; put"),
        ("A", "migrate"),
        starts=("write",),
        processes=2,
        pages=7,
    ),
    section(
        ("AB", "write 1; write 2; fork; munmap; read; exit"),
        ("AB", "migrate page"),
        starts=("write 1",),
        pages=6,
    ),
    section(
        ("A", "write 1; munmap"),
        ("", "reclaim"),
        ("", "migrate page"),
        starts=("write",),
        processes=1,
        slots=1,
    ),
    section(
        ("A", "gup rw get; put; device write 1; read; mprotect r"),
        ("", "migrate page; reclaim"),
        starts=("write",),
        processes=1,
        slots=1,
    ),
    section(
        ("AB", "fork; read"), ("", "migrate page; reclaim"), starts=("write",), slots=1
    ),
)
ONE_PROCESS_TWICE = ("write 1; write 1 at y",)
KSM = (
    section(("AB", "fork; write 1; write 2; munmap"), ("", "ksm"), starts=("write 1",)),
    section(
        ("A", "gup ro get fast; put; write 1; write 1 at y"),
        ("", "ksm"),
        starts=ONE_PROCESS_TWICE,
        processes=1,
        vas="xy",
    ),
    section(
        ("A", "gup rw get fast; gup ro pin; gup rw pin fast-only; device write 2; put"),
        ("AB", "ksm; fork; write 1"),
        starts=("write 1",),
    ),
    section(
        ("AB", "fork; write 1"),
        ("AB", "ksm; unmerge; read; mprotect r"),
        starts=("write 1",),
    ),
    section(
        ("A", "write 1; read"),
        ("", "ksm; reclaim"),
        starts=ONE_PROCESS_TWICE,
        processes=1,
        slots=1,
        vas="xy",
    ),
    section(
        ("A", "unmerge; munmap; read"),
        ("", "ksm"),
        ("", "migrate page"),
        starts=ONE_PROCESS_TWICE,
        processes=1,
        pages=8,
        vas="xy",
    ),
)
PROTECT = (
    section(
        ("A", "write; uffd-wp; uffd-unwp; mprotect r; mprotect rw"),
        ("A", "gup ro get; gup rw pin; put; softdirty"),
        starts=("write",),
        processes=1,
    ),
    section(
        ("A", "numa-hint; write; fork"),
        ("AB", "gup rw get fast; put; uffd-wp; read"),
        starts=("write",),
    ),
    section(
        ("A", "fork; mprotect r; mprotect rw"),
        ("AB", "force-write 1; write 1; munmap"),
        ("A", "gup ro pin; put; softdirty"),
        starts=("write",),
        processes=2,
    ),
    section(
        ("A", "write; read; munmap"),
        ("A", "gup ro pin slow longterm; gup ro pin; put"),
        processes=1,
    ),
)
MOVE = (
    section(
        ("A", "write at x; write at y; mremap; fork"),
        ("A", "gup rw get fast at x; gup ro pin at y; put; transient"),
        starts=("write",),
        processes=2,
        vas=("x", "y"),
    ),
    section(
        ("A", "uffdio move; write at x; fork"),
        ("A", "gup rw get fast at x; gup rw get fast-only at x; put"),
        starts=("write",),
        vas=("x", "y"),
    ),
    section(
        ("A", "uffdio move; mremap; write 1 at y"),
        ("", "reclaim"),
        starts=("write",),
        processes=1,
        slots=1,
        vas=("x", "y"),
    ),
)
XY = ("x", "y")
HUGE = (
    section(
        ("A", "gup ro pin fast at y; gup rw get at y; put; write at y"),
        ("A", "collapse; split pmd; fork"),
        starts=("madvise hugepage", "write; write at y"),
        pages=8,
        vas=XY,
    ),
    section(
        ("A", "gup rw get; gup ro pin; put; fork"),
        ("AB", "mprotect r at y; mprotect rw at y; write at y; exit"),
        starts=("madvise hugepage; split pmd", "madvise hugepage"),
        pages=8,
        vas=XY,
    ),
    section(
        ("A", "write at y; munmap; fork; read"),
        ("A", "gup rw pin at y; gup ro get fast; put"),
        ("", "split"),
        starts=("madvise hugepage; split pmd", "madvise hugepage"),
        processes=2,
        pages=8,
        vas=XY,
    ),
    section(
        ("A", "fork; split pmd; write at y"),
        ("AB", "gup rw get at y; gup ro pin fast at y; put"),
        ("A", "write; munmap; transient"),
        starts=("madvise hugepage",),
        processes=2,
        pages=10,
        vas=XY,
    ),
    section(
        ("AB", "fork; write at y; munmap at y; exit"),
        ("AB", "gup ro get at y; gup ro get fast-only; put"),
        starts=("madvise hugepage",),
        pages=10,
        vas=XY,
    ),
)
STANDARD = (*CORE, *PROTECT, *RECLAIM, *MIGRATION, *KSM, *MOVE)
ANYBODY = (("A", "B", "C"),) * 3
"""In `large` every client acts on every process."""

BOUNDS = {
    bounds.name: bounds
    for bounds in (
        Bounds("small", SMALL),
        Bounds("standard", STANDARD),
        Bounds("huge", HUGE),
        Bounds("ordering", ordering.SHAPES + tlb.SHAPES),
        Bounds("large", tuple(replace(s, processes=ANYBODY) for s in CORE)),
    )
}


SHOWN_BY = {
    "SWAP": RECLAIM,
    "MIGR": MIGRATION,
    "KSM": KSM,
    "WP": PROTECT,
    "MOVE": MOVE,
    "HUGE": HUGE,
    "ORD": ordering.SHAPES + tlb.SHAPES,
}
"""The sections that show first what the removal of a topic's rule breaks."""


def find_bounds(name: str) -> Bounds:
    """The bounds of this name.

    Raises:
        SpecificationError: there are none; names the nearest.
    """
    return BOUNDS[_known(name, "bounds", BOUNDS)]


def find_model(name: str) -> Model:
    """The model of this name.

    Raises:
        SpecificationError: there is none; names the nearest.
    """
    known = MODELS | VARIANTS
    return known[_known(name, "model", known)]


def _known(name: str, what: str, known: Iterable[str]) -> str:
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    raise SpecificationError(
        f"no {what} named {name!r}; expected one of {', '.join(known)}; "
        f"the nearest is {near!r}"
    )


def check(
    bounds: str,
    model: str,
    without: Iterable[str] = (),
    report: Callable[[Progress], None] = lambda progress: None,
    options: Options = DEFAULT,
) -> Verdict:
    """Explore all sections of a bound; ends with the section that has a violation.

    Counts of states and transitions are sums over the sections, depth is the
    greatest.

    Args:
        bounds, model: names of them.
        without: ids of rules that the operations do not obey.
        report: called after each level.
        options: how to explore.

    Raises:
        SpecificationError: a name or an id is unknown.
    """
    ablated = frozenset(without)
    the_model = find_model(model)
    sections = find_bounds(bounds).sections
    programs = [partial(program, part, the_model, ablated) for part in sections]
    return explore_all(programs, report, options)
