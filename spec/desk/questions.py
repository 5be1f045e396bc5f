"""What to ask of a patch: one question for each rule that has an anchor.

A question names what the answer has to name: a lock, an order, a count. `cues` are
identifiers of the kernel: a patch that changes a line with one of them concerns the
rule more than one that changes other lines of the same function.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """What to ask where a rule is concerned.

    Attributes:
        text: one question, without the id.
        cues: identifiers of the kernel, or the beginnings of some.
    """

    text: str
    cues: tuple[str, ...] = ()


_BIT = ("PageAnonExclusive", "SetPageAnonExclusive", "ClearPageAnonExclusive")
_COUNT = ("folio_ref_count", "page_count", "folio_expected_ref_count", "page_ref_")
_MAPCOUNT = ("mapcount", "page_mapcount", "folio_mapcount", "_entire_mapcount")
_PINNED = ("maybe_dma_pinned", "needs_cow_for_dma", "FOLL_PIN")
_SEQ = ("write_protect_seq", "read_seqcount", "raw_write_seqcount")
_CLEAR = ("ptep_clear_flush", "ptep_get_and_clear", "get_and_clear_ptes")
_WRITABLE = ("pte_mkwrite", "maybe_mkwrite", "pte_wrprotect", "wrprotect_pte")
_SHARE = ("try_share_anon_rmap",)
_DUP = ("try_dup_anon_rmap", "dup_anon_rmap")
_RMAP = ("RMAP_EXCLUSIVE", "rmap_flags", "add_new_anon_rmap", "add_anon_rmap")
_SAME = ("pte_same", "ptep_get", "vmf->orig_pte")
_BARRIER = ("smp_mb", "smp_rmb", "smp_wmb", "smp_mb__after_atomic", "barrier")
_SWAP_CACHE = ("folio_free_swap", "swapcache", "swap_cache")
_UNSHARE = ("gup_must_unshare", "FAULT_FLAG_UNSHARE", "EMLINK")

QUESTIONS: dict[str, Question] = {
    "AE-SET-1": Question(
        "is the page table lock of the mapping held where the bit is set?",
        (*_BIT, "pte_offset_map_lock", "pte_unmap_unlock", "vmf->ptl"),
    ),
    "AE-SET-2": Question(
        "what excludes, when the bit is set, that another process maps the page or "
        "holds a reference to it?",
        (*_BIT, *_COUNT, *_MAPCOUNT),
    ),
    "AE-SET-3": Question(
        "does GUP set the bit by hand, and only where its process maps the page "
        "writable?",
        (*_BIT, *_UNSHARE),
    ),
    "AE-SET-4": Question(
        "is the bit set for a process on whose behalf GUP was never asked?",
        (*_BIT, *_RMAP),
    ),
    "AE-SET-5": Question(
        "is the bit set whenever an anonymous page is mapped writable?",
        (*_BIT, *_RMAP, *_WRITABLE),
    ),
    "AE-CLR-1": Question(
        "does the bit stay when a mapping is write-protected without sharing the page?",
        (*_BIT, *_WRITABLE),
    ),
    "AE-CLR-2": Question(
        "does the bit stay when a reference is dropped?",
        (*_BIT, "unpin", "put_refs", "folio_put"),
    ),
    "AE-CLR-3": Question(
        "is the bit cleared in every page, tail pages too, before the page is free?",
        (*_BIT, "PAGE_FLAGS_CHECK_AT_PREP", "page->flags"),
    ),
    "AE-ASM-3": Question(
        "can a pinned page now look as if it were not pinned?",
        (*_PINNED, "GUP_PIN_COUNTING_BIAS", "_pincount"),
    ),
    "AE-ASM-4": Question(
        "is a reference to the shared zeropage expected to see later writes?",
        ("is_zero_folio", "is_zero_pfn", "vm_normal_page"),
    ),
    "AE-COW-1": Question(
        "is a page whose bit is set kept by the fault, without any further test?",
        _BIT,
    ),
    "AE-COW-2": Question(
        "which count shows, before the PTE becomes writable, that nobody else maps the "
        "page or holds a reference?",
        (*_COUNT, *_MAPCOUNT, *_SWAP_CACHE, *_WRITABLE),
    ),
    "AE-COW-3": Question(
        "when the mapping is the only reference, may the fault still copy, and does "
        "anything rely on either outcome?",
        (*_COUNT, *_SWAP_CACHE, "folio_trylock", "lru_add_drain"),
    ),
    "AE-COW-4": Question(
        "is the PTE compared under its lock after the copy, before the copy is mapped?",
        (*_SAME, "pte_offset_map_lock"),
    ),
    "AE-COW-5": Question(
        "is the bit of a new page set before the page is mapped?",
        (*_BIT, *_RMAP, "set_pte_at"),
    ),
    "AE-UNS-1": Question(
        "does an unshare fault copy a page that others map or hold?",
        (*_UNSHARE, *_COUNT),
    ),
    "AE-GUP-1": Question(
        "can slow GUP return an anonymous page whose bit is clear?",
        (*_BIT, *_UNSHARE),
    ),
    "AE-GUP-2": Question(
        "is the reference taken before the page table lock is dropped under which the "
        "bit was read?",
        ("try_grab", "pte_unmap_unlock", "spin_unlock"),
    ),
    "AE-GUP-3": Question(
        "does a FOLL_GET caller get a page whose bit is clear?",
        (*_UNSHARE, "FOLL_GET"),
    ),
    "AE-GUP-4": Question(
        "can FOLL_WRITE get through a PTE that is not writable?",
        ("FOLL_WRITE", "FOLL_FORCE", "pte_write", "can_follow_write"),
    ),
    "AE-GUP-5": Question(
        "can a read-only FOLL_PIN return an anonymous page whose bit is clear?",
        (*_BIT, *_UNSHARE, *_PINNED),
    ),
    "AE-GUP-6": Question(
        "can FOLL_LONGTERM return a page of a private mapping that is not anonymous?",
        ("FOLL_LONGTERM", "is_cow_mapping", "PageAnon", "folio_test_anon"),
    ),
    "AE-FAST-1": Question(
        "is the bit set without mmap_lock or the page table lock?",
        _BIT,
    ),
    "AE-FAST-2": Question(
        "does GUP-fast drop a page whose bit is clear and fall back?",
        (*_BIT, *_UNSHARE),
    ),
    "AE-FAST-3": Question(
        "is the PTE read again after the reference was taken, and the page dropped if "
        "it differs?",
        (*_SAME, "try_grab", "pte_val", "gup_put_folio"),
    ),
    "AE-FAST-4": Question(
        "is write_protect_seq read before the walk and tested after it for FOLL_PIN?",
        (*_SEQ, *_PINNED),
    ),
    "AE-FAST-5": Question(
        "is write_protect_seq tested after the walk for FOLL_GET as well?",
        (*_SEQ, "FOLL_GET"),
    ),
    "AE-FORK-1": Question(
        "which count decides that fork may clear the bit and share?",
        (*_BIT, *_COUNT, *_DUP),
    ),
    "AE-FORK-2": Question(
        "can fork share a page to which somebody holds a reference that he relies on?",
        (*_COUNT, *_PINNED, *_DUP),
    ),
    "AE-FORK-3": Question(
        "is the bit cleared before the child's PTE is set?",
        (*_BIT, *_DUP, "set_pte", "set_ptes"),
    ),
    "AE-FORK-4": Question(
        "does fork share a page whose bit is clear without a look at its count?",
        (*_COUNT, *_DUP),
    ),
    "AE-FORK-5": Question(
        "is the parent's PTE write-protected before the child's PTE is set?",
        (*_WRITABLE, "ptep_set_wrprotect", "wrprotect_ptes", "set_pte", "set_ptes"),
    ),
    "AE-FORK-6": Question(
        "is write_protect_seq odd from before the page is judged until the child maps "
        "it?",
        _SEQ,
    ),
    "AE-FORK-7": Question(
        "does the parent keep its page, and the child get the copy?",
        ("copy_user", "copy_mc_user", "prealloc", "new_folio", "set_pte"),
    ),
    "AE-FORK-8": Question(
        "can fork share a page that may be pinned?",
        (*_PINNED, *_DUP, "EBUSY"),
    ),
    "AE-WP-1": Question(
        "is the bit read before the PTE becomes writable without a fault?",
        (*_BIT, *_WRITABLE, "can_change_pte_writable"),
    ),
    "AE-WP-2": Question(
        "does the PTE stay R/O while soft-dirty or userfaultfd waits for a write?",
        ("soft_dirty", "uffd_wp", *_WRITABLE),
    ),
    "AE-WP-3": Question(
        "is userfaultfd-wp asked before a write fault makes the PTE writable?",
        ("uffd_wp", "handle_userfault", "userfaultfd"),
    ),
    "AE-WP-4": Question(
        "are soft-dirty and uffd-wp bits of the PTE kept by an unshare fault?",
        ("soft_dirty", "uffd_wp", "unshare"),
    ),
    "AE-WP-5": Question(
        "can FOLL_FORCE write through a read-only PTE to a page whose bit is clear?",
        (*_BIT, "FOLL_FORCE", "can_follow_write"),
    ),
    "AE-SWAP-1": Question(
        "is the PTE cleared before it is decided that a swap entry replaces it?",
        (*_CLEAR, *_SHARE),
    ),
    "AE-SWAP-2": Question(
        "can a swap entry replace a page to which somebody holds a reference that he "
        "relies on?",
        (*_COUNT, *_SHARE),
    ),
    "AE-SWAP-3": Question(
        "is a page that may be pinned given back its PTE instead of a swap entry?",
        (*_PINNED, *_SHARE),
    ),
    "AE-SWAP-4": Question(
        "is the bit cleared before the swap entry is installed?",
        (*_BIT, *_SHARE, "pte_swp_mkexclusive", "swp_pte"),
    ),
    "AE-SWAP-5": Question(
        "do references besides isolation and swap cache still keep the page from being "
        "written?",
        (*_COUNT, "is_page_cache_freeable", "PAGE_KEEP"),
    ),
    "AE-SWAP-6": Question(
        "is the count frozen at the expected value before the swap cache lets go?",
        (*_COUNT, "ref_freeze", "__delete_from_swap_cache"),
    ),
    "AE-SWAP-7": Question(
        "is a dirty page, or one under writeback, kept in the swap cache?",
        ("folio_test_dirty", "PageDirty", "writeback", "ref_freeze"),
    ),
    "AE-SWAP-8": Question(
        "is the entry compared under the page table lock before the page is mapped?",
        (*_SAME, "pte_offset_map_lock"),
    ),
    "AE-SWAP-9": Question(
        "is the slot claimed in the swap cache before it is read?",
        ("swapcache_prepare", "SWP_SYNCHRONOUS_IO", *_SWAP_CACHE),
    ),
    "AE-SWAP-10": Question(
        "is exclusivity taken from the marker of the swap entry, or from a count?",
        ("pte_swp_exclusive", "exclusive", *_RMAP, *_COUNT),
    ),
    "AE-SWAP-11": Question(
        "do both entries, the parent's and the child's, lose the exclusive marker?",
        ("pte_swp_exclusive", "pte_swp_clear_exclusive", "swap_duplicate"),
    ),
    "AE-SWAP-12": Question(
        "is the bit left clear while a device with stable writes writes the page?",
        ("SWP_STABLE_WRITES", "writeback", "exclusive"),
    ),
    "AE-SWAP-13": Question(
        "is a lazyfree page kept when its count shows a reference, read after the PTE "
        "was cleared?",
        (*_COUNT, "swapbacked", "lazyfree", "smp_mb"),
    ),
    "AE-MIGR-1": Question(
        "is the PTE cleared before it is decided that a migration entry replaces it?",
        (*_CLEAR, *_SHARE),
    ),
    "AE-MIGR-2": Question(
        "can a migration entry replace a page to which somebody holds a reference that "
        "he relies on?",
        (*_COUNT, *_SHARE),
    ),
    "AE-MIGR-3": Question(
        "does the test for pins come after the PTE was cleared?",
        (*_PINNED, *_SHARE),
    ),
    "AE-MIGR-4": Question(
        "is the bit cleared before the migration entry is installed?",
        (*_BIT, *_SHARE, "make_readable_exclusive_migration_entry", "anon_exclusive"),
    ),
    "AE-MIGR-5": Question(
        "is the count frozen at the expected value before the new page takes over?",
        (*_COUNT, "ref_freeze", "expected_count"),
    ),
    "AE-MIGR-6": Question(
        "does fork make the entry readable in the parent as well as in the child?",
        ("readable_migration_entry", "writable_migration_entry", "migration_entry"),
    ),
    "AE-MIGR-7": Question(
        "can a page become writable in place of an entry that is not writable?",
        (*_WRITABLE, "is_writable_migration_entry", "migration_entry"),
    ),
    "AE-MIGR-8": Question(
        "does exclusivity survive, in the new entry or in the bit of the page?",
        (*_RMAP, "readable_exclusive", "is_readable_migration_entry"),
    ),
    "AE-KSM-1": Question(
        "can the bit of a KSM page be set?",
        (*_BIT, "folio_test_ksm", "PageKsm"),
    ),
    "AE-KSM-2": Question(
        "can a write fault make a KSM page writable?",
        ("folio_test_ksm", "PageKsm", *_WRITABLE),
    ),
    "AE-KSM-3": Question(
        "does any reference besides mappings and swap cache still stop the merge?",
        (*_COUNT, *_MAPCOUNT, "swapped"),
    ),
    "AE-KSM-4": Question(
        "is the PTE cleared and flushed before the counts are compared?",
        (*_CLEAR, *_COUNT, *_SHARE),
    ),
    "AE-KSM-5": Question(
        "is the bit cleared before the page becomes a KSM page?",
        (*_BIT, *_SHARE),
    ),
    "AE-KSM-6": Question(
        "are the contents compared again after both pages were write-protected?",
        ("pages_identical", "write_protect_page"),
    ),
    "AE-KSM-7": Question(
        "is the PTE compared with the one that was write-protected before it is "
        "replaced?",
        (*_SAME, "orig_pte"),
    ),
    "AE-MOVE-1": Question(
        "does the bit move with the page, or stay with it?",
        (*_BIT, "move_soft_dirty_pte", "set_pte_at", "set_ptes"),
    ),
    "AE-MOVE-2": Question(
        "is the PTE cleared before it is decided that nobody holds the page?",
        (*_CLEAR, *_PINNED),
    ),
    "AE-MOVE-3": Question(
        "is a page that somebody holds put back instead of moved?",
        (*_PINNED, *_BIT, "EBUSY"),
    ),
    "AE-HUGE-1": Question(
        "is the bit kept in the head page alone while a PMD maps the folio?",
        (*_BIT, "compound_head", "folio->page"),
    ),
    "AE-HUGE-2": Question(
        "does each page get the bit of the head when the PMD is split?",
        (*_BIT, "anon_exclusive"),
    ),
    "AE-HUGE-3": Question(
        "what shows that all references to the large folio are mappings of this "
        "process?",
        (*_COUNT, *_MAPCOUNT, "maybe_mapped_shared", "mm_id"),
    ),
    "AE-HUGE-4": Question(
        "is the page table taken out of the PMD before references are looked at?",
        ("pmdp_collapse_flush", "pmd_clear", *_COUNT),
    ),
    "AE-HUGE-5": Question(
        "do references besides mappings and swap cache still stop the collapse?",
        (*_COUNT, "is_refcount_suitable", "SCAN_PAGE_COUNT"),
    ),
    "AE-HUGE-6": Question(
        "is the PMD read again after the reference was taken, and the page dropped if "
        "it differs?",
        ("pmd_val", "pmdp", "pmd_same", "try_grab"),
    ),
    "AE-HUGE-7": Question(
        "is the bit read from the page that this PTE maps, not from another of the "
        "folio?",
        (*_BIT, "folio_page", "anon_exclusive", "nth_page"),
    ),
    "AE-HUGE-8": Question(
        "does a reference from GUP still make the split fail?",
        (*_COUNT, "ref_freeze", "can_split_folio", "extra_pins"),
    ),
    "AE-ORD-1": Question(
        "is there a full barrier between clearing the PTE and reading the count?",
        (*_BARRIER, *_SHARE),
    ),
    "AE-ORD-2": Question(
        "is there a write barrier between clearing the bit and installing a PTE?",
        (*_BARRIER, *_BIT),
    ),
    "AE-ORD-3": Question(
        "is there a full barrier between taking the reference and reading the PTE "
        "again?",
        (*_BARRIER, "try_grab", "ref_add"),
    ),
    "AE-ORD-4": Question(
        "is there a read barrier between reading the PTE again and reading the bit?",
        (*_BARRIER, *_BIT),
    ),
    "AE-ORD-5": Question(
        "is the bit read after the reference was taken?",
        (*_UNSHARE, "try_grab"),
    ),
    "AE-ORD-6": Question(
        "is the count read after the PTE was cleared?",
        (*_CLEAR, *_SHARE, *_COUNT),
    ),
    "AE-ORD-7": Question(
        "is a pending TLB flush for the address carried out before the page is copied?",
        ("mm_tlb_flush_pending", "flush_tlb_page"),
    ),
}
