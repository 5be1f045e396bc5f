# %% [markdown]
# # Stale translations
#
# A CPU keeps translations in its TLB. Clearing the write permission of a PTE does not
# take it from a CPU that has the old translation: that takes a flush. userfaultfd and
# soft-dirty tracking put the flush off to the end of their range. A write fault in
# between must not copy a page that another CPU of the same process still writes to:
# what it writes after the copy is lost (6ce64428d620, 5.12; 29a951dfb3c3, 5.11). The
# other chapters assume that there are no stale translations
# ([AE-ASM-2](bit.py#AE-ASM-2)); this one has them.

# %%
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from spec.cells import Cells, Field, PlainCells, Record
from spec.checker.program import Thread, rest
from spec.counts import run
from spec.memory import Steps
from spec.rules import ALL_MODELS, BIT_MODELS, rule
from spec.shapes import Menu, Shape, WorldStep

# %% [markdown]
# ## The world
#
# Two CPUs run threads of one process. One address, its page and the copy; a TLB entry
# for each CPU. While a fault copies, the page table lock keeps other faults away.


# %%
class AddressSpace(Record):
    """One address of a process, with the page that it maps."""

    pfn = Field("old", "the page that the PTE maps")
    writable = Field(True, "the PTE's write permission")
    flush_pending = Field(False, "a flush was put off (`mm_tlb_flush_pending`)")
    old = Field(0, "the contents of the page")
    copy = Field(0, "the contents of its copy")
    expected = Field(0, "what was written last", ghost=True)
    copying = Field(False, "a fault has the page table lock")


class Cpu(Record):
    """A CPU; `tlb` is the page that it may write to without looking at the PTE."""

    tlb = Field("", "page of a writable translation, or nothing")


class Process:
    """The world of this chapter."""

    def __init__(
        self, menus: tuple[Menu, ...], cells: Cells, without: frozenset[str]
    ) -> None:
        self.cells = cells
        self.without = without
        self.mm = AddressSpace(cells, "mm")
        self.cpus = [Cpu(cells, f"cpu{i}") for i in range(len(menus))]

    def records(self) -> Iterator[Record]:
        """All of them."""
        yield self.mm
        yield from self.cpus

    def obeys(self, id: str) -> bool:
        """Whether the rule is obeyed: false only while it is ablated."""
        return id not in self.without

    def flush(self) -> None:
        """Take the translation from every CPU (``flush_tlb_page``)."""
        for cpu in self.cpus:
            cpu.tlb = ""


# %% [markdown]
# ## Operations


# %%
def store(process: Process, cpu: Cpu) -> Steps:
    """Write through the TLB; without an entry, walk, and fault if need be."""
    mm = process.mm
    while True:
        if not cpu.tlb and mm.writable:
            cpu.tlb = mm.pfn
            yield
        if cpu.tlb:
            setattr(mm, cpu.tlb, 1)
            mm.expected = 1
            return
        yield from do_wp_page(process)


def writeprotect(process: Process, cpu: Cpu) -> Steps:
    """Take the write permission; flush at the end (``UFFDIO_WRITEPROTECT``)."""
    process.mm.writable = False
    process.mm.flush_pending = True
    yield
    process.flush()
    process.mm.flush_pending = False


def do_wp_page(process: Process) -> Steps:
    """Copy the page: somebody has a reference to it, say."""
    mm = process.mm
    if mm.writable or mm.pfn == "copy" or mm.copying:
        yield
        return
    if mm.flush_pending and process.obeys("AE-ORD-7"):
        process.flush()
    mm.copying = True
    yield
    mm.copy = mm.old
    yield
    process.flush()
    mm.pfn = "copy"
    mm.writable = True
    mm.copying = False
    yield


OPERATIONS: dict[str, Callable[[Process, Cpu], Steps]] = {
    "write": store,
    "writeprotect": writeprotect,
}


def client(
    menus: tuple[Menu, ...], without: frozenset[str], i: int, cells: Cells
) -> Steps:
    """Run operations of the CPU's menu, one after the other."""
    process = Process(menus, cells, without)
    for _, word in enumerate(menus[i]):  # the number tells two equal words apart
        yield rest
        yield from OPERATIONS[word](process, process.cpus[i])


def threads(menus: tuple[Menu, ...], without: frozenset[str]) -> Mapping[str, Thread]:
    """One client for each CPU."""
    return {f"cpu{i}": partial(client, menus, without, i) for i in range(len(menus))}


SHAPES = (
    Shape("tlb", (("writeprotect",), ("write", "write"), ("write",)), Process, threads),
)

# %% [markdown]
# ## What must not happen
#
# ### AE-INV-10 {#AE-INV-10}


# %%
@rule(
    "AE-INV-10",
    source="6ce64428d620 (5.12)",
    over="state",
    models=ALL_MODELS,
    world="tlb",
)
def nothing_is_written_to_the_old_page(process: Process) -> bool:
    """The page that the PTE maps has what was written last through any translation."""
    contents: int = getattr(process.mm, process.mm.pfn)
    return contents == process.mm.expected


# %% [markdown]
# ## The rule
#
# The flush at the end, `ptep_clear_flush()`, comes too late: the copy is made by then.
#
# ### AE-ORD-7 {#AE-ORD-7}


# %%
@rule(
    "AE-ORD-7",
    source="6ce64428d620 (5.12), mm/userfaultfd: fix memory corruption due to "
    "writeprotect; 29a951dfb3c3 (5.11), mm: fix clear_refs_write locking",
    kernel=("mm/memory.c:do_wp_page",),
    models=BIT_MODELS,
    world="tlb",
)
def flush_before_copying(step: WorldStep[Process]) -> bool:
    """A write fault MUST carry out a pending TLB flush for the address before it copies
    the page."""
    begins = step.after.mm.copying and not step.before.mm.copying
    pending = step.before.mm.flush_pending
    return not (begins and pending and any(cpu.tlb for cpu in step.after.cpus))


# %% [markdown]
# ## Any number of CPUs
#
# The shape has three CPUs. CPUs are all alike here, and what one does depends on what
# all share and on its own translation. So of any number of them every two are looked
# at, together with what all share: that is a *view*. A third CPU can be beside two
# others wherever it is beside each of them in a view that was found. From there each of
# the three takes a step, and what two of them then see of each other is a view again.
# In the end no step finds a new one. What any number of CPUs can do is among these
# views, and AE-INV-10 holds in all of them. Without AE-ORD-7 it does not.
#
# One CPU to a view is too few: it does not tell that no two copy at the same time.
# [The page of the proof](../reference/proof.md) has the obligation.
#
# ## Example
#
# CPU 0 has a writable translation. The permission is taken away, the flush put off. A
# write on CPU 1 faults: CPU 0 loses its translation before the page is copied.

# %%
cells = PlainCells({})
process = Process((("write",), ("write",)), cells, frozenset())
cells.values.update(
    (k, v) for record in process.records() for k, v in record.initial(())
)
first, second = process.cpus
run(store(process, first))
assert first.tlb == "old"
next(writeprotect(process, first))
run(store(process, second))
assert (first.tlb, second.tlb, process.mm.pfn) == ("", "copy", "copy")
