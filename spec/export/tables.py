"""A guarded program for Spin with its commands in tables, where the model is large.

`promela` writes each guarded command as a statement. For a section of the larger bounds
that is a verifier of tens of megabytes, for which gcc -O2 takes long: more than seven
minutes for section 5 of `large`. Here Spin stores states and searches them as ever.
Which steps there are, what they assign and what they break, functions in C look up in
decision trees.

Of the same model Spin counts the same, and is quicker: it need not try all commands of
a place one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files

from spec.checker.packing import WORD, Layout
from spec.export.guarded import (
    START,
    UNKNOWN,
    Command,
    GuardedProgram,
    Look,
    Tree,
    identifiers,
)

NOWHERE = -1
"""In a table: nothing is there."""

Guarded = tuple[list[tuple[str, int]], int]
"""What is still to be found, cell by cell, and the address of a command."""


@dataclass(frozen=True)
class Tabled:
    """A model for Spin.

    Attributes:
        model: the Promela text; it includes the header.
        header: tables and functions in C.
    """

    model: str
    header: str


def tabled(made: GuardedProgram, said: str, header: str, rules: bool = False) -> Tabled:
    """The model as two texts.

    Args:
        made: the program.
        said: what it was made from, for the comment at the top.
        header: the name of the file with the tables.
        rules: assert also of each step that its footprint is one that was met.
    """
    writer = _Tables(made, rules)
    return Tabled(writer.model(said, header), writer.text())


class _Tables:
    """Numbers for C: every list has an address in one array.

    A node of steps is the number of its commands, their addresses, and then the cells
    to look at, each with its branches. A node of a judgement looks at one cell.
    """

    def __init__(self, made: GuardedProgram, rules: bool) -> None:
        self.made, self.rules = made, rules
        self.places = [f"@{thread.name}" for thread in made.threads]
        counts = [len(values) for values in made.cells.values()]
        counts += [len(thread.places) for thread in made.threads]
        self.layout = Layout([*made.cells, *self.places], counts, 0)
        self.numbers: list[int] = []
        self.trees: dict[Tree, int] = {}
        ids = {id for broken in made.broken for id in broken}
        self.ids = sorted(ids | {*made.properties})
        self.starts = [
            [
                self._steps(self._from(number, place))
                for place in range(len(thread.places))
            ]
            for number, thread in enumerate(made.threads)
        ]
        self.properties = [self._tree(tree) for tree in made.properties.values()]
        self.most = sum(max(map(self._most, starts)) for starts in self.starts)
        """How many steps a state can have."""

    def _add(self, numbers: Iterable[int]) -> int:
        first = len(self.numbers)
        self.numbers += numbers
        return first

    # -- steps ------------------------------------------------------------------------

    def _from(self, thread: int, place: int) -> list[Guarded]:
        """The commands from a place."""
        return [
            (list(command.guard.items()), self._command(thread, command))
            for command in self.made.threads[thread].commands_from(place)
        ]

    def _command(self, thread: int, command: Command) -> int:
        """What a command keeps and sets of each word, and the trees that judge it."""
        kept = [(1 << WORD) - 1] * self.layout.words
        bits = [0] * self.layout.words
        writes = {**command.writes, self.places[thread]: command.target}
        for key, code in writes.items():
            word, shift, mask = self.layout.fields[self.layout.keys[key]]
            kept[word] &= ~(mask << shift)
            bits[word] |= code << shift
        trees = [self._tree(tree) for tree in command.judged if tree != 0]
        return self._add([*kept, *bits, len(trees), *trees])

    def _steps(self, commands: list[Guarded]) -> int:
        """The address of a node: what is enabled, and where more has to be found."""
        enabled = [address for guard, address in commands if not guard]
        looks: dict[str, dict[int, list[Guarded]]] = {}
        for guard, address in commands:
            if guard:
                (key, code), *rest = guard
                looks.setdefault(key, {}).setdefault(code, []).append((rest, address))
        found: list[int] = []
        for key, by_code in looks.items():
            branches = {code: self._steps(more) for code, more in by_code.items()}
            found += self._look(key, branches)
        return self._add([len(enabled), *enabled, len(looks), *found])

    def _look(self, key: str, branches: dict[int, int]) -> list[int]:
        word, shift, mask = self.layout.fields[self.layout.keys[key]]
        width = len(self.made.cells[key])
        return [
            *(word, shift, mask, width),
            *(branches.get(code, NOWHERE) for code in range(width)),
        ]

    def _most(self, node: int) -> int:
        """How many steps a node can have."""
        if node == NOWHERE:
            return 0
        enabled = self.numbers[node]
        at = node + 1 + enabled
        looks, at = self.numbers[at], at + 1
        for _ in range(looks):
            width = self.numbers[at + 3]
            enabled += max(map(self._most, self.numbers[at + 4 : at + 4 + width]))
            at += 4 + width
        return enabled

    # -- judgements -------------------------------------------------------------------

    def _tree(self, tree: Tree) -> int:
        """The address of a tree; a leaf is its number below `NOWHERE`."""
        if not isinstance(tree, Look):
            return NOWHERE if tree == UNKNOWN else NOWHERE - 1 - tree
        if tree not in self.trees:
            branches = {code: self._tree(branch) for code, branch in tree.branches}
            self.trees[tree] = self._add(self._look(tree.cell, branches))
        return self.trees[tree]

    # -- texts ------------------------------------------------------------------------

    def model(self, said: str, header: str) -> str:
        """The Promela model: as many ways to go on as a state can have steps.

        The first one is never taken: it is there for what it says of the state.
        """
        steps = "\n".join(
            f"\t:: d_step {{ c_expr {{ (steps(now.row) > {number}) }};\n"
            f"\t\tc_code {{ take(now.row, {number}); }} }}"
            for number in range(self.most)
        )
        starts = "\n".join(
            f"\t:: c_code {{ start(now.row, {number}); }}"
            for number in range(len(self.made.initial))
        )
        comment = "\n".join(f" * {line}".rstrip() for line in said.splitlines())
        return f"""\
/*
{comment}
 */

c_decl {{
\\#include "{header}"
}}
c_state "unsigned row[{self.layout.words}]" "Global"

init
{{
	if
{starts}
	fi;
end_searching:
	do
	:: c_expr {{ (judge(now.row)) }}
{steps}
	od
}}
"""

    def text(self) -> str:
        """The header: the tables, and what looks things up in them."""
        threads = self.made.threads
        places = [self.layout.fields[self.layout.keys[key]] for key in self.places]
        resting = [[int(place.resting) for place in t.places] for t in threads]
        most = max(len(thread.places) for thread in threads)
        sets = [[self.ids.index(id) for id in ids] for ids in self.made.broken]
        longest = str(max(map(len, sets)) + 1)
        names = ", ".join(f'"{name}"' for name in identifiers(self.ids).values())
        lines = [
            f"#define WORDS {self.layout.words}",
            f"#define THREADS {len(threads)}",
            f"#define MOST {max(self.most, 1)}",
            f"#define RULES {int(self.rules)}",
            _array("unsigned", "initial", self._initial(), "WORDS"),
            _array("int", "place", places, "3"),
            _array("char", "resting", resting, str(most)),
            _array("int", "from", self.starts, str(most)),
            f"static const char *ids[] = {{ {names} }};",
            _array("int", "sets", [[*each, -1] for each in sets], longest),
            _array("int", "properties", self._properties(), "2"),
            f"#define PROPERTIES {len(self.properties)}",
            "static const int numbers[] = {",
            *self._numbers(),
            "};",
            "",
        ]
        looks_up = files("spec.export").joinpath("tables.c").read_text("utf-8")
        return "\n".join(lines) + looks_up

    def _initial(self) -> Iterator[list[int]]:
        for state in self.made.initial:
            codes = [state.get(key, 0) for key in self.made.cells]
            yield self.layout.row([*codes, *(START for _ in self.places)])

    def _properties(self) -> Iterator[tuple[int, int]]:
        for id, tree in zip(self.made.properties, self.properties, strict=True):
            yield self.ids.index(id), tree

    def _numbers(self) -> Iterator[str]:
        for first in range(0, len(self.numbers), 16):
            part = self.numbers[first : first + 16]
            yield "".join(f"{n if n < 1 << 31 else n - (1 << 32)}," for n in part)


def _array(kind: str, name: str, rows: Iterable[Iterable[int]], width: str) -> str:
    body = ",\n".join(f"\t{{ {', '.join(map(str, row))} }}" for row in rows)
    return f"static const {kind} {name}[][{width}] = {{\n{body}\n}};"
