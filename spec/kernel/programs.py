"""From a litmus test to the system calls that carry it out, if there are any."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from spec.decisions import Foll
from spec.kernel.driver import (
    DIRECT_READ,
    DIRECT_WRITE,
    LATER,
    PTRACE_PEEK,
    PTRACE_POKE,
)
from spec.kernel.references import FUTEX, IO_SUBMIT, IO_URING, READV, VMSPLICE
from spec.litmus.parser import HUGE_WORDS
from spec.litmus.program import Operation, Test

Program = dict[str, Any]

NO_SYSTEM_CALL = {
    "numa-hint": "only the kernel places NUMA hints, for the whole machine",
}
"""Words that the driver has no system call for, and why."""


class NotExpressible(Exception):
    """A test that no sequence of system calls carries out; says why."""


def program(test: Test, by: Collection[str] = ()) -> Program:
    """What the driver runs for `test`.

    Args:
        test: a test without races.
        by: the names of system calls (`BY`) to prefer where they do the same.

    Raises:
        NotExpressible: the test needs something that user space cannot do, or not
            in a way that can be observed.
    """
    for line in test.lines:
        if line.is_race:
            raise NotExpressible(f"line {line.line} is a race; the driver has one CPU")
    operations = test.operations
    _check_words(operations)
    _check_values(operations)
    _check_exits(operations)
    _check_in_flight(operations)
    calls = [_call(operation) for operation in operations]
    for number, operation in enumerate(operations):
        length, brief = brief_call(operations[number:], by)
        if length:
            last = number + length - 1
            calls[number:last] = [{"word": LATER}] * (length - 1)
            calls[last] = {**_call(operation), **brief}
        elif operation.foll is not None:
            calls[number] |= _how(operation, operations)
        elif operation.word == "force-write" and "ptrace" in by:
            calls[number]["by"] = PTRACE_POKE
    return {
        "processes": list(test.processes),
        "addresses": list(test.addresses),
        "huge": any(operation.word in HUGE_WORDS for operation in operations),
        "calls": calls,
    }


@dataclass(frozen=True)
class Sight:
    """What cannot be seen of the references that the model has.

    Attributes:
        gone: what the kernel let go of before the test says so.
        blind: references whose page is known, but not what their holders read.
    """

    gone: frozenset[str] = frozenset()
    blind: frozenset[str] = frozenset()


def sights(test: Test) -> Iterator[Sight]:
    """For each line, what cannot be seen after it."""
    gone: set[str] = set()
    blind: set[str] = set()
    for operation in test.operations:
        foll = operation.foll
        if foll is not None and foll.write and not foll.pin:
            transient = _is_transient(operation, test.operations)
            (gone if transient else blind).add(str(operation.reference))
        elif operation.actor in blind:
            blind.discard(operation.actor)
            gone.add(operation.actor)
        yield Sight(frozenset(gone), frozenset(blind))


def _call(operation: Operation) -> dict[str, Any]:
    names = (
        *("actor", "word", "address", "value"),
        *("child", "other", "target", "protection", "reference"),
    )
    found = {name: getattr(operation, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


BY = ("mem", "ptrace", "process_vm", "direct")
"""What a test may be carried out by that takes a reference, uses it and lets go:
/proc/PID/mem, ptrace(2), process_vm_readv(2) and process_vm_writev(2), O_DIRECT."""
BRIEFLY: dict[tuple[Foll, tuple[str, ...]], dict[str, str]] = {
    (Foll(), ("put",)): {"mem": "read memory file", "ptrace": PTRACE_PEEK},
    (Foll(pin=True), ("put",)): {"process_vm": READV, "direct": DIRECT_WRITE},
    (Foll(write=True, pin=True), ("write", "put")): {
        "process_vm": "process_vm_writev",
        "direct": DIRECT_READ,
    },
}
"""By the flags of a gup and the words that follow it at once."""
WITHOUT_PIN = (Foll(write=True), ("write", "put"))
"""This is O_DIRECT as it was before it took pins; nothing else does it."""


def brief_call(
    operations: tuple[Operation, ...], by: Collection[str]
) -> tuple[int, dict[str, Any]]:
    """How many of the first operations one call carries out, and which call.

    Args:
        operations: those of a test from a gup on.
        by: which ways are wanted, of `BY`.
    """
    gup, following = operations[0], operations[1:3]
    if gup.entry == "fast-only":
        return 0, {}
    for length in (1, 2):
        uses = following[:length]
        if gup.foll is None or any(o.actor != gup.reference for o in uses):
            break
        kind = (gup.foll, tuple(operation.word for operation in uses))
        value = {"value": uses[0].value} if uses and uses[0].word == "write" else {}
        if kind == WITHOUT_PIN:
            return 3, {"word": DIRECT_READ, "pins": False, **value}
        offered = BRIEFLY.get(kind, {})
        wanted = [word for name, word in offered.items() if name in by]
        if wanted:
            return length + 1, {"word": wanted[0], "pins": True, **value}
    return 0, {}


def _how(operation: Operation, operations: tuple[Operation, ...]) -> dict[str, str]:
    """The system call that takes the reference of a gup, as its holder would."""
    foll = operation.foll
    assert foll is not None
    where = f"line {operation.line}: "
    if operation.entry == "fast-only":
        raise NotExpressible(f"{where}no system call stops at GUP-fast")
    if foll.pin and foll.write:
        return {"how": IO_URING}
    if foll.longterm:
        raise NotExpressible(
            f"{where}no system call takes R/O FOLL_LONGTERM references; "
            "gup_test would, where it is built in"
        )
    if foll.pin:
        return {"how": READV}
    if not foll.write:
        return {"how": VMSPLICE}
    return {"how": FUTEX if _is_transient(operation, operations) else IO_SUBMIT}


def _is_transient(operation: Operation, operations: tuple[Operation, ...]) -> bool:
    """Whether futex(2) will do, which takes FOLL_GET|FOLL_WRITE and lets go at once.

    It asks again without FOLL_WRITE where mprotect forbids writing.
    """
    following = operations[operations.index(operation) + 1 :]
    put = (operation.reference, "put")
    at = operation.address
    return not any(o.protection == "r" and o.address == at for o in operations) and (
        not following or (following[0].actor, following[0].word) == put
    )


def _check_in_flight(operations: tuple[Operation, ...]) -> None:
    """A device that has written has let go; what it waits for may not exit."""
    waiting: dict[str, str] = {}
    written: set[str] = set()
    for operation in operations:
        foll, word = operation.foll, operation.word
        if foll is not None and not foll.pin and foll.write:
            if not _is_transient(operation, operations):
                waiting[str(operation.reference)] = operation.actor
        elif operation.actor in waiting and word in ("write", "put"):
            del waiting[operation.actor]
            written |= {operation.actor} if word == "write" else set()
        elif operation.actor in written and word == "put":
            written.discard(operation.actor)
        elif word == "exit" and operation.actor in waiting.values():
            raise NotExpressible(
                f"line {operation.line}: {operation.actor} does not exit before its "
                "O_DIRECT read is done"
            )
        elif operation.actor in waiting or (written and word != "read"):
            raise NotExpressible(
                f"line {operation.line}: O_DIRECT lets go of the page once it is done, "
                "and it is not seen before"
            )


def _check_words(operations: tuple[Operation, ...]) -> None:
    for operation in operations:
        if reason := NO_SYSTEM_CALL.get(operation.word):
            raise NotExpressible(f"line {operation.line}: {reason}")


def _check_values(operations: tuple[Operation, ...]) -> None:
    for operation in operations:
        if operation.value is not None and not 0 <= operation.value <= 255:
            raise NotExpressible(
                f"line {operation.line}: {operation.value} is not a byte (0 to 255)"
            )


def _check_exits(operations: tuple[Operation, ...]) -> None:
    """process_vm_readv(2), while it holds a pin, holds the address space as well."""
    held: dict[str, str] = {}
    for operation in operations:
        foll = operation.foll
        if foll is not None and foll.pin and not foll.write:
            held[str(operation.reference)] = operation.actor
        if operation.word == "put":
            held.pop(operation.actor, None)
        if operation.word == "exit" and operation.actor in held.values():
            raise NotExpressible(
                f"line {operation.line}: what holds a R/O pin on a page of "
                f"{operation.actor} keeps its address space past exit"
            )
