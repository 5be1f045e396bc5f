"""How functions become machine code: by numba, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

Function = Callable[..., Any]
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
"""Without its runtime numba can make no arrays, but it does not count references to
them either: that took more time than all else in short functions."""
FOLDER = Path(__file__).parent
CACHES = FOLDER / "__pycache__"
compiled: Callable[[Function], Function]
inlined: Callable[[Function], Function]


def cache_folder() -> Path:
    """Where numba keeps what it compiles, one folder for each version of the source.

    By itself it looks at the file of a function only, not at those of the functions
    that it calls, and would go on with what these were.
    """
    sources = b"".join(file.read_bytes() for file in sorted(FOLDER.glob("*.py")))
    return CACHES / f"numba-{sha256(sources).hexdigest()[:16]}"


try:
    from numba import config, njit

    config.CACHE_DIR = str(cache_folder())  # type: ignore[attr-defined]
    compiled = njit(**OPTIONS)
    inlined = njit(**OPTIONS, inline="always")
except ImportError:

    def compiled(function: Function) -> Function:
        """Leave the function as it is."""
        return function

    inlined = compiled
