"""What a finished exploration knows, in a form that other model checkers can be given.

The exploration has run each atomic step once per footprint and so has learned, for each
place where a thread can stand, its *guarded commands*: what must be found, what is then
assigned, and where the thread stands next. Properties are decision trees over the
cells that they read. A cell that never varies is left out everywhere.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from spec.cells import SpecificationError
from spec.checker.commands import GuardedCommand, guarded_commands
from spec.checker.explore import Exploration, Progress
from spec.checker.judgement import plain, primed
from spec.checker.program import Program
from spec.checker.steps import DONE

UNKNOWN = -1
"""The leaf for a footprint that the exploration did not meet."""


@dataclass(frozen=True)
class Look:
    """A decision by the value of one cell.

    Attributes:
        cell: whose value is looked at.
        branches: for some of its codes, how to go on; others were never met.
    """

    cell: str
    branches: tuple[tuple[int, Tree], ...]


Tree = Look | int
"""A decision tree; a leaf is a number, or `UNKNOWN`."""


@dataclass(frozen=True)
class Place:
    """Where a thread can stand.

    Attributes:
        functions: the suspended functions, outermost first.
        resting: whether the thread may stay here for ever.
    """

    functions: tuple[str, ...]
    resting: bool


@dataclass(frozen=True)
class Command:
    """One guarded command of one thread.

    Attributes:
        source, target: numbers of the thread's places before and after.
        guard: codes that must be found.
        writes: codes that are then assigned.
        judged: trees that say together which properties the step breaks, by what is
            found in other cells; a leaf is a number in `GuardedProgram.broken`.
        said: the functions that the step passes through, and the answers it takes.
    """

    source: int
    target: int
    guard: Mapping[str, int]
    writes: Mapping[str, int]
    judged: tuple[Tree, ...]
    said: str


@dataclass(frozen=True)
class GuardedThread:
    """One thread; it starts at place 1, and place 0 is its end."""

    name: str
    places: tuple[Place, ...]
    commands: tuple[Command, ...]

    @cached_property
    def _by_place(self) -> Mapping[int, list[Command]]:
        found: dict[int, list[Command]] = defaultdict(list)
        for command in self.commands:
            found[command.source].append(command)
        return found

    def commands_from(self, place: int) -> list[Command]:
        """The commands that can be taken from one place."""
        return self._by_place.get(place, [])


START = 1


@dataclass(frozen=True)
class GuardedProgram:
    """A program as guarded commands over codes.

    Attributes:
        cells: each cell that varies, with its values in the order of their codes.
        initial: the codes of each state to start from.
        threads: in the program's order.
        properties: for each property of states a tree whose leaf is 1 where it holds.
        broken: what the leaves of `Command.judged` stand for; number 0 is nothing.
        states, transitions, depth: what the exploration counted.
        violations: each property that it found violated, with the number of steps.
    """

    cells: Mapping[str, tuple[Any, ...]]
    initial: tuple[Mapping[str, int], ...]
    threads: tuple[GuardedThread, ...]
    properties: Mapping[str, Tree]
    broken: tuple[tuple[str, ...], ...]
    states: int
    transitions: int
    depth: int
    violations: Mapping[str, int] = field(default_factory=dict)

    def judged(self, command: Command) -> Iterator[tuple[str, Tree, set[int]]]:
        """What a command's step may break, with the leaves of a tree that do not.

        The id is empty where a leaf says that the footprint was not met.
        """
        for tree in command.judged:
            sets = leaves(tree)
            for id in dict.fromkeys(i for n in sets if n > 0 for i in self.broken[n]):
                yield id, tree, {n for n in sets if n < 0 or id not in self.broken[n]}
            if UNKNOWN in sets:
                yield "", tree, sets - {UNKNOWN}


class Incomplete(SpecificationError):
    """The exploration was interrupted: what it has learned is not all."""


EVERYTHING = 1 << 62


def guarded(
    program: Program, report: Callable[[Progress], None] = lambda progress: None
) -> GuardedProgram:
    """Explore `program` to its end, past any violation, and return what was learned.

    Args:
        program: what to explore.
        report: called after each level.

    Raises:
        Incomplete: the exploration was interrupted.
    """
    exploration = Exploration(program, report, beyond=EVERYTHING)
    verdict = exploration.run()
    if not verdict.complete:
        raise Incomplete("the exploration was interrupted; it has not learned all")
    return _Extraction(exploration).program(
        states=verdict.states,
        transitions=verdict.transitions,
        depth=verdict.depth,
        violations={v.property: v.depth for v in verdict.violations},
    )


class _Extraction:
    """Reads the tables of a finished exploration."""

    def __init__(self, exploration: Exploration) -> None:
        self.made = exploration
        self.tables = exploration.tables
        self.learned = guarded_commands(exploration)
        self.cells = {
            key: values
            for key, values in self.learned.values.items()
            if len(values) > 1
        }
        self.broken: list[tuple[str, ...]] = [()]

    def program(self, **counts: Any) -> GuardedProgram:
        initial = [self._codes(state) for state in self.made.program.initial]
        return GuardedProgram(
            cells=self.cells,
            initial=tuple(s for i, s in enumerate(initial) if s not in initial[:i]),
            threads=tuple(self._thread(name) for name in self.learned.start),
            properties={
                p.id: self._tree(self._slot(tree), {}, lambda broken: 1 - broken)
                for p, tree in zip(
                    self.made.program.states,
                    self.tables.state_tree.used.tolist(),
                    strict=True,
                )
            },
            broken=tuple(self.broken),
            **counts,
        )

    def _codes(self, values: Mapping[str, Any]) -> dict[str, int]:
        return {
            key: self.made.codes[key].numbers[value]
            for key, value in values.items()
            if key in self.cells
        }

    def _slot(self, tree: int) -> int:
        return int(self.tables.tree_slot.rows[tree])

    def _thread(self, name: str) -> GuardedThread:
        locations = self.made.codes[f"@{name}"].values
        places = [
            Place(_functions(location), resting)
            for location, resting in zip(
                locations, self.learned.resting[name], strict=True
            )
        ]
        commands = [
            self._command(command, form)
            for command, form in zip(
                self.learned.commands, self.tables.form.used.tolist(), strict=True
            )
            if command.thread == name
        ]
        return GuardedThread(name, tuple(places), tuple(commands))

    def _command(self, command: GuardedCommand, form: int) -> Command:
        after = {primed(key): value for key, value in command.writes.items()}
        known = {**command.reads, **after}
        answers = [str(answer) for _, answer in command.choices]

        def leaf(judgement: int) -> int:
            return self._set(self.tables.judgements[judgement].broken)

        return Command(
            source=command.source,
            target=command.target,
            guard=self._codes(command.reads),
            writes=self._codes(command.writes),
            judged=(
                self._set(command.raised),
                *(
                    self._tree(self._slot(tree), known, leaf)
                    for tree in self._judges(form)
                ),
            ),
            said=" ".join([*command.functions, *answers]),
        )

    def _judges(self, form: int) -> list[int]:
        """The trees that judge steps of a form, but those of witnesses.

        What is witnessed once is not looked for again, so they are not complete.
        """
        tables, predicates = self.tables, self.made.predicates
        first = int(tables.judge_trees.first.rows[form])
        return [
            tree
            for at, tree in enumerate(tables.judge_trees.list(form).tolist(), first)
            if (only := int(tables.judge_predicate.rows[at])) < 0
            or predicates[only].says.broken
        ]

    def _set(self, broken: tuple[str, ...]) -> int:
        """The number of a set of broken properties, a new one if it has none."""
        if broken not in self.broken:
            self.broken.append(broken)
        return self.broken.index(broken)

    def _tree(
        self, slot: int, known: Mapping[str, Any], leaf: Callable[[int], int]
    ) -> Tree:
        """A tree's decisions, where the values of some cells are known already."""
        found = self.tables.forest.look(slot)
        if isinstance(found, int):
            return leaf(found) if found >= 0 else UNKNOWN
        cell, slots = found
        keys = self.tables.keys
        key = keys[cell] if cell < len(keys) else primed(keys[cell - len(keys)])
        codes = self.made.codes[plain(key)].numbers
        if key in known:
            code = codes[known[key]]
            return self._tree(slots[code], known, leaf) if code in slots else UNKNOWN
        branches = {code: self._tree(at, known, leaf) for code, at in slots.items()}
        alike = len(set(branches.values())) == 1
        if alike and len(branches) == len(codes):
            return branches.popitem()[1]
        return Look(key, tuple(sorted(branches.items())))


def leaves(tree: Tree) -> set[int]:
    """All leaves of a tree, `UNKNOWN` among them if it looks at anything."""
    if not isinstance(tree, Look):
        return {tree}
    return {UNKNOWN}.union(*(leaves(branch) for _, branch in tree.branches))


def _functions(location: Any) -> tuple[str, ...]:
    """The names of the functions that are suspended at a location."""
    return () if location == DONE else tuple(part[0] for part in location)


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """For each name one that other languages take, all different.

    A name of a single word gets an underscore, so that none is a keyword.

    >>> identifiers(["p1.refcount", "A.pte[x]", "A.pte(x)", "next"])
    {'p1.refcount': 'p1_refcount', 'A.pte[x]': 'A_pte_x', 'A.pte(x)': 'A_pte_x_2', \
'next': 'next_'}
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = re.sub(r"\W+", "_", name).strip("_")
        base = base if "_" in base else f"{base}_"
        numbered = (f"{base}_{n}" for n in itertools.count(2))
        given[name] = next(
            n for n in itertools.chain([base], numbered) if n not in taken
        )
        taken.add(given[name])
    return given
