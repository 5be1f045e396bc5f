"""The exact set of all states that were expanded, in a few bytes for each.

A row is cut in two *parts*. Many rows have one part in common, so each part is stored
once and has a number. The two numbers say which row it is; they are kept as one, in a
set of numbers (`buckets`).

The archive tells whether a state is known. It does not tell on which level it was met:
for traces, levels are needed, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker import visited
from spec.checker.buckets import (
    BUCKET,
    SEGMENTS,
    Entries,
    buckets_for,
    first_bucket,
    holds,
    insert,
    members,
    scramble,
    widen,
)
from spec.checker.compiling import compiled, inlined
from spec.checker.growing import Growing
from spec.checker.hash_table import (
    BLOCK,
    EMPTY,
    fetch_slots,
    fill,
    find,
    hash_row,
    hash_rows,
    row_of,
    store,
)
from spec.checker.packing import Layout, Word, Words

AT_ONCE = 1 << 16
"""Rows that are archived before more room is made."""
FULL, GROWTH = 0.9, 1.35
"""How much of the set's table may be used, and what it grows by."""
MOST_BITS = 48
"""Numbers of parts are given no more spare bits than to have so many together."""
PARTS_FULL, PARTS_GROWTH = 0.75, 2
"""The same of the table of parts, which is small."""
SAMPLE = 1 << 20
"""So many rows tell where to cut; few rows have hardly a part in common."""
UNKNOWN = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Instead of a number: there is none."""


class Parts:
    """Numbers for parts of rows, given out in order of appearance.

    Args:
        words: of each part.
    """

    def __init__(self, words: int) -> None:
        self.size = 0
        self._rows = Growing(Word, words)
        self._table = np.full(1, EMPTY, np.uint32)

    @property
    def rows(self) -> Words:
        """All parts."""
        return self._rows.rows[: self.size]

    @property
    def memory(self) -> int:
        """Bytes that they and the table of them take."""
        return self.rows.nbytes + self._table.nbytes

    def arrays(self) -> tuple[Words, Entries, int]:
        """The parts, their table, and how many bits of its entries say where one is."""
        return self._rows.rows, self._table, len(self._table).bit_length()

    def make_room(self) -> None:
        """For `AT_ONCE` more parts."""
        wanted = self.size + AT_ONCE
        self._rows.resize(wanted)
        if wanted > PARTS_FULL * len(self._table):
            self._table = np.empty(PARTS_GROWTH * wanted, np.uint32)
            self._enter_all()

    def replace(self, rows: Words) -> None:
        """Other rows for all parts, which keep their numbers."""
        self._rows = Growing(Word, rows.shape[1])
        self._rows.resize(len(rows))
        self._rows.rows[:] = rows
        self._enter_all()

    def _enter_all(self) -> None:
        self._table.fill(EMPTY)
        fill(self.rows, *self.arrays()[1:], np.empty(BLOCK + 1, np.uint64))


class Archive:
    """A set of states that grows.

    Args:
        layout: of their rows.
        cut: how many words the first part has; none: nothing can be added.
        expected: so many states will be added at least.

    Attributes:
        size: how many states there are.
    """

    def __init__(self, layout: Layout, cut: int, expected: int = 0) -> None:
        self.layout, self.cut = layout, cut
        self.expected = expected
        self.size = 0
        self.parts = Parts(cut), Parts(layout.words - cut)
        self._room = np.empty(BLOCK + 1, np.uint64)
        self._clear(1, (0, 0))

    def _clear(self, buckets: int, widths: tuple[int, int]) -> None:
        """An empty table; numbers of parts have so many bits."""
        self.buckets, self.widths = buckets, widths
        self._table = Growing(np.uint32, BUCKET)
        self._table.resize(SEGMENTS * buckets)
        self._table.rows.fill(EMPTY)

    @property
    def memory(self) -> int:
        """Bytes that all of it takes."""
        return self._table.rows.nbytes + sum(part.memory for part in self.parts)

    @property
    def pays(self) -> bool:
        """Whether there are fewer parts than states."""
        return sum(part.size for part in self.parts) <= self.size

    def add(self, rows: Words) -> None:
        """Add states, none of which is here."""
        for at in range(0, len(rows), AT_ONCE):
            self._add(rows[at : at + AT_ONCE])

    def _add(self, rows: Words) -> None:
        numbers = np.empty((2, len(rows)), np.uint64)
        begin = 0
        for part, found in zip(self.parts, numbers, strict=True):
            part.make_room()
            arrays = part.arrays()
            part.size = _number(rows, begin, arrays, part.size, found, self._room)
            begin += part.rows.shape[1]
        if any(n.size >> w for n, w in zip(self.parts, self.widths, strict=True)):
            self._wider()
        self._insert(numbers[0] << np.uint64(self.widths[1]) | numbers[1])

    def _wider(self) -> None:
        """Give the numbers of parts the bits that they need, and those that are free.

        Bits are free as long as an entry of the table has room for them.
        """
        pairs, most = self.pairs(), max(self.size, self.expected)
        first, second = (part.size.bit_length() for part in self.parts)
        fewest = buckets_for(most, FULL, first + second)
        while first + second < MOST_BITS and fewest == buckets_for(
            most, FULL, first + second + 2
        ):
            first, second = first + 1, second + 1
        self._clear(fewest, (first, second))
        self.size = 0
        for numbers in pairs:
            self._insert(numbers[0] << np.uint64(second) | numbers[1])

    def _insert(self, numbers: npt.NDArray[np.uint64]) -> None:
        while len(numbers):
            wanted = buckets_for(self.size + len(numbers), FULL, sum(self.widths))
            if wanted > self.buckets:
                self._grow(max(wanted, int(GROWTH * self.buckets)))
            table = self._table.rows, self.buckets
            done = insert(numbers, sum(self.widths), *table, self._room)
            self.size += done
            numbers = numbers[done:]
            if len(numbers):
                self._grow(int(GROWTH * self.buckets))

    def _grow(self, buckets: int) -> None:
        old, self.buckets = self.buckets, buckets
        self._table.resize(SEGMENTS * buckets)
        room = np.empty(old * BUCKET, np.uint64)
        if not widen(self._table.rows, old, buckets, room):
            raise MemoryError("a wider table of states has no room for one of them")

    def pairs(self) -> Iterator[npt.NDArray[np.uint64]]:
        """The numbers of both parts of all states now here, segment by segment."""
        return _pairs(self._table.rows, self.buckets, self.widths)

    def repack(self, layout: Layout) -> None:
        """Change to another layout, in which no cell is on the other side of the cut.

        Parts keep their numbers, so only they are packed anew.
        """
        for part, here, there in zip(
            self.parts,
            _spans(self.layout, self.cut),
            _spans(layout, layout.cut),
            strict=True,
        ):
            rows = np.empty((part.size, there.stop - there.start), Word)
            for at in range(0, part.size, AT_ONCE):
                some = part.rows[at : at + AT_ONCE]
                wide = np.zeros((len(some), self.layout.words), Word)
                wide[:, here] = some
                moved = layout.repack(wide, self.layout)
                rows[at : at + AT_ONCE] = moved[:, there]
            part.replace(rows)
        self.layout, self.cut = layout, layout.cut

    def arrays(self) -> tuple[Any, ...]:
        """What machine code is given; see `leave_out`."""
        first, second = (part.arrays() for part in self.parts)
        return self.size, first, second, self.widths, self._table.rows, self.buckets


def _spans(layout: Layout, cut: int) -> tuple[slice, slice]:
    """The words of each part."""
    return slice(0, cut), slice(cut, layout.words)


def _pairs(
    table: Entries, buckets: int, widths: tuple[int, int]
) -> Iterator[npt.NDArray[np.uint64]]:
    """The numbers of both parts of all states in a table, segment by segment."""
    room = np.empty(buckets * BUCKET, np.uint64)
    second = np.uint64(widths[1])
    for segment in range(SEGMENTS):
        count = members(segment, sum(widths), table, buckets, room)
        first = room[:count] >> second
        yield np.stack([first, room[:count] ^ (first << second)])


def best_cut(rows: Words) -> int:
    """Where to cut rows so that they have few different parts.

    The larger of two numbers grows faster, so it counts.
    """
    some = rows[-SAMPLE:]
    return min(
        range(1, some.shape[1]),
        key=lambda cut: max(_different(some[:, :cut]), _different(some[:, cut:])),
    )


def _different(rows: Words) -> int:
    """How many different ones there are, but for a few with the same hash."""
    return len(np.unique(visited.hashes_of(rows, 1)))


@compiled
def _number(rows, begin, parts, size, numbers, hashes):  # type: ignore[no-untyped-def]
    """Look up the numbers of a part of rows; new parts are entered.

    Returns how many parts there are now.
    """
    known, table, position = parts
    words = known.shape[1]
    for done in range(0, len(rows), BLOCK):
        count = min(BLOCK, len(rows) - done)
        batch = rows[done : done + count, begin : begin + words]
        hash_rows(batch, count, hashes)
        fetch_slots(hashes, count, table)
        for i in range(count):
            at = find(batch[i], hashes[i], known, table, position)
            if table[at] == EMPTY:
                store(batch[i], hashes[i], known, size, table, at, position)
                size += 1
            numbers[done + i] = row_of(table[at], position)
    return size


@compiled
def leave_out(batch, chosen, count, archive, numbers):  # type: ignore[no-untyped-def]
    """Choose fewer rows: those that are not in an archive.

    What will be looked at is fetched for all of them first, as it is in no cache.

    Args:
        batch: rows.
        chosen: positions of `count` of them; on return, first those that are kept.
        archive: see `Archive.arrays`.
        numbers: room to work in.

    Returns:
        how many are kept.
    """
    size, first, second, widths, table, buckets = archive
    if size == 0:
        return count
    cut = first[0].shape[1]
    _look_up(batch[:, :cut], chosen, count, first, numbers[0])
    _look_up(batch[:, cut:], chosen, count, second, numbers[1])
    bits = widths[0] + widths[1]
    fetched = np.uint32(0)
    for i in range(count):
        if numbers[0, i] != UNKNOWN and numbers[1, i] != UNKNOWN:
            number = numbers[0, i] << np.uint64(widths[1]) | numbers[1, i]
            numbers[0, i] = scramble(number, bits)
            begin, bucket, _ = first_bucket(numbers[0, i], buckets)
            fetched ^= table[begin + bucket, 0]
        else:
            numbers[0, i] = UNKNOWN
    numbers[0, count] = fetched
    kept = 0
    for i in range(count):
        if numbers[0, i] == UNKNOWN or not holds(numbers[0, i], table, buckets):
            chosen[kept] = chosen[i]
            kept += 1
    return kept


@inlined
def _look_up(batch, chosen, count, parts, numbers):  # type: ignore[no-untyped-def]
    """The number of a part of each chosen row; `UNKNOWN` if it has none."""
    known, table, position = parts
    words = known.shape[1]
    for i in range(count):
        numbers[i] = hash_row(batch[chosen[i]], words)
    fetch_slots(numbers, count, table)
    for i in range(count):
        at = find(batch[chosen[i]], numbers[i], known, table, position)
        entry = table[at]
        numbers[i] = UNKNOWN if entry == EMPTY else np.uint64(row_of(entry, position))
