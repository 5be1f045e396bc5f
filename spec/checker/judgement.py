"""Judge single steps: which properties of steps break, and which witnesses are met."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
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


class ViewAfter(View):
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
    return _judge(program, values.__getitem__, {}, set(writes))


def _judge(
    program: Program, source: Source, reads: dict[str, Any], written: set[str]
) -> Judgement:
    before, after = View(source, reads), ViewAfter(source, reads, written)
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
