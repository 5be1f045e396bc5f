"""The proofs that a build takes as recorded, as they take minutes.

``python -m spec.publish.proved`` records them. Each says when it was made and of which
code; a test fails if the code has changed since.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spec.prover.proving import MODELS, WRITTEN_FOR, Obligation, Result, prove
from spec.publish import records
from spec.publish.refuted import code_now
from spec.publish.verdicts import SOURCES, decode, encode
from spec.releases import find_model

if TYPE_CHECKING:
    from spec.publish.verdicts import Store

RECORD = SOURCES / "records" / "proved.json"


@dataclass(frozen=True)
class Proved:
    """The proof of a model.

    Attributes:
        result: what the solver said.
        made, code: the day, and the fingerprint of what was looked at; empty if it is
            of this build.
        cores: how many worked.
    """

    result: Result
    made: str = ""
    code: str = ""
    cores: int = 0

    @property
    def current(self) -> bool:
        """Whether the code is still the one that was looked at."""
        return not self.made or self.code == code_now()


def find(store: Store, model: str) -> Proved:
    """The proof of a model: of this build, or as recorded."""
    return Proved(store.prove(model)) if model in MODELS else read()[model]


def read(path: Path = RECORD) -> dict[str, Proved]:
    """What is recorded, by model; nothing if there is no record."""
    found: dict[str, tuple[dict[str, Any], list[Obligation]]] = {}
    for entry in records.read(path):
        if "model" in entry:
            found[entry["model"]] = entry, []
        else:
            found[entry["of"]][1].append(decode(entry["obligation"]))
    return {model: _proved(*parts) for model, parts in found.items()}


def _proved(entry: dict[str, Any], obligations: list[Obligation]) -> Proved:
    result = Result(entry["model"], (), obligations, entry["seconds"])
    return Proved(result, entry["made"], entry["code"], entry["cores"])


def write(result: Result, path: Path = RECORD) -> None:
    """Record a proof, an obligation a line, in place of that of the same model."""
    model = result.model
    kept = [e for e in records.read(path) if model not in (e.get("model"), e.get("of"))]
    entry = {
        "model": model,
        "made": datetime.now(UTC).date().isoformat(),
        "code": code_now(),
        "cores": os.cpu_count(),
        "seconds": round(result.seconds, 1),
    }
    lines = [{"of": model, "obligation": encode(each)} for each in result.obligations]
    records.write_lines(path, [*kept, entry, *lines])


def main() -> None:
    """Record the proof of each model that a build does not prove."""
    for model in WRITTEN_FOR:
        if model not in MODELS:
            result = prove(find_model(model))
            if result.interrupted:
                return
            write(result)
            proved = sum(each.found == "proved" for each in result.obligations)
            print(f"{model}: {proved} of {len(result.obligations)}")


if __name__ == "__main__":
    main()
