# %% [markdown]
# # For any number: large folios
#
# The fourth part of [the proof](proof.py). The first two parts speak of pages that are
# folios of their own. Here some are parts of a large folio, and a PMD may map all of
# them at once. Processes, folios, references and CPUs are any number; a folio has two
# pages and a process two addresses, which is what the model's folios have in the
# bounds.
#
# The argument is the same, and so is its text: who owns a page is alone with it. What
# changes are four words. A page is *held* by whoever holds a page of its folio, for
# they have one count. A PMD *maps* each page of its folio, at the address where it is.
# The *bit* of a page is that of the head while a PMD maps the folio. The *lock* of a
# page is that of its folio.
#
# What is left out here: swap, migration, KSM, traps, `mremap()` and contents. The model
# does them with base pages only, and there they are proved.

# %%
from __future__ import annotations

from typing import Any

import spec.proof_places  # noqa: F401  its assertions are of large folios as well
from spec.decisions import PROTOCOL
from spec.memory import Machine
from spec.proof import has_bit, holds_on, maps, proof, waits, will_stay
from spec.proof_places import locked_mapping, locked_page
from spec.prover.assertions import Proof
from spec.prover.state import View
from spec.prover.words import both, either, implies, no
from spec.rules import rule

LEFT_OUT = (
    *("untracked", "quiet", "outgoing", "writing", "swapin", "migrating", "fresh"),
    *("remapping", "empty", "forgotten", "merging", "merging one", "unused"),
    *("shareable", "write-protected"),
)
"""Assertions for places where only base pages are swapped, migrated, moved, merged.

With traps, AE-INV-11 is left out, of who waits for a write.
"""

folios = Proof(of=proof, but=(*LEFT_OUT, "AE-INV-11"))


def alike(one: Any, other: Any) -> Any:
    """Both are so, or neither is."""
    return both(implies(one, other), implies(other, one))


# %% [markdown]
# ## Names
#
# A row of two pages can be a large folio. These two sentences are no claims: they say
# how pages and addresses are named.
#
# ### AE-ASM-8 {#AE-ASM-8}
#
# Which free page an allocation takes is tried by exploration. The proof takes one of a
# row that is free as a whole: what a base page shares a row with is asked by nobody.


# %%
@rule("AE-ASM-8", source=PROTOCOL, over="assumption")
def allocation_decides_nothing(machine: Machine) -> bool:
    """Nothing depends on which free page becomes a base page, nor on which free row
    becomes a large folio."""
    return True


# %% [markdown]
# The two sentences:


# %%
@folios.axiom
def pages_are_in_rows(s: View, p: Any) -> Any:
    """Each page is the first or the second one of its row."""
    first, second = s.row(p), s.tail(p)
    of_one_row = both(s.same(s.row(first), first), s.same(s.row(second), first))
    ends = both(s.same(s.tail(first), second), s.same(s.tail(second), second))
    one_of_them = either(s.same(p, first), s.same(p, second))
    return both(of_one_row, ends, no(s.same(first, second)), one_of_them)


@folios.axiom
def there_are_two_addresses(s: View, v: Any) -> Any:
    """An address is the first or the second one."""
    return either(s.first(v), s.second(v))


# %% [markdown]
# ## What a large folio is


# %%
@folios.clause
def large_folios_are_whole(s: View, p: Any) -> Any:
    """Both pages of a row are of one large folio, or none is; a large folio is in
    use."""
    whole = both(s.large(s.row(p)), s.large(s.tail(p)), no(s.free(s.row(p))))
    return implies(s.large(p), whole)


@folios.clause
def heads_are_mapped_whole(s: View, p: Any) -> Any:
    """Only the head of a large folio counts PMDs."""
    return implies(s.entire(p), both(s.large(p), s.same(s.row(p), p)))


@folios.clause
def pmds_map_large_folios(s: View, m: Any) -> Any:
    """A PMD maps a large folio, by its head, which counts it."""
    p = s.huge_page(m)
    return implies(s.huge(m), both(s.large(p), s.same(s.row(p), p), s.entire(p)))


@folios.clause
def pages_of_folios_are_at_their_address(s: View, m: Any, v: Any, p: Any) -> Any:
    """A page of a large folio is mapped at the address that it has in the folio."""
    there = either(maps(s, m, v, p), waits(s, m, v, p))
    at_the_head = s.same(p, s.row(p))
    return implies(both(there, s.large(p)), alike(s.first(v), at_the_head))


@folios.clause
def pages_of_entries_are_in_use(s: View, m: Any, v: Any) -> Any:
    """The page of a migration entry is not free."""
    return implies(s.moving(m, v), no(s.free(s.head(s.page(m, v)))))


# %% [markdown]
# ## The bit of the head
#
# While a PMD maps the folio no other page has a bit of its own
# ([AE-HUGE-1](hugepage.py#AE-HUGE-1)). What would lose it? Splitting the PMD: the bit
# then is that of each page ([AE-HUGE-2](hugepage.py#AE-HUGE-2)). If the folio has an
# owner, its PMD is the last one: any other would be a second mapping.


# %%
@folios.clause
def bit_of_a_whole_folio_is_the_heads(s: View, p: Any) -> Any:
    """While a PMD maps the folio no page but the head has a bit."""
    return implies(both(s.whole(p), s.exclusive(p)), s.same(s.row(p), p))


@folios.clause
def owner_of_a_whole_folio_has_a_pmd(s: View, m: Any, v: Any, p: Any) -> Any:
    """While a PMD maps the folio nobody has the bit of a page through a PTE."""
    return implies(both(s.whole(p), has_bit(s, m, v, p)), s.huge(m))


# %% [markdown]
# ## A PMD and a page table


# %%
@folios.clause
def pmd_is_one_thing(s: View, m: Any) -> Any:
    """A PMD that maps a folio is not one whose page table was taken out."""
    return no(both(s.huge(m), s.detached(m)))


@folios.clause
def table_is_empty_under_a_pmd(s: View, m: Any, v: Any) -> Any:
    """Where a PMD maps a folio there is no PTE, nor one that is suspended."""
    c = s.ptl_by(m)
    restored = both(s.ptl(m), s.get("at:cleared", c), s.same(s.at_process(c), m))
    entry = either(s.mapped(m, v), s.moving(m, v), s.zero(m, v))
    return implies(s.huge(m), no(either(entry, restored)))


@folios.clause
def pmds_are_at_used_addresses(s: View, m: Any, v: Any) -> Any:
    """Where a PMD maps a folio, something was mapped."""
    return implies(s.huge(m), s.touched(m, v))


@folios.clause
def invalid_pmds_are_being_split(s: View, m: Any) -> Any:
    """A PMD is invalid only while it is split, under the page table lock."""
    c = s.ptl_by(m)
    splits = both(s.ptl(m), s.get("at:splitting a PMD", c), s.same(s.at_process(c), m))
    return implies(both(s.huge(m), s.invalid(m)), splits)


@folios.at("splitting a PMD", ("split_huge_pmd", "folio ="))
def while_a_pmd_is_split(s: View, c: Any) -> Any:
    """The page table lock is held. The PMD is invalid, and maps what it did."""
    m, p = s.at_process(c), s.at_page(c)
    whole = both(s.pmd_maps(m, p), s.invalid(m))
    allowed = s.same(s.huge_writable(m), s.at_writable(c))
    return both(s.ptl(m), s.same(s.ptl_by(m), c), whole, allowed)


# %% [markdown]
# ## Setting and clearing the bit
#
# Between the test and the store the folio lock or the page table lock is held. Who has
# the folio lock finds the same head when it lets go.


# %%
@folios.at(
    "working",
    ("wp_can_reuse_anon_folio", "reuse ="),
    ("wp_can_reuse_anon_folio", "page.anon_exclusive"),
)
def while_the_folio_is_locked(s: View, c: Any) -> Any:
    """The page that was locked is the head of the folio, and as large as it was."""
    p = s.at_page(c)
    locked = both(locked_page(s, c), s.same(s.at_lock(c), s.head(p)))
    return both(locked_mapping(s, c), locked, alike(s.large(p), s.at_large(c)))


@folios.at("keeping one", ("do_wp_page", "yield from wp_page_copy"))
def before_one_page_is_kept(s: View, c: Any) -> Any:
    """A PTE maps the page."""
    m, v = s.at_process(c), s.at_address(c)
    return both(locked_mapping(s, c), s.pte_maps(m, v, s.at_page(c)))


@folios.at("keeping all", ("do_huge_pmd_wp_page", "yield from split_huge_pmd"))
def before_a_folio_is_kept(s: View, c: Any) -> Any:
    """A PMD maps the folio."""
    m = s.at_process(c)
    whole = both(s.pmd_maps(m, s.at_page(c)), no(s.invalid(m)))
    return both(locked_mapping(s, c), whole)


@folios.at(
    "taking",
    ("is_or_becomes_exclusive", "marked"),
    ("is_or_becomes_exclusive", "return True"),
    only="sketch",
)
def before_gup_takes_a_page(s: View, c: Any) -> Any:
    """The address maps the page, by a PTE or as a part of a folio."""
    m, v, p = s.at_process(c), s.at_address(c), s.at_page(c)
    return both(s.maps(m, v, p), s.ptl(m), s.same(s.ptl_by(m), c))


@folios.at("setting one", ("wp_can_reuse_anon_folio", "page.anon_exclusive"))
def before_the_bit_of_one_page_is_set(s: View, c: Any) -> Any:
    """If a PTE maps the page, no PMD maps the folio; else the page is the head."""
    m, p = s.at_process(c), s.at_page(c)
    return both(locked_mapping(s, c), either(s.pmd_maps(m, p), no(s.whole(p))))


@folios.at("sharing one", ("copy_present_pte", ""))
def while_one_page_is_shared(s: View, c: Any) -> Any:
    """A PTE maps the page; if the page has the bit, no PMD maps the folio."""
    m, v, p = s.at_process(c), s.at_address(c), s.at_page(c)
    marked = implies(s.get("at:share", c), no(s.whole(p)))
    return both(locked_mapping(s, c), s.pte_maps(m, v, p), marked)


@folios.at(
    "sharing all",
    ("copy_huge_pmd", "folio."),
    ("copy_huge_pmd", "mm.pmd ="),
    ("copy_huge_pmd", "get_page"),
)
def while_a_folio_is_shared(s: View, c: Any) -> Any:
    """A PMD maps the folio."""
    m = s.at_process(c)
    whole = both(s.pmd_maps(m, s.at_page(c)), no(s.invalid(m)))
    return both(locked_mapping(s, c), whole)


# %% [markdown]
# ## Splitting the folio
#
# The folio lock is held from beginning to end, so that migration entries of its pages
# are replaced by who made them. The folio is cut apart when the count has no reference
# but its own ([AE-HUGE-8](largefolio.py#AE-HUGE-8)). A reference that was taken later
# is one of a GUP-fast that will find the PTE changed.


# %%
@folios.at(
    "splitting",
    ("split_folio", "split ="),
    ("unmap_and_split", ""),
)
def while_a_folio_is_split(s: View, c: Any) -> Any:
    """The folio is locked and held."""
    p = s.at_lock(c)
    held = both(s.holds(c), s.same(s.held(c), p), s.same(s.row(p), p))
    locked = both(s.locked(p), s.same(s.locked_by(p), c))
    return both(held, locked, alike(s.large(p), s.at_large(c)))


@folios.at(
    "unmapping",
    ("split_folio", "split ="),
    ("unmap_and_split", "split ="),
)
def while_a_folio_is_unmapped(s: View, c: Any) -> Any:
    """The folio is large, and no PMD maps it."""
    p = s.at_lock(c)
    return both(s.get("at:splitting", c), s.large(p), no(s.entire(p)))


@folios.at(
    "mapping again",
    ("unmap_and_split", "for part"),
    ("unmap_and_split", "if split"),
)
def while_pages_are_mapped_again(s: View, c: Any) -> Any:
    """The folio is as large as it was; or it is cut apart, and the tail locked, too."""
    p, tail = s.at_lock(c), s.target(c)
    whole = both(s.large(p), no(s.entire(p)))
    locked = both(s.locked(tail), s.same(s.locked_by(tail), c))
    apart = both(s.prepares(c), s.same(tail, s.tail(p)), no(s.large(p)), locked)
    return both(s.get("at:splitting", c), either(both(no(s.prepares(c)), whole), apart))


# %% [markdown]
# ## Collapse
#
# The page table is taken out of the PMD before the counts are compared
# ([AE-HUGE-4](largefolio.py#AE-HUGE-4)). A GUP-fast that comes later finds the PMD
# changed ([AE-HUGE-6](largefolio.py#AE-HUGE-6)); one that came before is counted
# ([AE-HUGE-5](largefolio.py#AE-HUGE-5)).


# %%
@folios.clause
def detached_tables_are_being_replaced(s: View, m: Any) -> Any:
    """A page table is out of the PMD only while it is collapsed, under its lock."""
    c = s.ptl_by(m)
    its = both(s.get("at:collapsing", c), s.same(s.at_process(c), m))
    return implies(s.detached(m), both(s.ptl(m), its))


@folios.at("collapsing", ("collapse_locked", ""))
def while_a_table_is_collapsed(s: View, c: Any, v: Any) -> Any:
    """Both locks are held. The PTEs map the pages that were found."""
    m = s.at_process(c)
    locked = both(s.ptl(m), s.same(s.ptl_by(m), c))
    alone = both(s.write_locked(m), s.same(s.write_locked_by(m), c))
    first = implies(s.first(v), s.same(s.page(m, v), s.at_first(c)))
    second = implies(s.second(v), s.same(s.page(m, v), s.at_second(c)))
    small = no(either(s.large(s.at_first(c)), s.large(s.at_second(c))))
    return both(locked, alone, s.mapped(m, v), first, second, small, s.detached(m))


@folios.at(
    "collapsible", ("collapse_locked", "mm.pmd ="), ("collapse_locked", "folio =")
)
def before_the_pages_are_replaced(s: View, c: Any, r: Any) -> Any:
    """If a page has the bit, nobody relies on it and nobody will."""
    p = s.of(r)
    found = either(s.same(p, s.at_first(c)), s.same(p, s.at_second(c)))
    relies = both(s.bit(p), holds_on(s, r, p), will_stay(s, r), s.protected(r))
    return both(s.get("at:collapsing", c), no(both(found, relies)))
