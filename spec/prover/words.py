"""The connectives in which the invariant is written.

They take truth values of Python and formulas of the solver alike, so that one text is
proved and is also evaluated on explored states. A sentence about one model is a truth
value on another one, and costs the solver nothing there.
"""

from __future__ import annotations

from typing import Any


def both(*parts: Any) -> Any:
    """All of them.

    >>> both(True, False)
    False
    """
    if any(part is False for part in parts):
        return False
    unknown = [part for part in parts if part is not True]
    if len(unknown) < 2:
        return unknown[0] if unknown else True
    import z3

    return z3.And(*unknown)


def either(*parts: Any) -> Any:
    """At least one of them.

    >>> either(True, False)
    True
    """
    if any(part is True for part in parts):
        return True
    unknown = [part for part in parts if part is not False]
    if len(unknown) < 2:
        return unknown[0] if unknown else False
    import z3

    return z3.Or(*unknown)


def no(part: Any) -> Any:
    """Its opposite.

    >>> no(True)
    False
    """
    if isinstance(part, bool):
        return not part
    import z3

    return z3.Not(part)


def implies(when: Any, then: Any) -> Any:
    """The second wherever the first.

    >>> implies(False, False)
    True
    """
    return either(no(when), then)
