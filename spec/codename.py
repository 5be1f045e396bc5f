"""Names for programs that change with the code they are made of."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
ONLY_SHOWS = {
    *("publish", "kernel", "cli.py", "__main__.py"),
    *("claims.py", "closings.py", "consumers.py", "cost.py", "findings.py"),
    *("lkmm.py", "records", "removals.py", "steps.py", "workloads.py"),
    *("ablating.py", "bench.py", "desk", "export", "handover.py", "options.py"),
    "proving.py",
}
"""Files and folders that decide nothing."""
PROVES = ("prover", "proof.py", "proof_places.py")
"""What only the proof is made with."""


@cache
def code() -> str:
    """12 hex digits that change with what operations and checker are, and with Python.

    Unlike the fingerprints of verdicts they change with comments, too: these are read
    at every start, and to parse all files would take longer than a small check.
    """
    aside = ONLY_SHOWS.union(PROVES)
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES)
        if name.parts[0] not in aside:
            content = path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()[:12]


def code_name(*parts: str) -> str:
    """A name for what is made from these parts by the code as it is now."""
    return f"{code()}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"


def forget_others(folder: Path) -> None:
    """Remove from `folder` the files whose names other code has given."""
    for file in folder.glob("*-*.pickle"):
        if not file.name.startswith(code()):
            file.unlink(missing_ok=True)
