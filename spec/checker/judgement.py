"""Judge single steps: which properties of steps break, and which witnesses are met."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.cells import Cells
from spec.checker.packing import Layout, Words
from spec.checker.program import Program
from spec.checker.tables import Source, Table

Holds = Callable[[Cells, Cells, set[str]], bool]


@dataclass(frozen=True)
class Judgement:
    """What is to be said of one step.

    Attributes:
        broken: ids of the properties that it violates.
        watched: the same for properties that are only watched.
        witnesses: names of the witnesses that it is.
    """

    broken: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()


class View:
    """Read-only cells that note what is read."""

    def __init__(self, source: Source, reads: dict[str, Any]) -> None:
        self.source = source
        self.reads = reads

    def read(self, key: str) -> Any:
        """The value of the cell, noted."""
        if key not in self.reads:
            self.reads[key] = self.source(key)
        return self.reads[key]

    def write(self, key: str, value: Hashable) -> None:
        """Properties must not write."""
        raise TypeError(f"a property assigns {key}")

    def choose(self, question: str, options: Sequence[Any]) -> Any:
        """Properties must not choose."""
        raise TypeError(f"a property chooses {question}")


class _After(View):
    """The cells after a step: those that it assigned are read under primed names."""

    def __init__(
        self, source: Source, reads: dict[str, Any], written: set[str]
    ) -> None:
        super().__init__(source, reads)
        self.written = written

    def read(self, key: str) -> Any:
        """The value of the cell after the step, noted."""
        return super().read(primed(key) if key in self.written else key)


def primed(key: str) -> str:
    """The name under which a cell is read as it is after a step."""
    return f"{key}'"


def judge(
    program: Program, before: dict[str, Any], writes: dict[str, Any]
) -> Judgement:
    """All that `program` says of one step.

    Args:
        program: whose properties and witnesses.
        before: the cells before the step.
        writes: the cells that it assigned, and their new values.
    """
    values = before | {primed(key): value for key, value in writes.items()}
    return _judge(program, values.__getitem__, {}, set(writes))


def _judge(
    program: Program, source: Source, reads: dict[str, Any], written: set[str]
) -> Judgement:
    before, after = View(source, reads), _After(source, reads, written)
    failed = [p for p in program.steps if not p.holds(before, after, written)]
    return Judgement(
        broken=tuple(p.id for p in failed if p.enforced),
        watched=tuple(p.id for p in failed if not p.enforced),
        witnesses=tuple(
            name
            for name, holds in program.witnesses.items()
            if holds(before, after, written)
        ),
    )


class PairLayout:
    """The layout of rows that hold a state before a step and the one after it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def row_mask(self, keys: Sequence[str]) -> list[int]:
        """One mask a word, with the bits of the given cells set."""
        after = [key[:-1] for key in keys if key.endswith("'")]
        before = [key for key in keys if not key.endswith("'")]
        return [*self.layout.row_mask(before), *self.layout.row_mask(after)]

    def value(self, row: Sequence[int], key: str) -> Any:
        """The value of one cell, or of a primed one, in one row."""
        if key.endswith("'"):
            return self.layout.value(row[self.layout.words :], key[:-1])
        return self.layout.value(row, key)


class _Form:
    """The steps that assign the same cells.

    Most properties say nothing of most steps: which cells were assigned decides.
    Those are asked once; the rest is tabulated by what it reads.
    """

    def __init__(self, judges: Judges, written: frozenset[str]) -> None:
        self.judges = judges
        self.written = written
        self.open: Program | None = None
        self.table = Table(self._evaluate)

    def _evaluate(self, source: Source) -> tuple[dict[str, Any], int]:
        judges = self.judges
        judges.evaluations += 1
        if self.open is None:
            self.open, settled = _parted(judges.program, self._looks(source))
            self.settled = _judge(settled, source, {}, set(self.written))
        reads: dict[str, Any] = {}
        found = _judge(self.open, source, reads, set(self.written))
        return reads, judges.number(
            Judgement(
                found.broken + self.settled.broken,
                found.watched + self.settled.watched,
                found.witnesses + self.settled.witnesses,
            )
        )

    def _looks(self, source: Source) -> Callable[[Holds], bool]:
        """Whether a predicate reads any cell of a step of this form."""

        def looks(holds: Holds) -> bool:
            reads: dict[str, Any] = {}
            # a set of its own: a predicate may keep what it computed for one
            written = set(self.written)
            holds(View(source, reads), _After(source, reads, written), written)
            return bool(reads)

        return looks


def _parted(program: Program, wanted: Callable[[Holds], bool]) -> list[Program]:
    """The same program twice: with the predicates that are wanted, and the others."""
    steps = [(p, wanted(p.holds)) for p in program.steps]
    witnesses = [(n, h, wanted(h)) for n, h in program.witnesses.items()]
    return [
        replace(
            program,
            steps=[p for p, is_wanted in steps if is_wanted == answer],
            witnesses={n: h for n, h, is_wanted in witnesses if is_wanted == answer},
        )
        for answer in (True, False)
    ]


class Judges:
    """Judges steps in bulk; each predicate runs once per footprint."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.found: list[Judgement] = []
        self.numbers: dict[Judgement, int] = {}
        self.forms: dict[frozenset[str], int] = {}
        self.by_form: list[_Form] = []
        self.evaluations = 0

    def number(self, judgement: Judgement) -> int:
        """A number for the judgement, a new one if it has none."""
        if judgement not in self.numbers:
            self.numbers[judgement] = len(self.found)
            self.found.append(judgement)
        return self.numbers[judgement]

    def form(self, written: frozenset[str]) -> int:
        """A number for the set of cells that a step assigns."""
        if written not in self.forms:
            self.forms[written] = len(self.by_form)
            self.by_form.append(_Form(self, written))
        return self.forms[written]

    def forget(self) -> None:
        """Drop what depends on the layout."""
        for form in self.by_form:
            form.table.forget()

    def __call__(
        self,
        before: Words,
        after: Words,
        forms: npt.NDArray[np.int64],
        layout: Layout,
        seed: int,
    ) -> npt.NDArray[np.int64]:
        """The numbers of the judgements on steps, given as rows before and after."""
        rows = np.hstack([before, after])
        numbers = np.zeros(len(rows), np.int64)
        order = np.argsort(forms, kind="stable")
        starts = np.searchsorted(forms[order], np.arange(len(self.by_form) + 1))
        for i, form in enumerate(self.by_form):
            at = order[starts[i] : starts[i + 1]]
            if len(at):
                numbers[at] = form.table(rows[at], PairLayout(layout), seed)
        return numbers
