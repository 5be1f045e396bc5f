"""The atomic steps of the kernel, and where each stands in the specification.

One row for each step that Linux takes with a page: what the kernel does, the operation
that models it, the rules that speak of it. A step that is not modelled says why. The
page *Atomic steps* is made from this table; the tests check that each operation exists
and that each rule is one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One step.

    Attributes:
        id: short name, unique: the letter says which operation it belongs to.
        kernel: what the kernel does.
        operation: what models it, as ``module.function``; empty if nothing does.
        rules: ids of the rules that speak of it.
        note: how the model differs, or why it leaves the step out.
    """

    id: str
    kernel: str
    operation: str = ""
    rules: tuple[str, ...] = ()
    note: str = ""

    def function(self) -> Callable[..., Any] | None:
        """The operation itself.

        Raises:
            AttributeError: there is none of that name.
        """
        if not self.operation:
            return None
        module, _, name = self.operation.partition(".")
        found: Any = importlib.import_module(f"spec.{module}")
        for part in name.split("."):
            found = getattr(found, part)
        function: Callable[..., Any] = found
        return function


READ_FAULT = (
    Row(
        "R1",
        "No PTE: a read maps the shared zeropage R/O, a write a zeroed page.",
        "fault.do_anonymous_page",
        ("AE-SET-4", "AE-SET-5", "AE-COW-5"),
    ),
    Row(
        "R2",
        "Present PTE: a read only marks it young.",
        "fault.handle_pte_fault",
        note="The accessed bit is not modelled: nothing here depends on it.",
    ),
    Row(
        "R3",
        "FAULT_FLAG_UNSHARE on a PTE that is not writable counts as a wp fault.",
        "fault.handle_pte_fault",
        ("AE-UNS-1",),
    ),
)

WRITE_FAULT = (
    Row("W1", "Read the PTE without a lock (`orig_pte`).", "fault.handle_pte_fault"),
    Row("W2", "Take the PTL.", "cow.do_wp_page"),
    Row(
        "W3",
        "`pte_same(orig_pte)`, else return; the access faults again.",
        "cow.do_wp_page",
        note="The PTE of a later life with the same value is the same PTE.",
    ),
    Row(
        "W4",
        "userfaultfd-wp: an event instead; a pending flush of it: flush the TLB.",
        "fault.handle_pte_fault",
        note="The flush is in the chapter on memory ordering.",
    ),
    Row(
        "W5",
        "`vm_normal_page()`: not anonymous (zeropage, page cache): copy.",
        "cow.do_wp_page",
        note="The zeropage stands for any page that is not anonymous.",
    ),
    Row(
        "W6",
        "The bit is set: reuse, no further test.",
        "cow.wp_can_reuse_anon_folio",
        ("AE-COW-1",),
    ),
    Row(
        "W7",
        "Quick tests: KSM, too many references, not on the LRU: drain.",
        "cow.wp_can_reuse_anon_folio",
        ("AE-KSM-2", "AE-COW-3"),
        "LRU batches are the transient references of the bounds.",
    ),
    Row("W8", "`folio_trylock()` fails: copy.", "cow.wp_can_reuse_anon_folio"),
    Row(
        "W9",
        "In the swap cache: try to free the slot.",
        "counts.folio_free_swap",
    ),
    Row(
        "W10",
        "KSM or refcount is not 1: copy.",
        "cow.may_reuse",
        ("AE-COW-2", "AE-COW-3"),
    ),
    Row(
        "W11",
        "Set the bit (`folio_move_anon_rmap`), unlock.",
        "cow.wp_can_reuse_anon_folio",
        ("AE-SET-1", "AE-SET-2", "AE-SET-4"),
    ),
    Row(
        "W12",
        "Unshare: leave the PTE. Write: dirty, writable. Drop the PTL.",
        "cow.do_wp_page",
        ("AE-COW-2",),
    ),
    Row("C1", "Get the old page.", "cow.wp_page_copy"),
    Row("C2", "Drop the PTL.", "cow.wp_page_copy"),
    Row(
        "C3",
        "Allocate, copy the contents without a lock.",
        "cow.wp_page_copy",
        ("AE-COW-4",),
    ),
    Row(
        "C4",
        "Tell MMU notifiers.",
        note="Secondary MMUs are not modelled: they hold no reference and follow "
        "the PTE.",
    ),
    Row("C5", "Take the PTL.", "cow.wp_page_copy"),
    Row("C6", "`pte_same()`, else drop the copy.", "cow.wp_page_copy", ("AE-COW-4",)),
    Row(
        "C7",
        "`ptep_clear_flush()`.",
        "cow.wp_page_copy",
        note="One step with C9: nobody maps the address in between. The flush is "
        "in the chapter on memory ordering.",
    ),
    Row(
        "C8",
        "The bit of the copy, mapcount 1, LRU.",
        "cow.map_new_page",
        ("AE-SET-4", "AE-SET-5", "AE-COW-5"),
    ),
    Row(
        "C9",
        "Install the PTE: writable for a write, R/O for unshare.",
        "cow.map_new_page",
        ("AE-COW-4",),
    ),
    Row("C10", "mapcount of the old page, after the flush.", "counts.remove_mapping"),
    Row("C11", "Drop the PTL.", "cow.wp_page_copy"),
    Row(
        "C12",
        "Free the old page's slot if it can be; put it twice.",
        "cow.wp_page_copy",
        note="The slot is left to reclaim, which frees it when the page goes.",
    ),
)

UNSHARE_FAULT = (
    Row(
        "U1",
        "As a write fault, without W4; the copy is mapped R/O.",
        "cow.do_wp_page",
        ("AE-UNS-1",),
    ),
    Row(
        "U2",
        "The zeropage and page cache are copied as well (6.2).",
        "cow.do_wp_page",
        ("AE-ASM-4",),
    ),
)

FORK = (
    Row(
        "F0",
        "mmap_lock for write, VMAs write-locked (6.5), `write_protect_seq` odd.",
        "fork.fork",
        ("AE-FORK-6",),
        "Per-VMA locks are not modelled: with fb49c455323f fork excludes faults as "
        "mmap_lock does.",
    ),
    Row(
        "F1",
        "Read the source PTE: none, swap and migration entries apart.",
        "fork.copy_pte_range",
    ),
    Row("F2", "Get the page.", "fork.copy_present_pte", note="One step with F6."),
    Row("F3", "The bit is clear: F6.", "fork.may_share", ("AE-FORK-4",)),
    Row(
        "F4",
        "Maybe pinned: copy for the child under both PTLs; the parent keeps its page.",
        "fork.copy_present_page",
        ("AE-FORK-2", "AE-FORK-7", "AE-FORK-8"),
        "The page for the copy is allocated without dropping the PTL.",
    ),
    Row("F5", "Clear the bit.", "fork.copy_present_pte", ("AE-FORK-1", "AE-FORK-3")),
    Row("F6", "mapcount of the page.", "counts.add_mapping"),
    Row(
        "F7",
        "Write-protect the parent's PTE.",
        "fork.copy_present_pte",
        ("AE-FORK-5", "AE-CLR-1"),
    ),
    Row("F8", "The child's PTE, R/O.", "counts.add_mapping", ("AE-FORK-5",)),
    Row("F9", "`write_protect_seq` even.", "fork.fork", ("AE-FORK-6",)),
    Row(
        "F10",
        "`flush_tlb_mm()` before mmap_lock is released.",
        note="Stale translations are in the chapter on memory ordering.",
    ),
)

GUP = (
    Row("G1", "Take the PTL.", "gup.follow_page_mask"),
    Row("G2", "Not present, or PROT_NONE: fault.", "gup.follow_page_pte"),
    Row(
        "G3",
        "FOLL_WRITE through a PTE that does not allow it: write fault.",
        "gup.must_fault",
        ("AE-GUP-4",),
    ),
    Row(
        "G4",
        "Not writable and `gup_must_unshare()`: unshare fault, again.",
        "gup.is_or_becomes_exclusive",
        ("AE-GUP-1", "AE-GUP-3", "AE-GUP-5", "AE-SET-2", "AE-SET-3"),
    ),
    Row("G5", "Count the reference (get: 1, pin: 1024).", "gup.grab", ("AE-ASM-3",)),
    Row(
        "G6",
        "Mark accessed, or dirty for FOLL_WRITE.",
        "gup_fast.put",
        ("AE-CLR-2",),
        "The holder marks the page dirty when it lets go.",
    ),
    Row("G7", "Drop the PTL.", "gup.follow_page_pte", ("AE-GUP-2",)),
)

GUP_FAST = (
    Row(
        "Q0",
        "MMF_HAS_PINNED; read `write_protect_seq`; odd: slow path.",
        "gup_fast.gup_fast",
        ("AE-FAST-4", "AE-FAST-5"),
        "MMF_HAS_PINNED only filters false positives (AE-ASM-3).",
    ),
    Row("Q1", "Read the PMD, the PTE.", "gup_fast.gup_fast_pte_range"),
    Row(
        "Q2",
        "Present, permission; special: slow path.",
        "gup_fast.gup_fast_pte_range",
    ),
    Row(
        "Q3",
        "`try_grab_folio()`: unless the count is zero.",
        "gup.grab",
        ("AE-FAST-3",),
    ),
    Row(
        "Q4",
        "PMD and PTE are unchanged, else put.",
        "gup_fast.gup_fast_pte_range",
        ("AE-FAST-3", "AE-HUGE-6"),
    ),
    Row(
        "Q5",
        "secretmem, file-backed long-term writes.",
        note="No anonymous page is concerned.",
    ),
    Row(
        "Q6",
        "Not writable and `gup_must_unshare()`, after smp_rmb: put.",
        "gup_fast.gup_fast_pte_range",
        ("AE-FAST-2", "AE-FAST-1"),
    ),
    Row(
        "Q7",
        "`write_protect_seq` changed: unpin all.",
        "gup_fast.gup_fast",
        ("AE-FAST-4", "AE-FAST-5"),
    ),
)

UNMAP = (
    Row("Z1", "Take the PTL.", "fault.zap_pte_range"),
    Row("Z2", "Clear the PTE; dirty goes to the folio.", "fault.zap_pte_range"),
    Row("Z3", "mapcount.", "counts.remove_mapping"),
    Row("Z4", "Queue the page, drop the PTL.", "fault.zap_pte_range"),
    Row(
        "Z5",
        "Flush the TLB.",
        note="Stale translations are in the chapter on memory ordering.",
    ),
    Row(
        "Z6", "Put the page. The bit stays as it is.", "counts.put_page", ("AE-CLR-3",)
    ),
)

SWAP_OUT = (
    Row(
        "X1",
        "A page that may be pinned is kept (5.11).",
        "reclaim.may_unmap_now",
        ("AE-SWAP-3",),
        "Tested once, when the PTE is cleared.",
    ),
    Row("X2", "Allocate a slot, add to the swap cache, dirty.", "reclaim.add_to_swap"),
    Row(
        "X3a",
        "Clear the PTE under the PTL; flush now or later.",
        "reclaim.try_to_unmap_one",
        ("AE-SWAP-1",),
        "The flush is not put off here; stale translations are a chapter of their own.",
    ),
    Row(
        "X3b",
        "Count the swap entry.",
        "reclaim.set_swap_pte",
        note="Counted when it is installed, so an abort has nothing to undo "
        "(322842ea3c72).",
    ),
    Row(
        "X3c",
        "The bit is set and the page may be pinned: restore the PTE, give up.",
        "reclaim.may_unmap_now",
        ("AE-SWAP-2", "AE-SWAP-3", "AE-SWAP-4"),
    ),
    Row(
        "X3d",
        "Install the swap entry, marked if the bit was set.",
        "reclaim.set_swap_pte",
        ("AE-SWAP-4", "AE-SWAP-10"),
    ),
    Row("X3e", "mapcount, put.", "counts.ptep_clear_flush", note="Together with X3a."),
    Row("X4", "Still mapped: give up.", "reclaim.reclaim_locked"),
    Row("X5", "May be pinned: no writeback.", "writeback.pageout", ("AE-SWAP-5",)),
    Row(
        "X6",
        "Write only if isolation and swap cache are the only references.",
        "writeback.pageout",
        ("AE-SWAP-5", "AE-SWAP-7"),
    ),
    Row(
        "X7",
        "Free only at the frozen count, and clean.",
        "writeback.remove_from_swap_cache",
        ("AE-SWAP-6", "AE-SWAP-7"),
    ),
    Row(
        "X8",
        "MADV_FREE: drop a clean page if nobody has a reference.",
        "lazyfree.discard_one",
        ("AE-SWAP-13",),
    ),
)

SWAP_IN = (
    Row("I1", "Read the swap entry without a lock.", "fault.handle_pte_fault"),
    Row(
        "I2",
        "Look up the swap cache, or claim the slot and read.",
        "swap.swapin_folio",
        ("AE-SWAP-9",),
        "Claim and read are one step; past the swap cache only while the rule is "
        "removed.",
    ),
    Row("I3", "Take the folio lock.", "counts.folio_lock"),
    Row("I4", "Still the slot's folio, else again.", "swap.do_swap_page"),
    Row("I5", "A KSM page may need a copy.", note="KSM pages are not swapped here."),
    Row(
        "I6",
        "A write: drain the LRU batch.",
        note="LRU batches are the transient references of the bounds.",
    ),
    Row("I7", "PTL; `pte_same()`, else out.", "swap.do_swap_page", ("AE-SWAP-8",)),
    Row(
        "I8",
        "Exclusive by the marker; not while a stable-writes device writes.",
        "swap.is_exclusive",
        ("AE-SWAP-10", "AE-SWAP-12"),
    ),
    Row("I9", "Uncount the swap entry.", "counts.swap_free"),
    Row(
        "I10", "Perhaps free the slot.", "counts.folio_free_swap", note="At the write."
    ),
    Row(
        "I11",
        "Exclusive: set the bit, writable for a write.",
        "swap.set_swapped_pte",
        ("AE-SWAP-10", "AE-COW-2"),
        "refcount == 1 as a reason (up to 7.2) is left to the write fault after it.",
    ),
    Row("I12", "rmap, install the PTE.", "counts.add_mapping", ("AE-SWAP-8",)),
    Row("I13", "Unlock the folio.", "swap.do_swap_page"),
    Row(
        "I14",
        "A write that is not writable yet: `do_wp_page()`.",
        "cow.do_wp_page",
        ("AE-COW-2",),
        "By another fault.",
    ),
    Row(
        "I15",
        "fork: both entries lose the marker.",
        "swap.copy_swap_pte",
        ("AE-SWAP-11",),
    ),
    Row("I16", "swapoff: map R/O, exclusive by the marker.", "swap.swapoff"),
)

MIGRATION = (
    Row("M1", "Isolate, folio lock.", "migration.migrate_folio"),
    Row(
        "M2",
        "Per PTE: clear and flush, test, clear the bit, install an entry.",
        "migration.try_to_migrate_one",
        ("AE-MIGR-1", "AE-MIGR-2", "AE-MIGR-3", "AE-MIGR-4"),
    ),
    Row(
        "M3",
        "Only expected references, else restore to the old folio.",
        "migration.folio_migrate_mapping",
        ("AE-MIGR-5",),
    ),
    Row("M4", "Copy.", "migration.folio_migrate_copy"),
    Row(
        "M5",
        "Map the new folio as the entries say.",
        "migration_entry.remove_migration_pte",
        ("AE-MIGR-7", "AE-MIGR-8"),
    ),
    Row("M6", "Unlock, put back.", "migration.unmap_and_move"),
    Row(
        "M7",
        "A fault or GUP on an entry waits for the folio lock.",
        "migration_entry.MigrationEntry.do_swap_page",
    ),
    Row(
        "M8",
        "fork makes the entry readable in both.",
        "migration_entry.MigrationEntry.copy_nonpresent_pte",
        ("AE-MIGR-6",),
    ),
)

LARGE_FOLIOS = (
    Row(
        "H1",
        "PMD split: invalidate, give each page the bit of the head, install PTEs.",
        "hugepage.split_huge_pmd",
        ("AE-HUGE-1", "AE-HUGE-2"),
    ),
    Row(
        "H2",
        "Folio split: migration entries, frozen count, tails get their own counts.",
        "largefolio.split_folio",
        ("AE-HUGE-8",),
    ),
    Row(
        "H3",
        "Collapse: detach the table, expected references only, copy.",
        "largefolio.collapse_locked",
        ("AE-HUGE-4", "AE-HUGE-5", "AE-HUGE-6"),
    ),
    Row(
        "H4", "A write fault on a PMD: reuse or split.", "hugepage.do_huge_pmd_wp_page"
    ),
    Row("H5", "fork of a PMD: share, or split and copy.", "hugepage.copy_huge_pmd"),
    Row(
        "H6",
        "Reuse of a PTE-mapped page by owner tracking (6.15).",
        "largefolio.may_reuse_large",
        ("AE-HUGE-3",),
    ),
    Row(
        "H7",
        "fork of a batch of PTEs: one test for all (6.9).",
        note="The same as its PTEs one after the other under one PTL.",
    ),
    Row("H8", "hugetlb: reuse by mapcount.", "models.Hugetlb.may_reuse"),
)

KSM_MERGE = (
    Row(
        "K1",
        "Folio lock; clear and flush the PTE; compare the counts, else restore.",
        "ksm.write_protect_page",
        ("AE-KSM-3", "AE-KSM-4"),
    ),
    Row(
        "K2",
        "Clear the bit, install a R/O PTE.",
        "ksm.write_protect_page",
        ("AE-KSM-5",),
    ),
    Row("K3", "Compare the contents again.", "ksm.pages_identical", ("AE-KSM-6",)),
    Row(
        "K4",
        "PTL, `pte_same()`: map the KSM page.",
        "ksm.replace_page",
        ("AE-KSM-1", "AE-KSM-7"),
    ),
    Row(
        "K5",
        "Breaking a KSM page is an unshare fault; a write copies.",
        "ksm.break_ksm",
        ("AE-KSM-2",),
    ),
)

PROTECTION = (
    Row(
        "P1",
        "mprotect: write-protect; the bit stays.",
        "protect.change_pte_range",
        ("AE-CLR-1",),
    ),
    Row(
        "P2",
        "mprotect: writable without a fault if the bit is set and no trap is.",
        "protect.can_change_pte_writable",
        ("AE-WP-1", "AE-WP-2", "AE-HUGE-7"),
    ),
    Row("P3", "soft-dirty, userfaultfd: write-protect.", "protect.set_trap"),
    Row("P4", "A write asks userfaultfd first.", "cow.do_wp_page", ("AE-WP-3",)),
    Row("P5", "Unsharing keeps the trap.", "cow.wp_page_copy", ("AE-WP-4",)),
    Row("P6", "The end of a NUMA hint.", "fault.do_numa_page", ("AE-WP-1",)),
    Row("P7", "FOLL_FORCE writes.", "protect.store_forced", ("AE-WP-5",)),
    Row(
        "P8",
        "Long-term pins of the zeropage and of page cache (6.2).",
        "gup.is_or_becomes_exclusive",
        ("AE-GUP-6",),
    ),
)

MOVES = (
    Row("V1", "mremap moves PTEs and entries.", "move.move_entry", ("AE-MOVE-1",)),
    Row(
        "V2",
        "UFFDIO_MOVE: clear the PTE, then decide.",
        "move.move_pages_pte",
        ("AE-MOVE-2", "AE-MOVE-3"),
    ),
    Row("V3", "UFFDIO_MOVE of a swap entry.", "move.move_swap_pte"),
)

ORDER = (
    Row("A1", "Clear the PTE; full barrier.", "ordering.clear_pte", ("AE-ORD-1",)),
    Row("A2", "Read the reference count.", "ordering.unmap", ("AE-ORD-6",)),
    Row("A3", "Clear the bit; write barrier.", "ordering.unmap", ("AE-ORD-2",)),
    Row("A4", "Perhaps install the same PTE again.", "ordering.unmap", ("AE-ORD-2",)),
    Row("B1", "Read the PTE.", "ordering.gup_fast"),
    Row("B2", "FOLL_WRITE: it must be writable.", "gup_fast.gup_fast_pte_range"),
    Row("B3", "Take the reference; full barrier.", "ordering.gup_fast", ("AE-ORD-3",)),
    Row("B4", "Read the PTE again; read barrier.", "ordering.gup_fast", ("AE-ORD-4",)),
    Row("B5", "Read the bit.", "ordering.gup_fast", ("AE-ORD-5",)),
    Row(
        "T1",
        "A pending flush comes before the copy.",
        "tlb.do_wp_page",
        ("AE-ORD-7",),
    ),
)

STEPS: dict[str, tuple[Row, ...]] = {
    "Read fault": READ_FAULT,
    "Write fault": WRITE_FAULT,
    "Unshare fault": UNSHARE_FAULT,
    "fork, one PTE": FORK,
    "Slow GUP, one PTE": GUP,
    "GUP-fast, one PTE": GUP_FAST,
    "munmap, MADV_DONTNEED": UNMAP,
    "Swap-out": SWAP_OUT,
    "Swap-in": SWAP_IN,
    "Migration": MIGRATION,
    "Large folios": LARGE_FOLIOS,
    "KSM": KSM_MERGE,
    "Write protection": PROTECTION,
    "Moves": MOVES,
    "Memory ordering": ORDER,
}
"""All steps, by operation."""
