"""Exploration on several machines: levels that are large go to a Dask cluster.

This process learns, decides, keeps the levels, and finds traces; the workers store the
visited states, and expand them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from spec.checker.bulk import BulkEngine, Engine, Miss
from spec.checker.connection import Cluster
from spec.checker.explore import Exploration
from spec.checker.packing import Layout, States, Word
from spec.checker.program import DEFAULT, Options, Program, Progress, Verdict
from spec.checker.shuffle import ClusterEngine

WORTH = 50_000
"""States from which on an exploration is worth being sent to other machines."""


class ClusterExploration(Exploration):
    """An exploration that goes on on a cluster once it is large enough.

    Args:
        cluster: where.
        program: what to explore.
        report: called after each level.
        options: how to do it.
    """

    def __init__(
        self,
        cluster: Cluster,
        program: Program,
        report: Callable[[Progress], None],
        options: Options,
    ) -> None:
        # workers are given the states that were met before there were enough for them
        super().__init__(program, report, 0, replace(options, levels=True))
        self.cluster = cluster

    def run(self) -> Verdict:
        """Explore to the end, to the first violation, or until interrupted."""
        verdict = super().run()
        engine = getattr(self, "engine", None)
        if isinstance(engine, ClusterEngine):
            stored = self.cluster.cost.states
            for worker, count in engine.stored.items():
                stored[worker] = stored.get(worker, 0) + count
        return verdict

    def _learn(self, misses: list[Miss]) -> None:
        layout = self.states.layout
        super()._learn(misses)
        if isinstance(self.engine, ClusterEngine):
            rows = [row[: layout.words] for tree, row in misses if tree >= 0]
            self._learn_ahead(layout, rows)

    def _learn_ahead(self, layout: Layout, rows: list[list[int]]) -> None:
        """Learn all that some states ask for, so that workers have to ask but once."""
        while rows and self.states.layout is layout:
            states = States(layout)
            states.append(np.unique(np.array(rows, Word), axis=0))
            engine, found = BulkEngine(self.tables, states), self._found()
            todo = np.arange(states.size)
            engine.check(todo, found)
            engine.expand(todo, self._noted(), found)
            if not found.misses:
                return
            super()._learn(found.misses)

    def _again(self, options: Options) -> Exploration:
        return ClusterExploration(self.cluster, self.program, self.report, options)

    def _new_engine(self) -> Engine:
        if self.base[-1] < WORTH:
            return super()._new_engine()
        wanted = self.options.engine
        return ClusterEngine(self.cluster, self.tables, self.levels, wanted)

    def _outgrown(self, spilled: bool) -> bool:
        if isinstance(self.engine, ClusterEngine):
            return False
        return self.base[-1] >= WORTH or super()._outgrown(spilled)

    def _forget_known(self) -> None:
        if not isinstance(self.engine, ClusterEngine):
            super()._forget_known()


def explore_on(
    cluster: Cluster,
    program: Program,
    report: Callable[[Progress], None] = lambda progress: None,
    options: Options = DEFAULT,
) -> Verdict:
    """Visit every reachable state of `program` and judge its properties.

    Raises:
        ClusterError: the cluster is gone.
    """
    return ClusterExploration(cluster, program, report, options).run()
