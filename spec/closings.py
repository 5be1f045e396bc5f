"""What the two ways to close the gap at swap-out and migration cost.

`sketch` refuses to unmap a page that somebody relies on; `carry` unmaps it, remembers
the bit in the entry, and has `fork()` copy while a reference lives. Each workload is
run once on both, alone, and what the operations do to page tables is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from spec.cells import PlainCells
from spec.decisions import Foll, Model
from spec.fault import read, write
from spec.fork import fork
from spec.gup import get_user_pages
from spec.gup_fast import device_write, put
from spec.memory import Machine, Names, NonPresent, Pte, Steps
from spec.migration import move_pages
from spec.models import MODELS, VARIANTS
from spec.reclaim import madvise_pageout
from spec.rules import Step

NAMES = Names(refs=("r",), slots=("s1",))
CLOSINGS: dict[str, Model] = {"refuse": MODELS["sketch"], "carry": VARIANTS["carry"]}
COUNTED = {
    "undone": "PTEs cleared and restored",
    "entries": "entries installed",
    "back": "entries replaced by a PTE",
    "copies": "copies",
}


@dataclass(frozen=True)
class Workload:
    """A sequence of operations on one process.

    Attributes:
        finding: the id of the finding that it belongs to.
        title: what happens, in words.
        held: whether a FOLL_GET reference is taken before the page is unmapped.
        migrate: whether the page is migrated instead of swapped out.
        forks: whether the process forks while the page is unmapped.
    """

    finding: str
    title: str
    held: bool
    migrate: bool = False
    forks: bool = False

    def operations(self, machine: Machine) -> Iterator[Steps]:
        """What is run, one after the other."""
        A, r = machine.mms["A"], machine.refs["r"]
        yield write(A, "x", 1)
        if self.held:
            yield get_user_pages(A, "x", r, Foll(write=True))
        yield move_pages(A, "x") if self.migrate else madvise_pageout(A, "x")
        if self.forks:
            yield fork(A, machine.mms["B"])
        if self.held:
            yield device_write(r, 2)
            put(A, r)
        yield read(A, "x")
        yield write(A, "x", 3)


WORKLOADS = (
    Workload(
        "D8", "Swap-out of a page that nobody holds, then fork", False, forks=True
    ),
    Workload("D8", "Swap-out of a page with a FOLL_GET reference", True),
    Workload("D8", "The same, fork before the reference is dropped", True, forks=True),
    Workload("D9", "Migration of a page with a FOLL_GET reference", True, migrate=True),
)


def costs(workload: Workload, model: Model) -> Counter[str]:
    """How often each of `COUNTED` happens while the workload runs.

    >>> costs(WORKLOADS[1], CLOSINGS["refuse"])["undone"]
    1
    """
    machine = Machine(NAMES, model)
    machine.start("A")
    counts: Counter[str] = Counter()
    for operation in workload.operations(machine):
        for step in steps_of(machine, operation):
            counts.update(counted(step))
    return counts


def steps_of(machine: Machine, operation: Steps) -> Iterator[Step]:
    """Each atomic step of an operation that runs alone."""
    cells = machine.cells
    assert isinstance(cells, PlainCells)
    going = True
    while going:
        was = dict(cells.values)
        going = next(operation, StopIteration) is not StopIteration
        written = {key for key, value in cells.values.items() if was[key] != value}
        yield Step(Machine(NAMES, None, PlainCells(was)), machine, written)


def counted(step: Step) -> Iterator[str]:
    """What a step does that costs something."""
    yield from ("copies" for _ in [*step.copies_into_child(), *step.replaces()])
    for mm, _, old, new in step.changes_pte():
        if mm.state != "live":
            continue
        if old is None and isinstance(new, Pte) and (mm, new) not in step.maps_new():
            yield "undone"
        elif isinstance(new, NonPresent) and not isinstance(old, NonPresent):
            yield "entries"
        elif isinstance(old, NonPresent) and isinstance(new, Pte):
            yield "back"
