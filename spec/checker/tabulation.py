"""What was learned of a program: its guarded commands and judgements, as trees.

Every Python function of the program (an atomic step, a property) is run once for each
footprint: the cells that it reads and the values that it finds. What it gave becomes a
leaf of a decision tree, and engines walk trees for whole levels of states at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spec.checker.grouping import Grouping, Look, Path
from spec.checker.judgement import (
    Judgement,
    ReadOnly,
    plain,
    predicates,
    primed,
)
from spec.checker.packing import Codes, Layout
from spec.checker.program import Program
from spec.checker.steps import DONE, History, Location, Outcome, Stepper
from spec.checker.symmetry import BITS, MOST_NAMES, Naming
from spec.checker.tables import Tables

COMMAND, QUESTION = 0, 1
"""The leaf of a step is twice the number of a command, or of a question, plus 1."""


@dataclass
class ThreadTable:
    """One thread: its name among cells, and where it can stand."""

    key: str
    histories: list[tuple[History, bool]] = field(default_factory=list)
    scripts: dict[tuple[int, tuple[Any, ...]], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A guarded command: `reads` is its guard, `writes` what it does.

    Attributes:
        thread, source, location: of which thread, and where that stands before and
            after it, in numbers.
        choices, raised, why: see `Outcome`.
    """

    thread: int
    source: int
    location: int
    reads: dict[str, Any]
    writes: dict[str, Any]
    choices: tuple[tuple[str, Any], ...]
    raised: tuple[str, ...]
    why: str


Reader = Callable[[str], Any]
"""Reads one cell of a state; a primed cell as it is after a step."""


Field = tuple[int, int, int, int, list[Any]]
"""Number, word, shift and mask of a cell, and what its code numbers stand for."""


class Reading(dict[str, Any]):
    """The cells of one row that were read, by name.

    What is not there yet is read from the row, and it is noted which cell it was and
    what was found. Most reads are repeated, and a dictionary answers these quickest.

    Args:
        fields: the cells by name; primed ones mean the second of two states.
        row: a state, or two side by side.
    """

    def __init__(self, fields: dict[str, Field], row: Sequence[int]) -> None:
        self.fields = fields
        self.row = row
        self.path: Path = []

    def __missing__(self, key: str) -> Any:
        cell, word, shift, mask, values = self.fields[key]
        code = (self.row[word] >> shift) & mask
        self.path.append((cell, code))
        value = self[key] = values[code]
        return value

    def peek(self, key: str) -> Any:
        """The value of a cell, not noted."""
        _, word, shift, mask, values = self.fields[key]
        return values[(self.row[word] >> shift) & mask]


class Asked(dict[str, Any]):
    """What a reader gave for each cell; it is asked once."""

    def __init__(self, read: Reader) -> None:
        self.read = read

    def __missing__(self, key: str) -> Any:
        value = self[key] = self.read(key)
        return value


class Shown(ReadOnly):
    """Cells that are in a dictionary, or get there when they are asked for."""

    def __init__(self, cells: dict[str, Any]) -> None:
        self.read = cells.__getitem__


class Tree(NamedTuple):
    """What a tree stands for: one of `KINDS`, and what that is given to begin with."""

    kind: str
    arguments: tuple[Any, ...]


class Tabulation:
    """Runs the Python functions of a program, each once for each footprint.

    Attributes:
        tables: what was learned, in numbers.
        codes: for each key the values that its code numbers stand for.
        threads: where each thread can stand.
        commands: the guarded commands.
        evaluations: how many functions were run.
    """

    def __init__(self, program: Program, symmetry: bool = False) -> None:
        self.symmetry = symmetry
        names = list(program.initial[0])
        self.threads = [ThreadTable(f"@{name}") for name in program.threads]
        keys = [*names, *(thread.key for thread in self.threads)]
        self.tables = Tables(keys, [keys.index(t.key) for t in self.threads])
        self.codes = {key: Codes() for key in keys}
        if symmetry:
            naming = Naming(keys, program.interchangeable)
            self.tables.naming = naming
            shared = [Codes() for _ in naming.value]
            self.codes = dict(zip(keys, (shared[k] for k in naming.kind), strict=True))
        self.trees: list[Tree] = []
        self.commands: list[Command] = []
        self.forms: dict[frozenset[str], int] = {}
        self.questions: dict[tuple[int, ...], int] = {}
        self.judgements: dict[Judgement, int] = {}
        self.evaluations = 0
        self.attach(program)
        self.grouping = Grouping(len(self.predicates))
        self._start()

    def attach(self, program: Program) -> None:
        """Evaluate the functions of `program`, of which all was learned that was."""
        keys = self.tables.keys
        self.program = program
        threads = program.threads.values()
        self.steppers = [Stepper(thread, False, self.symmetry) for thread in threads]
        self.predicates = predicates(program)
        self.cells = {key: i for i, key in enumerate(keys)}
        self.cells |= {primed(key): i + len(keys) for i, key in enumerate(keys)}
        self.layout: Layout | None = None
        self.fields: dict[str, Field] = {}
        self.threads_by_key = {thread.key: t for t, thread in enumerate(self.threads)}
        self.values = {key: self.codes[key].values for key in keys}
        self.values |= {primed(key): self.codes[key].values for key in keys}

    def __getstate__(self) -> dict[str, Any]:
        """What was learned, without the functions and the tables."""
        own = {
            *("program", "steppers", "predicates", "cells", "values", "tables"),
            *("layout", "fields"),
        }
        kept = {name: value for name, value in vars(self).items() if name not in own}
        return kept | {"evaluations": 0}

    def _start(self) -> None:
        self._judgement(Judgement())
        self._question(())
        for number in range(len(self.program.states)):
            self.tables.state_tree.append(self._tree(Tree("property", (number,))))
        starts = [stepper.start() for stepper in self.steppers]
        for t, start in enumerate(starts):
            self._place(t, DONE, (), True)
            self._place(t, start.location, start.history, start.resting)
        for state in self.program.initial:
            codes = [self.codes[key].number(value) for key, value in state.items()]
            self.tables.initial.append([*codes, *(1 for _ in starts)])
        self.count()

    def count(self) -> None:
        """Let the tables know how many code numbers were given out."""
        self.tables.counts = [len(self.codes[k].values) for k in self.tables.keys]
        naming = self.tables.naming
        if naming is not None:
            for key, kind in zip(self.tables.keys, naming.kind, strict=True):
                values = self.codes[key].values
                for number in range(naming.known[kind], len(values)):
                    naming.add(kind, number, values[number])

    def value(self, layout: Layout, row: Sequence[int], key: str) -> Any:
        """The value of one cell in one row (given as Python integers)."""
        word, shift, mask = layout.fields[self.cells[key]]
        return self.values[key][(row[word] >> shift) & mask]

    def functions(self, command: Command) -> tuple[str, ...]:
        """The functions that a command's step passed through, outermost first."""
        thread = list(self.program.threads.values())[command.thread]
        history, _ = self.threads[command.thread].histories[command.source]
        script = [answer for _, answer in command.choices]
        run = Stepper(thread).step(history, command.reads.__getitem__, script)
        assert run.outcome is not None, "a command is what the step did"
        return run.outcome.functions

    # -- trees ------------------------------------------------------------------------

    def _tree(self, tree: Tree) -> int:
        self.trees.append(tree)
        self.tables.tree_slot.append(self.tables.forest.plant())
        return len(self.trees) - 1

    def learn(self, tree: int, layout: Layout, row: Sequence[int]) -> None:
        """Run a tree's function on one state, and let the tree know what it gave.

        Args:
            tree: number of the tree; below zero: a value is to be renamed.
            layout: of the row.
            row: the state; for a judgement the states before and after the step.
        """
        if tree < 0:
            self._learn_name(-1 - tree, *row)
            return
        self.evaluations += 1
        reading = Reading(self._fields(layout), row)
        kind, arguments = self.trees[tree]
        leaf = KINDS[kind](self, *arguments, reading)
        self._teach(tree, reading.path, leaf)

    def _fields(self, layout: Layout) -> dict[str, Field]:
        if self.layout is not layout:
            self.layout = layout
            self.fields = {
                key: (cell, *layout.fields[cell], self.values[key])
                for key, cell in self.cells.items()
            }
        return self.fields

    def _learn_name(self, kind: int, number: int, packed: int) -> None:
        """Give a code number to a value with other names, given as a packed list."""
        naming = self.tables.naming
        assert naming is not None, "only symmetry asks for other names"
        key = self.tables.keys[naming.kind.index(kind)]
        old = naming.mentions.list(int(naming.value[kind, number])).tolist()
        new = [packed >> BITS * i & MOST_NAMES for i in range(len(old))]
        value = naming.rename(self.codes[key].values[number], old, new)
        if key in self.threads_by_key:
            t = self.threads_by_key[key]
            history, resting = self.threads[t].histories[number]
            renamed = tuple(naming.rename_past(past, old, new) for past in history)
            self._place(t, value, renamed, resting)
        naming.enter(kind, number, new, self.codes[key].number(value))

    def _teach(self, tree: int, path: Path, leaf: int) -> None:
        self.tables.forest.learn(int(self.tables.tree_slot.rows[tree]), path, leaf)

    def _property(self, number: int, reading: Reading) -> int:
        return int(not self.program.states[number].holds(Shown(reading)))

    # -- steps ------------------------------------------------------------------------

    def _place(
        self, t: int, location: Location, history: History, resting: bool
    ) -> int:
        thread = self.threads[t]
        number = self.codes[thread.key].number(location)
        if number == len(thread.histories):
            thread.histories.append((history, resting))
            self.tables.step_tree[t].append(self._step_tree(t, number, ()))
            self.tables.resting[t].append(resting)
        return number

    def _step_tree(self, t: int, location: int, script: tuple[Any, ...]) -> int:
        """The tree of the steps from a location, once `script` answers questions."""
        thread = self.threads[t]
        if (location, script) not in thread.scripts:
            tree = Tree("step", (t, location, script))
            thread.scripts[location, script] = self._tree(tree)
        return thread.scripts[location, script]

    def _step(
        self, t: int, location: int, script: tuple[Any, ...], reading: Reading
    ) -> int:
        if location == 0:
            return QUESTION
        thread = self.threads[t]
        history, _ = thread.histories[location]
        standing = self.codes[thread.key].values[location]
        run = self.steppers[t].step(history, reading.__getitem__, script, standing)
        if run.outcome is None:
            trees = [
                self._step_tree(t, location, (*script, option))
                for option in run.options
            ]
            return 2 * self._question(tuple(trees)) + QUESTION
        command = self._command(t, location, run.reads, run.outcome, reading.peek)
        return 2 * command + COMMAND

    def _question(self, trees: tuple[int, ...]) -> int:
        """The number of a question; 0 is the one without options: blocked."""
        if trees not in self.questions:
            self.questions[trees] = self.tables.option_trees.append(trees)
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
        # where the thread stands is known by its number; the outcome, which tells it
        # in full, takes most of the memory
        did = outcome.writes, outcome.choices, outcome.raised, outcome.why
        self.commands.append(Command(t, source, place, reads, *did))
        tables = self.tables
        tables.form.append(form)
        raised = Judgement(broken=outcome.raised) if outcome.raised else Judgement()
        tables.raises.append(self._judgement(raised))
        tables.found.append(self.cells[key] for key in reads)
        cells = [self.cells[key] for key in outcome.writes]
        tables.written.append([*cells, tables.threads[t]])
        codes = [self.codes[key].number(v) for key, v in outcome.writes.items()]
        tables.codes.extend([*codes, place])
        return len(self.commands) - 1

    # -- judgements -------------------------------------------------------------------

    def _judgement(self, judgement: Judgement) -> int:
        """The number of a judgement; 0 is the one that says nothing."""
        if judgement not in self.judgements:
            self.judgements[judgement] = len(self.judgements)
            self.tables.judgements.append(judgement)
        return self.judgements[judgement]

    def _form(self, written: frozenset[str], read: Reader) -> int:
        """The number of the form of a step that assigns these cells.

        Most predicates say nothing of most steps: which cells were assigned decides.
        Those get no tree.

        Args:
            written: the cells.
            read: reads a cell before such a step, or a primed one after it.
        """
        if written not in self.forms:
            trees = []
            for members, path, leaf in self._looks(written, read):
                if path or leaf:
                    tree = self._tree(Tree("judge", (members, written)))
                    self._teach(tree, path, leaf)
                    trees.append(tree)
                    only = members[0] if len(members) == 1 else -1
                    self.tables.judge_predicate.append(only)
            self.forms[written] = self.tables.judge_trees.append(trees)
        return self.forms[written]

    def _looks(self, written: frozenset[str], read: Reader) -> list[Look]:
        """What groups of predicates read of one step, and how they judge it."""
        looks = []
        for members in self.grouping.groups():
            path: Path = []

            def noting(key: str, path: Path = path) -> Any:
                value = read(key)
                path.append((self.cells[key], self.codes[plain(key)].number(value)))
                return value

            self.evaluations += 1
            looks.append((members, path, self._judge(members, written, Asked(noting))))
        return self.grouping.merge(looks, self._both)

    def _both(self, one: int, other: int) -> int:
        """The number of two judgements together."""
        if not (one and other):
            return one or other
        found = self.tables.judgements
        return self._judgement(found[one] + found[other])

    def _judge(
        self, members: tuple[int, ...], written: frozenset[str], cells: dict[str, Any]
    ) -> int:
        """What some of the predicates say together.

        Args:
            members: their numbers.
            written: the cells that a step assigned.
            cells: those before the step, and with primed names those after it.
        """
        # a set of its own: predicates may keep what they computed for one
        assigned = set(written)
        before = Shown(cells)
        after = Shown(Asked(lambda key: cells[primed(key) if key in written else key]))
        said = []
        for number in members:
            predicate = self.predicates[number]
            if predicate.holds(before, after, assigned) == predicate.noted:
                said.append(predicate.says)
        return self._judgement(sum(said, Judgement())) if said else 0


KINDS: dict[str, Callable[..., int]] = {
    "property": Tabulation._property,
    "step": Tabulation._step,
    "judge": Tabulation._judge,
}
"""What the trees of each kind stand for."""


def after_step(read: Reader, writes: dict[str, Any]) -> Reader:
    """Reads cells before a step, and primed ones after it."""
    return lambda key: writes[plain(key)] if key.endswith("'") else read(key)
