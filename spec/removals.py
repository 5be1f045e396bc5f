"""Removed rules against guarantees: how far the absence of a violation was searched.

`ablation` ends at the first guarantee that breaks. Here the exploration goes on, in
every section that the removal can change: to its end if nothing breaks, else until a
stated number of states is stored. What is found is kept as a *schedule*: who moves,
and what each move chooses. A schedule is replayed whenever it is shown, so that a
trace is always that of the present code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations

from spec.ablation import Asked, checkable, sound_models, telling_sections
from spec.bounds import SHOWN_BY, find_bounds, program
from spec.cells import Cells, SpecificationError
from spec.checker.explore import Progress, explore
from spec.checker.program import Program, Thread, Trace, TraceStep, Violation
from spec.checker.replay import Diverged, Move, Player, moves, replay
from spec.clients import Section
from spec.decisions import sketch
from spec.memory import Steps
from spec.releases import find_model
from spec.rules import Rule, load
from spec.shapes import Shape

DEADLOCK = "deadlock"
"""The property that the checker judges by itself."""

Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Report nothing."""


# -- what is searched ------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Place:
    """A section of named bounds; `number` counts from 1, as on the page on bounds."""

    bounds: str
    number: int

    def __str__(self) -> str:
        return f"{self.bounds} {self.number}"

    @property
    def section(self) -> Section | Shape:
        """What is explored there."""
        return find_bounds(self.bounds).sections[self.number - 1]


def places(rule: Rule) -> list[Place]:
    """Where the removal of a rule is searched, in the order of `ablation`."""
    return [
        Place(bounds, find_bounds(bounds).sections.index(section) + 1)
        for bounds, section in telling_sections(rule)
    ]


@dataclass(frozen=True)
class Search:
    """One exploration without some rules.

    Attributes:
        place: the section.
        states: how many were stored.
        depth: violations up to this depth were found.
        complete: all states were stored, so that `depth` bounds nothing.
        took_effect: depth of the first step that breaks a removed rule, by rule.
    """

    place: Place
    states: int
    depth: int
    complete: bool
    took_effect: Mapping[str, int] = field(default_factory=dict)

    def covers(self, depth: int) -> bool:
        """Whether a violation of this depth would have been found."""
        return self.complete or depth <= self.depth


@dataclass(frozen=True)
class Run:
    """A way through a section: its initial state, by number, and the schedule."""

    place: Place
    start: int
    schedule: tuple[Move, ...]

    @property
    def depth(self) -> int:
        """The number of steps."""
        return len(self.schedule)


def without(place: Place, model: str, removed: Iterable[str]) -> Program:
    """The program of a section without some rules; those alone are watched."""
    ids = frozenset(removed)
    whole = program(place.section, find_model(model), ids)
    steps = [p for p in whole.steps if p.enforced or p.id in ids]
    return replace(whole, steps=steps, witnesses={})


class _Limit:
    """A report that ends an exploration in which nothing breaks when it is large."""

    def __init__(self, report: Report, most: int) -> None:
        self.report, self.most = report, most
        self.reached = False

    def __call__(self, progress: Progress) -> None:
        """Hand on, unless there are too many states: then interrupt."""
        self.report(progress)
        if progress.states > self.most:
            self.reached = True
            raise KeyboardInterrupt


def search(
    place: Place, model: str, removed: Iterable[str], beyond: int, report: Report
) -> tuple[Search, dict[str, Run]]:
    """Explore a section without some rules, past a violation until `beyond` states.

    It is left, if nothing breaks, when it has become twice as large as it is with all
    rules. Gives what was explored, and the shortest way to break each guarantee.
    """
    made = without(place, model, removed)
    limit = _Limit(report, 2 * max(beyond, whole(place, model).states))
    verdict = explore(made, limit, beyond)
    if verdict.interrupted and not limit.reached:
        raise KeyboardInterrupt
    found = {v.property: run_of(place, made, v.trace) for v in verdict.violations}
    done = Search(
        place, verdict.states, verdict.depth, verdict.complete, dict(verdict.watched)
    )
    return done, found


def searches(
    where: Iterable[Place],
    model: str,
    removed: Iterable[str],
    beyond: int,
    report: Report,
) -> Iterator[tuple[Search, dict[str, Run]]]:
    """Explore sections; those are left out in which pages are lost until none is free.

    What else would break there is not known.
    """
    for place in where:
        try:
            yield search(place, model, removed, beyond, report)
        except MemoryError:
            continue


def run_of(place: Place, made: Program, trace: Trace) -> Run:
    """A trace as what has to be kept of it."""
    return Run(place, list(made.initial).index(trace.initial), moves(trace))


def play(run: Run, model: str, removed: Iterable[str], property: str) -> Violation:
    """The violation that a kept run shows, on the operations as they are now.

    Raises:
        SpecificationError: the run cannot be taken any more, or breaks nothing.
    """
    made = without(run.place, model, removed)
    trace, broken = replay(made, dict(made.initial[run.start]), run.schedule)
    if property not in broken:
        raise SpecificationError(
            f"without {', '.join(removed)} {property} no longer breaks in {run.depth} "
            f"steps of {run.place}; record the ablations anew"
        )
    return Violation(property, "", trace)


# -- which removal can change what -----------------------------------------------------


@dataclass(frozen=True)
class Whole:
    """What a section is with all rules.

    Attributes:
        states: how many it has.
        runs: for each run of an operation, in any state, the rules that it asks for.
    """

    states: int
    runs: frozenset[frozenset[str]]

    def asks_for(self, *ids: str) -> bool:
        """Whether one run asks for all these rules."""
        return any(run.issuperset(ids) for run in self.runs)


@cache
def whole(place: Place, model: str) -> Whole:
    """Explore a section with all rules, and note which of them it asks for.

    An operation asks for a rule where it obeys it; the removal of a rule that no run
    asks for changes nothing.
    """
    removed = Asked()
    runs: set[frozenset[str]] = set()
    made = program(place.section, find_model(model), removed)

    def noting(thread: Thread) -> Thread:
        def noted(cells: Cells) -> Steps:
            runs.add(frozenset(removed.ids))
            removed.ids.clear()
            return thread(cells)

        return noted

    threads = {name: noting(thread) for name, thread in made.threads.items()}
    found = explore(replace(made, threads=threads, states=[], steps=[], witnesses={}))
    return Whole(found.states, frozenset({*runs, frozenset(removed.ids)}))


def searched(rule: Rule, model: str, beyond: int) -> tuple[list[Place], list[Place]]:
    """The sections that ask for a rule.

    First those that are about its topic or have at most `beyond` states, then the
    larger ones.
    """
    about = SHOWN_BY.get(rule.topic, ())
    near: list[Place] = []
    larger: list[Place] = []
    for place in places(rule):
        known = whole(place, model)
        if known.asks_for(rule.id):
            small = place.section in about or known.states <= beyond
            (near if small else larger).append(place)
    return near, larger


# -- one rule --------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What the removal of one rule breaks.

    Attributes:
        rule: the id.
        model: whose operations were run.
        searched: the explorations.
        breaks: the shortest run to each guarantee that breaks.
        effect: the shortest run to a step that breaks the removed rule.
    """

    rule: str
    model: str
    searched: tuple[Search, ...]
    breaks: Mapping[str, Run]
    effect: Run | None = None

    @property
    def shallowest(self) -> tuple[str, Run]:
        """The guarantee that breaks in the fewest steps, if any does."""
        return min(self.breaks.items(), key=lambda each: each[1].depth)

    @property
    def complete(self) -> bool:
        """Every exploration came to its end."""
        return all(each.complete for each in self.searched)

    @property
    def states(self) -> int:
        """How many states all explorations stored."""
        return sum(each.states for each in self.searched)

    @property
    def depth(self) -> int:
        """The depth down to which every guarantee that does not break was judged."""
        return min(s.depth for s in self.searched if not s.complete)


def duties() -> list[Rule]:
    """The rules that are removed: MUST and MUST NOT."""
    return [
        rule
        for rule in load().values()
        if checkable(rule) and rule.modal.startswith("MUST") and not rule.withdrawn
    ]


def judged(row: Row) -> frozenset[str]:
    """The guarantees that the explorations of a row looked at."""
    if not row.searched:
        return frozenset()
    made = without(row.searched[0].place, row.model, [row.rule])
    enforced = {p.id for p in made.steps if p.enforced}
    return frozenset({*(p.id for p in made.states), *enforced, DEADLOCK})


def row(rule: Rule, beyond: int, report: Report = silent) -> Row:
    """Remove one rule in the sections near it, and in larger ones until one breaks.

    The rule's models that keep all guarantees are tried in turn, the normative one
    first, until one breaks.
    """
    first, *others = sorted(sound_models(rule), key=lambda name: name != sketch.name)
    found = _row(rule, first, beyond, report)
    for model in others:
        if found.breaks:
            break
        found = _row(rule, model, beyond, report)
    return found


def _row(rule: Rule, model: str, beyond: int, report: Report) -> Row:
    explored: list[Search] = []
    best: dict[str, Run] = {}
    near, larger = searched(rule, model, beyond)
    for where in (near, *([place] for place in larger)):
        for done, found in searches(where, model, [rule.id], beyond, report):
            explored.append(done)
            best = shortest(best, found)
        if best:
            break
    return Row(rule.id, model, tuple(explored), best, _effect(rule, model, explored))


def shortest(one: Mapping[str, Run], other: Mapping[str, Run]) -> dict[str, Run]:
    """Both; where they break the same, the shorter run, the first if none is."""
    merged = dict(one)
    for property, run in other.items():
        if property not in merged or run.depth < merged[property].depth:
            merged[property] = run
    return merged


def _effect(rule: Rule, model: str, explored: list[Search]) -> Run | None:
    """The shortest run to a step that breaks the removed rule."""
    seen = [each for each in explored if rule.id in each.took_effect]
    if not seen:
        return None
    place = min(seen, key=lambda each: each.took_effect[rule.id]).place
    made = judging(place, model, rule.id)
    return run_of(place, made, explore(made).violations[0].trace)


def judging(place: Place, model: str, id: str) -> Program:
    """The program of a section without a rule, judged by that rule alone."""
    made = without(place, model, [id])
    steps = [replace(p, enforced=True) for p in made.steps if p.id == id]
    return replace(made, steps=steps, states=[])


# -- two rules -------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Two rules that were removed together.

    Attributes:
        rules: the ids.
        model: whose operations were run.
        searched: the explorations.
        breaks: the shortest run to each guarantee that breaks in some section where
            neither removal alone breaks it.
        alone: for each rule, what was explored of those sections without it alone.
    """

    rules: tuple[str, str]
    model: str
    searched: tuple[Search, ...]
    breaks: Mapping[str, Run]
    alone: Mapping[str, tuple[Search, ...]]


SECTIONS_OF_A_PAIR = 3
"""A pair is searched in so many sections, the most telling ones."""


def candidates(rows: Iterable[Row]) -> Iterator[tuple[Row, Row, list[Place]]]:
    """The pairs of rules that one run of an operation asks for, and where it does.

    Only sections in which both rules were removed alone are named.
    """
    for one, other in combinations(rows, 2):
        if one.model == other.model:
            common = [
                place
                for place in _telling(one, other)
                if whole(place, one.model).asks_for(one.rule, other.rule)
            ]
            if common:
                yield one, other, common[:SECTIONS_OF_A_PAIR]


def _telling(one: Row, other: Row) -> list[Place]:
    """The sections in which both were removed, those first that are telling."""
    mine, theirs = ([each.place for each in row.searched] for row in (one, other))
    common = [place for place in mine if place in theirs]
    return sorted(common, key=lambda place: mine.index(place) + theirs.index(place))


def pair(
    one: Row,
    other: Row,
    where: Iterable[Place],
    beyond: int,
    report: Report = silent,
) -> Pair:
    """Remove two rules together in some sections."""
    ids = (one.rule, other.rule)
    explored: list[Search] = []
    alone: dict[str, tuple[Search, ...]] = dict.fromkeys(ids, ())
    best: dict[str, Run] = {}
    for done, found in searches(where, one.model, ids, beyond, report):
        explored.append(done)
        joint = {g: r for g, r in found.items() if needs_both(r, one.model, ids, g)}
        for id in ids if joint else ():
            place = [done.place]
            for known, single in searches(place, one.model, [id], beyond, report):
                alone[id] = (*alone[id], known)
                joint = {
                    g: run
                    for g, run in joint.items()
                    if g not in single and known.covers(run.depth)
                }
        best = shortest(best, joint)
    return Pair(ids, one.model, tuple(explored), best, alone)


def needs_both(run: Run, model: str, ids: Iterable[str], property: str) -> bool:
    """Whether a run breaks nothing if only one of the rules is removed."""
    return not any(_plays(run, model, id, property) for id in ids)


def _plays(run: Run, model: str, id: str, property: str) -> bool:
    try:
        play(run, model, [id], property)
    except SpecificationError:
        return False
    return True


# -- where a rule stops what would break it --------------------------------------------


@dataclass(frozen=True)
class NearMiss:
    """The way to the point where a rule makes the difference, and both ways on.

    Attributes:
        rule, model, place: what was explored.
        before: the steps that are the same with the rule and without it.
        obeying: what the thread does then, alone, until it rests or has to wait.
        waits: it has to wait at the end of `obeying`.
        breaking: the steps without the rule; the last one breaks it.
    """

    rule: str
    model: str
    place: Place
    before: Trace
    obeying: Trace
    waits: bool
    breaking: Trace


PATIENCE = 30
"""After so many steps of the obeying thread no more are shown."""


def near_miss(row: Row) -> NearMiss | None:
    """Where the rule of a row stops the shortest run to a step that would break it.

    Both programs are moved in step as long as they do the same.

    Raises:
        SpecificationError: the run cannot be taken any more, or breaks the rule not.
    """
    run = row.effect
    if run is None:
        return None
    made = judging(run.place, row.model, row.rule)
    initial = dict(made.initial[run.start])
    sound = program(run.place.section, find_model(row.model))
    obeys, breaks = Player(sound, initial), Player(made, initial)
    agreed = _agreed(obeys, breaks, run.schedule)
    if agreed == run.depth:
        raise SpecificationError(f"{row.rule} makes no difference in {run.place}")
    here = dict(breaks.state)
    before, broken = replay(made, initial, run.schedule)
    if row.rule not in broken:
        raise SpecificationError(f"the run no longer breaks {row.rule}")
    obeying, waits = _alone(obeys, run.schedule[agreed])
    return NearMiss(
        rule=row.rule,
        model=row.model,
        place=run.place,
        before=Trace(initial, before.steps[:agreed]),
        obeying=Trace(here, obeying),
        waits=waits,
        breaking=Trace(here, before.steps[agreed:]),
    )


def _agreed(obeys: Player, breaks: Player, schedule: tuple[Move, ...]) -> int:
    """How many steps both take alike; both have taken these."""
    for i, move in enumerate(schedule):
        if not _alike(obeys, breaks, move):
            return i
        obeys.take(move)
        breaks.take(move)
    return len(schedule)


def _alike(obeys: Player, breaks: Player, move: Move) -> bool:
    """Whether a step does the same in both and leads to the same place in the code."""
    try:
        ours, theirs = obeys.look(move)[1], breaks.look(move)[1]
    except Diverged:
        return False
    return (
        ours is not None
        and theirs is not None
        and (ours.writes, ours.location) == (theirs.writes, theirs.location)
    )


def _alone(player: Player, first: Move) -> tuple[tuple[TraceStep, ...], bool]:
    """The steps of one thread until it rests, and whether it then has to wait."""
    steps: list[TraceStep] = []
    move = _as_far_as_asked(player, first)
    while len(steps) < PATIENCE:
        if player.look(move)[1] is None:
            return tuple(steps), True
        steps.append(player.take(move))
        if player.at[first.thread].resting:
            break
        move = Move(first.thread)
    return tuple(steps), False


def _as_far_as_asked(player: Player, move: Move) -> Move:
    """The move with as many of its answers as the thread is asked for."""
    for count in range(len(move.answers), 0, -1):
        shorter = Move(move.thread, move.answers[:count])
        try:
            player.look(shorter)
        except Diverged:
            continue
        return shorter
    return Move(move.thread)
