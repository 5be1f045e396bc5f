"""What was learned of a program, kept in a file for the next exploration of it.

Engines need the tables only. What stands behind them, to learn more and to show traces,
is taken out of the file when it is needed.
"""

from __future__ import annotations

import gc
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spec.checker.program import Program
from spec.checker.tables import Tables
from spec.checker.tabulation import Tabulation


class Knowledge:
    """The tables of a program, and the tabulation behind them.

    Args:
        program: what it is about.
        file: where it is kept; `None` to keep it nowhere.
        symmetry: whether states are renamed.
    """

    def __init__(
        self, program: Program, file: Path | None = None, symmetry: bool = False
    ) -> None:
        self.program = program
        self.file = file
        self._kept = 0
        self._tabulation: Tabulation | None = None
        kept = _read(file)
        if kept is None:
            self._tabulation = Tabulation(program, symmetry)
            self.tables = self._tabulation.tables
        else:
            self.tables, self._rest = kept

    @property
    def tabulation(self) -> Tabulation:
        """What runs the functions of the program and fills the tables."""
        if self._tabulation is None:
            made: Tabulation = pickle.loads(self._rest)
            made.tables = self.tables
            made.attach(self.program)
            self._tabulation = made
        return self._tabulation

    @property
    def evaluations(self) -> int:
        """How many functions of the program were run."""
        return 0 if self._tabulation is None else self._tabulation.evaluations

    def keep(self) -> None:
        """Write to the file what it does not have; a file that can't be is left."""
        if self.file is None or self.evaluations == self._kept:
            return
        self._kept = self.evaluations
        part = self.file.with_suffix(f".{os.getpid()}.part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                pickle.dump((self.tables, pickle.dumps(self.tabulation)), stream)
            part.replace(self.file)
        except OSError:
            part.unlink(missing_ok=True)


def _read(file: Path | None) -> tuple[Tables, bytes] | None:
    """What a file holds; nothing if there is none that can be read."""
    if file is None or not file.exists():
        return None
    try:
        kept: tuple[Tables, bytes] = pickle.loads(file.read_bytes())
    except (OSError, EOFError, pickle.UnpicklingError):
        return None
    return kept


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Let the garbage collector of Python rest while much is learned.

    It would go over all that was learned, again and again, and free nothing: none of it
    refers to itself.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
