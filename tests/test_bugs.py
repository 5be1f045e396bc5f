"""Real bugs: each is shown by what its entry names, and by nothing less."""

import re

import pytest

from spec.ablation import ablate
from spec.bugs import BUGS, OTHER_VERDICTS
from spec.litmus.files import catalogue
from spec.litmus.parser import read
from spec.litmus.program import VERDICTS
from spec.litmus.run import run
from spec.releases import find_model
from spec.rules import load

NEVER_GIVEN = {2, 10, 13, 37}
SHOWN = [(bug, shown) for bug in BUGS for shown in bug.shown]
FIXED = ("sketch", "upstream")

every_bug = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.id)
every_test = pytest.mark.parametrize(
    ("bug", "shown"),
    SHOWN,
    ids=[
        "-".join([bug.id, shown.litmus, shown.model, *shown.without])
        for bug, shown in SHOWN
    ],
)


def verdict(litmus: str, model: str, without: tuple[str, ...] = ()) -> str:
    test = read(catalogue()[litmus])
    return run(test, find_model(model), frozenset(without)).verdict


def test_every_number_is_there_once():
    numbers = [int(bug.id.removeprefix("B")) for bug in BUGS]
    assert numbers == sorted(set(range(1, 47)) - NEVER_GIVEN)


@every_bug
def test_an_entry_is_complete(bug):
    assert len(re.split(r"\.\s+", bug.story.rstrip("."))) == 3
    assert sum(map(bool, (bug.shown, bug.ablated, bug.outside))) == 1
    assert set(bug.rules) | set(bug.ablated) <= load().keys()
    assert re.fullmatch(r"[0-9a-f]{12}", bug.commit) or (not bug.commit and bug.note)
    assert re.fullmatch(r"\d\.\d+|", bug.fixed)
    assert all(re.fullmatch(r"CVE-\d{4}-\d{4,}", number) for number in bug.cve)
    assert bug.verdict in VERDICTS[1:] or (
        bug.outside and bug.verdict in OTHER_VERDICTS
    )


@every_bug
def test_what_is_removed_is_what_forbids_it(bug):
    removed = {rule for shown in bug.shown for rule in shown.without}
    assert removed | set(bug.ablated) <= set(bug.rules)


@every_test
def test_the_bug_shows(bug, shown):
    assert verdict(shown.litmus, shown.model, shown.without) == bug.verdict


@every_test
def test_the_rule_or_a_later_model_ends_it(bug, shown):
    for model in (shown.model,) if shown.without else FIXED:
        assert verdict(shown.litmus, model) != bug.verdict


@every_test
def test_the_release_with_the_fix_has_not_got_it(bug, shown):
    if bug.fixed and shown.model.startswith("linux-"):
        assert verdict(shown.litmus, f"linux-{bug.fixed}") != bug.verdict


@pytest.mark.parametrize("rule", sorted({r for bug in BUGS for r in bug.ablated}))
def test_an_ablation_shows_what_no_litmus_test_can(rule):
    assert ablate(rule).violation is not None
