# %% [markdown]
# # Write and unshare faults: keep or copy
#
# A fault on a page that is mapped read-only decides whether the process keeps the
# page or gets a copy. Copying where a reference relies on the page is a *wrong COW*:
# from then on the holder and the process see different pages. Keeping a page that
# somebody else still reads is a *missed COW*: what the process writes leaks.

# %%
from __future__ import annotations

from spec.bit import mappings, others
from spec.counts import (
    add_mapping,
    alloc_page,
    folio_free_swap,
    folio_trylock,
    folio_unlock,
    further_references,
    get_page,
    page_folio,
    ptl_lock,
    ptl_unlock,
    put_page,
    remove_mapping,
    run,
    vm_normal_page,
)
from spec.decisions import REFINED, SKETCH, FaultFlags, sketch
from spec.memory import Machine, Mm, Names, Page, Pte, Steps
from spec.rules import ALL_MODELS, BIT_MODELS, COUNT_MODELS, Step, may, obey, rule

# %% [markdown]
# ## A new page


# %%
def map_new_page(
    mm: Mm, va: str, contents: int, flags: FaultFlags, trap: str = ""
) -> None:
    """Map a page that nobody else can have; the bit is set before it is mapped."""
    new = alloc_page(mm.machine)
    new.value = contents
    if mm.model.starts_exclusive(mm, flags):
        new.anon_exclusive = True
    add_mapping(mm, va, new, writable=flags.write and mm.vma[va] == "rw", trap=trap)


# %% [markdown]
# ## A page that is mapped read-only: `do_wp_page()`
#
# One function serves a write and an *unshare* request. The second comes from GUP
# (`FAULT_FLAG_UNSHARE`): a reader wants a page that will stay, and does not write.
# It leaves the PTE read-only. Before 5.9 a fault waited for the folio lock; since then
# it copies.


# %%
def do_wp_page(mm: Mm, va: str, orig_pte: Pte, flags: FaultFlags) -> Steps:
    """Keep the page if it may be kept, else copy it."""
    yield from ptl_lock(mm)
    if mm.pte[va] != orig_pte:
        ptl_unlock(mm)
        return
    if flags.write and orig_pte.trap == "uffd-wp" and obey(mm, "AE-WP-3"):
        mm.pte[va] = Pte(orig_pte.pfn, writable=False)
        mm.tracked[va] = ""
        ptl_unlock(mm)
        return
    page = vm_normal_page(mm, orig_pte)
    if mm.model.waits_for_lock() and page and page_folio(page).locked:
        ptl_unlock(mm)
        yield lambda: not page_folio(page).locked
        return
    if page is None or not (yield from wp_can_reuse_anon_folio(mm, page, flags)):
        yield from wp_page_copy(mm, va, orig_pte, page, flags)
        return
    if flags.write:
        note_write(mm, va, orig_pte)
        mm.pte[va] = Pte(page.name, writable=mm.vma[va] == "rw")
    ptl_unlock(mm)


def note_write(mm: Mm, va: str, pte: Pte) -> None:
    """Soft-dirty has seen the write that begins here."""
    if pte.trap == "soft-dirty":
        mm.tracked[va] = ""


def wp_can_reuse_anon_folio(mm: Mm, page: Page, flags: FaultFlags) -> Steps:
    """May the process keep the page? Sets the bit if the page then has it."""
    if page.anon_exclusive and obey(mm, "AE-COW-1"):
        return True
    if page.ksm and obey(mm, "AE-KSM-2"):
        return False
    if not folio_trylock(page):
        return False
    folio_free_swap(page)
    yield
    reuse = may_keep(mm, page)
    if flags.unshare and not obey(mm, "AE-UNS-1"):
        reuse = True
    if reuse and mm.model.starts_exclusive(mm, flags):
        yield
        page.anon_exclusive = True
    folio_unlock(page)
    return reuse


def may_keep(mm: Mm, page: Page) -> bool:
    """Ask the model, by how the page is mapped: by a PMD, of a large folio, alone."""
    if mm.pmd is not None:
        return mm.model.may_reuse_huge(mm, page)
    if page.head is not None and page_folio(page).entire_mapcount == 0:
        return mm.model.may_reuse_large(mm, page)
    return mm.model.may_reuse(mm, page)


# %% [markdown]
# The copy is made without the page table lock. A temporary reference keeps the old
# page meanwhile; it is one of the reasons why another process that looks at the
# count now sees more than its own mapping.


# %%
def wp_page_copy(
    mm: Mm, va: str, orig_pte: Pte, old: Page | None, flags: FaultFlags
) -> Steps:
    """Copy, then map the copy if the PTE still is what it was."""
    contents = 0
    if old is not None:
        get_page(old)
        mm.machine.cpu.hold = old.name
        contents = old.value
    ptl_unlock(mm)
    yield
    yield from ptl_lock(mm)
    if mm.pte[va] == orig_pte or not obey(mm, "AE-COW-4"):
        keep_trap = flags.unshare and obey(mm, "AE-WP-4")
        map_new_page(mm, va, contents, flags, orig_pte.trap if keep_trap else "")
        if flags.write:
            note_write(mm, va, orig_pte)
        if old is not None:
            remove_mapping(old)
            put_page(old)
    ptl_unlock(mm)
    if old is not None:
        mm.machine.cpu.hold = None
        put_page(old)


# %% [markdown]
# ## Rules for keeping and copying
#
# ### AE-COW-1 {#AE-COW-1}
#
# "On a CoW fault, if that bit is set, I can simply reuse the page" (same author,
# an hour earlier). No count is looked at: a page with the bit has an owner.


# %%
@rule(
    "AE-COW-1",
    source=SKETCH,
    kernel=("mm/memory.c:do_wp_page",),
    models=BIT_MODELS,
)
def exclusive_page_stays(step: Step) -> bool:
    """A fault MUST NOT replace a page whose bit is set."""
    return not any(
        step.before.pages[old.pfn].anon_exclusive for _, old, _ in step.replaces()
    )


# %% [markdown]
# ### AE-COW-2 {#AE-COW-2}
#
# Linux learned this in 5.9: `mapcount == 1` does not show that nobody else reads
# the page, because a reference is no mapping (CVE-2020-29374). The operations know
# it by `refcount == 1`.


# %%
@rule(
    "AE-COW-2",
    source="09854ba94c6a (5.9), mm: do_wp_page() simplification",
    kernel=("mm/memory.c:wp_can_reuse_anon_folio",),
    models=(*COUNT_MODELS, *BIT_MODELS),
)
def writable_page_is_not_shared(step: Step) -> bool:
    """A write fault MUST NOT make writable a page that another process maps or
    holds a reference to."""
    return not any(
        others(step.before, mm, step.before.pages[new.pfn])
        for mm, new in step.makes_writable()
        if not step.changes_protection(mm)
    )


# %% [markdown]
# ### AE-COW-3 {#AE-COW-3}
#
# A permission: a real kernel copies such a page when an LRU batch or another
# temporary reference happens to hold it. The model lets both happen, and a
# comparison with a kernel accepts either.


# %%
def keeps_a_page_without_the_bit(step: Step) -> bool:
    """A write fault maps the page writable although its bit is clear."""
    return any(
        not step.before.pages[new.pfn].anon_exclusive
        for mm, new in step.makes_writable()
        if not step.changes_protection(mm)
    )


def copies_a_page_nobody_shares(step: Step) -> bool:
    """A fault replaces a page that no other process has."""
    return any(
        not others(step.before, mm, step.before.pages[old.pfn])
        for mm, old, _ in step.replaces()
    )


@rule(
    "AE-COW-3",
    source="09854ba94c6a (5.9), mm: do_wp_page() simplification",
    kernel=("mm/memory.c:wp_can_reuse_anon_folio",),
    models=(*COUNT_MODELS, *BIT_MODELS),
    taken=keeps_a_page_without_the_bit,
    declined=copies_a_page_nobody_shares,
)
def last_reference_may_be_kept(step: Step) -> bool:
    """A fault MAY keep a page whose bit is clear if the mapping is its only
    reference."""
    return writable_page_is_not_shared.holds(step)


# %%
@sketch
def may_reuse(mm: Mm, page: Page) -> bool:
    """refcount == 1; then it is a permission"""
    if further_references(mm, page) > 0 and obey(mm, "AE-COW-2"):
        return False
    return may(mm, "AE-COW-3")


# %% [markdown]
# ### AE-COW-4 {#AE-COW-4}
#
# `pte_same()` under the lock, after the copy. The page that is replaced must be
# the page that was copied.


# %%
@rule(
    "AE-COW-4",
    source="mm/memory.c:wp_page_copy, v6.1",
    kernel=("mm/memory.c:wp_page_copy",),
    models=ALL_MODELS,
)
def copy_replaces_what_was_copied(step: Step) -> bool:
    """A fault MUST map its copy only in place of the page that it copied."""
    return all(
        any(cpu.hold == old.pfn for cpu in step.before.cpus.values())
        for _, old, _ in step.replaces()
    ) and not any(step.maps_copy_over_nothing())


# %% [markdown]
# ### AE-COW-5 {#AE-COW-5}
#
# "The bit can be set directly if we have to copy the page in the fault handler."
# Nobody else can have the copy yet. If the fault does not use the permission, GUP
# finds the page writable and sets the bit itself ([AE-SET-3](bit.py#AE-SET-3)). A fault
# for FOLL_FORCE sets the bit: its PTE stays read-only, and GUP would only fault again.


# %%
def maps_new_with_bit(step: Step) -> bool:
    """A fault for GUP maps a new writable page with the bit set."""
    return any(
        new.writable and step.after.pages[new.pfn].anon_exclusive
        for _, new in step.maps_new()
    )


def maps_new_without_bit(step: Step) -> bool:
    """A fault for GUP maps a new writable page with the bit clear."""
    return any(
        mm.asked_gup and new.writable and not step.after.pages[new.pfn].anon_exclusive
        for mm, new in step.maps_new()
    )


@rule(
    "AE-COW-5",
    source=SKETCH,
    taken=maps_new_with_bit,
    declined=maps_new_without_bit,
)
def copy_may_be_marked(step: Step) -> bool:
    """A fault that maps a new page on behalf of a GUP request MAY set the bit of
    the page before it maps it."""
    return all(
        len(list(mappings(step.after, step.after.pages[new.pfn]))) == 1
        for _, new in step.maps_new()
        if step.after.pages[new.pfn].anon_exclusive
    )


# %% [markdown]
# ### AE-UNS-1 {#AE-UNS-1}


# %%
@rule(
    "AE-UNS-1",
    source=f"{REFINED}; a7f226604170 (5.19)",
    kernel=("mm/memory.c:do_wp_page",),
    models=BIT_MODELS,
)
def unshare_ends_sharing(step: Step) -> bool:
    """An unshare fault MUST copy a page that another process maps or holds a
    reference to."""
    return not any(
        others(step.before, mm, page)
        for page in step.sets_bit()
        if page.locked
        for mm, _ in mappings(step.before, page)
    )


# %%
@sketch
def waits_for_lock() -> bool:
    """no (silent)"""
    return False


@sketch
def starts_exclusive(mm: Mm, why: FaultFlags) -> bool:
    """only for GUP: always if it unshares or forces, else MAY"""
    if why.gup and (why.unshare or why.force):
        return True
    if why.gup:
        return may(mm, "AE-COW-5")
    return not obey(mm, "AE-SET-4")


# %% [markdown]
# ## Example
#
# A page is mapped read-only and the mapping is its only reference: a write fault may
# keep it. With another reference the same fault copies.

# %%
machine = Machine(Names(), sketch)
A = machine.start("A")
page = alloc_page(machine)
add_mapping(A, "x", page, writable=False)
run(do_wp_page(A, "x", Pte("p1", writable=False), FaultFlags(write=True)))
assert A.pte["x"] == Pte("p1", writable=True)

# %%
A.pte["x"] = Pte("p1", writable=False)
get_page(page)
run(do_wp_page(A, "x", Pte("p1", writable=False), FaultFlags(write=True)))
assert A.pte["x"] == Pte("p2", writable=True)
