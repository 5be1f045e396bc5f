# %% [markdown]
# # Steps, locks and counts
#
# What every operation is made of: atomic steps, the locks of `mm/`, references
# and mappings and their counts.
#
# ## Steps
#
# An operation is a generator function. `yield` marks a place where another CPU
# may run; what stands between two `yield`s is one atomic step. A yielded
# condition makes the CPU wait until it is true. `run` executes one operation
# alone, which is all a reader needs to follow the code.

# %%
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from spec.cells import Broken, alternatives
from spec.memory import (
    Entry,
    Machine,
    Mm,
    Names,
    Page,
    Pte,
    Reference,
    Slot,
    Steps,
)
from spec.rules import obey

# %%
Wait = Callable[[], bool]


def run(operation: Steps) -> Any:
    """Run `operation` alone, to its end; returns what it returns.

    Raises:
        RuntimeError: it waits for a lock that nobody will release.
    """
    while True:
        try:
            wait = next(operation)
        except StopIteration as end:
            return end.value
        if wait is not None and not wait():
            raise RuntimeError("the operation waits for a lock that nobody releases")


# %% [markdown]
# ## Locks
#
# Taking a free lock is no place to switch: an acquisition commutes with what
# other CPUs do before it, and a release with what they do after it (Lipton's
# movers). A step therefore ends where an operation writes something that others
# read *without* the lock: PTEs, reference counts, the bit, the sequence count.


# %%
def mmap_read_lock(mm: Mm) -> Steps:
    """Share `mmap_lock`; wait while somebody holds it for writing."""
    if mm.mmap_lock < 0:
        yield lambda: mm.mmap_lock >= 0
    mm.mmap_lock += 1


def mmap_read_unlock(mm: Mm) -> None:
    """Let go of a shared `mmap_lock`."""
    mm.mmap_lock -= 1


def mmap_write_lock(mm: Mm) -> Steps:
    """Take `mmap_lock` alone; wait while anybody holds it."""
    if mm.mmap_lock != 0:
        yield lambda: mm.mmap_lock == 0
    mm.mmap_lock = -1


def mmap_write_unlock(mm: Mm) -> None:
    """Let go of an `mmap_lock` held for writing."""
    mm.mmap_lock = 0


def ptl_lock(mm: Mm) -> Steps:
    """Take the page table lock (``pte_offset_map_lock``)."""
    if mm.ptl:
        yield lambda: not mm.ptl
    mm.ptl = True


def ptl_unlock(mm: Mm) -> None:
    """Release the page table lock (``pte_unmap_unlock``)."""
    mm.ptl = False


def folio_trylock(page: Page) -> bool:
    """Take the folio lock if it is free."""
    folio = page_folio(page)
    if folio.locked:
        return False
    folio.locked = True
    return True


def folio_lock(page: Page) -> Steps:
    """Take the folio lock; wait while somebody holds it."""
    folio = page_folio(page)
    if folio.locked:
        yield lambda: not folio.locked
    folio.locked = True


def folio_unlock(page: Page) -> None:
    """Release the folio lock."""
    page_folio(page).locked = False


# %% [markdown]
# ## Folios
#
# A folio is one page or several that are allocated and counted together. The head
# keeps `refcount`, `pincount`, the lock and the flags; each page has its own
# `mapcount` and, while PTEs map it, its own bit. While a PMD maps the folio as a
# whole, the bit of the head speaks for all of its pages.


# %%
def page_folio(page: Page) -> Page:
    """The head of the page's folio: the page itself unless the folio is large."""
    head = page.head
    return page if head is None else page.machine.pages[head]


def folio_pages(page: Page) -> list[Page]:
    """All pages of the folio: a row of as many pages as a process has addresses."""
    if page.head is None:
        return [page]
    names, pages = page.machine.names, page.machine.pages
    first = names.pages.index(page.head)
    return [pages[name] for name in names.pages[first : first + len(names.vas)]]


def bit_of(page: Page) -> Page:
    """The page whose bit speaks for `page`: the head, while a PMD maps the folio."""
    folio = page_folio(page)
    return folio if folio.entire_mapcount > 0 else page


def mapped_page(page: Page) -> Page:
    """The page whose bit a change of protection looks at: the one that is mapped."""
    return page if obey(page, "AE-HUGE-7") else page_folio(page)


def folio_mapcount(page: Page) -> int:
    """Mappings of the folio: PTEs that map a page of it, PMDs that map all."""
    whole = page_folio(page).entire_mapcount
    return whole + sum(part.mapcount for part in folio_pages(page))


def folio_mapped(page: Page) -> bool:
    """Whether a PTE or PMD maps a page of the folio."""
    return folio_mapcount(page) > 0


# %% [markdown]
# ## References and mappings
#
# Dropping the last reference frees the folio; `free_pages_prepare()` clears the
# flags of its pages, the exclusive bit among them. Using a page whose count is zero,
# or dropping one reference too many, breaks `AE-INV-3` on the spot.


# %%
def get_page(page: Page) -> None:
    """Take a reference on a page that cannot be free (``folio_get``)."""
    if not try_get_page(page):
        raise Broken("AE-INV-3", f"{page} is used after it was freed")


def try_get_page(page: Page) -> bool:
    """Take a reference unless the page is free (``folio_try_get``)."""
    folio = page_folio(page)
    if folio.refcount == 0:
        return False
    folio.refcount += 1
    return True


def put_page(page: Page) -> None:
    """Drop a reference; the last one frees the folio (``folio_put``)."""
    folio = page_folio(page)
    if folio.refcount == 0:
        raise Broken("AE-INV-3", f"a reference to {page} is dropped twice")
    folio.refcount -= 1
    if folio.refcount == 0:
        for part in folio_pages(folio):
            free_pages_prepare(part)


def free_pages_prepare(page: Page) -> None:
    """Forget the contents and clear the flags of a page that becomes free."""
    page.reset("value", "dirty", "swapbacked", "ksm", "head")
    if obey(page, "AE-CLR-3"):
        page.anon_exclusive = False


def alloc_page(machine: Machine) -> Page:
    """A free page with one reference, the caller's (``folio_alloc``).

    It is the first free one; nothing in the protocol depends on which it is.

    Raises:
        MemoryError: there is none; the bounds are too small for the operations.
    """
    free = (
        name
        for name, page in machine.pages.items()
        if page.refcount == 0 and page.head is None
    )
    names = alternatives(machine.cells, free)
    if not names:
        count = len(machine.pages)
        raise MemoryError(f"all {count} pages are in use: raise the bounds")
    name = names[0] if len(names) == 1 else machine.cells.choose("page", names)
    page = machine.pages[name]
    page.refcount = 1
    return page


def vm_normal_page(mm: Mm, pte: Entry) -> Page | None:
    """The anonymous page behind a PTE; ``None`` for anything else."""
    return mm.machine.pages.get(pte.pfn) if isinstance(pte, Pte) else None


def add_mapping(mm: Mm, va: str, page: Page, *, writable: bool, trap: str = "") -> None:
    """Map `page`; the reference that the caller has becomes the mapping's."""
    page.mapcount += 1
    mm.pte[va] = Pte(page.name, writable, trap)


def remove_mapping(page: Page) -> None:
    """Uncount one mapping; the PTE and the reference are the caller's business."""
    if page.mapcount == 0:
        raise Broken("AE-INV-3", f"{page} is unmapped more often than mapped")
    page.mapcount -= 1


# %% [markdown]
# Reclaim, migration and KSM start from a page and find its mappings (rmap). They clear
# and flush a PTE before they look at the page: GUP-fast compares the PTE after it took
# its reference, so either it was early enough to be counted or it finds the PTE
# changed.


# %%
def rmap_walk(machine: Machine) -> Iterator[tuple[Mm, str]]:
    """Every address that may map a page; a child comes after its parent."""
    for mm in machine.mms.values():
        for va in machine.names.vas:
            yield mm, va


def maps(pte: Entry, page: Page) -> bool:
    """Whether an entry maps `page` (``page_vma_mapped_walk``)."""
    return isinstance(pte, Pte) and pte.pfn == page.name


def ptep_clear_flush(mm: Mm, va: str, page: Page) -> None:
    """Clear the PTE of a page that the caller holds."""
    mm.pte[va] = None
    remove_mapping(page)
    put_page(page)


def set_pte_at(mm: Mm, va: str, page: Page, pte: Pte) -> None:
    """Map a page that the caller holds, or change how it is mapped."""
    if not maps(mm.pte[va], page):
        get_page(page)
        page.mapcount += 1
    mm.pte[va] = pte


# %% [markdown]
# What the MMU finds is a PTE, or a part of a huge PMD.


# %%
def walk(mm: Mm, va: str) -> Pte | None:
    """What the MMU finds at `va`: a present PTE or a part of a huge PMD, or nothing."""
    if mm.pmd is not None:
        return mm.pmd.translate(mm.machine, va)
    pte = mm.pte[va]
    return pte if isinstance(pte, Pte) else None


def references_through(mm: Mm, va: str) -> Sequence[Reference]:
    """The references that GUP took, or is taking, through this address."""
    return [
        ref
        for ref in mm.machine.refs.values()
        if ref.state != "free" and (ref.mm, ref.va) == (mm.name, va)
    ]


# %% [markdown]
# ## The swap cache
#
# While a folio is in the swap cache, its slot and the folio name each other and the
# swap cache has one reference for each page of the folio. The slot counts the swap
# entries that name it.


# %%
def add_to_swap_cache(page: Page, slot: Slot) -> None:
    """Let the swap cache hold `page` for `slot`."""
    get_page(page)
    page.swap = slot.name
    slot.folio = page.name


def delete_from_swap_cache(page: Page) -> None:
    """Take `page` out of the swap cache; it is the only copy again."""
    page.machine.slots[str(page.swap)].folio = None
    page.swap = None
    page.dirty = True
    put_page(page)


def folio_free_swap(page: Page) -> bool:
    """Leave the swap cache, unless a swap entry or writeback still needs the slot."""
    if page.swap is None:
        return False
    if page.writeback or page.machine.slots[page.swap].count > 0:
        return False
    delete_from_swap_cache(page)
    return True


def swap_free(slot: Slot) -> None:
    """Uncount a swap entry."""
    if slot.count == 0:
        raise Broken("AE-INV-3", f"{slot} is freed more often than used")
    slot.count -= 1


def further_references(mm: Mm, page: Page) -> int:
    """References besides mappings by `mm`; of a large folio, all its mappings by `mm`.

    Linux knows the latter by owner tracking (`folio_maybe_mapped_shared()`, 6.15).
    """
    folio = page_folio(page)
    if page.head is None or folio.entire_mapcount > 0:
        return folio.refcount - 1
    if not obey(page, "AE-HUGE-3"):
        return page.mapcount - 1
    parts = {part.name for part in folio_pages(page)}
    ptes = [mm.pte[va] for va in mm.machine.names.vas]
    own = sum(isinstance(pte, Pte) and pte.pfn in parts for pte in ptes)
    return folio.refcount - own


def reuse_swap_page(page: Page) -> bool:
    """Whether one PTE or swap entry is all that leads to the page (before 5.18)."""
    entries = 0 if page.swap is None else page.machine.slots[page.swap].count
    return page.mapcount + page_folio(page).entire_mapcount + entries == 1


def unexpected_references(page: Page) -> int:
    """References besides mappings, the swap cache and the one that the caller has."""
    folio = page_folio(page)
    cache = len(folio_pages(folio)) if folio.swap is not None else 0
    return folio.refcount - folio_mapcount(folio) - cache - 1


# %% [markdown]
# ## Example
#
# One process maps one page. Its mapping is the only reference.

# %%
machine = Machine(Names())
A = machine.start("A")
page = alloc_page(machine)
add_mapping(A, "x", page, writable=True)
assert (page.refcount, page.mapcount, A.pte["x"]) == (1, 1, Pte("p1", writable=True))
