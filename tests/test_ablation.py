"""What was recorded of removed rules fits the operations as they are now."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from spec.bounds import find_model, program
from spec.cells import SpecificationError
from spec.checker.explore import explore
from spec.checker.replay import Diverged, Move, Player, moves, replay
from spec.cli import main
from spec.publish import ablations, contrasts, records, traces
from spec.removals import (
    SECTIONS_OF_A_PAIR,
    Place,
    duties,
    judging,
    near_miss,
    needs_both,
    play,
    search,
    silent,
    whole,
)

ROWS = {id: each.found for id, each in records.rows().items()}
PAIRS = [each.found for each in records.pairs()]
JOINT = [(pair, id) for pair in PAIRS for id in pair.breaks]
CHEAP = 500
"""Sections with so few states are explored again."""


def joint_name(value):
    return "+".join([*value[0].rules, value[1]])


# -- replaying -------------------------------------------------------------------------


def test_a_replayed_trace_is_the_one_that_was_found():
    made = program(Place("small", 2).section, find_model("mapcount"))
    found = explore(made).violations[0]
    trace, broken = replay(made, found.trace.initial, moves(found.trace))
    assert found.property in broken
    *before, last = found.trace.steps
    assert trace.steps == (*before, replace(last, broken=trace.steps[-1].broken))


def test_a_deadlock_is_seen_when_it_is_replayed():
    row = next(row for row in ROWS.values() if "deadlock" in row.breaks)
    run = row.breaks["deadlock"]
    assert play(run, row.model, [row.rule], "deadlock").depth == run.depth


@pytest.mark.parametrize(
    ("move", "says"),
    [
        (Move("cpu0", (("fork", "B", "A"),)), "cannot choose"),
        (Move("cpu0", (("fork", "A", "B"), True)), "is not asked for True"),
    ],
)
def test_a_move_that_the_program_does_not_know_is_refused(move, says):
    made = program(Place("small", 2).section, find_model("sketch"))
    with pytest.raises(Diverged, match=says):
        replay(made, made.initial[0], [move])


def test_a_move_that_has_to_wait_is_refused():
    made = program(Place("small", 2).section, find_model("sketch"))
    player = Player(made, made.initial[0])
    player.take(Move("cpu0", (("fork", "A", "B"),)))
    with pytest.raises(Diverged, match="cpu1 has to wait here"):
        player.take(Move("cpu1", (("gup rw pin", "A", "s"),)))


# -- the matrix ------------------------------------------------------------------------


def test_each_duty_is_recorded():
    assert sorted(ROWS) == sorted(rule.id for rule in duties())


@pytest.mark.parametrize("id", list(ROWS))
def test_each_cell_of_the_matrix_replays(id):
    row = ROWS[id]
    assert row.breaks
    for property, run in row.breaks.items():
        found = play(run, row.model, [id], property)
        assert found.depth == run.depth
        assert any(s.place == run.place for s in row.searched)


CHEAPEST = [
    (id, done)
    for id, row in ROWS.items()
    for done in row.searched
    if done.complete and done.states < CHEAP
]


@pytest.mark.parametrize(("id", "done"), CHEAPEST[::3], ids=str)
def test_a_section_that_was_explored_gives_the_same_again(id, done):
    row = ROWS[id]
    again, found = search(done.place, row.model, [id], 30 * CHEAP, silent)
    assert again == done
    for property, run in found.items():
        assert row.breaks[property].depth <= run.depth


def test_a_section_is_searched_only_if_an_operation_asks_for_the_rule():
    known = whole(Place("small", 2), "sketch")
    assert known.asks_for("AE-FORK-5")
    assert known.asks_for("AE-FORK-5", "AE-FORK-6")
    assert not known.asks_for("AE-FORK-5", "AE-GUP-1")
    assert not known.asks_for("AE-MIGR-1")


def test_an_interrupt_ends_a_search():
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(Place("small", 2), "sketch", ["AE-FORK-5"], 9, interrupt)


def test_a_record_that_does_not_fit_is_refused():
    row = ROWS["AE-FORK-2"]
    run = row.breaks["AE-INV-1"]
    shorter = replace(run, schedule=run.schedule[:-1])
    with pytest.raises(SpecificationError, match="record the ablations anew"):
        play(shorter, row.model, [row.rule], "AE-INV-1")
    with pytest.raises(SpecificationError, match="record the ablations anew"):
        play(run, row.model, [row.rule], "AE-INV-11")
    with pytest.raises(SpecificationError):
        play(run, row.model, ["AE-FORK-5"], "AE-INV-1")


def test_what_a_search_of_all_did_not_meet_again_is_dropped(tmp_path):
    path = tmp_path / "pairs.json"
    old = {"rules": ["AE-COW-1", "AE-COW-2"], "code": "another"}
    now = {"rules": ["AE-COW-1", "AE-COW-4"], "code": records.code_now()}
    records.write(path, [old, now])
    records.forget_others(path)
    assert records.read(path) == [now]


def test_entries_are_replaced_rule_by_rule(tmp_path):
    path = tmp_path / "ablation.json"
    rows = list(ROWS.values())[:2]
    records.write(path, [records.row_entry(row, 1) for row in rows])
    records.write(path, [records.row_entry(rows[0], 2)])
    again = records.rows(path)
    assert [each.beyond for each in again.values()] == [2, 1]
    assert [each.found for each in again.values()] == rows
    assert all(each.current for each in again.values())


# -- pairs -----------------------------------------------------------------------------


@pytest.mark.parametrize("joint", JOINT, ids=joint_name)
def test_a_pair_breaks_together_what_neither_rule_alone_breaks(joint):
    pair, property = joint
    run = pair.breaks[property]
    play(run, pair.model, pair.rules, property)
    assert needs_both(run, pair.model, pair.rules, property)
    for id in pair.rules:
        assert ROWS[id].model == pair.model
        done = next(each for each in pair.alone[id] if each.place == run.place)
        assert done.covers(run.depth)


SMALLEST = sorted(JOINT, key=lambda joint: joint[0].breaks[joint[1]].depth)[:2]


@pytest.mark.parametrize("joint", SMALLEST, ids=joint_name)
def test_one_rule_of_a_pair_alone_does_not_break_it(joint):
    pair, property = joint
    run = pair.breaks[property]
    for id in pair.rules:
        done = next(each for each in pair.alone[id] if each.place == run.place)
        again, found = search(run.place, pair.model, [id], done.states + 1, silent)
        assert again.covers(run.depth)
        assert property not in found


def test_a_pair_is_searched_where_each_rule_was_removed_alone():
    for pair in PAIRS:
        assert 0 < len(pair.searched) <= SECTIONS_OF_A_PAIR
        for id in pair.rules:
            alone = {done.place for done in ROWS[id].searched}
            assert alone.issuperset(done.place for done in pair.searched)


# -- near misses -----------------------------------------------------------------------


@pytest.mark.parametrize("id", [id for id, row in ROWS.items() if row.effect])
def test_a_near_miss_differs_by_its_rule_alone(id):
    row = ROWS[id]
    found = near_miss(row)
    sound = program(found.place.section, find_model(found.model))
    obeys = Player(sound, found.before.initial)
    breaks = Player(judging(found.place, found.model, id), found.before.initial)
    for move in moves(found.before):
        assert obeys.take(move).broken == ()
        breaks.take(move)
    assert (obeys.state, obeys.stands()) == (breaks.state, breaks.stands())
    first = found.breaking.steps[0]
    if found.obeying.steps:
        step = obeys.take(moves(found.obeying)[0])
        assert step == found.obeying.steps[0]
        breaks.take(moves(found.breaking)[0])
        assert (step.writes, obeys.stands()) != (first.writes, breaks.stands())
    assert all(step.broken == () for step in found.obeying.steps)
    assert id in found.breaking.steps[-1].broken


@pytest.mark.parametrize("id", [id for id, row in ROWS.items() if row.effect])
def test_a_near_miss_as_text_fits_an_email(id):
    text = contrasts.contrast_text(near_miss(ROWS[id]))
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= traces.WIDTH
    assert f"With {id}" in text
    assert f"Without {id}" in text


def test_every_rule_is_seen_to_take_effect():
    assert [id for id, row in ROWS.items() if row.effect is None] == []


# -- the command line ------------------------------------------------------------------


def call(*words: str):
    return CliRunner().invoke(main, ["ablate", *words])


def test_all_guarantees_are_told_for_machines():
    found = json.loads(call("AE-FORK-5", "--json").stdout)[0]
    row = ROWS["AE-FORK-5"]
    assert set(found["guarantees"]) == set(ablations.guarantees([row]))
    assert found["guarantees"]["AE-INV-1"] == row.breaks["AE-INV-1"].depth


def test_an_exploration_goes_on_past_a_violation():
    result = call("AE-ORD-7", "--beyond", "100", "--json")
    found = json.loads(result.stdout)[0]
    assert result.exit_code == 0
    assert any(isinstance(depth, int) for depth in found["guarantees"].values())


def test_pairs_that_were_recorded_are_listed():
    found = json.loads(call("--pairs", "--json").stdout)
    assert found["searched"] == len(PAIRS)
    assert len(found["pairs"]) == sum(bool(pair.breaks) for pair in PAIRS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--record"], "--record needs --beyond N"),
        (["AE-COW-3", "--beyond", "9"], "permissions are not removed"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(words, says):
    result = call(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
