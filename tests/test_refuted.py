"""The proof without each rule; counterexamples; explored states in its terms."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import mutants
import pytest
from click.testing import CliRunner

from spec.bounds import MIGRATION, SMALL
from spec.cli import main
from spec.clients import section
from spec.publish import agreed, counterexamples, refuted

pytest.importorskip("z3", reason="the solver is not installed")
from invariant import judged

from spec.prover import abstraction
from spec.prover.abstraction import COMPARISONS, agreement
from spec.prover.domains import CONTENTS
from spec.prover.finite import telling
from spec.prover.holders import HOLDERS, TEMPORARY
from spec.prover.proving import written
from spec.prover.steps import split
from spec.releases import find_model

SKETCH = find_model("sketch")
KNOWN = refuted.read()
SHOWN = {id: each for id, each in KNOWN.items() if each.shown is not None}


# -- every rule ------------------------------------------------------------------------


def test_every_rule_of_the_sketch_is_refuted_or_explained():
    assert set(KNOWN) == {rule.id for rule in refuted.wanted()}
    for each in KNOWN.values():
        assert refuted.stands(each) in ("refuted", "kept"), each.rule
        assert not refuted.unexplained(each), each.rule


def test_what_fails_is_shown_with_a_clause_and_a_step():
    for each in KNOWN.values():
        if refuted.stands(each) == "refuted":
            assert each.shown is not None, each.rule
            assert each.shown.example is not None, each.rule
            assert each.shown.example.clause
            assert each.shown.example.functions


def test_some_rules_are_refuted_and_some_are_outside():
    words = {refuted.stands(each) for each in KNOWN.values()}
    assert words == {"refuted", "kept"}


@pytest.mark.parametrize(
    "rule",
    [
        "AE-CLR-1",
        *(
            pytest.param(rule, marks=pytest.mark.slow)
            for rule in ("AE-FORK-2", "AE-WP-5", "AE-KSM-3")
        ),
    ],
)
def test_a_row_is_found_again(rule):
    """Whatever has changed since, these rows are those of the present code."""
    recorded, now = KNOWN[rule], refuted.find(rule)
    assert now.failing == recorded.failing
    assert now.reached == recorded.reached
    assert now.asking == recorded.asking
    if recorded.shown is not None:
        assert now.shown is not None
        assert like(now.shown.example) == like(recorded.shown.example)


def like(example):
    """The same, but for which contents there are: any will do that differ."""

    def blurred(state):
        return {k: None if split(k)[1] in CONTENTS else v for k, v in state.items()}

    before, after = blurred(example.before), blurred(example.after)
    return replace(example, before=before, after=after)


def test_the_page_says_whether_the_record_is_of_the_present_code():
    old = [replace(each, code="") for each in KNOWN.values()]
    assert "has changed" in " ".join(counterexamples.dated(old))
    new = [replace(each, code=refuted.code_now()) for each in KNOWN.values()]
    assert "has changed" not in " ".join(counterexamples.dated(new))


def test_what_exploration_breaks_and_the_proof_does_not_is_told():
    missed = replace(KNOWN["AE-COW-1"], failing=(), shown=None)
    assert refuted.unexplained(missed)


def test_contents_that_are_lost_are_reached():
    """A counterexample to the proof of contents is looked for among its clauses."""
    names = {clause.name for clause in written().everything()}
    about = [each for each in SHOWN.values() if each.shown.example.clause in names]
    assert any(each.reached is not None for each in about)
    assert all(each.shown.example.contents for each in about)


# -- rules that only upstream's proof rests on -----------------------------------------

ELSEWHERE = ("AE-GUP-4",)
"""Exploration breaks nothing of the sketch without them, and guarantees of upstream."""


def with_other(rule: str, **changes: object) -> refuted.Refutation:
    """What is recorded of a rule, and something refuted as the proof of upstream."""
    other = replace(KNOWN["AE-FORK-2"], rule=rule, model="upstream", **changes)
    return replace(KNOWN[rule], other=other)


@pytest.mark.parametrize("rule", ELSEWHERE)
def test_the_proof_of_the_model_that_breaks_is_recorded(rule):
    other = KNOWN[rule].other
    assert other is not None
    assert other.model == "upstream"
    assert refuted.stands(other) == "refuted"
    assert other.shown is not None
    assert other.shown.example is not None


def test_what_fails_of_another_model_is_said():
    found = with_other("AE-GUP-4")
    assert refuted.stands(found) == "kept"
    said = refuted.said(found)
    assert (
        "with upstream it breaks AE-INV-1, AE-INV-2, and its proof is refuted" in said
    )
    assert 'va) does not keep "before the bit is cleared"' in said
    assert "That counterexample is reached" in said
    assert not refuted.unexplained(found)


def test_a_proof_of_another_model_that_does_not_tell_is_unexplained():
    kept = with_other("AE-GUP-4", failing=(), shown=None)
    assert "which its proof should have told." in refuted.said(kept)
    assert refuted.unexplained(kept)
    unknown = with_other("AE-GUP-4", failing=(), unknown=("fork",), shown=None)
    assert "of its proof nothing is known at fork" in refuted.said(unknown)


class Names:
    """A site of which only the links are asked."""

    def link(self, id: str, page: str) -> str:
        return f"<{id}>"


def test_the_page_says_why_the_proof_does_not_rest_on_rules_if_there_are_any():
    said = "\n".join(counterexamples.not_rested_on(Names(), [KNOWN["AE-GUP-4"]]))
    assert said.startswith("\n### Rules that the proof does not rest on\n")
    assert "<AE-GUP-4>" in said
    assert not list(counterexamples.not_rested_on(Names(), []))


def test_the_page_has_the_rules_that_only_another_model_rests_on():
    others = [with_other(rule).other for rule in ELSEWHERE]
    said = "\n".join(counterexamples.of_other_models(Names(), others))
    assert "### Rules that only the proof of upstream rests on" in said
    assert all(f"<{rule}>" in said for rule in ELSEWHERE)


@pytest.mark.slow
def test_without_a_rule_that_upstream_rests_on_its_proof_fails():
    other = refuted.find("AE-GUP-4").other
    assert other is not None
    assert other.shown.example.clause == "promise is kept"
    assert other.reached is not None


# -- counterexamples -------------------------------------------------------------------


def test_the_smallest_state_has_nothing_to_spare():
    found = SHOWN["AE-FORK-2"].shown.example
    assert counterexamples.size(found) == "1 PTE, 1 page, 1 reference"
    found = SHOWN["AE-COW-2"].shown.example
    assert counterexamples.size(found) == "2 PTEs, 1 page"


@pytest.mark.parametrize("rule", counterexamples.DRAWN)
def test_a_counterexample_is_drawn_as_two_states(rule):
    drawing = counterexamples.draw(f"Without {rule}", SHOWN[rule].shown.example)
    root = ET.fromstring(drawing.svg())
    said = "".join(root.itertext())
    assert root.find("{*}title") is not None
    assert root.find("{*}desc") is not None
    assert "Before" in said
    assert "After" in said
    twin = counterexamples.text(SHOWN[rule].shown.example)
    assert "Before" in twin
    assert "After" in twin
    assert "Not kept" in twin
    assert twin.isascii()


def test_what_a_step_changes_is_marked_by_more_than_colour():
    found = SHOWN["AE-FAST-1"].shown.example
    picture = counterexamples.draw("", found).svg()
    assert 'stroke-dasharray="6 3"' in picture
    assert " *" in picture
    assert "  *" in counterexamples.text(found)


def test_the_argument_comes_first():
    names = [clause.name for clause in telling(written())]
    owners, contents = written().parts
    assert names[:3] == [clause.name for clause in owners.clauses[:3]]
    assert names.index(contents.clauses[0].name) == len(owners.everything())
    assert len(names) == len(set(names)) == len(written().assumed())


# -- explored states -------------------------------------------------------------------


def explored(number: int, without: tuple[str, ...] = ()):
    """A small section, judged by the whole invariant."""
    return judged(SMALL[number], SKETCH, without=without)


def test_the_invariant_is_true_of_explored_states():
    verdict = explored(1)
    assert verdict.complete
    assert not verdict.violations


def test_the_invariant_is_true_where_pages_are_merged():
    merging = section(
        ("A", "gup ro get; put"),
        ("", "ksm"),
        starts=("write 1; write 1 at y",),
        processes=1,
        vas=("x", "y"),
    )
    verdict = judged(merging, SKETCH)
    assert verdict.complete
    assert not verdict.violations
    assert verdict.states > 100


def test_without_a_rule_an_explored_state_breaks_the_clause_that_the_solver_names():
    verdict = explored(1, ("AE-FORK-5",))
    assert {v.property for v in verdict.violations} == {"before the child maps"}
    assert SHOWN["AE-FORK-5"].shown.example.clause == "before the child maps"


def test_counts_say_what_holders_say_on_every_small_state(store):
    found = agreement("small", SKETCH)
    assert not found.disagrees
    assert found.states == store.check("small", "sketch").states
    assert found.states == {e["bounds"]: e for e in agreed.read()}["small"]["states"]


def test_a_holder_that_the_abstraction_forgets_is_noticed():
    forgotten = tuple(kind for kind in HOLDERS if kind not in TEMPORARY)
    broken = [
        replace(each, kinds=forgotten) if each.name == "one holder" else each
        for each in COMPARISONS
    ]
    assert agreement("small", SKETCH, broken).disagrees == ("one holder",)


def test_a_walk_of_fork_that_leaves_an_address_out_is_noticed():
    with mutants.changed("fork.fork", "names.vas:", "names.vas[1:]:"):
        found = agreement("small", SKETCH)
    assert "fork visits each address" in found.disagrees


def test_a_walk_of_migration_that_finds_nothing_is_noticed():
    old = "if isinstance(mm.pte[va], MigrationEntry):"
    with mutants.changed("migration.remove_migration_ptes", old, "if False:"):
        verdict = abstraction._explored(MIGRATION[0], SKETCH, ())
    assert "migration entries are all replaced" in {
        v.property for v in verdict.violations
    }


# -- the command -----------------------------------------------------------------------


def test_the_command_shows_both_states_and_whether_they_are_reached():
    done = CliRunner().invoke(main, ["prove", "--without", "AE-FORK-2"])
    assert done.exit_code == 1
    assert 'not kept: "before the bit is cleared", of c = CPU 0, r = r1' in done.output
    assert "before  pte(A) = p1 R/W" in done.output
    assert "AE-FORK-2: reached: by this step" in done.output


@pytest.mark.slow
def test_the_command_looks_at_large_folios_where_all_else_is_kept():
    done = CliRunner().invoke(main, ["prove", "--without", "AE-HUGE-4"])
    assert done.exit_code == 1
    assert "collapse, large folios" in done.output
    assert "AE-HUGE-4: reached" in done.output


def test_the_command_gives_the_states_to_machines():
    done = CliRunner().invoke(main, ["prove", "--without", "AE-FORK-2", "--json"])
    (failing,) = [o for o in json.loads(done.output)["obligations"] if o["example"]]
    assert failing["example"]["before"][0] == "pte(A) = p1 R/W"
