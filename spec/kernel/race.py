"""Races on the running kernel: which of the outcomes that a model allows are seen?

A test is made into a C program (`spec.export.c`), which has the operations of a race
begin almost together, each on its own CPU, many times over. What is seen must be among
what the model allows. Not all of that has to be seen: a window may be too narrow.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from spec.decisions import Model
from spec.export.c import c_program
from spec.export.c_conditions import Found
from spec.kernel.observe import KernelError
from spec.kernel.programs import NotExpressible
from spec.litmus.program import Test
from spec.litmus.run import run

COMPILE = ("gcc", "-O2", "-Wall", "-pthread")
SKIPPED, FAILED = 4, (0, 1)
OUTCOME = re.compile(r"^# +(\d+):(.*)$", re.M)
VALUE = re.compile(r" = (none|\d+)(?=, |$)")

Values = tuple[int | None, ...]
"""What was found, in the order of `Race.names`; ``None``: nothing, or not visible."""


@dataclass(frozen=True)
class Race:
    """What came of a race.

    Attributes:
        test: its name.
        model: the name of the model that it was compared with.
        names: what was looked at: values, references, places.
        seen: how often each outcome was seen, the most frequent first.
        allowed: all outcomes that the model allows.
    """

    test: str
    model: str
    names: tuple[str, ...]
    seen: Mapping[Values, int]
    allowed: frozenset[Values]

    @property
    def runs(self) -> int:
        """How often it was run."""
        return sum(self.seen.values())

    @property
    def forbidden(self) -> tuple[Values, ...]:
        """What was seen and is not allowed."""
        return tuple(found for found in self.seen if not self.allows(found))

    @property
    def unseen(self) -> tuple[Values, ...]:
        """What is allowed and was not seen."""
        missing = (a for a in self.allowed if not any(_fits(s, a) for s in self.seen))
        return tuple(sorted(missing, key=str))

    def allows(self, found: Values) -> bool:
        """Whether the model allows an outcome."""
        return any(_fits(found, allowed) for allowed in self.allowed)

    def text(self, found: Values) -> str:
        """An outcome in words.

        >>> race = Race("t", "upstream", ("x", "r"), {}, frozenset())
        >>> race.text((2, None))
        'x = 2, r = none'
        """
        values = ("none" if value is None else str(value) for value in found)
        pairs = zip(self.names, values, strict=True)
        return ", ".join(f"{name} = {value}" for name, value in pairs)


def _fits(found: Values, allowed: Values) -> bool:
    """Whether what was found may be this allowed outcome.

    Whether two places lead to one page is ``None`` for who cannot see page frames;
    the model always knows.
    """
    return all(
        one == other or (one is None and isinstance(other, bool))
        for one, other in zip(found, allowed, strict=True)
    )


def allowed(test: Test, model: Model) -> frozenset[Values]:
    """All outcomes of a test on a model."""
    found = Found(test)
    return frozenset(
        (
            *outcome.values.values(),
            *outcome.references.values(),
            *(outcome.holds(formula) for formula in found.seen.values()),
        )
        for outcome in run(test, model).outcomes
    )


def race(test: Test, model: Model, runs: int) -> Race:
    """Run a test many times over and compare what was seen with what is allowed.

    Raises:
        NotExpressible: this kernel cannot carry it out.
        SpecificationError: it cannot be made into a program.
        KernelError: there is no compiler, or a run did not come to its end.
    """
    text = c_program(test)
    with TemporaryDirectory() as folder:
        program = build(text, Path(folder))
        done = subprocess.run(
            [program, str(runs)], capture_output=True, text=True, check=False
        )
    return Race(
        test.name,
        model.name,
        tuple(Found(test).names),
        outcomes(done.stdout, done.returncode),
        allowed(test, model),
    )


def build(text: str, folder: Path, *options: str) -> Path:
    """Compile a program.

    Raises:
        KernelError: there is no compiler, or it does not take the text.
    """
    if shutil.which(COMPILE[0]) is None:
        raise KernelError(f"{COMPILE[0]} is not installed; races are C programs")
    source, program = folder / "race.c", folder / "race"
    source.write_text(text, encoding="utf-8")
    words = [*COMPILE, *options, "-o", str(program), str(source)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise KernelError(f"{COMPILE[0]}: {done.stderr.strip().splitlines()[0]}")
    return program


def outcomes(said: str, status: int) -> dict[Values, int]:
    """What a program saw, the most frequent first.

    Raises:
        NotExpressible: it says that it was skipped.
        KernelError: it did not come to its end.
    """
    if skipped := re.search(r"^1\.\.0 # SKIP (.*)", said, re.M):
        raise NotExpressible(f"refused here: {skipped[1]}")
    if status not in (0, 1, SKIPPED) or "Bail out!" in said:
        last = said.strip().splitlines()[-1:] or [f"status {status}"]
        raise KernelError(f"the program ended early: {last[0]}")
    seen = {
        tuple(None if v == "none" else int(v) for v in VALUE.findall(row)): int(times)
        for times, row in OUTCOME.findall(said)
    }
    return dict(sorted(seen.items(), key=lambda item: -item[1]))
