"""Arrays of numbers that grow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt


class Column:
    """A growing array of whole numbers, or of rows of them."""

    def __init__(self, dtype: Any, width: int = 0) -> None:
        self.rows = np.zeros((64, width) if width else 64, dtype)
        self.size = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": self.used, "size": self.size}

    def append(self, value: Any) -> None:
        """Add a number or a row at the end."""
        self._make_room(1)
        self.rows[self.size] = value
        self.size += 1

    def extend(self, values: Iterable[Any]) -> None:
        """Add several at the end."""
        new = list(values)
        self._make_room(len(new))
        self.rows[self.size : self.size + len(new)] = new
        self.size += len(new)

    def _make_room(self, count: int) -> None:
        if self.size + count > len(self.rows):
            shape = max(self.size, count, 64), *self.rows.shape[1:]
            more = np.zeros_like(self.rows, shape=shape)
            self.rows = np.concatenate([self.rows, more])

    @property
    def used(self) -> npt.NDArray[Any]:
        """What was added so far."""
        return self.rows[: self.size]


class Lists:
    """A growing array of lists of numbers, one behind the other.

    Attributes:
        first: where each list begins, and where the last one ends.
        items: of all lists.
    """

    def __init__(self) -> None:
        self.first = Column(np.int64)
        self.items = Column(np.int32)
        self.first.append(0)

    def append(self, values: Iterable[int]) -> int:
        """Add a list at the end; returns its number."""
        self.items.extend(values)
        self.first.append(self.items.size)
        return self.first.size - 2

    def list(self, number: int) -> npt.NDArray[np.int32]:
        """One of the lists."""
        return self.items.rows[self.first.rows[number] : self.first.rows[number + 1]]

    def ranges(self, lists: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], ...]:
        """The positions of all items of some lists, and which list each is of."""
        first, end = self.first.used[lists], self.first.used[lists + 1]
        counts = end - first
        which = np.repeat(np.arange(len(counts)), counts)
        before = np.repeat(np.cumsum(counts) - counts, counts)
        return first[which] + np.arange(len(which)) - before, which
