"""Upstream: it is proved, fails where it has to, and does not promise what it does not.

That it is proved says something only if its invariant is one of reachable states, if a
rule or a step that it rests on cannot be missed, and if a promise more is one too many.
"""

from __future__ import annotations

import mutants
import pytest
from click.testing import CliRunner

from spec.bounds import program
from spec.checker.replay import moves, replay
from spec.cli import main
from spec.clients import section
from spec.models import DECISIONS, Upstream, governs
from spec.prover import unpromised
from spec.prover.promises import Promises, promises_of
from spec.prover.proving import Attempt
from spec.proving import broken
from spec.publish import obligations, recorded, refuted, worlds
from spec.publish.pages import Site
from spec.publish.recorded import Recorded
from spec.publish.unpromised import REACHED
from spec.publish.verdicts import encode
from spec.releases import find_model
from spec.rules import find, load

pytest.importorskip("z3", reason="the solver is not installed")
from invariant import judged

UPSTREAM = find_model("upstream")


def first_refuted(operation: str, without: str = ""):
    """The first counterexample to an operation of upstream; none if all is kept."""
    removed = frozenset([without]) if without else frozenset()
    attempt = Attempt(UPSTREAM, removed, only=[operation])
    return next((small for _, small in unpromised.refuted(attempt)), None)


# -- it is proved ----------------------------------------------------------------------


def test_upstream_is_proved(store):
    """As recorded; `make slow-tests` proves it again."""
    assert store.prove("upstream").proved


@pytest.mark.slow
def test_upstream_is_proved_as_recorded(store):
    result, known = worlds.prove(UPSTREAM), store.prove("upstream")
    assert result.proved
    assert [o.name for o in result.obligations] == [o.name for o in known.obligations]
    assert [o.steps for o in result.obligations] == [o.steps for o in known.obligations]


def test_a_recorded_proof_says_when_it_was_made(store):
    known = Recorded("2026-11-28", 2, "", None)
    said = obligations.when("prove.upstream", store.prove("upstream"), known)
    assert "Recorded on 2026-11-28, of this code, in " in said
    assert "prove --model upstream" in said


def test_what_exploration_judges_of_upstream_is_implied(store):
    judged = {
        rule.id
        for rule in load().values()
        if rule.topic == "INV" and rule.world == "mm" and governs(rule, UPSTREAM)
    }
    names = [each.operation for each in store.prove("upstream").obligations]
    implied = [n for n in names if n.startswith("invariant implies ")]
    said = {word.rstrip(",") for name in implied for word in name.split()}
    assert {id for id in load() if id in said} == judged


def test_the_promises_are_those_of_the_model():
    weaker = Promises(remembers=True, pins_only=True, marks=True, readers=False)
    assert promises_of(UPSTREAM) == weaker


WHERE = {
    "fork": section(
        ("A", "fork; write"),
        ("A", "gup rw get fast-only; gup rw pin fast-only; put"),
        starts=("write",),
        processes=2,
    ),
    "writeback": section(
        ("A", "gup rw get; put"), ("", "reclaim"), starts=("write",), slots=1
    ),
    "migration": section(
        ("A", "gup rw get fast-only; gup ro pin; put"),
        ("A", "migrate"),
        starts=("write",),
        processes=1,
    ),
    "merging": section(
        ("A", "gup ro get fast-only; gup rw pin fast-only; put"),
        ("", "ksm"),
        starts=("write 1; write 1 at y",),
        processes=1,
        vas=("x", "y"),
    ),
}
"""What upstream's own clauses speak of; and merging."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "merging" else ())
        for name in WHERE
    ],
)
def test_reachable_states_satisfy_the_invariant(name):
    verdict = judged(WHERE[name], UPSTREAM)
    assert verdict.complete
    assert not verdict.violations
    assert verdict.states > 100


# -- it rests on its rules and on its steps --------------------------------------------


@pytest.mark.parametrize(
    ("rule", "operation"),
    [
        pytest.param("AE-FORK-8", "fork", marks=pytest.mark.slow),
        pytest.param("AE-SET-5", "write", marks=pytest.mark.slow),
        ("AE-GUP-5", "gup ro pin slow"),
        pytest.param("AE-FAST-4", "gup rw pin fast-only", marks=pytest.mark.slow),
        pytest.param("AE-SWAP-3", "reclaim", marks=pytest.mark.slow),
        pytest.param("AE-SWAP-5", "reclaim", marks=pytest.mark.slow),
        pytest.param("AE-SWAP-6", "reclaim", marks=pytest.mark.slow),
        pytest.param("AE-SWAP-10", "read", marks=pytest.mark.slow),
        pytest.param("AE-SWAP-11", "fork", marks=pytest.mark.slow),
        pytest.param("AE-MIGR-8", "migrate", marks=pytest.mark.slow),
    ],
)
def test_a_removed_rule_is_refuted(rule, operation):
    assert governs(find(rule), UPSTREAM)
    assert first_refuted(operation, rule) is not None


CHANGES = {
    "GUP-fast keeps its promise through fork": (
        "gup_fast.gup_fast",
        "ref.protected = ref.protected and mm.model.protects_across_fork(ref)",
        "pass",
        "gup rw get fast-only",
    ),
    "a swap entry forgets the bit": (
        "reclaim.set_swap_pte",
        "page.anon_exclusive and mm.model.entry_remembers(page)",
        "False",
        "reclaim",
    ),
    "a migration entry forgets the bit": (
        "migration.make_migration_entry",
        "elif exclusive and",
        "elif False and",
        "migrate",
    ),
    "a swap entry is shared with its promise": (
        "swap.copy_swap_pte",
        "and mm.model.protects_across_fork(ref)",
        "",
        "fork",
    ),
}
"""A function, what stands there and what instead, and an operation that fails."""
QUICK = {"GUP-fast keeps its promise through fork"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in CHANGES
    ],
)
def test_a_changed_operation_is_refuted(change):
    where, old, new, operation = CHANGES[change]
    with mutants.changed(where, old, new):
        found = first_refuted(operation)
    assert found is not None
    if change == "a swap entry forgets the bit":
        assert found.clause == "promise is kept"


# -- it does not promise more ----------------------------------------------------------


def recorded_as(name: str):
    known = recorded.read(name)
    assert known is not None
    return known.result


@pytest.mark.slow
@pytest.mark.parametrize("more", unpromised.MORE, ids=lambda more: more.id)
def test_a_promise_more_is_refuted_and_broken(more):
    found = unpromised.shown(more)
    assert encode(found) == recorded_as(f"prove.{more.id}")
    assert found.refuted
    assert {"AE-INV-2", "AE-INV-7"} <= {way.property for way in found.reached}
    made = program(unpromised.WHERE, more.makes())
    for way in found.reached:  # step by step, without what the checker has learned
        _, broken = replay(made, dict(way.trace.initial), moves(way.trace))
        assert way.property in broken


def test_without_that_promise_nothing_breaks():
    verdict = unpromised.explored(unpromised.WHERE, UPSTREAM)
    assert verdict.complete
    assert not verdict.violations


@pytest.mark.parametrize(
    "makes", [*(more.makes for more in unpromised.MORE), unpromised.AsTheSketch]
)
def test_a_promise_more_changes_no_decision(makes):
    ghosts = {"protects", "protects_across_fork"}
    for decision in set(DECISIONS) - ghosts:
        assert getattr(makes, decision) is getattr(Upstream, decision)


@pytest.mark.slow
def test_the_sketchs_rules_are_broken_as_recorded():
    assert encode(list(unpromised.reached())) == recorded_as(REACHED)


def test_the_sketchs_rules_are_broken_by_upstream():
    found = {each.rule: each for each in unpromised.reached()}
    assert {"AE-GUP-3", "AE-FORK-2", "AE-SWAP-2", "AE-MIGR-2", "AE-INV-5"} <= set(found)
    # upstream shares a page whose bit is clear, as the sketch demands
    assert {id for id, each in found.items() if each.way is None} == {"AE-FORK-4"}
    for id, each in found.items():
        assert each.way is None or (each.way.property == id and each.way.trace.steps)


# -- what is said of it ----------------------------------------------------------------


def test_the_page_has_both(store):
    page = obligations.proof_page(Site(store))
    assert "## sketch" in page
    assert "## upstream" in page
    for more in unpromised.MORE:
        assert f"{{#{more.id}}}" in page
        assert f'id="{more.id}-AE-INV-2"' in page


def test_the_page_has_the_worlds_of_their_own(store):
    page = obligations.proof_page(Site(store))
    assert page.count("| store buffers, any number of CPUs |") == 2 + 6
    assert page.count("| stale translations, any number of CPUs |") == 2 + 1
    failing = [each for each in refuted.read().values() if each.failing]
    of = f"Of {len(refuted.wanted())} rules that the sketch has to keep"
    assert f"{of}, the proof fails without {len(failing) + 7}," in page


def test_a_rule_of_the_sketch_is_none_of_upstream():
    done = CliRunner().invoke(
        main, ["prove", "--model", "upstream", "--without", "AE-FORK-2"]
    )
    assert done.exit_code == 2
    assert "AE-FORK-2 is no rule of the model 'upstream'" in done.output


def test_what_exploration_says_without_a_rule_is_of_upstream():
    assert "AE-INV-" in broken("AE-FORK-8", "upstream")
    assert broken("AE-FORK-3", "upstream") == "no search of upstream is recorded."
