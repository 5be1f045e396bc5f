"""What the checker is given: cells, threads, and what must hold."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spec.cells import Cells

State = Mapping[str, Hashable]
Thread = Callable[[Cells], Generator[Any, None, Any]]


def rest() -> bool:
    """Yielded by a thread that may stay where it is for ever; it is no deadlock."""
    return True


@dataclass(frozen=True)
class StateProperty:
    """A predicate that must be true in every reachable state."""

    id: str
    holds: Callable[[Cells], bool]


@dataclass(frozen=True)
class StepProperty:
    """A predicate over the cells before and after a step, and what it assigned.

    `enforced` is false for a rule that is only watched, to show that its removal
    took effect.
    """

    id: str
    holds: Callable[[Cells, Cells, set[str]], bool]
    enforced: bool = True


@dataclass(frozen=True)
class Program:
    """Threads that share cells.

    Args:
        initial: the states to start from; all have the same cells.
        threads: by name, in the order in which columns of a trace are drawn.
        states: what must hold in each state.
        steps: what must hold of each step.
        witnesses: by name, predicates of which some step should make each true.
        interchangeable: groups of records that threads and properties treat alike. A
            thread that has to take one of several says so with `alternatives`.
        name: by which to keep what was learned. Whoever gives one takes care that a
            program with other code has another name.
    """

    initial: Sequence[dict[str, Hashable]]
    threads: Mapping[str, Thread]
    states: Sequence[StateProperty] = ()
    steps: Sequence[StepProperty] = ()
    witnesses: Mapping[str, Callable[[Cells, Cells, set[str]], bool]] = field(
        default_factory=dict
    )
    interchangeable: Sequence[Sequence[str]] = ()
    name: str = ""


@dataclass(frozen=True)
class TraceStep:
    """One step of a trace: who, where in the code, what was read and written."""

    thread: str
    functions: tuple[str, ...]
    reads: tuple[tuple[str, Any], ...]
    writes: tuple[tuple[str, Any, Any], ...]
    choices: tuple[tuple[str, Any], ...]
    broken: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """A shortest path: the state it starts in and its steps."""

    initial: dict[str, Hashable]
    steps: tuple[TraceStep, ...]

    def states(self) -> Iterable[dict[str, Hashable]]:
        """Every state on the way, the first and the last included."""
        state = dict(self.initial)
        yield dict(state)
        for step in self.steps:
            for key, _, new in step.writes:
                state[key] = new
            yield dict(state)


@dataclass(frozen=True)
class Violation:
    """A property that does not hold, and the shortest way to see it.

    `property` is the id of a rule or a guarantee, or ``deadlock``.
    """

    property: str
    why: str
    trace: Trace

    @builtins.property
    def depth(self) -> int:
        """Number of steps to the violation."""
        return len(self.trace.steps)


@dataclass(frozen=True)
class Options:
    """How to explore. Nothing here changes what is found.

    Attributes:
        engine: ``numpy`` or ``numba``; by default what is faster and installed.
        learned: a folder in which to keep what was learned of programs with names.
        workers: how many programs to explore at the same time.
        symmetry: store one state for all that differ by the names of interchangeable
            records only. Counts are smaller then; verdicts are the same.
    """

    engine: str = ""
    learned: Path | None = None
    workers: int = 1
    symmetry: bool = False


DEFAULT = Options()


@dataclass(frozen=True)
class Progress:
    """What a long exploration has done so far."""

    states: int
    transitions: int
    frontier: int
    depth: int
    seconds: float
    evaluations: int

    @property
    def rate(self) -> float:
        """States per second."""
        return self.states / self.seconds if self.seconds else 0.0

    def line(self) -> str:
        """The same in words, for a terminal."""
        return (
            f"{self.states:,} states, {self.rate:,.0f}/s, frontier "
            f"{self.frontier:,}, depth {self.depth}, {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class Verdict:
    """What an exploration found.

    `complete` is false if it ended at a violation or was interrupted; then the
    counts are those of the states seen so far. `reduced` says that states which differ
    by names only were counted once.
    """

    states: int
    transitions: int
    depth: int
    complete: bool
    violations: tuple[Violation, ...] = ()
    watched: Mapping[str, int] = field(default_factory=dict)
    witnesses: Mapping[str, int] = field(default_factory=dict)
    evaluations: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    reduced: bool = False

    @property
    def holds(self) -> bool:
        """Everything was explored and nothing was violated."""
        return self.complete and not self.violations

    def and_then(self, other: Verdict) -> Verdict:
        """The verdict on two explorations, one after the other."""
        return Verdict(
            states=self.states + other.states,
            transitions=self.transitions + other.transitions,
            depth=max(self.depth, other.depth),
            complete=self.complete and other.complete,
            violations=self.violations + other.violations,
            watched=earliest(self.watched, other.watched),
            witnesses=earliest(self.witnesses, other.witnesses),
            evaluations=self.evaluations + other.evaluations,
            seconds=self.seconds + other.seconds,
            interrupted=self.interrupted or other.interrupted,
            reduced=self.reduced or other.reduced,
        )


def earliest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Both mappings; where a name is in both, the smaller depth."""
    merged = dict(one)
    for name, depth in other.items():
        merged[name] = min(depth, merged.get(name, depth))
    return merged
