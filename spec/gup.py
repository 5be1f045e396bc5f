# %% [markdown]
# # GUP: taking references, slow and fast
#
# `get_user_pages()` and its kin return a reference to the page behind an address.
# The caller may use it long after the locks are dropped: a disk reads into the
# page, a network card sends from it. The promise that makes this work is that the
# address keeps the page meanwhile. The bit is how the promise is kept.
#
# The sketch covers FOLL_GET as well as FOLL_PIN: it does not look at the pin
# counter.

# %%
from __future__ import annotations

from spec.bit import REFINED, SKETCH, FaultFlags, Foll, mappings, sketch
from spec.cells import Broken
from spec.fault import handle_mm_fault, write
from spec.memory import (
    Machine,
    Mm,
    Names,
    Page,
    Pte,
    Reference,
    Steps,
    mmap_read_lock,
    mmap_read_unlock,
    ptl_lock,
    ptl_unlock,
    put_page,
    run,
    try_get_page,
    vm_normal_page,
)
from spec.rules import BIT_MODELS, Step, obey, rule

# %% [markdown]
# ## Slow GUP
#
# The walk takes the page table lock. It returns the page, or says which fault has
# to come first; after the fault the walk begins again.


# %%
def get_user_pages(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Take a reference on the page at `va`; false if the address can't be had."""
    yield from mmap_read_lock(mm)
    mm.asked_gup = True
    possible = True
    while possible and (missing := (yield from follow_page_pte(mm, va, ref, foll))):
        possible = yield from handle_mm_fault(mm, va, missing)
        yield
    mmap_read_unlock(mm)
    return possible


def follow_page_pte(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Take the reference under the lock, or return the fault that is missing."""
    yield from ptl_lock(mm)
    pte = mm.pte[va]
    if pte is None or (foll.write and not pte.writable and obey(mm, "AE-GUP-4")):
        ptl_unlock(mm)
        return FaultFlags(write=foll.write, gup=True)
    page = vm_normal_page(mm, pte)
    if not (yield from is_or_becomes_exclusive(mm, foll, pte, page)):
        ptl_unlock(mm)
        return FaultFlags(unshare=True, gup=True)
    if not obey(mm, "AE-GUP-2"):
        ptl_unlock(mm)
        yield
    if not grab(mm, va, ref, foll, pte):
        raise Broken("AE-INV-3", f"GUP takes a reference to {page}, which is free")
    ref.state = "live"
    if obey(mm, "AE-GUP-2"):
        ptl_unlock(mm)
    return None


def is_or_becomes_exclusive(mm: Mm, foll: Foll, pte: Pte, page: Page | None) -> Steps:
    """May GUP return the page? Sets the bit by hand where that is allowed."""
    if page is None:
        return not mm.model.unshares_zeropage(foll)
    if mm.model.may_return(foll, pte, page) or not obey(mm, "AE-GUP-1"):
        return True
    if not foll.pin and not obey(mm, "AE-GUP-3"):
        return True
    if not mm.model.may_set_bit(mm, pte, page):
        return False
    if not obey(mm, "AE-SET-1"):
        ptl_unlock(mm)
    yield
    page.anon_exclusive = True
    if not obey(mm, "AE-SET-1"):
        yield from ptl_lock(mm)
    yield
    return True


def grab(mm: Mm, va: str, ref: Reference, foll: Foll, pte: Pte) -> bool:
    """Count a reference and note whose it is (``try_grab_folio``)."""
    page = vm_normal_page(mm, pte)
    if page is not None and not try_get_page(page):
        return False
    ref.pfn = pte.pfn
    ref.mm = mm.name
    ref.va = va
    ref.pin = foll.pin
    ref.write = foll.write
    if page is not None:
        page.pincount += foll.pin
        ref.protected = mm.model.protects(foll)
    ref.state = "pending"
    return True


# %% [markdown]
# ## GUP-fast
#
# No lock: a snapshot of the PTE, a reference taken on trust, and then three
# questions. Is the PTE still the same? Is the bit set? Did `fork()` run
# meanwhile? Each "no" means that the reference is dropped.


# %%
def get_user_pages_fast(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Try without locks, then take the slow path."""
    if (yield from gup_fast(mm, va, ref, foll)):
        return True
    yield
    return (yield from get_user_pages(mm, va, ref, foll))


def get_user_pages_fast_only(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Try without locks; fail where the caller would have to sleep."""
    return (yield from gup_fast(mm, va, ref, foll))


ENTRIES = {
    "slow": get_user_pages,
    "fast": get_user_pages_fast,
    "fast-only": get_user_pages_fast_only,
}


def gup_fast(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Walk the page table without locks (mm/gup.c: gup_fast_pte_range)."""
    mm.asked_gup = True
    seq = mm.write_protect_seq
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte)
    if seq % 2 == 1 or pte is None or page is None:
        return False
    if foll.write and not pte.writable:
        return False
    yield
    if not grab(mm, va, ref, foll, pte):
        return False
    yield
    if mm.pte[va] != pte and obey(mm, "AE-FAST-3"):
        return put(mm, ref)
    yield
    if not mm.model.may_return(foll, pte, page) and obey(mm, "AE-FAST-2"):
        if obey(mm, "AE-FAST-1") or not mm.model.may_set_bit(mm, pte, page):
            return put(mm, ref)
        page.anon_exclusive = True
    yield
    if mm.write_protect_seq != seq:
        if mm.model.syncs_with_fork(mm, foll):
            return put(mm, ref)
        ref.protected = ref.protected and mm.model.protects_across_fork(ref)
    ref.state = "live"
    return True


def put(mm: Mm, ref: Reference) -> bool:
    """Let go of a reference (``put_page``, ``unpin_user_page``); returns false."""
    page = mm.machine.pages.get(str(ref.pfn))
    if page is not None:
        page.pincount -= ref.pin
        if not obey(mm, "AE-CLR-2"):
            page.anon_exclusive = False
        put_page(page)
    ref.reset()
    return False


# %% [markdown]
# ## What GUP returns
#
# ### AE-GUP-1 {#AE-GUP-1}
#
# This holds for R/W requests too, and a writable PTE is no substitute for the bit:
# the sketch leaves pages writable with the bit clear, and `fork()` shares those
# without looking. The first GUP request for a page takes the slow path.


# %%
def page_of(step: Step, ref: Reference) -> Page | None:
    """The anonymous page of a reference, as the step leaves it."""
    return step.after.pages.get(str(ref.pfn))


@rule("AE-GUP-1", source=SKETCH, kernel=("mm/gup.c:follow_page_pte",))
def slow_gup_returns_exclusive_pages(step: Step) -> bool:
    """Slow GUP MUST NOT return a reference to an anonymous page whose bit is
    clear."""
    return all(
        page.anon_exclusive
        for ref in step.delivers_slowly()
        if (page := page_of(step, ref)) is not None
    )


# %% [markdown]
# ### AE-GUP-2 {#AE-GUP-2}
#
# Between the two, `mmap_lock` keeps out `fork()` and `munmap()`, but not the fault
# of another thread, which may copy the page away and free it.


# %%
@rule(
    "AE-GUP-2",
    source=REFINED,
    kernel=("mm/gup.c:follow_page_pte",),
    models=("upstream", "always", "sketch"),
)
def reference_under_the_same_lock(step: Step) -> bool:
    """Slow GUP MUST take its reference before it lets go of the page table lock
    under which it found or set the bit."""
    return all(
        mm.ptl or f"{mm.name}.ptl" in step.written
        for ref in step.delivers_slowly()
        for mm in [step.before.mms[str(ref.mm)]]
    )


# %% [markdown]
# ### AE-GUP-3 {#AE-GUP-3}
#
# "To also be able to handle FOLL_GET (O_DIRECT reproducers unfortunately)
# correctly." Upstream gives this up: a FOLL_GET reader unshares nothing there.


# %%
@rule("AE-GUP-3", source=SKETCH, kernel=("mm/gup.c:gup_must_unshare",))
def get_is_a_request_too(step: Step) -> bool:
    """GUP MUST NOT return a page whose bit is clear to a FOLL_GET caller either."""
    return all(
        page.anon_exclusive
        for ref in step.delivers()
        if not ref.pin and (page := page_of(step, ref)) is not None
    )


# %% [markdown]
# ### AE-GUP-4 {#AE-GUP-4}


# %%
@rule(
    "AE-GUP-4",
    source="mm/gup.c:can_follow_write_pte, v6.1",
    kernel=("mm/gup.c:can_follow_write_pte",),
    models=("upstream", *(m for m in BIT_MODELS if m != "upstream")),
)
def write_needs_a_writable_pte(step: Step) -> bool:
    """Slow GUP MUST NOT take a FOLL_WRITE reference through a PTE that is not
    writable."""
    return all(
        pte is None or pte.writable
        for ref in step.delivers_slowly()
        if ref.write
        for pte in [step.after.mms[str(ref.mm)].pte[str(ref.va)]]
    )


# %% [markdown]
# ### AE-GUP-5 {#AE-GUP-5}
#
# Upstream's narrower rule, `gup_must_unshare()`.


# %%
@rule(
    "AE-GUP-5",
    source="a7f226604170 (5.19), mm/gup: trigger FAULT_FLAG_UNSHARE",
    kernel=("mm/gup.c:gup_must_unshare",),
    models=("upstream", "always"),
)
def read_only_pin_unshares(step: Step) -> bool:
    """GUP MUST NOT return a read-only FOLL_PIN reference to an anonymous page whose
    bit is clear."""
    return all(
        page.anon_exclusive
        for ref in step.delivers_slowly()
        if ref.pin and not ref.write and (page := page_of(step, ref)) is not None
    )


# %% [markdown]
# ## What GUP-fast must not do
#
# ### AE-FAST-1 {#AE-FAST-1}
#
# "It would then always have to fall back to the slow variant if the bit isn't
# already set": GUP-fast has neither `mmap_lock` nor the page table lock.


# %%
@rule(
    "AE-FAST-1",
    source=SKETCH,
    kernel=("mm/gup.c:gup_fast_pte_range",),
    models=BIT_MODELS,
)
def fast_gup_sets_no_bit(step: Step) -> bool:
    """GUP-fast MUST NOT set the bit: a step that sets the bit of a mapped page
    holds mmap_lock."""
    return all(
        mm.mmap_lock != 0
        for page in step.sets_bit()
        for mm, _ in mappings(step.before, page)
    )


# %% [markdown]
# ### AE-FAST-2 {#AE-FAST-2}
#
# GUP-fast then takes the slow path, and `get_user_pages_fast_only()` fails.


# %%
@rule("AE-FAST-2", source=SKETCH, kernel=("mm/gup.c:gup_fast_pte_range",))
def fast_gup_returns_exclusive_pages(step: Step) -> bool:
    """GUP-fast MUST NOT return a page whose bit is clear."""
    return all(
        page.anon_exclusive
        for ref in step.delivers_fast()
        if (page := page_of(step, ref)) is not None
    )


# %% [markdown]
# ### AE-FAST-3 {#AE-FAST-3}
#
# Between the snapshot and the try-grab the page may have been unmapped, freed, and
# handed to another process.


# %%
@rule(
    "AE-FAST-3",
    source="mm/gup.c:gup_fast_pte_range, v6.1",
    kernel=("mm/gup.c:gup_fast_pte_range",),
    models=BIT_MODELS,
)
def fast_gup_rechecks_the_pte(step: Step) -> bool:
    """GUP-fast MUST NOT return a page that the address did not map after the
    reference was taken."""
    return all(
        step.after.mms[str(ref.mm)].pte[str(ref.va)] in (None, *maps(ref))
        for ref in step.delivers_fast()
        if ref.protected
    )


def maps(ref: Reference) -> tuple[Pte, Pte]:
    """The two PTEs that map the page of a reference."""
    return Pte(str(ref.pfn), writable=False), Pte(str(ref.pfn), writable=True)


# %% [markdown]
# ### AE-FAST-4 {#AE-FAST-4}
#
# 57efa1fe5957 (5.11). `fork()` looks at the count, sees one, and then shares the
# page. A GUP-fast that takes its reference in between has seen nothing wrong: the
# PTE was the same and the bit was set. Only the sequence count tells.


# %%
@rule(
    "AE-FAST-4",
    source="57efa1fe5957 (5.11), mm/gup: prevent gup_fast from racing with COW "
    "during fork",
    kernel=("mm/gup.c:gup_fast",),
    models=("sketch", "page_count", "always", "upstream"),
)
def fast_gup_backs_off(step: Step) -> bool:
    """GUP-fast MUST NOT return a FOLL_PIN reference if write_protect_seq changed
    since it read the PTE."""
    return not any(
        ref.pin and step.after.mms[str(ref.mm)].write_protect_seq % 2
        for ref in step.delivers_fast()
    )


# %% [markdown]
# ### AE-FAST-5 {#AE-FAST-5}
#
# A consequence of covering FOLL_GET that the sketch does not state. Upstream tests
# the sequence count for FOLL_PIN only.


# %%
@rule("AE-FAST-5", source=SKETCH, kernel=("mm/gup.c:gup_fast",))
def fast_get_backs_off(step: Step) -> bool:
    """GUP-fast MUST NOT return a FOLL_GET reference if write_protect_seq changed
    since it read the PTE."""
    return not any(
        not ref.pin and step.after.mms[str(ref.mm)].write_protect_seq % 2
        for ref in step.delivers_fast()
    )


# %% [markdown]
# ## The sketch's answers


# %%
@sketch
def may_return(foll: Foll, pte: Pte, page: Page) -> bool:
    """bit set"""
    return page.anon_exclusive


@sketch
def may_set_bit(mm: Mm, pte: Pte, page: Page) -> bool:
    """writable PTE, or refcount == 1"""
    return pte.writable or page.refcount == 1 or not obey(mm, "AE-SET-2")


@sketch
def syncs_with_fork(mm: Mm, foll: Foll) -> bool:
    """every request"""
    return obey(mm, "AE-FAST-4") if foll.pin else obey(mm, "AE-FAST-5")


@sketch
def unshares_zeropage(foll: Foll) -> bool:
    """no (silent)"""
    return False


@sketch
def protects(foll: Foll) -> bool:
    """every reference"""
    return True


# %% [markdown]
# ## Example
#
# A first request finds the bit clear and sets it by hand: the mapping is writable.
# A second one, fast-only, then succeeds.

# %%
machine = Machine(Names(refs=("r", "s")), sketch)
A = machine.start("A")
run(write(A, "x", 1))
r, s = machine.refs["r"], machine.refs["s"]
assert not run(get_user_pages_fast_only(A, "x", r, Foll()))
assert run(get_user_pages_fast(A, "x", r, Foll()))
assert machine.pages["p1"].anon_exclusive
assert run(get_user_pages_fast_only(A, "x", s, Foll(write=True)))

# %% [markdown]
# Letting go clears nothing ([AE-CLR-2](bit.py#AE-CLR-2)).

# %%
put(A, r)
put(A, s)
assert machine.pages["p1"].anon_exclusive
