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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker.packing import Codes, Layout, Words
from spec.checker.program import (
    Program,
    StateProperty,
    Trace,
    TraceStep,
    Verdict,
    Violation,
)
from spec.checker.steps import DONE, History, Location, Outcome, Stepper, StepRun, View

MULTIPLIERS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
     0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3],
    np.uint64,
)  # fmt: skip


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


class _Collision(Exception):
    """Two different rows have one hash; start over with another seed."""


def _hash(rows: Words, seed: int) -> Words:
    mixed = np.full(len(rows), seed, np.uint64)
    for word in range(rows.shape[1]):
        mixed ^= rows[:, word]
        mixed *= MULTIPLIERS[word % len(MULTIPLIERS)]
        mixed ^= mixed >> np.uint64(29)
    mixed *= MULTIPLIERS[0]
    return mixed ^ (mixed >> np.uint64(32))


class _Trie:
    """Decides from the cells that were read, in the order in which they were."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}

    def find(self, source: Callable[[str], Any]) -> int | None:
        node = self.root
        while node:
            if "leaf" in node:
                leaf: int = node["leaf"]
                return leaf
            child = node["values"].get(source(node["cell"]))
            if child is None:
                return None
            node = child
        return None

    def add(self, reads: dict[str, Any], leaf: int) -> None:
        node = self.root
        for cell, value in reads.items():
            node.setdefault("cell", cell)
            node = node.setdefault("values", {}).setdefault(value, {})
        node["leaf"] = leaf


class _Table:
    """A function of a state, tabulated by footprint and looked up in bulk.

    `evaluate` runs the function on one state and returns what it read and a number
    that stands for the result.
    """

    def __init__(
        self, evaluate: Callable[[Callable[[str], Any]], tuple[dict[str, Any], int]]
    ) -> None:
        self.evaluate = evaluate
        self.trie = _Trie()
        self.support: set[str] = set()
        self.forget()

    def forget(self) -> None:
        """Drop what depends on the layout or the support; the trie stays."""
        self.mask: Words | None = None
        self.hashes = np.zeros(0, np.uint64)
        self.keys = np.zeros((0, 0), np.uint64)
        self.results = np.zeros(0, np.int64)

    def __call__(self, rows: Words, layout: Layout, seed: int) -> npt.NDArray[np.int64]:
        while True:
            if self.mask is None:
                self.mask = np.array(layout.row_mask(sorted(self.support)), np.uint64)
            masked = rows & self.mask
            hashes = _hash(masked, seed)
            at = self._positions(hashes)
            known = np.zeros(len(rows), bool)
            if len(self.hashes):
                known = self.hashes[at] == hashes
                if not np.array_equal(self.keys[at[known]], masked[known]):
                    raise _Collision
            if known.all():
                return self.results[at]
            self._learn(rows[~known], masked[~known], hashes[~known], layout)

    def _positions(self, hashes: Words) -> npt.NDArray[np.int64]:
        at = np.searchsorted(self.hashes, hashes)
        return np.minimum(at, max(len(self.hashes) - 1, 0))

    def _learn(self, rows: Words, masked: Words, hashes: Words, layout: Layout) -> None:
        new, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        if not np.array_equal(masked[first][inverse], masked):
            raise _Collision
        results = np.zeros(len(new), np.int64)
        size = len(self.support)
        for i, row in enumerate(rows[first].tolist()):
            source = _reader(row, layout)
            result = self.trie.find(source)
            if result is None:
                reads, result = self.evaluate(source)
                self.trie.add(reads, result)
                self.support.update(reads)
            results[i] = result
        if len(self.support) > size:
            self.forget()
            return
        where = np.searchsorted(self.hashes, new)
        self.hashes = np.insert(self.hashes, where, new)
        old = self.keys.reshape(-1, rows.shape[1])
        self.keys = np.insert(old, where, masked[first], axis=0)
        self.results = np.insert(self.results, where, results)


def _reader(row: Sequence[int], layout: Layout) -> Callable[[str], Any]:
    return lambda key: layout.value(row, key)


@dataclass
class _Thread:
    """One thread: where it can stand, and the table of each such place."""

    key: str
    stepper: Stepper
    histories: list[tuple[History, bool]] = field(default_factory=list)
    tables: dict[tuple[int, tuple[Any, ...]], _Table] = field(default_factory=dict)


@dataclass(frozen=True)
class _Command:
    """The assignment part of a guarded command, and what to report of it."""

    thread: int
    reads: dict[str, Any]
    outcome: Outcome
    location: int


class Exploration:
    """One exhaustive exploration, level by level, up to a level with a violation.

    Args:
        program: what to explore.
        report: called after each level.
    """

    def __init__(
        self,
        program: Program,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self.program = program
        self.report = report
        self.seed = 1
        self.codes = {key: Codes() for key in program.initial[0]}
        self.threads: list[_Thread] = []
        for name, thread in program.threads.items():
            made = _Thread(f"@{name}", Stepper(program, thread))
            self.codes[made.key] = Codes()
            self._place(made, DONE, (), True)
            start = made.stepper.start()
            self._place(made, start.location, start.history, start.resting)
            self.threads.append(made)
        self.commands: list[_Command] = []
        self.questions: list[tuple[Any, ...]] = []
        self.evaluations = 0
        self.properties = [(p, _Table(self._property(p))) for p in program.states]
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
    ) -> Callable[[Callable[[str], Any]], tuple[dict[str, Any], int]]:
        def evaluate(source: Callable[[str], Any]) -> tuple[dict[str, Any], int]:
            self.evaluations += 1
            reads: dict[str, Any] = {}
            holds = p.holds(View(source, reads))
            return reads, int(holds)

        return evaluate

    def _table(self, t: int, location: int, script: tuple[Any, ...]) -> _Table:
        """The steps from a location, once the questions in `script` are answered."""
        thread = self.threads[t]
        if (location, script) not in thread.tables:
            history, _ = thread.histories[location]

            def evaluate(source: Callable[[str], Any]) -> tuple[dict[str, Any], int]:
                self.evaluations += 1
                run = thread.stepper.step(history, source, script)
                return run.reads, self._learn(t, run)

            thread.tables[location, script] = _Table(evaluate)
        return thread.tables[location, script]

    def _learn(self, t: int, run: StepRun) -> int:
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
        self.commands.append(_Command(t, run.reads, outcome, place))
        return len(self.commands) - 1

    # -- levels -----------------------------------------------------------------------

    def run(self) -> Verdict:
        """Explore to the end, to the first violation, or until interrupted."""
        while True:
            try:
                return self._run()
            except _Collision:
                self.seed += 2
                self._forget()

    def _forget(self) -> None:
        self.keeps: list[list[int]] = []
        self.sets: list[list[int]] = []
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
        interrupted = False
        violations: list[Violation] = []
        complete = False
        try:
            while True:
                self._remember(frontier)
                violations += self._check_states(frontier)
                if violations:
                    break
                frontier, parents, commands, broken = self._expand(frontier)
                violations += broken
                if violations or not len(frontier):
                    complete = not len(frontier)
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
            violations=tuple(violations),
            watched=self.watched,
            witnesses=self.reached,
            evaluations=self.evaluations,
            seconds=time.monotonic() - began,
            interrupted=interrupted,
        )

    def _progress(self, frontier: int, began: float) -> Progress:
        return Progress(
            self.base[-1],
            self.transitions,
            frontier,
            len(self.levels),
            time.monotonic() - began,
            self.evaluations,
        )

    def _remember(self, frontier: Words) -> None:
        hashes = _hash(frontier, self.seed)
        order = np.argsort(hashes)
        where = np.searchsorted(self.visited, hashes[order])
        self.visited = np.insert(self.visited, where, hashes[order])
        self.index = np.insert(self.index, where, order + self.base[-1])
        self.levels.append(frontier)
        self.base.append(self.base[-1] + len(frontier))

    def _check_states(self, frontier: Words) -> list[Violation]:
        found = []
        for p, table in self.properties:
            holds = table(frontier, self.layout, self.seed)
            bad = np.flatnonzero(holds == 0)
            if len(bad):
                trace = self._trace(len(self.levels) - 1, int(bad[0]))
                found.append(Violation(p.id, "", trace))
        return found

    def _expand(
        self, frontier: Words
    ) -> tuple[Words, npt.NDArray[np.int64], npt.NDArray[np.int64], list[Violation]]:
        """All successors of a level that are new, and the violations on the way."""
        parents, commands, stuck = self._moves(frontier)
        self._regrow_if_needed()
        frontier = self.levels[-1]
        self.transitions += len(parents)
        violations = self._report_commands(parents, commands)
        if len(stuck):
            trace = self._trace(len(self.levels) - 1, int(stuck[0]))
            violations.append(Violation("deadlock", "", trace))
        masks, bits = self._assignments()
        rows = (frontier[parents] & masks[commands]) | bits[commands]
        fresh = self._new(rows)
        return rows[fresh], parents[fresh], commands[fresh], violations

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

    def _report_commands(
        self, parents: npt.NDArray[np.int64], commands: npt.NDArray[np.int64]
    ) -> list[Violation]:
        """What the commands that were applied break, and what they witness."""
        violations = []
        seen, first = np.unique(commands, return_index=True)
        for number, at in zip(seen.tolist(), first.tolist(), strict=True):
            outcome = self.commands[number].outcome
            for name in outcome.witnesses:
                self.reached.setdefault(name, len(self.levels))
            for id in outcome.watched:
                self.watched.setdefault(id, len(self.levels))
            if outcome.broken:
                before = self._trace(len(self.levels) - 1, int(parents[at]))
                last = self._trace_step(number, before)
                trace = Trace(before.initial, (*before.steps, last))
                violations += [Violation(b, outcome.why, trace) for b in outcome.broken]
        return violations

    def _regrow_if_needed(self) -> None:
        if all(self.layout.fits(key) for key in self.codes):
            return
        old, self.layout = self.layout, Layout(list(self.codes), self.codes, spare=3)
        self.levels = [self.layout.repack(rows, old) for rows in self.levels]
        hashes = np.concatenate([_hash(rows, self.seed) for rows in self.levels])
        self.index = np.argsort(hashes)
        self.visited = hashes[self.index]
        self._forget()

    def _assignments(self) -> tuple[Words, Words]:
        """What to keep and what to set in a row, for every command known by now."""
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
        return self.keep_rows, self.set_rows

    def _new(self, rows: Words) -> npt.NDArray[np.int64]:
        """Positions of the rows that are neither visited nor repeated."""
        hashes = _hash(rows, self.seed)
        unique, first, inverse = np.unique(
            hashes, return_index=True, return_inverse=True
        )
        if not np.array_equal(rows[first][inverse], rows):
            raise _Collision
        at = np.minimum(np.searchsorted(self.visited, unique), len(self.visited) - 1)
        known = self.visited[at] == unique
        if not np.array_equal(self._rows(self.index[at[known]]), rows[first[known]]):
            raise _Collision
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

    def _trace_step(self, number: int, before: Trace) -> TraceStep:
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
            broken=command.outcome.broken,
        )


def explore(
    program: Program,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Verdict:
    """Visit every reachable state of `program` and judge its properties."""
    return Exploration(program, report).run()
