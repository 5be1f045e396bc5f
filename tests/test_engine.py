"""The fast engine: what it gives to others, and that its variants agree."""

from __future__ import annotations

from collections import deque

import pytest

from spec.bounds import BOUNDS, find_model, program
from spec.checker.commands import CommandSet, guarded_commands
from spec.checker.explore import Exploration
from spec.checker.program import Program

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


@pytest.mark.parametrize("model", ["sketch", "upstream"])
def test_guarded_commands_alone_give_the_same_counts(model):
    made = program(SMALL, find_model(model))
    exploration = Exploration(made)
    verdict = exploration.run()
    found = guarded_commands(exploration)
    assert explored(made, found) == (verdict.states, verdict.transitions)
