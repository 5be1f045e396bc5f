# %% [markdown]
# # What the protocol promises
#
# Rules speak of one step. Guarantees speak of what a user of the kernel sees. The
# checker evaluates each of them in every reachable state; removing a MUST rule
# breaks one of them, or the rule's page says why not.

# %%
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from spec.bit import heirs, mappings, others
from spec.counts import bit_of, folio_pages, page_folio, run, walk
from spec.decisions import SKETCH, Foll, sketch
from spec.fault import munmap, write
from spec.fork import fork
from spec.gup import get_user_pages
from spec.gup_fast import put
from spec.memory import Machine, Mm, Names, NonPresent, Page, Pte, Reference, Slot
from spec.rules import ALL_MODELS, BIT_MODELS, Step, rule

# %% [markdown]
# ## No missed COW
#
# A process writes through a writable PTE or through a R/W reference that its model
# protects. If at that moment another process maps the page, or somebody holds a
# reference that another process took, the write reaches them: a leak, whatever the
# values are. References that only read count as well, protected or not. So do swap
# and migration entries whose fault will map the page.
#
# ### AE-INV-1 {#AE-INV-1}


# %%
def returned(machine: Machine, page: Page) -> list[Reference]:
    """The references to `page` that GUP returned."""
    return [
        ref
        for ref in machine.refs.values()
        if ref.state == "live" and ref.pfn == page.name
    ]


def writers(machine: Machine, page: Page) -> set[str]:
    """The processes that can write to `page` now, without a fault."""
    by_cpu = {mm.name for mm, pte in mappings(machine, page) if pte.writable}
    by_device = {
        str(ref.mm) for ref in returned(machine, page) if ref.write and ref.protected
    }
    return by_cpu | by_device


@rule("AE-INV-1", rev=2, source="CVE-2020-29374", over="state", models=ALL_MODELS)
def no_missed_cow(machine: Machine) -> bool:
    """What one process, or a protected reference of it, writes never reaches
    another process or its references."""
    return not any(
        others(machine, machine.mms[writer], page)
        for page in machine.pages.values()
        if page_folio(page).refcount > 1
        for writer in writers(machine, page)
    )


# %% [markdown]
# ## No wrong COW
#
# The promise to the holder of a reference. Which references are protected is part
# of the model ([table](../reference/models.md)); unmapping the address ends it.
#
# ### AE-INV-2 {#AE-INV-2}


# %%
@rule("AE-INV-2", rev=2, source=SKETCH, over="state", models=ALL_MODELS)
def no_wrong_cow(machine: Machine) -> bool:
    """While a protected reference lives and its address was not unmapped, the
    address maps the referenced page."""
    for ref in machine.refs.values():
        if ref.state == "live" and ref.protected:
            pte = walk(machine.mms[str(ref.mm)], str(ref.va))
            if pte is not None and pte.pfn != ref.pfn:
                return False
    return True


# %% [markdown]
# ## Exact counts
#
# Nothing leaks and nothing is used after it was freed.
#
# ### AE-INV-3 {#AE-INV-3}


# %%
@rule(
    "AE-INV-3",
    rev=2,
    source="include/linux/mm_types.h, v6.1",
    over="state",
    models=ALL_MODELS,
)
def counts_are_exact(machine: Machine) -> bool:
    """refcount is the number of mappings, GUP references, swap cache and temporary
    references of a folio, mapcount that of mappings, pincount that of pins; a slot
    counts its swap entries."""
    mapped = Counter(mapped_pages(machine))
    return all(
        (page.refcount, page.pincount) == holders(machine, page, mapped)
        and page.mapcount == mapped[page.name]
        for page in machine.pages.values()
    ) and all(
        slot.count == slot_users(machine, slot) for slot in machine.slots.values()
    )


def mapped_pages(machine: Machine) -> Iterator[str]:
    """The name of the page that each PTE maps, once for each such PTE."""
    for mm in machine.mms.values():
        for va in machine.names.vas:
            pte = mm.pte[va]
            if isinstance(pte, Pte):
                yield pte.pfn


def slot_users(machine: Machine, slot: Slot) -> int:
    """How many swap entries name `slot`."""
    return sum(
        isinstance(pte, NonPresent) and pte.names(slot)
        for mm in machine.mms.values()
        for va in machine.names.vas
        for pte in [mm.pte[va]]
    )


def holders(
    machine: Machine, folio: Page, mapped: Mapping[str, int]
) -> tuple[int, int]:
    """What `refcount` and `pincount` of a head should be; zeros for a tail page.

    Args:
        machine: where all holders are.
        folio: a page.
        mapped: for each page, how many PTEs map it.
    """
    if page_folio(folio) != folio:
        return 0, 0
    parts = folio_pages(folio)
    names = {part.name for part in parts}
    ptes = sum(mapped[name] for name in names)
    pmds = [mm.pmd for mm in machine.mms.values()]
    whole = sum(pmd is not None and pmd.head() == folio.name for pmd in pmds)
    refs = [ref for ref in machine.refs.values() if ref.pfn in names]
    cpus = machine.cpus.values()
    held = sum((cpu.hold in names) + (cpu.target in names) for cpu in cpus)
    cache = len(parts) if folio.swap is not None else 0
    return ptes + whole + len(refs) + held + cache, sum(ref.pin for ref in refs)


# %% [markdown]
# ## The bit tells the truth
#
# ### AE-INV-4 {#AE-INV-4}


# %%
@rule("AE-INV-4", rev=2, source=SKETCH, over="state", models=BIT_MODELS)
def exclusive_page_has_one_mapping(machine: Machine) -> bool:
    """A page whose bit is set has at most one mapping, and no swap or migration entry
    leads to it."""
    return all(
        len(list(mappings(machine, page))) + len(list(heirs(machine, page))) <= 1
        for page in machine.pages.values()
        if page.anon_exclusive
    )


# %% [markdown]
# ## fork is free for those who never ask GUP
#
# The sketch's "no GUP->no fork() performance changes", as a counted cost. The
# model has transient references, so that a `fork()` that looked at the count would
# be caught copying.
#
# ### AE-INV-5 {#AE-INV-5}


# %%
@rule("AE-INV-5", source=SKETCH, over="step")
def fork_copies_nothing_unasked(step: Step) -> bool:
    """fork of a process on whose behalf GUP was never asked copies no page."""
    return all(step.parent_of(child).asked_gup for child, _ in step.copies_into_child())


# %% [markdown]
# ## The lemma
#
# The sketch ends with a question: do "page is PTE mapped in the page table I'm
# walking" and "page_count() == 1" really mean that this is the only reference?
#
# ### AE-INV-6 {#AE-INV-6}
#
# They do, at the instant of the test. They do not go on to: GUP-fast of the same
# process needs no lock to raise the count. The checker requires that such a step is
# reached (the witness `count rises under the lock`), so the limit is shown and not
# only stated. Setting the bit after the test is sound nevertheless
# ([AE-SET-2](bit.py#AE-SET-2)); sharing the page after it needs the sequence count
# ([AE-FAST-4](gup_fast.py#AE-FAST-4)).


# %%
@rule("AE-INV-6", source=SKETCH, over="state", models=ALL_MODELS)
def one_reference_is_the_mapping(machine: Machine) -> bool:
    """If a page table maps a page whose refcount is 1, that mapping is the only
    reference to the page."""
    return all(
        holders(machine, page, Counter(mapped_pages(machine)))[0] == 1
        for page in machine.pages.values()
        if page.refcount == 1 and page.mapcount > 0
    )


def count_rises_under_the_lock(step: Step) -> bool:
    """The count of a singly referenced page rises while the PTL is held."""
    return any(
        page.refcount == 1 and step.after.pages[page.name].refcount > 1 and mm.ptl
        for page in step.before.pages.values()
        if f"{page.name}.refcount" in step.written
        for mm, _ in mappings(step.before, page)
        if step.after.mms[mm.name].ptl
    )


# %% [markdown]
# ## What a holder can count on
#
# "R/O pin of an anonymous page always pins an exclusive page, even when mapped R/O"
# (same author, 2021-12-21), for every reference that the model protects.
#
# ### AE-INV-7 {#AE-INV-7}


# %%
@rule(
    "AE-INV-7", rev=3, source="Hildenbrand, 2021-12-21", over="state", models=BIT_MODELS
)
def protected_page_is_exclusive(machine: Machine) -> bool:
    """An anonymous page to which a protected reference lives has its bit set whenever
    the address maps a page."""
    return all(
        bit_of(machine.pages[str(ref.pfn)]).anon_exclusive
        or walk(machine.mms[str(ref.mm)], str(ref.va)) is None
        for ref in machine.refs.values()
        if ref.state == "live" and ref.protected and ref.pfn in machine.pages
    )


# %% [markdown]
# ## No lost write
#
# Reclaim and migration move contents about. Ghost state notes for each address what
# was written last, by the process or by the holder of a protected reference; what is
# written through a reference without a promise leaves open what a read gives.
#
# ### AE-INV-8 {#AE-INV-8}


# %%
@rule("AE-INV-8", source="13ddaf26be32 (6.8)", over="state", models=ALL_MODELS)
def no_lost_write(machine: Machine) -> bool:
    """An address that maps a page reads what was last written through the address or
    through a protected reference to it."""
    return all(
        mm.expected[va] is None or contents(machine, pte) == mm.expected[va]
        for mm in machine.mms.values()
        for va in machine.names.vas
        if (pte := walk(mm, va)) is not None
    )


def contents(machine: Machine, pte: Pte) -> int:
    """What a read through `pte` gives; the zeropage reads as zero."""
    page = machine.pages.get(pte.pfn)
    return 0 if page is None else page.value


# %% [markdown]
# ## Writes are noticed
#
# Soft-dirty tracking and userfaultfd rely on a fault before the next write.
#
# ### AE-INV-11 {#AE-INV-11}


# %%
@rule("AE-INV-11", source="76aefad628aa (6.0)", over="state", models=ALL_MODELS)
def tracked_writes_are_noticed(machine: Machine) -> bool:
    """While soft-dirty or userfaultfd has to notice the next write to an address, no
    page is mapped writable there."""
    return not any(
        mm.tracked[va] and (pte := walk(mm, va)) is not None and pte.writable
        for mm in machine.mms.values()
        for va in machine.names.vas
    )


# %% [markdown]
# ## What users can observe
#
# The first three guarantees, the cost of `fork()`, lost and unnoticed writes can be
# observed from outside. The others say why these hold: they speak of the bit and of
# counts. When a rule is removed, only a guarantee that can be observed counts as
# broken.

# %%
OBSERVABLE = ("AE-INV-1", "AE-INV-2", "AE-INV-3", "AE-INV-5", "AE-INV-8", "AE-INV-11")

# %% [markdown]
# ## Example: CVE-2020-29374
#
# The child takes a reference (vmsplice), unmaps the page, and waits. The parent
# writes. In the sketch the child's request unshared the page, so the parent is
# free to keep its own.

# %%
machine = Machine(Names(refs=("r",)), sketch)
A, B, r = machine.start("A"), machine.mms["B"], machine.refs["r"]
run(write(A, "x", 1))
run(fork(A, B))
run(get_user_pages(B, "x", r, Foll()))
run(munmap(B, "x"))
run(write(A, "x", 2))
assert machine.pages[str(r.pfn)].value == 1
assert no_missed_cow.holds(machine)

# %%
put(B, r)
assert counts_are_exact.holds(machine)
