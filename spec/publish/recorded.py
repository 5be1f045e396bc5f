"""Results that a build takes as recorded while they are of its code: others take long.

``python -m spec.publish.recorded`` records them. A result is used only as long as the
code that decides is the one that it was computed with; then it says the day. A build of
other code computes it, and a test fails until it is recorded anew.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spec.publish.verdicts import Store

RESULTS = Path(__file__).resolve().parents[1] / "records" / "results"


@dataclass(frozen=True)
class Recorded:
    """A result that was computed before.

    Attributes:
        made: the day.
        cores: how many worked.
        code: the fingerprint of what decides.
        result: as it was encoded.
    """

    made: str
    cores: int
    code: str
    result: Any


def today() -> str:
    """The day as records have it, in UTC."""
    return datetime.now(UTC).date().isoformat()


def names() -> list[str]:
    """What is recorded: results that a build would have to wait for."""
    from spec.litmus.exercise import ASKED_OF
    from spec.prover.proving import WRITTEN_FOR
    from spec.publish.unpromised import COMPUTED

    kinds = ("prove", "folios")
    proofs = [f"{kind}.{model}" for kind in kinds for model in WRITTEN_FOR]
    return [*proofs, *COMPUTED, *(f"exercised.{model}" for model in ASKED_OF)]


def day(store: Store, *names: str) -> str:
    """The day on which results were recorded; empty if they were computed."""
    found = [store.as_recorded(name) for name in names]
    return min((each.made for each in found if each is not None), default="")


def read(name: str, folder: Path = RESULTS) -> Recorded | None:
    """What is recorded under a name, of whatever code."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    return Recorded(**json.loads(path.read_text(encoding="utf-8")))


def write(name: str, result: Any, code: str, folder: Path = RESULTS) -> None:
    """Record an encoded result, with the day and the code."""
    entry = {"made": today(), "cores": os.cpu_count(), "code": code, "result": result}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(entry, indent=1)
    (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def main() -> None:
    """Compute all anew and record it."""
    from spec.publish.unpromised import COMPUTED
    from spec.publish.verdicts import Store, encode

    for name in names():
        with TemporaryDirectory() as folder:
            store = Store(Path(folder), recorded=None)
            kind, what = name.split(".")
            ask = COMPUTED.get(name, partial(getattr(store, kind), what))
            result = store.get(name, ask)
        write(name, encode(result), store.code(name))


if __name__ == "__main__":
    main()
