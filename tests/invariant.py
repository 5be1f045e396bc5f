"""Explored sections, judged by the invariant of the proof."""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import cache
from typing import Any

import pytest

from spec.bounds import program
from spec.checker.program import Verdict
from spec.clients import Section
from spec.decisions import Model
from spec.prover.abstraction import Comparison
from spec.prover.assertions import Clause
from spec.prover.concrete import Explored
from spec.prover.logic import Symbolic
from spec.prover.proving import WRITTEN_FOR, Attempt, written
from spec.prover.scopes import BASE, SCOPES, Scope
from spec.releases import find_model


def of_each_model(names: Iterable[str], quick: Set[tuple[str, str]]) -> list[Any]:
    """Each model with each section; those that are not quick are slow tests."""
    return [
        pytest.param(m, n, marks=() if (m, n) in quick else pytest.mark.slow)
        for m in WRITTEN_FOR
        for n in names
    ]


@cache
def promising(model: str, scope: str) -> Symbolic:
    """A state of the proof of a model, which knows what the model promises."""
    only = ["put"]
    return Attempt(find_model(model), only=only, scope=SCOPES[scope]).prover().before


def judged(
    where: Section,
    model: Model,
    clauses: Iterable[Clause] = (),
    comparisons: Iterable[Comparison] = (),
    without: Iterable[str] = (),
    scope: Scope = BASE,
) -> Verdict:
    """What an exploration says of clauses, or of all, and of comparisons of counts."""
    like, proof = promising(model.name, scope.name), written(scope)
    whole = program(where, model, frozenset(without))
    made = Explored(where, whole, proof, like)
    asked = clauses or [*proof.axioms, *proof.assumed()]
    states = [made.clause(each) for each in asked]
    states += [made.property(each.name, each.agrees) for each in comparisons]
    return made.exploration(states).run()
