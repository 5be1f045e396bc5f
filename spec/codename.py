"""Names for programs that change with the code they are made of."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parent


@cache
def code() -> str:
    """12 hex digits that change with every file of the package, and with Python."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(SOURCES.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(SOURCES)}\0{len(content)}\0".encode())
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
