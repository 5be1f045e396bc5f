"""What the proof says of a rule that is removed: which of its steps are new, and fail.

Most steps do not change when a rule is removed: the solver has seen them with the whole
model. Only those that are new to it are asked about. A rule without which every new
step keeps the invariant is one that the proof does not rest on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from spec.ablation import Asked
from spec.decisions import Model
from spec.prover.footprints import Footprints
from spec.prover.operations import operations_of
from spec.prover.parallel import in_order
from spec.prover.proving import (
    Attempt,
    Obligation,
    Report,
    Result,
    joined,
    prove,
    silent,
    written,
)
from spec.prover.scopes import ALL, BASE, SCOPES, Scope
from spec.releases import find_model


@cache
def asked_by(model: str, scope: str = BASE.name) -> dict[str, frozenset[str]]:
    """For each operation that a proof looks at, the rules that it asks for.

    An operation asks for a rule where it obeys it. One that never asks does the same
    without the rule.

    Args:
        model: the name of the model.
        scope: what the proof is about.
    """
    answers = find_model(model)
    every = operations_of(SCOPES[scope], answers)

    def asked(number: int) -> frozenset[str]:
        rules = Asked()
        Footprints(answers, rules).add(every[number])
        return frozenset(rules.ids)

    found = in_order(asked, len(every), os.cpu_count() or 1)
    return {each.name: ids for each, ids in zip(every, found, strict=True)}


@dataclass(frozen=True)
class Removal:
    """What the solver said of a model without some rules.

    Attributes:
        result: the obligations of the steps that are new.
        asking: the operations that ask for the rules.
        alike: how many steps of those operations the whole model has as well.
    """

    result: Result
    asking: tuple[str, ...]
    alike: int

    @property
    def new(self) -> int:
        """How many steps are new."""
        found = self.result.obligations
        return sum(each.steps for each in found if each.operation in self.asking)

    @property
    def shown(self) -> Obligation | None:
        """The obligation that fails and of which a reader learns most."""
        from spec.prover.finite import telling

        order = [c.name for scope in ALL for c in telling(written(scope))]
        failing = [each for each in self.result.failing if each.example is not None]

        def rank(obligation: Obligation) -> tuple[int, int]:
            example = obligation.example
            assert example is not None, "only those with an example are ranked"
            known = example.clause in order
            first = order.index(example.clause) if known else -1
            return first, len(example.changed)

        return min(failing, key=rank, default=None)


def prove_without(
    model: Model, rules: Iterable[str], report: Report = silent, workers: int = 0
) -> Removal:
    """Ask about the steps that a model has without some rules, and not with them.

    Those with large folios are asked about if the others keep the invariant.

    Args:
        model: the model.
        rules: ids of the rules.
        report: called with how many steps are done, and of how many.
        workers: how many processes to use; by default one for each CPU.

    Raises:
        SpecificationError: z3 is not installed.
    """
    removed = frozenset(rules)
    found: list[Removal] = []
    for scope in ALL:
        if all(each.result.proved for each in found):
            found.append(_without(model, removed, report, workers, scope))
    return Removal(
        joined([each.result for each in found]),
        tuple(name for each in found for name in each.asking),
        sum(each.alike for each in found),
    )


def _without(
    model: Model, removed: frozenset[str], report: Report, workers: int, scope: Scope
) -> Removal:
    """The same in states of one kind."""
    asked = asked_by(model.name, scope.name)
    asking = tuple(name for name, ids in asked.items() if ids & removed)
    if not asking:
        return Removal(Result(model.name, tuple(sorted(removed)), [], 0.0), (), 0)
    known = keys(model.name, asking, scope.name)
    result = prove(
        model, removed, report, workers, only=asking, known=known, scope=scope
    )
    return Removal(result, tuple(map(scope.named, asking)), len(known))


@cache
def keys(model: str, only: tuple[str, ...], scope: str = BASE.name) -> frozenset[Any]:
    """The steps that operations of a model take, by what the solver sees of them."""
    whole = Attempt(find_model(model), only=only, scope=SCOPES[scope])
    return frozenset(whole.key(step) for step in whole.steps)
