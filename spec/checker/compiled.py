"""The compiled engine: the same levels, state by state, in machine code (numba).

It walks the same trees as the NumPy engine and finds the same states. What it does
besides is to leave work out: what was found out of a state is remembered for others
that agree with it where it matters (`Memo`); where a step leads is not looked up if it
is known from other steps (`Sleep`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker.allocating import return_large_arrays
from spec.checker.archive import Archive, best_cut
from spec.checker.bulk import Found, Numbers
from spec.checker.columns import Column, Lists
from spec.checker.hash_table import BLOCK, EMPTY, fill
from spec.checker.machine_code import BATCH, MOST, check, expand
from spec.checker.memo import Memo, MemoOfLists
from spec.checker.packing import Layout, States, Word, Words
from spec.checker.renaming import numbers, places, scratch_for
from spec.checker.symmetry import Naming
from spec.checker.tables import Assignments, Tables

AT_ONCE = 1 << 17
"""States that are gone over before an interrupt is noticed."""
AHEAD = 2 * (BATCH + MOST)
"""So many more states have room before any are entered."""
GROWTH, FULL = 1.4, 0.875
"""Slots of a new table for each state, and how much of a table may be used."""
Bits = npt.NDArray[np.uint64]
MOST_THREADS = 8
"""So many threads have a bit each in what is kept of a state's sleep."""


class Sleep:
    """Which threads sleep in which new states: partial order reduction by sleep sets.

    Two steps of different threads commute if neither assigns a cell that the other
    reads or assigns; the recorded footprints tell. After one of them the other need
    not be followed if it is followed *before* the first: there it leads to the same
    states, in as many steps. Its thread then sleeps until a step of another thread does
    not commute with its own. The steps of a sleeping thread are counted and judged like
    all others; only where they lead is not looked up.

    So every state is still met on its own level. Of the shortest paths to a state take
    the one whose threads come first in their order. If a step on it were one of a
    sleeping thread, it could be moved to where that thread fell asleep, and the path
    would not be the first. Of a state that several steps of a level lead to, only those
    threads sleep that sleep after all of these steps.

    Only a thread with a single step sleeps, and one whose step asks no question:
    whatever its step read is known then.

    Attributes:
        reads, writes: for each command, the cells as bits of a few words.
    """

    def __init__(self, tables: Tables, size: int) -> None:
        self.tables = tables
        words = (len(tables.keys) + 63) // 64
        self.reads = np.zeros((0, words), np.uint64)
        self.writes = np.zeros((0, words), np.uint64)
        self.last = -1
        self.wake(size)

    def wake(self, size: int) -> None:
        """Let no thread sleep in any of the states, of which there are so many."""
        self.level = self.following = size, np.zeros(0, np.uint8)

    def leave(self, count: int) -> None:
        """The first states, so many, have left the store."""
        self.last -= count
        self.level, self.following = (
            (since - count, threads) for since, threads in (self.level, self.following)
        )

    def begin(self, todo: Numbers, size: int) -> None:
        """Begin to expand states; they are a new level, or some of the last once more.

        Args:
            todo: the positions of the states.
            size: how many states there are.
        """
        if len(todo) and todo[0] > self.last:
            self.last = todo[-1]
            self.level = self.following
            self.following = size, np.zeros(0, np.uint8)

    def arrays(self, rows: int, wanted: bool) -> tuple[Any, ...]:
        """What machine code is given, with room for so many states in all."""
        since, threads = self.following
        if rows - since > len(threads):
            more = np.zeros(rows - since - len(threads), np.uint8)
            self.following = since, np.concatenate([threads, more])
        possible = len(self.tables.threads) <= MOST_THREADS
        return wanted and possible, *self.level, *self.following

    def footprints(self) -> tuple[Bits, Bits]:
        """The cells that each command reads and assigns."""
        self.reads = _with_bits(self.reads, self.tables.found)
        self.writes = _with_bits(self.writes, self.tables.written)
        return self.reads, self.writes


def _with_bits(known: Bits, cells: Lists) -> Bits:
    """The same with a row of bits for each list of cells that has none yet."""
    count = cells.first.size - 1
    items, which = cells.ranges(np.arange(len(known), count))
    cell = cells.items.used[items].astype(np.uint64)
    more = np.zeros((count - len(known), known.shape[1]), np.uint64)
    at = which, (cell >> np.uint64(6)).astype(np.int64)
    np.bitwise_or.at(more, at, np.uint64(1) << (cell & np.uint64(63)))
    return np.concatenate([known, more])


class CompiledEngine:
    """Expands states in machine code.

    Args:
        tables: what is known of the program.
        states: the store; new states are added to it.
        order: whether threads sleep.

    Attributes:
        checked, enabled, judged: which states are known to have each property, and
            which all of them; which commands threads have, by the tree of their steps;
            for each command, of which states it was said what is to be said.
        archived: states that are known and have left the store.
        tried: whether states were to be archived already; they are not if it does not
            pay.
        unfollowed: how many steps of sleeping threads there were.
    """

    name = "numba"
    _made: tuple[Any, tuple[Any, ...]] | None

    def __init__(self, tables: Tables, states: States, order: bool = False) -> None:
        return_large_arrays()
        self.tables = tables
        self.states = states
        self.order = order
        self.unfollowed = 0
        self.archived = Archive(states.layout, 0)
        self.tried = False
        self.sleep = Sleep(tables, states.size)
        self.misses = np.zeros((1 << 14, 3), np.int64)
        self.rebuild()

    @property
    def memory(self) -> int:
        """Bytes that the table of states and the archive take."""
        return self.table.nbytes + self.archived.memory

    @property
    def cut(self) -> int:
        """How many words of a row no cell may leave or come to in another layout."""
        return self.archived.cut

    def rebuild(self) -> None:
        """Start over from the stored states, after their layout changed."""
        self.assignments = Assignments(self.tables, self.states.layout)
        words = self.states.layout.words
        self.checked, self.judged = Memo(words), Memo(words)
        self.enabled = MemoOfLists(words)
        self.work = workspace(words, len(self.tables.threads))
        self._made = None
        self.sleep.wake(self.states.size)
        self.archived.repack(self.states.layout)
        self._enter_all()

    def archive(self, count: int) -> bool:
        """Keep of the first states, so many, only which they are.

        Returns:
            whether that was done; not if their rows have few parts in common.
        """
        rows = self.states.rows
        if self.archived.size:
            self.archived.add(rows[:count])
        elif not self._begin_archive(rows[:count]):
            return False
        self.states.replace(rows[count:])
        self.sleep.leave(count)
        # most often the next level is about as large as this one
        self._enter_all(self.states.size)
        return True

    def _begin_archive(self, rows: Words) -> bool:
        """Archive the first states, if that pays; it is tried once, as it takes long.

        Returns:
            whether that was done.
        """
        layout = self.states.layout
        if self.tried or layout.words < 2:
            return False
        self.tried = True
        archive = Archive(layout, best_cut(rows), len(rows))
        archive.add(rows)
        if archive.pays:
            self.archived = archive
        return archive.pays

    def _enter_all(self, more: int = 0) -> None:
        """A new table, with room for more states than there are."""
        slots = int(GROWTH * (self.states.size + more + AHEAD))
        # the old one goes first
        self.table = np.empty(0, np.uint32)
        self.table = np.full(slots, EMPTY, np.uint32)
        fill(self.states.rows, *self._entered(), np.empty(BLOCK + 1, np.uint64))

    def _entered(self) -> tuple[npt.NDArray[np.uint32], int]:
        """The table, and how many bits of its entries say where a row is."""
        return self.table, len(self.table).bit_length()

    def _room(self) -> Words:
        """The rows of the store, with room for as many new ones as the table has."""
        if self.states.size + AHEAD > FULL * len(self.table):
            self._enter_all()
        # machine code is left each time when there is no more room
        more = max(AHEAD, self.states.size // 8)
        return self.states.reserve(more)[: int(FULL * len(self.table))]

    def check(self, todo: Numbers, found: Found) -> None:
        """Evaluate the properties of the states at these positions."""
        table, redo = self.tables, np.empty(len(todo), np.int64)
        while len(todo):
            done, redone, missed = check(
                todo[:AT_ONCE],
                self.states.rows,
                table.state_tree.used,
                table.tree_slot.used,
                table.forest.code,
                self.checked.arrays(table.state_tree.size + 1),
                found.bad,
                redo,
                self.misses,
            )
            self._note(found, redo[:redone], missed)
            todo = todo[done:]

    def expand(self, todo: Numbers, noted: npt.NDArray[np.bool_], found: Found) -> None:
        """Take all steps from the states at these positions.

        Args:
            todo: positions of states.
            noted: predicates that need not be asked.
            found: what is met is noted there.
        """
        redo = np.empty(len(todo), np.int64)
        self.sleep.begin(todo, self.states.size)
        while len(todo):
            rows = self._room()
            said = np.zeros(len(self.tables.judgements), np.bool_)
            done, size, transitions, unfollowed, redone, missed, deadlock = expand(
                todo[:AT_ONCE],
                rows,
                self.states.size,
                self._entered(),
                self.archived.arrays(),
                self.tables.forest.code,
                *self._arrays(noted),
                self.sleep.arrays(len(rows), self.order),
                self.work,
                said,
                redo,
                self.misses,
            )
            self.states.size = size
            found.transitions += transitions
            self.unfollowed += unfollowed
            found.deadlock |= deadlock
            found.judgements.update(np.flatnonzero(said).tolist())
            self._note(found, redo[:redone], missed)
            todo = todo[done:]

    def _note(self, found: Found, redo: Numbers, missed: int) -> None:
        found.redo.append(redo.copy())
        for tree, position, command in self.misses[:missed].tolist():
            if tree < 0:
                found.misses.append((tree, [position, command]))
                continue
            row = self.states.rows[position]
            found.misses.append((tree, self._row(row, command).tolist()))

    def _row(self, row: Words, command: int) -> Words:
        """The row of a state; with it, if there is a command, the one after it."""
        if command < 0:
            return row
        kept, bits = self.assignments.refresh()
        return np.concatenate([row, (row & kept[command]) | bits[command]])

    # -- what machine code is given ---------------------------------------------------

    def _arrays(self, noted: npt.NDArray[np.bool_]) -> tuple[Any, ...]:
        """All arrays, made anew only after something was learned."""
        table, naming = self.tables, self.tables.naming
        columns = [table.tree_slot, table.form, table.option_trees.first]
        if naming is not None:
            columns += [naming.start, naming.code]
        now = self.states.layout, *(column.size for column in columns)
        if self._made is None or self._made[0] != now:
            self._made = (
                now,
                (
                    self._steps(),
                    self.enabled.with_lists(table.tree_slot.size),
                    self._judges(),
                    self._renaming(),
                ),
            )
        steps, enabled, judges, renaming = self._made[1]
        return steps, enabled, (*judges, noted), renaming

    def _steps(self) -> tuple[Any, ...]:
        table, fields = self.tables, self.states.layout.fields
        return (
            table.tree_slot.used,
            np.array([fields[place] for place in table.threads], np.int64),
            side_by_side(table.step_tree),
            side_by_side(table.resting),
            table.option_trees.first.used,
            table.option_trees.items.used,
            *self.assignments.refresh(),
            *self.sleep.footprints(),
        )

    def _renaming(self) -> tuple[Any, ...]:
        """Whether to rename states, and how."""
        naming, layout = self.tables.naming, self.states.layout
        symmetry = naming is not None
        if naming is None:
            naming, layout = Naming(("",), ()), Layout(("",), (1,), 0)
        given = places(layout), numbers(naming, layout)
        return symmetry, *given, scratch_for(*given)

    def _judges(self) -> tuple[Any, ...]:
        table = self.tables
        return (
            table.form.used,
            table.judge_trees.first.used,
            table.judge_trees.items.used,
            table.judge_predicate.used,
            table.raises.used,
            self.judged.arrays(table.form.size),
        )


def workspace(words: int, threads: int) -> tuple[Any, ...]:
    """Room for what machine code has at hand.

    Args:
        words: of each row.
        threads: how many there are.

    Returns:
        of one state the commands, the thread of each, and the only command of each
        thread; of the steps of a batch the rows before and after them, the commands,
        and which state each is of; whether their threads sleep, and which sleep after
        them; of their ends the rows, hashes and sleeping threads, which of them are
        looked for in the archive, and numbers for that; of each state whether not all
        is known; trees that are still to be walked; bits that were looked at.
    """
    room = BATCH + MOST
    return (
        (*np.empty((2, MOST), np.uint32), np.empty(threads, np.int32)),
        (np.empty((room, 2 * words), Word), *np.empty((2, room), np.uint32)),
        np.empty(room, np.bool_),
        np.empty(room, np.int32),
        (
            np.empty((room, words), Word),
            np.empty(room + 1, np.uint64),
            np.empty(room, np.int32),
            np.empty(room, np.int32),
            np.empty((2, room + 1), np.uint64),
        ),
        np.empty(BATCH, np.bool_),
        np.empty(MOST, np.int32),
        np.empty(2 * words, Word),
    )


def side_by_side(columns: list[Column]) -> npt.NDArray[Any]:
    """Columns of different lengths as one array."""
    found = np.zeros(
        (len(columns), max(c.size for c in columns)), columns[0].rows.dtype
    )
    for row, column in zip(found, columns, strict=True):
        row[: column.size] = column.used
    return found
