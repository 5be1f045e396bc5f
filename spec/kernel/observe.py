"""What a kernel shows after each line of a litmus test."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from spec.kernel.driver import LATER
from spec.kernel.pagemap import availability
from spec.kernel.programs import NotExpressible, Program, program
from spec.litmus.program import DEFAULT_ADDRESS, Test


class KernelError(Exception):
    """The kernel cannot be driven; one sentence that says why."""


@dataclass(frozen=True)
class Mapped:
    """What an address maps: ``none``, ``zero``, ``page``, ``swap`` or ``other``.

    Who sees values only sees ``something`` for all that is mapped.

    `page` numbers the pages of a run by first appearance; it, the bit, `mapcount`
    and `huge` (a PMD maps it) are about pages. The bit is ``None`` where it cannot
    be seen: see `spec.kernel.pagemap`.

    >>> print(Mapped("page", 1, exclusive=True, mapcount=1))
    p1 E 1
    >>> print(Mapped("page", 1, exclusive=False, mapcount=2))
    p1 . 2
    >>> print(Mapped("page", 1, exclusive=None, mapcount=1, huge=True))
    p1 ? 1 huge
    """

    kind: str
    page: int = 0
    exclusive: bool | None = False
    mapcount: int = 0
    huge: bool = False

    def __str__(self) -> str:
        if self.kind != "page":
            return "-" if self.kind == "none" else self.kind
        bit = {True: "E", False: ".", None: "?"}[self.exclusive]
        return f"p{self.page} {bit} {self.mapcount}{' huge' if self.huge else ''}"


@dataclass(frozen=True)
class Held:
    """What the holder of a reference has: a page or the zeropage, and what it reads.

    `value` is ``None`` where that cannot be known before the holder lets go.

    >>> print(Held("page", 1, 7), "and", Held("page", 1, None))
    p1 = 7 and p1 = ?
    """

    kind: str
    page: int
    value: int | None

    def __str__(self) -> str:
        name = f"p{self.page}" if self.kind == "page" else self.kind
        return f"{name} = {'?' if self.value is None else self.value}"


@dataclass(frozen=True)
class Observation:
    """What is seen after one line.

    Attributes:
        answer: what a ``read`` gave; ``None`` for all else.
        failed: the access raises SIGSEGV, or the system call fails.
        mapped: by process and address, for all live processes.
        held: by reference, for all live references.
    """

    answer: int | None
    failed: bool
    mapped: tuple[tuple[tuple[str, str], Mapped], ...]
    held: tuple[tuple[str, Held], ...]

    def facts(self) -> dict[str, str]:
        """In words: by place (``A``, ``A at y``) and reference, and the answer."""
        found = {place(*at): str(mapped) for at, mapped in self.mapped}
        found |= {name: str(held) for name, held in self.held}
        return found | {"the call": self.outcome}

    def without_bit(self) -> Observation:
        """The same for a model that has no bit: clear everywhere."""
        clear = [(at, replace(mapped, exclusive=False)) for at, mapped in self.mapped]
        return replace(self, mapped=tuple(clear))

    def values_only(self) -> Observation:
        """What anybody sees: what is read, which calls fail, where nothing is."""
        mapped = [(at, Mapped(_coarse(shown.kind))) for at, shown in self.mapped]
        held = [(name, Held("something", 0, h.value)) for name, h in self.held]
        return replace(self, mapped=tuple(mapped), held=tuple(held))

    @property
    def outcome(self) -> str:
        """In words: what the call came to."""
        if self.failed:
            return "fails"
        return "succeeds" if self.answer is None else f"reads {self.answer}"


def _coarse(kind: str) -> str:
    return kind if kind in ("none", "swap") else "something"


def place(process: str, address: str) -> str:
    """A process at an address as litmus tests write it."""
    return process if address == DEFAULT_ADDRESS else f"{process} at {address}"


@dataclass(frozen=True)
class Run:
    """What a kernel showed of a whole test.

    Attributes:
        lines: ``None`` where one system call carries out this line and the next.
        final: what each process reads at the end where it maps a page.
        values_only: whether pages were out of sight; see `Mapped`.
    """

    lines: tuple[Observation | None, ...]
    final: tuple[tuple[tuple[str, str], int], ...]
    values_only: bool = False


@dataclass(frozen=True)
class Machine:
    """Where and when something was observed."""

    release: str
    architecture: str
    date: str

    def __str__(self) -> str:
        return f"Linux {self.release} ({self.architecture}), {self.date}"

    def json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def this_machine() -> Machine:
    """The running kernel, today."""
    today = datetime.now(UTC).date().isoformat()
    return Machine(platform.release(), platform.machine(), today)


class Kernel:
    """The running kernel, driven through a process of its own; use it with ``with``.

    Args:
        options: for `spec.kernel.driver`.

    Attributes:
        machine: what is driven, today.

    Raises:
        KernelError: it cannot be driven here; says why.
    """

    def __init__(self, *options: str) -> None:
        self.options = options
        self.machine = this_machine()

    def __enter__(self) -> Kernel:
        if reason := availability():
            raise KernelError(reason)
        # A session of its own: Ctrl-C ends the caller, whose end ends the driver.
        self.driver = subprocess.Popen(
            [sys.executable, "-m", "spec.kernel.driver", *self.options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.communicate()

    def observe(self, test: Test, by: Collection[str] = ()) -> Run:
        """Run `test` and observe it.

        Args:
            test: a test without races.
            by: system calls to prefer; see `spec.kernel.programs.BY`.

        Raises:
            NotExpressible: the test cannot be carried out by system calls here.
            KernelError: the driver failed.
        """
        return shown(test, self.ask(program(test, by)))

    def ask(self, request: Program) -> dict[str, Any]:
        """The driver's answer to a program; see `spec.kernel.driver`.

        Raises:
            KernelError: the driver is gone.
        """
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        try:
            self.driver.stdin.write(json.dumps(request) + "\n")
            self.driver.stdin.flush()
            answer = self.driver.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise KernelError(f"the driver ended with status {self.driver.wait()}")
        found: dict[str, Any] = json.loads(answer)
        return found


def shown(test: Test, answer: dict[str, Any]) -> Run:
    """A driver's answer to the program of `test`, wherever that driver ran.

    Raises:
        NotExpressible: the driver's machine cannot carry it out.
        KernelError: the driver failed.
    """
    if "unavailable" in answer:
        raise NotExpressible(f"refused here: {answer['unavailable']}")
    if "error" in answer:
        raise KernelError(f"{test.name}: {answer['error']}")
    lines = [
        None
        if LATER in line
        else _observation(line, operation.word == "read", operation.actor)
        for line, operation in zip(answer["lines"], test.operations, strict=True)
    ]
    final = tuple(_by_place(answer["final"]))
    if answer["sees"] == "pages":
        return Run(tuple(lines), final)
    seen = (None if line is None else line.values_only() for line in lines)
    return Run(tuple(seen), final, values_only=True)


def _by_place(table: dict[str, dict[str, Any]]) -> list[tuple[tuple[str, str], Any]]:
    return [((mm, va), found) for mm, row in table.items() for va, found in row.items()]


def _observation(line: dict[str, Any], is_read: bool, actor: str) -> Observation:
    held = {
        name: Held(seen["kind"], seen.get("page", 0), seen["value"])
        for name, seen in line["references"].items()
    }
    answer = line.get("value")
    if is_read and actor in held:
        answer = held[actor].value
    return Observation(
        answer=answer,
        failed="errno" in line,
        mapped=tuple((at, Mapped(**e)) for at, e in _by_place(line["processes"])),
        held=tuple(held.items()),
    )
