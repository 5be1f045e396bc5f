# %% [markdown]
# # Write protection that must not cost ownership
#
# Many things make a PTE read-only without sharing the page: `mprotect()`, soft-dirty
# tracking, userfaultfd, NUMA hints. None of them may take the page from its owner.

# %%
from __future__ import annotations

from spec.counts import (
    mapped_page,
    mmap_write_lock,
    mmap_write_unlock,
    ptl_lock,
    ptl_unlock,
    run,
    vm_normal_page,
)
from spec.decisions import sketch
from spec.fault import read, write
from spec.memory import Machine, Mm, Names, NonPresent, Page, Pte, Steps
from spec.rules import ALL_MODELS, Step, obey, rule

# %% [markdown]
# ## mprotect
#
# ### AE-WP-1 {#AE-WP-1}
#
# `mprotect(PROT_READ)` and back must not turn a shared page writable: the second
# call may skip the fault only where the fault would keep the page anyway.


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
    if page is not None and protection == "r":
        mm.pte[va] = Pte(page.name, writable=False)
        if not obey(mm, "AE-CLR-1"):
            page.anon_exclusive = False
    elif page is not None and (mm.model.may_upgrade(page) or not obey(mm, "AE-WP-1")):
        mm.pte[va] = Pte(page.name, writable=True)
    ptl_unlock(mm)


@sketch
def may_upgrade(page: Page) -> bool:
    """bit set"""
    return mapped_page(page).anon_exclusive


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
