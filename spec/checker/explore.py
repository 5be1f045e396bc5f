"""The fast engine: each step runs in Python once per footprint, not once per state.

What a step reads is few cells. A run of it on one state holds for every state that
agrees on those cells, so it is stored as a *guarded command*: cells and values that
must be found, cells and values that are then assigned. Exploration applies guarded
commands to whole levels of packed states with NumPy. Properties of states are
tabulated in the same way. Duplicate detection compares whole states; hashes only
order them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker.judgement import Judges, View
from spec.checker.packing import Codes, Layout, Words
from spec.checker.program import (
    Program,
    StateProperty,
    Trace,
    TraceStep,
    Verdict,
    Violation,
)
from spec.checker.steps import DONE, History, Location, Outcome, Stepper, StepRun
from spec.checker.tables import Collision, Source, Table, hash_rows


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


ALL_ONES = (1 << 64) - 1


@dataclass
class _Thread:
    """One thread: where it can stand, and the table of each such place."""

    key: str
    stepper: Stepper
    histories: list[tuple[History, bool]] = field(default_factory=list)
    tables: dict[tuple[int, tuple[Any, ...]], Table] = field(default_factory=dict)


@dataclass(frozen=True)
class _Command:
    """The assignment part of a guarded command, and what to report of it."""

    thread: int
    source: int
    reads: dict[str, Any]
    outcome: Outcome
    location: int
    form: int


class Exploration:
    """One exhaustive exploration, level by level, up to a level with a violation.

    Args:
        program: what to explore.
        report: called after each level.
        beyond: go on past a violation until this many states are stored, to find the
            shortest violation of each other property as well.
    """

    def __init__(
        self,
        program: Program,
        report: Callable[[Progress], None] = lambda progress: None,
        beyond: int = 0,
    ) -> None:
        self.program = program
        self.report = report
        self.beyond = beyond
        self.seed = 1
        self.codes = {key: Codes() for key in program.initial[0]}
        self.threads: list[_Thread] = []
        for name, thread in program.threads.items():
            made = _Thread(f"@{name}", Stepper(thread))
            self.codes[made.key] = Codes()
            self._place(made, DONE, (), True)
            start = made.stepper.start()
            self._place(made, start.location, start.history, start.resting)
            self.threads.append(made)
        self.commands: list[_Command] = []
        self.questions: list[tuple[Any, ...]] = []
        self.evaluations = 0
        self.judges = Judges(program)
        self.properties = [(p, Table(self._property(p))) for p in program.states]
        self._forget()

    # -- from Python steps to numbers -------------------------------------------------

    def _place(
        self, thread: _Thread, location: Location, history: History, resting: bool
    ) -> int:
        number = self.codes[thread.key].number(location)
        if number == len(thread.histories):
            thread.histories.append((history, resting))
        return number

    def _property(
        self, p: StateProperty
    ) -> Callable[[Source], tuple[dict[str, Any], int]]:
        def evaluate(source: Source) -> tuple[dict[str, Any], int]:
            self.evaluations += 1
            reads: dict[str, Any] = {}
            holds = p.holds(View(source, reads))
            return reads, int(holds)

        return evaluate

    def _table(self, t: int, location: int, script: tuple[Any, ...]) -> Table:
        """The steps from a location, once the questions in `script` are answered."""
        thread = self.threads[t]
        if (location, script) not in thread.tables:
            history, _ = thread.histories[location]

            def evaluate(source: Source) -> tuple[dict[str, Any], int]:
                self.evaluations += 1
                run = thread.stepper.step(history, source, script)
                return run.reads, self._learn(t, location, run)

            thread.tables[location, script] = Table(evaluate)
        return thread.tables[location, script]

    def _learn(self, t: int, source: int, run: StepRun) -> int:
        """A number for what a new footprint leads to.

        A command has its own number; a question has a negative one; 'blocked' is
        the question without options.
        """
        if run.outcome is None:
            self.questions.append(run.options)
            return -len(self.questions)
        outcome = run.outcome
        place = self._place(
            self.threads[t], outcome.location, outcome.history, outcome.resting
        )
        for key, value in outcome.writes.items():
            self.codes[key].number(value)
        form = self.judges.form(frozenset(outcome.writes))
        self.commands.append(_Command(t, source, run.reads, outcome, place, form))
        return len(self.commands) - 1

    # -- levels -----------------------------------------------------------------------

    def run(self) -> Verdict:
        """Explore to the end, to the first violation, or until interrupted."""
        while True:
            try:
                return self._run()
            except Collision:
                self.seed += 2
                self._forget()

    def _forget(self) -> None:
        self.keeps: list[list[int]] = []
        self.sets: list[list[int]] = []
        self.judges.forget()
        for _, table in self.properties:
            table.forget()
        for thread in self.threads:
            for table in thread.tables.values():
                table.forget()

    def _run(self) -> Verdict:
        began = time.monotonic()
        for state in self.program.initial:
            for key, value in state.items():
                self.codes[key].number(value)
        self.layout = Layout(list(self.codes), self.codes, spare=3)
        rows = [
            self.layout.row_bits(
                {k: self.codes[k].number(v) for k, v in state.items()}
                | {t.key: 1 for t in self.threads}
            )
            for state in self.program.initial
        ]
        frontier = np.unique(np.array(rows, np.uint64), axis=0)
        self.levels: list[Words] = []
        self.links: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
        none = np.full(len(frontier), -1, np.int64)
        self.links.append((none, none))
        self.visited = np.zeros(0, np.uint64)
        self.index = np.zeros(0, np.int64)
        self.base = [0]
        self.transitions = 0
        self.reached: dict[str, int] = {}
        self.watched: dict[str, int] = {}
        self.first: dict[str, Violation] = {}
        interrupted = False
        complete = False
        try:
            while True:
                self._remember(frontier)
                self._check_states(frontier)
                if self._enough():
                    break
                frontier, parents, commands = self._expand(frontier)
                complete = not len(frontier)
                if complete or self._enough():
                    break
                self.links.append((parents, commands))
                self.report(self._progress(len(frontier), began))
        except KeyboardInterrupt:
            interrupted = True
        return Verdict(
            states=self.base[-1],
            transitions=self.transitions,
            depth=len(self.levels) - 1,
            complete=complete and not interrupted,
            violations=tuple(self.first.values()),
            watched=self.watched,
            witnesses=self.reached,
            evaluations=self.evaluations + self.judges.evaluations,
            seconds=time.monotonic() - began,
            interrupted=interrupted,
        )

    def _enough(self) -> bool:
        """Whether a violation ends the exploration here."""
        return bool(self.first) and self.base[-1] >= self.beyond

    def _progress(self, frontier: int, began: float) -> Progress:
        return Progress(
            self.base[-1],
            self.transitions,
            frontier,
            len(self.levels),
            time.monotonic() - began,
            self.evaluations + self.judges.evaluations,
        )

    def _remember(self, frontier: Words) -> None:
        hashes = hash_rows(frontier, self.seed)
        order = np.argsort(hashes)
        where = np.searchsorted(self.visited, hashes[order])
        self.visited = np.insert(self.visited, where, hashes[order])
        self.index = np.insert(self.index, where, order + self.base[-1])
        self.levels.append(frontier)
        self.base.append(self.base[-1] + len(frontier))

    def _check_states(self, frontier: Words) -> None:
        for p, table in self.properties:
            if p.id in self.first:
                continue
            holds = table(frontier, self.layout, self.seed)
            bad = np.flatnonzero(holds == 0)
            if len(bad):
                trace = self._trace(len(self.levels) - 1, int(bad[0]))
                self.first[p.id] = Violation(p.id, "", trace)

    def _expand(
        self, frontier: Words
    ) -> tuple[Words, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """All successors of a level that are new; notes violations on the way."""
        parents, commands, stuck = self._moves(frontier)
        self._regrow_if_needed()
        frontier = self.levels[-1]
        self.transitions += len(parents)
        masks, bits, forms = self._assignments()
        before = frontier[parents]
        rows = (before & masks[commands]) | bits[commands]
        judged = self.judges(before, rows, forms[commands], self.layout, self.seed)
        self._report(parents, commands, judged)
        if len(stuck) and "deadlock" not in self.first:
            trace = self._trace(len(self.levels) - 1, int(stuck[0]))
            self.first["deadlock"] = Violation("deadlock", "", trace)
        fresh = self._new(rows)
        return rows[fresh], parents[fresh], commands[fresh]

    def _moves(
        self, frontier: Words
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Pairs of state and command, and the states that are deadlocks."""
        parents: list[npt.NDArray[np.int64]] = []
        commands: list[npt.NDArray[np.int64]] = []
        moved = np.zeros(len(frontier), bool)
        active = np.zeros(len(frontier), bool)
        for t, thread in enumerate(self.threads):
            where = self.layout.column(frontier, thread.key)
            order = np.argsort(where, kind="stable")
            starts = np.searchsorted(where[order], np.arange(len(thread.histories) + 1))
            for location in range(1, len(starts) - 1):
                at = order[starts[location] : starts[location + 1]]
                if not len(at):
                    continue
                if not thread.histories[location][1]:
                    active[at] = True
                for these, numbers in self._apply(frontier, at, t, location, ()):
                    moved[these] = True
                    parents.append(these)
                    commands.append(numbers)
        empty = [np.zeros(0, np.int64)]
        return (
            np.concatenate(parents or empty),
            np.concatenate(commands or empty),
            np.flatnonzero(active & ~moved),
        )

    def _apply(
        self,
        frontier: Words,
        at: npt.NDArray[np.int64],
        t: int,
        location: int,
        script: tuple[Any, ...],
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """States and the commands that one thread's next step is in them."""
        table = self._table(t, location, script)
        results = table(frontier[at], self.layout, self.seed)
        done = results >= 0
        if done.any():
            yield at[done], results[done]
        by_option: dict[Any, list[npt.NDArray[np.int64]]] = {}
        for number in np.unique(results[~done]).tolist():
            for option in self.questions[-1 - number]:
                by_option.setdefault(option, []).append(at[results == number])
        for option, parts in by_option.items():
            where = np.concatenate(parts)
            yield from self._apply(frontier, where, t, location, (*script, option))

    def _report(
        self,
        parents: npt.NDArray[np.int64],
        commands: npt.NDArray[np.int64],
        judged: npt.NDArray[np.int64],
    ) -> None:
        """What the steps to the next level break, and what they witness."""
        for number, at in _first(judged):
            judgement = self.judges.found[number]
            for name in judgement.witnesses:
                self.reached.setdefault(name, len(self.levels))
            for id in judgement.watched:
                self.watched.setdefault(id, len(self.levels))
            self._violate(parents[at], commands[at], judgement.broken)
        for number, at in _first(commands):
            raised = self.commands[number].outcome.raised
            self._violate(parents[at], number, raised)

    def _violate(self, parent: int, command: int, broken: tuple[str, ...]) -> None:
        """Note what a step breaks, with the trace to a state of the last level and it.

        Only the first violation of each property is kept.
        """
        if all(id in self.first for id in broken):
            return
        before = self._trace(len(self.levels) - 1, int(parent))
        last = self._trace_step(int(command), before, broken)
        trace = Trace(before.initial, (*before.steps, last))
        why = self.commands[command].outcome.why
        for id in broken:
            self.first.setdefault(id, Violation(id, why, trace))

    def _regrow_if_needed(self) -> None:
        if all(self.layout.fits(key) for key in self.codes):
            return
        old, self.layout = self.layout, Layout(list(self.codes), self.codes, spare=3)
        self.levels = [self.layout.repack(rows, old) for rows in self.levels]
        hashes = np.concatenate([hash_rows(rows, self.seed) for rows in self.levels])
        self.index = np.argsort(hashes)
        self.visited = hashes[self.index]
        self._forget()

    def _assignments(self) -> tuple[Words, Words, npt.NDArray[np.int64]]:
        """What to keep and set in a row, and the form, for every command by now."""
        known = len(self.keeps)
        for command in self.commands[known:]:
            values = {
                key: self.codes[key].number(value)
                for key, value in command.outcome.writes.items()
            } | {self.threads[command.thread].key: command.location}
            self.keeps.append([~m & ALL_ONES for m in self.layout.row_mask(values)])
            self.sets.append(self.layout.row_bits(values))
        if known < len(self.keeps):
            self.keep_rows = np.array(self.keeps, np.uint64)
            self.set_rows = np.array(self.sets, np.uint64)
            self.forms = np.array([c.form for c in self.commands], np.int64)
        return self.keep_rows, self.set_rows, self.forms

    def _new(self, rows: Words) -> npt.NDArray[np.int64]:
        """Positions of the rows that are neither visited nor repeated."""
        hashes = hash_rows(rows, self.seed)
        unique, first, inverse = np.unique(
            hashes, return_index=True, return_inverse=True
        )
        if not np.array_equal(rows[first][inverse], rows):
            raise Collision
        at = np.minimum(np.searchsorted(self.visited, unique), len(self.visited) - 1)
        known = self.visited[at] == unique
        if not np.array_equal(self._rows(self.index[at[known]]), rows[first[known]]):
            raise Collision
        return np.sort(first[~known])

    def _rows(self, numbers: npt.NDArray[np.int64]) -> Words:
        level = np.searchsorted(self.base, numbers, side="right") - 1
        found = np.zeros((len(numbers), self.layout.words), np.uint64)
        for n in np.unique(level):
            these = level == n
            found[these] = self.levels[n][numbers[these] - self.base[n]]
        return found

    # -- traces -----------------------------------------------------------------------

    def _trace(self, level: int, position: int) -> Trace:
        path = []
        while True:
            parents, commands = self.links[level]
            if level == 0:
                break
            path.append(int(commands[position]))
            position = int(parents[position])
            level -= 1
        row = self.levels[0][position].tolist()
        initial = {key: self.layout.value(row, key) for key in self.program.initial[0]}
        trace = Trace(initial, ())
        for number in reversed(path):
            step = self._trace_step(number, trace)
            trace = Trace(initial, (*trace.steps, step))
        return trace

    def _trace_step(
        self, number: int, before: Trace, broken: tuple[str, ...] = ()
    ) -> TraceStep:
        command = self.commands[number]
        *_, state = before.states()
        return TraceStep(
            thread=list(self.program.threads)[command.thread],
            functions=command.outcome.functions,
            reads=tuple(command.reads.items()),
            writes=tuple(
                (key, state[key], value)
                for key, value in command.outcome.writes.items()
            ),
            choices=command.outcome.choices,
            broken=broken,
        )


def _first(numbers: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Each number that occurs, and where it does first."""
    found, at = np.unique(numbers, return_index=True)
    return zip(found.tolist(), at.tolist(), strict=True)


def explore(
    program: Program,
    report: Callable[[Progress], None] = lambda progress: None,
    beyond: int = 0,
) -> Verdict:
    """Visit every reachable state of `program` and judge its properties.

    Ends with the level that has a violation, or, if `beyond` is given, when that many
    states are stored.
    """
    return Exploration(program, report, beyond).run()
