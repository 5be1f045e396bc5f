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
def hash_row(row, words):  # type: ignore[no-untyped-def]
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
def tag_for(mixed, position):  # type: ignore[no-untyped-def]
    """What an entry keeps of a hash, above the `position` bits of where the row is.

    A row is looked at only if the tag is right, so that few are looked at in vain.
    """
    return np.uint32((mixed << np.uint64(position)) & np.uint64(0xFFFFFFFF))


@inlined
def row_of(entry, position):  # type: ignore[no-untyped-def]
    """Where the row of an entry is."""
    return entry & np.uint32((np.uint64(1) << np.uint64(position)) - np.uint64(1))


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


@inlined
def find(row, mixed, rows, table, position):  # type: ignore[no-untyped-def]
    """The slot of a row with this hash, or the empty one where it belongs."""
    tag = tag_for(mixed, position)
    at = slot_for(mixed, len(table))
    while table[at] != EMPTY:
        known = row_of(table[at], position)
        if table[at] == tag | known and _same(rows[np.int64(known)], row):
            break
        at = _next(at, table)
    return at


@inlined
def store(row, mixed, rows, size, table, at, position):  # type: ignore[no-untyped-def]
    """Add a row behind the others, and its entry in the empty slot that was found."""
    for word in range(rows.shape[1]):
        rows[size, word] = row[word]
    table[at] = tag_for(mixed, position) | np.uint32(size)


@compiled
def fill(rows, table, position, hashes):  # type: ignore[no-untyped-def]
    """Enter all rows, which are different, into an empty table."""
    for begin in range(0, len(rows), BLOCK):
        count = min(BLOCK, len(rows) - begin)
        hash_rows(rows[begin:], count, hashes)
        fetch_slots(hashes, count, table)
        for i in range(count):
            at = slot_for(hashes[i], len(table))
            while table[at] != EMPTY:
                at = _next(at, table)
            table[at] = tag_for(hashes[i], position) | np.uint32(begin + i)


@inlined
def hash_rows(rows, count, hashes):  # type: ignore[no-untyped-def]
    """Hash the first rows, so many."""
    for i in range(count):
        hashes[i] = hash_row(rows[i], rows.shape[1])


@inlined
def fetch_slots(hashes, count, table):  # type: ignore[no-untyped-def]
    """Look where rows with these hashes will be looked for, all at once.

    `hashes` has room for one more.
    """
    fetched = np.uint64(0)
    for i in range(count):
        fetched ^= np.uint64(table[slot_for(hashes[i], len(table))])
    # what is kept was not fetched in vain, says the compiler
    hashes[count] = fetched
