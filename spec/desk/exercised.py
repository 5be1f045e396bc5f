"""Litmus tests worth running for a rule: those that fail without it, as recorded.

To compute which those are takes a minute, so that it is recorded in
`spec/records/results`.
"""

from __future__ import annotations

from functools import cache

from spec.litmus.exercise import ASKED_OF
from spec.litmus.files import catalogue
from spec.publish import recorded
from spec.publish.selftest import failing, on_any


@cache
def _failing() -> dict[str, list[str]]:
    """The tests of the catalogue that fail without a rule, by rule."""
    records = [recorded.read(f"exercised.{model}") for model in ASKED_OF]
    found = failing(on_any([record.result for record in records if record]))
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
