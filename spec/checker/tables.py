"""What engines need of a program: decision trees and commands, as arrays of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker.forest import Forest
from spec.checker.judgement import Judgement
from spec.checker.packing import Layout, Words

ALL_ONES = (1 << 64) - 1


class Column:
    """A growing array of whole numbers, or of rows of them."""

    def __init__(self, dtype: Any, width: int = 0) -> None:
        self.rows = np.zeros((64, width) if width else 64, dtype)
        self.size = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": self.used, "size": self.size}

    def append(self, value: Any) -> None:
        """Add a number or a row at the end."""
        if self.size == len(self.rows):
            more = np.zeros_like(
                self.rows, shape=(max(self.size, 64), *self.rows.shape[1:])
            )
            self.rows = np.concatenate([self.rows, more])
        self.rows[self.size] = value
        self.size += 1

    def extend(self, values: Iterable[Any]) -> None:
        """Add several at the end."""
        for value in values:
            self.append(value)

    @property
    def used(self) -> npt.NDArray[Any]:
        """What was added so far."""
        return self.rows[: self.size]


class Lists:
    """A growing array of lists of numbers, one behind the other.

    Attributes:
        first: where each list begins, and where the last one ends.
        items: of all lists.
    """

    def __init__(self) -> None:
        self.first = Column(np.int64)
        self.items = Column(np.int32)
        self.first.append(0)

    def append(self, values: Iterable[int]) -> int:
        """Add a list at the end; returns its number."""
        self.items.extend(values)
        self.first.append(self.items.size)
        return self.first.size - 2

    def list(self, number: int) -> npt.NDArray[np.int32]:
        """One of the lists."""
        return self.items.rows[self.first.rows[number] : self.first.rows[number + 1]]

    def ranges(self, lists: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], ...]:
        """The positions of all items of some lists, and which list each is of."""
        first, end = self.first.used[lists], self.first.used[lists + 1]
        counts = end - first
        which = np.repeat(np.arange(len(counts)), counts)
        before = np.repeat(np.cumsum(counts) - counts, counts)
        return first[which] + np.arange(len(which)) - before, which


@dataclass
class Tables:
    """All that is known of a program by now, in numbers.

    Attributes:
        keys: the cells, then the threads, by name.
        threads: the places among `keys` of the threads' locations.
        initial: for each initial state, the code numbers of all keys.
        counts: for each key, how many code numbers were given out.
        forest: the decision trees; `tree_slot` is the slot of each.
        state_tree: for each property of states, its tree.
        step_tree, resting: for each thread and location, the tree of the steps from
            it, and whether the thread may stay there.
        option_trees: for each question, the trees of its options.
        form: for each command, the number of the set of cells that it assigns.
        raises: for each command, the judgement that the step itself raised.
        found: for each command, the cells that it read.
        written, codes: for each command, the cells that it assigns, the location of
            its thread among them, and the code numbers that it gives them.
        judge_trees: for each form, the trees of the predicates that look at its steps.
        judge_predicate: for each such tree the predicate, if it is of only one, or -1.
        judgements: what the leaves of these trees stand for.
    """

    keys: list[str]
    threads: list[int]
    initial: list[list[int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    forest: Forest = field(default_factory=Forest)
    tree_slot: Column = field(default_factory=lambda: Column(np.int32))
    state_tree: Column = field(default_factory=lambda: Column(np.int32))
    step_tree: list[Column] = field(default_factory=list)
    resting: list[Column] = field(default_factory=list)
    option_trees: Lists = field(default_factory=Lists)
    form: Column = field(default_factory=lambda: Column(np.int32))
    raises: Column = field(default_factory=lambda: Column(np.int32))
    found: Lists = field(default_factory=Lists)
    written: Lists = field(default_factory=Lists)
    codes: Column = field(default_factory=lambda: Column(np.int32))
    judge_trees: Lists = field(default_factory=Lists)
    judge_predicate: Column = field(default_factory=lambda: Column(np.int32))
    judgements: list[Judgement] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.step_tree = [Column(np.int32) for _ in self.threads]
        self.resting = [Column(np.bool_) for _ in self.threads]

    def layout(self, spare: int = 0) -> Layout:
        """How states are packed that have the values known by now."""
        return Layout(self.keys, self.counts, spare)


class Assignments:
    """What each command keeps and sets in a row of one layout."""

    def __init__(self, tables: Tables, layout: Layout) -> None:
        self.tables = tables
        self.layout = layout
        self.kept = np.zeros((0, layout.words), np.uint64)
        self.set = np.zeros((0, layout.words), np.uint64)

    def refresh(self) -> tuple[Words, Words]:
        """The masks of what is kept, and the bits that are set, for all commands."""
        written, known = self.tables.written, len(self.kept)
        count = written.first.size - 1
        if known < count:
            items, which = written.ranges(np.arange(known, count))
            cells = written.items.used[items]
            codes = self.tables.codes.used[items].astype(np.uint64)
            shift, mask = self.layout.shift[cells], self.layout.mask[cells]
            at = which, self.layout.word[cells]
            cleared = np.zeros((count - known, self.layout.words), np.uint64)
            bits = np.zeros_like(cleared)
            np.bitwise_or.at(cleared, at, mask << shift)
            np.bitwise_or.at(bits, at, codes << shift)
            self.kept = np.concatenate([self.kept, ~cleared])
            self.set = np.concatenate([self.set, bits])
        return self.kept, self.set
