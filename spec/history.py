# %% [markdown]
# # Before the bit: four releases and a series
#
# Linux decided for thirty years by counting. This chapter has the models of that time
# as answers to the decisions of the specification: who is counted, and what is asked.
# An answer names the commit that changed it and, where it is not the first of its
# model, the release.

# %%
from __future__ import annotations

from spec.counts import folio_pages, page_folio, reuse_swap_page, run
from spec.decisions import FaultFlags, Foll, Model
from spec.fault import write
from spec.gup import get_user_pages
from spec.memory import Machine, Mm, Names, Page, Pte, Reference
from spec.protect import mprotect
from spec.rules import may, obey

# %% [markdown]
# ## mapcount: before 5.8
#
# A write fault keeps the page if nobody else *maps* it. References do not count,
# so that a child that took one and unmapped the page reads what the parent writes
# (CVE-2020-29374). `fork()` shares everything: afterwards "COW can break either
# way", and a pin stays with whoever writes last.
#
# A model may stand for a range of releases. `since` tells whether a change is in the
# release that it stands for.


# %%
def parse(release: str) -> tuple[int, ...]:
    """A release as numbers that compare.

    >>> parse("5.9") < parse("5.10")
    True
    """
    return tuple(map(int, release.split(".")))


class Mapcount:
    """Linux before 5.8.

    Args:
        release: which of the releases that have this model.
        name: what this one is called; by default what the model is called.
        without: ids of rules that this one does not obey.
    """

    family = "mapcount"
    latest = "5.7"

    def __init__(
        self,
        release: str = "",
        name: str = "",
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.release = parse(release or self.latest)
        self.name = name or self.family
        self.without = without

    def since(self, release: str) -> bool:
        """Whether a change that `release` brought is there."""
        return self.release >= parse(release)

    def may_reuse(self, mm: Mm, page: Page) -> bool:
        """mapcount and swap entries together are 1"""
        return reuse_swap_page(page)

    def waits_for_lock(self) -> bool:
        """yes"""
        return True

    def starts_exclusive(self, mm: Mm, why: FaultFlags) -> bool:
        """(no bit)"""
        return False

    def may_upgrade(self, page: Page) -> bool:
        """never"""
        return False

    def may_trap(self, page: Page, trap: str) -> bool:
        """NUMA: mapcount == 1"""
        return trap != "numa" or page.mapcount == 1

    def may_return(self, foll: Foll, pte: Pte, page: Page) -> bool:
        """any page"""
        return True

    def may_set_bit(self, mm: Mm, pte: Pte, page: Page) -> bool:
        """(no bit)"""
        return False

    def pretends_to_write(self, for_gup: bool) -> bool:
        """KSM does"""
        return not for_gup

    def unshares_zeropage(self, foll: Foll) -> bool:
        """never"""
        return False

    def syncs_with_fork(self, mm: Mm, foll: Foll) -> bool:
        """no request"""
        return False

    def may_share(self, mm: Mm, page: Page) -> bool:
        """any page"""
        return True

    def child_starts_exclusive(self) -> bool:
        """(no bit)"""
        return False

    def protects(self, foll: Foll) -> bool:
        """FOLL_PIN; FOLL_WRITE"""
        return foll.pin or foll.write

    def protects_across_fork(self, ref: Reference) -> bool:
        """FOLL_PIN"""
        return ref.pin

    def may_unmap(self, page: Page) -> bool:
        """any page"""
        return True

    def entry_remembers(self, page: Page) -> bool:
        """(no bit)"""
        return False

    def swapin_exclusive(self, page: Page, remembered: bool) -> bool:
        """(no bit)"""
        return False

    def swapin_reuses(self, page: Page) -> bool:
        """mapcount and swap entries together are 1"""
        return reuse_swap_page(page)

    def may_share_entry(self, page: Page, remembered: bool) -> bool:
        """any entry"""
        return True

    def may_reuse_large(self, mm: Mm, page: Page) -> bool:
        """mapcount == 1"""
        return page.mapcount == 1

    def may_reuse_huge(self, mm: Mm, folio: Page) -> bool:
        """mapcount == 1, the PMD and its PTEs counted"""
        ptes = max(part.mapcount for part in folio_pages(folio))
        return folio.entire_mapcount + ptes == 1

    def may_move(self, page: Page) -> bool:
        """refcount == 1; UFFDIO_MOVE is of 6.8"""
        return page.refcount == 1

    def may_force(self, foll: Foll, page: Page) -> bool:
        """FOLL_COW and a dirty PTE"""
        return foll.cow and not page.ksm


# %% [markdown]
# KSM maps its pages clean; that is the only way in which the dirty bit of a PTE matters
# here.
#
# ## force_cow: 5.8
#
# 17839856fd58 stopped the leak where the reference is taken: GUP of a private mapping
# acts as if it wrote, so that nobody else has the page that it returns. A reader now
# raises a write fault, and whoever watches writes is told of one that nobody makes
# (reverted by a308c71bf1e6, 5.9). In a mapping that is read-only GUP goes by FOLL_COW.


# %%
class ForceCow(Mapcount):
    """Linux 5.8."""

    family = "force_cow"
    latest = "5.8"

    def may_return(self, foll: Foll, pte: Pte, page: Page) -> bool:
        """writable PTE, or COW broken already (17839856fd58)"""
        return pte.writable or (foll.cow and not page.ksm)

    def pretends_to_write(self, for_gup: bool) -> bool:
        """GUP and KSM do (17839856fd58)"""
        return True

    def unshares_zeropage(self, foll: Foll) -> bool:
        """every request (17839856fd58)"""
        return True


# %% [markdown]
# ## page_count: 5.9 to 5.17
#
# 09854ba94c6a: a write fault keeps the page only if nobody else has *any*
# reference. That ends the leak and begins the wrong COWs: the process's own
# reference now forces a copy away from it, after anything that write-protects the
# page. `fork()` copies what may be pinned (70e806e4e645) and synchronises with
# GUP-fast through the sequence count (57efa1fe5957, 5.11). Nothing protects
# FOLL_GET. Huge pages and swap-in went on counting mappings, and leaked.
#
# Read-only mappings of pinned pages were hunted down one by one: at swap-out and
# soft-dirty (5.11), at NUMA hints (5.17).


# %%
class PageCount(Mapcount):
    """Linux 5.9 to 5.17; by default the longest-lived form, that of 5.11 to 5.16."""

    family = "page_count"
    latest = "5.16"

    def may_reuse(self, mm: Mm, page: Page) -> bool:
        """refcount == 1 (09854ba94c6a); then it is a permission"""
        if page_folio(page).refcount > 1 and obey(mm, "AE-COW-2"):
            return False
        return may(mm, "AE-COW-3")

    def waits_for_lock(self) -> bool:
        """no (09854ba94c6a)"""
        return False

    def may_trap(self, page: Page, trap: str) -> bool:
        """soft-dirty: not pinned (9348b73c2e1b, 5.11); NUMA: mapcount == 1,
        refcount == 1 (80d47f5de5e3, 5.17)"""
        if trap == "soft-dirty" and self.since("5.11"):
            return page_folio(page).pincount == 0
        if trap == "numa" and self.since("5.17"):
            return page_folio(page).refcount == 1
        return super().may_trap(page, trap)

    def syncs_with_fork(self, mm: Mm, foll: Foll) -> bool:
        """FOLL_PIN (57efa1fe5957, 5.11)"""
        return foll.pin and obey(mm, "AE-FAST-4")

    def may_unmap(self, page: Page) -> bool:
        """not pinned (feb889fb40fa, 5.11)"""
        return page_folio(page).pincount == 0

    def may_reuse_large(self, mm: Mm, page: Page) -> bool:
        """refcount == 1 (09854ba94c6a)"""
        return page_folio(page).refcount == 1

    def may_share(self, mm: Mm, page: Page) -> bool:
        """not pinned (70e806e4e645)"""
        return page_folio(page).pincount == 0 or not obey(mm, "AE-FORK-8")


# %% [markdown]
# ## page_count_thp: 5.18
#
# The first part of the COW fixes, in its third version: huge pages and swap-in count
# references as well, which ends their leaks (3bff7e3f1f16, c145e0b47c77, 03104c2c5db8).
# Wrong COWs stay.


# %%
class PageCountThp(PageCount):
    """Linux 5.18."""

    family = "page_count_thp"
    latest = "5.18"

    def may_reuse_huge(self, mm: Mm, folio: Page) -> bool:
        """refcount == 1 (3bff7e3f1f16); then it is a permission"""
        return self.may_reuse(mm, folio)

    def swapin_reuses(self, page: Page) -> bool:
        """no: the write fault decides afterwards (c145e0b47c77)"""
        return False


# %% [markdown]
# ## unshare_v1: the series that the sketch answers
#
# "mm: COW fixes part 1: fix the COW security issue for THP and hugetlb", 2021-12-17,
# never merged. GUP of a page that is mapped read-only and has `mapcount` above 1 asks
# for a copy first: FAULT_FLAG_UNSHARE. The write fault was left as it was, with a
# change back to `mapcount` announced. Torvalds objected that `mapcount == 1` does not
# show an owner: an entry in swap is not counted, and whoever took a reference may have
# unmapped the page since.


# %%
class UnshareV1(PageCount):
    """The series of 2021-12-17 on Linux 5.16."""

    family = "unshare_v1"

    def may_return(self, foll: Foll, pte: Pte, page: Page) -> bool:
        """writable PTE, mapcount == 1, or KSM (2021-12-17)"""
        mapped = page.mapcount + page_folio(page).entire_mapcount
        return pte.writable or page.ksm or mapped == 1


# %% [markdown]
# ## Example
#
# A pin, a write protection, a write: whoever counts references copies the page away
# from its own pin.


# %%
HISTORY = (Mapcount(), ForceCow(), PageCount(), PageCountThp(), UnshareV1())


def moves_away_from_its_pin(model: Model) -> bool:
    """Does a write after mprotect leave the page that a device has pinned?"""
    machine = Machine(Names(refs=("r",)), model)
    A, r = machine.start("A"), machine.refs["r"]
    run(write(A, "x", 1))
    run(get_user_pages(A, "x", r, Foll(write=True, pin=True)))
    run(mprotect(A, "x", "r"))
    run(mprotect(A, "x", "rw"))
    run(write(A, "x", 2))
    moved: bool = A.pte["x"] != Pte(str(r.pfn), writable=True)
    return moved


moving = {model.name for model in HISTORY if moves_away_from_its_pin(model)}
assert moving == {"page_count", "page_count_thp", "unshare_v1"}
