"""A guarded program as a TLA+ module, for TLC and other tools.

Cells are variables that hold strings, and each thread is a variable that names the
place where it stands. A guarded command is one disjunct of the definition for its
place. A footprint of a property that the exploration did not meet counts as a
violation, because nothing is known of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap

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

NOT_MET = "not met"
"""What a step breaks of which the exploration knows nothing."""
NO_DEADLOCK = "NoDeadlock"
WIDTH = 88


def tla(made: GuardedProgram, name: str, said: str, rules: bool = False) -> str:
    """The module as text.

    Args:
        made: the program.
        name: of the module, and of its file.
        said: what it was made from, for the comment at the top.
        rules: assert also of each step that its footprint is one that was met.
    """
    return _Writer(made, rules).text(name, said)


def configuration(made: GuardedProgram) -> str:
    """What TLC is to check of the module."""
    invariants = [*_Writer(made, rules=False).invariants(), NO_DEADLOCK]
    return "\n".join(
        [
            "SPECIFICATION Spec",
            "\\* A thread may rest for ever: NoDeadlock says what a deadlock is.",
            "CHECK_DEADLOCK FALSE",
            "INVARIANTS",
            *(f"    {name}" for name in ["TypeOK", *invariants]),
            "",
        ]
    )


class _Writer:
    """Writes one module."""

    def __init__(self, made: GuardedProgram, rules: bool) -> None:
        self.made = made
        self.rules = rules
        threads = [_variable(thread) for thread in made.threads]
        ids = {id for broken in made.broken for id in broken} | set(made.properties)
        self.names = identifiers([*threads, *made.cells, *sorted(ids)])
        self.values = {key: _strings(values) for key, values in made.cells.items()}
        self.variables = [self.names[each] for each in (*threads, *made.cells)]
        self.rests: dict[frozenset[str], str] = {}

    def text(self, name: str, said: str) -> str:
        actions = [line for t in self.made.threads for line in self.thread(t)]
        return "\n".join(
            [
                f"---- MODULE {name} ----",
                "(*",
                *(f"  {line}".rstrip() for line in _uncommented(said).splitlines()),
                "*)",
                "EXTENDS TLC",
                "",
                *_listed("VARIABLES ", self.variables, ""),
                "",
                *_listed("vars == << ", self.variables, " >>"),
                "",
                *self.types(),
                "",
                *self.init(),
                "",
                *self.unchanged(),
                *actions,
                *self.next(),
                "",
                *self.properties(),
                "====",
                "",
            ]
        )

    def invariants(self) -> list[str]:
        """The names of the properties of states."""
        return [self.names[id] for id in self.made.properties]

    # -- states -----------------------------------------------------------------------

    def types(self) -> Iterator[str]:
        """The values that each variable can have."""
        yield "TypeOK =="
        for thread in self.made.threads:
            places = [_place(thread, n) for n in range(len(thread.places))]
            yield from _listed(
                f"  /\\ {self.names[_variable(thread)]} \\in {{", places, "}"
            )
        for key, values in self.values.items():
            yield from _listed(f"  /\\ {self.names[key]} \\in {{", values, "}")

    def init(self) -> Iterator[str]:
        """The states to start from."""
        starts = [
            f"{self.names[_variable(thread)]} = {_place(thread, START)}"
            for thread in self.made.threads
        ]
        yield "Init =="
        for state in self.made.initial:
            yield f"  \\/ /\\ {self.conjunction(starts, state)}"

    def conjunction(self, first: list[str], codes: Mapping[str, int]) -> str:
        """The cells have the values of these codes."""
        found = [f"{self.names[k]} = {self.values[k][c]}" for k, c in codes.items()]
        return " /\\ ".join([*first, *found])

    # -- steps ------------------------------------------------------------------------

    def thread(self, thread: GuardedThread) -> Iterator[str]:
        """A definition for each place of a thread that has commands."""
        for number, place in enumerate(thread.places):
            commands = thread.commands_from(number)
            if commands:
                yield f"{self.action(thread, number)} =="
                yield f"  \\* {' '.join(place.functions)}"
                for command in commands:
                    yield from self.command(thread, command)
                yield ""

    def action(self, thread: GuardedThread, place: int) -> str:
        """The name of the definition for a place."""
        return f"{self.names[_variable(thread)]}_{place}"

    def command(self, thread: GuardedThread, command: Command) -> Iterator[str]:
        """One guarded command: a disjunct."""
        name = self.names[_variable(thread)]
        after = [f"{name}' = {_place(thread, command.target)}"]
        after += [
            f"{self.names[key]}' = {self.values[key][code]}"
            for key, code in command.writes.items()
        ]
        yield f"  \\* {_uncommented(command.said)}"
        here = [f"{name} = {_place(thread, command.source)}"]
        yield f"  \\/ /\\ {self.conjunction(here, command.guard)}"
        for asserted in self.judged(command):
            yield f"     /\\ {asserted}"
        kept = self.rest({_variable(thread), *command.writes})
        yield f"     /\\ {' /\\ '.join(after)} /\\ UNCHANGED {kept}"

    def rest(self, changed: set[str]) -> str:
        """The name of the tuple of all variables but these."""
        return self.rests.setdefault(frozenset(changed), f"rest_{len(self.rests) + 1}")

    def unchanged(self) -> Iterator[str]:
        """The tuples of variables that some command leaves alone."""
        for changed, name in self.rests.items():
            gone = {self.names[key] for key in changed}
            others = [v for v in self.variables if v not in gone]
            yield from _listed(f"{name} == << ", others, " >>")
            yield ""

    def next(self) -> Iterator[str]:
        """All steps."""
        yield "Next =="
        for thread in self.made.threads:
            for place in range(len(thread.places)):
                if thread.commands_from(place):
                    yield f"  \\/ {self.action(thread, place)}"
        yield ""
        yield "Spec == Init /\\ [][Next]_vars"

    # -- properties -------------------------------------------------------------------

    def judged(self, command: Command) -> Iterator[str]:
        """Assertions for what the step breaks."""
        for id, tree, kept in self.made.judged(command):
            if id or self.rules:
                yield f'Assert({self.found(tree, kept)}, "{id or NOT_MET}")'

    def properties(self) -> Iterator[str]:
        """An invariant for each property of states, and one that forbids deadlock."""
        for id, tree in self.made.properties.items():
            yield f"{self.names[id]} == {self.found(tree, {1})}"
            yield ""
        yield f"{NO_DEADLOCK} =="
        for thread in self.made.threads:
            resting = [
                _place(thread, n) for n, p in enumerate(thread.places) if p.resting
            ]
            mark = "\\/ /\\" if thread is self.made.threads[0] else "   /\\"
            variable = self.names[_variable(thread)]
            yield from _listed(f"  {mark} {variable} \\in {{", resting, "}")
        yield "  \\/ ENABLED Next"

    def found(self, tree: Tree, wanted: set[int]) -> str:
        """An expression that is true where the tree's leaf is a wanted one."""
        if not isinstance(tree, Look):
            return "TRUE" if tree in wanted else "FALSE"
        rest = "TRUE" if UNKNOWN in wanted else "FALSE"
        by_text: dict[str, list[str]] = {}
        for code, branch in tree.branches:
            value = self.values[tree.cell][code]
            by_text.setdefault(self.found(branch, wanted), []).append(value)
        name = self.names[tree.cell]
        cases = [
            f"{name} \\in {{{', '.join(values)}}} -> {text}"
            for text, values in by_text.items()
            if text != rest
        ]
        return f"(CASE {' [] '.join(cases)} [] OTHER -> {rest})" if cases else rest


def _strings(values: tuple[object, ...]) -> list[str]:
    """The values as strings, all different."""
    said = [str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return [
        f'"{text}"' if said.count(text) == 1 else f'"{text} ({code})"'
        for code, text in enumerate(said)
    ]


def _variable(thread: GuardedThread) -> str:
    """What holds the place of a thread."""
    return f"at.{thread.name}"


def _place(thread: GuardedThread, number: int) -> str:
    """A place as a string: its number and its innermost function."""
    functions = thread.places[number].functions
    return f'"{number} {functions[-1]}"' if functions else f'"{number} done"'


def _listed(head: str, items: list[str], tail: str) -> list[str]:
    """A list with commas, on as many lines as it needs."""
    # wrapping must not break within a string
    text = ", ".join(item.replace(" ", "\0") for item in items)
    room = WIDTH - len(head) - len(tail)
    lines = wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    padded = [head + lines[0], *(" " * len(head) + line for line in lines[1:])]
    return [line.replace("\0", " ") for line in (*padded[:-1], padded[-1] + tail)]


def _uncommented(text: str) -> str:
    """Text that neither begins nor ends a comment."""
    return text.replace("(*", "( *").replace("*)", "* )")
