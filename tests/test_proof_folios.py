"""Large folios in the proof: it is kept, and fails without rules; its words."""

from __future__ import annotations

import mutants
import pytest
from click.testing import CliRunner

from spec.bounds import XY
from spec.cli import main
from spec.clients import section
from spec.hugepage import TransHugePmd
from spec.memory import Pte
from spec.prover.counting import counts
from spec.prover.footprints import CANNOT_HAPPEN
from spec.prover.guards import complete
from spec.prover.operations import operations_of
from spec.prover.proving import PROVED, WRITTEN_FOR, Attempt, prove, written
from spec.prover.removal import keys
from spec.prover.scopes import LARGE
from spec.publish import refuted
from spec.releases import find_model
from spec.rules import load

pytest.importorskip("z3", reason="the solver is not installed")
from invariant import judged, of_each_model, promising

from spec.prover import folios
from spec.prover.abstraction import Comparison
from spec.prover.holders import HOLDERS, WHOLE
from spec.prover.logic import constants

SKETCH = find_model("sketch")
RULES = [id for id in load() if id.startswith("AE-HUGE-")]
QUICK = ("put", "split pmd", "madvise hugepage", "transient at y", "read at y")


# -- it is proved ----------------------------------------------------------------------


@pytest.mark.parametrize("model", WRITTEN_FOR)
def test_large_folios_are_proved(model, store):
    """As recorded, of the present code, or else here and now."""
    result = store.folios(model)
    assert result.proved
    names = {each.operation for each in result.obligations}
    every = operations_of(LARGE, find_model(model))
    assert {LARGE.named(each.name) for each in every} <= names
    assert {LARGE.named(f"invariant implies AE-INV-{n}") for n in (1, 2, 4, 7)} <= names


def test_each_guarantee_that_is_implied_says_something():
    before = promising("sketch", LARGE.name)
    for clause in written(LARGE).every_consequence:
        things = [constants(name[0], name)[0] for name in clause.variables]
        assert clause.holds(before, *things) is not True, clause.of


def shortly(only, without=(), known=frozenset()):
    """The proof of some operations, in this process."""
    return prove(SKETCH, without, workers=1, only=only, known=known, scope=LARGE)


def test_what_is_recorded_is_found_again(store):
    now = [each for each in shortly(QUICK).obligations if each.function]
    assert {each.found for each in now} == {PROVED}
    # what several operations do is recorded of the first one
    known = {each.operation for each in store.folios("sketch").obligations}
    assert {each.operation for each in now} <= known


@pytest.mark.slow
def test_the_sketch_is_proved_again():
    assert prove(SKETCH, scope=LARGE).proved


# -- each rule, and changed operations -------------------------------------------------


def test_the_proof_fails_without_each_rule_of_large_folios():
    known = refuted.read()
    for rule in RULES:
        assert refuted.stands(known[rule]) == "refuted", rule
        assert known[rule].shown.operation.endswith(LARGE.name), rule


@pytest.mark.parametrize(
    ("rule", "operation", "clause"),
    [
        ("AE-HUGE-2", "split pmd", "promise is kept"),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                ("AE-HUGE-5", "collapse", "before the pages are replaced"),
                ("AE-HUGE-8", "split folio", "AE-INV-3"),
            )
        ),
    ],
)
def test_a_removed_rule_is_refuted(rule, operation, clause):
    known = keys("sketch", (operation,), LARGE.name)
    result = shortly([operation], [rule], known)
    found = {each.example.clause for each in result.failing if each.example}
    assert clause in found


@pytest.mark.parametrize(
    ("where", "old", "new", "operation"),
    [
        pytest.param(
            "hugepage.split_huge_pmd",
            "mm.pmd = replace(pmd, present=False)",
            "pass",
            "split pmd",
            id="a PMD is split and stays valid meanwhile",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "hugepage.split_huge_pmd",
            "folio.refcount += len(folio_pages(folio)) - 1",
            "pass",
            "split pmd",
            id="a split PMD counts one mapping for two",
        ),
        pytest.param(
            "largefolio.unmap_and_split",
            "unmapped and",
            "True and",
            "split folio",
            id="a folio is cut apart while it is mapped",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "fork.copy_pte_range",
            "copy_huge_pmd(mm, child)",
            "copy_huge_pmd(child, mm)",
            "fork",
            id="the child's PMD is looked at",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_changed_operation_is_refuted(where, old, new, operation):
    known = keys("sketch", (operation,), LARGE.name)
    with mutants.changed(where, old, new):
        result = shortly([operation], ["what is changed"], known)
    assert any(each.found == "refuted" for each in result.failing)


def test_a_folio_that_is_locked_keeps_its_head():
    """That no other head is found is not assumed, it is asked."""
    attempt = Attempt(SKETCH, only=["write at y"], scope=LARGE)
    asked = [step for step in attempt.steps if step.raised == (CANNOT_HAPPEN,)]
    heads = [step for step in asked if "p2.head" in step.shown.reads]
    assert heads
    for step in heads:
        own = attempt.places[step.source].own
        known = [own[key] for key in ("p1.head", "p2.head") if key in own]
        assert step.shown.reads["p2.head"] not in known
        assert known


# -- words -----------------------------------------------------------------------------


def test_parts_of_a_folio_are_held_together_and_mapped_one_by_one():
    cells = {
        "p1.head": "p1",
        "p2.head": "p1",
        "A.pte[x]": Pte("p1", True),
        "A.pte[y]": Pte("p2", True),
        "B.pmd": TransHugePmd("p1", False),
        "cpu0.hold": "p2",
    }
    assert dict(counts(cells, LARGE)) == {
        "p1.refcount": 4,
        "p1.mapcount": 1,
        "p2.mapcount": 1,
        "p1.entire_mapcount": 1,
    }


@pytest.mark.parametrize(
    "operation",
    ["madvise hugepage", pytest.param("split folio", marks=pytest.mark.slow)],
)
def test_greater_counts_are_proved_as_well(operation, monkeypatch):
    monkeypatch.setattr(folios, "MOST", folios.MOST + 1)
    assert shortly([operation]).proved


def test_pages_of_a_row_are_told_apart_where_all_are_listed():
    here, row, fresh = ("page", ("A", "x")), {"p1", "p2"}, {"p3", "p4"}
    large = {(("large", ("p1",)), True)}
    assert complete(here, row | fresh, (), {"p1"}, LARGE)
    assert not complete(here, row | {"p3"}, (), {"p1"}, LARGE)
    assert not complete(here, {"p1"} | fresh, (), {"p1"}, LARGE)
    assert complete(here, {"p1"} | fresh, large, set(), LARGE)


# -- explored states -------------------------------------------------------------------


def of_the_head(cell):
    """A count of the folio that a page belongs to."""
    return lambda s, p: s.cell(s.head(p), cell)


WHERE = {
    "collapse beside GUP-fast": section(
        ("A", "gup ro pin fast-only at y; put"),
        ("A", "collapse; split pmd"),
        starts=("write; write at y",),
        processes=1,
        pages=6,
        vas=XY,
    ),
    "fork beside GUP": section(
        ("A", "fork"),
        ("A", "gup rw get at y; put; write at y"),
        starts=("madvise hugepage",),
        processes=2,
        pages=6,
        vas=XY,
    ),
    "split beside a fault": section(
        ("A", "write at y; munmap"),
        ("", "split"),
        starts=("madvise hugepage; split pmd",),
        processes=1,
        pages=6,
        vas=XY,
    ),
}


COUNTED = tuple(
    Comparison(f"{number} of {cell}", "p", of_the_head(cell), number, kinds)
    for cell, kinds in (("refcount", HOLDERS), ("entire_mapcount", WHOLE))
    for number in (0, 1)
)
"""What a count of a folio says, and who holds it."""


QUICK_STATES = {
    ("sketch", "collapse beside GUP-fast"),
    ("sketch", "split beside a fault"),
    ("upstream", "fork beside GUP"),
}


@pytest.mark.parametrize(("model", "name"), of_each_model(WHERE, QUICK_STATES))
def test_reachable_states_satisfy_the_invariant(model, name):
    """And counts say of them what holders say."""
    where = WHERE[name]
    verdict = judged(where, find_model(model), comparisons=COUNTED, scope=LARGE)
    assert verdict.complete
    assert not verdict.violations
    assert verdict.states > 30


def test_a_state_that_a_rule_forbids_does_not():
    where = WHERE["fork beside GUP"]
    verdict = judged(where, SKETCH, without=["AE-HUGE-1"], scope=LARGE)
    assert "bit of a whole folio is the heads" in {
        violation.property for violation in verdict.violations
    }


# -- the command -----------------------------------------------------------------------


def test_rules_are_not_removed_from_large_folios_alone():
    done = CliRunner().invoke(
        main, ["prove", "--large-folios", "--without", "AE-HUGE-1"]
    )
    assert done.exit_code == 2
    assert done.output.count("--large-folios is for a model") == 1
