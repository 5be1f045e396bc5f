# %%
from __future__ import annotations

from spec.bit import THE_SKETCH
from spec.memory import (
    ZERO_PAGE,
    Mm,
    Page,
    Pte,
    Steps,
    add_mapping,
    alloc_page,
    mmap_write_lock,
    mmap_write_unlock,
    ptl_lock,
    ptl_unlock,
    vm_normal_page,
)
from spec.rules import Step, obey, rule


# %%
def fork(mm: Mm, child: Mm) -> Steps:
    """Copy the address space (``dup_mmap``, ``copy_page_range``)."""
    yield from mmap_write_lock(mm)
    if obey(mm, "AE-FORK-6"):
        mm.write_protect_seq += 1
    child.state = "forking"
    for va in mm.machine.names.vas:
        yield from copy_pte_range(mm, child, va)
        child.vma[va] = mm.vma[va]
    child.state = "live"
    if obey(mm, "AE-FORK-6"):
        mm.write_protect_seq += 1
    mmap_write_unlock(mm)


def copy_pte_range(mm: Mm, child: Mm, va: str) -> Steps:
    yield
    yield from ptl_lock(mm)
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte) if pte is not None else None
    if pte is None:
        pass
    elif page is None:
        child.pte[va] = pte
    else:
        yield from copy_present_pte(mm, child, va, pte, page)
    ptl_unlock(mm)


def copy_present_pte(mm: Mm, child: Mm, va: str, pte: Pte, page: Page) -> Steps:
    """Share the page with the child, or give the child a copy."""
    if not mm.model.may_share(mm, page):
        copy_present_page(mm, child, va, pte, page)
        return
    if page.anon_exclusive and obey(mm, "AE-FORK-3"):
        yield
        page.anon_exclusive = False
    if pte.writable:
        yield
        mm.pte[va] = Pte(page.name, writable=False)
    yield
    for ref in mm.machine.refs.values():
        if ref.state != "free" and (ref.mm, ref.va) == (mm.name, va):
            if not mm.model.protects_across_fork(ref):
                ref.protected = False
    page.refcount += 1
    add_mapping(child, va, page, writable=False)


def copy_present_page(mm: Mm, child: Mm, va: str, pte: Pte, page: Page) -> None:
    new = alloc_page(mm.machine)
    new.value = page.value
    if mm.model.child_starts_exclusive():
        new.anon_exclusive = True
    add_mapping(child, va, new, writable=mm.vma[va] == "rw")


# %%
def may_share(mm: Mm, page: Page) -> bool:
    """The sketch."""
    if not page.anon_exclusive:
        return True
    return page.refcount == 1 or not obey(mm, "AE-FORK-2")


@rule("AE-FORK-2", source=THE_SKETCH)
def referenced_page_is_copied(step: Step) -> bool:
    """fork MUST NOT share a page to which somebody holds a reference that its model protects."""
    return not any(
        ref.state == "live" and ref.protected and ref.pfn == page.name
        for _, _, page in step.shares_with_child()
        for ref in step.after.refs.values()
    )
