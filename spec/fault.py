# %%
from __future__ import annotations

from spec.bit import FaultFlags, THE_SKETCH, other_holders
from spec.memory import (
    ZERO_PAGE,
    Mm,
    Page,
    Pte,
    Steps,
    add_mapping,
    alloc_page,
    get_page,
    folio_trylock,
    folio_unlock,
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    ptl_lock,
    ptl_unlock,
    put_page,
    remove_mapping,
    vm_normal_page,
)
from spec.rules import ALL_MODELS, BIT_MODELS, Step, may, obey, rule


# %%
def read(mm: Mm, va: str) -> Steps:
    """The CPU reads; returns the value, or ``None`` after SIGSEGV."""
    while mm.pte[va] is None:
        if not (yield from page_fault(mm, va, FaultFlags())):
            return None
        yield
    page = vm_normal_page(mm, mm.pte[va])
    return page.value if page is not None else 0


def write(mm: Mm, va: str, value: int = 1) -> Steps:
    """The CPU writes `value`; returns false after SIGSEGV."""
    while not store(mm, va, value):
        if not (yield from page_fault(mm, va, FaultFlags(write=True))):
            return False
        yield
    return True


def store(mm: Mm, va: str, value: int) -> bool:
    """What the MMU does: write if the PTE allows it."""
    pte = mm.pte[va]
    if pte is None or not pte.writable:
        return False
    page = mm.machine.pages[pte.pfn]
    page.value = value
    return True


# %%
def page_fault(mm: Mm, va: str, flags: FaultFlags) -> Steps:
    """Handle a fault under `mmap_lock` (``do_user_addr_fault``)."""
    yield from mmap_read_lock(mm)
    handled = yield from handle_mm_fault(mm, va, flags)
    mmap_read_unlock(mm)
    return handled


def handle_mm_fault(mm: Mm, va: str, flags: FaultFlags) -> Steps:
    """Give the address what the access needs; false if the VMA forbids it."""
    vma = mm.vma[va]
    if vma is None or (flags.write and vma == "r"):
        return False
    pte = mm.pte[va]
    if pte is None:
        yield from do_anonymous_page(mm, va, flags)
    elif (flags.write or flags.unshare) and not pte.writable:
        yield from do_wp_page(mm, va, pte, flags)
    return True


def do_anonymous_page(mm: Mm, va: str, flags: FaultFlags) -> Steps:
    """First touch: the zeropage for a read, a fresh page for a write."""
    yield from ptl_lock(mm)
    if mm.pte[va] is None:
        if flags.write:
            page = alloc_page(mm.machine)
            if mm.model.starts_exclusive(mm, flags):
                page.anon_exclusive = True
            add_mapping(mm, va, page, writable=True)
        else:
            mm.pte[va] = Pte(ZERO_PAGE, writable=False)
    ptl_unlock(mm)


# %%
def do_wp_page(mm: Mm, va: str, orig_pte: Pte, flags: FaultFlags) -> Steps:
    """A write to, or an unshare request for, a page that is mapped read-only."""
    yield from ptl_lock(mm)
    if mm.pte[va] != orig_pte:
        ptl_unlock(mm)
        return
    page = vm_normal_page(mm, orig_pte)
    if page is not None and (yield from wp_can_reuse_anon_folio(mm, page, flags)):
        if flags.write:
            mm.pte[va] = Pte(page.name, writable=True)
        ptl_unlock(mm)
        return
    yield from wp_page_copy(mm, va, orig_pte, page, flags)


def wp_can_reuse_anon_folio(mm: Mm, page: Page, flags: FaultFlags) -> Steps:
    """Whether the faulting process may keep the page; sets the bit if it starts so."""
    if page.anon_exclusive and obey(mm, "AE-COW-1"):
        return True
    if not folio_trylock(page):
        return False
    yield
    reuse = mm.model.may_reuse(mm, page)
    if flags.unshare and not obey(mm, "AE-UNS-1"):
        reuse = True
    if reuse and mm.model.starts_exclusive(mm, flags):
        yield
        page.anon_exclusive = True
    folio_unlock(page)
    return reuse


def wp_page_copy(
    mm: Mm, va: str, orig_pte: Pte, old: Page | None, flags: FaultFlags
) -> Steps:
    """Copy without the page table lock, then map the copy if nothing changed."""
    cpu = mm.machine.cpu
    if old is not None:
        get_page(old)
        cpu.hold = old.name
    contents = old.value if old is not None else 0
    ptl_unlock(mm)

    yield
    yield from ptl_lock(mm)
    if mm.pte[va] == orig_pte or not obey(mm, "AE-COW-4"):
        new = alloc_page(mm.machine)
        new.value = contents
        if mm.model.starts_exclusive(mm, flags):
            new.anon_exclusive = True
        add_mapping(mm, va, new, writable=flags.write)
        if old is not None:
            remove_mapping(mm, old)
            put_page(old)
    ptl_unlock(mm)
    if old is not None:
        cpu.hold = None
        put_page(old)


# %%
def may_reuse(mm: Mm, page: Page) -> bool:
    """The sketch: only for the last reference, and then it is a permission."""
    if page.refcount > 1 and obey(mm, "AE-COW-2"):
        return False
    return may(mm, "AE-COW-3")


def starts_exclusive(mm: Mm, why: FaultFlags) -> bool:
    """The sketch: the bit is for those who asked GUP, not for every copy."""
    if why.unshare:
        return True
    if why.gup:
        return may(mm, "AE-COW-5")
    return not obey(mm, "AE-SET-4")


# %%
def mprotect(mm: Mm, va: str, protection: str) -> Steps:
    """Change the protection of the mapping to ``r`` or ``rw``."""
    yield from mmap_write_lock(mm)
    if mm.vma[va] is None:
        mmap_write_unlock(mm)
        return False
    yield from ptl_lock(mm)
    mm.vma[va] = protection
    change_pte(mm, va, protection)
    ptl_unlock(mm)
    mmap_write_unlock(mm)
    return True


def change_pte(mm: Mm, va: str, protection: str) -> None:
    """Write-protect, or upgrade where no fault is needed (``change_pte_range``)."""
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte) if pte is not None else None
    if pte is None or page is None:
        return
    if protection == "r":
        mm.pte[va] = Pte(pte.pfn, writable=False)
        if not obey(mm, "AE-CLR-1"):
            page.anon_exclusive = False
    elif mm.model.may_upgrade(page) or not obey(mm, "AE-WP-1"):
        mm.pte[va] = Pte(pte.pfn, writable=True)


# %%
def munmap(mm: Mm, va: str) -> Steps:
    """Remove the mapping (``zap_pte_range``), then drop its reference."""
    yield from mmap_write_lock(mm)
    yield from zap_pte(mm, va)
    mm.vma[va] = None
    mmap_write_unlock(mm)


def zap_pte(mm: Mm, va: str) -> Steps:
    """Clear the PTE under its lock; the page is put after that."""
    yield from ptl_lock(mm)
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte) if pte is not None else None
    mm.pte[va] = None
    for ref in mm.machine.refs.values():
        if ref.state != "free" and (ref.mm, ref.va) == (mm.name, va):
            ref.protected = False
    if page is not None:
        remove_mapping(mm, page)
        mm.machine.cpu.hold = page.name
    ptl_unlock(mm)
    if page is not None:
        yield
        mm.machine.cpu.hold = None
        put_page(page)


def exit(mm: Mm) -> Steps:
    """The process ends: all its mappings go (``exit_mmap``)."""
    yield from mmap_write_lock(mm)
    for va in mm.machine.names.vas:
        yield from zap_pte(mm, va)
        mm.vma[va] = None
    mm.state = "dead"
    mmap_write_unlock(mm)


# %%
@rule(
    "AE-COW-1",
    source=THE_SKETCH,
    kernel=("mm/memory.c:do_wp_page",),
    models=BIT_MODELS,
)
def exclusive_page_stays(step: Step) -> bool:
    """A fault MUST NOT replace a page whose bit is set."""
    return not any(
        old is not None
        and new is not None
        and old.pfn != new.pfn
        and old.pfn != ZERO_PAGE
        and step.before.pages[old.pfn].anon_exclusive
        for _, _, old, new in step.changes_pte()
    )


@rule(
    "AE-COW-2",
    source="09854ba94c6a (5.9): mm: do_wp_page() simplification",
    kernel=("mm/memory.c:wp_can_reuse_anon_folio",),
    models=("page_count", *BIT_MODELS),
)
def reuse_needs_one_reference(step: Step) -> bool:
    """A write fault MUST NOT make a page writable that another process maps or holds a reference to."""
    return not any(
        other_holders(step.before, mm, step.before.pages[new.pfn])
        for mm, _, old, new in step.changes_pte()
        if old is not None and new == Pte(old.pfn, True) and mm.mmap_lock > 0
    )


def reuses_clear_page(step: Step) -> bool:
    return any(
        old is not None
        and new == Pte(old.pfn, True)
        and mm.mmap_lock > 0
        and not step.before.pages[old.pfn].anon_exclusive
        for mm, _, old, new in step.changes_pte()
    )


def copies_page(step: Step) -> bool:
    return any(
        old is not None and new is not None and ZERO_PAGE != old.pfn != new.pfn
        for _, _, old, new in step.changes_pte()
    )


@rule(
    "AE-COW-3",
    source=THE_SKETCH,
    kernel=("mm/memory.c:wp_can_reuse_anon_folio",),
    models=("page_count", *BIT_MODELS),
    taken=reuses_clear_page,
    declined=copies_page,
)
def last_reference_may_be_reused(step: Step) -> bool:
    """A write fault MAY map the page writable, its bit being clear, if the mapping is its only reference."""
    return reuse_needs_one_reference.holds(step)


@rule(
    "AE-COW-4",
    source="mm/memory.c, v6.1",
    kernel=("mm/memory.c:wp_page_copy",),
    models=ALL_MODELS,
)
def copy_replaces_what_was_copied(step: Step) -> bool:
    """A fault that copies MUST map the copy only if the PTE still is what it was when the fault began."""
    return True


@rule("AE-COW-5", source=THE_SKETCH, taken=copies_page, declined=copies_page)
def copy_may_be_marked(step: Step) -> bool:
    """A fault that copies a page on behalf of a GUP request MAY set the bit of the copy before it maps it."""
    return True


@rule("AE-UNS-1", source=THE_SKETCH, kernel=("mm/memory.c:do_wp_page",), models=BIT_MODELS)
def unshare_copies(step: Step) -> bool:
    """An unshare fault MUST copy a page whose bit is clear if the page has any reference besides the mapping."""
    return True


@rule("AE-WP-1", source="64fe24a3e05e (6.0)", kernel=("mm/mprotect.c:can_change_pte_writable",), models=ALL_MODELS)
def upgrade_needs_the_bit(step: Step) -> bool:
    """mprotect MUST NOT make the mapping of a page writable unless the bit of the page is set."""
    return not any(
        old is not None
        and new == Pte(old.pfn, True)
        and mm.mmap_lock == -1
        and not step.before.pages[old.pfn].anon_exclusive
        for mm, va, old, new in step.changes_pte()
    )
