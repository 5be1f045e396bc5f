"""The levels of an exploration: the last ones in memory, earlier ones on disk.

On disk a level is a sorted run: its states in the order of their hashes, and the
hashes. To find out which of many new states are in a run, both are gone through in that
order; states are compared as a whole.
"""

from __future__ import annotations

import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker.packing import Layout, States, Words
from spec.checker.visited import Hashes, hashes_of

Numbers = npt.NDArray[np.int64]
SEED = 1
LEARNED, PROGRESS, VERDICT = "learned.pickle", "progress.pickle", "verdict.pickle"


@dataclass(frozen=True)
class Run:
    """One level on disk."""

    rows: Words
    hashes: Hashes

    @staticmethod
    def write(place: Path, rows: Words) -> Run:
        """Write the states of a level, beginning the names of files with `place`."""
        hashes = hashes_of(rows, SEED)
        order = np.argsort(hashes)
        np.save(f"{place}.rows.npy", rows[order])
        np.save(f"{place}.hashes.npy", hashes[order])
        return Run.read(place)

    @staticmethod
    def read(place: Path) -> Run:
        """A level that was written; its states stay on disk."""
        rows, hashes = (
            np.load(f"{place}.{part}.npy", mmap_mode="r") for part in ("rows", "hashes")
        )
        return Run(rows, hashes)

    def holds(self, rows: Words, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Which of some states, given in the order of their hashes, are in the run."""
        found = np.zeros(len(rows), bool)
        at = np.searchsorted(self.hashes, hashes)
        active = np.arange(len(rows))
        while len(active):
            active = active[at[active] < len(self.hashes)]
            active = active[self.hashes[at[active]] == hashes[active]]
            same = (self.rows[at[active]] == rows[active]).all(axis=1)
            found[active[same]] = True
            active = active[~same]
            at[active] += 1
        return found


class Levels:
    """All levels of one exploration.

    Args:
        states: those in memory; of the first level to begin with.
        memory: bytes that states in memory may take; 0 for any number.
        folder: where levels are kept, so that the exploration can be gone on with.

    Attributes:
        base: how many states there are before each level, and in all levels.
        layouts: how often the layout has changed.
        first: the first level that is in memory.
        archived: whether earlier ones are nowhere: their states are known, no more.
    """

    def __init__(self, states: States, memory: int, folder: Path | None) -> None:
        self.states = states
        self.memory = memory
        self.folder = folder
        self.runs: list[Run] = []
        self.base = [0, states.size]
        self.first = 0
        self.archived = False
        self.layouts = 0
        self._own: tempfile.TemporaryDirectory[str] | None = None

    @property
    def last(self) -> int:
        """The last level: the frontier."""
        return len(self.base) - 2

    @property
    def offset(self) -> int:
        """How many states are on disk only."""
        return self.base[self.first]

    def frontier(self) -> Numbers:
        """Where the states of the last level are in memory."""
        end = self.base[-1] - self.offset
        return np.arange(self.base[-2] - self.offset, end)

    def rows(self, level: int) -> Words:
        """The states of a level."""
        if level < self.first:
            return self.runs[level].rows
        begin, end = self.base[level] - self.offset, self.base[level + 1] - self.offset
        return self.states.rows[begin:end]

    def forget_known(self) -> bool:
        """Remove new states that are on disk; returns whether there were any."""
        if self.archived:
            return False
        begin = self.base[-1] - self.offset
        new = self.states.rows[begin:]
        hashes = hashes_of(new, SEED)
        order = np.argsort(hashes)
        known = np.zeros(len(new), bool)
        for run in self.runs[: self.first]:
            known[order] |= run.holds(new[order], hashes[order])
        if known.any():
            kept = new[~known].copy()
            self.states.size = begin
            self.states.append(kept)
        return bool(known.any())

    def close(self) -> None:
        """Make the new states the next level."""
        self.base.append(self.states.size + self.offset)
        if self.folder is not None:
            self._write_until(self.last + 1)

    def spill(self, used: int) -> bool:
        """Leave all but the last level to the disk, if more bytes are used than may be.

        Returns:
            whether states have left the memory.
        """
        if not self.memory or used <= self.memory or self.first == self.last:
            return False
        self._write_until(self.last)
        frontier = self.rows(self.last)
        self.first = self.last
        self.states.replace(frontier)
        return True

    def leave_to_archive(self) -> None:
        """All but the last level are gone."""
        self.first = self.last
        self.archived = True

    def repack(self, layout: Layout) -> None:
        """Change to another layout."""
        old = self.states.layout
        self.layouts += 1
        for level, run in enumerate(self.runs):
            rows = layout.repack(np.array(run.rows), old)
            self.runs[level] = Run.write(self._place(level), rows)
        self.states.repack(layout)

    def _write_until(self, end: int) -> None:
        for level in range(len(self.runs), end):
            self.runs.append(Run.write(self._place(level), self.rows(level)))

    def _place(self, level: int) -> Path:
        return self._where() / f"level-{level}-{self.layouts}"

    def _where(self) -> Path:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self.folder
        if self._own is None:
            self._own = tempfile.TemporaryDirectory(prefix="levels-")
        return Path(self._own.name)

    # -- going on later ---------------------------------------------------------------

    def save(self, progress: dict[str, Any]) -> None:
        """Note how far the exploration is; all levels are written."""
        if self.folder is None:
            return
        noted = {**progress, "base": self.base, "layouts": self.layouts}
        write(self.folder / PROGRESS, noted)
        for file in self.folder.glob("level-*.npy"):
            if not file.name.split(".")[0].endswith(f"-{self.layouts}"):
                file.unlink()

    def load(self, noted: dict[str, Any]) -> None:
        """Take the levels that were written when this was noted."""
        self.base, self.layouts = noted["base"], noted["layouts"]
        self.runs = [Run.read(self._place(n)) for n in range(len(self.base) - 1)]
        self.first = self.last
        self.states.replace(np.array(self.runs[-1].rows))


def write(file: Path, value: Any) -> None:
    """Write a value in one go: an interrupt leaves what was there before."""
    part = file.with_suffix(".part")
    part.write_bytes(pickle.dumps(value))
    part.replace(file)
