# %%
from __future__ import annotations

from spec.bit import THE_SKETCH, FaultFlags, Foll
from spec.fault import handle_mm_fault
from spec.memory import (
    ZERO_PAGE,
    Mm,
    Page,
    Pte,
    Reference,
    Steps,
    mmap_read_lock,
    mmap_read_unlock,
    ptl_lock,
    ptl_unlock,
    put_page,
    try_get_page,
    vm_normal_page,
)
from spec.rules import BIT_MODELS, Step, obey, rule


# %%
def get_user_pages(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Slow GUP: take a reference on the page at `va`, faulting as needed."""
    yield from mmap_read_lock(mm)
    mm.asked_gup = True
    taken = True
    while taken and (why := (yield from follow_page_pte(mm, va, ref, foll))):
        taken = yield from handle_mm_fault(mm, va, why)
        yield
    mmap_read_unlock(mm)
    return taken


def follow_page_pte(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Take the reference under the PTL, or say which fault must come first."""
    yield from ptl_lock(mm)
    why = yield from what_is_missing(mm, va, foll)
    if why is None:
        grab(mm, va, ref, foll)
        ref.state = "live"
    ptl_unlock(mm)
    return why


def what_is_missing(mm: Mm, va: str, foll: Foll) -> Steps:
    """The fault that must come before GUP can return what `va` maps, if any."""
    pte = mm.pte[va]
    if pte is None or (foll.write and not pte.writable):
        return FaultFlags(write=foll.write, gup=True)
    page = vm_normal_page(mm, pte)
    unshare = FaultFlags(unshare=True, gup=True)
    if page is None:
        return unshare if mm.model.unshares_zeropage(foll) else None
    if mm.model.may_return(mm, foll, pte, page):
        return None
    if not mm.model.may_set_bit(mm, pte, page):
        return unshare
    if not obey(mm, "AE-SET-1"):
        ptl_unlock(mm)
        yield
        yield from ptl_lock(mm)
    yield
    page.anon_exclusive = True
    if not obey(mm, "AE-GUP-2"):
        ptl_unlock(mm)
        yield
        yield from ptl_lock(mm)
    yield
    return None


def grab(mm: Mm, va: str, ref: Reference, foll: Foll) -> None:
    """Fill in a reference to the page that `va` maps, and count it."""
    pte = mm.pte[va]
    ref.pfn = pte.pfn
    ref.mm = mm.name
    ref.va = va
    ref.pin = foll.pin
    ref.write = foll.write
    page = vm_normal_page(mm, pte)
    if page is not None:
        page.refcount += 1
        page.pincount += foll.pin
        ref.protected = mm.model.protects(foll)


# %%
def get_user_pages_fast(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """GUP-fast: try without locks, then fall back to slow GUP."""
    if (yield from gup_fast(mm, va, ref, foll)):
        return True
    yield
    return (yield from get_user_pages(mm, va, ref, foll))


def get_user_pages_fast_only(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """GUP-fast for callers that must not sleep: it fails rather than fall back."""
    return (yield from gup_fast(mm, va, ref, foll))


def gup_fast(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Walk the page table without locks (mm/gup.c: gup_fast_pte_range)."""
    mm.asked_gup = True
    seq = mm.write_protect_seq
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte) if pte is not None else None
    if seq % 2 == 1 or page is None or (foll.write and not pte.writable):
        return False

    yield
    if not try_grab(mm, va, ref, foll, page):
        return False

    yield
    if mm.pte[va] != pte and obey(mm, "AE-FAST-3"):
        drop(mm, ref)
        return False

    yield
    if not mm.model.may_return(mm, foll, pte, page):
        if obey(mm, "AE-FAST-1") or not mm.model.may_set_bit(mm, pte, page):
            drop(mm, ref)
            return False
        page.anon_exclusive = True

    yield
    if mm.model.syncs_with_fork(foll) and mm.write_protect_seq != seq:
        drop(mm, ref)
        return False
    ref.state = "live"
    return True


def try_grab(mm: Mm, va: str, ref: Reference, foll: Foll, page: Page) -> bool:
    """Count a reference that is not returned yet (``try_grab_folio_fast``)."""
    if not try_get_page(page):
        return False
    page.pincount += foll.pin
    ref.pfn = page.name
    ref.mm = mm.name
    ref.va = va
    ref.pin = foll.pin
    ref.write = foll.write
    ref.protected = mm.model.protects(foll)
    ref.state = "pending"
    return True


# %%
def put(mm: Mm, ref: Reference) -> None:
    """The holder lets go (``put_page``, ``unpin_user_page``)."""
    drop(mm, ref)


def drop(mm: Mm, ref: Reference) -> None:
    page = mm.machine.pages.get(ref.pfn)
    if page is not None:
        page.pincount -= ref.pin
        if not obey(mm, "AE-CLR-2"):
            page.anon_exclusive = False
        put_page(page)
    ref.reset()


# %%
def may_return(mm: Mm, foll: Foll, pte: Pte, page: Page) -> bool:
    """The sketch: an exclusive page, whoever asks and for whatever."""
    if not foll.pin and not obey(mm, "AE-GUP-3"):
        return True
    return page.anon_exclusive or not obey(mm, "AE-GUP-1")


def may_set_bit(mm: Mm, pte: Pte, page: Page) -> bool:
    """The sketch, refined: by hand if mapped writable or singly referenced."""
    if pte.writable:
        return True
    return page.refcount == 1 or not obey(mm, "AE-SET-2")


@rule("AE-GUP-1", source=THE_SKETCH)
def gup_returns_exclusive_pages(step: Step) -> bool:
    """GUP MUST NOT return a reference to an anonymous page whose bit is clear."""
    return all(
        step.after.pages[ref.pfn].anon_exclusive
        for ref in step.delivers()
        if ref.pfn != ZERO_PAGE
    )
