"""The fast engine: what it gives to others, and that its variants agree."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spec.bounds import (
    BOUNDS,
    HUGE,
    KSM,
    MIGRATION,
    MOVE,
    RECLAIM,
    check,
    find_model,
    program,
)
from spec.checker.commands import CommandSet, guarded_commands
from spec.checker.explore import Exploration, explore
from spec.checker.program import (
    Options,
    Program,
    StateProperty,
    StepProperty,
    Verdict,
)
from spec.checker.search import search
from spec.checker.sections import explore_all

SMALL = BOUNDS["small"].sections[1]


def explored(made: Program, found: CommandSet) -> tuple[int, int]:
    """States and transitions that the guarded commands alone lead to."""
    start = tuple(found.start.items())
    frontier = deque((tuple(state.items()), start) for state in made.initial)
    seen, transitions = set(frontier), 0
    while frontier:
        cells, places = map(dict, frontier.popleft())
        for command in found.commands:
            if places[command.thread] == command.source and all(
                cells[key] == value for key, value in command.reads.items()
            ):
                transitions += 1
                after = cells | command.writes
                moved = places | {command.thread: command.target}
                node = (tuple(after.items()), tuple(moved.items()))
                if node not in seen:
                    seen.add(node)
                    frontier.append(node)
    return len(seen), transitions


@pytest.mark.parametrize(
    "section", [*BOUNDS["small"].sections, *BOUNDS["ordering"].sections]
)
def test_runs_that_go_on_and_runs_begun_anew_find_the_same(section, monkeypatch):
    """A local that does not show in the location, as a loop's position, would tell."""
    made = program(section, find_model("sketch"))
    going_on = explore(made)
    monkeypatch.setattr("spec.checker.steps.MOST_SUSPENDED", 0)
    anew = explore(made)
    assert (going_on.states, going_on.transitions) == (anew.states, anew.transitions)
    assert going_on.witnesses == anew.witnesses


@pytest.mark.parametrize("kept", [0, 4])
def test_equal_items_of_a_loop_that_yields_are_told_apart_by_going_on(
    kept, monkeypatch
):
    def twice(cells):
        for _ in (0, 0):
            yield
            cells.write("p.n", cells.read("p.n") + 1)

    monkeypatch.setattr("spec.checker.steps.MOST_SUSPENDED", kept)
    made = Program([{"p.n": 0}], {"twice": twice}, [StateProperty("few", few)])
    # begun anew, it stands before the first item for ever
    assert explore(made).holds == (kept > 0)


def few(cells):
    return cells.read("p.n") < 5


@pytest.mark.parametrize("model", ["sketch", "upstream"])
def test_guarded_commands_alone_give_the_same_counts(model):
    made = program(SMALL, find_model(model))
    exploration = Exploration(made)
    verdict = exploration.run()
    found = guarded_commands(exploration)
    assert explored(made, found) == (verdict.states, verdict.transitions)


# -- engines ---------------------------------------------------------------------------

ENGINES = ("numpy", "numba")


def found(verdict: Verdict) -> tuple:
    """All that engines have to agree on."""
    return (
        (verdict.states, verdict.transitions, verdict.depth, verdict.complete),
        verdict.violations,
        verdict.watched,
        verdict.witnesses,
    )


def by(engine: str, made: Program, **more) -> Verdict:
    return explore(made, options=Options(engine=engine, **more))


@pytest.mark.parametrize(
    "section", [RECLAIM[0], MIGRATION[6], KSM[4], MOVE[2], HUGE[2]]
)
def test_engines_agree_to_the_last_count(section):
    made = program(section, find_model("upstream"))
    assert found(by("numpy", made)) == found(by("numba", made))


@pytest.mark.parametrize("model", ["sketch", "always", "upstream"])
def test_engines_agree_on_small(model):
    verdicts = [
        check("small", model, options=Options(engine=engine)) for engine in ENGINES
    ]
    assert found(verdicts[0]) == found(verdicts[1])


@pytest.mark.parametrize(
    ("model", "without"),
    [
        ("sketch", "AE-FORK-2"),
        ("sketch", "AE-FORK-5"),
        ("sketch", "AE-CLR-3"),
        ("upstream", "AE-FAST-4"),
        ("mapcount", None),
    ],
)
def test_engines_agree_on_what_breaks(model, without):
    """The same traces, too: of several shortest ones all show the same."""
    made = program(SMALL, find_model(model), frozenset({without} - {None}))
    slow = search(made)
    for engine in ENGINES:
        verdict = by(engine, made)
        assert {(v.property, v.depth) for v in slow.violations} <= {
            (v.property, v.depth) for v in verdict.violations
        }
    assert found(by("numpy", made)) == found(by("numba", made))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_learned_is_used_and_changes_nothing(engine, tmp_path):
    made = program(SMALL, find_model("sketch"))
    first = by(engine, made, learned=tmp_path)
    again = by(engine, made, learned=tmp_path)
    assert first.evaluations > 0
    assert again.evaluations == 0
    assert found(first) == found(again)


def test_what_was_learned_shows_violations_again(tmp_path):
    made = program(SMALL, find_model("mapcount"), frozenset())
    first, again = (by("numpy", made, learned=tmp_path) for _ in range(2))
    assert first.violations == again.violations
    assert first.violations


def test_an_unreadable_file_of_what_was_learned_is_written_anew(tmp_path):
    made = program(SMALL, find_model("sketch"))
    file = tmp_path / f"{made.name}.pickle"
    file.write_bytes(b"\x80\x04 no pickle")
    assert by("numpy", made, learned=tmp_path).holds
    assert by("numpy", made, learned=tmp_path).evaluations == 0


def test_the_engine_may_change_between_levels(monkeypatch):
    from spec.checker import explore as engine

    monkeypatch.setattr(engine, "COMPILED_FROM", 100)
    monkeypatch.delitem(engine.sys.modules, "numba", raising=False)
    made = program(SMALL, find_model("sketch"))
    exploration = Exploration(made)
    assert found(exploration.run()) == found(by("numpy", made))


# -- memory and disk -------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("symmetry", [False, True])
def test_states_on_disk_count_as_in_memory(engine, symmetry):
    """With a budget that nothing fits into, each level goes to disk."""
    made = program(RECLAIM[0], find_model("sketch"))
    exploration = Exploration(
        made, options=Options(engine=engine, memory=1, symmetry=symmetry)
    )
    assert found(exploration.run()) == found(by(engine, made, symmetry=symmetry))
    assert exploration.levels.first == exploration.levels.last


@pytest.mark.parametrize("memory", [0, 1])
def test_a_trace_leads_through_levels_on_disk(memory, tmp_path):
    made = program(SMALL, find_model("mapcount"))
    kept = by("numpy", made, memory=memory, folder=tmp_path)
    assert kept.violations == by("numpy", made).violations


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("memory", [0, 1])
def test_an_interrupted_run_goes_on_from_its_last_level(engine, memory, tmp_path):
    made = program(RECLAIM[0], find_model("upstream"))
    options = Options(engine=engine, memory=memory, folder=tmp_path)

    def stop(progress):
        if progress.depth == 20:
            raise KeyboardInterrupt

    first = Exploration(made, stop, options=options).run()
    assert first.interrupted
    depths = []
    second = Exploration(made, lambda p: depths.append(p.depth), 0, options).run()
    assert depths[0] == 21
    assert found(second) == found(by(engine, made))
    third = explore(made, depths.clear, options=options)
    assert found(third) == found(second)


def test_a_level_that_was_cut_short_is_done_again(tmp_path):
    made = program(RECLAIM[0], find_model("upstream"))
    options = Options(engine="numpy", folder=tmp_path)
    exploration = Exploration(made, options=options)
    learn, count = exploration._learn, iter(range(40))

    def interrupted(misses):
        if next(count, None) is None:
            raise KeyboardInterrupt
        learn(misses)

    exploration._learn = interrupted
    assert exploration.run().interrupted
    assert found(explore(made, options=options)) == found(by("numpy", made))


# -- several at once -------------------------------------------------------------------


@pytest.mark.parametrize("model", ["sketch", "mapcount"])
def test_processes_give_the_same_verdict(model):
    alone, together = (
        check("small", model, options=Options(workers=workers)) for workers in (1, 2)
    )
    assert found(alone) == found(together)


def test_a_problem_in_a_process_is_raised():
    def broken():
        raise ValueError("no such program")

    with pytest.raises(ValueError, match="no such program"):
        explore_all([broken, broken], options=Options(workers=2))


def test_without_numpy_the_reference_search_answers():
    """With the counts that are pinned of the other engines."""
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from spec.bounds import check\n"
        "found = check('small', 'upstream')\n"
        "print(found.holds, found.states, found.transitions, found.depth)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pinned = json.loads((Path(__file__).parent / "counts.json").read_text())
    known = pinned["small"]["upstream"]
    counts = (known[name] for name in ("states", "transitions", "depth"))
    assert done.stdout.split() == ["True", *map(str, counts)], done.stderr


# -- random programs -------------------------------------------------------------------


def thread_of(steps):
    """A thread that takes these steps: cell, least value, what is added to what."""

    def thread(cells):
        yield
        for _step, (guard, least, target, added, maybe) in enumerate(steps):
            yield lambda guard=guard, least=least: cells.read(guard) >= least
            if maybe and not cells.choose("take", (True, False)):
                continue
            cells.write(target, (cells.read(target) + added) % 4)
            yield

    return thread


cells_of_random_programs = st.sampled_from("abc")
a_step = st.tuples(
    cells_of_random_programs,
    st.integers(0, 1),
    cells_of_random_programs,
    st.integers(1, 3),
    st.booleans(),
)
a_thread = st.lists(a_step, min_size=1, max_size=3)


DEADLOCK_FIRST = [
    [("a", 0, "b", 1, False), ("a", 0, "a", 1, True)],
    [("a", 0, "b", 1, True), ("a", 0, "b", 2, True), ("a", 0, "c", 1, False)],
    [("a", 1, "c", 3, False)],
]
"""A deadlock, and in the same level a state from which a step breaks something."""


@settings(max_examples=40, deadline=None)
@given(st.lists(a_thread, min_size=1, max_size=3), st.integers(1, 9))
@example(DEADLOCK_FIRST, 6)
def test_random_programs_are_explored_alike(threads, limit):
    made = Program(
        [{"a": 0, "b": 1, "c": 0}],
        {f"t{i}": thread_of(steps) for i, steps in enumerate(threads)},
        states=[StateProperty("sum", lambda c: c.read("a") + c.read("b") < limit)],
        steps=[
            StepProperty(
                "c falls only with b",
                lambda before, after, written: (
                    after.read("c") >= before.read("c") or before.read("b") > 0
                ),
                enforced=limit % 2 == 0,
            )
        ],
        witnesses={"a is three": lambda before, after, w: after.read("a") == 3},
    )
    slow, bulk, machine = search(made), by("numpy", made), by("numba", made)
    assert found(bulk) == found(machine) == found(by("numba", made, order=True))
    assert slow.holds == bulk.holds
    if slow.holds:
        assert found(slow) == found(bulk)
    else:
        depth = min(v.depth for v in slow.violations)
        assert depth == min(v.depth for v in bulk.violations)


@pytest.mark.parametrize("position", [10, 31, 32])
def test_states_whose_tags_are_equal_are_told_apart(position):
    """Of 32 bits `position` say where a row is; few others are left to differ in."""
    pytest.importorskip("numba")
    from spec.checker.archive import Archive
    from spec.checker.entering import enter
    from spec.checker.hash_table import BLOCK, EMPTY, fill
    from spec.checker.packing import Layout

    count = 500
    rows = np.zeros((2 * count, 2), np.uint32)
    rows[:count] = np.arange(2 * count, dtype=np.uint32).reshape(-1, 2)
    table = np.full(1100, EMPTY, np.uint32)
    fill(rows[:count], table, position, np.zeros(BLOCK + 1, np.uint64))
    offered = np.concatenate([rows[:count] + np.uint32(1), rows[::-1][count:]])
    ends = (
        np.concatenate([offered, offered]),
        np.zeros(4 * count + 1, np.uint64),
        np.zeros(4 * count, np.int32),
        np.zeros(4 * count, np.int32),
        np.zeros((2, 4 * count + 1), np.uint64),
    )
    asleep = (False, 0, np.zeros(1, np.uint8), 0, np.zeros(2 * count, np.uint8))
    archive = Archive(Layout(["a", "b"], [1 << 32, 1 << 32], 0), 1).arrays()
    size = enter(ends, 4 * count, rows, count, (table, position), archive, asleep)
    assert size == 2 * count
    assert len(np.unique(rows[:size], axis=0)) == 2 * count


@pytest.mark.parametrize("reserved", [1, 3])
@pytest.mark.parametrize("refused", [False, True])
def test_rows_stay_while_their_array_grows(reserved, refused, monkeypatch):
    """Whether there is space, there is none, or the system gives none in advance."""
    from spec.checker import growing

    def empty(shape, dtype, given=np.empty):
        if refused and shape[0] >= growing.LEAST:
            raise MemoryError
        return given(shape, dtype)

    monkeypatch.setattr(growing, "RESERVED", reserved)
    monkeypatch.setattr(growing, "LEAST", 1 << 40 if refused else 1)
    monkeypatch.setattr(growing.np, "empty", empty)
    rows = growing.Growing(np.uint32, 2)
    for count in range(1, 200):
        rows.resize(count)
        rows.rows[-1] = count, 2 * count
    assert rows.rows.tolist() == [[n, 2 * n] for n in range(1, 200)]


@pytest.mark.parametrize("slots", [1, 1 << 18])
def test_an_answer_is_kept_for_rows_that_agree_where_it_was_looked(slots, monkeypatch):
    """With a single slot only the key tells what is in it."""
    pytest.importorskip("numba")
    from spec.checker import memo as module
    from spec.checker.memo import Memo, recall, remember

    monkeypatch.setattr(module, "SLOTS", slots)
    memo = Memo(2)
    looked, _ = arrays = memo.arrays(3)

    def held(*row, question=1):
        return recall(np.array(row, np.uint32), question, arrays)[1]

    looked[1, 0] = 0xF
    assert not held(0, 0)
    remember(np.array([0x25, 7], np.uint32), 1, arrays)
    assert held(0x15, 8)
    assert not held(0x26, 7)
    assert not held(0x25, 7, question=2)
    # now that more decides, what was kept holds for rows that have none of it
    looked[1, 1] = 1
    assert held(0x15, 8)
    assert not held(0x15, 9)


@pytest.mark.parametrize(("slots", "lists"), [(1, 1 << 22), (1 << 18, 1 << 13)])
def test_what_is_forgotten_is_found_out_again(slots, lists, monkeypatch):
    from spec.checker import memo

    monkeypatch.setattr(memo, "SLOTS", slots)
    monkeypatch.setattr(memo, "LISTS", lists)
    for model, without in (("sketch", ()), ("mapcount", ()), ("sketch", ("AE-CLR-3",))):
        made = program(SMALL, find_model(model), frozenset(without))
        assert found(by("numba", made)) == found(by("numpy", made))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_few_states_show_is_not_taken_as_known_from_others(engine):
    """What breaks is met after a thousand states that agree with it on all but a bit.

    Each of the three looks at a cell only where another one allows it: what decides is
    not known from the first walks.
    """

    def count(cells):
        for _ in range(1000):
            yield
            cells.write("p.n", cells.read("p.n") + 1)
        yield
        cells.write("p.late", 1)
        yield
        cells.write("p.end", 1 if cells.read("p.n") == 1000 else 0)
        yield

    def wait(cells):
        yield
        if cells.read("p.late") and cells.read("p.end"):
            cells.write("p.seen", 1)
        yield

    def made(states=(), steps=()):
        start = {"p.n": 0, "p.late": 0, "p.end": 0, "p.seen": 0}
        return Program([start], {"count": count, "wait": wait}, states, steps)

    state = StateProperty("s", lambda c: not (c.read("p.late") and c.read("p.end")))
    step = StepProperty(
        "t",
        lambda before, after, written: (
            "p.end" not in written or not (before.read("p.late") and after.read("p.n"))
        ),
    )
    taken = StateProperty("w", lambda c: not c.read("p.seen"))
    for made_of in ({"states": [state]}, {"steps": [step]}, {"states": [taken]}):
        verdict = by(engine, made(**made_of))
        [violation] = verdict.violations
        assert violation.depth >= 1002


def test_small_bounds_do_not_wait_for_numba():
    program = "import sys; from spec.bounds import check; check('small', 'sketch'); "
    told = "print('numpy' in sys.modules, 'numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program + told], capture_output=True, check=True
    )
    assert done.stdout.split() == [b"True", b"False"]


def test_the_compiled_engine_is_made_ready():
    """As make does when it installs: what is compiled is found by the next process."""
    from spec.checker import compiled, warm

    warm.main()
    assert all(f.signatures for f in (compiled.check, compiled.expand))


def test_what_was_half_learned_is_not_kept(tmp_path, monkeypatch):
    made = program(SMALL, find_model("sketch"))
    exploration = Exploration(made, options=Options("numpy", learned=tmp_path))
    learn, count = exploration.knowledge.tabulation._command, iter(range(50))

    def interrupted(*arguments):
        number = learn(*arguments)
        if next(count, None) is None:
            raise KeyboardInterrupt
        return number

    monkeypatch.setattr(exploration.knowledge.tabulation, "_command", interrupted)
    assert exploration.run().interrupted
    assert not list(tmp_path.iterdir())
