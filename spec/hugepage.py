# %% [markdown]
# # Huge pages: one PMD, one bit
#
# "For hugepages, you'd have to distribute said bit when you split the hugepage."
# "Yes, that's one tricky part ..." This chapter says what the sketch needs while a PMD
# maps a large folio as a whole, and when that PMD is split. The next chapter has what
# remains when PTEs map the pages of the folio.
#
# The model's folios have as many pages as a process has addresses, two in the bounds.
# One lock, the PTL, stands for the PMD lock and the PTE lock.

# %%
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from spec.counts import (
    folio_pages,
    get_page,
    mmap_read_lock,
    mmap_read_unlock,
    page_folio,
    ptl_lock,
    ptl_unlock,
    references_through,
    run,
    walk,
)
from spec.cow import wp_can_reuse_anon_folio
from spec.decisions import SKETCH, FaultFlags, Foll, sketch
from spec.fault import write
from spec.fork import fork
from spec.gup import follow_page_pte, get_user_pages, grab
from spec.gup_fast import put
from spec.memory import HugePmd, Machine, Mm, Names, Page, Pte, Reference, Steps
from spec.rules import BIT_MODELS, Step, obey, rule

# %% [markdown]
# ## The PMD
#
# While a PMD maps the folio, the bit of the head speaks for all pages: `bit_of()`.
# Reading the bit of the page that GUP is after, instead of the head's, was a bug that
# every level of GUP-fast could have, and one had (`gup_huge_pgd()`, fixed in 6.5).


# %%
@dataclass(frozen=True, slots=True)
class TransHugePmd(HugePmd):
    """A PMD that maps a folio; not `present` while it is being split."""

    pfn: str
    writable: bool
    present: bool = True

    def __repr__(self) -> str:
        access = "R/W" if self.writable else "R/O"
        return f"{self.pfn} huge {access if self.present else 'invalid'}"

    def head(self) -> str:
        """The head of the folio."""
        return self.pfn

    def part(self, machine: Machine, va: str) -> Page:
        """The page of the folio that `va` is in."""
        first = machine.names.pages.index(self.pfn)
        return machine.pages[machine.names.pages[first + machine.names.vas.index(va)]]

    def translate(self, machine: Machine, va: str) -> Pte | None:
        """What the MMU finds for `va`; nothing while the PMD is invalid."""
        if not self.present:
            return None
        return Pte(self.part(machine, va).name, self.writable)

    def handle_huge_pmd(self, mm: Mm, va: str, flags: FaultFlags) -> Steps:
        """Handle a fault on it."""
        if (flags.write or flags.unshare) and not self.writable:
            yield from do_huge_pmd_wp_page(mm, self, flags)

    def copy_huge_pmd(self, mm: Mm, child: Mm) -> Steps:
        """Share it with the child; false if the parent's was split instead."""
        return (yield from copy_huge_pmd(mm, child, self))

    def split_huge_pmd(self, mm: Mm) -> Steps:
        """Put a page table in its place that maps the same pages."""
        yield from split_huge_pmd(mm, self)

    def follow_huge_pmd(self, mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
        """Slow GUP: as for a PTE that maps this part of the folio."""
        pte = self.translate(mm.machine, va)
        return (yield from follow_page_pte(mm, va, ref, foll, pte))

    def gup_fast_pmd_leaf(self, mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
        """GUP-fast: take the reference on trust, then look at the PMD and the bit."""
        pte = self.translate(mm.machine, va)
        if pte is None or (foll.write and not pte.writable):
            return False
        yield
        if not grab(mm, va, ref, foll, pte):
            return False
        yield
        if mm.pmd != self:
            return put(mm, ref)
        yield
        if not mm.model.may_return(foll, pte, self.part(mm.machine, va)):
            return put(mm, ref)
        yield
        return True


# %% [markdown]
# ## First touch


# %%
def madvise_hugepage(mm: Mm, va: str) -> Steps:
    """A first write that maps a huge page (``do_huge_pmd_anonymous_page``)."""
    yield from mmap_read_lock(mm)
    yield from ptl_lock(mm)
    empty = mm.pmd is None and not any(mm.pte[each] for each in mm.machine.names.vas)
    if empty:
        folio = alloc_large(mm.machine)
        folio.anon_exclusive = mm.model.starts_exclusive(mm, FaultFlags(write=True))
        folio.entire_mapcount = 1
        mm.pmd = TransHugePmd(folio.name, writable=True)
    ptl_unlock(mm)
    mmap_read_unlock(mm)
    return empty


def alloc_large(machine: Machine) -> Page:
    """A large folio with one reference, the caller's; returns the head.

    Raises:
        MemoryError: no row of pages is free; the bounds are too small.
    """
    for row in rows(machine):
        if all(page.refcount == 0 and page.head is None for page in row):
            row[0].refcount = 1
            for page in row:
                page.head = row[0].name
            return row[0]
    raise MemoryError("no large folio is free: raise the bounds")


def rows(machine: Machine) -> Iterator[list[Page]]:
    """The rows of pages that can be a large folio: aligned, as many as addresses."""
    pages, size = list(machine.pages.values()), len(machine.names.vas)
    for first in range(0, len(pages) - size + 1, size):
        yield pages[first : first + size]


# %% [markdown]
# ## Write faults and unsharing
#
# The same question as for a base page. If the folio may not be kept it is not copied as
# a whole: the PMD is split, and the access faults again on a PTE.


# %%
def do_huge_pmd_wp_page(mm: Mm, pmd: TransHugePmd, flags: FaultFlags) -> Steps:
    """Keep the folio if it may be kept, else split the PMD."""
    yield from ptl_lock(mm)
    if mm.pmd != pmd:
        ptl_unlock(mm)
        return
    folio = mm.machine.pages[pmd.pfn]
    if not (yield from wp_can_reuse_anon_folio(mm, folio, flags)):
        yield from split_huge_pmd(mm, pmd)
    elif flags.write:
        mm.pmd = replace(pmd, writable=True)
    ptl_unlock(mm)


@sketch
def may_reuse_huge(mm: Mm, folio: Page) -> bool:
    """refcount == 1; then it is a permission"""
    return mm.model.may_reuse(mm, folio)


# %% [markdown]
# ## fork
#
# As for a PTE. If a page of the folio must be copied, the PMD is split, and each page
# is shared or copied on its own: the count of the folio does not tell which of its
# pages somebody holds (d042035eaf5f, 5.9).


# %%
def copy_huge_pmd(mm: Mm, child: Mm, pmd: TransHugePmd) -> Steps:
    """Share the folio with the child, or split the parent's PMD and return false."""
    if child.pmd is not None:
        return True
    folio = mm.machine.pages[pmd.pfn]
    if not mm.model.may_share(mm, folio):
        yield from split_huge_pmd(mm, pmd)
        return False
    for va in mm.machine.names.vas:
        for ref in references_through(mm, va):
            ref.protected = ref.protected and mm.model.protects_across_fork(ref)
    if folio.anon_exclusive and obey(mm, "AE-FORK-3"):
        yield
        folio.anon_exclusive = False
    if pmd.writable and obey(mm, "AE-FORK-5"):
        yield
        mm.pmd = replace(pmd, writable=False)
    yield
    get_page(folio)
    folio.entire_mapcount += 1
    child.pmd = replace(pmd, writable=False)
    for va in mm.machine.names.vas:
        child.expected[va] = mm.expected[va]
    return True


# %% [markdown]
# ## Splitting the PMD
#
# The PMD is made invalid first, so that GUP-fast cannot use it any more; then each page
# gets the bit of the head, one mapping and one reference, and the page table takes the
# PMD's place. A GUP-fast that took its reference before compares the PMD and lets go.


# %%
def split_huge_pmd(mm: Mm, pmd: TransHugePmd) -> Steps:
    """Map the pages of the folio by PTEs; the caller has the PTL."""
    mm.pmd = replace(pmd, present=False)
    yield
    folio = mm.machine.pages[pmd.pfn]
    exclusive = folio.anon_exclusive
    folio.entire_mapcount -= 1
    folio.refcount += len(folio_pages(folio)) - 1
    for va in mm.machine.names.vas:
        page = pmd.part(mm.machine, va)
        page.mapcount += 1
        if exclusive and obey(mm, "AE-HUGE-2"):
            page.anon_exclusive = True
        mm.pte[va] = Pte(page.name, pmd.writable)
    mm.pmd = None
    yield


def split_pmd(mm: Mm, va: str) -> Steps:
    """The kernel splits the PMD of a process for reasons of its own."""
    yield from ptl_lock(mm)
    if mm.pmd is not None:
        yield from mm.pmd.split_huge_pmd(mm)
    ptl_unlock(mm)


# %% [markdown]
# ## Rules
#
# ### AE-HUGE-1 {#AE-HUGE-1}
#
# `fork()` looks at the head. A bit set elsewhere would not be seen.


# %%
@rule(
    "AE-HUGE-1",
    source=SKETCH,
    kernel=("mm/internal.h:gup_must_unshare",),
    models=BIT_MODELS,
)
def bit_of_the_head(step: Step) -> bool:
    """A step MUST NOT set the bit of any page but the head of a folio while a PMD maps
    the folio."""
    return not any(
        page_folio(after).entire_mapcount > 0 and page_folio(after) != after
        for page in step.sets_bit()
        for after in [step.after.pages[page.name]]
    )


# %% [markdown]
# ### AE-HUGE-2 {#AE-HUGE-2}
#
# The bit of the head stops speaking for the others when the PMD is gone. A page that
# somebody holds would be without it, and the next write would copy it.


# %%
@rule(
    "AE-HUGE-2",
    source=f"{SKETCH}; 6c287605fd56 (5.19)",
    kernel=("mm/huge_memory.c:__split_huge_pmd_locked",),
    models=BIT_MODELS,
)
def split_distributes_the_bit(step: Step) -> bool:
    """Splitting a PMD MUST give each page of the folio the bit of the head."""
    return all(
        part.anon_exclusive
        for mm in step.before.mms.values()
        if f"{mm}.pmd" in step.written and isinstance(mm.pmd, TransHugePmd)
        if step.after.mms[mm.name].pmd is None
        for head in [step.before.pages[mm.pmd.pfn]]
        if head.anon_exclusive
        for part in folio_pages(step.after.pages[head.name])
    )


# %% [markdown]
# ## Example
#
# A reference to the second page of a huge page sets the bit of the head. `fork()` finds
# the folio referenced and splits the PMD. Both pages then have the bit, and both are
# copied for the child: the count does not tell which of them is held.


# %%
machine = Machine(
    Names(refs=("r",), vas=("x", "y"), pages=tuple(f"p{i}" for i in range(1, 7))),
    sketch,
)
A, B, r = machine.start("A"), machine.mms["B"], machine.refs["r"]
run(madvise_hugepage(A, "x"))
run(write(A, "y", 1))
run(get_user_pages(A, "y", r, Foll(write=True)))
assert (r.pfn, machine.pages["p1"].anon_exclusive) == ("p2", True)

# %%
run(fork(A, B))
assert walk(A, "y") == Pte("p2", writable=True)
assert machine.pages["p2"].anon_exclusive
assert walk(B, "y") == Pte("p4", writable=True)
