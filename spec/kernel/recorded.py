"""Observations that are kept with the sources: what a kernel showed on some day.

An observation does not depend on any model. It belongs to the operations that were
carried out, which stand beside it; conditions and comments of a test may change.
A record holds one kernel, one observation a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spec.decisions import Model
from spec.history import parse as numbers
from spec.kernel.observe import Held, Machine, Mapped, Observation, Run, place
from spec.kernel.versions import model_of, release_of
from spec.litmus.parser import parse
from spec.litmus.program import DEFAULT_ADDRESS, Test
from spec.publish.verdicts import SOURCES

FOLDER = SOURCES / "records" / "kernels"
BITS = {"E": True, ".": False, "?": None}
PAGE = re.compile(r"p(\d+) ([E.?]) (\d+)( huge)?")
HELD = re.compile(r"(p(\d+)|\w+) = (\d+|\?)")
PLACE = re.compile(r"(\w+)(?: at (\w+))?")


@dataclass(frozen=True)
class Shown:
    """What a kernel showed of one test.

    Attributes:
        test: its name.
        operations: its lines, as they were carried out.
        run: what was seen; ``None`` if it could not be carried out.
        why: the reason for that.
    """

    test: str
    operations: tuple[str, ...]
    run: Run | None
    why: str = ""

    def program(self) -> Test:
        """The test as it was carried out, without conditions."""
        return parse("\n".join([f"litmus {self.test}", *self.operations]) + "\n")

    def fits(self, test: Test) -> bool:
        """Whether `test` is still what was carried out."""
        return self.operations == operations(test)


@dataclass(frozen=True)
class Record:
    """One kernel and what it showed.

    Attributes:
        name: its version without the point release, for instance ``6.12``.
        machine: its release and the day.
        origin: where it came from.
        command: what made the record.
        shown: by test.
    """

    name: str
    machine: Machine
    origin: str
    command: str
    shown: Mapping[str, Shown]

    @property
    def release(self) -> str:
        """The release whose model this kernel is compared with."""
        return release_of(self.machine.release)

    @property
    def model(self) -> Model:
        """That model."""
        return model_of(self.machine.release)


def operations(test: Test) -> tuple[str, ...]:
    """The lines of a test."""
    return tuple(map(str, test.lines))


# -- one observation as JSON -----------------------------------------------------------


def run_json(run: Run) -> dict[str, Any]:
    """An observation, short but readable."""
    return {
        "lines": [None if line is None else _line_json(line) for line in run.lines],
        "final": {place(*at): value for at, value in run.final},
    }


def run_from(found: Mapping[str, Any]) -> Run:
    """The observation that `run_json` made."""
    lines = [None if line is None else _line(line) for line in found["lines"]]
    final = tuple((_place(name), value) for name, value in found["final"].items())
    return Run(tuple(lines), final)


def _line_json(line: Observation) -> dict[str, Any]:
    facts = {place(*at): str(mapped) for at, mapped in line.mapped}
    held = {name: str(each) for name, each in line.held}
    outcome = {} if line.outcome == "succeeds" else {"call": line.outcome}
    return {**outcome, "mapped": facts, **({"held": held} if held else {})}


def _line(found: Mapping[str, Any]) -> Observation:
    outcome = found.get("call", "")
    read = re.fullmatch(r"reads (\d+)", outcome)
    return Observation(
        answer=int(read[1]) if read else None,
        failed=outcome == "fails",
        mapped=tuple((_place(at), _mapped(is_)) for at, is_ in found["mapped"].items()),
        held=tuple((name, _held(is_)) for name, is_ in found.get("held", {}).items()),
    )


def _place(text: str) -> tuple[str, str]:
    found = PLACE.fullmatch(text)
    assert found
    return found[1], found[2] or DEFAULT_ADDRESS


def _mapped(text: str) -> Mapped:
    found = PAGE.fullmatch(text)
    if not found:
        return Mapped("none" if text == "-" else text)
    page, bit, mapcount, huge = found.groups()
    return Mapped("page", int(page), BITS[bit], int(mapcount), bool(huge))


def _held(text: str) -> Held:
    found = HELD.fullmatch(text)
    assert found
    kind = "page" if found[2] else found[1]
    value = None if found[3] == "?" else int(found[3])
    return Held(kind, int(found[2] or 0), value)


# -- files -----------------------------------------------------------------------------


def write(record: Record, folder: Path = FOLDER) -> Path:
    """Keep a record, in place of what that kernel showed before."""
    rows = [json.dumps(_shown_json(shown)) for shown in record.shown.values()]
    head = {
        "kernel": record.name,
        **asdict(record.machine),
        "origin": record.origin,
        "command": record.command,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.name}.json"
    body = ",\n".join(rows)
    path.write_text(
        f'{{"made": {json.dumps(head)},\n"shown": [\n{body}\n]}}\n', encoding="utf-8"
    )
    return path


def read(path: Path) -> Record:
    """A record from a file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    made = found["made"]
    machine = Machine(made["release"], made["architecture"], made["date"])
    shown = {row["test"]: _shown(row) for row in found["shown"]}
    return Record(made["kernel"], machine, made["origin"], made["command"], shown)


def records(folder: Path = FOLDER) -> list[Record]:
    """All records, the oldest kernel first."""
    found = [read(path) for path in folder.glob("*.json")]
    return sorted(found, key=lambda record: numbers(record.release))


def _shown_json(shown: Shown) -> dict[str, Any]:
    head = {"test": shown.test, "operations": shown.operations}
    return head | ({"why": shown.why} if shown.run is None else run_json(shown.run))


def _shown(row: Mapping[str, Any]) -> Shown:
    run = None if "why" in row else run_from(row)
    return Shown(row["test"], tuple(row["operations"]), run, row.get("why", ""))


def kept(shown: Iterable[Shown]) -> dict[str, Shown]:
    """By test."""
    return {each.test: each for each in shown}
