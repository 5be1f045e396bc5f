# %% [markdown]
# # KSM: sharing by contents
#
# The kernel's same-page merging looks for anonymous pages with equal contents and maps
# one of them everywhere, read-only. A *KSM page* belongs to nobody. It is a third way
# in which the bit may vanish, beside swap-out and migration; the sketch does not
# mention it.
#
# KSM holds no permanent reference to its pages. A KSM page with one mapping therefore
# has `refcount` 1, and that mapping is still not its owner: the next page with these
# contents may be merged with it at any moment.

# %%
from __future__ import annotations

from collections.abc import Iterator

from spec.bit import mappings
from spec.counts import (
    folio_trylock,
    folio_unlock,
    get_page,
    maps,
    mmap_read_lock,
    mmap_read_unlock,
    ptep_clear_flush,
    ptl_lock,
    ptl_unlock,
    put_page,
    run,
    set_pte_at,
    unexpected_references,
    vm_normal_page,
)
from spec.decisions import PROTOCOL, FaultFlags, sketch
from spec.fault import handle_mm_fault, munmap, read, write
from spec.memory import Entry, Machine, Mm, Names, Page, Pte, Steps
from spec.migration_entry import MigrationEntry
from spec.protect import mprotect
from spec.rules import BIT_MODELS, Step, obey, rule

# %% [markdown]
# ## Merging
#
# ksmd finds its pairs in two trees; the model takes any two addresses of live
# processes that map different small pages with equal contents. The first of the two
# becomes a KSM page, unless it is one already, and takes the place of the second.


# %%
def ksm_merge(machine: Machine) -> Steps:
    """Merge two pages of equal contents (``cmp_and_merge_page``)."""
    pairs = tuple(candidates(machine))
    if not pairs:
        return
    kept, replaced = machine.cells.choose("pages to merge", pairs)
    kpage, page = page_at(machine, *kept), page_at(machine, *replaced)
    get_page(kpage)
    get_page(page)
    machine.cpu.target = kpage.name
    machine.cpu.hold = page.name
    yield
    yield from try_to_merge_two_pages(machine, kept, kpage, replaced, page)
    machine.cpu.target = None
    machine.cpu.hold = None
    put_page(kpage)
    put_page(page)


def candidates(machine: Machine) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Pairs of places, each a process and an address, whose pages look the same."""
    places = [
        (mm.name, va)
        for mm in machine.mms.values()
        for va in machine.names.vas
        if mm.state == "live" and is_mergeable(vm_normal_page(mm, mm.pte[va]))
    ]
    for kept in places:
        for replaced in places:
            one, other = page_at(machine, *kept), page_at(machine, *replaced)
            if one != other and not other.ksm and one.value == other.value:
                yield kept, replaced


def is_mergeable(page: Page | None) -> bool:
    """Whether KSM looks at a page."""
    return page is not None and page.head is None


def page_at(machine: Machine, mm: str, va: str) -> Page:
    """The page that a place maps."""
    page = vm_normal_page(machine.mms[mm], machine.mms[mm].pte[va])
    assert page is not None, "only places that map a page are candidates"
    return page


def try_to_merge_two_pages(
    machine: Machine,
    kept: tuple[str, str],
    kpage: Page,
    replaced: tuple[str, str],
    page: Page,
) -> Steps:
    """Make a KSM page of the first if it is none, then replace the second by it."""
    if not kpage.ksm:
        yield from try_to_merge_one_page(machine.mms[kept[0]], kept[1], kpage, None)
    if kpage.ksm:
        yield from try_to_merge_one_page(
            machine.mms[replaced[0]], replaced[1], page, kpage
        )


def try_to_merge_one_page(mm: Mm, va: str, page: Page, kpage: Page | None) -> Steps:
    """Write-protect a page; it becomes a KSM page, or `kpage` takes its place."""
    yield from mmap_read_lock(mm)
    if folio_trylock(page):
        pte = yield from write_protect_page(mm, va, page)
        if pte is not None and kpage is None:
            page.ksm = True
        elif kpage is not None and pte is not None and pages_identical(page, kpage):
            yield from replace_page(mm, va, kpage, pte)
        folio_unlock(page)
    mmap_read_unlock(mm)
    yield


# %% [markdown]
# A page is write-protected only if nobody but its mappings, the swap cache and KSM has
# it. Upstream asks in addition whether it may be pinned; the counts imply that. Whoever
# takes a reference later does so through a read-only PTE whose page has no bit.


# %%
def write_protect_page(mm: Mm, va: str, page: Page) -> Steps:
    """Make one mapping read-only; returns the new PTE unless the page is in use."""
    yield from ptl_lock(mm)
    pte = mm.pte[va]
    if not isinstance(pte, Pte) or not maps(pte, page):
        ptl_unlock(mm)
        return None
    if obey(mm, "AE-KSM-4"):
        ptep_clear_flush(mm, va, page)
        yield
    if unexpected_references(page) != 0 and obey(mm, "AE-KSM-3"):
        set_pte_at(mm, va, page, pte)
        ptl_unlock(mm)
        yield
        return None
    if page.anon_exclusive and obey(mm, "AE-KSM-5"):
        yield
        page.anon_exclusive = False
    yield
    read_only = Pte(page.name, writable=False, trap=pte.trap)
    set_pte_at(mm, va, page, read_only)
    ptl_unlock(mm)
    yield
    return read_only


def pages_identical(page: Page, kpage: Page) -> bool:
    """Whether the contents are still equal, now that nobody can write to them."""
    return page.value == kpage.value or not obey(page, "AE-KSM-6")


def replace_page(mm: Mm, va: str, kpage: Page, orig_pte: Pte) -> Steps:
    """Map the KSM page, if the PTE still is as it was write-protected."""
    yield from ptl_lock(mm)
    old = vm_normal_page(mm, mm.pte[va])
    same = mm.pte[va] == orig_pte or not obey(mm, "AE-KSM-7")
    if old is not None and same:
        ptep_clear_flush(mm, va, old)
        set_pte_at(mm, va, kpage, Pte(kpage.name, False, orig_pte.trap))
    ptl_unlock(mm)
    yield


# %% [markdown]
# ## Unmerging
#
# `MADV_UNMERGEABLE` gives each address its own page again. It asks for that with an
# unshare fault. Until 6cce3314b928 (6.2) it pretended to write, and a userfaultfd that
# write-protects the range was told of a write that nobody made; if the range stayed
# protected the fault was repeated for ever. What unsharing maps is read-only.


# %%
def break_ksm(mm: Mm, va: str) -> Steps:
    """Replace a KSM page by a copy, without writing to it."""
    yield from mmap_read_lock(mm)
    writes = mm.model.pretends_to_write(False)
    while is_ksm(mm, mm.pte[va]):
        flags = FaultFlags(write=writes, unshare=not writes, force=writes)
        yield from handle_mm_fault(mm, va, flags)
        yield
    mmap_read_unlock(mm)


def is_ksm(mm: Mm, pte: Entry) -> bool:
    """Whether an entry leads to a KSM page; a page under migration remains one."""
    if isinstance(pte, Pte | MigrationEntry):
        page = mm.machine.pages.get(pte.pfn)
        return page is not None and page.ksm
    return False


# %% [markdown]
# ## Rules for KSM pages
#
# ### AE-KSM-1 {#AE-KSM-1}
#
# `refcount == 1` shows that the mapping is the only reference
# ([AE-INV-6](guarantees.py#AE-INV-6)). It does not show that the page will not be
# shared again without a look at the bit.


# %%
@rule(
    "AE-KSM-1",
    source=PROTOCOL,
    kernel=("mm/memory.c:wp_can_reuse_anon_folio",),
    models=(*BIT_MODELS, "carry"),
)
def nobody_owns_a_ksm_page(step: Step) -> bool:
    """A step MUST NOT set the bit of a KSM page."""
    return not any(page.ksm for page in step.sets_bit())


# %% [markdown]
# ### AE-KSM-2 {#AE-KSM-2}


# %%
@rule(
    "AE-KSM-2",
    source="mm/memory.c:wp_can_reuse_anon_folio, v6.1",
    kernel=("mm/memory.c:wp_can_reuse_anon_folio",),
    models=(*BIT_MODELS, "carry"),
)
def ksm_page_stays_read_only(step: Step) -> bool:
    """A write fault MUST NOT make a KSM page writable, even if the mapping is its
    only reference."""
    return not any(step.before.pages[new.pfn].ksm for _, new in step.makes_writable())


# %% [markdown]
# ## Rules for merging
#
# ### AE-KSM-3 {#AE-KSM-3}
#
# The sketch lets the bit vanish where "there are no additional GUP/references on the
# page that rely on it". KSM compares the counts, and counts FOLL_GET references too.


# %%
def merges(step: Step) -> Iterator[tuple[Page, Page]]:
    """Each page (before) that a KSM page replaces, or that becomes one."""
    for _, old, new in step.replaces():
        if step.before.pages[new.pfn].ksm:
            yield step.before.pages[old.pfn], step.before.pages[new.pfn]
    for name, page in step.before.pages.items():
        if f"{name}.ksm" in step.written and step.after.pages[name].ksm:
            yield page, page


@rule(
    "AE-KSM-3",
    source="mm/ksm.c:write_protect_page, v6.1",
    kernel=("mm/ksm.c:write_protect_page",),
    models=(*BIT_MODELS, "carry"),
)
def referenced_page_is_not_merged(step: Step) -> bool:
    """KSM MUST NOT merge a page that GUP returned to somebody who still holds it and
    may rely on it."""
    return not any(
        ref.state == "live" and ref.protected and ref.pfn == page.name
        for page, _ in merges(step)
        for ref in step.before.refs.values()
    )


# %% [markdown]
# ### AE-KSM-4 {#AE-KSM-4}
#
# As in migration ([AE-MIGR-1](migration.py#AE-MIGR-1)). Here the PTE comes back, the
# same as before if it was read-only. It then tells GUP-fast nothing; only the bit does
# ([AE-FAST-2](gup_fast.py#AE-FAST-2)), which is why 088b8aa537c2 orders the two.


# %%
@rule(
    "AE-KSM-4",
    source="088b8aa537c2 (6.1), mm: fix PageAnonExclusive clearing racing with "
    "concurrent RCU GUP-fast",
    kernel=("mm/ksm.c:write_protect_page",),
    models=(*BIT_MODELS, "carry"),
)
def pte_is_cleared_before_the_bit(step: Step) -> bool:
    """KSM MUST clear the PTE of a page before it compares the counts and clears the
    bit."""
    return not any(
        page.locked and not step.forking() and list(mappings(step.after, page))
        for page in step.clears_bit()
    )


# %% [markdown]
# ### AE-KSM-5 {#AE-KSM-5}


# %%
@rule(
    "AE-KSM-5",
    source=PROTOCOL,
    kernel=("mm/ksm.c:write_protect_page",),
    models=(*BIT_MODELS, "carry"),
)
def bit_is_cleared_before_sharing(step: Step) -> bool:
    """KSM MUST clear the bit of a page before it makes it a KSM page."""
    return not any(page.anon_exclusive for page, _ in merges(step) if not page.ksm)


# %% [markdown]
# ### AE-KSM-6 {#AE-KSM-6}
#
# Between the choice of the pair and the write protection anybody may have written.


# %%
@rule(
    "AE-KSM-6",
    source="mm/ksm.c:try_to_merge_one_page, v6.1",
    kernel=("mm/ksm.c:try_to_merge_one_page",),
    models=(*BIT_MODELS, "carry"),
)
def contents_are_equal(step: Step) -> bool:
    """KSM MUST compare the contents of two pages after it has write-protected both."""
    return all(page.value == kpage.value for page, kpage in merges(step))


# %% [markdown]
# ### AE-KSM-7 {#AE-KSM-7}
#
# A thread that writes finds the page read-only and locked, and gets a copy.


# %%
@rule(
    "AE-KSM-7",
    source="mm/ksm.c:replace_page, v6.1",
    kernel=("mm/ksm.c:replace_page",),
    models=(*BIT_MODELS, "carry"),
)
def only_the_protected_page_is_replaced(step: Step) -> bool:
    """KSM MUST NOT replace a page other than the one that it has locked and
    write-protected."""
    return all(page.locked or page == kpage for page, kpage in merges(step))


# %% [markdown]
# ## Example
#
# Two processes write the same value. One page is left, and a write copies it, although
# the other process is gone.

# %%
machine = Machine(Names(), sketch)
A = machine.start("A")
B = machine.start("B")
run(write(A, "x", 1))
run(write(B, "x", 1))
run(ksm_merge(machine))
assert A.pte["x"] == B.pte["x"] == Pte("p1", writable=False)

# %%
run(munmap(B, "x"))
assert machine.pages["p1"].refcount == 1
run(write(A, "x", 2))
assert A.pte["x"] == Pte("p2", writable=True)

# %% [markdown]
# Unmerging works where the process itself must not write.

# %%
B.vma["x"] = "rw"
run(write(B, "x", 2))
run(ksm_merge(machine))
run(mprotect(A, "x", "r"))
run(break_ksm(A, "x"))
assert not is_ksm(A, A.pte["x"])
assert run(read(A, "x")) == 2
