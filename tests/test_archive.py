"""States of levels that have gone: known exactly, and in few bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.bounds import BOUNDS, find_model, program
from spec.checker import explore as module
from spec.checker.explore import Exploration, explore
from spec.checker.packing import Layout
from spec.checker.program import Options, Program, Verdict

pytest.importorskip("numba")
from spec.checker import archive as archives
from spec.checker import buckets
from spec.checker.archive import Archive, best_cut, leave_out

COMPILED = Options(engine="numba")


def layout(*counts: int) -> Layout:
    """Of cells with so many values, a word each if there are many."""
    return Layout([f"p{i}.n" for i in range(len(counts))], counts, 0)


def made(rows: np.ndarray, cut: int = 1) -> Archive:
    archive = Archive(layout(*[1 << 32] * rows.shape[1]), cut)
    archive.add(rows)
    return archive


def unknown(archive: Archive, rows: np.ndarray) -> list[int]:
    """Which of the rows the archive does not have."""
    chosen = np.arange(len(rows), dtype=np.int32)
    room = np.empty((2, len(rows) + 1), np.uint64)
    kept = leave_out(rows, chosen, len(rows), archive.arrays(), room)
    return chosen[:kept].tolist()


def states(archive: Archive) -> np.ndarray:
    """All states of an archive, as rows."""
    pairs = np.hstack(list(archive.pairs())).astype(np.int64)
    halves = zip(archive.parts, pairs, strict=True)
    return in_order(np.hstack([part.rows[numbers] for part, numbers in halves]))


def in_order(rows: np.ndarray) -> np.ndarray:
    return np.unique(rows, axis=0)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 3) | st.integers(0, 1 << 31)] * 3), max_size=80
    ),
    st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=40),
    st.integers(1, 2),
)
def test_it_has_what_was_added_and_no_more(added, asked, cut):
    rows = in_order(np.array([*added, (1, 2, 3)], np.uint32))
    archive = made(rows, cut)
    known = {tuple(row) for row in rows.tolist()}
    offered = np.array([*asked, (1, 2, 3)], np.uint32)
    expected = [i for i, row in enumerate(offered.tolist()) if tuple(row) not in known]
    assert unknown(archive, offered) == expected
    assert unknown(archive, rows) == []
    assert np.array_equal(states(archive), rows)


@pytest.mark.parametrize(("at_once", "full"), [(1000, 0.9), (1 << 16, 0.99)])
def test_it_grows(at_once, full, monkeypatch):
    """More states than a first table has room for, and more parts than bits tell."""
    monkeypatch.setattr(archives, "AT_ONCE", at_once)
    monkeypatch.setattr(archives, "FULL", full)
    count = 700_000
    half = np.arange(count, dtype=np.uint32)
    rows = np.column_stack([half * np.uint32(2654435761), half % 9, half // 3])
    archive = made(rows)
    assert archive.size == count
    assert sum(archive.widths) > 32
    assert archive.buckets > buckets.FEWEST
    assert unknown(archive, rows) == []
    others = rows + np.array([0, 0, 1], np.uint32)
    assert unknown(archive, others) == list(range(count))
    assert np.array_equal(states(archive), in_order(rows))


def test_the_same_number_of_parts_leaves_an_entry_for_each_state():
    """Of a product of parts nearly all that is kept are the entries."""
    one, other = np.meshgrid(*[np.arange(1500, dtype=np.uint32)] * 2)
    archive = made(np.column_stack([one.ravel(), other.ravel()]))
    assert archive.size == 1500**2
    assert archive.memory / archive.size < 4 / archives.FULL * archives.GROWTH + 1


@settings(deadline=None)
@given(st.integers(32, 62), st.integers(0, (1 << 62) - 1))
def test_scrambling_loses_nothing(bits, number):
    number %= 1 << bits
    with np.errstate(over="ignore"):
        mixed = buckets.scramble.py_func(np.uint64(number), bits)
        assert 0 <= int(mixed) < 1 << bits
        assert buckets.unscramble.py_func(mixed, bits) == number


COUNTS = (1 << 15, 1 << 12, 1 << 14, 1 << 9, 3, 1)
GROWN = [
    (1 << 15, 1 << 14, 1 << 14, 1 << 9, 3, 1),
    (1 << 15, 1 << 12, 1 << 14, 1 << 9, 3, 2),
    (1 << 18, 1 << 12, 1 << 14, 1 << 9, 3, 9),
    (1 << 18, 1 << 18, 1 << 14, 1 << 19, 9, 1),
]
"""The first word is nearly full, and may become two."""


@pytest.mark.parametrize("counts", GROWN)
def test_another_layout_holds_the_same_states(counts):
    old = layout(*COUNTS)
    new = old.grown(counts, 1)
    assert old.words == 2
    assert ((new.word < new.cut) == (old.word < 1))[:5].all()
    codes = np.random.default_rng(1).integers(0, COUNTS, (5000, len(COUNTS)))
    rows = in_order(np.array([old.row(each) for each in codes.tolist()], np.uint32))
    archive = Archive(old, 1)
    archive.add(rows[:4000])
    archive.repack(new)
    moved = new.repack(rows, old)
    assert np.array_equal(states(archive), in_order(moved[:4000]))
    assert unknown(archive, moved) == list(range(4000, len(rows)))
    archive.add(moved[4000:])
    assert np.array_equal(states(archive), in_order(moved))


def test_rows_are_cut_where_few_parts_repeat():
    rows = np.zeros((400, 3), np.uint32)
    rows[:, 0] = np.arange(400) // 20
    rows[:, 1] = np.arange(400) % 20
    rows[:, 2] = rows[:, 1] + 7
    assert best_cut(rows) == 1
    assert best_cut(rows[:, ::-1]) == 2


# -- explorations ----------------------------------------------------------------------


@pytest.fixture
def archiving(monkeypatch):
    """Archive from the first level on, though few states have a part in common."""
    monkeypatch.setattr(module, "ARCHIVE_FROM", 1)
    monkeypatch.setattr(Archive, "pays", True)


def section(name: str, number: int, *without: str) -> Program:
    made = BOUNDS[name].sections[number]
    return program(made, find_model("sketch"), frozenset(without))


def found(verdict: Verdict) -> tuple[object, ...]:
    """All but the time it took."""
    return (
        *(verdict.states, verdict.transitions, verdict.depth, verdict.complete),
        *(verdict.violations, verdict.watched, verdict.witnesses),
    )


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("symmetry", [False, True])
def test_an_archive_changes_no_count(number, order, symmetry, archiving):
    options = Options(engine="numba", order=order, symmetry=symmetry)
    exploration = Exploration(section("small", number), options=options)
    verdict = exploration.run()
    assert exploration.levels.archived
    kept = explore(
        section("small", number),
        options=Options(engine="numba", order=order, symmetry=symmetry, levels=True),
    )
    assert found(verdict) == found(kept)


@pytest.mark.parametrize("without", ["AE-FORK-2", "AE-COW-2", "AE-CLR-1"])
def test_violations_are_shown_with_their_traces(without, archiving):
    broken = section("small", 1, without)
    exploration = Exploration(broken, options=COMPILED)
    verdict = exploration.run()
    assert verdict.violations
    assert exploration.options.levels
    kept = explore(broken, options=Options(engine="numba", levels=True))
    assert found(verdict) == found(kept)


def test_a_layout_that_changes_changes_the_archive(archiving):
    """A counter takes a new value on each level, and so ever more bits."""
    copies = [f"p{i}.n" for i in range(4)]
    chosen = [f"q{i}.n" for i in range(3)]

    def count(cells):
        yield
        while (now := cells.read(copies[0])) < 140:
            for key in copies:
                cells.write(key, now + 1)
            yield

    def choose(cells):
        yield
        for key in chosen:
            cells.write(key, cells.choose("which", range(9)))
            yield

    initial = dict.fromkeys([*copies, *chosen], 0)
    counting = Program([initial], {"count": count, "choose": choose})
    exploration = Exploration(counting, options=COMPILED)
    verdict = exploration.run()
    assert exploration.levels.archived
    assert exploration.levels.layouts > 2
    assert found(verdict) == found(explore(counting, options=Options(levels=True)))
    assert verdict.states > 140 * 9**3


def test_rows_that_have_no_parts_in_common_stay_rows(monkeypatch):
    """Counters that go up together: each part is of one state."""
    monkeypatch.setattr(module, "ARCHIVE_FROM", 100)
    keys = [f"p{i}.n" for i in range(40)]
    values = dict.fromkeys(keys, 0)

    def together(cells):
        yield
        while (now := cells.read(keys[0])) < 300:
            for key in keys:
                cells.write(key, now + 1)
            yield

    exploration = Exploration(Program([values], {"t": together}), options=COMPILED)
    assert exploration.run().states == 302
    assert not exploration.levels.archived
    assert exploration.engine.tried


def test_rows_of_one_word_stay_rows(monkeypatch):
    monkeypatch.setattr(module, "ARCHIVE_FROM", 1)

    def step(cells):
        yield
        cells.write("p.n", 1)
        yield

    exploration = Exploration(Program([{"p.n": 0}], {"step": step}), options=COMPILED)
    assert exploration.run().states == 3
    assert not exploration.levels.archived


def test_without_archived_states_the_counts_would_be_others(archiving, monkeypatch):
    """An archive that knows nothing lets states of earlier levels be new again."""
    monkeypatch.setattr(archives.Archive, "add", lambda archive, rows: None)
    exploration = Exploration(section("small", 1), options=COMPILED)
    seen = []

    def stop(progress):
        seen.append(progress.states)
        if progress.states > 20_000:
            raise KeyboardInterrupt

    exploration.report = stop
    exploration.run()
    kept = Options(engine="numba", levels=True)
    assert max(seen) > explore(section("small", 1), options=kept).states
