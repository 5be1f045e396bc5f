"""Traps in the proof: who has to notice a write is told of it."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from spec.cells import SpecificationError
from spec.memory import Pte
from spec.migration_entry import MigrationEntry
from spec.prover import domains
from spec.prover.assertions import Proof
from spec.prover.deriving import derive
from spec.prover.domains import HINT, NOTICING, TRAPS
from spec.prover.guards import KINDS, together
from spec.prover.operations import operations
from spec.prover.positions import next_statement
from spec.prover.proving import written
from spec.releases import find_model

OPERATIONS = {each.name: each for each in operations(find_model("sketch"))}
ALIKE = [name for name, each in OPERATIONS.items() if each.traps != TRAPS]
SLOW = {"migrate", "reclaim", "merge", "merge in one process", "merge at two addresses"}


def steps(operation):
    """What an operation does, whatever its traps are called."""
    made = derive(find_model("sketch"), frozenset(), operation)

    def place(number):
        spots = made.places[number].frames if number >= 0 else ()
        return tuple((name, next_statement(name, at)) for name, at, _ in spots)

    return {
        (place(s.source), place(s.target), s.guard, s.writes, s.each, s.raised)
        for s in made.steps
    }


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in ALIKE
    ],
)
def test_an_operation_that_is_given_one_trap_does_the_same_for_each(name):
    operation = OPERATIONS[name]
    one, other = (
        steps(dataclasses.replace(operation, traps=(trap, HINT))) for trap in NOTICING
    )
    assert one == other


def test_an_operation_that_tells_traps_apart_is_given_all():
    write = OPERATIONS["write"]
    assert write.traps == TRAPS
    made = [steps(dataclasses.replace(write, traps=(trap,))) for trap in TRAPS]
    assert all(one != other for one, other in itertools.combinations(made, 2))


@pytest.mark.parametrize("remembers", [False, True])
def test_the_steps_leave_out_only_what_a_clause_excludes(remembers):
    """The invariant says that what may be written has no trap: the domain relies on it,
    and so do guards that do not mention the trap then."""
    (clause,) = [c for c in written().assumed() if c.name == "traps forbid writing"]
    assert "not writable" in clause.says
    names = OPERATIONS["write"].names
    found = domains.entry_values({"p1"}, names, remembers)
    kinds = ["readable", *["readable-exclusive"] * remembers]
    assert Pte("p1", False, HINT) in found
    for trap in ("", *NOTICING):
        assert Pte("p1", False, trap) in found
        assert {MigrationEntry("p1", kind, trap) for kind in kinds} <= {*found}
    assert Pte("p1", True) in found
    assert MigrationEntry("p1", "writable") in found


def test_a_guard_forgets_the_trap_only_of_what_is_writable():
    here = ("A", "x")

    def guard(writable, trapped):
        mapped = [("is", kind, here, kind == "mapped") for kind in KINDS]
        facts = [("is", "writable", here, writable), ("is", "trapped", here, trapped)]
        return frozenset([*mapped, *facts])

    ((writable, _),) = together({guard(True, False): 0}, set())
    assert not any(atom[1] == "trapped" for atom in writable)
    ((read_only, _),) = together({guard(False, True): 0}, set())
    assert ("is", "trapped", here, True) in read_only


def test_two_clauses_of_one_name_are_refused():
    proof = Proof()

    @proof.clause
    def pages_are_pages(s):
        """First."""
        return True

    @proof.at("somewhere", ("write", ""))
    def pages_are_pages(s, c):  # noqa: F811  that is the mistake
        """Second."""
        return True

    with pytest.raises(SpecificationError, match=r"2 clauses .* 'pages are pages'"):
        proof.assumed()
