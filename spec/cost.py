"""What each model costs: copies, faults, slow GUP and tests, counted on workloads.

Each operation of a workload runs alone. Functions are counted as a kprobe counts
them, where they begin; steps by what they change; tests by what a decision of the
model reads. A permission is always used or never, and every combination is run, so
that a count is a range: the least and the most.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import Any, cast

from spec.cells import PlainCells, Value
from spec.cow import wp_can_reuse_anon_folio
from spec.decisions import FaultFlags, Model
from spec.fault import handle_mm_fault
from spec.gup import get_user_pages
from spec.memory import Machine, NonPresent, Pte, Steps
from spec.models import DECISIONS
from spec.rules import BIT_MODELS, Step
from spec.workloads import PAGES, Line, Workload, names

COUNTED = {
    "copies": ("copies", "pages that fork or a fault copied"),
    "write": ("write faults", "faults that a write, of the CPU or of GUP, raised"),
    "read": ("read faults", "faults that a read raised"),
    "unshare": ("unshare faults", "faults with FAULT_FLAG_UNSHARE"),
    "slow": ("slow GUP", "entries into GUP's slow path, from GUP-fast or at once"),
    "count": ("count tests", "reads of refcount or mapcount by a decision"),
    "pin": ("pin tests", "reads of pincount by a decision"),
    "bit": ("bit tests", "reads of the bit by a decision or by do_wp_page()"),
    "sets": ("bits set", "pages whose bit was set"),
    "clears": ("bits cleared", "pages in use whose bit was cleared"),
    "undone": ("PTEs restored", "PTEs that were cleared to unmap, and put back"),
}
"""What is counted: its title and what it means."""

ENTRIES = ("entries", "back")
"""Counted as well: swap and migration entries installed, and replaced by a PTE."""

TESTS = {
    "refcount": "count",
    "mapcount": "count",
    "pincount": "pin",
    "anon_exclusive": "bit",
}
"""What a decision's read of a field counts as."""

Range = tuple[int, int]
Policy = dict[str, int]


# -- counting --------------------------------------------------------------------------


class CountingCells(PlainCells):
    """Cells that count what a decision reads, and note what a step writes."""

    def __init__(self, counts: Counter[str], policy: Policy) -> None:
        super().__init__({}, self._answer)
        self.counts = counts
        self.policy = policy
        self.deciding = False
        self.written: set[str] = set()

    def _answer(self, question: str, options: Sequence[Value]) -> Value:
        return options[self.policy.setdefault(question, 0)]

    def read(self, key: str) -> Any:
        """The value of the cell `key`."""
        test = TESTS.get(key.rpartition(".")[2])
        if self.deciding and test:
            self.counts[test] += 1
        return super().read(key)

    def write(self, key: str, value: Value) -> None:
        """Give the cell `key` the value `value`."""
        self.written.add(key)
        super().write(key, value)


class Watched:
    """A model whose decisions are known to the cells while they are made."""

    def __init__(self, model: Model, cells: CountingCells) -> None:
        self.model = model
        self.cells = cells

    def __getattr__(self, name: str) -> Any:
        answer = getattr(self.model, name)
        if name not in DECISIONS:
            return answer

        def decide(*asked: Any) -> Any:
            self.cells.deciding = True
            try:
                return answer(*asked)
            finally:
                self.cells.deciding = False

        return decide


def _fault(flags: FaultFlags) -> str:
    return "unshare" if flags.unshare else "write" if flags.write else "read"


PROBES: dict[CodeType, Callable[[Mapping[str, Any]], str]] = {
    handle_mm_fault.__code__: lambda given: _fault(given["flags"]),
    get_user_pages.__code__: lambda given: "slow",
    # its first act is to test the bit, where there is one
    wp_can_reuse_anon_folio.__code__: lambda given: (
        "bit" if given["mm"].model.family in BIT_MODELS else ""
    ),
}
"""For the function that begins, given its arguments, what is counted."""


@contextmanager
def probes(counts: Counter[str]) -> Iterator[None]:
    """Count the calls of `PROBES` in `counts`."""
    monitoring = sys.monitoring
    tool, begins = 3, monitoring.events.PY_START

    def begun(code: CodeType, offset: int) -> None:
        counts[PROBES[code](sys._getframe(1).f_locals)] += 1

    monitoring.use_tool_id(tool, "anon-exclusive cost")
    monitoring.register_callback(tool, begins, begun)
    for code in PROBES:
        monitoring.set_local_events(tool, code, begins)
    try:
        yield
    finally:
        for code in PROBES:
            monitoring.set_local_events(tool, code, monitoring.events.NO_EVENTS)
        monitoring.register_callback(tool, begins, None)
        monitoring.free_tool_id(tool)


def steps_of(machine: Machine, operation: Steps) -> Iterator[Step]:
    """Each atomic step of an operation that runs alone."""
    cells = machine.cells
    assert isinstance(cells, CountingCells)
    was = PlainCells(dict(cells.values))
    step = Step(Machine(machine.names, None, was), machine, set())
    going = True
    while going:
        cells.written = set()
        going = next(operation, StopIteration) is not StopIteration
        step.assign(cells.written)
        yield step
        was.values.update({key: cells.values[key] for key in cells.written})


def changes(step: Step) -> Iterator[str]:
    """What a step changes that costs something."""
    yield from ("copies" for _ in [*step.copies_into_child(), *step.replaces()])
    yield from ("sets" for _ in step.sets_bit())
    freed = {page.name for page in step.frees()}
    yield from ("clears" for page in step.clears_bit() if page.name not in freed)
    for mm, _, old, new in step.changes_pte():
        if mm.state != "live":
            continue
        if old is None and isinstance(new, Pte) and (mm, new) not in step.maps_new():
            yield "undone"
        elif isinstance(new, NonPresent) and not isinstance(old, NonPresent):
            yield "entries"
        elif isinstance(old, NonPresent) and isinstance(new, Pte):
            yield "back"


def counts_of(
    workload: Workload,
    model: Model,
    without: frozenset[str],
    pages: int,
    policy: Policy,
) -> Counter[str]:
    """Run a workload once and count; `policy` gains the permissions it asks for."""
    counts: Counter[str] = Counter()
    cells = CountingCells(counts, policy)
    watched = cast(Model, Watched(model, cells))
    machine = Machine(names(pages), watched, cells, without=without)
    cells.values.update(machine.initial())
    machine.start()
    for step in _run(machine, workload.before):
        del step
    counts.clear()
    with probes(counts):
        for step in _run(machine, workload.counted):
            counts.update(changes(step))
    return counts


def _run(machine: Machine, lines: Iterable[Line]) -> Iterator[Step]:
    for line in lines:
        for operation in line.operations(machine):
            yield from steps_of(machine, operation)


def every_policy(
    workload: Workload, model: Model, without: frozenset[str], pages: int
) -> Iterator[Counter[str]]:
    """The counts of each way to use permissions: each always, or never."""
    todo: list[Policy] = [{}]
    while todo:
        given = todo.pop()
        policy = dict(given)
        yield counts_of(workload, model, without, pages, policy)
        asked = [question for question in policy if question not in given]
        todo += [
            {**given, **dict.fromkeys(asked[:i], 0), question: 1}
            for i, question in enumerate(asked)
        ]


def costs(
    workload: Workload,
    model: Model,
    without: frozenset[str] = frozenset(),
    pages: int = PAGES,
) -> dict[str, Range]:
    """The least and the most of each count.

    Args:
        workload: what is run.
        model: who answers the decisions.
        without: ids of rules that the operations do not obey.
        pages: how many pages the process has.

    >>> from spec.models import MODELS
    >>> from spec.workloads import WORKLOADS
    >>> costs(WORKLOADS["fork-rw-get"], MODELS["sketch"])["copies"]
    (4, 4)
    >>> shown(costs(WORKLOADS["shell"], MODELS["sketch"])["copies"])
    '0..12'
    """
    runs = list(every_policy(workload, model, without, pages))
    return {
        key: (min(run[key] for run in runs), max(run[key] for run in runs))
        for key in (*COUNTED, *ENTRIES)
    }


def shown(range: Range) -> str:
    """A count in a table: one number, or the least and the most."""
    least, most = range
    return str(least) if least == most else f"{least}..{most}"
