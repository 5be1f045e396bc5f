# %% [markdown]
# # Fork: share or copy
#
# `fork()` shares anonymous pages by mapping them read-only in both processes. A
# page that somebody relies on must not be shared: the next write of the parent
# would copy it away from the holder. The child then gets a copy at once.
#
# "fork() is allowed to clear the bit if page_count() == 1 and share the page. So
# no GUP->no fork() performance changes (!)"

# %%
from __future__ import annotations

from spec.bit import mappings
from spec.counts import (
    add_mapping,
    alloc_page,
    further_references,
    get_page,
    mmap_write_lock,
    mmap_write_unlock,
    ptl_lock,
    ptl_unlock,
    references_through,
    run,
    vm_normal_page,
)
from spec.decisions import PROTOCOL, SKETCH, Foll, sketch
from spec.fault import write
from spec.gup import get_user_pages
from spec.memory import Machine, Mm, Names, NonPresent, Page, Pte, Reference, Steps
from spec.rules import ALL_MODELS, BIT_MODELS, COUNT_MODELS, Step, obey, rule


# %%
def fork(mm: Mm, child: Mm) -> Steps:
    """Copy the address space of `mm` (``dup_mmap``)."""
    yield from mmap_write_lock(mm)
    child.state = "forking"
    child.parent = mm.name
    if obey(mm, "AE-FORK-6"):
        mm.write_protect_seq += 1
    for va in mm.machine.names.vas:
        yield
        yield from copy_pte_range(mm, child, va)
        child.vma[va] = mm.vma[va]
        child.expected[va] = mm.expected[va]
    if obey(mm, "AE-FORK-6"):
        mm.write_protect_seq += 1
    child.state = "live"
    mmap_write_unlock(mm)


def copy_pte_range(mm: Mm, child: Mm, va: str) -> Steps:
    """Copy one PTE of the parent (the child's page table is nobody else's yet)."""
    yield from ptl_lock(mm)
    if mm.pmd is not None and (yield from mm.pmd.copy_huge_pmd(mm, child)):
        ptl_unlock(mm)
        return
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte)
    if isinstance(pte, Pte) and page is not None:
        yield from copy_present_pte(mm, child, va, pte, page)
    elif isinstance(pte, NonPresent):
        yield from pte.copy_nonpresent_pte(mm, child, va)
    else:
        child.pte[va] = pte
    ptl_unlock(mm)


def copy_present_pte(mm: Mm, child: Mm, va: str, pte: Pte, page: Page) -> Steps:
    """Share the page with the child, or give the child a copy."""
    if not mm.model.may_share(mm, page):
        copy_present_page(mm, child, va, page)
        return
    for ref in references_through(mm, va):
        ref.protected = ref.protected and mm.model.protects_across_fork(ref)
    if page.anon_exclusive and obey(mm, "AE-FORK-3"):
        yield
        page.anon_exclusive = False
    if pte.writable and obey(mm, "AE-FORK-5"):
        yield
        mm.pte[va] = Pte(page.name, False, pte.trap)
    yield
    get_page(page)
    add_mapping(child, va, page, writable=False)


def copy_present_page(mm: Mm, child: Mm, va: str, page: Page) -> None:
    """Copy under both page table locks; the parent keeps its page."""
    new = alloc_page(mm.machine)
    new.value = page.value
    if mm.model.child_starts_exclusive():
        new.anon_exclusive = True
    if obey(mm, "AE-FORK-7"):
        add_mapping(child, va, new, writable=mm.vma[va] == "rw")
    else:
        pte = mm.pte[va]
        assert pte is not None
        child.pte[va] = pte
        add_mapping(mm, va, new, writable=pte.writable)


# %% [markdown]
# Linux skips the page table of a mapping that never had an anonymous page
# (`vma_needs_copy()`), and the child maps the zeropage at its next read. The model
# copies the zeropage's entry; nothing in this specification depends on which.
#
# ## Rules
#
# ### AE-FORK-1 {#AE-FORK-1}


# %%
def shares_what_had_the_bit(step: Step) -> bool:
    """fork clears the bit of a page that it is about to share."""
    return bool(step.forking()) and any(page.mapcount for page in step.clears_bit())


def copies_for_the_child(step: Step) -> bool:
    """fork gives the child a copy."""
    return any(True for _ in step.copies_into_child())


@rule(
    "AE-FORK-1",
    source=SKETCH,
    kernel=("mm/memory.c:copy_present_pte",),
    taken=shares_what_had_the_bit,
    declined=copies_for_the_child,
)
def fork_may_clear_and_share(step: Step) -> bool:
    """fork MAY clear the bit of a page and share the page if the parent's mapping
    is its only reference."""
    return referenced_page_is_not_shared(step)


# %% [markdown]
# ### AE-FORK-2 {#AE-FORK-2}
#
# The operation knows it by `refcount != 1`. A count that is raised after the test
# is a GUP-fast that will drop its reference
# ([AE-FAST-4](gup_fast.py#AE-FAST-4)) or a temporary reference that nobody relies on.


# %%
def referenced_page_is_not_shared(step: Step) -> bool:
    """True unless a page with a protected reference is shared with a child."""
    shared = {page.name for _, _, page in step.shares_with_child()}
    return not any(
        ref.state == "live" and ref.protected and ref.pfn in shared
        for ref in step.after.refs.values()
    )


@rule("AE-FORK-2", source=SKETCH, kernel=("mm/memory.c:copy_present_pte",))
def fork_copies_a_referenced_page(step: Step) -> bool:
    """fork MUST NOT share a page that GUP returned to somebody who still holds it
    and may rely on it."""
    return referenced_page_is_not_shared(step)


# %% [markdown]
# ### AE-FORK-3 {#AE-FORK-3}


# %%
@rule(
    "AE-FORK-3",
    source=SKETCH,
    kernel=("mm/memory.c:copy_present_pte",),
    models=BIT_MODELS,
)
def bit_is_cleared_first(step: Step) -> bool:
    """fork MUST clear the bit of a page before it maps the page into the child."""
    return not any(page.anon_exclusive for _, _, page in step.shares_with_child())


# %% [markdown]
# ### AE-FORK-4 {#AE-FORK-4}
#
# The price of looking at the count where nobody asked GUP would be a copy for
# every page that sits in an LRU batch or the swap cache.


# %%
@rule("AE-FORK-4", source=SKETCH, kernel=("mm/memory.c:copy_present_pte",))
def clear_bit_is_shared(step: Step) -> bool:
    """fork MUST share a page whose bit is clear, whatever its reference count."""
    return all(
        page is None or page.anon_exclusive
        for child, va in step.copies_into_child()
        for parent in [step.parent_of(child)]
        for page in [vm_normal_page(parent, parent.pte[va])]
    )


# %% [markdown]
# ### AE-FORK-5 {#AE-FORK-5}


# %%
@rule(
    "AE-FORK-5",
    source="mm/memory.c:copy_present_pte, v6.1",
    kernel=("mm/memory.c:copy_present_pte",),
    models=ALL_MODELS,
)
def parent_is_write_protected(step: Step) -> bool:
    """fork MUST write-protect the parent's mapping of a page before it maps the
    page into the child."""
    return not any(
        pte.writable
        for _, _, page in step.shares_with_child()
        for _, pte in mappings(step.before, page)
    )


# %% [markdown]
# ### AE-FORK-6 {#AE-FORK-6}
#
# The other half of [AE-FAST-4](gup_fast.py#AE-FAST-4).


# %%
@rule(
    "AE-FORK-6",
    source="57efa1fe5957 (5.11), mm/gup: prevent gup_fast from racing with COW "
    "during fork",
    kernel=("mm/memory.c:copy_page_range",),
    models=(*COUNT_MODELS, *BIT_MODELS),
)
def sequence_count_is_odd(step: Step) -> bool:
    """fork MUST keep write_protect_seq odd from before it decides to share a page
    until the child maps the page."""
    return all(
        step.parent_of(child).write_protect_seq % 2 == 1
        for child, _, _ in step.shares_with_child()
    )


# %% [markdown]
# ### AE-FORK-7 {#AE-FORK-7}
#
# The holder's reference was taken through the parent's address.


# %%
@rule(
    "AE-FORK-7",
    source="70e806e4e645 (5.9), mm: Do early cow for pinned pages during fork() "
    "for ptes",
    kernel=("mm/memory.c:copy_present_page",),
    models=(*COUNT_MODELS, *BIT_MODELS),
)
def parent_keeps_its_page(step: Step) -> bool:
    """fork MUST leave the parent its page and give the copy to the child."""
    return not any(mm in step.forking() for mm, _, _ in step.replaces())


# %% [markdown]
# ### AE-FORK-8 {#AE-FORK-8}
#
# What upstream promises instead of [AE-FORK-2](#AE-FORK-2)
# (`folio_maybe_dma_pinned()`). A FOLL_GET reference does not count.


# %%
@rule(
    "AE-FORK-8",
    source=f"70e806e4e645 (5.9); {PROTOCOL}",
    kernel=("include/linux/rmap.h:folio_try_dup_anon_rmap_pte",),
    models=("upstream", "always"),
)
def pinned_page_is_not_shared(step: Step) -> bool:
    """fork MUST NOT share a page that is pinned."""
    return not any(
        ref.state == "live" and ref.pin and ref.pfn == page.name
        for _, _, page in step.shares_with_child()
        for ref in step.after.refs.values()
    )


# %% [markdown]
# ## The sketch's answers


# %%
@sketch
def may_share(mm: Mm, page: Page) -> bool:
    """bit clear, or refcount == 1"""
    if not page.anon_exclusive:
        return obey(mm, "AE-FORK-4") or further_references(mm, page) == 0
    return further_references(mm, page) == 0 or not obey(mm, "AE-FORK-2")


@sketch
def child_starts_exclusive() -> bool:
    """no: the child did not ask"""
    return False


@sketch
def protects_across_fork(ref: Reference) -> bool:
    """every reference"""
    return True


# %% [markdown]
# ## Example
#
# Without a reference the page is shared and loses the bit. With one, the child
# gets a copy, and the parent keeps its page, writable.


# %%
def parent_and_child(request: Foll | None) -> Machine:
    """A process that wrote, perhaps asked GUP, and forked."""
    machine = Machine(Names(refs=("r",)), sketch)
    A = machine.start("A")
    run(write(A, "x", 1))
    if request is not None:
        run(get_user_pages(A, "x", machine.refs["r"], request))
    run(fork(A, machine.mms["B"]))
    return machine


machine = parent_and_child(None)
A, B = machine.mms["A"], machine.mms["B"]
assert A.pte["x"] == B.pte["x"] == Pte("p1", writable=False)

# %%
machine = parent_and_child(Foll(write=True))
A, B = machine.mms["A"], machine.mms["B"]
assert A.pte["x"] == Pte("p1", writable=True)
assert B.pte["x"] == Pte("p2", writable=True)
