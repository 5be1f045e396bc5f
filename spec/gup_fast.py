# %% [markdown]
# # GUP-fast: taking references without locks
#
# No lock: a snapshot of the PTE, a reference taken on trust, and then three
# questions. Is the PTE still the same? Is the bit set? Did `fork()` run
# meanwhile? Each "no" means that the reference is dropped.


# %%
from __future__ import annotations

from spec.bit import mappings, places
from spec.counts import bit_of, page_folio, put_page, rmap_walk, run, vm_normal_page
from spec.decisions import SKETCH, Foll, sketch
from spec.fault import write
from spec.gup import get_user_pages, grab, page_of
from spec.memory import Machine, Mm, Names, NonPresent, Pte, Reference, Steps
from spec.rules import BIT_MODELS, COUNT_MODELS, Step, obey, rule


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
    """Walk without locks, then ask whether fork ran meanwhile (mm/gup.c)."""
    mm.asked_gup = True
    seq = mm.write_protect_seq
    if seq % 2 == 1:
        return False
    pmd = mm.pmd
    if pmd is not None:
        taken = yield from pmd.gup_fast_pmd_leaf(mm, va, ref, foll)
    else:
        taken = yield from gup_fast_pte_range(mm, va, ref, foll)
    if not taken:
        return False
    if mm.write_protect_seq != seq:
        if mm.model.syncs_with_fork(mm, foll):
            return put(mm, ref)
        ref.protected = ref.protected and mm.model.protects_across_fork(ref)
    ref.state = "live"
    return True


def gup_fast_pte_range(mm: Mm, va: str, ref: Reference, foll: Foll) -> Steps:
    """Take a reference on trust; keep it if the PTE is the same and the bit set."""
    pte = mm.pte[va]
    page = vm_normal_page(mm, pte)
    if not isinstance(pte, Pte) or page is None or pte.trap == "numa":
        return False
    if foll.write and not pte.writable:
        return False
    yield
    if not grab(mm, va, ref, foll, pte):
        return False
    yield
    if mm.pmd is not None and obey(mm, "AE-HUGE-6"):
        return put(mm, ref)
    if mm.pte[va] != pte and obey(mm, "AE-FAST-3"):
        return put(mm, ref)
    yield
    if not mm.model.may_return(foll, pte, page) and obey(mm, "AE-FAST-2"):
        if obey(mm, "AE-FAST-1") or not mm.model.may_set_bit(mm, pte, page):
            return put(mm, ref)
        page.anon_exclusive = True
    yield
    return True


def put(mm: Mm, ref: Reference) -> bool:
    """Let go of a reference (``put_page``, ``unpin_user_page``); returns false."""
    page = mm.machine.pages.get(str(ref.pfn))
    if page is not None:
        folio = page_folio(page)
        folio.pincount -= ref.pin
        if ref.write:
            folio.dirty = True
        if not obey(mm, "AE-CLR-2"):
            page.anon_exclusive = False
        put_page(page)
    ref.reset()
    return False


def device_write(ref: Reference, value: int) -> Steps:
    """The holder writes through the reference, without a page table (DMA).

    A promised address reads the value from now on; what any other address that
    leads to the page reads is not defined until it is written again. So with a PTE that
    is clear under its lock: it may have led to the page and may be restored.
    """
    page = ref.machine.pages.get(str(ref.pfn))
    if page is not None:
        page.value = value
        leading = set(places(ref.machine, page))
        for mm, va in rmap_walk(ref.machine):
            if (mm, va) in leading or (mm.ptl and mm.pte[va] is None):
                mm.expected[va] = None
        if ref.protected:
            ref.machine.mms[str(ref.mm)].expected[str(ref.va)] = value
    yield from ()


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
@rule("AE-FAST-2", rev=2, source=SKETCH, kernel=("mm/gup.c:gup_fast_pte_range",))
def fast_gup_returns_exclusive_pages(step: Step) -> bool:
    """GUP-fast MUST NOT return a page whose bit is clear."""
    return all(
        bit_of(page).anon_exclusive
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
    rev=2,
    source="mm/gup.c:gup_fast_pte_range, v6.1",
    kernel=("mm/gup.c:gup_fast_pte_range",),
    models=BIT_MODELS,
)
def fast_gup_rechecks_the_pte(step: Step) -> bool:
    """GUP-fast MUST NOT return a page that the address did not map after the
    reference was taken."""
    return all(
        leads_to(step.after, ref) in (None, ref.pfn)
        for ref in step.delivers_fast()
        if ref.protected
    )


def leads_to(machine: Machine, ref: Reference) -> str | None:
    """The page that a reference's address maps, or will after a fault; if any."""
    pte = machine.mms[str(ref.mm)].pte[str(ref.va)]
    return pte.leads_to(machine) if isinstance(pte, NonPresent) else pte and pte.pfn


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
    models=(*COUNT_MODELS, *BIT_MODELS),
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
def syncs_with_fork(mm: Mm, foll: Foll) -> bool:
    """every request"""
    return obey(mm, "AE-FAST-4") if foll.pin else obey(mm, "AE-FAST-5")


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
