"""Differences between Linux and the upstream model that are known.

Differential runs pass over them, count them and say so. Each has a program that shows
it; a test runs that, so that an entry does not outlive its difference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spec.kernel.compare import Comparison
from spec.litmus.program import Test


@dataclass(frozen=True)
class Known:
    """One difference.

    Attributes:
        word: the operation at which it shows.
        shown: a pattern that is found in what the kernel shows then.
        allowed: a pattern that is found in what the model allows.
        why: what it is.
        example: the operations of a program that shows it.
        after: a word that stands somewhere before it; empty for none.
        until: the first release that was seen without it, if there is one.
    """

    word: str
    shown: str
    allowed: str
    why: str
    example: str
    after: str = ""
    until: tuple[int, int] | None = None

    def is_of(self, test: Test, found: Comparison) -> bool:
        """Whether `found` is this difference."""
        difference = found.difference
        if difference is None:
            return False
        words = [o.word for o in test.operations if o.line == difference.line]
        before = [o.word for o in test.operations if o.line < difference.line]
        return (
            words == [self.word]
            and (not self.after or self.after in before)
            and re.search(self.shown, difference.shown) is not None
            and any(re.search(self.allowed, other) for other in difference.allowed)
        )


KNOWN = (
    Known(
        "uffdio-move",
        "zero.*the call: succeeds",
        "the call: fails",
        "UFFDIO_MOVE moves the zeropage since eb1521dad8f3 (6.10); the model refuses",
        "A: read\nA: uffdio-move to y",
    ),
    Known(
        "uffdio-move",
        r"p\d+ E 1.*the call: succeeds",
        "the call: fails",
        "UFFDIO_MOVE moves a page that userfaultfd protects; the model refuses",
        "A: write 1\nA: uffd-wp\nA: uffdio-move to y",
    ),
    Known(
        "collapse",
        "huge",
        r"\w( at y)?: (-|zero)",
        "MADV_COLLAPSE fills what is not mapped; the model wants all of it mapped",
        "A: write 1\nA: collapse",
    ),
    Known(
        "collapse",
        "huge",
        r"p\d+ \? 1(?! huge)",
        "MADV_COLLAPSE takes a large folio that PTEs map; the model wants small ones",
        "A: madvise hugepage\nA: split-pmd\nA: collapse",
    ),
    Known(
        "split",
        r"p\d+ \S \d",
        r"p\d+ \S \d huge",
        "split_folio splits the PMD as well; the model wants that done before",
        "A: madvise hugepage\nA: split",
    ),
    Known(
        "force-write",
        "the call: fails$",
        "the call: succeeds$",
        "before UFFD_FEATURE_WP_ASYNC (6.7) FOLL_FORCE does not wait for a handler",
        "A: write 1\nA: uffd-wp\nA: force-write 3",
        after="uffd-wp",
        until=(6, 7),
    ),
    Known(
        "mremap",
        r"^\w( at y)?: -$",
        r"^\w( at y)?: (p\d|zero|swap)",
        "mremap clears the target before it finds that there is no source",
        "A: write 1\nA: munmap at y\nA: mremap at y to x",
        until=(6, 18),
    ),
    Known(
        "mprotect",
        "huge",
        r"p\d+ \S \d(?! huge)",
        "mprotect that changes nothing does nothing; the model splits the PMD",
        "A: madvise hugepage\nA: mprotect rw",
    ),
    Known(
        "force-write",
        "huge",
        r"p\d+ \S 1(?! huge)",
        "FOLL_FORCE writes through a writable PMD; the model splits it",
        "A: write 1\nA: write 2 at y\nA: collapse\nA: force-write 4",
    ),
)


def known(test: Test, found: Comparison) -> Known | None:
    """The known difference that `found` is, if it is one."""
    return next((each for each in KNOWN if each.is_of(test, found)), None)
