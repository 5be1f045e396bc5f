"""Litmus tests worth running for a rule: those that fail without it, as recorded.

To compute which those are takes a minute, so that it is recorded in
`spec/records/results`.
"""

from __future__ import annotations

from functools import cache

from spec.litmus.exercise import ASKED_OF
from spec.litmus.files import catalogue
from spec.publish import recorded


@cache
def _failing() -> dict[str, list[str]]:
    """The tests of the catalogue that fail without a rule, by rule."""
    known = catalogue()
    found: dict[str, set[str]] = {}
    for model in ASKED_OF:
        record = recorded.read(f"exercised.{model}")
        for test, rules in record.result.items() if record else ():
            for rule in rules if test in known else ():
                found.setdefault(rule, set()).add(test)
    return {rule: sorted(tests, key=_short_first) for rule, tests in found.items()}


def _short_first(test: str) -> tuple[int, str]:
    """Tests of few lines are read first."""
    lines = catalogue()[test].read_text(encoding="utf-8").count("\n")
    return lines, test


@cache
def tests_of(rule: str) -> tuple[str, ...]:
    """The recorded tests of a rule, the shortest first.

    >>> "fork-without-gup" in tests_of("AE-FORK-4")
    True
    """
    return tuple(_failing().get(rule, ()))
