"""An explored state in the terms of the proof: the invariant is evaluated on it.

The proof speaks of fields, the checker of cells and of where each thread stands. Here
each field is read from those. What no cell says is known from the way on which a CPU
came to where it stands: which locks it has taken, and that a page was grabbed by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spec.cells import Cells
from spec.checker.explore import Exploration
from spec.checker.program import Program, StateProperty, StepProperty
from spec.checker.steps import Location, Stepper
from spec.clients import Section
from spec.hugepage import TransHugePmd
from spec.largefolio import DetachedTable
from spec.memory import ZERO_PAGE, Names, Pte
from spec.migration_entry import MigrationEntry
from spec.prover.assertions import Assertion, Clause, Proof, roles, stands
from spec.prover.domains import NOTICING
from spec.prover.footprints import Operation, Place, owned
from spec.prover.holders import HOLDERS, Kind
from spec.prover.promises import Promises
from spec.prover.scopes import BASE, Scope
from spec.prover.state import View
from spec.prover.steps import contents_name
from spec.swap import SwapEntry

if TYPE_CHECKING:
    from spec.prover.logic import Symbolic


@dataclass
class Standing:
    """Where a CPU stands.

    Attributes:
        place: the same as the proof has it.
        at: the names of the assertions that speak of it.
        roles: what they call its process, its page and so on.
    """

    place: Place
    at: frozenset[str]
    roles: dict[str, Any]

    @cached_property
    def sequence(self) -> tuple[str, int] | None:
        """In GUP-fast, the process and the sequence count that was read."""
        for qualname, _, variables in self.place.frames:
            if qualname == "gup_fast" and "seq" in variables:
                return variables["mm"][1], variables["seq"]
        return None


class Standings:
    """Where the CPUs of an exploration can stand, found when first asked for.

    Args:
        program: what is explored.
        names: what exists there.
        assertions: of the proof.
        scope: what the proof is about.
    """

    def __init__(
        self,
        program: Program,
        names: Names,
        assertions: list[Assertion],
        scope: Scope = BASE,
    ) -> None:
        self.names, self.assertions, self.scope = names, assertions, scope
        self.steppers = {
            cpu: Stepper(thread, False) for cpu, thread in program.threads.items()
        }
        self.client = Operation(
            "client",
            lambda machine: iter(()),  # type: ignore[arg-type, return-value]
            names,
            scope=scope,
        )
        self.exploration: Exploration | None = None
        self.known: dict[tuple[str, Location], Standing] = {}

    def at(self, cpu: str, location: Location) -> Standing:
        """Where a CPU stands, given its location."""
        if (cpu, location) not in self.known:
            self.known[cpu, location] = self._find(cpu, location)
        return self.known[cpu, location]

    def _find(self, cpu: str, location: Any) -> Standing:
        client, *parts = location
        if not parts:
            begun = [value for _, value in client[2] if value and value[0] == BEGUN]
            parts = list(begun[0][1]) if begun else []
        place = Place(
            number=0,
            functions=tuple(part[0] for part in parts),
            operands=(),
            own=self._own(cpu, location),
            location=(client, *parts),
            history=(),
            operation=self.client,
        )
        here = [each for each in self.assertions if stands(each, place)]
        found: dict[str, Any] = {}
        for each in here:
            found = roles(each, place) | found
        return Standing(place, frozenset(each.name for each in here), found)

    def _own(self, cpu: str, location: Location) -> dict[str, Any]:
        """The locks that the CPU has taken on the way to where it stands."""
        assert self.exploration is not None, "the exploration comes first"
        number = list(self.steppers).index(cpu)
        code = self.exploration.codes[f"@{cpu}"].number(location)
        history, _ = self.exploration.threads[number].histories[code]
        own: dict[str, Any] = {}
        for i, past in enumerate(history):
            found = dict(past.reads)
            run = self.steppers[cpu].step(history[:i], found.__getitem__, past.answers)
            assert run.outcome is not None, "what was done once is done again"
            own = owned(own, found, run.outcome.writes, self.scope)
        return own


BEGUN = "generator"
"""How the checker calls an operation that a client has begun."""


class Concrete(View):
    """One explored state.

    Args:
        cells: of the state, with the locations of threads.
        standings: of the exploration.
        promises: what the model promises.
    """

    def __init__(self, cells: Cells, standings: Standings, promises: Promises) -> None:
        self.cells, self.standings, self.names = cells, standings, standings.names
        self.promises = promises
        self._known: dict[tuple[Any, ...], Any] = {}

    def get(self, name: str, *arguments: Any) -> Any:
        """The value of a field; none, or false, of a thing that is not there."""
        key = (name, *arguments)
        if key not in self._known:
            self._known[key] = self._get(name, *arguments)
        return self._known[key]

    def _get(self, name: str, *arguments: Any) -> Any:
        if name.startswith("at:"):
            cpu = arguments[0]
            return cpu is not None and name[3:] in self.stand(cpu).at
        if name in READ_FROM:
            if None in arguments:
                return None
            return READ_FROM[name](self, *arguments)
        return None not in arguments and bool(TOLD_BY[name](self, *arguments))

    def same(self, one: Any, other: Any) -> Any:
        """Equality."""
        return one == other

    @property
    def has_folios(self) -> bool:
        """Whether the proof is about large folios."""
        return self.standings.scope.has_folios

    def head(self, p: Any) -> Any:
        """The head of the page's folio."""
        return self.row(p) if self.has_folios and self.large(p) else p

    def first(self, v: Any) -> Any:
        """The first address of the process."""
        return v == self.names.vas[0]

    def second(self, v: Any) -> Any:
        """Another address."""
        return v in self.names.vas[1:]

    def stand(self, cpu: str) -> Standing:
        """Where a CPU stands."""
        return self.standings.at(cpu, self.cells.read(f"@{cpu}"))

    def cell(self, record: str, field: str) -> Any:
        """The value of a cell."""
        return self.cells.read(f"{record}.{field}")

    def entry(self, m: str, v: str) -> Any:
        """The page table entry; a mapping of the zeropage counts as none."""
        found = self.cell(m, f"pte[{v}]")
        return None if isinstance(found, Pte) and found.pfn == ZERO_PAGE else found

    def owner(self, key: str) -> str | None:
        """The CPU that has taken a lock."""
        cpus = self.names.cpus
        return next((c for c in cpus if key in self.stand(c).place.own), None)

    def things(self, letter: str) -> tuple[str, ...]:
        """All that exists of a sort."""
        names: dict[str, tuple[str, ...]] = {
            "m": self.names.mms,
            "v": self.names.vas,
            "p": self.names.pages,
            "r": self.names.refs,
            "c": self.names.cpus,
            "e": self.names.slots,
        }
        return names[letter]

    @property
    def zeroes(self) -> str:
        """The contents of a new page."""
        return contents_name(0)

    def one_holder(self, p: Any) -> Any:
        """Any two holders of the page are one."""
        return count(self, HOLDERS, p) <= 1


def _contents(field: str) -> Callable[[Concrete, str], str]:
    return lambda s, record: contents_name(s.cell(record, field))


def _expected(s: Concrete, m: str, v: str) -> str | None:
    value = s.cell(m, f"expected[{v}]")
    return None if value is None else contents_name(value)


def _written_by(s: Concrete, p: str) -> str | None:
    # which device wrote last is not told: any that could have is as good
    return next((r for r in s.names.refs if s.lets_write(r, p)), None)


def _touched(s: Concrete, m: str, v: str) -> bool:
    # what is to be ruled out is only that fork writes to an address of the child twice
    state = s.cell(m, "state")
    entries = s.cell(m, f"pte[{v}]"), s.cell(m, "pmd")
    copied = state == "forking" and any(entry is not None for entry in entries)
    return state in ("live", "dead") or copied


def _marked(s: Concrete, m: str, v: str) -> bool:
    entry = s.entry(m, v)
    if isinstance(entry, MigrationEntry):
        return s.remembers and entry.kind != "readable"
    return isinstance(entry, SwapEntry) and entry.exclusive


def _raced(s: Concrete, c: str) -> bool:
    read = s.stand(c).sequence
    return read is not None and s.cell(read[0], "write_protect_seq") != read[1]


def _writable(s: Concrete, m: str, v: str) -> bool:
    entry = s.entry(m, v)
    if isinstance(entry, MigrationEntry):
        return entry.kind == "writable"
    return isinstance(entry, Pte) and entry.writable


def _trapped(s: Concrete, m: str, v: str) -> bool:
    entry = s.entry(m, v)
    return isinstance(entry, Pte | MigrationEntry) and entry.trap in NOTICING


def _mmap_lock(s: Concrete, c: str, m: str) -> Any:
    return s.stand(c).place.own.get(f"{m}.mmap_lock")


def _writer(s: Concrete, m: str) -> str | None:
    return next((c for c in s.names.cpus if _mmap_lock(s, c, m) == -1), None)


def _grabber(s: Concrete, r: str) -> str:
    # each client of a section takes the reference of its own
    return s.names.cpus[s.names.refs.index(r)]


def _role(name: str) -> Callable[[Concrete, str], Any]:
    return lambda s, c: s.stand(c).roles.get(name)


def _pmd(field: str) -> Callable[[Concrete, str], Any]:
    return lambda s, m: getattr(s.cell(m, "pmd"), field, None)


def _is_huge(s: Concrete, m: str) -> bool:
    return isinstance(s.cell(m, "pmd"), TransHugePmd)


def _invalid(s: Concrete, m: str) -> bool:
    pmd = s.cell(m, "pmd")
    return isinstance(pmd, TransHugePmd) and not pmd.present


def _detached(s: Concrete, m: str) -> bool:
    return isinstance(s.cell(m, "pmd"), DetachedTable)


def _zero(s: Concrete, m: str, v: str) -> bool:
    found = s.cell(m, f"pte[{v}]")
    return isinstance(found, Pte) and found.pfn == ZERO_PAGE


def _of_the_row(which: int) -> Callable[[Concrete, str], str | None]:
    """The first page of a page's row, or the one behind it."""

    def found(s: Concrete, p: str) -> str | None:
        pages, size = s.names.pages, len(s.names.vas)
        number = pages.index(p) // size * size + min(which, size - 1)
        return pages[number] if number < len(pages) else None

    return found


def _cell(field: str) -> Callable[[Concrete, str], Any]:
    return lambda s, record: s.cell(record, field)


def _kind(kind: type) -> Callable[[Concrete, str, str], bool]:
    return lambda s, m, v: isinstance(s.entry(m, v), kind)


def _has(field: str) -> Callable[[Concrete, str], bool]:
    return lambda s, record: s.cell(record, field) is not None


def _is(field: str, value: Any) -> Callable[[Concrete, str], bool]:
    return lambda s, record: bool(s.cell(record, field) == value)


TOLD_BY: dict[str, Callable[..., Any]] = {
    "mapped": _kind(Pte),
    "moving": _kind(MigrationEntry),
    "swapped": _kind(SwapEntry),
    "writable": _writable,
    "marked": _marked,
    "trapped": _trapped,
    "tracked": lambda s, m, v: s.cell(m, f"tracked[{v}]") != "",
    "touched": _touched,
    "undefined": lambda s, m, v: s.cell(m, f"expected[{v}]") is None,
    "dirty": _cell("dirty"),
    "swapbacked": _cell("swapbacked"),
    "live": _is("state", "live"),
    "unborn": _is("state", "unborn"),
    "ptl": _cell("ptl"),
    "write_locked": _is("mmap_lock", -1),
    "read_locked": lambda s, c, m: _mmap_lock(s, c, m) == 1,
    "odd": lambda s, m: s.cell(m, "write_protect_seq") % 2 == 1,
    "asked": _cell("asked_gup"),
    "exclusive": _cell("anon_exclusive"),
    "free": _is("refcount", 0),
    "ksm": _cell("ksm"),
    "locked": _cell("locked"),
    "cached": _has("swap"),
    "writeback": _cell("writeback"),
    "has_folio": _has("folio"),
    "pending": _is("state", "pending"),
    "returned": _is("state", "live"),
    "anonymous": lambda s, r: s.cell(r, "pfn") in s.names.pages,
    "protected": _cell("protected"),
    "may_write": _cell("write"),
    "pin": _cell("pin"),
    "holds": lambda s, c: s.cell(c, "hold") is not None,
    "prepares": lambda s, c: s.cell(c, "target") is not None,
    "raced": _raced,
    "large": _has("head"),
    "entire": lambda s, p: s.cell(p, "entire_mapcount") > 0,
    "huge": _is_huge,
    "huge_writable": _pmd("writable"),
    "invalid": _invalid,
    "detached": _detached,
    "zero": _zero,
    "at_large": _role("at_large"),
    "at_writable": _role("at_writable"),
    "at_trapped": _role("at_trapped"),
}
"""Fields that are true or false."""

READ_FROM: dict[str, Callable[..., Any]] = {
    "page": lambda s, m, v: getattr(s.entry(m, v), "pfn", None),
    "slot": lambda s, m, v: getattr(s.entry(m, v), "slot", None),
    "ptl_by": lambda s, m: s.owner(f"{m}.ptl"),
    "write_locked_by": _writer,
    "locked_by": lambda s, p: s.owner(f"{p}.locked"),
    "value": _contents("value"),
    "stored": _contents("value"),
    "expected": _expected,
    "written_by": _written_by,
    "cached_in": _cell("swap"),
    "folio": _cell("folio"),
    "by": _grabber,
    "of": lambda s, r: s.cell(r, "pfn") if s.anonymous(r) else None,
    "taken_for": _cell("mm"),
    "taken_at": _cell("va"),
    "row": _of_the_row(0),
    "tail": _of_the_row(1),
    "huge_page": _pmd("pfn"),
    "held": _cell("hold"),
    "target": _cell("target"),
    **{
        role: _role(role)
        for role in (
            *("at_process", "at_child", "at_slot", "at_address"),
            *("at_new_address", "at_page", "at_reference", "at_contents"),
            *("at_lock", "at_first", "at_second"),
        )
    },
}
"""Fields whose values are things."""


class Explored:
    """A section, judged by sentences of the proof.

    Args:
        section: what is explored.
        program: of the section; its own properties are left out.
        proof: whose assertions say where CPUs stand.
        like: a state of the proof; what the model promises is the same, and what the
            proof is about.
    """

    def __init__(
        self, section: Section, program: Program, proof: Proof, like: Symbolic
    ) -> None:
        self.standings = Standings(
            program, section.names, proof.every_assertion, like.scope
        )
        self.promises = like.promises
        self.program = replace(program, states=[], steps=[], witnesses={}, name="")

    def view(self, cells: Cells) -> Concrete:
        """A state in the terms of the proof."""
        return Concrete(cells, self.standings, self.promises)

    def property(self, id: str, holds: Callable[[Concrete], bool]) -> StateProperty:
        """A sentence of the proof as a property that the checker judges."""
        return StateProperty(id, lambda cells: holds(self.view(cells)))

    def clause(self, clause: Clause) -> StateProperty:
        """A clause of the invariant as a property."""
        return self.property(clause.name, lambda s: all(instances(clause, s)))

    def exploration(
        self,
        states: list[StateProperty],
        steps: Sequence[StepProperty] = (),
        **how: Any,
    ) -> Exploration:
        """An exploration that judges these properties."""
        made = Exploration(replace(self.program, states=states, steps=steps), **how)
        self.standings.exploration = made
        return made


def instances(clause: Clause, s: Concrete) -> Iterator[bool]:
    """Whether a clause holds of each choice of things."""
    letters = [name[0] for name in clause.variables]
    for chosen in itertools.product(*(s.things(letter) for letter in letters)):
        yield bool(clause.holds(s, *chosen))


def count(s: Concrete, kinds: tuple[Kind, ...], thing: str) -> int:
    """How many hold a thing, by the words of the proof."""
    return sum(
        bool(holds(s, thing, *chosen))
        for sorts, holds in kinds
        for chosen in itertools.product(*(s.things(letter) for letter in sorts))
    )
