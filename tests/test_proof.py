"""The proof: it is one, it fails where it has to, and it follows the operations."""

from __future__ import annotations

import json

import mutants
import pytest
from click.testing import CliRunner

from spec.cells import SpecificationError
from spec.cli import main
from spec.prover import domains
from spec.prover.proving import PROVED, REFUTED, Attempt, Obligation, prove
from spec.prover.removal import Removal
from spec.releases import find_model

pytest.importorskip("z3", reason="the solver is not installed")
SKETCH = find_model("sketch")
IMPLIED = ("AE-INV-1", "AE-INV-2", "AE-INV-4", "AE-INV-7")


def shortly(without: list[str], only: str):
    """The proof of one operation, in this process."""
    return prove(SKETCH, without, workers=1, only=[only])


def test_the_sketch_is_proved(store):
    result = store.prove("sketch")
    assert result.proved
    assert not result.interrupted
    assert {each.found for each in result.obligations} == {PROVED}
    names = {each.operation for each in result.obligations}
    assert {f"invariant implies {id}" for id in IMPLIED} <= names
    assert "at first" in names


@pytest.mark.parametrize(
    ("rule", "operation"),
    [
        ("AE-FORK-6", "fork"),
        ("AE-FAST-4", "gup ro pin fast-only"),
    ],
)
def test_a_removed_rule_is_refuted(rule, operation):
    result = shortly([rule], operation)
    assert not result.proved
    assert any(each.found == REFUTED and each.example for each in result.failing)


# -- operations that are changed -------------------------------------------------------


def test_an_assertion_whose_place_is_gone_is_refused():
    old = "    if not grab(mm, va, ref, foll, pte):"
    new = "    grabbed = grab(mm, va, ref, foll, pte)\n    if not grabbed:"
    with (
        mutants.changed("gup_fast.gup_fast_pte_range", old, new),
        pytest.raises(SpecificationError, match="'snapshot' of the proof is for gup"),
    ):
        Attempt(SKETCH)


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
    attempt = Attempt(SKETCH, only=["transient"])
    prover = attempt.prover()
    (lemma,) = attempt.proof.lemmas
    assert prover.set_under(lemma).found == PROVED
    assert prover.set_under(lemma, besides=premise).found == REFUTED


# -- the command -----------------------------------------------------------------------


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


def test_the_command_says_what_is_not_proved(monkeypatch):
    removal = Removal(shortly(["AE-CLR-3"], "put"), ("put",), 0)
    monkeypatch.setattr("spec.proving.prove_without", lambda *arguments: removal)
    done = CliRunner().invoke(main, ["prove", "--without", "AE-CLR-3"])
    assert done.exit_code == 1
    said = 'REFUTED: put: begins\n  not kept: "free pages are blank", of p = p1'
    assert said in done.output
    found = CliRunner().invoke(main, ["prove", "--without", "AE-CLR-3", "--json"])
    assert json.loads(found.output)["proved"] is False
