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
        memory: bytes that the states in memory may take, and the table of them; all
            but the last level goes to disk beyond it. 0 for any number.
        folder: where to keep the states, level by level. An exploration that finds
            levels there goes on from the last one.
        learned: a folder in which to keep what was learned of programs with names.
        workers: how many programs to explore at the same time.
        explore: explores a program elsewhere, given it, what to call after each level,
            and `options`; by default this process does.
        symmetry: store one state for all that differ by the names of interchangeable
            records only. Counts are smaller then, and so may be the depths at which
            a witness or a watched step is met first; verdicts are the same.
        levels: keep all levels in memory, from which traces are found. By default the
            compiled engine archives states that were expanded, once there are many; a
            violation that is found after that is explored once more with all levels.
        order: do not look up where a step leads that commutes with one taken before it
            (the compiled engine only). All counts stay the same.
    """

    engine: str = ""
    memory: int = 0
    folder: Path | None = None
    learned: Path | None = None
    workers: int = 1
    explore: Callable[..., Verdict] | None = None
    symmetry: bool = False
    order: bool = False
    levels: bool = False


DEFAULT = Options()


@dataclass(frozen=True)
class Progress:
    """What a long exploration has done so far.

    Attributes:
        states, transitions: so far.
        frontier: states of the last level, from which it goes on.
        depth: of the last level.
        seconds: since the beginning.
        evaluations: functions of the program that were run in Python.
        memory: bytes that the states and the table of them take.
        expected: states that are still to come, as far as can be told: `None` while
            the frontier grows.
        done, parts: programs that are explored to the end, of all that are to be.
    """

    states: int
    transitions: int
    frontier: int
    depth: int
    seconds: float
    evaluations: int
    memory: int = 0
    expected: int | None = None
    done: int = 0
    parts: int = 1

    @property
    def rate(self) -> float:
        """States per second."""
        return self.states / self.seconds if self.seconds else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds to the end, if the rate stays; `None` if it cannot be told."""
        if self.expected is None or not self.rate or self.done + 1 < self.parts:
            return None
        return self.expected / self.rate

    def line(self) -> str:
        """The same in words, for a terminal."""
        part = f"{self.done + 1}/{self.parts}: " if self.parts > 1 else ""
        left = self.remaining
        return (
            f"{part}{self.states:,} states, {self.rate:,.0f}/s, frontier "
            f"{self.frontier:,}, depth {self.depth}, {self.memory / 1e6:,.0f} MB, "
            f"{self.seconds:.1f} s"
            + (f", about {left:.0f} s to go" if left is not None else "")
        )


def still_to_come(levels: Sequence[int]) -> int | None:
    """States that levels to come will have, if the last ones go on to shrink alike.

    Args:
        levels: how many states each level has.

    >>> still_to_come([1, 8, 20, 40, 20, 10, 5])
    5
    >>> still_to_come([1, 8, 20, 40]) is None
    True
    """
    *_, before, _, _, last = (0, 0, 0, 0, *levels)
    if last >= before:
        return None
    ratio: float = (last / before) ** (1 / 3)
    return round(last * ratio / (1 - ratio))


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
