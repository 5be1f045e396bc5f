"""Shapes: small programs of their own, for what a machine leaves out.

A chapter that lifts an assumption of the other chapters has its own *world*: few
records, few operations, and rules over the steps of these. A *shape* is one program
of such a world; it stands in bounds beside the sections of machines.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from spec.cells import Cells, PlainCells, Record
from spec.checker.program import Program, StateProperty, StepProperty, Thread
from spec.codename import code_name
from spec.decisions import Model
from spec.memory import Names
from spec.rules import Rule, load


class World(Protocol):
    """The records of one world over a store of cells."""

    def records(self) -> Iterator[Record]:
        """All of them."""


@dataclass(frozen=True)
class WorldStep[W: World]:
    """One atomic step of a world: before, after, and which cells it assigned."""

    before: W
    after: W
    written: set[str]


Menu = tuple[str, ...]
Make = Callable[[tuple[Menu, ...], Cells, frozenset[str]], Any]


@dataclass(frozen=True)
class Shape:
    """One exhaustive exploration of a world.

    Attributes:
        world: which rules are judged: those with this `world`.
        menus: for each CPU, the operations that it may run.
        make: makes the world of these menus over cells; some rules are not obeyed.
        threads: by name, what runs in the world.
    """

    world: str
    menus: tuple[Menu, ...]
    make: Make
    threads: Callable[[tuple[Menu, ...], frozenset[str]], Mapping[str, Thread]]

    @property
    def names(self) -> Names:
        """What exists: one process, one address, one page."""
        cpus = tuple(f"cpu{i}" for i in range(len(self.menus)))
        walkers = [
            cpu
            for cpu, menu in zip(cpus, self.menus, strict=True)
            if "gup_fast" in menu
        ]
        return Names(
            mms=("A",),
            pages=("p1",),
            refs=tuple(walkers),
            cpus=cpus,
            vas=("x",),
            slots=(),
        )

    def describe(self) -> Iterator[str]:
        """What each CPU does, in words."""
        for i, menu in enumerate(self.menus):
            yield f"CPU {i}: {', '.join(f'`{word}`' for word in menu)}"

    def initial(self) -> dict[str, Hashable]:
        """The state in which everything starts."""
        world = self.make(self.menus, PlainCells({}), frozenset())
        return {k: v for record in world.records() for k, v in record.initial(())}

    def program(self, model: Model, without: frozenset[str]) -> Program:
        """What the checker explores: the threads, and the rules of the world.

        While a rule is ablated, rules are only watched: a guarantee must break.
        """
        rules = judged(self, model)
        return Program(
            initial=[self.initial()],
            threads=self.threads(self.menus, without),
            states=[
                StateProperty(r.id, self._state(r)) for r in rules if r.over == "state"
            ],
            steps=[
                StepProperty(r.id, self._step(r), not without)
                for r in rules
                if r.over == "step"
            ],
            name=code_name(self.world, repr(self.menus), model.name, *sorted(without)),
        )

    def _state(self, rule: Rule) -> Callable[[Cells], bool]:
        return lambda cells: rule.holds(self.make(self.menus, cells, frozenset()))

    def _step(self, rule: Rule) -> Callable[[Cells, Cells, set[str]], bool]:
        def holds(before: Cells, after: Cells, written: set[str]) -> bool:
            was = self.make(self.menus, before, frozenset())
            becomes = self.make(self.menus, after, frozenset())
            return rule.holds(WorldStep(was, becomes, written))

        return holds


def judged(shape: Shape, model: Model) -> list[Rule]:
    """The rules and guarantees that a shape is explored for."""
    return [
        rule
        for rule in load().values()
        if rule.world == shape.world and model.name in rule.models
    ]
