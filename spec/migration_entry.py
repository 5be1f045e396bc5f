# %% [markdown]
# # Migration entries: what stands where a page was
#
# While a page is being moved, a *migration entry* stands in each PTE that mapped it.
# The entry has to say what the mapping will be when the page is back: whether the CPU
# may write, and perhaps whether the page is exclusive. This chapter defines the entry
# and what faults, `fork()` and `mprotect()` do with it; the next one has the migration
# itself.

# %%
from __future__ import annotations

from dataclasses import dataclass, replace

from spec.counts import (
    alloc_page,
    page_folio,
    ptl_lock,
    ptl_unlock,
    references_through,
    run,
    set_pte_at,
)
from spec.decisions import PROTOCOL, FaultFlags, sketch
from spec.fault import write
from spec.fork import copy_present_page, fork
from spec.memory import Machine, Mm, Names, NonPresent, Page, Pte, Steps
from spec.reclaim import madvise_pageout
from spec.rules import ALL_MODELS, Step, obey, rule

# %% [markdown]
# ## The entry
#
# There are three kinds. `writable` and `readable` say what the CPU may do once the
# page is mapped again. `readable-exclusive` is mapped read-only and its page gets the
# bit back; a writable entry says so too, because upstream a writable PTE implies the
# bit ([AE-SET-5](bit.py#AE-SET-5)). In the sketch an entry remembers nothing about the
# bit, and there is no third kind.
#
# An entry is no mapping: it counts neither in `refcount` nor in `mapcount`. Only a
# migration entry leads to a page that way; confusing it with a swap entry crashed
# `mprotect()` (3d2f78f08cd8, 6.0), and taking an entry that is not readable for an
# exclusive one crashed `fork()` of huge pages (c2cb0dcce9dd, 5.19).


# %%
@dataclass(frozen=True, slots=True)
class MigrationEntry(NonPresent):
    """What stands in a PTE while the page that it mapped is being moved.

    `kind` is ``writable``, ``readable-exclusive`` or ``readable``; `trap` is kept for
    the PTE to come.
    """

    pfn: str
    kind: str
    trap: str = ""

    def __repr__(self) -> str:
        return f"migration {self.pfn} {self.kind} {self.trap}".rstrip()

    def leads_to(self, machine: Machine) -> str:
        """The page under migration."""
        return self.pfn

    def do_swap_page(self, mm: Mm, va: str, flags: FaultFlags) -> Steps:
        """Wait until the migration is over (``migration_entry_wait``)."""
        folio = page_folio(mm.machine.pages[self.pfn])
        while folio.locked:
            yield lambda: not folio.locked

    def copy_nonpresent_pte(self, mm: Mm, child: Mm, va: str) -> Steps:
        """Share the page to come: neither process may write, neither owns it."""
        page = mm.machine.pages[self.pfn]
        if not mm.model.may_share_entry(page, self.exclusive(mm)):
            copy_present_page(mm, child, va, page)
            return
        shared = replace(self, kind="readable") if obey(mm, "AE-MIGR-6") else self
        for ref in references_through(mm, va):
            ref.protected = ref.protected and mm.model.protects_across_fork(ref)
        mm.pte[va] = shared
        child.pte[va] = shared
        yield from ()

    def change_nonpresent_pte(self, mm: Mm, va: str) -> None:
        """Take the permission to write, and nothing else."""
        if self.kind == "writable":
            keeps = self.exclusive(mm) and obey(mm, "AE-MIGR-8")
            kind = "readable-exclusive" if keeps else "readable"
            mm.pte[va] = replace(self, kind=kind)

    def exclusive(self, mm: Mm) -> bool:
        """Whether the page gets the bit back."""
        page = mm.machine.pages[self.pfn]
        return self.kind != "readable" and mm.model.entry_remembers(page)


# %% [markdown]
# A fault waits for the folio lock, which the migration holds from beginning to end;
# then the access is tried again. GUP waits in the same fault.
#
# ## From a PTE to an entry and back


# %%
def make_migration_entry(mm: Mm, pte: Pte, exclusive: bool) -> MigrationEntry:
    """The entry that takes the place of `pte` (``make_*_migration_entry``)."""
    remembers = mm.model.entry_remembers(mm.machine.pages[pte.pfn])
    kind = "readable"
    if pte.writable and (exclusive or not remembers):
        kind = "writable"
    elif exclusive and remembers:
        kind = "readable-exclusive"
    return MigrationEntry(pte.pfn, kind, "" if pte.trap == "numa" else pte.trap)


def remove_migration_pte(mm: Mm, va: str, old: Page, new: Page) -> Steps:
    """Map `new` if a migration entry of `old` stands there."""
    yield from ptl_lock(mm)
    entry = mm.pte[va]
    if isinstance(entry, MigrationEntry) and entry.pfn == old.name:
        if entry.exclusive(mm):
            new.anon_exclusive = obey(mm, "AE-MIGR-8")
        writable = entry.kind == "writable" or not obey(mm, "AE-MIGR-7")
        set_pte_at(mm, va, new, Pte(new.name, writable, entry.trap))
    ptl_unlock(mm)
    yield


# %% [markdown]
# ## Rules
#
# ### AE-MIGR-6 {#AE-MIGR-6}
#
# Two entries lead to one page from then on, and no PTE is there to be write-protected.


# %%
@rule(
    "AE-MIGR-6",
    source=PROTOCOL,
    kernel=("mm/memory.c:copy_nonpresent_pte",),
    models=(*ALL_MODELS, "carry"),
)
def shared_entry_is_readable(step: Step) -> bool:
    """fork MUST make a migration entry readable in both processes."""
    return all(
        entry.kind == theirs.kind == "readable"
        for child, va, _, entry in step.changes_pte()
        if isinstance(entry, MigrationEntry) and child.state == "forking"
        for theirs in [step.after.mms[str(child.parent)].pte[va]]
        if isinstance(theirs, MigrationEntry) and theirs.pfn == entry.pfn
    )


# %% [markdown]
# ### AE-MIGR-7 {#AE-MIGR-7}


# %%
@rule(
    "AE-MIGR-7",
    source="mm/migrate.c:remove_migration_pte, v6.1",
    kernel=("mm/migrate.c:remove_migration_pte",),
    models=(*ALL_MODELS, "carry"),
)
def only_a_writable_entry_is_written(step: Step) -> bool:
    """A page that is mapped in place of a migration entry MUST NOT become writable
    unless the entry is writable."""
    return all(
        old.kind == "writable" or not new.writable
        for _, _, old, new in step.brings_back()
        if isinstance(old, MigrationEntry)
    )


# %% [markdown]
# ### AE-MIGR-8 {#AE-MIGR-8}
#
# For a model whose entries remember the bit. `fork()` alone may make an exclusive entry
# readable; `mprotect()` makes a writable one readable-exclusive. The sketch does not
# need the rule: nobody relies on a page that was unmapped
# ([AE-MIGR-2](migration.py#AE-MIGR-2)), and the next GUP request sets the bit again.


# %%
@rule(
    "AE-MIGR-8",
    source=PROTOCOL,
    kernel=("mm/migrate.c:remove_migration_pte", "mm/mprotect.c:change_pte_range"),
    models=("upstream", "always", "carry"),
)
def exclusive_entry_stays_exclusive(step: Step) -> bool:
    """Whoever replaces a writable or readable-exclusive migration entry MUST preserve
    exclusivity, in the new entry or in the bit of the page, unless a child shares the
    page."""
    return all(
        new.kind != "readable" or mm in step.forking()
        if isinstance(new, MigrationEntry)
        else step.after.pages[new.pfn].anon_exclusive
        for mm, _, old, new in step.changes_pte()
        if isinstance(old, MigrationEntry) and old.kind != "readable"
        if isinstance(new, Pte | MigrationEntry)
    )


# %% [markdown]
# ## Entries for devices
#
# A device-exclusive entry takes a page from the CPU so that a device can do atomic
# accesses; `make_device_exclusive()` demands a page that a write fault has just made
# exclusive. A device-private page is memory of a device. Both entries are like
# mappings: they count in `refcount` and `mapcount`, and the bit stays on the page.
# `fork()` turns the first into a PTE before it decides, and cannot find the second
# pinned. Which page such an entry names has to be known before its bit is read
# (1118234e4bc2, 5.19).
#
# ### AE-ASM-5 {#AE-ASM-5}


# %%
@rule("AE-ASM-5", source="mm/memory.c:copy_nonpresent_pte, v6.1", over="assumption")
def device_entries_are_mappings(machine: Machine) -> bool:
    """A device-exclusive or device-private entry is treated as a read-only mapping of
    its page; such entries are not modelled."""
    return True


# %% [markdown]
# ## Example
#
# A migration entry leads to its page. A swap entry leads to one only while the swap
# cache has it.

# %%
machine = Machine(Names(slots=("s1",)), sketch)
A = machine.start("A")
run(write(A, "x", 1))
run(madvise_pageout(A, "x"))
assert A.pte["x"].leads_to(machine) is None
entry = make_migration_entry(A, Pte("p1", writable=True), exclusive=False)
assert entry == MigrationEntry("p1", "writable")
assert entry.leads_to(machine) == "p1"

# %% [markdown]
# The process forks before its page is back. Neither process may write to it then.

# %%
machine = Machine(Names(), sketch)
A, B = machine.start("A"), machine.mms["B"]
old, new = alloc_page(machine), alloc_page(machine)
A.pte["x"] = entry
run(fork(A, B))
assert A.pte["x"] == B.pte["x"] == MigrationEntry("p1", "readable")
run(remove_migration_pte(A, "x", old, new))
assert A.pte["x"] == Pte("p2", writable=False)
