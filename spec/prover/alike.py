"""Steps that differ only by what things are called: the solver is asked about one.

``A`` and ``B`` are different processes, and nothing else is known of them but what a
step finds. So a step of which the same is found with the names exchanged is kept if the
first one is.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from spec.prover.guards import names_in
from spec.prover.scopes import BASE, Scope
from spec.prover.state import NAMES

ALIKE = {sort: NAMES[sort] for sort in "mvp"}
"""Names of processes, addresses and pages: nothing tells those of one sort apart."""
SORT_OF = {name: sort for sort, names in ALIKE.items() for name in names}


def unnamed(facts: Iterable[tuple[Any, ...]], scope: Scope = BASE) -> frozenset[Any]:
    """Facts under other names: those that are equal then differ by names only.

    Not every renaming is found: two names of which the same is found are left in their
    order.

    Args:
        facts: nested tuples, with names among their parts.
        scope: what exists; the parts of a large folio, and addresses, are not alike.

    >>> def maps(m: str, v: str, p: str, ksm: str) -> frozenset[Any]:
    ...     return unnamed([("is", "page", (m, v), p), ("is", "ksm", (ksm,), True)])
    >>> maps("A", "x", "p2", ksm="p2") == maps("B", "y", "p1", ksm="p1")
    True
    >>> maps("A", "x", "p2", ksm="p2") == maps("A", "x", "p2", ksm="p1")
    False
    """
    known = list(facts)
    said: dict[str, list[str]] = {}
    for fact in known:
        for name, text in _said(fact).items():
            said.setdefault(name, []).append(text)
    order = sorted(said, key=lambda name: (sorted(said[name]), name))
    names: dict[str, str] = {}
    for sort, free in ALIKE.items() if not scope.has_folios else [("m", ALIKE["m"])]:
        mine = [name for name in order if SORT_OF[name] == sort]
        names |= dict(zip(mine, free, strict=False))
    return frozenset(_renamed(fact, names) if _said(fact) else fact for fact in known)


@cache
def _said(fact: tuple[Any, ...]) -> dict[str, str]:
    """What a fact says of each name in it; the same facts are met again and again."""
    named = names_in(fact) & SORT_OF.keys()
    return {name: _text(fact, {**SORT_OF, name: ""}) for name in named}


def _text(value: Any, names: dict[str, str]) -> str:
    """A text that is the same whenever the value is."""
    if isinstance(value, tuple):
        return f"({' '.join(_text(part, names) for part in value)})"
    if isinstance(value, frozenset):
        return f"{{{' '.join(sorted(_text(part, names) for part in value))}}}"
    return repr(names.get(value, value) if isinstance(value, str) else value)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, tuple):
        return tuple(_renamed(part, names) for part in value)
    if isinstance(value, frozenset):
        return frozenset(_renamed(part, names) for part in value)
    return value
