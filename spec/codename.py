"""Names for what is made by the code as it is: they change with it, not with its prose.

Comments, docstrings and layout of Python code do not count. To see past them a file is
parsed, which takes longer than a small check; so what each content comes to is kept.
Where the package is installed nobody edits it, and its files count as they are.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parent
EDITED = (SOURCES.parent / "pyproject.toml").exists()
"""Whether this is a checkout of the project."""
BUILD = SOURCES.parent / "build"
LEARNED = BUILD / "learned"
"""Where `check` keeps what it has learned, under names that change with the code."""
DECIDES = {".py", ".lark", ".litmus", ".json"}
"""Endings of the files that can decide something."""
ONLY_SHOWS = {
    *("publish", "kernel", "cli.py", "__main__.py"),
    *("claims.py", "closings.py", "consumers.py", "cost.py", "findings.py"),
    *("lkmm.py", "records", "removals.py", "steps.py", "workloads.py"),
    *("ablating.py", "bench.py", "desk", "export", "handover.py", "options.py"),
    "proving.py",
}
"""Files and folders that decide nothing."""
FURTHER_TESTS = ("promises.py", "selftest.py")
"""What only makes further litmus tests."""
RUNS_TESTS = ("litmus", *FURTHER_TESTS)
"""What only litmus tests are made and run with."""
PROVES = (
    "prover",
    *(f"proof{part}.py" for part in ("", "_places", "_contents", "_folios")),
)
"""What only the proof is made with."""


class Meanings:
    """What Python code comes to without its prose, by its content.

    Args:
        file: where it is kept for the next process; one that can't be written is left.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.how = sys.version.encode() + Path(__file__).read_bytes()
        try:
            self.known: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}
        self._kept = len(self.known)

    def of(self, content: bytes) -> str:
        """A hash of code without comments, layout and docstrings."""
        if not EDITED:
            return hashlib.sha256(content).hexdigest()
        key = hashlib.sha256(self.how + content).hexdigest()
        if key not in self.known:
            self.known[key] = _parsed(content)
        return self.known[key]

    def keep(self) -> None:
        """Write all to the file, unless it has all."""
        if len(self.known) == self._kept:
            return
        self._kept = len(self.known)
        part = self.file.with_suffix(f".{os.getpid()}.part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(self.known), encoding="utf-8")
            part.replace(self.file)
        except OSError:
            part.unlink(missing_ok=True)


def _parsed(content: bytes) -> str:
    tree = ast.parse(content)
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list):
                value[:] = [each for each in value if not _is_prose(each)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_prose(node: Any) -> bool:
    """Whether a statement is nothing but a text: a docstring, or one of a constant."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def _meanings() -> Meanings:
    return Meanings(BUILD / "meanings.json")


def fingerprint(
    sources: Path = SOURCES,
    besides: Iterable[str] = (),
    also: Iterable[str] = (),
    python: str = sys.version,
) -> str:
    """16 hex digits that change with the code below `sources`, not with its prose.

    This module does not count: it says which files do.

    Args:
        sources: the folder of the specification.
        besides: files and folders right in it that decide nothing here.
        also: files in it that decide although others beside them only show.
        python: the version of Python, which by default counts.
    """
    digest, meanings = hashlib.sha256(python.encode()), _meanings()
    aside = ONLY_SHOWS.union(besides, [Path(__file__).name])
    files = [
        path
        for path in sorted(sources.rglob("*"))
        if path.suffix in DECIDES and path.relative_to(sources).parts[0] not in aside
    ]
    for path in (*files, *(sources / name for name in also)):
        content = path.read_bytes()
        if path.suffix == ".py":
            content = meanings.of(content).encode()
        name = path.relative_to(sources).as_posix()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    meanings.keep()
    return digest.hexdigest()[:16]


@cache
def code() -> str:
    """12 hex digits that change with operations and checker, and with Python."""
    return fingerprint(besides=[*RUNS_TESTS, *PROVES])[:12]


def code_name(*parts: str) -> str:
    """A name for what is made from these parts by the code as it is now."""
    return f"{code()}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"


def forget_others(folder: Path) -> None:
    """Remove from `folder` the files whose names other code has given."""
    for file in folder.glob("*-*.pickle"):
        if not file.name.startswith(code()):
            file.unlink(missing_ok=True)
