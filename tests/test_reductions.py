"""Reductions: what is declared is so, and reduced explorations find the same."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest

from spec.bounds import (
    BOUNDS,
    CORE,
    HUGE,
    KSM,
    MIGRATION,
    MOVE,
    PROTECT,
    RECLAIM,
    find_model,
    program,
)
from spec.cells import alternatives
from spec.checker.explore import Exploration, explore
from spec.checker.judgement import View, judge
from spec.checker.program import Options, Program, StateProperty, StepProperty
from spec.checker.search import search
from spec.checker.steps import Past, Stepper
from spec.checker.symmetry import Naming

SYMMETRY = Options(symmetry=True)
SMALL = BOUNDS["small"].sections
SECTIONS = [*SMALL, CORE[0], RECLAIM[0], RECLAIM[2], MIGRATION[6], KSM[4], PROTECT[0]]
SECTIONS += [MOVE[0], MOVE[2], HUGE[0], BOUNDS["large"].sections[1]]


class Swap:
    """Two records of a group take each other's names."""

    def __init__(self, naming: Naming, one: int) -> None:
        self.naming = naming
        self.old, self.new = [one, one + 1], [one + 1, one]

    def value(self, value):
        return self.naming.rename(value, self.old, self.new)

    def cells(self, cells):
        past = Past(tuple(cells.items()), ())
        return dict(self.naming.rename_past(past, self.old, self.new).reads)

    def history(self, history):
        return tuple(
            self.naming.rename_past(past, self.old, self.new) for past in history
        )


def swaps(naming: Naming) -> list[Swap]:
    """They generate all ways to rename."""
    return [
        Swap(naming, one)
        for first, end in pairwise(naming.group_first)
        for one in range(first, end - 1)
    ]


@pytest.mark.parametrize("section", SECTIONS)
def test_records_that_are_declared_to_be_alike_are_treated_alike(section):
    """Every tenth command, with two records swapped, does the same swapped."""
    made = program(section, find_model("sketch"))
    exploration = Exploration(made, options=SYMMETRY)
    exploration.run()
    table, naming = exploration.knowledge.tabulation, exploration.tables.naming
    if naming is None:
        assert not made.interchangeable
        return
    steppers = [Stepper(t, alternatives=True) for t in made.threads.values()]
    for command in exploration.commands[::10]:
        thread = table.threads[command.thread]
        location = exploration.codes[thread.key].values[command.location]
        history, _ = thread.histories[command.source]
        script = tuple(answer for _, answer in command.choices)
        for swap in swaps(naming):
            cells = swap.cells(command.reads)
            run = steppers[command.thread].step(
                swap.history(history), cells.__getitem__, swap.value(script)
            )
            assert run.outcome is not None
            assert run.outcome.writes == swap.cells(command.writes)
            assert run.outcome.location == swap.value(location)


def enabled(commands, cells):
    """What a command assigns that could be taken if its thread stood there."""
    return next(
        c.writes
        for c in commands
        if c.writes and all(cells[key] == v for key, v in c.reads.items())
    )


@pytest.mark.parametrize("section", SECTIONS)
def test_properties_say_the_same_with_other_names(section):
    made = program(section, find_model("upstream"))
    exploration = Exploration(made, options=SYMMETRY)
    exploration.run()
    table, naming = exploration.knowledge.tabulation, exploration.tables.naming
    if naming is None:
        return
    states = exploration.states
    for i in range(0, states.size, max(1, states.size // 40)):
        row = states.rows[i].tolist()
        cells = {k: table.value(states.layout, row, k) for k in made.initial[0]}
        writes = enabled(exploration.commands, cells)
        for swap in swaps(naming):
            other = swap.cells(cells)
            for p in made.states:
                holds = p.holds(View(cells.__getitem__, {}))
                assert p.holds(View(other.__getitem__, {})) == holds, p.id
            assert judge(made, cells, writes) == judge(made, other, swap.cells(writes))


@pytest.mark.parametrize(
    ("engine", "model"),
    [
        ("numpy", "sketch"),
        ("numba", "sketch"),
        ("numba", "always"),
        ("numba", "upstream"),
    ],
)
def test_reduced_explorations_agree_and_are_smaller(engine, model):
    made = program(RECLAIM[2], find_model(model))
    full = explore(made, options=Options(engine))
    reduced = explore(made, options=dataclasses.replace(SYMMETRY, engine=engine))
    assert full.holds
    assert reduced.holds
    assert reduced.reduced
    assert reduced.states * 2 < full.states


@pytest.mark.parametrize(
    ("model", "without"),
    [
        ("sketch", "AE-FORK-2"),
        ("sketch", "AE-FORK-5"),
        ("sketch", "AE-FAST-2"),
        ("sketch", "AE-GUP-1"),
        ("upstream", "AE-FORK-1"),
        ("upstream", "AE-FAST-4"),
        ("mapcount", None),
        ("page_count", None),
    ],
)
def test_reduced_explorations_show_the_same_violations(model, without):
    ablated = frozenset({without} - {None})
    for section in SMALL:
        made = program(section, find_model(model), ablated)
        full, reduced = explore(made), explore(made, options=SYMMETRY)
        assert full.violations == reduced.violations
        assert full.holds == reduced.holds


class Locks:
    """So many locks; a thread that has this at hand has no names of them at hand."""

    def __init__(self, count: int) -> None:
        self.names = tuple(f"n{i}" for i in range(count))

    def take(self, cells) -> str:
        """Take a free one."""
        names = (name for name in self.names if cells.read(f"{name}.owner"))
        free = alternatives(cells, names)
        name = free[0] if len(free) == 1 else cells.choose("which", free)
        cells.write(f"{name}.owner", False)
        return name


def takes_any(locks: Locks):
    """A thread that takes and releases a free lock, twice."""

    def thread(cells):
        yield
        for _ in range(2):
            name = locks.take(cells)
            yield
            cells.write(f"{name}.owner", True)
            yield

    return thread


def locks(count: int, **properties) -> Program:
    made = Locks(count)
    return Program(
        [{f"{name}.owner": True for name in made.names}],
        {"one": takes_any(made), "two": takes_any(made)},
        interchangeable=[made.names],
        **properties,
    )


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_one_state_stands_for_all_with_other_names(engine):
    options = dataclasses.replace(SYMMETRY, engine=engine)
    counts = [explore(locks(n), options=options).states for n in (2, 3, 6)]
    assert counts[0] == counts[1] == counts[2]
    assert counts[0] <= search(locks(6)).states


def test_a_violation_is_shown_with_the_names_of_the_program():
    both = StateProperty(
        "both", lambda cells: cells.read("n0.owner") or cells.read("n1.owner")
    )
    found = explore(locks(4, states=[both]), options=SYMMETRY).violations[0]
    assert found.depth == search(locks(4, states=[both])).violations[0].depth
    *_, last = found.trace.states()
    assert not last["n0.owner"]
    assert not last["n1.owner"]


def test_a_broken_step_is_shown_with_the_names_of_the_program():
    never = StepProperty("never", lambda before, after, written: not written)
    found = explore(locks(4, steps=[never]), options=SYMMETRY).violations[0]
    assert found.trace.steps[-1].writes == (("n0.owner", True, False),)


# -- partial order ---------------------------------------------------------------------

ORDERED = Options("numba", order=True)


def counts(verdict):
    """All that a reduction by order must leave as it is."""
    return (
        *(verdict.states, verdict.transitions, verdict.depth, verdict.violations),
        *(verdict.watched, verdict.witnesses),
    )


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("section", [*SMALL, CORE[0], RECLAIM[2], MIGRATION[6]])
def test_steps_that_are_not_followed_change_no_count(section, learned, tmp_path):
    """Neither while the commands are still learned nor when all are known."""
    made = program(section, find_model("sketch"))
    options = dataclasses.replace(ORDERED, learned=tmp_path if learned else None)
    if learned:
        explore(made, options=options)
    exploration = Exploration(made, options=options)
    assert counts(exploration.run()) == counts(explore(made, options=Options("numpy")))
    assert exploration.engine.unfollowed > 0


@pytest.mark.parametrize("without", ["AE-FORK-2", "AE-FAST-2", "AE-GUP-1"])
@pytest.mark.parametrize("symmetry", [False, True])
def test_both_reductions_show_the_same_violations(without, symmetry):
    made = program(SMALL[0], find_model("sketch"), frozenset({without}))
    reduced = dataclasses.replace(ORDERED, symmetry=symmetry)
    assert explore(made, options=reduced).violations == explore(made).violations


def counter(cell, times):
    """A thread that counts a cell up."""

    def thread(cells):
        yield
        for _ in range(times):
            cells.write(cell, cells.read(cell) + 1)
            yield

    return thread


def test_of_steps_that_commute_one_order_is_followed(tmp_path):
    """Three independent threads: once all is learned, one step leads to each state."""
    made = Program(
        [{"a": 0, "b": 0, "c": 0}],
        {name: counter(name, 3) for name in "abc"},
        name="counters",
    )
    options = dataclasses.replace(ORDERED, learned=tmp_path)
    explore(made, options=options)
    exploration = Exploration(made, options=options)
    verdict = exploration.run()
    assert verdict.states == 5**3
    assert verdict.transitions - exploration.engine.unfollowed == verdict.states - 1


def test_states_are_missed_where_steps_that_do_not_commute_are_left_out(monkeypatch):
    """The counts above would tell: nothing that a command assigns is known here."""
    from spec.checker.compiled import Sleep

    footprints = Sleep.footprints

    def blind(self):
        reads, writes = footprints(self)
        return reads, writes * 0

    made = program(SMALL[0], find_model("sketch"))
    right = explore(made)
    monkeypatch.setattr(Sleep, "footprints", blind)
    assert explore(made, options=ORDERED).states < right.states
