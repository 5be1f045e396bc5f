# %% [markdown]
# # The models: the sketch and its rivals
#
# Eight answers to the same decisions: the five [before the bit](history.py), the
# sketch, and two that have the bit always. The operations of the other chapters run
# unchanged with each of them; so does every litmus test.

# %%
from __future__ import annotations

import inspect

# the chapters that answer for the sketch, besides those that are used below
import spec.largefolio
import spec.protect
import spec.reclaim  # noqa: F401
from spec.counts import (
    bit_of,
    further_references,
    mapped_page,
    page_folio,
    run,
    unexpected_references,
)
from spec.decisions import FaultFlags, Foll, Model, Sketch, sketch
from spec.fault import munmap, write
from spec.fork import fork
from spec.guarantees import no_missed_cow
from spec.gup import get_user_pages
from spec.history import HISTORY, PageCountThp
from spec.memory import Machine, Mm, Names, Page, Pte
from spec.rules import Rule, may, obey

# %% [markdown]
# ## upstream: 5.19 and later
#
# 6c287605fd56: the bit is set on every page that a fault maps for one process, so
# a writable PTE implies it. Only read-only pins have to look at it and unshare
# (a7f226604170). `fork()` clears it unless the page may be pinned. A FOLL_GET
# reference is protected only against what happens without a `fork()`, and a
# read-only one not at all.
#
# What changed later is in the answers, each with its release. Rules that came later are
# in [releases](releases.py).


# %%
class Upstream(PageCountThp):
    """Linux 5.19 and later."""

    family = "upstream"
    latest = "7.3"

    def starts_exclusive(self, mm: Mm, why: FaultFlags) -> bool:
        """always (6c287605fd56)"""
        return obey(mm, "AE-SET-5")

    def may_upgrade(self, page: Page) -> bool:
        """bit set (64fe24a3e05e, 6.0)"""
        return self.since("6.0") and mapped_page(page).anon_exclusive

    def may_trap(self, page: Page, trap: str) -> bool:
        """soft-dirty: not pinned; NUMA: mapped once and not pinned"""
        if trap == "numa" and page.mapcount != 1:
            return False
        return trap == "uffd-wp" or page_folio(page).pincount == 0

    def may_return(self, foll: Foll, pte: Pte, page: Page) -> bool:
        """bit set, if R/O mapped and read-only FOLL_PIN (a7f226604170)"""
        reader_pins = foll.pin and not foll.write and obey(page, "AE-GUP-5")
        return pte.writable or not reader_pins or bit_of(page).anon_exclusive

    def pretends_to_write(self, for_gup: bool) -> bool:
        """no (6cce3314b928, 6.2); before, KSM did"""
        return not for_gup and not self.since("6.2")

    def unshares_zeropage(self, foll: Foll) -> bool:
        """FOLL_LONGTERM (84209e87c696, 6.2)"""
        return foll.longterm

    def may_share(self, mm: Mm, page: Page) -> bool:
        """bit clear, or not pinned (6c287605fd56)"""
        return not bit_of(page).anon_exclusive or super().may_share(mm, page)

    def child_starts_exclusive(self) -> bool:
        """yes (6c287605fd56)"""
        return True

    def may_unmap(self, page: Page) -> bool:
        """bit clear, or not pinned (6c287605fd56)"""
        return not bit_of(page).anon_exclusive or super().may_unmap(page)

    def entry_remembers(self, page: Page) -> bool:
        """yes (6c287605fd56, 1493a1913e34)"""
        return True

    def swapin_exclusive(self, page: Page, remembered: bool) -> bool:
        """if the entry remembers (1493a1913e34)"""
        return remembered

    def may_reuse_large(self, mm: Mm, page: Page) -> bool:
        """no reference but mappings by this process (1da190f4d0a6, 6.15); 6.8 to 6.14
        never; before, refcount == 1"""
        if self.since("6.15"):
            return further_references(mm, page) == 0 and may(mm, "AE-COW-3")
        return not self.since("6.8") and super().may_reuse_large(mm, page)

    def may_move(self, page: Page) -> bool:
        """bit set (adef440691ba, 6.8)"""
        return page.anon_exclusive

    def may_force(self, foll: Foll, page: Page) -> bool:
        """bit set (5535be309971, 6.0); before, as ever"""
        return (
            page.anon_exclusive if self.since("6.0") else super().may_force(foll, page)
        )


# %% [markdown]
# ## always: Torvalds' variant
#
# In the same thread (2021-12-21) Torvalds preferred to maintain the bit for every
# anonymous page, with or without GUP, and to let *every* GUP request refuse pages
# without it. `fork()` may still share such a page, except when it may be pinned;
# O_DIRECT with FOLL_GET across `fork()` was never guaranteed, he held, and need
# not be.


# %%
class Always(Upstream):
    """The bit is maintained for every anonymous page; all of GUP asks for it."""

    family = "always"

    def may_return(self, foll: Foll, pte: Pte, page: Page) -> bool:
        """bit set (Torvalds, 2021-12-21)"""
        return bit_of(page).anon_exclusive

    def protects(self, foll: Foll) -> bool:
        """every reference"""
        return True


# %%
MODELS: dict[str, Model] = {
    model.name: model for model in (*HISTORY, Always(), sketch, Upstream())
}

DECISIONS = {
    "may_reuse": "May a fault keep a page whose bit is clear?",
    "waits_for_lock": "Does a write fault wait for the folio lock?",
    "starts_exclusive": "Is the bit set on what a fault maps?",
    "may_upgrade": "May mprotect make a mapping writable without a fault?",
    "may_trap": "Which mapping may soft-dirty and NUMA hints write-protect?",
    "may_return": "Which page may GUP return as it is mapped?",
    "may_set_bit": "May GUP set the bit by hand?",
    "pretends_to_write": "Who breaks COW without writing and claims to write?",
    "unshares_zeropage": "Which request makes GUP replace the zeropage?",
    "syncs_with_fork": "Which GUP-fast requests back off if they raced with fork?",
    "may_share": "Which page may fork share?",
    "child_starts_exclusive": "Is the bit set on the copy that fork makes?",
    "protects": "Which references are protected?",
    "protects_across_fork": "Which of them across fork?",
    "may_unmap": "Which page may reclaim or migration unmap?",
    "entry_remembers": "Does a swap or migration entry remember the bit?",
    "swapin_exclusive": "Is the bit set on what comes back from swap?",
    "swapin_reuses": "May a write fault map it writable though the bit is clear?",
    "may_share_entry": "Which swap entry may fork share?",
    "may_reuse_large": "May a fault keep a page of a PTE-mapped large folio?",
    "may_reuse_huge": "May a fault keep a folio that a PMD maps, the bit clear?",
    "may_force": "Which page may FOLL_FORCE write through a R/O PTE?",
    "may_move": "Which page that nobody references may UFFDIO_MOVE move?",
}


# %% [markdown]
# ## Variants
#
# Two further models share all but a few answers with one of the eight. `carry` closes
# the gap at swap-out and migration the other way: the entry remembers the bit, as
# upstream, and `fork()` copies what still has references, so that FOLL_GET stays
# protected. It keeps every guarantee and every rule of the sketch but those that it
# replaces ([AE-SWAP-2](reclaim.py#AE-SWAP-2), [AE-MIGR-2](migration.py#AE-MIGR-2)).
# GUP-fast may still return a page whose bit went into an entry a moment ago
# ([AE-FAST-2](gup_fast.py#AE-FAST-2), [AE-GUP-3](gup.py#AE-GUP-3)): the marker speaks
# for the bit then, so those two hold in that weaker form only.

# %%
carry = Sketch("carry")
vars(carry).update(vars(sketch), name="carry")


@carry
def may_unmap(page: Page) -> bool:
    """always"""
    return True


@carry
def entry_remembers(page: Page) -> bool:
    """yes"""
    return True


@carry
def swapin_exclusive(page: Page, remembered: bool) -> bool:
    """if the entry remembers"""
    return remembered


@carry
def may_share_entry(page: Page, remembered: bool) -> bool:
    """unless the entry remembers and somebody has a reference"""
    holders = unexpected_references(page) + 1 - page.locked
    return not remembered or holders == 0


# %% [markdown]
# `hugetlb` is upstream with one answer of the past. Its pages are scarce, so a write
# fault goes by `mapcount` and copies less. A FOLL_GET reader that has unmapped the page
# then sees what others write: a missed COW that Linux accepts. Its own test expects the
# failure (`cow.c`), and no rule of this specification holds there that speaks of it.


# %%
class Hugetlb(Upstream):
    """A hugetlb page: mapped as a whole, reused by its mapcount."""

    def may_reuse(self, mm: Mm, page: Page) -> bool:
        """mapcount == 1"""
        return page.mapcount == 1


VARIANTS: dict[str, Model] = {"carry": carry, "hugetlb": Hugetlb(name="hugetlb")}

REPLACED = {
    "carry": ("AE-SWAP-2", "AE-MIGR-2", "AE-FAST-2", "AE-GUP-3"),
    "hugetlb": ("AE-COW-2", "AE-COW-3", "AE-SET-2", "AE-UNS-1"),
}
"""For each variant, the rules of its family that it does not keep."""


def governs(rule: Rule, model: Model) -> bool:
    """Whether the model promises to keep the rule."""
    replaced = REPLACED.get(model.name, ())
    inherits = model.family in rule.models and rule.id not in replaced
    return inherits or model.name in rule.models


# %% [markdown]
# ## All answers


# %%
def decision_table() -> list[tuple[str, dict[str, str]]]:
    """Each decision with every model's answer in one line.

    >>> dict(decision_table())["Which page may fork share?"]["sketch"]
    'bit clear, or refcount == 1'
    """
    return [
        (
            question,
            {
                name: inspect.getdoc(getattr(model, decision)) or ""
                for name, model in MODELS.items()
            },
        )
        for decision, question in DECISIONS.items()
    ]


# %% [markdown]
# ## The same program, five verdicts
#
# CVE-2020-29374 again, with each model in turn.


# %%
def vmsplice_leak(model: Model) -> bool:
    """Does the child's reference see what the parent writes after the fork?"""
    machine = Machine(Names(refs=("r",)), model)
    A, B, r = machine.start("A"), machine.mms["B"], machine.refs["r"]
    run(write(A, "x", 1))
    run(fork(A, B))
    run(get_user_pages(B, "x", r, Foll()))
    run(munmap(B, "x"))
    run(write(A, "x", 2))
    leaks = machine.pages[str(r.pfn)].value == 2
    assert leaks == (not no_missed_cow.holds(machine))
    return leaks


leaking = {name for name, model in (MODELS | VARIANTS).items() if vmsplice_leak(model)}
assert leaking == {"mapcount", "hugetlb"}
