"""The kernel's own test of COW, `cow.c`, as litmus tests.

Each case of `tools/testing/selftests/mm/cow.c` (read in 6.12 and 7.3; new in 6.2, first
as `anon_cow.c`) is a program that it runs on memory of many kinds. Here a case names
the litmus test that is the same program on a base page, and a page kind says how the
memory is made; `program` puts both together. What the runs come to and which rules
they exercise is computed (`spec.litmus.exercise`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spec.decisions import Model
from spec.litmus.files import catalogue
from spec.litmus.parser import parse, read
from spec.litmus.program import Line, Test
from spec.litmus.run import run
from spec.models import MODELS, VARIANTS
from spec.releases import LINUX, find_model

FIRST = "A: write 1"
"""The line that makes the memory of a case on a base page."""


@dataclass(frozen=True)
class Case:
    """One case of `cow.c`.

    Attributes:
        id: ``A`` for anonymous memory, ``C`` for a THP that is collapsed, ``N`` for
            memory that is not anonymous; unique.
        name: as `cow.c` prints it.
        does: what it does and when it passes.
        litmus: the tests of the catalogue that are the same program; the first one
            on a base page, the others on memory of another kind.
        note: how the litmus test differs.
    """

    id: str
    name: str
    does: str
    litmus: tuple[str, ...]
    note: str = ""


ANONYMOUS = (
    Case(
        "A1",
        "Basic COW after fork()",
        "The parent writes after fork. The child still reads the old data.",
        ("cow",),
    ),
    Case(
        "A2",
        "Basic COW after fork() with mprotect() optimization",
        "As A1; the parent first makes the memory read-only and writable again.",
        ("cow-mprotect",),
    ),
    Case(
        "A3",
        "vmsplice() + unmap in child",
        "The child has a pipe reference, unmaps the memory, and the parent writes. "
        "The pipe gives the old data.",
        ("vmsplice-leak", "selftest-vmsplice-swapped", "selftest-vmsplice-thp"),
    ),
    Case(
        "A4",
        "vmsplice() + unmap in child with mprotect() optimization",
        "As A3; the parent first makes the memory read-only and writable again.",
        ("vmsplice-leak-mprotect",),
    ),
    Case(
        "A5",
        "vmsplice() before fork(), unmap in parent after fork()",
        "The parent has a pipe reference, forks and unmaps. What the child then writes "
        "does not reach the pipe.",
        ("vmsplice-before-fork",),
    ),
    Case(
        "A6",
        "vmsplice() + unmap in parent after fork()",
        "As A5; the parent takes the pipe reference after fork.",
        ("vmsplice-after-fork", "selftest-vmsplice-parent-swapped"),
    ),
    Case(
        "A7",
        "R/O-mapping a page registered as iouring fixed buffer",
        "A registered buffer is write-protected and made writable again. What the "
        "process writes then is what io_uring reads.",
        ("selftest-fixed-buffer",),
    ),
    Case(
        "A8",
        "fork() with an iouring fixed buffer",
        "A process with a registered buffer forks. What it writes then is what "
        "io_uring reads.",
        ("selftest-fixed-buffer-fork",),
    ),
    Case(
        "A9",
        "R/O GUP pin on R/O-mapped shared page",
        "The parent takes a long-term pin to read, while a child shares the memory. "
        "The pin sees what the parent writes.",
        ("pin-shared", "selftest-pin-shared-swapped"),
    ),
    Case(
        "A10",
        "R/O GUP-fast pin on R/O-mapped shared page",
        "As A9, by GUP-fast.",
        ("pin-shared-fast",),
    ),
    Case(
        "A11",
        "R/O GUP pin on R/O-mapped previously-shared page",
        "As A9; the child has exited before the pin is taken.",
        ("pin-previously-shared",),
    ),
    Case(
        "A12",
        "R/O GUP-fast pin on R/O-mapped previously-shared page",
        "As A11, by GUP-fast.",
        ("pin-previously-shared-fast",),
    ),
    Case(
        "A13",
        "R/O GUP pin on R/O-mapped exclusive page",
        "Nobody shares the memory, but it is mapped read-only when the pin is taken. "
        "The pin sees the next write.",
        ("selftest-pin-protected",),
    ),
    Case(
        "A14",
        "R/O GUP-fast pin on R/O-mapped exclusive page",
        "As A13, by GUP-fast.",
        ("selftest-pin-protected-fast",),
    ),
)

_BASE_PAGES = "The litmus test collapses base pages; `cow.c` starts from a split PMD."
_UNMAPPED = f"{_BASE_PAGES} The child unmaps what MADV_DONTFORK keeps from it there."

COLLAPSE = (
    Case(
        "C1",
        "Basic COW after fork() when collapsing before fork()",
        "The memory is collapsed to a huge page, then A1.",
        ("selftest-collapse-before-fork",),
        _BASE_PAGES,
    ),
    Case(
        "C2",
        "Basic COW after fork() when collapsing after fork() (fully shared)",
        "The parent collapses memory that it shares with the child, and writes.",
        ("selftest-collapse-shared",),
        _BASE_PAGES,
    ),
    Case(
        "C3",
        "Basic COW after fork() when collapsing after fork() (lower shared)",
        "As C2; only the lower part is shared.",
        ("selftest-collapse-lower-shared",),
        _UNMAPPED,
    ),
    Case(
        "C4",
        "Basic COW after fork() when collapsing after fork() (upper shared)",
        "As C2; only the upper part is shared.",
        ("selftest-collapse-upper-shared",),
        _UNMAPPED,
    ),
)

NOT_ANONYMOUS = (
    Case(
        "N1",
        "Basic COW",
        "A write to a private mapping leaves another mapping of the page as it was.",
        ("selftest-zeropage-cow",),
    ),
    Case(
        "N2",
        "R/O longterm GUP pin",
        "A long-term pin to read sees what is written to the private mapping later.",
        ("zeropage-longterm",),
    ),
    Case(
        "N3",
        "R/O longterm GUP-fast pin",
        "As N2, by GUP-fast.",
        ("selftest-zeropage-longterm-fast",),
    ),
)

CASES = (*ANONYMOUS, *COLLAPSE, *NOT_ANONYMOUS)


@dataclass(frozen=True)
class PageKind:
    """Memory of one kind, on which `cow.c` runs the cases for anonymous memory.

    Attributes:
        name: as in `cow.c`, without sizes: a folio of the model has two pages.
        makes: what stands in place of the first line of the case; empty if the kind
            is not modelled, or is another model.
        whole: whether two addresses belong to it, so that both are unmapped.
        models: the models on which it is run.
        note: how it differs, or why it is not modelled.
    """

    name: str
    makes: tuple[str, ...] = ()
    whole: bool = False
    models: tuple[str, ...] = tuple(MODELS)
    note: str = ""


_NO_RECLAIM = (
    "Not modelled: reclaim leaves large folios alone here. What swap gives back as "
    "base pages is the swapped-out base page."
)

KINDS = (
    PageKind("base page", (FIRST,)),
    PageKind("swapped-out base page", (FIRST, "A: swapout")),
    PageKind(
        "THP",
        ("A: madvise hugepage", FIRST),
        whole=True,
        note="mprotect and soft-dirty name one address, so that they split the PMD; "
        "`cow.c` names the whole THP. This concerns A2, A4, A7, A13 and A14.",
    ),
    PageKind("swapped-out THP", note=_NO_RECLAIM),
    PageKind(
        "PTE-mapped THP",
        ("A: madvise hugepage", FIRST, "A: split-pmd"),
        whole=True,
    ),
    PageKind("swapped-out, PTE-mapped THP", note=_NO_RECLAIM),
    PageKind(
        "single PTE of THP",
        ("A: madvise hugepage", FIRST, "A: split-pmd", "A: madvise dontneed at y"),
    ),
    PageKind("single PTE of swapped-out THP", note=_NO_RECLAIM),
    PageKind(
        "partially mremap()'ed THP",
        note="Not modelled: a process has as many addresses as a folio has pages, so "
        "that there is none to move to.",
    ),
    PageKind(
        "partially shared THP",
        note="Not modelled: there is no MADV_DONTFORK. Pages of one folio with and "
        "without the bit occur in [thp-subpage](../litmus/thp-subpage.md).",
    ),
    PageKind(
        "hugetlb",
        (FIRST,),
        models=("hugetlb",),
        note="The variant [`hugetlb`](../spec/models.py#variants) on a base page.",
    ),
)

MODELLED = tuple(kind for kind in KINDS if kind.makes)
OTHER_MEMORY = {
    "shared zeropage": "the litmus tests",
    "memfd, tmpfile": "the same: the zeropage stands for all that is not anonymous",
    "huge zeropage": "not modelled: the zeropage has no PMD here",
    "memfd (hugetlb)": "not modelled: hugetlb pages are anonymous here",
}
"""What the cases for other memory run on, and what the specification has of it."""

# -- programs --------------------------------------------------------------------------


def program(case: Case, kind: PageKind) -> Test:
    """The program of a case on memory of a kind.

    Args:
        case: one of `ANONYMOUS`.
        kind: one of `MODELLED`.

    >>> print(program(ANONYMOUS[0], MODELLED[1]))
    litmus cow
    A: write 1
    A: swapout
    A: fork B
    A: write 2
    y = B: read
    require y == 1
    <BLANKLINE>
    """
    base = read(catalogue()[case.litmus[0]])
    rows = [f"litmus {base.name}", *kind.makes]
    for line in base.lines[1:]:
        rows += _rows(line, kind)
    return parse("\n".join([*rows, *map(str, base.conditions)]))


def _rows(line: Line, kind: PageKind) -> Iterator[str]:
    yield str(line)
    for operation in line.operations:
        if operation.word == "munmap" and kind.whole:
            yield f"{operation.actor}: munmap at y"


def programs() -> dict[tuple[str, str], Test]:
    """Each program of the selftest that is modelled, by case and page kind.

    Cases that run on one kind of memory only have its name here.
    """
    found = {
        (case.id, kind.name): program(case, kind)
        for kind in MODELLED
        for case in ANONYMOUS
    }
    for case, memory in _elsewhere():
        found[case.id, memory] = read(catalogue()[case.litmus[0]])
    return found


def _elsewhere() -> Iterator[tuple[Case, str]]:
    yield from ((case, "THP") for case in COLLAPSE)
    yield from ((case, "shared zeropage") for case in NOT_ANONYMOUS)


def title(case: str, kind: str) -> str:
    """What a program is called that is in no file."""
    return f"{case} on {kind}"


def variants(case: Case) -> Iterator[tuple[Test, str]]:
    """The programs of a case on memory that is no base page, with its name."""
    if case in ANONYMOUS:
        for kind in MODELLED[1:]:
            if kind.models == tuple(MODELS):
                yield program(case, kind), kind.name


# -- expectations ----------------------------------------------------------------------

_BY_MAPCOUNT = ("mapcount", "force_cow")
_BY_REFCOUNT = ("page_count", "page_count_thp", "unshare_v1")

Row = tuple[str, str, tuple[str, ...]]

_LARGE: tuple[Row, ...] = (
    ("A7 A11 A12 A13 A14", "wrong-cow", _BY_REFCOUNT),
    ("A8", "wrong-cow", _BY_MAPCOUNT),
    ("A9 A10", "wrong-cow", ("mapcount", *_BY_REFCOUNT)),
    ("A13 A14", "side-effect", ("force_cow",)),
    ("A3 A4 A6", "missed-cow", ("mapcount",)),
    ("A5", "missed-cow", _BY_MAPCOUNT),
)

EXPECTED: Mapping[str, tuple[Row, ...]] = {
    "swapped-out base page": (
        ("A3 A4 A6", "missed-cow", ("mapcount", "page_count", "unshare_v1")),
        ("A5", "missed-cow", _BY_MAPCOUNT),
        ("A7 A11 A12 A13 A14", "wrong-cow", _BY_REFCOUNT),
        ("A8", "wrong-cow", _BY_MAPCOUNT),
        ("A9 A10", "wrong-cow", ("mapcount", *_BY_REFCOUNT)),
    ),
    "THP": (
        ("A3 A6", "missed-cow", ("mapcount", "page_count")),
        ("A4", "missed-cow", ("mapcount",)),
        ("A5", "missed-cow", (*_BY_MAPCOUNT, "page_count", "unshare_v1")),
        ("A7 A13 A14", "wrong-cow", _BY_REFCOUNT),
        ("A8", "wrong-cow", _BY_MAPCOUNT),
        ("A9 A10", "wrong-cow", ("mapcount", *_BY_REFCOUNT)),
        ("A11 A12", "wrong-cow", ("page_count_thp",)),
        ("A13 A14", "side-effect", ("force_cow",)),
    ),
    "PTE-mapped THP": _LARGE,
    "single PTE of THP": _LARGE,
    "hugetlb": (("A3 A4 A5 A6", "missed-cow", ("hugetlb",)),),
}
"""Verdicts other than ``fine``: cases, verdict, models.

`cow.c` passes from 5.19 on everywhere but for A3 to A6 on hugetlb. Before, 17839856fd58
(5.8), 09854ba94c6a (5.9), 3bff7e3f1f16 and c145e0b47c77 (5.18) say which count decides.
"""


def expected(case: str, kind: str, model: str) -> str:
    """The verdict that is expected of a program: as its litmus file says, or here."""
    for cases, verdict, models in EXPECTED.get(kind, ()):
        if case in cases.split() and model in models:
            return verdict
    return "fine" if kind in EXPECTED else _stated(case, model)


def _stated(case: str, model: str) -> str:
    name = next(each.litmus[0] for each in CASES if each.id == case)
    return read(catalogue()[name]).expected(model) or "fine"


# -- results ---------------------------------------------------------------------------

RELEASES = ("5.7", "5.8", "5.10", "5.18", "5.19", "6.1", "6.12", "7.3")
"""The releases that the page shows."""

Verdicts = dict[str, dict[str, dict[str, str]]]


def verdicts() -> Verdicts:
    """The verdict of every program: by case, page kind, and model or release."""
    found: Verdicts = {}
    for (case, kind), test in programs().items():
        found.setdefault(case, {})[kind] = {
            name: run(test, model).verdict for name, model in _models(kind).items()
        }
    return found


def _models(kind: str) -> dict[str, Model]:
    """The models that programs of a kind of memory are run on, by their names."""
    special = {each.name: each.models for each in KINDS}.get(kind, tuple(MODELS))
    if special != tuple(MODELS):
        return {name: VARIANTS[name] for name in special}
    return MODELS | {
        f"{LINUX}{name}": find_model(f"{LINUX}{name}") for name in RELEASES
    }
