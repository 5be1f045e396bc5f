# %% [markdown]
# # Memory: pages, page tables, processes, references
#
# This chapter fixes what the specification talks about: anonymous pages, the page
# tables that map them, swap slots, and the references that keep a page alive.
# Everything later is written in these terms.
#
# The model keeps what the exclusive bit depends on and leaves out the rest. What
# it leaves out is said where it is left out, as a numbered assumption.
#
# ## A page
#
# `refcount` counts every holder: each mapping, each reference that GUP returned,
# and the kernel's own temporary ones. `mapcount` counts page table entries only.
# The history of COW bugs is the history of deciding by the wrong one of the two.

# %%
from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spec.cells import Cells, Field, FieldPerAddress, PlainCells, Record

if TYPE_CHECKING:
    from spec.decisions import FaultFlags, Foll, Model

Steps = Generator[Any, None, Any]


# %%
class Page(Record):
    """``struct page`` of an anonymous page.

    Each field is a memory cell: reading or assigning it is what other CPUs see. A
    large folio keeps its counts, locks and flags in its first page, the head;
    `mapcount`, `anon_exclusive` and `value` exist for each page.
    """

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine.cells, name)
        self.machine = machine

    refcount = Field(0, "references of every kind: mappings, GUP, transient")
    mapcount = Field(0, "PTEs that map the page")
    pincount = Field(0, "references taken with FOLL_PIN")
    anon_exclusive = Field(False, "the bit (PG_anon_exclusive)")
    locked = Field(False, "the folio lock (PG_locked)")
    value = Field(0, "the contents")
    dirty = Field(True, "nothing else has the contents (PG_dirty or a dirty PTE)")
    swapbacked = Field(True, "must not be dropped; false after MADV_FREE")
    swap = Field[str | None](None, "the swap slot, while in the swap cache")
    writeback = Field(False, "being written to its slot (PG_writeback)")
    ksm = Field(False, "a KSM page: shared by contents, owned by nobody")
    head = Field[str | None](None, "the head, if the folio has several pages")
    entire_mapcount = Field(0, "PMDs that map the folio as a whole")


# %% [markdown]
# Linux counts a pin of a small folio as 1024 references
# (`GUP_PIN_COUNTING_BIAS`), so that its `folio_maybe_dma_pinned()` can be wrong
# in one direction: 1024 ordinary references look like a pin. The model counts
# pins exactly, in `pincount`, and one reference each in `refcount`. A false
# positive only makes `fork()` copy where it need not.
#
# ## A page table entry
#
# A PTE is one cell, read and written as a whole (`ptep_get`, `set_pte_at`). An
# address that maps nothing holds `None`. A read of an untouched address maps the
# shared zeropage, which is not an anonymous page and is never counted.

# %%
ZERO_PAGE = "zero"


@dataclass(frozen=True, slots=True)
class Pte:
    """A present page table entry: which page it maps, and may the CPU write?

    `trap` says why an access must fault first although the mapping allows it:
    ``uffd-wp`` and ``soft-dirty`` (writes), ``numa`` (any access), or nothing.
    """

    pfn: str
    writable: bool
    trap: str = ""

    def __repr__(self) -> str:
        access = "R/W" if self.writable else "R/O"
        return " ".join([self.pfn, access, *([self.trap] if self.trap else [])])


# %% [markdown]
# An entry that is not present maps nothing, yet leads to contents: a swap entry, a
# migration entry. What a fault, `fork()`, `munmap()` and `mprotect()` do with it is
# said by the chapter that introduces it; the functions bear the kernel's names.


# %%
class NonPresent:
    """A page table entry that is neither none nor present."""

    def leads_to(self, machine: Machine) -> str | None:
        """The page that a fault on it would map, if it is in memory."""
        return None

    def names(self, slot: Slot) -> bool:
        """Whether it is a swap entry of `slot`."""
        return False

    def do_swap_page(self, mm: Mm, va: str, flags: FaultFlags) -> Steps:
        """Handle a fault on it; the access is tried again afterwards."""
        raise NotImplementedError

    def copy_nonpresent_pte(self, mm: Mm, child: Mm, va: str) -> Steps:
        """Give the child what it needs, under the parent's page table lock."""
        raise NotImplementedError

    def zap_nonpresent_pte(self, mm: Mm, va: str) -> None:
        """Let go of what it counts; the PTE itself is cleared already."""

    def change_nonpresent_pte(self, mm: Mm, va: str) -> None:
        """Take from it the permission to write (mprotect)."""


Entry = Pte | NonPresent | None

# %% [markdown]
# A page table may be replaced as a whole by one entry of the level above, a PMD that
# maps a large folio. Which entry that is and what is done with it is said by the
# chapter on huge pages.


# %%
class HugePmd:
    """A PMD that maps a large folio; the addresses of a process are its parts."""

    def head(self) -> str | None:
        """The head of the folio of which it counts as a mapping."""
        return None

    def translate(self, machine: Machine, va: str) -> Pte | None:
        """What the MMU finds for `va`."""
        raise NotImplementedError

    def handle_huge_pmd(self, mm: Mm, va: str, flags: FaultFlags) -> Steps:
        """Handle a fault on it."""
        raise NotImplementedError

    def copy_huge_pmd(self, mm: Mm, child: Mm) -> Steps:
        """Share it with the child; false if the parent's was split instead."""
        raise NotImplementedError

    def split_huge_pmd(self, mm: Mm) -> Steps:
        """Put a page table in its place that maps the same pages."""
        raise NotImplementedError

    def follow_huge_pmd(self, mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
        """Slow GUP: take the reference, or return the fault that is missing."""
        raise NotImplementedError

    def gup_fast_pmd_leaf(self, mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
        """GUP-fast: take the reference without locks; false if it must not."""
        raise NotImplementedError


# %% [markdown]
# ## A process
#
# `write_protect_seq` is the sequence count that `fork()` makes odd while it
# write-protects the parent's page table (57efa1fe5957, 5.11). GUP-fast takes no
# lock; this count is how it learns that it raced with `fork()`.


# %%
class Mm(Record):
    """``struct mm_struct``: one process, one page table, one page table lock."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine.cells, name)
        self.machine = machine

    @property
    def model(self) -> Model:
        """Who answers the decisions of the protocol."""
        return self.machine.model

    pte = FieldPerAddress[Entry](None, "the page table")
    pmd = Field[HugePmd | None](None, "a huge PMD in place of the page table")
    vma = FieldPerAddress[str | None](None, "protection: r, rw, or no mapping")
    state = Field("unborn", "unborn, forking, live or dead")
    mmap_lock = Field(0, "-1: held for writing; n: held by n readers")
    ptl = Field(False, "the page table lock")
    write_protect_seq = Field(0, "odd while fork write-protects")
    parent = Field[str | None](None, "who forked it", ghost=True)
    asked_gup = Field(False, "GUP was asked to look at this process", ghost=True)
    tracked = FieldPerAddress("", "who must notice the next write", ghost=True)
    expected = FieldPerAddress[int | None](
        0, "what a read must give; None: not defined", ghost=True
    )


# %% [markdown]
# *Ghost* state exists for the guarantees only. No operation decides by it.
#
# ## A reference
#
# What GUP returns. It names the page, and the process and address through which
# it was taken. `protected` is ghost state: the model promised that the address
# keeps this page. Unmapping the address ends the promise, and so may `fork()`,
# depending on the model.


# %%
class Reference(Record):
    """A reference that GUP takes: from the try-grab to the put."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine.cells, name)
        self.machine = machine

    state = Field("free", "free, pending (grabbed, not returned yet) or live")
    pfn = Field[str | None](None, "the page")
    mm = Field[str | None](None, "the process whose page table was walked")
    va = Field[str | None](None, "the address")
    pin = Field(False, "FOLL_PIN rather than FOLL_GET")
    write = Field(False, "FOLL_WRITE: the holder may write to the page")
    longterm = Field(False, "FOLL_LONGTERM")
    protected = Field(False, "the address is promised to keep the page", ghost=True)


class Cpu(Record):
    """A CPU, with the temporary references that its operation may have."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine.cells, name)
        self.machine = machine

    hold = Field[str | None](None, "page held by the running operation")
    target = Field[str | None](None, "page it prepares, not mapped yet")


# %% [markdown]
# ## A swap slot
#
# A slot is in use while a swap entry names it or the swap cache has a folio for it.


# %%
class Slot(Record):
    """One slot of a swap device."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine.cells, name)
        self.machine = machine

    count = Field(0, "swap entries that name it, and claims (swap_map)")
    folio = Field[str | None](None, "the page that the swap cache has for it")
    value = Field(0, "what was written to it")


# %% [markdown]
# ## The machine
#
# A machine is a handle on all cells. Each CPU has its own handle on the same
# cells, with the model that it runs and the rules that it does not obey (none,
# except when a rule is ablated to see what breaks).


# %%
@dataclass(frozen=True)
class Names:
    """What exists in a modelled machine."""

    mms: tuple[str, ...] = ("A", "B", "C")
    pages: tuple[str, ...] = ("p1", "p2", "p3", "p4")
    refs: tuple[str, ...] = ()
    cpus: tuple[str, ...] = ("cpu0",)
    vas: tuple[str, ...] = ("x",)
    slots: tuple[str, ...] = ()


class Machine:
    """The state of the modelled machine, as one CPU sees it.

    Args:
        names: what exists.
        model: who answers the decisions of the protocol; `None` for reading.
        cells: the store; by default a fresh dictionary.
        cpu: the CPU that runs the operation.
        without: ids of the rules that this CPU does not obey.

    >>> machine = Machine(Names(refs=("r",)))
    >>> machine.pages["p1"].refcount
    0
    """

    def __init__(
        self,
        names: Names,
        model: Model | None = None,
        cells: Cells | None = None,
        cpu: str = "",
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.names = names
        self.without = without
        self.cells: Cells = PlainCells({}) if cells is None else cells
        self._model = model
        self.pages = {name: Page(self, name) for name in names.pages}
        self.mms = {name: Mm(self, name) for name in names.mms}
        self.refs = {name: Reference(self, name) for name in names.refs}
        self.cpus = {name: Cpu(self, name) for name in names.cpus}
        self.slots = {name: Slot(self, name) for name in names.slots}
        self.cpu = self.cpus[cpu or names.cpus[0]]
        if cells is None:
            for key, value in self.initial():
                self.cells.write(key, value)

    @property
    def model(self) -> Model:
        """The model that answers the decisions."""
        assert self._model is not None, "this machine was made for reading"
        return self._model

    def initial(self) -> Iterator[tuple[str, Any]]:
        """Each cell of the machine with the value it starts with."""
        for records in (self.pages, self.mms, self.refs, self.cpus, self.slots):
            for record in records.values():
                yield from record.initial(self.names.vas)

    def start(self, mm: str = "A") -> Mm:
        """Bring the first process to life, with every address mapped R/W."""
        first = self.mms[mm]
        first.state = "live"
        for va in self.names.vas:
            first.vma[va] = "rw"
        return first
