# %% [markdown]
# # Write protection that must not cost ownership
#
# Many things make a PTE read-only without sharing the page: `mprotect()`, soft-dirty
# tracking, userfaultfd, NUMA hints. None of them may take the page from its owner, and
# none may be undone behind the back of whoever asked for it.

# %%
from __future__ import annotations

from dataclasses import replace

from spec.counts import (
    mapped_page,
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    page_folio,
    ptl_lock,
    ptl_unlock,
    run,
    vm_normal_page,
)
from spec.decisions import FaultFlags, Foll, sketch
from spec.fault import handle_mm_fault, read, write
from spec.memory import Entry, Machine, Mm, Names, NonPresent, Page, Pte, Steps
from spec.rules import ALL_MODELS, BIT_MODELS, Step, obey, rule

# %% [markdown]
# ## mprotect


# %%
def mprotect(mm: Mm, va: str, protection: str) -> Steps:
    """Change the protection to ``r`` or ``rw``; false if nothing is mapped."""
    yield from mmap_write_lock(mm)
    mapped = mm.vma[va] is not None
    if mapped:
        mm.vma[va] = protection
        yield from change_pte_range(mm, va, protection)
    mmap_write_unlock(mm)
    return mapped


def change_pte_range(mm: Mm, va: str, protection: str) -> Steps:
    """Write-protect the PTE, or upgrade it where no fault is needed."""
    yield from ptl_lock(mm)
    if mm.pmd is not None:
        yield from mm.pmd.split_huge_pmd(mm)
    pte = mm.pte[va]
    if isinstance(pte, NonPresent) and protection == "r":
        pte.change_nonpresent_pte(mm, va)
    page = vm_normal_page(mm, pte)
    if isinstance(pte, Pte) and page is not None and protection == "r":
        mm.pte[va] = Pte(page.name, False, pte.trap)
        if not obey(mm, "AE-CLR-1"):
            page.anon_exclusive = False
    elif protection == "rw" and can_change_pte_writable(mm, pte, page):
        assert page is not None, "only an anonymous page is upgraded"
        mm.pte[va] = Pte(page.name, writable=True)
    ptl_unlock(mm)


def can_change_pte_writable(mm: Mm, pte: Entry, page: Page | None) -> bool:
    """May the PTE become writable without a fault?"""
    if not isinstance(pte, Pte) or page is None:
        return False
    if pte.trap and obey(mm, "AE-WP-2"):
        return False
    return mm.model.may_upgrade(page) or not obey(mm, "AE-WP-1")


@sketch
def may_upgrade(page: Page) -> bool:
    """bit set"""
    return mapped_page(page).anon_exclusive


# %% [markdown]
# ### AE-WP-1 {#AE-WP-1}
#
# `mprotect(PROT_READ)` and back must not turn a shared page writable: the second
# call may skip the fault only where the fault would keep the page anyway. The end of a
# NUMA hint follows the same rule (6a56ccbcf6c6, 6.2).


# %%
@rule(
    "AE-WP-1",
    source="64fe24a3e05e (6.0)",
    kernel=("mm/mprotect.c:can_change_pte_writable",),
    models=ALL_MODELS,
)
def upgrade_needs_the_bit(step: Step) -> bool:
    """mprotect MUST NOT make the mapping of a page writable unless the bit of the
    page is set."""
    return all(
        step.before.pages[new.pfn].anon_exclusive
        for mm, new in step.makes_writable()
        if step.changes_protection(mm)
    )


# %% [markdown]
# ## Whoever tracks writes: soft-dirty, userfaultfd
#
# A *trap* in a PTE says that the next access has to fault although the mapping allows
# it: userfaultfd wants to be told before a write, soft-dirty wants to note it, a NUMA
# hint wants to know who accesses the page. The ghost cell `tracked` notes that a write
# has to be noticed.


# %%
def set_trap(mm: Mm, va: str, trap: str) -> Steps:
    """Make the next access fault; the page and its bit stay as they are."""
    yield from ptl_lock(mm)
    if mm.pmd is not None:
        yield from mm.pmd.split_huge_pmd(mm)
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte)
    if isinstance(pte, Pte) and page is not None and may_trap_now(mm, pte, page, trap):
        mm.pte[va] = Pte(page.name, False, trap)
        if trap != "numa":
            mm.tracked[va] = trap
    ptl_unlock(mm)


def may_trap_now(mm: Mm, pte: Pte, page: Page, trap: str) -> bool:
    """Whether the mapping may be trapped; one that is trapped already stays so."""
    return not pte.trap and mm.model.may_trap(page, trap)


@sketch
def may_trap(page: Page, trap: str) -> bool:
    """always: the bit keeps the page"""
    return True


def clear_refs(mm: Mm, va: str) -> Steps:
    """Begin to look for writes (``/proc/PID/clear_refs``, soft-dirty)."""
    yield from mmap_write_lock(mm)
    yield from set_trap(mm, va, "soft-dirty")
    mmap_write_unlock(mm)


def uffd_writeprotect(mm: Mm, va: str) -> Steps:
    """Ask to be told before a write (``UFFDIO_WRITEPROTECT``)."""
    yield from mmap_read_lock(mm)
    yield from set_trap(mm, va, "uffd-wp")
    mmap_read_unlock(mm)


def uffd_unprotect(mm: Mm, va: str) -> Steps:
    """Let the write happen; the PTE stays read-only until the fault comes again."""
    yield from mmap_read_lock(mm)
    yield from ptl_lock(mm)
    pte = mm.pte[va]
    if isinstance(pte, Pte) and pte.trap == "uffd-wp":
        mm.pte[va] = Pte(pte.pfn, writable=False)
        mm.tracked[va] = ""
    ptl_unlock(mm)
    mmap_read_unlock(mm)


def change_prot_numa(mm: Mm, va: str) -> Steps:
    """Ask who accesses the page (a NUMA hint, PROT_NONE)."""
    yield from mmap_read_lock(mm)
    yield from set_trap(mm, va, "numa")
    mmap_read_unlock(mm)


# %% [markdown]
# A write fault on a page that userfaultfd protects is an event for the monitor. The
# model's monitor answers at once: it ends the protection, and the access faults again.
# Reclaim, migration and KSM keep traps or leave trapped mappings alone.
#
# ### AE-WP-2 {#AE-WP-2}
#
# The bit alone does not allow it. `can_change_pte_writable()` forgot soft-dirty once,
# and writes went unseen.


# %%
@rule(
    "AE-WP-2",
    source="76aefad628aa (6.0), mm/mprotect: fix soft-dirty check in "
    "can_change_pte_writable()",
    kernel=("mm/mprotect.c:can_change_pte_writable",),
    models=BIT_MODELS,
)
def upgrade_keeps_the_trap(step: Step) -> bool:
    """mprotect MUST NOT make a mapping writable while soft-dirty or userfaultfd has to
    notice the next write."""
    return not any(
        isinstance(old, Pte) and old.trap and isinstance(new, Pte) and new.writable
        for mm, _, old, new in step.changes_pte()
        if step.changes_protection(mm)
    )


# %% [markdown]
# ### AE-WP-3 {#AE-WP-3}


# %%
@rule(
    "AE-WP-3",
    source="mm/memory.c:do_wp_page, v6.1",
    kernel=("mm/memory.c:do_wp_page",),
    models=BIT_MODELS,
)
def monitor_is_asked_first(step: Step) -> bool:
    """A write fault MUST NOT make a mapping writable while userfaultfd write-protects
    it."""
    return not any(
        isinstance(old, Pte)
        and old.trap == "uffd-wp"
        and isinstance(new, Pte)
        and new.writable
        for mm, _, old, new in step.changes_pte()
        if not step.changes_protection(mm)
    )


# %% [markdown]
# ### AE-WP-4 {#AE-WP-4}
#
# Unsharing is not a write. Linux 5.8 broke COW for readers as if they wrote, and
# monitors were told of writes that nobody made (a308c71bf1e6, 5.9); breaking KSM did
# the same until 6.2 (6cce3314b928). The copy keeps the trap of the page.


# %%
@rule(
    "AE-WP-4",
    source="c89357e27f20 (5.19), mm: support GUP-triggered unsharing of anonymous "
    "pages",
    kernel=("mm/memory.c:wp_page_copy",),
    models=BIT_MODELS,
)
def unsharing_keeps_the_trap(step: Step) -> bool:
    """An unshare fault MUST leave the traps of the mapping as they are."""
    return all(
        new.trap == old.trap
        for mm, va, old, new in step.changes_pte()
        if isinstance(old, Pte) and isinstance(new, Pte) and old.trap
        if step.after.mms[mm.name].tracked[va] == old.trap
        if not new.writable and new.pfn != old.pfn
    )


# %% [markdown]
# ## Writing through a read-only mapping
#
# A debugger writes with FOLL_FORCE where the process may not: into its own private
# copy. GUP asks for a write fault, which leaves the PTE read-only, and walks again.
# What it finds then need not be what the fault left (CVE-2016-5195, 19be0eaffa3a, 4.9).
# To remember that COW was done once is not enough; the page itself must say that it is
# private (CVE-2022-2590).


# %%
def write_force(mm: Mm, va: str, value: int = 0) -> Steps:
    """Write with FOLL_WRITE and FOLL_FORCE (``access_remote_vm``); false if refused."""
    yield from mmap_read_lock(mm)
    mm.asked_gup = True
    foll = Foll(write=True, force=True)
    possible = True
    while possible and not (yield from store_forced(mm, va, value, foll)):
        faulting = FaultFlags(write=True, gup=True, force=True)
        possible = yield from handle_mm_fault(mm, va, faulting)
        foll = replace(foll, cow=mm.vma[va] == "r")
        yield
    mmap_read_unlock(mm)
    return possible


def store_forced(mm: Mm, va: str, value: int, foll: Foll) -> Steps:
    """Write if the PTE allows it, or the page is private (`can_follow_write_pte`)."""
    yield from ptl_lock(mm)
    if mm.pmd is not None:
        yield from mm.pmd.split_huge_pmd(mm)
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte)
    allowed = isinstance(pte, Pte) and page is not None and not pte.trap
    if allowed and isinstance(pte, Pte) and page is not None:
        private = mm.model.may_force(foll, page) or not obey(mm, "AE-WP-5")
        allowed = pte.writable or private
    if allowed and page is not None:
        page.value = value
        page_folio(page).dirty = True
        mm.expected[va] = value
    ptl_unlock(mm)
    return allowed


@sketch
def may_force(foll: Foll, page: Page) -> bool:
    """bit set"""
    return page.anon_exclusive


# %% [markdown]
# ### AE-WP-5 {#AE-WP-5}


# %%
@rule(
    "AE-WP-5",
    source="5535be309971 (6.0), mm/gup: fix FOLL_FORCE COW security issue and remove "
    "FOLL_COW",
    kernel=("mm/gup.c:can_follow_write_pte",),
    models=BIT_MODELS,
)
def forced_write_needs_the_bit(step: Step) -> bool:
    """GUP with FOLL_FORCE MUST NOT write through a read-only PTE to a page whose bit
    is clear."""
    return all(
        mm.pte[va].writable or page.anon_exclusive
        for mm, va, page in forced_writes(step)
    )


def forced_writes(step: Step) -> list[tuple[Mm, str, Page]]:
    """Process, address and page (before) where this step writes under the PTL."""
    return [
        (mm, va, step.before.pages[pte.pfn])
        for name, mm in step.before.mms.items()
        for va in step.before.names.vas
        if {f"{name}.expected[{va}]", f"{name}.ptl"} <= step.written
        for pte in [mm.pte[va]]
        if isinstance(pte, Pte) and f"{pte.pfn}.value" in step.written
    ]


# %% [markdown]
# ## Example
#
# Write protection and a further write bring the page back without a copy, because
# the mapping is its only reference.

# %%
machine = Machine(Names(), sketch)
A = machine.start("A")
assert run(write(A, "x", 1))
run(mprotect(A, "x", "r"))
run(mprotect(A, "x", "rw"))
assert A.pte["x"] == Pte("p1", writable=False)
assert run(write(A, "x", 2))
assert (A.pte["x"], run(read(A, "x"))) == (Pte("p1", writable=True), 2)

# %% [markdown]
# userfaultfd is asked before the write, and a debugger writes where the process may
# not.

# %%
run(uffd_writeprotect(A, "x"))
assert run(write(A, "x", 3))
assert (A.pte["x"], A.tracked["x"]) == (Pte("p1", writable=True), "")

# %%
run(mprotect(A, "x", "r"))
assert not run(write(A, "x", 4))
assert run(write_force(A, "x", 4))
assert (A.pte["x"].writable, run(read(A, "x"))) == (False, 4)
