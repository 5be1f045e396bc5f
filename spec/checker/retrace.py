"""Shortest traces, found again backwards: no state remembers where it came from.

The states of each level are known. Which step led to a state is found by taking all
steps from the level before once more; that happens only where something is broken. Of
several traces the first in the order of texts is shown, so that all engines show the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from spec.checker.bulk import CHUNK, Miss, Moves, Numbers, Walker
from spec.checker.packing import States, Words
from spec.checker.program import Trace, TraceStep
from spec.checker.tabulation import Tabulation

Pick = tuple[int, int]
"""Position of a state, and number of a command that it takes."""


class Retracer:
    """Finds traces to states and steps of an exploration.

    Args:
        tabulation: all that is to be known of the states' steps.
        states: the store.
        base: the position at which each level begins, and where the last one ends.
    """

    def __init__(self, tabulation: Tabulation, states: States, base: list[int]) -> None:
        self.tabulation = tabulation
        self.states = states
        self.base = base
        self.walker = Walker(tabulation.tables, states.layout)

    def to_bad_state(self, level: int, number: int) -> Trace:
        """The trace to a state of the level that breaks a property of states."""
        tree = self.tabulation.tables.state_tree.rows[number]

        def bad(rows: Words) -> Numbers:
            trees = np.full(len(rows), tree, np.int64)
            leaves = self.walker.walk(rows, np.arange(len(rows)), trees, _nothing())
            return np.flatnonzero(leaves == 1)

        return self.to_state(level, self._least(level, bad))

    def to_deadlock(self, level: int) -> Trace:
        """The trace to a state of the level that is a deadlock."""

        def stuck(rows: Words) -> Numbers:
            return np.flatnonzero(self.walker.moves(rows, _nothing()).stuck)

        return self.to_state(level, self._least(level, stuck))

    def to_step(self, level: int, judgement: int, id: str) -> tuple[Trace, str]:
        """The trace to a state of the level and a step from it, and what that said.

        Args:
            level: of the state.
            judgement: number of the judgement on the step.
            id: what it says is broken.
        """
        noted = np.zeros(len(self.tabulation.predicates), bool)

        def breaks(moves: Moves) -> Numbers:
            which, judged = self.walker.judge(moves, noted, _nothing())
            chosen: Numbers = which[judged == judgement]
            return chosen

        state, command = self._least_move(level, breaks)
        before = self.to_state(level, state)
        last = self._step(command, before, (id,))
        why = self.tabulation.commands[command].outcome.why
        return Trace(before.initial, (*before.steps, last)), why

    def to_state(self, level: int, position: int) -> Trace:
        """The trace to one state of the level."""
        path: list[int] = []
        while level > 0:
            target = self.states.rows[position]

            def leads_there(moves: Moves, target: Words = target) -> Numbers:
                return np.flatnonzero((moves.after() == target).all(axis=1))

            level -= 1
            position, command = self._least_move(level, leads_there)
            path.append(command)
        initial = self._state(position)
        trace = Trace(initial, ())
        for command in reversed(path):
            step = self._step(command, trace)
            trace = Trace(initial, (*trace.steps, step))
        return trace

    # -- the first of several ---------------------------------------------------------

    def _chunks(self, level: int) -> Iterator[tuple[int, Words]]:
        for at in range(self.base[level], self.base[level + 1], CHUNK):
            end = min(at + CHUNK, self.base[level + 1])
            yield at, self.states.rows[at:end]

    def _least(self, level: int, wanted: Callable[[Words], Numbers]) -> int:
        """The position of the first of the level's states that are wanted."""
        found = [at + int(i) for at, rows in self._chunks(level) for i in wanted(rows)]
        return min(found, key=self._state_text)

    def _least_move(self, level: int, wanted: Callable[[Moves], Numbers]) -> Pick:
        """The first of the steps from the level's states that are wanted."""
        found: list[Pick] = []
        for at, rows in self._chunks(level):
            moves = self.walker.moves(rows, _nothing())
            which = wanted(moves)
            parents = (moves.parents[which] + at).tolist()
            found += zip(parents, moves.commands[which].tolist(), strict=True)
        return min(found, key=self._move_text)

    def _state_text(self, position: int) -> str:
        row = self.states.rows[position].tolist()
        table, layout = self.tabulation, self.states.layout
        return repr([table.value(layout, row, key) for key in table.tables.keys])

    def _state(self, position: int) -> dict[str, Any]:
        row = self.states.rows[position].tolist()
        table, layout = self.tabulation, self.states.layout
        names = table.program.initial[0]
        return {key: table.value(layout, row, key) for key in names}

    def _move_text(self, pick: Pick) -> tuple[str, int, str]:
        command = self.tabulation.commands[pick[1]]
        return self._state_text(pick[0]), command.thread, repr(command.outcome.choices)

    def _step(
        self, number: int, before: Trace, broken: tuple[str, ...] = ()
    ) -> TraceStep:
        command = self.tabulation.commands[number]
        *_, state = before.states()
        return TraceStep(
            thread=list(self.tabulation.program.threads)[command.thread],
            functions=self.tabulation.functions(command),
            reads=tuple(command.reads.items()),
            writes=tuple(
                (key, state[key], value)
                for key, value in command.outcome.writes.items()
            ),
            choices=command.outcome.choices,
            broken=broken,
        )


def _nothing() -> list[Miss]:
    """Everything is known of the states that were expanded."""
    return []
