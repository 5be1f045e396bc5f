"""Where in the kernel a rule is obeyed: rules and operations by function.

A rule is anchored at the symbols that its chapter names. It is anchored through a step
as well, where `spec.steps` names it beside an operation that stands for a function.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from spec.desk.operations import HELPERS, OPERATIONS
from spec.desk.symbols import HISTORY, OLDEST, Anchor, anchors, eras
from spec.history import parse
from spec.models import governs
from spec.releases import RELEASES, linux
from spec.rules import Rule, load
from spec.steps import STEPS, Row


@dataclass(frozen=True)
class Anchored:
    """A rule at a function.

    Attributes:
        rule: the rule.
        anchor: the function, and the releases.
        steps: the atomic steps that lead there; empty if the rule names the function.
    """

    rule: Rule
    anchor: Anchor
    steps: tuple[str, ...] = ()


@cache
def obeyed_since(id: str) -> str:
    """The first release of Linux whose model obeys a rule; empty if none does.

    >>> obeyed_since("AE-FAST-4"), obeyed_since("AE-FORK-2")
    ('5.11', '')
    """
    rule = load()[id]
    for release in RELEASES:
        kernel = linux(release)
        if governs(rule, kernel.model) and id not in kernel.without:
            return release
    return ""


def _since(rule: Rule) -> str:
    """From which release on the rule has anchors: that of the oldest tree, or later."""
    return max(obeyed_since(rule.id) or OLDEST, OLDEST, key=parse)


def anchored(rule: Rule) -> list[Anchored]:
    """Where a rule is anchored, and since when; first by its own symbols.

    >>> for found in anchored(load()["AE-FAST-4"]):
    ...     print(found.anchor)
    mm/gup.c: lockless_pages_from_mm, 5.11..6.9
    mm/gup.c: gup_fast, 6.10..
    """
    if rule.withdrawn:
        return []
    own = [
        Anchored(rule, anchor)
        for symbol in rule.kernel
        for anchor in anchors(symbol, _since(rule))
    ]
    taken = {found.anchor.place for found in own}
    through: dict[str, Anchored] = {}
    for row in _rows_of(rule):
        for symbol in OPERATIONS[row.operation]:
            for anchor in anchors(symbol, _since(rule)):
                if anchor.place in taken:
                    continue
                known = through.get(anchor.place, Anchored(rule, anchor))
                steps = dict.fromkeys([*known.steps, row.id])
                through[anchor.place] = replace(known, steps=tuple(steps))
    return [*own, *through.values()]


def _rows_of(rule: Rule) -> Iterable[Row]:
    """The steps that speak of a rule, and are modelled by more than a helper."""
    for rows in STEPS.values():
        for row in rows:
            modelled = row.operation and not row.operation.startswith(HELPERS)
            if modelled and rule.id in row.rules:
                yield row


@cache
def by_place() -> dict[str, tuple[Anchored, ...]]:
    """All anchored rules by ``file:function``, whatever the release."""
    found: dict[str, list[Anchored]] = {}
    for rule in load().values():
        for each in anchored(rule):
            found.setdefault(each.anchor.place, []).append(each)
    return {place: tuple(each) for place, each in found.items()}


def rules_at(place: str, release: str = "") -> list[Anchored]:
    """The rules anchored at a function.

    Args:
        place: ``file:function``.
        release: of the tree that is looked at; without it the newest is meant. A
            function that only other releases have is taken for what it is there: a
            patch may be what adds it, or be older than the tree.
    """
    here = by_place().get(place, ())
    if release:
        current = [each for each in here if each.anchor.may_cover(release)]
    else:
        current = [each for each in here if not each.anchor.last]
    return current or list(here)


@cache
def known_files() -> frozenset[str]:
    """The files of the kernel that hold an anchor of a rule, in any release."""
    return frozenset(place.partition(":")[0] for place in by_place())


def symbols() -> list[str]:
    """Every symbol that a rule or an operation names, sorted."""
    named = {symbol for rule in load().values() for symbol in rule.kernel}
    return sorted(named.union(*OPERATIONS.values(), HISTORY))


def places(symbol: str) -> list[str]:
    """Every place that a symbol ever had, newest first."""
    return list(
        dict.fromkeys(place for era in reversed(eras(symbol)) for place in era.places)
    )
