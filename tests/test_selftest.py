"""The kernel's selftest: cases, page kinds, expectations, rules that they exercise."""

from itertools import count

import pytest

from spec.litmus.exercise import ASKED_OF, NEVER_ENDS, exercised
from spec.litmus.files import catalogue, find
from spec.litmus.run import run
from spec.models import MODELS, VARIANTS
from spec.publish import recorded
from spec.publish.verdicts import Store
from spec.releases import find_model
from spec.selftest import (
    ANONYMOUS,
    CASES,
    COLLAPSE,
    EXPECTED,
    KINDS,
    MODELLED,
    NOT_ANONYMOUS,
    expected,
    program,
    programs,
)

NAMED = {kind.name: kind for kind in KINDS}
BASE, *OTHERS = MODELLED


def test_every_case_is_there():
    assert [case.id for case in ANONYMOUS] == [f"A{n}" for n in range(1, 15)]
    assert [case.id for case in COLLAPSE] == [f"C{n}" for n in range(1, 5)]
    assert [case.id for case in NOT_ANONYMOUS] == [f"N{n}" for n in range(1, 4)]
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_case_has_its_litmus_tests():
    known = catalogue()
    for case in CASES:
        assert case.litmus
        assert known.keys() >= set(case.litmus)
    ours = {name for name in known if name.startswith("selftest-")}
    assert ours <= {name for case in CASES for name in case.litmus}


def test_every_kind_of_memory_is_modelled_or_says_why_not():
    assert len(KINDS) == 11
    assert all(kind.makes or kind.note for kind in KINDS)
    assert EXPECTED.keys() <= NAMED.keys()


def test_on_a_base_page_the_program_is_the_litmus_test():
    for case in ANONYMOUS:
        base = find(case.litmus[0])
        assert program(case, BASE).lines == base.lines
        assert program(case, BASE).conditions == base.conditions


def test_a_whole_thp_is_unmapped():
    vmsplice = program(ANONYMOUS[2], NAMED["THP"])
    assert [str(o) for o in vmsplice.operations if o.word == "munmap"] == [
        "B: munmap",
        "B: munmap at y",
    ]


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.name)
def test_expectations_on_other_memory_are_met(kind):
    found = {
        (case.id, name): run(program(case, kind), (MODELS | VARIANTS)[name]).verdict
        for case in ANONYMOUS
        for name in kind.models
    }
    assert found == {key: expected(key[0], kind.name, key[1]) for key in found}


def test_all_cases_pass_since_their_release():
    """5.19 for anonymous memory, 6.2 for long-term pins of other memory."""
    for (case, kind), test in programs().items():
        if kind != "hugetlb":
            release = "linux-6.2" if case.startswith("N") else "linux-5.19"
            assert run(test, find_model(release)).verdict == "fine", (case, kind)


@pytest.mark.parametrize(
    ("case", "kind", "verdict"),
    [
        ("A3", "base page", "fine"),
        ("A3", "swapped-out base page", "missed-cow"),
        ("A6", "swapped-out base page", "missed-cow"),
        ("A3", "THP", "missed-cow"),
        ("A5", "THP", "missed-cow"),
        ("A7", "base page", "wrong-cow"),
        ("A8", "base page", "fine"),
    ],
)
def test_linux_5_10_fails_as_it_was_seen_to(case, kind, verdict):
    assert run(programs()[case, kind], find_model("linux-5.10")).verdict == verdict


# -- rules -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "model", "rules"),
    [
        ("cow", "sketch", {"AE-FORK-5", "AE-COW-2"}),
        ("pin-shared", "upstream", {"AE-GUP-5", "AE-UNS-1", "AE-COW-1"}),
        ("pin-shared", "sketch", {"AE-GUP-1", "AE-UNS-1"}),
        ("selftest-fixed-buffer-fork", "upstream", {"AE-FORK-8"}),
        ("selftest-fixed-buffer-fork", "sketch", {"AE-FORK-2"}),
        ("selftest-fixed-buffer", "upstream", {"AE-CLR-1"}),
        ("selftest-fixed-buffer", "sketch", {"AE-CLR-1", "AE-COW-1"}),
    ],
)
def test_a_case_exercises_the_rules_that_it_is_about(test, model, rules):
    found = exercised(find(test), MODELS[model])
    assert rules <= found.keys()
    assert "fine" not in found.values()


def test_what_is_not_asked_about_makes_no_difference():
    test = find("fork-without-gup")
    found = exercised(test, MODELS["upstream"])
    before = run(test, MODELS["upstream"]).verdict
    for id in ("AE-SWAP-10", "AE-GUP-5", "AE-KSM-3"):
        assert id not in found
        after = run(test, MODELS["upstream"], frozenset({id})).verdict
        assert after == before


def test_a_system_call_that_never_ends_is_noticed():
    found = exercised(find("pin-previously-shared"), MODELS["upstream"])
    assert found["AE-SET-5"] == NEVER_ENDS


def test_a_test_whose_verdict_gets_better_does_not_exercise_the_rule():
    """Without AE-SET-4 GUP finds the bit that nobody was to set."""
    assert "AE-SET-4" not in exercised(find("fast-only"), MODELS["sketch"])


@pytest.mark.parametrize("model", ASKED_OF)
def test_rules_that_some_tests_exercise_are_those_recorded(
    model, tmp_path, monkeypatch
):
    """Each tenth program, in the catalogue and on other memory."""
    numbers = count()

    def each_tenth(test, of):
        return exercised(test, of) if next(numbers) % 10 == 0 else None

    monkeypatch.setattr("spec.litmus.exercise.exercised", each_tenth)
    found = Store(tmp_path, recorded=None).exercised(model)
    some = list(found)[::10]
    known = recorded.read(f"exercised.{model}")
    assert known is not None
    assert known.result.keys() == found.keys()
    assert {n: found[n] for n in some} == {n: known.result[n] for n in some}


@pytest.mark.slow
@pytest.mark.parametrize("model", ASKED_OF)
def test_rules_that_tests_exercise_are_those_recorded(model, tmp_path):
    found = Store(tmp_path, recorded=None).exercised(model)
    known = recorded.read(f"exercised.{model}")
    assert known is not None
    assert known.result == found
