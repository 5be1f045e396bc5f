"""Diffs as git writes them, for the tests of the reviewer's desk."""

from __future__ import annotations

import difflib


def diff(old: str, new: str, file: str = "mm/memory.c") -> str:
    """As ``git diff`` writes it, with the function in each hunk's header."""
    before, after = old.splitlines(), new.splitlines()
    out = [f"diff --git a/{file} b/{file}"]
    for line in difflib.unified_diff(
        before, after, f"a/{file}", f"b/{file}", lineterm=""
    ):
        if line.startswith("@@ "):
            start = int(line.split()[1].split(",")[0][1:])
            line = f"{line} {_named(before[: start - 1])}".rstrip()
        out.append(line)
    return "\n".join(out) + "\n"


def inserting(old: list[str], at: int, line: str, file: str) -> str:
    """The diff that puts one line behind the first `at` lines."""
    first, last = max(at - 3, 0), min(at + 3, len(old))
    sizes = f"-{first + 1},{last - first} +{first + 1},{last - first + 1}"
    return "\n".join(
        [
            f"diff --git a/{file} b/{file}",
            f"--- a/{file}",
            f"+++ b/{file}",
            f"@@ {sizes} @@ {_named(old[:first])}".rstrip(),
            *(f" {context}" for context in old[first:at]),
            f"+{line}",
            *(f" {context}" for context in old[at:last]),
            "",
        ]
    )


def _named(lines: list[str]) -> str:
    """The last line that begins something, labels aside."""
    for line in reversed(lines):
        if (line[:1].isalpha() or line[:1] == "_") and not line.endswith(":"):
            return line
    return ""
