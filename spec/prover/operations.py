"""The operations that the proof speaks of, and what exists while each is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from spec import (
    clients,
    fault,
    fork,
    gup_fast,
    hugepage,
    ksm,
    largefolio,
    lazyfree,
    migration,
    move,
    protect,
    reclaim,
    swap,
)
from spec.decisions import Foll, Model
from spec.memory import Machine, Mm, Names, Page, Steps
from spec.prover.domains import TRAPS, WRITTEN
from spec.prover.footprints import (
    ANY_PROCESS,
    ANY_REFERENCE,
    ANY_SLOT,
    FEW_TRAPS,
    Known,
    Operation,
)
from spec.prover.promises import promises_of
from spec.prover.scopes import LARGE, Scope

ONE = Names(
    mms=("A",),
    pages=("p1", "p2", "p3", "p4", "p5"),
    refs=(ANY_REFERENCE,),
    cpus=("cpu0",),
    vas=("x",),
    slots=("s1",),
)
"""One process and its address; every reference."""
TWO = replace(ONE, mms=("A", "B"))
"""Another process, where an operation goes over them."""
FORK = replace(TWO, vas=("x", "y"))
MOVE = FORK
GUP = replace(ONE, refs=("r1",))
DEVICE = replace(GUP, mms=("A", ANY_PROCESS), slots=("s1", ANY_SLOT))
"""A reference that was taken at the address, and all other addresses."""
MAY_WRITE: Known = {
    "r1.state": "live",
    "r1.mm": "A",
    "r1.va": "x",
    "r1.write": True,
}
MERGED: dict[str, tuple[Names, Known]] = {
    "merge": (TWO, {}),
    "merge in one process": (replace(ONE, vas=("x", "y")), {}),
    "merge at two addresses": (FORK, {"A.pte[y]": None, "B.pte[x]": None}),
}
"""Where the two pages are that KSM merges; what other places map makes no difference.
"""


def on_address(
    work: Callable[[Mm, str], Steps], va: str = "x"
) -> Callable[[Machine], Steps]:
    """The operation on an address of the process ``A``."""
    return lambda machine: work(machine.mms["A"], va)


def moving(work: Callable[[Mm, str, str], Steps]) -> Callable[[Machine], Steps]:
    """The operation that moves what is at the address ``x`` to ``y``."""
    return lambda machine: work(machine.mms["A"], "x", "y")


def on_page(work: Callable[[Page], Steps]) -> Callable[[Machine], Steps]:
    """The operation on a page that the kernel picks."""
    return lambda machine: work(machine.pages["p1"])


PICKED: dict[str, Callable[[Page], Steps]] = {
    "reclaim": reclaim.shrink_folio,
    "migrate": migration.migrate_folio,
}


# a fault tells traps apart, and so does whoever sets or ends one: these get all of them
FAULTING: dict[str, Callable[[Mm, str], Steps]] = {
    "write": lambda mm, va: fault.write(mm, va, WRITTEN),
    "force-write": lambda mm, va: protect.write_force(mm, va, WRITTEN),
    "unmerge": ksm.break_ksm,
}
TRAPPING: dict[str, Callable[[Mm, str], Steps]] = {
    "clear_refs": protect.clear_refs,
    "uffd writeprotect": protect.uffd_writeprotect,
    "uffd unprotect": protect.uffd_unprotect,
    "numa hint": protect.change_prot_numa,
}


def protecting(protection: str) -> Callable[[Machine], Steps]:
    """A change of protection."""
    return on_address(lambda mm, va: protect.mprotect(mm, va, protection))


def request(how: str, foll: Foll, va: str = "x") -> Callable[[Machine], Steps]:
    """A request to GUP."""
    return lambda machine: gup_fast.ENTRIES[how](
        machine.mms["A"], va, machine.refs["r1"], foll
    )


DEVICE_WRITE = "device write"


def device_write(machine: Machine) -> Steps:
    """The holder of a reference writes through it."""
    return gup_fast.device_write(machine.refs["r1"], WRITTEN)


def operations(model: Model) -> Iterator[Operation]:
    """All of them, for one model."""
    at = on_address
    for name, access in FAULTING.items():
        yield Operation(name, at(access), ONE, traps=TRAPS)
    yield Operation("read", at(fault.read), ONE)
    yield Operation("munmap", at(fault.munmap), TWO)
    yield Operation("madvise dontneed", at(fault.madvise_dontneed), TWO)
    yield Operation("exit", at(lambda mm, va: fault.exit(mm)), TWO)
    for protection in ("r", "rw"):
        yield Operation(f"mprotect {protection}", protecting(protection), ONE)
    yield Operation("fork", lambda m: fork.fork(m.mms["A"], m.mms["B"]), FORK)
    yield from requests(model)
    yield Operation(DEVICE_WRITE, device_write, DEVICE, given=MAY_WRITE, acting="")
    yield Operation("put", lambda m: clients.put(m, "r1"), GUP, acting="")
    yield Operation("transient", at(clients.transient), ONE)
    yield Operation("mremap", moving(move.mremap), MOVE)
    yield Operation("uffdio move", moving(move.uffdio_move), MOVE)
    yield Operation("madvise free", at(lazyfree.madvise_free), ONE)
    for name, change in TRAPPING.items():
        yield Operation(name, at(change), ONE, traps=TRAPS)
    for name, work in PICKED.items():
        yield Operation(name, on_page(work), TWO, acting="")
    for name, (names, given) in MERGED.items():
        yield Operation(name, ksm.ksm_merge, names, given, acting="")
    yield Operation("swapoff", swap.swapoff, TWO, acting="")


def requests(
    model: Model, va: str = "x", pins: tuple[bool, ...] = (False, True)
) -> Iterator[Operation]:
    """GUP at an address: every kind of reference that the model treats differently."""
    for write in (False, True):
        for pin in pins:
            foll = Foll(write=write, pin=pin)
            kind = f"{'rw' if write else 'ro'} {'pin' if pin else 'get'}"
            for how in ("slow", "fast-only"):
                yield Operation(
                    f"gup {kind} {how}",
                    request(how, foll, va),
                    GUP,
                    given={"r1.state": "free"},
                    traps=TRAPS if how == "slow" else FEW_TRAPS,
                )


# -- large folios ----------------------------------------------------------------------

WHOLE = replace(ONE, pages=LARGE.names["p"], vas=("x", "y"), slots=())
"""A process, both its addresses, and pages in rows that can be a large folio."""
SOME = replace(WHOLE, mms=("A", "B"))
AT: dict[str, Callable[[Mm, str], Steps]] = {
    "write": FAULTING["write"],
    "read": fault.read,
    "munmap": fault.munmap,
    "madvise dontneed": fault.madvise_dontneed,
    "mprotect r": lambda mm, va: protect.mprotect(mm, va, "r"),
    "mprotect rw": lambda mm, va: protect.mprotect(mm, va, "rw"),
    "transient": clients.transient,
}
"""Operations on one address: at the head of a folio it is another thing than behind."""
OF_A_PROCESS: dict[str, Callable[[Machine], Steps]] = {
    "exit": lambda machine: fault.exit(machine.mms["A"]),
    "split pmd": on_address(hugepage.split_pmd),
    "madvise hugepage": on_address(hugepage.madvise_hugepage),
    "collapse": on_address(largefolio.collapse_huge_page),
}
SPLIT_FOLIO = "split folio"


def operations_on_folios(model: Model) -> Iterator[Operation]:
    """What operations do where there are large folios, for one model.

    Where a model promises a pin what it does any reference, one of the two will do.
    """

    def known(name: str, begin: Callable[[Machine], Steps], **how: Any) -> Operation:
        return Operation(name, begin, **{"names": WHOLE, "scope": LARGE, **how})

    for name, work in AT.items():
        for va in WHOLE.vas:
            yield known(f"{name} at {va}", on_address(work, va))
    for name, begin in OF_A_PROCESS.items():
        yield known(name, begin)
    yield known("fork", lambda m: fork.fork(m.mms["A"], m.mms["B"]), names=SOME)
    names = replace(WHOLE, refs=("r1",))
    promises = promises_of(model)
    alike = promises.readers and not promises.pins_only
    for va in WHOLE.vas:
        for each in requests(model, va, pins=(False,) if alike else (False, True)):
            free = {"names": names, "given": each.given}
            yield known(f"{each.name} at {va}", each.begin, **free)
    yield known("put", lambda m: clients.put(m, "r1"), names=names, acting="")
    split = on_page(largefolio.split_folio)
    yield known(SPLIT_FOLIO, split, names=SOME, acting="")


def operations_of(scope: Scope, model: Model) -> list[Operation]:
    """The operations that a proof looks at, for one model."""
    every = operations_on_folios if scope.has_folios else operations
    return list(every(model))
