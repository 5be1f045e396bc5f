"""How functions become machine code: by numba, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]
compiled: Callable[[Function], Function]
inlined: Callable[[Function], Function]
try:
    from numba import njit

    compiled = njit(cache=True, nogil=True)
    inlined = njit(cache=True, nogil=True, inline="always")
except ImportError:

    def compiled(function: Function) -> Function:
        """Leave the function as it is."""
        return function

    inlined = compiled
