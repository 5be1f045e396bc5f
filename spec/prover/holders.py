"""Who holds a page, and what a test of a count says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import z3

from spec.prover.logic import SORT, Symbolic, constants
from spec.prover.state import View
from spec.prover.words import both, either

Kind = tuple[str, Callable[..., Any]]
"""The sorts of a kind of holders, and which ones of them hold a thing."""


def _reference(s: View, p: Any, r: Any) -> Any:
    taken = either(s.pending(r), s.returned(r))
    return both(taken, s.anonymous(r), s.one_folio(s.of(r), p))


def _mapping(s: View, p: Any, m: Any, v: Any) -> Any:
    return both(s.mapped(m, v), s.one_folio(s.page(m, v), p))


TEMPORARY: tuple[Kind, ...] = (
    ("r", _reference),
    ("c", lambda s, p, c: both(s.holds(c), s.one_folio(s.held(c), p))),
    ("c", lambda s, p, c: both(s.prepares(c), s.one_folio(s.target(c), p))),
)
"""References, and pages that a CPU holds or prepares."""
WHOLE: tuple[Kind, ...] = (
    ("m", lambda s, p, m: both(s.huge(m), s.one_folio(s.huge_page(m), p))),
)
"""PMDs that map the folio."""
HOLDERS: tuple[Kind, ...] = (
    ("mv", _mapping),
    *WHOLE,
    *TEMPORARY,
    ("", lambda s, p: s.cached(p)),
)
"""All that ``refcount`` counts; a large folio is held by whoever holds a part of it."""
PINS: tuple[Kind, ...] = (("r", lambda s, p, r: both(_reference(s, p, r), s.pin(r))),)
ENTRIES: tuple[Kind, ...] = (
    ("mv", lambda s, e, m, v: both(s.swapped(m, v), s.same(s.slot(m, v), e))),
)
MOVING: tuple[Kind, ...] = (
    ("mv", lambda s, p, m, v: both(s.moving(m, v), s.same(s.page(m, v), p))),
)
MAPPINGS: tuple[Kind, ...] = (("mv", lambda s, p, m, v: s.maps(m, v, p)),)
READERS: tuple[Kind, ...] = (("c", lambda s, m, c: s.read_locked(c, m)),)


def none(s: Symbolic, kinds: tuple[Kind, ...], thing: Any) -> Any:
    """Nobody holds the thing."""
    parts = []
    for sorts, holds in kinds:
        some = _some(sorts, "a")
        found = holds(s, thing, *some)
        if found is not False:
            parts.append(_every(some, z3.Not(found)))
    return z3.And(*parts)


def unheld(s: Symbolic, page: Any) -> Any:
    """Nobody holds the page, and no PMD is counted that maps it."""
    nobody, whole = none(s, HOLDERS, page), s.entire(page)
    return nobody if whole is False else z3.And(nobody, z3.Not(whole))


def at_most_one(s: Symbolic, kinds: tuple[Kind, ...], thing: Any) -> Any:
    """Any two that hold the thing are one."""
    parts = []
    for i, (sorts, holds) in enumerate(kinds):
        for j, (others, hold_too) in enumerate(kinds[i:], i):
            if i == j and not sorts:
                continue
            one, other = _some(sorts, "a"), _some(others, "b")
            same = z3.And(*map(lambda a, b: a == b, one, other)) if i == j else False
            held, held_too = holds(s, thing, *one), hold_too(s, thing, *other)
            if held is not False and held_too is not False:
                two = z3.And(held, held_too)
                parts.append(_every([*one, *other], z3.Implies(two, same)))
    return z3.And(*parts)


def all_of(s: Symbolic, thing: Any, m: Any) -> Any:
    """Who holds the folio is a PTE of the process."""
    others = tuple(kind for kind in HOLDERS if kind[0] != "mv")
    some = _some("mv", "a")
    its = z3.Implies(_mapping(s, thing, *some), some[0] == m)
    return z3.And(none(s, others, thing), _every(some, its))


def some(s: Symbolic, kinds: tuple[Kind, ...], thing: Any) -> Any:
    """Something of one kind holds the thing; it is given a name."""
    (sorts, holds), *_ = kinds
    held = [z3.Const(f"one of {thing}", SORT[letter]) for letter in sorts]
    return holds(s, thing, *held)


ANOTHER = "another"


def another(s: Symbolic, thing: Any, m: Any) -> Any:
    """A PMD of another process maps the folio: of one that is called so."""
    m2 = constants("m", ANOTHER)[0]
    _, holds = WHOLE[0]
    return z3.And(m2 != m, holds(s, thing, m2))


def named_ones(pages: Iterable[Any]) -> list[Any]:
    """The processes that are said to exist and are given a name."""
    return constants("m", ANOTHER, *(f"one of {page}" for page in pages))


def _some(sorts: str, suffix: str) -> list[Any]:
    return [constants(s, f"{s}{suffix}{i}")[0] for i, s in enumerate(sorts)]


def _every(things: list[Any], formula: Any) -> Any:
    return z3.ForAll(things, formula) if things else formula


TESTS: dict[str, Callable[..., Any]] = {
    "one holder": lambda s, p: at_most_one(s, HOLDERS, p),
    "one temporary": lambda s, p: at_most_one(s, TEMPORARY, p),
    "not pinned": lambda s, p: none(s, PINS, p),
    "no entry": lambda s, e: none(s, ENTRIES, e),
    "one entry": lambda s, e: at_most_one(s, ENTRIES, e),
    "no migration entry": lambda s, p: none(s, MOVING, p),
    "one mapping": lambda s, p: at_most_one(s, MAPPINGS, p),
    "not mapped": lambda s, p: none(s, MAPPINGS, p),
    "not shared": lambda s, m: none(s, READERS, m),
    "one PMD": lambda s, p: at_most_one(s, WHOLE, p),
    "another PMD": another,
    "no temporary": lambda s, p: none(s, TEMPORARY, p),
    "held by": all_of,
}
"""What a count says if it is as small as a test demands."""
