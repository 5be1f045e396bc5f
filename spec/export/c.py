"""A litmus test as one C program that carries it out and judges it.

For reports to people who have a compiler and a kernel, and neither this project nor
Python. Each process of the test is a process, each line a turn; operations that race
begin almost together, each on its own CPU, as often as the program is told. The system
calls are those of `spec.kernel`. Output is TAP as kselftest has it: exit status 0 says
that every condition held, 1 that one did not, 4 that the kernel or the user cannot
carry out the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from spec.export.c_calls import (
    ALWAYS,
    CALLS,
    DROP,
    FUTEX,
    HEADERS,
    HOLD,
    HUGE,
    LOOK,
    NEEDS,
    PIN,
    RING,
    SECTIONS,
    TAKE,
    VMSPLICE,
    means,
    word,
)
from spec.export.c_conditions import Found, address, identifier, process, reference
from spec.litmus.program import Line, Operation, Test

RUNS = 10_000
"""How often a test with a race is run, unless the program is told otherwise."""
HOLDER = "the holder of the references"


def c_program(test: Test) -> str:
    """The C file.

    Raises:
        SpecificationError: the test has no condition, or does something that no
            system call does.
    """
    return _Writer(test).text()


@cache
def sections() -> dict[str, str]:
    """The common parts of all programs, by name."""
    text = files("spec.export").joinpath("reproducer.c").read_text("utf-8")
    split = re.split(r"^/\* section: (.*) \*/\n", text, flags=re.M)
    return dict(zip(split[1::2], split[2::2], strict=True))


class _Writer:
    """Writes one program."""

    def __init__(self, test: Test) -> None:
        self.test = test
        self.found = Found(test)
        self.taken = {
            str(o.reference): o for o in test.operations if o.reference is not None
        }
        self.how = means(test)
        self.huge = not HUGE.keys().isdisjoint(o.word for o in test.operations)

    # -- the file ---------------------------------------------------------------------

    def text(self) -> str:
        """The whole file."""
        lines = [
            "// SPDX-License-Identifier: MIT",
            *self.head(),
            *sections()["includes"].rstrip().splitlines(),
            *(f"#include <{HEADERS[how]}>" for how in HEADERS if how in self.needed()),
            "",
            *self.constants(),
        ]
        blocks = [
            sections()[name].rstrip() for name in SECTIONS if name in self.needed()
        ]
        before, last = blocks[1:-1], blocks[-1]
        lines += ["", "\n\n".join(before), "", *self.resources()]
        for name in self.test.processes:
            lines.append(f"static void process_{identifier(name)}(void);")
        for name in self.test.processes:
            lines += ["", *self.process(name)]
        lines += ["", *self.holder(), ""]
        for number, condition in enumerate(self.test.conditions, 1):
            lines += [*self.found.function(number, condition), ""]
        lines += [*self.tables(), "", last, ""]
        return "\n".join(lines)

    def needed(self) -> set[str]:
        """The names of the sections that this program needs."""
        needed = {*ALWAYS, *self.how.values()}
        needed |= {s for o in self.test.operations for s in NEEDS.get(o.word, ())}
        needed |= {"pagemap"} if self.found.seen else set()
        actors = (*self.test.processes, HOLDER)
        needed |= {"threads"} if any(map(self.helpers, actors)) else set()
        needed |= {"huge"} if self.huge else set()
        return needed

    def head(self) -> Iterator[str]:
        """The comment at the top: what it is, the test, how to run it."""
        yield "/*"
        yield f" * {self.test.name}: a litmus test as a C program."
        yield " *"
        for row in str(self.test).rstrip().splitlines():
            if not row.startswith("expect "):
                yield f" *     {row}".replace("*/", "* /")
        yield " *"
        yield " *     gcc -O2 -Wall -pthread -o test test.c && ./test [RUNS]"
        yield " *"
        yield " * Exit status: 0 all conditions held, 1 one did not, 4 skipped."
        yield " * Add -static to run it where there is no C library."
        yield " */"

    def constants(self) -> Iterator[str]:
        """What the common parts have to know of the test."""
        runs = RUNS if any(line.is_race for line in self.test.lines) else 1
        yield f"#define RUNS {runs}"
        yield f"#define CONDITIONS {len(self.test.conditions)}"
        yield f"#define ADDRESSES {len(self.test.addresses)}"
        if self.huge:
            yield "#define HUGE"
        for number, name in enumerate(self.test.addresses):
            yield f"#define {address(name)} (BASE + {number} * STRIDE)"
        processes = [f"\t{process(name)}," for name in self.test.processes]
        yield from ("", "enum {", *processes, "\tPROCESSES", "};")
        taken = [f"\t{reference(name)}," for name in self.taken]
        yield from ("", "enum {", *taken, "\tREFERENCES")
        yield from ("};", "", "enum {", *self.found.definitions(), "\tFOUND", "};")

    def resources(self) -> Iterator[str]:
        """What exists before the first process."""
        kinds = {VMSPLICE: "int pipe_{}[2];", RING: "struct ring ring_{};"}
        kinds[HOLD] = "struct hold hold_{};"
        if self.how.keys() and set(self.how.values()) & {VMSPLICE, RING}:
            yield "static int aside[2];"
        for name, how in self.how.items():
            if how in kinds:
                yield f"static {kinds[how].format(identifier(name))}"
        yield ""

    def tables(self) -> Iterator[str]:
        """Names and conditions, for the report."""
        names = ", ".join(f'"{name}"' for name in self.found.names)
        yield f"static const char *names[] = {{ {names} }};"
        yield ""
        yield "static const struct {"
        yield "\tint (*holds)(const int *found);"
        yield "\tconst char *text;"
        yield "} conditions[] = {"
        for number, condition in enumerate(self.test.conditions, 1):
            yield f'\t{{ holds_{number}, "{condition}" }},'
        yield "};"

    # -- processes --------------------------------------------------------------------

    def actor(self, operation: Operation) -> str:
        """Who carries out an operation: its process or the holder."""
        if operation.by_reference or self.how.get(str(operation.reference)) == HOLD:
            return HOLDER
        return operation.actor

    def own(self, actor: str, line: Line) -> list[Operation]:
        """What an actor does on a line."""
        return [o for o in line.operations if self.actor(o) == actor]

    def helpers(self, actor: str) -> list[tuple[int, Operation]]:
        """What an actor leaves to threads: all but the first of several on a line."""
        return [
            (number, operation)
            for number, line in enumerate(self.test.lines, 1)
            for operation in self.own(actor, line)[1:]
        ]

    def process(self, name: str) -> Iterator[str]:
        """The function of a process, behind those of its threads."""
        yield from self.threads(name)
        yield f"static void process_{identifier(name)}(void)"
        yield "{"
        yield from self.thread_variables(name)
        if name == self.test.processes[0]:
            for va in self.test.addresses:
                yield f"\tmap_page({address(va)});"
        yield from self.lines(name)
        yield "}"

    def threads(self, actor: str) -> Iterator[str]:
        """The functions of the threads of an actor."""
        for number, operation in self.helpers(actor):
            yield f"static void *{self.helper(number, operation)}(void *unused)"
            yield "{"
            yield from self.turn(number, operation)
            yield "\treturn unused;"
            yield "}"
            yield ""

    def thread_variables(self, actor: str) -> Iterator[str]:
        """Where an actor keeps its threads, if it has any."""
        most = max(len(self.own(actor, line)) for line in self.test.lines)
        if most > 1:
            yield f"\tpthread_t threads[{most - 1}];"
            yield ""

    def helper(self, number: int, operation: Operation) -> str:
        """The function of a thread."""
        return f"line_{number}_cpu_{self.cpu(number, operation)}"

    def cpu(self, number: int, operation: Operation) -> int:
        """The CPU that an operation runs on: each of a race has its own."""
        racing = self.test.lines[number - 1].operations
        return next(cpu for cpu, each in enumerate(racing) if each is operation)

    def lines(self, actor: str) -> Iterator[str]:
        """What an actor does, line by line."""
        for number, line in enumerate(self.test.lines, 1):
            own = self.own(actor, line)
            for i, operation in enumerate(own[1:]):
                made = self.helper(number, operation)
                yield f"\tthreads[{i}] = thread({made});"
            if own:
                yield from self.turn(number, own[0])
            for i in range(len(own) - 1):
                yield f"\tpthread_join(threads[{i}], NULL);"
            if actor == HOLDER:
                yield from self.exits(number, line)

    def exits(self, number: int, line: Line) -> Iterator[str]:
        """The holder waits for who exits; the address space is gone by then."""
        for operation in line.operations:
            if operation.word == "exit":
                yield ""
                yield f"\tturn({number}, 1);"
                yield f"\twait_for({process(operation.actor)});"
                yield f"\tdone({number}, {len(line.operations)});"

    def turn(self, number: int, operation: Operation) -> Iterator[str]:
        """One operation, in its turn."""
        racers = len(self.test.lines[number - 1].operations)
        cpu = self.cpu(number, operation)
        yield ""
        yield f"\t/* {operation} */"
        if racers > 1:
            yield f"\ton_cpu({cpu});"
        yield f"\tturn({number}, {racers});"
        yield from (f"\t{row}" for row in self.statements(operation))
        if operation.word != "exit":
            yield f"\tdone({number}, {racers});"
        if racers > 1 and operation.word != "exit":
            yield "\ton_cpu(0);"

    def statements(self, operation: Operation) -> Iterator[str]:
        """One operation as C."""
        if operation.by_reference:
            yield from self.by_reference(operation)
            return
        page = address(operation.address)
        match operation.word:
            case "read":
                result = f"{self.kept(operation.result)} = " if operation.result else ""
                yield f"{result}load({page});"
            case "fork":
                child = str(operation.child)
                run = f"process_{identifier(child)}"
                yield f"start({process(child)}, {run}, CLONE_PARENT);"
            case "exit":
                yield "_exit(0);"
            case "gup":
                yield from self.gup(operation, page)
            case _:
                target = address(operation.target)
                text = {**CALLS, **HUGE}[word(operation)]
                yield text.format(page=page, value=operation.value, target=target)

    def kept(self, name: str | None) -> str:
        """Where something found is kept."""
        return f"shared->found[{self.found.constant(str(name))}]"

    def gup(self, operation: Operation, page: str) -> Iterator[str]:
        """Take a reference; what lets go at once has read by then."""
        name = str(operation.reference)
        how = self.how[name]
        take = TAKE[how].format(
            name=identifier(name), page=page, process=process(operation.actor)
        )
        if how in (PIN, FUTEX):
            yield f"if ({take})"
            yield f"\t{self.kept(name)} = load({page});"
            return
        yield f"shared->live[{reference(name)}] = {take};"
        if self.found.seen:
            yield f"shared->pfn[{reference(name)}] ="
            yield f"\tpfn_of({process(operation.actor)}, {page});"

    def by_reference(self, operation: Operation) -> Iterator[str]:
        """What the holder of a reference does; a void one does nothing."""
        name = operation.actor
        how, page = self.how[name], address(self.taken[name].address)
        names = {"name": identifier(name), "page": page}
        if how not in LOOK:
            return
        yield f"if (shared->live[{reference(name)}]) {{"
        match operation.word:
            case "put":
                yield f"\t{self.kept(name)} = {LOOK[how].format(**names)};"
                yield f"\t{DROP[how].format(**names)}"
                yield f"\tshared->live[{reference(name)}] = 0;"
            case "read":
                result = f"{self.kept(operation.result)} = " if operation.result else ""
                yield f"\t{result}{LOOK[how].format(**names)};"
            case _:
                ring, value = f"&ring_{identifier(name)}", operation.value
                yield f"\tdevice_writes({ring}, {page}, {value}, aside);"
        yield "}"

    # -- the holder -------------------------------------------------------------------

    def holder(self) -> Iterator[str]:
        """The process that holds the references and looks at the end."""
        first = self.test.processes[0]
        yield from self.threads(HOLDER)
        yield "static void hold_references(void)"
        yield "{"
        yield from self.thread_variables(HOLDER)
        pipes = [f"pipe_{identifier(n)}" for n, h in self.how.items() if h == VMSPLICE]
        if set(self.how.values()) & {VMSPLICE, RING}:
            pipes.append("aside")
        for name in pipes:
            yield f"\tif (pipe({name}))"
            yield '\t\tskip("pipe");'
        for name, how in self.how.items():
            if how == RING:
                yield f"\tmake_ring(&ring_{identifier(name)});"
        yield f"\tstart({process(first)}, process_{identifier(first)}, 0);"
        yield from self.lines(HOLDER)
        yield ""
        yield f"\tturn({len(self.test.lines) + 1}, 1);"
        for name, how in self.how.items():
            if how in LOOK:
                page = address(self.taken[name].address)
                look = LOOK[how].format(name=identifier(name), page=page)
                yield f"\tif (shared->live[{reference(name)}])"
                yield f"\t\t{self.kept(name)} = {look};"
        yield from self.found.looks()
        yield "}"
