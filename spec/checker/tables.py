"""Functions of a state, tabulated by what they read and looked up in bulk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from spec.checker.packing import Words

MULTIPLIERS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
     0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3],
    np.uint64,
)  # fmt: skip


Source = Callable[[str], Any]
"""Reads one cell of a state."""


class Rows(Protocol):
    """How cells lie in rows."""

    def row_mask(self, keys: Sequence[str]) -> list[int]:
        """One mask a word, with the bits of the given cells set."""

    def value(self, row: Sequence[int], key: str) -> Any:
        """The value of one cell in one row."""


class Collision(Exception):
    """Two different rows have one hash; start over with another seed."""


def hash_rows(rows: Words, seed: int) -> Words:
    """A number for each row; different rows seldom have the same."""
    mixed = np.full(len(rows), seed, np.uint64)
    for word in range(rows.shape[1]):
        mixed ^= rows[:, word]
        mixed *= MULTIPLIERS[word % len(MULTIPLIERS)]
        mixed ^= mixed >> np.uint64(29)
    mixed *= MULTIPLIERS[0]
    return mixed ^ (mixed >> np.uint64(32))


class _Trie:
    """Decides from the cells that were read, in the order in which they were."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}

    def find(self, source: Source) -> int | None:
        node = self.root
        while node:
            if "leaf" in node:
                leaf: int = node["leaf"]
                return leaf
            child = node["values"].get(source(node["cell"]))
            if child is None:
                return None
            node = child
        return None

    def add(self, reads: dict[str, Any], leaf: int) -> None:
        node = self.root
        for cell, value in reads.items():
            node.setdefault("cell", cell)
            node = node.setdefault("values", {}).setdefault(value, {})
        node["leaf"] = leaf


class Table:
    """A function of a state, tabulated by footprint and looked up in bulk.

    `evaluate` runs the function on one state and returns what it read and a number
    that stands for the result.
    """

    def __init__(
        self, evaluate: Callable[[Source], tuple[dict[str, Any], int]]
    ) -> None:
        self.evaluate = evaluate
        self.trie = _Trie()
        self.support: set[str] = set()
        self.forget()

    def forget(self) -> None:
        """Drop what depends on the layout or the support; the trie stays."""
        self.mask: Words | None = None
        self.hashes = np.zeros(0, np.uint64)
        self.keys = np.zeros((0, 0), np.uint64)
        self.results = np.zeros(0, np.int64)

    def __call__(self, rows: Words, layout: Rows, seed: int) -> npt.NDArray[np.int64]:
        """The result for each row; evaluates what is not known yet."""
        while True:
            if self.mask is None:
                self.mask = np.array(layout.row_mask(sorted(self.support)), np.uint64)
            masked = rows & self.mask
            hashes = hash_rows(masked, seed)
            at = self._positions(hashes)
            known = np.zeros(len(rows), bool)
            if len(self.hashes):
                known = self.hashes[at] == hashes
                if not np.array_equal(self.keys[at[known]], masked[known]):
                    raise Collision
            if known.all():
                return self.results[at]
            self._learn(rows[~known], masked[~known], hashes[~known], layout)

    def _positions(self, hashes: Words) -> npt.NDArray[np.int64]:
        at = np.searchsorted(self.hashes, hashes)
        return np.minimum(at, max(len(self.hashes) - 1, 0))

    def _learn(self, rows: Words, masked: Words, hashes: Words, layout: Rows) -> None:
        new, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        if not np.array_equal(masked[first][inverse], masked):
            raise Collision
        results = np.zeros(len(new), np.int64)
        size = len(self.support)
        for i, row in enumerate(rows[first].tolist()):
            source = _reader(row, layout)
            result = self.trie.find(source)
            if result is None:
                reads, result = self.evaluate(source)
                self.trie.add(reads, result)
                self.support.update(reads)
            results[i] = result
        if len(self.support) > size:
            self.forget()
            return
        where = np.searchsorted(self.hashes, new)
        self.hashes = np.insert(self.hashes, where, new)
        old = self.keys.reshape(-1, rows.shape[1])
        self.keys = np.insert(old, where, masked[first], axis=0)
        self.results = np.insert(self.results, where, results)


def _reader(row: Sequence[int], layout: Rows) -> Source:
    return lambda key: layout.value(row, key)
