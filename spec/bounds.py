"""Named bounds: what is explored, by whom, and how far.

A *client* runs on each CPU. It picks an operation from its menu, runs it, and picks
again, as often as it likes; it may also stop. A bound consists of sections. Each
section gives every CPU a menu, and all choices and interleavings are explored. The
state space is finite although clients never end: processes, pages and references
are few.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

from spec import fault, fork, gup_fast
from spec.cells import Cells, PlainCells, SpecificationError
from spec.checker.explore import Progress, explore
from spec.checker.program import (
    Program,
    StateProperty,
    StepProperty,
    Verdict,
    rest,
)
from spec.checker.steps import Blocked
from spec.counts import put_page, run, try_get_page, vm_normal_page
from spec.decisions import Foll, Model
from spec.guarantees import OBSERVABLE, count_rises_under_the_lock
from spec.memory import Machine, Mm, Names, Steps
from spec.models import MODELS
from spec.operations import ON_MACHINE, ON_PAGES, OPERATIONS
from spec.rules import Rule, Step, load

Choice = tuple[str, ...]


# -- operations of the environment -----------------------------------------------------


def transient(mm: Mm, va: str) -> Steps:
    """The kernel holds the page for a while: an LRU batch, a speculative get."""
    page = vm_normal_page(mm, mm.pte[va])
    if page is None or not try_get_page(page):
        return
    mm.machine.cpu.hold = page.name
    yield
    mm.machine.cpu.hold = None
    put_page(page)


def put(machine: Machine, ref: str) -> Steps:
    """The holder of a reference lets go."""
    gup_fast.put(machine.mms[str(machine.refs[ref].mm)], machine.refs[ref])
    yield from ()


# -- clients ---------------------------------------------------------------------------


def begin(machine: Machine, choice: Choice) -> Steps:
    """The operation that a choice stands for, for instance ``("write", "A")``."""
    word, name, *more = choice
    if word == "put":
        return put(machine, name)
    if word.startswith("device write"):
        return gup_fast.device_write(machine.refs[name], int(word.split()[2]))
    if word in ON_PAGES:
        return ON_PAGES[word](machine.pages[name])
    if word in ON_MACHINE:
        return ON_MACHINE[word](machine)
    word, _, va = word.partition(" at ")
    mm, va = machine.mms[name], va or machine.names.vas[0]
    kind, *flags = word.split()
    if kind == "gup":
        how = gup_fast.ENTRIES[flags[2] if len(flags) > 2 else "slow"]
        foll = Foll(write=flags[0] == "rw", pin=flags[1] == "pin")
        return how(mm, va, machine.refs[more[0]], foll)
    if kind == "fork":
        return fork.fork(mm, machine.mms[more[0]])
    if kind == "write":
        return fault.write(mm, va, int(flags[0]) if flags else 0)
    if kind == "transient":
        return transient(mm, va)
    return OPERATIONS[word](mm, va)


def choices(
    machine: Machine, menu: tuple[str, ...], processes: tuple[str, ...]
) -> Iterator[Choice]:
    """What the client may do now: the menu, for each live process of its own."""
    live = [name for name in processes if machine.mms[name].state == "live"]
    for word in menu:
        if word == "put":
            for name, ref in machine.refs.items():
                if ref.state == "live" and ref.pfn in machine.pages:
                    yield word, name
        elif word.startswith("device write"):
            for name, ref in machine.refs.items():
                if ref.state == "live" and ref.write and ref.pfn in machine.pages:
                    yield word, name
        elif word in ON_PAGES:
            for name, page in machine.pages.items():
                if page.refcount > 0:
                    yield word, name
        elif word in ON_MACHINE:
            yield word, ""
        elif word.startswith("gup"):
            own = list(machine.refs)[list(machine.cpus).index(machine.cpu.name)]
            if machine.refs[own].state == "free":
                yield from ((word, mm, own) for mm in live)
        elif word == "fork":
            unborn = [n for n, mm in machine.mms.items() if mm.state == "unborn"]
            yield from ((word, mm, unborn[0]) for mm in live if unborn)
        else:
            yield from ((word, mm) for mm in live)


def client(
    section: Section, model: Model, without: frozenset[str], cpu: str, cells: Cells
) -> Steps:
    """Run operations of the client's choice on one CPU, for ever.

    The choice of an operation and its first step are one step: a choice alone
    changes nothing that another CPU could see. An operation whose first lock is
    busy does not begin yet.
    """
    machine = Machine(section.names, model, cells, cpu, without)
    which = section.names.cpus.index(cpu)
    menu, processes = section.menus[which], section.processes[which]
    while True:
        yield rest
        options = tuple(choices(machine, menu, processes))
        steps = begin(machine, cells.choose("next", options))
        del options
        for wait in steps:
            if wait is not None:
                raise Blocked
            yield
            break
        yield from steps


# -- bounds ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """One exhaustive exploration.

    Attributes:
        names: what exists.
        menus: for each CPU, the operations that its client chooses from.
        processes: for each CPU, the processes that its client acts on.
        starts: what the first process has done before, operations joined by ``; ``.
    """

    names: Names
    menus: tuple[tuple[str, ...], ...]
    processes: tuple[tuple[str, ...], ...]
    starts: tuple[str, ...] = ("", "read", "write")

    def describe(self) -> Iterator[str]:
        """What each CPU does, and where it starts, in words."""
        for i, menu in enumerate(self.menus):
            words = ", ".join(f"`{word}`" for word in menu)
            yield f"CPU {i}, process {' or '.join(self.processes[i])}: {words}"
        starts = ", ".join(
            f"`{start}`" if start else "nothing" for start in self.starts
        )
        yield f"after {starts}"


@dataclass(frozen=True)
class Bounds:
    """A named set of sections."""

    name: str
    sections: tuple[Section, ...]

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


def kind(word: str) -> str:
    """The operation that a word of a menu names, without flags, value and address.

    >>> [kind(w) for w in ("gup ro pin fast", "write 1 at y", "madvise free")]
    ['gup fast', 'write', 'madvise free']
    """
    parts = word.partition(" at ")[0].split()
    if parts[0] == "gup":
        return " ".join(["gup", *parts[3:]])
    if parts[0] == "mprotect":
        return parts[0]
    return " ".join(part for part in parts if not part.isdigit())


def names_for(
    cpus: int, processes: int, pages: int, slots: int, vas: Sequence[str]
) -> Names:
    """Machine names, with a reference for each CPU."""
    return Names(
        mms=tuple("ABC"[:processes]),
        pages=tuple(f"p{i + 1}" for i in range(pages)),
        refs=tuple("rst"[:cpus]),
        cpus=tuple(f"cpu{i}" for i in range(cpus)),
        vas=tuple(vas),
        slots=tuple(f"s{i + 1}" for i in range(slots)),
    )


def program(
    section: Section, model: Model, without: frozenset[str] = frozenset()
) -> Program:
    """What the checker explores: one client for each CPU, all rules, all guarantees.

    While a rule is ablated, all rules are only watched: what must then break is a
    guarantee that users can observe.
    """
    rules = [r for r in load().values() if model.name in r.models]
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
    )


def initial_states(section: Section, model: Model) -> Iterator[dict[str, Hashable]]:
    """One live process, after each of the section's starts."""
    for start in section.starts:
        values: dict[str, Hashable] = {}
        machine = Machine(section.names, model, PlainCells(values))
        values.update(machine.initial())
        first = machine.start()
        for word in filter(None, start.split("; ")):
            run(begin(machine, (word, first.name)))
        yield values


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
            self.before.cells = cells
            return rule.holds(self.machine)

        return holds

    def step(
        self, predicate: Callable[[Step], bool]
    ) -> Callable[[Cells, Cells, set[str]], bool]:
        """`predicate` over the cells before and after a step."""

        def holds(before: Cells, after: Cells, written: set[str]) -> bool:
            if self.the_step.written is not written:
                self.before.cells, self.after.cells = before, after
                self.the_step.assign(written)
            return predicate(self.the_step)

        return holds


class _Window:
    """Cells that stand for others, so that a machine need not be made anew."""

    cells: Cells

    def read(self, key: str) -> Any:
        return self.cells.read(key)

    def write(self, key: str, value: Hashable) -> None:
        self.cells.write(key, value)

    def choose(self, question: str, options: Any) -> Any:
        return self.cells.choose(question, options)


def section(
    *clients: tuple[str, str],
    starts: tuple[str, ...] = ("", "read", "write"),
    processes: int = 0,
    pages: int = 0,
    slots: int = 0,
    vas: Sequence[str] = ("x",),
) -> Section:
    """A section from each CPU's processes and menu, as ``("AB", "write; fork")``.

    Args:
        clients: one for each CPU.
        starts: what the first process has done before.
        processes: how many can exist; by default as many as CPUs.
        pages: how many exist; by default enough for any operation to find one.
        slots: of the swap device.
        vas: the addresses of each process.
    """
    cpus = len(clients)
    names = names_for(cpus, processes or cpus, pages or cpus + 3, slots, vas)
    return Section(
        names=names,
        menus=tuple(tuple(menu.split("; ")) for _, menu in clients),
        processes=tuple(tuple(processes) for processes, _ in clients),
        starts=starts,
    )


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
RECLAIM: tuple[Section, ...] = ()
MIGRATION: tuple[Section, ...] = ()
KSM: tuple[Section, ...] = ()
PROTECT: tuple[Section, ...] = ()
MOVE: tuple[Section, ...] = ()
HUGE: tuple[Section, ...] = ()
STANDARD = (*CORE, *PROTECT, *RECLAIM, *MIGRATION, *KSM, *MOVE)
ANYBODY = (("A", "B", "C"),) * 3
"""In `large` every client acts on every process."""

BOUNDS = {
    bounds.name: bounds
    for bounds in (
        Bounds("small", SMALL),
        Bounds("standard", STANDARD),
        Bounds("huge", HUGE),
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
    return MODELS[_known(name, "model", MODELS)]


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
) -> Verdict:
    """Explore all sections of a bound; ends with the section that has a violation.

    Counts of states and transitions are sums over the sections, depth is the
    greatest.

    Args:
        bounds, model: names of them.
        without: ids of rules that the operations do not obey.
        report: called after each level.

    Raises:
        SpecificationError: a name or an id is unknown.
    """
    ablated = frozenset(without)
    the_model = find_model(model)
    total = Verdict(0, 0, 0, complete=True)
    for part in find_bounds(bounds).sections:
        total = total.and_then(explore(program(part, the_model, ablated), report))
        if not total.holds:
            break
    return total
