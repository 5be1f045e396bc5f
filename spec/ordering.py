# %% [markdown]
# # Memory ordering
#
# GUP-fast takes no lock. Whoever clears the bit holds the page table lock, which
# GUP-fast does not look at. Both rely on the order in which each sees what the other
# stores. All other chapters assume that there is one such order
# ([AE-ASM-1](bit.py#AE-ASM-1)). This chapter drops the assumption, for these two
# operations alone: one address, one page, two CPUs with store buffers.
#
# Linux had the code without the barriers for one release (088b8aa537c2, 6.1). The two
# operations are the same in every model that has the bit, the sketch included.

# %%
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import Any

from spec.cells import Cells, PlainCells
from spec.checker.program import Thread, rest
from spec.memory import Steps
from spec.rules import BIT_MODELS, rule
from spec.shapes import Menu, Shape, WorldStep
from spec.store_buffers import Cpu, Ordering, early_loads, store_buffer

ORDERING = "088b8aa537c2 (6.1), mm: fix PageAnonExclusive clearing racing with GUP-fast"

# %% [markdown]
# ## The two operations
#
# The steps bear the names that commit 088b8aa537c2 suggests: A for the clearer, under
# the page table lock, and B for GUP-fast. `again` is what A4 installs: reclaim and
# migration an entry, KSM the same read-only PTE. With the same PTE, B4 alone cannot
# tell that anything happened (ABA).


# %%
def unmap(cpu: Cpu, again: str) -> Steps:
    """Clear the bit of a page (``folio_try_share_anon_rmap_pte``)."""
    if cpu.obeys("AE-ORD-6"):
        yield from clear_pte(cpu)
    unexpected = cpu.load("references", "A2")
    yield
    if unexpected:
        cpu.store("pte", "p1 R/O", "restore")
        return
    if not cpu.obeys("AE-ORD-6"):
        yield from clear_pte(cpu)
    cpu.store("anon_exclusive", False, "A3")
    yield
    if cpu.obeys("AE-ORD-2"):
        cpu.smp_wmb()
    cpu.store("pte", again, "A4")


def clear_pte(cpu: Cpu) -> Steps:
    """Clear the PTE, and wait until everybody can see that (``ptep_clear_flush``)."""
    cpu.store("pte", None, "A1")
    yield
    if cpu.obeys("AE-ORD-1"):
        yield from cpu.smp_mb()


def gup_fast(cpu: Cpu) -> Steps:
    """Take a reference to the page of a read-only PTE (``gup_fast_pte_range``)."""
    pte = cpu.load("pte", "B1")
    if pte != "p1 R/O":
        return
    yield
    if not cpu.obeys("AE-ORD-5"):
        if not cpu.load("anon_exclusive", "B5"):
            return
        yield
    cpu.atomic_add(1, "B3")
    cpu.reference = "pending"
    yield
    if cpu.obeys("AE-ORD-3"):
        yield from cpu.smp_mb()
    if cpu.load("pte", "B4") != pte:
        return drop(cpu)
    yield
    if cpu.obeys("AE-ORD-5"):
        if cpu.obeys("AE-ORD-4"):
            cpu.smp_rmb()
        if not cpu.load("anon_exclusive", "B5"):
            return drop(cpu)
    cpu.reference = "live"


def drop(cpu: Cpu) -> None:
    """Back off (``gup_put_folio``)."""
    cpu.atomic_add(-1, "drop")
    cpu.reference = ""


OPERATIONS: dict[str, Callable[[Cpu], Any]] = {
    "gup_fast": gup_fast,
    "ksm": partial(unmap, again="p1 R/O"),
    "reclaim": partial(unmap, again="entry"),
}


def client(
    menus: tuple[Menu, ...], without: frozenset[str], i: int, cells: Cells
) -> Steps:
    """Run one operation of the CPU's menu."""
    cpu = Ordering(menus, cells, without).cpus[i]
    yield rest
    yield from OPERATIONS[cells.choose("next", menus[i])](cpu)


def threads(menus: tuple[Menu, ...], without: frozenset[str]) -> Mapping[str, Thread]:
    """For each CPU its operation, its store buffer and its early loads."""

    def made(i: int, run: Callable[[Cpu], Steps], cells: Cells) -> Steps:
        return run(Ordering(menus, cells, without).cpus[i])

    found: dict[str, Thread] = {}
    for i in range(len(menus)):
        found[f"cpu{i}"] = partial(client, menus, without, i)
        found[f"buffer{i}"] = partial(made, i, store_buffer)
        found[f"loads{i}"] = partial(made, i, early_loads)
    return found


SHAPES = tuple(
    Shape("ordering", menus, Ordering, threads)
    for menus in ((("gup_fast",), ("ksm",)), (("gup_fast",), ("reclaim",)))
)

# %% [markdown]
# ## What must not happen
#
# ### AE-INV-9 {#AE-INV-9}


# %%
@rule("AE-INV-9", source=ORDERING, over="state", models=BIT_MODELS, world="ordering")
def no_reference_without_the_bit(world: Ordering) -> bool:
    """Once GUP-fast has returned a page and all stores have reached memory, the bit of
    the page is set."""
    returned = any(cpu.reference == "live" for cpu in world.cpus)
    settled = not any(cpu.buffer for cpu in world.cpus)
    return not (returned and settled) or world.memory.anon_exclusive


# %% [markdown]
# ## Rules: store buffering
#
# Each side stores and then loads what the other stores: A1 and A2 here, B3 and B4
# there. Without a barrier on either side both loads can come first, and each misses the
# other's store.
#
# ### AE-ORD-1 {#AE-ORD-1}


# %%
def precedes(step: WorldStep[Ordering], name: str, barrier: str, after: str) -> bool:
    """Whether each CPU that does `name` now has had `barrier` since `after`."""
    for was, cpu in zip(step.before.cpus, step.after.cpus, strict=True):
        begins = cpu.order[len(was.order) :]
        if name in begins and after in was.order:
            since = was.order[was.order.index(after) :]
            since += begins[: begins.index(name)]
            if barrier not in since:
                return False
    return True


@rule(
    "AE-ORD-1",
    source=ORDERING,
    kernel=("include/linux/rmap.h:folio_try_share_anon_rmap_pte",),
    models=BIT_MODELS,
    world="ordering",
)
def barrier_after_clearing(step: WorldStep[Ordering]) -> bool:
    """Whoever clears the bit MUST execute a full memory barrier between clearing the
    PTE and reading the reference count."""
    return precedes(step, "A2", "smp_mb", "A1")


# %% [markdown]
# ### AE-ORD-3 {#AE-ORD-3}


# %%
@rule(
    "AE-ORD-3",
    source=ORDERING,
    kernel=("mm/gup.c:try_grab_folio_fast",),
    models=BIT_MODELS,
    world="ordering",
)
def barrier_after_grabbing(step: WorldStep[Ordering]) -> bool:
    """GUP-fast MUST execute a full memory barrier between taking its reference and
    reading the PTE again."""
    return precedes(step, "B4", "smp_mb", "B3")


# %% [markdown]
# ## Rules: the same PTE again
#
# KSM installs the same read-only PTE when the bit is clear. GUP-fast finds the PTE that
# it began with (ABA), so it has to see the bit as it was before that PTE was installed.
#
# ### AE-ORD-2 {#AE-ORD-2}


# %%
@rule(
    "AE-ORD-2",
    source=ORDERING,
    kernel=("include/linux/rmap.h:folio_try_share_anon_rmap_pte",),
    models=BIT_MODELS,
    world="ordering",
)
def barrier_before_restoring(step: WorldStep[Ordering]) -> bool:
    """Whoever clears the bit MUST execute a write memory barrier between clearing the
    bit and installing a PTE that maps the page."""
    return precedes(step, "A4", "smp_wmb", "A3")


# %% [markdown]
# ### AE-ORD-4 {#AE-ORD-4}


# %%
@rule(
    "AE-ORD-4",
    source=ORDERING,
    kernel=("mm/internal.h:gup_must_unshare",),
    models=BIT_MODELS,
    world="ordering",
)
def barrier_before_the_bit(step: WorldStep[Ordering]) -> bool:
    """GUP-fast MUST execute a read memory barrier between reading the PTE again and
    reading the bit."""
    return precedes(step, "B5", "smp_rmb", "B4")


# %% [markdown]
# ## Rules: the order itself
#
# ### AE-ORD-5 {#AE-ORD-5}


# %%
@rule(
    "AE-ORD-5",
    source=ORDERING,
    kernel=("mm/gup.c:gup_fast_pte_range",),
    models=BIT_MODELS,
    world="ordering",
)
def bit_after_the_reference(step: WorldStep[Ordering]) -> bool:
    """GUP-fast MUST read the bit after it has taken its reference."""
    return not any(
        "B5" in cpu.order[len(was.order) :] and "B3" not in was.order
        for was, cpu in zip(step.before.cpus, step.after.cpus, strict=True)
    )


# %% [markdown]
# ### AE-ORD-6 {#AE-ORD-6}


# %%
@rule(
    "AE-ORD-6",
    source=ORDERING,
    kernel=("mm/rmap.c:try_to_unmap_one", "mm/ksm.c:write_protect_page"),
    models=BIT_MODELS,
    world="ordering",
)
def references_after_the_pte(step: WorldStep[Ordering]) -> bool:
    """Whoever clears the bit MUST read the reference count after it has cleared the
    PTE."""
    return not any(
        "A2" in cpu.order[len(was.order) :] and "A1" not in was.order
        for was, cpu in zip(step.before.cpus, step.after.cpus, strict=True)
    )


# %% [markdown]
# Between A2 and A3 no barrier is needed: A3 depends on what A2 found, and stores are
# not speculated. `fork()` needs none either, for GUP-fast asks the sequence count
# whether it ran ([AE-FAST-4](gup_fast.py#AE-FAST-4)); `read_seqcount_retry()` has the
# barrier that this takes.
#
# ## Any number of CPUs
#
# The shapes have two CPUs, and each runs once. For more it is enough to look at one CPU
# in GUP-fast and one that clears the bit, both again and again:
#
# - All others in GUP-fast change nothing that is shared but the count, and whoever
#   clears the bit asks only whether the count is zero. So one thread stands for all of
#   them, which has references or none whenever it likes.
# - All others that clear the bit wait for the page table lock. Its release and its
#   acquisition order what one of them stored before what the next one loads. So it may
#   as well be one CPU that goes on after a full barrier.
#
# Every state of these three is explored. AE-INV-9 holds in all of them, and without any
# one of the six rules it does not: [the page of the proof](../reference/proof.md) has
# the obligation and what fails. That GUP-fast stores nothing, and that each reference
# counts once, is checked in the same states.
#
# ## Under the kernel's own memory model
#
# `anon-exclusive export --to lkmm FOLDER` writes both shapes as litmus tests for herd7,
# whole and without each of the rules. The `Result:` in each is what the exploration of
# store buffers found; herd7 decides independently of it, by axioms.
#
# ## Example
#
# One after the other, each store reaching memory at once: KSM finds the reference that
# GUP-fast took, and restores the PTE.


# %%
def alone(cpu: Cpu, operation: Steps) -> None:
    """Run an operation; no store stays in the buffer."""
    buffer = store_buffer(cpu)
    for _ in chain(operation, [None]):
        while cpu.buffer:
            next(buffer)


cells = PlainCells({})
world = Ordering((("gup_fast",), ("ksm",)), cells, frozenset())
cells.values.update((k, v) for record in world.records() for k, v in record.initial(()))
walker, clearer = world.cpus
alone(walker, gup_fast(walker))
assert walker.reference == "live"
alone(clearer, unmap(clearer, again="p1 R/O"))
assert (world.memory.pte, world.memory.anon_exclusive) == ("p1 R/O", True)
