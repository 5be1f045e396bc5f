"""The state that the proof speaks of: which fields it has, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spec.prover.promises import Promises
from spec.prover.words import both, either, no

SORTS = {
    "m": "process",
    "v": "address",
    "p": "page",
    "r": "reference",
    "c": "CPU",
    "e": "swap slot",
    "d": "contents",
}
"""What there is any number of, by the letter that begins a variable's name."""

NAMES = {
    "m": ("A", "B"),
    "v": ("x", "y"),
    "p": ("p1", "p2", "p3", "p4", "p5"),
    "r": ("r1", "rx"),
    "c": ("c",),
    "e": ("s1",),
    "d": ("d0", "d1", "d2", "d3", "d4"),
}
"""The names in steps, by sort; those of one sort are different things.

But for contents: those of two names may be equal.
"""
ZEROES = "d0"
"""The contents of a new page."""


@dataclass(frozen=True)
class Field:
    """A function of the state.

    Attributes:
        name: of the function.
        over: the letters of the sorts that it takes.
        kind: ``bool``, or the letter of the sort of its values.
        means: in words.
    """

    name: str
    over: str
    kind: str
    means: str


FIELDS = tuple(
    Field(*row.split(maxsplit=3))
    for row in """\
mapped mv bool the PTE maps an anonymous page
moving mv bool the PTE is a migration entry
page mv p which page the PTE maps or the migration entry leads to
writable mv bool the CPU may write, or may once a migration entry is a PTE again
swapped mv bool the PTE is a swap entry
slot mv e the slot of the swap entry
marked mv bool the swap or migration entry remembers the bit
trapped mv bool the PTE has a trap of soft-dirty or userfaultfd, or its entry keeps one
tracked mv bool soft-dirty or userfaultfd has to notice the next write
touched mv bool something was ever mapped there
live m bool the process can run
unborn m bool the process does not exist yet
ptl m bool the page table lock is held
ptl_by m c by which CPU
write_locked m bool mmap_lock is held for writing
write_locked_by m c by which CPU
read_locked cm bool a CPU shares mmap_lock
odd m bool write_protect_seq is odd
asked m bool GUP was asked to look at the process
large p bool a page of a large folio
row p p the first page of the row that can be a large folio with it
tail p p the second page of that row
entire p bool a PMD maps the folio whose head it is
huge m bool a PMD maps a large folio
huge_page m p the head of that folio
huge_writable m bool the CPU may write through the PMD
invalid m bool the PMD is being split: the CPU finds nothing there
detached m bool the page table was taken out of the PMD
zero mv bool the PTE maps the zeropage
exclusive p bool the bit
free p bool refcount is 0
ksm p bool a KSM page
locked p bool the folio lock is held
locked_by p c by which CPU
cached p bool in the swap cache
cached_in p e for which slot
writeback p bool under writeback
has_folio e bool the swap cache has a folio for the slot
folio e p which
pending r bool grabbed by GUP-fast, not returned yet
returned r bool returned by GUP
by r c the CPU that grabbed it
anonymous r bool the page is an anonymous one, not the zeropage
of r p the page
taken_for r m the process whose page table was walked
taken_at r v the address
protected r bool the address is promised to keep the page
may_write r bool FOLL_WRITE
pin r bool FOLL_PIN
holds c bool the CPU has a temporary reference
held c p to which page
prepares c bool the CPU has a page that is not mapped yet
target c p which
raced c bool fork changed write_protect_seq since the CPU read it
at_process c m the process at which the CPU is
at_child c m the child that it forks
at_slot c e the swap slot
at_address c v the address
at_new_address c v the address to which it moves what is there
at_page c p the page
at_reference c r the reference
at_lock c p the page whose lock the CPU has
at_large c bool the folio whose lock the CPU has was a large one
at_first c p the page that it found at the first address
at_second c p the page that it found at the second one
at_writable c bool whether the PTE that it remembers is writable
at_trapped c bool whether the PTE that it remembers has a trap
value p d the contents
stored e d what was written to the slot
expected mv d what a read has to give
undefined mv bool it is not defined what a read gives
dirty p bool nothing else has the contents
swapbacked p bool it must not be dropped
written_by p r the reference through which a device wrote last
at_contents c d the contents that the CPU has copied
""".splitlines()
)
"""The fields; those of an assertion are added by name, as ``at:name``."""
OF_CONTENTS = frozenset(
    {
        *("value", "stored", "expected", "undefined", "at_contents"),
        *("dirty", "swapbacked", "written_by"),
    }
)
"""Fields of which only the proof of contents speaks."""
OF_FOLIOS = frozenset(
    {
        *("large", "row", "tail", "entire", "huge", "huge_page", "huge_writable"),
        *(
            "invalid",
            "detached",
            "zero",
            "at_lock",
            "at_large",
            "at_first",
            "at_second",
        ),
    }
)
"""Fields of which only the proof of large folios speaks."""
OF_SWAP = frozenset(
    {
        *("swapped", "slot", "trapped", "tracked", "ksm", "cached"),
        *("cached_in", "writeback", "has_folio", "folio", "at_slot", "at_trapped"),
        "at_new_address",
    }
)
"""Fields of swap, KSM, traps and moves: the proof of large folios leaves them out."""


class View:
    """A state as the invariant sees it: one text for the solver and for Python.

    Attributes:
        promises: what the model promises.
    """

    promises = Promises()

    @property
    def remembers(self) -> bool:
        """Swap and migration entries remember the bit."""
        return self.promises.remembers

    def get(self, name: str, *arguments: Any) -> Any:
        """The value of a field."""
        raise NotImplementedError

    def same(self, one: Any, other: Any) -> Any:
        """Whether two things are one."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments: self.get(name, *arguments)

    def stands(self, name: str, c: Any, m: Any, v: Any, p: Any) -> Any:
        """The CPU stands at an assertion, with this process, address and page."""
        where = both(self.same(self.at_process(c), m), self.same(self.at_address(c), v))
        return both(self.get(f"at:{name}", c), where, self.same(self.at_page(c), p))

    @property
    def zeroes(self) -> Any:
        """The contents of a new page."""
        raise NotImplementedError

    def firm(self, r: Any) -> Any:
        """The promise to the reference outlives fork."""
        return self.pin(r) if self.promises.pins_only else True

    def one_holder(self, p: Any) -> Any:
        """Any two holders of the page are one."""
        raise NotImplementedError

    def lets_write(self, r: Any, p: Any) -> Any:
        """A device may write to the page through the reference."""
        taken = both(self.returned(r), self.anonymous(r), self.same(self.of(r), p))
        return both(taken, self.may_write(r))

    # -- large folios ------------------------------------------------------------------

    @property
    def has_folios(self) -> bool:
        """Whether there are large folios; else each page is its own head."""
        return False

    def head(self, p: Any) -> Any:
        """The head of the page's folio: the page itself unless the folio is large."""
        raise NotImplementedError

    def first(self, v: Any) -> Any:
        """The address is the first one of the process, where heads are mapped."""
        raise NotImplementedError

    def second(self, v: Any) -> Any:
        """The address is the other one."""
        raise NotImplementedError

    def pmd_maps(self, m: Any, p: Any) -> Any:
        """The PMD of the process maps the folio whose head is the page."""
        return both(self.huge(m), self.same(self.huge_page(m), p))

    def whole(self, p: Any) -> Any:
        """The page is one of a large folio that a PMD maps."""
        return both(self.large(p), self.entire(self.row(p)))

    def bit(self, p: Any) -> Any:
        """The bit that speaks for a page: the head's while a PMD maps the folio."""
        if not self.has_folios:
            return self.exclusive(p)
        whole = self.whole(p)
        heads = both(whole, self.exclusive(self.row(p)))
        return either(heads, both(no(whole), self.exclusive(p)))

    def one_folio(self, p: Any, q: Any) -> Any:
        """The pages are of one folio."""
        return self.same(self.head(p), self.head(q))

    def covers(self, m: Any, v: Any, p: Any) -> Any:
        """The PMD maps a folio whose page at this address is the page."""
        if not self.has_folios:
            return False
        at_the_head = self.same(p, self.row(p))
        here = either(
            both(self.first(v), at_the_head), both(no(self.first(v)), no(at_the_head))
        )
        return both(self.pmd_maps(m, self.row(p)), here)

    def writable_at(self, m: Any, v: Any) -> Any:
        """The PTE or the PMD lets the CPU write, or the entry will."""
        if not self.has_folios:
            return self.writable(m, v)
        huge = both(self.huge(m), self.huge_writable(m))
        return either(huge, both(no(self.huge(m)), self.writable(m, v)))

    def present(self, m: Any, v: Any) -> Any:
        """A PTE or a PMD maps an anonymous page there."""
        return either(self.mapped(m, v), self.huge(m))

    def pte_maps(self, m: Any, v: Any, p: Any) -> Any:
        """The PTE maps the page."""
        return both(self.mapped(m, v), self.same(self.page(m, v), p))

    def maps(self, m: Any, v: Any, p: Any) -> Any:
        """The PTE or the PMD maps the page."""
        return either(self.pte_maps(m, v, p), self.covers(m, v, p))

    def waits(self, m: Any, v: Any, p: Any) -> Any:
        """A swap or migration entry leads to the page."""
        swap = both(
            self.swapped(m, v),
            self.has_folio(self.slot(m, v)),
            self.same(self.folio(self.slot(m, v)), p),
        )
        return either(both(self.moving(m, v), self.same(self.page(m, v), p)), swap)
