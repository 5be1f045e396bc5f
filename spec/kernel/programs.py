"""From a litmus test to the system calls that carry it out, if there are any."""

from __future__ import annotations

from typing import Any

from spec.kernel.driver import FUTEX, IO_URING, READV, VMSPLICE
from spec.litmus.parser import HUGE_WORDS
from spec.litmus.program import Operation, Test

Program = dict[str, Any]

NO_SWAP = "swapping out needs a swap device; the driver uses none"
NO_KSM = "a KSM page needs ksmd, which runs for the whole machine"
WHOLE_MACHINE = {
    "swapout": NO_SWAP,
    "madvise pageout": NO_SWAP,
    "reclaim": "no system call has the kernel reclaim a page",
    "swapoff": NO_SWAP,
    "migrate": "migration needs a second NUMA node; the driver uses one",
    "numa-hint": "only the kernel places NUMA hints, for the whole machine",
    "ksm": NO_KSM,
    "madvise unmergeable": NO_KSM,
}
"""Words that the driver has no system call for, and why."""


class NotExpressible(Exception):
    """A test that no sequence of system calls carries out; says why."""


def program(test: Test) -> Program:
    """What the driver runs for `test`.

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
    calls = [{**_call(o), **_how(o, operations)} for o in operations]
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
        *("child", "target", "protection", "reference"),
    )
    found = {name: getattr(operation, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _how(operation: Operation, operations: tuple[Operation, ...]) -> dict[str, str]:
    """The system call that takes the reference of a gup, as its holder would."""
    foll = operation.foll
    if foll is None:
        return {}
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
        if reason := WHOLE_MACHINE.get(operation.word):
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
