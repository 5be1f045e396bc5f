# %% [markdown]
# # For any number: contents
#
# The third part of [the proof](proof.py) is about what a read gives
# ([AE-INV-8](guarantees.py#AE-INV-8)): no write is lost, however many processes, pages
# and slots there are. What the first two parts show is assumed before each step. The
# steps are the same, with contents.
#
# The quantity is this: *where are the contents that a read at an address has to give?*
# They are in the page that is mapped there; or in the page to which a migration entry
# leads, and in the new one once it is filled; or in the page that the swap cache has
# for a swap entry, else in its slot. Where nothing is, a read gives zeroes.
#
# What would lose them? A write to that place through another address or by a device:
# who writes owns the page, and an owner is alone. Or a step that goes to another place
# which has other contents: a copy that was made too early, a page that was dropped
# before its slot was written, a new page that was mapped before it was filled, a page
# that KSM replaced by one that was equal a moment ago. All that is difficult is what
# the flags say: when a clean page is as good as its slot.

# %%
from __future__ import annotations

from typing import Any

from spec.proof import arriving, holds_on, maps, proof, waits
from spec.proof_places import locked_page
from spec.prover.assertions import Proof
from spec.prover.state import View
from spec.prover.words import both, either, implies, no

contents = Proof(given=proof)

# %% [markdown]
# Contents are things of a sort of their own: they can be equal or not, and nothing else
# is known of them but which are the zeroes of a new page. An operation that reads a
# page gets contents of any kind; that two pages are equal is tried where KSM compares
# them. Which reference a device used last is noted beside the state.
#
# ## Words
#
# A device that writes through a reference without a promise leaves open what others
# read. So does MADV_FREE. What is read is then *not defined* until the next write.


# %%
def right(s: View, m: Any, v: Any, d: Any) -> Any:
    """A read at the address may give these contents."""
    return either(s.undefined(m, v), s.same(s.expected(m, v), d))


def empty(s: View, m: Any, v: Any) -> Any:
    """Nothing is mapped, no entry is there, and no PTE will be restored."""
    entry = either(s.mapped(m, v), s.moving(m, v), s.swapped(m, v))
    by = s.ptl_by(m)
    here = both(s.same(s.at_process(by), m), s.same(s.at_address(by), v))
    restored = both(s.ptl(m), s.get("at:cleared", by), here)
    return no(either(entry, restored))


def unfilled(s: View, p: Any) -> Any:
    """The page is the new one of a migration, and does not have the contents yet."""
    c = s.locked_by(p)
    new = both(s.prepares(c), s.same(s.target(c), p))
    return both(s.locked(p), s.get("at:fresh", c), new)


def fills(s: View, c: Any) -> Any:
    """The CPU migrates to a new page that does not have the contents yet."""
    return both(s.get("at:fresh", c), s.prepares(c))


def merges(s: View, c: Any) -> Any:
    """The CPU is in KSM at a page that it write-protects, or has."""
    names = ("unused", "shareable", "write-protected")
    return either(*(s.get(f"at:{name}", c) for name in names))


def arrives(s: View, m: Any, v: Any, p: Any) -> Any:
    """A migration entry will be replaced by the page, which has the contents."""
    return both(arriving(s, m, v, p), no(unfilled(s, p)))


def device_writes(s: View, r: Any, p: Any) -> Any:
    """A device may write to the page, or will."""
    return both(holds_on(s, r, p), s.may_write(r))


def being_written(s: View, p: Any) -> Any:
    """The device that wrote to the page last still has its reference."""
    return s.lets_write(s.written_by(p), p)


def has_stored(s: View, p: Any, q: Any) -> Any:
    """The slot of a page in the swap cache has the contents of the page `q`."""
    return s.same(s.stored(s.cached_in(p)), s.value(q))


# %% [markdown]
# ## The invariant
#
# The first three clauses are the argument: wherever the contents are, they are right.
# The fourth says what is read where they are nowhere.


# %%
@contents.clause
def mapped_contents_are_right(s: View, m: Any, v: Any, p: Any) -> Any:
    """A page that is mapped has the contents that a read has to give."""
    return implies(maps(s, m, v, p), right(s, m, v, s.value(p)))


@contents.clause
def swapped_contents_are_right(s: View, m: Any, v: Any) -> Any:
    """A swap entry leads to them: to the page that the swap cache has, or the old page
    while that one is not filled, or else to the slot."""
    e = s.slot(m, v)
    p = s.folio(e)
    old = s.at_page(s.locked_by(p))
    filled = implies(no(unfilled(s, p)), right(s, m, v, s.value(p)))
    moved = implies(unfilled(s, p), right(s, m, v, s.value(old)))
    cached = implies(s.has_folio(e), both(filled, moved))
    stored = implies(no(s.has_folio(e)), right(s, m, v, s.stored(e)))
    return implies(s.swapped(m, v), both(cached, stored))


@contents.clause
def moving_contents_are_right(s: View, m: Any, v: Any, p: Any) -> Any:
    """A migration entry leads to them, and to the new page once that one is filled."""
    old = implies(s.moving(m, v), right(s, m, v, s.value(s.page(m, v))))
    return both(old, implies(arrives(s, m, v, p), right(s, m, v, s.value(p))))


@contents.clause
def empty_addresses_read_zeroes(s: View, m: Any, v: Any) -> Any:
    """Where nothing is, a read has to give zeroes."""
    return implies(empty(s, m, v), right(s, m, v, s.zeroes))


# %% [markdown]
# A fault copies without the page table lock. Meanwhile the page may go and come back
# to the address: by swap, by migration, by KSM. While it can come back nobody owns it,
# so that the copy stays right.


# %%
@contents.clause
def copies_are_right(s: View, c: Any) -> Any:
    """While the address leads to the page that was copied, the copy is right; the copy
    of a KSM page is equal to it."""
    m, v, old = s.at_process(c), s.at_address(c), s.at_page(c)
    here = either(maps(s, m, v, old), waits(s, m, v, old))
    copied = implies(here, right(s, m, v, s.at_contents(c)))
    shared = implies(s.ksm(old), s.same(s.at_contents(c), s.value(old)))
    return implies(s.get("at:copying", c), both(copied, shared))


# %% [markdown]
# ## What the flags say
#
# A clean page in the swap cache can be dropped: its slot has the contents. A device
# does not make the page dirty while it writes, but when it lets go of it. Until then
# the count keeps the page ([AE-SWAP-6](writeback.py#AE-SWAP-6)). The same is true of a
# page that MADV_FREE has marked: while it is clean it can be dropped without a slot
# ([AE-SWAP-13](lazyfree.py#AE-SWAP-13)).


# %%
@contents.clause
def clean_pages_are_stored(s: View, p: Any) -> Any:
    """A clean page in the swap cache has the contents of its slot, unless the slot or
    the page is just being written."""
    clean = both(s.cached(p), no(s.dirty(p)), no(s.writeback(p)))
    return implies(clean, either(has_stored(s, p, p), being_written(s, p)))


@contents.clause
def droppable_contents_are_undefined(s: View, m: Any, v: Any, p: Any) -> Any:
    """What MADV_FREE has marked is not defined, until the page is dirty or a device
    writes to it."""
    moving = both(s.moving(m, v), s.same(s.page(m, v), p))
    leads = either(maps(s, m, v, p), moving, arrives(s, m, v, p))
    marked = both(no(s.dirty(p)), no(s.swapbacked(p)), no(s.ksm(p)))
    return implies(both(leads, marked), either(s.undefined(m, v), being_written(s, p)))


@contents.clause
def cached_pages_are_swapbacked(s: View, p: Any) -> Any:
    """MADV_FREE marks no page that is in the swap cache."""
    return implies(s.cached(p), s.swapbacked(p))


@contents.clause
def free_pages_are_dirty(s: View, p: Any) -> Any:
    """Nothing is known of a free page but that it can't be dropped once it is used."""
    return implies(s.free(p), both(s.dirty(p), s.swapbacked(p)))


# %% [markdown]
# ## Who writes while contents move
#
# Migration fills the new page when nothing maps the old one any more and nobody can
# write to it: whoever could had been counted. KSM compares two pages that nobody writes
# to, for the same reason.


# %%
@contents.clause
def new_pages_are_locked(s: View, c: Any) -> Any:
    """Migration holds the lock of the new page, too."""
    new = s.target(c)
    mine = both(s.locked(new), s.same(s.locked_by(new), c))
    return implies(both(s.get("at:migrating", c), s.prepares(c)), mine)


@contents.clause
def unfilled_pages_are_not_written(s: View, c: Any, r: Any) -> Any:
    """Until the new page is filled, no device writes to it or to the old one."""
    old, new = s.at_page(c), s.target(c)
    written = either(device_writes(s, r, old), device_writes(s, r, new))
    return implies(fills(s, c), no(written))


@contents.clause
def unfilled_pages_are_unmapped(s: View, c: Any, m: Any, v: Any) -> Any:
    """Until the new page is filled, nothing maps the old one."""
    return implies(fills(s, c), no(maps(s, m, v, s.at_page(c))))


@contents.clause
def unfilled_pages_are_unused(s: View, c: Any, c2: Any) -> Any:
    """Until the new page is filled, KSM does not keep the old one, and nobody copies
    the new one or writes it to a slot."""
    old, new = s.at_page(c), s.target(c)
    uses = either(s.get("at:writing", c2), s.get("at:copying", c2))
    used = both(uses, s.same(s.at_page(c2), new))
    kept = both(s.prepares(c2), s.same(s.target(c2), old))
    return implies(fills(s, c), no(either(used, kept)))


@contents.clause
def unfilled_pages_are_stored(s: View, c: Any) -> Any:
    """The flags of the old page are true of the new one, which has its slot."""
    old, new = s.at_page(c), s.target(c)
    stored = implies(no(s.dirty(old)), has_stored(s, new, old))
    flags = implies(s.cached(new), both(s.swapbacked(old), stored))
    return implies(fills(s, c), flags)


@contents.clause
def arriving_pages_are_not_written(s: View, m: Any, v: Any, r: Any, p: Any) -> Any:
    """No device writes to the new page of a migration before all entries are gone."""
    return implies(arriving(s, m, v, p), no(device_writes(s, r, p)))


@contents.clause
def ksm_pages_are_not_written(s: View, r: Any, p: Any) -> Any:
    """No device writes to a KSM page."""
    return implies(s.ksm(p), no(device_writes(s, r, p)))


@contents.clause
def merged_pages_are_not_written(s: View, c: Any, r: Any) -> Any:
    """No device writes to a page that KSM write-protects."""
    return implies(merges(s, c), no(device_writes(s, r, s.at_page(c))))


@contents.clause
def copies_of_merged_pages_are_equal(s: View, c: Any, c2: Any) -> Any:
    """A copy of a page that KSM write-protects is equal to it."""
    p = s.at_page(c)
    copies = both(s.get("at:copying", c2), s.same(s.at_page(c2), p))
    equal = implies(copies, s.same(s.at_contents(c2), s.value(p)))
    return implies(merges(s, c), equal)


@contents.clause
def suspended_pages_stay(s: View, c: Any, m: Any, v: Any) -> Any:
    """Whoever has cleared a PTE for a moment has locked the page, or is UFFDIO_MOVE:
    then no other address leads to it."""
    p, here = s.at_page(c), both(s.same(m, s.at_process(c)), s.same(v, s.at_address(c)))
    other = both(either(maps(s, m, v, p), waits(s, m, v, p)), no(here))
    return implies(s.get("at:cleared", c), either(locked_page(s, c), no(other)))


@contents.clause
def suspended_pages_are_not_shared(s: View, c: Any, c2: Any) -> Any:
    """Nor is that page a KSM page, nor will it be one."""
    p = s.at_page(c)
    kept = both(s.prepares(c2), s.same(s.target(c2), p))
    shared = either(kept, s.ksm(p))
    return implies(s.get("at:cleared", c), either(locked_page(s, c), no(shared)))


# %% [markdown]
# ## What a CPU knows where it stops


# %%
@contents.at("reclaiming", ("shrink_folio", "writing ="))
def while_reclaiming(s: View, c: Any) -> Any:
    """The page is locked, and it is no KSM page."""
    return both(s.get("at:quiet", c), no(s.ksm(s.at_page(c))))


@contents.at("discarding", ("discard_lazyfree", ""))
def while_discarding(s: View, c: Any) -> Any:
    """The page is locked, and MADV_FREE has marked it, or it is dirty by now."""
    p = s.at_page(c)
    marked = both(no(s.swapbacked(p)), no(s.ksm(p)))
    return both(s.get("at:quiet", c), either(marked, s.dirty(p)))


@contents.at("identical", ("replace_page", "old ="), at_page="page")
def before_the_page_is_replaced(s: View, c: Any) -> Any:
    """The page and the one that is kept have the same contents."""
    equal = s.same(s.value(s.at_page(c)), s.value(s.target(c)))
    return both(s.get("at:write-protected", c), equal)


# %% [markdown]
# ## What follows


# %%
@contents.implies("AE-INV-8")
def no_lost_write(s: View, m: Any, v: Any) -> Any:
    """An address that maps a page reads what was written last through it or through a
    protected reference."""
    return implies(s.mapped(m, v), right(s, m, v, s.value(s.page(m, v))))
