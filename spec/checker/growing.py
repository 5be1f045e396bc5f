"""Arrays that grow where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RESERVED = 16
"""Space is taken for so many times as many rows as are wanted."""
LEAST = 1 << 16
"""Rows that there is space for at least."""


class Growing:
    """Rows of numbers, or numbers, that grow where they are.

    Their space is reserved for many more. It takes memory only where it is written to,
    so that growing neither copies nor holds two arrays at once. And large arrays keep
    the huge pages that NumPy asks the system for, which `ndarray.resize` loses.

    Args:
        dtype: of the numbers.
        shape: of each row.

    Attributes:
        rows: those that there are.
    """

    def __init__(self, dtype: Any, *shape: int) -> None:
        self._space: npt.NDArray[Any] = np.empty((0, *shape), dtype)
        self.rows = self._space

    def resize(self, count: int) -> None:
        """Have so many rows; what is in further ones is not said."""
        if count > len(self._space):
            space = self._reserved(count)
            space[: len(self.rows)] = self.rows
            self._space = space
        self.rows = self._space[:count]

    def _reserved(self, count: int) -> npt.NDArray[Any]:
        shape, dtype = self._space.shape[1:], self._space.dtype
        try:
            return np.empty((max(RESERVED * count, LEAST), *shape), dtype)
        except MemoryError:
            # some systems count what is reserved as if it were used
            return np.empty((count + count // 8, *shape), dtype)
