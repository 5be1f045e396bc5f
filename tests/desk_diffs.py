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
            above = before[: start - 1]
            named = [a for a in above if _begins(a)]
            line = f"{line} {named[-1]}" if named else line
        out.append(line)
    return "\n".join(out) + "\n"


def _begins(line: str) -> bool:
    """What git takes for the beginning of something, labels aside."""
    return (line[:1].isalpha() or line[:1] == "_") and not line.endswith(":")
