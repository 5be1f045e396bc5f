# %% [markdown]
# # Moving a page: mremap and UFFDIO_MOVE
#
# A page can change its address within a process. Nothing is copied and nobody else gets
# the page, so the bit goes with it, and so does the promise to whoever holds it.

# %%
from __future__ import annotations

from spec.counts import (
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    ptl_lock,
    ptl_unlock,
    references_through,
    run,
    vm_normal_page,
)
from spec.decisions import Foll, sketch
from spec.fault import write, zap_pte_range
from spec.gup import get_user_pages
from spec.memory import Machine, Mm, Names, NonPresent, Page, Pte, Reference, Steps
from spec.rules import BIT_MODELS, Step, obey, rule
from spec.swap import SwapEntry

# %% [markdown]
# ## mremap
#
# What was mapped at the new address goes first. Then the entry moves, whatever it is: a
# PTE, a swap entry, a migration entry. References to its page go with it. One that
# GUP-fast took too late is to a page that is no longer there, and stays.


# %%
def mremap(mm: Mm, va: str, new_va: str) -> Steps:
    """Move a mapping to another address; false if nothing is mapped there."""
    yield from mmap_write_lock(mm)
    mapped = mm.vma[va] is not None
    if mapped:
        yield from zap_pte_range(mm, new_va)
        yield
        yield from ptl_lock(mm)
        pfn = leads_to(mm, va)
        for ref in references_through(mm, va):
            if ref.pfn == pfn:
                ref.va = new_va
        move_entry(mm, va, new_va)
        mm.vma[new_va] = mm.vma[va]
        mm.vma[va] = None
        ptl_unlock(mm)
    mmap_write_unlock(mm)
    return mapped


def leads_to(mm: Mm, va: str) -> str | None:
    """The page that an address maps, or would map after a fault."""
    pte = mm.pte[va]
    return pte.leads_to(mm.machine) if isinstance(pte, NonPresent) else pte and pte.pfn


def move_entry(mm: Mm, va: str, new_va: str) -> None:
    """Move one entry under the PTL, with what the process may expect of it."""
    page = vm_normal_page(mm, mm.pte[va])
    mm.pte[new_va], mm.pte[va] = mm.pte[va], None
    mm.expected[new_va], mm.expected[va] = mm.expected[va], 0
    mm.tracked[new_va], mm.tracked[va] = mm.tracked[va], ""
    if page is not None and not obey(mm, "AE-MOVE-1"):
        page.anon_exclusive = False


# %% [markdown]
# ### AE-MOVE-1 {#AE-MOVE-1}


# %%
def moved(step: Step) -> list[tuple[Mm, Page]]:
    """Process and page (before) where this step moves a present PTE."""
    changed = step.changes_pte()
    return [
        (mm, step.before.pages[old.pfn])
        for mm, va, old, new in changed
        if isinstance(old, Pte) and new is None and old.pfn in step.before.pages
        if any(m == mm and v != va and n == old for m, v, _, n in changed)
    ]


@rule(
    "AE-MOVE-1",
    source="mm/mremap.c:move_ptes, v6.1",
    kernel=("mm/mremap.c:move_ptes",),
    models=BIT_MODELS,
)
def moving_keeps_the_bit(step: Step) -> bool:
    """Moving a page to another address of its process MUST keep its bit."""
    return all(
        step.after.pages[page.name].anon_exclusive == page.anon_exclusive
        for _, page in moved(step)
    )


# %% [markdown]
# ## UFFDIO_MOVE
#
# userfaultfd moves one page at a time, with `mmap_lock` shared, and changes where the
# rmap of the folio points. It may therefore move only what belongs to the process
# alone: upstream that is a page with the bit and no pin, or a swap entry with the
# marker (adef440691ba, 6.8). In the sketch the bit is clear unless GUP was asked, so
# the test is the other one that it has: no reference but the mapping. A referenced page
# is not moved in any model here. The answer is taken again after the PTE is cleared:
# GUP-fast may have come in between (c0205eaf3af9, 6.9).


# %%
def uffdio_move(mm: Mm, va: str, new_va: str) -> Steps:
    """Move one page to an empty address; false if it is refused (EBUSY)."""
    yield from mmap_read_lock(mm)
    yield from ptl_lock(mm)
    allowed = mm.pmd is None and mm.pte[new_va] is None and mm.vma[new_va] == "rw"
    done = allowed and (yield from move_pages_pte(mm, va, new_va))
    ptl_unlock(mm)
    mmap_read_unlock(mm)
    return done


def move_pages_pte(mm: Mm, va: str, new_va: str) -> Steps:
    """Clear the PTE, look, then move it or put it back; the caller has the PTL."""
    entry = mm.pte[va]
    if isinstance(entry, SwapEntry):
        return move_swap_pte(mm, va, new_va, entry)
    page = vm_normal_page(mm, entry)
    if not isinstance(entry, Pte) or page is None or not is_movable(mm, page):
        return False
    if page.locked or entry.trap:
        return False
    if obey(mm, "AE-MOVE-2"):
        mm.pte[va] = None
        page.mapcount -= 1
        mm.machine.cpu.hold = page.name
        yield
        page.mapcount += 1
        mm.machine.cpu.hold = None
        mm.pte[va] = entry
        if not is_movable(mm, page):
            return False
    else:
        yield
    move_entry(mm, va, new_va)
    return True


def is_movable(mm: Mm, page: Page) -> bool:
    """Whether the page is this process's alone, and nobody holds it."""
    if page.ksm or page.head is not None:
        return False
    alone = page.refcount == 1 or not obey(mm, "AE-MOVE-3")
    return alone and mm.model.may_move(page)


@sketch
def may_move(page: Page) -> bool:
    """bit set, or refcount == 1"""
    return page.anon_exclusive or page.refcount == 1


def move_swap_pte(mm: Mm, va: str, new_va: str, entry: SwapEntry) -> bool:
    """Move a swap entry, unless others may share the slot or its folio is in use."""
    slot = mm.machine.slots[entry.slot]
    if slot.folio is not None or slot.count > 1:
        return False
    move_entry(mm, va, new_va)
    return True


# %% [markdown]
# Linux looks for a folio in the swap cache before it moves a swap entry, and looks
# again under the PTL (0ea148a79919, 6.16): a folio that came in meanwhile would be left
# with an rmap that points to the old address. The model has no rmap to go wrong; it
# refuses an entry whose folio is in the swap cache.
#
# ### AE-MOVE-2 {#AE-MOVE-2}


# %%
@rule(
    "AE-MOVE-2",
    source="c0205eaf3af9 (6.9), userfaultfd: change src_folio after ensuring it's "
    "unpinned in UFFDIO_MOVE",
    kernel=("mm/userfaultfd.c:move_present_pte",),
    models=BIT_MODELS,
)
def moved_after_the_pte_was_cleared(step: Step) -> bool:
    """UFFDIO_MOVE MUST clear the PTE of a page before it decides that nobody holds the
    page."""
    return not any(mm.mmap_lock > 0 for mm, _ in moved(step))


# %% [markdown]
# ### AE-MOVE-3 {#AE-MOVE-3}


# %%
def held(machine: Machine, page: Page) -> list[Reference]:
    """The references to `page` that GUP returned and that may be relied upon."""
    return [
        ref
        for ref in machine.refs.values()
        if ref.state == "live" and ref.protected and ref.pfn == page.name
    ]


@rule(
    "AE-MOVE-3",
    source="adef440691ba (6.8), userfaultfd: UFFDIO_MOVE uABI",
    kernel=("mm/userfaultfd.c:move_present_pte",),
    models=BIT_MODELS,
)
def referenced_page_is_not_moved(step: Step) -> bool:
    """UFFDIO_MOVE MUST NOT move a page that GUP returned to somebody who still holds
    it and may rely on it."""
    arrived = [
        step.before.pages[new.pfn]
        for mm, va, old, new in step.changes_pte()
        if mm.mmap_lock > 0 and old is None and isinstance(new, Pte)
        if f"{mm}.expected[{va}]" in step.written and new.pfn in step.before.pages
    ]
    return not any(held(step.before, page) for page in arrived)


# %% [markdown]
# ## Example
#
# The page moves with its bit, and the reference finds it at the new address.

# %%
machine = Machine(Names(refs=("r",), vas=("x", "y")), sketch)
A, r = machine.start("A"), machine.refs["r"]
run(write(A, "x", 1))
run(get_user_pages(A, "x", r, Foll(write=True)))
assert not run(uffdio_move(A, "x", "y"))
assert run(mremap(A, "x", "y"))
assert A.pte["y"] == Pte("p1", writable=True)
assert (machine.pages["p1"].anon_exclusive, r.va) == (True, "y")
