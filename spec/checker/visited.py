"""The exact set of visited states, as sorted runs of hashes.

Hashes only order the states: wherever two are equal, the states are compared.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spec.checker.packing import States, Words

Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
MULTIPLIERS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
     0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3],
    np.uint64,
)  # fmt: skip


class Collision(Exception):
    """Two different rows have one hash; start over with another seed."""


def hashes_of(rows: Words, seed: int) -> Hashes:
    """A number for each row; different rows seldom have the same."""
    mixed = np.full(len(rows), seed, np.uint64)
    for word in range(rows.shape[1]):
        mixed ^= rows[:, word]
        mixed *= MULTIPLIERS[word % len(MULTIPLIERS)]
        mixed ^= mixed >> np.uint64(29)
    mixed *= MULTIPLIERS[0]
    return mixed ^ (mixed >> np.uint64(32))


class Visited:
    """Tells which rows are new, and stores them.

    Runs are merged when a later one has grown to half of the one before it, so that
    each hash is moved a few times only.

    Args:
        states: the store; what it holds already counts as visited.
    """

    def __init__(self, states: States) -> None:
        self.states = states
        self.seed = 1
        self.runs: list[tuple[Hashes, Numbers]] = []
        self._start()

    def _start(self) -> None:
        while True:
            try:
                self.runs = []
                hashes = hashes_of(self.states.rows, self.seed)
                order = np.argsort(hashes)
                if (np.diff(hashes[order].view(np.int64)) == 0).any():
                    raise Collision
                self.runs.append((hashes[order], order))
                return
            except Collision:
                self.seed += 2

    def add(self, rows: Words) -> None:
        """Store those of the rows that are new, each once."""
        while True:
            try:
                return self._add(rows)
            except Collision:
                self.seed += 2
                self._start()

    def _add(self, rows: Words) -> None:
        hashes, first, inverse = np.unique(
            hashes_of(rows, self.seed), return_index=True, return_inverse=True
        )
        if not np.array_equal(rows[first][inverse], rows):
            raise Collision
        new = ~self._known(hashes, rows[first])
        chosen = np.argsort(first[new])
        numbers = np.empty(len(chosen), np.int64)
        numbers[chosen] = np.arange(len(chosen)) + self.states.size
        self.states.append(rows[first[new][chosen]])
        self.runs.append((hashes[new], numbers))
        while len(self.runs) > 1 and len(self.runs[-1][0]) * 2 > len(self.runs[-2][0]):
            self._merge()

    def _known(self, hashes: Hashes, rows: Words) -> npt.NDArray[np.bool_]:
        known = np.zeros(len(hashes), bool)
        for run, numbers in self.runs:
            if len(run):
                at = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
                here = run[at] == hashes
                if not np.array_equal(self.states.rows[numbers[at[here]]], rows[here]):
                    raise Collision
                known |= here
        return known

    def _merge(self) -> None:
        later, later_numbers = self.runs.pop()
        earlier, earlier_numbers = self.runs.pop()
        where = np.searchsorted(earlier, later)
        self.runs.append(
            (
                np.insert(earlier, where, later),
                np.insert(earlier_numbers, where, later_numbers),
            )
        )
