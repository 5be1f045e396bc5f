"""How the C library hands out memory for arrays."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, from malloc.h."""
LARGE = 1 << 22
"""Bytes from which on an array is large: far more than what work on a batch needs."""


def return_large_arrays() -> None:
    """Let the memory of large arrays go back to the system when they go.

    The GNU C library would put ever larger ones into its heap, where holes remain
    between what stays: up to a quarter of all memory. Other libraries are left alone.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE)
