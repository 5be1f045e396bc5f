"""The fast engine: each step runs in Python once per footprint, not once per state.

What a step reads is few cells. A run of it on one state holds for every state that
agrees on those cells, so it is stored as a *guarded command*: cells and values that
must be found, cells and values that are then assigned. The same is done with
properties. Exploration then goes level by level: an engine applies what is known to
all states of the level, what was not known is learned, and the engine goes over the
states that it concerns once more. The set of visited states is exact.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from spec.checker.bulk import BulkEngine, Engine, Flags, Found, Miss, Numbers
from spec.checker.judgement import predicates
from spec.checker.learned import Knowledge
from spec.checker.packing import Codes, States
from spec.checker.program import (
    DEFAULT,
    Options,
    Program,
    Progress,
    Verdict,
    Violation,
)
from spec.checker.retrace import Retracer
from spec.checker.tabulation import Command, ThreadTable

__all__ = ["Exploration", "Progress", "explore"]

SPARE = 1
"""Further bits for cells with many values, so that layouts seldom change."""
DEADLOCK = "deadlock"
COMPILED_FROM = 30_000
"""States from which on the compiled engine is worth the time to load it."""


class _FoundUpToNames(Exception):
    """Something is violated in a state that stands for several."""


class Exploration:
    """One exhaustive exploration, level by level, up to a level with a violation.

    Args:
        program: what to explore.
        report: called after each level.
        beyond: go on past a violation until this many states are stored, to find the
            shortest violation of each other property as well.
        options: how to do it.
    """

    def __init__(
        self,
        program: Program,
        report: Callable[[Progress], None] = lambda progress: None,
        beyond: int = 0,
        options: Options = DEFAULT,
    ) -> None:
        self.program = program
        self.report = report
        self.beyond = beyond
        self.options = options
        symmetry = options.symmetry and bool(program.interchangeable) and not beyond
        self.knowledge = Knowledge(program, _file(program, options), symmetry)
        self.tables = self.knowledge.tables
        self.predicates = predicates(program)

    @property
    def commands(self) -> list[Command]:
        """The guarded commands that were learned."""
        return self.knowledge.tabulation.commands

    @property
    def codes(self) -> dict[str, Codes]:
        """For each cell and thread the values that it takes."""
        return self.knowledge.tabulation.codes

    @property
    def threads(self) -> list[ThreadTable]:
        """Where each thread can stand."""
        return self.knowledge.tabulation.threads

    def functions(self, command: Command) -> tuple[str, ...]:
        """The functions that a command's step passed through, outermost first."""
        return self.knowledge.tabulation.functions(command)

    def run(self) -> Verdict:
        """Explore to the end, to the first violation, or until interrupted.

        A violation among states of which each stands for several is shown by an
        exploration of them all, so that its trace can be replayed.
        """
        try:
            return self._run()
        except _FoundUpToNames:
            options = replace(self.options, symmetry=False)
            return Exploration(self.program, self.report, 0, options).run()

    def _run(self) -> Verdict:
        self._begin()
        interrupted = complete = False
        try:
            while not complete:
                self._check_level()
                if self._enough():
                    break
                self._expand_level()
                complete = self.states.size == self.base[-1]
                if complete or self._enough():
                    break
                self.base.append(self.states.size)
                self._change_engine()
                self.report(self._progress())
        except KeyboardInterrupt:
            interrupted = True
        evaluations = self.knowledge.evaluations
        self.knowledge.keep()
        return Verdict(
            states=self.base[-1],
            transitions=self.transitions,
            depth=len(self.base) - 2,
            complete=complete,
            violations=tuple(self.first.values()),
            watched=self.watched,
            witnesses=self.witnesses,
            evaluations=evaluations,
            seconds=time.monotonic() - self.began,
            interrupted=interrupted,
            reduced=self.tables.naming is not None,
        )

    def _begin(self) -> None:
        self.began = time.monotonic()
        layout = self.tables.layout(SPARE)
        self.tables.forest.lay_out(layout)
        self.states = States(layout)
        rows = [layout.row(codes) for codes in self.tables.initial]
        self.states.append(np.unique(np.array(rows, np.uint64), axis=0))
        self.base = [0, self.states.size]
        self.engine: Engine = self._engine()(self.tables, self.states)
        self.transitions = 0
        self.first: dict[str, Violation] = {}
        self.watched: dict[str, int] = {}
        self.witnesses: dict[str, int] = {}

    def _engine(self) -> type[Engine]:
        """The engine that goes on from here: small spaces are not worth compiling."""
        small = self.base[-1] < COMPILED_FROM and "numba" not in sys.modules
        wanted = self.options.engine or ("numpy" if small else "numba")
        if wanted == "numpy" or find_spec("numba") is None:
            return BulkEngine
        from spec.checker.compiled import CompiledEngine

        return CompiledEngine

    def _change_engine(self) -> None:
        if not isinstance(self.engine, self._engine()):
            self.engine = self._engine()(self.tables, self.states)

    def _enough(self) -> bool:
        """Whether a violation ends the exploration here."""
        return bool(self.first) and self.base[-1] >= self.beyond

    def _progress(self) -> Progress:
        return Progress(
            self.base[-1],
            self.transitions,
            self.base[-1] - self.base[-2],
            len(self.base) - 2,
            time.monotonic() - self.began,
            self.knowledge.evaluations,
        )

    # -- levels -----------------------------------------------------------------------

    def _check_level(self) -> None:
        """Evaluate the properties of states on the last level."""
        found = self._found()
        self._until_all_is_known(found, lambda todo: self.engine.check(todo, found))
        level = len(self.base) - 2
        for number, p in enumerate(self.program.states):
            if found.bad[number] and p.id not in self.first:
                trace = self._retracer().to_bad_state(level, number)
                self.first[p.id] = Violation(p.id, "", trace)

    def _expand_level(self) -> None:
        """Take all steps from the last level."""
        found = self._found()
        self._until_all_is_known(
            found, lambda todo: self.engine.expand(todo, self._noted(), found)
        )
        self.transitions += found.transitions
        level = len(self.base) - 2
        for number in sorted(found.judgements):
            judgement = self.tables.judgements[number]
            for name in judgement.witnesses:
                self.witnesses.setdefault(name, level + 1)
            for id in judgement.watched:
                self.watched.setdefault(id, level + 1)
            for id in judgement.broken:
                if id not in self.first:
                    trace, why = self._retracer().to_step(level, number, id)
                    self.first[id] = Violation(id, why, trace)
        if found.deadlock and DEADLOCK not in self.first:
            trace = self._retracer().to_deadlock(level)
            self.first[DEADLOCK] = Violation(DEADLOCK, "", trace)

    def _found(self) -> Found:
        return Found(bad=np.zeros(len(self.program.states), bool))

    def _noted(self) -> Flags:
        """For each predicate, whether the first step of which it tells is known."""
        known = {*self.first, *self.watched, *self.witnesses}
        said = (predicate.says for predicate in self.predicates)
        return np.array(
            [known.issuperset(j.broken + j.watched + j.witnesses) for j in said], bool
        )

    def _retracer(self) -> Retracer:
        if self.tables.naming is not None:
            raise _FoundUpToNames
        return Retracer(self.knowledge.tabulation, self.states, self.base)

    def _until_all_is_known(
        self, found: Found, work: Callable[[Numbers], None]
    ) -> None:
        """Let an engine work on the last level; learn what it does not know; again."""
        todo = np.arange(self.base[-2], self.base[-1])
        while len(todo):
            work(todo)
            todo = np.concatenate(found.redo) if found.redo else todo[:0]
            self._learn(found.misses)
            found.redo.clear()
            found.misses.clear()

    def _learn(self, misses: list[Miss]) -> None:
        if not misses:
            return
        tabulation = self.knowledge.tabulation
        for tree, row in misses:
            tabulation.learn(tree, self.states.layout, row)
        tabulation.count()
        if not self.states.layout.fits(self.tables.counts):
            layout = self.tables.layout(SPARE)
            self.tables.forest.lay_out(layout)
            self.states.repack(layout)
            self.engine.rebuild()


def _file(program: Program, options: Options) -> Path | None:
    """Where what is learned of the program is kept."""
    if options.learned is None or not program.name:
        return None
    kind = "-symmetry" if options.symmetry else ""
    return options.learned / f"{program.name}{kind}.pickle"


def explore(
    program: Program,
    report: Callable[[Progress], None] = lambda progress: None,
    beyond: int = 0,
    options: Options = DEFAULT,
) -> Verdict:
    """Visit every reachable state of `program` and judge its properties.

    Ends with the level that has a violation, or, if `beyond` is given, when that many
    states are stored.
    """
    return Exploration(program, report, beyond, options).run()
