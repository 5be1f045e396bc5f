"""What upstream does not promise: the sketch's promises, on upstream's operations.

A proof that fails shows little: perhaps the invariant is too weak. So the same question
is put twice to operations that have not changed. The solver refutes the clause, and the
checker reaches a state in which a guarantee does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from spec.bounds import CORE, SHOWN_BY, SMALL, program
from spec.checker.explore import explore
from spec.checker.program import Verdict, Violation
from spec.clients import Section, section
from spec.decisions import Foll, Model
from spec.memory import Reference
from spec.models import Upstream, governs
from spec.prover.counterexample import Counterexample, example
from spec.prover.proving import PROVED, WRITTEN_FOR, Attempt
from spec.releases import find_model
from spec.rules import Rule, load

ALL_STATES = 10_000_000
"""Explorations go on past violations: none here has so many states."""
EFFORT = 2_000_000
"""z3's `rlimit`: enough where a step keeps the invariant; else an example is sought."""


# -- a promise more --------------------------------------------------------------------


class AcrossFork(Upstream):
    """Upstream, if it promised that no reference loses its page to fork."""

    def protects_across_fork(self, ref: Reference) -> bool:
        """every reference"""
        return True


class ToReaders(Upstream):
    """Upstream, if it promised something to FOLL_GET references that only read."""

    def protects(self, foll: Foll) -> bool:
        """every reference"""
        return True


class AsTheSketch(AcrossFork, ToReaders):
    """Upstream, if it promised what the sketch does."""

    family = "sketch"


@dataclass(frozen=True)
class More:
    """A promise that the sketch makes and upstream does not.

    Attributes:
        id: for links.
        says: the promise, in a sentence.
        makes: upstream with that promise; it decides as upstream does.
        lost_by: the operations whose steps lose it.
        why: which step it is, for a kernel developer.
    """

    id: str
    says: str
    makes: Callable[[], Model]
    lost_by: tuple[str, ...]
    why: str


MORE = (
    More(
        "get-across-fork",
        "A FOLL_GET reference for writing stays protected when its process forks.",
        AcrossFork,
        ("fork",),
        "`fork()` asks whether the page may be pinned, and a FOLL_GET reference is no "
        "pin: it clears the bit and shares the page. The next write of the parent "
        "copies the page away from the reference, and what the device writes until "
        "then the child reads.",
    ),
    More(
        "get-reader",
        "A FOLL_GET reference that only reads is protected.",
        ToReaders,
        ("gup ro get slow",),
        "GUP returns a page that is mapped read-only and looks at the bit for pins "
        "only. If the page is shared, the next write of the process goes elsewhere.",
    ),
)
WHERE = section(
    ("A", "fork; write; read"),
    ("A", "gup ro get; gup rw get; device write 2; put"),
    starts=("write 1",),
    processes=2,
)
"""Two threads of one process: one asks GUP, the other forks and writes."""


@dataclass(frozen=True)
class Shown:
    """That a promise is not kept.

    Attributes:
        id: of the promise.
        refuted: obligations by name, each with a smallest counterexample.
        states: how many the exploration has; it was complete.
        reached: the guarantees that break, each with the shortest way there.
    """

    id: str
    refuted: tuple[tuple[str, Counterexample], ...]
    states: int
    reached: tuple[Violation, ...]


def shown(more: More) -> Shown:
    """Ask the solver and the checker whether upstream keeps a promise."""
    model = more.makes()
    verdict = explored(WHERE, model)
    found = tuple(refuted(Attempt(model, only=more.lost_by)))
    return Shown(more.id, found, verdict.states, shortest(verdict.violations))


def refuted(attempt: Attempt) -> Iterator[tuple[str, Counterexample]]:
    """The obligations with a small counterexample, by name; one for each."""
    prover = attempt.prover()
    prover.full.set("rlimit", EFFORT)
    found: set[str] = set()
    for step in attempt.steps:
        name = attempt.obligation(step).name
        # what is promised is that owners are alone, whatever the contents
        if (
            step.contents
            or name in found
            or prover.check(step, attempt.places).found == PROVED
        ):
            continue
        small = example(step, attempt.places, prover)
        if small is not None:
            found.add(name)
            yield name, small


def explored(where: Section, model: Model) -> Verdict:
    """All states of a section, and the shortest way to break each property."""
    verdict = explore(program(where, model), beyond=ALL_STATES)
    assert verdict.complete, "no section is so large"
    return verdict


def shortest(violations: Iterable[Violation]) -> tuple[Violation, ...]:
    """The shortest of each property, in the order of their lengths."""
    best: dict[str, Violation] = {}
    for each in violations:
        known = best.setdefault(each.property, each)
        if each.depth < known.depth:
            best[each.property] = each
    return tuple(sorted(best.values(), key=lambda each: each.depth))


# -- rule by rule ----------------------------------------------------------------------


def unpromised() -> list[Rule]:
    """The duties and guarantees of the sketch that upstream's list does not have."""
    sketch, upstream = (find_model(name) for name in WRITTEN_FOR)
    return [
        rule
        for rule in load().values()
        if governs(rule, sketch) and not governs(rule, upstream)
        if rule.modal.startswith("MUST") or rule.topic == "INV"
    ]


@dataclass(frozen=True)
class Reached:
    """Whether upstream's operations take a step that a rule of the sketch forbids.

    Attributes:
        rule: the id.
        states: how many were visited; all of the sections.
        way: the shortest way to such a step; none if there is none.
    """

    rule: str
    states: int
    way: Violation | None


def sections(rule: Rule) -> tuple[Section, ...]:
    """Where to look for a step that breaks a rule: the sections about its topic."""
    return tuple(
        each
        for each in SHOWN_BY.get(rule.topic, (*SMALL, *CORE))
        if isinstance(each, Section)
    )


def reached() -> Iterator[Reached]:
    """For each rule of the sketch that upstream does not promise, a way to break it.

    The exploration of a topic ends with the first section that breaks its rule.
    """
    model = AsTheSketch()
    known: dict[Section, Verdict] = {}
    for rule in unpromised():
        states, ways = 0, []
        for where in sections(rule):
            if where not in known:
                known[where] = explored(where, model)
            states += known[where].states
            ways += [w for w in known[where].violations if w.property == rule.id]
            if ways and rule.topic in SHOWN_BY:
                break
        yield Reached(rule.id, states, next(iter(shortest(ways)), None))
