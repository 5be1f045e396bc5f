"""What there is in C for the operations of litmus tests, and for which nothing."""

from __future__ import annotations

from spec.cells import SpecificationError
from spec.export.c_conditions import parts, terms
from spec.litmus.program import Operation, Test, ValueOf

VMSPLICE, RING, HOLD, PIN, FUTEX = "vmsplice", "ring", "hold", "brief pin", "futex"
"""What takes a reference; the last two let go of it before they return."""
SECTIONS = (
    *("includes", "core", "threads", VMSPLICE, RING, HOLD, PIN, FUTEX),
    *("force", "pagemap", "swap", "migrate", "softdirty", "mremap", "huge"),
    "main",
)
"""The parts of reproducer.c, in the order in which a program has them."""
ALWAYS = ("includes", "core", "main")
HEADERS = {
    RING: "linux/io_uring.h",
    HOLD: "linux/userfaultfd.h",
    FUTEX: "linux/futex.h",
}
CALLS = {
    "write": "store({page}, {value});",
    "force-write": "force_write({page}, {value});",
    "munmap": "munmap({page}, LENGTH);",
    "mprotect r": "mprotect({page}, LENGTH, PROT_READ);",
    "mprotect rw": "mprotect({page}, LENGTH, PROT_READ | PROT_WRITE);",
    "madvise dontneed": "madvise({page}, LENGTH, MADV_DONTNEED);",
    "madvise free": "madvise({page}, LENGTH, MADV_FREE);",
    "madvise pageout": "pageout({page});",
    "swapout": "pageout({page});",
    "mremap": "move({page}, {target});",
    "migrate": "migrate({page});",
    "softdirty": "clear_soft_dirty();",
}
"""What a process does, as C."""
HUGE = {
    "madvise hugepage": "map_huge_page();",
    "split-pmd": "split_pmd({page});",
    "split": "split_folio({page});",
    "collapse": "collapse();",
}
"""The same, about a huge page: each address is a share of it."""
NEEDS = {
    "force-write": ("force",),
    "madvise pageout": ("swap",),
    "swapout": ("swap",),
    "mremap": ("mremap",),
    "migrate": ("migrate",),
    "softdirty": ("pagemap", "softdirty"),
}
TAKE = {
    VMSPLICE: "vmsplice_page(pipe_{name}, {page})",
    RING: "pin_page(&ring_{name}, {page})",
    HOLD: "hold_page(&hold_{name}, shared->pid[{process}], {page})",
    PIN: "pin_briefly({page})",
    FUTEX: "get_briefly({page})",
}
LOOK = {
    VMSPLICE: "peek_pipe(pipe_{name}, aside)",
    RING: "device_reads(&ring_{name}, {page}, aside)",
    HOLD: "peek_hold(&hold_{name})",
}
DROP = {
    VMSPLICE: "drop_pipe(pipe_{name});",
    RING: "unpin_page(&ring_{name});",
    HOLD: "drop_hold(&hold_{name});",
}


def means(test: Test) -> dict[str, str]:
    """What takes each reference of a test.

    Raises:
        SpecificationError: the test has no condition, or does something that no
            system call does.
    """
    if not test.conditions:
        raise SpecificationError(
            f"{test.name} has no condition for its program to judge; add a 'forbid' "
            "or 'require', for instance 'forbid r == 2'"
        )
    try:
        found = {
            str(gup.reference): _means(test, gup)
            for gup in test.operations
            if gup.foll is not None
        }
        for operation in test.operations:
            _check(operation)
        if {"split-pmd", "mprotect r"} <= {word(o) for o in test.operations}:
            raise _Cannot("what splits the PMD would make the address R/W again")
        _check_conditions(test, found)
    except _Cannot as why:
        raise SpecificationError(f"{test.name} cannot be a C program: {why}") from None
    return found


class _Cannot(Exception):
    """Why there is no C program."""


def _means(test: Test, gup: Operation) -> str:
    foll, where = gup.foll, f"line {gup.line}: "
    assert foll is not None
    if gup.entry == "fast-only":
        raise _Cannot(f"{where}no system call stops at GUP-fast")
    if foll.pin and foll.write:
        return RING
    if foll.longterm:
        raise _Cannot(f"{where}no system call takes R/O FOLL_LONGTERM pins")
    if not foll.pin and not foll.write:
        return VMSPLICE
    if is_put_at_once(test, gup):
        return PIN if foll.pin else FUTEX
    if foll.pin:
        return HOLD
    raise _Cannot(
        f"{where}no system call keeps a FOLL_GET|FOLL_WRITE reference; "
        f"'{gup.reference}: put' must be the next line"
    )


def is_put_at_once(test: Test, gup: Operation) -> bool:
    """Whether the next line does nothing but let go of the reference again."""
    lines = [line.operations for line in test.lines]
    if (gup,) not in lines:
        return False
    following = lines[lines.index((gup,)) + 1 :][:1]
    uses = [
        (operation.actor, operation.word) for line in following for operation in line
    ]
    return uses == [(gup.reference, "put")]


def _check(operation: Operation) -> None:
    known = (*CALLS, *HUGE, "read", "fork", "exit", "gup", "put")
    if word(operation) not in known:
        raise _Cannot(
            f"line {operation.line}: there is no C for '{operation.word}'; "
            "'anon-exclusive kernel compare' may know it"
        )
    if operation.value is not None and operation.value > 255:
        raise _Cannot(
            f"line {operation.line}: {operation.value} is not a byte (0 to 255)"
        )


def _check_conditions(test: Test, how: dict[str, str]) -> None:
    """Nobody can tell what a reference would read that is gone."""
    for condition in test.conditions:
        for formula in parts(condition.formula):
            for term in terms(formula):
                if isinstance(term, ValueOf) and how.get(term.name) == FUTEX:
                    raise _Cannot(
                        f"line {condition.line}: futex(2) lets go of {term.name}; "
                        "what it would read cannot be told"
                    )


def word(operation: Operation) -> str:
    """The word of an operation, as the tables have it."""
    if operation.protection is not None:
        return f"mprotect {operation.protection}"
    return operation.word
