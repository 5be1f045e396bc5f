"""A guarded program as a Promela model, for Spin.

Each thread is a process and each place where it can stand is a label, so that Spin
tries no command of another place. A guarded command is one `d_step`: one transition.
The places where a thread may rest have an ``end`` label; Spin's *invalid end state* is
then what the checker calls a deadlock. The process ``init`` chooses the initial state,
which adds one state and a transition for each of them, and then judges each state: its
only transitions are violations. A footprint that the exploration did not meet counts
as a violation, because nothing is known of it.

A property is a variable that is always 0; the assertion that names it fails where the
property does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec.cells import SpecificationError
from spec.export.guarded import (
    START,
    UNKNOWN,
    Command,
    GuardedProgram,
    GuardedThread,
    Look,
    Tree,
    identifiers,
)

ADDED_STATES = 1
"""States that Spin counts on top: the one before the initial state is chosen."""
MOST_JUMPS = 2040
"""What Spin keeps of the places where a `d_step` ends fits a table of 2,048."""
NOT_MET = "NOT_MET"
"""What a step or a state breaks of which the exploration knows nothing."""


def promela(made: GuardedProgram, said: str, rules: bool = False) -> str:
    """The model as text.

    Args:
        made: the program.
        said: what it was made from, for the comment at the top.
        rules: assert also of each step that its footprint is one that was met.

    Raises:
        SpecificationError: Spin does not take so large a model.
    """
    jumps = sum(
        len(by_target(thread, place))
        for thread in made.threads
        for place in range(len(thread.places))
    )
    if jumps > MOST_JUMPS:
        raise SpecificationError(
            f"the model has {jumps:,} jumps between places and Spin takes "
            f"{MOST_JUMPS:,}; export smaller bounds, or to spin-tables"
        )
    return _Writer(made, rules).text(said)


class _Writer:
    """Writes one model."""

    def __init__(self, made: GuardedProgram, rules: bool) -> None:
        self.made = made
        self.rules = rules
        ids = {id for broken in made.broken for id in broken} | set(made.properties)
        self.names = identifiers(
            [*made.cells, *(_process(t) for t in made.threads), *sorted(ids)]
        )

    def text(self, said: str) -> str:
        lines = ["/*", *(f" * {line}".rstrip() for line in said.splitlines()), " */"]
        lines += ["", *self.cells(), "", *self.assertions()]
        for thread in self.made.threads:
            lines += ["", *self.process(thread)]
        return "\n".join([*lines, "", *self.init(), ""])

    def cells(self) -> Iterator[str]:
        """A variable for each cell, and what its codes stand for."""
        for key, values in self.made.cells.items():
            listed = ", ".join(f"{code} {value}" for code, value in enumerate(values))
            bits = (len(values) - 1).bit_length()
            kind = "bit" if bits == 1 else "unsigned"
            width = "" if bits == 1 else f" : {bits}"
            yield f"{kind} {self.names[key]}{width}; /* {key}: {_comment(listed)} */"

    def assertions(self) -> Iterator[str]:
        """A variable that is always 0 for each property."""
        ids = {id for broken in self.made.broken for id in broken}
        for id in sorted(ids | set(self.made.properties)):
            yield f"hidden byte {self.names[id]};"
        yield f"hidden byte {NOT_MET};"

    # -- threads ----------------------------------------------------------------------

    def process(self, thread: GuardedThread) -> Iterator[str]:
        """One thread."""
        yield f"proctype {self.names[_process(thread)]}()"
        yield "{"
        yield f"\tgoto {self.label(thread, START)};"
        for number, place in enumerate(thread.places):
            yield f"{self.label(thread, number)}:"
            if place.functions:
                yield f"\t/* {_comment(' '.join(place.functions))} */"
            targets = by_target(thread, number)
            if not targets:
                yield "\tfalse;"
                continue
            yield "\tif"
            for target, commands in targets.items():
                yield "\t:: if"
                for command in commands:
                    yield from self.command(command)
                yield f"\t   fi; goto {self.label(thread, target)}"
            yield "\tfi;"
        yield "}"

    def label(self, thread: GuardedThread, place: int) -> str:
        """The label of a place."""
        return f"end_{place}" if thread.places[place].resting else f"at_{place}"

    def command(self, command: Command) -> Iterator[str]:
        """One guarded command: an option of the place that it starts from."""
        guard = [f"{self.names[k]} == {v}" for k, v in command.guard.items()]
        writes = [f"{self.names[k]} = {v}" for k, v in command.writes.items()]
        body = [*self.judged(command), *writes]
        yield f"\t      :: d_step {{ /* {_comment(command.said)} */"
        yield f"\t\t   {' && '.join(guard) or 'true'} ->"
        yield f"\t\t   {'; '.join(body) or 'skip'} }}"

    def judged(self, command: Command) -> Iterator[str]:
        """Assertions for what the step breaks."""
        for id, tree, kept in self.made.judged(command):
            if id or self.rules:
                name = self.names[id] if id else NOT_MET
                yield f"assert({name} || {self.found(tree, kept)})"

    def found(self, tree: Tree, wanted: set[int]) -> str:
        """An expression that is true where the tree's leaf is a wanted one."""
        if not isinstance(tree, Look):
            return str(int(tree in wanted))
        rest = str(int(UNKNOWN in wanted))
        by_text: dict[str, list[int]] = {}
        for code, branch in tree.branches:
            by_text.setdefault(self.found(branch, wanted), []).append(code)
        name = self.names[tree.cell]
        for text, codes in by_text.items():
            if text != rest:
                asked = " || ".join(f"{name} == {code}" for code in codes)
                rest = (
                    f"({asked})"
                    if (text, rest) == ("1", "0")
                    else (f"({asked} -> {text} : {rest})")
                )
        return rest

    # -- the judge --------------------------------------------------------------------

    def init(self) -> Iterator[str]:
        """The choice of an initial state, and then one transition per violation."""
        yield "init"
        yield "{"
        yield "\tatomic {"
        yield "\t\tif"
        for state in self.made.initial:
            writes = [
                f"{self.names[key]} = {code}" for key, code in state.items() if code
            ]
            yield f"\t\t:: {'; '.join(writes) or 'skip'}"
        yield "\t\tfi;"
        for thread in self.made.threads:
            yield f"\t\trun {self.names[_process(thread)]}();"
        yield "\t}"
        yield "end_judging:"
        yield "\tdo"
        yield from self.verdicts()
        yield "\t:: false"
        yield "\tod"
        yield "}"

    def verdicts(self) -> Iterator[str]:
        """An option for each property of states; it can be taken where it is broken."""
        for id, tree in self.made.properties.items():
            holds = self.found(tree, {1})
            yield f"\t:: d_step {{ !{holds} -> assert({self.names[id]}) }}"


def added_transitions(made: GuardedProgram) -> int:
    """Transitions that Spin counts on top: the choice of the initial state."""
    return 1 + len(made.initial)


def by_target(thread: GuardedThread, place: int) -> dict[int, list[Command]]:
    """The commands from a place, by where they lead."""
    found: dict[int, list[Command]] = {}
    for command in thread.commands_from(place):
        found.setdefault(command.target, []).append(command)
    return found


def _process(thread: GuardedThread) -> str:
    """The process that a thread is."""
    return f"thread.{thread.name}"


def _comment(text: str) -> str:
    """Text that ends no comment."""
    return text.replace("*/", "* /")
