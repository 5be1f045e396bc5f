"""States as rows of 64-bit words: each cell and each thread has its few bits."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


@dataclass
class Codes:
    """Numbers for the values of one cell, given out in order of appearance."""

    values: list[Any] = field(default_factory=list)
    numbers: dict[Hashable, int] = field(default_factory=dict)

    def number(self, value: Hashable) -> int:
        """The number of `value`, a new one if it has none."""
        if value not in self.numbers:
            self.numbers[value] = len(self.values)
            self.values.append(value)
        return self.numbers[value]

    @property
    def bits(self) -> int:
        """Bits that the numbers given out so far need; none for a constant."""
        return (len(self.values) - 1).bit_length()


@dataclass(frozen=True)
class Place:
    """Where a cell lies in a row."""

    word: int
    shift: int
    bits: int

    @property
    def mask(self) -> int:
        """The cell's bits, in place."""
        return ((1 << self.bits) - 1) << self.shift


class Layout:
    """Assigns bits to cells; cells never straddle two words.

    Args:
        keys: names of cells, thread locations among them.
        codes: the values of each, in the same order.
        spare: further bits for cells whose values are not all known.

    Attributes:
        words: of each row.
        fields: for each cell its word, shift and mask; then the same again for rows
            that hold two states, of which the second is meant.
        word, shift, mask: the same as arrays.
    """

    def __init__(
        self, keys: Sequence[str], codes: dict[str, Codes], spare: int
    ) -> None:
        self.codes = codes
        self.places: dict[str, Place] = {}
        used: list[int] = []
        widths = {key: codes[key].bits for key in keys}
        for key in sorted(keys, key=lambda k: -widths[k]):
            bits = widths[key] + (spare if widths[key] > 4 else 0)
            word = next((w for w, n in enumerate(used) if n + bits <= 64), len(used))
            if word == len(used):
                used.append(0)
            self.places[key] = Place(word, used[word], bits)
            used[word] += bits
        self.words = max(len(used), 1)
        self.fields = [
            (place.word + primed, place.shift, place.mask >> place.shift)
            for primed in (0, self.words)
            for place in (self.places[key] for key in keys)
        ]
        columns = np.ascontiguousarray(np.array(self.fields, np.uint64).T)
        self.word, self.shift, self.mask = columns[0].astype(np.int64), *columns[1:]

    def fits(self, key: str) -> bool:
        """Whether all values of the cell known by now have room."""
        return self.codes[key].bits <= self.places[key].bits

    def row_mask(self, keys: Iterable[str]) -> list[int]:
        """One mask a word, with the bits of the given cells set."""
        masks = [0] * self.words
        for key in keys:
            place = self.places[key]
            masks[place.word] |= place.mask
        return masks

    def row_bits(self, values: dict[str, int]) -> list[int]:
        """One number a word, with the given cells' code numbers in place."""
        words = [0] * self.words
        for key, number in values.items():
            place = self.places[key]
            words[place.word] |= number << place.shift
        return words

    def column(self, rows: Words, key: str) -> npt.NDArray[np.int64]:
        """The code numbers of one cell in all rows."""
        place = self.places[key]
        if place.bits == 0:
            return np.zeros(len(rows), np.int64)
        mask = np.uint64((1 << place.bits) - 1)
        return ((rows[:, place.word] >> np.uint64(place.shift)) & mask).astype(np.int64)

    def value(self, row: Sequence[int], key: str) -> Any:
        """The value of one cell in one row (given as Python integers)."""
        place = self.places[key]
        number = (row[place.word] >> place.shift) & ((1 << place.bits) - 1)
        return self.codes[key].values[number]

    def repack(self, rows: Words, old: Layout) -> Words:
        """The same states, that `old` packed, in this layout."""
        packed = np.zeros((len(rows), self.words), np.uint64)
        for key, place in self.places.items():
            if place.bits:
                column = old.column(rows, key).astype(np.uint64)
                packed[:, place.word] |= column << np.uint64(place.shift)
        return packed


class States:
    """All states met so far, as rows in order of discovery.

    Attributes:
        layout: of the rows.
        size: how many there are.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.size = 0
        self._rows = np.zeros((1024, layout.words), np.uint64)

    @property
    def rows(self) -> Words:
        """The rows of all states."""
        return self._rows[: self.size]

    def reserve(self, count: int) -> Words:
        """All rows with room for `count` more behind them."""
        wanted = self.size + count
        if wanted > len(self._rows):
            grown = max(wanted, len(self._rows) + len(self._rows) // 2)
            self._rows.resize((grown, self.layout.words), refcheck=False)
        return self._rows

    def append(self, rows: Words) -> None:
        """Add states at the end."""
        self.reserve(len(rows))[self.size : self.size + len(rows)] = rows
        self.size += len(rows)

    def repack(self, layout: Layout) -> None:
        """Change to another layout."""
        self._rows = layout.repack(self.rows, self.layout)
        self.layout = layout
