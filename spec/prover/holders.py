"""Who holds a page, and what a test of a count says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import z3

from spec.prover.logic import Symbolic, constants
from spec.prover.state import View
from spec.prover.words import both, either

Kind = tuple[str, Callable[..., Any]]
"""The sorts of a kind of holders, and which ones of them hold a thing."""


def _reference(s: View, p: Any, r: Any) -> Any:
    taken = either(s.pending(r), s.returned(r))
    return both(taken, s.anonymous(r), s.same(s.of(r), p))


TEMPORARY: tuple[Kind, ...] = (
    ("r", _reference),
    ("c", lambda s, p, c: both(s.holds(c), s.same(s.held(c), p))),
    ("c", lambda s, p, c: both(s.prepares(c), s.same(s.target(c), p))),
)
"""References, and pages that a CPU holds or prepares."""
HOLDERS: tuple[Kind, ...] = (
    ("mv", lambda s, p, m, v: s.maps(m, v, p)),
    *TEMPORARY,
    ("", lambda s, p: s.cached(p)),
)
"""All that ``refcount`` counts."""
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
        parts.append(_every(some, z3.Not(holds(s, thing, *some))))
    return z3.And(*parts)


def at_most_one(s: Symbolic, kinds: tuple[Kind, ...], thing: Any) -> Any:
    """Any two that hold the thing are one."""
    parts = []
    for i, (sorts, holds) in enumerate(kinds):
        for j, (others, hold_too) in enumerate(kinds[i:], i):
            if i == j and not sorts:
                continue
            one, other = _some(sorts, "a"), _some(others, "b")
            same = z3.And(*map(lambda a, b: a == b, one, other)) if i == j else False
            two = z3.And(holds(s, thing, *one), hold_too(s, thing, *other))
            parts.append(_every([*one, *other], z3.Implies(two, same)))
    return z3.And(*parts)


def _some(sorts: str, suffix: str) -> list[Any]:
    return [constants(s, f"{s}{suffix}{i}")[0] for i, s in enumerate(sorts)]


def _every(things: list[Any], formula: Any) -> Any:
    return z3.ForAll(things, formula) if things else formula


TESTS: dict[str, Callable[[Symbolic, Any], Any]] = {
    "one holder": lambda s, p: at_most_one(s, HOLDERS, p),
    "one temporary": lambda s, p: at_most_one(s, TEMPORARY, p),
    "not pinned": lambda s, p: none(s, PINS, p),
    "no entry": lambda s, e: none(s, ENTRIES, e),
    "one entry": lambda s, e: at_most_one(s, ENTRIES, e),
    "no migration entry": lambda s, p: none(s, MOVING, p),
    "one mapping": lambda s, p: at_most_one(s, MAPPINGS, p),
    "not mapped": lambda s, p: none(s, MAPPINGS, p),
    "not shared": lambda s, m: none(s, READERS, m),
}
"""What a count says if it is as small as a test demands."""
