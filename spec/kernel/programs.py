"""From a litmus test to the system calls that carry it out, if there are any."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from spec.decisions import Foll
from spec.kernel.driver import (
    DIRECT_READ,
    DIRECT_WRITE,
    LATER,
    PTRACE_PEEK,
    PTRACE_POKE,
)
from spec.kernel.references import FUTEX, IO_URING, READV, VMSPLICE
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


def unseen(test: Test) -> frozenset[str]:
    """The references that are gone when the call that takes them returns."""
    return frozenset(
        str(operation.reference)
        for operation in test.operations
        if operation.foll is not None
        and operation.foll.write
        and not operation.foll.pin
    )


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
    _check_transient(operation, operations)
    return {"how": FUTEX}


def _check_transient(operation: Operation, operations: tuple[Operation, ...]) -> None:
    """A futex(2) takes FOLL_GET|FOLL_WRITE, else R/O, and lets go at once."""
    following = operations[operations.index(operation) + 1 :]
    put = (operation.reference, "put")
    if following and (following[0].actor, following[0].word) != put:
        raise NotExpressible(
            f"line {operation.line}: no system call keeps a FOLL_GET|FOLL_WRITE "
            f"reference; '{operation.reference}: put' must be the next line"
        )
    at = operation.address
    if any(o.protection == "r" and o.address == at for o in operations):
        raise NotExpressible(
            f"line {operation.line}: futex(2) asks again without FOLL_WRITE where "
            "mprotect forbids writing"
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
