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
    move,
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
    "softdirty": protect.clear_refs,
    "uffd-wp": protect.uffd_writeprotect,
    "uffd-unwp": protect.uffd_unprotect,
    "numa-hint": protect.change_prot_numa,
    # reclaim
    "swapout": reclaim.madvise_pageout,
    "madvise pageout": reclaim.madvise_pageout,
    "madvise free": lazyfree.madvise_free,
    # migration
    "migrate": migration.move_pages,
    # ksm
    "unmerge": ksm.break_ksm,
    # move: from the first address to the second
    "mremap": lambda mm, va: move.mremap(mm, va, mm.machine.names.vas[1]),
    "uffdio move": lambda mm, va: move.uffdio_move(mm, va, mm.machine.names.vas[1]),
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
