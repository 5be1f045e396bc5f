"""Judge single steps: which properties of steps break, and which witnesses are met."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from spec.checker.program import Program
from spec.checker.steps import Source


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

    def __add__(self, other: Judgement) -> Judgement:
        """What both say."""
        return Judgement(
            self.broken + other.broken,
            self.watched + other.watched,
            self.witnesses + other.witnesses,
        )


@dataclass(frozen=True)
class Predicate:
    """A question about steps: where `holds` gives `noted`, `says` is to be said."""

    holds: Callable[[Any, Any, set[str]], bool]
    noted: bool
    says: Judgement


def predicates(program: Program) -> list[Predicate]:
    """All that `program` asks of steps."""
    return [
        *(
            Predicate(p.holds, False, Judgement(broken=(p.id,)))
            if p.enforced
            else Predicate(p.holds, False, Judgement(watched=(p.id,)))
            for p in program.steps
        ),
        *(
            Predicate(holds, True, Judgement(witnesses=(name,)))
            for name, holds in program.witnesses.items()
        ),
    ]


class ReadOnly:
    """Cells as properties see them."""

    def write(self, key: str, value: Hashable) -> None:
        """Properties must not write."""
        raise TypeError(f"a property assigns {key}")

    def choose(self, question: str, options: Sequence[Any]) -> Any:
        """Properties must not choose."""
        raise TypeError(f"a property chooses {question}")


class View(ReadOnly):
    """Read-only cells that note what is read."""

    def __init__(self, source: Source, reads: dict[str, Any]) -> None:
        self.source = source
        self.reads = reads

    def read(self, key: str) -> Any:
        """The value of the cell, noted."""
        try:
            return self.reads[key]
        except KeyError:
            value = self.reads[key] = self.source(key)
            return value


class ViewAfter(View):
    """The cells after a step: those that it assigned are read under primed names."""

    def __init__(
        self, source: Source, reads: dict[str, Any], written: set[str]
    ) -> None:
        super().__init__(source, reads)
        self.written = written

    def read(self, key: str) -> Any:
        """The value of the cell after the step, noted."""
        return super().read(f"{key}'" if key in self.written else key)


def primed(key: str) -> str:
    """The name under which a cell is read as it is after a step."""
    return f"{key}'"


def plain(key: str) -> str:
    """The name of the cell that a primed name, or its own, stands for."""
    return key.removesuffix("'")


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
    reads: dict[str, Any] = {}
    written = set(writes)
    was = View(values.__getitem__, reads)
    becomes = ViewAfter(values.__getitem__, reads, written)
    judgements = (
        predicate.says
        for predicate in predicates(program)
        if predicate.holds(was, becomes, written) == predicate.noted
    )
    return sum(judgements, Judgement())
