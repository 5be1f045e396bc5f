"""States as rows of 32-bit words: each cell and each thread has its few bits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker.growing import Growing

Word = np.uint32
Words = npt.NDArray[Word]
LOG_WORD = 5
WORD = 1 << LOG_WORD
"""Bits of a word. Words of 64 bits leave more of a row unused: a quarter of it."""
AT_ONCE = 1 << 14
"""Rows that are packed anew together: few enough for the processor's cache."""


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


class Layout:
    """Assigns bits to cells; cells never straddle two words.

    Args:
        keys: names of cells, thread locations among them.
        counts: how many code numbers each has.
        spare: further bits for cells with many values, not all of which are known; only
            where this takes no further word.
        sides: for each cell whether it is put behind others, with which it shares no
            word; all are put together if nothing is said.

    Attributes:
        words: of each row.
        cut: how many of them are of the cells that others are put behind.
        bits: of each cell.
        fields: for each cell its word, shift and mask; then the same again for rows
            that hold two states, of which the second is meant.
        word, shift, mask: the same as arrays.
    """

    def __init__(
        self,
        keys: Sequence[str],
        counts: Sequence[int],
        spare: int,
        sides: Sequence[bool] = (),
    ) -> None:
        sides = sides or [True] * len(counts)
        self.spare = spare
        self.keys = {key: i for i, key in enumerate(keys)}
        widths = [(count - 1).bit_length() for count in counts]
        roomy = [bits + (spare if bits > 4 else 0) for bits in widths]
        # a whole word more, in all states, is too much for a few spare bits
        self.bits = min(roomy, widths, key=lambda bits: _placed(bits, sides)[1])
        places, words, self.cut = _placed(self.bits, sides)
        self.words = max(words, 1)
        self.fields = [
            (word + primed, shift if bits else 0, (1 << bits) - 1)
            for primed in (0, self.words)
            for (word, shift), bits in zip(places, self.bits, strict=True)
        ]
        columns = np.ascontiguousarray(np.array(self.fields, Word).T)
        self.word, self.shift, self.mask = columns[0].astype(np.int64), *columns[1:]

    def fits(self, counts: Sequence[int]) -> bool:
        """Whether so many code numbers have room in each cell."""
        return all(n - 1 >> b == 0 for n, b in zip(counts, self.bits, strict=True))

    def grown(self, counts: Sequence[int], cut: int) -> Layout:
        """The layout for more code numbers.

        Args:
            counts: how many each cell has now.
            cut: no cell moves from the first words, so many, to the others or back. A
                cell that takes no bits yet is the same in all states, and on no side.
        """
        sides = [
            word >= cut or not bits
            for word, bits in zip(self.word.tolist(), self.bits, strict=False)
        ]
        return Layout([*self.keys], counts, self.spare, sides)

    def row(self, codes: Sequence[int]) -> list[int]:
        """A row that holds these code numbers, one for each cell."""
        words = [0] * self.words
        for (word, shift, _), code in zip(self.fields, codes, strict=False):
            words[word] |= code << shift
        return words

    def codes(self, row: Sequence[int]) -> list[int]:
        """The code numbers of all cells in one row (given as Python integers)."""
        fields = self.fields[: len(self.bits)]
        return [(row[word] >> shift) & mask for word, shift, mask in fields]

    def column(self, rows: Words, cell: int) -> npt.NDArray[np.int64]:
        """The code numbers of one cell in all rows."""
        words: Words = rows[:, self.word[cell]]
        codes = (words >> self.shift[cell]) & self.mask[cell]
        return np.asarray(codes, np.int64)

    def repack(self, rows: Words, old: Layout) -> Words:
        """The same states, that `old` packed, in this layout."""
        packed = np.empty((len(rows), self.words), Word)
        self.repack_to(packed, rows, old)
        return packed

    def repack_to(self, packed: Words, rows: Words, old: Layout) -> None:
        """The same, written to an array."""
        moves = self._moves(old)
        for at in range(0, len(rows), AT_ONCE):
            some, others = rows[at : at + AT_ONCE], packed[at : at + AT_ONCE]
            others[:] = 0
            for (source, target, left), mask in moves.items():
                cells = some[:, source] & Word(mask)
                others[:, target] |= cells << left if left >= 0 else cells >> -left

    def _moves(self, old: Layout) -> dict[tuple[int, int, int], int]:
        """From which word to which cells go, how far to the left, and their bits.

        Many cells keep their places beside each other, and move together.
        """
        moves: dict[tuple[int, int, int], int] = {}
        here = self.fields[: len(self.bits)]
        for (word, shift, mask), (target, to, _) in zip(old.fields, here, strict=False):
            move = word, target, to - shift
            moves[move] = moves.get(move, 0) | mask << shift
        return moves


def _placed(
    bits: Sequence[int], sides: Sequence[bool]
) -> tuple[list[tuple[int, int]], int, int]:
    """Word and shift for cells of so many bits.

    Returns with them how many words there are, on both sides and on the first.
    """
    places = [(0, 0)] * len(bits)
    used: list[int] = []
    begins = []
    for side in (False, True):
        begins.append(begin := len(used))
        cells = [cell for cell in range(len(bits)) if sides[cell] == side]
        for cell in sorted(cells, key=lambda cell: -bits[cell]):
            room = (w for w, n in enumerate(used) if n + bits[cell] <= WORD)
            word = next((w for w in room if w >= begin), len(used))
            if word == len(used):
                used.append(0)
            places[cell] = word, used[word]
            used[word] += bits[cell]
    return places, len(used), begins[1]


class States:
    """All states met so far, as rows in order of discovery.

    Attributes:
        layout: of the rows.
        size: how many there are.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.size = 0
        self._rows = Growing(Word, layout.words)

    @property
    def rows(self) -> Words:
        """The rows of all states."""
        return self._rows.rows[: self.size]

    @property
    def memory(self) -> int:
        """Bytes that the rows take."""
        return self.rows.nbytes

    def reserve(self, count: int) -> Words:
        """All rows with room for `count` more behind them."""
        self._rows.resize(self.size + count)
        return self._rows.rows

    def append(self, rows: Words) -> None:
        """Add states at the end."""
        self.reserve(len(rows))[self.size : self.size + len(rows)] = rows
        self.size += len(rows)

    def replace(self, rows: Words) -> None:
        """Store these states only."""
        self._rows, self.size = Growing(Word, rows.shape[1]), 0
        self.append(rows)

    def repack(self, layout: Layout) -> None:
        """Change to another layout."""
        rows = Growing(Word, layout.words)
        rows.resize(self.size)
        layout.repack_to(rows.rows, self.rows, self.layout)
        self._rows, self.layout = rows, layout
