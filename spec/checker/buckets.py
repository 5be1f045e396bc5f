"""A set of numbers of 40 bits and more that takes 32 bits for each, in machine code.

A number is *scrambled* first, which can be undone. Where its entry stands then says
most of its bits, and the entry holds the others; so numbers are told apart exactly.

The table has segments, and these have buckets. The last bits of a scrambled number are
its segment; what is left, divided by the number of buckets, has as its remainder the
first bucket to look at and as its quotient what the entry holds. Where that bucket is
full, others follow at growing distances; which one it was is noted in the entry, too.
Nothing is ever taken out, so a bucket with a free place is the last to look at.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spec.checker.compiling import compiled, inlined
from spec.checker.hash_table import (
    BLOCK,
    EMPTY,
    FIRST_MULTIPLIER,
    SECOND_MULTIPLIER,
)

LOG_SEGMENTS = 6
SEGMENTS = 1 << LOG_SEGMENTS
BUCKET = 16
"""Entries of a bucket: as much as the processor fetches at once."""
LOG_TRIES = 5
"""Bits of an entry that say how many buckets before its own were full."""
FEWEST = 512
"""Buckets of a segment: more than the greatest distance from the first to the last."""
ONE = np.uint64(1)
FIRST_INVERSE, SECOND_INVERSE = (
    np.uint64(pow(int(multiplier), -1, 1 << 64))
    for multiplier in (FIRST_MULTIPLIER, SECOND_MULTIPLIER)
)
Entries = npt.NDArray[np.uint32]


def buckets_for(count: int, full: float, bits: int) -> int:
    """How many buckets each segment needs.

    Args:
        count: of numbers.
        full: the part of all entries that these may take.
        bits: of each number; the quotient has to fit into an entry.
    """
    wanted = int(count / full / SEGMENTS / BUCKET) + 1
    quotients = (1 << 32 - LOG_TRIES) - 1
    fitting = ((1 << max(bits - LOG_SEGMENTS, 0)) - 1) // quotients + 1
    return max(wanted, fitting, FEWEST)


@inlined
def _mix(number, bits, first, second):  # type: ignore[no-untyped-def]
    """Another number of so many bits; no two numbers have the same.

    The inverses of the two odd multipliers, in the other order, lead back.
    """
    half = np.uint64((bits + 1) // 2)
    mask = (ONE << np.uint64(bits)) - ONE
    number ^= number >> half
    number = (number * first) & mask
    number ^= number >> half
    number = (number * second) & mask
    return number ^ (number >> half)


@inlined
def scramble(number, bits):  # type: ignore[no-untyped-def]
    """What stands for a number of so many bits in the table."""
    return _mix(number, bits, FIRST_MULTIPLIER, SECOND_MULTIPLIER)


@inlined
def unscramble(number, bits):  # type: ignore[no-untyped-def]
    """The number that was scrambled."""
    return _mix(number, bits, SECOND_INVERSE, FIRST_INVERSE)


@inlined
def first_bucket(scrambled, buckets):  # type: ignore[no-untyped-def]
    """Of a scrambled number: where its segment begins, its bucket there, its entry."""
    segment = np.int64(scrambled & np.uint64(SEGMENTS - 1))
    rest = np.int64(scrambled >> np.uint64(LOG_SEGMENTS))
    # a division of floating numbers takes a fraction of the time; it is off by one
    # at most, as all numbers are below 2 ** 53
    quotient = np.int64(np.float64(rest) / np.float64(buckets))
    bucket = rest - quotient * buckets
    if bucket < 0:
        quotient -= 1
        bucket += buckets
    return segment * buckets, bucket, np.uint32(quotient << LOG_TRIES)


@inlined
def _count(bucket, entry):  # type: ignore[no-untyped-def]
    """How many entries of a bucket are equal to this one, all compared at once."""
    count = np.uint32(0)
    for i in range(BUCKET):
        count += np.uint32(bucket[i] == entry)
    return count


@inlined
def _following(bucket, tries, buckets):  # type: ignore[no-untyped-def]
    """The bucket after this one, before which there were so many others."""
    bucket += tries + 1
    return bucket - buckets if bucket >= buckets else bucket


@inlined
def holds(scrambled, table, buckets):  # type: ignore[no-untyped-def]
    """Whether a scrambled number is in the set."""
    begin, bucket, wanted = first_bucket(scrambled, buckets)
    for tries in range(1 << LOG_TRIES):
        entry = wanted | np.uint32(tries)
        here = table[begin + bucket]
        found = _count(here, entry)
        if found != 0 or here[BUCKET - 1] == EMPTY:
            return found != 0
        bucket = _following(bucket, tries, buckets)
    return False


@inlined
def _insert(begin, bucket, wanted, table, buckets):  # type: ignore[no-untyped-def]
    """Add a number that is not in the set; returns whether there was room."""
    for tries in range(1 << LOG_TRIES):
        here = table[begin + bucket]
        if here[BUCKET - 1] == EMPTY:
            here[BUCKET - np.int64(_count(here, EMPTY))] = wanted | np.uint32(tries)
            return True
        bucket = _following(bucket, tries, buckets)
    return False


@compiled
def insert(numbers, bits, table, buckets, scrambled):  # type: ignore[no-untyped-def]
    """Add numbers that are not in the set, up to the first for which there is no room.

    Returns how many were added. `scrambled` is room for a `BLOCK` and one more.
    """
    for done in range(0, len(numbers), BLOCK):
        count = min(BLOCK, len(numbers) - done)
        fetched = np.uint32(0)
        for i in range(count):
            scrambled[i] = scramble(numbers[done + i], bits)
            begin, bucket, _ = first_bucket(scrambled[i], buckets)
            fetched ^= table[begin + bucket, BUCKET - 1]
        scrambled[count] = fetched
        for i in range(count):
            begin, bucket, wanted = first_bucket(scrambled[i], buckets)
            if not _insert(begin, bucket, wanted, table, buckets):
                return done + i
    return len(numbers)


@inlined
def _rest(entry, bucket, buckets):  # type: ignore[no-untyped-def]
    """What an entry and its bucket say of a number: all but its segment."""
    tries = np.int64(entry & np.uint32((1 << LOG_TRIES) - 1))
    first = bucket - tries * (tries + 1) // 2
    if first < 0:
        first += buckets
    quotient = np.uint64(entry >> np.uint32(LOG_TRIES))
    return quotient * np.uint64(buckets) + np.uint64(first)


@compiled
def _list(segment, table, buckets, scrambled):  # type: ignore[no-untyped-def]
    """List what is in a segment; returns how many there are."""
    count = 0
    for bucket in range(buckets):
        for i in range(BUCKET):
            entry = table[segment * buckets + bucket, i]
            if entry != EMPTY:
                rest = _rest(entry, bucket, buckets) << np.uint64(LOG_SEGMENTS)
                scrambled[count] = rest | np.uint64(segment)
                count += 1
    return count


@compiled
def members(segment, bits, table, buckets, numbers):  # type: ignore[no-untyped-def]
    """List the numbers of a segment, as they were added; returns how many there are."""
    count = _list(segment, table, buckets, numbers)
    for i in range(count):
        numbers[i] = unscramble(numbers[i], bits)
    return count


@compiled
def widen(table, old, new, scrambled):  # type: ignore[no-untyped-def]
    """Give each segment more buckets, in place; returns whether all found room.

    The last segment is moved first, so none is written over before it was read.

    Args:
        table: with room for as many buckets as there will be.
        old, new: how many each segment has, and will have.
        scrambled: room for the numbers of a segment.
    """
    for segment in range(SEGMENTS - 1, -1, -1):
        count = _list(segment, table, old, scrambled)
        table[segment * new : (segment + 1) * new] = EMPTY
        for i in range(count):
            begin, bucket, wanted = first_bucket(scrambled[i], new)
            if not _insert(begin, bucket, wanted, table, new):
                return False
    return True
