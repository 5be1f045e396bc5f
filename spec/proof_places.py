# %% [markdown]
# # For any number: what a CPU knows
#
# The second part of [the proof](proof.py): assertions for the places where an operation
# can stop, and what follows from it all.

# %%
from __future__ import annotations

from typing import Any

from spec.proof import (
    arriving,
    has_bit,
    holds_on,
    maps,
    owns,
    promised,
    proof,
    will_stay,
)
from spec.prover.state import View
from spec.prover.words import both, either, implies, no

# %% [markdown]
# ## What a CPU knows where it stops
#
# Between two steps others move. What a CPU has seen is true only if nobody can change
# it meanwhile. These assertions say what stays true, and by which lock or reference.
#
# A fault that may keep the page, GUP that may set the bit:


# %%
def locked_mapping(s: View, c: Any) -> Any:
    """The CPU holds the page table lock of a PTE or PMD that maps its page."""
    m, v, p = s.at_process(c), s.at_address(c), s.at_page(c)
    whole = both(s.huge(m), s.same(s.huge_page(m), p))
    return both(s.ptl(m), s.same(s.ptl_by(m), c), either(s.maps(m, v, p), whole))


def locked_page(s: View, c: Any) -> Any:
    """The CPU holds the folio lock of its page."""
    folio = s.head(s.at_page(c))
    return both(s.locked(folio), s.same(s.locked_by(folio), c))


@proof.at("reuse", ("wp_can_reuse_anon_folio", "reuse ="))
def before_the_test(s: View, c: Any) -> Any:
    """The page is mapped read-only, locked, has no bit and is no KSM page."""
    p = s.at_page(c)
    unwritable = no(s.writable_at(s.at_process(c), s.at_address(c)))
    plain = both(unwritable, no(s.bit(p)), no(s.ksm(p)))
    return both(locked_mapping(s, c), locked_page(s, c), plain)


@proof.at(
    "set",
    ("wp_can_reuse_anon_folio", "page.anon_exclusive"),
    ("is_or_becomes_exclusive", "marked"),
)
def before_the_bit_is_set(s: View, c: Any) -> Any:
    """The lock is held, so that the mapping stays: it already counts as the owner."""
    return both(locked_mapping(s, c), either(s.remembers, s.asked(s.at_process(c))))


@proof.at("got", ("is_or_becomes_exclusive", "return True"), only="sketch")
def before_the_reference(s: View, c: Any) -> Any:
    """The bit is set and the mapping stays."""
    return both(locked_mapping(s, c), s.bit(s.at_page(c)))


@proof.at("copying", ("wp_page_copy", ""), at_page="old")
def while_copying(s: View, c: Any) -> Any:
    """The page is held, so that it does not get its bit while it is mapped here, and
    mmap_lock is shared, so that mremap does not move it here."""
    m, v, p = s.at_process(c), s.at_address(c), s.at_page(c)
    held = both(s.holds(c), s.one_folio(s.held(c), p), s.read_locked(c, m))
    return both(held, no(owns(s, m, v, p)))


# %% [markdown]
# `fork()`. Between the test and the store only GUP-fast can take a reference, and it
# will find the sequence count changed.


# %%
@proof.at(
    "forking",
    ("fork", "yield from copy_pte_range"),
    ("fork", "child.vma"),
    at_child="child",
)
def while_forking(s: View, c: Any, c2: Any) -> Any:
    """mmap_lock is held for writing. The child is born, not live yet, and nobody
    else's."""
    m, child = s.at_process(c), s.at_child(c)
    mine = both(s.write_locked(m), s.same(s.write_locked_by(m), c))
    another = both(s.get("at:forking", c2), s.same(s.at_child(c2), child))
    alone = implies(another, s.same(c, c2))
    return both(mine, no(s.unborn(child)), no(s.live(child)), alone)


@proof.at(
    "share",
    ("copy_present_pte", "page.anon_exclusive"),
    ("copy_huge_pmd", "folio.anon_exclusive"),
)
def before_the_bit_is_cleared(s: View, c: Any, r: Any) -> Any:
    """Nobody relies on the page, and GUP-fast will notice."""
    p, writable = s.at_page(c), s.writable_at(s.at_process(c), s.at_address(c))
    whole = both(s.huge(s.at_process(c)), s.one_folio(s.of(r), p))
    unprotected = no(both(promised(s, r), either(s.same(s.of(r), p), whole)))
    known = s.same(s.at_writable(c), writable)
    return both(locked_mapping(s, c), s.odd(s.at_process(c)), unprotected, known)


@proof.at("protect", ("copy_present_pte", "mm.pte[va]"), ("copy_huge_pmd", "mm.pmd ="))
def before_the_pte_is_protected(s: View, c: Any) -> Any:
    """The bit is clear, the PTE is writable, and GUP-fast will notice."""
    clear = no(s.bit(s.at_page(c)))
    writable = s.writable_at(s.at_process(c), s.at_address(c))
    return both(locked_mapping(s, c), clear, writable, s.odd(s.at_process(c)))


@proof.at(
    "trap ends",
    ("wp_can_reuse_anon_folio", "reuse ="),
    ("wp_can_reuse_anon_folio", "page.anon_exclusive"),
    at_trapped="orig_pte",
)
def before_the_trap_ends(s: View, c: Any) -> Any:
    """The fault knows whether somebody has to be told of the write: if the PTE has a
    trap, the one that it remembers has it, too."""
    trapped = s.trapped(s.at_process(c), s.at_address(c))
    return both(locked_mapping(s, c), implies(trapped, s.at_trapped(c)))


@proof.at("give", ("copy_present_pte", "get_page"), ("copy_huge_pmd", "get_page"))
def before_the_child_maps(s: View, c: Any) -> Any:
    """The bit is clear and the PTE read-only: nobody owns the page."""
    unwritable = no(s.writable_at(s.at_process(c), s.at_address(c)))
    return both(locked_mapping(s, c), no(s.bit(s.at_page(c))), unwritable)


# %% [markdown]
# GUP-fast. Before the PTE was compared a reference means nothing.


# %%
@proof.at(
    "snapshot",
    ("gup_fast_pte_range", "if not grab"),
    ("TransHugePmd.gup_fast_pmd_leaf", "if not grab"),
)
def before_the_grab(s: View, c: Any) -> Any:
    """Nothing: the PTE may have changed already."""
    return True


def own_reference(s: View, c: Any) -> Any:
    """The reference is the CPU's, to an anonymous page, through its process."""
    r = s.at_reference(c)
    through = s.same(s.taken_for(r), s.at_process(c))
    return both(s.pending(r), s.same(s.by(r), c), s.anonymous(r), through)


@proof.at(
    "grabbed",
    ("gup_fast_pte_range", "if mm.pmd"),
    ("TransHugePmd.gup_fast_pmd_leaf", "if mm.pmd"),
)
def before_the_pte_is_compared(s: View, c: Any, m: Any, v: Any) -> Any:
    """The reference is there, and where it was taken. If it was moved with its page, no
    other address of the process owns the page, and it is no migration's new one."""
    r = s.at_reference(c)
    p, here = s.of(r), s.same(s.taken_at(r), s.at_address(c))
    owned = both(s.same(s.taken_for(r), m), owns(s, m, v, p), s.protected(r))
    followed = both(s.same(s.taken_at(r), v), no(arriving(s, m, v, p)))
    moved = implies(owned, followed)
    return both(own_reference(s, c), either(here, moved))


@proof.at(
    "rechecked",
    ("gup_fast_pte_range", "if not mm.model"),
    ("TransHugePmd.gup_fast_pmd_leaf", "if not mm.model"),
)
def before_the_bit_is_tested(s: View, c: Any) -> Any:
    """If the page has the bit, its address owns it."""
    r = s.at_reference(c)
    found = either(s.bit(s.of(r)), both(s.remembers, s.at_writable(c)))
    relies = both(s.protected(r), no(s.raced(c)), found)
    owned = has_bit(s, s.taken_for(r), s.taken_at(r), s.of(r))
    firm = implies(s.firm(r), s.bit(s.of(r)))
    return both(own_reference(s, c), implies(relies, both(owned, firm)))


@proof.at(
    "bit seen",
    ("gup_fast_pte_range", "return True"),
    ("TransHugePmd.gup_fast_pmd_leaf", "return True"),
)
def before_the_sequence_count(s: View, c: Any) -> Any:
    """The address owns the page, unless fork ran."""
    r = s.at_reference(c)
    owned = has_bit(s, s.taken_for(r), s.taken_at(r), s.of(r))
    firm = implies(s.firm(r), s.bit(s.of(r)))
    relies = both(s.protected(r), no(s.raced(c)))
    return both(own_reference(s, c), implies(relies, both(owned, firm)))


# %% [markdown]
# Reclaim and migration. While the PTE is cleared, GUP-fast finds it changed. So whoever
# has found it unchanged has been counted when the count is looked at.


# %%
def held_page(s: View, c: Any) -> Any:
    """The CPU has a temporary reference to its page."""
    return both(s.holds(c), s.one_folio(s.held(c), s.at_page(c)))


@proof.at(
    "cleared",
    ("try_to_unmap_one", "if not pte.trap"),
    ("try_to_unmap_one", "set_swap_pte"),
    ("try_to_migrate_one", "if not may_migrate"),
    ("try_to_migrate_one", "page.anon_exclusive = False"),
    ("discard_one", "in_use"),
    ("move_pages_pte", "page.mapcount += 1"),
    ("write_protect_page", "if unexpected_references"),
    ("write_protect_page", "page.anon_exclusive"),
    ("write_protect_page", "read_only ="),
)
def while_suspended(s: View, c: Any) -> Any:
    """The page table lock and the page are held, and the PTE is empty."""
    m, v = s.at_process(c), s.at_address(c)
    entry = either(s.mapped(m, v), s.moving(m, v), s.swapped(m, v))
    kept = both(s.prepares(c), s.one_folio(s.target(c), s.at_page(c)))
    held = either(held_page(s, c), kept)
    return both(s.ptl(m), s.same(s.ptl_by(m), c), no(entry), held)


@proof.at(
    "tested",
    ("try_to_unmap_one", "set_swap_pte"),
    ("try_to_migrate_one", "page.anon_exclusive = False"),
)
def before_the_entry(s: View, c: Any, r: Any) -> Any:
    """If the page has the bit, nobody relies on it and nobody will."""
    p = s.at_page(c)
    relies = both(s.bit(p), holds_on(s, r, p), will_stay(s, r), s.protected(r))
    return both(s.get("at:cleared", c), implies(relies, no(s.firm(r))))


@proof.at("untracked", ("try_to_unmap_one", "set_swap_pte"))
def before_the_swap_entry(s: View, c: Any) -> Any:
    """Nobody waits for a write: the PTE had no trap."""
    return both(s.get("at:cleared", c), no(s.tracked(s.at_process(c), s.at_address(c))))


@proof.at("marked", ("try_to_migrate_one", "page.anon_exclusive = False"))
def before_the_marked_entry(s: View, c: Any) -> Any:
    """The page still has the bit that the entry will remember."""
    return both(s.get("at:cleared", c), s.bit(s.at_page(c)))


@proof.at(
    "quiet",
    ("shrink_folio", "writing ="),
    ("reclaim_locked", ""),
    ("unmap_and_move", ""),
)
def while_locked(s: View, c: Any) -> Any:
    """The page is locked and held, and not under writeback."""
    return both(held_page(s, c), locked_page(s, c), no(s.writeback(s.at_page(c))))


@proof.at("outgoing", ("reclaim_locked", "unmapped"), ("reclaim_locked", "if unmapped"))
def while_swapping_out(s: View, c: Any) -> Any:
    """The page is locked, held and in the swap cache."""
    return both(held_page(s, c), locked_page(s, c), s.cached(s.at_page(c)))


@proof.at("writing", ("shrink_folio", "yield from end_swap"))
def while_writing(s: View, c: Any, c2: Any) -> Any:
    """The page is under writeback by this CPU alone, and stays in the swap cache."""
    p = s.at_page(c)
    another = both(s.get("at:writing", c2), s.same(s.at_page(c2), p))
    alone = implies(another, s.same(c, c2))
    return both(held_page(s, c), s.writeback(p), s.cached(p), alone)


@proof.at("swapin", ("do_swap_page", "if mm.pte[va] == entry"))
def while_swapping_in(s: View, c: Any) -> Any:
    """The page is locked, held and in the swap cache for the slot of the entry."""
    p = s.at_page(c)
    its = both(s.cached(p), s.same(s.cached_in(p), s.at_slot(c)))
    return both(held_page(s, c), locked_page(s, c), its)


@proof.at("migrating", ("unmap_and_move", ""))
def while_migrating(s: View, c: Any) -> Any:
    """The page is locked and held, and the new page is another one."""
    other = implies(s.prepares(c), no(s.same(s.target(c), s.at_page(c))))
    return both(held_page(s, c), locked_page(s, c), other)


@proof.at("fresh", ("unmap_and_move", "if new is not None"), innermost=True)
def before_the_copy(s: View, c: Any, m: Any, v: Any) -> Any:
    """The new page is locked, has no bit and nothing maps it."""
    p = s.target(c)
    mine = both(s.locked(p), s.same(s.locked_by(p), c))
    unused = both(no(maps(s, m, v, p)), no(s.exclusive(p)))
    merged = implies(s.ksm(s.at_page(c)), no(owns(s, m, v, p)))
    ready = implies(s.prepares(c), both(mine, unused, merged))
    return both(s.get("at:migrating", c), ready)


# %% [markdown]
# mremap and UFFDIO_MOVE. Until something is moved to the new address, only who holds
# the lock can map anything there. `fork()` takes no lock of the child, but a process
# that is still made moves nothing.


# %%
@proof.at("remapping", ("mremap", ""), ("uffdio_move", ""), at_process="mm")
def while_remapping(s: View, c: Any, c2: Any) -> Any:
    """The process is not one that fork still makes."""
    made = both(s.get("at:forking", c2), s.same(s.at_child(c2), s.at_process(c)))
    return both(s.get("at:busy", c), no(made))


@proof.at(
    "empty",
    ("zap_pte_range", "mm.machine.cpu.hold = None"),
    ("mremap", "yield from ptl_lock"),
    ("mremap", "pfn"),
    ("move_pages_pte", ""),
    at_new_address="new_va",
)
def before_the_move(s: View, c: Any) -> Any:
    """The new address maps nothing, and mmap_lock is held for writing or the PTL is."""
    m, v, by = s.at_process(c), s.at_new_address(c), s.ptl_by(s.at_process(c))
    here = both(s.same(s.at_process(by), m), s.same(s.at_address(by), v))
    restored = both(s.ptl(m), s.get("at:cleared", by), here)
    entry = either(s.mapped(m, v), s.moving(m, v), s.swapped(m, v), restored)
    alone = both(s.write_locked(m), s.same(s.write_locked_by(m), c))
    locked = both(s.ptl(m), s.same(by, c))
    return both(s.get("at:remapping", c), either(alone, locked), no(entry))


@proof.at(
    "forgotten",
    ("zap_pte_range", "mm.machine.cpu.hold = None"),
    ("mremap", "yield from ptl_lock"),
    ("mremap", "pfn"),
    at_new_address="new_va",
)
def after_the_zap(s: View, c: Any, r: Any) -> Any:
    """mmap_lock is held for writing, and nobody relies on the new address, nor will
    a GUP-fast whose reference was moved there."""
    m, v = s.at_process(c), s.at_new_address(c)
    mine = both(s.write_locked(m), s.same(s.write_locked_by(m), c))
    moved = both(s.pending(r), no(s.same(s.at_address(s.by(r)), v)))
    relies = both(either(holds_on(s, r, s.of(r)), moved), s.protected(r))
    through = both(s.same(s.taken_for(r), m), s.same(s.taken_at(r), v))
    return both(s.get("at:empty", c), mine, no(both(relies, through)))


# %% [markdown]
# KSM gives a page a second user: each address of a KSM page. It does so only with pages
# that nobody owns, and makes them so first. With the PTE cleared and flushed, one
# reference besides the mappings and the swap cache is its own. So GUP returned none,
# and a GUP-fast that takes one later finds the PTE changed. Hence the bit can go. When
# the PTE is back, it is read-only and its page has no bit: whoever gets a reference
# through it has no promise.
#
# What keeps an owner away until the page is a KSM page? A fault or GUP that would set
# the bit finds KSM's reference, `refcount` being at least 2. Reclaim, migration and
# swap-in need the folio lock. Whoever tested the count before counts as an owner
# already, and there was none when the PTE was cleared. A KSM page stays without an
# owner ([AE-KSM-1](ksm.py#AE-KSM-1), [AE-KSM-2](ksm.py#AE-KSM-2)), so another address
# may map it without a look. The page that it replaces lost its owner in the same way,
# and the PTE has been compared ([AE-KSM-7](ksm.py#AE-KSM-7)).


# %%
@proof.at("merging", ("ksm_merge", ""))
def while_merging(s: View, c: Any) -> Any:
    """Both pages are held."""
    return both(s.holds(c), s.prepares(c))


@proof.at(
    "merging one",
    ("try_to_merge_one_page", "if folio_trylock(page)"),
    ("try_to_merge_one_page", "if pte is not None"),
    ("try_to_merge_one_page", "folio_unlock(page)"),
)
def while_one_is_merged(s: View, c: Any) -> Any:
    """The page is the one that is kept, or the one that is kept is a KSM page."""
    p, kept = s.at_page(c), s.target(c)
    replaced = both(s.same(s.held(c), p), s.ksm(kept))
    return both(s.get("at:merging", c), either(s.same(kept, p), replaced))


@proof.at("unused", ("write_protect_page", "page.anon_exclusive"))
def before_ksm_clears_the_bit(s: View, c: Any, r: Any) -> Any:
    """If the page has the bit, nobody relies on it and nobody will."""
    p = s.at_page(c)
    relies = both(s.bit(p), holds_on(s, r, p), will_stay(s, r), s.protected(r))
    return both(s.get("at:cleared", c), no(relies))


@proof.at("shareable", ("write_protect_page", "read_only ="))
def before_the_pte_is_restored(s: View, c: Any) -> Any:
    """The bit is clear."""
    return both(s.get("at:cleared", c), no(s.bit(s.at_page(c))))


@proof.at(
    "write-protected",
    ("write_protect_page", "return read_only"),
    ("replace_page", "old ="),
)
def while_write_protected(s: View, c: Any, m: Any, v: Any) -> Any:
    """The page is locked and held, and nobody owns it."""
    p = s.at_page(c)
    owned = either(owns(s, m, v, p), s.bit(p))
    return both(s.get("at:merging one", c), locked_page(s, c), no(owned))


# %% [markdown]
# A process that does not exist yet has nothing; an address that was never used has had
# nothing.


# %%
@proof.clause
def used_addresses_are_known(s: View, m: Any, v: Any, r: Any) -> Any:
    """Where something is mapped, something was mapped."""
    there = either(s.present(m, v), s.zero(m, v))
    entry = either(there, s.moving(m, v), s.swapped(m, v))
    taken = both(s.anonymous(r), either(s.pending(r), s.returned(r)))
    through = implies(taken, s.touched(s.taken_for(r), s.taken_at(r)))
    return both(implies(entry, s.touched(m, v)), through)


@proof.clause
def places_are_at_used_addresses(s: View, c: Any) -> Any:
    """A CPU that looks at a mapping looks at an address that was used."""
    names = ("cleared", "reuse", "set", "got", "share", "protect", "give", "copying")
    looks = either(*(s.get(f"at:{name}", c) for name in (*names, "snapshot")))
    return implies(looks, s.touched(s.at_process(c), s.at_address(c)))


@proof.clause
def unborn_processes_have_nothing(s: View, m: Any, v: Any) -> Any:
    """A process that is not born has used no address, and nobody takes its locks."""
    used = either(s.touched(m, v), s.live(m), s.ptl(m), s.write_locked(m))
    return implies(s.unborn(m), no(used))


# %% [markdown]
# What every operation knows of its process:


# %%
@proof.at("busy", ("*", ""), at_process="mm")
def while_it_works(s: View, c: Any) -> Any:
    """The process was born."""
    return no(s.unborn(s.at_process(c)))


@proof.at(
    "asking",
    ("get_user_pages", "possible ="),
    ("get_user_pages", "if missing"),
    ("get_user_pages", "mmap_read_unlock"),
    ("write_force", "faulting"),
    ("write_force", "foll"),
    ("write_force", "mmap_read_unlock"),
)
def while_in_gup(s: View, c: Any) -> Any:
    """GUP was asked on behalf of the process."""
    return s.asked(s.at_process(c))


# %% [markdown]
# ## What follows
#
# Each guarantee is proved of every state that satisfies the invariant, word for word as
# exploration judges it, but with suspended PTEs left out: a state in which a PTE is
# cleared promises nothing about that PTE.


# %%
@proof.implies("AE-INV-1")
def no_missed_cow(s: View, m: Any, v: Any, m2: Any, v2: Any, r: Any, p: Any) -> Any:
    """Where a process or its protected reference can write, no other process maps the
    page, will map it, or has a reference to it."""
    other = both(either(s.maps(m2, v2, p), s.waits(m2, v2, p)), no(s.same(m, m2)))
    holder = both(
        s.returned(r), s.anonymous(r), s.same(s.of(r), p), no(s.same(s.taken_for(r), m))
    )
    by_cpu = both(s.maps(m, v, p), s.writable_at(m, v))
    return implies(by_cpu, no(either(other, holder)))


@proof.implies("AE-INV-1")
def no_device_leak(s: View, m: Any, v: Any, r: Any, r2: Any) -> Any:
    """The same for a reference that may write."""
    p = s.of(r)
    other = both(
        either(s.maps(m, v, p), s.waits(m, v, p)), no(s.same(m, s.taken_for(r)))
    )
    holder = both(
        s.returned(r2),
        s.anonymous(r2),
        s.same(s.of(r2), p),
        no(s.same(s.taken_for(r2), s.taken_for(r))),
    )
    return implies(both(promised(s, r), s.may_write(r)), no(either(other, holder)))


@proof.implies("AE-INV-2")
def no_wrong_cow(s: View, r: Any) -> Any:
    """The address of a protected reference maps no other page."""
    m, v = s.taken_for(r), s.taken_at(r)
    return implies(both(promised(s, r), s.present(m, v)), s.maps(m, v, s.of(r)))


@proof.implies("AE-INV-4")
def one_mapping(s: View, m: Any, v: Any, m2: Any, v2: Any, p: Any) -> Any:
    """A page whose bit is set has at most one mapping, and no entry leads to it."""
    both_map = both(s.maps(m, v, p), s.maps(m2, v2, p))
    here = both(s.same(m, m2), s.same(v, v2))
    alone = both(implies(both_map, here), no(s.waits(m, v, p)))
    return implies(s.bit(p), alone)


@proof.implies("AE-INV-7")
def protected_is_exclusive(s: View, r: Any) -> Any:
    """The page of a protected reference has the bit if the address maps a page."""
    mapped = s.present(s.taken_for(r), s.taken_at(r))
    return implies(both(promised(s, r), mapped), s.bit(s.of(r)))


@proof.implies("AE-INV-11")
def tracked_writes_are_noticed(s: View, m: Any, v: Any) -> Any:
    """Where soft-dirty or userfaultfd has to notice the next write, no page is mapped
    writable."""
    return implies(s.tracked(m, v), no(both(s.mapped(m, v), s.writable(m, v))))


# %% [markdown]
# [AE-INV-3](guarantees.py#AE-INV-3) and [AE-INV-6](guarantees.py#AE-INV-6) need no
# solver: each footprint changes a count by as much as it changes the number of holders.
# [AE-INV-5](guarantees.py#AE-INV-5) speaks of a step; the solver shows that `fork()`
# copies a page only where GUP was asked.
#
# ## The lemma
#
# "Page is PTE mapped in the page table I'm walking, page_count() == 1: really means
# that this is the only reference." Setting the bit then keeps the invariant, under
# exactly these premises: the page table lock keeps the mapping, and a KSM page may be
# shared again without a look at the bit. The folio lock is not among them. That GUP was
# asked is what the sketch adds ([AE-SET-4](bit.py#AE-SET-4)).


# %%
@proof.lemma
def bit_may_be_set(s: View, m: Any, v: Any, p: Any, c: Any) -> dict[str, Any]:
    """Under these premises the bit of the page may be set."""
    return {
        "the page is mapped here": s.maps(m, v, p),
        "refcount is 1": s.one_holder(p),
        "the page table lock is held": both(s.ptl(m), s.same(s.ptl_by(m), c)),
        "the page is no KSM page": no(s.ksm(p)),
        "GUP was asked": either(s.remembers, s.asked(m)),
    }


# %% [markdown]
# ## What upstream does not promise
#
# Upstream's invariant is weaker in two places. `fork()` ends the promise to a FOLL_GET
# reference, and one that only reads has none. No better invariant would help: with the
# sketch's promise a clause is refuted, and a state that breaks it is reached. The
# [obligations](../reference/proof.md#what-upstream-does-not-promise) have both side by
# side, with the shortest ways there, and a way to break each rule of the sketch that
# upstream does not have.
