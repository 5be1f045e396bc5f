"""The verdict on what a kernel showed, in the classes of the litmus tests.

It is found in the observation alone: who maps which page when somebody writes, which
page an address has while a reference is held, what is read at the end. Of the model
only its promise is used: which references it protects. So a verdict that is the same
as the one of the matrix says that the kernel has the bug, not that the model has.

A line that is not observed (see `Run`) shows nothing of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from spec.decisions import Foll, Model
from spec.kernel.observe import Mapped, Observation, Run
from spec.litmus.program import (
    VERDICTS,
    And,
    Comparison,
    Condition,
    Copies,
    Fact,
    Formula,
    Not,
    Number,
    Operation,
    Or,
    Place,
    Same,
    Term,
    Test,
    ValueOf,
    Void,
)
from spec.litmus.run import COMPARE
from spec.memory import Machine, Names, Reference

NOT_SEEN = "not to be seen"
"""A condition speaks of something that this kernel does not show."""
WRITES = ("write", "force-write")
REPLACES = (*WRITES, "read", "gup")
"""Words after which another page at an address is a copy."""
UNMAPS = ("munmap", "madvise dontneed", "mremap", "uffdio-move", "exit")


@dataclass
class Watched:
    """A reference that is held.

    Attributes:
        owner: the process for which it was taken.
        address: where.
        foll: its flags.
        protected: whether the model promises that the address keeps the page.
    """

    owner: str
    address: str
    foll: Foll
    protected: bool


@dataclass
class Seen:
    """What an observation comes to, line by line.

    Attributes:
        wrongs: classes of what went wrong.
        copies: how many pages were copied.
        held: the references that are held.
        reads: what each reference read when it was last looked at.
        failed: the references that GUP did not give.
    """

    wrongs: set[str] = field(default_factory=set)
    copies: int = 0
    held: dict[str, Watched] = field(default_factory=dict)
    reads: dict[str, int | None] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


def verdict(test: Test, run: Run, model: Model) -> str:
    """The class of what was shown, one of `VERDICTS`, or `NOT_SEEN`.

    Args:
        test: with its conditions.
        run: an observation of it.
        model: the one whose promises are asked for.
    """
    seen = watch(test, run, model)
    if seen.wrongs:
        return max(seen.wrongs, key=VERDICTS.index)
    met = {c: _meets(c, test, run, seen, seen.copies) for c in test.conditions}
    if failed := [condition for condition, is_met in met.items() if is_met is False]:
        costs = _cost(failed, test, run, seen)
        return "unnecessary-copy" if costs else "not-guaranteed"
    return NOT_SEEN if None in met.values() else "fine"


def watch(test: Test, run: Run, model: Model) -> Seen:
    """Follow an observation."""
    seen = Seen()
    before: Observation | None = None
    for operation, line in zip(test.operations, run.lines, strict=True):
        if line is None:
            continue
        _follow_references(seen, operation, line, model)
        _note_wrongs(seen, operation, line, before)
        if before is not None:
            seen.copies += _copies(operation, before, line)
        seen.reads |= {name: held.value for name, held in line.held}
        before = line
    return seen


# -- references ------------------------------------------------------------------------


def _follow_references(
    seen: Seen, operation: Operation, line: Observation, model: Model
) -> None:
    word, actor = operation.word, operation.actor
    if operation.foll is not None:
        _take(seen, operation, line, model)
    elif word == "put":
        seen.held.pop(actor, None)
    for each in seen.held.values():
        if each.owner != actor:
            continue
        if word == "fork" and _is_shared(each, operation, line):
            each.protected &= model.protects_across_fork(as_reference(each.foll))
        if word in UNMAPS and operation.address in (None, each.address):
            each.protected = False


def as_reference(foll: Foll) -> Reference:
    """A reference that was taken with these flags, to ask a model about."""
    ref = Machine(Names(refs=("r",))).refs["r"]
    ref.pin, ref.write, ref.longterm = foll.pin, foll.write, foll.longterm
    return ref


def _is_shared(each: Watched, operation: Operation, line: Observation) -> bool:
    """Whether fork gave the child what the address of a reference has."""
    mapped = dict(line.mapped)
    own = mapped[each.owner, each.address]
    return own == mapped[str(operation.child), each.address]


def _take(seen: Seen, operation: Operation, line: Observation, model: Model) -> None:
    name, foll = str(operation.reference), operation.foll
    assert foll is not None
    if line.failed:
        seen.failed.add(name)
        return
    at = (operation.actor, str(operation.address))
    is_zero = dict(line.mapped)[at].kind == "zero"
    protected = model.protects(foll) and not (
        is_zero and not model.unshares_zeropage(foll)
    )
    seen.held[name] = Watched(*at, foll, protected)


# -- what goes wrong -------------------------------------------------------------------


def _note_wrongs(
    seen: Seen, operation: Operation, line: Observation, before: Observation | None
) -> None:
    written = _written(seen, operation, line, before)
    if written is not None and _others(seen, *written, line):
        seen.wrongs.add("missed-cow")
    if any(_is_replaced(seen, line)):
        seen.wrongs.add("wrong-cow")


def _written(
    seen: Seen, operation: Operation, line: Observation, before: Observation | None
) -> tuple[str, int] | None:
    """Process and page, where one is written to."""
    if operation.word not in WRITES or line.failed:
        return None
    if operation.by_reference:
        by, held = seen.held.get(operation.actor), dict(before.held if before else ())
        if by is None or not by.protected or operation.actor not in held:
            return None
        return by.owner, held[operation.actor].page
    mapped = dict(line.mapped)[operation.actor, str(operation.address)]
    return operation.actor, mapped.page


def _others(seen: Seen, process: str, page: int, line: Observation) -> bool:
    """Whether another process maps the page, or a reference of it leads there."""
    mapping = {mm for (mm, _), mapped in line.mapped if mapped.page == page}
    holding = {
        seen.held[name].owner
        for name, held in line.held
        if name in seen.held and held.page == page
    }
    return page > 0 and bool((mapping | holding) - {process})


def _is_replaced(seen: Seen, line: Observation) -> Iterator[bool]:
    """For each protected reference, whether its address has another page."""
    mapped = dict(line.mapped)
    for name, held in line.held:
        each = seen.held.get(name)
        if each is None or not each.protected:
            continue
        there = mapped.get((each.owner, each.address), Mapped("none"))
        if there.kind in ("page", "zero"):
            yield (there.kind, there.page) != (held.kind, held.page)


def _copies(operation: Operation, before: Observation, line: Observation) -> int:
    """How many pages this line copied."""
    old, new = dict(before.mapped), dict(line.mapped)
    if operation.word == "fork":
        pairs = [
            (old.get((operation.actor, va)), mapped)
            for (mm, va), mapped in line.mapped
            if mm == operation.child
        ]
    elif operation.word in REPLACES and not operation.by_reference:
        pairs = [(old.get(at), mapped) for at, mapped in new.items()]
    else:
        return 0
    return sum(
        was is not None and {was.kind, now.kind} == {"page"} and was.page != now.page
        for was, now in pairs
    )


# -- conditions ------------------------------------------------------------------------


def _cost(failed: list[Condition], test: Test, run: Run, seen: Seen) -> bool:
    """Whether fewer copies would have met every condition that failed."""
    return all(
        any(_meets(c, test, run, seen, copies) for copies in range(seen.copies))
        for c in failed
    )


def _meets(
    condition: Condition, test: Test, run: Run, seen: Seen, copies: int
) -> bool | None:
    """Whether the end is one that the condition allows; ``None``: not to be seen."""
    holds = _End(test, run, seen, copies).holds(condition.formula)
    return None if holds is None else holds == (condition.word == "require")


@dataclass(frozen=True)
class _End:
    """The end of an observation, to evaluate formulas on; ``None``: not to be seen."""

    test: Test
    run: Run
    seen: Seen
    copies: int

    def holds(self, formula: Formula) -> bool | None:
        """Whether the formula is true."""
        match formula:
            case Comparison(left, operator, right):
                terms = [self._term(term) for term in (left, right)]
                if "unknown" in terms:
                    return None
                return None not in terms and bool(COMPARE[operator](*terms))
            case Same(left, right):
                one, other = self._page(left), self._page(right)
                return one is not None and one == other
            case Fact(word, place):
                return self._is(word, place)
            case Void(reference):
                return reference not in self.seen.held
            case Not(part):
                found = self.holds(part)
                return None if found is None else not found
            case And(parts):
                return _all([self.holds(part) for part in parts])
            case Or(parts):
                found = _all([_not(self.holds(part)) for part in parts])
                return _not(found)

    def _term(self, term: Term) -> int | str | None:
        match term:
            case Number(value):
                return value
            case Copies():
                return self.copies
            case ValueOf(name, is_reference):
                return self._reference(name) if is_reference else self._read(name)

    def _reference(self, name: str) -> int | str | None:
        if name in self.seen.failed:
            return None
        found = self.seen.reads.get(name)
        return "unknown" if found is None else found

    def _read(self, name: str) -> int | str | None:
        for operation, line in zip(self.test.operations, self.run.lines, strict=True):
            if operation.result == name:
                return "unknown" if line is None else line.answer
        return None

    def _mapped(self, place: Place) -> Mapped:
        last = next(line for line in reversed(self.run.lines) if line is not None)
        return dict(last.mapped).get((place.name, place.address), Mapped("none"))

    def _page(self, place: Place) -> tuple[str, int] | None:
        last = next(line for line in reversed(self.run.lines) if line is not None)
        if place.is_reference:
            held = dict(last.held).get(place.name)
            return None if held is None else (held.kind, held.page)
        mapped = self._mapped(place)
        return (mapped.kind, mapped.page) if mapped.kind in ("page", "zero") else None

    def _is(self, word: str, place: Place) -> bool | None:
        page = self._mapped(place)
        if word == "exclusive":
            return page.exclusive if page.kind == "page" else False
        return page.huge if word == "huge" else page.kind == "swap"


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _all(values: list[bool | None]) -> bool | None:
    if False in values:
        return False
    return None if None in values else True
