"""Which kernel functions an operation of the specification stands for.

The keys are the operations of `spec.steps`. The values are symbols; where they stood in
which release is said in `spec.desk.symbols`.
"""

from __future__ import annotations

_DO_WP_PAGE = ("mm/memory.c:do_wp_page",)
_REUSE = ("mm/memory.c:wp_can_reuse_anon_folio",)
_COPY = ("mm/memory.c:wp_page_copy",)
_FORK_PTE = ("mm/memory.c:copy_present_pte",)
_NONPRESENT = ("mm/memory.c:copy_nonpresent_pte",)
_UNMAP = ("mm/rmap.c:try_to_unmap_one",)
_SHARE = ("include/linux/rmap.h:folio_try_share_anon_rmap_pte",)
_SWAP_IN = ("mm/memory.c:do_swap_page",)
_FAST = ("mm/gup.c:gup_fast_pte_range",)

OPERATIONS: dict[str, tuple[str, ...]] = {
    "counts.add_mapping": ("mm/rmap.c:folio_add_anon_rmap_ptes",),
    "counts.folio_free_swap": ("mm/swapfile.c:folio_free_swap",),
    "counts.folio_lock": ("mm/filemap.c:__folio_lock",),
    "counts.ptep_clear_flush": ("mm/pgtable-generic.c:ptep_clear_flush",),
    "counts.put_page": ("mm/swap.c:__folio_put",),
    "counts.remove_mapping": ("mm/rmap.c:folio_remove_rmap_ptes",),
    "counts.swap_free": ("mm/swapfile.c:swap_free_nr",),
    "cow.do_wp_page": _DO_WP_PAGE,
    "cow.map_new_page": _COPY,
    "cow.may_reuse": _REUSE,
    "cow.wp_can_reuse_anon_folio": _REUSE,
    "cow.wp_page_copy": _COPY,
    "fault.do_anonymous_page": ("mm/memory.c:do_anonymous_page",),
    "fault.do_numa_page": ("mm/memory.c:do_numa_page",),
    "fault.handle_pte_fault": ("mm/memory.c:handle_pte_fault",),
    "fault.zap_pte_range": ("mm/memory.c:zap_pte_range",),
    "fork.copy_present_page": ("mm/memory.c:copy_present_page",),
    "fork.copy_present_pte": _FORK_PTE,
    "fork.copy_pte_range": ("mm/memory.c:copy_pte_range",),
    "fork.fork": ("mm/memory.c:copy_page_range",),
    "fork.may_share": _FORK_PTE,
    "gup.follow_page_mask": ("mm/gup.c:follow_page_mask",),
    "gup.follow_page_pte": ("mm/gup.c:follow_page_pte",),
    "gup.grab": ("mm/gup.c:try_grab_folio", "mm/gup.c:try_grab_folio_fast"),
    "gup.is_or_becomes_exclusive": ("mm/internal.h:gup_must_unshare",),
    "gup.must_fault": ("mm/gup.c:can_follow_write_pte",),
    "gup_fast.gup_fast": ("mm/gup.c:gup_fast",),
    "gup_fast.gup_fast_pte_range": _FAST,
    "gup_fast.put": ("mm/gup.c:gup_put_folio",),
    "hugepage.copy_huge_pmd": ("mm/huge_memory.c:copy_huge_pmd",),
    "hugepage.do_huge_pmd_wp_page": ("mm/huge_memory.c:do_huge_pmd_wp_page",),
    "hugepage.split_huge_pmd": ("mm/huge_memory.c:__split_huge_pmd_locked",),
    "ksm.break_ksm": ("mm/ksm.c:break_ksm",),
    "ksm.pages_identical": ("mm/ksm.c:try_to_merge_one_page",),
    "ksm.replace_page": ("mm/ksm.c:replace_page",),
    "ksm.write_protect_page": ("mm/ksm.c:write_protect_page",),
    "largefolio.collapse_locked": ("mm/khugepaged.c:collapse_huge_page",),
    "largefolio.may_reuse_large": ("mm/memory.c:__wp_can_reuse_large_anon_folio",),
    "largefolio.split_folio": ("mm/huge_memory.c:split_huge_page_to_list",),
    "lazyfree.discard_one": _UNMAP,
    "migration.folio_migrate_copy": ("mm/migrate.c:folio_migrate_flags",),
    "migration.folio_migrate_mapping": ("mm/migrate.c:folio_migrate_mapping",),
    "migration.migrate_folio": ("mm/migrate.c:migrate_pages",),
    "migration.try_to_migrate_one": ("mm/rmap.c:try_to_migrate_one",),
    "migration.unmap_and_move": ("mm/migrate.c:unmap_and_move",),
    "migration_entry.MigrationEntry.copy_nonpresent_pte": _NONPRESENT,
    "migration_entry.MigrationEntry.do_swap_page": (
        "mm/migrate.c:migration_entry_wait",
    ),
    "migration_entry.remove_migration_pte": ("mm/migrate.c:remove_migration_pte",),
    "models.Hugetlb.may_reuse": ("mm/hugetlb.c:hugetlb_wp",),
    "move.move_entry": ("mm/mremap.c:move_ptes",),
    "move.move_pages_pte": ("mm/userfaultfd.c:move_present_pte",),
    "move.move_swap_pte": ("mm/userfaultfd.c:move_swap_pte",),
    "ordering.clear_pte": _SHARE,
    "ordering.gup_fast": _FAST,
    "ordering.unmap": _SHARE,
    "protect.can_change_pte_writable": ("mm/mprotect.c:can_change_pte_writable",),
    "protect.change_pte_range": ("mm/mprotect.c:change_pte_range",),
    "protect.set_trap": ("fs/proc/task_mmu.c:clear_soft_dirty",),
    "protect.store_forced": ("mm/gup.c:can_follow_write_pte",),
    "reclaim.add_to_swap": ("mm/swap_state.c:add_to_swap",),
    "reclaim.may_unmap_now": _SHARE,
    "reclaim.reclaim_locked": ("mm/vmscan.c:shrink_folio_list",),
    "reclaim.set_swap_pte": _UNMAP,
    "reclaim.try_to_unmap_one": _UNMAP,
    "swap.copy_swap_pte": _NONPRESENT,
    "swap.do_swap_page": _SWAP_IN,
    "swap.is_exclusive": _SWAP_IN,
    "swap.set_swapped_pte": _SWAP_IN,
    "swap.swapin_folio": _SWAP_IN,
    "swap.swapoff": ("mm/swapfile.c:unuse_pte",),
    "tlb.do_wp_page": _DO_WP_PAGE,
    "writeback.pageout": ("mm/vmscan.c:pageout",),
    "writeback.remove_from_swap_cache": ("mm/vmscan.c:__remove_mapping",),
}

HELPERS = "counts."
"""What every operation calls. A change there is no sign of a single rule."""
