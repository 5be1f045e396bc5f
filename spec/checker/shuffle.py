"""An engine whose states are on the workers of a Dask cluster, sharded by hash.

A level is a shuffle: each worker takes all steps from the part of the level that it
has, and sends each state that it meets to the worker whose state that is, which stores
it if it is new. New states are also sent here, and kept in memory or on disk as in any
exploration: from them the states of a lost worker are restored.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from distributed import Future

from spec.checker.bulk import Flags, Found, Miss, Numbers, Walker
from spec.checker.connection import Cluster, ClusterError, WorkerLost
from spec.checker.levels import Levels
from spec.checker.packing import Word, Words
from spec.checker.shards import (
    NOTHING,
    SHARDS,
    Parcels,
    Shards,
    check,
    expand,
    shard_of,
    split,
    store,
    unpack,
    unpacked,
)
from spec.checker.tables import Tables

MOST_RESTARTS = 10
"""How often one level is begun; a worker that fails always is not to be waited for."""
PIECE = 1 << 18
"""The most states that are sent together."""

Part = tuple[Numbers, Future[Any]]
"""Some states on a worker: their positions in the level, and the states."""
Parts = dict[str, list[Part]]
"""By worker."""


class ClusterEngine:
    """Expands states on a cluster.

    Args:
        cluster: where.
        tables: what is known of the program.
        levels: the states; new ones are added.
        wanted: the name of the engine of each worker, or empty for the fastest.
    """

    name = "cluster"
    memory = cut = 0
    """States are stored elsewhere."""

    def __init__(
        self, cluster: Cluster, tables: Tables, levels: Levels, wanted: str
    ) -> None:
        self.cluster, self.tables, self.levels = cluster, tables, levels
        self.wanted = wanted
        self.party = cluster.workers()
        self.attempt = 0
        self.level = levels.last
        self.rebuild()

    def rebuild(self) -> None:
        """Start over from the stored states, after their layout changed."""
        self.home = [""] * SHARDS
        self.shards: dict[str, Future[Any]] = {}
        self.stored: dict[str, int] = {}
        self._forget_copies()

    def _forget_copies(self) -> None:
        """Let go of all on the workers but their shards."""
        self.parcels = Parcels()
        self.kept: dict[str, Future[Any]] = {}
        self.known: dict[str, Future[Any]] = {}
        self.parts: Parts = {}
        self.following: Parts = {}

    def archive(self, count: int) -> bool:
        """States are stored elsewhere."""
        return False

    def check(self, todo: Numbers, found: Found) -> None:
        """Evaluate the properties of the states at these positions."""

        def work() -> list[tuple[list[Part], Found]]:
            parts = self._parts(todo)
            tasks = [self._work(w, check, parts[w]) for w in parts]
            return list(zip(parts.values(), self._results(tasks), strict=True))

        self._note(self._until_done(work), found)

    def expand(self, todo: Numbers, noted: Flags, found: Found) -> None:
        """Take all steps from the states at these positions, store new states."""
        answers = self._until_done(lambda: self._shuffle(todo, noted))
        self._note(answers, found)

    def _shuffle(self, todo: Numbers, noted: Flags) -> list[tuple[list[Part], Found]]:
        parts, party = self._parts(todo), self.party
        homes = self._numbers(self.home)
        met = {
            w: self._work(w, expand, parts[w], noted, homes, len(party)) for w in parts
        }
        answers = [self._item(w, task, 0) for w, task in met.items()]
        new = [
            self._store(w, [self._item(v, met[v], 1 + i) for v in met])
            for i, w in enumerate(party)
        ]
        results = self._results([*answers, *new])
        said, rows = results[: len(answers)], results[len(answers) :]
        for worker, (_, sizes) in zip(met, said, strict=True):
            self.cluster.cost.exchanged += sum(sizes) - sizes[party.index(worker)]
        for worker, task, some in zip(party, new, rows, strict=True):
            self._take(worker, task, some)
        founds = (found for found, _ in said)
        return list(zip(parts.values(), founds, strict=True))

    def _take(self, worker: str, task: Future[Any], rows: Words) -> None:
        """Keep new states here, too, and remember where they are in the next level."""
        begin = self.levels.states.size + self.levels.offset - self.levels.base[-1]
        positions = np.arange(begin, begin + len(rows))
        self.following.setdefault(worker, []).append((positions, task))
        self.levels.states.append(rows)
        self.stored[worker] += len(rows)
        self.cluster.cost.exchanged += rows.nbytes

    def _note(self, answers: list[tuple[list[Part], Found]], found: Found) -> None:
        """Join what workers found; what several do not know is asked once."""
        begin = self.levels.frontier()[0]
        misses: list[Miss] = []
        for parts, other in answers:
            positions = np.concatenate([where for where, _ in parts])
            found.redo += [positions[redo] + begin for redo in other.redo]
            found.bad |= other.bad
            found.judgements |= other.judgements
            found.transitions += other.transitions
            found.deadlock |= other.deadlock
            misses += other.misses
        found.misses += distinct(misses, self.tables, self.levels)

    # -- tasks ------------------------------------------------------------------------

    def _submit(
        self, worker: str, function: Callable[..., Any], *args: Any
    ) -> Future[Any]:
        return self.cluster.client.submit(
            function, *args, workers=[worker], pure=False, retries=0
        )

    def _item(self, worker: str, task: Future[Any], number: int) -> Future[Any]:
        return self._submit(worker, operator.getitem, task, number)

    def _work(
        self, worker: str, function: Callable[..., Any], parts: list[Part], *more: Any
    ) -> Future[Any]:
        rows = [task for _, task in parts]
        args = self.wanted, self.levels.base[-1], *more
        return self._submit(worker, function, self.known[worker], rows, *args)

    def _store(self, worker: str, parts: list[Any]) -> Future[Any]:
        stored, shards = self.stored[worker], self.shards[worker]
        return self._submit(worker, store, shards, self.attempt, stored, parts)

    def _results(self, tasks: list[Future[Any]]) -> list[Any]:
        return self.cluster.results(tasks, self.party)

    def _send(self, worker: str, rows: Words) -> Future[Any]:
        self.cluster.cost.exchanged += rows.nbytes
        return self._submit(worker, np.asarray, rows)

    def _parts(self, todo: Numbers) -> Parts:
        """Where states are expanded: all of a level where they are stored."""
        if self.level != self.levels.last:
            self.level = self.levels.last
            self.parts, self.following = self.following, {}
        size = len(self.levels.frontier())
        if len(todo) < size:
            return self._spread(todo)
        there = sum(len(at) for parts in self.parts.values() for at, _ in parts)
        if there < size:
            self.parts = self._spread(todo)
        return self.parts

    def _spread(self, todo: Numbers) -> Parts:
        """Send states to be expanded, to each worker as many."""
        begin = self.levels.frontier()[0]
        parts: Parts = {}
        count = min(PIECE, -(-len(todo) // len(self.party)))
        for number, at in enumerate(range(0, len(todo), count)):
            some = todo[at : at + count]
            worker = self.party[number % len(self.party)]
            task = self._send(worker, self.levels.states.rows[some])
            parts.setdefault(worker, []).append((some - begin, task))
        return parts

    # -- workers come and go ----------------------------------------------------------

    def _until_done[T](self, work: Callable[[], T]) -> T:
        """What `work` gives; if a worker is lost, it is begun again without that.

        Raises:
            ClusterError: that happens too often.
        """
        began, restarts = time.monotonic(), 0
        while restarts < MOST_RESTARTS:
            self.attempt += 1
            try:
                self._make_ready()
                ready = time.monotonic()
                self.cluster.cost.lost += ready - began if restarts else 0.0
                began = ready
                return work()
            except WorkerLost:
                restarts += 1
                self.cluster.cost.restarts += 1
                self._lose()
        raise ClusterError(
            f"workers of {self.cluster.address!r} failed {MOST_RESTARTS} times at one "
            f"level; what they print tells why"
        )

    def _lose(self) -> None:
        """Give up what lost workers had; if none is lost, the states of all."""
        before, self.party = self.party, self.cluster.workers()
        self._forget_copies()
        if set(before) <= set(self.party):
            self.rebuild()
        kept = set(before) & set(self.party)
        self.home = [worker if worker in kept else "" for worker in self.home]
        self.shards = {w: s for w, s in self.shards.items() if w in kept}
        self.stored = {w: n for w, n in self.stored.items() if w in kept}

    def _make_ready(self) -> None:
        """Let each worker have its states, and all that is known."""
        layout = self.levels.states.layout
        for worker in set(self.party) - self.shards.keys():
            self.shards[worker] = self._submit(worker, Shards, layout)
            self.stored[worker] = 0
        if "" in self.home:
            self._deal()
        parcel = self.parcels.pack((self.tables, layout))
        if parcel is not None:
            for worker in self.party:
                self.cluster.cost.exchanged += len(parcel)
                before = self.kept.get(worker, NOTHING)
                self.kept[worker] = self._submit(worker, unpack, before, parcel)
                self.known[worker] = self._submit(worker, unpacked, self.kept[worker])

    def _deal(self) -> None:
        """Find workers for shards that have none, and send them their states."""
        home, homeless = list(self.home), np.array([not w for w in self.home])
        for shard in np.flatnonzero(homeless).tolist():
            home[shard] = min(self.party, key=home.count)
        homes = self._numbers(home)
        for rows in self._all_rows():
            moved = rows[homeless[shard_of(rows)]]
            some = split(moved, homes, len(self.party))
            lengths = [
                self._submit(w, len, self._store(w, [self._send(w, part)]))
                for w, part in zip(self.party, some, strict=True)
            ]
            for worker, count in zip(self.party, self._results(lengths), strict=True):
                self.stored[worker] += count
        self.home = home

    def _numbers(self, home: list[str]) -> Numbers:
        """For each shard the number of its worker; 0 if it has none."""
        numbers = {worker: number for number, worker in enumerate(self.party)}
        return np.array([numbers.get(worker, 0) for worker in home])

    def _all_rows(self) -> Iterator[Words]:
        """All states, piece by piece: levels on disk only, then those in memory."""
        on_disk = [self.levels.rows(level) for level in range(self.levels.first)]
        for rows in (*on_disk, self.levels.states.rows):
            for at in range(0, len(rows), PIECE):
                yield np.array(rows[at : at + PIECE])


def distinct(misses: list[Miss], tables: Tables, levels: Levels) -> list[Miss]:
    """What is to be learned, each once, though several workers ask for it."""
    named = {(tree, *row) for tree, row in misses if tree < 0}
    once: list[Miss] = [(tree, row) for tree, *row in named]
    asked = [(tree, row) for tree, row in misses if tree >= 0]
    layout = levels.states.layout
    rows = np.zeros((len(asked), 2 * layout.words), Word)
    for place, (_, row) in zip(rows, asked, strict=True):
        place[: len(row)] = row
    trees = np.array([tree for tree, _ in asked], np.int64)
    Walker(tables, layout).walk(rows, np.arange(len(asked)), trees, once)
    return once
