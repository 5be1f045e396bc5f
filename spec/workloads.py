"""Workloads: short programs on some pages, whose costs are counted.

A line acts on every page in turn, or once on the machine. Its text is written in the
words of the litmus tests. A runs first; B is the child that it forks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spec import fault, fork, gup_fast, migration, reclaim
from spec.cells import one_of
from spec.counts import get_page
from spec.decisions import Foll
from spec.memory import Machine, Names, Steps

PAGES = 4
"""The pages of A, unless another number is asked for."""


def names(pages: int) -> Names:
    """What a machine needs to run any workload on this many pages.

    >>> names(2).vas
    ('x1', 'x2')
    """
    numbers = range(1, pages + 1)
    return Names(
        mms=("A", "B"),
        # of each page, a copy for the child and one that is being made
        pages=tuple(f"p{n}" for n in range(1, 3 * pages + 1)),
        refs=tuple(f"r{n}" for n in numbers),
        vas=tuple(f"x{n}" for n in numbers),
        slots=tuple(f"s{n}" for n in numbers),
    )


@dataclass(frozen=True)
class Line:
    """One line of a workload.

    Attributes:
        text: what it does, in the words of the litmus tests.
        act: the operation, given the machine and an address.
        each: whether it is done for each address, or once.
    """

    text: str
    act: Callable[[Machine, str], Steps]
    each: bool = True

    def operations(self, machine: Machine) -> Iterator[Steps]:
        """The operations of the line, to be run one after the other."""
        for va in machine.names.vas if self.each else machine.names.vas[:1]:
            yield self.act(machine, va)


@dataclass(frozen=True)
class Workload:
    """A program whose second part is counted.

    Attributes:
        name: what it is called on the command line.
        title: what happens, in words.
        before: lines that prepare it; their cost is not counted.
        counted: the lines whose cost is counted.
    """

    name: str
    title: str
    before: tuple[Line, ...]
    counted: tuple[Line, ...]

    def __str__(self) -> str:
        done = [line.text for line in self.before]
        return "\n".join(
            [*done, "# counted from here", *(x.text for x in self.counted)]
        )


# -- lines -----------------------------------------------------------------------------


def _put(machine: Machine, va: str) -> Steps:
    """The holder lets go of the reference that was taken through `va`."""
    gup_fast.put(machine.mms["A"], machine.refs[f"r{va[1:]}"])
    yield from ()


def _hold(machine: Machine, va: str) -> Steps:
    """An LRU batch takes its temporary reference to the page."""
    pte = machine.mms["A"].pte[va]
    assert pte is not None, "only a mapped page is in an LRU batch here"
    page = machine.pages[pte.pfn]
    get_page(page)
    yield from ()


def write(process: str) -> Line:
    """The CPU of `process` writes to each page."""
    return Line(f"{process}: write", lambda m, va: fault.write(m.mms[process], va, 1))


def read(process: str) -> Line:
    """The CPU of `process` reads each page."""
    return Line(f"{process}: read", lambda m, va: fault.read(m.mms[process], va))


def gup(process: str, what: str, entry: str = "fast") -> Line:
    """GUP takes a reference to each page: ``ro get``, ``rw pin``, slow or fast."""
    foll = Foll(write="rw" in what, pin="pin" in what)
    call = gup_fast.ENTRIES[entry]

    def act(machine: Machine, va: str) -> Steps:
        return call(machine.mms[process], va, machine.refs[f"r{va[1:]}"], foll)

    way = " fast" if entry == "fast" else ""
    return Line(f"{process}: gup r = {what}{way}", act)


FORK = Line("A: fork B", lambda m, va: fork.fork(m.mms["A"], m.mms["B"]), each=False)
EXIT = Line("B: exit", lambda m, va: fault.exit(m.mms["B"]), each=False)
PUT = Line("r: put", _put)
DEVICE = Line("r: write", lambda m, va: gup_fast.device_write(m.refs[f"r{va[1:]}"], 2))
HOLD = Line("# an LRU batch holds each page of A", _hold)
SWAP = Line("A: swapout", lambda m, va: reclaim.madvise_pageout(m.mms["A"], va))
MIGRATE = Line("A: migrate", lambda m, va: migration.move_pages(m.mms["A"], va))
TOUCH = write("A")


# -- workloads -------------------------------------------------------------------------


def _forks(what: str) -> Workload:
    name = f"fork-{what.replace(' ', '-')}"
    title = f"Fork while {what} references live; the parent writes"
    return Workload(name, title, (TOUCH, gup("A", what)), (FORK, TOUCH))


def _swaps(name: str, title: str, *taken: Line) -> Workload:
    return Workload(name, title, (TOUCH, *taken), (SWAP, read("A"), TOUCH))


_USED = (TOUCH, gup("A", "rw pin"), PUT)

NO_GUP = (
    Workload("touch", "First write to fresh pages", (), (TOUCH,)),
    Workload("fork", "Fork, no GUP ever", (TOUCH,), (FORK,)),
    Workload("fork-lru", "Fork, no GUP ever, LRU batches", (TOUCH, HOLD), (FORK,)),
    Workload(
        "fork-swapcache",
        "Fork, no GUP ever, pages still in the swap cache",
        (TOUCH, SWAP, read("A")),
        (FORK,),
    ),
    Workload(
        "fork-write",
        "Parent, then child write after a fork, no GUP ever",
        (TOUCH, FORK),
        (TOUCH, write("B")),
    ),
    Workload(
        "shell",
        "3 times fork, the child exits or execs, the parent writes",
        (TOUCH,),
        (FORK, EXIT, TOUCH) * 3,
    ),
)
"""Workloads in which nobody asks GUP."""

WORKLOADS: dict[str, Workload] = {
    made.name: made
    for made in (
        *NO_GUP,
        Workload(
            "gup-slow", "GUP of fresh pages", (TOUCH,), (gup("A", "rw get", "slow"),)
        ),
        Workload(
            "gup-fast", "GUP-fast of fresh pages", (TOUCH,), (gup("A", "rw get"),)
        ),
        Workload(
            "gup-fast-again",
            "GUP-fast of the same pages again",
            (TOUCH, gup("A", "rw get"), PUT),
            (gup("A", "rw get"),),
        ),
        Workload(
            "vmsplice",
            "R/O FOLL_GET by a child of the pages it shares (vmsplice)",
            (TOUCH, FORK),
            (gup("B", "ro get"),),
        ),
        Workload(
            "pin-shared",
            "R/O FOLL_PIN by a child of the pages it shares",
            (TOUCH, FORK),
            (gup("B", "ro pin"),),
        ),
        _forks("ro get"),
        _forks("rw get"),
        _forks("rw pin"),
        Workload(
            "exec-rw-get",
            "Fork while rw get references live; exec, put, the parent writes",
            (TOUCH, gup("A", "rw get")),
            (FORK, EXIT, PUT, TOUCH),
        ),
        Workload("fork-put", "Fork after references were put", _USED, (FORK,)),
        Workload(
            "fork-put-lru",
            "Fork after references were put, LRU batches",
            (*_USED, HOLD),
            (FORK,),
        ),
        Workload(
            "shell-put",
            "The same after references were put once",
            _USED,
            (FORK, EXIT, TOUCH) * 3,
        ),
        _swaps("swap", "Swap out and in; read, write"),
        _swaps("swap-get", "The same, FOLL_GET references held", gup("A", "rw get")),
        _swaps("swap-pin", "The same, FOLL_PIN references held", gup("A", "rw pin")),
    )
}


def find_workload(name: str) -> Workload:
    """The workload of this name.

    Raises:
        SpecificationError: there is none; names the nearest.
    """
    return WORKLOADS[one_of(name, WORKLOADS, "workload")]
