"""The proof of contents: it rests on its rules and steps, and is true of states.

That nothing is lost in any world says something only if a rule or a step that moves
contents cannot be missed, and if the clauses are true of states that are reached.
"""

from __future__ import annotations

import mutants
import pytest

from spec.clients import section
from spec.prover.domains import WRITTEN, contents
from spec.prover.operations import DEVICE_WRITE
from spec.prover.proving import REFUTED, WRITTEN_FOR, Attempt, prove, written
from spec.prover.removal import keys
from spec.releases import find_model

pytest.importorskip("z3", reason="the solver is not installed")
from invariant import judged, of_each_model

from spec.prover.abstraction import COMPARISONS

SKETCH = find_model("sketch")


def not_kept(operation: str, without: str) -> dict[str, str]:
    """For each place that fails, the clause of the smallest counterexample there."""
    known = keys("sketch", (operation,))
    result = prove(SKETCH, [without], workers=1, only=[operation], known=known)
    assert all(each.found == REFUTED for each in result.failing)
    return {
        each.function: each.example.clause
        for each in result.failing
        if each.example is not None
    }


# -- it rests on its rules and on its steps --------------------------------------------


def test_contents_rest_on_a_rule_of_their_own():
    """On AE-KSM-6 as well: see the tests of merging."""
    assert "swapped contents are right" in not_kept("reclaim", "AE-SWAP-7").values()


CHANGES = {
    "the copy is of nothing": (
        "cow.wp_page_copy",
        "contents = old.value",
        "contents = 0",
        "unmerge",
        "copies are right",
    ),
    "the new page is not filled": (
        "migration.folio_migrate_copy",
        "    new.value = page.value\n",
        "",
        "migrate",
        "swapped contents are right",
    ),
    "the new page looks clean": (
        "migration.folio_migrate_copy",
        "new.dirty = page.dirty",
        "new.dirty = False",
        "migrate",
        "clean pages are stored",
    ),
    "a page that is mapped is moved": (
        "migration.unmap_and_move",
        "if not folio_mapped(page):",
        "if True:",
        "migrate",
        "unfilled pages are unmapped",
    ),
    "the page is clean before it is written": (
        "writeback.end_swap_write",
        "    page.machine.slots[str(page.swap)].value = page.value\n",
        "",
        "reclaim",
        "clean pages are stored",
    ),
    "a clean page is mapped as if it were dirty": (
        "counts.delete_from_swap_cache",
        "    page.dirty = True\n",
        "    page.dirty = False\n    page.swapbacked = False\n",
        "reclaim",
        "droppable contents are undefined",
    ),
    "the slot is not read": (
        "swap.swapin_folio",
        "page.value = slot.value",
        "page.value = 0",
        "read",
        "swapped contents are right",
    ),
    "a device writes and nobody is told": (
        "gup_fast.device_write",
        "mm.expected[va] = None",
        "pass",
        DEVICE_WRITE,
        "mapped contents are right",
    ),
    "the child expects nothing": (
        "fork.fork",
        "child.expected[va] = mm.expected[va]",
        "child.expected[va] = 0",
        "fork",
        "mapped contents are right",
    ),
}
"""Changes to operations: where, what, by what, who does it, and what is not kept."""


SLOWLY = (
    "the copy is of nothing",
    "the slot is not read",
    "the page is clean before it is written",
    "the new page is not filled",
    "the new page looks clean",
    "a page that is mapped is moved",
    "a clean page is mapped as if it were dirty",
)


@pytest.mark.parametrize(
    "change",
    [pytest.param(c, marks=pytest.mark.slow if c in SLOWLY else ()) for c in CHANGES],
)
def test_a_step_that_loses_contents_is_refuted(change):
    where, old, new, operation, clause = CHANGES[change]
    keys("sketch", (operation,))
    with mutants.changed(where, old, new):
        assert clause in not_kept(operation, "what is changed").values()


# -- explored states -------------------------------------------------------------------

XY = ("x", "y")
WHERE = {
    "swap": section(
        ("A", "write 2; fork"),
        ("", "reclaim"),
        starts=("write 1",),
        processes=2,
        slots=1,
    ),
    "swap and migration": section(
        ("A", "write 2"),
        ("", "reclaim; migrate"),
        starts=("write 1",),
        processes=1,
        slots=1,
    ),
    "a device": section(
        ("A", "gup rw get; device write 2; put; fork; write 1"),
        ("", "migrate"),
        starts=("write 1",),
        processes=2,
    ),
    "MADV_FREE": section(
        ("A", "madvise free; write 2; gup rw get; device write 1; put"),
        ("", "reclaim"),
        starts=("write 1",),
        processes=1,
        slots=1,
    ),
    "merging": section(
        ("A", "write 2; unmerge"),
        ("", "ksm"),
        starts=("write 1; write 1 at y",),
        processes=1,
        vas=XY,
    ),
    "a NUMA hint": section(
        ("A", "numa-hint; write 2; fork; gup rw get; device write 1; put"),
        ("", "migrate"),
        starts=("write 1",),
        processes=2,
    ),
    "moves": section(
        ("A", "uffdio move; mremap; write 2 at y"),
        ("", "reclaim"),
        starts=("write 1",),
        processes=1,
        slots=1,
        vas=XY,
    ),
}
"""What moves contents about; and NUMA hints."""


QUICK = {
    *((model, "a device") for model in WRITTEN_FOR),
    ("sketch", "swap"),
    ("sketch", "a NUMA hint"),
}


@pytest.mark.parametrize(("model", "name"), of_each_model(WHERE, QUICK))
def test_reachable_states_satisfy_the_invariant(model, name):
    """The clauses of contents; and a page that one PTE maps has one mapping."""
    clauses = written().everything()
    verdict = judged(WHERE[name], find_model(model), clauses, COMPARISONS)
    assert verdict.complete
    assert not verdict.violations
    assert verdict.states > 40


def test_each_clause_of_contents_speaks_of_something():
    """Where the operations lose contents, explored states break clauses."""
    clauses = written().everything()
    verdict = judged(WHERE["swap"], SKETCH, clauses, without={"AE-SWAP-7"})
    broken = {v.property for v in verdict.violations}
    assert "swapped contents are right" in broken


# -- what steps say of contents --------------------------------------------------------


def test_contents_are_others_than_those_that_are_known():
    assert contents("p1", "value", {}, frozenset()) == [WRITTEN + 1]
    assert contents("s1", "value", {"p1.value": 2}, frozenset({3})) == [4]
    assert contents("A", "expected", {"p1.value": 2}, frozenset()) == [None, 3]


def test_pages_may_be_equal():
    """KSM compares them."""
    assert contents("p2", "value", {"p1.value": 2}, frozenset()) == [2, 3]


def test_what_a_device_does_to_other_addresses_is_said_of_each():
    attempt = Attempt(SKETCH, only=[DEVICE_WRITE])
    told = [rep for step in attempt.steps for rep in step.each]
    assert {rep.over for rep in told} == {"mv"}
    assert {rep.writes for rep in told} == {(("undefined", ("mx", "x"), True),)}
    said = [{atom[1] for atom in rep.when} for rep in told]
    assert any({"mapped", "page"} <= each for each in said)
    assert any({"swapped", "has_folio", "folio"} <= each for each in said)
    assert any({"moving", "page"} <= each for each in said)
    assert any({"ptl"} <= each and "page" not in each for each in said)
