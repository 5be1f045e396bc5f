"""What the two ways to close the gap at swap-out and migration cost.

`sketch` refuses to unmap a page that somebody relies on; `carry` unmaps it, remembers
the bit in the entry, and has `fork()` copy while a reference lives. Each workload is
run on both, with one page.
"""

from __future__ import annotations

from dataclasses import dataclass

from spec import workloads
from spec.cost import Range
from spec.cost import costs as counts_of
from spec.decisions import Model
from spec.models import MODELS, VARIANTS
from spec.workloads import DEVICE, FORK, MIGRATE, PUT, SWAP, TOUCH, gup, read

CLOSINGS: dict[str, Model] = {"refuse": MODELS["sketch"], "carry": VARIANTS["carry"]}
COUNTED = {
    "undone": "PTEs cleared and restored",
    "entries": "entries installed",
    "back": "entries replaced by a PTE",
    "copies": "copies",
}


@dataclass(frozen=True)
class Workload:
    """A page that is unmapped, used and mapped again.

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

    def program(self) -> workloads.Workload:
        """What is run and counted."""
        lines = (
            TOUCH,
            *([gup("A", "rw get", "slow")] if self.held else []),
            MIGRATE if self.migrate else SWAP,
            *([FORK] if self.forks else []),
            *([DEVICE, PUT] if self.held else []),
            read("A"),
            TOUCH,
        )
        return workloads.Workload("", self.title, (), lines)


WORKLOADS = (
    Workload(
        "D8", "Swap-out of a page that nobody holds, then fork", False, forks=True
    ),
    Workload("D8", "Swap-out of a page with a FOLL_GET reference", True),
    Workload("D8", "The same, fork before the reference is dropped", True, forks=True),
    Workload("D9", "Migration of a page with a FOLL_GET reference", True, migrate=True),
)


def costs(workload: Workload, model: Model) -> dict[str, Range]:
    """How often each of `COUNTED` happens while the workload runs.

    >>> costs(WORKLOADS[1], CLOSINGS["refuse"])["undone"]
    (1, 1)
    """
    return counts_of(workload.program(), model, pages=1)
