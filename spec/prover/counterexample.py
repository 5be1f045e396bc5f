"""A step that does not keep the invariant, drawn as the state before and after it.

Drawn is its footprint: what the step finds, and what it writes. Everything else is as
in a machine where nothing has happened. The state before shows why the step is taken,
the state after what it leaves behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from spec.cells import PlainCells
from spec.memory import Machine
from spec.prover.counting import held, mapped
from spec.prover.footprints import Place
from spec.prover.steps import SymbolicStep
from spec.publish.traces import describe


def smallest(steps: Iterable[SymbolicStep]) -> SymbolicStep:
    """The step that finds least, and then writes least."""
    return min(steps, key=lambda step: (len(step.guard), len(step.writes)))


def states(step: SymbolicStep, place: Place) -> Iterator[tuple[str, ...]]:
    """The lines that describe the state before a step, and the state after it."""
    names = place.operation.names
    cells: dict[str, Any] = dict(Machine(names).initial())
    cells |= {f"{name}.state": "live" for name in names.mms}
    cells |= {f"{name}.state": "free" for name in names.refs}
    found = place.own | step.shown.reads
    cells |= {k: v for k, v in found.items() if not k.startswith("rx.")}
    for count, holders in (("refcount", held), ("mapcount", mapped)):
        for page in names.pages:
            if f"{page}.{count}" not in found:
                cells[f"{page}.{count}"] = holders(cells, page)
    after = {k: v for k, v in step.shown.writes.items() if not k.startswith("rx.")}
    for values in (cells, cells | after):
        yield tuple(describe(Machine(names, None, PlainCells(dict(values)))))


def functions(step: SymbolicStep) -> str:
    """The functions that the step passes through, innermost last."""
    return " > ".join(step.shown.functions[1:])
