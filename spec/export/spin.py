"""Runs Spin on an exported model and reads what it found."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TRANSLATE = ("spin", "-o2", "-a")
"""Without ``-o2`` Spin leaves cells out of the state that nothing reads."""
COMPILE = ("gcc", "-w", "-DSAFETY", "-DNOREDUCE")
RUN = ("./pan", "-c0", "-n")
"""All errors, not only the first; places that were not reached are not listed."""
EIGHT_DIGITS, ALL_DIGITS = "%9.8g", "%9.0f"
"""How a verifier prints counts, and how it has to: they are compared."""
DEADLOCK = "deadlock"


class SpinError(Exception):
    """Spin or the compiler failed, or the search was not exhaustive; says why."""


@dataclass(frozen=True)
class SpinRun:
    """What Spin counted, the choice of the initial state included.

    Attributes:
        states, transitions: stored states; stored and matched ones together.
        failed: how often each assertion failed, and ``deadlock`` for invalid ends.
        seconds: wall time of the search.
        vector: bytes of one state.
        depth: steps of the longest path that was followed.
    """

    states: int
    transitions: int
    failed: Mapping[str, int]
    seconds: float
    vector: int
    depth: int


def missing() -> list[str]:
    """The programs that are needed and not installed."""
    return [name for name in (TRANSLATE[0], COMPILE[0]) if shutil.which(name) is None]


def build(model: Path, folder: Path, *options: str) -> None:
    """Make the verifier of a model.

    Args:
        model: the Promela file.
        folder: where the verifier is made; it exists.
        options: further ones for the compiler, for instance ``-O2``.

    Raises:
        SpinError: the translation or the compilation failed.
    """
    _call([*TRANSLATE, str(model.resolve())], folder)
    verifier = folder / "pan.c"
    if not verifier.exists():
        raise SpinError(f"spin made no verifier of {model.name}")
    text = verifier.read_text(encoding="latin-1")
    verifier.write_text(text.replace(EIGHT_DIGITS, ALL_DIGITS), encoding="latin-1")
    _call([*COMPILE, *options, "-o", "pan", "pan.c"], folder)


def search(folder: Path, depth: int, *options: str) -> SpinRun:
    """Run a verifier to its end.

    Args:
        folder: where it was built.
        depth: how many steps a path may have.
        options: further ones for the verifier.

    Raises:
        SpinError: a path was longer, or memory ran out: states are missing.
    """
    began = time.monotonic()
    said = _call([*RUN, f"-m{depth}", *options], folder)
    return read(said, time.monotonic() - began)


def read(said: str, seconds: float) -> SpinRun:
    """What a verifier said.

    Raises:
        SpinError: the search was not exhaustive.
    """
    for sign in ("max search depth too small", "out of memory", "not completed"):
        if sign in said:
            raise SpinError(f"the search was not exhaustive: {sign}")
    return SpinRun(
        states=_number(r"(\d+) states, stored", said),
        transitions=_number(r"(\d+) transitions \(", said),
        failed=_failed(said, _number(r"errors: (\d+)", said)),
        seconds=seconds,
        vector=_number(r"State-vector (\d+) byte", said),
        depth=_number(r"depth reached (\d+)", said),
    )


def _failed(said: str, errors: int) -> dict[str, int]:
    """How often each assertion failed; its name stands first in it.

    Errors are numbered, and one that says the same as the one before is not printed.
    """
    printed = re.findall(r"^pan:(\d+): (?:assertion violated \W*)?(\w+)", said, re.M)
    ends = [*(int(number) for number, _ in printed[1:]), errors + 1]
    failed: dict[str, int] = {}
    for (number, name), end in zip(printed, ends, strict=bool(printed)):
        id = DEADLOCK if name == "invalid" else name
        failed[id] = failed.get(id, 0) + end - int(number)
    return failed


def _number(pattern: str, said: str) -> int:
    found = re.search(pattern, said)
    if found is None:
        raise SpinError(f"the verifier did not say {pattern!r}")
    return int(found[1])


def _call(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        why = next((line for line in lines if "rror" in line), done.returncode)
        raise SpinError(f"{words[0]} failed: {why}")
    return done.stdout
