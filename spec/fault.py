# %% [markdown]
# # Faults: access, first touch, unmapping
#
# How a CPU access becomes a fault and a fault finds the function that handles it.

# %%
from __future__ import annotations

from spec.counts import (
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    page_folio,
    ptl_lock,
    ptl_unlock,
    put_page,
    references_through,
    remove_mapping,
    run,
    vm_normal_page,
    walk,
)
from spec.cow import do_wp_page, map_new_page
from spec.decisions import FaultFlags, sketch
from spec.memory import ZERO_PAGE, Machine, Mm, Names, NonPresent, Pte, Steps
from spec.rules import obey

# %% [markdown]
# ## Access by the CPU
#
# The MMU writes if the PTE allows it. Otherwise it faults, and after the fault the
# instruction runs again: between the two, another CPU may have changed the PTE.


# %%
def write(mm: Mm, va: str, value: int = 0) -> Steps:
    """The CPU writes `value`; returns false after SIGSEGV."""
    while not store(mm, va, value):
        if not (yield from page_fault(mm, va, FaultFlags(write=True))):
            return False
        yield
    return True


def store(mm: Mm, va: str, value: int) -> bool:
    """What the MMU does: write if the PTE allows it."""
    pte = walk(mm, va)
    if pte is None or not pte.writable or pte.trap == "numa":
        return False
    page = mm.machine.pages[pte.pfn]
    page.value = value
    page_folio(page).dirty = True
    mm.expected[va] = value
    return True


def read(mm: Mm, va: str) -> Steps:
    """The CPU reads; returns the value, or ``None`` after SIGSEGV."""
    while (pte := walk(mm, va)) is None or pte.trap == "numa":
        if not (yield from page_fault(mm, va, FaultFlags())):
            return None
        yield
    page = vm_normal_page(mm, pte)
    return 0 if page is None else page.value


def page_fault(mm: Mm, va: str, flags: FaultFlags) -> Steps:
    """Handle a fault with `mmap_lock` shared; false means SIGSEGV."""
    yield from mmap_read_lock(mm)
    handled = yield from handle_mm_fault(mm, va, flags)
    mmap_read_unlock(mm)
    return handled


def handle_mm_fault(mm: Mm, va: str, flags: FaultFlags) -> Steps:
    """Do what the access needs; false if the mapping does not allow it."""
    vma = mm.vma[va]
    if vma is None or (flags.write and vma == "r" and not flags.force):
        return False
    if mm.pmd is not None:
        yield from mm.pmd.handle_huge_pmd(mm, va, flags)
    else:
        yield from handle_pte_fault(mm, va, flags)
    return True


def handle_pte_fault(mm: Mm, va: str, flags: FaultFlags) -> Steps:
    """The same where a page table maps the address."""
    pte = mm.pte[va]
    if pte is None:
        yield from do_anonymous_page(mm, va, flags)
    elif isinstance(pte, NonPresent):
        yield from pte.do_swap_page(mm, va, flags)
    elif pte.trap == "numa":
        yield from do_numa_page(mm, va, pte)
    elif (flags.write or flags.unshare) and not pte.writable:
        yield from do_wp_page(mm, va, pte, flags)


# %%
def do_anonymous_page(mm: Mm, va: str, flags: FaultFlags) -> Steps:
    """First touch: the zeropage for a read, a fresh page for a write."""
    yield from ptl_lock(mm)
    empty = mm.pmd is None and mm.pte[va] is None
    if empty and flags.write:
        map_new_page(mm, va, contents=0, flags=flags)
    elif empty:
        mm.pte[va] = Pte(ZERO_PAGE, writable=False)
    ptl_unlock(mm)


def do_numa_page(mm: Mm, va: str, orig_pte: Pte) -> Steps:
    """End of a NUMA hint: the page stays and may be accessed again."""
    yield from ptl_lock(mm)
    page = vm_normal_page(mm, orig_pte)
    if mm.pte[va] == orig_pte and page is not None:
        upgrade = mm.model.may_upgrade(page) or not obey(mm, "AE-WP-1")
        writable = mm.vma[va] == "rw" and upgrade
        mm.pte[va] = Pte(page.name, writable)
    ptl_unlock(mm)


# %% [markdown]
# ## Unmapping
#
# The PTE is cleared under its lock, the reference is dropped afterwards
# (`mmu_gather`). The bit is left as it is. Whoever relied on the address has no
# claim on it any more.


# %%
def munmap(mm: Mm, va: str) -> Steps:
    """Remove the mapping of one address."""
    yield from mmap_write_lock(mm)
    mm.vma[va] = None
    yield from zap_pte_range(mm, va)
    mmap_write_unlock(mm)


def madvise_dontneed(mm: Mm, va: str) -> Steps:
    """Drop the contents of an address, keep the mapping (``MADV_DONTNEED``)."""
    yield from mmap_read_lock(mm)
    yield from zap_pte_range(mm, va)
    mmap_read_unlock(mm)


def exit(mm: Mm) -> Steps:
    """The process ends and all its mappings go (``exit_mmap``)."""
    yield from mmap_write_lock(mm)
    for va in mm.machine.names.vas:
        mm.vma[va] = None
        yield from zap_pte_range(mm, va)
    mm.state = "dead"
    mmap_write_unlock(mm)


def zap_pte_range(mm: Mm, va: str) -> Steps:
    """Clear one PTE under its lock, then drop the mapping's reference."""
    yield from ptl_lock(mm)
    if mm.pmd is not None:
        yield from mm.pmd.split_huge_pmd(mm)
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte)
    mm.pte[va] = None
    mm.expected[va] = 0
    mm.tracked[va] = ""
    for ref in references_through(mm, va):
        ref.protected = False
    if isinstance(pte, NonPresent):
        pte.zap_nonpresent_pte(mm, va)
    if page is not None:
        remove_mapping(page)
        mm.machine.cpu.hold = page.name
    ptl_unlock(mm)
    if page is not None:
        yield
        mm.machine.cpu.hold = None
        put_page(page)


# %% [markdown]
# ## Example
#
# A process writes for the first time. In the sketch the page has no bit: nobody
# asked GUP.

# %%
machine = Machine(Names(), sketch)
A = machine.start("A")
assert run(write(A, "x", 1))
assert A.pte["x"] == Pte("p1", writable=True)
assert not machine.pages["p1"].anon_exclusive
