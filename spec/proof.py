# %% [markdown]
# # For any number: the proof
#
# Exploration speaks of three processes; a machine has thousands. This chapter shows
# that the guarantees hold for any number of processes, addresses, pages, references
# and CPUs. It does so with an *inductive invariant*: a sentence about states that is
# true at first, that every atomic step keeps, and that implies the guarantees. Then
# no schedule, however long, leads to a state that breaks one.
#
# The argument is about one quantity: **who owns a page**. A PTE owns its page if the
# CPU may write through it, if the bit of the page is set, or if one of the two is about
# to be the case. Owning excludes everybody else: no other PTE maps the page, no entry
# leads to it, no other process holds a reference that GUP returned. A protected
# reference lives on a page that its address owns. So nobody sees what is written, and
# nobody takes the page away.
#
# What would lose it? A step that gives a page a second user while it is owned: that is
# `fork()`, KSM or a swap entry. Or one that takes the page from its address while a
# reference relies on it: that is a copy, reclaim, migration. Each of them clears the
# bit first, and clears it only where nobody relies on it. All that is difficult is the
# word *first*: what GUP-fast sees in between.
#
# ## The steps are those of the operations
#
# The solver is not given a second description of the operations. Every operation of the
# earlier chapters is run here once more, one atomic step at a time, and whenever a step
# reads a cell, all values are tried that the cell can have. What it reads is the guard
# of a symbolic step, what it writes its effect. The process `A`, the address `x`, the
# page `p1` then stand for any. Change an operation, and the obligations change.
#
# A place where an operation can stop is known by the statement that comes next. If that
# statement is reworded, the assertion that was written for it no longer stands there,
# and the proof fails.

# %%
from __future__ import annotations

from typing import Any

from spec.decisions import SKETCH
from spec.memory import Machine
from spec.prover.assertions import Proof
from spec.prover.state import View
from spec.prover.words import both, either, implies, no
from spec.rules import rule

proof = Proof()

# %% [markdown]
# ## What is left out
#
# How a mapping is protected (`vma`) is no part of a state: at each step it may be
# anything. Memory ordering and stale TLB entries have their own chapters. What these
# say is proved apart from this, and without the solver: of
# [store buffers](ordering.py#any-number-of-cpus) and of
# [translations](tlb.py#any-number-of-cpus), for any number of CPUs.
#
# What pages contain ([AE-INV-8](guarantees.py#AE-INV-8)) comes in a
# [third part](proof_contents.py). Until then KSM may find two pages equal or not,
# whatever was written. In these three parts each page is a folio of its own. Large
# folios have a [fourth part](proof_folios.py), with the same clauses.
#
# The proof is of the sketch and of upstream, which promises less. What upstream does
# not promise [can be reached](proof_places.py#what-upstream-does-not-promise).
#
# ### AE-ASM-6 {#AE-ASM-6}
#
# The proof has no numbers. `refcount == 1` becomes "any two holders are one",
# `refcount == 0` "there is no holder", and the comparison with the expected count "any
# two references are one". A test that fails tells the solver nothing: a step may copy
# where it could have kept.
# [AE-INV-3](guarantees.py#AE-INV-3) is what makes this right: it is shown by counting,
# for each footprint, the holders that it adds and removes. And on
# [each explored state](../reference/proof.md#counts-and-walks) both say the same.


# %%
@rule("AE-ASM-6", source=SKETCH, over="assumption")
def counts_are_compared_with_holders(machine: Machine) -> bool:
    """Operations compare a count with 0, with 1, or with the count of holders that they
    know; a count above those decides nothing else."""
    return True


# %% [markdown]
# ### AE-ASM-7 {#AE-ASM-7}
#
# Migration and `fork()` walk over addresses. The steps are those of one address at a
# time. That a walk visits each address, and none twice, is not derived. It is
# [checked](../reference/proof.md#counts-and-walks) on explored states. `mremap()` could
# move an entry to where a walk has been: Linux then takes the locks of the rmap
# (`need_rmap_locks`).


# %%
@rule("AE-ASM-7", source="mm/rmap.c:rmap_walk, v6.1", over="assumption")
def walks_are_complete(machine: Machine) -> bool:
    """A migration ends when no migration entry of its page is left; fork writes to each
    address of the child once."""
    return True


# %% [markdown]
# ## Words
#
# Reclaim, migration and KSM clear a PTE, look at the page, and may restore the PTE.
# While it is cleared the page table lock is held, so the PTE counts as if it were
# there: it is *suspended*. Once KSM has cleared the bit, the PTE comes back read-only.


# %%
def suspended(s: View, m: Any, v: Any, p: Any) -> Any:
    """The PTE is cleared by a CPU that may restore it, under the page table lock."""
    return both(s.ptl(m), s.stands("cleared", s.ptl_by(m), m, v, p))


def maps(s: View, m: Any, v: Any, p: Any) -> Any:
    """The PTE maps the page, or is suspended."""
    return either(s.maps(m, v, p), suspended(s, m, v, p))


def writes(s: View, m: Any, v: Any, p: Any) -> Any:
    """The CPU may write to the page through the PTE, perhaps once it is restored."""
    now, c = both(s.maps(m, v, p), s.writable_at(m, v)), s.ptl_by(m)
    again = both(s.at_writable(c), no(s.get("at:shareable", c)))
    return either(now, both(suspended(s, m, v, p), again))


def arriving(s: View, m: Any, v: Any, p: Any) -> Any:
    """The page is the target of a migration, and the entry will map it."""
    old, c = s.page(m, v), s.locked_by(s.page(m, v))
    coming = both(s.prepares(c), s.same(s.target(c), p))
    moves = both(s.get("at:migrating", c), s.same(s.at_page(c), old))
    return both(s.moving(m, v), s.locked(old), moves, coming)


def waits(s: View, m: Any, v: Any, p: Any) -> Any:
    """A swap or migration entry leads to the page, or will."""
    return either(s.waits(m, v, p), arriving(s, m, v, p))


def has_bit(s: View, m: Any, v: Any, p: Any) -> Any:
    """The page has the bit and is mapped here, or the entry here remembers the bit."""
    mapped = both(maps(s, m, v, p), s.bit(p))
    return either(mapped, both(waits(s, m, v, p), s.marked(m, v)))


def at_mapping(s: View, name: str, m: Any, v: Any, p: Any) -> Any:
    """Who holds the page table lock stands at an assertion about this mapping, or about
    the PMD that it is a part of."""
    c = s.ptl_by(m)
    here = both(s.stands(name, c, m, v, p), no(s.huge(m)))
    whole = both(s.covers(m, v, p), s.get(f"at:{name}", c), s.same(s.at_process(c), m))
    return both(s.ptl(m), either(here, whole))


def owns(s: View, m: Any, v: Any, p: Any) -> Any:
    """The PTE or entry has the page for itself, or the bit is about to be set."""
    to_be_written = both(s.moving(m, v), s.writable(m, v), waits(s, m, v, p))
    to_be_set = at_mapping(s, "set", m, v, p)
    return either(has_bit(s, m, v, p), writes(s, m, v, p), to_be_written, to_be_set)


# %% [markdown]
# A reference counts from the moment in which GUP-fast has found the PTE unchanged.
# Before that it will be dropped if anything happened. If `fork()` ran meanwhile, it
# will be dropped as well, or returned without a promise.
#
# A promise that outlives `fork()` is *firm*: in the sketch every one, upstream that to
# a pin. `fork()` ends the others, and sharing their page is no loss then.


# %%
def holds_on(s: View, r: Any, p: Any) -> Any:
    """GUP returned the reference to the page, or will if the bit is set."""
    c = s.by(r)
    late = either(s.get("at:rechecked", c), s.get("at:bit seen", c))
    taken = either(s.returned(r), both(s.pending(r), late))
    return both(taken, s.anonymous(r), s.same(s.of(r), p))


def will_stay(s: View, r: Any) -> Any:
    """The reference is not one that loses its promise because fork ran."""
    return either(s.returned(r), no(s.raced(s.by(r))))


def promised(s: View, r: Any) -> Any:
    """GUP returned the reference to an anonymous page and it is protected."""
    return both(s.returned(r), s.protected(r), s.anonymous(r))


# %% [markdown]
# ## The invariant
#
# The first two clauses are the argument, the next two are the promise. The others say
# what the words rely on.


# %%
@proof.clause
def owner_is_alone(s: View, m: Any, v: Any, m2: Any, v2: Any, p: Any) -> Any:
    """If a PTE or entry owns a page, no other one maps it or leads to it."""
    reaches = either(maps(s, m2, v2, p), waits(s, m2, v2, p))
    here = both(s.same(m, m2), s.same(v, v2))
    return implies(both(owns(s, m, v, p), reaches), here)


@proof.clause
def references_are_the_owners(s: View, m: Any, v: Any, r: Any, p: Any) -> Any:
    """If a PTE owns a page, references to it were taken through its process, and those
    that are protected through its address."""
    address = implies(s.protected(r), s.same(s.taken_at(r), v))
    mine = both(s.same(s.taken_for(r), m), address)
    return implies(both(owns(s, m, v, p), holds_on(s, r, p)), mine)


@proof.clause
def promise_is_kept(s: View, r: Any) -> Any:
    """A protected reference is to a page that its address owns, by the bit."""
    return implies(promised(s, r), has_bit(s, s.taken_for(r), s.taken_at(r), s.of(r)))


@proof.clause
def promise_is_mapped(s: View, r: Any) -> Any:
    """If the promise outlives fork, the page is mapped, and has the bit."""
    mapped = maps(s, s.taken_for(r), s.taken_at(r), s.of(r))
    return implies(both(promised(s, r), s.firm(r)), both(s.bit(s.of(r)), mapped))


@proof.clause
def bit_is_not_in_an_entry(s: View, m: Any, v: Any, p: Any) -> Any:
    """No entry leads to a page whose bit is set."""
    return implies(s.bit(p), no(waits(s, m, v, p)))


@proof.clause
def entry_of_the_owner_is_alone(s: View, m: Any, v: Any, m2: Any, v2: Any) -> Any:
    """No other swap entry names the slot of one that remembers the bit."""
    entries = both(s.swapped(m, v), s.marked(m, v), s.swapped(m2, v2))
    here = both(s.same(m, m2), s.same(v, v2))
    return implies(both(entries, s.same(s.slot(m, v), s.slot(m2, v2))), here)


@proof.clause
def entries_remember(s: View, m: Any, v: Any) -> Any:
    """An entry remembers the bit only if the model makes it."""
    return implies(s.marked(m, v), s.remembers)


@proof.clause
def nobody_owns_ksm_pages(s: View, m: Any, v: Any, p: Any) -> Any:
    """A KSM page has no owner."""
    owned = either(owns(s, m, v, p), s.bit(p))
    return implies(s.ksm(p), no(owned))


@proof.clause
def bit_was_asked_for(s: View, m: Any, v: Any, p: Any) -> Any:
    """In the sketch the bit is set only for processes that asked GUP."""
    return implies(has_bit(s, m, v, p), either(s.remembers, s.asked(m)))


# %% [markdown]
# What is in use is not free. A page that becomes free loses its bit.


# %%
@proof.clause
def mapped_pages_are_in_use(s: View, m: Any, v: Any) -> Any:
    """A mapped page is not free."""
    return implies(s.mapped(m, v), no(s.free(s.head(s.page(m, v)))))


@proof.clause
def referenced_pages_are_in_use(s: View, r: Any) -> Any:
    """A page with a reference is not free."""
    taken = both(either(s.pending(r), s.returned(r)), s.anonymous(r))
    return implies(taken, no(s.free(s.head(s.of(r)))))


@proof.clause
def held_pages_are_in_use(s: View, c: Any) -> Any:
    """A page that a CPU holds is not free."""
    held = implies(s.holds(c), no(s.free(s.head(s.held(c)))))
    return both(held, implies(s.prepares(c), no(s.free(s.head(s.target(c))))))


@proof.clause
def free_pages_are_blank(s: View, p: Any) -> Any:
    """A free page has no bit, is no KSM page and not in the swap cache."""
    marked = either(s.exclusive(p), s.ksm(p), s.cached(p))
    return implies(s.free(s.head(p)), no(marked))


@proof.clause
def prepared_pages_are_private(s: View, c: Any, c2: Any) -> Any:
    """Two CPUs do not prepare the same page, unless KSM has found it mapped."""
    same = both(s.prepares(c), s.prepares(c2), s.same(s.target(c), s.target(c2)))
    merges = either(s.get("at:merging", c), s.get("at:merging", c2))
    private = either(s.get("at:fresh", c), no(merges))
    return implies(both(same, private), s.same(c, c2))


# %% [markdown]
# A PTE is one thing at a time; so is a reference. The swap cache and its slots name
# each other. Locks exclude.


# %%
@proof.clause
def entry_is_one_thing(s: View, m: Any, v: Any) -> Any:
    """A PTE is present, a swap entry or a migration entry, or none of them."""
    swapped_too = both(s.swapped(m, v), either(s.mapped(m, v), s.moving(m, v)))
    return no(either(both(s.mapped(m, v), s.moving(m, v)), swapped_too))


@proof.clause
def reference_is_one_thing(s: View, r: Any) -> Any:
    """A reference is pending or returned, not both."""
    return no(both(s.pending(r), s.returned(r)))


@proof.clause
def cached_pages_have_their_slot(s: View, p: Any) -> Any:
    """The slot of a page in the swap cache names the page."""
    e = s.cached_in(p)
    return implies(s.cached(p), both(s.has_folio(e), s.same(s.folio(e), p)))


@proof.clause
def slots_have_their_page(s: View, e: Any) -> Any:
    """The page that a slot names is in the swap cache for that slot."""
    p = s.folio(e)
    return implies(s.has_folio(e), both(s.cached(p), s.same(s.cached_in(p), e)))


@proof.clause
def entries_are_under_migration(s: View, m: Any, v: Any) -> Any:
    """The page of a migration entry is locked by the CPU that migrates it."""
    p, c = s.page(m, v), s.locked_by(s.head(s.page(m, v)))
    moves = both(s.get("at:migrating", c), s.same(s.at_page(c), p))
    at_work = either(s.get("at:unmapping", c), s.get("at:mapping again", c))
    splits = both(at_work, s.same(s.row(s.at_lock(c)), s.row(p)))
    return implies(s.moving(m, v), both(s.locked(s.head(p)), either(moves, splits)))


@proof.clause
def arriving_pages_are_unused(s: View, m: Any, v: Any, r: Any, p: Any) -> Any:
    """GUP returned no reference to the new page of a migration while the entry that
    will map it owns it."""
    owned = both(arriving(s, m, v, p), owns(s, m, v, p))
    return implies(owned, no(holds_on(s, r, p)))


@proof.clause
def mmap_lock_excludes(s: View, m: Any, c: Any) -> Any:
    """Nobody shares an mmap_lock that is held for writing."""
    return implies(s.write_locked(m), no(s.read_locked(c, m)))


@proof.clause
def sequence_count_tells(s: View, m: Any, c: Any) -> Any:
    """write_protect_seq is odd only while fork runs, and every GUP-fast of the process
    that goes on then will see that it changed."""
    by = s.write_locked_by(m)
    forks = both(
        s.write_locked(m), s.get("at:forking", by), s.same(s.at_process(by), m)
    )
    names = ("snapshot", "grabbed", "rechecked", "bit seen")
    walks = either(*(s.get(f"at:{name}", c) for name in names))
    races = implies(both(walks, s.same(s.at_process(c), m)), s.raced(c))
    return implies(s.odd(m), both(forks, races))


@proof.clause
def pending_references_have_a_walker(s: View, r: Any) -> Any:
    """A pending reference belongs to a CPU in GUP-fast."""
    c = s.by(r)
    names = ("grabbed", "rechecked", "bit seen")
    walks = either(*(s.get(f"at:{name}", c) for name in names))
    its = both(s.same(s.at_reference(c), r), s.same(s.at_process(c), s.taken_for(r)))
    return implies(s.pending(r), both(walks, its))


# %% [markdown]
# Whoever has to notice a write relies on a trap ([AE-INV-11](guarantees.py#AE-INV-11)).
# What would lose it? A step that makes the PTE writable, or that replaces it and gives
# the trap away. A migration entry keeps the trap, reclaim leaves such a PTE alone, and
# where nothing is mapped nobody waits for a write.


# %%
@proof.clause
def traps_forbid_writing(s: View, m: Any, v: Any) -> Any:
    """A PTE or entry with a trap is not writable."""
    present = either(s.mapped(m, v), s.moving(m, v))
    return implies(both(present, s.trapped(m, v)), no(s.writable(m, v)))


@proof.clause
def tracked_addresses_have_a_trap(s: View, m: Any, v: Any) -> Any:
    """Where a write has to be noticed, the PTE has a trap, or its entry keeps one, or
    the CPU that has cleared it."""
    c, present = s.ptl_by(m), either(s.mapped(m, v), s.moving(m, v))
    kept = both(suspended(s, m, v, s.at_page(c)), s.at_trapped(c))
    return implies(s.tracked(m, v), either(both(present, s.trapped(m, v)), kept))


# %% [markdown]
# ## Upstream's clauses
#
# The quantity is the same; the bit has two more witnesses. GUP for writing takes the
# word of a writable PTE ([AE-SET-5](bit.py#AE-SET-5)). And an entry remembers the bit,
# so that a FOLL_GET reference may rely on a page that nothing maps. What would lose
# them?
#
# - A step that clears the bit and leaves the PTE writable. `fork()` does, for a moment:
#   under the page table lock, and with an odd `write_protect_seq`. GUP-fast drops a pin
#   that it takes meanwhile, and returns a FOLL_GET reference without a promise.
# - A step that replaces an entry and does not give the bit back: a swap-in during
#   writeback ([AE-SWAP-12](swap.py#AE-SWAP-12)), a migration that has a new page. Each
#   comes after a count without further references, and where nothing maps the page
#   nobody gets one.
#
# Once taken, a pin needs neither: reclaim and migration leave its page mapped. In the
# sketch they leave that of every reference, so its entries keep no promise.


# %%
@proof.clause
def writer_has_the_bit(s: View, m: Any, v: Any, p: Any) -> Any:
    """If the model sets the bit on all that may be written: a writable PTE maps a page
    that has it, unless fork is about to write-protect the PTE; a writable entry
    remembers it."""
    protects = at_mapping(s, "protect", m, v, p)
    mapped = implies(writes(s, m, v, p), either(s.bit(p), protects))
    entry = implies(both(s.moving(m, v), s.writable(m, v)), s.marked(m, v))
    return implies(s.promises.marks, both(mapped, entry))


@proof.clause
def readers_have_no_promise(s: View, r: Any) -> Any:
    """Unless the model protects them: a FOLL_GET reference that only reads is not
    protected."""
    taken = both(either(s.pending(r), s.returned(r)), s.anonymous(r))
    known = either(s.promises.readers, s.pin(r), s.may_write(r))
    return implies(both(taken, s.protected(r)), known)


def entry_keeps_a_promise(s: View, r: Any) -> Any:
    """Someone relies on a page to which only an entry leads that remembers the bit."""
    m, v, p = s.taken_for(r), s.taken_at(r), s.of(r)
    relies = both(holds_on(s, r, p), will_stay(s, r), s.protected(r))
    return both(s.remembers, relies, waits(s, m, v, p), s.marked(m, v))


@proof.clause
def no_promise_during_writeback(s: View, r: Any) -> Any:
    """While a page is written to its slot, no entry keeps a promise for it."""
    return implies(s.writeback(s.of(r)), no(entry_keeps_a_promise(s, r)))


@proof.clause
def no_promise_after_the_move(s: View, r: Any, c: Any) -> Any:
    """Once a migration has a new page, no entry keeps a promise for the old one."""
    moved = both(s.get("at:migrating", c), s.same(s.at_page(c), s.of(r)), s.prepares(c))
    return implies(moved, no(entry_keeps_a_promise(s, r)))
