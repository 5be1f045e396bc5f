"""What the sketch claims about cost, and the counts that decide whether it is so.

A promise is kept, a price is paid, if every one of its checks holds. The same checks
are put to the sketch without a rule on which the claim rests, and to the two models
that set the bit always.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from spec.cost import Range, costs
from spec.decisions import SKETCH, Model
from spec.models import MODELS
from spec.workloads import NO_GUP, PAGES, WORKLOADS


@dataclass(frozen=True)
class Subject:
    """Who is judged: a model, perhaps without a rule."""

    model: Model
    without: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return " without ".join([self.model.name, *sorted(self.without)])


SKETCHED = Subject(MODELS["sketch"])
BASELINE = Subject(MODELS["page_count"])
"""The kernel of the time, 5.16, with which the sketch compares itself."""

SUBJECTS = (
    SKETCHED,
    Subject(MODELS["sketch"], frozenset({"AE-SET-4"})),
    Subject(MODELS["sketch"], frozenset({"AE-FORK-4"})),
    Subject(MODELS["always"]),
    Subject(MODELS["upstream"]),
)


@dataclass(frozen=True)
class Check:
    """One count of one workload, and what it must be.

    Attributes:
        workload: the name of the workload.
        counted: the key of what is counted.
        expected: the range for each page; `None`: no more than the baseline has.
    """

    workload: str
    counted: str
    expected: Range | None = None

    def found(self, subject: Subject) -> Range:
        """What the subject's count is."""
        return _counts(self.workload, subject)[self.counted]

    def wanted(self) -> Range:
        """What it must be; without `expected`, its most is all that matters."""
        if self.expected is None:
            return self.found(BASELINE)
        least, most = self.expected
        return (least * PAGES, most * PAGES)

    def holds(self, subject: Subject) -> bool:
        """Whether the subject's count is as wanted."""
        if self.expected is None:
            return self.found(subject)[1] <= self.wanted()[1]
        return self.found(subject) == self.wanted()


@cache
def _counts(workload: str, subject: Subject) -> dict[str, Range]:
    return costs(WORKLOADS[workload], subject.model, subject.without)


@dataclass(frozen=True)
class Claim:
    """A sentence about cost and the checks that decide it.

    Attributes:
        id: the anchor of its section.
        title: a few words.
        sentence: a fragment of the source.
        source: where it is from.
        reading: what it means in counts.
        checks: all have to hold.
        price: whether it is a price that is paid, not a promise that is kept.
    """

    id: str
    title: str
    sentence: str
    source: str
    reading: str
    checks: tuple[Check, ...]
    price: bool = False

    def failed(self, subject: Subject) -> list[Check]:
        """The checks that do not hold."""
        return [check for check in self.checks if not check.holds(subject)]

    def verdict(self, subject: Subject) -> str:
        """One or two words.

        >>> CLAIMS[0].verdict(SKETCHED)
        'kept'
        """
        kept = not self.failed(subject)
        if self.price:
            return "paid" if kept else "not paid"
        return "kept" if kept else "not kept"


NONE, ONE, AT_MOST_ONE = (0, 0), (1, 1), (0, 1)
_DEAR = ("copies", "write", "read", "unshare", "slow", "count", "pin")

CLAIMS = (
    Claim(
        "no-gup-no-changes",
        "No GUP, no change",
        "So no GUP->no fork() performance changes (!)",
        SKETCH,
        "Where nobody asks GUP, no count of copies, faults, slow GUP, count tests or "
        "pin tests is higher than in `page_count`, the kernel of the time.",
        tuple(Check(w.name, counted) for w in NO_GUP for counted in _DEAR),
    ),
    Claim(
        "not-always",
        "Not always",
        "not setting the bit always during COW but only on GUP request",
        SKETCH,
        "Where nobody asks GUP, no page gets the bit, and fork has none to clear.",
        tuple(Check(w.name, key, NONE) for w in NO_GUP for key in ("sets", "clears")),
    ),
    Claim(
        "clear-and-share",
        "Clear and share",
        "fork() is allowed to clear the bit if page_count() == 1 and share the page",
        SKETCH,
        "Once references are put, fork clears the bit and copies nothing.",
        (Check("fork-put", "copies", NONE), Check("fork-put", "clears", ONE)),
    ),
    Claim(
        "foll-get",
        "FOLL_GET",
        "to also be able to handle FOLL_GET (O_DIRECT reproducers unfortunately) "
        "correctly",
        SKETCH,
        "The parent's write after fork neither faults nor leaves the page to which a "
        "device writes, for no more copies than `page_count` makes.",
        (Check("fork-rw-get", "write", NONE), Check("fork-rw-get", "copies")),
    ),
    Claim(
        "first-gup-is-slow",
        "First GUP is slow",
        "it would then always have to fallback to the slow variant if the bit isn't "
        "already set",
        SKETCH,
        "The first GUP-fast of each page takes the slow path, the next does not.",
        (Check("gup-fast", "slow", ONE), Check("gup-fast-again", "slow", NONE)),
        price=True,
    ),
    Claim(
        "readers-copy",
        "Readers copy",
        "either manually if possible or via FOLL_UNSHARE",
        SKETCH,
        "A FOLL_GET reader of a shared page raises an unshare fault, which copies.",
        (Check("vmsplice", "unshare", ONE), Check("vmsplice", "copies", ONE)),
        price=True,
    ),
    Claim(
        "transient-references",
        "Transient references",
        "A copy that nobody needed, for pages that were once given to GUP",
        "finding D3",
        "After the put, fork copies each page that an LRU batch holds.",
        (Check("fork-put-lru", "copies", ONE),),
        price=True,
    ),
    Claim(
        "count-until-fork",
        "Fork counts after GUP",
        "until then each fork tests its count",
        "finding D4",
        "The first fork after the put reads the count of each page.",
        (Check("fork-put", "count", ONE),),
        price=True,
    ),
    Claim(
        "get-at-exec",
        "Copies before exec",
        "A page with a live FOLL_GET reference is copied although the child execs",
        "AE-FORK-2",
        "fork makes a copy for each page under O_DIRECT that no child will use.",
        (Check("exec-rw-get", "copies", ONE),),
        price=True,
    ),
    Claim(
        "lost-at-swap-out",
        "Lost at swap-out",
        "Otherwise the bit can only vanish if we swapout/migrate the page",
        SKETCH,
        "After swap-in a page has no bit, so that a write to it may copy.",
        (Check("swap", "copies", AT_MOST_ONE),),
        price=True,
    ),
)
