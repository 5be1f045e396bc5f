# %% [markdown]
# # MADV_FREE: a page that may be dropped
#
# The process says that it does not need the contents, and may change its mind by
# writing. Reclaim may drop such a *lazyfree* page as long as nobody has written to it,
# neither the process nor the holder of a reference.

# %%
from __future__ import annotations

from spec.counts import (
    folio_free_swap,
    folio_lock,
    folio_unlock,
    maps,
    mmap_read_lock,
    mmap_read_unlock,
    ptep_clear_flush,
    ptl_lock,
    ptl_unlock,
    put_page,
    rmap_walk,
    run,
    set_pte_at,
    try_get_page,
    unexpected_references,
    vm_normal_page,
)
from spec.decisions import Foll, sketch
from spec.fault import write
from spec.gup import get_user_pages
from spec.memory import Machine, Mm, Names, Page, Pte, Steps
from spec.rules import BIT_MODELS, Step, obey, rule

# %% [markdown]
# ## Marking


# %%
def madvise_free(mm: Mm, va: str) -> Steps:
    """Let reclaim drop what an address maps (``MADV_FREE``)."""
    yield from mmap_read_lock(mm)
    yield from ptl_lock(mm)
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte)
    if page is not None and page.mapcount == 1 and page.head is None:
        madvise_free_page(mm, va, page)
    ptl_unlock(mm)
    mmap_read_unlock(mm)


def madvise_free_page(mm: Mm, va: str, page: Page) -> None:
    """Mark a page that one process maps; the bit stays as it is."""
    if page.locked:
        return
    folio_free_swap(page)
    if page.swap is None:
        page.dirty = False
        page.swapbacked = False
        mm.expected[va] = None


# %% [markdown]
# ## Dropping
#
# As everywhere, the PTE is cleared before the page is looked at. Dropping the page ends
# what soft-dirty and userfaultfd wait for, as unmapping does.


# %%
def discard_lazyfree(page: Page) -> Steps:
    """Drop a lazyfree page, unless somebody wrote to it or may be writing."""
    for mm, va in rmap_walk(page.machine):
        if maps(mm.pte[va], page):
            yield from discard_one(mm, va, page)
    return page.mapcount == 0


def discard_one(mm: Mm, va: str, page: Page) -> Steps:
    """Clear one PTE, then test; restore it if the page has to stay."""
    yield from ptl_lock(mm)
    pte = mm.pte[va]
    if isinstance(pte, Pte) and maps(pte, page):
        ptep_clear_flush(mm, va, page)
        yield
        in_use = unexpected_references(page) > 0 and obey(mm, "AE-SWAP-13")
        if page.dirty or in_use:
            page.swapbacked = page.swapbacked or page.dirty
            set_pte_at(mm, va, page, pte)
        else:
            mm.tracked[va] = ""
    ptl_unlock(mm)
    yield


# %% [markdown]
# ## The rule
#
# ### AE-SWAP-13 {#AE-SWAP-13}
#
# A device that reads a disk into the page marks it dirty when it is done, not before
# (6c8e2a256915, 5.18). Until then only the count tells.


# %%
def held_by_others(machine: Machine, page: Page) -> bool:
    """Whether GUP returned the page to somebody who still may rely on it."""
    return any(
        ref.state == "live" and ref.protected and ref.pfn == page.name
        for ref in machine.refs.values()
    )


def drops_lazyfree(step: Step) -> list[Page]:
    """Lazyfree pages (before) that nothing maps when reclaim drops the PTL."""
    if not any(
        mm.ptl and not step.after.mms[n].ptl for n, mm in step.before.mms.items()
    ):
        return []
    return [
        page
        for name, page in step.before.pages.items()
        if page.locked
        and not page.swapbacked
        and page.mapcount == 0
        and step.after.pages[name].mapcount == 0
    ]


@rule(
    "AE-SWAP-13",
    source="6c8e2a256915 (5.18), mm: fix race between MADV_FREE reclaim and blkdev "
    "direct IO read",
    kernel=("mm/rmap.c:try_to_unmap_one",),
    models=BIT_MODELS,
)
def referenced_lazyfree_page_stays(step: Step) -> bool:
    """Reclaim MUST NOT drop a lazyfree page that GUP returned to somebody who still
    holds it and may rely on it."""
    return not any(held_by_others(step.before, page) for page in drops_lazyfree(step))


# %% [markdown]
# ## Example
#
# Nobody has written since: the page is dropped. With a reference it stays.


# %%
def dropped(request: Foll | None) -> bool:
    """Is a lazyfree page dropped, perhaps while somebody holds it?"""
    machine = Machine(Names(refs=("r",)), sketch)
    A, page = machine.start("A"), machine.pages["p1"]
    run(write(A, "x", 1))
    if request is not None:
        run(get_user_pages(A, "x", machine.refs["r"], request))
    run(madvise_free(A, "x"))
    assert try_get_page(page)
    run(folio_lock(page))
    run(discard_lazyfree(page))
    folio_unlock(page)
    put_page(page)
    return A.pte["x"] is None


assert dropped(None)
assert not dropped(Foll(write=True))
