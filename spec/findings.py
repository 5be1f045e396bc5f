"""What the sketch leaves open, and the rule that closes each gap.

The e-mail of 2021-12-19 is a sketch. Worked out step by step it has consequences that
it does not state. Each finding names the sentence, the gap, the rules that close it in
the normative model, what that costs and what upstream did. The traces are those of the
removal of the rules; nothing on the page is typed that the checker can compute.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One consequence that the sketch does not state.

    Attributes:
        id: ``D1`` and so on.
        title: a few words.
        sentence: the fragment of the sketch that is concerned.
        gap: what it leaves open, and what goes wrong.
        rules: ids of the rules that close it; the first has its trace shown.
        cost: what closing it costs.
        upstream: how Linux closed it.
        litmus: tests of the catalogue that show it.
    """

    id: str
    title: str
    sentence: str
    gap: str
    rules: tuple[str, ...]
    cost: str
    upstream: str
    litmus: tuple[str, ...] = ()


FINDINGS = (
    Finding(
        "D1",
        "FOLL_GET takes part in the sequence count",
        "to also be able to handle FOLL_GET (O_DIRECT reproducers unfortunately) "
        "correctly",
        "If FOLL_GET is to be protected, GUP-fast has to notice fork for FOLL_GET as "
        "well. A check for FOLL_PIN only lets a FOLL_GET reference slip in between "
        "the test of the count and the sharing of the page.",
        ("AE-FAST-5",),
        "One more read of `write_protect_seq` for each FOLL_GET batch.",
        "Not needed: upstream does not protect FOLL_GET across fork, and tests the "
        "sequence count for FOLL_PIN only.",
        ("gup-fast-race-get",),
    ),
    Finding(
        "D2",
        "The order of steps in fork",
        "fork() is allowed to clear the bit if page_count() == 1 and share the page",
        "The count has to be tested before the child's reference is counted, the bit "
        "cleared before the child maps the page, and the parent's PTE write-protected "
        "before that. A reference that appears after the test is undone by the "
        "sequence count or promises nothing.",
        ("AE-FORK-3", "AE-FORK-2", "AE-FORK-5", "AE-FORK-6"),
        "Nothing: fork holds the PTL and dirties the page's cache line anyway.",
        "The same order; the test is `folio_maybe_dma_pinned()` instead of the count.",
        ("gup-fast-race",),
    ),
    Finding(
        "D3",
        "A temporary reference makes fork copy",
        "fork() is allowed to clear the bit if page_count() == 1",
        "The swap cache, an LRU batch or a speculative get raise the count of a page "
        "whose bit is set, and nobody relies on it. fork cannot tell and copies.",
        ("AE-FORK-2", "AE-FORK-4"),
        "A copy that nobody needed, for pages that were once given to GUP; never for "
        "others, which is why fork MUST NOT look at the count where the bit is clear.",
        "Avoided: fork asks whether the page may be pinned, and an ordinary reference "
        "does not count.",
    ),
    Finding(
        "D4",
        "The bit outlives the reference",
        'So the bit can "vanish" whenever there is no additional reference on the page',
        "It can vanish, but nobody clears it when the reference is dropped: that would "
        "need to know that no other reference relies on it. So a set bit does not mean "
        "that the page is referenced now.",
        ("AE-CLR-2",),
        "A page that GUP returned once keeps the bit until fork, swap-out, migration "
        "or KSM; until then each fork tests its count.",
        "The same, for every anonymous page.",
    ),
    Finding(
        "D5",
        "A writable PTE does not show the bit",
        "not setting the bit always during COW but only on GUP request",
        "Pages are then mapped writable with the bit clear, and fork shares those "
        "without looking. GUP-fast that returned a page because its PTE is writable "
        "would lose it to the next fork.",
        ("AE-GUP-1", "AE-FAST-2"),
        "The first GUP request for each page takes the slow path, R/W requests too.",
        "The bit is set on every fresh page, so a writable PTE implies it (AE-SET-5) "
        "and R/W GUP need not look at it.",
    ),
    Finding(
        "D6",
        "Setting the bit by hand",
        "Outside of COW/Unshare code, the bit can only be set if page_count() == 1 and "
        "we sync against fork()",
        "`page_count() == 1` has to be read and acted upon under the PTL of the "
        "mapping, and a KSM page has to be excepted: KSM holds no reference to its "
        "pages, so that a KSM page with one mapping passes the test.",
        ("AE-SET-1", "AE-KSM-1", "AE-SET-2"),
        "One test of a flag.",
        "GUP never sets the bit; it asks for an unshare fault.",
    ),
    Finding(
        "D7",
        "Setting the bit because the page is writable",
        "(either manually if possible or via FOLL_UNSHARE)",
        "The refinement of 2021-12-21 sets the bit of a page that is mapped writable, "
        "whatever its count. That is sound only if no operation ever leaves a writable "
        "PTE on a shared page: fork, KSM, swap-in, migration and mprotect each have to "
        "see to it.",
        ("AE-FORK-5", "AE-WP-1", "AE-SET-3"),
        "Nothing.",
        "The same condition, stated as an invariant: a writable PTE implies the bit.",
    ),
    Finding(
        "D8",
        "Swap-out while a reference relies on the page",
        "Otherwise the bit can only vanish if we swapout/migrate the page: in which "
        "case there are no additional GUP/references on the page that rely on it!",
        "True once swap-out is complete, for a page is freed only at the frozen count. "
        "False when the PTE is removed: an O_DIRECT read may still be writing to the "
        "page. The next fault maps the page from the swap cache without the bit, the "
        "write fault after it copies, and the data that the device writes is lost.",
        ("AE-SWAP-2",),
        "Refusing costs nothing but an aborted unmap: a page with references could not "
        "have been freed. Carrying the bit in the swap entry costs a software bit in "
        "the PTE of every architecture, and a look at the swap cache in fork.",
        "1493a1913e34 (5.19) carries the bit in the swap PTE and refuses only pins; "
        "fork of such an entry loses it.",
        ("swapout-get", "swapout-get-fork"),
    ),
    Finding(
        "D9",
        "Migration while a reference relies on the page",
        "in which case there are no additional GUP/references on the page that rely on "
        "it!",
        "As for swap-out: migration fails in the end, at the freeze, but between the "
        "removal of the PTE and the failure fork may run and share what it should have "
        "copied.",
        ("AE-MIGR-2",),
        "Nothing: migration of a referenced page fails anyway.",
        "Migration entries say whether the page was exclusive; fork makes them "
        "readable, and a FOLL_GET reference loses its page.",
        ("migrate-get-race-fork",),
    ),
    Finding(
        "D10",
        "KSM",
        "the bit can only vanish if we swapout/migrate the page",
        "KSM is a third way: it shares pages of equal contents. It has to refuse a "
        "page with references, tested after the PTE is cleared, and clear the bit "
        "before it shares.",
        ("AE-KSM-3",),
        "Nothing: KSM compares the counts already.",
        "The same.",
        ("ksm-pin",),
    ),
    Finding(
        "D11",
        "Huge pages",
        "For hugepages, you'd have to distribute said bit when you split the hugepage. "
        "Yes, that's one tricky part ...",
        "Splitting the PMD has to give each page the bit of the head. From then on "
        "one refcount serves all pages of the folio: `page_count() == 1` says nothing "
        "about one of them.",
        ("AE-HUGE-2", "AE-HUGE-1", "AE-HUGE-3"),
        "Reuse and setting by hand need to know that all mappings belong to one "
        "process; otherwise they copy.",
        "The head's bit is copied at PMD split and carried in migration entries at "
        "folio split; reuse of PTE-mapped folios came with owner tracking in 6.15 "
        "(6af8cb80d3a9, 1da190f4d0a6).",
        ("thp-pin-split-fork", "thp-subpage"),
    ),
    Finding(
        "D12",
        "GUP against the copy",
        "The bit can be set directly if we have to copy the page in the fault handler "
        "(COW or unshare)",
        "The copy is installed under the PTL after `pte_same()`; slow GUP takes its "
        "reference under the same lock; GUP-fast reads the PTE again after it took "
        "its reference. Without any of the three a holder keeps the page that was "
        "replaced.",
        ("AE-COW-4", "AE-GUP-2", "AE-FAST-3"),
        "Nothing: all three were there before.",
        "The same.",
    ),
    Finding(
        "D13",
        "A relative of the idea",
        "not setting the bit always",
        "Andrea Arcangeli's out-of-tree branch (changelog of main-5.15.y) has a bit, "
        "PageAnonGup, that filters pages never given to GUP. It decides what work can "
        "be skipped, not whether a page may be shared. Its details are not available "
        "to us; nothing here depends on them.",
        (),
        "",
        "Never merged.",
    ),
)
