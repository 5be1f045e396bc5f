"""Moving a page: it is proved, on explored states, and nobody's reference is misled."""

from __future__ import annotations

import mutants
import pytest

from spec import move
from spec.clients import put, section
from spec.counts import run
from spec.decisions import Foll
from spec.fault import write
from spec.guarantees import no_wrong_cow
from spec.gup import get_user_pages
from spec.gup_fast import get_user_pages_fast_only
from spec.memory import Machine, Names
from spec.move import uffdio_move
from spec.prover.proving import PROVED, WRITTEN_FOR, Attempt, prove
from spec.prover.removal import keys
from spec.releases import find_model

pytest.importorskip("z3", reason="the solver is not installed")
from invariant import judged, of_each_model

from spec.prover.abstraction import COMPARISONS
from spec.prover.counting import overwritten

MOVES = ("mremap", "uffdio move")
XY = ("x", "y")


# -- it is proved ----------------------------------------------------------------------


@pytest.mark.parametrize("model", WRITTEN_FOR)
def test_moves_are_among_what_is_proved(model, store):
    found = [each for each in store.prove(model).obligations if each.steps]
    for name in MOVES:
        mine = [each for each in found if each.operation == name]
        assert {each.found for each in mine} == {PROVED}
        assert {each.function for each in mine} > {""}


@pytest.mark.parametrize(
    ("model", "rule", "operation"),
    [
        ("sketch", "AE-MOVE-1", "mremap"),
        pytest.param("sketch", "AE-MOVE-2", "uffdio move", marks=pytest.mark.slow),
        pytest.param("sketch", "AE-MOVE-3", "uffdio move", marks=pytest.mark.slow),
        pytest.param("upstream", "AE-MOVE-1", "mremap", marks=pytest.mark.slow),
        pytest.param("upstream", "AE-MOVE-2", "uffdio move", marks=pytest.mark.slow),
        pytest.param("upstream", "AE-MOVE-3", "uffdio move", marks=pytest.mark.slow),
    ],
)
def test_without_its_rule_a_move_loses_a_reference(model, rule, operation):
    known = keys(model, (operation,))
    result = prove(find_model(model), [rule], workers=1, only=[operation], known=known)
    found = [each.example for each in result.failing]
    assert None not in found
    shown = [each for each in found if not each.contents]
    clauses = {each.clause for each in shown}
    assert clauses & {"promise is kept", "references are the owners"}
    for each in shown:
        assert "A.pte[y]" in each.changed
        assert each.before["r1.va"] == each.after["r1.va"] or rule == "AE-MOVE-1"


def test_an_entry_that_is_overwritten_unread_is_an_obligation():
    attempt = Attempt(find_model("sketch"), only=MOVES)
    asked = [step for step in attempt.steps if step.raised == ("AE-INV-3",)]
    kinds = {kind for step in asked for _, kind, *_ in step.guard}
    assert {"mapped", "moving", "swapped"} <= kinds
    places = [attempt.places[step.source] for step in asked]
    assert {place.operation.name for place in places} == set(MOVES)
    assert all(
        overwritten(step.shown, place)
        for step, place in zip(asked, places, strict=True)
    )


# -- explored states -------------------------------------------------------------------

WHERE = {
    "mremap beside GUP-fast": section(
        ("A", "mremap; write at y"),
        ("A", "gup rw get fast-only; gup ro pin fast-only; put"),
        starts=("write",),
        processes=1,
        vas=XY,
    ),
    "UFFDIO_MOVE beside GUP-fast": section(
        ("A", "uffdio move; mremap"),
        ("A", "gup rw get fast-only; gup rw pin slow; put"),
        starts=("write",),
        processes=1,
        vas=XY,
    ),
    "a swap entry": section(
        ("A", "mremap; gup rw get; put"),
        ("", "reclaim"),
        starts=("write",),
        processes=1,
        slots=1,
        vas=XY,
    ),
    "a migration entry": section(
        ("A", "fork; mremap; write at y"),
        ("", "migrate"),
        starts=("write",),
        processes=2,
        vas=XY,
    ),
}


QUICK = {
    ("sketch", "mremap beside GUP-fast"),
    ("sketch", "UFFDIO_MOVE beside GUP-fast"),
    ("sketch", "a migration entry"),
}


@pytest.mark.parametrize(("model", "name"), of_each_model(WHERE, QUICK))
def test_reachable_states_satisfy_the_invariant(model, name):
    """And counts say of them what holders say."""
    verdict = judged(WHERE[name], find_model(model), comparisons=COMPARISONS)
    assert verdict.complete
    assert not verdict.violations
    assert verdict.states > 40


# -- what the proof found --------------------------------------------------------------


def moved_away_and_back(model: str) -> Machine:
    """GUP-fast grabs a page that UFFDIO_MOVE has moved away; then the page is back."""
    names = Names(refs=("q", "r"), vas=("x", "y", "z"))
    machine = Machine(names, find_model(model))
    mm = machine.start("A")
    run(write(mm, "x", 1))
    run(get_user_pages(mm, "x", machine.refs["q"], Foll(write=True)))
    run(put(machine, "q"))
    foll = Foll(write=True, pin=True)
    walk = get_user_pages_fast_only(mm, "x", machine.refs["r"], foll)
    next(walk)
    assert run(uffdio_move(mm, "x", "z"))
    next(walk)
    assert run(move.mremap(mm, "x", "y"))
    assert run(move.mremap(mm, "z", "x"))
    assert run(walk)
    assert machine.refs["r"].pfn == "p1"
    run(write(mm, "y", 2))
    return machine


@pytest.mark.parametrize("model", WRITTEN_FOR)
def test_a_reference_to_another_page_is_not_taken_along(model):
    machine = moved_away_and_back(model)
    assert machine.refs["r"].va == "x"
    assert no_wrong_cow.holds(machine)
    with mutants.changed("move.mremap", "if ref.pfn == pfn:", "if True:"):
        machine = moved_away_and_back(model)
    assert machine.refs["r"].va == "y"
    assert not no_wrong_cow.holds(machine)
