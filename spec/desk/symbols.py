"""Kernel functions over the releases: what was renamed, moved or split, and when.

The chapters name a function once, in `kernel=`, as the release has it that they were
written from. `HISTORY` adds the other names of those that did not keep theirs. All of
it is checked against kernel sources, see `spec.desk.trees`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from spec.cells import SpecificationError
from spec.history import parse

OLDEST = "5.10"
"""The oldest release whose sources were read."""
LAST_OF = {4: 20, 5: 19, 6: 19}
"""The last minor number of each major one, as far as there is a next."""


@dataclass(frozen=True)
class Era:
    """Where the code of a symbol stood, from one release on.

    Attributes:
        since: the first release that is known to have it there.
        places: files and functions, as ``mm/gup.c:gup_pte_range``.
        source: the commit that put it there, or how that is known.
        after: the last release that is known not to have it; empty if `since` is the
            first that has it.
    """

    since: str
    places: tuple[str, ...]
    source: str = ""
    after: str = ""


@dataclass(frozen=True)
class Anchor:
    """A function, and the releases in which it is the place of a symbol.

    Attributes:
        place: ``file:function``.
        first, last: the releases in which it is known to be, both inclusive; `last` is
            empty if it is there to this day.
        after, until: the releases nearest to these in which it is known not to be;
            empty if there is none. Between `last` and `until` nothing was read.
        source: how it is known that the place is this one, if that is not obvious.
    """

    place: str
    first: str
    last: str = ""
    after: str = ""
    until: str = ""
    source: str = ""

    @property
    def file(self) -> str:
        """The path in the kernel tree."""
        return self.place.partition(":")[0]

    @property
    def function(self) -> str:
        """The identifier."""
        return self.place.partition(":")[2]

    def covers(self, release: str) -> bool:
        """Whether the anchor is known to hold for a release."""
        wanted, ends = parse(release), self.last and parse(self.last)
        return parse(self.first) <= wanted and (not ends or wanted <= ends)

    def may_cover(self, release: str) -> bool:
        """Whether nothing is known that speaks against it."""
        wanted = parse(release)
        begun = not self.after or wanted > parse(self.after)
        return begun and (not self.until or wanted < parse(self.until))

    def __str__(self) -> str:
        return f"{self.file}: {self.function}, {self.first}..{self.last}"


_GUP_FAST = "23babe1934d7 (6.10), mm/gup: consistently name GUP-fast functions"
_FOLIO_RMAP = (
    "61d90309b715 (6.8), mm/rmap: introduce folio_try_dup_anon_rmap_[pte|ptes|pmd](), "
    "and the rest of its series"
)
_REUSE = (
    "dec078cc2181 (6.7), memory: move exclusivity detection in do_wp_page() into "
    "wp_can_reuse_anon_folio()"
)
_READ = "read in the sources of both releases"

HISTORY: dict[str, tuple[Era, ...]] = {
    "include/linux/rmap.h:folio_try_dup_anon_rmap_pte": (
        Era("5.19", ("include/linux/rmap.h:page_try_dup_anon_rmap",)),
        Era(
            "6.8",
            (
                "include/linux/rmap.h:__folio_try_dup_anon_rmap",
                "include/linux/rmap.h:folio_try_dup_anon_rmap_pte",
            ),
            _FOLIO_RMAP,
        ),
    ),
    "include/linux/rmap.h:folio_try_share_anon_rmap_pte": (
        Era("5.19", ("include/linux/rmap.h:page_try_share_anon_rmap",)),
        Era(
            "6.8",
            (
                "include/linux/rmap.h:__folio_try_share_anon_rmap",
                "include/linux/rmap.h:folio_try_share_anon_rmap_pte",
            ),
            _FOLIO_RMAP,
        ),
    ),
    "mm/gup.c:gup_fast": (
        Era("5.10", ("mm/gup.c:lockless_pages_from_mm",)),
        Era("6.10", ("mm/gup.c:gup_fast",), _GUP_FAST),
    ),
    "mm/gup.c:gup_fast_pte_range": (
        Era("5.10", ("mm/gup.c:gup_pte_range",)),
        Era("6.10", ("mm/gup.c:gup_fast_pte_range",), _GUP_FAST),
    ),
    "mm/internal.h:gup_must_unshare": (
        Era(
            "5.19",
            ("include/linux/mm.h:gup_must_unshare",),
            "a7f226604170 (5.19), mm/gup: trigger FAULT_FLAG_UNSHARE",
        ),
        Era(
            "6.3",
            ("mm/internal.h:gup_must_unshare",),
            "63b605128655 (6.3), mm/gup: move gup_must_unshare() to mm/internal.h",
        ),
    ),
    "mm/gup.c:gup_put_folio": (
        Era("5.10", ("mm/gup.c:put_compound_head",)),
        Era("6.1", ("mm/gup.c:gup_put_folio",), _READ, after="5.10"),
    ),
    "mm/gup.c:try_grab_folio_fast": (
        Era("5.10", ("mm/gup.c:try_grab_compound_head",)),
        Era("6.1", ("mm/gup.c:try_grab_folio",), _READ, after="5.10"),
        Era(
            "6.10",
            ("mm/gup.c:try_grab_folio_fast",),
            "f442fa614137 (6.10), mm: gup: stop abusing try_grab_folio",
        ),
    ),
    "mm/gup.c:try_grab_folio": (
        Era("5.10", ("mm/gup.c:try_grab_page",)),
        Era(
            "6.10",
            ("mm/gup.c:try_grab_folio",),
            "f442fa614137 (6.10), mm: gup: stop abusing try_grab_folio",
        ),
    ),
    "mm/huge_memory.c:split_huge_page_to_list": (
        Era("5.10", ("mm/huge_memory.c:split_huge_page_to_list",)),
        Era(
            "6.9",
            ("mm/huge_memory.c:split_huge_page_to_list_to_order",),
            "c010d47f107f (6.9), mm: thp: split huge page to any lower order pages",
        ),
        Era(
            "7.2",
            (
                "mm/huge_memory.c:__folio_split",
                "mm/huge_memory.c:__folio_freeze_and_split_unmapped",
            ),
            _READ,
            after="6.12",
        ),
    ),
    "mm/memory.c:wp_can_reuse_anon_folio": (
        Era("5.10", ("mm/memory.c:do_wp_page",)),
        Era("6.7", ("mm/memory.c:wp_can_reuse_anon_folio",), _REUSE),
    ),
    "mm/memory.c:__wp_can_reuse_large_anon_folio": (
        Era("5.10", ("mm/memory.c:do_wp_page",)),
        Era("6.7", ("mm/memory.c:wp_can_reuse_anon_folio",), _REUSE),
        Era(
            "6.15",
            ("mm/memory.c:__wp_can_reuse_large_anon_folio",),
            "1da190f4d0a6 (6.15), mm: Copy-on-Write (COW) reuse support for "
            "PTE-mapped THP",
        ),
    ),
    "mm/memory.c:copy_present_pte": (
        Era("5.10", ("mm/memory.c:copy_present_pte",)),
        Era(
            "6.9",
            ("mm/memory.c:copy_present_ptes", "mm/memory.c:__copy_present_ptes"),
            "f8d937761d65 (6.9), mm/memory: optimize fork() with PTE-mapped THP",
        ),
    ),
    "mm/migrate.c:folio_migrate_mapping": (
        Era("5.10", ("mm/migrate.c:migrate_page_move_mapping",)),
        Era("6.1", ("mm/migrate.c:folio_migrate_mapping",), _READ, after="5.10"),
        Era(
            "6.12",
            (
                "mm/migrate.c:folio_migrate_mapping",
                "mm/migrate.c:__folio_migrate_mapping",
            ),
            _READ,
            after="6.1",
        ),
    ),
    "mm/mprotect.c:set_write_prot_commit_flush_ptes": (
        Era("5.10", ("mm/mprotect.c:change_pte_range",)),
        Era(
            "6.17",
            ("mm/mprotect.c:set_write_prot_commit_flush_ptes",),
            "cac1db8c3aad (6.17), which lets mprotect() work on batches of PTEs",
        ),
    ),
    "mm/mprotect.c:can_change_pte_writable": (
        Era("5.10", ("mm/mprotect.c:change_pte_range",)),
        Era("6.0", ("mm/mprotect.c:can_change_pte_writable",), "64fe24a3e05e (6.0)"),
    ),
    "mm/page_alloc.c:free_pages_prepare": (
        Era("5.10", ("mm/page_alloc.c:free_pages_prepare",)),
        Era(
            "7.2",
            (
                "mm/page_alloc.c:free_pages_prepare",
                "mm/page_alloc.c:__free_pages_prepare",
            ),
            _READ,
            after="6.12",
        ),
    ),
    "mm/rmap.c:try_to_migrate_one": (
        Era("5.10", ("mm/rmap.c:try_to_unmap_one",)),
        Era("6.1", ("mm/rmap.c:try_to_migrate_one",), _READ, after="5.10"),
    ),
    "mm/rmap.c:try_to_unmap_one": (
        Era("5.10", ("mm/rmap.c:try_to_unmap_one",)),
        Era(
            "7.3",
            ("mm/rmap.c:try_to_unmap_one", "mm/rmap.c:ttu_anon_swapbacked_folio"),
            "read in the sources of 7.3.4; not there in 7.2",
            after="7.2",
        ),
    ),
    "mm/filemap.c:__folio_lock": (
        Era("5.10", ("mm/filemap.c:__lock_page",)),
        Era("6.1", ("mm/filemap.c:__folio_lock",), _READ, after="5.10"),
    ),
    "mm/hugetlb.c:hugetlb_wp": (
        Era("5.10", ("mm/hugetlb.c:hugetlb_cow",)),
        Era("6.1", ("mm/hugetlb.c:hugetlb_wp",), _READ, after="5.10"),
    ),
    "mm/migrate.c:folio_migrate_flags": (
        Era("5.10", ("mm/migrate.c:migrate_page_states",)),
        Era("6.1", ("mm/migrate.c:folio_migrate_flags",), _READ, after="5.10"),
    ),
    "mm/migrate.c:unmap_and_move": (
        Era("5.10", ("mm/migrate.c:unmap_and_move",)),
        Era(
            "6.1",
            ("mm/migrate.c:migrate_folio_unmap", "mm/migrate.c:migrate_folio_move"),
            _READ,
            after="5.10",
        ),
    ),
    "mm/rmap.c:folio_add_anon_rmap_ptes": (
        Era("5.10", ("mm/rmap.c:page_add_anon_rmap",)),
        Era("6.12", ("mm/rmap.c:folio_add_anon_rmap_ptes",), _READ, after="6.1"),
    ),
    "mm/rmap.c:folio_remove_rmap_ptes": (
        Era("5.10", ("mm/rmap.c:page_remove_rmap",)),
        Era("6.12", ("mm/rmap.c:folio_remove_rmap_ptes",), _READ, after="6.1"),
    ),
    "mm/swap.c:__folio_put": (
        Era("5.10", ("mm/swap.c:__put_page",)),
        Era("6.1", ("mm/swap.c:__folio_put",), _READ, after="5.10"),
    ),
    "mm/swap_state.c:add_to_swap": (
        Era("5.10", ("mm/swap_state.c:add_to_swap",)),
        Era("7.2", ("mm/swapfile.c:folio_alloc_swap",), _READ, after="6.12"),
    ),
    "mm/swapfile.c:folio_free_swap": (
        Era("5.10", ("mm/swapfile.c:try_to_free_swap",)),
        Era("6.1", ("mm/swapfile.c:folio_free_swap",), _READ, after="5.10"),
    ),
    "mm/swapfile.c:swap_free_nr": (
        Era("5.10", ("mm/swapfile.c:swap_free",)),
        Era("6.12", ("mm/swapfile.c:swap_free_nr",), _READ, after="6.1"),
        Era("7.2", ("mm/swapfile.c:folio_put_swap",), _READ, after="6.12"),
    ),
    "mm/userfaultfd.c:move_swap_pte": (
        Era(
            "6.8",
            ("mm/userfaultfd.c:move_swap_pte",),
            "adef440691ba (6.8), userfaultfd: UFFDIO_MOVE uABI",
        ),
    ),
    "mm/vmscan.c:shrink_folio_list": (
        Era("5.10", ("mm/vmscan.c:shrink_page_list",)),
        Era("6.1", ("mm/vmscan.c:shrink_folio_list",), _READ, after="5.10"),
    ),
    "mm/userfaultfd.c:move_present_pte": (
        Era(
            "6.8",
            ("mm/userfaultfd.c:move_present_pte",),
            "adef440691ba (6.8), userfaultfd: UFFDIO_MOVE uABI",
        ),
        Era("7.2", ("mm/userfaultfd.c:move_present_ptes",), _READ, after="6.12"),
    ),
}
"""The symbols that were not always where the chapters say; all others were since 5.10.
Commit subjects are those of Linux's history; ids are abbreviated to 12 digits."""


def before(release: str) -> str:
    """The release before this one.

    >>> before("6.8"), before("6.0")
    ('6.7', '5.19')

    Raises:
        SpecificationError: it is not known which that is.
    """
    major, minor = parse(release)
    if minor:
        return f"{major}.{minor - 1}"
    if major - 1 not in LAST_OF:
        raise SpecificationError(f"it is not known which release precedes {release}")
    return f"{major - 1}.{LAST_OF[major - 1]}"


def eras(symbol: str) -> tuple[Era, ...]:
    """Where the code of a symbol stood, oldest first."""
    return HISTORY.get(symbol, (Era(OLDEST, (symbol,)),))


def anchors(symbol: str, since: str = OLDEST) -> list[Anchor]:
    """The places of a symbol from a release on, oldest first.

    >>> for anchor in anchors("mm/gup.c:gup_fast_pte_range", "5.19"):
    ...     print(anchor)
    mm/gup.c: gup_pte_range, 5.19..6.9
    mm/gup.c: gup_fast_pte_range, 6.10..
    """
    found: dict[str, Anchor] = {}
    history = eras(symbol)
    for era, follows in zip(history, (*history[1:], None), strict=True):
        until = follows.since if follows else ""
        last = (follows.after or before(until)) if follows else ""
        if last and parse(last) < parse(since):
            continue
        first = max(era.since, since, key=parse)
        known = era.after if first == era.since else ""
        after = known or (before(first) if first != OLDEST else "")
        for place in era.places:
            begun = found.get(place) or Anchor(place, first, "", after, "", era.source)
            found[place] = replace(begun, last=last, until=until)
    return list(found.values())
