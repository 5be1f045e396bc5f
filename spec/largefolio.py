# %% [markdown]
# # Large folios that PTEs map
#
# After the PMD is split, or where a folio is too small for one, PTEs map the pages of a
# large folio one by one. Each page has its own bit and its own `mapcount`. They share
# one `refcount`: `page_count() == 1` of the sketch, taken literally, says nothing about
# one page. This chapter says what takes its place.

# %%
from __future__ import annotations

from dataclasses import dataclass

from spec.bit import others
from spec.counts import (
    folio_mapcount,
    folio_pages,
    folio_trylock,
    folio_unlock,
    further_references,
    mmap_write_lock,
    mmap_write_unlock,
    page_folio,
    ptep_clear_flush,
    ptl_lock,
    ptl_unlock,
    put_page,
    rmap_walk,
    run,
    try_get_page,
    vm_normal_page,
)
from spec.decisions import SKETCH, FaultFlags, Foll, sketch
from spec.fault import write
from spec.gup import get_user_pages
from spec.hugepage import TransHugePmd, alloc_large, madvise_hugepage, split_pmd
from spec.memory import Entry, HugePmd, Machine, Mm, Names, Page, Pte, Reference, Steps
from spec.migration import try_to_migrate
from spec.migration_entry import MigrationEntry, remove_migration_pte
from spec.rules import BIT_MODELS, Step, may, obey, rule

# %% [markdown]
# ## Who has the folio
#
# What the sketch asks of the count is that nobody but this process has the page. For a
# large folio that is known if every reference to it is a mapping by this process:
# `further_references()`. Linux learned to know it in 6.15, by tracking up to two owners
# of each large folio (6af8cb80d3a9), and reuses single pages of it since then
# (1da190f4d0a6). Before that it copied, which is always allowed.


# %%
@sketch
def may_reuse_large(mm: Mm, page: Page) -> bool:
    """no reference but mappings by this process; then MAY"""
    if further_references(mm, page) > 0:
        return False
    return may(mm, "AE-COW-3")


# %% [markdown]
# ### AE-HUGE-3 {#AE-HUGE-3}
#
# The `mapcount` of the page is not enough, as it was not for a base page: another
# process may have taken a reference and unmapped (CVE-2020-29374 in its form for huge
# pages, 3bff7e3f1f16, 5.18).


# %%
@rule(
    "AE-HUGE-3",
    source=f"{SKETCH}; 1da190f4d0a6 (6.15), mm: Copy-on-Write (COW) reuse support for "
    "PTE-mapped THP",
    kernel=("mm/memory.c:__wp_can_reuse_large_anon_folio",),
    models=BIT_MODELS,
)
def folio_belongs_to_the_process(step: Step) -> bool:
    """A step MUST NOT keep for a process, its bit being clear, a page of a large folio
    that another process maps or holds a reference to."""
    marked = [(mm, page) for page in step.sets_bit() for mm in mapping(step, page)]
    reused = [
        (mm, page)
        for mm, new in step.makes_writable()
        for page in [step.before.pages[new.pfn]]
        if not page.anon_exclusive and not step.changes_protection(mm)
    ]
    return not any(
        others(step.before, mm, page)
        for mm, page in marked + reused
        if page.head is not None and page_folio(page).entire_mapcount == 0
    )


def mapping(step: Step, page: Page) -> list[Mm]:
    """The processes (before) with a PTE that maps `page`."""
    return [
        mm
        for mm in step.before.mms.values()
        for va in step.before.names.vas
        for pte in [mm.pte[va]]
        if mm.pmd is None and isinstance(pte, Pte) and pte.pfn == page.name
    ]


# %% [markdown]
# Linux copies the PTEs of a large folio in batches since 6.9: all of a batch are shared
# or, if a page with the bit may be pinned, each is looked at alone. Under one PTL that
# is the same as one PTE after the other, which is what the model does.
#
# ### AE-HUGE-7 {#AE-HUGE-7}
#
# A batched `mprotect()` read the bits of the first pages of the folio instead of those
# that it changed (cf1b80dc31a1, 6.17): a shared page became writable.


# %%
@rule(
    "AE-HUGE-7",
    source="cf1b80dc31a1 (6.17), mm: pass page directly instead of using folio_page",
    kernel=("mm/mprotect.c:set_write_prot_commit_flush_ptes",),
    models=BIT_MODELS,
)
def bit_of_the_mapped_page(step: Step) -> bool:
    """mprotect MUST judge a mapping by the bit of the page that the PTE maps, not by
    another page of the folio."""
    return all(
        page.anon_exclusive
        for mm, new in step.makes_writable()
        if step.changes_protection(mm)
        for page in [step.before.pages[new.pfn]]
        if page.head is not None
    )


# %% [markdown]
# ## Splitting the folio
#
# Every mapping becomes a migration entry, the count is compared, and the entries become
# mappings of pages of their own. A reference to any page makes the split fail.


# %%
def split_folio(page: Page) -> Steps:
    """Make base pages of a large folio (``split_huge_page``); false if it is held."""
    folio = page_folio(page)
    if folio.head is None or folio.entire_mapcount > 0 or not try_get_page(folio):
        return False
    machine = page.machine
    machine.cpu.hold = folio.name
    split = folio_trylock(folio)
    if split:
        yield
        split = yield from unmap_and_split(folio)
        folio_unlock(folio)
    machine.cpu.hold = None
    put_page(folio)
    return split


def unmap_and_split(folio: Page) -> Steps:
    """Unmap all pages, cut them apart if nobody holds one, map them again."""
    parts = folio_pages(folio)
    unmapped = True
    for part in parts:
        unmapped = (yield from try_to_migrate(part)) and unmapped
    split = unmapped and (folio.refcount == 1 or not obey(folio, "AE-HUGE-8"))
    if split:
        cut_apart(parts)
    yield
    for part in parts:
        yield from remap(part)
    if split:
        yield from let_go_of_the_tail(parts[1])
    return split


def cut_apart(parts: list[Page]) -> None:
    """Give each page its own count and lock; the caller holds them all."""
    head, tail = parts
    for part in parts:
        part.head = None
    tail.refcount = 1
    tail.locked = True
    head.machine.cpu.target = tail.name


def remap(page: Page) -> Steps:
    """Map a page again where a migration entry leads to it (``remap_page``)."""
    for mm, va in rmap_walk(page.machine):
        if isinstance(mm.pte[va], MigrationEntry):
            yield from remove_migration_pte(mm, va, page, page)


def let_go_of_the_tail(tail: Page) -> Steps:
    """Unlock the tail and drop the reference of the split."""
    folio_unlock(tail)
    tail.machine.cpu.target = None
    put_page(tail)
    yield


# %% [markdown]
# ### AE-HUGE-8 {#AE-HUGE-8}


# %%
@rule(
    "AE-HUGE-8",
    source="mm/huge_memory.c:split_huge_page_to_list, v6.1",
    kernel=("mm/huge_memory.c:split_huge_page_to_list",),
    models=BIT_MODELS,
)
def referenced_folio_is_not_split(step: Step) -> bool:
    """A folio MUST NOT be split while GUP holds a reference to one of its pages."""
    apart = [
        name
        for name, page in step.before.pages.items()
        if f"{name}.head" in step.written
        and page.head is not None
        and step.after.pages[name].head is None
        and step.after.pages[name].refcount > 0
    ]
    return not any(
        ref.state == "live" and ref.pfn in apart for ref in step.before.refs.values()
    )


# %% [markdown]
# ## Collapse
#
# khugepaged copies the pages that a page table maps into a fresh folio. It takes the
# page table out of the PMD first. Walkers that started before still see the old PTEs in
# the detached table; so GUP-fast has to look at the PMD again as well.


# %%
@dataclass(frozen=True, slots=True)
class DetachedTable(HugePmd):
    """No PMD: its page table was taken out and waits to be freed or put back."""

    def __repr__(self) -> str:
        return "none (table detached)"

    def translate(self, machine: Machine, va: str) -> Pte | None:
        """Nothing is mapped."""
        return None

    def gup_fast_pmd_leaf(self, mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
        """Nothing is there to take."""
        yield from ()
        return False


def collapse_huge_page(mm: Mm, va: str) -> Steps:
    """Replace the pages that a process maps by a large folio (``MADV_COLLAPSE``)."""
    yield from mmap_write_lock(mm)
    yield from ptl_lock(mm)
    ptes = [mm.pte[each] for each in mm.machine.names.vas]
    mapped = [page for pte in ptes if (page := may_collapse(mm, pte)) is not None]
    collapsed = mm.pmd is None and len(mapped) == len(ptes)
    if collapsed:
        collapsed = yield from collapse_locked(mm, mapped)
    ptl_unlock(mm)
    mmap_write_unlock(mm)
    return collapsed


def may_collapse(mm: Mm, pte: Entry) -> Page | None:
    """The page of a PTE that a PMD can replace: small, not watched by userfaultfd."""
    page = vm_normal_page(mm, pte)
    watched = isinstance(pte, Pte) and pte.trap == "uffd-wp"
    return None if page is None or page.head is not None or watched else page


def collapse_locked(mm: Mm, pages: list[Page]) -> Steps:
    """Detach the page table, look at the references, copy, install the PMD."""
    if obey(mm, "AE-HUGE-4"):
        mm.pmd = DetachedTable()
        yield
    alone = not any(page.refcount != folio_mapcount(page) for page in pages)
    if not alone and obey(mm, "AE-HUGE-5"):
        mm.pmd = None
        return False
    yield
    mm.pmd = DetachedTable()
    yield
    folio = alloc_large(mm.machine)
    for old, new in zip(pages, folio_pages(folio), strict=True):
        new.value = old.value
    for va, old in zip(mm.machine.names.vas, pages, strict=True):
        ptep_clear_flush(mm, va, old)
        mm.tracked[va] = ""
    folio.anon_exclusive = mm.model.starts_exclusive(mm, FaultFlags(write=True))
    folio.entire_mapcount = 1
    mm.pmd = TransHugePmd(folio.name, writable=mm.vma[mm.machine.names.vas[0]] == "rw")
    return True


# %% [markdown]
# The target is fresh: nobody else can have it, even where a source was shared. It is as
# good as written to; soft-dirty may be told that, userfaultfd may not.
#
# ### AE-HUGE-4 {#AE-HUGE-4}


# %%
@rule(
    "AE-HUGE-4",
    source="70cbc3cc78a9 (6.1), mm: gup: fix the fast GUP race against THP collapse",
    kernel=("mm/khugepaged.c:collapse_huge_page",),
    models=BIT_MODELS,
)
def table_is_detached_first(step: Step) -> bool:
    """Collapse MUST take the page table out of the PMD before it looks at the
    references of the pages."""
    return not any(
        mm.pmd is None
        and mm.ptl
        and mm.mmap_lock == -1
        and isinstance(step.after.mms[name].pmd, DetachedTable)
        for name, mm in step.before.mms.items()
        if f"{name}.pmd" in step.written
    )


# %% [markdown]
# ### AE-HUGE-5 {#AE-HUGE-5}


# %%
def collapses(step: Step) -> list[Mm]:
    """The processes (before) whose page table gives way to a huge PMD."""
    return [
        mm
        for name, mm in step.before.mms.items()
        if f"{name}.pmd" in step.written
        and isinstance(mm.pmd, DetachedTable)
        and isinstance(step.after.mms[name].pmd, TransHugePmd)
    ]


@rule(
    "AE-HUGE-5",
    source="mm/khugepaged.c:__collapse_huge_page_isolate, v6.1",
    kernel=("mm/khugepaged.c:__collapse_huge_page_isolate",),
    models=BIT_MODELS,
)
def referenced_page_is_not_collapsed(step: Step) -> bool:
    """Collapse MUST NOT replace a page that GUP returned to somebody who still holds
    it and may rely on it."""
    return not any(
        ref.state == "live" and ref.protected and ref.mm == mm.name
        for mm in collapses(step)
        for ref in step.before.refs.values()
    )


# %% [markdown]
# ### AE-HUGE-6 {#AE-HUGE-6}


# %%
@rule(
    "AE-HUGE-6",
    source="70cbc3cc78a9 (6.1), mm: gup: fix the fast GUP race against THP collapse",
    kernel=("mm/gup.c:gup_fast_pte_range",),
    models=BIT_MODELS,
)
def fast_gup_rechecks_the_pmd(step: Step) -> bool:
    """GUP-fast MUST NOT return a page if the PMD changed between its walk and its
    reference."""
    return not any(
        ref.protected
        and isinstance(pmd, TransHugePmd)
        and (pte := pmd.translate(step.after, str(ref.va))) is not None
        and pte.pfn != ref.pfn
        for ref in step.delivers_fast()
        for pmd in [step.after.mms[str(ref.mm)].pmd]
    )


# %% [markdown]
# ## Example
#
# One page of a folio is held. Nothing may split the folio, and the other page may still
# be kept by its process, for all further references are accounted for, or copied.

# %%
machine = Machine(
    Names(refs=("r",), vas=("x", "y"), pages=tuple(f"p{i}" for i in range(1, 7))),
    sketch,
)
A = machine.start("A")
run(madvise_hugepage(A, "x"))
run(split_pmd(A, "x"))
run(get_user_pages(A, "x", machine.refs["r"], Foll()))
assert [machine.pages[name].anon_exclusive for name in ("p1", "p2")] == [True, False]
assert not run(split_folio(machine.pages["p1"]))
run(write(A, "y", 1))
assert A.pte["y"] == Pte("p2", writable=True)
