# %% [markdown]
# # The exclusive bit
#
# `anon_exclusive` says: *this anonymous page belongs to this process alone*. It
# is one bit in `struct page`; it is neither in the PTE nor derived from a count.
# A process that finds the bit set may rely on its address keeping this page.
#
# The design is the one that David Hildenbrand sketched on 2021-12-19, here called
# **the sketch**. Linux merged a variant in 5.19 (6c287605fd56), here called
# **upstream**. They agree on what the bit means and differ in who sets it and in
# what `fork()` looks at:
#
# - **Set by**: in the sketch, whoever asks GUP, and copies made for GUP; upstream,
#   every fault that maps a page for one process.
# - **`fork()` of a page whose bit is set**: in the sketch it is shared if the
#   mapping is its only reference, else copied; upstream it is copied if it may be
#   pinned, else shared.
# - **Protected**: in the sketch, every reference that GUP returned; upstream, pins,
#   and `FOLL_WRITE` references until the process forks.
#
# %%
from __future__ import annotations

from collections.abc import Iterator

from spec.counts import add_mapping, alloc_page, page_folio, walk
from spec.decisions import PROTOCOL, REFINED, SKETCH, sketch
from spec.memory import Machine, Mm, Names, NonPresent, Page, Pte
from spec.rules import BIT_MODELS, Step, rule

# %% [markdown]
# ## Setting the bit
#
# Rules are predicates over one atomic step: the machine before it and after it.
# They do not mention our code, so they can be held against any patch. Two
# questions recur: who maps a page, and who else could see what is written to it.


# %%
def mappings(machine: Machine, page: Page) -> Iterator[tuple[Mm, Pte]]:
    """Every mapping of `page`, as the MMU finds it, with its process."""
    for mm in machine.mms.values():
        for va in machine.names.vas:
            pte = walk(mm, va)
            if pte is not None and pte.pfn == page.name:
                yield mm, pte


def heirs(machine: Machine, page: Page) -> Iterator[tuple[Mm, str]]:
    """Each address whose swap or migration entry leads to `page`."""
    for mm in machine.mms.values():
        for va in machine.names.vas:
            pte = mm.pte[va]
            if isinstance(pte, NonPresent) and pte.leads_to(machine) == page.name:
                yield mm, va


def places(machine: Machine, page: Page) -> Iterator[tuple[Mm, str]]:
    """Each address that maps `page` or whose entry leads to it."""
    for mm in machine.mms.values():
        for va in machine.names.vas:
            pte = walk(mm, va)
            if pte is not None and pte.pfn == page.name:
                yield mm, va
    yield from heirs(machine, page)


def others(machine: Machine, mm: Mm, page: Page) -> set[str]:
    """The processes besides `mm` that map `page`, will, or GUP returned it for."""
    mapping = {other.name for other, _ in mappings(machine, page)}
    waiting = {other.name for other, _ in heirs(machine, page)}
    holding = {
        str(ref.mm)
        for ref in machine.refs.values()
        if ref.state == "live" and ref.pfn == page.name
    }
    return (mapping | waiting | holding) - {mm.name}


# %% [markdown]
# ### AE-SET-1 {#AE-SET-1}
#
# The page table lock keeps the mapping in place between the decision and the
# store. A page may be freed and belong to somebody else once it is gone.


# %%
@rule(
    "AE-SET-1",
    source=REFINED,
    kernel=("mm/memory.c:do_wp_page",),
    models=BIT_MODELS,
)
def set_under_the_lock(step: Step) -> bool:
    """A step that sets the bit of a mapped page MUST hold the page table lock
    of the mapping."""
    return all(
        mm.ptl for page in step.sets_bit() for mm, _ in mappings(step.before, page)
    )


# %% [markdown]
# ### AE-SET-2 {#AE-SET-2}
#
# The sketch asks for `page_count() == 1`. That test is how an operation knows;
# what must be true is that nobody else has the page. The two are not the same:
# after the test, GUP-fast of the *same* process may raise the count before the
# bit is set, and that is harmless, because the bit then protects its reference.
# [AE-INV-6](guarantees.py#AE-INV-6) says what the test is good for.


# %%
@rule(
    "AE-SET-2",
    source=f"{SKETCH}; {REFINED}",
    kernel=("mm/memory.c:wp_can_reuse_anon_folio",),
    models=BIT_MODELS,
)
def set_for_the_sole_owner(step: Step) -> bool:
    """A step MUST NOT set the bit of a page that another process maps or holds
    a reference to."""
    return not any(
        others(step.before, mm, page)
        for page in step.sets_bit()
        for mm, _ in mappings(step.before, page)
    )


# %% [markdown]
# ### AE-SET-3 {#AE-SET-3}
#
# The author's refinement of two days later. It is sound because no operation of
# the protocol leaves a writable PTE on a shared page
# ([AE-FORK-5](fork.py#AE-FORK-5), [AE-WP-1](protect.py#AE-WP-1)).


# %%
def writable_and_referenced(step: Step) -> bool:
    """The bit is set although a reference besides the mapping exists."""
    return any(
        pte.writable and page_folio(page).refcount > 1
        for page in step.sets_bit()
        for _, pte in mappings(step.before, page)
    )


def read_only_and_alone(step: Step) -> bool:
    """The bit is set because the mapping, read-only, is the only reference."""
    return any(
        not pte.writable and page_folio(page).refcount == 1
        for page in step.sets_bit()
        for _, pte in mappings(step.before, page)
    )


@rule(
    "AE-SET-3",
    source=REFINED,
    taken=writable_and_referenced,
    declined=read_only_and_alone,
)
def writable_page_may_be_marked(step: Step) -> bool:
    """A GUP request MAY set the bit of a page that its process maps writable,
    whatever the reference count."""
    return set_for_the_sole_owner.holds(step)


# %% [markdown]
# ### AE-SET-4 {#AE-SET-4}
#
# "Not setting the bit always during COW but only on GUP request." This is what
# makes `fork()` free for a process that never asks GUP: its pages have no bit, so
# `fork()` has nothing to look at. Upstream sets the bit on every fresh page.


# %%
@rule("AE-SET-4", source=SKETCH)
def set_on_request(step: Step) -> bool:
    """A step MUST NOT set the bit of a page for a process on whose behalf GUP
    was never asked."""
    return all(
        mm.asked_gup
        for page in step.sets_bit()
        for mm, _ in mappings(step.after, step.after.pages[page.name])
    )


# %% [markdown]
# ### AE-SET-5 {#AE-SET-5}
#
# Upstream's invariant: a writable PTE implies the bit. R/W GUP can then trust
# the PTE and need not look at the bit. In the sketch a writable page whose bit is
# clear is legal and common, so R/W GUP looks at the bit as well
# ([AE-GUP-1](gup.py#AE-GUP-1)).


# %%
@rule(
    "AE-SET-5",
    rev=2,
    source=PROTOCOL,
    kernel=("mm/memory.c:do_wp_page", "mm/memory.c:do_anonymous_page"),
    models=("upstream", "always"),
)
def writable_implies_the_bit(step: Step) -> bool:
    """A step that maps an anonymous page writable MUST leave the bit of the page
    set."""
    return all(
        step.after.pages[new.pfn].anon_exclusive
        for _, _, _, new in step.changes_pte()
        if isinstance(new, Pte) and new.writable
    )


# %% [markdown]
# ## Clearing the bit
#
# `fork()`, reclaim, migration and KSM clear the bit, each on conditions that stand in
# its chapter. Freeing a page ends it. Nothing else may clear it.
#
# ### AE-CLR-1 {#AE-CLR-1}
#
# `mprotect()` makes a mapping read-only for the CPU. It does not make the page
# shared: a pinned page that lost its bit here would be copied at the next write.


# %%
@rule(
    "AE-CLR-1",
    rev=2,
    source=PROTOCOL,
    kernel=("mm/mprotect.c:change_pte_range",),
    models=BIT_MODELS,
)
def write_protection_keeps_the_bit(step: Step) -> bool:
    """A step that write-protects a mapping without sharing the page MUST NOT
    clear the bit."""
    cleared = {page.name for page in step.clears_bit()}
    return not any(
        isinstance(new, Pte) and not new.writable and new.pfn in cleared
        for _, _, _, new in step.changes_pte()
    )


# %% [markdown]
# ### AE-CLR-2 {#AE-CLR-2}
#
# A page keeps the bit after the last reference is gone; "bit set" does not mean
# "pinned now". Clearing it at the put would need to know that no other reference
# relies on it.


# %%
@rule(
    "AE-CLR-2",
    source=SKETCH,
    kernel=("mm/gup.c:gup_put_folio",),
    models=BIT_MODELS,
)
def put_keeps_the_bit(step: Step) -> bool:
    """Dropping a reference MUST NOT clear the bit of a page that stays in use."""
    cleared = {page.name for page in step.clears_bit()}
    return not any(
        ref.pfn in cleared and step.after.pages[str(ref.pfn)].refcount > 0
        for ref in step.drops()
    )


# %% [markdown]
# ### AE-CLR-3 {#AE-CLR-3}


# %%
@rule(
    "AE-CLR-3",
    source="mm/page_alloc.c, v6.1",
    kernel=("mm/page_alloc.c:free_pages_prepare",),
    models=BIT_MODELS,
)
def freeing_ends_the_bit(step: Step) -> bool:
    """Freeing a page MUST clear its bit."""
    return not any(page.anon_exclusive for page in step.frees())


# %% [markdown]
# ## What the model assumes
#
# An assumption has an id so that it can be cited, doubted and lifted. It has no
# predicate: the model cannot show what it leaves out.
#
# ### AE-ASM-1 {#AE-ASM-1}
#
# [Memory ordering](ordering.py) lifts it for GUP-fast and its opponents.


# %%
@rule("AE-ASM-1", source="088b8aa537c2 (6.1)", over="assumption")
def sequential_consistency(machine: Machine) -> bool:
    """Every CPU sees the steps of the others in one order, at once; memory
    barriers are not modelled."""
    return True


# %% [markdown]
# ### AE-ASM-2 {#AE-ASM-2}
#
# [Stale translations](tlb.py) lifts it for the write fault.


# %%
@rule("AE-ASM-2", source="6ce64428d620 (5.12)", over="assumption")
def no_stale_tlb(machine: Machine) -> bool:
    """No CPU writes through a translation that the page table no longer holds;
    TLB flushes are not modelled."""
    return True


# %% [markdown]
# ### AE-ASM-3 {#AE-ASM-3}


# %%
@rule("AE-ASM-3", source="mm/gup.c: GUP_PIN_COUNTING_BIAS, v6.1", over="assumption")
def pins_are_counted_exactly(machine: Machine) -> bool:
    """A page may be pinned exactly if it is pinned; false positives of the pin
    heuristic only cause further copies."""
    return True


# %% [markdown]
# ### AE-ASM-4 {#AE-ASM-4}
#
# The sketch speaks of anonymous pages. What a reference to the zeropage is worth
# is left to a later chapter; here it is worth nothing once the process writes.


# %%
@rule("AE-ASM-4", source=SKETCH, over="assumption")
def zeropage_is_not_promised(machine: Machine) -> bool:
    """A reference to the shared zeropage is not protected: a write to the address
    replaces the zeropage."""
    return True


# %% [markdown]
# ## Example
#
# A machine that runs the sketch. Its process has one page, and the bit is clear.

# %%
machine = Machine(Names(), sketch)
A = machine.start("A")
page = alloc_page(machine)
add_mapping(A, "x", page, writable=True)
assert not page.anon_exclusive
assert others(machine, A, page) == set()
