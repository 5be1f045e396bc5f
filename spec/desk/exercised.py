"""Litmus tests worth running for a rule: those that fail without it, as recorded.

To compute which those are takes minutes, so that they are recorded in
`spec/records/exercised.json`; the tests compare the record with what is computed.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from spec.litmus.exercise import ASKED_OF
from spec.litmus.files import catalogue
from spec.publish.selftest import tests_of as tests_that_fail
from spec.publish.verdicts import Store, fill
from spec.rules import load

RECORD = Path(__file__).resolve().parents[1] / "records" / "exercised.json"


def computed(store: Store) -> dict[str, list[str]]:
    """The tests of the catalogue that fail without a rule, by rule."""
    for model in ASKED_OF:
        store.exercised(model)
    found = tests_that_fail(store)
    return {
        rule: sorted(found[rule], key=_short_first) for rule in load() if rule in found
    }


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
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    return tuple(recorded.get(rule, ()))


def record(store: Store) -> None:
    """Write what the store holds, or computes now."""
    text = json.dumps(computed(store), indent=1)
    RECORD.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    record(fill())
