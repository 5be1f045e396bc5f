"""What was learned of a program: its guarded commands and judgements, as trees.

Every Python function of the program (an atomic step, a property) is run once for each
footprint: the cells that it reads and the values that it finds. What it gave becomes a
leaf of a decision tree, and engines walk trees for whole levels of states at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker.forest import Forest
from spec.checker.grouping import Grouping, Look
from spec.checker.judgement import (
    Judgement,
    View,
    ViewAfter,
    plain,
    predicates,
    primed,
)
from spec.checker.packing import Codes, Layout, Words
from spec.checker.program import Program, StateProperty
from spec.checker.steps import DONE, History, Location, Outcome, Stepper

ALL_ONES = (1 << 64) - 1
COMMAND, QUESTION = 0, 1
"""The leaf of a step is twice the number of a command, or of a question, plus 1."""


@dataclass
class ThreadTable:
    """One thread: its name among cells, and where it can stand."""

    key: str
    stepper: Stepper
    histories: list[tuple[History, bool]] = field(default_factory=list)
    scripts: dict[tuple[int, tuple[Any, ...]], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A guarded command: `reads` is its guard, `outcome` what it does."""

    thread: int
    source: int
    reads: dict[str, Any]
    outcome: Outcome
    location: int
    form: int


class Column:
    """A growing array of whole numbers, or of rows of them."""

    def __init__(self, dtype: Any, width: int = 0) -> None:
        self.rows = np.zeros((64, width) if width else 64, dtype)
        self.size = 0

    def append(self, value: Any) -> None:
        """Add a number or a row at the end."""
        if self.size == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        self.rows[self.size] = value
        self.size += 1

    def extend(self, values: Iterable[Any]) -> int:
        """Add several at the end; returns where the first of them stands."""
        first = self.size
        for value in values:
            self.append(value)
        return first

    @property
    def used(self) -> npt.NDArray[Any]:
        """What was added so far."""
        return self.rows[: self.size]


Reader = Callable[[str], Any]
"""Reads one cell of a state; a primed cell as it is after a step."""


class Reading:
    """Reads cells of one row, and notes which cells were read and what was found.

    Args:
        tabulation: how cells are numbered, and what their codes stand for.
        layout: of the row.
        row: a state, or two side by side of which primed cells mean the second.
    """

    def __init__(
        self, tabulation: Tabulation, layout: Layout, row: Sequence[int]
    ) -> None:
        self.cells, self.values = tabulation.cells, tabulation.values
        self.fields = layout.fields
        self.row = row
        self.path: list[tuple[int, int]] = []

    def __call__(self, key: str) -> Any:
        """The value of a cell, noted."""
        cell = self.cells[key]
        word, shift, mask = self.fields[cell]
        code = (self.row[word] >> shift) & mask
        self.path.append((cell, code))
        return self.values[key][code]

    def peek(self, key: str) -> Any:
        """The value of a cell, not noted."""
        word, shift, mask = self.fields[self.cells[key]]
        return self.values[key][(self.row[word] >> shift) & mask]


Evaluate = Callable[[Any], int]
"""Runs a function of the program, reading through what it is given; gives a leaf."""


class Tabulation:
    """The trees of one program, and the Python functions that they stand for.

    Attributes:
        tree_slot: for each tree, the slot in the forest.
        step_tree: for each thread, the tree of each location.
        question_first, option_tree: the trees of the options of question `q` are
            ``option_tree[question_first[q] : question_first[q + 1]]``.
        form_first, judge_tree: the same for the predicates that look at the steps of a
            form, that is, at those that assign the same cells.
        judge_predicate: the predicate of such a tree, if it is of one only, or -1.
        judgements: what the leaves of these trees stand for.
        command_raises: for each command the judgement that the step itself raised.
        state_tree: for each property of states, its tree.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        names = list(program.initial[0])
        self.threads = [
            ThreadTable(f"@{name}", Stepper(thread))
            for name, thread in program.threads.items()
        ]
        self.keys = [*names, *(thread.key for thread in self.threads)]
        self.codes = {key: Codes() for key in self.keys}
        self.cells = {key: i for i, key in enumerate(self.keys)}
        self.cells |= {primed(k): i + len(self.keys) for k, i in self.cells.items()}
        self.values = {key: self.codes[key].values for key in self.keys}
        self.values |= {primed(key): self.codes[key].values for key in names}
        self.forest = Forest()
        self.evaluations = 0
        self.evaluators: list[Evaluate] = []
        self.tree_slot = Column(np.int32)
        self.step_tree = [Column(np.int32) for _ in self.threads]
        self.resting = [Column(np.bool_) for _ in self.threads]
        self.commands: list[Command] = []
        self.command_form = Column(np.int32)
        self.command_raises = Column(np.int32)
        self.writes: list[list[tuple[int, int]]] = []
        self.questions: dict[tuple[int, ...], int] = {}
        self.question_first = Column(np.int32)
        self.option_tree = Column(np.int32)
        self.forms: dict[frozenset[str], int] = {}
        self.form_first = Column(np.int32)
        self.judge_tree = Column(np.int32)
        self.judge_predicate = Column(np.int32)
        self.predicates = predicates(program)
        self.grouping = Grouping(len(self.predicates))
        self.judgements: list[Judgement] = []
        self._judgements: dict[Judgement, int] = {}
        self.judgement(Judgement())
        self.state_tree = np.array(
            [self._tree(self._property(p)) for p in program.states], np.int32
        )
        self.question_first.append(0)
        self.form_first.append(0)
        self._question(())
        self._start()

    def _start(self) -> None:
        for t, thread in enumerate(self.threads):
            self._place(t, DONE, (), True)
            start = thread.stepper.start()
            self._place(t, start.location, start.history, start.resting)
        for state in self.program.initial:
            for key, value in state.items():
                self.codes[key].number(value)

    # -- trees ------------------------------------------------------------------------

    def _tree(self, evaluate: Evaluate) -> int:
        self.evaluators.append(evaluate)
        self.tree_slot.append(self.forest.plant())
        return len(self.evaluators) - 1

    def learn(self, tree: int, layout: Layout, row: Sequence[int]) -> None:
        """Run a tree's function on one state, and let the tree know what it gave.

        Args:
            tree: number of the tree.
            layout: of the row.
            row: the state; for a judgement the states before and after the step.
        """
        reading = Reading(self, layout, row)
        leaf = self.evaluators[tree](reading)
        self.forest.learn(int(self.tree_slot.rows[tree]), reading.path, leaf)

    # -- steps ------------------------------------------------------------------------

    def _place(
        self, t: int, location: Location, history: History, resting: bool
    ) -> int:
        thread = self.threads[t]
        number = self.codes[thread.key].number(location)
        if number == len(thread.histories):
            thread.histories.append((history, resting))
            self.step_tree[t].append(self._step_tree(t, number, ()))
            self.resting[t].append(resting)
        return number

    def _step_tree(self, t: int, location: int, script: tuple[Any, ...]) -> int:
        """The tree of the steps from a location, once `script` answers questions."""
        thread = self.threads[t]
        if (location, script) not in thread.scripts:
            thread.scripts[location, script] = self._tree(
                lambda reading: self._step(t, location, script, reading)
            )
        return thread.scripts[location, script]

    def _step(
        self, t: int, location: int, script: tuple[Any, ...], reading: Reading
    ) -> int:
        if location == 0:
            return QUESTION
        self.evaluations += 1
        thread = self.threads[t]
        history, _ = thread.histories[location]
        run = thread.stepper.step(history, reading, script)
        if run.outcome is None:
            trees = [
                self._step_tree(t, location, (*script, option))
                for option in run.options
            ]
            return 2 * self._question(tuple(trees)) + QUESTION
        return (
            2 * self._command(t, location, run.reads, run.outcome, reading.peek)
            + COMMAND
        )

    def _question(self, trees: tuple[int, ...]) -> int:
        """The number of a question; 0 is the one without options: blocked."""
        if trees not in self.questions:
            self.questions[trees] = len(self.questions)
            self.option_tree.extend(trees)
            self.question_first.append(self.option_tree.size)
        return self.questions[trees]

    def _command(
        self,
        t: int,
        source: int,
        reads: dict[str, Any],
        outcome: Outcome,
        read: Reader,
    ) -> int:
        place = self._place(t, outcome.location, outcome.history, outcome.resting)
        form = self._form(frozenset(outcome.writes), after_step(read, outcome.writes))
        self.command_raises.append(self.judgement(Judgement(broken=outcome.raised)))
        self.commands.append(Command(t, source, reads, outcome, place, form))
        self.command_form.append(form)
        writes = [
            (self.cells[key], self.codes[key].number(value))
            for key, value in outcome.writes.items()
        ]
        self.writes.append([*writes, (self.cells[self.threads[t].key], place)])
        return len(self.commands) - 1

    # -- judgements -------------------------------------------------------------------

    def judgement(self, judgement: Judgement) -> int:
        """The number of a judgement; 0 is the one that says nothing."""
        if judgement not in self._judgements:
            self._judgements[judgement] = len(self.judgements)
            self.judgements.append(judgement)
        return self._judgements[judgement]

    def _form(self, written: frozenset[str], read: Reader) -> int:
        """The number of the form of a step that assigns these cells.

        Most predicates say nothing of most steps: which cells were assigned decides.
        Those get no tree.

        Args:
            written: the cells.
            read: reads a cell before such a step, or a primed one after it.
        """
        if written not in self.forms:
            self.forms[written] = len(self.forms)
            for members, path, leaf in self._looks(written, read):
                if path or leaf:
                    tree = self._tree(self._judge(members, written))
                    self.forest.learn(int(self.tree_slot.rows[tree]), path, leaf)
                    self.judge_tree.append(tree)
                    only_one = len(members) == 1
                    self.judge_predicate.append(members[0] if only_one else -1)
            self.form_first.append(self.judge_tree.size)
        return self.forms[written]

    def _looks(self, written: frozenset[str], read: Reader) -> list[Look]:
        """What groups of predicates read of one step, and how they judge it."""
        looks = []
        for members in self.grouping.groups():
            path: list[tuple[int, int]] = []

            def noting(key: str, path: list[tuple[int, int]] = path) -> Any:
                value = read(key)
                path.append((self.cells[key], self.codes[plain(key)].number(value)))
                return value

            leaf = self._judge(members, written)(noting)
            looks.append((members, path, leaf))
        return self.grouping.merge(looks, self._both)

    def _both(self, one: int, other: int) -> int:
        """The number of two judgements together."""
        return self.judgement(self.judgements[one] + self.judgements[other])

    def _judge(self, members: tuple[int, ...], written: frozenset[str]) -> Evaluate:
        """Some of the predicates, together."""

        def evaluate(read: Reader) -> int:
            self.evaluations += 1
            reads: dict[str, Any] = {}
            # a set of its own: predicates may keep what they computed for one
            assigned = set(written)
            before, after = View(read, reads), ViewAfter(read, reads, assigned)
            judgements = (
                predicate.says
                for predicate in (self.predicates[number] for number in members)
                if predicate.holds(before, after, assigned) == predicate.noted
            )
            return self.judgement(sum(judgements, Judgement()))

        return evaluate

    def _property(self, p: StateProperty) -> Evaluate:
        def evaluate(read: Reader) -> int:
            self.evaluations += 1
            return int(not p.holds(View(read, {})))

        return evaluate


def after_step(read: Reader, writes: dict[str, Any]) -> Reader:
    """Reads cells before a step, and primed ones after it."""
    return lambda key: writes[plain(key)] if key.endswith("'") else read(key)


class Assignments:
    """What each command keeps and sets in a row of one layout."""

    def __init__(self, tabulation: Tabulation, layout: Layout) -> None:
        self.tabulation = tabulation
        self.layout = layout
        self.kept = Column(np.uint64, layout.words)
        self.set = Column(np.uint64, layout.words)

    def refresh(self) -> tuple[Words, Words]:
        """The masks of what is kept, and the bits that are set, for all commands."""
        fields = self.layout.fields
        for writes in self.tabulation.writes[self.kept.size :]:
            kept, bits = [ALL_ONES] * self.layout.words, [0] * self.layout.words
            for cell, code in writes:
                word, shift, mask = fields[cell]
                kept[word] &= ~(mask << shift)
                bits[word] |= code << shift
            self.kept.append(np.array(kept, np.uint64))
            self.set.append(np.array(bits, np.uint64))
        return self.kept.used, self.set.used
