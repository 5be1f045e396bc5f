# %%
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spec.cells import Broken, Cells, Field, FieldPerAddress, PlainCells, Record

if TYPE_CHECKING:
    from spec.bit import Model

# %%
ZERO_PAGE = "zero"


@dataclass(frozen=True, slots=True)
class Pte:
    """A present page table entry: which page it maps, and may the CPU write?

    `pfn` names the page; the shared zeropage is ``ZERO_PAGE``. An address that
    maps nothing holds ``None`` in place of a `Pte` (the kernel's ``pte_none``).
    """

    pfn: str
    writable: bool

    def __repr__(self) -> str:
        return f"{self.pfn} {'R/W' if self.writable else 'R/O'}"


# %%
class Page(Record):
    """``struct page`` of an anonymous base page."""

    refcount = Field(0, "references of every kind: mappings, GUP, transient")
    mapcount = Field(0, "page table entries that map the page")
    pincount = Field(0, "references taken with FOLL_PIN")
    anon_exclusive = Field(False, "the bit")
    locked = Field(False, "the folio lock")
    value = Field(0, "the contents")


# %%
class Mm(Record):
    """``struct mm_struct``: one process with one page table."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine.cells, name)
        self.machine = machine

    @property
    def model(self) -> Model:
        """Who answers the decisions of the protocol."""
        return self.machine.model

    pte = FieldPerAddress[Pte | None](None, "the page table")
    vma = FieldPerAddress[str | None](None, "protection of the mapping: r, rw or none")
    state = Field("unborn", "unborn, live or dead")
    mmap_lock = Field(0, "-1 held for writing, n held by n readers")
    ptl = Field(False, "the page table lock")
    write_protect_seq = Field(0, "odd while fork write-protects")
    asked_gup = Field(False, "some GUP request has looked at this mm", ghost=True)


# %%
class Reference(Record):
    """A reference that GUP took, from the try-grab to the put."""

    state = Field("free", "free, pending (grabbed, not returned) or live")
    pfn = Field[str | None](None, "the page")
    mm = Field[str | None](None, "the process whose page table was walked")
    va = Field[str | None](None, "the address")
    pin = Field(False, "FOLL_PIN rather than FOLL_GET")
    write = Field(False, "FOLL_WRITE: the holder may write to the page")
    protected = Field(
        False, "the model promises that the address keeps this page", ghost=True
    )


# %%
class Cpu(Record):
    """A CPU: the one temporary reference that its operation holds, if any."""

    hold = Field[str | None](None, "page held by the running operation")


# %%
@dataclass(frozen=True)
class Names:
    """What exists in a modelled machine; its bounds.

    >>> Names(mms=("A", "B"), pages=("p1", "p2"))
    Names(mms=('A', 'B'), pages=('p1', 'p2'), refs=(), cpus=('cpu0',), vas=('x',))
    """

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
        without: ids of the rules that this machine does not obey.
    """

    def __init__(
        self,
        names: Names,
        model: Model | None = None,
        cells: Cells | None = None,
        cpu: str = "cpu0",
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.names = names
        self.without = without
        self.cells: Cells = PlainCells({}) if cells is None else cells
        self._model = model
        self.pages = {name: Page(self.cells, name) for name in names.pages}
        self.refs = {name: Reference(self.cells, name) for name in names.refs}
        self.cpus = {name: Cpu(self.cells, name) for name in names.cpus}
        self.mms = {name: Mm(self, name) for name in names.mms}
        self.cpu = self.cpus[cpu]
        if cells is None:
            for key, value in self.initial():
                self.cells.write(key, value)

    @property
    def model(self) -> Model:
        """The model that answers the decisions."""
        assert self._model is not None, "this machine was made for reading"
        return self._model

    def records(self) -> Iterator[Record]:
        """All pages, processes, references and CPUs."""
        for kind in (self.pages, self.mms, self.refs, self.cpus):
            yield from kind.values()

    def initial(self) -> Iterator[tuple[str, Any]]:
        """Each cell of the machine with the value it starts with."""
        for record in self.records():
            yield from record.initial(self.names.vas)

    def live_mms(self) -> list[Mm]:
        """The processes that exist."""
        return [mm for mm in self.mms.values() if mm.state == "live"]


# %%
Wait = Callable[[], bool]
Steps = Generator[Wait | None, None, Any]


def run(operation: Generator[Wait | None, None, Any]) -> Any:
    """Run `operation` alone, to its end; returns what it returns.

    Raises:
        RuntimeError: it waits for something that nobody else will do.
    """
    while True:
        try:
            wait = next(operation)
        except StopIteration as end:
            return end.value
        if wait is not None and not wait():
            raise RuntimeError("the operation waits for a lock that nobody releases")


# %%
def mmap_read_lock(mm: Mm) -> Steps:
    """Wait until nobody holds `mmap_lock` for writing, and share it."""
    if mm.mmap_lock < 0:
        yield lambda: mm.mmap_lock >= 0
    mm.mmap_lock += 1


def mmap_read_unlock(mm: Mm) -> None:
    """Let go of a shared `mmap_lock`."""
    mm.mmap_lock -= 1


def mmap_write_lock(mm: Mm) -> Steps:
    """Wait until nobody holds `mmap_lock`, and take it alone."""
    if mm.mmap_lock != 0:
        yield lambda: mm.mmap_lock == 0
    mm.mmap_lock = -1


def mmap_write_unlock(mm: Mm) -> None:
    """Let go of an `mmap_lock` held for writing."""
    mm.mmap_lock = 0


def ptl_lock(mm: Mm) -> Steps:
    """Wait for the page table lock of `mm` (``pte_offset_map_lock``)."""
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
        free_page(page)


def free_page(page: Page) -> None:
    """Give the page back; its flags are cleared (``free_pages_prepare``)."""
    page.reset("anon_exclusive", "value")


def alloc_page(machine: Machine) -> Page:
    """A free page with one reference, for the caller (``folio_alloc``).

    Which free page makes no difference: the first.
    """
    for page in machine.pages.values():
        if page.refcount == 0:
            page.refcount = 1
            return page
    raise MemoryError(f"all {len(machine.pages)} pages are in use: raise the bounds")


def copy_page(new: Page, old: Page | None) -> None:
    """Copy the contents of `old`; of the zeropage if `old` is ``None``."""
    new.value = old.value if old is not None else 0


# %%
def vm_normal_page(mm: Mm, pte: Pte) -> Page | None:
    """The page behind a present PTE; ``None`` for the shared zeropage."""
    return None if pte.pfn == ZERO_PAGE else mm.machine.pages[pte.pfn]


def add_mapping(mm: Mm, va: str, page: Page, *, writable: bool) -> None:
    """Map `page`: rmap and PTE; the caller's reference becomes the mapping's."""
    page.mapcount += 1
    mm.pte[va] = Pte(page.name, writable)


def remove_mapping(mm: Mm, page: Page) -> None:
    """Undo the rmap of one mapping; the PTE and the reference are the caller's."""
    if page.mapcount == 0:
        raise Broken("AE-INV-3", f"{page} is unmapped more often than mapped")
    page.mapcount -= 1


def references_of(machine: Machine, mm: Mm, va: str) -> list[Reference]:
    """The references that were taken through `va` of `mm`."""
    return [
        ref
        for ref in machine.refs.values()
        if ref.state != "free" and (ref.mm, ref.va) == (mm.name, va)
    ]


def addresses(mm: Mm) -> Sequence[str]:
    """The virtual addresses of the model."""
    return mm.machine.names.vas
