"""A program taken from state to state by hand: what can be done, said and judged.

Each function of the program is run once per footprint, so that a walk over thousands of
states takes seconds in plain Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple

from spec.checker.judgement import View, ViewAfter, primed
from spec.checker.program import Program, Thread, TraceStep
from spec.checker.replay import Move
from spec.checker.steps import DONE, Location, Outcome, Stepper, _Store
from spec.memory import Machine
from spec.publish import seen, traces
from spec.publish.footprints import Footprints, Source
from spec.rules import ID

Values = tuple[Hashable, ...]
Node = tuple[int, Values, tuple[Location, ...]]
"""The phase that is being played, all cells, and where its threads stand."""


@dataclass(frozen=True)
class Said:
    """What a step is called and what it does; the same for many states.

    Attributes:
        cpu: who takes it, as a column of a trace is headed.
        name: what a link calls it, for instance ``0.fork-A-B``.
        title: the operation that begins, or the function that goes on.
        phrases: what changes, or what is seen.
        kept: ids of the rules that the operation asks for here and obeys.
        removed: ids of those that it asks for and does not obey.
        broken: ids of the rules and guarantees that the step breaks.
    """

    cpu: str
    name: str
    title: str
    phrases: tuple[str, ...]
    kept: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """A step from one state to another, and the move that takes it."""

    said: Said
    move: Move
    target: Node


class Heeded(frozenset[str]):
    """Rules not to obey, that notes in `asked` for which rules operations ask."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.asked: set[str] = set()

    def __contains__(self, id: object) -> bool:
        self.asked.add(str(id))
        return super().__contains__(id)

    def __or__(self, other: Iterable[Any]) -> Heeded:
        both = Heeded(super().__or__(frozenset(other)))
        both.asked = self.asked
        return both


class _FromHere(_Store):
    """Cells for a thread; what it asked for in past steps is forgotten.

    A thread is brought to where it stands by taking its past steps again, and they ask
    again. The stepper's own store is the one place that knows where a step begins.
    """

    asked: set[str]

    def arm(self, source: Source, reads: dict[str, Any], script: Sequence[Any]) -> None:
        self.asked.clear()
        super().arm(source, reads, script)


def _stepper(thread: Thread, heeded: Heeded) -> Stepper:
    stepper = Stepper(thread)
    store = _FromHere()
    store.asked = heeded.asked
    stepper.store = store
    return stepper


@dataclass(frozen=True)
class Phase:
    """Threads that play until all have come to their end.

    Attributes:
        program: the threads, and what is judged of their steps.
        removed: the rules that its threads were given as not to be obeyed.
        title: what the phase is called; empty if there is but one.
        operations: for each thread that runs one operation, what that is.
        settle: what a thread's step makes of the state besides what it writes.
    """

    program: Program
    removed: Heeded
    title: str = ""
    operations: Mapping[str, str] = field(default_factory=dict)
    settle: Callable[[str, Mapping[str, Any], Outcome], Mapping[str, Any]] | None = None


class Taken(NamedTuple):
    """One way in which a step can go: what it reads, does, and asks for."""

    reads: dict[str, Any]
    outcome: Outcome
    asked: frozenset[str]


class Walk:
    """A program, or several one after the other, from state to state.

    Args:
        phases: what is played.
        first: a state, with all cells that there are.
    """

    def __init__(self, phases: Sequence[Phase], first: Mapping[str, Any]) -> None:
        self.phases = phases
        self.keys = list(first)
        self.names = (
            traces.machine_of(first).names if traces.is_machine(first) else None
        )
        self.steppers = [
            {
                name: _stepper(thread, phase.removed)
                for name, thread in phase.program.threads.items()
            }
            for phase in phases
        ]
        self.begins = []
        self.histories: dict[tuple[int, str, Location], tuple[Any, bool]] = {}
        for number, steppers in enumerate(self.steppers):
            starts = {name: stepper.start() for name, stepper in steppers.items()}
            self.begins.append(tuple(at.location for at in starts.values()))
            for name, at in starts.items():
                self.histories[number, name, at.location] = (at.history, at.resting)
        self.steps: dict[tuple[int, str, Location], Footprints[Any]] = {}
        self.judges: dict[tuple[int, frozenset[str]], Any] = {}
        self.sayings: dict[int, Footprints[Any]] = {}
        self.items = [Footprints(source) for source in seen.sources(first)]
        self.states = [
            [(p.id, Footprints(_property(p.holds))) for p in phase.program.states]
            for phase in phases
        ]

    def start(self, state: Mapping[str, Hashable]) -> Node:
        """The node in which everything begins."""
        return 0, tuple(state[key] for key in self.keys), self.begins[0]

    def state(self, node: Node) -> dict[str, Any]:
        """The cells of a node."""
        return dict(zip(self.keys, node[1], strict=True))

    def seen(self, node: Node) -> tuple[seen.Item, ...]:
        """All that is seen of a state."""
        read = self.state(node).__getitem__
        return tuple(chain.from_iterable(items(read) for items in self.items))

    def broken(self, node: Node) -> tuple[str, ...]:
        """The guarantees that do not hold in a state."""
        read = self.state(node).__getitem__
        return tuple(id for id, holds in self.states[node[0]] if not holds(read))

    def stuck(self, node: Node, edges: Sequence[Edge]) -> bool:
        """Whether nobody can move although somebody has not come to rest."""
        phase, _, locations = node
        at = zip(self.steppers[phase], locations, strict=True)
        return not edges and any(
            location != DONE and not self.histories[phase, name, location][1]
            for name, location in at
        )

    @property
    def threads(self) -> list[str]:
        """The threads of all phases."""
        return list(dict.fromkeys(chain.from_iterable(self.steppers)))

    def standing(self, node: Node) -> Iterator[str]:
        """How each thread stands: between operations, in one, at its end."""
        phase, _, locations = node
        at = dict(zip(self.steppers[phase], locations, strict=True))
        for name in self.threads:
            location = at.get(name, DONE)
            if location == DONE:
                yield "done"
            else:
                resting = self.histories[phase, name, location][1]
                yield "rests" if resting else "runs"

    def edges(self, node: Node) -> list[Edge]:
        """Every step that can be taken from a node, each with a name of its own."""
        state = self.state(node)
        found: list[Edge] = []
        for i, name in enumerate(self.steppers[node[0]]):
            for taken in self._outcomes(node, i, name, state):
                found.append(self._edge(node, i, name, state, taken))
        return found

    def _outcomes(
        self, node: Node, i: int, name: str, state: dict[str, Any]
    ) -> Iterable[Taken]:
        phase, location = node[0], node[2][i]
        if location == DONE:
            return ()
        at = (phase, name, location)
        if at not in self.steps:
            stepper, (history, _) = self.steppers[phase][name], self.histories[at]
            removed = self.phases[phase].removed
            self.steps[at] = Footprints(
                lambda read: tuple(
                    Taken(reads, outcome, frozenset(removed.asked))
                    for reads, outcome in stepper.outcomes(history, read)
                )
            )
        outcomes: Iterable[Taken] = self.steps[at](state.__getitem__)
        return outcomes

    def _edge(
        self,
        node: Node,
        i: int,
        name: str,
        state: dict[str, Any],
        taken: Taken,
    ) -> Edge:
        outcome = taken.outcome
        number, _, locations = node
        phase = self.phases[number]
        after: Mapping[str, Any] = {**state, **outcome.writes}
        if phase.settle is not None:
            after = phase.settle(name, state, outcome)
        self.histories.setdefault(
            (number, name, outcome.location), (outcome.history, outcome.resting)
        )
        there = (*locations[:i], outcome.location, *locations[i + 1 :])
        if all(at == DONE for at in there) and number + 1 < len(self.phases):
            number, there = number + 1, self.begins[number + 1]
        target = (number, tuple(after[key] for key in self.keys), there)
        said = self._said(node, i, name, state, taken)
        move = Move(name, tuple(answer for _, answer in outcome.choices))
        return Edge(said, move, target)

    # -- what is said of a step -------------------------------------------------------

    def _said(
        self, node: Node, i: int, name: str, state: dict[str, Any], taken: Taken
    ) -> Said:
        phase = node[0]
        outcome = taken.outcome
        values = {**state, **{primed(key): v for key, v in outcome.writes.items()}}
        if id(outcome) not in self.sayings:
            step = self._trace_step(node, i, name, state, taken)
            gone = frozenset(self.phases[phase].removed)
            removed = tuple(sorted(taken.asked & gone))
            kept = tuple(sorted(taken.asked - gone))
            self.sayings[id(outcome)] = Footprints(
                lambda read: self._words(step, read, kept, removed)
            )
        words: Said = self.sayings[id(outcome)](values.__getitem__)
        broken = self._judged(phase, frozenset(outcome.writes), values)
        return replace(words, broken=(*outcome.raised, *broken))

    def _trace_step(
        self, node: Node, i: int, name: str, state: dict[str, Any], taken: Taken
    ) -> TraceStep:
        """The step in the form in which traces are drawn."""
        outcome = taken.outcome
        operation = self.phases[node[0]].operations.get(name)
        begins = operation and node[2][i] == self.begins[node[0]][i]
        return TraceStep(
            thread=name,
            # an operation that is all of its thread stands below a function of ours
            functions=outcome.functions[1:] if operation else outcome.functions,
            reads=tuple(taken.reads.items()),
            writes=tuple((key, state[key], v) for key, v in outcome.writes.items()),
            choices=(
                *([("operation", operation)] if begins else []),
                *outcome.choices,
            ),
            broken=outcome.raised,
        )

    def _words(
        self,
        step: TraceStep,
        read: Source,
        kept: tuple[str, ...],
        removed: tuple[str, ...],
    ) -> Said:
        began = traces.operation(step)
        where = traces.function(step)
        phrases: Iterable[str]
        if self.names is None:
            changed = {key: new for key, old, new in step.writes if old != new}
            phrases = traces.cells_of(changed)
        else:
            reads: dict[str, Any] = {}
            before = Machine(self.names, cells=View(read, reads))
            written = {key for key, _, _ in step.writes}
            after = Machine(self.names, cells=ViewAfter(read, reads, written))
            phrases = traces.sayings(step, before, after)
        return Said(
            traces.title(step.thread),
            step_name(step),
            began or (f"{where}()" if where else "goes on"),
            (*([f"{where}()"] if began and where else []), *phrases),
            kept,
            removed,
        )

    def _judged(
        self, phase: int, written: frozenset[str], values: dict[str, Any]
    ) -> Iterator[str]:
        """The rules and guarantees over steps that a step breaks."""
        read = values.__getitem__
        if (phase, written) not in self.judges:
            made = [
                (p.id, Footprints(_judge(p.holds, written)))
                for p in self.phases[phase].program.steps
            ]
            # what reads nothing, and is kept, says nothing of any such step
            self.judges[phase, written] = [
                (id, judge)
                for id, judge in made
                if not (judge(read) and judge.constant)
            ]
        for id, judge in self.judges[phase, written]:
            if not judge(read):
                yield id


def _property(holds: Callable[[Any], bool]) -> Callable[[Source], bool]:
    return lambda read: holds(View(read, {}))


def _judge(
    holds: Callable[[Any, Any, set[str]], bool], written: frozenset[str]
) -> Callable[[Source], bool]:
    def judge(read: Source) -> bool:
        reads: dict[str, Any] = {}
        # a new set each time: by it the specification knows a new step
        assigned = set(written)
        return holds(View(read, reads), ViewAfter(read, reads, assigned), assigned)

    return judge


def _slug(text: str) -> str:
    """The text as a part of a link.

    >>> _slug("r = gup_fast(A, ro get)")
    'r-gup_fast-A-ro-get'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")


def step_name(step: TraceStep) -> str:
    """What a link calls a step: the CPU, and what it begins, or where it goes on.

    Answers follow where the specification permits both: ``1.do_wp_page+AE-COW-3``.
    """
    doing = traces.operation(step) or traces.function(step) or "goes on"
    cpu = step.thread.removeprefix("cpu")
    answers = [
        f"{'+' if answer else '-'}{asked}"
        for asked, answer in step.choices
        if ID.fullmatch(asked)
    ]
    return f"{_slug(cpu)}.{_slug(doing)}{''.join(answers)}"
