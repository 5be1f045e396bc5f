"""Explored sections, judged by the invariant of the proof."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from spec.bounds import program
from spec.checker.program import Verdict
from spec.clients import Section
from spec.decisions import Model
from spec.prover.abstraction import Comparison
from spec.prover.assertions import Clause
from spec.prover.concrete import Explored
from spec.prover.proving import Attempt, written
from spec.prover.state import View
from spec.releases import find_model


@cache
def promising(model: str) -> View:
    """A state of the proof of a model, which knows what the model promises."""
    return Attempt(find_model(model), only=["transient"]).prover().before


def judged(
    where: Section,
    model: Model,
    clauses: Iterable[Clause] = (),
    comparisons: Iterable[Comparison] = (),
    without: Iterable[str] = (),
) -> Verdict:
    """What an exploration says of clauses, or of all, and of comparisons of counts."""
    like = promising(model.name)
    whole = program(where, model, frozenset(without))
    made = Explored(where, whole, written(), like)
    states = [made.clause(each) for each in clauses or written().assumed()]
    states += [made.property(each.name, each.agrees) for each in comparisons]
    return made.exploration(states).run()
