"""Fewer guards that say the same: what is found of a cell if all it can hold is tried.

A footprint has a value for every cell that its step reads. Where an operation gives up
because a PTE is not what it wants, there is a footprint for all that the PTE can be
instead, and for two PTEs there are as many as the product. What they do is the same.
So guards that differ in one fact, and between them have all values of it, become one
without that fact. A state satisfies one of the guards exactly if it did before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from spec.prover.scopes import BASE, Scope

Atom = tuple[Any, ...]
Guard = frozenset[Atom]
Fact = tuple[Any, Any]
"""What is looked at, and what is found."""

KINDS = ("mapped", "moving", "swapped")
"""An entry is one of these, or none of them."""
EMPTY, UNMAPPED = "empty", "unmapped"
PAGES_AND_SLOTS = ("page", "slot", "held", "of", "folio", "cached_in")


def together[T](
    guards: Mapping[Guard, T], named: set[str], scope: Scope = BASE
) -> list[tuple[Guard, T]]:
    """Guards of steps that do the same, as few as are found; each with one that it had.

    Args:
        guards: the guards; with each, what belongs to it.
        named: what the steps name elsewhere.
        scope: what exists in the states.
    """
    found = {folded(guard): thing for guard, thing in guards.items()}
    keys = sorted({key for guard in found for key, _ in guard}, key=_dependent_first)
    before = None
    while before != len(found):
        before = len(found)
        for key in keys:
            _join(found, key, named, scope)
    return [
        (frozenset(unfolded(guard, scope)), thing) for guard, thing in found.items()
    ]


def _dependent_first(key: Any) -> tuple[bool, str]:
    return key[0] == "kind", str(key)


def _join(
    found: dict[frozenset[Fact], Any], key: Any, named: set[str], scope: Scope
) -> None:
    """Join the guards that differ in one fact only and have all its values."""
    alike: dict[frozenset[Fact], dict[Any, frozenset[Fact]]] = defaultdict(dict)
    for guard in found:
        for fact in guard:
            if fact[0] == key:
                alike[guard - {fact}][fact[1]] = guard
    for rest, by_value in alike.items():
        values = set(by_value)
        if complete(key, values, rest, named, scope):
            joined, parts = rest, values
        elif key[0] == "kind" and {EMPTY, *kinds(scope)} - {"mapped"} <= values:
            joined, parts = rest | {(key, UNMAPPED)}, values - {"mapped"}
        else:
            continue
        things = [found.pop(by_value[value]) for value in sorted(parts, key=str)]
        found.setdefault(joined, things[0])


def kinds(scope: Scope) -> tuple[str, ...]:
    """What an entry can be."""
    return tuple(kind for kind in KINDS if scope.has(kind))


def complete(
    key: Any,
    values: set[Any],
    rest: Iterable[Fact],
    named: set[str],
    scope: Scope = BASE,
) -> bool:
    """Whether these are all values that can be found.

    A name that is mentioned nowhere else stands for all that have no name.
    """
    if key[0] == "kind":
        return values >= {"mapped", UNMAPPED} or values >= {*kinds(scope), EMPTY}
    if key[0] in PAGES_AND_SLOTS and scope.has_folios:
        return _complete_rows(key, values, frozenset(rest), named, scope)
    if key[0] in PAGES_AND_SLOTS:
        others = named.union(*map(names_in, rest))
        alike = {name for name in others if name[0] in "ps" and name[1:].isdigit()}
        first = next(iter(values))[0]
        return {n for n in alike if n[0] == first} <= values and not values <= others
    # that a PMD is counted says more than that none is: there is one
    return values == {True, False} and key[0] != "entire"


def _complete_rows(
    key: Any, values: set[Any], rest: frozenset[Fact], named: set[str], scope: Scope
) -> bool:
    """The same of pages, where those of one row are told apart.

    Both pages of a row that is mentioned nowhere else stand for all others. A page of a
    large folio is found at its address only.
    """
    others = named.union(*map(names_in, rest))
    mentioned = [row for row in scope.pairs if others & {*row}]
    fresh = [row for row in scope.pairs if row not in mentioned]

    def excluded(page: str, row: tuple[str, str]) -> bool:
        large = any((("large", (part,)), True) in rest for part in row)
        address = "xy"[row.index(page)]
        return large and key[0] == "page" and key[1][1] != address

    known = all(
        page in values or excluded(page, row) for row in mentioned for page in row
    )
    return known and any({*row} <= values for row in fresh)


def names_of(value: Any) -> Iterator[str]:
    """All strings in facts, atoms or writes: the names are among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | frozenset):
        for part in value:
            yield from names_of(part)


@cache
def names_in(fact: tuple[Any, ...]) -> frozenset[str]:
    """The same of one fact or atom, found once."""
    return frozenset(names_of(fact))


def folded(guard: Guard) -> frozenset[Fact]:
    """A guard as facts; what an entry is, is one fact."""
    facts: dict[Any, Any] = {}
    kinds: dict[Any, set[str]] = defaultdict(set)
    for kind, *parts in guard:
        if kind != "is":
            facts[kind, *parts] = None
        elif parts[0] in KINDS:
            field, where, value = parts
            kinds[where].add(field if value else "")
        else:
            field, where, value = parts
            facts[field, where] = value
    for where, found in kinds.items():
        facts["kind", where] = max(found) or EMPTY
        if facts.get(("writable", where)):
            # that it has no trap is a clause of the invariant, and a join less
            facts.pop(("trapped", where), None)
    return frozenset(facts.items())


def unfolded(guard: Iterable[Fact], scope: Scope = BASE) -> Iterator[Atom]:
    """The facts as atoms again."""
    for key, value in guard:
        if value is None:
            yield key
        elif key[0] == "kind":
            _, where = key
            for kind in kinds(scope) if value != UNMAPPED else ("mapped",):
                yield ("is", kind, where, kind == value)
        else:
            yield ("is", *key, value)
