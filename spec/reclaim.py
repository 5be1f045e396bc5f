# %% [markdown]
# # Reclaim: swap-out
#
# Reclaim takes a page away from the processes that map it and frees it. It begins
# without knowing whether somebody holds a reference: that shows only when the mappings
# are gone and the count can be compared. The sketch says that at swap-out "there are no
# additional GUP/references on the page that rely on it". At the end of swap-out that is
# true. When the PTE is removed it need not be, and what happens in between is the gap
# that this chapter closes.

# %%
from __future__ import annotations

from spec.counts import (
    add_to_swap_cache,
    folio_free_swap,
    folio_trylock,
    folio_unlock,
    maps,
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
from spec.decisions import PROTOCOL, SKETCH, Foll, sketch
from spec.fault import read, write
from spec.gup import get_user_pages
from spec.lazyfree import discard_lazyfree
from spec.memory import Machine, Mm, Names, Page, Pte, Steps
from spec.rules import BIT_MODELS, Step, obey, rule
from spec.swap import SwapEntry
from spec.writeback import end_swap_write, pageout, remove_from_swap_cache

# %% [markdown]
# ## Picking a page
#
# Reclaim isolates a page from the LRU, which is a reference of its own, and takes the
# folio lock or leaves the page alone. KSM pages and large folios are left out here.


# %%
def shrink_folio(page: Page) -> Steps:
    """Try to free one page (``shrink_folio_list``)."""
    machine = page.machine
    if page.head is not None or page.ksm or page.writeback or not try_get_page(page):
        return
    machine.cpu.hold = page.name
    writing = False
    if folio_trylock(page):
        yield
        writing = yield from reclaim_locked(page)
        folio_unlock(page)
    if writing:
        yield
        yield from end_swap_write(page)
    machine.cpu.hold = None
    put_page(page)


def reclaim_locked(page: Page) -> Steps:
    """Unmap a page whose lock is held; true if it is being written then."""
    if page.mapcount == 0 and folio_free_swap(page):
        return False
    if not page.swapbacked:
        yield from discard_lazyfree(page)
        return False
    if page.swap is None and not add_to_swap(page):
        return False
    yield
    unmapped = yield from try_to_unmap(page)
    if unmapped and pageout(page):
        return True
    remove_from_swap_cache(page)
    return False


def add_to_swap(page: Page) -> bool:
    """Give a mapped page a slot and put it into the swap cache, if one is free."""
    if page.mapcount == 0:
        return False
    for slot in page.machine.slots.values():
        if slot.count == 0 and slot.folio is None:
            add_to_swap_cache(page, slot)
            page.dirty = True
            return True
    return False


def madvise_pageout(mm: Mm, va: str) -> Steps:
    """Reclaim what one address maps, unless others map it (``MADV_PAGEOUT``)."""
    page = vm_normal_page(mm, mm.pte[va])
    if page is not None and page.mapcount == 1:
        yield from shrink_folio(page)


# %% [markdown]
# ## Unmapping
#
# The PTE is cleared first; then the page is looked at; then the entry is installed, or
# the PTE restored. Clearing is the step that GUP-fast can see: after it the PTL keeps
# faults and slow GUP away, and GUP-fast finds no PTE.


# %%
def try_to_unmap(page: Page) -> Steps:
    """Replace all mappings by swap entries; false if one has to stay."""
    for mm, va in rmap_walk(page.machine):
        if maps(mm.pte[va], page):
            yield from try_to_unmap_one(mm, va, page)
    return page.mapcount == 0


def try_to_unmap_one(mm: Mm, va: str, page: Page) -> Steps:
    """Do it for one PTE, unless the page may not be unmapped."""
    yield from ptl_lock(mm)
    pte = mm.pte[va]
    if isinstance(pte, Pte) and maps(pte, page):
        if obey(mm, "AE-SWAP-1"):
            ptep_clear_flush(mm, va, page)
            yield
        if not pte.trap and may_unmap_now(mm, page):
            yield
            set_swap_pte(mm, va, page)
        else:
            set_pte_at(mm, va, page, pte)
    ptl_unlock(mm)
    yield


def may_unmap_now(mm: Mm, page: Page) -> bool:
    """Whether the page may be taken from a PTE (``folio_try_share_anon_rmap_pte``)."""
    if mm.model.may_unmap(page):
        return True
    return not (obey(mm, "AE-SWAP-2") and obey(mm, "AE-SWAP-3"))


def set_swap_pte(mm: Mm, va: str, page: Page) -> None:
    """Clear the bit and install the entry, which may remember it."""
    slot = mm.machine.slots[str(page.swap)]
    exclusive = page.anon_exclusive and mm.model.entry_remembers(page)
    if obey(mm, "AE-SWAP-4"):
        page.anon_exclusive = False
    if maps(mm.pte[va], page):
        ptep_clear_flush(mm, va, page)
    slot.count += 1
    mm.pte[va] = SwapEntry(slot.name, exclusive)


# %% [markdown]
# Linux counts the swap entry before it tests the page, and has to uncount it where the
# test fails (322842ea3c72, 5.19, for an architecture's own test). Here the entry is
# counted when it is installed.

# %% [markdown]
# ## Rules
#
# ### AE-SWAP-1 {#AE-SWAP-1}
#
# Otherwise GUP-fast takes its reference after the test and finds the PTE unchanged.


# %%
def unmaps_to_swap(step: Step) -> list[Page]:
    """The pages (before) for which this step installs a swap entry; fork's apart."""
    return [
        step.before.pages[folio]
        for mm, _, _, new in step.changes_pte()
        if isinstance(new, SwapEntry) and mm.state == "live" and not step.forking()
        for folio in [step.before.slots[new.slot].folio]
        if folio is not None
    ]


@rule(
    "AE-SWAP-1",
    source="088b8aa537c2 (6.1), mm: fix PageAnonExclusive clearing racing with "
    "concurrent RCU GUP-fast",
    kernel=("mm/rmap.c:try_to_unmap_one",),
    models=BIT_MODELS,
)
def pte_is_cleared_before_the_test(step: Step) -> bool:
    """Reclaim MUST clear a PTE before it decides to put a swap entry in its place."""
    return not any(isinstance(new, SwapEntry) for *_, new in step.unmaps())


# %% [markdown]
# ### AE-SWAP-2 {#AE-SWAP-2}
#
# This makes the sketch's sentence true. The page could not have been freed anyway, so
# refusing costs an unmap that is undone. The other way is to carry the bit in the swap
# entry and to copy in `fork()` while a reference lives; that needs a bit in the swap
# PTE of every architecture and a look at the swap cache in `fork()`. The model `carry`
# does it, and keeps all guarantees. Refusing is normative here because it needs
# neither, and because then `fork()` of a swap entry never copies. If the bit is clear
# nobody relies on the page, and no count is looked at.


# %%
@rule(
    "AE-SWAP-2",
    source=SKETCH,
    kernel=("mm/rmap.c:try_to_unmap_one",),
    models=("sketch",),
)
def referenced_page_is_not_swapped(step: Step) -> bool:
    """Reclaim MUST NOT put a swap entry in place of a page that GUP returned to
    somebody who still holds it and may rely on it."""
    taken = {page.name for page in unmaps_to_swap(step)}
    return not any(
        ref.state == "live" and ref.protected and ref.pfn in taken
        for ref in step.before.refs.values()
    )


# %% [markdown]
# ### AE-SWAP-3 {#AE-SWAP-3}
#
# Upstream's narrower rule. A FOLL_GET reference stays with the page in the swap cache,
# and the marker in the entry brings the bit back.


# %%
@rule(
    "AE-SWAP-3",
    source="feb889fb40fa (5.11), mm: don't put pinned pages into the swap cache; "
    f"{PROTOCOL}",
    kernel=("mm/rmap.c:try_to_unmap_one",),
    models=("upstream", "always"),
)
def pinned_page_is_not_swapped(step: Step) -> bool:
    """Reclaim MUST NOT put a swap entry in place of a page that is pinned."""
    taken = {page.name for page in unmaps_to_swap(step)}
    return not any(
        ref.state == "live" and ref.pin and ref.pfn in taken
        for ref in step.before.refs.values()
    )


# %% [markdown]
# ### AE-SWAP-4 {#AE-SWAP-4}


# %%
@rule(
    "AE-SWAP-4",
    source=SKETCH,
    kernel=("mm/rmap.c:try_to_unmap_one",),
    models=(*BIT_MODELS, "carry"),
)
def entry_leads_to_no_exclusive_page(step: Step) -> bool:
    """Reclaim MUST clear the bit of a page no later than it puts a swap entry in place
    of the page's PTE."""
    return not any(
        step.after.pages[page.name].anon_exclusive for page in unmaps_to_swap(step)
    )


# %% [markdown]
# ## The sketch's answers


# %%
@sketch
def may_unmap(page: Page) -> bool:
    """bit clear, or no further reference"""
    return not page.anon_exclusive or unexpected_references(page) == 0


@sketch
def entry_remembers(page: Page) -> bool:
    """no"""
    return False


# %% [markdown]
# ## Example
#
# A page that nobody holds goes to its slot and is freed. A page with a reference keeps
# its PTE and its bit; it is in the swap cache for nothing.

# %%
machine = Machine(Names(refs=("r",), slots=("s1",)), sketch)
A = machine.start("A")
run(write(A, "x", 1))
run(madvise_pageout(A, "x"))
assert A.pte["x"] == SwapEntry("s1")
assert machine.pages["p1"].refcount == 0
assert run(read(A, "x")) == 1

# %%
run(get_user_pages(A, "x", machine.refs["r"], Foll()))
pte = A.pte["x"]
run(madvise_pageout(A, "x"))
assert A.pte["x"] == pte != SwapEntry("s1")
assert machine.pages[str(machine.refs["r"].pfn)].anon_exclusive
