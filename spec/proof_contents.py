# %% [markdown]
# # For any number: contents

# %%
from __future__ import annotations

from typing import Any

from spec.proof import arriving, holds_on, maps, proof, waits
from spec.proof_places import locked_page
from spec.prover.assertions import Proof
from spec.prover.state import View
from spec.prover.words import both, either, implies, no

contents = Proof(given=proof)


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
    """The page is the new one of a migration, and has not got the contents yet."""
    c = s.locked_by(p)
    new = both(s.prepares(c), s.same(s.target(c), p))
    return both(s.locked(p), s.get("at:fresh", c), new)


def being_written(s: View, p: Any) -> Any:
    """A device that has written to the page still has its reference."""
    return s.lets_write(s.written_by(p), p)


def is_stored(s: View, p: Any, q: Any) -> Any:
    """The slot of a page in the swap cache has the contents of the other page."""
    return s.same(s.stored(s.cached_in(p)), s.value(q))


# %%
@contents.clause
def mapped_contents_are_right(s: View, m: Any, v: Any, p: Any) -> Any:
    """What is mapped has the contents that a read has to give."""
    return implies(maps(s, m, v, p), right(s, m, v, s.value(p)))


@contents.clause
def swapped_contents_are_right(s: View, m: Any, v: Any) -> Any:
    """A swap entry leads to them: in the swap cache, else in the slot."""
    e = s.slot(m, v)
    p = s.folio(e)
    old = s.at_page(s.locked_by(p))
    filled = implies(no(unfilled(s, p)), right(s, m, v, s.value(p)))
    coming = implies(unfilled(s, p), right(s, m, v, s.value(old)))
    cached = implies(s.has_folio(e), both(filled, coming))
    stored = implies(no(s.has_folio(e)), right(s, m, v, s.stored(e)))
    return implies(s.swapped(m, v), both(cached, stored))


@contents.clause
def moving_contents_are_right(s: View, m: Any, v: Any) -> Any:
    """A migration entry leads to them."""
    return implies(s.moving(m, v), right(s, m, v, s.value(s.page(m, v))))


@contents.clause
def arriving_contents_are_right(s: View, m: Any, v: Any, p: Any) -> Any:
    """The new page of a migration has them, once it was filled."""
    filled = both(arriving(s, m, v, p), no(unfilled(s, p)))
    return implies(filled, right(s, m, v, s.value(p)))


@contents.clause
def empty_addresses_read_zeroes(s: View, m: Any, v: Any) -> Any:
    """Where nothing is, a read gives zeroes."""
    return implies(empty(s, m, v), right(s, m, v, s.zeroes))


@contents.clause
def clean_pages_are_stored(s: View, p: Any) -> Any:
    """A clean page in the swap cache has the contents of its slot, unless it is being
    written to either of them."""
    clean = both(s.cached(p), no(s.dirty(p)), no(s.writeback(p)))
    return implies(clean, either(is_stored(s, p, p), being_written(s, p)))


@contents.clause
def droppable_contents_are_undefined(s: View, m: Any, v: Any, p: Any) -> Any:
    """What MADV_FREE left may be dropped until it is written."""
    clean = both(no(s.dirty(p)), no(s.swapbacked(p)), no(s.ksm(p)))
    moving = both(s.moving(m, v), s.same(s.page(m, v), p))
    filled = both(arriving(s, m, v, p), no(unfilled(s, p)))
    lazy = both(either(maps(s, m, v, p), moving, filled), clean)
    return implies(lazy, either(s.undefined(m, v), being_written(s, p)))


@contents.clause
def arriving_pages_are_not_written(s: View, m: Any, v: Any, r: Any, p: Any) -> Any:
    """No device writes to the new page of a migration before all entries are gone."""
    writes = both(holds_on(s, r, p), s.may_write(r))
    return implies(arriving(s, m, v, p), no(writes))


@contents.clause
def ksm_pages_are_not_written(s: View, r: Any, p: Any) -> Any:
    """No device writes to a KSM page."""
    return implies(s.ksm(p), no(both(holds_on(s, r, p), s.may_write(r))))


@contents.clause
def cached_pages_are_swapbacked(s: View, p: Any) -> Any:
    """MADV_FREE takes no page that is in the swap cache."""
    return implies(s.cached(p), s.swapbacked(p))


@contents.clause
def free_pages_are_dirty(s: View, p: Any) -> Any:
    """Nothing is known of the contents of a free page."""
    return implies(s.free(p), both(s.dirty(p), s.swapbacked(p)))


# %%
def writes(s: View, r: Any, p: Any) -> Any:
    """A device may write to the page, or will."""
    return both(holds_on(s, r, p), s.may_write(r))


@contents.clause
def copies_are_right(s: View, c: Any) -> Any:
    """While the old page can be mapped, its copy has what a read has to give."""
    m, v, old = s.at_process(c), s.at_address(c), s.at_page(c)
    here = either(maps(s, m, v, old), waits(s, m, v, old))
    copied = implies(here, right(s, m, v, s.at_contents(c)))
    shared = implies(s.ksm(old), s.same(s.at_contents(c), s.value(old)))
    return implies(s.get("at:copying", c), both(copied, shared))


@contents.clause
def new_pages_are_locked(s: View, c: Any) -> Any:
    """Migration holds the lock of the new page, too."""
    new = s.target(c)
    mine = both(s.locked(new), s.same(s.locked_by(new), c))
    return implies(both(s.get("at:migrating", c), s.prepares(c)), mine)


@contents.clause
def unfilled_pages_are_unused(s: View, c: Any, m: Any, v: Any, r: Any, c2: Any) -> Any:
    """Until the contents are copied, nothing maps the old page, and nobody writes to
    one of both."""
    old, new = s.at_page(c), s.target(c)
    unused = no(either(maps(s, m, v, old), writes(s, r, old), writes(s, r, new)))
    uses = either(s.get("at:writing", c2), s.get("at:copying", c2))
    merges = both(s.prepares(c2), s.same(s.target(c2), old))
    quiet = no(either(both(uses, s.same(s.at_page(c2), new)), merges))
    return implies(both(s.get("at:fresh", c), s.prepares(c)), both(unused, quiet))


@contents.clause
def unfilled_pages_are_stored(s: View, c: Any) -> Any:
    """What the flags of the old page say of its slot is true of the new one."""
    old, new = s.at_page(c), s.target(c)
    cached = implies(s.cached(new), s.swapbacked(old))
    clean = both(s.cached(new), no(s.dirty(old)))
    stored = both(cached, implies(clean, is_stored(s, new, old)))
    return implies(both(s.get("at:fresh", c), s.prepares(c)), stored)


@contents.clause
def suspended_pages_stay(s: View, c: Any, m: Any, v: Any, c2: Any) -> Any:
    """Whoever has cleared a PTE has locked its page, or nobody else can map it."""
    p, here = s.at_page(c), both(s.same(m, s.at_process(c)), s.same(v, s.at_address(c)))
    other = both(either(maps(s, m, v, p), waits(s, m, v, p)), no(here))
    merges = both(s.prepares(c2), s.same(s.target(c2), p))
    alone = no(either(other, merges, s.ksm(p)))
    return implies(s.get("at:cleared", c), either(locked_page(s, c), alone))


@contents.clause
def merged_pages_are_not_written(s: View, c: Any, r: Any, c2: Any) -> Any:
    """No device writes to a page that KSM has write-protected, and a copy of it has
    the same contents."""
    p = s.at_page(c)
    copies = both(s.get("at:copying", c2), s.same(s.at_page(c2), p))
    equal = implies(copies, s.same(s.at_contents(c2), s.value(p)))
    names = ("unused", "shareable", "write-protected")
    here = either(*(s.get(f"at:{name}", c) for name in names))
    return implies(here, both(no(writes(s, r, p)), equal))


@contents.at("reclaiming", ("shrink_folio", "writing ="))
def while_reclaiming(s: View, c: Any) -> Any:
    """The page is locked and no KSM page."""
    return both(s.get("at:quiet", c), no(s.ksm(s.at_page(c))))


@contents.at("discarding", ("discard_lazyfree", ""))
def while_discarding(s: View, c: Any) -> Any:
    """The page is locked and may be dropped, or was written."""
    p = s.at_page(c)
    lazy = both(no(s.swapbacked(p)), no(s.ksm(p)))
    return both(s.get("at:quiet", c), either(lazy, s.dirty(p)))


@contents.at("identical", ("replace_page", "old ="), at_page="page")
def while_identical(s: View, c: Any) -> Any:
    """The pages have the same contents, and nobody writes to either."""
    equal = s.same(s.value(s.at_page(c)), s.value(s.target(c)))
    return both(s.get("at:write-protected", c), equal)


@contents.implies("AE-INV-8")
def no_lost_write(s: View, m: Any, v: Any) -> Any:
    """An address that maps a page reads what was last written."""
    return implies(s.mapped(m, v), right(s, m, v, s.value(s.page(m, v))))
