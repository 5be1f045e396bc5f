# %% [markdown]
# # Releases: which Linux has which model
#
# A release of Linux is a model and the rules that it did not know yet. Some of those
# rules were written down because a release broke them; removing exactly these from the
# model of the time gives the release its bugs back.

# %%
from __future__ import annotations

from dataclasses import dataclass

from spec.cells import SpecificationError, one_of
from spec.counts import run
from spec.decisions import Foll, Model
from spec.fault import write
from spec.gup import get_user_pages
from spec.history import ForceCow, Mapcount, PageCount, PageCountThp, parse
from spec.memory import Machine, Names
from spec.models import MODELS, VARIANTS, Upstream

# %% [markdown]
# ## What changed when
#
# `rules` are obeyed from this release on, `answers` name decisions that are answered
# otherwise from then on. A change with neither began another model.


# %%
@dataclass(frozen=True)
class Change:
    """One commit that matters to the bit or to COW.

    Attributes:
        release: the first with it.
        commit: its id.
        subject: its title, or what it did.
        rules: ids of the rules that Linux obeys since.
        answers: the decisions that it changed (`spec.models.DECISIONS`).
    """

    release: str
    commit: str
    subject: str
    rules: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


CHANGES = (
    Change("5.8", "17839856fd58", "gup: 'COW can break either way' worked around"),
    Change("5.9", "09854ba94c6a", "mm: do_wp_page() simplification"),
    Change("5.9", "70e806e4e645", "mm: Do early cow for pinned pages during fork()"),
    Change("5.9", "a308c71bf1e6", "mm/gup: Remove enfornced COW mechanism"),
    Change(
        "5.11",
        "57efa1fe5957",
        "mm/gup: prevent gup_fast from racing with COW during fork",
        rules=("AE-FAST-4", "AE-FORK-6"),
    ),
    Change(
        "5.11",
        "feb889fb40fa",
        "mm: don't put pinned pages into the swap cache",
        rules=("AE-SWAP-3",),
    ),
    Change(
        "5.11",
        "9348b73c2e1b",
        "mm: don't play games with pinned pages in clear_page_refs",
        answers=("may_trap",),
    ),
    Change(
        "5.12",
        "6ce64428d620",
        "mm/userfaultfd: fix memory corruption due to writeprotect",
        rules=("AE-ORD-7",),
    ),
    Change(
        "5.17",
        "80d47f5de5e3",
        "mm: don't try to NUMA-migrate COW pages that have other uses",
        answers=("may_trap",),
    ),
    Change("5.18", "3bff7e3f1f16", "mm/huge_memory: streamline COW logic"),
    Change("5.18", "c145e0b47c77", "mm: streamline COW logic in do_swap_page()"),
    Change(
        "5.18",
        "6c8e2a256915",
        "mm: fix race between MADV_FREE reclaim and blkdev direct IO read",
        rules=("AE-SWAP-13",),
    ),
    Change("5.19", "6c287605fd56", "mm: remember exclusively mapped anonymous pages"),
    Change("5.19", "a7f226604170", "mm/gup: trigger FAULT_FLAG_UNSHARE"),
    Change("5.19", "1493a1913e34", "mm/swap: remember PG_anon_exclusive"),
    Change(
        "6.0",
        "64fe24a3e05e",
        "mprotect upgrades without a fault; up to 6.1 only a dirty PTE",
        answers=("may_upgrade",),
    ),
    Change(
        "6.0",
        "5535be309971",
        "mm/gup: fix FOLL_FORCE COW security issue and remove FOLL_COW",
        answers=("may_force",),
    ),
    Change(
        "6.1",
        "088b8aa537c2",
        "mm: fix PageAnonExclusive clearing racing with concurrent RCU GUP-fast",
        rules=tuple(f"AE-ORD-{n}" for n in range(1, 5)),
    ),
    Change(
        "6.1",
        "70cbc3cc78a9",
        "mm: gup: fix the fast GUP race against THP collapse",
        rules=("AE-HUGE-6",),
    ),
    Change(
        "6.2",
        "84209e87c696",
        "mm/gup: reliable R/O long-term pinning in COW mappings",
        rules=("AE-GUP-6",),
    ),
    Change(
        "6.2",
        "6cce3314b928",
        "mm/ksm: fix KSM COW breaking with userfaultfd-wp",
        answers=("pretends_to_write",),
    ),
    Change(
        "6.8",
        "13ddaf26be32",
        "mm/swap: fix race when skipping swapcache",
        rules=("AE-SWAP-9",),
    ),
    Change(
        "6.8",
        "(folio rmap)",
        "no page of a PTE-mapped large folio is reused",
        answers=("may_reuse_large",),
    ),
    Change(
        "6.15",
        "1da190f4d0a6",
        "mm: Copy-on-Write (COW) reuse support for PTE-mapped THP",
        answers=("may_reuse_large",),
    ),
)

# %% [markdown]
# The bit itself needs rules that older models do not promise; only rules that the model
# of a release has, or that its operations obey, are taken away.
#
# ## From a release to a model

# %%
LINUX = "linux-"
"""What the name of a release's model begins with."""
NEWEST = Upstream.latest
MODEL_SINCE = {
    "5.8": ForceCow,
    "5.9": PageCount,
    "5.18": PageCountThp,
    "5.19": Upstream,
}
KEPT_BEFORE: dict[type[Mapcount], frozenset[str]] = {ForceCow: frozenset({"AE-GUP-6"})}
"""Rules that an early release obeyed and later ones did not: 5.8 broke COW of the
zeropage for every request."""


@dataclass(frozen=True)
class Kernel:
    """A release of Linux as the specification has it.

    Attributes:
        release: for instance ``5.10``.
        model: answers the decisions.
    """

    release: str
    model: Model

    @property
    def without(self) -> frozenset[str]:
        """Ids of rules that the release does not obey."""
        return self.model.without


def linux(release: str) -> Kernel:
    """The model of a release, and the rules that it did not know.

    Raises:
        SpecificationError: the release is none, or newer than what was read.

    >>> linux("5.10").model.family, sorted(linux("5.10").without)[:2]
    ('page_count', ['AE-FAST-4', 'AE-FORK-6'])
    """
    wanted = checked(release)
    model: type[Mapcount] = Mapcount
    for since, begun in MODEL_SINCE.items():
        model = begun if wanted >= parse(since) else model
    later = [change for change in CHANGES if parse(change.release) > wanted]
    without = frozenset(id for change in later for id in change.rules)
    without -= KEPT_BEFORE.get(model, frozenset())
    return Kernel(release, model(release, f"{LINUX}{release}", without))


def find_model(name: str) -> Model:
    """The model of this name, a variant, or the one of a release, as ``linux-5.10``.

    Raises:
        SpecificationError: there is none; names the nearest.
    """
    if name.startswith(LINUX):
        return linux(name.removeprefix(LINUX)).model
    known = MODELS | VARIANTS
    return known[one_of(name, known, "model")]


def checked(release: str) -> tuple[int, ...]:
    """The release as numbers.

    Raises:
        SpecificationError: it is none, or newer than what was read.
    """
    parts = release.split(".")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise SpecificationError(
            f"{release!r} is no release of Linux; expected two numbers, as in 5.10"
        )
    if parse(release) > parse(NEWEST):
        raise SpecificationError(
            f"Linux {release} is newer than what this specification was written from; "
            f"the newest is {NEWEST}"
        )
    return parse(release)


# %% [markdown]
# Between two changes nothing differs. `RELEASES` has one of each kind, the oldest.

# %%
RELEASES = tuple(sorted({"5.7", *(change.release for change in CHANGES)}, key=parse))

# %% [markdown]
# ## Example
#
# Linux 5.10 has the model of 5.16 without what came in 5.11: GUP-fast does not notice
# that `fork()` ran. 6.1 has everything that concerns base pages.

# %%
assert {"AE-FAST-4", "AE-SWAP-3"} <= linux("5.10").without
assert linux("5.16").without < linux("5.10").without
assert linux("6.1").model.family == "upstream"


# %%
def bit_after_a_pin(release: str) -> bool:
    """Is the bit of a pinned page set?"""
    machine = Machine(Names(refs=("r",)), linux(release).model)
    A = machine.start("A")
    run(write(A, "x", 1))
    run(get_user_pages(A, "x", machine.refs["r"], Foll(pin=True)))
    return machine.pages["p1"].anon_exclusive


assert [bit_after_a_pin(release) for release in ("5.18", "5.19")] == [False, True]
