# %% [markdown]
# # What the models decide
#
# The models of COW that Linux had, or nearly had, share their operations. They
# differ in a handful of decisions: may this page be kept, may it be shared, may GUP
# return it. This chapter names the decisions; each is answered where its rules stand.
#
# ## What a caller asks for

# %%
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from spec.memory import Mm, Page, Pte, Reference

SKETCH = (
    "Hildenbrand, 2021-12-19, Re: [PATCH v1 06/11] mm: support GUP-triggered "
    "unsharing via FAULT_FLAG_UNSHARE (!hugetlb)"
)
REFINED = "Hildenbrand, 2021-12-21, same thread, in reply to Gunthorpe"
PROTOCOL = (
    "6c287605fd56 (5.19), mm: remember exclusively mapped anonymous pages with "
    "PG_anon_exclusive"
)
"""Sources that many rules have in common: the sketch, its refinement, upstream."""


# %%
@dataclass(frozen=True, slots=True)
class Foll:
    """What a caller of GUP asks for (``FOLL_*``); without `pin`: ``FOLL_GET``.

    `cow` is FOLL_COW: GUP itself noted that a write fault broke COW although the
    mapping is read-only (removed by 5535be309971, 6.0).
    """

    write: bool = False
    pin: bool = False
    longterm: bool = False
    force: bool = False
    cow: bool = False


@dataclass(frozen=True, slots=True)
class FaultFlags:
    """Why a fault is handled (``FAULT_FLAG_*``); `gup` if a GUP request needs it."""

    write: bool = False
    unshare: bool = False
    gup: bool = False
    force: bool = False


# %% [markdown]
# ## The decisions
#
# Operations ask; a model answers and does nothing else.


# %%
class Model(Protocol):
    """The decisions on which the models of COW differ."""

    @property
    def name(self) -> str:
        """What the model is called on the command line."""

    @property
    def family(self) -> str:
        """The model whose rules it promises to keep: itself, or the one it varies."""

    @property
    def without(self) -> frozenset[str]:
        """Ids of rules that operations do not obey on it: a release may lack some."""

    def may_reuse(self, mm: Mm, page: Page) -> bool:
        """May a fault keep this page for its process, though the bit is clear?"""

    def waits_for_lock(self) -> bool:
        """Does a write fault wait for the folio lock, instead of copying?"""

    def starts_exclusive(self, mm: Mm, why: FaultFlags) -> bool:
        """Does the page that a fault leaves mapped get its bit set?"""

    def may_upgrade(self, page: Page) -> bool:
        """May mprotect make the mapping writable without a fault?"""

    def may_trap(self, page: Page, trap: str) -> bool:
        """May soft-dirty or a NUMA hint take this mapping's write permission?"""

    def may_return(self, foll: Foll, pte: Pte, page: Page) -> bool:
        """May GUP return this page as it is mapped now?"""

    def may_set_bit(self, mm: Mm, pte: Pte, page: Page) -> bool:
        """May GUP set the bit itself, instead of asking for an unshare fault?"""

    def pretends_to_write(self, for_gup: bool) -> bool:
        """Does whoever breaks COW without writing (GUP, else KSM) claim to write?"""

    def unshares_zeropage(self, foll: Foll) -> bool:
        """Must GUP replace the shared zeropage before it returns?"""

    def syncs_with_fork(self, mm: Mm, foll: Foll) -> bool:
        """Does GUP-fast back off if it raced with fork?"""

    def may_share(self, mm: Mm, page: Page) -> bool:
        """May fork share this page with the child, or must it copy?"""

    def child_starts_exclusive(self) -> bool:
        """Does the copy that fork gives the child get its bit set?"""

    def protects(self, foll: Foll) -> bool:
        """Is the address promised to keep the page while this reference lives?"""

    def protects_across_fork(self, ref: Reference) -> bool:
        """Does that promise outlive a fork of the process?"""

    def may_unmap(self, page: Page) -> bool:
        """May reclaim or migration take the page from this cleared PTE?"""

    def entry_remembers(self, page: Page) -> bool:
        """Does a swap or migration entry note that the bit was set?"""

    def swapin_exclusive(self, page: Page, remembered: bool) -> bool:
        """Does a page that comes back from swap get its bit set?"""

    def swapin_reuses(self, page: Page) -> bool:
        """May a write fault map it writable though its bit is clear?"""

    def may_share_entry(self, page: Page, remembered: bool) -> bool:
        """May fork share the entry of a page in the swap cache, or must it copy?"""

    def may_reuse_large(self, mm: Mm, page: Page) -> bool:
        """May a fault keep a PTE-mapped page of a large folio, the bit clear?"""

    def may_reuse_huge(self, mm: Mm, folio: Page) -> bool:
        """May a fault keep a folio that a PMD maps, the bit clear?"""

    def may_force(self, foll: Foll, page: Page) -> bool:
        """May FOLL_FORCE write to this page through a read-only PTE?"""

    def may_move(self, page: Page) -> bool:
        """May UFFDIO_MOVE move this page, which nobody references?"""


# %% [markdown]
# The sketch is written decision by decision, each beside its rules. `@sketch`
# puts a function in place as the sketch's answer to the decision of that name.


# %%
class Sketch:
    """The normative model: its answers stand beside its rules."""

    family = "sketch"
    without: frozenset[str] = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name

    may_reuse: Callable[[Mm, Page], bool]
    waits_for_lock: Callable[[], bool]
    starts_exclusive: Callable[[Mm, FaultFlags], bool]
    may_upgrade: Callable[[Page], bool]
    may_trap: Callable[[Page, str], bool]
    may_return: Callable[[Foll, Pte, Page], bool]
    may_set_bit: Callable[[Mm, Pte, Page], bool]
    pretends_to_write: Callable[[bool], bool]
    unshares_zeropage: Callable[[Foll], bool]
    syncs_with_fork: Callable[[Mm, Foll], bool]
    may_share: Callable[[Mm, Page], bool]
    child_starts_exclusive: Callable[[], bool]
    protects: Callable[[Foll], bool]
    protects_across_fork: Callable[[Reference], bool]
    may_unmap: Callable[[Page], bool]
    entry_remembers: Callable[[Page], bool]
    swapin_exclusive: Callable[[Page, bool], bool]
    swapin_reuses: Callable[[Page], bool]
    may_share_entry: Callable[[Page, bool], bool]
    may_reuse_large: Callable[[Mm, Page], bool]
    may_reuse_huge: Callable[[Mm, Page], bool]
    may_force: Callable[[Foll, Page], bool]
    may_move: Callable[[Page], bool]

    def __call__(self, answer: Callable[..., bool]) -> Callable[..., bool]:
        """Use `answer` for the decision that bears its name."""
        setattr(self, answer.__name__, answer)
        return answer


sketch = Sketch("sketch")
