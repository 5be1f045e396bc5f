"""The registry of rules: text, id, predicate and sources of each in one place.

A rule is a predicate over one atomic step: what was before it, what is after it.
Chapters define rules with `@rule`; the sentence is the docstring of the
predicate, so what is cited and what is checked stand in the same function.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from spec.cells import SpecificationError
from spec.memory import Entry, Machine, Mm, NonPresent, Page, Pte, Reference

TOPICS = {
    "SET": "setting the bit",
    "CLR": "clearing the bit",
    "COW": "write faults",
    "UNS": "unshare faults",
    "GUP": "slow GUP",
    "FAST": "GUP-fast",
    "FORK": "fork",
    "SWAP": "reclaim and swap",
    "MIGR": "migration",
    "KSM": "KSM",
    "HUGE": "large folios",
    "WP": "write protection",
    "MOVE": "moving a page between addresses",
    "ORD": "memory ordering",
    "INV": "guarantees",
    "ASM": "assumptions",
}
"""The topics of ids that are in use; later chapters add to them."""

MODAL_WORDS = ("MUST NOT", "MUST", "MAY", "SHOULD")
ID = re.compile(r"AE-([A-Z]+)-([1-9][0-9]*)")


class Step:
    """One atomic step: the machine before and after, and what was written.

    Args:
        before: the machine before the step.
        after: the machine after it.
        written: the names of the cells that the step assigned.
    """

    def __init__(self, before: Machine, after: Machine, written: set[str]) -> None:
        self.before = before
        self.after = after
        self.assign(written)

    def assign(self, written: set[str]) -> None:
        """Look at another step of the same machines."""
        self.written = written
        self._memo: dict[str, list[Any]] = {}

    def _once(self, name: str, compute: Callable[[], Iterator[Any]]) -> list[Any]:
        # some thirty rules ask the same few questions of each step
        if name not in self._memo:
            self._memo[name] = list(compute())
        return self._memo[name]

    def _wrote(self, record: str, field: str) -> bool:
        return f"{record}.{field}" in self.written

    def sets_bit(self) -> list[Page]:
        """Pages (as they were before) whose bit this step sets."""
        return self._once("sets_bit", self._sets_bit)

    def _sets_bit(self) -> Iterator[Page]:
        for name, page in self.before.pages.items():
            if self._wrote(name, "anon_exclusive"):
                new = self.after.pages[name].anon_exclusive
                if new and not page.anon_exclusive:
                    yield page

    def clears_bit(self) -> list[Page]:
        """Pages (as they were before) whose bit this step clears."""
        return self._once("clears_bit", self._clears_bit)

    def _clears_bit(self) -> Iterator[Page]:
        for name, page in self.before.pages.items():
            if self._wrote(name, "anon_exclusive"):
                new = self.after.pages[name].anon_exclusive
                if page.anon_exclusive and not new:
                    yield page

    def frees(self) -> list[Page]:
        """Pages (as they are after) whose last reference this step drops."""
        return self._once("frees", self._frees)

    def _frees(self) -> Iterator[Page]:
        for name, page in self.after.pages.items():
            if self._wrote(name, "refcount") and page.refcount == 0:
                yield page

    def changes_pte(self) -> list[tuple[Mm, str, Entry, Entry]]:
        """Each PTE that changes: process and address, old entry, new entry."""
        return self._once("changes_pte", self._changes_pte)

    def _changes_pte(self) -> Iterator[tuple[Mm, str, Entry, Entry]]:
        for name, mm in self.before.mms.items():
            for va in self.before.names.vas:
                if f"{name}.pte[{va}]" in self.written:
                    old, new = mm.pte[va], self.after.mms[name].pte[va]
                    if old != new:
                        yield mm, va, old, new

    def replaces(self) -> Iterator[tuple[Mm, Pte, Pte]]:
        """Process, old and new entry where an anonymous page gives way to another."""
        for mm, _, old, new in self.changes_pte():
            if (
                isinstance(old, Pte)
                and isinstance(new, Pte)
                and old.pfn in self.before.pages
                and old.pfn != new.pfn
            ):
                yield mm, old, new

    def makes_writable(self) -> Iterator[tuple[Mm, Pte]]:
        """Process and new entry where a page in use becomes writable for it."""
        for mm, _, old, new in self.changes_pte():
            if not isinstance(new, Pte) or not new.writable:
                continue
            stays = isinstance(old, Pte) and old.pfn == new.pfn
            if stays or (isinstance(old, NonPresent) and not self._was_free(new)):
                yield mm, new

    def _was_free(self, pte: Pte) -> bool:
        page = self.before.pages.get(pte.pfn)
        return page is not None and page.refcount == 0 and page.head is None

    def maps_new(self) -> Iterator[tuple[Mm, Pte]]:
        """Process and entry where a fault maps a page that was free before."""
        for mm, _, _, new in self.changes_pte():
            if isinstance(new, Pte) and mm.state == "live" and self._was_free(new):
                yield mm, new

    def unmaps(self) -> Iterator[tuple[Mm, str, Page, NonPresent]]:
        """Process, address, page (before) and entry where the kernel takes a page."""
        for mm, va, old, new in self.changes_pte():
            if isinstance(old, Pte) and isinstance(new, NonPresent):
                page = self.before.pages.get(old.pfn)
                if page is not None:
                    yield mm, va, page, new

    def brings_back(self) -> Iterator[tuple[Mm, str, NonPresent, Pte]]:
        """Process, address, old entry and PTE where a page is mapped again."""
        for mm, va, old, new in self.changes_pte():
            if isinstance(old, NonPresent) and isinstance(new, Pte):
                yield mm, va, old, new

    def maps_copy_over_nothing(self) -> Iterator[Mm]:
        """Processes where the copy of a page is mapped and nothing was mapped."""
        copying = any(
            self._wrote(name, "hold") and cpu.hold is not None
            for name, cpu in self.before.cpus.items()
        )
        for mm, _, old, new in self.changes_pte():
            begins = copying and old is None
            if begins and isinstance(new, Pte) and self._was_free(new):
                yield mm

    def changes_protection(self, mm: Mm) -> bool:
        """The step assigns the protection of a mapping: mprotect or munmap."""
        return any(
            f"{mm.name}.vma[{va}]" in self.written for va in mm.machine.names.vas
        )

    def copies_into_child(self) -> Iterator[tuple[Mm, str]]:
        """Child and address where fork maps a copy."""
        for mm, va, old, new in self.changes_pte():
            begins = old is None and mm.state == "forking"
            if begins and isinstance(new, Pte) and self._was_free(new):
                yield mm, va

    def shares_with_child(self) -> Iterator[tuple[Mm, str, Page]]:
        """Child, address and page (before) where fork maps the parent's page."""
        for mm, va, old, new in self.changes_pte():
            if old is None and isinstance(new, Pte) and mm.state == "forking":
                page = self.before.pages.get(new.pfn)
                if page is not None and not self._was_free(new):
                    yield mm, va, page

    def parent_of(self, child: Mm) -> Mm:
        """The process (before) that forks `child`."""
        return self.before.mms[str(child.parent)]

    def forking(self) -> list[Mm]:
        """Processes (before) that are being forked."""
        return [
            self.parent_of(child)
            for child in self.before.mms.values()
            if child.state == "forking"
        ]

    def delivers(self) -> list[Reference]:
        """References (after) that GUP returns in this step."""
        return self._once("delivers", self._delivers)

    def _delivers(self) -> Iterator[Reference]:
        for name, ref in self.after.refs.items():
            if (
                self._wrote(name, "state")
                and ref.state == "live"
                and self.before.refs[name].state != "live"
            ):
                yield ref

    def delivers_fast(self) -> Iterator[Reference]:
        """References (after) that GUP-fast returns in this step."""
        for ref in self.delivers():
            if self.before.refs[ref.name].state == "pending":
                yield ref

    def delivers_slowly(self) -> Iterator[Reference]:
        """References (after) that slow GUP returns in this step."""
        for ref in self.delivers():
            if self.before.refs[ref.name].state == "free":
                yield ref

    def drops(self) -> Iterator[Reference]:
        """References (before) that their holder lets go in this step."""
        for name, ref in self.before.refs.items():
            if (
                self._wrote(name, "state")
                and ref.state == "live"
                and self.after.refs[name].state == "free"
            ):
                yield ref


Predicate = Callable[[Any], bool]
Witness = Callable[[Step], bool]


@dataclass(frozen=True)
class Rule:
    """A normative sentence and the predicate that decides whether it is kept.

    `holds` takes a `Step` for a rule and for a guarantee over steps, a `Machine`
    for a guarantee over states. An assumption has no predicate of its own.
    """

    id: str
    rev: int
    sentence: str
    holds: Predicate
    over: str
    source: str
    kernel: tuple[str, ...]
    models: tuple[str, ...]
    module: str
    name: str
    taken: Witness | None = None
    declined: Witness | None = None
    survives: str = ""
    withdrawn: str = ""
    world: str = "mm"

    @property
    def topic(self) -> str:
        """The middle part of the id."""
        return self.id.split("-")[1]

    @property
    def modal(self) -> str:
        """The one modal word of the sentence; empty for guarantees, assumptions."""
        return next((word for word in MODAL_WORDS if word in self.sentence), "")

    @property
    def number(self) -> int:
        """The last part of the id."""
        return int(self.id.split("-")[2])

    @property
    def checksum(self) -> str:
        """8 hex digits of SHA-256 over the normalised sentence and predicate."""
        text = " ".join(self.sentence.split()) + "\n" + predicate_source(self.holds)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def chapter(self) -> str:
        """The chapter that defines the rule, for instance ``fork``."""
        return self.module.rpartition(".")[2]

    def _repr_html_(self) -> str:
        from spec.publish.cards import rule_card

        return rule_card(self)


def predicate_source(predicate: Predicate) -> str:
    """The code of a predicate without docstring, comments and layout."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(predicate)))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.decorator_list = []
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    return ast.unparse(function)


REGISTRY: dict[str, Rule] = {}
BIT_MODELS = ("sketch", "always", "upstream")
COUNT_MODELS = ("page_count", "page_count_thp", "unshare_v1")
ALL_MODELS = ("mapcount", "force_cow", *COUNT_MODELS, *BIT_MODELS)
"""Models that have the bit; that decide by refcount instead; and all of them."""


def rule(
    id: str,
    *,
    rev: int = 1,
    source: str,
    kernel: tuple[str, ...] = (),
    models: tuple[str, ...] = ("sketch",),
    over: str = "step",
    taken: Witness | None = None,
    declined: Witness | None = None,
    survives: str = "",
    withdrawn: str = "",
    world: str = "mm",
) -> Callable[[Predicate], Rule]:
    """Make a predicate a rule; its docstring is the normative sentence.

    Args:
        id: ``AE-TOPIC-n``.
        rev: grows when the sentence or the predicate changes.
        source: message, commit or function that the rule comes from.
        kernel: symbols that obey it, as ``mm/memory.c:do_wp_page``.
        models: the models that promise to keep it.
        over: ``step``, ``state`` or ``assumption``.
        taken, declined: for MAY, a step that uses the permission and one that
            could have and does not.
        survives: for MUST, why its removal breaks no guarantee, if it does not.
        withdrawn: why the rule was withdrawn and what replaced it.
        world: ``mm``, or that of a chapter with operations of its own.

    Raises:
        SpecificationError: the id is malformed or already taken, or the sentence
            has no modal word, more than one, or more than 40 words.
    """

    def register(predicate: Predicate) -> Rule:
        made = Rule(
            id=id,
            rev=rev,
            sentence=" ".join(inspect.cleandoc(predicate.__doc__ or "").split()),
            holds=predicate,
            over=over,
            source=source,
            kernel=kernel,
            models=models,
            module=predicate.__module__,
            name=predicate.__name__,
            taken=taken,
            declined=declined,
            survives=survives,
            withdrawn=withdrawn,
            world=world,
        )
        check_form(made)
        REGISTRY[id] = made
        return made

    return register


def check_form(made: Rule) -> None:
    """Raise `SpecificationError` if `made` is not a well-formed new rule."""
    match = ID.fullmatch(made.id)
    if match is None or match[1] not in TOPICS:
        raise SpecificationError(
            f"{made.id}: an id is AE-TOPIC-n with a topic of {', '.join(TOPICS)}"
        )
    other = REGISTRY.get(made.id)
    if other and (other.module, other.name) != (made.module, made.name):
        raise SpecificationError(f"{made.id} is already {other.module}.{other.name}")
    if not made.sentence or len(made.sentence.split()) > 40:
        raise SpecificationError(f"{made.id}: a sentence of 1 to 40 words is needed")
    found = re.findall("|".join(MODAL_WORDS), made.sentence)
    wanted = 0 if made.topic in ("INV", "ASM") else 1
    if len(found) != wanted:
        raise SpecificationError(
            f"{made.id}: {wanted} modal word(s) expected, found {found or 'none'}"
        )
    if made.modal == "MAY" and not (made.taken and made.declined):
        raise SpecificationError(f"{made.id}: MAY needs both witnesses")


CHAPTERS = (
    "memory",
    "counts",
    "decisions",
    "bit",
    "cow",
    "fault",
    "gup",
    "gup_fast",
    "fork",
    "protect",
    "swap",
    "lazyfree",
    "writeback",
    "reclaim",
    "migration_entry",
    "migration",
    "ksm",
    "move",
    "hugepage",
    "largefolio",
    "guarantees",
    "history",
    "models",
    "releases",
    "store_buffers",
    "ordering",
    "tlb",
    "proof",
    "proof_places",
    "proof_contents",
    "proof_folios",
)
"""The chapters in the order in which they are read."""

MOVED = {
    "fault": (*(f"AE-COW-{n}" for n in range(1, 6)), "AE-UNS-1", "AE-WP-1"),
    "gup": tuple(f"AE-FAST-{n}" for n in range(1, 6)),
}
"""Rules that a chapter once had: their old links there lead on to the new place."""


def load() -> dict[str, Rule]:
    """All rules of all chapters, in the order in which chapters define them."""
    for chapter in CHAPTERS:
        importlib.import_module(f"spec.{chapter}")
    order = [f"spec.{chapter}" for chapter in CHAPTERS]
    in_order = sorted(
        REGISTRY.values(),
        key=lambda r: order.index(r.module) if r.module in order else len(order),
    )
    return {r.id: r for r in in_order}


def find(id: str) -> Rule:
    """The rule with this id.

    Raises:
        SpecificationError: there is none; names the nearest id.
    """
    rules = load()
    if id in rules:
        return rules[id]
    near = difflib.get_close_matches(id.upper(), rules, n=1, cutoff=0.0)
    raise SpecificationError(f"no rule has the id {id!r}; the nearest is {near[0]}")


def obey(record: Mm | Page, id: str) -> bool:
    """Whether this machine obeys the rule: false only while it is ablated."""
    return id not in record.machine.without


def may(mm: Mm, id: str) -> bool:
    """Whether a permission is used here; the checker tries both."""
    answer: bool = mm.machine.cells.choose(id, (True, False))
    return answer
