"""The compiled engine: the same levels, state by state, in machine code (numba).

It walks the same trees as the NumPy engine and finds the same states. What it does
besides: a judgement that reads nothing but what a command found and assigned is the
same for every step of that command, so it is made once (`settled`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from spec.checker.bulk import Found, Numbers
from spec.checker.columns import Column
from spec.checker.forest import CHILDREN, LEAF, MASK, PENDING, PLACE, WIDTH
from spec.checker.packing import Layout, States, Words
from spec.checker.renaming import numbers, places, rename, scratch_for
from spec.checker.symmetry import Naming
from spec.checker.tables import Assignments, Tables

EMPTY = -1
FIRST_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SECOND_MULTIPLIER = np.uint64(0xC2B2AE3D27D4EB4F)
SHIFT = np.uint64(32)
AT_ONCE = 1 << 17
"""States that are gone over before an interrupt is noticed."""
MOST = 4096
"""The most steps that one state may have, and the most questions."""

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]
compiled: Compile = njit(cache=True, nogil=True, boundscheck=False)
inlined: Compile = njit(cache=True, nogil=True, boundscheck=False, inline="always")


@inlined
def _walk(slot, row, code):  # type: ignore[no-untyped-def]
    """The slot of the leaf to which a row leads."""
    node = code[slot]
    while node >= 0:
        place = code[node + PLACE]
        number = np.int32(row[place >> 6] >> np.uint64(place & 63)) & code[node + MASK]
        slot = node + CHILDREN + min(number, code[node + WIDTH])
        node = code[slot]
    return slot


@inlined
def _walk_within(slot, row, code, known):  # type: ignore[no-untyped-def]
    """The same, and whether only known cells were looked at."""
    within = True
    node = code[slot]
    while node >= 0:
        within &= known[code[node]]
        place = code[node + PLACE]
        number = np.int32(row[place >> 6] >> np.uint64(place & 63)) & code[node + MASK]
        slot = node + CHILDREN + min(number, code[node + WIDTH])
        node = code[slot]
    return slot, within


@inlined
def _hash(row, words):  # type: ignore[no-untyped-def]
    """A number for a row."""
    mixed = np.uint64(1)
    for i in range(words):
        mixed = (mixed ^ row[i]) * FIRST_MULTIPLIER
        mixed ^= mixed >> SHIFT
    mixed *= SECOND_MULTIPLIER
    return mixed ^ (mixed >> SHIFT)


@compiled
def _fill(rows, table):  # type: ignore[no-untyped-def]
    """Enter all rows, which are different, into an empty table."""
    last = np.uint64(len(table) - 1)
    for i in range(rows.shape[0]):
        at = _hash(rows[i], rows.shape[1]) & last
        while table[at] != EMPTY:
            at = (at + np.uint64(1)) & last
        table[at] = i


@inlined
def _miss(code, slot, misses, missed, tree, position, command):  # type: ignore[no-untyped-def]
    """Note what is to be learned, once for each slot; returns the number of misses."""
    if code[slot] == PENDING or missed == len(misses):
        return missed
    code[slot] = PENDING
    misses[missed, 0] = tree
    misses[missed, 1] = position
    misses[missed, 2] = command
    return missed + 1


@compiled
def _check(todo, rows, trees, tree_slot, code, bad, redo, misses):  # type: ignore[no-untyped-def]
    """Evaluate properties of states.

    Returns how many states were looked at, how many are to be redone, and the number
    of misses.
    """
    redone = missed = 0
    for done in range(len(todo)):
        if missed + len(trees) > len(misses):
            return done, redone, missed
        row = rows[todo[done]]
        unknown = False
        for p in range(len(trees)):
            slot = _walk(tree_slot[trees[p]], row, code)
            leaf = code[slot]
            if leaf > LEAF:
                unknown = True
                missed = _miss(code, slot, misses, missed, trees[p], todo[done], -1)
            elif leaf == LEAF - 1:
                bad[p] = True
        if unknown:
            redo[redone] = todo[done]
            redone += 1
    return len(todo), redone, missed


@inlined
def _add(rows, size, table):  # type: ignore[no-untyped-def]
    """Enter the row behind the last one, if it is new; returns the number of rows."""
    last = np.uint64(len(table) - 1)
    at = _hash(rows[size], rows.shape[1]) & last
    while table[at] != EMPTY:
        other = table[at]
        same = True
        for i in range(rows.shape[1]):
            same &= rows[other, i] == rows[size, i]
        if same:
            return size
        at = (at + np.uint64(1)) & last
    table[at] = size
    return size + 1


@compiled
def _commands(pair, position, code, steps, asked, commands, misses, missed):  # type: ignore[no-untyped-def]
    """Find the commands that a state enables.

    Returns how many there are, whether some thread may not stay where it is, whether
    not all is known, and the number of misses.
    """
    tree_slot, places, step_tree, resting, first_option, option_tree = steps[:6]
    active = unknown = False
    asks = count = 0
    for t in range(len(places)):
        here = np.int64(pair[places[t, 0]] >> np.uint64(places[t, 1])) & places[t, 2]
        active |= not resting[t, here]
        asked[asks] = step_tree[t, here]
        asks += 1
    while asks > 0:
        asks -= 1
        tree = asked[asks]
        slot = _walk(tree_slot[tree], pair, code)
        leaf = code[slot]
        if leaf > LEAF:
            unknown = True
            missed = _miss(code, slot, misses, missed, tree, position, -1)
            continue
        number = LEAF - leaf
        if number % 2 == 0:
            commands[count] = number // 2
            count += 1
            continue
        first, end = first_option[number // 2], first_option[number // 2 + 1]
        if count + asks + end - first > len(asked):
            raise ValueError("a state has more steps than the engine has room for")
        for option in range(first, end):
            asked[asks] = option_tree[option]
            asks += 1
    return count, active, unknown, missed


@inlined
def _take(pair, command, kept, bits):  # type: ignore[no-untyped-def]
    """Write the state after a command behind the one before it."""
    words = len(pair) // 2
    for i in range(words):
        pair[words + i] = (pair[i] & kept[command, i]) | bits[command, i]


@compiled
def _judge(pair, position, command, code, tree_slot, judges, said, misses, missed):  # type: ignore[no-untyped-def]
    """Judge a step; returns whether not all is known, and the number of misses."""
    form, first_judge, judge_tree, judge_predicate, raised = judges[:5]
    known, settled, at, noted = judges[5:]
    unknown = False
    first = first_judge[form[command]]
    for j in range(first, first_judge[form[command] + 1]):
        answer = at[command] + j - first
        predicate = judge_predicate[j]
        if settled[answer] or (predicate >= 0 and noted[predicate]):
            continue
        tree = judge_tree[j]
        slot, within = _walk_within(tree_slot[tree], pair, code, known[command])
        leaf = code[slot]
        if leaf > LEAF:
            unknown = True
            missed = _miss(code, slot, misses, missed, tree, position, command)
            continue
        said[LEAF - leaf] = True
        settled[answer] = within
    said[raised[command]] = True
    return unknown, missed


@compiled
def _expand(  # type: ignore[no-untyped-def]
    todo, rows, size, table, code, steps, judges, renaming, said, redo, misses
):
    """Take all steps from states; new states are entered behind the others.

    Returns how many states were looked at, the number of rows, of transitions, of
    states to be redone, of misses, and whether a deadlock was met.
    """
    words = rows.shape[1]
    symmetry, fields, naming = renaming
    tree_slot, kept, bits = steps[0], steps[6], steps[7]
    transitions = redone = missed = 0
    deadlock = False
    asked = np.empty(MOST, np.int32)
    commands = np.empty(MOST, np.int32)
    pair = np.empty(2 * words, np.uint64)
    after = pair[words:]
    scratch = scratch_for(fields, naming)
    for done in range(len(todo)):
        if missed + MOST > len(misses) or size + MOST > len(rows):
            return done, size, transitions, redone, missed, deadlock
        position = todo[done]
        pair[:words] = rows[position]
        count, active, unknown, missed = _commands(
            pair, position, code, steps, asked, commands, misses, missed
        )
        for command in commands[:count]:
            _take(pair, command, kept, bits)
            unjudged, missed = _judge(
                pair, position, command, code, tree_slot, judges, said, misses, missed
            )
            unknown |= unjudged
            if symmetry:
                missed, named = rename(
                    after, rows[size], fields, naming, scratch, misses, missed
                )
                unknown |= not named
            else:
                named = True
                rows[size] = after
            if named:
                size = _add(rows, size, table)
        if unknown:
            redo[redone] = position
            redone += 1
        else:
            deadlock |= active and count == 0
            transitions += count
    return len(todo), size, transitions, redone, missed, deadlock


class Settled:
    """For each command, which cells it settles, and which judgements are made.

    Attributes:
        first: for each command, where its judgements begin.
        known: for each command, the cells that it found or assigned.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.first = np.zeros(0, np.int64)
        self.known = np.zeros((0, 2 * len(tables.keys)), np.bool_)
        self.made = np.zeros(1024, np.bool_)
        self.size = 0

    def refresh(self) -> None:
        """Make room for the commands that were learned since."""
        table, now = self.tables, len(self.first)
        if now == table.form.size:
            return
        commands = np.arange(now, table.form.size)
        known = np.zeros((len(commands), 2 * len(table.keys)), np.bool_)
        for lists, primed in ((table.found, 0), (table.written, len(table.keys))):
            items, which = lists.ranges(commands)
            known[which, lists.items.used[items] + primed] = True
        self.known = np.concatenate([self.known, known])
        form, first = table.form.used[now:], table.judge_trees.first.used
        ends = self.size + np.cumsum(first[form + 1] - first[form])
        self.first = np.concatenate([self.first, [self.size], ends[:-1]])
        self.size = int(ends[-1])
        if self.size > len(self.made):
            more = np.zeros(max(self.size, len(self.made)), np.bool_)
            self.made = np.concatenate([self.made, more])


class CompiledEngine:
    """Expands states in machine code.

    Args:
        tables: what is known of the program.
        states: the store; new states are added to it.
    """

    name = "numba"

    def __init__(self, tables: Tables, states: States) -> None:
        self.tables = tables
        self.states = states
        self.settled = Settled(tables)
        self.misses = np.zeros((1 << 14, 3), np.int64)
        self._made: tuple[Any, tuple[Any, ...]] | None = None
        self.rebuild()

    @property
    def memory(self) -> int:
        """Bytes that the table of states takes."""
        return self.table.nbytes

    def rebuild(self) -> None:
        """Start over from the stored states, after their layout changed."""
        self.assignments = Assignments(self.tables, self.states.layout)
        self._enter_all()

    def _enter_all(self) -> None:
        """A new table, with room for as many states as the store has."""
        least = len(self.states.reserve(0)) * 3 // 2
        self.table = np.full(1 << (least - 1).bit_length(), EMPTY, np.int32)
        _fill(self.states.rows, self.table)

    def check(self, todo: Numbers, found: Found) -> None:
        """Evaluate the properties of the states at these positions."""
        table, redo = self.tables, np.empty(len(todo), np.int64)
        while len(todo):
            done, redone, missed = _check(
                todo[:AT_ONCE],
                self.states.rows,
                table.state_tree.used,
                table.tree_slot.used,
                table.forest.code,
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
        while len(todo):
            rows = self.states.reserve(2 * MOST)
            if len(self.table) < len(rows) * 3 // 2:
                self._enter_all()
            said = np.zeros(len(self.tables.judgements), np.bool_)
            done, size, transitions, redone, missed, deadlock = _expand(
                todo[:AT_ONCE],
                rows,
                self.states.size,
                self.table,
                self.tables.forest.code,
                *self._arrays(noted),
                said,
                redo,
                self.misses,
            )
            self.states.size = size
            found.transitions += transitions
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
            self._made = now, (self._steps(), self._judges(), self._renaming())
        steps, judges, renaming = self._made[1]
        return steps, (*judges, noted), renaming

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
        )

    def _renaming(self) -> tuple[Any, ...]:
        """Whether to rename states, and how."""
        naming, layout = self.tables.naming, self.states.layout
        if naming is None:
            return (
                False,
                places(layout),
                numbers(Naming(("",), ()), Layout(("",), (1,), 0)),
            )
        return True, places(layout), numbers(naming, layout)

    def _judges(self) -> tuple[Any, ...]:
        table = self.tables
        self.settled.refresh()
        return (
            table.form.used,
            table.judge_trees.first.used,
            table.judge_trees.items.used,
            table.judge_predicate.used,
            table.raises.used,
            self.settled.known,
            self.settled.made,
            self.settled.first,
        )


def side_by_side(columns: list[Column]) -> npt.NDArray[Any]:
    """Columns of different lengths as one array."""
    found = np.zeros(
        (len(columns), max(c.size for c in columns)), columns[0].rows.dtype
    )
    for row, column in zip(found, columns, strict=True):
        row[: column.size] = column.used
    return found
