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
from spec.cells import Cells
from spec.checker.judgement import View
from spec.checker.program import Program, Progress, StepProperty, Trace, Verdict
from spec.checker.replay import Player, moves
from spec.clients import Section
from spec.prover.assertions import Clause
from spec.prover.concrete import Concrete, Explored, instances
from spec.prover.counterexample import spot
from spec.prover.proving import Attempt, Obligation, written
from spec.prover.scopes import LARGE, scope_of
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
    scope = scope_of(shown.operation)
    proof = written(scope)
    like = Attempt(find_model(model), only=["put"], scope=scope).prover().before
    explored = Explored(section, whole, proof, like)
    clauses = [clause for clause in proof.assumed() if clause.name == wanted]
    states = [explored.clause(clause) for clause in clauses]
    states += [each for each in whole.states if each.id == wanted]
    steps = [replace(p, enforced=True) for p in whole.steps if p.id == wanted]
    clause = clauses[0] if clauses else None
    found = Reached(0, 1, True)
    for judged in (
        (states, steps),
        ([], [by_step(explored, c, shown) for c in clauses]),
    ):
        verdict = explored.exploration(*judged, report=limit).run()
        if verdict.interrupted and not limit.reached:
            raise KeyboardInterrupt
        again = _found(verdict, explored, whole, place, shown, clause)
        if found.run is None or again.same:
            found = again
        if found.same or found.run is None or not clauses:
            break
    return found


def by_step(explored: Explored, clause: Clause, shown: Obligation) -> StepProperty:
    """A step that begins where the counterexample's does, and breaks its clause.

    The moving CPU counts as if it still stood there: whether the clause is broken where
    it stands after the step is decided when the trace is there.
    """

    def holds(before: Cells, after: Cells, written: set[str]) -> bool:
        s = explored.view(before)
        spots = [_named(spot(s.stand(c).place)) for c in s.names.cpus]
        if shown.function and (shown.function, shown.before) not in spots:
            return True
        return not all(instances(clause, s)) or all(
            instances(clause, explored.view(after))
        )

    return StepProperty(clause.name, holds)


def _named(found: tuple[str, ...]) -> tuple[str, str]:
    """A spot as obligations name it."""
    return (found[0], found[1] or "returns") if found else ("", "begins")


def _found(
    verdict: Verdict,
    explored: Explored,
    whole: Program,
    place: Place,
    shown: Obligation,
    clause: Clause | None,
) -> Reached:
    """What an exploration says of the clause of a counterexample."""
    assert shown.example is not None, "there is something to look for"
    wanted = shown.example.clause
    for violation in verdict.violations:
        if violation.property == wanted:
            trace = violation.trace
            (function, before), after = ends(explored, trace)
            if shown.function:
                same = (function, before) == (shown.function, shown.before)
            else:
                same = begun(trace, shown)
            if clause is not None:
                same = same and not all(instances(clause, after))
            run = run_of(place, whole, trace)
            return Reached(verdict.states, 1, True, run, function, before, same)
    return Reached(verdict.states, 1, verdict.complete)


def begun(trace: Trace, shown: Obligation) -> bool:
    """Whether the last step is the first of the operation of an obligation.

    Another operation may have called it, as GUP-fast calls slow GUP.
    """
    assert shown.example is not None, "a counterexample is shown"
    last = trace.steps[-1]
    words = {answer[0] for _, answer in last.choices if isinstance(answer, tuple)}
    chain = shown.example.functions.split(" > ") if shown.example.functions else []
    called = bool(chain) and list(last.functions[-len(chain) :]) == chain
    name = shown.operation.removesuffix(f", {LARGE.name}").partition(" at ")[0]
    return name in words or called


def ends(explored: Explored, trace: Trace) -> tuple[tuple[str, str], Concrete]:
    """Where the CPU stood that took the last step of a trace, and the last state."""
    player = Player(explored.program, dict(trace.initial))
    *first, last = moves(trace)
    for move in first:
        player.take(move)
    standing = explored.standings.at(last.thread, player.stands()[last.thread])
    player.take(last)
    locations = {f"@{cpu}": location for cpu, location in player.stands().items()}
    cells = player.state | locations
    return _named(spot(standing.place)), explored.view(View(cells.__getitem__, {}))
