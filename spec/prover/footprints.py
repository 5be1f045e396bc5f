"""Every footprint of an atomic step, in whatever state it is taken.

The checker runs a step once for each footprint that it meets. Here a step is run for
each footprint that there could be: whenever it reads a cell, every value that the cell
can have is tried. Names stand for anything: the process ``A``, the page ``p1``. What a
step does to them it does to all that are in the same situation, however many exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

from spec.cells import Cells
from spec.checker.program import rest
from spec.checker.steps import DONE, History, Location, Outcome, Source, Stepper
from spec.decisions import Model
from spec.memory import Machine, Names, Pte, Steps
from spec.migration_entry import MigrationEntry
from spec.prover import folios
from spec.prover.domains import (
    CONTENTS,
    HINT,
    NOTICING,
    contents,
    entry_values,
    name_of,
    values,
)
from spec.prover.scopes import BASE, Scope

Known = Mapping[str, Any]
OVER = -1
"""The place at which no operation runs."""
ANY_REFERENCE, ANY_PROCESS, ANY_SLOT = "rx", "mx", "sx"
"""Names that stand for every other reference, for the process of every other address,
and for the slot that the entry there names."""
ANY = (ANY_REFERENCE, ANY_PROCESS, ANY_SLOT)
CANNOT_HAPPEN = "cannot happen"
"""What a step breaks that the operation has no answer for."""
NO_OUTCOME = (KeyError, ValueError, AssertionError, NotImplementedError)
"""What an operation raises that has no answer."""
FEW_TRAPS = (NOTICING[0], HINT)
"""For operations that do not tell apart who has to notice a write."""
KINDS = ("mms", "vas", "pages", "refs", "slots")
NAMING = ("pte", "refcount", "pfn", "folio", "pmd", "head", "mapcount")
"""Cells whose values depend on which names were mentioned."""


class _Ask(Exception):
    """The step looks at a flag that it has read, and nothing is known of it."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class _Excluded(Exception):
    """The step reads a cell that can hold nothing, given what is known."""


@dataclass(frozen=True)
class Unasked:
    """A flag that was read and not looked at: it may be copied, whatever it is.

    Attributes:
        key: the cell.
    """

    key: str

    def __bool__(self) -> bool:
        """Looked at, it has to be one or the other.

        Raises:
            _Ask: the flag is not known.
        """
        raise _Ask(self.key)


COPIED = ("dirty", "swapbacked", "ksm")
"""Flags that migration copies."""


@dataclass(frozen=True)
class Operation:
    """An operation, and what exists while it is looked at.

    Attributes:
        name: for people.
        begin: makes the operation, of a machine.
        names: what exists; further processes, pages and so on stand for all others.
        given: cells that are known when it begins.
        acting: the process that calls it, if one does.
        traps: those that a PTE can have; one of those that are the same to it.
        scope: what exists in the states in which it is looked at.
    """

    name: str
    begin: Callable[[Machine], Steps]
    names: Names
    given: Known = field(default_factory=dict)
    acting: str = "A"
    traps: tuple[str, ...] = FEW_TRAPS
    scope: Scope = BASE

    @cached_property
    def all_names(self) -> frozenset[str]:
        """Everything that has a name."""
        return frozenset(n for kind in KINDS for n in getattr(self.names, kind))


@dataclass(frozen=True)
class Place:
    """Where an operation can stand, up to names.

    Attributes:
        number: for reference.
        functions: the suspended functions, outermost first; none at the beginning.
        operands: the names that it knows, in a fixed order.
        own: cells that nobody else changes while it stands here: its locks, its
            temporary references, its pending reference.
        location: of the program, with the names.
        history: how to get there.
        operation: whose place it is.
    """

    number: int
    functions: tuple[str, ...]
    operands: tuple[str, ...]
    own: dict[str, Any]
    location: Location
    history: History
    operation: Operation

    @property
    def scope(self) -> Scope:
        """What exists in the states in which the operation is looked at."""
        return self.operation.scope

    @cached_property
    def frames(self) -> tuple[tuple[str, int, dict[str, Any]], ...]:
        """Function, position and live local variables of each frame, innermost first.

        The outermost one is the thread that runs the operation, and is left out.
        """
        parts: Any = self.location
        return tuple(
            (qualname, lasti, dict(variables))
            for qualname, lasti, variables in reversed(parts[1:])
        )

    @property
    def remembered(self) -> frozenset[int]:
        """The contents that the operation has copied."""
        parts: Any = self.location
        copied = (dict(variables).get("contents") for *_, variables in parts[1:])
        return frozenset(value for value in copied if value is not None)


@dataclass(frozen=True)
class Command:
    """One footprint of an atomic step and what the step then does.

    Attributes:
        source, target: numbers of places.
        reads, writes: cells with values.
        bound: the names that the operands of the target stand for.
        functions: that the step passed through.
        raised: the guarantee that it breaks at once, if any.
    """

    source: int
    target: int
    reads: dict[str, Any]
    writes: dict[str, Any]
    bound: tuple[str, ...]
    functions: tuple[str, ...]
    raised: tuple[str, ...]


class Footprints:
    """All footprints of operations, place by place.

    Args:
        model: who answers the decisions.
        without: ids of rules that are not obeyed.

    Attributes:
        places: where operations can stand.
        commands: what they can do there.
        remembers: whether entries remember the bit on this model.
    """

    def __init__(self, model: Model, without: frozenset[str] = frozenset()) -> None:
        self.model, self.without = model, without | model.without
        self.places: list[Place] = []
        self.commands: list[Command] = []
        self.remembers = model.entry_remembers(Machine(Names(), model).pages["p1"])
        self._numbers: dict[Any, int] = {}
        self._found: dict[Any, tuple[int, tuple[str, ...]]] = {}

    def add(self, operation: Operation) -> None:
        """Learn all footprints of `operation`."""
        stepper = Stepper(self._thread(operation))
        start = stepper.start()
        todo = len(self.places)
        self._place(operation, start, dict(operation.given))
        while todo < len(self.places):
            self._explore(stepper, self.places[todo])
            todo += 1

    def _thread(self, operation: Operation) -> Callable[[Cells], Steps]:
        machines: dict[int, Machine] = {}

        # what the generator can see counts as known where it stands: nothing but steps
        def begin(cells: Cells) -> Steps:
            # a machine is made of handles to the cells, which all runs have in common
            if id(cells) not in machines:
                model, without = self.model, self.without
                made = Machine(operation.names, model, cells, "cpu0", without)
                machines[id(cells)] = made
            return operation.begin(machines[id(cells)])

        def thread(cells: Cells) -> Steps:
            steps = begin(cells)
            yield rest
            yield from steps

        return thread

    def _place(
        self, operation: Operation, outcome: Outcome, own: dict[str, Any]
    ) -> tuple[int, tuple[str, ...]]:
        """The number of a place, and what its operands are called this time."""
        if outcome.location == DONE:
            return OVER, ()
        found = (operation.name, outcome.location, tuple(own.items()))
        if found not in self._found:
            self._found[found] = self._placed(operation, outcome, own)
        return self._found[found]

    def _placed(
        self, operation: Operation, outcome: Outcome, own: dict[str, Any]
    ) -> tuple[int, tuple[str, ...]]:
        """The same of a location that is met for the first time with these names."""
        known = operation.all_names
        seen = (outcome.location, *sorted(own.items()), *map(owner, own))
        operands = tuple(dict.fromkeys(names_in(seen, known)))
        renamed = canonical(operands, operation.names, operation.scope)
        cells = sorted((rename_key(k, renamed), rename(own[k], renamed)) for k in own)
        key = (operation.name, rename(outcome.location, renamed), tuple(cells))
        if key not in self._numbers:
            self._numbers[key] = number = len(self.places)
            functions, history = outcome.functions, outcome.history
            self.places.append(
                Place(
                    number,
                    functions,
                    operands,
                    own,
                    outcome.location,
                    history,
                    operation,
                )
            )
        return self._numbers[key], operands

    def _explore(self, stepper: Stepper, place: Place) -> None:
        """Try every value of every cell that the steps from a place read."""
        own = {key: place.own[key] for key in place.own if not key.endswith(".head")}
        pending: list[dict[str, Any]] = [own]
        while pending:
            known = pending.pop()
            try:
                found = list(
                    stepper.outcomes(place.history, self._source(place, known, pending))
                )
            except _Ask as ask:
                pending += self._answers(place, known, ask.key)
            except _Excluded:
                continue
            except NO_OUTCOME:
                self._cannot_happen(place, known)
            else:
                for reads, outcome in found:
                    self._learn(place, reads, outcome)

    def _source(
        self, place: Place, known: dict[str, Any], pending: list[dict[str, Any]]
    ) -> Source:
        """What a step reads: of a cell that is not known one value that it can have.

        Args:
            place: where the operation stands.
            known: cells that are known; what is read is added.
            pending: gets the same with each other value, to be tried later.
        """

        def source(key: str) -> Any:
            if key in known:
                return known[key]
            name = split(key)[1]
            if name in place.scope.fixed:
                return place.scope.fixed[name]
            if name in COPIED:
                return Unasked(key)
            answers = list(self._answers(place, known, key))
            if not answers:
                raise _Excluded
            known[key] = answers.pop()[key]
            pending.extend(answers)
            return known[key]

        return source

    def _answers(
        self, place: Place, known: dict[str, Any], key: str
    ) -> Iterator[dict[str, Any]]:
        """What may be known once a cell has been read."""
        names = place.operation.names
        record, name, _ = split(key)
        seen = self._seen(place, known, record) if name in NAMING else set()
        of_folios = None
        if place.scope.has_folios:
            of_folios = folios.values(
                key, known, seen, names, walk(place), remembers=self.remembers
            )
        if of_folios is not None:
            found = of_folios
        elif name == "pte":
            here = replace(names, slots=slots_of(record, names))
            traps = place.operation.traps
            found = entry_values(seen, here, self.remembers, traps)
        elif name in CONTENTS:
            found = contents(record, name, known, place.remembered)
        else:
            found = values(key, known, seen, names)
        for value in found:
            now = known | {key: value}
            if name == "write_protect_seq" and value:
                yield from self._counted_on(place, now, value)
            elif name == "head" and moved(record, value, place):
                self._cannot_happen(place, now)
            else:
                yield now

    def _seen(self, place: Place, known: Known, record: str) -> set[str]:
        """The names that were mentioned before a cell of a record is read."""
        names = place.operation.all_names
        seen = {*place.operands}
        for key, value in known.items():
            of, name, _ = split(key)
            if record not in ANY and of in ANY:
                continue
            # whoever looks for a free row goes over all pages and means none of them
            means = not place.scope.has_folios or name not in ("refcount", "head")
            mentioned = (*([of] * means), name_of(value))
            seen.update(each for each in mentioned if each in names)
        return seen

    def _counted_on(
        self, place: Place, now: dict[str, Any], value: int
    ) -> Iterator[dict[str, Any]]:
        """A sequence count that is odd, or has changed since it was read."""
        if "gup_fast" in place.functions:
            yield now
        elif value == 1 and place.operation.name == "fork":
            self._cannot_happen(place, now)
        elif value == 1:
            yield now

    def _cannot_happen(self, place: Place, known: dict[str, Any]) -> None:
        """The step has no outcome here: that this is not reached has to be proved."""
        raised = (CANNOT_HAPPEN,)
        self.commands.append(
            Command(place.number, OVER, known, {}, (), place.functions, raised)
        )

    def _learn(self, place: Place, reads: dict[str, Any], outcome: Outcome) -> None:
        own = owned(place.own, reads, outcome.writes, place.scope)
        target, bound = self._place(place.operation, outcome, own)
        self.commands.append(
            Command(
                place.number,
                target,
                reads,
                outcome.writes,
                bound,
                outcome.functions,
                outcome.raised,
            )
        )


# -- names -----------------------------------------------------------------------------


@cache
def split(key: str) -> tuple[str, str, str]:
    """Record, field and address of a cell.

    >>> split("A.pte[x]")
    ('A', 'pte', 'x')
    """
    record, _, name = key.partition(".")
    name, _, va = name.partition("[")
    return record, name, va.rstrip("]")


@cache
def owner(key: str) -> str:
    """The record that a cell belongs to.

    >>> owner("p1.refcount")
    'p1'
    """
    return key.partition(".")[0]


def slots_of(record: str, names: Names) -> tuple[str, ...]:
    """The slots that an entry of a process can name."""
    here = record == ANY_PROCESS
    return tuple(slot for slot in names.slots if (slot == ANY_SLOT) == here)


def names_in(value: Any, known: frozenset[str]) -> Iterator[str]:
    """The names that a value mentions, in order."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from names_in(item, known)
    elif name_of(value) in known:
        yield name_of(value)


def canonical(
    operands: tuple[str, ...], names: Names, scope: Scope = BASE
) -> dict[str, str]:
    """New names, by order of appearance within their kind.

    Of large folios the parts are told apart, and the addresses where they are mapped.

    >>> canonical(("B", "p3"), Names())
    {'B': '<mms0>', 'p3': '<pages0>'}
    """
    made: dict[str, str] = {}
    for kind in KINDS:
        mine = [name for name in operands if name in getattr(names, kind)]
        if scope.has_folios and kind == "pages":
            rows = list(dict.fromkeys(map(scope.pair, mine)))
            for name in mine:
                row = scope.pair(name)
                made[name] = f"<{kind}{rows.index(row)}.{row.index(name)}>"
        elif not scope.has_folios or kind != "vas":
            made |= {name: f"<{kind}{i}>" for i, name in enumerate(mine)}
    return made


def rename(value: Any, names: Mapping[str, str]) -> Any:
    """A location with other names."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, tuple):
        return tuple(rename(item, names) for item in value)
    return value


def rename_key(key: str, names: Mapping[str, str]) -> str:
    """A cell with another name."""
    record, dot, field_ = key.partition(".")
    return names.get(record, record) + dot + field_


def walk(place: Place) -> type | None:
    """What an operation looks for that goes over all processes.

    Who unmaps a folio passes by all but PTEs, who maps it again all but the entries.
    """
    if place.operation.acting:
        return None
    again = "unmap_and_split" in place.functions
    return MigrationEntry if again and "try_to_migrate" not in place.functions else Pte


def moved(page: str, head: str | None, place: Place) -> bool:
    """Whether a page is said to have another head than it had when it was locked."""
    row = [f"{part}.head" for part in place.scope.pair(page)]
    known = [place.own[key] for key in row if key in place.own]
    return bool(known) and known[0] != head


# -- what nobody else changes ----------------------------------------------------------

PENDING = ("state", "pfn", "mm", "write", "pin")
"""Cells of a reference that only the CPU changes that is taking it."""


def owned(
    own: Known, reads: Known, writes: Known, scope: Scope = BASE
) -> dict[str, Any]:
    """Which cells nobody else changes after a step, and what they hold.

    Nobody else makes a folio of pages of which one is locked, nor cuts it apart. That
    is assumed of no step: where another head is read, it has to be proved impossible.
    """
    after = {key: value for key, value in own.items() if ".pte[" not in key}
    for key, value in writes.items():
        record, _, name = key.partition(".")
        if name in ("hold", "target", "ptl", "locked"):
            keep = bool(value)
        elif name == "write_protect_seq":
            keep = value % 2 == 1
        elif name == "mmap_lock":
            before = reads.get(key, own.get(key, 0))
            # in one step a lock that is shared may be let go and taken again
            keep = value == -1 or value > max(before, 0) - (own.get(key) == 1)
            value = min(value, 1)
        elif record == "r1" and name in PENDING:
            keep = writes.get("r1.state", "pending") == "pending"
        else:
            continue
        if keep:
            after[key] = value
        else:
            after.pop(key, None)
    return _with_heads(after, {**own, **reads, **writes}, scope)


def _with_heads(own: dict[str, Any], known: Known, scope: Scope) -> dict[str, Any]:
    """The same with the heads of pages that share a row with one that is locked."""
    locked = {scope.pair(owner(key)) for key in own if key.endswith(".locked")}
    heads = {
        key: value
        for key, value in known.items()
        if key.endswith(".head") and scope.pair(owner(key)) in locked
    }
    others = {key: value for key, value in own.items() if not key.endswith(".head")}
    return others | heads if scope.has_folios else own
