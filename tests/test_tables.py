"""The tables that map the kernel's steps and the sketch's gaps to rules."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict

import pytest

from spec.findings import FINDINGS
from spec.litmus.files import catalogue
from spec.rules import load
from spec.steps import STEPS

RULES = load()
ROWS = [row for part in STEPS.values() for row in part]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_each_step_has_an_operation_or_says_why_not(row):
    assert row.operation or row.note
    assert all(id in RULES for id in row.rules)
    if row.operation:
        assert callable(row.function()), row.operation
        assert inspect.getdoc(row.function())


def test_no_step_is_missing():
    """Ids are a letter and a number without gaps, as the kernel's order has them."""
    numbers = defaultdict(list)
    for row in ROWS:
        letter, number = re.fullmatch(r"([A-Z]+)(\d+)[a-z]?", row.id).groups()
        numbers[letter].append(int(number))
    for letter, found in numbers.items():
        assert sorted(set(found)) == list(range(min(found), max(found) + 1)), letter
    assert len({row.id for row in ROWS}) == len(ROWS)


def test_each_rule_that_operations_obey_belongs_to_a_step():
    """Conversely: a rule that no step speaks of would be about nothing."""
    spoken = {id for row in ROWS for id in row.rules}
    about_steps = {id for id, rule in RULES.items() if rule.topic not in ("INV", "ASM")}
    assert about_steps <= spoken


def test_findings_are_closed_by_rules_that_exist():
    assert [f.id for f in FINDINGS] == [f"D{n}" for n in range(1, 14)]
    for finding in FINDINGS:
        assert all(id in RULES for id in finding.rules), finding.id
        assert all(name in catalogue() for name in finding.litmus), finding.id


@pytest.mark.parametrize(
    "finding", [f for f in FINDINGS if f.rules], ids=lambda f: f.id
)
def test_each_gap_is_shown_by_the_removal_of_the_rule(store, finding):
    assert store.ablate(finding.rules[0]).violation is not None
