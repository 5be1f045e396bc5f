"""Is a counterexample to the proof ever reached? The bounded search says.

A counterexample is a state that satisfies the invariant; that some schedule leads to
it is not said. So the operations are explored without the rule, from the machine's
first state, and each state is judged by the clauses that the solver saw fail. What is
reported is the first explored state that breaks one, and whether the step that led
there is one that the solver names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from spec.bounds import program
from spec.checker.program import Progress, Trace
from spec.checker.replay import Player, moves
from spec.clients import Section
from spec.prover.assertions import frames
from spec.prover.concrete import Explored
from spec.prover.positions import next_statement
from spec.prover.proving import Attempt, Obligation
from spec.releases import find_model
from spec.removals import Place, Run, run_of


@dataclass(frozen=True)
class Reached:
    """What the search for counterexamples found.

    Attributes:
        states: how many states were explored.
        sections: in how many sections.
        complete: these are all that the sections have, or one was reached.
        run: how to get to the first one that breaks the clause; none if none does.
        function, before: where the CPU stood whose step broke it.
        same: there stands the CPU of the counterexample.
    """

    states: int
    sections: int
    complete: bool
    run: Run | None = None
    function: str = ""
    before: str = ""
    same: bool = False


class _Limit:
    """A report that ends an exploration which has become too large."""

    def __init__(self, most: int, report: Callable[[Progress], None]) -> None:
        self.most, self.report = most, report
        self.reached = False

    def __call__(self, progress: Progress) -> None:
        """Hand on, unless there are too many states: then interrupt."""
        self.report(progress)
        if progress.states > self.most:
            self.reached = True
            raise KeyboardInterrupt


def silent(progress: Progress) -> None:
    """Report nothing."""


def reach(
    model: str,
    removed: Iterable[str],
    shown: Obligation,
    places: Iterable[Place],
    most: int,
    report: Callable[[Progress], None] = silent,
) -> Reached:
    """Look for an explored state that breaks the clause of a counterexample.

    Args:
        model: whose operations are explored.
        removed: ids of rules that they do not obey.
        shown: the obligation, with its counterexample.
        places: the sections to explore, in this order, until one has such a state.
        most: a section in which there is none is left at so many states.
        report: called after each level.
    """
    ids = frozenset(removed)
    found = Reached(0, 0, True)
    for place in places:
        section = place.section
        if isinstance(section, Section):
            here = _search(place, section, model, ids, shown, _Limit(most, report))
            found = replace(
                here,
                states=found.states + here.states,
                sections=found.sections + 1,
                complete=found.complete and here.complete,
            )
            if found.run is not None:
                break
    return found


def _search(
    place: Place,
    section: Section,
    model: str,
    removed: frozenset[str],
    shown: Obligation,
    limit: _Limit,
) -> Reached:
    """The same in one section."""
    assert shown.example is not None, "there is something to look for"
    wanted = shown.example.clause
    whole = program(section, find_model(model), removed)
    prover = Attempt(find_model(model), only=["put"]).prover()
    explored = Explored(section, whole, prover.proof, prover.before)
    states = [explored.clause(c) for c in prover.clauses if c.name == wanted]
    states += [each for each in whole.states if each.id == wanted]
    steps = [replace(p, enforced=True) for p in whole.steps if p.id == wanted]
    verdict = explored.exploration(states, steps, report=limit).run()
    if verdict.interrupted and not limit.reached:
        raise KeyboardInterrupt
    for violation in verdict.violations:
        if violation.property == wanted:
            place_of = last_place(explored, violation.trace)
            run = run_of(place, whole, violation.trace)
            same = place_of == shown_place(shown)
            return Reached(verdict.states, 1, True, run, *place_of, same)
    return Reached(verdict.states, 1, verdict.complete)


def shown_place(shown: Obligation) -> tuple[str, str]:
    """Where the CPU of a counterexample stands, as `last_place` says it."""
    assert shown.example is not None, "a counterexample is shown"
    if shown.function:
        return shown.function, shown.before
    return shown.example.functions.partition(" > ")[0], "begins"


def last_place(explored: Explored, trace: Trace) -> tuple[str, str]:
    """Where the CPU stood that took the last step of a trace, and what came next."""
    player = Player(explored.program, dict(trace.initial))
    *first, last = moves(trace)
    for move in first:
        player.take(move)
    standing = explored.standings.at(last.thread, player.stands()[last.thread])
    parts = list(frames(standing.place))
    if not parts:
        return trace.steps[-1].functions[1], "begins"
    qualname, lasti, _ = parts[0]
    return qualname, next_statement(qualname, lasti) or "returns"
