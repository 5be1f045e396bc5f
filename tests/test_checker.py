"""The checker: two engines, pinned counts, and that it finds what is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spec.bounds import (
    BOUNDS,
    CORE,
    MIGRATION,
    MOVE,
    PROTECT,
    RECLAIM,
    Bounds,
    program,
)
from spec.cells import PlainCells
from spec.checker.explore import Exploration, explore
from spec.checker.program import Options, Program, StateProperty, StepProperty, Verdict
from spec.checker.search import search
from spec.releases import find_model

COUNTS = json.loads((Path(__file__).parent / "counts.json").read_text())
SOUND = ("sketch", "always", "upstream")


def counts(verdict: Verdict) -> dict[str, int]:
    return {
        "states": verdict.states,
        "transitions": verdict.transitions,
        "depth": verdict.depth,
    }


PINNED = [(bounds, model) for bounds, models in COUNTS.items() for model in models]


@pytest.mark.parametrize(("bounds", "model"), PINNED)
def test_guarantees_hold_and_counts_are_as_pinned(store, bounds, model):
    verdict = store.check(bounds, model)
    assert verdict.holds
    assert counts(verdict) == COUNTS[bounds][model]


@pytest.mark.slow
@pytest.mark.parametrize("model", SOUND)
def test_the_reference_search_counts_the_same(model):
    """As it does where there is no NumPy, which test_engine.py shows of one model."""
    total = Verdict(0, 0, 0, complete=True)
    for section in BOUNDS["small"].sections:
        total = total.and_then(search(program(section, find_model(model))))
    assert total.holds
    assert counts(total) == COUNTS["small"][model]


def test_the_lemma_is_seen_to_be_unstable(store):
    assert "count rises under the lock" in store.check("standard", "sketch").witnesses


@pytest.mark.parametrize(
    ("model", "guarantee"), [("mapcount", "AE-INV-1"), ("page_count", "AE-INV-2")]
)
def test_models_of_the_past_fail_as_they_did(store, model, guarantee):
    verdict = store.check("standard", model)
    assert guarantee in {violation.property for violation in verdict.violations}


@pytest.mark.parametrize(
    "section",
    [
        MIGRATION[6],
        PROTECT[0],
        *(pytest.param(each, marks=pytest.mark.slow) for each in (RECLAIM[0], MOVE[0])),
    ],
)
def test_the_engines_agree_on_the_chapters_after_fork(section):
    """One small section of a chapter each, searched by both engines."""
    made = program(section, find_model("upstream"))
    assert counts(search(made)) == counts(explore(made))


def test_every_pair_of_the_core_operations_meets():
    met, of = (
        Bounds("core", CORE).describe()["pairs of operations that meet"].split(" of ")
    )
    assert met == of


@pytest.mark.parametrize("actor", ["reclaim", "migrate", "ksm"])
def test_each_kernel_actor_meets_faults_fork_and_gup(actor):
    met = {
        other
        for pair in BOUNDS["standard"].meetings()
        if actor in pair
        for other in pair
    }
    assert {"write", "read"} & met
    assert any(word.startswith("gup") for word in met)


@pytest.mark.parametrize("section", [*RECLAIM[:4], MIGRATION[0], MIGRATION[6]])
def test_the_other_closing_keeps_every_guarantee(section):
    """Variant `carry`, on the smaller sections on reclaim and migration."""
    assert explore(program(section, find_model("carry"))).holds


def counter(limit: int):
    """A thread that adds one to the cell ``n`` in two steps, `limit` times."""

    def thread(cells):
        yield
        for _ in range(limit):
            value = cells.read("n")
            yield
            cells.write("n", value + 1)
            yield

    return thread


def race(limit: int, **properties) -> Program:
    return Program(
        [{"n": 0}], {"one": counter(limit), "two": counter(limit)}, **properties
    )


def test_engines_agree_on_a_race_that_loses_an_update():
    below = StateProperty("below", lambda cells: cells.read("n") <= 4)
    fast, slow = explore(race(2, states=[below])), search(race(2, states=[below]))
    assert counts(fast) == counts(slow)
    assert fast.holds
    assert slow.holds


def test_the_shortest_trace_is_found_and_replays():
    two = StateProperty("two", lambda cells: cells.read("n") < 2)
    found = explore(race(1, states=[two])).violations[0]
    assert found.depth == search(race(1, states=[two])).violations[0].depth
    *_, last = found.trace.states()
    assert last["n"] == 2


def test_a_broken_step_is_reported_with_the_step_that_breaks_it():
    grows = StepProperty(
        "grows",
        lambda before, after, written: (
            "n" not in written or after.read("n") > before.read("n")
        ),
    )
    verdict = explore(race(2, steps=[grows]))
    assert verdict.violations[0].trace.steps[-1].broken == ("grows",)


@pytest.mark.parametrize("engine", [explore, search])
def test_a_property_may_look_at_nothing_but_what_was_assigned(engine):
    constant = StepProperty("constant", lambda before, after, written: not written)
    violation = engine(race(1, steps=[constant])).violations[0]
    assert (violation.property, violation.depth) == ("constant", 2)


def test_deadlock_is_found():
    def waits(own: str, other: str):
        def thread(cells):
            yield
            cells.write(own, True)
            yield
            yield lambda: not cells.read(other)

        return thread

    verdict = explore(
        Program(
            [{"a": False, "b": False}], {"x": waits("a", "b"), "y": waits("b", "a")}
        )
    )
    assert [violation.property for violation in verdict.violations] == ["deadlock"]


def test_many_values_outgrow_the_first_layout():
    verdict = explore(race(9))
    assert counts(verdict) == counts(search(race(9)))


def test_a_hash_collision_starts_over_and_loses_nothing(monkeypatch):
    import numpy as np

    from spec.checker import visited

    real = visited.hashes_of
    monkeypatch.setattr(
        visited,
        "hashes_of",
        lambda rows, seed: (
            real(rows, seed) % np.uint64(3) if seed == 1 else real(rows, seed)
        ),
    )
    assert counts(Exploration(race(3), options=Options("numpy")).run()) == counts(
        search(race(3))
    )


def test_an_interrupt_keeps_what_was_found():
    def stop(progress):
        raise KeyboardInterrupt

    verdict = Exploration(race(3), stop).run()
    assert verdict.interrupted
    assert not verdict.complete
    assert verdict.states > 0


def test_plain_cells_ask_the_chooser():
    cells = PlainCells({}, lambda question, options: options[-1])
    assert cells.choose("which", ("this", "that")) == "that"
