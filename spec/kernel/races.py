"""Recorded races: what a kernel showed on some day, kept with the sources.

What is allowed is not recorded; it is worked out anew from the present model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spec.decisions import Model
from spec.kernel.observe import Machine
from spec.kernel.race import Race, Values, allowed
from spec.litmus.program import Test
from spec.publish.verdicts import SOURCES

FILE = SOURCES / "records" / "races.json"


@dataclass(frozen=True)
class RecordedRace:
    """What was seen of one race.

    Attributes:
        test: its name.
        operations: its lines as they were carried out.
        names: what was looked at.
        seen: how often each outcome was seen.
    """

    test: str
    operations: tuple[str, ...]
    names: tuple[str, ...]
    seen: dict[Values, int]

    def fits(self, test: Test) -> bool:
        """Whether `test` is still what was carried out."""
        return self.operations == operations(test)

    def judged(self, test: Test, model: Model) -> Race:
        """Beside what `model` allows now."""
        return Race(self.test, model.name, self.names, self.seen, allowed(test, model))


@dataclass(frozen=True)
class Record:
    """All races that were run.

    Attributes:
        machine: the kernel and the day.
        model: the name of the model of that kernel.
        command: what made the record.
        races: by test.
    """

    machine: Machine
    model: str
    command: str
    races: dict[str, RecordedRace]


def operations(test: Test) -> tuple[str, ...]:
    """The lines of a test."""
    return tuple(map(str, test.lines))


def write(
    found: Iterable[tuple[Test, Race]], machine: Machine, runs: int, path: Path = FILE
) -> Path:
    """Keep races, in place of those that were kept before."""
    rows, models = [], set()
    for test, race in found:
        models.add(race.model)
        row = {
            "test": race.test,
            "operations": operations(test),
            "names": race.names,
            "seen": [[*values, times] for values, times in race.seen.items()],
        }
        rows.append(json.dumps(row))
    [model] = models
    command = f"anon-exclusive kernel race --model {model} --runs {runs} --record"
    head = {**asdict(machine), "model": model, "command": command}
    body = ",\n".join(rows)
    path.write_text(
        f'{{"made": {json.dumps(head)},\n"races": [\n{body}\n]}}\n', encoding="utf-8"
    )
    return path


def read(path: Path = FILE) -> Record:
    """The recorded races."""
    found = json.loads(path.read_text(encoding="utf-8"))
    made = found["made"]
    machine = Machine(made["release"], made["architecture"], made["date"])
    races = {row["test"]: _race(row) for row in found["races"]}
    return Record(machine, made["model"], made["command"], races)


def _race(row: dict[str, Any]) -> RecordedRace:
    seen = {tuple(values): times for *values, times in row["seen"]}
    names, lines = tuple(row["names"]), tuple(row["operations"])
    return RecordedRace(row["test"], lines, names, seen)
