"""Recorded ablations: what takes too long for every build, kept with the sources.

A record says when it was made, of which code, and how far the search went. Runs are
kept as schedules and replayed on the present operations by tests and pages, so that a
record that no longer fits is refused and never shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from spec.checker.replay import Move
from spec.codename import PROVES, SOURCES, fingerprint
from spec.publish.recorded import today
from spec.removals import Pair, Place, Row, Run, Search

FOLDER = SOURCES / "records"
ROWS = FOLDER / "ablation.json"
PAIRS = FOLDER / "pairs.json"


@dataclass(frozen=True)
class Recorded[T]:
    """One result, and of what it is one.

    Attributes:
        made: the day.
        code: the fingerprint of operations, rules and bounds.
        beyond: explorations with a violation went on until so many states.
        found: the result.
    """

    made: str
    code: str
    beyond: int
    found: T

    @property
    def current(self) -> bool:
        """Whether the code is still the one that was explored."""
        return self.code == code_now()


@cache
def code_now() -> str:
    """The fingerprint of operations, rules and bounds; whatever explores them."""
    return fingerprint(besides=["litmus", "checker", *PROVES], python="")


# -- what stands in a file -------------------------------------------------------------


def _place(text: str) -> Place:
    bounds, _, number = text.rpartition(" ")
    return Place(bounds, int(number))


def _run_dict(run: Run) -> dict[str, Any]:
    moves = [[move.thread, *move.answers] for move in run.schedule]
    return {"place": str(run.place), "start": run.start, "moves": moves}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _run(found: Mapping[str, Any]) -> Run:
    moves = tuple(Move(thread, _tuples(more)) for thread, *more in found["moves"])
    return Run(_place(found["place"]), found["start"], moves)


def _search_list(done: Search) -> list[Any]:
    effect = dict(done.took_effect)
    return [str(done.place), done.states, done.depth, done.complete, effect]


def _search(found: list[Any]) -> Search:
    place, states, depth, complete, effect = found
    return Search(_place(place), states, depth, complete, effect)


def _common(found: Row | Pair) -> dict[str, Any]:
    return {
        "model": found.model,
        "searched": [_search_list(done) for done in found.searched],
        "breaks": {id: _run_dict(run) for id, run in found.breaks.items()},
    }


def _searched(found: Mapping[str, Any]) -> tuple[Search, ...]:
    return tuple(_search(each) for each in found["searched"])


def _breaks(found: Mapping[str, Any]) -> dict[str, Run]:
    return {id: _run(each) for id, each in found["breaks"].items()}


def _row(found: Mapping[str, Any]) -> Row:
    return Row(
        rule=found["rule"],
        model=found["model"],
        searched=_searched(found),
        breaks=_breaks(found),
        effect=_run(found["effect"]) if found["effect"] else None,
    )


def _pair(found: Mapping[str, Any]) -> Pair:
    one, other = found["rules"]
    return Pair(
        rules=(one, other),
        model=found["model"],
        searched=_searched(found),
        breaks=_breaks(found),
        alone={
            id: tuple(_search(each) for each in searches)
            for id, searches in found["alone"].items()
        },
    )


# -- files -----------------------------------------------------------------------------


def row_entry(row: Row, beyond: int) -> dict[str, Any]:
    """What is recorded of a row."""
    effect = _run_dict(row.effect) if row.effect else None
    return {"rule": row.rule, **_head(beyond), **_common(row), "effect": effect}


def pair_entry(pair: Pair, beyond: int) -> dict[str, Any]:
    """What is recorded of a pair."""
    alone = {
        id: [_search_list(done) for done in found] for id, found in pair.alone.items()
    }
    common = _common(pair)
    return {"rules": list(pair.rules), **_head(beyond), **common, "alone": alone}


def _head(beyond: int) -> dict[str, Any]:
    return {"made": today(), "code": code_now(), "beyond": beyond}


def write(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Record entries, one a line, in place of those on the same rules."""
    kept = {_name(entry): entry for entry in read(path)}
    kept |= {_name(entry): dict(entry) for entry in entries}
    write_lines(path, kept.values())


def write_lines(path: Path, entries: Iterable[Any]) -> None:
    """Write a list with one entry a line, so that a diff shows which have changed."""
    lines = ",\n".join(map(json.dumps, entries))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def forget_others(path: Path) -> None:
    """Drop what was found with other code: a search of all has not met it again."""
    write_lines(path, [each for each in read(path) if each["code"] == code_now()])


def read(path: Path) -> list[dict[str, Any]]:
    """All entries of a file; none if it is not there."""
    if not path.exists():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _name(entry: Mapping[str, Any]) -> str:
    return entry["rule"] if "rule" in entry else " ".join(entry["rules"])


def rows(path: Path = ROWS) -> dict[str, Recorded[Row]]:
    """The recorded removals of single rules, by id."""
    return {entry["rule"]: _recorded(entry, _row(entry)) for entry in read(path)}


def pairs(path: Path = PAIRS) -> list[Recorded[Pair]]:
    """The recorded removals of two rules."""
    return [_recorded(entry, _pair(entry)) for entry in read(path)]


def _recorded[T](entry: Mapping[str, Any], found: T) -> Recorded[T]:
    return Recorded(entry["made"], entry["code"], entry["beyond"], found)
