"""Clients: what runs on each CPU while a bound is explored.

A *client* picks an operation from its menu, runs it, and picks again, as often as it
likes; it may also stop. The state space is finite although clients never end:
processes, pages and references are few.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from spec import fault, fork, gup_fast, protect
from spec.cells import Cells, PlainCells, alternatives
from spec.checker.program import rest
from spec.checker.steps import Blocked
from spec.counts import put_page, run, try_get_page, vm_normal_page
from spec.decisions import Foll, Model
from spec.memory import Machine, Mm, Names, Steps
from spec.operations import ON_MACHINE, ON_PAGES, OPERATIONS

Choice = tuple[str, ...]


# -- sections --------------------------------------------------------------------------


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


def names_for(
    cpus: int, processes: int, pages: int, slots: int, vas: Sequence[str]
) -> Names:
    """Machine names, with a reference for each CPU."""
    return Names(
        mms=tuple("ABCDE"[:processes]),
        pages=tuple(f"p{i + 1}" for i in range(pages)),
        refs=tuple("rstuv"[:cpus]),
        cpus=tuple(f"cpu{i}" for i in range(cpus)),
        vas=tuple(vas),
        slots=tuple(f"s{i + 1}" for i in range(slots)),
    )


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
        foll = Foll(flags[0] == "rw", flags[1] == "pin", "longterm" in flags)
        return how(mm, va, machine.refs[more[0]], foll)
    if kind == "fork":
        return fork.fork(mm, machine.mms[more[0]])
    if kind == "force-write":
        return protect.write_force(mm, va, int(flags[0]))
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
            children = alternatives(machine.cells, unborn)
            yield from ((word, mm, child) for mm in live for child in children)
        else:
            yield from ((word, mm) for mm in live)


class Offer:
    """What one client chooses from: always the same, so no part of where it stands."""

    def __init__(self, section: Section, cpu: str) -> None:
        which = section.names.cpus.index(cpu)
        self.menu, self.processes = section.menus[which], section.processes[which]


@lru_cache(maxsize=8)
def handle(
    names: Names, model: Model, cells: Cells, cpu: str, without: frozenset[str]
) -> Machine:
    """The machine of a client, which is begun anew for each of its steps."""
    return Machine(names, model, cells, cpu, without)


def client(
    section: Section, model: Model, without: frozenset[str], cpu: str, cells: Cells
) -> Steps:
    """Run operations of the client's choice on one CPU, for ever.

    The choice of an operation and its first step are one step: a choice alone
    changes nothing that another CPU could see. An operation whose first lock is
    busy does not begin yet.
    """
    machine = handle(section.names, model, cells, cpu, without)  # type: ignore[arg-type]
    offer = Offer(section, cpu)
    while True:
        yield rest
        options = tuple(choices(machine, offer.menu, offer.processes))
        steps = begin(machine, cells.choose("next", options))
        del options
        for wait in steps:
            if wait is not None:
                raise Blocked
            yield
            break
        yield from steps


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
