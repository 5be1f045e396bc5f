# %% [markdown]
# # What the protocol promises
#
# Rules speak of one step. Guarantees speak of what a user of the kernel sees. The
# checker evaluates each of them in every reachable state; removing a MUST rule
# breaks one of them, or the rule's page says why not.

# %%
from __future__ import annotations

from spec.bit import SKETCH, Foll, mappings, others, sketch
from spec.fault import munmap, write
from spec.fork import fork
from spec.gup import get_user_pages, put
from spec.memory import Machine, Names, Page, Reference, run
from spec.rules import ALL_MODELS, BIT_MODELS, Step, rule

# %% [markdown]
# ## No missed COW
#
# A process writes through a writable PTE or through a R/W reference that its model
# protects. If at that moment another process maps the page, or somebody holds a
# reference that another process took, the write reaches them: a leak, whatever the
# values are. References that only read count as well, protected or not.
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


@rule("AE-INV-1", source="CVE-2020-29374", over="state", models=ALL_MODELS)
def no_missed_cow(machine: Machine) -> bool:
    """What one process, or a protected reference of it, writes never reaches
    another process or its references."""
    return not any(
        others(machine, machine.mms[writer], page)
        for page in machine.pages.values()
        if page.refcount > 1
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
@rule("AE-INV-2", source=SKETCH, over="state", models=ALL_MODELS)
def no_wrong_cow(machine: Machine) -> bool:
    """While a protected reference lives and its address was not unmapped, the
    address maps the referenced page."""
    for ref in machine.refs.values():
        if ref.state == "live" and ref.protected:
            pte = machine.mms[str(ref.mm)].pte[str(ref.va)]
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
    "AE-INV-3", source="include/linux/mm_types.h, v6.1", over="state", models=ALL_MODELS
)
def counts_are_exact(machine: Machine) -> bool:
    """refcount is the number of mappings, GUP references and temporary references
    of a page, mapcount that of its mappings, pincount that of its pins."""
    return all(
        (page.refcount, page.mapcount, page.pincount) == holders(machine, page)
        for page in machine.pages.values()
    )


def holders(machine: Machine, page: Page) -> tuple[int, int, int]:
    """What the three counts of `page` should be."""
    mapped = len(list(mappings(machine, page)))
    refs = [ref for ref in machine.refs.values() if ref.pfn == page.name]
    held = sum(cpu.hold == page.name for cpu in machine.cpus.values())
    return mapped + len(refs) + held, mapped, sum(ref.pin for ref in refs)


# %% [markdown]
# ## The bit tells the truth
#
# ### AE-INV-4 {#AE-INV-4}


# %%
@rule("AE-INV-4", source=SKETCH, over="state", models=BIT_MODELS)
def exclusive_page_has_one_mapping(machine: Machine) -> bool:
    """A page whose bit is set has at most one mapping."""
    return all(
        len(list(mappings(machine, page))) <= 1
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
# ([AE-FAST-4](gup.py#AE-FAST-4)).


# %%
@rule("AE-INV-6", source=SKETCH, over="state", models=ALL_MODELS)
def one_reference_is_the_mapping(machine: Machine) -> bool:
    """If a page table maps a page whose refcount is 1, that mapping is the only
    reference to the page."""
    return all(
        holders(machine, page)[0] == 1
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
@rule("AE-INV-7", source="Hildenbrand, 2021-12-21", over="state", models=BIT_MODELS)
def protected_page_is_exclusive(machine: Machine) -> bool:
    """A page to which a protected reference lives, its address not unmapped, has
    its bit set."""
    return all(
        machine.pages[str(ref.pfn)].anon_exclusive
        for ref in machine.refs.values()
        if ref.state == "live" and ref.protected
    )


# %% [markdown]
# ## What users can observe
#
# The first three guarantees and the cost of `fork()` can be observed from outside.
# The other three say why they hold: they speak of the bit and of counts. When a rule
# is removed, only a guarantee that can be observed counts as broken.

# %%
OBSERVABLE = ("AE-INV-1", "AE-INV-2", "AE-INV-3", "AE-INV-5")

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
