"""How functions become machine code: by numba, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
"""Without its runtime numba can make no arrays, but it does not count references to
them either: that took more time than all else in short functions."""
compiled: Callable[[Function], Function]
inlined: Callable[[Function], Function]
try:
    from numba import njit

    compiled = njit(**OPTIONS)
    inlined = njit(**OPTIONS, inline="always")
except ImportError:

    def compiled(function: Function) -> Function:
        """Leave the function as it is."""
        return function

    inlined = compiled
