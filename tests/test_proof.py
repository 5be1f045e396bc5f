"""The proof: it is one, it fails where it has to, and it follows the operations."""

from __future__ import annotations

import json
from functools import cache

import mutants
import pytest
from click.testing import CliRunner

from spec.ablation import Ablation
from spec.cells import SpecificationError
from spec.checker.program import Trace, Violation
from spec.cli import main
from spec.memory import Pte
from spec.prover import domains
from spec.prover.footprints import owned
from spec.prover.guards import together
from spec.prover.operations import ONE
from spec.prover.proving import (
    LEFT,
    PROVED,
    REFUTED,
    UNKNOWN,
    Attempt,
    Obligation,
    Result,
    prove,
)
from spec.prover.removal import Removal, keys
from spec.prover.steps import entry_atoms
from spec.proving import print_failures
from spec.publish import worlds
from spec.releases import find_model

pytest.importorskip("z3", reason="the solver is not installed")
SKETCH = find_model("sketch")
IMPLIED = ("AE-INV-1", "AE-INV-2", "AE-INV-4", "AE-INV-7", "AE-INV-8")


def shortly(without: list[str], only: str):
    """The proof of one operation, in this process."""
    return prove(SKETCH, without, workers=1, only=[only])


def test_the_sketch_is_proved(store):
    """Here and now, whatever is recorded; and the same is recorded."""
    result, known = worlds.prove(SKETCH), store.prove("sketch")
    assert result.proved
    assert [o.name for o in result.obligations] == [o.name for o in known.obligations]
    assert [o.steps for o in result.obligations] == [o.steps for o in known.obligations]
    assert not result.interrupted
    assert {each.found for each in result.obligations} == {PROVED}
    names = {each.operation for each in result.obligations}
    assert {f"invariant implies {id}" for id in IMPLIED} <= names
    assert "at first" in names


@pytest.mark.parametrize(
    ("rule", "operation"),
    [
        pytest.param("AE-FORK-6", "fork", marks=pytest.mark.slow),
        ("AE-FAST-4", "gup ro pin fast-only"),
    ],
)
def test_a_removed_rule_is_refuted(rule, operation):
    result = shortly([rule], operation)
    assert not result.proved
    assert any(each.found == REFUTED and each.example for each in result.failing)


MERGING = {
    "AE-KSM-3": "before ksm clears the bit",
    "AE-KSM-4": "while suspended",
    "AE-KSM-5": "before the pte is restored",
    "AE-KSM-6": "before the page is replaced",
    "AE-KSM-7": "mapped contents are right",
}
"""Rules for merging, and what is not kept without them."""
QUICKLY = ("AE-KSM-6",)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(r, marks=pytest.mark.slow if r not in QUICKLY else ())
        for r in MERGING
    ],
)
def test_merging_rests_on_its_rules(rule):
    merge = "merge in one process"
    known = keys("sketch", (merge,))
    result = prove(SKETCH, [rule], workers=1, only=[merge], known=known)
    shown = {e.example.clause for e in result.failing if e.example is not None}
    assert MERGING[rule] in shown


def test_that_owners_are_alone_does_not_rest_on_what_pages_hold():
    merge = "merge in one process"
    changed = Attempt(SKETCH, frozenset({"AE-KSM-6"}), only=[merge])
    known = keys("sketch", (merge,))
    new = [step for step in changed.steps if changed.key(step) not in known]
    assert new
    assert all(step.contents for step in new)


# -- operations that are changed -------------------------------------------------------


@pytest.mark.slow
def test_an_assertion_whose_place_is_gone_is_refused():
    old = "    if not grab(mm, va, ref, foll, pte):"
    new = "    grabbed = grab(mm, va, ref, foll, pte)\n    if not grabbed:"
    with (
        mutants.changed("gup_fast.gup_fast_pte_range", old, new),
        pytest.raises(SpecificationError, match="'snapshot' of the proof is for gup"),
    ):
        Attempt(SKETCH)


# -- steps that do the same ------------------------------------------------------------


HERE = ("A", "x")
ENTRIES = {
    entry: frozenset(a for a in entry_atoms(*HERE, entry, False) if a[1] != "marked")
    for entry in domains.entry_values({"p1"}, ONE, False)
}
"""All that a PTE can be where p1 was mentioned, and how the sketch's guards say it."""


def test_all_that_an_entry_can_be_says_nothing():
    joined = together(dict.fromkeys(ENTRIES.values()), set())
    assert [guard for guard, _ in joined] == [frozenset()]


def test_an_entry_that_does_not_map_the_page_is_one_of_two():
    others = [guard for entry, guard in ENTRIES.items() if not maps(entry, "p1")]
    assert len(others) > 8
    joined = {guard for guard, _ in together(dict.fromkeys(others), {"p1"})}
    unsaid = {("is", "writable", HERE, True), ("is", "trapped", HERE, False)}
    elsewhere = ENTRIES[Pte("p2", True)] - unsaid
    assert joined == {frozenset({("is", "mapped", HERE, False)}), elsewhere}
    for entry, guard in ENTRIES.items():
        assert any(each <= guard for each in joined) is not maps(entry, "p1")


def maps(entry, page):
    """Whether an entry maps a page."""
    return isinstance(entry, Pte) and entry.pfn == page


def test_a_name_that_is_used_elsewhere_does_not_stand_for_all():
    guards = [
        guard for guard in ENTRIES.values() if ("is", "slot", HERE, "s1") in guard
    ]
    (free,) = [guard for guard, _ in together(dict.fromkeys(guards), set())]
    (used,) = [guard for guard, _ in together(dict.fromkeys(guards), {"s1"})]
    assert used - free == {("is", "slot", HERE, "s1")}


def test_a_lock_that_is_shared_again_in_one_step_stays_shared():
    shared, alone = {"A.mmap_lock": 1}, {"A.mmap_lock": -1}
    assert owned(shared, {}, {"A.mmap_lock": 1}) == shared
    assert owned(shared, {"A.mmap_lock": 2}, {"A.mmap_lock": 2}) == shared
    assert not owned(shared, {"A.mmap_lock": 2}, {"A.mmap_lock": 1})
    assert not owned(alone, {}, {"A.mmap_lock": 0})


# -- what the proof assumes ------------------------------------------------------------


def test_greater_counts_give_no_other_steps(monkeypatch):
    """AE-ASM-6: what is beyond the counts that are tried decides nothing."""

    def steps():
        made = Attempt(SKETCH, only=["fork", "put", "munmap"])
        return {made.key(step) for step in made.steps}

    few = steps()
    monkeypatch.setattr(domains, "MOST_HOLDERS", domains.MOST_HOLDERS + 1)
    monkeypatch.setattr(domains, "MOST_MAPPINGS", domains.MOST_MAPPINGS + 1)
    assert steps() == few


@cache
def of_transient():
    """The proof of an operation that asks for nothing; the lemma is of any."""
    return Attempt(SKETCH, only=["transient"])


@pytest.mark.parametrize(
    "premise",
    [
        "the page is mapped here",
        "refcount is 1",
        "the page table lock is held",
        "the page is no KSM page",
        "GUP was asked",
    ],
)
def test_the_lemma_needs_each_premise(premise):
    attempt = of_transient()
    prover = attempt.prover()
    (lemma,) = attempt.parts[False].lemmas
    assert prover.set_under(lemma).found == PROVED
    assert prover.set_under(lemma, besides=premise).found == REFUTED


# -- the command -----------------------------------------------------------------------


def test_what_an_interrupted_proof_has_not_asked_is_unknown(capsys):
    def interrupt(done, of):
        raise KeyboardInterrupt

    result = prove(SKETCH, report=interrupt, workers=1, only=["put"])
    assert result.interrupted
    assert not result.proved
    left = [each for each in result.failing if each.clauses == (LEFT,)]
    assert {each.found for each in left} == {UNKNOWN}
    assert {each.operation for each in left} > {"put", "at first"}
    print_failures(result)
    said = f"Interrupted; of {len(left)} obligations not all was asked.\n"
    assert capsys.readouterr().out == said


def test_an_unknown_is_no_success():
    obligation = Obligation("fork")
    obligation.note("unknown", ["canceled"], 0.0)
    obligation.note(PROVED, [], 0.0)
    assert obligation.found == "unknown"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "mapcount"], "there is no proof for the model 'mapcount'"),
        (["--without", "AE-INV-1"], "AE-INV-1 is no rule that operations obey"),
        (["--without", "AE-GUP-5"], "AE-GUP-5 is no rule of the model 'sketch'"),
        (["--without", "AE-FROK-2"], "the nearest is AE-FORK-2"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, says):
    done = CliRunner().invoke(main, ["prove", *arguments])
    assert done.exit_code == 2
    assert says in done.output
    assert "Traceback" not in done.output


@cache
def failing():
    """The removal of a rule without which the proof fails."""
    return Removal(shortly(["AE-CLR-3"], "put"), ("put",), 0)


def test_the_command_says_what_is_not_proved(monkeypatch):
    removal = failing()
    monkeypatch.setattr("spec.proving.worlds.prove_without", lambda *arguments: removal)
    done = CliRunner().invoke(main, ["prove", "--without", "AE-CLR-3"])
    assert done.exit_code == 1
    said = 'REFUTED: put: begins\n  not kept: "free pages are blank", of p = p1'
    assert said in done.output
    found = CliRunner().invoke(main, ["prove", "--without", "AE-CLR-3", "--json"])
    assert json.loads(found.output)["proved"] is False


@pytest.mark.slow
def test_what_only_another_model_rests_on_fails_in_its_proof():
    """Nothing of the proof changes without the rule; that must not look like a pass."""
    explored = CliRunner().invoke(main, ["prove", "--without", "ae-gup-4"])
    assert "Exploration: AE-GUP-4 " in explored.output
    assert "breaks AE-INV-1" in explored.output
    assert "(upstream, " in explored.output
    said = explored.output.partition("model upstream without AE-GUP-4")[2]
    assert "REFUTED: gup rw pin slow: begins" in said
    assert explored.exit_code == 1


def test_the_proof_is_asked_of_the_model_that_exploration_breaks(monkeypatch):
    kept = Removal(Result("sketch", ("AE-GUP-4",), [], 0.0), ("put",), 0)
    asked = []

    def prove_without(model, rules, report):
        asked.append((model.name, tuple(rules)))
        return {"sketch": kept, "upstream": failing()}[model.name]

    violation = Violation("AE-INV-1", "", Trace({}, ()))
    found = Ablation("AE-GUP-4", "upstream", "small", violation=violation)
    monkeypatch.setattr("spec.proving.worlds.prove_without", prove_without)
    monkeypatch.setattr("spec.proving.ablations", lambda ids: [found])
    done = CliRunner().invoke(main, ["prove", "--without", "AE-GUP-4"])
    assert done.exit_code == 1
    assert asked == [("sketch", ("AE-GUP-4",)), ("upstream", ("AE-GUP-4",))]
    assert "The proof of sketch does not rest on it" in done.output
    assert "REFUTED: put: begins" in done.output
    in_json = CliRunner().invoke(main, ["prove", "--without", "AE-GUP-4", "--json"])
    assert [each["proved"] for each in json.loads(in_json.output)["others"]] == [False]
