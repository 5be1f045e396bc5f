"""Real bugs of Linux, each as a litmus test that shows it or with the reason why not.

A bug is *shown* by tests of the catalogue on a model or a release that had it, perhaps
with a rule taken away: a missing step or barrier is shown by the rule that demands it.
It is *ablated* where no litmus test can say it, on memory ordering and stale
translations, and the trace of the removed rule shows it. It is *outside* where it needs
state that this specification has not, and the entry says which.

Titles, commits and releases are those of Linux; numbers that are left out were never
given to a bug. Stories are retold from the changelogs and the code.
"""

from __future__ import annotations

from dataclasses import dataclass

OTHER_VERDICTS = (
    "crash",
    "livelock",
    "torn-snapshot",
    "wrong-rmap",
    "wasted-work",
    "false-warning",
)
"""What a bug outside the model can come to, besides `spec.litmus.program.VERDICTS`."""


@dataclass(frozen=True)
class Shown:
    """A litmus test that shows a bug: where, and what has to be taken away for it.

    Attributes:
        litmus: its name in the catalogue.
        model: a model or a variant, or a release as ``linux-5.10``.
        without: ids of rules that are not obeyed.
    """

    litmus: str
    model: str
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bug:
    """One bug, what it came to and where it can be seen.

    Attributes:
        id: ``B1`` and so on.
        title: of the commit that fixed it, or a few words where none did.
        commit: its id; empty where there is none or it is not known.
        fixed: the first release with the fix; empty if there is none.
        verdict: one of `spec.litmus.program.VERDICTS`, or of `OTHER_VERDICTS`.
        story: what happened, in three sentences.
        rules: ids of the rules that forbid it.
        cve: CVE numbers.
        shown: the tests that show it.
        ablated: ids of rules whose removal shows it in the bounds.
        outside: which state it needs that is not modelled.
        note: what is unverified, and how the test differs from the bug.
    """

    id: str
    title: str
    commit: str
    fixed: str
    verdict: str
    story: str
    rules: tuple[str, ...]
    cve: tuple[str, ...] = ()
    shown: tuple[Shown, ...] = ()
    ablated: tuple[str, ...] = ()
    outside: str = ""
    note: str = ""


BUGS = (
    Bug(
        "B1",
        "mm: do_wp_page() simplification",
        "09854ba94c6a",
        "5.9",
        "missed-cow",
        "After fork() the child takes a reference by vmsplice() and unmaps the "
        "page. The parent's write fault asks reuse_swap_page(), which counts "
        "mappings, and do_wp_page() makes the page writable for the parent. The "
        "child reads from its pipe whatever the parent writes from then on.",
        ("AE-COW-2", "AE-WP-1"),
        cve=("CVE-2020-29374",),
        shown=(
            Shown("vmsplice-leak", "mapcount"),
            Shown("vmsplice-leak-mprotect", "mapcount"),
            Shown("vmsplice-leak-exit", "mapcount"),
            Shown("vmsplice-leak-grandchild", "mapcount"),
            Shown("vmsplice-after-fork", "mapcount"),
            Shown("vmsplice-before-fork", "force_cow"),
        ),
        note="17839856fd58 (5.8) broke COW when GUP takes the reference, which "
        "leaves the leak of a reference that is older than the fork.",
    ),
    Bug(
        "B3",
        "mm/gup: Remove enfornced COW mechanism",
        "a308c71bf1e6",
        "5.9",
        "side-effect",
        "Linux 5.8 let every GUP lookup in a private mapping act as if it wrote "
        "(should_force_cow_break()). A reader of a range that userfaultfd "
        "write-protects then raised a write fault, and a monitor that read the "
        "page itself waited for its own answer. Soft-dirty noted writes that "
        "nobody made, and the shared zeropage and KSM pages were copied for "
        "readers.",
        ("AE-WP-4",),
        shown=(
            Shown("uffd-wp-reader", "force_cow"),
            Shown("softdirty-reader", "force_cow"),
        ),
        note="Readers of DAX mappings failed as well; the model has no such mappings.",
    ),
    Bug(
        "B4",
        "mm: Do early cow for pinned pages during fork() for ptes",
        "70e806e4e645",
        "5.9",
        "wrong-cow",
        "A device pins a page, and its process forks. copy_present_pte() "
        "write-protected the page for both, and the parent's next write fault "
        "found further references and copied. The device kept the old page while "
        "the parent read and wrote the new one.",
        ("AE-FORK-8", "AE-FORK-2"),
        shown=(
            Shown("pin-fork", "page_count", ("AE-FORK-8",)),
            Shown("pin-fork-read-only", "page_count", ("AE-FORK-8",)),
            Shown("pin-fork-child-writes", "page_count", ("AE-FORK-8",)),
            Shown("pin-fork-child-exits", "page_count", ("AE-FORK-8",)),
            Shown("pin-fork", "mapcount"),
        ),
        note="09854ba94c6a is in the same release, so none had it exactly so; "
        "before 5.8 whoever wrote last kept the pin. FOLL_GET is not covered "
        "(direct-io-fork). Pins are counted exactly here, so that a page with "
        "very many references is no false positive.",
    ),
    Bug(
        "B5",
        "mm/thp: Split huge pmds/puds if they're pinned when fork()",
        "d042035eaf5f",
        "5.9",
        "wrong-cow",
        "As with a small page, but the device has pinned one page of a huge page. "
        "copy_huge_pmd() write-protected the PMD for both processes, and the "
        "parent's next write split it and copied the page that was pinned. Since "
        "the fix a PMD whose folio may be pinned is split, and each page is copied "
        "for the child.",
        ("AE-FORK-8", "AE-FORK-2"),
        shown=(
            Shown("thp-pin-subpage-fork", "page_count", ("AE-FORK-8",)),
            Shown("thp-pin-subpage-fork", "mapcount"),
        ),
        note="PUDs are not modelled.",
    ),
    Bug(
        "B6",
        "hugetlb: do early cow when page pinned on src mm",
        "4eae4efa2c29",
        "5.12",
        "wrong-cow",
        "The early copy of pinned pages had been added for PTEs and for huge PMDs. "
        "copy_hugetlb_page_range() went on sharing every hugetlb page with the "
        "child. The parent's next write copied the page away from the device that "
        "had pinned it.",
        ("AE-FORK-8",),
        shown=(Shown("pin-fork", "hugetlb", ("AE-FORK-8",)),),
        note="The release is unverified. The variant stands for hugetlb with the "
        "bit, which came later.",
    ),
    Bug(
        "B7",
        "mm/gup: prevent gup_fast from racing with COW during fork",
        "57efa1fe5957",
        "5.11",
        "wrong-cow",
        "fork() finds a page not pinned and is about to write-protect it. "
        "gup_fast_pte_range() on another CPU pins the page in between, finds the "
        "PTE unchanged and succeeds. The page is shared although it is pinned, and "
        "the parent's next write copies it away.",
        ("AE-FAST-4", "AE-FORK-6"),
        shown=(
            Shown("gup-fast-race", "linux-5.10"),
            Shown("gup-fast-race", "page_count", ("AE-FAST-4",)),
            Shown("gup-fast-race", "page_count", ("AE-FORK-6",)),
            Shown("gup-fast-race", "upstream", ("AE-FAST-4",)),
        ),
        note="5.9 and 5.10 write-protected first, tested and took it back; the "
        "race there was on the test whether the process had ever pinned "
        "anything.",
    ),
    Bug(
        "B8",
        "mm/hugetlb: take src_mm->write_protect_seq in copy_hugetlb_page_range()",
        "623a1ddfeb23",
        "5.19",
        "wrong-cow",
        "GUP-fast looks at write_protect_seq to learn that fork() ran. "
        "copy_hugetlb_page_range() did not raise it. A pin of a hugetlb page that "
        "raced with fork() was therefore returned for a page that is shared.",
        ("AE-FORK-6",),
        shown=(Shown("gup-fast-race", "hugetlb", ("AE-FORK-6",)),),
        note="The variant stands for hugetlb with the bit, which came in the same "
        "release.",
    ),
    Bug(
        "B9",
        "mm: don't put pinned pages into the swap cache",
        "feb889fb40fa",
        "5.11",
        "wrong-cow",
        "Reclaim unmapped a pinned page and put it into the swap cache, from where "
        "it could not be freed. The next read fault mapped it read-only, and the "
        "write fault after that found further references in do_wp_page() and "
        "copied. The device kept writing to a page that no address mapped any "
        "more.",
        ("AE-SWAP-3", "AE-SWAP-2"),
        shown=(Shown("swapout-pin", "linux-5.10"),),
        note="Kernels of the 5.10 stable series have been observed not to swap out "
        "pinned pages.",
    ),
    Bug(
        "B11",
        "mm/swap: remember PG_anon_exclusive via a swp pte bit",
        "1493a1913e34",
        "5.19",
        "wrong-cow",
        "An O_DIRECT read holds a FOLL_GET reference when reclaim replaces the PTE "
        "by a swap entry. The page cannot be freed, do_swap_page() maps it again "
        "from the swap cache without knowing its owner, and the next write copies "
        "it. What the disk writes afterwards arrives in the old page.",
        ("AE-SWAP-2", "AE-COW-1"),
        shown=(
            Shown("swapout-get", "linux-5.18"),
            Shown("swapout-get", "page_count"),
            Shown("swapout-get-write", "page_count_thp"),
            Shown("swapout-get-threads", "page_count"),
            Shown("swapout-get-race", "page_count_thp"),
        ),
        note="Before 5.18 the access that brings the page back could itself be the "
        "write: do_swap_page() went by mapcount and kept the page. A fork in "
        "between still loses the marker upstream, which does not promise more "
        "(swapout-get-fork); the sketch refuses the swap entry.",
    ),
    Bug(
        "B12",
        "mm: don't play games with pinned pages in clear_page_refs",
        "9348b73c2e1b",
        "5.11",
        "wrong-cow",
        "Soft-dirty tracking, userfaultfd, mprotect() and NUMA hints take the "
        "write permission of a PTE without sharing its page. From 5.9 on "
        "do_wp_page() copied such a page at the next write if anybody, its own "
        "process included, had a reference. Pins were excepted at one place after "
        "the other, and FOLL_GET was safe only when the bit came (6c287605fd56, "
        "5.19).",
        ("AE-COW-1", "AE-CLR-1"),
        shown=(
            Shown("softdirty-pin", "linux-5.10"),
            Shown("softdirty-get", "page_count"),
            Shown("pin-mprotect", "page_count"),
            Shown("direct-io-mprotect", "page_count"),
            Shown("uffd-wp-pin", "page_count"),
            Shown("uffd-wp-get", "page_count"),
            Shown("numa-pin", "page_count"),
            Shown("numa-get", "page_count"),
        ),
        note="The commit is that for soft-dirty and pins; 80d47f5de5e3 (5.17) is "
        "that for NUMA hints. Up to 6.1 the PTE of a NUMA hint noted whether "
        "it had been writable; how the permission was lost in the report that "
        "led to 80d47f5de5e3 is unverified, and the model simply loses it.",
    ),
    Bug(
        "B14",
        "mm/userfaultfd: fix memory corruption due to writeprotect",
        "6ce64428d620",
        "5.12",
        "lost",
        "UFFDIO_WRITEPROTECT clears the write permission and puts the TLB flush "
        "off. A write fault on another CPU copies the page in wp_page_copy() while "
        "a third CPU still writes to it through a stale translation. What that CPU "
        "writes after the copy is in no page that the process maps.",
        ("AE-ORD-7",),
        ablated=("AE-ORD-7",),
    ),
    Bug(
        "B15",
        "mm: fix clear_refs_write locking",
        "29a951dfb3c3",
        "5.11",
        "lost",
        "clear_refs_write() write-protects PTEs for soft-dirty tracking and "
        "flushes at the end of the walk. It held mmap_lock for reading only, so "
        "that write faults ran meanwhile and copied pages that other CPUs still "
        "wrote to. Writes through stale translations were lost, as with "
        "userfaultfd.",
        ("AE-ORD-7",),
        ablated=("AE-ORD-7",),
        note="The fix takes mmap_lock for writing; the rule, and the trace, are "
        "those of the later fix in do_wp_page().",
    ),
    Bug(
        "B16",
        "mm: fix race between MADV_FREE reclaim and blkdev direct IO read",
        "6c8e2a256915",
        "5.18",
        "lost",
        "A process gives a page to MADV_FREE and then lets a disk read into it. "
        "try_to_unmap_one() found the page clean and dropped it, since a device "
        "marks a page dirty when it is done. The data went into a page that was "
        "gone, and the process read zeroes.",
        ("AE-SWAP-13",),
        shown=(Shown("madv-free-direct-io", "linux-5.17"),),
        note="madv-free-get looks at the process while the reference lives, and "
        "calls it a wrong COW.",
    ),
    Bug(
        "B17",
        "mm: streamline COW logic in do_swap_page()",
        "c145e0b47c77",
        "5.18",
        "missed-cow",
        "Two processes share a swap entry; one of them faults the page in, takes a "
        "reference and unmaps it. do_swap_page() still asked reuse_swap_page() for "
        "the other's write fault, and one mapping or entry looked like an owner. "
        "The reference read what the other process wrote, as in CVE-2020-29374.",
        ("AE-COW-2", "AE-SWAP-10"),
        shown=(
            Shown("swap-entry-leak", "linux-5.17"),
            Shown("swap-entry-leak", "mapcount"),
            Shown("swap-entry-leak-read", "page_count"),
            Shown("swap-entry-leak-parent", "page_count"),
            Shown("swap-entry-leak", "unshare_v1"),
            Shown("swap-entry-leak-parent", "unshare_v1"),
            Shown("swapout-leak", "page_count"),
        ),
        note="Torvalds held the same against unsharing by mapcount: an entry in "
        "swap is no mapping.",
    ),
    Bug(
        "B18",
        "mm/huge_memory: streamline COW logic in do_huge_pmd_wp_page()",
        "3bff7e3f1f16",
        "5.18",
        "missed-cow",
        "For a huge page that a PMD maps, do_huge_pmd_wp_page() went on counting "
        "mappings after 5.9. A process that had unmapped the page and kept a "
        "reference read what the other wrote. Since the fix the folio is kept if "
        "there is no further reference, else the PMD is split.",
        ("AE-COW-2", "AE-HUGE-3"),
        shown=(
            Shown("thp-vmsplice-leak", "linux-5.17"),
            Shown("thp-vmsplice-leak", "mapcount"),
            Shown("thp-vmsplice-leak", "page_count"),
            Shown("thp-vmsplice-before-fork", "page_count"),
            Shown("thp-vmsplice-before-fork", "unshare_v1"),
        ),
    ),
    Bug(
        "B19",
        "hugetlb: a page is reused by its mapcount",
        "",
        "",
        "missed-cow",
        "hugetlb_wp() keeps a page that one process maps, whatever references "
        "there are. A FOLL_GET reader that has unmapped the page sees what the "
        "other process writes. Linux accepts that, because a copy that nobody "
        "needs may not be had: hugetlb pages are scarce.",
        ("AE-COW-2",),
        shown=(
            Shown("vmsplice-leak", "hugetlb"),
            Shown("vmsplice-leak-mprotect", "hugetlb"),
            Shown("vmsplice-before-fork", "hugetlb"),
            Shown("vmsplice-after-fork", "hugetlb"),
        ),
        note="Not fixed by choice; the kernel's own test cow.c expects the failure.",
    ),
    Bug(
        "B20",
        "mm/rmap: fix missing swap_free() in try_to_unmap() after arch_unmap_one() "
        "failed",
        "322842ea3c72",
        "5.19",
        "unnecessary-copy",
        "try_to_unmap_one() counted a swap entry by swap_duplicate() before it "
        "asked the architecture. Where arch_unmap_one() refused, the PTE was "
        "restored and the count stayed. The slot was never free again, and a page "
        "with it could not leave the swap cache.",
        ("AE-INV-3",),
        outside="The model counts a swap entry in the step that installs it, so "
        "that there is nothing to undo; it has no architectures that "
        "refuse.",
    ),
    Bug(
        "B21",
        "mm/rmap: fix dereferencing invalid subpage pointer in try_to_migrate_one()",
        "1118234e4bc2",
        "5.19",
        "crash",
        "try_to_migrate_one() computed the page of the folio from the PTE before "
        "it knew what kind of entry the PTE held. For a device-private entry the "
        "PTE has no page frame number of that kind. Reading the bit of the result "
        "followed a pointer to nothing.",
        (),
        outside="Device-private entries are not modelled, and a name in the model "
        "always leads to a page.",
        note="Introduced and fixed among the candidates for 5.19.",
    ),
    Bug(
        "B22",
        "mm/mprotect: only reference swap pfn page if type match",
        "3d2f78f08cd8",
        "6.0",
        "crash",
        "change_pte_range() looked for the page of every entry that is not "
        "present, to see whether it is anonymous. Only a migration entry has a "
        "page in that place; a swap entry has an offset. mprotect() of a swapped "
        "range followed the offset as if it were a page.",
        (),
        outside="Swap and migration entries are different types in the model and "
        "cannot be confused.",
    ),
    Bug(
        "B23",
        "mm/hugetlb: separate path for hwpoison entry in copy_hugetlb_page_range()",
        "c2cb0dcce9dd",
        "5.19",
        "crash",
        "copy_hugetlb_page_range() took every entry that is no readable migration "
        "entry for an exclusive one. An entry of a poisoned page is neither. "
        "fork() then changed it as if a page were under migration, and hit a "
        "debugging check.",
        (),
        outside="Entries of poisoned pages are not modelled.",
    ),
    Bug(
        "B24",
        "mm: fix PageAnonExclusive clearing racing with concurrent RCU GUP-fast",
        "088b8aa537c2",
        "6.1",
        "wrong-cow",
        "Whoever clears the bit stores to the PTE and then reads the count; "
        "GUP-fast stores to the count and then reads the PTE. Without a full "
        "barrier on both sides each can miss the other, and where KSM restores the "
        "same PTE gup_must_unshare() can read the old bit. GUP-fast then returns a "
        "pin of a page that has lost its bit, and the next write copies the page.",
        ("AE-ORD-1", "AE-ORD-2", "AE-ORD-3", "AE-ORD-4"),
        ablated=("AE-ORD-1", "AE-ORD-2", "AE-ORD-3", "AE-ORD-4"),
        note="Linux 5.19 and 6.0 read the bit after the reference was taken, so "
        "AE-ORD-5 and AE-ORD-6 were kept.",
    ),
    Bug(
        "B25",
        "mm/gup: fix FOLL_FORCE COW security issue and remove FOLL_COW",
        "5535be309971",
        "6.0",
        "missed-cow",
        "A write with FOLL_FORCE breaks COW by a fault and walks again; FOLL_COW "
        "and a dirty PTE told can_follow_write_pte() that this had been done. In "
        "between MADV_DONTNEED drops the copy, and UFFDIO_CONTINUE (since 5.16) "
        "maps the shared page of a file by a dirty PTE. The write goes to the page "
        "that everybody shares.",
        ("AE-WP-5",),
        cve=("CVE-2022-2590", "CVE-2022-50014"),
        shown=(Shown("force-write-shared", "upstream", ("AE-WP-5",)),),
        note="The model has no files, so no release before 6.0 shows it here: its "
        "anonymous pages come back dirty only if they are private. The test "
        "shows what the rule forbids.",
    ),
    Bug(
        "B26",
        "mm: remove gup_flags FOLL_WRITE games from __get_user_pages()",
        "19be0eaffa3a",
        "4.9",
        "missed-cow",
        "After its fault had broken COW, GUP dropped FOLL_WRITE and walked again "
        "as a reader. MADV_DONTNEED on another thread dropped the copy, and the "
        "walk faulted the page of the file in. The write went to the page cache of "
        "a file that the process may only read (Dirty COW).",
        ("AE-WP-5",),
        cve=("CVE-2016-5195", "CVE-2017-1000405"),
        outside="Releases before 4.9 have no model, and the page that was hit is "
        "one of the page cache.",
        note="The title, and what is said of a8f97366452e (4.15), the form for "
        "huge pages, is unverified. force-write-race has the same shape with "
        "anonymous memory.",
    ),
    Bug(
        "B27",
        "mm: gup: fix the fast GUP race against THP collapse",
        "70cbc3cc78a9",
        "6.1",
        "wrong-cow",
        "gup_fast_pte_range() has read the PMD and a PTE when collapse_huge_page() "
        "takes the page table away, looks at the references and copies. The PTE in "
        "the detached table is unchanged, and GUP-fast compared nothing else. It "
        "returns a page that the process no longer maps.",
        ("AE-HUGE-6",),
        shown=(
            Shown("gup-fast-race-collapse", "linux-6.0"),
            Shown("gup-fast-race-collapse", "upstream", ("AE-HUGE-6",)),
        ),
        note="Architectures that interrupt other CPUs to free page tables were safe.",
    ),
    Bug(
        "B28",
        "fork: lock VMAs of the parent process when forking",
        "fb49c455323f",
        "6.5",
        "missed-cow",
        "Since 6.4 a fault may run with the lock of one VMA instead of mmap_lock. "
        "dup_mmap() held mmap_lock only, so that another thread's write fault "
        "changed a PTE between the moments in which fork() wrote and copied. The "
        "child got an inconsistent snapshot and pages whose rmap did not know it.",
        (),
        outside="Every fault of the model holds mmap_lock; there are no VMA locks "
        "and there is no rmap.",
        note="2b4f3b4987b5 was a first attempt. fork-race-write is the same race "
        "with mmap_lock.",
    ),
    Bug(
        "B29",
        "mm: thp: make the THP mapcount atomic against __split_huge_pmd_locked()",
        "c444eb564fb1",
        "5.8",
        "missed-cow",
        "The mapcount of a huge page was the sum of several counters, read one "
        "after the other. __split_huge_pmd_locked() moved a mapping from one to "
        "another meanwhile, and page_trans_huge_mapcount() saw one mapping too "
        "few. A write fault took a shared page for its own.",
        ("AE-COW-2",),
        cve=("CVE-2020-29368",),
        outside="The model reads all mapcounts of a folio in one step.",
    ),
    Bug(
        "B30",
        "mm/swap: fix race when skipping swapcache",
        "13ddaf26be32",
        "6.8",
        "lost",
        "Two faults read one slot past the swap cache, each into a page of its "
        "own. The first maps its page and frees the slot, the process writes, and "
        "reclaim swaps the page out to the same slot. The second fault finds the "
        "entry that it began with, and do_swap_page() maps what it read long ago.",
        ("AE-SWAP-9",),
        cve=("CVE-2024-26759",),
        shown=(
            Shown("swapin-race", "linux-6.7"),
            Shown("swapin-race", "upstream", ("AE-SWAP-9",)),
        ),
        note="The CVE number comes from the advisory of a distribution.",
    ),
    Bug(
        "B31",
        "mm: fix unexpected zeroed page mapping with zram swap",
        "e914d8f00391",
        "5.18",
        "lost",
        "Two threads fault on one slot of a device that may be read past the swap "
        "cache. zram frees a slot as soon as it is told that the slot was read "
        "(swap_slot_free_notify()). The second thread reads zeroes and maps them.",
        ("AE-SWAP-9",),
        cve=("CVE-2022-49052",),
        outside="A slot of the model keeps its contents until it is used again; no "
        "device frees it at a read.",
    ),
    Bug(
        "B32",
        "mm: userfaultfd: fix race of userfaultfd_move and swap cache",
        "0ea148a79919",
        "6.16",
        "wrong-rmap",
        "UFFDIO_MOVE found no folio in the swap cache for the entry that it was to "
        "move. A fault brought the folio in and reclaim unmapped it again with the "
        "same entry, so that move_swap_pte() found the PTE unchanged. The entry "
        "moved and the folio kept the index of its old address.",
        (),
        outside="The model has no index and no anon_vma of a folio that could be "
        "wrong; it refuses an entry whose folio is in the swap cache.",
    ),
    Bug(
        "B33",
        "mm: pass page directly instead of using folio_page",
        "cf1b80dc31a1",
        "6.17",
        "missed-cow",
        "mprotect() learned to handle the PTEs of a large folio in batches "
        "(cac1db8c3aad). It read the bits of the first pages of the folio instead "
        "of those of the pages that the batch maps. A shared page became writable "
        "because another page of its folio was exclusive.",
        ("AE-HUGE-7", "AE-WP-1"),
        shown=(Shown("thp-mprotect-subpage", "upstream", ("AE-HUGE-7",)),),
        note="Introduced and fixed among the candidates for 6.17.",
    ),
    Bug(
        "B34",
        "mm/gup: add missing gup_must_unshare() check to gup_huge_pgd()",
        "",
        "6.5",
        "wrong-cow",
        "GUP-fast has a function for each level of the page table that can map a "
        "page. All but gup_huge_pgd() asked gup_must_unshare() before they "
        "returned a page that is mapped read-only. A read-only pin of a shared "
        "hugetlb page at that level lost its page at the next write.",
        ("AE-FAST-2", "AE-GUP-5"),
        shown=(Shown("pin-shared-fast", "hugetlb", ("AE-FAST-2",)),),
        note="The commit's id is unverified. The variant has one level: the test "
        "takes the question away from all of GUP-fast.",
    ),
    Bug(
        "B35",
        "userfaultfd: change src_folio after ensuring it's unpinned in UFFDIO_MOVE",
        "c0205eaf3af9",
        "6.9",
        "wrong-rmap",
        "move_present_pte() found a page exclusive and not pinned, and changed "
        "where its rmap points. GUP-fast pinned the page before the PTE was "
        "cleared. The second test then refused the move and restored the PTE, with "
        "the rmap of the address that the page never came to.",
        ("AE-MOVE-2",),
        cve=("CVE-2024-27007",),
        outside="The model has no rmap that a refused move could leave wrong.",
        note="uffdio-move-race has the race; without AE-MOVE-2 the model moves a "
        "pinned page, which Linux 6.8 did not.",
    ),
    Bug(
        "B36",
        "mm/gup: reliable R/O long-term pinning in COW mappings",
        "84209e87c696",
        "6.2",
        "wrong-cow",
        "A long-term pin for reading returned the shared zeropage, or a page of "
        "the page cache, from a private mapping. The process's first write gave it "
        "a page of its own. The holder of the pin read the old page for as long as "
        "it lived.",
        ("AE-GUP-6",),
        shown=(
            Shown("zeropage-longterm", "linux-6.1"),
            Shown("zeropage-longterm", "upstream", ("AE-GUP-6",)),
        ),
        note="Shown for the zeropage; page cache is not modelled. The sketch "
        "speaks of anonymous pages only and promises nothing here. Short-term "
        "pins may diverge to this day (zeropage).",
    ),
    Bug(
        "B38",
        "mm/ksm: fix KSM COW breaking with userfaultfd-wp via FAULT_FLAG_UNSHARE",
        "6cce3314b928",
        "6.2",
        "side-effect",
        "break_ksm() replaced a KSM page by a fault that claimed to write. In a "
        "range that userfaultfd write-protects the fault was an event for the "
        "monitor, and nobody had written. As the fault never replaced the page "
        "while the protection lasted, MADV_UNMERGEABLE could loop.",
        ("AE-WP-4",),
        shown=(
            Shown("ksm-unmerge-uffd-wp", "linux-6.1"),
            Shown("ksm-unmerge-uffd-wp", "page_count"),
            Shown("ksm-unmerge-uffd-wp", "mapcount"),
        ),
        note="The monitor of the model answers at once, so that the loop ends.",
    ),
    Bug(
        "B39",
        "mm/rmap: fail try_to_migrate() early when setting a PMD migration entry fails",
        "7f5abe609b3d",
        "5.19",
        "wasted-work",
        "set_pmd_migration_entry() refuses a huge page that may be pinned and "
        "restores the PMD. try_to_migrate() went on with the other mappings of the "
        "folio. All of them were unmapped for a migration that had to fail.",
        ("AE-MIGR-3",),
        outside="Huge pages are not migrated in the model; where it refuses a PTE "
        "it gives the migration up.",
    ),
    Bug(
        "B40",
        "mm/memory: add non-anonymous page check in the copy_present_page()",
        "",
        "",
        "lost",
        "The early copy of fork() asked whether a page may be pinned and not "
        "whether it is anonymous. A page of a file that was pinned through a "
        "private mapping was copied into the child as an anonymous page. The child "
        "had no anon_vma for it and no longer saw what was written to the file.",
        (),
        outside="The model has no pages of files; the zeropage is never pinned and "
        "never copied by fork.",
        note="5.10 stable only; it fixes 70e806e4e645, which later releases had "
        "rewritten. Its id is not known.",
    ),
    Bug(
        "B41",
        "mm/mprotect: fix soft-dirty check in can_change_pte_writable()",
        "76aefad628aa",
        "6.0",
        "lost",
        "mprotect() may make a PTE writable without a fault if the page is "
        "exclusive. can_change_pte_writable() misread whether soft-dirty tracking "
        "waits for the next write. The write that followed was not noted, and "
        "whoever saves dirty pages missed one.",
        ("AE-WP-2",),
        shown=(Shown("softdirty-mprotect", "upstream", ("AE-WP-2",)),),
        note="The upgrade of exclusive pages (64fe24a3e05e) came in the same release.",
    ),
    Bug(
        "B42",
        "mm/memory: ensure fork child sees coherent memory snapshot",
        "",
        "",
        "torn-snapshot",
        "copy_present_page() copies a pinned page while other threads of the "
        "parent still write to it. Pages that are shared instead are frozen later, "
        "at the final TLB flush. The child may see a page that is half written, or "
        "one page older than another.",
        (),
        outside="A page of the model has one value, which is copied in one step; "
        "stale translations and fork() do not meet.",
        note="Proposed by Jann Horn on 2025-06-03; not in 7.3.",
    ),
    Bug(
        "B43",
        "mm: GUP of a PMD-mapped file folio in a private mapping does not end",
        "",
        "",
        "livelock",
        "A long-term pin for reading of a private file mapping asks for an unshare "
        "fault. The fault removes the PMD and finds no PTE; the read fault that "
        "follows lets do_set_pmd() map the huge page of the file again. GUP finds "
        "what it found before, and asks again.",
        (),
        outside="The model has no pages of files.",
        note="Reported by Zhang Yi against a7f226604170; whether it was fixed is "
        "unverified.",
    ),
    Bug(
        "B44",
        "mm: fix misplaced unlock_page in do_wp_page()",
        "be068f29034f",
        "5.9",
        "crash",
        "The first form of 09854ba94c6a released the page lock after "
        "wp_page_reuse() had dropped the page table lock. Another thread could "
        "unmap and free the page in between. unlock_page() then touched a page "
        "that belonged to somebody else.",
        (),
        outside="The model releases both locks in one step, and its lock is no "
        "part of memory that is reused.",
        note="Among the candidates for 5.9; commit and title are unverified.",
    ),
    Bug(
        "B45",
        "mm: fork notes what is writable before it rewrites the protection",
        "",
        "",
        "missed-cow",
        "userfaultfd can take all access to a range and mark its PTEs (7.3). "
        "__copy_present_ptes() rewrites the protection of such PTEs, and asks "
        "beforehand whether they were writable. Asked afterwards it would leave "
        "the parent's PTE writable on a page that the child maps.",
        ("AE-FORK-5",),
        outside="Protection of that kind is not modelled.",
        note="No bug of a release: a comment in 7.3 says what the order prevents. "
        "Without AE-FORK-5 the model shows the outcome (cow).",
    ),
    Bug(
        "B46",
        "mm: wrong sanity checks in __wp_can_reuse_large_anon_folio()",
        "8bdea2fce980",
        "6.15",
        "false-warning",
        "A mapping raises refcount before the mapcount of the folio, and lowers "
        "mapcount first. __wp_can_reuse_large_anon_folio() compared the two "
        "without the lock that keeps them in step, in the wrong order. A kernel "
        "with debugging checks warned of pages that were in order.",
        (),
        outside="The model counts a mapping and its reference in one step, and has "
        "no debugging checks.",
        note="The ids 8bdea2fce980 and 4b7c0857f87a come from a secondary source.",
    ),
)
"""All of them, by number."""
