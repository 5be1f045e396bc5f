"""Changed operations are refuted, each at the step that is wrong."""

from __future__ import annotations

import mutants
import pytest

from spec.prover.proving import REFUTED, prove
from spec.prover.removal import keys
from spec.releases import find_model

pytest.importorskip("z3", reason="the solver is not installed")
CHANGED = "what is changed"
"""Given as a rule that is removed: then small worlds are asked before large ones."""


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(m, id=m.name, marks=pytest.mark.slow if m.slow else ())
        for m in mutants.MUTANTS
    ],
)
def test_a_changed_operation_is_refuted(mutant):
    known = keys("sketch", (mutant.operation,))
    with mutants.changed(mutant.where, mutant.old, mutant.new):
        result = prove(
            find_model("sketch"),
            [CHANGED],
            workers=1,
            only=[mutant.operation],
            known=known,
        )
    failing = {
        (each.function, each.example.clause)
        for each in result.failing
        if each.found == REFUTED and each.example is not None
    }
    assert (mutant.fails, mutant.clause) in failing


def test_what_is_not_changed_has_no_new_steps():
    known = keys("sketch", ("fork",))
    result = prove(
        find_model("sketch"), [CHANGED], workers=1, only=["fork"], known=known
    )
    assert result.proved
    assert sum(each.steps for each in result.obligations if each.function) == 0
