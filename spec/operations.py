"""The operations by the words that name them in bounds and in litmus tests.

A word of the first table acts on one address of a process, a word of the second on a
page that the kernel picks, a word of the third on the machine. `fork`, `gup`, `write`
and what the holder of a reference does take more and are called by name.
"""

from __future__ import annotations

from collections.abc import Callable

from spec import (
    fault,
    hugepage,
    ksm,
    largefolio,
    lazyfree,
    migration,
    protect,
    reclaim,
    swap,
)
from spec.memory import Machine, Mm, Page, Steps

OPERATIONS: dict[str, Callable[[Mm, str], Steps]] = {
    # fault
    "read": fault.read,
    "munmap": fault.munmap,
    "madvise dontneed": fault.madvise_dontneed,
    "exit": lambda mm, va: fault.exit(mm),
    # protect
    "mprotect r": lambda mm, va: protect.mprotect(mm, va, "r"),
    "mprotect rw": lambda mm, va: protect.mprotect(mm, va, "rw"),
    # reclaim
    "swapout": reclaim.madvise_pageout,
    "madvise pageout": reclaim.madvise_pageout,
    "madvise free": lazyfree.madvise_free,
    # migration
    "migrate": migration.move_pages,
    # ksm
    "unmerge": ksm.break_ksm,
    # hugepage, largefolio
    "madvise hugepage": hugepage.madvise_hugepage,
    "split pmd": hugepage.split_pmd,
    "collapse": largefolio.collapse_huge_page,
}

ON_PAGES: dict[str, Callable[[Page], Steps]] = {
    "reclaim": reclaim.shrink_folio,
    "migrate page": migration.migrate_folio,
    "split": largefolio.split_folio,
}

ON_MACHINE: dict[str, Callable[[Machine], Steps]] = {
    "swapoff": swap.swapoff,
    "ksm": ksm.ksm_merge,
}
