"""The NumPy engine: whole levels of states at once, one array operation at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from spec.checker.forest import CHILDREN, LEAF, MASK, PENDING, PLACE, WIDTH
from spec.checker.packing import WORD, Layout, States, Word, Words
from spec.checker.tables import Assignments, Tables
from spec.checker.visited import Visited

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Miss = tuple[int, list[int]]
"""A tree, and a row for which it is not known what it gives."""
CHUNK = 1 << 14
"""States that are expanded together: few enough for the processor's cache."""


@dataclass
class Found:
    """What an engine notes while it works on some states.

    Attributes:
        transitions: how many steps the states have that were expanded.
        bad: for each property of states, whether one of the states breaks it.
        judgements: the numbers of all judgements on steps from these states.
        deadlock: whether one of the states is.
        redo: positions of states of which not all is known.
        misses: what to learn for these.
    """

    bad: Flags
    judgements: set[int] = field(default_factory=set)
    transitions: int = 0
    deadlock: bool = False
    redo: list[Numbers] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)


@dataclass
class Moves:
    """The steps from some states.

    Attributes:
        parents, commands: positions of states, and what each does.
        before, after: the rows before and after each step, side by side.
        stuck: which states are deadlocks.
        unknown: which states are left out, because not all is known.
    """

    parents: Numbers
    commands: Numbers
    pairs: Words
    stuck: Flags
    unknown: Flags

    def after(self) -> Words:
        """The rows after the steps."""
        return self.pairs[:, self.pairs.shape[1] // 2 :]


class Walker:
    """Walks trees for many rows at once, and notes what they do not know."""

    def __init__(self, tables: Tables, layout: Layout) -> None:
        self.tables = tables
        self.layout = layout
        self.assignments = Assignments(tables, layout)

    def walk(
        self, rows: Words, at: Numbers, trees: Numbers, misses: list[Miss]
    ) -> Numbers:
        """The leaf for each pair of row and tree; -1 where it is not known.

        Args:
            rows: states, or the states before and after steps side by side.
            at: positions of rows.
            trees: as many trees.
            misses: what is not known is added to it.
        """
        code = self.tables.forest.code
        flat, start = rows.reshape(-1), at * rows.shape[1]
        slots = self.tables.tree_slot.used[trees].astype(np.int64)
        found = code[slots].astype(np.int64)
        active = np.flatnonzero(found >= 0)
        while len(active):
            node = found[active]
            place = code[node + PLACE]
            words = flat[start[active] + place // WORD]
            number = (words >> (place % WORD).astype(Word)).astype(np.int64)
            number = np.minimum(number & code[node + MASK], code[node + WIDTH])
            slots[active] = node + CHILDREN + number
            found[active] = code[slots[active]]
            active = active[found[active] >= 0]
        unknown = found > LEAF
        if unknown.any():
            self._note(rows, at[unknown], trees[unknown], slots[unknown], misses)
        return np.where(unknown, -1, LEAF - found)

    def _note(
        self,
        rows: Words,
        at: Numbers,
        trees: Numbers,
        slots: Numbers,
        misses: list[Miss],
    ) -> None:
        """Ask once for each slot."""
        code = self.tables.forest.code
        new, first = np.unique(slots, return_index=True)
        first = first[code[new] != PENDING]
        code[new] = PENDING
        rows_asked = rows[at[first]].tolist()
        misses.extend(zip(trees[first].tolist(), rows_asked, strict=True))

    def moves(self, rows: Words, misses: list[Miss]) -> Moves:
        """All steps from these states."""
        table = self.tables
        here = np.arange(len(rows))
        active = np.zeros(len(rows), bool)
        unknown = np.zeros(len(rows), bool)
        trees = []
        for t, place in enumerate(table.threads):
            where = self.layout.column(rows, place)
            trees.append(table.step_tree[t].used[where])
            active |= ~table.resting[t].used[where]
        at, ask = np.tile(here, len(trees)), np.concatenate(trees).astype(np.int64)
        parents, commands = [], []
        while len(at):
            leaves = self.walk(rows, at, ask, misses)
            unknown[at[leaves < 0]] = True
            is_command = (leaves >= 0) & (leaves % 2 == 0)
            parents.append(at[is_command])
            commands.append(leaves[is_command] >> 1)
            at, ask = self._options(at, leaves)
        return self._moves(rows, parents, commands, active, unknown)

    def _options(self, at: Numbers, leaves: Numbers) -> tuple[Numbers, Numbers]:
        """Rows and trees of the options, where a question was met."""
        asks = (leaves >= 0) & (leaves % 2 == 1)
        question = leaves[asks] >> 1
        items, which = self.tables.option_trees.ranges(question)
        options = self.tables.option_trees.items.used[items].astype(np.int64)
        return at[asks][which], options

    def _moves(
        self,
        rows: Words,
        parents: list[Numbers],
        commands: list[Numbers],
        active: Flags,
        unknown: Flags,
    ) -> Moves:
        parent, command = np.concatenate(parents), np.concatenate(commands)
        known = ~unknown[parent]
        parent, command = parent[known], command[known]
        moved = np.zeros(len(rows), bool)
        moved[parent] = True
        kept, bits = self.assignments.refresh()
        before = rows[parent]
        after = (before & kept[command]) | bits[command]
        pairs = np.hstack([before, after])
        return Moves(parent, command, pairs, active & ~moved & ~unknown, unknown)

    def judge(
        self, moves: Moves, noted: Flags, misses: list[Miss]
    ) -> tuple[Numbers, Numbers]:
        """Pairs of move and judgement, where there is one; -1: it is not known.

        Args:
            moves: the steps.
            noted: predicates that need not be asked.
            misses: what is not known is added to it.
        """
        table = self.tables
        items, which = table.judge_trees.ranges(table.form.used[moves.commands])
        predicate = table.judge_predicate.used[items]
        wanted = (predicate < 0) | ~noted[predicate]
        items, which = items[wanted], which[wanted]
        trees = table.judge_trees.items.used[items].astype(np.int64)
        leaves = self.walk(moves.pairs, which, trees, misses)
        said = np.flatnonzero(leaves)
        raised = table.raises.used[moves.commands]
        by_itself = np.flatnonzero(raised)
        return (
            np.concatenate([which[said], by_itself]),
            np.concatenate([leaves[said], raised[by_itself]]),
        )


class Engine(Protocol):
    """Goes over states for an exploration."""

    name: str

    @property
    def memory(self) -> int:
        """Bytes that the table of states takes."""

    @property
    def cut(self) -> int:
        """How many words of a row no cell may leave or come to in another layout."""

    def __init__(self, tables: Tables, states: States, order: bool = False) -> None: ...

    def rebuild(self) -> None:
        """Start over from the stored states, after their layout changed."""

    def archive(self, count: int) -> bool:
        """Keep of the first states in the store only which they are, if that pays.

        Returns:
            whether they have left the store.
        """

    def check(self, todo: Numbers, found: Found) -> None:
        """Evaluate the properties of the states at these positions."""

    def expand(self, todo: Numbers, noted: Flags, found: Found) -> None:
        """Take all steps from the states at these positions, store new states."""


class BulkEngine:
    """Expands states with NumPy.

    Args:
        tables: what is known of the program.
        states: the store; new states are added to it.
        order: not used: looking up a level at once gains nothing by leaving steps out.
    """

    name = "numpy"
    cut = 0

    def __init__(self, tables: Tables, states: States, order: bool = False) -> None:
        self.tables = tables
        self.states = states
        self.rebuild()

    @property
    def memory(self) -> int:
        """Bytes that the table of states takes."""
        return sum(hashes.nbytes + n.nbytes for hashes, n in self.visited.runs)

    def rebuild(self) -> None:
        """Start over from the stored states, after their layout changed."""
        self.walker = Walker(self.tables, self.states.layout)
        self.visited = Visited(self.states)

    def archive(self, count: int) -> bool:
        """This engine looks rows up: it needs them all."""
        return False

    def check(self, todo: Numbers, found: Found) -> None:
        """Evaluate the properties of the states at these positions."""
        for at in _chunks(todo):
            rows = self.states.rows[at]
            unknown = np.zeros(len(at), bool)
            here = np.arange(len(at))
            for p, tree in enumerate(self.tables.state_tree.used):
                trees = np.full(len(at), tree, np.int64)
                leaves = self.walker.walk(rows, here, trees, found.misses)
                found.bad[p] |= bool((leaves == 1).any())
                unknown |= leaves < 0
            found.redo.append(at[unknown])

    def expand(self, todo: Numbers, noted: Flags, found: Found) -> None:
        """Take all steps from the states at these positions.

        Args:
            todo: positions of states.
            noted: predicates that need not be asked.
            found: what is met is noted there.
        """
        for at in _chunks(todo):
            moves = self.walker.moves(self.states.rows[at], found.misses)
            which, judged = self.walker.judge(moves, noted, found.misses)
            moves.unknown[moves.parents[which[judged < 0]]] = True
            rows = self._renamed(moves, found.misses)
            known = ~moves.unknown[moves.parents]
            found.judgements.update(np.unique(judged[judged > 0]).tolist())
            found.deadlock |= bool(moves.stuck.any())
            found.transitions += int(known.sum())
            found.redo.append(at[moves.unknown])
            self.visited.add(rows[known])

    def _renamed(self, moves: Moves, misses: list[Miss]) -> Words:
        """The rows after the steps, with other names if that is wanted."""
        naming, rows = self.tables.naming, moves.after()
        if naming is None:
            return rows
        # loads numba, which takes as long as a small exploration
        from spec.checker.renaming import renamed_rows

        rows, known, missing = renamed_rows(
            np.ascontiguousarray(rows), naming, self.states.layout
        )
        moves.unknown[moves.parents[~known]] = True
        misses += missing
        return rows


def _chunks(todo: Numbers) -> Iterator[Numbers]:
    return (todo[i : i + CHUNK] for i in range(0, len(todo), CHUNK))
