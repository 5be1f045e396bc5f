# %% [markdown]
# # Swap entries: fault, fork, swapoff
#
# A swap entry stands in a PTE whose page was written to a swap slot. The contents may
# still be in memory: the swap cache keeps a folio for a slot until reclaim can free it.
# This chapter has the entry and what faults, `fork()`, `munmap()` and `swapoff()` do
# with it. How a page gets there is the next chapter.

# %%
from __future__ import annotations

from dataclasses import dataclass, replace

from spec.bit import others, places
from spec.counts import (
    add_mapping,
    add_to_swap_cache,
    alloc_page,
    folio_free_swap,
    folio_lock,
    folio_unlock,
    get_page,
    ptl_lock,
    ptl_unlock,
    put_page,
    references_through,
    rmap_walk,
    run,
    swap_free,
)
from spec.decisions import FaultFlags, sketch
from spec.fault import read, write
from spec.memory import Machine, Mm, Names, NonPresent, Page, Pte, Slot, Steps
from spec.rules import ALL_MODELS, Step, may, obey, rule

# %% [markdown]
# ## The entry
#
# `exclusive` is the marker that upstream keeps in the swap PTE (`pte_swp_exclusive`,
# 1493a1913e34, 5.19): the page had the bit when it was unmapped. In the sketch an entry
# remembers nothing.


# %%
@dataclass(frozen=True, slots=True)
class SwapEntry(NonPresent):
    """What stands in a PTE while its page is swapped out."""

    slot: str
    exclusive: bool = False

    def __repr__(self) -> str:
        return f"swap {self.slot}{' exclusive' if self.exclusive else ''}"

    def leads_to(self, machine: Machine) -> str | None:
        """The page that the swap cache has for the slot."""
        return machine.slots[self.slot].folio

    def names(self, slot: Slot) -> bool:
        """Whether it is a swap entry of `slot`."""
        return self.slot == slot.name

    def do_swap_page(self, mm: Mm, va: str, flags: FaultFlags) -> Steps:
        """Bring the page back; a write to it faults again if it is mapped R/O."""
        yield from do_swap_page(mm, va, self, flags)

    def copy_nonpresent_pte(self, mm: Mm, child: Mm, va: str) -> Steps:
        """Share the slot with the child."""
        copy_swap_pte(mm, child, va, self)
        yield from ()

    def zap_nonpresent_pte(self, mm: Mm, va: str) -> None:
        """Uncount the entry; the last one takes the folio out of the swap cache."""
        slot = mm.machine.slots[self.slot]
        swap_free(slot)
        page = mm.machine.pages.get(str(slot.folio))
        if page is not None and not page.locked:
            folio_free_swap(page)


# %% [markdown]
# ## Swap-in
#
# A fault looks for the folio in the swap cache. If it is not there it allocates one,
# puts it into the swap cache and reads the slot. That is one step here: the folio is
# locked until it is read, so that nobody can use it earlier. Then the folio lock keeps
# reclaim away, and the page table lock keeps everybody else from the entry.


# %%
def do_swap_page(mm: Mm, va: str, entry: SwapEntry, flags: FaultFlags) -> Steps:
    """Map the page of a swap entry again, if the entry is still there."""
    page = swapin_folio(mm.machine.slots[entry.slot])
    if page is None:
        return
    yield
    yield from folio_lock(page)
    if page.swap == entry.slot or not obey(mm, "AE-SWAP-9"):
        yield from ptl_lock(mm)
        if mm.pte[va] == entry or not obey(mm, "AE-SWAP-8"):
            set_swapped_pte(mm, va, entry, page, flags)
        ptl_unlock(mm)
    yield
    folio_unlock(page)
    if mm.machine.cpu.hold is not None:
        mm.machine.cpu.hold = None
        put_page(page)


def swapin_folio(slot: Slot) -> Page | None:
    """The folio of a slot, held: from the swap cache, or read; ``None`` if free."""
    machine = slot.machine
    if slot.count == 0:
        return None
    if slot.folio is not None:
        page = machine.pages[slot.folio]
        get_page(page)
    else:
        page = alloc_page(machine)
        page.value = slot.value
        if slot.count > 1 or obey(page, "AE-SWAP-9"):
            add_to_swap_cache(page, slot)
            page.dirty = False
    machine.cpu.hold = page.name
    return page


def set_swapped_pte(
    mm: Mm, va: str, entry: SwapEntry, page: Page, flags: FaultFlags
) -> None:
    """Replace the entry by a PTE; the reference that the fault holds becomes its."""
    exclusive = is_exclusive(mm, entry, page)
    own = exclusive or mm.model.swapin_reuses(page)
    if exclusive:
        page.anon_exclusive = True
    add_mapping(mm, va, page, writable=own and flags.write)
    mm.machine.cpu.hold = None
    swap_free(mm.machine.slots[entry.slot])


def is_exclusive(mm: Mm, entry: SwapEntry, page: Page) -> bool:
    """Does the page get the bit? While it is written to some devices it need not."""
    if not obey(mm, "AE-SWAP-10"):
        return mm.model.entry_remembers(page)
    if not mm.model.swapin_exclusive(page, entry.exclusive):
        return False
    return not (page.writeback and may(mm, "AE-SWAP-12"))


# %% [markdown]
# Linux goes on to `do_wp_page()` for a write that may not be mapped writable yet. Here
# the access faults again. Linux may also read ahead, and up to 7.1 it read slots with a
# single entry past the swap cache on some devices; the rules are the same.
#
# ## fork and swapoff
#
# The child's entry names the same slot. Which of the two processes comes first makes no
# difference afterwards, so neither can be exclusive.


# %%
def copy_swap_pte(mm: Mm, child: Mm, va: str, entry: SwapEntry) -> None:
    """Count the child's entry (``copy_nonpresent_pte``), or give it a copy."""
    slot = mm.machine.slots[entry.slot]
    page = mm.machine.pages.get(str(slot.folio))
    if page is not None and not mm.model.may_share_entry(page, entry.exclusive):
        new = alloc_page(mm.machine)
        new.value = page.value
        add_mapping(child, va, new, writable=mm.vma[va] == "rw")
        return
    for ref in references_through(mm, va):
        ref.protected = ref.protected and mm.model.protects_across_fork(ref)
    shared = replace(entry, exclusive=False) if obey(mm, "AE-SWAP-11") else entry
    slot.count += 1
    mm.pte[va] = shared
    child.pte[va] = shared


def swapoff(machine: Machine) -> Steps:
    """Bring back everything (``try_to_unuse``); what is mapped is mapped R/O."""
    for mm, va in rmap_walk(machine):
        entry = mm.pte[va]
        if isinstance(entry, SwapEntry):
            yield from do_swap_page(mm, va, entry, FaultFlags())


# %% [markdown]
# ## Rules for swap-in
#
# ### AE-SWAP-8 {#AE-SWAP-8}
#
# While the fault read the slot, another thread may have brought the page back, or
# `munmap()` may have taken the address away.


# %%
@rule(
    "AE-SWAP-8",
    source="mm/memory.c:do_swap_page, v6.1",
    kernel=("mm/memory.c:do_swap_page",),
    models=ALL_MODELS,
)
def swapin_replaces_the_entry(step: Step) -> bool:
    """A swap-in MUST NOT map a page unless the PTE holds, under the page table lock,
    a swap entry of the page's slot."""
    return all(
        isinstance(old, SwapEntry) and old.slot == page.swap
        for page in mapped_by_the_holder(step)
        for mm, va in places(step.after, page)
        if f"{mm}.pte[{va}]" in step.written
        for old in [step.before.mms[mm.name].pte[va]]
    )


def mapped_by_the_holder(step: Step) -> list[Page]:
    """Pages (before) of the swap cache whose temporary reference becomes a mapping."""
    machine = step.before
    return [
        machine.pages[cpu.hold]
        for name, cpu in machine.cpus.items()
        if f"{name}.hold" in step.written and cpu.hold is not None
        if machine.pages[cpu.hold].swap is not None
        if f"{cpu.hold}.mapcount" in step.written
    ]


# %% [markdown]
# ### AE-SWAP-9 {#AE-SWAP-9}
#
# Two faults that read one slot into two pages: the first maps its page, the process
# writes to it, reclaim swaps it out and happens to get the same slot again. The entry
# that the second fault finds is then equal to the one that it began with, and it maps
# what it read long ago (13ddaf26be32, 6.8). A variant lost data when the device freed
# the slot at the first read (e914d8f00391, 5.18).


# %%
@rule(
    "AE-SWAP-9",
    source="13ddaf26be32 (6.8), mm/swap: fix race when skipping swapcache",
    kernel=("mm/memory.c:do_swap_page",),
    models=ALL_MODELS,
)
def slot_is_claimed_before_it_is_read(step: Step) -> bool:
    """A swap-in MUST map only a page that the swap cache has had for the slot since
    before the slot was read."""
    return all(
        step.before.pages[new.pfn].swap == old.slot
        for _, _, old, new in step.brings_back()
        if isinstance(old, SwapEntry)
    )


# %% [markdown]
# ### AE-SWAP-10 {#AE-SWAP-10}
#
# Nothing but the marker says that a swapped page belonged to one process. A slot may
# have several entries, and who faults first is not the owner.


# %%
@rule(
    "AE-SWAP-10",
    source="1493a1913e34 (5.19), mm/swap: remember PG_anon_exclusive via a swp pte bit",
    kernel=("mm/memory.c:do_swap_page",),
    models=("upstream", "always", "carry"),
)
def exclusive_by_the_marker(step: Step) -> bool:
    """A swap-in MUST NOT set the bit of a page unless the swap entry is marked
    exclusive."""
    return all(
        old.exclusive
        for _, _, old, new in step.brings_back()
        if isinstance(old, SwapEntry) and step.after.pages[new.pfn].anon_exclusive
    )


# %% [markdown]
# ### AE-SWAP-11 {#AE-SWAP-11}


# %%
@rule(
    "AE-SWAP-11",
    source="1493a1913e34 (5.19), mm/swap: remember PG_anon_exclusive via a swp pte bit",
    kernel=("mm/memory.c:copy_nonpresent_pte",),
    models=("upstream", "always", "carry"),
)
def shared_entry_has_no_marker(step: Step) -> bool:
    """fork MUST clear the exclusive marker of a swap entry that it shares, in the
    parent and in the child."""
    return not any(
        entry.exclusive
        for child, va, old, new in step.changes_pte()
        if child.state == "forking" and isinstance(new, SwapEntry)
        for entry in (new, step.after.mms[str(child.parent)].pte[va])
        if isinstance(entry, SwapEntry)
    )


# %% [markdown]
# ### AE-SWAP-12 {#AE-SWAP-12}
#
# Devices with stable writes (`SWP_STABLE_WRITES`) may not see the page change while it
# is being written. Mapping it without the bit makes the next write copy. That is safe
# only because writeback begins when nobody has a reference
# ([AE-SWAP-5](writeback.py#AE-SWAP-5)), and nobody gets one while nothing maps the
# page.


# %%
def back_during_writeback(step: Step, exclusive: bool) -> bool:
    """A marked entry is replaced while its page is being written."""
    return any(
        old.exclusive
        and step.before.pages[new.pfn].writeback
        and step.after.pages[new.pfn].anon_exclusive == exclusive
        for _, _, old, new in step.brings_back()
        if isinstance(old, SwapEntry)
    )


@rule(
    "AE-SWAP-12",
    source="mm/memory.c:do_swap_page, v6.1",
    kernel=("mm/memory.c:do_swap_page",),
    models=("upstream", "always"),
    taken=lambda step: back_during_writeback(step, exclusive=False),
    declined=lambda step: back_during_writeback(step, exclusive=True),
)
def marker_may_be_ignored(step: Step) -> bool:
    """A swap-in MAY leave the bit of a page clear while the page is under writeback,
    whatever the swap entry says."""
    return not any(
        others(step.before, mm, step.before.pages[new.pfn])
        for mm, _, old, new in step.brings_back()
        if isinstance(old, SwapEntry) and step.after.pages[new.pfn].anon_exclusive
    )


# %% [markdown]
# ## The sketch's answers


# %%
@sketch
def swapin_exclusive(page: Page, remembered: bool) -> bool:
    """no: nobody has asked"""
    return False


@sketch
def swapin_reuses(page: Page) -> bool:
    """no: the write fault decides afterwards"""
    return False


@sketch
def may_share_entry(page: Page, remembered: bool) -> bool:
    """any: no entry has a reference that relies on it"""
    return True


# %% [markdown]
# ## Example
#
# A slot holds the contents. The read brings the page back, read-only; the swap cache
# keeps the folio. The write that follows drops the slot and keeps the page.

# %%
machine = Machine(Names(slots=("s1",)), sketch)
A, slot = machine.start("A"), machine.slots["s1"]
slot.count, slot.value = 1, 7
A.pte["x"], A.expected["x"] = SwapEntry("s1"), 7
assert run(read(A, "x")) == 7
assert (A.pte["x"], slot.folio, slot.count) == (Pte("p1", writable=False), "p1", 0)

# %%
run(write(A, "x", 8))
assert (A.pte["x"], slot.folio) == (Pte("p1", writable=True), None)
