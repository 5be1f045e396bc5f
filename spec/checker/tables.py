"""What engines need of a program: decision trees and commands, as arrays of numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spec.checker.columns import Column, Lists
from spec.checker.forest import Forest
from spec.checker.judgement import Judgement
from spec.checker.packing import Layout, Word, Words
from spec.checker.symmetry import Naming


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
        naming: how states are renamed, if that is wanted.
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
    naming: Naming | None = None

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
        self.kept = np.zeros((0, layout.words), Word)
        self.set = np.zeros((0, layout.words), Word)

    def refresh(self) -> tuple[Words, Words]:
        """The masks of what is kept, and the bits that are set, for all commands."""
        written, known = self.tables.written, len(self.kept)
        count = written.first.size - 1
        if known < count:
            items, which = written.ranges(np.arange(known, count))
            cells = written.items.used[items]
            codes = self.tables.codes.used[items].astype(Word)
            shift, mask = self.layout.shift[cells], self.layout.mask[cells]
            at = which, self.layout.word[cells]
            cleared = np.zeros((count - known, self.layout.words), Word)
            bits = np.zeros_like(cleared)
            np.bitwise_or.at(cleared, at, mask << shift)
            np.bitwise_or.at(bits, at, codes << shift)
            self.kept = np.concatenate([self.kept, ~cleared])
            self.set = np.concatenate([self.set, bits])
        return self.kept, self.set
