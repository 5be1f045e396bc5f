"""The connectives in which the invariant is written.

They take truth values of Python and formulas of the solver alike, so that one text is
proved and is also evaluated on explored states.
"""

from __future__ import annotations

from typing import Any


def both(*parts: Any) -> Any:
    """All of them.

    >>> both(True, False)
    False
    """
    if all(isinstance(part, bool) for part in parts):
        return all(parts)
    import z3

    return z3.And(*parts)


def either(*parts: Any) -> Any:
    """At least one of them.

    >>> either(True, False)
    True
    """
    if all(isinstance(part, bool) for part in parts):
        return any(parts)
    import z3

    return z3.Or(*parts)


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
