# %% [markdown]
# # Memory: pages, page tables, processes, references
#
# This chapter fixes what the specification talks about: anonymous base pages,
# the page tables that map them, the locks, and the references that keep a page
# alive. Everything later is written in these terms.
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

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spec.cells import Broken, Cells, Field, FieldPerAddress, PlainCells, Record
from spec.rules import obey

if TYPE_CHECKING:
    from spec.bit import Model


# %%
class Page(Record):
    """``struct page`` of an anonymous base page.

    Each field is a memory cell: reading or assigning it is what other CPUs see.
    """

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine.cells, name)
        self.machine = machine

    refcount = Field(0, "references of every kind: mappings, GUP, transient")
    mapcount = Field(0, "page table entries that map the page")
    pincount = Field(0, "references taken with FOLL_PIN")
    anon_exclusive = Field(False, "the bit (PG_anon_exclusive)")
    locked = Field(False, "the folio lock (PG_locked)")
    value = Field(0, "the contents")


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
    """A present page table entry: which page it maps, and may the CPU write?"""

    pfn: str
    writable: bool

    def __repr__(self) -> str:
        return f"{self.pfn} {'R/W' if self.writable else 'R/O'}"


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

    pte = FieldPerAddress[Pte | None](None, "the page table")
    vma = FieldPerAddress[str | None](None, "protection: r, rw, or no mapping")
    state = Field("unborn", "unborn, forking, live or dead")
    mmap_lock = Field(0, "-1: held for writing; n: held by n readers")
    ptl = Field(False, "the page table lock")
    write_protect_seq = Field(0, "odd while fork write-protects")
    parent = Field[str | None](None, "who forked it", ghost=True)
    asked_gup = Field(False, "GUP was asked to look at this process", ghost=True)


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
    protected = Field(False, "the address is promised to keep the page", ghost=True)


class Cpu(Record):
    """A CPU; `hold` is the one temporary reference its operation may have."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine.cells, name)
        self.machine = machine

    hold = Field[str | None](None, "page held by the running operation")


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
        for records in (self.pages, self.mms, self.refs, self.cpus):
            for record in records.values():
                yield from record.initial(self.names.vas)

    def start(self, mm: str = "A") -> Mm:
        """Bring the first process to life, with every address mapped R/W."""
        first = self.mms[mm]
        first.state = "live"
        for va in self.names.vas:
            first.vma[va] = "rw"
        return first


# %% [markdown]
# ## Steps
#
# An operation is a generator function. `yield` marks a place where another CPU
# may run; what stands between two `yield`s is one atomic step. A yielded
# condition makes the CPU wait until it is true. `run` executes one operation
# alone, which is all a reader needs to follow the code.

# %%
Wait = Callable[[], bool]
Steps = Generator[Any, None, Any]


def run(operation: Steps) -> Any:
    """Run `operation` alone, to its end; returns what it returns.

    Raises:
        RuntimeError: it waits for a lock that nobody will release.
    """
    while True:
        try:
            wait = next(operation)
        except StopIteration as end:
            return end.value
        if wait is not None and not wait():
            raise RuntimeError("the operation waits for a lock that nobody releases")


# %% [markdown]
# ## Locks
#
# Taking a free lock is no place to switch: an acquisition commutes with what
# other CPUs do before it, and a release with what they do after it (Lipton's
# movers). A step therefore ends where an operation writes something that others
# read *without* the lock: PTEs, reference counts, the bit, the sequence count.


# %%
def mmap_read_lock(mm: Mm) -> Steps:
    """Share `mmap_lock`; wait while somebody holds it for writing."""
    if mm.mmap_lock < 0:
        yield lambda: mm.mmap_lock >= 0
    mm.mmap_lock += 1


def mmap_read_unlock(mm: Mm) -> None:
    """Let go of a shared `mmap_lock`."""
    mm.mmap_lock -= 1


def mmap_write_lock(mm: Mm) -> Steps:
    """Take `mmap_lock` alone; wait while anybody holds it."""
    if mm.mmap_lock != 0:
        yield lambda: mm.mmap_lock == 0
    mm.mmap_lock = -1


def mmap_write_unlock(mm: Mm) -> None:
    """Let go of an `mmap_lock` held for writing."""
    mm.mmap_lock = 0


def ptl_lock(mm: Mm) -> Steps:
    """Take the page table lock (``pte_offset_map_lock``)."""
    if mm.ptl:
        yield lambda: not mm.ptl
    mm.ptl = True


def ptl_unlock(mm: Mm) -> None:
    """Release the page table lock (``pte_unmap_unlock``)."""
    mm.ptl = False


def folio_trylock(page: Page) -> bool:
    """Take the folio lock if it is free."""
    if page.locked:
        return False
    page.locked = True
    return True


def folio_unlock(page: Page) -> None:
    """Release the folio lock."""
    page.locked = False


# %% [markdown]
# ## References and mappings
#
# Dropping the last reference frees the page; `free_pages_prepare()` clears its
# flags, the exclusive bit among them. Using a page whose count is zero, or
# dropping one reference too many, breaks `AE-INV-3` on the spot.


# %%
def get_page(page: Page) -> None:
    """Take a reference on a page that cannot be free (``folio_get``)."""
    if page.refcount == 0:
        raise Broken("AE-INV-3", f"{page} is used after it was freed")
    page.refcount += 1


def try_get_page(page: Page) -> bool:
    """Take a reference unless the page is free (``folio_try_get``)."""
    if page.refcount == 0:
        return False
    page.refcount += 1
    return True


def put_page(page: Page) -> None:
    """Drop a reference; the last one frees the page (``folio_put``)."""
    if page.refcount == 0:
        raise Broken("AE-INV-3", f"a reference to {page} is dropped twice")
    page.refcount -= 1
    if page.refcount == 0:
        free_pages_prepare(page)


def free_pages_prepare(page: Page) -> None:
    """Forget the contents and clear the flags of a page that becomes free."""
    page.value = 0
    if obey(page, "AE-CLR-3"):
        page.anon_exclusive = False


def alloc_page(machine: Machine) -> Page:
    """A free page with one reference, the caller's (``folio_alloc``).

    Raises:
        MemoryError: there is none; the bounds are too small for the operations.
    """
    for page in machine.pages.values():
        if page.refcount == 0:
            page.refcount = 1
            return page
    raise MemoryError(f"all {len(machine.pages)} pages are in use: raise the bounds")


def vm_normal_page(mm: Mm, pte: Pte | None) -> Page | None:
    """The page behind a PTE; ``None`` for the zeropage or for no PTE."""
    if pte is None or pte.pfn == ZERO_PAGE:
        return None
    return mm.machine.pages[pte.pfn]


def add_mapping(mm: Mm, va: str, page: Page, *, writable: bool) -> None:
    """Map `page`; the reference that the caller has becomes the mapping's."""
    page.mapcount += 1
    mm.pte[va] = Pte(page.name, writable)


def remove_mapping(page: Page) -> None:
    """Uncount one mapping; the PTE and the reference are the caller's business."""
    if page.mapcount == 0:
        raise Broken("AE-INV-3", f"{page} is unmapped more often than mapped")
    page.mapcount -= 1


def references_through(mm: Mm, va: str) -> Sequence[Reference]:
    """The references that GUP took, or is taking, through this address."""
    return [
        ref
        for ref in mm.machine.refs.values()
        if ref.state != "free" and (ref.mm, ref.va) == (mm.name, va)
    ]


# %% [markdown]
# ## Example
#
# One process maps one page. Its mapping is the only reference.

# %%
machine = Machine(Names())
A = machine.start("A")
page = alloc_page(machine)
add_mapping(A, "x", page, writable=True)
assert (page.refcount, page.mapcount, A.pte["x"]) == (1, 1, Pte("p1", writable=True))
