"""What the workers of a cluster do for an exploration: expand states, store states.

A state belongs to a *shard* by its hash. A worker stores the states of its shards only,
but it can expand any. What workers are sent changes little from level to level, so only
blocks that changed are sent.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any, NoReturn

import numpy as np

from spec.checker.bulk import Engine, Flags, Found, Numbers
from spec.checker.explore import engine_for
from spec.checker.packing import Layout, States, Words
from spec.checker.tables import Tables
from spec.checker.visited import Visited, hashes_of

SHARDS = 1 << 10
"""Many more than workers, so that those of a lost worker can be dealt out evenly."""
SEED = 3
BLOCK = 1 << 12
"""Bytes that are sent together if one of them has changed."""

Known = tuple[Tables, Layout]
"""What is known of a program, and how its states are packed."""
Buffers = list[bytes]
Kept = tuple[bytes, Buffers]
"""What is known, as a worker keeps it to have it changed."""
NOTHING: Kept = b"", []


class Stale(Exception):
    """A worker has not got the states that it should have."""


class Shards:
    """The visited states of one worker's shards.

    Args:
        layout: of the states.
    """

    def __init__(self, layout: Layout) -> None:
        self.states = States(layout)
        self.visited = Visited(self.states)
        self.attempt = 0
        self.lock = Lock()

    def __reduce__(self) -> NoReturn:
        raise TypeError("shards stay on their worker")

    def add(self, attempt: int, known: int, parts: Iterable[Words]) -> Words:
        """Store states; returns those that are new.

        Args:
            attempt: grows with each call that is wanted; a call that is overtaken by a
                later one stores nothing.
            known: how many states are to stay; more come from an attempt that failed.
            parts: the states.

        Raises:
            Stale: the call was overtaken, or the worker has lost its states.
        """
        with self.lock:
            if attempt < self.attempt or self.states.size < known:
                raise Stale
            self.attempt = attempt
            if self.states.size > known:
                self.states.size = known
                self.visited = Visited(self.states)
            for part in parts:
                self.visited.add(part)
            return self.states.rows[known:].copy()


def store(shards: Shards, attempt: int, known: int, parts: Sequence[Words]) -> Words:
    """See `Shards.add`."""
    return shards.add(attempt, known, parts)


def shard_of(rows: Words) -> Numbers:
    """The shard of each state."""
    numbers: Numbers = (hashes_of(rows, SEED) % np.uint64(SHARDS)).astype(np.int64)
    return numbers


def split(rows: Words, homes: Numbers, count: int) -> list[Words]:
    """The states of each worker.

    Args:
        rows: the states.
        homes: for each shard the number of its worker.
        count: how many workers there are.
    """
    home = homes[shard_of(rows)]
    order = np.argsort(home, kind="stable")
    ends = np.searchsorted(home[order], np.arange(1, count))
    return np.split(rows[order], ends)


# -- work on a part of a level ---------------------------------------------------------


def _begin(
    known: Known, parts: Sequence[Words], wanted: str, states: int
) -> tuple[Engine, States]:
    """An engine that knows no states but these, and its store."""
    tables, layout = known
    rows = States(layout)
    for part in parts:
        rows.append(part)
    return engine_for(wanted, states)(tables, rows), rows


def _found(known: Known) -> Found:
    return Found(bad=np.zeros(known[0].state_tree.size, bool))


def check(known: Known, parts: Sequence[Words], wanted: str, states: int) -> Found:
    """Evaluate the properties of states.

    Args:
        known: of the program.
        parts: the states, in several arrays.
        wanted: the name of an engine, or empty for the fastest.
        states: how many states the exploration has.
    """
    engine, rows = _begin(known, parts, wanted, states)
    found = _found(known)
    engine.check(np.arange(rows.size), found)
    return found


def expand(
    known: Known,
    parts: Sequence[Words],
    wanted: str,
    states: int,
    noted: Flags,
    homes: Numbers,
    count: int,
) -> list[Any]:
    """Take all steps from states.

    Args:
        known: of the program.
        parts: the states, in several arrays.
        wanted: the name of an engine, or empty for the fastest.
        states: how many states the exploration has.
        noted: predicates that need not be asked.
        homes: for each shard the number of its worker.
        count: how many workers there are.

    Returns:
        for each worker the states that it has to store; before them what was met, and
        how many bytes each of them takes.
    """
    engine, rows = _begin(known, parts, wanted, states)
    found, given = _found(known), rows.size
    engine.expand(np.arange(given), noted, found)
    buckets = split(rows.rows[given:], homes, count)
    return [(found, [bucket.nbytes for bucket in buckets]), *buckets]


# -- sending what changes little -------------------------------------------------------


class Parcels:
    """Packs values one after another, each as what it changes of the one before."""

    def __init__(self) -> None:
        self.buffers: Buffers = []
        self.head = b""

    def pack(self, known: Known) -> bytes | None:
        """What leads from the last value to this one; `None` if they are the same."""
        buffers: Buffers = []

        def keep(buffer: pickle.PickleBuffer) -> None:
            buffers.append(bytes(buffer.raw()))

        head = pickle.dumps(known, protocol=5, buffer_callback=keep)
        if (head, buffers) == (self.head, self.buffers):
            return None
        old = self.buffers or [b""] * len(buffers)
        changes = [_changes(a, b) for a, b in zip(old, buffers, strict=True)]
        self.head, self.buffers = head, buffers
        return zlib.compress(pickle.dumps((head, changes)), 1)


def unpack(before: Kept, parcel: bytes) -> Kept:
    """The next value.

    Args:
        before: the one before; `NOTHING` if it is the first.
        parcel: what leads to the next.
    """
    head, changes = pickle.loads(zlib.decompress(parcel))
    old = before[1] or [b""] * len(changes)
    return head, [_changed(a, *b) for a, b in zip(old, changes, strict=True)]


def unpacked(kept: Kept) -> Known:
    """The value, for use by an engine, which makes notes in it."""
    head, buffers = kept
    known: Known = pickle.loads(head, buffers=map(bytearray, buffers))
    return known


def _changes(old: bytes, new: bytes) -> tuple[int, dict[int, bytes]]:
    blocks = {at: new[at : at + BLOCK] for at in range(0, len(new), BLOCK)}
    return len(new), {
        at: block for at, block in blocks.items() if old[at : at + BLOCK] != block
    }


def _changed(old: bytes, length: int, blocks: dict[int, bytes]) -> bytes:
    new = bytearray(old[:length].ljust(length, b"\0"))
    for at, block in blocks.items():
        new[at : at + BLOCK] = block
    return bytes(new)
