"""Which rules a litmus test exercises: it fails without them.

A rule is removed from a model that promises to keep it, and the test is run again. The
test exercises the rule if its verdict is worse then. Only rules are removed that the
run asks about: a run that never asks whether a rule is obeyed is the same without it.

Permissions (MAY) are not removed: the runner tries both ways of each anyway.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec.ablation import Asked, checkable
from spec.cells import SpecificationError
from spec.decisions import Model
from spec.litmus.program import VERDICTS, Test
from spec.litmus.run import run
from spec.models import MODELS, governs
from spec.rules import Rule, load

NEVER_ENDS = "never-ends"
"""What stands for the verdict where the removal leaves a system call that loops."""

ASKED_OF = ("sketch", "upstream")
"""The models whose rules are removed; together they have all rules."""


def removable(rule: Rule, model: Model) -> bool:
    """Whether the rule is a duty that the model promises, and not withdrawn."""
    return (
        checkable(rule)
        and rule.modal != "MAY"
        and not rule.withdrawn
        and governs(rule, model)
    )


def exercised(test: Test, model: Model) -> dict[str, str]:
    """The rules without which `test` fares worse on `model`, with the verdict then.

    >>> from spec.litmus.files import find
    >>> exercised(find("fork-without-gup"), MODELS["sketch"])["AE-FORK-4"]
    'unnecessary-copy'
    """
    asked = Asked()
    before = run(test, model, asked).verdict
    without = {
        rule.id: verdict_without(test, model, rule.id)
        for rule in load().values()
        if rule.id in asked.ids and removable(rule, model)
    }
    return {id: after for id, after in without.items() if _worse(after, before)}


def verdict_without(test: Test, model: Model, id: str) -> str:
    """The verdict while one rule is not obeyed, or `NEVER_ENDS`."""
    try:
        return run(test, model, frozenset({id})).verdict
    except SpecificationError:
        return NEVER_ENDS


def _worse(after: str, before: str) -> bool:
    if after == NEVER_ENDS:
        return True
    return VERDICTS.index(after) > VERDICTS.index(before)


def duties() -> Iterator[Rule]:
    """The rules that can be removed: those for which a test may be asked."""
    for rule in load().values():
        if any(removable(rule, MODELS[name]) for name in ASKED_OF):
            yield rule
