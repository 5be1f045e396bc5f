"""The exact set of visited states of the compiled engine, in machine code.

The table has a 32-bit entry for each state: where its row is, and above that a *tag*,
as many bits of its hash as there is room for. Only rows with the right tag are looked
at, and these are compared as a whole. So the table may be nearly full.
"""

from __future__ import annotations

import numpy as np

from spec.checker.compiling import compiled, inlined

EMPTY = np.uint32(0xFFFFFFFF)
FIRST_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SECOND_MULTIPLIER = np.uint64(0xC2B2AE3D27D4EB4F)
SHIFT = np.uint64(32)
BLOCK = 512
"""So many rows are entered together when a table is filled."""


@inlined
def _hash(row, words):  # type: ignore[no-untyped-def]
    """A number for a row."""
    mixed = np.uint64(1)
    for i in range(words):
        mixed = mix(mixed, row[i])
    mixed *= SECOND_MULTIPLIER
    return mixed ^ (mixed >> SHIFT)


@inlined
def mix(mixed, word):  # type: ignore[no-untyped-def]
    """A number for some words and one more, from the number for those."""
    mixed = (mixed ^ np.uint64(word)) * FIRST_MULTIPLIER
    return mixed ^ (mixed >> SHIFT)


@inlined
def slot_for(mixed, slots):  # type: ignore[no-untyped-def]
    """Where to look first for what has this hash: its upper half, scaled down."""
    return np.int64(((mixed >> SHIFT) * np.uint64(slots)) >> SHIFT)


@inlined
def _tag(mixed, position):  # type: ignore[no-untyped-def]
    """What an entry keeps of a hash, above the `position` bits of where the row is.

    A row is looked at only if the tag is right, so that few are looked at in vain.
    """
    return np.uint32((mixed << np.uint64(position)) & np.uint64(0xFFFFFFFF))


@inlined
def _next(at, table):  # type: ignore[no-untyped-def]
    """The slot after this one; the first one follows the last."""
    return at + 1 if at + 1 < len(table) else 0


@inlined
def _same(one, other):  # type: ignore[no-untyped-def]
    """Whether two rows are of one state."""
    same = True
    for word in range(len(one)):
        same &= one[word] == other[word]
    return same


@compiled
def fill(rows, table, position, hashes):  # type: ignore[no-untyped-def]
    """Enter all rows, which are different, into an empty table."""
    for begin in range(0, len(rows), BLOCK):
        count = min(BLOCK, len(rows) - begin)
        _fetch_slots(rows[begin:], count, hashes, table)
        for i in range(count):
            at = slot_for(hashes[i], len(table))
            while table[at] != EMPTY:
                at = _next(at, table)
            table[at] = _tag(hashes[i], position) | np.uint32(begin + i)


@inlined
def _fetch_slots(rows, count, hashes, table):  # type: ignore[no-untyped-def]
    """Hash rows, and look where they will be looked for, all at once."""
    for i in range(count):
        hashes[i] = _hash(rows[i], rows.shape[1])
    fetched = np.uint64(0)
    for i in range(count):
        fetched ^= np.uint64(table[slot_for(hashes[i], len(table))])
    # what is kept was not fetched in vain, says the compiler
    hashes[count] = fetched


@compiled
def enter(ends, count, rows, size, entered, asleep):  # type: ignore[no-untyped-def]
    """Enter those ends of steps that are new; returns the number of rows.

    The table and most rows are not in the processor's cache. What will be looked at is
    therefore fetched for all of them first: so the waiting overlaps.
    """
    batch, hashes, sleeping = ends
    table, position = entered
    since, threads = asleep[3:]
    below = np.uint32((np.uint64(1) << np.uint64(position)) - np.uint64(1))
    _fetch_slots(batch, count, hashes, table)
    fetched = np.uint64(0)
    for i in range(count):
        entry = table[slot_for(hashes[i], len(table))]
        # no branch, which the processor would have to guess
        wanted = np.int64(entry & ~below == _tag(hashes[i], position))
        fetched ^= np.uint64(rows[min(wanted * np.int64(entry & below), size - 1), 0])
    hashes[count] = fetched
    for i in range(count):
        tag = _tag(hashes[i], position)
        at = slot_for(hashes[i], len(table))
        while table[at] != EMPTY:
            row = np.int64(table[at] & below)
            if table[at] & ~below == tag and _same(rows[row], batch[i]):
                break
            at = _next(at, table)
        if table[at] == EMPTY:
            for word in range(rows.shape[1]):
                rows[size, word] = batch[i, word]
            table[at] = tag | np.uint32(size)
            threads[size - since] = sleeping[i]
            size += 1
        elif row >= since:
            threads[row - since] &= sleeping[i]
    return size
