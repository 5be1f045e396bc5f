"""How functions become machine code (numba)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]
compiled: Compile = njit(cache=True, nogil=True, boundscheck=False)
inlined: Compile = njit(cache=True, nogil=True, boundscheck=False, inline="always")
