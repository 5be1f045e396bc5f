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
from spec.checker.levels import Levels
from spec.checker.packing import Words
from spec.checker.program import Trace, TraceStep
from spec.checker.tabulation import Tabulation

Pick = tuple[int, int]
"""Position of a state in its level, and number of a command that it takes."""


class Retracer:
    """Finds traces to states and steps of an exploration.

    Args:
        tabulation: all that is to be known of the states' steps.
        levels: their states.
    """

    def __init__(self, tabulation: Tabulation, levels: Levels) -> None:
        self.tabulation = tabulation
        self.levels = levels
        self.layout = levels.states.layout
        self.walker = Walker(tabulation.tables, self.layout)

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

    def to_step(self, level: int, id: str) -> tuple[Trace, str]:
        """The trace to a state of the level and a step from it, and what that said.

        Args:
            level: of the state.
            id: what the step breaks.
        """
        noted = np.zeros(len(self.tabulation.predicates), bool)
        judgements = self.tabulation.tables.judgements
        breaking = [n for n, found in enumerate(judgements) if id in found.broken]

        def breaks(moves: Moves) -> Numbers:
            which, judged = self.walker.judge(moves, noted, _nothing())
            chosen: Numbers = np.unique(which[np.isin(judged, breaking)])
            return chosen

        state, command = self._least_move(level, breaks)
        before = self.to_state(level, state)
        last = self._step(command, before, (id,))
        why = self.tabulation.commands[command].why
        return Trace(before.initial, (*before.steps, last)), why

    def to_state(self, level: int, position: int) -> Trace:
        """The trace to one state of the level."""
        path: list[int] = []
        while level > 0:
            target = np.array(self.levels.rows(level)[position])

            def leads_there(moves: Moves, target: Words = target) -> Numbers:
                return np.flatnonzero((moves.after() == target).all(axis=1))

            level -= 1
            position, command = self._least_move(level, leads_there)
            path.append(command)
        initial = self._initial(position)
        trace = Trace(initial, ())
        for command in reversed(path):
            step = self._step(command, trace)
            trace = Trace(initial, (*trace.steps, step))
        return trace

    # -- the first of several ---------------------------------------------------------

    def _chunks(self, level: int) -> Iterator[tuple[int, Words]]:
        rows = self.levels.rows(level)
        for at in range(0, len(rows), CHUNK):
            yield at, np.array(rows[at : at + CHUNK])

    def _least(self, level: int, wanted: Callable[[Words], Numbers]) -> int:
        """The position of the first of the level's states that are wanted."""
        found = [at + int(i) for at, rows in self._chunks(level) for i in wanted(rows)]
        return min(found, key=lambda position: self._state_text(level, position))

    def _least_move(self, level: int, wanted: Callable[[Moves], Numbers]) -> Pick:
        """The first of the steps from the level's states that are wanted."""
        found: list[Pick] = []
        for at, rows in self._chunks(level):
            moves = self.walker.moves(rows, _nothing())
            which = wanted(moves)
            parents = (moves.parents[which] + at).tolist()
            found += zip(parents, moves.commands[which].tolist(), strict=True)
        return min(found, key=lambda pick: self._move_text(level, pick))

    def _state_text(self, level: int, position: int) -> str:
        row = self.levels.rows(level)[position].tolist()
        table = self.tabulation
        return repr([table.value(self.layout, row, key) for key in table.tables.keys])

    def _move_text(self, level: int, pick: Pick) -> tuple[str, int, str]:
        command = self.tabulation.commands[pick[1]]
        state = self._state_text(level, pick[0])
        return state, command.thread, repr(command.choices)

    def _initial(self, position: int) -> dict[str, Any]:
        row = self.levels.rows(0)[position].tolist()
        names = self.tabulation.program.initial[0]
        return {key: self.tabulation.value(self.layout, row, key) for key in names}

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
                (key, state[key], value) for key, value in command.writes.items()
            ),
            choices=command.choices,
            broken=broken,
        )


def _nothing() -> list[Miss]:
    """Everything is known of the states that were expanded."""
    return []
