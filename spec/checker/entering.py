"""Where steps lead: which of these states are new, in machine code."""

from __future__ import annotations

import numpy as np

from spec.checker.archive import leave_out
from spec.checker.compiling import compiled, inlined
from spec.checker.hash_table import (
    EMPTY,
    fetch_slots,
    find,
    hash_rows,
    row_of,
    slot_for,
    store,
    tag_for,
)


@compiled
def enter(ends, count, rows, size, entered, archive, asleep):  # type: ignore[no-untyped-def]
    """Enter those ends of steps that are new; returns the number of rows.

    New is what is neither in the table nor in the archive.

    The table and most rows are not in the processor's cache. What will be looked at is
    therefore fetched for all of them first: so the waiting overlaps.
    """
    batch, hashes, sleeping, chosen, numbers = ends
    table, position = entered
    since, threads = asleep[3:]
    hash_rows(batch, count, hashes)
    fetch_slots(hashes, count, table)
    fetched = np.uint64(0)
    for i in range(count):
        entry = table[slot_for(hashes[i], len(table))]
        # no branch, which the processor would have to guess
        row = row_of(entry, position)
        wanted = np.int64(entry == tag_for(hashes[i], position) | row)
        fetched ^= np.uint64(rows[min(wanted * np.int64(row), size - 1), 0])
    hashes[count] = fetched
    others = 0
    for i in range(count):
        at = find(batch[i], hashes[i], rows, table, position)
        if table[at] == EMPTY:
            chosen[others] = i
            others += 1
        else:
            _agree(row_of(table[at], position), sleeping[i], since, threads)
    for chosen_one in range(leave_out(batch, chosen, others, archive, numbers)):
        i = chosen[chosen_one]
        at = find(batch[i], hashes[i], rows, table, position)
        if table[at] != EMPTY:
            _agree(row_of(table[at], position), sleeping[i], since, threads)
        else:
            store(batch[i], hashes[i], rows, size, table, at, position)
            threads[size - since] = sleeping[i]
            size += 1
    return size


@inlined
def _agree(row, sleeping, since, threads):  # type: ignore[no-untyped-def]
    """Of a new state that several steps lead to, let sleep what sleeps after all."""
    if row >= since:
        threads[row - since] &= sleeping
