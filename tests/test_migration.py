"""Migration while another CPU works: what it finds mapped, it does not move."""

from __future__ import annotations

from itertools import count

from spec.counts import run
from spec.decisions import sketch
from spec.fault import munmap, write
from spec.guarantees import counts_are_exact
from spec.ksm import ksm_merge
from spec.memory import Machine, Names, Steps
from spec.migration import migrate_folio

NAMES = Names(mms=("A", "B"), cpus=("cpu0", "cpu1"))


def one_ksm_page() -> Machine:
    """B alone maps a KSM page, and A, where a walk comes first, an equal one."""
    machine = Machine(NAMES, sketch)
    A, B = machine.start("A"), machine.start("B")
    for mm in (A, B):
        run(write(mm, "x", 1))
    run(ksm_merge(machine))
    run(munmap(A, "x"))
    A.vma["x"] = "rw"
    run(write(A, "x", 1))
    return machine


def advance(operation: Steps, steps: int) -> bool:
    """Take so many steps; false if the operation ends or waits before that."""
    for _ in range(steps):
        try:
            wait = next(operation)
        except StopIteration:
            return False
        if wait is not None and not wait():
            return False
    return True


def test_a_page_that_ksm_maps_meanwhile_is_not_moved():
    """KSM holds the page, migration walks, KSM maps the page where the walk has been.

    However many steps each has taken before the other goes on.
    """
    ends = set()
    for before in count():
        machine = one_ksm_page()
        if not advance(ksm_merge(machine), before):
            break
        for walked in count():
            machine = one_ksm_page()
            page = machine.pages[machine.mms["B"].pte["x"].pfn]
            merge = ksm_merge(Machine(NAMES, sketch, machine.cells, "cpu1"))
            migration = migrate_folio(page)
            advance(merge, before)
            if not advance(migration, walked):
                break
            run(merge)
            moved = run(migration)
            pages = {mm.pte["x"].pfn for mm in machine.mms.values() if mm.pte["x"]}
            assert counts_are_exact.holds(machine)
            assert all(machine.pages[pfn].value == 1 for pfn in pages)
            assert not (moved and page.name in pages)
            ends.add((moved, len(pages)))
    assert ends == {(True, 1), (True, 2), (False, 1)}
