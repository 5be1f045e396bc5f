# %%
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from spec.memory import Machine, Mm, Page, Pte
from spec.rules import BIT_MODELS, Step, rule


# %%
@dataclass(frozen=True, slots=True)
class Foll:
    """What a caller of GUP asks for (``FOLL_*``)."""

    write: bool = False
    pin: bool = False
    longterm: bool = False


@dataclass(frozen=True, slots=True)
class FaultFlags:
    """Why a page fault is handled (``FAULT_FLAG_*``); `gup` if GUP needs it."""

    write: bool = False
    unshare: bool = False
    gup: bool = False


# %%
class Model(Protocol):
    """The decisions on which the models of COW differ, and nothing else."""

    name: str

    def may_reuse(self, mm: Mm, page: Page) -> bool:
        """May a write fault give this page back, its bit being clear?"""

    def may_return(self, mm: Mm, foll: Foll, pte: Pte, page: Page) -> bool:
        """May GUP return this page as it is mapped now?"""

    def may_set_bit(self, mm: Mm, pte: Pte, page: Page) -> bool:
        """May GUP set the bit itself, instead of asking for an unshare fault?"""

    def may_share(self, mm: Mm, page: Page) -> bool:
        """May fork map this page into the child, or must it copy?"""

    def may_upgrade(self, page: Page) -> bool:
        """May mprotect make a mapping of this page writable without a fault?"""

    def starts_exclusive(self, mm: Mm, why: FaultFlags) -> bool:
        """Does the page that a fault maps start with its bit set?"""

    def child_starts_exclusive(self) -> bool:
        """Does the copy that fork makes start with its bit set?"""

    def unshares_zeropage(self, foll: Foll) -> bool:
        """Must GUP replace the shared zeropage before it returns?"""

    def syncs_with_fork(self, foll: Foll) -> bool:
        """Does GUP-fast back off if fork ran meanwhile?"""

    def protects(self, foll: Foll) -> bool:
        """Is the address promised to keep the page while this reference lives?"""

    def protects_across_fork(self, foll: Foll) -> bool:
        """Does the promise outlive a fork of the process?"""


# %%
THE_SKETCH = "Hildenbrand, 2021-12-19, Re: [PATCH v1 06/11] mm: support GUP-triggered unsharing"
REFINEMENT = "Hildenbrand, 2021-12-21, same thread, reply to Gunthorpe"


# %%
def mapped_by(step: Step, page: Page) -> list[tuple[Mm, Pte]]:
    """The mappings of `page` before the step."""
    return [
        (mm, pte)
        for mm in step.before.mms.values()
        for va in step.before.names.vas
        if (pte := mm.pte[va]) is not None and pte.pfn == page.name
    ]


@rule(
    "AE-SET-1",
    source=REFINEMENT,
    kernel=("mm/memory.c:do_wp_page", "mm/gup.c:follow_page_pte"),
    models=BIT_MODELS,
)
def bit_is_set_under_the_ptl(step: Step) -> bool:
    """A step MUST hold the page table lock of the mapping while it sets the bit of a mapped page."""
    return all(
        mm.ptl for page in step.sets_bit() for mm, _ in mapped_by(step, page)
    )


def other_holders(machine: Machine, mm: Mm, page: Page) -> set[str]:
    """The other processes that map `page` or for which GUP returned it."""
    mappers = {
        other.name
        for other in machine.mms.values()
        for va in machine.names.vas
        if (pte := other.pte[va]) is not None and pte.pfn == page.name
    }
    holders = {
        str(ref.mm)
        for ref in machine.refs.values()
        if ref.state == "live" and ref.pfn == page.name
    }
    return (mappers | holders) - {mm.name}


@rule(
    "AE-SET-2",
    source=REFINEMENT,
    kernel=("mm/memory.c:wp_can_reuse_anon_folio",),
    models=BIT_MODELS,
)
def bit_needs_sole_owner(step: Step) -> bool:
    """A step MUST NOT set the bit of a page that another process maps or holds a reference to."""
    return not any(
        other_holders(step.before, mm, page)
        for page in step.sets_bit()
        for mm, _ in mapped_by(step, page)
    )


def sets_bit_of_writable_page(step: Step) -> bool:
    return any(
        pte.writable and page.refcount > 1
        for page in step.sets_bit()
        for _, pte in mapped_by(step, page)
    )


def sets_bit_of_read_only_page(step: Step) -> bool:
    return any(
        not pte.writable
        for page in step.sets_bit()
        for _, pte in mapped_by(step, page)
    )


@rule(
    "AE-SET-3",
    source=REFINEMENT,
    kernel=(),
    taken=sets_bit_of_writable_page,
    declined=sets_bit_of_read_only_page,
)
def writable_page_may_be_marked(step: Step) -> bool:
    """A page that one page table maps writable MAY get its bit set whatever its reference count."""
    return all(
        len(mapped_by(step, page)) == 1
        for page in step.sets_bit()
        if page.refcount > 1
    )


@rule("AE-SET-4", source=THE_SKETCH, kernel=())
def nobody_asked_no_bit(step: Step) -> bool:
    """A step MUST NOT set the bit on behalf of a process for which no GUP request was made."""
    return all(
        step.after.mms[mm.name].asked_gup
        for page in step.sets_bit()
        for mm in step.after.mms.values()
        for va in step.after.names.vas
        if (pte := mm.pte[va]) is not None and pte.pfn == page.name
    )


# %%
@rule(
    "AE-CLR-1",
    source=THE_SKETCH,
    kernel=("mm/mprotect.c:change_pte_range",),
    models=BIT_MODELS,
)
def write_protection_keeps_the_bit(step: Step) -> bool:
    """A step that write-protects a mapping without sharing the page MUST NOT clear its bit."""
    cleared = {page.name for page in step.clears_bit()}
    return not any(
        old is not None
        and new == Pte(old.pfn, writable=False)
        and old.pfn in cleared
        for _, _, old, new in step.changes_pte()
    )


@rule("AE-CLR-2", source=THE_SKETCH, kernel=("mm/gup.c:gup_put_folio",), models=BIT_MODELS)
def put_keeps_the_bit(step: Step) -> bool:
    """Dropping a reference MUST NOT clear the bit of a page that stays mapped."""
    cleared = {page.name for page in step.clears_bit()}
    return not any(
        ref.pfn in cleared and step.after.pages[str(ref.pfn)].refcount > 0
        for ref in step.drops()
    )


@rule(
    "AE-CLR-3",
    source="mm/page_alloc.c, v6.1",
    kernel=("mm/page_alloc.c:free_pages_prepare",),
    models=BIT_MODELS,
)
def free_page_has_no_bit(step: Step) -> bool:
    """Freeing a page MUST clear its bit."""
    return not any(page.anon_exclusive for page in step.frees())
