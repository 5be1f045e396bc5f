"""The fast engine: each step runs in Python once per footprint, not once per state.

What a step reads is few cells. A run of it on one state holds for every state that
agrees on those cells, so it is stored as a *guarded command*: cells and values that
must be found, cells and values that are then assigned. The same is done with
properties. Exploration then goes level by level: an engine applies what is known to
all states of the level, what was not known is learned, and the engine goes over the
states that it concerns once more. The set of visited states is exact.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np

from spec.checker.bulk import BulkEngine, Engine, Flags, Found, Miss, Numbers
from spec.checker.judgement import predicates
from spec.checker.learned import Knowledge, no_search_for_cycles
from spec.checker.levels import LEARNED, PROGRESS, VERDICT, Levels, write
from spec.checker.packing import Codes, Layout, States, Word
from spec.checker.program import (
    DEFAULT,
    Options,
    Program,
    Progress,
    Verdict,
    Violation,
    still_to_come,
)
from spec.checker.retrace import Retracer
from spec.checker.symmetry import MOST_NAMES
from spec.checker.tabulation import Command, ThreadTable

__all__ = ["Exploration", "Progress", "explore"]

SPARE = 1
"""Further bits for cells with many values, so that layouts seldom change."""
DEADLOCK = "deadlock"
COMPILED_FROM = 30_000
"""States from which on the compiled engine is worth the time to load it."""
ARCHIVE_FROM = 1 << 23
"""States from which on those that were expanded are archived."""


class _FoundUpToNames(Exception):
    """Something is violated in a state that stands for several."""


class _LevelsAreGone(Exception):
    """Something is violated, and there are no levels to find a trace from."""


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
        alike = sum(map(len, program.interchangeable))
        symmetry = options.symmetry and 0 < alike <= MOST_NAMES and not beyond
        self.folder = _folder(program, options)
        file = _file(program, options) if self.folder is None else self.folder / LEARNED
        self.knowledge = Knowledge(program, file, symmetry)
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
        if self.folder is not None and (self.folder / VERDICT).exists():
            finished: Verdict = pickle.loads((self.folder / VERDICT).read_bytes())
            return finished
        self.began = time.monotonic()
        try:
            with no_search_for_cycles():
                verdict = self._run_with_levels()
        except _FoundUpToNames:
            options = replace(self.options, symmetry=False)
            return self._again(options).run()
        if self.folder is not None and not verdict.interrupted:
            write(self.folder / VERDICT, verdict)
        return verdict

    def _again(self, options: Options) -> Exploration:
        """The exploration of the same program with other options."""
        return Exploration(self.program, self.report, 0, options)

    def _run_with_levels(self) -> Verdict:
        """Explore; if a trace is wanted after levels have gone, once more with all."""
        try:
            return self._run()
        except _LevelsAreGone:
            self.options = replace(self.options, levels=True)
            return self._run()

    def _run(self) -> Verdict:
        self._begin()
        interrupted = complete = False
        try:
            while not complete:
                self._check_level()
                if self._enough():
                    break
                self._expand_level()
                complete = self.states.size + self.levels.offset == self.base[-1]
                if complete or self._enough():
                    break
                self._close_level()
                self.report(self._progress())
        except KeyboardInterrupt:
            interrupted = True
        evaluations = self.knowledge.evaluations
        if not self._learning:
            self.knowledge.keep()
        return Verdict(
            states=self.base[-1],
            transitions=self.transitions,
            depth=self.levels.last,
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
        layout = self._layout()
        self.tables.forest.lay_out(layout)
        self.states = States(layout)
        rows = [layout.row(codes) for codes in self.tables.initial]
        self.states.append(np.unique(np.array(rows, Word), axis=0))
        self.levels = Levels(self.states, self.options.memory, self.folder)
        self.transitions = 0
        self._learning = False
        self.first: dict[str, Violation] = {}
        self.watched: dict[str, int] = {}
        self.witnesses: dict[str, int] = {}
        self._go_on()
        self.engine = self._new_engine()

    def _go_on(self) -> None:
        """Take up what an interrupted exploration has left in the folder."""
        if self.folder is None or not (self.folder / PROGRESS).exists():
            return
        noted = pickle.loads((self.folder / PROGRESS).read_bytes())
        self.transitions = noted["transitions"]
        self.watched, self.witnesses = noted["watched"], noted["witnesses"]
        self.first = noted["first"]
        self.counts = noted["counts"]
        layout = Layout(self.tables.keys, self.counts, SPARE)
        self.states.layout = layout
        self.levels.load(noted)
        if not layout.fits(self.tables.counts):
            layout = self._layout()
            self.levels.repack(layout)
        self.tables.forest.lay_out(layout)

    def _save(self) -> None:
        """Note all that is needed to go on from the last level."""
        if self.folder is not None:
            self.knowledge.keep()
            self.levels.save(
                {
                    "counts": self.counts,
                    "transitions": self.transitions,
                    "watched": self.watched,
                    "witnesses": self.witnesses,
                    "first": self.first,
                }
            )

    @property
    def base(self) -> list[int]:
        """How many states there are before each level, and in all levels."""
        return self.levels.base

    def _layout(self) -> Layout:
        self.counts = list(self.tables.counts)
        return self.tables.layout(SPARE)

    def _engine(self) -> type[Engine]:
        """The engine that goes on from here."""
        return engine_for(self.options.engine, self.base[-1])

    def _new_engine(self) -> Engine:
        return self._engine()(self.tables, self.states, self.options.order)

    def _close_level(self) -> None:
        """Make the new states the last level, and leave others to the disk."""
        self.levels.close()
        self._save()
        spilled = self.levels.spill(self._memory())
        if self._outgrown(spilled):
            self.engine = self._new_engine()
        self._archive()

    def _archive(self) -> None:
        """Keep of states that were expanded only which they are, if there are many."""
        options = self.options
        if options.levels or options.memory or options.folder is not None:
            return
        expanded = int(self.levels.frontier()[0])
        if self.base[-1] >= ARCHIVE_FROM and self.engine.archive(expanded):
            self.levels.leave_to_archive()

    def _outgrown(self, spilled: bool) -> bool:
        """Whether the engine knows states that are gone, or another is faster."""
        return spilled or not isinstance(self.engine, self._engine())

    def _memory(self) -> int:
        return self.states.memory + self.engine.memory

    def _enough(self) -> bool:
        """Whether a violation ends the exploration here."""
        return bool(self.first) and self.base[-1] >= self.beyond

    def _progress(self) -> Progress:
        return Progress(
            self.base[-1],
            self.transitions,
            self.base[-1] - self.base[-2],
            self.levels.last,
            time.monotonic() - self.began,
            self.knowledge.evaluations,
            self._memory(),
            still_to_come([end - begin for begin, end in pairwise(self.base)]),
        )

    # -- levels -----------------------------------------------------------------------

    def _check_level(self) -> None:
        """Evaluate the properties of states on the last level."""
        found = self._found()
        self._until_all_is_known(found, lambda todo: self.engine.check(todo, found))
        level = self.levels.last
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
        self._forget_known()
        level = self.levels.last
        judgements = [self.tables.judgements[n] for n in found.judgements]
        for judgement in judgements:
            for name in judgement.witnesses:
                self.witnesses.setdefault(name, level + 1)
            for id in judgement.watched:
                self.watched.setdefault(id, level + 1)
        broken = {id for judgement in judgements for id in judgement.broken}
        for id in sorted(broken - self.first.keys(), key=self._rank):
            trace, why = self._retracer().to_step(level, id)
            self.first[id] = Violation(id, why, trace)
        if found.deadlock and DEADLOCK not in self.first:
            trace = self._retracer().to_deadlock(level)
            self.first[DEADLOCK] = Violation(DEADLOCK, "", trace)

    def _forget_known(self) -> None:
        """Remove new states that are on disk, which the engine could not know."""
        if self.levels.first and self.levels.forget_known():
            self.engine.rebuild()

    def _rank(self, id: str) -> tuple[int, str]:
        """Where a property of steps stands in the program; then what steps raise."""
        ids = [p.id for p in self.program.steps]
        return (ids.index(id) if id in ids else len(ids)), id

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
        if self.levels.archived:
            raise _LevelsAreGone
        return Retracer(self.knowledge.tabulation, self.levels)

    def _until_all_is_known(
        self, found: Found, work: Callable[[Numbers], None]
    ) -> None:
        """Let an engine work on the last level; learn what it does not know; again."""
        todo = self.levels.frontier()
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
        # an interrupt in between leaves half of something learned: not to be kept
        self._learning = True
        for tree, row in misses:
            tabulation.learn(tree, self.states.layout, row)
        tabulation.count()
        self._learning = False
        if not self.states.layout.fits(self.tables.counts):
            self.counts = list(self.tables.counts)
            layout = self.states.layout.grown(self.counts, self.engine.cut)
            self.tables.forest.lay_out(layout)
            self.levels.repack(layout)
            self.engine.rebuild()


def engine_for(wanted: str, states: int) -> type[Engine]:
    """The engine for so many states: small spaces are not worth compiling.

    Args:
        wanted: the name of an engine, or empty for what is faster and installed.
        states: how many there are by now.
    """
    small = states < COMPILED_FROM and "numba" not in sys.modules
    if (wanted or ("numpy" if small else "numba")) == "numpy":
        return BulkEngine
    if find_spec("numba") is None:
        return BulkEngine
    from spec.checker.compiled import CompiledEngine

    return CompiledEngine


def _folder(program: Program, options: Options) -> Path | None:
    """Where the levels of the exploration are kept."""
    if options.folder is None:
        return None
    kind = "-symmetry" if options.symmetry else ""
    return options.folder / f"{program.name or 'program'}{kind}"


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
