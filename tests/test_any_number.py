"""The worlds of store buffers and of stale translations, for any number of CPUs."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from click.testing import CliRunner

from spec import ordering, tlb
from spec.cells import PlainCells
from spec.checker import any_number
from spec.checker.any_number import WORLDS, AnyNumber, Views, flushed_in_time, in_order
from spec.checker.program import rest
from spec.checker.steps import Stepper
from spec.cli import main
from spec.memory import Steps
from spec.prover.proving import PROVED, REFUTED, UNKNOWN
from spec.publish import worlds
from spec.releases import find_model

SKETCH = find_model("sketch")
RULES = [id for world in worlds.WORLDS for id in worlds.duties(world)]


def test_every_rule_of_memory_ordering_is_one_of_these_worlds():
    assert sorted(RULES) == [f"AE-ORD-{i}" for i in range(1, 8)]


@pytest.mark.parametrize("world", WORLDS)
def test_any_number_of_cpus_keep_the_guarantee(world: str) -> None:
    found = WORLDS[world](frozenset())
    assert (found.holds, found.broken) == (True, "")
    assert found.states > 1000


@pytest.mark.parametrize("rule", RULES)
def test_without_a_rule_they_do_not(rule: str) -> None:
    [made] = worlds.obligations(SKETCH, [rule], [worlds.elsewhere([rule])[0].world])
    assert made.found == REFUTED
    assert rule in made.rules
    assert made.clauses[0].startswith(made.before.removeprefix("keep "))


def test_only_the_world_of_a_rule_fails():
    whole = list(worlds.obligations(SKETCH, ["AE-ORD-7"]))
    assert [each.found for each in whole] == [PROVED, REFUTED]


def test_what_was_not_explored_to_the_end_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def half(without: frozenset[str]) -> AnyNumber:
        return AnyNumber("AE-INV-10", 5, "", complete=False, seconds=0.0)

    monkeypatch.setitem(WORLDS, "tlb", half)
    [made] = worlds.obligations(SKETCH, [], ["tlb"])
    assert (made.found, made.clauses) == (UNKNOWN, ("not all was explored",))


# -- what is rested on -----------------------------------------------------------------


def test_gup_fast_that_stores_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are left out only because they change nothing but the count."""

    def drop(cpu: Any) -> None:
        cpu.atomic_add(-1, "drop")
        cpu.store("anon_exclusive", True, "drop")
        cpu.reference = ""

    monkeypatch.setattr(ordering, "drop", drop)
    assert in_order().broken.startswith("GUP-fast stores nothing, by a step of")


def test_gup_fast_that_counts_twice_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def drop(cpu: Any) -> None:
        cpu.atomic_add(-2, "drop")
        cpu.reference = ""

    monkeypatch.setattr(ordering, "drop", drop)
    assert "the count is of references" in in_order().broken


def test_one_cpu_in_a_view_does_not_tell_who_copies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Views may have more than can happen; then less is proved, never more."""
    monkeypatch.setattr(any_number, "IN_A_VIEW", 1)
    assert flushed_in_time().broken


def states_of(cpus: int) -> Iterator[tuple[dict[str, Any], tuple[Any, ...]]]:
    """Every state that so many CPUs reach, and where each stands, found one by one."""
    words = tuple(tlb.OPERATIONS)
    menus = (words,) * cpus

    def thread_of(i: int) -> Any:
        def thread(cells: Any) -> Steps:
            process = tlb.Process(menus, cells, frozenset())
            while True:
                yield rest
                word = cells.choose("next", words)
                yield from tlb.OPERATIONS[word](process, process.cpus[i])

        return thread

    steppers = [Stepper(thread_of(i)) for i in range(cpus)]
    starts = [stepper.start() for stepper in steppers]
    histories = {(i, s.location): s.history for i, s in enumerate(starts)}
    process = tlb.Process(menus, PlainCells({}), frozenset())
    cells = {k: v for record in process.records() for k, v in record.initial(())}
    todo = [(cells, tuple(start.location for start in starts))]
    seen = set()
    while todo:
        cells, at = todo.pop()
        if (key := (tuple(cells.items()), at)) in seen:
            continue
        seen.add(key)
        yield cells, at
        for i, stepper in enumerate(steppers):
            for _, out in stepper.outcomes(histories[i, at[i]], cells.__getitem__):
                histories.setdefault((i, out.location), out.history)
                todo.append(
                    ({**cells, **out.writes}, (*at[:i], out.location, *at[i + 1 :]))
                )


def bare(location: Any) -> Any:
    """Where a CPU stands: function and position in it, whatever the CPU is called."""
    return tuple((name.split(".")[-1], at) for name, at, _ in location[1:])


@pytest.mark.parametrize("cpus", [2, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_views_have_all_that_a_few_cpus_can_do(cpus: int) -> None:
    made: list[Views] = []

    class Kept(Views):
        def explore(self) -> None:
            made.append(self)
            super().explore()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(any_number, "Views", Kept)
        assert flushed_in_time().holds
    [views] = made
    known = {
        (shared, frozenset((bare(each.location), each.own) for each in group))
        for shared, group in views.views
    }
    count = 0
    for cells, at in states_of(cpus):
        shared = tuple(value for key, value in cells.items() if key.startswith("mm."))
        standing = [(bare(at[i]), (cells[f"cpu{i}.tlb"],)) for i in range(cpus)]
        for pair in combinations(standing, 2):
            assert (shared, frozenset(pair)) in known
        count += 1
    assert count > 50 * cpus


# -- where it is told ------------------------------------------------------------------


def test_the_command_says_what_fails_and_where_it_is_reached():
    found = CliRunner().invoke(main, ["prove", "--without", "AE-ORD-2"])
    assert found.exit_code == 1
    assert "REFUTED: store buffers, any number of CPUs: keep AE-INV-9" in found.output
    assert "exploration reaches a state that breaks AE-INV-9 after" in found.output
    assert "new steps" not in found.output


def test_a_model_without_the_guarantee_has_no_obligation():
    [made] = worlds.obligations(find_model("mapcount"))
    assert made.before == "keep AE-INV-10"
