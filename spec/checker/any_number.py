"""The worlds of store buffers and of stale translations, for any number of CPUs.

The shapes of these chapters have two or three CPUs. What is explored here has at least
all that any number of them can do, so a guarantee that is kept here is kept by however
many there are. The converse is not true: what breaks here need not be reachable. That
it is shows the shape.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

from spec import ordering, tlb
from spec.cells import PlainCells
from spec.checker.explore import explore
from spec.checker.program import (
    Options,
    Program,
    StateProperty,
    Thread,
    rest,
)
from spec.checker.steps import Blocked, Location, Outcome, Stepper
from spec.memory import Steps
from spec.shapes import Menu
from spec.store_buffers import Cpu, Ordering, early_loads, store_buffer


@dataclass(frozen=True)
class AnyNumber:
    """Whether any number of CPUs keep a guarantee.

    Attributes:
        guarantee: its id.
        states: how many situations of the CPUs that are looked at were explored.
        broken: what a step breaks, and of which function; empty if none does.
        complete: all were explored.
        seconds: that it took.
    """

    guarantee: str
    states: int
    broken: str
    complete: bool
    seconds: float

    @property
    def holds(self) -> bool:
        """Nothing breaks the guarantee."""
        return self.complete and not self.broken


def by(property: str, functions: tuple[str, ...]) -> str:
    """What is broken, and by which function of a chapter, outermost first.

    >>> by("AE-INV-9", ("run", "gup_fast"))
    'AE-INV-9, by a step of gup_fast'
    """
    of_chapters = [name for name in functions if name not in ("run", "thread")]
    return f"{property}, by a step of {' > '.join(of_chapters)}"


# -- store buffers ---------------------------------------------------------------------

MENUS: tuple[Menu, ...] = (
    ("gup_fast",),
    tuple(dict.fromkeys(word for shape in ordering.SHAPES for word in shape.menus[1])),
)
"""One CPU in GUP-fast, and one that clears the bit; the others are `others`."""


class Unordered(Cpu):
    """A CPU that runs one operation after the other.

    The ghost that says in which order it did what would grow without end. What it loads
    early is one of `loads`: nothing else is ever loaded by its operations.
    """

    order: tuple[str, ...] = ()
    loads: tuple[str, ...] = ()

    def run(self) -> Steps:
        """What the CPU does."""
        raise NotImplementedError

    def sees(self, place: str) -> Hashable:
        """The CPU's own latest store, or else what memory holds."""
        if place not in self.loads:
            raise Blocked
        return super().sees(place)


class Walker(Unordered):
    """A CPU in GUP-fast."""

    loads = ("pte", "anon_exclusive")

    def run(self) -> Steps:
        """Take a reference, and put it, again and again."""
        while True:
            yield rest
            if self.reference == "live":
                ordering.drop(self)
            else:
                yield from ordering.gup_fast(self)


class Clearer(Unordered):
    """A CPU that has the page table lock."""

    loads = ("pte", "references")

    def run(self) -> Steps:
        """Clear the bit, again and again while the page is mapped.

        It need not be one CPU: what the last one that had the lock stored, and what the
        next one loads, are ordered by the lock.
        """
        while True:
            yield rest
            yield from self.smp_mb()
            if self.load("pte", "A0") == "p1 R/O":
                word = self.cells.choose("next", MENUS[1])
                yield from ordering.OPERATIONS[word](self)


def others(world: Ordering) -> Steps:
    """All other CPUs in GUP-fast: they have references, or none, whenever they like.

    Of what is shared they change nothing else, and who looks at the count asks only
    whether there are any.
    """
    taken = False
    while True:
        yield rest
        world.memory.references += -1 if taken else 1
        taken = not taken


def store_buffers_of_any_number(without: frozenset[str]) -> Program:
    """GUP-fast on any number of CPUs, against whoever clears the bit.

    Args:
        without: ids of rules that are not obeyed.
    """

    def world(cells: Any) -> Ordering:
        return Ordering(MENUS, cells, without)

    def made(kind: type[Unordered], i: int, run: Any, cells: Any) -> Steps:
        steps: Steps = run(kind(world(cells), f"cpu{i}"))
        return steps

    threads: dict[str, Thread] = {"others": lambda cells: others(world(cells))}
    for i, kind in enumerate((Walker, Clearer)):
        runs = {"cpu": kind.run, "buffer": store_buffer, "loads": early_loads}
        threads |= {f"{n}{i}": partial(made, kind, i, run) for n, run in runs.items()}
    kept = ordering.no_reference_without_the_bit
    return Program(
        initial=[_initial(world(PlainCells({})), besides="order")],
        threads=threads,
        states=[
            StateProperty(kept.id, lambda cells: kept.holds(world(cells))),
            StateProperty("GUP-fast stores nothing", stores_nothing),
            StateProperty("the count is of references", counted),
        ],
    )


def stores_nothing(cells: Any) -> bool:
    """GUP-fast changes nothing that is shared but the count."""
    return not cells.read("cpu0.buffer")


def counted(cells: Any) -> bool:
    """The count is one for the CPU's own reference and one for those of others."""
    own = bool(cells.read("cpu0.reference"))
    return cells.read("memory.references") - own in (0, 1)


def _initial(world: Any, besides: str = "") -> dict[str, Hashable]:
    return {
        key: value
        for record in world.records()
        for key, value in record.initial(())
        if not besides or not key.endswith(f".{besides}")
    }


AT_ONCE = Options(engine="numpy")
"""The other engine has to be compiled first, which takes longer than this."""


def in_order(without: frozenset[str] = frozenset()) -> AnyNumber:
    """Whether any number of CPUs with store buffers keep AE-INV-9.

    Args:
        without: ids of rules that are not obeyed.
    """
    began = time.monotonic()
    verdict = explore(store_buffers_of_any_number(without), options=AT_ONCE)
    broken = [by(v.property, v.trace.steps[-1].functions) for v in verdict.violations]
    return AnyNumber(
        ordering.no_reference_without_the_bit.id,
        verdict.states,
        "; ".join(broken),
        verdict.complete,
        time.monotonic() - began,
    )


# -- stale translations ----------------------------------------------------------------


class Standing(NamedTuple):
    """Where a CPU stands, and what its own cells hold."""

    location: Location
    own: tuple[Hashable, ...]


Shared = tuple[Hashable, ...]
Group = tuple[Standing, ...]
"""CPUs that stand together, in an order that is the same whatever they are called."""


class Views:
    """What any few CPUs can do together, however many there are.

    A *view* is what all CPUs share, and a few of the CPUs. One more CPU can stand
    beside a view wherever it stands with each part of it in a view that was found. From
    there each of them takes a step, which gives new views. So what is found are all
    views of all states of any number of CPUs, and perhaps more: this is view
    abstraction (Abdulla, Haziza, Holík, VMCAI 2013).

    Args:
        thread: what every CPU runs; it is made for ``cpu0``.
        initial: the state in which all begin, of one CPU more than a view has.
        kept: the guarantee, of the cells of such a state.
    """

    def __init__(
        self,
        thread: Thread,
        initial: Mapping[str, Hashable],
        kept: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        self.stepper = Stepper(thread)
        self.kept = kept
        self.fields = [key[5:] for key in initial if key.startswith("cpu0.")]
        self.shared = [key for key in initial if not key.startswith("cpu")]
        self.cpus = sorted({key[:4] for key in initial if key.startswith("cpu")})
        self.views: set[tuple[Shared, Group]] = set()
        self.states: set[tuple[Shared, Group]] = set()
        self.broken: tuple[str, ...] = ()
        self._todo: list[tuple[Shared, Group]] = []
        self._beside: dict[Shared, set[Standing]] = defaultdict(set)
        start = self.stepper.start()
        self._histories = {start.location: start.history}
        self._add(initial, [start.location] * len(self.cpus))

    def explore(self) -> None:
        """Find all views, until a step breaks the guarantee."""
        while self._todo and not self.broken:
            shared, view = self._todo.pop()
            for other in tuple(self._beside[shared]):
                state = shared, _ordered((*view, other))
                if state not in self.states and self._possible(*state):
                    self.states.add(state)
                    self._step_all(*state)

    def _possible(self, shared: Shared, group: Group) -> bool:
        """Whether all views of CPUs that stand together were found."""
        return all((shared, view) in self.views for view in self._parts(group))

    def _parts(self, group: Group) -> Iterator[Group]:
        yield from combinations(group, len(group) - 1)

    def _step_all(self, shared: Shared, group: Group) -> None:
        for i, acting in enumerate(group):
            if acting not in group[:i]:
                self._step(shared, (acting, *group[:i], *group[i + 1 :]))

    def _step(self, shared: Shared, group: Group) -> None:
        """Each step of the first CPU of a group."""
        before: dict[str, Any] = dict(zip(self.shared, shared, strict=True))
        for cpu, standing in zip(self.cpus, group, strict=True):
            own = zip(self.fields, standing.own, strict=True)
            before |= {f"{cpu}.{field}": value for field, value in own}
        acting, *waiting = group
        history = self._histories[acting.location]
        for _, outcome in self.stepper.outcomes(history, before.__getitem__):
            self._arrive(before, outcome, [each.location for each in waiting])

    def _arrive(
        self, before: Mapping[str, Any], outcome: Outcome, waiting: list[Location]
    ) -> None:
        after = {**before, **outcome.writes}
        self._histories.setdefault(outcome.location, outcome.history)
        self._add(after, [outcome.location, *waiting])
        if not self.kept(after):
            self.broken = outcome.functions

    def _add(self, cells: Mapping[str, Any], locations: list[Location]) -> None:
        """Note the views of a state."""
        shared = tuple(cells[key] for key in self.shared)
        group = _ordered(
            Standing(location, tuple(cells[f"{cpu}.{f}"] for f in self.fields))
            for cpu, location in zip(self.cpus, locations, strict=True)
        )
        self._beside[shared].update(group)
        for view in self._parts(group):
            if (shared, view) not in self.views:
                self.views.add((shared, view))
                self._todo.append((shared, view))


def _ordered(group: Iterable[Standing]) -> Group:
    return tuple(sorted(group, key=repr))


IN_A_VIEW = 2
"""So many CPUs are enough to show that one copies a page at a time."""


def flushed_in_time(without: frozenset[str] = frozenset()) -> AnyNumber:
    """Whether any number of CPUs with a TLB keep AE-INV-10.

    Each writes, and takes the write permission, in any order and again and again. What
    is written is always 1, and 0 what was there first: a write that gets lost is told
    by that if it is the first one, and any one can be, as a CPU that has a translation
    need not write before.

    Args:
        without: ids of rules that are not obeyed.
    """
    began = time.monotonic()
    words = tuple(tlb.OPERATIONS)
    menus = (words,) * (IN_A_VIEW + 1)

    def thread(cells: Any) -> Steps:
        process = tlb.Process(menus, cells, without)
        while True:
            yield rest
            word = cells.choose("next", words)
            yield from tlb.OPERATIONS[word](process, process.cpus[0])

    def kept(cells: Mapping[str, Any]) -> bool:
        process = tlb.Process(menus, PlainCells(dict(cells)), without)
        return tlb.nothing_is_written_to_the_old_page.holds(process)

    initial = _initial(tlb.Process(menus, PlainCells({}), without))
    views = Views(thread, initial, kept)
    views.explore()
    guarantee = tlb.nothing_is_written_to_the_old_page.id
    return AnyNumber(
        guarantee,
        len(views.states),
        by(guarantee, views.broken) if views.broken else "",
        True,
        time.monotonic() - began,
    )


WORLDS: dict[str, Callable[[frozenset[str]], AnyNumber]] = {
    "ordering": in_order,
    "tlb": flushed_in_time,
}
"""Each world, by the name that its rules have it under."""
