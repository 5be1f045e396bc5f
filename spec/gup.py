# %% [markdown]
# # GUP: taking references
#
# `get_user_pages()` and its kin return a reference to the page behind an address.
# The caller may use it long after the locks are dropped: a disk reads into the
# page, a network card sends from it. The promise that makes this work is that the
# address keeps the page meanwhile. The bit is how the promise is kept.
#
# The sketch covers FOLL_GET as well as FOLL_PIN: it does not look at the pin
# counter.

# %%
from __future__ import annotations

from dataclasses import replace

from spec.cells import Broken
from spec.counts import (
    bit_of,
    further_references,
    mmap_read_lock,
    mmap_read_unlock,
    page_folio,
    ptl_lock,
    ptl_unlock,
    try_get_page,
    vm_normal_page,
)
from spec.decisions import REFINED, SKETCH, FaultFlags, Foll, sketch
from spec.fault import handle_mm_fault
from spec.memory import Entry, Mm, Page, Pte, Reference, Steps
from spec.rules import BIT_MODELS, Step, obey, rule

# %% [markdown]
# ## Slow GUP: `get_user_pages()`
#
# The walk takes the page table lock. It returns the page, or says which fault has
# to come first; after the fault the walk begins again.


# %%
def get_user_pages(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Take a reference on the page at `va`; false if the address can't be had."""
    yield from mmap_read_lock(mm)
    mm.asked_gup = True
    possible = True
    while possible and (missing := (yield from follow_page_mask(mm, va, ref, foll))):
        possible = yield from handle_mm_fault(mm, va, missing)
        if missing.force:
            foll = replace(foll, cow=foll.cow or mm.vma[va] == "r")
        yield
    mmap_read_unlock(mm)
    return possible


def follow_page_mask(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Take the reference under the lock, or return the fault that is missing."""
    yield from ptl_lock(mm)
    if mm.pmd is not None:
        return (yield from mm.pmd.follow_huge_pmd(mm, va, ref, foll))
    return (yield from follow_page_pte(mm, va, ref, foll, mm.pte[va]))


def follow_page_pte(mm: Mm, va: str, ref: Reference, foll: Foll, pte: Entry) -> Steps:
    """The same for one entry; the caller has the lock, here it is released."""
    if not isinstance(pte, Pte) or pte.trap == "numa" or must_fault(mm, foll, pte):
        ptl_unlock(mm)
        return FaultFlags(write=foll.write, gup=True)
    page = vm_normal_page(mm, pte)
    if not (yield from is_or_becomes_exclusive(mm, foll, pte, page)):
        ptl_unlock(mm)
        return unsharing(mm)
    if not obey(mm, "AE-GUP-2"):
        ptl_unlock(mm)
        yield
    if not grab(mm, va, ref, foll, pte):
        raise Broken("AE-INV-3", f"GUP takes a reference to {page}, which is free")
    ref.state = "live"
    if obey(mm, "AE-GUP-2"):
        ptl_unlock(mm)
    return None


def must_fault(mm: Mm, foll: Foll, pte: Pte) -> bool:
    """Must a write fault come before GUP may use this PTE (`can_follow_write_pte`)?"""
    if not foll.write or pte.writable or not obey(mm, "AE-GUP-4"):
        return False
    page = vm_normal_page(mm, pte)
    return not (foll.force and page is not None and mm.model.may_force(foll, page))


def unsharing(mm: Mm) -> FaultFlags:
    """The fault that gives a reader a page of its own; in 5.8 it claims to write."""
    if mm.model.pretends_to_write(True):
        return FaultFlags(write=True, gup=True, force=True)
    return FaultFlags(unshare=True, gup=True)


def is_or_becomes_exclusive(mm: Mm, foll: Foll, pte: Pte, page: Page | None) -> Steps:
    """May GUP return the page? Sets the bit by hand where that is allowed."""
    if page is None:
        return not (mm.model.unshares_zeropage(foll) and obey(mm, "AE-GUP-6"))
    if mm.model.may_return(foll, pte, page) or not obey(mm, "AE-GUP-1"):
        return True
    if not foll.pin and not obey(mm, "AE-GUP-3"):
        return True
    if not mm.model.may_set_bit(mm, pte, page):
        return False
    if not obey(mm, "AE-SET-1"):
        ptl_unlock(mm)
    yield
    marked = bit_of(page) if obey(mm, "AE-HUGE-1") else page
    marked.anon_exclusive = True
    if not obey(mm, "AE-SET-1"):
        yield from ptl_lock(mm)
    yield
    return True


def grab(mm: Mm, va: str, ref: Reference, foll: Foll, pte: Pte) -> bool:
    """Count a reference and note whose it is (``try_grab_folio``)."""
    page = vm_normal_page(mm, pte)
    if page is not None and not try_get_page(page):
        return False
    ref.pfn = pte.pfn
    ref.mm = mm.name
    ref.va = va
    ref.pin = foll.pin
    ref.write = foll.write
    ref.longterm = foll.longterm
    if page is not None:
        page_folio(page).pincount += foll.pin
        ref.protected = mm.model.protects(foll)
    elif mm.model.unshares_zeropage(foll):
        ref.protected = mm.model.protects(foll)
    ref.state = "pending"
    return True


# %% [markdown]
# ## What GUP returns
#
# ### AE-GUP-1 {#AE-GUP-1}
#
# This holds for R/W requests too, and a writable PTE is no substitute for the bit:
# the sketch leaves pages writable with the bit clear, and `fork()` shares those
# without looking. The first GUP request for a page takes the slow path.


# %%
def page_of(step: Step, ref: Reference) -> Page | None:
    """The anonymous page of a reference, as the step leaves it."""
    return step.after.pages.get(str(ref.pfn))


@rule("AE-GUP-1", rev=2, source=SKETCH, kernel=("mm/gup.c:follow_page_pte",))
def slow_gup_returns_exclusive_pages(step: Step) -> bool:
    """Slow GUP MUST NOT return a reference to an anonymous page whose bit is
    clear."""
    return all(
        bit_of(page).anon_exclusive
        for ref in step.delivers_slowly()
        if (page := page_of(step, ref)) is not None
    )


# %% [markdown]
# ### AE-GUP-2 {#AE-GUP-2}
#
# Between the two, `mmap_lock` keeps out `fork()` and `munmap()`, but not the fault
# of another thread, which may copy the page away and free it.


# %%
@rule(
    "AE-GUP-2",
    source=REFINED,
    kernel=("mm/gup.c:follow_page_pte",),
    models=("upstream", "always", "sketch"),
)
def reference_under_the_same_lock(step: Step) -> bool:
    """Slow GUP MUST take its reference before it lets go of the page table lock
    under which it found or set the bit."""
    return all(
        mm.ptl or f"{mm.name}.ptl" in step.written
        for ref in step.delivers_slowly()
        for mm in [step.before.mms[str(ref.mm)]]
    )


# %% [markdown]
# ### AE-GUP-3 {#AE-GUP-3}
#
# "To also be able to handle FOLL_GET (O_DIRECT reproducers unfortunately)
# correctly." Upstream gives this up: a FOLL_GET reader unshares nothing there.


# %%
@rule("AE-GUP-3", rev=2, source=SKETCH, kernel=("mm/internal.h:gup_must_unshare",))
def get_is_a_request_too(step: Step) -> bool:
    """GUP MUST NOT return a page whose bit is clear to a FOLL_GET caller either."""
    return all(
        bit_of(page).anon_exclusive
        for ref in step.delivers()
        if not ref.pin and (page := page_of(step, ref)) is not None
    )


# %% [markdown]
# ### AE-GUP-4 {#AE-GUP-4}


# %%
@rule(
    "AE-GUP-4",
    source="mm/gup.c:can_follow_write_pte, v6.1",
    kernel=("mm/gup.c:can_follow_write_pte",),
    models=("upstream", *(m for m in BIT_MODELS if m != "upstream")),
)
def write_needs_a_writable_pte(step: Step) -> bool:
    """Slow GUP MUST NOT take a FOLL_WRITE reference through a PTE that is not
    writable."""
    return all(
        pte is None or pte.writable
        for ref in step.delivers_slowly()
        if ref.write
        for pte in [step.after.mms[str(ref.mm)].pte[str(ref.va)]]
    )


# %% [markdown]
# ### AE-GUP-5 {#AE-GUP-5}
#
# Upstream's narrower rule, `gup_must_unshare()`.


# %%
@rule(
    "AE-GUP-5",
    rev=2,
    source="a7f226604170 (5.19), mm/gup: trigger FAULT_FLAG_UNSHARE",
    kernel=("mm/internal.h:gup_must_unshare",),
    models=("upstream", "always"),
)
def read_only_pin_unshares(step: Step) -> bool:
    """GUP MUST NOT return a read-only FOLL_PIN reference to an anonymous page whose
    bit is clear."""
    return all(
        bit_of(page).anon_exclusive
        for ref in step.delivers_slowly()
        if ref.pin and not ref.write and (page := page_of(step, ref)) is not None
    )


# %% [markdown]
# ### AE-GUP-6 {#AE-GUP-6}
#
# Since 6.2 a long-term pin for reading breaks COW of the zeropage and of page cache in
# a private mapping; before, the next write took the page away from the pin. The sketch
# has no say ([AE-ASM-4](bit.py#AE-ASM-4)).


# %%
@rule(
    "AE-GUP-6",
    source="84209e87c696 (6.2), mm/gup: reliable R/O long-term pinning in COW mappings",
    kernel=("mm/internal.h:gup_must_unshare",),
    models=("upstream", "always"),
)
def longterm_pin_needs_an_anonymous_page(step: Step) -> bool:
    """GUP MUST NOT return a long-term reference to a page of a private mapping that is
    not anonymous."""
    return all(
        page_of(step, ref) is not None for ref in step.delivers() if ref.longterm
    )


# %% [markdown]
# ## The sketch's answers


# %%
@sketch
def may_return(foll: Foll, pte: Pte, page: Page) -> bool:
    """bit set"""
    return bit_of(page).anon_exclusive


@sketch
def may_set_bit(mm: Mm, pte: Pte, page: Page) -> bool:
    """writable PTE, or refcount == 1"""
    if page.ksm and obey(mm, "AE-KSM-1"):
        return False
    if pte.writable or not obey(mm, "AE-SET-2"):
        return True
    return further_references(mm, page) == 0


@sketch
def pretends_to_write(for_gup: bool) -> bool:
    """no"""
    return False


@sketch
def unshares_zeropage(foll: Foll) -> bool:
    """no (silent)"""
    return False


@sketch
def protects(foll: Foll) -> bool:
    """every reference"""
    return True
