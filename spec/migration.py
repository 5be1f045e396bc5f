# %% [markdown]
# # Migration: the page moves, the contents stay
#
# Migration gives the same contents another page: on another NUMA node, or away from a
# range that compaction wants free. Every mapping becomes a *migration entry*, the
# contents are copied, and every entry becomes a mapping of the new page.
#
# A reference that GUP returned cannot move along. Migration of a referenced page
# therefore fails in the end, when the count is compared. The sketch rests on that: the
# bit may vanish, since "there are no additional GUP/references on the page that rely
# on it". But the count is compared after the mappings are gone. Until then `fork()`
# finds an entry, and no bit that would tell it to copy.

# %%
from __future__ import annotations

from collections.abc import Iterator

from spec.counts import (
    alloc_page,
    folio_mapped,
    folio_trylock,
    folio_unlock,
    get_page,
    maps,
    ptep_clear_flush,
    ptl_lock,
    ptl_unlock,
    put_page,
    rmap_walk,
    run,
    set_pte_at,
    try_get_page,
    unexpected_references,
    vm_normal_page,
)
from spec.decisions import PROTOCOL, SKETCH, Foll, sketch
from spec.fault import read, write
from spec.fork import fork
from spec.gup import get_user_pages
from spec.gup_fast import put
from spec.lazyfree import held_by_others
from spec.memory import Machine, Mm, Names, Page, Pte, Steps
from spec.migration_entry import (
    MigrationEntry,
    make_migration_entry,
    remove_migration_pte,
)
from spec.reclaim import madvise_pageout
from spec.rules import BIT_MODELS, Step, obey, rule

# %% [markdown]
# ## Unmapping
#
# As in reclaim, each PTE is cleared before the page is looked at. Clearing takes the
# mapping's reference and its `mapcount` along. (Linux uncounts the mapping when the
# entry is in place. What is compared is the difference of the two counts, which is the
# same.)


# %%
def try_to_migrate(page: Page) -> Steps:
    """Replace all mappings by migration entries; false if one has to stay."""
    for mm, va in rmap_walk(page.machine):
        if maps(mm.pte[va], page) and not (yield from try_to_migrate_one(mm, va, page)):
            return False
    return True


def try_to_migrate_one(mm: Mm, va: str, page: Page) -> Steps:
    """Do it for one PTE, unless the page may not be unmapped."""
    yield from ptl_lock(mm)
    pte = mm.pte[va]
    if not isinstance(pte, Pte) or not maps(pte, page):
        ptl_unlock(mm)
        return True
    if obey(mm, "AE-MIGR-1"):
        ptep_clear_flush(mm, va, page)
        yield
    if not may_migrate(mm, page):
        set_pte_at(mm, va, page, pte)
        ptl_unlock(mm)
        return False
    entry = make_migration_entry(mm, pte, page.anon_exclusive)
    if page.anon_exclusive and obey(mm, "AE-MIGR-4"):
        yield
        page.anon_exclusive = False
    if maps(mm.pte[va], page):
        ptep_clear_flush(mm, va, page)
    mm.pte[va] = entry
    ptl_unlock(mm)
    yield
    return True


def may_migrate(mm: Mm, page: Page) -> bool:
    """Whether the page may be taken from a PTE (``folio_try_share_anon_rmap_pte``)."""
    if mm.model.may_unmap(page):
        return True
    return not (obey(mm, "AE-MIGR-2") and obey(mm, "AE-MIGR-3"))


# %% [markdown]
# ## Moving
#
# A page that is still mapped stays: one PTE had to be restored, or KSM has mapped the
# page where the walk had been. When the mappings are gone, the references that are left
# tell whether somebody still uses it: one of the caller, one of the swap cache. For a
# page that is not in the swap cache Linux compares and does not freeze the count
# (`folio_migrate_mapping()`: "No turning back from here"). That suffices. A page that
# no PTE maps gets new references only from a GUP-fast that read the PTE long ago, and
# that one lets go. In the swap cache the count is frozen while the new page takes the
# place of the old one, which is one step here.


# %%
def migrate_folio(page: Page) -> Steps:
    """Move a page (``migrate_pages``); false if it has to stay where it is."""
    machine = page.machine
    if page.head is not None or not try_get_page(page):
        return False
    machine.cpu.hold = page.name
    moved = False
    if folio_trylock(page):
        yield
        moved = not page.writeback and (yield from unmap_and_move(page))
        folio_unlock(page)
    machine.cpu.hold = None
    put_page(page)
    return moved


def unmap_and_move(page: Page) -> Steps:
    """Unmap, move, and map again: the new page, or the old one."""
    new = None
    yield from try_to_migrate(page)
    if not folio_mapped(page):
        new = folio_migrate_mapping(page)
    yield
    if new is not None:
        folio_migrate_copy(page, new)
    yield from remove_migration_ptes(page, new or page)
    if new is not None:
        folio_unlock(new)
        page.machine.cpu.target = None
        put_page(new)
    return new is not None


def folio_migrate_mapping(page: Page) -> Page | None:
    """A new page in place of the old one; ``None`` if somebody uses the old one."""
    if unexpected_references(page) != 0 and obey(page, "AE-MIGR-5"):
        return None
    machine = page.machine
    new = alloc_page(machine)
    machine.cpu.target = new.name
    new.locked = True
    if page.swap is not None:
        get_page(new)
        machine.slots[page.swap].folio = new.name
        new.swap = page.swap
        page.swap = None
        put_page(page)
    return new


def folio_migrate_copy(page: Page, new: Page) -> None:
    """Copy contents and flags; the bit is not among the flags."""
    new.value = page.value
    new.dirty = page.dirty
    new.swapbacked = page.swapbacked
    new.ksm = page.ksm


def remove_migration_ptes(old: Page, new: Page) -> Steps:
    """Map `new` wherever a migration entry of `old` stands."""
    for mm, va in rmap_walk(old.machine):
        if isinstance(mm.pte[va], MigrationEntry):
            yield from remove_migration_pte(mm, va, old, new)


def move_pages(mm: Mm, va: str) -> Steps:
    """Migrate the page that an address maps; false if it is not moved."""
    page = vm_normal_page(mm, mm.pte[va])
    return page is not None and (yield from migrate_folio(page))


# %% [markdown]
# Migration needs no `mmap_lock`. `fork()`, faults and `munmap()` run beside it and see
# entries. The walk that maps the new page finds what `fork()` copied meanwhile, because
# it comes to the child after the parent. Compaction and memory failure pick a page,
# `move_pages()` picks an address; the rest is the same. Pages that are in a large
# folio are left where they are.
#
# ## Rules for unmapping
#
# ### AE-MIGR-1 {#AE-MIGR-1}
#
# Otherwise a GUP-fast that takes its reference after the test finds the PTE
# unchanged and, if it is quick, the bit still set. 088b8aa537c2 (6.1) has the barriers
# that this order needs.


# %%
@rule(
    "AE-MIGR-1",
    source="088b8aa537c2 (6.1), mm: fix PageAnonExclusive clearing racing with "
    "concurrent RCU GUP-fast",
    kernel=("mm/rmap.c:try_to_migrate_one",),
    models=(*BIT_MODELS, "carry"),
)
def pte_is_cleared_first(step: Step) -> bool:
    """Migration MUST clear a PTE before it decides to put a migration entry in its
    place."""
    return not any(isinstance(new, MigrationEntry) for *_, new in step.unmaps())


# %% [markdown]
# ### AE-MIGR-2 {#AE-MIGR-2}
#
# The sketch's sentence, made true: the migration that would fail anyway fails before
# anybody can see an entry. The alternative is to carry the bit in the entry and to copy
# at `fork()`. If the bit is clear nobody relies on the page, and no count is looked at.


# %%
def takes(step: Step) -> Iterator[Page]:
    """Pages (before) in whose place a migration entry appears."""
    for _, _, old, new in step.changes_pte():
        if isinstance(new, MigrationEntry) and not isinstance(old, MigrationEntry):
            yield step.before.pages[new.pfn]


@rule("AE-MIGR-2", source=SKETCH, kernel=("mm/rmap.c:try_to_migrate_one",))
def referenced_page_is_not_migrated(step: Step) -> bool:
    """Migration MUST NOT put a migration entry in place of a page that GUP returned to
    somebody who still holds it and may rely on it."""
    return not any(held_by_others(step.before, page) for page in takes(step))


# %% [markdown]
# ### AE-MIGR-3 {#AE-MIGR-3}
#
# What upstream promises instead. A FOLL_GET reference makes the migration fail later
# ([AE-MIGR-5](#AE-MIGR-5)), and a `fork()` in between costs it its page. When one PTE
# is refused the whole migration is given up (7f5abe609b3d, 5.19): to unmap the rest
# would be wasted.


# %%
@rule(
    "AE-MIGR-3",
    source=PROTOCOL,
    kernel=("include/linux/rmap.h:folio_try_share_anon_rmap_pte",),
    models=("upstream", "always"),
)
def pinned_page_is_not_migrated(step: Step) -> bool:
    """Migration MUST NOT put a migration entry in place of a page that is pinned."""
    return not any(
        ref.state == "live" and ref.pin and ref.pfn == page.name
        for page in takes(step)
        for ref in step.before.refs.values()
    )


# %% [markdown]
# ### AE-MIGR-4 {#AE-MIGR-4}
#
# `fork()` shares what an entry leads to and sees no page whose bit it could clear. If
# the migration then fails, the old page is mapped twice.


# %%
@rule(
    "AE-MIGR-4",
    source=PROTOCOL,
    kernel=("mm/rmap.c:try_to_migrate_one",),
    models=(*BIT_MODELS, "carry"),
)
def bit_is_cleared_before_the_entry(step: Step) -> bool:
    """Migration MUST clear the bit of a page before it puts a migration entry in its
    place."""
    return not any(step.after.pages[page.name].anon_exclusive for page in takes(step))


# %% [markdown]
# ## Rules for mapping again
#
# ### AE-MIGR-5 {#AE-MIGR-5}
#
# In the sketch nobody relies on a page that was unmapped, and no guarantee depends on
# this rule. Upstream it is what keeps the page of a FOLL_GET reference in place.


# %%
@rule(
    "AE-MIGR-5",
    source="mm/migrate.c:folio_migrate_mapping, v6.1",
    kernel=("mm/migrate.c:folio_migrate_mapping",),
    models=("upstream", "always", "carry", "sketch"),
)
def referenced_page_stays(step: Step) -> bool:
    """Migration MUST NOT map another page in place of one that somebody holds a
    reference to."""
    moved = {
        old.pfn
        for _, _, old, new in step.brings_back()
        if isinstance(old, MigrationEntry) and new.pfn != old.pfn
    }
    return not any(
        ref.state == "live" and ref.pfn in moved for ref in step.before.refs.values()
    )


# %% [markdown]
# ## Example
#
# While somebody holds a reference the page stays, and keeps the bit. Afterwards it
# moves, and the bit is gone.

# %%
machine = Machine(Names(refs=("r",), slots=("s1",)), sketch)
A, r = machine.start("A"), machine.refs["r"]
run(write(A, "x", 1))
run(get_user_pages(A, "x", r, Foll()))
assert not run(move_pages(A, "x"))
assert A.pte["x"] == Pte("p1", writable=True)
assert machine.pages["p1"].anon_exclusive

# %%
put(A, r)
assert run(move_pages(A, "x"))
assert A.pte["x"] == Pte("p2", writable=True)
assert machine.pages["p2"].value == 1
assert not machine.pages["p2"].anon_exclusive

# %% [markdown]
# A page that two processes share moves for both, and the swap cache moves along.

# %%
run(madvise_pageout(A, "x"))
run(read(A, "x"))
run(fork(A, machine.mms["B"]))
assert run(move_pages(A, "x"))
assert A.pte["x"] == machine.mms["B"].pte["x"] == Pte("p2", writable=False)
assert machine.slots["s1"].folio == "p2"
