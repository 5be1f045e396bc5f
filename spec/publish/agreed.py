"""How many states the abstraction of the proof was evaluated on, as recorded.

``python -m spec.publish.agreed BOUNDS...`` records it; `standard` takes half an hour.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spec.prover.abstraction import Agreement, agreement
from spec.prover.proving import NORMATIVE
from spec.publish import records
from spec.publish.recorded import today
from spec.publish.refuted import code_now
from spec.publish.verdicts import SOURCES
from spec.releases import find_model

RECORD = SOURCES / "records" / "agreement.json"


def read(path: Path = RECORD) -> list[dict[str, Any]]:
    """What is recorded, by bounds: the agreement, the day and the code."""
    return records.read(path)


def write(found: Agreement, path: Path = RECORD) -> None:
    """Record one agreement in place of that of the same bounds."""
    entry = {**asdict(found), "made": today(), "code": code_now()}
    kept = [each for each in read(path) if each["bounds"] != found.bounds]
    records.write_lines(path, [*kept, entry])


def main(bounds: list[str]) -> None:
    """Evaluate the abstraction on all states of some bounds."""
    for name in bounds:
        found = agreement(name, find_model(NORMATIVE))
        write(found)
        print(f"{name}: {found.states:,} states, {found.disagrees or 'all agree'}")


if __name__ == "__main__":
    main(sys.argv[1:])
