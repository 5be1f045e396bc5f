"""What real kernels did, held against the model of their release.

These are recorded observations, no runs of today. Their source is the project's study
of real kernels as witnesses, as it stood on 2026-11-24; the day of each run is not
known. Kernels: Debian's 5.10.223, 6.1.176, 6.12.107 and 7.2.12 under emulation,
User-Mode Linux 6.1.176, and for the column 5.7 a kernel 5.10 with the COW rules of
before 5.8 put back. User-Mode Linux 5.10.46 answered as 5.10.223.

A process took long-lived references by vmsplice() (FOLL_GET, for reading), by io_uring
fixed buffers (FOLL_PIN), and by direct I/O on a slow device (FOLL_GET, since 6.3
FOLL_PIN); process_vm_readv() took a short pin. Reuse by refcount is a permission, but
each of these programs either has a further reference or expects no reuse: the model has
one answer in all of its outcomes, and it has to be the recorded one.
"""

from itertools import pairwise

import pytest

from spec.history import PageCount, parse
from spec.litmus import parser
from spec.litmus.run import run
from spec.memory import Page
from spec.models import DECISIONS, Upstream
from spec.releases import CHANGES, KEPT_BEFORE, RELEASES, find_model, linux
from spec.rules import load

PROGRAMS = {
    "C0": "A: fork B; B: gup r = ro get; B: munmap; A: write 2; forbid r == 2",
    "C1": "A: swapout; A: fork B; B: gup r = ro get; B: munmap; A: write 2; "
    "forbid r == 2",
    "C2": "A: swapout; A: fork B; B: read; B: gup r = ro get; B: munmap; A: write 2; "
    "forbid r == 2",
    "C3": "A: gup r = ro get; A: fork B; A: munmap; B: write 2; forbid r == 2",
    "C4": "A: fork B; A: gup r = ro get; A: munmap; B: write 2; forbid r == 2",
    "C5": "A: swapout; A: fork B; A: gup r = ro get; A: munmap; B: write 2; "
    "forbid r == 2",
    "C0 THP": "A: fork B; B: gup r = ro get; B: munmap; B: munmap at y; A: write 2; "
    "forbid r == 2",
    "C3 THP": "A: gup r = ro get; A: fork B; A: munmap; A: munmap at y; B: write 2; "
    "forbid r == 2",
    "F1": "A: gup r = rw pin longterm; A: fork B; A: write 2; require r == 2",
    "F2": "A: gup r = rw pin longterm; A: fork B; r: write 9; y = B: read; "
    "forbid y == 9",
    "S1": "A: gup r = ro get; A: swapout; A: read; A: write 2; require r == 2",
    "S2": "A: gup r = ro get; A: swapout; A: write 2; require r == 2",
    "S3": "A: gup r = rw pin longterm; A: swapout; A: read; A: write 2; require r == 2",
    "S4": "A: gup r = rw pin longterm; A: mprotect r; A: mprotect rw; A: write 2; "
    "require r == 2",
    "S5": "A: gup r = ro get; A: mprotect r; A: mprotect rw; A: write 2; "
    "require r == 2",
    "S6": "A: swapout; A: gup r = rw pin longterm; A: write 2; A: fork B; A: write 3; "
    "require r == 3",
    "G1": "A: gup r = ro get; A: fork B; A: write 2; require r == 2",
    "G2": "A: fork B; A: gup r = ro get; B: exit; A: write 2; require r == 2",
    "D2": "A: gup r = rw IO; A: fork B; A: write 2; r: write 9; r: put; x = A: read; "
    "require x == 9",
    "D3": "A: gup r = rw IO; A: fork B; B: exit; A: write 2; r: write 9; r: put; "
    "x = A: read; require x == 9",
    "D4": "A: gup r = rw IO; A: swapout; A: read; A: write 2; r: write 9; r: put; "
    "x = A: read; require x == 9",
    "D5": "A: gup r = rw IO; A: mprotect r; A: mprotect rw; A: write 2; r: write 9; "
    "r: put; x = A: read; require x == 9",
    "U1": "A: fork B; A: gup r = ro pin; r: put; forbid same(A, B)",
    "U2": "A: fork B; A: gup r = ro IO; r: put; forbid same(A, B)",
    "U3": "A: fork B; A: write 1; ksm A B; A: gup r = ro pin; r: put; "
    "forbid same(A, B)",
    "migrate get": "A: gup r = ro get; A: migrate; require same(A, r)",
    "migrate pin": "A: gup r = rw pin longterm; A: migrate; require same(A, r)",
    "merge get": "A: fork B; A: write 1; A: gup r = ro get; ksm A B; "
    "require same(A, r); forbid same(A, B)",
    "merge pin": "A: fork B; A: write 1; A: gup r = rw pin longterm; ksm A B; "
    "require same(A, r); forbid same(A, B)",
}
"""Each begins with a first write; a failed condition is a leak, a loss, or sharing."""

KERNELS = ("5.7", "5.10", "6.1 uml", "6.1", "6.12", "7.2")
RECORDED = {
    "C0": "LEAK safe safe safe safe safe",
    "C1": "LEAK LEAK safe safe safe safe",
    "C2": "LEAK LEAK safe safe safe safe",
    "C3": "LEAK safe safe safe safe safe",
    "C4": "LEAK safe safe safe safe safe",
    "C5": "LEAK LEAK safe safe safe safe",
    "C0 THP": "LEAK LEAK - safe safe safe",
    "C3 THP": "LEAK LEAK - safe safe safe",
    "F1": "LOST sync sync sync sync sync",
    "F2": "LEAK safe safe safe safe safe",
    "S1": "sync LOST LOST sync sync sync",
    "S2": "sync sync LOST sync sync sync",
    "S3": "sync sync sync sync sync sync",
    "S4": "sync LOST sync sync sync sync",
    "S5": "sync LOST sync sync sync sync",
    "S6": "LOST sync sync sync sync sync",
    "G1": "LOST LOST LOST LOST LOST LOST",
    "G2": "sync LOST LOST LOST LOST LOST",
    "D2": "LOST LOST LOST LOST sync sync",
    "D3": "sync LOST LOST LOST sync sync",
    "D4": "sync LOST LOST sync sync sync",
    "D5": "sync LOST sync sync sync sync",
    "U1": "shared shared own own own own",
    "U2": "shared shared shared shared own own",
    "U3": "shared shared - own own own",
    "migrate get": "refused refused - refused refused refused",
    "migrate pin": "refused refused - refused refused refused",
    "merge get": "refused refused - refused refused refused",
    "merge pin": "refused refused - refused refused refused",
}
WELL = {"safe", "sync", "own", "refused"}


class NoMarker(Upstream):
    """An architecture whose swap entries had no exclusive marker before 6.3."""

    def swapin_exclusive(self, page: Page, remembered: bool) -> bool:
        return False


def kernel(name: str):
    """The model of the kernel that ran."""
    if name == "6.1 uml":
        return NoMarker("6.1", "uml", linux("6.1").without)
    if name == "5.10":
        # the 5.10 stable series does not swap out pinned pages: feb889fb40fa is in it
        return PageCount("5.10", "5.10", linux("5.10").without - {"AE-SWAP-3"})
    return find_model(f"linux-{name}")


def test_of(program: str, name: str):
    """The program as a litmus test, with the reference that direct I/O took then."""
    begin = "A: madvise hugepage; A: write 1" if "THP" in program else "A: write 1"
    pins = parse(name.removesuffix(" uml")) >= parse("6.3")
    body = PROGRAMS[program].replace("IO", "pin" if pins else "get")
    return parser.parse("litmus t\n" + f"{begin}; {body}".replace("; ", "\n"))


test_of.__test__ = False
OBSERVATIONS = [
    (program, name, answer)
    for program, answers in RECORDED.items()
    for name, answer in zip(KERNELS, answers.split(), strict=True)
    if answer != "-"
]


@pytest.mark.parametrize(("program", "name", "answer"), OBSERVATIONS)
def test_the_model_does_what_the_kernel_did(program, name, answer):
    result = run(test_of(program, name), kernel(name))
    assert {not outcome.failed for outcome in result.outcomes} == {answer in WELL}
    assert (result.verdict == "missed-cow") == (answer == "LEAK")


def test_every_program_was_run():
    assert RECORDED.keys() == PROGRAMS.keys()


def test_changes_name_rules_and_answers_that_exist():
    assert {rule for change in CHANGES for rule in change.rules} <= load().keys()
    assert {answer for change in CHANGES for answer in change.answers} <= set(DECISIONS)


def test_a_release_obeys_what_the_one_before_it_obeyed():
    """But for what 5.8 alone obeyed: its GUP broke COW of everything."""
    reverted = frozenset().union(*KEPT_BEFORE.values())
    for before, after in pairwise(RELEASES):
        lost = linux(after).without - linux(before).without
        assert lost <= (reverted if after == "5.9" else frozenset())
        assert parse(before) < parse(after)


def test_the_newest_release_lacks_nothing():
    assert not linux(RELEASES[-1]).without


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.commit)
def test_a_change_changes_something(change):
    """It brings rules, another model, or an answer that its release documents."""
    before = RELEASES[RELEASES.index(change.release) - 1]
    model, was = linux(change.release).model, linux(before).model
    said = [getattr(type(model), answer).__doc__ or "" for answer in change.answers]
    assert (
        change.rules
        or model.family != was.family
        or any(change.release in each for each in said)
    )
